/* SPDX-License-Identifier: Apache-2.0 */
#include "io_fixture.h"

#include <dirent.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/time.h"
#include "io/pki.h"

enum { SPIN_MAX_S = 10, TEST_MAX_S = 60 };

const char *fixture_path(const struct fixture *f, const char *name) {
        static char paths[4][128];
        static unsigned next;
        char *path = paths[next++ % 4];

        snprintf(path, sizeof paths[0], "%s/%s", f->folder, name);
        return path;
}

size_t fixture_count_fds(void) {
        DIR *folder = opendir("/proc/self/fd");
        size_t n = 0;

        while (readdir(folder))
                n++;
        closedir(folder);
        return n;
}

static void issue(const struct fixture *f, const char *ca, const char *name, bool server, struct gw_tls **out) {
        struct gw_pki_request request = {.name = name,
                                         .hosts = (const char *const[]){"127.0.0.1", "::1"},
                                         .n_hosts = 2,
                                         .days = 1,
                                         .server = server};
        char path[5][128];
        struct gw_error error;

        snprintf(path[0], sizeof path[0], "%s/%s.crt", f->folder, ca);
        snprintf(path[1], sizeof path[1], "%s/%s.key", f->folder, ca);
        snprintf(path[2], sizeof path[2], "%s/%s.crt", f->folder, name);
        snprintf(path[3], sizeof path[3], "%s/%s.key", f->folder, name);
        if (access(path[0], F_OK) < 0)
                assert_int_equal(gw_pki_make_ca(path[0], path[1], ca, 1, &error), 0);
        assert_int_equal(gw_pki_issue(path[0], path[1], path[2], path[3], &request, &error), 0);
        assert_int_equal(gw_tls_new(out, path[0], path[2], path[3], &error), 0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw) {
        (void)st;
        (void)flag;
        (void)ftw;
        return remove(path);
}

static struct fixture *present;

/* A test that waits in vain ends the program, and still leaves nothing behind. */
static void on_alarm(int number) {
        static const char text[] = "Bail out! a test took more than a minute\n";

        (void)number;
        if (write(STDOUT_FILENO, text, sizeof text - 1) > 0 && present)
                nftw(present->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        _exit(1);
}

int fixture_setup(void **state) {
        struct fixture *f = calloc(1, sizeof *f);

        signal(SIGALRM, on_alarm);
        alarm(TEST_MAX_S);
        gw_log_init("test", getenv("GW_TEST_LOG") ? GW_DEBUG : GW_ERR);
        strcpy(f->folder, "/tmp/godwit-io-XXXXXX");
        assert_non_null(mkdtemp(f->folder));
        *state = present = f;
        issue(f, "ca", "nva-1", true, &f->nva);
        issue(f, "ca", "h1", false, &f->nve);
        issue(f, "other-ca", "stranger", true, &f->stranger);
        f->open_fds = fixture_count_fds();
        assert_int_equal(gw_loop_init(&f->loop), 0);
        return 0;
}

int fixture_teardown(void **state) {
        struct fixture *f = *state;
        size_t left;

        gw_loop_deinit(&f->loop);
        left = fixture_count_fds() - f->open_fds;
        gw_tls_free(f->nva);
        gw_tls_free(f->nve);
        gw_tls_free(f->stranger);
        nftw(f->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
        present = NULL;
        free(f);
        if (left)
                print_error("%zu descriptors were left open\n", left);
        return left ? -1 : 0;
}

void fixture_spin(struct fixture *f, bool (*done)(void *user), void *user) {
        struct gw_mono deadline = gw_mono_after(gw_mono_now(), gw_s(SPIN_MAX_S));

        while (!done(user)) {
                if (gw_mono_reached(gw_mono_now(), deadline))
                        fail_msg("the condition did not come true within %d s", SPIN_MAX_S);
                sd_event_run(f->loop.event, 10000);
        }
}

static bool is_set(void *user) {
        return *(volatile const bool *)user;
}

void fixture_spin_until(struct fixture *f, const bool *flag) {
        fixture_spin(f, is_set, (void *)(uintptr_t)flag);
}

void fixture_spin_ms(struct fixture *f, unsigned ms) {
        struct gw_mono until = gw_mono_after(gw_mono_now(), gw_ms(ms));

        while (!gw_mono_reached(gw_mono_now(), until))
                sd_event_run(f->loop.event, 1000);
}
