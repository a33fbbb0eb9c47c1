/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VNs that have a port (or a redirect) here.
 *
 * Their members are member.c's. A VN goes when its last port goes, and with
 * it its members, its gateway's entry, mappings, neighbours, negative answers and frames that
 * wait (RFC 8014: state for a VN is dropped when its last tenant system detaches). Each change of the list
 * of VNs is told to the NVA with SUBSCRIBE, which always carries the whole list.
 */
#include <errno.h>
#include <stdlib.h>

#include "edge/core.h"

struct edge_vn *gw_edge_vn_find(const struct gw_edge *edge, uint32_t vni) {
        struct gw_table_node *node = gw_table_find(&edge->vns, gw_table_hash(&edge->vns, &vni, sizeof vni), &vni);

        return node ? gw_container_of(node, struct edge_vn, node) : NULL;
}

int gw_edge_vn_ref(struct gw_edge *edge, uint32_t vni, struct edge_vn **out) {
        struct edge_vn *vn = gw_edge_vn_find(edge, vni);

        if (!vn) {
                vn = calloc(1, sizeof *vn);
                if (!vn)
                        return -ENOMEM;
                vn->vni = vni;
                if (gw_table_insert(&edge->vns, &vn->node, gw_table_hash(&edge->vns, &vni, sizeof vni))) {
                        free(vn);
                        return -ENOMEM;
                }
                gw_edge_subscribe(edge);
        }
        vn->ports++;
        *out = vn;
        return 0;
}

void gw_edge_vn_unref(struct gw_edge *edge, struct edge_vn *vn) {
        bool had_gateway = !gw_ip_is_unspecified(vn->gateway);
        uint32_t vni = vn->vni;

        if (--vn->ports) {
                gw_edge_presence_look(edge, vn);
                return;
        }
        gw_edge_members_drop(edge, vn);
        gw_table_remove(&edge->vns, &vn->node);
        free(vn->sums);
        free(vn);
        if (had_gateway)
                gw_edge_fdb_program(edge, vni, GW_GATEWAY_MAC);
        gw_edge_source_forget_vn(edge, vni);
        gw_edge_queries_flush(edge, vni, NULL, true);
        gw_edge_mappings_forget_vn(edge, vni);
        gw_edge_neigh_forget_vn(edge, vni);
        gw_edge_subscribe(edge);
}

static void vn_free(struct gw_table_node *node, void *user) {
        struct gw_edge *edge = user;
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);

        gw_table_remove(&edge->vns, node);
        gw_edge_members_free(edge, vn);
        free(vn->sums);
        free(vn);
}

void gw_edge_vn_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->vns, vn_free, edge);
}

static void vn_untold(struct gw_table_node *node, void *user) {
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);

        (void)user;
        vn->all_told = vn->final = false;
}

/* Whether all mappings are there is for the new session to say. */
void gw_edge_vns_untold(struct gw_edge *edge) {
        gw_table_each(&edge->vns, vn_untold, NULL);
}

/* ---- SUBSCRIBE ---- */

struct vn_list {
        struct gw_attached *vns;
        size_t n;
};

static void vn_collect(struct gw_table_node *node, void *user) {
        const struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);
        struct vn_list *list = user;

        list->vns[list->n++] =
                (struct gw_attached){.vni = vn->vni, .ports = (uint32_t)vn->ports, .v4 = vn->v4, .v6 = vn->v6};
}

static void cover_clear(struct gw_table_node *node, void *user) {
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);

        (void)user;
        vn->v4 = vn->v6 = (struct gw_prefix){0};
}

/* The smallest prefix that has both. An empty one (bits 0) becomes the address alone. */
static void cover(struct gw_prefix *p, struct gw_ip ip) {
        uint8_t bits = 0;

        if (!p->bits) {
                *p = (struct gw_prefix){ip, 128};
                return;
        }
        while (bits < p->bits && !((p->ip.b[bits / 8] ^ ip.b[bits / 8]) & (0x80 >> bits % 8)))
                bits++;
        for (unsigned i = bits; i < 128; i++)
                p->ip.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
        p->bits = bits;
}

static void cover_port(struct gw_table_node *node, void *user) {
        const struct edge_port *port = gw_container_of(node, struct edge_port, by_id);

        (void)user;
        for (size_t i = 0; i < port->a.n_ips; i++)
                cover(gw_ip_is_v4(port->a.ips[i]) ? &port->vn->v4 : &port->vn->v6, port->a.ips[i]);
}

/* The VNs that are attached here, always all of them, and what of them is here. */
void gw_edge_subscribe(struct gw_edge *edge) {
        struct vn_list list = {0};
        struct gw_writer w;
        uint8_t *room;
        size_t size = 64 + edge->vns.count * 64;

        if (!edge->welcome)
                return;
        list.vns = calloc(edge->vns.count + 1, sizeof *list.vns);
        room = malloc(size);
        if (list.vns && room) {
                gw_table_each(&edge->vns, cover_clear, NULL);
                gw_table_each(&edge->ports_by_id, cover_port, NULL);
                gw_table_each(&edge->vns, vn_collect, &list);
                w = gw_writer(room, size);
                size = gw_attached_encode(&w, 0, list.vns, list.n);
                if (size && edge->up)
                        edge->fx->send(edge->user, room, size);
        }
        free(room);
        free(list.vns);
}
