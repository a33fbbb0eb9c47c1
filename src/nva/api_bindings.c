/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /v1/bindings: the binding cache, with the history of each VM: where it was, which of those places and which default
 * routers were told of the present one and answered, and why what they hold is kept or was removed.
 */
#include "nva/api.h"
#include "nva/claims.h"
#include "nva/json.h"
#include "nva/page.h"

static json_t *optional_ns(struct gw_wall at) {
        return at.ns ? json_integer((json_int_t)at.ns) : json_null();
}

/* What became of telling one receiver; null when it was never to be told. */
static json_t *notice_json(const struct gw_notice *n) {
        if (!n)
                return json_null();
        return json_pack("{s:s, s:I, s:o, s:o, s:i, s:i, s:b, s:s, s:o, s:I}", "state", gw_notice_state_word(n->state),
                         "epoch", (json_int_t)n->epoch, "told_ns", optional_ns(n->told), "answered_ns",
                         optional_ns(n->answered), "status", (int)n->status, "tries", (int)n->tries, "kept",
                         (int)gw_notice_is_kept(n), "why", gw_notice_why_word(n->why), "ends_ns", optional_ns(n->ends),
                         "redirected", (json_int_t)n->redirected);
}

/* A VM may have been at one place more than once: what is told belongs to the last time. */
static bool was_there_later(const struct gw_binding *b, size_t i) {
        for (size_t k = i + 1; k < gw_binding_n_previous(b); k++)
                if (gw_ip_eq(gw_binding_previous(b)[k].locator, gw_binding_previous(b)[i].locator))
                        return true;
        return false;
}

static json_t *previous_json(const struct nva *nva, const struct gw_vm *vm) {
        const struct gw_binding *b = &vm->binding;
        json_t *list = json_array();
        char text[GW_IP_TEXT];

        for (size_t i = 0; i < gw_binding_n_previous(b); i++) {
                const struct gw_previous *p = &gw_binding_previous(b)[i];
                const struct gw_nve *nve = gw_directory_nve_by_locator(&nva->directory, p->locator);
                const struct gw_notice *n =
                        was_there_later(b, i) ? NULL : gw_directory_notice(&nva->directory, vm, p->locator);

                json_array_append_new(list,
                                      json_pack("{s:s, s:s, s:I, s:I, s:o}", "locator", gw_ip_text(p->locator, text),
                                                "nve", nve ? nve->id.s : "", "from_ns", (json_int_t)p->from.ns, "to_ns",
                                                (json_int_t)p->to.ns, "notice", notice_json(n)));
        }
        return list;
}

static json_t *routers_json(const struct nva *nva, const struct gw_vm *vm) {
        const struct gw_history *history = gw_directory_history(&nva->directory, vm);
        json_t *list = json_array();
        char text[GW_IP_TEXT];

        if (!history)
                return list;
        gw_list_for_each (link, &history->notices) {
                const struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (n->kind == GW_NOTICE_ROUTER)
                        json_array_append_new(list, json_pack("{s:s, s:o}", "address", gw_ip_text(n->to->ip, text),
                                                              "notice", notice_json(n)));
        }
        return list;
}

static json_t *remaining_json(const struct gw_vm *vm) {
        struct gw_mono now = gw_mono_now();

        if (!vm->lease.place)
                return json_null();
        return json_integer((json_int_t)(gw_mono_between(now, gw_lease_ends(&vm->lease, now)).ns / GW_NS_PER_MS));
}

static json_t *binding_json(const struct nva *nva, const struct gw_vm *vm) {
        const struct gw_binding *b = &vm->binding;
        json_t *object = nva_json_binding(vm);

        json_object_set_new(object, "vm", json_string(gw_vm_name(vm).s));
        json_object_set_new(object, "nve", json_string(gw_binding_nve(b) ? gw_binding_nve(b)->id.s : ""));
        json_object_set_new(object, "move_to", json_string(gw_binding_move(b) ? gw_binding_move(b)->to->id.s : ""));
        json_object_set_new(object, "remaining_ms", remaining_json(vm));
        json_object_set_new(object, "previous", previous_json(nva, vm));
        json_object_set_new(object, "routers", routers_json(nva, vm));
        return object;
}

void api_bindings_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct nva_page page;
        const struct gw_vm *vm;

        if (!page_begin(&page, request))
                return;
        while ((vm = gw_directory_vm_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, gw_vm_name(vm).s, binding_json(nva, vm));
        page_answer(&page, request, "bindings", vm);
}

void api_bindings_show(struct gw_request *request, void *user) {
        struct nva *nva = user;
        const struct gw_vm *vm = api_vm(nva, request);
        json_t *answer;

        if (!vm)
                return;
        answer = binding_json(nva, vm);
        json_object_set_new(answer, "claims", claims_of_json(nva, gw_vm_name(vm).s));
        gw_request_answer(request, 200, answer);
}
