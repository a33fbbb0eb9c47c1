/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: frames whose sender lives elsewhere as far as is known, and the authority's word about them. */
#include "edge_fixture.h"

#include <stdio.h>

#define OLD_PLACE "10.99.0.8"
#define NEW_PLACE "10.99.0.9"

static void from(struct world *w, const char *sender, uint8_t tag) {
        uint8_t bytes[64] = {0};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_WIRE_SOURCE,
                .frame = {.vni = WORLD_VNI, .sender = ip_of(sender), .bytes = bytes, .size = sizeof bytes}};

        memcpy(bytes, mac_of(1).b, 6);
        memcpy(bytes + 6, mac_of(9).b, 6);
        bytes[14] = tag;
        punt.frame.offload[0] = 0x5a;
        gw_edge_punted(w->edge, w->now, &punt);
}

static void say(struct world *w, uint8_t type, const char *locator, uint64_t epoch) {
        struct gw_mapping m = mapping_of(9, "10.1.0.9", locator, epoch);
        const struct world_sent *query = world_sent_find(w, GW_FRAME_QUERY);

        assert_int_equal(world_batch(w, type, query ? query->id : 1, &m, 1, NULL, 0), 0);
}

/* VM 9 is known to be at OLD_PLACE. */
static struct world *start(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", OLD_PLACE, 5);

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        return w;
}

static void expect_down(const struct world *w, size_t from_index, uint8_t first_tag, size_t n) {
        assert_int_equal(w->n_down, from_index + n);
        for (size_t i = 0; i < n; i++) {
                assert_int_equal(w->down[from_index + i].how, GW_EDGE_FROM_WIRE);
                assert_int_equal(w->down[from_index + i].tag, first_tag + i);
        }
}

static void test_first_frames_are_faster_than_the_news(void **state) {
        struct world *w = start(state);

        from(w, NEW_PLACE, 1);
        from(w, NEW_PLACE, 2);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        say(w, GW_FRAME_RESPONSE, NEW_PLACE, 6);
        expect_down(w, 0, 1, 2);
        assert_true(world_fdb_find(w, 9)->entry.punt_from); /* later ones come up, too, until all are gone */
        assert_true(gw_edge_wants_drain(w->edge));
        from(w, NEW_PLACE, 3);
        expect_down(w, 0, 1, 3);
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(world_fdb_find(w, 9)->entry.punt_from);
        assert_false(gw_edge_wants_drain(w->edge));
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_CONFIRMED), 3);
}

static void test_news_by_push_releases(void **state) {
        struct world *w = start(state);

        from(w, NEW_PLACE, 1);
        say(w, GW_FRAME_UPDATE, NEW_PLACE, 6);
        expect_down(w, 0, 1, 1);
}

static void test_authority_that_is_late_is_asked_again(void **state) {
        struct world *w = start(state);

        from(w, NEW_PLACE, 1);
        say(w, GW_FRAME_RESPONSE, OLD_PLACE, 5);
        assert_int_equal(w->n_down, 0);
        world_pass(w, 150);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 2);
        say(w, GW_FRAME_RESPONSE, NEW_PLACE, 6);
        expect_down(w, 0, 1, 1);
}

static void test_impostor_is_refused(void **state) {
        struct world *w = start(state);

        for (int i = 0; i < 3; i++) {
                from(w, NEW_PLACE, 1);
                say(w, GW_FRAME_RESPONSE, OLD_PLACE, 5);
                world_pass(w, 110);
        }
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_REFUSED), 3);
        from(w, NEW_PLACE, 1); /* not asked about again at once */
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_REFUSED), 4);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 3);
        assert_false(world_fdb_find(w, 9)->entry.punt_from);
        say(w, GW_FRAME_UPDATE, NEW_PLACE, 6); /* but a move is a move */
        world_pass(w, 150);
        from(w, NEW_PLACE, 2);
        expect_down(w, 0, 2, 1);
}

static void test_without_the_authority_all_pass(void **state) {
        struct world *w = start(state);

        from(w, NEW_PLACE, 1);
        gw_edge_nva_down(w->edge, w->now);
        expect_down(w, 0, 1, 1);
        from(w, NEW_PLACE, 2);
        expect_down(w, 0, 1, 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_UNVERIFIED), 2);
}

static void test_silent_authority_holds_up_for_a_moment(void **state) {
        struct world *w = start(state);

        from(w, NEW_PLACE, 1);
        world_pass(w, 250);
        assert_int_equal(w->n_down, 0);
        world_pass(w, 200);
        expect_down(w, 0, 1, 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_UNVERIFIED), 1);
        from(w, NEW_PLACE, 2); /* and is not waited for again */
        expect_down(w, 0, 1, 2);
        say(w, GW_FRAME_UPDATE, OLD_PLACE, 5); /* until it speaks */
        from(w, NEW_PLACE, 3);
        expect_down(w, 0, 1, 2);
}

static void test_suspects_are_bounded(void **state) {
        struct world *w = start(state);
        char sender[16];

        for (int i = 0; i < 300; i++) {
                snprintf(sender, sizeof sender, "10.98.%d.%d", i / 250, 1 + i % 250);
                from(w, sender, 1);
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_FULL), 300 - 256);
}

/* One host that speaks for everybody does not hide a VM's move from another. */
static void test_one_sender_leaves_room_for_others(void **state) {
        struct world *w = start(state);
        struct gw_mapping m = mapping_of(9, "10.1.0.9", OLD_PLACE, 5);
        uint8_t bytes[64] = {0};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_WIRE_SOURCE,
                .frame = {.vni = WORLD_VNI, .sender = ip_of("10.98.0.1"), .bytes = bytes, .size = sizeof bytes}};

        for (unsigned i = 0; i < 200; i++) {
                char ip[16];

                snprintf(ip, sizeof ip, "10.1.1.%u", i);
                m = mapping_of(100 + i, ip, OLD_PLACE, 5);
                assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
                memcpy(bytes + 6, mac_of(100 + i).b, 6);
                gw_edge_punted(w->edge, w->now, &punt);
                w->n_sent = 0;
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_FULL), 200 - 128);
        from(w, NEW_PLACE, 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_FULL), 200 - 128);
        say(w, GW_FRAME_RESPONSE, NEW_PLACE, 6);
        expect_down(w, 0, 1, 1);
}

/* A host that speaks for many does not fill the log. */
static void test_refusals_are_told_once_a_second(void **state) {
        enum { VMS = 20, ROUNDS = 4 };
        struct world *w = start(state);
        struct gw_mapping m[VMS];
        uint8_t bytes[64] = {0};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_WIRE_SOURCE,
                .frame = {.vni = WORLD_VNI, .sender = ip_of("10.98.0.1"), .bytes = bytes, .size = sizeof bytes}};

        for (unsigned i = 0; i < VMS; i++) {
                char ip[16];

                snprintf(ip, sizeof ip, "10.1.1.%u", i);
                m[i] = mapping_of(100 + i, ip, OLD_PLACE, 5);
                assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m[i], 1, NULL, 0), 0);
                memcpy(bytes + 6, mac_of(100 + i).b, 6);
                gw_edge_punted(w->edge, w->now, &punt);
        }
        for (int round = 0; round < ROUNDS; round++) {
                for (unsigned i = 0; i < VMS; i++)
                        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m[i], 1, NULL, 0), 0);
                world_pass(w, 110);
                w->n_sent = 0;
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_REFUSED), VMS);
        assert_int_equal(w->n_told, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_first_frames_are_faster_than_the_news, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_news_by_push_releases, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_authority_that_is_late_is_asked_again, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_impostor_is_refused, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_without_the_authority_all_pass, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_silent_authority_holds_up_for_a_moment, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_suspects_are_bounded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_one_sender_leaves_room_for_others, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_refusals_are_told_once_a_second, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
