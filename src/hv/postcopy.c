/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Post-copy: after one pass over all memory the VM is stopped, cut over and run at
 * the target; what it still misses is fetched when it touches it, and sent anyway
 * in the background. The switch goes through the same stop as every cut, since
 * pause-before-switchover holds there too (hv/source.c); nothing else about the
 * network changes.
 *
 * What does change is the way back. QEMU says `switched` when it begins to give the
 * VM away, and `failed` when it could not: then the copy here is still the VM, if the
 * authority finds that the target's has not run, and may go on when it says so. Once
 * the device state is out QEMU has no way back: its source never goes on again, and
 * when either emulator ends before all is sent, the VM has crashed. A connection that
 * breaks then is no end: both sides wait, the target listens anew and the source
 * connects to it again, when the authority says so.
 *
 * A guest that writes little may be done in the ordinary way before the switch.
 * Then a connection that breaks in the very last moment leaves QEMU's source in
 * doubt, and it goes on by itself although the target may run: here it is stopped
 * again at once and the authority asks the target. What remains in doubt is whether the
 * target has everything; its agent tells (`move-landed`).
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"

enum { SECOND_PASS = 2 };

static void on_started(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                gw_log(GW_WARNING, "vm=%s post-copy does not start: %s", vm->record.id.s, error->text);
}

/* Told when it begins, and seen again now and then: disks may have been too far behind at first. */
void hv_postcopy_pass(struct hv_vm *vm, uint64_t number) {
        if (!vm->record.move.options.post_copy || vm->leaving != HV_COPYING || number < SECOND_PASS || !vm->accepted ||
            !hv_mirror_permits(vm))
                return;
        vm->machine->driver->post_copy(vm->machine, on_started, vm);
}

void hv_postcopy_switched(struct hv_vm *vm) {
        bool again = vm->switched && !vm->broken;

        vm->switched = true;
        vm->broken = false;
        if (again)
                return;
        gw_log(GW_INFO, "vm=%s move=%s runs at the target, memory follows", vm->record.id.s, vm->record.move.id.s);
        hv_tell(vm, "move-switched", NULL, (struct gw_wall){0});
}

void hv_postcopy_broken(struct hv_vm *vm) {
        vm->switched = true;
        if (vm->broken)
                return;
        vm->broken = true;
        gw_log(GW_WARNING, "vm=%s move=%s the connection is lost; memory is still here", vm->record.id.s,
               vm->record.move.id.s);
        hv_tell(vm, "move-broken", NULL, (struct gw_wall){0});
}

bool hv_postcopy_in_doubt(const struct hv_vm *vm) {
        return vm->record.move.options.post_copy && (vm->leaving == HV_CUT || vm->switched) && !vm->resuming;
}

static void on_stopped(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (!error)
                return;
        gw_log(GW_ERR, "vm=%s cannot be stopped: %s; it is ended", vm->record.id.s, error->text);
        vm->machine->driver->kill(vm->machine);
}

void hv_postcopy_stop(struct hv_vm *vm) {
        if (vm->leaving == HV_LEFT)
                return;
        vm->leaving = HV_LEFT;
        vm->switched = vm->broken = false; /* QEMU has given the post-copy up, and can go on with this copy */
        vm->record.state = HV_PAUSED;
        gw_timer_free(vm->progress);
        vm->progress = NULL;
        vm->machine->driver->stop(vm->machine, on_stopped, vm);
        hv_tell(vm, "move-failed",
                json_pack("{s:s, s:s, s:b, s:I}", "side", "source", "reason",
                          "the connection broke at the end; whether the target has everything is not known here",
                          "running", 0, "epoch", (json_int_t)vm->record.epoch),
                (struct gw_wall){0});
        hv_vm_write_soon(vm);
}

/* ---- at the target ---- */

/* Whether there is anything still to come only the target's emulator knows for certain: the source's may take its last
 * doubt for a failure. */
void hv_postcopy_landing(struct hv_vm *vm, enum gw_vm_copy copy) {
        if (copy == GW_VM_COPY_COMPLETED && vm->record.move.options.post_copy)
                vm->landed = true;
        if (!vm->landed || vm->record.role != HV_ROLE_SERVE || vm->untold)
                return;
        vm->landed = false;
        gw_log(GW_INFO, "vm=%s move=%s all of its memory is here", vm->record.id.s, vm->record.move.id.s);
        hv_security_forget(vm);
        hv_tell(vm, "move-landed", NULL, (struct gw_wall){0});
}

/* ---- connecting again ---- */

static void on_listening(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_vm_refuse(vm, HV_WAIT_RECOVER, error);
        else
                hv_target_answer(vm, HV_WAIT_RECOVER);
}

void hv_postcopy_recover(struct hv_vm *vm) {
        char endpoint[GW_ENDPOINT_TEXT], uri[80];

        hv_target_next_port(vm, &vm->record.move.endpoint);
        snprintf(uri, sizeof uri, "tcp:%s", gw_endpoint_text(&vm->record.move.endpoint, endpoint));
        vm->machine->driver->recover(vm->machine, uri, on_listening, vm);
}

static void on_connecting(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_vm_refuse(vm, HV_WAIT_RECOVER, error);
        else
                hv_vm_answer(vm, HV_WAIT_RECOVER, 200, hv_vm_json(vm));
}

void hv_postcopy_reconnect(struct hv_vm *vm) {
        char endpoint[GW_ENDPOINT_TEXT], uri[80];

        snprintf(uri, sizeof uri, "tcp:%s", gw_endpoint_text(&vm->record.move.endpoint, endpoint));
        vm->machine->driver->reconnect(vm->machine, uri, on_connecting, vm);
}
