/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit audit` and `godwit trace`: does what the edges hold fit, and what would become of a packet. */
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { SEGMENT = 3 * 80 };

static void finding_row(struct gw_columns *t, const json_t *finding) {
        const json_t *entry = json_object_get(finding, "entry"), *age = json_object_get(entry, "age_ms");
        bool repaired = json_is_true(json_object_get(finding, "repaired"));

        gw_columns_row(t);
        gw_columns_cell(t, 0, "%s", gw_member_text(finding, "nve"));
        gw_columns_cell(t, 1, "%s", gw_member_text(finding, "table"));
        gw_columns_cell(t, 2, "%s", gw_member_text(finding, "vn"));
        gw_columns_cell(t, 3, "%s", gw_member_text(entry, json_object_get(entry, "address") ? "address" : "mac"));
        gw_columns_cell(t, 4, "%s", repaired ? "repaired" : gw_member_text(finding, "verdict"));
        if (json_is_integer(age))
                gw_columns_cell(t, 5, "%.1f s", (double)json_integer_value(age) / 1000);
        gw_columns_cell(t, 6, "%s", gw_member_text(entry, "origin"));
        gw_columns_cell(t, 7, "%s", gw_member_text(finding, "text"));
}

static void print_report(const struct gw_cli *cli, json_t *report) {
        static const char *const heads[] = {"NVE", "TABLE", "VN", "ENTRY", "VERDICT", "AGE", "ORIGIN", "WHY", NULL};
        json_t *findings = json_object_get(report, "findings"), *silent = json_object_get(report, "silent"), *item;
        struct gw_columns table;
        size_t i;

        gw_columns_init(&table, heads);
        json_array_foreach (findings, i, item)
                finding_row(&table, item);
        if (table.n_rows)
                gw_columns_print(&table, cli, stdout);
        json_array_foreach (silent, i, item)
                printf("%s did not answer\n", json_string_value(item));
        printf("%lld entries of %lld edges: ", (long long)gw_member_int(report, "entries"),
               (long long)gw_member_int(report, "nves"));
        if (!gw_member_int(report, "contradictions"))
                puts("none contradicts the authority");
        else
                printf("%lld contradict the authority, %lld of them repaired\n",
                       (long long)gw_member_int(report, "contradictions"),
                       (long long)gw_member_int(report, "repaired"));
}

static int audit(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer, *body = json_pack("{s:b}", "repair", gw_args_has(args, "repair"));
        bool clean;
        int r;

        if (gw_args_has(args, "nve"))
                json_object_set_new(body, "nve", json_string(gw_args_text(args, "nve")));
        if (gw_args_has(args, "last")) {
                json_decref(body);
                r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/audit");
        } else {
                r = gw_cli_call(cli, "POST", body, &answer, "/v1/audit");
        }
        if (r)
                return r;
        clean = json_is_true(json_object_get(answer, "clean"));
        if (cli->json)
                gw_print_json(answer);
        else
                print_report(cli, answer);
        json_decref(answer);
        return clean ? GW_EXIT_OK : GW_EXIT_NOT_CLEAN;
}

static enum gw_colour verdict_colour(const char *verdict) {
        return !strcmp(verdict, "pass") ? GW_GREEN : !strcmp(verdict, "drop") ? GW_RED : GW_YELLOW;
}

static void print_hops(const struct gw_cli *cli, const json_t *answer) {
        json_t *hops = json_object_get(answer, "hops"), *hop, *step;
        size_t i, j;

        json_array_foreach (hops, i, hop) {
                const char *nve = gw_member_text(hop, "nve");

                json_array_foreach (json_object_get(hop, "steps"), j, step) {
                        const char *verdict = gw_member_text(step, "verdict"),
                                   *counter = gw_member_text(step, "counter");

                        printf("%s%-12s%s %-11s %s%-8s%s %s%s%s%s\n", gw_colour(cli, GW_BOLD),
                               j      ? ""
                               : *nve ? nve
                                      : "-",
                               gw_colour(cli, GW_PLAIN), gw_member_text(step, "step"),
                               gw_colour(cli, verdict_colour(verdict)), verdict, gw_colour(cli, GW_PLAIN),
                               gw_member_text(step, "text"), *counter ? " [" : "", counter, *counter ? "]" : "");
                }
        }
        printf("%s%s%s\n", gw_colour(cli, GW_BOLD), gw_member_text(answer, "text"), gw_colour(cli, GW_PLAIN));
}

static int trace(struct gw_cli *cli, const struct gw_args *args) {
        char vm[SEGMENT], to[SEGMENT], port[32] = "";
        const char *outcome;
        json_t *answer;
        bool arrives;
        int r;

        if (gw_args_has(args, "port"))
                snprintf(port, sizeof port, "&port=%lld", gw_args_int(args, "port"));
        r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/trace?vm=%s&to=%s%s",
                        gw_client_segment(args->words[0], vm, sizeof vm),
                        gw_client_segment(gw_args_text(args, "to"), to, sizeof to), port);
        if (r)
                return r;
        outcome = gw_member_text(answer, "outcome");
        arrives = !strcmp(outcome, "delivered") || !strcmp(outcome, "outside") || !strcmp(outcome, "answered");
        if (cli->json)
                gw_print_json(answer);
        else
                print_hops(cli, answer);
        json_decref(answer);
        return arrives ? GW_EXIT_OK : GW_EXIT_FAILED;
}

static const struct gw_flag audit_flags[] = {
        {"nve", GW_FLAG_NAME, "NVE", "only this edge"},
        {"repair", GW_FLAG_SWITCH,
         .help = "make edges forget what contradicts the authority, and tell them what is true"},
        {"last", GW_FLAG_SWITCH, .help = "the report of the last audit of all edges, without making one"},
        {0},
};
static const struct gw_flag trace_flags[] = {
        {"to", GW_FLAG_IP, "ADDRESS", "where the packet goes", .required = true},
        {"port", GW_FLAG_INT, "INDEX", "of the VM's ports; the one whose VN has the address when not given", 0, 15},
        {0},
};

const struct gw_command gw_audit_commands[] = {
        {"audit", "", "", 0, 0, "compare what the edges hold with the authority", audit_flags, audit},
        {"trace", "", "VM", 1, 1, "what would become of a packet of this VM, hop by hop", trace_flags, trace},
        {0},
};
