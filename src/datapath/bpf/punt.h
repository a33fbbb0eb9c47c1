/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The way up: the whole frame, GSO or not, goes to the punt device behind a
 * header of ours. The device is a tap with offload headers, so that 64 KiB
 * frames and unfinished checksums survive the way up and down again.
 */
#ifndef GW_BPF_PUNT_H
#define GW_BPF_PUNT_H

/* Puts our header before the frame. */
static __always_inline bool punt_head(struct __sk_buff *skb, enum gw_punt_reason reason, __u32 ifindex, __u32 vni,
                                      const struct arrival *from) {
        struct gw_abi_punt_header h = {
                .ethertype = {GW_PUNT_ETHERTYPE >> 8, GW_PUNT_ETHERTYPE & 0xff},
                .reason = reason,
                .ifindex = ifindex,
                .vni = vni,
        };

        if (from) {
                ip_copy(h.sender, from->sender);
                h.flags = from->gbp ? GW_PUNT_REDIRECTED : 0;
        }
        if (gw_test)
                gw_trace.punt = reason;
        return !bpf_skb_change_head(skb, sizeof h, 0) && !bpf_skb_store_bytes(skb, 0, &h, sizeof h, 0);
}

static __noinline int punt(struct __sk_buff *skb, enum gw_punt_reason reason, __u32 ifindex, __u32 vni,
                           const struct arrival *from) {
        const struct gw_abi_config *c = config();

        if (!c || !punt_head(skb, reason, ifindex, vni, from))
                return drop(GW_COUNT_DROP_PUNT_FAILED);
        skb->mark = GW_MARK_UP;
        count(GW_COUNT_PUNTED);
        return bpf_redirect(c->punt_ifindex, 0);
}

/* A frame of a local port on its way through these programs; what handles a part of it may answer WALK_ON. */
enum { WALK_ON = -2, WALK_TO_OWNER = -3, WALK_ANSWER = -4 }; /* neigh.h */

struct walk {
        struct gw_abi_port *port;
        __u32 ifindex, vni; /* of the port that sent it */
        bool injected;      /* never up again */
        bool nonce;
        struct gw_abi_neigh owner;   /* of the target of a NS */
        struct nd_option_nonce echo; /* with .nonce */
};

/* What a port makes user space do is limited; what user space has sent down stays down. */
static __always_inline int punt_of_port(struct __sk_buff *skb, enum gw_punt_reason reason, const struct walk *w) {
        if (w->injected)
                return drop(GW_COUNT_DROP_INJECT);
        /* PUNT: user space puts frames of a known way in order, for a moment that it chooses; a limit would lose some. */
        if (reason != GW_PUNT_PUNT && !limit_take(w->port, GW_LIMIT_MISSES))
                return drop(GW_COUNT_DROP_LIMIT_MISSES);
        return punt(skb, reason, w->ifindex, w->vni, NULL);
}

static __always_inline int punt_of_wire(struct __sk_buff *skb, enum gw_punt_reason reason, const struct arrival *from) {
        if (!limit_take_wire(from->member))
                return drop(GW_COUNT_DROP_LIMIT_WIRE);
        return punt(skb, reason, 0, from->vni, from);
}

#endif
