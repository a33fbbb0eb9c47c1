/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: ports, VMs that come and go, redirects, holds. */
#include "edge_fixture.h"

/* ---- ports ---- */

static void test_serve(void **state) {
        struct world *w = *state;
        struct gw_registration reg;

        world_serve(w);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(world_fdb_find(w, 1)->entry.epoch, 5);
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
        assert_int_equal(w->open[1], GW_EDGE_SERVING);
        assert_int_equal(world_sent_count(w, GW_FRAME_SUBSCRIBE), 1);
        reg = world_registration(w);
        assert_string_equal(reg.vm.s, "web@default");
        assert_int_equal(reg.handoff, GW_MH_HANDOFF_NEW);
        assert_int_equal(reg.epoch, 5);
        assert_int_equal(reg.n_addrs4, 1);
        assert_int_equal(reg.n_macs, 1);
}

static void test_attach_refusals(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a;

        world_serve(w);
        a = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        assert_int_equal(world_attach(w, &a), 0); /* the same again */
        a.epoch = 4;
        assert_int_equal(world_attach(w, &a), GW_E_STALE);
        a = world_port("db", 2, "10.1.0.1", GW_EDGE_SERVING, 1);
        assert_int_equal(world_attach(w, &a), GW_E_EXISTS); /* the address */
        a = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        a.mac = mac_of(1);
        assert_int_equal(world_attach(w, &a), GW_E_EXISTS);
        a.mac = (struct gw_mac){{1, 0, 0, 0, 0, 1}};
        assert_int_equal(world_attach(w, &a), GW_E_INVALID);
        a = world_port("db", 2, "10.1.0.2", GW_EDGE_ARRIVING, 1);
        a.peer = (struct gw_ip){{0}};
        assert_int_equal(world_attach(w, &a), GW_E_INVALID);
        a = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        w->open_result = GW_E_FULL;
        assert_int_equal(world_attach(w, &a), GW_E_FULL);
        assert_null(world_fdb_find(w, 2));
        assert_false(world_neigh_is(w, "10.1.0.2", 2));
        assert_int_equal(w->n_fdb, 1);
}

static void test_vn_goes_with_its_last_port(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 1);
        struct gw_member member = {WORLD_VNI, ip_of("10.99.0.9"), false};
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 3, &m, 1, &member, 1), 0);
        assert_int_equal(world_sent_find(w, GW_FRAME_UPDATE_ACK)->id, 3);
        assert_true(world_member_is(w, "10.99.0.9"));
        assert_int_equal(world_fdb_find(w, 9)->entry.place, GW_EDGE_TO_REMOTE);
        assert_true(world_neigh_is(w, "10.1.0.9", 9));
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        assert_int_equal(world_registration(w).lifetime_units, 0);
        assert_int_equal(w->n_fdb, 0);
        assert_int_equal(w->n_neighs, 0);
        assert_int_equal(w->n_members, 0);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_SUBSCRIBE), 2);
}

/* ---- the cut, and the way back ---- */

static void test_cut_without_the_nva(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        struct gw_edge_attach b = world_port("web", 2, "10.1.0.2", GW_EDGE_SERVING, 5);
        struct gw_name vm = name_of("web");
        struct gw_ip to = ip_of("10.99.0.2"), talkers[4];
        struct gw_report report;

        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(world_attach(w, &b), 0);
        w->talkers[0] = ip_of("10.99.0.3");
        w->n_talkers = 1;
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, to, 5, NULL), GW_E_STALE);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, w->self, 6, NULL), GW_E_INVALID);
        memset(w->order, 0, sizeof w->order);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, to, 6, NULL), 0);
        assert_string_equal(w->order, "cctt"); /* all ports before anything else */
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_int_equal(world_fdb_find(w, 2)->entry.epoch, 6);
        assert_true(world_member_is(w, "10.99.0.2"));
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, to, 6, NULL), 0);
        assert_int_equal(gw_edge_talkers(w->edge, &vm, talkers, 4), 1);
        world_up(w);
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 0);
        assert_int_equal(gw_report_decode(world_sent_find(w, GW_FRAME_REPORT)->body,
                                          world_sent_find(w, GW_FRAME_REPORT)->size, &report),
                         0);
        assert_int_equal(report.kind, GW_REPORT_TALKERS);
        assert_int_equal(report.epoch, 6);
        assert_int_equal(report.n_locators, 1);
}

static void test_uncut(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_mapping m = mapping_of(1, "10.1.0.1", "10.99.0.2", 6);

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 6, NULL), GW_E_STALE);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, NULL), 0);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(world_fdb_find(w, 1)->entry.epoch, 7);
        assert_int_equal(w->open[1], GW_EDGE_SERVING);
        assert_int_equal(world_registration(w).epoch, 7);
        assert_int_equal(world_registration(w).handoff, GW_MH_HANDOFF_MOVED);
        /* what the NVA still says about epoch 6 changes nothing */
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
}

static void test_uncut_after_a_newer_place(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_mapping m = mapping_of(1, "10.1.0.1", "10.99.0.3", 9);

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        /* the redirect follows, so that nothing is redirected twice */
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.3")));
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, NULL), GW_E_STALE);
}

static void test_redirect_ends(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        struct gw_name vm = name_of("web");
        struct gw_report report;

        world_serve(w);
        assert_int_equal(world_attach(w, &other), 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        world_pass(w, 20000);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED); /* not deleted: stays */
        w->redirected_at = w->now.mono;
        w->redirected = 3;
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
        assert_int_equal(w->open[1], 0);
        world_pass(w, 1500);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED); /* not idle for long enough */
        world_forget_sent(w);
        world_pass(w, 1000);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_REMOTE);
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.2")));
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
        assert_int_equal(gw_report_decode(world_sent_find(w, GW_FRAME_REPORT)->body,
                                          world_sent_find(w, GW_FRAME_REPORT)->size, &report),
                         0);
        assert_int_equal(report.kind, GW_REPORT_REDIRECT_ENDED);
        assert_int_equal(report.redirected, 3);
        assert_int_equal(report.epoch, 6);
}

static void test_redirect_timer(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
        world_pass(w, 4900);
        assert_non_null(world_fdb_find(w, 1)); /* idle, but younger than the timer */
        world_pass(w, 500);
        assert_null(world_fdb_find(w, 1)); /* the VN has no port here any more */
        assert_int_equal(w->n_members, 0);
}

static void test_device_gone(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        gw_edge_device_gone(w->edge, w->now, 1);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, NULL), GW_E_CONFLICT);
        world_pass(w, 6000);
        assert_null(world_fdb_find(w, 1));
}

static void test_stale_senders(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_report report;

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        world_forget_sent(w);
        gw_edge_stale_sender(w->edge, w->now, WORLD_VNI, mac_of(1), ip_of("10.99.0.4"));
        gw_edge_stale_sender(w->edge, w->now, WORLD_VNI, mac_of(1), ip_of("10.99.0.5"));
        gw_edge_stale_sender(w->edge, w->now, WORLD_VNI, mac_of(1), ip_of("10.99.0.4"));
        world_pass(w, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 1);
        assert_int_equal(gw_report_decode(w->sent[0].body, w->sent[0].size, &report), 0);
        assert_int_equal(report.kind, GW_REPORT_STALE_SENDERS);
        assert_int_equal(report.n_locators, 2);
}

/* ---- arriving ---- */

static void test_arrive_and_activate(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 6);
        struct gw_name vm = name_of("web");

        assert_int_equal(world_attach(w, &a), 0);
        world_up(w);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.2")));
        assert_true(world_member_is(w, "10.99.0.2"));
        assert_false(w->hold[1]); /* its queue is the hold */
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.3"), 7, NULL), GW_E_CONFLICT);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 5, NULL), GW_E_STALE);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 6, NULL), 0);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 6, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(w->open[1], GW_EDGE_SERVING);
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 1);
        assert_int_equal(world_registration(w).handoff, GW_MH_HANDOFF_MOVED);
}

static void test_activate_too_late(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 6);
        struct gw_mapping back = mapping_of(1, "10.1.0.1", "10.99.0.2", 7);
        struct gw_name vm = name_of("web");

        assert_int_equal(world_attach(w, &a), 0);
        world_up(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &back, 1, NULL, 0), 0);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 6, NULL), GW_E_STALE);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
}

static void test_abandon_restores_the_mapping(void **state) {
        struct world *w = *state;
        struct gw_edge_attach local = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 6);
        struct gw_mapping m = mapping_of(1, "10.1.0.1", "10.99.0.2", 5);
        struct gw_name vm = name_of("web");

        assert_int_equal(world_attach(w, &local), 0);
        world_up(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_REMOTE);
        assert_int_equal(world_fdb_find(w, 1)->entry.epoch, 5);
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
}

static void test_hold_is_released_in_order(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("task", 3, "10.1.0.3", GW_EDGE_ARRIVING, 2);
        struct gw_name vm = name_of("task");

        a.queues = false;
        assert_int_equal(world_attach(w, &a), 0);
        assert_true(w->hold[3]);
        world_punt(w, GW_EDGE_HOLD, 3, 3, 9, 1);
        world_pass(w, 2500); /* too old by the time of release */
        for (uint8_t tag = 2; tag <= 5; tag++)
                world_punt(w, GW_EDGE_HOLD, 3, 3, 9, tag);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 2, NULL), 0);
        assert_true(w->hold[3]); /* what comes up while the held ones go must not be overtaken */
        assert_true(gw_edge_wants_drain(w->edge));
        world_punt(w, GW_EDGE_HOLD, 3, 3, 9, 6);
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(w->hold[3]);
        assert_false(gw_edge_wants_drain(w->edge));
        assert_int_equal(w->n_down, 5);
        for (uint8_t i = 0; i < 5; i++) {
                assert_int_equal(w->down[i].tag, i + 2);
                assert_int_equal(w->down[i].how, GW_EDGE_DELIVER);
                assert_int_equal(w->down[i].ifindex, 3);
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_AGE), 1);
}

static void test_hold_before_the_stop(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 0, NULL), 0);
        assert_true(w->hold[1]);
        for (uint8_t tag = 1; tag <= 3; tag++)
                world_punt(w, GW_EDGE_HOLD, 1, 1, 9, tag);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        world_punt(w, GW_EDGE_HOLD, 1, 1, 9, 4);
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(w->hold[1]);
        assert_int_equal(w->n_down, 4);
        for (uint8_t i = 0; i < 4; i++) {
                assert_int_equal(w->down[i].tag, i + 1);
                assert_int_equal(w->down[i].how, GW_EDGE_DRAIN);
        }
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 0, NULL), GW_E_CONFLICT);
}

/* What lies in the old tap is older than what comes after the cut: that waits until the tap has been drained. */
static void test_cut_lets_the_queue_go_first(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_true(world_fdb_find(w, 1)->entry.punt);
        assert_true(gw_edge_wants_drain(w->edge));
        world_punt(w, GW_EDGE_WIRE_UNKNOWN, 0, 1, 9, 1);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, GW_EDGE_FROM_WIRE);
        assert_true(w->down[0].entry_punts); /* nothing can overtake it */
        gw_edge_punts_drained(w->edge, w->now);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_false(world_fdb_find(w, 1)->entry.punt);
        assert_false(gw_edge_wants_drain(w->edge));
}

/* Taken back before the drain: frames go to the VM again, behind those that came up. */
static void test_uncut_before_the_drain(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_true(world_fdb_find(w, 1)->entry.punt);
        gw_edge_punts_drained(w->edge, w->now);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_false(world_fdb_find(w, 1)->entry.punt);
}

static void test_hold_ends_by_itself(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 100, NULL), 0);
        world_punt(w, GW_EDGE_HOLD, 1, 1, 9, 1);
        world_pass(w, 99);
        assert_int_equal(w->n_down, 0);
        world_pass(w, 1);
        assert_true(gw_edge_wants_drain(w->edge));
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(w->hold[1]);
        assert_int_equal(w->down[0].how, GW_EDGE_DELIVER);
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 100, NULL), 0);
        world_punt(w, GW_EDGE_HOLD, 1, 1, 9, 2);
        assert_int_equal(gw_edge_unhold(w->edge, w->now, &vm, NULL), 0);
        assert_int_equal(w->down[1].tag, 2);
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 100, NULL), 0); /* again, before the drain */
        gw_edge_punts_drained(w->edge, w->now);
        assert_true(w->hold[1]);
        assert_int_equal(w->open[1], GW_EDGE_SERVING);
}

static void test_coming_back_while_redirecting(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 8);
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(world_attach(w, &a), GW_E_CONFLICT); /* the old copy is still attached */
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
        a.ifindex = 7;
        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        assert_int_equal(world_fdb_find(w, 1)->entry.ifindex, 7);
        world_pass(w, 20000); /* the end of the old redirect must not take the new port with it */
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, 8, NULL), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_serve, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_attach_refusals, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_vn_goes_with_its_last_port, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_cut_without_the_nva, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_uncut, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_uncut_after_a_newer_place, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_redirect_ends, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_redirect_timer, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_device_gone, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_stale_senders, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_arrive_and_activate, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_activate_too_late, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_abandon_restores_the_mapping, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_hold_is_released_in_order, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_hold_before_the_stop, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_cut_lets_the_queue_go_first, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_uncut_before_the_drain, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_hold_ends_by_itself, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_coming_back_while_redirecting, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("edge", tests, NULL, NULL);
}
