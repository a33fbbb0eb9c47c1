/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The source guard: a port speaks with its own MAC and its own addresses, also
 * inside ARP, RARP and ND. 0: may pass; else the counter that says why not.
 *
 * Besides the addresses allowed by name: an IPv6 link-local address made from
 * the port's MAC; no address yet (DHCPv4, IGMP, DAD, MLD). What a router or a DHCP
 * server says, and packets of others, only from ports that have the flag for it.
 * Probes (ARP with source 0, anything from ::) go to groups, where the edge answers
 * them; one that is sent to a single MAC can only be meant to make its owner give
 * up an address (RFC 5227 section 2.1.1, RFC 4862 section 5.4.3).
 *
 * guard6.h has IPv6. What cannot be told because its headers are in another
 * fragment, or too many, does not pass (RFC 7113, RFC 7112).
 */
#ifndef GW_BPF_GUARD_H
#define GW_BPF_GUARD_H

/* Among a port's addresses, whose unused places are zero. Global functions, so that they are verified once and not
 * for each way that leads to them; most ports never come here, since their first addresses are compared before. */
__noinline int has_v4(const struct gw_abi_port *port, __be32 v4) {
        if (!port || !v4)
                return 0;
#pragma unroll
        for (int i = 0; i < GW_OWN4_MAX; i++)
                if (v4 == port->own4[i])
                        return 1;
        return 0;
}

static __always_inline bool allowed_v4(const struct gw_abi_port *port, __be32 v4) {
        return (v4 && v4 == port->own4[0]) || has_v4(port, v4);
}

/* Word by word. Addresses of one port differ in the last, as a rule: that is compared first. */
__noinline int has_v6(const struct gw_abi_port *port, __u32 a, __u32 b, __u32 c, __u32 d) {
        if (!port || !(a | b | c | d))
                return 0;
#pragma unroll
        for (int i = 0; i < GW_OWN6_MAX; i++)
                if (d == word(port->own6[i], 3) && c == word(port->own6[i], 2) && b == word(port->own6[i], 1) &&
                    a == word(port->own6[i], 0))
                        return 1;
        return 0;
}

/* UDP right behind an IP header that was read: the ports without a call, if they are there to see. */
static __always_inline const __be16 *udp_ports(struct __sk_buff *skb, void *behind) {
        return behind + 2 * sizeof(__be16) <= (void *)(long)skb->data_end ? behind : NULL;
}

/* UDP at `at`: not to the port where a DHCP client listens. What lies behind the packet's end is not the packet's. */
static __always_inline __u32 guard_dhcp(struct __sk_buff *skb, __u32 at, __u32 end, __u16 client) {
        __be16 ports[2];

        if (at + sizeof ports > end || bpf_skb_load_bytes(skb, at, ports, sizeof ports))
                return GW_COUNT_DROP_GUARD_HEADERS;
        return ports[1] == bpf_htons(client) ? GW_COUNT_DROP_GUARD_DHCP : 0;
}

/* Who asks for groups makes others speak, and decides how. */
static __always_inline __u32 guard_querier(struct __sk_buff *skb, __u32 at, __u8 query) {
        __u8 type;

        if (bpf_skb_load_bytes(skb, at, &type, 1))
                return GW_COUNT_DROP_GUARD_HEADERS;
        return type == query ? GW_COUNT_DROP_GUARD_QUERIER : 0;
}

/* Without an address yet: a DHCP client, and IGMP (RFC 3376 section 4.2.13). */
static __always_inline bool addressless_v4(const struct iphdr *ip) {
        return ip->daddr == 0xffffffff ||
               (ip->protocol == IPPROTO_IGMP && (ip->daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000));
}

static __always_inline __u32 guard_ipv4(struct __sk_buff *skb, const struct gw_abi_port *port) {
        struct iphdr *ip = headers(skb, ETH_HLEN + sizeof *ip);
        __u32 flags = port->flags, octets;
        const __be16 *ports;

        if (!ip)
                return GW_COUNT_DROP_SHORT;
        ip = (void *)ip + ETH_HLEN;
        octets = bpf_ntohs(ip->tot_len);
        if (ip->version != 4 || ip->ihl < 5 || octets > skb->len - ETH_HLEN)
                return GW_COUNT_DROP_MALFORMED;
        if (!ip->saddr ? !addressless_v4(ip) : !(flags & GW_PORT_FORWARDS) && !allowed_v4(port, ip->saddr))
                return GW_COUNT_DROP_GUARD_IPV4;
        if (ip->protocol == IPPROTO_IGMP && !(flags & GW_PORT_MULTICAST_ROUTER))
                return guard_querier(skb, ETH_HLEN + ip->ihl * 4, IGMP_QUERY);
        if (ip->protocol != IPPROTO_UDP || flags & GW_PORT_DHCP_SERVER || ip->frag_off & bpf_htons(IPV4_OFFSET))
                return 0;
        ports = udp_ports(skb, ip + 1);
        if (ports && ip->ihl == sizeof *ip / 4 && octets >= sizeof *ip + 2 * sizeof *ports)
                return ports[1] == bpf_htons(DHCP_CLIENT) ? GW_COUNT_DROP_GUARD_DHCP : 0;
        return guard_dhcp(skb, ETH_HLEN + ip->ihl * 4, ETH_HLEN + octets, DHCP_CLIENT);
}

static __always_inline bool arp_is_ethernet(const struct arp_frame *arp) {
        return arp->htype == bpf_htons(1) && arp->ptype == bpf_htons(ETH_P_IP) && arp->hlen == 6 && arp->plen == 4;
}

static __always_inline __u32 guard_arp(struct __sk_buff *skb, const struct gw_abi_port *port) {
        struct arp_frame *arp = headers(skb, sizeof *arp);
        __be32 spa;

        if (!arp)
                return GW_COUNT_DROP_SHORT;
        if (!arp_is_ethernet(arp))
                return GW_COUNT_DROP_MALFORMED;
        if (!mac_eq(arp->sha, port->mac) || (arp->op != bpf_htons(ARP_REQUEST) && arp->op != bpf_htons(ARP_REPLY)))
                return GW_COUNT_DROP_GUARD_ARP;
        spa = word(arp->spa, 0);
        if (!spa) /* a probe (RFC 5227) */
                return arp->op == bpf_htons(ARP_REQUEST) && mac_is_group(arp->eth.h_dest) ? 0 : GW_COUNT_DROP_GUARD_ARP;
        return allowed_v4(port, spa) ? 0 : GW_COUNT_DROP_GUARD_ARP;
}

/* A client that asks about itself; nobody here answers for others. */
static __always_inline __u32 guard_rarp(struct __sk_buff *skb, const __u8 *mac) {
        struct arp_frame *rarp = headers(skb, sizeof *rarp);

        if (!rarp)
                return GW_COUNT_DROP_SHORT;
        if (!arp_is_ethernet(rarp))
                return GW_COUNT_DROP_MALFORMED;
        return rarp->op == bpf_htons(RARP_REQUEST) && mac_eq(rarp->sha, mac) && mac_eq(rarp->tha, mac)
                       ? 0
                       : GW_COUNT_DROP_GUARD_RARP;
}

static __always_inline __u32 guard_other(__be16 proto, __u32 flags) {
        switch (proto) {
        case bpf_htons(ETH_P_8021Q):
        case bpf_htons(ETH_P_8021AD):
        case bpf_htons(ETH_P_QINQ_OLD):
                return GW_COUNT_DROP_VLAN;
        default:
                return bpf_ntohs(proto) >= LLC_BELOW || flags & GW_PORT_ANY_FRAME ? 0 : GW_COUNT_DROP_GUARD_LLC;
        }
}

#endif
