/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of a link: what a guest announces, read; what this edge says to guests, built (l2.c). Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

enum { GW_L2_MAX = 86 }; /* octets of any frame that is built here */

enum gw_l2_kind {
        GW_L2_ARP_REQUEST = 1, /* gratuitous, request form: an announcement (RFC 5227) */
        GW_L2_ARP_REPLY,       /* gratuitous, reply form */
        GW_L2_ADVERT,          /* unsolicited NA, to whichever group (RFC 4861 section 7.2.6) */
        GW_L2_RARP,            /* RARP request: a diskless client's question, or a hypervisor's announcement */
        GW_L2_ANSWER,          /* ARP reply or NA, sent to the edge itself, which had asked */
};

/* A station says: mac has ip. */
struct gw_l2_said {
        uint8_t kind; /* enum gw_l2_kind */
        struct gw_mac mac, from;
        struct gw_ip ip; /* unspecified in RARP */
};

/* False: none of these. */
bool gw_l2_read(const uint8_t *frame, size_t size, struct gw_l2_said *out);

/* Each writes a frame to out (GW_L2_MAX octets) and returns its size. */
size_t gw_l2_announce(uint8_t *out, struct gw_mac mac,
                      struct gw_ip ip);                     /* gratuitous ARP request, or NA to all nodes */
size_t gw_l2_announce_mac(uint8_t *out, struct gw_mac mac); /* a RARP request, as hypervisors send it */
/* Is ip still at mac? An ARP probe, or a NS; the answer comes to the gateway's MAC. */
size_t gw_l2_ask(uint8_t *out, struct gw_mac mac, struct gw_ip ip);
size_t gw_l2_rarp_answer(uint8_t *out, struct gw_mac mac, struct gw_ip ip, struct gw_ip server);
