/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames from the wire whose sender lives elsewhere, as far as is known here.
 *
 * Either the VM has just moved and its first frame is faster than the news, or
 * somebody speaks in its name. The authority knows. So such frames wait while it is
 * asked: when it puts the VM where the frames came from, they go on, in order, before
 * any later one (.punt_from makes those come up, too); when it has said something
 * else each of SUSPECT_TRIES times they are dropped. One contrary answer is not
 * enough: a VM may run at its new place for a moment before the authority has heard
 * of the cut.
 *
 * Without the authority nobody can tell, and a cut must not need it: the frames go
 * on and are counted. So they do when it does not answer, and the next ones are not
 * held up again for a while.
 *
 * Bounds: suspects, and of those a sender may have as many as are still free, so that one of them does not hide
 * a move from another; frames of each, octets of all that is held (with query.c).
 */
#include <stdlib.h>

#include "base/log.h"
#include "edge/core.h"

enum {
        SUSPECTS_MAX = 256,
        SUSPECT_TRIES = 3,
        SUSPECT_ASK_MS = 100,
        SUSPECT_BELIEVED_MS = 5000,
        SUSPECT_REFUSED_MS = 100, /* how long a refusal is remembered: short, for the VM may come */
        SUSPECT_SAY_MS = 1000,    /* a host that speaks for many makes no more lines than one that speaks for one */
};

static struct edge_suspect *suspect_find(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac,
                                         struct gw_ip sender) {
        gw_list_for_each (link, &edge->suspects) {
                struct edge_suspect *s = gw_list_entry(link, struct edge_suspect, link);

                if (s->vni == vni && gw_mac_eq(s->mac, mac) && gw_ip_eq(s->sender, sender))
                        return s;
        }
        return NULL;
}

bool gw_edge_source_suspected(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip sender) {
        const struct edge_suspect *s = edge->n_suspects ? suspect_find(edge, vni, mac, sender) : NULL;

        return s && !s->refused && !s->believed;
}

static size_t suspects_of(const struct gw_edge *edge, struct gw_ip sender) {
        size_t n = 0;

        gw_list_for_each (link, &edge->suspects)
                n += gw_ip_eq(gw_list_entry(link, struct edge_suspect, link)->sender, sender);
        return n;
}

static struct edge_suspect *suspect_new(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip sender) {
        struct edge_suspect *s;

        if (suspects_of(edge, sender) >= SUSPECTS_MAX - edge->n_suspects)
                return NULL;
        s = calloc(1, sizeof *s);
        if (!s || gw_edge_timer_add(&edge->timers, &s->timer, TIMER_SUSPECT)) {
                free(s);
                return NULL;
        }
        s->vni = vni;
        s->mac = mac;
        s->sender = sender;
        gw_list_append(&edge->suspects, &s->link);
        edge->n_suspects++;
        return s;
}

static void suspect_free(struct gw_edge *edge, struct edge_suspect *s) {
        gw_edge_share_held(edge, 0, s->held.octets);
        gw_edge_held_clear(&s->held);
        gw_edge_timer_remove(&edge->timers, &s->timer);
        gw_list_remove(&s->link);
        edge->n_suspects--;
        free(s);
}

static void suspect_ask(struct gw_edge *edge, struct gw_edge_now now, struct edge_suspect *s) {
        struct edge_key key = gw_edge_key_mac(s->vni, s->mac);

        s->tries++;
        edge->counters[GW_EDGE_C_SOURCES_ASKED]++;
        gw_edge_query_ask(edge, now, &key, GW_EDGE_ITSELF);
        gw_edge_timer_set(&edge->timers, &s->timer, gw_mono_after(now.mono, gw_ms(SUSPECT_ASK_MS)));
}

static void suspect_release(struct gw_edge *edge, struct edge_suspect *s, enum gw_edge_counter why) {
        struct held_frame *held;

        gw_edge_share_held(edge, 0, s->held.octets);
        edge->counters[why] += s->held.n;
        while ((held = gw_edge_held_pop(&s->held))) {
                edge->fx->inject(edge->user, GW_EDGE_FROM_WIRE, &held->frame);
                free(held);
        }
}

static void suspect_hold(struct gw_edge *edge, struct gw_edge_now now, struct edge_suspect *s,
                         const struct gw_edge_frame *frame) {
        if (s->held.n >= GW_EDGE_HELD_FRAMES_MAX || !gw_edge_share_holds(edge, 0, frame->size) ||
            gw_edge_held_push(&s->held, now.mono, frame)) {
                edge->counters[GW_EDGE_C_HELD_DROPPED_FULL]++;
                return;
        }
        gw_edge_share_hold(edge, 0, frame->size);
        edge->counters[GW_EDGE_C_HELD]++;
}

/* Is `sender` by now where the VM is? So it is, too, when nothing is known any more. */
static bool source_is_right(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip sender) {
        struct gw_edge_fdb entry;

        if (!gw_edge_fdb_wanted(edge, vni, mac, &entry))
                return true;
        return entry.place != GW_EDGE_TO_LOCAL && gw_ip_eq(entry.locator, sender);
}

void gw_edge_source_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_suspect *s;
        struct gw_mac mac;

        if (frame->size < 12 || !gw_edge_vn_find(edge, frame->vni)) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
                return;
        }
        memcpy(mac.b, frame->bytes + 6, sizeof mac.b);
        s = suspect_find(edge, frame->vni, mac, frame->sender);
        if (source_is_right(edge, frame->vni, mac, frame->sender)) {
                edge->counters[GW_EDGE_C_SOURCES_CONFIRMED]++;
                edge->fx->inject(edge->user, GW_EDGE_FROM_WIRE, frame);
        } else if (s && s->refused) {
                edge->counters[GW_EDGE_C_SOURCES_REFUSED]++;
        } else if (!edge->welcome || (s && s->believed && !s->answered)) {
                edge->counters[GW_EDGE_C_SOURCES_UNVERIFIED]++;
                edge->fx->inject(edge->user, GW_EDGE_FROM_WIRE, frame);
        } else if (s && s->believed) { /* until the authority spoke */
                s->believed = false;
                s->tries = 0;
                suspect_hold(edge, now, s, frame);
                suspect_ask(edge, now, s);
        } else if (s) {
                suspect_hold(edge, now, s, frame);
        } else if ((s = suspect_new(edge, frame->vni, mac, frame->sender))) {
                suspect_hold(edge, now, s, frame);
                suspect_ask(edge, now, s);
        } else {
                edge->counters[GW_EDGE_C_HELD_DROPPED_FULL]++;
        }
}

void gw_edge_source_told(struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        if (!edge->n_suspects)
                return;
        gw_list_for_each (link, &edge->suspects) {
                struct edge_suspect *s = gw_list_entry(link, struct edge_suspect, link);

                if (s->vni != vni || !gw_mac_eq(s->mac, mac) || s->refused)
                        continue;
                if (!source_is_right(edge, vni, mac, s->sender)) {
                        s->answered = true;
                        continue;
                }
                suspect_release(edge, s, GW_EDGE_C_SOURCES_CONFIRMED);
                s->releasing = true;
                gw_edge_timer_stop(&edge->timers, &s->timer);
        }
}

static void suspect_refuse(struct gw_edge *edge, struct gw_edge_now now, struct edge_suspect *s) {
        char text[GW_IP_TEXT], mac[GW_MAC_TEXT];

        gw_edge_share_held(edge, 0, s->held.octets);
        edge->counters[GW_EDGE_C_SOURCES_REFUSED] += gw_edge_held_clear(&s->held);
        s->refused = true;
        gw_edge_timer_set(&edge->timers, &s->timer, gw_mono_after(now.mono, gw_ms(SUSPECT_REFUSED_MS)));
        if (now.mono.ns < edge->source_said_until.ns)
                return;
        edge->source_said_until = gw_mono_after(now.mono, gw_ms(SUSPECT_SAY_MS));
        gw_edge_log(edge, GW_WARNING, "vni=%u %s sends in the name of %s, which the authority has elsewhere; dropped",
                    s->vni, gw_ip_text(s->sender, text), gw_mac_text(s->mac, mac));
}

void gw_edge_source_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_suspect *s) {
        if (s->refused || s->believed) {
                suspect_free(edge, s);
        } else if (edge->welcome && s->tries < SUSPECT_TRIES) {
                suspect_ask(edge, now, s);
        } else if (edge->welcome && s->answered) {
                suspect_refuse(edge, now, s);
        } else {
                suspect_release(edge, s, GW_EDGE_C_SOURCES_UNVERIFIED);
                s->believed = true;
                gw_edge_timer_set(&edge->timers, &s->timer, gw_mono_after(now.mono, gw_ms(SUSPECT_BELIEVED_MS)));
        }
}

/* The authority is gone: nothing that waits for its word will get it. */
void gw_edge_source_nva_down(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->suspects) {
                struct edge_suspect *s = gw_list_entry(link, struct edge_suspect, link);

                if (s->refused || s->releasing)
                        continue;
                suspect_release(edge, s, GW_EDGE_C_SOURCES_UNVERIFIED);
                suspect_free(edge, s);
        }
}

void gw_edge_source_forget_vn(struct gw_edge *edge, uint32_t vni) {
        gw_list_for_each (link, &edge->suspects) {
                struct edge_suspect *s = gw_list_entry(link, struct edge_suspect, link);

                if (s->vni == vni)
                        suspect_free(edge, s);
        }
}

void gw_edge_source_drained(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->suspects) {
                struct edge_suspect *s = gw_list_entry(link, struct edge_suspect, link);
                uint32_t vni = s->vni;
                struct gw_mac mac = s->mac;

                if (!s->releasing)
                        continue;
                suspect_release(edge, s, GW_EDGE_C_SOURCES_CONFIRMED);
                suspect_free(edge, s);
                gw_edge_fdb_program(edge, vni, mac);
        }
}

bool gw_edge_source_wants_drain(const struct gw_edge *edge) {
        gw_list_for_each (link, &edge->suspects)
                if (gw_list_entry(link, struct edge_suspect, link)->releasing)
                        return true;
        return false;
}

void gw_edge_source_free_all(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->suspects)
                suspect_free(edge, gw_list_entry(link, struct edge_suspect, link));
}
