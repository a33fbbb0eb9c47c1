/* SPDX-License-Identifier: Apache-2.0 */
/* How a copy is made: the options and modes that people name, and the commands that QEMU is given for them, in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "hypervisor/driver.h"
#include "hypervisor/options.h"
#include "hypervisor/steps.h"
#include "io/api.h"

/* ---- options ---- */

static int read_options(const char *text, struct gw_copy_options *out, struct gw_error *error) {
        json_t *object = json_loads(text, 0, NULL);
        struct gw_json_reader r = gw_json_reader(object, error);

        assert_non_null(object);
        *error = (struct gw_error){0};
        gw_copy_options_read(&r, out);
        gw_json_done(&r);
        json_decref(object);
        return error->code;
}

static void options_survive_their_encoding(void **state) {
        static const char *const texts[] = {
                "{}",
                "{\"cold\": true}",
                "{\"cold\": true, \"stay\": true}",
                "{\"post_copy\": true, \"xbzrle\": true, \"auto_converge\": true}",
                "{\"multifd\": 16}",
        };

        (void)state;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                struct gw_copy_options options = {0};
                struct gw_error error;
                json_t *given = json_loads(texts[i], 0, NULL), *again;

                assert_int_equal(read_options(texts[i], &options, &error), 0);
                again = gw_copy_options_encode(&options);
                assert_true(json_equal(given, again));
                json_decref(given);
                json_decref(again);
        }
}

static void options_that_do_not_go_together_are_named(void **state) {
        static const struct {
                const char *text, *field;
        } cases[] = {
                {"{\"multifd\": 2, \"xbzrle\": true}", "multifd"},
                {"{\"multifd\": 2, \"post_copy\": true}", "multifd"},
                {"{\"cold\": true, \"post_copy\": true}", "cold"},
                {"{\"stay\": true}", "stay"},
                {"{\"multifd\": 17}", "multifd"},
                {"{\"xbzrle\": 1}", "xbzrle"},
                {"{\"post_copy\": true, \"stay\": true}", "stay"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct gw_copy_options options = {.xbzrle = true, .multifd = 3};
                struct gw_error error;

                assert_int_not_equal(read_options(cases[i].text, &options, &error), 0);
                assert_string_equal(error.field, cases[i].field);
                assert_true(options.xbzrle && options.multifd == 3); /* untouched */
        }
}

static void modes_are_words(void **state) {
        char text[64];
        json_t *list;

        (void)state;
        assert_int_equal(gw_modes_parse("hot post-copy cold"), GW_MODE_ALL);
        assert_int_equal(gw_modes_parse("  cold "), GW_MODE_COLD);
        assert_int_equal(gw_modes_parse("cold cold hot"), GW_MODE_COLD | GW_MODE_HOT);
        assert_int_equal(gw_modes_parse(""), 0);
        assert_int_equal(gw_modes_parse("cold warm"), 0);
        assert_int_equal(gw_modes_parse("col"), 0);
        assert_int_equal(gw_modes_parse("colder"), 0);
        assert_string_equal(gw_modes_text(GW_MODE_HOT | GW_MODE_COLD, text), "hot, cold");
        assert_string_equal(gw_modes_text(0, text), "none");
        for (unsigned modes = 0; modes <= GW_MODE_ALL; modes++) {
                list = gw_modes_json(modes);
                assert_int_equal(gw_modes_read(list), modes);
                json_decref(list);
        }
        /* An older agent says nothing: it knows them all. A later one may say more than we know. */
        assert_int_equal(gw_modes_read(NULL), GW_MODE_ALL);
        list = json_pack("[s, s, i]", "cold", "by-post", 7);
        assert_int_equal(gw_modes_read(list), GW_MODE_COLD);
        json_decref(list);
}

/* ---- steps ---- */

static int find(json_t *steps, const char *command, int from) {
        for (size_t i = (size_t)from; i < json_array_size(steps); i++)
                if (!strcmp(json_string_value(json_object_get(json_array_get(steps, i), "execute")), command))
                        return (int)i;
        return -1;
}

static json_t *arguments(json_t *steps, int at) {
        assert_true(at >= 0);
        return json_object_get(json_array_get(steps, (size_t)at), "arguments");
}

static bool may_fail(json_t *steps, int at) {
        assert_true(at >= 0);
        return json_is_true(json_object_get(json_array_get(steps, (size_t)at), "may_fail"));
}

static const char *text(const json_t *object, const char *key) {
        const char *value = json_string_value(json_object_get(object, key));

        assert_non_null(value);
        return value;
}

static bool capability(json_t *steps, const char *name) {
        json_t *list = json_object_get(arguments(steps, find(steps, "migrate-set-capabilities", 0)), "capabilities"),
               *one;
        size_t i;

        json_array_foreach (list, i, one)
                if (!strcmp(text(one, "capability"), name))
                        return json_is_true(json_object_get(one, "state"));
        fail_msg("capability %s is neither set nor unset", name);
        return false;
}

static const struct gw_vm_security secure = {.tls_dir = "/pki", .peer = "h2"};

static void a_copy_in_the_clear_leaves(void **state) {
        struct gw_vm_migration to = {.uri = "tcp:10.0.0.2:49152", .downtime_ms = 50};
        json_t *steps = gw_qemu_migrate_steps(&to), *p;

        (void)state;
        /* What an earlier copy may have left is unset. */
        assert_true(may_fail(steps, find(steps, "object-del", 0)));
        assert_int_equal(find(steps, "object-add", 0), -1);
        p = arguments(steps, find(steps, "migrate-set-parameters", 0));
        assert_string_equal(text(p, "tls-creds"), "");
        assert_string_equal(text(p, "tls-hostname"), "");
        assert_int_equal(json_integer_value(json_object_get(p, "downtime-limit")), 50);
        assert_int_equal(json_integer_value(json_object_get(p, "max-bandwidth")), 0);
        assert_true(capability(steps, "pause-before-switchover") && capability(steps, "events"));
        assert_false(capability(steps, "xbzrle") || capability(steps, "multifd") || capability(steps, "postcopy-ram") ||
                     capability(steps, "auto-converge"));
        /* The copy is the last thing asked for. */
        assert_int_equal(find(steps, "migrate", 0), json_array_size(steps) - 1);
        assert_string_equal(text(arguments(steps, find(steps, "migrate", 0)), "uri"), to.uri);
        json_decref(steps);
}

static void a_copy_over_tls_names_its_peer(void **state) {
        struct gw_vm_migration to = {.uri = "tcp:[fd99::2]:49152",
                                     .bandwidth_octets_s = 60 << 20,
                                     .security = secure,
                                     .options = {.multifd = 4}};
        struct gw_vm_landing landing = {.uri = "tcp:[fd99::2]:49152", .security = secure, .options = {.multifd = 4}};
        json_t *steps = gw_qemu_migrate_steps(&to), *p;

        (void)state;
        p = arguments(steps, find(steps, "migrate-set-parameters", 0));
        assert_string_equal(text(p, "tls-hostname"), "h2");
        assert_int_equal(json_integer_value(json_object_get(p, "multifd-channels")), 4);
        assert_int_equal(json_integer_value(json_object_get(p, "max-bandwidth")), 60 << 20);
        assert_true(capability(steps, "multifd"));
        assert_string_equal(text(arguments(steps, find(steps, "object-add", 0)), "endpoint"), "client");
        assert_true(find(steps, "object-add", 0) < find(steps, "migrate-set-parameters", 0));
        json_decref(steps);

        steps = gw_qemu_landing_steps(&landing);
        assert_string_equal(text(arguments(steps, find(steps, "object-add", 0)), "endpoint"), "server");
        p = arguments(steps, find(steps, "object-add", find(steps, "object-add", 0) + 1));
        assert_string_equal(text(p, "qom-type"), "authz-list");
        assert_string_equal(text(p, "policy"), "deny");
        assert_string_equal(text(json_array_get(json_object_get(p, "rules"), 0), "match"), "CN=h2");
        p = arguments(steps, find(steps, "migrate-set-parameters", find(steps, "migrate-set-parameters", 0) + 1));
        assert_string_equal(text(p, "tls-authz"), "authz0");
        assert_int_equal(find(steps, "migrate-incoming", 0), json_array_size(steps) - 1);
        json_decref(steps);
}

static void disks_are_served_before_memory_is_listened_for(void **state) {
        struct gw_vm_landing landing = {.uri = "tcp:10.0.0.2:49152", .disks = 5, .nbd.port = 49153, .security = secure};
        json_t *steps, *server;
        int at;

        (void)state;
        gw_ip_parse("10.0.0.2", &landing.nbd.ip);
        steps = gw_qemu_landing_steps(&landing);
        at = find(steps, "nbd-server-start", 0);
        server = arguments(steps, at);
        assert_string_equal(text(json_object_get(json_object_get(server, "addr"), "data"), "port"), "49153");
        assert_string_equal(text(server, "tls-authz"), "authz0");
        at = find(steps, "block-export-add", at);
        assert_string_equal(text(arguments(steps, at), "node-name"), "disk0");
        at = find(steps, "block-export-add", at + 1);
        assert_string_equal(text(arguments(steps, at), "node-name"), "disk2");
        assert_int_equal(find(steps, "block-export-add", at + 1), -1);
        assert_true(at < find(steps, "migrate-incoming", 0));
        json_decref(steps);
}

static void mirrors_follow_and_use_the_same_certificates(void **state) {
        struct gw_vm_mirror mirror = {.disks = 6, .to.port = 49153, .bandwidth_octets_s = 1 << 20, .security = secure};
        struct gw_vm_migration to = {.uri = "tcp:10.0.0.2:49152", .disks = 6, .security = secure};
        json_t *steps, *job;
        int at;

        (void)state;
        gw_ip_parse("10.0.0.2", &mirror.to.ip);
        steps = gw_qemu_mirror_steps(&mirror);
        at = find(steps, "blockdev-mirror", 0);
        job = arguments(steps, at);
        assert_string_equal(text(job, "device"), "disk1");
        assert_string_equal(text(job, "copy-mode"), "background");
        assert_string_equal(text(job, "sync"), "full");
        assert_int_equal(json_integer_value(json_object_get(job, "speed")), 1 << 20);
        assert_string_equal(text(arguments(steps, find(steps, "blockdev-add", 0)), "tls-hostname"), "h2");
        assert_int_equal(find(steps, "blockdev-mirror", find(steps, "blockdev-mirror", at + 1) + 1), -1);
        json_decref(steps);

        /* While mirrors use the credentials they are not made anew. */
        steps = gw_qemu_migrate_steps(&to);
        assert_int_equal(find(steps, "object-del", 0), -1);
        assert_int_equal(find(steps, "object-add", 0), -1);
        json_decref(steps);
}

static void mirrors_end_in_step_or_by_force(void **state) {
        (void)state;
        for (int force = 0; force < 2; force++) {
                json_t *steps = gw_qemu_mirror_end_steps(9, force);

                int first = find(steps, "block-job-cancel", 0), second = find(steps, "block-job-cancel", first + 1);

                assert_string_equal(text(arguments(steps, first), "device"), "mirror0");
                assert_string_equal(text(arguments(steps, second), "device"), "mirror3");
                assert_int_equal(json_is_true(json_object_get(arguments(steps, first), "force")), force);
                assert_int_equal(may_fail(steps, first), force); /* without force one that is not there is a failure */
                /* The VM waits for what is left: that is sent without a limit. */
                assert_int_equal(find(steps, "block-job-set-speed", 0), force ? -1 : first - 1);
                /* By force: nobody waits for an answer that a dead host owes, and nothing holds this up. */
                assert_int_equal(find(steps, "yank", 0), force ? first - 1 : -1);
                if (force) {
                        assert_true(json_is_true(json_object_get(json_array_get(steps, (size_t)first - 1), "now")));
                        assert_true(may_fail(steps, first - 1));
                }
                json_decref(steps);
        }
}

static void a_broken_post_copy_is_told_at_once(void **state) {
        json_t *steps = gw_qemu_recover_steps("tcp:10.0.0.2:49160");

        (void)state;
        for (size_t i = 0; i < json_array_size(steps); i++)
                assert_true(json_is_true(json_object_get(json_array_get(steps, i), "now")));
        assert_true(may_fail(steps, find(steps, "migrate-pause", 0)));
        assert_false(may_fail(steps, find(steps, "migrate-recover", 0)));
        json_decref(steps);
        steps = gw_qemu_break_off_steps();
        assert_int_equal(find(steps, "migrate-pause", 0), 0);
        assert_true(json_is_true(json_object_get(json_array_get(steps, 0), "now")));
        json_decref(steps);
        steps = gw_qemu_reconnect_steps("tcp:10.0.0.2:49160");
        assert_true(json_is_true(json_object_get(arguments(steps, 0), "resume")));
        json_decref(steps);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(options_survive_their_encoding),
                cmocka_unit_test(options_that_do_not_go_together_are_named),
                cmocka_unit_test(modes_are_words),
                cmocka_unit_test(a_copy_in_the_clear_leaves),
                cmocka_unit_test(a_copy_over_tls_names_its_peer),
                cmocka_unit_test(disks_are_served_before_memory_is_listened_for),
                cmocka_unit_test(mirrors_follow_and_use_the_same_certificates),
                cmocka_unit_test(mirrors_end_in_step_or_by_force),
                cmocka_unit_test(a_broken_post_copy_is_told_at_once),
        };

        return cmocka_run_group_tests_name("hypervisor_copy", tests, NULL, NULL);
}
