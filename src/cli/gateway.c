/* SPDX-License-Identifier: Apache-2.0 */
/* `godwit policy ...` and `godwit gateway ...`: what is routed between VNs, and by whom. */
#include <stdio.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1 };

/* A deleted policy that a gateway goes on with is not what was asked for; it is no failure either. */
static void warn_untold(const struct gw_cli *cli, const json_t *answer) {
        json_t *untold = json_object_get(answer, "untold"), *name;
        size_t i;

        if (cli->json || !json_array_size(untold))
                return;
        fputs("godwit: not taken yet, so routing as before, and told again:", stderr);
        json_array_foreach (untold, i, name)
                fprintf(stderr, " %s", json_string_value(name));
        fputs("; `godwit gateway list`\n", stderr);
}

static int policy_create(struct gw_cli *cli, const struct gw_args *args) {
        json_t *answer = NULL, *body;
        bool outside = gw_args_has(args, "outside");
        int r;

        if (outside == gw_args_has(args, "to"))
                return gw_cli_fail(GW_EXIT_USAGE, "one of --to and --outside is needed");
        body = json_pack("{s:s, s:s, s:b, s:b}", "name", args->words[0], "from", gw_args_text(args, "from"), "outside",
                         outside, "one_way", gw_args_has(args, "one-way"));
        if (!outside)
                json_object_set_new(body, "to", json_string(gw_args_text(args, "to")));
        r = gw_cli_call(cli, "POST", body, &answer, "/v1/policies");
        warn_untold(cli, answer);
        return gw_print_done(cli, r, answer, args->words[0], "created");
}

static int policy_delete(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "DELETE", NULL, &answer, "/v1/policies/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        warn_untold(cli, answer);
        return gw_print_done(cli, r, answer, args->words[0], "deleted");
}

static int show_list(struct gw_cli *cli, const char *path, const char *const *heads,
                     void (*row)(struct gw_columns *t, const json_t *object), const char *none) {
        struct gw_list_view view = {.heads = heads, .row = row, .none = none};

        return gw_cli_list(cli, &view, path);
}

static void policy_row(struct gw_columns *t, const json_t *policy) {
        gw_columns_cell(t, 0, "%s", gw_member_text(policy, "name"));
        gw_columns_cell(t, 1, "%s", gw_member_text(policy, "from"));
        gw_columns_cell(t, 2, "%s", json_is_true(json_object_get(policy, "one_way")) ? "->" : "<->");
        gw_columns_cell(t, 3, "%s",
                        json_is_true(json_object_get(policy, "outside")) ? "(outside)" : gw_member_text(policy, "to"));
}

static int policy_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"POLICY", "FROM", "WAY", "TO", NULL};

        (void)args;
        return show_list(cli, "/v1/policies", heads, policy_row, "no policies: VNs do not reach each other");
}

static const char *state_of(const json_t *gateway) {
        if (!json_is_true(json_object_get(gateway, "live")))
                return "away";
        return json_is_true(json_object_get(gateway, "arriving")) ? "arriving" : "live";
}

static void gateway_row(struct gw_columns *t, const json_t *gateway) {
        char users[GW_CELL_MAX] = "";
        json_t *user;
        size_t i, at = 0;

        json_array_foreach (json_object_get(gateway, "used_by"), i, user) {
                size_t size = strlen(gw_member_text(user, "nve")) + strlen(gw_member_text(user, "vn")) + 2;

                if (at + size + sizeof " ..." > sizeof users)
                        break;
                at += (size_t)snprintf(users + at, sizeof users - at, "%s%s:%s", at ? " " : "",
                                       gw_member_text(user, "nve"), gw_member_text(user, "vn"));
        }
        if (i < json_array_size(json_object_get(gateway, "used_by")) ||
            json_is_true(json_object_get(gateway, "used_by_more")))
                snprintf(users + at, sizeof users - at, "%s...", at ? " " : "");
        gw_columns_cell(t, 0, "%s", gw_member_text(gateway, "nve"));
        gw_columns_cell(t, 1, "%s", gw_member_text(gateway, "site"));
        gw_columns_cell(t, 2, "%lld", (long long)gw_member_int(gateway, "cost"));
        gw_columns_cell(t, 3, "%s", state_of(gateway));
        gw_columns_cell(t, 4, "%s", users);
}

static int gateway_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"GATEWAY", "SITE", "COST", "STATE", "USED BY", NULL};

        (void)args;
        return show_list(cli, "/v1/gateways", heads, gateway_row,
                         "no gateways; `role = gateway` in a host's nve.conf makes one");
}

static int put_pin(struct gw_cli *cli, const char *vn, json_t *body, const char *verb) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "PUT", body, &answer, "/v1/vns/%s/pin",
                            gw_client_segment(vn, segment, sizeof segment));

        return gw_print_done(cli, r, answer, vn, verb);
}

static int gateway_pin(struct gw_cli *cli, const struct gw_args *args) {
        return put_pin(cli, args->words[0], json_pack("{s:s}", "nve", args->words[1]), "pinned");
}

static int gateway_unpin(struct gw_cli *cli, const struct gw_args *args) {
        return put_pin(cli, args->words[0], NULL, "uses the nearest gateways");
}

static const struct gw_flag policy_create_flags[] = {
        {"from", GW_FLAG_ID, "VN", "the VN that may reach", .required = true},
        {"to", GW_FLAG_ID, "VN", "this one"},
        {"outside", GW_FLAG_SWITCH, .help = "or what is outside"},
        {"one-way", GW_FLAG_SWITCH, .help = "and not back; connections need both ways"},
        {0},
};

const struct gw_command gw_gateway_commands[] = {
        {"policy", "create", "NAME", 1, 1, "let a VN reach another, or the outside", policy_create_flags,
         policy_create},
        {"policy", "list", "", 0, 0, "what may be routed", .run = policy_list},
        {"policy", "delete", "NAME", 1, 1, "end it", .run = policy_delete},
        {"gateway", "list", "", 0, 0, "the gateways, and which hosts use them for which VNs", .run = gateway_list},
        {"gateway", "pin", "VN NVE", 2, 2, "let all hosts use one gateway for a VN", .run = gateway_pin},
        {"gateway", "unpin", "VN", 1, 1, "let each use its nearest again", .run = gateway_unpin},
        {0},
};
