/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deadlines in order: a binary heap of pointers to timers embedded in their
 * elements. Room is promised when an element is made, so that setting a timer
 * cannot fail. Setting, moving and clearing are O(log n).
 */
#pragma once

#include <stdint.h>

#include "base/time.h"

struct gw_deadline {
        struct gw_mono at;
        uint32_t place; /* in the heap, counted from 1; 0: not set */
        uint8_t kind;   /* the owner's word for what it is embedded in */
};

struct gw_heap {
        struct gw_deadline **timers;
        uint32_t count, promised, size;
};

int gw_heap_promise(struct gw_heap *heap);                            /* room for one timer more; -ENOMEM */
void gw_heap_forget(struct gw_heap *heap, struct gw_deadline *timer); /* clears it and takes the promise back */
void gw_heap_set(struct gw_heap *heap, struct gw_deadline *timer, struct gw_mono at);
void gw_heap_clear(struct gw_heap *heap, struct gw_deadline *timer); /* harmless when not set */
struct gw_deadline *gw_heap_first(const struct gw_heap *heap);       /* NULL when empty */
void gw_heap_deinit(struct gw_heap *heap);
