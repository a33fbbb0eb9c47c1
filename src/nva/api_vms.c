/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/vms: virtual machines, and what can be done with one. Tasks are shown too; they are made with /v1/ports. */
#include <string.h>

#include "nva/api.h"
#include "nva/claims.h"
#include "nva/definition.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/mover.h"
#include "nva/page.h"
#include "nva/predict.h"
#include "nva/suspend.h"
#include "nva/terms.h"

enum {
        DOWNTIME_DEFAULT_MS = 50,
        DOWNTIME_MAX_MS = 60000,
        BANDWIDTH_MAX_MIB_S = 1 << 20,
};

void api_vms_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        struct nva_page page;
        const struct gw_vm *vm;

        if (!page_begin(&page, request))
                return;
        while ((vm = gw_directory_vm_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, gw_vm_name(vm).s, nva_json_vm(nva, vm));
        page_answer(&page, request, "vms", vm);
}

void api_vms_show(struct gw_request *request, void *user) {
        const struct gw_vm *vm = api_vm(user, request);

        if (vm)
                gw_request_answer(request, 200, nva_json_vm(user, vm));
}

void api_vms_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct nva_definition definition;
        struct gw_error error = {0};
        struct gw_vm *vm;

        if (nva_definition_read(&definition, gw_request_body(request), &error) ||
            gw_directory_vm_create(&nva->directory, &definition.spec, &vm, &error))
                gw_request_fail(request, &error);
        else
                gw_request_answer(request, 201, nva_json_vm(nva, vm));
        nva_definition_deinit(&definition);
}

static int check_delete(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        if (vm->kind == GW_VM_TASK)
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is a task; detach its port instead", gw_vm_name(vm).s);
        if (mover_open(nva, gw_vm_name(vm).s))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is moving; delete it when the move has ended",
                               gw_vm_name(vm).s);
        if (vm->state == GW_VM_STOPPING)
                return gw_fail(error, GW_E_CONFLICT, "vm",
                               "%s is still stopping; `godwit vm stop --wait` waits for that", gw_vm_name(vm).s);
        if (vm->desired == GW_VM_RUN || gw_vm_nve(vm))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is not stopped; stop it first", gw_vm_name(vm).s);
        return 0;
}

void api_vms_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct gw_error error = {0};
        struct gw_name id;

        if (!vm)
                return;
        id = gw_vm_name(vm);
        if (check_delete(nva, vm, &error) || gw_directory_vm_delete(&nva->directory, vm, &error))
                return gw_request_fail(request, &error);
        life_forget(nva, id.s);
        claims_forget(nva, id.s);
        gw_request_answer(request, 204, NULL);
}

/* The NVE named in a body; *nve stays NULL when none is. */
static int read_nve(struct nva *nva, struct gw_json_reader *r, const char *key, enum gw_json_need need,
                    struct gw_nve **nve) {
        struct gw_name name = {""};

        *nve = NULL;
        if (!gw_json_name(r, key, need, &name))
                return 0;
        *nve = gw_directory_nve(&nva->directory, name.s);
        if (*nve)
                return 0;
        return gw_fail(r->error, GW_E_NOT_FOUND, key,
                       "%s is \"%s\"; there is no such NVE; `godwit nve list` shows them", key, name.s);
}

static int check_start(const struct nva *nva, const struct gw_vm *vm, struct gw_error *error) {
        if (vm->kind == GW_VM_TASK)
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is a task; somebody else starts and stops it",
                               gw_vm_name(vm).s);
        if (mover_open(nva, gw_vm_name(vm).s))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is moving", gw_vm_name(vm).s);
        if (vm->state == GW_VM_STOPPING && !gw_vm_nve(vm))
                return gw_fail(error, GW_E_AGAIN, "vm", "%s has just arrived at %s; ask again", gw_vm_name(vm).s,
                               terms_home(nva, vm) ? terms_home(nva, vm)->id.s : "its host");
        if (gw_vm_nve(vm))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is started already, on %s", gw_vm_name(vm).s,
                               gw_vm_nve(vm)->id.s);
        return 0;
}

void api_vms_start(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r;
        struct gw_nve *nve;
        int code;

        if (!vm)
                return;
        r = gw_json_reader(gw_request_body(request), &error);
        code = read_nve(nva, &r, "nve", GW_JSON_OPTIONAL, &nve);
        if (!code)
                code = gw_json_done(&r);
        if (code || check_start(nva, vm, &error) || life_start(nva, vm, nve, request, &error))
                gw_request_fail(request, &error);
}

void api_vms_stop(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r;
        int force;

        if (!vm)
                return;
        r = gw_json_reader(gw_request_body(request), &error);
        force = gw_json_bool(&r, "force", false);
        if (!gw_json_done(&r) && vm->kind == GW_VM_TASK)
                gw_fail(&error, GW_E_CONFLICT, "vm", "%s is a task; detach its port instead", gw_vm_name(vm).s);
        if (error.code || life_stop(nva, vm, force, request, &error))
                gw_request_fail(request, &error);
}

void api_vms_set(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r;
        struct nva_terms terms;

        if (!vm)
                return;
        terms_of(vm, &terms);
        r = gw_json_reader(gw_request_body(request), &error);
        terms_read_forbid(&r, &terms.forbid);
        if (!gw_json_done(&r) && vm->kind == GW_VM_TASK)
                gw_fail(&error, GW_E_CONFLICT, "vm", "%s is a task; it is not moved by us", gw_vm_name(vm).s);
        if (error.code || terms_set(nva, vm, &terms, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 200, nva_json_vm(nva, vm));
}

void api_vms_suspend(struct gw_request *request, void *user) {
        struct gw_vm *vm = api_vm(user, request);
        struct gw_error error = {0};

        if (vm && api_no_body(request) && suspend_vm(user, vm, request, &error))
                gw_request_fail(request, &error);
}

void api_vms_resume(struct gw_request *request, void *user) {
        struct gw_vm *vm = api_vm(user, request);
        struct gw_error error = {0};

        if (vm && api_no_body(request) && suspend_end(user, vm, request, &error))
                gw_request_fail(request, &error);
}

static int read_move(struct nva *nva, struct gw_request *request, struct mover_request *out, struct gw_error *error) {
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), error);
        int code = read_nve(nva, &r, "to", GW_JSON_NEEDED, &out->to);

        if (code)
                return code;
        out->mode_given = ways_read(&r, &out->mode, &out->ways);
        out->bandwidth_mib_s = (uint32_t)gw_json_int(&r, "bandwidth_mib_s", 0, BANDWIDTH_MAX_MIB_S, 0);
        out->downtime_ms = (uint32_t)gw_json_int(&r, "downtime_ms", 1, DOWNTIME_MAX_MS, DOWNTIME_DEFAULT_MS);
        return gw_json_done(&r);
}

void api_vms_move(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct mover_request wanted = {0};
        struct gw_error error = {0};
        struct nva_move *move;

        if (!vm)
                return;
        if (read_move(nva, request, &wanted, &error) || mover_begin(nva, vm, &wanted, &move, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 202, mover_json(move));
}

/* What a move with the same body would find, without one. */
void api_vms_plan(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_vm *vm = api_vm(nva, request);
        struct mover_request wanted = {0};
        struct gw_error error = {0};
        struct mover_prediction expected;
        struct mover_plan plan;
        json_t *answer;

        if (!vm)
                return;
        if (read_move(nva, request, &wanted, &error))
                return gw_request_fail(request, &error);
        mover_settle_mode(nva, vm, &wanted);
        mover_plan(nva, vm, &wanted, &plan);
        mover_plan_gateways(vm, wanted.to, &plan);
        mover_predict(nva, vm, &wanted, &expected);
        answer = mover_plan_json(nva, vm, &wanted, &plan);
        json_object_set_new(answer, "expected", mover_prediction_json(&expected));
        gw_request_answer(request, 200, answer);
}
