/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A copy that stands still: the target's host or the link to it is lost, and nobody
 * says so. TCP would repeat itself for a quarter of an hour, and QEMU has no timeout
 * of its own for what it sends.
 *
 * What has been sent is looked at all the time: memory from the moment it goes, disks
 * before. When it has not become more for `copy-stall-s` the copy is given up, and
 * the VM stays. From the stop for the cut on other deadlines hold: the edge's, that
 * of the disks (hv/mirror.c) and the authority's. After the switch of a post-copy
 * giving up is no way out; there the connection is ended, and the authority has it
 * made anew.
 *
 * Time passes by the ticks of our own timer: not by answers, since an emulator that
 * waits for the dead answers nobody; and not by the clock, since an agent that did not
 * run for a while has seen nothing stand still.
 */
#include <stdio.h>

#include "base/log.h"
#include "hv/hv.h"

void hv_stall_begin(struct hv_vm *vm) {
        vm->stall_octets = 0;
        vm->stall_ticks = 0;
}

void hv_stall_look(struct hv_vm *vm, const struct gw_vm_status *status) {
        uint64_t octets = vm->memory_sent ? status->progress.transferred_octets : status->disk_done_octets;

        if (octets == vm->stall_octets)
                return;
        vm->stall_octets = octets;
        vm->stall_ticks = 0;
}

static void on_broken_off(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                gw_log(GW_WARNING, "vm=%s its connection cannot be ended: %s", vm->record.id.s, error->text);
}

void hv_stall_tick(struct hv_vm *vm) {
        const struct hv_move *move = &vm->record.move;
        uint32_t limit_s = vm->hv->config->copy_stall_s;
        char reason[160];

        vm->stall_ticks++;
        if (!limit_s || (uint64_t)vm->stall_ticks * HV_PROGRESS_MS < (uint64_t)limit_s * 1000)
                return;
        if (vm->leaving == HV_COPYING) {
                snprintf(reason, sizeof reason,
                         "the copy has made no progress for %u s; %s, or the link to it, does not answer", limit_s,
                         move->peer_id.s[0] ? move->peer_id.s : "the target");
                hv_source_fail(vm, reason);
        } else if (vm->leaving == HV_CANCELLING && vm->memory_sent) { /* the order or its answer was lost */
                hv_stall_begin(vm);
                hv_source_cancel(vm);
        } else if (vm->switched && !vm->broken) {
                gw_log(GW_WARNING, "vm=%s move=%s no progress for %u s after the switch: the connection is ended",
                       vm->record.id.s, move->id.s, limit_s);
                hv_stall_begin(vm);
                vm->machine->driver->break_off(vm->machine, on_broken_off, vm);
        }
}
