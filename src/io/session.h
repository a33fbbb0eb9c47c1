/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session: frames (wire/frame.h) over a byte stream, both ways, in order.
 *
 * Three uses, one code: NVE to NVA and HV to NVA over TLS 1.3 with client
 * certificates, HV to its own NVE over a unix socket (no TLS; the peer's
 * credentials are checked; descriptors may travel with a call).
 *
 * On top of frames lie calls: a CALL carries method, path and a JSON body, an
 * ANSWER carries an HTTP status and a JSON body, and an EVENT is a one-way JSON
 * message. Either side may call the other. The routes that serve calls are the
 * ones that serve HTTP (io/api.h).
 *
 * The end that accepted speaks first (a PING), and the one that dialled counts
 * the session as open when it hears that: under TLS 1.3 a dialler could otherwise
 * not tell a session from one that is about to be refused. A PING goes out after
 * 5 s in which nothing was heard, and after 15 s the session ends.
 *
 * Nothing leaves before it may: frames are queued, and written when the loop
 * comes to the flush step (io/loop.h), which a daemon with a store runs after
 * its commit. A session that has sent much at once is served a part of it a turn, so
 * that others come to their turn; meanwhile it is not read. A frame of more than GW_FRAME_MAX octets, an unknown version, or
 * a peer that does not read (GW_SESSION_QUEUE_MAX octets waiting) ends the
 * session with one logged reason.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/addr.h"
#include "base/time.h"

struct gw_api;
struct gw_error;
struct gw_loop;
struct gw_session;
struct gw_tls; /* io/tls.h: certificates of one end, shared by its sessions */

enum {
        GW_SESSION_QUEUE_MAX = 64 << 20, /* octets waiting to be written to one peer */
        GW_SESSION_FDS_MAX = 8,          /* descriptors with one call */
};

/* What a user of sessions implements. Any member may be NULL. Callbacks come
 * from the event loop, never from inside a gw_session_* function. */
struct gw_session_ops {
        /* The stream is up and, over TLS, both ends have accepted the other's certificate. */
        void (*opened)(struct gw_session *session, void *user);
        /* One whole frame that is not CALL, ANSWER, EVENT, PING or PONG. body is valid during the call. */
        void (*frame)(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                      void *user);
        void (*event)(struct gw_session *session, json_t *event, void *user);
        /* The session has ended; outstanding calls were answered with status 503 before
         * this. An accepted session is freed by the library afterwards; a dialled one reconnects. */
        void (*closed)(struct gw_session *session, const char *reason, void *user);
        /* The frames that had come are through: what can be done better for several at once is due now. */
        void (*settled)(struct gw_session *session, void *user);
};

/* A listening end. Each accepted session gets its own .user by gw_session_set_user. */
struct gw_listener;
int gw_listener_new_tls(struct gw_listener **out, struct gw_loop *loop, const struct gw_endpoint *at,
                        struct gw_tls *tls, const struct gw_session_ops *ops, const struct gw_api *api, void *user);
int gw_listener_new_unix(struct gw_listener **out, struct gw_loop *loop, const char *path,
                         const struct gw_session_ops *ops, const struct gw_api *api, void *user);
/* How much a listening end over TLS takes upon itself; 0 is no bound. It begins with those of GW_LISTENER_LIMITS. */
struct gw_listener_limits {
        unsigned handshakes, handshakes_per_address; /* under way at a time */
        unsigned sessions_per_address;               /* not of loopback, as is the one before */
        unsigned sessions_per_name;                  /* of one certificate's name */
        unsigned frames_per_s;                       /* of one session; what comes faster waits in the socket */
};
#define GW_LISTENER_LIMITS                                                                                             \
        ((struct gw_listener_limits){.handshakes = 256, .handshakes_per_address = 64, .sessions_per_name = 8})
struct gw_listener_counts {
        uint64_t sessions, opening; /* now; opening: in their handshakes */
        uint64_t refused_address, refused_name, handshakes_failed, gave_way;
        uint64_t paused; /* turns in which a session had used up its frames */
};
void gw_listener_limit(struct gw_listener *listener, const struct gw_listener_limits *limits);
struct gw_listener_counts gw_listener_counts(const struct gw_listener *listener);
void gw_listener_free(struct gw_listener *listener);                         /* its sessions end without `closed` */
struct gw_endpoint gw_listener_endpoint(const struct gw_listener *listener); /* what it is bound to; TCP only */

/* A dialled session keeps trying: at once, then after 100 ms doubled up to 5 s,
 * each with half of it as jitter. With several endpoints they are tried in turn. Over a unix socket every 50 ms at most. */
int gw_session_dial_tls(struct gw_session **out, struct gw_loop *loop, const struct gw_endpoint *to, size_t n_to,
                        const char *server_name, struct gw_tls *tls, const struct gw_session_ops *ops,
                        const struct gw_api *api, void *user);
int gw_session_dial_unix(struct gw_session **out, struct gw_loop *loop, const char *path,
                         const struct gw_session_ops *ops, const struct gw_api *api, void *user);
/* Stops for good, without `closed`; outstanding calls are still answered (503), later. */
void gw_session_free(struct gw_session *session);
/* Says BYE with the reason; `closed` comes after this turn of the loop. A dialled session connects again. */
void gw_session_close(struct gw_session *session, const char *reason);

bool gw_session_is_open(const struct gw_session *session);
const char *gw_session_peer(const struct gw_session *session); /* the certificate's common name; "unix" otherwise */
struct gw_wall gw_session_peer_until(const struct gw_session *session); /* the end of its certificate; 0: not known */
void gw_session_set_user(struct gw_session *session, void *user);
void *gw_session_user(const struct gw_session *session);

/* Queues one frame. The body is copied. -ENOTCONN when closed, -EMSGSIZE, -ENOBUFS. */
int gw_session_send(struct gw_session *session, uint8_t type, uint32_t id, const void *body, size_t size);
/* What the peer has asked for cost as much as so many more frames: where frames are bounded, it waits for as long. */
void gw_session_charge(struct gw_session *session, uint64_t frames);
uint32_t gw_session_next_id(struct gw_session *session);
int gw_session_send_event(struct gw_session *session, json_t *event); /* takes over the reference */

/* status: an HTTP status; 503 session lost, 504 no answer in time. body may be NULL; borrowed. */
typedef void (*gw_call_done)(int status, json_t *body, void *user);

/* Calls the peer. `body` (may be NULL) is taken over. `done` is called exactly
 * once, later, also when the session is down now (then with 503). A body that no frame
 * holds is answered with 413. A deadline of 0 is none. fds are duplicated; only on unix sessions. */
void gw_call(struct gw_session *session, const char *method, const char *path, json_t *body,
             struct gw_duration deadline, gw_call_done done, void *user);
void gw_call_with_fds(struct gw_session *session, const char *method, const char *path, json_t *body, const int *fds,
                      size_t n_fds, struct gw_duration deadline, gw_call_done done, void *user);
