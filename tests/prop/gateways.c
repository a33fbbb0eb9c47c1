/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies, ways and the choice of gateways against naive models, over random policies, pins, costs, sites and losses.
 *
 *      policies   refused exactly when from some VN, or from outside, two VNs would have the same address
 *      ways       the VN among those that policies lead to whose subnet is longest, else the outside, else none
 *      choice     of what a host was told about members, the least by (answers, cost, locator) of those that live; and
 *                 that is what the authority believes it uses
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/directory_fixture.h"
#include "base/error.h"
#include "directory/gateway.h"
#include "prop/seed.h"

enum { VNS = 7, HOSTS = 3, GATEWAYS = 4, POLICIES = 12, STEPS = 5000 };

struct model_policy {
        bool is, one_way;
        int from, to; /* to -1: the outside */
};

static struct dice dice;
static struct world *w;
static struct model_policy model[POLICIES];
static size_t made, refused, changed, not_changed, led, not_led, chosen;

/* Some of them overlap with each other. */
static const char *subnets[VNS][2] = {{"10.1.0.0/24", "fd00:1::/64"}, {"10.2.0.0/24", "fd00:2::/64"},
                                      {"10.1.0.0/25", "fd00:9::/64"}, {"10.4.0.0/16", "fd00:4::/48"},
                                      {"10.4.7.0/24", "fd00:7::/64"}, {"10.2.0.0/23", "fd00:2:0:0:8000::/65"},
                                      {"10.8.0.0/24", "fd00:8::/64"}};
static const char *const addresses[] = {"10.1.0.9",  "10.1.0.200", "10.2.0.1",  "10.2.1.1",           "10.4.7.7",
                                        "10.4.8.8",  "10.8.0.1",   "192.0.2.1", "fd00:1::1",          "fd00:2::1",
                                        "fd00:9::9", "fd00:4::4",  "fd00:7::7", "fd00:2::8000:0:0:1", "2001:db8::1"};

static struct gw_vn *vn_at(int i) {
        char id[32];

        snprintf(id, sizeof id, "n%d@t%d", i, i);
        return gw_directory_vn(&w->d, id);
}

static struct gw_prefix prefix(int vn, int i) {
        struct gw_prefix p;

        assert_int_equal(gw_prefix_parse(subnets[vn][i], &p), 0);
        return p;
}

static const char *host_name(unsigned i, char out[static 16]) {
        snprintf(out, 16, "%c%u", i < HOSTS ? 'h' : 'g', i < HOSTS ? i + 1 : i);
        return out;
}

static struct gw_nve *nve_at(unsigned i) {
        char name[16];

        return gw_directory_nve(&w->d, host_name(i, name));
}

/* --- policies --- */

/* Where packets of VN `from` (-1: from outside) may go by one policy; -2: nowhere. */
static int leads(const struct model_policy *p, int from) {
        if (!p->is)
                return -2;
        if (from == -1)
                return p->to == -1 ? p->from : -2;
        if (p->from == from)
                return p->to;
        return p->to == from && p->to != -1 && !p->one_way ? p->from : -2;
}

static bool overlap(int a, int b) {
        struct gw_prefix x, y;

        for (int i = 0; a != b && i < 2; i++) {
                x = prefix(a, i);
                y = prefix(b, i);
                if (gw_prefix_overlap(&x, &y))
                        return true;
        }
        return false;
}

/* Of all that is reached from there, itself too, no two may have the same addresses. */
static bool ambiguous(int from) {
        int reached[POLICIES + 1], n = 0;

        if (from >= 0)
                reached[n++] = from;
        for (int i = 0; i < POLICIES; i++)
                if (leads(&model[i], from) >= 0)
                        reached[n++] = leads(&model[i], from);
        for (int i = 0; i < n; i++)
                for (int k = 0; k < i; k++)
                        if (overlap(reached[i], reached[k]))
                                return true;
        return false;
}

static bool model_allows(int slot, struct model_policy p) {
        bool bad = p.from == p.to;

        model[slot] = p;
        for (int from = -1; from < VNS; from++)
                bad = bad || ambiguous(from);
        model[slot].is = false;
        return !bad;
}

static void policy_create(int slot) {
        struct model_policy p = {.is = true,
                                 .one_way = dice_below(&dice, 2),
                                 .from = (int)dice_below(&dice, VNS),
                                 .to = (int)dice_below(&dice, VNS + 1) - 1};
        bool allowed = model_allows(slot, p);
        char name[16];
        int r;

        snprintf(name, sizeof name, "p%d", slot);
        w->error = (struct gw_error){0};
        r = gw_directory_policy_create(&w->d, name, vn_at(p.from), p.to < 0 ? NULL : vn_at(p.to), p.one_way, w->now,
                                       NULL, &w->error);
        if (!r != allowed)
                fail_msg("%s n%d -> n%d one_way=%d: %s, the model says %d", name, p.from, p.to, p.one_way,
                         w->error.text, allowed);
        assert_true(!r || w->error.text[0]);
        allowed ? made++ : refused++;
        if (allowed)
                model[slot] = p;
}

/* Its subnets become those of another tenant's VN. */
static void vn_change(void) {
        int vn = (int)dice_below(&dice, VNS), as = (int)dice_below(&dice, VNS);
        const char *was[2] = {subnets[vn][0], subnets[vn][1]};
        struct gw_prefix subnet[2] = {prefix(as, 0), prefix(as, 1)};
        struct gw_ip gateways[2] = {subnet[0].ip, subnet[1].ip};
        struct gw_vn_spec spec = {.subnets = subnet, .n_subnets = 2, .gateways = gateways, .n_gateways = 2};
        bool allowed = true;
        int r;

        gateways[0].b[15] |= 2;
        gateways[1].b[15] |= 2;
        memcpy(subnets[vn], subnets[as], sizeof subnets[vn]);
        for (int from = -1; from < VNS; from++)
                allowed = allowed && !ambiguous(from);
        w->error = (struct gw_error){0};
        r = gw_directory_vn_update(&w->d, vn_at(vn), &spec, &w->error);
        if (!r != allowed)
                fail_msg("n%d gets the subnets of n%d: %s, the model says %d", vn, as, w->error.text, allowed);
        if (!allowed)
                memcpy(subnets[vn], was, sizeof was);
        allowed ? changed++ : not_changed++;
}

static void policy_change(void) {
        int slot = (int)dice_below(&dice, POLICIES);
        char name[16];

        if (!model[slot].is)
                return policy_create(slot);
        snprintf(name, sizeof name, "p%d", slot);
        gw_directory_policy_delete(&w->d, gw_directory_policy(&w->d, name), w->now);
        model[slot].is = false;
}

/* --- ways --- */

static int model_way(int from, struct gw_ip ip, bool *any) {
        int found = -1, bits = 0;

        *any = false;
        for (int i = 0; i < POLICIES; i++) {
                int to = leads(&model[i], from);

                *any = *any || to == -1;
                for (int k = 0; to >= 0 && k < 2; k++) {
                        struct gw_prefix p = prefix(to, k);

                        if (gw_prefix_contains(&p, ip) && p.bits > bits) {
                                found = to;
                                bits = p.bits;
                        }
                }
        }
        *any = *any || found >= 0;
        return found;
}

static void ways_check(void) {
        for (int from = 0; from < VNS; from++)
                for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
                        const struct gw_vn *to;
                        bool any;
                        int want = model_way(from, ip_of(addresses[i]), &any);
                        const struct gw_policy *p = gw_directory_way(&w->d, vn_at(from), ip_of(addresses[i]), &to);

                        if (any != (p != NULL) || to != (want < 0 ? NULL : vn_at(want)))
                                fail_msg("n%d to %s: %s, the model says n%d", from, addresses[i], to ? to->id.s : "-",
                                         want);
                        any ? led++ : not_led++;
                }
}

/* --- gateways --- */

static void hello(unsigned i) {
        static const char *const sites[] = {"", "east", "west"};
        char name[16];
        struct gw_hello h = {.role = GW_ROLE_NVE,
                             .locator = nve_at(i)->locator,
                             .gateway = i >= HOSTS,
                             .gateway_cost = (uint32_t)(1 + dice_below(&dice, 3))};
        struct gw_nve *nve;

        snprintf(h.id.s, sizeof h.id.s, "%s", host_name(i, name));
        snprintf(h.site.s, sizeof h.site.s, "%s", sites[dice_below(&dice, 3)]);
        assert_int_equal(gw_directory_hello(&w->d, &h, w->now, &nve, &w->error), 0);
}

static void gateways_change(void) {
        unsigned i = (unsigned)dice_below(&dice, HOSTS + GATEWAYS), g = HOSTS + (unsigned)dice_below(&dice, GATEWAYS);
        struct gw_ip lost[GATEWAYS];
        size_t n = 0;

        switch (dice_below(&dice, 4)) {
        case 0:
                hello(g); /* another cost, perhaps another site; what it was told not to reach is forgotten */
                break;
        case 1:
                gw_directory_bye(&w->d, nve_at(g), w->now);
                break;
        case 2:
                gw_directory_gateway_pin(&w->d, vn_at((int)dice_below(&dice, VNS)),
                                         dice_below(&dice, 2) ? nve_at(g) : NULL, w->now);
                break;
        default:
                for (unsigned k = HOSTS; k < HOSTS + GATEWAYS; k++)
                        if (dice_below(&dice, 3) == 0)
                                lost[n++] = nve_at(k)->locator;
                gw_directory_unreached(nve_at(i), lost, n);
        }
}

static uint32_t model_cost(const struct gw_vn *vn, const struct gw_nve *g, const struct gw_nve *nve) {
        return g->gateway_cost + (strcmp(g->site.s, nve->site.s) ? GW_SITE_COST : 0) +
               (vn->gateway_pin.s[0] && strcmp(vn->gateway_pin.s, g->id.s) ? GW_PIN_COST : 0);
}

static bool model_answers(const struct gw_nve *g, const struct gw_nve *nve) {
        for (unsigned i = 0; i < nve->n_unreached; i++)
                if (gw_ip_eq(nve->unreached[i], g->locator))
                        return false;
        return true;
}

static const struct gw_nve *model_choice(const struct gw_vn *vn, const struct gw_nve *nve) {
        const struct gw_nve *best = NULL;

        for (unsigned i = HOSTS; i < HOSTS + GATEWAYS; i++) {
                const struct gw_nve *g = nve_at(i);
                uint64_t rank = best ? (uint64_t)!model_answers(best, nve) << 32 | model_cost(vn, best, nve) : 0,
                         mine = (uint64_t)!model_answers(g, nve) << 32 | model_cost(vn, g, nve);

                if (!g->nve_connected)
                        continue;
                if (g == nve)
                        return g;
                if (!best || mine < rank ||
                    (mine == rank && memcmp(&g->locator, &best->locator, sizeof g->locator) < 0))
                        best = g;
        }
        return best;
}

static void choices_check(void) {
        for (int v = 0; v < VNS; v++)
                for (unsigned i = 0; i < HOSTS + GATEWAYS; i++) {
                        const struct gw_nve *nve = nve_at(i), *want, *got;

                        if (!gw_directory_vn_is_routed(vn_at(v)))
                                continue;
                        want = model_choice(vn_at(v), nve);
                        got = gw_directory_gateway_of(vn_at(v), nve);
                        if (got != want)
                                fail_msg("n%d at %s: %s, the model says %s", v, nve->id.s, got ? got->id.s : "-",
                                         want ? want->id.s : "-");
                        chosen += got != NULL;
                }
}

/* Who is connected and a member of VNs says that it has them, and hears and confirms what there is to know of them. */
static void settle(void) {
        uint32_t vnis[VNS];

        for (unsigned i = HOSTS; i < HOSTS + GATEWAYS; i++) {
                size_t n = 0;

                for (int v = 0; v < VNS; v++)
                        if (gw_directory_is_member(&w->d, vn_at(v), nve_at(i)))
                                vnis[n++] = vn_at(v)->vni;
                if (nve_at(i)->nve_connected)
                        gw_directory_subscribe(&w->d, nve_at(i), vnis, n, w->now);
        }
        world_arrived(w);
}

/* --- the runs --- */

static void begin(void) {
        for (int i = 0; i < VNS; i++) {
                struct gw_prefix subnet[2] = {prefix(i, 0), prefix(i, 1)};
                struct gw_ip gateways[2] = {subnet[0].ip, subnet[1].ip};
                struct gw_vn_spec spec = {.subnets = subnet, .n_subnets = 2, .gateways = gateways, .n_gateways = 2};
                struct gw_vn *vn;
                char id[32];

                snprintf(id, sizeof id, "t%d", i); /* one's VNs do not overlap; several tenants' may */
                assert_int_equal(gw_directory_tenant_create(&w->d, id, NULL, &w->error), 0);
                snprintf(id, sizeof id, "n%d@t%d", i, i);
                spec.id = id;
                gateways[0].b[15] |= 2;
                gateways[1].b[15] |= 2;
                if (gw_directory_vn_create(&w->d, &spec, &vn, &w->error))
                        fail_msg("%s: %s", id, w->error.text);
        }
        for (unsigned i = HOSTS; i < HOSTS + GATEWAYS; i++) {
                char name[16], locator[32];

                snprintf(locator, sizeof locator, i % 2 ? "10.99.1.%u" : "fd99::1:%u", i);
                world_hello(w, host_name(i, name), locator);
                hello(i);
        }
}

static void test_as_the_models(void **state) {
        (void)state;
        dice = dice_new();
        w = calloc(1, sizeof *w);
        assert_non_null(w);
        world_init(w);
        begin();
        for (int i = 0; i < STEPS; i++) {
                if (dice_below(&dice, 9) == 0)
                        vn_change();
                else if (dice_below(&dice, 3))
                        policy_change();
                else
                        gateways_change();
                if (i % 10 == 0) {
                        ways_check();
                        settle();
                        choices_check();
                }
                world_ack(w);
        }
        assert_true(made && refused && changed && not_changed && led && not_led &&
                    chosen); /* else the run has tested less than it says */
        world_deinit(w);
        free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_as_the_models)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
