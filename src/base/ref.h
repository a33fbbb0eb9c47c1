/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A reference of 4 octets from one object of a slab to another of the same slab, or to a part of one that is aligned to
 * 4. A slab's addresses begin at a multiple of their number, so the reference's own address says which slab is meant.
 * Hence a reference is good only where it is: a copy of it outside of the slab refers to nothing.
 *
 * A zeroed reference is to nothing, which reads as NULL.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slab.h"

enum { GW_REF_UNIT = 4 };

struct gw_ref {
        uint32_t place; /* in the slab, in units */
};

/* For what is not in the slab itself but knows its base: places of objects, and objects at places. */
static inline uint32_t gw_ref_place(const void *object) {
        assert((uintptr_t)object % GW_REF_UNIT == 0);
        return (uint32_t)(((uintptr_t)object & (GW_SLAB_SPAN - 1)) / GW_REF_UNIT);
}
static inline void *gw_ref_at(const void *base, uint32_t place) {
        return (char *)base + (uint64_t)place * GW_REF_UNIT;
}

/* Of a reference that is always to something. */
static inline void *gw_ref_sure(const struct gw_ref *ref) {
        void *object = gw_ref_at((const void *)((uintptr_t)ref & ~(GW_SLAB_SPAN - 1)), ref->place);

        if (!object)
                __builtin_unreachable();
        return object;
}
static inline void *gw_ref_get(const struct gw_ref *ref) {
        return ref->place ? gw_ref_sure(ref) : NULL;
}
static inline void gw_ref_set(struct gw_ref *ref, const void *object) {
        assert(!object || ((uintptr_t)object ^ (uintptr_t)ref) < GW_SLAB_SPAN);
        ref->place = gw_ref_place(object);
}
