/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of members: who is not in one goes, and only then. */
#include <stdio.h>

#include "edge_fixture.h"

static struct gw_member at(const char *locator) {
        return (struct gw_member){.vni = WORLD_VNI, .locator = ip_of(locator)};
}

static struct gw_member mark(bool more, bool final) {
        return (struct gw_member){.vni = WORLD_VNI, .gone = true, .more = more, .final = final};
}

static void tell(struct world *w, const struct gw_member *members, size_t n) {
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, NULL, 0, members, n), 0);
}

#define TELL(w, ...)                                                                                                   \
        tell(w, (const struct gw_member[]){__VA_ARGS__},                                                               \
             sizeof((const struct gw_member[]){__VA_ARGS__}) / sizeof(struct gw_member))

static void three(struct world *w) {
        world_serve(w);
        TELL(w, mark(false, false), at("10.99.0.2"), at("10.99.0.3"), at("10.99.0.4"));
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.2") && world_member_is(w, "10.99.0.3") &&
                    world_member_is(w, "10.99.0.4"));
}

static void again(struct world *w) {
        gw_edge_nva_down(w->edge, w->now);
        world_up(w);
}

static void test_who_went_while_nobody_listened(void **state) {
        struct world *w = *state;

        three(w);
        again(w);
        TELL(w, mark(false, false), at("10.99.0.2"));
        assert_true(world_member_is(w, "10.99.0.3")); /* what it has sent may be on the way */
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.2"));
        assert_false(world_member_is(w, "10.99.0.3") || world_member_is(w, "10.99.0.4"));
}

/* Of a list of several frames the later ones may be long in coming: who is in them stays. */
static void test_a_list_that_takes_long(void **state) {
        struct world *w = *state;

        three(w);
        again(w);
        world_pass(w, 3 * GW_EDGE_SWEEP_MS); /* thousands of edges are told at once */
        assert_true(world_member_is(w, "10.99.0.2") && world_member_is(w, "10.99.0.3"));
        TELL(w, mark(true, false), at("10.99.0.2"));
        world_pass(w, 3 * GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.3"));
        TELL(w, at("10.99.0.3"), mark(false, true));
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.2") && world_member_is(w, "10.99.0.3"));
        assert_false(world_member_is(w, "10.99.0.4"));
}

/* A part that was sent twice begins the list anew. */
static void test_a_list_that_begins_twice(void **state) {
        struct world *w = *state;

        three(w);
        again(w);
        TELL(w, mark(true, false), at("10.99.0.2"), at("10.99.0.4"));
        TELL(w, mark(true, false), at("10.99.0.2"));
        TELL(w, at("10.99.0.3"), mark(false, true));
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.2") && world_member_is(w, "10.99.0.3"));
        assert_false(world_member_is(w, "10.99.0.4"));
}

/* In one session: an edge that was deleted, or has another locator, is no sender any more. */
static void test_a_new_list_in_the_same_session(void **state) {
        struct world *w = *state;

        three(w);
        TELL(w, mark(false, false), at("10.99.0.2"), at("10.99.0.9"), at("10.99.0.4"));
        assert_true(world_member_is(w, "10.99.0.3"));
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(world_member_is(w, "10.99.0.9"));
        assert_false(world_member_is(w, "10.99.0.3"));
}

static void test_a_gateway_that_is_not_in_it(void **state) {
        struct gw_member gateway = at("10.99.0.7");
        struct world *w = *state;

        gateway.role = GW_MEMBER_ROUTES | GW_MEMBER_LIVE;
        three(w);
        TELL(w, gateway);
        assert_true(gw_ip_eq(gw_edge_gateway_of(w->edge, WORLD_VNI), gateway.locator));
        TELL(w, mark(false, false), at("10.99.0.2"));
        world_pass(w, GW_EDGE_SWEEP_MS);
        assert_true(gw_ip_is_unspecified(gw_edge_gateway_of(w->edge, WORLD_VNI)));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_who_went_while_nobody_listened, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_list_that_takes_long, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_list_that_begins_twice, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_new_list_in_the_same_session, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_gateway_that_is_not_in_it, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("lists of members", tests, NULL, NULL);
}
