/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a journal holds of each key: the last value put, or that it is gone. Private to src/store.
 *
 * Entries live in an arena that is given back as a whole. Reading one from two threads is fine while nobody writes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/table.h"
#include "store/store.h"

struct gw_overlay_entry {
        struct gw_table_node node;
        uint32_t key_size, value_size, room; /* room: for a value, in place */
        uint8_t table;
        bool gone;
        uint8_t octets[]; /* key, then value */
};

struct gw_overlay {
        struct gw_table entries;
        struct gw_overlay_chunk *chunks;
};

int gw_overlay_init(struct gw_overlay *overlay, const uint64_t seed[2]);
void gw_overlay_deinit(struct gw_overlay *overlay);

int gw_overlay_set(struct gw_overlay *overlay, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                   size_t nval); /* val NULL: gone. -ENOMEM */
const struct gw_overlay_entry *gw_overlay_find(const struct gw_overlay *overlay, enum gw_store_table t, const void *key,
                                               size_t nkey);
/* The same order as the stores': by table, then by key. */
int gw_overlay_compare(const struct gw_overlay_entry *entry, enum gw_store_table t, const void *key, size_t nkey);
/* All of a table, or of all with t GW_STORE_TABLES, that `newer` (may be NULL) has not, appended to list[*n]; room for all
 * of them is the caller's. gw_overlay_sort brings a list in order. */
void gw_overlay_collect(struct gw_overlay *overlay, enum gw_store_table t, const struct gw_overlay *newer,
                        const struct gw_overlay_entry **list, size_t *n);
void gw_overlay_sort(const struct gw_overlay_entry **list, size_t n);
