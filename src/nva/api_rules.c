/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/rules: VMs kept apart or together. What tenants share is /v1/tenants. */
#include <stdio.h>
#include <string.h>

#include "directory/rules.h"
#include "nva/api.h"
#include "nva/definition.h"
#include "nva/page.h"

static const char *const kind_words[] = {[GW_RULE_APART] = "apart", [GW_RULE_TOGETHER] = "together"};

static json_t *rule_json(const struct nva *nva, const struct gw_rule *rule) {
        json_t *vms = json_array();

        for (unsigned i = 0; i < rule->n_vms; i++) {
                const struct gw_vm *vm = gw_directory_vm(&nva->directory, rule->vms[i].s);

                json_array_append_new(vms, json_pack("{s:s, s:s}", "vm", rule->vms[i].s, "nve",
                                                     vm && gw_vm_nve(vm) ? gw_vm_nve(vm)->id.s : ""));
        }
        return json_pack("{s:s, s:s, s:s, s:b, s:b, s:o}", "id", rule->id.s, "tenant", rule->tenant->name.s, "kind",
                         kind_words[rule->kind], "suspended", rule->suspended, "kept",
                         gw_directory_rule_is_kept(&nva->directory, rule), "vms", vms);
}

void api_rules_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_rule *rule;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((rule = gw_directory_rule_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, rule->id.s, rule_json(nva, rule));
        page_answer(&page, request, "rules", rule);
}

static struct gw_rule *rule_of(struct nva *nva, struct gw_request *request) {
        struct gw_name id;
        struct gw_rule *rule;

        if (!api_id(request, "rule", &id))
                return NULL;
        rule = gw_directory_rule(&nva->directory, id.s);
        if (!rule)
                api_not_found(request, "rule", id.s, "`godwit rule list` shows them");
        return rule;
}

void api_rules_show(struct gw_request *request, void *user) {
        const struct gw_rule *rule = rule_of(user, request);

        if (rule)
                gw_request_answer(request, 200, rule_json(user, rule));
}

static size_t read_vms(struct gw_json_reader *r, const char *tenant, struct gw_name *out) {
        json_t *list = gw_json_array(r, "vms"), *item;
        char full[2 * GW_NAME_MAX + 2];
        size_t i;

        if (json_array_size(list) > GW_RULE_VMS_MAX) {
                gw_json_fault(r, "vms", "vms has %zu members; at most %d are allowed", json_array_size(list),
                              GW_RULE_VMS_MAX);
                return 0;
        }
        json_array_foreach (list, i, item) {
                const char *text = json_string_value(item);

                snprintf(full, sizeof full, text && strchr(text, '@') ? "%.63s" : "%.63s@%s", text ? text : "", tenant);
                if (!text || gw_id_parse(full, &out[i])) {
                        gw_json_fault(r, "vms", "vms[%zu] is not the id of a VM", i);
                        return 0;
                }
        }
        return json_array_size(list);
}

void api_rules_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_name id = {""}, vms[GW_RULE_VMS_MAX];
        const char *kind, *tenant;
        struct gw_rule *rule;
        size_t n;

        nva_read_id(&r, "name", &id);
        kind = gw_json_string(&r, "kind", NULL);
        if (!gw_json_failed(&r) && strcmp(kind, "apart") != 0 && strcmp(kind, "together") != 0)
                gw_json_fault(&r, "kind", "kind is \"%.32s\"; allowed are apart and together", kind);
        tenant = strchr(id.s, '@');
        n = read_vms(&r, tenant ? tenant + 1 : "default", vms);
        if (gw_json_done(&r) || gw_directory_rule_create(&nva->directory, id.s,
                                                         strcmp(kind, "apart") == 0 ? GW_RULE_APART : GW_RULE_TOGETHER,
                                                         vms, n, &rule, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 201, rule_json(nva, rule));
}

void api_rules_update(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_rule *rule = rule_of(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        bool suspended;

        if (!rule)
                return;
        suspended = gw_json_bool(&r, "suspended", rule->suspended);
        if (gw_json_done(&r))
                return gw_request_fail(request, &error);
        gw_directory_rule_suspend(&nva->directory, rule, suspended);
        gw_request_answer(request, 200, rule_json(nva, rule));
}

void api_rules_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_rule *rule = rule_of(nva, request);

        if (!rule)
                return;
        gw_directory_rule_delete(&nva->directory, rule);
        gw_request_answer(request, 204, NULL);
}
