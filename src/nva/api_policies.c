/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/policies: what may be routed; /v1/gateways: who routes; /v1/vns/{vn}/pin: by whom, when not by the nearest. */
#include <string.h>

#include "directory/gateway.h"
#include "nva/api.h"
#include "nva/gateway.h"
#include "nva/json.h"
#include "nva/page.h"

enum { USERS_MAX = 1024 /* shown of one gateway */, LOOKS_MAX = 1 << 16 };

static json_t *policy_json(const struct gw_policy *p) {
        return json_pack("{s:s, s:s, s:s, s:b, s:b}", "name", p->name.s, "from", p->from->id.s, "to",
                         p->to ? p->to->id.s : "", "outside", !p->to, "one_way", p->one_way);
}

void api_policies_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_policy *p;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((p = gw_directory_policy_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, p->name.s, policy_json(p));
        page_answer(&page, request, "policies", p);
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
        gateway_tell_and_answer(nva, request, 201, policy_json(p));
}

void api_policies_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_policy *p = policy_of(nva, request);

        if (!p)
                return;
        gw_directory_policy_delete(&nva->directory, p, nva_now());
        gateway_tell_and_answer(nva, request, 204, NULL);
}

/* looks: what one request may cost, for all the gateways of its page. */
static json_t *users_of(const struct gw_nve *gateway, size_t *looks, bool *more) {
        struct gw_gateway_user room[USERS_MAX];
        struct gw_gateway_users users = {.list = room, .max = USERS_MAX, .looks = *looks};
        json_t *list = json_array();

        gw_directory_gateway_users(gateway, &users);
        for (size_t i = 0; i < users.n; i++)
                json_array_append_new(list, json_pack("{s:s, s:s}", "vn", room[i].vn->id.s, "nve", room[i].nve->id.s));
        *looks = users.looks;
        *more = users.more;
        return list;
}

static json_t *gateway_json(const struct gw_nve *nve, size_t *looks) {
        bool more;
        json_t *users = users_of(nve, looks, &more);

        return json_pack("{s:s, s:s, s:I, s:b, s:b, s:o, s:b}", "nve", nve->id.s, "site", nve->site.s, "cost",
                         (json_int_t)nve->gateway_cost, "live", gw_directory_gateway_lives(nve), "arriving",
                         gw_directory_gateway_arrives(nve), "used_by", users, "used_by_more", more);
}

void api_gateways_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const char *after = NULL;
        size_t looks = LOOKS_MAX;
        const struct gw_nve *nve;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        for (after = page_after(&page); (nve = gw_directory_nve_after(&nva->directory, after)); after = nve->id.s) {
                if (!nve->gateway)
                        continue;
                if (!page_has_room(&page))
                        break;
                page_add(&page, nve->id.s, gateway_json(nve, &looks));
        }
        page_answer(&page, request, "gateways", nve);
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
