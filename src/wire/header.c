/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Mobility Header proper: RFC 6275 sections 6.1.1 (header, checksum), 6.2
 * (options, padding, alignment) and 9.2 (what a receiver checks, in which order).
 *
 * The order matters to the sender: a wrong checksum is met with silence, an
 * unknown type with a Binding Error, the rest with an ICMPv6 Parameter Problem.
 * So the checks are made here once, for every type, and whoever reads from the
 * network answers by the fault that comes out.
 *
 * The pseudo-header has 16 octets for an address. An IPv4 one in its mapped form
 * adds 0xffff to the sum, which is nothing in one's complement: so the checksum
 * is also that over a pseudo-header of IPv4's addresses (RFC 5844).
 *
 * Minimum lengths follow from the fixed part of each type, rounded up to eight.
 */
#include "wire/header.h"

uint16_t gw_mh_checksum(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst) {
        uint64_t sum = GW_MH_PROTOCOL + (size >> 16) + (size & 0xffff);

        for (size_t i = 0; i < sizeof src.b; i += 2)
                sum += (uint64_t)(src.b[i] << 8 | src.b[i + 1]) + (uint64_t)(dst.b[i] << 8 | dst.b[i + 1]);
        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (uint64_t)(bytes[i] << 8 | bytes[i + 1]);
        if (size % 2)
                sum += (uint64_t)(bytes[size - 1] << 8);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

void gw_registration_seal(uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst) {
        struct gw_writer w = gw_writer(bytes, size);

        w.at = size;
        gw_patch_u16(&w, GW_MH_CHECKSUM_AT, 0);
        gw_patch_u16(&w, GW_MH_CHECKSUM_AT, gw_mh_checksum(bytes, size, src, dst));
}

size_t gw_mh_fixed_size(uint8_t type) {
        switch (type) {
        case GW_MH_BINDING_UPDATE:
        case GW_MH_BINDING_ACK:
        case GW_MH_HEARTBEAT:
        case GW_MH_UPDATE_NOTIFICATION:
        case GW_MH_UPDATE_NOTIFICATION_ACK:
                return GW_MH_FIXED_SIZE;
        case GW_MH_BINDING_ERROR:
                return GW_MH_ERROR_FIXED_SIZE;
        default:
                return 0;
        }
}

/* Between IPv4 addresses a message travels in UDP, whose own checksum covers it: zero says there that none was made. */
static bool checksum_ok(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst) {
        bool in_udp = gw_ip_is_v4(src) && gw_ip_is_v4(dst);

        return (in_udp && !bytes[GW_MH_CHECKSUM_AT] && !bytes[GW_MH_CHECKSUM_AT + 1]) ||
               gw_mh_checksum(bytes, size, src, dst) == 0;
}

uint8_t gw_mh_check(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst) {
        if (size < GW_MH_UNIT || size != ((size_t)bytes[1] + 1) * GW_MH_UNIT)
                return GW_REG_FAULT_SIZE;
        if (!checksum_ok(bytes, size, src, dst))
                return GW_REG_FAULT_CHECKSUM;
        if (!gw_mh_fixed_size(bytes[2]))
                return GW_REG_FAULT_TYPE;
        if (bytes[0] != GW_MH_NO_NEXT)
                return GW_REG_FAULT_PAYLOAD;
        return size < gw_mh_fixed_size(bytes[2]) ? GW_REG_FAULT_HEADER_LENGTH : GW_REG_FAULT_NONE;
}

void gw_mh_begin(struct gw_writer *w, uint8_t type) {
        gw_put_u8(w, GW_MH_NO_NEXT);
        gw_put_u8(w, 0); /* Header Len, known at the end */
        gw_put_u8(w, type);
        gw_put_u8(w, 0);
        gw_put_u16(w, 0); /* checksum */
}

void gw_mh_close(struct gw_writer *w, struct gw_ip src, struct gw_ip dst) {
        w->base[1] = (uint8_t)(w->at / GW_MH_UNIT - 1);
        gw_registration_seal(w->base, w->at, src, dst);
}

void gw_mh_pad(struct gw_writer *w, size_t x, size_t y) {
        size_t n = (x + y - w->at % x) % x;

        if (n == 1) {
                gw_put_u8(w, GW_MH_OPT_PAD1);
        } else if (n) {
                gw_put_u8(w, GW_MH_OPT_PADN);
                gw_put_u8(w, (uint8_t)(n - 2));
                gw_put_zero(w, n - 2);
        }
}

void gw_mh_option(struct gw_writer *w, uint8_t type, size_t length, size_t x, size_t y) {
        gw_mh_pad(w, x, y);
        gw_put_u8(w, type);
        gw_put_u8(w, (uint8_t)length);
}

void gw_mh_put_auth(struct gw_writer *w, uint8_t subtype, uint32_t spi, const uint8_t *auth, size_t size) {
        size_t whole = 2 + 5 + size;

        /* 8n+5 or 8n+1, by its size; both also satisfy the option's own 4n+1. */
        gw_mh_option(w, GW_MH_OPT_AUTH, 5 + size, GW_MH_UNIT, (GW_MH_UNIT - whole % GW_MH_UNIT) % GW_MH_UNIT);
        gw_put_u8(w, subtype);
        gw_put_u32(w, spi);
        gw_put_bytes(w, auth, size);
}
