/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/tenants: owners of VNs and VMs. `default` always exists. */
#include <string.h>

#include "directory/rules.h"
#include "nva/api.h"
#include "nva/json.h"
#include "nva/page.h"

void api_tenants_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_tenant *t;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((t = gw_directory_tenant_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, t->name.s, nva_json_tenant(t));
        page_answer(&page, request, "tenants", t);
}

static struct gw_tenant *tenant_of(struct nva *nva, struct gw_request *request) {
        const char *name = gw_request_param(request, "tenant");
        struct gw_tenant *tenant = gw_directory_tenant(&nva->directory, name);

        if (!tenant)
                api_not_found(request, "tenant", name, "`godwit tenant list` shows them");
        return tenant;
}

void api_tenants_show(struct gw_request *request, void *user) {
        const struct gw_tenant *tenant = tenant_of(user, request);

        if (tenant)
                gw_request_answer(request, 200, nva_json_tenant(tenant));
}

void api_tenants_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_name name = {""};
        struct gw_tenant *tenant;

        gw_json_name(&r, "name", GW_JSON_NEEDED, &name);
        if (gw_json_done(&r) || gw_directory_tenant_create(&nva->directory, name.s, &tenant, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 201, nva_json_tenant(tenant));
}

void api_tenants_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_tenant *tenant = tenant_of(nva, request);
        struct gw_error error = {0};

        if (!tenant)
                return;
        if (gw_directory_tenant_delete(&nva->directory, tenant, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 204, NULL);
}

static size_t read_names(struct gw_json_reader *r, const char *key, struct gw_name *out, size_t max) {
        json_t *list = gw_json_array(r, key), *item;
        size_t i;

        json_array_foreach (list, i, item) {
                const char *text = json_string_value(item);

                if (i >= max) {
                        gw_json_fault(r, key, "%s has %zu members; at most %zu are allowed", key, json_array_size(list),
                                      max);
                        return 0;
                }
                if (!text || gw_name_parse(text, &out[i])) {
                        gw_json_fault(r, key, "%s[%zu] is not a name", key, i);
                        return 0;
                }
        }
        return json_array_size(list);
}

/* What is not named stays as it is. */
void api_tenants_update(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_tenant *tenant = tenant_of(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_name apart[GW_TENANT_APART_MAX];
        bool exclusive;
        size_t n;

        if (!tenant)
                return;
        exclusive = gw_json_bool(&r, "exclusive", tenant->exclusive);
        n = read_names(&r, "apart", apart, GW_TENANT_APART_MAX);
        if (!json_object_get(gw_request_body(request), "apart")) {
                n = tenant->n_apart;
                memcpy(apart, tenant->apart, sizeof tenant->apart);
        }
        if (gw_json_done(&r) || gw_directory_tenant_update(&nva->directory, tenant, exclusive, apart, n, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 200, nva_json_tenant(tenant));
}
