/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sending to a locator, and what the wire says about a frame that came.
 *
 * Two ways out. IP frames to one VM, when user space has told the next hop, get
 * their VXLAN header here and go right to the underlay's neighbour: outer headers
 * in one write, no route look-up, no walk through the host's IP stack (and so not
 * through its netfilter output hooks). All others -- ARP, group frames, no next
 * hop, what the kernel refuses to encapsulate -- take the external VXLAN device,
 * which gets locator and VNI as tunnel metadata. What arrives comes by it, too, unless
 * underlay.h opened it before.
 *
 * Both ways alike: GSO frames stay whole; DF; TTL 64; no UDP checksum (RFC 6935,
 * RFC 7348); the inner DSCP and ECN go outside (RFC 2983 uniform model, RFC 6040
 * normal mode; the device writes an inner CE as ECT(0), as RFC 3168 has it); the
 * UDP source port is a hash of the flow, and so is the IPv6 flow label (RFC 6438)
 * on the direct way.
 */
#ifndef GW_BPF_TUNNEL_H
#define GW_BPF_TUNNEL_H

#define VXLAN_VNI_VALID 0x08000000u
#define VXLAN_GBP_VALID 0x80000000u /* draft-smith-vxlan-group-policy */
#define IPV4_DF 0x4000
#define IPV6_VERSION 0x60000000u

enum {
        TUNNEL_TTL = 64,
        SOURCE_PORT_MIN = 0xc000, /* the dynamic range, RFC 6335 */
        IP_OCTETS_MAX = 65535,
};

struct vxlan_option { /* struct vxlan_metadata of the kernel */
        __u32 gbp;
};

static __always_inline __u32 gbp_of(const __u8 *mac) {
        return GW_GBP_REDIRECTED | (((mac[4] << 8) | mac[5]) & GW_GBP_MAC_MASK);
}

static __always_inline void trace_tunnel(__u32 vni, const __u8 *locator, __u32 gbp) {
        if (!gw_test)
                return;
        gw_trace.vni = vni;
        gw_trace.gbp = gbp;
        ip_copy(gw_trace.locator, locator);
}

static __always_inline bool is_ip(const struct __sk_buff *skb) {
        return skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6);
}

/* The first octets of an IP frame: its Ethernet header goes behind the outer ones, and what follows tells DSCP and ECN. */
struct inner {
        __u8 ethernet[ETH_HLEN];
        __u8 ip[2];
};

static __always_inline __u8 inner_tos(const struct __sk_buff *skb, const struct inner *in) {
        return skb->protocol == bpf_htons(ETH_P_IP) ? in->ip[1] : in->ip[0] << 4 | in->ip[1] >> 4;
}

/* gbp: 0, or the mark. 0 or a negative errno. */
static __always_inline int tunnel_set(struct __sk_buff *skb, const struct gw_abi_config *c, __u32 vni,
                                      const __u8 *locator, __u32 gbp) {
        struct bpf_tunnel_key key = {.tunnel_id = vni, .tunnel_ttl = TUNNEL_TTL};
        struct vxlan_option option = {.gbp = gbp};
        __u64 flags = BPF_F_ZERO_CSUM_TX;
        struct inner in;
        int r;

        trace_tunnel(vni, locator, gbp);
        if (is_ip(skb) && !bpf_skb_load_bytes(skb, 0, &in, sizeof in))
                key.tunnel_tos = inner_tos(skb, &in);
        if (ip_is_v4(locator)) {
                key.remote_ipv4 = bpf_ntohl(word(locator, 3));
                key.local_ipv4 = bpf_ntohl(word(c->locator, 3));
                flags |= BPF_F_DONT_FRAGMENT;
        } else {
                ip_copy(key.remote_ipv6, locator);
                ip_copy(key.local_ipv6, c->locator);
                flags |= BPF_F_TUNINFO_IPV6;
        }
        r = bpf_skb_set_tunnel_key(skb, &key, sizeof key, flags);
        if (!r) /* also when 0: without the option the VXLAN device sends an undefined group id */
                r = bpf_skb_set_tunnel_opt(skb, &option, sizeof option);
        return r;
}

/* The IPv4 header ends where the IPv6 one does, so that what follows has one place. */
struct outer {
        union {
                struct {
                        __u8 unused[20];
                        struct iphdr v4;
                };
                struct ipv6hdr v6;
        };
        __be16 source, destination, length, checksum;
        __be32 flags, vni;
        __u8 ethernet[ETH_HLEN];
        __u8 pad[2];
} __attribute__((packed, aligned(8)));

enum { OUTER_V6_OCTETS = sizeof(struct outer) - 2, OUTER_V4_OCTETS = OUTER_V6_OCTETS - 20 };
_Static_assert(OUTER_V4_OCTETS == 50 && OUTER_V6_OCTETS == 70, "IP, UDP, VXLAN, Ethernet");
_Static_assert(sizeof(struct gw_abi_next_hop) - offsetof(struct gw_abi_next_hop, family) ==
                       sizeof(struct bpf_redir_neigh),
               "what bpf_redirect_neigh takes");

static __always_inline __sum16 ipv4_checksum(const struct iphdr *ip) {
        __u64 sum = (__u64)word(ip, 0) + word(ip, 1) + word(ip, 2) + word(ip, 3) + word(ip, 4);

        sum = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
        sum = (sum & 0xffff) + (sum >> 16);
        return ~(sum + (sum >> 16));
}

static __always_inline void outer_v4(struct outer *o, const struct gw_abi_config *c, const __u8 *locator, __u8 tos,
                                     __u32 octets) {
        o->v4.version = 4;
        o->v4.ihl = sizeof o->v4 / 4;
        o->v4.tos = tos;
        o->v4.tot_len = bpf_htons(octets);
        o->v4.frag_off = bpf_htons(IPV4_DF);
        o->v4.ttl = TUNNEL_TTL;
        o->v4.protocol = IPPROTO_UDP;
        o->v4.saddr = word(c->locator, 3);
        o->v4.daddr = word(locator, 3);
        o->v4.check = ipv4_checksum(&o->v4);
        o->length = bpf_htons(octets - sizeof o->v4);
}

static __always_inline void outer_v6(struct outer *o, const struct gw_abi_config *c, const __u8 *locator, __u8 tos,
                                     __u32 octets, __u32 hash) {
        *(__be32 *)&o->v6 = bpf_htonl(IPV6_VERSION | (__u32)tos << 20 | (hash & 0xfffff));
        o->v6.payload_len = o->length = bpf_htons(octets - sizeof o->v6);
        o->v6.nexthdr = IPPROTO_UDP;
        o->v6.hop_limit = TUNNEL_TTL;
        ip_copy(&o->v6.saddr, c->locator);
        ip_copy(&o->v6.daddr, locator);
}

/* Puts the outer headers before the frame. 0: done, 1: refused, the frame is as it was, or a negative errno. */
static __always_inline int encapsulate(struct __sk_buff *skb, const struct gw_abi_config *c, __u32 vni,
                                       const __u8 *locator, __u32 gbp) {
        bool v4 = ip_is_v4(locator);
        __u32 room = v4 ? OUTER_V4_OCTETS : OUTER_V6_OCTETS, octets = skb->len + room - ETH_HLEN, hash;
        __u64 flags = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_ENCAP_L4_UDP | BPF_F_ADJ_ROOM_ENCAP_L2(ETH_HLEN) |
                      BPF_F_ADJ_ROOM_ENCAP_L2_ETH | (v4 ? BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 : BPF_F_ADJ_ROOM_ENCAP_L3_IPV6);
        struct outer o = {};
        struct inner in;
        __u8 tos;

        /* The kernel takes the inner destination for the outer one, and bpf_redirect_neigh drops what goes to a group. */
        if (octets > IP_OCTETS_MAX || bpf_skb_load_bytes(skb, 0, &in, sizeof in) || in.ethernet[0] & 1)
                return 1;
        hash = bpf_get_hash_recalc(skb);
        tos = inner_tos(skb, &in);
        if (bpf_skb_adjust_room(skb, room, BPF_ADJ_ROOM_MAC, flags))
                return 1;
        o.source = bpf_htons(SOURCE_PORT_MIN | (hash & (0xffff - SOURCE_PORT_MIN)));
        o.destination = bpf_htons(c->vxlan_port);
        o.flags = bpf_htonl(gbp ? VXLAN_VNI_VALID | VXLAN_GBP_VALID | gbp : VXLAN_VNI_VALID);
        o.vni = bpf_htonl(vni << 8);
        __builtin_memcpy(o.ethernet, in.ethernet, sizeof o.ethernet);
        if (v4) {
                outer_v4(&o, c, locator, tos, octets);
                return bpf_skb_store_bytes(skb, ETH_HLEN, &o.v4, OUTER_V4_OCTETS, BPF_F_RECOMPUTE_CSUM);
        }
        outer_v6(&o, c, locator, tos, octets, hash);
        return bpf_skb_store_bytes(skb, ETH_HLEN, &o.v6, OUTER_V6_OCTETS, BPF_F_RECOMPUTE_CSUM);
}

/* The next hop of a locator, when there is one that is to be believed. */
static __always_inline const struct gw_abi_next_hop *next_hop(const struct gw_abi_config *c, const __u8 *locator) {
        const struct gw_abi_next_hop *hop;

        if (bpf_ktime_get_coarse_ns() >= c->direct_until_ns)
                return NULL;
        hop = bpf_map_lookup_elem(&gw_next_hop, locator);
        return hop && hop->ifindex ? hop : NULL;
}

static __noinline int tunnel_send(struct __sk_buff *skb, __u32 vni, const __u8 *locator, __u32 gbp,
                                  enum gw_counter counter) {
        const struct gw_abi_config *c = config();
        const struct gw_abi_next_hop *hop;
        int r = 1;

        if (!c)
                return drop(GW_COUNT_DROP_ENCAP_FAILED);
        hop = is_ip(skb) ? next_hop(c, locator) : NULL;
        if (hop)
                r = encapsulate(skb, c, vni, locator, gbp);
        if (hop && !r) {
                trace_tunnel(vni, locator, gbp);
                skb->mark = 0;
                count(counter);
                return bpf_redirect_neigh(hop->ifindex, (struct bpf_redir_neigh *)&hop->family,
                                          sizeof(struct bpf_redir_neigh), 0);
        }
        if (r < 0 || tunnel_set(skb, c, vni, locator, gbp))
                return drop(GW_COUNT_DROP_ENCAP_FAILED);
        skb->mark = 0;
        count(counter);
        return bpf_redirect(c->vxlan_ifindex, 0);
}

struct arrival {
        __u32 vni;
        __u32 gbp; /* 0: not redirected */
        __u8 sender[16];
        struct gw_abi_member *member; /* NULL: injected */
};

static __always_inline bool tunnel_get(struct __sk_buff *skb, const struct gw_abi_config *c, struct arrival *out) {
        struct bpf_tunnel_key key = {};
        struct vxlan_option option = {};
        bool v4 = ip_is_v4(c->locator);

        if (gw_test) {
                __u32 sender[4] = {skb->cb[1], skb->cb[2], skb->cb[3], skb->cb[4]};
                out->vni = skb->cb[0];
                ip_copy(out->sender, sender);
                out->gbp = skb->priority;
                return true;
        }
        /* The family must be asked for; the key of the other one is refused (-EPROTO). */
        if (bpf_skb_get_tunnel_key(skb, &key, sizeof key, v4 ? 0 : BPF_F_TUNINFO_IPV6))
                return false;
        out->vni = key.tunnel_id;
        if (v4)
                ip_from_v4(out->sender, bpf_htonl(key.remote_ipv4));
        else
                ip_copy(out->sender, key.remote_ipv6);
        bpf_skb_get_tunnel_opt(skb, &option, sizeof option); /* absent: not marked */
        out->gbp = option.gbp & 0xffff;
        if (!(out->gbp & GW_GBP_REDIRECTED))
                out->gbp = 0;
        return true;
}

#endif
