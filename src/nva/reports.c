/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agents and edges tell about moves, from JSON into events of the state
 * machine. An agent's words for states are those of its inventory
 * (docs/architecture.md, "Calls that an HV serves").
 *
 * An agent that was out of touch sends its inventory first and then the events it
 * kept. Its own clock tells the two apart: what it saw before the inventory is
 * marked as past, and teaches only what has been, not what is.
 */
#include <string.h>

#include "base/log.h"
#include "nva/evidence.h"
#include "nva/json.h"
#include "nva/mover.h"

static bool has_side(const struct nva_move *move, const char *nve, enum gw_move_side *side) {
        if (!mover_is_open(move))
                return false;
        *side = !strcmp(move->core.from.s, nve) ? GW_MOVE_SOURCE : GW_MOVE_TARGET;
        return !strcmp(move->core.from.s, nve) || !strcmp(move->core.to.s, nve);
}

void mover_hv_lost(struct nva *nva, const char *nve) {
        enum gw_move_side side;

        gw_list_for_each (link, &nva->open_moves)
                if (has_side(mover_open_entry(link), nve, &side))
                        mover_feed(mover_open_entry(link),
                                   &(struct gw_move_event){.kind = GW_MOVE_EV_HV_LOST, .side = side});
}

void mover_host_dead(struct nva *nva, const char *nve) {
        enum gw_move_side side;

        gw_list_for_each (link, &nva->open_moves)
                if (has_side(mover_open_entry(link), nve, &side)) {
                        mover_open_entry(link)->dead[side] = true;
                        mover_feed(mover_open_entry(link), &(struct gw_move_event){.kind = GW_MOVE_EV_HOST_DEAD,
                                                                                   .side = side,
                                                                                   .text = "its host was lost"});
                }
}

static enum gw_copy copy_of(const char *state) {
        static const struct {
                const char *state;
                enum gw_copy copy;
        } states[] = {{"running", GW_COPY_RUNNING},
                      {"incoming", GW_COPY_WAITING},
                      {"paused", GW_COPY_STOPPED},
                      {"starting", GW_COPY_WAITING}};

        for (size_t i = 0; i < sizeof states / sizeof *states; i++)
                if (!strcmp(states[i].state, state))
                        return states[i].copy;
        return GW_COPY_NONE;
}

/* When it stopped at the source of this move, or began to run at its target; agents of before do not say. */
static struct gw_wall told_again(json_t *vm, const struct gw_move_event *ev) {
        const char *key = ev->side == GW_MOVE_TARGET ? "resumed_ns" : "stopped_ns";
        bool known = ev->side == GW_MOVE_TARGET ? ev->running : ev->copying && ev->copy == GW_COPY_STOPPED;
        json_int_t at = known ? json_integer_value(json_object_get(vm, key)) : 0;

        return (struct gw_wall){at > 0 ? (uint64_t)at : 0};
}

static void read_inventory(const struct nva_move *move, json_t *vms, struct gw_move_event *ev) {
        json_t *item;
        bool of_ours;
        size_t i;

        ev->copy = GW_COPY_NONE;
        json_array_foreach (vms, i, item) {
                if (strcmp(nva_json_text(item, "id"), move->core.vm.s))
                        continue;
                ev->copy = copy_of(nva_json_text(item, "state"));
                ev->by_itself = !strcmp(nva_json_text(item, "state"), "stopped");
                ev->epoch = (uint64_t)json_integer_value(json_object_get(item, "epoch"));
                /* One that stands still, and is not on its way, is as much there as another that runs. */
                if (move->core.as != GW_MOVE_AS_RUNNING && ev->copy == GW_COPY_STOPPED &&
                    !strcmp(nva_json_text(item, "role"), "serve"))
                        ev->copy = GW_COPY_RUNNING;
                of_ours = !strcmp(nva_json_text(item, "move"), move->core.id.s);
                ev->copying = of_ours && !strcmp(nva_json_text(item, "role"), "source");
                /* A target serves from the moment it has run; what its copy is now is another matter. */
                ev->running = !strcmp(nva_json_text(item, "role"), "serve") && ev->epoch == move->core.epoch_to;
                ev->at = told_again(item, ev);
        }
}

void mover_hv_back(struct nva *nva, const char *nve, json_t *vms, struct gw_wall at) {
        gw_list_for_each (link, &nva->open_moves) {
                struct gw_move_event ev = {.kind = GW_MOVE_EV_HV_BACK};

                if (!has_side(mover_open_entry(link), nve, &ev.side))
                        continue;
                mover_open_entry(link)->known_at[ev.side] = at;
                mover_open_entry(link)->dead[ev.side] = false;
                read_inventory(mover_open_entry(link), vms, &ev);
                mover_feed(mover_open_entry(link), &ev);
        }
}

/* May come with a fraction; what no counter can be is 0. */
static uint64_t read_rate(const json_t *event, const char *key) {
        double rate = json_number_value(json_object_get(event, key));

        return rate > 0 && rate < (double)INT64_MAX ? (uint64_t)rate : 0;
}

static void read_progress(json_t *event, struct gw_move_progress *out) {
        *out = (struct gw_move_progress){
                .transferred_octets = (uint64_t)json_integer_value(json_object_get(event, "transferred")),
                .remaining_octets = (uint64_t)json_integer_value(json_object_get(event, "remaining")),
                .total_octets = (uint64_t)json_integer_value(json_object_get(event, "total")),
                .rate_octets_s = read_rate(event, "rate_bytes_s"),
                .dirty_pages_s = read_rate(event, "dirty_pages_s"),
                .iteration = (uint32_t)json_integer_value(json_object_get(event, "iteration")),
                .disk_done_octets = (uint64_t)json_integer_value(json_object_get(event, "disk_done")),
                .disk_total_octets = (uint64_t)json_integer_value(json_object_get(event, "disk_total")),
                .disk_left_octets = (uint64_t)json_integer_value(json_object_get(event, "disk_left")),
                .waits_for_disks = json_is_true(json_object_get(event, "waits_for_disks")),
        };
}

/* false: not an event of moves, or not one that this side can know: neither may speak for the other. */
static bool read_event(const char *name, json_t *event, struct gw_move_event *ev) {
        enum { SOURCE = 1 << GW_MOVE_SOURCE, TARGET = 1 << GW_MOVE_TARGET };
        static const struct {
                const char *name;
                enum gw_move_event_kind kind;
                unsigned sides;
        } kinds[] = {{"move-progress", GW_MOVE_EV_PROGRESS, SOURCE},
                     {"move-stopped", GW_MOVE_EV_STOPPED, SOURCE},
                     {"move-cut", GW_MOVE_EV_CUT, SOURCE},
                     {"move-running", GW_MOVE_EV_RUNNING, TARGET},
                     {"move-failed", GW_MOVE_EV_FAILED, SOURCE | TARGET},
                     {"move-completed", GW_MOVE_EV_COMPLETED, SOURCE},
                     {"move-switched", GW_MOVE_EV_SWITCHED, SOURCE},
                     {"move-broken", GW_MOVE_EV_BROKEN, SOURCE},
                     {"move-landed", GW_MOVE_EV_LANDED, TARGET}};

        for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
                if (!strcmp(kinds[i].name, name) && kinds[i].sides & 1U << ev->side)
                        ev->kind = kinds[i].kind;
        ev->at.ns = (uint64_t)json_integer_value(json_object_get(event, "at_ns"));
        ev->running = json_is_true(json_object_get(event, "running"));
        ev->epoch = (uint64_t)json_integer_value(json_object_get(event, "epoch"));
        ev->count = (uint64_t)json_integer_value(json_object_get(event, "drained"));
        ev->talkers = (uint32_t)json_array_size(json_object_get(event, "talkers"));
        ev->text = nva_json_text(event, "reason");
        if (ev->kind == GW_MOVE_EV_PROGRESS)
                read_progress(event, &ev->progress);
        return ev->kind;
}

/* A VM's state while it moves: an emulator that ended is news; that it stands still or runs is told by other events. */
static bool read_state(json_t *event, struct gw_move_event *ev) {
        const char *state = nva_json_text(event, "state");

        if (strcmp(state, "stopped") && strcmp(state, "crashed"))
                return false;
        ev->kind = GW_MOVE_EV_VM_GONE;
        ev->by_itself = !strcmp(state, "stopped");
        ev->text = *nva_json_text(event, "reason") ? nva_json_text(event, "reason") : state;
        return true;
}

bool mover_event(struct nva *nva, const char *nve, const char *name, json_t *event) {
        struct nva_move *move = mover_open(nva, nva_json_text(event, "vm"));
        struct gw_move_event ev = {0};
        const char *of = nva_json_text(event, "move");
        bool state = !strcmp(name, "vm-state"), wanted;

        if (!move || !has_side(move, nve, &ev.side))
                return false;
        /* A state is the VM's, whichever move its agent last had to do with. */
        if (!state && *of && strcmp(of, move->core.id.s)) {
                gw_log_debug("an event of another move: move=%s of=%s event=%s", move->core.id.s, of, name);
                return true;
        }
        wanted = state ? read_state(event, &ev) : read_event(name, event, &ev);
        ev.past = ev.at.ns && ev.at.ns < move->known_at[ev.side].ns;
        if (wanted)
                mover_feed(move, &ev);
        return true;
}

bool mover_may_arrive(const struct nva *nva, const char *vm, bool back) {
        const struct nva_move *move = mover_open(nva, vm);
        const struct gw_move_side_state *source = move ? &move->core.side[GW_MOVE_SOURCE] : NULL;

        if (!move || back)
                return !move || move->core.migrate_asked;
        return move->core.migrate_asked &&
               (move->core.cut_seen || move->core.target_ran || !source->connected || source->copy != GW_COPY_RUNNING);
}

void mover_registered(struct nva *nva, const char *vm, uint64_t epoch) {
        struct nva_move *move = mover_open(nva, vm);

        if (move)
                mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_REGISTERED, .epoch = epoch});
}

/* Of the last move that left from there before: a later one may be on its way back. */
void mover_redirect_ended(struct nva *nva, const char *nve, const struct gw_report *report) {
        for (struct gw_list *link = nva->moves.prev; link != &nva->moves; link = link->prev) {
                struct nva_move *move = mover_entry(link);

                if (strcmp(move->core.vm.s, report->vm.s) || strcmp(move->core.from.s, nve) || !move->core.committed ||
                    move->core.epoch_to > report->epoch)
                        continue;
                if (move->redirect_ended && move->redirected == report->redirected)
                        return; /* said again: an NVE cannot keep us asking others for their counters */
                move->redirect_ended = move->redirected_known = true;
                move->redirected = report->redirected;
                evidence_after(move);
                return;
        }
}
