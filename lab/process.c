/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Processes of a lab. A process is known by its number and the time it started (field 22
 * of /proc/PID/stat), since numbers are used again.
 *
 * Starting: the child waits on a pipe until its number is in the manifest, and ends
 * when the pipe closes without a word; so there is no daemon that the manifest
 * does not know, whenever the lab program dies. It enters the network namespace only
 * (the BPF file system must stay visible), in a session of its own.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "io/netlink.h"
#include "lab/manifest.h"

enum { POLL_MS = 20 };

/* A field of /proc/PID/stat, counted from the state, which is the third and begins at `state`. */
static long long field_of(const char *state, int number) {
        for (int field = 3; state && field < number; field++) {
                state = strchr(state, ' ');
                state = state ? state + 1 : NULL;
        }
        return state ? strtoll(state, NULL, 10) : 0;
}

/* The time of start in clock ticks since boot; 0: gone, or only waiting to be reaped. One that was killed and has threads
 * that still end (in a write to a disk, say) has its files, with the locks on them, until the last one has. */
static long long started_at(pid_t pid) {
        enum { THREADS = 20, STARTED = 22 };
        char path[64], text[1024];
        char *at;
        FILE *f;
        size_t n;

        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        f = fopen(path, "re");
        if (!f)
                return 0;
        n = fread(text, 1, sizeof text - 1, f);
        fclose(f);
        text[n] = 0;
        /* The name may hold anything, so count from its closing bracket: state is field 3. */
        at = strrchr(text, ')');
        if (!at || at[1] != ' ' || at[2] == 'X' || (at[2] == 'Z' && field_of(at + 2, THREADS) <= 1))
                return 0;
        return field_of(at + 2, STARTED);
}

static pid_t pid_of(const json_t *item) {
        return (pid_t)json_integer_value(json_object_get(item, "pid"));
}

bool gw_lab_process_alive(const json_t *item) {
        pid_t pid = pid_of(item);

        return pid > 0 && started_at(pid) == json_integer_value(json_object_get(item, "started"));
}

int gw_lab_process_signal(const json_t *item, int signal) {
        if (!gw_lab_process_alive(item))
                return 0;
        return kill(pid_of(item), signal) < 0 && errno != ESRCH ? -errno : 0;
}

/* Runs in the child. Never returns. */
static void become(char **argv, int netns, int log, int go) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        sigset_t none;
        char word;

        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        signal(SIGPIPE, SIG_DFL);
        if (setsid() < 0 || (netns >= 0 && gw_netns_enter_fd(netns, NULL) < 0) || chdir("/") < 0 ||
            dup2(null, STDIN_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 || dup2(log, STDERR_FILENO) < 0)
                _exit(126);
        if (read(go, &word, 1) != 1)
                _exit(125);
        execvp(argv[0], argv);
        dprintf(STDERR_FILENO, "cannot run %s: %s\n", argv[0], strerror(errno));
        _exit(127);
}

static int fork_waiting(char **argv, int netns, int log, pid_t *pid, int *go) {
        int ends[2];

        if (pipe2(ends, O_CLOEXEC) < 0)
                return -errno;
        *pid = fork();
        if (*pid < 0) {
                close(ends[0]);
                close(ends[1]);
                return -errno;
        }
        if (!*pid) {
                close(ends[1]);
                become(argv, netns, log, ends[0]);
        }
        close(ends[0]);
        *go = ends[1];
        return 0;
}

/* Replaces what the manifest says of an earlier process of that name. */
static int record(struct gw_manifest *m, const char *host, const char *daemon, pid_t pid, const char *log,
                  struct gw_error *error) {
        json_t *item = gw_manifest_find(m, "process", "host", host, "daemon", daemon);

        if (item)
                gw_manifest_remove(m, item);
        item = json_pack("{s:s, s:s, s:s, s:i, s:I, s:s}", "kind", "process", "host", host, "daemon", daemon, "pid",
                         (int)pid, "started", (json_int_t)started_at(pid), "log", log);
        return gw_manifest_add(m, item, error);
}

int gw_lab_process_start(struct gw_manifest *m, const char *host, const char *daemon, const char *netns, char **argv,
                         const char *log, struct gw_error *error) {
        int fd = -1, ns = -1, go = -1, r;
        pid_t pid = 0;

        fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
        if (fd < 0)
                return gw_fail(error, -errno, "", "cannot write %s: %s", log, strerror(errno));
        ns = netns ? gw_netns_open(netns) : -1;
        if (netns && ns < 0) {
                r = gw_fail(error, ns, "", "no network namespace %s: %s", netns, strerror(-ns));
                goto out;
        }
        r = fork_waiting(argv, ns, fd, &pid, &go);
        if (r < 0) {
                gw_fail(error, r, "", "cannot start %s: %s", argv[0], strerror(-r));
                goto out;
        }
        r = record(m, host, daemon, pid, log, error);
        if (!r && write(go, "g", 1) != 1)
                r = gw_fail(error, -EPIPE, "", "%s ended before it began; see %s", argv[0], log);
out:
        if (go >= 0)
                close(go);
        if (ns >= 0)
                close(ns);
        close(fd);
        return r;
}

static bool any_alive(json_t *items) {
        bool alive = false;
        json_t *item;
        size_t i;

        json_array_foreach (items, i, item) {
                if (strcmp(json_string_value(json_object_get(item, "kind")), "process") != 0)
                        continue;
                waitpid(pid_of(item), NULL, WNOHANG); /* when it is our own child */
                alive = alive || gw_lab_process_alive(item);
        }
        return alive;
}

static void signal_all(json_t *items, int signal) {
        /* Backwards: a daemon goes before what it depends on. */
        for (size_t i = json_array_size(items); i-- > 0;) {
                json_t *item = json_array_get(items, i);

                if (!strcmp(json_string_value(json_object_get(item, "kind")), "process"))
                        gw_lab_process_signal(item, signal);
        }
}

void gw_lab_process_end_all(json_t *items, unsigned limit_ms) {
        signal_all(items, SIGTERM);
        for (unsigned waited = 0; waited < limit_ms && any_alive(items); waited += POLL_MS)
                usleep(POLL_MS * 1000);
        signal_all(items, SIGKILL);
        for (unsigned waited = 0; waited < limit_ms && any_alive(items); waited += POLL_MS)
                usleep(POLL_MS * 1000);
}

static bool is_in_netns(const char *pid, const struct stat *ns) {
        char path[300];
        struct stat its;

        snprintf(path, sizeof path, "/proc/%s/ns/net", pid);
        return !stat(path, &its) && its.st_ino == ns->st_ino && its.st_dev == ns->st_dev;
}

/* Kills once over; returns how many there were. */
static int kill_round(const struct stat *ns) {
        DIR *proc = opendir("/proc");
        struct dirent *entry;
        int n = 0;

        while (proc && (entry = readdir(proc))) {
                if (!isdigit((unsigned char)*entry->d_name) || !is_in_netns(entry->d_name, ns))
                        continue;
                pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);

                if (pid == getpid() || !started_at(pid))
                        continue;
                kill(pid, SIGKILL);
                n++;
        }
        if (proc)
                closedir(proc);
        return n;
}

void gw_lab_process_kill_in_netns(const char *netns) {
        int fd = gw_netns_open(netns);
        struct stat ns, first, own;

        if (fd < 0)
                return;
        /* Never the machine's namespace or our own, whatever is mounted at that name. In a container the first process
         * may be closed to us; its namespace is then our own. */
        if (stat("/proc/1/ns/net", &first) < 0)
                first.st_ino = 0;
        if (!fstat(fd, &ns) && !stat("/proc/self/ns/net", &own) && ns.st_ino != first.st_ino && ns.st_ino != own.st_ino)
                for (int i = 0; i < 100 && kill_round(&ns); i++)
                        usleep(POLL_MS * 1000);
        close(fd);
}
