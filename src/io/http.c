/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libmicrohttpd inside the loop: its epoll descriptor is an I/O source, its
 * time-out a timer, and it runs when either fires, on our one thread.
 *
 * An exchange is suspended as soon as its request is complete, and resumed in
 * the flush step, after the commit; so no answer leaves before what it tells is
 * durable. The same holds for streams of events: publishing queues, the flush
 * step resumes.
 *
 * A suspended connection is not looked at by the library, so that a client that
 * went away is noticed at the next write; idle streams get a comment now and then.
 */
#include "io/http.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "io/http_impl.h"
#include "io/socket.h"
#include "io/tls.h"

enum {
        CONNECTIONS_MAX = 256,
        PER_ADDRESS_MAX = 64, /* over TLS, so that one host cannot take them all */
        IDLE_S = 60,
        CONNECTION_MEMORY = 64 << 10,
        BEAT_S = 10,
        SOCKET_MODE = 0660,
        TIMEOUT_ACCURACY_US = 1000,
        LAST_RUNS = 8, /* of the library, until an answer is in its socket */
};

static void arm(struct gw_http *http) {
        MHD_UNSIGNED_LONG_LONG wait_ms;
        uint64_t now_us;

        if (MHD_get_timeout(http->daemon, &wait_ms) != MHD_YES) {
                sd_event_source_set_enabled(http->timeout, SD_EVENT_OFF);
                return;
        }
        now_us = gw_mono_now().ns / GW_NS_PER_US;
        sd_event_source_set_time(http->timeout, now_us + wait_ms * 1000);
        sd_event_source_set_enabled(http->timeout, SD_EVENT_ONESHOT);
}

static void run(struct gw_http *http) {
        MHD_run(http->daemon);
        arm(http);
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user) {
        (void)source;
        (void)fd;
        (void)revents;
        run(user);
        return 0;
}

static int on_timeout(sd_event_source *source, uint64_t due_us, void *user) {
        (void)source;
        (void)due_us;
        run(user);
        return 0;
}

static void on_flush(struct gw_flush *flush) {
        struct gw_http *http = gw_container_of(flush, struct gw_http, flush);

        while (!gw_list_empty(&http->ready)) {
                struct gw_exchange *exchange = gw_list_entry(http->ready.next, struct gw_exchange, ready_link);

                gw_list_remove(&exchange->ready_link);
                gw_exchange_resume(exchange);
        }
        run(http);
}

static void on_log(void *user, const char *format, va_list args) {
        char text[256];

        (void)user;
        vsnprintf(text, sizeof text, format, args);
        text[strcspn(text, "\n")] = 0;
        gw_log_debug("http: %s", text);
}

static void on_beat(void *user) {
        struct gw_http *http = user;

        gw_list_for_each (link, &http->exchanges) {
                struct gw_exchange *exchange = gw_list_entry(link, struct gw_exchange, link);

                if (exchange->streaming)
                        gw_exchange_push(exchange, ":\n\n", 3);
        }
}

static struct MHD_Daemon *start_daemon(struct gw_http *http, int listener) {
        unsigned flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | (http->tls ? MHD_USE_TLS : 0);
        struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
        struct MHD_OptionItem tls[] = {
                {MHD_OPTION_HTTPS_MEM_TRUST, 0, http->tls ? (void *)(uintptr_t)gw_tls_pem(http->tls, GW_TLS_CA) : NULL},
                {MHD_OPTION_HTTPS_MEM_CERT, 0,
                 http->tls ? (void *)(uintptr_t)gw_tls_pem(http->tls, GW_TLS_CERT) : NULL},
                {MHD_OPTION_HTTPS_MEM_KEY, 0, http->tls ? (void *)(uintptr_t)gw_tls_pem(http->tls, GW_TLS_KEY) : NULL},
                {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t) "NORMAL:-VERS-ALL:+VERS-TLS1.3"},
                {MHD_OPTION_PER_IP_CONNECTION_LIMIT, PER_ADDRESS_MAX, NULL},
                {MHD_OPTION_END, 0, NULL}};

        return MHD_start_daemon(flags, 0, NULL, NULL, gw_exchange_on_access, http, MHD_OPTION_EXTERNAL_LOGGER, on_log,
                                NULL, MHD_OPTION_LISTEN_SOCKET, listener, MHD_OPTION_URI_LOG_CALLBACK,
                                gw_exchange_on_target, http, MHD_OPTION_NOTIFY_COMPLETED, gw_exchange_on_completed,
                                http, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                                MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                (size_t)CONNECTION_MEMORY, MHD_OPTION_ARRAY, http->tls ? tls : plain, MHD_OPTION_END);
}

/* The library closes the socket that it is given; it gets a duplicate. */
static int start(struct gw_http *http) {
        const union MHD_DaemonInfo *info;
        int listener = fcntl(http->listener, F_DUPFD_CLOEXEC, 0), r;

        if (listener < 0)
                return -errno;
        http->daemon = start_daemon(http, listener);
        if (!http->daemon) {
                close(listener);
                return -EIO;
        }
        info = MHD_get_daemon_info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
        if (!info)
                return -EIO;
        r = sd_event_add_io(http->loop->event, &http->io, info->epoll_fd, EPOLLIN, on_io, http);
        if (r < 0)
                return r;
        arm(http);
        return 0;
}

/* The library demands that nothing is suspended when it stops. Handlers keep their requests; see on_completed. */
static void stop(struct gw_http *http, struct MHD_Daemon *daemon, sd_event_source *io) {
        sd_event_source_disable_unref(io);
        gw_list_for_each (link, &http->exchanges) {
                struct gw_exchange *exchange = gw_list_entry(link, struct gw_exchange, link);

                gw_list_remove(&exchange->ready_link);
                exchange->cut = true;
                gw_exchange_resume(exchange);
        }
        if (daemon)
                MHD_stop_daemon(daemon);
}

static int http_new(struct gw_http **out, struct gw_loop *loop, int listener, const char *path, struct gw_tls *tls,
                    const struct gw_api *api) {
        struct gw_http *http = calloc(1, sizeof *http);
        int r = -ENOMEM;

        if (!http) {
                close(listener);
                return r;
        }
        gw_list_init(&http->exchanges);
        gw_list_init(&http->ready);
        http->loop = loop;
        http->listener = listener;
        http->tls = tls;
        http->api = api;
        http->flush.run = on_flush;
        if (path && !(http->path = strdup(path)))
                goto fail;
        r = sd_event_add_time(loop->event, &http->timeout, CLOCK_MONOTONIC, UINT64_MAX, TIMEOUT_ACCURACY_US, on_timeout,
                              http);
        if (r < 0)
                goto fail;
        r = gw_timer_new(&http->beat, loop, gw_s(BEAT_S), gw_s(BEAT_S), on_beat, http);
        if (r < 0)
                goto fail;
        r = start(http);
        if (r < 0)
                goto fail;
        *out = http;
        return 0;
fail:
        gw_http_free(http);
        return r;
}

int gw_http_new_unix(struct gw_http **out, struct gw_loop *loop, const char *path, const struct gw_api *api) {
        int listener = gw_socket_listen_unix(path, SOCKET_MODE);

        return listener < 0 ? listener : http_new(out, loop, listener, path, NULL, api);
}

int gw_http_new_tls(struct gw_http **out, struct gw_loop *loop, const struct gw_endpoint *at, struct gw_tls *tls,
                    const struct gw_api *api) {
        int listener = gw_socket_listen_tcp(at);

        return listener < 0 ? listener : http_new(out, loop, listener, NULL, tls, api);
}

/* What was answered after the loop's last flush; nothing has changed since, so there is nothing to be made durable. */
static void say_last(struct gw_http *http) {
        http->ends = true;
        for (int i = 0; http->daemon && !http->loop->failed && !gw_list_empty(&http->exchanges) && i < LAST_RUNS; i++)
                on_flush(&http->flush);
}

void gw_http_free(struct gw_http *http) {
        if (!http)
                return;
        say_last(http);
        stop(http, http->daemon, http->io);
        gw_loop_cancel_flush(http->loop, &http->flush);
        gw_timer_free(http->beat);
        sd_event_source_disable_unref(http->timeout);
        if (http->path)
                unlink(http->path);
        free(http->path);
        close(http->listener);
        free(http);
}

/* The new one first: when it cannot be had, the old one goes on. */
int gw_http_reload(struct gw_http *http) {
        struct MHD_Daemon *old = http->daemon;
        sd_event_source *io = http->io;
        int r;

        http->daemon = NULL;
        http->io = NULL;
        r = start(http);
        if (r < 0) {
                if (http->daemon)
                        MHD_stop_daemon(http->daemon);
                http->daemon = old;
                http->io = io;
                return r;
        }
        stop(http, old, io);
        return 0;
}

struct gw_endpoint gw_http_endpoint(const struct gw_http *http) {
        struct gw_endpoint at = {0};

        gw_socket_local(http->listener, &at);
        return at;
}

void gw_http_publish(struct gw_http *http, const char *topic, const char *name, json_t *body) {
        char *data = NULL, *text = NULL;
        int size = -1;

        gw_list_for_each (link, &http->exchanges) {
                struct gw_exchange *exchange = gw_list_entry(link, struct gw_exchange, link);

                if (!exchange->streaming || strcmp(exchange->topic, topic) != 0)
                        continue;
                if (!text) {
                        data = json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY);
                        size = data ? asprintf(&text, "event: %s\ndata: %s\n\n", name, data) : -1;
                        if (size < 0)
                                break;
                }
                gw_exchange_push(exchange, text, (size_t)size);
        }
        free(data);
        if (size >= 0)
                free(text);
}
