/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The copy of a guest that has no memory: one TCP connection on which the
 * source, after the stop, sends a record of 16 octets (when it stopped, on the
 * wall clock, and how long the pause shall be in all), and closes.
 *
 * Source:      setup, MIGRATION_PASS, active, (copy_ms), STOP, pre-switchover
 *              and a wait for migrate-continue, device, completed.
 * Destination: setup (listening), active (accepted), RESUME, completed.
 *
 * As in QEMU: a source that loses the connection before it has sent everything
 * fails and goes on running; a destination that loses it ends.
 */
#include "synth/copy.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/cursor.h"
#include "base/time.h"

enum { RECORD_OCTETS = 17, RAM_OCTETS = 1 << 20 };

struct copy {
        sd_event *event;
        const struct copy_ops *ops;
        void *user;
        unsigned pause_ms, copy_ms;
        bool pause_before_switchover, is_source, stopped;
        bool was_running;   /* at the source when the copy began */
        const char *status; /* QEMU's word */
        int fd;
        sd_event_source *io, *timer;
        struct gw_mono began;
        struct gw_wall stopped_at;
        uint8_t record[RECORD_OCTETS];
        size_t n_record;
};

static void become(struct copy *copy, const char *status) {
        copy->status = status;
        copy->ops->event("MIGRATION", json_pack("{s:s}", "status", status), copy->user);
}

static void pass(struct copy *copy, int number) {
        copy->ops->event("MIGRATION_PASS", json_pack("{s:i}", "pass", number), copy->user);
}

static void hang_up(struct copy *copy) {
        copy->io = sd_event_source_disable_unref(copy->io);
        copy->timer = sd_event_source_disable_unref(copy->timer);
        if (copy->fd >= 0)
                close(copy->fd);
        copy->fd = -1;
}

static int watch(struct copy *copy, int fd, uint32_t events, sd_event_io_handler_t handler) {
        copy->io = sd_event_source_disable_unref(copy->io);
        copy->fd = fd;
        return sd_event_add_io(copy->event, &copy->io, fd, events, handler, copy);
}

static int later(struct copy *copy, uint64_t us, sd_event_time_handler_t handler) {
        copy->timer = sd_event_source_disable_unref(copy->timer);
        return sd_event_add_time_relative(copy->event, &copy->timer, CLOCK_MONOTONIC, us, 1, handler, copy);
}

static bool parse_uri(const char *uri, struct sockaddr_storage *out, socklen_t *size) {
        struct gw_endpoint at;
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)out;

        if (strncmp(uri, "tcp:", 4) || gw_endpoint_parse(uri + 4, &at))
                return false;
        *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(at.port)};
        memcpy(&in6->sin6_addr, at.ip.b, sizeof at.ip.b);
        *size = sizeof *in6;
        return true;
}

/* ---- source ---- */

static void fail_source(struct copy *copy) {
        hang_up(copy);
        become(copy, "failed");
        if (copy->was_running && copy->stopped)
                copy->ops->go(copy->user);
}

static bool peer_is_gone(int fd) {
        char octet;
        ssize_t n = recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT);

        return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}

static const char *send_record(struct copy *copy) {
        struct gw_writer w = gw_writer(copy->record, sizeof copy->record);

        gw_put_u64(&w, copy->stopped_at.ns);
        gw_put_u64(&w, copy->pause_ms * GW_NS_PER_MS);
        gw_put_u8(&w, copy->was_running);
        become(copy, "device");
        pass(copy, 2);
        if (peer_is_gone(copy->fd) || send(copy->fd, copy->record, sizeof copy->record, MSG_NOSIGNAL) < 0) {
                fail_source(copy);
                return NULL;
        }
        hang_up(copy);
        become(copy, "completed");
        copy->ops->left(copy->user);
        return NULL;
}

static int on_copied(sd_event_source *source, uint64_t usec, void *user) {
        struct copy *copy = user;

        (void)source;
        (void)usec;
        copy->ops->stop(copy->user);
        copy->stopped = true;
        copy->stopped_at = gw_wall_now();
        if (copy->pause_before_switchover)
                become(copy, "pre-switchover");
        else
                send_record(copy);
        return 0;
}

/* The destination sends nothing: readable means that it is gone. */
static int on_source_readable(sd_event_source *source, int fd, uint32_t revents, void *user) {
        (void)source;
        (void)fd;
        (void)revents;
        fail_source(user);
        return 0;
}

static int on_connected(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct copy *copy = user;
        int error = 0;
        socklen_t size = sizeof error;

        (void)source;
        (void)revents;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
                fail_source(copy);
                return 0;
        }
        copy->began = gw_mono_now();
        pass(copy, 1);
        become(copy, "active");
        if (watch(copy, fd, EPOLLIN | EPOLLRDHUP, on_source_readable) < 0 ||
            later(copy, copy->copy_ms * UINT64_C(1000), on_copied) < 0)
                fail_source(copy);
        return 0;
}

static bool is_busy(const struct copy *copy) {
        return copy->fd >= 0;
}

const char *copy_send(struct copy *copy, const char *uri, bool running) {
        struct sockaddr_storage to;
        socklen_t size;
        int fd, on = 1;

        if (is_busy(copy))
                return "There's a migration process in progress";
        if (!parse_uri(uri, &to, &size))
                return "unknown migration protocol";
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return "no socket";
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        copy->is_source = true;
        copy->was_running = running;
        copy->stopped = false;
        become(copy, "setup");
        if ((connect(fd, (struct sockaddr *)&to, size) < 0 && errno != EINPROGRESS) ||
            watch(copy, fd, EPOLLOUT, on_connected) < 0) {
                copy->fd = fd;
                fail_source(copy);
        }
        return NULL;
}

const char *copy_continue(struct copy *copy) {
        if (strcmp(copy->status, "pre-switchover"))
                return "Migration not in expected state: pre-switchover";
        return send_record(copy);
}

void copy_cancel(struct copy *copy) {
        if (!copy->is_source || !is_busy(copy))
                return;
        become(copy, "cancelling");
        hang_up(copy);
        if (copy->was_running && copy->stopped)
                copy->ops->go(copy->user);
        become(copy, "cancelled");
}

/* ---- destination ---- */

static int on_pause_over(sd_event_source *source, uint64_t usec, void *user) {
        struct copy *copy = user;

        (void)source;
        (void)usec;
        copy->timer = sd_event_source_disable_unref(copy->timer);
        copy->ops->arrived(copy->was_running, copy->user);
        become(copy, "completed");
        return 0;
}

static void fail_destination(struct copy *copy) {
        hang_up(copy);
        become(copy, "failed");
        copy->ops->lost(copy->user);
}

static void take_record(struct copy *copy) {
        struct gw_reader r = gw_reader(copy->record, sizeof copy->record);
        uint64_t end = gw_get_u64(&r) + gw_get_u64(&r), now = gw_wall_now().ns;

        copy->was_running = gw_get_u8(&r) != 0;
        hang_up(copy);
        if (end <= now)
                on_pause_over(NULL, 0, copy);
        else if (later(copy, (end - now) / GW_NS_PER_US, on_pause_over) < 0)
                fail_destination(copy);
}

static int on_record(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct copy *copy = user;
        ssize_t n = recv(fd, copy->record + copy->n_record, sizeof copy->record - copy->n_record, MSG_DONTWAIT);

        (void)source;
        (void)revents;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                fail_destination(copy);
                return 0;
        }
        copy->n_record += (size_t)n;
        if (copy->n_record == sizeof copy->record)
                take_record(copy);
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct copy *copy = user;
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        (void)source;
        (void)revents;
        if (peer < 0)
                return 0;
        hang_up(copy);
        become(copy, "active");
        if (watch(copy, peer, EPOLLIN, on_record) < 0)
                fail_destination(copy);
        return 0;
}

const char *copy_listen(struct copy *copy, const char *uri) {
        struct sockaddr_storage at;
        socklen_t size;
        int fd, on = 1;

        if (is_busy(copy))
                return "The incoming migration has already been started";
        if (!parse_uri(uri, &at, &size))
                return "unknown migration protocol";
        fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return "no socket";
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&at, size) < 0 || listen(fd, 1) < 0 ||
            watch(copy, fd, EPOLLIN, on_accept) < 0) {
                copy->fd = -1;
                close(fd);
                return "Failed to find an available port: Address already in use";
        }
        become(copy, "setup");
        return NULL;
}

/* ---- both ---- */

/* As if there were memory, and it went evenly. */
static json_int_t transferred(const struct copy *copy) {
        uint64_t ms = gw_mono_between(copy->began, gw_mono_now()).ns / GW_NS_PER_MS;

        if (!copy->began.ns)
                return 0;
        return ms < copy->copy_ms ? (json_int_t)(RAM_OCTETS * ms / copy->copy_ms) : RAM_OCTETS;
}

json_t *copy_query(const struct copy *copy) {
        json_int_t sent = transferred(copy);

        if (strcmp(copy->status, "none") == 0)
                return json_object();
        return json_pack("{s:s, s:{s:I, s:I, s:i, s:f, s:i, s:i}}", "status", copy->status, "ram", "transferred", sent,
                         "remaining", (json_int_t)RAM_OCTETS - sent, "total", RAM_OCTETS, "mbps", 0.0,
                         "dirty-pages-rate", 0, "dirty-sync-count", 1);
}

void copy_set_pause_before_switchover(struct copy *copy, bool on) {
        copy->pause_before_switchover = on;
}

int copy_new(struct copy **out, sd_event *event, const struct copy_ops *ops, void *user, unsigned pause_ms,
             unsigned copy_ms) {
        struct copy *copy = calloc(1, sizeof *copy);

        if (!copy)
                return -ENOMEM;
        *copy = (struct copy){
                .event = event,
                .ops = ops,
                .user = user,
                .pause_ms = pause_ms,
                .copy_ms = copy_ms,
                .status = "none",
                .fd = -1,
        };
        *out = copy;
        return 0;
}

void copy_free(struct copy *copy) {
        if (!copy)
                return;
        hang_up(copy);
        free(copy);
}
