/* SPDX-License-Identifier: Apache-2.0 */
/* Which images a post-copy that was torn has left, where, and which of them is the newest. */
#pragma once

#include <jansson.h>

struct nva_move;

/* Of a move that has ended: kept with it from here on. Does nothing when nothing is left in doubt. */
void remains_note(struct nva_move *move);
