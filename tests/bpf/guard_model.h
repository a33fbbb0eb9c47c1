/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guard of a port should let pass, written down plainly: one frame, read
 * octet by octet, and no thought of cost. The tests hold the eBPF programs against it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "datapath/bpf/abi.h"

struct model {
        const uint8_t *b;
        size_t n;
        uint32_t flags;
        uint8_t mac[6], v4[4], v6[16];
};

static inline unsigned be16(const struct model *m, size_t at) {
        return at + 2 <= m->n ? (unsigned)(m->b[at] << 8 | m->b[at + 1]) : 0;
}
static inline bool all_zero(const uint8_t *b, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (b[i])
                        return false;
        return true;
}
static inline bool group_frame(const struct model *m) {
        return m->b[0] & 1;
}
static inline bool own_v6(const struct model *m, const uint8_t *ip) {
        const uint8_t *k = m->mac;
        const uint8_t link_local[16] = {0xfe, 0x80, 0,    0,    0,    0,    0,   0, (uint8_t)(k[0] ^ 2),
                                        k[1], k[2], 0xff, 0xfe, k[3], k[4], k[5]};

        return !memcmp(ip, m->v6, 16) || !memcmp(ip, link_local, 16);
}

/* `end`: where the packet ends; its frame may have more. */
static inline bool model_dhcp(const struct model *m, size_t at, size_t end, unsigned client) {
        if (m->flags & GW_PORT_DHCP_SERVER)
                return true;
        return at + 4 <= end && be16(m, at + 2) != client;
}

static inline bool model_ipv4(const struct model *m) {
        const uint8_t *ip = m->b + 14;
        size_t header;

        if (m->n < 34 || ip[0] >> 4 != 4 || (ip[0] & 15) < 5 || be16(m, 16) > m->n - 14)
                return false;
        if (all_zero(ip + 12, 4)) {
                bool everyone = ip[16] == 255 && ip[17] == 255 && ip[18] == 255 && ip[19] == 255;
                bool igmp = ip[9] == 2 && ip[16] >> 4 == 14;
                if (!everyone && !igmp)
                        return false;
        } else if (memcmp(ip + 12, m->v4, 4) != 0 && !(m->flags & GW_PORT_FORWARDS)) {
                return false;
        }
        header = (ip[0] & 15) * 4u;
        if (ip[9] == 2 && !(m->flags & GW_PORT_MULTICAST_ROUTER))
                return 14 + header < m->n && m->b[14 + header] != 0x11;
        if (ip[9] == 17 && !(be16(m, 20) & 0x1fff))
                return model_dhcp(m, 14 + header, 14 + (size_t)be16(m, 16), 68);
        return true;
}

static inline bool model_arp_form(const struct model *m) {
        return m->n >= 42 && be16(m, 14) == 1 && be16(m, 16) == 0x0800 && m->b[18] == 6 && m->b[19] == 4;
}
static inline bool model_arp(const struct model *m) {
        unsigned op = be16(m, 20);

        if (!model_arp_form(m) || memcmp(m->b + 22, m->mac, 6) != 0 || (op != 1 && op != 2))
                return false;
        if (all_zero(m->b + 28, 4))
                return op == 1 && group_frame(m);
        return !memcmp(m->b + 28, m->v4, 4);
}
static inline bool model_rarp(const struct model *m) {
        return model_arp_form(m) && be16(m, 20) == 3 && !memcmp(m->b + 22, m->mac, 6) && !memcmp(m->b + 32, m->mac, 6);
}

static inline bool model_options(const struct model *m, size_t at, size_t end) {
        for (int i = 0; i < 12; i++) {
                if (at >= end)
                        return true;
                if (at + 8 > m->n || !m->b[at + 1])
                        return false;
                if ((m->b[at] == 1 || m->b[at] == 2) && memcmp(m->b + at + 2, m->mac, 6) != 0)
                        return false;
                at += m->b[at + 1] * 8u;
        }
        return false;
}

/* What is neither ND nor MLD in its form. */
static inline bool model_icmpv6(const struct model *m, unsigned type, bool in_form) {
        if (type == 130 && !(m->flags & GW_PORT_MULTICAST_ROUTER))
                return false;
        return in_form || !((type >= 130 && type <= 132) || type == 143);
}

/* From the link itself (hop limit 255), and so with an address of the port's own. */
static inline bool model_nd(const struct model *m, size_t end) {
        if (m->n < 56)
                return false;
        if (m->b[54] >= 133 && m->b[54] <= 137 && !own_v6(m, m->b + 22) && !all_zero(m->b + 22, 16))
                return false;
        switch (m->b[54]) {
        case 133:
                return !m->b[55] && model_options(m, 62, end);
        case 134:
                return m->flags & GW_PORT_ROUTER && model_options(m, 70, end);
        case 137:
                return m->flags & GW_PORT_ROUTER;
        case 135:
        case 136:
                if (m->b[55] || m->n < 78 || (m->b[54] == 136 && !own_v6(m, m->b + 62)))
                        return false;
                return model_options(m, 78, end);
        default:
                return model_icmpv6(m, m->b[54], false);
        }
}

/* Through the extension headers to what they lead to. */
static inline bool model_chain(const struct model *m, unsigned next, bool from_link, size_t end) {
        bool options_first = next == 0;
        size_t at = 54;

        for (int i = 0; i < 8; i++) {
                if (next == 17)
                        return model_dhcp(m, at, end, 546);
                if (next == 58) {
                        if (at >= end)
                                return false;
                        if (m->b[at] >= 133 && m->b[at] <= 137)
                                return !from_link;
                        return model_icmpv6(m, m->b[at], options_first && at == 62);
                }
                if (next != 0 && next != 43 && next != 44 && next != 51 && next != 60)
                        return true;
                if (at + 4 > end)
                        return false;
                if (next == 44 && be16(m, at + 2) & 0xfff8)
                        return true;
                size_t octets = next == 44 ? 8 : next == 51 ? (m->b[at + 1] + 2) * 4u : (m->b[at + 1] + 1) * 8u;
                next = m->b[at];
                at += octets;
        }
        return false;
}

static inline bool model_ipv6(const struct model *m) {
        size_t end = 54 + (size_t)be16(m, 18);

        if (m->n < 54 || m->b[14] >> 4 != 6 || end > m->n)
                return false;
        if (all_zero(m->b + 22, 16)) {
                if (m->b[38] != 0xff || !group_frame(m))
                        return false;
        } else if (!own_v6(m, m->b + 22) && !(m->flags & GW_PORT_FORWARDS)) {
                return false;
        }
        if (m->b[20] == 58)
                return m->b[21] == 255 ? model_nd(m, end) : m->n < 55 || model_icmpv6(m, m->b[54], false);
        return model_chain(m, m->b[20], m->b[21] == 255, end);
}

static inline bool model_passes(const struct model *m) {
        unsigned type = be16(m, 12);

        if (m->n < 14 || memcmp(m->b + 6, m->mac, 6) != 0)
                return false;
        switch (type) {
        case 0x0800:
                return model_ipv4(m);
        case 0x0806:
                return model_arp(m);
        case 0x8035:
                return model_rarp(m);
        case 0x86dd:
                return model_ipv6(m);
        case 0x8100:
        case 0x88a8:
        case 0x9100:
                return false;
        default:
                return type >= 0x600 || m->flags & GW_PORT_ANY_FRAME;
        }
}
