/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host routes for VMs that have moved (D2 sections 5, 7.1 and 9): a Request of
 * the management node names addresses in pairs (old, new), and where the VM is now; the
 * router sends what is for the old address there. Pure: the routes themselves are
 * set through effects, and the time is handed in.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/table.h"
#include "base/time.h"
#include "wire/registration.h"

enum { GW_HOST_ROUTES_MAX = 65536 };

struct gw_host_route {
        struct gw_table_node node; /* by .old */
        struct gw_ip old, towards;
        struct gw_name vm;
        uint64_t epoch, stamp; /* of the Request that said so last; 0: it had none */
        struct gw_mono expires;
};

struct gw_host_route_effects {
        int (*set)(void *user, struct gw_ip old, struct gw_ip towards); /* replaces; negative errno */
        void (*del)(void *user, struct gw_ip old);
};

struct gw_host_routes {
        struct gw_table table;
        const struct gw_host_route_effects *effects;
        void *user;
        uint64_t n_set, n_removed, n_refused, n_failed;
};

int gw_host_routes_init(struct gw_host_routes *routes, const uint64_t seed[2],
                        const struct gw_host_route_effects *effects, void *user); /* -ENOMEM */
void gw_host_routes_deinit(struct gw_host_routes *routes);                        /* no effects */

/* A genuine Request. 0, or the status of the refusal, which changes nothing but by GW_MH_NO_RESOURCES. */
uint8_t gw_host_routes_notice(struct gw_host_routes *routes, struct gw_mono now, const struct gw_registration *request);
/* Removes what has run out; call it about once a second. */
void gw_host_routes_tick(struct gw_host_routes *routes, struct gw_mono now);
void gw_host_routes_each(struct gw_host_routes *routes, void (*each)(const struct gw_host_route *route, void *user),
                         void *user);
