/* SPDX-License-Identifier: Apache-2.0 */
/* An emulator that runs a guest, found again: what it is asked, and that nobody ends it because its answers are late. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <jansson.h>

#include "base/error.h"
#include "base/time.h"
#include "hypervisor/argv.h"
#include "hypervisor/driver.h"
#include "hypervisor/kvm.h"
#include "hypervisor/process.h"

enum { PATIENCE_MS = 10000 };

static struct bed {
        sd_event *event;
        struct gw_vm *vm;
        char folder[64];
        pid_t pid; /* acts as the emulator; only its life is looked at */
        int listener, peer;
        sd_event_source *listen_source, *peer_source;
        int connections, hang_ups; /* how many of the first connections end in the middle of the set-up */
        int ready, exited;
        enum gw_vm_run run;
        char reason[300];
} bed;

static const char *at(const char *name) {
        static char path[120];

        snprintf(path, sizeof path, "%s/%s", bed.folder, name);
        return path;
}

static void hang_up(void) {
        bed.peer_source = sd_event_source_disable_unref(bed.peer_source);
        close(bed.peer);
        bed.peer = -1;
}

static void say(const char *text) {
        assert_int_equal(send(bed.peer, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void answer(const char *line) {
        json_t *command = json_loads(line, 0, NULL);
        const char *name = json_string_value(json_object_get(command, "execute"));
        char text[200];

        assert_non_null(name);
        snprintf(text, sizeof text, "{\"return\": %s, \"id\": %lld}\r\n",
                 strcmp(name, "query-status") ? strcmp(name, "query-block-jobs") ? "{}" : "[]"
                                              : "{\"status\": \"running\"}",
                 (long long)json_integer_value(json_object_get(command, "id")));
        json_decref(command);
        say(text);
}

static int on_input(sd_event_source *source, int fd, uint32_t revents, void *user) {
        char octets[8192], *line, *rest = octets;
        ssize_t n = read(fd, octets, sizeof octets - 1);

        (void)source, (void)revents, (void)user;
        if (n <= 0) {
                hang_up();
                return 0;
        }
        octets[n] = '\0';
        while ((line = strsep(&rest, "\n")) && *line) {
                if (strstr(line, "query-status") && bed.connections <= bed.hang_ups) {
                        hang_up();
                        return 0;
                }
                answer(line);
        }
        return 0;
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *user) {
        (void)source, (void)revents, (void)user;
        bed.peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        assert_true(bed.peer >= 0);
        bed.connections++;
        sd_event_add_io(bed.event, &bed.peer_source, bed.peer, EPOLLIN, on_input, NULL);
        say("{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n");
        return 0;
}

static void listen_at(const char *path) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};

        strcpy(name.sun_path, path);
        bed.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_return_code(bind(bed.listener, (struct sockaddr *)&name, sizeof name), errno);
        assert_return_code(listen(bed.listener, 4), errno);
        sd_event_add_io(bed.event, &bed.listen_source, bed.listener, EPOLLIN, on_accept, NULL);
}

static void on_ready(struct gw_vm *vm, const struct gw_vm_status *status, void *user) {
        (void)vm, (void)user;
        bed.ready++;
        bed.run = status->run;
}
static void on_run(struct gw_vm *vm, enum gw_vm_run run, struct gw_wall when, void *user) {
        (void)vm, (void)run, (void)when, (void)user;
}
static void on_copy(struct gw_vm *vm, enum gw_vm_copy copy, struct gw_wall when, void *user) {
        (void)vm, (void)copy, (void)when, (void)user;
}
static void on_exited(struct gw_vm *vm, bool clean, const char *reason, void *user) {
        (void)vm, (void)clean, (void)user;
        bed.exited++;
        snprintf(bed.reason, sizeof bed.reason, "%s", reason);
}
static const struct gw_vm_events events = {.ready = on_ready, .run = on_run, .copy = on_copy, .exited = on_exited};

static int setup(void **state) {
        (void)state;
        bed = (struct bed){.folder = "/tmp/channel-XXXXXX", .listener = -1, .peer = -1};
        assert_non_null(mkdtemp(bed.folder));
        assert_return_code(sd_event_new(&bed.event), 0);
        bed.pid = fork();
        assert_true(bed.pid >= 0);
        if (bed.pid == 0) {
                signal(SIGUSR1, SIG_DFL);
                for (;;)
                        pause();
        }
        return 0;
}

static int teardown(void **state) {
        (void)state;
        gw_qemu_driver.free(bed.vm);
        if (bed.peer >= 0)
                hang_up();
        sd_event_source_disable_unref(bed.listen_source);
        if (bed.listener >= 0)
                close(bed.listener);
        kill(bed.pid, SIGKILL);
        waitpid(bed.pid, NULL, 0);
        sd_event_unref(bed.event);
        unlink(at(GW_QEMU_QMP_FILE));
        unlink(at(GW_QEMU_LOG_FILE));
        assert_int_equal(rmdir(bed.folder), 0);
        return 0;
}

static void adopt(void) {
        struct gw_vm_identity identity = {bed.pid, gw_process_start_time(bed.pid)};
        struct gw_error error = {0};

        assert_int_equal(gw_qemu_driver.adopt(&bed.vm, bed.event, bed.folder, &identity, &events, NULL, &error), 0);
}

static void run_until(const int *what) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(PATIENCE_MS));

        while (!*what && !gw_mono_reached(gw_mono_now(), end))
                assert_return_code(sd_event_run(bed.event, 100000), 0);
        assert_true(*what);
}

/* The channel breaks in the middle of the set-up, twice: the guest does not pay for it. */
static void a_guest_outlives_its_channel(void **state) {
        (void)state;
        bed.hang_ups = 2;
        listen_at(at(GW_QEMU_QMP_FILE));
        adopt();
        run_until(&bed.ready);
        assert_int_equal(bed.connections, 3);
        assert_int_equal(bed.run, GW_VM_RUN_RUNNING);
        assert_int_equal(bed.exited, 0);
        assert_true(gw_process_start_time(bed.pid) != 0);
}

/* Whatever an emulator wrote last, and wherever it is cut: it can be told. */
static void last_words_can_be_told(void **state) {
        FILE *log;
        json_t *text;

        (void)state;
        listen_at(at(GW_QEMU_QMP_FILE));
        log = fopen(at(GW_QEMU_LOG_FILE), "w");
        assert_non_null(log);
        for (int i = 0; i < 700; i++)
                fputs("\xc3\xa9", log);
        fputs("\n", log);
        fclose(log);
        kill(bed.pid, SIGKILL);
        waitpid(bed.pid, NULL, 0);
        bed.pid = fork();
        assert_true(bed.pid >= 0);
        if (bed.pid == 0) {
                usleep(200000);
                _exit(1);
        }
        adopt();
        run_until(&bed.exited);
        text = json_string(bed.reason);
        assert_non_null(text);
        json_decref(text);
        assert_non_null(strstr(bed.reason, "status 1"));
}

static void on_verdict(bool works, const char *reason, void *user) {
        (void)works, (void)reason, (void)user;
}

/* The command line of a process, its words set apart by spaces. */
static const char *words_of(pid_t pid) {
        static char words[400];
        char path[64];
        ssize_t n = 0;
        FILE *f;

        snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
        f = fopen(path, "r");
        if (f) {
                n = (ssize_t)fread(words, 1, sizeof words - 1, f);
                fclose(f);
        }
        words[n] = '\0';
        for (ssize_t i = 0; i < n; i++)
                if (!words[i])
                        words[i] = ' ';
        return words;
}

/* An agent was killed while it tried KVM: the next one ends that emulator before it tries anew. */
static void a_forgotten_probe_is_ended(void **state) {
        struct gw_kvm_probe *probe;
        char argument[120];
        int status = 0, none[2];
        pid_t pid;

        (void)state;
        assert_return_code(pipe(none), errno);
        snprintf(argument, sizeof argument, "opaque=%s/kvm-probe.console", bed.folder);
        pid = fork();
        assert_true(pid >= 0);
        if (pid == 0) {
                dup2(none[0], STDIN_FILENO);
                execl("/bin/sh", "sh", "-c", "read never", argument, NULL);
                _exit(127);
        }
        while (!strstr(words_of(pid), argument)) /* until it is what it is to be */
                usleep(1000);
        assert_int_equal(gw_kvm_probe_new(&probe, bed.event, "/bin/true", "/none", bed.folder, NULL, on_verdict, NULL),
                         0);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        gw_kvm_probe_free(probe);
        unlink(at("kvm-probe.log"));
        unlink(at("kvm-probe.console"));
        close(none[0]);
        close(none[1]);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(a_guest_outlives_its_channel),
                TEST(last_words_can_be_told),
                TEST(a_forgotten_probe_is_ended),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
