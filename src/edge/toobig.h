/* SPDX-License-Identifier: Apache-2.0 */
/* "Too big" answers: ICMPv4 type 3 code 4 (RFC 1191) and ICMPv6 type 2 (RFC 4443 section 3.2). */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { GW_TOO_BIG_MAX = 1294 }; /* octets of the largest answer, Ethernet header included */

/*
 * Writes the Ethernet frame that tells the sender of `frame` that packets of at
 * most `mtu` octets (from the IP header on) get through. Returns its size, or 0
 * when there must be no answer: not IP, cut short, an ICMP error itself, a
 * later fragment, or to or from what is not one station (RFC 1122 section 3.2.2,
 * RFC 4443 section 2.4).
 */
size_t gw_too_big_answer(const uint8_t *frame, size_t size, uint32_t mtu, uint8_t out[static GW_TOO_BIG_MAX]);
