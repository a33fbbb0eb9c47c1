/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Reading a frame: every access is preceded by headers(), which makes the octets linear. */
#ifndef GW_BPF_PACKET_H
#define GW_BPF_PACKET_H

struct arp_frame {
        struct ethhdr eth;
        __be16 htype, ptype;
        __u8 hlen, plen;
        __be16 op;
        __u8 sha[6], spa[4], tha[6], tpa[4];
} __attribute__((packed));

struct nd_frame { /* NS and NA: the second half of the ICMPv6 header is reserved or flags */
        struct ethhdr eth;
        struct ipv6hdr ip;
        __u8 type, code;
        __sum16 checksum;
        __be32 flags;
        __u8 target[16];
} __attribute__((packed));

struct nd_option_mac {
        __u8 type, length, mac[6];
} __attribute__((packed));

struct nd_option_nonce {
        __u8 type, length, nonce[6];
} __attribute__((packed));

enum {
        ARP_REQUEST = 1,
        ARP_REPLY = 2,
        RARP_REQUEST = 3,
        ND_ROUTER_SOLICIT = 133,
        ND_ROUTER_ADVERT = 134,
        ND_SOLICIT = 135,
        ND_ADVERT = 136,
        ND_REDIRECT = 137,
        ND_OPTION_SOURCE = 1,
        ND_OPTION_TARGET = 2,
        ND_OPTION_CGA = 11, /* SEND (RFC 3971): CGA, RSA signature, time stamp, nonce */
        ND_OPTION_TIMESTAMP = 13,
        ND_OPTION_NONCE = 14,
        ND_HOP_LIMIT = 255,
};
enum { /* what hides in IPv4 and behind IPv6 extension headers */
       IPV4_OFFSET = 0x1fff,
       IPV6_OFFSET = 0xfff8,
       IPV6_AUTHENTICATION = 51,
       DHCP_CLIENT = 68,
       DHCPV6_CLIENT = 546,
       LLC_BELOW = 0x600, /* an EtherType that is a length (IEEE 802.3) */
       ETH_P_QINQ_OLD = 0x9100,
};
enum {
        IGMP_QUERY = 0x11,
        MLD_QUERY = 130,
        MLD_REPORT = 131,
        MLD_DONE = 132,
        MLD_REPORT_V2 = 143,
};
#define NA_ROUTER 0x80000000u
#define NA_SOLICITED 0x40000000u
#define NA_OVERRIDE 0x20000000u

/* The first n octets, linear and bounds-checked, or NULL. Invalidates pointers taken before. */
static __always_inline void *headers(struct __sk_buff *skb, __u32 n) {
        void *data = (void *)(long)skb->data;
        if (data + n <= (void *)(long)skb->data_end)
                return data;
        if (skb->len < n || bpf_skb_pull_data(skb, n))
                return NULL;
        data = (void *)(long)skb->data;
        return data + n <= (void *)(long)skb->data_end ? data : NULL;
}

/* MACs and addresses are compared and copied in units that their alignment allows (2 and 4 octets; the stack demands
 * it, packets do not), not octet by octet. */
#define IP16 __u8 __attribute__((aligned(8)))
#define MAC6 __u8 __attribute__((aligned(8)))

static __always_inline bool mac_eq(const void *a, const void *b) {
        const __u16 *x = a, *y = b;
        return x[0] == y[0] && x[1] == y[1] && x[2] == y[2];
}
static __always_inline void mac_copy(void *to, const void *from) {
        __u16 *x = to;
        const __u16 *y = from;
        x[0] = y[0];
        x[1] = y[1];
        x[2] = y[2];
}
static __always_inline bool mac_is_group(const __u8 *mac) {
        return mac[0] & 1;
}

static __always_inline __u32 word(const void *p, int i) {
        return ((const __u32 *)p)[i];
}
static __always_inline void ip_copy(void *to, const void *from) {
        __u32 *x = to;
        x[0] = word(from, 0);
        x[1] = word(from, 1);
        x[2] = word(from, 2);
        x[3] = word(from, 3);
}
static __always_inline void ip_from_v4(void *to, __be32 v4) {
        __u32 *x = to;
        x[0] = x[1] = 0;
        x[2] = bpf_htonl(0xffff);
        x[3] = v4;
}
static __always_inline bool ip_eq(const void *a, const void *b) {
        return word(a, 0) == word(b, 0) && word(a, 1) == word(b, 1) && word(a, 2) == word(b, 2) &&
               word(a, 3) == word(b, 3);
}
static __always_inline bool ip_is_v4(const void *ip) {
        return !word(ip, 0) && !word(ip, 1) && word(ip, 2) == bpf_htonl(0xffff);
}
static __always_inline bool ip_is_zero(const void *ip) {
        return !word(ip, 0) && !word(ip, 1) && !word(ip, 2) && !word(ip, 3);
}

/* fe80:: with a modified EUI-64 (RFC 4291 appendix A): the MAC is in the address. */
static __always_inline bool ip_is_eui64(const __u8 *ip) {
        return word(ip, 0) == bpf_htonl(0xfe800000) && !word(ip, 1) && ip[11] == 0xff && ip[12] == 0xfe;
}
static __always_inline void mac_from_eui64(__u8 *mac, const __u8 *ip) {
        mac[0] = ip[8] ^ 2;
        mac[1] = ip[9];
        mac[2] = ip[10];
        mac[3] = ip[13];
        mac[4] = ip[14];
        mac[5] = ip[15];
}

/* Octets of IP in the largest packet that this frame becomes on the wire; with GSO, of one segment. */
static __always_inline __u32 ip_octets(struct __sk_buff *skb, __be16 proto) {
        __u32 whole = skb->len - ETH_HLEN, gso = skb->gso_size, ip, at;
        __u8 l4, doff;

        if (!gso)
                return whole;
        if (proto == bpf_htons(ETH_P_IP)) {
                struct iphdr *h = headers(skb, ETH_HLEN + sizeof *h);
                if (!h)
                        return whole;
                h = (void *)h + ETH_HLEN;
                ip = h->ihl * 4;
                l4 = h->protocol;
        } else {
                struct ipv6hdr *h = headers(skb, ETH_HLEN + sizeof *h);
                if (!h)
                        return whole;
                h = (void *)h + ETH_HLEN;
                ip = sizeof *h;
                l4 = h->nexthdr;
        }
        if (l4 != IPPROTO_TCP)
                return ip + 8 + gso;
        at = ETH_HLEN + ip + 12;
        if (bpf_skb_load_bytes(skb, at, &doff, 1))
                return whole;
        return ip + (doff >> 4) * 4 + gso;
}

#endif
