/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One path for registrations. A session's REGISTER frame (peers.c) and a Mobility
 * Header (mobility.c) end here with the same two questions: who sent it, already
 * settled by certificate or key, and what it says. So a VM's state is one,
 * whichever carrier its edges use, and may use in turn.
 *
 * What the directory refuses it notes with its reason; what is refused before it
 * is logged here in the same form. Both lines are limited in their rate: any NVE
 * can cause them.
 */
#include "nva/registrar.h"

#include <stdio.h>

#include "base/error.h"
#include "base/log.h"
#include "nva/claims.h"
#include "nva/mover.h"
#include "nva/nva.h"

enum { LOG_BURST = 20 };

/* Only for a VM that is on its way somebody may: not a look at all moves for each refreshed lease. */
static void tell_who_waits(struct nva *nva, const struct gw_registration *request) {
        struct gw_vm *vm = gw_directory_vm(&nva->directory, request->vm.s);

        if (!vm || !gw_vm_move(vm))
                return;
        if (vm->kind == GW_VM_TASK)
                claims_settle(nva, vm);
        else
                mover_registered(nva, request->vm.s, request->epoch);
}

int registrar_take(struct nva *nva, struct gw_nve *nve, const struct gw_registration *request,
                   struct gw_duration window, struct gw_registration *reply) {
        int r;

        nva->n_registrations++;
        r = gw_directory_register_within(&nva->directory, nve, request, window, nva_now(), reply);
        if (r) {
                nva->registrar.unanswered++;
                nva->registrar.early += r == GW_E_AGAIN;
                gw_log_debug("registration without an answer: nve=%s vm=%s", nve->id.s, request->vm.s);
                return r;
        }
        nva->registrar.by_status[reply->status]++;
        if (reply->status < GW_MH_REJECTED && (request->has & GW_REG_HAS_EPOCH) && request->lifetime_units)
                tell_who_waits(nva, request);
        return 0;
}

void registrar_refuse(struct nva *nva, const struct gw_registration *request, uint8_t status, const char *who,
                      struct gw_registration *reply) {
        gw_registration_answer(request, status, reply);
        nva->n_registrations++;
        nva->n_refused++;
        nva->registrar.by_status[status]++;
        gw_log_limited(GW_WARNING, LOG_BURST, "refused: from=%s registration of vm=%s refused: status=%u (%s)", who,
                       request->vm.s, status, gw_registration_status_word(status));
}

/* Statuses have their numbers in their keys: what a peer's log shows is found here. */
json_t *registrar_json(const struct nva *nva) {
        const struct registrar *r = &nva->registrar;
        json_t *out = json_pack("{s:I, s:I}", "unanswered", (json_int_t)r->unanswered, "early", (json_int_t)r->early);
        char key[48];

        for (unsigned status = 0; status < 256; status++) {
                if (!r->by_status[status])
                        continue;
                snprintf(key, sizeof key, "%u-%s", status, gw_registration_status_word((uint8_t)status));
                json_object_set_new(out, key, json_integer((json_int_t)r->by_status[status]));
        }
        return out;
}
