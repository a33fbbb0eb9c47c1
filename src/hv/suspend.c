/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that stands still because somebody wants it to, and goes on when they say so.
 *
 * Nothing is written down of the wish: the emulator holds the guest, with all its
 * memory, and is asked after a restart of the agent; when it ends, the VM has
 * crashed like any other. The ports stay attached, frames for it wait in the tap's
 * queue. The emulator's own events (STOP, RESUME) change the state that is told. An order to
 * leave that comes meanwhile waits (parked.c), and then finds it as it is.
 */
#include "base/error.h"
#include "hv/api.h"
#include "hv/hv.h"
#include "io/http.h"

static void on_done(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_vm_refuse(vm, HV_WAIT_SUSPEND, error);
        else
                hv_vm_answer(vm, HV_WAIT_SUSPEND, 200, hv_vm_json(vm));
        hv_parked_look(vm);
}

static void turn(struct gw_request *request, struct hv *hv, bool run) {
        struct hv_vm *vm = hv_api_ordered(request, hv);

        if (!vm)
                return;
        if (vm->record.role != HV_ROLE_SERVE || !vm->machine || vm->starting || vm->forget || vm->record.held ||
            (vm->record.state != HV_RUNNING && vm->record.state != HV_PAUSED)) {
                hv_api_fail(request, GW_E_CONFLICT, "", "%s cannot %s now: it is %s here, as %s", vm->record.id.s,
                            run ? "go on" : "be suspended", hv_state_word(vm->record.state),
                            hv_role_word(vm->record.role));
                return;
        }
        if (!hv_vm_wait(vm, HV_WAIT_SUSPEND, request))
                return;
        if (run)
                vm->machine->driver->cont(vm->machine, on_done, vm);
        else
                vm->machine->driver->stop(vm->machine, on_done, vm);
}

void hv_api_suspend(struct gw_request *request, void *user) {
        turn(request, user, false);
}

void hv_api_continue(struct gw_request *request, void *user) {
        turn(request, user, true);
}
