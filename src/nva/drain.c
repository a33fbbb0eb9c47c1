/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The drainer: picks what moves next and where to, and lets the mover move it.
 *
 *      WAITING --mover_begin--> MOVING --ok--> MOVED (the VM is elsewhere)
 *         ^                        | failed, cancelled
 *         '---- after a while -----'---- DRAIN_TRIES times ----> STUCK
 *
 * The target of each move is chosen when it begins (leaving.c).
 *
 * A suspended VM moves cold, and is suspended there. So does a stopped one whose
 * disks are here: it has no binding, but its home is this host; those are looked
 * for once, some at a time, from when the drain begins or is loaded: later ones were here
 * before they stopped, since none comes. The operator may want to leave either (LEFT).
 *
 * A task cannot be moved by us: it is shown as STAYS, and the host is drained only
 * when nothing is left but what was to be left.
 *
 * A host may have thousands of VMs, and each that is stopped is read from the store to be
 * judged. So they are looked at some at a time, in a pass that begins anew when one has
 * moved and every LOOK_MS; a turn reads no more, and thinks of no more hosts, than it has
 * a budget for.
 */
#include "nva/drain.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "nva/json.h"
#include "nva/leaving.h"

enum {
        LOOK_MS = 500,
        LOOK_VMS = 1024,   /* a turn: by what is in memory */
        LOOK_STORED = 64,  /* and of these, read from the store */
        LOOK_HOSTS = 8192, /* as targets */
        AGAIN_S = 5,       /* after a failure; its host, or the target, may need that to come back */
        DOWNTIME_MS = 50,
};

enum drain_fate { FATE_WAITING, FATE_MOVING, FATE_MOVED, FATE_STUCK, FATE_STAYS, FATE_LEFT, FATES };
static const char *const fate_words[] = {"waiting", "moving", "moved", "stuck", "stays", "left"};

struct drain_vm { /* one that was, or is to be, moved away */
        struct gw_list link;
        struct gw_table_node node;
        struct gw_name vm, move, to;
        enum drain_fate fate;
        unsigned tries;
        struct gw_mono not_before;
        uint64_t took_ms;
        uint8_t as; /* enum gw_move_as, when it was looked at last */
        char reason[sizeof((struct gw_error *)0)->text];
};

struct nva_drain {
        struct gw_list link;
        struct gw_name nve;
        uint32_t concurrent;
        unsigned leave;           /* DRAIN_LEAVE_.. */
        struct leaving_walk walk; /* for stopped VMs */
        struct gw_wall since;
        struct gw_mono look_at; /* 0: nothing to do before something happens */
        struct gw_list vms;     /* drain_vm */
        struct gw_table by_vm;  /* the same */
        struct gw_list *at;     /* the next that is looked at; NULL: a pass is to begin */
        bool left;              /* in this pass: something is here still */
};

static struct nva_drain *entry(struct gw_list *link) {
        return gw_list_entry(link, struct nva_drain, link);
}

static struct drain_vm *vm_entry(struct gw_list *link) {
        return gw_list_entry(link, struct drain_vm, link);
}

static struct nva_drain *find(const struct nva *nva, const char *nve) {
        for (struct gw_list *link = nva->drains.next; link != &nva->drains; link = link->next)
                if (!strcmp(entry(link)->nve.s, nve))
                        return entry(link);
        return NULL;
}

static struct drain_vm *find_vm(struct nva_drain *drain, const char *vm) {
        struct gw_table_node *node = gw_table_find(&drain->by_vm, gw_table_hash(&drain->by_vm, vm, strlen(vm)), vm);

        return node ? gw_container_of(node, struct drain_vm, node) : NULL;
}

static bool vm_match(const struct gw_table_node *node, const void *vm) {
        return !strcmp(gw_container_of(node, struct drain_vm, node)->vm.s, vm);
}

static void forget(struct nva_drain *drain, struct drain_vm *noted) {
        gw_table_remove(&drain->by_vm, &noted->node);
        gw_list_remove(&noted->link);
        free(noted);
}

/* ---- what is here ---- */

static bool is_here(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *nve) {
        return gw_vm_nve(vm) == nve || leaving_is_at_home(nva, vm, nve);
}

/* ---- beginning and end ---- */

static void write_down(struct nva *nva, const struct nva_drain *drain) {
        json_t *record = json_pack("{s:i, s:I, s:I, s:i}", "version", 1, "concurrent", (json_int_t)drain->concurrent,
                                   "since_ns", (json_int_t)drain->since.ns, "leave", (int)drain->leave);

        nva_put_json(nva, GW_STORE_DRAIN, drain->nve.s, record);
        json_decref(record);
}

static void forget_stuck(struct nva_drain *drain) {
        drain->at = NULL;
        gw_list_for_each (link, &drain->vms)
                if (vm_entry(link)->fate == FATE_STUCK)
                        forget(drain, vm_entry(link));
}

/* Something is to be done at once, and for that all are looked at again. */
static void look_now(struct nva_drain *drain) {
        drain->at = NULL;
        drain->look_at = nva_now().mono;
}

static struct nva_drain *drain_new(struct nva *nva, struct gw_nve *nve) {
        struct nva_drain *drain = calloc(1, sizeof *drain);

        if (!drain || gw_table_init(&drain->by_vm, nva->directory.seed, vm_match))
                abort();
        drain->nve = nve->id;
        gw_list_init(&drain->vms);
        gw_list_append(&nva->drains, &drain->link);
        look_now(drain);
        nve->draining = true;
        return drain;
}

static void drain_free(struct nva_drain *drain) {
        gw_list_for_each (link, &drain->vms)
                forget(drain, vm_entry(link));
        gw_table_deinit(&drain->by_vm);
        gw_list_remove(&drain->link);
        free(drain);
}

void drain_begin(struct nva *nva, struct gw_nve *nve, uint32_t concurrent, unsigned leave) {
        struct nva_drain *drain = find(nva, nve->id.s);

        if (!drain) {
                drain = drain_new(nva, nve);
                drain->since = gw_wall_now();
                gw_log(GW_NOTICE, "drain: nve=%s vms=%u", nve->id.s, nve->n_vms);
        }
        forget_stuck(drain);
        drain->concurrent = concurrent;
        drain->leave = leave;
        drain->walk = (struct leaving_walk){0};
        look_now(drain);
        write_down(nva, drain);
}

void drain_forget(struct nva *nva, const char *nve) {
        struct nva_drain *drain = find(nva, nve);

        if (!drain)
                return;
        nva_remove(nva, GW_STORE_DRAIN, nve);
        drain_free(drain);
}

int drain_end(struct nva *nva, struct gw_nve *nve, struct gw_error *error) {
        if (!find(nva, nve->id.s))
                return gw_fail(error, GW_E_NOT_FOUND, "nve", "%s is not being drained", nve->id.s);
        drain_forget(nva, nve->id.s);
        nve->draining = false;
        gw_log(GW_NOTICE, "undrain: nve=%s", nve->id.s);
        return 0;
}

int drain_load(struct nva *nva, const void *key, size_t key_size, const void *value, size_t size,
               struct gw_error *error) {
        struct gw_name id = {""};
        json_t *record = json_loadb(value, size, 0, NULL);
        json_int_t concurrent = json_integer_value(json_object_get(record, "concurrent"));
        json_int_t version = json_integer_value(json_object_get(record, "version"));
        json_int_t since = json_integer_value(json_object_get(record, "since_ns"));
        json_int_t leave = json_integer_value(json_object_get(record, "leave")); /* not in older ones: 0 */
        struct nva_drain *drain;
        struct gw_nve *nve;

        json_decref(record);
        memcpy(id.s, key, key_size <= GW_NAME_MAX ? key_size : 0);
        if (version != 1 || concurrent < 1 || concurrent > DRAIN_CONCURRENT_MAX || since < 0 || leave < 0 ||
            leave > DRAIN_LEAVE_ALL)
                return gw_fail(error, GW_E_MALFORMED, "", "the stored drain of %s is not one that this version knows",
                               id.s);
        nve = gw_directory_nve(&nva->directory, id.s);
        if (!nve) /* deleted; the drain went with it, or should have */
                return 0;
        drain = drain_new(nva, nve);
        drain->concurrent = (uint32_t)concurrent;
        drain->leave = (unsigned)leave;
        drain->since.ns = (uint64_t)since;
        return 0;
}

void drain_deinit(struct nva *nva) {
        if (!nva->drains.next)
                return;
        gw_list_for_each (link, &nva->drains)
                drain_free(entry(link));
}

/* ---- going on ---- */

static struct drain_vm *note(struct nva_drain *drain, const struct gw_vm *vm) {
        struct drain_vm *noted = find_vm(drain, gw_vm_name(vm).s);

        if (noted)
                return noted;
        noted = calloc(1, sizeof *noted);
        if (!noted)
                abort();
        noted->vm = gw_vm_name(vm);
        if (gw_table_insert(&drain->by_vm, &noted->node,
                            gw_table_hash(&drain->by_vm, noted->vm.s, strlen(noted->vm.s))))
                abort();
        gw_list_append(&drain->vms, &noted->link);
        return noted;
}

static void failed(struct drain_vm *noted, const char *reason, struct gw_now now) {
        snprintf(noted->reason, sizeof noted->reason, "%s", reason);
        gw_text_mend(noted->reason);
        noted->fate = ++noted->tries < DRAIN_TRIES ? FATE_WAITING : FATE_STUCK;
        noted->not_before = gw_mono_after(now.mono, gw_s(AGAIN_S));
}

/* True: it moves now. */
static bool begin_move(struct nva *nva, struct drain_vm *noted, struct gw_vm *vm, struct gw_now now) {
        struct gw_error error = {0};
        struct mover_request wanted = {.to = leaving_choose(nva, vm, NULL, 0, &error), .downtime_ms = DOWNTIME_MS};
        struct nva_move *move;

        if (!wanted.to || mover_begin(nva, vm, &wanted, &move, &error)) {
                failed(noted, error.text, now);
                return false;
        }
        noted->fate = FATE_MOVING;
        noted->move = move->core.id;
        noted->to = wanted.to->id;
        noted->reason[0] = '\0';
        return true;
}

static bool note_stopped(struct gw_vm *vm, void *user) {
        return note(user, vm) != NULL;
}

static void note_running(struct nva_drain *drain, struct gw_nve *nve) {
        for (struct gw_vm *vm = NULL; (vm = gw_directory_vm_at_after(nve, vm));)
                if (gw_vm_nve(vm) == nve)
                        note(drain, vm);
}

/* What it is in for, but for a move that would begin now. */
static enum drain_fate fate_of(const struct nva *nva, const struct nva_drain *drain, const struct drain_vm *noted,
                               const struct gw_vm *vm) {
        if (mover_open(nva, gw_vm_name(vm).s)) /* also when somebody else asked for it */
                return FATE_MOVING;
        if (leaving_is_left(vm, drain->leave))
                return FATE_LEFT;
        if (leaving_is_passing(vm) || noted->fate == FATE_STUCK)
                return noted->fate == FATE_STUCK ? FATE_STUCK : FATE_WAITING;
        return leaving_can_move(vm) ? FATE_WAITING : FATE_STAYS;
}

static bool is_due(const struct drain_vm *noted, const struct gw_vm *vm, struct gw_now now) {
        return noted->fate == FATE_WAITING && leaving_can_move(vm) &&
               (!noted->not_before.ns || gw_mono_reached(now.mono, noted->not_before));
}

/* What a turn may still do. */
struct budget {
        unsigned vms, stored;
        size_t hosts;
        uint32_t moves; /* that may begin */
};

static bool spend(unsigned *left) {
        return *left && (*left)--;
}

static struct budget budget_of(const struct nva *nva, const struct nva_drain *drain) {
        struct budget left = {.vms = LOOK_VMS, .stored = LOOK_STORED, .hosts = LOOK_HOSTS, .moves = drain->concurrent};

        gw_list_for_each (link, (struct gw_list *)&nva->open_moves)
                if (mover_is_open(mover_open_entry(link)) &&
                    gw_name_eq(&mover_open_entry(link)->core.from, &drain->nve))
                        spend(&left.moves);
        return left;
}

/* Deleted, moved away by somebody else, or stopped with nothing here: no more business of ours. */
static bool is_over(const struct nva *nva, const struct drain_vm *noted, const struct gw_vm *vm,
                    const struct gw_nve *nve) {
        return noted->fate != FATE_MOVED && (!vm || !is_here(nva, vm, nve));
}

static void look_at_one(struct nva *nva, struct nva_drain *drain, struct drain_vm *noted, struct gw_nve *nve,
                        struct budget *budget, struct gw_now now) {
        struct gw_vm *vm = gw_directory_vm(&nva->directory, noted->vm.s);
        const struct nva_move *open;

        if (vm && !gw_vm_nve(vm))
                spend(&budget->stored);
        if (is_over(nva, noted, vm, nve))
                return forget(drain, noted);
        if (!vm || !is_here(nva, vm, nve))
                return;
        drain->left = true;
        noted->fate = fate_of(nva, drain, noted, vm);
        open = mover_open(nva, noted->vm.s);
        noted->as = (uint8_t)(open ? open->core.as : mover_as(vm));
        if (!budget->moves || !is_due(noted, vm, now))
                return;
        budget->hosts -= budget->hosts < nva->directory.nves.count ? budget->hosts : nva->directory.nves.count;
        if (begin_move(nva, noted, vm, now))
                budget->moves--;
}

/* What each VM of the host is in for, some at a time, and how many moves there is room for. */
static void look(struct nva *nva, struct nva_drain *drain, struct gw_nve *nve, struct gw_now now) {
        struct budget budget = budget_of(nva, drain);

        leaving_walk(nva, &drain->walk, nve, note_stopped, drain);
        if (!drain->at) {
                note_running(drain, nve);
                drain->at = drain->vms.next;
                drain->left = false;
        }
        while (drain->at && drain->at != &drain->vms && budget.stored && budget.hosts && spend(&budget.vms)) {
                struct drain_vm *noted = vm_entry(drain->at);

                drain->at = drain->at->next;
                look_at_one(nva, drain, noted, nve, &budget, now);
        }
        if (drain->at != &drain->vms) {
                drain->look_at = now.mono;
                return;
        }
        drain->at = NULL;
        drain->look_at = !drain->walk.done ? now.mono
                         : drain->left     ? gw_mono_after(now.mono, gw_ms(LOOK_MS))
                                           : (struct gw_mono){0};
}

struct gw_mono drain_next(const struct nva *nva) {
        struct gw_mono next = {0};

        for (struct gw_list *link = nva->drains.next; link != &nva->drains; link = link->next) {
                struct gw_mono one = entry(link)->look_at;

                if (one.ns && (!next.ns || one.ns < next.ns))
                        next = one;
        }
        return next;
}

void drain_tick(struct nva *nva, struct gw_now now) {
        gw_list_for_each (link, &nva->drains) {
                struct nva_drain *drain = entry(link);
                struct gw_nve *nve = gw_directory_nve(&nva->directory, drain->nve.s);

                if (nve && gw_mono_reached(now.mono, drain->look_at))
                        look(nva, drain, nve, now);
        }
}

void drain_moved(struct nva *nva, const struct gw_move *move) {
        struct nva_drain *drain = find(nva, move->from.s);
        struct drain_vm *noted = drain ? find_vm(drain, move->vm.s) : NULL;
        struct gw_now now = nva_now();

        if (!noted)
                return;
        look_now(drain);
        if (move->result != GW_MOVE_OK) {
                failed(noted, *move->reason ? move->reason : gw_move_result_word(move->result), now);
                return;
        }
        noted->fate = FATE_MOVED;
        noted->to = move->to;
        if (move->n_timeline)
                noted->took_ms = (move->timeline[move->n_timeline - 1].at.ns - move->timeline[0].at.ns) / GW_NS_PER_MS;
}

/* ---- looking ---- */

/* Those that are left, at the pace of those that went; < 0: none went yet. */
static double estimate_s(struct nva_drain *drain, uint32_t left) {
        uint64_t took_ms = 0;
        uint32_t n = 0;

        gw_list_for_each (link, &drain->vms)
                if (vm_entry(link)->fate == FATE_MOVED) {
                        took_ms += vm_entry(link)->took_ms;
                        n++;
                }
        if (!n)
                return left ? -1 : 0;
        return (double)took_ms / 1000.0 / n * left / drain->concurrent;
}

static json_t *vm_json(const struct nva *nva, const struct drain_vm *noted) {
        const struct nva_move *move = noted->fate == FATE_MOVING ? mover_find(nva, noted->move.s) : NULL;
        json_t *whole = move ? mover_json(move) : NULL;
        json_t *object =
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s}", "vm", noted->vm.s, "state", fate_words[noted->fate],
                          "as", gw_move_as_word((enum gw_move_as)noted->as), "to", noted->to.s, "move", noted->move.s,
                          "tries", (json_int_t)noted->tries, "reason", noted->reason);

        if (whole)
                json_object_set(object, "progress", json_object_get(whole, "progress"));
        json_decref(whole);
        return object;
}

static const char *state_word(const struct nva_drain *drain, const uint32_t counts[static FATES]) {
        if (!drain->walk.done || counts[FATE_WAITING] || counts[FATE_MOVING])
                return "draining";
        return counts[FATE_STUCK] || counts[FATE_STAYS] ? "stuck" : "drained";
}

json_t *drain_json(const struct nva *nva, const struct gw_nve *nve) {
        struct nva_drain *drain = find(nva, nve->id.s);
        uint32_t counts[FATES] = {0}, left;
        json_t *list;
        double estimate;

        if (!drain)
                return NULL;
        list = json_array();
        gw_list_for_each (link, &drain->vms) {
                counts[vm_entry(link)->fate]++;
                json_array_append_new(list, vm_json(nva, vm_entry(link)));
        }
        left = counts[FATE_WAITING] + counts[FATE_MOVING];
        estimate = estimate_s(drain, left);
        return json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "nve", nve->id.s, "state",
                         state_word(drain, counts), "since_ns", (json_int_t)drain->since.ns, "concurrent",
                         (json_int_t)drain->concurrent, "moved", (json_int_t)counts[FATE_MOVED], "left",
                         (json_int_t)left, "stuck", (json_int_t)counts[FATE_STUCK] + counts[FATE_STAYS], "stay",
                         (json_int_t)counts[FATE_LEFT], "estimate_s", estimate < 0 ? json_null() : json_real(estimate),
                         "vms", list);
}
