/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ARP (RFC 826, 5227) and neighbour discovery (RFC 4861, 4862), answered at the
 * edge for those whom the directory knows; nothing that can be answered is
 * flooded. An answer speaks with the owner's voice: its MAC, and in IPv6 S=1 and
 * O=1 unless the entry says otherwise.
 *
 * A probe (ARP with source 0, a NS from ::) is a question whether the address is
 * taken: it is answered when another MAC has it, and silence is the right answer
 * to its owner. Questions sent to a MAC (reachability) go to that MAC.
 *
 * Each walk returns a TC action, or WALK_ON (punt.h) when the frame is to be forwarded.
 */
#ifndef GW_BPF_NEIGH_H
#define GW_BPF_NEIGH_H

static __always_inline bool neigh_find(__u32 vni, const __u8 *ip, struct gw_abi_neigh *out) {
        struct gw_abi_ip_key key = {.id = vni};
        struct gw_abi_mac_key mac = {.vni = vni};
        struct gw_abi_neigh *found;

        ip_copy(key.ip, ip);
        found = bpf_map_lookup_elem(&gw_neigh, &key);
        if (found) {
                *out = *found;
                return true;
        }
        if (!ip_is_eui64(ip))
                return false;
        mac_from_eui64(mac.mac, ip);
        if (!bpf_map_lookup_elem(&gw_fdb, &mac))
                return false;
        mac_copy(out->mac, mac.mac);
        out->flags = 0;
        return true;
}

static __always_inline int neigh_ask(struct __sk_buff *skb, const struct walk *w) {
        return punt_of_port(skb, GW_PUNT_NEIGH, w);
}
static __always_inline int neigh_announce(struct __sk_buff *skb, const struct walk *w) {
        return punt_of_port(skb, GW_PUNT_ANNOUNCE, w);
}

static __always_inline int arp_answer(struct __sk_buff *skb, const struct walk *w, const struct arp_frame *asked,
                                      const __u8 *mac) {
        struct arp_frame a __attribute__((aligned(8)));

        __builtin_memcpy(&a, asked, sizeof a);
        mac_copy(a.eth.h_dest, a.sha);
        mac_copy(a.eth.h_source, mac);
        a.op = bpf_htons(ARP_REPLY);
        mac_copy(a.tha, a.sha);
        mac_copy(a.sha, mac);
        __builtin_memcpy(a.tpa, asked->spa, 4);
        __builtin_memcpy(a.spa, asked->tpa, 4);
        if (bpf_skb_store_bytes(skb, 0, &a, sizeof a, BPF_F_RECOMPUTE_CSUM))
                return drop(GW_COUNT_DROP_MALFORMED);
        count(GW_COUNT_ARP_ANSWERED);
        return bpf_redirect(w->ifindex, 0);
}

static __noinline int arp_walk(struct __sk_buff *skb, const struct walk *w) {
        struct arp_frame *a = headers(skb, sizeof *a);
        struct gw_abi_neigh owner;
        IP16 ip[16];

        if (!a)
                return drop(GW_COUNT_DROP_SHORT);
        if (!mac_is_group(a->eth.h_dest))
                return WALK_ON;
        if (a->op != bpf_htons(ARP_REQUEST) || word(a->spa, 0) == word(a->tpa, 0))
                return neigh_announce(skb, w);
        ip_from_v4(ip, word(a->tpa, 0));
        if (!neigh_find(w->vni, ip, &owner))
                return allowed(w->ifindex, ip) ? drop(GW_COUNT_DAD_SILENT) : neigh_ask(skb, w);
        if (mac_eq(owner.mac, a->sha))
                return drop(GW_COUNT_DAD_SILENT);
        return arp_answer(skb, w, a, owner.mac);
}

/* The answer, two octets in, so that what follows the Ethernet header is aligned. */
struct na_frame {
        __u16 pad;
        struct nd_frame nd;
        struct nd_option_mac option;
} __attribute__((packed));

enum { NA_OCTETS = sizeof(struct na_frame) - 2 };

static __always_inline void na_checksum(struct na_frame *na) {
        __u32 rest[2] = {bpf_htonl(32), bpf_htonl(IPPROTO_ICMPV6)}, sum; /* of the pseudo header */

        sum = bpf_csum_diff(NULL, 0, (__be32 *)&na->nd.ip.saddr, 32, 0);
        sum = bpf_csum_diff(NULL, 0, rest, sizeof rest, sum);
        sum = bpf_csum_diff(NULL, 0, (__be32 *)&na->nd.type, 32, sum);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        na->nd.checksum = ~sum;
}

/* To a probe (asker unspecified) the answer goes to all nodes and is not "solicited". */
static __always_inline int nd_answer(struct __sk_buff *skb, const struct walk *w, const struct nd_frame *ns,
                                     const struct gw_abi_neigh *owner) {
        static const __u8 all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
        struct na_frame na __attribute__((aligned(8))) = {
                .nd.type = ND_ADVERT, .nd.ip.version = 6, .nd.ip.nexthdr = IPPROTO_ICMPV6};
        bool probe = ip_is_zero(&ns->ip.saddr);
        __u32 flags = probe ? 0 : NA_SOLICITED;

        if (owner->flags & GW_NEIGH_ROUTER)
                flags |= NA_ROUTER;
        if (!(owner->flags & GW_NEIGH_NO_OVERRIDE))
                flags |= NA_OVERRIDE;
        mac_copy(na.nd.eth.h_dest, probe ? all_nodes_mac : ns->eth.h_source);
        mac_copy(na.nd.eth.h_source, owner->mac);
        na.nd.eth.h_proto = bpf_htons(ETH_P_IPV6);
        na.nd.ip.payload_len = bpf_htons(32);
        na.nd.ip.hop_limit = ND_HOP_LIMIT;
        ip_copy(&na.nd.ip.saddr, ns->target);
        if (probe) {
                na.nd.ip.daddr.in6_u.u6_addr8[0] = 0xff;
                na.nd.ip.daddr.in6_u.u6_addr8[1] = 2;
                na.nd.ip.daddr.in6_u.u6_addr8[15] = 1;
        } else {
                ip_copy(&na.nd.ip.daddr, &ns->ip.saddr);
        }
        na.nd.flags = bpf_htonl(flags);
        ip_copy(na.nd.target, ns->target);
        na.option.type = ND_OPTION_TARGET;
        na.option.length = 1;
        mac_copy(na.option.mac, owner->mac);
        na_checksum(&na);
        if (bpf_skb_change_tail(skb, NA_OCTETS, 0) ||
            bpf_skb_store_bytes(skb, 0, &na.nd, NA_OCTETS, BPF_F_RECOMPUTE_CSUM))
                return drop(GW_COUNT_DROP_MALFORMED);
        count(GW_COUNT_ND_ANSWERED);
        return bpf_redirect(w->ifindex, 0);
}

/* The caller has seen ICMPv6 with hop limit 255. */
static __noinline int nd_walk(struct __sk_buff *skb, const struct walk *w) {
        struct nd_frame *nd = headers(skb, sizeof *nd);
        struct gw_abi_neigh owner;
        IP16 target[16];

        if (!nd) /* a shorter message, a router solicitation for one */
                return WALK_ON;
        if (!mac_is_group(nd->eth.h_dest) || (nd->type != ND_SOLICIT && nd->type != ND_ADVERT))
                return WALK_ON;
        if (nd->type == ND_ADVERT)
                return neigh_announce(skb, w);
        ip_copy(target, nd->target);
        if (!neigh_find(w->vni, target, &owner))
                return allowed(w->ifindex, target) ? drop(GW_COUNT_DAD_SILENT) : neigh_ask(skb, w);
        if (mac_eq(owner.mac, nd->eth.h_source))
                return drop(GW_COUNT_DAD_SILENT);
        return nd_answer(skb, w, nd, &owner);
}

#endif
