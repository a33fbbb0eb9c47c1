/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binary heap of Williams (1964). timers[1] is the earliest; the parent of
 * place n is n / 2. Each timer knows its place, so that it can be moved or
 * taken out without a search.
 *
 * The array is as long as the promises made, never shorter than the count.
 */
#include "directory/heap.h"

#include <errno.h>
#include <stdlib.h>

enum { HEAP_FIRST_SIZE = 64 };

int gw_heap_promise(struct gw_heap *heap) {
        uint32_t size = heap->size ? heap->size * 2 : HEAP_FIRST_SIZE;
        struct gw_deadline **timers;

        if (heap->promised + 1 >= heap->size) {
                timers = reallocarray(heap->timers, size, sizeof *timers);
                if (!timers)
                        return -ENOMEM;
                heap->timers = timers;
                heap->size = size;
        }
        heap->promised++;
        return 0;
}

static void put(struct gw_heap *heap, uint32_t place, struct gw_deadline *timer) {
        heap->timers[place] = timer;
        timer->place = place;
}

static void sift_up(struct gw_heap *heap, struct gw_deadline *timer, uint32_t place) {
        while (place > 1 && heap->timers[place / 2]->at.ns > timer->at.ns) {
                put(heap, place, heap->timers[place / 2]);
                place /= 2;
        }
        put(heap, place, timer);
}

static void sift_down(struct gw_heap *heap, struct gw_deadline *timer, uint32_t place) {
        uint32_t child;

        while ((child = place * 2) <= heap->count) {
                if (child < heap->count && heap->timers[child + 1]->at.ns < heap->timers[child]->at.ns)
                        child++;
                if (heap->timers[child]->at.ns >= timer->at.ns)
                        break;
                put(heap, place, heap->timers[child]);
                place = child;
        }
        put(heap, place, timer);
}

/* Puts a timer that has a wrong time for its place where it belongs. */
static void settle(struct gw_heap *heap, struct gw_deadline *timer, uint32_t place) {
        if (place > 1 && heap->timers[place / 2]->at.ns > timer->at.ns)
                sift_up(heap, timer, place);
        else
                sift_down(heap, timer, place);
}

void gw_heap_set(struct gw_heap *heap, struct gw_deadline *timer, struct gw_mono at) {
        timer->at = at;
        if (timer->place)
                settle(heap, timer, timer->place);
        else
                sift_up(heap, timer, ++heap->count);
}

void gw_heap_clear(struct gw_heap *heap, struct gw_deadline *timer) {
        struct gw_deadline *last;
        uint32_t place = timer->place;

        if (!place)
                return;
        timer->place = 0;
        last = heap->timers[heap->count--];
        if (last != timer)
                settle(heap, last, place);
}

void gw_heap_forget(struct gw_heap *heap, struct gw_deadline *timer) {
        gw_heap_clear(heap, timer);
        heap->promised--;
}

struct gw_deadline *gw_heap_first(const struct gw_heap *heap) {
        return heap->count ? heap->timers[1] : NULL;
}

void gw_heap_deinit(struct gw_heap *heap) {
        free(heap->timers);
        *heap = (struct gw_heap){0};
}
