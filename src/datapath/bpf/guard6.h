/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The source guard for IPv6 and neighbour discovery (RFC 4861). ND counts only
 * with a hop limit of 255, so nothing else needs a look. Behind extension headers
 * it is nobody's honest habit (RFC 6980 forbids the fragmented kind), and all of
 * them are followed wherever there is one; a fragment but the first has none
 * to follow, and is worth nothing without the first.
 */
#ifndef GW_BPF_GUARD6_H
#define GW_BPF_GUARD6_H

enum { ND_OPTIONS_MAX = 12, EXTENSIONS_MAX = 8 };

/* An address of the port, by name or made from its MAC. An IPv4-mapped one is none on the wire (RFC 4038). */
static __always_inline bool allowed_v6(__u32 ifindex, const __u8 *mac, const __u8 *ip) {
        MAC6 own[6];
        if (ip_is_v4(ip))
                return false;
        if (allowed(ifindex, ip))
                return true;
        if (!ip_is_eui64(ip))
                return false;
        mac_from_eui64(own, ip);
        return mac_eq(own, mac);
}

static __always_inline bool is_extension(__u32 next) {
        return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
               next == IPPROTO_FRAGMENT || next == IPV6_AUTHENTICATION;
}

static __always_inline bool is_nd(__u8 type) {
        return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT;
}

static __noinline __u32 guard_chain(struct __sk_buff *skb, __u32 next, __u32 hops, __u32 flags) {
        __u32 at = ETH_HLEN + sizeof(struct ipv6hdr);

        for (int i = 0; i < EXTENSIONS_MAX; i++) {
                __u8 h[4], type;
                if (next == IPPROTO_UDP)
                        return flags & GW_PORT_DHCP_SERVER ? 0 : guard_dhcp(skb, at, DHCPV6_CLIENT);
                if (next == IPPROTO_ICMPV6) {
                        if (bpf_skb_load_bytes(skb, at, &type, 1))
                                return GW_COUNT_DROP_GUARD_HEADERS;
                        if (type == MLD_QUERY && !(flags & GW_PORT_MULTICAST_ROUTER))
                                return GW_COUNT_DROP_GUARD_QUERIER;
                        return hops == ND_HOP_LIMIT && is_nd(type) ? GW_COUNT_DROP_GUARD_ND : 0;
                }
                if (!is_extension(next))
                        return 0;
                if (bpf_skb_load_bytes(skb, at, h, sizeof h))
                        return GW_COUNT_DROP_GUARD_HEADERS;
                if (next == IPPROTO_FRAGMENT && ((h[2] << 8 | h[3]) & IPV6_OFFSET))
                        return 0;
                at += next == IPPROTO_FRAGMENT ? 8 : next == IPV6_AUTHENTICATION ? (h[1] + 2) * 4 : (h[1] + 1) * 8;
                next = h[0];
        }
        return GW_COUNT_DROP_GUARD_HEADERS;
}

/* Every link-layer address among the options is the port's own. */
static __noinline __u32 guard_nd_options(struct __sk_buff *skb, __u32 at, __u32 end, const __u8 *mac) {
        for (int i = 0; i < ND_OPTIONS_MAX; i++) {
                struct nd_option_mac option __attribute__((aligned(8))) = {};
                if (at >= end)
                        return 0;
                if (bpf_skb_load_bytes(skb, at, &option, sizeof option) || !option.length)
                        return GW_COUNT_DROP_MALFORMED;
                if ((option.type == ND_OPTION_SOURCE || option.type == ND_OPTION_TARGET) && !mac_eq(option.mac, mac))
                        return GW_COUNT_DROP_GUARD_ND;
                at += option.length * 8;
        }
        return GW_COUNT_DROP_GUARD_HEADERS;
}

static __always_inline __u32 guard_nd(struct __sk_buff *skb, __u32 ifindex, const __u8 *mac, __u32 flags, __u32 end) {
        __u32 at = offsetof(struct nd_frame, target);
        struct nd_frame *nd;
        IP16 target[16];
        __u8 h[2];

        if (bpf_skb_load_bytes(skb, offsetof(struct nd_frame, type), h, sizeof h))
                return GW_COUNT_DROP_MALFORMED;
        if (!is_nd(h[0]))
                return 0;
        if (h[0] == ND_ROUTER_ADVERT || h[0] == ND_REDIRECT) {
                if (!(flags & GW_PORT_ROUTER))
                        return GW_COUNT_DROP_GUARD_ROUTER;
                if (h[0] == ND_REDIRECT) /* its option is the address of another, as it should be */
                        return 0;
                return guard_nd_options(skb, at + 8, end, mac);
        }
        if (h[1])
                return GW_COUNT_DROP_MALFORMED;
        if (h[0] == ND_ROUTER_SOLICIT)
                return guard_nd_options(skb, at, end, mac);
        nd = headers(skb, sizeof *nd);
        if (!nd)
                return GW_COUNT_DROP_MALFORMED;
        ip_copy(target, nd->target);
        if (h[0] == ND_ADVERT && !allowed_v6(ifindex, mac, target))
                return GW_COUNT_DROP_GUARD_ND;
        return guard_nd_options(skb, sizeof *nd, end, mac);
}

/* From no address: to a group, also on the outside. */
static __always_inline bool addressless_v6(const struct ethhdr *eth, const struct ipv6hdr *ip) {
        return ip->daddr.in6_u.u6_addr8[0] == 0xff && mac_is_group(eth->h_dest);
}

static __always_inline __u32 guard_ipv6(struct __sk_buff *skb, __u32 ifindex, const __u8 *mac, __u32 flags) {
        struct ethhdr *eth = headers(skb, ETH_HLEN + sizeof(struct ipv6hdr));
        struct ipv6hdr *ip = (void *)eth + ETH_HLEN;
        __u32 next, hops, end;
        const __be16 *ports;
        IP16 saddr[16];

        if (!eth)
                return GW_COUNT_DROP_SHORT;
        end = ETH_HLEN + sizeof *ip + bpf_ntohs(ip->payload_len);
        if (ip->version != 6 || end > skb->len)
                return GW_COUNT_DROP_MALFORMED;
        next = ip->nexthdr;
        hops = ip->hop_limit;
        ip_copy(saddr, &ip->saddr);
        if (!allowed_v6(ifindex, mac, saddr) &&
            !(ip_is_zero(saddr) ? addressless_v6(eth, ip) : flags & GW_PORT_FORWARDS))
                return GW_COUNT_DROP_GUARD_IPV6;
        if (next == IPPROTO_UDP && !(flags & GW_PORT_DHCP_SERVER)) {
                ports = udp_ports(skb, ip + 1);
                if (ports)
                        return ports[1] == bpf_htons(DHCPV6_CLIENT) ? GW_COUNT_DROP_GUARD_DHCP : 0;
                return guard_dhcp(skb, ETH_HLEN + sizeof(struct ipv6hdr), DHCPV6_CLIENT);
        }
        if (next == IPPROTO_ICMPV6)
                return hops == ND_HOP_LIMIT ? guard_nd(skb, ifindex, mac, flags, end) : 0;
        return is_extension(next) ? guard_chain(skb, next, hops, flags) : 0;
}

#endif
