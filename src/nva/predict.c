/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Predictions for `vm move --plan` and for drains: medians of what was measured,
 * nothing modelled. A VM's own moves count, of the mode asked for and that went
 * well, the newest PREDICT_OWN; when it has none, the newest PREDICT_OTHERS of
 * other VMs, scaled by memory: what a VM writes while it is copied differs, so
 * that is a guess, and is told as one.
 *
 *      octets   its own; or the share of their memory that travelled, times this VM's memory
 *      seconds  octets at the median rate, and the median of what else it took
 */
#include "nva/predict.h"

#include <stdlib.h>
#include <string.h>

enum { PREDICT_OWN = 10, PREDICT_OTHERS = 50 };

struct sample {
        double pause_ms, octets, share, rate_octets_s, rest_s;
};

static double ms_of(struct gw_duration d) {
        return (double)d.ns / (double)GW_NS_PER_MS;
}

static bool measure(const struct gw_move *m, struct sample *out) {
        const struct gw_move_progress *p = &m->evidence.progress;
        double took_s, copy_s, rate;

        if (m->phase != GW_MOVE_DONE || m->result != GW_MOVE_OK || m->n_timeline < 2 || !p->transferred_octets ||
            !p->total_octets)
                return false;
        took_s = (double)(m->timeline[m->n_timeline - 1].at.ns - m->timeline[0].at.ns) / (double)GW_NS_PER_S;
        /* An emulator that does not tell its rate: all of the time was copying. */
        rate = p->rate_octets_s ? (double)p->rate_octets_s : (double)p->transferred_octets / (took_s > 0 ? took_s : 1);
        copy_s = (double)p->transferred_octets / rate;
        *out = (struct sample){.pause_ms = ms_of(gw_move_pause(m)),
                               .octets = (double)p->transferred_octets,
                               .share = (double)p->transferred_octets / (double)p->total_octets,
                               .rate_octets_s = rate,
                               .rest_s = took_s > copy_s ? took_s - copy_s : 0};
        return true;
}

static size_t collect(const struct nva *nva, const struct gw_vm *vm, enum gw_move_mode mode, bool own, size_t max,
                      struct sample *out) {
        size_t n = 0;

        for (struct gw_list *link = nva->moves.prev; link != &nva->moves && n < max; link = link->prev) {
                const struct gw_move *m = &mover_entry(link)->core;

                if (m->mode == mode && !strcmp(m->vm.s, vm->id.s) == own)
                        n += measure(m, &out[n]);
        }
        return n;
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return x < y ? -1 : x > y;
}

/* Of the member at `offset` of each sample. */
static double quantile(const struct sample *samples, size_t n, size_t offset, double share) {
        double values[PREDICT_OTHERS] = {0};

        for (size_t i = 0; i < n; i++)
                memcpy(&values[i], (const char *)&samples[i] + offset, sizeof values[i]);
        qsort(values, n, sizeof *values, by_value);
        return values[(size_t)(share * (double)(n - 1) + 0.5)];
}

void mover_predict(const struct nva *nva, const struct gw_vm *vm, enum gw_move_mode mode,
                   struct mover_prediction *out) {
        struct sample samples[PREDICT_OTHERS];
        double memory = (double)((uint64_t)vm->memory_mib << 20);

        *out = (struct mover_prediction){.own = true, .octets = (uint64_t)memory};
        out->n = collect(nva, vm, mode, true, PREDICT_OWN, samples);
        if (!out->n) {
                out->own = false;
                out->n = collect(nva, vm, mode, false, PREDICT_OTHERS, samples);
        }
        if (!out->n)
                return;
        out->octets = out->own ? (uint64_t)quantile(samples, out->n, offsetof(struct sample, octets), 0.5)
                               : (uint64_t)(quantile(samples, out->n, offsetof(struct sample, share), 0.5) * memory);
        out->pause_ms = quantile(samples, out->n, offsetof(struct sample, pause_ms), 0.5);
        out->pause_most_ms = quantile(samples, out->n, offsetof(struct sample, pause_ms), 1);
        out->seconds = (double)out->octets / quantile(samples, out->n, offsetof(struct sample, rate_octets_s), 0.5) +
                       quantile(samples, out->n, offsetof(struct sample, rest_s), 0.5);
}

json_t *mover_prediction_json(const struct mover_prediction *p, enum gw_move_mode mode) {
        json_t *object = json_pack("{s:s, s:I, s:s, s:I, s:s}", "mode", gw_move_mode_word(mode), "moves",
                                   (json_int_t)p->n, "of", p->n ? (p->own ? "this VM" : "other VMs") : "",
                                   "memory_octets", (json_int_t)p->octets, "connections", "kept");

        if (!p->n)
                return object;
        json_object_set_new(object, "pause_ms", json_real(p->pause_ms));
        json_object_set_new(object, "pause_most_ms", json_real(p->pause_most_ms));
        json_object_set_new(object, "seconds", json_real(p->seconds));
        return object;
}
