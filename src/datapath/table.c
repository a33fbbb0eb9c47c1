/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables that say where things are: forwarding, neighbours, members. Thin: a
 * call is a map write, and what a write means is decided by the edge's core.
 *
 * The flood list of a VN is kept beside its members and ports as one value, read
 * and written whole; only this process writes it, so that needs no lock.
 */
#include "datapath/private.h"

#include <errno.h>

#include "base/error.h"
#include "base/time.h"
#include "datapath/flood.h"

int gw_map_del(int fd, const void *key) {
        int r = bpf_map_delete_elem(fd, key);

        return r == -ENOENT ? 0 : r;
}

/* The next key is asked for before `each` may delete this one, since a walk that loses its place starts over. */
int gw_map_each(int fd, void *key, void *next, size_t key_size, void *value,
                int (*each)(const void *key, const void *value, void *user), void *user) {
        int r = bpf_map_get_next_key(fd, NULL, key);

        while (!r) {
                int last = bpf_map_get_next_key(fd, key, next);
                if (!bpf_map_lookup_elem(fd, key, value)) {
                        r = each(key, value, user);
                        if (r)
                                return r;
                }
                r = last;
                memcpy(key, next, key_size);
        }
        return r == -ENOENT ? 0 : r;
}

static void forward_out(struct gw_forward *out, const struct gw_abi_forward *in) {
        *out = (struct gw_forward){.kind = in->kind,
                                   .flags = in->flags,
                                   .ifindex = in->ifindex,
                                   .locator = gw_abi_ip(in->locator),
                                   .epoch = in->epoch};
}

/* Where an entry leads to; none for one that is local or not there. */
static struct gw_ip leads_to(struct gw_datapath *dp, const struct gw_abi_mac_key *key) {
        struct gw_abi_forward entry;

        if (bpf_map_lookup_elem(dp->maps[MAP_FDB], key, &entry) || entry.kind == GW_FORWARD_LOCAL)
                return (struct gw_ip){{0}};
        return gw_abi_ip(entry.locator);
}

/* Where it was cut over to it never ran: its port has that place (GW_PORT_BACK), and where it came from still counts. */
static bool is_taken_back(struct gw_datapath *dp, const struct gw_forward *entry, struct gw_ip was) {
        struct gw_datapath_port port;

        return entry->kind == GW_FORWARD_LOCAL && !gw_datapath_port_get(dp, entry->ifindex, &port) &&
               port.flags & (GW_PORT_MOVED | GW_PORT_BACK) && gw_ip_eq(port.moved_to, was);
}

/* Remembers where the VM was until now, when that was elsewhere than where it is from now on. */
static int former_note(struct gw_datapath *dp, const struct gw_abi_mac_key *key, struct gw_ip was, struct gw_ip is) {
        struct gw_abi_former former = {.left_ns = gw_mono_now().ns};

        if (gw_ip_is_unspecified(was) || gw_ip_eq(was, is))
                return 0;
        memcpy(former.locator, was.b, sizeof former.locator);
        return bpf_map_update_elem(dp->maps[MAP_FORMER], key, &former, BPF_ANY);
}

/* A moved-to entry counts what it redirects; the counter is there before the entry is, and stays when it is renewed. */
int gw_datapath_fdb_set(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, const struct gw_forward *entry) {
        struct gw_abi_mac_key key = gw_mac_key(vni, mac);
        struct gw_abi_forward value = {
                .kind = entry->kind, .flags = entry->flags, .ifindex = entry->ifindex, .epoch = entry->epoch};
        struct gw_ip was = leads_to(dp, &key), is = {{0}};
        struct gw_abi_seen none = {0};
        int r = 0;

        memcpy(value.locator, entry->locator.b, sizeof value.locator);
        if (entry->kind != GW_FORWARD_LOCAL)
                is = entry->locator;
        if (entry->kind == GW_FORWARD_MOVED) {
                r = bpf_map_update_elem(dp->maps[MAP_FLIGHTS], &key, &none, BPF_NOEXIST);
                if (r && r != -EEXIST)
                        return r;
        }
        gw_locator_ref(dp, is);
        if (!is_taken_back(dp, entry, was))
                r = former_note(dp, &key, was, is);
        if (!r)
                r = bpf_map_update_elem(dp->maps[MAP_FDB], &key, &value, BPF_ANY);
        gw_locator_unref(dp, r ? is : was);
        if (!r && entry->kind != GW_FORWARD_MOVED)
                r = gw_map_del(dp->maps[MAP_FLIGHTS], &key);
        return r;
}

int gw_datapath_fdb_get(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, struct gw_forward *out) {
        struct gw_abi_mac_key key = gw_mac_key(vni, mac);
        struct gw_abi_forward value;
        int r = bpf_map_lookup_elem(dp->maps[MAP_FDB], &key, &value);

        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        forward_out(out, &value);
        return 0;
}

int gw_datapath_fdb_del(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac) {
        struct gw_abi_mac_key key = gw_mac_key(vni, mac);
        struct gw_ip was = leads_to(dp, &key);
        int r = gw_map_del(dp->maps[MAP_FDB], &key);

        if (r)
                return r;
        gw_locator_unref(dp, was);
        return gw_map_del(dp->maps[MAP_FLIGHTS], &key);
}

struct fdb_walk {
        int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user);
        void *user;
};

static int fdb_one(const void *key, const void *value, void *user) {
        const struct gw_abi_mac_key *k = key;
        const struct fdb_walk *w = user;
        struct gw_forward entry;

        forward_out(&entry, value);
        return w->each(k->vni, gw_abi_mac(k->mac), &entry, w->user);
}

int gw_datapath_fdb_each(struct gw_datapath *dp,
                         int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user),
                         void *user) {
        struct fdb_walk w = {each, user};
        struct gw_abi_mac_key key, next;
        struct gw_abi_forward value;

        return gw_map_each(dp->maps[MAP_FDB], &key, &next, sizeof key, &value, fdb_one, &w);
}

int gw_datapath_neigh_set(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags) {
        struct gw_abi_ip_key key = gw_ip_key(vni, ip);
        struct gw_abi_neigh value = {.flags = flags};

        memcpy(value.mac, mac.b, sizeof value.mac);
        return bpf_map_update_elem(dp->maps[MAP_NEIGH], &key, &value, BPF_ANY);
}

int gw_datapath_neigh_del(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip) {
        struct gw_abi_ip_key key = gw_ip_key(vni, ip);

        return gw_map_del(dp->maps[MAP_NEIGH], &key);
}

struct neigh_walk {
        int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user);
        void *user;
};

static int neigh_one(const void *key, const void *value, void *user) {
        const struct gw_abi_ip_key *k = key;
        const struct gw_abi_neigh *v = value;
        const struct neigh_walk *w = user;

        return w->each(k->id, gw_abi_ip(k->ip), gw_abi_mac(v->mac), v->flags, w->user);
}

int gw_datapath_neigh_each(struct gw_datapath *dp,
                           int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user),
                           void *user) {
        struct neigh_walk w = {each, user};
        struct gw_abi_ip_key key, next;
        struct gw_abi_neigh value;

        return gw_map_each(dp->maps[MAP_NEIGH], &key, &next, sizeof key, &value, neigh_one, &w);
}

uint32_t gw_datapath_member_flags(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator) {
        struct gw_abi_ip_key key = gw_ip_key(vni, locator);
        struct gw_abi_member value;

        return bpf_map_lookup_elem(dp->maps[MAP_MEMBERS], &key, &value) ? 0 : value.flags;
}

int gw_datapath_member_set(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, uint32_t flags) {
        struct gw_abi_ip_key key = gw_ip_key(vni, locator);
        struct gw_abi_member value = {.flags = flags};
        int r = bpf_map_update_elem(dp->maps[MAP_MEMBERS], &key, &value, BPF_ANY);

        return r ? r : gw_flood_locator(dp, vni, locator, true);
}

struct left_out {
        struct gw_datapath *dp;
        uint32_t vni;
};

/* Until the list is full again; those that are in it already change nothing. */
static int member_let_in(uint32_t vni, struct gw_ip locator, uint32_t flags, void *user) {
        const struct left_out *w = user;

        (void)flags;
        return vni == w->vni ? gw_flood_locator(w->dp, vni, locator, true) : 0;
}

/* A member for which the flood list had no room takes the place of the one that goes. */
int gw_datapath_member_del(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator) {
        struct gw_abi_ip_key key = gw_ip_key(vni, locator);
        bool was_full = gw_flood_is_full(dp, vni);
        int r = gw_flood_locator(dp, vni, locator, false);

        if (!r)
                r = gw_map_del(dp->maps[MAP_MEMBERS], &key);
        if (!r && was_full)
                r = gw_datapath_member_each(dp, member_let_in, &(struct left_out){dp, vni});
        return r == GW_E_FULL ? 0 : r;
}

struct member_walk {
        int (*each)(uint32_t vni, struct gw_ip locator, uint32_t flags, void *user);
        void *user;
};

static int member_one(const void *key, const void *value, void *user) {
        const struct gw_abi_ip_key *k = key;
        const struct member_walk *w = user;

        return w->each(k->id, gw_abi_ip(k->ip), ((const struct gw_abi_member *)value)->flags, w->user);
}

int gw_datapath_member_each(struct gw_datapath *dp,
                            int (*each)(uint32_t vni, struct gw_ip locator, uint32_t flags, void *user), void *user) {
        struct member_walk w = {each, user};
        struct gw_abi_ip_key key, next;
        struct gw_abi_member value;

        return gw_map_each(dp->maps[MAP_MEMBERS], &key, &next, sizeof key, &value, member_one, &w);
}
