/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts around the hypervisor: definitions, QEMU's command line, records, processes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "hv/config.h"
#include "hv/record.h"
#include "hypervisor/argv.h"
#include "hypervisor/process.h"
#include "hypervisor/status.h"
#include "hypervisor/tap.h"
#include "io/file.h"

static const char FULL[] =
        "{\"name\": \"web\", \"tenant\": \"red\", \"memory_mib\": 256, \"vcpus\": 2, \"emulator\": \"qemu\","
        " \"kernel\": \"/k,1\", \"initrd\": \"/i\", \"cmdline\": \"console=ttyS0 a=b,c\","
        " \"disks\": [{\"path\": \"/d,\\\"x.qcow2\", \"format\": \"qcow2\"}], \"on_crash\": \"restart\","
        " \"ports\": [{\"id\": \"web-0@red\", \"vn\": \"blue@red\", \"vni\": 7, \"mtu\": 1430,"
        "   \"mac\": \"52:54:00:00:00:01\", \"addresses\": [\"10.1.0.10\", \"fd00:1::10\"]},"
        "  {\"id\": \"web-1@red\", \"vni\": 8, \"mac\": \"52:54:00:00:00:02\", \"addresses\": []}]}";

static void parse_full(struct gw_definition *d) {
        struct gw_error error = {0};
        json_t *object = json_loads(FULL, 0, NULL);

        if (gw_definition_parse(object, d, &error))
                fail_msg("%s: %s", error.field, error.text);
        json_decref(object);
}

static void definition_is_read(void **state) {
        struct gw_definition d;

        (void)state;
        parse_full(&d);
        assert_string_equal(d.id.s, "web@red");
        assert_int_equal(d.memory_mib, 256);
        assert_int_equal(d.n_ports, 2);
        assert_int_equal(d.ports[0].n_ips, 2);
        assert_int_equal(d.ports[0].mtu_octets, 1430);
        assert_int_equal(d.ports[1].vni, 8);
        assert_string_equal(d.disks[0].path, "/d,\"x.qcow2");
}

static void definition_faults_are_named(void **state) {
        static const struct {
                const char *text, *field;
        } cases[] = {
                {"{}", "name"},
                {"{\"name\": \"Not A Name\"}", "name"},
                {"{\"name\": \"a\", \"memory_mib\": 0}", "memory_mib"},
                {"{\"name\": \"a\", \"vcpus\": 1.5}", "vcpus"},
                {"{\"name\": \"a\", \"emulator\": \"qemu-x\"}", "emulator"},
                {"{\"name\": \"a\", \"cmdline\": \"a\\nb\"}", "cmdline"},
                {"{\"name\": \"a\", \"nic_model\": \"ne2k_pci\"}", "nic_model"},
                {"{\"name\": \"a\", \"disks\": [{\"format\": \"raw\"}]}", "disks[0].path"},
                {"{\"name\": \"a\", \"disks\": [{\"path\": \"/a\", \"format\": \"vmdk\"}]}", "disks[0].format"},
                {"{\"name\": \"a\", \"ports\": [{\"id\": \"a-0\", \"mac\": \"01:00:00:00:00:00\", \"vni\": 1}]}",
                 "ports[0].mac"},
                {"{\"name\": \"a\", \"ports\": [{\"id\": \"a-0\", \"mac\": \"52:54:00:00:00:01\"}]}", "ports[0].vni"},
                {"{\"name\": \"a\", \"ports\": [{\"id\": \"a-0\", \"mac\": \"52:54:00:00:00:01\", \"vni\": 1,"
                 " \"mtu\": 10}]}",
                 "ports[0].mtu"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct gw_definition d;
                struct gw_error error = {0};
                json_t *object = json_loads(cases[i].text, 0, NULL);

                assert_non_null(object);
                assert_int_equal(gw_definition_parse(object, &d, &error), GW_E_INVALID);
                assert_string_equal(error.field, cases[i].field);
                assert_true(error.text[0]);
                json_decref(object);
        }
}

static const char *value_of(const struct gw_argv *argv, const char *option, size_t nth) {
        for (size_t i = 0; i + 1 < argv->n; i++)
                if (strcmp(argv->v[i], option) == 0 && nth-- == 0)
                        return argv->v[i + 1];
        return "";
}

static void command_line(void **state) {
        struct gw_definition d;
        int taps[] = {11, 12};
        struct gw_vm_start start = {
                .definition = &d, .directory = "/s,x", .emulator = "qemu", .incoming = true, .tap_fds = taps};
        const struct gw_argv_fds fds = {21, 22, 23};
        struct gw_argv argv;

        (void)state;
        parse_full(&d);
        assert_int_equal(gw_argv_build(&argv, &start, &fds), 0);
        assert_null(argv.v[argv.n]);
        assert_string_equal(argv.v[0], "qemu");
        assert_string_equal(value_of(&argv, "-accel", 0), "tcg");
        assert_string_equal(value_of(&argv, "-m", 0), "262136K"); /* not a multiple of 64 pages */
        assert_string_equal(value_of(&argv, "-cpu", 0), "Nehalem,enforce");
        assert_string_equal(value_of(&argv, "-kernel", 0), "/k,1");
        assert_string_equal(value_of(&argv, "-incoming", 0), "defer");
        assert_string_equal(value_of(&argv, "-netdev", 1), "tap,id=n1,fd=12");
        assert_string_equal(value_of(&argv, "-device", 1),
                            "virtio-net-pci,netdev=n0,mac=52:54:00:00:00:01,id=nic0,romfile=,rx_queue_size=1024,"
                            "host_mtu=1430");
        assert_string_equal(value_of(&argv, "-add-fd", 0), "fd=22,set=1,opaque=/s,,x/console.log");
        assert_string_equal(value_of(&argv, "-chardev", 0), "file,id=serial0,path=/dev/fdset/1,append=on");
        assert_string_equal(value_of(&argv, "-chardev", 1), "socket,id=qmp0,fd=21,server=on,wait=off");
        assert_non_null(strstr(value_of(&argv, "-blockdev", 0), "\"/d,\\\"x.qcow2\""));
        gw_argv_deinit(&argv);
        start.incoming = false;
        strcpy(d.nic_model, GW_NIC_E1000);
        start.kvm = true;
        assert_int_equal(gw_argv_build(&argv, &start, &fds), 0);
        assert_string_equal(value_of(&argv, "-accel", 0), "kvm");
        assert_string_equal(value_of(&argv, "-m", 0), "262144K");
        assert_string_equal(value_of(&argv, "-device", 1), "e1000,netdev=n0,mac=52:54:00:00:00:01,id=nic0,romfile=");
        assert_string_equal(value_of(&argv, "-incoming", 0), "");
        gw_argv_deinit(&argv);
}

static void command_line_with_a_long_path(void **state) {
        struct gw_definition d;
        int taps[] = {11, 12};
        char directory[200];
        struct gw_vm_start start = {.definition = &d, .directory = directory, .emulator = "qemu", .tap_fds = taps};
        const struct gw_argv_fds fds = {21, 22, -1};
        struct gw_argv argv;

        (void)state;
        parse_full(&d);
        memset(directory, 'x', sizeof directory - 1);
        directory[sizeof directory - 1] = '\0';
        assert_true(gw_argv_build(&argv, &start, &fds) < 0);
        gw_argv_deinit(&argv);
}

static struct hv_record record_full(void) {
        struct hv_record r = {
                .epoch = 7,
                .role = HV_ROLE_SOURCE,
                .state = HV_RUNNING,
                .uncut_due = true,
                .process = {123, 456},
                .uid = UINT32_MAX - 1, /* the highest that there is */
                .gid = 991,
                .boot = "b00t",
                .move = {.epoch = 8, .epoch_back = 9, .bandwidth_mib_s = 10, .downtime_ms = 11, .cut_deadline_ms = 12},
        };

        assert_int_equal(gw_id_parse("web@red", &r.id), 0);
        strcpy(r.move.id.s, "m1");
        assert_int_equal(gw_ip_parse("fd99::2", &r.move.peer), 0);
        assert_int_equal(gw_endpoint_parse("[fd99::2]:49152", &r.move.endpoint), 0);
        r.definition_json = json_loads(FULL, 0, NULL);
        return r;
}

static void record_goes_round(void **state) {
        struct hv_record in = record_full(), out;
        struct gw_error error = {0};
        json_t *one = hv_record_encode(&in), *two;

        (void)state;
        assert_int_equal(hv_record_decode(one, &out, &error), 0);
        two = hv_record_encode(&out);
        assert_true(json_equal(one, two));
        assert_int_equal(out.move.endpoint.port, 49152);
        assert_int_equal(out.definition.n_ports, 2);
        assert_true(out.uncut_due && !out.activate_due && out.process.start_time == 456);
        assert_true(out.uid == UINT32_MAX - 1 && out.gid == 991);
        json_decref(one);
        json_decref(two);
        hv_record_deinit(&in);
        hv_record_deinit(&out);
}

static void take_record(struct hv_record *record, void *user) {
        (*(int *)user)++;
        assert_string_equal(record->id.s, "web@red");
        hv_record_deinit(record);
}

static void records_on_disk(void **state) {
        char dir[] = "/tmp/gw-record-XXXXXX", path[64];
        struct hv_record r = record_full();
        int n = 0;

        (void)state;
        assert_non_null(mkdtemp(dir));
        snprintf(path, sizeof path, "%s/vms", dir);
        assert_int_equal(gw_dir_make(path, 0700), 0);
        assert_int_equal(hv_record_write(&r, dir), 0);
        snprintf(path, sizeof path, "%s/vms/broken.json", dir);
        assert_int_equal(gw_file_write(path, "{\"id\": 3", 8, 0600), 0);
        assert_int_equal(hv_record_each(dir, take_record, &n), 0);
        assert_int_equal(n, 1);
        assert_true(access(path, F_OK) < 0); /* set aside */
        strcat(path, ".bad");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(hv_record_remove(&r, dir), 0);
        n = 0;
        assert_int_equal(hv_record_each(dir, take_record, &n), 0);
        assert_int_equal(n, 0);
        snprintf(path, sizeof path, "%s/vms", dir);
        rmdir(path);
        assert_int_equal(rmdir(dir), 0);
        hv_record_deinit(&r);
}

static void tap_names(void **state) {
        struct gw_name a = {"web-0@default"}, b = {"web-1@default"};
        char one[IFNAMSIZ], two[IFNAMSIZ];

        (void)state;
        gw_vm_tap_name(&a, one);
        gw_vm_tap_name(&b, two);
        assert_int_equal(strlen(one), 15);
        assert_string_not_equal(one, two);
        gw_vm_tap_name(&a, two);
        assert_string_equal(one, two);
}

/* They would be looked for from where the agent works, and used from where an emulator does. */
static void what_emulators_need_has_no_relative_path(void **state) {
        static const struct {
                const char *line, *field;
        } cases[] = {
                {"tap-gate = /lib/gate.so", ""},    {"tap-gate = lib/gate.so", "tap-gate"},
                {"tap-gate = gate.so", "tap-gate"}, {"qemu = qemu-system-x86_64", ""},
                {"qemu = /opt/qemu", ""},           {"qemu = ./qemu", "qemu"},
        };

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                struct gw_error error = {0};
                struct hv_config config;
                char text[200];

                snprintf(text, sizeof text, "id = h1\nnva = 192.0.2.1:7460\nmigration-address = 192.0.2.2\n%s\n",
                         cases[i].line);
                gw_conf_parse(&hv_config_schema, &config, text, strlen(text), "hv.conf", &error);
                assert_string_equal(error.field, cases[i].field);
        }
}

static void qemu_words(void **state) {
        (void)state;
        assert_int_equal(gw_qemu_run("running"), GW_VM_RUN_RUNNING);
        assert_int_equal(gw_qemu_run("postmigrate"), GW_VM_RUN_LEFT);
        assert_int_equal(gw_qemu_run("something-new"), GW_VM_RUN_UNKNOWN);
        assert_int_equal(gw_qemu_run(NULL), GW_VM_RUN_UNKNOWN);
        assert_int_equal(gw_qemu_copy("pre-switchover"), GW_VM_COPY_PRE_SWITCHOVER);
        assert_int_equal(gw_qemu_copy("none"), GW_VM_COPY_NONE);
        assert_int_equal(gw_qemu_copy(NULL), GW_VM_COPY_NONE);
}

struct ended {
        struct gw_process process;
        int n, code, status;
};

static void on_ended(struct gw_process *process, int code, int status) {
        struct ended *ended = (struct ended *)process;

        ended->n++;
        ended->code = code;
        ended->status = status;
}

static void processes(void **state) {
        char *argv[] = {(char[]){"sleep"}, (char[]){"60"}, NULL}, *none[] = {(char[]){"/nowhere/x"}, NULL};
        const struct gw_process_setting setting = {.log_path = "/dev/null"};
        struct ended ours = {.process = GW_PROCESS_NULL}, found = {.process = GW_PROCESS_NULL};
        sd_event *event;

        (void)state;
        ours.process.ended = found.process.ended = on_ended;
        assert_return_code(sd_event_new(&event), 0);
        assert_int_equal(gw_process_spawn(&ours.process, event, none, &setting), -2);
        assert_int_equal(gw_process_spawn(&ours.process, event, argv, &setting), 0);
        assert_int_equal(getsid(ours.process.pid), ours.process.pid);
        assert_int_equal(gw_process_adopt(&found.process, event, ours.process.pid, ours.process.start_time + 1),
                         GW_E_NOT_FOUND);
        assert_int_equal(gw_process_adopt(&found.process, event, ours.process.pid, ours.process.start_time), 0);
        gw_process_kill(&ours.process, SIGKILL);
        for (int i = 0; i < 100 && (!ours.n || !found.n); i++)
                sd_event_run(event, 20000);
        assert_int_equal(ours.n, 1);
        assert_int_equal(found.n, 1);
        assert_int_equal(gw_process_adopt(&found.process, event, ours.process.pid, ours.process.start_time),
                         GW_E_NOT_FOUND);
        gw_process_deinit(&ours.process);
        gw_process_deinit(&found.process);
        sd_event_unref(event);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(definition_is_read), cmocka_unit_test(definition_faults_are_named),
                cmocka_unit_test(command_line),       cmocka_unit_test(command_line_with_a_long_path),
                cmocka_unit_test(record_goes_round),  cmocka_unit_test(records_on_disk),
                cmocka_unit_test(tap_names),          cmocka_unit_test(qemu_words),
                cmocka_unit_test(processes),          cmocka_unit_test(what_emulators_need_has_no_relative_path),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
