/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The plain objects: status, tenants, VNs, NVEs, ports. Each handler builds one request from
 * checked flags and prints one answer, as a table or as the API's JSON. Rules that
 * span objects are the authority's; nothing is checked twice here.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/allow.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1 };

static int delete_object(struct gw_cli *cli, const struct gw_args *args, const char *collection) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "DELETE", NULL, &answer, "/v1/%s/%s", collection,
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, answer, args->words[0], "deleted");
}

static int list_objects(struct gw_cli *cli, const char *collection, const char *const *heads,
                        void (*row)(struct gw_columns *t, const json_t *object), const char *none) {
        struct gw_list_view view = {.heads = heads, .row = row, .none = none};
        char path[SEGMENT];

        snprintf(path, sizeof path, "/v1/%s", collection);
        return gw_cli_list(cli, &view, path);
}

static void nve_row(struct gw_columns *t, const json_t *nve) {
        json_t *capacity = json_object_get(nve, "capacity"), *used = json_object_get(nve, "used");
        char modes[GW_CELL_MAX];

        gw_columns_cell(t, 0, "%s", gw_member_text(nve, "id"));
        gw_columns_cell(t, 1, "%s", gw_member_text(nve, "locator"));
        gw_columns_cell(t, 2, "%s", json_is_true(json_object_get(nve, "nve_connected")) ? "connected" : "away");
        gw_columns_cell(t, 3, "%s", json_is_true(json_object_get(nve, "hv_connected")) ? "connected" : "away");
        if (json_object_get(capacity, "memory_mib"))
                gw_columns_cell(t, 4, "%lld of %lld MiB", (long long)gw_member_int(used, "memory_mib"),
                                (long long)gw_member_int(capacity, "memory_mib"));
        if (json_object_get(capacity, "vcpus"))
                gw_columns_cell(t, 5, "%lld of %lld", (long long)gw_member_int(used, "vcpus"),
                                (long long)gw_member_int(capacity, "vcpus"));
        gw_columns_cell(t, 6, "%s", gw_member_list(nve, "modes", modes, sizeof modes));
}

static int nve_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"NVE", "LOCATOR", "EDGE", "HYPERVISOR", "MEMORY", "VCPUS", "MOVES", NULL};

        (void)args;
        return list_objects(cli, "nves", heads, nve_row,
                            "no NVEs; one appears when godwit-nve connects, or with `godwit nve add`");
}

static void print_object(const struct gw_cli *cli, const json_t *object) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)object, key, value) {
                char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));

                printf("%s%-14s%s %s\n", gw_colour(cli, GW_BOLD), key, gw_colour(cli, GW_PLAIN),
                       text ? text : json_string_value(value));
                free(text);
        }
}

static int show_object(struct gw_cli *cli, const struct gw_args *args, const char *collection) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/%s/%s", collection,
                            gw_client_segment(args->words[0], segment, sizeof segment));

        if (r)
                return r;
        if (cli->json)
                gw_print_json(answer);
        else
                print_object(cli, answer);
        json_decref(answer);
        return GW_EXIT_OK;
}

static int nve_show(struct gw_cli *cli, const struct gw_args *args) {
        return show_object(cli, args, "nves");
}

static void nve_of(const struct gw_args *args, json_t *body) {
        static const char *const flags[] = {"locator", "gateway", "claims"};

        for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
                if (gw_args_has(args, flags[i]))
                        json_object_set_new(body, flags[i], json_string(gw_args_text(args, flags[i])));
}

static int nve_add(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer = NULL, *body = json_pack("{s:s}", "id", args->words[0]);
        int r;

        nve_of(args, body);
        r = gw_cli_call(cli, "POST", body, &answer, "/v1/nves");

        return gw_print_done(cli, r, answer, args->words[0], "added");
}

static int nve_set(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer = NULL, *body = json_object();
        int r;

        nve_of(args, body);
        if (!json_object_size(body)) {
                json_decref(body);
                return gw_cli_fail(GW_EXIT_USAGE, "nothing is to be changed; give --locator, --gateway or --claims");
        }
        r = gw_cli_call(cli, "PATCH", body, &answer, "/v1/nves/%s",
                        gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, answer, args->words[0], "changed");
}

static int nve_delete(struct gw_cli *cli, const struct gw_args *args) {
        return delete_object(cli, args, "nves");
}

static int nve_lost(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer = NULL, *vms, *vm;
        int r = gw_cli_call(cli, "POST", NULL, &answer, "/v1/nves/%s/lost",
                            gw_client_segment(args->words[0], segment, sizeof segment));
        size_t i;

        if (!r && cli->json)
                gw_print_json(answer);
        vms = json_object_get(answer, "vms");
        if (!r && !cli->json && !json_array_size(vms))
                printf("%s is taken for lost; no VM was there\n", args->words[0]);
        json_array_foreach (vms, i, vm) {
                const char *state = gw_member_text(vm, "state"), *nve = gw_member_text(vm, "nve");

                if (!cli->json && *nve)
                        printf("%s: %s on %s\n", gw_member_text(vm, "id"), state, nve);
                else if (!cli->json)
                        printf("%s: %s; `godwit vm start --on` starts it where its disks are\n",
                               gw_member_text(vm, "id"), state);
        }
        json_decref(answer);
        return r;
}

static int tenant_create(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "POST", json_pack("{s:s}", "name", args->words[0]), &answer, "/v1/tenants");

        return gw_print_done(cli, r, answer, args->words[0], "created");
}

static void tenant_row(struct gw_columns *t, const json_t *tenant) {
        gw_columns_cell(t, 0, "%s",
                        json_is_string(tenant) ? json_string_value(tenant) : gw_member_text(tenant, "name"));
}

static int tenant_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"TENANT", NULL};

        (void)args;
        return list_objects(cli, "tenants", heads, tenant_row, "no tenants");
}

static int tenant_delete(struct gw_cli *cli, const struct gw_args *args) {
        return delete_object(cli, args, "tenants");
}

/* --limit-WHAT N, --default-limits; one that is given counts even beside the latter. */
static void limits_of(const struct gw_args *args, json_t *body) {
        static const char *const words[] = {"neighbours", "misses", "group", "queries"};
        bool defaults = gw_args_has(args, "default-limits");
        json_t *limits = json_object();

        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
                char flag[32];

                snprintf(flag, sizeof flag, "limit-%s", words[i]);
                if (gw_args_has(args, flag))
                        json_object_set_new(limits, words[i], json_integer(gw_args_int(args, flag)));
                else if (defaults)
                        json_object_set_new(limits, words[i], json_null());
        }
        if (json_object_size(limits))
                json_object_set(body, "limits", limits);
        json_decref(limits);
}

/* The flags of a VN's settings that are given. */
static void settings_of(const struct gw_args *args, json_t *body) {
        const char *ip;
        json_t *gateways = json_array();

        for (size_t i = 0; (ip = gw_args_nth(args, "gateway", i)); i++)
                json_array_append_new(gateways, json_string(ip));
        if (gw_args_has(args, "gateway"))
                json_object_set(body, "gateways", gateways);
        json_decref(gateways);
        if (gw_args_has(args, "announcements"))
                json_object_set_new(body, "announcements", json_string(gw_args_text(args, "announcements")));
        limits_of(args, body);
        if (gw_args_has(args, "absent"))
                json_object_set_new(body, "absent", json_string(gw_args_text(args, "absent")));
        if (gw_args_has(args, "rarp"))
                json_object_set_new(body, "rarp", json_boolean(!strcmp(gw_args_text(args, "rarp"), "on")));
}

static int vn_create(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer = NULL, *body, *subnets;
        struct gw_name name, tenant;
        const char *subnet;
        int r;

        if (!gw_cli_id(args->words[0], &name, &tenant))
                return GW_EXIT_USAGE;
        subnets = json_array();
        for (size_t i = 0; (subnet = gw_args_nth(args, "subnet", i)); i++)
                json_array_append_new(subnets, json_string(subnet));
        body = json_pack("{s:s, s:s, s:o}", "name", name.s, "tenant", tenant.s, "subnets", subnets);
        if (gw_args_has(args, "vni"))
                json_object_set_new(body, "vni", json_integer(gw_args_int(args, "vni")));
        if (gw_args_has(args, "mtu"))
                json_object_set_new(body, "mtu", json_integer(gw_args_int(args, "mtu")));
        if (gw_args_has(args, "directory"))
                json_object_set_new(body, "directory", json_string(gw_args_text(args, "directory")));
        settings_of(args, body);
        r = gw_cli_call(cli, "POST", body, &answer, "/v1/vns");
        return gw_print_done(cli, r, answer, args->words[0], "created");
}

static void vn_row(struct gw_columns *t, const json_t *vn) {
        char subnets[GW_CELL_MAX];

        gw_columns_cell(t, 0, "%s", gw_member_text(vn, "id"));
        gw_columns_cell(t, 1, "%lld", (long long)gw_member_int(vn, "vni"));
        if (gw_member_int(vn, "mtu"))
                gw_columns_cell(t, 2, "%lld", (long long)gw_member_int(vn, "mtu"));
        gw_columns_cell(t, 3, "%s", gw_member_list(vn, "subnets", subnets, sizeof subnets));
}

static int vn_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"VN", "VNI", "MTU", "SUBNETS", NULL};

        (void)args;
        return list_objects(cli, "vns", heads, vn_row,
                            "no VNs; `godwit vn create blue --subnet 10.1.0.0/24` makes one");
}

static int vn_show(struct gw_cli *cli, const struct gw_args *args) {
        return show_object(cli, args, "vns");
}

static int vn_set(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer = NULL, *body = json_object();
        int r;

        settings_of(args, body);
        if (gw_args_has(args, "directory"))
                json_object_set_new(body, "directory", json_string(gw_args_text(args, "directory")));
        if (gw_args_has(args, "no-gateway"))
                json_object_set_new(body, "gateways", json_array());
        r = gw_cli_call(cli, "PATCH", body, &answer, "/v1/vns/%s",
                        gw_client_segment(args->words[0], segment, sizeof segment));
        return gw_print_done(cli, r, answer, args->words[0], "changed");
}

static int vn_flush(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        bool positive = gw_args_has(args, "positive"), negative = gw_args_has(args, "negative");
        bool both = !positive && !negative;
        json_t *answer = NULL,
               *body = json_pack("{s:b, s:b}", "positive", positive || both, "negative", negative || both);
        int r = gw_cli_call(cli, "POST", body, &answer, "/v1/vns/%s/flush",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, answer, args->words[0], "is being flushed");
}

static int vn_delete(struct gw_cli *cli, const struct gw_args *args) {
        return delete_object(cli, args, "vns");
}

static int port_attach(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer = NULL, *addresses = json_array(), *body;
        char what[GW_CELL_MAX];
        const char *ip, *allow;
        int r;

        for (size_t i = 0; (ip = gw_args_nth(args, "ip", i)); i++)
                json_array_append_new(addresses, json_string(ip));
        body = json_pack("{s:s, s:s, s:s, s:s, s:o}", "vm", args->words[0], "vn", gw_args_text(args, "vn"), "nve",
                         gw_args_text(args, "nve"), "device", gw_args_text(args, "device"), "addresses", addresses);
        for (size_t i = 0; (allow = gw_args_nth(args, "allow", i)); i++)
                gw_cli_allow(body, allow);
        if (gw_args_has(args, "mac"))
                json_object_set_new(body, "mac", json_string(gw_args_text(args, "mac")));
        r = gw_cli_call(cli, "POST", body, &answer, "/v1/ports");
        snprintf(what, sizeof what, "attached; its port is %s", gw_member_text(answer, "id"));
        return gw_print_done(cli, r, answer, args->words[0], what);
}

static int port_detach(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "DELETE", NULL, &answer, "/v1/ports/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, answer, args->words[0], "detached");
}

static void port_row(struct gw_columns *t, const json_t *port) {
        char addresses[GW_CELL_MAX];

        gw_columns_cell(t, 0, "%s", gw_member_text(port, "id"));
        gw_columns_cell(t, 1, "%s", gw_member_text(port, "vm"));
        gw_columns_cell(t, 2, "%s", gw_member_text(port, "vn"));
        gw_columns_cell(t, 3, "%s", gw_member_text(port, "mac"));
        gw_columns_cell(t, 4, "%s", gw_member_text(port, "nve"));
        gw_columns_cell(t, 5, "%s", gw_member_text(port, "device"));
        gw_columns_cell(t, 6, "%s", gw_member_list(port, "addresses", addresses, sizeof addresses));
}

static int port_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"PORT", "VM", "VN", "MAC", "NVE", "DEVICE", "ADDRESSES", NULL};

        (void)args;
        return list_objects(cli, "ports", heads, port_row, "no ports");
}

/* Counters in groups: each group a heading, and below it what has been counted at all. */
static void print_status(const struct gw_cli *cli, json_t *answer) {
        json_t *plain = json_object(), *value, *count;
        const char *key, *name;

        json_object_foreach (answer, key, value)
                if (!json_is_object(value))
                        json_object_set(plain, key, value);
        print_object(cli, plain);
        json_decref(plain);
        json_object_foreach (answer, key, value) {
                if (!json_is_object(value))
                        continue;
                printf("%s%s%s\n", gw_colour(cli, GW_BOLD), key, gw_colour(cli, GW_PLAIN));
                json_object_foreach (value, name, count)
                        if (json_is_integer(count) && json_integer_value(count))
                                printf("  %-32s %" JSON_INTEGER_FORMAT "\n", name, json_integer_value(count));
        }
}

static int status(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer;
        int r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/status");

        (void)args;
        if (r)
                return r;
        if (cli->json)
                gw_print_json(answer);
        else
                print_status(cli, answer);
        json_decref(answer);
        return GW_EXIT_OK;
}

static const char permits[] = "allowed forbidden default";
#define PERMIT_FLAGS                                                                                                   \
        {"gateway", GW_FLAG_CHOICE, "PERMIT", "may it be a gateway, when it says so; default: as nva.conf has it",     \
         .choices = permits},                                                                                          \
        {                                                                                                              \
                "claims", GW_FLAG_CHOICE, "PERMIT",                                                                    \
                        "may tasks be taken over by announcing themselves there; default: yes", .choices = permits     \
        }
static const struct gw_flag nve_add_flags[] = {
        {"locator", GW_FLAG_IP, "IP", "its address in the underlay", .required = true},
        PERMIT_FLAGS,
        {0},
};
static const struct gw_flag nve_set_flags[] = {
        {"locator", GW_FLAG_IP, "IP", "its address in the underlay, which it cannot change itself while it has VMs"},
        PERMIT_FLAGS,
        {0},
};
static const char models[] = "hybrid push pull";
#define GATEWAY_FLAG                                                                                                   \
        { "gateway", GW_FLAG_IP, "IP", "an address of its gateway", .repeat = true }
#define ANNOUNCEMENTS_FLAG                                                                                             \
        {                                                                                                              \
                "announcements", GW_FLAG_CHOICE, "POLICY",                                                             \
                        "may an announcement move a VM? planned: no; announced: when its "                             \
                        "old place does not have it any more",                                                         \
                        .choices = "planned announced"                                                                 \
        }
#define RARP_FLAG                                                                                                      \
        { "rarp", GW_FLAG_CHOICE, "ON", "are RARP requests of diskless clients answered?", .choices = "on off" }
#define ABSENT_FLAG                                                                                                    \
        {                                                                                                              \
                "absent", GW_FLAG_CHOICE, "POLICY",                                                                    \
                        "packets for a VM that stands still wait for it, are dropped, or are answered "                \
                        "(unreachable); for one that is stopped, wait is drop",                                        \
                        .choices = "wait drop answer"                                                                  \
        }
#define LIMIT_FLAG(word, what)                                                                                         \
        { "limit-" word, GW_FLAG_INT, "N", what, 0, 1000000, "a second" }
#define LIMIT_FLAGS                                                                                                    \
        LIMIT_FLAG("neighbours", "ARP and ND frames that each of its ports may send a second; 0: any number"),         \
                LIMIT_FLAG("misses", "frames to unknown destinations; likewise"),                                      \
                LIMIT_FLAG("group", "broadcast and multicast frames; likewise"),                                       \
                LIMIT_FLAG("queries", "questions to the authority that a port may cause; likewise")
static const struct gw_flag vn_create_flags[] = {
        {"subnet", GW_FLAG_PREFIX, "PREFIX", "a subnet that its VMs have addresses of", .repeat = true,
         .required = true},
        {"vni", GW_FLAG_INT, "VNI", "its number on the wire; chosen when not given", 1, GW_VNI_MAX},
        {"mtu", GW_FLAG_INT, "OCTETS", "what VMs may use; from the underlay when not given", 1280, 9216, "octets"},
        {"directory", GW_FLAG_CHOICE, "MODEL", "who is told where its VMs are: push all, pull on demand, or hybrid",
         .choices = models},
        GATEWAY_FLAG,
        ANNOUNCEMENTS_FLAG,
        RARP_FLAG,
        ABSENT_FLAG,
        LIMIT_FLAGS,
        {0},
};
static const struct gw_flag vn_set_flags[] = {
        {"directory", GW_FLAG_CHOICE, "MODEL", "who is told where its VMs are: push all, pull on demand, or hybrid",
         .choices = models},
        GATEWAY_FLAG,
        {"no-gateway", GW_FLAG_SWITCH, .help = "it has no gateway any more"},
        ANNOUNCEMENTS_FLAG,
        RARP_FLAG,
        ABSENT_FLAG,
        LIMIT_FLAGS,
        {"default-limits", GW_FLAG_SWITCH, .help = "limits that are not given are the hosts' own again"},
        {0},
};
static const struct gw_flag vn_flush_flags[] = {
        {"positive", GW_FLAG_SWITCH, .help = "only where VMs are; what is in use is asked for again"},
        {"negative", GW_FLAG_SWITCH, .help = "only that addresses do not exist"},
        {0},
};
static const struct gw_flag port_attach_flags[] = {
        {"vn", GW_FLAG_ID, "VN", "the VN", .required = true},
        {"nve", GW_FLAG_NAME, "NVE", "where the device is", .required = true},
        {"device", GW_FLAG_TEXT, "DEVICE", "a veth or tap that exists on that host", .required = true},
        {"mac", GW_FLAG_MAC, "MAC", "the MAC address behind it; chosen when not given"},
        {"ip", GW_FLAG_IP, "IP", "an address behind it; chosen when none is given", .repeat = true},
        {"allow", GW_FLAG_CHOICE, "WHAT", "what others may not do: " GW_CLI_ALLOW_HELP, .choices = GW_CLI_ALLOW,
         .repeat = true},
        {0},
};

const struct gw_command gw_object_commands[] = {
        {"status", "", "", 0, 0, "how the authority is", .run = status},
        {"nve", "list", "", 0, 0, "the hosts' edges", .run = nve_list},
        {"nve", "show", "NVE", 1, 1, "one of them", .run = nve_show},
        {"nve", "add", "NVE", 1, 1, "make one known before it connects", nve_add_flags, nve_add},
        {"nve", "set", "NVE", 1, 1, "change its address, and what it may be", nve_set_flags, nve_set},
        {"nve", "delete", "NVE", 1, 1, "forget one that has no VMs", .run = nve_delete},
        {"nve", "lost", "NVE", 1, 1, "say that a host is off, certainly: what was there may be started elsewhere",
         .run = nve_lost},
        {"tenant", "create", "NAME", 1, 1, "make a tenant", .run = tenant_create},
        {"tenant", "list", "", 0, 0, "the tenants", .run = tenant_list},
        {"tenant", "update", "NAME", 1, 1, "say with whom it shares hosts", gw_tenant_update_flags, gw_tenant_update},
        {"tenant", "delete", "NAME", 1, 1, "delete one that owns nothing", .run = tenant_delete},
        {"vn", "create", "NAME[@TENANT]", 1, 1, "make a virtual network", vn_create_flags, vn_create},
        {"vn", "list", "", 0, 0, "the virtual networks", .run = vn_list},
        {"vn", "show", "VN", 1, 1, "one of them", .run = vn_show},
        {"vn", "set", "VN", 1, 1,
         "change its gateway, who is told where its VMs are, what guests may announce, what packets for absent VMs "
         "meet, "
         "limits of its ports",
         vn_set_flags, vn_set},
        {"vn", "flush", "VN", 1, 1, "make all edges forget what they hold of it", vn_flush_flags, vn_flush},
        {"vn", "delete", "VN", 1, 1, "delete one that has no ports", .run = vn_delete},
        {"port", "attach", "TASK", 1, 1, "attach a device on a host to a VN", port_attach_flags, port_attach},
        {"port", "detach", "PORT", 1, 1, "detach it", .run = port_detach},
        {"port", "list", "", 0, 0, "all ports, of VMs and of tasks", .run = port_list},
        {0},
};
