/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs: create, start, stop, delete, show. (`vm move` is in move.c.) A definition is
 * built from flags: the flags --ip and --mac describe the first port, each --port
 * a further one as vn=...,mac=...,ip=...,ip=...
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/allow.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/move.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1, STOP_POLL_MS = 100 };

static const struct gw_flag port_parts[] = {
        {"vn", GW_FLAG_ID, "VN"},
        {"mac", GW_FLAG_MAC, "MAC"},
        {"ip", GW_FLAG_IP, "IP"},
        {"allow", GW_FLAG_CHOICE, "WHAT", .choices = GW_CLI_ALLOW},
        {0},
};

static const struct gw_flag *port_part(const char *name) {
        for (const struct gw_flag *f = port_parts; f->name; f++)
                if (!strcmp(f->name, name))
                        return f;
        return NULL;
}

static int put_part(json_t *port, char *part, struct gw_error *error) {
        char *value = strchr(part, '=');
        const struct gw_flag *flag;

        if (value)
                *value++ = 0;
        flag = value ? port_part(part) : NULL;
        if (!flag)
                return gw_fail(
                        error, GW_E_INVALID, "port",
                        "--port has \"%s\"; allowed are vn=VN, mac=MAC, ip=IP and allow=WHAT, with commas between",
                        part);
        if (gw_flag_check(flag, value, error))
                return GW_E_INVALID;
        if (!strcmp(part, "ip")) {
                json_array_append_new(json_object_get(port, "addresses"), json_string(value));
                return 0;
        }
        if (!strcmp(part, "allow")) {
                gw_cli_allow(port, value);
                return 0;
        }
        if (json_object_get(port, part))
                return gw_fail(error, GW_E_INVALID, "port", "--port has %s= twice; once is allowed", part);
        json_object_set_new(port, part, json_string(value));
        return 0;
}

static int put_port(json_t *ports, const char *text, struct gw_error *error) {
        json_t *port = json_pack("{s:[]}", "addresses");
        char *copy = strdup(text), *state = NULL;
        int r = copy ? 0 : -1;

        for (char *part = copy ? strtok_r(copy, ",", &state) : NULL; !r && part; part = strtok_r(NULL, ",", &state))
                r = put_part(port, part, error);
        if (!r && !json_object_get(port, "vn"))
                r = gw_fail(error, GW_E_INVALID, "port", "--port is \"%s\" and lacks vn=VN", text);
        free(copy);
        if (r)
                json_decref(port);
        else
                json_array_append_new(ports, port);
        return r;
}

static int build_ports(json_t *ports, const struct gw_args *args, struct gw_error *error) {
        const char *text;
        json_t *port;
        int r = 0;

        if (gw_args_has(args, "vn")) {
                port = json_pack("{s:s, s:[]}", "vn", gw_args_text(args, "vn"), "addresses");
                if (gw_args_has(args, "mac"))
                        json_object_set_new(port, "mac", json_string(gw_args_text(args, "mac")));
                for (size_t i = 0; (text = gw_args_nth(args, "ip", i)); i++)
                        json_array_append_new(json_object_get(port, "addresses"), json_string(text));
                for (size_t i = 0; (text = gw_args_nth(args, "allow", i)); i++)
                        gw_cli_allow(port, text);
                json_array_append_new(ports, port);
        } else if (gw_args_has(args, "ip") || gw_args_has(args, "mac") || gw_args_has(args, "allow")) {
                return gw_fail(error, GW_E_INVALID, "vn",
                               "--ip, --mac and --allow are of the port that --vn makes; give --vn");
        }
        for (size_t i = 0; !r && (text = gw_args_nth(args, "port", i)); i++)
                r = put_port(ports, text, error);
        return r;
}

/* "path" or "path,format=raw". */
static int build_disks(json_t *disks, const struct gw_args *args, struct gw_error *error) {
        const char *text;

        for (size_t i = 0; (text = gw_args_nth(args, "disk", i)); i++) {
                const char *comma = strchr(text, ','), *format = "qcow2";

                if (comma && strncmp(comma, ",format=", 8) != 0)
                        return gw_fail(error, GW_E_INVALID, "disk",
                                       "--disk is \"%s\"; it must be PATH or PATH,format=raw|qcow2", text);
                if (comma)
                        format = comma + 8;
                json_array_append_new(disks,
                                      json_pack("{s:s%, s:s}", "path", text,
                                                comma ? (size_t)(comma - text) : strlen(text), "format", format));
        }
        return 0;
}

/* "none" alone is an empty list. */
static json_t *forbidden(const struct gw_args *args) {
        json_t *list = json_array();
        const char *text;

        for (size_t i = 0; (text = gw_args_nth(args, "forbid", i)); i++)
                if (strcmp(text, "none") != 0)
                        json_array_append_new(list, json_string(text));
        return list;
}

static int build_definition(json_t **out, const struct gw_args *args, struct gw_error *error) {
        static const char *const texts[][2] = {
                {"emulator", "emulator"}, {"cpu-model", "cpu_model"}, {"kernel", "kernel"},      {"initrd", "initrd"},
                {"cmdline", "cmdline"},   {"on-crash", "on_crash"},   {"nic-model", "nic_model"}};
        json_t *definition, *ports = json_array(), *disks = json_array();
        struct gw_name name, tenant;
        int r;

        if (gw_id_parse(args->words[0], &name) || !gw_cli_id(args->words[0], &name, &tenant))
                return gw_fail(error, GW_E_INVALID, "NAME", "\"%s\" is not a name, or name@tenant", args->words[0]);
        definition = json_pack("{s:s, s:s, s:I, s:I, s:o, s:o}", "name", name.s, "tenant", tenant.s, "memory_mib",
                               (json_int_t)gw_args_int(args, "memory"), "vcpus", (json_int_t)gw_args_int(args, "vcpus"),
                               "ports", ports, "disks", disks);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
                if (gw_args_text(args, texts[i][0]))
                        json_object_set_new(definition, texts[i][1], json_string(gw_args_text(args, texts[i][0])));
        if (gw_args_has(args, "forbid"))
                json_object_set_new(definition, "forbid", forbidden(args));
        r = build_ports(ports, args, error);
        if (!r)
                r = build_disks(disks, args, error);
        if (r)
                json_decref(definition);
        else
                *out = definition;
        return r;
}

static int show_change(struct gw_cli *cli, json_t *answer, const char *name, const char *what) {
        if (cli->json)
                gw_print_json(answer);
        else
                printf("%s %s\n", name, what);
        json_decref(answer);
        return GW_EXIT_OK;
}

static int start(struct gw_cli *cli, const char *id, const char *nve, json_t **answer) {
        char segment[SEGMENT];
        json_t *body = nve ? json_pack("{s:s}", "nve", nve) : json_object();

        return gw_cli_call(cli, "POST", body, answer, "/v1/vms/%s/start",
                           gw_client_segment(id, segment, sizeof segment));
}

static int vm_create(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        json_t *definition = NULL, *answer;
        int r;

        if (gw_args_has(args, "on") && !gw_args_has(args, "start"))
                return gw_cli_fail(GW_EXIT_USAGE, "--on says where to start; give --start too");
        if (build_definition(&definition, args, &error))
                return gw_cli_fail(GW_EXIT_USAGE, "%s", error.text);
        r = gw_cli_call(cli, "POST", definition, &answer, "/v1/vms");
        if (r)
                return r;
        if (!gw_args_has(args, "start"))
                return show_change(cli, answer, args->words[0], "created; `godwit vm start` starts it");
        json_decref(answer);
        r = start(cli, args->words[0], gw_args_text(args, "on"), &answer);
        if (r)
                return gw_cli_fail(r, "%s is created, but not started; `godwit vm start %s` tries again",
                                   args->words[0], args->words[0]);
        return show_change(cli, answer, args->words[0], "created and started");
}

static int vm_start(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer;
        int r = start(cli, args->words[0], gw_args_text(args, "on"), &answer);

        return r ? r : show_change(cli, answer, args->words[0], "started");
}

/* Asks until it has stopped; *answer is then the VM as it is. */
static int await_stop(struct gw_cli *cli, const char *segment, json_t **answer) {
        for (;;) {
                const char *state = gw_member_text(*answer, "state");
                int r;

                if (strcmp(state, "stopping") != 0 && strcmp(state, "running") != 0)
                        return GW_EXIT_OK;
                usleep(STOP_POLL_MS * 1000);
                json_decref(*answer);
                *answer = NULL;
                r = gw_cli_call(cli, "GET", NULL, answer, "/v1/vms/%s", segment);
                if (r)
                        return r;
        }
}

static int vm_stop(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "POST", json_pack("{s:b}", "force", gw_args_has(args, "force")), &answer,
                            "/v1/vms/%s/stop", gw_client_segment(args->words[0], segment, sizeof segment));

        if (!r && gw_args_has(args, "wait"))
                r = await_stop(cli, segment, &answer);
        if (r)
                return r;
        return show_change(cli, answer, args->words[0], gw_args_has(args, "wait") ? "has stopped" : "is told to stop");
}

static int turn(struct gw_cli *cli, const struct gw_args *args, const char *verb, const char *what) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "POST", NULL, &answer, "/v1/vms/%s/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment), verb);

        return r ? r : show_change(cli, answer, args->words[0], what);
}

static int vm_suspend(struct gw_cli *cli, const struct gw_args *args) {
        return turn(cli, args, "suspend", "is suspended; `godwit vm resume` lets it go on");
}

static int vm_resume(struct gw_cli *cli, const struct gw_args *args) {
        return turn(cli, args, "resume", "goes on");
}

static int vm_set(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r;

        if (!gw_args_has(args, "forbid"))
                return gw_cli_fail(GW_EXIT_USAGE, "nothing is to be changed; --forbid is what can be");
        r = gw_cli_call(cli, "PATCH", json_pack("{s:o}", "forbid", forbidden(args)), &answer, "/v1/vms/%s",
                        gw_client_segment(args->words[0], segment, sizeof segment));
        return r ? r : show_change(cli, answer, args->words[0], "changed");
}

static int vm_delete(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "DELETE", NULL, &answer, "/v1/vms/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return r ? r : show_change(cli, answer, args->words[0], "deleted");
}

static void vm_row(struct gw_columns *t, const json_t *vm) {
        char all[GW_CELL_MAX] = "", one[GW_CELL_MAX];
        json_t *ports = json_object_get(vm, "ports"), *port;
        size_t i, at = 0;

        if (!ports)
                ports = json_object_get(json_object_get(vm, "definition"), "ports");
        json_array_foreach (ports, i, port)
                if (at < sizeof all)
                        at += (size_t)snprintf(all + at, sizeof all - at, "%s%s", at ? " " : "",
                                               gw_member_list(port, "addresses", one, sizeof one));
        gw_columns_cell(t, 0, "%s", gw_member_text(vm, "id"));
        gw_columns_cell(t, 1, "%s", gw_member_text(vm, "kind"));
        gw_columns_cell(t, 2, "%s", gw_member_text(vm, "state"));
        if (*gw_member_text(vm, "nve") || !*gw_member_text(vm, "home"))
                gw_columns_cell(t, 3, "%s", gw_member_text(vm, "nve"));
        else
                gw_columns_cell(t, 3, "(%s)", gw_member_text(vm, "home"));
        gw_columns_cell(t, 4, "%lld", (long long)gw_member_int(vm, "epoch"));
        gw_columns_cell(t, 5, "%s", all);
}

static int vm_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"VM", "KIND", "STATE", "NVE", "EPOCH", "ADDRESSES", NULL};
        static const struct gw_list_view view = {
                .heads = heads, .row = vm_row, .none = "no VMs; `godwit help vm create` tells how to make one"};

        (void)args;
        return gw_cli_list(cli, &view, "/v1/vms");
}

static void tell(const struct gw_cli *cli, const char *what, const char *text) {
        if (*text)
                printf("%s%-10s%s %s\n", gw_colour(cli, GW_BOLD), what, gw_colour(cli, GW_PLAIN), text);
}

static void tell_port(const struct gw_cli *cli, const json_t *port) {
        char addresses[GW_CELL_MAX], allow[GW_CELL_MAX], text[4 * GW_CELL_MAX];

        gw_member_list(port, "allow", allow, sizeof allow);
        snprintf(text, sizeof text, "%s in %s, %s %s%s%s%s%s", gw_member_text(port, "id"), gw_member_text(port, "vn"),
                 gw_member_text(port, "mac"), gw_member_list(port, "addresses", addresses, sizeof addresses),
                 *gw_member_text(port, "device") ? ", device " : "", gw_member_text(port, "device"),
                 *allow ? ", allowed " : "", allow);
        tell(cli, "port", text);
}

static void tell_vm(const struct gw_cli *cli, const json_t *vm) {
        json_t *definition = json_object_get(vm, "definition"), *binding = json_object_get(vm, "binding"), *port;
        char text[GW_CELL_MAX];
        size_t i;

        tell(cli, "vm", gw_member_text(vm, "id"));
        tell(cli, "kind", gw_member_text(vm, "kind"));
        snprintf(text, sizeof text, "%s, to be %s", gw_member_text(vm, "state"), gw_member_text(vm, "desired"));
        tell(cli, "state", text);
        tell(cli, "reason", gw_member_text(vm, "reason"));
        snprintf(text, sizeof text, "%s at %s", gw_member_text(vm, "nve"), gw_member_text(binding, "locator"));
        tell(cli, "host", *gw_member_text(vm, "nve") ? text : "");
        tell(cli, "was on", *gw_member_text(vm, "nve") ? "" : gw_member_text(vm, "home"));
        snprintf(text, sizeof text, "%s, epoch %lld", gw_member_text(binding, "state"),
                 (long long)gw_member_int(binding, "epoch"));
        tell(cli, "binding", text);
        tell(cli, "move", gw_member_text(vm, "move"));
        snprintf(text, sizeof text, "%lld MiB, %lld vCPUs", (long long)gw_member_int(definition, "memory_mib"),
                 (long long)gw_member_int(definition, "vcpus"));
        tell(cli, "size", gw_member_int(definition, "memory_mib") ? text : "");
        tell(cli, "on crash", gw_member_text(vm, "on_crash"));
        tell(cli, "forbids", gw_member_list(vm, "forbid", text, sizeof text));
        json_array_foreach (json_object_get(vm, "ports"), i, port)
                tell_port(cli, port);
}

static int vm_show(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/vms/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        if (r)
                return r;
        if (cli->json)
                gw_print_json(answer);
        else
                tell_vm(cli, answer);
        json_decref(answer);
        return GW_EXIT_OK;
}

#define FORBID_FLAG                                                                                                    \
        {                                                                                                              \
                "forbid", GW_FLAG_CHOICE, "MODE",                                                                      \
                        "a way in which it must not be moved while it runs; what is given replaces what was, none "    \
                        "empties it",                                                                                  \
                        .choices = "hot post-copy cold none", .repeat = true                                           \
        }

static const struct gw_flag set_flags[] = {FORBID_FLAG, {0}};
static const struct gw_flag create_flags[] = {
        {"vn", GW_FLAG_ID, "VN", "the VN of its first port"},
        {"ip", GW_FLAG_IP, "IP", "an address of its first port; chosen when none is given", .repeat = true},
        {"mac", GW_FLAG_MAC, "MAC", "the MAC address of its first port; chosen when not given"},
        {"allow", GW_FLAG_CHOICE, "WHAT", "what its first port may do and others may not: " GW_CLI_ALLOW_HELP,
         .choices = GW_CLI_ALLOW, .repeat = true},
        {"port", GW_FLAG_TEXT, "vn=VN[,mac=MAC][,ip=IP][,allow=WHAT]...", "a further port", .repeat = true},
        {"memory", GW_FLAG_INT, "MIB", "memory", 16, 16777216, "MiB", .fallback = "256"},
        {"vcpus", GW_FLAG_INT, "N", "processors", 1, 512, .fallback = "1"},
        {"cpu-model", GW_FLAG_TEXT, "MODEL", "what QEMU's -cpu takes; the host's choice when not given"},
        {"nic-model", GW_FLAG_CHOICE, "MODEL", "what the guest finds for its ports", .choices = "virtio e1000 vmxnet3",
         .fallback = "virtio"},
        {"kernel", GW_FLAG_PATH, "FILE", "a kernel to boot; the same path on every host"},
        {"initrd", GW_FLAG_PATH, "FILE", "its initial RAM disk"},
        {"cmdline", GW_FLAG_TEXT, "TEXT", "its command line"},
        {"disk", GW_FLAG_TEXT, "FILE[,format=FORMAT]",
         "a disk: an absolute path, or a plain name in every host's disk-dir; qcow2 or raw", .repeat = true},
        {"emulator", GW_FLAG_TEXT, "PROGRAM", "qemu, or a program that takes QEMU's command line"},
        {"on-crash", GW_FLAG_CHOICE, "WHAT", "when its emulator ends by itself", .choices = "restart stop",
         .fallback = "restart"},
        FORBID_FLAG,
        {"start", GW_FLAG_SWITCH, .help = "start it as well"},
        {"on", GW_FLAG_NAME, "NVE", "with --start: where; the one with most free memory when not given"},
        {0},
};
static const struct gw_flag start_flags[] = {
        {"on", GW_FLAG_NAME, "NVE", "where; its host when it has disks, the one with most free memory else"},
        {0},
};
static const struct gw_flag stop_flags[] = {
        {"force", GW_FLAG_SWITCH, .help = "as if the power went off"},
        {"wait", GW_FLAG_SWITCH, .help = "wait until it has stopped"},
        {0},
};

const struct gw_command gw_vm_commands[] = {
        {"vm", "create", "NAME[@TENANT]", 1, 1, "make a VM", create_flags, vm_create},
        {"vm", "list", "", 0, 0, "the VMs, and where they are", .run = vm_list},
        {"vm", "show", "VM", 1, 1, "one of them", .run = vm_show},
        {"vm", "start", "VM", 1, 1, "start a VM that is stopped", start_flags, vm_start},
        {"vm", "stop", "VM", 1, 1, "power it down", stop_flags, vm_stop},
        {"vm", "suspend", "VM", 1, 1, "let it stand still, with its memory", .run = vm_suspend},
        {"vm", "resume", "VM", 1, 1, "let one go on that is suspended", .run = vm_resume},
        {"vm", "set", "VM", 1, 1, "change what may be done with it", set_flags, vm_set},
        {"vm", "delete", "VM", 1, 1, "delete one that is stopped", .run = vm_delete},
        {"vm", "move", "VM", 1, 1, "move a VM to another host", gw_vm_move_flags, gw_vm_move},
        {0},
};
