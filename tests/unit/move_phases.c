/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The move's state machine, walked by hand: the whole way, the ways back, the
 * table of (phase, source's copy, target's copy) after a restart of the
 * authority, and every short sequence of events from every phase against the
 * rules that keep a VM from running twice.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "move/move.h"

struct recorder {
        unsigned orders[GW_ORDERS], commits, take_backs, dones, journals;
        uint32_t serial[GW_ORDERS];
        bool fence, journalled, check;
        int reserve_answer;
};

static void check_order(const struct gw_move *m, enum gw_move_order order) {
        enum gw_copy source = m->side[GW_MOVE_SOURCE].copy, target = m->side[GW_MOVE_TARGET].copy;

        assert_true(m->side[gw_move_order_side(order)].connected);
        if (order == GW_ORDER_RESUME)
                assert_true(source == GW_COPY_RUNNING ||
                            (m->abandoned && target != GW_COPY_RUNNING && (!m->target_ran || m->taken_back)));
        if (order == GW_ORDER_FINISH)
                assert_true(m->target_ran && source != GW_COPY_RUNNING);
        if (order == GW_ORDER_FINISH && m->mode == GW_MOVE_POST_COPY)
                assert_true(m->sent_all || target == GW_COPY_NONE);
        if (order == GW_ORDER_ABANDON && m->order[order].fence)
                assert_true(source == GW_COPY_RUNNING || m->taken_back ||
                            (m->mode == GW_MOVE_POST_COPY && (source == GW_COPY_NONE || m->is_short) && !m->sent_all));
        if (order == GW_ORDER_RECOVER || order == GW_ORDER_RECONNECT)
                assert_true(m->switched && !m->sent_all);
        if (order == GW_ORDER_MIGRATE)
                assert_true(m->address.port && m->phase == GW_MOVE_COPY && !m->cut_seen);
        if (order == GW_ORDER_INCOMING || order == GW_ORDER_MIGRATE)
                assert_true(m->settled || m->now.ns >= m->settle.ns || m->as == GW_MOVE_AS_STOPPED);
        if (m->as == GW_MOVE_AS_STOPPED && order != GW_ORDER_LOAD && order != GW_ORDER_ABANDON)
                assert_true(m->loaded);
        if (order == GW_ORDER_LOAD)
                assert_int_equal(m->as, GW_MOVE_AS_STOPPED);
        if (order == GW_ORDER_CANCEL)
                assert_true(!m->cut_seen);
}

static int on_reserve(struct gw_move *m, uint64_t *to, uint64_t *back, void *user) {
        struct recorder *r = user;

        *to = m->epoch + 1;
        *back = m->epoch + 2;
        return r->reserve_answer;
}

static void on_journal(const struct gw_move *m, void *user) {
        (void)m;
        ((struct recorder *)user)->journals++;
}

static void on_order(const struct gw_move *m, enum gw_move_order order, uint32_t serial, void *user) {
        struct recorder *r = user;

        check_order(m, order);
        r->orders[order]++;
        r->serial[order] = serial;
        r->fence = m->order[order].fence;
}

static void on_commit(const struct gw_move *m, void *user) {
        assert_true(m->committed);
        ((struct recorder *)user)->commits++;
}

static void on_take_back(const struct gw_move *m, void *user) {
        assert_true(m->abandoned || m->side[GW_MOVE_SOURCE].copy == GW_COPY_RUNNING ||
                    m->side[GW_MOVE_SOURCE].epoch == m->epoch_back);
        ((struct recorder *)user)->take_backs++;
}

static void on_changed(const struct gw_move *m, void *user) {
        (void)m, (void)user;
}

static void on_done(const struct gw_move *m, void *user) {
        assert_int_not_equal(m->result, GW_MOVE_OPEN);
        if (m->result == GW_MOVE_OK)
                assert_true(m->target_ran && !m->taken_back);
        ((struct recorder *)user)->dones++;
}

static const struct gw_move_effects effects = {
        .reserve = on_reserve,
        .journal = on_journal,
        .order = on_order,
        .commit = on_commit,
        .take_back = on_take_back,
        .changed = on_changed,
        .done = on_done,
};

struct bench {
        struct recorder seen;
        struct gw_move_rules rules;
        struct gw_move move;
        uint64_t ms;
};

static enum gw_move_mode mode_of_next; /* what start makes */
static enum gw_move_as as_of_next;

static void start(struct bench *b) {
        memset(b, 0, sizeof *b);
        b->rules = (struct gw_move_rules){.effects = &effects, .user = &b->seen};
        for (int i = 0; i < GW_MOVE_PHASES; i++)
                b->rules.deadline_ms[i] = 1000;
        b->ms = 10;
        gw_move_init(&b->move, &b->rules);
        strcpy(b->move.vm.s, "web@default");
        strcpy(b->move.from.s, "h1");
        strcpy(b->move.to.s, "h2");
        b->move.epoch = 7;
        b->move.mode = mode_of_next;
        b->move.as = as_of_next;
        gw_move_start(&b->move, (struct gw_mono){b->ms * GW_NS_PER_MS}, (struct gw_wall){b->ms});
}

static void feed(struct bench *b, struct gw_move_event ev) {
        b->ms++;
        gw_move_feed(&b->move, &ev, (struct gw_mono){b->ms * GW_NS_PER_MS}, (struct gw_wall){b->ms});
}

static void answer(struct bench *b, enum gw_move_order order, enum gw_order_outcome outcome) {
        feed(b, (struct gw_move_event){.kind = GW_MOVE_EV_ORDER_DONE,
                                       .order = order,
                                       .outcome = outcome,
                                       .address.port = 49152,
                                       .serial = b->seen.serial[order]});
}

static void say(struct bench *b, enum gw_move_event_kind kind) {
        feed(b, (struct gw_move_event){.kind = kind, .epoch = 8});
}

static void late(struct bench *b) {
        b->ms += 2000;
        feed(b, (struct gw_move_event){.kind = GW_MOVE_EV_TICK});
}

static void back(struct bench *b, enum gw_move_side side, enum gw_copy copy, bool copying, uint64_t epoch) {
        feed(b, (struct gw_move_event){
                        .kind = GW_MOVE_EV_HV_BACK, .side = side, .copy = copy, .copying = copying, .epoch = epoch});
}

static void fails(struct bench *b, enum gw_move_side side, bool running) {
        feed(b, (struct gw_move_event){.kind = GW_MOVE_EV_FAILED, .side = side, .running = running, .text = "broken"});
}

/* Brings a fresh move to a phase of the way forward, or into one of the ways back. */
static void reach(struct bench *b, enum gw_move_phase phase) {
        start(b);
        say(b, GW_MOVE_EV_SETTLED);
        if (phase == GW_MOVE_PREPARE)
                return;
        if (as_of_next == GW_MOVE_AS_STOPPED)
                answer(b, GW_ORDER_LOAD, GW_ORDER_OK);
        if (phase == GW_MOVE_ABANDON) {
                reach(b, GW_MOVE_COPY);
                return say(b, GW_MOVE_EV_CANCEL);
        }
        answer(b, GW_ORDER_INCOMING, GW_ORDER_OK);
        say(b, GW_MOVE_EV_MEMBERS_ACKED);
        if (phase == GW_MOVE_COPY)
                return;
        answer(b, GW_ORDER_MIGRATE, GW_ORDER_OK);
        say(b, GW_MOVE_EV_STOPPED);
        if (phase == GW_MOVE_CUT)
                return;
        say(b, GW_MOVE_EV_CUT);
        if (phase == GW_MOVE_TAKE_BACK)
                return late(b);
        if (phase == GW_MOVE_COMMIT)
                return;
        say(b, GW_MOVE_EV_RUNNING);
        if (phase == GW_MOVE_ACTIVATE)
                return;
        say(b, GW_MOVE_EV_REGISTERED);
        if (phase == GW_MOVE_CONVERGE)
                return;
        say(b, GW_MOVE_EV_CONVERGED);
}

static void expect(const struct bench *b, enum gw_move_phase phase) {
        if (b->move.phase != phase)
                print_error("in %s, not %s (%s)\n", gw_move_phase_word(b->move.phase), gw_move_phase_word(phase),
                            b->move.reason);
        assert_int_equal(b->move.phase, phase);
}

static void expect_done(const struct bench *b, enum gw_move_result result, enum gw_move_side place, bool start) {
        expect(b, GW_MOVE_DONE);
        assert_string_equal(gw_move_result_word(b->move.result), gw_move_result_word(result));
        assert_int_equal(gw_move_place(&b->move), place);
        assert_int_equal(gw_move_needs_start(&b->move), start);
        assert_int_equal(b->seen.dones, 1);
}

static void whole_way(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_FINISH);
        expect(&b, GW_MOVE_FINISH);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
        assert_int_equal(b.seen.commits, 1);
        assert_int_equal(b.seen.take_backs, 0);
        assert_int_equal(b.move.n_timeline, 9);
        assert_string_equal(b.move.reason, "");
}

static void each_phase_is_reached(void **state) {
        struct bench b;

        (void)state;
        for (enum gw_move_phase p = GW_MOVE_PREPARE; p < GW_MOVE_DONE; p++) {
                reach(&b, p);
                expect(&b, p);
        }
}

static void no_epochs_no_move(void **state) {
        struct bench b = {.seen.reserve_answer = 5};

        (void)state;
        b.rules = (struct gw_move_rules){.effects = &effects, .user = &b.seen};
        gw_move_init(&b.move, &b.rules);
        gw_move_start(&b.move, (struct gw_mono){1}, (struct gw_wall){1});
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
}

static void refused_preparation_changes_nothing(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_PREPARE);
        answer(&b, GW_ORDER_INCOMING, GW_ORDER_REFUSED);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
        assert_int_equal(b.seen.orders[GW_ORDER_CANCEL], 0);
}

/* Nothing is asked of the target while somebody may hold an older place; but not for ever. */
static void target_waits_until_the_last_move_is_known(void **state) {
        struct bench b;

        (void)state;
        start(&b);
        expect(&b, GW_MOVE_PREPARE);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 0);
        say(&b, GW_MOVE_EV_SETTLED);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 1);
}

static void target_waits_only_so_long(void **state) {
        struct bench b;

        (void)state;
        start(&b);
        b.move.deadline.ns += GW_MOVE_SETTLE_MS * GW_NS_PER_MS;
        assert_true(gw_move_is_patient(&b.move));
        assert_int_equal(gw_move_next(&b.move).ns, (10 + GW_MOVE_SETTLE_MS) * GW_NS_PER_MS);
        b.ms += GW_MOVE_SETTLE_MS - 2;
        say(&b, GW_MOVE_EV_TICK);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 0);
        say(&b, GW_MOVE_EV_TICK);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 1);
        assert_false(gw_move_is_patient(&b.move));
}

static void cancel_while_waiting_for_the_last_move(void **state) {
        struct bench b;

        (void)state;
        start(&b);
        say(&b, GW_MOVE_EV_CANCEL);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        expect_done(&b, GW_MOVE_CANCELLED, GW_MOVE_SOURCE, false);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 0);
}

/* A restarted authority has heard from nobody: the source does not begin before it has. */
static void restarted_authority_waits_before_the_copy(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY);
        gw_move_restore(&b.move, &b.rules, (struct gw_mono){++b.ms * GW_NS_PER_MS}, (struct gw_wall){b.ms});
        b.seen.orders[GW_ORDER_MIGRATE] = 0;
        back(&b, GW_MOVE_SOURCE, GW_COPY_RUNNING, false, 7);
        back(&b, GW_MOVE_TARGET, GW_COPY_WAITING, false, 8);
        assert_int_equal(b.seen.orders[GW_ORDER_MIGRATE], 0);
        say(&b, GW_MOVE_EV_SETTLED);
        assert_int_equal(b.seen.orders[GW_ORDER_MIGRATE], 1);
}

static void cancel_during_copy(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_ABANDON);
        assert_int_equal(b.seen.orders[GW_ORDER_ABANDON], 0);
        answer(&b, GW_ORDER_CANCEL, GW_ORDER_OK);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_CANCELLED, GW_MOVE_SOURCE, false);
        assert_int_equal(b.seen.take_backs, 0);
}

static void cancel_that_comes_after_the_cut_goes_forward(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_ABANDON);
        say(&b, GW_MOVE_EV_STOPPED);
        answer(&b, GW_ORDER_CANCEL, GW_ORDER_REFUSED);
        expect(&b, GW_MOVE_COMMIT);
        say(&b, GW_MOVE_EV_RUNNING);
        expect(&b, GW_MOVE_ACTIVATE);
}

static void lost_cut_report_is_made_up_for(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY);
        say(&b, GW_MOVE_EV_RUNNING);
        expect(&b, GW_MOVE_ACTIVATE);
        assert_int_equal(b.seen.commits, 1);
}

static void target_gone_after_the_cut(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COMMIT);
        fails(&b, GW_MOVE_TARGET, false);
        expect(&b, GW_MOVE_TAKE_BACK);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 1);
        assert_int_equal(b.seen.take_backs, 1);
        answer(&b, GW_ORDER_RESUME, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
}

static void source_resumed_by_itself_after_the_cut(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COMMIT);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_FAILED, .running = true, .epoch = 9, .text = "stream"});
        expect(&b, GW_MOVE_TAKE_BACK);
        assert_true(b.seen.fence);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
}

static void target_runs_after_all(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_TAKE_BACK);
        assert_false(b.seen.fence);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_REFUSED);
        expect(&b, GW_MOVE_ACTIVATE);
        say(&b, GW_MOVE_EV_REGISTERED);
        say(&b, GW_MOVE_EV_CONVERGED);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
}

static void crash_after_it_ran_is_the_targets(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_ACTIVATE);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_TARGET, .text = "signal 9"});
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, true);
}

/* And what the agent has told is told again by its inventory, should we forget it. */
static void only_a_guest_that_runs_ends_itself(void **state) {
        const struct gw_move_event stopped = {.kind = GW_MOVE_EV_VM_GONE, .by_itself = true, .text = "stopped"};
        struct gw_move_event target = stopped, back = {.kind = GW_MOVE_EV_HV_BACK, .by_itself = true};
        struct bench b;

        (void)state;
        target.side = back.side = GW_MOVE_TARGET;
        back.copy = GW_COPY_NONE;
        reach(&b, GW_MOVE_COPY);
        feed(&b, stopped);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, true);
        assert_true(b.move.ended_itself);
        reach(&b, GW_MOVE_COPY);
        feed(&b, target);
        assert_false(b.move.ended_itself);
        reach(&b, GW_MOVE_COMMIT);
        feed(&b, stopped);
        assert_false(b.move.ended_itself);
        reach(&b, GW_MOVE_ACTIVATE);
        feed(&b, target);
        assert_true(b.move.ended_itself);
        reach(&b, GW_MOVE_ACTIVATE);
        feed(&b, back);
        assert_true(b.move.ended_itself);
}

static void both_copies_gone_means_a_cold_start(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_SOURCE, .text = "signal 9"});
        expect(&b, GW_MOVE_ABANDON);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, true);
}

static void source_dies_while_it_is_told_to_cancel(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY);
        fails(&b, GW_MOVE_TARGET, false);
        fails(&b, GW_MOVE_SOURCE, false);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_SOURCE, .text = "signal 9"});
        answer(&b, GW_ORDER_CANCEL, GW_ORDER_OK);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, true);
}

static void unanswered_order_is_repeated(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_PREPARE);
        answer(&b, GW_ORDER_INCOMING, GW_ORDER_LOST);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 1);
        b.ms += GW_MOVE_RETRY_MS;
        say(&b, GW_MOVE_EV_TICK);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 2);
}

static void late_answer_of_a_lost_session_is_ignored(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_PREPARE);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_HV_LOST, .side = GW_MOVE_TARGET});
        back(&b, GW_MOVE_TARGET, GW_COPY_NONE, false, 0);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_ORDER_DONE,
                                        .order = GW_ORDER_INCOMING,
                                        .outcome = GW_ORDER_REFUSED,
                                        .serial = b.seen.serial[GW_ORDER_INCOMING] - 1});
        expect(&b, GW_MOVE_PREPARE);
        assert_false(b.move.failed);
}

static void is_off(struct bench *b, enum gw_move_side side) {
        feed(b, (struct gw_move_event){.kind = GW_MOVE_EV_HV_LOST, .side = side});
        feed(b, (struct gw_move_event){.kind = GW_MOVE_EV_HOST_DEAD, .side = side, .text = "its host was lost"});
}

static void host_that_is_off_is_no_guess(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY); /* one whose agent is here is not off, whoever says so */
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_HOST_DEAD, .side = GW_MOVE_SOURCE});
        expect(&b, GW_MOVE_COPY);
        assert_false(b.move.failed);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_HV_LOST, .side = GW_MOVE_SOURCE});
        expect(&b, GW_MOVE_COPY); /* it may be driving the cut */
}

static void source_that_is_off_before_the_switch(void **state) {
        static const enum gw_move_phase phases[] = {GW_MOVE_COPY, GW_MOVE_CUT, GW_MOVE_COMMIT};
        struct bench b;

        (void)state;
        for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
                reach(&b, phases[i]);
                is_off(&b, GW_MOVE_SOURCE);
                if (phases[i] == GW_MOVE_COMMIT)
                        late(&b); /* the target may have everything, and is given the time to run */
                assert_int_equal(b.seen.orders[GW_ORDER_ABANDON], 1);
                assert_false(b.seen.fence);
                answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
                expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, true); /* that has its disks */
                assert_int_equal(b.seen.take_backs, phases[i] == GW_MOVE_COMMIT);
        }
}

static void source_that_is_off_after_the_switch(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_CUT);
        is_off(&b, GW_MOVE_SOURCE);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_REFUSED); /* it runs */
        say(&b, GW_MOVE_EV_REGISTERED);
        say(&b, GW_MOVE_EV_CONVERGED); /* there is nothing to finish */
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
}

static void target_that_is_off(void **state) {
        struct bench b;

        (void)state;
        reach(&b, GW_MOVE_COPY);
        is_off(&b, GW_MOVE_TARGET);
        answer(&b, GW_ORDER_CANCEL, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);

        reach(&b, GW_MOVE_COMMIT);
        is_off(&b, GW_MOVE_TARGET);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 1);
        answer(&b, GW_ORDER_RESUME, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);

        reach(&b, GW_MOVE_CONVERGE); /* it ran there: no way back */
        is_off(&b, GW_MOVE_TARGET);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, true);
}

/* What a restarted authority does when it hears what the two agents have: the table of the ways to recover. */
static const struct restart_case {
        enum gw_move_phase phase;
        enum gw_copy source, target;
        bool copying, took_back;
        enum gw_move_phase then;
        int order; /* the order that is out, -1 for none, -2 for whichever */
} restart_cases[] = {
        {GW_MOVE_PREPARE, GW_COPY_RUNNING, GW_COPY_NONE, 0, 0, GW_MOVE_PREPARE, GW_ORDER_INCOMING},
        {GW_MOVE_PREPARE, GW_COPY_RUNNING, GW_COPY_WAITING, 0, 0, GW_MOVE_PREPARE, GW_ORDER_INCOMING},
        {GW_MOVE_PREPARE, GW_COPY_NONE, GW_COPY_WAITING, 0, 0, GW_MOVE_ABANDON, -2},
        {GW_MOVE_COPY, GW_COPY_RUNNING, GW_COPY_WAITING, 0, 0, GW_MOVE_COPY, GW_ORDER_MIGRATE},
        {GW_MOVE_COPY, GW_COPY_RUNNING, GW_COPY_WAITING, 1, 0, GW_MOVE_COPY, -1},
        {GW_MOVE_COPY, GW_COPY_RUNNING, GW_COPY_NONE, 0, 0, GW_MOVE_ABANDON, GW_ORDER_ABANDON},
        {GW_MOVE_COPY, GW_COPY_STOPPED, GW_COPY_WAITING, 1, 0, GW_MOVE_CUT, -1},
        {GW_MOVE_COPY, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_COPY, GW_COPY_NONE, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_COPY, GW_COPY_NONE, GW_COPY_WAITING, 0, 0, GW_MOVE_ABANDON, GW_ORDER_ABANDON},
        {GW_MOVE_COPY, GW_COPY_RUNNING, GW_COPY_NONE, 0, 1, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_CUT, GW_COPY_RUNNING, GW_COPY_WAITING, 0, 0, GW_MOVE_ABANDON, GW_ORDER_ABANDON},
        {GW_MOVE_CUT, GW_COPY_STOPPED, GW_COPY_NONE, 1, 0, GW_MOVE_ABANDON, GW_ORDER_CANCEL},
        {GW_MOVE_CUT, GW_COPY_STOPPED, GW_COPY_RUNNING, 1, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_COMMIT, GW_COPY_STOPPED, GW_COPY_WAITING, 1, 0, GW_MOVE_COMMIT, -1},
        {GW_MOVE_COMMIT, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_COMMIT, GW_COPY_STOPPED, GW_COPY_NONE, 0, 0, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_COMMIT, GW_COPY_RUNNING, GW_COPY_NONE, 0, 1, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_COMMIT, GW_COPY_NONE, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_COMMIT, GW_COPY_NONE, GW_COPY_NONE, 0, 0, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_ACTIVATE, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -1},
        {GW_MOVE_ACTIVATE, GW_COPY_STOPPED, GW_COPY_NONE, 0, 0, GW_MOVE_FINISH, GW_ORDER_FINISH},
        {GW_MOVE_CONVERGE, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_CONVERGE, -1},
        {GW_MOVE_FINISH, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_FINISH, GW_ORDER_FINISH},
        {GW_MOVE_FINISH, GW_COPY_NONE, GW_COPY_RUNNING, 0, 0, GW_MOVE_FINISH, GW_ORDER_FINISH},
        {GW_MOVE_ABANDON, GW_COPY_RUNNING, GW_COPY_WAITING, 1, 0, GW_MOVE_ABANDON, GW_ORDER_CANCEL},
        {GW_MOVE_ABANDON, GW_COPY_RUNNING, GW_COPY_NONE, 0, 0, GW_MOVE_ABANDON, GW_ORDER_ABANDON},
        {GW_MOVE_ABANDON, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -2},
        {GW_MOVE_TAKE_BACK, GW_COPY_STOPPED, GW_COPY_WAITING, 0, 0, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_TAKE_BACK, GW_COPY_RUNNING, GW_COPY_NONE, 0, 1, GW_MOVE_TAKE_BACK, GW_ORDER_ABANDON},
        {GW_MOVE_TAKE_BACK, GW_COPY_STOPPED, GW_COPY_RUNNING, 0, 0, GW_MOVE_ACTIVATE, -2},
};

static int order_out(const struct gw_move *m) {
        for (int o = 0; o < GW_ORDERS; o++)
                if (m->order[o].pending)
                        return o;
        return -1;
}

static void restart_in_every_phase(void **state) {
        (void)state;
        for (size_t i = 0; i < sizeof restart_cases / sizeof *restart_cases; i++) {
                const struct restart_case *c = &restart_cases[i];

                for (int first = 0; first < 2; first++) {
                        struct bench b;
                        int order;

                        reach(&b, c->phase);
                        gw_move_restore(&b.move, &b.rules, (struct gw_mono){++b.ms * GW_NS_PER_MS},
                                        (struct gw_wall){b.ms});
                        say(&b, GW_MOVE_EV_SETTLED);
                        for (int k = 0; k < 2; k++)
                                if ((k ^ first) == 0)
                                        back(&b, GW_MOVE_SOURCE, c->source, c->copying, c->took_back ? 9 : 7);
                                else
                                        back(&b, GW_MOVE_TARGET, c->target, false, 8);
                        order = order_out(&b.move);
                        if (b.move.phase != c->then || (c->order != -2 && order != c->order))
                                print_error("row %zu, %s first: %s, order %d\n", i, first ? "target" : "source",
                                            gw_move_phase_word(b.move.phase), order);
                        assert_int_equal(b.move.phase, c->then);
                        if (c->order != -2)
                                assert_int_equal(order, c->order);
                }
        }
}

/* --- every sequence of events of a given length, from every phase --- */

enum { DEPTH = 3, DEPTH_POST_COPY = 2, DEPTH_STOPPED = 2, EVENTS_MAX = 96 };

static size_t all_events(struct gw_move_event *out, enum gw_move_mode mode) {
        int orders = mode == GW_MOVE_HOT ? GW_ORDER_RESUME + 1 : GW_ORDER_RECONNECT + 1;
        int kinds = mode == GW_MOVE_HOT ? GW_MOVE_EV_TICK + 1 : GW_MOVE_EVENTS;
        size_t n = 0;

        for (int o = 0; o < orders; o++)
                for (int outcome = GW_ORDER_OK; outcome <= GW_ORDER_LOST; outcome++)
                        out[n++] = (struct gw_move_event){.kind = GW_MOVE_EV_ORDER_DONE,
                                                          .order = (enum gw_move_order)o,
                                                          .outcome = (enum gw_order_outcome)outcome,
                                                          .address.port = 1};
        for (int kind = GW_MOVE_EV_MEMBERS_ACKED; kind < kinds; kind++)
                if (kind != GW_MOVE_EV_FAILED && kind != GW_MOVE_EV_HV_BACK)
                        for (int side = 0; side < GW_MOVE_SIDES; side++)
                                out[n++] = (struct gw_move_event){.kind = (enum gw_move_event_kind)kind,
                                                                  .side = (enum gw_move_side)side,
                                                                  .epoch = 8 + (uint64_t)side};
        for (int side = 0; mode == GW_MOVE_HOT && side < GW_MOVE_SIDES; side++)
                out[n++] = (struct gw_move_event){.kind = GW_MOVE_EV_HOST_DEAD, .side = (enum gw_move_side)side};
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                for (int running = 0; running < 2; running++)
                        out[n++] = (struct gw_move_event){.kind = GW_MOVE_EV_FAILED,
                                                          .side = (enum gw_move_side)side,
                                                          .running = running,
                                                          .epoch = 9};
                for (int copy = GW_COPY_NONE; copy < GW_COPY_STATES; copy++)
                        out[n++] = (struct gw_move_event){.kind = GW_MOVE_EV_HV_BACK,
                                                          .side = (enum gw_move_side)side,
                                                          .copy = (enum gw_copy)copy};
        }
        assert_true(n <= EVENTS_MAX);
        return n;
}

static void walk(const struct bench *from, const struct gw_move_event *events, size_t n, int depth) {
        for (size_t i = 0; i < n; i++) {
                struct bench b = *from;
                struct gw_move_event ev = events[i];

                b.move.rules = &b.rules;
                b.rules.user = &b.seen;
                if (ev.kind == GW_MOVE_EV_ORDER_DONE)
                        ev.serial = b.move.order[ev.order].serial;
                if (ev.kind == GW_MOVE_EV_TICK)
                        b.ms += ev.side ? 5 : 5000;
                feed(&b, ev);
                if (b.move.phase == GW_MOVE_DONE)
                        assert_int_equal(b.seen.dones, 1);
                else if (depth > 1)
                        walk(&b, events, n, depth - 1);
        }
}

static void walk_all(enum gw_move_mode mode, int depth) {
        struct gw_move_event events[EVENTS_MAX];
        size_t n = all_events(events, mode);

        mode_of_next = mode;
        for (enum gw_move_phase p = GW_MOVE_PREPARE; p < GW_MOVE_DONE; p++) {
                struct bench b;

                reach(&b, p);
                walk(&b, events, n, depth);
        }
        mode_of_next = GW_MOVE_HOT;
}

static void every_sequence_keeps_the_rules(void **state) {
        (void)state;
        walk_all(GW_MOVE_HOT, DEPTH);
}

static void every_sequence_of_a_stopped_vm_keeps_the_rules(void **state) {
        (void)state;
        as_of_next = GW_MOVE_AS_STOPPED;
        walk_all(GW_MOVE_HOT, DEPTH_STOPPED); /* cold is no other way */
        as_of_next = GW_MOVE_AS_RUNNING;
}

static void every_sequence_of_post_copy_keeps_the_rules(void **state) {
        (void)state;
        walk_all(GW_MOVE_POST_COPY, DEPTH_POST_COPY);
}

/* --- post-copy --- */

/* Of a post-copy: the source has begun to give the VM away. */
static void reach_the_switch(struct bench *b) {
        mode_of_next = GW_MOVE_POST_COPY;
        reach(b, GW_MOVE_COMMIT);
        mode_of_next = GW_MOVE_HOT;
        say(b, GW_MOVE_EV_SWITCHED);
}

/* Everybody knows the new place, and memory is still on its way. */
static void reach_the_rest(struct bench *b) {
        reach_the_switch(b);
        say(b, GW_MOVE_EV_RUNNING);
        say(b, GW_MOVE_EV_REGISTERED);
        say(b, GW_MOVE_EV_CONVERGED);
        expect(b, GW_MOVE_FINISH);
}

static void post_copy_keeps_the_source_until_all_is_sent(void **state) {
        struct bench b;

        (void)state;
        reach_the_rest(&b);
        late(&b);
        expect(&b, GW_MOVE_FINISH);
        assert_int_equal(b.seen.orders[GW_ORDER_FINISH], 0);
        say(&b, GW_MOVE_EV_COMPLETED);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
}

static void post_copy_connects_again(void **state) {
        struct bench b;

        (void)state;
        reach_the_rest(&b);
        for (int i = 0; i < 3; i++) {
                feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_BROKEN});
                assert_int_equal(b.seen.orders[GW_ORDER_RECOVER], i + 1);
                answer(&b, GW_ORDER_RECOVER, GW_ORDER_OK);
                assert_int_equal(b.seen.orders[GW_ORDER_RECONNECT], i + 1);
                answer(&b, GW_ORDER_RECONNECT, GW_ORDER_OK);
                late(&b);
                assert_int_equal(b.seen.orders[GW_ORDER_RECOVER], i + 1);
        }
        say(&b, GW_MOVE_EV_COMPLETED);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
}

static void post_copy_whose_source_dies_is_a_crash(void **state) {
        struct bench b;

        (void)state;
        reach_the_rest(&b);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_SOURCE, .text = "killed"});
        assert_int_equal(b.seen.orders[GW_ORDER_ABANDON], 1);
        assert_true(b.seen.fence);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_TARGET, true);
}

static void post_copy_whose_target_dies_is_a_crash(void **state) {
        struct bench b;

        (void)state;
        reach_the_rest(&b);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_TARGET, .text = "killed"});
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_TARGET, true);
}

/* The source's emulator took its last doubt for a failure: the target has everything, and says so. */
static void post_copy_whose_source_fails_when_all_is_there(void **state) {
        struct bench b;
        unsigned journals;

        (void)state;
        for (int landed_first = 0; landed_first < 2; landed_first++) {
                reach_the_rest(&b);
                if (landed_first)
                        say(&b, GW_MOVE_EV_LANDED);
                journals = b.seen.journals;
                fails(&b, GW_MOVE_SOURCE, false);
                assert_int_equal(b.seen.journals, journals + 1);
                if (!landed_first)
                        say(&b, GW_MOVE_EV_LANDED);
                assert_int_equal(b.seen.orders[GW_ORDER_FINISH], 1);
                answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
                expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
        }
}

/* Nothing more comes, and the target does not say that it has all: a crash, after the time for that. */
static void post_copy_whose_source_fails_too_early_is_a_crash(void **state) {
        struct bench b;

        (void)state;
        for (int restarted = 0; restarted < 2; restarted++) {
                reach_the_rest(&b);
                fails(&b, GW_MOVE_SOURCE, false);
                expect(&b, GW_MOVE_FINISH);
                if (restarted) { /* the authority; the source does not tell it again */
                        gw_move_restore(&b.move, &b.rules, b.move.now, b.move.wall);
                        back(&b, GW_MOVE_SOURCE, GW_COPY_STOPPED, true, 7);
                        back(&b, GW_MOVE_TARGET, GW_COPY_RUNNING, false, 8);
                }
                assert_int_equal(b.seen.orders[GW_ORDER_ABANDON], 0);
                late(&b);
                assert_true(b.seen.fence);
                answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
                assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
                answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
                expect_done(&b, GW_MOVE_FAILED, GW_MOVE_TARGET, true);
        }
}

/* However late in the phase it fails, whose time ends over and over while memory flows: the target has a whole one more. */
static void post_copy_whose_source_fails_late_waits_for_the_target(void **state) {
        struct bench b;

        (void)state;
        reach_the_rest(&b);
        b.ms = b.move.deadline.ns / GW_NS_PER_MS - 2;
        fails(&b, GW_MOVE_SOURCE, false);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_TICK}); /* the time that was running is over */
        assert_int_equal(b.seen.orders[GW_ORDER_ABANDON], 0);
        assert_false(b.seen.fence);
        late(&b);
        assert_true(b.seen.fence);
}

/* It had begun to give the VM away, and could not: what the source has is still the VM. */
static void post_copy_that_gives_up_at_the_switch_is_taken_back(void **state) {
        struct bench b;

        (void)state;
        reach_the_switch(&b);
        expect(&b, GW_MOVE_COMMIT);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_FAILED, .side = GW_MOVE_SOURCE, .text = "no connection"});
        expect(&b, GW_MOVE_TAKE_BACK);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
        assert_false(b.seen.fence);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_OK);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 1);
        answer(&b, GW_ORDER_RESUME, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
}

/* The same, but the target runs: it is the VM, and the source is of no use but for its memory. */
static void post_copy_that_gave_up_too_late_stays(void **state) {
        struct bench b;

        (void)state;
        reach_the_switch(&b);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_FAILED, .side = GW_MOVE_SOURCE, .text = "no connection"});
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_REFUSED);
        assert_int_equal(b.seen.orders[GW_ORDER_RESUME], 0);
        assert_int_equal(gw_move_place(&b.move), GW_MOVE_TARGET);
        assert_false(b.move.taken_back);
}

/* The target ends before it has run, and the source's emulator is past the point where it could go on. */
static void post_copy_that_nobody_can_take_back_is_a_crash(void **state) {
        struct bench b;

        (void)state;
        reach_the_switch(&b);
        feed(&b, (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .side = GW_MOVE_TARGET, .text = "killed"});
        expect(&b, GW_MOVE_TAKE_BACK);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        answer(&b, GW_ORDER_RESUME, GW_ORDER_REFUSED);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, true);
}

/* --- VMs that do not run --- */

static void start_stopped(struct bench *b) {
        as_of_next = GW_MOVE_AS_STOPPED;
        mode_of_next = GW_MOVE_COLD;
        start(b);
        as_of_next = GW_MOVE_AS_RUNNING;
        mode_of_next = GW_MOVE_HOT;
}

/* Loaded first; and nobody is waited for who would have to know where it is. */
static void a_stopped_vm_is_loaded_and_sent(void **state) {
        struct bench b;

        (void)state;
        start_stopped(&b);
        expect(&b, GW_MOVE_PREPARE);
        assert_int_equal(b.seen.orders[GW_ORDER_LOAD], 1);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 0);
        answer(&b, GW_ORDER_LOAD, GW_ORDER_OK);
        answer(&b, GW_ORDER_INCOMING, GW_ORDER_OK);
        expect(&b, GW_MOVE_COPY);
        answer(&b, GW_ORDER_MIGRATE, GW_ORDER_OK);
        say(&b, GW_MOVE_EV_CUT);
        expect(&b, GW_MOVE_COMMIT);
        say(&b, GW_MOVE_EV_RUNNING); /* it is there */
        expect(&b, GW_MOVE_FINISH);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
        assert_int_equal(gw_move_pause(&b.move).ns, 0);
}

static void what_cannot_be_loaded_stays(void **state) {
        struct bench b;

        (void)state;
        start_stopped(&b);
        answer(&b, GW_ORDER_LOAD, GW_ORDER_REFUSED);
        answer(&b, GW_ORDER_ABANDON, GW_ORDER_GONE);
        expect_done(&b, GW_MOVE_FAILED, GW_MOVE_SOURCE, false);
        assert_int_equal(b.seen.orders[GW_ORDER_INCOMING], 0);
        assert_non_null(strstr(b.move.reason, "cannot load it"));
}

/* That it is not there yet is no reason to give up; that it is gone again is. */
static void an_authority_that_comes_back_loads_again(void **state) {
        struct bench b;

        (void)state;
        for (int loaded = 0; loaded < 2; loaded++) {
                start_stopped(&b);
                if (loaded)
                        answer(&b, GW_ORDER_LOAD, GW_ORDER_OK);
                gw_move_restore(&b.move, &b.rules, b.move.now, b.move.wall);
                back(&b, GW_MOVE_SOURCE, GW_COPY_NONE, false, 0);
                back(&b, GW_MOVE_TARGET, GW_COPY_NONE, false, 0);
                expect(&b, loaded ? GW_MOVE_ABANDON : GW_MOVE_PREPARE);
                assert_int_equal(b.seen.orders[GW_ORDER_LOAD], loaded ? 1 : 2);
        }
}

/* Its place is told to everybody, as that of one that runs. */
static void a_suspended_vm_goes_the_whole_way(void **state) {
        struct bench b;

        (void)state;
        as_of_next = GW_MOVE_AS_SUSPENDED;
        mode_of_next = GW_MOVE_COLD;
        reach(&b, GW_MOVE_ACTIVATE);
        as_of_next = GW_MOVE_AS_RUNNING;
        mode_of_next = GW_MOVE_HOT;
        expect(&b, GW_MOVE_ACTIVATE);
        assert_int_equal(b.seen.orders[GW_ORDER_LOAD], 0);
        say(&b, GW_MOVE_EV_REGISTERED);
        expect(&b, GW_MOVE_CONVERGE);
        say(&b, GW_MOVE_EV_CONVERGED);
        answer(&b, GW_ORDER_FINISH, GW_ORDER_OK);
        expect_done(&b, GW_MOVE_OK, GW_MOVE_TARGET, false);
}

/* --- the queue --- */

static void not_admitted_holds_nothing(void **state) {
        struct bench b;

        (void)state;
        for (int cancel = 0; cancel < 2; cancel++) {
                memset(&b, 0, sizeof b);
                start(&b);
                gw_move_init(&b.move, &b.rules);
                memset(&b.seen, 0, sizeof b.seen);
                b.move.admitted = false;
                b.move.epoch = 7;
                gw_move_start(&b.move, (struct gw_mono){1}, (struct gw_wall){1});
                late(&b);
                expect(&b, GW_MOVE_PLAN);
                assert_true(gw_move_is_idle(&b.move));
                assert_int_equal(b.move.epoch_to, 0);
                say(&b, cancel ? GW_MOVE_EV_CANCEL : GW_MOVE_EV_ADMITTED);
                if (cancel)
                        expect_done(&b, GW_MOVE_CANCELLED, GW_MOVE_SOURCE, false);
                else
                        expect(&b, GW_MOVE_PREPARE);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(whole_way),
                cmocka_unit_test(each_phase_is_reached),
                cmocka_unit_test(no_epochs_no_move),
                cmocka_unit_test(refused_preparation_changes_nothing),
                cmocka_unit_test(target_waits_until_the_last_move_is_known),
                cmocka_unit_test(target_waits_only_so_long),
                cmocka_unit_test(cancel_while_waiting_for_the_last_move),
                cmocka_unit_test(restarted_authority_waits_before_the_copy),
                cmocka_unit_test(cancel_during_copy),
                cmocka_unit_test(cancel_that_comes_after_the_cut_goes_forward),
                cmocka_unit_test(lost_cut_report_is_made_up_for),
                cmocka_unit_test(target_gone_after_the_cut),
                cmocka_unit_test(source_resumed_by_itself_after_the_cut),
                cmocka_unit_test(target_runs_after_all),
                cmocka_unit_test(crash_after_it_ran_is_the_targets),
                cmocka_unit_test(only_a_guest_that_runs_ends_itself),
                cmocka_unit_test(both_copies_gone_means_a_cold_start),
                cmocka_unit_test(source_dies_while_it_is_told_to_cancel),
                cmocka_unit_test(host_that_is_off_is_no_guess),
                cmocka_unit_test(source_that_is_off_before_the_switch),
                cmocka_unit_test(source_that_is_off_after_the_switch),
                cmocka_unit_test(target_that_is_off),
                cmocka_unit_test(unanswered_order_is_repeated),
                cmocka_unit_test(late_answer_of_a_lost_session_is_ignored),
                cmocka_unit_test(restart_in_every_phase),
                cmocka_unit_test(every_sequence_keeps_the_rules),
                cmocka_unit_test(every_sequence_of_post_copy_keeps_the_rules),
                cmocka_unit_test(post_copy_keeps_the_source_until_all_is_sent),
                cmocka_unit_test(post_copy_connects_again),
                cmocka_unit_test(post_copy_whose_source_dies_is_a_crash),
                cmocka_unit_test(post_copy_that_gives_up_at_the_switch_is_taken_back),
                cmocka_unit_test(post_copy_that_gave_up_too_late_stays),
                cmocka_unit_test(post_copy_that_nobody_can_take_back_is_a_crash),
                cmocka_unit_test(post_copy_whose_target_dies_is_a_crash),
                cmocka_unit_test(post_copy_whose_source_fails_when_all_is_there),
                cmocka_unit_test(post_copy_whose_source_fails_too_early_is_a_crash),
                cmocka_unit_test(post_copy_whose_source_fails_late_waits_for_the_target),
                cmocka_unit_test(every_sequence_of_a_stopped_vm_keeps_the_rules),
                cmocka_unit_test(a_stopped_vm_is_loaded_and_sent),
                cmocka_unit_test(what_cannot_be_loaded_stays),
                cmocka_unit_test(an_authority_that_comes_back_loads_again),
                cmocka_unit_test(a_suspended_vm_goes_the_whole_way),
                cmocka_unit_test(not_admitted_holds_nothing),
        };

        return cmocka_run_group_tests_name("move_phases", tests, NULL, NULL);
}
