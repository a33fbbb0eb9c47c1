/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The caches of this edge as an audit wants them: the forwarding and neighbour
 * entries that the data plane has now, each with what it rests on and for how
 * long; and putting entries right.
 *
 *      GET /v1/caches?table=forwarding|neighbours[&after=...]   a page, and where the next one begins
 *      GET /v1/fdb, /v1/neighbours[?limit=...][&after=...]      the same for people, as the other lists are
 *      POST /v1/repair {entries: [{vni, mac} | {vni, address}]}
 *
 * The data plane is read, not the core: an audit is to find what packets follow.
 * A page is bounded, so that a large table neither holds the loop up nor is more
 * than one frame of a session takes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/lists.h"
#include "nve/nve.h"

enum { AUDIT_PAGE = 2000, REPAIRS_MAX = 1000, AT_SIZE = 16 };

struct page;
typedef json_t *forward_json(const struct page *page, uint32_t vni, struct gw_mac mac,
                             const struct gw_forward *forward);
typedef json_t *neigh_json(const struct page *page, uint32_t vni, struct gw_ip ip, struct gw_mac mac);

struct page {
        struct nve *nve;
        size_t limit;
        forward_json *forward; /* of a page of forwarding entries; else NULL, and of neighbours: */
        neigh_json *neigh;
        json_t *entries;
        struct gw_mono now;
};

/* null: not known. */
static json_t *age_json(const struct page *page, struct gw_edge_source source) {
        return source.since.ns ? json_integer((json_int_t)(gw_mono_between(source.since, page->now).ns / GW_NS_PER_MS))
                               : json_null();
}

static json_t *forward_audited(const struct page *page, uint32_t vni, struct gw_mac mac,
                               const struct gw_forward *forward) {
        struct gw_edge_source source = gw_edge_source_of_mac(page->nve->edge, vni, mac);

        return json_pack("{s:I, s:o, s:s, s:o, s:I, s:s, s:o}", "vni", (json_int_t)vni, "mac", nve_json_mac(mac),
                         "kind", nve_forward_word(forward->kind), "locator", nve_json_ip(forward->locator), "epoch",
                         (json_int_t)forward->epoch, "origin", nve_origin_word(source.origin), "age_ms",
                         age_json(page, source));
}

static json_t *forward_shown(const struct page *page, uint32_t vni, struct gw_mac mac,
                             const struct gw_forward *forward) {
        (void)page;
        return json_pack("{s:I, s:o, s:s, s:I, s:o, s:I, s:b}", "vni", (json_int_t)vni, "mac", nve_json_mac(mac),
                         "kind", nve_forward_word(forward->kind), "ifindex", (json_int_t)forward->ifindex, "locator",
                         nve_json_ip(forward->locator), "epoch", (json_int_t)forward->epoch, "punt",
                         (forward->flags & GW_FORWARD_PUNT) != 0);
}

static json_t *neigh_audited(const struct page *page, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        struct gw_edge_source source = gw_edge_source_of_ip(page->nve->edge, vni, ip);

        return json_pack("{s:I, s:o, s:o, s:s, s:o}", "vni", (json_int_t)vni, "address", nve_json_ip(ip), "mac",
                         nve_json_mac(mac), "origin", nve_origin_word(source.origin), "age_ms", age_json(page, source));
}

static json_t *neigh_shown(const struct page *page, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        (void)page;
        return json_pack("{s:I, s:o, s:o}", "vni", (json_int_t)vni, "address", nve_json_ip(ip), "mac",
                         nve_json_mac(mac));
}

static int forward_entry(uint32_t vni, struct gw_mac mac, const struct gw_forward *forward, void *user) {
        struct page *page = user;

        json_array_append_new(page->entries, page->forward(page, vni, mac, forward));
        return 0;
}

static int neigh_entry(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user) {
        struct page *page = user;

        (void)flags;
        json_array_append_new(page->entries, page->neigh(page, vni, ip, mac));
        return 0;
}

/* "p<number>": where in the data plane's table the next page begins. */
static int read_place(const char *after, uint32_t *place) {
        char *end = NULL;
        unsigned long n =
                after && after[0] == 'p' && after[1] >= '0' && after[1] <= '9' ? strtoul(after + 1, &end, 10) : 0;

        if (after && (!end || *end || n > UINT32_MAX))
                return GW_E_INVALID;
        *place = (uint32_t)n;
        return 0;
}

/* False: the request was answered, and the entries are gone. */
static bool read_page(struct page *page, struct gw_request *request, bool *more, char at[static AT_SIZE]) {
        const char *after = gw_request_query(request, "after");
        struct gw_error error = {0};
        uint32_t place;
        int r = read_place(after, &place);

        if (!r && page->forward)
                r = gw_datapath_fdb_page(page->nve->dp, &place, page->limit, more, forward_entry, page);
        else if (!r)
                r = gw_datapath_neigh_page(page->nve->dp, &place, page->limit, more, neigh_entry, page);
        if (!r) {
                snprintf(at, AT_SIZE, "p%" PRIu32, place);
                return true;
        }
        json_decref(page->entries);
        if (r == GW_E_INVALID)
                gw_fail(&error, GW_E_CONFLICT, "after",
                        "\"%.64s\" is no place in this table; begin with the first page", after);
        else
                gw_fail(&error, r, "after", "the page after \"%.64s\" cannot be read: %s", after ? after : "",
                        gw_error_word(r));
        gw_request_fail(request, &error);
        return false;
}

void nve_caches(struct gw_request *request, void *user) {
        const char *table = gw_request_query(request, "table");
        struct page page = {.nve = user, .limit = AUDIT_PAGE, .now = gw_mono_now()};
        struct gw_error error = {0};
        char at[AT_SIZE] = "";
        bool more = false;

        if (table && !strcmp(table, "forwarding")) {
                page.forward = forward_audited;
        } else if (table && !strcmp(table, "neighbours")) {
                page.neigh = neigh_audited;
        } else {
                gw_fail(&error, GW_E_INVALID, "table",
                        "table is \"%.32s\"; allowed are \"forwarding\" and \"neighbours\"", table ? table : "");
                gw_request_fail(request, &error);
                return;
        }
        page.entries = json_array();
        if (read_page(&page, request, &more, at))
                gw_request_answer(
                        request, 200,
                        json_pack("{s:o, s:o}", "entries", page.entries, "next", more ? json_string(at) : json_null()));
}

static void show(struct gw_request *request, struct nve *nve, forward_json *forward, neigh_json *neigh,
                 const char *noun) {
        struct page page = {.nve = nve, .forward = forward, .neigh = neigh};
        struct nve_page list;
        char at[AT_SIZE] = "";
        bool more = false;

        if (!nve_page_begin(&list, request))
                return;
        page.limit = list.limit;
        page.entries = list.items;
        if (read_page(&page, request, &more, at))
                nve_page_answer(&list, request, noun, more ? at : NULL);
}

void nve_show_fdb(struct gw_request *request, void *user) {
        show(request, user, forward_shown, NULL, "fdb");
}

void nve_show_neighbours(struct gw_request *request, void *user) {
        show(request, user, NULL, neigh_shown, "neighbours");
}

/* ---- repair ---- */

struct repair {
        uint32_t vni;
        bool by_mac;
        struct gw_mac mac;
        struct gw_ip ip;
};

static int read_repair(const struct gw_json_reader *list, json_t *item, size_t i, struct repair *out) {
        struct gw_json_reader r = gw_json_reader_at(list, item, "entries[%zu].", i);

        out->vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        out->by_mac = gw_json_mac(&r, "mac", GW_JSON_OPTIONAL, &out->mac);
        if (!gw_json_ip(&r, "address", GW_JSON_OPTIONAL, &out->ip) && !out->by_mac)
                gw_json_fault(&r, "mac", "an entry is named by its mac or by its address");
        return gw_json_done(&r);
}

void nve_repair(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        json_t *list = gw_json_array(&r, "entries");
        size_t n = json_array_size(list);
        struct repair *repairs = calloc(n + 1, sizeof *repairs);
        int code = gw_json_done(&r);

        if (!code && (!n || n > REPAIRS_MAX))
                code = gw_fail(&error, GW_E_INVALID, "entries", "%zu entries; allowed are 1 to %d", n, REPAIRS_MAX);
        if (!code && !repairs)
                code = gw_fail(&error, -ENOMEM, "", "out of memory");
        for (size_t i = 0; !code && i < n; i++)
                code = read_repair(&r, json_array_get(list, i), i, &repairs[i]);
        for (size_t i = 0; !code && i < n; i++) {
                if (repairs[i].by_mac)
                        gw_edge_repair_mac(nve->edge, repairs[i].vni, repairs[i].mac);
                else
                        gw_edge_repair_ip(nve->edge, repairs[i].vni, repairs[i].ip);
        }
        free(repairs);
        if (code) {
                gw_request_fail(request, &error);
                return;
        }
        gw_log(GW_NOTICE, "%zu entries were put right for %s", n, gw_request_peer(request));
        gw_request_answer(request, 200, json_pack("{s:I}", "repaired", (json_int_t)n));
}
