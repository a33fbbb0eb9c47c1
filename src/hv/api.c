/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent can be told, over the session by the authority and over its
 * own socket by people: reads a request, checks it against what is here, and
 * hands it on. Every call may be repeated; a repetition is recognised by the
 * VM's epoch or the move's id and answered like the first. What a source and a
 * target are told of a move once there is a VM is in api_moves.c.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "hv/api.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "io/http.h"
#include "io/renew.h"
#include "io/session.h"

void hv_api_fail(struct gw_request *request, int code, const char *field, const char *format, ...) {
        struct gw_error error = {0};
        char text[sizeof error.text];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        gw_fail(&error, code, field, "%s", text);
        gw_request_fail(request, &error);
}

struct hv_vm *hv_api_named(struct gw_request *request, struct hv *hv) {
        const char *id = gw_request_param(request, "vm");
        struct hv_vm *vm = hv_find(hv, id);

        if (!vm)
                hv_api_fail(request, GW_E_NOT_FOUND, "vm", "no VM %s on this host", id);
        return vm;
}

bool hv_api_may_order(struct gw_request *request, struct hv_vm *vm, bool ends) {
        if (ends && vm->unsettled && !vm->hv->unsettled)
                hv_vm_end_silent(vm);
        if (!vm->unsettled)
                return true;
        hv_api_fail(request, GW_E_AGAIN, "",
                    "%s was found after a restart, and what it does is not known yet; ask again", vm->record.id.s);
        return false;
}

struct hv_vm *hv_api_ordered(struct gw_request *request, struct hv *hv) {
        struct hv_vm *vm = hv_api_named(request, hv);

        return vm && hv_api_may_order(request, vm, false) ? vm : NULL;
}

static bool fits(struct hv *hv, const struct gw_definition *d, struct gw_error *error) {
        uint32_t memory_mib, vcpus;

        hv_used(hv, &memory_mib, &vcpus);
        if ((uint64_t)memory_mib + d->memory_mib > hv->memory_mib) {
                gw_fail(error, GW_E_FULL, "memory_mib", "%s needs %u MiB; %u of %u MiB are in use here", d->id.s,
                        d->memory_mib, memory_mib, hv->memory_mib);
                return false;
        }
        if ((uint64_t)vcpus + d->vcpus > hv->vcpus) {
                gw_fail(error, GW_E_FULL, "vcpus", "%s needs %u vCPUs; %u of %u are in use here", d->id.s, d->vcpus,
                        vcpus, hv->vcpus);
                return false;
        }
        return true;
}

/* ---- reading ---- */

/* What both sides of a copy are told alike: who the other one is, and how to copy. */
void hv_api_read_ways(struct gw_json_reader *r, const char *peer, struct hv_move *move) {
        json_t *options = gw_json_object(r, "options");

        gw_json_name(r, peer, GW_JSON_OPTIONAL, &move->peer_id);
        if (options) {
                struct gw_json_reader inner = gw_json_reader_at(r, options, "options.");

                gw_copy_options_read(&inner, &move->options);
        }
}

struct asked {
        struct gw_definition definition;
        json_t *definition_json; /* borrowed */
        uint64_t epoch;
        bool held;
        struct hv_move move;
        json_t *disks; /* a source's survey; borrowed, NULL: none */
};

static bool read_start(struct gw_request *request, struct asked *asked, bool incoming) {
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);

        asked->definition_json = gw_json_object(&r, "definition");
        asked->epoch = (uint64_t)gw_json_int(&r, "epoch", 1, INT64_MAX, GW_JSON_REQUIRED);
        if (incoming) {
                const char *move = gw_json_string(&r, "move", NULL);

                gw_json_ip(&r, "from", GW_JSON_NEEDED, &asked->move.peer);
                hv_api_read_ways(&r, "source", &asked->move);
                asked->disks = gw_json_array(&r, "disks");
                if (!gw_json_failed(&r) && (!move[0] || strlen(move) > GW_NAME_MAX))
                        gw_json_fault(&r, "move", "move has %zu octets; 1 to %d are allowed", strlen(move),
                                      GW_NAME_MAX);
                else if (!gw_json_failed(&r))
                        strcpy(asked->move.id.s, move);
        }
        if (!incoming)
                asked->held = gw_json_bool(&r, "held", 0);
        if (gw_json_done(&r) == 0)
                gw_definition_parse(asked->definition_json, &asked->definition, &error);
        if (error.code)
                gw_request_fail(request, &error);
        return error.code == 0;
}

/* ---- start and end ---- */

static bool make_vm(struct gw_request *request, struct hv *hv, const struct asked *asked, enum hv_role role) {
        struct gw_error error = {0};
        struct hv_vm *vm;

        /* A guest that does not run touches next to nothing of its memory. */
        if (!asked->held && !fits(hv, &asked->definition, &error)) {
                gw_request_fail(request, &error);
                return false;
        }
        vm = hv_vm_new(hv);
        if (!vm) {
                hv_api_fail(request, GW_E_FULL, "", "no memory");
                return false;
        }
        vm->record = (struct hv_record){
                .id = asked->definition.id,
                .epoch = asked->epoch,
                .role = role,
                .held = asked->held,
                .move = asked->move,
                .definition_json = json_incref(asked->definition_json),
                .definition = asked->definition,
        };
        if (hv_images_plan(vm, asked->disks, &error)) {
                hv_vm_free(vm);
                gw_request_fail(request, &error);
                return false;
        }
        hv_vm_wait(vm, HV_WAIT_START, request);
        hv_start(vm);
        return true;
}

/* One that is down may be started anew; its taps are closed and nothing of it is left. */
static bool make_room(struct gw_request *request, struct hv *hv, const struct asked *asked) {
        struct hv_vm *vm = hv_find(hv, asked->definition.id.s);

        if (!vm)
                return true;
        if (vm->forget || vm->unsettled) {
                hv_api_fail(request, GW_E_AGAIN, "", "%s is being removed from this host, or was just found; ask again",
                            vm->record.id.s);
                return false;
        }
        if (asked->epoch < vm->record.epoch) {
                hv_api_fail(request, GW_E_STALE, "epoch", "epoch %llu is older than %llu, which is here",
                            (unsigned long long)asked->epoch, (unsigned long long)vm->record.epoch);
                return false;
        }
        if (hv_vm_is_live(vm)) {
                hv_api_fail(request, GW_E_CONFLICT, "", "%s is here already, %s, as %s with epoch %llu",
                            vm->record.id.s, hv_state_word(vm->record.state), hv_role_word(vm->record.role),
                            (unsigned long long)vm->record.epoch);
                return false;
        }
        hv_vm_free(vm);
        return true;
}

static void post_vm(struct gw_request *request, void *user) {
        struct hv *hv = user;
        struct asked asked = {0};
        struct hv_vm *vm;

        if (!read_start(request, &asked, false))
                return;
        vm = hv_find(hv, asked.definition.id.s);
        if (vm && !vm->forget && !vm->unsettled && vm->record.role != HV_ROLE_TARGET &&
            vm->record.epoch == asked.epoch && hv_vm_is_live(vm)) {
                if (!vm->starting)
                        gw_request_answer(request, 200, hv_vm_json(vm));
                else
                        hv_vm_wait(vm, HV_WAIT_START, request);
                return;
        }
        if (make_room(request, hv, &asked))
                make_vm(request, hv, &asked, HV_ROLE_SERVE);
}

static void post_incoming(struct gw_request *request, void *user) {
        struct hv *hv = user;
        struct asked asked = {0};
        struct hv_vm *vm;

        if (!read_start(request, &asked, true))
                return;
        if (strcmp(gw_request_param(request, "vm"), asked.definition.id.s)) {
                hv_api_fail(request, GW_E_INVALID, "definition", "the definition is of %s, the call for %s",
                            asked.definition.id.s, gw_request_param(request, "vm"));
                return;
        }
        vm = hv_find(hv, asked.definition.id.s);
        if (vm && !vm->forget && !vm->unsettled && vm->record.role == HV_ROLE_TARGET &&
            vm->record.epoch == asked.epoch && gw_name_eq(&vm->record.move.id, &asked.move.id)) {
                if (vm->starting)
                        hv_vm_wait(vm, HV_WAIT_START, request);
                else
                        gw_request_answer(request, 200, hv_target_json(vm));
                return;
        }
        asked.move.tls = hv->tls_dir[0] && strcmp(asked.definition.emulator, "qemu") == 0;
        if (asked.move.tls && !asked.move.peer_id.s[0]) {
                hv_api_fail(request, GW_E_INVALID, "source",
                            "source is missing; migration-tls is on, and only a host known by name may send");
                return;
        }
        if (make_room(request, hv, &asked))
                make_vm(request, hv, &asked, HV_ROLE_TARGET);
}

static void on_stop_deadline(void *user) {
        struct hv_vm *vm = user;

        gw_log(GW_WARNING, "vm=%s did not power down within %d ms; killed", vm->record.id.s, HV_STOP_DEADLINE_MS);
        if (vm->machine)
                vm->machine->driver->kill(vm->machine);
}

static void on_powering_down(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                gw_log(GW_WARNING, "vm=%s cannot be asked to power down: %s", vm->record.id.s, error->text);
}

static void post_stop(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_named(request, user);
        struct gw_error error = {0};
        struct gw_json_reader r;
        bool force;

        if (!vm)
                return;
        r = gw_json_reader(gw_request_body(request), &error);
        force = gw_json_bool(&r, "force", 0);
        if (gw_json_done(&r)) {
                gw_request_fail(request, &error);
                return;
        }
        if (!hv_api_may_order(request, vm, force && vm->record.role == HV_ROLE_SERVE))
                return;
        if (vm->record.role != HV_ROLE_SERVE) {
                hv_api_fail(request, GW_E_CONFLICT, "", "%s is being moved; cancel the move first", vm->record.id.s);
                return;
        }
        if (vm->machine && force) {
                vm->machine->driver->kill(vm->machine);
        } else if (vm->machine) {
                if (vm->record.state == HV_PAUSED) /* a guest that stands still cannot power down */
                        vm->machine->driver->cont(vm->machine, NULL, NULL);
                gw_timer_free(vm->stop_deadline);
                vm->stop_deadline = NULL;
                vm->machine->driver->power_down(vm->machine, on_powering_down, vm);
                if (gw_timer_new(&vm->stop_deadline, vm->hv->loop, gw_ms(HV_STOP_DEADLINE_MS), gw_ms(0),
                                 on_stop_deadline, vm) < 0)
                        vm->machine->driver->kill(vm->machine);
        }
        gw_request_answer(request, 202, hv_vm_json(vm));
}

static void delete_vm(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_named(request, user);

        if (!vm || !hv_api_may_order(request, vm, true) || !hv_vm_wait(vm, HV_WAIT_END, request) || vm->forget)
                return;
        /* Images it came with are its own by now; only a move that came to nothing takes them away again. */
        if (vm->record.role == HV_ROLE_SERVE)
                vm->record.move.created = 0;
        hv_vm_remove(vm);
}

/* ---- looking ---- */

static void get_vms(struct gw_request *request, void *user) {
        struct hv *hv = user;
        json_t *inventory, *vms;

        if (hv->unsettled && gw_request_session(request)) {
                hv_api_fail(request, GW_E_AGAIN, "",
                            "VMs were found after a restart that are not known well yet; ask again");
                return;
        }
        inventory = hv_inventory(hv);
        vms = json_incref(json_object_get(inventory, "vms"));
        json_decref(inventory);
        gw_request_answer(request, 200, vms);
}

static void get_vm(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_named(request, user);

        if (vm)
                gw_request_answer(request, 200, hv_vm_json(vm));
}

static void get_status(struct gw_request *request, void *user) {
        static const char *const accelerators[] = {"unknown", "tcg", "kvm"};
        struct hv *hv = user;
        json_t *status = hv_inventory(hv);

        json_object_del(status, "vms");
        json_object_set_new(status, "id", json_string(hv->config->common.id.s));
        json_object_set_new(status, "version", json_string(GW_VERSION));
        json_object_set_new(status, "certificate", gw_renewal_json(hv->renewal));
        json_object_set_new(status, "nva_connected", json_boolean(hv->welcome));
        json_object_set_new(status, "nve_connected", json_boolean(gw_session_is_open(hv->nve)));
        json_object_set_new(status, "accelerator", json_string(accelerators[hv->accelerator]));
        json_object_set_new(status, "qemu_user", json_string(hv->config->qemu_user));
        gw_request_answer(request, 200, status);
}

static void get_events(struct gw_request *request, void *user) {
        (void)user;
        if (gw_request_session(request))
                hv_api_fail(request, GW_E_CONFLICT, "", "events stream over HTTP only; a session gets them anyway");
        else
                gw_request_stream(request, "events");
}

const struct gw_route hv_routes[] = {
        {"GET", "/v1/status", get_status},
        {"GET", "/v1/events", get_events},
        {"GET", "/v1/vms", get_vms},
        {"POST", "/v1/vms", post_vm},
        {"GET", "/v1/vms/{vm}", get_vm},
        {"DELETE", "/v1/vms/{vm}", delete_vm},
        {"POST", "/v1/vms/{vm}/stop", post_stop},
        {"POST", "/v1/vms/{vm}/suspend", hv_api_suspend},
        {"POST", "/v1/vms/{vm}/continue", hv_api_continue},
        {"POST", "/v1/vms/{vm}/incoming", post_incoming},
        {"POST", "/v1/vms/{vm}/migrate", hv_api_migrate},
        {"POST", "/v1/vms/{vm}/cancel", hv_api_cancel},
        {"POST", "/v1/vms/{vm}/finish", hv_api_finish},
        {"POST", "/v1/vms/{vm}/abandon", hv_api_abandon},
        {"POST", "/v1/vms/{vm}/resume", hv_api_resume},
        {"POST", "/v1/vms/{vm}/survey", hv_api_survey},
        {"POST", "/v1/vms/{vm}/recover", hv_api_recover},
        {"POST", "/v1/vms/{vm}/reconnect", hv_api_reconnect},
        {0},
};
