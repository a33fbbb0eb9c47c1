/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tasks: devices on a host that somebody else runs (a container's veth, a tap of
 * another program). No agent is asked; the task's ports are attached at its edge,
 * and attached again whenever that edge comes back, which changes nothing when they
 * are still there (the same id and epoch).
 *
 * What an edge holds for a task that is no longer there is taken off when it comes
 * back; VMs at an edge are its agent's to attach and detach.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "io/allow.h"
#include "nva/claims.h"
#include "nva/json.h"
#include "nva/life.h"

struct attach {
        struct nva *nva;
        struct gw_name vm, nve;
        uint64_t epoch;
        struct gw_request *request;
        unsigned left; /* ports without an answer yet */
        struct gw_error error;
};

static void attached_all(struct attach *a) {
        struct gw_vm *vm = gw_directory_vm(&a->nva->directory, a->vm.s);
        bool current = vm && vm->binding.epoch == a->epoch;

        if (current && !a->error.code)
                gw_directory_vm_set_state(&a->nva->directory, vm, GW_VM_RUNNING);
        if (a->error.code)
                gw_log(GW_WARNING, "attach refused: task=%s nve=%s reason=\"%s\"", a->vm.s, a->nve.s, a->error.text);
        if (a->request && a->error.code) {
                if (current)
                        life_detach(a->nva, vm);
                gw_request_fail(a->request, &a->error);
        } else if (a->request) {
                gw_request_answer(a->request, 201, current ? nva_json_port(gw_vm_ports(vm)) : NULL);
        }
        nva_call_free(a);
}

static void on_attached(int status, json_t *body, void *user) {
        struct attach *a = user;
        struct gw_error error = {0};

        if (nva_json_no_answer(status, body))
                gw_fail(&a->error, GW_E_AGAIN, "", "%s has not answered", a->nve.s);
        else if (gw_api_error(status, body, &error))
                a->error = error;
        if (!--a->left)
                attached_all(a);
}

static json_t *attach_body(const struct gw_port *port) {
        struct gw_name id = gw_port_id(port);
        char mac[GW_MAC_TEXT];

        return json_pack("{s:s, s:s, s:I, s:s, s:o, s:I, s:s, s:s, s:I, s:o, s:b}", "id", id.s, "vm",
                         gw_vm_name(gw_port_vm(port)).s, "vni", (json_int_t)gw_port_vn(port)->vni, "mac",
                         gw_mac_text(port->mac, mac), "addresses", nva_json_addresses(port), "mtu",
                         (json_int_t)gw_port_vn(port)->mtu, "device", gw_port_device(port), "mode", "serve", "epoch",
                         (json_int_t)gw_port_vm(port)->binding.epoch, "allow", gw_allow_json(port->allow), "task",
                         true);
}

void life_attach(struct nva *nva, struct gw_vm *vm, struct gw_request *request) {
        struct attach *a = nva_call_new(nva, sizeof *a);

        if (!a)
                abort();
        a->nva = nva;
        a->vm = gw_vm_name(vm);
        a->nve = gw_vm_nve(vm)->id;
        a->epoch = vm->binding.epoch;
        a->request = request;
        a->left = vm->n_ports;
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                gw_call(gw_vm_nve(vm)->nve_session, "POST", "/v1/ports", attach_body(port), gw_s(LIFE_CALL_S),
                        on_attached, a);
}

static void ignore_answer(int status, json_t *body, void *user) {
        (void)status, (void)body, (void)user;
}

static void take_off(struct gw_nve *nve, const char *vm) {
        char path[160];

        snprintf(path, sizeof path, "/v1/vms/%s", vm);
        if (nve->nve_session)
                gw_call(nve->nve_session, "DELETE", path, NULL, gw_s(LIFE_CALL_S), ignore_answer, NULL);
}

void life_detach(struct nva *nva, struct gw_vm *vm) {
        struct gw_error error = {0};

        if (gw_vm_nve(vm))
                take_off(gw_vm_nve(vm), gw_vm_name(vm).s);
        gw_directory_release(&nva->directory, vm, nva_now());
        gw_directory_vm_set_desired(&nva->directory, vm, GW_VM_STOP);
        life_forget(nva, gw_vm_name(vm).s);
        claims_forget(nva, gw_vm_name(vm).s);
        if (gw_directory_vm_delete(&nva->directory, vm, &error))
                gw_log(GW_WARNING, "a task could not be deleted: %s", error.text);
}

struct look {
        struct nva *nva;
        struct gw_name nve;
};

static void look_on(struct look *look, struct gw_nve *nve, const char *after);

/* An edge says which ports it holds: those of nobody we know, or of a task that is elsewhere, go. */
static void on_ports(int status, json_t *body, void *user) {
        struct look *look = user;
        struct gw_nve *nve = gw_directory_nve(&look->nva->directory, look->nve.s);
        json_t *ports = json_is_array(body) ? body : json_object_get(body, "ports"), *item;
        const char *next = nva_json_text(body, "next");
        size_t i;

        if (nve && status / 100 == 2) {
                json_array_foreach (ports, i, item) {
                        const char *id = nva_json_text(item, "vm");
                        struct gw_vm *vm = gw_directory_vm(&look->nva->directory, id);

                        if (*id && (!vm || (vm->kind == GW_VM_TASK && gw_vm_nve(vm) != nve)))
                                take_off(nve, id);
                }
        }
        if (nve && nve->nve_session && *next)
                look_on(look, nve, next);
        else
                nva_call_free(look);
}

/* A page, and the next one when it is there. */
static void look_on(struct look *look, struct gw_nve *nve, const char *after) {
        char path[GW_NAME_MAX + 64];

        snprintf(path, sizeof path, "/v1/ports%s%s", *after ? "?after=" : "", after);
        gw_call(nve->nve_session, "GET", path, NULL, gw_s(LIFE_CALL_S), on_ports, look);
}

void life_edge_back(struct nva *nva, struct gw_nve *nve) {
        struct look *look = nva_call_new(nva, sizeof *look);

        for (struct gw_vm *vm = NULL; (vm = gw_directory_vm_at_after(nve, vm));)
                if (vm->kind == GW_VM_TASK) {
                        claims_settle(nva, vm);
                        life_attach(nva, vm, NULL);
                }
        if (!look)
                return;
        look->nva = nva;
        look->nve = nve->id;
        look_on(look, nve, "");
}
