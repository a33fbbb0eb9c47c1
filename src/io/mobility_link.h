/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One socket that carries Mobility Headers. The family of its address says how:
 *
 *      IPv6    a raw socket of protocol 135; needs CAP_NET_RAW
 *      IPv4    UDP, port 5436 at both ends (RFC 5844); needs nothing
 *
 * It carries whole messages and looks into none of them.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "wire/mobility.h"

struct gw_mobility_link {
        struct gw_ip address; /* ours; :: while it is not open */
        int fd;
        int icmp_fd; /* IPv6: only to send errors through; else -1 */
};

struct gw_mobility_datagram {
        struct gw_ip from;
        uint16_t port; /* 5436 where there are none */
        int hop_limit; /* IPv6 */
        size_t size;
        uint8_t bytes[GW_MH_SIZE_MAX + 1]; /* one more, to see that it is too long */
};

void gw_mobility_link_init(struct gw_mobility_link *link);
/* ifindex: only through that interface; 0 through any. Negative errno, and then nothing is open. */
int gw_mobility_link_open(struct gw_mobility_link *link, struct gw_ip address, unsigned ifindex);
void gw_mobility_link_close(struct gw_mobility_link *link);

/* To an address of the same family. 0 or a negative errno; never waits. */
int gw_mobility_link_send(const struct gw_mobility_link *link, struct gw_ip to, const uint8_t *bytes, size_t size);
/* An ICMPv6 message, whose checksum the kernel fills in. -EOPNOTSUPP over IPv4. */
int gw_mobility_link_send_icmp(const struct gw_mobility_link *link, struct gw_ip to, const uint8_t *bytes, size_t size);
/* 0: *out is filled. -EAGAIN: nothing waits. */
int gw_mobility_link_receive(const struct gw_mobility_link *link, struct gw_mobility_datagram *out);
