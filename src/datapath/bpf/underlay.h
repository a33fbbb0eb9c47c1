/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Decapsulation where the frame comes in, on the underlay's device: what is plain
 * VXLAN for us loses its outer headers here, and so spares the host's IP and UDP
 * receive path (its netfilter input hooks, too) and the tunnel metadata of the
 * external VXLAN device. Only as long as the lease of tunnel.h runs: a host that
 * wants its peers behind IPsec wants plain frames refused, which is the kernel's to do.
 *
 * Everything else goes on as if this were not there, to that device: other
 * traffic, outer options, extension headers and fragments, UDP checksums, a sender
 * that is no member, inner frames other than IP, GSO frames. And inner TCP, which
 * the device merges (GRO) and which so stays on one way: which way a frame takes
 * depends on its headers alone, not on forwarding entries, so that no flow changes
 * over in a move. Frames of a UDP flow that the sender's kernel left whole (GSO) may
 * be overtaken by single ones.
 *
 * VXLAN for us that no VXLAN device takes is dropped here and counted, whoever sends it: it ends before a frame
 * begins, or has flags or reserved bits that we do not know (RFC 7348 section 5; ours are those that the kernel's device
 * knows with group policy). What IP and UDP refuse -- checksums, lengths -- stays theirs to refuse and to count.
 *
 * ECN as RFC 6040 has it: CE goes inside; CE outside and Not-ECT inside is for the
 * device, which drops and counts it.
 */
#ifndef GW_BPF_UNDERLAY_H
#define GW_BPF_UNDERLAY_H

#define ROOM_DECAP_L3_IPV4 (1ull << 7) /* Linux 6.3; older ones refuse it, and the device takes the frame */
#define ROOM_DECAP_L3_IPV6 (1ull << 8)
#define VXLAN_GBP_BITS 0x80ffffffu /* what the kernel ignores or uses with group policy */

enum {
        PACKET_FOR_HOST = 0,
        ECN_MASK = 3,
        ECN_CE = 3,
        IPV4_FRAGMENT = 0x3fff,
        VXLAN_LEAST = 8 + 8 + ETH_HLEN, /* UDP, VXLAN and the head of a frame */
};

struct vxlan_frame { /* behind the outer IP header */
        __be16 source, destination, length, checksum;
        __be32 flags, vni;
        __u16 ethernet[ETH_HLEN / 2];
        __u8 ip[sizeof(struct iphdr)];
} __attribute__((packed, aligned(4)));

struct opened {
        struct arrival from;
        __u16 ethernet[ETH_HLEN / 2 + 1];
        __be16 proto;
        __u8 tos;    /* outer */
        bool ect;    /* inner: not Not-ECT */
        __u32 fault; /* the counter that says why nobody can take it; 0: somebody may */
};

static __always_inline bool open_vxlan(const struct vxlan_frame *v, const struct gw_abi_config *c, __u32 octets,
                                       struct opened *o) {
        __u32 flags = bpf_ntohl(v->flags), vni = bpf_ntohl(v->vni);

        if (v->destination != bpf_htons(c->vxlan_port) || v->length != bpf_htons(octets))
                return false;
        if ((flags & VXLAN_GBP_VALID ? (flags & ~VXLAN_GBP_BITS) != VXLAN_VNI_VALID : flags != VXLAN_VNI_VALID) ||
            vni & 0xff) {
                o->fault = GW_COUNT_DROP_VXLAN_HEADER;
                return false;
        }
        if (v->checksum)
                return false;
        o->from.vni = vni >> 8;
        o->from.gbp = flags & VXLAN_GBP_VALID && flags & GW_GBP_REDIRECTED ? flags & 0xffff : 0;
        o->proto = v->ethernet[6];
        __builtin_memcpy(o->ethernet, v->ethernet, ETH_HLEN);
        if (o->proto == bpf_htons(ETH_P_IP)) {
                o->ect = v->ip[1] & ECN_MASK;
                return v->ip[9] != IPPROTO_TCP;
        }
        o->ect = v->ip[1] & ECN_MASK << 4;
        return o->proto == bpf_htons(ETH_P_IPV6) && v->ip[6] != IPPROTO_TCP;
}

/* UDP at `at`, in a packet too short to be opened: which counter, if it is VXLAN for us and has no frame. */
static __noinline __u32 without_frame(struct __sk_buff *skb, __u32 at, __u32 port) {
        __be16 udp[4];

        if (bpf_skb_load_bytes(skb, at, udp, sizeof udp) || udp[1] != bpf_htons(port))
                return 0;
        return bpf_ntohs(udp[2]) < VXLAN_LEAST ? GW_COUNT_DROP_VXLAN_SHORT : 0;
}

static __always_inline bool open_v4(struct __sk_buff *skb, const struct gw_abi_config *c, struct opened *o) {
        struct iphdr *ip = headers(skb, ETH_HLEN + sizeof *ip);

        if (!ip)
                return false;
        ip = (void *)ip + ETH_HLEN;
        if (ip->protocol != IPPROTO_UDP) /* before more of it is made linear */
                return false;
        if (*(__u8 *)ip != 0x45 || ip->daddr != word(c->locator, 3) || !ip_is_v4(c->locator) ||
            ip->frag_off & bpf_htons(IPV4_FRAGMENT) || ipv4_checksum(ip))
                return false;
        if (bpf_ntohs(ip->tot_len) < sizeof *ip + sizeof(struct vxlan_frame)) {
                o->fault = without_frame(skb, ETH_HLEN + sizeof *ip, c->vxlan_port);
                return false;
        }
        ip = headers(skb, ETH_HLEN + sizeof *ip + sizeof(struct vxlan_frame));
        if (!ip)
                return false;
        ip = (void *)ip + ETH_HLEN;
        if (ip->tot_len != bpf_htons(skb->len - ETH_HLEN))
                return false;
        ip_from_v4(o->from.sender, ip->saddr);
        o->tos = ip->tos;
        return open_vxlan((void *)(ip + 1), c, skb->len - ETH_HLEN - sizeof *ip, o);
}

static __always_inline bool open_v6(struct __sk_buff *skb, const struct gw_abi_config *c, struct opened *o) {
        struct ipv6hdr *ip = headers(skb, ETH_HLEN + sizeof *ip);
        __u32 octets = skb->len - ETH_HLEN - sizeof *ip;

        if (!ip)
                return false;
        ip = (void *)ip + ETH_HLEN;
        if (ip->nexthdr != IPPROTO_UDP || ip->version != 6 || !ip_eq(&ip->daddr, c->locator))
                return false;
        if (bpf_ntohs(ip->payload_len) < sizeof(struct vxlan_frame)) {
                o->fault = without_frame(skb, ETH_HLEN + sizeof *ip, c->vxlan_port);
                return false;
        }
        ip = headers(skb, ETH_HLEN + sizeof *ip + sizeof(struct vxlan_frame));
        if (!ip)
                return false;
        ip = (void *)ip + ETH_HLEN;
        if (ip->payload_len != bpf_htons(octets))
                return false;
        ip_copy(o->from.sender, &ip->saddr);
        o->tos = bpf_ntohl(word(ip, 0)) >> 20;
        return open_vxlan((void *)(ip + 1), c, octets, o);
}

/* Takes the outer headers away. False: the frame is as it was. */
static __always_inline bool strip(struct __sk_buff *skb, struct opened *o) {
        bool v4 = skb->protocol == bpf_htons(ETH_P_IP);
        __u64 flags = 0;

        if (skb->protocol != o->proto)
                flags = v4 ? ROOM_DECAP_L3_IPV6 : ROOM_DECAP_L3_IPV4;
        return !bpf_skb_adjust_room(skb, v4 ? -OUTER_V4_OCTETS : -OUTER_V6_OCTETS, BPF_ADJ_ROOM_MAC, flags);
}

#endif
