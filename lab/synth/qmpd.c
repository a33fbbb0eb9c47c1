/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP's serving side: greeting, negotiation, commands, events with time stamps.
 * What is written goes to a local socket whose client always reads; a client
 * that lets the socket fill up is dropped.
 */
#include "synth/qmpd.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/time.h"
#include "hypervisor/qmp.h"

struct qmpd {
        int listener, client;
        sd_event *event;
        sd_event_source *accept, *io;
        struct gw_qmp_lines lines;
        bool negotiated;
        json_t *id; /* of the command being handled */
        qmpd_handler handler;
        void *user;
};

static void drop_client(struct qmpd *qmpd) {
        qmpd->io = sd_event_source_disable_unref(qmpd->io);
        if (qmpd->client >= 0)
                close(qmpd->client);
        qmpd->client = -1;
        qmpd->negotiated = false;
        gw_qmp_lines_deinit(&qmpd->lines);
        sd_event_source_set_enabled(qmpd->accept, SD_EVENT_ON);
}

static void send_object(struct qmpd *qmpd, json_t *object) {
        char *text = json_dumps(object, JSON_COMPACT);
        struct iovec parts[] = {{text, text ? strlen(text) : 0}, {(char[]){"\r\n"}, 2}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};

        if (qmpd->client >= 0 && text)
                /* A failure shows as a hang-up in the event loop, where the client may be dropped safely. */
                if (sendmsg(qmpd->client, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
                        shutdown(qmpd->client, SHUT_RDWR);
        free(text);
        json_decref(object);
}

void qmpd_return(struct qmpd *qmpd, json_t *value) {
        send_object(qmpd, json_pack("{s:o, s:O*}", "return", value ? value : json_object(), "id", qmpd->id));
}

void qmpd_error(struct qmpd *qmpd, const char *class, const char *text) {
        send_object(qmpd, json_pack("{s:{s:s, s:s}, s:O*}", "error", "class", class, "desc", text, "id", qmpd->id));
}

void qmpd_event(struct qmpd *qmpd, const char *name, json_t *data) {
        struct gw_wall now = gw_wall_now();

        if (!qmpd->negotiated) {
                json_decref(data);
                return;
        }
        send_object(qmpd, json_pack("{s:s, s:o*, s:{s:I, s:I}}", "event", name, "data", data, "timestamp", "seconds",
                                    (json_int_t)(now.ns / GW_NS_PER_S), "microseconds",
                                    (json_int_t)(now.ns % GW_NS_PER_S / GW_NS_PER_US)));
}

static int take(json_t *object, void *user) {
        struct qmpd *qmpd = user;
        const char *command = json_string_value(json_object_get(object, "execute"));

        qmpd->id = json_object_get(object, "id");
        if (!command) {
                qmpd_error(qmpd, "GenericError", "QMP input lacks member 'execute'");
        } else if (strcmp(command, "qmp_capabilities") == 0 && !qmpd->negotiated) {
                qmpd->negotiated = true;
                qmpd_return(qmpd, NULL);
        } else if (!qmpd->negotiated) {
                qmpd_error(qmpd, "CommandNotFound", "Expecting capabilities negotiation with 'qmp_capabilities'");
        } else {
                qmpd->handler(qmpd, command, json_object_get(object, "arguments"), qmpd->user);
        }
        qmpd->id = NULL;
        return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct qmpd *qmpd = user;
        char octets[16384];
        ssize_t n = recv(fd, octets, sizeof octets, MSG_DONTWAIT);

        (void)source;
        (void)revents;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0 || gw_qmp_lines_feed(&qmpd->lines, octets, (size_t)n, take, qmpd) < 0)
                drop_client(qmpd);
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct qmpd *qmpd = user;

        (void)revents;
        qmpd->client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (qmpd->client < 0)
                return 0;
        if (sd_event_add_io(qmpd->event, &qmpd->io, qmpd->client, EPOLLIN, on_io, qmpd) < 0) {
                drop_client(qmpd);
                return 0;
        }
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        send_object(qmpd, json_pack("{s:{s:{s:{s:i, s:i, s:i}, s:s}, s:[s]}}", "QMP", "version", "qemu", "major", 7,
                                    "minor", 2, "micro", 0, "package", "synthetic", "capabilities", "oob"));
        return 0;
}

int qmpd_new(struct qmpd **out, sd_event *event, int listener, qmpd_handler handler, void *user) {
        struct qmpd *qmpd = calloc(1, sizeof *qmpd);
        int r;

        if (!qmpd) {
                close(listener);
                return -ENOMEM;
        }
        qmpd->event = event;
        qmpd->client = -1;
        qmpd->handler = handler;
        qmpd->user = user;
        qmpd->listener = listener;
        r = sd_event_add_io(event, &qmpd->accept, qmpd->listener, EPOLLIN, on_accept, qmpd);
        if (r < 0) {
                qmpd_free(qmpd);
                return r;
        }
        *out = qmpd;
        return 0;
}

void qmpd_free(struct qmpd *qmpd) {
        if (!qmpd)
                return;
        if (qmpd->accept)
                drop_client(qmpd);
        sd_event_source_disable_unref(qmpd->accept);
        if (qmpd->listener >= 0)
                close(qmpd->listener);
        free(qmpd);
}
