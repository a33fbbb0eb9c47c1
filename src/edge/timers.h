/* SPDX-License-Identifier: Apache-2.0 */
/* All deadlines of one edge: a binary heap of timers embedded in their owners.
 * Room is taken when a timer is added, so that setting one cannot fail. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/time.h"

struct edge_timer {
        struct gw_mono at;
        size_t slot;  /* place in the heap, from 1; 0: not set */
        uint8_t kind; /* the owner's; tells what the timer is embedded in */
};

struct edge_timers {
        struct edge_timer **heap; /* from index 1 */
        size_t n, size, added;
};

void gw_edge_timers_deinit(struct edge_timers *timers);
int gw_edge_timer_add(struct edge_timers *timers, struct edge_timer *timer, uint8_t kind); /* -ENOMEM */
void gw_edge_timer_remove(struct edge_timers *timers, struct edge_timer *timer);           /* harmless when not added */
void gw_edge_timer_set(struct edge_timers *timers, struct edge_timer *timer, struct gw_mono at);
void gw_edge_timer_stop(struct edge_timers *timers, struct edge_timer *timer);
/* The earliest timer that is due, stopped; NULL when none. */
struct edge_timer *gw_edge_timers_due(struct edge_timers *timers, struct gw_mono now);
struct gw_mono gw_edge_timers_next(const struct edge_timers *timers);
