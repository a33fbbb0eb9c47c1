/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QMP: one JSON object a line. The server greets with {"QMP": ...}; we answer
 * with qmp_capabilities and may then send commands. Answers carry the id of
 * their command; events may come between any two lines.
 *
 * Commands given before the greeting wait in `waiting` and are sent after it;
 * their deadline runs already. A command is in exactly one list from execute
 * until its `done`. What the socket does not take at once waits in `out`; it is
 * a local socket and commands are few, so a bound on it only guards against a
 * peer that does not read at all.
 */
#include "hypervisor/qmp.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"

enum { RETRY_US = 5000, READ_OCTETS = 65536, OUT_MAX_OCTETS = 4 << 20, TICK_US = 250000 };

static const char HELLO[] = "{\"execute\":\"qmp_capabilities\",\"id\":0}\n";
static const char HELLO_OOB[] = "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]},\"id\":0}\n";

struct command {
        struct gw_list link;
        long long id;
        struct gw_mono deadline;
        char *text; /* the line to send, until sent */
        char name[48];
        gw_qmp_done done;
        void *user;
};

struct gw_qmp {
        sd_event *event;
        const struct gw_qmp_ops *ops;
        void *user;
        struct sockaddr_un at;
        int fd;
        bool has_oob; /* commands may pass by what the emulator is busy with */
        bool greeted, is_closed;
        sd_event_source *io, *retry, *tick;
        struct gw_mono give_up;
        struct gw_qmp_lines lines;
        char *out;
        size_t out_from, out_used, out_size;
        struct gw_list waiting, sent;
        long long last_id;
        unsigned held; /* by functions that call back, where we may be freed: memory goes at the last release */
        bool is_freed;
};

/* ---- lines ---- */

static int lines_add(struct gw_qmp_lines *lines, const char *octets, size_t n) {
        if (n > GW_QMP_LINE_MAX || lines->used + n > GW_QMP_LINE_MAX)
                return -EMSGSIZE;
        if (lines->used + n > lines->size) {
                size_t size = lines->size ? lines->size : 4096;
                char *grown;

                while (size < lines->used + n)
                        size *= 2;
                grown = realloc(lines->buffer, size);
                if (!grown)
                        return -ENOMEM;
                lines->buffer = grown;
                lines->size = size;
        }
        memcpy(lines->buffer + lines->used, octets, n);
        lines->used += n;
        return 0;
}

static bool is_blank(const char *text, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (!strchr(" \t\r\n", text[i]))
                        return false;
        return true;
}

int gw_qmp_lines_feed(struct gw_qmp_lines *lines, const char *octets, size_t n, int (*each)(json_t *object, void *user),
                      void *user) {
        while (n > 0) {
                const char *end = memchr(octets, '\n', n);
                size_t take = end ? (size_t)(end - octets) + 1 : n;
                json_t *object;
                int r = lines_add(lines, octets, take);

                if (r < 0)
                        return r;
                octets += take;
                n -= take;
                if (!end)
                        break;
                take = lines->used;
                lines->used = 0;
                if (is_blank(lines->buffer, take))
                        continue;
                object = json_loadb(lines->buffer, take, JSON_REJECT_DUPLICATES, NULL);
                r = json_is_object(object) ? each(object, user) : -EBADMSG;
                json_decref(object);
                if (r != 0)
                        return r;
        }
        return 0;
}

void gw_qmp_lines_deinit(struct gw_qmp_lines *lines) {
        free(lines->buffer);
        *lines = (struct gw_qmp_lines){0};
}

/* ---- commands ---- */

static void command_free(struct command *command) {
        gw_list_remove(&command->link);
        free(command->text);
        free(command);
}

static void command_finish(struct command *command, const struct gw_error *error, json_t *value) {
        gw_qmp_done done = command->done;
        void *user = command->user;

        command_free(command);
        if (done)
                done(error, value, user);
}

static void release(struct gw_qmp *qmp) {
        if (--qmp->held > 0 || !qmp->is_freed)
                return;
        gw_qmp_lines_deinit(&qmp->lines); /* not before: on_io was reading from them */
        free(qmp);
}

static void fail_all(struct gw_list *list, const char *reason) {
        while (!gw_list_empty(list)) {
                struct command *command = gw_list_entry(list->next, struct command, link);
                struct gw_error error = {0};

                gw_fail(&error, -ECONNRESET, "", "%s: %s", command->name, reason);
                command_finish(command, &error, NULL);
        }
}

static void lost(struct gw_qmp *qmp, const char *reason) {
        if (qmp->is_closed)
                return;
        qmp->is_closed = true;
        qmp->io = sd_event_source_disable_unref(qmp->io);
        qmp->retry = sd_event_source_disable_unref(qmp->retry);
        qmp->tick = sd_event_source_disable_unref(qmp->tick);
        qmp->held++;
        fail_all(&qmp->sent, reason);
        fail_all(&qmp->waiting, reason);
        if (!qmp->is_freed)
                qmp->ops->closed(qmp, reason, qmp->user);
        release(qmp);
}

static int out_add(struct gw_qmp *qmp, const char *text, size_t n) {
        if (qmp->out_used + n > OUT_MAX_OCTETS)
                return -ENOBUFS;
        if (qmp->out_used + n > qmp->out_size) {
                size_t size = (qmp->out_used + n) * 2;
                char *grown = realloc(qmp->out, size);

                if (!grown)
                        return -ENOMEM;
                qmp->out = grown;
                qmp->out_size = size;
        }
        memcpy(qmp->out + qmp->out_used, text, n);
        qmp->out_used += n;
        return 0;
}

static int out_write(struct gw_qmp *qmp) {
        while (qmp->out_from < qmp->out_used) {
                ssize_t n = send(qmp->fd, qmp->out + qmp->out_from, qmp->out_used - qmp->out_from, MSG_NOSIGNAL);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0 && errno != EAGAIN)
                        return -errno;
                if (n < 0)
                        break;
                qmp->out_from += (size_t)n;
        }
        if (qmp->out_from == qmp->out_used)
                qmp->out_from = qmp->out_used = 0;
        return sd_event_source_set_io_events(qmp->io, EPOLLIN | (qmp->out_used ? EPOLLOUT : 0));
}

static int say(struct gw_qmp *qmp, const char *text) {
        int r = out_add(qmp, text, strlen(text));

        return r < 0 ? r : out_write(qmp);
}

/* Errors of writing are left to the reading side, which sees the same broken socket from the event loop. */
static void send_waiting(struct gw_qmp *qmp) {
        gw_list_for_each (link, &qmp->waiting) {
                struct command *command = gw_list_entry(link, struct command, link);

                if (say(qmp, command->text) < 0)
                        return;
                free(command->text);
                command->text = NULL;
                gw_list_remove(link);
                gw_list_append(&qmp->sent, link);
        }
}

static char *command_text(const char *how, const char *name, long long id, json_t *arguments) {
        json_t *object = json_pack("{s:s, s:I, s:o*}", how, name, "id", (json_int_t)id, "arguments", arguments);
        char *text = object ? json_dumps(object, JSON_COMPACT) : NULL, *line = NULL;

        json_decref(object);
        if (text && asprintf(&line, "%s\n", text) < 0)
                line = NULL;
        free(text);
        return line;
}

static void enqueue(struct gw_qmp *qmp, const char *how, const char *name, json_t *arguments, gw_qmp_done done,
                    void *user) {
        struct command *command = calloc(1, sizeof *command);

        /* Without memory for a few octets nothing here can go on; the process is watched and restarted. */
        if (!command || !(command->text = command_text(how, name, ++qmp->last_id, arguments)))
                abort();
        command->id = qmp->last_id;
        command->deadline = gw_mono_after(gw_mono_now(), gw_ms(GW_QMP_COMMAND_DEADLINE_MS));
        snprintf(command->name, sizeof command->name, "%s", name);
        command->done = done;
        command->user = user;
        gw_list_append(&qmp->waiting, &command->link);
        if (qmp->greeted && !qmp->is_closed)
                send_waiting(qmp);
}

void gw_qmp_execute(struct gw_qmp *qmp, const char *name, json_t *arguments, gw_qmp_done done, void *user) {
        enqueue(qmp, "execute", name, arguments, done, user);
}

void gw_qmp_execute_now(struct gw_qmp *qmp, const char *name, json_t *arguments, gw_qmp_done done, void *user) {
        enqueue(qmp, qmp->has_oob ? "exec-oob" : "execute", name, arguments, done, user);
}

static bool offers_oob(json_t *greeting) {
        json_t *word;
        size_t i;

        json_array_foreach (json_object_get(json_object_get(greeting, "QMP"), "capabilities"), i, word)
                if (json_is_string(word) && strcmp(json_string_value(word), "oob") == 0)
                        return true;
        return false;
}

static struct command *expired(struct gw_list *list, struct gw_mono now) {
        gw_list_for_each (link, list) {
                struct command *command = gw_list_entry(link, struct command, link);

                if (gw_mono_reached(now, command->deadline))
                        return command;
        }
        return NULL;
}

static int on_tick(sd_event_source *source, uint64_t usec, void *user) {
        struct gw_qmp *qmp = user;
        struct gw_mono now = gw_mono_now();
        struct command *command;

        (void)usec;
        sd_event_source_set_time_relative(source, TICK_US);
        qmp->held++;
        while ((command = expired(&qmp->sent, now)) || (command = expired(&qmp->waiting, now))) {
                struct gw_error error = {0};

                gw_fail(&error, -ETIMEDOUT, "", "%s: no answer within %d ms", command->name,
                        GW_QMP_COMMAND_DEADLINE_MS);
                command_finish(command, &error, NULL);
        }
        release(qmp);
        return 0;
}

/* ---- what comes in ---- */

static void take_answer(struct gw_qmp *qmp, json_t *object, long long id) {
        const char *text = json_string_value(json_object_get(json_object_get(object, "error"), "desc"));
        json_t *value = json_object_get(object, "return");
        struct gw_error error = {0};

        gw_list_for_each (link, &qmp->sent) {
                struct command *command = gw_list_entry(link, struct command, link);

                if (command->id != id)
                        continue;
                if (!value)
                        gw_fail(&error, -EREMOTEIO, "", "%s: %s", command->name, text ? text : "refused");
                command_finish(command, value ? NULL : &error, value);
                return;
        }
        /* An answer to a command that has timed out. */
}

static void take_event(struct gw_qmp *qmp, json_t *object) {
        json_t *stamp = json_object_get(object, "timestamp");
        long long s = json_integer_value(json_object_get(stamp, "seconds"));
        long long us = json_integer_value(json_object_get(stamp, "microseconds"));
        struct gw_wall at = {s > 0 ? (uint64_t)s * GW_NS_PER_S + (uint64_t)us * GW_NS_PER_US : 0};

        if (at.ns == 0)
                at = gw_wall_now();
        qmp->ops->event(qmp, json_string_value(json_object_get(object, "event")), json_object_get(object, "data"), at,
                        qmp->user);
}

static int take(json_t *object, void *user) {
        struct gw_qmp *qmp = user;
        json_t *id = json_object_get(object, "id");

        if (json_object_get(object, "QMP")) {
                qmp->has_oob = offers_oob(object);
                if (say(qmp, qmp->has_oob ? HELLO_OOB : HELLO) < 0)
                        return -EPIPE;
        } else if (json_is_integer(id) && json_integer_value(id) == 0 && !qmp->greeted) {
                qmp->greeted = true;
                send_waiting(qmp);
                if (qmp->ops->ready)
                        qmp->ops->ready(qmp, qmp->user);
        } else if (json_is_integer(id)) {
                take_answer(qmp, object, json_integer_value(id));
        } else if (json_is_string(json_object_get(object, "event"))) {
                take_event(qmp, object);
        }
        return qmp->is_freed ? -ECANCELED : 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct gw_qmp *qmp = user;
        char octets[READ_OCTETS];
        ssize_t n;
        int r;

        (void)source;
        if ((revents & EPOLLOUT) && out_write(qmp) < 0) {
                lost(qmp, "cannot write to the emulator's control socket");
                return 0;
        }
        if (!(revents & (EPOLLIN | EPOLLHUP | EPOLLERR)))
                return 0;
        n = recv(fd, octets, sizeof octets, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                lost(qmp, "the emulator closed its control socket");
                return 0;
        }
        qmp->held++;
        r = gw_qmp_lines_feed(&qmp->lines, octets, (size_t)n, take, qmp);
        if (r < 0 && !qmp->is_freed)
                lost(qmp, r == -EBADMSG ? "the emulator sent something that is not JSON" : strerror(-r));
        release(qmp);
        return 0;
}

/* ---- connecting ---- */

static int connect_now(struct gw_qmp *qmp) {
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

        if (fd < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&qmp->at, sizeof qmp->at) < 0) {
                r = -errno;
                close(fd);
                return r;
        }
        r = sd_event_add_io(qmp->event, &qmp->io, fd, EPOLLIN, on_io, qmp);
        if (r < 0) {
                close(fd);
                return r;
        }
        qmp->fd = fd;
        return 0;
}

static int on_retry(sd_event_source *source, uint64_t usec, void *user) {
        struct gw_qmp *qmp = user;
        char reason[160];
        int r = connect_now(qmp);

        (void)usec;
        if (r == 0) {
                sd_event_source_set_enabled(source, SD_EVENT_OFF);
                return 0;
        }
        if (gw_mono_reached(gw_mono_now(), qmp->give_up)) {
                snprintf(reason, sizeof reason, "cannot reach the control socket %.90s: %s", qmp->at.sun_path,
                         strerror(-r));
                lost(qmp, reason);
                return 0;
        }
        sd_event_source_set_time_relative(source, RETRY_US);
        return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int gw_qmp_new(struct gw_qmp **out, sd_event *event, const char *path, const struct gw_qmp_ops *ops, void *user) {
        struct gw_qmp *qmp;
        int r;

        if (strlen(path) >= sizeof qmp->at.sun_path)
                return -ENAMETOOLONG;
        qmp = calloc(1, sizeof *qmp);
        if (!qmp)
                return -ENOMEM;
        qmp->event = sd_event_ref(event);
        qmp->ops = ops;
        qmp->user = user;
        qmp->fd = -1;
        qmp->at.sun_family = AF_UNIX;
        strcpy(qmp->at.sun_path, path);
        gw_list_init(&qmp->waiting);
        gw_list_init(&qmp->sent);
        qmp->give_up = gw_mono_after(gw_mono_now(), gw_ms(GW_QMP_CONNECT_MS));
        r = sd_event_add_time_relative(event, &qmp->retry, CLOCK_MONOTONIC, 0, 1000, on_retry, qmp);
        if (r >= 0)
                r = sd_event_add_time_relative(event, &qmp->tick, CLOCK_MONOTONIC, TICK_US, 0, on_tick, qmp);
        if (r >= 0)
                r = sd_event_source_set_enabled(qmp->tick, SD_EVENT_ON);
        if (r < 0) {
                gw_qmp_free(qmp);
                return r;
        }
        *out = qmp;
        return 0;
}

void gw_qmp_free(struct gw_qmp *qmp) {
        if (!qmp)
                return;
        while (!gw_list_empty(&qmp->sent))
                command_free(gw_list_entry(qmp->sent.next, struct command, link));
        while (!gw_list_empty(&qmp->waiting))
                command_free(gw_list_entry(qmp->waiting.next, struct command, link));
        qmp->io = sd_event_source_disable_unref(qmp->io);
        qmp->retry = sd_event_source_disable_unref(qmp->retry);
        qmp->tick = sd_event_source_disable_unref(qmp->tick);
        if (qmp->fd >= 0)
                close(qmp->fd);
        qmp->fd = -1;
        free(qmp->out);
        qmp->out = NULL;
        qmp->event = sd_event_unref(qmp->event);
        qmp->is_freed = true;
        qmp->held++;
        release(qmp);
}
