/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a gateway is told: the VNs that are routed, and every way that the policies
 * allow, as one list that replaces the one before (PUT /v1/gateway). It is told
 * when it connects and after each change; a list that was not taken is told again (directory/arrival.c), and by
 * the next session.
 *
 * All gateways route the same. Of a VN that a one-way policy leads out of, packets
 * of connections come back only where another policy allows them.
 */
#include "nva/gateway.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "directory/gateway.h"
#include "nva/api.h"
#include "nva/json.h"

enum {
        WORK_OF_WAY = 16,
        OUTSIDE = 0,
        ANSWER_S = 10, /* when somebody waits for it */
        CALL_S = 60,   /* nobody does: one that takes thousands of ways on a busy machine gets there */
        STATUS_NO_BODY = 204
};

static json_t *route(uint32_t from, const struct gw_prefix *to, uint32_t vni) {
        char text[GW_PREFIX_TEXT];

        return json_pack("{s:I, s:s, s:I}", "from", (json_int_t)from, "to", gw_prefix_text(to, text), "vni",
                         (json_int_t)vni);
}

static void add_subnets(json_t *routes, uint32_t from, const struct gw_vn *to, const char *flag) {
        for (unsigned i = 0; i < to->n_subnets; i++) {
                json_t *one = route(from, &to->subnets[i], to->vni);

                if (flag)
                        json_object_set_new(one, flag, json_true());
                json_array_append_new(routes, one);
        }
}

static void add_self(json_t *routes, const struct gw_vn *vn) {
        for (unsigned i = 0; i < vn->settings.n_gateways; i++) {
                json_t *one = route(vn->vni, &(struct gw_prefix){vn->settings.gateways[i], 128}, vn->vni);

                json_object_set_new(one, "self", json_true());
                json_array_append_new(routes, one);
        }
}

static void add_outside(json_t *routes, const struct gw_policy *p) {
        static const struct gw_prefix any4 = {{{[10] = 0xff, [11] = 0xff}}, 96}, any6;

        json_array_append_new(routes, route(p->from->vni, &any4, OUTSIDE));
        json_array_append_new(routes, route(p->from->vni, &any6, OUTSIDE));
        if (!p->one_way)
                add_subnets(routes, OUTSIDE, p->from, NULL);
}

static json_t *list_of(const struct gw_directory *d) {
        json_t *vns = json_array(), *routes = json_array();

        for (struct gw_vn *vn = gw_directory_vn_after(d, NULL); vn; vn = gw_directory_vn_after(d, vn->id.s)) {
                if (!gw_directory_vn_is_routed(vn))
                        continue;
                json_array_append_new(vns,
                                      json_pack("{s:I, s:I}", "vni", (json_int_t)vn->vni, "mtu", (json_int_t)vn->mtu));
                add_subnets(routes, vn->vni, vn, "own");
                add_self(routes, vn);
        }
        for (struct gw_policy *p = NULL; (p = gw_directory_policy_after(d, p ? p->name.s : NULL));) {
                if (!p->to) {
                        add_outside(routes, p);
                        continue;
                }
                add_subnets(routes, p->from->vni, p->to, NULL);
                if (!p->one_way)
                        add_subnets(routes, p->to->vni, p->from, NULL);
        }
        return json_pack("{s:o, s:o}", "vns", vns, "routes", routes);
}

/* Who asked for the change is answered when everybody has taken it. */
struct telling {
        struct gw_list link;  /* nva->tellings */
        struct gw_list asked; /* of struct told: who has not answered */
        struct gw_request *request;
        json_t *answer, *untold;
        int status;
        unsigned waiting; /* gateways, and one while they are being told */
};

static void telling_free(struct telling *telling) {
        gw_list_remove(&telling->link);
        json_decref(telling->untold);
        free(telling);
}

static void telling_done(struct telling *telling) {
        if (!telling || --telling->waiting)
                return;
        if (json_array_size(telling->untold)) {
                if (!telling->answer)
                        telling->answer = json_object();
                if (telling->status == STATUS_NO_BODY)
                        telling->status = 200;
                json_object_set(telling->answer, "untold", telling->untold);
        }
        gw_request_answer(telling->request, telling->status, telling->answer);
        telling_free(telling);
}

/* The gateway may be gone by now: it is known by its name. */
struct told {
        struct gw_list link; /* telling->asked */
        struct nva *nva;
        struct telling *telling; /* NULL: nobody waits for it */
        struct gw_name gateway;
        uint64_t n; /* which telling of it this is: an older answer says nothing of a newer list */
};

static void on_told(int status, json_t *body, void *user) {
        struct told *told = user;
        struct gw_error error = {0};
        struct gw_nve *nve;
        bool silent = nva_json_no_answer(status, body), refused = !silent && gw_api_error(status, body, &error);

        if (refused)
                gw_log(GW_ERR, "gateway %s does not take what it is to route: %s", told->gateway.s, error.text);
        nve = gw_directory_nve(&told->nva->directory, told->gateway.s);
        if (nve && nve->ways_told == told->n)
                gw_directory_gateway_took(&told->nva->directory, nve, !silent && !refused, nva_now());
        if (told->telling && (silent || refused))
                json_array_append_new(told->telling->untold, json_string(told->gateway.s));
        gw_list_remove(&told->link);
        telling_done(told->telling);
        nva_call_free(told);
}

static void tell(struct nva *nva, struct gw_nve *nve, json_t *list, struct telling *telling) {
        struct told *told = nva_call_new(nva, sizeof *told);

        if (!told) { /* the next change or session tells it */
                json_decref(list);
                if (telling)
                        json_array_append_new(telling->untold, json_string(nve->id.s));
                return;
        }
        *told = (struct told){.nva = nva, .telling = telling, .gateway = nve->id, .n = ++nve->ways_told};
        gw_directory_gateway_told(&nva->directory, nve, nva_now());
        if (telling) {
                gw_list_append(&telling->asked, &told->link);
                telling->waiting++;
        }
        gw_call(nve->nve_session, "PUT", "/v1/gateway", list, gw_s(telling ? ANSWER_S : CALL_S), on_told, told);
}

/* One that says it is a gateway and may not be is told that nothing is routed. */
void gateway_tell(struct nva *nva, struct gw_nve *nve) {
        json_t *list;

        if (!nve->offers_gateway || !nve->nve_session)
                return;
        list = nve->gateway ? list_of(&nva->directory) : json_pack("{s:[], s:[]}", "vns", "routes");
        nva->directory.work += json_array_size(json_object_get(list, "routes")) * WORK_OF_WAY;
        tell(nva, nve, list, NULL);
}

/* The list is made once: it may have thousands of ways. */
static void tell_all(struct nva *nva, struct telling *telling) {
        json_t *list = NULL;

        for (struct gw_nve *nve = gw_directory_nve_after(&nva->directory, NULL); nve;
             nve = gw_directory_nve_after(&nva->directory, nve->id.s)) {
                /* One whose ways are held is told the newest list when the members are ready for it: nobody waits for that. */
                if (nve->ways_held || (!nve->gateway && (!nve->departs || nve->told_off)))
                        continue;
                if (!nve->nve_session) {
                        if (telling)
                                json_array_append_new(telling->untold, json_string(nve->id.s));
                        continue;
                }
                if (!list)
                        list = list_of(&nva->directory);
                tell(nva, nve, json_incref(list), telling);
        }
        json_decref(list);
}

void gateway_tell_all(struct nva *nva) {
        tell_all(nva, NULL);
}

void gateway_tell_and_answer(struct nva *nva, struct gw_request *request, int status, json_t *answer) {
        struct telling *telling = calloc(1, sizeof *telling);

        if (!telling) {
                tell_all(nva, NULL);
                return gw_request_answer(request, status, answer);
        }
        *telling = (struct telling){
                .request = request, .answer = answer, .untold = json_array(), .status = status, .waiting = 1};
        gw_list_init(&telling->asked);
        gw_list_append(&nva->tellings, &telling->link);
        tell_all(nva, telling);
        telling_done(telling);
}

/* The change is made and stays; who has not confirmed it by now may or may not have it. */
void gateway_deinit(struct nva *nva) {
        if (!nva->tellings.next)
                return;
        gw_list_for_each (link, &nva->tellings) {
                struct telling *telling = gw_list_entry(link, struct telling, link);

                gw_list_for_each (asked, &telling->asked) {
                        struct told *told = gw_list_entry(asked, struct told, link);

                        gw_list_remove(&told->link);
                        told->telling = NULL;
                        json_array_append_new(telling->untold, json_string(told->gateway.s));
                }
                telling->waiting = 1;
                telling_done(telling);
        }
}
