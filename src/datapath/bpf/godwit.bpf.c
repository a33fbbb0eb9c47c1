/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The data plane: five TC programs (clsact), one way through each.
 *
 *      from_guest     ingress of each port's device (tap or veth): guard, ARP/ND, size, forward
 *      from_underlay  ingress of the device that holds the locator: plain VXLAN loses its outer headers, forward;
 *                     all else passes
 *      from_outside   ingress of a gateway's device that leads outside: what is for a VN is routed
 *      from_wire      ingress of the VXLAN device: VN and sender, forward
 *      from_host      egress of the punt device: what goes up passes; what user space injects is
 *                     taken as if a port or the wire had sent it
 *
 * But for the underlay's, every frame is consumed: nothing reaches the host's own stack from a port, and
 * nothing of the host's goes out through one. Headers are never written in place
 * (bpf_skb_store_bytes instead), because direct writes would make the kernel copy
 * the head of every cloned frame, TCP's first of all.
 *
 * Files: abi.h (shared with user space), maps.h, packet.h (reading), tunnel.h
 * (VXLAN), limit.h, punt.h (the way up), guard.h, guard6.h, neigh.h (ARP/ND), source.h,
 * groups.h (multicast), copies.h, flood.h (group frames), path.h (probes), forward.h, gateway.h,
 * underlay.h (decapsulation).
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi.h"
#include "maps.h"
#include "packet.h"
#include "tunnel.h"
#include "limit.h"
#include "punt.h"
#include "guard.h"
#include "guard6.h"
#include "neigh.h"
#include "source.h"
#include "groups.h"
#include "copies.h"
#include "flood.h"
#include "path.h"
#include "forward.h"
#include "gateway.h"
#include "underlay.h"

static __noinline __u32 guard(struct __sk_buff *skb, const struct gw_abi_port *port, const struct ethhdr *eth) {
        if (!mac_eq(eth->h_source, port->mac))
                return GW_COUNT_DROP_GUARD_MAC;
        switch (eth->h_proto) {
        case bpf_htons(ETH_P_IP):
                return guard_ipv4(skb, port);
        case bpf_htons(ETH_P_IPV6):
                return guard_ipv6(skb, port);
        case bpf_htons(ETH_P_ARP):
                return guard_arp(skb, port);
        case bpf_htons(ETH_P_RARP):
                return guard_rarp(skb, port->mac);
        default:
                return guard_other(eth->h_proto, port->flags);
        }
}

static __always_inline int ipv6_walk(struct __sk_buff *skb, struct walk *w) {
        struct ipv6hdr *ip = headers(skb, ETH_HLEN + sizeof *ip);

        if (!ip)
                return drop(GW_COUNT_DROP_SHORT);
        ip = (void *)ip + ETH_HLEN;
        if (ip->nexthdr != IPPROTO_ICMPV6 || ip->hop_limit != ND_HOP_LIMIT)
                return WALK_ON;
        if (!w->injected && !limit_take(w->port, GW_LIMIT_NEIGHBOURS))
                return drop(GW_COUNT_DROP_LIMIT_NEIGHBOURS);
        return nd_walk(skb, w);
}

/* ARP, RARP and ND: answered here, taken up, or to be forwarded. */
static __always_inline int neigh_walk(struct __sk_buff *skb, struct walk *w, __be16 proto) {
        if (proto == bpf_htons(ETH_P_IPV6))
                return ipv6_walk(skb, w);
        if (proto != bpf_htons(ETH_P_ARP) && proto != bpf_htons(ETH_P_RARP))
                return WALK_ON;
        if (!w->injected && !limit_take(w->port, GW_LIMIT_NEIGHBOURS))
                return drop(GW_COUNT_DROP_LIMIT_NEIGHBOURS);
        return proto == bpf_htons(ETH_P_ARP) ? arp_walk(skb, w) : neigh_announce(skb, w);
}

/* Larger than the VN's MTU: IP is told so by user space, all else has nobody to tell. */
static __always_inline int too_big(struct __sk_buff *skb, const struct walk *w, __be16 proto) {
        if (proto != bpf_htons(ETH_P_IP) && proto != bpf_htons(ETH_P_IPV6))
                return drop(GW_COUNT_DROP_OVERSIZE);
        return punt_of_port(skb, GW_PUNT_TOO_BIG, w);
}

static __always_inline int port_walk(struct __sk_buff *skb, struct gw_abi_port *port, __u32 ifindex, bool injected,
                                     bool at_ingress) {
        struct walk w = {.port = port, .ifindex = ifindex, .vni = port->vni, .injected = injected};
        struct ethhdr *p = headers(skb, ETH_HLEN), eth;
        __u32 bad;
        int action;

        if (!p)
                return drop(GW_COUNT_DROP_SHORT);
        __builtin_memcpy(&eth, p, sizeof eth);
        if (skb->vlan_present)
                return drop(GW_COUNT_DROP_VLAN);
        if (!injected && !(port->flags & GW_PORT_TRUSTED)) {
                bad = guard(skb, port, &eth);
                if (bad)
                        return drop(bad);
        }
        action = neigh_walk(skb, &w, eth.h_proto);
        if (action == WALK_TO_OWNER) {
                p = headers(skb, ETH_HLEN);
                if (!p)
                        return drop(GW_COUNT_DROP_SHORT);
                mac_copy(eth.h_dest, p->h_dest);
        } else if (action != WALK_ON) {
                return action;
        }
        if (skb->len > port->mtu + ETH_HLEN && ip_octets(skb, eth.h_proto) > port->mtu)
                return too_big(skb, &w, eth.h_proto);
        return forward_from_port(skb, &w, eth.h_source, eth.h_dest, at_ingress);
}

/* Announcements of a port that claims a VM, for user space to look into. */
static __noinline int claim_walk(struct __sk_buff *skb, struct gw_abi_port *port, __u32 ifindex) {
        struct nd_frame *nd;
        struct ethhdr *p = headers(skb, ETH_HLEN), eth;
        __u32 bad;

        if (!p)
                return drop(GW_COUNT_DROP_SHORT);
        __builtin_memcpy(&eth, p, sizeof eth);
        bad = skb->vlan_present ? GW_COUNT_DROP_VLAN : guard(skb, port, &eth);
        if (bad)
                return drop(bad);
        if (eth.h_proto == bpf_htons(ETH_P_IPV6)) {
                nd = headers(skb, sizeof *nd);
                if (!nd || nd->ip.nexthdr != IPPROTO_ICMPV6 || nd->ip.hop_limit != ND_HOP_LIMIT ||
                    nd->type != ND_ADVERT)
                        return drop(GW_COUNT_DROP_FENCED);
        } else if (eth.h_proto != bpf_htons(ETH_P_ARP) && eth.h_proto != bpf_htons(ETH_P_RARP)) {
                return drop(GW_COUNT_DROP_FENCED);
        }
        if (!limit_take(port, GW_LIMIT_NEIGHBOURS))
                return drop(GW_COUNT_DROP_LIMIT_NEIGHBOURS);
        return punt(skb, GW_PUNT_ANNOUNCE, ifindex, port->vni, NULL);
}

/* Of a VM that was cut. Should it be taken back it may run a moment before that is known here: user space keeps what it
 * says then. Without user space nobody takes it back. */
static __noinline int fenced_walk(struct __sk_buff *skb, struct gw_abi_port *port, __u32 ifindex) {
        const struct gw_abi_config *c = config();
        struct ethhdr *p = headers(skb, ETH_HLEN), eth;
        __u32 bad = 0;

        if (!p)
                return drop(GW_COUNT_DROP_SHORT);
        __builtin_memcpy(&eth, p, sizeof eth);
        if (skb->vlan_present)
                return drop(GW_COUNT_DROP_VLAN);
        if (!(port->flags & GW_PORT_TRUSTED))
                bad = guard(skb, port, &eth);
        if (bad)
                return drop(bad);
        if (!c || bpf_ktime_get_coarse_ns() >= c->asking_until_ns || !limit_take(port, GW_LIMIT_MISSES))
                return drop(GW_COUNT_DROP_FENCED);
        return punt(skb, GW_PUNT_FENCED, ifindex, port->vni, NULL);
}

SEC("tc")
int from_guest(struct __sk_buff *skb) {
        __u32 ifindex = skb->ifindex;
        struct gw_abi_port *port = bpf_map_lookup_elem(&gw_ports, &ifindex);

        if (!port)
                return drop(GW_COUNT_DROP_NO_PORT);
        if (port->flags & GW_PORT_RETURNING)
                return drop(GW_COUNT_DROP_FENCED);
        if (port->flags & GW_PORT_MOVED)
                return fenced_walk(skb, port, ifindex);
        if (port->flags & GW_PORT_CLAIMING)
                return claim_walk(skb, port, ifindex);
        return port_walk(skb, port, ifindex, false, true);
}

SEC("tc")
int from_wire(struct __sk_buff *skb) {
        const struct gw_abi_config *c = config();
        struct gw_abi_ip_key member = {};
        struct arrival from = {};

        if (!c || !tunnel_get(skb, c, &from))
                return drop(GW_COUNT_DROP_NO_TUNNEL);
        member.id = from.vni;
        ip_copy(member.ip, from.sender);
        from.member = bpf_map_lookup_elem(&gw_members, &member);
        if (!from.member)
                return drop(GW_COUNT_DROP_BAD_SENDER);
        if (skb->vlan_present || skb->protocol == bpf_htons(ETH_P_8021Q) || skb->protocol == bpf_htons(ETH_P_8021AD))
                return drop(GW_COUNT_DROP_VLAN);
        return forward_from_wire(skb, &from, false, true);
}

SEC("tc")
int from_underlay(struct __sk_buff *skb) {
        const struct gw_abi_config *c = config();
        struct gw_abi_ip_key member = {};
        struct opened o = {};
        bool ce;

        if (!c || skb->pkt_type != PACKET_FOR_HOST || skb->gso_size || skb->vlan_present)
                return TC_ACT_UNSPEC;
        if (skb->protocol == bpf_htons(ETH_P_IP) ? !open_v4(skb, c, &o)
                                                 : skb->protocol != bpf_htons(ETH_P_IPV6) || !open_v6(skb, c, &o))
                return o.fault ? drop(o.fault) : TC_ACT_UNSPEC;
        ce = (o.tos & ECN_MASK) == ECN_CE;
        member.id = o.from.vni;
        ip_copy(member.ip, o.from.sender);
        o.from.member = bpf_map_lookup_elem(&gw_members, &member);
        if ((ce && !o.ect) || bpf_ktime_get_coarse_ns() >= c->direct_until_ns || !o.from.member || !strip(skb, &o))
                return TC_ACT_UNSPEC;
        if (bpf_skb_store_bytes(skb, 0, o.ethernet, ETH_HLEN, 0))
                return drop(GW_COUNT_DROP_SHORT);
        if (ce)
                bpf_skb_ecn_set_ce(skb);
        return forward_from_wire(skb, &o.from, false, true);
}

/* A gateway's side that leads outside. What is for no VN is the host's own. */
SEC("tc")
int from_outside(struct __sk_buff *skb) {
        struct routed p = {};

        if (skb->pkt_type != PACKET_FOR_HOST || skb->vlan_present || !routed_read(skb, &p) ||
            !route_find(&p.way, 0, p.destination))
                return TC_ACT_UNSPEC;
        return gateway_route(skb, 0, 0);
}

static __noinline int drain(struct __sk_buff *skb, const struct gw_abi_port *port) {
        struct gw_abi_mac_key key = {.vni = port->vni};
        struct gw_abi_seen *seen;
        IP16 to[16];

        if (!(port->flags & (GW_PORT_MOVED | GW_PORT_RETURNING)))
                return drop(GW_COUNT_DROP_INJECT);
        mac_copy(key.mac, port->mac);
        seen = bpf_map_lookup_elem(&gw_flights, &key);
        if (seen)
                seen_add(seen);
        ip_copy(to, port->moved_to);
        return tunnel_send(skb, key.vni, to, gbp_of(key.mac), GW_COUNT_REDIRECTED);
}

/* What is called from here needs its stack: so it is a function of its own, and the barrier keeps the compiler from
 * making another walk of it, one that takes half as much again. */
static __noinline int inject_from_port(struct __sk_buff *skb, __u32 ifindex) {
        struct gw_abi_port *port = bpf_map_lookup_elem(&gw_ports, &ifindex);
        __u64 injected = 1;

        asm volatile("" : "+r"(injected));
        return port ? port_walk(skb, port, ifindex, injected, false) : drop(GW_COUNT_DROP_NO_PORT);
}

static __noinline int inject_port(struct __sk_buff *skb, __u32 kind, __u32 ifindex) {
        struct gw_abi_port *port = bpf_map_lookup_elem(&gw_ports, &ifindex);

        if (!port)
                return drop(GW_COUNT_DROP_NO_PORT);
        if (kind == GW_INJECT_DELIVER)
                return deliver(skb, ifindex, port->vni, NULL, NULL, true, false, GW_COUNT_DELIVERED);
        if (kind == GW_INJECT_DRAIN)
                return drain(skb, port);
        return drop(GW_COUNT_DROP_INJECT);
}

static __noinline int inject_wire(struct __sk_buff *skb, __u32 vni, bool redirected) {
        struct arrival from = {.vni = vni, .gbp = redirected ? GW_GBP_REDIRECTED : 0};
        return forward_from_wire(skb, &from, true, false);
}

SEC("tc")
int from_host(struct __sk_buff *skb) {
        __u32 mark = skb->mark, id = mark & GW_MARK_ID_MASK, kind = (mark & GW_MARK_KIND_MASK) >> 24;
        int action;

        if (mark == GW_MARK_UP)
                return TC_ACT_OK;
        if ((mark & GW_MARK_MAGIC_MASK) != GW_MARK_DOWN)
                return TC_ACT_STOLEN;
        skb->mark = 0;
        count(GW_COUNT_INJECTED);
        if (kind == GW_INJECT_ROUTE)
                return gateway_route(skb, id, 1);
        if (kind == GW_INJECT_GATEWAY)
                return gateway_say(skb, id);
        if (kind == GW_INJECT_PATH)
                return path_ask(skb, id);
        if (kind == GW_INJECT_FROM_WIRE)
                return inject_wire(skb, id, mark & GW_MARK_REDIRECTED);
        if (kind != GW_INJECT_FROM_PORT)
                return inject_port(skb, kind, id);
        action = inject_from_port(skb, id);
        return action == WALK_ROUTE ? gateway_route(skb, skb->cb[0], 1) : action;
}

char _license[] SEC("license") = "Dual BSD/GPL";
