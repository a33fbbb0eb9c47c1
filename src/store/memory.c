/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in memory: for tests and simulations, which restart an authority from
 * it in the same process, and for an authority that need not survive.
 *
 * Each table is a sorted array of entries; look-ups are binary searches. An
 * entry has what is committed and what is staged side by side, so that
 * gw_store_memory_crash can do what a power failure does to a real store:
 * forget everything staged since the last commit.
 *
 * The store owns the octets; what `each` hands out is good during the call.
 */
#include "store/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct value {
        void *octets; /* NULL: absent */
        size_t size;
};

struct entry {
        struct value committed, staged;
        bool dirty; /* .staged holds and differs */
        size_t key_size;
        uint8_t key[];
};

struct table {
        struct entry **entries;
        size_t count, size;
};

struct memory {
        struct gw_store store;
        struct table tables[GW_STORE_TABLES];
};

static struct memory *memory_of(struct gw_store *s) {
        return (struct memory *)s;
}

static int key_compare(const struct entry *e, const void *key, size_t size) {
        int r = memcmp(e->key, key, e->key_size < size ? e->key_size : size);

        return r ? r : (e->key_size > size) - (e->key_size < size);
}

/* Where the key is, or belongs. */
static size_t search(const struct table *t, const void *key, size_t size, bool *found) {
        size_t low = 0, high = t->count, middle;
        int r;

        *found = false;
        while (low < high) {
                middle = (low + high) / 2;
                r = key_compare(t->entries[middle], key, size);
                if (r == 0)
                        *found = true;
                if (r < 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static int insert(struct table *t, size_t at, const void *key, size_t key_size, struct entry **out) {
        struct entry *e, **entries;

        if (t->count == t->size) {
                entries = reallocarray(t->entries, t->size ? t->size * 2 : 16, sizeof *entries);
                if (!entries)
                        return -ENOMEM;
                t->entries = entries;
                t->size = t->size ? t->size * 2 : 16;
        }
        e = calloc(1, sizeof *e + key_size);
        if (!e)
                return -ENOMEM;
        e->key_size = key_size;
        memcpy(e->key, key, key_size);
        memmove(t->entries + at + 1, t->entries + at, (t->count - at) * sizeof *t->entries);
        t->entries[at] = e;
        t->count++;
        *out = e;
        return 0;
}

static void stage(struct entry *e, void *octets, size_t size) {
        if (e->dirty)
                free(e->staged.octets);
        e->staged = (struct value){octets, size};
        e->dirty = true;
}

static int memory_put(struct gw_store *s, enum gw_store_table table, const void *key, size_t nkey, const void *val,
                      size_t nval) {
        struct table *t = &memory_of(s)->tables[table];
        void *copy = malloc(nval ? nval : 1);
        struct entry *e;
        bool found;
        size_t at;

        if (!copy)
                return -ENOMEM;
        at = search(t, key, nkey, &found);
        if (found) {
                e = t->entries[at];
        } else if (insert(t, at, key, nkey, &e) < 0) {
                free(copy);
                return -ENOMEM;
        }
        memcpy(copy, nval ? val : "", nval);
        stage(e, copy, nval);
        return 0;
}

static int memory_del(struct gw_store *s, enum gw_store_table table, const void *key, size_t nkey) {
        struct table *t = &memory_of(s)->tables[table];
        bool found;
        size_t at = search(t, key, nkey, &found);

        if (found)
                stage(t->entries[at], NULL, 0);
        return 0;
}

/* Ends what is staged in a table, for or against it. */
static void settle(struct table *t, bool keep) {
        size_t left = 0;

        for (size_t i = 0; i < t->count; i++) {
                struct entry *e = t->entries[i];

                if (e->dirty && keep) {
                        free(e->committed.octets);
                        e->committed = e->staged;
                } else if (e->dirty) {
                        free(e->staged.octets);
                }
                e->dirty = false;
                if (e->committed.octets)
                        t->entries[left++] = e;
                else
                        free(e);
        }
        t->count = left;
}

static int memory_commit(struct gw_store *s) {
        for (int i = 0; i < GW_STORE_TABLES; i++)
                settle(&memory_of(s)->tables[i], true);
        return 0;
}

void gw_store_memory_crash(struct gw_store *s) {
        for (int i = 0; i < GW_STORE_TABLES; i++)
                settle(&memory_of(s)->tables[i], false);
}

static int memory_each(struct gw_store *s, enum gw_store_table table,
                       int (*each)(const void *, size_t, const void *, size_t, void *), void *user) {
        struct table *t = &memory_of(s)->tables[table];
        int r = 0;

        for (size_t i = 0; i < t->count && r == 0; i++) {
                const struct entry *e = t->entries[i];
                const struct value *v = e->dirty ? &e->staged : &e->committed;

                if (v->octets)
                        r = each(e->key, e->key_size, v->octets, v->size, user);
        }
        return r;
}

static ssize_t memory_get(struct gw_store *s, enum gw_store_table table, const void *key, size_t nkey, void *out,
                          size_t room) {
        struct table *t = &memory_of(s)->tables[table];
        const struct value *v = NULL;
        bool found;
        size_t at = search(t, key, nkey, &found);

        if (found)
                v = t->entries[at]->dirty ? &t->entries[at]->staged : &t->entries[at]->committed;
        if (!v || !v->octets)
                return -ENOENT;
        memcpy(out, v->octets, v->size < room ? v->size : room);
        return (ssize_t)v->size;
}

static int count_one(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        (void)key, (void)nkey, (void)val, (void)nval;
        ++*(size_t *)user;
        return 0;
}

static size_t memory_count(struct gw_store *s, enum gw_store_table table) {
        size_t n = 0;

        memory_each(s, table, count_one, &n);
        return n;
}

static void memory_free(struct gw_store *s) {
        struct memory *m = memory_of(s);

        for (int i = 0; i < GW_STORE_TABLES; i++) {
                settle(&m->tables[i], false);
                for (size_t k = 0; k < m->tables[i].count; k++) {
                        free(m->tables[i].entries[k]->committed.octets);
                        free(m->tables[i].entries[k]);
                }
                free(m->tables[i].entries);
        }
        free(m);
}

static const struct gw_store_ops memory_ops = {.put = memory_put,
                                               .del = memory_del,
                                               .commit = memory_commit,
                                               .each = memory_each,
                                               .get = memory_get,
                                               .count = memory_count,
                                               .free = memory_free};

int gw_store_memory_new(struct gw_store **out) {
        struct memory *m = calloc(1, sizeof *m);

        if (!m)
                return -ENOMEM;
        m->store.ops = &memory_ops;
        *out = &m->store;
        return 0;
}
