/* SPDX-License-Identifier: Apache-2.0 */
/* Files of VMs: images of those that arrive, which are made, taken away, written down when; what a guest can fill. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "hv/hv.h"
#include "hv/images.h"
#include "hypervisor/argv.h"
#include "io/file.h"
#include "io/http.h"
#include "io/session.h"

enum { OCTETS = 1 << 20 };

static const char DEFINITION[] = "{\"name\": \"web\", \"disks\": [{\"path\": \"one.img\"}, {\"path\": \"two.img\"}]}";

struct bed {
        struct gw_loop loop;
        struct hv_config config;
        struct hv hv;
        struct hv_vm *vm;
        char folder[64], error[256];
        bool made;
};
static struct bed bed;

static const char *at(const char *name) {
        static char path[2][160];
        static int turn;

        turn = !turn;
        snprintf(path[turn], sizeof path[turn], "%s/%s", bed.folder, name);
        return path[turn];
}

static void vm_new(void) {
        struct gw_error error = {0};
        struct hv_record *r;

        bed.vm = hv_vm_new(&bed.hv);
        assert_non_null(bed.vm);
        r = &bed.vm->record;
        r->definition_json = json_loads(DEFINITION, 0, NULL);
        assert_int_equal(gw_definition_parse(r->definition_json, &r->definition, &error), 0);
        r->id = r->definition.id;
        r->role = HV_ROLE_TARGET;
        r->state = HV_STARTING;
        r->epoch = 7;
        strcpy(r->move.id.s, "m1");
        assert_int_equal(gw_ip_parse("10.99.0.2", &r->move.peer), 0);
        r->move.disks = 3;
        bed.vm->image_octets[0] = bed.vm->image_octets[1] = OCTETS;
}

static int setup(void **state) {
        static const struct gw_session_ops none = {0};

        (void)state;
        bed = (struct bed){.folder = "/tmp/hv-disks-XXXXXX"};
        assert_non_null(mkdtemp(bed.folder));
        assert_int_equal(mkdir(at("vms"), 0700), 0);
        assert_int_equal(gw_loop_init(&bed.loop), 0);
        snprintf(bed.config.common.state_dir, sizeof bed.config.common.state_dir, "%s", bed.folder);
        snprintf(bed.config.disk_dir, sizeof bed.config.disk_dir, "%s", bed.folder);
        bed.hv = (struct hv){
                .config = &bed.config, .loop = &bed.loop, .outbox = json_array(), .api = {hv_routes, &bed.hv}};
        gw_list_init(&bed.hv.vms);
        gw_list_init(&bed.hv.cells);
        assert_int_equal(gw_http_new_unix(&bed.hv.http, &bed.loop, at("api"), &bed.hv.api), 0);
        assert_int_equal(gw_session_dial_unix(&bed.hv.nve, &bed.loop, at("nobody"), &none, NULL, &bed.hv), 0);
        vm_new();
        return 0;
}

static int teardown(void **state) {
        static const char *const files[] = {"one.img", "two.img", "vms/web@default.json", "api"};

        (void)state;
        hv_vm_free(bed.vm);
        gw_session_free(bed.hv.nve);
        hv_edge_deinit(&bed.hv);
        gw_http_free(bed.hv.http);
        json_decref(bed.hv.outbox);
        gw_loop_deinit(&bed.loop);
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
                unlink(at(files[i]));
        assert_int_equal(rmdir(at("vms")), 0);
        assert_int_equal(rmdir(bed.folder), 0);
        return 0;
}

static void on_made(struct hv_vm *vm, const struct gw_error *error) {
        (void)vm;
        bed.made = true;
        snprintf(bed.error, sizeof bed.error, "%s", error ? error->text : "");
}

static bool is_there(const char *name) {
        return access(at(name), F_OK) == 0;
}

/* What an agent that starts now would find. */
static struct hv_record on_disk(void) {
        struct hv_record found = {0};
        struct gw_error error = {0};
        json_t *object = NULL;

        assert_int_equal(gw_file_read_json(at("vms/web@default.json"), 1 << 16, &object, &error), 0);
        assert_int_equal(hv_record_decode(object, &found, &error), 0);
        json_decref(object);
        hv_record_deinit(&found); /* the definition; the rest is values */
        return found;
}

static void images_are_made_and_taken_away(void **state) {
        struct stat one;

        (void)state;
        hv_images_make(bed.vm, on_made);
        assert_true(bed.made);
        assert_string_equal(bed.error, "");
        assert_int_equal(stat(at("one.img"), &one), 0);
        assert_int_equal(one.st_size, OCTETS);
        assert_int_equal(on_disk().move.created, 3);
        hv_images_drop(bed.vm);
        assert_false(is_there("one.img") || is_there("two.img"));
}

/* A post-copy's target ran with them: whoever ends it ends a VM that has no other place, and no other images. */
static void images_of_a_post_copy_that_ran_stay(void **state) {
        (void)state;
        hv_images_make(bed.vm, on_made);
        bed.vm->record.role = HV_ROLE_SERVE;
        bed.vm->record.move.options.post_copy = true;
        hv_images_drop(bed.vm);
        assert_true(is_there("one.img") && is_there("two.img"));
}

/* It was not there when the move was planned: another VM's, which came meanwhile. */
static void a_file_of_others_is_left_alone(void **state) {
        char content[8] = "";
        FILE *f = fopen(at("two.img"), "w");

        (void)state;
        assert_non_null(f);
        fputs("mine", f);
        fclose(f);
        hv_images_make(bed.vm, on_made);
        assert_true(bed.made);
        assert_non_null(strstr(bed.error, "disk 1"));
        assert_int_equal(on_disk().move.created, 1);
        hv_images_drop(bed.vm);
        assert_false(is_there("one.img"));
        f = fopen(at("two.img"), "r");
        assert_non_null(f);
        assert_non_null(fgets(content, sizeof content, f));
        fclose(f);
        assert_string_equal(content, "mine");
}

/* Once the authority hears that the VM runs here, the source's images go: an agent that starts anew must not take these for
 * those of a move that came to nothing. */
static void images_are_kept_before_anybody_hears(void **state) {
        (void)state;
        hv_images_make(bed.vm, on_made);
        bed.vm->record.state = HV_INCOMING;
        assert_int_equal(hv_vm_write(bed.vm), 0);
        assert_int_equal(on_disk().role, HV_ROLE_TARGET);
        hv_target_run(bed.vm, GW_VM_RUN_RUNNING, (struct gw_wall){0});
        assert_int_equal(json_array_size(bed.hv.outbox), 0); /* the edge is told at once, which waits for no disk */
        assert_int_equal(hv_vm_write(bed.vm), 0);
        assert_string_equal(json_string_value(json_object_get(json_array_get(bed.hv.outbox, 0), "event")),
                            "move-running");
        assert_int_equal(on_disk().role, HV_ROLE_SERVE);
        assert_true(is_there("one.img") && is_there("two.img"));
}

static void write_to(const char *name, const char *words) {
        FILE *f = fopen(at(name), "w");

        assert_non_null(f);
        fputs(words, f);
        fclose(f);
}

static bool reads(const char *name, const char *words) {
        char content[16] = "";
        FILE *f = fopen(at(name), "r");
        bool same = f && fgets(content, sizeof content, f) && strcmp(content, words) == 0;

        if (f)
                fclose(f);
        return same;
}

/* One that was put aside before is its operator's to remove, and may be all that is left of what it holds. */
static void an_image_put_aside_replaces_no_other(void **state) {
        (void)state;
        bed.vm->record.role = HV_ROLE_SOURCE;
        bed.vm->record.move.keep_disks = true;
        write_to("one.img", "new");
        write_to("one.img.moved", "old");
        write_to("two.img", "two");
        hv_images_left(bed.vm);
        assert_true(reads("one.img", "new") && reads("one.img.moved", "old"));
        assert_true(reads("two.img.moved", "two") && !is_there("two.img"));
        assert_true(unlink(at("one.img.moved")) == 0 && unlink(at("two.img.moved")) == 0);
}

/* It would go on in a file that has no name any more, and take its room. */
static void what_makes_an_image_ends_before_it_is_taken_away(void **state) {
        struct gw_process *maker = &bed.vm->maker;

        (void)state;
        strcpy(bed.config.qemu_img, at("maker"));
        write_to("maker", "#!/bin/sh\nexec sleep 60\n");
        assert_int_equal(chmod(at("maker"), 0700), 0);
        strcpy(bed.vm->record.definition.disks[0].format, "qcow2");
        hv_images_make(bed.vm, on_made);
        assert_false(bed.made);
        assert_true(maker->pid > 0 && kill(maker->pid, 0) == 0);
        hv_vm_remove(bed.vm);
        assert_int_equal(kill(maker->pid, 0), -1);
        assert_true(is_there("one.img"));
        unlink(at("maker"));
        unlink(at("vm/web@default/image.log"));
        assert_true(rmdir(at("vm/web@default")) == 0 && rmdir(at("vm")) == 0);
}

/* Its folder may be others', who can guess the name of the marker: the agent would wait for a reader. */
static void a_marker_that_is_no_file_is_refused(void **state) {
        struct gw_error error = {0};

        (void)state;
        close(creat(at("one.img"), 0600));
        assert_int_equal(mkfifo(at(".godwit--web@default-0-0"), 0600), 0);
        alarm(20);
        assert_null(hv_images_survey(bed.vm, &error));
        alarm(0);
        assert_non_null(strstr(error.text, ".godwit--web@default-0-0"));
        assert_int_equal(access(at(".godwit--web@default-0-0"), F_OK), -1);
}

/* A device may do something when it is opened: here a FIFO, whose opening can be seen. */
static void what_is_no_image_is_not_opened(void **state) {
        struct gw_error error = {0};
        struct hv_image image;
        char event[256];
        int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

        (void)state;
        assert_int_equal(mkfifo(at("two.img"), 0600), 0);
        assert_int_equal(symlink("two.img", at("one.img")), 0);
        assert_true(watch >= 0 && inotify_add_watch(watch, at("two.img"), IN_OPEN) > 0);
        assert_int_equal(hv_image_look(&bed.hv, &bed.vm->record.definition.disks[0], &image, &error), GW_E_INVALID);
        assert_non_null(strstr(error.text, "one.img is not a regular file"));
        assert_int_equal(hv_images_changed(bed.vm, &error), 0);
        assert_int_equal(read(watch, event, sizeof event), -1);
        close(watch);
        assert_int_equal(unlink(at("one.img")), 0);
        assert_int_equal(unlink(at("two.img")), 0);
        close(creat(at("two.img"), 0600));
        assert_int_equal(symlink("two.img", at("one.img")), 0); /* a link to an image is one */
        assert_int_equal(truncate(at("two.img"), OCTETS), 0);
        strcpy(bed.vm->record.definition.disks[0].format, "raw");
        assert_int_equal(hv_image_look(&bed.hv, &bed.vm->record.definition.disks[0], &image, &error), 0);
        assert_int_equal(image.virtual_octets, OCTETS);
}

/* A guest chooses how much its console says, and how often it makes its emulator complain. */
static void what_a_guest_can_fill_is_bounded(void **state) {
        static const char *const names[] = {"vm/web@default/" GW_QEMU_CONSOLE_FILE, "vm/web@default/" GW_QEMU_LOG_FILE};
        struct stat file;

        (void)state;
        assert_true(mkdir(at("vm"), 0700) == 0 && mkdir(at("vm/web@default"), 0700) == 0);
        for (size_t i = 0; i < 2; i++) {
                FILE *f = fopen(at(names[i]), "w");

                assert_non_null(f);
                assert_int_equal(ftruncate(fileno(f), 5 << 20), 0);
                fclose(f);
        }
        hv_consoles_trim(&bed.hv);
        for (size_t i = 0; i < 2; i++) {
                assert_int_equal(stat(at(names[i]), &file), 0);
                assert_int_equal(file.st_size, 0);
                unlink(at(names[i]));
        }
        assert_true(rmdir(at("vm/web@default")) == 0 && rmdir(at("vm")) == 0);
}

/* ---- emulators with a user of their own ---- */

static void for_nobody(void) {
        bed.hv.user = (struct gw_user){.uid = 59401, .gid = 59402, .name = "nobodys"};
        bed.vm->record.uid = bed.hv.user.uid;
        assert_int_equal(chmod(bed.folder, 0711), 0);
}

/* Nobody writes to a FIFO: whoever opens it as one opens files waits for good. */
static void what_is_no_file_is_refused(void **state) {
        struct gw_error error = {0};

        (void)state;
        if (geteuid() != 0)
                skip();
        for_nobody();
        snprintf(bed.vm->record.definition.kernel, sizeof bed.vm->record.definition.kernel, "%s", at("one.img"));
        assert_int_equal(mkfifo(at("one.img"), 0600), 0);
        assert_int_equal(chown(at("one.img"), bed.hv.user.uid, bed.hv.user.gid), 0);
        alarm(20);
        assert_int_equal(hv_user_check(bed.vm, &error), GW_E_INVALID);
        alarm(0);
        assert_string_equal(error.field, "kernel");
        assert_non_null(strstr(error.text, "one.img is not a regular file"));
        assert_int_equal(hv_user_look(&bed.hv, at("one.img"), &error), GW_E_INVALID);
        assert_non_null(strstr(error.text, "one.img is not a regular file"));
}

/* Nothing would keep it from others of that user. */
static void qemu_does_not_run_without_what_keeps_it_apart(void **state) {
        struct gw_error error = {0};

        (void)state;
        if (geteuid() != 0)
                skip();
        for_nobody();
        assert_int_equal(hv_user_check(bed.vm, &error), GW_E_CONFLICT);
        assert_non_null(strstr(error.text, "nobodys"));
        assert_non_null(strstr(error.text, "godwit-tapgate.so"));
        fclose(fopen(at("two.img"), "w"));
        snprintf(bed.hv.tap_gate, sizeof bed.hv.tap_gate, "%s", at("two.img"));
        assert_int_equal(chmod(at("two.img"), 0600), 0); /* not for that user */
        assert_int_equal(hv_user_check(bed.vm, &error), GW_E_CONFLICT);
        assert_int_equal(chmod(at("two.img"), 0644), 0);
        assert_int_equal(hv_user_check(bed.vm, &error), 0);
        bed.hv.tap_gate[0] = '\0';
        strcpy(bed.vm->record.definition.emulator, "/usr/bin/another");
        assert_int_equal(hv_user_check(bed.vm, &error), 0);
}

/* The host went down while an emulator read it; the next one must not find it. */
static void a_key_that_was_lent_is_taken_back_after_a_power_failure(void **state) {
        struct hv_record record = bed.vm->record;

        (void)state;
        record.definition_json = json_incref(record.definition_json);
        record.role = HV_ROLE_SERVE;
        record.state = HV_RUNNING;
        record.uid = 59401;
        strcpy(record.boot, "an earlier one");
        assert_true(mkdir(at("vm"), 0700) == 0 && mkdir(at("vm/web@default"), 0700) == 0);
        assert_int_equal(mkdir(at("vm/web@default/tls"), 0700), 0);
        fclose(fopen(at("vm/web@default/tls/server-key.pem"), "w"));
        hv_vm_free(bed.vm);
        hv_vm_adopt(&bed.hv, &record);
        bed.vm = hv_find(&bed.hv, "web@default");
        assert_non_null(bed.vm);
        assert_int_equal(bed.vm->record.state, HV_CRASHED);
        assert_false(is_there("vm/web@default/tls/server-key.pem"));
        assert_int_equal(rmdir(at("vm/web@default/tls")), 0);
        assert_true(rmdir(at("vm/web@default")) == 0 && rmdir(at("vm")) == 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(images_are_made_and_taken_away),
                TEST(images_of_a_post_copy_that_ran_stay),
                TEST(a_file_of_others_is_left_alone),
                TEST(images_are_kept_before_anybody_hears),
                TEST(an_image_put_aside_replaces_no_other),
                TEST(what_makes_an_image_ends_before_it_is_taken_away),
                TEST(a_marker_that_is_no_file_is_refused),
                TEST(what_is_no_image_is_not_opened),
                TEST(what_a_guest_can_fill_is_bounded),
                TEST(what_is_no_file_is_refused),
                TEST(qemu_does_not_run_without_what_keeps_it_apart),
                TEST(a_key_that_was_lent_is_taken_back_after_a_power_failure),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
