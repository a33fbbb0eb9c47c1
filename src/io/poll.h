/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readiness of many descriptors: an epoll of our own behind one source of sd-event. Private to src/io.
 *
 * sd-event asks the kernel what is ready before each callback and is told of everything that is, so that a
 * thousand ready sockets cost a million answers. Here they are asked for once and served one after the other.
 */
#pragma once

#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"

struct gw_poll {
        int fd; /* -1: not there */
        sd_event_source *source;
        struct gw_list ready; /* of struct gw_watch: what waits for its call, in order */
};

/* Belongs to who owns the descriptor; zeroed: not watched. */
struct gw_watch {
        struct gw_list link;
        struct gw_poll *poll;
        int fd;
        uint32_t events, seen; /* EPOLLIN, EPOLLOUT */
        void (*run)(struct gw_watch *watch, uint32_t events);
};

int gw_poll_init(struct gw_poll *poll, sd_event *event);
void gw_poll_deinit(struct gw_poll *poll);

/* `run` is called from the loop for as long as the descriptor is ready; it may stop this watch and any other. */
int gw_watch_start(struct gw_watch *watch, struct gw_poll *poll, int fd, uint32_t events);
int gw_watch_change(struct gw_watch *watch, uint32_t events);
void gw_watch_stop(struct gw_watch *watch); /* before the descriptor is closed; harmless when not watched */
