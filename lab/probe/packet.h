/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a probe sends. Any echo server (RFC 862) can be the other end: it returns
 * the octets as they are. A `godwit probe --serve` peer also understands one-way
 * streams: it counts what comes, sends its own numbered packets, and tells its
 * figures when asked.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
        GW_PROBE_MAGIC = 0x47575031,
        GW_PROBE_HEADER = 40,      /* octets; the smallest --size */
        GW_PROBE_SIZE_MAX = 9000,  /* octets */
        GW_PROBE_RESULT_SIZE = 96, /* octets of a RESULT */
        GW_PROBE_PORT = 7,         /* echo */
        GW_PROBE_PEER_PORT = 7461,
        GW_PROBE_RATE_MAX = 100000, /* packets/s */
        GW_PROBE_RECORD = 64,       /* octets of one record of the TCP stream */
};

enum gw_probe_kind {
        GW_PROBE_ECHO = 1, /* returned as it is */
        GW_PROBE_TO,       /* one way, to the peer */
        GW_PROBE_FROM,     /* one way, from the peer */
        GW_PROBE_END,      /* asks for the peer's figures */
        GW_PROBE_RESULT,   /* the peer's figures */
        GW_PROBE_KINDS,
};

/* The sequence number of the packets that only ask whether anybody is there. */
#define GW_PROBE_HELLO UINT64_MAX

struct gw_probe_packet {
        uint8_t kind;
        uint32_t stream; /* chosen by the prober; tells runs apart */
        uint32_t rate;   /* packets/s that the peer is to send back */
        uint64_t sequence, sent_ns;
};

struct gw_probe_result {
        uint64_t sent, received, duplicated, reordered, longest_ns, longest_start_ns, longest_end_ns;
};

/* Writes a packet of exactly `size` octets (at least GW_PROBE_HEADER). */
void gw_probe_packet_encode(void *bytes, size_t size, const struct gw_probe_packet *packet);
bool gw_probe_packet_decode(const void *bytes, size_t size, struct gw_probe_packet *out);
size_t gw_probe_result_encode(void *bytes, size_t size, const struct gw_probe_packet *packet,
                              const struct gw_probe_result *result); /* 0 when it does not fit */
bool gw_probe_result_decode(const void *bytes, size_t size, struct gw_probe_result *out);

/* Records of the TCP stream: number, sending time, and octets that follow from the number. */
void gw_probe_record_encode(uint8_t record[static GW_PROBE_RECORD], uint64_t sequence, uint64_t sent_ns);
bool gw_probe_record_check(const uint8_t record[static GW_PROBE_RECORD], uint64_t sequence, uint64_t *sent_ns);
