/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the eBPF programs and user space share: map keys and values, numbered
 * reasons, the punt header and the injection mark. Fixed widths, no policy.
 *
 * Change GW_ABI_VERSION with any change of a layout or of a number: pinned maps
 * of another version are refused, not misread. Addresses are 16 octets in
 * network order, IPv4 as ::ffff:a.b.c.d; integers are in host order.
 */
#ifndef GW_DATAPATH_ABI_H
#define GW_DATAPATH_ABI_H

#include <linux/types.h>

#define GW_ABI_VERSION 8

/* The mark of a frame in flight is a VXLAN-GBP group policy id: GW_GBP_REDIRECTED | the low 15 bits of the moved VM's
 * MAC. It was forwarded from the wire to the wire once, and never is again; the bits tell the new place for which of
 * the VMs that are arriving there a group frame is meant. */
#define GW_GBP_REDIRECTED 0x8000u
#define GW_GBP_MAC_MASK 0x7fffu

/* How long after it is known that a VM has moved, frames that it sent from its former place are taken for late ones. */
#define GW_FORMER_NS 500000000ull

/* How long after its activation a VM's port takes group frames from its former place as well as from their senders. */
#define GW_JOINING_NS 5000000000ull

enum {
        GW_FLOOD_MAX = 64,      /* locators of a VN, and ports of a VN on one host, that get its group frames */
        GW_PORTS_MAX = 4096,    /* ports on one host */
        GW_FDB_MAX = 262144,    /* forwarding entries */
        GW_NEIGH_MAX = 262144,  /* address -> MAC entries */
        GW_MEMBERS_MAX = 65536, /* (VN, locator) */
        GW_VNS_MAX = 4096,      /* VNs with ports here */
        GW_NOTED_MAX = 4,       /* a power of two */
        GW_OWN4_MAX = 16,       /* addresses of a port; wire/frame.h has how many it may have in all */
        GW_OWN6_MAX = 17,       /* and the link-local one that is made from its MAC */
        GW_TALKERS_MAX = 16384,
        GW_STALE_MAX = 8192,
        GW_FLIGHTS_MAX = 16384,   /* moved-to entries at a time */
        GW_GROUPS_MAX = 65536,    /* (port, multicast group) */
        GW_FORMER_MAX = 16384,    /* VMs whose last place but one is remembered */
        GW_COPIES_MAX = 4096,     /* group frames, each at a port whose VM has just come */
        GW_WIRE_UP_PER_S = 20000, /* frames from one member in one VN that may go up, as many at once */
        GW_ROUTES_MAX = 65536,
        GW_NEXT_HOP_MAX = 4096, /* locators; to any more, frames go by way of the VXLAN device */
};

enum gw_port_flag {
        GW_PORT_ARRIVING = 1,  /* the VM is not here yet: gets no group frames but redirected ones */
        GW_PORT_HOLD = 2,      /* frames for it go up with reason HOLD (the device has no queue to hold them) */
        GW_PORT_PEER = 4,      /* a veth whose other end is in another namespace: deliver past its queue */
        GW_PORT_MOVED = 8,     /* was cut: group frames go on to moved_to, nothing it sends is let through */
        GW_PORT_TRUSTED = 16,  /* no source guard */
        GW_PORT_FAR = 32,      /* user space only: it can have GW_PORT_PEER */
        GW_PORT_SETTLING = 64, /* user space only: it held, and gets GW_PORT_PEER with the next tick */
        /* What this port may do and others may not; set by whoever attaches it. */
        GW_PORT_ROUTER = 128,      /* say what routers say: router advertisements and redirects */
        GW_PORT_DHCP_SERVER = 256, /* answer DHCP and DHCPv6 clients */
        GW_PORT_FORWARDS = 512,    /* send IP packets of others (not their ARP, ND or MAC) */
        GW_PORT_ANY_FRAME = 1024,  /* send 802.2 frames (LLC), behind which ARP and ND could hide */
        GW_PORT_CLAIMING = 2048,   /* claims a VM that is elsewhere: what it announces goes up, nothing else passes */
        GW_PORT_MULTICAST_ROUTER = 4096, /* ask who is in which group; gets all groups, and what is said about them */
        GW_PORT_SNOOPED = 8192,          /* user space knows which groups it is in (gw_groups): it gets no others */
        GW_PORT_STILL = 16384, /* its VM stands still: what is for it goes up, as far as its limit of misses lets */
        GW_PORT_RETURNING =
                32768, /* its VM did not arrive after all: what it has queued goes to moved_to, nothing it sends */
        GW_PORT_BACK = 65536, /* was cut and taken back: until back_until_s group frames for it come back, marked, from
                                 moved_to */
};

/* How often a port may make others work; each limit has a bucket of its own. */
enum gw_limit {
        GW_LIMIT_NEIGHBOURS, /* ARP, RARP, ND */
        GW_LIMIT_MISSES,     /* frames that go up to user space */
        GW_LIMIT_GROUP,      /* broadcast and multicast frames, which are copied */
        GW_LIMIT_MAX
};
struct gw_abi_limit {
        __u32 per_s; /* frames; 0: no limit */
        __u32 burst;
        __u64 spent_ns; /* the time up to which the bucket is spent; written by several CPUs at once without order: the
                         * worst is that a few frames more pass */
};

enum gw_forward_kind {
        GW_FORWARD_LOCAL = 1, /* to .ifindex */
        GW_FORWARD_REMOTE,    /* to .locator */
        GW_FORWARD_MOVED,     /* was here, is at .locator; frames from the wire are in flight */
        GW_FORWARD_ARRIVING,  /* from the wire: to .ifindex, which holds; from local ports: to .locator */
        GW_FORWARD_GATEWAY,   /* the virtual gateway, here: routed (gateway.h) */
};

enum gw_forward_flag {
        GW_FORWARD_PUNT = 1,      /* frames for it go up (PUNT, WIRE_UNKNOWN) while user space sends on older ones */
        GW_FORWARD_PUNT_FROM = 2, /* frames from it go up (WIRE_SOURCE) while user space sends on older ones */
};

/* The MAC of every VN's gateway (wire/frame.h), which the edge's own questions come from, too. */
#define GW_ABI_GATEWAY_MAC                                                                                             \
        { 0x02, 0x67, 0x77, 0x00, 0x00, 0x01 }

enum gw_neigh_flag {
        GW_NEIGH_ROUTER = 1,      /* R flag in neighbour advertisements */
        GW_NEIGH_NO_OVERRIDE = 2, /* O flag off (anycast, proxied addresses) */
};

/* Every frame ends in exactly one of these; copies made by flooding count once each as FLOOD_*. */
#define GW_COUNTERS(X)                                                                                                 \
        X(LOCAL, "forward-local")                                                                                      \
        X(REMOTE, "forward-remote")                                                                                    \
        X(DELIVERED, "delivered")                                                                                      \
        X(REDIRECTED, "redirected")                                                                                    \
        X(FLOOD_LOCAL, "flood-local")                                                                                  \
        X(FLOOD_REMOTE, "flood-remote")                                                                                \
        X(ARP_ANSWERED, "arp-answered")                                                                                \
        X(ND_ANSWERED, "nd-answered")                                                                                  \
        X(DAD_SILENT, "dad-silent")                                                                                    \
        X(PUNTED, "punted")                                                                                            \
        X(INJECTED, "injected")                                                                                        \
        X(SOURCE_ELSEWHERE, "source-elsewhere")                                                                        \
        X(DROP_NO_PORT, "drop-no-port")                                                                                \
        X(DROP_SHORT, "drop-short")                                                                                    \
        X(DROP_VLAN, "drop-vlan")                                                                                      \
        X(DROP_L2_CONTROL, "drop-l2-control")                                                                          \
        X(DROP_GUARD_MAC, "drop-guard-mac")                                                                            \
        X(DROP_GUARD_IPV4, "drop-guard-ipv4")                                                                          \
        X(DROP_GUARD_IPV6, "drop-guard-ipv6")                                                                          \
        X(DROP_GUARD_ARP, "drop-guard-arp")                                                                            \
        X(DROP_GUARD_ND, "drop-guard-nd")                                                                              \
        X(DROP_MALFORMED, "drop-malformed")                                                                            \
        X(DROP_FENCED, "drop-fenced")                                                                                  \
        X(DROP_NO_FLOOD, "drop-no-flood")                                                                              \
        X(DROP_SELF, "drop-self")                                                                                      \
        X(DROP_NO_TUNNEL, "drop-no-tunnel")                                                                            \
        X(DROP_BAD_SENDER, "drop-bad-sender")                                                                          \
        X(DROP_SOURCE_LOCAL, "drop-source-local")                                                                      \
        X(DROP_LOOP, "drop-loop")                                                                                      \
        X(DROP_UNKNOWN, "drop-unknown")                                                                                \
        X(DROP_INJECT, "drop-inject")                                                                                  \
        X(DROP_PUNT_FAILED, "drop-punt-failed")                                                                        \
        X(DROP_ENCAP_FAILED, "drop-encap-failed")                                                                      \
        X(DROP_GUARD_ROUTER, "drop-guard-router")                                                                      \
        X(DROP_GUARD_DHCP, "drop-guard-dhcp")                                                                          \
        X(DROP_GUARD_HEADERS, "drop-guard-headers")                                                                    \
        X(DROP_GUARD_RARP, "drop-guard-rarp")                                                                          \
        X(DROP_GUARD_LLC, "drop-guard-llc")                                                                            \
        X(DROP_OVERSIZE, "drop-oversize")                                                                              \
        X(DROP_LIMIT_NEIGHBOURS, "drop-limit-neighbours")                                                              \
        X(DROP_LIMIT_MISSES, "drop-limit-misses")                                                                      \
        X(DROP_LIMIT_GROUP, "drop-limit-group")                                                                        \
        X(ND_SECURED, "nd-secured")                                                                                    \
        X(DROP_ND_INVALID, "drop-nd-invalid")                                                                          \
        X(DROP_LIMIT_WIRE, "drop-limit-wire")                                                                          \
        X(GATEWAY_ROUTED, "gateway-routed")                                                                            \
        X(GATEWAY_OUT, "gateway-out")                                                                                  \
        X(DROP_GATEWAY_SOURCE, "drop-gateway-source")                                                                  \
        X(DROP_GATEWAY_PROTOCOL, "drop-gateway-protocol")                                                              \
        X(DROP_GATEWAY_LIMIT, "drop-gateway-limit")                                                                    \
        X(DROP_GATEWAY_OUTSIDE, "drop-gateway-outside")                                                                \
        X(DROP_GATEWAY_SENDER, "drop-gateway-sender")                                                                  \
        X(DROP_GUARD_QUERIER, "drop-guard-querier")                                                                    \
        X(DROP_NO_LISTENER, "drop-no-listener")                                                                        \
        X(FLOOD_SECOND, "flood-second") /* a frame that came before, by the other way (copies.h) */                    \
        X(PATH_ASKED, "path-asked")                                                                                    \
        X(PATH_ANSWERED, "path-answered")                                                                              \
        X(DROP_VXLAN_SHORT, "drop-vxlan-short")                                                                        \
        X(DROP_VXLAN_HEADER, "drop-vxlan-header")                                                                      \
        X(DROP_ABSENT, "drop-absent") /* for a VM that stands still */

enum gw_counter {
#define X(name, text) GW_COUNT_##name,
        GW_COUNTERS(X)
#undef X
                GW_COUNT_MAX
};

/* Why a frame went up to user space. */
#define GW_PUNTS(X)                                                                                                    \
        X(UNKNOWN, "unknown")       /* from a port; destination MAC not known */                                       \
        X(PUNT, "punt")             /* from a port; the entry has GW_FORWARD_PUNT */                                   \
        X(NEIGH, "neighbour")       /* from a port; ARP request or NS whose target is not known */                     \
        X(ANNOUNCE, "announcement") /* from a port; gratuitous ARP, unsolicited NA, RARP */                            \
        X(TOO_BIG, "too-big")       /* from a port; larger than the VN's MTU */                                        \
        X(HOLD, "hold")             /* for the port .ifindex, which has GW_PORT_HOLD */                                \
        X(WIRE_UNKNOWN,                                                                                                \
          "wire-unknown") /* from the wire, sender .sender; destination MAC not known, or GW_FORWARD_PUNT */           \
        X(WIRE_SOURCE,                                                                                                 \
          "wire-source") /* from the wire, sender .sender; its source MAC lives elsewhere, as far as is known */       \
        X(GATEWAY,                                                                                                     \
          "gateway")        /* to be routed from .vni (0: outside): its owner is not known, or it is to be answered */ \
        X(GROUPS, "groups") /* from a port; IGMP or MLD says which groups it is in */                                  \
        X(PATH, "path")     /* from the wire, sender .sender; a gateway's answer to a probe (path.h) */                \
        X(FENCED, "fenced") /* from a port which has GW_PORT_MOVED: its VM may be taken back */                        \
        X(RETURNED, "returned") /* from the wire, marked, from where its VM was cut over to */

enum gw_punt_reason {
#define X(name, text) GW_PUNT_##name,
        GW_PUNTS(X)
#undef X
                GW_PUNT_MAX
};

enum { GW_PUNT_REDIRECTED = 1 }; /* flag: it came marked as in flight */

#define GW_PUNT_ETHERTYPE 0x88b5

struct gw_abi_punt_header { /* put before the whole frame on its way up */
        __u8 zero[12];
        __u8 ethertype[2];
        __u8 reason, flags;
        __u32 ifindex; /* the port: sender, or receiver with HOLD; 0 from the wire */
        __u32 vni;
        __u8 sender[16];
} __attribute__((packed));

/* skb->mark on the punt device's egress: who may pass, and what is to be done. */
#define GW_MARK_MAGIC_MASK 0xf0000000u
#define GW_MARK_UP 0x50000000u   /* a punted frame on its way up */
#define GW_MARK_DOWN 0x60000000u /* an injected frame; kind, flag and id in the rest */
#define GW_MARK_KIND_MASK 0x07000000u
#define GW_MARK_REDIRECTED 0x08000000u
#define GW_MARK_ID_MASK 0x00ffffffu

enum gw_inject_kind {
        GW_INJECT_FROM_PORT = 1, /* id: ifindex. As if the port had sent it, but no guard, and never up again */
        GW_INJECT_DELIVER,       /* id: ifindex. Straight to the port's device */
        GW_INJECT_FROM_WIRE,     /* id: VNI. As if it came from a member; never up again */
        GW_INJECT_DRAIN,         /* id: ifindex of a MOVED port: marked, to its moved_to, whatever its destination */
        GW_INJECT_ROUTE,         /* id: VNI. As if it had just come to the gateway from there; never up again */
        GW_INJECT_GATEWAY,       /* id: VNI. What the gateway itself says to a MAC there */
        GW_INJECT_PATH,          /* id: VNI. A probe, to the locator that is its IPv6 destination */
};

/* The MAC of every VN's gateway (wire/frame.h). */
#define GW_GATEWAY_MAC_OCTETS                                                                                          \
        { 0x02, 0x67, 0x77, 0x00, 0x00, 0x01 }

/* The UDP port of probes to gateways: that of BFD's echo (RFC 5881), whose manner they have. */
enum { GW_ABI_PROBE_PORT = 3785 };

/* In the value of gw_members. */
enum gw_member_flag {
        GW_MEMBER_GATEWAY = 1, /* may send with the virtual gateway MAC */
};

/* gw_routes, a trie: bits 32 + prefix length. VNI 0: from outside. */
struct gw_abi_route_key {
        __u32 bits;
        __u32 vni;
        __u8 ip[16];
};
enum gw_route_flag {
        GW_ROUTE_OWN = 1,     /* a subnet of the VN that it is looked up from: good as a source */
        GW_ROUTE_SELF = 2,    /* an address of the gateway */
        GW_ROUTE_OUTSIDE = 4, /* by the outside device */
};
struct gw_abi_route {
        __u32 vni; /* where it goes */
        __u32 flags;
};
struct gw_abi_routed_vn { /* gw_routed, by VNI; 0: the outside */
        __u32 mtu;
        __u32 ifindex;           /* of the outside device */
        __u64 asked_ns, told_ns; /* how much of what may go up is spent */
};

struct gw_abi_config {
        __u32 abi;
        __u32 vxlan_ifindex;
        __u32 punt_ifindex;
        __u16 vxlan_port;
        __u16 pad;
        __u8 locator[16];
        __u64 direct_until_ns; /* CLOCK_MONOTONIC: as long as next hops are to be believed */
        __u64 asking_until_ns; /* as long as user space asks the authority about frames that go up */
};

struct gw_abi_locator {
        __u8 ip[16];
};

struct gw_abi_next_hop { /* of a locator; from `family` on it is a struct bpf_redir_neigh */
        __u32 ifindex;   /* 0: no plain route to it */
        __u32 family;
        __u8 ip[16]; /* IPv4 in the first four octets */
};

/* Whom a port was last noted to talk with, by the last bits of the locator: what is noted already (GW_MAP talkers) is
 * not looked up for every packet. Written by several CPUs at once without order; the worst is a note a second late. */
struct gw_abi_noted {
        __u64 last_ns;
        __u8 locator[16];
};

struct gw_abi_port {
        __u32 vni;
        __u32 port_id;
        __u32 mtu;
        __u32 flags;
        __u8 mac[6];
        __u8 pad[2];
        __u8 moved_to[16];  /* with GW_PORT_MOVED, _RETURNING, _BACK */
        __u64 activated_ns; /* when it stopped being ARRIVING (CLOCK_MONOTONIC); 0: it never was, or long ago */
        __u32 arrival;      /* tells the moves apart that brought a VM here */
        __u32 back_until_s; /* with GW_PORT_BACK (CLOCK_MONOTONIC) */
        /* What it may speak with. Unused ones are zero. */
        __be32 own4[GW_OWN4_MAX];
        __u8 own6[GW_OWN6_MAX][16];
        struct gw_abi_noted noted[GW_NOTED_MAX];
        struct gw_abi_limit limits[GW_LIMIT_MAX];
};

struct gw_abi_mac_key {
        __u32 vni;
        __u8 mac[6];
        __u8 pad[2];
};

struct gw_abi_forward {
        __u64 epoch;
        __u32 ifindex;
        __u8 kind, flags;
        __u8 pad[2];
        __u8 locator[16];
};

struct gw_abi_ip_key { /* neigh: id = VNI; members: id = VNI, ip = locator; groups: id = ifindex */
        __u32 id;
        __u8 ip[16];
};

struct gw_abi_former { /* of a VM: the locator before the one that its forwarding entry has */
        __u64 left_ns; /* when that was learnt (CLOCK_MONOTONIC) */
        __u8 locator[16];
};

struct gw_abi_copy_key {
        __u64 name; /* of a group frame (copies.h) */
        __u32 ifindex;
        __u32 arrival; /* of the port */
};
struct gw_abi_copies {
        __u64 last_ns, marked_ns; /* when the last one came, and the last marked one */
        __u64 numbers;            /* how many came: from their sender in the upper half, marked in the lower */
};

struct gw_abi_member {
        __u64 spent_ns; /* as in struct gw_abi_limit */
        __u32 flags;    /* enum gw_member_flag */
        __u32 pad;
};

struct gw_abi_neigh {
        __u8 mac[6];
        __u8 flags;
        __u8 pad;
};

struct gw_abi_peer_key { /* talkers and stale */
        __u32 vni;
        __u8 mac[6];
        __u8 pad[2];
        __u8 locator[16];
};

struct gw_abi_seen {
        __u64 packets;
        __u64 last_ns; /* CLOCK_MONOTONIC */
};

struct gw_abi_trace { /* tests only: the last decision */
        __u32 counter, ifindex, vni, gbp, punt;
        __u8 locator[16];
};

struct gw_abi_flood {
        __u32 n_locators, n_ports;
        __u8 locators[GW_FLOOD_MAX][16];
        __u32 ports[GW_FLOOD_MAX];
};

#endif
