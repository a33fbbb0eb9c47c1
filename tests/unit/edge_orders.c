/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: orders of events in which something was left behind, or reached somebody it was not meant for. */
#include "edge_fixture.h"

enum { OTHER_VNI = 200, STRANGER = 9 };

static const struct gw_mac gateway_mac = {{0x02, 0x67, 0x77, 0, 0, 1}};

static bool has_entry(const struct world *w, uint32_t vni, struct gw_mac mac) {
        for (size_t i = 0; i < w->n_fdb; i++)
                if (w->fdb[i].vni == vni && gw_mac_eq(w->fdb[i].mac, mac))
                        return true;
        return false;
}

/* ---- a VN ends ---- */

static void tell_gateway(struct world *w, const char *locator) {
        struct gw_member member = {
                .vni = WORLD_VNI, .locator = ip_of(locator), .role = GW_MEMBER_ROUTES | GW_MEMBER_LIVE, .cost = 10};

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, NULL, 0, &member, 1), 0);
}

static void the_gateways_entry_goes_with_its_vn(void **state) {
        struct gw_edge_attach again = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 6);
        struct gw_name web = name_of("web");
        struct world *w = *state;

        world_serve(w);
        tell_gateway(w, "10.99.0.8");
        assert_true(has_entry(w, WORLD_VNI, gateway_mac));
        assert_int_equal(gw_edge_delete(w->edge, w->now, &web, false, NULL), 0);
        assert_int_equal(w->n_fdb, 0);
        assert_int_equal(world_attach(w, &again), 0); /* the VNI is another VN's by now, as far as the edge knows */
        assert_false(has_entry(w, WORLD_VNI, gateway_mac));
}

static void the_routed_entry_goes_with_its_vn(void **state) {
        const struct gw_edge_routed vns[] = {{OTHER_VNI, 1450}};
        struct world *w = *state;

        world_serve(w);
        assert_int_equal(gw_edge_route(w->edge, vns, 1, NULL, 0, 0), 0);
        assert_true(has_entry(w, OTHER_VNI, gateway_mac));
        assert_int_equal(gw_edge_route(w->edge, vns, 0, NULL, 0, 0), 0);
        assert_false(has_entry(w, OTHER_VNI, gateway_mac));
}

static void from_wire(struct world *w, const char *sender) {
        uint8_t bytes[64] = {0};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_WIRE_SOURCE,
                .frame = {.vni = WORLD_VNI, .sender = ip_of(sender), .bytes = bytes, .size = sizeof bytes}};

        memcpy(bytes, mac_of(1).b, 6);
        memcpy(bytes + 6, mac_of(STRANGER).b, 6);
        punt.frame.offload[0] = 0x5a;
        gw_edge_punted(w->edge, w->now, &punt);
}

/* What waited for the authority's word about a sender is not let into the next VN with that number. */
static void doubted_frames_go_with_their_vn(void **state) {
        struct gw_mapping m = mapping_of(STRANGER, "10.1.0.9", "10.99.0.8", 5);
        struct gw_edge_attach again = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 6);
        struct gw_name web = name_of("web");
        struct world *w = *state;

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        from_wire(w, "10.99.0.9");
        assert_int_equal(w->n_down, 0);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &web, false, NULL), 0);
        assert_int_equal(world_attach(w, &again), 0);
        world_pass(w, 1000);
        assert_int_equal(w->n_down, 0);
        assert_false(gw_edge_wants_drain(w->edge));
}

/* ---- a port's device is given to another VN ---- */

static void give_to_another_vn(struct world *w) {
        struct gw_edge_attach moved = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 6);

        moved.vni = OTHER_VNI;
        assert_int_equal(world_attach(w, &moved), 0);
}

/* web-1 and db-2 in WORLD_VNI. */
static void serve_two(struct world *w) {
        struct gw_edge_attach db = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 3);

        world_serve(w);
        assert_int_equal(world_attach(w, &db), 0);
}

static void learn_stranger(struct world *w) {
        struct gw_mapping m = mapping_of(STRANGER, "10.1.0.9", "10.99.0.8", 5);

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
}

static void held_frames_do_not_follow_a_device_into_another_vn(void **state) {
        struct world *w = *state;

        serve_two(w);
        world_punt(w, GW_EDGE_UNKNOWN, 1, STRANGER, 1, 1);
        world_punt(w, GW_EDGE_UNKNOWN, 2, STRANGER, 2, 2);
        give_to_another_vn(w);
        learn_stranger(w);
        gw_edge_punts_drained(w->edge, w->now);
        assert_int_equal(w->n_down, 1); /* the one whose port is still there */
        assert_int_equal(w->down[0].ifindex, 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_PORT_CHANGED), 1);
}

static void frames_on_their_way_up_do_not_either(void **state) {
        static const uint8_t reasons[] = {GW_EDGE_UNKNOWN, GW_EDGE_HOLD,    GW_EDGE_SOLICIT,
                                          GW_EDGE_GROUPS,  GW_EDGE_TOO_BIG, GW_EDGE_ANNOUNCE};
        struct world *w = *state;

        serve_two(w);
        learn_stranger(w);
        give_to_another_vn(w);
        for (size_t i = 0; i < sizeof reasons; i++)
                world_punt(w, reasons[i], 1, STRANGER, 1, 1);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_PORT_CHANGED), sizeof reasons);
}

/* ---- words that come late ---- */

/* Three times the authority had it elsewhere; then it says that the sender was right. What is on its way up passes. */
static void the_last_word_about_a_sender_counts(void **state) {
        struct gw_mapping old = mapping_of(STRANGER, "10.1.0.9", "10.99.0.8", 5),
                          new = mapping_of(STRANGER, "10.1.0.9", "10.99.0.9", 6);
        struct world *w = *state;

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &old, 1, NULL, 0), 0);
        from_wire(w, "10.99.0.9");
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &old, 1, NULL, 0), 0);
        world_pass(w, 350);
        from_wire(w, "10.99.0.9");
        assert_int_equal(world_counter(w, GW_EDGE_C_SOURCES_REFUSED), 2);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &new, 1, NULL, 0), 0);
        from_wire(w, "10.99.0.9");
        assert_int_equal(w->n_down, 1);
}

/* A device that claims the task `cable`, is told that it is there, and is wrong: a newer epoch is elsewhere. */
static void refused_claim(struct world *w) {
        struct gw_edge_attach cable = world_port("cable", 4, "10.1.0.4", GW_EDGE_SERVING, 0);
        struct gw_mapping newer = mapping_of(4, "10.1.0.4", "10.99.0.8", 9);
        struct gw_name vm = name_of("cable"), port = {""};

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &newer, 1, NULL, 0), 0);
        assert_int_equal(gw_edge_claim(w->edge, &cable, NULL), 0);
        assert_int_equal(gw_edge_claimed(w->edge, w->now, &vm, 7, &port, NULL), GW_E_STALE);
        assert_int_equal(w->open[4], GW_EDGE_CLAIMING);
}

/* A claim that cannot be granted stays one: its device is not left open with nobody to close it. */
static void a_claim_that_is_refused_stays(void **state) {
        struct gw_name vm = name_of("cable"), port = {""};
        struct world *w = *state;

        refused_claim(w);
        assert_int_equal(gw_edge_claimed(w->edge, w->now, &vm, 10, &port, NULL), 0);
        gw_edge_device_gone(w->edge, w->now, 4);
        assert_int_equal(w->open[4], 0);
}

static void a_refused_claim_goes_with_its_device(void **state) {
        struct world *w = *state;

        refused_claim(w);
        gw_edge_device_gone(w->edge, w->now, 4);
        assert_int_equal(w->open[4], 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(the_gateways_entry_goes_with_its_vn),  TEST(the_routed_entry_goes_with_its_vn),
                TEST(doubted_frames_go_with_their_vn),      TEST(held_frames_do_not_follow_a_device_into_another_vn),
                TEST(frames_on_their_way_up_do_not_either), TEST(the_last_word_about_a_sender_counts),
                TEST(a_claim_that_is_refused_stays),        TEST(a_refused_claim_goes_with_its_device),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
