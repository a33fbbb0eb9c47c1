/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists may have a million items, and there is one thread for everybody: what one request makes the authority
 * do is bounded by a number of items and by octets (a definition may have 64 KiB, a move's evidence some more), and the rest is for the
 * next request. Who asks goes on after the last key that was told, so that no position is remembered here, and an
 * item that is there from the first page to the last is told exactly once whatever comes and goes meanwhile.
 */
#include "nva/page.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/api.h"

static int read_limit(const char *text, size_t *out, struct gw_error *error) {
        char *end = NULL;
        long limit = text ? strtol(text, &end, 10) : NVA_PAGE_ITEMS;

        if (text && (*text < '0' || *text > '9' || *end || limit < 1 || limit > NVA_PAGE_ITEMS_MAX))
                return gw_fail(error, GW_E_INVALID, "limit", "limit is \"%.32s\"; allowed is 1 to %d", text,
                               NVA_PAGE_ITEMS_MAX);
        *out = (size_t)limit;
        return 0;
}

static int read_after(const char *text, struct gw_name *out, struct gw_error *error) {
        size_t n = text ? strlen(text) : 0;

        if (n > GW_NAME_MAX)
                return gw_fail(error, GW_E_INVALID, "after", "after has %zu octets; it must be the `next` of a page",
                               n);
        memcpy(out->s, text ? text : "", n + 1);
        return 0;
}

bool page_begin(struct nva_page *page, struct gw_request *request) {
        struct gw_error error = {0};

        *page = (struct nva_page){0};
        if (!read_limit(gw_request_query(request, "limit"), &page->limit, &error) &&
            !read_after(gw_request_query(request, "after"), &page->last, &error)) {
                page->items = json_array();
                return true;
        }
        gw_request_fail(request, &error);
        return false;
}

const char *page_after(const struct nva_page *page) {
        return *page->last.s ? page->last.s : NULL;
}

bool page_has_room(const struct nva_page *page) {
        return json_array_size(page->items) < page->limit && page->octets < NVA_PAGE_OCTETS;
}

void page_add(struct nva_page *page, const char *key, json_t *item) {
        size_t n = strnlen(key, GW_NAME_MAX);

        memcpy(page->last.s, key, n);
        page->last.s[n] = 0;
        page->octets += json_dumpb(item, NULL, 0, JSON_COMPACT);
        json_array_append_new(page->items, item);
}

void page_answer(struct nva_page *page, struct gw_request *request, const char *noun, bool more) {
        json_t *answer = json_pack("{s:o}", noun, page->items);

        if (more)
                json_object_set_new(answer, "next", json_string(page->last.s));
        page->items = NULL;
        gw_request_answer(request, 200, answer);
}
