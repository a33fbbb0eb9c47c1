/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Suspending and resuming. The VM stays at its place, bound and registered: whoever
 * writes to it is not told anything, and its frames wait in its host's queue as
 * far as that goes. `desired` stays running: a host that loses the VM has lost a
 * running one, and on_crash decides. That it stands still is the emulator's to know; agents tell it with every
 * inventory, so nothing is stored here either.
 */
#include "nva/suspend.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "io/http.h"
#include "io/session.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/mover.h"

struct call {
        struct nva *nva;
        struct gw_name vm;
        uint64_t epoch;
        struct gw_request *request;
        enum gw_vm_state then;
};

static void on_answer(int status, json_t *body, void *user) {
        struct call *call = user;
        struct gw_vm *vm = gw_directory_vm(&call->nva->directory, call->vm.s);
        struct gw_error error = {0};

        if (nva_json_no_answer(status, body))
                gw_fail(&error, GW_E_AGAIN, "",
                        "the host has not answered; `godwit vm show %s` tells what became of it", call->vm.s);
        else
                gw_api_error(status, body, &error);
        if (!error.code && (!vm || vm->binding.epoch != call->epoch))
                gw_fail(&error, GW_E_CONFLICT, "vm", "%s was stopped, or placed anew, meanwhile", call->vm.s);
        if (error.code) {
                gw_request_fail(call->request, &error);
        } else {
                if (!mover_open(call->nva, call->vm.s))
                        gw_directory_vm_set_state(&call->nva->directory, vm, call->then);
                gw_request_answer(call->request, 200, nva_json_vm(call->nva, vm));
        }
        nva_call_free(call);
}

static int check(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        if (vm->kind == GW_VM_TASK)
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is a task; somebody else runs it", gw_vm_name(vm).s);
        if (mover_open(nva, gw_vm_name(vm).s))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is moving; wait for the end of that", gw_vm_name(vm).s);
        if ((vm->state != GW_VM_RUNNING && vm->state != GW_VM_PAUSED) || !gw_vm_nve(vm))
                return gw_fail(error, GW_E_CONFLICT, "vm",
                               "%s does not run; only a VM that runs can be suspended, and resumed afterwards",
                               gw_vm_name(vm).s);
        if (!gw_vm_nve(vm)->hv_session)
                return gw_fail(error, GW_E_AGAIN, "vm", "the hypervisor agent of %s is not connected",
                               gw_vm_nve(vm)->id.s);
        return 0;
}

static int turn(struct nva *nva, struct gw_vm *vm, enum gw_vm_state then, struct gw_request *request,
                struct gw_error *error) {
        struct call *call;
        char path[160];
        int r = check(nva, vm, error);

        if (r)
                return r;
        call = nva_call_new(nva, sizeof *call);
        if (!call)
                abort();
        *call = (struct call){nva, gw_vm_name(vm), vm->binding.epoch, request, then};
        snprintf(path, sizeof path, "/v1/vms/%s/%s", gw_vm_name(vm).s, then == GW_VM_PAUSED ? "suspend" : "continue");
        gw_call(gw_vm_nve(vm)->hv_session, "POST", path, json_object(), gw_s(LIFE_CALL_S), on_answer, call);
        return 0;
}

int suspend_vm(struct nva *nva, struct gw_vm *vm, struct gw_request *request, struct gw_error *error) {
        return turn(nva, vm, GW_VM_PAUSED, request, error);
}

int suspend_end(struct nva *nva, struct gw_vm *vm, struct gw_request *request, struct gw_error *error) {
        return turn(nva, vm, GW_VM_RUNNING, request, error);
}
