/* SPDX-License-Identifier: Apache-2.0 */
/* ICMP errors; "too big" above all: ICMPv4 type 3 code 4 (RFC 1191) and ICMPv6 type 2 (RFC 4443 section 3.2). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

enum { GW_TOO_BIG_MAX = 1294 }; /* octets of the largest answer, Ethernet header included */

/*
 * Writes the Ethernet frame that tells the sender of `frame` that packets of at
 * most `mtu` octets (from the IP header on) get through. Returns its size, or 0
 * when there must be no answer: not IP, cut short, an ICMP error itself, a
 * later fragment, or to or from what is not one station (RFC 1122 section 3.2.2,
 * RFC 4443 section 2.4).
 */
size_t gw_too_big_answer(const uint8_t *frame, size_t size, uint32_t mtu, uint8_t out[static GW_TOO_BIG_MAX]);

/* Type and code of the errors that are sent. */
enum {
        GW_ICMP4_TOO_BIG = 0x0304,
        GW_ICMP6_TOO_BIG = 0x0200,
        GW_ICMP4_EXCEEDED = 0x0b00, /* TTL */
        GW_ICMP6_EXCEEDED = 0x0300,
        GW_ICMP4_PROHIBITED = 0x030d, /* administratively (RFC 1812 section 5.2.7.1) */
        GW_ICMP6_PROHIBITED = 0x0101,
        GW_ICMP4_HOST = 0x0301, /* unreachable */
        GW_ICMP6_ADDRESS = 0x0103,
};
struct gw_icmp_error {
        uint16_t v4, v6;
        uint32_t mtu;             /* 0 unless too big */
        const struct gw_ip *from; /* of the packet's family; NULL: the packet's own destination */
};
/* The same for any error, under the same conditions. */
size_t gw_icmp_error_answer(const uint8_t *frame, size_t size, const struct gw_icmp_error *error,
                            uint8_t out[static GW_TOO_BIG_MAX]);
