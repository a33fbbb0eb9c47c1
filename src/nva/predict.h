/* SPDX-License-Identifier: Apache-2.0 */
/* What a move is expected to take, from moves that have been. */
#pragma once

#include <jansson.h>

#include "nva/mover.h"

struct mover_prediction {
        size_t n;                       /* moves that it rests on; 0: none, and only .octets holds */
        bool own;                       /* of this very VM; else of others */
        double pause_ms, pause_most_ms; /* median, and the longest */
        double seconds;                 /* from the request to the end */
        uint64_t octets;                /* of memory that will travel */
};
void mover_predict(const struct nva *nva, const struct gw_vm *vm, enum gw_move_mode mode, struct mover_prediction *out);
json_t *mover_prediction_json(const struct mover_prediction *p, enum gw_move_mode mode); /* new */
