/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A move that is taken back after its cut, at both edges: what the target holds goes back, once and to where the VM is;
 * what the VM says, and what comes back, before its edge knows, waits for that.
 */
#include "edge_fixture.h"

enum { SOURCE_EPOCH = 5, TARGET_EPOCH, BACK_EPOCH, FRAME = 64 };

static const char *const source = "10.99.0.2"; /* as in world_port */
static const char *const target = "10.99.0.9", *const former = "10.99.0.7";

static int give_back(struct world *w, uint64_t epoch) {
        struct gw_name vm = name_of("web");

        return gw_edge_return(w->edge, w->now, &vm, epoch, NULL);
}

static void arrive(struct world *w) {
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, TARGET_EPOCH);

        assert_int_equal(world_attach(w, &a), 0);
        world_up(w);
        w->send_backs = 0;
        w->queued = false;
}

static void told(struct world *w, const char *locator, uint64_t epoch) {
        struct gw_mapping m = mapping_of(1, "10.1.0.1", locator, epoch);

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 9, &m, 1, NULL, 0), 0);
}

enum { GROUP = 0 }; /* instead of the number of a MAC */

static void comes_from(struct world *w, const char *sender, uint8_t reason, unsigned to, unsigned from, uint8_t tag,
                       uint32_t ifindex, bool redirected) {
        static const struct gw_mac group = {{0x33, 0x33, 0, 0, 0, 1}};
        uint8_t bytes[FRAME] = {[14] = tag};
        struct gw_edge_punt punt = {.reason = reason,
                                    .frame = {.vni = WORLD_VNI,
                                              .ifindex = ifindex,
                                              .redirected = redirected,
                                              .sender = ip_of(sender),
                                              .bytes = bytes,
                                              .size = sizeof bytes}};

        memcpy(bytes, to == GROUP ? group.b : mac_of(to).b, 6);
        memcpy(bytes + 6, mac_of(from).b, 6);
        gw_edge_punted(w->edge, w->now, &punt);
}

/* As from where it was cut over to. */
static void comes(struct world *w, uint8_t reason, unsigned to, unsigned from, uint8_t tag, uint32_t ifindex,
                  bool redirected) {
        comes_from(w, target, reason, to, from, tag, ifindex, redirected);
}

static void expect_down(const struct world *w, size_t i, int how, uint8_t tag) {
        assert_true(i < w->n_down);
        assert_int_equal(w->down[i].how, how);
        assert_int_equal(w->down[i].tag, tag);
        assert_int_equal(w->down[i].ifindex, 1);
}

/* ---- where it did not arrive ---- */

static void nothing_goes_back_before_it_is_back(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        arrive(w);
        w->queued = true;
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, TARGET_EPOCH, NULL), GW_E_CONFLICT);
        assert_true(world_sent_count(w, GW_FRAME_QUERY) >= 1);
        told(w, source, SOURCE_EPOCH); /* late: of before the move */
        told(w, "10.99.0.1", TARGET_EPOCH);
        world_pass(w, 10000);
        assert_int_equal(w->send_backs, 0);
        told(w, source, BACK_EPOCH);
        assert_int_equal(w->send_backs, 1);
        assert_true(world_member_is(w, source));
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING); /* what is under way still queues */
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of(source)));
}

static void it_goes_on_until_nothing_comes(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);

        arrive(w);
        assert_int_equal(world_attach(w, &other), 0);
        told(w, source, BACK_EPOCH); /* before the agent says so */
        assert_int_equal(w->send_backs, 1);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        assert_int_equal(w->send_backs, 1);
        world_forget_sent(w);
        world_pass(w, 4900); /* the redirect's least time */
        w->returned = 1;
        told(w, "10.99.0.7", BACK_EPOCH + 2); /* it has moved on */
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.7")));
        world_pass(w, 1900); /* and its idle time */
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_ARRIVING);
        world_pass(w, 350);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_REMOTE);
        assert_int_equal(world_fdb_find(w, 1)->entry.epoch, BACK_EPOCH + 2);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(give_back(w, TARGET_EPOCH), GW_E_NOT_FOUND);
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 0); /* no move began here */
}

/* A device that is no tap. */
static void what_a_port_holds_goes_back(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, TARGET_EPOCH);

        a.queues = false;
        assert_int_equal(world_attach(w, &a), 0);
        world_up(w);
        assert_true(w->hold[1]);
        comes_from(w, source, GW_EDGE_HOLD, 1, 7, 1, 1, true);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        comes_from(w, former, GW_EDGE_HOLD, 1, 7, 2, 1, false);
        assert_int_equal(w->n_down, 0);
        told(w, source, BACK_EPOCH);
        assert_int_equal(w->n_down, 2);
        comes_from(w, former, GW_EDGE_HOLD, 1, 7, 3, 1, false);
        world_pass(w, 150);
        assert_int_equal(w->n_down, 3);
        for (uint8_t i = 0; i < 3; i++)
                expect_down(w, i, GW_EDGE_DRAIN, (uint8_t)(i + 1));
}

/* One frame now and then does not keep tap and port for ever. */
static void it_ends_though_frames_come(void **state) {
        struct world *w = *state;

        arrive(w);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        told(w, source, BACK_EPOCH);
        for (int s = 0; s < 59; s++) {
                w->returned++;
                world_pass(w, 1000);
        }
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        assert_int_equal(w->sent_back_with, GW_EDGE_TO_ARRIVING);
        w->returned++;
        world_pass(w, 1200);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(w->sent_back_with, GW_EDGE_TO_MOVED); /* after that nothing more came into the queue */
        assert_int_equal(w->closed_with, GW_EDGE_TO_MOVED);
        assert_null(world_fdb_find(w, 1)); /* it was the last in its VN */
}

static void without_a_cut_it_is_soon_forgotten(void **state) {
        struct world *w = *state;

        arrive(w);
        told(w, source, SOURCE_EPOCH);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        world_pass(w, 14500);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        world_pass(w, 600);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(w->send_backs, 0);
        assert_int_equal(give_back(w, TARGET_EPOCH), GW_E_NOT_FOUND);
}

/* Of which only the source's edge knows, whose agent is away: it sends on the little that comes. */
static void a_cut_that_nobody_told_of(void **state) {
        struct world *w = *state;

        arrive(w);
        told(w, source, SOURCE_EPOCH);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        world_pass(w, 9000);
        w->queued = true;
        for (int s = 0; s < 25; s++) {
                world_forget_sent(w);
                world_pass(w, 1000);
        }
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        told(w, source, BACK_EPOCH);
        assert_int_equal(w->send_backs, 1);
}

static void nobody_says_where_it_is(void **state) {
        struct world *w = *state;

        arrive(w);
        w->queued = true;
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        for (int s = 0; s < 59; s++) {
                world_forget_sent(w);
                world_pass(w, 1000);
        }
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        world_pass(w, 2200);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(w->send_backs, 0);
}

/* Its agent is gone for good; the device is there for as long as it is kept here. */
static void without_its_agent_it_goes_back_by_itself(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        struct gw_name vm = name_of("web");

        arrive(w);
        assert_int_equal(world_attach(w, &other), 0);
        told(w, source, SOURCE_EPOCH);
        told(w, "10.99.0.1", TARGET_EPOCH);
        assert_int_equal(w->open[1], GW_EDGE_ARRIVING);
        told(w, "10.99.0.7", BACK_EPOCH);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        assert_int_equal(w->send_backs, 1);
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.7")));
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, TARGET_EPOCH, NULL), GW_E_STALE);
        world_pass(w, 5200);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_REMOTE);
        told(w, "10.99.0.8", BACK_EPOCH + 2); /* wherever it goes, local senders follow */
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("10.99.0.8")));
        assert_int_equal(give_back(w, TARGET_EPOCH), GW_E_NOT_FOUND); /* should it come after all */
}

/* Stopped or deleted while its agent here is gone for good. */
static void it_is_nowhere_any_more(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", 1, "10.1.0.1", GW_EDGE_SERVING, 1);
        struct gw_name vm = name_of("web");

        arrive(w);
        other.ifindex = 2;
        other.id = name_of("db-2");
        told(w, NULL, SOURCE_EPOCH);
        told(w, NULL, TARGET_EPOCH);
        assert_int_equal(w->open[1], GW_EDGE_ARRIVING);
        told(w, NULL, BACK_EPOCH + 1);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, TARGET_EPOCH, NULL), GW_E_CONFLICT);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0); /* should it come after all */
        assert_int_equal(world_attach(w, &other), GW_E_EXISTS);
        world_pass(w, 2100);
        assert_int_equal(w->open[1], 0);
        assert_int_equal(w->send_backs, 0);
        assert_int_equal(world_attach(w, &other), 0);
}

/* It was started elsewhere soon after: what is here is not thrown away. */
static void it_is_nowhere_for_a_while(void **state) {
        struct world *w = *state;

        arrive(w);
        w->queued = true;
        told(w, NULL, BACK_EPOCH + 1);
        world_pass(w, 5000);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING);
        assert_int_equal(w->send_backs, 0);
        told(w, former, BACK_EPOCH + 2);
        assert_int_equal(w->send_backs, 1);
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of(former)));
}

/* Who has not asked is not told in every VN. */
static void it_is_asked_for_now_and_then(void **state) {
        struct world *w = *state;
        struct gw_query query;

        arrive(w);
        world_forget_sent(w);
        world_pass(w, GW_EDGE_REPORT_EVERY_MS + 50);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(gw_query_decode(world_sent_find(w, GW_FRAME_QUERY)->body,
                                         world_sent_find(w, GW_FRAME_QUERY)->size, &query),
                         0);
        assert_true(query.by_mac && gw_mac_eq(query.mac, mac_of(1)));
}

static void look_at_port(const struct gw_edge_port_view *view, void *user) {
        *(struct gw_edge_attach *)user = *view->port;
        ((struct gw_edge_attach *)user)->returning = view->returning;
}

/* The file of its port says what it arrived with, whatever was heard since: as its agent has it, too. */
static void it_goes_on_after_a_restart(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_edge_attach kept;

        arrive(w);
        told(w, former, BACK_EPOCH);
        assert_int_equal(w->send_backs, 1);
        gw_edge_each_port(w->edge, look_at_port, &kept);
        assert_int_equal(kept.epoch, TARGET_EPOCH);
        assert_true(kept.returning && gw_ip_eq(kept.peer, ip_of(former)));
        world_deinit(w);
        world_init(w);
        assert_int_equal(world_attach(w, &kept), 0);
        assert_int_equal(w->open[1], GW_EDGE_RETURNING); /* the copy here says nothing */
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of(former)));
        world_up(w);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, TARGET_EPOCH, NULL), GW_E_CONFLICT);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        told(w, former, BACK_EPOCH);
        assert_int_equal(w->send_backs, 1);
        told(w, former, BACK_EPOCH); /* repeated, it changes nothing */
        assert_int_equal(w->send_backs, 1);
        world_pass(w, 5200);
        assert_int_equal(w->open[1], 0);
}

/* Of a VM with two ports, and where it is not known that it was returning. */
static void both_go_on_after_a_restart(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, TARGET_EPOCH),
                              b = world_port("web", 2, "10.1.0.2", GW_EDGE_ARRIVING, TARGET_EPOCH);

        a.returning = b.returning = true;
        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(world_attach(w, &b), 0);
        assert_true(w->open[1] == GW_EDGE_RETURNING && w->open[2] == GW_EDGE_RETURNING);
        world_deinit(w);
        world_init(w);
        a.returning = b.returning = false;
        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(world_attach(w, &b), 0);
        assert_true(w->open[1] == GW_EDGE_ARRIVING && w->open[2] == GW_EDGE_ARRIVING);
        world_up(w);
        told(w, source, BACK_EPOCH);
        assert_true(w->open[1] == GW_EDGE_RETURNING && w->open[2] == GW_EDGE_RETURNING);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
}

static void only_what_arrives_returns(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        assert_int_equal(give_back(w, TARGET_EPOCH), GW_E_NOT_FOUND);
        arrive(w);
        assert_int_equal(give_back(w, SOURCE_EPOCH), GW_E_STALE);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, TARGET_EPOCH, NULL), 0);
        assert_int_equal(give_back(w, TARGET_EPOCH), GW_E_CONFLICT);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
}

/* The next move to here finds the port taken; deleted it begins anew, as ever. */
static void it_may_come_again(void **state) {
        struct world *w = *state;
        struct gw_edge_attach again = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, BACK_EPOCH + 1);
        struct gw_name vm = name_of("web");

        arrive(w);
        assert_int_equal(give_back(w, TARGET_EPOCH), 0);
        told(w, source, BACK_EPOCH);
        assert_int_equal(world_attach(w, &again), GW_E_CONFLICT);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        assert_int_equal(world_attach(w, &again), 0);
        assert_int_equal(w->open[1], GW_EDGE_ARRIVING);
        assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, BACK_EPOCH + 1, NULL), 0);
        world_pass(w, 5000);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
}

/* ---- where it is taken back ---- */

/* The VM that it talks with. */
static void neighbour_told(struct world *w) {
        struct gw_mapping m = mapping_of(7, "10.1.0.7", former, 1);

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 9, &m, 1, NULL, 0), 0);
}

static void cut(struct world *w) {
        struct gw_name vm = name_of("web");

        world_serve(w);
        neighbour_told(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(target), TARGET_EPOCH, NULL), 0);
        gw_edge_punts_drained(w->edge, w->now);
        w->n_down = 0;
}

static void what_waits_leaves_when_it_is_back(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        cut(w);
        comes(w, GW_EDGE_FENCED, 7, 1, 1, 1, false);
        comes(w, GW_EDGE_RETURNED, 1, 7, 2, 0, true);
        comes(w, GW_EDGE_HOLD, GROUP, 7, 3, 1, true);
        comes(w, GW_EDGE_FENCED, 7, 1, 4, 1, false);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH, NULL), 0);
        assert_int_equal(w->n_down, 4);
        expect_down(w, 0, GW_EDGE_DELIVER, 2);
        expect_down(w, 1, GW_EDGE_DELIVER, 3);
        expect_down(w, 2, GW_EDGE_AS_SENT, 1);
        expect_down(w, 3, GW_EDGE_AS_SENT, 4);
        comes(w, GW_EDGE_FENCED, 7, 1, 5, 1, false); /* these were on their way up */
        comes(w, GW_EDGE_RETURNED, 1, 7, 6, 0, true);
        expect_down(w, 4, GW_EDGE_AS_SENT, 5);
        expect_down(w, 5, GW_EDGE_DELIVER, 6);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED_SENT), 3);
        assert_int_equal(world_counter(w, GW_EDGE_C_BACK_DELIVERED), 3);
}

/* What came up marked from the place before this one, while the VM was held for the next cut, goes on after it. */
static void what_was_held_at_the_cut_goes_on(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_hold(w->edge, w->now, &vm, 0, NULL), 0);
        comes_from(w, former, GW_EDGE_HOLD, 1, 7, 1, 1, true);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(target), TARGET_EPOCH, NULL), 0);
        comes_from(w, former, GW_EDGE_HOLD, 1, 7, 2, 1, true); /* were read late */
        comes_from(w, former, GW_EDGE_HOLD, GROUP, 7, 3, 1, true);
        comes_from(w, target, GW_EDGE_HOLD, GROUP, 7, 4, 1, true); /* the former one, when it goes back to it */
        gw_edge_punts_drained(w->edge, w->now);
        comes_from(w, former, GW_EDGE_HOLD, 1, 7, 5, 1, true);
        comes_from(w, former, GW_EDGE_HOLD, GROUP, 7, 6, 1, true);
        assert_int_equal(w->n_down, 6);
        for (uint8_t i = 0; i < 6; i++)
                expect_down(w, i, GW_EDGE_DRAIN, (uint8_t)(i + 1));
        comes_from(w, target, GW_EDGE_HOLD, GROUP, 7, 7, 1, true); /* it does not arrive there */
        assert_int_equal(w->n_down, 6);
}

/* The move went well: the old copy is silent, and what comes back for it has no way to go. */
static void it_is_dropped_when_the_vm_is_elsewhere(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        cut(w);
        comes(w, GW_EDGE_FENCED, 7, 1, 1, 1, false);
        comes(w, GW_EDGE_RETURNED, 1, 7, 2, 0, true);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
        comes(w, GW_EDGE_RETURNED, 1, 7, 3, 0, true);
        comes(w, GW_EDGE_FENCED, 7, 1, 4, 1, false);
        comes(w, GW_EDGE_RETURNED, 8, 7, 5, 0, true); /* nobody's */
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED_DROPPED), 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_BACK_DROPPED), 3);
}

static void what_waits_grows_old(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        cut(w);
        comes(w, GW_EDGE_FENCED, 7, 1, 1, 1, false);
        world_pass(w, GW_EDGE_HOLD_MS + 100);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH, NULL), 0); /* though nothing more came */
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED_DROPPED), 1);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(target), BACK_EPOCH + 1, NULL), 0);
        gw_edge_punts_drained(w->edge, w->now);
        comes(w, GW_EDGE_FENCED, 7, 1, 1, 1, false);
        world_pass(w, GW_EDGE_HOLD_MS + 100);
        comes(w, GW_EDGE_FENCED, 7, 1, 2, 1, false);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH + 2, NULL), 0);
        assert_int_equal(w->n_down, 1);
        expect_down(w, 0, GW_EDGE_AS_SENT, 2);
}

/* ---- how much may wait ---- */

enum { CUT_VMS = 10, LARGE = 65000, OF_A_QUEUE = (32 << 20) / LARGE };

static struct gw_name numbered(int i) {
        const char name[] = {'w', (char)('0' + i), 0};

        return name_of(name);
}

static void cut_numbered(struct world *w, int i, uint64_t epoch) {
        struct gw_name vm = numbered(i);
        char address[] = {'1', '0', '.', '1', '.', '0', '.', (char)('0' + i), 0};
        struct gw_edge_attach a = world_port(vm.s, (unsigned)i, address, GW_EDGE_SERVING, epoch);

        assert_int_equal(world_attach(w, &a), 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(target), epoch + 1, NULL), 0);
        gw_edge_punts_drained(w->edge, w->now);
        w->n_down = 0;
}

/* Large frames come for a VM that was cut, and large ones from it: how many of them wait. Those that do not are counted. */
static uint64_t filled(struct world *w, int vm) {
        static uint8_t bytes[LARGE];
        struct gw_edge_punt back = {.reason = GW_EDGE_RETURNED,
                                    .frame = {.vni = WORLD_VNI,
                                              .redirected = true,
                                              .sender = ip_of(target),
                                              .bytes = bytes,
                                              .size = sizeof bytes}};
        struct gw_edge_punt fenced = back;
        uint64_t n, before = world_counter(w, GW_EDGE_C_FENCED_DROPPED) + world_counter(w, GW_EDGE_C_BACK_DROPPED);

        fenced.reason = GW_EDGE_FENCED;
        fenced.frame.ifindex = (uint32_t)vm;
        memcpy(bytes, mac_of((unsigned)vm).b, 6);
        for (n = 0; n < 2 * (OF_A_QUEUE + 1); n += 2) {
                gw_edge_punted(w->edge, w->now, &back);
                gw_edge_punted(w->edge, w->now, &fenced);
        }
        return n + before - world_counter(w, GW_EDGE_C_FENCED_DROPPED) - world_counter(w, GW_EDGE_C_BACK_DROPPED);
}

static void count_given(const struct gw_edge_punt *punt, void *user) {
        (void)punt;
        ++*(uint64_t *)user;
}

/* Every way out of the queues makes room for others. What is said takes no more than half of it: two ports' worth. */
static void what_waits_for_all_is_bounded(void **state) {
        struct world *w = *state;
        uint64_t in_all = 0, given = 0;
        struct gw_name first = numbered(1);

        world_up(w);
        for (int i = 1; i < CUT_VMS; i++)
                cut_numbered(w, i, SOURCE_EPOCH);
        assert_int_equal(filled(w, 1), 2 * OF_A_QUEUE);
        for (int i = 2; i < CUT_VMS; i++)
                in_all += filled(w, i);
        in_all += 2 * (uint64_t)OF_A_QUEUE;
        assert_in_range(in_all * LARGE, GW_EDGE_TAKING_BACK_MAX * 0.99, GW_EDGE_TAKING_BACK_MAX);
        assert_int_equal(filled(w, CUT_VMS - 1), 0);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &first, true, NULL), 0); /* it went well after all */
        assert_int_equal(filled(w, CUT_VMS - 1), OF_A_QUEUE);
        assert_in_range(filled(w, CUT_VMS - 2), OF_A_QUEUE - 8, OF_A_QUEUE);
        world_pass(w, GW_EDGE_HOLD_MS + 100);
        comes(w, GW_EDGE_FENCED, 7, 2, 1, 2, false); /* and what the others said before grows old */
        assert_in_range(filled(w, CUT_VMS - 3), OF_A_QUEUE - 8, OF_A_QUEUE);
        in_all = gw_edge_give_back(w->edge, count_given, &given);
        assert_int_equal(in_all, given);
        assert_in_range(given * LARGE, GW_EDGE_TAKING_BACK_MAX * 0.9, GW_EDGE_TAKING_BACK_MAX);
        w->now.mono.ns += gw_ms(1).ns;
        for (int i = 2; i < CUT_VMS - 3; i++) {
                uint64_t queues = i < 4 ? 2 : 1;

                assert_in_range(filled(w, i), queues * OF_A_QUEUE - 8, queues * OF_A_QUEUE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(nothing_goes_back_before_it_is_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_goes_on_until_nothing_comes, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_a_port_holds_goes_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_ends_though_frames_come, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(without_a_cut_it_is_soon_forgotten, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(a_cut_that_nobody_told_of, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(nobody_says_where_it_is, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(without_its_agent_it_goes_back_by_itself, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_is_nowhere_any_more, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_is_nowhere_for_a_while, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_is_asked_for_now_and_then, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_goes_on_after_a_restart, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(both_go_on_after_a_restart, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(only_what_arrives_returns, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_may_come_again, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_waits_leaves_when_it_is_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_was_held_at_the_cut_goes_on, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(it_is_dropped_when_the_vm_is_elsewhere, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_waits_grows_old, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_waits_for_all_is_bounded, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
