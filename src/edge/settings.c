/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settings of a VN: its gateway, what guests may announce, limits of its ports.
 *
 * The NVA sends them with the members, in full each time. The gateway has the
 * same MAC address on every NVE, and its addresses are neighbours like any
 * other: claimed here, answered by the data plane. So is the link-local address
 * that every stack derives from that MAC, as long as there is a gateway.
 *
 * A port's limits are those it was attached with, else its VN's, else the host's.
 *
 * After a restart the addresses that the data plane still answers for are kept
 * until the NVA has said which they are.
 */
#include "base/log.h"
#include "edge/core.h"

static struct gw_ip gateway_link_local(void) {
        return gw_edge_link_local(GW_GATEWAY_MAC);
}

/* RFC 4291 appendix A: a modified EUI-64 behind fe80::. */
struct gw_ip gw_edge_link_local(struct gw_mac mac) {
        return (struct gw_ip){{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac.b[0] ^ 2, mac.b[1], mac.b[2], 0xff, 0xfe, mac.b[3],
                               mac.b[4], mac.b[5]}};
}

bool gw_edge_link_local_mac(struct gw_ip ip, struct gw_mac *out) {
        *out = (struct gw_mac){{ip.b[8] ^ 2, ip.b[9], ip.b[10], ip.b[13], ip.b[14], ip.b[15]}};
        return gw_ip_eq(gw_edge_link_local(*out), ip);
}

static bool has_gateway(const struct gw_vn_settings *settings, struct gw_ip ip) {
        for (size_t i = 0; i < settings->n_gateways; i++)
                if (gw_ip_eq(settings->gateways[i], ip))
                        return true;
        return false;
}

static void claim(struct gw_edge *edge, uint32_t vni, struct gw_ip ip) {
        struct edge_key key = gw_edge_key_ip(vni, ip);

        gw_edge_neigh_claim(edge, vni, ip, GW_GATEWAY_MAC);
        gw_edge_query_resolve(edge, &key);
}

_Static_assert((int)GW_VN_LIMIT_NEIGHBOURS == (int)GW_EDGE_LIMIT_NEIGHBOURS &&
                       (int)GW_VN_LIMIT_MISSES == (int)GW_EDGE_LIMIT_MISSES &&
                       (int)GW_VN_LIMIT_GROUP == (int)GW_EDGE_LIMIT_GROUP && GW_VN_NO_LIMIT == GW_EDGE_NO_LIMIT,
               "the VN's limits are the edge's, and one more");

void gw_edge_port_limit(struct gw_edge *edge, const struct edge_port *port) {
        uint32_t limits[GW_EDGE_LIMITS];

        if (!edge->fx->port_limits || !port->attached || !port->vn->told)
                return;
        for (int i = 0; i < GW_EDGE_LIMITS; i++)
                limits[i] = port->a.limits[i] ? port->a.limits[i] : port->vn->settings.limits[i];
        edge->fx->port_limits(edge->user, port->a.ifindex, limits);
}

struct of_vn {
        struct gw_edge *edge;
        const struct edge_vn *vn;
};

static void limit_each(struct gw_table_node *node, void *user) {
        const struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        const struct of_vn *of = user;

        if (port->vn == of->vn)
                gw_edge_port_limit(of->edge, port);
}

static void limits_apply(struct gw_edge *edge, struct edge_vn *vn, const struct gw_vn_settings *was) {
        bool same = vn->told && memcmp(was->limits, vn->settings.limits, sizeof was->limits) == 0;

        vn->told = true;
        if (!same)
                gw_table_each(&edge->ports_by_id, limit_each, &(struct of_vn){edge, vn});
}

void gw_edge_settings_apply(struct gw_edge *edge, const struct gw_vn_settings *said) {
        struct edge_vn *vn = gw_edge_vn_find(edge, said->vni);
        struct gw_vn_settings was;

        if (!vn)
                return;
        was = vn->settings;
        vn->settings = *said;
        limits_apply(edge, vn, &was);
        gw_edge_still_apply_vn(edge, vn);
        for (size_t i = 0; i < was.n_gateways; i++)
                if (!has_gateway(said, was.gateways[i]))
                        gw_edge_neigh_release(edge, vn->vni, was.gateways[i], GW_GATEWAY_MAC);
        for (size_t i = 0; i < said->n_gateways; i++)
                claim(edge, vn->vni, said->gateways[i]);
        if (said->n_gateways)
                claim(edge, vn->vni, gateway_link_local());
        else if (was.n_gateways)
                gw_edge_neigh_release(edge, vn->vni, gateway_link_local(), GW_GATEWAY_MAC);
}

bool gw_edge_settings_adopt(struct gw_edge *edge, uint32_t vni, struct gw_ip ip) {
        struct edge_vn *vn = gw_edge_vn_find(edge, vni);

        if (!vn)
                return false;
        if (!gw_ip_eq(ip, gateway_link_local()) && !has_gateway(&vn->settings, ip)) {
                if (vn->settings.n_gateways == GW_VN_GATEWAYS_MAX)
                        return false;
                vn->settings.gateways[vn->settings.n_gateways++] = ip;
        }
        gw_edge_neigh_claim(edge, vni, ip, GW_GATEWAY_MAC);
        return true;
}
