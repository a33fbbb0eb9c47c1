/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions to the NVA, the frames that wait for their answers, and negative
 * answers. The model is RFC 8171's pull: one question for each (VNI, MAC) or
 * (VNI, IP) however many frames ask for it, 100 ms time-out, three tries.
 *
 *      asking ---- answered, frames held ----> releasing ---- drained ----> gone
 *         |------- answered, none held ----------------------------------> gone
 *         `------- no, or no answer ---------> negative ---- lifetime ---> gone
 *
 * Order: the entry is written so that new frames still come up (.punt), the held
 * ones are sent, those that came up meanwhile are sent as they are read, and
 * when the shell says that all were read the entry lets frames pass by itself. So it is for frames that wait for a MAC, and
 * for those that a gateway routes, which wait for an address; what asks for an address (ARP, ND) has no order to keep.
 *
 * Bounds: questions, negative answers, frames of one question, octets of all; and of each what one asker may have (share.c).
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "edge/core.h"

enum {
        NEGATIVE_MIN_MS = 100,
        NEGATIVE_MAX_MS = 60000,
};

struct edge_query *gw_edge_query_find(const struct gw_edge *edge, const struct edge_key *key) {
        struct gw_table_node *node =
                gw_table_find(&edge->queries, gw_table_hash(&edge->queries, key, sizeof *key), key);

        return node ? gw_container_of(node, struct edge_query, node) : NULL;
}

/* The next held frame, no longer charged to its sender; the caller frees it. */
static struct held_frame *query_pop(struct gw_edge *edge, struct edge_query *q) {
        struct held_frame *held = gw_edge_held_pop(&q->held);

        if (held)
                gw_edge_share_held(edge, held->frame.ifindex, held->frame.size);
        return held;
}

static size_t query_drop_held(struct gw_edge *edge, struct edge_query *q) {
        size_t n = q->held.n;
        struct held_frame *held;

        while ((held = query_pop(edge, q)))
                free(held);
        return n;
}

/* It is no question any more. */
static void query_asked(struct gw_edge *edge, struct edge_query *q) {
        if (q->asker != GW_EDGE_ITSELF)
                gw_edge_share_asked(edge, q->asker);
        q->asker = GW_EDGE_ITSELF;
}

static void query_free(struct gw_edge *edge, struct edge_query *q) {
        query_drop_held(edge, q);
        query_asked(edge, q);
        if (q->state == QUERY_NEGATIVE)
                edge->n_negatives--;
        gw_edge_timer_remove(&edge->timers, &q->timer);
        gw_list_remove(&q->link);
        gw_table_remove(&edge->queries, &q->node);
        free(q);
}

static void query_send(struct gw_edge *edge, const struct edge_query *q) {
        struct gw_query query = {.vni = q->key.vni, .by_mac = q->key.by_mac};
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        if (!edge->welcome)
                return;
        if (query.by_mac)
                memcpy(query.mac.b, q->key.b, sizeof query.mac.b);
        else
                memcpy(query.ip.b, q->key.b, sizeof query.ip.b);
        gw_edge_send_written(edge, gw_query_encode(&w, q->id, &query));
}

static struct edge_query *query_new(struct gw_edge *edge, const struct edge_key *key, uint32_t asker) {
        struct edge_query *q;

        if (edge->queries.count - edge->n_negatives >= GW_EDGE_QUERIES_MAX)
                return NULL;
        if (asker != GW_EDGE_ITSELF && !gw_edge_share_asks(edge, asker))
                return NULL;
        q = calloc(1, sizeof *q);
        if (!q || gw_edge_timer_add(&edge->timers, &q->timer, TIMER_QUERY)) {
                free(q);
                return NULL;
        }
        q->key = *key;
        q->id = ++edge->next_id ? edge->next_id : ++edge->next_id;
        if (gw_table_insert(&edge->queries, &q->node, gw_table_hash(&edge->queries, key, sizeof *key))) {
                gw_edge_timer_remove(&edge->timers, &q->timer);
                free(q);
                return NULL;
        }
        gw_list_append(&edge->asking, &q->link);
        q->asker = asker;
        if (asker != GW_EDGE_ITSELF)
                gw_edge_share_ask(edge, asker);
        return q;
}

struct edge_query *gw_edge_query_ask(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                                     uint32_t asker) {
        struct edge_query *q = gw_edge_query_find(edge, key);

        if (q)
                return q;
        q = query_new(edge, key, asker);
        if (!q)
                return NULL;
        edge->counters[GW_EDGE_C_QUERIES]++;
        q->tries = 1;
        gw_edge_timer_set(&edge->timers, &q->timer, gw_mono_after(now.mono, gw_ms(GW_EDGE_QUERY_TIMEOUT_MS)));
        query_send(edge, q);
        return q;
}

void gw_edge_query_hold(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *q,
                        const struct gw_edge_frame *frame) {
        if (q->held.n >= GW_EDGE_HELD_FRAMES_MAX || !gw_edge_share_holds(edge, frame->ifindex, frame->size) ||
            gw_edge_held_push(&q->held, now.mono, frame)) {
                edge->counters[GW_EDGE_C_HELD_DROPPED_FULL]++;
                return;
        }
        gw_edge_share_hold(edge, frame->ifindex, frame->size);
        edge->counters[GW_EDGE_C_HELD]++;
}

/* Frames that are on their way to the one who is asked for. */
static bool holds_traffic(const struct edge_query *q) {
        const struct held_frame *held = q->held.first;

        while (held && !q->key.by_mac && !held->frame.routed)
                held = held->next;
        return held != NULL;
}

static bool query_prepare(struct gw_edge *edge, const struct edge_key *key, struct gw_mac mac) {
        struct edge_query *q = gw_edge_query_find(edge, key);

        if (!q || q->state != QUERY_ASKING || !holds_traffic(q))
                return false;
        q->state = QUERY_RELEASING;
        q->mac = mac;
        gw_edge_timer_stop(&edge->timers, &q->timer);
        gw_list_remove(&q->link);
        gw_list_append(&edge->releasing, &q->link);
        return true;
}

bool gw_edge_query_prepare(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, const struct gw_ip *ips,
                           size_t n_ips) {
        struct edge_key key = gw_edge_key_mac(vni, mac);
        bool any = query_prepare(edge, &key, mac);

        for (size_t i = 0; i < n_ips; i++) {
                key = gw_edge_key_ip(vni, ips[i]);
                any |= query_prepare(edge, &key, mac);
        }
        return any;
}

/* The list is that of one turn of the loop. */
bool gw_edge_query_releasing(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        gw_list_for_each (link, &edge->releasing) {
                const struct edge_query *q = gw_list_entry(link, struct edge_query, link);

                if (q->key.vni == vni && gw_mac_eq(q->mac, mac))
                        return true;
        }
        return false;
}

static enum gw_edge_inject how_of(const struct gw_edge_frame *frame) {
        return frame->routed ? GW_EDGE_ROUTE : frame->ifindex ? GW_EDGE_AS_SENT : GW_EDGE_FROM_WIRE;
}

static void query_release(struct gw_edge *edge, struct edge_query *q) {
        struct held_frame *held;

        while ((held = query_pop(edge, q))) {
                bool is_of_before = gw_edge_frame_is_of_before(edge, &held->frame);

                edge->counters[is_of_before ? GW_EDGE_C_PORT_CHANGED : GW_EDGE_C_RELEASED]++;
                if (!is_of_before)
                        edge->fx->inject(edge->user, how_of(&held->frame), &held->frame);
                free(held);
        }
}

static bool query_is_known(const struct gw_edge *edge, const struct edge_key *key) {
        struct gw_edge_fdb entry;
        struct gw_mac mac;
        struct gw_ip ip;

        if (!key->by_mac) {
                memcpy(ip.b, key->b, sizeof ip.b);
                return gw_edge_neigh_find(edge, key->vni, ip, &mac);
        }
        memcpy(mac.b, key->b, sizeof mac.b);
        return gw_edge_fdb_wanted(edge, key->vni, mac, &entry);
}

void gw_edge_query_resolve(struct gw_edge *edge, const struct edge_key *key) {
        struct edge_query *q = gw_edge_query_find(edge, key);

        if (!q || !query_is_known(edge, key))
                return;
        query_release(edge, q);
        if (q->state != QUERY_RELEASING)
                query_free(edge, q);
}

/* The answer was no: whoever waits is told, or not. */
static void query_refuse_held(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *q) {
        bool absent = gw_edge_is_absent(edge, &q->key);
        struct held_frame *held;

        while ((held = query_pop(edge, q))) {
                gw_edge_unreachable(edge, now, &q->key, &held->frame,
                                    absent ? GW_EDGE_C_ABSENT_DROPPED : GW_EDGE_C_HELD_DROPPED_NEGATIVE);
                free(held);
        }
}

static void query_negative(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *q, uint32_t ms) {
        edge->counters[GW_EDGE_C_HELD_DROPPED_NEGATIVE] += query_drop_held(edge, q); /* nobody has answered */
        if (edge->n_negatives >= GW_EDGE_NEGATIVES_MAX) {
                query_free(edge, q);
                return;
        }
        query_asked(edge, q);
        gw_list_remove(&q->link);
        q->state = QUERY_NEGATIVE;
        edge->n_negatives++;
        gw_edge_timer_set(&edge->timers, &q->timer, gw_mono_after(now.mono, gw_ms(ms)));
}

static struct edge_mapping *query_mapping(const struct gw_edge *edge, const struct edge_query *q) {
        struct gw_mac mac;

        if (!q->key.by_mac)
                return NULL;
        memcpy(mac.b, q->key.b, sizeof mac.b);
        return gw_edge_mapping_find(edge, q->key.vni, mac);
}

static struct edge_query *asking_by_id(const struct gw_edge *edge, uint32_t id) {
        gw_list_for_each (link, &edge->asking) {
                struct edge_query *q = gw_list_entry(link, struct edge_query, link);

                if (q->id == id)
                        return q;
        }
        return NULL;
}

void gw_edge_query_answered(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, uint32_t negative_ms) {
        struct edge_query *q = asking_by_id(edge, id);
        struct edge_mapping *m;

        if (!q)
                return;
        edge->counters[GW_EDGE_C_NEGATIVE_ANSWERS]++;
        query_refuse_held(edge, now, q);
        m = query_mapping(edge, q);
        if (negative_ms < NEGATIVE_MIN_MS)
                negative_ms = NEGATIVE_MIN_MS;
        query_negative(edge, now, q, negative_ms < NEGATIVE_MAX_MS ? negative_ms : NEGATIVE_MAX_MS);
        if (m && m->state == GW_MAPPING_SERVING)
                gw_edge_mapping_drop(edge, m); /* it was asked for anew, and is no more */
}

void gw_edge_query_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *q) {
        if (q->state == QUERY_NEGATIVE) {
                query_free(edge, q);
                return;
        }
        if (q->tries < (edge->greeted ? GW_EDGE_QUERY_TRIES : GW_EDGE_QUERY_TRIES_AT_START)) {
                q->tries++;
                edge->counters[GW_EDGE_C_QUERY_RETRIES]++;
                gw_edge_timer_set(&edge->timers, &q->timer, gw_mono_after(now.mono, gw_ms(GW_EDGE_QUERY_TIMEOUT_MS)));
                query_send(edge, q);
                return;
        }
        edge->counters[GW_EDGE_C_QUERY_TIMEOUTS]++;
        gw_edge_absence_count(edge, &edge->absence.unanswered);
        if (query_mapping(edge, q)) /* a refresh without an answer takes nothing away */
                query_free(edge, q);
        else
                query_negative(edge, now, q, GW_EDGE_NEGATIVE_MS);
}

/* With all their tries: the former ones went nowhere. */
void gw_edge_query_again(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->asking) {
                struct edge_query *q = gw_list_entry(link, struct edge_query, link);

                q->tries = 1;
                query_send(edge, q);
        }
}

void gw_edge_query_drained(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->releasing) {
                struct edge_query *q = gw_list_entry(link, struct edge_query, link);
                uint32_t vni = q->key.vni;
                struct gw_mac mac = q->mac;

                query_release(edge, q);
                query_free(edge, q);
                gw_edge_fdb_program(edge, vni, mac);
        }
}

struct flush {
        struct gw_edge *edge;
        uint32_t vni;
        const struct gw_mac *mac;
        bool all;
};

static void query_flush(struct gw_table_node *node, void *user) {
        struct flush *flush = user;
        struct edge_query *q = gw_container_of(node, struct edge_query, node);

        if (q->key.vni != flush->vni || (q->state != QUERY_NEGATIVE && !flush->all))
                return;
        if (flush->mac && !(q->key.by_mac && memcmp(q->key.b, flush->mac->b, sizeof flush->mac->b) == 0))
                return;
        query_free(flush->edge, q);
}

void gw_edge_queries_flush(struct gw_edge *edge, uint32_t vni, const struct gw_mac *mac, bool all) {
        gw_table_each(&edge->queries, query_flush, &(struct flush){edge, vni, mac, all});
}

static void query_forget_negative(struct gw_table_node *node, void *user) {
        struct edge_query *q = gw_container_of(node, struct edge_query, node);

        if (q->state == QUERY_NEGATIVE)
                query_free(user, q);
}

void gw_edge_negatives_forget(struct gw_edge *edge) {
        gw_table_each(&edge->queries, query_forget_negative, edge);
}

static void query_free_each(struct gw_table_node *node, void *user) {
        query_free(user, gw_container_of(node, struct edge_query, node));
}

void gw_edge_queries_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->queries, query_free_each, edge);
}
