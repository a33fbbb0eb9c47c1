/* SPDX-License-Identifier: Apache-2.0 */
/* A list whose head is one pointer: for heads of which there are many and most are empty. New elements come first. A
 * zeroed chain is empty, a zeroed link is in none. */
#pragma once

#include <stddef.h>

struct gw_link {
        struct gw_link *next, **at; /* at: what points to it */
};

struct gw_chain {
        struct gw_link *first;
};

static inline void gw_chain_push(struct gw_chain *chain, struct gw_link *link) {
        *link = (struct gw_link){.next = chain->first, .at = &chain->first};
        if (link->next)
                link->next->at = &link->next;
        chain->first = link;
}

/* Doing it twice, or to a zeroed link, is harmless. */
static inline void gw_chain_remove(struct gw_link *link) {
        if (!link->at)
                return;
        *link->at = link->next;
        if (link->next)
                link->next->at = link->at;
        *link = (struct gw_link){0};
}

/* The body may remove the current element. */
#define gw_chain_for_each(link, chain)                                                                                 \
        for (struct gw_link *link = (chain)->first, *link##_next = link ? link->next : NULL; link;                     \
             link = link##_next, link##_next = link ? link->next : NULL)
