/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Sending to a locator, and what the wire says about a frame that came.
 *
 * The external VXLAN device does the encapsulation: it gets locator and VNI as
 * tunnel metadata, copies ECN (RFC 6040), hashes the UDP source port (RFC 7348)
 * and carries GSO frames whole.
 */
#ifndef GW_BPF_TUNNEL_H
#define GW_BPF_TUNNEL_H

struct vxlan_option { /* struct vxlan_metadata of the kernel */
        __u32 gbp;
};

enum { TUNNEL_TTL = 64 };

static __always_inline __u32 gbp_of(const __u8 *mac) {
        return GW_GBP_REDIRECTED | (((mac[4] << 8) | mac[5]) & GW_GBP_MAC_MASK);
}

/* gbp: 0, or the mark. 0 or a negative errno. */
static __always_inline int tunnel_set(struct __sk_buff *skb, const struct gw_abi_config *c, __u32 vni,
                                      const __u8 *locator, __u32 gbp) {
        struct bpf_tunnel_key key = {.tunnel_id = vni, .tunnel_ttl = TUNNEL_TTL};
        struct vxlan_option option = {.gbp = gbp};
        __u64 flags = BPF_F_ZERO_CSUM_TX;
        int r;

        if (gw_test) {
                gw_trace.vni = vni;
                gw_trace.gbp = gbp;
                ip_copy(gw_trace.locator, locator);
        }
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

static __noinline int tunnel_send(struct __sk_buff *skb, __u32 vni, const __u8 *locator, __u32 gbp,
                                  enum gw_counter counter) {
        const struct gw_abi_config *c = config();

        if (!c)
                return drop(GW_COUNT_DROP_ENCAP_FAILED);
        if (tunnel_set(skb, c, vni, locator, gbp))
                return drop(GW_COUNT_DROP_ENCAP_FAILED);
        skb->mark = 0;
        count(counter);
        return bpf_redirect(c->vxlan_ifindex, 0);
}

struct arrival {
        __u32 vni;
        __u32 gbp; /* 0: not redirected */
        __u8 sender[16];
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
