/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU as a child of ours, driven over QMP (QEMU 7.2; read as it behaves there).
 *
 * The capabilities `events` (or there are no MIGRATION events) and
 * `pause-before-switchover` are set on both ends before anything else. Then a
 * copy goes: source setup, active, STOP, pre-switchover, and there it waits for
 * migrate-continue; device, completed. RESUME at the destination comes near
 * `completed`, in any order.
 *
 * `return-path` stays off, on purpose. Without it a source that fails has not
 * handed over all of its state, so the other side cannot be running; with it,
 * a connection that breaks between the destination's RESUME and its last
 * message would make the source go on too: two running copies. Post-copy cannot
 * do without one (the target asks for pages); hv/source.c deals with that.
 *
 * The process is watched by pidfd, the control socket by QMP; the socket may be
 * lost and come back (then `ready` comes again), the end of the process is the
 * end of the VM. A VM whose guest has shut down is ended here: -no-shutdown is
 * not given, so QEMU ends by itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/list.h"
#include "base/log.h"
#include "hypervisor/argv.h"
#include "hypervisor/driver.h"
#include "hypervisor/lastwords.h"
#include "hypervisor/launch.h"
#include "hypervisor/process.h"
#include "hypervisor/qmp.h"
#include "hypervisor/status.h"
#include "hypervisor/steps.h"
#include "hypervisor/tap.h"

struct qemu {
        struct gw_vm vm;
        sd_event *event;
        struct gw_process process;
        struct gw_qmp *qmp;
        const struct gw_vm_events *events;
        void *user;
        char directory[256];
        struct gw_vm_status status; /* being gathered by the set-up and by query */
        bool asked_to_end, guest_ended;
        bool has_guest;         /* it was set up before, here or by an agent that is no more */
        bool ending, is_freed;  /* freed while it tells of its end: memory goes afterwards */
        struct gw_list pending; /* of struct ask: commands of the agent under way */
};

/* A command of the agent: answered once, also when the VM ends or is let go of. */
struct ask {
        struct gw_list link;
        struct qemu *qemu;
        gw_vm_done done;
        gw_vm_status_done status_done;
        void *user;
        json_t *steps;         /* commands to carry out, see hypervisor/steps.h */
        size_t sent, answered; /* of them, in their order */
        struct gw_error error; /* of the first that failed; code 0: none did */
        struct gw_vm_status status;
};

static struct qemu *of(struct gw_vm *vm) {
        return gw_container_of(vm, struct qemu, vm);
}

/* ---- asks ---- */

static struct ask *ask_new(struct qemu *qemu, gw_vm_done done, void *user) {
        struct ask *ask = calloc(1, sizeof *ask);

        if (!ask)
                abort();
        ask->qemu = qemu;
        ask->done = done;
        ask->user = user;
        gw_list_append(&qemu->pending, &ask->link);
        return ask;
}

static void ask_finish(struct ask *ask, const struct gw_error *error) {
        gw_list_remove(&ask->link);
        json_decref(ask->steps);
        if (ask->done)
                ask->done(error, ask->user);
        if (ask->status_done)
                ask->status_done(error, error ? NULL : &ask->status, ask->user);
        free(ask);
}

/* While the end is being told there is no channel any more: on_process_end finishes the ask. */
static void execute(struct qemu *qemu, const char *command, json_t *arguments, gw_qmp_done done, struct ask *ask) {
        if (qemu->qmp)
                gw_qmp_execute(qemu->qmp, command, arguments, done, ask);
        else
                json_decref(arguments);
}

static void simple_done(const struct gw_error *error, json_t *value, void *user) {
        (void)value;
        ask_finish(user, error);
}

static void simple(struct gw_vm *vm, const char *command, json_t *arguments, gw_vm_done done, void *user) {
        struct qemu *qemu = of(vm);

        execute(qemu, command, arguments, simple_done, ask_new(qemu, done, user));
}

/* ---- several commands in a row ---- */

static void go_on(struct ask *ask);

static void on_step(const struct gw_error *error, json_t *value, void *user) {
        struct ask *ask = user;
        json_t *step = json_array_get(ask->steps, ask->answered++);

        (void)value;
        if (error && !ask->error.code && !json_is_true(json_object_get(step, "may_fail")))
                ask->error = *error;
        go_on(ask);
}

static void send_step(struct ask *ask, const json_t *step) {
        const char *command = json_string_value(json_object_get(step, "execute"));
        json_t *arguments = json_incref(json_object_get(step, "arguments"));

        ask->sent++;
        if (json_is_true(json_object_get(step, "now")) && ask->qemu->qmp)
                gw_qmp_execute_now(ask->qemu->qmp, command, arguments, on_step, ask);
        else
                execute(ask->qemu, command, arguments, on_step, ask);
}

/* A step that waits finds all before it done; others are sent behind those at once. The end comes when all that was sent
 * has been answered. */
static void go_on(struct ask *ask) {
        while (!ask->error.code && ask->sent < json_array_size(ask->steps)) {
                const json_t *step = json_array_get(ask->steps, ask->sent);

                if (ask->answered < ask->sent && !json_is_true(json_object_get(step, "at_once")))
                        return;
                send_step(ask, step);
        }
        if (ask->answered == ask->sent)
                ask_finish(ask, ask->error.code ? &ask->error : NULL);
}

/* Takes over steps. With none, done comes at once. */
static void carry_out(struct gw_vm *vm, json_t *steps, gw_vm_done done, void *user) {
        struct ask *ask = ask_new(of(vm), done, user);

        ask->steps = steps;
        go_on(ask);
}

/* ---- set-up of a fresh control channel, then `ready` ---- */

static void set_up(struct qemu *qemu);

/* One that has never spoken is of no use. One that has a guest is not ended because it is slow to answer, or because
 * its channel broke once more: it is asked again. */
static void set_up_failed(struct qemu *qemu, const struct gw_error *error) {
        gw_log(GW_ERR, "%s: the emulator is not set up: %s", qemu->directory, error->text);
        if (!qemu->has_guest)
                gw_process_kill(&qemu->process, SIGKILL);
        else if (error->code == -ETIMEDOUT)
                set_up(qemu);
}

static void on_copy_known(const struct gw_error *error, json_t *value, void *user) {
        struct qemu *qemu = user;

        if (error) {
                set_up_failed(qemu, error);
                return;
        }
        qemu->has_guest = true;
        gw_qemu_read_copy(&qemu->status, value);
        qemu->events->ready(&qemu->vm, &qemu->status, qemu->user);
}

static void on_jobs_known(const struct gw_error *error, json_t *value, void *user) {
        struct qemu *qemu = user;

        if (!error)
                gw_qemu_read_jobs(&qemu->status, value);
}

static void on_run_known(const struct gw_error *error, json_t *value, void *user) {
        struct qemu *qemu = user;

        if (error)
                return; /* the next command fails the same way and is handled there */
        qemu->status.run = gw_qemu_run(json_string_value(json_object_get(value, "status")));
}

/* During a copy QEMU refuses to change capabilities; they are set already then. */
static void on_capabilities(const struct gw_error *error, json_t *value, void *user) {
        struct qemu *qemu = user;

        (void)value;
        if (error)
                gw_log_debug("%s: capabilities: %s", qemu->directory, error->text);
}

static void set_up(struct qemu *qemu) {
        struct gw_qmp *qmp = qemu->qmp;
        json_t *capabilities = json_pack("{s:[{s:s, s:b}, {s:s, s:b}]}", "capabilities", "capability", "events",
                                         "state", 1, "capability", "pause-before-switchover", "state", 1);
        /* One announcement is enough for a hint: the directory tells everyone. */
        json_t *parameters = json_pack("{s:i, s:i}", "announce-initial", 0, "announce-rounds", 1);

        gw_qmp_execute(qmp, "migrate-set-capabilities", capabilities, on_capabilities, qemu);
        gw_qmp_execute(qmp, "migrate-set-parameters", parameters, on_capabilities, qemu);
        gw_qmp_execute(qmp, "query-status", NULL, on_run_known, qemu);
        gw_qmp_execute(qmp, "query-block-jobs", NULL, on_jobs_known, qemu);
        gw_qmp_execute(qmp, "query-migrate", NULL, on_copy_known, qemu);
}

static void on_qmp_ready(struct gw_qmp *qmp, void *user) {
        (void)qmp;
        set_up(user);
}

/* ---- events ---- */

static void on_qmp_event(struct gw_qmp *qmp, const char *name, json_t *data, struct gw_wall at, void *user) {
        struct qemu *qemu = user;
        enum gw_vm_mirror_state mirror;
        enum gw_vm_copy copy;
        unsigned disk;

        (void)qmp;
        if (strcmp(name, "STOP") == 0) {
                qemu->events->run(&qemu->vm, GW_VM_RUN_PAUSED, at, qemu->user);
        } else if (strcmp(name, "RESUME") == 0) {
                qemu->events->run(&qemu->vm, GW_VM_RUN_RUNNING, at, qemu->user);
        } else if (strcmp(name, "SHUTDOWN") == 0) {
                const char *reason = json_string_value(json_object_get(data, "reason"));

                qemu->guest_ended = !reason || (strcmp(reason, "guest-panic") && strcmp(reason, "host-error") &&
                                                strcmp(reason, "host-signal"));
        } else if (strcmp(name, "MIGRATION") == 0) {
                copy = gw_qemu_copy(json_string_value(json_object_get(data, "status")));
                if (copy != GW_VM_COPY_NONE)
                        qemu->events->copy(&qemu->vm, copy, at, qemu->user);
        } else if (strcmp(name, "MIGRATION_PASS") == 0 && qemu->events->pass) {
                qemu->events->pass(&qemu->vm, (uint64_t)json_integer_value(json_object_get(data, "pass")), qemu->user);
        } else if (qemu->events->mirror && gw_qemu_read_mirror(name, data, &disk, &mirror)) {
                const char *why = json_string_value(json_object_get(data, "error"));

                qemu->events->mirror(&qemu->vm, disk, mirror, why ? why : "", qemu->user);
        }
}

static int qmp_open(struct qemu *qemu);

/* The process lives or `on_process_end` comes next: try again either way. */
static void on_qmp_closed(struct gw_qmp *qmp, const char *reason, void *user) {
        struct qemu *qemu = user;

        gw_log_debug("%s: %s", qemu->directory, reason);
        if (qmp_open(qemu) < 0) {
                gw_log(GW_ERR, "%s: cannot watch the emulator any longer", qemu->directory);
                return;
        }
        gw_qmp_free(qmp);
}

static const struct gw_qmp_ops qmp_ops = {on_qmp_ready, on_qmp_event, on_qmp_closed};

static int qmp_open(struct qemu *qemu) {
        char path[sizeof qemu->directory + sizeof GW_QEMU_QMP_FILE + 1];

        snprintf(path, sizeof path, "%s/" GW_QEMU_QMP_FILE, qemu->directory);
        return gw_qmp_new(&qemu->qmp, qemu->event, path, &qmp_ops, qemu);
}

static void on_process_end(struct gw_process *process, int code, int status) {
        struct qemu *qemu = gw_container_of(process, struct qemu, process);
        struct gw_error error = {0};
        char log[sizeof qemu->directory + sizeof GW_QEMU_LOG_FILE + 1], reason[256];
        bool clean;

        snprintf(log, sizeof log, "%s/" GW_QEMU_LOG_FILE, qemu->directory);
        gw_end_reason(log, code, status, reason, sizeof reason);
        clean = qemu->asked_to_end || (qemu->guest_ended && !(code == CLD_KILLED || code == CLD_DUMPED));
        gw_fail(&error, -ESRCH, "", "%s", reason);
        gw_qmp_free(qemu->qmp);
        qemu->qmp = NULL;
        qemu->ending = true;
        while (!gw_list_empty(&qemu->pending))
                ask_finish(gw_list_entry(qemu->pending.next, struct ask, link), &error);
        if (!qemu->is_freed)
                qemu->events->exited(&qemu->vm, clean, reason, qemu->user);
        qemu->ending = false;
        if (qemu->is_freed)
                free(qemu);
}

/* ---- the driver ---- */

static struct qemu *qemu_new(sd_event *event, const char *directory, const struct gw_vm_events *events, void *user) {
        struct qemu *qemu = calloc(1, sizeof *qemu);

        if (!qemu)
                return NULL;
        qemu->vm.driver = &gw_qemu_driver;
        qemu->event = sd_event_ref(event);
        qemu->events = events;
        qemu->user = user;
        qemu->process = GW_PROCESS_NULL;
        qemu->process.ended = on_process_end;
        gw_list_init(&qemu->pending);
        snprintf(qemu->directory, sizeof qemu->directory, "%s", directory);
        return qemu;
}

static void qemu_free(struct gw_vm *vm) {
        struct qemu *qemu;

        if (!vm)
                return;
        qemu = of(vm);
        gw_qmp_free(qemu->qmp);
        qemu->qmp = NULL;
        gw_list_for_each (link, &qemu->pending) {
                struct ask *ask = gw_list_entry(link, struct ask, link);

                gw_list_remove(link);
                json_decref(ask->steps);
                free(ask);
        }
        gw_process_deinit(&qemu->process);
        sd_event_unref(qemu->event);
        qemu->is_freed = true;
        if (!qemu->ending)
                free(qemu);
}

static int qemu_start(struct gw_vm **out, sd_event *event, const struct gw_vm_start *start,
                      const struct gw_vm_events *events, void *user, struct gw_error *error) {
        struct qemu *qemu = qemu_new(event, start->directory, events, user);
        int r;

        if (!qemu)
                return gw_fail(error, -ENOMEM, "", "no memory");
        r = gw_qemu_launch(&qemu->process, event, start, error);
        if (r < 0)
                goto fail;
        r = qmp_open(qemu);
        if (r < 0) {
                gw_fail(error, r, "", "cannot open the emulator's control socket: %s", strerror(-r));
                gw_process_end(&qemu->process);
                goto fail;
        }
        *out = &qemu->vm;
        return 0;
fail:
        qemu_free(&qemu->vm);
        return r;
}

static int qemu_adopt(struct gw_vm **out, sd_event *event, const char *directory, const struct gw_vm_identity *identity,
                      const struct gw_vm_events *events, void *user, struct gw_error *error) {
        struct qemu *qemu = qemu_new(event, directory, events, user);
        int r;

        if (!qemu)
                return gw_fail(error, -ENOMEM, "", "no memory");
        qemu->has_guest = true;
        r = gw_process_adopt(&qemu->process, event, identity->pid, identity->start_time);
        if (r == 0)
                r = qmp_open(qemu);
        if (r != 0) {
                gw_fail(error, r, "", "process %d is %s", (int)identity->pid,
                        r == GW_E_NOT_FOUND ? "gone" : strerror(-r));
                qemu_free(&qemu->vm);
                return r;
        }
        *out = &qemu->vm;
        return 0;
}

static void qemu_incoming(struct gw_vm *vm, const struct gw_vm_landing *landing, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_landing_steps(landing), done, user);
}

static void qemu_migrate(struct gw_vm *vm, const struct gw_vm_migration *to, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_migrate_steps(to), done, user);
}

static void qemu_proceed(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "migrate-continue", json_pack("{s:s}", "state", "pre-switchover"), done, user);
}

static void qemu_cancel(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "migrate_cancel", NULL, done, user);
}

static void qemu_pace(struct gw_vm *vm, uint64_t bandwidth_octets_s, unsigned downtime_ms, gw_vm_done done,
                      void *user) {
        simple(vm, "migrate-set-parameters",
               json_pack("{s:I, s:I}", "max-bandwidth", (json_int_t)bandwidth_octets_s, "downtime-limit",
                         (json_int_t)downtime_ms),
               done, user);
}

static void qemu_break_off(struct gw_vm *vm, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_break_off_steps(), done, user);
}

static void qemu_post_copy(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "migrate-start-postcopy", NULL, done, user);
}

static void qemu_recover(struct gw_vm *vm, const char *uri, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_recover_steps(uri), done, user);
}

static void qemu_reconnect(struct gw_vm *vm, const char *uri, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_reconnect_steps(uri), done, user);
}

static void qemu_mirror(struct gw_vm *vm, const struct gw_vm_mirror *mirror, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_mirror_steps(mirror), done, user);
}

static void qemu_mirror_end(struct gw_vm *vm, unsigned disks, bool force, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_mirror_end_steps(disks, force), done, user);
}

static void qemu_hang_up(struct gw_vm *vm, unsigned disks) {
        carry_out(vm, gw_qemu_hang_up_steps(disks), NULL, NULL);
}

static void qemu_mirror_clear(struct gw_vm *vm, unsigned disks, gw_vm_done done, void *user) {
        carry_out(vm, gw_qemu_mirror_clear_steps(disks), done, user);
}

static void qemu_forget_keys(struct gw_vm *vm) {
        carry_out(vm, gw_qemu_forget_keys_steps(), NULL, NULL);
}

static void qemu_serve_no_disks(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "nbd-server-stop", NULL, done, user);
}

static void qemu_cont(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "cont", NULL, done, user);
}

static void qemu_stop(struct gw_vm *vm, gw_vm_done done, void *user) {
        simple(vm, "stop", NULL, done, user);
}

static void qemu_power_down(struct gw_vm *vm, gw_vm_done done, void *user) {
        of(vm)->asked_to_end = true;
        simple(vm, "system_powerdown", NULL, done, user);
}

static void on_query_run(const struct gw_error *error, json_t *value, void *user) {
        struct ask *ask = user;

        if (!error)
                ask->status.run = gw_qemu_run(json_string_value(json_object_get(value, "status")));
}

static void on_query_copy(const struct gw_error *error, json_t *value, void *user) {
        struct ask *ask = user;

        if (!error)
                gw_qemu_read_copy(&ask->status, value);
        ask_finish(ask, error);
}

static void on_query_jobs(const struct gw_error *error, json_t *value, void *user) {
        struct ask *ask = user;

        if (!error)
                gw_qemu_read_jobs(&ask->status, value);
}

/* The commands are sent at once and answered in their order, so none outlives the last. */
static void qemu_query(struct gw_vm *vm, gw_vm_status_done done, void *user) {
        struct qemu *qemu = of(vm);
        struct ask *ask = ask_new(qemu, NULL, user);

        ask->status_done = done;
        execute(qemu, "query-status", NULL, on_query_run, ask);
        execute(qemu, "query-block-jobs", NULL, on_query_jobs, ask);
        execute(qemu, "query-migrate", NULL, on_query_copy, ask);
}

static void qemu_kill(struct gw_vm *vm) {
        of(vm)->asked_to_end = true;
        gw_process_kill(&of(vm)->process, SIGKILL);
}

static void qemu_identity(const struct gw_vm *vm, struct gw_vm_identity *out) {
        const struct qemu *qemu = gw_container_of(vm, const struct qemu, vm);

        *out = (struct gw_vm_identity){qemu->process.pid, qemu->process.start_time};
}

const struct gw_vm_driver gw_qemu_driver = {
        .name = "qemu",
        .start = qemu_start,
        .adopt = qemu_adopt,
        .incoming = qemu_incoming,
        .migrate = qemu_migrate,
        .proceed = qemu_proceed,
        .cancel = qemu_cancel,
        .pace = qemu_pace,
        .break_off = qemu_break_off,
        .post_copy = qemu_post_copy,
        .recover = qemu_recover,
        .reconnect = qemu_reconnect,
        .mirror = qemu_mirror,
        .mirror_end = qemu_mirror_end,
        .hang_up = qemu_hang_up,
        .mirror_clear = qemu_mirror_clear,
        .forget_keys = qemu_forget_keys,
        .serve_no_disks = qemu_serve_no_disks,
        .cont = qemu_cont,
        .stop = qemu_stop,
        .power_down = qemu_power_down,
        .query = qemu_query,
        .kill = qemu_kill,
        .identity = qemu_identity,
        .free = qemu_free,
};
