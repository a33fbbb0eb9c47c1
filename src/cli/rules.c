/* SPDX-License-Identifier: Apache-2.0 */
/* Placement rules: `godwit rule ...`, `godwit tenant update`, and the plan of a move. */
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/move.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1 };

static int rule_create(struct gw_cli *cli, const struct gw_args *args) {
        bool apart = gw_args_has(args, "apart");
        struct gw_name name, tenant;
        json_t *answer = NULL, *vms;
        int r;

        if (apart == gw_args_has(args, "together"))
                return gw_cli_fail(GW_EXIT_USAGE, "one of --apart and --together is needed");
        if (!gw_cli_id(args->words[0], &name, &tenant))
                return GW_EXIT_USAGE;
        vms = json_array();
        for (size_t i = 1; i < args->n_words; i++)
                json_array_append_new(vms, json_string(args->words[i]));
        r = gw_cli_call(cli, "POST",
                        json_pack("{s:s, s:s, s:s, s:o}", "name", name.s, "tenant", tenant.s, "kind",
                                  apart ? "apart" : "together", "vms", vms),
                        &answer, "/v1/rules");
        return gw_print_done(cli, r, answer, args->words[0], "created");
}

static const char *places(const json_t *rule, char *out, size_t size) {
        json_t *item;
        size_t i, at = 0;

        *out = 0;
        json_array_foreach (json_object_get(rule, "vms"), i, item) {
                const char *nve = gw_member_text(item, "nve");

                if (at < size)
                        at += (size_t)snprintf(out + at, size - at, "%s%s%s%s", at ? " " : "",
                                               gw_member_text(item, "vm"), *nve ? ":" : "", nve);
        }
        return out;
}

static void rule_row(struct gw_columns *t, const json_t *rule) {
        char vms[GW_CELL_MAX];

        gw_columns_cell(t, 0, "%s", gw_member_text(rule, "id"));
        gw_columns_cell(t, 1, "%s", gw_member_text(rule, "kind"));
        gw_columns_cell(t, 2, "%s",
                        json_is_true(json_object_get(rule, "suspended")) ? "suspended"
                        : json_is_true(json_object_get(rule, "kept"))    ? "kept"
                                                                         : "not kept");
        gw_columns_cell(t, 3, "%s", places(rule, vms, sizeof vms));
}

static int rule_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const heads[] = {"RULE", "KIND", "STATE", "VMS", NULL};
        static const struct gw_list_view view = {
                .heads = heads,
                .row = rule_row,
                .none = "no rules; `godwit rule create spread --apart web1 web2` makes one"};

        (void)args;
        return gw_cli_list(cli, &view, "/v1/rules");
}

static int rule_put(struct gw_cli *cli, const struct gw_args *args, bool suspended) {
        char segment[SEGMENT];
        json_t *answer = NULL;
        int r = gw_cli_call(cli, "PUT", json_pack("{s:b}", "suspended", suspended), &answer, "/v1/rules/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, answer, args->words[0], suspended ? "suspended" : "enforced");
}

static int rule_suspend(struct gw_cli *cli, const struct gw_args *args) {
        return rule_put(cli, args, true);
}

static int rule_enforce(struct gw_cli *cli, const struct gw_args *args) {
        return rule_put(cli, args, false);
}

static int rule_delete(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        int r = gw_cli_call(cli, "DELETE", NULL, NULL, "/v1/rules/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        return gw_print_done(cli, r, NULL, args->words[0], "deleted");
}

int gw_tenant_update(struct gw_cli *cli, const struct gw_args *args) {
        json_t *body = json_object(), *answer = NULL, *apart;
        char segment[SEGMENT];
        const char *other;
        int r;

        if (gw_args_has(args, "exclusive"))
                json_object_set_new(body, "exclusive", json_boolean(!strcmp(gw_args_text(args, "exclusive"), "on")));
        if (gw_args_has(args, "apart") || gw_args_has(args, "apart-none")) {
                apart = json_array();
                for (size_t i = 0; (other = gw_args_nth(args, "apart", i)); i++)
                        json_array_append_new(apart, json_string(other));
                json_object_set_new(body, "apart", apart);
        }
        r = gw_cli_call(cli, "PUT", body, &answer, "/v1/tenants/%s",
                        gw_client_segment(args->words[0], segment, sizeof segment));
        return gw_print_done(cli, r, answer, args->words[0], "updated");
}

static const struct gw_flag rule_create_flags[] = {
        {"apart", GW_FLAG_SWITCH, .help = "no two of these VMs on one host"},
        {"together", GW_FLAG_SWITCH, .help = "all of these VMs on one host"},
        {0},
};
const struct gw_flag gw_tenant_update_flags[] = {
        {"exclusive", GW_FLAG_CHOICE, "ON|OFF", "whether it shares a host with no other tenant", .choices = "on off"},
        {"apart", GW_FLAG_NAME, "TENANT", "shares no host with that tenant; what is given replaces the list",
         .repeat = true},
        {"apart-none", GW_FLAG_SWITCH, .help = "empties that list"},
        {0},
};

const struct gw_command gw_rule_commands[] = {
        {"rule", "create", "NAME[@TENANT] VM...", 3, GW_ARGS_MAX, "keep VMs apart, or together", rule_create_flags,
         rule_create},
        {"rule", "list", "", 0, 0, "the rules, and whether they are kept", .run = rule_list},
        {"rule", "suspend", "RULE", 1, 1, "do not enforce it for now", .run = rule_suspend},
        {"rule", "enforce", "RULE", 1, 1, "enforce it again", .run = rule_enforce},
        {"rule", "delete", "RULE", 1, 1, "delete it", .run = rule_delete},
        {0},
};
