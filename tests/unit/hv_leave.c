/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that leaves, and one that arrives, with an emulator that does nothing by itself: what it is told is
 * written down, what it would say is said here. For what a real one does too seldom, or too fast.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "hv/hv.h"
#include "hypervisor/process.h"
#include "io/file.h"
#include "io/http.h"
#include "io/session.h"
#include "io/socket.h"

enum { BOTH_DISKS = 3, DISK_PAUSE_MS = 30, EPOCH = 7, EPOCH_TO, EPOCH_BACK };

static const char DEFINITION[] = "{\"name\": \"web\", \"disks\": [{\"path\": \"one.img\"}, {\"path\": \"two.img\"}]}";

struct bed {
        struct gw_loop loop;
        struct hv_config config;
        struct hv hv;
        struct hv_vm *vm;
        char folder[64];
        int target; /* where a target takes disks; -1: none is there any more */
        /* What the emulator was told. */
        unsigned mirrors, migrates, mirror_ends, proceeds, cancels, post_copies, hung_up, forgets, stops, conts, kills;
        bool refuses;               /* ... to copy */
        int begun;                  /* what was written down when it was told to copy; -1: nothing */
        struct gw_vm_status status; /* what it answers; copy NONE: it is busy */
};
static struct bed bed;

/* ---- the emulator ---- */

static void accept_order(gw_vm_done done, void *user) {
        if (done)
                done(NULL, user);
}

static void refuse_order(gw_vm_done done, void *user) {
        struct gw_error error = {0};

        gw_fail(&error, GW_E_CONFLICT, "", "it does not want to");
        done(&error, user);
}

static void take_mirror(struct gw_vm *vm, const struct gw_vm_mirror *mirror, gw_vm_done done, void *user) {
        (void)vm, (void)mirror;
        bed.mirrors++;
        accept_order(done, user);
}

static void take_mirror_end(struct gw_vm *vm, unsigned disks, bool force, gw_vm_done done, void *user) {
        (void)vm, (void)disks;
        bed.mirror_ends += !force;
        accept_order(done, user);
}

static void take_mirror_clear(struct gw_vm *vm, unsigned disks, gw_vm_done done, void *user) {
        (void)vm, (void)disks;
        accept_order(done, user);
}

static void take_hang_up(struct gw_vm *vm, unsigned disks) {
        (void)vm;
        bed.hung_up = disks;
}

static const char *at(const char *name);

static void take_migrate(struct gw_vm *vm, const struct gw_vm_migration *to, gw_vm_done done, void *user) {
        json_t *record = json_load_file(at("vms/web@default.json"), 0, NULL);

        (void)vm, (void)to;
        bed.begun = record ? (int)json_integer_value(json_object_get(json_object_get(record, "move"), "begun")) : -1;
        json_decref(record);
        bed.migrates++;
        if (bed.refuses)
                refuse_order(done, user);
        else
                accept_order(done, user);
}

static void take_stop(struct gw_vm *vm, gw_vm_done done, void *user) {
        bed.stops++;
        hv_vm_events.run(vm, GW_VM_RUN_PAUSED, gw_wall_now(), bed.vm);
        accept_order(done, user);
}

static void take_cont(struct gw_vm *vm, gw_vm_done done, void *user) {
        bed.conts++;
        hv_vm_events.run(vm, GW_VM_RUN_RUNNING, gw_wall_now(), bed.vm);
        accept_order(done, user);
}

static void take_pace(struct gw_vm *vm, uint64_t bandwidth_octets_s, unsigned downtime_ms, gw_vm_done done,
                      void *user) {
        (void)vm, (void)bandwidth_octets_s, (void)downtime_ms;
        accept_order(done, user);
}

static void take_proceed(struct gw_vm *vm, gw_vm_done done, void *user) {
        (void)vm;
        bed.proceeds++;
        accept_order(done, user);
}

static void take_cancel(struct gw_vm *vm, gw_vm_done done, void *user) {
        (void)vm;
        bed.cancels++;
        accept_order(done, user);
}

static void take_post_copy(struct gw_vm *vm, gw_vm_done done, void *user) {
        (void)vm;
        bed.post_copies++;
        accept_order(done, user);
}

static void take_forget_keys(struct gw_vm *vm) {
        (void)vm;
        bed.forgets++;
}

static void take_query(struct gw_vm *vm, gw_vm_status_done done, void *user) {
        (void)vm;
        if (bed.status.copy != GW_VM_COPY_NONE)
                done(NULL, &bed.status, user);
}

static void take_kill(struct gw_vm *vm) {
        (void)vm;
        bed.kills++;
}

static void take_free(struct gw_vm *vm) {
        (void)vm;
}

static const struct gw_vm_driver driver = {
        .mirror = take_mirror,
        .mirror_end = take_mirror_end,
        .mirror_clear = take_mirror_clear,
        .hang_up = take_hang_up,
        .migrate = take_migrate,
        .pace = take_pace,
        .proceed = take_proceed,
        .cancel = take_cancel,
        .post_copy = take_post_copy,
        .forget_keys = take_forget_keys,
        .stop = take_stop,
        .cont = take_cont,
        .query = take_query,
        .kill = take_kill,
        .free = take_free,
};
static struct gw_vm machine = {&driver};

/* ---- the bed ---- */

static const char *at(const char *name) {
        static char path[2][160];
        static int turn;

        turn = !turn;
        snprintf(path[turn], sizeof path[turn], "%s/%s", bed.folder, name);
        return path[turn];
}

static void vm_new(void) {
        struct gw_endpoint any = {.port = 0};
        struct gw_error error = {0};
        struct hv_record *r;

        assert_int_equal(gw_ip_parse("127.0.0.1", &any.ip), 0);
        bed.target = gw_socket_listen_tcp(&any);
        assert_true(bed.target >= 0);
        bed.vm = hv_vm_new(&bed.hv);
        assert_non_null(bed.vm);
        bed.vm->machine = &machine;
        r = &bed.vm->record;
        r->definition_json = json_loads(DEFINITION, 0, NULL);
        assert_int_equal(gw_definition_parse(r->definition_json, &r->definition, &error), 0);
        r->id = r->definition.id;
        r->role = HV_ROLE_SOURCE;
        r->state = HV_RUNNING;
        r->epoch = EPOCH;
        r->move.epoch = EPOCH_TO;
        r->move.epoch_back = EPOCH_BACK;
        strcpy(r->move.id.s, "m1");
        assert_int_equal(gw_ip_parse("10.99.0.2", &r->move.peer), 0);
        assert_int_equal(gw_socket_local(bed.target, &r->move.nbd), 0);
        r->move.endpoint = r->move.nbd;
}

static int setup(void **state) {
        static const struct gw_session_ops none = {0};

        (void)state;
        bed = (struct bed){.folder = "/tmp/hv-leave-XXXXXX"};
        assert_non_null(mkdtemp(bed.folder));
        assert_int_equal(mkdir(at("vms"), 0700), 0);
        assert_int_equal(gw_loop_init(&bed.loop), 0);
        snprintf(bed.config.common.state_dir, sizeof bed.config.common.state_dir, "%s", bed.folder);
        snprintf(bed.config.disk_dir, sizeof bed.config.disk_dir, "%s", bed.folder);
        bed.config.disk_pause_ms = DISK_PAUSE_MS;
        bed.hv = (struct hv){
                .config = &bed.config, .loop = &bed.loop, .outbox = json_array(), .api = {hv_routes, &bed.hv}};
        gw_list_init(&bed.hv.vms);
        gw_list_init(&bed.hv.cells);
        gw_list_init(&bed.hv.carriers);
        assert_int_equal(gw_http_new_unix(&bed.hv.http, &bed.loop, at("api"), &bed.hv.api), 0);
        assert_int_equal(gw_session_dial_unix(&bed.hv.nve, &bed.loop, at("nobody"), &none, NULL, &bed.hv), 0);
        vm_new();
        return 0;
}

static int teardown(void **state) {
        (void)state;
        hv_vm_free(bed.vm);
        gw_session_free(bed.hv.nve);
        hv_edge_deinit(&bed.hv);
        gw_http_free(bed.hv.http);
        json_decref(bed.hv.outbox);
        gw_loop_deinit(&bed.loop);
        if (bed.target >= 0)
                close(bed.target);
        unlink(at("vms/web@default.json"));
        unlink(at("api"));
        assert_int_equal(rmdir(at("vms")), 0);
        assert_int_equal(rmdir(bed.folder), 0);
        return 0;
}

static void spin_until(const unsigned *count) {
        while (!*count)
                assert_true(sd_event_run(bed.loop.event, 10000000) >= 0);
}

static void spin_ms(uint32_t ms) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(ms));

        while (!gw_mono_reached(gw_mono_now(), end))
                assert_true(sd_event_run(bed.loop.event, 1000) >= 0);
}

/* The n-th event that the authority is to hear of, from the end. */
static const json_t *told(size_t from_the_end, const char *event) {
        size_t n = json_array_size(bed.hv.outbox);
        const json_t *object = n >= from_the_end ? json_array_get(bed.hv.outbox, n - from_the_end) : NULL;
        const char *is = json_string_value(json_object_get(object, "event"));

        assert_non_null(is);
        assert_string_equal(is, event);
        return object;
}

static const char *reason(const json_t *event) {
        return json_string_value(json_object_get(event, "reason"));
}

/* ---- disks ---- */

/* Up to the stop; then its disks still have something to send. */
static void reach_the_cut(void) {
        bed.vm->record.move.disks = BOTH_DISKS;
        hv_source_migrate(bed.vm);
        spin_until(&bed.mirrors);
        assert_int_equal(bed.migrates, 0);
        hv_mirror_event(bed.vm, 0, GW_VM_MIRROR_READY, "");
        hv_mirror_event(bed.vm, 1, GW_VM_MIRROR_READY, "");
        assert_int_equal(bed.migrates, 1);
        hv_source_run(bed.vm, GW_VM_RUN_PAUSED, gw_wall_now());
        hv_source_copy(bed.vm, GW_VM_COPY_PRE_SWITCHOVER);
        assert_int_equal(bed.mirror_ends, 1);
}

/* The guest wrote faster than the link carries, and that was seen too late: it does not stand still for it. */
static void a_vm_whose_disks_are_late_after_its_stop_goes_on(void **state) {
        const json_t *failed;

        (void)state;
        reach_the_cut();
        hv_mirror_event(bed.vm, 0, GW_VM_MIRROR_ENDED, "");
        spin_until(&bed.cancels);
        assert_int_equal(bed.hung_up, 2); /* what is under way of the other, or cancelling would wait for it */
        hv_mirror_event(bed.vm, 1, GW_VM_MIRROR_ENDED, "");
        assert_int_equal(bed.proceeds, 0); /* too late is too late */
        hv_source_run(bed.vm, GW_VM_RUN_RUNNING, gw_wall_now());
        failed = told(1, "move-failed");
        assert_true(json_is_true(json_object_get(failed, "running")));
        assert_string_equal(reason(failed), "its disks were not sent within 30 ms after the VM's stop");
        assert_int_equal(bed.vm->record.role, HV_ROLE_SERVE);
        assert_int_equal(bed.vm->record.epoch, EPOCH_BACK); /* it was cut, and is taken back */
        assert_true(bed.vm->record.uncut_due);
}

static void a_vm_whose_disks_are_in_time_runs_there(void **state) {
        (void)state;
        reach_the_cut();
        hv_mirror_event(bed.vm, 0, GW_VM_MIRROR_ENDED, "");
        assert_int_equal(bed.proceeds, 0);
        hv_mirror_event(bed.vm, 1, GW_VM_MIRROR_ENDED, "");
        assert_int_equal(bed.proceeds, 1);
        spin_ms(2 * DISK_PAUSE_MS);
        assert_int_equal(bed.cancels, 0);
        assert_int_equal(bed.vm->leaving, HV_CUT);
}

/* The emulator is not asked to connect to it, since it would stand still for that. */
static void a_target_that_is_gone_is_not_connected_to(void **state) {
        (void)state;
        close(bed.target);
        bed.target = -1;
        bed.vm->record.move.disks = BOTH_DISKS;
        hv_source_migrate(bed.vm);
        while (bed.vm->record.role == HV_ROLE_SOURCE)
                assert_true(sd_event_run(bed.loop.event, 10000000) >= 0);
        assert_int_equal(bed.mirrors, 0);
        assert_non_null(strstr(reason(told(1, "move-failed")), "is not reached at 127.0.0.1"));
        assert_int_equal(bed.vm->record.epoch, EPOCH);
        assert_false(bed.vm->record.uncut_due);
}

/* ---- cold ---- */

static void order_cold_move(bool stay) {
        struct hv_record *r = &bed.vm->record;

        r->role = HV_ROLE_SOURCE;
        strcpy(r->move.id.s, "m1");
        r->move.options = (struct gw_copy_options){.cold = true, .stay = stay};
        r->state = stay ? HV_PAUSED : HV_RUNNING;
        hv_source_migrate(bed.vm);
        assert_int_equal(r->role, HV_ROLE_SERVE);
        assert_int_equal(r->epoch, EPOCH);
        assert_false(r->uncut_due);
        assert_true(json_is_true(json_object_get(told(1, "move-failed"), "running")));
}

/* Its guest was stopped for the move, and nobody else would let it go on. */
static void a_cold_move_that_fails_at_its_order_lets_the_vm_go_on(void **state) {
        (void)state;
        bed.refuses = true;
        order_cold_move(false);
        assert_true(bed.migrates == 1 && bed.stops == 1 && bed.conts == 1);
        assert_int_equal(bed.vm->record.state, HV_RUNNING);
        assert_string_equal(reason(told(1, "move-failed")), "it does not want to");
        assert_int_equal(rename(at("vms"), at("away")), 0); /* that it begins cannot be written down */
        order_cold_move(false);
        assert_int_equal(rename(at("away"), at("vms")), 0);
        assert_true(bed.migrates == 1 && bed.stops == 2 && bed.conts == 2);
        assert_int_equal(bed.vm->record.state, HV_RUNNING);
}

static void one_that_its_operator_suspended_stays_so(void **state) {
        (void)state;
        bed.refuses = true;
        order_cold_move(true);
        assert_true(bed.migrates == 1 && bed.stops == 0 && bed.conts == 0);
        assert_int_equal(bed.vm->record.state, HV_PAUSED);
}

/* ---- keys ---- */

/* Whoever breaks out of it later finds none. */
static void an_emulator_whose_move_came_to_nothing_forgets_the_key(void **state) {
        static const enum gw_vm_copy ends[] = {GW_VM_COPY_FAILED, GW_VM_COPY_CANCELLED};

        (void)state;
        for (unsigned i = 0; i < 2; i++) {
                bed.vm->record.role = HV_ROLE_SOURCE;
                strcpy(bed.vm->record.move.id.s, "m1");
                bed.vm->record.move.tls = true;
                bed.vm->record.move.options.multifd = 2; /* encrypts by itself */
                hv_source_migrate(bed.vm);
                assert_int_equal(bed.migrates, i + 1);
                assert_int_equal(bed.forgets, i);
                hv_source_copy(bed.vm, ends[i]);
                assert_int_equal(bed.vm->record.role, HV_ROLE_SERVE);
                assert_int_equal(bed.forgets, i + 1);
                bed.vm->record.move = (struct hv_move){.endpoint = bed.vm->record.move.endpoint};
        }
}

/* ---- after a restart of the agent ---- */

/* As it would be read again; the emulator runs the VM, and still tells how a copy ended. */
static void restarted(enum hv_begun begun, enum gw_vm_copy copy) {
        struct hv_record *r = &bed.vm->record;
        struct gw_error error = {0};
        struct hv_record again;
        json_t *object;

        r->move.begun = begun;
        object = hv_record_encode(r);
        assert_non_null(object);
        if (begun == HV_BEGUN_UNKNOWN)
                json_object_del(json_object_get(object, "move"), "begun");
        assert_int_equal(hv_record_decode(object, &again, &error), 0);
        assert_int_equal(again.move.begun, begun);
        hv_record_deinit(r);
        *r = again;
        json_decref(object);
        bed.status = (struct gw_vm_status){.run = GW_VM_RUN_RUNNING, .copy = copy};
        strcpy(bed.status.reason, "the reason of an earlier copy");
        hv_vm_events.ready(&machine, &bed.status, bed.vm);
}

static void the_order_to_copy_is_written_down_before(void **state) {
        (void)state;
        bed.vm->record.move.begun = HV_BEGUN_NOT;
        hv_source_migrate(bed.vm);
        assert_int_equal(bed.migrates, 1);
        assert_int_equal(bed.begun, HV_BEGUN_ASKED);
        assert_int_equal(bed.vm->record.move.begun, HV_BEGUN_TAKEN);
}

static void a_copy_that_had_not_begun_has_no_reason_of_an_earlier_one(void **state) {
        static const enum gw_vm_copy ends[] = {GW_VM_COPY_FAILED, GW_VM_COPY_CANCELLED, GW_VM_COPY_COMPLETED};

        (void)state;
        for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
                bed.vm->record.role = HV_ROLE_SOURCE;
                strcpy(bed.vm->record.move.id.s, "m2");
                restarted(HV_BEGUN_NOT, ends[i]);
                assert_string_equal(reason(told(1, "move-failed")), "the agent was restarted before the copy began");
                assert_int_equal(bed.vm->record.role, HV_ROLE_SERVE);
                assert_int_equal(bed.vm->record.epoch, EPOCH); /* nothing was cut */
        }
}

/* Nobody knows then whose end it is; the VM is taken back, since it may have been cut. */
static void a_copy_that_may_have_begun_has_none_either(void **state) {
        (void)state;
        restarted(HV_BEGUN_ASKED, GW_VM_COPY_FAILED);
        assert_string_equal(reason(told(1, "move-failed")), "contact with the emulator was lost as the copy began");
        assert_int_equal(bed.vm->record.epoch, EPOCH_BACK);
}

static void a_copy_that_had_begun_has_its_own(void **state) {
        (void)state;
        restarted(HV_BEGUN_TAKEN, GW_VM_COPY_FAILED);
        assert_string_equal(reason(told(1, "move-failed")), bed.status.reason);
        assert_int_equal(bed.vm->record.epoch, EPOCH_BACK);
}

static void a_record_of_an_older_agent_is_taken_back(void **state) {
        (void)state;
        restarted(HV_BEGUN_UNKNOWN, GW_VM_COPY_FAILED);
        assert_string_equal(reason(told(1, "move-failed")), bed.status.reason);
        assert_int_equal(bed.vm->record.epoch, EPOCH_BACK);
}

/* ---- post-copy ---- */

static void post_copy_begins_with_the_second_pass(void **state) {
        (void)state;
        bed.vm->record.move.options.post_copy = true;
        hv_source_migrate(bed.vm);
        hv_vm_events.pass(&machine, 1, bed.vm);
        assert_int_equal(bed.post_copies, 0);
        hv_vm_events.pass(&machine, 2, bed.vm);
        assert_int_equal(bed.post_copies, 1);
}

/* The emulator says that it has everything before, or after, it says that it runs; the authority hears it last. */
static void a_target_that_has_everything_says_so(void **state) {
        (void)state;
        for (int completed_first = 0; completed_first < 2; completed_first++) {
                bed.vm->record.role = HV_ROLE_TARGET;
                bed.vm->record.state = HV_INCOMING;
                bed.vm->record.move.options.post_copy = true;
                json_array_clear(bed.hv.outbox);
                if (completed_first)
                        hv_vm_events.copy(&machine, GW_VM_COPY_COMPLETED, gw_wall_now(), bed.vm);
                assert_int_equal(json_array_size(bed.hv.outbox), 0);
                hv_vm_events.run(&machine, GW_VM_RUN_RUNNING, gw_wall_now(), bed.vm);
                if (!completed_first) {
                        told(1, "move-running");
                        hv_vm_events.copy(&machine, GW_VM_COPY_COMPLETED, gw_wall_now(), bed.vm);
                }
                told(1, "move-landed");
                told(2, "move-running");
                assert_int_equal(json_array_size(bed.hv.outbox), 2);
        }
}

/* ---- found after a restart ---- */

/* Takes over what was written down of another VM, with so few descriptors that this many are left. */
static void adopt_with_descriptors(struct hv_record record, rlim_t left, int expected) {
        int lowest = dup(0);
        struct rlimit before, few;
        struct hv_vm *vm;

        assert_true(lowest > 0); /* all below are in use */
        close(lowest);
        strcpy(record.id.s, "other@default");
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
        few = before;
        few.rlim_cur = (rlim_t)lowest + left;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        assert_int_equal(hv_vm_adopt(&bed.hv, &record), expected);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        vm = gw_list_entry(bed.hv.vms.prev, struct hv_vm, link);
        assert_string_equal(vm->record.id.s, "other@default");
        assert_int_equal(vm->record.state, record.state);
        assert_false(vm->forget);
        assert_int_equal(json_array_size(bed.hv.outbox), 0);
        hv_vm_free(vm);
}

/* The emulator lives, and may run by now. Whoever can hold it and not look who it is does not know that either. */
static void an_emulator_that_cannot_be_watched_is_not_given_up(void **state) {
        struct hv_record record = {.role = HV_ROLE_TARGET, .state = HV_INCOMING, .epoch = EPOCH_TO};

        (void)state;
        record.process.pid = getpid();
        record.process.start_time = gw_process_start_time(getpid());
        for (rlim_t left = 0; left < 2; left++)
                adopt_with_descriptors(record, left, -EMFILE);
}

/* It may have an emulator, which nobody wrote down. */
static void a_start_that_cannot_be_undone_is_not_given_up(void **state) {
        struct hv_record record = {.role = HV_ROLE_SERVE, .state = HV_STARTING, .epoch = EPOCH_TO};

        (void)state;
        for (rlim_t left = 0; left < 2; left++)
                adopt_with_descriptors(record, left, -EMFILE);
}

/* Asks the agent over its socket. */
static int ask(const char *method, const char *path, const char *body) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char text[400];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), n;

        snprintf(address.sun_path, sizeof address.sun_path, "%s", at("api"));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        n = snprintf(text, sizeof text,
                     "%s %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
                     "%zu\r\n\r\n%s",
                     method, path, strlen(body), body);
        assert_int_equal(write(fd, text, (size_t)n), n);
        return fd;
}

/* ... until it says that. */
static void is_told(int fd, const char *what) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(10000));
        char text[4096] = "";
        size_t n = 0;

        while (!strstr(text, what) && !gw_mono_reached(gw_mono_now(), end)) {
                ssize_t more = recv(fd, text + n, sizeof text - 1 - n, MSG_DONTWAIT);

                assert_true(more != 0);
                n += more > 0 ? (size_t)more : 0;
                text[n] = 0;
                assert_true(sd_event_run(bed.loop.event, 1000) >= 0);
        }
        assert_non_null(strstr(text, what));
}

/* As a restarted agent finds it: its emulator has said nothing. past: nor within the time that the inventory waits. */
static void is_silent(enum hv_role role, enum hv_state state, bool past) {
        bed.vm->unsettled = true;
        bed.vm->record.role = role;
        bed.vm->record.state = state;
        bed.hv.unsettled = past ? 0 : 1;
}

/* The authority has been told that it runs. */
static void a_silent_emulator_that_ends_is_told_of(void **state) {
        int events = ask("GET", "/v1/events", "");

        (void)state;
        is_told(events, "200 OK");
        is_silent(HV_ROLE_SERVE, HV_RUNNING, true);
        hv_vm_events.exited(&machine, false, "killed by signal 9", bed.vm);
        is_told(events, "its emulator ended while the agent was away");
        assert_int_equal(bed.vm->record.state, HV_CRASHED);
        close(events);
}

static void a_silent_emulator_can_be_ended_after_its_time(void **state) {
        static const char *const orders[][3] = {
                {"DELETE", "/v1/vms/web@default", ""},
                {"POST", "/v1/vms/web@default/stop", "{\"force\": true}"},
                {"POST", "/v1/vms/web@default/abandon", "{\"move\": \"m1\", \"fence\": true}"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
                bool arrives = i == 2;
                int fd;

                is_silent(arrives ? HV_ROLE_TARGET : HV_ROLE_SERVE, arrives ? HV_INCOMING : HV_RUNNING, false);
                bed.vm->record.move.created = BOTH_DISKS;
                bed.vm->forget = false;
                bed.kills = 0;
                fd = ask(orders[i][0], orders[i][1], orders[i][2]);
                is_told(fd, "what it does is not known yet");
                close(fd);
                assert_int_equal(bed.kills, 0);
                is_silent(bed.vm->record.role, bed.vm->record.state, true);
                fd = ask(orders[i][0], orders[i][1], orders[i][2]);
                spin_until(&bed.kills);
                close(fd);
                assert_int_equal(bed.vm->record.move.created, 0); /* it may have run with them */
                hv_vm_answer(bed.vm, HV_WAIT_END, 200, NULL);
        }
        is_silent(HV_ROLE_TARGET, HV_INCOMING, true);
        is_told(ask("POST", "/v1/vms/web@default/abandon", "{\"move\": \"m1\"}"), "what it does is not known yet");
}

/* Its emulator had ended by itself meanwhile: the images are as old as if it had not. */
static void a_source_that_goes_already_takes_its_images_along(void **state) {
        int fd;

        (void)state;
        bed.vm->forget = true;
        fd = ask("POST", "/v1/vms/web@default/finish", "{\"move\": \"m1\", \"keep_disks\": true}");
        while (!bed.vm->waiting[HV_WAIT_END])
                assert_true(sd_event_run(bed.loop.event, 1000) >= 0);
        assert_true(bed.vm->drop_images && bed.vm->record.move.keep_disks);
        close(fd);
}

/* ---- the agent's start ---- */

/* Whoever answers for users has gone since the configuration was checked: nothing is started as root instead. */
static void a_user_that_is_not_found_ends_the_agent(void **state) {
        struct hv_config config = bed.config;
        struct hv hv;

        (void)state;
        strcpy(config.qemu_user, "no-such-user-here");
        assert_int_equal(hv_init(&hv, &bed.loop, &config), GW_E_INVALID);
        hv_deinit(&hv);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(a_vm_whose_disks_are_late_after_its_stop_goes_on),
                TEST(a_vm_whose_disks_are_in_time_runs_there),
                TEST(a_target_that_is_gone_is_not_connected_to),
                TEST(a_cold_move_that_fails_at_its_order_lets_the_vm_go_on),
                TEST(one_that_its_operator_suspended_stays_so),
                TEST(an_emulator_whose_move_came_to_nothing_forgets_the_key),
                TEST(the_order_to_copy_is_written_down_before),
                TEST(a_copy_that_had_not_begun_has_no_reason_of_an_earlier_one),
                TEST(a_copy_that_may_have_begun_has_none_either),
                TEST(a_copy_that_had_begun_has_its_own),
                TEST(a_record_of_an_older_agent_is_taken_back),
                TEST(post_copy_begins_with_the_second_pass),
                TEST(a_target_that_has_everything_says_so),
                TEST(an_emulator_that_cannot_be_watched_is_not_given_up),
                TEST(a_silent_emulator_that_ends_is_told_of),
                TEST(a_silent_emulator_can_be_ended_after_its_time),
                TEST(a_source_that_goes_already_takes_its_images_along),
                TEST(a_user_that_is_not_found_ends_the_agent),
                TEST(a_start_that_cannot_be_undone_is_not_given_up),
        };

        return cmocka_run_group_tests_name("hv_leave", tests, NULL, NULL);
}
