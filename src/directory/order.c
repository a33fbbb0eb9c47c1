/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two levels: an array of blocks, and in each block the places of its elements,
 * both in the order of names. A search is one over the blocks' first elements
 * and one within a block.
 *
 * A full block is parted in two, except where the new element comes after all
 * others: then it begins a block of its own, and the full one stays full. Two
 * neighbours that shrank to three quarters of one become one. So blocks are at
 * least three eighths full on average, and full after a restart.
 */
#include "directory/order.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/ref.h"

enum { BLOCK_MAX = 255, BLOCK_HALF = BLOCK_MAX / 2, BLOCK_MERGED = BLOCK_MAX * 3 / 4, FIRST_ROOM = 8 };

struct order_block {
        uint32_t n;
        uint32_t elements[BLOCK_MAX];
};

void gw_order_init(struct gw_order *order, const struct gw_slab *slab,
                   int (*compare)(const void *element, const char *name)) {
        *order = (struct gw_order){.base = slab->base, .compare = compare};
}

static void *element_in(const struct gw_order *order, const struct order_block *block, size_t at) {
        return gw_ref_at(order->base, block->elements[at]);
}

static int compare(const struct gw_order *order, size_t block, size_t at, const char *name) {
        return order->compare(element_in(order, order->blocks[block], at), name);
}

/* How many of the blocks begin at or before the name. */
static size_t blocks_until(const struct gw_order *order, const char *name) {
        size_t low = 0, high = order->n_blocks;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare(order, middle, 0, name) <= 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

/* Where the first element is that is not below the name, or would be: also one after a block's last. There must be a
 * block. */
static struct gw_order_finger place_of(const struct gw_order *order, const char *name) {
        size_t until = blocks_until(order, name), block = until ? until - 1 : 0;
        size_t low = 0, high = order->blocks[block]->n;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if (compare(order, block, middle, name) < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return (struct gw_order_finger){block, low};
}

static void *element_at(const struct gw_order *order, struct gw_order_finger place) {
        const struct order_block *block = order->blocks[place.block];

        return place.at < block->n ? element_in(order, block, place.at) : NULL;
}

/* An empty block as the nth. */
static int add_block(struct gw_order *order, size_t nth) {
        size_t room = order->room ? order->room * 2 : FIRST_ROOM;
        struct order_block *block = malloc(sizeof *block), **blocks;

        if (!block)
                return -ENOMEM;
        if (order->n_blocks == order->room) {
                blocks = reallocarray(order->blocks, room, sizeof *blocks);
                if (!blocks) {
                        free(block);
                        return -ENOMEM;
                }
                order->blocks = blocks;
                order->room = room;
        }
        block->n = 0;
        memmove(&order->blocks[nth + 1], &order->blocks[nth], (order->n_blocks - nth) * sizeof *order->blocks);
        order->blocks[nth] = block;
        order->n_blocks++;
        return 0;
}

static void drop_block(struct gw_order *order, size_t nth) {
        free(order->blocks[nth]);
        order->n_blocks--;
        memmove(&order->blocks[nth], &order->blocks[nth + 1], (order->n_blocks - nth) * sizeof *order->blocks);
}

/* Of the elements of `from`, those from `at` on go to the end of `to`. */
static void give(struct order_block *from, size_t at, struct order_block *to) {
        memcpy(&to->elements[to->n], &from->elements[at], (from->n - at) * sizeof *from->elements);
        to->n += from->n - (uint32_t)at;
        from->n = (uint32_t)at;
}

/* Room in the full block of the place, which becomes that where the element belongs then. */
static int part(struct gw_order *order, struct gw_order_finger *place) {
        bool after_all = place->block + 1 == order->n_blocks && place->at == BLOCK_MAX;
        size_t kept = after_all ? BLOCK_MAX : BLOCK_HALF;
        int r = add_block(order, place->block + 1);

        if (r < 0)
                return r;
        give(order->blocks[place->block], kept, order->blocks[place->block + 1]);
        if (place->at > kept || after_all)
                *place = (struct gw_order_finger){place->block + 1, place->at - kept};
        return 0;
}

/* The same as place_of, without a search for what comes after all others. */
static struct gw_order_finger place_to_insert(const struct gw_order *order, const char *name) {
        size_t last = order->n_blocks - 1, n = order->blocks[last]->n;

        if (compare(order, last, n - 1, name) < 0)
                return (struct gw_order_finger){last, n};
        return place_of(order, name);
}

int gw_order_insert(struct gw_order *order, void *element, const char *name) {
        struct gw_order_finger place = {0};
        struct order_block *block;
        int r = 0;

        if (!order->n_blocks)
                r = add_block(order, 0);
        else
                place = place_to_insert(order, name);
        if (r == 0 && order->blocks[place.block]->n == BLOCK_MAX)
                r = part(order, &place);
        if (r < 0)
                return r;
        block = order->blocks[place.block];
        memmove(&block->elements[place.at + 1], &block->elements[place.at],
                (block->n - place.at) * sizeof *block->elements);
        block->elements[place.at] = gw_ref_place(element);
        block->n++;
        order->count++;
        return 0;
}

/* The nth block and the next become one if they have shrunk enough. */
static void merge(struct gw_order *order, size_t nth) {
        if (nth + 1 >= order->n_blocks || order->blocks[nth]->n + order->blocks[nth + 1]->n > BLOCK_MERGED)
                return;
        give(order->blocks[nth + 1], 0, order->blocks[nth]);
        drop_block(order, nth + 1);
}

void gw_order_remove(struct gw_order *order, const char *name) {
        struct gw_order_finger place = place_of(order, name);
        struct order_block *block = order->blocks[place.block];

        block->n--;
        memmove(&block->elements[place.at], &block->elements[place.at + 1],
                (block->n - place.at) * sizeof *block->elements);
        order->count--;
        if (!block->n) {
                drop_block(order, place.block);
                return;
        }
        merge(order, place.block);
        if (place.block)
                merge(order, place.block - 1);
}

void *gw_order_find(const struct gw_order *order, const char *name) {
        void *element = order->n_blocks ? element_at(order, place_of(order, name)) : NULL;

        return element && order->compare(element, name) == 0 ? element : NULL;
}

void *gw_order_find_near(const struct gw_order *order, struct gw_order_finger *finger, const char *name) {
        struct gw_order_finger next = *finger;
        void *element;

        for (int i = 0; i < 2; i++) {
                if (next.block < order->n_blocks && next.at >= order->blocks[next.block]->n)
                        next = (struct gw_order_finger){next.block + 1, 0};
                if (next.block >= order->n_blocks)
                        break;
                element = element_at(order, next);
                if (order->compare(element, name) == 0) {
                        *finger = next;
                        return element;
                }
                next.at++;
        }
        if (!order->n_blocks)
                return NULL;
        *finger = place_of(order, name);
        element = element_at(order, *finger);
        return element && order->compare(element, name) == 0 ? element : NULL;
}

void *gw_order_after(const struct gw_order *order, const char *name) {
        struct gw_order_finger place = {0};

        if (!order->n_blocks)
                return NULL;
        if (name) {
                place = place_of(order, name);
                if (element_at(order, place) && order->compare(element_at(order, place), name) == 0)
                        place.at++;
        }
        if (place.at == order->blocks[place.block]->n)
                place = (struct gw_order_finger){place.block + 1, 0};
        return place.block < order->n_blocks ? element_at(order, place) : NULL;
}

void *gw_order_last(const struct gw_order *order) {
        const struct order_block *block = order->n_blocks ? order->blocks[order->n_blocks - 1] : NULL;

        return block ? element_in(order, block, block->n - 1) : NULL;
}

void gw_order_deinit(struct gw_order *order) {
        while (order->n_blocks)
                drop_block(order, order->n_blocks - 1);
        free(order->blocks);
        order->blocks = NULL;
        order->room = order->count = 0;
}
