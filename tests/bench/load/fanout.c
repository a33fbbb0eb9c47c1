/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long until everybody knows. All NVEs hold the mapping of VM 0. Its own NVE
 * takes it away (deregisters) and, when all have confirmed that, registers it
 * again: the binding changes, and each holder is sent an update and confirms it.
 *
 * A round is timed from that registration to the answer of a query that the NVE
 * confirming last sends behind its acknowledgement: the authority takes the
 * frames of a session in order, so that it has had the last acknowledgement then.
 */
#include <stdio.h>
#include <stdlib.h>

#include "load.h"
#include "wire/frame.h"

enum { QUERY_LAST = 7, REGISTRATION = 9, SETTLE_MS = 500, PAUSE_MS = 2 };

struct fanout {
        struct fleet *fleet;
        struct gw_timer *timer;
        uint32_t rounds, done, holders, confirmed;
        bool serving; /* of the round: what is waited for */
        struct gw_mono began;
        double *ms;
};

static void change(struct fanout *f, bool serving) {
        f->serving = serving;
        f->confirmed = 0;
        f->began = gw_mono_now();
        node_register(&f->fleet->nodes[0], REGISTRATION, 0, serving ? LOAD_LIFETIME_S : 0);
}

static void on_pause_over(void *user) {
        struct fanout *f = user;

        gw_timer_free(f->timer);
        f->timer = NULL;
        change(f, !f->serving);
}

/* Between two changes everything rests for a moment, as between two moves. */
static void pause_then_change(struct fanout *f, uint64_t ms) {
        if (!f->timer)
                gw_timer_new(&f->timer, &f->fleet->loop, gw_ms(ms), gw_ms(0), on_pause_over, f);
}

static void on_ready(struct fleet *fleet) {
        for (uint32_t n = 1; n < fleet->n_nodes; n++)
                node_query(&fleet->nodes[n], 1, 0);
}

static void on_update(struct fanout *f, struct node *node, uint32_t id, const uint8_t *body, size_t size) {
        node_ack(node, id);
        if (f->holders < f->fleet->n_nodes - 1 || node->index == 0 || !size ||
            answer_is_serving(body, size) != f->serving)
                return;
        if (++f->confirmed == f->holders)
                node_query(node, QUERY_LAST, 0);
}

static void on_round_over(struct fanout *f) {
        if (f->serving)
                f->ms[f->done++] = (double)gw_mono_between(f->began, gw_mono_now()).ns / 1e6;
        if (f->done == f->rounds)
                gw_loop_quit(&f->fleet->loop, EXIT_SUCCESS);
        else
                pause_then_change(f, PAUSE_MS);
}

static void on_frame(struct node *node, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        struct fanout *f = node->fleet->user;

        if (type == GW_FRAME_UPDATE || type == GW_FRAME_FLUSH) {
                on_update(f, node, id, body, size);
        } else if (type == GW_FRAME_RESPONSE && id == QUERY_LAST) {
                on_round_over(f);
        } else if (type == GW_FRAME_RESPONSE && ++f->holders == f->fleet->n_nodes - 1) {
                f->serving = true;
                pause_then_change(f, SETTLE_MS);
        } else if (type == GW_FRAME_REGISTERED && answer_status(body, size) != 0) {
                fleet_fail(f->fleet, "the registration was refused");
        }
}

const struct fleet_ops fanout_ops = {.ready = on_ready, .frame = on_frame};

static int compare(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

int load_fanout(struct fleet *fleet, uint32_t rounds) {
        struct fanout f = {.fleet = fleet, .rounds = rounds, .ms = calloc(rounds, sizeof(double))};
        int r = 1;

        fleet->user = &f;
        if (f.ms)
                r = fleet_run(fleet);
        if (r == 0) {
                qsort(f.ms, rounds, sizeof *f.ms, compare);
                printf("{\"sessions\": %u, \"rounds\": %u, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"max_ms\": %.3f}\n",
                       fleet->n_nodes, rounds, f.ms[rounds / 2], f.ms[rounds - 1 - rounds / 100], f.ms[rounds - 1]);
        }
        gw_timer_free(f.timer);
        free(f.ms);
        return r;
}
