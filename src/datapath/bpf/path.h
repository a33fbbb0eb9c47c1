/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Probes between edges and gateways: IPv6 and UDP, from the gateway's MAC to itself,
 * so that they take the way of a VM's packet and no frame of a VM is like them.
 *
 *      down from user space   to the locator that is their IPv6 destination (IPv4 as ::ffff:a.b.c.d)
 *      at a gateway           back to where they came from: addresses and ports change places, which no
 *                             checksum notices
 *      back at the edge       up, when they come from a gateway
 *
 * A gateway gives one answer for one probe, to its sender alone, who must be a member.
 */
#ifndef GW_BPF_PATH_H
#define GW_BPF_PATH_H

struct probe_ends {
        __u8 source[16], destination[16];
        __be16 source_port, destination_port;
} __attribute__((packed, aligned(4)));

struct probe_frame {
        struct ethhdr eth;
        __u8 ip[8]; /* up to the addresses */
        struct probe_ends ends;
} __attribute__((packed));

enum { PROBE_ENDS_AT = offsetof(struct probe_frame, ends), PROBE_NEXT_HEADER = 6 };

static __noinline int path_walk(struct __sk_buff *skb, const struct arrival *from) {
        struct gw_abi_mac_key key = {.vni = from->vni, .mac = GW_GATEWAY_MAC_OCTETS};
        struct probe_frame *probe = headers(skb, sizeof *probe);
        const struct gw_abi_forward *entry;
        struct probe_ends ends;
        IP16 sender[16];

        if (!probe || probe->eth.h_proto != bpf_htons(ETH_P_IPV6) || probe->ip[PROBE_NEXT_HEADER] != IPPROTO_UDP)
                return drop(GW_COUNT_DROP_GATEWAY_SENDER);
        if (probe->ends.source_port == bpf_htons(GW_ABI_PROBE_PORT))
                return from->member && from->member->flags & GW_MEMBER_GATEWAY ? punt_of_wire(skb, GW_PUNT_PATH, from)
                                                                               : drop(GW_COUNT_DROP_GATEWAY_SENDER);
        entry = bpf_map_lookup_elem(&gw_fdb, &key);
        if (!entry || entry->kind != GW_FORWARD_GATEWAY || probe->ends.destination_port != bpf_htons(GW_ABI_PROBE_PORT))
                return drop(GW_COUNT_DROP_GATEWAY_SENDER);
        __builtin_memcpy(ends.source, probe->ends.destination, sizeof ends.source);
        __builtin_memcpy(ends.destination, probe->ends.source, sizeof ends.destination);
        ends.source_port = probe->ends.destination_port;
        ends.destination_port = probe->ends.source_port;
        ip_copy(sender, from->sender);
        if (bpf_skb_store_bytes(skb, PROBE_ENDS_AT, &ends, sizeof ends, 0))
                return drop(GW_COUNT_DROP_MALFORMED);
        return tunnel_send(skb, key.vni, sender, 0, GW_COUNT_PATH_ANSWERED);
}

/* Made by user space. */
static __noinline int path_ask(struct __sk_buff *skb, __u32 vni) {
        IP16 to[16];

        if (bpf_skb_load_bytes(skb, PROBE_ENDS_AT + offsetof(struct probe_ends, destination), to, sizeof to))
                return drop(GW_COUNT_DROP_SHORT);
        return tunnel_send(skb, vni, to, 0, GW_COUNT_PATH_ASKED);
}

#endif
