/* SPDX-License-Identifier: Apache-2.0 */
/* The shell of src/move: moves with their calls, journal, clock and evidence. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "nva/nva.h"
#include "nva/ways.h"

struct nva_move {
        struct gw_list link; /* nva->moves */
        struct gw_list open; /* nva->open_moves, until somewhat after it has ended */
        struct gw_move core;
        struct nva *nva;
        struct nva_ways ways;
        json_t *before[GW_MOVE_SIDES], *counters[GW_MOVE_SIDES]; /* of the edges: then, and by how much they grew */
        struct gw_wall known_at[GW_MOVE_SIDES];                  /* of each agent's last inventory, by its own clock */
        bool dead[GW_MOVE_SIDES];                                /* its host was declared lost, and is not back */
        bool redirect_ended, redirected_known;
        uint64_t redirected;         /* of the VM alone, as the source's edge told last */
        bool edge_asked, edge_ready; /* the target's edge has subscribed to the VM's VNs */
        struct nva_early *early;     /* owned; NULL */
};

/* A registration by the target's edge that came before its cut was heard of: the agent's word takes another way, and
 * may come after it. Answered when the cut is known, instead of being asked for again. */
struct nva_early {
        uint32_t id; /* of the frame */
        struct gw_ip locator;
        struct gw_registration request;
};
/* Kept with the VM's open move, in place of an older one. */
void mover_keep_early(struct nva *nva, const struct gw_nve *nve, const struct nva_early *early);

static inline struct nva_move *mover_entry(struct gw_list *link) {
        return gw_list_entry(link, struct nva_move, link);
}
static inline struct nva_move *mover_open_entry(struct gw_list *open) {
        return gw_list_entry(open, struct nva_move, open);
}
static inline struct nva_move *mover_of(const struct gw_move *core) {
        return gw_container_of((struct gw_move *)core, struct nva_move, core);
}
struct gw_vm *mover_vm(const struct nva_move *move);                           /* NULL: it was deleted */
struct gw_nve *mover_nve(const struct nva_move *move, enum gw_move_side side); /* the same */
static inline bool mover_is_open(const struct nva_move *move) {
        return move->core.phase != GW_MOVE_DONE;
}

void mover_init(struct nva *nva);
void mover_deinit(struct nva *nva);
int mover_load(struct nva *nva, const void *value, size_t size, struct gw_error *error); /* one journalled move */
void mover_restore(struct nva *nva, struct gw_now now);                                  /* after all were loaded */
struct gw_mono mover_next(struct nva *nva);
void mover_tick(struct nva *nva, struct gw_now now);

struct mover_request {
        struct gw_nve *to;
        uint32_t bandwidth_mib_s, downtime_ms; /* 0: no limit */
        enum gw_move_mode mode;
        bool mode_given;
        struct nva_ways ways; /* taken over by a move that begins */
};
/* What stands for and against a move, check by check; mover_begin asks the same (plan.c). */
enum { MOVER_CHECKS_MAX = 16 };
struct mover_plan {
        size_t n;
        bool allowed; /* every code is 0 */
        struct mover_check {
                const char *word;
                struct gw_error error; /* .code: 0, or why not */
        } checks[MOVER_CHECKS_MAX];
};
void mover_plan(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                struct mover_plan *out);
/* And which gateways the VM will use there, for people: never a reason against it, and a walk over the VNs' members. */
void mover_plan_gateways(const struct gw_vm *vm, const struct gw_nve *to, struct mover_plan *plan);
json_t *mover_plan_json(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                        const struct mover_plan *plan); /* new */
/* What it does: runs, stands still, or is nowhere; and where it leaves from: its place, or its home. NULL: unknown. */
enum gw_move_as mover_as(const struct gw_vm *vm);
struct gw_nve *mover_place(const struct nva *nva, const struct gw_vm *vm);
/* Where no mode was asked for: the one that takes what the VM does. */
void mover_settle_mode(const struct nva *nva, const struct gw_vm *vm, struct mover_request *request);

/* Checks, and begins. GW_E_CONFLICT: *error says why not, nothing was changed. */
int mover_begin(struct nva *nva, struct gw_vm *vm, struct mover_request *request, struct nva_move **out,
                struct gw_error *error);
int mover_cancel(struct nva *nva, struct nva_move *move, struct gw_error *error);

struct nva_move *mover_open(const struct nva *nva, const char *vm); /* the one under way; NULL */
struct nva_move *mover_find(const struct nva *nva, const char *id);
bool mover_uses(const struct nva *nva, const char *nve);                   /* an open move leaves from or goes to it */
void mover_feed(struct nva_move *move, const struct gw_move_event *event); /* now */
void mover_write(struct nva_move *move);                                   /* to the journal */
const char *mover_id(const struct nva_move *move);
uint64_t mover_number(const struct nva_move *move); /* m12 is 12: later ones have greater ones */
json_t *mover_json(const struct nva_move *move);    /* new */

/* orders.c: calls to agents, and to the target's edge: is its session in order? */
void mover_order(const struct gw_move *core, enum gw_move_order order, uint32_t serial, void *user);
void mover_ask_edge(struct nva_move *move);

/* queue.c: those that wait until their hosts have less to do. */
void mover_admit(struct nva *nva);
bool mover_is_queued(const struct nva_move *move);

/* What sessions and the directory report (reports.c). */
void mover_hv_lost(struct nva *nva, const char *nve);
void mover_host_dead(struct nva *nva, const char *nve); /* somebody has made sure that nothing runs there */
void mover_hv_back(struct nva *nva, const char *nve, json_t *vms, struct gw_wall at); /* at: the agent's clock */
/* An agent's event about a VM that has an open move: true when it was the move's business. */
bool mover_event(struct nva *nva, const char *nve, const char *name, json_t *event);
/* May a reserved VM be at its target (back: taken back by its source) already, for all that is known? Not before its
 * source was asked to begin, nor while the source's agent is here and says that the VM runs there. */
bool mover_may_arrive(const struct nva *nva, const char *vm, bool back);
void mover_registered(struct nva *nva, const char *vm, uint64_t epoch);
void mover_acked(
        struct nva *nva); /* somebody acknowledged, or went: looks, this turn, whether a move waited for that */
void mover_redirect_ended(struct nva *nva, const char *nve, const struct gw_report *report);
