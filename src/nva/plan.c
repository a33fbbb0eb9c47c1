/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What stands for and against a move: each check with its verdict and its reason.
 * `vm move --plan` shows all of them, a real move begins when none refuses, and
 * refuses with the text of the first that does. So a plan cannot say another
 * thing than the move. The directory's own checks (capacity, MTU, tenants, rules)
 * are made again when the move reserves its place, since time passes in between.
 */
#include "base/error.h"
#include "directory/gateway.h"
#include "nva/mover.h"

static struct gw_error *add(struct mover_plan *plan, const char *word) {
        struct mover_check *check = &plan->checks[plan->n++];

        *check = (struct mover_check){.word = word};
        return &check->error;
}

static void check_vm(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        const struct nva_move *open = mover_open(nva, vm->id.s);

        if (vm->kind == GW_VM_TASK)
                gw_fail(error, GW_E_CONFLICT, "vm",
                        "%s is a task: its port can be detached and attached elsewhere, but only VMs move", vm->id.s);
        else if (open)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s is moving already: move %s", vm->id.s, mover_id(open));
        else if (vm->state != GW_VM_RUNNING || !vm->binding.nve)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s does not run; a hot move takes a running VM", vm->id.s);
        else
                gw_fail(error, 0, "vm", "%s runs on %s", vm->id.s, vm->binding.nve->id.s);
}

static void check_source(const struct gw_vm *vm, struct gw_error *error) {
        const struct gw_nve *from = vm->binding.nve;

        if (!from)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s is nowhere", vm->id.s);
        else if (!from->hv_connected || !from->nve_connected)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s runs on %s, whose %s is not connected", vm->id.s, from->id.s,
                        from->hv_connected ? "NVE" : "hypervisor agent");
        else
                gw_fail(error, 0, "vm", "the NVE and the hypervisor agent of %s are connected", from->id.s);
}

static void check_target(const struct gw_vm *vm, const struct gw_nve *to, struct gw_error *error) {
        if (to == vm->binding.nve)
                gw_fail(error, GW_E_CONFLICT, "to", "%s runs on %s already", vm->id.s, to->id.s);
        else if (!to->hv_connected || !to->nve_connected)
                gw_fail(error, GW_E_CONFLICT, "to", "the %s of %s is not connected",
                        to->nve_connected ? "hypervisor agent" : "NVE", to->id.s);
        else
                gw_fail(error, 0, "to", "%s is another host, and connected", to->id.s);
}

/* Which gateways the VM will use there: never a reason against a move. */
static void tell_gateways(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *to,
                          struct mover_plan *plan) {
        for (const struct gw_port *port = vm->ports; port && plan->n < MOVER_CHECKS_MAX; port = port->next) {
                const struct gw_vn *vn = port->vn;
                const struct gw_nve *gateway = gw_directory_gateway_of(&nva->directory, vn, to);

                if (gw_directory_vn_is_routed(&nva->directory, vn))
                        gw_fail(add(plan, "gateway"), 0, "to", "in VN %s hosts at %s use %s%s%s", vn->id.s, to->id.s,
                                gateway ? gateway->id.s : "no gateway, for none lives",
                                vn->gateway_pin.s[0] ? "; the VN is pinned to " : "", vn->gateway_pin.s);
        }
}

void mover_plan(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *to, struct mover_plan *out) {
        struct gw_error checks[GW_CHECKS];

        *out = (struct mover_plan){.allowed = true};
        check_vm(nva, vm, add(out, "vm"));
        check_source(vm, add(out, "source"));
        check_target(vm, to, add(out, "target"));
        gw_directory_check(&nva->directory, vm, to, checks);
        for (int i = 0; i < GW_CHECKS; i++)
                *add(out, gw_check_words[i]) = checks[i];
        tell_gateways(nva, vm, to, out);
        for (size_t i = 0; i < out->n; i++)
                out->allowed = out->allowed && !out->checks[i].error.code;
}

json_t *mover_plan_json(const struct gw_vm *vm, const struct gw_nve *to, const struct mover_plan *plan) {
        json_t *checks = json_array();

        for (size_t i = 0; i < plan->n; i++)
                json_array_append_new(checks, json_pack("{s:s, s:s, s:s}", "check", plan->checks[i].word, "verdict",
                                                        plan->checks[i].error.code ? "refuse" : "pass", "reason",
                                                        plan->checks[i].error.text));
        return json_pack("{s:s, s:s, s:s, s:b, s:o}", "vm", vm->id.s, "from",
                         vm->binding.nve ? vm->binding.nve->id.s : "", "to", to->id.s, "allowed", plan->allowed,
                         "checks", checks);
}
