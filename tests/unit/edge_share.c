/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: what one asker may take of the questions and the room that all share. */
#include "edge_fixture.h"

#include <stdio.h>

enum { A_THIRD = GW_EDGE_QUERIES_MAX / 3, HOG = 1, OTHER = 2 };

/* VMs 1 and 2, on devices 1 and 2, and an authority that does not answer. */
static struct world *start(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", OTHER, "10.1.0.2", GW_EDGE_SERVING, 5);

        world_serve(w);
        assert_int_equal(world_attach(w, &other), 0);
        gw_edge_nva_down(w->edge, w->now);
        return w;
}

static void ask(struct world *w, uint32_t ifindex, unsigned first, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                world_punt(w, ifindex ? GW_EDGE_UNKNOWN : GW_EDGE_WIRE_UNKNOWN, ifindex, first + i, ifindex, 1);
}

static void test_one_port_leaves_questions_to_others(void **state) {
        struct world *w = start(state);
        uint64_t asked;

        ask(w, HOG, 1000, 5000);
        asked = world_counter(w, GW_EDGE_C_QUERIES);
        assert_in_range(asked, A_THIRD - 1, A_THIRD + 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_FULL), 5000 - asked);
        ask(w, OTHER, 10000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), asked + 100);
        world_pass(w, 400); /* all are negative now */
        ask(w, HOG, 20000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), asked + 200);
}

static void test_the_wire_leaves_questions_to_ports(void **state) {
        struct world *w = start(state);
        uint64_t asked;

        ask(w, 0, 1000, 5000);
        asked = world_counter(w, GW_EDGE_C_QUERIES);
        assert_in_range(asked, A_THIRD - 1, A_THIRD + 1);
        ask(w, OTHER, 10000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), asked + 100);
}

static void test_many_that_take_all_leave_some(void **state) {
        struct world *w = start(state);
        struct gw_edge_attach port;
        uint64_t asked;

        for (unsigned n = 3; n < 11; n++) {
                char vm[16], ip[16];

                snprintf(vm, sizeof vm, "vm%u", n);
                snprintf(ip, sizeof ip, "10.1.0.%u", n);
                port = world_port(vm, n, ip, GW_EDGE_SERVING, 5);
                assert_int_equal(world_attach(w, &port), 0);
                ask(w, n, n * 2000, 2000);
        }
        asked = world_counter(w, GW_EDGE_C_QUERIES);
        ask(w, OTHER, 40000, 10);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), asked + 10);
}

/* Large frames to many unknown VMs: another port's frames still find room, and all room comes back. */
static void test_one_port_leaves_room_to_others(void **state) {
        static uint8_t large[60000];
        struct world *w = start(state);
        uint64_t held;

        large[12] = 8;
        for (unsigned i = 0; i < 300; i++) {
                struct gw_mac to = mac_of(1000 + i % 200), from = mac_of(HOG);

                memcpy(large, to.b, 6);
                memcpy(large + 6, from.b, 6);
                world_punt_bytes(w, GW_EDGE_UNKNOWN, HOG, large, sizeof large);
        }
        held = world_counter(w, GW_EDGE_C_HELD);
        assert_in_range(held * sizeof large, GW_EDGE_HELD_OCTETS_MAX / 3 - sizeof large,
                        GW_EDGE_HELD_OCTETS_MAX / 3 + sizeof large);
        ask(w, OTHER, 10000, 50);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), held + 50);
        world_pass(w, 1500);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), held + 50);
        for (unsigned i = 0; i < held; i++) {
                large[5] = (uint8_t)i;
                large[4] = 0x77;
                world_punt_bytes(w, GW_EDGE_UNKNOWN, HOG, large, sizeof large);
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), held + 50 + held);
}

/* A port that goes while its questions wait takes its charges along; the next one on its device starts with none. */
static void test_a_port_that_goes_owes_nothing(void **state) {
        struct world *w = start(state);
        struct gw_edge_attach again = world_port("db", OTHER, "10.1.0.2", GW_EDGE_SERVING, 6);
        struct gw_error error;
        uint64_t asked;

        ask(w, OTHER, 1000, 5000);
        assert_int_equal(gw_edge_detach(w->edge, w->now, &again.id, &error), 0);
        assert_int_equal(world_attach(w, &again), 0);
        world_pass(w, 2000);
        asked = world_counter(w, GW_EDGE_C_QUERIES);
        ask(w, OTHER, 20000, 5000);
        assert_in_range(world_counter(w, GW_EDGE_C_QUERIES) - asked, A_THIRD - 1, A_THIRD + 1);
}

static void test_limit_of_questions(void **state) {
        struct world *w;
        uint64_t asked;

        world_limit_queries(*state, 20);
        w = start(state);
        ask(w, HOG, 1000, 100); /* two seconds' worth at once */
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), 40);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES_LIMITED), 60);
        ask(w, OTHER, 2000, 10);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), 50);
        ask(w, HOG, 1000, 10); /* known questions are not new ones */
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES_LIMITED), 60);
        world_pass(w, 500);
        asked = world_counter(w, GW_EDGE_C_QUERIES);
        ask(w, HOG, 3000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES) - asked, 10);
        ask(w, 0, 4000, 1000); /* the wire: as four ports */
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES) - asked, 10 + 160);
}

static void settle(struct world *w, const uint32_t limits[static GW_VN_LIMITS]) {
        struct gw_vn_settings vn = {.vni = WORLD_VNI};
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        memcpy(vn.limits, limits, sizeof vn.limits);
        size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static void expect_limits(const struct world *w, uint32_t ifindex, uint32_t neighbours, uint32_t misses,
                          uint32_t group) {
        assert_int_equal(w->limits[ifindex][GW_EDGE_LIMIT_NEIGHBOURS], neighbours);
        assert_int_equal(w->limits[ifindex][GW_EDGE_LIMIT_MISSES], misses);
        assert_int_equal(w->limits[ifindex][GW_EDGE_LIMIT_GROUP], group);
}

/* Those that a port was attached with, else its VN's, else the host's. */
static void test_limits_of_a_vn(void **state) {
        static const uint32_t some[GW_VN_LIMITS] = {50, GW_VN_NO_LIMIT, 0, 0}, none[GW_VN_LIMITS] = {0};
        struct gw_edge_attach other = world_port("db", OTHER, "10.1.0.2", GW_EDGE_SERVING, 5);
        struct world *w = *state;

        other.limits[GW_EDGE_LIMIT_MISSES] = 7;
        world_serve(w);
        assert_int_equal(w->n_limits, 0); /* nothing is known: a port that was there keeps what it had */
        settle(w, none);
        expect_limits(w, HOG, 0, 0, 0);
        settle(w, some);
        expect_limits(w, HOG, 50, GW_EDGE_NO_LIMIT, 0);
        assert_int_equal(world_attach(w, &other), 0);
        expect_limits(w, OTHER, 50, 7, 0);
        assert_int_equal(w->n_limits, 3);
        settle(w, some); /* nothing new: what is spent stays spent */
        assert_int_equal(w->n_limits, 3);
        settle(w, none);
        expect_limits(w, HOG, 0, 0, 0);
        expect_limits(w, OTHER, 0, 7, 0);
}

static void test_questions_of_a_vn(void **state) {
        static const uint32_t some[GW_VN_LIMITS] = {[GW_VN_LIMIT_QUERIES] = 5},
                              any[GW_VN_LIMITS] = {[GW_VN_LIMIT_QUERIES] = GW_VN_NO_LIMIT};
        struct world *w;

        world_limit_queries(*state, 20);
        w = *state;
        world_serve(w);
        settle(w, some);
        ask(w, HOG, 1000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), 10);
        settle(w, any);
        gw_edge_nva_down(w->edge, w->now);
        ask(w, HOG, 2000, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), 110);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_one_port_leaves_questions_to_others),
                TEST(test_the_wire_leaves_questions_to_ports),
                TEST(test_many_that_take_all_leave_some),
                TEST(test_one_port_leaves_room_to_others),
                TEST(test_a_port_that_goes_owes_nothing),
                TEST(test_limit_of_questions),
                TEST(test_limits_of_a_vn),
                TEST(test_questions_of_a_vn),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
