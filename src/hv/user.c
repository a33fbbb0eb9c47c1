/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Emulators as a user of their own (`qemu-user`): what such a one must be able to get at, looked at before anything is
 * started, and what the agent gives it besides.
 *
 * By name it opens the kernel, the RAM disk and the images, which are the operator's to make accessible. All else comes
 * as descriptors (taps, control socket, console, log), or lies in the VM's folder in state-dir, which is the agent's: the
 * emulator works there, cannot write to it, and can go nowhere else from there, so that what the agent does in that folder
 * cannot be misled, and emulators of one user do not get at each other's.
 *
 * KVM is the group's of its device. Of post-copy's target the kernel asks more than of others: userfaultfd(2) is for
 * privileged processes, unless /dev/userfaultfd is handed to one (hypervisor/tapgate.c) or the host's operator has opened
 * the call to all.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hypervisor/argv.h"
#include "io/file.h"

#define SYSCTL_FILE "/proc/sys/vm/unprivileged_userfaultfd"

/* It was found when the configuration was read; whoever answers for users may have gone since. */
int hv_user_init(struct hv *hv) {
        struct gw_error error = {0};
        int r = gw_user_parse(hv->config->qemu_user, &hv->user, &error);

        if (r != 0) {
                gw_log(GW_ERR, "qemu-user: %s", error.text);
                return r;
        }
        gw_user_join_device(&hv->user, "/dev/kvm");
        if (hv->user.uid)
                gw_log(GW_INFO, "emulators run as %s: uid %u, gid %u", hv->user.name, (unsigned)hv->user.uid,
                       (unsigned)hv->user.gid);
        return 0;
}

const struct gw_user *hv_user(const struct hv *hv) {
        return hv->user.uid ? &hv->user : NULL;
}

int hv_user_own(const struct hv_vm *vm, int fd) {
        const struct gw_user *user = &vm->hv->user;

        return user->uid && fchown(fd, user->uid, user->gid) < 0 ? -errno : 0;
}

/* ---- files ---- */

static int check_kind(int fd, const char *field, const char *path, struct gw_error *error) {
        int r = gw_file_check_regular(fd);

        if (r < 0)
                return gw_fail(error, r, field, "cannot look at %.120s: %s", path, strerror(-r));
        return r ? gw_fail(error, r, field, "%.120s is not a regular file", path) : 0;
}

/* Without waiting: a FIFO's other end, say. */
static int look(const struct hv *hv, const char *field, const char *path, int flags, struct gw_error *error) {
        int fd = gw_user_open(&hv->user, path, flags | O_NONBLOCK), r;

        if (fd >= 0) {
                r = check_kind(fd, field, path, error);
                close(fd);
                return r;
        }
        if (fd == -ECANCELED)
                return gw_fail(error, GW_E_INVALID, "qemu-user", "the agent may not act as user %s (qemu-user)",
                               hv->user.name);
        return gw_fail(error, GW_E_INVALID, field,
                       "emulators run as user %s here, who cannot %s %.120s: %s; let that user (chown, chmod, and x on "
                       "its folders)",
                       hv->user.name, flags == O_RDONLY ? "read" : "read and write", path, strerror(-fd));
}

int hv_user_look(const struct hv *hv, const char *image, struct gw_error *error) {
        return look(hv, "disks", image, O_RDWR, error);
}

static int check_boot(const struct hv_vm *vm, struct gw_error *error) {
        const struct gw_definition *d = &vm->record.definition;
        int r = 0;

        if (!hv_vm_is_qemu(vm) || !d->kernel[0])
                return 0;
        r = look(vm->hv, "kernel", d->kernel, O_RDONLY, error);
        return r == 0 && d->initrd[0] ? look(vm->hv, "initrd", d->initrd, O_RDONLY, error) : r;
}

/* Those that are to come are made by the agent, for that user (images.c). */
static int check_images(const struct hv_vm *vm, struct gw_error *error) {
        const struct gw_definition *d = &vm->record.definition;
        char path[HV_IMAGE_PATH];
        int r = 0;

        for (unsigned i = 0; r == 0 && i < d->n_disks; i++)
                if (!(vm->record.move.disks & 1U << i) && hv_image_path(vm->hv, &d->disks[i], path) == 0)
                        r = hv_user_look(vm->hv, path, error);
        return r;
}

/* ---- userfaultfd ---- */

static bool is_open_to_all(void) {
        char *text = NULL;
        bool yes = gw_file_read(SYSCTL_FILE, 16, &text, NULL) == 0 && text[0] == '1';

        free(text);
        return yes;
}

bool hv_user_needs_userfault(const struct hv_vm *vm) {
        return vm->hv->user.uid && hv_vm_is_qemu(vm) && vm->record.role == HV_ROLE_TARGET &&
               vm->record.move.options.post_copy && !is_open_to_all();
}

static int check_userfault(const struct hv_vm *vm, struct gw_error *error) {
        if (!hv_user_needs_userfault(vm) || (vm->hv->tap_gate[0] && access(GW_QEMU_USERFAULT, R_OK | W_OK) == 0))
                return 0;
        return gw_fail(
                error, GW_E_CONFLICT, "options",
                "no VM can arrive here by post-copy: emulators run as user %s, and " GW_QEMU_USERFAULT
                " (Linux 6.1), or the library to use it with, is not there; sysctl vm.unprivileged_userfaultfd=1 "
                "would do as well",
                vm->hv->user.name);
}

int hv_user_check(const struct hv_vm *vm, struct gw_error *error) {
        int r = 0;

        if (!vm->hv->user.uid)
                return 0;
        r = check_boot(vm, error);
        if (r == 0)
                r = check_images(vm, error);
        if (r == 0)
                r = check_userfault(vm, error);
        return r == 0 ? hv_gate_check(vm, error) : r;
}
