/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The source guard: a port speaks with its own MAC and its own addresses, also
 * inside ARP and ND. 0: may pass; else the counter that says why not.
 *
 * Besides the addresses allowed by name: an IPv6 link-local address made from
 * the port's MAC; no address yet (DHCPv4, DAD, MLD); nothing that a router says.
 */
#ifndef GW_BPF_GUARD_H
#define GW_BPF_GUARD_H

static __always_inline bool allowed(__u32 ifindex, const void *ip) {
        struct gw_abi_ip_key key = {.id = ifindex};
        ip_copy(key.ip, ip);
        return bpf_map_lookup_elem(&gw_allow, &key) != NULL;
}
static __always_inline bool allowed_v4(__u32 ifindex, __be32 v4) {
        struct gw_abi_ip_key key = {.id = ifindex};
        ip_from_v4(key.ip, v4);
        return bpf_map_lookup_elem(&gw_allow, &key) != NULL;
}
static __always_inline bool allowed_v6(__u32 ifindex, const __u8 *mac, const __u8 *ip) {
        MAC6 own[6];
        if (ip_is_eui64(ip)) {
                mac_from_eui64(own, ip);
                if (mac_eq(own, mac))
                        return true;
        }
        return allowed(ifindex, ip);
}

static __always_inline __u32 guard_ipv4(struct __sk_buff *skb, __u32 ifindex) {
        struct iphdr *ip = headers(skb, ETH_HLEN + sizeof *ip);

        if (!ip)
                return GW_COUNT_DROP_SHORT;
        ip = (void *)ip + ETH_HLEN;
        if (ip->version != 4 || ip->ihl < 5)
                return GW_COUNT_DROP_MALFORMED;
        if (!ip->saddr) /* a DHCP client: to the broadcast address only */
                return ip->daddr == 0xffffffff ? 0 : GW_COUNT_DROP_GUARD_IPV4;
        return allowed_v4(ifindex, ip->saddr) ? 0 : GW_COUNT_DROP_GUARD_IPV4;
}

/* ND hidden behind extension headers is nobody's honest habit (RFC 6980 forbids the fragmented kind). */
static __noinline __u32 guard_nd_hidden(struct __sk_buff *skb, __u8 next) {
        __u32 at = ETH_HLEN + sizeof(struct ipv6hdr);

        for (int i = 0; i < 4; i++) {
                __u8 h[2], type;
                if (next == IPPROTO_ICMPV6) {
                        if (bpf_skb_load_bytes(skb, at, &type, 1))
                                return GW_COUNT_DROP_MALFORMED;
                        return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT ? GW_COUNT_DROP_GUARD_ND : 0;
                }
                if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
                    next != IPPROTO_FRAGMENT)
                        return 0;
                if (bpf_skb_load_bytes(skb, at, h, 2))
                        return GW_COUNT_DROP_MALFORMED;
                at += next == IPPROTO_FRAGMENT ? 8 : (h[1] + 1) * 8;
                next = h[0];
        }
        return GW_COUNT_DROP_GUARD_ND;
}

static __always_inline __u32 guard_nd(struct __sk_buff *skb, __u32 ifindex, const __u8 *mac) {
        struct nd_option_mac option __attribute__((aligned(8))) = {};
        struct nd_frame *nd;
        IP16 target[16];
        __u8 type;

        if (bpf_skb_load_bytes(skb, offsetof(struct nd_frame, type), &type, 1))
                return GW_COUNT_DROP_MALFORMED;
        if (type == ND_ROUTER_ADVERT || type == ND_REDIRECT)
                return GW_COUNT_DROP_GUARD_ND;
        if (type != ND_SOLICIT && type != ND_ADVERT)
                return 0;
        nd = headers(skb, sizeof *nd);
        if (!nd || nd->code)
                return GW_COUNT_DROP_MALFORMED;
        ip_copy(target, nd->target);
        if (type == ND_ADVERT && !allowed_v6(ifindex, mac, target))
                return GW_COUNT_DROP_GUARD_ND;
        if (bpf_skb_load_bytes(skb, sizeof *nd, &option, sizeof option))
                return 0; /* no options */
        if ((option.type == ND_OPTION_SOURCE || option.type == ND_OPTION_TARGET) && !mac_eq(option.mac, mac))
                return GW_COUNT_DROP_GUARD_ND;
        return 0;
}

static __always_inline __u32 guard_ipv6(struct __sk_buff *skb, __u32 ifindex, const __u8 *mac) {
        struct ipv6hdr *ip = headers(skb, ETH_HLEN + sizeof *ip);
        __u8 next, hops, group;
        IP16 saddr[16];

        if (!ip)
                return GW_COUNT_DROP_SHORT;
        ip = (void *)ip + ETH_HLEN;
        if (ip->version != 6)
                return GW_COUNT_DROP_MALFORMED;
        next = ip->nexthdr;
        hops = ip->hop_limit;
        group = ip->daddr.in6_u.u6_addr8[0] == 0xff;
        ip_copy(saddr, &ip->saddr);
        if (ip_is_zero(saddr) ? !group : !allowed_v6(ifindex, mac, saddr))
                return GW_COUNT_DROP_GUARD_IPV6;
        if (hops != ND_HOP_LIMIT || next == IPPROTO_TCP || next == IPPROTO_UDP)
                return 0;
        if (next == IPPROTO_ICMPV6)
                return guard_nd(skb, ifindex, mac);
        return guard_nd_hidden(skb, next);
}

static __always_inline __u32 guard_arp(struct __sk_buff *skb, __u32 ifindex, const __u8 *mac) {
        struct arp_frame *arp = headers(skb, sizeof *arp);
        __be32 spa;

        if (!arp)
                return GW_COUNT_DROP_SHORT;
        if (arp->htype != bpf_htons(1) || arp->ptype != bpf_htons(ETH_P_IP) || arp->hlen != 6 || arp->plen != 4)
                return GW_COUNT_DROP_MALFORMED;
        if (!mac_eq(arp->sha, mac))
                return GW_COUNT_DROP_GUARD_ARP;
        spa = word(arp->spa, 0);
        if (!spa) /* a probe (RFC 5227) */
                return arp->op == bpf_htons(ARP_REQUEST) ? 0 : GW_COUNT_DROP_GUARD_ARP;
        return allowed_v4(ifindex, spa) ? 0 : GW_COUNT_DROP_GUARD_ARP;
}

static __always_inline __u32 guard_rarp(struct __sk_buff *skb, const __u8 *mac) {
        struct arp_frame *rarp = headers(skb, sizeof *rarp);
        if (!rarp)
                return GW_COUNT_DROP_SHORT;
        return mac_eq(rarp->sha, mac) ? 0 : GW_COUNT_DROP_GUARD_ARP;
}

#endif
