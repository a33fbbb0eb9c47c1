/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A move drawn for people: a bar per phase on a common scale, the VM's own pause, and
 * what the move's evidence says of packets. All times in a move are wall-clock ns.
 */
#include <string.h>

#include "base/time.h"
#include "cli/move.h"
#include "cli/output.h"

enum { BAR = 50 };

static const struct phase_words {
        const char *phase, *means;
} phases[] = {
        {"plan", "checks"},
        {"prepare", "the target gets ready to receive"},
        {"copy", "memory is copied while the VM runs"},
        {"cut", "VM stopped, packets redirected"},
        {"commit", "the directory says the new place, the last memory arrives"},
        {"activate", "the VM runs at the target"},
        {"converge", "everybody who talks to it learns the new place"},
        {"finish", "the old copy is ended"},
        {"abandon", "way back: the target's copy goes"},
        {"take-back", "way back: the VM runs at the source again"},
};

static const char *meaning(const char *phase) {
        for (size_t i = 0; i < sizeof phases / sizeof *phases; i++)
                if (!strcmp(phases[i].phase, phase))
                        return phases[i].means;
        return "";
}

static uint64_t at_ns(const json_t *entry) {
        return (uint64_t)gw_member_int(entry, "at_ns");
}

static const json_t *evidence(const json_t *move) {
        return json_object_get(move, "evidence");
}

bool gw_move_is_over(const json_t *move) {
        const char *phase = gw_member_text(move, "phase");

        return !strcmp(phase, "done");
}

bool gw_move_went_well(const json_t *move) {
        return gw_move_is_over(move) && !strcmp(gw_member_text(move, "result"), "ok");
}

uint64_t gw_move_stopped_ns(const json_t *move) {
        return (uint64_t)gw_member_int(evidence(move), "stopped_ns");
}

uint64_t gw_move_resumed_ns(const json_t *move) {
        return (uint64_t)gw_member_int(evidence(move), "resumed_ns");
}

double gw_move_pause_ms(const json_t *move) {
        uint64_t from = gw_move_stopped_ns(move), to = gw_move_resumed_ns(move);

        return from && to > from ? (double)(to - from) / (double)GW_NS_PER_MS : -1;
}

static void draw_bar(const struct gw_cli *cli, double from, double to, double whole, enum gw_colour colour, FILE *out) {
        int first = whole > 0 ? (int)(from / whole * BAR) : 0, last = whole > 0 ? (int)(to / whole * BAR + 0.5) : 0;

        if (first >= BAR)
                first = BAR - 1;
        if (last <= first)
                last = first + 1;
        fprintf(out, "%*s%s", first, "", gw_colour(cli, colour));
        for (int i = first; i < last; i++)
                fputs(cli->live ? "█" : "#", out);
        fprintf(out, "%s%*s", gw_colour(cli, GW_PLAIN), last < BAR ? BAR - last : 0, "");
}

static void draw_phase(const struct gw_cli *cli, const char *phase, double from, double to, double whole, FILE *out) {
        enum gw_colour colour = !strcmp(phase, "cut")                                      ? GW_YELLOW
                                : !strcmp(phase, "abandon") || !strcmp(phase, "take-back") ? GW_RED
                                                                                           : GW_CYAN;

        fprintf(out, "  %-10s %9.1f ms  ", phase, to - from);
        draw_bar(cli, from, to, whole, colour, out);
        fprintf(out, "  %s%s%s\n", gw_colour(cli, GW_DIM), meaning(phase), gw_colour(cli, GW_PLAIN));
}

static double in_ms(uint64_t from_ns, uint64_t to_ns) {
        return to_ns > from_ns ? (double)(to_ns - from_ns) / (double)GW_NS_PER_MS : 0;
}

static void draw_timeline(const struct gw_cli *cli, const json_t *move, FILE *out) {
        json_t *timeline = json_object_get(move, "timeline"), *entry;
        size_t i, n = json_array_size(timeline);
        uint64_t begin = n ? at_ns(json_array_get(timeline, 0)) : 0;
        uint64_t end = n ? at_ns(json_array_get(timeline, n - 1)) : 0;
        double whole = in_ms(begin, end);

        json_array_foreach (timeline, i, entry) {
                uint64_t next = i + 1 < n ? at_ns(json_array_get(timeline, i + 1)) : at_ns(entry);

                if (strcmp(gw_member_text(entry, "phase"), "done") != 0)
                        draw_phase(cli, gw_member_text(entry, "phase"), in_ms(begin, at_ns(entry)), in_ms(begin, next),
                                   whole, out);
        }
        if (gw_move_pause_ms(move) >= 0 && gw_move_stopped_ns(move) >= begin) {
                double from = in_ms(begin, gw_move_stopped_ns(move)), to = in_ms(begin, gw_move_resumed_ns(move));

                fprintf(out, "  %-10s %9.1f ms  ", "VM stopped", to - from);
                draw_bar(cli, from, to > whole ? whole : to, whole, GW_RED, out);
                fprintf(out, "  %sthe VM's own pause%s\n", gw_colour(cli, GW_DIM), gw_colour(cli, GW_PLAIN));
        }
}

static void draw_figure(const json_t *e, const char *key, const char *text, FILE *out) {
        if (json_object_get(e, key))
                fprintf(out, "  %8lld  %s\n", (long long)gw_member_int(e, key), text);
}

/* Of any VM, since the counters are the edges': so each says its reason. */
static void draw_drops(const json_t *e, FILE *out) {
        json_t *drops = json_object_get(e, "drops"), *count;
        const char *reason, *between = ": ";

        if (!json_object_get(e, "dropped"))
                return;
        fprintf(out, "  %8lld  packets, of any VM, were dropped by the two edges",
                (long long)gw_member_int(e, "dropped"));
        json_object_foreach (drops, reason, count) {
                fprintf(out, "%s%s %lld", between, reason, (long long)json_integer_value(count));
                between = ", ";
        }
        fputc('\n', out);
}

void gw_move_draw(const struct gw_cli *cli, const json_t *move, FILE *out) {
        const json_t *e = evidence(move), *progress = json_object_get(move, "progress");
        char octets[32];

        fprintf(out, "%smove %s%s: %s from %s to %s\n", gw_colour(cli, GW_BOLD), gw_member_text(move, "id"),
                gw_colour(cli, GW_PLAIN), gw_member_text(move, "vm"), gw_member_text(move, "from"),
                gw_member_text(move, "to"));
        draw_timeline(cli, move, out);
        if (!json_is_object(progress))
                progress = json_object_get(e, "progress");
        if (gw_member_int(progress, "transferred"))
                fprintf(out, "  %8s  of memory sent\n",
                        gw_octets_text((double)gw_member_int(progress, "transferred"), octets));
        draw_figure(e, "drained", "packets were taken from the stopped VM's queue and sent after it", out);
        draw_figure(e, "redirected", "packets reached the old host afterwards and were redirected", out);
        draw_figure(e, "held", "packets waited at the target for the VM", out);
        draw_drops(e, out);
        draw_figure(e, "talkers", "other edges talked to the VM and were told", out);
}

/* Of a post-copy that was torn: where its disks are now. */
static void draw_images(const json_t *move, FILE *out) {
        json_t *image;
        size_t i;

        json_array_foreach (json_object_get(move, "images"), i, image) {
                bool current = !strcmp(gw_member_text(image, "state"), "current");

                fprintf(out, "  disk %lld  %s on %s  %s\n", (long long)gw_member_int(image, "disk"),
                        gw_member_text(image, "path"), gw_member_text(image, "nve"),
                        current ? "current: with all that the VM wrote"
                                : "old: as it was when the VM left; remove it when the VM runs with the other");
        }
}

void gw_move_conclude(const struct gw_cli *cli, const json_t *move, FILE *out) {
        bool well = gw_move_went_well(move);
        const char *reason = gw_member_text(move, "reason");
        double pause_ms = gw_move_pause_ms(move);
        const char *as = gw_member_text(move, "as"), *still = NULL;

        if (!strcmp(as, "suspended"))
                still = "is suspended";
        else if (!strcmp(as, "stopped"))
                still = "is stopped, and has its disks";
        if (!gw_move_is_over(move)) {
                fprintf(out, "%s is still moving: %s\n", gw_member_text(move, "vm"), gw_member_text(move, "phase"));
                return;
        }
        fprintf(out, "%s%s%s: %s", gw_colour(cli, well ? GW_GREEN : GW_RED), well ? "moved" : "not moved",
                gw_colour(cli, GW_PLAIN), gw_member_text(move, "vm"));
        if (well)
                fprintf(out, " %s at %s now", still ? still : "runs", gw_member_text(move, "to"));
        else
                fprintf(out, " is at %s%s%s",
                        gw_member_text(move, "place")[0] ? gw_member_text(move, "place") : gw_member_text(move, "from"),
                        *reason ? ": " : "", reason);
        if (well && pause_ms >= 0)
                fprintf(out, "; it stood still for %.1f ms", pause_ms);
        fputc('\n', out);
        draw_images(move, out);
}

void gw_move_progress_line(const struct gw_cli *cli, const json_t *move, FILE *out) {
        const json_t *p = json_object_get(move, "progress");
        double rate, left;
        char sent[32], speed[32];

        if (!json_is_object(p))
                p = json_object_get(evidence(move), "progress");
        rate = json_number_value(json_object_get(p, "rate_bytes_s"));
        left = (double)gw_member_int(p, "remaining");
        fprintf(out, "%s%s%s %s -> %s  %-9s", gw_colour(cli, GW_BOLD), gw_member_text(move, "vm"),
                gw_colour(cli, GW_PLAIN), gw_member_text(move, "from"), gw_member_text(move, "to"),
                gw_member_text(move, "phase"));
        if (!p)
                return;
        fprintf(out, " %s sent, %s/s", gw_octets_text((double)gw_member_int(p, "transferred"), sent),
                gw_octets_text(rate, speed));
        if (rate > 0 && left > 0)
                fprintf(out, ", about %.1f s left", left / rate);
        if (gw_member_int(p, "disk_left"))
                fprintf(out, ", %s of disks to send%s", gw_octets_text((double)gw_member_int(p, "disk_left"), speed),
                        json_is_true(json_object_get(p, "waits_for_disks")) ? ", which it waits for" : "");
}
