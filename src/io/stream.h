/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes both ways between two processes: TLS over TCP, or a unix socket that
 * also carries descriptors. Private to src/io; sessions are built on it.
 *
 * The user looks at the fields marked so whenever `changed` is called, which is
 * always the last thing a stream does before it returns to the loop, so that the
 * user may free the stream there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/addr.h"
#include "io/loop.h"
#include "io/poll.h"

struct gw_tls;
struct ssl_st;

enum {
        GW_STREAM_FDS_MAX = 64, /* received and not taken yet */
        GW_STREAM_REASON_SIZE = 192,
};

/* A received descriptor, and between which octets of the stream the one it came with lies. */
struct gw_stream_fd {
        uint64_t from, to;
        int fd;
};

struct gw_stream {
        /* for the user to read */
        bool up;    /* connected, and over TLS the peer's certificate is good */
        bool ended; /* no more will be read or written, because: */
        char reason[GW_STREAM_REASON_SIZE];
        char peer[GW_NAME_MAX + 1]; /* common name; "unix" */
        struct gw_wall peer_until;  /* the end of its certificate */
        uint8_t *in;                /* octets received; taken with gw_stream_consume */
        size_t in_at, in_size;      /* in[in_at .. in_size) are not taken yet */
        uint64_t consumed;          /* octets taken since the beginning */
        size_t queued;              /* octets waiting to be written */
        uint64_t received;          /* octets, since the beginning */

        struct gw_loop *loop;
        void (*changed)(void *user);
        void *user;
        int fd;
        bool connecting, finishing, want_write, held;
        struct ssl_st *ssl;
        struct gw_watch watch;
        size_t in_capacity;
        struct gw_list out; /* of struct chunk */
        struct gw_flush flush;
        struct gw_stream_fd fds[GW_STREAM_FDS_MAX];
        size_t n_fds;
        struct gw_orphan orphan;
        struct gw_timer *linger;
};

/* Takes over fd, also on failure. tls NULL: a unix socket. `connecting`: a connect that is under way. */
int gw_stream_new(struct gw_stream **out, struct gw_loop *loop, int fd, bool connecting, struct gw_tls *tls,
                  bool server, const char *server_name, void (*changed)(void *user), void *user);
void gw_stream_free(struct gw_stream *stream);
/* Lets go of it: what is queued is still written, within a second, then it frees itself. */
void gw_stream_finish(struct gw_stream *stream);

/* Copies all parts or none; written at the flush step. fds (unix only) are duplicated and travel with the first octet. */
int gw_stream_write(struct gw_stream *stream, const struct iovec *parts, size_t n_parts, const int *fds, size_t n_fds);
void gw_stream_consume(struct gw_stream *stream, size_t n);
void gw_stream_hold(struct gw_stream *stream, bool hold); /* held: nothing more is read */
/* Makes room, so that a frame of that many octets can be received. -ENOMEM. */
int gw_stream_reserve(struct gw_stream *stream, size_t size);
/* The next descriptor that came with the octet at that place of the stream, -1 when there is none. */
int gw_stream_take_fd(struct gw_stream *stream, uint64_t at);
/* True when a descriptor came with an octet before `at` and nobody took it. */
bool gw_stream_has_stray_fd(const struct gw_stream *stream, uint64_t at);
