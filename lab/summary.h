/* SPDX-License-Identifier: Apache-2.0 */
/* What many moves did to a probe's streams, in a few figures. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

struct gw_cli;

struct gw_summary {
        json_t *moves;   /* as they ended */
        json_t *figures; /* after gw_summary_conclude; the keys are told in summary.c */
};

void gw_summary_add_move(struct gw_summary *s, json_t *move); /* keeps a reference */
void gw_summary_conclude(struct gw_summary *s, json_t *report);
void gw_summary_print(const struct gw_summary *s, const struct gw_cli *cli, FILE *out);
bool gw_summary_is_clean(const struct gw_summary *s);
void gw_summary_deinit(struct gw_summary *s);
