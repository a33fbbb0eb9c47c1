/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carriers of copies (hypervisor/carrier.h), one process for each copy that goes over TLS on one connection. The agent
 * starts it and waits until it says that it is ready for the emulator; from then on the two are on their own, and end
 * together, with or without the agent.
 *
 * A carrier is in hv->carriers until its process has ended; of its VM it knows only while that waits for it to be ready.
 * Who waits for its end is found again by name: the VM may be gone, or in another move.
 */
#include "hv/carrier.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "hv/hv.h"
#include "hv/scope.h"
#include "hypervisor/carrier.h"

#define SOCKET "out"

enum { END_MS = 2000 }; /* of a copy that has failed: the emulator has hung up */

struct hv_carrier {
        struct gw_list link;
        struct hv_vm *vm; /* waits for it; NULL: no more */
        hv_carrier_done done;
        struct hv *hv;
        struct gw_name vm_id, move_id;
        struct gw_process process;
        bool has_ended, is_dropped;
        int killed_by; /* signal; 0: none */
        int report;
        sd_event_source *source;
        void (*over)(struct hv_vm *vm); /* who waits for its end; NULL: nobody */
        struct gw_timer *patience;      /* ... up to then */
        char text[240];
        size_t used;
};

static void carrier_free(struct hv_carrier *carrier) {
        if (carrier->vm)
                carrier->vm->carrier = NULL;
        gw_list_remove(&carrier->link);
        sd_event_source_disable_unref(carrier->source);
        gw_timer_free(carrier->patience);
        if (carrier->report >= 0)
                close(carrier->report);
        gw_process_deinit(&carrier->process);
        free(carrier);
}

static void tell(struct hv_carrier *carrier, const struct gw_error *error) {
        struct hv_vm *vm = carrier->vm;

        carrier->vm = NULL;
        vm->carrier = NULL;
        carrier->done(vm, error);
}

/* The copy is under way; or the emulator said first that it has failed, and it is being asked why. */
static bool is_of_interest(const struct hv_carrier *carrier, const struct hv_vm *vm) {
        return gw_name_eq(&vm->record.move.id, &carrier->move_id) && !vm->carrier_error[0] &&
               (vm->record.role == HV_ROLE_SERVE ||
                (vm->record.role == HV_ROLE_SOURCE &&
                 (vm->leaving == HV_COPYING || vm->leaving == HV_CUTTING || vm->leaving == HV_CUT)));
}

/* The emulator says no more than that its pipe is broken. It does say that, so this ends nothing: where the VM is stopped
 * for its cut, the emulator has to be let go on to see it. */
static void blame(const struct hv_carrier *carrier, const char *text) {
        struct hv_vm *vm = hv_find(carrier->hv, carrier->vm_id.s);

        gw_log(GW_WARNING, "vm=%s copy: %s", carrier->vm_id.s, text);
        if (!vm || !is_of_interest(carrier, vm))
                return;
        snprintf(vm->carrier_error, sizeof vm->carrier_error, "%.*s", (int)sizeof vm->carrier_error - 1, text);
        gw_text_mend(vm->carrier_error);
}

/* Its emulator is another's process, perhaps. The folder is ours: what the name means cannot have been changed. */
static void admit(const struct hv_vm *vm, struct gw_error *error) {
        char path[GW_QMP_PATH_MAX + 1];

        if (!vm->record.uid) /* it is as we are */
                return;
        if (hv_carrier_path(vm, path) == 0 && lchown(path, vm->record.uid, vm->record.gid) < 0)
                gw_fail(error, -errno, "", "cannot let the emulator have %s: %s", path, strerror(errno));
}

static void take_line(struct hv_carrier *carrier, const char *line) {
        struct gw_error error = {0};

        bool is_ready = strcmp(line, GW_CARRIER_READY) == 0;

        if (!carrier->vm) {
                if (is_ready)
                        return;
                blame(carrier, line);
                return;
        }
        if (!is_ready)
                gw_fail(&error, -EPROTO, "", "%s", line);
        else
                admit(carrier->vm, &error);
        tell(carrier, error.code ? &error : NULL);
}

static void take_lines(struct hv_carrier *carrier) {
        char *end;

        while ((end = memchr(carrier->text, '\n', carrier->used))) {
                size_t n = (size_t)(end - carrier->text) + 1;

                *end = '\0';
                take_line(carrier, carrier->text);
                carrier->used -= n;
                memmove(carrier->text, carrier->text + n, carrier->used);
        }
}

static void tell_over(struct hv_carrier *carrier) {
        struct hv_vm *vm = carrier->over ? hv_find(carrier->hv, carrier->vm_id.s) : NULL;
        void (*over)(struct hv_vm * vm) = carrier->over;

        carrier->over = NULL;
        if (vm && gw_name_eq(&vm->record.move.id, &carrier->move_id))
                over(vm);
}

static void on_patience_over(void *user) {
        tell_over(user);
}

bool hv_carrier_await_end(struct hv_vm *vm, void (*over)(struct hv_vm *vm)) {
        gw_list_for_each (link, &vm->hv->carriers) {
                struct hv_carrier *carrier = gw_list_entry(link, struct hv_carrier, link);

                if (!gw_name_eq(&carrier->vm_id, &vm->record.id) ||
                    !gw_name_eq(&carrier->move_id, &vm->record.move.id) || carrier->patience ||
                    gw_timer_new(&carrier->patience, vm->hv->loop, gw_ms(END_MS), gw_ms(0), on_patience_over, carrier))
                        continue;
                carrier->over = over;
                return true;
        }
        return false;
}

/* It has ended, and all that it has said was taken before. */
static void conclude(struct hv_carrier *carrier) {
        struct gw_error error = {0};

        gw_fail(&error, -ECHILD, "", "what carries the copy over TLS has ended without a reason");
        if (carrier->killed_by)
                gw_fail(&error, -ECHILD, "", "what carries the copy over TLS was killed by signal %d",
                        carrier->killed_by);
        if (carrier->vm)
                tell(carrier, &error);
        else if (carrier->killed_by && !carrier->is_dropped)
                blame(carrier, error.text);
        tell_over(carrier);
        carrier_free(carrier);
}

static void on_closed(struct hv_carrier *carrier) {
        carrier->source = sd_event_source_disable_unref(carrier->source);
        if (carrier->has_ended)
                conclude(carrier);
}

static int on_report(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct hv_carrier *carrier = user;
        ssize_t n = read(fd, carrier->text + carrier->used, sizeof carrier->text - 1 - carrier->used);

        (void)source, (void)events;
        if (n < 0 && (errno == EAGAIN || errno == EINTR))
                return 0;
        if (n <= 0) {
                on_closed(carrier);
                return 0;
        }
        carrier->used += (size_t)n;
        if (carrier->used == sizeof carrier->text - 1) /* a line that is too long is taken as far as there is room */
                carrier->text[carrier->used - 1] = '\n';
        take_lines(carrier);
        return 0;
}

static void on_ended(struct gw_process *process, int code, int status) {
        struct hv_carrier *carrier = gw_container_of(process, struct hv_carrier, process);

        carrier->has_ended = true;
        carrier->killed_by = code == CLD_KILLED || code == CLD_DUMPED ? status : 0;
        if (!carrier->source)
                conclude(carrier);
}

static int spawn(struct hv_carrier *carrier, int report) {
        const struct hv_vm *vm = carrier->vm;
        char endpoint[GW_ENDPOINT_TEXT], path[GW_QMP_PATH_MAX + 1], fd[16];
        int r = hv_carrier_path(vm, path);
        char *argv[] = {(char *)"/proc/self/exe",
                        (char *)GW_CARRIER_WORD,
                        endpoint,
                        (char *)vm->record.move.peer_id.s,
                        vm->hv->tls_dir,
                        path,
                        fd,
                        NULL};

        gw_endpoint_text(&vm->record.move.endpoint, endpoint);
        snprintf(fd, sizeof fd, "%d", report);
        return r < 0 ? r
                     : gw_process_spawn(
                               &carrier->process, vm->hv->loop->event, argv,
                               &(struct gw_process_setting){.fds = &report, .n_fds = 1, .log_path = "/dev/null"});
}

static struct hv_carrier *carrier_new(struct hv_vm *vm, hv_carrier_done done) {
        struct hv_carrier *carrier = calloc(1, sizeof *carrier);

        if (!carrier)
                abort();
        carrier->vm = vm;
        carrier->done = done;
        carrier->hv = vm->hv;
        carrier->vm_id = vm->record.id;
        carrier->move_id = vm->record.move.id;
        carrier->report = -1;
        carrier->process = GW_PROCESS_NULL;
        carrier->process.ended = on_ended;
        gw_list_append(&vm->hv->carriers, &carrier->link);
        return carrier;
}

int hv_carrier_start(struct hv_vm *vm, hv_carrier_done done) {
        struct hv_carrier *carrier = carrier_new(vm, done);
        int report[2], r = pipe2(report, O_CLOEXEC) < 0 ? -errno : 0;

        if (r == 0) {
                carrier->report = report[0];
                r = spawn(carrier, report[1]);
                close(report[1]);
        }
        if (r == 0)
                r = sd_event_add_io(vm->hv->loop->event, &carrier->source, carrier->report, EPOLLIN, on_report,
                                    carrier);
        if (r < 0) {
                gw_process_kill(&carrier->process, SIGKILL);
                carrier->vm = NULL;
                carrier_free(carrier);
                return r;
        }
        hv_scopes_put(vm->hv->scopes, "copy", vm->record.id.s, carrier->process.pid);
        vm->carrier = carrier;
        return 0;
}

void hv_carrier_drop(struct hv_vm *vm) {
        if (!vm->carrier)
                return;
        vm->carrier->vm = NULL;
        vm->carrier->is_dropped = true;
        gw_process_kill(&vm->carrier->process, SIGKILL);
        vm->carrier = NULL;
}

void hv_carrier_uri(const struct hv_vm *vm, char out[static HV_CARRIER_URI]) {
        char path[GW_QMP_PATH_MAX + 1] = SOCKET;

        if (!vm->record.uid)
                hv_carrier_path(vm, path);
        snprintf(out, HV_CARRIER_URI, "unix:%s", path);
}

/* As short as that of the control socket, which fits. */
int hv_carrier_path(const struct hv_vm *vm, char out[static GW_QMP_PATH_MAX + 1]) {
        int n = snprintf(out, GW_QMP_PATH_MAX + 1, "%s/vm/%s/" SOCKET, vm->hv->config->common.state_dir,
                         vm->record.id.s);

        return n > GW_QMP_PATH_MAX ? -ENAMETOOLONG : 0;
}

void hv_carriers_deinit(struct hv *hv) {
        gw_list_for_each (link, &hv->carriers)
                carrier_free(gw_list_entry(link, struct hv_carrier, link));
}
