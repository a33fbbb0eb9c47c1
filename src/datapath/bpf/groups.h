/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which ports a group frame is for (RFC 4541). Multicast beyond the link-local
 * groups goes to the ports that are in the group, as far as user space knows their
 * groups, and to multicast routers. What hosts say about their groups (IGMP, MLD)
 * goes to user space, which sends it on to multicast routers: other hosts would
 * take it for a reason to keep silent about their own.
 *
 * All else -- broadcast, link-local groups, what is not IP -- is for everybody.
 */
#ifndef GW_BPF_GROUPS_H
#define GW_BPF_GROUPS_H

enum group_kind { GROUP_EVERYBODY, GROUP_MEMBERS, GROUP_ROUTERS };

/* Behind hop-by-hop options of 8 octets, which MLD always has (RFC 3810 section 5). */
struct mld_start {
        __u8 next, length, options[6], type;
};

static __always_inline enum group_kind group_v4(struct __sk_buff *skb, __u8 *group) {
        struct {
                __u8 version_ihl, rest[8], protocol, rest2[2];
                __be32 source, destination;
        } ip;
        __u8 type;

        if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof ip) ||
            (ip.destination & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000))
                return GROUP_EVERYBODY;
        if (ip.protocol == IPPROTO_IGMP)
                return bpf_skb_load_bytes(skb, ETH_HLEN + (ip.version_ihl & 15) * 4, &type, 1) || type == IGMP_QUERY
                               ? GROUP_EVERYBODY
                               : GROUP_ROUTERS;
        ip_from_v4(group, ip.destination);
        return (ip.destination & bpf_htonl(0xffffff00)) == bpf_htonl(0xe0000000) ? GROUP_EVERYBODY : GROUP_MEMBERS;
}

static __always_inline enum group_kind group_v6(struct __sk_buff *skb, __u8 *group) {
        struct mld_start mld;
        __u8 next;

        if (bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, nexthdr), &next, 1) ||
            bpf_skb_load_bytes(skb, ETH_HLEN + offsetof(struct ipv6hdr, daddr), group, 16) || group[0] != 0xff)
                return GROUP_EVERYBODY;
        if (next == IPPROTO_HOPOPTS && !bpf_skb_load_bytes(skb, ETH_HLEN + sizeof(struct ipv6hdr), &mld, sizeof mld) &&
            mld.next == IPPROTO_ICMPV6 && !mld.length &&
            (mld.type == MLD_REPORT || mld.type == MLD_DONE || mld.type == MLD_REPORT_V2))
                return GROUP_ROUTERS;
        return (group[1] & 15) <= 2 ? GROUP_EVERYBODY : GROUP_MEMBERS;
}

/* Whom it is for; the group is only written when that is its members. */
static __noinline enum group_kind group_of(struct __sk_buff *skb, __u8 *group) {
        if (skb->protocol == bpf_htons(ETH_P_IP))
                return group_v4(skb, group);
        return skb->protocol == bpf_htons(ETH_P_IPV6) ? group_v6(skb, group) : GROUP_EVERYBODY;
}

/* Is it IGMP or MLD about the sender's groups? */
static __always_inline bool group_said(struct __sk_buff *skb) {
        IP16 group[16];

        return group_of(skb, group) == GROUP_ROUTERS;
}

static __always_inline bool group_wanted(const struct gw_abi_port *port, const struct gw_abi_ip_key *key, __u32 kind) {
        if (kind == GROUP_EVERYBODY || port->flags & GW_PORT_MULTICAST_ROUTER)
                return true;
        if (kind == GROUP_ROUTERS)
                return false;
        return !(port->flags & GW_PORT_SNOOPED) || bpf_map_lookup_elem(&gw_groups, key);
}

#endif
