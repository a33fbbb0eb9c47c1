/* SPDX-License-Identifier: Apache-2.0 */
/* What mirrors of disks still have to send, and how long that is going to take. Pure. */
#pragma once

#include <stdint.h>

#include "base/time.h"

/* A mirror that keeps up looks ten times a second for what the guest has written: so much, and a little, is always left. */
enum { HV_BACKLOG_SLICE_MS = 150 };

struct hv_backlog {
        uint64_t left_octets;   /* of all disks together, as last seen */
        uint64_t rate_octets_s; /* at which they can be sent; 0: not known */
        uint64_t base_octets;   /* sent when the rate was last measured, at .. */
        struct gw_mono base;    /* 0: never */
        uint64_t base_left_octets;
};

/* The mirrors have sent `done` of `total` octets by now. A `done` that falls is another copy's: all starts anew. */
void hv_backlog_look(struct hv_backlog *backlog, uint64_t done_octets, uint64_t total_octets, struct gw_mono now);
/* How long what is left takes, when nothing is added; UINT64_MAX: for ever, or not known. */
uint64_t hv_backlog_ms(const struct hv_backlog *backlog);
