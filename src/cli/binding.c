/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `godwit binding`: who is registered where, and who was told. The authority's socket shows the binding cache with each VM's
 * history; an edge's socket (--api /run/godwit/nve.sock) its binding update list. Which it is shows in the answer: an
 * entry of an edge has a role.
 */
#include <stdio.h>
#include <string.h>

#include "base/time.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { SEGMENT = 3 * GW_NAME_MAX + 1 };

static bool is_edges(const json_t *binding) {
        return json_object_get(binding, "role") != NULL;
}

static bool is_authoritys(const json_t *bindings) {
        return !is_edges(json_array_get(bindings, 0));
}

/* "12 min", "45 s"; "-" when there is none. */
static const char *left_text(const json_t *object, const char *key, char out[static 32]) {
        const json_t *member = json_object_get(object, key);
        long long s = json_integer_value(member) / 1000;

        if (!json_is_integer(member))
                snprintf(out, 32, "-");
        else if (s >= 600)
                snprintf(out, 32, "%lld min", s / 60);
        else
                snprintf(out, 32, "%lld s", s);
        return out;
}

static void count_notices(const json_t *list, size_t *told, size_t *answered, size_t *kept) {
        json_t *entry;
        size_t i;

        json_array_foreach ((json_t *)list, i, entry) {
                json_t *notice = json_object_get(entry, "notice");

                *told += json_is_integer(json_object_get(notice, "told_ns"));
                *answered += json_is_integer(json_object_get(notice, "answered_ns"));
                *kept += json_is_true(json_object_get(notice, "kept"));
        }
}

/* ---- the authority's ---- */

static void cache_row(struct gw_columns *t, const json_t *b) {
        size_t told = 0, answered = 0, kept = 0;
        char left[32];

        count_notices(json_object_get(b, "previous"), &told, &answered, &kept);
        count_notices(json_object_get(b, "routers"), &told, &answered, &kept);
        gw_columns_cell(t, 0, "%s", gw_member_text(b, "vm"));
        gw_columns_cell(t, 1, "%s", gw_member_text(b, "state"));
        gw_columns_cell(t, 2, "%s", gw_member_text(b, "nve"));
        gw_columns_cell(t, 3, "%s", gw_member_text(b, "locator"));
        gw_columns_cell(t, 4, "%lld", (long long)gw_member_int(b, "epoch"));
        gw_columns_cell(t, 5, "%s", left_text(b, "remaining_ms", left));
        gw_columns_cell(t, 6, "%zu", json_array_size(json_object_get(b, "previous")));
        gw_columns_cell(t, 7, "%zu of %zu", answered, told);
        gw_columns_cell(t, 8, "%zu", kept);
}

static void print_notice(const json_t *notice) {
        long long told = gw_member_int(notice, "told_ns"), answered = gw_member_int(notice, "answered_ns");

        if (!json_is_object(notice)) {
                printf("\n");
                return;
        }
        printf("  %s", gw_member_text(notice, "state"));
        if (answered)
                printf(" after %lld ms, status %lld", (answered - told) / 1000000,
                       (long long)gw_member_int(notice, "status"));
        else if (gw_member_int(notice, "tries") > 1)
                printf(", sent %lld times", (long long)gw_member_int(notice, "tries"));
        printf("; %s: %s", json_is_true(json_object_get(notice, "kept")) ? "kept" : "removed",
               gw_member_text(notice, "why"));
        if (gw_member_int(notice, "redirected"))
                printf(", %lld redirected", (long long)gw_member_int(notice, "redirected"));
        printf("\n");
}

static void print_places(const struct gw_cli *cli, const json_t *b, const char *list, const char *key,
                         const char *title) {
        json_t *entry;
        size_t i;

        json_array_foreach (json_object_get(b, list), i, entry) {
                const char *nve = gw_member_text(entry, "nve");

                printf("%s%-14s%s %s%s%s%s", gw_colour(cli, GW_BOLD), i ? "" : title, gw_colour(cli, GW_PLAIN),
                       gw_member_text(entry, key), *nve ? " (" : "", nve, *nve ? ")" : "");
                print_notice(json_object_get(entry, "notice"));
        }
}

/* Who said that it is there, and what became of it. */
static void print_claims(const struct gw_cli *cli, const json_t *b) {
        json_t *claim;
        size_t i;

        json_array_foreach (json_object_get(b, "claims"), i, claim) {
                long long times = gw_member_int(claim, "times");
                long long ago_ns = (long long)gw_wall_now().ns - (long long)gw_member_int(claim, "last_ns");

                printf("%s%-14s%s %s: %s, ", gw_colour(cli, GW_BOLD), i ? "" : "claimed by", gw_colour(cli, GW_PLAIN),
                       gw_member_text(claim, "nve"), gw_member_text(claim, "verdict"));
                if (times > 1)
                        printf("%lld times, last ", times);
                printf("%lld s ago\n", ago_ns > 0 ? ago_ns / (long long)GW_NS_PER_S : 0);
        }
}

static void print_line(const struct gw_cli *cli, const char *title, const char *text) {
        printf("%s%-14s%s %s\n", gw_colour(cli, GW_BOLD), title, gw_colour(cli, GW_PLAIN), text);
}

static void print_cache(const struct gw_cli *cli, const json_t *b) {
        char text[2 * GW_CELL_MAX], left[32], granted[32];
        const char *nve = gw_member_text(b, "nve");

        print_line(cli, "vm", gw_member_text(b, "vm"));
        snprintf(text, sizeof text, "%s%s%s", gw_member_text(b, "state"), *nve ? " at " : "", nve);
        print_line(cli, "state", text);
        print_line(cli, "locator", gw_member_text(b, "locator"));
        snprintf(text, sizeof text, "%lld", (long long)gw_member_int(b, "epoch"));
        print_line(cli, "epoch", text);
        snprintf(text, sizeof text, "%s left of %s", left_text(b, "remaining_ms", left),
                 left_text(b, "lifetime_ms", granted));
        print_line(cli, "lifetime", text);
        print_places(cli, b, "previous", "locator", "was at");
        print_places(cli, b, "routers", "address", "routers");
        print_claims(cli, b);
}

/* ---- an edge's ---- */

static void list_row(struct gw_columns *t, const json_t *b) {
        char left[32], next[32];

        gw_columns_cell(t, 0, "%s", gw_member_text(b, "vm"));
        gw_columns_cell(t, 1, "%s", gw_member_text(b, "role"));
        gw_columns_cell(t, 2, "%s", gw_member_text(b, "state"));
        gw_columns_cell(t, 3, "%s", gw_member_text(b, "locator"));
        gw_columns_cell(t, 4, "%lld", (long long)gw_member_int(b, "epoch"));
        gw_columns_cell(t, 5, "%s", left_text(b, "remaining_ms", left));
        gw_columns_cell(t, 6, "%s", left_text(b, "next_ms", next));
        gw_columns_cell(t, 7, "%lld", (long long)gw_member_int(b, "tries"));
        gw_columns_cell(t, 8, "%lld", (long long)gw_member_int(b, "status"));
}

static void print_object(const struct gw_cli *cli, const json_t *object) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)object, key, value) {
                char text[GW_CELL_MAX * 2];

                if (json_is_string(value))
                        snprintf(text, sizeof text, "%s", json_string_value(value));
                else if (json_is_array(value))
                        gw_member_list(object, key, text, sizeof text);
                else if (json_is_integer(value))
                        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(value));
                else
                        snprintf(text, sizeof text, "%s",
                                 json_is_true(value)    ? "yes"
                                 : json_is_false(value) ? "no"
                                                        : "-");
                print_line(cli, key, text);
        }
}

/* ---- commands ---- */

static int binding_list(struct gw_cli *cli, const struct gw_args *args) {
        static const char *const cache[] = {"VM",   "STATE", "NVE",      "LOCATOR", "EPOCH",
                                            "LEFT", "WAS",   "ANSWERED", "KEPT",    NULL};
        static const char *const list[] = {"VM",   "ROLE", "STATE", "LOCATOR", "EPOCH",
                                           "LEFT", "NEXT", "TRIES", "STATUS",  NULL};
        static const struct gw_list_view edges = {.heads = list, .row = list_row, .none = "no bindings"};
        static const struct gw_list_view view = {
                .heads = cache, .row = cache_row, .none = "no bindings", .choose = is_authoritys, .other = &edges};

        (void)args;
        return gw_cli_list(cli, &view, "/v1/bindings");
}

static int binding_show(struct gw_cli *cli, const struct gw_args *args) {
        char segment[SEGMENT];
        json_t *answer;
        int r = gw_cli_call(cli, "GET", NULL, &answer, "/v1/bindings/%s",
                            gw_client_segment(args->words[0], segment, sizeof segment));

        if (r)
                return r;
        if (cli->json)
                gw_print_json(answer);
        else if (is_edges(answer))
                print_object(cli, answer);
        else
                print_cache(cli, answer);
        json_decref(answer);
        return GW_EXIT_OK;
}

const struct gw_command gw_binding_commands[] = {
        {"binding", "list", "", 0, 0,
         "where each VM is registered, and who was told of its moves; with --api an edge's own list",
         .run = binding_list},
        {"binding", "show", "VM", 1, 1, "one VM's, with its history: former places, who was told, who claimed it",
         .run = binding_show},
        {0},
};
