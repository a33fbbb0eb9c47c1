/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing. A slot is 6 octets: the element's place in
 * the slab, 12 bits of the hash, 4 bits of nth; one with place 0 is empty.
 * So an element that is not the one looked for is hardly ever touched.
 *
 * The place of a hash is its upper half scaled to the size, which need not be a
 * power of two: it grows by half at a load of five sixths. A removal closes
 * the gap by moving back what may move, so that there are no tombstones.
 */
#include "base/index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/pages.h"
#include "base/ref.h"
#include "base/table.h"

enum { INDEX_FIRST_SIZE = 16, NTH_MASK = GW_INDEX_NTH_MAX - 1, PAGE_OCTETS = 4096 };

struct gw_index_slot {
        uint16_t low, high; /* of the place */
        uint16_t tag;       /* of hash and nth */
};

static uint32_t place_in(const struct gw_index_slot *slot) {
        return slot->low | (uint32_t)slot->high << 16;
}

static bool is_empty(const struct gw_index_slot *slot) {
        return !(slot->low | slot->high);
}

static uint16_t tag_of(uint64_t hash, unsigned nth) {
        return (uint16_t)(hash << 4 | nth);
}

static unsigned nth_of(const struct gw_index_slot *slot) {
        return slot->tag & NTH_MASK;
}

static struct gw_index_slot slot_of(uint64_t hash, const void *element, unsigned nth) {
        uint32_t place = gw_ref_place(element);

        assert(nth < GW_INDEX_NTH_MAX);
        return (struct gw_index_slot){(uint16_t)place, (uint16_t)(place >> 16), tag_of(hash, nth)};
}

static void *element_of(const struct gw_index *index, const struct gw_index_slot *slot) {
        return gw_ref_at(index->base, place_in(slot));
}

static uint64_t hash_of(const struct gw_index *index, const struct gw_index_slot *slot) {
        return index->hash(index, element_of(index, slot), nth_of(slot));
}

static size_t place_of(const struct gw_index *index, uint64_t hash) {
        return (size_t)((hash >> 32) * index->size >> 32);
}

static size_t after(const struct gw_index *index, size_t place) {
        return place + 1 < index->size ? place + 1 : 0;
}

static bool is_large(size_t size) {
        return size * sizeof(struct gw_index_slot) >= GW_PAGES_HUGE;
}

static size_t octets_of(size_t size) {
        return (size * sizeof(struct gw_index_slot) + PAGE_OCTETS - 1) / PAGE_OCTETS * PAGE_OCTETS;
}

static struct gw_index_slot *slots_new(size_t size) { /* zeroed */
        return is_large(size) ? gw_pages_new(octets_of(size), GW_PAGES_HUGE, true)
                              : calloc(size, sizeof(struct gw_index_slot));
}

static void slots_free(struct gw_index_slot *slots, size_t size) {
        if (is_large(size))
                gw_pages_free(slots, octets_of(size));
        else
                free(slots);
}

int gw_index_init(struct gw_index *index, const struct gw_slab *slab, const uint64_t seed[2],
                  uint64_t (*hash)(const struct gw_index *, const void *, unsigned),
                  bool (*match)(const void *, unsigned, const void *)) {
        *index = (struct gw_index){
                .size = INDEX_FIRST_SIZE, .base = slab->base, .key = {seed[0], seed[1]}, .hash = hash, .match = match};
        index->slots = slots_new(index->size);
        return index->slots ? 0 : -ENOMEM;
}

void gw_index_deinit(struct gw_index *index) {
        slots_free(index->slots, index->size);
        *index = (struct gw_index){0};
}

uint64_t gw_index_hash(const struct gw_index *index, const void *bytes, size_t n) {
        return gw_hash(index->key, bytes, n);
}

static void put(struct gw_index *index, uint64_t hash, struct gw_index_slot slot) {
        size_t place = place_of(index, hash);

        while (!is_empty(&index->slots[place]))
                place = after(index, place);
        index->slots[place] = slot;
}

static int resize(struct gw_index *index, size_t size) {
        struct gw_index_slot *old = index->slots;
        size_t old_size = index->size;

        if (size > UINT32_MAX)
                return -ENOMEM;
        index->slots = slots_new(size);
        if (!index->slots) {
                index->slots = old;
                return -ENOMEM;
        }
        index->size = size;
        for (size_t i = 0; i < old_size; i++)
                if (!is_empty(&old[i]))
                        put(index, hash_of(index, &old[i]), old[i]);
        slots_free(old, old_size);
        return 0;
}

/* So many may be in so many slots. */
static size_t most(size_t size) {
        return size / 6 * 5;
}

void gw_index_expect(struct gw_index *index, size_t count) {
        size_t size = count / 5 * 6 + INDEX_FIRST_SIZE;

        if (size > index->size)
                resize(index, size);
}

/* From `place` on: the slot of that hash whose element matches; without a key: the first of that tag. NULL: none. */
static const struct gw_index_slot *probe(const struct gw_index *index, uint64_t hash, const void *key) {
        uint16_t tag = tag_of(hash, 0);

        if (!index->count)
                return NULL;
        for (size_t place = place_of(index, hash);; place = after(index, place)) {
                const struct gw_index_slot *slot = &index->slots[place];

                if (is_empty(slot))
                        return NULL;
                if ((slot->tag & ~NTH_MASK) == tag &&
                    (!key || index->match(element_of(index, slot), nth_of(slot), key)))
                        return slot;
        }
}

void *gw_index_find(const struct gw_index *index, uint64_t hash, const void *key) {
        const struct gw_index_slot *slot = probe(index, hash, key);

        return slot ? element_of(index, slot) : NULL;
}

int gw_index_insert(struct gw_index *index, uint64_t hash, void *element, unsigned nth) {
        int r;

        if (index->count + 1 > most(index->size)) {
                r = resize(index, index->size + index->size / 2);
                if (r < 0)
                        return r;
        }
        put(index, hash, slot_of(hash, element, nth));
        index->count++;
        return 0;
}

static size_t distance(const struct gw_index *index, size_t from, size_t to) {
        return to >= from ? to - from : to + index->size - from;
}

/* What follows the hole without a gap moves into it, unless that would be before its own place. */
static void close_hole(struct gw_index *index, size_t hole) {
        for (size_t at = after(index, hole); !is_empty(&index->slots[at]); at = after(index, at)) {
                size_t home = place_of(index, hash_of(index, &index->slots[at]));

                if (distance(index, home, at) < distance(index, hole, at))
                        continue;
                index->slots[hole] = index->slots[at];
                hole = at;
        }
        index->slots[hole] = (struct gw_index_slot){0};
}

void gw_index_remove(struct gw_index *index, uint64_t hash, const void *element, unsigned nth) {
        struct gw_index_slot wanted = slot_of(hash, element, nth), *slots = index->slots;
        size_t place = place_of(index, hash);

        while (!is_empty(&slots[place]) && memcmp(&slots[place], &wanted, sizeof wanted) != 0)
                place = after(index, place);
        if (is_empty(&slots[place]))
                return;
        close_hole(index, place);
        index->count--;
}

void gw_index_fetch(const struct gw_index *index, uint64_t hash) {
        __builtin_prefetch(&index->slots[place_of(index, hash)]);
}

const void *gw_index_likely(const struct gw_index *index, uint64_t hash) {
        const struct gw_index_slot *slot = probe(index, hash, NULL);

        return slot ? element_of(index, slot) : NULL;
}

void gw_index_each(const struct gw_index *index, void (*each)(void *element, unsigned nth, void *user), void *user) {
        for (size_t i = 0; i < index->size; i++)
                if (!is_empty(&index->slots[i]))
                        each(element_of(index, &index->slots[i]), nth_of(&index->slots[i]), user);
}
