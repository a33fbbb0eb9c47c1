/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host's NVE has to confirm: that a VM was taken back here (`uncut`), or that one
 * which has arrived runs (`activate`). It is asked for at once, written down (`uncut_due`,
 * `activate_due`), and asked for until it is confirmed, over restarts of both: until then frames
 * for the VM wait, or go elsewhere. A restart before it was written down finds the record of a VM
 * that leaves or arrives, and comes to the same by that.
 *
 * An NVE that refuses does not know the VM, or knows it as something that it has not been for long;
 * or it is short of something. It is given the ports anew, with the VM's epoch: that puts right whatever
 * is older. When it does not take them either it is asked again, now and then.
 *
 * Only a newer epoch is another matter. Then the authority has put the VM elsewhere without our
 * knowing, and which copy is to go is its to say: it is told that one runs here, and ends it, as it
 * does with every copy that is found where the VM is not bound. Until it has, we ask on: the NVE
 * lets no frame through to the wrong one.
 *
 * A VM with something due does not leave (parked.c).
 */
#include "base/log.h"
#include "hv/hv.h"
#include "io/api.h"

static void ask(struct hv_vm *vm);

static void on_again(void *user) {
        struct hv_vm *vm = user;

        gw_timer_free(vm->confirm_again);
        vm->confirm_again = NULL;
        ask(vm);
}

static void ask_later(struct hv_vm *vm) {
        if (!vm->confirm_again &&
            gw_timer_new(&vm->confirm_again, vm->hv->loop, gw_ms(HV_CONFIRM_AGAIN_MS), gw_ms(0), on_again, vm) < 0)
                gw_log(GW_ERR, "vm=%s no timer: its NVE is asked again when it or the agent was restarted",
                       vm->record.id.s);
}

static void confirmed(struct hv_vm *vm) {
        vm->record.uncut_due = vm->record.activate_due = false;
        hv_vm_write_soon(vm);
        hv_parked_look(vm);
}

static void on_attached(struct hv_vm *vm, int status, json_t *body) {
        struct gw_error error = {0};

        if (gw_api_error(status, body, &error)) {
                gw_log_limited(GW_ERR, 3, "vm=%s the NVE does not take a port anew: %s", vm->record.id.s, error.text);
                vm->attach_refused = true;
        }
        if (!vm->attaching || --vm->attaching) /* none: asked twice, since the emulator's channel was lost meanwhile */
                return;
        if (vm->attach_refused)
                ask_later(vm);
        else
                confirmed(vm);
}

static void attach_anew(struct hv_vm *vm) {
        vm->attach_refused = false;
        vm->attaching = vm->record.definition.n_ports;
        if (vm->attaching)
                hv_edge_attach(vm, "serve", on_attached);
        else
                confirmed(vm); /* nothing that an NVE would know */
}

static void on_answer(struct hv_vm *vm, int status, json_t *body) {
        struct gw_error error = {0};

        if (!gw_api_error(status, body, &error)) {
                confirmed(vm);
                return;
        }
        gw_log_limited(GW_WARNING, 3, "vm=%s the NVE does not confirm that it is here: %s", vm->record.id.s,
                       error.text);
        if (error.code != GW_E_STALE) {
                attach_anew(vm);
                return;
        }
        if (!vm->stale_told)
                hv_tell_state(vm, "the NVE here knows of a newer place of it");
        vm->stale_told = true;
        ask_later(vm);
}

static void ask(struct hv_vm *vm) {
        hv_edge_call(vm, "POST", vm->record.uncut_due ? "/uncut" : "/activate",
                     json_pack("{s:I}", "epoch", (json_int_t)vm->record.epoch), false, 0, on_answer);
}

void hv_confirm(struct hv_vm *vm) {
        gw_timer_free(vm->confirm_again);
        vm->confirm_again = NULL;
        vm->stale_told = false;
        if (hv_confirm_is_due(vm))
                ask(vm);
}

bool hv_confirm_is_due(const struct hv_vm *vm) {
        return vm->record.uncut_due || vm->record.activate_due;
}
