/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive ordered map by name: a treap whose priorities the caller supplies
 * (a hash of the name), so that its shape depends on nothing but its content.
 * Look-ups and walks are O(log n); nothing is allocated.
 */
#pragma once

#include <stdint.h>

struct gw_order_node {
        struct gw_order_node *left, *right;
        const char *name; /* the element's; must not change while linked */
        uint64_t priority;
};

struct gw_order {
        struct gw_order_node *root;
        uint64_t count;
};

void gw_order_insert(struct gw_order *order, struct gw_order_node *node); /* the name must not be there yet */
void gw_order_remove(struct gw_order *order, struct gw_order_node *node);
struct gw_order_node *gw_order_find(const struct gw_order *order, const char *name);
struct gw_order_node *gw_order_after(const struct gw_order *order, const char *name); /* first one > name; NULL: all */
