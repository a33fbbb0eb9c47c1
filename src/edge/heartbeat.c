/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats, RFC 5847 section 3: one each interval, the answer repeats its
 * sequence number and carries the sender's restart counter. After
 * GW_HEARTBEAT_MISSED_MAX without an answer the NVA counts as silent; nothing is
 * stopped for that (registrations are repeated by themselves), it is only known.
 * A restart is told by a counter that differs from the last one, in either
 * direction: an authority whose store was put back has started as well.
 */
#include "edge/heartbeat.h"

bool gw_heartbeat_tick(struct gw_heartbeat *h, struct gw_mono now, bool *lost) {
        *lost = false;
        if (h->next.ns && !gw_mono_reached(now, h->next))
                return false;
        if (h->waiting && !h->silent && ++h->missed >= GW_HEARTBEAT_MISSED_MAX)
                *lost = h->silent = true;
        h->sequence++;
        h->waiting = true;
        h->next = gw_mono_after(now, gw_ms(h->interval_ms));
        return true;
}

enum gw_heartbeat_news gw_heartbeat_answer(struct gw_heartbeat *h, uint32_t sequence, uint32_t restarts) {
        bool restarted = h->known && restarts != h->restarts, back = h->silent;

        if (!h->waiting || sequence != h->sequence)
                return GW_HEARTBEAT_STRAY;
        h->waiting = h->silent = false;
        h->missed = 0;
        h->known = true;
        h->restarts = restarts;
        if (restarted)
                return GW_HEARTBEAT_RESTARTED;
        return back ? GW_HEARTBEAT_BACK : GW_HEARTBEAT_NOTHING;
}
