/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long a VM would stand still for what its disks have not sent yet.
 *
 * What is left is known; how fast it goes has to be measured, and that is possible
 * only while there was something to send all the time. A mirror that keeps up is
 * idle mostly: then what it has sent tells what the guest writes, and the link
 * carries at least that. It is taken for busy when more is left, before and after,
 * than one of its rounds explains (HV_BACKLOG_SLICE_MS of what it sends). So the
 * rate follows a link that becomes slow within a few looks, and does not fall
 * because the guest has nothing to write.
 *
 * The first copy of an image with holes runs faster than the link; the estimate is
 * too good until the mirrors have been busy with data once. What stops the VM has a
 * deadline besides (hv/mirror.c).
 */
#include "hv/backlog.h"

enum { LOOK_MS = 100 }; /* a rate over less is none */

static uint64_t slice_of(uint64_t rate_octets_s) {
        return rate_octets_s / 1000 * HV_BACKLOG_SLICE_MS;
}

static void measure(struct hv_backlog *b, uint64_t octets, struct gw_duration over) {
        uint64_t seen = (uint64_t)((double)octets * GW_NS_PER_S / (double)over.ns);
        uint64_t least = b->base_left_octets < b->left_octets ? b->base_left_octets : b->left_octets;

        if (least && least >= slice_of(seen))
                b->rate_octets_s = b->rate_octets_s ? (b->rate_octets_s + seen) / 2 : seen;
        else if (seen > b->rate_octets_s)
                b->rate_octets_s = seen;
}

void hv_backlog_look(struct hv_backlog *b, uint64_t done_octets, uint64_t total_octets, struct gw_mono now) {
        struct gw_duration over = gw_mono_between(b->base, now);

        if (done_octets < b->base_octets)
                *b = (struct hv_backlog){0};
        b->left_octets = total_octets > done_octets ? total_octets - done_octets : 0;
        if (b->base.ns && over.ns < gw_ms(LOOK_MS).ns)
                return;
        if (b->base.ns)
                measure(b, done_octets - b->base_octets, over);
        b->base_octets = done_octets;
        b->base_left_octets = b->left_octets;
        b->base = now;
}

uint64_t hv_backlog_ms(const struct hv_backlog *b) {
        if (!b->left_octets)
                return 0;
        if (!b->rate_octets_s || b->left_octets > UINT64_MAX / 2000)
                return UINT64_MAX;
        return (uint64_t)((double)b->left_octets * 1000 / (double)b->rate_octets_s);
}
