/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Does a frame from the wire come from where its sender lives? The outer source
 * is a member of the VN by now; what is asked here is whether it is the right one.
 *
 *      there                              passes
 *      where it lived until just now      passes for a moment (GW_FORMER_NS): under way when it moved
 *      anywhere else                      up: user space holds it and asks the authority, for what we know
 *                                         may be late, and the frame the first from its new place; also when
 *                                         that is one where it has been before
 *      nobody knows                       passes: knowing all senders is not an edge's business
 *
 * A frame that is marked as in flight comes from the place that its destination has
 * left, and its sender may live anywhere. The mark counts from the locator that the
 * destination came from, as far as is known here, and from the one that it was cut over
 * to and taken back from: that sends back what followed it. From others it is as if absent.
 *
 * When no daemon looks after the programs, nobody could ask; then it passes, and
 * is counted.
 */
#ifndef GW_BPF_SOURCE_H
#define GW_BPF_SOURCE_H

enum { SOURCE_PASSES = 0, SOURCE_UP = GW_COUNT_MAX };

/* The locator that key's VM had before the one in its entry; NULL when it never moved as far as is known here. */
static __always_inline const struct gw_abi_former *former_of(const struct gw_abi_mac_key *key) {
        return bpf_map_lookup_elem(&gw_former, key);
}

/* SOURCE_PASSES, SOURCE_UP, or the reason to drop it. The entry of its sender says something else than `sender`. */
static __noinline __u32 source_elsewhere(const struct gw_abi_mac_key *key, __u32 kind, const __u8 *sender) {
        const struct gw_abi_former *former = former_of(key);
        const struct gw_abi_config *c = config();
        __u64 now = bpf_ktime_get_coarse_ns();

        if (former && ip_eq(former->locator, sender) && now < former->left_ns + GW_FORMER_NS)
                return SOURCE_PASSES;
        if (kind == GW_FORWARD_LOCAL)
                return GW_COUNT_DROP_SOURCE_LOCAL;
        if (c && now < c->asking_until_ns)
                return SOURCE_UP;
        count(GW_COUNT_SOURCE_ELSEWHERE);
        return SOURCE_PASSES;
}

/* The VM was cut over to `sender`, where it did not arrive: unicast comes back by one way alone, however late. */
static __always_inline bool comes_back(__u32 ifindex, const __u8 *sender) {
        const struct gw_abi_port *port = bpf_map_lookup_elem(&gw_ports, &ifindex);

        return port && port->flags & (GW_PORT_MOVED | GW_PORT_BACK) && ip_eq(port->moved_to, sender);
}

/* Has `sender` held the VM with that MAC, so that it may send on what still comes for it? */
static __noinline bool mark_counts(const struct gw_abi_mac_key *key, const __u8 *sender) {
        const struct gw_abi_forward *entry;
        const struct gw_abi_former *former;

        if (mac_is_group(key->mac))
                return true; /* goes to the VM that arrives alone */
        entry = bpf_map_lookup_elem(&gw_fdb, key);
        if (entry && entry->kind != GW_FORWARD_LOCAL &&
            (entry->kind != GW_FORWARD_ARRIVING || ip_eq(entry->locator, sender)))
                return true; /* from where it arrives, or for one that is not here: that ends as a loop */
        if (entry && entry->kind == GW_FORWARD_LOCAL && comes_back(entry->ifindex, sender))
                return true;
        former = former_of(key);
        return former && ip_eq(former->locator, sender);
}

static __always_inline __u32 source_check(const struct gw_abi_mac_key *source, const struct gw_abi_mac_key *destination,
                                          const struct arrival *from) {
        const struct gw_abi_forward *entry = bpf_map_lookup_elem(&gw_fdb, source);

        if (!entry)
                return SOURCE_PASSES;
        if (entry->kind != GW_FORWARD_LOCAL && ip_eq(entry->locator, from->sender))
                return entry->flags & GW_FORWARD_PUNT_FROM ? SOURCE_UP : SOURCE_PASSES;
        if (from->gbp && mark_counts(destination, from->sender))
                return SOURCE_PASSES;
        return source_elsewhere(source, entry->kind, from->sender);
}

#endif
