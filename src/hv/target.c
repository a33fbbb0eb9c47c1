/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that arrives: its emulator waits, listens on a port of the configured
 * range, and at some moment runs. That moment is RESUME: the NVE is told to
 * activate at once and the authority hears of it, in this order; the state is
 * written afterwards, since "role target, but it runs" says the same after a
 * restart. Where images came along it is written before the authority hears of it: an
 * agent that finds "role target", and no emulator, takes them away, and the source's may be gone by then.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/hv.h"
#include "io/api.h"

static void listen_at_next(struct hv_vm *vm);

static bool is_taken(struct hv *hv, const struct hv_vm *self, uint16_t port) {
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (vm->record.role == HV_ROLE_TARGET &&
                    (vm->record.move.nbd.port == port || (vm != self && vm->record.move.endpoint.port == port)))
                        return true;
        }
        return false;
}

void hv_target_answer(struct hv_vm *vm, enum hv_wait kind) {
        hv_vm_answer(vm, kind, 200, hv_target_json(vm));
}

json_t *hv_target_json(const struct hv_vm *vm) {
        const struct hv_move *move = &vm->record.move;
        char ip[GW_IP_TEXT];

        return json_pack("{s:s, s:I, s:b, s:I, s:I}", "address", gw_ip_text(move->endpoint.ip, ip), "port",
                         (json_int_t)move->endpoint.port, "tls", move->tls, "disks", (json_int_t)move->disks,
                         "nbd_port", (json_int_t)move->nbd.port);
}

static void on_listening(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        hv_security_take_back(vm);
        if (!vm->starting || vm->forget)
                return;
        if (error) {
                gw_log_debug("vm=%s port %u: %s", vm->record.id.s, vm->record.move.endpoint.port, error->text);
                if (vm->port_tries < vm->hv->config->migration_port_count)
                        listen_at_next(vm);
                else
                        hv_start_failed(vm, error);
                return;
        }
        vm->starting = false;
        vm->record.state = HV_INCOMING;
        hv_vm_write(vm);
        hv_target_answer(vm, HV_WAIT_START);
        hv_tell_state(vm, "");
}

void hv_target_next_port(struct hv_vm *vm, struct gw_endpoint *at) {
        struct hv *hv = vm->hv;

        at->ip = hv->config->migration_address;
        do {
                at->port = (uint16_t)(hv->config->migration_port_first +
                                      hv->next_port++ % hv->config->migration_port_count);
                vm->port_tries++;
        } while (is_taken(hv, vm, at->port) && vm->port_tries < hv->config->migration_port_count);
}

static void listen_at_next(struct hv_vm *vm) {
        struct hv_move *move = &vm->record.move;
        struct gw_vm_landing landing = {.options = move->options, .security = hv_security_of(vm), .disks = move->disks};
        char endpoint[GW_ENDPOINT_TEXT];
        struct gw_error error = {0};

        if (hv_security_lend(vm, &error)) {
                hv_start_failed(vm, &error);
                return;
        }
        hv_target_next_port(vm, &move->endpoint);
        if (move->disks)
                hv_target_next_port(vm, &move->nbd);
        landing.nbd = move->nbd;
        snprintf(landing.uri, sizeof landing.uri, "tcp:%s", gw_endpoint_text(&move->endpoint, endpoint));
        vm->machine->driver->incoming(vm->machine, &landing, on_listening, vm);
}

void hv_target_listen(struct hv_vm *vm) {
        vm->port_tries = 0;
        listen_at_next(vm);
}

static void on_cont(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                gw_log(GW_ERR, "vm=%s has everything and does not start: %s", vm->record.id.s, error->text);
}

void hv_target_tell(struct hv_vm *vm) {
        if (!vm->untold)
                return;
        vm->untold = false;
        hv_tell(vm, "move-running", NULL, vm->runs_since);
        hv_tell_state(vm, "");
        hv_postcopy_landing(vm, GW_VM_COPY_NONE);
}

static void is_here(struct hv_vm *vm, enum hv_state state, struct gw_wall at) {
        vm->record.activate_due = true;
        hv_confirm(vm);
        if (vm->record.move.disks && vm->machine)
                vm->machine->driver->serve_no_disks(vm->machine, NULL, NULL);
        if (!vm->record.move.options.post_copy)
                hv_security_forget(vm);
        vm->record.role = HV_ROLE_SERVE;
        vm->record.state = state;
        vm->runs_since = at;
        vm->untold = true;
        /* Images that came along are the VM's own from now on, and the source's go when this is told. */
        if (!vm->record.move.created)
                hv_target_tell(vm);
        hv_still_tell(vm);
        hv_vm_write_soon(vm);
        gw_log(GW_INFO, "vm=%s move=%s is %s here epoch=%llu", vm->record.id.s, vm->record.move.id.s,
               hv_state_word(state), (unsigned long long)vm->record.epoch);
}

/* It arrives stopped, as it left. One that stood still before is here with that. */
void hv_target_copy(struct hv_vm *vm, enum gw_vm_copy copy) {
        if (copy != GW_VM_COPY_COMPLETED || !vm->record.move.options.cold)
                return;
        if (vm->record.move.options.stay)
                is_here(vm, HV_PAUSED, (struct gw_wall){0});
        else
                vm->machine->driver->cont(vm->machine, on_cont, vm);
}

void hv_target_run(struct hv_vm *vm, enum gw_vm_run run, struct gw_wall at) {
        if (run == GW_VM_RUN_RUNNING)
                is_here(vm, HV_RUNNING, at);
}
