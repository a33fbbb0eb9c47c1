/* SPDX-License-Identifier: Apache-2.0 */
/* What people see: tables with aligned columns, figures with units, colours on a terminal. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct gw_cli;

enum { GW_COLUMNS_MAX = 12, GW_CELL_MAX = 160 };

enum gw_colour { GW_PLAIN, GW_BOLD, GW_DIM, GW_GREEN, GW_YELLOW, GW_RED, GW_CYAN };
/* The escape sequence, or "" when colours are off. gw_colour(cli, GW_PLAIN) ends one. */
const char *gw_colour(const struct gw_cli *cli, enum gw_colour colour);

/* Rows are copied; printed, and freed, by gw_columns_print. */
struct gw_columns {
        const char *const *heads; /* NULL-terminated */
        size_t n_columns, n_rows, room;
        char (*cells)[GW_CELL_MAX];
        size_t widths[GW_COLUMNS_MAX]; /* of what was printed */
        bool begun;
};
void gw_columns_init(struct gw_columns *t, const char *const *heads);
/* Starts a row; then gw_columns_cell in order. Cells left out are empty. */
void gw_columns_row(struct gw_columns *t);
void gw_columns_cell(struct gw_columns *t, size_t column, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void gw_columns_print(struct gw_columns *t, const struct gw_cli *cli, FILE *out);
/* What there is so far, under one line of heads; gw_columns_deinit is due at the end. */
void gw_columns_print_more(struct gw_columns *t, const struct gw_cli *cli, FILE *out);
void gw_columns_deinit(struct gw_columns *t);

/* How a list is shown (list.c). */
struct gw_list_view {
        const char *const *heads; /* NULL-terminated */
        void (*row)(struct gw_columns *t, const json_t *object);
        const char *none; /* what is said of an empty one */
        /* Where two kinds of daemon answer the same path: is this how the list is shown? Else by the other. May be NULL. */
        bool (*choose)(const json_t *items);
        const struct gw_list_view *other;
};
/* The list at that path, which may have a query, through all its pages: a table, or JSON when that was asked for. An exit
 * code; what went wrong is printed. */
int gw_cli_list(struct gw_cli *cli, const struct gw_list_view *view, const char *path);
/* What a change was answered with, taken over: JSON when that was asked for, else `name what`. Returns r; prints
 * nothing when it is not GW_EXIT_OK. */
int gw_print_done(const struct gw_cli *cli, int r, json_t *answer, const char *name, const char *what);

/* Reading what the API answered; absent members are "", 0. */
const char *gw_member_text(const json_t *object, const char *key);
int64_t gw_member_int(const json_t *object, const char *key);
/* Joins an array of strings with spaces. */
const char *gw_member_list(const json_t *object, const char *key, char *out, size_t size);
/* The list in an answer: the array itself, or the first member that is one. */
json_t *gw_answer_list(json_t *answer);

const char *gw_octets_text(double octets, char out[static 32]); /* "12.3 MiB" */
void gw_print_json(const json_t *value);
