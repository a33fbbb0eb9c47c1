/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive ordered map by name: a treap whose priorities the caller supplies
 * (a hash of the name), so that its shape depends on nothing but its content.
 * Look-ups and walks are O(log n); nothing is allocated.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct gw_order_node {
        struct gw_order_node *left, *right;
        uint32_t priority;
};

struct gw_order {
        struct gw_order_node *root;
        uint64_t count;
        size_t name_at; /* of the element's name, counted from its node; must not change while linked */
};

/* Of an element with `node` and `name`, an array of characters. */
#define GW_ORDER_OF(type, node, name) ((struct gw_order){.name_at = offsetof(type, name) - offsetof(type, node)})

void gw_order_insert(struct gw_order *order, struct gw_order_node *node); /* the name must not be there yet */
void gw_order_remove(struct gw_order *order, struct gw_order_node *node);
struct gw_order_node *gw_order_find(const struct gw_order *order, const char *name);
struct gw_order_node *gw_order_after(const struct gw_order *order, const char *name); /* first one > name; NULL: all */
