/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the data plane should hold for one (VNI, MAC), and for one (VNI, IP).
 *
 * The forwarding entry is never patched: it is worked out from what is known,
 * a port here before a mapping, and written when anything it follows from has
 * changed. So no sequence of events can leave an entry that nothing stands for.
 *
 * Neighbours are claims: an address belongs to the MAC that claimed it last,
 * but a mapping takes no address from a port here that is serving. A release by
 * a MAC that no longer owns the address does nothing.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"

static void fdb_of_port(const struct edge_port *port, struct gw_edge_fdb *out) {
        static const uint8_t places[] = {[GW_EDGE_SERVING] = GW_EDGE_TO_LOCAL,
                                         [GW_EDGE_ARRIVING] = GW_EDGE_TO_ARRIVING,
                                         [GW_EDGE_MOVED] = GW_EDGE_TO_MOVED};
        const struct edge_vm *vm = port->vm;
        bool lost = vm->role == GW_EDGE_ARRIVING && !port->attached; /* its device comes with a later call */

        *out = (struct gw_edge_fdb){.place = places[lost ? GW_EDGE_MOVED : vm->role],
                                    .ifindex = port->attached ? port->a.ifindex : 0,
                                    .locator = vm->peer,
                                    .epoch = vm->epoch};
}

bool gw_edge_fdb_wanted(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_edge_fdb *out) {
        const struct edge_port *port = gw_edge_port_by_mac(edge, vni, mac);
        const struct edge_mapping *m;

        if (gw_mac_eq(mac, GW_GATEWAY_MAC))
                return gw_edge_gateway_fdb(edge, vni, out);
        if (port) {
                fdb_of_port(port, out);
                out->punt = port->draining || gw_edge_query_releasing(edge, vni, mac);
                out->punt_from = gw_edge_source_suspected(edge, vni, mac, out->locator);
                return true;
        }
        m = gw_edge_mapping_find(edge, vni, mac);
        if (!m || m->state != GW_MAPPING_SERVING || gw_ip_eq(m->locator, edge->config.locator))
                return false;
        *out = (struct gw_edge_fdb){.place = GW_EDGE_TO_REMOTE,
                                    .punt = gw_edge_query_releasing(edge, vni, mac),
                                    .punt_from = gw_edge_source_suspected(edge, vni, mac, m->locator),
                                    .locator = m->locator,
                                    .epoch = m->epoch};
        return true;
}

int gw_edge_fdb_program(struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct gw_edge_fdb entry;
        int r;

        if (!gw_edge_fdb_wanted(edge, vni, mac, &entry)) {
                edge->fx->fdb_del(edge->user, vni, mac);
                return 0;
        }
        r = edge->fx->fdb_set(edge->user, vni, mac, &entry);
        if (r)
                gw_edge_log(edge, GW_ERR, "vni=%u: a forwarding entry could not be written: %s", vni, gw_error_word(r));
        return r;
}

static struct edge_neigh *neigh_find(const struct gw_edge *edge, const struct edge_key *key) {
        struct gw_table_node *node = gw_table_find(&edge->neighs, gw_table_hash(&edge->neighs, key, sizeof *key), key);

        return node ? gw_container_of(node, struct edge_neigh, node) : NULL;
}

bool gw_edge_neigh_find(const struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac *out) {
        struct edge_key key = gw_edge_key_ip(vni, ip);
        struct edge_neigh *neigh = neigh_find(edge, &key);

        if (neigh)
                *out = neigh->mac;
        return neigh != NULL;
}

/* An address of a VM that serves here can only be taken over by another port here. */
static bool neigh_guarded(const struct gw_edge *edge, const struct edge_neigh *neigh, struct gw_mac by) {
        const struct edge_port *owner = gw_edge_port_by_mac(edge, neigh->key.vni, neigh->mac);

        return owner && owner->vm->role == GW_EDGE_SERVING && !gw_edge_port_by_mac(edge, neigh->key.vni, by);
}

static struct edge_neigh *neigh_new(struct gw_edge *edge, const struct edge_key *key) {
        struct edge_neigh *neigh = calloc(1, sizeof *neigh);

        if (!neigh)
                return NULL;
        neigh->key = *key;
        if (gw_table_insert(&edge->neighs, &neigh->node, gw_table_hash(&edge->neighs, key, sizeof *key))) {
                free(neigh);
                return NULL;
        }
        return neigh;
}

void gw_edge_neigh_claim(struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        struct edge_key key = gw_edge_key_ip(vni, ip);
        struct edge_neigh *neigh = neigh_find(edge, &key);
        bool known = neigh != NULL;

        if (known && !gw_mac_eq(neigh->mac, mac) && neigh_guarded(edge, neigh, mac)) {
                edge->counters[GW_EDGE_C_MAPPINGS_CONFLICT]++;
                gw_edge_log(edge, GW_WARNING, "vni=%u: another VM is said to have the address of one that serves here",
                            vni);
                return;
        }
        if (!known)
                neigh = neigh_new(edge, &key);
        if (!neigh)
                return;
        neigh->mac = mac;
        if (edge->fx->neigh_set(edge->user, vni, ip, mac))
                gw_edge_log(edge, GW_ERR, "vni=%u: a neighbour entry could not be written", vni);
}

static void neigh_free(struct gw_edge *edge, struct edge_neigh *neigh) {
        gw_table_remove(&edge->neighs, &neigh->node);
        free(neigh);
}

void gw_edge_neigh_release(struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        struct edge_key key = gw_edge_key_ip(vni, ip);
        struct edge_neigh *neigh = neigh_find(edge, &key);

        if (!neigh || !gw_mac_eq(neigh->mac, mac))
                return;
        edge->fx->neigh_del(edge->user, vni, ip);
        neigh_free(edge, neigh);
}

struct forget {
        struct gw_edge *edge;
        uint32_t vni;
};

static void neigh_forget(struct gw_table_node *node, void *user) {
        struct forget *forget = user;
        struct edge_neigh *neigh = gw_container_of(node, struct edge_neigh, node);
        struct gw_ip ip;

        if (neigh->key.vni != forget->vni)
                return;
        memcpy(&ip, neigh->key.b, sizeof ip);
        forget->edge->fx->neigh_del(forget->edge->user, forget->vni, ip);
        neigh_free(forget->edge, neigh);
}

void gw_edge_neigh_forget_vn(struct gw_edge *edge, uint32_t vni) {
        gw_table_each(&edge->neighs, neigh_forget, &(struct forget){edge, vni});
}

static void neigh_drop(struct gw_table_node *node, void *user) {
        neigh_free(user, gw_container_of(node, struct edge_neigh, node));
}

void gw_edge_neigh_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->neighs, neigh_drop, edge);
}
