/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The gateway: routes between VNs, and to and from the outside, on hosts that
 * have that role. A frame comes here because it was sent to the virtual gateway
 * MAC (its forwarding entry is GATEWAY), or came in on the outside device.
 *
 *      its source   must be of the VN that it comes from; from outside, of no VN that is routed there
 *      its way      gw_routes: (VN it comes from, longest prefix) -> VN, outside, or this gateway itself
 *      its owner    gw_neigh of the VN that it goes to, then gw_fdb, as if a port there had sent it
 *
 * Nothing is routed that gw_routes does not say: VNs are apart until a policy joins
 * them. What is to be answered (no way, TTL, size, an echo) goes up with reason
 * GATEWAY, a bounded number a second for each VN; so does what has an owner that is
 * not known yet, which user space holds and sends again (GW_INJECT_ROUTE).
 */
#ifndef GW_BPF_GATEWAY_H
#define GW_BPF_GATEWAY_H

enum {
        TTL_OCTETS = 2, /* TTL and protocol, as the checksum takes them */
        ASK_EVERY_NS = 100000,
        ASK_BURST = 2000,
        TELL_EVERY_NS = 5000000,
        TELL_BURST = 20,
        ROUTE_VNI_BITS = 32,
        ROUTE_BITS = ROUTE_VNI_BITS + 128,
};

struct routed {
        IP16 source[16];
        IP16 destination[16];
        __be16 proto;
        __u16 ttl; /* as it stands in the packet: IPv4 with the protocol behind it, IPv6 with the next header before */
        __u8 hops;
        struct gw_abi_forward to;
        struct gw_abi_route_key way;
        struct gw_abi_mac_key key;
        struct gw_abi_ip_key address;
        __u8 macs[12] __attribute__((aligned(8)));
};

/* Too large for the stack beside the callers' and tunnel_send's. Not kept, so not pinned. */
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __type(key, __u32);
        __type(value, struct routed);
        __uint(max_entries, 1);
} gw_route_scratch SEC(".maps");

static __always_inline const struct gw_abi_route *route_find(struct gw_abi_route_key *key, __u32 vni, const __u8 *ip) {
        key->bits = ROUTE_BITS;
        key->vni = vni;
        ip_copy(key->ip, ip);
        return bpf_map_lookup_elem(&gw_routes, key);
}

static __always_inline bool routed_read(struct __sk_buff *skb, struct routed *p) {
        struct ethhdr *eth = headers(skb, ETH_HLEN + sizeof(struct iphdr));
        struct ipv6hdr *v6;
        struct iphdr *v4;

        if (!eth)
                return false;
        p->proto = eth->h_proto;
        if (p->proto == bpf_htons(ETH_P_IP)) {
                v4 = (void *)(eth + 1);
                if (v4->version != 4 || v4->ihl < 5)
                        return false;
                ip_from_v4(p->source, v4->saddr);
                ip_from_v4(p->destination, v4->daddr);
                p->hops = v4->ttl;
                p->ttl = *(__u16 *)&v4->ttl;
                return true;
        }
        v6 = p->proto == bpf_htons(ETH_P_IPV6) ? headers(skb, ETH_HLEN + sizeof *v6) : NULL;
        if (!v6)
                return false;
        v6 = (void *)v6 + ETH_HLEN;
        if (v6->version != 6)
                return false;
        ip_copy(p->source, &v6->saddr);
        ip_copy(p->destination, &v6->daddr);
        p->hops = v6->hop_limit;
        p->ttl = *(__u16 *)&v6->nexthdr;
        return true;
}

/* Addresses that are good on one link only, groups, and the unspecified one are not routed (RFC 4007, RFC 1812). */
static __always_inline bool is_routable(const __u8 *ip) {
        if (ip_is_v4(ip))
                return ip[12] && ip[12] != 127 && ip[12] < 224 && !(ip[12] == 169 && ip[13] == 254);
        return (ip[0] & 0xe0) == 0x20 || (ip[0] & 0xfe) == 0xfc;
}

/* Up: to be answered, or to wait for its owner. */
static __always_inline int gateway_up(struct __sk_buff *skb, struct routed *p, bool asks, bool injected) {
        struct gw_abi_routed_vn *vn = bpf_map_lookup_elem(&gw_routed, &p->way.vni);

        if (injected)
                return drop(GW_COUNT_DROP_INJECT);
        if (!vn || (asks ? !bucket_take(&vn->asked_ns, ASK_EVERY_NS, ASK_BURST)
                         : !bucket_take(&vn->told_ns, TELL_EVERY_NS, TELL_BURST)))
                return drop(GW_COUNT_DROP_GATEWAY_LIMIT);
        return punt(skb, GW_PUNT_GATEWAY, 0, p->way.vni, NULL);
}

static __always_inline int hop_taken(struct __sk_buff *skb, struct routed *p) {
        __u16 ttl = p->ttl - bpf_htons(0x0100);

        p->hops--;
        if (p->proto != bpf_htons(ETH_P_IP))
                return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, hop_limit), &p->hops, 1,
                                           BPF_F_RECOMPUTE_CSUM);
        if (bpf_l3_csum_replace(skb, ETH_HLEN + offsetof(struct iphdr, check), p->ttl, ttl, TTL_OCTETS))
                return -1;
        return bpf_skb_store_bytes(skb, ETH_HLEN + offsetof(struct iphdr, ttl), &p->hops, 1, 0);
}

static __always_inline int route_outside(struct __sk_buff *skb, struct routed *p, bool injected) {
        struct gw_abi_routed_vn *out;

        p->key.vni = 0;
        out = bpf_map_lookup_elem(&gw_routed, &p->key.vni);

        if (!out || !out->ifindex)
                return drop(GW_COUNT_DROP_GATEWAY_OUTSIDE);
        if (ip_octets(skb, p->proto) > out->mtu)
                return gateway_up(skb, p, false, injected);
        if (hop_taken(skb, p))
                return drop(GW_COUNT_DROP_MALFORMED);
        skb->mark = 0;
        count(GW_COUNT_GATEWAY_OUT);
        return bpf_redirect_neigh(out->ifindex, NULL, 0, 0);
}

/* p->key.vni: where to. */
static __always_inline int route_to_vn(struct __sk_buff *skb, struct routed *p, bool injected) {
        struct gw_abi_routed_vn *to_vn = bpf_map_lookup_elem(&gw_routed, &p->key.vni);
        const struct gw_abi_neigh *owner;
        struct gw_abi_forward *entry;

        if (!to_vn || ip_octets(skb, p->proto) > to_vn->mtu)
                return gateway_up(skb, p, false, injected);
        p->address.id = p->key.vni;
        ip_copy(p->address.ip, p->destination);
        owner = bpf_map_lookup_elem(&gw_neigh, &p->address);
        if (!owner)
                return gateway_up(skb, p, true, injected);
        mac_copy(p->key.mac, owner->mac);
        entry = bpf_map_lookup_elem(&gw_fdb, &p->key);
        if (!entry)
                return gateway_up(skb, p, true, injected);
        if (entry->flags & GW_FORWARD_PUNT && !injected) /* without a limit, as in punt_of_port() */
                return punt(skb, GW_PUNT_GATEWAY, 0, p->way.vni, NULL);
        p->to = *entry;
        if (p->to.kind == GW_FORWARD_GATEWAY)
                return drop(GW_COUNT_DROP_LOOP);
        mac_copy(p->macs, p->key.mac);
        __builtin_memcpy(p->macs + 6, gateway_mac, 6);
        if (hop_taken(skb, p) || bpf_skb_store_bytes(skb, 0, p->macs, sizeof p->macs, 0))
                return drop(GW_COUNT_DROP_MALFORMED);
        count(GW_COUNT_GATEWAY_ROUTED);
        if (p->to.kind == GW_FORWARD_LOCAL)
                return deliver(skb, p->to.ifindex, p->key.vni, NULL, NULL, false, false, GW_COUNT_LOCAL);
        return tunnel_send(skb, p->key.vni, p->to.locator, 0, GW_COUNT_REMOTE);
}

/* vni: where it comes from; 0: from outside. A global function: it is verified once, not for each of its callers. */
__noinline int gateway_route(struct __sk_buff *skb, __u32 vni, __u32 injected) {
        const struct gw_abi_route *from, *way;
        __u32 zero = 0;
        struct routed *p = bpf_map_lookup_elem(&gw_route_scratch, &zero);

        if (!skb || !p)
                return TC_ACT_STOLEN;
        if (!routed_read(skb, p))
                return drop(GW_COUNT_DROP_GATEWAY_PROTOCOL);
        if (!is_routable(p->source) || !is_routable(p->destination))
                return drop(GW_COUNT_DROP_GATEWAY_PROTOCOL);
        from = route_find(&p->way, vni, p->source);
        if (vni ? !from || !(from->flags & GW_ROUTE_OWN) : from != NULL)
                return drop(GW_COUNT_DROP_GATEWAY_SOURCE);
        way = route_find(&p->way, vni, p->destination);
        if (!way || way->flags & GW_ROUTE_SELF || p->hops <= 1)
                return gateway_up(skb, p, false, injected);
        p->key.vni = way->vni;
        return way->flags & GW_ROUTE_OUTSIDE ? route_outside(skb, p, injected) : route_to_vn(skb, p, injected);
}

/* A frame made by user space in the gateway's name, to a MAC of the VN. */
static __noinline int gateway_say(struct __sk_buff *skb, __u32 vni) {
        struct gw_abi_mac_key key = {.vni = vni};
        struct gw_abi_forward *entry, to;
        struct ethhdr *eth = headers(skb, ETH_HLEN);

        if (!eth)
                return drop(GW_COUNT_DROP_SHORT);
        mac_copy(key.mac, eth->h_dest);
        entry = bpf_map_lookup_elem(&gw_fdb, &key);
        if (!entry || entry->kind == GW_FORWARD_GATEWAY)
                return drop(GW_COUNT_DROP_UNKNOWN);
        to = *entry;
        if (to.kind == GW_FORWARD_LOCAL)
                return deliver(skb, to.ifindex, vni, NULL, NULL, false, false, GW_COUNT_LOCAL);
        return tunnel_send(skb, vni, to.locator, 0, GW_COUNT_REMOTE);
}

#endif
