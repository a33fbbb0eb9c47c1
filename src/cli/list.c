/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lists. The authority answers a page at a time, with the key of its last item as `next` while there are more; an edge or an
 * agent answers whole lists, which look the same but for that. Each page is printed before the next one is asked for, so that
 * a list of a million takes no more room here than a page: a column is as wide as the widest cell so far.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/client.h"
#include "cli/command.h"
#include "cli/output.h"

enum { PATH_ROOM = 1024, KEY_ROOM = 3 * GW_NAME_MAX + 1 };

static const char *name_of_list(json_t *answer) {
        const char *key;
        json_t *member;

        json_object_foreach (answer, key, member)
                if (json_is_array(member))
                        return key;
        return "items";
}

/* One array of all pages, as if they had come as one answer. */
static void print_items(const char *noun, json_t *items, bool first, bool last) {
        json_t *item;
        size_t i;

        if (first)
                printf("{\n  \"%s\": [", noun);
        json_array_foreach (items, i, item) {
                char *text = json_dumps(item, JSON_INDENT(2) | JSON_REAL_PRECISION(9) | JSON_ENCODE_ANY), *line,
                     *rest = text;

                fputs(first && i == 0 ? "" : ",", stdout);
                while (rest && (line = strsep(&rest, "\n")))
                        printf("\n    %s", line);
                free(text);
        }
        if (last)
                puts(first && !json_array_size(items) ? "]\n}" : "\n  ]\n}");
}

static void print_rows(struct gw_columns *table, const struct gw_list_view *view, const struct gw_cli *cli,
                       json_t *items, bool first, bool last) {
        json_t *item;
        size_t i;

        if (first && !json_array_size(items)) {
                if (last)
                        puts(view->none);
                return;
        }
        json_array_foreach (items, i, item) {
                gw_columns_row(table);
                view->row(table, item);
        }
        gw_columns_print_more(table, cli, stdout);
}

int gw_cli_list(struct gw_cli *cli, const struct gw_list_view *view, const char *path) {
        char target[PATH_ROOM], key[KEY_ROOM], noun[64] = "";
        struct gw_columns table = {0};
        bool first = true, last = false;
        json_t *answer = NULL;
        int r;

        snprintf(target, sizeof target, "%s", path);
        do {
                const char *next;

                r = gw_cli_call(cli, "GET", NULL, &answer, "%s", target);
                if (r)
                        break;
                next = json_string_value(json_object_get(answer, "next"));
                last = !next;
                if (first) {
                        snprintf(noun, sizeof noun, "%s", name_of_list(answer));
                        if (view->choose && !view->choose(gw_answer_list(answer)))
                                view = view->other;
                        gw_columns_init(&table, view->heads);
                }
                if (cli->json)
                        print_items(noun, gw_answer_list(answer), first, last);
                else
                        print_rows(&table, view, cli, gw_answer_list(answer), first, last);
                if (next)
                        snprintf(target, sizeof target, "%s%cafter=%s", path, strchr(path, '?') ? '&' : '?',
                                 gw_client_segment(next, key, sizeof key));
                json_decref(answer);
                first = false;
        } while (!last);
        gw_columns_deinit(&table);
        return r;
}
