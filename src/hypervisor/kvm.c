/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The KVM probe: one throwaway VM without disk or network. "Linux version" on
 * the serial console proves that firmware, boot loader and the kernel's first
 * steps ran on the real CPU; the panic that follows, for want of a root file
 * system, is the expected end.
 */
#include "hypervisor/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/list.h"
#include "base/time.h"
#include "hypervisor/argv.h"
#include "hypervisor/process.h"
#include "hypervisor/user.h"

enum { LOOK_US = 100000, CONSOLE_OCTETS = 32768 };

static const char CONSOLE[] = "kvm-probe.console", LOG[] = "kvm-probe.log";

struct gw_kvm_probe {
        struct gw_process process;
        sd_event_source *look;
        struct gw_mono give_up;
        char directory[256];
        void (*done)(bool works, const char *reason, void *user);
        void *user;
};

static bool has_spoken(const struct gw_kvm_probe *probe) {
        char path[sizeof probe->directory + sizeof CONSOLE + 1], text[CONSOLE_OCTETS];
        ssize_t n = 0;
        int fd;

        snprintf(path, sizeof path, "%s/%s", probe->directory, CONSOLE);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return false;
        n = read(fd, text, sizeof text);
        close(fd);
        return n > 0 && memmem(text, (size_t)n, "Linux version", strlen("Linux version"));
}

static void finish(struct gw_kvm_probe *probe, bool works, const char *reason) {
        probe->look = sd_event_source_disable_unref(probe->look);
        gw_process_kill(&probe->process, SIGKILL);
        probe->done(works, reason, probe->user);
}

static void on_end(struct gw_process *process, int code, int status) {
        struct gw_kvm_probe *probe = gw_container_of(process, struct gw_kvm_probe, process);

        (void)code;
        (void)status;
        if (!probe->look)
                return; /* that was our own kill */
        if (has_spoken(probe))
                finish(probe, true, "a kernel boots");
        else
                finish(probe, false, "the emulator ended before the kernel spoke");
}

static int on_look(sd_event_source *source, uint64_t usec, void *user) {
        struct gw_kvm_probe *probe = user;

        (void)usec;
        if (has_spoken(probe)) {
                finish(probe, true, "a kernel boots");
        } else if (gw_mono_reached(gw_mono_now(), probe->give_up)) {
                finish(probe, false, "a stock kernel hangs under it");
        } else {
                sd_event_source_set_time_relative(source, LOOK_US);
                sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        }
        return 0;
}

static void build(struct gw_argv *argv, const char *qemu, const char *kernel, int fd, const char *path) {
        static const char *const fixed[] = {"-nodefaults", "-no-user-config",
                                            "-nographic",  "-no-reboot",
                                            "-machine",    "pc",
                                            "-accel",      "kvm",
                                            "-cpu",        "Nehalem",
                                            "-m",          "128",
                                            "-append",     "console=ttyS0 panic=-1"};

        gw_argv_add(argv, "%s", qemu);
        for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++)
                gw_argv_add(argv, "%s", fixed[i]);
        gw_argv_add(argv, "-kernel");
        gw_argv_add(argv, "%s", kernel);
        gw_argv_add_file(argv, fd, 1, path);
        gw_argv_add(argv, "-serial");
        gw_argv_add(argv, "file:/dev/fdset/1");
}

static int spawn(struct gw_kvm_probe *probe, sd_event *event, const char *qemu, const char *kernel,
                 const struct gw_user *user) {
        char path[512], log[512], mark[520];
        int console, r;
        struct gw_process_setting setting = {.fds = &console, .n_fds = 1, .log_path = log, .user = user};
        struct gw_argv argv = {0};

        snprintf(log, sizeof log, "%s/%s", probe->directory, LOG);
        snprintf(path, sizeof path, "%s/%s", probe->directory, CONSOLE);
        snprintf(mark, sizeof mark, "opaque=%s", path);
        /* One that an agent left behind which was killed: it would run for good. */
        gw_process_kill_by_argument(mark, user ? user->uid : 0);
        console = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        if (console < 0)
                return -errno;
        build(&argv, qemu, kernel, console, path);
        r = argv.failed ? argv.failed : gw_process_spawn(&probe->process, event, argv.v, &setting);
        gw_argv_deinit(&argv);
        close(console);
        return r;
}

int gw_kvm_probe_new(struct gw_kvm_probe **out, sd_event *event, const char *qemu, const char *kernel,
                     const char *directory, const struct gw_user *run_as,
                     void (*done)(bool works, const char *reason, void *user), void *user) {
        struct gw_kvm_probe *probe = calloc(1, sizeof *probe);
        int r;

        if (!probe)
                return -ENOMEM;
        probe->process = GW_PROCESS_NULL;
        probe->process.ended = on_end;
        probe->done = done;
        probe->user = user;
        probe->give_up = gw_mono_after(gw_mono_now(), gw_ms(GW_KVM_PROBE_MS));
        snprintf(probe->directory, sizeof probe->directory, "%s", directory);
        r = spawn(probe, event, qemu, kernel, run_as);
        if (r == 0)
                r = sd_event_add_time_relative(event, &probe->look, CLOCK_MONOTONIC, LOOK_US, 0, on_look, probe);
        if (r < 0) {
                gw_kvm_probe_free(probe);
                return r;
        }
        *out = probe;
        return 0;
}

void gw_kvm_probe_free(struct gw_kvm_probe *probe) {
        if (!probe)
                return;
        probe->look = sd_event_source_disable_unref(probe->look);
        gw_process_end(&probe->process);
        free(probe);
}
