/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One VM of this host: what it holds, what its emulator reports, how it ends.
 *
 * A VM is in hv->vms from its first request until it is forgotten. It owns its
 * taps, its emulator's handle, its calls to the NVE and the requests that wait
 * for it. What a report of the emulator means depends on the role: serving,
 * leaving (source.c) or arriving (target.c).
 *
 * The end of an emulator is noticed once, in on_exited, whoever caused it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hv/carrier.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hv/reach.h"
#include "hv/scope.h"
#include "hypervisor/argv.h"
#include "hypervisor/process.h"
#include "hypervisor/tap.h"
#include "io/api.h"
#include "io/netlink.h"

struct hv_vm *hv_vm_new(struct hv *hv) {
        struct hv_vm *vm = calloc(1, sizeof *vm);

        if (!vm)
                return NULL;
        vm->hv = hv;
        vm->maker = GW_PROCESS_NULL;
        gw_list_init(&vm->calls);
        for (size_t i = 0; i < GW_DEFINITION_PORTS_MAX; i++)
                vm->taps[i] = -1;
        gw_list_append(&hv->vms, &vm->link);
        return vm;
}

void hv_vm_close_taps(struct hv_vm *vm) {
        for (size_t i = 0; i < GW_DEFINITION_PORTS_MAX; i++) {
                if (vm->taps[i] >= 0)
                        close(vm->taps[i]);
                vm->taps[i] = -1;
        }
}

static void drop_machine(struct hv_vm *vm) {
        if (vm->machine)
                vm->machine->driver->free(vm->machine);
        vm->machine = NULL;
}

static void drop_timers(struct hv_vm *vm) {
        gw_timer_free(vm->progress);
        gw_timer_free(vm->stop_deadline);
        gw_timer_free(vm->disks_deadline);
        gw_timer_free(vm->confirm_again);
        gw_timer_free(vm->parked);
        vm->progress = vm->stop_deadline = vm->disks_deadline = vm->confirm_again = vm->parked = NULL;
}

void hv_vm_free(struct hv_vm *vm) {
        struct gw_error error = {0};

        gw_fail(&error, GW_E_CONFLICT, "", "%s is no longer on this host", vm->record.id.s);
        for (int kind = 0; kind < HV_WAITS; kind++)
                hv_vm_refuse(vm, (enum hv_wait)kind, &error);
        drop_machine(vm);
        drop_timers(vm);
        hv_carrier_drop(vm);
        hv_reach_drop(vm);
        gw_process_end(&vm->maker);
        hv_images_unmark(vm);
        hv_security_take_back(vm);
        gw_timer_free(vm->write_soon);
        hv_edge_drop(vm);
        hv_vm_close_taps(vm);
        hv_record_deinit(&vm->record);
        gw_list_remove(&vm->link);
        free(vm);
}

int hv_vm_write(struct hv_vm *vm) {
        int r;

        gw_timer_free(vm->write_soon);
        vm->write_soon = NULL;
        r = hv_record_write(&vm->record, vm->hv->config->common.state_dir);
        hv_target_tell(vm);
        return r;
}

static void on_write(void *user) {
        hv_vm_write(user);
}

void hv_vm_write_soon(struct hv_vm *vm) {
        if (!vm->write_soon && gw_timer_new(&vm->write_soon, vm->hv->loop, gw_ms(1), gw_ms(0), on_write, vm) < 0)
                hv_vm_write(vm);
}

/* ---- requests that wait ---- */

bool hv_vm_wait(struct hv_vm *vm, enum hv_wait kind, struct gw_request *request) {
        struct gw_error error = {0};

        if (!vm->waiting[kind]) {
                vm->waiting[kind] = request;
                return true;
        }
        gw_fail(&error, GW_E_AGAIN, "", "%s is busy with the same request; ask again", vm->record.id.s);
        gw_request_fail(request, &error);
        return false;
}

void hv_vm_answer(struct hv_vm *vm, enum hv_wait kind, int status, json_t *body) {
        struct gw_request *request = vm->waiting[kind];

        vm->waiting[kind] = NULL;
        if (request)
                gw_request_answer(request, status, body);
        else
                json_decref(body);
}

void hv_vm_refuse(struct hv_vm *vm, enum hv_wait kind, const struct gw_error *error) {
        struct gw_request *request = vm->waiting[kind];

        vm->waiting[kind] = NULL;
        if (request)
                gw_request_fail(request, error);
}

bool hv_vm_is_live(const struct hv_vm *vm) {
        return vm->machine || vm->starting;
}

json_t *hv_vm_json(const struct hv_vm *vm) {
        const struct hv_record *r = &vm->record;
        bool copying = vm->leaving != HV_NOT_LEAVING && vm->leaving != HV_LEFT;

        return json_pack("{s:s, s:s, s:s, s:I, s:s?, s:b, s:I, s:I, s:I, s:I}", "id", r->id.s, "state",
                         hv_state_word(hv_source_is_suspended(vm) ? HV_RUNNING : r->state), "role",
                         hv_role_word(r->role), "epoch", (json_int_t)r->epoch, "move",
                         r->move.id.s[0] ? r->move.id.s : NULL, "copying", copying, "pid", (json_int_t)r->process.pid,
                         "uid", (json_int_t)r->uid, "stopped_ns", (json_int_t)vm->stopped_at.ns, "resumed_ns",
                         (json_int_t)vm->runs_since.ns);
}

/* ---- the end ---- */

static void on_detached(struct hv_vm *vm, int status, json_t *body);
static void on_returned(struct hv_vm *vm, int status, json_t *body);

/* Kills, detaches, forgets: whatever of these is still to be done, one at a time. */
static void remove_step(struct hv_vm *vm) {
        if (vm->machine) {
                vm->machine->driver->kill(vm->machine);
                return; /* on_exited comes back here */
        }
        if (!vm->detached) {
                vm->detached = true;
                if (vm->returns)
                        hv_edge_return(vm, on_returned);
                else
                        hv_edge_detach(vm, false, on_detached);
                return;
        }
        if (vm->drop_images)
                hv_images_left(vm);
        hv_images_drop(vm);
        hv_security_take_back(vm); /* without a record nobody would look for it */
        hv_record_remove(&vm->record, vm->hv->config->common.state_dir);
        if (vm->start_error.code)
                hv_vm_refuse(vm, HV_WAIT_START, &vm->start_error);
        hv_vm_answer(vm, HV_WAIT_END, 200, json_pack("{s:s}", "id", vm->record.id.s));
        gw_log(GW_INFO, "vm=%s forgotten", vm->record.id.s);
        hv_vm_free(vm);
}

static void on_detached(struct hv_vm *vm, int status, json_t *body) {
        (void)body;
        if (status >= 300 && status != 404)
                gw_log(GW_WARNING, "vm=%s the NVE did not take its ports off (status %d); it will %s", vm->record.id.s,
                       status, vm->returns ? "when it is told where the VM is" : "see the devices vanish");
        if (vm->forget)
                remove_step(vm);
}

/* It has run here after all, or the NVE knows of no return: then its ports are only taken off. One that was not
 * reached until the deadline is not waited for once more: the source may not go on before we are done. */
static void on_returned(struct hv_vm *vm, int status, json_t *body) {
        if (status < 300 || status == 404 || status == 503 || status == 504)
                on_detached(vm, status, body);
        else
                hv_edge_detach(vm, false, on_detached);
}

static void start_removing(struct hv_vm *vm) {
        vm->returns = vm->record.role == HV_ROLE_TARGET && vm->record.state == HV_INCOMING;
        vm->forget = true;
        vm->starting = false;
        vm->leaving = HV_NOT_LEAVING;
        drop_timers(vm);
        hv_carrier_drop(vm);
        hv_reach_drop(vm);
        gw_process_end(&vm->maker); /* it would write to an image that is taken away */
        hv_edge_drop(vm);
}

void hv_vm_remove(struct hv_vm *vm) {
        start_removing(vm);
        remove_step(vm);
}

void hv_vm_finish(struct hv_vm *vm) {
        start_removing(vm);
        vm->detached = true;
        hv_edge_detach(vm, true, on_detached);
}

/* A stopped or crashed VM stays known, so that the inventory can say so. */
static void stay_down(struct hv_vm *vm, bool clean, const char *reason, bool keep_redirect) {
        vm->record.role = HV_ROLE_SERVE;
        vm->record.state = clean ? HV_STOPPED : HV_CRASHED;
        vm->record.process = (struct gw_vm_identity){0};
        vm->record.uncut_due = vm->record.activate_due = false;
        hv_vm_write(vm);
        hv_edge_drop(vm);
        hv_edge_detach(vm, keep_redirect, on_detached);
        hv_vm_close_taps(vm);
        hv_tell_state(vm, reason);
}

static void source_ended(struct hv_vm *vm, bool clean, const char *reason) {
        bool was_cut = vm->leaving >= HV_CUTTING;

        if (vm->leaving == HV_LEFT) {
                hv_vm_finish(vm);
                return;
        }
        vm->leaving = HV_NOT_LEAVING;
        hv_tell(vm, "move-failed",
                json_pack("{s:s, s:s, s:b, s:I}", "side", "source", "reason", reason, "running", 0, "epoch",
                          (json_int_t)vm->record.epoch),
                (struct gw_wall){0});
        stay_down(vm, clean && !was_cut, reason, was_cut);
}

/* It will not run here. */
static void target_ended(struct hv_vm *vm, const char *reason) {
        hv_tell(vm, "move-failed", json_pack("{s:s, s:s, s:b}", "side", "target", "reason", reason, "running", 0),
                (struct gw_wall){0});
        hv_vm_remove(vm);
}

/* Has it run while we were away, and said so? What its taps got is known as long as the NVE keeps them. One that comes
 * cold runs on our word alone, but its emulator announces it before. */
static bool has_spoken(const struct hv_vm *vm) {
        const struct gw_definition *d = &vm->record.definition;
        char device[IFNAMSIZ];
        struct gw_link link;

        if (vm->record.move.options.cold)
                return false;
        for (size_t i = 0; i < d->n_ports; i++) {
                gw_vm_tap_name(&d->ports[i].id, device);
                if (gw_link_get(device, &link) == 0 && link.received)
                        return true;
        }
        return false;
}

/* It may have run, and written to the images that it was given: whoever wants to be rid of those has to look first. */
void hv_vm_end_silent(struct hv_vm *vm) {
        struct hv_record *r = &vm->record;

        gw_log(GW_WARNING, "vm=%s its emulator does not speak, and is ended%s", r->id.s,
               r->move.created ? "; its images stay, as it may have run with them" : "");
        if (r->role == HV_ROLE_TARGET && r->state == HV_INCOMING && has_spoken(vm))
                r->role = HV_ROLE_SERVE;
        r->move.created = 0;
        hv_vm_write(vm);
        hv_settled(vm);
}

/* The emulator ended while we were away. */
static void found_gone(struct hv_vm *vm) {
        bool was_down = vm->record.state == HV_STOPPED || vm->record.state == HV_CRASHED;

        if (was_down)
                return;
        if (vm->record.role == HV_ROLE_TARGET && vm->record.state == HV_INCOMING && has_spoken(vm))
                vm->record.role = HV_ROLE_SERVE; /* then this is where it crashed */
        if (vm->record.role == HV_ROLE_TARGET && vm->record.state == HV_INCOMING) {
                target_ended(vm, "its emulator ended while the agent was away");
                return;
        }
        if (vm->record.role == HV_ROLE_TARGET) {
                hv_vm_remove(vm);
                return;
        }
        gw_log(GW_WARNING, "vm=%s its emulator ended while the agent was away", vm->record.id.s);
        vm->record.state = HV_CRASHED;
        vm->record.process = (struct gw_vm_identity){0};
        /* A source whose end nobody saw may have been cut: the redirect must stay until the authority knows better. */
        hv_edge_detach(vm, vm->record.role == HV_ROLE_SOURCE, on_detached);
        vm->record.role = HV_ROLE_SERVE;
        vm->record.uncut_due = vm->record.activate_due = false;
        hv_vm_write(vm);
        hv_tell_state(vm, "its emulator ended while the agent was away"); /* an inventory may have said otherwise */
}

static void on_exited(struct gw_vm *machine, bool clean, const char *reason, void *user) {
        struct hv_vm *vm = user;
        struct gw_error error = {0};

        (void)machine;
        gw_log(GW_NOTICE, "vm=%s %s", vm->record.id.s, reason);
        drop_machine(vm);
        if (vm->unsettled) {
                found_gone(vm);
                hv_settled(vm);
                return;
        }
        drop_timers(vm);
        hv_carrier_drop(vm);
        hv_reach_drop(vm);
        gw_fail(&error, GW_E_CONFLICT, "", "%s", reason);
        for (int kind = 0; kind < HV_WAIT_END; kind++)
                if (kind != HV_WAIT_START)
                        hv_vm_refuse(vm, (enum hv_wait)kind, &error);
        if (vm->forget) {
                remove_step(vm);
        } else if (vm->starting) {
                hv_start_failed(vm, &error);
        } else if (vm->record.role == HV_ROLE_TARGET) {
                target_ended(vm, reason);
        } else if (vm->record.role == HV_ROLE_SOURCE) {
                source_ended(vm, clean, reason);
        } else {
                stay_down(vm, clean, reason, false);
        }
}

/* ---- what the emulator reports ---- */

static enum hv_state state_of(enum gw_vm_run run) {
        switch (run) {
        case GW_VM_RUN_RUNNING:
                return HV_RUNNING;
        case GW_VM_RUN_INCOMING:
                return HV_INCOMING;
        case GW_VM_RUN_DOWN:
                return HV_STOPPED;
        default:
                return HV_PAUSED;
        }
}

static void serve_run(struct hv_vm *vm, enum gw_vm_run run) {
        enum hv_state state = state_of(run);

        if (state == vm->record.state)
                return;
        vm->record.state = state;
        hv_vm_write_soon(vm);
        hv_tell_state(vm, "");
        hv_still_tell(vm);
}

static void on_run(struct gw_vm *machine, enum gw_vm_run run, struct gw_wall at, void *user) {
        struct hv_vm *vm = user;

        (void)machine;
        if (vm->starting || vm->forget)
                return;
        if (vm->record.role == HV_ROLE_SOURCE)
                hv_source_run(vm, run, at);
        else if (vm->record.role == HV_ROLE_TARGET)
                hv_target_run(vm, run, at);
        else
                serve_run(vm, run);
}

static void on_copy(struct gw_vm *machine, enum gw_vm_copy copy, struct gw_wall at, void *user) {
        struct hv_vm *vm = user;

        (void)machine;
        (void)at;
        if (vm->record.role == HV_ROLE_SOURCE && !vm->forget)
                hv_source_copy(vm, copy);
        else if (vm->record.role == HV_ROLE_TARGET && !vm->forget)
                hv_target_copy(vm, copy);
        if (vm->record.role != HV_ROLE_SOURCE && !vm->forget)
                hv_postcopy_landing(vm, copy);
}

static void on_pass(struct gw_vm *machine, uint64_t number, void *user) {
        struct hv_vm *vm = user;

        (void)machine;
        if (vm->record.role == HV_ROLE_SOURCE && !vm->forget)
                hv_postcopy_pass(vm, number);
}

static void on_mirror(struct gw_vm *machine, unsigned disk, enum gw_vm_mirror_state state, const char *reason,
                      void *user) {
        struct hv_vm *vm = user;

        (void)machine;
        if (!vm->forget)
                hv_mirror_event(vm, disk, state, reason);
}

/* After a restart of ours, or of the control channel: what has happened meanwhile? */
static void catch_up(struct hv_vm *vm, const struct gw_vm_status *status) {
        switch (vm->record.role) {
        case HV_ROLE_SOURCE:
                hv_source_adopt(vm, status);
                break;
        case HV_ROLE_TARGET:
                if (status->run == GW_VM_RUN_RUNNING) {
                        hv_target_run(vm, status->run, (struct gw_wall){0});
                        hv_postcopy_landing(vm, status->copy);
                } else if (status->copy == GW_VM_COPY_COMPLETED) {
                        hv_target_copy(vm, status->copy);
                } else if (vm->record.move.endpoint.port == 0) {
                        hv_vm_remove(vm); /* nobody was told where to send to */
                }
                break;
        default:
                serve_run(vm, status->run);
                hv_confirm(vm);
                hv_postcopy_landing(vm, status->copy);
                break;
        }
}

static void on_ready(struct gw_vm *machine, const struct gw_vm_status *status, void *user) {
        struct hv_vm *vm = user;

        (void)machine;
        if (vm->forget)
                return;
        if (vm->starting)
                hv_start_ready(vm);
        else
                catch_up(vm, status);
        hv_still_tell(vm);
        hv_settled(vm);
}

const struct gw_vm_events hv_vm_events = {
        .ready = on_ready, .run = on_run, .copy = on_copy, .pass = on_pass, .mirror = on_mirror, .exited = on_exited};

/* ---- adoption ---- */

static void recover_taps(struct hv_vm *vm) {
        const struct gw_definition *d = &vm->record.definition;
        char device[IFNAMSIZ];

        for (size_t i = 0; i < d->n_ports; i++) {
                gw_vm_tap_name(&d->ports[i].id, device);
                vm->taps[i] = gw_vm_tap_recover(vm->record.process.pid, device);
                if (vm->taps[i] < 0)
                        gw_log(GW_WARNING,
                               "vm=%s cannot get a duplicate of %s: %s; frames in its queue are lost at a move",
                               vm->record.id.s, device, strerror(-vm->taps[i]));
        }
}

/* A start that was not finished is undone rather than carried on: its emulator may be in any state. */
static int undo_start(struct hv_vm *vm, const char *directory) {
        char mark[600];
        int r, older;

        snprintf(mark, sizeof mark, "opaque=%s/" GW_QEMU_CONSOLE_FILE, directory);
        r = gw_process_kill_by_argument(mark, vm->record.uid);
        snprintf(mark, sizeof mark, "%s/qmp,", directory); /* of an older agent */
        older = gw_process_kill_by_argument(mark, vm->record.uid);
        if (r == 0)
                r = older;
        if (r < 0)
                gw_log(GW_ERR, "vm=%s cannot look for an emulator of a start that was not finished: %s",
                       vm->record.id.s, strerror(-r));
        else
                found_gone(vm);
        return r;
}

int hv_vm_adopt(struct hv *hv, struct hv_record *record) {
        struct hv_vm *vm = hv_vm_new(hv);
        char directory[512];
        struct gw_error error = {0};
        int r = GW_E_NOT_FOUND;

        if (!vm) {
                hv_record_deinit(record);
                return -ENOMEM;
        }
        vm->record = *record;
        hv_security_take_back(vm); /* what an agent that was killed, or its host, has not */
        snprintf(directory, sizeof directory, "%s/vm/%s", hv->config->common.state_dir, record->id.s);
        if (record->state == HV_STARTING && strcmp(record->boot, hv->boot) == 0)
                return undo_start(vm, directory);
        if (strcmp(record->boot, hv->boot) == 0)
                r = gw_qemu_driver.adopt(&vm->machine, hv->loop->event, directory, &record->process, &hv_vm_events, vm,
                                         &error);
        if (r < 0) {
                vm->machine = NULL;
                gw_log(GW_ERR, "vm=%s its emulator cannot be watched: %s", record->id.s, error.text);
                return r;
        }
        if (r != 0) {
                vm->machine = NULL;
                found_gone(vm);
                return 0;
        }
        vm->unsettled = vm->still_unsure = true;
        hv->unsettled++;
        recover_taps(vm);
        hv_scopes_put(hv->scopes, "vm", record->id.s, record->process.pid);
        gw_log(GW_INFO, "vm=%s adopted pid=%d role=%s", record->id.s, (int)record->process.pid,
               hv_role_word(record->role));
        return 0;
}
