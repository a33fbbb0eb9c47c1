/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an entry of the data plane rests on, and how one is put right.
 *
 * The data plane's tables are what packets follow; the core's are why. An audit
 * reads the first and asks here for the second. An entry that nothing here stands
 * for has origin NONE: somebody else wrote it, or a write was lost.
 *
 * Repair trusts neither: what the NVA said about the MAC is dropped, also when
 * its epoch is newer than anything the NVA says now, and the entry is worked out
 * again. Without one the next frame comes up and is held for the NVA's answer, so
 * that a repair of an entry that was right costs a question and no packet.
 */
#include "edge/core.h"

struct gw_edge_source gw_edge_source_of_mac(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        const struct edge_port *port = gw_edge_port_by_mac(edge, vni, mac);
        const struct edge_mapping *m;

        if (port)
                return (struct gw_edge_source){.origin = GW_EDGE_ORIGIN_PORT,
                                               .since = port->vm->role == GW_EDGE_MOVED ? port->vm->cut_at
                                                                                        : (struct gw_mono){0}};
        m = gw_edge_mapping_find(edge, vni, mac);
        if (!m || m->state != GW_MAPPING_SERVING)
                return (struct gw_edge_source){.origin = GW_EDGE_ORIGIN_NONE};
        return (struct gw_edge_source){.origin = m->vm ? GW_EDGE_ORIGIN_AUTHORITY : GW_EDGE_ORIGIN_KEPT,
                                       .since = m->said_at};
}

struct gw_edge_source gw_edge_source_of_ip(const struct gw_edge *edge, uint32_t vni, struct gw_ip ip) {
        struct gw_mac mac;

        if (!gw_edge_neigh_find(edge, vni, ip, &mac))
                return (struct gw_edge_source){.origin = GW_EDGE_ORIGIN_NONE};
        return gw_edge_source_of_mac(edge, vni, mac);
}

void gw_edge_repair_mac(struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct edge_mapping *m = gw_edge_mapping_find(edge, vni, mac);

        gw_edge_queries_flush(edge, vni, &mac, false);
        if (m)
                gw_edge_mapping_drop(edge, m);
        gw_edge_fdb_program(edge, vni, mac);
}

void gw_edge_repair_ip(struct gw_edge *edge, uint32_t vni, struct gw_ip ip) {
        struct gw_mac mac;

        if (gw_edge_neigh_find(edge, vni, ip, &mac)) {
                if (!gw_edge_port_by_mac(edge, vni, mac))
                        gw_edge_repair_mac(edge, vni, mac);
                if (gw_edge_neigh_find(edge, vni, ip, &mac)) {
                        edge->fx->neigh_set(edge->user, vni, ip, mac);
                        return;
                }
        }
        edge->fx->neigh_del(edge->user, vni, ip);
}
