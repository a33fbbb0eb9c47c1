/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in LMDB with a journal before it. A commit appends all that was staged to a file and syncs that: one
 * sequential write, where LMDB would write each page that is touched, twice over in different places of the disk.
 * Reads see what is in the journal over what is in LMDB.
 *
 * The journal is a row of segments (segment.h). The newest is written to, and what it holds is in the overlay
 * `active`. At fold_octets it gets a successor, its overlay becomes `frozen`, and a thread (fold.h) brings that into
 * LMDB and removes the segment. If that thread falls behind by BEHIND segments, commits wait for it: what a start has
 * to read again is bounded.
 *
 * Opening reads what segments there are into LMDB, in order, and removes them; closing brings the rest there. So a
 * store that was closed is LMDB alone, and one of before this file existed loads as it is.
 *
 * Who writes what: `active` and the segment, the caller's thread; LMDB, the fold's while there is one; `frozen`,
 * nobody, and both read it. After a failure every later call fails with the same error: what the caller believes is
 * no longer what a restart will find.
 */
#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/log.h"
#include "store/fold.h"
#include "store/lmdb.h"
#include "store/segment.h"

enum {
        KEY_MAX = 511, /* LMDB's */
        BATCH_FIRST_OCTETS = 64 << 10,
        BATCH_KEPT_OCTETS = 4 << 20, /* a larger one's room is given back */
        BEHIND = 4,
};

struct record {
        uint32_t value_size;
        uint16_t key_size;
        uint8_t table, gone;
};

struct journal {
        struct gw_store store;
        struct gw_store *base;
        int folder;
        uint64_t seed[2];
        size_t fold_octets;
        struct gw_segment segment;
        uint64_t next_segment, next_batch;
        struct gw_overlay active, frozen;
        struct gw_fold fold;
        bool folding;   /* `frozen` holds something */
        uint8_t *batch; /* head of the segment's, then records: what is staged */
        size_t batch_size, batch_capacity;
        int failed;
};

static struct journal *journal_of(struct gw_store *s) {
        return (struct journal *)s;
}

static int fail(struct journal *j, int r) {
        j->failed = r;
        return r;
}

/* --- staging --- */

static int reserve(struct journal *j, size_t more) {
        size_t capacity = j->batch_capacity ? j->batch_capacity : BATCH_FIRST_OCTETS;
        uint8_t *grown;

        if (j->batch_size == 0)
                j->batch_size = GW_SEGMENT_HEAD;
        if (more > UINT32_MAX - j->batch_size)
                return -EFBIG;
        while (capacity < j->batch_size + more)
                capacity *= 2;
        if (capacity == j->batch_capacity)
                return 0;
        grown = realloc(j->batch, capacity);
        if (!grown)
                return -ENOMEM;
        j->batch = grown;
        j->batch_capacity = capacity;
        return 0;
}

static void append(struct journal *j, const void *octets, size_t size) {
        if (octets && size)
                memcpy(j->batch + j->batch_size, octets, size);
        j->batch_size += size;
}

static int stage(struct journal *j, enum gw_store_table t, const void *key, size_t nkey, const void *val, size_t nval) {
        struct record record = {(uint32_t)nval, (uint16_t)nkey, (uint8_t)t, !val};
        int r;

        if (j->failed)
                return j->failed;
        if (nkey == 0 || nkey > KEY_MAX)
                return -EINVAL;
        r = reserve(j, sizeof record + nkey + nval);
        if (r == 0)
                r = gw_overlay_set(&j->active, t, key, nkey, val, nval);
        if (r)
                return fail(j, r);
        append(j, &record, sizeof record);
        append(j, key, nkey);
        append(j, val, nval);
        return 0;
}

static int journal_put(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, const void *val,
                       size_t nval) {
        return stage(journal_of(s), t, key, nkey, nval ? val : "", nval);
}

static int journal_del(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey) {
        return stage(journal_of(s), t, key, nkey, NULL, 0);
}

/* --- committing --- */

/* What the thread has done is in LMDB, and its overlay of no more use. */
static int reap(struct journal *j, bool wait) {
        int r = 0;

        if (!j->folding)
                return 0;
        if (wait)
                r = gw_fold_wait(&j->fold);
        else if (!gw_fold_is_idle(&j->fold, &r))
                return 0;
        gw_overlay_deinit(&j->frozen);
        j->folding = false;
        return r;
}

static int turn_over(struct journal *j) {
        struct gw_overlay fresh;
        int r = gw_overlay_init(&fresh, j->seed);

        if (r)
                return r;
        gw_segment_close(&j->segment);
        j->frozen = j->active;
        j->active = fresh;
        j->folding = true;
        gw_fold_give(&j->fold, &j->frozen, j->segment.number);
        return 0;
}

static int write_batch(struct journal *j) {
        int r = 0;

        if (j->segment.fd < 0)
                r = gw_segment_create(&j->segment, j->folder, j->next_segment++);
        if (r == 0)
                r = gw_segment_append(&j->segment, j->next_batch, j->batch, j->batch_size - GW_SEGMENT_HEAD);
        if (r)
                return r;
        j->next_batch++;
        j->batch_size = 0;
        if (j->batch_capacity > BATCH_KEPT_OCTETS) {
                free(j->batch);
                j->batch = NULL;
                j->batch_capacity = 0;
        }
        return 0;
}

static int journal_commit(struct gw_store *s) {
        struct journal *j = journal_of(s);
        int r;

        if (j->failed || !j->batch_size)
                return j->failed;
        r = reap(j, j->segment.octets >= j->fold_octets * BEHIND);
        if (r == 0)
                r = write_batch(j);
        if (r == 0 && !j->folding && j->segment.octets >= j->fold_octets)
                r = turn_over(j);
        return r ? fail(j, r) : 0;
}

/* --- reading --- */

static const struct gw_overlay_entry *find(struct journal *j, enum gw_store_table t, const void *key, size_t nkey) {
        const struct gw_overlay_entry *e = gw_overlay_find(&j->active, t, key, nkey);

        return !e && j->folding ? gw_overlay_find(&j->frozen, t, key, nkey) : e;
}

static ssize_t journal_get(struct gw_store *s, enum gw_store_table t, const void *key, size_t nkey, void *out,
                           size_t room) {
        struct journal *j = journal_of(s);
        const struct gw_overlay_entry *e;

        if (j->failed)
                return j->failed;
        e = find(j, t, key, nkey);
        if (!e)
                return gw_store_get(j->base, t, key, nkey, out, room);
        if (e->gone)
                return -ENOENT;
        memcpy(out, e->octets + e->key_size, e->value_size < room ? e->value_size : room);
        return (ssize_t)e->value_size;
}

/* LMDB's keys and the journal's, merged. */
struct merge {
        enum gw_store_table table;
        const struct gw_overlay_entry **list;
        size_t n, at;
        int (*each)(const void *, size_t, const void *, size_t, void *);
        void *user;
};

static int give(struct merge *m) {
        const struct gw_overlay_entry *e = m->list[m->at++];

        return e->gone ? 0 : m->each(e->octets, e->key_size, e->octets + e->key_size, e->value_size, m->user);
}

static int merge_one(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        struct merge *m = user;
        int order = 1, r;

        while (m->at < m->n && (order = gw_overlay_compare(m->list[m->at], m->table, key, nkey)) < 0) {
                r = give(m);
                if (r)
                        return r;
        }
        if (m->at < m->n && order == 0)
                return give(m);
        return m->each(key, nkey, val, nval, m->user);
}

static int journal_each(struct gw_store *s, enum gw_store_table t,
                        int (*each)(const void *, size_t, const void *, size_t, void *), void *user) {
        struct journal *j = journal_of(s);
        size_t most = j->active.entries.count + (j->folding ? j->frozen.entries.count : 0);
        struct merge m = {.table = t, .each = each, .user = user};
        int r;

        if (j->failed)
                return j->failed;
        m.list = calloc(most + 1, sizeof(struct gw_overlay_entry *));
        if (!m.list)
                return -ENOMEM;
        gw_overlay_collect(&j->active, t, NULL, m.list, &m.n);
        if (j->folding)
                gw_overlay_collect(&j->frozen, t, &j->active, m.list, &m.n);
        gw_overlay_sort(m.list, m.n);
        r = gw_store_each(j->base, t, merge_one, &m);
        while (r == 0 && m.at < m.n)
                r = give(&m);
        free(m.list);
        return r;
}

static int count_one(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        (void)key, (void)nkey, (void)val, (void)nval;
        ++*(size_t *)user;
        return 0;
}

/* Right after opening there is nothing in the journal, and that is when counts are asked for. */
static size_t journal_count(struct gw_store *s, enum gw_store_table t) {
        struct journal *j = journal_of(s);
        size_t n = 0;

        if (!j->active.entries.count && !j->folding)
                return gw_store_count(j->base, t);
        return journal_each(s, t, count_one, &n) ? 0 : n;
}

/* --- opening and closing --- */

static int replay_batch(const uint8_t *payload, size_t size, void *user) {
        struct gw_store *base = user;
        struct record record;
        int r = 0;

        while (size && r == 0) {
                if (size < sizeof record)
                        return -EBADMSG;
                memcpy(&record, payload, sizeof record);
                payload += sizeof record;
                size -= sizeof record;
                if (record.table >= GW_STORE_TABLES || record.key_size > size ||
                    record.value_size > size - record.key_size)
                        return -EBADMSG;
                r = record.gone ? gw_store_del(base, (enum gw_store_table)record.table, payload, record.key_size)
                                : gw_store_put(base, (enum gw_store_table)record.table, payload, record.key_size,
                                               payload + record.key_size, record.value_size);
                payload += record.key_size + record.value_size;
                size -= record.key_size + record.value_size;
        }
        return r;
}

/* A segment's removal is durable before the next is brought in: none is ever read over a newer one. */
static int recover(struct journal *j) {
        uint64_t *numbers = NULL;
        ssize_t n = gw_segment_list(j->folder, &numbers);
        int r = n < 0 ? (int)n : 0;

        for (ssize_t i = 0; i < n && r == 0; i++) {
                j->next_segment = numbers[i] + 1;
                r = gw_segment_read(j->folder, numbers[i], i == n - 1, &j->next_batch, replay_batch, j->base);
                if (r == 0)
                        r = gw_store_commit(j->base);
                if (r == 0)
                        r = gw_segment_remove(j->folder, numbers[i]);
        }
        free(numbers);
        if (n > 0 && r == 0)
                gw_log(GW_NOTICE, "the last run did not end cleanly: what its journal had is in the store again");
        if (!j->next_segment)
                j->next_segment = 1;
        if (!j->next_batch)
                j->next_batch = 1;
        return r;
}

static void journal_free(struct gw_store *s) {
        struct journal *j = journal_of(s);
        int r = reap(j, true);

        gw_fold_stop(&j->fold);
        /* What is staged and not committed must not get into LMDB; the segment has the rest for the next start. */
        if (r == 0 && !j->failed && !j->batch_size && j->segment.fd >= 0)
                gw_fold_now(j->base, j->folder, &j->active, j->segment.number);
        gw_segment_close(&j->segment);
        gw_overlay_deinit(&j->active);
        gw_store_free(j->base);
        close(j->folder);
        free(j->batch);
        free(j);
}

static const struct gw_store_ops journal_ops = {.put = journal_put,
                                                .del = journal_del,
                                                .commit = journal_commit,
                                                .each = journal_each,
                                                .get = journal_get,
                                                .count = journal_count,
                                                .free = journal_free};

/* The base is there and locked; on failure it is the caller's to free. */
static int open_journal(struct journal *j, const char *directory) {
        int r;

        j->segment.fd = -1;
        j->folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (j->folder < 0)
                return -errno;
        r = getrandom(j->seed, sizeof j->seed, 0) == (ssize_t)sizeof j->seed ? recover(j) : -EIO;
        if (r)
                goto no_seed;
        r = gw_overlay_init(&j->active, j->seed);
        if (r)
                goto no_seed;
        gw_store_lmdb_share(j->base);
        r = gw_fold_start(&j->fold, j->base, j->folder);
        if (r == 0)
                return 0;
        gw_overlay_deinit(&j->active);
no_seed:
        close(j->folder);
        return r;
}

int gw_store_journal_new_folding(struct gw_store **out, const char *directory, size_t fold_octets) {
        struct journal *j = calloc(1, sizeof *j);
        int r;

        if (!j)
                return -ENOMEM;
        j->store.ops = &journal_ops;
        j->fold_octets = fold_octets;
        r = gw_store_lmdb_new(&j->base, directory);
        if (r)
                goto no_base;
        r = open_journal(j, directory);
        if (r)
                goto no_journal;
        *out = &j->store;
        return 0;

no_journal:
        gw_store_free(j->base);
no_base:
        free(j);
        return r;
}

int gw_store_journal_new(struct gw_store **out, const char *directory) {
        return gw_store_journal_new_folding(out, directory, GW_JOURNAL_FOLD_OCTETS);
}
