/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: a task announces itself at another NVE than the one that its binding names.
 *
 * The binding is the truth, and a claim changes it only
 *
 *   - when its lease has lapsed: nobody serves it, so whoever has it may;
 *   - in VNs whose policy is `announced`, and with ports in several VNs in all of
 *     them, when the place that has it says that it is there no more.
 *
 * In both cases only tasks. A task that was followed GW_CLAIM_DAMPING_MOVES times
 * within GW_CLAIM_DAMPING_S stays where it is until the first of them is that old
 * (RFC 7432 section 15.1). Moves that management planned are not counted, and not
 * held up.
 */
#include "directory/claim.h"

#include <string.h>

static bool follows_announcements(const struct gw_vm *vm) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (!(gw_port_vn(port)->settings.flags & GW_VN_ANNOUNCED))
                        return false;
        return gw_vm_ports(vm) != NULL;
}

static bool damped(const struct gw_claim_history *h, struct gw_mono now) {
        return h->n == GW_CLAIM_DAMPING_MOVES &&
               !gw_mono_reached(now, gw_mono_after(h->at[0], gw_s(GW_CLAIM_DAMPING_S)));
}

enum gw_claim_verdict gw_claim_judge(const struct gw_vm *vm, const struct gw_claim_history *history, bool moving,
                                     struct gw_mono now) {
        bool lapsed = vm->binding.state == GW_BINDING_LAPSED;

        if (vm->kind != GW_VM_TASK)
                return GW_CLAIM_NOT_A_TASK;
        if (!gw_vm_nve(vm) || (!follows_announcements(vm) && !lapsed))
                return GW_CLAIM_POLICY;
        if (!history || history->busy || gw_vm_move(vm) || moving)
                return GW_CLAIM_BUSY;
        if (damped(history, now))
                return GW_CLAIM_DAMPED;
        return lapsed ? GW_CLAIM_TAKE : GW_CLAIM_ASK;
}

void gw_claim_followed(struct gw_claim_history *history, struct gw_mono now) {
        if (history->n == GW_CLAIM_DAMPING_MOVES)
                memmove(history->at, history->at + 1, --history->n * sizeof *history->at);
        history->at[history->n++] = now;
}

bool gw_claim_is_spent(const struct gw_claim_history *history, struct gw_mono now) {
        struct gw_mono newest = history->n ? history->at[history->n - 1] : (struct gw_mono){0};

        return !history->busy && (!history->n || gw_mono_reached(now, gw_mono_after(newest, gw_s(GW_CLAIM_DAMPING_S))));
}
