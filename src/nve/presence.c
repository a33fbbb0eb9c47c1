/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls of the authority about a VM that another NVE claims: is it still here
 * (its guest is asked, so that the answer takes a moment), and: it is here now.
 *
 * A question that waits looks every POLL_MS whether the edge knows, for at most
 * POLLS times; requests that wait are in nve->presences and end with the daemon.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "nve/nve.h"

enum { POLL_MS = 100, POLLS = 30 };

struct nve_presence {
        struct gw_list link;
        struct nve *nve;
        struct gw_request *request;
        struct gw_timer *timer;
        struct gw_name vm;
        unsigned polls;
};

static void answer(struct gw_request *request, enum gw_edge_presence presence) {
        static const char *const words[] = {[GW_EDGE_PRESENCE_GONE] = "gone",
                                            [GW_EDGE_PRESENCE_SILENT] = "silent",
                                            [GW_EDGE_PRESENCE_ASKING] = "silent",
                                            [GW_EDGE_PRESENCE_HERE] = "here"};

        gw_request_answer(request, 200, json_pack("{s:s}", "presence", words[presence]));
}

static void presence_free(struct nve_presence *p) {
        gw_list_remove(&p->link);
        gw_timer_free(p->timer);
        free(p);
}

static void on_poll(void *user) {
        struct nve_presence *p = user;
        enum gw_edge_presence presence = gw_edge_presence_of(p->nve->edge, &p->vm);

        if (presence == GW_EDGE_PRESENCE_ASKING && ++p->polls < POLLS)
                return;
        answer(p->request, presence);
        presence_free(p);
}

static void wait_for(struct nve *nve, struct gw_request *request, const struct gw_name *vm) {
        struct nve_presence *p = calloc(1, sizeof *p);

        if (!p || gw_timer_new(&p->timer, &nve->loop, gw_ms(POLL_MS), gw_ms(POLL_MS), on_poll, p) < 0) {
                free(p);
                return answer(request, GW_EDGE_PRESENCE_HERE); /* when in doubt nothing changes */
        }
        p->nve = nve;
        p->request = request;
        p->vm = *vm;
        gw_list_append(&nve->presences, &p->link);
}

static bool vm_param(struct gw_request *request, struct gw_name *out) {
        const char *text = gw_request_param(request, "vm");
        struct gw_error error = {0};

        if (!gw_id_parse(text, out))
                return true;
        gw_fail(&error, GW_E_INVALID, "vm", "\"%.80s\" is not the id of a VM; an id looks like web@default", text);
        gw_request_fail(request, &error);
        return false;
}

void nve_call_presence(struct gw_request *request, void *user) {
        struct nve *nve = user;
        enum gw_edge_presence presence;
        struct gw_name vm;

        if (!vm_param(request, &vm))
                return;
        presence = gw_edge_presence_ask(nve->edge, nve_now(), &vm);
        if (presence == GW_EDGE_PRESENCE_ASKING)
                wait_for(nve, request, &vm);
        else
                answer(request, presence);
}

/* The port is saved under its new role before it serves. */
static int claim_save(struct nve *nve, const struct gw_name *vm, uint64_t epoch, char *device, struct gw_error *error) {
        struct gw_edge_attach port;
        struct gw_link link;

        if (!gw_edge_claim_find(nve->edge, vm, &port))
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s is not claimed here", vm->s);
        if (gw_link_get_index((int)port.ifindex, &link))
                return gw_fail(error, GW_E_NOT_FOUND, "device", "the device of port %s is gone", port.id.s);
        memcpy(device, link.name, NVE_DEVICE_SIZE);
        port.role = GW_EDGE_SERVING;
        port.epoch = epoch;
        if (nve_state_save_port(nve, &port, link.name))
                return gw_fail(error, -EIO, "", "port %s cannot be written to state-dir", port.id.s);
        return 0;
}

void nve_call_claimed(struct gw_request *request, void *user) {
        struct nve *nve = user;
        struct gw_error error = {0};
        struct gw_json_reader body = gw_json_reader(gw_request_body(request), &error);
        uint64_t epoch = (uint64_t)gw_json_int(&body, "epoch", 1, INT64_MAX, GW_JSON_REQUIRED);
        char device[NVE_DEVICE_SIZE] = "";
        struct gw_name vm, port = {""};

        if (!vm_param(request, &vm))
                return;
        if (gw_json_done(&body) || claim_save(nve, &vm, epoch, device, &error))
                return gw_request_fail(request, &error);
        if (gw_edge_claimed(nve->edge, nve_now(), &vm, epoch, &port, &error)) {
                nve_state_refused(nve, &port, "");
                return gw_request_fail(request, &error);
        }
        gw_request_answer(request, 200, json_pack("{s:s, s:s}", "port", port.s, "device", device));
}

void nve_presences_end(struct nve *nve) {
        if (!nve->presences.next)
                return;
        gw_list_for_each (link, &nve->presences) {
                struct nve_presence *p = gw_list_entry(link, struct nve_presence, link);

                answer(p->request, GW_EDGE_PRESENCE_HERE);
                presence_free(p);
        }
}
