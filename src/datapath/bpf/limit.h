/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Token buckets of a port, and of a member of a VN: what they can make this host, the
 * authority and their neighbours do is bounded, whatever they send. A bucket is kept as the time up to
 * which it is spent (GCRA): one write a frame. Known unicast frames never come here.
 */
#ifndef GW_BPF_LIMIT_H
#define GW_BPF_LIMIT_H

enum { NS_PER_S = 1000000000 };

static __always_inline bool bucket_take(__u64 *spent_ns, __u64 every_ns, __u64 burst) {
        __u64 now = bpf_ktime_get_coarse_ns(), depth = every_ns * burst, spent = *spent_ns;

        if (spent + depth < now)
                spent = now - depth;
        if (spent + every_ns > now)
                return false;
        *spent_ns = spent + every_ns;
        return true;
}

/* False: the port has had enough for now. */
static __always_inline bool limit_take(struct gw_abi_port *port, enum gw_limit which) {
        struct gw_abi_limit *limit = &port->limits[which];
        __u32 per_s = limit->per_s;

        return !per_s || bucket_take(&limit->spent_ns, NS_PER_S / per_s, limit->burst);
}

/* NULL: not from the wire. */
static __always_inline bool limit_take_wire(struct gw_abi_member *member) {
        return !member || bucket_take(&member->spent_ns, NS_PER_S / GW_WIRE_UP_PER_S, GW_WIRE_UP_PER_S);
}

#endif
