/* SPDX-License-Identifier: Apache-2.0 */
/* The life of VMs and tasks: start, stop, crash, and what an agent really has. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "nva/nva.h"

enum {
        LIFE_BACKOFF_FIRST_MS = 1000, /* before a crashed VM is started again; doubled each time */
        LIFE_BACKOFF_MAX_MS = 60000,
        LIFE_STABLE_MS = 60000, /* a VM that ran this long has not crashed before */
        LIFE_CALL_S = 60,       /* an agent must answer after this */
};

int life_init(struct nva *nva, const uint64_t seed[2]);
void life_deinit(struct nva *nva);
struct gw_mono life_next(struct nva *nva);
void life_tick(struct nva *nva, struct gw_now now);

/* Starts a VM that is nowhere on nve (NULL: the one with most free memory). request is answered when the agent has;
 * when this returns non-zero nothing was changed and the request is still the caller's. */
int life_start(struct nva *nva, struct gw_vm *vm, struct gw_nve *nve, struct gw_request *request,
               struct gw_error *error);
int life_stop(struct nva *nva, struct gw_vm *vm, bool force, struct gw_request *request, struct gw_error *error);
/* Attaches a task that has been placed; the same rules for request. */
void life_attach(struct nva *nva, struct gw_vm *vm, struct gw_request *request);
/* Takes a task off its edge, and forgets it. */
void life_detach(struct nva *nva, struct gw_vm *vm);

/* The copy of vm that its binding names has ended. */
void life_ended(struct nva *nva, struct gw_vm *vm, bool crashed, const char *reason);
/* Its host is off, as somebody has made sure. It is nowhere now; started elsewhere, where a crash would restart it and
 * it left no disks behind. */
void life_lost(struct nva *nva, struct gw_vm *vm);
/* {state, reason} of a VM that is not moving, from the agent of nve. */
void life_state(struct nva *nva, struct gw_nve *nve, struct gw_vm *vm, const char *state, const char *reason);
/* All that the agent of nve has: corrects what differs. */
void life_inventory(struct nva *nva, struct gw_nve *nve, json_t *vms);
/* Asks the agent for its inventory, to correct what differs. */
void life_resync(struct nva *nva, struct gw_nve *nve);
/* The edge of nve is connected: its tasks are attached again. */
void life_edge_back(struct nva *nva, struct gw_nve *nve);

/* A copy that should not be there. move: of a finished move it was the source of; "" when not. */
void life_clear(struct nva *nva, struct gw_nve *nve, const char *vm, const char *move);

/* Why it is in the state it is in; "" when there is nothing to say. */
const char *life_reason(const struct nva *nva, const char *vm);
void life_forget(struct nva *nva, const char *vm);
