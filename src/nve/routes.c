/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default router's part (host-routes = yes): what the management node says of VMs that have moved becomes
 * host routes in the kernel's main table, with a protocol number of their own. Those that an earlier life of this
 * daemon left are flushed at its start: the authority tells everything anew with the next session.
 *
 * A route goes to the next hop of the way to the VM's place, as the kernel has it at that moment; it is looked up again with
 * each refresh of the notice.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"
#include "route/host.h"
#include "wire/registration.h"

enum { LOG_BURST = 20, TICK_MS = 1000 };

struct nve_routes {
        struct gw_host_routes table;
        struct gw_route_watch *ways;
        struct gw_timer *tick;
};

static int fx_set(void *user, struct gw_ip old, struct gw_ip towards) {
        struct nve *nve = user;
        struct gw_next_hop hop;
        char a[GW_IP_TEXT], b[GW_IP_TEXT];
        int r = gw_route_watch_next_hop(nve->routes->ways, towards, (struct gw_ip){{0}}, &hop);

        if (!r)
                r = gw_host_route_set(old, &hop);
        if (r)
                gw_log_limited(GW_WARNING, LOG_BURST, "no host route: address=%s towards=%s error=\"%s\"",
                               gw_ip_text(old, a), gw_ip_text(towards, b), strerror(-r));
        return r;
}

static void fx_del(void *user, struct gw_ip old) {
        (void)user;
        gw_host_route_del(old);
}

static const struct gw_host_route_effects effects = {.set = fx_set, .del = fx_del};

/* The edge has answered for what it holds itself; the routes' word is added to that. */
void nve_routes_noticed(struct nve *nve, const struct gw_registration *request, struct gw_registration *reply) {
        uint8_t status;

        if (!nve->routes || reply->status >= GW_MH_REJECTED)
                return;
        status = gw_host_routes_notice(&nve->routes->table, gw_mono_now(), request);
        if (status) {
                gw_log_limited(GW_WARNING, LOG_BURST, "host routes for vm=%s refused: status=%u (%s)", request->vm.s,
                               status, gw_registration_status_word(status));
                gw_registration_answer(request, status, reply);
        } else if (request->lifetime_units > reply->lifetime_units) {
                reply->lifetime_units = request->lifetime_units;
        }
}

static void on_tick(void *user) {
        struct nve *nve = user;

        gw_host_routes_tick(&nve->routes->table, gw_mono_now());
}

int nve_routes_open(struct nve *nve, struct gw_error *error) {
        uint64_t seed[2];
        int r;

        if (!nve->config.host_routes)
                return 0;
        if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
                return gw_fail(error, -errno, "", "no random numbers: %m");
        nve->routes = calloc(1, sizeof *nve->routes);
        if (!nve->routes || gw_host_routes_init(&nve->routes->table, seed, &effects, nve))
                return gw_fail(error, -ENOMEM, "", "out of memory");
        r = gw_host_route_flush();
        if (!r)
                r = gw_route_watch_new(&nve->routes->ways);
        if (!r)
                r = gw_timer_new(&nve->routes->tick, &nve->loop, gw_ms(TICK_MS), gw_ms(TICK_MS), on_tick, nve);
        return r < 0 ? gw_fail(error, r, "host-routes", "host routes cannot be set: %s", strerror(-r)) : 0;
}

void nve_routes_close(struct nve *nve) {
        struct nve_routes *routes = nve->routes;

        if (!routes)
                return;
        gw_timer_free(routes->tick);
        gw_route_watch_free(routes->ways);
        gw_host_routes_deinit(&routes->table);
        free(routes);
        nve->routes = NULL;
}

/* ---- shown ---- */

static void show_route(const struct gw_host_route *route, void *user) {
        char old[GW_IP_TEXT], towards[GW_IP_TEXT];

        json_array_append_new(
                user, json_pack("{s:s, s:s, s:s, s:I, s:I}", "address", gw_ip_text(route->old, old), "towards",
                                gw_ip_text(route->towards, towards), "vm", route->vm.s, "epoch",
                                (json_int_t)route->epoch, "remaining_ms",
                                (json_int_t)(gw_mono_between(gw_mono_now(), route->expires).ns / GW_NS_PER_MS)));
}

void nve_show_host_routes(struct gw_request *request, void *user) {
        struct nve *nve = user;
        json_t *list = json_array();

        if (nve->routes)
                gw_host_routes_each(&nve->routes->table, show_route, list);
        gw_request_answer(request, 200, json_pack("{s:o}", "host_routes", list));
}

json_t *nve_routes_json(const struct nve *nve) {
        const struct gw_host_routes *t = nve->routes ? &nve->routes->table : NULL;

        return json_pack("{s:I, s:I, s:I, s:I, s:I}", "held", (json_int_t)(t ? t->table.count : 0), "set",
                         (json_int_t)(t ? t->n_set : 0), "removed", (json_int_t)(t ? t->n_removed : 0), "refused",
                         (json_int_t)(t ? t->n_refused : 0), "failed", (json_int_t)(t ? t->n_failed : 0));
}
