/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent is told about moves: reads an order, checks it against what the
 * VM is here, and hands it to source.c, target.c and postcopy.c. The order names its
 * move; one of another move is refused, and a repetition is answered like the
 * first. What makes an arriving VM (`incoming`) is beside `start`, in api.c.
 */
#include <string.h>

#include "base/error.h"
#include "hv/api.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "io/http.h"

enum { DOWNTIME_MS = 50, DOWNTIME_MAX_MS = 2000000, CUT_DEADLINE_MS = 500, CUT_DEADLINE_MAX_MS = 60000 };

static bool read_migrate(struct gw_request *request, struct hv_move *move) {
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        const char *id = gw_json_string(&r, "move", NULL);

        gw_json_ip(&r, "address", GW_JSON_NEEDED, &move->endpoint.ip);
        move->endpoint.port = (uint16_t)gw_json_int(&r, "port", 1, 65535, GW_JSON_REQUIRED);
        gw_json_ip(&r, "to", GW_JSON_NEEDED, &move->peer);
        move->epoch = (uint64_t)gw_json_int(&r, "epoch", 1, INT64_MAX, GW_JSON_REQUIRED);
        move->epoch_back = (uint64_t)gw_json_int(&r, "epoch_back", 1, INT64_MAX, GW_JSON_REQUIRED);
        move->bandwidth_mib_s = (uint32_t)gw_json_int(&r, "bandwidth_mib_s", 0, 1 << 20, 0);
        move->downtime_ms = (uint32_t)gw_json_int(&r, "downtime_ms", 1, DOWNTIME_MAX_MS, DOWNTIME_MS);
        move->cut_deadline_ms = (uint32_t)gw_json_int(&r, "cut_deadline_ms", 10, CUT_DEADLINE_MAX_MS, CUT_DEADLINE_MS);
        move->tls = gw_json_bool(&r, "tls", 0);
        move->disks = (unsigned)gw_json_int(&r, "disks", 0, (1 << GW_DEFINITION_DISKS_MAX) - 1, 0);
        move->nbd.ip = move->endpoint.ip;
        move->nbd.port = (uint16_t)gw_json_int(&r, "nbd_port", 0, 65535, 0);
        move->keep_disks = gw_json_bool(&r, "keep_disks", 0);
        hv_api_read_ways(&r, "target", move);
        if (!gw_json_failed(&r) && (!id[0] || strlen(id) > GW_NAME_MAX))
                gw_json_fault(&r, "move", "move has %zu octets; 1 to %d are allowed", strlen(id), GW_NAME_MAX);
        else if (!gw_json_failed(&r))
                strcpy(move->id.s, id);
        if (gw_json_done(&r)) {
                gw_request_fail(request, &error);
                return false;
        }
        return true;
}

/* {move} and, for some, one member more. */
static bool read_order(struct gw_request *request, const char **move, bool *fence, uint64_t *epoch) {
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);

        *move = gw_json_string(&r, "move", NULL);
        if (fence)
                *fence = gw_json_bool(&r, "fence", 0);
        if (epoch)
                *epoch = (uint64_t)gw_json_int(&r, "epoch", 1, INT64_MAX, GW_JSON_REQUIRED);
        if (gw_json_done(&r)) {
                gw_request_fail(request, &error);
                return false;
        }
        return true;
}

static bool is_of(struct gw_request *request, const struct hv_vm *vm, const char *move) {
        if (strcmp(vm->record.move.id.s, move) == 0)
                return true;
        hv_api_fail(request, GW_E_CONFLICT, "move", "%s has nothing to do with move %s here", vm->record.id.s, move);
        return false;
}

/* Both must want TLS, or neither. */
static bool is_agreed(struct gw_request *request, const struct hv_vm *vm, const struct hv_move *move) {
        bool wanted = vm->hv->tls_dir[0] && hv_vm_is_qemu(vm);

        if (wanted && !move->tls)
                hv_api_fail(request, GW_E_CONFLICT, "tls",
                            "the target takes the copy of %s in the clear, and migration-tls is on here; set it alike",
                            vm->record.id.s);
        else if (!wanted && move->tls)
                hv_api_fail(
                        request, GW_E_CONFLICT, "tls",
                        "the target takes the copy of %s over TLS only, and migration-tls is off here; set it alike",
                        vm->record.id.s);
        else if (wanted && !move->peer_id.s[0])
                hv_api_fail(request, GW_E_INVALID, "target",
                            "target is missing; migration-tls is on, and the copy goes to a host known by name only");
        return wanted == move->tls && (!wanted || move->peer_id.s[0]);
}

static bool is_here(const struct hv_vm *vm) {
        return vm->record.role == HV_ROLE_SERVE && vm->machine && !vm->forget;
}

/* Refuses it itself. */
static bool may_leave(struct gw_request *request, const struct hv_vm *vm, const struct hv_move *move) {
        if (!is_here(vm) || vm->record.state != (move->options.stay ? HV_PAUSED : HV_RUNNING) ||
            hv_parked_must_wait(vm)) {
                hv_parked_refuse(vm, request);
                return false;
        }
        if (move->epoch <= vm->record.epoch || move->epoch_back <= move->epoch) {
                hv_api_fail(request, GW_E_STALE, "epoch",
                            "epoch %llu and epoch_back %llu must follow %llu, in this order",
                            (unsigned long long)move->epoch, (unsigned long long)move->epoch_back,
                            (unsigned long long)vm->record.epoch);
                return false;
        }
        if (move->disks && (!move->nbd.port || move->disks >> vm->record.definition.n_disks)) {
                hv_api_fail(request, GW_E_INVALID, "disks", "disks is %u with nbd_port %u; %s has %zu disks",
                            move->disks, move->nbd.port, vm->record.id.s, vm->record.definition.n_disks);
                return false;
        }
        return is_agreed(request, vm, move);
}

void hv_api_migrate(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        struct hv_move move = {0};

        if (!vm || !read_migrate(request, &move))
                return;
        if (vm->record.role == HV_ROLE_SOURCE && gw_name_eq(&vm->record.move.id, &move.id) && !vm->forget) {
                if (vm->waiting[HV_WAIT_MIGRATE])
                        hv_vm_wait(vm, HV_WAIT_MIGRATE, request);
                else
                        gw_request_answer(request, 200, hv_vm_json(vm));
                return;
        }
        if (is_here(vm) && hv_parked_take(vm, request))
                return;
        if (!may_leave(request, vm, &move))
                return;
        vm->record.role = HV_ROLE_SOURCE;
        vm->record.move = move;
        vm->record.move.begun = HV_BEGUN_NOT;
        if (hv_vm_write(vm) < 0) {
                vm->record.role = HV_ROLE_SERVE;
                vm->record.move = (struct hv_move){0};
                hv_api_fail(request, GW_E_FULL, "", "the state of %s cannot be written; see the log", vm->record.id.s);
                return;
        }
        hv_vm_wait(vm, HV_WAIT_MIGRATE, request);
        hv_source_migrate(vm);
}

void hv_api_cancel(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        const char *move;

        if (!vm || !read_order(request, &move, NULL, NULL))
                return;
        if (vm->record.role == HV_ROLE_SERVE) {
                hv_parked_cancel(vm, move);
                gw_request_answer(request, 200, hv_vm_json(vm)); /* nothing leaves */
        } else if (is_of(request, vm, move)) {
                if (vm->leaving == HV_COPYING || vm->leaving == HV_CANCELLING) {
                        if (hv_vm_wait(vm, HV_WAIT_CANCEL, request))
                                hv_source_cancel(vm);
                } else {
                        hv_api_fail(request, GW_E_CONFLICT, "", "%s has been cut over; it is too late to cancel",
                                    vm->record.id.s);
                }
        }
}

void hv_api_finish(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        const char *move = gw_json_string(&r, "move", NULL);
        bool keep = gw_json_bool(&r, "keep_disks", 0);

        if (!vm)
                return;
        if (gw_json_done(&r))
                return gw_request_fail(request, &error);
        if (!is_of(request, vm, move))
                return;
        if (vm->forget) {
                vm->record.move.keep_disks |= keep; /* asked for again: its images are there until it is gone */
                vm->drop_images |= vm->record.role == HV_ROLE_SOURCE; /* it may be going because its emulator ended */
                hv_vm_wait(vm, HV_WAIT_END, request);
        } else if (vm->record.role == HV_ROLE_SOURCE && vm->leaving >= HV_CUT) {
                hv_vm_wait(vm, HV_WAIT_END, request);
                vm->record.move.keep_disks |= keep; /* the other host's may be lost */
                vm->drop_images = true;
                hv_vm_finish(vm);
        } else {
                hv_api_fail(request, GW_E_CONFLICT, "", "%s has not left: it is %s here", vm->record.id.s,
                            hv_state_word(vm->record.state));
        }
}

void hv_api_abandon(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_named(request, user);
        const char *move;
        bool fence;

        if (!vm || !read_order(request, &move, &fence, NULL) || !is_of(request, vm, move) ||
            !hv_api_may_order(request, vm, fence))
                return;
        if (vm->record.role == HV_ROLE_TARGET || fence || vm->forget) {
                if (hv_vm_wait(vm, HV_WAIT_END, request) && !vm->forget)
                        hv_vm_remove(vm);
        } else {
                hv_api_fail(request, GW_E_CONFLICT, "", "%s runs here already; only a fence may end it",
                            vm->record.id.s);
        }
}

void hv_api_resume(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        const char *move;
        uint64_t epoch;

        if (!vm || !read_order(request, &move, NULL, &epoch))
                return;
        if (vm->record.role == HV_ROLE_SERVE && vm->record.epoch >= epoch && vm->machine) {
                gw_request_answer(request, 200, hv_vm_json(vm));
        } else if (is_of(request, vm, move)) {
                if (vm->switched) {
                        hv_api_fail(request, GW_E_CONFLICT, "",
                                    "%s was given to the target; what is here is out of date and does not go on",
                                    vm->record.id.s);
                } else if (vm->record.role != HV_ROLE_SOURCE || vm->leaving < HV_CUT || !vm->machine || vm->forget) {
                        hv_api_fail(request, GW_E_CONFLICT, "", "%s has no stopped copy here: it is %s",
                                    vm->record.id.s, hv_state_word(vm->record.state));
                } else if (epoch <= vm->record.move.epoch) {
                        hv_api_fail(request, GW_E_STALE, "epoch", "epoch %llu must be newer than the target's, %llu",
                                    (unsigned long long)epoch, (unsigned long long)vm->record.move.epoch);
                } else if (hv_vm_wait(vm, HV_WAIT_RESUME, request)) {
                        vm->record.move.epoch_back = epoch;
                        hv_vm_write(vm);
                        hv_source_resume(vm);
                }
        }
}

/* What the disks are, before a move. */
void hv_api_survey(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        struct gw_error error = {0};
        const char *move;
        json_t *disks;

        if (!vm || !read_order(request, &move, NULL, NULL))
                return;
        disks = hv_images_survey(vm, &error);
        if (disks)
                gw_request_answer(request, 200, json_pack("{s:o}", "disks", disks));
        else
                gw_request_fail(request, &error);
}

/* A post-copy whose connection broke: the target listens anew. */
void hv_api_recover(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        const char *move;

        if (!vm || !read_order(request, &move, NULL, NULL) || !is_of(request, vm, move))
                return;
        if (vm->record.role != HV_ROLE_SERVE || !vm->record.move.options.post_copy || !vm->machine || vm->forget)
                hv_api_fail(request, GW_E_CONFLICT, "", "%s waits for no memory here: it is %s, as %s", vm->record.id.s,
                            hv_state_word(vm->record.state), hv_role_word(vm->record.role));
        else if (hv_vm_wait(vm, HV_WAIT_RECOVER, request))
                hv_postcopy_recover(vm);
}

/* ... and the source connects to it. */
void hv_api_reconnect(struct gw_request *request, void *user) {
        struct hv_vm *vm = hv_api_ordered(request, user);
        struct gw_error error = {0};
        struct gw_endpoint at = {0};
        struct gw_json_reader r;
        const char *move;

        if (!vm)
                return;
        r = gw_json_reader(gw_request_body(request), &error);
        move = gw_json_string(&r, "move", NULL);
        gw_json_ip(&r, "address", GW_JSON_NEEDED, &at.ip);
        at.port = (uint16_t)gw_json_int(&r, "port", 1, 65535, GW_JSON_REQUIRED);
        if (gw_json_done(&r)) {
                gw_request_fail(request, &error);
        } else if (is_of(request, vm, move)) {
                if (!vm->broken || !vm->machine || vm->forget) {
                        hv_api_fail(request, GW_E_CONFLICT, "", "%s has lost no connection", vm->record.id.s);
                } else if (hv_vm_wait(vm, HV_WAIT_RECOVER, request)) {
                        vm->record.move.endpoint = at;
                        hv_postcopy_reconnect(vm);
                }
        }
}
