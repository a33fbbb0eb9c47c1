/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The figures of a run of moves:
 *
 * {"moves", "sent", "lost", "duplicated", "reordered", "tcp_survived",
 *  "vm_pause_ms": {median, max}, "gap_minus_pause_ms": {median, max},
 *  "tcp_stall_minus_pause_ms": {median, max}, "streams": [...], "per_move": [...]}
 *
 * The gap of a move is the longest silence of any UDP stream that touches the time the
 * VM stood still, the stall that of any TCP stream. What is beyond the pause is the
 * network's own doing (and the guest's, while it warms up).
 */
#include "lab/summary.h"

#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/move.h"
#include "cli/output.h"
#include "lab/witness.h"

void gw_summary_add_move(struct gw_summary *s, json_t *move) {
        if (!s->moves)
                s->moves = json_array();
        json_array_append(s->moves, move);
}

void gw_summary_deinit(struct gw_summary *s) {
        json_decref(s->moves);
        json_decref(s->figures);
        *s = (struct gw_summary){0};
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* {median, max} of a member of the records. */
static json_t *spread(json_t *records, const char *key) {
        size_t n = json_array_size(records), i;
        double *values = calloc(n ? n : 1, sizeof *values), median = 0, max = 0;
        json_t *record;

        if (values && n) {
                json_array_foreach (records, i, record)
                        values[i] = json_number_value(json_object_get(record, key));
                qsort(values, n, sizeof *values, by_value);
                median = n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
                max = values[n - 1];
        }
        free(values);
        return json_pack("{s:f, s:f}", "median", median, "max", max);
}

static json_t *record_of(json_t *move, json_t *report) {
        uint64_t from = gw_move_stopped_ns(move), to = gw_move_resumed_ns(move);
        double pause = gw_move_pause_ms(move), gap = gw_witness_gap_ms(report, "udp", 0, from, to);
        double stall = gw_witness_gap_ms(report, "tcp", 0, from, to);

        return json_pack("{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:f}", "id", gw_member_text(move, "id"), "to",
                         gw_member_text(move, "to"), "result", gw_member_text(move, "result"), "stopped_ns",
                         (json_int_t)from, "resumed_ns", (json_int_t)to, "pause_ms", pause, "gap_ms", gap, "stall_ms",
                         stall, "gap_minus_pause_ms", gap - pause, "tcp_stall_minus_pause_ms", stall - pause);
}

/* The streams without their lists of gaps. */
static json_t *brief(json_t *streams) {
        json_t *list = json_array(), *stream;
        size_t i;

        json_array_foreach (streams, i, stream) {
                json_t *copy = json_copy(stream);

                json_object_del(copy, "gaps");
                json_array_append_new(list, copy);
        }
        return list;
}

void gw_summary_conclude(struct gw_summary *s, json_t *report) {
        json_t *total = json_object_get(report, "total"), *records = json_array(), *move;
        bool survived = gw_member_int(total, "tcp_streams") == gw_member_int(total, "tcp_alive");
        size_t i;

        json_array_foreach (s->moves, i, move) {
                json_array_append_new(records, record_of(move, report));
        }
        s->figures = json_pack("{s:I, s:I, s:I, s:I, s:I, s:b, s:o, s:o, s:o}", "moves",
                               (json_int_t)json_array_size(records), "sent", (json_int_t)gw_member_int(total, "sent"),
                               "lost", (json_int_t)gw_member_int(total, "lost"), "duplicated",
                               (json_int_t)gw_member_int(total, "duplicated"), "reordered",
                               (json_int_t)gw_member_int(total, "reordered"), "tcp_survived", survived, "vm_pause_ms",
                               spread(records, "pause_ms"), "gap_minus_pause_ms", spread(records, "gap_minus_pause_ms"),
                               "tcp_stall_minus_pause_ms", spread(records, "tcp_stall_minus_pause_ms"));
        json_object_set_new(s->figures, "streams", brief(json_object_get(report, "streams")));
        json_object_set_new(s->figures, "per_move", records);
}

static void print_spread(const struct gw_summary *s, const char *key, const char *text, FILE *out) {
        const json_t *spread_of = json_object_get(s->figures, key);

        fprintf(out, "  %9.1f ms  (at most %.1f ms)  %s\n", json_number_value(json_object_get(spread_of, "median")),
                json_number_value(json_object_get(spread_of, "max")), text);
}

void gw_summary_print(const struct gw_summary *s, const struct gw_cli *cli, FILE *out) {
        bool clean = gw_summary_is_clean(s);

        fprintf(out, "%s%lld moves, %lld packets sent while they went on%s\n", gw_colour(cli, GW_BOLD),
                (long long)gw_member_int(s->figures, "moves"), (long long)gw_member_int(s->figures, "sent"),
                gw_colour(cli, GW_PLAIN));
        fprintf(out, "%s  %9lld     lost\n  %9lld     duplicated%s\n", gw_colour(cli, clean ? GW_GREEN : GW_RED),
                (long long)gw_member_int(s->figures, "lost"), (long long)gw_member_int(s->figures, "duplicated"),
                gw_colour(cli, GW_PLAIN));
        fprintf(out, "  %9lld     out of order\n", (long long)gw_member_int(s->figures, "reordered"));
        fprintf(out, "  %9s     TCP streams that lived through all of it\n",
                json_is_true(json_object_get(s->figures, "tcp_survived")) ? "all" : "NOT ALL");
        print_spread(s, "vm_pause_ms", "the VM itself stood still in a move", out);
        print_spread(s, "gap_minus_pause_ms", "longer than that was the silence the client saw", out);
        print_spread(s, "tcp_stall_minus_pause_ms", "longer than that did a TCP stream stand still", out);
}

bool gw_summary_is_clean(const struct gw_summary *s) {
        return !gw_member_int(s->figures, "lost") && !gw_member_int(s->figures, "duplicated") &&
               json_is_true(json_object_get(s->figures, "tcp_survived"));
}
