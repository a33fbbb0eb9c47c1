/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which locators the forwarding entries lead to, and by how many: so that the table
 * of next hops (nexthop.c) has those in use and no others, however many hosts
 * come and go. That table is small; a locator for which it had no room gets the
 * place of one that goes, with the next look at the routes.
 *
 * The counts are this process's own. At its start they are read from the entries
 * that outlived the last one, and next hops that nobody needs any more are
 * taken away: it may have been killed between two writes.
 */
#include "datapath/private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/list.h"

struct gw_locator {
        struct gw_table_node node;
        struct gw_ip ip;
        uint32_t entries;
        bool has_hop; /* in gw_next_hop */
};

static bool match(const struct gw_table_node *node, const void *key) {
        return gw_ip_eq(gw_container_of(node, struct gw_locator, node)->ip, *(const struct gw_ip *)key);
}

static bool is_none(struct gw_ip ip) {
        return gw_ip_is_v4(ip) ? !gw_ip_v4(ip) : gw_ip_is_unspecified(ip);
}

static struct gw_locator *find(const struct gw_datapath *dp, struct gw_ip ip) {
        struct gw_table_node *node = gw_table_find(&dp->locators, gw_table_hash(&dp->locators, ip.b, sizeof ip.b), &ip);

        return node ? gw_container_of(node, struct gw_locator, node) : NULL;
}

/* A full table is no failure: the VXLAN device takes what has no entry. */
static void hop_add(struct gw_datapath *dp, struct gw_locator *l) {
        l->has_hop = !gw_next_hop_add(dp, l->ip);
        dp->lacks_next_hops |= !l->has_hop;
}

void gw_locator_ref(struct gw_datapath *dp, struct gw_ip ip) {
        struct gw_locator *l = is_none(ip) ? NULL : find(dp, ip);

        if (l || is_none(ip)) {
                if (l)
                        l->entries++;
                return;
        }
        l = calloc(1, sizeof *l);
        if (!l) /* as if the table were full */
                return;
        l->ip = ip;
        l->entries = 1;
        if (gw_table_insert(&dp->locators, &l->node, gw_table_hash(&dp->locators, ip.b, sizeof ip.b))) {
                free(l);
                return;
        }
        hop_add(dp, l);
}

void gw_locator_unref(struct gw_datapath *dp, struct gw_ip ip) {
        struct gw_locator *l = find(dp, ip);

        if (!l || --l->entries)
                return;
        if (l->has_hop)
                (void)gw_map_del(dp->maps[MAP_NEXT_HOP], ip.b);
        gw_table_remove(&dp->locators, &l->node);
        free(l);
}

static void look_again(struct gw_table_node *node, void *user) {
        struct gw_locator *l = gw_container_of(node, struct gw_locator, node);
        struct gw_datapath *dp = user;

        if (!l->has_hop && !dp->lacks_next_hops)
                hop_add(dp, l);
}

void gw_locators_settle(struct gw_datapath *dp) {
        if (!dp->lacks_next_hops)
                return;
        dp->lacks_next_hops = false; /* until one more has no room */
        gw_table_each(&dp->locators, look_again, dp);
}

static int count_one(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user) {
        (void)vni, (void)mac;
        if (entry->kind != GW_FORWARD_LOCAL)
                gw_locator_ref(user, entry->locator);
        return 0;
}

static int sweep_one(const void *key, const void *value, void *user) {
        struct gw_datapath *dp = user;

        (void)value;
        return find(dp, gw_abi_ip(key)) ? 0 : gw_map_del(dp->maps[MAP_NEXT_HOP], key);
}

int gw_locators_open(struct gw_datapath *dp) {
        struct gw_abi_next_hop value;
        uint8_t key[16], next[16];
        uint64_t seed[2];
        int r;

        if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
                return -errno;
        r = gw_table_init(&dp->locators, seed, match);
        if (!r)
                r = gw_datapath_fdb_each(dp, count_one, dp);
        if (!r)
                r = gw_map_each(dp->maps[MAP_NEXT_HOP], key, next, sizeof key, &value, sweep_one, dp);
        return r;
}

static void free_one(struct gw_table_node *node, void *user) {
        struct gw_datapath *dp = user;

        gw_table_remove(&dp->locators, node);
        free(gw_container_of(node, struct gw_locator, node));
}

void gw_locators_close(struct gw_datapath *dp) {
        if (!dp->locators.buckets)
                return;
        gw_table_each(&dp->locators, free_one, dp);
        gw_table_deinit(&dp->locators);
}
