/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Orders that take several commands, given by the driver to an emulator that is a
 * script in the same event loop: which commands come together, what becomes of an
 * order whose command is refused or whose emulator does not answer any more.
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
#include <unistd.h>

#include "hypervisor/driver.h"
#include "hypervisor/process.h"
#include "hypervisor/qmp.h"

struct bed {
        sd_event *event;
        struct gw_vm *vm;
        char folder[64], path[80];
        int listener, peer;
        sd_event_source *listen_source, *peer_source;
        struct gw_qmp_lines lines;
        char got[1024];      /* the emulator's: commands as they came; '|' before what came together */
        const char *refused; /* this command is */
        bool is_dumb;        /* hangs up instead of answering a copy's commands */
        int answered;        /* commands of the copy */
        int ready, done, answered_when_done;
        char error[256];
};

static void say(struct bed *bed, json_t *object) {
        char *text = json_dumps(object, JSON_COMPACT);

        assert_int_equal(write(bed->peer, text, strlen(text)), (ssize_t)strlen(text));
        assert_int_equal(write(bed->peer, "\r\n", 2), 2);
        free(text);
        json_decref(object);
}

static int take(json_t *object, void *user) {
        struct bed *bed = user;
        const char *name = json_string_value(json_object_get(object, "execute"));
        json_t *id = json_object_get(object, "id");
        size_t used = strlen(bed->got);

        assert_non_null(name);
        if (bed->ready) {
                snprintf(bed->got + used, sizeof bed->got - used, " %s", name);
                if (bed->is_dumb)
                        return 0;
                bed->answered++;
        }
        if (bed->refused && strcmp(name, bed->refused) == 0)
                say(bed,
                    json_pack("{s:{s:s, s:s}, s:O}", "error", "class", "GenericError", "desc", "not today", "id", id));
        else
                say(bed, json_pack("{s:{}, s:O}", "return", "id", id));
        return 0;
}

static void hang_up(struct bed *bed) {
        bed->peer_source = sd_event_source_disable_unref(bed->peer_source);
        close(bed->peer);
        bed->peer = -1;
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct bed *bed = user;
        char octets[8192];
        ssize_t n = read(fd, octets, sizeof octets);

        (void)source, (void)revents;
        if (n > 0 && bed->ready)
                strcat(bed->got, " |");
        if (n > 0)
                assert_int_equal(gw_qmp_lines_feed(&bed->lines, octets, (size_t)n, take, bed), 0);
        if (n <= 0 || (bed->is_dumb && bed->ready))
                hang_up(bed);
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct bed *bed = user;

        (void)source, (void)revents;
        bed->peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(bed->peer >= 0);
        sd_event_add_io(bed->event, &bed->peer_source, bed->peer, EPOLLIN, on_input, bed);
        say(bed, json_pack("{s:{s:{}, s:[]}}", "QMP", "version", "capabilities"));
        return 0;
}

static void on_ready(struct gw_vm *vm, const struct gw_vm_status *status, void *user) {
        (void)vm, (void)status;
        ((struct bed *)user)->ready++;
}

static void on_run(struct gw_vm *vm, enum gw_vm_run run, struct gw_wall at, void *user) {
        (void)vm, (void)run, (void)at, (void)user;
}

static void on_copy(struct gw_vm *vm, enum gw_vm_copy copy, struct gw_wall at, void *user) {
        (void)vm, (void)copy, (void)at, (void)user;
}

static void on_exited(struct gw_vm *vm, bool clean, const char *reason, void *user) {
        (void)vm, (void)clean, (void)reason, (void)user;
        fail_msg("the emulator is this very process, which lives");
}

static const struct gw_vm_events events = {.ready = on_ready, .run = on_run, .copy = on_copy, .exited = on_exited};

static void on_done(const struct gw_error *error, void *user) {
        struct bed *bed = user;

        bed->done++;
        bed->answered_when_done = bed->answered;
        snprintf(bed->error, sizeof bed->error, "%s", error ? error->text : "");
}

/* Runs the loop until *counter reaches n, for at most five seconds. */
static void until(struct bed *bed, const int *counter, int n) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_s(5));

        while (*counter < n && !gw_mono_reached(gw_mono_now(), end))
                assert_return_code(sd_event_run(bed->event, 20000), 0);
        assert_int_equal(*counter, n);
}

static int setup(void **state) {
        struct bed *bed = calloc(1, sizeof *bed);
        struct gw_vm_identity self = {.pid = getpid(), .start_time = gw_process_start_time(getpid())};
        struct sockaddr_un at = {.sun_family = AF_UNIX};
        struct gw_error error = {0};

        *state = bed;
        bed->peer = -1;
        strcpy(bed->folder, "/tmp/gw-orders-XXXXXX");
        assert_non_null(mkdtemp(bed->folder));
        snprintf(bed->path, sizeof bed->path, "%s/qmp", bed->folder);
        snprintf(at.sun_path, sizeof at.sun_path, "%s", bed->path);
        bed->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(bed->listener, (struct sockaddr *)&at, sizeof at), errno);
        assert_return_code(listen(bed->listener, 1), errno);
        assert_return_code(sd_event_new(&bed->event), 0);
        sd_event_add_io(bed->event, &bed->listen_source, bed->listener, EPOLLIN, on_accept, bed);
        assert_int_equal(gw_qemu_driver.adopt(&bed->vm, bed->event, bed->folder, &self, &events, bed, &error), 0);
        until(bed, &bed->ready, 1);
        return 0;
}

static int teardown(void **state) {
        struct bed *bed = *state;

        gw_qemu_driver.free(bed->vm);
        sd_event_source_disable_unref(bed->listen_source);
        if (bed->peer >= 0)
                hang_up(bed);
        close(bed->listener);
        unlink(bed->path);
        rmdir(bed->folder);
        gw_qmp_lines_deinit(&bed->lines);
        sd_event_unref(bed->event);
        free(bed);
        return 0;
}

static void send_copy(struct bed *bed) {
        struct gw_vm_migration to = {.uri = "tcp:10.0.0.2:49152", .security = {.tls_dir = "/pki", .peer = "h2"}};

        gw_qemu_driver.migrate(bed->vm, &to, on_done, bed);
        until(bed, &bed->done, 1);
}

static void a_copy_is_prepared_in_one_go_and_begun_alone(void **state) {
        struct bed *bed = *state;

        send_copy(bed);
        assert_string_equal(bed->error, "");
        assert_string_equal(bed->got,
                            " | object-del object-add migrate-set-capabilities migrate-set-parameters | migrate");
}

/* Without its certificates a copy would go in the clear. */
static void what_was_not_prepared_does_not_begin(void **state) {
        static const char *const needed[] = {"object-add", "migrate-set-capabilities", "migrate-set-parameters"};
        struct bed *bed = *state;

        for (size_t i = 0; i < sizeof needed / sizeof *needed; i++) {
                bed->refused = needed[i];
                bed->done = bed->answered = 0;
                send_copy(bed);
                assert_non_null(strstr(bed->error, needed[i]));
                assert_int_equal(bed->answered_when_done, 4);
                for (int turn = 0; turn < 3; turn++)
                        sd_event_run(bed->event, 1000);
                assert_int_equal(bed->done, 1);
                assert_null(strstr(bed->got, "| migrate"));
        }
}

static void what_may_fail_may(void **state) {
        struct bed *bed = *state;

        bed->refused = "object-del";
        send_copy(bed);
        assert_string_equal(bed->error, "");
        assert_int_equal(bed->answered, 5);
}

static void an_emulator_that_hangs_up_ends_the_order_once(void **state) {
        struct bed *bed = *state;

        bed->is_dumb = true;
        send_copy(bed);
        assert_string_not_equal(bed->error, "");
        assert_null(strstr(bed->got, "| migrate"));
        bed->is_dumb = false;
        until(bed, &bed->ready, 2); /* the channel is back */
        assert_int_equal(bed->done, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(a_copy_is_prepared_in_one_go_and_begun_alone, setup, teardown),
                cmocka_unit_test_setup_teardown(what_was_not_prepared_does_not_begin, setup, teardown),
                cmocka_unit_test_setup_teardown(what_may_fail_may, setup, teardown),
                cmocka_unit_test_setup_teardown(an_emulator_that_hangs_up_ends_the_order_once, setup, teardown),
        };

        return cmocka_run_group_tests_name("hypervisor_orders", tests, NULL, NULL);
}
