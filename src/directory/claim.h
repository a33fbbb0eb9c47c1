/* SPDX-License-Identifier: Apache-2.0 */
/* May a task move because it announced itself elsewhere? What is decided here, nva/claims.c carries out. */
#pragma once

#include "directory/directory.h"

enum { GW_CLAIM_DAMPING_MOVES = 5, GW_CLAIM_DAMPING_S = 180 };

/* Of one task: when it was followed, newest last; moves that management planned are not in it. */
struct gw_claim_history {
        bool busy; /* a claim is being looked into */
        unsigned n;
        struct gw_mono at[GW_CLAIM_DAMPING_MOVES];
};

enum gw_claim_verdict {
        GW_CLAIM_TAKE = 1,   /* nobody serves it: whoever has it may */
        GW_CLAIM_ASK,        /* when the old place says that it is there no more */
        GW_CLAIM_NOT_A_TASK, /* where a VM of an agent is, the agent knows */
        GW_CLAIM_POLICY,     /* its VNs follow no announcements */
        GW_CLAIM_BUSY,       /* it is being moved, or another claim is looked into */
        GW_CLAIM_DAMPED,
};
/* moving: a move of it is under way. history NULL: there is no memory to keep one. */
enum gw_claim_verdict gw_claim_judge(const struct gw_vm *vm, const struct gw_claim_history *history, bool moving,
                                     struct gw_mono now);
/* It was followed. */
void gw_claim_followed(struct gw_claim_history *history, struct gw_mono now);
/* It says nothing that an empty one would not: no claim is looked into, and what was followed damps no more. */
bool gw_claim_is_spent(const struct gw_claim_history *history, struct gw_mono now);
