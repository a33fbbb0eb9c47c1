/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an emulator is given when it is started. Its control socket listens before it is there, and is closed here as soon as the
 * emulator has it: then a connection lasts as long as the process. The console is appended to, over all of a VM's lives on
 * this host. All are opened by us, in a folder that is ours; whoever the emulator is, it gets descriptors.
 */
#include "hypervisor/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/argv.h"
#include "hypervisor/driver.h"
#include "hypervisor/process.h"
#include "hypervisor/user.h"
#include "io/socket.h"

static void unlink_old(const char *directory) {
        static const char *const names[] = {GW_QEMU_QMP_FILE, GW_QEMU_LOG_FILE};
        char path[512];

        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                snprintf(path, sizeof path, "%s/%s", directory, names[i]);
                unlink(path);
        }
}

static void fds_close(const struct gw_argv_fds *fds) {
        const int all[] = {fds->qmp, fds->console, fds->userfault};

        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                if (all[i] >= 0)
                        close(all[i]);
}

/* Ours to open: the emulator's user need not, and may not, get at any of them by name. */
static int fds_open(struct gw_argv_fds *fds, const struct gw_vm_start *start, struct gw_error *error) {
        char path[512];

        *fds = (struct gw_argv_fds){-1, -1, -1};
        snprintf(path, sizeof path, "%s/" GW_QEMU_QMP_FILE, start->directory);
        fds->qmp = gw_socket_listen_unix(path, 0600);
        if (fds->qmp < 0)
                return gw_fail(error, fds->qmp, "", "cannot listen on %s: %s", path, strerror(-fds->qmp));
        snprintf(path, sizeof path, "%s/" GW_QEMU_CONSOLE_FILE, start->directory);
        fds->console = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (fds->console < 0)
                return gw_fail(error, -errno, "", "cannot open %s: %s", path, strerror(errno));
        if (start->userfault)
                fds->userfault = open(GW_QEMU_USERFAULT, O_RDWR | O_CLOEXEC);
        return 0;
}

static int spawn(struct gw_process *process, sd_event *event, const struct gw_argv *argv,
                 const struct gw_vm_start *start, const struct gw_argv_fds *own, struct gw_error *error) {
        int fds[GW_DEFINITION_PORTS_MAX + 3], r;
        struct gw_process_setting setting = {.fds = fds, .directory = start->directory, .user = start->user};
        char log[512];

        for (size_t i = 0; i < start->definition->n_ports; i++)
                fds[setting.n_fds++] = start->tap_fds[i];
        fds[setting.n_fds++] = own->qmp;
        fds[setting.n_fds++] = own->console;
        if (own->userfault >= 0)
                fds[setting.n_fds++] = own->userfault;
        snprintf(log, sizeof log, "%s/" GW_QEMU_LOG_FILE, start->directory);
        setting.log_path = log;
        r = gw_process_spawn(process, event, argv->v, &setting);
        if (r < 0 && start->user)
                return gw_fail(error, r, "emulator", "cannot run %s as user %s: %s", start->emulator, start->user->name,
                               strerror(-r));
        return r < 0 ? gw_fail(error, r, "emulator", "cannot run %s: %s", start->emulator, strerror(-r)) : 0;
}

int gw_qemu_launch(struct gw_process *process, sd_event *event, const struct gw_vm_start *start,
                   struct gw_error *error) {
        struct gw_argv argv = {0};
        struct gw_argv_fds fds;
        int r;

        unlink_old(start->directory);
        r = fds_open(&fds, start, error);
        if (r < 0)
                goto out;
        r = gw_argv_build(&argv, start, &fds);
        if (r < 0)
                gw_fail(error, r, "", "cannot build the emulator's command line: %s", strerror(-r));
        else
                r = spawn(process, event, &argv, start, &fds, error);
        gw_argv_deinit(&argv);
out:
        fds_close(&fds);
        return r;
}
