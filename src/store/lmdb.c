/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in LMDB: one environment, one named database per table.
 *
 * Group commit: the first put or delete after a commit opens a write
 * transaction, all that follow join it, gw_store_commit ends it. LMDB writes
 * the new pages, syncs, then writes and syncs the page that makes them count;
 * so after a crash the store is as of some commit, never in between. Syncing is
 * never turned off. The directory is locked against a second daemon (-EBUSY).
 *
 * A write transaction makes its new pages in memory until the commit, and each
 * has its place in the map, so the map can be full in the middle of one; it
 * cannot grow then. So what is staged is also kept as a list, and when the map
 * is full the transaction is dropped, the map doubled, and the list played into
 * a new one. A transaction of LMDB belongs to its thread: the store must be
 * used from one, or be shared: then one thread writes, another reads, each in
 * transactions of its own, and only the map's growth keeps them apart.
 *
 * After a failed commit nothing that was staged is on disk, and what the caller
 * believes no longer agrees with it: every later call fails with the same error.
 */
#include "store/lmdb.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum {
        MAP_FIRST_OCTETS = 1 << 20,
        MAP_FREE_PERCENT = 50, /* after opening, at least so much of it is free */
};

struct staged {
        struct staged *next;
        uint8_t table;
        bool delete;
        size_t key_size, value_size;
        uint8_t octets[]; /* key, then value */
};

struct lmdb {
        struct gw_store store;
        MDB_env *env;
        MDB_txn *txn; /* open while something is staged */
        MDB_dbi tables[GW_STORE_TABLES];
        size_t map_octets;
        struct staged *first, **last;
        atomic_int failed;
        bool shared;            /* another thread than the writer's reads */
        pthread_mutex_t mapped; /* shared: held by who reads, and by who changes the map */
        int lock_fd;            /* the directory, locked: two daemons must not both decide */
};

static const char *const table_names[GW_STORE_TABLES] = {"meta",    "tenant", "vn",   "nve",     "vm",    "port",
                                                         "binding", "move",   "rule", "history", "drain", "policy"};

static struct lmdb *lmdb_of(struct gw_store *s) {
        return (struct lmdb *)s;
}

/* LMDB's own codes are negative, errno's positive. */
static int error_of(int r) {
        if (r >= 0)
                return -r;
        switch (r) {
        case MDB_MAP_FULL:
        case MDB_DBS_FULL:
        case MDB_TXN_FULL:
                return -ENOSPC;
        case MDB_BAD_VALSIZE:
                return -EINVAL;
        case MDB_VERSION_MISMATCH:
        case MDB_INVALID:
        case MDB_CORRUPTED:
        case MDB_PAGE_NOTFOUND:
                return -EBADMSG;
        default:
                return -EIO;
        }
}

/* --- what is staged --- */

static void forget_staged(struct lmdb *l) {
        struct staged *s, *next;

        for (s = l->first; s; s = next) {
                next = s->next;
                free(s);
        }
        l->first = NULL;
        l->last = &l->first;
}

static int remember(struct lmdb *l, enum gw_store_table t, const void *key, size_t nkey, const void *val, size_t nval,
                    struct staged **out) {
        struct staged *s = malloc(sizeof *s + nkey + nval);

        if (!s)
                return -ENOMEM;
        *s = (struct staged){.table = (uint8_t)t, .delete = !val, .key_size = nkey, .value_size = nval};
        if (nkey)
                memcpy(s->octets, key, nkey);
        if (val && nval)
                memcpy(s->octets + nkey, val, nval);
        *l->last = s;
        l->last = &s->next;
        *out = s;
        return 0;
}

static int apply(struct lmdb *l, const struct staged *s) {
        MDB_val key = {s->key_size, (void *)s->octets}, val = {s->value_size, (void *)(s->octets + s->key_size)};
        int r;

        if (!s->delete)
                return mdb_put(l->txn, l->tables[s->table], &key, &val, 0);
        r = mdb_del(l->txn, l->tables[s->table], &key, NULL);
        return r == MDB_NOTFOUND ? 0 : r;
}

static int replay(struct lmdb *l) {
        int r = mdb_txn_begin(l->env, NULL, 0, &l->txn);

        for (const struct staged *s = l->first; s && r == 0; s = s->next)
                r = apply(l, s);
        return r;
}

static void drop_txn(struct lmdb *l) {
        if (l->txn)
                mdb_txn_abort(l->txn);
        l->txn = NULL;
}

/* Doubles the map until all that is staged fits. The file grows only as pages are written. */
static int grow(struct lmdb *l) {
        int r = MDB_MAP_FULL;

        while (r == MDB_MAP_FULL) {
                drop_txn(l);
                if (l->map_octets > SIZE_MAX / 4)
                        return MDB_MAP_FULL;
                l->map_octets *= 2;
                pthread_mutex_lock(&l->mapped);
                r = mdb_env_set_mapsize(l->env, l->map_octets);
                pthread_mutex_unlock(&l->mapped);
                if (r == 0)
                        r = replay(l);
        }
        return r;
}

/* LMDB says EIO where a write came short, and that is how a disk becomes full. */
static bool is_full(const struct lmdb *l) {
        struct statvfs disk;

        return fstatvfs(l->lock_fd, &disk) == 0 && disk.f_bavail == 0;
}

static int fail(struct lmdb *l, int r) {
        drop_txn(l);
        forget_staged(l);
        if (r == EIO && is_full(l))
                r = ENOSPC;
        l->failed = error_of(r);
        return l->failed;
}

static int stage(struct lmdb *l, enum gw_store_table t, const void *key, size_t nkey, const void *val, size_t nval) {
        struct staged *s;
        int r;

        if (l->failed)
                return l->failed;
        if (nkey == 0 || nkey > (size_t)mdb_env_get_maxkeysize(l->env))
                return -EINVAL;
        r = remember(l, t, key, nkey, val, nval, &s);
        if (r < 0)
                return r;
        r = l->txn ? 0 : mdb_txn_begin(l->env, NULL, 0, &l->txn);
        if (r == 0)
                r = apply(l, s);
        if (r == MDB_MAP_FULL)
                r = grow(l);
        return r ? fail(l, r) : 0;
}

static int lmdb_put(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                    size_t nval) {
        return stage(lmdb_of(s), t, key, nkey, nval ? val : "", nval);
}

static int lmdb_del(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey) {
        return stage(lmdb_of(s), t, key, nkey, NULL, 0);
}

static int lmdb_commit(struct gw_store *s) {
        struct lmdb *l = lmdb_of(s);
        int r;

        if (l->failed || !l->txn)
                return l->failed;
        r = mdb_txn_commit(l->txn);
        l->txn = NULL;
        if (r == MDB_MAP_FULL) { /* the list of free pages needs room too */
                r = grow(l);
                if (r == 0) {
                        r = mdb_txn_commit(l->txn);
                        l->txn = NULL;
                }
        }
        if (r)
                return fail(l, r);
        forget_staged(l);
        return 0;
}

static int each_in(MDB_txn *txn, MDB_dbi table, int (*each)(const void *, size_t, const void *, size_t, void *),
                   void *user) {
        MDB_val key, val;
        MDB_cursor *cursor;
        int r = mdb_cursor_open(txn, table, &cursor);

        if (r)
                return error_of(r);
        for (r = mdb_cursor_get(cursor, &key, &val, MDB_FIRST); r == 0;
             r = mdb_cursor_get(cursor, &key, &val, MDB_NEXT)) {
                int stop = each(key.mv_data, key.mv_size, val.mv_data, val.mv_size, user);

                if (stop) {
                        mdb_cursor_close(cursor);
                        return stop;
                }
        }
        mdb_cursor_close(cursor);
        return r == MDB_NOTFOUND ? 0 : error_of(r);
}

/* Begins reading: in the transaction that is open, or in one of its own. */
static int reader_begin(struct lmdb *l, MDB_txn **own, MDB_txn **txn) {
        int r;

        *own = NULL;
        if (!l->shared && l->txn) {
                *txn = l->txn;
                return 0;
        }
        if (l->shared)
                pthread_mutex_lock(&l->mapped);
        r = mdb_txn_begin(l->env, NULL, MDB_RDONLY, own);
        if (r && l->shared)
                pthread_mutex_unlock(&l->mapped);
        *txn = *own;
        return r;
}

static void reader_end(struct lmdb *l, MDB_txn *own) {
        if (!own)
                return;
        mdb_txn_abort(own);
        if (l->shared)
                pthread_mutex_unlock(&l->mapped);
}

static int lmdb_each(struct gw_store *s, enum gw_store_table t,
                     int (*each)(const void *, size_t, const void *, size_t, void *), void *user) {
        struct lmdb *l = lmdb_of(s);
        MDB_txn *own, *txn;
        int r;

        if (l->failed)
                return l->failed;
        r = reader_begin(l, &own, &txn);
        if (r)
                return error_of(r);
        r = each_in(txn, l->tables[t], each, user);
        reader_end(l, own);
        return r;
}

static ssize_t lmdb_get(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, void *out,
                        size_t room) {
        MDB_val k = {nkey, (void *)(uintptr_t)key}, val;
        struct lmdb *l = lmdb_of(s);
        MDB_txn *own, *txn;
        int r;

        if (l->failed)
                return l->failed;
        if (nkey == 0 || nkey > (size_t)mdb_env_get_maxkeysize(l->env))
                return -ENOENT;
        r = reader_begin(l, &own, &txn);
        if (r)
                return error_of(r);
        r = mdb_get(txn, l->tables[t], &k, &val);
        if (r == 0)
                memcpy(out, val.mv_data, val.mv_size < room ? val.mv_size : room);
        reader_end(l, own);
        if (r == MDB_NOTFOUND)
                return -ENOENT;
        return r ? error_of(r) : (ssize_t)val.mv_size;
}

static size_t lmdb_count(struct gw_store *s, enum gw_store_table t) {
        struct lmdb *l = lmdb_of(s);
        MDB_txn *own, *txn;
        MDB_stat stat = {0};

        if (l->failed || reader_begin(l, &own, &txn))
                return 0;
        mdb_stat(txn, l->tables[t], &stat);
        reader_end(l, own);
        return stat.ms_entries;
}

void gw_store_lmdb_share(struct gw_store *store) {
        lmdb_of(store)->shared = true;
}

static void lmdb_free(struct gw_store *s) {
        struct lmdb *l = lmdb_of(s);

        drop_txn(l);
        forget_staged(l);
        mdb_env_close(l->env);
        close(l->lock_fd);
        pthread_mutex_destroy(&l->mapped);
        free(l);
}

static const struct gw_store_ops lmdb_ops = {.put = lmdb_put,
                                             .del = lmdb_del,
                                             .commit = lmdb_commit,
                                             .each = lmdb_each,
                                             .get = lmdb_get,
                                             .count = lmdb_count,
                                             .free = lmdb_free};

/* --- opening --- */

static int open_tables(struct lmdb *l) {
        MDB_txn *txn;
        int r = mdb_txn_begin(l->env, NULL, 0, &txn);

        if (r)
                return r;
        for (int i = 0; i < GW_STORE_TABLES && r == 0; i++)
                r = mdb_dbi_open(txn, table_names[i], MDB_CREATE, &l->tables[i]);
        if (r) {
                mdb_txn_abort(txn);
                return r;
        }
        return mdb_txn_commit(txn);
}

/* Room before it is needed: growing costs a replay. */
static int size_map(struct lmdb *l) {
        MDB_envinfo info;
        MDB_stat stat;
        size_t used;
        int r = mdb_env_info(l->env, &info);

        if (r == 0)
                r = mdb_env_stat(l->env, &stat);
        if (r)
                return r;
        used = (info.me_last_pgno + 1) * stat.ms_psize;
        l->map_octets = MAP_FIRST_OCTETS;
        while (used > l->map_octets / 100 * (100 - MAP_FREE_PERCENT))
                l->map_octets *= 2;
        return mdb_env_set_mapsize(l->env, l->map_octets);
}

static int lock_directory(struct lmdb *l, const char *directory) {
        if (mkdir(directory, 0700) < 0 && errno != EEXIST)
                return errno;
        l->lock_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (l->lock_fd < 0)
                return errno;
        if (flock(l->lock_fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        close(l->lock_fd);
        return EBUSY;
}

int gw_store_lmdb_new(struct gw_store **out, const char *directory) {
        struct lmdb *l = calloc(1, sizeof *l);
        int r;

        if (!l)
                return -ENOMEM;
        l->store.ops = &lmdb_ops;
        l->last = &l->first;
        pthread_mutex_init(&l->mapped, NULL);
        r = lock_directory(l, directory);
        if (r)
                goto no_lock;
        r = mdb_env_create(&l->env);
        if (r)
                goto no_env;
        r = mdb_env_set_maxdbs(l->env, GW_STORE_TABLES);
        if (r == 0)
                r = mdb_env_open(l->env, directory, 0, 0600);
        if (r == 0)
                r = size_map(l);
        if (r == 0)
                r = open_tables(l);
        if (r)
                goto no_tables;
        *out = &l->store;
        return 0;

no_tables:
        mdb_env_close(l->env);
no_env:
        close(l->lock_fd);
no_lock:
        pthread_mutex_destroy(&l->mapped);
        free(l);
        return error_of(r);
}
