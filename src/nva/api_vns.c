/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/vns: virtual networks. */
#include <string.h>

#include "nva/api.h"
#include "nva/definition.h"
#include "nva/gateway.h"
#include "nva/json.h"
#include "nva/page.h"

void api_vns_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_vn *vn;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((vn = gw_directory_vn_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, vn->id.s, nva_json_vn(vn));
        page_answer(&page, request, "vns", vn);
}

/* Who holds something of it costs a walk over its VMs: only when one VN is looked at. */
static json_t *with_confirmations(struct nva *nva, const struct gw_vn *vn) {
        struct gw_directory_vn_confirmations all = gw_directory_vn_confirmations(&nva->directory, vn);
        json_t *object = nva_json_vn(vn);

        json_object_set_new(object, "holders", json_integer(all.holders));
        json_object_set_new(object, "holders_complete", json_boolean(all.complete));
        json_object_set_new(object, "unconfirmed",
                            json_pack("{s:I, s:I}", "waiting", (json_int_t)all.waiting, "away", (json_int_t)all.away));
        return object;
}

void api_vns_show(struct gw_request *request, void *user) {
        struct gw_vn *vn = api_vn(user, request);

        if (vn)
                gw_request_answer(request, 200, with_confirmations(user, vn));
}

static void read_model(struct gw_json_reader *r, uint8_t *model) {
        const char *word = gw_json_string(r, "directory", gw_vn_model_word(*model));

        if (gw_vn_model_parse(word, model))
                gw_json_fault(r, "directory", "directory is \"%.32s\"; allowed are hybrid, push and pull", word);
}

/* {"neighbours": N, ...}: 0 is no limit, null the hosts' own. */
static void read_limits(struct gw_json_reader *r, uint32_t limits[static GW_VN_LIMITS]) {
        json_t *object = gw_json_object(r, "limits");
        struct gw_json_reader in;

        if (!object)
                return;
        in = gw_json_reader_at(r, object, "limits.");
        for (int i = 0; i < GW_VN_LIMITS; i++) {
                const char *word = nva_vn_limit_words[i];
                long long per_s = -1;

                if (json_is_null(json_object_get(object, word))) {
                        json_object_del(object, word);
                        limits[i] = 0;
                } else {
                        per_s = gw_json_int(&in, word, 0, NVA_VN_LIMIT_MAX, -1);
                }
                if (per_s >= 0)
                        limits[i] = per_s ? (uint32_t)per_s : GW_VN_NO_LIMIT;
        }
        gw_json_done(&in);
}

static void read_absent(struct gw_json_reader *r, uint32_t *flags) {
        const char *word = gw_json_string(r, "absent", "");
        int policy = 0;

        if (!*word)
                return;
        while (policy < NVA_VN_ABSENT && strcmp(word, nva_vn_absent_words[policy]) != 0)
                policy++;
        if (policy == NVA_VN_ABSENT)
                gw_json_fault(r, "absent", "absent is \"%.32s\"; allowed are wait, drop and answer", word);
        else
                *flags = (*flags & ~(uint32_t)(GW_VN_ABSENT_DROP | GW_VN_ABSENT_ANSWER)) | nva_vn_absent_flags[policy];
}

/* What is not said stays as it is in *spec. */
static void read_settings(struct gw_json_reader *r, struct gw_vn_spec *spec, struct gw_ip *gateways) {
        const char *announcements = gw_json_string(r, "announcements", "");
        int rarp = gw_json_bool(r, "rarp", spec->flags & GW_VN_RARP ? 1 : 0);
        size_t n = 0;

        if (gw_json_array(r, "gateways")) {
                gw_json_ips(r, "gateways", gateways, GW_VN_GATEWAYS_MAX, &n);
                spec->n_gateways = n;
        }
        spec->gateways = gateways;
        read_limits(r, spec->limits);
        read_absent(r, &spec->flags);
        spec->flags = (spec->flags & ~(uint32_t)GW_VN_RARP) | (rarp ? GW_VN_RARP : 0);
        if (!*announcements)
                return;
        if (!strcmp(announcements, "announced"))
                spec->flags |= GW_VN_ANNOUNCED;
        else if (!strcmp(announcements, "planned"))
                spec->flags &= ~(uint32_t)GW_VN_ANNOUNCED;
        else
                gw_json_fault(r, "announcements", "announcements is \"%.32s\"; allowed are planned and announced",
                              announcements);
}

void api_vns_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_prefix subnets[GW_VN_SUBNETS_MAX];
        struct gw_ip gateways[GW_VN_GATEWAYS_MAX];
        struct gw_vn_spec spec = {.subnets = subnets};
        struct gw_name id = {""};
        struct gw_vn *vn;

        nva_read_id(&r, "name", &id);
        spec.id = id.s;
        spec.vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, 0);
        spec.mtu = (uint16_t)gw_json_int(&r, "mtu", GW_VN_MTU_MIN, GW_VN_MTU_MAX, 0);
        gw_json_prefixes(&r, "subnets", subnets, GW_VN_SUBNETS_MAX, &spec.n_subnets);
        read_model(&r, &spec.model);
        read_settings(&r, &spec, gateways);
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

/* What may change while VMs use it: who is told what. */
void api_vns_update(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vn *vn = api_vn(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        struct gw_ip gateways[GW_VN_GATEWAYS_MAX];
        struct gw_vn_spec spec;

        if (!vn)
                return;
        spec = (struct gw_vn_spec){.id = vn->id.s,
                                   .vni = vn->vni,
                                   .mtu = vn->mtu,
                                   .model = vn->model,
                                   .n_subnets = vn->n_subnets,
                                   .subnets = vn->subnets,
                                   .flags = vn->settings.flags,
                                   .n_gateways = vn->settings.n_gateways};
        memcpy(gateways, vn->settings.gateways, sizeof gateways);
        memcpy(spec.limits, vn->settings.limits, sizeof spec.limits);
        read_model(&r, &spec.model);
        read_settings(&r, &spec, gateways);
        if (gw_json_done(&r) || gw_directory_vn_update(&nva->directory, vn, &spec, &error))
                return gw_request_fail(request, &error);
        gateway_tell_all(nva);
        gw_request_answer(request, 200, nva_json_vn(vn));
}

void api_vns_flush(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vn *vn = api_vn(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        bool positive = gw_json_bool(&r, "positive", false), negative = gw_json_bool(&r, "negative", false);

        if (!vn)
                return;
        if (!positive && !negative)
                gw_json_fault(&r, "positive", "neither positive nor negative is true: there is nothing to flush");
        if (gw_json_done(&r))
                return gw_request_fail(request, &error);
        gw_directory_vn_flush(&nva->directory, vn, positive, negative, nva_now());
        gw_request_answer(request, 202, with_confirmations(nva, vn));
}
