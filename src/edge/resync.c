/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Resynchronisation: the NVA is told what is held here, and tells only what
 * differs (wire/digest.h).
 *
 * In a new session, before SUBSCRIBE: of a VN whose mappings the NVA has told
 * completely the sums over buckets, of others each mapping. What the answer does
 * not agree with stays unconfirmed; it is told anew, or doubted by the sweep, or
 * (single ones) at once. Later, now and then, the sums of complete VNs again:
 * whatever made the two differ, it is found and put right.
 *
 * Mappings without a VM's name (adopted from a data plane that outlived the last
 * daemon) are left out, so that they are told again with it. To an NVA that knows
 * nothing of all this nothing is sent, and it tells everything as it always did.
 *
 * An offer is kept until its answer comes or the session ends.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "wire/digest.h"

struct walk {
        struct gw_edge *edge;
        struct gw_edge_now now;
        bool singles; /* of VNs that are not complete, too */
        struct gw_held *held;
        struct gw_digest *digest;
        struct edge_vn *vn;
        const struct gw_agreed *agreed;
        size_t buckets, agreed_n, doubted_n;
};

static bool counts(const struct edge_mapping *m) {
        return m->state == GW_MAPPING_SERVING && m->vm;
}

static uint64_t digest_of(const struct edge_mapping *m) {
        struct gw_mapping mapping = {
                .epoch = m->epoch, .vni = m->vni, .locator = m->locator, .mac = m->mac, .n_ips = m->n_ips};

        if (m->n_ips)
                memcpy(mapping.ips, m->ips, m->n_ips * sizeof *m->ips);
        return gw_mapping_digest(&mapping);
}

static struct edge_offer *offer_new(struct gw_edge *edge, uint32_t vni, size_t n) {
        struct edge_offer *offer = calloc(1, sizeof *offer + n * sizeof *offer->macs);

        if (!offer)
                return NULL;
        offer->id = ++edge->next_id ? edge->next_id : ++edge->next_id;
        offer->vni = vni;
        gw_list_append(&edge->offers, &offer->link);
        return offer;
}

static void offer_free(struct edge_offer *offer) {
        gw_list_remove(&offer->link);
        free(offer);
}

void gw_edge_offers_drop(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->offers)
                offer_free(gw_list_entry(link, struct edge_offer, link));
}

/* ---- whole VNs ---- */

static void count_one(struct gw_table_node *node, void *user) {
        const struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        const struct walk *walk = user;
        struct edge_vn *vn = counts(m) ? gw_edge_vn_find(walk->edge, m->vni) : NULL;

        if (vn)
                vn->n_counted++;
}

static void sums_begin(struct gw_table_node *node, void *user) {
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);

        (void)user;
        if (!vn->all_told)
                return;
        vn->n_sums = gw_digest_buckets_for(vn->n_counted);
        vn->sums = calloc(vn->n_sums, sizeof *vn->sums);
}

static void sum_one(struct gw_table_node *node, void *user) {
        const struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        const struct walk *walk = user;
        struct edge_vn *vn = counts(m) ? gw_edge_vn_find(walk->edge, m->vni) : NULL;

        if (vn && vn->sums)
                vn->sums[gw_digest_bucket(m->mac, vn->n_sums)] += digest_of(m);
}

static void sums_end(struct gw_table_node *node, void *user) {
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);
        struct walk *walk = user;
        struct gw_edge *edge = walk->edge;
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);
        struct edge_offer *offer = vn->sums ? offer_new(edge, vn->vni, 0) : NULL;

        vn->n_counted = 0;
        if (offer) {
                offer->buckets = vn->n_sums;
                walk->digest->vni = vn->vni;
                walk->digest->n = vn->n_sums;
                memcpy(walk->digest->sums, vn->sums, vn->n_sums * sizeof *vn->sums);
                gw_edge_send_written(edge, gw_digest_encode(&w, offer->id, walk->digest));
        }
        free(vn->sums);
        vn->sums = NULL;
}

static void tell_sums(struct walk *walk) {
        struct gw_edge *edge = walk->edge;

        gw_table_each(&edge->mappings, count_one, walk);
        gw_table_each(&edge->vns, sums_begin, walk);
        gw_table_each(&edge->mappings, sum_one, walk);
        gw_table_each(&edge->vns, sums_end, walk);
}

/* ---- single mappings ---- */

static void held_flush(struct walk *walk) {
        struct gw_edge *edge = walk->edge;
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);
        struct gw_held *held = walk->held;
        struct edge_offer *offer = held->n ? offer_new(edge, held->vni, held->n) : NULL;

        for (size_t i = 0; offer && i < held->n; i++)
                offer->macs[offer->n++] = held->all[i].mac;
        if (offer)
                gw_edge_send_written(edge, gw_held_encode(&w, offer->id, held));
        held->n = 0;
}

static void held_one(struct gw_table_node *node, void *user) {
        const struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        struct walk *walk = user;
        struct gw_held *held = walk->held;

        if (m->vni != walk->vn->vni || !counts(m))
                return;
        held->all[held->n++] = (struct gw_held_one){m->mac, digest_of(m)};
        if (held->n == GW_HELD_MAX)
                held_flush(walk);
}

static void held_vn(struct gw_table_node *node, void *user) {
        struct walk *walk = user;

        walk->vn = gw_container_of(node, struct edge_vn, node);
        if (walk->vn->all_told)
                return;
        walk->held->vni = walk->vn->vni;
        gw_table_each(&walk->edge->mappings, held_one, walk);
        held_flush(walk);
}

static void tell(struct gw_edge *edge, struct gw_edge_now now, bool singles) {
        struct walk walk = {.edge = edge, .now = now};

        if (!(edge->features & GW_FEATURE_DIGESTS))
                return;
        walk.held = calloc(1, sizeof *walk.held);
        walk.digest = calloc(1, sizeof *walk.digest);
        if (walk.held && walk.digest) {
                tell_sums(&walk);
                if (singles)
                        gw_table_each(&edge->vns, held_vn, &walk);
        }
        free(walk.held);
        free(walk.digest);
}

void gw_edge_resync(struct gw_edge *edge, struct gw_edge_now now) {
        tell(edge, now, true);
}

void gw_edge_resync_again(struct gw_edge *edge) {
        gw_edge_offers_drop(edge); /* what was not answered so long is not any more */
        tell(edge, (struct gw_edge_now){{0}, {0}}, false);
}

/* ---- the answer ---- */

static void settle(struct walk *walk, struct edge_mapping *m, bool agreed, bool at_once) {
        if (agreed) {
                gw_edge_mapping_confirm(walk->edge, walk->now, m, walk->agreed->lifetime_ms);
                walk->agreed_n++;
                return;
        }
        walk->doubted_n++;
        if (at_once && !m->confirmed)
                gw_edge_mapping_doubt(walk->edge, walk->now, m);
        else if (!at_once)
                m->confirmed = false;
}

static void settle_each(struct gw_table_node *node, void *user) {
        struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        struct walk *walk = user;

        if (m->vni == walk->vn->vni && counts(m))
                settle(walk, m, gw_agreed_bit(walk->agreed, gw_digest_bucket(m->mac, walk->buckets)), false);
}

static void settle_offer(struct walk *walk, const struct edge_offer *offer) {
        struct gw_edge *edge = walk->edge;

        walk->buckets = offer->buckets;
        if (offer->buckets)
                gw_table_each(&edge->mappings, settle_each, walk);
        for (size_t i = 0; i < offer->n; i++) {
                struct edge_mapping *m = gw_edge_mapping_find(edge, offer->vni, offer->macs[i]);

                if (m && counts(m))
                        settle(walk, m, gw_agreed_bit(walk->agreed, i), true);
        }
}

static struct edge_offer *offer_find(const struct gw_edge *edge, uint32_t id) {
        gw_list_for_each (link, &edge->offers)
                if (gw_list_entry(link, struct edge_offer, link)->id == id)
                        return gw_list_entry(link, struct edge_offer, link);
        return NULL;
}

int gw_edge_agreed(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, const uint8_t *body, size_t size) {
        struct walk walk = {.edge = edge, .now = now};
        struct edge_offer *offer = offer_find(edge, id);
        struct gw_agreed agreed;

        if (gw_agreed_decode(body, size, &agreed))
                return GW_E_MALFORMED;
        walk.agreed = &agreed;
        walk.vn = gw_edge_vn_find(edge, agreed.vni);
        if (!offer || !walk.vn || offer->vni != agreed.vni)
                return 0; /* of a VN that is no more */
        settle_offer(&walk, offer);
        offer_free(offer);
        edge->counters[GW_EDGE_C_RESYNC_AGREED] += walk.agreed_n;
        edge->counters[GW_EDGE_C_RESYNC_DOUBTED] += walk.doubted_n;
        if (walk.doubted_n && !edge->sweep.slot)
                gw_edge_timer_set(&edge->timers, &edge->sweep, gw_mono_after(now.mono, gw_ms(GW_EDGE_SWEEP_MS)));
        if (walk.doubted_n)
                gw_edge_log(edge, GW_NOTICE, "vni=%u: %zu mappings agree with the authority's, %zu are to be corrected",
                            agreed.vni, walk.agreed_n, walk.doubted_n);
        return 0;
}
