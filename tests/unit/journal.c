/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a crash may leave of a journal, tried out: the process ended before, in the middle of and behind each of its
 * writes, syncs and removals, while it works and while it recovers; a segment cut off at each octet; each octet of one
 * changed. A start finds all that was acknowledged, at most one commit more, and each commit whole; or it refuses.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "store/journal.h"
#include "store/segment.h"

enum { ROWS = 6, COMMITS = 16, FOLD_OCTETS = 300, CRASHED = 9, ENDED = 0 };

/* --- ending at a chosen point: these take the place of libc's for the stores, and for LMDB --- */

static int crash_at; /* 0: never */
static int points;

static bool is_crash_point(void) {
        return crash_at && __atomic_add_fetch(&points, 1, __ATOMIC_SEQ_CST) == crash_at;
}

static void crash_point(void) {
        if (is_crash_point())
                _exit(CRASHED);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t at) {
        ssize_t n;

        if (is_crash_point()) {
                syscall(SYS_pwrite64, fd, octets, size / 2, at);
                _exit(CRASHED);
        }
        n = syscall(SYS_pwrite64, fd, octets, size, at);
        crash_point();
        return n;
}

int fdatasync(int fd) {
        crash_point();
        return (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd) {
        crash_point();
        return (int)syscall(SYS_fsync, fd);
}

int unlinkat(int fd, const char *path, int flags) {
        int r;

        crash_point();
        r = (int)syscall(SYS_unlinkat, fd, path, flags);
        crash_point();
        return r;
}

/* --- a folder in memory, where syncing is quick --- */

struct place {
        char path[64];
};

static void clear(const struct place *p, bool folder_too) {
        char command[128];

        snprintf(command, sizeof command, folder_too ? "rm -rf '%s'" : "rm -f '%s'/*", p->path);
        assert_int_equal(system(command), 0);
}

static int setup(void **state) {
        struct place *p = calloc(1, sizeof *p);

        snprintf(p->path, sizeof p->path, "%s/gw-journal-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        assert_non_null(mkdtemp(p->path));
        *state = p;
        return 0;
}

static int teardown(void **state) {
        clear(*state, true);
        free(*state);
        return 0;
}

/* --- rows: each commit writes its number to all of them --- */

static int write_rows(struct gw_store *s, uint32_t n) {
        char key[16];
        int r = 0;

        for (int i = 0; i < ROWS && r == 0; i++) {
                snprintf(key, sizeof key, "row-%d", i);
                r = gw_store_put(s, i % 2 ? GW_STORE_VM : GW_STORE_BINDING, key, strlen(key), &n, sizeof n);
        }
        snprintf(key, sizeof key, "only-%u", n - 1);
        if (r == 0)
                r = gw_store_del(s, GW_STORE_PORT, key, strlen(key));
        snprintf(key, sizeof key, "only-%u", n);
        return r ? r : gw_store_put(s, GW_STORE_PORT, key, strlen(key), "", 0);
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

static int only(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        char expected[16];

        (void)val, (void)nval;
        snprintf(expected, sizeof expected, "only-%u", *(uint32_t *)user);
        assert_int_equal(nkey, strlen(expected));
        assert_memory_equal(key, expected, nkey);
        return 0;
}

/* The number of the last commit that is there; all of it must be. */
static uint32_t read_rows(struct gw_store *s) {
        struct rows rows = {0};

        assert_int_equal(gw_store_each(s, GW_STORE_VM, row, &rows), 0);
        assert_int_equal(gw_store_each(s, GW_STORE_BINDING, row, &rows), 0);
        assert_false(rows.torn);
        assert_true(rows.count == ROWS || rows.count == 0);
        assert_int_equal(gw_store_count(s, GW_STORE_PORT), rows.count ? 1 : 0);
        assert_int_equal(gw_store_each(s, GW_STORE_PORT, only, &rows.n), 0);
        return rows.n;
}

static uint32_t open_and_read(const struct place *p) {
        struct gw_store *s;
        uint32_t n;

        assert_int_equal(gw_store_journal_new_folding(&s, p->path, FOLD_OCTETS), 0);
        n = read_rows(s);
        gw_store_free(s);
        return n;
}

/* --- the end of the process, anywhere --- */

static void work(const struct place *p, int tell) {
        struct gw_store *s;
        uint32_t n;

        if (gw_store_journal_new_folding(&s, p->path, FOLD_OCTETS))
                _exit(1);
        for (n = 1; n <= COMMITS; n++)
                if (write_rows(s, n) || gw_store_commit(s) || write(tell, &n, sizeof n) != sizeof n)
                        _exit(2);
        gw_store_free(s);
        _exit(ENDED);
}

/* Runs it to the given point, or its end (0 told when so); *told: what was acknowledged. */
static bool crash(const struct place *p, int at, uint32_t *told) {
        int pipes[2], status;
        uint32_t n;
        pid_t child;

        *told = 0;
        assert_int_equal(pipe(pipes), 0);
        child = fork();
        if (child == 0) {
                close(pipes[0]);
                points = 0;
                crash_at = at;
                work(p, pipes[1]);
        }
        close(pipes[1]);
        while (read(pipes[0], &n, sizeof n) == sizeof n)
                *told = n;
        close(pipes[0]);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == CRASHED || WEXITSTATUS(status) == ENDED));
        return WEXITSTATUS(status) == CRASHED;
}

/* A start that does not come to its end either. */
static void crash_again(const struct place *p, int at) {
        struct gw_store *s;
        int status;
        pid_t child = fork();

        if (child == 0) {
                points = 0;
                crash_at = at;
                if (gw_store_journal_new_folding(&s, p->path, FOLD_OCTETS))
                        _exit(1);
                gw_store_free(s);
                _exit(ENDED);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFEXITED(status) && (WEXITSTATUS(status) == CRASHED || WEXITSTATUS(status) == ENDED));
}

static void test_the_end_at_every_point(void **state) {
        const struct place *p = *state;
        bool crashed = true;
        int at;

        for (at = 1; crashed; at++) {
                uint32_t told, found;

                clear(p, false);
                open_and_read(
                        p); /* LMDB does not survive the end in the middle of being made, but nothing is in it then */
                crashed = crash(p, at, &told);
                crash_again(p, at % 23 + 1);
                found = open_and_read(p);
                assert_in_range(found, told, told + 1);
                assert_int_equal(open_and_read(p), found);
        }
        assert_true(at > 60); /* or the points were not reached */
}

/* --- a segment, damaged --- */

struct file {
        uint8_t octets[4096];
        size_t size;
        size_t ends[COMMITS + 1]; /* of each batch */
};

static void segment_path(const struct place *p, uint64_t number, char out[128]) {
        snprintf(out, 128, "%s/journal-%016llx", p->path, (unsigned long long)number);
}

static void store_segment(const struct place *p, uint64_t number, const void *octets, size_t size) {
        char path[128];
        int fd;

        segment_path(p, number, path);
        fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, octets, size), size);
        close(fd);
}

/* The first segment of a process that was killed: all its commits, none of them folded. */
static void make_segment(const struct place *p, struct file *file) {
        struct gw_store *s;
        char path[128];
        int fd, status;
        pid_t child = fork();

        segment_path(p, 1, path);
        if (child == 0) {
                if (gw_store_journal_new(&s, p->path))
                        _exit(1);
                for (uint32_t n = 1; n <= COMMITS; n++)
                        if (write_rows(s, n) || gw_store_commit(s))
                                _exit(2);
                _exit(ENDED);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        file->size = (size_t)read(fd, file->octets, sizeof file->octets);
        close(fd);
        file->ends[0] = 0;
        for (int n = 1; n <= COMMITS; n++) {
                uint32_t size;

                memcpy(&size, file->octets + file->ends[n - 1] + 4, sizeof size);
                file->ends[n] = file->ends[n - 1] + GW_SEGMENT_HEAD + size;
        }
        assert_int_equal(file->ends[COMMITS], file->size);
}

/* How many batches lie before that octet. */
static uint32_t whole_before(const struct file *file, size_t at) {
        uint32_t n = 0;

        while (n < COMMITS && file->ends[n + 1] <= at)
                n++;
        return n;
}

static int count_batch(const uint8_t *payload, size_t size, void *user) {
        (void)payload, (void)size;
        ++*(uint32_t *)user;
        return 0;
}

/* Through a whole start for some, as that takes milliseconds. */
static void expect_batches(const struct place *p, uint32_t n, bool start) {
        int folder = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        uint64_t next = 0;
        uint32_t found = 0;

        assert_int_equal(gw_segment_read(folder, 1, true, &next, count_batch, &found), 0);
        assert_int_equal(found, n);
        assert_int_equal(next, n ? n + 1 : 0);
        close(folder);
        if (start)
                assert_int_equal(open_and_read(p), n);
}

static void test_cut_off_at_every_octet(void **state) {
        const struct place *p = *state;
        struct file file;

        make_segment(p, &file);
        for (size_t size = 0; size <= file.size; size++) {
                if (size % 101 == 0)
                        clear(p, false);
                store_segment(p, 1, file.octets, size);
                expect_batches(p, whole_before(&file, size), size % 101 == 0);
        }
}

static void test_every_octet_changed(void **state) {
        const struct place *p = *state;
        struct file file;

        make_segment(p, &file);
        for (size_t at = 0; at < file.size; at++) {
                if (at % 101 == 0)
                        clear(p, false);
                file.octets[at] ^= (uint8_t)(1 + at % 255);
                store_segment(p, 1, file.octets, file.size);
                file.octets[at] ^= (uint8_t)(1 + at % 255);
                expect_batches(p, whole_before(&file, at), at % 101 == 0);
        }
}

/* What has a successor was complete: damage there is not a crash's, and what follows does not go without it. */
static void test_damage_behind_the_newest_is_refused(void **state) {
        const struct place *p = *state;
        struct gw_store *s = NULL;
        struct file file;

        make_segment(p, &file);
        clear(p, false);
        store_segment(p, 1, file.octets, file.ends[4]);
        store_segment(p, 2, file.octets + file.ends[4], file.size - file.ends[4]);
        assert_int_equal(open_and_read(p), COMMITS);

        clear(p, false);
        store_segment(p, 1, file.octets, file.ends[4] - 1);
        store_segment(p, 2, file.octets + file.ends[4], file.size - file.ends[4]);
        assert_int_equal(gw_store_journal_new(&s, p->path), -EBADMSG);
        assert_null(s);

        clear(p, false); /* batches 1 to 4, then 6 on: as if they were of another journal */
        store_segment(p, 1, file.octets, file.ends[4]);
        store_segment(p, 2, file.octets + file.ends[5], file.size - file.ends[5]);
        assert_int_equal(open_and_read(p), 4);
}

/* A whole batch whose records do not fit into it is no crash's work. */
static void test_records_that_do_not_fit_are_refused(void **state) {
        const struct place *p = *state;
        int folder = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        for (size_t size = 1; size < 12; size++) {
                uint8_t batch[GW_SEGMENT_HEAD + 12] = {0};
                struct gw_segment segment;
                struct gw_store *s;

                clear(p, false);
                batch[GW_SEGMENT_HEAD] = 1;     /* a value of one octet */
                batch[GW_SEGMENT_HEAD + 4] = 3; /* behind a key of three */
                assert_int_equal(gw_segment_create(&segment, folder, 1), 0);
                assert_int_equal(gw_segment_append(&segment, 1, batch, size), 0);
                gw_segment_close(&segment);
                assert_int_equal(gw_store_journal_new(&s, p->path), -EBADMSG);
        }
        close(folder);
}

/* After a clean end there is no journal: a program that knows LMDB alone finds everything. */
static void test_a_clean_end_leaves_lmdb_alone(void **state) {
        const struct place *p = *state;
        struct gw_store *s;
        uint64_t *numbers = NULL;
        int folder = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

        assert_int_equal(gw_store_journal_new(&s, p->path), 0);
        assert_int_equal(write_rows(s, 1), 0);
        assert_int_equal(gw_store_commit(s), 0);
        assert_int_equal(gw_segment_list(folder, &numbers), 1);
        free(numbers);
        gw_store_free(s);
        assert_int_equal(gw_segment_list(folder, &numbers), 0);
        free(numbers);
        close(folder);
        assert_int_equal(gw_store_lmdb_new(&s, p->path), 0);
        assert_int_equal(read_rows(s), 1);
        gw_store_free(s);
}

#define with_place(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                with_place(test_the_end_at_every_point),
                with_place(test_cut_off_at_every_octet),
                with_place(test_every_octet_changed),
                with_place(test_damage_behind_the_newest_is_refused),
                with_place(test_records_that_do_not_fit_are_refused),
                with_place(test_a_clean_end_leaves_lmdb_alone),
        };

        gw_log_init("test", GW_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
