/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listening ends. A listener owns the sessions it accepted until they end by
 * themselves. Over a unix socket only our own user and root are let in; over TLS
 * the certificate decides, in the handshake. When the process has no descriptors
 * left, or too many handshakes are under way (io/admit.h), accepting pauses for a
 * while instead of spinning.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "io/admit.h"
#include "io/session_impl.h"
#include "io/socket.h"
#include "io/tls.h"

enum { ACCEPT_TURN = 64, ACCEPT_PAUSE_MS = 100, FULL_PAUSE_MS = 5, SOCKET_MODE = 0660 };

struct gw_listener {
        struct gw_loop *loop;
        int fd;
        char *path; /* unix */
        struct gw_tls *tls;
        const struct gw_session_ops *ops;
        const struct gw_api *api;
        void *user;
        sd_event_source *source;
        struct gw_timer *pause;
        struct gw_list sessions;
        struct gw_admission admission; /* over TLS */
};

static void on_pause_over(void *user) {
        struct gw_listener *listener = user;

        gw_timer_free(listener->pause);
        listener->pause = NULL;
        sd_event_source_set_enabled(listener->source, SD_EVENT_ON);
}

static void pause_for(struct gw_listener *listener, uint64_t ms) {
        if (!listener->pause && gw_timer_new(&listener->pause, listener->loop, gw_ms(ms), (struct gw_duration){0},
                                             on_pause_over, listener) == 0)
                sd_event_source_set_enabled(listener->source, SD_EVENT_OFF);
}

static void pause_accepting(struct gw_listener *listener, int fault) {
        gw_log_limited(GW_ERR, 2, "cannot accept a connection: %s", strerror(-fault));
        pause_for(listener, ACCEPT_PAUSE_MS);
}

/* True when one more handshake may begin. */
static bool make_room(struct gw_listener *listener) {
        struct gw_admission *a = &listener->admission;
        struct gw_admitted *slow;

        if (!listener->tls || !gw_admission_is_full(a))
                return true;
        slow = gw_admission_slowest(a, gw_mono_now());
        if (!slow) {
                pause_for(listener, FULL_PAUSE_MS);
                return false;
        }
        a->counts.gave_way++;
        gw_session_end(gw_container_of(slow, struct gw_session, admitted), "a slow handshake gave way to others");
        return true;
}

bool gw_listener_admit(struct gw_session *s) {
        return !s->listener || !s->listener->tls || gw_admission_named(&s->listener->admission, &s->admitted, s->peer);
}

void gw_listener_leave(struct gw_session *s) {
        if (s->listener)
                gw_admission_leave(&s->listener->admission, &s->admitted);
        s->listener = NULL;
}

unsigned gw_listener_frames_per_s(const struct gw_session *s) {
        return s->listener ? s->listener->admission.limits.frames_per_s : 0;
}

void gw_listener_paused(struct gw_session *s) {
        s->listener->admission.counts.paused++;
}

void gw_listener_limit(struct gw_listener *listener, const struct gw_listener_limits *limits) {
        listener->admission.limits = *limits;
}

struct gw_listener_counts gw_listener_counts(const struct gw_listener *listener) {
        return listener->admission.counts;
}

static bool enter(struct gw_listener *listener, struct gw_session *s, int fd) {
        struct gw_endpoint from = {0};

        s->listener = listener;
        if (!listener->tls)
                return true;
        gw_socket_peer(fd, &from);
        return gw_admission_enter(&listener->admission, &s->admitted, from.ip, gw_mono_now());
}

static void accepted(struct gw_listener *listener, int fd) {
        struct gw_session *s;
        int r = listener->tls ? 0 : gw_socket_permit(fd);

        if (r < 0) {
                gw_log_limited(GW_NOTICE, 5, "a connection to %s is refused: it comes from another user",
                               listener->path);
                close(fd);
                return;
        }
        r = gw_session_new(&s, listener->loop, listener->ops, listener->api, listener->user);
        if (r < 0) {
                close(fd);
        } else if (!enter(listener, s, fd)) {
                gw_log_limited(GW_NOTICE, 5, "a connection is refused: there are many of its address");
                close(fd);
                gw_session_free(s);
        } else {
                r = gw_session_attach(s, fd, false, listener->tls, NULL);
                if (r < 0)
                        gw_session_free(s);
                else
                        gw_list_append(&listener->sessions, &s->link);
        }
        if (r < 0)
                gw_log_limited(GW_ERR, 2, "cannot serve a connection: %s", strerror(-r));
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct gw_listener *listener = user;

        (void)source;
        (void)revents;
        for (int i = 0; i < ACCEPT_TURN && make_room(listener); i++) {
                int peer = gw_socket_accept(fd);

                if (peer == -EAGAIN)
                        break;
                if (peer == -EMFILE || peer == -ENFILE || peer == -ENOMEM || peer == -ENOBUFS) {
                        pause_accepting(listener, peer);
                        break;
                }
                if (peer >= 0) /* others are faults of that one connection */
                        accepted(listener, peer);
        }
        return 0;
}

static int start(struct gw_listener **out, struct gw_loop *loop, int fd, const struct gw_listener *template) {
        struct gw_listener *listener = malloc(sizeof *listener);
        int r;

        if (!listener) {
                close(fd);
                return -ENOMEM;
        }
        *listener = *template;
        listener->loop = loop;
        listener->fd = fd;
        gw_list_init(&listener->sessions);
        r = gw_admission_init(&listener->admission, &GW_LISTENER_LIMITS);
        if (r < 0) {
                close(fd);
                free(listener);
                return r;
        }
        r = sd_event_add_io(loop->event, &listener->source, fd, EPOLLIN, on_accept, listener);
        if (r < 0) {
                gw_admission_deinit(&listener->admission);
                close(fd);
                free(listener);
                return r;
        }
        *out = listener;
        return 0;
}

int gw_listener_new_tls(struct gw_listener **out, struct gw_loop *loop, const struct gw_endpoint *at,
                        struct gw_tls *tls, const struct gw_session_ops *ops, const struct gw_api *api, void *user) {
        struct gw_listener template = {.tls = tls, .ops = ops, .api = api, .user = user};
        int fd = gw_socket_listen_tcp(at);

        return fd < 0 ? fd : start(out, loop, fd, &template);
}

int gw_listener_new_unix(struct gw_listener **out, struct gw_loop *loop, const char *path,
                         const struct gw_session_ops *ops, const struct gw_api *api, void *user) {
        struct gw_listener template = {.ops = ops, .api = api, .user = user};
        int fd, r;

        template.path = strdup(path);
        if (!template.path)
                return -ENOMEM;
        fd = gw_socket_listen_unix(path, SOCKET_MODE);
        r = fd < 0 ? fd : start(out, loop, fd, &template);
        if (r < 0)
                free(template.path);
        return r;
}

void gw_listener_free(struct gw_listener *listener) {
        if (!listener)
                return;
        while (!gw_list_empty(&listener->sessions))
                gw_session_free(gw_list_entry(listener->sessions.next, struct gw_session, link));
        gw_timer_free(listener->pause);
        sd_event_source_disable_unref(listener->source);
        close(listener->fd);
        gw_admission_deinit(&listener->admission);
        if (listener->path)
                unlink(listener->path);
        free(listener->path);
        free(listener);
}

struct gw_endpoint gw_listener_endpoint(const struct gw_listener *listener) {
        struct gw_endpoint at = {0};

        gw_socket_local(listener->fd, &at);
        return at;
}
