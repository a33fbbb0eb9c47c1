/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash index that costs its elements nothing: 6 octets per entry, in open
 * addressing, at a load of up to five sixths. For what there may be ten
 * millions of; gw_table (table.h) serves the rest.
 *
 * Its elements are in one slab. An element may be in it several times, under up
 * to 16 keys: `nth` says which.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slab.h"

enum { GW_INDEX_NTH_MAX = 16 };

struct gw_index_slot; /* index.c */

struct gw_index {
        struct gw_index_slot *slots;
        size_t size, count;
        const char *base; /* the slab's */
        uint64_t key[2];
        /* The hash of the element's nth key, by gw_index_hash; needed when the index grows. */
        uint64_t (*hash)(const struct gw_index *index, const void *element, unsigned nth);
        bool (*match)(const void *element, unsigned nth, const void *key);
};

/* seed: any two words; daemons take random ones. -ENOMEM. */
int gw_index_init(struct gw_index *index, const struct gw_slab *slab, const uint64_t seed[2],
                  uint64_t (*hash)(const struct gw_index *, const void *, unsigned),
                  bool (*match)(const void *, unsigned, const void *));
void gw_index_deinit(struct gw_index *index); /* the elements stay the caller's */
/* Room for so many, so that none has to be moved while they come. A hint: it may fail unnoticed. */
void gw_index_expect(struct gw_index *index, size_t count);

uint64_t gw_index_hash(const struct gw_index *index, const void *bytes, size_t n);              /* keyed */
void *gw_index_find(const struct gw_index *index, uint64_t hash, const void *key);              /* NULL: none */
int gw_index_insert(struct gw_index *index, uint64_t hash, void *element, unsigned nth);        /* -ENOMEM */
void gw_index_remove(struct gw_index *index, uint64_t hash, const void *element, unsigned nth); /* harmless if absent */

/* For many look-ups at once: first the slots are fetched into the cache, then the likely element is told (or NULL). */
void gw_index_fetch(const struct gw_index *index, uint64_t hash);
const void *gw_index_likely(const struct gw_index *index, uint64_t hash);

/* Each entry, in no order; `each` changes nothing. */
void gw_index_each(const struct gw_index *index, void (*each)(void *element, unsigned nth, void *user), void *user);
