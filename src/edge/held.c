/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that wait: for the answer of a query, or for a VM that has not arrived.
 *
 * A queue keeps the order in which frames came. It owns copies. Memory is taken
 * frame by frame: this is the slow path, which the bounds of the callers keep
 * small (octets of all queries, octets and age for each arriving VM, memory of all
 * that waits for a take-back).
 */
#include <errno.h>
#include <stdlib.h>

#include "edge/core.h"

static size_t memory_of(const struct held_frame *held) {
        return sizeof *held + held->frame.size;
}

int gw_edge_held_push(struct held_queue *queue, struct gw_mono now, const struct gw_edge_frame *frame) {
        struct held_frame *held = malloc(sizeof *held + frame->size);

        if (!held)
                return -ENOMEM;
        *held = (struct held_frame){.at = now, .frame = *frame};
        memcpy(held->bytes, frame->bytes, frame->size);
        held->frame.bytes = held->bytes;
        if (queue->last)
                queue->last->next = held;
        else
                queue->first = held;
        queue->last = held;
        queue->n++;
        queue->octets += frame->size;
        if (queue->memory)
                *queue->memory += memory_of(held);
        return 0;
}

struct held_frame *gw_edge_held_pop(struct held_queue *queue) {
        struct held_frame *held = queue->first;

        if (!held)
                return NULL;
        queue->first = held->next;
        if (!queue->first)
                queue->last = NULL;
        queue->n--;
        queue->octets -= held->frame.size;
        if (queue->memory)
                *queue->memory -= memory_of(held);
        return held;
}

size_t gw_edge_held_clear(struct held_queue *queue) {
        size_t n = queue->n;
        struct held_frame *held;

        while ((held = gw_edge_held_pop(queue)))
                free(held);
        return n;
}

size_t gw_edge_held_expire(struct held_queue *queue, struct gw_mono before) {
        size_t n = 0;

        for (; queue->first && queue->first->at.ns < before.ns; n++)
                free(gw_edge_held_pop(queue));
        return n;
}
