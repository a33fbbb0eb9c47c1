/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TLVs of frame bodies, and reading them by a table. Private to wire.
 *
 * A number, once given, keeps its meaning and layout; a mapping or a member may
 * grow at its end, and receivers skip what they do not know there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cursor.h"

enum gw_tlv_type {
        GW_TLV_ROLE = 1, /* u8 */
        GW_TLV_NAME,     /* text: of the sender, or of a VM */
        GW_TLV_LOCATOR,  /* 16 */
        GW_TLV_RESTARTS, /* u64 */
        GW_TLV_MESSAGE,  /* a registration, whole */
        GW_TLV_VNI,      /* u32 */
        GW_TLV_MAC,      /* 6 */
        GW_TLV_IP,       /* 16 */
        GW_TLV_MAPPING, /* u64 epoch, u32 vni, u32 lifetime, 16 locator, 6 mac, u8 state, u8 n, n * 16, u8 length, name */
        GW_TLV_MEMBER,    /* u32 vni, 16 locator, u8 1 when gone; of a gateway: u8 flags, u32 cost */
        GW_TLV_SCOPE,     /* u8: 1 positive, 2 negative */
        GW_TLV_KIND,      /* u8 */
        GW_TLV_EPOCH,     /* u64 */
        GW_TLV_LOCATORS,  /* n * 16 */
        GW_TLV_VNIS,      /* n * 4 */
        GW_TLV_REASON,    /* text */
        GW_TLV_MTU,       /* u32 */
        GW_TLV_COUNT,     /* u64 */
        GW_TLV_FEATURES,  /* u32 of bits */
        GW_TLV_ATTACHED,  /* n * (u32 vni, u32 ports, 17 IPv4 prefix, 17 IPv6 prefix) */
        GW_TLV_DIGESTS,   /* n * u64 */
        GW_TLV_BITS,      /* n octets, the first bit is the lowest of the first octet */
        GW_TLV_LIFETIME,  /* u32 ms */
        GW_TLV_HELD,      /* n * (6 mac, u64 digest) */
        GW_TLV_COUNTS,    /* n * u64 */
        GW_TLV_VN = 32,   /* u32 vni, u32 flags, u8 n, n * 16: settings of a VN */
        GW_TLV_SITE = 40, /* text */
        GW_TLV_COST,      /* u32: of a gateway */
};

enum { GW_TLV_HEADER_SIZE = 6 };

/* One TLV that a body may have, at most once. */
struct gw_tlv {
        uint16_t type;
        bool needed;
        size_t min, max; /* octets of the value */
        bool found;
        struct gw_reader value;
};

/* Finds the wanted TLVs, skips others. False: one is repeated, missing, past
 * the end, or of a length it cannot have. */
bool gw_tlvs_read(const uint8_t *body, size_t size, struct gw_tlv *want, size_t n_want);

/* The next TLV; false at the end and on a fault (then r->ok is false). */
bool gw_tlv_next(struct gw_reader *r, uint16_t *type, struct gw_reader *value);

void gw_tlv_put(struct gw_writer *w, uint16_t type, size_t size); /* type and length; the value follows */
void gw_tlv_put_bytes(struct gw_writer *w, uint16_t type, const void *bytes, size_t size);
void gw_tlv_put_u8(struct gw_writer *w, uint16_t type, uint8_t v);
void gw_tlv_put_u32(struct gw_writer *w, uint16_t type, uint32_t v);
void gw_tlv_put_u64(struct gw_writer *w, uint16_t type, uint64_t v);
