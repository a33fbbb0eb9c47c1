/* SPDX-License-Identifier: Apache-2.0 */
/* Another user: by name and by number, for one open, and for a child for good. The last two need root, and are skipped without. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "hypervisor/process.h"
#include "hypervisor/user.h"

static const struct gw_user nobodys = {.uid = 59401, .gid = 59402, .extra = 59403, .name = "59401:59402"};

static char folder[64], path[128];

static const char *at(const char *name) {
        snprintf(path, sizeof path, "%s/%s", folder, name);
        return path;
}

static int make_folder(void **state) {
        (void)state;
        strcpy(folder, "/tmp/gw-user-XXXXXX");
        return mkdtemp(folder) && chmod(folder, 0755) == 0 ? 0 : -1;
}

static int remove_folder(void **state) {
        static const char *const names[] = {"log", "closed/file", "roots", "theirs", "groups"};

        (void)state;
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                unlink(at(names[i]));
        rmdir(at("closed"));
        return rmdir(folder);
}

static void names_and_numbers(void **state) {
        static const char *const wrong[] = {
                "root",         "no-such-user-here",     "0:0", "5", "5:", ":5", "5:0", "0:5", "5:5:5", "-1:5",
                "4294967295:5", "5:99999999999999999999"};
        struct gw_error error = {0};
        struct gw_user user;

        (void)state;
        assert_int_equal(gw_user_parse("", &user, &error), 0);
        assert_int_equal(user.uid, 0);
        assert_int_equal(gw_user_parse("59401:59402", &user, &error), 0);
        assert_true(user.uid == 59401 && user.gid == 59402 && user.extra == 0);
        assert_int_equal(gw_user_parse("4294967294:4294967294", &user, &error), 0);
        assert_true(user.uid == UINT32_MAX - 1 && user.gid == UINT32_MAX - 1);
        assert_int_equal(gw_user_parse("nobody", &user, &error), 0);
        assert_int_equal(user.uid, 65534);
        assert_string_equal(user.name, "nobody");
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                assert_int_equal(gw_user_parse(wrong[i], &user, &error), GW_E_INVALID);
                assert_non_null(strstr(error.text, wrong[i]));
        }
}

static void make_file(const char *name, uid_t uid, gid_t gid, mode_t mode) {
        int fd = open(at(name), O_WRONLY | O_CREAT, mode);

        assert_return_code(fd, errno);
        assert_return_code(fchown(fd, uid, gid), errno);
        assert_return_code(fchmod(fd, mode), errno);
        close(fd);
}

static int try_open(const char *name, int flags) {
        int fd = gw_user_open(&nobodys, at(name), flags);

        if (fd >= 0)
                close(fd);
        return fd < 0 ? fd : 0;
}

static void a_file_is_opened_as_the_user(void **state) {
        gid_t before[256], after[256];
        int n = getgroups(256, before);

        (void)state;
        if (geteuid() != 0)
                skip();
        make_file("roots", 0, 0, 0600);
        make_file("theirs", nobodys.uid, nobodys.gid, 0600);
        make_file("groups", 0, nobodys.extra, 0040);
        assert_return_code(mkdir(at("closed"), 0700), errno);
        make_file("closed/file", nobodys.uid, nobodys.gid, 0666);
        assert_int_equal(try_open("roots", O_RDONLY), -EACCES);
        assert_int_equal(try_open("theirs", O_RDWR), 0);
        assert_int_equal(try_open("groups", O_RDONLY), 0);
        assert_int_equal(try_open("groups", O_RDWR), -EACCES);
        assert_int_equal(try_open("closed/file", O_RDONLY), -EACCES);
        assert_int_equal(try_open("absent", O_RDONLY), -ENOENT);
        /* Nothing of it stays with us. */
        assert_int_equal(getgroups(256, after), n);
        assert_memory_equal(before, after, (size_t)n * sizeof *before);
        make_file("new", -1U, -1U, 0600);
        assert_return_code(open(at("roots"), O_RDWR | O_CLOEXEC), errno);
        assert_return_code(unlink(at("new")), errno);
}

static void on_ended(struct gw_process *process, int code, int status) {
        (void)code;
        process->pid = status == 0 ? 0 : -1;
}

static void a_child_is_the_user_for_good(void **state) {
        static char script[] =
                "grep -E '^(Uid|Gid|Groups|Cap(Inh|Prm|Eff|Amb)|NoNewPrivs):' /proc/self/status; pwd; env";
        char *argv[] = {(char *)"env", (char *)"GODWIT_WORD=kept", (char *)"sh", (char *)"-c", script, NULL};
        char log[128], text[8192], expected[160];
        struct gw_process process = GW_PROCESS_NULL;
        struct gw_process_setting setting = {.log_path = log, .directory = folder, .user = &nobodys};
        sd_event *event;
        ssize_t n;
        int fd;

        (void)state;
        if (geteuid() != 0)
                skip();
        snprintf(log, sizeof log, "%s", at("log"));
        process.ended = on_ended;
        assert_return_code(sd_event_new(&event), 0);
        assert_int_equal(gw_process_spawn(&process, event, argv, &setting), 0);
        while (process.pid > 0)
                assert_return_code(sd_event_run(event, UINT64_MAX), 0);
        assert_int_equal(process.pid, 0);
        fd = open(log, O_RDONLY | O_CLOEXEC);
        n = read(fd, text, sizeof text - 1);
        close(fd);
        assert_true(n > 0);
        text[n] = '\0';
        assert_non_null(strstr(text, "Uid:\t59401\t59401\t59401\t59401\n"));
        assert_non_null(strstr(text, "Gid:\t59402\t59402\t59402\t59402\n"));
        assert_non_null(strstr(text, "Groups:\t59402 59403 \n"));
        assert_non_null(
                strstr(text, "CapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n"));
        assert_non_null(strstr(text, "CapAmb:\t0000000000000000\nNoNewPrivs:\t1\n"));
        snprintf(expected, sizeof expected, "\n%s\n", folder);
        assert_non_null(strstr(text, expected));
        gw_process_deinit(&process);
        setting.directory = "/nowhere";
        assert_int_equal(gw_process_spawn(&process, event, argv, &setting), -ENOENT);
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_and_numbers),
                cmocka_unit_test(a_file_is_opened_as_the_user),
                cmocka_unit_test(a_child_is_the_user_for_good),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
