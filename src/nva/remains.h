/* SPDX-License-Identifier: Apache-2.0 */
/* Which images a post-copy that was torn has left, where, and which of them is the newest. */
#pragma once

#include <stdbool.h>

struct nva_move;

/* Of one whose source is told to end what it has left: it keeps its images, as the other ones may be lost. */
bool remains_is_torn(const struct nva_move *move);

/* Of a move that has ended: kept with it from here on. Does nothing when nothing is left in doubt. */
void remains_note(struct nva_move *move);
