/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for very many small objects of a few sizes that refer to each other: no octets for each one's administration,
 * those made one after the other lie one after the other, and 4 octets name any of them (base/ref.h).
 * What is given back is used again for the same size; to the system it goes back with the whole slab only.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define GW_SLAB_SPAN (UINT64_C(1) << 34) /* octets of all that is in one, at most: 2^32 times the unit of base/ref.h */
enum {
        GW_SLAB_ALIGN = 8,   /* of objects */
        GW_SLAB_EXACT = 512, /* objects up to this size take so much; larger ones the next power of two */
        GW_SLAB_MAX = 64 * 1024,
        GW_SLAB_CLASSES = GW_SLAB_EXACT / GW_SLAB_ALIGN + 7,
};

struct gw_slab {                         /* zeroed: none, for gw_slab_deinit */
        char *base;                      /* GW_SLAB_SPAN octets of addresses, aligned to that */
        uint64_t used, backed;           /* of them: given out at least once; with memory behind */
        uint32_t holes[GW_SLAB_CLASSES]; /* given back, by size: the last one */
};

int gw_slab_init(struct gw_slab *slab);               /* -ENOMEM */
void gw_slab_deinit(struct gw_slab *slab);            /* all that is still given out goes, too */
void *gw_slab_new(struct gw_slab *slab, size_t size); /* zeroed; NULL: no memory, or above GW_SLAB_MAX */
void gw_slab_free(struct gw_slab *slab, void *object,
                  size_t size); /* the size that it was made with; NULL is harmless */
