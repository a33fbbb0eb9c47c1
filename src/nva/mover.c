/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves, from the side of the world: the state machine of src/move decides, this
 * calls agents, changes the directory, writes the journal and tells watchers.
 *
 * The journal is one record per move, rewritten at each change of phase and
 * staged before anything that the phase sends; the loop commits it before that
 * leaves. Ended moves stay as evidence, the newest NVA_MOVES_KEPT of them.
 *
 * What agents are told goes out through orders.c, what they tell comes in through reports.c. The directory is looked at after
 * each event, and whenever somebody acknowledged: whether everybody knows is a
 * question about its state, not an event of its own.
 */
#include "nva/mover.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "nva/drain.h"
#include "nva/evidence.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/move_json.h"
#include "nva/peers.h"
#include "nva/remains.h"
#include "nva/terms.h"

struct gw_vm *mover_vm(const struct nva_move *move) {
        return gw_directory_vm(&move->nva->directory, move->core.vm.s);
}

struct gw_nve *mover_nve(const struct nva_move *move, enum gw_move_side side) {
        return gw_directory_nve(&move->nva->directory, side == GW_MOVE_SOURCE ? move->core.from.s : move->core.to.s);
}

static void look(struct nva_move *move);
static void look_at_all(struct nva *nva);
static void on_acked(struct gw_post *post);

void mover_keep_early(struct nva *nva, const struct gw_nve *nve, const struct nva_early *early) {
        struct nva_move *move = mover_open(nva, early->request.vm.s);

        if (!move || strcmp(move->core.to.s, nve->id.s) != 0)
                return;
        if (!move->early && !(move->early = malloc(sizeof *early)))
                return; /* it is asked for again */
        *move->early = *early;
}

static void register_early(struct nva_move *move) {
        struct nva_early *early = move->early;
        struct gw_nve *to = mover_nve(move, GW_MOVE_TARGET);

        if (!early || (mover_is_open(move) && !mover_may_arrive(move->nva, move->core.vm.s, false)))
                return;
        move->early = NULL;
        if (to)
                peers_register(move->nva, to, early->id, early->locator, &early->request);
        free(early);
}

void mover_feed(struct nva_move *move, const struct gw_move_event *event) {
        struct gw_now now = nva_now();

        gw_move_feed(&move->core, event, now.mono, now.wall);
        look(move);
        register_early(move);
        if (!mover_is_open(move))
                mover_admit(move->nva);
}

const char *mover_id(const struct nva_move *move) {
        return move->core.id.s;
}

json_t *mover_json(const struct nva_move *move) {
        json_t *object = move_to_json(&move->core);

        if (mover_is_queued(move))
                json_object_set_new(object, "queued", json_true());
        ways_write(&move->ways, object);
        evidence_add(move, json_object_get(object, "evidence"));
        return object;
}

void mover_write(struct nva_move *move) {
        json_t *journal = move_to_journal(&move->core);

        remains_note(move);
        ways_write(&move->ways, journal);
        evidence_add(move, json_object_get(journal, "evidence"));
        nva_put_json(move->nva, GW_STORE_MOVE, move->core.id.s, journal);
        json_decref(journal);
}

/* --- effects --- */

/* A stopped VM holds no place; it must fit in all the same. */
static int reserve_unbound(struct nva_move *move, struct gw_vm *vm, const struct gw_nve *to, uint64_t *epoch_to,
                           uint64_t *epoch_back, struct gw_error *error) {
        struct gw_directory *directory = &move->nva->directory;
        int r = gw_directory_fits(directory, vm, to, error);

        if (r)
                return r;
        move->core.epoch = gw_directory_epochs(directory, vm, 3);
        if (!move->core.epoch)
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is not stopped any more", gw_vm_name(vm).s);
        *epoch_to = move->core.epoch + 1;
        *epoch_back = move->core.epoch + 2;
        return 0;
}

static int on_reserve(struct gw_move *core, uint64_t *epoch_to, uint64_t *epoch_back, void *user) {
        struct nva_move *move = mover_of(core);
        struct gw_vm *vm = mover_vm(move);
        struct gw_nve *to = mover_nve(move, GW_MOVE_TARGET);
        struct gw_error error = {0};
        int r;

        (void)user;
        if (!vm || !to)
                return GW_E_NOT_FOUND;
        if (core->as == GW_MOVE_AS_STOPPED)
                r = reserve_unbound(move, vm, to, epoch_to, epoch_back, &error);
        else
                r = gw_directory_reserve(&move->nva->directory, vm, to, nva_now(), epoch_to, epoch_back, &error);
        if (r) {
                snprintf(core->reason, sizeof core->reason, "%.*s", (int)sizeof core->reason - 1, error.text);
                gw_text_mend(core->reason);
        }
        return r;
}

static void on_journal(const struct gw_move *core, void *user) {
        (void)user;
        mover_write(mover_of(core));
}

static void on_commit(const struct gw_move *core, void *user) {
        struct nva_move *move = mover_of(core);
        struct gw_vm *vm = mover_vm(move);

        (void)user;
        if (vm && core->as != GW_MOVE_AS_STOPPED && gw_directory_commit(&move->nva->directory, vm, nva_now()))
                gw_log(GW_ERR, "the directory does not commit: move=%s vm=%s", core->id.s, core->vm.s);
}

static void on_take_back(const struct gw_move *core, void *user) {
        struct nva_move *move = mover_of(core);
        struct gw_vm *vm = mover_vm(move);

        (void)user;
        if (vm && core->as != GW_MOVE_AS_STOPPED && gw_directory_take_back(&move->nva->directory, vm, nva_now()))
                gw_log(GW_ERR, "the directory does not take back: move=%s vm=%s", core->id.s, core->vm.s);
}

static void on_changed(const struct gw_move *core, void *user) {
        struct nva_move *move = mover_of(core);

        (void)user;
        nva_publish(move->nva, "move", mover_json(move));
}

/* Forgets the oldest of the ended moves. Not from inside a move. */
static void trim(struct nva *nva) {
        gw_list_for_each (link, &nva->moves) {
                struct nva_move *move = mover_entry(link);

                if (nva->n_moves_done <= NVA_MOVES_KEPT)
                        return;
                if (mover_is_open(move))
                        continue;
                nva_remove(nva, GW_STORE_MOVE, move->core.id.s);
                gw_list_remove(&move->link);
                gw_list_remove(&move->open);
                evidence_drop(move);
                ways_deinit(&move->ways);
                free(move->early);
                free(move);
                nva->n_moves_done--;
        }
}

/* A side that could not be cleared in time is asked what it has, as soon as it can be. */
static void clear_sides(struct nva_move *move) {
        struct gw_nve *from = mover_nve(move, GW_MOVE_SOURCE), *to = mover_nve(move, GW_MOVE_TARGET);

        if (from && gw_move_place(&move->core) == GW_MOVE_TARGET && !move->core.finished)
                life_resync(move->nva, from);
        if (to && gw_move_place(&move->core) == GW_MOVE_SOURCE && move->core.touched && !move->core.abandoned)
                life_resync(move->nva, to);
        /* It may not be there as it was: an order to suspend it may have come before ours. */
        if (from && gw_move_place(&move->core) == GW_MOVE_SOURCE && move->core.as != GW_MOVE_AS_STOPPED)
                life_resync(move->nva, from);
}

struct arrival {
        struct nva *nva;
        struct gw_name vm;
};

static void on_unloaded(int status, json_t *body, void *user) {
        struct arrival *arrival = user;
        struct gw_vm *vm = gw_directory_vm(&arrival->nva->directory, arrival->vm.s);

        (void)status, (void)body; /* an agent that was lost clears it after its next inventory */
        if (vm && vm->state == GW_VM_STOPPING && !gw_vm_nve(vm) && !mover_open(arrival->nva, gw_vm_name(vm).s))
                gw_directory_vm_set_state(&arrival->nva->directory, vm, GW_VM_STOPPED);
        nva_call_free(arrival);
}

/* A stopped VM has moved, or has not: what was loaded for that is ended. It can be started when that is done. */
static void unload(struct nva_move *move, struct gw_vm *vm) {
        struct nva *nva = move->nva;
        struct gw_nve *at = mover_nve(move, gw_move_place(&move->core));
        struct arrival *arrival = at && at->hv_session ? nva_call_new(nva, sizeof *arrival) : NULL;
        char path[160];

        if (move->core.result == GW_MOVE_OK)
                terms_set_home(nva, vm, move->core.to.s);
        gw_directory_vm_set_state(&nva->directory, vm, arrival ? GW_VM_STOPPING : GW_VM_STOPPED);
        if (!arrival)
                return;
        *arrival = (struct arrival){nva, move->core.vm};
        snprintf(path, sizeof path, "/v1/vms/%s", gw_vm_name(vm).s);
        gw_call(at->hv_session, "DELETE", path, NULL, gw_s(LIFE_CALL_S), on_unloaded, arrival);
}

/* Its emulator is gone from where it belongs. */
static void tell_end(struct nva_move *move, struct gw_vm *vm) {
        const struct gw_move *core = &move->core;
        const char *reason = *core->reason ? core->reason : "it ended during a move";
        char text[GW_MOVE_REASON_MAX + sizeof core->id + 64];

        if (move->dead[gw_move_place(core)])
                return life_lost(move->nva, vm);
        if (move->ways.images)
                snprintf(text, sizeof text, "%s; `godwit move show %s` tells where its disks are", reason, core->id.s);
        life_ended(move->nva, vm, !core->ended_itself, move->ways.images ? text : reason);
}

static void on_done(const struct gw_move *core, void *user) {
        struct nva *nva = user;
        struct nva_move *move = mover_of(core);
        struct gw_vm *vm = mover_vm(move);

        gw_log(core->result == GW_MOVE_OK ? GW_INFO : GW_WARNING,
               "move ended: move=%s vm=%s from=%s to=%s result=%s pause_ms=%.1f reason=\"%s\"", core->id.s, core->vm.s,
               core->from.s, core->to.s, gw_move_result_word(core->result),
               (double)gw_move_pause(core).ns / (double)GW_NS_PER_MS, core->reason);
        nva->n_moves_done++;
        if (!vm)
                return;
        gw_directory_unreserve(&nva->directory, vm);
        if (core->as == GW_MOVE_AS_STOPPED)
                unload(move, vm);
        else
                gw_directory_vm_set_state(&nva->directory, vm,
                                          core->as == GW_MOVE_AS_SUSPENDED ? GW_VM_PAUSED : GW_VM_RUNNING);
        if (gw_move_needs_start(core) && core->as != GW_MOVE_AS_STOPPED)
                tell_end(move, vm);
        clear_sides(move);
        evidence_after(move);
        drain_moved(nva, core);
}

static const struct gw_move_effects move_effects = {
        .reserve = on_reserve,
        .journal = on_journal,
        .order = mover_order,
        .commit = on_commit,
        .take_back = on_take_back,
        .changed = on_changed,
        .done = on_done,
};

/* --- life --- */

void mover_init(struct nva *nva) {
        const struct nva_config *c = &nva->config;

        nva->acked.run = on_acked;
        nva->move_rules = (struct gw_move_rules){.effects = &move_effects,
                                                 .user = nva,
                                                 .deadline_ms = {[GW_MOVE_PLAN] = c->deadline_prepare_ms,
                                                                 [GW_MOVE_PREPARE] = c->deadline_prepare_ms,
                                                                 [GW_MOVE_COPY] = c->deadline_copy_ms,
                                                                 [GW_MOVE_CUT] = c->deadline_cut_ms,
                                                                 [GW_MOVE_COMMIT] = c->deadline_cut_ms,
                                                                 [GW_MOVE_ACTIVATE] = c->deadline_converge_ms,
                                                                 [GW_MOVE_CONVERGE] = c->deadline_converge_ms,
                                                                 [GW_MOVE_FINISH] = c->deadline_converge_ms,
                                                                 [GW_MOVE_ABANDON] = c->deadline_converge_ms,
                                                                 [GW_MOVE_TAKE_BACK] = c->deadline_cut_ms}};
        nva->next_move = 1;
}

void mover_deinit(struct nva *nva) {
        if (!nva->moves.next)
                return;
        gw_list_for_each (link, &nva->moves) {
                struct nva_move *move = mover_entry(link);

                gw_list_remove(link);
                evidence_drop(move);
                ways_deinit(&move->ways);
                free(move->early);
                free(move);
        }
}

uint64_t mover_number(const struct nva_move *move) {
        return strtoull(move->core.id.s + 1, NULL, 10);
}

/* The store's order is that of texts; ours is that of numbers. */
static void insert(struct nva *nva, struct nva_move *move) {
        struct gw_list *after = nva->moves.prev;

        while (after != &nva->moves && mover_number(mover_entry(after)) > mover_number(move))
                after = after->prev;
        gw_list_append(after->next, &move->link);
        if (mover_number(move) >= nva->next_move)
                nva->next_move = mover_number(move) + 1;
}

int mover_load(struct nva *nva, const void *value, size_t size, struct gw_error *error) {
        json_t *journal = json_loadb(value, size, 0, NULL);
        struct nva_move *move = calloc(1, sizeof *move);
        int r;

        if (!move)
                abort();
        move->nva = nva;
        r = move_from_journal(&move->core, journal, error);
        if (!r)
                evidence_load(move, json_object_get(journal, "evidence"));
        if (!r)
                ways_load(&move->ways, journal);
        json_decref(journal);
        if (r) {
                free(move->early);
                free(move);
                return r;
        }
        insert(nva, move);
        nva->n_moves_done += !mover_is_open(move);
        return 0;
}

void mover_restore(struct nva *nva, struct gw_now now) {
        gw_list_for_each (link, &nva->moves) {
                struct nva_move *move = mover_entry(link);
                struct gw_vm *vm = mover_vm(move);

                /* What was loaded for it is cleared by its agent's inventory; nobody waits for that any more. */
                if (vm && !mover_is_open(move) && vm->state == GW_VM_STOPPING && !gw_vm_nve(vm))
                        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_STOPPED);
                if (!mover_is_open(move))
                        continue;
                gw_log(GW_NOTICE, "carrying on: move=%s vm=%s phase=%s", move->core.id.s, move->core.vm.s,
                       gw_move_phase_word(move->core.phase));
                if (vm)
                        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_MOVING);
                gw_list_append(&nva->open_moves, &move->open);
                gw_move_restore(&move->core, &nva->move_rules, now.mono, now.wall);
        }
        mover_admit(nva);
}

struct gw_mono mover_next(struct nva *nva) {
        struct gw_mono next = {0};

        /* Between two turns of the loop, so nobody is on a walk over them. */
        gw_list_for_each (link, &nva->open_moves)
                if (!mover_is_open(mover_open_entry(link)))
                        gw_list_remove(link);
        gw_list_for_each (link, &nva->open_moves) {
                struct gw_mono one = gw_move_next(&mover_open_entry(link)->core);

                if (one.ns && (!next.ns || one.ns < next.ns))
                        next = one;
        }
        return next;
}

void mover_tick(struct nva *nva, struct gw_now now) {
        const struct gw_move_event tick = {.kind = GW_MOVE_EV_TICK};

        gw_list_for_each (link, &nva->open_moves) {
                struct gw_move *m = &mover_open_entry(link)->core;

                if (gw_mono_reached(now.mono, gw_move_next(m)))
                        gw_move_feed(m, &tick, now.mono, now.wall);
        }
        mover_admit(nva);
        look_at_all(nva);
}

struct nva_move *mover_open(const struct nva *nva, const char *vm) {
        gw_list_for_each (link, &nva->open_moves)
                if (mover_is_open(mover_open_entry(link)) && !strcmp(mover_open_entry(link)->core.vm.s, vm))
                        return mover_open_entry(link);
        return NULL;
}

struct nva_move *mover_find(const struct nva *nva, const char *id) {
        for (struct gw_list *link = nva->moves.prev; link != &nva->moves; link = link->prev)
                if (!strcmp(mover_entry(link)->core.id.s, id))
                        return mover_entry(link);
        return NULL;
}

bool mover_uses(const struct nva *nva, const char *nve) {
        gw_list_for_each (link, &nva->open_moves) {
                const struct gw_move *m = &mover_open_entry(link)->core;

                if (m->phase != GW_MOVE_DONE && (!strcmp(m->from.s, nve) || !strcmp(m->to.s, nve)))
                        return true;
        }
        return false;
}

/* --- beginning --- */

int mover_begin(struct nva *nva, struct gw_vm *vm, struct mover_request *request, struct nva_move **out,
                struct gw_error *error) {
        struct nva_move *move;
        struct gw_now now = nva_now();
        struct mover_plan plan;

        mover_settle_mode(nva, vm, request);
        mover_plan(nva, vm, request, &plan);
        for (size_t i = 0; i < plan.n; i++)
                if (plan.checks[i].error.code) {
                        *error = plan.checks[i].error;
                        return error->code;
                }
        trim(nva);
        move = calloc(1, sizeof *move);
        if (!move)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        move->nva = nva;
        gw_move_init(&move->core, &nva->move_rules);
        snprintf(move->core.id.s, sizeof move->core.id.s, "m%" PRIu64, nva->next_move);
        move->core.vm = gw_vm_name(vm);
        move->core.from = mover_place(nva, vm)->id;
        move->core.to = request->to->id;
        move->core.epoch = vm->binding.epoch;
        move->core.bandwidth_mib_s = request->bandwidth_mib_s;
        move->core.downtime_ms = request->downtime_ms;
        move->core.mode = request->mode;
        move->core.as = mover_as(vm);
        move->core.has_disks = ways_has_disks(vm);
        move->core.admitted = false;
        move->ways = request->ways;
        move->ways.options.stay = move->core.as != GW_MOVE_AS_RUNNING;
        insert(nva, move);
        gw_list_append(&nva->open_moves, &move->open);
        gw_log(GW_INFO, "move: move=%s vm=%s from=%s to=%s", move->core.id.s, gw_vm_name(vm).s, move->core.from.s,
               move->core.to.s);
        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_MOVING);
        gw_move_start(&move->core, now.mono, now.wall);
        mover_admit(nva);
        *out = move;
        return 0;
}

int mover_cancel(struct nva *nva, struct nva_move *move, struct gw_error *error) {
        (void)nva;
        if (!mover_is_open(move))
                return gw_fail(error, GW_E_CONFLICT, "", "move %s has ended already", mover_id(move));
        if (!gw_move_cancellable(&move->core))
                return gw_fail(error, GW_E_CONFLICT, "", "move %s is in phase %s; it can be cancelled up to the cut",
                               mover_id(move), gw_move_phase_word(move->core.phase));
        mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_CANCEL});
        return 0;
}

/* --- what the directory knows --- */

/* Whoever is disconnected counts like one who has not answered yet: after a start of this process that is everybody.
 * But one that stays away is not waited for for ever. */
static bool is_confirmed(const struct nva_move *move, struct gw_directory_pending pending) {
        return !pending.waiting && (!pending.away || !gw_move_is_patient(&move->core));
}

/* The target's edge knows all it must, and everybody else knows the target's edge. */
static bool members_know(struct nva_move *move, const struct gw_vm *vm) {
        const struct gw_nve *to = mover_nve(move, GW_MOVE_TARGET);

        if (!to || move->core.side[GW_MOVE_TARGET].copy != GW_COPY_WAITING)
                return false;
        if (!move->edge_ready) {
                mover_ask_edge(move);
                return false;
        }
        return gw_list_empty(&to->dirty) && gw_list_empty(&to->later) && gw_list_empty(&to->lists) &&
               gw_list_empty(&to->updates) &&
               is_confirmed(move, gw_directory_pending_members(&move->nva->directory, vm));
}

/* Nobody is left who may hold a location of the VM that is older than its binding. */
static bool all_know(const struct nva_move *move, const struct gw_vm *vm) {
        struct gw_directory_pending pending = gw_directory_pending(&move->nva->directory, vm);

        return !pending.waiting && !pending.away;
}

/* What the directory knows may be what the phase that has just begun waits for. */
static void look(struct nva_move *move) {
        const struct gw_vm *vm = mover_vm(move);
        const struct gw_move *m = &move->core;

        if (!vm)
                return;
        if (gw_move_is_patient(m) && !m->settled && all_know(move, vm))
                mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_SETTLED});
        else if (m->phase == GW_MOVE_PREPARE && !m->members_acked && members_know(move, vm))
                mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_MEMBERS_ACKED});
        else if ((m->phase == GW_MOVE_ACTIVATE || m->phase == GW_MOVE_CONVERGE) && m->registered && !m->converged &&
                 all_know(move, vm))
                mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_CONVERGED});
}

static void look_at_all(struct nva *nva) {
        gw_list_for_each (link, &nva->open_moves)
                if (mover_is_open(mover_open_entry(link)))
                        look(mover_open_entry(link));
}

static void on_acked(struct gw_post *post) {
        look_at_all(gw_container_of(post, struct nva, acked));
}

/* A look goes through all who hold the VM, and each of them acknowledges: once for all that came together. */
void mover_acked(struct nva *nva) {
        gw_loop_post(&nva->loop, &nva->acked);
}
