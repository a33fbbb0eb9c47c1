/* SPDX-License-Identifier: Apache-2.0 */
/* From when on a gateway that comes is used: when it knows the members of its VNs and they know it (directory/arrival.c). */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "directory/gateway.h"
#include "directory_fixture.h"

static struct gw_vn *green;

static void vn_set_gateway(struct world *w, struct gw_vn *vn, const char *gateway) {
        struct gw_ip ip = ip_of(gateway);
        struct gw_vn_spec spec = {
                .id = vn->id.s, .subnets = vn->subnets, .n_subnets = vn->n_subnets, .gateways = &ip, .n_gateways = 1};

        assert_int_equal(gw_directory_vn_update(&w->d, vn, &spec, &w->error), 0);
}

static void subscribe(struct world *w, struct gw_nve *nve, const struct gw_vn *a, const struct gw_vn *b) {
        uint32_t vnis[2] = {a->vni, b ? b->vni : 0};

        gw_directory_subscribe(&w->d, nve, vnis, b ? 2 : 1, w->now);
}

/* One of them confirms all that it was sent; the others are slow. */
static void ack_of(struct world *w, struct gw_nve *nve) {
        for (size_t i = 0; i < w->n_frames; i++)
                if (gw_name_eq(&w->frames[i].to, &nve->id))
                        gw_directory_ack(&w->d, nve, w->frames[i].id, w->now);
}

/* It has its ways; what else there is to know follows. */
static struct gw_nve *comes(struct world *w, const char *id, const char *locator, uint32_t cost) {
        struct gw_nve *g = world_gateway(w, id, locator, cost);

        gw_directory_gateway_took(&w->d, g, true, w->now);
        subscribe(w, g, w->blue, green);
        return g;
}

/* blue has h1, green h2; a gateway is in both, and is used. */
static struct gw_nve *joined(struct world *w) {
        struct gw_prefix subnet;
        struct gw_ip gateway = ip_of("10.7.0.1");
        struct gw_vn_spec spec = {
                .id = "green@default", .subnets = &subnet, .n_subnets = 1, .gateways = &gateway, .n_gateways = 1};
        struct gw_nve *g;

        assert_int_equal(gw_prefix_parse("10.7.0.0/24", &subnet), 0);
        assert_int_equal(gw_directory_vn_create(&w->d, &spec, &green, &w->error), 0);
        vn_set_gateway(w, w->blue, "10.1.0.1");
        assert_int_equal(gw_directory_policy_create(&w->d, "join", w->blue, green, false, w->now, NULL, &w->error), 0);
        subscribe(w, w->h1, w->blue, NULL);
        subscribe(w, w->h2, green, NULL);
        g = comes(w, "g1", "10.99.0.11", 50);
        assert_null(gw_directory_gateway_of(w->blue, w->h1));
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        world_forget(w);
        return g;
}

/* What they were told can still be asked for. */
static void all_ack(struct world *w, struct gw_nve *a, struct gw_nve *b) {
        ack_of(w, w->h1);
        ack_of(w, w->h2);
        ack_of(w, a);
        ack_of(w, b);
}

static unsigned role_told(struct world *w, const struct gw_nve *to, const struct gw_nve *gateway) {
        const struct gw_member *told = world_told_member(w, to, gateway->locator);

        assert_non_null(told);
        return told->role;
}

static void test_used_when_all_have_confirmed(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        assert_int_equal(role_told(w, w->h1, g), GW_MEMBER_ROUTES); /* known at once, to be used later */
        ack_of(w, w->h1);
        ack_of(w, w->h2);
        ack_of(w, old);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old); /* it has not confirmed whom it is to know */
        assert_true(gw_directory_gateway_arrives(g));
        ack_of(w, g);
        world_pass(w, WORLD_LOOK_MS);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        assert_int_equal(role_told(w, w->h1, g), GW_MEMBER_ROUTES | GW_MEMBER_LIVE);
        assert_false(gw_directory_gateway_arrives(g));
}

/* Who is told of it must find the ways there. */
static void test_used_when_it_has_the_ways(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        gw_directory_gateway_took(&w->d, g, false, w->now); /* there is something new */
        for (int i = 0; i < 8; i++) {
                world_ack(w);
                world_pass(w, 2000);
                assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        }
        assert_int_equal(w->note_kind, GW_NOTE_INFO); /* after ten seconds */
        assert_non_null(strstr(w->note, "gateway=g2"));
        assert_non_null(strstr(w->note, "its ways"));
        assert_int_equal(w->n_told_ways, 1); /* once more; it may be able to take them now */
        gw_directory_gateway_took(&w->d, g, true, w->now);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

/* It came long ago, and still waits for its ways when there are newer ones: those have their own time, and their own answer. */
static void test_told_again_when_the_newest_was_not_taken(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        for (int i = 0; i < 8; i++) {
                gw_directory_gateway_told(&w->d, g, w->now);
                world_ack(w);
                world_pass(w, 9000);
        }
        assert_int_equal(w->n_told_ways, 0);
        world_pass(w, 60000); /* it may take them yet */
        assert_int_equal(w->n_told_ways, 0);
        gw_directory_gateway_took(&w->d, g, false, w->now);
        world_pass(w, 9000);
        assert_int_equal(w->n_told_ways, 0);
        world_pass(w, 1500);
        assert_int_equal(w->n_told_ways, 1);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
}

/* Others use it all the time: it is no news that it has to take something new. */
static void test_one_in_use_does_not_arrive(void **state) {
        struct world *w = *state;
        struct gw_nve *g = joined(w);

        assert_false(gw_directory_gateway_arrives(g));
        gw_directory_gateway_told(&w->d, g, w->now);
        assert_false(gw_directory_gateway_arrives(g));
        world_pass(w, 20000);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        g = comes(w, "g1", "10.99.0.11", 50);
        assert_true(gw_directory_gateway_arrives(g));
        world_arrived(w);
        assert_false(gw_directory_gateway_arrives(g));
}

/* What comes from blue goes to h2, which must take it. */
static void test_members_of_the_other_vn_count(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        ack_of(w, w->h1);
        ack_of(w, old);
        ack_of(w, g);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

static void test_who_falls_behind_is_not_waited_for(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        for (int ms = 0; !w->h2->behind && ms < 60000; ms += 20) {
                assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
                ack_of(w, w->h1);
                ack_of(w, old);
                ack_of(w, g);
                world_forget(w);
                world_pass(w, 20);
        }
        assert_true(w->h2->behind);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

/* Its host may have been started anew, and know nobody. */
static void test_a_session_begins_anew(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        g = comes(w, "g2", "10.99.0.12", 1);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

/* It goes on until nobody can be using it; and when it may be one again, it comes as if it had never been there. */
static void test_a_forbidden_one_is_left_first(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        world_arrived(w);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        assert_int_equal(role_told(w, w->h1, g), GW_MEMBER_ROUTES); /* what it routes is taken */
        ack_of(w, w->h1);
        ack_of(w, old);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_int_equal(w->n_told_ways, 0); /* green's h2 may send to it */
        ack_of(w, w->h2);
        ack_of(w, g);
        world_pass(w, WORLD_LOOK_MS);
        assert_int_equal(w->n_told_ways, 1);
        gw_directory_gateway_told(&w->d, g, w->now);
        world_pass(w, WORLD_LOOK_MS);
        assert_int_equal(role_told(w, w->h1, g), GW_MEMBER_ROUTES); /* its own VMs use it until it has taken that */
        gw_directory_gateway_took(&w->d, g, true, w->now);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_int_equal(role_told(w, w->h1, g), 0);
        all_ack(w, old, g);
        world_pass(w, 60000);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_UNSAID, GW_PERMIT_UNSAID, w->now);
        world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        assert_int_equal(w->n_told_ways, 2);
}

/* One that has no room to write that down, or hangs, is a gateway for nobody after a while, and is told on. */
static void test_one_that_does_not_take_that_it_has_no_ways(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        world_arrived(w);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        all_ack(w, old, g);
        world_pass(w, WORLD_LOOK_MS);
        for (unsigned told = 1; told < 5; told++) {
                assert_int_equal(w->n_told_ways, told);
                assert_int_equal(role_told(w, w->h1, g), told < 3 ? GW_MEMBER_ROUTES : 0); /* 15 s */
                gw_directory_gateway_told(&w->d, g, w->now);
                world_pass(w, WORLD_LOOK_MS);
                gw_directory_gateway_took(&w->d, g, false, w->now);
                for (int i = 0; i < 11; i++) {
                        all_ack(w, old, g);
                        world_pass(w, 1000);
                }
        }
        assert_non_null(strstr(w->note, "gateway=g2 has not taken that it has no ways"));
        gw_directory_gateway_told(&w->d, g, w->now);
        world_pass(w, 60000); /* no answer yet: it may come */
        assert_int_equal(w->n_told_ways, 5);
        gw_directory_gateway_took(&w->d, g, true, w->now);
        world_pass(w, 60000);
        assert_int_equal(w->n_told_ways, 5);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
}

/* The one that is to take over is not there yet; who does not get there is not waited for for ever. */
static void test_left_when_the_other_has_come(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        gw_directory_nve_permit(&w->d, old, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        for (int i = 0; i < 10; i++) {
                ack_of(w, w->h1);
                ack_of(w, w->h2);
                ack_of(w, old);
                world_pass(w, GW_DIRECTORY_ARRIVAL_MS);
        }
        assert_int_equal(w->n_told_ways, 0);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        assert_int_equal(w->n_told_ways, 1);
        comes(w, "g3", "10.99.0.13", 1);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        gw_directory_gateway_took(&w->d, gw_directory_nve(&w->d, "g3"), false, w->now);
        world_ack(w);
        world_pass(w, 4000);
        assert_int_equal(w->n_told_ways, 1);
        world_ack(w);
        world_pass(w, 2000);
        assert_int_equal(w->n_told_ways, 2);
}

/* Its own VMs use it as soon as it has ways, and h2 would drop what it sends for them. */
static void test_one_that_is_allowed_gets_its_ways_when_its_members_know_it(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        for (int i = 0; i < 20; i++) {
                world_ack(w);
                world_pass(w, 1000);
        }
        gw_directory_gateway_told(&w->d, g, w->now);
        w->n_told_ways = 0;
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_YES, GW_PERMIT_UNSAID, w->now);
        gw_directory_gateway_took(&w->d, g, true, w->now); /* that it had none */
        ack_of(w, w->h1);
        ack_of(w, old);
        ack_of(w, g);
        world_pass(w, WORLD_LOOK_MS);
        assert_int_equal(w->n_told_ways, 0);
        ack_of(w, w->h2);
        world_pass(w, WORLD_LOOK_MS);
        assert_int_equal(w->n_told_ways, 1);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        for (int i = 0; i < 20; i++) {
                world_ack(w);
                world_pass(w, 1000);
        }
        w->n_told_ways = 0;
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_YES, GW_PERMIT_UNSAID, w->now);
        for (int i = 0; i < 60; i++) { /* h2 hangs: it falls behind, or has had its time */
                ack_of(w, w->h1);
                ack_of(w, old);
                ack_of(w, g);
                world_forget(w);
                world_pass(w, 100);
        }
        assert_int_equal(w->n_told_ways, 1);
}

static void test_allowed_again_before_it_was_left(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        world_arrived(w);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_UNSAID, GW_PERMIT_UNSAID, w->now);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        assert_int_equal(w->n_told_ways, 1); /* its ways */
}

/* By a list of ways that is older than the policy: it has forgotten the members, and is told them again. */
static void test_one_that_left_the_vn_comes_again(void **state) {
        struct world *w = *state;
        struct gw_nve *old = joined(w), *g = comes(w, "g2", "10.99.0.12", 1);

        world_arrived(w);
        subscribe(w, g, green, NULL);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), old);
        assert_int_equal(role_told(w, w->h1, g), GW_MEMBER_ROUTES);
        subscribe(w, g, w->blue, green);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
}

/* A VN that is routed later waits for itself; those that are served go on. */
static void test_another_vn_disturbs_nobody(void **state) {
        struct world *w = *state;
        struct gw_nve *g = joined(w);
        struct gw_prefix subnet;
        struct gw_ip gateway = ip_of("10.8.0.1");
        struct gw_vn_spec spec = {
                .id = "red@default", .subnets = &subnet, .n_subnets = 1, .gateways = &gateway, .n_gateways = 1};
        uint32_t all[3];
        struct gw_vn *red;

        assert_int_equal(gw_prefix_parse("10.8.0.0/24", &subnet), 0);
        assert_int_equal(gw_directory_vn_create(&w->d, &spec, &red, &w->error), 0);
        assert_int_equal(gw_directory_policy_create(&w->d, "more", w->blue, red, false, w->now, NULL, &w->error), 0);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(w->blue, w->h1), g);
        assert_null(gw_directory_gateway_of(red, w->h1));
        memcpy(all, (uint32_t[]){w->blue->vni, green->vni, red->vni}, sizeof all);
        gw_directory_subscribe(&w->d, g, all, 3, w->now);
        world_arrived(w);
        assert_ptr_equal(gw_directory_gateway_of(red, w->h1), g);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_used_when_all_have_confirmed, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_used_when_it_has_the_ways, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_told_again_when_the_newest_was_not_taken, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_one_in_use_does_not_arrive, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_members_of_the_other_vn_count, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_who_falls_behind_is_not_waited_for, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_session_begins_anew, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_forbidden_one_is_left_first, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_one_that_does_not_take_that_it_has_no_ways, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_left_when_the_other_has_come, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_one_that_is_allowed_gets_its_ways_when_its_members_know_it,
                                                world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_allowed_again_before_it_was_left, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_one_that_left_the_vn_comes_again, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_another_vn_disturbs_nobody, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("arrival", tests, NULL, NULL);
}
