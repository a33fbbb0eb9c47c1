/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups for what outlives the agent: what systemd is asked, played by a system bus of our own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include "hv/scope.h"

#define ok(expression) assert_true((expression) >= 0)

enum { BUS_MAX = 100, MANY = 200, PAUSE_MS = 20 };

struct world {
        sd_event *event;
        struct hv_scopes *scopes;
        sd_event_source *listening;
        sd_bus *bus; /* systemd's end */
        int listener;
        char path[100];
        bool refuses, is_silent, is_slow;
        const char *refusal;
        sd_bus_message *held[BUS_MAX]; /* not answered yet */
        unsigned calls, asked, n_held, most_held, n_limited;
        char name[HV_SCOPE_NAME], before[64];
        uint32_t pid;
};

/* ---- systemd, and the bus before it ---- */

static void read_property(struct world *w, sd_bus_message *m) {
        const char *key, *contents, *text;

        ok(sd_bus_message_read(m, "s", &key));
        ok(sd_bus_message_peek_type(m, NULL, &contents));
        if (!strcmp(key, "PIDs")) {
                ok(sd_bus_message_read(m, "v", "au", 1, &w->pid));
        } else if (!strcmp(key, "Before")) {
                ok(sd_bus_message_read(m, "v", "as", 1, &text));
                snprintf(w->before, sizeof w->before, "%s", text);
        } else {
                ok(sd_bus_message_skip(m, "v"));
        }
}

static void read_request(struct world *w, sd_bus_message *m) {
        const char *name, *mode;

        ok(sd_bus_message_read(m, "ss", &name, &mode));
        assert_string_equal(mode, "fail");
        snprintf(w->name, sizeof w->name, "%s", name);
        ok(sd_bus_message_enter_container(m, 'a', "(sv)"));
        while (sd_bus_message_enter_container(m, 'r', "sv") > 0) {
                read_property(w, m);
                ok(sd_bus_message_exit_container(m));
        }
        ok(sd_bus_message_exit_container(m));
        w->asked++;
}

/* As dbus-daemon does: it ends the calls that are too many itself. */
static int hold(struct world *w, sd_bus_message *m) {
        if (w->n_held == BUS_MAX) {
                w->n_limited++;
                return sd_bus_reply_method_errorf(m, SD_BUS_ERROR_LIMITS_EXCEEDED, "Too many.") < 0 ? -1 : 1;
        }
        w->held[w->n_held++] = sd_bus_message_ref(m);
        if (w->n_held > w->most_held)
                w->most_held = w->n_held;
        return 1;
}

static void answer_held(struct world *w) {
        while (w->n_held) {
                sd_bus_message *m = w->held[--w->n_held];

                ok(sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/1"));
                sd_bus_message_unref(m);
        }
}

static int on_message(sd_bus_message *m, void *user, sd_bus_error *error) {
        struct world *w = user;

        (void)error;
        w->calls++;
        if (sd_bus_message_is_method_call(m, "org.freedesktop.DBus", "Hello"))
                return sd_bus_reply_method_return(m, "s", ":1.1") < 0 ? -1 : 1;
        if (!sd_bus_message_is_method_call(m, "org.freedesktop.systemd1.Manager", "StartTransientUnit"))
                return 0;
        read_request(w, m);
        if (w->is_silent)
                return 1;
        if (w->refuses)
                return sd_bus_reply_method_errorf(m, w->refusal, "No.") < 0 ? -1 : 1;
        if (w->is_slow)
                return hold(w, m);
        return sd_bus_reply_method_return(m, "o", "/org/freedesktop/systemd1/job/1") < 0 ? -1 : 1;
}

static int on_connection(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct world *w = user;
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        (void)source, (void)events;
        assert_true(peer >= 0);
        assert_null(w->bus);
        ok(sd_bus_new(&w->bus));
        ok(sd_bus_set_fd(w->bus, peer, peer));
        ok(sd_bus_set_server(w->bus, true, SD_ID128_MAKE(1, 2, 3, 4, 5, 6, 7, 8, 9, a, b, c, d, e, f, 0)));
        ok(sd_bus_add_filter(w->bus, NULL, on_message, w));
        ok(sd_bus_start(w->bus));
        ok(sd_bus_attach_event(w->bus, w->event, 0));
        return 0;
}

static void hang_up(struct world *w) {
        if (w->bus)
                sd_bus_detach_event(w->bus);
        w->bus = sd_bus_close_unref(w->bus);
}

static void listen_at(struct world *w) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};

        snprintf(at.sun_path, sizeof at.sun_path, "%s", w->path);
        w->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(w->listener, (struct sockaddr *)&at, sizeof at), 0);
        assert_return_code(listen(w->listener, 4), 0);
        ok(sd_event_add_io(w->event, &w->listening, w->listener, EPOLLIN, on_connection, w));
}

static int set_up(void **state) {
        struct world *w = calloc(1, sizeof *w);
        char address[140];

        assert_non_null(w);
        ok(sd_event_new(&w->event));
        snprintf(w->path, sizeof w->path, "/tmp/hv_scope.%d", (int)getpid());
        snprintf(address, sizeof address, "unix:path=%s", w->path);
        setenv("DBUS_SYSTEM_BUS_ADDRESS", address, 1);
        listen_at(w);
        assert_int_equal(hv_scopes_new(&w->scopes, w->event, "godwit-hv.service", PAUSE_MS), 0);
        assert_non_null(w->scopes);
        *state = w;
        return 0;
}

static int tear_down(void **state) {
        struct world *w = *state;

        hv_scopes_free(w->scopes);
        hang_up(w);
        sd_event_source_disable_unref(w->listening);
        close(w->listener);
        unlink(w->path);
        sd_event_unref(w->event);
        free(w);
        return 0;
}

static void run_until(struct world *w, const unsigned *count, unsigned n) {
        for (int i = 0; i < 1000 && *count < n; i++)
                ok(sd_event_run(w->event, 10000));
        assert_int_equal(*count, n);
}

/* Until nothing happens any more. */
static void settle(struct world *w) {
        while (sd_event_run(w->event, 20000) > 0)
                ;
}

/* For longer than it takes until something is asked again. */
static void rest(struct world *w) {
        while (sd_event_run(w->event, 5ULL * PAUSE_MS * 1000) > 0)
                ;
}

/* ---- cases ---- */

static void a_scope_is_asked_for(void **state) {
        struct world *w = *state;
        char name[HV_SCOPE_NAME];

        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 1);
        hv_scope_name(name, "vm", "web@default", getpid());
        assert_string_equal(w->name, name);
        assert_string_equal(w->before, "godwit-hv.service");
        assert_int_equal(w->pid, getpid());
        settle(w);
}

static void one_that_fails_is_asked_again(void **state) {
        struct world *w = *state;
        char name[HV_SCOPE_NAME];

        w->refuses = true;
        w->refusal = SD_BUS_ERROR_LIMITS_EXCEEDED;
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 2);
        w->refuses = false;
        run_until(w, &w->asked, 3);
        hv_scope_name(name, "vm", "web@default", getpid());
        assert_string_equal(w->name, name);
        rest(w);
        assert_int_equal(w->asked, 3);
}

static void it_is_given_up_in_the_end(void **state) {
        struct world *w = *state;

        w->refuses = true;
        w->refusal = SD_BUS_ERROR_ACCESS_DENIED;
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 5);
        rest(w);
        assert_int_equal(w->asked, 5);
        w->refuses = false;
        hv_scopes_put(w->scopes, "copy", "web@default", getpid());
        run_until(w, &w->asked, 6);
        settle(w);
}

static void what_there_is_already_is_done(void **state) {
        struct world *w = *state;

        w->refuses = true;
        w->refusal = "org.freedesktop.systemd1.UnitExists";
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 1);
        rest(w);
        assert_int_equal(w->asked, 1);
}

/* An agent that starts adopts all at once, and only so many may wait for an answer. */
static void many_are_asked_for_in_turn(void **state) {
        struct world *w = *state;
        char id[32];

        w->is_slow = true;
        for (unsigned i = 0; i < MANY; i++) {
                snprintf(id, sizeof id, "vm%u@default", i);
                hv_scopes_put(w->scopes, "vm", id, getpid());
        }
        for (unsigned round = 0; round < MANY && w->asked < MANY; round++) {
                settle(w);
                answer_held(w);
        }
        settle(w);
        assert_int_equal(w->asked, MANY);
        assert_int_equal(w->n_limited, 0);
        assert_in_range(w->most_held, 1, 64);
}

/* What was not answered is asked on the next connection. */
static void a_bus_that_goes_away_meanwhile(void **state) {
        struct world *w = *state;

        w->is_silent = true;
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 1);
        w->is_silent = false;
        hang_up(w);
        run_until(w, &w->asked, 2);
        settle(w);
}

static void a_bus_that_was_away_is_found_again(void **state) {
        struct world *w = *state;

        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 1);
        settle(w);
        hang_up(w);
        settle(w);
        hv_scopes_put(w->scopes, "vm", "db@default", getpid());
        run_until(w, &w->asked, 2);
        settle(w);
}

static void without_a_bus_nothing_happens(void **state) {
        struct world *w = *state;

        setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere/at/all", 1);
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        rest(w);
        assert_int_equal(w->calls, 0);
}

static void the_agent_may_end_unanswered(void **state) {
        struct world *w = *state;

        w->is_silent = true;
        hv_scopes_put(w->scopes, "vm", "web@default", getpid());
        run_until(w, &w->asked, 1);
        hv_scopes_put(w->scopes, "vm", "db@default", getpid());
}

static void those_elsewhere_stay_there(void **state) {
        struct world *w = *state;

        hv_scopes_put(w->scopes, "vm", "web@default", INT32_MAX); /* nobody */
        hv_scopes_put(NULL, "vm", "web@default", getpid());
        settle(w);
        assert_int_equal(w->calls, 0);
}

static void only_under_systemd(void **state) {
        struct hv_scopes *scopes = (void *)1;

        (void)state;
        setenv("SYSTEMD_EXEC_PID", "1", 1); /* an ancestor's */
        assert_null(hv_scopes_unit());
        unsetenv("SYSTEMD_EXEC_PID");
        assert_null(hv_scopes_unit());
        assert_int_equal(hv_scopes_new(&scopes, NULL, NULL, PAUSE_MS), 0);
        assert_null(scopes);
}

static void names(void **state) {
        char name[HV_SCOPE_NAME], id[300];

        (void)state;
        hv_scope_name(name, "vm", "web-1@default", 4711);
        assert_string_equal(name, "godwit-vm-web-1\\x40default-4711.scope");
        memset(id, '@', sizeof id - 1);
        id[sizeof id - 1] = 0;
        hv_scope_name(name, "copy", id, 4194304);
        assert_true(strlen(name) < HV_SCOPE_NAME);
        assert_non_null(strstr(name, "\\x40-4194304.scope"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_scope_is_asked_for, set_up, tear_down),
                cmocka_unit_test_setup_teardown(one_that_fails_is_asked_again, set_up, tear_down),
                cmocka_unit_test_setup_teardown(it_is_given_up_in_the_end, set_up, tear_down),
                cmocka_unit_test_setup_teardown(what_there_is_already_is_done, set_up, tear_down),
                cmocka_unit_test_setup_teardown(many_are_asked_for_in_turn, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_bus_that_goes_away_meanwhile, set_up, tear_down),
                cmocka_unit_test_setup_teardown(a_bus_that_was_away_is_found_again, set_up, tear_down),
                cmocka_unit_test_setup_teardown(without_a_bus_nothing_happens, set_up, tear_down),
                cmocka_unit_test_setup_teardown(the_agent_may_end_unanswered, set_up, tear_down),
                cmocka_unit_test_setup_teardown(those_elsewhere_stay_there, set_up, tear_down),
                cmocka_unit_test(only_under_systemd),
                cmocka_unit_test(names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
