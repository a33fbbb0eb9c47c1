/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a move is to be made, and what its two agents must know of each other: the
 * authority carries it from one to the other and keeps it with the move.
 */
#pragma once

#include <jansson.h>

#include "hypervisor/options.h"
#include "move/move.h"

struct gw_json_reader;
struct gw_vm;
struct nva_move;

struct nva_ways {
        struct gw_copy_options options;
        bool keep_disks; /* the source's images stay, under another name */
        json_t *landing; /* what the target answered when it was ready; owned, NULL before */
        json_t *disks;   /* what the source said of its disks; owned, NULL: none */
        bool cleared;    /* the source has answered that it has ended its copy, and with it its images */
        json_t *images;  /* what is left where, when that is in doubt (remains.c); owned, NULL: nothing */
};

/* The members mode, xbzrle, .. of what an operator asks for. Was a mode named? Else *mode is hot. */
bool ways_read(struct gw_json_reader *r, enum gw_move_mode *mode, struct nva_ways *out);
bool ways_has_disks(const struct gw_vm *vm);
void ways_deinit(struct nva_ways *ways);

/* What an agent answered to an order that went well; borrowed. */
void ways_learn(struct nva_move *move, enum gw_move_order order, const json_t *answer);
/* Adds to the body of an order. */
void ways_tell(const struct nva_move *move, enum gw_move_order order, json_t *body);

/* In the journal, and among what people see of a move. */
void ways_write(const struct nva_ways *ways, json_t *journal);
void ways_load(struct nva_ways *ways, const json_t *journal);
