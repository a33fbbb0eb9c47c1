/* SPDX-License-Identifier: Apache-2.0 */
/* A circular doubly-linked list within a slab: base/list.h with references (base/ref.h) for pointers. Head and links
 * lie in objects of one slab. A zeroed link is in no ring. */
#pragma once

#include <stdbool.h>

#include "base/ref.h"

struct gw_ring {
        struct gw_ref next, prev;
};

static inline void gw_ring_init(struct gw_ring *head) {
        gw_ref_set(&head->next, head);
        gw_ref_set(&head->prev, head);
}
static inline struct gw_ring *gw_ring_next(const struct gw_ring *link) {
        return gw_ref_get(&link->next);
}
static inline struct gw_ring *gw_ring_prev(const struct gw_ring *link) {
        return gw_ref_get(&link->prev);
}
static inline bool gw_ring_empty(const struct gw_ring *head) {
        return gw_ring_next(head) == head;
}
static inline bool gw_ring_linked(const struct gw_ring *link) {
        return link->next.place != 0;
}

static inline void gw_ring_append(struct gw_ring *head, struct gw_ring *link) {
        struct gw_ring *last = gw_ring_prev(head);

        gw_ref_set(&link->prev, last);
        gw_ref_set(&link->next, head);
        gw_ref_set(&last->next, link);
        gw_ref_set(&head->prev, link);
}

/* Doing it twice, or to a zeroed link, is harmless. */
static inline void gw_ring_remove(struct gw_ring *link) {
        if (!gw_ring_linked(link))
                return;
        gw_ring_prev(link)->next = link->next;
        gw_ring_next(link)->prev = link->prev;
        *link = (struct gw_ring){0};
}

/* The body may remove the current element. */
#define gw_ring_for_each(link, head)                                                                                   \
        for (struct gw_ring *link = gw_ring_next(head), *link##_next = gw_ring_next(link); link != (head);             \
             link = link##_next, link##_next = gw_ring_next(link))
