/* SPDX-License-Identifier: Apache-2.0 */
/* Brings what a journal holds into the store behind it, in a thread of its own. Private to src/store. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/overlay.h"
#include "store/store.h"

struct gw_fold {
        struct gw_store *base; /* written by the thread alone, from start to stop */
        int folder;
        pthread_t thread;
        pthread_mutex_t mutex;
        pthread_cond_t changed;
        struct gw_overlay *work; /* NULL: idle */
        uint64_t number;         /* of the segment that it came with */
        int result;              /* of the last work */
        bool ending;
};

int gw_fold_start(struct gw_fold *fold, struct gw_store *base, int folder);
void gw_fold_stop(struct gw_fold *fold); /* what is under way is ended first */
/* The overlay is read until the work is done; the fold must be idle. */
void gw_fold_give(struct gw_fold *fold, struct gw_overlay *work, uint64_t number);
bool gw_fold_is_idle(struct gw_fold *fold, int *result);
int gw_fold_wait(struct gw_fold *fold); /* until idle; the result */

/* The same, here and now, while no thread runs. */
int gw_fold_now(struct gw_store *base, int folder, struct gw_overlay *work, uint64_t number);
