/* SPDX-License-Identifier: Apache-2.0 */
/* A move as people read it, and as its journal keeps it. */
#pragma once

#include <jansson.h>

#include "move/move.h"

struct gw_error;

/* The members that people see. New reference. */
json_t *move_to_json(const struct gw_move *move);
/* The same and the facts that only the state machine needs ("facts"); move_from_json reads it back. */
json_t *move_to_journal(const struct gw_move *move);
int move_from_journal(struct gw_move *out, const json_t *journal, struct gw_error *error);
