/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists of an edge may have hundreds of thousands of items, and there is one thread that also answers guests and
 * keeps next hops alive: what one request makes it do is bounded, and the rest is for the next request.
 *
 * Who asks goes on after the last item that was told; no position is remembered here. What has names is told in
 * their order, so that whatever is there from the first page to the last is told exactly once.
 */
#include "nve/lists.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/api.h"

bool nve_page_begin(struct nve_page *page, struct gw_request *request) {
        const char *text = gw_request_query(request, "limit");
        struct gw_error error = {0};
        char *end = NULL;
        long limit = text ? strtol(text, &end, 10) : NVE_PAGE_ITEMS;

        if (text && (*text < '0' || *text > '9' || *end || limit < 1 || limit > NVE_PAGE_ITEMS_MAX)) {
                gw_fail(&error, GW_E_INVALID, "limit", "limit is \"%.32s\"; allowed is 1 to %d", text,
                        NVE_PAGE_ITEMS_MAX);
                gw_request_fail(request, &error);
                return false;
        }
        *page = (struct nve_page){(size_t)limit, gw_request_query(request, "after"), json_array()};
        return true;
}

void nve_page_answer(struct nve_page *page, struct gw_request *request, const char *noun, const char *next) {
        json_t *answer = json_pack("{s:o}", noun, page->items);

        if (next)
                json_object_set_new(answer, "next", json_string(next));
        page->items = NULL;
        gw_request_answer(request, 200, answer);
}

void nve_names_add(struct nve_names *names, const char *name) {
        struct gw_name *more;

        if (names->after && strcmp(name, names->after) <= 0)
                return;
        if (names->n == names->room) {
                more = realloc(names->names, (names->room + 256) * 2 * sizeof *more);
                names->failed |= !more;
                if (!more)
                        return;
                names->names = more;
                names->room = (names->room + 256) * 2;
        }
        snprintf(names->names[names->n++].s, sizeof names->names->s, "%s", name);
}

static int compare(const void *a, const void *b) {
        return strcmp(((const struct gw_name *)a)->s, ((const struct gw_name *)b)->s);
}

bool nve_names_choose(struct nve_names *names, struct nve_page *page) {
        bool more = names->n > page->limit;

        if (names->n)
                qsort(names->names, names->n, sizeof *names->names, compare);
        if (more)
                names->n = page->limit;
        for (size_t i = 0; i < names->n; i++)
                json_array_append_new(page->items, json_null());
        return more;
}

static const struct gw_name *chosen(const struct nve_names *names, const char *name) {
        struct gw_name key;

        snprintf(key.s, sizeof key.s, "%s", name);
        return names->n ? bsearch(&key, names->names, names->n, sizeof key, compare) : NULL;
}

size_t nve_names_place(const struct nve_names *names, const char *name) {
        const struct gw_name *at = chosen(names, name);

        return at ? (size_t)(at - names->names) : SIZE_MAX;
}

bool nve_names_has(const struct nve_names *names, const char *name) {
        return chosen(names, name) != NULL;
}

void nve_names_cut(struct nve_names *names, struct nve_page *page, size_t n) {
        for (; names->n > n; names->n--)
                json_array_remove(page->items, names->n - 1);
}

void nve_names_put(const struct nve_names *names, struct nve_page *page, const char *name, json_t *item) {
        const struct gw_name *at = chosen(names, name);

        if (at)
                json_array_set_new(page->items, (size_t)(at - names->names), item);
        else
                json_decref(item);
}

void nve_names_answer(struct nve_names *names, struct nve_page *page, struct gw_request *request, const char *noun,
                      bool more) {
        struct gw_error error = {0};

        if (names->failed) {
                json_decref(page->items);
                gw_fail(&error, -ENOMEM, "", "out of memory");
                gw_request_fail(request, &error);
        } else {
                nve_page_answer(page, request, noun, more ? names->names[names->n - 1].s : NULL);
        }
        free(names->names);
        names->names = NULL;
}
