/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports: the program on their device, their entry, their place in the VN's flood
 * list, the addresses they may speak with; and the cut, which is a port's last
 * moment here. A new port is written before its program is attached, and the
 * other way round when it goes, so that the program never runs without its port.
 */
#include "datapath/private.h"

#include <errno.h>

#include "base/error.h"
#include "base/time.h"
#include "datapath/flood.h"
#include "datapath/godwit.skel.h"
#include "io/netlink.h"

enum {
        HOLDS = GW_PORT_HOLD | GW_PORT_ARRIVING,
        BACK_S = 120, /* the other edge may wait for a minute to hear of it, and then sends for one (edge/return.c) */
};

static void port_out(struct gw_datapath_port *out, uint32_t ifindex, const struct gw_abi_port *in) {
        *out = (struct gw_datapath_port){.ifindex = ifindex,
                                         .vni = in->vni,
                                         .port_id = in->port_id,
                                         .mtu = in->mtu,
                                         .flags = in->flags,
                                         .mac = gw_abi_mac(in->mac),
                                         .activated_ns = in->activated_ns,
                                         .arrival = in->arrival,
                                         .back_until_s = in->back_until_s,
                                         .moved_to = gw_abi_ip(in->moved_to)};
        for (int i = 0; i < GW_LIMIT_MAX; i++)
                out->per_s[i] = in->limits[i].per_s;
}

static uint32_t limit_burst(uint32_t per_s) {
        return per_s <= UINT32_MAX / GW_BURST_S ? per_s * GW_BURST_S : UINT32_MAX;
}

/* What the programs note in a port (talkers, spent limits) begins anew; its addresses stay. */
static int write_port(struct gw_datapath *dp, const struct gw_datapath_port *port) {
        struct gw_abi_port value = {.vni = port->vni,
                                    .port_id = port->port_id,
                                    .mtu = port->mtu,
                                    .flags = port->flags,
                                    .activated_ns = port->activated_ns,
                                    .arrival = port->arrival,
                                    .back_until_s = port->back_until_s};
        struct gw_abi_port old;

        if (!bpf_map_lookup_elem(dp->maps[MAP_PORTS], &port->ifindex, &old)) {
                memcpy(value.own4, old.own4, sizeof value.own4);
                memcpy(value.own6, old.own6, sizeof value.own6);
        }
        memcpy(value.mac, port->mac.b, sizeof value.mac);
        memcpy(value.moved_to, port->moved_to.b, sizeof value.moved_to);
        for (int i = 0; i < GW_LIMIT_MAX; i++)
                value.limits[i] = (struct gw_abi_limit){.per_s = port->per_s[i], .burst = limit_burst(port->per_s[i])};
        return bpf_map_update_elem(dp->maps[MAP_PORTS], &port->ifindex, &value, BPF_ANY);
}

int gw_datapath_port_get(struct gw_datapath *dp, uint32_t ifindex, struct gw_datapath_port *out) {
        struct gw_abi_port value;
        int r = bpf_map_lookup_elem(dp->maps[MAP_PORTS], &ifindex, &value);

        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        port_out(out, ifindex, &value);
        return 0;
}

/* A veth that leads into another namespace is delivered to at its far end, past a queue and a softirq. Not when it
 * holds: what is released goes the long way, and what follows must not overtake it. */
static uint32_t with_peer(const struct gw_datapath_port *port) {
        uint32_t flags = port->flags & ~(uint32_t)(GW_PORT_PEER | GW_PORT_FAR | GW_PORT_SETTLING);
        struct gw_link link;

        if (gw_link_get_index((int)port->ifindex, &link) || strcmp(link.kind, "veth") != 0 || !link.peer_elsewhere)
                return flags;
        return flags | GW_PORT_FAR | (flags & HOLDS ? 0 : GW_PORT_PEER);
}

/* Once it no longer arrives, group frames come both ways for a while (GW_JOINING_NS). old: NULL, a new port. */
static void port_arrives(struct gw_datapath_port *port, const struct gw_datapath_port *old) {
        uint64_t now_ns = gw_mono_now().ns;
        bool did = old && old->flags & GW_PORT_ARRIVING, does = port->flags & GW_PORT_ARRIVING;

        port->arrival = !does && !old ? 0 : does && !did ? (uint32_t)(now_ns / GW_NS_PER_US) : old->arrival;
        port->activated_ns = does || !old ? 0 : did ? now_ns : old->activated_ns;
}

/* One that was cut and is no longer moved has been taken back. Where it was cut over to counts for a while, also when
 * the port is written anew. */
static void port_is_back(struct gw_datapath_port *port, const struct gw_datapath_port *old) {
        port->flags &= ~(uint32_t)GW_PORT_BACK;
        port->back_until_s = 0;
        if (port->flags & (GW_PORT_MOVED | GW_PORT_ARRIVING) || !(old->flags & (GW_PORT_MOVED | GW_PORT_BACK)))
                return;
        port->flags |= GW_PORT_BACK;
        port->moved_to = old->moved_to;
        port->back_until_s =
                old->flags & GW_PORT_MOVED ? (uint32_t)(gw_mono_now().ns / GW_NS_PER_S) + BACK_S : old->back_until_s;
}

int gw_datapath_port_set(struct gw_datapath *dp, const struct gw_datapath_port *wanted) {
        struct gw_datapath_port changed = *wanted, *port = &changed, old;
        int found = gw_datapath_port_get(dp, port->ifindex, &old), r;

        if (found < 0)
                return found;
        if (!found && old.vni != port->vni) {
                r = gw_flood_port(dp, old.vni, port->ifindex, false);
                if (r)
                        return r;
        }
        r = gw_flood_port(dp, port->vni, port->ifindex, true);
        if (r)
                return r;
        port->flags = with_peer(port);
        port_arrives(port, found ? NULL : &old);
        if (!found && old.vni == port->vni && gw_mac_eq(old.mac, port->mac))
                port_is_back(port, &old);
        r = write_port(dp, port);
        if (!r)
                r = gw_program_attach((int)port->ifindex, false, bpf_program__fd(dp->bpf->progs.from_guest));
        if (r && found == GW_E_NOT_FOUND) {
                (void)gw_flood_port(dp, port->vni, port->ifindex, false);
                (void)gw_map_del(dp->maps[MAP_PORTS], &port->ifindex);
        }
        return r;
}

struct of_port {
        int map;
        uint32_t ifindex;
};

static int of_port_del(const void *key, const void *value, void *user) {
        const struct gw_abi_ip_key *k = key;
        const struct of_port *w = user;

        (void)value;
        return k->id == w->ifindex ? gw_map_del(w->map, key) : 0;
}

/* Takes the port's elements out of a map by (ifindex, address). */
static int clear_of(struct gw_datapath *dp, enum gw_map map, uint32_t ifindex) {
        struct of_port w = {dp->maps[map], ifindex};
        struct gw_abi_ip_key key, next;
        uint32_t value;

        return gw_map_each(w.map, &key, &next, sizeof key, &value, of_port_del, &w);
}

int gw_datapath_groups_clear(struct gw_datapath *dp, uint32_t ifindex) {
        return clear_of(dp, MAP_GROUPS, ifindex);
}

int gw_datapath_group_set(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip group, bool in) {
        struct gw_abi_ip_key key = gw_ip_key(ifindex, group);
        uint32_t one = 1;

        return in ? bpf_map_update_elem(dp->maps[MAP_GROUPS], &key, &one, BPF_ANY)
                  : gw_map_del(dp->maps[MAP_GROUPS], &key);
}

int gw_datapath_port_del(struct gw_datapath *dp, uint32_t ifindex) {
        struct gw_datapath_port port;
        int r = gw_datapath_port_get(dp, ifindex, &port);

        if (r)
                return r == GW_E_NOT_FOUND ? 0 : r;
        gw_program_detach((int)ifindex);
        r = gw_flood_port(dp, port.vni, ifindex, false);
        if (!r)
                r = gw_map_del(dp->maps[MAP_PORTS], &ifindex);
        if (!r)
                r = clear_of(dp, MAP_GROUPS, ifindex);
        return r;
}

struct port_walk {
        int (*each)(const struct gw_datapath_port *port, void *user);
        void *user;
};

static int port_one(const void *key, const void *value, void *user) {
        const struct port_walk *w = user;
        struct gw_datapath_port port;
        uint32_t ifindex;

        memcpy(&ifindex, key, sizeof ifindex);
        port_out(&port, ifindex, value);
        return w->each(&port, w->user);
}

int gw_datapath_port_each(struct gw_datapath *dp, int (*each)(const struct gw_datapath_port *port, void *user),
                          void *user) {
        struct port_walk w = {each, user};
        struct gw_abi_port value;
        uint32_t key, next;

        return gw_map_each(dp->maps[MAP_PORTS], &key, &next, sizeof key, &value, port_one, &w);
}

int gw_datapath_port_flags(struct gw_datapath *dp, uint32_t ifindex, uint32_t set, uint32_t clear) {
        struct gw_datapath_port port, old;
        int r = gw_datapath_port_get(dp, ifindex, &old);

        if (r)
                return r;
        port = old;
        port.flags = (port.flags & ~clear) | set;
        port_arrives(&port, &old);
        port_is_back(&port, &old);
        if (port.flags & HOLDS)
                port.flags &= ~(uint32_t)(GW_PORT_PEER | GW_PORT_SETTLING);
        return write_port(dp, &port);
}

int gw_datapath_port_limits(struct gw_datapath *dp, uint32_t ifindex, const uint32_t per_s[static GW_LIMIT_MAX]) {
        struct gw_datapath_port port;
        int r = gw_datapath_port_get(dp, ifindex, &port);

        if (r || memcmp(port.per_s, per_s, sizeof port.per_s) == 0) /* what is spent of them stays spent */
                return r;
        memcpy(port.per_s, per_s, sizeof port.per_s);
        return write_port(dp, &port);
}

static int settle(const struct gw_datapath_port *port, void *user) {
        struct gw_datapath_port settled = *port;

        if (!(port->flags & GW_PORT_FAR) || port->flags & (HOLDS | GW_PORT_PEER))
                return 0;
        settled.flags &= ~(uint32_t)GW_PORT_SETTLING;
        settled.flags |= port->flags & GW_PORT_SETTLING ? GW_PORT_PEER : GW_PORT_SETTLING;
        (void)write_port(user, &settled);
        return 0;
}

/* A whole tick after the hold ended: by then what was released has left every queue on the long way. */
void gw_ports_settle(struct gw_datapath *dp) {
        (void)gw_datapath_port_each(dp, settle, dp);
}

void *gw_own_find(struct gw_abi_port *port, struct gw_ip ip) {
        bool v4 = gw_ip_is_v4(ip);
        size_t n = v4 ? GW_OWN4_MAX : GW_OWN6_MAX, skip = v4 ? 12 : 0;

        for (size_t i = 0; i < n; i++) {
                void *at = v4 ? (void *)&port->own4[i] : port->own6[i];
                if (memcmp(at, ip.b + skip, sizeof ip.b - skip) == 0)
                        return at;
        }
        return NULL;
}

/* A free place for an address of that family: all zeros. */
static struct gw_ip no_address(struct gw_ip like) {
        return gw_ip_is_v4(like) ? gw_ip_from_v4(0) : (struct gw_ip){{0}};
}

/* `from` becomes `to` in the port's entry. `missing`: what it is when there is no `from`. */
static int own_change(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip from, struct gw_ip to, int missing) {
        size_t skip = gw_ip_is_v4(to) ? 12 : 0;
        struct gw_abi_port value;
        int r = bpf_map_lookup_elem(dp->maps[MAP_PORTS], &ifindex, &value);
        void *at;

        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        at = gw_own_find(&value, from);
        if (!at)
                return missing;
        memcpy(at, to.b + skip, sizeof to.b - skip);
        return bpf_map_update_elem(dp->maps[MAP_PORTS], &ifindex, &value, BPF_EXIST);
}

int gw_datapath_allow_add(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip) {
        if (gw_datapath_is_allowed(dp, ifindex, ip))
                return 0;
        return own_change(dp, ifindex, no_address(ip), ip, GW_E_FULL);
}

int gw_datapath_allow_del(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip) {
        int r = own_change(dp, ifindex, ip, no_address(ip), 0);

        return r == GW_E_NOT_FOUND ? 0 : r;
}

int gw_datapath_cut(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip to, uint64_t epoch, bool punt) {
        struct gw_forward moved = {
                .kind = GW_FORWARD_MOVED, .flags = punt ? GW_FORWARD_PUNT : 0, .locator = to, .epoch = epoch};
        struct gw_datapath_port port;
        int r = gw_datapath_port_get(dp, ifindex, &port);

        if (r)
                return r;
        r = gw_datapath_fdb_set(dp, port.vni, port.mac, &moved);
        if (r)
                return r;
        gw_upkeep_asks(dp); /* what it still says goes up, also when this daemon has stood still for long */
        port.flags |= GW_PORT_MOVED | (punt ? GW_PORT_HOLD : 0);
        port.flags &= ~(uint32_t)GW_PORT_BACK;
        port.moved_to = to;
        return write_port(dp, &port);
}
