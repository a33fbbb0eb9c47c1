/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sequence bookkeeping.
 *
 * A ring of GW_TRACK_WINDOW slots holds the sending time of each packet that has
 * not come yet; 0 means that it came. So memory is bounded however long a probe
 * runs, a packet is duplicated exactly when its slot is 0 already, and a packet
 * whose slot is needed again before it came is lost.
 *
 * Reordered is RFC 4737's type-P-reordered: a packet, not a duplicate, with a
 * number smaller than the highest received so far plus one.
 *
 * The pauses kept are the longest ones, in an unsorted array with the index of
 * the shortest: nearly every reception ends at the first comparison.
 */
#include "lab/probe/track.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int gw_gaps_init(struct gw_gaps *gaps, size_t n_max, uint64_t floor_ns) {
        struct gw_gap *kept = calloc(n_max ? n_max : 1, sizeof *kept);

        if (!kept)
                return -ENOMEM;
        *gaps = (struct gw_gaps){.kept = kept, .n_max = n_max, .floor_ns = floor_ns};
        return 0;
}

void gw_gaps_deinit(struct gw_gaps *gaps) {
        free(gaps->kept);
        *gaps = (struct gw_gaps){0};
}

static uint64_t gap_length(const struct gw_gap *gap) {
        return gap->end_ns - gap->start_ns;
}

static void keep(struct gw_gaps *gaps, struct gw_gap gap) {
        if (!gaps->n_max)
                return;
        if (gaps->n < gaps->n_max)
                gaps->kept[gaps->n++] = gap;
        else if (gap_length(&gap) > gap_length(&gaps->kept[gaps->shortest]))
                gaps->kept[gaps->shortest] = gap;
        else
                return;
        if (gaps->n < gaps->n_max)
                return;
        for (size_t i = 0; i < gaps->n; i++)
                if (gap_length(&gaps->kept[i]) < gap_length(&gaps->kept[gaps->shortest]))
                        gaps->shortest = i;
}

void gw_gaps_add(struct gw_gaps *gaps, uint64_t at_ns) {
        struct gw_gap gap = {gaps->last_ns, at_ns};

        /* Kernel stamps of two CPUs may differ by a hair. */
        if (gaps->last_ns && at_ns <= gaps->last_ns)
                return;
        gaps->last_ns = at_ns;
        if (!gap.start_ns)
                return;
        if (gap_length(&gap) > gaps->longest_ns)
                gaps->longest_ns = gap_length(&gap);
        if (gap_length(&gap) >= gaps->floor_ns)
                keep(gaps, gap);
}

static int by_start(const void *a, const void *b) {
        const struct gw_gap *x = a, *y = b;

        return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

void gw_gaps_sort(struct gw_gaps *gaps) {
        qsort(gaps->kept, gaps->n, sizeof *gaps->kept, by_start);
        gaps->shortest = 0;
        for (size_t i = 0; i < gaps->n; i++)
                if (gap_length(&gaps->kept[i]) < gap_length(&gaps->kept[gaps->shortest]))
                        gaps->shortest = i;
}

int gw_track_init(struct gw_track *track, size_t gaps_max, uint64_t gap_floor_ns) {
        *track = (struct gw_track){0};
        track->slots = calloc(GW_TRACK_WINDOW, sizeof *track->slots);
        if (!track->slots)
                return -ENOMEM;
        if (gw_gaps_init(&track->gaps, gaps_max, gap_floor_ns) < 0) {
                free(track->slots);
                track->slots = NULL;
                return -ENOMEM;
        }
        return 0;
}

void gw_track_deinit(struct gw_track *track) {
        gw_gaps_deinit(&track->gaps);
        free(track->slots);
        track->slots = NULL;
}

static void note_lost(struct gw_track *track, uint64_t sequence, uint64_t sent_ns) {
        struct gw_lost_range *last = track->n_ranges ? &track->ranges[track->n_ranges - 1] : NULL;

        track->lost++;
        if (last && last->first + last->count == sequence)
                last->count++;
        else if (track->n_ranges < GW_TRACK_RANGES_MAX)
                track->ranges[track->n_ranges++] = (struct gw_lost_range){sequence, 1, sent_ns};
}

uint64_t gw_track_sent(struct gw_track *track, uint64_t at_ns) {
        uint64_t sequence = track->next++;
        uint64_t *slot = &track->slots[sequence % GW_TRACK_WINDOW];

        if (*slot)
                note_lost(track, sequence - GW_TRACK_WINDOW, *slot);
        *slot = at_ns ? at_ns : 1;
        return sequence;
}

void gw_track_unsent(struct gw_track *track) {
        track->next--;
        track->slots[track->next % GW_TRACK_WINDOW] = 0;
}

static void note_rtt(struct gw_track *track, uint64_t sent_ns, uint64_t at_ns) {
        uint64_t rtt = at_ns > sent_ns ? at_ns - sent_ns : 0;

        if (!track->rtt_count || rtt < track->rtt_min_ns)
                track->rtt_min_ns = rtt;
        if (rtt > track->rtt_max_ns)
                track->rtt_max_ns = rtt;
        track->rtt_sum_ns += rtt;
        track->rtt_count++;
}

void gw_track_received(struct gw_track *track, uint64_t sequence, uint64_t at_ns) {
        uint64_t *slot = &track->slots[sequence % GW_TRACK_WINDOW];

        if (sequence >= track->next || track->next - sequence > GW_TRACK_WINDOW) {
                track->strays++;
                return;
        }
        gw_gaps_add(&track->gaps, at_ns);
        if (!*slot) {
                track->duplicated++;
                return;
        }
        note_rtt(track, *slot, at_ns);
        *slot = 0;
        track->received++;
        if (sequence < track->expect)
                track->reordered++;
        else
                track->expect = sequence + 1;
}

void gw_track_received_one_way(struct gw_track *track, uint64_t sequence, uint64_t sent_ns, uint64_t at_ns) {
        /* A jump of more than a window is a forgery or another run's packet. */
        if (sequence >= track->next && sequence - track->next >= GW_TRACK_WINDOW) {
                track->strays++;
                return;
        }
        while (track->next <= sequence)
                gw_track_sent(track, sent_ns);
        gw_track_received(track, sequence, at_ns);
}

uint64_t gw_track_missing(const struct gw_track *track) {
        return track->next - track->received - track->lost;
}

void gw_track_finish(struct gw_track *track) {
        uint64_t first = track->next > GW_TRACK_WINDOW ? track->next - GW_TRACK_WINDOW : 0;

        for (uint64_t i = first; i < track->next; i++) {
                uint64_t *slot = &track->slots[i % GW_TRACK_WINDOW];

                if (*slot)
                        note_lost(track, i, *slot);
                *slot = 0;
        }
}
