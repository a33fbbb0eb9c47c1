/* SPDX-License-Identifier: Apache-2.0 */
/* What the sessions of a host have cost, which its next session has to wait for. */
#pragma once

#include <stdint.h>

#include "base/time.h"

struct gw_nve;

enum {
        DUES_WORK_OF_FRAME = 64, /* objects that are walked over in the time that a frame takes */
        DUES_BURST_MS = 5000,    /* so much may be owed */
        DUES_MOST_S = 30,        /* more is never owed, whatever it cost */
};

/* work: as gw_directory.work counts it. per_s: frames that a session may send; 0: any number, and nothing is owed. */
void dues_charge(struct gw_nve *nve, uint64_t work, uint32_t per_s, struct gw_mono now);
/* For how long its next session must wait; 0: not at all. */
uint64_t dues_wait_ms(const struct gw_nve *nve, struct gw_mono now);
