/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without the authority: what the edge did by itself, told when it is back.
 *
 * Nothing here decides anything: forwarding, answering and cutting go on as they
 * would. It counts from the end of one session (or the start of the daemon) to
 * the WELCOME of the next, logs the sum, and sends it to an NVA that understands.
 */
#include "base/log.h"
#include "edge/core.h"

void gw_edge_absence_begin(struct gw_edge *edge, struct gw_edge_now now) {
        edge->absence = (struct gw_absence){0};
        edge->away_since = now.mono;
}

void gw_edge_absence_count(struct gw_edge *edge, uint64_t *what) {
        if (!edge->welcome)
                ++*what;
}

static void count_waiting(struct gw_table_node *node, void *user) {
        const struct edge_vm *vm = gw_container_of(node, struct edge_vm, node);

        *(uint64_t *)user += vm->role == GW_EDGE_SERVING && vm->reg && vm->reg->state == GW_EDGE_REG_PENDING;
}

static uint64_t away_ms(const struct gw_edge *edge, struct gw_edge_now now) {
        return edge->away_since.ns ? gw_mono_between(edge->away_since, now.mono).ns / GW_NS_PER_MS : 0;
}

void gw_edge_absence_end(struct gw_edge *edge, struct gw_edge_now now) {
        struct gw_absence *a = &edge->absence;

        a->away_ms = away_ms(edge, now);
        a->waiting = 0;
        gw_table_each(&edge->vms, count_waiting, &a->waiting);
        if (a->away_ms)
                gw_edge_log(edge, GW_NOTICE,
                            "the authority is back after %llu ms: cuts=%llu activated=%llu registrations_waiting=%llu "
                            "questions_unanswered=%llu redirects_ended=%llu",
                            (unsigned long long)a->away_ms, (unsigned long long)a->cuts,
                            (unsigned long long)a->activated, (unsigned long long)a->waiting,
                            (unsigned long long)a->unanswered, (unsigned long long)a->redirects_ended);
}

void gw_edge_absence_tell(struct gw_edge *edge) {
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        if (edge->features & GW_FEATURE_ABSENCE)
                gw_edge_send_written(edge, gw_absence_encode(&w, 0, &edge->absence));
}

struct gw_absence gw_edge_absence(const struct gw_edge *edge, struct gw_edge_now now) {
        struct gw_absence a = edge->absence;

        if (!edge->welcome)
                a.away_ms = away_ms(edge, now);
        return a;
}
