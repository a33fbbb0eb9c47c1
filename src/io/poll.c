/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernel is asked for up to BATCH ready descriptors, and those are served in its order, which puts what was
 * served last at the end. A turn ends when all of them are, or after TURN_MS: then the flush step, timers and
 * other sources have theirs, and what is left waits in `ready`.
 *
 * Level-triggered, as sd-event is: nothing need be read until it is empty. What waits in `ready` is ready for the
 * kernel too, as nobody else reads it, so that the source of sd-event comes again without being asked to.
 *
 * A watch that is stopped leaves the list; one whose events were changed meanwhile is not called for the old ones.
 */
#include "io/poll.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/time.h"

enum { BATCH = 64, TURN_MS = 1 };

static void collect(struct gw_poll *poll) {
        struct epoll_event found[BATCH];
        int n = epoll_wait(poll->fd, found, BATCH, 0);

        for (int i = 0; i < n; i++) {
                struct gw_watch *watch = found[i].data.ptr;

                watch->seen = found[i].events;
                gw_list_append(&poll->ready, &watch->link);
        }
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(TURN_MS));
        struct gw_poll *poll = user;

        (void)source, (void)fd, (void)revents;
        if (gw_list_empty(&poll->ready))
                collect(poll);
        while (!gw_list_empty(&poll->ready)) {
                struct gw_watch *watch = gw_list_entry(poll->ready.next, struct gw_watch, link);
                uint32_t events = watch->seen & (watch->events | EPOLLERR | EPOLLHUP);

                gw_list_remove(&watch->link);
                if (events)
                        watch->run(watch, events);
                if (gw_mono_reached(gw_mono_now(), end))
                        break;
        }
        return 0;
}

int gw_poll_init(struct gw_poll *poll, sd_event *event) {
        int r;

        gw_list_init(&poll->ready);
        poll->fd = epoll_create1(EPOLL_CLOEXEC);
        if (poll->fd < 0)
                return -errno;
        r = sd_event_add_io(event, &poll->source, poll->fd, EPOLLIN, on_ready, poll);
        if (r < 0)
                gw_poll_deinit(poll);
        return r;
}

void gw_poll_deinit(struct gw_poll *poll) {
        poll->source = sd_event_source_disable_unref(poll->source);
        if (poll->fd >= 0)
                close(poll->fd);
        poll->fd = -1;
}

static int control(struct gw_watch *watch, int how, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = watch};

        return epoll_ctl(watch->poll->fd, how, watch->fd, &event) < 0 ? -errno : 0;
}

int gw_watch_start(struct gw_watch *watch, struct gw_poll *poll, int fd, uint32_t events) {
        int r;

        watch->poll = poll;
        watch->fd = fd;
        watch->events = events;
        r = control(watch, EPOLL_CTL_ADD, events);
        if (r < 0)
                watch->poll = NULL;
        return r;
}

int gw_watch_change(struct gw_watch *watch, uint32_t events) {
        int r;

        if (!watch->poll || watch->events == events)
                return 0;
        r = control(watch, EPOLL_CTL_MOD, events);
        if (r == 0)
                watch->events = events;
        return r;
}

void gw_watch_stop(struct gw_watch *watch) {
        if (!watch->poll)
                return;
        if (watch->poll->fd >= 0) {
                gw_list_remove(&watch->link);
                control(watch, EPOLL_CTL_DEL, 0);
        }
        watch->poll = NULL;
}
