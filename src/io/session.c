/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session's life: a stream becomes up, the session open, frames come, the
 * stream ends. Accepted sessions end with their stream; dialled ones wait for
 * dial.c to give them the next.
 *
 * Who may call back when: everything that calls the user runs from the loop
 * (the stream's `changed`, the tick, the post) and holds a reference, because
 * the user may free the session inside any callback. After each callback
 * `freed` and the stream are looked at again. gw_session_* functions only queue,
 * or note and post.
 *
 * Silence: ping after PING_S without an octet; the end after LOST_S, but never
 * before PING_S have passed since a ping, so that a process that was itself
 * stopped does not take its own sleep for the peer's.
 */
#include "io/session_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "io/socket.h"
#include "wire/frame.h"

enum {
        OPENING_S = 10,
        HANDSHAKE_S = 5, /* of a stranger who dialled us */
        PING_S = 5,
        TICK_ACCURACY_US = 1000,
        TURN_FRAMES = 1024, /* of one session; then it is the others' turn */
        DEBT_MS = 1000,     /* what is charged is no more than this; a peer that waits longer seems dead */
        CREDIT_MS = 50,     /* as many frames as may come in this time may come at once */
};

static const struct gw_session_ops no_ops;

void gw_session_ref(struct gw_session *s) {
        assert(s->refs > 0);
        s->refs++;
}

/* The analyzer does not count references across the user's callbacks. NOLINTBEGIN(clang-analyzer-unix.Malloc) */
void gw_session_unref(struct gw_session *s) {
        assert(s->refs > 0);
        if (--s->refs > 0)
                return;
        gw_loop_cancel_post(&s->post);
        gw_loop_cancel_post(&s->turn);
        gw_session_calls_drop(s);
        gw_dial_free(s->dial);
        free(s);
}

bool gw_session_is_open(const struct gw_session *s) {
        return s->open && !s->closing;
}

const char *gw_session_peer(const struct gw_session *s) {
        return s->peer;
}

struct gw_wall gw_session_peer_until(const struct gw_session *s) {
        return s->stream ? s->stream->peer_until : (struct gw_wall){0};
}

void gw_session_set_user(struct gw_session *s, void *user) {
        s->user = user;
}

void *gw_session_user(const struct gw_session *s) {
        return s->user;
}

uint32_t gw_session_next_id(struct gw_session *s) {
        if (++s->next_id == 0) /* 0 is "no answer due" */
                s->next_id = 1;
        return s->next_id;
}

int gw_session_send_with_fds(struct gw_session *s, uint8_t type, uint32_t id, const void *body, size_t size,
                             const int *fds, size_t n_fds) {
        struct gw_frame_header header = {(uint32_t)(GW_FRAME_HEADER_SIZE + size), GW_FRAME_VERSION, type, id};
        uint8_t head[GW_FRAME_HEADER_SIZE];
        struct gw_writer w = gw_writer(head, sizeof head);
        struct iovec parts[] = {{head, sizeof head}, {(void *)(uintptr_t)body, size}};

        if (!gw_session_is_open(s))
                return -ENOTCONN;
        if (size > GW_FRAME_MAX - GW_FRAME_HEADER_SIZE)
                return -EMSGSIZE;
        if (s->stream->queued + size > GW_SESSION_QUEUE_MAX) {
                gw_session_end_later(s, "the peer does not read: %zu octets wait", s->stream->queued);
                return -ENOBUFS;
        }
        gw_frame_header_encode(&w, &header);
        s->bye_sent |= type == GW_FRAME_BYE;
        return gw_stream_write(s->stream, parts, 2, fds, n_fds);
}

int gw_session_send(struct gw_session *s, uint8_t type, uint32_t id, const void *body, size_t size) {
        return gw_session_send_with_fds(s, type, id, body, size, NULL, 0);
}

static void send_ping(struct gw_session *s, struct gw_mono now) {
        s->pinged = now;
        gw_session_send(s, GW_FRAME_PING, 0, NULL, 0);
}

static void send_bye(struct gw_session *s, const char *reason) {
        uint8_t frame[GW_FRAME_HEADER_SIZE + 512];
        struct gw_writer w = gw_writer(frame, sizeof frame);
        struct iovec part = {frame, gw_bye_encode(&w, reason)};

        if (part.iov_len && !s->bye_sent)
                gw_stream_write(s->stream, &part, 1, NULL, 0);
}

void gw_session_end_later(struct gw_session *s, const char *format, ...) {
        va_list args;

        if (s->closing || !s->stream)
                return;
        s->closing = true;
        va_start(args, format);
        vsnprintf(s->reason, sizeof s->reason, format, args);
        va_end(args);
        gw_loop_post(s->loop, &s->post);
}

void gw_session_close(struct gw_session *s, const char *reason) {
        if (s->open && !s->closing)
                send_bye(s, reason);
        gw_session_end_later(s, "%s", reason);
}

static void opened(struct gw_session *s) {
        s->open = true;
        s->since = gw_mono_now();
        s->bye_sent = false;
        if (s->ops->opened)
                s->ops->opened(s, s->user);
}

static void on_bye(struct gw_session *s, const uint8_t *body, size_t size) {
        char reason[160];

        if (gw_bye_decode(body, size, reason, sizeof reason) == 0)
                snprintf(s->reason, sizeof s->reason, "the peer ended it: %s", reason);
}

/* False: malformed. */
static bool take(struct gw_session *s, const struct gw_frame_header *header, const uint8_t *body, size_t size) {
        switch (header->type) {
        case GW_FRAME_CALL:
                return gw_session_on_call(s, header->id, body, size);
        case GW_FRAME_ANSWER:
                return gw_session_on_answer(s, header->id, body, size);
        case GW_FRAME_EVENT:
                return gw_session_on_event(s, body, size);
        case GW_FRAME_PING:
                gw_session_send(s, GW_FRAME_PONG, header->id, NULL, 0);
                return true;
        case GW_FRAME_PONG:
                return true;
        case GW_FRAME_BYE:
                on_bye(s, body, size);
                break;
        }
        if (s->ops->frame)
                s->ops->frame(s, header->type, header->id, body, size, s->user);
        return true;
}

/* True when a frame was taken and there may be another. */
static bool take_frame(struct gw_session *s) {
        struct gw_stream *stream = s->stream;
        const uint8_t *frame = stream->in + stream->in_at;
        size_t size = stream->in_size - stream->in_at;
        struct gw_frame_header header;
        int r = size < GW_FRAME_HEADER_SIZE ? GW_E_AGAIN : gw_frame_header_decode(frame, size, &header);

        if (r == GW_E_AGAIN)
                return false;
        if (r != 0) {
                gw_session_end_later(s, "malformed frame: the header is %02x%02x%02x%02x %02x %02x %02x%02x", frame[0],
                                     frame[1], frame[2], frame[3], frame[4], frame[5], frame[6], frame[7]);
                return false;
        }
        if (size < header.length) {
                if (gw_stream_reserve(stream, header.length) < 0)
                        gw_session_end_later(s, "out of memory");
                return false;
        }
        if (!s->open)
                opened(s);
        if (s->stream != stream || s->closing)
                return false;
        if (!take(s, &header, frame + GW_FRAME_HEADER_SIZE, header.length - GW_FRAME_HEADER_SIZE))
                gw_session_end_later(s, "malformed frame of type %u with %u octets", header.type, header.length);
        if (s->stream != stream)
                return false;
        if (gw_stream_has_stray_fd(stream, stream->consumed + header.length))
                gw_session_end_later(s, "a descriptor came that no call has");
        gw_stream_consume(stream, header.length);
        return !s->closing;
}

/* A whole frame, or one that is refused. */
static bool has_frame(const struct gw_session *s) {
        const struct gw_stream *stream = s->stream;
        size_t size = stream->in_size - stream->in_at;
        struct gw_frame_header header;

        if (size < GW_FRAME_HEADER_SIZE)
                return false;
        return gw_frame_header_decode(stream->in + stream->in_at, size, &header) != 0 || size >= header.length;
}

static void hear(struct gw_session *s) {
        if (s->stream->received == s->heard_octets)
                return;
        s->heard_octets = s->stream->received;
        s->heard = gw_mono_now();
        s->pinged.ns = 0;
}

void gw_session_charge(struct gw_session *s, uint64_t frames) {
        unsigned per_s = gw_listener_frames_per_s(s);

        if (!per_s)
                return;
        s->debt += frames;
        if (s->debt > (uint64_t)per_s * DEBT_MS / 1000)
                s->debt = (uint64_t)per_s * DEBT_MS / 1000;
        if (s->debt <= s->credit) {
                s->credit -= s->debt;
                s->debt = 0;
        } else {
                s->debt -= s->credit;
                s->credit = 0;
                s->credit_at = gw_mono_now(); /* what it did not use before pays for nothing */
        }
}

/* True when a frame may be taken. Frames are counted, not octets: a small one costs the most for its size. */
static bool has_credit(struct gw_session *s, unsigned per_s) {
        uint64_t most = (uint64_t)per_s * CREDIT_MS / 1000 + 2, earned;
        struct gw_mono now;

        if (!per_s || s->credit) {
                s->credit -= per_s != 0;
                return true;
        }
        now = gw_mono_now();
        earned = gw_mono_between(s->credit_at, now).ns / 1000 * per_s / 1000000;
        if (earned < s->debt + most / 2 && s->credit_at.ns) {
                s->resume = gw_mono_after(now, gw_ms(CREDIT_MS / 2));
                gw_listener_paused(s);
                return false;
        }
        earned -= s->debt < earned ? s->debt : earned;
        s->debt = 0;
        s->credit_at = now;
        s->credit = (earned < most && earned ? earned : most) - 1;
        return true;
}

/* Takes frames until there is none, or it is the others' turn. What is left waits, and the socket with it. */
static void take_turn(struct gw_session *s, struct gw_stream *stream) {
        unsigned per_s = gw_listener_frames_per_s(s), n = 0;

        s->more = false;
        s->resume.ns = 0;
        while (s->stream == stream && !s->closing && !s->more) {
                if (n == TURN_FRAMES || (has_frame(s) && !has_credit(s, per_s)))
                        s->more = true;
                else if (!take_frame(s))
                        break;
                n++;
        }
        if (s->stream != stream)
                return;
        gw_stream_hold(stream, s->more);
        if (s->more && !s->resume.ns)
                gw_loop_rest(s->loop, &s->turn);
        else if (s->more)
                gw_session_arm(s);
}

static void on_stream(void *user) {
        struct gw_session *s = user;
        struct gw_stream *stream = s->stream;

        gw_session_ref(s);
        hear(s);
        if (stream->up && !s->open && !s->closing) {
                strcpy(s->peer, stream->peer);
                if (!s->dial && !gw_listener_admit(s)) {
                        gw_session_end_later(s, "too many sessions of %s", s->peer);
                } else if (!s->dial) {
                        opened(s);
                        if (s->stream == stream)
                                send_ping(s, gw_mono_now());
                        gw_session_arm(s);
                }
        }
        take_turn(s, stream);
        if (s->stream == stream && s->open && s->ops->settled)
                s->ops->settled(s, s->user);
        /* `closing` has its own reason and comes with the post. */
        if (s->stream == stream && stream->ended && !s->closing && !s->more)
                gw_session_end(s, s->reason[0] ? s->reason : stream->reason);
        gw_session_unref(s);
}

int gw_session_attach(struct gw_session *s, int fd, bool connecting, struct gw_tls *tls, const char *server_name) {
        int r = gw_stream_new(&s->stream, s->loop, fd, connecting, tls, !s->dial, server_name, on_stream, s);

        if (r < 0)
                return r;
        s->generation++;
        s->closing = false;
        s->reason[0] = 0;
        s->heard_octets = 0;
        s->since = s->heard = gw_mono_now();
        s->pinged.ns = 0;
        s->more = false;
        s->resume.ns = 0;
        gw_session_arm(s);
        if (s->stream->up) /* a unix socket is up at once; nothing will change */
                gw_loop_post(s->loop, &s->post);
        return 0;
}

/* An owner that is gone has no callbacks; what is left waits, an orphan, for the lost calls to be answered. */
static void let_go(struct gw_session *s) {
        s->freed = true;
        s->ops = &no_ops;
        s->api = NULL;
        s->user = NULL;
        s->tick = sd_event_source_disable_unref(s->tick);
        gw_listener_leave(s);
        gw_list_remove(&s->link);
        gw_session_calls_lose(s);
        if (gw_list_empty(&s->lost)) {
                gw_loop_cancel_post(&s->post);
                gw_session_unref(s);
                return;
        }
        gw_loop_adopt(s->loop, &s->orphan);
        gw_loop_post(s->loop, &s->post);
}

static void log_end(struct gw_session *s, bool was_open, const char *reason) {
        if (was_open)
                gw_log_limited(GW_NOTICE, 20, "session with %s ended: %s", s->peer, reason);
        else if (!s->dial) /* dial.c tells its own failures */
                gw_log_limited(GW_NOTICE, 20, "a connection was not accepted: %s", reason);
}

void gw_session_end(struct gw_session *s, const char *why) {
        bool was_open = s->open;
        struct gw_duration open_for = gw_mono_between(s->since, gw_mono_now());
        char reason[GW_STREAM_REASON_SIZE];

        gw_session_ref(s);
        snprintf(reason, sizeof reason, "%s", why); /* why may lie in what is freed now */
        gw_stream_finish(s->stream);
        s->stream = NULL;
        s->open = s->closing = false;
        s->generation++;
        log_end(s, was_open, reason);
        gw_session_calls_lose(s);
        gw_session_calls_answer_lost(s);
        if (was_open && s->ops->closed)
                s->ops->closed(s, reason, s->user);
        if (!s->freed && s->dial) {
                gw_dial_again(s, was_open, open_for, reason);
                gw_session_arm(s);
        } else if (!s->freed) {
                let_go(s);
        }
        gw_session_unref(s);
}

static void on_post(struct gw_post *post) {
        struct gw_session *s = gw_container_of(post, struct gw_session, post);

        gw_session_ref(s);
        gw_session_calls_answer_lost(s);
        if (s->freed) {
                if (gw_list_linked(&s->orphan.link) && gw_list_empty(&s->lost)) {
                        gw_loop_release(&s->orphan);
                        gw_session_unref(s);
                }
        } else if (s->closing && s->stream) {
                gw_session_end(s, s->reason);
        } else if (s->stream && s->stream->up && !s->open) {
                on_stream(s);
        }
        gw_session_unref(s);
}

static void on_turn(struct gw_post *post) {
        struct gw_session *s = gw_container_of(post, struct gw_session, turn);

        gw_session_ref(s);
        if (!s->freed && !s->closing && s->stream && s->more)
                on_stream(s);
        gw_session_unref(s);
}

static void drop(struct gw_orphan *orphan) {
        gw_session_unref(gw_container_of(orphan, struct gw_session, orphan));
}

void gw_session_free(struct gw_session *s) {
        if (!s)
                return;
        gw_stream_free(s->stream);
        s->stream = NULL;
        s->open = s->closing = false;
        s->generation++;
        let_go(s);
}

static struct gw_mono earlier(struct gw_mono a, struct gw_mono b) {
        return a.ns == 0 || (b.ns != 0 && b.ns < a.ns) ? b : a;
}

static struct gw_mono later(struct gw_mono a, struct gw_mono b) {
        return a.ns > b.ns ? a : b;
}

static struct gw_mono silence_due(const struct gw_session *s) {
        if (!s->open)
                return gw_mono_after(s->since, gw_s(s->dial ? OPENING_S : HANDSHAKE_S));
        return gw_mono_after(later(s->heard, s->pinged), gw_s(PING_S));
}

void gw_session_arm(struct gw_session *s) {
        struct gw_mono due = s->calls_due;

        if (s->freed)
                return;
        if (s->stream)
                due = earlier(earlier(due, silence_due(s)), s->resume);
        else if (s->dial)
                due = earlier(due, s->dial->due);
        if (due.ns == 0) {
                sd_event_source_set_enabled(s->tick, SD_EVENT_OFF);
                return;
        }
        sd_event_source_set_time(s->tick, due.ns / GW_NS_PER_US);
        sd_event_source_set_enabled(s->tick, SD_EVENT_ONESHOT);
}

static void check_silence(struct gw_session *s, struct gw_mono now) {
        if (!gw_mono_reached(now, silence_due(s)))
                return;
        if (!s->open)
                gw_session_end(s, "nothing heard from the peer since connecting");
        else if (s->pinged.ns && gw_mono_between(s->heard, now).ns >= gw_ms(GW_PEER_LOST_MS).ns)
                gw_session_end(s, "nothing heard from the peer for 15 s");
        else
                send_ping(s, now);
}

static int on_tick(sd_event_source *source, uint64_t due_us, void *user) {
        struct gw_session *s = user;
        struct gw_mono now = gw_mono_now();

        (void)source;
        (void)due_us;
        gw_session_ref(s);
        gw_session_calls_tick(s, now);
        if (!s->freed && s->stream && !s->closing && gw_mono_reached(now, s->resume))
                on_stream(s);
        if (!s->freed && s->stream && !s->closing)
                check_silence(s, now);
        if (!s->freed && s->dial && !s->stream && gw_mono_reached(now, s->dial->due))
                gw_dial_attempt(s);
        gw_session_arm(s);
        gw_session_unref(s);
        return 0;
}

int gw_session_new(struct gw_session **out, struct gw_loop *loop, const struct gw_session_ops *ops,
                   const struct gw_api *api, void *user) {
        struct gw_session *s = calloc(1, sizeof *s);
        int r;

        if (!s)
                return -ENOMEM;
        s->refs = 1;
        s->loop = loop;
        s->ops = ops ? ops : &no_ops;
        s->api = api;
        s->user = user;
        s->post.run = on_post;
        s->turn.run = on_turn;
        s->orphan.drop = drop;
        gw_list_init(&s->calls);
        gw_list_init(&s->lost);
        r = sd_event_add_time(loop->event, &s->tick, CLOCK_MONOTONIC, UINT64_MAX, TICK_ACCURACY_US, on_tick, s);
        if (r < 0) {
                free(s);
                return r;
        }
        sd_event_source_set_enabled(s->tick, SD_EVENT_OFF);
        *out = s;
        return 0;
}
/* NOLINTEND(clang-analyzer-unix.Malloc) */
