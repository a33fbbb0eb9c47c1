/* SPDX-License-Identifier: Apache-2.0 */
/* Intrusive circular doubly-linked list: the link is embedded in the element,
 * nothing is allocated. A zeroed link is "not in a list". */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define gw_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

struct gw_list {
        struct gw_list *next, *prev;
};

static inline void gw_list_init(struct gw_list *head) {
        head->next = head->prev = head;
}
static inline bool gw_list_empty(const struct gw_list *head) {
        return head->next == head;
}
static inline bool gw_list_linked(const struct gw_list *link) {
        return link->next != NULL;
}

static inline void gw_list_append(struct gw_list *head, struct gw_list *link) {
        link->prev = head->prev;
        link->next = head;
        head->prev->next = link;
        head->prev = link;
}

/* Doing it twice, or to a zeroed link, is harmless. */
static inline void gw_list_remove(struct gw_list *link) {
        if (!link->next)
                return;
        link->prev->next = link->next;
        link->next->prev = link->prev;
        link->next = link->prev = NULL;
}

/* The body may remove the current element. */
#define gw_list_for_each(link, head)                                                                                   \
        for (struct gw_list *link = (head)->next, *link##_next = link->next; link != (head);                           \
             link = link##_next, link##_next = link->next)

#define gw_list_entry(link, type, member) gw_container_of(link, type, member)
