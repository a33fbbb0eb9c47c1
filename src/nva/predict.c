/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Predictions for `vm move --plan` and for drains: medians of what was measured,
 * nothing modelled. A VM's own moves count, of the mode asked for and that went
 * well, the newest PREDICT_OWN; when it has none, the newest PREDICT_OTHERS of
 * other VMs, scaled by memory: what a VM writes while it is copied differs, so
 * that is a guess, and is told as one. For a cold move of a host that has not seen
 * one yet, moves of other modes tell at least how fast memory travels. A move whose
 * rate, or pause, nobody told is no measurement.
 *
 *      octets   its own; or the share of their memory that travelled, times this VM's memory
 *      seconds  octets at the median rate, or at the limit asked for, and the median of what else it took
 *      pause    as it was; of a cold move octets at that rate, and the median of what else the VM stood still for
 */
#include "nva/predict.h"

#include <stdlib.h>
#include <string.h>

#include "nva/json.h"

enum {
        PREDICT_OWN = 10,
        PREDICT_OTHERS = 50,
        PREDICT_PATIENCE_MS = 10000, /* programs that give a silent peer up wait longer than that, as a rule */
};

struct sample {
        double pause_ms, pause_rest_ms, octets, share, rate_octets_s, rest_s;
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
        if (m->as == GW_MOVE_AS_RUNNING && !gw_move_pause(m).ns)
                return false;
        took_s = (double)(m->timeline[m->n_timeline - 1].at.ns - m->timeline[0].at.ns) / (double)GW_NS_PER_S;
        /* An emulator that does not tell its rate: all of the time was copying. */
        rate = p->rate_octets_s ? (double)p->rate_octets_s : (double)p->transferred_octets / (took_s > 0 ? took_s : 1);
        copy_s = (double)p->transferred_octets / rate;
        *out = (struct sample){.pause_ms = ms_of(gw_move_pause(m)),
                               .pause_rest_ms = ms_of(gw_move_pause(m)) - copy_s * 1000,
                               .octets = (double)p->transferred_octets,
                               .share = (double)p->transferred_octets / (double)p->total_octets,
                               .rate_octets_s = rate,
                               .rest_s = took_s > copy_s ? took_s - copy_s : 0};
        return true;
}

/* What is looked for. */
struct wanted {
        const struct gw_vm *vm;
        bool own, any_mode;
        enum gw_move_mode mode;
        enum gw_move_as as;
};

static size_t collect(const struct nva *nva, const struct wanted *w, size_t max, struct sample *out) {
        size_t n = 0;

        for (struct gw_list *link = nva->moves.prev; link != &nva->moves && n < max; link = link->prev) {
                const struct gw_move *m = &mover_entry(link)->core;

                if ((w->any_mode || (m->mode == w->mode && m->as == w->as)) &&
                    !strcmp(m->vm.s, gw_vm_name(w->vm).s) == w->own)
                        n += measure(m, &out[n]);
        }
        return n;
}

/* The nearest there is, and how near that is. */
static void gather(const struct nva *nva, struct wanted *w, struct sample *samples, struct mover_prediction *out) {
        w->own = true;
        out->of = PREDICT_OWN_MOVES;
        out->n = collect(nva, w, PREDICT_OWN, samples);
        if (out->n)
                return;
        w->own = false;
        out->of = PREDICT_OTHER_VMS;
        out->n = collect(nva, w, PREDICT_OTHERS, samples);
        if (out->n || w->mode != GW_MOVE_COLD)
                return;
        w->any_mode = true;
        out->of = PREDICT_OTHER_MODES;
        out->n = collect(nva, w, PREDICT_OTHERS, samples);
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

#define MEDIAN(field) quantile(samples, out->n, offsetof(struct sample, field), 0.5)

static void pause_of(const struct sample *samples, double copy_s, struct mover_prediction *out) {
        double most_ms;

        if (out->as != GW_MOVE_AS_RUNNING)
                return;
        if (out->mode != GW_MOVE_COLD) {
                out->pause_ms = MEDIAN(pause_ms);
                out->pause_most_ms = quantile(samples, out->n, offsetof(struct sample, pause_ms), 1);
                return;
        }
        out->pause_ms = copy_s * 1000;
        if (out->of != PREDICT_OTHER_MODES && MEDIAN(pause_rest_ms) > 0)
                out->pause_ms += MEDIAN(pause_rest_ms);
        most_ms = quantile(samples, out->n, offsetof(struct sample, pause_ms), 1);
        out->pause_most_ms = most_ms > out->pause_ms ? most_ms : out->pause_ms;
}

/* As the newest move of this VM that got so far found them: what they hold now may be more. */
static void look_for_disks(const struct nva *nva, const struct gw_vm *vm, struct mover_prediction *out) {
        json_t *definition = nva_json_definition(vm), *disk;
        size_t i;

        out->n_disks = json_array_size(json_object_get(definition, "disks"));
        json_decref(definition);
        for (struct gw_list *link = nva->moves.prev; out->n_disks && link != &nva->moves; link = link->prev) {
                const struct nva_move *move = mover_entry(link);

                if (strcmp(move->core.vm.s, gw_vm_name(vm).s) || !move->ways.disks)
                        continue;
                json_array_foreach (move->ways.disks, i, disk)
                        out->disk_octets += (uint64_t)json_integer_value(json_object_get(disk, "allocated_octets"));
                out->disks_known = true;
                return;
        }
}

void mover_predict(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                   struct mover_prediction *out) {
        struct sample samples[PREDICT_OTHERS];
        double memory = (double)((uint64_t)vm->memory_mib << 20), rate, copy_s;
        struct wanted wanted = {.vm = vm, .mode = request->mode, .as = mover_as(vm)};

        *out = (struct mover_prediction){.mode = request->mode, .as = wanted.as};
        mover_risk(vm, out->mode, out->as, out->may_lose);
        out->octets = wanted.as == GW_MOVE_AS_STOPPED ? 0 : (uint64_t)memory;
        look_for_disks(nva, vm, out);
        gather(nva, &wanted, samples, out);
        if (!out->n)
                return;
        if (out->of == PREDICT_OWN_MOVES)
                out->octets = (uint64_t)MEDIAN(octets);
        else if (wanted.as != GW_MOVE_AS_STOPPED)
                out->octets = (uint64_t)(MEDIAN(share) * memory);
        rate = MEDIAN(rate_octets_s);
        if (request->bandwidth_mib_s && rate > (double)request->bandwidth_mib_s * (1 << 20))
                rate = (double)request->bandwidth_mib_s * (1 << 20);
        copy_s = (double)out->octets / rate;
        out->seconds = copy_s + MEDIAN(rest_s);
        pause_of(samples, copy_s, out);
}

/* What becomes of those who talk to it. */
static const char *connections(const struct mover_prediction *p) {
        if (p->as != GW_MOVE_AS_RUNNING)
                return "none";
        if (p->mode != GW_MOVE_COLD)
                return "kept";
        return p->n && p->pause_ms < PREDICT_PATIENCE_MS ? "kept" : "at risk";
}

json_t *mover_prediction_json(const struct mover_prediction *p) {
        static const char *const of[] = {"this VM", "other VMs", "other modes"};
        json_t *object = json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:s, s:s}", "mode", gw_move_mode_word(p->mode), "as",
                                   gw_move_as_word(p->as), "moves", (json_int_t)p->n, "of", p->n ? of[p->of] : "",
                                   "memory_octets", (json_int_t)p->octets, "disks", (json_int_t)p->n_disks,
                                   "connections", connections(p), "may_lose", p->may_lose);

        if (p->disks_known)
                json_object_set_new(object, "disk_octets", json_integer((json_int_t)p->disk_octets));
        if (!p->n)
                return object;
        json_object_set_new(object, "pause_ms", json_real(p->pause_ms));
        json_object_set_new(object, "pause_most_ms", json_real(p->pause_most_ms));
        json_object_set_new(object, "seconds", json_real(p->seconds));
        return object;
}
