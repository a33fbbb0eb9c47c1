/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/nves: the hosts' edges. They make themselves known when they connect; this is for looking, and for planning. */
#include <string.h>

#include "nva/api.h"

#include "base/log.h"
#include "nva/drain.h"
#include "nva/json.h"
#include "nva/leaving.h"
#include "nva/life.h"
#include "nva/mover.h"
#include "nva/page.h"

void api_nves_list(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_nve *nve;
        struct nva_page page;

        if (!page_begin(&page, request))
                return;
        while ((nve = gw_directory_nve_after(&nva->directory, page_after(&page))) && page_has_room(&page))
                page_add(&page, nve->id.s, nva_json_nve(nve));
        page_answer(&page, request, "nves", nve);
}

void api_nves_show(struct gw_request *request, void *user) {
        const struct gw_nve *nve = api_nve(user, request);

        if (nve)
                gw_request_answer(request, 200, nva_json_nve(nve));
}

static enum gw_permit read_permit(struct gw_json_reader *r, const char *key, enum gw_permit present) {
        const char *word = gw_json_string(r, key, nva_permit_words[present]);

        for (int i = 0; i < GW_PERMITS; i++)
                if (!strcmp(word, nva_permit_words[i]))
                        return (enum gw_permit)i;
        gw_json_fault(r, key, "%s is \"%.32s\"; allowed are allowed, forbidden and default", key, word);
        return present;
}

void api_nves_create(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        enum gw_permit may_route = read_permit(&r, "gateway", GW_PERMIT_UNSAID),
                       may_claim = read_permit(&r, "claims", GW_PERMIT_UNSAID);
        struct gw_name id = {""};
        struct gw_ip locator;
        struct gw_nve *nve;
        bool placed;

        gw_json_name(&r, "id", GW_JSON_NEEDED, &id);
        placed = gw_json_ip(&r, "locator", GW_JSON_OPTIONAL, &locator);
        if (gw_json_done(&r) || gw_directory_nve_create(&nva->directory, id.s, placed ? &locator : NULL, &nve, &error))
                return gw_request_fail(request, &error);
        if (may_route || may_claim)
                gw_directory_nve_permit(&nva->directory, nve, may_route, may_claim, nva_now());
        gw_request_answer(request, 201, nva_json_nve(nve));
}

static int check_delete(const struct nva *nva, const struct gw_nve *nve, struct gw_error *error) {
        if (nve->nve_session || nve->hv_session)
                return gw_fail(error, GW_E_CONFLICT, "nve", "%s is connected; stop its daemons first", nve->id.s);
        if (mover_uses(nva, nve->id.s))
                return gw_fail(error, GW_E_CONFLICT, "nve", "a move leaves from or goes to %s", nve->id.s);
        return 0;
}

void api_nves_delete(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_nve *nve = api_nve(nva, request);
        struct gw_error error = {0};
        struct gw_name id;

        if (!nve)
                return;
        id = nve->id;
        if (check_delete(nva, nve, &error) || gw_directory_nve_delete(&nva->directory, nve, &error))
                return gw_request_fail(request, &error);
        drain_forget(nva, id.s);
        gw_request_answer(request, 204, NULL);
}

/* Nobody but an operator can know that a host which does not answer is off. */
void api_nves_lost(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_nve *nve = api_nve(nva, request);
        struct gw_vm *vm, *next;
        struct gw_error error = {0};
        json_t *vms;

        if (!nve || !api_no_body(request))
                return;
        if (nve->nve_session || nve->hv_session) {
                gw_fail(&error, GW_E_CONFLICT, "nve", "%s is connected: it is not lost. Stop its daemons, or its power",
                        nve->id.s);
                return gw_request_fail(request, &error);
        }
        gw_log(GW_NOTICE, "declared lost: nve=%s", nve->id.s);
        mover_host_dead(nva, nve->id.s);
        vms = json_array();
        for (vm = gw_directory_vm_at_after(nve, NULL); vm; vm = next) {
                next = gw_directory_vm_at_after(nve, vm);
                if (vm->kind != GW_VM_MACHINE || mover_open(nva, gw_vm_name(vm).s))
                        continue;
                life_lost(nva, vm);
                json_array_append_new(vms, nva_json_vm(nva, vm));
        }
        gw_request_answer(request, 200, json_pack("{s:s, s:o}", "nve", nve->id.s, "vms", vms));
}

/* ---- emptying a host ---- */

void api_drain_show(struct gw_request *request, void *user) {
        struct nva *nva = user;
        const struct gw_nve *nve = api_nve(nva, request);
        struct gw_error error;
        json_t *drain = nve ? drain_json(nva, nve) : NULL;

        if (!nve)
                return;
        if (drain)
                return gw_request_answer(request, 200, drain);
        gw_fail(&error, GW_E_NOT_FOUND, "nve", "%s is not being drained", nve->id.s);
        gw_request_fail(request, &error);
}

static unsigned read_leave(struct gw_json_reader *r) {
        static const char *const words[] = {"suspended", "stopped"};
        json_t *list = gw_json_array(r, "leave"), *word;
        unsigned leave = 0;
        size_t i;

        json_array_foreach (list, i, word) {
                const char *text = json_is_string(word) ? json_string_value(word) : "no text";

                if (!strcmp(text, words[0]))
                        leave |= DRAIN_LEAVE_SUSPENDED;
                else if (!strcmp(text, words[1]))
                        leave |= DRAIN_LEAVE_STOPPED;
                else
                        gw_json_fault(r, "leave", "leave has \"%.32s\"; allowed are suspended and stopped", text);
        }
        return leave;
}

void api_drain_begin(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_nve *nve = api_nve(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r;
        uint32_t concurrent;
        unsigned leave;
        bool plan;

        if (!nve)
                return;
        r = gw_json_reader(gw_request_body(request), &error);
        plan = gw_json_bool(&r, "plan", false);
        concurrent = (uint32_t)gw_json_int(&r, "concurrent", 1, DRAIN_CONCURRENT_MAX, DRAIN_CONCURRENT);
        leave = read_leave(&r);
        if (gw_json_done(&r))
                return gw_request_fail(request, &error);
        if (plan)
                return leaving_plan(nva, nve, leave, request);
        drain_begin(nva, nve, concurrent, leave);
        gw_request_answer(request, 202, drain_json(nva, nve));
}

void api_drain_end(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_nve *nve = api_nve(nva, request);
        struct gw_error error = {0};

        if (!nve || !api_no_body(request))
                return;
        if (drain_end(nva, nve, &error))
                return gw_request_fail(request, &error);
        gw_request_answer(request, 204, NULL);
}

/* What is not said stays. */
void api_nves_update(struct gw_request *request, void *user) {
        struct nva *nva = user;
        struct gw_nve *nve = api_nve(nva, request);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        enum gw_permit may_route, may_claim;
        struct gw_ip locator;
        bool placed;

        if (!nve)
                return;
        placed = gw_json_ip(&r, "locator", GW_JSON_OPTIONAL, &locator);
        may_route = read_permit(&r, "gateway", nve->may_route);
        may_claim = read_permit(&r, "claims", nve->may_claim);
        if (gw_json_done(&r) || (placed && gw_directory_nve_relocate(&nva->directory, nve, locator, nva_now(), &error)))
                return gw_request_fail(request, &error);
        if (may_route != nve->may_route || may_claim != nve->may_claim) /* the directory has it told what it routes */
                gw_directory_nve_permit(&nva->directory, nve, may_route, may_claim, nva_now());
        gw_request_answer(request, 200, nva_json_nve(nve));
}
