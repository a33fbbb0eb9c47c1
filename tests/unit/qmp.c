/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QMP client: the cutting of the stream into objects, and the client
 * against a server that follows a script in the same event loop.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "hypervisor/qmp.h"

/* ---- lines ---- */

struct seen {
        int n, stop_at;
        char last[64];
};

static int see(json_t *object, void *user) {
        struct seen *seen = user;

        seen->n++;
        snprintf(seen->last, sizeof seen->last, "%s", json_string_value(json_object_get(object, "k")));
        return seen->n == seen->stop_at ? 7 : 0;
}

static void lines_in_pieces_of_every_size(void **state) {
        static const char text[] = "{\"k\": \"a\"}\r\n\r\n{\"k\": \"b\"}\n  \n{\"k\":\"c\"}\r\n{\"k\":";

        (void)state;
        for (size_t piece = 1; piece < sizeof text; piece++) {
                struct gw_qmp_lines lines = {0};
                struct seen seen = {0};

                for (size_t at = 0; at < sizeof text - 1; at += piece) {
                        size_t n = sizeof text - 1 - at < piece ? sizeof text - 1 - at : piece;

                        assert_int_equal(gw_qmp_lines_feed(&lines, text + at, n, see, &seen), 0);
                }
                assert_int_equal(seen.n, 3);
                assert_string_equal(seen.last, "c");
                gw_qmp_lines_deinit(&lines);
        }
}

static void lines_that_are_refused(void **state) {
        static const char *const bad[] = {"nonsense\n",          "[1]\n", "7\n", "{\"k\":1}x\n",
                                          "{\"a\":1,\"a\":2}\n", "\xff\n"};

        (void)state;
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                struct gw_qmp_lines lines = {0};
                struct seen seen = {0};

                assert_int_equal(gw_qmp_lines_feed(&lines, bad[i], strlen(bad[i]), see, &seen), -EBADMSG);
                assert_int_equal(seen.n, 0);
                gw_qmp_lines_deinit(&lines);
        }
}

static void lines_stop_where_told(void **state) {
        struct gw_qmp_lines lines = {0};
        struct seen seen = {.stop_at = 2};
        static const char text[] = "{\"k\":\"a\"}\n{\"k\":\"b\"}\n{\"k\":\"c\"}\n";

        (void)state;
        assert_int_equal(gw_qmp_lines_feed(&lines, text, sizeof text - 1, see, &seen), 7);
        assert_string_equal(seen.last, "b");
        gw_qmp_lines_deinit(&lines);
}

static void lines_are_bounded(void **state) {
        struct gw_qmp_lines lines = {0};
        struct seen seen = {0};
        static char block[65536];
        int r = 0;

        (void)state;
        memset(block, ' ', sizeof block);
        for (int i = 0; i < 32 && r == 0; i++)
                r = gw_qmp_lines_feed(&lines, block, sizeof block, see, &seen);
        assert_int_equal(r, -EMSGSIZE);
        gw_qmp_lines_deinit(&lines);
}

/* ---- client ---- */

struct bed {
        sd_event *event;
        struct gw_qmp *qmp;
        char path[64];
        int listener, peer;
        sd_event_source *listen_source, *peer_source;
        char got[4096]; /* by the server */
        int ready, closed, answers, errors, events;
        int free_at_event;
        char reason[200], error[256], event_name[32];
        struct gw_wall at;
        json_int_t value;
};

static void server_say(struct bed *bed, const char *text) {
        assert_int_equal(write(bed->peer, text, strlen(text)), (ssize_t)strlen(text));
}

static int on_server_input(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct bed *bed = user;
        size_t used = strlen(bed->got);
        ssize_t n = read(fd, bed->got + used, sizeof bed->got - used - 1);

        (void)revents;
        if (n <= 0) {
                sd_event_source_set_enabled(source, SD_EVENT_OFF);
                return 0;
        }
        bed->got[used + (size_t)n] = '\0';
        if (strstr(bed->got + used, "qmp_capabilities"))
                server_say(bed, "{\"return\": {}, \"id\": 0}\r\n");
        return 0;
}

static int on_server_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct bed *bed = user;

        (void)source;
        (void)revents;
        bed->peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(bed->peer >= 0);
        sd_event_add_io(bed->event, &bed->peer_source, bed->peer, EPOLLIN, on_server_input, bed);
        server_say(bed, "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n");
        return 0;
}

static void server_open(struct bed *bed) {
        struct sockaddr_un at = {.sun_family = AF_UNIX};

        strcpy(at.sun_path, bed->path);
        bed->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(bed->listener, (struct sockaddr *)&at, sizeof at), errno);
        assert_return_code(listen(bed->listener, 1), errno);
        sd_event_add_io(bed->event, &bed->listen_source, bed->listener, EPOLLIN, on_server_accept, bed);
}

static void on_ready(struct gw_qmp *qmp, void *user) {
        (void)qmp;
        ((struct bed *)user)->ready++;
}

static void on_event(struct gw_qmp *qmp, const char *name, json_t *data, struct gw_wall at, void *user) {
        struct bed *bed = user;

        (void)data;
        bed->events++;
        bed->at = at;
        snprintf(bed->event_name, sizeof bed->event_name, "%s", name);
        if (bed->events == bed->free_at_event) {
                gw_qmp_free(qmp);
                bed->qmp = NULL;
        }
}

static void on_closed(struct gw_qmp *qmp, const char *reason, void *user) {
        struct bed *bed = user;

        bed->closed++;
        snprintf(bed->reason, sizeof bed->reason, "%s", reason);
        gw_qmp_free(qmp);
        bed->qmp = NULL;
}

static const struct gw_qmp_ops ops = {on_ready, on_event, on_closed};

static void on_done(const struct gw_error *error, json_t *value, void *user) {
        struct bed *bed = user;

        bed->answers++;
        if (error) {
                bed->errors++;
                snprintf(bed->error, sizeof bed->error, "%s", error->text);
        } else {
                bed->value = json_integer_value(json_object_get(value, "n"));
        }
}

static int setup(void **state) {
        struct bed *bed = calloc(1, sizeof *bed);

        bed->listener = bed->peer = -1;
        snprintf(bed->path, sizeof bed->path, "/tmp/gw-qmp-%d.sock", (int)getpid());
        unlink(bed->path);
        assert_return_code(sd_event_new(&bed->event), 0);
        assert_int_equal(gw_qmp_new(&bed->qmp, bed->event, bed->path, &ops, bed), 0);
        *state = bed;
        return 0;
}

static int teardown(void **state) {
        struct bed *bed = *state;

        gw_qmp_free(bed->qmp);
        sd_event_source_disable_unref(bed->listen_source);
        sd_event_source_disable_unref(bed->peer_source);
        if (bed->listener >= 0)
                close(bed->listener);
        if (bed->peer >= 0)
                close(bed->peer);
        unlink(bed->path);
        sd_event_unref(bed->event);
        free(bed);
        return 0;
}

/* Runs the loop until *counter reaches n, for at most two seconds. */
static void until(struct bed *bed, const int *counter, int n) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_s(2));

        while (*counter < n && !gw_mono_reached(gw_mono_now(), end))
                assert_return_code(sd_event_run(bed->event, 20000), 0);
        assert_int_equal(*counter, n);
}

static void client_waits_for_the_socket(void **state) {
        struct bed *bed = *state;

        gw_qmp_execute(bed->qmp, "query-status", NULL, on_done, bed); /* before anybody listens */
        for (int i = 0; i < 5; i++)
                sd_event_run(bed->event, 10000);
        assert_int_equal(bed->ready, 0);
        server_open(bed);
        until(bed, &bed->ready, 1);
        while (!strstr(bed->got, "query-status"))
                assert_return_code(sd_event_run(bed->event, 100000), 0);
        server_say(bed, "{\"return\": {\"n\": 5}, \"id\": 1}\r\n");
        until(bed, &bed->answers, 1);
        assert_int_equal(bed->value, 5);
        assert_int_equal(bed->errors, 0);
}

static void client_pairs_answers_and_passes_events(void **state) {
        struct bed *bed = *state;
        struct bed second = {0};

        server_open(bed);
        until(bed, &bed->ready, 1);
        gw_qmp_execute(bed->qmp, "a", json_pack("{s:i}", "x", 1), on_done, bed);
        gw_qmp_execute(bed->qmp, "b", NULL, on_done, &second);
        server_say(bed, "{\"return\": {\"n\": 2}, \"id\": 2}\r\n"
                        "{\"event\": \"STOP\", \"timestamp\": {\"seconds\": 3, \"microseconds\": 4}}\r\n"
                        "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no such thing\"}, \"id\": 1}\r\n"
                        "{\"return\": {}, \"id\": 99}\r\n");
        until(bed, &bed->answers, 1);
        until(bed, &second.answers, 1);
        assert_int_equal(second.value, 2);
        assert_string_equal(bed->error, "a: no such thing");
        assert_string_equal(bed->event_name, "STOP");
        assert_true(bed->at.ns == 3 * GW_NS_PER_S + 4 * GW_NS_PER_US);
}

static void client_answers_when_the_peer_goes(void **state) {
        struct bed *bed = *state;

        server_open(bed);
        until(bed, &bed->ready, 1);
        gw_qmp_execute(bed->qmp, "a", NULL, on_done, bed);
        gw_qmp_execute(bed->qmp, "b", NULL, on_done, bed);
        shutdown(bed->peer, SHUT_RDWR);
        until(bed, &bed->closed, 1);
        assert_int_equal(bed->answers, 2);
        assert_int_equal(bed->errors, 2);
}

static void client_ends_on_nonsense(void **state) {
        struct bed *bed = *state;

        server_open(bed);
        until(bed, &bed->ready, 1);
        server_say(bed, "this is not JSON\r\n");
        until(bed, &bed->closed, 1);
        assert_non_null(strstr(bed->reason, "not JSON"));
}

static void client_may_be_freed_in_a_callback(void **state) {
        struct bed *bed = *state;

        server_open(bed);
        until(bed, &bed->ready, 1);
        bed->free_at_event = 1;
        server_say(bed, "{\"event\": \"STOP\"}\r\n{\"event\": \"RESUME\"}\r\n");
        until(bed, &bed->events, 1);
        sd_event_run(bed->event, 10000);
        assert_int_equal(bed->events, 1);
        assert_int_equal(bed->closed, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lines_in_pieces_of_every_size),
                cmocka_unit_test(lines_that_are_refused),
                cmocka_unit_test(lines_stop_where_told),
                cmocka_unit_test(lines_are_bounded),
                cmocka_unit_test_setup_teardown(client_waits_for_the_socket, setup, teardown),
                cmocka_unit_test_setup_teardown(client_pairs_answers_and_passes_events, setup, teardown),
                cmocka_unit_test_setup_teardown(client_answers_when_the_peer_goes, setup, teardown),
                cmocka_unit_test_setup_teardown(client_ends_on_nonsense, setup, teardown),
                cmocka_unit_test_setup_teardown(client_may_be_freed_in_a_callback, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
