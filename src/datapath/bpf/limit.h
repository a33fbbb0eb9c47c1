/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Token buckets of a port: what its VM can make this host, the authority and its
 * neighbours do is bounded, whatever it sends. A bucket is kept as the time up to
 * which it is spent (GCRA): one write a frame. Known unicast frames never come here.
 */
#ifndef GW_BPF_LIMIT_H
#define GW_BPF_LIMIT_H

enum { NS_PER_S = 1000000000 };

/* False: it has had enough for now. */
static __always_inline bool limit_take(struct gw_abi_port *port, enum gw_limit which) {
        struct gw_abi_limit *limit = &port->limits[which];
        __u64 now = bpf_ktime_get_coarse_ns(), every, depth, spent;
        __u32 per_s = limit->per_s;

        if (!per_s)
                return true;
        every = NS_PER_S / per_s;
        depth = every * limit->burst;
        spent = limit->spent_ns;
        if (spent + depth < now)
                spent = now - depth;
        if (spent + every > now)
                return false;
        limit->spent_ns = spent + every;
        return true;
}

#endif
