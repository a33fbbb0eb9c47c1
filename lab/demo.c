/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The demonstration: a lab of three hosts, a VM on h1, a client on h3 that sends it
 * numbered packets, and the VM moves between h1 and h2 while they flow.
 *
 * The work is done in a child process; the parent waits for it and removes the lab
 * however the child ends, by itself, by Ctrl-C or by a crash. What is shown is
 * measured by the probe on the client, not told by the daemons; a move's record is
 * only used to know when the VM stood still.
 */
#include "lab/demo.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/move.h"
#include "cli/output.h"
#include "io/file.h"
#include "lab/lab.h"
#include "lab/summary.h"
#include "lab/witness.h"

#define VM "web"
#define CLIENT "client"
#define VN "blue"

enum { BOOT_MS = 90000, AFTER_MOVE_MS = 400, STEADY_MS = 20000, STEADY_RECORDS = 200, POLL_MS = 100 };

struct demo {
        struct gw_cli *cli;
        const struct gw_demo_options *options;
        struct gw_lab lab;
        struct gw_witness witness;
        struct gw_summary summary;
        struct gw_error error;
};

static void say(const struct demo *d, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct demo *d, const char *format, ...) {
        va_list args;

        va_start(args, format);
        fputs(gw_colour(d->cli, GW_BOLD), stdout);
        vprintf(format, args);
        printf("%s\n", gw_colour(d->cli, GW_PLAIN));
        va_end(args);
        fflush(stdout);
}

static int build_lab(struct demo *d) {
        struct gw_lab_options options = {.name = d->options->name,
                                         .accelerator = d->options->accelerator,
                                         .log_level = "info",
                                         .hosts = 3,
                                         .underlay = d->options->underlay,
                                         .mtu = 1500,
                                         .memory_mib = 1024,
                                         .vcpus = 4};

        say(d, "A data centre on this machine: one authority, three hosts, IPv%u between them", d->options->underlay);
        return gw_lab_up(&d->lab, &options, &d->error);
}

static int make_network(struct demo *d) {
        json_t *body = json_pack("{s:s, s:[s, s]}", "name", VN, "subnets", "10.1.0.0/24", "fd00:1::/64");

        say(d, "A virtual network \"" VN "\": 10.1.0.0/24 and fd00:1::/64");
        return gw_cli_try(d->cli, "POST", body, NULL, &d->error, "/v1/vns");
}

static int make_guests(struct demo *d) {
        struct gw_lab_vm vm = {.name = VM,
                               .vn = VN,
                               .on = "h1",
                               .ips = {"10.1.0.10", "fd00:1::10"},
                               .n_ips = 2,
                               .synthetic = d->options->synthetic,
                               .memory_mib = 128,
                               .pause_ms = d->options->pause_ms,
                               .copy_ms = 50};
        struct gw_lab_guest guest = {
                .name = CLIENT, .host = "h3", .vn = VN, .ips = {"10.1.0.20", "fd00:1::20"}, .n_ips = 2};
        int r;

        say(d, "A %s \"" VM "\" on h1: 10.1.0.10 and fd00:1::10", vm.synthetic ? "synthetic guest" : "virtual machine");
        r = gw_lab_vm_add(&d->lab, &vm, &d->error);
        if (r)
                return r;
        say(d, "A client on h3: 10.1.0.20 and fd00:1::20");
        return gw_lab_guest_add(&d->lab, &guest, &d->error);
}

static int start_witness(struct demo *d) {
        char netns[64], rate[16], gaps[16], wait[16];
        const char *args[] = {"10.1.0.10", "fd00:1::10", "--netns",    netns, "--udp-rate",
                              rate,        "--tcp",      "--tcp-rate", "250", "--until-signal",
                              "--gaps",    gaps,         "--wait",     wait,  NULL};

        gw_lab_netns(&d->lab, CLIENT, netns);
        snprintf(rate, sizeof rate, "%u", d->options->udp_rate);
        snprintf(gaps, sizeof gaps, "%u", 100 + 4 * d->options->moves < 20000 ? 100 + 4 * d->options->moves : 20000);
        snprintf(wait, sizeof wait, "%d", BOOT_MS);
        say(d,
            "The client waits for the VM to answer, and then sends: UDP, %u packets/s there and back in IPv4 and in "
            "IPv6,\nand a TCP stream in each",
            d->options->udp_rate);
        return gw_witness_start(&d->witness, args, &d->error);
}

/* Every stream has carried something both ways. */
static bool is_steady(json_t *report) {
        json_t *stream;
        size_t i;

        json_array_foreach (json_object_get(report, "streams"), i, stream)
                if (gw_member_int(stream, "received") + gw_member_int(stream, "records_verified") < STEADY_RECORDS)
                        return false;
        return true;
}

static int wait_steady(struct demo *d) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(STEADY_MS));
        bool steady = false;
        int r = 0;

        while (!r && !steady) {
                json_t *report = NULL;

                r = gw_witness_report(&d->witness, 0, &report, &d->error);
                steady = !r && is_steady(report);
                json_decref(report);
                if (!r && !steady && gw_mono_reached(gw_mono_now(), end))
                        r = gw_fail(&d->error, GW_E_AGAIN, "", "the client's streams do not flow after %d s",
                                    STEADY_MS / 1000);
                if (!r && !steady)
                        usleep(POLL_MS * 1000);
        }
        return r;
}

static void show_move(struct demo *d, json_t *move, json_t *report) {
        uint64_t from = gw_move_stopped_ns(move), to = gw_move_resumed_ns(move);

        gw_move_draw(d->cli, move, stdout);
        gw_move_conclude(d->cli, move, stdout);
        printf("seen by the client: silence of %.1f ms in IPv4, %.1f ms in IPv6; TCP stall of %.1f ms\n\n",
               gw_witness_gap_ms(report, "udp", 4, from, to), gw_witness_gap_ms(report, "udp", 6, from, to),
               gw_witness_gap_ms(report, "tcp", 0, from, to));
        fflush(stdout);
}

/* One move, waited for; then a moment for the packets that were on their way. */
static int move_once(struct demo *d, unsigned number) {
        struct gw_move_wish wish = {.vm = VM, .to = number % 2 ? "h2" : "h1"};
        json_t *move = NULL, *report = NULL;
        char id[80];
        int r = gw_move_ask(d->cli, &wish, id, &d->error);

        if (!r)
                r = gw_move_follow(d->cli, id, d->cli->live, &move, &d->error);
        if (r)
                return r;
        usleep(AFTER_MOVE_MS * 1000);
        r = gw_witness_report(&d->witness, 0, &report, &d->error);
        if (!r) {
                say(d, "Move %u of %u", number, d->options->moves);
                show_move(d, move, report);
                gw_summary_add_move(&d->summary, move);
                if (!gw_move_went_well(move))
                        r = gw_fail(&d->error, GW_E_REFUSED, "", "the move failed");
        }
        json_decref(report);
        json_decref(move);
        return r;
}

static int conclude(struct demo *d) {
        json_t *report;
        int r = gw_witness_report(&d->witness, 1, &report, &d->error);

        if (r)
                return r;
        gw_summary_conclude(&d->summary, report);
        json_decref(report);
        gw_summary_print(&d->summary, d->cli, stdout);
        if (d->options->json_file)
                r = gw_file_write_json(d->options->json_file, d->summary.figures, 0644);
        if (r < 0)
                return gw_fail(&d->error, r, "", "cannot write %s: %s", d->options->json_file, strerror(-r));
        return gw_summary_is_clean(&d->summary)
                       ? 0
                       : gw_fail(&d->error, GW_E_REFUSED, "", "packets were lost or doubled, or a TCP stream broke");
}

static int play(struct demo *d) {
        int r = build_lab(d);

        if (!r)
                r = make_network(d);
        if (!r)
                r = make_guests(d);
        gw_lab_close(&d->lab); /* others may look on, and take part */
        if (!r)
                r = start_witness(d);
        if (!r)
                r = wait_steady(d);
        for (unsigned i = 1; !r && i <= d->options->moves; i++)
                r = move_once(d, i);
        return r ? r : conclude(d);
}

static void say_next(const struct demo *d) {
        char api[GW_LAB_PATH];

        gw_lab_api(d->options->name, api);
        if (access(api, F_OK) < 0)
                return; /* it never came up */
        say(d, "\nThe lab is still up. Try:");
        printf("  godwit vm list --lab %s\n"
               "  godwit vm move " VM " --to h3 --lab %s\n"
               "  godwit move list --lab %s\n"
               "  godwit lab exec " CLIENT " --name %s -- ping -c 3 10.1.0.10\n"
               "  godwit lab kill h1 nve --name %s     and see that packets still flow; `lab start h1 nve` brings it "
               "back\n"
               "  godwit lab down --name %s            removes every trace\n",
               d->options->name, d->options->name, d->options->name, d->options->name, d->options->name,
               d->options->name);
}

static int child(struct gw_cli *cli, const struct gw_demo_options *options) {
        struct demo d = {.cli = cli, .options = options, .lab = {.lock = -1}};
        char api[GW_LAB_PATH];

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        gw_lab_api(options->name, api);
        cli->api = api;
        d.error.code = play(&d);
        gw_witness_deinit(&d.witness);
        gw_lab_close(&d.lab);
        gw_summary_deinit(&d.summary);
        if (d.error.code)
                gw_cli_error(&d.error);
        if (options->keep)
                say_next(&d);
        return d.error.code ? GW_EXIT_FAILED : GW_EXIT_OK;
}

static volatile sig_atomic_t interrupted;

static void note_interrupt(int signal) {
        (void)signal;
        interrupted = 1;
}

/* Ctrl-C reaches the child by itself, a SIGTERM is handed on. */
static int wait_for(pid_t pid) {
        struct sigaction action = {.sa_handler = note_interrupt};
        int status = 0;

        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                kill(pid, SIGTERM);
        return WIFEXITED(status) ? WEXITSTATUS(status) : GW_EXIT_FAILED;
}

int gw_demo_run(struct gw_cli *cli, const struct gw_demo_options *options) {
        struct gw_error error = {0};
        char names[64][GW_LAB_NAME_MAX + 1];
        size_t n = gw_lab_list(names, 64);
        pid_t pid;
        int r;

        for (size_t i = 0; i < n && i < 64; i++)
                if (!strcmp(names[i], options->name))
                        return gw_cli_fail(GW_EXIT_FAILED,
                                           "a lab named %s is up already; `godwit lab down --name %s` "
                                           "removes it, or take another --name",
                                           options->name, options->name);
        fflush(NULL);
        pid = fork();
        if (pid < 0)
                return gw_cli_fail(GW_EXIT_FAILED, "fork: %s", strerror(errno));
        if (!pid) {
                r = child(cli, options);
                fflush(NULL);
                _exit(r);
        }
        r = wait_for(pid);
        if (options->keep && !interrupted)
                return r;
        error.code = gw_lab_down(options->name, &error);
        if (error.code)
                return gw_cli_error(&error);
        puts(interrupted ? "\ninterrupted; nothing is left behind" : "nothing is left behind");
        return interrupted ? GW_EXIT_FAILED : r;
}
