/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * ARP (RFC 826, 5227) and neighbour discovery (RFC 4861, 4862), answered at the
 * edge for those whom the directory knows; nothing that can be answered is
 * flooded. An answer speaks with the owner's voice: its MAC, and in IPv6 S=1 and
 * O=1 unless the entry says otherwise, R=1 for the gateway.
 *
 * A probe (ARP with source 0, a NS from ::) is a question whether the address is
 * taken: it is answered when another MAC has it, and silence is the right answer
 * to its owner, wherever it asks from: a VM that has moved is no duplicate of
 * itself.
 *
 * A question sent to a MAC (is it still there?) is answered as well, from the
 * directory, unless that MAC is on this host: then its owner answers, which costs
 * the underlay nothing. A secured question (SEND, RFC 3971) is not ours to answer,
 * since we cannot sign: it goes to the owner alone, under its MAC (RFC 6085).
 *
 * A nonce (RFC 3971 section 5.3.2, RFC 7527) comes back with the answer.
 *
 * Each walk returns a TC action, or WALK_ON when the frame is to be forwarded, or
 * WALK_TO_OWNER when it is to be, and its destination has been changed.
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

/* Its port is on this host, and the VM is there. */
static __always_inline bool is_here(__u32 vni, const __u8 *mac) {
        struct gw_abi_mac_key key = {.vni = vni};
        struct gw_abi_forward *to;

        mac_copy(key.mac, mac);
        to = bpf_map_lookup_elem(&gw_fdb, &key);
        return to && to->kind == GW_FORWARD_LOCAL;
}

/* A question that was sent to `asked` alone: is it for us to answer? */
static __always_inline bool answers_unicast(const struct walk *w, const struct gw_abi_neigh *owner, const __u8 *asked,
                                            const __u8 *asker) {
        if (mac_eq(owner->mac, asker))
                return false;
        return !mac_eq(owner->mac, asked) || !is_here(w->vni, owner->mac);
}

/* Sent to the edge itself: an answer to what it has asked. */
static __always_inline bool is_to_edge(const __u8 *mac) {
        static const MAC6 edge[6] = GW_ABI_GATEWAY_MAC;
        return mac_eq(mac, edge);
}

static __noinline int arp_walk(struct __sk_buff *skb, const struct walk *w) {
        struct arp_frame *a = headers(skb, sizeof *a);
        struct gw_abi_neigh owner = {};
        bool group, known;
        MAC6 asked[6];
        IP16 ip[16];

        if (!a)
                return drop(GW_COUNT_DROP_SHORT);
        group = mac_is_group(a->eth.h_dest);
        if (a->op != bpf_htons(ARP_REQUEST) || word(a->spa, 0) == word(a->tpa, 0))
                return group || is_to_edge(a->eth.h_dest) ? neigh_announce(skb, w) : WALK_ON;
        mac_copy(asked, a->eth.h_dest);
        ip_from_v4(ip, word(a->tpa, 0));
        known = neigh_find(w->vni, ip, &owner);
        if (!group)
                return known && answers_unicast(w, &owner, asked, a->sha) ? arp_answer(skb, w, a, owner.mac) : WALK_ON;
        if (!known)
                return allowed_v4(w->port, word(ip, 3)) ? drop(GW_COUNT_DAD_SILENT) : neigh_ask(skb, w);
        if (mac_eq(owner.mac, a->sha))
                return drop(GW_COUNT_DAD_SILENT);
        return arp_answer(skb, w, a, owner.mac);
}

/* ---- neighbour discovery ---- */

/* What the options of a NS say. */
struct nd_options {
        bool bad, source, send, nonce;
        struct nd_option_nonce echo; /* with .nonce */
};

/* One option at `at`: its octets, or 0 for the end. */
static __always_inline __u32 nd_option(struct __sk_buff *skb, __u32 at, __u32 end, struct nd_options *o) {
        __u8 head[2] __attribute__((aligned(8)));

        if (at >= end)
                return 0;
        if (at + 8 > end || bpf_skb_load_bytes(skb, at, head, 2) || !head[1] || at + head[1] * 8 > end) {
                o->bad = true;
                return 0;
        }
        if (head[0] == ND_OPTION_SOURCE)
                o->source = true;
        else if (head[0] >= ND_OPTION_CGA && head[0] <= ND_OPTION_TIMESTAMP)
                o->send = true;
        else if (head[0] == ND_OPTION_NONCE && head[1] == 1)
                o->nonce = !bpf_skb_load_bytes(skb, at, &o->echo, sizeof o->echo);
        return head[1] * 8;
}

/* A global function: it is verified once, and what it has found is no state of its callers. */
__noinline int nd_options(struct __sk_buff *skb, __u32 payload, struct nd_options *o) {
        __u32 at = sizeof(struct nd_frame), end = ETH_HLEN + sizeof(struct ipv6hdr) + payload;

        if (!o)
                return 0;
        o->bad = end < at || end > skb->len;
        for (int i = 0; i < ND_OPTIONS_MAX && !o->bad; i++) {
                __u32 octets = nd_option(skb, at, end, o);
                if (!octets)
                        return 0;
                at += octets;
        }
        o->bad |= at != end;
        return 0;
}

/* The answer, two octets in, so that what follows the Ethernet header is aligned. */
struct na_frame {
        __u16 pad;
        struct nd_frame nd;
        struct nd_option_mac option;
        struct nd_option_nonce nonce; /* when the question had one */
} __attribute__((packed));

enum { NA_LONG = sizeof(struct na_frame) - 2, NA_SHORT = NA_LONG - sizeof(struct nd_option_nonce) };

static __always_inline void na_checksum(struct na_frame *na, bool nonce) {
        __u32 rest[2] = {bpf_htonl(nonce ? 40 : 32), bpf_htonl(IPPROTO_ICMPV6)}, sum; /* of the pseudo header */

        sum = bpf_csum_diff(NULL, 0, (__be32 *)&na->nd.ip.saddr, 32, 0);
        sum = bpf_csum_diff(NULL, 0, rest, sizeof rest, sum);
        sum = bpf_csum_diff(NULL, 0, (__be32 *)&na->nd.type, 40, sum); /* without a nonce the last 8 are zero */
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        na->nd.checksum = ~sum;
}

/* To a probe (asker unspecified) the answer goes to all nodes and is not "solicited". Not called by ns_walk but after
 * it: there is only so much stack. */
static __noinline int nd_answer(struct __sk_buff *skb, const struct walk *w) {
        static const __u8 all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
        struct na_frame na __attribute__((aligned(8))) = {
                .nd.type = ND_ADVERT, .nd.ip.version = 6, .nd.ip.nexthdr = IPPROTO_ICMPV6};
        struct nd_frame *ns = headers(skb, sizeof *ns);
        __u32 flags;
        bool probe;

        if (!ns)
                return drop(GW_COUNT_DROP_SHORT);
        probe = ip_is_zero(&ns->ip.saddr);
        flags = probe ? 0 : NA_SOLICITED;
        if (w->owner.flags & GW_NEIGH_ROUTER)
                flags |= NA_ROUTER;
        if (!(w->owner.flags & GW_NEIGH_NO_OVERRIDE))
                flags |= NA_OVERRIDE;
        mac_copy(na.nd.eth.h_dest, probe ? all_nodes_mac : ns->eth.h_source);
        mac_copy(na.nd.eth.h_source, w->owner.mac);
        na.nd.eth.h_proto = bpf_htons(ETH_P_IPV6);
        na.nd.ip.payload_len = bpf_htons(w->nonce ? 40 : 32);
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
        mac_copy(na.option.mac, w->owner.mac);
        if (w->nonce)
                __builtin_memcpy(&na.nonce, &w->echo, sizeof na.nonce);
        na_checksum(&na, w->nonce);
        if (bpf_skb_change_tail(skb, w->nonce ? NA_LONG : NA_SHORT, 0) ||
            (w->nonce ? bpf_skb_store_bytes(skb, 0, &na.nd, NA_LONG, BPF_F_RECOMPUTE_CSUM)
                      : bpf_skb_store_bytes(skb, 0, &na.nd, NA_SHORT, BPF_F_RECOMPUTE_CSUM)))
                return drop(GW_COUNT_DROP_MALFORMED);
        count(GW_COUNT_ND_ANSWERED);
        return bpf_redirect(w->ifindex, 0);
}

/* RFC 4861 section 7.1.1; code and hop limit were looked at before. */
static __always_inline bool ns_is_valid(const struct nd_frame *ns, const struct nd_options *o) {
        if (o->bad || ns->target[0] == 0xff)
                return false;
        if (!ip_is_zero(&ns->ip.saddr))
                return true;
        return !o->source && word(&ns->ip.daddr, 0) == bpf_htonl(0xff020000) && !word(&ns->ip.daddr, 1) &&
               word(&ns->ip.daddr, 2) == bpf_htonl(1) && ns->ip.daddr.in6_u.u6_addr8[12] == 0xff;
}

static __always_inline int nd_to_owner(struct __sk_buff *skb, const struct gw_abi_neigh *owner) {
        if (bpf_skb_store_bytes(skb, 0, owner->mac, 6, 0))
                return drop(GW_COUNT_DROP_MALFORMED);
        count(GW_COUNT_ND_SECURED);
        return WALK_TO_OWNER;
}

static __noinline int ns_walk(struct __sk_buff *skb, struct walk *w, __u32 payload) {
        struct nd_options o = {};
        struct nd_frame *ns;
        bool group, known, secured;
        IP16 target[16];

        nd_options(skb, payload, &o);
        w->nonce = o.nonce;
        w->echo = o.echo;
        ns = headers(skb, sizeof *ns);
        if (!ns || !ns_is_valid(ns, &o))
                return drop(GW_COUNT_DROP_ND_INVALID);
        group = mac_is_group(ns->eth.h_dest);
        ip_copy(target, ns->target);
        known = neigh_find(w->vni, target, &w->owner);
        secured = o.send && !(w->owner.flags & GW_NEIGH_ROUTER);
        if (!group)
                return known && !secured && answers_unicast(w, &w->owner, ns->eth.h_dest, ns->eth.h_source)
                               ? WALK_ANSWER
                               : WALK_ON;
        if (!known)
                return allowed_v6(w->port, target) ? drop(GW_COUNT_DAD_SILENT) : neigh_ask(skb, w);
        if (mac_eq(w->owner.mac, ns->eth.h_source))
                return drop(GW_COUNT_DAD_SILENT);
        return secured ? nd_to_owner(skb, &w->owner) : WALK_ANSWER;
}

/* The caller has seen ICMPv6 with hop limit 255. */
static __always_inline int nd_walk(struct __sk_buff *skb, struct walk *w) {
        struct nd_frame *nd;
        bool group;
        int action;
        __u8 type;

        if (bpf_skb_load_bytes(skb, offsetof(struct nd_frame, type), &type, 1))
                return WALK_ON; /* shorter than ICMPv6 */
        if (type != ND_SOLICIT && type != ND_ADVERT)
                return WALK_ON;
        nd = headers(skb, sizeof *nd);
        if (!nd)
                return drop(GW_COUNT_DROP_ND_INVALID);
        group = mac_is_group(nd->eth.h_dest) || is_to_edge(nd->eth.h_dest);
        if (type == ND_SOLICIT) {
                action = ns_walk(skb, w, bpf_ntohs(nd->ip.payload_len));
                return action == WALK_ANSWER ? nd_answer(skb, w) : action;
        }
        return group ? neigh_announce(skb, w) : WALK_ON;
}

#endif
