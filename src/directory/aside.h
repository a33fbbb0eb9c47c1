/* SPDX-License-Identifier: Apache-2.0 */
/* What few bindings have, and none has room for: a reserved move, former places. */
#pragma once

#include "base/slab.h"
#include "directory/vm.h"

int gw_aside_move(struct gw_slab *slab, struct gw_binding *b, const struct gw_reservation *move); /* a copy; -ENOMEM */
void gw_aside_move_end(struct gw_slab *slab, struct gw_binding *b); /* harmless when none is reserved */
/* One more former place, the newest; of GW_PREVIOUS_MAX the oldest goes. Without memory it is not remembered. */
void gw_aside_remember(struct gw_slab *slab, struct gw_binding *b, const struct gw_previous *place);
void gw_aside_free(struct gw_slab *slab, struct gw_binding *b);
