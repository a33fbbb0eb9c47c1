/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What should run, does; what should not, does not. Management's decision (the
 * VM's `desired` and its binding) is in the directory and durable before an agent
 * is called; every call may be repeated, since agents know (id, epoch). So whatever
 * is killed in between, the agent's next inventory is enough to go on:
 *
 *      there, bound here, runs         -> fine
 *      there, not bound here           -> cleared (a finished move's source: finish; else DELETE)
 *      there, bound here with another epoch, or to be stopped -> ended
 *      bound here, to run, not there   -> started with a new epoch
 *
 * VMs with an open move are the mover's business and left alone here.
 *
 * A crash follows on_crash: `restart` starts it again on the same host with a new
 * epoch, after 1 s, 2 s, .. 60 s; `stop` leaves it crashed. A guest that powers
 * itself off has stopped: it is not started again.
 *
 * Tasks (devices that somebody else runs) have the same life without an agent:
 * their ports are put on their edge, and again whenever that edge returns.
 */
#include "nva/life.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "io/http.h"
#include "nva/json.h"
#include "nva/lives.h"
#include "nva/mover.h"
#include "nva/remains.h"
#include "nva/terms.h"

/* One call to an agent or an edge. Ids, not pointers: objects may go meanwhile. */
struct call {
        struct nva *nva;
        struct gw_name vm, nve;
        uint64_t epoch;
        struct gw_request *request; /* to be answered, or NULL */
        enum gw_vm_state then;      /* the state that follows */
};

/* --- calls --- */

static struct call *call_new(struct nva *nva, const struct gw_vm *vm, const struct gw_nve *nve,
                             struct gw_request *request) {
        struct call *call = nva_call_new(nva, sizeof *call);

        if (!call)
                abort();
        call->nva = nva;
        call->vm = gw_vm_name(vm);
        call->nve = nve->id;
        call->epoch = vm->binding.epoch;
        call->request = request;
        return call;
}

static const char *vm_path(char *out, size_t size, const char *vm, const char *verb) {
        snprintf(out, size, "/v1/vms/%s%s", vm, verb);
        return out;
}

static void on_clear(int status, json_t *body, void *user) {
        struct gw_error error = {0};

        (void)user;
        if (!nva_json_no_answer(status, body) && gw_api_error(status, body, &error))
                gw_log_limited(GW_WARNING, 20,
                               "what is left of a VM could not be cleared, and is tried again when its "
                               "agent is here anew (is it older than the authority?): %s",
                               error.text);
}

void life_clear(struct nva *nva, struct gw_nve *nve, const char *vm, const char *move) {
        const struct nva_move *known = mover_find(nva, move);
        json_t *body = json_pack("{s:s}", "move", move);
        char path[160];

        if (!known || remains_is_torn(known)) /* of one that is forgotten nobody can say that it was not torn */
                json_object_set_new(body, "keep_disks", json_true());
        if (!nve->hv_session)
                goto out;
        gw_log_limited(GW_NOTICE, 100, "clearing: vm=%s nve=%s move=%s", vm, nve->id.s, move);
        if (*move)
                gw_call(nve->hv_session, "POST", vm_path(path, sizeof path, vm, "/finish"), json_incref(body),
                        gw_s(LIFE_CALL_S), on_clear, NULL);
        else
                gw_call(nve->hv_session, "DELETE", vm_path(path, sizeof path, vm, ""), NULL, gw_s(LIFE_CALL_S),
                        on_clear, NULL);
out:
        json_decref(body);
}

/* --- start --- */

static void answer_vm(struct call *call, int status) {
        struct gw_vm *vm = gw_directory_vm(&call->nva->directory, call->vm.s);

        if (call->request && vm)
                gw_request_answer(call->request, status, nva_json_vm(call->nva, vm));
        else if (call->request)
                gw_request_answer(call->request, 204, NULL);
        call->request = NULL;
}

static void answer_error(struct call *call, int code, const char *text) {
        struct gw_error error;

        gw_fail(&error, code, "", "%s", text);
        if (call->request)
                gw_request_fail(call->request, &error);
        call->request = NULL;
}

static void schedule_restart(struct nva *nva, struct gw_vm *vm) {
        struct life *life = life_of(nva, gw_vm_name(vm).s);
        struct gw_mono now = gw_mono_now();
        uint64_t wait_ms = LIFE_BACKOFF_FIRST_MS;

        if (!life)
                return;
        if (life->up_since.ns && gw_mono_between(life->up_since, now).ns >= gw_ms(LIFE_STABLE_MS).ns)
                life->crashes = 0;
        life->up_since.ns = 0;
        for (unsigned i = 0; i < life->crashes && wait_ms < LIFE_BACKOFF_MAX_MS; i++)
                wait_ms *= 2;
        life->crashes++;
        life_start_at(nva, life,
                      gw_mono_after(now, gw_ms(wait_ms > LIFE_BACKOFF_MAX_MS ? LIFE_BACKOFF_MAX_MS : wait_ms)));
}

/* It is nowhere. */
static void let_go(struct nva *nva, struct gw_vm *vm, enum gw_vm_state state, bool was_there) {
        if (gw_vm_nve(vm) && was_there)
                terms_set_home(nva, vm, gw_vm_nve(vm)->id.s);
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_STOP);
        gw_directory_release(&nva->directory, vm, nva_now());
        gw_directory_vm_set_state(&nva->directory, vm, state);
}

static void on_gone(int status, json_t *body, void *user) {
        struct call *call = user;
        struct gw_vm *vm = gw_directory_vm(&call->nva->directory, call->vm.s);

        (void)status, (void)body;
        if (vm && gw_vm_nve(vm) && vm->binding.epoch == call->epoch)
                let_go(call->nva, vm, call->then, true);
        nva_call_free(call);
}

/* Nobody wants it to run any more. Its place is free when the agent has taken the rest away; one that is lost does
 * that after its next inventory. */
static void give_up(struct nva *nva, struct gw_vm *vm, enum gw_vm_state state) {
        struct gw_nve *nve = gw_vm_nve(vm);
        struct call *call;
        char path[160];

        if (!nve || !nve->hv_session) {
                let_go(nva, vm, state, true);
                return;
        }
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_STOP);
        gw_directory_vm_set_state(&nva->directory, vm, state == GW_VM_STOPPED ? GW_VM_STOPPING : state);
        call = call_new(nva, vm, nve, NULL);
        call->then = state;
        gw_call(nve->hv_session, "DELETE", vm_path(path, sizeof path, gw_vm_name(vm).s, ""), NULL, gw_s(LIFE_CALL_S),
                on_gone, call);
}

static void start_refused(struct call *call, struct gw_vm *vm, struct gw_error *error) {
        bool by_operator = call->request != NULL;

        gw_log(GW_WARNING, "start refused: vm=%s nve=%s reason=\"%s\"", call->vm.s, call->nve.s, error->text);
        terms_tell_disks(call->nva, vm, call->nve.s, error);
        life_say(call->nva, call->vm.s, error->text);
        if (by_operator) {
                life_clear(call->nva, gw_vm_nve(vm), gw_vm_name(vm).s, "");
                let_go(call->nva, vm, GW_VM_STOPPED, false); /* its images are where it ran last, not here */
                answer_error(call, GW_E_CONFLICT, error->text);
                return;
        }
        gw_directory_vm_set_state(&call->nva->directory, vm, GW_VM_CRASHED);
        schedule_restart(call->nva, vm);
}

/* No answer: the agent may have started it. Its next inventory tells. */
static void start_unsure(struct call *call) {
        struct gw_nve *nve = gw_directory_nve(&call->nva->directory, call->nve.s);

        if (nve && nve->hv_session)
                life_resync(call->nva, nve);
        answer_error(call, GW_E_AGAIN, "the host has not answered; the VM is started when it does");
}

static void on_stopped(int status, json_t *body, void *user) {
        struct call *call = user;
        struct gw_vm *vm = gw_directory_vm(&call->nva->directory, call->vm.s);
        struct gw_error error = {0};

        if (status == 404 && vm && vm->binding.epoch == call->epoch)
                life_ended(call->nva, vm, false, "");
        else if (!nva_json_no_answer(status, body) && gw_api_error(status, body, &error) && status != 404)
                gw_log(GW_WARNING, "stop refused: vm=%s nve=%s reason=\"%s\"", call->vm.s, call->nve.s, error.text);
        answer_vm(call, 202);
        nva_call_free(call);
}

static void tell_to_stop(struct nva *nva, struct gw_vm *vm, bool force, struct gw_request *request) {
        char path[160];

        gw_call(gw_vm_nve(vm)->hv_session, "POST", vm_path(path, sizeof path, gw_vm_name(vm).s, "/stop"),
                json_pack("{s:b}", "force", force), gw_s(LIFE_CALL_S), on_stopped,
                call_new(nva, vm, gw_vm_nve(vm), request));
}

/* What the agent was told meanwhile it may have had nothing to do with yet. */
static void started_in_vain(struct call *call, struct gw_vm *vm, int status, json_t *body) {
        struct gw_nve *nve = gw_vm_nve(vm);
        struct gw_error error = {0};

        if (!nve || !nve->hv_session)
                return; /* its next inventory tells */
        if (nva_json_no_answer(status, body))
                life_resync(call->nva, nve);
        else if (gw_api_error(status, body, &error))
                give_up(call->nva, vm, GW_VM_STOPPED);
        else
                tell_to_stop(call->nva, vm, false, NULL);
}

static void on_started(int status, json_t *body, void *user) {
        struct call *call = user;
        struct gw_vm *vm = gw_directory_vm(&call->nva->directory, call->vm.s);
        struct life *life = life_find(call->nva, call->vm.s);
        struct gw_error error = {0};

        if (life)
                life->starting = false;
        if (!vm || vm->binding.epoch != call->epoch || vm->desired != GW_VM_RUN) {
                if (vm && vm->binding.epoch == call->epoch)
                        started_in_vain(call, vm, status, body);
                answer_error(call, GW_E_CONFLICT, "the VM was stopped or placed anew meanwhile");
        } else if (nva_json_no_answer(status, body)) {
                start_unsure(call);
        } else if (gw_api_error(status, body, &error)) {
                start_refused(call, vm, &error);
        } else {
                if (vm->state == GW_VM_STARTING)
                        gw_directory_vm_set_state(&call->nva->directory, vm, GW_VM_RUNNING);
                life_say(call->nva, call->vm.s, "");
                if (life)
                        life->up_since = gw_mono_now();
                answer_vm(call, 200);
        }
        nva_call_free(call);
}

/* The VM is placed: asks the agent. */
static void call_start(struct nva *nva, struct gw_vm *vm, struct gw_request *request) {
        struct gw_nve *nve = gw_vm_nve(vm);
        struct life *life = life_of(nva, gw_vm_name(vm).s);
        json_t *body =
                json_pack("{s:o, s:I}", "definition", nva_json_definition(vm), "epoch", (json_int_t)vm->binding.epoch);

        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_STARTING);
        if (life) {
                life->starting = true;
                life_start_at(nva, life, (struct gw_mono){0});
        }
        gw_call(nve->hv_session, "POST", "/v1/vms", body, gw_s(LIFE_CALL_S), on_started,
                call_new(nva, vm, nve, request));
}

static struct gw_nve *most_free(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        struct gw_nve *best = NULL, *nve;
        const char *after = NULL;
        struct gw_error last = {0};
        uint32_t best_free = 0;

        for (; (nve = gw_directory_nve_after(&nva->directory, after)); after = nve->id.s) {
                uint32_t free_mib = nve->capacity_memory_mib - nve->used_memory_mib;

                if ((best && free_mib <= best_free) || gw_directory_fits(&nva->directory, vm, nve, &last))
                        continue;
                best = nve;
                best_free = free_mib;
        }
        if (!best)
                gw_fail(error, GW_E_CONFLICT, "nve", "no host can take %s: %s", gw_vm_name(vm).s,
                        *last.text ? last.text : "no NVE is known; `godwit nve list` shows them");
        return best;
}

int life_start(struct nva *nva, struct gw_vm *vm, struct gw_nve *nve, struct gw_request *request,
               struct gw_error *error) {
        uint64_t epoch;
        int r;

        if (!nve && ways_has_disks(vm)) /* they are where it was, unless the storage is shared: fits alike then */
                nve = terms_home(nva, vm);
        if (!nve && !(nve = most_free(nva, vm, error)))
                return GW_E_CONFLICT;
        r = gw_directory_fits(&nva->directory, vm, nve, error);
        if (!r)
                r = gw_directory_place(&nva->directory, vm, nve, nva_now(), &epoch, error);
        if (r) {
                terms_tell_disks(nva, vm, nve->id.s, error);
                return r;
        }
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_RUN);
        life_say(nva, gw_vm_name(vm).s, "");
        call_start(nva, vm, request);
        return 0;
}

/* The second half of a restart: what was left of the crashed copy is gone. */
static void on_cleared(int status, json_t *body, void *user) {
        struct call *call = user;
        struct nva *nva = call->nva;
        struct gw_vm *vm = gw_directory_vm(&nva->directory, call->vm.s);
        struct gw_error error = {0};
        uint64_t epoch;

        if (vm && vm->desired == GW_VM_RUN && gw_vm_nve(vm) && vm->binding.epoch == call->epoch &&
            !mover_open(nva, call->vm.s)) {
                if (nva_json_no_answer(status, body) || !gw_vm_nve(vm)->hv_session)
                        schedule_restart(nva, vm);
                else if (gw_directory_place(&nva->directory, vm, gw_vm_nve(vm), nva_now(), &epoch, &error)) {
                        life_say(nva, call->vm.s, error.text);
                        schedule_restart(nva, vm);
                } else
                        call_start(nva, vm, NULL);
        }
        nva_call_free(call);
}

static void restart(struct nva *nva, struct gw_vm *vm, struct gw_nve *nve) {
        char path[160];

        gw_log(GW_NOTICE, "starting again: vm=%s nve=%s", gw_vm_name(vm).s, nve->id.s);
        gw_call(nve->hv_session, "DELETE", vm_path(path, sizeof path, gw_vm_name(vm).s, ""), NULL, gw_s(LIFE_CALL_S),
                on_cleared, call_new(nva, vm, nve, NULL));
}

/* --- stop --- */

int life_stop(struct nva *nva, struct gw_vm *vm, bool force, struct gw_request *request, struct gw_error *error) {
        struct gw_nve *nve = gw_vm_nve(vm);
        struct life *life = life_find(nva, gw_vm_name(vm).s);

        if (mover_open(nva, gw_vm_name(vm).s))
                return gw_fail(error, GW_E_CONFLICT, "",
                               "%s is moving; stop it when the move has ended, or cancel that", gw_vm_name(vm).s);
        if (life)
                life_start_at(nva, life, (struct gw_mono){0});
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_STOP);
        if (!nve || vm->state == GW_VM_CRASHED || vm->state == GW_VM_STOPPED) {
                give_up(nva, vm, GW_VM_STOPPED);
                gw_request_answer(request, 200, nva_json_vm(nva, vm));
                return 0;
        }
        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_STOPPING);
        if (!nve->hv_session) {
                gw_request_answer(request, 202, nva_json_vm(nva, vm));
                return 0;
        }
        tell_to_stop(nva, vm, force, request);
        return 0;
}

/* --- what agents say --- */

void life_ended(struct nva *nva, struct gw_vm *vm, bool crashed, const char *reason) {
        const struct life *life = life_find(nva, gw_vm_name(vm).s);

        if (life && (life->starting || life->start_at.ns))
                return;
        life_say(nva, gw_vm_name(vm).s, reason);
        gw_log_limited(crashed ? GW_WARNING : GW_INFO, 100, "ended: vm=%s nve=%s crashed=%d reason=\"%s\"",
                       gw_vm_name(vm).s, gw_vm_nve(vm) ? gw_vm_nve(vm)->id.s : "-", crashed, reason ? reason : "");
        if (vm->desired == GW_VM_RUN && crashed && vm->on_crash == GW_ON_CRASH_RESTART) {
                gw_directory_vm_set_state(&nva->directory, vm, GW_VM_CRASHED);
                schedule_restart(nva, vm);
                return;
        }
        give_up(nva, vm, crashed && vm->desired == GW_VM_RUN ? GW_VM_CRASHED : GW_VM_STOPPED);
}

void life_lost(struct nva *nva, struct gw_vm *vm) {
        struct life *life = life_find(nva, gw_vm_name(vm).s);
        bool wanted = vm->desired == GW_VM_RUN;
        struct gw_name lost = gw_vm_nve(vm) ? gw_vm_nve(vm)->id : (struct gw_name){{0}};
        struct gw_error error = {0};

        if (life) {
                life->starting = false;
                life_start_at(nva, life, (struct gw_mono){0});
        }
        gw_fail(&error, GW_E_CONFLICT, "", "its host was lost");
        let_go(nva, vm, wanted ? GW_VM_CRASHED : GW_VM_STOPPED, true);
        if (!wanted)
                return;
        terms_tell_disks(nva, vm, lost.s, &error);
        life_say(nva, gw_vm_name(vm).s, error.text);
        if (vm->on_crash == GW_ON_CRASH_RESTART && !ways_has_disks(vm) && life_start(nva, vm, NULL, NULL, &error))
                life_say(nva, gw_vm_name(vm).s, error.text);
}

void life_state(struct nva *nva, struct gw_nve *nve, struct gw_vm *vm, const char *state, const char *reason) {
        const struct life *life = life_find(nva, gw_vm_name(vm).s);
        bool here = gw_vm_nve(vm) == nve;

        if (!here && !strcmp(state, "running"))
                life_clear(nva, nve, gw_vm_name(vm).s, "");
        if (!here)
                return;
        if (!strcmp(state, "running")) {
                if (vm->desired == GW_VM_RUN && !(life && life->starting))
                        gw_directory_vm_set_state(&nva->directory, vm, GW_VM_RUNNING);
        } else if (!strcmp(state, "paused")) {
                gw_directory_vm_set_state(&nva->directory, vm, GW_VM_PAUSED);
        } else if (!strcmp(state, "stopped") || !strcmp(state, "crashed")) {
                life_ended(nva, vm, !strcmp(state, "crashed"), reason);
        }
}

/* One that the agent has. */
static void check_present(struct nva *nva, struct gw_nve *nve, json_t *item) {
        const char *id = nva_json_text(item, "id"), *state = nva_json_text(item, "state");
        uint64_t epoch = (uint64_t)json_integer_value(json_object_get(item, "epoch"));
        struct gw_vm *vm = gw_directory_vm(&nva->directory, id);
        struct gw_name checked;

        if (gw_id_parse(id, &checked) || (vm && mover_open(nva, id)))
                return;
        if (!vm || gw_vm_nve(vm) != nve) {
                life_clear(nva, nve, id,
                           !strcmp(nva_json_text(item, "role"), "source") ? nva_json_text(item, "move") : "");
                return;
        }
        if (!strcmp(state, "running") && epoch && epoch != vm->binding.epoch) {
                gw_log(GW_WARNING, "a copy of another epoch runs: vm=%s nve=%s", id, nve->id.s);
                restart(nva, vm, nve);
        } else if (!strcmp(state, "running") && vm->desired == GW_VM_STOP) {
                tell_to_stop(nva, vm, false, NULL);
        } else if (!strcmp(state, "paused") && !strcmp(nva_json_text(item, "role"), "source")) {
                return; /* a move that was given up just now: its agent tells how the VM goes on */
        } else {
                life_state(nva, nve, vm, state, nva_json_text(item, "reason"));
        }
}

/* ids: of those that it has. */
static void check_absent(struct nva *nva, struct gw_nve *nve, struct gw_vm *vm, const json_t *ids) {
        struct life *life = life_find(nva, gw_vm_name(vm).s);

        if (vm->kind != GW_VM_MACHINE || gw_vm_nve(vm) != nve || mover_open(nva, gw_vm_name(vm).s) ||
            json_object_get(ids, gw_vm_name(vm).s))
                return;
        if (life && (life->starting || life->start_at.ns))
                return;
        if (vm->desired == GW_VM_RUN && vm->state == GW_VM_STARTING)
                schedule_restart(nva, vm);
        else if (vm->desired == GW_VM_RUN)
                life_ended(nva, vm, true, "the host does not have it any more");
        else
                give_up(nva, vm, GW_VM_STOPPED);
}

void life_inventory(struct nva *nva, struct gw_nve *nve, json_t *vms) {
        json_t *item, *ids = json_object();
        struct gw_vm *vm, *next;
        size_t i;

        json_array_foreach (vms, i, item) {
                json_object_set_new(ids, nva_json_text(item, "id"), json_true());
                check_present(nva, nve, item);
        }
        for (vm = gw_directory_vm_at_after(nve, NULL); vm; vm = next) {
                next = gw_directory_vm_at_after(nve, vm);
                check_absent(nva, nve, vm, ids);
        }
        json_decref(ids);
}

static void on_inventory(int status, json_t *body, void *user) {
        struct call *call = user;
        struct gw_nve *nve = gw_directory_nve(&call->nva->directory, call->nve.s);
        json_t *vms = json_is_array(body) ? body : json_object_get(body, "vms");

        if (nve && status / 100 == 2 && json_is_array(vms))
                life_inventory(call->nva, nve, vms);
        nva_call_free(call);
}

void life_resync(struct nva *nva, struct gw_nve *nve) {
        struct call *call = nve->hv_session ? nva_call_new(nva, sizeof *call) : NULL;

        if (!call)
                return;
        call->nva = nva;
        call->nve = nve->id;
        gw_call(nve->hv_session, "GET", "/v1/vms", NULL, gw_s(LIFE_CALL_S), on_inventory, call);
}

/* --- time --- */

/* Looked at in every turn of the loop: by those that wait alone, not by all that were ever started. */
struct gw_mono life_next(struct nva *nva) {
        struct gw_mono next = {0};

        gw_list_for_each (link, &nva->restarts) {
                struct gw_mono at = gw_list_entry(link, struct life, due)->start_at;

                if (!next.ns || at.ns < next.ns)
                        next = at;
        }
        return next;
}

static void start_due(struct nva *nva, struct life *life) {
        struct gw_vm *vm = gw_directory_vm(&nva->directory, life->vm.s);

        life_start_at(nva, life, (struct gw_mono){0});
        if (!vm || vm->desired != GW_VM_RUN || !gw_vm_nve(vm) || mover_open(nva, life->vm.s))
                return;
        if (gw_vm_nve(vm)->hv_session)
                restart(nva, vm, gw_vm_nve(vm));
}

void life_tick(struct nva *nva, struct gw_now now) {
        gw_list_for_each (link, &nva->restarts) {
                struct life *life = gw_list_entry(link, struct life, due);

                if (gw_mono_reached(now.mono, life->start_at))
                        start_due(nva, life);
        }
}
