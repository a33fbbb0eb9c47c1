/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vm move --plan`: what stands for and against a move, and what it is expected to
 * take. The authority says both; here they become a table and some sentences. The
 * exit code is that of a move which would be refused, so a script can ask first.
 */
#include "cli/client.h"
#include "cli/move.h"
#include "cli/output.h"

#include <string.h>

enum { SEGMENT = 3 * GW_NAME_MAX + 1 };

static double real(const json_t *object, const char *key) {
        return json_number_value(json_object_get(object, key));
}

static void print_octets(const json_t *expected) {
        long long disks = gw_member_int(expected, "disks");
        char text[32];

        printf("to send: up to %s of memory", gw_octets_text((double)gw_member_int(expected, "memory_octets"), text));
        if (disks && json_object_get(expected, "disk_octets"))
                printf(", and %lld disks that held %s when it moved last, unless their storage is shared", disks,
                       gw_octets_text((double)gw_member_int(expected, "disk_octets"), text));
        else if (disks)
                printf(", and %lld disks, unless their storage is shared; how much they hold is found out then", disks);
        putchar('\n');
}

static void print_pause(const json_t *expected) {
        if (strcmp(gw_member_text(expected, "as"), "running") != 0)
                printf("pause: none, it does not run\n");
        else if (gw_member_int(expected, "moves"))
                printf("pause: %.0f ms, at most %.0f\n", real(expected, "pause_ms"), real(expected, "pause_most_ms"));
        else if (!strcmp(gw_member_text(expected, "mode"), "cold"))
                printf("pause: for as long as all of that takes to send\n");
        else
                printf("pause: not measured yet\n");
}

static void print_connections(const json_t *expected) {
        const char *word = gw_member_text(expected, "connections");

        if (!strcmp(word, "kept"))
                printf("connections: kept\n");
        else if (!strcmp(word, "none"))
                printf("connections: it has none that live\n");
        else
                printf("connections: those are lost whose programs do not wait for as long as the pause\n");
}

static void print_expected(const json_t *expected) {
        long long moves = gw_member_int(expected, "moves");

        printf("mode: %s\n", gw_member_text(expected, "mode"));
        print_octets(expected);
        print_pause(expected);
        print_connections(expected);
        if (*gw_member_text(expected, "may_lose"))
                printf("may be lost: %s\n", gw_member_text(expected, "may_lose"));
        if (moves)
                printf("time: %.1f s, from %lld moves of %s\n", real(expected, "seconds"), moves,
                       gw_member_text(expected, "of"));
        else
                printf("time: nothing has been measured yet\n");
}

static int print_plan(struct gw_cli *cli, json_t *plan) {
        static const char *const heads[] = {"CHECK", "VERDICT", "REASON", NULL};
        bool allowed = json_is_true(json_object_get(plan, "allowed"));
        struct gw_columns table;
        json_t *check;
        size_t i;

        gw_columns_init(&table, heads);
        json_array_foreach (json_object_get(plan, "checks"), i, check) {
                gw_columns_row(&table);
                gw_columns_cell(&table, 0, "%s", gw_member_text(check, "check"));
                gw_columns_cell(&table, 1, "%s", gw_member_text(check, "verdict"));
                gw_columns_cell(&table, 2, "%s", gw_member_text(check, "reason"));
        }
        gw_columns_print(&table, cli, stdout);
        printf("%s from %s to %s: %s\n", gw_member_text(plan, "vm"), gw_member_text(plan, "from"),
               gw_member_text(plan, "to"), allowed ? "the move may begin" : "the move would be refused");
        print_expected(json_object_get(plan, "expected"));
        return allowed ? GW_EXIT_OK : GW_EXIT_FAILED;
}

int gw_move_plan(struct gw_cli *cli, const struct gw_move_wish *wish) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "POST", gw_move_wish_json(wish), &answer, "/v1/vms/%s/plan",
                            gw_client_segment(wish->vm, segment, sizeof segment));

        if (r)
                return r;
        if (cli->json) {
                gw_print_json(answer);
                r = json_is_true(json_object_get(answer, "allowed")) ? GW_EXIT_OK : GW_EXIT_FAILED;
        } else {
                r = print_plan(cli, answer);
        }
        json_decref(answer);
        return r;
}
