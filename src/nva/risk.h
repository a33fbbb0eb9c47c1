/* SPDX-License-Identifier: Apache-2.0 */
/* What a move may lose. */
#pragma once

#include "nva/mover.h"

enum { MOVER_RISK_MAX = 200 };

/* Empty: nothing. */
void mover_risk(const struct gw_vm *vm, enum gw_move_mode mode, enum gw_move_as as, char out[static MOVER_RISK_MAX]);
