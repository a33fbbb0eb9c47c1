/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* The maps, pinned by name, and the counters. */
#ifndef GW_BPF_MAPS_H
#define GW_BPF_MAPS_H

#define GW_MAP(name_, type_, key_, value_, max_, flags_)                                                               \
        struct {                                                                                                       \
                __uint(type, type_);                                                                                   \
                __type(key, key_);                                                                                     \
                __type(value, value_);                                                                                 \
                __uint(max_entries, max_);                                                                             \
                __uint(map_flags, flags_);                                                                             \
                __uint(pinning, LIBBPF_PIN_BY_NAME);                                                                   \
        } name_ SEC(".maps")

/* Large tables allocate on insert; what packets insert (LRU) and small tables are allocated beforehand. */
GW_MAP(gw_config, BPF_MAP_TYPE_ARRAY, __u32, struct gw_abi_config, 1, 0);
GW_MAP(gw_counters, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, __u64, GW_COUNT_MAX, 0);
GW_MAP(gw_ports, BPF_MAP_TYPE_HASH, __u32, struct gw_abi_port, GW_PORTS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_fdb, BPF_MAP_TYPE_HASH, struct gw_abi_mac_key, struct gw_abi_forward, GW_FDB_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_neigh, BPF_MAP_TYPE_HASH, struct gw_abi_ip_key, struct gw_abi_neigh, GW_NEIGH_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_members, BPF_MAP_TYPE_HASH, struct gw_abi_ip_key, struct gw_abi_member, GW_MEMBERS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_groups, BPF_MAP_TYPE_HASH, struct gw_abi_ip_key, __u32, GW_GROUPS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_former, BPF_MAP_TYPE_LRU_HASH, struct gw_abi_mac_key, struct gw_abi_former, GW_FORMER_MAX, 0);
GW_MAP(gw_copies, BPF_MAP_TYPE_LRU_HASH, struct gw_abi_copy_key, struct gw_abi_copies, GW_COPIES_MAX, 0);
GW_MAP(gw_flood, BPF_MAP_TYPE_HASH, __u32, struct gw_abi_flood, GW_VNS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_flights, BPF_MAP_TYPE_HASH, struct gw_abi_mac_key, struct gw_abi_seen, GW_FLIGHTS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_next_hop, BPF_MAP_TYPE_HASH, struct gw_abi_locator, struct gw_abi_next_hop, GW_NEXT_HOP_MAX,
       BPF_F_NO_PREALLOC);
GW_MAP(gw_routes, BPF_MAP_TYPE_LPM_TRIE, struct gw_abi_route_key, struct gw_abi_route, GW_ROUTES_MAX,
       BPF_F_NO_PREALLOC);
GW_MAP(gw_routed, BPF_MAP_TYPE_HASH, __u32, struct gw_abi_routed_vn, GW_VNS_MAX, BPF_F_NO_PREALLOC);
GW_MAP(gw_talkers, BPF_MAP_TYPE_LRU_HASH, struct gw_abi_peer_key, struct gw_abi_seen, GW_TALKERS_MAX, 0);
GW_MAP(gw_stale, BPF_MAP_TYPE_LRU_HASH, struct gw_abi_peer_key, struct gw_abi_seen, GW_STALE_MAX, 0);

/* For tests by BPF_PROG_TEST_RUN, which can neither give a tunnel key nor show where a frame was redirected to: with
 * gw_test set before loading, sender and VNI of from_wire come in skb->cb (and the mark in ->priority), and the last
 * decision is left in gw_trace. In production the verifier removes all of it. */
volatile const __u32 gw_test = 0;
struct gw_abi_trace gw_trace = {};

static __always_inline const struct gw_abi_config *config(void) {
        __u32 zero = 0;
        return bpf_map_lookup_elem(&gw_config, &zero);
}

static __always_inline void count(enum gw_counter counter) {
        __u32 key = counter;
        __u64 *n = bpf_map_lookup_elem(&gw_counters, &key);
        if (n)
                (*n)++;
        if (gw_test)
                gw_trace.counter = counter;
}

/* Consumed rather than "shot": what was injected and then dropped here by a rule was still taken, not lack of buffers. */
static __always_inline int drop(enum gw_counter reason) {
        count(reason);
        return TC_ACT_STOLEN;
}

#endif
