/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looking at the tables as a packet would: single entries, and a table page by
 * page. For audits and traces; nothing is changed.
 *
 * A page ends between two of the kernel's buckets, and the next begins there. Within a
 * bucket an entry that is rewritten becomes the first one, so a reader that goes on
 * after a key would skip some there and be told others twice; its bucket an entry never
 * leaves. So a page has a few entries less than was asked for, or, where one bucket has more
 * than that, a few more.
 */
#include "datapath/private.h"

#include <errno.h>
#include <stdlib.h>

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

struct shelf { /* what is read of a table at once */
        void *keys, *values;
        size_t key_size, value_size, room;
};

static void shelf_deinit(struct shelf *shelf) {
        free(shelf->keys);
        free(shelf->values);
        shelf->keys = shelf->values = NULL;
}

static int shelf_room(struct shelf *shelf, size_t room) {
        shelf_deinit(shelf);
        shelf->room = room;
        shelf->keys = malloc(room * shelf->key_size);
        shelf->values = malloc(room * shelf->value_size);
        return shelf->keys && shelf->values ? 0 : -ENOMEM;
}

/* Whole buckets from *place on, as many as `max` has room for. 0: n elements, and there may be more; GW_E_NOT_FOUND: they
 * are the last; GW_E_FULL: the next bucket alone has more than `max`. */
static int take_buckets(int fd, uint32_t *place, struct shelf *shelf, size_t max, uint32_t *n) {
        int r;

        *n = (uint32_t)max;
        r = bpf_map_lookup_batch(fd, place, place, shelf->keys, shelf->values, n, NULL);
        if (r && r != -ENOENT)
                *n = 0;
        return r == -ENOENT ? GW_E_NOT_FOUND : r == -ENOSPC ? GW_E_FULL : r;
}

/* As many as there is room for on a page that has `told` already; on an empty one at least a bucket. */
static int take(int fd, uint32_t *place, struct shelf *shelf, size_t told, uint32_t *n) {
        int r = take_buckets(fd, place, shelf, shelf->room - told, n);

        while (r == GW_E_FULL && !told) {
                r = shelf_room(shelf, 2 * shelf->room);
                if (!r)
                        r = take_buckets(fd, place, shelf, shelf->room, n);
        }
        return r;
}

static int page(int fd, uint32_t *place, struct shelf *shelf, size_t max, bool *more,
                int (*each)(const void *key, const void *value, void *user), void *user) {
        size_t told = 0;
        uint32_t n;
        int r = shelf_room(shelf, max), failed = 0;

        while (!r && told < shelf->room) {
                r = take(fd, place, shelf, told, &n);
                for (uint32_t i = 0; !failed && i < n; i++)
                        failed = each((const char *)shelf->keys + i * shelf->key_size,
                                      (const char *)shelf->values + i * shelf->value_size, user);
                told += n;
        }
        shelf_deinit(shelf);
        *more = r != GW_E_NOT_FOUND;
        if (failed)
                return failed;
        return r == GW_E_NOT_FOUND || r == GW_E_FULL ? 0 : r;
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

int gw_datapath_fdb_page(struct gw_datapath *dp, uint32_t *place, size_t max, bool *more,
                         int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user),
                         void *user) {
        struct shelf shelf = {.key_size = sizeof(struct gw_abi_mac_key), .value_size = sizeof(struct gw_abi_forward)};
        struct fdb_page p = {each, user};

        return page(dp->maps[MAP_FDB], place, &shelf, max, more, fdb_one, &p);
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

int gw_datapath_neigh_page(struct gw_datapath *dp, uint32_t *place, size_t max, bool *more,
                           int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user),
                           void *user) {
        struct shelf shelf = {.key_size = sizeof(struct gw_abi_ip_key), .value_size = sizeof(struct gw_abi_neigh)};
        struct neigh_page p = {each, user};

        return page(dp->maps[MAP_NEIGH], place, &shelf, max, more, neigh_one, &p);
}
