/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Elements in the order of their names: pointers in sorted blocks. It costs an
 * element nothing but its pointer; look-ups are O(log n), and what comes in the
 * order of names, as a store's records do, is only appended.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct order_block;

struct gw_order {
        struct order_block **blocks; /* none is empty */
        size_t n_blocks, room;
        uint64_t count;
        size_t name_at; /* of an element's name, an array of characters; it must not change while it is in here */
};

/* Where somebody was, who is likely to look for the same or for what follows. Any is valid; begin with {0}. */
struct gw_order_finger {
        size_t block, at;
};

#define GW_ORDER_OF(type, name) ((struct gw_order){.name_at = offsetof(type, name)})

int gw_order_insert(struct gw_order *order, void *element); /* the name must not be there yet; -ENOMEM */
void gw_order_remove(struct gw_order *order, const void *element);
void *gw_order_find(const struct gw_order *order, const char *name); /* NULL: none */
void *gw_order_find_near(const struct gw_order *order, struct gw_order_finger *finger, const char *name);
void *gw_order_after(const struct gw_order *order, const char *name); /* the first one > name; NULL: of all */
void *gw_order_last(const struct gw_order *order);                    /* NULL: none */
void gw_order_deinit(struct gw_order *order);                         /* the elements stay the caller's */
