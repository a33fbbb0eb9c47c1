/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane as user space sees it: a set of pinned maps and programs that
 * carry frames by themselves, and a way up (punt) and down (inject) for the
 * frames that they cannot decide about.
 *
 * Opening when pins are there adopts them: maps keep their content, programs
 * are replaced one by one without a gap. Closing leaves everything running;
 * gw_datapath_remove takes it all away. The object acts in the network
 * namespace in which it was opened, and is not thread-safe.
 *
 * Functions return 0 or a negative errno, or the GW_E_* named.
 */
#pragma once

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "datapath/bpf/abi.h"

struct gw_datapath;
struct gw_error;

struct gw_datapath_config {
        const char *pin_dir;      /* made, and a bpffs mounted there, when it is not one */
        const char *vxlan_device; /* NULL: gwvx0. Made when absent */
        const char *punt_device;  /* NULL: gwpunt0. Made when absent */
        uint16_t vxlan_port;      /* 0: 4789 */
        struct gw_ip locator;     /* outer source address; its family is the underlay's */
        int kept_fd;              /* the punt device's descriptor that outlived the last daemon; taken over. 0: none */
};

/* GW_E_CONFLICT: pins of another ABI version, or a device of that name that is not ours; *error says what to do. */
int gw_datapath_open(struct gw_datapath **out, const struct gw_datapath_config *config, struct gw_error *error);
void gw_datapath_close(struct gw_datapath *dp);
/* Detaches programs, deletes both devices, pins and the mount. 0 also when nothing is there. */
int gw_datapath_remove(const struct gw_datapath_config *config);

/* Ports. A port's device must exist and be up before frames can flow; its addresses are set with allow. */
struct gw_datapath_port {
        uint32_t ifindex, vni, port_id, mtu;
        uint32_t flags; /* enum gw_port_flag */
        struct gw_mac mac;
        struct gw_ip moved_to;        /* with GW_PORT_MOVED, _RETURNING, _BACK */
        uint64_t activated_ns;        /* kept here: when it stopped being ARRIVING, */
        uint32_t arrival;             /* and a number of that arrival */
        uint32_t back_until_s;        /* kept here: when GW_PORT_BACK ends */
        uint32_t per_s[GW_LIMIT_MAX]; /* frames, of each enum gw_limit; 0: no limit. A burst is GW_BURST_S of them */
};
enum { GW_BURST_S = 2 };
/* Adds or changes: attaches the program, writes the port, joins the VN's flood list. GW_E_FULL: 64 ports of the VN.
 * GW_PORT_PEER is found out and set here for veth devices that neither hold nor arrive; for those that did, some
 * seconds after they no longer do. */
int gw_datapath_port_set(struct gw_datapath *dp, const struct gw_datapath_port *port);
int gw_datapath_port_get(struct gw_datapath *dp, uint32_t ifindex, struct gw_datapath_port *out); /* GW_E_NOT_FOUND */
/* Also when the device is already gone. Its addresses and groups go with it; forwarding entries are the caller's. */
int gw_datapath_port_del(struct gw_datapath *dp, uint32_t ifindex);
int gw_datapath_port_each(struct gw_datapath *dp, int (*each)(const struct gw_datapath_port *port, void *user),
                          void *user);
int gw_datapath_port_flags(struct gw_datapath *dp, uint32_t ifindex, uint32_t set, uint32_t clear);
int gw_datapath_port_limits(struct gw_datapath *dp, uint32_t ifindex, const uint32_t per_s[static GW_LIMIT_MAX]);
/* What the port may speak with. GW_E_FULL: it has GW_OWN4_MAX or GW_OWN6_MAX; GW_E_NOT_FOUND: no such port. */
int gw_datapath_allow_add(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip);
int gw_datapath_allow_del(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip); /* 0 also when absent */
/* Multicast groups of a port; they count while it has GW_PORT_SNOOPED, and go with it. */
int gw_datapath_group_set(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip group, bool in);
int gw_datapath_groups_clear(struct gw_datapath *dp, uint32_t ifindex);

/* Forwarding entries. One call is one atomic write. */
struct gw_forward {
        uint8_t kind, flags; /* enum gw_forward_kind, gw_forward_flag */
        uint32_t ifindex;
        struct gw_ip locator;
        uint64_t epoch;
};
int gw_datapath_fdb_set(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, const struct gw_forward *entry);
int gw_datapath_fdb_get(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac,
                        struct gw_forward *out);                                  /* NOT_FOUND */
int gw_datapath_fdb_del(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac); /* 0 also when absent */
int gw_datapath_fdb_each(struct gw_datapath *dp,
                         int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user),
                         void *user);

/* The cut of one port: its entry becomes moved-to `to` (the one atomic write), then the port is marked MOVED, so that
 * group frames follow too and nothing more is taken from it. punt: its device has frames that go first; the entry
 * has GW_FORWARD_PUNT until fdb_set takes it away, and the port GW_PORT_HOLD until port_flags does. Undo: fdb_set LOCAL, then port_flags(0, GW_PORT_MOVED). */
int gw_datapath_cut(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip to, uint64_t epoch, bool punt);
/* Frames in flight that a moved-to entry has redirected, and when the last one was (CLOCK_MONOTONIC; 0 never). Counts
 * since fdb_set made it MOVED. GW_E_NOT_FOUND. */
int gw_datapath_flight(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, uint64_t *frames, uint64_t *last_ns);

int gw_datapath_neigh_set(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip, struct gw_mac mac,
                          uint8_t flags); /* enum gw_neigh_flag */
int gw_datapath_neigh_del(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip);
int gw_datapath_neigh_each(struct gw_datapath *dp,
                           int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user),
                           void *user);

/* Members of a VN: may send into it, get its group frames. GW_E_FULL beyond GW_FLOOD_MAX: may send, gets no floods. flags: enum
 * gw_member_flag; GW_MEMBER_IS is added. */
int gw_datapath_member_set(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, uint32_t flags);
uint32_t gw_datapath_member_flags(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator); /* 0 also of no member */
int gw_datapath_member_del(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator);
int gw_datapath_member_each(struct gw_datapath *dp,
                            int (*each)(uint32_t vni, struct gw_ip locator, uint32_t flags, void *user), void *user);

/* Looking at the tables as a packet would (look.c). GW_E_NOT_FOUND: no entry. */
int gw_datapath_neigh_get(struct gw_datapath *dp, uint32_t vni, struct gw_ip ip, struct gw_mac *mac, uint8_t *flags);
bool gw_datapath_is_allowed(struct gw_datapath *dp, uint32_t ifindex, struct gw_ip ip);
bool gw_datapath_is_member(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, uint32_t *flags);
/* False: frames to it take the VXLAN device, which knows routes by itself. */
bool gw_datapath_next_hop(struct gw_datapath *dp, struct gw_ip locator, uint32_t *ifindex, struct gw_ip *via);
/* About max elements from *place on (0: the first), in no order that means anything; *place is where the next page begins.
 * *more: not all yet. What is there from the first page to the last is told once, however often it is rewritten. */
int gw_datapath_fdb_page(struct gw_datapath *dp, uint32_t *place, size_t max, bool *more,
                         int (*each)(uint32_t vni, struct gw_mac mac, const struct gw_forward *entry, void *user),
                         void *user);
int gw_datapath_neigh_page(struct gw_datapath *dp, uint32_t *place, size_t max, bool *more,
                           int (*each)(uint32_t vni, struct gw_ip ip, struct gw_mac mac, uint8_t flags, void *user),
                           void *user);

/* A gateway's (gateway.c): the way from a VN, or from outside (VNI 0), to a prefix; the VNs that are routed here; the
 * device that leads outside. */
struct gw_way {
        uint32_t from;
        struct gw_prefix to;
        uint32_t vni;   /* where it goes */
        uint32_t flags; /* enum gw_route_flag */
};
int gw_datapath_route_set(struct gw_datapath *dp, const struct gw_way *route);
int gw_datapath_route_del(struct gw_datapath *dp, uint32_t from, const struct gw_prefix *to);
int gw_datapath_route_each(struct gw_datapath *dp, int (*each)(const struct gw_way *route, void *user), void *user);
/* By the longest prefix; .to is the address asked for. False: there is no way. */
bool gw_datapath_route_get(struct gw_datapath *dp, uint32_t from, struct gw_ip to, struct gw_way *out);
int gw_datapath_routed_set(struct gw_datapath *dp, uint32_t vni, uint32_t mtu);
bool gw_datapath_routed_get(struct gw_datapath *dp, uint32_t vni, uint32_t *mtu, uint32_t *ifindex);
int gw_datapath_routed_del(struct gw_datapath *dp, uint32_t vni);
int gw_datapath_routed_each(struct gw_datapath *dp, int (*each)(uint32_t vni, void *user), void *user);
int gw_datapath_outside_set(struct gw_datapath *dp, uint32_t ifindex, uint32_t mtu);
int gw_datapath_outside_clear(struct gw_datapath *dp);

/* Locators that have exchanged frames with (vni, mac) in the last `within_ms`: their number, at most max. */
int gw_datapath_talkers_of(struct gw_datapath *dp, uint32_t vni, struct gw_mac mac, uint32_t within_ms,
                           struct gw_ip *out, size_t max);
/* Every (VN, locator) that any VM here has exchanged frames with in the last `within_ms`, once for each VM. Non-zero from
 * `each` stops and is returned. */
int gw_datapath_talkers_each(struct gw_datapath *dp, uint32_t within_ms,
                             int (*each)(uint32_t vni, struct gw_ip locator, void *user), void *user);
/* Senders whose frames were redirected since the last drain; taken out. A negative result of each stops. */
struct gw_stale {
        uint32_t vni;
        struct gw_mac mac;
        struct gw_ip sender;
        uint64_t packets, last_ns;
};
int gw_datapath_stale_drain(struct gw_datapath *dp, int (*each)(const struct gw_stale *stale, void *user), void *user);

int gw_datapath_counters(struct gw_datapath *dp, uint64_t out[static GW_COUNT_MAX]); /* sums over CPUs */
const char *gw_counter_name(enum gw_counter counter);                                /* "drop-loop", ... */
const char *gw_punt_name(enum gw_punt_reason reason);

/* The way up. Frames come whole, up to 64 KiB, with their offload header; both point into the object's buffer and are
 * valid until the next punt_read. */
struct gw_punt {
        uint8_t reason; /* enum gw_punt_reason */
        bool redirected;
        uint32_t ifindex, vni;
        struct gw_ip sender; /* WIRE_UNKNOWN, HOLD */
        struct virtio_net_hdr vnet;
        const uint8_t *frame;
        size_t size;
};
/* Readable: frames wait, or routes changed, or some seconds passed: read until there are none, which sees to the rest. */
int gw_datapath_punt_fd(const struct gw_datapath *dp);
enum { GW_PUNT_QUEUE_FRAMES = 8192 }; /* what waits for the daemon, also while it restarts */
int gw_datapath_punt_read(struct gw_datapath *dp, struct gw_punt *out); /* GW_E_AGAIN: none left */

/* Behind all that waits: as if it came up once more, for whoever reads next. Errors as inject. */
int gw_datapath_punt_back(struct gw_datapath *dp, const struct gw_punt *punt);
/* What keeps the punt device's queue while it is open anywhere. */
int gw_datapath_punt_tap(const struct gw_datapath *dp);

/* The way down, in order of the calls. vnet may be NULL (no offload). -ENOBUFS: try again later. */
int gw_datapath_inject(struct gw_datapath *dp, enum gw_inject_kind kind, uint32_t id, bool redirected,
                       const struct virtio_net_hdr *vnet, const void *frame, size_t size);
/* Reads the frames that wait in a tap (its descriptor, any offload header size) and sends them on, marked, to where the
 * port was cut to; at most `max` in one turn, for others fill it meanwhile. Adds the number of frames that were sent,
 * also when it fails. GW_E_* never; call again whenever the descriptor is readable. */
enum { GW_DRAIN_TURN_FRAMES = 16384 }; /* a tap's whole queue, as long as "tap-queue" is not set higher */
int gw_datapath_tap_drain(struct gw_datapath *dp, uint32_t ifindex, int tap_fd, unsigned max, uint64_t *n_sent);
