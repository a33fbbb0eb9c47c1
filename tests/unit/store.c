/* SPDX-License-Identifier: Apache-2.0 */
/* All stores: order, staging, commit; those on disk also: growth, kill -9, a full disk, a second daemon. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store/journal.h"
#include "store/memory.h"
#include "store/store.h"

enum { FOLD_OCTETS = 4096 }; /* small, so that what is tested happens while the journal's thread is at work */

enum backend { MEMORY, LMDB, JOURNAL };

struct place {
        char path[64];
        struct gw_store *store;
        enum backend backend;
};

static int open_on_disk(struct gw_store **out, enum backend backend, const char *path) {
        return backend == LMDB ? gw_store_lmdb_new(out, path) : gw_store_journal_new_folding(out, path, FOLD_OCTETS);
}

static void place_new(struct place *p) {
        strcpy(p->path, "/tmp/gw-store-XXXXXX");
        assert_non_null(mkdtemp(p->path));
}

static void place_open(struct place *p) {
        assert_int_equal(p->backend == MEMORY ? gw_store_memory_new(&p->store)
                                              : open_on_disk(&p->store, p->backend, p->path),
                         0);
}

static void place_remove(const char *path) {
        char name[512];
        DIR *dir = opendir(path);
        struct dirent *e;

        while (dir && (e = readdir(dir))) {
                snprintf(name, sizeof name, "%s/%s", path, e->d_name);
                if (e->d_name[0] != '.')
                        unlink(name);
        }
        if (dir)
                closedir(dir);
        rmdir(path);
}

static int setup(void **state, enum backend backend) {
        struct place *p = calloc(1, sizeof *p);

        p->backend = backend;
        place_new(p);
        place_open(p);
        *state = p;
        return 0;
}

static int setup_memory(void **state) {
        return setup(state, MEMORY);
}

static int setup_lmdb(void **state) {
        return setup(state, LMDB);
}

static int setup_journal(void **state) {
        return setup(state, JOURNAL);
}

static int teardown(void **state) {
        struct place *p = *state;

        gw_store_free(p->store);
        place_remove(p->path);
        free(p);
        return 0;
}

static void put(struct gw_store *s, enum gw_store_table t, const char *key, const char *value) {
        assert_int_equal(gw_store_put(s, t, key, strlen(key), value, strlen(value)), 0);
}

static void del(struct gw_store *s, enum gw_store_table t, const char *key) {
        assert_int_equal(gw_store_del(s, t, key, strlen(key)), 0);
}

static int append(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        char *out = user;

        sprintf(out + strlen(out), "%.*s=%.*s ", (int)nkey, (const char *)key, (int)nval, (const char *)val);
        return 0;
}

static const char *all(struct gw_store *s, enum gw_store_table t) {
        static char text[4096];

        *text = 0;
        assert_int_equal(gw_store_each(s, t, append, text), 0);
        return text;
}

static void test_staging(void **state) {
        struct place *p = *state;
        struct gw_store *s = p->store;

        put(s, GW_STORE_VM, "b", "1");
        put(s, GW_STORE_VM, "a", "2");
        put(s, GW_STORE_VM, "ab", "");
        put(s, GW_STORE_PORT, "a", "other");
        assert_string_equal(all(s, GW_STORE_VM), "a=2 ab= b=1 ");
        assert_int_equal(gw_store_commit(s), 0);
        put(s, GW_STORE_VM, "a", "3");
        put(s, GW_STORE_VM, "a", "4");
        del(s, GW_STORE_VM, "b");
        del(s, GW_STORE_VM, "none");
        del(s, GW_STORE_VM, "ab");
        put(s, GW_STORE_VM, "ab", "again");
        assert_string_equal(all(s, GW_STORE_VM), "a=4 ab=again ");
        assert_int_equal(gw_store_commit(s), 0);
        assert_int_equal(gw_store_commit(s), 0);
        assert_string_equal(all(s, GW_STORE_VM), "a=4 ab=again ");
        assert_string_equal(all(s, GW_STORE_PORT), "a=other ");
        assert_string_equal(all(s, GW_STORE_MOVE), "");
}

static int stop_at_second(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        (void)key, (void)nkey, (void)val, (void)nval;
        return ++*(int *)user == 2 ? 42 : 0;
}

static void test_get_and_count(void **state) {
        struct place *p = *state;
        char out[8] = "";

        assert_int_equal(gw_store_get(p->store, GW_STORE_VM, "a", 1, out, sizeof out), -ENOENT);
        assert_int_equal(gw_store_put(p->store, GW_STORE_VM, "a", 1, "first", 5), 0);
        assert_int_equal(gw_store_put(p->store, GW_STORE_VM, "b", 1, "", 0), 0);
        assert_int_equal(gw_store_get(p->store, GW_STORE_VM, "a", 1, out, sizeof out), 5); /* staged */
        assert_memory_equal(out, "first", 5);
        assert_int_equal(gw_store_count(p->store, GW_STORE_VM), 2);
        assert_int_equal(gw_store_commit(p->store), 0);
        assert_int_equal(gw_store_put(p->store, GW_STORE_VM, "a", 1, "second", 6), 0);
        assert_int_equal(gw_store_get(p->store, GW_STORE_VM, "a", 1, out, 3), 6); /* no more than there is room for */
        assert_memory_equal(out, "secst", 5);
        assert_int_equal(gw_store_get(p->store, GW_STORE_VM, "b", 1, out, sizeof out), 0);
        assert_int_equal(gw_store_del(p->store, GW_STORE_VM, "a", 1), 0);
        assert_int_equal(gw_store_get(p->store, GW_STORE_VM, "a", 1, out, sizeof out), -ENOENT);
        assert_int_equal(gw_store_count(p->store, GW_STORE_VM), 1);
        assert_int_equal(gw_store_count(p->store, GW_STORE_PORT), 0);
}

static void test_each_stops(void **state) {
        struct place *p = *state;
        int n = 0;

        put(p->store, GW_STORE_VN, "a", "");
        put(p->store, GW_STORE_VN, "b", "");
        put(p->store, GW_STORE_VN, "c", "");
        assert_int_equal(gw_store_each(p->store, GW_STORE_VN, stop_at_second, &n), 42);
        assert_int_equal(n, 2);
}

static void test_uncommitted_is_lost(void **state) {
        struct place *p = *state;

        put(p->store, GW_STORE_VN, "kept", "1");
        put(p->store, GW_STORE_VN, "back", "1");
        assert_int_equal(gw_store_commit(p->store), 0);
        put(p->store, GW_STORE_VN, "lost", "1");
        put(p->store, GW_STORE_VN, "kept", "2");
        del(p->store, GW_STORE_VN, "back");
        if (p->backend != MEMORY) {
                gw_store_free(p->store);
                place_open(p);
        } else {
                gw_store_memory_crash(p->store);
        }
        assert_string_equal(all(p->store, GW_STORE_VN), "back=1 kept=1 ");
}

/* More than the first map holds, in one commit and in many. */
static void test_map_grows(void **state) {
        struct place *p = *state;
        char key[16], *big = calloc(1, 1 << 20);
        int n = 0;

        memset(big, 'x', (1 << 20) - 1);
        put(p->store, GW_STORE_VM, "big", big);
        for (int i = 0; i < 20000; i++) {
                snprintf(key, sizeof key, "%07d", i);
                put(p->store, GW_STORE_BINDING, key, "a value of about the size of a binding's record, which is small");
                if (i % 1000 == 0)
                        assert_int_equal(gw_store_commit(p->store), 0);
        }
        put(p->store, GW_STORE_VM, "big2", big);
        assert_int_equal(gw_store_commit(p->store), 0);
        gw_store_free(p->store);
        place_open(p);
        for (int i = 0; i < 19999; i++) { /* deletes need room as well */
                snprintf(key, sizeof key, "%07d", i);
                del(p->store, GW_STORE_BINDING, key);
        }
        assert_int_equal(gw_store_commit(p->store), 0);
        assert_int_equal(gw_store_each(p->store, GW_STORE_BINDING, stop_at_second, &n), 0);
        assert_int_equal(n, 1);
        free(big);
}

static void test_second_daemon_is_refused(void **state) {
        struct place *p = *state;
        struct gw_store *second = NULL;

        assert_int_equal(open_on_disk(&second, p->backend, p->path), -EBUSY);
        assert_null(second);
        assert_int_equal(open_on_disk(&second, p->backend, "/proc/nowhere/store"), -ENOENT);
}

static void test_bad_keys(void **state) {
        struct place *p = *state;
        char key[600] = {1};

        assert_int_equal(gw_store_put(p->store, GW_STORE_VM, key, sizeof key, "", 0), -EINVAL);
        assert_int_equal(gw_store_put(p->store, GW_STORE_VM, key, 0, "", 0), -EINVAL);
        put(p->store, GW_STORE_VM, "fine", "1");
        assert_int_equal(gw_store_commit(p->store), 0);
}

/* --- kill -9 --- */

enum { ROWS = 40 };

/* Each commit writes the same number to every row of two tables, then tells it. */
static void writer(const struct place *p, int tell) {
        struct gw_store *s;
        char key[16];

        if (open_on_disk(&s, p->backend, p->path))
                _exit(1);
        for (uint32_t n = 1;; n++) {
                for (int i = 0; i < ROWS; i++) {
                        snprintf(key, sizeof key, "%d", i);
                        if (gw_store_put(s, i % 2 ? GW_STORE_VM : GW_STORE_PORT, key, strlen(key), &n, sizeof n))
                                _exit(2);
                }
                if (gw_store_commit(s) || write(tell, &n, sizeof n) != sizeof n)
                        _exit(3);
        }
}

struct rows {
        uint32_t n, count;
        bool torn;
};

static int row(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        struct rows *rows = user;
        uint32_t n;

        (void)key, (void)nkey;
        assert_int_equal(nval, sizeof n);
        memcpy(&n, val, sizeof n);
        rows->torn |= rows->count && n != rows->n;
        rows->n = n;
        rows->count++;
        return 0;
}

static uint32_t kill_writer(struct place *p, unsigned after_us) {
        uint32_t n, last = 0;
        int pipes[2], status;
        pid_t child;

        assert_int_equal(pipe(pipes), 0);
        child = fork();
        if (child == 0) {
                close(pipes[0]);
                writer(p, pipes[1]);
        }
        close(pipes[1]);
        assert_int_equal(read(pipes[0], &last, sizeof last), sizeof last);
        usleep(after_us);
        kill(child, SIGKILL);
        while (read(pipes[0], &n, sizeof n) == sizeof n)
                last = n;
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        return last;
}

static void test_kill_during_writes(void **state) {
        struct place *p = *state;

        gw_store_free(p->store);
        for (unsigned round = 0; round < 12; round++) {
                uint32_t told = kill_writer(p, round * 1733 % 20000);
                struct rows rows = {0};

                place_open(p);
                assert_int_equal(gw_store_each(p->store, GW_STORE_VM, row, &rows), 0);
                assert_int_equal(gw_store_each(p->store, GW_STORE_PORT, row, &rows), 0);
                assert_int_equal(rows.count, ROWS);
                assert_false(rows.torn);
                assert_true(rows.n >= told && rows.n <= told + 1);
                gw_store_free(p->store);
        }
        place_open(p);
}

/* --- a full disk, in a mount namespace of its own --- */

static int fill_disk(const char *path, enum backend backend) {
        struct gw_store *s;
        struct rows rows = {0};
        uint32_t good = 0, n;
        char key[16];
        int r = 0;

        if (unshare(CLONE_NEWNS) || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
            mount("gw-store", path, "tmpfs", 0, "size=1m"))
                return 77;
        if (open_on_disk(&s, backend, path))
                return 1;
        for (n = 0; r == 0; n++) {
                snprintf(key, sizeof key, "%u", n % 50000);
                r = gw_store_put(s, GW_STORE_VM, key, strlen(key), &n, sizeof n);
                if (r == 0 && n % 100 == 99) {
                        r = gw_store_commit(s);
                        good = r ? good : n + 1;
                }
        }
        if (r != -ENOSPC || gw_store_commit(s) != -ENOSPC || gw_store_put(s, GW_STORE_VM, "x", 1, "", 0) != -ENOSPC)
                return 2;
        gw_store_free(s);
        if (good == 0 || mount("gw-store", path, "tmpfs", MS_REMOUNT, "size=8m") || open_on_disk(&s, backend, path))
                return 3;
        if (gw_store_each(s, GW_STORE_VM, row, &rows) || rows.count != (good < 50000 ? good : 50000))
                return 4;
        gw_store_free(s);
        return 0;
}

static void test_full_disk(void **state) {
        struct place *p = *state;
        char path[80];
        int status;
        pid_t child;

        snprintf(path, sizeof path, "%s-full", p->path);
        assert_int_equal(mkdir(path, 0700), 0);
        gw_store_free(p->store); /* whose thread might hold the allocator's lock, which the child would wait for */
        child = fork();
        if (child == 0)
                _exit(fill_disk(path, p->backend));
        place_open(p);
        assert_int_equal(waitpid(child, &status, 0), child);
        rmdir(path);
        assert_true(WIFEXITED(status));
        if (WEXITSTATUS(status) == 77)
                skip();
        assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                {"test_staging, memory", test_staging, setup_memory, teardown, NULL},
                {"test_staging, lmdb", test_staging, setup_lmdb, teardown, NULL},
                {"test_staging, journal", test_staging, setup_journal, teardown, NULL},
                {"test_get_and_count, memory", test_get_and_count, setup_memory, teardown, NULL},
                {"test_get_and_count, lmdb", test_get_and_count, setup_lmdb, teardown, NULL},
                {"test_get_and_count, journal", test_get_and_count, setup_journal, teardown, NULL},
                {"test_each_stops, memory", test_each_stops, setup_memory, teardown, NULL},
                {"test_each_stops, lmdb", test_each_stops, setup_lmdb, teardown, NULL},
                {"test_each_stops, journal", test_each_stops, setup_journal, teardown, NULL},
                {"test_uncommitted_is_lost, memory", test_uncommitted_is_lost, setup_memory, teardown, NULL},
                {"test_uncommitted_is_lost, lmdb", test_uncommitted_is_lost, setup_lmdb, teardown, NULL},
                {"test_uncommitted_is_lost, journal", test_uncommitted_is_lost, setup_journal, teardown, NULL},
                {"test_map_grows, lmdb", test_map_grows, setup_lmdb, teardown, NULL},
                {"test_map_grows, journal", test_map_grows, setup_journal, teardown, NULL},
                {"test_second_daemon_is_refused, lmdb", test_second_daemon_is_refused, setup_lmdb, teardown, NULL},
                {"test_second_daemon_is_refused, journal", test_second_daemon_is_refused, setup_journal, teardown,
                 NULL},
                {"test_bad_keys, lmdb", test_bad_keys, setup_lmdb, teardown, NULL},
                {"test_bad_keys, journal", test_bad_keys, setup_journal, teardown, NULL},
                {"test_kill_during_writes, lmdb", test_kill_during_writes, setup_lmdb, teardown, NULL},
                {"test_kill_during_writes, journal", test_kill_during_writes, setup_journal, teardown, NULL},
                {"test_full_disk, lmdb", test_full_disk, setup_lmdb, teardown, NULL},
                {"test_full_disk, journal", test_full_disk, setup_journal, teardown, NULL},
        };

        gw_log_init("test", GW_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
