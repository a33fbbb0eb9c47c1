/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/move only: the first half of an event, what it teaches. */
#pragma once

#include "move/move.h"

/* Takes over what the event says; decides nothing. Out-of-date answers to orders are ignored. */
void gw_move_learn(struct gw_move *move, const struct gw_move_event *event);
/* Notes why the move did not go through; only the first reason is kept. */
void gw_move_blame(struct gw_move *move, const char *format, ...) __attribute__((format(printf, 2, 3)));
