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
#include "nva/terms.h"

static struct gw_error *add(struct mover_plan *plan, const char *word) {
        struct mover_check *check = &plan->checks[plan->n++];

        *check = (struct mover_check){.word = word};
        return &check->error;
}

static void check_stopped(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        const struct gw_nve *home = terms_home(nva, vm);

        if (home)
                gw_fail(error, 0, "vm", "%s is stopped; what it has on a host is at %s", gw_vm_name(vm).s, home->id.s);
        else
                gw_fail(error, GW_E_CONFLICT, "vm",
                        "%s has not run yet, so nothing of it is anywhere; `godwit vm start --on` says where to begin",
                        gw_vm_name(vm).s);
}

static void check_vm(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        const struct nva_move *open = mover_open(nva, gw_vm_name(vm).s);

        if (vm->kind == GW_VM_TASK)
                gw_fail(error, GW_E_CONFLICT, "vm",
                        "%s is a task: its port can be detached and attached elsewhere, but only VMs move",
                        gw_vm_name(vm).s);
        else if (open)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s is moving already: move %s", gw_vm_name(vm).s, mover_id(open));
        else if (!gw_vm_nve(vm) && (vm->state == GW_VM_STOPPED || vm->state == GW_VM_CRASHED))
                check_stopped(nva, vm, error);
        else if ((vm->state != GW_VM_RUNNING && vm->state != GW_VM_PAUSED) || !gw_vm_nve(vm))
                gw_fail(error, GW_E_CONFLICT, "vm", "%s neither runs nor is it suspended or stopped; wait for that",
                        gw_vm_name(vm).s);
        else
                gw_fail(error, 0, "vm", "%s %s on %s", gw_vm_name(vm).s,
                        vm->state == GW_VM_PAUSED ? "is suspended" : "runs", gw_vm_nve(vm)->id.s);
}

static void check_source(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        const struct gw_nve *from = mover_place(nva, vm);

        if (!from)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s is nowhere", gw_vm_name(vm).s);
        else if (!from->hv_connected || !from->nve_connected)
                gw_fail(error, GW_E_CONFLICT, "vm", "%s is on %s, whose %s is not connected", gw_vm_name(vm).s,
                        from->id.s, from->hv_connected ? "NVE" : "hypervisor agent");
        else
                gw_fail(error, 0, "vm", "the NVE and the hypervisor agent of %s are connected", from->id.s);
}

static void check_target(const struct nva *nva, const struct gw_vm *vm, const struct gw_nve *to,
                         struct gw_error *error) {
        if (to == mover_place(nva, vm))
                gw_fail(error, GW_E_CONFLICT, "to", "%s is on %s already", gw_vm_name(vm).s, to->id.s);
        else if (!to->hv_connected || !to->nve_connected)
                gw_fail(error, GW_E_CONFLICT, "to", "the %s of %s is not connected",
                        to->nve_connected ? "hypervisor agent" : "NVE", to->id.s);
        else
                gw_fail(error, 0, "to", "%s is another host, and connected", to->id.s);
}

/* Who must know the mode: both hosts, and the data centre. */
static bool knows_mode(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                       struct gw_error *error) {
        const struct gw_nve *sides[] = {mover_place(nva, vm), request->to};
        const char *word = gw_move_mode_word(request->mode);
        char known[64];
        bool apart = sides[0] && !gw_name_eq(&sides[0]->site, &sides[1]->site);

        for (size_t i = 0; i < 2; i++)
                if (sides[i] && !(sides[i]->modes & 1U << request->mode))
                        return !gw_fail(error, GW_E_CONFLICT, "mode",
                                        "%s allows no %s moves, only %s (its hv.conf, modes)", sides[i]->id.s, word,
                                        gw_modes_text(sides[i]->modes, known));
        if (!(gw_modes_parse(nva->config.modes) & 1U << request->mode))
                return !gw_fail(error, GW_E_CONFLICT, "mode",
                                "no %s moves in this data centre, only %s (nva.conf, modes)", word, nva->config.modes);
        if (apart && !(gw_modes_parse(nva->config.modes_between_sites) & 1U << request->mode))
                return !gw_fail(error, GW_E_CONFLICT, "mode",
                                "no %s moves between the sites of %s and %s, only %s (nva.conf, modes-between-sites)",
                                word, sides[0]->id.s, sides[1]->id.s, nva->config.modes_between_sites);
        return true;
}

static void check_mode(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                       struct gw_error *error) {
        const char *word = gw_move_mode_word(request->mode);
        enum gw_move_as as = mover_as(vm);
        struct nva_terms terms;

        if (!knows_mode(nva, vm, request, error))
                return;
        terms_of(vm, &terms);
        if (as != GW_MOVE_AS_RUNNING && request->mode != GW_MOVE_COLD)
                gw_fail(error, GW_E_CONFLICT, "mode", "%s is %s: only a cold move takes it, not a %s one",
                        gw_vm_name(vm).s, gw_move_as_word(as), word);
        else if (as == GW_MOVE_AS_RUNNING && terms.forbid & 1U << request->mode)
                gw_fail(error, GW_E_CONFLICT, "mode",
                        "%s forbids %s moves while it runs (`godwit vm set %s --forbid none` lifts that)",
                        gw_vm_name(vm).s, word, gw_vm_name(vm).s);
        else
                gw_fail(error, 0, "mode",
                        "both hosts and the data centre allow %s moves, and the VM does not forbid them", word);
}

enum gw_move_as mover_as(const struct gw_vm *vm) {
        if (gw_vm_nve(vm) && vm->state == GW_VM_PAUSED)
                return GW_MOVE_AS_SUSPENDED;
        return gw_vm_nve(vm) ? GW_MOVE_AS_RUNNING : GW_MOVE_AS_STOPPED;
}

struct gw_nve *mover_place(const struct nva *nva, const struct gw_vm *vm) {
        return gw_vm_nve(vm) ? gw_vm_nve(vm) : terms_home(nva, vm);
}

void mover_settle_mode(const struct nva *nva, const struct gw_vm *vm, struct mover_request *request) {
        const struct nva_move *open = mover_open(nva, gw_vm_name(vm).s);

        if (!request->mode_given && (open ? open->core.as : mover_as(vm)) != GW_MOVE_AS_RUNNING) {
                request->mode = GW_MOVE_COLD;
                request->ways.options.cold = true;
        }
}

void mover_plan_gateways(const struct gw_vm *vm, const struct gw_nve *to, struct mover_plan *plan) {
        for (const struct gw_port *port = gw_vm_ports(vm); port && plan->n < MOVER_CHECKS_MAX;
             port = gw_port_next(port)) {
                const struct gw_vn *vn = gw_port_vn(port);
                const struct gw_nve *gateway = gw_directory_vn_is_routed(vn) ? gw_directory_gateway_of(vn, to) : NULL;

                if (gw_directory_vn_is_routed(vn))
                        gw_fail(add(plan, "gateway"), 0, "to", "in VN %s hosts at %s use %s%s%s", vn->id.s, to->id.s,
                                gateway ? gateway->id.s : "no gateway, for none lives",
                                vn->gateway_pin.s[0] ? "; the VN is pinned to " : "", vn->gateway_pin.s);
        }
}

void mover_plan(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                struct mover_plan *out) {
        const struct gw_nve *to = request->to;
        struct gw_error checks[GW_CHECKS];

        *out = (struct mover_plan){.allowed = true};
        check_vm(nva, vm, add(out, "vm"));
        check_source(nva, vm, add(out, "source"));
        check_target(nva, vm, to, add(out, "target"));
        check_mode(nva, vm, request, add(out, "mode"));
        gw_directory_check(&nva->directory, vm, to, checks);
        for (int i = 0; i < GW_CHECKS; i++)
                *add(out, gw_check_words[i]) = checks[i];
        for (size_t i = 0; i < out->n; i++)
                out->allowed = out->allowed && !out->checks[i].error.code;
}

json_t *mover_plan_json(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                        const struct mover_plan *plan) {
        const struct gw_nve *from = mover_place(nva, vm);
        json_t *checks = json_array();

        for (size_t i = 0; i < plan->n; i++)
                json_array_append_new(checks, json_pack("{s:s, s:s, s:s}", "check", plan->checks[i].word, "verdict",
                                                        plan->checks[i].error.code ? "refuse" : "pass", "reason",
                                                        plan->checks[i].error.text));
        return json_pack("{s:s, s:s, s:s, s:b, s:o}", "vm", gw_vm_name(vm).s, "from", from ? from->id.s : "", "to",
                         request->to->id.s, "allowed", plan->allowed, "checks", checks);
}
