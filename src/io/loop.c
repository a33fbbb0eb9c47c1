/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop. sd-event dispatches one source at a time, by priority; the flush
 * step is a source of the lowest priority, so that it runs when everything that
 * was ready has been handled. A loop that is busy without end would starve it:
 * after FLUSH_TURNS dispatches, or when it has waited for as long as the last commit
 * took (FLUSH_AGE_US at least, FLUSH_AGE_MAX_US at most), it gets the highest priority.
 * So a commit that is slow is shared by as many as come while it would have run.
 *
 * Invariants: a flush runs only after a commit in the same step; when the commit
 * failed no flush ever runs again, and the loop ends with status 1. What is
 * dirty when the loop is told to end is still committed and flushed once.
 *
 * Links in `dirty` and `posts` belong to their owners, who cancel before they go.
 */
#include "io/loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"

enum {
        FLUSH_TURNS = 64,
        FLUSH_AGE_US = 1000,
        FLUSH_AGE_MAX_US = 8000,
        TIMER_ACCURACY_US = 500,
        REST_PRIORITY = SD_EVENT_PRIORITY_NORMAL + 1, /* before the flush, which has a way of not being put off */
        FLUSH_PRIORITY_LATE = SD_EVENT_PRIORITY_IDLE,
        FLUSH_PRIORITY_NOW = SD_EVENT_PRIORITY_IMPORTANT,
};

struct gw_timer {
        sd_event_source *source;
        uint64_t every_us;
        void (*fire)(void *user);
        void *user;
};

static bool commit(struct gw_loop *loop) {
        struct gw_mono began;
        int r;

        if (!loop->commit || loop->failed)
                return !loop->failed;
        began = gw_mono_now();
        r = loop->commit(loop->commit_user);
        loop->commit_us = gw_mono_between(began, gw_mono_now()).ns / GW_NS_PER_US;
        if (r >= 0)
                return true;
        gw_log(GW_ERR, "cannot make changes durable, ending: %s", gw_error_word(r));
        loop->failed = true;
        gw_loop_quit(loop, EXIT_FAILURE);
        return false;
}

/* Flushes may make others dirty (they run in the next step) and cancel any. */
static void flush_dirty(struct gw_loop *loop) {
        struct gw_list now;

        gw_list_init(&now);
        while (!gw_list_empty(&loop->dirty)) {
                struct gw_list *link = loop->dirty.next;

                gw_list_remove(link);
                gw_list_append(&now, link);
        }
        while (!gw_list_empty(&now)) {
                struct gw_flush *flush = gw_list_entry(now.next, struct gw_flush, link);

                gw_list_remove(&flush->link);
                flush->run(flush);
        }
}

static int on_flush(sd_event_source *source, void *user) {
        struct gw_loop *loop = user;

        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        sd_event_source_set_priority(source, FLUSH_PRIORITY_LATE);
        if (commit(loop))
                flush_dirty(loop);
        return 0;
}

static uint64_t patience_us(const struct gw_loop *loop) {
        if (loop->commit_us < FLUSH_AGE_US)
                return FLUSH_AGE_US;
        return loop->commit_us < FLUSH_AGE_MAX_US ? loop->commit_us : FLUSH_AGE_MAX_US;
}

/* Runs before each turn while the flush step is due. */
static int on_flush_prepare(sd_event_source *source, void *user) {
        struct gw_loop *loop = user;
        uint64_t now_us = 0;

        sd_event_now(loop->event, CLOCK_MONOTONIC, &now_us);
        if (loop->waiting_turns++ == 0)
                loop->waiting_since_us = now_us;
        if (loop->waiting_turns > FLUSH_TURNS || now_us - loop->waiting_since_us > patience_us(loop))
                sd_event_source_set_priority(source, FLUSH_PRIORITY_NOW);
        return 0;
}

/* What is posted while posts run, waits for the next turn. */
static void run_posts(struct gw_loop *loop) {
        struct gw_list now;

        gw_list_init(&now);
        while (!gw_list_empty(&loop->posts)) {
                struct gw_list *link = loop->posts.next;

                gw_list_remove(link);
                gw_list_append(&now, link);
        }
        while (!gw_list_empty(&now)) {
                struct gw_post *post = gw_list_entry(now.next, struct gw_post, link);

                gw_list_remove(&post->link);
                post->run(post);
        }
}

static int on_post(sd_event_source *source, void *user) {
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        run_posts(user);
        return 0;
}

/* One at a time, and only when nothing else is ready. */
static int on_rest(sd_event_source *source, void *user) {
        struct gw_loop *loop = user;
        struct gw_post *post;

        if (!gw_list_empty(&loop->rests)) {
                post = gw_list_entry(loop->rests.next, struct gw_post, link);
                gw_list_remove(&post->link);
                post->run(post);
        }
        if (gw_list_empty(&loop->rests))
                sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

static int on_signal(sd_event_source *source, const struct signalfd_siginfo *info, void *user) {
        (void)source;
        gw_log(GW_INFO, "ending on %s", info->ssi_signo == SIGINT ? "SIGINT" : "SIGTERM");
        gw_loop_quit(user, EXIT_SUCCESS);
        return 0;
}

static int on_sighup(sd_event_source *source, const struct signalfd_siginfo *info, void *user) {
        struct gw_loop *loop = user;

        (void)source, (void)info;
        loop->hangup(loop->hangup_user);
        return 0;
}

int gw_loop_on_hangup(struct gw_loop *loop, void (*hangup)(void *user), void *user) {
        sigset_t mask;

        loop->hangup = hangup;
        loop->hangup_user = user;
        sigemptyset(&mask);
        sigaddset(&mask, SIGHUP);
        if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
                return -errno;
        return sd_event_add_signal(loop->event, NULL, SIGHUP, on_sighup, loop);
}

static int add_signals(struct gw_loop *loop) {
        sigset_t mask;
        int r;

        sigemptyset(&mask);
        sigaddset(&mask, SIGTERM);
        sigaddset(&mask, SIGINT);
        if (sigprocmask(SIG_BLOCK, &mask, &loop->old_mask) < 0)
                return -errno;
        signal(SIGPIPE, SIG_IGN);
        r = sd_event_add_signal(loop->event, NULL, SIGTERM, on_signal, loop);
        return r < 0 ? r : sd_event_add_signal(loop->event, NULL, SIGINT, on_signal, loop);
}

static int add_steps(struct gw_loop *loop) {
        int r;

        r = sd_event_add_defer(loop->event, &loop->flush, on_flush, loop);
        if (r < 0)
                return r;
        sd_event_source_set_enabled(loop->flush, SD_EVENT_OFF);
        sd_event_source_set_priority(loop->flush, FLUSH_PRIORITY_LATE);
        r = sd_event_source_set_prepare(loop->flush, on_flush_prepare);
        if (r < 0)
                return r;
        r = sd_event_add_defer(loop->event, &loop->post, on_post, loop);
        if (r < 0)
                return r;
        sd_event_source_set_enabled(loop->post, SD_EVENT_OFF);
        r = sd_event_add_defer(loop->event, &loop->rest, on_rest, loop);
        if (r < 0)
                return r;
        sd_event_source_set_priority(loop->rest, REST_PRIORITY);
        return sd_event_source_set_enabled(loop->rest, SD_EVENT_OFF);
}

int gw_loop_init(struct gw_loop *loop) {
        int r;

        memset(loop, 0, sizeof *loop);
        gw_list_init(&loop->dirty);
        gw_list_init(&loop->posts);
        gw_list_init(&loop->rests);
        gw_list_init(&loop->orphans);
        loop->poll.fd = -1;
        sigprocmask(SIG_BLOCK, NULL, &loop->old_mask);
        r = sd_event_new(&loop->event);
        if (r < 0)
                return r;
        r = add_signals(loop);
        if (r >= 0)
                r = add_steps(loop);
        if (r >= 0)
                r = gw_poll_init(&loop->poll, loop->event);
        if (r < 0) {
                gw_loop_deinit(loop);
                return r;
        }
        sd_event_set_watchdog(loop->event, true);
        return 0;
}

void gw_loop_deinit(struct gw_loop *loop) {
        if (!loop->event)
                return;
        while (!gw_list_empty(&loop->orphans)) {
                struct gw_orphan *orphan = gw_list_entry(loop->orphans.next, struct gw_orphan, link);

                gw_list_remove(&orphan->link);
                orphan->drop(orphan);
        }
        gw_poll_deinit(&loop->poll);
        loop->post = sd_event_source_disable_unref(loop->post);
        loop->rest = sd_event_source_disable_unref(loop->rest);
        loop->flush = sd_event_source_disable_unref(loop->flush);
        loop->event = sd_event_unref(loop->event);
        sigprocmask(SIG_SETMASK, &loop->old_mask, NULL);
}

int gw_loop_run(struct gw_loop *loop) {
        int r;

        sd_notify(0, "READY=1");
        r = sd_event_loop(loop->event);
        sd_notify(0, "STOPPING=1");
        if (r < 0) {
                gw_log(GW_ERR, "the event loop failed: %s", gw_error_word(r));
                r = EXIT_FAILURE;
        }
        run_posts(
                loop); /* answers to calls whose sessions went with the last turn: their callers free what they hold */
        if (commit(loop))
                flush_dirty(loop);
        return loop->failed ? EXIT_FAILURE : r;
}

void gw_loop_quit(struct gw_loop *loop, int code) {
        sd_event_exit(loop->event, code);
}

void gw_loop_commit_later(struct gw_loop *loop) {
        int enabled = SD_EVENT_OFF;

        if (!loop->flush)
                return;
        sd_event_source_get_enabled(loop->flush, &enabled);
        if (enabled != SD_EVENT_OFF)
                return;
        loop->waiting_turns = 0;
        sd_event_source_set_enabled(loop->flush, SD_EVENT_ON);
}

void gw_loop_flush_later(struct gw_loop *loop, struct gw_flush *flush) {
        if (!gw_list_linked(&flush->link))
                gw_list_append(&loop->dirty, &flush->link);
        gw_loop_commit_later(loop);
}

void gw_loop_cancel_flush(struct gw_loop *loop, struct gw_flush *flush) {
        (void)loop;
        gw_list_remove(&flush->link);
}

void gw_loop_post(struct gw_loop *loop, struct gw_post *post) {
        if (!gw_list_linked(&post->link))
                gw_list_append(&loop->posts, &post->link);
        sd_event_source_set_enabled(loop->post, SD_EVENT_ON);
}

void gw_loop_rest(struct gw_loop *loop, struct gw_post *post) {
        if (!gw_list_linked(&post->link))
                gw_list_append(&loop->rests, &post->link);
        sd_event_source_set_enabled(loop->rest, SD_EVENT_ON);
}

void gw_loop_cancel_post(struct gw_post *post) {
        gw_list_remove(&post->link);
}

void gw_loop_adopt(struct gw_loop *loop, struct gw_orphan *orphan) {
        gw_list_append(&loop->orphans, &orphan->link);
}

void gw_loop_release(struct gw_orphan *orphan) {
        gw_list_remove(&orphan->link);
}

static int on_timer(sd_event_source *source, uint64_t due_us, void *user) {
        struct gw_timer *timer = user;
        uint64_t now_us, next_us;

        if (timer->every_us) {
                sd_event_now(sd_event_source_get_event(source), CLOCK_MONOTONIC, &now_us);
                /* Times that were missed are left out, not made up for. */
                next_us = due_us + timer->every_us;
                if (next_us <= now_us)
                        next_us = now_us + timer->every_us - (now_us - due_us) % timer->every_us;
                sd_event_source_set_time(source, next_us);
                sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        timer->fire(timer->user); /* may free the timer */
        return 0;
}

int gw_timer_new(struct gw_timer **out, struct gw_loop *loop, struct gw_duration after, struct gw_duration every,
                 void (*fire)(void *user), void *user) {
        struct gw_timer *timer;
        int r;

        timer = calloc(1, sizeof *timer);
        if (!timer)
                return -ENOMEM;
        timer->fire = fire;
        timer->user = user;
        timer->every_us = (every.ns + GW_NS_PER_US - 1) / GW_NS_PER_US;
        r = sd_event_add_time_relative(loop->event, &timer->source, CLOCK_MONOTONIC, after.ns / GW_NS_PER_US,
                                       TIMER_ACCURACY_US, on_timer, timer);
        if (r < 0) {
                free(timer);
                return r;
        }
        *out = timer;
        return 0;
}

void gw_timer_free(struct gw_timer *timer) {
        if (!timer)
                return;
        sd_event_source_disable_unref(timer->source);
        free(timer);
}
