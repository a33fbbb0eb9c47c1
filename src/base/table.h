/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive hash table: the node is embedded in the element, which the caller
 * owns. The hash is keyed per table (SipHash-1-3), so that a peer cannot choose
 * keys that collide. Grows by doubling at load 1; never shrinks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct gw_table_node {
        struct gw_table_node *next;
        uint64_t hash;
};

struct gw_table {
        struct gw_table_node **buckets;
        size_t mask; /* number of buckets - 1 */
        size_t count;
        uint64_t key[2];
        bool (*match)(const struct gw_table_node *node, const void *key);
};

uint64_t gw_hash(const uint64_t key[2], const void *bytes, size_t n); /* SipHash-1-3 */

/* seed: any two words; daemons take random ones, simulations fixed ones. -ENOMEM. */
int gw_table_init(struct gw_table *table, const uint64_t seed[2],
                  bool (*match)(const struct gw_table_node *node, const void *key));
void gw_table_deinit(struct gw_table *table); /* the elements stay the caller's */

uint64_t gw_table_hash(const struct gw_table *table, const void *bytes, size_t n);
struct gw_table_node *gw_table_find(const struct gw_table *table, uint64_t hash, const void *key);
/* For many look-ups at once: first their buckets, then what these point to (or NULL) are fetched into the cache, while
 * the others' are on their way. */
void gw_table_expect(const struct gw_table *table, uint64_t hash);
const struct gw_table_node *gw_table_expect_node(const struct gw_table *table, uint64_t hash);
int gw_table_insert(struct gw_table *table, struct gw_table_node *node, uint64_t hash); /* -ENOMEM */
void gw_table_remove(struct gw_table *table, struct gw_table_node *node);

/* Visits every node in no particular order; `each` may remove the node it is
 * given (and free its element) but no other. */
void gw_table_each(struct gw_table *table, void (*each)(struct gw_table_node *node, void *user), void *user);
