/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a port may do that the guard keeps all others from, as an operator grants
 * it: words in the API and on the command line, bits in records and state.
 */
#pragma once

#include <stdint.h>

enum gw_allow {
        GW_ALLOW_RA = 1,                /* "ra": router advertisements and redirects */
        GW_ALLOW_DHCP_SERVER = 2,       /* "dhcp-server": answers to DHCP and DHCPv6 clients */
        GW_ALLOW_FORWARD = 4,           /* "forward": IP packets from addresses that are not the port's */
        GW_ALLOW_LLC = 8,               /* "llc": 802.2 frames */
        GW_ALLOW_MULTICAST_ROUTER = 16, /* "multicast-router": IGMP and MLD queries; and it gets every group */
};
enum { GW_ALLOW_WORDS = 5, GW_ALLOW_ALL = (1 << GW_ALLOW_WORDS) - 1 };

/* Of bit i; NULL from GW_ALLOW_WORDS on. */
const char *gw_allow_word(unsigned i);
/* 0 and the bit, or GW_E_INVALID. */
int gw_allow_parse(const char *word, uint16_t *bit);
/* "ra, dhcp-server, ...": all words there are, for messages. */
const char *gw_allow_words(void);
