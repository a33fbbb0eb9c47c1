/* SPDX-License-Identifier: Apache-2.0 */
/* The loop's order of things, timers, files and certificates. */
#include "io_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/descriptors.h"
#include "io/file.h"
#include "io/pki.h"

struct trace {
        struct fixture *f;
        char text[256];
        struct gw_flush flush, other;
        struct gw_post post;
        struct gw_timer *timer;
        int commit_result, ticks;
        bool done;
};

static void note(struct trace *t, const char *word) {
        strncat(t->text, word, sizeof t->text - strlen(t->text) - 1);
}

static int commit(void *user) {
        struct trace *t = user;

        note(t, "commit ");
        return t->commit_result;
}

static void flush(struct gw_flush *flush) {
        struct trace *t = gw_container_of(flush, struct trace, flush);

        note(t, "flush ");
        gw_loop_cancel_flush(&t->f->loop, &t->other);
        t->done = true;
}

static void never(struct gw_flush *flush) {
        note(gw_container_of(flush, struct trace, other), "cancelled-flush ");
}

static void work(struct gw_post *post) {
        struct trace *t = gw_container_of(post, struct trace, post);

        note(t, "work ");
        gw_loop_flush_later(&t->f->loop, &t->flush);
        gw_loop_flush_later(&t->f->loop, &t->other);
        gw_loop_flush_later(&t->f->loop, &t->flush);
        note(t, "more ");
}

static void trace_init(struct trace *t, struct fixture *f) {
        *t = (struct trace){.f = f, .flush.run = flush, .other.run = never, .post.run = work};
        f->loop.commit = commit;
        f->loop.commit_user = t;
}

static void commits_before_it_flushes(void **state) {
        struct fixture *f = *state;
        struct trace t;

        trace_init(&t, f);
        gw_loop_post(&f->loop, &t.post);
        gw_loop_post(&f->loop, &t.post);
        fixture_spin_until(f, &t.done);
        assert_string_equal(t.text, "work more commit flush ");
}

static void a_failed_commit_lets_nothing_out(void **state) {
        struct fixture *f = *state;
        struct trace t;

        trace_init(&t, f);
        t.commit_result = -EIO;
        gw_loop_post(&f->loop, &t.post);
        assert_int_equal(gw_loop_run(&f->loop), EXIT_FAILURE);
        assert_string_equal(t.text, "work more commit ");
}

static int always_busy(sd_event_source *source, int fd, uint32_t revents, void *user) {
        (void)source;
        (void)fd;
        (void)revents;
        (void)user;
        return 0;
}

static void flushes_although_busy_without_end(void **state) {
        struct fixture *f = *state;
        sd_event_source *source;
        int fd = eventfd(1, EFD_CLOEXEC);
        struct trace t;

        trace_init(&t, f);
        assert_true(sd_event_add_io(f->loop.event, &source, fd, EPOLLIN, always_busy, NULL) >= 0);
        gw_loop_post(&f->loop, &t.post);
        fixture_spin_until(f, &t.done);
        sd_event_source_disable_unref(source);
        close(fd);
}

enum { WATCHES = 200 };

struct watched {
        struct gw_watch watch;
        struct crowd *crowd;
        unsigned calls;
};

struct crowd {
        struct watched member[WATCHES];
        unsigned calls;
        bool all;
};

static void crowd_init(struct crowd *crowd, struct fixture *f, void (*run)(struct gw_watch *watch, uint32_t events)) {
        memset(crowd, 0, sizeof *crowd);
        for (int i = 0; i < WATCHES; i++) {
                struct watched *w = &crowd->member[i];

                w->crowd = crowd;
                w->watch.run = run;
                assert_int_equal(gw_watch_start(&w->watch, &f->loop.poll, eventfd(1, EFD_CLOEXEC), EPOLLIN), 0);
        }
}

static void crowd_deinit(struct crowd *crowd) {
        for (int i = 0; i < WATCHES; i++) {
                gw_watch_stop(&crowd->member[i].watch);
                close(crowd->member[i].watch.fd);
        }
}

/* Stays ready: that must not keep the others from their turn. */
static void count(struct gw_watch *watch, uint32_t events) {
        struct watched *w = gw_container_of(watch, struct watched, watch);

        assert_int_equal(events, EPOLLIN);
        w->crowd->calls += w->calls++ == 0;
        w->crowd->all = w->crowd->calls == WATCHES;
}

static void a_crowd_is_served_in_turn(void **state) {
        struct fixture *f = *state;
        struct crowd crowd;

        crowd_init(&crowd, f, count);
        fixture_spin_until(f, &crowd.all);
        for (int i = 0; i < WATCHES; i++)
                assert_in_range(crowd.member[i].calls, 1, 3);
        crowd_deinit(&crowd);
}

/* The first that is called stops every second, and wants no more of the rest. */
static void hush(struct gw_watch *watch, uint32_t events) {
        struct crowd *crowd = gw_container_of(watch, struct watched, watch)->crowd;

        (void)events;
        assert_int_equal(crowd->calls++, 0);
        for (int i = 0; i < WATCHES; i++)
                if (i % 2)
                        gw_watch_stop(&crowd->member[i].watch);
                else
                        assert_int_equal(gw_watch_change(&crowd->member[i].watch, 0), 0);
}

static void who_is_stopped_is_not_called(void **state) {
        struct fixture *f = *state;
        struct crowd crowd;

        crowd_init(&crowd, f, hush);
        fixture_spin_ms(f, 20);
        assert_int_equal(crowd.calls, 1);
        for (int i = 0; i < WATCHES; i += 2) {
                crowd.member[i].watch.run = count;
                assert_int_equal(gw_watch_change(&crowd.member[i].watch, EPOLLIN), 0);
        }
        crowd.calls = WATCHES / 2;
        fixture_spin_until(f, &crowd.all);
        crowd_deinit(&crowd);
}

static void slow(struct gw_watch *watch, uint32_t events) {
        usleep(2000);
        count(watch, events);
}

/* Two milliseconds each: the flush waits for one of them, not for two hundred. */
static void a_crowd_does_not_hold_up_the_flush(void **state) {
        struct fixture *f = *state;
        struct crowd crowd;
        struct trace t;

        crowd_init(&crowd, f, slow);
        trace_init(&t, f);
        gw_loop_post(&f->loop, &t.post);
        fixture_spin_until(f, &t.done);
        assert_false(crowd.all);
        crowd_deinit(&crowd);
}

static void end_it(void *user) {
        struct trace *t = user;

        gw_loop_flush_later(&t->f->loop, &t->flush);
        kill(getpid(), SIGTERM);
}

static void sigterm_ends_it_after_a_last_flush(void **state) {
        struct fixture *f = *state;
        struct trace t;

        trace_init(&t, f);
        assert_int_equal(gw_timer_new(&t.timer, &f->loop, gw_ms(1), (struct gw_duration){0}, end_it, &t), 0);
        assert_int_equal(gw_loop_run(&f->loop), 0);
        assert_non_null(strstr(t.text, "commit flush "));
        gw_timer_free(t.timer);
}

static void tick(void *user) {
        struct trace *t = user;

        if (++t->ticks < 5)
                return;
        gw_timer_free(t->timer); /* inside its own call */
        t->timer = NULL;
        t->done = true;
}

static void timers_repeat_until_freed(void **state) {
        struct fixture *f = *state;
        struct trace t = {.f = f};
        struct gw_mono start = gw_mono_now();

        assert_int_equal(gw_timer_new(&t.timer, &f->loop, gw_ms(10), gw_ms(10), tick, &t), 0);
        fixture_spin_until(f, &t.done);
        assert_in_range(gw_mono_between(start, gw_mono_now()).ns, gw_ms(50).ns, gw_ms(1000).ns);
        fixture_spin_ms(f, 30);
        assert_int_equal(t.ticks, 5);
        gw_timer_free(NULL);
}

static void files_are_replaced_whole(void **state) {
        const char *path = fixture_path(*state, "deep/er/file"), *folder = fixture_path(*state, "deep/er");
        struct stat st;
        char *text;
        size_t size;

        assert_int_equal(gw_dir_make(folder, 0700), 0);
        assert_int_equal(gw_dir_make(folder, 0700), 0);
        assert_int_equal(stat(folder, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0700);
        assert_int_equal(gw_file_write(path, "one", 3, 0600), 0);
        assert_int_equal(gw_file_write(path, "second", 6, 0640), 0);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0640);
        assert_int_equal(gw_file_read(path, 6, &text, &size), 0);
        assert_int_equal(size, 6);
        assert_string_equal(text, "second");
        free(text);
        assert_int_equal(gw_file_read(path, 5, &text, &size), -EFBIG);
        assert_int_equal(gw_dir_make(path, 0700), -ENOTDIR);
        assert_int_equal(gw_file_remove(path), 0);
        assert_int_equal(gw_file_remove(path), 0);
        assert_int_equal(gw_file_read(path, 5, &text, &size), -ENOENT);
        assert_int_equal(gw_file_write(fixture_path(*state, "absent/file"), "x", 1, 0600), -ENOENT);
}

/* In the place of the library's: who is killed before it has set no mode. */
static bool killed;

int chmod(const char *path, mode_t mode) {
        if (!killed)
                return fchmodat(AT_FDCWD, path, mode, 0);
        errno = EINTR;
        return -1;
}

/* Others pass through folders that a daemon makes, also where its own files are to be nobody's. */
static void folders_get_the_mode_that_is_asked_for(void **state) {
        const char *path = fixture_path(*state, "open/folder/file");
        mode_t before = umask(0077);
        struct stat st;

        killed = true; /* what it leaves is no folder of that name, whose mode nobody would set any more */
        assert_int_equal(gw_dir_make_above(path, 0711), -EINTR);
        killed = false;
        assert_int_equal(stat(fixture_path(*state, "open"), &st), -1);
        assert_int_equal(gw_dir_make_above(path, 0711), 0);
        umask(before);
        assert_int_equal(stat(fixture_path(*state, "open/folder"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0711);
        assert_int_equal(stat(fixture_path(*state, "open"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0755);
        /* One that is there is its owner's. */
        assert_return_code(chmod(fixture_path(*state, "open/folder"), 0770), errno);
        assert_int_equal(gw_dir_make_above(path, 0711), 0);
        assert_int_equal(stat(fixture_path(*state, "open/folder"), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0770);
}

static void large_files_are_read(void **state) {
        const char *path = fixture_path(*state, "large");
        size_t size = 300001, got;
        char *bytes = malloc(size), *text;

        memset(bytes, 'x', size);
        assert_int_equal(gw_file_write(path, bytes, size, 0600), 0);
        assert_int_equal(gw_file_read(path, size, &text, &got), 0);
        assert_int_equal(got, size);
        assert_memory_equal(text, bytes, size);
        free(bytes);
        free(text);
}

static void json_faults_have_a_place(void **state) {
        const char *path = fixture_path(*state, "x.json");
        struct gw_error error;
        json_t *value;

        assert_int_equal(gw_file_write(path, "{\n \"a\": }", 9, 0600), 0);
        assert_int_equal(gw_file_read_json(path, 100, &value, &error), GW_E_MALFORMED);
        assert_non_null(strstr(error.text, "x.json:2:"));
        value = json_pack("{si}", "a", 1);
        assert_int_equal(gw_file_write_json(path, value, 0600), 0);
        json_decref(value);
        assert_int_equal(gw_file_read_json(path, 100, &value, &error), 0);
        assert_int_equal(json_integer_value(json_object_get(value, "a")), 1);
        json_decref(value);
        assert_int_equal(gw_file_read_json(fixture_path(*state, "absent"), 100, &value, &error), -ENOENT);
}

static void certificates_are_guarded(void **state) {
        struct fixture *f = *state;
        struct gw_pki_request request = {.name = "h2", .days = 1};
        char ca[128], ca_key[128], cert[128], key[128];
        struct gw_error error;
        struct gw_tls *tls;
        struct stat st;

        strcpy(ca, fixture_path(f, "ca.crt"));
        strcpy(ca_key, fixture_path(f, "ca.key"));
        strcpy(cert, fixture_path(f, "h2.crt"));
        strcpy(key, fixture_path(f, "h2.key"));
        assert_int_equal(gw_pki_make_ca(ca, ca_key, "ca", 1, &error), GW_E_EXISTS);
        assert_int_equal(gw_pki_issue(ca, ca_key, cert, key, &request, &error), 0);
        assert_int_equal(stat(key, &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
        assert_int_equal(gw_pki_issue(ca, ca_key, cert, key, &request, &error), GW_E_EXISTS);
        request.overwrite = true;
        assert_int_equal(gw_pki_issue(ca, ca_key, cert, key, &request, &error), 0);
        assert_int_equal(gw_tls_new(&tls, ca, cert, key, &error), 0);
        assert_string_equal(gw_tls_name(tls), "h2");
        /* A key that is not the certificate's: the old certificates stay. */
        assert_int_equal(gw_pki_issue(ca, ca_key, fixture_path(f, "h3.crt"), key, &request, &error), 0);
        assert_int_equal(gw_tls_reload(tls, &error), GW_E_INVALID);
        assert_string_equal(error.field, "tls-key");
        assert_string_equal(gw_tls_name(tls), "h2");
        gw_tls_free(tls);
        request.name = "a,CA:TRUE";
        assert_int_equal(gw_pki_issue(ca, ca_key, cert, key, &request, &error), GW_E_INVALID);
        request.name = "h2";
        request.hosts = (const char *const[]){"x,email:me"};
        request.n_hosts = 1;
        assert_int_equal(gw_pki_issue(ca, ca_key, cert, key, &request, &error), GW_E_INVALID);
        assert_int_equal(gw_tls_new(&tls, ca, fixture_path(f, "none"), key, &error), -ENOENT);
        assert_string_equal(error.field, "tls-cert");
}

static void descriptors_are_as_many_as_may_be(void **state) {
        struct rlimit before, limit;

        (void)state;
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        limit = before;
        limit.rlim_cur = 64;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        gw_descriptors_raise();
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        assert_true(limit.rlim_cur == before.rlim_max && limit.rlim_max == before.rlim_max);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                with_fixture(commits_before_it_flushes),
                with_fixture(a_failed_commit_lets_nothing_out),
                with_fixture(flushes_although_busy_without_end),
                with_fixture(a_crowd_is_served_in_turn),
                with_fixture(who_is_stopped_is_not_called),
                with_fixture(a_crowd_does_not_hold_up_the_flush),
                with_fixture(sigterm_ends_it_after_a_last_flush),
                with_fixture(timers_repeat_until_freed),
                with_fixture(files_are_replaced_whole),
                with_fixture(large_files_are_read),
                cmocka_unit_test(descriptors_are_as_many_as_may_be),
                with_fixture(folders_get_the_mode_that_is_asked_for),
                with_fixture(json_faults_have_a_place),
                with_fixture(certificates_are_guarded),
        };

        return cmocka_run_group_tests_name("io_loop", tests, NULL, NULL);
}
