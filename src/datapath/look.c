/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the tables as a packet would: single entries, and a table page by
 * page. For audits and traces; nothing is changed.
 *
 * A page begins after the entry at which the last one ended. When that one is
 * gone the kernel cannot say what came after it, and the reader begins anew:
 * GW_E_NOT_FOUND.
 */
#include "datapath/private.h"

#include <errno.h>

#include "base/error.h"
#include "base/time.h"

int gw_datapath_neigh_get(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip, struct gw_mac *mac, uint8_t *flags) {
        struct gw_abi_ip_key key = gw_ip_key(vni, ip);
        struct gw_abi_neigh value;
        int r = bpf_map_lookup_elem(dp->maps[MAP_NEIGH], &key, &value);

        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        *mac = gw_abi_mac(value.mac);
        *flags = value.flags;
        return 0;
}

bool gw_datapath_is_allowed(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip) {
        struct gw_abi_port port;

        return !bpf_map_lookup_elem(dp->maps[MAP_PORTS], &ifindex, &port) && gw_own_find(&port, ip);
}

bool gw_datapath_is_member(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, uint32_t *flags) {
        struct gw_abi_ip_key key = gw_ip_key(vni, locator);
        struct gw_abi_member value;

        if (bpf_map_lookup_elem(dp->maps[MAP_MEMBERS], &key, &value))
                return false;
        *flags = value.flags;
        return true;
}

bool gw_datapath_route_get(struct gw_datapath *dp, uint32_t from, struct gw_ip to, struct gw_way *out) {
        struct gw_abi_route_key key = {.bits = 8 * (sizeof key.vni + sizeof key.ip), .vni = from};
        struct gw_abi_route value;

        memcpy(key.ip, to.b, sizeof key.ip);
        if (bpf_map_lookup_elem(dp->maps[MAP_ROUTES], &key, &value))
                return false;
        *out = (struct gw_way){.from = from, .to = {to, 128}, .vni = value.vni, .flags = value.flags};
        return true;
}

bool gw_datapath_routed_get(struct gw_datapath *dp, uint32_t vni, uint32_t *mtu, uint32_t *ifindex) {
        struct gw_abi_routed_vn value;

        if (bpf_map_lookup_elem(dp->maps[MAP_ROUTED], &vni, &value))
                return false;
        *mtu = value.mtu;
        *ifindex = value.ifindex;
        return true;
}

bool gw_datapath_next_hop(struct gw_datapath *dp, struct gw_ip locator, uint32_t *ifindex, struct gw_ip *via) {
        struct gw_abi_next_hop hop;
        uint32_t v4;

        if (gw_mono_now().ns >= dp->config.direct_until_ns ||
            bpf_map_lookup_elem(dp->maps[MAP_NEXT_HOP], locator.b, &hop) || !hop.ifindex)
                return false;
        *ifindex = hop.ifindex;
        memcpy(&v4, hop.ip, sizeof v4);
        *via = gw_ip_is_v4(locator) ? gw_ip_from_v4(v4) : gw_abi_ip(hop.ip);
        return true;
}

/* Calls for at most max elements after `key` (NULL: from the first). *key_out is the last one's. */
static int page(int fd, const void *after, void *key_out, size_t key_size, void *value, size_t max, bool *more,
                int (*each)(const void *key, const void *value, void *user), void *user) {
        int r = after ? bpf_map_lookup_elem(fd, after, value) : 0;
        uint8_t next[32];

        *more = false;
        if (r)
                return r == -ENOENT ? GW_E_NOT_FOUND : r;
        while (!(r = bpf_map_get_next_key(fd, after, next))) {
                if (!max--) {
                        *more = true;
                        return 0;
                }
                memcpy(key_out, next, key_size);
                after = key_out;
                if (!bpf_map_lookup_elem(fd, after, value) && (r = each(after, value, user)))
                        return r;
        }
        return r == -ENOENT ? 0 : r;
}

struct fdb_page {
        int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user);
        void *user;
};

static int fdb_one(const void *key, const void *value, void *user) {
        const struct fdb_page *p = user;
        const struct gw_abi_mac_key *k = key;
        const struct gw_abi_forward *v = value;
        struct gw_forward entry = {.kind = v->kind,
                                   .flags = v->flags,
                                   .ifindex = v->ifindex,
                                   .locator = gw_abi_ip(v->locator),
                                   .epoch = v->epoch};

        return p->each(k->vni, gw_abi_mac(k->mac), &entry, p->user);
}

int gw_datapath_fdb_page(struct gw_datapath *dp, const struct gw_fdb_at *after, size_t max, bool *more,
                         int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user),
                         void *user) {
        struct gw_abi_mac_key from = {0}, last = {0};
        struct gw_abi_forward value;
        struct fdb_page p = {each, user};

        if (after)
                from = gw_mac_key(after->vni, after->mac);
        return page(dp->maps[MAP_FDB], after ? &from : NULL, &last, sizeof last, &value, max, more, fdb_one, &p);
}

struct neigh_page {
        int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user);
        void *user;
};

static int neigh_one(const void *key, const void *value, void *user) {
        const struct neigh_page *p = user;
        const struct gw_abi_ip_key *k = key;
        const struct gw_abi_neigh *v = value;

        return p->each(k->id, gw_abi_ip(k->ip), gw_abi_mac(v->mac), v->flags, p->user);
}

int gw_datapath_neigh_page(struct gw_datapath *dp, const struct gw_neigh_at *after, size_t max, bool *more,
                           int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user),
                           void *user) {
        struct gw_abi_ip_key from = {0}, last = {0};
        struct gw_abi_neigh value;
        struct neigh_page p = {each, user};

        if (after)
                from = gw_ip_key(after->vni, after->ip);
        return page(dp->maps[MAP_NEIGH], after ? &from : NULL, &last, sizeof last, &value, max, more, neigh_one, &p);
}
