/* SPDX-License-Identifier: Apache-2.0 */
/* Who may be a gateway, who uses one, and how many ways there may be. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "directory/gateway.h"
#include "directory_fixture.h"

/* It comes, and is told what it needs to know of blue. */
static struct gw_nve *comes(struct world *w, const char *id, const char *locator, uint32_t cost) {
        struct gw_nve *nve = world_gateway(w, id, locator, cost);

        world_subscribe(w, nve);
        world_arrived(w);
        return nve;
}

/* A VN with as many subnets as it may have, of a tenant of its own. */
static struct gw_vn *wide(struct world *w, const char *side, unsigned n) {
        struct gw_prefix subnets[GW_VN_SUBNETS_MAX];
        struct gw_vn_spec spec = {.n_subnets = GW_VN_SUBNETS_MAX, .subnets = subnets};
        char tenant[16], id[32], text[32];
        struct gw_vn *made;

        snprintf(tenant, sizeof tenant, "%s%u", side, n);
        snprintf(id, sizeof id, "n@%s", tenant);
        for (unsigned i = 0; i < GW_VN_SUBNETS_MAX; i++) {
                snprintf(text, sizeof text, "10.%u.%u.0/24", *side == 'a' ? 0U : 1U, i);
                assert_int_equal(gw_prefix_parse(text, &subnets[i]), 0);
        }
        spec.id = id;
        assert_int_equal(gw_directory_tenant_create(&w->d, tenant, NULL, &w->error), 0);
        assert_int_equal(gw_directory_vn_create(&w->d, &spec, &made, &w->error), 0);
        return made;
}

/* As it is, but for how many of its subnets it has. */
static int set_subnets(struct world *w, struct gw_vn *v, const struct gw_prefix *subnets, size_t n) {
        struct gw_vn_spec spec = {.id = v->id.s,
                                  .n_subnets = n,
                                  .subnets = subnets,
                                  .n_gateways = v->settings.n_gateways,
                                  .gateways = v->settings.gateways};

        return gw_directory_vn_update(&w->d, v, &spec, &w->error);
}

static int set_gateways(struct world *w, struct gw_vn *v, const char *first, const char *second) {
        struct gw_ip gateways[2];
        struct gw_vn_spec spec = {
                .id = v->id.s, .n_subnets = v->n_subnets, .subnets = v->subnets, .gateways = gateways};

        if (first)
                gateways[spec.n_gateways++] = ip_of(first);
        if (second)
                gateways[spec.n_gateways++] = ip_of(second);
        return gw_directory_vn_update(&w->d, v, &spec, &w->error);
}

static void routed(struct world *w) {
        assert_int_equal(set_gateways(w, w->blue, "10.1.0.1", NULL), 0);
        assert_int_equal(gw_directory_policy_create(&w->d, "world", w->blue, NULL, false, w->now, NULL, &w->error), 0);
}

static void permit(struct world *w, struct gw_nve *nve, enum gw_permit may_route) {
        gw_directory_nve_permit(&w->d, nve, may_route, GW_PERMIT_UNSAID, w->now);
}

static void test_forbidden_at_once(void **state) {
        struct world *w = *state;
        struct gw_nve *g;

        routed(w);
        world_subscribe(w, w->h1);
        g = comes(w, "g1", "10.99.0.9", 5);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        world_ack(w);
        permit(w, g, GW_PERMIT_NO);
        assert_null(gw_directory_gateway_of(w->blue, w->h1));
        assert_int_equal(world_told_member(w, w->h1, g->locator)->role, GW_MEMBER_ROUTES); /* as long as it is used */
        gw_directory_bye(&w->d, g, w->now);
        w->n_notes = 0;
        assert_ptr_equal(world_gateway(w, "g1", "10.99.0.9", 1), g);
        assert_true(g->offers_gateway && !g->gateway);
        assert_int_equal(w->n_notes, 1);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
        permit(w, g, GW_PERMIT_UNSAID);
        world_subscribe(w, g);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

static void test_only_those_that_are_listed(void **state) {
        struct world *w = *state;
        struct gw_nve *g, *known;
        struct gw_ip at = ip_of("10.99.0.8");

        w->d.gateways_listed = true;
        routed(w);
        assert_int_equal(gw_directory_nve_create(&w->d, "g2", &at, &known, &w->error), 0);
        permit(w, known, GW_PERMIT_YES); /* before it has ever connected */
        g = comes(w, "g1", "10.99.0.9", 1);
        assert_null(gw_directory_gateway_of(w->blue, w->h1));
        assert_ptr_equal(comes(w, "g2", "10.99.0.8", 100), known);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), known);
        permit(w, g, GW_PERMIT_YES);
        world_subscribe(w, g);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        world_restart(w);
        assert_int_equal(gw_directory_nve(&w->d, "g1")->may_route, GW_PERMIT_YES);
        assert_true(gw_directory_nve(&w->d, "g1")->gateway);
        assert_int_equal(w->h1->may_route, GW_PERMIT_UNSAID);
}

/* A gateway has no VMs that would keep it where it is, and is a member of every VN that is routed. */
static void test_it_does_not_wander(void **state) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .id = {"g1"}, .restart_count = 1, .gateway = true};
        struct world *w = *state;
        struct gw_nve *g;

        routed(w);
        world_subscribe(w, w->h1);
        world_gateway(w, "g1", "10.99.0.9", 1);
        g = world_gateway(w, "g1", "10.99.0.10", 1); /* once is well */
        world_ack(w);
        hello.locator = ip_of("10.99.0.11");
        assert_int_equal(gw_directory_hello(&w->d, &hello, w->now, &g, &w->error), GW_E_REFUSED);
        assert_string_equal(w->error.field, "locator");
        assert_int_equal(w->n_frames, 0);
        world_pass(w, GW_DIRECTORY_MOVED_MS);
        world_gateway(w, "g1", "10.99.0.11", 1);
}

static void test_who_uses_it(void **state) {
        struct gw_gateway_user room[2];
        struct gw_gateway_users users = {.list = room, .max = 2, .looks = 100};
        struct world *w = *state;
        struct gw_nve *near, *far;

        routed(w);
        near = comes(w, "g1", "10.99.0.9", 1);
        far = comes(w, "g2", "10.99.0.8", 2);
        world_subscribe(w, w->h2);
        gw_directory_gateway_users(near, &users);
        assert_int_equal(users.n, 2);
        assert_false(users.more);
        assert_ptr_equal(room[0].nve, near);
        assert_ptr_equal(room[1].nve, w->h2);
        gw_directory_gateway_users(far, &users); /* itself */
        assert_true(users.n == 1 && room[0].nve == far);
        world_subscribe(w, w->h1);
        gw_directory_gateway_users(near, &users);
        assert_int_equal(users.n, 2);
        assert_true(users.more);
        users.looks = 3;
        gw_directory_gateway_users(near, &users);
        assert_int_equal(users.n, 0);
        assert_true(users.more);
}

/* Also when it is a VN's gateway addresses that make one too many: the list would not fit into a frame. */
static void test_ways_are_bounded(void **state) {
        enum { EACH = 2 * GW_VN_SUBNETS_MAX }; /* ways of a policy, both ways, between VNs of so many subnets */
        struct world *w = *state;
        struct gw_vn *from = NULL, *to = NULL;
        size_t ways = 0;
        char id[16];

        for (unsigned i = 0; ways + EACH <= GW_WAYS_MAX; i++, ways += EACH) {
                from = wide(w, "a", i);
                to = wide(w, "b", i);
                snprintf(id, sizeof id, "p%u", i);
                assert_int_equal(gw_directory_policy_create(&w->d, id, from, to, false, w->now, NULL, &w->error), 0);
        }
        assert_int_equal(ways, GW_WAYS_MAX); /* none of them is routed yet */
        assert_int_equal(set_gateways(w, from, "10.0.0.1", NULL), GW_E_FULL);
        assert_string_equal(w->error.field, "gateways");
        assert_int_equal(from->settings.n_gateways, 0);
        gw_directory_policy_delete(&w->d, gw_directory_policy(&w->d, "p0"), w->now);
        assert_int_equal(set_gateways(w, from, "10.0.0.1", NULL), 0); /* nine */
        assert_int_equal(set_gateways(w, to, "10.1.0.1", NULL), GW_E_FULL);
        assert_int_equal(set_gateways(w, from, NULL, NULL), 0);
        assert_int_equal(set_gateways(w, to, "10.1.0.1", NULL), 0);
        assert_int_equal(set_gateways(w, to, "10.1.0.2", NULL), 0); /* as many */
}

/* More subnets are more ways, too: of the policies that name the VN, and of its own. */
static void test_subnets_are_ways(void **state) {
        struct world *w = *state;
        struct gw_prefix all[GW_VN_SUBNETS_MAX];
        struct gw_vn *from = NULL, *to = NULL;
        char id[16];

        for (unsigned i = 0; i < GW_WAYS_MAX / (2 * GW_VN_SUBNETS_MAX); i++) {
                from = wide(w, "a", i);
                to = wide(w, "b", i);
                memcpy(all, to->subnets, sizeof all);
                if (i + 1 == GW_WAYS_MAX / (2 * GW_VN_SUBNETS_MAX)) /* the last: 8 ways less */
                        assert_int_equal(set_subnets(w, to, all, GW_VN_SUBNETS_MAX / 2), 0);
                snprintf(id, sizeof id, "p%u", i);
                assert_int_equal(gw_directory_policy_create(&w->d, id, from, to, false, w->now, NULL, &w->error), 0);
        }
        assert_int_equal(set_subnets(w, to, all, GW_VN_SUBNETS_MAX), 0); /* all that there is room for */
        assert_int_equal(set_subnets(w, to, all, GW_VN_SUBNETS_MAX / 2), 0);
        assert_int_equal(set_gateways(w, to, "10.1.0.1", NULL), GW_E_FULL); /* five more, and there is room for four */
        assert_int_equal(set_subnets(w, to, all, GW_VN_SUBNETS_MAX / 2 - 1), 0);
        assert_int_equal(set_gateways(w, to, "10.1.0.1", NULL), 0);
        assert_int_equal(set_subnets(w, to, all, GW_VN_SUBNETS_MAX), GW_E_FULL);
        assert_string_equal(w->error.field, "subnets");
        assert_int_equal(to->n_subnets, GW_VN_SUBNETS_MAX / 2 - 1);
        assert_int_equal(to->settings.n_gateways, 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_forbidden_at_once, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_only_those_that_are_listed, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_it_does_not_wander, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_who_uses_it, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_ways_are_bounded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_subnets_are_ways, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("gateways", tests, NULL, NULL);
}
