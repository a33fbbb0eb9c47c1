/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RFC 4285 sections 5 and 6. The data is the first octets of
 *
 *      HMAC(key, care-of address | home address | message up to and with the SPI)
 *
 * with a zero checksum and the final Header Len. What the two addresses are
 * outside of Mobile IPv6 no RFC says; here they are read so: the care-of
 * address is the address of whoever asked, that is the source of a request and
 * the destination of an answer; the home address is the first one of an option
 * 22 in the message, as it stands there, and :: where there is none.
 *
 * All is read from the octets, not from what was decoded of them: bits that a
 * decoder clears or skips are covered too. A message reaches this file after its
 * header was checked; options are walked within its bounds all the same, since
 * the key is looked for before they are decoded.
 *
 * Comparison takes the same time wherever the first difference is.
 */
#include "wire/auth.h"

#include <string.h>

#include "base/cursor.h"
#include "base/error.h"
#include "wire/header.h"

enum {
        NTP_UNIX_S = 2208988800, /* from 1900 to 1970 */
        HOME_AT = 2,             /* of the address in the data of option 22 */
        SPI_END = 2 + 1 + 4,     /* of option 9, from its type octet */
        ADDRESSES = 32,
};

struct place {
        size_t at, size; /* of option 9, and of its authentication data */
        uint32_t spi;
        struct gw_ip home;
};

size_t gw_auth_size(uint8_t algorithm) {
        switch (algorithm) {
        case GW_AUTH_HMAC_SHA1:
                return GW_MH_AUTH_SIZE;
        case GW_AUTH_HMAC_SHA256:
                return GW_MH_AUTH_SIZE_LONG;
        default:
                return 0;
        }
}

void gw_auth_mark(struct gw_registration *reg, const struct gw_auth_key *key) {
        reg->has |= GW_REG_HAS_AUTH;
        reg->auth_subtype = GW_MH_AUTH_MN_HA;
        reg->auth_spi = key->spi;
        reg->auth_size = (uint8_t)gw_auth_size(key->algorithm);
        memset(reg->auth, 0, sizeof reg->auth);
}

/* The option that ends the message, if it is an MN-HA authentication. */
static bool read_place(const uint8_t *option, size_t length, struct place *out) {
        struct gw_reader r = gw_reader(option, length);

        if (gw_get_u8(&r) != GW_MH_AUTH_MN_HA)
                return false;
        out->spi = gw_get_u32(&r);
        out->size = gw_reader_left(&r);
        return r.ok && gw_mh_auth_size_ok(out->size);
}

static bool find(const uint8_t *message, size_t size, struct place *out) {
        size_t at = size > 2 ? gw_mh_fixed_size(message[2]) : 0;
        bool home = false;

        memset(out, 0, sizeof *out);
        while (at && at + 2 <= size) {
                size_t length = message[at + 1];

                if (message[at] == GW_MH_OPT_PAD1) {
                        at++;
                        continue;
                }
                if (at + 2 + length > size)
                        return false;
                if (message[at] == GW_MH_OPT_HOME_PREFIX && length == 18 && !home) {
                        memcpy(out->home.b, message + at + 2 + HOME_AT, 16);
                        home = true;
                }
                if (message[at] == GW_MH_OPT_AUTH && at + 2 + length == size) {
                        out->at = at;
                        return read_place(message + at + 2, length, out);
                }
                at += 2 + length;
        }
        return false;
}

static bool is_answer(const uint8_t *message) {
        switch (message[2]) {
        case GW_MH_BINDING_ACK:
        case GW_MH_BINDING_ERROR:
        case GW_MH_UPDATE_NOTIFICATION_ACK:
                return true;
        case GW_MH_HEARTBEAT:
                return message[7] & GW_MH_HEARTBEAT_RESPONSE;
        default:
                return false;
        }
}

static int compute(const uint8_t *message, const struct place *place, struct gw_ip src, struct gw_ip dst,
                   const struct gw_auth_key *key, gw_auth_mac *mac, uint8_t out[static GW_MH_AUTH_SIZE_LONG]) {
        uint8_t covered[ADDRESSES + GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(covered, sizeof covered);

        gw_put_bytes(&w, is_answer(message) ? dst.b : src.b, 16);
        gw_put_bytes(&w, place->home.b, 16);
        gw_put_bytes(&w, message, place->at + SPI_END);
        gw_patch_u16(&w, ADDRESSES + GW_MH_CHECKSUM_AT, 0);
        return w.ok ? mac(key, covered, w.at, out, place->size) : GW_E_INVALID;
}

int gw_auth_sign(uint8_t *message, size_t size, struct gw_ip src, struct gw_ip dst, const struct gw_auth_key *key,
                 gw_auth_mac *mac) {
        uint8_t data[GW_MH_AUTH_SIZE_LONG];
        struct place place;
        int r;

        if (!find(message, size, &place) || place.spi != key->spi || place.size != gw_auth_size(key->algorithm))
                return GW_E_INVALID;
        r = compute(message, &place, src, dst, key, mac, data);
        if (r)
                return r;
        memcpy(message + size - place.size, data, place.size);
        gw_registration_seal(message, size, src, dst);
        return 0;
}

bool gw_auth_spi(const uint8_t *message, size_t size, uint32_t *spi) {
        struct place place;

        if (!find(message, size, &place))
                return false;
        *spi = place.spi;
        return true;
}

static bool same(const uint8_t *a, const uint8_t *b, size_t size) {
        volatile uint8_t differ = 0;

        for (size_t i = 0; i < size; i++)
                differ |= a[i] ^ b[i];
        return !differ;
}

int gw_auth_verify(const uint8_t *message, size_t size, struct gw_ip src, struct gw_ip dst,
                   const struct gw_auth_key *key, gw_auth_mac *mac) {
        uint8_t data[GW_MH_AUTH_SIZE_LONG];
        struct place place;
        int r;

        if (!find(message, size, &place) || place.spi != key->spi || place.size != gw_auth_size(key->algorithm))
                return GW_E_REFUSED;
        r = compute(message, &place, src, dst, key, mac, data);
        if (r)
                return r;
        return same(data, message + size - place.size, place.size) ? 0 : GW_E_REFUSED;
}

uint64_t gw_message_id(struct gw_wall at) {
        uint64_t s = at.ns / GW_NS_PER_S + NTP_UNIX_S, fraction = (at.ns % GW_NS_PER_S << 32) / GW_NS_PER_S;

        return s << 32 | fraction;
}

static int64_t message_id_span(struct gw_duration span) {
        return (int64_t)((span.ns / GW_NS_PER_S) << 32 | (span.ns % GW_NS_PER_S << 32) / GW_NS_PER_S);
}

/* None is accepted farther ahead of our clock than `skew`, so one that is was accepted by a clock that is no more. */
static bool was_set_back(uint64_t last, struct gw_wall now, struct gw_duration skew) {
        return last && (int64_t)(last - gw_message_id(now)) > message_id_span(skew);
}

enum gw_message_id_fault gw_message_id_check(uint64_t id, uint64_t last, struct gw_wall now, struct gw_duration skew) {
        bool back = was_set_back(last, now, skew);
        int64_t ahead = (int64_t)(id - (back ? last : gw_message_id(now)));
        int64_t most = message_id_span(skew);

        if (back && ahead <= 0)
                return GW_MESSAGE_ID_BEFORE;
        if (ahead > most || ahead < -most)
                return GW_MESSAGE_ID_SKEWED;
        return last && (int64_t)(id - last) <= 0 ? GW_MESSAGE_ID_REPEATED : GW_MESSAGE_ID_FRESH;
}

uint64_t gw_message_id_answer(uint64_t id, uint64_t last, struct gw_wall now, struct gw_duration skew) {
        uint64_t clock = was_set_back(last, now, skew) ? last + (UINT64_C(1) << 32) : gw_message_id(now);

        return (clock & UINT64_C(0xffffffff00000000)) | (id & UINT32_MAX);
}

int64_t gw_message_id_ahead_ms(uint64_t id, uint64_t of) {
        return (((int64_t)(id - of) >> 16) * 1000) >> 16;
}
