/* SPDX-License-Identifier: Apache-2.0 */
/* Private to the data plane's user space: the object, and what its files give one another. */
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/table.h"
#include "datapath/datapath.h"

struct godwit_bpf;
struct gw_route_watch;

enum gw_map {
        MAP_CONFIG,
        MAP_COUNTERS,
        MAP_PORTS,
        MAP_FDB,
        MAP_NEIGH,
        MAP_MEMBERS,
        MAP_FLOOD,
        MAP_FLIGHTS,
        MAP_TALKERS,
        MAP_STALE,
        MAP_NEXT_HOP,
        MAP_FORMER,
        MAP_ROUTES,
        MAP_ROUTED,
        MAP_GROUPS,
        MAP_COPIES,
        MAP_MAX
};
extern const char *const gw_map_names[MAP_MAX];

enum { GW_PUNT_BUFFER_OCTETS = 10 + sizeof(struct gw_abi_punt_header) + 65536 + 256 };

struct gw_datapath {
        struct godwit_bpf *bpf; /* programs, and the descriptors of the maps */
        int maps[MAP_MAX];      /* borrowed from bpf */
        int cpus;
        uint64_t *per_cpu; /* one counter of each */
        int punt_fd;       /* the punt device's tap */
        int inject_fd;     /* packet socket bound to it */
        int punt_ifindex;
        int wait_fd; /* epoll: punt_fd, tick_fd, routes */
        int tick_fd;
        int netns_fd;         /* where it was opened */
        int underlay_ifindex; /* the device with from_underlay; 0 none */
        struct gw_route_watch *routes;
        struct gw_table locators;
        bool lacks_next_hops;
        uint64_t refreshed_ns;                 /* when next hops were last looked at (CLOCK_MONOTONIC) */
        struct gw_abi_config config;           /* as in its map */
        uint8_t buffer[GW_PUNT_BUFFER_OCTETS]; /* of punt_read and tap_drain */
};

static inline struct gw_abi_mac_key gw_mac_key(uint32_t vni, struct gw_mac mac) {
        struct gw_abi_mac_key key = {.vni = vni};
        memcpy(key.mac, mac.b, sizeof key.mac);
        return key;
}
static inline struct gw_abi_ip_key gw_ip_key(uint32_t id, struct gw_ip ip) {
        struct gw_abi_ip_key key = {.id = id};
        memcpy(key.ip, ip.b, sizeof key.ip);
        return key;
}
static inline struct gw_ip gw_abi_ip(const uint8_t octets[16]) {
        struct gw_ip ip;
        memcpy(ip.b, octets, sizeof ip.b);
        return ip;
}
static inline struct gw_mac gw_abi_mac(const uint8_t octets[6]) {
        struct gw_mac mac;
        memcpy(mac.b, octets, sizeof mac.b);
        return mac;
}

/* libbpf's calls answer with negative errno (its strict mode). */
int gw_map_del(int fd, const void *key); /* 0 also when absent */
/* Visits every element; `each` may delete the one it is given. Non-zero stops and is returned. */
int gw_map_each(int fd, void *key, void *next, size_t key_size, void *value,
                int (*each)(const void *key, const void *value, void *user), void *user);

/* nexthop.c */
int gw_upkeep_open(struct gw_datapath *dp);
void gw_upkeep_close(struct gw_datapath *dp);
void gw_upkeep(struct gw_datapath *dp);      /* what is due; never blocks */
void gw_upkeep_asks(struct gw_datapath *dp); /* somebody is there to look at what goes up, for a while from now on */
int gw_next_hop_add(struct gw_datapath *dp, struct gw_ip locator); /* frames may be sent there. 0 also when there */

/* locators.c: entries that lead to a locator; without any it has no next hop. None (zero) is ignored. */
int gw_locators_open(struct gw_datapath *dp);
void gw_locators_close(struct gw_datapath *dp);
void gw_locator_ref(struct gw_datapath *dp, struct gw_ip ip);
void gw_locator_unref(struct gw_datapath *dp, struct gw_ip ip);
void gw_locators_settle(struct gw_datapath *dp); /* those that found no room */

/* port.c */
void *gw_own_find(struct gw_abi_port *port, struct gw_ip ip); /* where the address is in own4 or own6; NULL: nowhere */
void gw_ports_settle(struct gw_datapath *dp); /* on each tick: the short way again for those that held */

/* underlay.c */
void gw_underlay_follow(struct gw_datapath *dp); /* the program onto the device that holds the locator now */
void gw_underlay_detach(void);                   /* from every device of the namespace */

/* device.c */
int gw_bpffs_ensure(const char *dir, struct gw_error *error);
int gw_vxlan_ensure(const char *name, const struct gw_datapath_config *config, int *ifindex, struct gw_error *error);
int gw_punt_ensure(struct gw_datapath *dp, const char *name, int kept_fd,
                   struct gw_error *error);                      /* takes over kept_fd */
int gw_program_attach(int ifindex, bool egress, int program_fd); /* replaces the one that is there */
void gw_program_detach(int ifindex);                             /* with the qdisc */
