/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An emulator without a machine. The guest's network stack is a namespace that
 * its keeper owns (keeper.c) and that stays where it is; the emulator carries
 * frames between the host's tap and the guest's while it "runs". Moving it
 * means that another emulator, on another host's tap, does the same from then
 * on. To an agent it is QEMU: command line, QMP, run states, statuses, events.
 */
#include "synth/emulator.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "synth/args.h"
#include "synth/copy.h"
#include "synth/keeper.h"
#include "synth/pump.h"
#include "synth/qmpd.h"

struct emulator {
        const struct synth_args *args;
        sd_event *event;
        struct qmpd *qmpd;
        struct copy *copy;
        struct pump *pumps[SYNTH_PORTS_MAX];
        const char *status; /* QEMU's run state */
};

static bool is_running(const struct emulator *e) {
        return strcmp(e->status, "running") == 0;
}

static void set_running(struct emulator *e, bool run, const char *status) {
        e->status = status;
        for (size_t i = 0; i < e->args->n_ports; i++)
                pump_run(e->pumps[i], run);
        qmpd_event(e->qmpd, run ? "RESUME" : "STOP", NULL);
}

/* ---- what a copy does to us ---- */

static void on_copy_event(const char *name, json_t *data, void *user) {
        qmpd_event(((struct emulator *)user)->qmpd, name, data);
}

static void on_copy_stop(void *user) {
        struct emulator *e = user;

        if (is_running(e))
                set_running(e, false, "finish-migrate");
}

static void on_copy_go(void *user) {
        set_running(user, true, "running");
}

static void on_copy_arrived(bool run, void *user) {
        struct emulator *e = user;

        if (!run) {
                e->status = "paused";
                return;
        }
        set_running(e, true, "running");
        for (size_t i = 0; i < e->args->n_ports; i++)
                pump_announce(e->pumps[i], e->args->ports[i].mac);
}

static void on_copy_left(void *user) {
        ((struct emulator *)user)->status = "postmigrate";
}

static void on_copy_lost(void *user) {
        fprintf(stderr, "godwit-synth: load of migration failed: the stream ended early\n");
        sd_event_exit(((struct emulator *)user)->event, 1);
}

static const struct copy_ops copy_ops = {
        on_copy_event, on_copy_stop, on_copy_go, on_copy_arrived, on_copy_left, on_copy_lost,
};

/* ---- commands ---- */

static void answer(struct emulator *e, const char *wrong) {
        if (wrong)
                qmpd_error(e->qmpd, "GenericError", wrong);
        else
                qmpd_return(e->qmpd, NULL);
}

static void do_query_status(struct emulator *e, json_t *arguments) {
        (void)arguments;
        qmpd_return(e->qmpd,
                    json_pack("{s:s, s:b, s:b}", "status", e->status, "running", is_running(e), "singlestep", 0));
}

static void do_query_migrate(struct emulator *e, json_t *arguments) {
        (void)arguments;
        qmpd_return(e->qmpd, copy_query(e->copy));
}

static void do_set_capabilities(struct emulator *e, json_t *arguments) {
        json_t *item;
        size_t i;

        json_array_foreach (json_object_get(arguments, "capabilities"), i, item) {
                const char *name = json_string_value(json_object_get(item, "capability"));

                if (name && strcmp(name, "pause-before-switchover") == 0)
                        copy_set_pause_before_switchover(e->copy, json_is_true(json_object_get(item, "state")));
        }
        qmpd_return(e->qmpd, NULL);
}

static void do_nothing(struct emulator *e, json_t *arguments) {
        (void)arguments;
        qmpd_return(e->qmpd, NULL);
}

static void do_migrate(struct emulator *e, json_t *arguments) {
        const char *uri = json_string_value(json_object_get(arguments, "uri"));

        if (strcmp(e->status, "inmigrate") == 0)
                answer(e, "Guest is waiting for an incoming migration");
        else
                answer(e, copy_send(e->copy, uri ? uri : "", is_running(e)));
}

static void do_incoming(struct emulator *e, json_t *arguments) {
        const char *uri = json_string_value(json_object_get(arguments, "uri"));

        if (strcmp(e->status, "inmigrate"))
                answer(e, "'-incoming' was not specified on the command line");
        else
                answer(e, copy_listen(e->copy, uri ? uri : ""));
}

static void do_continue(struct emulator *e, json_t *arguments) {
        (void)arguments;
        answer(e, copy_continue(e->copy));
}

static void do_cancel(struct emulator *e, json_t *arguments) {
        (void)arguments;
        qmpd_return(e->qmpd, NULL);
        copy_cancel(e->copy);
}

static void do_cont(struct emulator *e, json_t *arguments) {
        (void)arguments;
        if (strcmp(e->status, "inmigrate") == 0) {
                answer(e, "Guest is waiting for an incoming migration");
                return;
        }
        if (!is_running(e))
                set_running(e, true, "running");
        qmpd_return(e->qmpd, NULL);
}

static void do_stop(struct emulator *e, json_t *arguments) {
        (void)arguments;
        if (is_running(e))
                set_running(e, false, "paused");
        qmpd_return(e->qmpd, NULL);
}

static void shut_down(struct emulator *e, bool guest, const char *reason) {
        qmpd_return(e->qmpd, NULL);
        if (guest)
                qmpd_event(e->qmpd, "POWERDOWN", NULL);
        qmpd_event(e->qmpd, "SHUTDOWN", json_pack("{s:b, s:s}", "guest", guest, "reason", reason));
        sd_event_exit(e->event, 0);
}

static void do_power_down(struct emulator *e, json_t *arguments) {
        (void)arguments;
        shut_down(e, true, "guest-shutdown");
}

static void do_quit(struct emulator *e, json_t *arguments) {
        (void)arguments;
        shut_down(e, false, "host-qmp-quit");
}

static const struct {
        const char *name;
        void (*run)(struct emulator *e, json_t *arguments);
} commands[] = {
        {"query-status", do_query_status},
        {"query-migrate", do_query_migrate},
        {"migrate-set-capabilities", do_set_capabilities},
        {"migrate-set-parameters", do_nothing},
        {"migrate", do_migrate},
        {"migrate-incoming", do_incoming},
        {"migrate-continue", do_continue},
        {"migrate_cancel", do_cancel},
        {"cont", do_cont},
        {"stop", do_stop},
        {"system_powerdown", do_power_down},
        {"quit", do_quit},
};

static void on_command(struct qmpd *qmpd, const char *command, json_t *arguments, void *user) {
        char text[128];

        for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
                if (strcmp(commands[i].name, command) == 0) {
                        commands[i].run(user, arguments);
                        return;
                }
        snprintf(text, sizeof text, "The command %.64s has not been found", command);
        qmpd_error(qmpd, "CommandNotFound", text);
}

/* ---- life ---- */

static int open_ports(struct emulator *e) {
        int fds[SYNTH_PORTS_MAX];
        int n = synth_keeper_ask(e->args->guest, fds, SYNTH_PORTS_MAX), r;

        if (n < 0 || (size_t)n < e->args->n_ports) {
                fprintf(stderr, "godwit-synth: the keeper at %s has %d ports, %zu are needed: %s\n", e->args->guest,
                        n < 0 ? 0 : n, e->args->n_ports, n < 0 ? strerror(-n) : "start it with more --port");
                return n < 0 ? n : -ENODEV;
        }
        for (size_t i = 0; i < e->args->n_ports; i++) {
                r = pump_new(&e->pumps[i], e->event, e->args->ports[i].fd, fds[i]);
                if (r < 0) {
                        fprintf(stderr, "godwit-synth: port %zu: %s\n", i, strerror(-r));
                        return r;
                }
        }
        return 0;
}

static int emulator_init(struct emulator *e) {
        int r = sd_event_new(&e->event);

        if (r >= 0)
                r = open_ports(e);
        if (r >= 0)
                r = copy_new(&e->copy, e->event, &copy_ops, e, e->args->pause_ms, e->args->copy_ms);
        if (r >= 0)
                r = qmpd_new(&e->qmpd, e->event, e->args->qmp, on_command, e);
        if (r < 0)
                return r;
        if (e->args->incoming)
                e->status = "inmigrate";
        else if (!e->args->held)
                set_running(e, true, "running");
        return 0;
}

static void emulator_deinit(struct emulator *e) {
        for (size_t i = 0; i < e->args->n_ports; i++)
                pump_free(e->pumps[i]);
        copy_free(e->copy);
        qmpd_free(e->qmpd);
        sd_event_unref(e->event);
}

int synth_emulator_run(const struct synth_args *args) {
        struct emulator e = {.args = args, .status = "prelaunch"};
        int r = emulator_init(&e);

        if (r < 0)
                fprintf(stderr, "godwit-synth: cannot start: %s\n", strerror(-r));
        else
                r = sd_event_loop(e.event);
        emulator_deinit(&e);
        return r < 0 ? 1 : r;
}
