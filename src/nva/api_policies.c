/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/policies: what may be routed; /v1/gateways: who routes; /v1/vns/{vn}/pin: by whom, when not by the nearest. */
#include <string.h>

#include "directory/gateway.h"
#include "nva/api.h"
#include "nva/gateway.h"
#include "nva/json.h"

static json_t *policy_json(const struct gw_policy *p) {
        return json_pack("{s:s, s:s, s:s, s:b, s:b}", "name", p->name.s, "from", p->from->id.s, "to",
                         p->to ? p->to->id.s : "", "outside", !p->to, "one_way", p->one_way);
}

void api_policies_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct gw_policy *p = NULL;
        json_t *list = json_array();

        while ((p = gw_directory_policy_after(&nva->directory, p ? p->name.s : NULL)))
                json_array_append_new(list, policy_json(p));
        api_answer_list(request, "policies", list);
}

static struct gw_policy *policy_of(struct nva *nva, struct gw_request *request) {
        const char *name = gw_request_param(request, "policy");
        struct gw_policy *p = gw_directory_policy(&nva->directory, name);

        if (!p)
                api_not_found(request, "policy", name, "`godwit policy list` shows them");
        return p;
}

void api_policies_show(struct gw_request *request, void *user) {
        const struct gw_policy *p = policy_of(user, request);

        if (p)
                gw_request_answer(request, 200, policy_json(p));
}

static struct gw_vn *read_vn(struct nva *nva, struct gw_json_reader *r, const char *key) {
        struct gw_name id = {""};
        struct gw_vn *vn;

        if (!gw_json_id(r, key, GW_JSON_NEEDED, &id))
                return NULL;
        vn = gw_directory_vn(&nva->directory, id.s);
        if (!vn)
                gw_fail(r->error, GW_E_NOT_FOUND, key, "there is no VN %s; `godwit vn list` shows them", id.s);
        return vn;
}

void api_policies_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_vn *from, *to = NULL;
        struct gw_name name = {""};
        struct gw_policy *p;
        bool outside, one_way;

        gw_json_name(&r, "name", GW_JSON_NEEDED, &name);
        outside = gw_json_bool(&r, "outside", false);
        one_way = gw_json_bool(&r, "one_way", false);
        from = read_vn(nva, &r, "from");
        if (from && !outside)
                to = read_vn(nva, &r, "to");
        if (error.code || gw_json_done(&r) ||
            gw_directory_policy_create(&nva->directory, name.s, from, to, one_way, nva_now(), &p, &error))
                return gw_request_fail(request, &error);
        gateway_tell_all(nva);
        gw_request_answer(request, 201, policy_json(p));
}

void api_policies_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_policy *p = policy_of(nva, request);

        if (!p)
                return;
        gw_directory_policy_delete(&nva->directory, p, nva_now());
        gateway_tell_all(nva);
        gw_request_answer(request, 204, NULL);
}

static json_t *users_of(const struct nva *nva, const struct gw_nve *gateway) {
        const struct gw_directory *d = &nva->directory;
        json_t *list = json_array();

        for (struct gw_vn *vn = NULL; (vn = gw_directory_vn_after(d, vn ? vn->id.s : NULL));) {
                if (!gw_directory_vn_is_routed(d, vn))
                        continue;
                for (struct gw_nve *nve = NULL; (nve = gw_directory_member_after(vn, nve));)
                        if (gw_directory_gateway_of(d, vn, nve) == gateway)
                                json_array_append_new(list, json_pack("{s:s, s:s}", "vn", vn->id.s, "nve", nve->id.s));
        }
        return list;
}

void api_gateways_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct gw_nve *nve = NULL;
        json_t *list = json_array();

        while ((nve = gw_directory_nve_after(&nva->directory, nve ? nve->id.s : NULL)))
                if (nve->gateway)
                        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:b, s:o}", "nve", nve->id.s, "site",
                                                              nve->site.s, "cost", (json_int_t)nve->gateway_cost,
                                                              "live", nve->nve_connected && !nve->behind, "used_by",
                                                              users_of(nva, nve)));
        api_answer_list(request, "gateways", list);
}

void api_vns_pin(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vn *vn = api_vn(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_name id = {""};
        struct gw_nve *nve = NULL;

        if (!vn)
                return;
        if (gw_json_name(&r, "nve", GW_JSON_OPTIONAL, &id)) {
                nve = gw_directory_nve(&nva->directory, id.s);
                if (!nve || !nve->gateway)
                        gw_fail(&error, GW_E_NOT_FOUND, "nve", "%s is no gateway; `godwit gateway list` shows them",
                                id.s);
        }
        if (error.code || gw_json_done(&r))
                return gw_request_fail(request, &error);
        gw_directory_gateway_pin(&nva->directory, vn, nve, nva_now());
        gw_request_answer(request, 200, nva_json_vn(vn));
}
