/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * A group frame for a VM that has just moved comes twice: from its sender, as to
 * every member, and marked, from the place that the VM has left. Which of the two
 * comes first, and whether the port was already open when the first came, is a
 * matter of microseconds: so for GW_JOINING_NS after its activation a port takes
 * either, and of each frame as many as the fuller of the two ways brought.
 *
 *      name      what tells one frame from another: its octets, but for what differs between ways (ECN,
 *                the IPv4 header's checksum, a UDP checksum that one of them has finished)
 *      numbers   of a name at a port: how many came from the sender since the activation, how many marked
 *      rule      a copy is let in when it makes the larger of the two numbers larger
 *
 * Frames without anything in them that differs (a repeated heartbeat) have one name.
 * A marked one only holds back one from the sender that follows within AHEAD_NS: the
 * way by the old place is the longer one, so that a later one is the next frame, not
 * the same. Of frames of one name that follow each other faster, as many as came in
 * the pause may be missing when the old place stops sending on.
 */
#ifndef GW_BPF_COPIES_H
#define GW_BPF_COPIES_H

enum {
        AHEAD_NS = 50000000,
        NAME_OCTETS = 256,
        IPV4_TOS_AT = ETH_HLEN + 1,
        IPV4_PROTOCOL_AT = ETH_HLEN + 9,
        IPV4_CHECK_AT = ETH_HLEN + 10,
        IPV6_NEXT_AT = ETH_HLEN + 6,
        UDP_CHECK_AT = 6,
};
#define NAME_PRIME 0x9e3779b97f4a7c15ull
#define COPY_DIRECT (1ull << 32) /* in gw_abi_copies.numbers; marked ones in the lower half */

struct frame_head {
        union {
                __u8 octets[NAME_OCTETS];
                __u64 words[NAME_OCTETS / 8];
        };
};

/* Too large for the stack. Not kept, so not pinned. */
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __type(key, __u32);
        __type(value, struct frame_head);
        __uint(max_entries, 1);
} gw_name_scratch SEC(".maps");

static __always_inline void name_blank(struct frame_head *h, __be16 proto) {
        __u32 udp = 0;

        if (proto == bpf_htons(ETH_P_IP)) {
                h->octets[IPV4_TOS_AT] = h->octets[IPV4_CHECK_AT] = h->octets[IPV4_CHECK_AT + 1] = 0;
                if (h->octets[IPV4_PROTOCOL_AT] == IPPROTO_UDP)
                        udp = ETH_HLEN + (h->octets[ETH_HLEN] & 15) * 4;
        } else if (proto == bpf_htons(ETH_P_IPV6)) {
                h->octets[ETH_HLEN] &= 0xf0;
                h->octets[ETH_HLEN + 1] &= 0x0f;
                if (h->octets[IPV6_NEXT_AT] == IPPROTO_UDP)
                        udp = ETH_HLEN + sizeof(struct ipv6hdr);
        }
        if (udp && udp < NAME_OCTETS - 8)
                h->octets[udp + UDP_CHECK_AT] = h->octets[udp + UDP_CHECK_AT + 1] = 0;
}

static __always_inline __u64 name_of(__u64 name, __u64 word) {
        name = (name ^ word) * NAME_PRIME;
        return name ^ name >> 29;
}

/* Never 0. Frames that share their first NAME_OCTETS and their length share their name. A global function: it is
 * verified once, not for each way that leads to it. */
__noinline __u64 frame_name(struct __sk_buff *skb) {
        __u32 zero = 0;
        struct frame_head *h = bpf_map_lookup_elem(&gw_name_scratch, &zero);
        __u64 octets = skb->len, name = octets, words;

        if (octets > NAME_OCTETS)
                octets = NAME_OCTETS;
        asm volatile("" : "+r"(octets)); /* so that the verifier sees both bounds */
        if (!h || octets < ETH_HLEN || octets > NAME_OCTETS || bpf_skb_load_bytes(skb, 0, h->octets, octets))
                return 1;
        name_blank(h, skb->protocol);
        words = octets / 8;
        for (__u32 i = 0; i < NAME_OCTETS / 8 && i < words; i++)
                name = name_of(name, h->words[i]);
        if (octets % 8)
                name = name_of(name, h->words[words & (NAME_OCTETS / 8 - 1)] & ((1ull << octets % 8 * 8) - 1));
        return name ? name : 1;
}

static __always_inline struct gw_abi_copies *copies_of(__u32 ifindex, __u32 arrival, __u64 name, __u64 now) {
        struct gw_abi_copy_key key = {.name = name, .ifindex = ifindex, .arrival = arrival};
        struct gw_abi_copies *copies = bpf_map_lookup_elem(&gw_copies, &key), none = {.last_ns = now};

        if (copies)
                return copies;
        bpf_map_update_elem(&gw_copies, &key, &none, BPF_NOEXIST);
        return bpf_map_lookup_elem(&gw_copies, &key);
}

/* Adds, and gives what was there: r1 = atomic_fetch_add((u64 *)(r2 + 0), r1), which clang 14 only has with code (32-bit
 * registers) that the verifier does not follow through packet.h. */
static __always_inline __u64 fetch_add(__u64 *at, __u64 n) {
        register __u64 r1 asm("r1") = n;
        register __u64 *r2 asm("r2") = at;

        asm volatile(".8byte 0x1000012db" : "+r"(r1) : "r"(r2) : "memory");
        return r1;
}

/* Is this copy of a frame one that its port still lacks? */
static __noinline bool copy_is_lacking(__u32 ifindex, __u32 arrival, __u64 name, bool marked) {
        __u64 now = bpf_ktime_get_ns(), was;
        struct gw_abi_copies *copies = copies_of(ifindex, arrival, name, now);
        __u32 direct, redirected;

        if (!copies)
                return !marked;
        if (now - copies->last_ns > GW_JOINING_NS) /* of another move */
                copies->numbers = 0;
        copies->last_ns = now;
        if (marked)
                copies->marked_ns = now;
        was = fetch_add(&copies->numbers, marked ? 1 : COPY_DIRECT);
        direct = was >> 32;
        redirected = was;
        if (marked)
                return redirected >= direct;
        if (direct >= redirected)
                return true;
        if (now - copies->marked_ns < AHEAD_NS)
                return false;
        fetch_add(&copies->numbers, (redirected - direct) * COPY_DIRECT);
        return true;
}

#endif
