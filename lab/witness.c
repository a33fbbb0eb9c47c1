/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe as a child process: this program again, with --json; each SIGUSR1 makes it
 * write one report, its end the last one. It is started with SIGUSR1 blocked, so that
 * one sent before it listens waits for it.
 */
#include "lab/witness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "cli/output.h"

enum { ARGS_MAX = 64 };

static void become(const char *const *args, int out) {
        const char *argv[ARGS_MAX] = {"godwit", "probe", "--json"};
        sigset_t usr1;
        int n = 3;

        for (size_t i = 0; args[i] && n < ARGS_MAX - 1; i++)
                argv[n++] = args[i];
        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        sigprocmask(SIG_BLOCK, &usr1, NULL);
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        dup2(out, STDOUT_FILENO);
        execv("/proc/self/exe", (char *const *)argv);
        _exit(127);
}

/* A report, as soon as the probe has begun to send. */
int gw_witness_start(struct gw_witness *w, const char *const *args, struct gw_error *error) {
        sigset_t usr1, before;
        json_t *first = NULL;
        int ends[2], r;

        *w = (struct gw_witness){0};
        if (pipe2(ends, O_CLOEXEC) < 0)
                return gw_fail(error, -errno, "", "pipe: %s", strerror(errno));
        sigemptyset(&usr1);
        sigaddset(&usr1, SIGUSR1);
        sigprocmask(SIG_BLOCK, &usr1, &before);
        w->pid = fork();
        if (!w->pid)
                become(args, ends[1]);
        sigprocmask(SIG_SETMASK, &before, NULL);
        close(ends[1]);
        w->reports = w->pid > 0 ? fdopen(ends[0], "re") : NULL;
        if (!w->reports) {
                close(ends[0]);
                return gw_fail(error, -ENOMEM, "", "cannot start the probe: %s", strerror(errno));
        }
        r = gw_witness_report(w, 0, &first, error);
        json_decref(first);
        return r;
}

int gw_witness_report(struct gw_witness *w, int end, json_t **out, struct gw_error *error) {
        json_error_t bad;

        kill(w->pid, end ? SIGTERM : SIGUSR1);
        *out = json_loadf(w->reports, JSON_DISABLE_EOF_CHECK, &bad);
        if (end)
                gw_witness_deinit(w);
        if (*out)
                return 0;
        return gw_fail(error, GW_E_AGAIN, "", "the probe ended without a report; what it said is above");
}

void gw_witness_deinit(struct gw_witness *w) {
        if (w->pid > 0) {
                kill(w->pid, SIGTERM);
                waitpid(w->pid, NULL, 0);
        }
        if (w->reports)
                fclose(w->reports);
        *w = (struct gw_witness){0};
}

static double longest_in(json_t *gaps, uint64_t from_ns, uint64_t to_ns) {
        double longest = 0;
        json_t *gap;
        size_t i;

        json_array_foreach (gaps, i, gap) {
                uint64_t start = (uint64_t)gw_member_int(gap, "start_ns"), end = (uint64_t)gw_member_int(gap, "end_ns");
                double ms = (double)(end - start) / (double)GW_NS_PER_MS;

                if (start <= to_ns && end >= from_ns && ms > longest)
                        longest = ms;
        }
        return longest;
}

double gw_witness_gap_ms(json_t *report, const char *protocol, int family, uint64_t from_ns, uint64_t to_ns) {
        double longest = 0;
        json_t *stream;
        size_t i;

        json_array_foreach (json_object_get(report, "streams"), i, stream) {
                double ms;

                if (strcmp(gw_member_text(stream, "protocol"), protocol) != 0 ||
                    (family && gw_member_int(stream, "family") != family))
                        continue;
                ms = longest_in(json_object_get(stream, "gaps"), from_ns, to_ns);
                if (ms > longest)
                        longest = ms;
        }
        return longest;
}
