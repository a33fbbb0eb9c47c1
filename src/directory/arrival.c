/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway that comes, and from when on it is used; one that may be none any more, and until when it goes on.
 *
 * To be a gateway of a VN is a matter of three parties: the gateway must take frames of the VN's members and have the ways,
 * those that it routes to must take its frames, and only then may anybody use it. A gateway that was used at once dropped
 * what came from members that it had not been told yet, while another one was there that had them all. The VMs of its own
 * host use it as soon as it has the ways; so one that is allowed in its session is told none before the members have
 * confirmed that it is a gateway (HELD_MOST_MS at most: where it is the only one, they have none so long).
 *
 * So others are told at once that it is a gateway, and that it lives only when it has taken its ways (the shell says so)
 * and of every VN that it routes has confirmed the list of members, and everybody who listens there has confirmed it. All
 * its VNs count, since what comes in by one leaves by another. A VN that is routed later waits for itself; those that live
 * stay so. With a session all of that begins anew: the host may have been started anew.
 *
 * The other way round, one that is forbidden goes on, and the members go on taking its frames, until all of them have
 * confirmed that it is not to be used, and until others that are about to come have, which may be those that they need;
 * then it is told to route nothing. Its own VMs use it until it has taken that, whatever others do, and so long the members
 * take its frames; then it is no gateway for them any more. One that does not take it is none after TOLD_OFF_MOST_MS, and is
 * told on.
 *
 * Looked at GW_DIRECTORY_ARRIVAL_MS after it began or got its ways, then after twice that, up to ARRIVAL_MOST_MS. A look that takes LOOKS
 * members goes on later with the first VN that was not done. Who does not confirm falls behind (update.c) and is not waited
 * for any more; a gateway that itself has not taken its ways, or that it has none, is told again, as often as it takes, but not
 * while its answer may come yet.
 */
#include "directory/internal.h"

enum {
        LOOKS = 65536,
        ARRIVAL_MOST_MS = 320,
        ARRIVAL_LATE_MS = 10000,  /* then it is said what is missing */
        HELD_MOST_MS = 5000,      /* who has not confirmed it by then has fallen behind */
        DEPARTURE_MOST_MS = 5000, /* for others to come */
        TOLD_OFF_MOST_MS = 15000, /* for it to take that it routes nothing */
};

static bool passed(const struct gw_directory *d, const struct gw_nve *nve, uint64_t ms) {
        return gw_mono_reached(d->now.mono, gw_mono_after(nve->arrival_began, gw_ms(ms)));
}

static bool is_coming(const struct directory_member *m) {
        return m->routes && !m->serves && !gw_dir_item_nve(&m->item)->departs &&
               gw_directory_gateway_lives(gw_dir_item_nve(&m->item));
}

/* Who among the members is to be waited for; NULL: nobody. */
static const struct directory_member *awaited(const struct directory_member *gateway, bool others, size_t *looks) {
        gw_list_for_each (link, &gateway->vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                *looks += 1;
                if (m != gateway &&
                    ((gw_dir_member_receives(m) && m->known_members < gateway->changed) || (others && is_coming(m))))
                        return m;
        }
        return NULL;
}

/* Its answer did not come, or was no: what has not been taken now may be the next time. */
static void tell_again(struct gw_directory *d, struct gw_nve *nve) {
        if (nve->ways_out || !gw_mono_reached(d->now.mono, gw_mono_after(nve->ways_at, gw_ms(ARRIVAL_LATE_MS))))
                return;
        gw_dir_note(d, GW_NOTE_INFO, "gateway=%s has not taken %s; it is told again", nve->id.s,
                    nve->gateway ? "its ways" : "that it has no ways");
        nve->ways_at = d->now.mono;
        if (d->effects->gateway_tell)
                d->effects->gateway_tell(nve, d->user);
}

static void say_late(struct gw_directory *d, struct gw_nve *nve, const struct directory_member *m,
                     const struct directory_member *waits_for) {
        const char *what = waits_for ? gw_dir_item_nve(&waits_for->item)->id.s : "it has not confirmed its members";

        if (nve->departs || nve->arrival_said || !passed(d, nve, ARRIVAL_LATE_MS))
                return;
        nve->arrival_said = true;
        gw_dir_note(d, GW_NOTE_INFO, "gateway=%s vn=%s is not used by those that have another one; waits for: %s",
                    nve->id.s, m->vn->id.s, what);
}

void gw_dir_arrival_hold(struct gw_directory *d, struct gw_nve *nve) {
        if (!nve->nve_connected)
                return; /* its HELLO gets it told */
        nve->ways_held = true;
        nve->took_ways = nve->ways_out = false;
        nve->arrival_began = d->now.mono;
}

static bool is_known(const struct gw_nve *nve) {
        size_t looks = 0;

        gw_list_for_each (link, &nve->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (m->routes && awaited(m, false, &looks))
                        return false;
                if (looks >= LOOKS)
                        return true; /* more than can be looked at again and again */
        }
        return true;
}

static void tell_held(struct gw_directory *d, struct gw_nve *nve) {
        if (!is_known(nve) && !passed(d, nve, HELD_MOST_MS))
                return;
        nve->ways_held = false;
        nve->ways_at = d->now.mono;
        if (d->effects->gateway_tell)
                d->effects->gateway_tell(nve, d->user);
}

/* Of all its VNs; false: it is to be looked at again. */
static bool is_confirmed(struct gw_directory *d, struct gw_nve *nve) {
        bool others = nve->departs && !passed(d, nve, DEPARTURE_MOST_MS);
        size_t looks = 0;

        if (!nve->departs && !nve->took_ways) {
                if (nve->ways_held)
                        tell_held(d, nve);
                else
                        tell_again(d, nve);
                return false;
        }
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);
                const struct directory_member *waits_for = NULL;

                if (m->ready || !m->routes)
                        continue;
                if (looks >= LOOKS)
                        return false;
                if ((!nve->departs && !(m->listening && m->known_all)) ||
                    (waits_for = awaited(m, others, &looks)) != NULL) {
                        say_late(d, nve, m, waits_for);
                        return false;
                }
                m->ready = true;
        }
        return true;
}

static void look_in(struct gw_directory *d, struct gw_nve *nve, uint32_t ms) {
        nve->arrival_wait_ms = ms < ARRIVAL_MOST_MS ? ms : ARRIVAL_MOST_MS;
        gw_heap_set(&d->heap, &nve->arrival, gw_mono_after(d->now.mono, gw_ms(nve->arrival_wait_ms)));
}

void gw_dir_arrival_begin(struct gw_directory *d, struct gw_nve *nve) {
        if (nve->arrival.place && nve->arrival_wait_ms == GW_DIRECTORY_ARRIVAL_MS)
                return; /* soon: not put off by what comes again and again */
        if (!nve->arrival.place && !nve->told_off) {
                nve->arrival_began = d->now.mono;
                nve->arrival_said = false;
        }
        look_in(d, nve, GW_DIRECTORY_ARRIVAL_MS);
}

static void serve(struct gw_directory *d, struct gw_nve *nve) {
        bool came = false;

        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (!m->routes || m->serves)
                        continue;
                m->serves = came = true;
                gw_dir_member_touch(d, m);
        }
        if (came)
                gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
}

void gw_dir_departure_begin(struct gw_directory *d, struct gw_nve *nve) {
        nve->departs = true;
        nve->ways_held = false;
        gw_heap_clear(&d->heap, &nve->arrival);
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                gw_dir_arrival_void(m);
                if (m->routes)
                        gw_dir_member_touch(d, m);
        }
        gw_dir_arrival_begin(d, nve);
}

void gw_dir_departure_end(struct gw_nve *nve) {
        if (!nve->departs)
                return;
        nve->departs = nve->told_off = false;
        gw_list_for_each (link, &nve->members)
                gw_dir_arrival_void(gw_list_entry(link, struct directory_member, in_nve));
}

/* Nobody else uses it any more: true when it does not, either, or has had its time to take that. */
static bool has_departed(struct gw_directory *d, struct gw_nve *nve) {
        if (nve->told_off)
                return nve->took_ways || passed(d, nve, TOLD_OFF_MOST_MS);
        if (!is_confirmed(d, nve))
                return false;
        nve->told_off = true;
        nve->took_ways = false;
        nve->arrival_began = nve->ways_at = d->now.mono;
        if (d->effects->gateway_tell)
                d->effects->gateway_tell(nve, d->user);
        return false;
}

void gw_directory_gateway_told(struct gw_directory *d, struct gw_nve *nve, struct gw_now now) {
        d->now = now;
        nve->took_ways = nve->ways_held = false;
        nve->ways_out = true;
        nve->ways_at = now.mono;
        gw_dir_arrival_begin(d, nve);
}

void gw_directory_gateway_took(struct gw_directory *d, struct gw_nve *nve, bool took, struct gw_now now) {
        d->now = now;
        if (nve->ways_held)
                return; /* that it has none, before it might have some */
        nve->took_ways = took;
        nve->ways_out = false;
        nve->ways_at = now.mono;
        if (!took || nve->arrival.place)
                gw_dir_arrival_begin(d, nve);
}

void gw_dir_arrival_look(struct gw_directory *d, struct gw_nve *nve) {
        bool off;

        if (!gw_dir_nve_listens(nve) || !nve->offers_gateway)
                return;
        if (nve->departs && has_departed(d, nve)) {
                nve->departs = nve->told_off = false;
                gw_dir_gateways_review_nve(d, nve);
        }
        if (nve->gateway && is_confirmed(d, nve))
                return serve(d, nve);
        off = nve->told_off || (!nve->gateway && !nve->departs);
        if (off && nve->took_ways)
                return;
        if (off)
                tell_again(d, nve);
        look_in(d, nve, nve->arrival_wait_ms * 2);
}

void gw_dir_arrival_void(struct directory_member *m) {
        m->ready = m->serves = false;
}
