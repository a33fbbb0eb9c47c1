/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary heap of Williams (1964), as in heap.c: heap[1] ends first, the parent of place n is n / 2, and each lease
 * knows its place.
 *
 * Times are 32 bits of ms, and of two the earlier is the one from which the other is reached by less than half of the
 * circle, 24 days. No lease is longer than GW_LEASE_MAX_MS, half of that.
 *
 * The array grows by an eighth: memory that the heap does not reach costs nothing (the system gives large arrays
 * pages when they are touched, and moves them without copying).
 */
#include "directory/lease.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/ref.h"

enum { LEASES_FIRST_SIZE = 64 };

void gw_leases_init(struct gw_leases *leases, const struct gw_slab *slab) {
        *leases = (struct gw_leases){.base = slab->base};
}

void gw_leases_deinit(struct gw_leases *leases) {
        free(leases->heap);
        *leases = (struct gw_leases){0};
}

int gw_lease_promise(struct gw_leases *leases) {
        uint32_t size = leases->size + leases->size / 8 + LEASES_FIRST_SIZE;
        uint32_t *heap;

        if (leases->promised + 1 >= leases->size) {
                heap = reallocarray(leases->heap, size, sizeof *heap);
                if (!heap)
                        return -ENOMEM;
                leases->heap = heap;
                leases->size = size;
        }
        leases->promised++;
        return 0;
}

static struct gw_lease *lease_at(const struct gw_leases *leases, uint32_t place) {
        return gw_ref_at(leases->base, leases->heap[place]);
}

static bool is_before(const struct gw_lease *a, const struct gw_lease *b) {
        return (int32_t)(a->ends_ms - b->ends_ms) < 0;
}

static void put(struct gw_leases *leases, uint32_t place, struct gw_lease *lease) {
        leases->heap[place] = gw_ref_place(lease);
        lease->place = place;
}

static void sift_up(struct gw_leases *leases, struct gw_lease *lease, uint32_t place) {
        while (place > 1 && is_before(lease, lease_at(leases, place / 2))) {
                put(leases, place, lease_at(leases, place / 2));
                place /= 2;
        }
        put(leases, place, lease);
}

static void sift_down(struct gw_leases *leases, struct gw_lease *lease, uint32_t place) {
        uint32_t child;

        while ((child = place * 2) <= leases->count) {
                if (child < leases->count && is_before(lease_at(leases, child + 1), lease_at(leases, child)))
                        child++;
                if (!is_before(lease_at(leases, child), lease))
                        break;
                put(leases, place, lease_at(leases, child));
                place = child;
        }
        put(leases, place, lease);
}

/* Puts a lease that has a wrong time for its place where it belongs. */
static void settle(struct gw_leases *leases, struct gw_lease *lease, uint32_t place) {
        if (place > 1 && is_before(lease, lease_at(leases, place / 2)))
                sift_up(leases, lease, place);
        else
                sift_down(leases, lease, place);
}

void gw_lease_set(struct gw_leases *leases, struct gw_lease *lease, struct gw_mono ends) {
        lease->ends_ms = (uint32_t)((ends.ns + GW_NS_PER_MS - 1) / GW_NS_PER_MS);
        if (lease->place)
                settle(leases, lease, lease->place);
        else
                sift_up(leases, lease, ++leases->count);
}

void gw_lease_clear(struct gw_leases *leases, struct gw_lease *lease) {
        struct gw_lease *last;
        uint32_t place = lease->place;

        if (!place)
                return;
        lease->place = 0;
        last = lease_at(leases, leases->count--);
        if (last != lease)
                settle(leases, last, place);
}

void gw_lease_forget(struct gw_leases *leases, struct gw_lease *lease) {
        gw_lease_clear(leases, lease);
        leases->promised--;
}

struct gw_lease *gw_leases_first(const struct gw_leases *leases) {
        return leases->count ? lease_at(leases, 1) : NULL;
}

struct gw_mono gw_lease_ends(const struct gw_lease *lease, struct gw_mono now) {
        uint64_t now_ms = now.ns / GW_NS_PER_MS;
        int64_t ends_ms = (int64_t)now_ms + (int32_t)(lease->ends_ms - (uint32_t)now_ms);

        return (struct gw_mono){ends_ms > 0 ? (uint64_t)ends_ms * GW_NS_PER_MS : 1};
}
