/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: a VM's attachments to VNs, each on a device of this host.
 *
 * A port that is not `attached` has lost its device and stands for the redirect
 * that is left of it. A port owns its neighbour claims and the frames held for
 * its VM, and keeps its VN alive. In a VN a MAC and an address belong to one
 * port at most; the same id may be attached again, also on another device.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "edge/core.h"
#include "wire/registration.h"

struct edge_port *gw_edge_port_find(const struct gw_edge *edge, const struct gw_name *id) {
        struct gw_table_node *node =
                gw_table_find(&edge->ports_by_id, gw_table_hash(&edge->ports_by_id, id->s, strlen(id->s)), id->s);

        return node ? gw_container_of(node, struct edge_port, by_id) : NULL;
}

struct edge_port *gw_edge_port_by_mac(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct edge_key key = gw_edge_key_mac(vni, mac);
        struct gw_table_node *node =
                gw_table_find(&edge->ports_by_mac, gw_table_hash(&edge->ports_by_mac, &key, sizeof key), &key);

        return node ? gw_container_of(node, struct edge_port, by_mac) : NULL;
}

struct edge_port *gw_edge_port_by_ifindex(const struct gw_edge *edge, uint32_t ifindex) {
        struct gw_table_node *node = gw_table_find(
                &edge->ports_by_ifindex, gw_table_hash(&edge->ports_by_ifindex, &ifindex, sizeof ifindex), &ifindex);

        return node ? gw_container_of(node, struct edge_port, by_ifindex) : NULL;
}

/* ---- may it be attached? ---- */

static int port_check_fields(const struct gw_edge_attach *a, struct gw_error *error) {
        if (!a->vni || a->vni > GW_VNI_MAX)
                return gw_fail(error, GW_E_INVALID, "vni", "vni is %u; allowed are 1 to %u", a->vni, GW_VNI_MAX);
        if (gw_mac_is_group(a->mac) || gw_mac_eq(a->mac, (struct gw_mac){{0}}))
                return gw_fail(error, GW_E_INVALID, "mac", "the MAC address of one interface is needed");
        if (a->n_ips > GW_MAPPING_IPS_MAX)
                return gw_fail(error, GW_E_INVALID, "addresses", "%u addresses; a port has at most %d", a->n_ips,
                               GW_MAPPING_IPS_MAX);
        for (size_t i = 0; i < a->n_ips; i++)
                if (!gw_ip_is_unicast(a->ips[i]))
                        return gw_fail(error, GW_E_INVALID, "addresses", "address %zu is not a unicast address", i);
        if (a->role == GW_EDGE_ARRIVING && !gw_ip_is_unicast(a->peer))
                return gw_fail(error, GW_E_INVALID, "from", "the locator that the VM comes from is needed");
        return 0;
}

/* Registrations have room for so many MACs and addresses of a VM. */
static int port_check_room(const struct gw_edge *edge, const struct gw_edge_attach *a, struct gw_error *error) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, &a->vm);
        size_t macs = 1, ips = a->n_ips;

        if (!gw_edge_port_find(edge, &a->id) && edge->ports_by_id.count >= GW_EDGE_PORTS_MAX)
                return gw_fail(error, GW_E_FULL, "", "%d ports are attached; there is room for no more",
                               GW_EDGE_PORTS_MAX);
        if (!vm)
                return 0;
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                if (gw_name_eq(&port->a.id, &a->id))
                        continue;
                macs++;
                ips += port->a.n_ips;
        }
        if (macs > GW_REG_MACS_MAX || ips > GW_REG_VM_ADDRS_MAX)
                return gw_fail(error, GW_E_FULL, "vm", "vm %s: at most %d ports and %d addresses", a->vm.s,
                               GW_REG_MACS_MAX, GW_REG_VM_ADDRS_MAX);
        return 0;
}

static int port_check_unique(const struct gw_edge *edge, const struct gw_edge_attach *a, struct gw_error *error) {
        const struct edge_port *other = gw_edge_port_by_mac(edge, a->vni, a->mac);
        const struct edge_port *same = gw_edge_port_find(edge, &a->id);
        struct gw_mac mac;

        if (same && !gw_name_eq(&same->vm->name, &a->vm))
                return gw_fail(error, GW_E_EXISTS, "id", "port %s belongs to vm %s", a->id.s, same->vm->name.s);
        if (other && other != same)
                return gw_fail(error, GW_E_EXISTS, "mac", "port %s has this MAC address in vni %u", other->a.id.s,
                               a->vni);
        for (size_t i = 0; i < a->n_ips; i++) {
                if (!gw_edge_neigh_find(edge, a->vni, a->ips[i], &mac))
                        continue;
                other = gw_edge_port_by_mac(edge, a->vni, mac);
                if (other && other != same)
                        return gw_fail(error, GW_E_EXISTS, "addresses", "port %s has address %zu in vni %u",
                                       other->a.id.s, i, a->vni);
        }
        other = a->ifindex ? gw_edge_port_by_ifindex(edge, a->ifindex) : NULL;
        if (other && other != same)
                return gw_fail(error, GW_E_EXISTS, "device", "port %s is on this device", other->a.id.s);
        return 0;
}

int gw_edge_port_check(const struct gw_edge *edge, const struct gw_edge_attach *a, struct gw_error *error) {
        int r = port_check_fields(a, error);

        if (!r)
                r = port_check_room(edge, a, error);
        if (!r)
                r = port_check_unique(edge, a, error);
        return r;
}

/* ---- opening and closing ---- */

static bool port_is_same(const struct edge_port *port, const struct gw_edge_attach *a) {
        return port->attached && port->a.vni == a->vni && gw_mac_eq(port->a.mac, a->mac) &&
               port->a.ifindex == a->ifindex && port->a.n_ips == a->n_ips && port->a.mtu == a->mtu &&
               memcmp(port->a.ips, a->ips, a->n_ips * sizeof a->ips[0]) == 0 && port->a.epoch == a->epoch &&
               port->a.allow == a->allow && memcmp(port->a.limits, a->limits, sizeof a->limits) == 0;
}

static int port_index(struct gw_edge *edge, struct edge_port *port) {
        const struct gw_edge_attach *a = &port->a;
        struct edge_key key = gw_edge_key_mac(a->vni, a->mac);

        if (gw_table_insert(&edge->ports_by_id, &port->by_id,
                            gw_table_hash(&edge->ports_by_id, a->id.s, strlen(a->id.s))))
                return -ENOMEM;
        if (gw_table_insert(&edge->ports_by_mac, &port->by_mac, gw_table_hash(&edge->ports_by_mac, &key, sizeof key))) {
                gw_table_remove(&edge->ports_by_id, &port->by_id);
                return -ENOMEM;
        }
        if (port->attached && gw_table_insert(&edge->ports_by_ifindex, &port->by_ifindex,
                                              gw_table_hash(&edge->ports_by_ifindex, &a->ifindex, sizeof a->ifindex))) {
                gw_table_remove(&edge->ports_by_mac, &port->by_mac);
                gw_table_remove(&edge->ports_by_id, &port->by_id);
                return -ENOMEM;
        }
        return 0;
}

static void port_unindex(struct gw_edge *edge, struct edge_port *port) {
        if (port->attached)
                gw_table_remove(&edge->ports_by_ifindex, &port->by_ifindex);
        gw_table_remove(&edge->ports_by_mac, &port->by_mac);
        gw_table_remove(&edge->ports_by_id, &port->by_id);
}

/* The device is let go; entries stay as they are. */
void gw_edge_port_close(struct gw_edge *edge, struct edge_port *port) {
        if (!port->attached)
                return;
        gw_table_remove(&edge->ports_by_ifindex, &port->by_ifindex);
        port->attached = false;
        gw_edge_port_settled(edge, port);
        port->hold = port->still = false;
        gw_edge_not_taken_back(edge, port);
        edge->counters[GW_EDGE_C_HELD_DROPPED_AGE] += gw_edge_held_clear(&port->held);
        edge->fx->port_close(edge->user, &port->a);
}

/* With `act`, the data plane follows: closed, and its entries as if there had never been a port. */
void gw_edge_port_free(struct gw_edge *edge, struct edge_port *port, bool act) {
        struct gw_edge_attach a = port->a;
        struct edge_vn *vn = port->vn;

        if (act)
                gw_edge_port_close(edge, port);
        port_unindex(edge, port);
        gw_list_remove(&port->of_vm);
        gw_list_remove(&port->in_asked);
        gw_edge_held_clear(&port->held);
        gw_edge_held_clear(&port->fenced);
        gw_edge_held_clear(&port->back);
        gw_edge_groups_free(port);
        free(port);
        if (!act)
                return;
        for (size_t i = 0; i < a.n_ips; i++)
                gw_edge_neigh_release(edge, a.vni, a.ips[i], a.mac);
        gw_edge_mapping_reclaim(edge, a.vni, a.mac);
        gw_edge_vn_unref(edge, vn);
}

static struct edge_port *port_new(struct gw_edge *edge, struct edge_vm *vm, const struct gw_edge_attach *a) {
        struct edge_port *port = calloc(1, sizeof *port);

        if (!port)
                return NULL;
        port->a = *a;
        port->vm = vm;
        port->attached = a->ifindex != 0;
        port->fenced.memory = port->back.memory = &edge->taking_back;
        port->hold = vm->role == GW_EDGE_ARRIVING && !a->queues;
        if (gw_edge_vn_ref(edge, a->vni, &port->vn)) {
                free(port);
                return NULL;
        }
        if (port_index(edge, port)) {
                gw_edge_vn_unref(edge, port->vn);
                free(port);
                return NULL;
        }
        gw_list_append(&vm->ports, &port->of_vm);
        return port;
}

static bool attach_has_ip(const struct gw_edge_attach *a, struct gw_ip ip) {
        for (size_t i = 0; i < a->n_ips; i++)
                if (gw_ip_eq(a->ips[i], ip))
                        return true;
        return false;
}

/* The source guard only learns addresses while a port is open: one that loses some is closed, and so is one with another
 * MAC, whose link-local address goes. */
static bool attach_keeps_ips(const struct edge_port *old, const struct gw_edge_attach *a) {
        for (size_t i = 0; i < old->a.n_ips; i++)
                if (!attach_has_ip(a, old->a.ips[i]))
                        return false;
        return true;
}

/* A port of that id from before gives way. What the new one has, too, stays in place throughout: its device, its
 * entries, its VN. */
static void port_replace(struct gw_edge *edge, struct edge_port *old, const struct gw_edge_attach *a) {
        bool moves = old->a.vni != a->vni || !gw_mac_eq(old->a.mac, a->mac);

        if (old->attached && (moves || old->a.ifindex != a->ifindex || !attach_keeps_ips(old, a)))
                gw_edge_port_close(edge, old);
        gw_edge_port_settled(edge, old);
        port_unindex(edge, old);
        gw_list_remove(&old->of_vm);
        gw_list_remove(&old->in_asked);
        gw_edge_held_clear(&old->held);
        gw_edge_not_taken_back(edge, old);
        for (size_t i = 0; i < old->a.n_ips; i++)
                if (moves || !attach_has_ip(a, old->a.ips[i]))
                        gw_edge_neigh_release(edge, old->a.vni, old->a.ips[i], old->a.mac);
        if (moves)
                gw_edge_mapping_reclaim(edge, old->a.vni, old->a.mac);
        gw_edge_groups_free(old);
        free(old);
}

/* Whoever asked for this port while it was not here. */
static void port_resolve(struct gw_edge *edge, const struct gw_edge_attach *a) {
        struct edge_key key = gw_edge_key_mac(a->vni, a->mac);

        gw_edge_query_resolve(edge, &key);
        for (size_t i = 0; i < a->n_ips; i++) {
                key = gw_edge_key_ip(a->vni, a->ips[i]);
                gw_edge_query_resolve(edge, &key);
        }
}

static void port_program(struct gw_edge *edge, struct edge_port *port) {
        if (port->vm->role != GW_EDGE_SERVING)
                gw_edge_member_add(edge, port->vn, port->vm->peer, false);
        gw_edge_query_prepare(edge, port->a.vni, port->a.mac, port->a.ips, port->a.n_ips);
        gw_edge_fdb_program(edge, port->a.vni, port->a.mac);
        gw_edge_mapping_yield(edge, port);
        for (size_t i = 0; i < port->a.n_ips; i++)
                gw_edge_neigh_claim(edge, port->a.vni, port->a.ips[i], port->a.mac);
        port_resolve(edge, &port->a);
}

static int port_start(struct gw_edge *edge, struct edge_port *port, struct gw_error *error) {
        struct gw_edge_attach as_is = port->a;
        int r;

        as_is.role = port->vm->returning ? GW_EDGE_RETURNING : port->vm->role;
        as_is.peer = port->vm->peer;
        r = port->attached ? edge->fx->port_open(edge->user, &as_is, port->hold, error) : 0;
        if (!r) {
                gw_edge_port_limit(edge, port);
                port_program(edge, port);
                gw_edge_still_apply(edge, port->vm);
                if (port->vm->role == GW_EDGE_SERVING)
                        gw_edge_groups_begin(edge, port);
                return 0;
        }
        gw_table_remove(&edge->ports_by_ifindex, &port->by_ifindex);
        port->attached = false;
        gw_edge_port_free(edge, port, true);
        return r;
}

int gw_edge_port_open(struct gw_edge *edge, struct edge_vm *vm, const struct gw_edge_attach *a,
                      struct gw_error *error) {
        struct edge_port *old = gw_edge_port_find(edge, &a->id), *port;
        struct edge_vn *kept = old ? old->vn : NULL;

        if (old && port_is_same(old, a))
                return 0;
        if (old)
                port_replace(edge, old, a);
        port = port_new(edge, vm, a);
        if (kept)
                gw_edge_vn_unref(edge, kept);
        if (!port)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        return port_start(edge, port, error);
}
