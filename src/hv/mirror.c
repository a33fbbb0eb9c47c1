/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that leave with their VM (D2 section 6: first the whole image while the VM
 * runs, then what has changed). Each is mirrored to the image that the target has
 * made. Memory is not sent before all mirrors have caught up; from then on they
 * follow the guest's writes. When the VM is stopped for the cut they send what is
 * left and end, beside the edge's cut. The VM runs at the target only when both have
 * been confirmed.
 *
 * A mirror that fails fails the move, whenever it does: the source's image was
 * never anything but complete. After a restart of the agent mirrors that are there
 * are carried on; one that is missing has ended in a way nobody saw, and the move is
 * given up.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"

static bool all(const struct hv_vm *vm, unsigned disks) {
        return (disks & vm->record.move.disks) == vm->record.move.disks;
}

void hv_mirror_fail(struct hv_vm *vm, const char *reason) {
        if (vm->record.role != HV_ROLE_SOURCE || vm->leaving == HV_NOT_LEAVING || vm->leaving == HV_LEFT ||
            vm->leaving == HV_CANCELLING || vm->mirror_error[0])
                return;
        snprintf(vm->mirror_error, sizeof vm->mirror_error, "%s", reason);
        gw_text_mend(vm->mirror_error);
        hv_source_break(vm);
}

static void on_started(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error) {
                hv_vm_refuse(vm, HV_WAIT_MIGRATE, error);
                hv_mirror_fail(vm, error->text);
        } else {
                hv_vm_answer(vm, HV_WAIT_MIGRATE, 200, hv_vm_json(vm));
        }
}

void hv_mirror_start(struct hv_vm *vm) {
        const struct hv_move *move = &vm->record.move;
        struct gw_vm_mirror mirror = {
                .to = move->nbd,
                .disks = move->disks,
                .bandwidth_octets_s = (uint64_t)move->bandwidth_mib_s << 20,
                .security = hv_security_of(vm),
        };

        vm->disks_ready = vm->disks_ended = 0;
        vm->mirror_error[0] = '\0';
        gw_log(GW_INFO, "vm=%s move=%s disks go first", vm->record.id.s, move->id.s);
        vm->machine->driver->mirror(vm->machine, &mirror, on_started, vm);
}

static void on_ending(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_mirror_fail(vm, error->text);
}

void hv_mirror_end(struct hv_vm *vm) {
        if (vm->record.move.disks)
                vm->machine->driver->mirror_end(vm->machine, vm->record.move.disks & ~vm->disks_ended, false, on_ending,
                                                vm);
}

bool hv_mirror_is_over(const struct hv_vm *vm) {
        return all(vm, vm->disks_ended) && !vm->mirror_error[0];
}

static void on_forced(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        (void)error;
        vm->machine->driver->mirror_clear(vm->machine, vm->mirrors_to_clear, NULL, NULL);
}

void hv_mirror_undo(struct hv_vm *vm) {
        if (!vm->record.move.disks || !vm->machine)
                return;
        vm->mirrors_to_clear = vm->record.move.disks;
        vm->machine->driver->mirror_end(vm->machine, vm->record.move.disks, true, on_forced, vm);
}

void hv_mirror_event(struct hv_vm *vm, unsigned disk, enum gw_vm_mirror_state state, const char *reason) {
        char text[200];

        if (vm->record.role != HV_ROLE_SOURCE || !(vm->record.move.disks & 1U << disk))
                return;
        if (state == GW_VM_MIRROR_FAILED) {
                snprintf(text, sizeof text, "disk %u cannot be sent: %.150s", disk, reason);
                hv_mirror_fail(vm, text);
        } else if (state == GW_VM_MIRROR_READY) {
                vm->disks_ready |= 1U << disk;
                if (all(vm, vm->disks_ready) && vm->leaving == HV_COPYING && !vm->memory_sent)
                        hv_source_send_memory(vm);
        } else if (vm->leaving == HV_CUTTING || vm->leaving == HV_CUT) {
                vm->disks_ended |= 1U << disk;
                hv_source_proceed(vm);
        } else if (vm->leaving == HV_COPYING) {
                hv_mirror_fail(vm, "the copy of a disk has ended too early");
        }
}

/* False: they cannot be carried on. */
bool hv_mirror_adopt(struct hv_vm *vm, const struct gw_vm_status *status) {
        vm->disks_ready = status->mirrors_ready;
        vm->disks_ended = 0;
        return all(vm, status->mirrors);
}
