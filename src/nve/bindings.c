/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/bindings of an edge: its binding update list (src/edge/binding.c). Looking changes nothing. */
#include <string.h>

#include "base/error.h"
#include "nve/lists.h"
#include "nve/nve.h"
#include "wire/registration.h"

enum { IPS_MAX = 64 };

static const char *const role_words[] = {[GW_EDGE_BINDING_SERVING] = "serving",
                                         [GW_EDGE_BINDING_SOURCE] = "source",
                                         [GW_EDGE_BINDING_ARRIVING] = "arriving",
                                         [GW_EDGE_BINDING_LEAVING] = "leaving"};
static const char *const state_words[] = {[GW_EDGE_REG_NONE] = "none",
                                          [GW_EDGE_REG_PENDING] = "pending",
                                          [GW_EDGE_REG_ACCEPTED] = "accepted",
                                          [GW_EDGE_REG_REFUSED] = "refused"};

/* Milliseconds from now; null when there is no such time. */
static json_t *until(struct gw_mono at) {
        return at.ns ? json_integer((json_int_t)(gw_mono_between(gw_mono_now(), at).ns / GW_NS_PER_MS)) : json_null();
}

static json_t *addresses(const struct nve *nve, const struct gw_name *vm) {
        struct gw_ip ips[IPS_MAX];
        size_t n = gw_edge_vm_ips(nve->edge, vm, ips, IPS_MAX);
        char text[GW_IP_TEXT];
        json_t *list = json_array();

        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, json_string(gw_ip_text(ips[i], text)));
        return list;
}

static json_t *binding_json(const struct nve *nve, const struct gw_edge_binding_view *b) {
        struct gw_wall stamp = gw_registration_stamp_wall(b->stamp);
        char text[GW_IP_TEXT];

        return json_pack("{s:s, s:s, s:s, s:s, s:o, s:I, s:i, s:s, s:b, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:b}",
                         "vm", b->vm->s, "role", role_words[b->role], "state", state_words[b->state], "locator",
                         gw_ip_text(gw_ip_is_unspecified(b->locator) ? nve->config.locator : b->locator, text),
                         "addresses", addresses(nve, b->vm), "epoch", (json_int_t)b->epoch, "status", (int)b->status,
                         "status_text", b->status ? gw_registration_status_word(b->status) : "", "outstanding",
                         (int)b->outstanding, "sequence", (int)b->sequence, "timestamp_ns", (json_int_t)stamp.ns,
                         "tries", (json_int_t)b->tries, "timeout_ms", (json_int_t)b->timeout_ms, "lifetime_ms",
                         (json_int_t)b->granted_ms, "remaining_ms", until(b->expires), "next_ms", until(b->next),
                         "keep_ms", until(b->keep_until), "noticed", (int)b->noticed);
}

struct walk {
        const struct nve *nve;
        struct nve_names names;
        struct nve_page page;
        json_t *one;
        struct gw_name wanted;
};

static void name_each(const struct gw_edge_binding_view *view, void *user) {
        nve_names_add(&((struct walk *)user)->names, view->vm->s);
}

static void list_each(const struct gw_edge_binding_view *view, void *user) {
        struct walk *walk = user;

        if (nve_names_has(&walk->names, view->vm->s))
                nve_names_put(&walk->names, &walk->page, view->vm->s, binding_json(walk->nve, view));
}

static void find_each(const struct gw_edge_binding_view *view, void *user) {
        struct walk *walk = user;

        if (!walk->one && gw_name_eq(view->vm, &walk->wanted))
                walk->one = binding_json(walk->nve, view);
}

void nve_show_bindings(struct gw_request *request, void *user) {
        struct walk walk = {.nve = user};
        bool more;

        if (!nve_page_begin(&walk.page, request))
                return;
        walk.names.after = walk.page.after;
        gw_edge_each_binding(walk.nve->edge, name_each, &walk);
        more = nve_names_choose(&walk.names, &walk.page);
        gw_edge_each_binding(walk.nve->edge, list_each, &walk);
        nve_names_answer(&walk.names, &walk.page, request, "bindings", more);
}

void nve_show_binding(struct gw_request *request, void *user) {
        struct walk walk = {.nve = user};
        const char *id = gw_request_param(request, "vm");
        struct gw_error error = {0};

        if (!gw_id_parse(id, &walk.wanted))
                gw_edge_each_binding(walk.nve->edge, find_each, &walk);
        if (walk.one) {
                gw_request_answer(request, 200, walk.one);
                return;
        }
        gw_fail(&error, GW_E_NOT_FOUND, "vm", "vm \"%.80s\" is not in this edge's list", id);
        gw_request_fail(request, &error);
}
