/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory for very many small objects of a few sizes: no octets for each one's
 * administration, and those made one after the other lie one after the other.
 * What is given back is used again for the same size; to the system it goes
 * back with the whole slab only. Objects are aligned to 16 octets.
 */
#pragma once

#include <stddef.h>

enum { GW_SLAB_ALIGN = 16, GW_SLAB_CLASSES = 32, GW_SLAB_MAX = GW_SLAB_ALIGN * GW_SLAB_CLASSES };

struct gw_slab { /* zeroed: empty */
        struct slab_chunk *chunks;
        size_t n_chunks;
        struct slab_hole *holes[GW_SLAB_CLASSES]; /* given back, by size */
        char *next, *end;                         /* of the newest chunk, what is not given out yet */
};

void gw_slab_deinit(struct gw_slab *slab);            /* all that is still given out goes, too */
void *gw_slab_new(struct gw_slab *slab, size_t size); /* zeroed; NULL: no memory. Above GW_SLAB_MAX it is malloc's */
void gw_slab_free(struct gw_slab *slab, void *object, size_t size); /* the size that it was made with */
