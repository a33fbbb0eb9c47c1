/* SPDX-License-Identifier: Apache-2.0 */
/* Moves, as people follow them. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/error.h"
#include "cli/command.h"

extern const struct gw_flag gw_vm_move_flags[];
int gw_vm_move(struct gw_cli *cli, const struct gw_args *args);

/* Asks for a move; *id is written on success. -ECONNREFUSED or GW_E_*. */
struct gw_move_wish {
        const char *vm, *to;
        long long bandwidth_mib_s, downtime_ms; /* 0: the authority's choice */
        const char *mode;                       /* NULL: what takes the VM as it is */
        long long multifd;
        bool xbzrle, auto_converge, keep_disks;
};
json_t *gw_move_wish_json(const struct gw_move_wish *wish); /* as the body of a request; new */
int gw_move_ask(struct gw_cli *cli, const struct gw_move_wish *wish, char id[static 80], struct gw_error *error);
/* Follows a move to its end, drawing its progress when `live`. *out is the move as it ended. */
int gw_move_follow(struct gw_cli *cli, const char *id, bool live, json_t **out, struct gw_error *error);

int gw_move_plan(struct gw_cli *cli, const struct gw_move_wish *wish); /* plan.c: `vm move --plan` */

/* timeline.c */
bool gw_move_is_over(const json_t *move);
bool gw_move_went_well(const json_t *move);
double gw_move_pause_ms(const json_t *move);     /* < 0: not known */
uint64_t gw_move_stopped_ns(const json_t *move); /* wall clock, source stopped; 0: not known */
uint64_t gw_move_resumed_ns(const json_t *move);
/* A bar per phase, and what happened to the packets. */
void gw_move_draw(const struct gw_cli *cli, const json_t *move, FILE *out);
/* The one line that says how it ended. */
void gw_move_conclude(const struct gw_cli *cli, const json_t *move, FILE *out);
/* One line of progress, without a line end. */
void gw_move_progress_line(const struct gw_cli *cli, const json_t *move, FILE *out);
