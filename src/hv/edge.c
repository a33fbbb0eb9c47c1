/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls to this host's NVE. It may be restarting at any moment, so a call that
 * did not get through is made again until its deadline; all of them are
 * idempotent by (VM, epoch). An answer other than "not reached" ends the call.
 *
 * A call belongs to its VM and dies with it. The session may still answer
 * later: the reply then finds no VM, because what it holds is a small cell that
 * outlives the call.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hypervisor/tap.h"
#include "io/allow.h"
#include "io/session.h"

struct hv_call {
        struct gw_list link;
        struct hv_vm *vm;
        struct cell *cell; /* of the try under way */
        char method[8], path[160];
        json_t *body;
        bool with_taps;
        struct gw_mono give_up; /* 0: never */
        struct gw_timer *retry;
        hv_edge_done done;
};

struct cell {
        struct gw_list link;  /* in hv->cells until answered */
        struct hv_call *call; /* NULL: forgotten */
};

static void cell_free(struct cell *cell) {
        gw_list_remove(&cell->link);
        free(cell);
}

/* A session that has been freed answers nothing any more. */
void hv_edge_deinit(struct hv *hv) {
        while (!gw_list_empty(&hv->cells))
                cell_free(gw_list_entry(hv->cells.next, struct cell, link));
}

static void call_free(struct hv_call *call) {
        gw_list_remove(&call->link);
        if (call->cell)
                call->cell->call = NULL;
        gw_timer_free(call->retry);
        json_decref(call->body);
        free(call);
}

static void call_finish(struct hv_call *call, int status, json_t *body) {
        hv_edge_done done = call->done;
        struct hv_vm *vm = call->vm;

        call_free(call);
        if (done)
                done(vm, status, body);
}

static void try_now(void *user);

static void on_answer(int status, json_t *body, void *user) {
        struct cell *cell = user;
        struct hv_call *call = cell->call;

        cell_free(cell);
        if (!call)
                return;
        call->cell = NULL;
        if (status != 503 && status != 504) {
                call_finish(call, status, body);
                return;
        }
        if (gw_mono_reached(gw_mono_after(gw_mono_now(), gw_ms(HV_EDGE_RETRY_MS)), call->give_up)) {
                call_finish(call, status, body);
                return;
        }
        gw_timer_free(call->retry);
        call->retry = NULL;
        if (gw_timer_new(&call->retry, call->vm->hv->loop, gw_ms(HV_EDGE_RETRY_MS), gw_ms(0), try_now, call) < 0)
                call_finish(call, status, body);
}

static struct gw_duration time_left(const struct hv_call *call) {
        struct gw_duration left;

        if (call->give_up.ns == 0)
                return gw_ms(HV_EDGE_CALL_MS);
        left = gw_mono_between(gw_mono_now(), call->give_up);
        return left.ns > gw_ms(HV_EDGE_CALL_MS).ns ? gw_ms(HV_EDGE_CALL_MS) : left;
}

static void try_now(void *user) {
        struct hv_call *call = user;
        struct hv_vm *vm = call->vm;
        struct cell *cell = calloc(1, sizeof *cell);
        size_t n_taps = call->with_taps ? vm->record.definition.n_ports : 0;

        if (!cell) {
                call_finish(call, 503, NULL);
                return;
        }
        gw_list_append(&vm->hv->cells, &cell->link);
        cell->call = call;
        call->cell = cell;
        /* Without all of the taps the order of the descriptors would not say which is whose. */
        for (size_t i = 0; i < n_taps; i++)
                if (vm->taps[i] < 0)
                        n_taps = 0;
        gw_call_with_fds(vm->hv->nve, call->method, call->path, json_incref(call->body), vm->taps, n_taps,
                         time_left(call), on_answer, cell);
}

void hv_edge_call(struct hv_vm *vm, const char *method, const char *path, json_t *body, bool with_taps,
                  uint32_t deadline_ms, hv_edge_done done) {
        struct hv_call *call = calloc(1, sizeof *call);

        if (!call)
                abort();
        call->vm = vm;
        call->body = body;
        call->with_taps = with_taps;
        call->done = done;
        call->give_up = deadline_ms ? gw_mono_after(gw_mono_now(), gw_ms(deadline_ms)) : (struct gw_mono){0};
        snprintf(call->method, sizeof call->method, "%s", method);
        if (path)
                snprintf(call->path, sizeof call->path, "/v1/vms/%s%s", vm->record.id.s, path);
        else
                snprintf(call->path, sizeof call->path, "/v1/ports");
        gw_list_append(&vm->calls, &call->link);
        try_now(call);
}

void hv_edge_drop(struct hv_vm *vm) {
        while (!gw_list_empty(&vm->calls))
                call_free(gw_list_entry(vm->calls.next, struct hv_call, link));
}

static json_t *port_body(const struct hv_vm *vm, const struct gw_definition_port *port, const char *mode) {
        char mac[GW_MAC_TEXT], ip[GW_IP_TEXT], device[IFNAMSIZ];
        const struct hv_record *r = &vm->record;
        json_t *addresses = json_array(), *body;

        for (size_t i = 0; i < port->n_ips; i++)
                json_array_append_new(addresses, json_string(gw_ip_text(port->ips[i], ip)));
        gw_vm_tap_name(&port->id, device);
        body = json_pack("{s:s, s:s, s:I, s:s, s:o, s:s, s:s, s:I}", "id", port->id.s, "vm", r->id.s, "vni",
                         (json_int_t)port->vni, "mac", gw_mac_text(port->mac, mac), "addresses", addresses, "device",
                         device, "mode", mode, "epoch", (json_int_t)r->epoch);
        if (port->mtu_octets)
                json_object_set_new(body, "mtu", json_integer(port->mtu_octets));
        if (port->allow)
                json_object_set_new(body, "allow", gw_allow_json(port->allow));
        if (strcmp(mode, "arrive") == 0)
                json_object_set_new(body, "from", json_string(gw_ip_text(r->move.peer, ip)));
        return body;
}

void hv_edge_attach(struct hv_vm *vm, const char *mode, hv_edge_done done) {
        const struct gw_definition *d = &vm->record.definition;
        bool arrives = strcmp(mode, "arrive") == 0; /* then the NVE keeps the taps, should all else die here */

        for (size_t i = 0; i < d->n_ports; i++)
                hv_edge_call(vm, "POST", NULL, port_body(vm, &d->ports[i], mode), arrives, HV_ATTACH_DEADLINE_MS, done);
        vm->still_told = false; /* a port that is attached anew is one of a VM that runs */
        hv_still_tell(vm);
}

void hv_edge_detach(struct hv_vm *vm, bool keep_redirect, hv_edge_done done) {
        hv_edge_call(vm, "DELETE", keep_redirect ? "?keep=redirect" : "", NULL, false, HV_DETACH_DEADLINE_MS, done);
}

void hv_edge_return(struct hv_vm *vm, hv_edge_done done) {
        hv_edge_call(vm, "POST", "/return", json_pack("{s:I}", "epoch", (json_int_t)vm->record.epoch), true,
                     HV_DETACH_DEADLINE_MS, done);
}
