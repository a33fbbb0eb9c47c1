/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A binary min-heap of pointers to embedded timers.
 *
 * Invariants: heap[1..n] is ordered as a heap by .at; heap[t->slot] == t for each
 * set timer; .kind is not 0 for each added one; size > added, so that setting
 * a timer never allocates. The heap does not own the timers: an owner removes its
 * own before it goes. Timers that are due at the same time come in any order.
 */
#include "edge/timers.h"

#include <errno.h>
#include <stdlib.h>

void gw_edge_timers_deinit(struct edge_timers *timers) {
        free(timers->heap);
        *timers = (struct edge_timers){0};
}

int gw_edge_timer_add(struct edge_timers *timers, struct edge_timer *timer, uint8_t kind) {
        if (timers->added + 2 > timers->size) {
                size_t size = timers->size ? timers->size * 2 : 64;
                struct edge_timer **heap = realloc(timers->heap, size * sizeof(void *));

                if (!heap)
                        return -ENOMEM;
                timers->heap = heap;
                timers->size = size;
        }
        timers->added++;
        *timer = (struct edge_timer){.kind = kind};
        return 0;
}

static void place(struct edge_timers *timers, size_t slot, struct edge_timer *timer) {
        timers->heap[slot] = timer;
        timer->slot = slot;
}

static void rise(struct edge_timers *timers, struct edge_timer *timer) {
        size_t slot = timer->slot;

        for (; slot > 1 && timers->heap[slot / 2]->at.ns > timer->at.ns; slot /= 2)
                place(timers, slot, timers->heap[slot / 2]);
        place(timers, slot, timer);
}

static void sink(struct edge_timers *timers, struct edge_timer *timer) {
        size_t slot = timer->slot, child;

        while ((child = slot * 2) <= timers->n) {
                if (child < timers->n && timers->heap[child + 1]->at.ns < timers->heap[child]->at.ns)
                        child++;
                if (timers->heap[child]->at.ns >= timer->at.ns)
                        break;
                place(timers, slot, timers->heap[child]);
                slot = child;
        }
        place(timers, slot, timer);
}

void gw_edge_timer_stop(struct edge_timers *timers, struct edge_timer *timer) {
        struct edge_timer *last;
        size_t slot = timer->slot;

        if (!slot)
                return;
        timer->slot = 0;
        last = timers->heap[timers->n--];
        if (last == timer)
                return;
        place(timers, slot, last);
        rise(timers, last);
        sink(timers, last);
}

void gw_edge_timer_set(struct edge_timers *timers, struct edge_timer *timer, struct gw_mono at) {
        gw_edge_timer_stop(timers, timer);
        timer->at = at;
        place(timers, ++timers->n, timer);
        rise(timers, timer);
}

void gw_edge_timer_remove(struct edge_timers *timers, struct edge_timer *timer) {
        if (!timer->kind)
                return;
        gw_edge_timer_stop(timers, timer);
        timer->kind = 0;
        timers->added--;
}

struct edge_timer *gw_edge_timers_due(struct edge_timers *timers, struct gw_mono now) {
        struct edge_timer *first = timers->n ? timers->heap[1] : NULL;

        if (!first || first->at.ns > now.ns)
                return NULL;
        gw_edge_timer_stop(timers, first);
        return first;
}

struct gw_mono gw_edge_timers_next(const struct edge_timers *timers) {
        return timers->n ? timers->heap[1]->at : (struct gw_mono){0};
}
