/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vm move` and `move ...`. A move is followed by asking for it five times a second:
 * the same answer serves the line of progress, the end and the timeline, and a
 * restart of the authority in between does no harm (its silence is borne for
 * SILENCE_MAX_MS).
 */
#include "cli/move.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/output.h"

enum { SEGMENT = 3 * 80, POLL_MS = 200, SILENCE_MAX_MS = 30000 };

json_t *gw_move_wish_json(const struct gw_move_wish *wish) {
        json_t *body = json_pack("{s:s}", "to", wish->to);

        if (wish->mode)
                json_object_set_new(body, "mode", json_string(wish->mode));
        if (wish->bandwidth_mib_s)
                json_object_set_new(body, "bandwidth_mib_s", json_integer(wish->bandwidth_mib_s));
        if (wish->downtime_ms)
                json_object_set_new(body, "downtime_ms", json_integer(wish->downtime_ms));
        if (wish->multifd)
                json_object_set_new(body, "multifd", json_integer(wish->multifd));
        if (wish->xbzrle)
                json_object_set_new(body, "xbzrle", json_true());
        if (wish->auto_converge)
                json_object_set_new(body, "auto_converge", json_true());
        if (wish->keep_disks)
                json_object_set_new(body, "keep_disks", json_true());
        return body;
}

int gw_move_ask(struct gw_cli *cli, const struct gw_move_wish *wish, char id[static 80], struct gw_error *error) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r;

        r = gw_cli_try(cli, "POST", gw_move_wish_json(wish), &answer, error, "/v1/vms/%s/move",
                       gw_client_segment(wish->vm, segment, sizeof segment));
        if (!r)
                snprintf(id, 80, "%s", gw_member_text(answer, "id"));
        json_decref(answer);
        return r;
}

static int fetch(struct gw_cli *cli, const char *id, json_t **out, struct gw_error *error) {
        char segment[SEGMENT];

        return gw_cli_try(cli, "GET", NULL, out, error, "/v1/moves/%s", gw_client_segment(id, segment, sizeof segment));
}

int gw_move_follow(struct gw_cli *cli, const char *id, bool live, json_t **out, struct gw_error *error) {
        struct gw_mono heard = gw_mono_now();
        json_t *move = NULL;

        for (;;) {
                int r = fetch(cli, id, &move, error);

                if (!r) {
                        heard = gw_mono_now();
                        if (live) {
                                fputs("\r\033[K", stdout);
                                gw_move_progress_line(cli, move, stdout);
                                fflush(stdout);
                        }
                        if (gw_move_is_over(move)) {
                                if (live)
                                        fputs("\r\033[K", stdout);
                                *out = move;
                                return 0;
                        }
                        json_decref(move);
                } else if (r > 0 || gw_mono_between(heard, gw_mono_now()).ns > gw_ms(SILENCE_MAX_MS).ns) {
                        return r;
                }
                usleep(POLL_MS * 1000);
        }
}

static int report_end(struct gw_cli *cli, json_t *move, bool timeline) {
        int r = gw_move_went_well(move) ? GW_EXIT_OK : GW_EXIT_MOVE_FAILED;

        if (cli->json) {
                gw_print_json(move);
        } else {
                if (timeline)
                        gw_move_draw(cli, move, stdout);
                gw_move_conclude(cli, move, stdout);
        }
        json_decref(move);
        return r;
}

int gw_vm_move(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_move_wish wish = {.vm = args->words[0],
                                    .to = gw_args_text(args, "to"),
                                    .bandwidth_mib_s = gw_args_int(args, "bandwidth"),
                                    .downtime_ms = gw_args_int(args, "downtime"),
                                    .mode = gw_args_text(args, "mode"),
                                    .multifd = gw_args_int(args, "multifd"),
                                    .xbzrle = gw_args_has(args, "xbzrle"),
                                    .auto_converge = gw_args_has(args, "auto-converge"),
                                    .keep_disks = gw_args_has(args, "keep-disks")};
        struct gw_error error = {0};
        char id[80];
        json_t *move;

        if (gw_args_has(args, "wait") && gw_args_has(args, "no-wait"))
                return gw_cli_fail(GW_EXIT_USAGE, "--wait and --no-wait exclude each other");
        if (gw_args_has(args, "plan"))
                return gw_move_plan(cli, &wish);
        error.code = gw_move_ask(cli, &wish, id, &error);
        if (error.code)
                return gw_cli_error(&error);
        if (gw_args_has(args, "no-wait")) {
                if (cli->json)
                        printf("{\"id\": \"%s\"}\n", id);
                else
                        printf("move %s has begun; `godwit move watch %s` follows it\n", id, id);
                return GW_EXIT_OK;
        }
        error.code = gw_move_follow(cli, id, cli->live && !cli->json, &move, &error);
        return error.code ? gw_cli_error(&error) : report_end(cli, move, true);
}

static void move_row(struct gw_columns *t, const json_t *move) {
        double pause_ms = gw_move_pause_ms(move);

        gw_columns_cell(t, 0, "%s", gw_member_text(move, "id"));
        gw_columns_cell(t, 1, "%s", gw_member_text(move, "vm"));
        gw_columns_cell(t, 2, "%s", gw_member_text(move, "from"));
        gw_columns_cell(t, 3, "%s", gw_member_text(move, "to"));
        gw_columns_cell(t, 4, "%s", gw_member_text(move, "phase"));
        gw_columns_cell(t, 5, "%s", gw_member_text(move, "result"));
        if (pause_ms >= 0)
                gw_columns_cell(t, 6, "%.1f ms", pause_ms);
}

static int move_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"MOVE", "VM", "FROM", "TO", "PHASE", "RESULT", "PAUSE", NULL};
        static const struct gw_list_view view = {
                .heads = heads, .row = move_row, .none = "no moves; `godwit vm move VM --to NVE` makes one"};
        const char *vm = gw_args_text(args, "vm");
        char segment[SEGMENT] = "", path[SEGMENT + 32];

        snprintf(path, sizeof path, "/v1/moves%s%s", vm ? "?vm=" : "",
                 vm ? gw_client_segment(vm, segment, sizeof segment) : "");
        return gw_cli_list(cli, &view, path);
}

static int move_show(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        json_t *move;

        error.code = fetch(cli, args->words[0], &move, &error);
        if (error.code)
                return gw_cli_error(&error);
        if (cli->json) {
                gw_print_json(move);
        } else {
                gw_move_draw(cli, move, stdout);
                gw_move_conclude(cli, move, stdout);
        }
        json_decref(move);
        return GW_EXIT_OK;
}

static int move_cancel(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "POST", NULL, &answer, "/v1/moves/%s/cancel",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        if (r)
                return r;
        if (cli->json)
                gw_print_json(answer);
        else
                printf("move %s is being cancelled; the VM stays where it is\n", args->words[0]);
        json_decref(answer);
        return GW_EXIT_OK;
}

static bool print_event(const char *name, json_t *data, void *user) {
        const struct gw_cli *cli = user;

        if (strncmp(name, "move", 4) != 0)
                return true;
        if (cli->json) {
                json_dumpf(data, stdout, JSON_COMPACT);
        } else {
                json_t *move = json_object_get(data, "move");

                gw_move_progress_line(cli, json_is_object(move) ? move : data, stdout);
        }
        putchar('\n');
        fflush(stdout);
        return true;
}

/* Every move as it happens, from the stream of events. */
static int watch_all(struct gw_cli *cli) {
        struct gw_error error = {0};
        json_t *answer;
        int r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/status");

        if (r)
                return r;
        json_decref(answer);
        error.code = gw_client_stream(cli->client, "/v1/events", print_event, cli, &error);
        return error.code ? gw_cli_error(&error) : GW_EXIT_OK;
}

static int move_watch(struct gw_cli *cli, const struct gw_args *args) {
        struct gw_error error = {0};
        json_t *move;

        if (!args->n_words)
                return watch_all(cli);
        error.code = gw_move_follow(cli, args->words[0], cli->live && !cli->json, &move, &error);
        return error.code ? gw_cli_error(&error) : report_end(cli, move, true);
}

const struct gw_flag gw_vm_move_flags[] = {
        {"to", GW_FLAG_NAME, "NVE", "where to", .required = true},
        {"wait", GW_FLAG_SWITCH, .help = "wait for the end, and show the progress; this is the default"},
        {"no-wait", GW_FLAG_SWITCH, .help = "only start it"},
        {"plan", GW_FLAG_SWITCH, .help = "only say what stands for and against it, check by check"},
        {"bandwidth", GW_FLAG_INT, "MIB", "at most so many MiB of memory a second; no limit when not given", 1, 1048576,
         "MiB/s"},
        {"downtime", GW_FLAG_INT, "MS",
         "stop the VM for the last copy when that is expected to take less; 50 when not given", 1, 60000, "ms"},
        {"mode", GW_FLAG_CHOICE, "MODE",
         "hot copies all memory, then switches; post-copy switches after one pass and sends the rest afterwards; cold "
         "stops the VM first; hot when not given, cold for a VM that does not run",
         .choices = "hot post-copy cold"},
        {"xbzrle", GW_FLAG_SWITCH, .help = "send the differences of pages that were sent before"},
        {"multifd", GW_FLAG_INT, "N", "send memory over N connections", 1, 16},
        {"auto-converge", GW_FLAG_SWITCH, .help = "slow the VM down when it writes faster than can be sent"},
        {"keep-disks", GW_FLAG_SWITCH, .help = "keep the images at the old host, as FILE.moved"},
        {0},
};
static const struct gw_flag list_flags[] = {
        {"vm", GW_FLAG_ID, "VM", "only the moves of that VM"},
        {0},
};

const struct gw_command gw_move_commands[] = {
        {"move", "list", "", 0, 0, "the moves, now and before", list_flags, move_list},
        {"move", "show", "MOVE", 1, 1, "one of them: its timeline and what happened to the packets", .run = move_show},
        {"move", "watch", "[MOVE]", 0, 1, "follow one to its end, or all of them", .run = move_watch},
        {"move", "cancel", "MOVE", 1, 1, "cancel one whose VM has not been stopped yet", .run = move_cancel},
        {0},
};
