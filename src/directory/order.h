/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements of a slab in the order of their names: their places in sorted blocks.
 * It costs an element 4 octets; look-ups are O(log n), and what comes in the
 * order of names, as a store's records do, is only appended.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/slab.h"

struct order_block;

struct gw_order {
        struct order_block **blocks; /* none is empty */
        size_t n_blocks, room;
        uint64_t count;
        const char *base; /* the slab's */
        /* As strcmp of the element's name, which must not change while it is in here, and the given one. */
        int (*compare)(const void *element, const char *name);
};

/* Where somebody was, who is likely to look for the same or for what follows. Any is valid; begin with {0}. */
struct gw_order_finger {
        size_t block, at;
};

void gw_order_init(struct gw_order *order, const struct gw_slab *slab,
                   int (*compare)(const void *element, const char *name));
int gw_order_insert(struct gw_order *order, void *element, const char *name); /* must not be there yet; -ENOMEM */
void gw_order_remove(struct gw_order *order, const char *name);               /* must be there */
void *gw_order_find(const struct gw_order *order, const char *name);          /* NULL: none */
void *gw_order_find_near(const struct gw_order *order, struct gw_order_finger *finger, const char *name);
void *gw_order_after(const struct gw_order *order, const char *name); /* the first one > name; NULL: of all */
void *gw_order_last(const struct gw_order *order);                    /* NULL: none */
void gw_order_deinit(struct gw_order *order);                         /* the elements stay the caller's */
