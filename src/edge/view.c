/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the edge holds, shown to others; and what it takes over from a data plane
 * that outlived the last daemon.
 *
 * Adopted entries have no VM name. They stand for ADOPTED_MS,
 * or as long as the NVA is away, and then like any mapping are asked for again
 * when in use. Their epoch is the one in the data plane, so that the epoch rule
 * holds across restarts.
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/core.h"

enum { ADOPTED_MS = 30000 };

struct port_visit {
        void (*each)(const struct gw_edge_port_view *view, void *user);
        void *user;
};

static void port_view(struct gw_table_node *node, void *user) {
        const struct port_visit *visit = user;
        const struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        struct gw_edge_attach a = port->a;
        struct gw_edge_port_view view = {.port = &a,
                                         .attached = port->attached,
                                         .held = port->hold,
                                         .still = port->still,
                                         .held_frames = port->held.n,
                                         .returning = port->vm->role == GW_EDGE_ARRIVING && port->vm->returning,
                                         .silent = port->silent,
                                         .heard = port->heard_at,
                                         .redirected = port->redirected,
                                         .registration = port->vm->reg->state,
                                         .status = port->vm->reg->status,
                                         .snooped = port->snooped,
                                         .n_groups = port->n_groups};

        a.role = port->vm->role;
        a.epoch = port->vm->epoch;
        a.peer = port->vm->peer;
        visit->each(&view, visit->user);
}

/* Looking changes nothing; the table's visitor only lacks a form for constant tables. */
static struct gw_table *loose(const struct gw_table *table) {
        return (struct gw_table *)table;
}

void gw_edge_each_port(const struct gw_edge *edge, void (*each)(const struct gw_edge_port_view *view, void *user),
                       void *user) {
        gw_table_each(loose(&edge->ports_by_id), port_view, &(struct port_visit){each, user});
}

struct mapping_visit {
        void (*each)(const struct gw_edge_mapping_view *view, void *user);
        void *user;
};

static void mapping_view(struct gw_table_node *node, void *user) {
        const struct mapping_visit *visit = user;
        const struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        struct gw_edge_mapping_view view = {.expires = m->expires,
                                            .mapping = {.epoch = m->epoch,
                                                        .vni = m->vni,
                                                        .lifetime_ms = m->lifetime_ms,
                                                        .locator = m->locator,
                                                        .mac = m->mac,
                                                        .state = m->state,
                                                        .n_ips = m->n_ips}};

        if (m->n_ips)
                memcpy(view.mapping.ips, m->ips, m->n_ips * sizeof *m->ips);
        if (m->vm)
                snprintf(view.mapping.vm.s, sizeof view.mapping.vm.s, "%s", m->vm);
        visit->each(&view, visit->user);
}

void gw_edge_each_mapping(const struct gw_edge *edge, void (*each)(const struct gw_edge_mapping_view *view, void *user),
                          void *user) {
        gw_table_each(loose(&edge->mappings), mapping_view, &(struct mapping_visit){each, user});
}

struct vn_visit {
        void (*each)(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user);
        void *user;
};

static void vn_view(struct gw_table_node *node, void *user) {
        const struct vn_visit *visit = user;
        const struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);
        struct gw_ip *members = calloc(vn->n_members + 1, sizeof *members);

        if (!members)
                return;
        for (size_t i = 0; i < vn->n_members; i++)
                members[i] = vn->members[i]->locator;
        visit->each(vn->vni, vn->ports, members, vn->n_members, visit->user);
        free(members);
}

void gw_edge_each_vn(const struct gw_edge *edge,
                     void (*each)(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user),
                     void *user) {
        gw_table_each(loose(&edge->vns), vn_view, &(struct vn_visit){each, user});
}

bool gw_edge_vm_role(const struct gw_edge *edge, const struct gw_name *name, enum gw_edge_role *role, uint64_t *epoch) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm)
                return false;
        *role = vm->role;
        *epoch = vm->epoch;
        return true;
}

bool gw_edge_has_device(const struct gw_edge *edge, uint32_t ifindex) {
        return gw_edge_port_by_ifindex(edge, ifindex) != NULL;
}

/* ---- adopting ---- */

void gw_edge_adopt_fdb(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_mac mac,
                       const struct gw_edge_fdb *entry) {
        struct gw_mapping said = {.epoch = entry->epoch,
                                  .vni = vni,
                                  .lifetime_ms = ADOPTED_MS,
                                  .locator = entry->locator,
                                  .mac = mac,
                                  .state = GW_MAPPING_SERVING};

        if (gw_mac_eq(mac, GW_GATEWAY_MAC) && gw_edge_vn_find(edge, vni)) {
                gw_edge_gateway_adopt(edge, gw_edge_vn_find(edge, vni), entry);
                return;
        }
        if (gw_edge_port_by_mac(edge, vni, mac))
                return;
        if (entry->place != GW_EDGE_TO_LOCAL && gw_edge_vn_find(edge, vni) && gw_ip_is_unicast(entry->locator))
                gw_edge_mapping_apply(edge, now, &said);
        else
                edge->fx->fdb_del(edge->user, vni, mac); /* of a port or a VN that is no more */
}

void gw_edge_adopt_neigh(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_ip ip,
                         struct gw_mac mac) {
        struct gw_mac owner;

        (void)now;
        if (gw_edge_neigh_find(edge, vni, ip, &owner))
                return;
        if (gw_mac_eq(mac, GW_GATEWAY_MAC) && gw_edge_settings_adopt(edge, vni, ip))
                return;
        if (gw_edge_mapping_find(edge, vni, mac))
                gw_edge_mapping_adopt_ip(edge, vni, mac, ip);
        else
                edge->fx->neigh_del(edge->user, vni, ip);
}

void gw_edge_adopt_member(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_ip locator,
                          uint8_t role) {
        struct edge_vn *vn = gw_edge_vn_find(edge, vni);

        (void)now;
        if (!vn) {
                edge->fx->member_del(edge->user, vni, locator);
                return;
        }
        gw_edge_member_add(edge, vn, locator, false);
        gw_edge_gateway_adopt_member(edge, vn, locator, role);
}
