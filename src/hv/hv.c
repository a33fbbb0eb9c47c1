/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent as a whole: one loop, a TLS session to the authority, a unix
 * session to this host's NVE, an HTTP API, and the list of VMs.
 *
 * The authority may be away for as long as it likes; VMs run and moves that
 * have begun are driven to their end. When it is back it gets our HELLO, then
 * the inventory, then the events of moves that it missed.
 */
#include "hv/carrier.h"
#include "hv/hv.h"
#include "hv/scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "hypervisor/kvm.h"
#include "io/file.h"
#include "io/http.h"
#include "io/session.h"
#include "io/renew.h"
#include "io/tls.h"
#include "wire/frame.h"

struct hv_vm *hv_find(struct hv *hv, const char *id) {
        struct gw_name name;

        if (gw_id_parse(id, &name))
                return NULL;
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (gw_name_eq(&vm->record.id, &name))
                        return vm;
        }
        return NULL;
}

void hv_used(struct hv *hv, uint32_t *memory_mib, uint32_t *vcpus) {
        *memory_mib = *vcpus = 0;
        gw_list_for_each (link, &hv->vms) {
                const struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (!hv_vm_is_live(vm))
                        continue;
                *memory_mib += vm->record.definition.memory_mib;
                *vcpus += vm->record.definition.vcpus;
        }
}

/* What was to arrive and has no emulator any more is gone; only its ports are still to be taken off. */
static bool is_gone(const struct hv_vm *vm) {
        return vm->returns && !vm->machine;
}

json_t *hv_inventory(struct hv *hv) {
        json_t *vms = json_array();
        uint32_t memory_mib, vcpus;

        gw_list_for_each (link, &hv->vms) {
                const struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (!is_gone(vm))
                        json_array_append_new(vms, hv_vm_json(vm));
        }
        hv_used(hv, &memory_mib, &vcpus);
        return json_pack("{s:o, s:o, s:{s:I, s:I}, s:{s:I, s:I}}", "vms", vms, "modes",
                         gw_modes_json(gw_modes_parse(hv->config->modes)), "capacity", "memory_mib",
                         (json_int_t)hv->memory_mib, "vcpus", (json_int_t)hv->vcpus, "used", "memory_mib",
                         (json_int_t)memory_mib, "vcpus", (json_int_t)vcpus);
}

/* ---- events ---- */

static bool is_of_move(const char *event) {
        return strncmp(event, "move-", 5) == 0 && strcmp(event, "move-progress");
}

void hv_tell(struct hv_vm *vm, const char *event, json_t *fields, struct gw_wall at) {
        struct hv *hv = vm->hv;
        json_t *object = fields ? fields : json_object();

        json_object_set_new(object, "event", json_string(event));
        json_object_set_new(object, "vm", json_string(vm->record.id.s));
        if (vm->record.move.id.s[0])
                json_object_set_new(object, "move", json_string(vm->record.move.id.s));
        json_object_set_new(object, "at_ns", json_integer((json_int_t)(at.ns ? at.ns : gw_wall_now().ns)));
        gw_http_publish(hv->http, "events", event, object);
        if (hv->welcome) {
                gw_session_send_event(hv->nva, object);
                return;
        }
        if (is_of_move(event)) {
                if (json_array_size(hv->outbox) >= HV_OUTBOX_MAX)
                        json_array_remove(hv->outbox, 0);
                json_array_append(hv->outbox, object);
        }
        json_decref(object);
}

void hv_tell_state(struct hv_vm *vm, const char *reason) {
        hv_tell(vm, "vm-state",
                json_pack("{s:s, s:s, s:I}", "state", hv_state_word(vm->record.state), "reason", reason, "epoch",
                          (json_int_t)vm->record.epoch),
                (struct gw_wall){0});
}

/* ---- the session to the authority ---- */

static void on_opened(struct gw_session *session, void *user) {
        struct hv *hv = user;
        struct gw_hello hello = {
                .role = GW_ROLE_HV,
                .id = hv->config->common.id,
                .locator = hv->config->migration_address,
                .restart_count = hv->restart_count,
        };
        uint8_t frame[512];
        struct gw_writer w = gw_writer(frame, sizeof frame);
        size_t n = gw_hello_encode(&w, 0, &hello);

        if (n > GW_FRAME_HEADER_SIZE)
                gw_session_send(session, GW_FRAME_HELLO, gw_session_next_id(session), frame + GW_FRAME_HEADER_SIZE,
                                n - GW_FRAME_HEADER_SIZE);
}

static void send_inventory(struct hv *hv) {
        json_t *object = hv_inventory(hv);
        json_t *event;
        size_t i;

        json_object_set_new(object, "event", json_string("inventory"));
        json_object_set_new(object, "at_ns", json_integer((json_int_t)gw_wall_now().ns));
        gw_session_send_event(hv->nva, object);
        json_array_foreach (hv->outbox, i, event)
                gw_session_send_event(hv->nva, json_incref(event));
        json_array_clear(hv->outbox);
}

/* An inventory of guesses would be acted on: it waits until every emulator found after a restart has spoken. */
static void introduce(struct hv *hv) {
        if (!hv->greeted || hv->welcome || hv->unsettled)
                return;
        hv->welcome = true;
        gw_log(GW_INFO, "the authority took us in");
        send_inventory(hv);
}

static void on_settle_deadline(void *user) {
        struct hv *hv = user;

        gw_log(GW_ERR, "%zu emulators do not speak; the authority is told what was last known of them", hv->unsettled);
        hv->unsettled = 0;
        introduce(hv);
}

void hv_settled(struct hv_vm *vm) {
        struct hv *hv = vm->hv;

        if (!vm->unsettled)
                return;
        vm->unsettled = false;
        if (hv->unsettled > 0 && --hv->unsettled == 0)
                introduce(hv);
        if (hv->unsettled == 0) {
                gw_timer_free(hv->settle);
                hv->settle = NULL;
        }
}

static void on_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                     void *user) {
        struct hv *hv = user;
        char reason[200];

        (void)session;
        (void)id;
        if (type == GW_FRAME_WELCOME && !hv->greeted) {
                hv->greeted = true;
                introduce(hv);
        } else if (type == GW_FRAME_BYE && gw_bye_decode(body, size, reason, sizeof reason) == 0) {
                gw_log_limited(GW_ERR, 3, "the authority refuses us: %s", reason);
        }
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        struct hv *hv = user;

        if (hv->welcome)
                gw_log(GW_WARNING, "the authority is away: %s", reason);
        hv->welcome = hv->greeted = false;
        hv_parked_drop(hv, session);
}

static const struct gw_session_ops nva_ops = {.opened = on_opened, .frame = on_frame, .closed = on_closed};

/* ---- the session to this host's NVE ---- */

static void on_nve_opened(struct gw_session *session, void *user) {
        (void)session;
        gw_log(GW_INFO, "the NVE of this host is there");
        hv_still_tell_all(user);
}

static void on_nve_closed(struct gw_session *session, const char *reason, void *user) {
        (void)session;
        (void)user;
        gw_log_limited(GW_WARNING, 3, "the NVE of this host is away: %s", reason);
}

static const struct gw_session_ops nve_ops = {.opened = on_nve_opened, .closed = on_nve_closed};

/* ---- life ---- */

static uint32_t host_memory_mib(void) {
        return (uint32_t)((uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE) >> 20);
}

static void read_boot_id(struct hv *hv) {
        char *text = NULL;

        if (gw_file_read("/proc/sys/kernel/random/boot_id", 256, &text, NULL) == 0) {
                text[strcspn(text, "\n")] = '\0';
                snprintf(hv->boot, sizeof hv->boot, "%s", text);
        }
        free(text);
}

/* The descriptor stays open for as long as we live, and the lock with it. */
static int lock_state(const struct hv *hv) {
        char path[512];
        int fd;

        snprintf(path, sizeof path, "%s/lock", hv->config->common.state_dir);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0)
                return 0;
        gw_log(GW_ERR, "%s is locked: another godwit-hv uses this state-dir", path);
        close(fd);
        return -EBUSY;
}

static int open_state(struct hv *hv) {
        const char *state_dir = hv->config->common.state_dir;
        char path[512];
        json_t *object = NULL;
        int r;

        snprintf(path, sizeof path, "%s/vms", state_dir);
        r = gw_dir_make(state_dir, 0700);
        if (r == 0)
                r = gw_dir_make(path, 0700);
        if (r == 0)
                r = lock_state(hv);
        snprintf(path, sizeof path, "%s/vm", state_dir);
        if (r == 0)
                r = gw_dir_make(path, 0700);
        /* What older agents made with it was open to all that got past state-dir. */
        if (r == 0 && chmod(path, 0700) < 0)
                r = -errno;
        if (r < 0)
                return r;
        snprintf(path, sizeof path, "%s/agent.json", state_dir);
        if (gw_file_read_json(path, 4096, &object, NULL) == 0)
                hv->restart_count = (uint64_t)json_integer_value(json_object_get(object, "restart_count"));
        json_decref(object);
        object = json_pack("{s:I}", "restart_count", (json_int_t)++hv->restart_count);
        r = gw_file_write_json(path, object, 0600);
        json_decref(object);
        return r;
}

/* Before anybody puts an image there. Emulators, whoever they are, reach theirs through it. What is there already is the
 * operator's, with its owner and mode; storage may also come later. */
static void open_disks(const struct hv *hv) {
        int r = gw_dir_make(hv->config->disk_dir, 0711);

        if (r < 0)
                gw_log(GW_WARNING, "disk-dir %s cannot be made: %s", hv->config->disk_dir, strerror(-r));
}

static void adopt(struct hv_record *record, void *user) {
        struct hv *hv = user;
        int r = hv_vm_adopt(hv, record);

        if (r < 0)
                hv->adopt_failed = r;
}

static int connect_all(struct hv *hv) {
        const struct hv_config *c = hv->config;
        struct gw_error error = {0};
        int r = gw_tls_new(&hv->tls, c->common.tls_ca, c->common.tls_cert, c->common.tls_key, &error);

        if (r != 0) {
                gw_log(GW_ERR, "%s", error.text);
                return r < 0 ? r : -EINVAL;
        }
        r = gw_renewal_new(&hv->renewal, hv->loop, hv->tls, NULL, NULL);
        if (r == 0)
                r = gw_http_new_unix(&hv->http, hv->loop, c->common.api_socket, &hv->api);
        if (r == 0)
                r = gw_session_dial_unix(&hv->nve, hv->loop, c->agent_socket, &nve_ops, NULL, hv);
        if (r == 0)
                r = gw_session_dial_tls(&hv->nva, hv->loop, c->nva.at, c->nva.n, NULL, hv->tls, &nva_ops, &hv->api, hv);
        return r;
}

/* SIGHUP */
static void on_hangup(void *user) {
        gw_renewal_now(((struct hv *)user)->renewal);
}

int hv_init(struct hv *hv, struct gw_loop *loop, const struct hv_config *config) {
        char *unit;
        int r;

        *hv = (struct hv){
                .config = config, .loop = loop, .probe_lock = -1, .outbox = json_array(), .api = {hv_routes, hv}};
        gw_list_init(&hv->vms);
        gw_list_init(&hv->cells);
        gw_list_init(&hv->carriers);
        hv->memory_mib = config->memory_mib ? config->memory_mib : host_memory_mib();
        hv->vcpus = config->vcpus ? config->vcpus : 8 * (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
        read_boot_id(hv);
        r = hv_user_init(hv);
        if (r != 0)
                return r;
        hv_find_tap_gate(hv);
        unit = hv_scopes_unit();
        r = hv_scopes_new(&hv->scopes, loop->event, unit, HV_SCOPES_PAUSE_MS);
        free(unit);
        if (r == 0)
                r = gw_loop_on_hangup(loop, on_hangup, hv);
        if (r < 0)
                return r;
        r = open_state(hv);
        if (r == 0)
                r = hv_security_init(hv);
        if (r < 0) {
                gw_log(GW_ERR, "state-dir %s: %s", config->common.state_dir, strerror(-r));
                return r;
        }
        open_disks(hv);
        r = connect_all(hv);
        if (r < 0)
                return r;
        r = hv_record_each(config->common.state_dir, adopt, hv);
        if (r == 0) /* to be started again is better than to act on a guess about a VM */
                r = hv->adopt_failed;
        if (r == 0 && hv->unsettled)
                r = gw_timer_new(&hv->settle, loop, gw_ms(HV_SETTLE_MS), gw_ms(0), on_settle_deadline, hv);
        if (r == 0)
                r = hv_consoles_watch(hv);
        if (r == 0)
                hv_accelerator_start(hv);
        return r;
}

/* Whoever waits for an answer: what was ordered may be done, or be gone on with by the next agent. */
static void say_that_we_end(struct hv_vm *vm) {
        struct gw_error ends;

        gw_fail(&ends, GW_E_AGAIN, "", "the agent ends; ask the next one");
        for (int kind = 0; kind < HV_WAITS; kind++)
                hv_vm_refuse(vm, (enum hv_wait)kind, &ends);
}

void hv_deinit(struct hv *hv) {
        gw_list_for_each (link, &hv->vms) {
                struct hv_vm *vm = gw_list_entry(link, struct hv_vm, link);

                if (vm->write_soon)
                        hv_vm_write(vm);
                say_that_we_end(vm);
                hv_vm_free(vm);
        }
        hv_carriers_deinit(hv);
        hv_scopes_free(hv->scopes);
        gw_timer_free(hv->settle);
        gw_kvm_probe_free(hv->probe);
        gw_timer_free(hv->probe_wait);
        gw_timer_free(hv->consoles);
        gw_session_free(hv->nva);
        gw_session_free(hv->nve);
        hv_edge_deinit(hv);
        gw_http_free(hv->http);
        gw_renewal_free(hv->renewal);
        gw_tls_free(hv->tls);
        json_decref(hv->outbox);
}
