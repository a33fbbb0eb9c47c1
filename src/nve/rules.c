/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port may do that others may not, and how often it may make others work:
 * between calls, state files and the data plane.
 *
 * {"allow": ["ra", ...], "limits": {"neighbours": N, "misses": N, "group": N}}, both optional. A limit that is not
 * given is the VN's, or the host's (nve.conf); 0 is none. Files of before have neither, and load.
 */
#include "base/allow.h"
#include "io/allow.h"
#include "nve/nve.h"

enum { PER_S_MAX = 1000000000 };

static const char *const limit_words[GW_EDGE_LIMITS] = {
        [GW_EDGE_LIMIT_NEIGHBOURS] = "neighbours", [GW_EDGE_LIMIT_MISSES] = "misses", [GW_EDGE_LIMIT_GROUP] = "group"};

_Static_assert((int)GW_EDGE_LIMITS == (int)GW_LIMIT_MAX && (int)GW_EDGE_LIMIT_MISSES == (int)GW_LIMIT_MISSES &&
                       (int)GW_EDGE_LIMIT_GROUP == (int)GW_LIMIT_GROUP,
               "the edge's limits are the data plane's");

static void read_limits(struct gw_json_reader *r, json_t *object, uint32_t limits[static GW_EDGE_LIMITS]) {
        struct gw_json_reader in = gw_json_reader_at(r, object, "limits.");

        for (int i = 0; i < GW_EDGE_LIMITS; i++) {
                long long per_s = gw_json_int(&in, limit_words[i], 0, PER_S_MAX, -1);

                if (per_s >= 0)
                        limits[i] = per_s ? (uint32_t)per_s : GW_EDGE_NO_LIMIT;
        }
        gw_json_done(&in);
}

void nve_rules_read(struct gw_json_reader *r, struct gw_edge_attach *out) {
        json_t *limits;

        gw_json_allow(r, "allow", &out->allow);
        limits = gw_json_object(r, "limits");
        if (limits)
                read_limits(r, limits, out->limits);
}

void nve_rules_write(json_t *into, const struct gw_edge_attach *port) {
        json_t *limits = json_object();

        for (int i = 0; i < GW_EDGE_LIMITS; i++)
                if (port->limits[i])
                        json_object_set_new(limits, limit_words[i],
                                            json_integer(port->limits[i] == GW_EDGE_NO_LIMIT ? 0 : port->limits[i]));
        json_object_set_new(into, "allow", gw_allow_json(port->allow));
        json_object_set_new(into, "limits", limits);
}

json_t *nve_rules_in_force(const struct nve *nve, const struct gw_edge_attach *port) {
        struct gw_datapath_port is;
        json_t *limits;

        if (gw_datapath_port_get(nve->dp, port->ifindex, &is))
                return json_null();
        limits = json_object();
        for (int i = 0; i < GW_LIMIT_MAX; i++)
                json_object_set_new(limits, limit_words[i], json_integer(is.per_s[i]));
        json_object_set_new(limits, "queries", json_integer(gw_edge_queries_per_s(nve->edge, port->ifindex)));
        return limits;
}

uint32_t nve_rules_flags(const struct gw_edge_attach *port) {
        static const struct {
                uint16_t allow;
                uint32_t flag;
        } flags[] = {{GW_ALLOW_RA, GW_PORT_ROUTER},
                     {GW_ALLOW_DHCP_SERVER, GW_PORT_DHCP_SERVER},
                     {GW_ALLOW_FORWARD, GW_PORT_FORWARDS},
                     {GW_ALLOW_LLC, GW_PORT_ANY_FRAME},
                     {GW_ALLOW_MULTICAST_ROUTER, GW_PORT_MULTICAST_ROUTER}};
        uint32_t all = 0;

        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
                all |= port->allow & flags[i].allow ? flags[i].flag : 0;
        return all;
}

void nve_rules_limits(const struct nve *nve, const uint32_t limits[static GW_EDGE_LIMITS],
                      uint32_t per_s[static GW_LIMIT_MAX]) {
        for (int i = 0; i < GW_EDGE_LIMITS; i++) {
                uint32_t limit = limits[i] ? limits[i] : nve->config.limits[i];

                per_s[i] = limit == GW_EDGE_NO_LIMIT ? 0 : limit;
        }
}
