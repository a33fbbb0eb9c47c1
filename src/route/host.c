/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of host routes. One for an address: a second VM that claims it is
 * refused (155), as is an older epoch, or an older stamp where there is no epoch (157), and
 * the same message again (156). An odd number of addresses of one family is
 * malformed and refused as such (128), as is a Request that says of no address where
 * to. With lifetime 0 the addresses' routes are removed.
 *
 * Where to: the place that the Request names (option 68, for IPv4 option 38), else
 * the new address. A Request is checked as a whole before anything is changed; a
 * route that the kernel does not take is 130, and those of the same Request before it stay.
 */
#include "route/host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

struct pair {
        struct gw_ip old, towards;
};
enum { PAIRS_MAX = GW_REG_ADDRS_MAX };

static bool match(const struct gw_table_node *node, const void *key) {
        return gw_ip_eq(gw_container_of(node, struct gw_host_route, node)->old, *(const struct gw_ip *)key);
}

int gw_host_routes_init(struct gw_host_routes *routes, const uint64_t seed[2],
                        const struct gw_host_route_effects *effects, void *user) {
        *routes = (struct gw_host_routes){.effects = effects, .user = user};
        return gw_table_init(&routes->table, seed, match);
}

static void route_free(struct gw_host_routes *routes, struct gw_host_route *r) {
        gw_table_remove(&routes->table, &r->node);
        free(r);
}

static void free_each(struct gw_table_node *node, void *user) {
        route_free(user, gw_container_of(node, struct gw_host_route, node));
}

void gw_host_routes_deinit(struct gw_host_routes *routes) {
        if (routes->effects)
                gw_table_each(&routes->table, free_each, routes);
        gw_table_deinit(&routes->table);
        *routes = (struct gw_host_routes){0};
}

static struct gw_host_route *route_find(const struct gw_host_routes *routes, struct gw_ip old) {
        struct gw_table_node *node =
                gw_table_find(&routes->table, gw_table_hash(&routes->table, &old, sizeof old), &old);

        return node ? gw_container_of(node, struct gw_host_route, node) : NULL;
}

/* ---- what a Request says ---- */

static struct gw_ip place_of(const struct gw_registration *request) {
        if (request->has & GW_REG_HAS_SERVING)
                return request->serving;
        if (request->has & GW_REG_HAS_DEFAULT_ROUTER4)
                return request->default_router4;
        return (struct gw_ip){{0}};
}

static void put_pair(struct pair *pairs, size_t *n, struct gw_ip old, struct gw_ip new, struct gw_ip place) {
        static const struct gw_ip unspecified;

        pairs[*n].old = old;
        if (gw_ip_is_unicast(place))
                pairs[*n].towards = place;
        else
                pairs[*n].towards = gw_ip_eq(old, new) ? unspecified : new;
        ++*n;
}

static size_t pairs_of(const struct gw_registration *request, struct pair pairs[static PAIRS_MAX]) {
        struct gw_ip place = place_of(request);
        size_t n = 0;

        for (size_t i = 0; i + 1 < request->n_addrs6; i += 2)
                put_pair(pairs, &n, request->addrs6[i].ip, request->addrs6[i + 1].ip, place);
        for (size_t i = 0; i + 1 < request->n_addrs4; i += 2)
                put_pair(pairs, &n, request->addrs4[i].ip, request->addrs4[i + 1].ip, place);
        return n;
}

static uint8_t check_order(const struct gw_host_route *r, const struct gw_registration *request) {
        uint64_t epoch = request->has & GW_REG_HAS_EPOCH ? request->epoch : r->epoch;

        if (!gw_name_eq(&r->vm, &request->vm))
                return GW_MH_PREFIX_NOT_AUTHORIZED;
        if (epoch != r->epoch)
                return epoch < r->epoch ? GW_MH_TIMESTAMP_LOWER : GW_MH_ACCEPTED;
        if (!(request->has & GW_REG_HAS_TIMESTAMP) || !r->stamp || request->timestamp > r->stamp)
                return GW_MH_ACCEPTED;
        return request->timestamp == r->stamp ? GW_MH_TIMESTAMP_MISMATCH : GW_MH_TIMESTAMP_LOWER;
}

static uint8_t check(const struct gw_host_routes *routes, const struct gw_registration *request,
                     const struct pair *pairs, size_t n) {
        if (request->kind != GW_REG_REQUEST || !(request->flags & GW_MH_REQUEST_PROXY))
                return GW_MH_PROHIBITED;
        if (!(request->has & GW_REG_HAS_VM))
                return GW_MH_MISSING_IDENTIFIER;
        if (request->n_addrs6 % 2 || request->n_addrs4 % 2)
                return GW_MH_REJECTED;
        if (!n)
                return GW_MH_MISSING_PREFIX;
        for (size_t i = 0; i < n; i++) {
                const struct gw_host_route *r = route_find(routes, pairs[i].old);
                uint8_t status = r ? check_order(r, request) : GW_MH_ACCEPTED;

                if (status)
                        return status;
                if (!gw_ip_is_unicast(pairs[i].old) || (request->lifetime_units && !gw_ip_is_unicast(pairs[i].towards)))
                        return GW_MH_REJECTED;
        }
        return GW_MH_ACCEPTED;
}

/* ---- changing ---- */

static struct gw_host_route *route_get(struct gw_host_routes *routes, struct gw_ip old) {
        struct gw_host_route *r = route_find(routes, old);

        if (r || routes->table.count >= GW_HOST_ROUTES_MAX)
                return r;
        r = calloc(1, sizeof *r);
        if (!r)
                return NULL;
        r->old = old;
        if (gw_table_insert(&routes->table, &r->node, gw_table_hash(&routes->table, &old, sizeof old))) {
                free(r);
                return NULL;
        }
        return r;
}

static uint8_t route_set(struct gw_host_routes *routes, struct gw_mono now, const struct pair *pair,
                         const struct gw_registration *request) {
        bool there = route_find(routes, pair->old) != NULL;
        struct gw_host_route *r = route_get(routes, pair->old);

        if (!r)
                return GW_MH_NO_RESOURCES;
        if (routes->effects->set(routes->user, pair->old, pair->towards)) {
                routes->n_failed++;
                if (!there)
                        route_free(routes, r);
                return GW_MH_NO_RESOURCES;
        }
        routes->n_set++;
        r->towards = pair->towards;
        r->vm = request->vm;
        if (request->has & GW_REG_HAS_EPOCH)
                r->epoch = request->epoch;
        r->stamp = request->has & GW_REG_HAS_TIMESTAMP ? request->timestamp : 0;
        r->expires = gw_mono_after(now, gw_s((uint64_t)request->lifetime_units * GW_MH_LIFETIME_UNIT_S));
        return GW_MH_ACCEPTED;
}

static void route_remove(struct gw_host_routes *routes, struct gw_host_route *r) {
        routes->effects->del(routes->user, r->old);
        routes->n_removed++;
        route_free(routes, r);
}

uint8_t gw_host_routes_notice(struct gw_host_routes *routes, struct gw_mono now,
                              const struct gw_registration *request) {
        struct pair pairs[PAIRS_MAX];
        size_t n = pairs_of(request, pairs);
        uint8_t status = check(routes, request, pairs, n);

        for (size_t i = 0; i < n && !status; i++) {
                struct gw_host_route *r = route_find(routes, pairs[i].old);

                if (request->lifetime_units)
                        status = route_set(routes, now, &pairs[i], request);
                else if (r)
                        route_remove(routes, r);
        }
        routes->n_refused += status != GW_MH_ACCEPTED;
        return status;
}

struct walk {
        struct gw_host_routes *routes;
        struct gw_mono now;
        void (*each)(const struct gw_host_route *route, void *user);
        void *user;
};

static void expire_each(struct gw_table_node *node, void *user) {
        struct walk *walk = user;
        struct gw_host_route *r = gw_container_of(node, struct gw_host_route, node);

        if (gw_mono_reached(walk->now, r->expires))
                route_remove(walk->routes, r);
}

void gw_host_routes_tick(struct gw_host_routes *routes, struct gw_mono now) {
        gw_table_each(&routes->table, expire_each, &(struct walk){.routes = routes, .now = now});
}

static void show_each(struct gw_table_node *node, void *user) {
        const struct walk *walk = user;

        walk->each(gw_container_of(node, struct gw_host_route, node), walk->user);
}

void gw_host_routes_each(struct gw_host_routes *routes, void (*each)(const struct gw_host_route *route, void *user),
                         void *user) {
        gw_table_each(&routes->table, show_each, &(struct walk){.each = each, .user = user});
}
