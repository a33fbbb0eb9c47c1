/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open addressing with linear probing. A slot is one word: 16 bits of the hash,
 * 44 bits of the element's address (user addresses of Linux have 47 bits unless
 * one asks for more, and the lowest four are zero), 4 bits of nth; 0 is empty.
 * So an element that is not the one looked for is hardly ever touched.
 *
 * The place of a hash is its upper half scaled to the size, which need not be a
 * power of two: it grows by half at a load of three quarters. A removal closes
 * the gap by moving back what may move, so that there are no tombstones.
 */
#include "base/index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/table.h"

enum { HUGE_PAGE_OCTETS = 2 << 20 };
enum { INDEX_FIRST_SIZE = 16, NTH_MASK = GW_INDEX_NTH_MAX - 1, TAG_SHIFT = 48 };
#define ADDRESS_MASK ((UINT64_C(1) << TAG_SHIFT) - 1 - NTH_MASK)

static uint64_t slot_of(uint64_t hash, const void *element, unsigned nth) {
        uint64_t address = (uint64_t)(uintptr_t)element;

        assert((address & ~ADDRESS_MASK) == 0 && nth < GW_INDEX_NTH_MAX);
        return hash << TAG_SHIFT | address | nth;
}

static void *element_of(uint64_t slot) {
        return (void *)(uintptr_t)(slot & ADDRESS_MASK);
}

static size_t place_of(const struct gw_index *index, uint64_t hash) {
        return (size_t)((hash >> 32) * index->size >> 32);
}

static size_t after(const struct gw_index *index, size_t place) {
        return place + 1 < index->size ? place + 1 : 0;
}

/* Zeroed. A large index is entered at random, and each page that it has needs a place in the processor's table of pages. */
static uint64_t *slots_new(size_t size) {
        size_t octets = size * sizeof(uint64_t);
        uint64_t *slots;

        if (octets < 2 * HUGE_PAGE_OCTETS)
                return calloc(size, sizeof *slots);
        octets = (octets + HUGE_PAGE_OCTETS - 1) / HUGE_PAGE_OCTETS * HUGE_PAGE_OCTETS;
        slots = aligned_alloc(HUGE_PAGE_OCTETS, octets);
        if (!slots)
                return NULL;
        madvise(slots, octets, MADV_HUGEPAGE); /* a hint: what there is none of is as it was */
        memset(slots, 0, octets);
        return slots;
}

int gw_index_init(struct gw_index *index, const uint64_t seed[2],
                  uint64_t (*hash)(const struct gw_index *, const void *, unsigned),
                  bool (*match)(const void *, unsigned, const void *)) {
        *index = (struct gw_index){.size = INDEX_FIRST_SIZE, .key = {seed[0], seed[1]}, .hash = hash, .match = match};
        index->slots = slots_new(index->size);
        return index->slots ? 0 : -ENOMEM;
}

void gw_index_deinit(struct gw_index *index) {
        free(index->slots);
        *index = (struct gw_index){0};
}

uint64_t gw_index_hash(const struct gw_index *index, const void *bytes, size_t n) {
        return gw_hash(index->key, bytes, n);
}

static void put(struct gw_index *index, uint64_t hash, uint64_t slot) {
        size_t place = place_of(index, hash);

        while (index->slots[place])
                place = after(index, place);
        index->slots[place] = slot;
}

static int resize(struct gw_index *index, size_t size) {
        uint64_t *old = index->slots;
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
                if (old[i])
                        put(index, index->hash(index, element_of(old[i]), old[i] & NTH_MASK), old[i]);
        free(old);
        return 0;
}

void gw_index_expect(struct gw_index *index, size_t count) {
        size_t size = count / 3 * 4 + INDEX_FIRST_SIZE;

        if (size > index->size)
                resize(index, size);
}

void *gw_index_find(const struct gw_index *index, uint64_t hash, const void *key) {
        uint64_t tag = hash << TAG_SHIFT, slot;

        if (!index->count)
                return NULL;
        for (size_t place = place_of(index, hash); (slot = index->slots[place]); place = after(index, place))
                if ((slot & (UINT64_MAX << TAG_SHIFT)) == tag && index->match(element_of(slot), slot & NTH_MASK, key))
                        return element_of(slot);
        return NULL;
}

int gw_index_insert(struct gw_index *index, uint64_t hash, void *element, unsigned nth) {
        int r;

        if (index->count + 1 > index->size / 4 * 3) {
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
        uint64_t slot;

        for (size_t at = after(index, hole); (slot = index->slots[at]); at = after(index, at)) {
                size_t home = place_of(index, index->hash(index, element_of(slot), slot & NTH_MASK));

                if (distance(index, home, at) < distance(index, hole, at))
                        continue;
                index->slots[hole] = slot;
                hole = at;
        }
        index->slots[hole] = 0;
}

void gw_index_remove(struct gw_index *index, uint64_t hash, const void *element, unsigned nth) {
        uint64_t wanted = slot_of(hash, element, nth);
        size_t place = place_of(index, hash);

        while (index->slots[place] && index->slots[place] != wanted)
                place = after(index, place);
        if (!index->slots[place])
                return;
        close_hole(index, place);
        index->count--;
}

void gw_index_fetch(const struct gw_index *index, uint64_t hash) {
        __builtin_prefetch(&index->slots[place_of(index, hash)]);
}

const void *gw_index_likely(const struct gw_index *index, uint64_t hash) {
        uint64_t tag = hash << TAG_SHIFT, slot;

        if (!index->count)
                return NULL;
        for (size_t place = place_of(index, hash); (slot = index->slots[place]); place = after(index, place))
                if ((slot & (UINT64_MAX << TAG_SHIFT)) == tag)
                        return element_of(slot);
        return NULL;
}

void gw_index_each(const struct gw_index *index, void (*each)(void *element, unsigned nth, void *user), void *user) {
        for (size_t i = 0; i < index->size; i++)
                if (index->slots[i])
                        each(element_of(index->slots[i]), index->slots[i] & NTH_MASK, user);
}
