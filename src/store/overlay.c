/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hash table of entries in an arena. A value that fits where the last one was is written over it, as a refreshed
 * binding's always does; otherwise the entry is made anew and the old one's room is lost until the arena goes. An
 * overlay lives as long as one segment of the journal, whose size bounds it.
 */
#include "store/overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_OCTETS = 1 << 20, ALIGN = 8 };

struct gw_overlay_chunk {
        struct gw_overlay_chunk *next;
        size_t used, size;
        uint64_t octets[]; /* aligned for entries */
};

struct place {
        enum gw_store_table table;
        const void *key;
        size_t size;
};

static struct gw_overlay_entry *entry_of(const struct gw_table_node *node) {
        return (struct gw_overlay_entry *)((char *)(uintptr_t)node - offsetof(struct gw_overlay_entry, node));
}

static bool match(const struct gw_table_node *node, const void *key) {
        const struct gw_overlay_entry *e = entry_of(node);
        const struct place *place = key;

        return e->table == place->table && e->key_size == place->size && !memcmp(e->octets, place->key, place->size);
}

static uint64_t hash_of(const struct gw_overlay *o, enum gw_store_table t, const void *key, size_t nkey) {
        return gw_table_hash(&o->entries, key, nkey) + (uint64_t)t;
}

int gw_overlay_init(struct gw_overlay *o, const uint64_t seed[2]) {
        o->chunks = NULL;
        return gw_table_init(&o->entries, seed, match);
}

void gw_overlay_deinit(struct gw_overlay *o) {
        struct gw_overlay_chunk *next;

        for (struct gw_overlay_chunk *chunk = o->chunks; chunk; chunk = next) {
                next = chunk->next;
                free(chunk);
        }
        o->chunks = NULL;
        gw_table_deinit(&o->entries);
}

static void *allocate(struct gw_overlay *o, size_t size) {
        struct gw_overlay_chunk *chunk = o->chunks;
        void *out;

        size = (size + ALIGN - 1) / ALIGN * ALIGN;
        if (!chunk || chunk->size - chunk->used < size) {
                size_t room = size > CHUNK_OCTETS ? size : CHUNK_OCTETS;

                chunk = malloc(sizeof *chunk + room);
                if (!chunk)
                        return NULL;
                *chunk = (struct gw_overlay_chunk){.next = o->chunks, .size = room};
                o->chunks = chunk;
        }
        out = (uint8_t *)chunk->octets + chunk->used;
        chunk->used += size;
        return out;
}

static struct gw_overlay_entry *entry_new(struct gw_overlay *o, const struct place *place, size_t room) {
        struct gw_overlay_entry *e = allocate(o, sizeof *e + place->size + room);

        if (!e)
                return NULL;
        memset(e, 0, sizeof *e);
        e->key_size = (uint32_t)place->size;
        e->room = (uint32_t)room;
        e->table = (uint8_t)place->table;
        memcpy(e->octets, place->key, place->size);
        if (gw_table_insert(&o->entries, &e->node, hash_of(o, place->table, place->key, place->size)) < 0)
                return NULL;
        return e;
}

int gw_overlay_set(struct gw_overlay *o, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                   size_t nval) {
        struct place place = {t, key, nkey};
        struct gw_table_node *node = gw_table_find(&o->entries, hash_of(o, t, key, nkey), &place);
        struct gw_overlay_entry *e = node ? entry_of(node) : NULL;

        if (e && e->room < nval) {
                gw_table_remove(&o->entries, node);
                e = NULL;
        }
        if (!e)
                e = entry_new(o, &place, nval);
        if (!e)
                return -ENOMEM;
        e->gone = !val;
        e->value_size = (uint32_t)nval;
        if (val && nval)
                memcpy(e->octets + e->key_size, val, nval);
        return 0;
}

const struct gw_overlay_entry *gw_overlay_find(const struct gw_overlay *o, enum gw_store_table t, const void *key,
                                               size_t nkey) {
        struct place place = {t, key, nkey};
        struct gw_table_node *node = gw_table_find(&o->entries, hash_of(o, t, key, nkey), &place);

        return node ? entry_of(node) : NULL;
}

int gw_overlay_compare(const struct gw_overlay_entry *e, enum gw_store_table t, const void *key, size_t nkey) {
        int r = (int)e->table - (int)t;

        if (r == 0)
                r = memcmp(e->octets, key, e->key_size < nkey ? e->key_size : nkey);
        return r ? r : (e->key_size > nkey) - (e->key_size < nkey);
}

struct collection {
        enum gw_store_table table;
        const struct gw_overlay *newer;
        const struct gw_overlay_entry **list;
        size_t n;
};

static void collect(struct gw_table_node *node, void *user) {
        const struct gw_overlay_entry *e = entry_of(node);
        struct collection *c = user;

        if (c->table != GW_STORE_TABLES && c->table != e->table)
                return;
        if (!c->newer || !gw_overlay_find(c->newer, (enum gw_store_table)e->table, e->octets, e->key_size))
                c->list[c->n++] = e;
}

void gw_overlay_collect(struct gw_overlay *o, enum gw_store_table t, const struct gw_overlay *newer,
                        const struct gw_overlay_entry **list, size_t *n) {
        struct collection c = {t, newer, list, *n};

        gw_table_each(&o->entries, collect, &c);
        *n = c.n;
}

static int in_order(const void *a, const void *b) {
        const struct gw_overlay_entry *x = *(const struct gw_overlay_entry *const *)a;
        const struct gw_overlay_entry *y = *(const struct gw_overlay_entry *const *)b;

        return gw_overlay_compare(x, (enum gw_store_table)y->table, y->octets, y->key_size);
}

void gw_overlay_sort(const struct gw_overlay_entry **list, size_t n) {
        if (n)
                qsort(list, n, sizeof *list, in_order);
}
