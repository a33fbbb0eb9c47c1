/* SPDX-License-Identifier: Apache-2.0 */
/* One page of a list that the API answers: ?limit= and ?after= of the request, `next` in the answer. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct gw_request;

enum {
        NVA_PAGE_ITEMS = 256, /* when the request says nothing */
        NVA_PAGE_ITEMS_MAX = 1000,
        NVA_PAGE_OCTETS = 128 * 1024, /* what a page has at most, but for its last item: some 10 ms to make */
};

struct nva_page {
        json_t *items;
        size_t limit, octets;
        struct gw_name last; /* key of the last item, or what the request begins after; empty: the beginning */
};

/* From the request's query. False: it was answered. */
bool page_begin(struct nva_page *page, struct gw_request *request);
/* Where the next item is looked for, as the directory's *_after want it: NULL is the beginning. */
const char *page_after(const struct nva_page *page);
bool page_has_room(const struct nva_page *page);
/* Takes over the item. */
void page_add(struct nva_page *page, const char *key, json_t *item);
/* {"<noun>": [...]}, with "next" when there are more. Frees the request, and what the page has. */
void page_answer(struct nva_page *page, struct gw_request *request, const char *noun, bool more);
