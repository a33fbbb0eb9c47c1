/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream to one target: a UDP stream whose packets are echoed, a pair of
 * one-way UDP streams with a peer, or a TCP stream of echoed records. The probe's
 * loop calls .send when a packet is due, and .receive when the descriptor is readable.
 */
#pragma once

#include <jansson.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "lab/probe/packet.h"
#include "lab/probe/track.h"

struct gw_error;
struct gw_probe_options;
struct gw_stream;

struct gw_stream_ops {
        const char *protocol; /* "udp", "tcp" */
        int (*open)(struct gw_stream *stream, const struct gw_probe_options *options, struct gw_error *error);
        void (*send)(struct gw_stream *stream, uint64_t now_ns);
        void (*receive)(struct gw_stream *stream);
        bool (*idle)(const struct gw_stream *stream); /* nothing more is to be expected */
};

struct gw_tcp_state {
        uint8_t out[GW_PROBE_RECORD], in[GW_PROBE_RECORD];
        size_t out_left, in_have;
        uint64_t sent, verified, held_back; /* held_back: due, but the socket took nothing */
        uint64_t rtt_min_ns, rtt_max_ns, rtt_sum_ns;
        struct gw_gaps stalls;
        bool broken;
        char reason[80];
};

struct gw_stream {
        const struct gw_stream_ops *ops;
        struct gw_endpoint to;
        int fd;
        uint32_t id, rate;
        unsigned size;
        bool one_way;
        uint64_t interval_ns, due_ns; /* due_ns: monotonic */
        struct gw_track track;        /* UDP; one way: of what comes from the peer */
        uint64_t one_way_sent, send_errors, dropped_here;
        uint32_t dropped_last;
        bool have_result;
        struct gw_probe_result result; /* what the peer says of what we sent, and how much it sent */
        struct gw_tcp_state tcp;
};

extern const struct gw_stream_ops gw_udp_stream_ops, gw_tcp_stream_ops;

void gw_stream_deinit(struct gw_stream *stream);

/* Shared with the serving side. netns may be NULL: stay where we are. */
int gw_probe_enter(const char *netns, struct gw_error *error);
socklen_t gw_probe_sockaddr(const struct gw_endpoint *to, struct sockaddr_storage *out);
int gw_probe_udp_tune(int fd); /* long queues, stamps, overflow counter */
/* One datagram with the kernel's time of reception (wall clock) and its overflow count: -EAGAIN when none. */
struct gw_datagram {
        uint8_t bytes[GW_PROBE_SIZE_MAX];
        size_t size;
        uint64_t at_ns;
        uint32_t dropped;
        bool has_dropped;
        struct sockaddr_storage from;
        socklen_t from_size;
        struct in6_pktinfo to; /* where it was sent to; only on sockets that ask for it */
};
int gw_probe_udp_read(int fd, struct gw_datagram *out);

/* UDP, before the start: GW_E_AGAIN when nobody answered in time. */
int gw_udp_stream_hello(struct gw_stream *stream, unsigned wait_ms);
/* One way, after the end: asks for the peer's figures. */
void gw_udp_stream_ask_result(struct gw_stream *stream);

/* The whole report. started_ns and ended_ns: wall clock. */
json_t *gw_probe_report(struct gw_stream *streams, size_t n, uint64_t started_ns, uint64_t ended_ns);
void gw_probe_report_text(json_t *report, FILE *out);
/* Nothing lost, duplicated or broken. */
bool gw_probe_report_clean(json_t *report);
