/* SPDX-License-Identifier: Apache-2.0 */
/* What leaves a host that is emptied, and where to: for the drain, and for a plan of it on paper. */
#pragma once

#include "nva/drain.h"
#include "nva/mover.h"

struct leaving_given { /* on paper, by the plan that is being made */
        const struct gw_nve *nve;
        uint64_t memory_mib, vcpus;
};
/* Where the VM is to go, when so much is given away already; NULL: nowhere. The error is then of the last host that was
 * refused: with two hosts it is the one that matters. */
struct gw_nve *leaving_choose(const struct nva *nva, const struct gw_vm *vm, const struct leaving_given *given,
                              size_t n, struct gw_error *error);

/* It is nowhere, and its disks are there. */
bool leaving_is_at_home(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *nve);
bool leaving_can_move(const struct gw_vm *vm);
bool leaving_is_passing(const struct gw_vm *vm); /* it is about to be one of those that can, or to be gone */
bool leaving_is_left(const struct gw_vm *vm, unsigned leave); /* DRAIN_LEAVE_.. */

/* Through all VMs for those that are at home there, some at a time, or until `each` says that it is enough for now; zeroed: from
 * the first. */
struct leaving_walk {
        struct gw_name after;
        bool done;
};
void leaving_walk(const struct nva *nva, struct leaving_walk *walk, const struct gw_nve *nve,
                  bool (*each)(struct gw_vm *vm, void *user), void *user);

/* Answers with what would move where, now, and how: {nve, vms: [{vm, memory_mib, mode, as, to, reason, leave}]}, `to` empty
 * where nothing fits, and with leave. */
void leaving_plan(struct nva *nva, struct gw_nve *nve, unsigned leave, struct gw_request *request);
struct gw_mono leaving_next(const struct nva *nva); /* at once while there are plans in the making; 0: there are none */
void leaving_tick(struct nva *nva);
void leaving_deinit(struct nva *nva);
