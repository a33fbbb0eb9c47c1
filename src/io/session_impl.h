/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a session, shared by session.c, call.c, dial.c and listen.c, and by nobody else. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "io/admit.h"
#include "io/loop.h"
#include "io/session.h"
#include "io/stream.h"

/* Where a dialled session connects to, and when next. */
struct gw_dial {
        char *path; /* unix; otherwise: */
        struct gw_endpoint *to;
        size_t n_to, next;
        char *server_name;
        struct gw_tls *tls;
        struct gw_mono due; /* 0: connected or connecting */
        uint32_t backoff_ms;
        size_t tries; /* in this round over all endpoints */
        char last_reason[GW_STREAM_REASON_SIZE];
};

struct gw_session {
        unsigned refs; /* owner, served requests, callbacks that are running */
        bool open;     /* `opened` was called and `closed` was not */
        bool closing;  /* ends in this turn's post, for .reason */
        bool freed;    /* the owner is gone */
        bool bye_sent;
        uint32_t generation; /* of the connection: an answer must not reach the next one */
        uint32_t next_id;
        struct gw_loop *loop;
        struct gw_stream *stream; /* NULL while down */
        uint64_t heard_octets;
        struct gw_mono since;  /* the present stream was made, then: became open */
        struct gw_mono heard;  /* the last octet */
        struct gw_mono pinged; /* 0: not since the last octet */
        const struct gw_session_ops *ops;
        const struct gw_api *api;
        void *user;
        struct gw_dial *dial; /* NULL: accepted */
        struct gw_list link;  /* of the listener, for accepted ones */
        struct gw_listener *listener;
        struct gw_admitted admitted;
        bool more;                        /* frames that have come wait for a later turn */
        uint64_t credit;                  /* frames that may be taken now, where the listener bounds them */
        uint64_t debt;                    /* and so many are to be earned before there is credit again */
        struct gw_mono credit_at, resume; /* resume: when there is credit again; 0: not waiting */
        struct gw_list calls;             /* outstanding; of struct call */
        struct gw_mono calls_due;         /* not after the first deadline of these; 0: there is none */
        struct gw_list lost;              /* calls to be answered without the peer, in the post */
        size_t served;                    /* requests of the peer that are not answered */
        struct gw_post post;
        struct gw_post turn; /* the rest of what has come */
        struct gw_orphan orphan;
        sd_event_source *tick;
        char peer[GW_NAME_MAX + 1];
        char reason[GW_STREAM_REASON_SIZE];
};

int gw_session_new(struct gw_session **out, struct gw_loop *loop, const struct gw_session_ops *ops,
                   const struct gw_api *api, void *user);
void gw_session_ref(struct gw_session *s);
void gw_session_unref(struct gw_session *s);
/* Gives it a connection; takes over fd. */
int gw_session_attach(struct gw_session *s, int fd, bool connecting, struct gw_tls *tls, const char *server_name);
/* Ends the connection. From the loop only: it calls back. */
void gw_session_end(struct gw_session *s, const char *reason);
/* Ends it from anywhere, in this turn's post. */
void gw_session_end_later(struct gw_session *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
void gw_session_arm(struct gw_session *s); /* sets the timer to what is due first */
int gw_session_send_with_fds(struct gw_session *s, uint8_t type, uint32_t id, const void *body, size_t size,
                             const int *fds, size_t n_fds);

/* call.c. The first three return false when the frame is malformed. */
bool gw_session_on_call(struct gw_session *s, uint32_t id, const uint8_t *body, size_t size);
bool gw_session_on_answer(struct gw_session *s, uint32_t id, const uint8_t *body, size_t size);
bool gw_session_on_event(struct gw_session *s, const uint8_t *body, size_t size);
void gw_session_calls_tick(struct gw_session *s, struct gw_mono now);
void gw_session_calls_lose(struct gw_session *s); /* all outstanding ones become lost */
void gw_session_calls_answer_lost(struct gw_session *s);
void gw_session_calls_drop(struct gw_session *s); /* with the loop: without answering */

/* listen.c */
bool gw_listener_admit(struct gw_session *s); /* its peer is known; false: one too many */
void gw_listener_leave(struct gw_session *s);
unsigned gw_listener_frames_per_s(const struct gw_session *s); /* 0: no bound */
void gw_listener_paused(struct gw_session *s);

/* dial.c */
void gw_dial_attempt(struct gw_session *s);
void gw_dial_again(struct gw_session *s, bool was_open, struct gw_duration open_for, const char *reason);
void gw_dial_free(struct gw_dial *dial);
