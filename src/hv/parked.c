/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An order to leave that waits. A VM cannot leave
 *   - while its NVE has not confirmed that it is here (confirm.c): the cut would be asked for by
 *     an NVE that believes it elsewhere, or still arriving;
 *   - while it is being suspended, or goes on: it would be copied as what it is not any more.
 *
 * Either passes by itself, mostly within milliseconds; an NVE that was killed takes as long as its
 * restart. So the order is kept, and taken up as if it came then: nothing is written down or begun before.
 * After HV_PARKED_MS it is refused with the reason. So it is when its move is cancelled, and when the
 * session that it came over ends: whoever gave it cannot take it back any more.
 */
#include <string.h>

#include "base/error.h"
#include "hv/api.h"
#include "hv/hv.h"
#include "io/session.h"

static const char *obstacle(const struct hv_vm *vm) {
        if (vm->waiting[HV_WAIT_SUSPEND])
                return ", and it is just being suspended, or going on";
        if (vm->record.uncut_due)
                return ", and the NVE has not confirmed that it was taken back";
        if (vm->record.activate_due)
                return ", and the NVE has not confirmed that it is here";
        return "";
}

void hv_parked_refuse(const struct hv_vm *vm, struct gw_request *request) {
        hv_api_fail(request, GW_E_CONFLICT, "", "%s cannot leave now: it is %s here, as %s%s", vm->record.id.s,
                    hv_state_word(vm->record.state), hv_role_word(vm->record.role), obstacle(vm));
}

bool hv_parked_must_wait(const struct hv_vm *vm) {
        return obstacle(vm)[0] != '\0';
}

static struct gw_request *take(struct hv_vm *vm) {
        struct gw_request *request = vm->waiting[HV_WAIT_LEAVE];

        vm->waiting[HV_WAIT_LEAVE] = NULL;
        gw_timer_free(vm->parked);
        vm->parked = NULL;
        return request;
}

static void on_late(void *user) {
        struct hv_vm *vm = user;
        struct gw_request *request = take(vm);

        if (request)
                hv_parked_refuse(vm, request);
}

bool hv_parked_take(struct hv_vm *vm, struct gw_request *request) {
        struct gw_request *before;

        if (!hv_parked_must_wait(vm))
                return false;
        before = take(vm);
        if (before)
                hv_api_fail(before, GW_E_AGAIN, "", "%s was asked to leave once more", vm->record.id.s);
        if (gw_timer_new(&vm->parked, vm->hv->loop, gw_ms(HV_PARKED_MS), gw_ms(0), on_late, vm) < 0)
                return false;
        return hv_vm_wait(vm, HV_WAIT_LEAVE, request);
}

void hv_parked_look(struct hv_vm *vm) {
        struct gw_request *request;

        if (hv_parked_must_wait(vm))
                return;
        request = take(vm);
        if (request)
                hv_api_migrate(request, vm->hv);
}

void hv_parked_cancel(struct hv_vm *vm, const char *move) {
        const struct gw_request *request = vm->waiting[HV_WAIT_LEAVE];
        const json_t *of = request ? json_object_get(gw_request_body(request), "move") : NULL;

        if (json_is_string(of) && strcmp(json_string_value(of), move) == 0)
                hv_api_fail(take(vm), GW_E_CONFLICT, "", "the move of %s was cancelled before it began",
                            vm->record.id.s);
}

void hv_parked_drop(struct hv *hv, const struct gw_session *session) {
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);
                const struct gw_request *request = vm->waiting[HV_WAIT_LEAVE];

                if (request && gw_request_session(request) == session)
                        hv_api_fail(take(vm), GW_E_AGAIN, "", "the session with the authority has ended");
        }
}
