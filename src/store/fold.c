/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One overlay at a time: its entries are put into the store behind in order of their keys, so that a page is touched
 * once however many of its bindings were refreshed, and committed; only when that is durable the segment they are
 * from is removed, for good, before the next one's turn comes. A crash anywhere between leaves the segment, and
 * putting the same again changes nothing.
 *
 * The mutex guards the hand-over alone. The overlay is the thread's to read from `give` until `work` is NULL again.
 */
#include "store/fold.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "store/segment.h"

static int put_all(struct gw_store *base, const struct gw_overlay_entry **list, size_t n) {
        int r = 0;

        for (size_t i = 0; i < n && r == 0; i++) {
                const struct gw_overlay_entry *e = list[i];

                r = e->gone ? gw_store_del(base, (enum gw_store_table)e->table, e->octets, e->key_size)
                            : gw_store_put(base, (enum gw_store_table)e->table, e->octets, e->key_size,
                                           e->octets + e->key_size, e->value_size);
        }
        return r ? r : gw_store_commit(base);
}

int gw_fold_now(struct gw_store *base, int folder, struct gw_overlay *work, uint64_t number) {
        const struct gw_overlay_entry **list = calloc(work->entries.count + 1, sizeof(struct gw_overlay_entry *));
        size_t n = 0;
        int r;

        if (!list)
                return -ENOMEM;
        gw_overlay_collect(work, GW_STORE_TABLES, NULL, list, &n);
        gw_overlay_sort(list, n);
        r = put_all(base, list, n);
        free(list);
        return r ? r : gw_segment_remove(folder, number);
}

static void *run(void *user) {
        struct gw_fold *fold = user;

        pthread_mutex_lock(&fold->mutex);
        while (fold->work || !fold->ending) {
                int r;

                if (!fold->work) {
                        pthread_cond_wait(&fold->changed, &fold->mutex);
                        continue;
                }
                pthread_mutex_unlock(&fold->mutex);
                r = gw_fold_now(fold->base, fold->folder, fold->work, fold->number);
                pthread_mutex_lock(&fold->mutex);
                fold->result = r;
                fold->work = NULL;
                pthread_cond_broadcast(&fold->changed);
        }
        pthread_mutex_unlock(&fold->mutex);
        return NULL;
}

int gw_fold_start(struct gw_fold *fold, struct gw_store *base, int folder) {
        sigset_t all, old;
        int r;

        memset(fold, 0, sizeof *fold);
        fold->base = base;
        fold->folder = folder;
        pthread_mutex_init(&fold->mutex, NULL);
        pthread_cond_init(&fold->changed, NULL);
        sigfillset(&all); /* signals are the daemon's loop's */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        r = pthread_create(&fold->thread, NULL, run, fold);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        return -r;
}

void gw_fold_stop(struct gw_fold *fold) {
        pthread_mutex_lock(&fold->mutex);
        fold->ending = true;
        pthread_cond_broadcast(&fold->changed);
        pthread_mutex_unlock(&fold->mutex);
        pthread_join(fold->thread, NULL);
        pthread_cond_destroy(&fold->changed);
        pthread_mutex_destroy(&fold->mutex);
}

void gw_fold_give(struct gw_fold *fold, struct gw_overlay *work, uint64_t number) {
        pthread_mutex_lock(&fold->mutex);
        fold->work = work;
        fold->number = number;
        pthread_cond_broadcast(&fold->changed);
        pthread_mutex_unlock(&fold->mutex);
}

bool gw_fold_is_idle(struct gw_fold *fold, int *result) {
        bool idle;

        pthread_mutex_lock(&fold->mutex);
        idle = !fold->work;
        *result = fold->result;
        pthread_mutex_unlock(&fold->mutex);
        return idle;
}

int gw_fold_wait(struct gw_fold *fold) {
        int r;

        pthread_mutex_lock(&fold->mutex);
        while (fold->work)
                pthread_cond_wait(&fold->changed, &fold->mutex);
        r = fold->result;
        pthread_mutex_unlock(&fold->mutex);
        return r;
}
