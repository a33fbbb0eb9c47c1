/* SPDX-License-Identifier: Apache-2.0 */
/* A list within a slab whose head is one reference: for heads of which there are many and most are empty. New elements
 * come first. A zeroed chain is empty, a zeroed link is in none. */
#pragma once

#include "base/ref.h"

struct gw_link {
        struct gw_ref next, prev;
};

struct gw_chain {
        struct gw_ref first;
};

static inline struct gw_link *gw_chain_first(const struct gw_chain *chain) {
        return gw_ref_get(&chain->first);
}
static inline struct gw_link *gw_chain_next(const struct gw_link *link) {
        return gw_ref_get(&link->next);
}

static inline void gw_chain_push(struct gw_chain *chain, struct gw_link *link) {
        struct gw_link *second = gw_chain_first(chain);

        *link = (struct gw_link){.next = chain->first};
        if (second)
                gw_ref_set(&second->prev, link);
        gw_ref_set(&chain->first, link);
}

/* Doing it twice, or to a zeroed link, is harmless. */
static inline void gw_chain_remove(struct gw_chain *chain, struct gw_link *link) {
        struct gw_link *next = gw_chain_next(link), *prev = gw_ref_get(&link->prev);

        if (!prev && gw_chain_first(chain) != link)
                return;
        if (prev)
                prev->next = link->next;
        else
                chain->first = link->next;
        if (next)
                next->prev = link->prev;
        *link = (struct gw_link){0};
}

/* The body may remove the current element. */
#define gw_chain_for_each(link, chain)                                                                                 \
        for (struct gw_link *link = gw_chain_first(chain), *link##_next = link ? gw_chain_next(link) : NULL; link;     \
             link = link##_next, link##_next = link ? gw_chain_next(link) : NULL)
