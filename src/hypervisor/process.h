/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process that outlives the agent: started in a session of its own, watched
 * by a pidfd, and found again by pid and start time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct gw_user;

struct gw_process {
        pid_t pid;
        uint64_t start_time;
        int pidfd;
        sd_event_source *source;
        /* status: as waitid's; 0 when it was not our child. code 0: unknown. */
        void (*ended)(struct gw_process *process, int code, int status);
};

/* How a process is started. Everything is borrowed during the call. */
struct gw_process_setting {
        const int *fds; /* inherited under their own numbers; everything else is not */
        size_t n_fds;
        const char *log_path;  /* standard output and error are appended to it */
        const char *directory; /* where it works; NULL: where we do */
        const struct gw_user
                *user; /* who it becomes, after its log was opened and its directory entered; NULL: as we are */
};

#define GW_PROCESS_NULL ((struct gw_process){.pidfd = -1})

/* Clock ticks since boot, field 22 of /proc/PID/stat; 0 when there is no such process, or we cannot look. */
uint64_t gw_process_start_time(pid_t pid);

/* Runs argv[0] (looked up in PATH). Negative errno, also when the program cannot be executed. The caller
 * has set `ended` before and must gw_process_deinit. */
int gw_process_spawn(struct gw_process *process, sd_event *event, char *const argv[],
                     const struct gw_process_setting *setting);
/* GW_E_NOT_FOUND when the process is certainly gone or is another one; negative errno when that cannot be found out. */
int gw_process_adopt(struct gw_process *process, sd_event *event, pid_t pid, uint64_t start_time);
/* Kills every process that has `text` in its command line. For what was started, as `owner`, and not written down in
 * time. Negative errno: some that may be it could not be looked at, or not killed. */
int gw_process_kill_by_argument(const char *text, uid_t owner);
void gw_process_kill(struct gw_process *process, int signal);
void gw_process_end(struct gw_process *process);    /* kills, reaps, forgets; `ended` is not called */
void gw_process_deinit(struct gw_process *process); /* lets it live */
