/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that leaves. From `migrate` on this is driven here alone, with or
 * without the authority: everything needed is in the record, on disk before
 * the copy starts.
 *
 *      COPYING --pre-switchover--> CUTTING --answered--> CUT --completed--> LEFT
 *         |                           |no answer in time  |broke off
 *         |cancel, failed             v                   |
 *         v                       GIVING_UP --resumed-----+--> taken back: uncut with epoch_back
 *      as before
 *
 * A stopped VM goes on only when its emulator lets it: because it was told to
 * (cancel, resume) or because its stream broke before the other side had
 * everything (hypervisor/qemu.c says why that is certain). Whenever it goes on
 * and a cut may have been made, the NVE takes it back with the newer epoch;
 * that is repeated until the NVE has confirmed, over restarts of both.
 *
 * Between the stop and migrate-continue nothing is written and nobody but this
 * host's NVE is waited for.
 */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "hv/carrier.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hv/reach.h"
#include "io/api.h"

static double ms_between(struct gw_mono from, struct gw_mono to) {
        return (double)gw_mono_between(from, to).ns / GW_NS_PER_MS;
}

/* ---- progress, and a second look in case an event was lost ---- */

static void tell_progress(struct hv_vm *vm, const struct gw_vm_status *status) {
        const struct gw_vm_progress *p = &status->progress;

        if (status->disk_total_octets) {
                vm->disk_done_octets = status->disk_done_octets;
                vm->disk_total_octets = status->disk_total_octets;
        }
        hv_tell(vm, "move-progress",
                json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:b}", "transferred",
                          (json_int_t)p->transferred_octets, "remaining", (json_int_t)p->remaining_octets, "total",
                          (json_int_t)p->total_octets, "rate_bytes_s", (json_int_t)p->rate_octets_s, "dirty_pages_s",
                          (json_int_t)p->dirty_pages_s, "iteration", (json_int_t)p->iteration, "disk_done",
                          (json_int_t)vm->disk_done_octets, "disk_total", (json_int_t)vm->disk_total_octets,
                          "disk_left", (json_int_t)vm->backlog.left_octets, "waits_for_disks", !hv_mirror_permits(vm)),
                (struct gw_wall){0});
}

/* The moment of the cut is the driver's to tell: it has something to do before. */
static void on_status(const struct gw_error *error, const struct gw_vm_status *status, void *user) {
        struct hv_vm *vm = user;

        if (error || vm->record.role != HV_ROLE_SOURCE || vm->leaving == HV_NOT_LEAVING || vm->leaving == HV_LEFT)
                return;
        tell_progress(vm, status);
        hv_stall_look(vm, status);
        hv_mirror_look(vm, status);
        if (!vm->accepted)
                return;
        hv_postcopy_pass(vm, status->progress.iteration);
        if (status->copy != GW_VM_COPY_PRE_SWITCHOVER || vm->leaving != HV_COPYING)
                hv_source_copy(vm, status->copy);
}

/* The figures of the whole copy, for the evidence. */
static void on_final_status(const struct gw_error *error, const struct gw_vm_status *status, void *user) {
        struct hv_vm *vm = user;

        if (!error && vm->leaving == HV_LEFT)
                tell_progress(vm, status);
}

static void on_progress(void *user) {
        struct hv_vm *vm = user;

        vm->machine->driver->query(vm->machine, on_status, vm);
        hv_stall_tick(vm);
}

static void watch_progress(struct hv_vm *vm) {
        gw_timer_free(vm->progress);
        vm->progress = NULL;
        hv_stall_begin(vm);
        if (gw_timer_new(&vm->progress, vm->hv->loop, gw_ms(HV_PROGRESS_MS), gw_ms(HV_PROGRESS_MS), on_progress, vm) <
            0)
                gw_log(GW_WARNING, "vm=%s no timer: its progress will not be seen", vm->record.id.s);
}

/* ---- start ---- */

static void on_accepted(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        hv_security_take_back(vm);
        if (!error) {
                vm->accepted = true;
                vm->record.move.begun = HV_BEGUN_TAKEN;
                hv_vm_write_soon(vm);
                hv_vm_answer(vm, HV_WAIT_MIGRATE, 200, hv_vm_json(vm));
                return;
        }
        hv_vm_refuse(vm, HV_WAIT_MIGRATE, error);
        if (vm->leaving != HV_COPYING)
                return;
        if (vm->memory_sent) /* perhaps the order was taken, and only its answer is lost */
                vm->machine->driver->cancel(vm->machine, NULL, NULL);
        vm->memory_sent = false;
        if (vm->record.move.disks || vm->record.move.options.cold) { /* there is something to undo */
                hv_source_fail(vm, error->text);
                return;
        }
        hv_security_forget(vm);
        vm->leaving = HV_NOT_LEAVING;
        vm->record.role = HV_ROLE_SERVE;
        vm->record.move = (struct hv_move){0};
        gw_timer_free(vm->progress);
        vm->progress = NULL;
        hv_vm_write_soon(vm);
}

static void migrate(struct hv_vm *vm, struct gw_vm_migration *to) {
        struct hv_move *move = &vm->record.move;
        struct gw_error error = {0};
        int r;

        move->begun = HV_BEGUN_ASKED; /* once it may have been cut, a restart of ours must not take it for untouched */
        r = hv_vm_write(vm);
        if (r < 0) {
                gw_fail(&error, r, "", "cannot write down that the copy begins: %s", strerror(-r));
                on_accepted(&error, vm);
                return;
        }
        to->bandwidth_octets_s = (uint64_t)move->bandwidth_mib_s << 20;
        to->downtime_ms = move->downtime_ms;
        to->options = move->options;
        to->disks = move->disks;
        vm->memory_sent = true;
        vm->machine->driver->migrate(vm->machine, to, on_accepted, vm);
}

/* In the clear, as far as the emulator knows. */
static void on_carrier(struct hv_vm *vm, const struct gw_error *error) {
        struct gw_vm_migration to = {0};

        if (error) {
                hv_vm_refuse(vm, HV_WAIT_MIGRATE, error);
                hv_source_fail(vm, error->text);
                return;
        }
        hv_carrier_uri(vm, to.uri);
        migrate(vm, &to);
}

/* Post-copy's target talks back, and several connections are QEMU's own affair: those it protects itself. */
static bool is_carried(const struct hv_vm *vm) {
        const struct hv_move *move = &vm->record.move;

        return hv_security_of(vm).tls_dir && !move->options.post_copy && !move->options.multifd;
}

void hv_source_send_memory(struct hv_vm *vm) {
        struct gw_vm_migration to = {.security = hv_security_of(vm)};
        struct gw_error error = {0};
        char endpoint[GW_ENDPOINT_TEXT];
        int r;

        if (vm->carrier) /* it begins when that is ready */
                return;
        gw_endpoint_text(&vm->record.move.endpoint, endpoint);
        gw_log(GW_INFO, "vm=%s move=%s copy to %s", vm->record.id.s, vm->record.move.id.s, endpoint);
        if (!is_carried(vm)) {
                snprintf(to.uri, sizeof to.uri, "tcp:%s", endpoint);
                if (hv_security_lend(vm, &error))
                        on_accepted(&error, vm);
                else
                        migrate(vm, &to);
                return;
        }
        r = hv_carrier_start(vm, on_carrier);
        if (r < 0) {
                gw_fail(&error, r, "", "what carries the copy over TLS cannot be started: %s", strerror(-r));
                on_carrier(vm, &error);
        }
}

static void send_all(struct hv_vm *vm) {
        if (vm->record.move.disks)
                hv_mirror_start(vm);
        else
                hv_source_send_memory(vm);
}

/* Step one of a cold move. */
static void on_suspended(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                on_accepted(error, vm);
        else if (vm->leaving == HV_COPYING)
                send_all(vm);
        else if (vm->record.role == HV_ROLE_SERVE) /* cancelled meanwhile */
                vm->machine->driver->cont(vm->machine, NULL, NULL);
}

void hv_source_migrate(struct hv_vm *vm) {
        vm->leaving = HV_COPYING;
        vm->resuming = vm->switched = vm->broken = vm->memory_sent = vm->accepted = vm->cut_made = false;
        vm->copy_error[0] = vm->carrier_error[0] = '\0';
        vm->disk_done_octets = vm->disk_total_octets = 0;
        vm->backlog = (struct hv_backlog){0};
        hv_images_unmark(vm);
        watch_progress(vm);
        hv_still_tell(vm);
        if (vm->record.move.options.cold && !vm->record.move.options.stay)
                vm->machine->driver->stop(vm->machine, on_suspended, vm);
        else
                send_all(vm);
}

bool hv_source_is_suspended(const struct hv_vm *vm) {
        return vm->record.role == HV_ROLE_SOURCE && vm->record.move.options.cold && vm->leaving == HV_COPYING;
}

/* ---- taking back ---- */

/* The VM runs on here. After a cut (or what may have been one) with the newer epoch. */
static void serve_again(struct hv_vm *vm) {
        struct hv_record *r = &vm->record;
        bool was_cut = vm->leaving >= HV_CUTTING;
        struct gw_error error = {0};

        gw_timer_free(vm->progress);
        vm->progress = NULL;
        vm->leaving = HV_NOT_LEAVING;
        hv_carrier_drop(vm);
        hv_reach_drop(vm);
        if (!vm->memory_sent) { /* what was dropped here answers nobody */
                gw_fail(&error, GW_E_CONFLICT, "", "the move was given up before the copy began");
                hv_vm_refuse(vm, HV_WAIT_MIGRATE, &error);
        }
        hv_mirror_undo(vm);
        hv_security_forget(vm);
        if (was_cut) {
                hv_edge_drop(vm);
                r->epoch = r->move.epoch_back;
                r->uncut_due = true;
                r->activate_due = false;
        }
        r->role = HV_ROLE_SERVE;
        r->state = r->move.options.stay ? HV_PAUSED : HV_RUNNING;
        hv_vm_write_soon(vm);
        hv_confirm(vm);
        hv_still_tell(vm);
        gw_log(GW_NOTICE, "vm=%s move=%s goes on here epoch=%llu%s", r->id.s, r->move.id.s,
               (unsigned long long)r->epoch, was_cut ? " after a cut" : "");
}

static void tell_failed(struct hv_vm *vm, const char *reason) {
        hv_tell(vm, "move-failed",
                json_pack("{s:s, s:s, s:b, s:I}", "side", "source", "reason", reason, "running", 1, "epoch",
                          (json_int_t)vm->record.epoch),
                (struct gw_wall){0});
        vm->record.move = (struct hv_move){0};
        hv_vm_write_soon(vm);
}

/* The emulator keeps the reason of its last copy until the next has begun. */
static void on_reason(const struct gw_error *error, const struct gw_vm_status *status, void *user) {
        struct hv_vm *vm = user;
        bool known = !error && status->reason[0] && vm->record.move.begun != HV_BEGUN_ASKED;

        if (vm->record.move.id.s[0] && vm->record.role == HV_ROLE_SERVE)
                tell_failed(vm, vm->carrier_error[0] ? vm->carrier_error
                                : known              ? status->reason
                                                     : "the copy broke off");
}

static void ask_why(struct hv_vm *vm) {
        if (vm->machine)
                vm->machine->driver->query(vm->machine, on_reason, vm);
}

/* The emulator has ended the copy without success, or goes on by itself. */
static void came_back(struct hv_vm *vm, enum gw_vm_copy copy) {
        bool cancelled = vm->leaving == HV_CANCELLING, gave_up = vm->leaving == HV_GIVING_UP;

        if (hv_postcopy_in_doubt(vm)) {
                hv_postcopy_stop(vm);
                return;
        }
        /* What QEMU has not stopped itself, or for post-copy, it does not start again. */
        if (vm->record.state == HV_PAUSED && !vm->record.move.options.stay &&
            (!vm->resuming || vm->record.move.options.cold))
                vm->machine->driver->cont(vm->machine, NULL, NULL);
        serve_again(vm);
        if (vm->resuming) {
                vm->resuming = false;
                vm->record.move = (struct hv_move){0};
                hv_vm_answer(vm, HV_WAIT_RESUME, 200, hv_vm_json(vm));
                hv_tell_state(vm, "resumed");
        } else if (vm->copy_error[0]) {
                tell_failed(vm, vm->copy_error);
        } else if (cancelled) {
                tell_failed(vm, "cancelled");
        } else if (gave_up) {
                tell_failed(vm, "the NVE did not make the cut in time");
        } else if (copy == GW_VM_COPY_CANCELLED) {
                tell_failed(vm, "the copy was cancelled");
        } else if (vm->carrier_error[0] || !hv_carrier_await_end(vm, ask_why)) {
                ask_why(vm);
        }
}

/* ---- the cut ---- */

static void on_given_up(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                gw_log(GW_ERR, "vm=%s the emulator does not cancel: %s", vm->record.id.s, error->text);
}

/* QEMU's disks come to rest when a copy is cancelled: what a dead target owes them would keep VM and emulator waiting. */
static void cancel_copy(struct hv_vm *vm, void (*done)(const struct gw_error *error, void *user)) {
        if (vm->record.move.disks)
                vm->machine->driver->hang_up(vm->machine, vm->record.move.disks & ~vm->disks_ended);
        vm->machine->driver->cancel(vm->machine, done, vm);
}

static void give_up(struct hv_vm *vm, const char *reason) {
        gw_log(GW_ERR, "vm=%s move=%s no cut: %s; the VM goes on here", vm->record.id.s, vm->record.move.id.s, reason);
        vm->leaving = HV_GIVING_UP;
        cancel_copy(vm, on_given_up);
}

static void on_proceeding(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error && vm->leaving == HV_CUT)
                give_up(vm, error->text);
}

void hv_source_proceed(struct hv_vm *vm) {
        if (vm->leaving == HV_CUT && vm->cut_made && hv_mirror_is_over(vm))
                vm->machine->driver->proceed(vm->machine, on_proceeding, vm);
}

static void on_cut(struct hv_vm *vm, int status, json_t *body) {
        struct gw_error error = {0};
        json_t *drained = json_object_get(body, "drained"), *talkers = json_object_get(body, "talkers");
        json_int_t at = json_integer_value(json_object_get(body, "at_ns"));

        if (vm->leaving != HV_CUTTING)
                return;
        if (gw_api_error(status, body, &error)) {
                give_up(vm, error.text);
                return;
        }
        vm->leaving = HV_CUT;
        vm->cut_made = true;
        hv_source_proceed(vm);
        vm->cut_answered = gw_mono_now();
        hv_tell(vm, "move-cut",
                json_pack("{s:I, s:o}", "drained", json_integer_value(drained), "talkers",
                          talkers ? json_incref(talkers) : json_array()),
                (struct gw_wall){at > 0 ? (uint64_t)at : 0});
        gw_log(GW_INFO, "vm=%s move=%s cut: stop to request %.3f ms, request to answer %.3f ms, drained %lld",
               vm->record.id.s, vm->record.move.id.s, ms_between(vm->stop_seen, vm->cut_sent),
               ms_between(vm->cut_sent, vm->cut_answered), (long long)json_integer_value(drained));
}

static void cut(struct hv_vm *vm) {
        const struct hv_move *move = &vm->record.move;
        char ip[GW_IP_TEXT];

        if (hv_source_is_suspended(vm) && !move->options.stay)
                hv_tell(vm, "move-stopped", NULL, vm->stopped_at);
        vm->leaving = HV_CUTTING;
        vm->cut_sent = gw_mono_now();
        vm->cut_made = false;
        hv_mirror_end(vm);
        if (!vm->record.definition.n_ports) { /* nothing that the NVE would know */
                on_cut(vm, 200, NULL);
                return;
        }
        hv_edge_call(vm, "POST", "/cut",
                     json_pack("{s:s, s:I}", "to", gw_ip_text(move->peer, ip), "epoch", (json_int_t)move->epoch), true,
                     move->cut_deadline_ms, on_cut);
}

static void all_sent(struct hv_vm *vm) {
        gw_timer_free(vm->progress);
        vm->progress = NULL;
        vm->leaving = HV_LEFT;
        vm->record.state = HV_PAUSED;
        hv_tell(vm, "move-completed", NULL, (struct gw_wall){0});
        vm->machine->driver->query(vm->machine, on_final_status, vm);
        gw_log(GW_INFO, "vm=%s move=%s all is sent, %.3f ms after the cut", vm->record.id.s, vm->record.move.id.s,
               ms_between(vm->cut_answered, gw_mono_now()));
}

void hv_source_fail(struct hv_vm *vm, const char *reason) {
        if (vm->record.role != HV_ROLE_SOURCE ||
            (vm->leaving != HV_COPYING && vm->leaving != HV_CUTTING && vm->leaving != HV_CUT))
                return;
        if (!vm->copy_error[0])
                snprintf(vm->copy_error, sizeof vm->copy_error, "%s", reason);
        gw_text_mend(vm->copy_error);
        if (vm->memory_sent && vm->leaving != HV_COPYING) {
                give_up(vm, vm->copy_error);
                return;
        }
        gw_log(GW_WARNING, "vm=%s move=%s is given up: %s", vm->record.id.s, vm->record.move.id.s, vm->copy_error);
        if (vm->memory_sent)
                hv_source_cancel(vm);
        else
                came_back(vm, GW_VM_COPY_FAILED);
}

/* ---- what the emulator reports ---- */

void hv_source_copy(struct hv_vm *vm, enum gw_vm_copy copy) {
        if (vm->leaving == HV_NOT_LEAVING || vm->leaving == HV_LEFT || !vm->memory_sent)
                return;
        switch (copy) {
        case GW_VM_COPY_PRE_SWITCHOVER:
                if (vm->leaving == HV_COPYING)
                        cut(vm);
                else if (vm->leaving == HV_CANCELLING || vm->leaving == HV_GIVING_UP)
                        cancel_copy(vm, on_given_up);
                break;
        case GW_VM_COPY_COMPLETED:
                all_sent(vm);
                break;
        case GW_VM_COPY_POSTCOPY:
                hv_postcopy_switched(vm);
                break;
        case GW_VM_COPY_BROKEN:
                hv_postcopy_broken(vm);
                break;
        case GW_VM_COPY_FAILED:
        case GW_VM_COPY_CANCELLED:
                came_back(vm, copy);
                break;
        default:
                break;
        }
}

void hv_source_run(struct hv_vm *vm, enum gw_vm_run run, struct gw_wall at) {
        if (run == GW_VM_RUN_PAUSED) {
                vm->record.state = HV_PAUSED;
                vm->stop_seen = gw_mono_now();
                vm->stopped_at = at;
                if (!hv_source_is_suspended(vm))
                        hv_tell(vm, "move-stopped", NULL, at);
        } else if (run == GW_VM_RUN_RUNNING) {
                vm->record.state = HV_RUNNING;
                if (vm->leaving >= HV_CUTTING)
                        came_back(vm, GW_VM_COPY_FAILED);
        }
}

/* Had it not begun? One that is completed may be the copy that this VM once arrived by, and one that has failed an
 * earlier move's. */
static bool is_before_the_copy(const struct hv_vm *vm, const struct gw_vm_status *status) {
        bool ended = status->copy == GW_VM_COPY_FAILED || status->copy == GW_VM_COPY_CANCELLED;

        return status->copy == GW_VM_COPY_NONE ||
               (status->copy == GW_VM_COPY_COMPLETED && status->run != GW_VM_RUN_LEFT) ||
               (ended && vm->record.move.begun == HV_BEGUN_NOT);
}

/* Its disks are on their way, or were: true when that says how it goes on. */
static bool adopt_disks(struct hv_vm *vm, const struct gw_vm_status *status) {
        bool mirrored = hv_mirror_adopt(vm, status);
        bool copied = status->copy == GW_VM_COPY_ACTIVE || status->copy == GW_VM_COPY_PRE_SWITCHOVER;

        if (mirrored ? !vm->record.move.disks || !is_before_the_copy(vm, status) : !copied)
                return false;
        vm->leaving = HV_COPYING;
        watch_progress(vm);
        if (!mirrored)
                hv_source_fail(vm, "the agent was restarted, and a disk's copy has ended meanwhile");
        else if (vm->disks_ready == vm->record.move.disks)
                hv_source_send_memory(vm);
        return true;
}

/* The agent ended between writing down that it is to leave and the emulator's being told. */
static void adopt_unbegun(struct hv_vm *vm, bool runs) {
        vm->leaving = HV_COPYING;
        if (!runs && !vm->record.move.options.stay) /* suspended for a cold move */
                vm->machine->driver->cont(vm->machine, NULL, NULL);
        serve_again(vm);
        tell_failed(vm, "the agent was restarted before the copy began");
}

/* The record says that a copy was to start; the emulator says how far it came. */
void hv_source_adopt(struct hv_vm *vm, const struct gw_vm_status *status) {
        bool runs = status->run == GW_VM_RUN_RUNNING, before = is_before_the_copy(vm, status);

        vm->record.state = runs ? HV_RUNNING : HV_PAUSED;
        vm->memory_sent = vm->accepted = !before;
        if (vm->accepted && status->copy != GW_VM_COPY_FAILED && status->copy != GW_VM_COPY_CANCELLED)
                vm->record.move.begun = HV_BEGUN_TAKEN;
        if (adopt_disks(vm, status))
                return;
        if (before && vm->record.move.begun == HV_BEGUN_NOT) {
                adopt_unbegun(vm, runs);
                return;
        }
        switch (before && !runs ? GW_VM_COPY_NONE : status->copy) {
        case GW_VM_COPY_ACTIVE:
        case GW_VM_COPY_PRE_SWITCHOVER:
                /* A cut that was answered before may be made again: the NVE knows it by its epoch. */
                if (vm->leaving != HV_CANCELLING && vm->leaving != HV_GIVING_UP)
                        vm->leaving = HV_COPYING;
                watch_progress(vm);
                hv_source_copy(vm, status->copy);
                break;
        case GW_VM_COPY_DEVICE:
                vm->leaving = HV_CUT;
                watch_progress(vm);
                break;
        case GW_VM_COPY_POSTCOPY:
        case GW_VM_COPY_BROKEN:
                vm->leaving = HV_CUT;
                watch_progress(vm);
                hv_source_copy(vm, status->copy);
                break;
        case GW_VM_COPY_COMPLETED:
                vm->leaving = HV_CUT;
                if (runs)
                        came_back(vm, GW_VM_COPY_FAILED);
                else
                        all_sent(vm);
                break;
        case GW_VM_COPY_NONE:
                adopt_unbegun(vm, runs);
                break;
        default:
                /* Whether a cut was made while nobody looked is not known: take it back in any case. */
                vm->leaving = HV_CUT;
                if (vm->record.move.begun == HV_BEGUN_ASKED)
                        snprintf(vm->copy_error, sizeof vm->copy_error,
                                 "contact with the emulator was lost as the copy began");
                came_back(vm, status->copy);
                break;
        }
}

/* ---- orders ---- */

static void on_cancelling(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (error)
                hv_vm_refuse(vm, HV_WAIT_CANCEL, error);
        else
                hv_vm_answer(vm, HV_WAIT_CANCEL, 200, hv_vm_json(vm));
}

void hv_source_cancel(struct hv_vm *vm) {
        vm->leaving = HV_CANCELLING;
        if (!vm->memory_sent) {
                came_back(vm, GW_VM_COPY_CANCELLED);
                hv_vm_answer(vm, HV_WAIT_CANCEL, 200, hv_vm_json(vm));
                return;
        }
        cancel_copy(vm, on_cancelling);
}

static void on_resuming(const struct gw_error *error, void *user) {
        struct hv_vm *vm = user;

        if (!error)
                return; /* RESUME comes, and came_back answers */
        vm->resuming = false;
        hv_vm_refuse(vm, HV_WAIT_RESUME, error);
}

/* The epoch to take back with is in record.move.epoch_back. */
void hv_source_resume(struct hv_vm *vm) {
        const struct gw_vm_driver *driver = vm->machine->driver;

        vm->resuming = true;
        if (vm->leaving == HV_LEFT && vm->record.move.options.stay)
                came_back(vm, GW_VM_COPY_FAILED); /* it stands still, as before */
        else if (vm->leaving == HV_LEFT)
                driver->cont(vm->machine, on_resuming, vm);
        else
                driver->cancel(vm->machine, on_resuming, vm);
}
