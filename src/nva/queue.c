/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves that wait for their turn. A host takes part in at most `moves-max` moves at
 * a time, as source or as target: more of them share its link and its processors,
 * each takes longer, and each VM writes more meanwhile. Those beyond stay in phase
 * plan, oldest first for each pair of hosts, and hold nothing yet; they are looked
 * at whenever a move has ended.
 */
#include <string.h>

#include "nva/mover.h"

static uint32_t under_way(const struct nva *nva, const struct gw_name *host) {
        uint32_t n = 0;

        gw_list_for_each (link, &nva->open_moves) {
                const struct gw_move *m = &mover_open_entry(link)->core;

                if (!gw_move_is_idle(m) && (gw_name_eq(&m->from, host) || gw_name_eq(&m->to, host)))
                        n++;
        }
        return n;
}

bool mover_is_queued(const struct nva_move *move) {
        return move->core.phase == GW_MOVE_PLAN && !move->core.admitted;
}

void mover_admit(struct nva *nva) {
        gw_list_for_each (link, &nva->open_moves) {
                struct nva_move *move = mover_open_entry(link);

                if (mover_is_queued(move) && under_way(nva, &move->core.from) < nva->config.moves_max &&
                    under_way(nva, &move->core.to) < nva->config.moves_max)
                        mover_feed(move, &(struct gw_move_event){.kind = GW_MOVE_EV_ADMITTED});
        }
}
