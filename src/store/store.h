/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an authority or an edge keeps what must survive a crash. Tables of
 * key -> value octets. Puts and deletes are staged; gw_store_commit makes all
 * that was staged durable at once (group commit) and nothing staged is visible
 * to a restart before. Callers encode; the store does not look inside.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

struct gw_store;

/* The numbers are on disk: never reuse one. */
enum gw_store_table {
        GW_STORE_META = 0, /* format version, restart counter */
        GW_STORE_TENANT,
        GW_STORE_VN,
        GW_STORE_NVE,
        GW_STORE_VM,
        GW_STORE_PORT,
        GW_STORE_BINDING,
        GW_STORE_MOVE, /* journal and evidence */
        GW_STORE_RULE,
        GW_STORE_HISTORY, /* who was told of a VM's moves */
        GW_STORE_DRAIN,   /* hosts that are being drained */
        GW_STORE_POLICY,
        GW_STORE_TABLES,
};

struct gw_store_ops {
        int (*put)(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                   size_t nval);
        int (*del)(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey); /* 0 also when absent */
        int (*commit)(struct gw_store *s);
        /* Committed and staged alike, in key order; `each` returning non-zero stops and is returned. */
        int (*each)(struct gw_store *s, enum gw_store_table t,
                    int (*each)(const void *key, size_t nkey, const void *val, size_t nval, void *user), void *user);
        /* One value, committed or staged: copies up to `room` octets of it. Its size; -ENOENT. */
        ssize_t (*get)(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, void *out, size_t room);
        size_t (*count)(struct gw_store *s, enum gw_store_table t); /* of keys, committed and staged */
        void (*free)(struct gw_store *s);
};

struct gw_store {
        const struct gw_store_ops *ops;
}; /* embedded first by each backend */

int gw_store_memory_new(struct gw_store **out);
int gw_store_lmdb_new(struct gw_store **out, const char *directory); /* made, mode 0700, when absent; -EBUSY: in use */
int gw_store_journal_new(struct gw_store **out, const char *directory); /* the same, with a journal before it */

/* Negative errno only. A failed commit leaves the store unusable: end the daemon. */
static inline int gw_store_put(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                               size_t nval) {
        return s->ops->put(s, t, key, nkey, val, nval);
}
static inline int gw_store_del(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey) {
        return s->ops->del(s, t, key, nkey);
}
static inline int gw_store_commit(struct gw_store *s) {
        return s->ops->commit(s);
}
static inline int gw_store_each(struct gw_store *s, enum gw_store_table t,
                                int (*each)(const void *, size_t, const void *, size_t, void *), void *user) {
        return s->ops->each(s, t, each, user);
}
static inline ssize_t gw_store_get(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, void *out,
                                   size_t room) {
        return s->ops->get(s, t, key, nkey, out, room);
}
static inline size_t gw_store_count(struct gw_store *s, enum gw_store_table t) {
        return s->ops->count(s, t);
}
static inline void gw_store_free(struct gw_store *s) {
        if (s)
                s->ops->free(s);
}
