/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves a host that is emptied, and where to.
 *
 * Of all hosts whose checks pass (plan.c, the same as for any move) a VM goes to the one with most memory left. A plan on paper
 * does the same, and remembers what it has given away; rules that look at other VMs see them where they are, not where
 * they will be, so what happens can differ from the plan where VMs of one rule are on one host.
 *
 * There may be a million VMs, of which the stopped ones say in the store alone where their disks are, and ten thousand hosts to think
 * of for each that leaves. So walks and plans go on a turn at a time; in between the others have theirs. A VM that comes or goes
 * meanwhile is seen or not, and none twice: one that was there when the plan began is in it as one of those, also when it
 * stops meanwhile.
 */
#include "nva/leaving.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "nva/api.h"
#include "nva/terms.h"

enum {
        WALK_VMS = 4096,   /* a turn: by name alone */
        WALK_STORED = 64,  /* and of these, read from the store */
        PLAN_HOSTS = 8192, /* a turn */
};

/* ---- where to ---- */

static uint64_t memory_left(const struct gw_nve *nve, const struct leaving_given *given, size_t n) {
        uint64_t used = nve->used_memory_mib;

        for (size_t i = 0; i < n; i++)
                used += given[i].nve == nve ? given[i].memory_mib : 0;
        return used < nve->capacity_memory_mib ? nve->capacity_memory_mib - used : 0;
}

static uint64_t vcpus_left(const struct gw_nve *nve, const struct leaving_given *given, size_t n) {
        uint64_t used = nve->used_vcpus;

        for (size_t i = 0; i < n; i++)
                used += given[i].nve == nve ? given[i].vcpus : 0;
        return used < nve->capacity_vcpus ? nve->capacity_vcpus - used : 0;
}

struct gw_nve *leaving_choose(const struct nva *nva, const struct gw_vm *vm, const struct leaving_given *given,
                              size_t n, struct gw_error *error) {
        struct gw_nve *nve = NULL, *best = NULL, *from = mover_place(nva, vm);
        struct mover_plan plan;

        gw_fail(error, GW_E_CONFLICT, "to", "there is no other host");
        while ((nve = gw_directory_nve_after(&nva->directory, nve ? nve->id.s : NULL))) {
                uint64_t left = memory_left(nve, given, n);
                struct mover_request wanted = {.to = nve};

                if (nve == from || nve->draining || (best && left <= memory_left(best, given, n)))
                        continue;
                mover_settle_mode(nva, vm, &wanted);
                mover_plan(nva, vm, &wanted, &plan);
                for (size_t i = 0; i < plan.n; i++)
                        if (plan.checks[i].error.code)
                                *error = plan.checks[i].error;
                if (!plan.allowed)
                        continue;
                if (left < vm->memory_mib || vcpus_left(nve, given, n) < vm->vcpus)
                        gw_fail(error, GW_E_CONFLICT, "to", "%s has room for the others of this plan, not for %s too",
                                nve->id.s, gw_vm_name(vm).s);
                else
                        best = nve;
        }
        return best;
}

/* ---- what is here ---- */

static bool is_stopped(const struct gw_vm *vm) {
        return vm->kind == GW_VM_MACHINE && !gw_vm_nve(vm) &&
               (vm->state == GW_VM_STOPPED || vm->state == GW_VM_CRASHED);
}

bool leaving_is_at_home(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *nve) {
        return !gw_vm_nve(vm) && vm->kind == GW_VM_MACHINE && terms_home(nva, vm) == nve && ways_has_disks(vm);
}

bool leaving_can_move(const struct gw_vm *vm) {
        return is_stopped(vm) || (vm->kind == GW_VM_MACHINE && gw_vm_nve(vm) &&
                                  (vm->state == GW_VM_RUNNING || vm->state == GW_VM_PAUSED));
}

bool leaving_is_passing(const struct gw_vm *vm) {
        return vm->kind == GW_VM_MACHINE && vm->state != GW_VM_RUNNING && vm->state != GW_VM_PAUSED &&
               vm->state != GW_VM_STOPPED && vm->state != GW_VM_CRASHED;
}

bool leaving_is_left(const struct gw_vm *vm, unsigned leave) {
        enum gw_move_as as = mover_as(vm);

        return (as == GW_MOVE_AS_SUSPENDED && leave & DRAIN_LEAVE_SUSPENDED) ||
               (as == GW_MOVE_AS_STOPPED && leave & DRAIN_LEAVE_STOPPED);
}

static const char *why_it_stays(const struct gw_vm *vm) {
        return vm->kind == GW_VM_TASK ? "a task: detach its port, and attach it elsewhere"
                                      : "it has crashed, and is not ended yet";
}

/* ---- those that are nowhere ---- */

void leaving_walk(const struct nva *nva, struct leaving_walk *walk, const struct gw_nve *nve,
                  bool (*each)(struct gw_vm *vm, void *user), void *user) {
        unsigned looked = 0, stored = 0;
        struct gw_vm *vm;

        while (!walk->done && looked++ < WALK_VMS && stored < WALK_STORED) {
                vm = gw_directory_vm_after(&nva->directory, walk->after.s[0] ? walk->after.s : NULL);
                walk->done = !vm;
                if (!vm)
                        break;
                walk->after = gw_vm_name(vm);
                stored += !gw_vm_nve(vm);
                if (leaving_is_at_home(nva, vm, nve) && !each(vm, user))
                        break;
        }
}

/* ---- the plan ---- */

struct paper {
        struct gw_list link; /* nva->plans */
        struct nva *nva;
        struct gw_name nve;
        struct gw_request *request;
        struct leaving_walk walk;
        struct gw_name *there;         /* VMs that were placed there; those before .at are dealt with */
        const struct gw_name **sorted; /* the same, by name */
        size_t n_there, at;
        unsigned leave;
        struct leaving_given *given;
        size_t n, size;
        json_t *list;
        size_t thought; /* of how many hosts, this turn */
};

static void give(struct paper *paper, const struct gw_vm *vm, const struct gw_nve *to) {
        struct leaving_given *given = paper->given;

        if (mover_as(vm) == GW_MOVE_AS_STOPPED) /* needs room there while it moves, and none afterwards */
                return;
        if (paper->n == paper->size) {
                paper->size = paper->size ? 2 * paper->size : 16;
                given = reallocarray(given, paper->size, sizeof *given);
                if (!given)
                        abort();
                paper->given = given;
        }
        given[paper->n++] = (struct leaving_given){to, vm->memory_mib, vm->vcpus};
}

static struct gw_nve *think(struct paper *paper, const struct gw_vm *vm, struct gw_error *error) {
        paper->thought += paper->nva->directory.nves.count + 1;
        return leaving_choose(paper->nva, vm, paper->given, paper->n, error);
}

static void plan_vm(struct paper *paper, const struct gw_vm *vm) {
        struct mover_request wanted = {.to = NULL};
        struct gw_error error = {0};
        struct gw_nve *to = NULL;

        if (leaving_is_left(vm, paper->leave))
                gw_fail(&error, GW_E_CONFLICT, "vm", "left, as was asked for");
        else if (leaving_can_move(vm) || leaving_is_passing(vm))
                to = think(paper, vm, &error);
        else
                gw_fail(&error, GW_E_CONFLICT, "vm", "%s", why_it_stays(vm));
        if (to)
                give(paper, vm, to);
        mover_settle_mode(paper->nva, vm, &wanted);
        json_array_append_new(paper->list,
                              json_pack("{s:s, s:I, s:s, s:s, s:s, s:s, s:b}", "vm", gw_vm_name(vm).s, "memory_mib",
                                        (json_int_t)vm->memory_mib, "mode", gw_move_mode_word(wanted.mode), "as",
                                        gw_move_as_word(mover_as(vm)), "to", to ? to->id.s : "", "reason",
                                        to ? "" : error.text, "leave", leaving_is_left(vm, paper->leave)));
}

static int compare(const void *a, const void *b) {
        return strcmp((*(const struct gw_name *const *)a)->s, (*(const struct gw_name *const *)b)->s);
}

static bool was_there(const struct paper *paper, const struct gw_vm *vm) {
        struct gw_name name = gw_vm_name(vm), *key = &name;

        return paper->n_there && bsearch(&key, paper->sorted, paper->n_there, sizeof *paper->sorted, compare);
}

static bool plan_stopped(struct gw_vm *vm, void *user) {
        struct paper *paper = user;

        if (!was_there(paper, vm))
                plan_vm(paper, vm);
        return paper->thought < PLAN_HOSTS;
}

static void paper_free(struct paper *paper) {
        gw_list_remove(&paper->link);
        json_decref(paper->list);
        free(paper->given);
        free(paper->there);
        free(paper->sorted);
        free(paper);
}

/* One turn; what is finished is answered and freed. */
static void plan_on(struct paper *paper) {
        struct gw_nve *nve = gw_directory_nve(&paper->nva->directory, paper->nve.s);

        if (!nve) {
                api_not_found(paper->request, "nve", paper->nve.s, "it was deleted meanwhile");
                paper_free(paper);
                return;
        }
        for (paper->thought = 0; paper->at < paper->n_there && paper->thought < PLAN_HOSTS; paper->at++) {
                struct gw_vm *vm = gw_directory_vm(&paper->nva->directory, paper->there[paper->at].s);

                if (vm && (gw_vm_nve(vm) == nve || leaving_is_at_home(paper->nva, vm, nve)))
                        plan_vm(paper, vm);
        }
        if (paper->at == paper->n_there && paper->thought < PLAN_HOSTS)
                leaving_walk(paper->nva, &paper->walk, nve, plan_stopped, paper);
        if (!paper->walk.done)
                return;
        gw_request_answer(paper->request, 200, json_pack("{s:s, s:O}", "nve", paper->nve.s, "vms", paper->list));
        paper_free(paper);
}

static void note_there(struct paper *paper, struct gw_nve *nve) {
        struct gw_name *names = calloc(nve->n_vms + 1, sizeof *names);
        size_t n = 0;

        paper->there = names;
        paper->sorted = calloc(nve->n_vms + 1, sizeof *paper->sorted);
        if (!names || !paper->sorted)
                abort();
        for (struct gw_vm *vm = NULL; n < nve->n_vms && (vm = gw_directory_vm_at_after(nve, vm));)
                if (gw_vm_nve(vm) == nve)
                        names[n++] = gw_vm_name(vm);
        for (size_t i = 0; i < n; i++)
                paper->sorted[i] = &names[i];
        qsort(paper->sorted, n, sizeof *paper->sorted, compare);
        paper->n_there = n;
}

void leaving_plan(struct nva *nva, struct gw_nve *nve, unsigned leave, struct gw_request *request) {
        struct paper *paper = calloc(1, sizeof *paper);

        if (!paper)
                abort();
        paper->nva = nva;
        paper->nve = nve->id;
        paper->request = request;
        paper->leave = leave;
        paper->list = json_array();
        note_there(paper, nve);
        gw_list_append(&nva->plans, &paper->link);
        plan_on(paper);
}

struct gw_mono leaving_next(const struct nva *nva) {
        static const struct gw_mono never = {0};

        return gw_list_empty(&nva->plans) ? never : nva_now().mono;
}

void leaving_tick(struct nva *nva) {
        gw_list_for_each (link, &nva->plans) {
                struct paper *paper = gw_list_entry(link, struct paper, link);

                plan_on(paper);
        }
}

/* Nobody hears the answer any more. */
void leaving_deinit(struct nva *nva) {
        struct gw_error error;

        if (!nva->plans.next)
                return;
        gw_fail(&error, GW_E_AGAIN, "", "the authority ends");
        gw_list_for_each (link, &nva->plans) {
                gw_request_fail(gw_list_entry(link, struct paper, link)->request, &error);
                paper_free(gw_list_entry(link, struct paper, link));
        }
}
