/* SPDX-License-Identifier: Apache-2.0 */
/* One page of a list that the edge answers: ?limit= and ?after= of the request, `next` in the answer. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

struct gw_request;

enum {
        NVE_PAGE_ITEMS = 256, /* when the request says nothing */
        NVE_PAGE_ITEMS_MAX = 1000,
};

struct nve_page {
        size_t limit;
        const char *after; /* NULL: the beginning */
        json_t *items;
};
/* False: the request was answered. */
bool nve_page_begin(struct nve_page *page, struct gw_request *request);
/* {"<noun>": [...]}, with "next" unless it is NULL. */
void nve_page_answer(struct nve_page *page, struct gw_request *request, const char *noun, const char *next);

/* The next names of a list that has no order of its own: all are added, and the first ones by name remain. */
struct nve_names {
        struct gw_name *names;
        size_t n, room;
        const char *after;
        bool failed; /* no memory: fewer than all */
};
void nve_names_add(struct nve_names *names, const char *name);
/* Puts them in order, leaves as many as the page takes, and gives it that many nulls. True: there are more. */
bool nve_names_choose(struct nve_names *names, struct nve_page *page);
/* Takes the item over, if that name was chosen. */
bool nve_names_has(const struct nve_names *names, const char *name);
size_t nve_names_place(const struct nve_names *names, const char *name); /* among those chosen; SIZE_MAX: not */
void nve_names_put(const struct nve_names *names, struct nve_page *page, const char *name, json_t *item);
/* Only the first n of those chosen. */
void nve_names_cut(struct nve_names *names, struct nve_page *page, size_t n);
/* Answers, and frees the names. */
void nve_names_answer(struct nve_names *names, struct nve_page *page, struct gw_request *request, const char *noun,
                      bool more);
