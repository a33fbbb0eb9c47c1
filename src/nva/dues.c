/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session pays for its frames with time: what they cost the directory is charged to it in frames (decision 27),
 * and it is not read meanwhile. Such a debt ended with the session. But coming and going cost most of all: when a gateway
 * does, every member of all routed VNs is told, twice, and the list of all ways is made for it. So a host that
 * connected in a loop cost the authority without end.
 *
 * So what is worked for a host is also kept with the host, over its sessions: the time by which all of it would have
 * been paid for, at the rate at which one session may send. It lies in the past for all that behave. A HELLO of one whose
 * time lies more than DUES_BURST_MS ahead is refused, before anything is done for it. Nobody owes more than DUES_MOST_S: where a
 * session may send few frames, what an honest gateway costs is minutes of them, and it may not be away for so long.
 */
#include "nva/dues.h"

#include "directory/directory.h"

void dues_charge(struct gw_nve *nve, uint64_t work, uint32_t per_s, struct gw_mono now) {
        uint64_t frames = work / DUES_WORK_OF_FRAME, most = (uint64_t)per_s * DUES_MOST_S;

        if (!per_s || !frames)
                return;
        if (nve->owes_until.ns < now.ns)
                nve->owes_until = now;
        nve->owes_until.ns += (frames < most ? frames : most) * (GW_NS_PER_S / per_s);
        if (nve->owes_until.ns > now.ns + DUES_MOST_S * GW_NS_PER_S)
                nve->owes_until.ns = now.ns + DUES_MOST_S * GW_NS_PER_S;
}

uint64_t dues_wait_ms(const struct gw_nve *nve, struct gw_mono now) {
        uint64_t from = now.ns + DUES_BURST_MS * GW_NS_PER_MS;

        return nve->owes_until.ns > from ? (nve->owes_until.ns - from) / GW_NS_PER_MS + 1 : 0;
}
