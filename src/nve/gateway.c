/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway role: what is to be routed here, from the NVA to the data plane.
 *
 *      PUT /v1/gateway {vns: [{vni, mtu}], routes: [{from, to, vni, own, self}]}   the complete list
 *
 * from and vni are VNIs, 0 for the outside. The list is written to state-dir
 * before it is acted on, and read again at a start: a gateway that starts while
 * the NVA is away routes as before, and between two daemons the maps do.
 *
 * Routes that are to stay are written over with the same value, so that a new list
 * interrupts nothing; what is not in the list goes last, when the VMs here use
 * another gateway in the VNs that are not routed any more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"
#include "nve/nve.h"

enum { FILE_MAX = 8 << 20, VNS_MAX = GW_VNS_MAX, FILE_MODE = 0600, PATH_SIZE = GW_CONF_PATH_SIZE + 16 };

struct listed {
        struct gw_edge_routed *vns;
        struct gw_edge_route *routes;
        bool *own;
        size_t n_vns, n_routes;
};

bool nve_is_gateway(const struct nve *nve) {
        return !strcmp(nve->config.role, "gateway");
}

static void listed_deinit(struct listed *l) {
        free(l->vns);
        free(l->routes);
        free(l->own);
}

static int read_vn(const struct gw_json_reader *list, json_t *item, size_t i, struct gw_edge_routed *out) {
        struct gw_json_reader r = gw_json_reader_at(list, item, "vns[%zu].", i);

        out->vni = (uint32_t)gw_json_int(&r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        out->mtu = (uint32_t)gw_json_int(&r, "mtu", 68, 65535, GW_JSON_REQUIRED);
        return gw_json_done(&r);
}

static int read_route(const struct gw_json_reader *list, json_t *item, size_t i, struct gw_edge_route *out, bool *own) {
        struct gw_json_reader r = gw_json_reader_at(list, item, "routes[%zu].", i);

        out->from = (uint32_t)gw_json_int(&r, "from", 0, GW_VNI_MAX, GW_JSON_REQUIRED);
        gw_json_prefix(&r, "to", GW_JSON_NEEDED, &out->to);
        out->vni = (uint32_t)gw_json_int(&r, "vni", 0, GW_VNI_MAX, GW_JSON_REQUIRED);
        *own = gw_json_bool(&r, "own", false);
        out->self = gw_json_bool(&r, "self", false);
        return gw_json_done(&r);
}

static int read_listed(json_t *body, struct listed *out, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(body, error);
        json_t *vns = gw_json_array(&r, "vns"), *routes = gw_json_array(&r, "routes");
        size_t n_vns = json_array_size(vns), n_routes = json_array_size(routes);

        *out = (struct listed){.n_vns = n_vns, .n_routes = n_routes};
        if (gw_json_done(&r))
                return error->code;
        if (n_vns > VNS_MAX || n_routes > GW_EDGE_ROUTES_MAX)
                return gw_fail(error, GW_E_FULL, "routes", "%zu VNs and %zu routes; a gateway has room for %d and %d",
                               n_vns, n_routes, VNS_MAX, GW_EDGE_ROUTES_MAX);
        out->vns = calloc(n_vns + 1, sizeof *out->vns);
        out->routes = calloc(n_routes + 1, sizeof *out->routes);
        out->own = calloc(n_routes + 1, sizeof *out->own);
        if (!out->vns || !out->routes || !out->own)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        for (size_t i = 0; i < n_vns; i++)
                if (read_vn(&r, json_array_get(vns, i), i, &out->vns[i]))
                        return error->code;
        for (size_t i = 0; i < n_routes; i++)
                if (read_route(&r, json_array_get(routes, i), i, &out->routes[i], &out->own[i]))
                        return error->code;
        return 0;
}

/* ---- the data plane ---- */

struct sweep {
        struct nve *nve;
        const struct listed *listed;
};

static int sweep_route(const struct gw_way *route, void *user) {
        const struct sweep *s = user;

        for (size_t i = 0; i < s->listed->n_routes; i++) {
                const struct gw_edge_route *wanted = &s->listed->routes[i];

                if (wanted->from == route->from && wanted->to.bits == route->to.bits &&
                    gw_ip_eq(wanted->to.ip, route->to.ip))
                        return 0;
        }
        return gw_datapath_route_del(s->nve->dp, route->from, &route->to);
}

static int sweep_vn(uint32_t vni, void *user) {
        const struct sweep *s = user;

        for (size_t i = 0; i < s->listed->n_vns; i++)
                if (s->listed->vns[i].vni == vni)
                        return 0;
        return vni ? gw_datapath_routed_del(s->nve->dp, vni) : 0;
}

static int set_outside(struct nve *nve, uint32_t *mtu) {
        struct gw_link link;

        *mtu = 0;
        if (!nve->config.outside_device[0] || !nve_is_gateway(nve))
                return gw_datapath_outside_clear(nve->dp);
        if (gw_link_get(nve->config.outside_device, &link)) {
                gw_log(GW_WARNING, "outside-device=%s: there is no such device; nothing is routed to the outside",
                       nve->config.outside_device);
                return gw_datapath_outside_clear(nve->dp);
        }
        *mtu = link.mtu;
        return gw_datapath_outside_set(nve->dp, (uint32_t)link.index, link.mtu);
}

static int program(struct nve *nve, const struct listed *l) {
        int r = 0;

        for (size_t i = 0; !r && i < l->n_vns; i++)
                r = gw_datapath_routed_set(nve->dp, l->vns[i].vni, l->vns[i].mtu);
        for (size_t i = 0; !r && i < l->n_routes; i++) {
                const struct gw_edge_route *wanted = &l->routes[i];
                struct gw_way route = {.from = wanted->from,
                                       .to = wanted->to,
                                       .vni = wanted->vni,
                                       .flags = (l->own[i] ? GW_ROUTE_OWN : 0) | (wanted->self ? GW_ROUTE_SELF : 0) |
                                                (wanted->vni == GW_EDGE_OUTSIDE ? GW_ROUTE_OUTSIDE : 0)};

                r = gw_datapath_route_set(nve->dp, &route);
        }
        return r;
}

static int sweep_all(struct nve *nve, const struct listed *l) {
        struct sweep sweep = {nve, l};
        int r = gw_datapath_route_each(nve->dp, sweep_route, &sweep);

        return r ? r : gw_datapath_routed_each(nve->dp, sweep_vn, &sweep);
}

/* ---- acting on a list ---- */

static void file_path(const struct nve *nve, char out[static PATH_SIZE]) {
        snprintf(out, PATH_SIZE, "%s/gateway.json", nve->config.common.state_dir);
}

static int act(struct nve *nve, const struct listed *l, struct gw_error *error) {
        uint32_t outside_mtu;
        int r = set_outside(nve, &outside_mtu);

        if (!r)
                r = program(nve, l);
        if (!r)
                r = gw_edge_route(nve->edge, l->vns, l->n_vns, l->routes, l->n_routes, outside_mtu);
        if (!r)
                r = sweep_all(nve, l);
        return r ? gw_fail(error, r, "", "the ways could not be written to the data plane: %s", gw_error_word(r)) : 0;
}

void nve_gateway_put(struct gw_request *request, void *user) {
        struct nve *nve = user;
        json_t *body = gw_request_body(request);
        struct gw_error error = {0};
        struct listed l = {0};
        char path[PATH_SIZE];
        int r;

        if (!nve_is_gateway(nve))
                gw_fail(&error, GW_E_CONFLICT, "", "this edge does not have the role of a gateway");
        else
                read_listed(body, &l, &error);
        file_path(nve, path);
        if (!error.code && (r = gw_file_write_json(path, body, FILE_MODE)))
                gw_fail(&error, r, "", "%s cannot be written: %s", path, gw_error_word(r));
        if (!error.code && !act(nve, &l, &error)) {
                json_decref(nve->gateway);
                nve->gateway = json_incref(body);
        }
        listed_deinit(&l);
        if (error.code)
                gw_request_fail(request, &error);
        else
                gw_request_answer(
                        request, 200,
                        json_pack("{s:I, s:I}", "vns", (json_int_t)l.n_vns, "routes", (json_int_t)l.n_routes));
}

/* A host that is no gateway any more takes away what it routed by. */
int nve_gateway_restore(struct nve *nve, struct gw_error *error) {
        struct listed l = {0};
        json_t *body = NULL;
        char path[PATH_SIZE];
        int r = 0;

        file_path(nve, path);
        if (nve_is_gateway(nve)) {
                r = gw_file_read_json(path, FILE_MAX, &body, error);
                r = r == -ENOENT ? 0 : r ? r : read_listed(body, &l, error);
        }
        if (r) {
                gw_log(GW_ERR, "%s: left out: %s", path, error->text);
                listed_deinit(&l);
                l = (struct listed){0};
        }
        *error = (struct gw_error){0};
        r = act(nve, &l, error);
        listed_deinit(&l);
        nve->gateway = body;
        return r;
}

struct choices {
        const struct gw_edge *edge;
        json_t *list;
};

static void chosen(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user) {
        const struct choices *c = user;
        struct gw_ip gateway = gw_edge_gateway_of(c->edge, vni);

        (void)ports, (void)members, (void)n;
        json_array_append_new(c->list,
                              json_pack("{s:I, s:o}", "vni", (json_int_t)vni, "gateway", nve_json_ip(gateway)));
}

static void path(const struct gw_edge_path_view *view, void *user) {
        static const char *const words[] = {
                [GW_EDGE_PATH_GOOD] = "good", [GW_EDGE_PATH_LOST] = "lost", [GW_EDGE_PATH_HELD] = "held"};
        json_t *one = json_pack("{s:o, s:s, s:I}", "gateway", nve_json_ip(view->locator), "state", words[view->state],
                                "losses", (json_int_t)view->losses);

        if (view->heard.ns) {
                json_object_set_new(one, "rtt_us", json_integer(view->rtt_us));
                json_object_set_new(
                        one, "heard_ms_ago",
                        json_integer((json_int_t)(gw_mono_between(view->heard, gw_mono_now()).ns / GW_NS_PER_MS)));
        }
        if (view->state == GW_EDGE_PATH_HELD)
                json_object_set_new(
                        one, "good_in_ms",
                        json_integer((json_int_t)(gw_mono_between(gw_mono_now(), view->good_at).ns / GW_NS_PER_MS)));
        json_array_append_new(user, one);
}

void nve_gateway_show(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct choices c = {nve->edge, json_array()};
        json_t *paths = json_array();

        gw_edge_each_vn(nve->edge, chosen, &c);
        gw_edge_each_path(nve->edge, path, paths);
        gw_request_answer(request, 200,
                          json_pack("{s:s, s:s, s:I, s:o, s:o, s:O*}", "role", nve->config.role, "site",
                                    nve->config.site.s, "cost", (json_int_t)nve->config.gateway_cost, "chosen", c.list,
                                    "paths", paths, "routed", nve->gateway));
}
