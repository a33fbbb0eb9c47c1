/* SPDX-License-Identifier: Apache-2.0 */
/* What a move is expected to take, from moves that have been. */
#pragma once

#include <jansson.h>

#include "nva/risk.h"

enum mover_prediction_of { PREDICT_OWN_MOVES, PREDICT_OTHER_VMS, PREDICT_OTHER_MODES };

struct mover_prediction {
        enum gw_move_mode mode;
        enum gw_move_as as;
        size_t n; /* moves that it rests on; 0: none, and only the octets hold */
        enum mover_prediction_of of;
        double pause_ms, pause_most_ms; /* median, and the longest; 0 for a VM that does not run */
        double seconds;                 /* from the request to the end; 0: not known */
        uint64_t octets;                /* of memory that will travel */
        uint64_t disk_octets;           /* of images, as an earlier move found them */
        size_t n_disks;
        bool disks_known; /* an earlier move of this VM has looked at them */
        char may_lose[MOVER_RISK_MAX];
};
void mover_predict(const struct nva *nva, const struct gw_vm *vm, const struct mover_request *request,
                   struct mover_prediction *out);
json_t *mover_prediction_json(const struct mover_prediction *p); /* new */
