/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks that leave with their VM (D2 section 6: first the whole image while the VM
 * runs, then what has changed). Each is mirrored to the image that the target has
 * made. Memory is not sent before all mirrors have caught up; from then on they
 * follow the guest's writes. When the VM is stopped for the cut they send what is
 * left and end, beside the edge's cut. The VM runs at the target only when both have
 * been confirmed.
 *
 * The VM is not stopped while they are behind: as long as what is left takes longer
 * than the last copy may (or than one of a mirror's rounds), memory is held back, so
 * that it does not converge. That lasts `disk-lag-s` at most; then the move is given up. An estimate may be wrong and a link may be lost in the
 * last moment, so the stopped VM waits for its disks no longer than `disk-pause-ms`
 * and goes on here then.
 *
 * A mirror that fails fails the move, whenever it does: the source's image was
 * never anything but complete. So does an image that changes its size: the target's
 * has the old one. After a restart of the agent mirrors that are there are carried
 * on; one that is missing has ended in a way nobody saw, and the move is given up.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hv/reach.h"

enum { HELD_OCTETS_S = 1 << 20, HELD_DOWNTIME_MS = 1 };

static bool all(const struct hv_vm *vm, unsigned disks) {
        return (disks & vm->record.move.disks) == vm->record.move.disks;
}

static void on_started(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        hv_security_take_back(vm);
        if (error) {
                hv_vm_refuse(vm, HV_WAIT_MIGRATE, error);
                hv_source_fail(vm, error->text);
        } else {
                hv_vm_answer(vm, HV_WAIT_MIGRATE, 200, hv_vm_json(vm));
        }
}

static void on_reached(struct hv_vm *vm, const struct gw_error *error) {
        const struct hv_move *move = &vm->record.move;
        struct gw_vm_mirror mirror = {
                .to = move->nbd,
                .disks = move->disks,
                .bandwidth_octets_s = (uint64_t)move->bandwidth_mib_s << 20,
                .security = hv_security_of(vm),
        };
        struct gw_error mine = {0};

        if (!error && hv_security_lend(vm, &mine))
                error = &mine;
        if (error)
                on_started(error, vm);
        else
                vm->machine->driver->mirror(vm->machine, &mirror, on_started, vm);
}

void hv_mirror_start(struct hv_vm *vm) {
        vm->disks_ready = vm->disks_ended = 0;
        vm->behind_looks = 0;
        vm->gate = HV_GATE_CLOSED;
        gw_log(GW_INFO, "vm=%s move=%s disks go first", vm->record.id.s, vm->record.move.id.s);
        hv_reach_nbd(vm, on_reached);
}

/* ---- may the VM be stopped? ---- */

bool hv_mirror_permits(const struct hv_vm *vm) {
        return !vm->record.move.disks || vm->gate == HV_GATE_OPEN;
}

/* With next to nothing of the link QEMU never comes to expect an end within a millisecond while the guest writes at all;
 * and the disks have the link to catch up. */
static void set_gate(struct hv_vm *vm, enum hv_gate gate) {
        const struct hv_move *move = &vm->record.move;
        bool open = gate == HV_GATE_OPEN;

        if (vm->gate == gate)
                return;
        vm->gate = gate;
        gw_log(GW_INFO, "vm=%s move=%s its disks are %s: %" PRIu64 " KiB are left", vm->record.id.s, move->id.s,
               open ? "in step" : "too far behind to stop it", vm->backlog.left_octets >> 10);
        vm->machine->driver->pace(vm->machine, open ? (uint64_t)move->bandwidth_mib_s << 20 : HELD_OCTETS_S,
                                  open ? move->downtime_ms : HELD_DOWNTIME_MS, NULL, NULL);
}

static void check_lag(struct hv_vm *vm) {
        uint32_t limit_s = vm->hv->config->disk_lag_s;
        char reason[200];

        if ((uint64_t)++vm->behind_looks * HV_PROGRESS_MS < (uint64_t)limit_s * 1000)
                return;
        snprintf(reason, sizeof reason,
                 "its disks have been too far behind for %" PRIu32 " s, %" PRIu64 " KiB at %" PRIu64
                 " KiB/s: it writes faster than they can be sent",
                 limit_s, vm->backlog.left_octets >> 10, vm->backlog.rate_octets_s >> 10);
        hv_source_fail(vm, reason);
}

void hv_mirror_look(struct hv_vm *vm, const struct gw_vm_status *status) {
        unsigned allowed_ms = vm->record.move.downtime_ms;
        struct gw_error error = {0};

        if (!vm->record.move.disks || vm->leaving != HV_COPYING)
                return;
        if (hv_images_changed(vm, &error)) {
                hv_source_fail(vm, error.text);
                return;
        }
        hv_backlog_look(&vm->backlog, status->disk_done_octets, status->disk_total_octets, gw_mono_now());
        if (!vm->accepted)
                return;
        if (allowed_ms < HV_BACKLOG_SLICE_MS)
                allowed_ms = HV_BACKLOG_SLICE_MS;
        if (hv_backlog_ms(&vm->backlog) <= allowed_ms) {
                vm->behind_looks = 0;
                set_gate(vm, HV_GATE_OPEN);
        } else {
                set_gate(vm, HV_GATE_CLOSED);
                check_lag(vm);
        }
}

/* ---- the cut ---- */

static void wait_no_longer(struct hv_vm *vm) {
        gw_timer_free(vm->disks_deadline);
        vm->disks_deadline = NULL;
}

static void on_late(void *user) {
        struct hv_vm *vm = user;
        char reason[160];

        wait_no_longer(vm);
        snprintf(reason, sizeof reason, "its disks were not sent within %" PRIu32 " ms after the VM's stop",
                 vm->hv->config->disk_pause_ms);
        hv_source_fail(vm, reason);
}

static void on_ending(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_source_fail(vm, error->text);
}

void hv_mirror_end(struct hv_vm *vm) {
        if (!vm->record.move.disks)
                return;
        wait_no_longer(vm);
        if (gw_timer_new(&vm->disks_deadline, vm->hv->loop, gw_ms(vm->hv->config->disk_pause_ms), gw_ms(0), on_late,
                         vm) < 0)
                gw_log(GW_WARNING, "vm=%s no timer: only the authority's deadline holds for its disks",
                       vm->record.id.s);
        vm->machine->driver->mirror_end(vm->machine, vm->record.move.disks & ~vm->disks_ended, false, on_ending, vm);
}

bool hv_mirror_is_over(const struct hv_vm *vm) {
        return all(vm, vm->disks_ended) && !vm->copy_error[0];
}

static void on_forced(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        (void)error;
        vm->machine->driver->mirror_clear(vm->machine, vm->mirrors_to_clear, NULL, NULL);
}

void hv_mirror_undo(struct hv_vm *vm) {
        wait_no_longer(vm);
        vm->gate = HV_GATE_UNKNOWN;
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
                snprintf(text, sizeof text, "disk %u cannot be sent to %s: %.100s", disk,
                         vm->record.move.peer_id.s[0] ? vm->record.move.peer_id.s : "the target", reason);
                hv_source_fail(vm, text);
        } else if (state == GW_VM_MIRROR_READY) {
                vm->disks_ready |= 1U << disk;
                if (all(vm, vm->disks_ready) && vm->leaving == HV_COPYING && !vm->memory_sent) {
                        vm->gate = HV_GATE_OPEN; /* memory takes longer than the next look */
                        hv_source_send_memory(vm);
                }
        } else if (vm->leaving == HV_CUTTING || vm->leaving == HV_CUT) {
                vm->disks_ended |= 1U << disk;
                if (hv_mirror_is_over(vm))
                        wait_no_longer(vm);
                hv_source_proceed(vm);
        } else if (vm->leaving == HV_COPYING) {
                hv_source_fail(vm, "the copy of a disk has ended too early");
        }
}

/* False: they cannot be carried on. */
bool hv_mirror_adopt(struct hv_vm *vm, const struct gw_vm_status *status) {
        vm->disks_ready = status->mirrors_ready;
        vm->disks_ended = 0;
        return all(vm, status->mirrors);
}
