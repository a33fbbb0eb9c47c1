/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/vns: virtual networks. */
#include "nva/api.h"
#include "nva/definition.h"
#include "nva/json.h"

void api_vns_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct gw_vn *vn = NULL;
        json_t *list = json_array();

        while ((vn = gw_directory_vn_after(&nva->directory, vn ? vn->id.s : NULL)))
                json_array_append_new(list, nva_json_vn(vn));
        api_answer_list(request, "vns", list);
}

void api_vns_show(struct gw_request *request, void *user) {
        const struct gw_vn *vn = api_vn(user, request);

        if (vn)
                gw_request_answer(request, 200, nva_json_vn(vn));
}

void api_vns_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_prefix subnets[GW_VN_SUBNETS_MAX];
        struct gw_vn_spec spec = {.subnets = subnets};
        struct gw_name id = {""};
        struct gw_vn *vn;

        nva_read_id(&r, "name", &id);
        spec.id = id.s;
        spec.vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, 0);
        spec.mtu = (uint16_t)gw_json_int(&r, "mtu", GW_VN_MTU_MIN, GW_VN_MTU_MAX, 0);
        gw_json_prefixes(&r, "subnets", subnets, GW_VN_SUBNETS_MAX, &spec.n_subnets);
        if (gw_json_done(&r) || gw_directory_vn_create(&nva->directory, &spec, &vn, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 201, nva_json_vn(vn));
}

void api_vns_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vn *vn = api_vn(nva, request);
        struct gw_error error = {0};

        if (!vn)
                return;
        if (gw_directory_vn_delete(&nva->directory, vn, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 204, NULL);
}
