/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other members of a VN: the edges that may send into it, and get its broadcast.
 *
 * They come from the NVA; two come from a call: the locator that a VM arrives from, or was cut over to. All are in one table,
 * by VN and locator, since a VN may have thousands of them and each is looked for when it is told; those of one VN are in
 * its array, in no order. Owned by the VN.
 *
 * The NVA tells a list of all of them with each session, and whenever one has another locator (wire/frame.h, struct gw_member: the marks).
 * Who is not in it is doubted from its beginning on, and gone at the first sweep after its end: a list of
 * thousands takes several frames, and until the last one has come nobody can tell who is missing in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "edge/core.h"

struct key {
        uint32_t vni;
        struct gw_ip locator;
};

bool gw_edge_member_match(const struct gw_table_node *node, const void *key) {
        const struct edge_member *m = gw_container_of(node, struct edge_member, node);
        const struct key *k = key;

        return m->vn->vni == k->vni && gw_ip_eq(m->locator, k->locator);
}

static uint64_t hash_of(const struct gw_edge *edge, const struct key *key) {
        return gw_table_hash(&edge->members, key, sizeof *key);
}

struct edge_member *gw_edge_member_find(const struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator) {
        struct key key = {vn->vni, locator};
        struct gw_table_node *node = gw_table_find(&edge->members, hash_of(edge, &key), &key);

        return node ? gw_container_of(node, struct edge_member, node) : NULL;
}

static bool grow(struct edge_vn *vn) {
        size_t size = vn->size_members ? vn->size_members * 2 : 8;
        struct edge_member **members;

        if (vn->n_members < vn->size_members)
                return true;
        if (vn->n_members >= GW_VN_MEMBERS_MAX)
                return false;
        members = realloc(vn->members, size * sizeof(struct edge_member *));
        if (!members)
                return false;
        vn->members = members;
        vn->size_members = size;
        return true;
}

static struct edge_member *member_new(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator) {
        struct edge_member *m = grow(vn) ? calloc(1, sizeof *m) : NULL;
        struct key key = {vn->vni, locator};

        if (!m)
                return NULL;
        m->vn = vn;
        m->locator = locator;
        if (gw_table_insert(&edge->members, &m->node, hash_of(edge, &key))) {
                free(m);
                return NULL;
        }
        m->at = vn->n_members++;
        vn->members[m->at] = m;
        return m;
}

void gw_edge_member_add(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, bool confirmed) {
        struct edge_member *m = gw_edge_member_find(edge, vn, locator);

        confirmed |= vn->listed; /* heard of after the list's end: no sweep of another VN's list is to take it away */
        if (gw_ip_eq(locator, edge->config.locator) || !gw_ip_is_unicast(locator))
                return;
        if (m) {
                m->confirmed |= confirmed;
                return;
        }
        m = member_new(edge, vn, locator);
        if (!m) {
                gw_edge_log(edge, GW_WARNING, "vni=%u has more members than fit (%d); one is left out", vn->vni,
                            GW_VN_MEMBERS_MAX);
                return;
        }
        m->confirmed = confirmed;
        edge->fx->member_set(edge->user, vn->vni, locator, 0);
}

/* Out of the table and out of the VN. */
static void member_free(struct gw_edge *edge, struct edge_member *m) {
        struct edge_vn *vn = m->vn;

        gw_table_remove(&edge->members, &m->node);
        vn->members[m->at] = vn->members[--vn->n_members];
        vn->members[m->at]->at = m->at;
        free(m);
}

/* True when it was a gateway, and another is to be chosen. */
static bool drop(struct gw_edge *edge, struct edge_member *m) {
        bool routed = m->role & GW_MEMBER_ROUTES || gw_ip_eq(m->locator, m->vn->gateway);

        gw_edge_member_routes(edge, m->vn, m, 0);
        edge->fx->member_del(edge->user, m->vn->vni, m->locator);
        member_free(edge, m);
        return routed;
}

void gw_edge_member_remove(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator) {
        struct edge_member *m = gw_edge_member_find(edge, vn, locator);

        if (m && drop(edge, m))
                gw_edge_gateway_choose(edge, vn);
}

void gw_edge_members_drop(struct gw_edge *edge, struct edge_vn *vn) {
        while (vn->n_members)
                drop(edge, vn->members[vn->n_members - 1]);
        gw_edge_members_free(edge, vn);
}

void gw_edge_members_free(struct gw_edge *edge, struct edge_vn *vn) {
        while (vn->n_members)
                member_free(edge, vn->members[vn->n_members - 1]);
        free(vn->members);
        vn->members = NULL;
        vn->size_members = 0;
}

/* ---- who is missing in a list ---- */

static void doubt(struct edge_vn *vn) {
        vn->listed = false;
        for (size_t i = 0; i < vn->n_members; i++)
                vn->members[i]->confirmed = false;
}

static void doubt_each(struct gw_table_node *node, void *user) {
        (void)user;
        doubt(gw_container_of(node, struct edge_vn, node));
}

void gw_edge_members_doubt(struct gw_edge *edge) {
        gw_table_each(&edge->vns, doubt_each, NULL);
}

void gw_edge_members_mark(struct gw_edge *edge, struct gw_edge_now now, struct edge_vn *vn,
                          const struct gw_member *mark) {
        if (!mark->final)
                doubt(vn);
        if (mark->more)
                return;
        vn->listed = true;
        if (!edge->sweep.slot)
                gw_edge_timer_set(&edge->timers, &edge->sweep, gw_mono_after(now.mono, gw_ms(GW_EDGE_SWEEP_MS)));
}

static void sweep(struct gw_table_node *node, void *user) {
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);
        struct gw_edge *edge = user;
        bool choose = false;

        for (size_t i = vn->listed ? vn->n_members : 0; i-- > 0;)
                if (!vn->members[i]->confirmed)
                        choose |= drop(edge, vn->members[i]);
        if (choose)
                gw_edge_gateway_choose(edge, vn);
}

void gw_edge_members_sweep(struct gw_edge *edge) {
        gw_table_each(&edge->vns, sweep, edge);
}
