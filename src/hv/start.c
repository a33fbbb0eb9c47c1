/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a definition to a running emulator (or a waiting one, for a VM that
 * arrives): the accelerator is known, taps, state on disk, ports at the NVE,
 * emulator, `ready`. Each step starts the next, but that of a VM that arrives gets
 * ready while its ports are attached; a failure in any of them undoes all and
 * answers the request that asked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hv/scope.h"
#include "hypervisor/tap.h"
#include "io/api.h"
#include "io/file.h"
#include "io/netlink.h"

bool hv_vm_is_qemu(const struct hv_vm *vm) {
        return strcmp(vm->record.definition.emulator, "qemu") == 0;
}

void hv_start_failed(struct hv_vm *vm, const struct gw_error *error) {
        gw_log(GW_ERR, "vm=%s cannot be started: %s", vm->record.id.s, error->text);
        vm->start_error = *error;
        hv_vm_remove(vm);
}

/* From a plain name to where that is here. */
static int resolve_disks(const struct hv *hv, struct gw_definition *d, struct gw_error *error) {
        char path[HV_IMAGE_PATH];

        for (size_t i = 0; i < d->n_disks; i++) {
                if (hv_image_path(hv, &d->disks[i], path) || strlen(path) >= sizeof d->disks[i].path)
                        return gw_fail(error, GW_E_INVALID, "disks", "the path of disk %zu is too long here", i);
                strcpy(d->disks[i].path, path);
        }
        return 0;
}

static int spawn(struct hv_vm *vm, struct gw_error *error) {
        struct hv *hv = vm->hv;
        struct gw_definition resolved = vm->record.definition;
        const struct gw_definition *d = &resolved;
        char directory[512];
        struct gw_vm_start start = {
                .definition = d,
                .directory = directory,
                .user = hv_user(hv),
                .emulator = hv_vm_is_qemu(vm) ? hv->config->qemu : d->emulator,
                .tap_gate = hv_vm_is_qemu(vm) && hv->tap_gate[0] ? hv->tap_gate : NULL,
                .kvm = hv->accelerator == HV_ACCELERATOR_KVM,
                .incoming = vm->record.role == HV_ROLE_TARGET,
                .held = vm->record.held,
                .userfault = hv_user_needs_userfault(vm),
                .tap_fds = vm->taps,
        };
        int r;

        r = resolve_disks(hv, &resolved, error);
        if (r != 0)
                return r;
        snprintf(directory, sizeof directory, "%s/vm/%s", hv->config->common.state_dir, vm->record.id.s);
        r = gw_dir_make(directory, 0700);
        /* Its emulator works there, whoever it is, and may not make anything; nobody else gets past the folder above. */
        if (r == 0 && chmod(directory, 0711) < 0)
                r = -errno;
        if (r < 0)
                return gw_fail(error, r, "", "cannot make %s: %s", directory, strerror(-r));
        vm->record.uid = hv->user.uid;
        vm->record.gid = hv->user.gid;
        r = gw_qemu_driver.start(&vm->machine, hv->loop->event, &start, &hv_vm_events, vm, error);
        if (r != 0)
                return r;
        gw_qemu_driver.identity(vm->machine, &vm->record.process);
        hv_scopes_put(hv->scopes, "vm", vm->record.id.s, vm->record.process.pid);
        return hv_vm_write(vm);
}

static void on_attached(struct hv_vm *vm, int status, json_t *body) {
        struct gw_error error = {0};

        if (!vm->starting)
                return;
        if (gw_api_error(status, body, &error)) {
                char text[sizeof error.text];

                memcpy(text, error.text, sizeof text);
                gw_fail(&error, error.code, "ports", "the NVE did not take a port: %.200s", text);
                hv_start_failed(vm, &error);
                return;
        }
        if (--vm->attaching)
                return;
        if (vm->record.role == HV_ROLE_TARGET) {
                if (vm->speaks)
                        hv_target_listen(vm);
        } else if (spawn(vm, &error) != 0) {
                hv_start_failed(vm, &error);
        }
}

static int open_taps(struct hv_vm *vm, struct gw_error *error) {
        const struct gw_definition *d = &vm->record.definition;
        char device[IFNAMSIZ];

        for (size_t i = 0; i < d->n_ports; i++) {
                gw_vm_tap_name(&d->ports[i].id, device);
                vm->taps[i] = gw_vm_tap_open(device, vm->hv->config->tap_queue, d->ports[i].mtu_octets, error);
                if (vm->taps[i] < 0)
                        return vm->taps[i];
        }
        return 0;
}

/* A guest finds its ports attached when it begins to run. One that arrives does so much later: its emulator gets ready
 * meanwhile. */
static void attach(struct hv_vm *vm) {
        bool arrives = vm->record.role == HV_ROLE_TARGET;
        struct gw_error error = {0};

        vm->attaching = vm->record.definition.n_ports;
        if ((arrives || !vm->attaching) && spawn(vm, &error) != 0)
                hv_start_failed(vm, &error);
        else if (vm->attaching)
                hv_edge_attach(vm, arrives ? "arrive" : "serve", on_attached);
}

static void go(struct hv_vm *vm);

static void on_cleared(struct hv_vm *vm, int status, json_t *body) {
        (void)status, (void)body; /* a tap that is still busy says so itself */
        if (vm->starting)
                go(vm);
}

/* The NVE may still have the taps of an arrival here that came to nothing (hv_edge_return). */
static bool must_clear(struct hv_vm *vm) {
        const struct gw_definition *d = &vm->record.definition;
        char device[IFNAMSIZ];

        for (size_t i = 0; i < d->n_ports && !vm->cleared; i++) {
                gw_vm_tap_name(&d->ports[i].id, device);
                if (gw_link_index(device) <= 0)
                        continue;
                vm->cleared = true;
                hv_edge_detach(vm, false, on_cleared);
                return true;
        }
        return false;
}

static void on_images(struct hv_vm *vm, const struct gw_error *error) {
        if (!vm->starting)
                return;
        if (error)
                hv_start_failed(vm, error);
        else
                attach(vm);
}

static void go(struct hv_vm *vm) {
        struct gw_error error = {0};
        int r;

        if (must_clear(vm))
                return;
        r = hv_images_check(vm, &error);
        if (r == 0)
                r = hv_user_check(vm, &error);
        if (r == 0)
                r = open_taps(vm, &error);
        if (r == 0) {
                r = hv_vm_write(vm);
                if (r < 0)
                        gw_fail(&error, r, "", "cannot write the VM's state: %s", strerror(-r));
        }
        if (r != 0)
                hv_start_failed(vm, &error);
        else if (vm->record.role == HV_ROLE_TARGET && vm->record.move.disks)
                hv_images_make(vm, on_images);
        else
                attach(vm);
}

void hv_start(struct hv_vm *vm) {
        vm->starting = true;
        vm->record.state = HV_STARTING;
        vm->record.process = (struct gw_vm_identity){0};
        strcpy(vm->record.boot, vm->hv->boot);
        if (!hv_vm_is_qemu(vm) || vm->hv->accelerator != HV_ACCELERATOR_UNKNOWN)
                go(vm);
}

void hv_start_waiting(struct hv *hv) {
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (vm->starting && hv_vm_is_qemu(vm) && !vm->machine && !vm->attaching && !vm->images_made)
                        go(vm);
        }
}

void hv_start_ready(struct hv_vm *vm) {
        vm->speaks = true;
        if (vm->record.role == HV_ROLE_TARGET) {
                if (!vm->attaching)
                        hv_target_listen(vm);
                return;
        }
        vm->starting = false;
        vm->record.state = vm->record.held ? HV_PAUSED : HV_RUNNING;
        hv_vm_write(vm);
        gw_log(GW_INFO, "vm=%s %s epoch=%llu pid=%d", vm->record.id.s, vm->record.held ? "is held" : "runs",
               (unsigned long long)vm->record.epoch, (int)vm->record.process.pid);
        hv_vm_answer(vm, HV_WAIT_START, 200, hv_vm_json(vm));
        hv_tell_state(vm, "");
}
