/* SPDX-License-Identifier: Apache-2.0 */
/* What waits in the core when the daemon ends: all of it is given back, and the next one does with it what this one would have. */
#include "edge_fixture.h"

enum { GIVEN_MAX = 32, FRAME = 64 };

struct given {
        struct gw_edge_punt punt;
        uint8_t bytes[FRAME];
};
struct pile {
        struct given all[GIVEN_MAX];
        size_t n;
};

static void take(const struct gw_edge_punt *punt, void *user) {
        struct pile *pile = user;
        struct given *g = &pile->all[pile->n++];

        assert_true(pile->n <= GIVEN_MAX && punt->frame.size <= FRAME);
        g->punt = *punt;
        memcpy(g->bytes, punt->frame.bytes, punt->frame.size);
        g->punt.frame.bytes = g->bytes;
}

static size_t give(struct world *w, struct pile *pile) {
        pile->n = 0;
        return gw_edge_give_back(w->edge, take, pile);
}

static void to_edge(struct world *w, const struct pile *pile) {
        for (size_t i = 0; i < pile->n; i++)
                gw_edge_punted(w->edge, w->now, &pile->all[i].punt);
}

static void from_wire(struct world *w, uint8_t reason, unsigned to, unsigned from, uint8_t tag) {
        uint8_t bytes[FRAME] = {[14] = tag};
        struct gw_edge_punt punt = {
                .reason = reason,
                .frame = {.vni = WORLD_VNI, .sender = ip_of("10.99.0.9"), .bytes = bytes, .size = sizeof bytes}};

        memcpy(bytes, mac_of(to).b, 6);
        memcpy(bytes + 6, mac_of(from).b, 6);
        gw_edge_punted(w->edge, w->now, &punt);
}

/* Frames of a port to somebody unknown, one from the wire, a question, and some for a task that arrives. */
static void wait_for_much(struct world *w) {
        struct gw_edge_attach arriving = world_port("task", 2, "10.1.0.2", GW_EDGE_ARRIVING, 5);
        uint8_t arp[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

        arriving.queues = false;
        assert_int_equal(world_attach(w, &arriving), 0);
        memcpy(arp + 38, (uint8_t[]){10, 1, 0, 9}, 4);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 2);
        from_wire(w, GW_EDGE_WIRE_UNKNOWN, 8, 7, 3);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, arp, sizeof arp);
        world_punt(w, GW_EDGE_HOLD, 2, 2, 7, 4);
        world_punt(w, GW_EDGE_HOLD, 2, 2, 7, 5);
}

static const struct given *nth(const struct pile *pile, uint8_t reason, size_t n) {
        for (size_t i = 0; i < pile->n; i++)
                if (pile->all[i].punt.reason == reason && !n--)
                        return &pile->all[i];
        return NULL;
}

static void test_all_is_given_as_it_came(void **state) {
        struct world *w = *state;
        struct pile pile;

        world_serve(w);
        wait_for_much(w);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(give(w, &pile), 6);
        assert_int_equal(nth(&pile, GW_EDGE_UNKNOWN, 0)->bytes[14], 1);
        assert_int_equal(nth(&pile, GW_EDGE_UNKNOWN, 1)->bytes[14], 2);
        assert_int_equal(nth(&pile, GW_EDGE_UNKNOWN, 0)->punt.frame.ifindex, 1);
        assert_int_equal(nth(&pile, GW_EDGE_UNKNOWN, 0)->punt.frame.offload[0], 0x5a);
        assert_int_equal(nth(&pile, GW_EDGE_WIRE_UNKNOWN, 0)->bytes[14], 3);
        assert_true(gw_ip_eq(nth(&pile, GW_EDGE_WIRE_UNKNOWN, 0)->punt.frame.sender, ip_of("10.99.0.9")));
        assert_int_equal(nth(&pile, GW_EDGE_SOLICIT, 0)->punt.frame.size, 42);
        assert_int_equal(nth(&pile, GW_EDGE_HOLD, 0)->bytes[14], 4);
        assert_int_equal(nth(&pile, GW_EDGE_HOLD, 1)->bytes[14], 5);
        assert_int_equal(nth(&pile, GW_EDGE_HOLD, 1)->punt.frame.ifindex, 2);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(give(w, &pile), 0); /* once */
}

static void test_those_of_a_suspect_and_of_the_gateway(void **state) {
        const struct gw_edge_routed vns[] = {{WORLD_VNI, 1450}, {200, 1450}};
        struct gw_edge_route route = {.from = 200, .vni = WORLD_VNI};
        uint8_t packet[FRAME] = {[12] = 8, [13] = 0, [14] = 0x45, [22] = 64, [30] = 10, [31] = 1, [32] = 0, [33] = 77};
        struct gw_edge_punt routed = {.reason = GW_EDGE_GATEWAY,
                                      .frame = {.vni = 200, .bytes = packet, .size = sizeof packet}};
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.8", 5);
        struct world *w = *state;
        struct pile pile;

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(gw_prefix_parse("10.1.0.0/24", &route.to), 0);
        assert_int_equal(gw_edge_route(w->edge, vns, 2, &route, 1, 0), 0);
        from_wire(w, GW_EDGE_WIRE_SOURCE, 1, 9, 1);
        gw_edge_punted(w->edge, w->now, &routed);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), 2);
        assert_int_equal(give(w, &pile), 2);
        assert_int_equal(nth(&pile, GW_EDGE_WIRE_SOURCE, 0)->bytes[14], 1);
        assert_int_equal(nth(&pile, GW_EDGE_GATEWAY, 0)->punt.frame.vni, 200);
}

/* The next daemon has the ports, and no session yet. */
static void test_the_next_one_waits_for_its_first_session(void **state) {
        struct gw_edge_attach port = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        struct gw_edge_attach arriving = world_port("task", 2, "10.1.0.2", GW_EDGE_ARRIVING, 5);
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        struct gw_error error = {0};
        struct world *w = *state;
        struct pile pile;

        world_serve(w);
        wait_for_much(w);
        give(w, &pile);
        world_deinit(w);
        world_init(w);
        arriving.queues = false;
        assert_int_equal(world_attach(w, &port), 0);
        assert_int_equal(world_attach(w, &arriving), 0);
        to_edge(w, &pile);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &arriving.vm, 5, &error), 0);
        assert_int_equal(w->n_down, 2); /* what arrived */
        world_pass(w, 2500);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), 0);
        world_up(w);
        world_pass(w, 150); /* with all the time for an answer that there always is */
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), 0);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 5); /* two to MAC 9, and the question */
}

static void test_without_a_session_they_end_at_last(void **state) {
        struct gw_edge_attach port = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        struct world *w = *state;

        assert_int_equal(world_attach(w, &port), 0);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        world_pass(w, 3100);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_all_is_given_as_it_came, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_those_of_a_suspect_and_of_the_gateway, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_the_next_one_waits_for_its_first_session, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_without_a_session_they_end_at_last, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
