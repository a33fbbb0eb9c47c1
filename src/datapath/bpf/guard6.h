/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The source guard for IPv6 and neighbour discovery (RFC 4861). ND counts only
 * with a hop limit of 255, so nothing else needs a look; and as it never leaves its
 * link, its source is the port's own, also on a port that forwards. Behind extension headers
 * it is nobody's honest habit (RFC 6980 forbids the fragmented kind), and all of
 * them are followed wherever there is one; a fragment but the first has none
 * to follow, and is worth nothing without the first. The first has to have them all,
 * inside the packet (RFC 7112): octets that follow the packet in its frame are cut off
 * before a receiver puts fragments together, and must not be taken for headers.
 *
 * MLD comes in one form, behind hop-by-hop options of 8 octets (RFC 3810 section 5), so that what is
 * said about groups is seen for what it is (groups.h).
 */
#ifndef GW_BPF_GUARD6_H
#define GW_BPF_GUARD6_H

enum { ND_OPTIONS_MAX = 12, EXTENSIONS_MAX = 8, UDP6_AT = ETH_HLEN + sizeof(struct ipv6hdr), MLD_AT = UDP6_AT + 8 };

/* An address of the port, by name or made from its MAC. */
static __always_inline bool allowed_v6(const struct gw_abi_port *port, const __u8 *ip) {
        MAC6 made[6];

        if (word(ip, 0) && (ip_eq(ip, port->own6[1]) || ip_eq(ip, port->own6[0])))
                return true; /* the first one that it was given; the one made from its MAC, which comes before */
        if (has_v6(port, word(ip, 0), word(ip, 1), word(ip, 2), word(ip, 3)))
                return true;
        if (!ip_is_eui64(ip))
                return false;
        mac_from_eui64(made, ip);
        return mac_eq(made, port->mac);
}

static __always_inline bool is_extension(__u32 next) {
        return next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING || next == IPPROTO_DSTOPTS ||
               next == IPPROTO_FRAGMENT || next == IPV6_AUTHENTICATION;
}

static __always_inline bool is_nd(__u8 type) {
        return type >= ND_ROUTER_SOLICIT && type <= ND_REDIRECT;
}

static __always_inline bool is_mld(__u8 type) {
        return (type >= MLD_QUERY && type <= MLD_DONE) || type == MLD_REPORT_V2;
}

/* An ICMPv6 message of that type, not ND, with what stands before it. */
static __always_inline __u32 guard_mld(__u8 type, bool in_form, __u32 flags) {
        if (!is_mld(type))
                return 0;
        if (type == MLD_QUERY && !(flags & GW_PORT_MULTICAST_ROUTER))
                return GW_COUNT_DROP_GUARD_QUERIER;
        return in_form ? 0 : GW_COUNT_DROP_MALFORMED;
}

/* Global functions, this one and the next, as in guard.h. */
__noinline int guard_chain(struct __sk_buff *skb, __u32 next, __u32 hops, __u32 flags, __u32 end) {
        __u32 at = ETH_HLEN + sizeof(struct ipv6hdr), first = next, i;
        __u8 h[4], type;

        for (i = 0; i < EXTENSIONS_MAX && is_extension(next); i++) {
                if (at + sizeof h > end || bpf_skb_load_bytes(skb, at, h, sizeof h))
                        return GW_COUNT_DROP_GUARD_HEADERS;
                if (next == IPPROTO_FRAGMENT && ((h[2] << 8 | h[3]) & IPV6_OFFSET))
                        return 0;
                at += next == IPPROTO_FRAGMENT ? 8 : next == IPV6_AUTHENTICATION ? (h[1] + 2) * 4 : (h[1] + 1) * 8;
                next = h[0];
        }
        if (i == EXTENSIONS_MAX)
                return GW_COUNT_DROP_GUARD_HEADERS;
        if (next == IPPROTO_UDP)
                return flags & GW_PORT_DHCP_SERVER ? 0 : guard_dhcp(skb, at, end, DHCPV6_CLIENT);
        if (next != IPPROTO_ICMPV6)
                return 0;
        if (at >= end || bpf_skb_load_bytes(skb, at, &type, 1))
                return GW_COUNT_DROP_GUARD_HEADERS;
        if (is_nd(type))
                return hops == ND_HOP_LIMIT ? GW_COUNT_DROP_GUARD_ND : 0;
        return guard_mld(type, first == IPPROTO_HOPOPTS && at == MLD_AT, flags);
}

/* Every link-layer address among the options is the port's own. */
__noinline int guard_nd_options(struct __sk_buff *skb, __u32 at, __u32 end, const struct gw_abi_port *port) {
        if (!port)
                return GW_COUNT_DROP_GUARD_ND;
        for (int i = 0; i < ND_OPTIONS_MAX; i++) {
                struct nd_option_mac option __attribute__((aligned(8))) = {};
                if (at >= end)
                        return 0;
                if (bpf_skb_load_bytes(skb, at, &option, sizeof option) || !option.length)
                        return GW_COUNT_DROP_MALFORMED;
                if ((option.type == ND_OPTION_SOURCE || option.type == ND_OPTION_TARGET) &&
                    !mac_eq(option.mac, port->mac))
                        return GW_COUNT_DROP_GUARD_ND;
                at += option.length * 8;
        }
        return GW_COUNT_DROP_GUARD_HEADERS;
}

/* What routers and their clients say: it has another form than NS and NA. */
static __noinline __u32 guard_nd_router(struct __sk_buff *skb, const struct gw_abi_port *port, __u32 type, __u32 code,
                                        __u32 end) {
        __u32 at = offsetof(struct nd_frame, target);

        if (type != ND_ROUTER_SOLICIT && !(port->flags & GW_PORT_ROUTER))
                return GW_COUNT_DROP_GUARD_ROUTER;
        if (type == ND_REDIRECT) /* its option is the address of another, as it should be */
                return 0;
        if (type == ND_ROUTER_ADVERT)
                return guard_nd_options(skb, at + 8, end, port);
        return code ? GW_COUNT_DROP_MALFORMED : guard_nd_options(skb, at, end, port);
}

/* ICMPv6 with a hop limit of 255. `own`: its source is the port's, or nobody's. */
static __always_inline __u32 guard_nd(struct __sk_buff *skb, const struct gw_abi_port *port, __u32 end, bool own) {
        struct nd_frame *nd = headers(skb, offsetof(struct nd_frame, checksum));
        struct nd_option_mac *option;
        __u8 type, code;

        if (!nd)
                return GW_COUNT_DROP_MALFORMED;
        type = nd->type;
        code = nd->code;
        if (!is_nd(type))
                return guard_mld(type, false, port->flags);
        if (!own)
                return GW_COUNT_DROP_GUARD_ND;
        if (type != ND_SOLICIT && type != ND_ADVERT)
                return guard_nd_router(skb, port, type, code, end);
        nd = headers(skb, sizeof *nd);
        if (!nd || code)
                return GW_COUNT_DROP_MALFORMED;
        option = (void *)(nd + 1);
        if (end == sizeof *nd + sizeof *option && (void *)(option + 1) <= (void *)(long)skb->data_end &&
            option->length == 1 && mac_eq(option->mac, port->mac)) /* one, and an honest one: the rule */
                return type == ND_SOLICIT || allowed_v6(port, nd->target) ? 0 : GW_COUNT_DROP_GUARD_ND;
        if (type == ND_ADVERT && !allowed_v6(port, nd->target))
                return GW_COUNT_DROP_GUARD_ND;
        return guard_nd_options(skb, sizeof *nd, end, port);
}

/* From no address: to a group, also on the outside. */
static __always_inline bool addressless_v6(const struct ethhdr *eth, const struct ipv6hdr *ip) {
        return ip->daddr.in6_u.u6_addr8[0] == 0xff && mac_is_group(eth->h_dest);
}

static __always_inline __u32 guard_icmpv6(struct __sk_buff *skb, __u32 flags) {
        __u8 type;

        if (bpf_skb_load_bytes(skb, offsetof(struct nd_frame, type), &type, 1))
                return 0; /* nothing of it is there */
        return guard_mld(type, false, flags);
}

static __always_inline __u32 guard_ipv6(struct __sk_buff *skb, const struct gw_abi_port *port) {
        struct ethhdr *eth = headers(skb, ETH_HLEN + sizeof(struct ipv6hdr));
        struct ipv6hdr *ip = (void *)eth + ETH_HLEN;
        __u32 next, hops, end, flags = port->flags;
        const __be16 *ports;
        bool own, answers_dhcp;

        if (!eth)
                return GW_COUNT_DROP_SHORT;
        end = ETH_HLEN + sizeof *ip + bpf_ntohs(ip->payload_len);
        if (ip->version != 6 || end > skb->len)
                return GW_COUNT_DROP_MALFORMED;
        if (!ip->payload_len && skb->gso_size) /* larger than the field can say (Linux's BIG TCP) */
                end = skb->len;
        next = ip->nexthdr;
        hops = ip->hop_limit;
        ports = udp_ports(skb, ip + 1);
        answers_dhcp = ports && ports[1] == bpf_htons(DHCPV6_CLIENT);
        own = ip_is_zero(&ip->saddr) ? addressless_v6(eth, ip) : allowed_v6(port, ip->saddr.in6_u.u6_addr8);
        if (!own && (!(flags & GW_PORT_FORWARDS) || ip_is_zero(&ip->saddr)))
                return GW_COUNT_DROP_GUARD_IPV6;
        if (next == IPPROTO_UDP && !(flags & GW_PORT_DHCP_SERVER)) {
                if (ports && end >= UDP6_AT + 2 * sizeof *ports)
                        return answers_dhcp ? GW_COUNT_DROP_GUARD_DHCP : 0;
                return guard_dhcp(skb, UDP6_AT, end, DHCPV6_CLIENT);
        }
        if (next == IPPROTO_ICMPV6)
                return hops == ND_HOP_LIMIT ? guard_nd(skb, port, end, own) : guard_icmpv6(skb, flags);
        return is_extension(next) ? guard_chain(skb, next, hops, flags, end) : 0;
}

#endif
