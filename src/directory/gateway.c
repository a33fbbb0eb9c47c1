/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways and policies.
 *
 * A gateway is planned (member.c) in each VN that is routed, as if a VM of the VN
 * were there. What a member of a VN is told about another has the role of a gateway
 * and its cost for the receiver: its own, more from another site, much more when
 * the VN is pinned to another one. So the choice is the edge's, made at once when a
 * gateway ends, and the policy of the choice is here.
 *
 * Addresses decide where a packet goes. So of all VNs that can be reached from one,
 * no two may have subnets that overlap; VNs of other tenants may have what they like.
 */
#include "directory/gateway.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory/crowd.h"
#include "directory/internal.h"

enum { GATEWAYS_LOOKED_AT = 256 }; /* of one VN, by gw_directory_gateway_users */

struct gw_policy *gw_directory_policy(const struct gw_directory *d, const char *name) {
        return gw_order_find(&d->policies, name);
}

struct gw_policy *gw_directory_policy_after(const struct gw_directory *d, const char *name) {
        return gw_order_after(&d->policies, name);
}

static struct gw_policy *next(const struct gw_directory *d, const struct gw_policy *p) {
        return gw_directory_policy_after(d, p ? p->name.s : NULL);
}

const struct gw_policy *gw_dir_policy_of(const struct gw_directory *d, const struct gw_vn *vn) {
        for (const struct gw_policy *p = NULL; (p = next(d, p));)
                if (p->from == vn || p->to == vn)
                        return p;
        return NULL;
}

bool gw_directory_vn_is_routed(const struct gw_vn *vn) {
        return vn->settings.n_gateways && vn->n_policies;
}

/* --- members --- */

static void review(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve) {
        struct directory_member *m = gw_dir_member_find(d, vn, nve);
        bool is = m && m->routes, wanted = gw_directory_vn_is_routed(vn) && (nve->gateway || (is && nve->departs));

        if (wanted == is)
                return;
        if (!wanted) {
                gw_dir_crowd_routes(m, false);
                gw_dir_arrival_void(m);
                gw_dir_member_touch(d, m);
                gw_dir_member_unplan(d, vn, nve);
                return;
        }
        if (gw_dir_member_plan(d, vn, nve) < 0)
                return gw_dir_note(d, GW_NOTE_BEHIND, "nve=%s vn=%s no memory to make it a gateway", nve->id.s,
                                   vn->id.s);
        m = gw_dir_member_find(d, vn, nve);
        gw_dir_crowd_routes(m, true);
        gw_dir_arrival_void(m);
        gw_dir_member_touch(d, m);
        gw_dir_arrival_begin(d, nve);
}

void gw_dir_gateways_review_vn(struct gw_directory *d, struct gw_vn *vn) {
        for (struct gw_nve *nve = NULL; (nve = gw_directory_nve_after(d, nve ? nve->id.s : NULL));)
                if (nve->gateway || !gw_list_empty(&nve->members))
                        review(d, vn, nve);
}

/* Its role, cost or site is another, or it came or went. */
void gw_dir_gateways_review_nve(struct gw_directory *d, struct gw_nve *nve) {
        for (struct gw_vn *vn = NULL; (vn = gw_directory_vn_after(d, vn ? vn->id.s : NULL)); d->work++)
                if (nve->gateway)
                        review(d, vn, nve);
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (m->routes) /* all of the VN are told */
                        d->work += m->vn->n_members * (uint64_t)GW_WORK_OF_UPDATE;
                if (!nve->gateway)
                        review(d, m->vn, nve);
                else if (m->routes)
                        gw_dir_member_touch(d, m);
        }
        if (nve->gateway)
                gw_dir_arrival_begin(d, nve);
}

bool gw_directory_gateway_lives(const struct gw_nve *nve) {
        return nve->nve_connected && !nve->behind;
}

bool gw_directory_gateway_arrives(const struct gw_nve *nve) {
        if (!nve->gateway || !gw_directory_gateway_lives(nve))
                return false;
        gw_list_for_each (link, &nve->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (m->routes && !m->serves)
                        return true;
        }
        return false;
}

bool gw_directory_gateway_serves(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *gateway) {
        const struct directory_member *m = gw_dir_member_find(d, vn, gateway);

        return m && m->serves;
}

uint32_t gw_directory_gateway_cost(const struct gw_vn *vn, const struct gw_nve *gateway, const struct gw_nve *nve) {
        uint32_t cost = gateway->gateway_cost;

        if (!gw_name_eq(&gateway->site, &nve->site))
                cost += GW_SITE_COST;
        if (vn->gateway_pin.s[0] && !gw_name_eq(&vn->gateway_pin, &gateway->id))
                cost += GW_PIN_COST;
        return cost;
}

static bool is_usable(const struct directory_member *m) {
        return !m->gone && m->routes && m->serves && gw_directory_gateway_lives(gw_dir_item_nve(&m->item));
}

void gw_dir_gateway_role(const struct directory_member *gateway, const struct gw_nve *receiver, struct gw_member *out) {
        const struct gw_nve *nve = gw_dir_item_nve(&gateway->item);

        if (!gateway->routes)
                return;
        out->role = GW_MEMBER_ROUTES | (is_usable(gateway) ? GW_MEMBER_LIVE : 0);
        out->cost = gw_directory_gateway_cost(gateway->vn, nve, receiver);
}

bool gw_directory_gateway_answers(const struct gw_nve *gateway, const struct gw_nve *nve) {
        for (unsigned i = 0; i < nve->n_unreached; i++)
                if (gw_ip_eq(nve->unreached[i], gateway->locator))
                        return false;
        return true;
}

void gw_directory_unreached(struct gw_nve *nve, const struct gw_ip *locators, size_t n) {
        struct gw_ip *copy = NULL;

        if (n > GW_UNREACHED_MAX)
                n = GW_UNREACHED_MAX;
        if (n && !(copy = malloc(n * sizeof *copy)))
                return;
        if (n)
                memcpy(copy, locators, n * sizeof *copy);
        free(nve->unreached);
        nve->unreached = copy;
        nve->n_unreached = (uint16_t)n;
}

static bool better(const struct gw_vn *vn, const struct gw_nve *a, const struct gw_nve *b, const struct gw_nve *nve) {
        bool answers = gw_directory_gateway_answers(a, nve);
        uint32_t x = gw_directory_gateway_cost(vn, a, nve), y = gw_directory_gateway_cost(vn, b, nve);

        if (answers != gw_directory_gateway_answers(b, nve))
                return answers;
        return x != y ? x < y : memcmp(&a->locator, &b->locator, sizeof a->locator) < 0;
}

/* Of these, what hosts at nve use; NULL: none. */
static const struct gw_nve *choice_of(const struct gw_vn *vn, const struct gw_nve *const *gateways, size_t n,
                                      const struct gw_nve *nve) {
        const struct gw_nve *found = NULL;

        for (size_t i = 0; i < n; i++) {
                if (gateways[i] == nve)
                        return nve;
                if (!found || better(vn, gateways[i], found, nve))
                        found = gateways[i];
        }
        return found;
}

const struct gw_nve *gw_directory_gateway_of(const struct gw_vn *vn, const struct gw_nve *nve) {
        const struct gw_nve *pair[2] = {NULL};

        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (!is_usable(m))
                        continue;
                pair[pair[0] ? 1 : 0] = gw_dir_item_nve(&m->item);
                pair[0] = choice_of(vn, pair, pair[1] ? 2 : 1, nve);
                if (pair[0] == nve)
                        break;
        }
        return pair[0];
}

/* The VN's gateways that can be used, at most max; how many there are. */
static size_t usable_of(const struct gw_vn *vn, const struct gw_nve **out, size_t max) {
        size_t n = 0;

        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (is_usable(m) && n++ < max)
                        out[n - 1] = gw_dir_item_nve(&m->item);
        }
        return n;
}

static void users_in(const struct gw_vn *vn, const struct gw_nve *gateway, struct gw_gateway_users *users) {
        const struct gw_nve *gateways[GATEWAYS_LOOKED_AT];
        size_t looks = 2 * (size_t)vn->n_members, n;

        if (looks > users->looks || users->n == users->max) {
                users->more = true;
                return;
        }
        users->looks -= looks;
        n = usable_of(vn, gateways, GATEWAYS_LOOKED_AT);
        if (n > GATEWAYS_LOOKED_AT) {
                users->more = true;
                return;
        }
        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);
                const struct gw_nve *nve = gw_dir_item_nve(&m->item);

                if (m->gone || choice_of(vn, gateways, n, nve) != gateway)
                        continue;
                if (users->n == users->max) {
                        users->more = true;
                        return;
                }
                users->list[users->n++] = (struct gw_gateway_user){vn, nve};
        }
}

static int compare_users(const void *a, const void *b) {
        const struct gw_gateway_user *x = a, *y = b;
        int r = strcmp(x->vn->id.s, y->vn->id.s);

        return r ? r : strcmp(x->nve->id.s, y->nve->id.s);
}

void gw_directory_gateway_users(const struct gw_nve *gateway, struct gw_gateway_users *users) {
        users->n = 0;
        users->more = false;
        gw_list_for_each (link, &gateway->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (is_usable(m))
                        users_in(m->vn, gateway, users);
        }
        if (users->n)
                qsort(users->list, users->n, sizeof *users->list, compare_users);
}

void gw_directory_gateway_pin(struct gw_directory *d, struct gw_vn *vn, const struct gw_nve *nve, struct gw_now now) {
        d->now = now;
        vn->gateway_pin = nve ? nve->id : (struct gw_name){""};
        gw_dir_store_vn(d, vn);
        for (struct gw_nve *each = NULL; (each = gw_directory_nve_after(d, each ? each->id.s : NULL));) {
                struct directory_member *m = gw_dir_member_find(d, vn, each);

                if (m && m->routes) /* which puts it at the end of the VN's list: not a walk over that */
                        gw_dir_member_touch(d, m);
        }
        gw_dir_updates_flush(d);
}

/* --- policies --- */

static int vns_apart(const struct gw_vn *a, const struct gw_vn *b, const struct gw_vn *seen_from,
                     struct gw_error *error) {
        char text[GW_PREFIX_TEXT];

        for (unsigned i = 0; a != b && i < a->n_subnets; i++)
                for (unsigned k = 0; k < b->n_subnets; k++)
                        if (gw_prefix_overlap(&a->subnets[i], &b->subnets[k]))
                                return gw_fail(error, GW_E_CONFLICT, "to",
                                               "%s of %s is also in %s: from %s nobody could say which is meant",
                                               gw_prefix_text(&a->subnets[i], text), a->id.s, b->id.s,
                                               seen_from ? seen_from->id.s : "outside");
        return 0;
}

/* Where packets of vn may go by this policy; NULL: nowhere, or outside. */
static struct gw_vn *leads_to(const struct gw_policy *p, const struct gw_vn *vn) {
        if (p->from == vn)
                return p->to;
        return p->to == vn && !p->one_way ? p->from : NULL;
}

static uint8_t bits_of(const struct gw_vn *vn, struct gw_ip ip) {
        uint8_t bits = 0;

        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (vn->subnets[i].bits > bits && gw_prefix_contains(&vn->subnets[i], ip))
                        bits = vn->subnets[i].bits;
        return bits;
}

const struct gw_policy *gw_directory_way(const struct gw_directory *d, const struct gw_vn *from, struct gw_ip ip,
                                         const struct gw_vn **to) {
        const struct gw_policy *found = NULL;
        uint8_t best = 0;

        *to = NULL;
        for (const struct gw_policy *p = NULL; (p = next(d, p));) {
                const struct gw_vn *vn = leads_to(p, from);
                uint8_t bits = vn ? bits_of(vn, ip) : 0;

                if (!vn && p->from == from && !found)
                        found = p; /* the outside: has what nobody else has */
                if (bits > best) {
                        best = bits;
                        found = p;
                        *to = vn;
                }
        }
        return found;
}

/* vn may reach `to` as well: not what it reaches already under the same addresses. */
static int reach_check(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_vn *to,
                       struct gw_error *error) {
        int r = vns_apart(vn, to, vn, error);

        for (const struct gw_policy *p = NULL; !r && (p = next(d, p));)
                if (leads_to(p, vn))
                        r = vns_apart(to, leads_to(p, vn), vn, error);
        return r;
}

static int outside_check(const struct gw_directory *d, const struct gw_vn *vn, struct gw_error *error) {
        int r = 0;

        for (const struct gw_policy *p = NULL; !r && (p = next(d, p));)
                if (!p->to)
                        r = vns_apart(vn, p->from, NULL, error);
        return r;
}

int gw_dir_subnets_reach_check(const struct gw_directory *d, const struct gw_vn *vn, struct gw_error *error) {
        int r = 0;

        for (const struct gw_policy *p = NULL; !r && (p = next(d, p));) {
                if (p->from == vn && !p->to)
                        r = outside_check(d, vn, error);
                if (!r && leads_to(p, vn))
                        r = reach_check(d, vn, leads_to(p, vn), error);
                if (!r && p->to == vn)
                        r = reach_check(d, p->from, vn, error);
                if (!r && p->from == vn && p->to && !p->one_way)
                        r = reach_check(d, p->to, vn, error);
        }
        return r;
}

static size_t ways_of(const struct gw_vn *from, const struct gw_vn *to, bool one_way) {
        return (to ? to->n_subnets : 2U) + (one_way ? 0U : from->n_subnets);
}

/* Once in a count, however many policies name it. */
static size_t own_ways(const struct gw_directory *d, struct gw_vn *vn) {
        bool counted = !vn || vn->mark == d->mark;

        if (vn)
                vn->mark = d->mark;
        return !counted && vn->settings.n_gateways ? (size_t)vn->n_subnets + vn->settings.n_gateways : 0;
}

static size_t count_ways(struct gw_directory *d) {
        size_t n = 0;

        d->mark++;
        for (const struct gw_policy *p = NULL; (p = next(d, p));)
                n += ways_of(p->from, p->to, p->one_way) + own_ways(d, p->from) + own_ways(d, p->to);
        return n;
}

static int too_many_ways(const char *field, struct gw_error *error) {
        return gw_fail(error, GW_E_FULL, field,
                       "with it, gateways would have more than %d ways to tell apart, the most allowed; each "
                       "subnet that a VN can reach is one",
                       GW_WAYS_MAX);
}

/* One more policy. */
static int room_check(struct gw_directory *d, struct gw_vn *from, struct gw_vn *to, bool one_way,
                      struct gw_error *error) {
        size_t n;

        if (d->policies.count >= GW_POLICIES_MAX)
                return gw_fail(error, GW_E_FULL, "name", "there are %d policies, the most allowed", GW_POLICIES_MAX);
        n = count_ways(d); /* own_ways() goes by what this has marked */
        n += ways_of(from, to, one_way);
        n += own_ways(d, from);
        n += own_ways(d, to);
        return n > GW_WAYS_MAX ? too_many_ways("name", error) : 0;
}

size_t gw_dir_gateways_ways(struct gw_directory *d) {
        return count_ways(d);
}

/* What is over already, by an older authority's leave, may become less. */
int gw_dir_gateways_ways_check(struct gw_directory *d, size_t before, const char *field, struct gw_error *error) {
        size_t n = count_ways(d);

        return n > GW_WAYS_MAX && n > before ? too_many_ways(field, error) : 0;
}

static int policy_check(struct gw_directory *d, const char *name, struct gw_vn *from, struct gw_vn *to, bool one_way,
                        struct gw_error *error) {
        struct gw_name parsed;
        int r;

        if (gw_name_parse(name, &parsed))
                return gw_fail(error, GW_E_INVALID, "name", "\"%.64s\" is not a name; use a-z, 0-9 and -", name);
        if (gw_directory_policy(d, name))
                return gw_fail(error, GW_E_EXISTS, "name", "there is a policy %s already", name);
        if (from == to)
                return gw_fail(error, GW_E_INVALID, "to", "a VN needs no policy to reach itself");
        r = room_check(d, from, to, one_way, error);
        if (r)
                return r;
        if (!to)
                return outside_check(d, from, error);
        r = reach_check(d, from, to, error);
        return r || one_way ? r : reach_check(d, to, from, error);
}

int gw_dir_policy_add(struct gw_directory *d, const char *name, struct gw_vn *from, struct gw_vn *to, bool one_way,
                      struct gw_policy **out) {
        struct gw_policy *p = gw_slab_new(&d->slab, sizeof *p);

        if (!p)
                return -ENOMEM;
        snprintf(p->name.s, sizeof p->name.s, "%s", name);
        p->from = from;
        p->to = to;
        p->one_way = one_way;
        if (gw_order_insert(&d->policies, p, name) < 0) {
                gw_slab_free(&d->slab, p, sizeof *p);
                return -ENOMEM;
        }
        from->n_policies++;
        if (to)
                to->n_policies++;
        gw_dir_gateways_review_vn(d, from);
        if (to)
                gw_dir_gateways_review_vn(d, to);
        *out = p;
        return 0;
}

void gw_dir_policy_free(struct gw_directory *d, struct gw_policy *p) {
        p->from->n_policies--;
        if (p->to)
                p->to->n_policies--;
        gw_order_remove(&d->policies, p->name.s);
        gw_slab_free(&d->slab, p, sizeof *p);
}

int gw_directory_policy_create(struct gw_directory *d, const char *name, struct gw_vn *from, struct gw_vn *to,
                               bool one_way, struct gw_now now, struct gw_policy **out, struct gw_error *error) {
        struct gw_policy *p;
        int r = policy_check(d, name, from, to, one_way, error);

        d->now = now;
        if (r)
                return r;
        r = gw_dir_policy_add(d, name, from, to, one_way, &p);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for policy %s", name);
        gw_dir_store_policy(d, p);
        gw_dir_updates_flush(d);
        if (out)
                *out = p;
        return 0;
}

void gw_directory_policy_delete(struct gw_directory *d, struct gw_policy *policy, struct gw_now now) {
        struct gw_vn *from = policy->from, *to = policy->to;
        struct gw_name name = policy->name;

        d->now = now;
        gw_dir_policy_free(d, policy);
        gw_dir_unstore_name(d, GW_RECORD_POLICY, name.s);
        gw_dir_gateways_review_vn(d, from);
        if (to)
                gw_dir_gateways_review_vn(d, to);
        gw_dir_updates_flush(d);
}
