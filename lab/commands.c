/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit lab ...` and `godwit probe`: from checked flags to the laboratory's functions. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"
#include "lab/demo.h"
#include "lab/lab.h"
#include "lab/probe/packet.h"
#include "lab/probe/probe.h"
#include "lab/probe/track.h"

static int lab_up(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_lab_options options = {.name = gw_args_text(args, "name"),
                                         .accelerator = gw_args_text(args, "accelerator"),
                                         .log_level = gw_args_text(args, "log-level"),
                                         .hosts = (unsigned)gw_args_int(args, "hosts"),
                                         .underlay = (unsigned)gw_args_int(args, "underlay"),
                                         .mtu = (unsigned)gw_args_int(args, "mtu"),
                                         .memory_mib = (unsigned)gw_args_int(args, "memory"),
                                         .vcpus = (unsigned)gw_args_int(args, "vcpus")};
        struct gw_error error = {0};
        struct gw_lab lab;

        error.code = gw_lab_up(&lab, &options, &error);
        if (error.code)
                return gw_cli_error(&error);
        printf("lab %s is up: an authority and %u hosts, h1 to h%u, over IPv%u\n", lab.name, lab.hosts, lab.hosts,
               lab.underlay);
        printf("%s  godwit nve list                                     the hosts\n"
               "  godwit vn create blue --subnet 10.1.0.0/24 --subnet fd00:1::/64\n"
               "  godwit lab vm add web --vn blue --ip 10.1.0.10 --ip fd00:1::10 --on h1\n"
               "  godwit lab guest add client --host h3 --vn blue\n"
               "  godwit lab exec client -- ping 10.1.0.10\n"
               "  godwit vm move web --to h2\n"
               "  godwit lab down                                     removes every trace%s\n",
               gw_colour(cli, GW_DIM), gw_colour(cli, GW_PLAIN));
        gw_lab_close(&lab);
        return GW_EXIT_OK;
}

/* --name or --lab; NULL: the only one. */
static const char *lab_name(const struct gw_cli *cli, const struct gw_args *args) {
        return gw_args_text(args, "name") ? gw_args_text(args, "name") : cli->lab;
}

static int lab_down(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};

        error.code = gw_lab_down(lab_name(cli, args), &error);
        return error.code ? gw_cli_error(&error) : GW_EXIT_OK;
}

static int open_lab(struct gw_cli *cli, const struct gw_args *args, struct gw_lab *lab) {
        struct gw_error error = {0};

        error.code = gw_lab_open(lab, lab_name(cli, args), &error);
        return error.code ? gw_cli_error(&error) : GW_EXIT_OK;
}

static int finish(struct gw_lab *lab, int code, struct gw_error *error) {
        gw_lab_close(lab);
        error->code = code;
        return code ? gw_cli_error(error) : GW_EXIT_OK;
}

static void status_row(struct gw_columns *t, const struct gw_lab *lab, const json_t *item) {
        bool alive = gw_lab_process_alive(item);

        gw_columns_row(t);
        gw_columns_cell(t, 0, "%s", lab->name);
        gw_columns_cell(t, 1, "%s", gw_member_text(item, "host"));
        gw_columns_cell(t, 2, "%s", gw_member_text(item, "daemon"));
        gw_columns_cell(t, 3, "%s", alive ? "runs" : "ended");
        gw_columns_cell(t, 4, "%lld", (long long)gw_member_int(item, "pid"));
        gw_columns_cell(t, 5, "%s", gw_member_text(item, "log"));
}

static int print_status(struct gw_cli *cli, struct gw_lab *lab) {
        static const char *const heads[] = {"LAB", "HOST", "DAEMON", "STATE", "PID", "LOG", NULL};
        struct gw_columns table;
        json_t *item;
        size_t i;

        if (cli->json) {
                gw_print_json(lab->manifest.object);
                return GW_EXIT_OK;
        }
        gw_columns_init(&table, heads);
        json_array_foreach (gw_manifest_items(&lab->manifest), i, item)
                if (!strcmp(gw_member_text(item, "kind"), "process"))
                        status_row(&table, lab, item);
        gw_columns_print(&table, cli, stdout);
        return GW_EXIT_OK;
}

static int lab_status(struct gw_cli *cli, const struct gw_args *args) {
        char names[32][GW_LAB_NAME_MAX + 1];
        const char *name = lab_name(cli, args);
        struct gw_error error = {0};
        struct gw_lab lab;
        size_t n = gw_lab_list(names, 32);
        int r = GW_EXIT_OK;

        if (!n && !name) {
                puts(cli->json ? "[]" : "no lab is up; `godwit lab up` builds one");
                return GW_EXIT_OK;
        }
        for (size_t i = 0; i < (n < 32 ? n : 32); i++) {
                if (name && strcmp(name, names[i]) != 0)
                        continue;
                error.code = gw_lab_look(&lab, names[i], &error);
                r = error.code ? gw_cli_error(&error) : print_status(cli, &lab);
                if (!error.code)
                        gw_lab_close(&lab);
                n = 0;
        }
        return n ? gw_cli_fail(GW_EXIT_NOT_FOUND, "no lab named %s is up", name) : r;
}

static int lab_exec(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        struct gw_lab lab;

        if (!args->rest || !args->rest[0])
                return gw_cli_fail(GW_EXIT_USAGE, "what to run? godwit lab exec %s -- COMMAND [ARG...]",
                                   args->words[0]);
        error.code = gw_lab_look(&lab, lab_name(cli, args), &error);
        return error.code ? gw_cli_error(&error)
                          : finish(&lab, gw_lab_exec(&lab, args->words[0], args->rest, &error), &error);
}

static int lab_start(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        struct gw_lab lab;
        int r = open_lab(cli, args, &lab);

        return r ? r : finish(&lab, gw_lab_start(&lab, args->words[0], args->words[1], &error), &error);
}

static int lab_kill(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        struct gw_lab lab;
        int r = open_lab(cli, args, &lab);

        if (r)
                return r;
        r = gw_lab_kill(&lab, args->words[0], args->words[1], (int)gw_args_int(args, "signal"), &error);
        return finish(&lab, r, &error);
}

static int lab_wait(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        struct gw_lab lab;
        int r = open_lab(cli, args, &lab);

        return r ? r : finish(&lab, gw_lab_wait(&lab, (unsigned)gw_args_int(args, "limit") * 1000, &error), &error);
}

static int lab_guest(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_lab_guest guest = {.name = args->words[1],
                                     .host = gw_args_text(args, "host"),
                                     .vn = gw_args_text(args, "vn"),
                                     .mac = gw_args_text(args, "mac")};
        bool add = !strcmp(args->words[0], "add");
        struct gw_error error = {0};
        struct gw_lab lab;
        int r;

        if (!add && strcmp(args->words[0], "delete") != 0)
                return gw_cli_fail(GW_EXIT_USAGE, "\"%s\" is not known; it must be add or delete", args->words[0]);
        if (add && (!guest.host || !guest.vn))
                return gw_cli_fail(GW_EXIT_USAGE, "--%s is missing: godwit lab guest add NAME --host HOST --vn VN",
                                   guest.host ? "vn" : "host");
        if (gw_args_count(args, "ip") > sizeof guest.ips / sizeof *guest.ips)
                return gw_cli_fail(GW_EXIT_USAGE, "--ip is given more than 16 times");
        for (; guest.n_ips < gw_args_count(args, "ip"); guest.n_ips++)
                guest.ips[guest.n_ips] = gw_args_nth(args, "ip", guest.n_ips);
        r = open_lab(cli, args, &lab);
        if (r)
                return r;
        r = add ? gw_lab_guest_add(&lab, &guest, &error) : gw_lab_guest_delete(&lab, guest.name, &error);
        return finish(&lab, r, &error);
}

static int lab_vm(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_lab_vm vm = {.name = args->words[1],
                               .vn = gw_args_text(args, "vn"),
                               .on = gw_args_text(args, "on"),
                               .mac = gw_args_text(args, "mac"),
                               .synthetic = gw_args_has(args, "synthetic"),
                               .memory_mib = (unsigned)gw_args_int(args, "memory"),
                               .pause_ms = (unsigned)gw_args_int(args, "pause-ms"),
                               .copy_ms = (unsigned)gw_args_int(args, "copy-ms")};
        struct gw_error error = {0};
        struct gw_lab lab;
        int r;

        if (strcmp(args->words[0], "add") != 0)
                return gw_cli_fail(GW_EXIT_USAGE, "\"%s\" is not known; it must be add (`godwit vm delete` deletes)",
                                   args->words[0]);
        if (gw_args_count(args, "ip") > sizeof vm.ips / sizeof *vm.ips)
                return gw_cli_fail(GW_EXIT_USAGE, "--ip is given more than 16 times");
        for (; vm.n_ips < gw_args_count(args, "ip"); vm.n_ips++)
                vm.ips[vm.n_ips] = gw_args_nth(args, "ip", vm.n_ips);
        r = open_lab(cli, args, &lab);
        return r ? r : finish(&lab, gw_lab_vm_add(&lab, &vm, &error), &error);
}

static int lab_demo(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_demo_options options = {.name = gw_args_text(args, "name"),
                                          .accelerator = gw_args_text(args, "accelerator"),
                                          .json_file = gw_args_text(args, "json"),
                                          .moves = (unsigned)gw_args_int(args, "moves"),
                                          .underlay = (unsigned)gw_args_int(args, "underlay"),
                                          .udp_rate = (unsigned)gw_args_int(args, "udp-rate"),
                                          .pause_ms = (unsigned)gw_args_int(args, "pause-ms"),
                                          .synthetic = gw_args_has(args, "synthetic"),
                                          .keep = gw_args_has(args, "keep")};

        return gw_demo_run(cli, &options);
}

static int parse_target(const char *text, uint16_t port, struct gw_endpoint *out) {
        if (!gw_endpoint_parse(text, out))
                return 0;
        out->port = port;
        return gw_ip_parse(text, &out->ip);
}

static int probe_serve(const struct gw_args *args) {
        struct gw_error error = {0};
        uint16_t port = gw_args_has(args, "port") ? (uint16_t)gw_args_int(args, "port") : GW_PROBE_PEER_PORT;

        if (args->n_words)
                return gw_cli_fail(GW_EXIT_USAGE, "--serve waits for probes; it takes no target");
        error.code = gw_probe_serve(port, gw_args_text(args, "netns"), stdout, &error);
        return error.code ? gw_cli_error(&error) : GW_EXIT_OK;
}

static int probe(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_probe_options o = {.udp_rate = (unsigned)gw_args_int(args, "udp-rate"),
                                     .size = (unsigned)gw_args_int(args, "size"),
                                     .duration_ms = (unsigned)(gw_args_int(args, "duration") * 1000),
                                     .wait_ms = (unsigned)gw_args_int(args, "wait"),
                                     .gaps_max = (unsigned)gw_args_int(args, "gaps"),
                                     .one_way = gw_args_has(args, "one-way"),
                                     .json = cli->json,
                                     .netns = gw_args_text(args, "netns")};
        uint16_t port = o.one_way ? GW_PROBE_PEER_PORT : GW_PROBE_PORT;
        struct gw_error error = {0};

        if (gw_args_has(args, "serve"))
                return probe_serve(args);
        if (!args->n_words)
                return gw_cli_fail(GW_EXIT_USAGE, "which target? godwit probe ADDRESS..., or --serve");
        if (gw_args_has(args, "tcp"))
                o.tcp_rate = (unsigned)gw_args_int(args, "tcp-rate");
        if (!o.udp_rate && !o.tcp_rate)
                return gw_cli_fail(GW_EXIT_USAGE, "--udp-rate is 0 and there is no --tcp: nothing to send");
        if (gw_args_has(args, "until-signal"))
                o.duration_ms = 0;
        if (gw_args_has(args, "port"))
                port = (uint16_t)gw_args_int(args, "port");
        for (; o.n_targets < args->n_words && o.n_targets < GW_PROBE_TARGETS_MAX; o.n_targets++)
                if (parse_target(args->words[o.n_targets], port, &o.targets[o.n_targets]))
                        return gw_cli_fail(GW_EXIT_USAGE,
                                           "target \"%s\" is not an address, address:port or [address]:port",
                                           args->words[o.n_targets]);
        error.code = gw_probe_run(&o, stdout, &error);
        if (error.code == GW_E_REFUSED)
                return GW_EXIT_FAILED; /* the report has said it */
        return error.code ? gw_cli_error(&error) : GW_EXIT_OK;
}

#define NAME_FLAG                                                                                                      \
        { "name", GW_FLAG_NAME, "LAB", "which lab; not needed when there is one" }
#define ACCELERATOR_FLAG                                                                                               \
        { "accelerator", GW_FLAG_CHOICE, "HOW", "how VMs run", .choices = "auto kvm tcg", .fallback = "auto" }

static const struct gw_flag up_flags[] = {
        {"name", GW_FLAG_NAME, "LAB", "its name", .fallback = "lab"},
        {"hosts", GW_FLAG_INT, "N", "how many hosts", 1, GW_LAB_HOSTS_MAX, .fallback = "3"},
        {"underlay", GW_FLAG_CHOICE, "FAMILY", "IPv4 or IPv6 between the hosts", .choices = "4 6", .fallback = "4"},
        {"mtu", GW_FLAG_INT, "OCTETS", "of the underlay", 1400, 9216, "octets", .fallback = "1500"},
        ACCELERATOR_FLAG,
        {"memory", GW_FLAG_INT, "MIB", "of each host, for VMs", 64, 1048576, "MiB", .fallback = "2048"},
        {"vcpus", GW_FLAG_INT, "N", "of each host, for VMs", 1, 1024, .fallback = "8"},
        {"log-level", GW_FLAG_CHOICE, "LEVEL", "of the daemons", .choices = "error warning notice info debug",
         .fallback = "info"},
        {0},
};
static const struct gw_flag name_flags[] = {NAME_FLAG, {0}};
static const struct gw_flag kill_flags[] = {
        NAME_FLAG,
        {"signal", GW_FLAG_INT, "N", "the signal; 9 is a crash", 1, 64, .fallback = "9"},
        {0},
};
static const struct gw_flag wait_flags[] = {
        NAME_FLAG,
        {"limit", GW_FLAG_INT, "S", "give up after", 1, 3600, "s", .fallback = "30"},
        {0},
};
static const struct gw_flag guest_flags[] = {
        NAME_FLAG,
        {"host", GW_FLAG_NAME, "HOST", "the host it is connected to"},
        {"vn", GW_FLAG_ID, "VN", "the VN"},
        {"mac", GW_FLAG_MAC, "MAC", "its MAC address; chosen when not given"},
        {"ip", GW_FLAG_IP, "IP", "an address; chosen when none is given", .repeat = true},
        {0},
};
static const struct gw_flag vm_flags[] = {
        NAME_FLAG,
        {"vn", GW_FLAG_ID, "VN", "the VN", .required = true},
        {"ip", GW_FLAG_IP, "IP", "an address", .repeat = true},
        {"mac", GW_FLAG_MAC, "MAC", "its MAC address; chosen when not given"},
        {"on", GW_FLAG_NAME, "HOST", "where to start it"},
        {"memory", GW_FLAG_INT, "MIB", "memory", 16, 65536, "MiB", .fallback = "128"},
        {"synthetic", GW_FLAG_SWITCH, .help = "no QEMU: a network stack that moves in no time"},
        {"pause-ms", GW_FLAG_INT, "MS", "synthetic: how long a move stops it", 0, 60000, "ms", .fallback = "20"},
        {"copy-ms", GW_FLAG_INT, "MS", "synthetic: how long the copy takes", 0, 60000, "ms", .fallback = "50"},
        {0},
};
static const struct gw_flag demo_flags[] = {
        {"name", GW_FLAG_NAME, "LAB", "its name", .fallback = "demo"},
        {"moves", GW_FLAG_INT, "N", "how often the VM moves", 1, 10000, .fallback = "10"},
        {"underlay", GW_FLAG_CHOICE, "FAMILY", "IPv4 or IPv6 between the hosts", .choices = "4 6", .fallback = "4"},
        {"udp-rate", GW_FLAG_INT, "N", "packets a second in each stream", 1, 20000, .fallback = "1000"},
        ACCELERATOR_FLAG,
        {"synthetic", GW_FLAG_SWITCH, .help = "a synthetic guest in place of a real VM"},
        {"pause-ms", GW_FLAG_INT, "MS", "synthetic: how long a move stops it", 0, 60000, "ms", .fallback = "20"},
        {"json", GW_FLAG_PATH, "FILE", "write the figures there too"},
        {"keep", GW_FLAG_SWITCH, .help = "leave the lab up, and tell what to try next"},
        {0},
};
static const struct gw_flag probe_flags[] = {
        {"udp-rate", GW_FLAG_INT, "N", "UDP packets a second to each target; 0 for none", 0, GW_PROBE_RATE_MAX,
         .fallback = "1000"},
        {"size", GW_FLAG_INT, "OCTETS", "of UDP payload", GW_PROBE_HEADER, GW_PROBE_SIZE_MAX, "octets",
         .fallback = "64"},
        {"tcp", GW_FLAG_SWITCH, .help = "a TCP stream to each target as well"},
        {"tcp-rate", GW_FLAG_INT, "N", "records of 64 octets a second in it", 1, GW_PROBE_RATE_MAX, .fallback = "1000"},
        {"duration", GW_FLAG_INT, "S", "how long", 1, 86400, "s", .fallback = "10"},
        {"until-signal", GW_FLAG_SWITCH, .help = "until Ctrl-C or SIGTERM; SIGUSR1 prints the figures so far"},
        {"wait", GW_FLAG_INT, "MS", "before the start: how long a target may take to answer; 0 does not ask", 0,
         3600000, "ms", .fallback = "5000"},
        {"gaps", GW_FLAG_INT, "N", "with --json: how many of the longest gaps are told", 0, GW_TRACK_GAPS_MAX,
         .fallback = "100"},
        {"port", GW_FLAG_INT, "PORT", "when not 7 (echo), or 7461 with --one-way and --serve", 1, 65535},
        {"one-way", GW_FLAG_SWITCH, .help = "each direction by itself; the target runs godwit probe --serve"},
        {"serve", GW_FLAG_SWITCH, .help = "be the other end: echo, and one-way streams"},
        {"netns", GW_FLAG_TEXT, "NAME", "work in that network namespace"},
        {0},
};

const struct gw_command gw_lab_commands[] = {
        {"lab", "up", "", 0, 0, "a data centre on this machine: authority and hosts", up_flags, lab_up},
        {"lab", "down", "", 0, 0, "remove every trace of it", name_flags, lab_down},
        {"lab", "status", "", 0, 0, "its daemons", name_flags, lab_status},
        {"lab", "exec", "HOST", 1, 1, "run a command on a host or in a guest", name_flags, lab_exec, .rest = true},
        {"lab", "start", "HOST DAEMON", 2, 2, "start nva, nve or hv again", name_flags, lab_start},
        {"lab", "kill", "HOST DAEMON", 2, 2, "kill nva, nve or hv, as a crash would", kill_flags, lab_kill},
        {"lab", "wait", "", 0, 0, "until all hosts are connected", wait_flags, lab_wait},
        {"lab", "guest", "add|delete NAME", 2, 2, "a guest that is a network namespace", guest_flags, lab_guest},
        {"lab", "vm", "add NAME", 2, 2, "a VM with the laboratory's own system in it", vm_flags, lab_vm},
        {"lab", "demo", "", 0, 0, "watch a VM move between hosts under load", demo_flags, lab_demo},
        {"probe", "", "[TARGET...]", 0, GW_PROBE_TARGETS_MAX, "numbered packets: what was lost, doubled, late",
         probe_flags, probe},
        {0},
};
