/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Draining: every VM of a host moves elsewhere, also those that are suspended, or
 * stopped with disks there, and no VM comes to it, until the host is taken into
 * service again.
 *
 * What is stored is that a host is being drained, and how many moves at once;
 * the rest follows from where its VMs are. So a drain goes on after a restart of
 * the authority as if nothing had been. What could not be moved is tried again
 * DRAIN_TRIES times, wherever it then fits, and again from the start when the
 * drain is asked for once more.
 */
#pragma once

#include <jansson.h>

#include "nva/mover.h"

enum { DRAIN_TRIES = 3, DRAIN_CONCURRENT = 2, DRAIN_CONCURRENT_MAX = 16 };
/* What the operator wants left where it is. */
enum { DRAIN_LEAVE_SUSPENDED = 1, DRAIN_LEAVE_STOPPED = 2, DRAIN_LEAVE_ALL = 3 };

void drain_deinit(struct nva *nva);
int drain_load(struct nva *nva, const void *key, size_t key_size, const void *value, size_t size,
               struct gw_error *error);
struct gw_mono drain_next(const struct nva *nva);
void drain_tick(struct nva *nva, struct gw_now now);
void drain_moved(struct nva *nva, const struct gw_move *move); /* one that has ended; whoever asked for it */

/* Begins, or begins anew. */
void drain_begin(struct nva *nva, struct gw_nve *nve, uint32_t concurrent, unsigned leave);
/* Back into service. Moves under way end as they would. GW_E_NOT_FOUND: it was not being drained. */
int drain_end(struct nva *nva, struct gw_nve *nve, struct gw_error *error);
void drain_forget(struct nva *nva, const char *nve); /* the NVE was deleted */
/* {nve, state, since_ns, concurrent, moved, left, stuck, stay, estimate_s, vms: [...]}; NULL: it is not being drained. New. */
json_t *drain_json(const struct nva *nva, const struct gw_nve *nve);
