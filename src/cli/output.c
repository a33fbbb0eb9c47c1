/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables and figures. A table is collected whole and then printed, since the width
 * of a column is known only at its last row; one that comes in parts has each part
 * at least as wide as the one before. Cells are bounded, rows grow.
 */
#include "cli/output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"

const char *gw_colour(const struct gw_cli *cli, enum gw_colour colour) {
        static const char *const sequences[] = {
                [GW_PLAIN] = "\033[0m",   [GW_BOLD] = "\033[1m", [GW_DIM] = "\033[2m",   [GW_GREEN] = "\033[32m",
                [GW_YELLOW] = "\033[33m", [GW_RED] = "\033[31m", [GW_CYAN] = "\033[36m",
        };

        return cli->colour ? sequences[colour] : "";
}

void gw_columns_init(struct gw_columns *t, const char *const *heads) {
        *t = (struct gw_columns){.heads = heads};
        while (heads[t->n_columns])
                t->n_columns++;
}

void gw_columns_row(struct gw_columns *t) {
        if (t->n_rows == t->room) {
                size_t room = t->room ? 2 * t->room : 16, columns = t->n_columns ? t->n_columns : 1;
                char(*cells)[GW_CELL_MAX] = realloc(t->cells, room * columns * sizeof *cells);

                if (!cells)
                        abort();
                t->cells = cells;
                t->room = room;
        }
        memset(t->cells + t->n_rows * t->n_columns, 0, t->n_columns * sizeof *t->cells);
        t->n_rows++;
}

void gw_columns_cell(struct gw_columns *t, size_t column, const char *format, ...) {
        va_list args;

        va_start(args, format);
        vsnprintf(t->cells[(t->n_rows - 1) * t->n_columns + column], GW_CELL_MAX, format, args);
        va_end(args);
}

static size_t width_of(const struct gw_columns *t, size_t column) {
        size_t width = strlen(t->heads[column]);

        if (t->widths[column] > width)
                width = t->widths[column];
        for (size_t row = 0; row < t->n_rows; row++) {
                size_t n = strlen(t->cells[row * t->n_columns + column]);

                if (n > width)
                        width = n;
        }
        return width;
}

static void print_heads(const struct gw_columns *t, const struct gw_cli *cli, FILE *out) {
        fputs(gw_colour(cli, GW_BOLD), out);
        for (size_t c = 0; c < t->n_columns; c++)
                fprintf(out, "%-*s%s", (int)t->widths[c], t->heads[c], c + 1 < t->n_columns ? "  " : "");
        fprintf(out, "%s\n", gw_colour(cli, GW_PLAIN));
}

void gw_columns_print_more(struct gw_columns *t, const struct gw_cli *cli, FILE *out) {
        for (size_t c = 0; c + 1 < t->n_columns; c++)
                t->widths[c] = width_of(t, c);
        if (!t->begun)
                print_heads(t, cli, out);
        t->begun = true;
        for (size_t row = 0; row < t->n_rows; row++)
                for (size_t c = 0; c < t->n_columns; c++) {
                        const char *cell = t->cells[row * t->n_columns + c];

                        fprintf(out, "%-*s%s", (int)t->widths[c], *cell ? cell : "-",
                                c + 1 < t->n_columns ? "  " : "\n");
                }
        t->n_rows = 0;
}

void gw_columns_deinit(struct gw_columns *t) {
        free(t->cells);
        t->cells = NULL;
        t->n_rows = t->room = 0;
}

void gw_columns_print(struct gw_columns *t, const struct gw_cli *cli, FILE *out) {
        gw_columns_print_more(t, cli, out);
        gw_columns_deinit(t);
}

int gw_print_done(const struct gw_cli *cli, int r, json_t *answer, const char *name, const char *what) {
        if (r == GW_EXIT_OK && cli->json && answer)
                gw_print_json(answer);
        else if (r == GW_EXIT_OK && !cli->json)
                printf("%s %s\n", name, what);
        json_decref(answer);
        return r;
}

const char *gw_member_text(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

int64_t gw_member_int(const json_t *object, const char *key) {
        return json_integer_value(json_object_get(object, key));
}

const char *gw_member_list(const json_t *object, const char *key, char *out, size_t size) {
        json_t *list = json_object_get(object, key), *item;
        size_t i, at = 0;

        *out = 0;
        json_array_foreach (list, i, item) {
                const char *text = json_string_value(item);

                if (text && at < size)
                        at += (size_t)snprintf(out + at, size - at, "%s%s", at ? " " : "", text);
        }
        return out;
}

json_t *gw_answer_list(json_t *answer) {
        const char *key;
        json_t *member;

        if (json_is_array(answer))
                return answer;
        json_object_foreach (answer, key, member)
                if (json_is_array(member))
                        return member;
        return NULL;
}

const char *gw_octets_text(double octets, char out[static 32]) {
        static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
        size_t unit = 0;

        for (; octets >= 1024 && unit < 4; unit++)
                octets /= 1024;
        snprintf(out, 32, unit ? "%.1f %s" : "%.0f %s", octets, units[unit]);
        return out;
}

void gw_print_json(const json_t *value) {
        json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
}
