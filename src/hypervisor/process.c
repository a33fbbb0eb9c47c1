/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting, watching and finding processes.
 *
 * A process started here is our child while we live, so that its exit status
 * can be told, but it is in a session of its own and nothing ends it when we
 * end. A pid alone names nobody after a restart; together with the start time
 * it does, and from then on the pidfd is what names it.
 */
#include "hypervisor/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "hypervisor/user.h"

/* Negative errno; *out is 0 for one that has ended and was not reaped. */
static int read_start_time(pid_t pid, uint64_t *out) {
        char path[64], line[1024], *at;
        unsigned long long start = 0;
        FILE *f;
        int r;

        *out = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return -errno;
        errno = ESRCH;
        r = fgets(line, sizeof line, f) ? 0 : -errno;
        fclose(f);
        /* The second field, in parentheses, may hold anything; the 22nd is the 20th after the last one. */
        if (r == 0 && (at = strrchr(line, ')'))) {
                char state;

                if (sscanf(at, ") %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu",
                           &state, &start) == 2 &&
                    state != 'Z')
                        *out = start;
        }
        return r;
}

uint64_t gw_process_start_time(pid_t pid) {
        uint64_t start;

        read_start_time(pid, &start);
        return start;
}

static int on_end(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct gw_process *process = user;
        siginfo_t info = {0};

        (void)fd;
        (void)revents;
        sd_event_source_set_enabled(source, SD_EVENT_OFF);
        if (waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG) < 0)
                info = (siginfo_t){0};
        process->ended(process, info.si_code, info.si_status);
        return 0;
}

static int watch(struct gw_process *process, sd_event *event) {
        int r;

        process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
        if (process->pidfd < 0)
                return -errno;
        r = sd_event_add_io(event, &process->source, process->pidfd, EPOLLIN, on_end, process);
        return r < 0 ? r : 0;
}

/* In the child. Only what is safe after fork; reports errno through the pipe. */
static void become(char *const argv[], const struct gw_process_setting *setting, int report) {
        int null, log;
        sigset_t none;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        setsid();
        null = open("/dev/null", O_RDWR);
        log = open(setting->log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (null < 0 || log < 0 || dup2(null, 0) < 0 || dup2(log, 1) < 0 || dup2(log, 2) < 0)
                goto fail;
        if (syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */) < 0)
                goto fail;
        for (size_t i = 0; i < setting->n_fds; i++)
                if (fcntl(setting->fds[i], F_SETFD, 0) < 0)
                        goto fail;
        if (setting->directory && chdir(setting->directory) < 0)
                goto fail;
        if (setting->user) {
                errno = -gw_user_become(setting->user);
                if (errno)
                        goto fail;
        }
        execvp(argv[0], argv);
fail:
        null = errno;
        if (write(report, &null, sizeof null) < 0)
                _exit(126);
        _exit(127);
}

int gw_process_spawn(struct gw_process *process, sd_event *event, char *const argv[],
                     const struct gw_process_setting *setting) {
        int report[2], failed = 0, r;
        ssize_t n;

        if (pipe2(report, O_CLOEXEC) < 0)
                return -errno;
        process->pid = fork();
        if (process->pid == 0)
                become(argv, setting, report[1]);
        r = process->pid < 0 ? -errno : 0;
        close(report[1]);
        if (r == 0) {
                do
                        n = read(report[0], &failed, sizeof failed);
                while (n < 0 && errno == EINTR);
                if (n == sizeof failed) {
                        waitpid(process->pid, NULL, 0);
                        r = -failed;
                }
        }
        close(report[0]);
        if (r < 0)
                return r;
        r = read_start_time(process->pid, &process->start_time); /* without, nobody would find it again */
        if (r == 0)
                r = watch(process, event);
        if (r < 0) {
                kill(process->pid, SIGKILL);
                waitpid(process->pid, NULL, 0);
                gw_process_deinit(process);
        }
        return r;
}

static bool has_ended(const struct gw_process *process) {
        struct pollfd end = {.fd = process->pidfd, .events = POLLIN};

        return poll(&end, 1, 0) > 0 && end.revents & POLLIN;
}

/* Looked at after the pidfd is held: from here on the pid cannot change its owner. That we cannot look does not say that
 * it is gone; only the pidfd does. */
static int is_same(const struct gw_process *process, uint64_t start_time) {
        uint64_t now;
        int r = read_start_time(process->pid, &now);

        if (r == 0)
                return now == start_time ? 0 : GW_E_NOT_FOUND;
        return has_ended(process) ? GW_E_NOT_FOUND : r;
}

int gw_process_adopt(struct gw_process *process, sd_event *event, pid_t pid, uint64_t start_time) {
        int r;

        if (pid <= 0 || start_time == 0)
                return GW_E_NOT_FOUND;
        process->pid = pid;
        process->start_time = start_time;
        r = watch(process, event);
        if (r == -ESRCH)
                return GW_E_NOT_FOUND;
        if (r == 0)
                r = is_same(process, start_time);
        if (r != 0)
                gw_process_deinit(process);
        return r;
}

/* A stranger's may be hidden from us. */
static bool is_of(pid_t pid, uid_t owner) {
        char path[64];
        struct stat st;

        snprintf(path, sizeof path, "/proc/%d", (int)pid);
        return stat(path, &st) == 0 && st.st_uid == owner;
}

/* 1: it has; 0: it has not, or is gone; else negative errno. */
static int has_argument(pid_t pid, const char *text, uid_t owner) {
        char path[64], line[16384];
        ssize_t n;
        int fd, r = 0;

        snprintf(path, sizeof path, "/proc/%d/cmdline", (int)pid);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 &&
            (errno == ENOENT || errno == ESRCH || ((errno == EACCES || errno == EPERM) && !is_of(pid, owner))))
                return 0;
        if (fd < 0)
                return -errno;
        n = read(fd, line, sizeof line);
        if (n < 0 && errno != ESRCH)
                r = -errno;
        close(fd);
        return n > 0 && memmem(line, (size_t)n, text, strlen(text)) ? 1 : r;
}

int gw_process_kill_by_argument(const char *text, uid_t owner) {
        DIR *dir = opendir("/proc");
        struct dirent *entry;
        int failed = 0, r;

        if (!dir)
                return -errno;
        while ((entry = readdir(dir))) {
                pid_t pid = (pid_t)atoi(entry->d_name);

                r = pid > 1 && pid != getpid() ? has_argument(pid, text, owner) : 0;
                if (r > 0 && kill(pid, SIGKILL) < 0 && errno != ESRCH)
                        r = -errno;
                if (r == 0 || r == 1)
                        continue;
                gw_log(GW_ERR, "process %d cannot be looked at, or ended: %s", (int)pid, strerror(-r));
                failed = r; /* the others are looked at all the same */
        }
        closedir(dir);
        return failed;
}

void gw_process_kill(struct gw_process *process, int signal) {
        if (process->pidfd >= 0)
                syscall(SYS_pidfd_send_signal, process->pidfd, signal, NULL, 0);
}

void gw_process_end(struct gw_process *process) {
        siginfo_t info;

        gw_process_kill(process, SIGKILL);
        if (process->pidfd >= 0)
                waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED);
        gw_process_deinit(process);
}

void gw_process_deinit(struct gw_process *process) {
        sd_event_source_disable_unref(process->source);
        process->source = NULL;
        if (process->pidfd >= 0)
                close(process->pidfd);
        process->pidfd = -1;
}
