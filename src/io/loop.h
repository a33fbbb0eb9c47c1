/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shell around every daemon's core: one sd-event loop, one thread.
 *
 * SIGTERM and SIGINT end it; readiness and watchdog are told to the service
 * manager. One turn of the loop handles whatever is ready, and then runs the
 * flush step: first the daemon's own `commit` (its store's group commit), then
 * the writing of everything that sessions and HTTP have queued. So nothing is
 * acknowledged before it is durable, and a busy turn costs one commit.
 */
#pragma once

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "base/list.h"
#include "base/time.h"
#include "io/poll.h"

struct gw_loop {
        sd_event *event;
        struct gw_poll poll;       /* sockets of sessions: there may be thousands */
        int (*commit)(void *user); /* may be NULL; a negative answer ends the loop */
        void *commit_user;
        struct gw_list dirty; /* of struct gw_flush */
        sd_event_source *flush;
        struct gw_list posts; /* of struct gw_post */
        sd_event_source *post;
        struct gw_list rests; /* of struct gw_post */
        sd_event_source *rest;
        struct gw_list orphans; /* of struct gw_orphan */
        sigset_t old_mask;
        unsigned waiting_turns;    /* turns since something became dirty */
        uint64_t waiting_since_us; /* and when that was */
        uint64_t commit_us;        /* how long the last one took */
        bool failed;               /* the commit failed: nothing more may leave */
        void (*hangup)(void *user);
        void *hangup_user;
};

/* Something that has output queued. gw_loop_flush_later is idempotent within a turn. */
struct gw_flush {
        struct gw_list link;
        void (*run)(struct gw_flush *flush);
};

/* Something to be done from the loop, soon, and not from inside the present function. */
struct gw_post {
        struct gw_list link;
        void (*run)(struct gw_post *post);
};

/* Something that nobody owns any more and that ends by itself; dropped with the loop if it did not come to that. */
struct gw_orphan {
        struct gw_list link;
        void (*drop)(struct gw_orphan *orphan);
};

/* Blocks SIGTERM and SIGINT and ignores SIGPIPE: whoever starts other programs resets both in the child. */
int gw_loop_init(struct gw_loop *loop);
void gw_loop_deinit(struct gw_loop *loop);
/* For SIGHUP: what was read from files is to be read again. Before other threads are started. */
int gw_loop_on_hangup(struct gw_loop *loop, void (*hangup)(void *user), void *user);
int gw_loop_run(struct gw_loop *loop); /* exit code */
void gw_loop_quit(struct gw_loop *loop, int code);
void gw_loop_flush_later(struct gw_loop *loop, struct gw_flush *flush);
void gw_loop_cancel_flush(struct gw_loop *loop, struct gw_flush *flush);
/* For work that changes the store but sends nothing: makes sure commit runs this turn. */
void gw_loop_commit_later(struct gw_loop *loop);

void gw_loop_post(struct gw_loop *loop, struct gw_post *post); /* idempotent until it ran */
/* The rest of long work, after whatever else is ready; several take turns. */
void gw_loop_rest(struct gw_loop *loop, struct gw_post *post);
void gw_loop_cancel_post(struct gw_post *post); /* either kind */
void gw_loop_adopt(struct gw_loop *loop, struct gw_orphan *orphan);
void gw_loop_release(struct gw_orphan *orphan);

/* A one-shot or repeating timer (0 = one-shot). NULL-safe free. */
struct gw_timer;
int gw_timer_new(struct gw_timer **out, struct gw_loop *loop, struct gw_duration after, struct gw_duration every,
                 void (*fire)(void *user), void *user);
void gw_timer_free(struct gw_timer *timer);
