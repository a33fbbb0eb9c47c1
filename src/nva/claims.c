/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A task announces itself at another NVE than the one that its binding names.
 *
 * Whether that may change its binding, directory/claim.h decides; here the places are
 * asked and told. What is refused is counted by its reason, written down with its VM (claimlog.h) and
 * noted, limited in rate: any NVE can cause it.
 *
 *   reported --checks--> the old place is asked --silent, gone--> epochs reserved
 *        --the new place serves--> committed; the old place redirects what is under way
 *
 * One host can claim every VM that there is: of so many, those that nothing came of are forgotten again.
 *
 * Until the new place serves nothing but the reservation is written; a failure leaves all
 * as it was. A reservation outlasts this process, a claim does not: what is left of one is
 * ended when its task is heard of again.
 */
#include "nva/claims.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "directory/claim.h"
#include "nva/claimlog.h"
#include "nva/json.h"
#include "nva/mover.h"

enum { CALL_S = 5, LOG_BURST = 20 };

enum reason {
        ACCEPTED,
        UNKNOWN,
        NOT_A_TASK,
        POLICY,
        BUSY,
        DAMPED,
        UNREACHABLE,
        STILL_THERE,
        FAILED,
        FORBIDDEN,
        REASONS
};
static const char *const words[REASONS] = {[ACCEPTED] = "accepted",
                                           [UNKNOWN] = "unknown",
                                           [NOT_A_TASK] = "not-a-task",
                                           [POLICY] = "policy",
                                           [BUSY] = "busy",
                                           [DAMPED] = "damped",
                                           [UNREACHABLE] = "old-place-unreachable",
                                           [STILL_THERE] = "still-there",
                                           [FAILED] = "failed",
                                           [FORBIDDEN] = "forbidden"};
_Static_assert((int)REASONS == NVA_CLAIM_REASONS, "one counter for each");

struct claim_history {
        struct gw_table_node node;
        struct gw_list link; /* nva->claimed: the one claimed longest ago first */
        struct gw_name vm;
        struct gw_claim_history h;
        struct claim_log log;
};

struct claim {
        struct nva *nva;
        struct gw_name vm, from, to; /* from: "" when it is nowhere */
        uint64_t epoch;              /* of the binding that was looked at, later the new one */
};

static bool history_match(const struct gw_table_node *node, const void *key) {
        return !strcmp(gw_container_of(node, struct claim_history, node)->vm.s, key);
}

int claims_init(struct nva *nva, const uint64_t seed[2]) {
        gw_list_init(&nva->claimed);
        return gw_table_init(&nva->claims, seed, history_match);
}

static struct claim_history *history_find(const struct nva *nva, const char *vm) {
        struct gw_table_node *node = gw_table_find(&nva->claims, gw_table_hash(&nva->claims, vm, strlen(vm)), vm);

        return node ? gw_container_of(node, struct claim_history, node) : NULL;
}

static void history_free(struct claim_history *h) {
        claim_log_free(&h->log);
        free(h);
}

static void history_drop(struct nva *nva, struct claim_history *h) {
        gw_table_remove(&nva->claims, &h->node);
        gw_list_remove(&h->link);
        history_free(h);
}

/* Room for one more. */
static bool make_room(struct nva *nva) {
        struct gw_mono now = nva_now().mono;

        if (nva->claims.count < CLAIMS_KEPT)
                return true;
        gw_list_for_each (link, &nva->claimed) {
                struct claim_history *h = gw_list_entry(link, struct claim_history, link);

                if (!gw_claim_is_spent(&h->h, now))
                        continue;
                history_drop(nva, h);
                return true;
        }
        return false;
}

static struct claim_history *history_get(struct nva *nva, const char *vm) {
        struct claim_history *h = history_find(nva, vm);

        if (h) {
                gw_list_remove(&h->link);
                gw_list_append(&nva->claimed, &h->link);
                return h;
        }
        if (!make_room(nva) || !(h = calloc(1, sizeof *h)))
                return NULL;
        snprintf(h->vm.s, sizeof h->vm.s, "%s", vm);
        if (gw_table_insert(&nva->claims, &h->node, gw_table_hash(&nva->claims, vm, strlen(vm)))) {
                free(h);
                return NULL;
        }
        gw_list_append(&nva->claimed, &h->link);
        return h;
}

static void write_down(struct nva *nva, const char *nve, const char *vm, enum reason why) {
        struct claim_history *h = history_find(nva, vm);

        nva->claim_counts[why]++;
        if (h)
                claim_log_add(&h->log, gw_wall_now(), nve, words[why]);
}

static void refuse(struct nva *nva, const char *nve, const char *vm, enum reason why) {
        write_down(nva, nve, vm, why);
        gw_log_limited(GW_WARNING, LOG_BURST, "refused: nve=%s claims vm=%s: %s", nve, vm, words[why]);
}

static void done(struct claim *c, enum reason why) {
        struct claim_history *h = history_find(c->nva, c->vm.s);

        if (h)
                h->h.busy = false;
        if (why != ACCEPTED)
                refuse(c->nva, c->to.s, c->vm.s, why);
        nva_call_free(c);
}

/* ---- the new place ---- */

static void ignore_answer(int status, json_t *body, void *user) {
        (void)status, (void)body, (void)user;
}

/* The redirect of what is under way stays at the old place as long as it is needed. */
static void leave(struct nva *nva, const struct claim *c) {
        struct gw_nve *from = gw_directory_nve(&nva->directory, c->from.s);
        char path[GW_NAME_MAX + 48];

        snprintf(path, sizeof path, "/v1/vms/%s?keep=redirect", c->vm.s);
        if (from && from->nve_session)
                gw_call(from->nve_session, "DELETE", path, NULL, gw_s(CALL_S), ignore_answer, NULL);
}

static void on_serves(int status, json_t *body, void *user) {
        struct claim *c = user;
        struct nva *nva = c->nva;
        struct gw_vm *vm = gw_directory_vm(&nva->directory, c->vm.s);
        struct claim_history *h = history_find(nva, c->vm.s);

        if (!vm || !gw_vm_move(vm) || gw_vm_move(vm)->epoch != c->epoch)
                return done(c, FAILED);
        if (status / 100 != 2 || gw_directory_commit(&nva->directory, vm, nva_now())) {
                gw_directory_unreserve(&nva->directory, vm);
                return done(c, FAILED);
        }
        gw_directory_task_device(&nva->directory, vm, nva_json_text(body, "device"));
        gw_directory_unreserve(&nva->directory, vm);
        write_down(nva, c->to.s, c->vm.s, ACCEPTED);
        if (h)
                gw_claim_followed(&h->h, nva_now().mono);
        gw_log(GW_NOTICE, "vm=%s announced itself at nve=%s and is there now, epoch=%llu; it was at %s", c->vm.s,
               c->to.s, (unsigned long long)c->epoch, *c->from.s ? c->from.s : "no place");
        leave(nva, c);
        done(c, ACCEPTED);
}

static void take(struct claim *c) {
        struct nva *nva = c->nva;
        struct gw_vm *vm = gw_directory_vm(&nva->directory, c->vm.s);
        struct gw_nve *to = gw_directory_nve(&nva->directory, c->to.s);
        char path[GW_NAME_MAX + 48];
        uint64_t back;

        if (!vm || !to || !to->nve_session || vm->binding.epoch != c->epoch || mover_open(nva, c->vm.s) ||
            gw_directory_reserve(&nva->directory, vm, to, nva_now(), &c->epoch, &back, NULL))
                return done(c, FAILED);
        snprintf(path, sizeof path, "/v1/vms/%s/claimed", c->vm.s);
        gw_call(to->nve_session, "POST", path, json_pack("{s:I}", "epoch", (json_int_t)c->epoch), gw_s(CALL_S),
                on_serves, c);
}

/* ---- the old place ---- */

static void on_presence(int status, json_t *body, void *user) {
        struct claim *c = user;
        const char *presence = nva_json_text(body, "presence");

        if (status / 100 != 2)
                done(c, UNREACHABLE);
        else if (!strcmp(presence, "gone") || !strcmp(presence, "silent"))
                take(c);
        else
                done(c, STILL_THERE);
}

static void ask(struct claim *c, struct gw_nve *from) {
        char path[GW_NAME_MAX + 48];

        if (!from->nve_session)
                return done(c, UNREACHABLE);
        snprintf(path, sizeof path, "/v1/vms/%s/presence", c->vm.s);
        gw_call(from->nve_session, "POST", path, NULL, gw_s(CALL_S), on_presence, c);
}

/* ---- what is reported ---- */

static enum reason reason_of(enum gw_claim_verdict verdict) {
        switch (verdict) {
        case GW_CLAIM_NOT_A_TASK:
                return NOT_A_TASK;
        case GW_CLAIM_POLICY:
                return POLICY;
        case GW_CLAIM_BUSY:
                return BUSY;
        case GW_CLAIM_DAMPED:
                return DAMPED;
        default:
                return ACCEPTED;
        }
}

void claims_settle(struct nva *nva, struct gw_vm *vm) {
        const struct claim_history *h;

        if (vm->kind != GW_VM_TASK || !gw_vm_move(vm))
                return;
        h = history_find(nva, gw_vm_name(vm).s);
        if (!h || !h->h.busy)
                gw_directory_unreserve(&nva->directory, vm);
}

void claims_heard(struct nva *nva, struct gw_nve *nve, const char *id) {
        struct gw_vm *vm = gw_directory_vm(&nva->directory, id);
        struct claim_history *h = vm ? history_get(nva, gw_vm_name(vm).s) : NULL;
        enum gw_claim_verdict verdict;
        struct claim *c;

        if (!vm)
                return refuse(nva, nve->id.s, id, UNKNOWN);
        claims_settle(nva, vm);
        if (gw_vm_nve(vm) == nve)
                return; /* said again while it was being taken in */
        if (nve->may_claim == GW_PERMIT_NO)
                return refuse(nva, nve->id.s, id, FORBIDDEN);
        verdict = gw_claim_judge(vm, h ? &h->h : NULL, mover_open(nva, gw_vm_name(vm).s), nva_now().mono);
        if (reason_of(verdict) != ACCEPTED)
                return refuse(nva, nve->id.s, id, reason_of(verdict));
        c = nva_call_new(nva, sizeof *c);
        if (!c || !h)
                return;
        *c = (struct claim){.nva = nva, .from = gw_vm_nve(vm)->id, .to = nve->id, .epoch = vm->binding.epoch};
        snprintf(c->vm.s, sizeof c->vm.s, "%s", gw_vm_name(vm).s);
        h->h.busy = true;
        if (verdict == GW_CLAIM_TAKE)
                take(c);
        else
                ask(c, gw_vm_nve(vm));
}

void claims_forget(struct nva *nva, const char *vm) {
        struct claim_history *h = history_find(nva, vm);

        if (h)
                history_drop(nva, h);
}

static void history_free_each(struct gw_table_node *node, void *user) {
        (void)user;
        history_free(gw_container_of(node, struct claim_history, node));
}

void claims_deinit(struct nva *nva) {
        if (!nva->claims.buckets)
                return;
        gw_table_each(&nva->claims, history_free_each, NULL);
        gw_table_deinit(&nva->claims);
}

json_t *claims_json(const struct nva *nva) {
        json_t *object = json_object();

        for (size_t i = 0; i < REASONS; i++)
                json_object_set_new(object, words[i], json_integer((json_int_t)nva->claim_counts[i]));
        return object;
}

json_t *claims_of_json(const struct nva *nva, const char *vm) {
        const struct claim_history *h = history_find(nva, vm);

        return claim_log_json(h ? &h->log : NULL);
}
