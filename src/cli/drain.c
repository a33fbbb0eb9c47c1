/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `nve drain` and `nve undrain`. The plan is printed first; then the authority drains, whether
 * or not anybody looks on, and this shows how far it is. What is shown is asked for
 * twice a second; a restart of the authority in between does no harm.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1, POLL_MS = 500, SILENCE_MAX_MS = 30000, BAR_COLUMNS = 24 };

static void print_plan(const struct gw_cli *cli, const json_t *plan) {
        static const char *const heads[] = {"VM", "MEMORY", "MODE", "TO", "REASON", NULL};
        struct gw_columns table;
        json_t *vm;
        size_t i;

        gw_columns_init(&table, heads);
        json_array_foreach (json_object_get(plan, "vms"), i, vm) {
                const char *to = gw_member_text(vm, "to"), *as = gw_member_text(vm, "as");
                bool leave = json_is_true(json_object_get(vm, "leave")), runs = !*as || !strcmp(as, "running");

                gw_columns_row(&table);
                gw_columns_cell(&table, 0, "%s", gw_member_text(vm, "vm"));
                gw_columns_cell(&table, 1, "%lld MiB", (long long)gw_member_int(vm, "memory_mib"));
                gw_columns_cell(&table, 2, "%s%s%s%s", gw_member_text(vm, "mode"), runs ? "" : " (", runs ? "" : as,
                                runs ? "" : ")");
                gw_columns_cell(&table, 3, "%s", *to ? to : leave ? "stays" : "nowhere");
                gw_columns_cell(&table, 4, "%s", gw_member_text(vm, "reason"));
        }
        if (table.n_rows)
                gw_columns_print(&table, cli, stdout);
        else
                printf("%s has no VMs\n", gw_member_text(plan, "nve"));
}

/* [######......] 3 of 8 moved, web moves to h2, some 12 s left */
static void progress_line(const struct gw_cli *cli, const json_t *drain) {
        long long moved = gw_member_int(drain, "moved"), left = gw_member_int(drain, "left"),
                  stuck = gw_member_int(drain, "stuck"), all = moved + left + stuck;
        int filled = all ? (int)(moved * BAR_COLUMNS / all) : BAR_COLUMNS;
        json_t *vm, *estimate = json_object_get(drain, "estimate_s");
        size_t i;

        printf("%s[%.*s%.*s]%s %lld of %lld moved", gw_colour(cli, GW_CYAN), filled, "########################",
               BAR_COLUMNS - filled, "........................", gw_colour(cli, GW_PLAIN), moved, all);
        json_array_foreach (json_object_get(drain, "vms"), i, vm)
                if (!strcmp(gw_member_text(vm, "state"), "moving"))
                        printf(", %s to %s", gw_member_text(vm, "vm"), gw_member_text(vm, "to"));
        if (stuck)
                printf(", %lld stay", stuck);
        if (json_is_number(estimate) && left)
                printf(", some %.0f s left", json_number_value(estimate));
}

static const char *state_of(const json_t *drain) {
        return gw_member_text(drain, "state");
}

static int follow(struct gw_cli *cli, const char *path_segment, json_t **out) {
        bool live = cli->live && !cli->json;
        struct gw_mono heard = gw_mono_now();
        struct gw_error error = {0};

        for (;;) {
                int r = gw_cli_try(cli, "GET", NULL, out, &error, "/v1/nves/%s/drain", path_segment);

                if (!r) {
                        heard = gw_mono_now();
                        if (live) {
                                fputs("\r\033[K", stdout);
                                if (!strcmp(state_of(*out), "draining"))
                                        progress_line(cli, *out);
                                fflush(stdout);
                        }
                        if (strcmp(state_of(*out), "draining") != 0)
                                return GW_EXIT_OK;
                        json_decref(*out);
                } else if (r > 0 || gw_mono_between(heard, gw_mono_now()).ns > gw_ms(SILENCE_MAX_MS).ns) {
                        return gw_cli_error(&error);
                }
                usleep(POLL_MS * 1000);
        }
}

static void print_end(const struct gw_cli *cli, const json_t *drain, const char *nve) {
        json_t *vm;
        size_t i;

        if (!strcmp(state_of(drain), "drained")) {
                printf("%s%s is %s%s; %lld VMs have moved", gw_colour(cli, GW_GREEN), nve,
                       gw_member_int(drain, "stay") ? "drained" : "empty", gw_colour(cli, GW_PLAIN),
                       (long long)gw_member_int(drain, "moved"));
                if (gw_member_int(drain, "stay"))
                        printf(", %lld that do not run are left there", (long long)gw_member_int(drain, "stay"));
                printf(". `godwit nve undrain %s` takes VMs again\n", nve);
                return;
        }
        json_array_foreach (json_object_get(drain, "vms"), i, vm)
                if (strcmp(gw_member_text(vm, "state"), "moved") != 0 &&
                    strcmp(gw_member_text(vm, "state"), "left") != 0)
                        printf("%s %s: %s\n", gw_member_text(vm, "vm"), gw_member_text(vm, "state"),
                               *gw_member_text(vm, "reason") ? gw_member_text(vm, "reason")
                                                             : "it is a task, or changes its state; we cannot move it");
        printf("%s%lld are left on %s%s; `godwit nve drain %s` tries again\n", gw_colour(cli, GW_RED),
               (long long)gw_member_int(drain, "stuck"), nve, gw_colour(cli, GW_PLAIN), nve);
}

static json_t *leave_of(const struct gw_args *args) {
        json_t *list = json_array();
        const char *word;

        for (size_t i = 0; (word = gw_args_nth(args, "leave", i)); i++)
                json_array_append_new(list, json_string(word));
        return list;
}

/* GW_EXIT_OK when every VM of the plan has a place. */
static int show_plan(struct gw_cli *cli, const char *segment, const struct gw_args *args) {
        bool alone = gw_args_has(args, "plan");
        json_t *plan, *vm;
        size_t i;
        int r = gw_cli_call(cli, "POST", json_pack("{s:b, s:o}", "plan", 1, "leave", leave_of(args)), &plan,
                            "/v1/nves/%s/drain", segment);

        if (r)
                return r;
        json_array_foreach (json_object_get(plan, "vms"), i, vm)
                if (alone && !*gw_member_text(vm, "to") && !json_is_true(json_object_get(vm, "leave")))
                        r = GW_EXIT_MOVE_FAILED;
        if (cli->json && alone)
                gw_print_json(plan);
        else if (!cli->json)
                print_plan(cli, plan);
        json_decref(plan);
        return r;
}

static int nve_drain(struct gw_cli *cli, const struct gw_args *args) {
        const char *nve = args->words[0];
        char segment[SEGMENT];
        json_t *drain;
        int r;

        gw_client_segment(nve, segment, sizeof segment);
        r = show_plan(cli, segment, args);
        if (r || gw_args_has(args, "plan"))
                return r;
        r = gw_cli_call(cli, "POST",
                        json_pack("{s:I, s:o}", "concurrent", (json_int_t)gw_args_int(args, "concurrent"), "leave",
                                  leave_of(args)),
                        &drain, "/v1/nves/%s/drain", segment);
        if (!r && !gw_args_has(args, "no-wait")) {
                json_decref(drain);
                r = follow(cli, segment, &drain);
        }
        if (r)
                return r;
        if (cli->json)
                gw_print_json(drain);
        else if (gw_args_has(args, "no-wait"))
                printf("%s is being drained; `godwit nve drain %s` follows it\n", nve, nve);
        else
                print_end(cli, drain, nve);
        if (!gw_args_has(args, "no-wait") && strcmp(state_of(drain), "drained") != 0)
                r = GW_EXIT_MOVE_FAILED;
        json_decref(drain);
        return r;
}

static int nve_undrain(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        int r = gw_cli_call(cli, "DELETE", NULL, NULL, "/v1/nves/%s/drain",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        if (!r && !cli->json)
                printf("%s takes VMs again\n", args->words[0]);
        return r;
}

static const struct gw_flag drain_flags[] = {
        {"plan", GW_FLAG_SWITCH, .help = "only say what would move where"},
        {"concurrent", GW_FLAG_INT, "N", "so many moves at once; 2 when not given", 1, 16, .fallback = "2"},
        {"leave", GW_FLAG_CHOICE, "WHAT", "VMs that are suspended, or stopped, stay where they are",
         .choices = "suspended stopped", .repeat = true},
        {"no-wait", GW_FLAG_SWITCH, .help = "only begin"},
        {0},
};

const struct gw_command gw_drain_commands[] = {
        {"nve", "drain", "NVE", 1, 1, "move every VM of a host elsewhere, and let none come", drain_flags, nve_drain},
        {"nve", "undrain", "NVE", 1, 1, "let VMs come to it again", .run = nve_undrain},
        {0},
};
