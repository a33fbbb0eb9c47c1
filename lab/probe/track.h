/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bookkeeping of one stream of numbered packets: what came, what came twice,
 * what came out of order, what never came, and the pauses in between. Pure: times
 * are handed in, nothing is sent or read here.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
        GW_TRACK_WINDOW = 1 << 18, /* packets that may be on their way; older ones count as lost */
        GW_TRACK_RANGES_MAX = 100, /* runs of lost packets that are told one by one */
        GW_TRACK_GAPS_MAX = 20000, /* bound of the number of gaps that can be asked for */
};

/* Both ends in wall-clock ns: the last reception before, the first one after. */
struct gw_gap {
        uint64_t start_ns, end_ns;
};

/* Keeps the n_max longest pauses of at least floor_ns between one reception and the next. */
struct gw_gaps {
        struct gw_gap *kept;
        size_t n, n_max, shortest; /* shortest: index of the shortest kept */
        uint64_t floor_ns, last_ns, longest_ns;
};
int gw_gaps_init(struct gw_gaps *gaps, size_t n_max, uint64_t floor_ns); /* -ENOMEM */
void gw_gaps_deinit(struct gw_gaps *gaps);
void gw_gaps_add(struct gw_gaps *gaps, uint64_t at_ns); /* something was received at that time */
void gw_gaps_sort(struct gw_gaps *gaps);                /* by start; for printing */

struct gw_lost_range {
        uint64_t first, count, sent_ns; /* sent_ns: of the first; 0 when not known */
};

struct gw_track {
        uint64_t *slots; /* [sequence % WINDOW]: when sent; 0 when it came or was never sent */
        uint64_t next;   /* the next sequence number to be sent: all below were */
        uint64_t expect; /* highest received + 1 */
        uint64_t received, duplicated, reordered, lost, strays;
        uint64_t rtt_min_ns, rtt_max_ns, rtt_sum_ns, rtt_count;
        struct gw_gaps gaps;
        struct gw_lost_range ranges[GW_TRACK_RANGES_MAX];
        size_t n_ranges;
};

int gw_track_init(struct gw_track *track, size_t gaps_max, uint64_t gap_floor_ns); /* -ENOMEM */
void gw_track_deinit(struct gw_track *track);

/* Records that the packet numbered track->next leaves at that time, and returns its number. */
uint64_t gw_track_sent(struct gw_track *track, uint64_t at_ns);
/* The last packet did not leave after all. */
void gw_track_unsent(struct gw_track *track);
void gw_track_received(struct gw_track *track, uint64_t sequence, uint64_t at_ns);
/* For the far end of a one-way stream, which learns what was sent from what comes. */
void gw_track_received_one_way(struct gw_track *track, uint64_t sequence, uint64_t sent_ns, uint64_t at_ns);
/* How many of those sent have not come (and are not given up yet). */
uint64_t gw_track_missing(const struct gw_track *track);
/* Declares everything still missing lost. */
void gw_track_finish(struct gw_track *track);
