/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The answer to a packet that is larger than the overlay carries.
 *
 * A layer-2 overlay has no router whose address the answer could bear, so it
 * comes from the packet's own destination: the sender accepts it from any
 * address (RFC 1191 and RFC 8201 take the size from the quoted packet's
 * destination), and no other address is sure to be reachable or allowed.
 *
 * It is sent whether or not an IPv4 packet has DF: the overlay never fragments.
 *
 * A gateway has addresses: its errors come from the one it has in the sender's VN.
 *
 * Pure functions over octets; every read is bounded by a cursor.
 */
#include "edge/toobig.h"

#include <stdbool.h>

#include "base/cursor.h"

enum {
        ETH_SIZE = 14,
        ETHERTYPE_IPV4 = 0x0800,
        ETHERTYPE_IPV6 = 0x86dd,
        IPV4_SIZE = 20,
        IPV6_SIZE = 40,
        ICMP_SIZE = 8,
        ICMPV4_TOTAL_MAX = 576,  /* RFC 1812 section 4.3.2.3 */
        ICMPV6_TOTAL_MAX = 1280, /* RFC 4443 section 3.2: the minimum IPv6 MTU */
        PROTOCOL_ICMPV4 = 1,
        PROTOCOL_ICMPV6 = 58,
        HOP_LIMIT = 64,
};

static uint32_t sum_octets(const uint8_t *bytes, size_t size, uint32_t sum) {
        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
        return size % 2 ? sum + ((uint32_t)bytes[size - 1] << 8) : sum;
}

static uint16_t sum_fold(uint32_t sum) {
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

static bool station4(const uint8_t *ip) {
        return ip[0] != 0 && ip[0] < 224;
}

static bool station6(const uint8_t *ip) {
        uint8_t any = 0;

        for (int i = 0; i < 16; i++)
                any |= ip[i];
        return any && ip[0] != 0xff;
}

/* Errors about errors are forbidden: only requests and replies may be answered. */
static bool icmpv4_is_error(uint8_t type) {
        return !(type == 0 || type == 8 || (type >= 13 && type <= 18));
}

static bool answerable4(const uint8_t *ip, size_t size) {
        size_t header = size >= IPV4_SIZE ? (size_t)(ip[0] & 15) * 4 : 0;

        if (header < IPV4_SIZE || ip[0] >> 4 != 4 || size < header + 8)
                return false;
        if ((ip[6] & 0x1f) || ip[7] || !station4(ip + 12) || !station4(ip + 16))
                return false;
        return ip[9] != PROTOCOL_ICMPV4 || !icmpv4_is_error(ip[header]);
}

static bool answerable6(const uint8_t *ip, size_t size) {
        if (size < IPV6_SIZE + 8 || ip[0] >> 4 != 6 || !station6(ip + 8) || !station6(ip + 24))
                return false;
        return ip[6] != PROTOCOL_ICMPV6 || (ip[IPV6_SIZE] & 0x80); /* errors have the top bit clear */
}

static void put_ethernet(struct gw_writer *w, const uint8_t *frame, uint16_t type) {
        gw_put_bytes(w, frame + 6, 6);
        gw_put_bytes(w, frame, 6);
        gw_put_u16(w, type);
}

static size_t answer4(const uint8_t *frame, const uint8_t *ip, size_t size, const struct gw_icmp_error *e,
                      uint8_t *out) {
        struct gw_writer w = gw_writer(out, GW_TOO_BIG_MAX);
        size_t quoted =
                size < ICMPV4_TOTAL_MAX - IPV4_SIZE - ICMP_SIZE ? size : ICMPV4_TOTAL_MAX - IPV4_SIZE - ICMP_SIZE;

        put_ethernet(&w, frame, ETHERTYPE_IPV4);
        gw_put_u16(&w, 0x45c0); /* precedence of errors: internetwork control (RFC 1812 section 4.3.2.5) */
        gw_put_u16(&w, (uint16_t)(IPV4_SIZE + ICMP_SIZE + quoted));
        gw_put_u32(&w, 0x00004000); /* DF */
        gw_put_u8(&w, HOP_LIMIT);
        gw_put_u8(&w, PROTOCOL_ICMPV4);
        gw_put_u16(&w, 0);
        gw_put_bytes(&w, e->from ? e->from->b + 12 : ip + 16, 4);
        gw_put_bytes(&w, ip + 12, 4);
        gw_patch_u16(&w, ETH_SIZE + 10, sum_fold(sum_octets(out + ETH_SIZE, IPV4_SIZE, 0)));
        gw_put_u16(&w, e->v4);
        gw_put_u16(&w, 0);
        gw_put_u16(&w, 0);
        gw_put_u16(&w, (uint16_t)(e->mtu < 0xffff ? e->mtu : 0xffff));
        gw_put_bytes(&w, ip, quoted);
        gw_patch_u16(&w, ETH_SIZE + IPV4_SIZE + 2,
                     sum_fold(sum_octets(out + ETH_SIZE + IPV4_SIZE, ICMP_SIZE + quoted, 0)));
        return w.ok ? w.at : 0;
}

static size_t answer6(const uint8_t *frame, const uint8_t *ip, size_t size, const struct gw_icmp_error *e,
                      uint8_t *out) {
        struct gw_writer w = gw_writer(out, GW_TOO_BIG_MAX);
        size_t quoted =
                size < ICMPV6_TOTAL_MAX - IPV6_SIZE - ICMP_SIZE ? size : ICMPV6_TOTAL_MAX - IPV6_SIZE - ICMP_SIZE;
        size_t icmp_at = ETH_SIZE + IPV6_SIZE, icmp = ICMP_SIZE + quoted;
        uint32_t sum;

        put_ethernet(&w, frame, ETHERTYPE_IPV6);
        gw_put_u32(&w, 0x60000000);
        gw_put_u16(&w, (uint16_t)icmp);
        gw_put_u8(&w, PROTOCOL_ICMPV6);
        gw_put_u8(&w, HOP_LIMIT);
        gw_put_bytes(&w, e->from ? e->from->b : ip + 24, 16);
        gw_put_bytes(&w, ip + 8, 16);
        gw_put_u16(&w, e->v6);
        gw_put_u16(&w, 0);
        gw_put_u32(&w, e->mtu);
        gw_put_bytes(&w, ip, quoted);
        sum = sum_octets(out + ETH_SIZE + 8, 32, (uint32_t)icmp + PROTOCOL_ICMPV6);
        gw_patch_u16(&w, icmp_at + 2, sum_fold(sum_octets(out + icmp_at, icmp, sum)));
        return w.ok ? w.at : 0;
}

size_t gw_icmp_error_answer(const uint8_t *frame, size_t size, const struct gw_icmp_error *error,
                            uint8_t out[static GW_TOO_BIG_MAX]) {
        struct gw_reader r = gw_reader(frame, size);
        const uint8_t *macs = gw_get_span(&r, 12);
        uint16_t type = gw_get_u16(&r);
        size_t left = gw_reader_left(&r);

        if (!r.ok || (macs[0] & 1) || (macs[6] & 1))
                return 0;
        if (type == ETHERTYPE_IPV4 && answerable4(frame + ETH_SIZE, left))
                return answer4(frame, frame + ETH_SIZE, left, error, out);
        if (type == ETHERTYPE_IPV6 && answerable6(frame + ETH_SIZE, left))
                return answer6(frame, frame + ETH_SIZE, left, error, out);
        return 0;
}

size_t gw_too_big_answer(const uint8_t *frame, size_t size, uint32_t mtu, uint8_t out[static GW_TOO_BIG_MAX]) {
        struct gw_icmp_error error = {.v4 = GW_ICMP4_TOO_BIG, .v6 = GW_ICMP6_TOO_BIG, .mtu = mtu};

        return gw_icmp_error_answer(frame, size, &error, out);
}
