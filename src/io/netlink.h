/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of rtnetlink that Godwit needs, synchronous: one request, one
 * acknowledgement. Every function acts in the network namespace of the calling
 * thread; to act in another one, enter it first (gw_netns_enter).
 *
 * All return 0 (or what is said) or a negative errno, as the kernel gave it.
 * Names longer than 15 octets are -EINVAL before anything is sent.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

enum { GW_LINK_NAME_MAX = 15 };

struct gw_link {
        int index;
        int master;    /* index of the bridge it is in; 0 none */
        uint32_t mtu;  /* octets of IP */
        uint32_t qlen; /* txqueuelen, packets */
        bool up;       /* administratively */
        bool carrier;
        bool peer_elsewhere; /* its other end (a veth's peer) is in another namespace */
        struct gw_mac mac;
        char name[GW_LINK_NAME_MAX + 1];
        char kind[16];       /* "veth", "tun", "vxlan", "bridge", ... or empty */
        uint16_t vxlan_port; /* UDP, of a "vxlan" */
        uint64_t received;   /* frames; by a tap: from the process that has it */
};

/* link.c: links by name */
int gw_link_index(const char *name);                                               /* > 0, or -ENODEV */
int gw_link_get(const char *name, struct gw_link *out);                            /* -ENODEV */
int gw_link_get_index(int index, struct gw_link *out);                             /* -ENODEV */
int gw_link_each(int (*each)(const struct gw_link *link, void *user), void *user); /* non-zero stops, is returned */
int gw_link_delete(const char *name);                                              /* a veth's peer goes with it */
int gw_link_up(const char *name);
int gw_link_down(const char *name);
int gw_link_set_mtu(const char *name, uint32_t mtu);
int gw_link_set_mac(const char *name, struct gw_mac mac);
int gw_link_set_queue(const char *name, uint32_t packets);    /* txqueuelen */
int gw_link_rename(const char *name, const char *to);         /* the link must be down */
int gw_link_set_master(const char *name, const char *bridge); /* NULL: out of its bridge */
int gw_link_set_netns(const char *name, int netns_fd);
int gw_link_no_addrgen(const char *name); /* no IPv6 link-local address by itself */

/* link_add.c: making links. -EEXIST when the name is taken. */
int gw_veth_add(const char *name, const char *peer, int peer_netns_fd); /* -1: the peer stays here */
int gw_bridge_add(const char *name);
/* An external ("collect metadata") VXLAN device without learning, with GBP, zero UDP checksums allowed
 * on IPv6; over IPv4 and IPv6 alike unless `ipv4_only` (hosts without IPv6). */
int gw_vxlan_add(const char *name, uint16_t udp_port, bool ipv4_only);
/* Opens (making it when absent) a tap: the descriptor, non-blocking, close-on-exec. With vnet_hdr, frames have
 * a 10-octet struct virtio_net_hdr before them and may be up to 64 KiB (offloads on). persist: survives close. */
int gw_tap_open(const char *name, bool vnet_hdr, bool persist);

/* route.c */
int gw_addr_add(const char *link, struct gw_ip ip, uint8_t bits); /* bits of its own family; no DAD. 0 when there */
int gw_addr_del(const char *link, struct gw_ip ip, uint8_t bits);
/* to: NULL is the default route of `via`'s family. via or link may be NULL, not both. Replaces one that is there. */
int gw_route_add(const struct gw_prefix *to, const struct gw_ip *via, const char *link);
int gw_route_del(const struct gw_prefix *to, const struct gw_ip *via, const char *link);
/* Host routes in the main table, with GW_ROUTE_PROTOCOL, so that whoever made them finds them again. */
enum { GW_ROUTE_PROTOCOL = 71 };
struct gw_next_hop;
int gw_host_route_set(struct gw_ip to,
                      const struct gw_next_hop *hop); /* replaces; the hop may be of the other family */
int gw_host_route_del(struct gw_ip to);               /* 0 also when there is none of ours */
int gw_host_route_flush(void);                        /* all of ours */
int gw_neigh_add(const char *link, struct gw_ip ip, struct gw_mac mac); /* permanent; replaces */
int gw_neigh_del(const char *link, struct gw_ip ip);
/* path below /proc/sys with slashes: gw_sysctl_write("net/ipv4/ip_forward", "1"). */
int gw_sysctl_write(const char *path, const char *value);

/* filter.c: whether the filter at a device's ingress with that priority and handle is an eBPF program of that name. */
bool gw_filter_is(int ifindex, uint16_t priority, uint32_t handle, const char *program);

/* netns.c: namespaces named as iproute2 names them, bind mounts in /run/netns. */
int gw_netns_add(const char *name);  /* -EEXIST; loopback is brought up */
int gw_netns_del(const char *name);  /* 0 also when absent */
int gw_netns_open(const char *name); /* descriptor, close-on-exec; NULL: the present one */
/* Enters for the calling thread; *back (may be NULL) is a descriptor for gw_netns_leave, which closes it. */
int gw_netns_enter(const char *name, int *back);
int gw_netns_enter_fd(int netns_fd, int *back);
int gw_netns_leave(int back);

/* link_watch.c: link events of the namespace it was opened in. Read when the descriptor is readable. */
struct gw_link_watch;
int gw_link_watch_new(struct gw_link_watch **out);
void gw_link_watch_free(struct gw_link_watch *watch);
int gw_link_watch_fd(const struct gw_link_watch *watch); /* for the loop; EPOLLIN */
/* Calls back for each waiting event: gone = the link was deleted, else it is new or changed (name, MTU, up).
 * -ENOBUFS: events were lost; list the links again and go on. */
int gw_link_watch_read(struct gw_link_watch *watch, void (*event)(const struct gw_link *link, bool gone, void *user),
                       void *user);

/* route_watch.c: which way the kernel sends to an address. Acts in the namespace in which it was opened. */
struct gw_next_hop {
        uint32_t ifindex;
        struct gw_ip ip; /* the gateway, of either family, or the address itself when it is on the link */
};
struct gw_route_watch;
int gw_route_watch_new(struct gw_route_watch **out);
void gw_route_watch_free(struct gw_route_watch *watch);
int gw_route_watch_fd(const struct gw_route_watch *watch); /* for the loop; EPOLLIN */
bool gw_route_watch_changed(struct gw_route_watch *watch); /* reads what waits: any answer may be another one now */
/* From the source address `from`. -EHOSTUNREACH: no route, or not a plain one (several paths, a tunnel, local). */
int gw_route_watch_next_hop(struct gw_route_watch *watch, struct gw_ip to, struct gw_ip from, struct gw_next_hop *out);
bool gw_route_watch_ipsec(struct gw_route_watch *watch); /* IPsec has a say in what this host sends */
