/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lifetimes of bindings, of which there may be ten millions: deadlines like those of heap.h for half of the memory. An
 * element keeps 8 octets and the heap 4: places in the elements' slab (base/ref.h), and times in ms of a clock that
 * wraps. A lease ends at the first whole ms that is not before its time.
 *
 * Room is promised when an element is made, so that setting a lease cannot fail.
 */
#pragma once

#include <stdint.h>

#include "base/slab.h"
#include "base/time.h"

#define GW_LEASE_MAX_MS (UINT64_C(1) << 30) /* ahead of now; and as late may gw_leases_due be asked */

struct gw_lease {
        uint32_t ends_ms; /* wraps */
        uint32_t place;   /* in the heap, counted from 1; 0: not set */
};

struct gw_leases {
        const char *base; /* the slab's */
        uint32_t *heap;
        uint32_t count, promised, size;
};

void gw_leases_init(struct gw_leases *leases, const struct gw_slab *slab);
void gw_leases_deinit(struct gw_leases *leases);
int gw_lease_promise(struct gw_leases *leases);                         /* room for one more; -ENOMEM */
void gw_lease_forget(struct gw_leases *leases, struct gw_lease *lease); /* clears it and takes the promise back */
void gw_lease_set(struct gw_leases *leases, struct gw_lease *lease, struct gw_mono ends);
void gw_lease_clear(struct gw_leases *leases, struct gw_lease *lease); /* harmless when not set */
struct gw_lease *gw_leases_first(const struct gw_leases *leases);      /* NULL when empty */
/* When it ends, as seen from now, give or take GW_LEASE_MAX_MS. */
struct gw_mono gw_lease_ends(const struct gw_lease *lease, struct gw_mono now);
