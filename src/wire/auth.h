/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication of Mobility Headers: RFC 4285's option 9. Its SPI names a
 * security association, and with it the key and the algorithm. Pure: the HMAC
 * itself is handed in (io/keys.h has it, over OpenSSL).
 *
 * To sign: gw_auth_mark a registration (or a struct gw_upkeep), encode it,
 * gw_auth_sign the octets. To verify: gw_auth_spi says which key, gw_auth_verify
 * whether it is right.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "wire/mobility.h"
#include "wire/registration.h"

enum {
        GW_AUTH_KEY_MIN = 16, /* octets; RFC 4285 has 16 */
        GW_AUTH_KEY_MAX = 64,
};

enum gw_auth_algorithm {
        GW_AUTH_HMAC_SHA1 = 1, /* the first 96 bits, RFC 4285 */
        GW_AUTH_HMAC_SHA256,   /* the first 128 bits, as RFC 4868 truncates it */
};

struct gw_auth_key {
        uint32_t spi;
        uint8_t algorithm; /* enum gw_auth_algorithm */
        uint8_t size;
        uint8_t octets[GW_AUTH_KEY_MAX];
};

/* Writes the first `out_size` octets of the key's HMAC. 0 or a negative errno. */
typedef int gw_auth_mac(const struct gw_auth_key *key, const uint8_t *bytes, size_t size, uint8_t *out,
                        size_t out_size);

size_t gw_auth_size(uint8_t algorithm); /* of the authentication data; 0: no such algorithm */

/* Makes room for the data of this key in a registration that is about to be encoded. */
void gw_auth_mark(struct gw_registration *reg, const struct gw_auth_key *key);
/* Fills the data of an encoded message that was marked, and its checksum. GW_E_INVALID: it has no
 * option 9, or one for another key. Negative: what the mac said. */
int gw_auth_sign(uint8_t *message, size_t size, struct gw_ip src, struct gw_ip dst, const struct gw_auth_key *key,
                 gw_auth_mac *mac);

/* The SPI of the message's MN-HA authentication option; false: it has none, where it must be. */
bool gw_auth_spi(const uint8_t *message, size_t size, uint32_t *spi);
/* 0: made with this key. GW_E_REFUSED: not. Negative: what the mac said. */
int gw_auth_verify(const uint8_t *message, size_t size, struct gw_ip src, struct gw_ip dst,
                   const struct gw_auth_key *key, gw_auth_mac *mac);

/* Message-ID, option 10: NTP time, 32.32 since 1900, which wraps in 2036. */
uint64_t gw_message_id(struct gw_wall at);

/* What is wrong with a Message-ID. */
enum gw_message_id_fault {
        GW_MESSAGE_ID_FRESH = 0,
        GW_MESSAGE_ID_SKEWED,   /* farther from our clock than allowed */
        GW_MESSAGE_ID_REPEATED, /* not newer than the last accepted */
        GW_MESSAGE_ID_BEFORE,   /* the last accepted is beyond what our clock allows: it was set back */
};

/* Within `skew` of our clock, and newer than the last accepted (0: none). Where that last one is itself beyond our
 * clock and `skew`, our clock was set back since: then the last one is the clock that counts. */
enum gw_message_id_fault gw_message_id_check(uint64_t id, uint64_t last, struct gw_wall now, struct gw_duration skew);
/* For the answer to one that is not: its low half, and in the high one our seconds, as RFC 4285 wants it, or
 * those after the last one where that is the clock that counts. */
uint64_t gw_message_id_answer(uint64_t id, uint64_t last, struct gw_wall now, struct gw_duration skew);
int64_t gw_message_id_ahead_ms(uint64_t id, uint64_t of);
