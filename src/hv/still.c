/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that stands still is told to this host's NVE, and that it goes on: what
 * becomes of packets for it meanwhile is its VNs' to say (edge/unreachable.c), and
 * the agent does not know what they say.
 *
 * It stands still when somebody suspended it, wherever it is, and while a cold
 * move copies it; not in the moment of a hot move's cut, when packets wait in any
 * case. From the cut on nothing is told: the NVE keeps what it was told last, for
 * the case that the VM is taken back.
 *
 * Told once for each change, in one try each, so that what waits cannot overtake;
 * and again when the session to the NVE is back, or the agent, since neither of
 * them writes it down.
 */
#include "hv/hv.h"

static bool stands_still(const struct hv_vm *vm) {
        if (vm->record.role == HV_ROLE_SOURCE)
                return hv_source_is_suspended(vm);
        return vm->record.role == HV_ROLE_SERVE && vm->record.state == HV_PAUSED;
}

void hv_still_tell(struct hv_vm *vm) {
        bool still = stands_still(vm);

        if (!vm->machine || vm->starting || vm->forget || vm->record.held || !vm->record.definition.n_ports)
                return;
        if (vm->record.role == HV_ROLE_SOURCE && vm->leaving != HV_COPYING)
                return;
        if (vm->still_told == still && !vm->still_unsure)
                return;
        vm->still_told = still;
        vm->still_unsure = false;
        hv_edge_call(vm, "POST", "/still", json_pack("{s:b}", "still", still), false, HV_STILL_DEADLINE_MS, NULL);
}

void hv_still_tell_all(struct hv *hv) {
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                vm->still_unsure = vm->machine && !vm->starting;
                hv_still_tell(vm);
        }
}
