/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats (RFC 5847) with the NVA, for registrations that have a transport of
 * their own: they tell that it is there, and by its restart counter that it
 * started anew and may want to hear everything again. Pure, like the edge.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/time.h"

enum { GW_HEARTBEAT_MISSED_MAX = 3 }; /* MISSING_HEARTBEATS_ALLOWED */

struct gw_heartbeat {
        uint32_t interval_ms;
        uint32_t sequence; /* of the last one sent */
        uint32_t restarts; /* as last told */
        uint32_t missed;   /* in a row */
        bool known;        /* .restarts was told */
        bool waiting;      /* the last one is not answered */
        bool silent;       /* too many were missed */
        struct gw_mono next;
};

enum gw_heartbeat_news {
        GW_HEARTBEAT_NOTHING,
        GW_HEARTBEAT_RESTARTED, /* register everything again */
        GW_HEARTBEAT_BACK,      /* it is there again and was not restarted */
        GW_HEARTBEAT_STRAY,     /* not an answer to the last one */
};

/* True: send one now, with .sequence. *lost becomes true when it has just been found silent. */
bool gw_heartbeat_tick(struct gw_heartbeat *h, struct gw_mono now, bool *lost);
enum gw_heartbeat_news gw_heartbeat_answer(struct gw_heartbeat *h, uint32_t sequence, uint32_t restarts);
