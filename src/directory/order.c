/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A treap (Seidel and Aragon, 1996): ordered by name from left to right, and by
 * priority from top to bottom. With priorities that look random its depth is
 * O(log n). Insertion and removal rotate by splitting and merging along one
 * path, without recursion.
 */
#include "directory/order.h"

#include <string.h>

static const char *name_of(const struct gw_order *order, const struct gw_order_node *node) {
        return (const char *)node + order->name_at;
}

/* Parts the tree at *root into names below and names above `name`. */
static void split(const struct gw_order *order, struct gw_order_node *root, const char *name,
                  struct gw_order_node **below, struct gw_order_node **above) {
        while (root) {
                if (strcmp(name_of(order, root), name) < 0) {
                        *below = root;
                        below = &root->right;
                        root = root->right;
                } else {
                        *above = root;
                        above = &root->left;
                        root = root->left;
                }
        }
        *below = *above = NULL;
}

void gw_order_insert(struct gw_order *order, struct gw_order_node *node) {
        struct gw_order_node **at = &order->root;

        while (*at && (*at)->priority >= node->priority)
                at = strcmp(name_of(order, node), name_of(order, *at)) < 0 ? &(*at)->left : &(*at)->right;
        split(order, *at, name_of(order, node), &node->left, &node->right);
        *at = node;
        order->count++;
}

void gw_order_remove(struct gw_order *order, struct gw_order_node *node) {
        struct gw_order_node **at = &order->root, *left = node->left, *right = node->right;

        while (*at != node)
                at = strcmp(name_of(order, node), name_of(order, *at)) < 0 ? &(*at)->left : &(*at)->right;
        while (left && right) {
                if (left->priority >= right->priority) {
                        *at = left;
                        at = &left->right;
                        left = left->right;
                } else {
                        *at = right;
                        at = &right->left;
                        right = right->left;
                }
        }
        *at = left ? left : right;
        node->left = node->right = NULL;
        order->count--;
}

struct gw_order_node *gw_order_find(const struct gw_order *order, const char *name) {
        struct gw_order_node *node = order->root;
        int side;

        while (node && (side = strcmp(name, name_of(order, node))) != 0)
                node = side < 0 ? node->left : node->right;
        return node;
}

struct gw_order_node *gw_order_after(const struct gw_order *order, const char *name) {
        struct gw_order_node *node = order->root, *best = NULL;

        while (node) {
                if (!name || strcmp(name_of(order, node), name) > 0) {
                        best = node;
                        node = node->left;
                } else {
                        node = node->right;
                }
        }
        return best;
}
