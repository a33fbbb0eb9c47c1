/* SPDX-License-Identifier: Apache-2.0 */
/* What the two edges counted during a move: redirected, held, dropped and why. */
#pragma once

#include <jansson.h>

struct nva_move;

void evidence_before(struct nva_move *move); /* asks both edges for their counters */
void evidence_after(struct nva_move *move);  /* again: what they grew by is kept */
/* Adds the figures to a move's "evidence". */
void evidence_add(const struct nva_move *move, json_t *evidence);
void evidence_load(struct nva_move *move, const json_t *evidence);
void evidence_drop(struct nva_move *move);
