/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cut, uncut and activate in every role, with an older epoch than what is known, the same, and a newer one: which are
 * refused, and why. A refusal says so in words, changes nothing, and is final: asked again, the answer is the same.
 */
#include "edge_fixture.h"

enum order { CUT, UNCUT, ACTIVATE, ORDERS };
enum state { NOBODY, SERVES, ARRIVES, WAS_CUT, LEFT, ARRIVES_TOO_LATE, STATES };
enum { EPOCH = 5 };
#define PLACE "10.99.0.2"

static const char *const words[STATES][ORDERS] = {
        [NOBODY] = {"nobody cut", "nobody uncut", "nobody activate"},
        [SERVES] = {"serves cut", "serves uncut", "serves activate"},
        [ARRIVES] = {"arrives cut", "arrives uncut", "arrives activate"},
        [WAS_CUT] = {"was cut cut", "was cut uncut", "was cut activate"},
        [LEFT] = {"left cut", "left uncut", "left activate"},
        [ARRIVES_TOO_LATE] = {"too late cut", "too late uncut", "too late activate"},
};

/* With EPOCH - 1, EPOCH, EPOCH + 1. */
static const int expected[STATES][ORDERS][3] = {
        [NOBODY] = {{GW_E_NOT_FOUND, GW_E_NOT_FOUND, GW_E_NOT_FOUND},
                    {GW_E_NOT_FOUND, GW_E_NOT_FOUND, GW_E_NOT_FOUND},
                    {GW_E_NOT_FOUND, GW_E_NOT_FOUND, GW_E_NOT_FOUND}},
        [SERVES] = {{GW_E_STALE, GW_E_STALE, 0}, {GW_E_STALE, 0, 0}, {GW_E_STALE, 0, GW_E_CONFLICT}},
        [ARRIVES] = {{GW_E_STALE, GW_E_STALE, GW_E_CONFLICT},
                     {GW_E_STALE, GW_E_CONFLICT, GW_E_CONFLICT},
                     {GW_E_STALE, 0, 0}},
        [WAS_CUT] = {{GW_E_STALE, 0, GW_E_CONFLICT},
                     {GW_E_STALE, GW_E_STALE, 0},
                     {GW_E_STALE, GW_E_CONFLICT, GW_E_CONFLICT}},
        [LEFT] = {{GW_E_STALE, 0, GW_E_CONFLICT},
                  {GW_E_STALE, GW_E_STALE, GW_E_CONFLICT},
                  {GW_E_STALE, GW_E_CONFLICT, GW_E_CONFLICT}},
        [ARRIVES_TOO_LATE] = {{GW_E_STALE, GW_E_STALE, GW_E_STALE},
                              {GW_E_STALE, GW_E_STALE, GW_E_STALE},
                              {GW_E_STALE, GW_E_STALE, GW_E_STALE}},
};

static void be(struct world *w, enum state state) {
        struct gw_edge_attach port = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, EPOCH);
        struct gw_mapping elsewhere = mapping_of(1, "10.1.0.1", "10.99.0.9", EPOCH + 2);
        struct gw_error error = {0};

        world_up(w);
        if (state == NOBODY)
                return;
        if (state == ARRIVES || state == ARRIVES_TOO_LATE) {
                port.role = GW_EDGE_ARRIVING;
                port.peer = ip_of(PLACE);
        } else if (state == WAS_CUT || state == LEFT) {
                port.epoch = EPOCH - 1;
        }
        assert_int_equal(world_attach(w, &port), 0);
        if (state == WAS_CUT || state == LEFT)
                assert_int_equal(gw_edge_cut(w->edge, w->now, &port.vm, ip_of(PLACE), EPOCH, &error), 0);
        if (state == LEFT)
                assert_int_equal(gw_edge_delete(w->edge, w->now, &port.vm, true, &error), 0);
        if (state == ARRIVES_TOO_LATE) /* taken back, and moved on */
                assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &elsewhere, 1, NULL, 0), 0);
        gw_edge_punts_drained(w->edge, w->now);
}

static int give(struct world *w, enum order order, uint64_t epoch, struct gw_error *error) {
        struct gw_name vm = name_of("web");

        *error = (struct gw_error){0};
        if (order == CUT)
                return gw_edge_cut(w->edge, w->now, &vm, ip_of(PLACE), epoch, error);
        return order == UNCUT ? gw_edge_uncut(w->edge, w->now, &vm, epoch, error)
                              : gw_edge_activate(w->edge, w->now, &vm, epoch, error);
}

static void one(enum state state, enum order order, int newer) {
        int want = expected[state][order][newer + 1];
        struct world *w = test_calloc(1, sizeof *w);
        size_t writes, sent;
        struct gw_error error;

        world_init(w);
        be(w, state);
        writes = w->n_fdb_writes;
        sent = w->n_sent;
        for (int again = 0; again < 3;
             again++) { /* one that was carried out is, too: it changes nothing the second time */
                int got = give(w, order, (uint64_t)(EPOCH + newer), &error);

                if (got != want)
                        fail_msg("%s, epoch %+d, time %d: %d, not %d", words[state][order], newer, again, got, want);
                if (want && (!error.text[0] || w->n_fdb_writes != writes || w->n_sent != sent))
                        fail_msg("%s, epoch %+d: refused without a word, or not without effect", words[state][order],
                                 newer);
                if (!want && again && w->n_fdb_writes != writes)
                        fail_msg("%s, epoch %+d: done again", words[state][order], newer);
                if (!want) {
                        gw_edge_punts_drained(w->edge, w->now);
                        writes = w->n_fdb_writes;
                }
        }
        world_deinit(w);
        test_free(w);
}

static void each_refusal_is_final(void **unused) {
        (void)unused;
        for (int state = 0; state < STATES; state++)
                for (int order = 0; order < ORDERS; order++)
                        for (int newer = -1; newer <= 1; newer++)
                                one((enum state)state, (enum order)order, newer);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(each_refusal_is_final)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
