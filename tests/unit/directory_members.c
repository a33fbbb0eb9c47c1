/* SPDX-License-Identifier: Apache-2.0 */
/* VNs with thousands of members: the list takes several frames, and is complete when it says so, whatever happens meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "directory/crowd.h"
#include "directory/gateway.h"
#include "directory/internal.h"
#include "directory_fixture.h"

enum { MANY = 5000, MORE = 4000 };

/* What an edge makes of it. */
struct edge {
        bool is[MANY + MORE], listed;
        unsigned begun, frames;
};

static struct gw_ip locator_of(unsigned n) {
        char text[32];

        snprintf(text, sizeof text, "10.98.%u.%u", n / 250, n % 250 + 1);
        return ip_of(text);
}

static unsigned number_of(struct gw_ip ip) {
        return ip.b[14] * 250U + ip.b[15] - 1;
}

static struct gw_nve *member(struct world *w, unsigned n) {
        struct gw_ip locator = locator_of(n);
        struct gw_nve *nve;
        char id[16];

        snprintf(id, sizeof id, "m%u", n);
        assert_int_equal(gw_directory_nve_create(&w->d, id, &locator, &nve, &w->error), 0);
        assert_int_equal(gw_dir_member_plan(&w->d, w->blue, nve), 0);
        return nve;
}

static void leave(struct world *w, unsigned n) {
        char id[16];

        snprintf(id, sizeof id, "m%u", n);
        gw_dir_member_unplan(&w->d, w->blue, gw_directory_nve(&w->d, id));
}

static int setup(void **state) {
        struct world *w;

        world_setup(state);
        w = *state;
        for (unsigned n = 0; n < MANY; n++)
                member(w, n);
        world_forget(w);
        return 0;
}

static void take_one(struct edge *e, const struct gw_member *m) {
        if (!gw_ip_is_unspecified(m->locator)) {
                e->is[number_of(m->locator)] = !m->gone;
                return;
        }
        if (!m->gone)
                return;
        if (!m->final) {
                memset(e->is, 0, sizeof e->is);
                e->begun++;
        }
        e->listed = !m->more;
}

/* Takes in what was sent, and acknowledges it; false: nothing was. */
static bool take(struct world *w, struct edge *e) {
        size_t n = w->n_frames;
        uint32_t ids[WORLD_SENT_MAX];

        for (size_t i = 0; i < w->n_sent; i++)
                if (w->sent[i].is_member && !strcmp(w->sent[i].to.s, "h2"))
                        take_one(e, &w->sent[i].member);
        for (size_t i = 0; i < n; i++)
                ids[i] = w->frames[i].id;
        world_forget(w);
        e->frames += (unsigned)n;
        for (size_t i = 0; i < n; i++)
                gw_directory_ack(&w->d, w->h2, ids[i], w->now);
        return n > 0;
}

static size_t count(const struct edge *e) {
        size_t n = 0;

        for (size_t i = 0; i < MANY + MORE; i++)
                n += e->is[i];
        return n;
}

static void test_all_are_told_in_parts(void **state) {
        struct world *w = *state;
        struct edge e = {0};

        for (unsigned n = MANY; n < MANY + MORE; n++)
                member(w, n);
        world_subscribe(w, w->h2);
        assert_in_range(w->octets, 1, GW_FRAME_MAX);
        while (!e.listed) {
                assert_int_equal(w->n_frames, 1); /* the next when this one has come */
                assert_true(take(w, &e));
                assert_int_equal(e.listed, count(&e) == MANY + MORE);
        }
        assert_int_equal(e.begun, 1);
        assert_int_equal(e.frames, 3);
        assert_false(take(w, &e));
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 0);
}

static void test_some_come_and_go_meanwhile(void **state) {
        struct world *w = *state;
        struct edge e = {0};

        world_subscribe(w, w->h2);
        assert_true(take(w, &e));
        assert_true(e.is[0]);
        leave(w, 0);        /* told already */
        leave(w, MANY - 1); /* not yet */
        member(w, MANY);
        for (unsigned ms = 0; ms <= GW_DIRECTORY_LINGER_MS; ms += GW_DIRECTORY_RETRY_MS / 2) {
                world_pass(w, GW_DIRECTORY_RETRY_MS / 2);
                take(w, &e);
        }
        while (take(w, &e))
                ;
        assert_true(e.listed);
        assert_int_equal(count(&e), MANY - 1);
        assert_false(e.is[0] || e.is[MANY - 1]);
        assert_true(e.is[MANY]);
        assert_int_equal(w->blue->n_gone, 0);
}

/* A frame that is lost is sent again, and says what is true by then. */
static void test_parts_that_are_lost(void **state) {
        struct world *w = *state;
        struct edge e = {0};

        world_subscribe(w, w->h2);
        for (int part = 0; !e.listed; part++) {
                world_forget(w);
                while (!w->n_frames)
                        world_pass(w, 20); /* until it is sent again */
                world_forget(w);
                gw_dir_member_touch(&w->d, gw_dir_member_find(&w->d, w->blue, gw_directory_nve(&w->d, "m7")));
                gw_dir_updates_flush(&w->d);
                assert_true(part < 9 && take(w, &e));
        }
        assert_int_equal(count(&e), MANY);
}

/* In a new session, and when one has another locator, from the beginning. */
static void test_told_again(void **state) {
        struct world *w = *state;
        struct edge e = {0};

        world_subscribe(w, w->h2);
        assert_true(take(w, &e));
        gw_directory_bye(&w->d, w->h2, w->now);
        world_forget(w);
        e.listed = false;
        w->h2 = world_hello(w, "h2", "10.99.0.2");
        world_subscribe(w, w->h2);
        while (take(w, &e))
                ;
        assert_true(e.listed && e.begun == 2 && count(&e) == MANY);
        assert_int_equal(
                gw_directory_nve_relocate(&w->d, gw_directory_nve(&w->d, "m3"), locator_of(MANY), w->now, &w->error),
                0);
        while (take(w, &e))
                ;
        assert_true(e.listed && e.begun == 3 && count(&e) == MANY && !e.is[3] && e.is[MANY]);
}

/* More than an edge can hold are not placed, rather than some left out. */
static void test_no_more_than_edges_hold(void **state) {
        struct world *w = *state;
        uint64_t epoch;

        for (unsigned n = MANY + 1; w->blue->n_members < GW_DIRECTORY_MEMBERS_MAX; n++)
                member(w, n);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text, "blue@default"));
        leave(w, 5);
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
}

/* --- what a host has to know of all its VNs --- */

enum { KNOWN_MAX = 40, FEW = 9 };

static struct gw_vn *vn_of(struct world *w, unsigned n) {
        char id[16];
        struct gw_vn *vn;
        struct gw_vn_spec spec = {.id = id};

        snprintf(id, sizeof id, "n%u", n);
        assert_int_equal(gw_directory_vn_create(&w->d, &spec, &vn, &w->error), 0);
        return vn;
}

static struct gw_nve *host_of(struct world *w, unsigned n) {
        char id[16];

        snprintf(id, sizeof id, "m%u", n);
        return gw_directory_nve(&w->d, id);
}

/* The sums, counted anew. */
static void assert_counted(const struct world *w) {
        struct gw_vn *vn = NULL;
        struct gw_nve *nve = NULL;

        while ((nve = gw_directory_nve_after(&w->d, nve ? nve->id.s : NULL))) {
                uint32_t peers = 0;

                gw_list_for_each (link, &nve->members) {
                        const struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                        peers += m->gone ? 0 : m->vn->n_members - 1;
                }
                assert_int_equal(nve->n_peers, peers);
        }
        while ((vn = gw_directory_vn_after(&w->d, vn ? vn->id.s : NULL))) {
                uint32_t full = 0;

                gw_list_for_each (link, &vn->members) {
                        const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                        full += !m->gone && !m->routes && gw_dir_item_nve(&m->item)->n_peers >= w->d.peers_max;
                }
                assert_int_equal(vn->n_full, full);
        }
}

static int setup_few(void **state) {
        struct world *w;

        world_setup(state);
        w = *state;
        w->d.peers_max = KNOWN_MAX;
        return 0;
}

/* A VN of many of which one host is a member, and one of few; each alone fits. */
static void test_no_more_than_a_host_knows(void **state) {
        struct world *w = *state;
        struct gw_vn *wide = vn_of(w, 1);
        uint64_t epoch;

        for (unsigned n = 0; n < KNOWN_MAX - 2; n++)
                member(w, n);
        for (unsigned n = 0; n < FEW; n++)
                assert_int_equal(gw_dir_member_plan(&w->d, wide, host_of(w, n)), 0);
        assert_counted(w);
        assert_int_equal(host_of(w, 0)->n_peers, KNOWN_MAX - 3 + FEW - 1);
        assert_int_equal(wide->n_full, FEW); /* a host that comes to a VN by itself is counted, and not sent away */
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text, "VN blue@default is on 9 hosts that have 40 members in all their VNs, "
                                              "the most allowed, such as m8; h1 would"));
        for (unsigned n = 0; n < FEW; n++)
                gw_dir_member_unplan(&w->d, wide, host_of(w, n));
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_counted(w);
        assert_int_equal(wide->n_full + w->blue->n_full, 0);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_counted(w);
        assert_int_equal(w->h1->n_peers, KNOWN_MAX - 2);
}

/* It is the host itself that would have to know too many. */
static void test_a_host_that_knows_enough_is_left_alone(void **state) {
        struct world *w = *state;
        struct gw_vn *wide = vn_of(w, 1);
        uint64_t epoch;

        for (unsigned n = 0; n < 20; n++)
                member(w, n);
        for (unsigned n = 20; n < 40; n++) {
                member(w, n);
                leave(w, n);
                assert_int_equal(gw_dir_member_plan(&w->d, wide, host_of(w, n)), 0);
        }
        assert_int_equal(gw_dir_member_plan(&w->d, wide, w->h1), 0);
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_counted(w);
        assert_int_equal(w->h1->n_peers, 20);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0); /* 20 and 20 */
        assert_int_equal(w->h1->n_peers, 40);
        assert_int_equal(wide->n_full, 1);
        assert_int_equal(w->blue->n_full, 1);
        gw_directory_release(&w->d, w->web, w->now);
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        member(w, 41);
        assert_counted(w);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text,
                               "h1 has 20 members in all its VNs, and VM web@default would bring 21; 40 are allowed"));
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h2, w->now, &epoch, &w->error), 0);
        assert_counted(w);
}

/* It is in every VN that is routed: none of them would grow any more. */
static void test_a_gateway_makes_no_vn_full(void **state) {
        struct world *w = *state;
        struct gw_vn *wide = vn_of(w, 1);
        struct gw_ip address = ip_of("10.1.0.1");
        struct gw_vn_spec spec = {.id = w->blue->id.s,
                                  .n_subnets = w->blue->n_subnets,
                                  .subnets = w->blue->subnets,
                                  .n_gateways = 1,
                                  .gateways = &address};
        struct gw_nve *g;
        uint64_t epoch;

        for (unsigned n = 0; n < 20; n++)
                member(w, n);
        for (unsigned n = 20; n < KNOWN_MAX + 5; n++) {
                member(w, n);
                leave(w, n);
                assert_int_equal(gw_dir_member_plan(&w->d, wide, host_of(w, n)), 0);
        }
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_int_equal(gw_directory_vn_update(&w->d, w->blue, &spec, &w->error), 0);
        assert_int_equal(gw_directory_policy_create(&w->d, "world", w->blue, NULL, false, w->now, NULL, &w->error), 0);
        g = world_gateway(w, "g1", "10.99.0.9", 1);
        assert_int_equal(gw_dir_member_plan(&w->d, wide, g),
                         0); /* a VM of the other VN is on it: there it does not route */
        assert_in_range(g->n_peers, KNOWN_MAX + 1, UINT32_MAX);
        assert_int_equal(w->blue->n_full, 0);
        assert_int_equal(wide->n_full, 1);
        assert_counted(w);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_counted(w);
        gw_directory_nve_permit(&w->d, g, GW_PERMIT_NO, GW_PERMIT_UNSAID, w->now);
        gw_directory_bye(&w->d, g, w->now);
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_counted(w);
        gw_dir_member_unplan(&w->d, wide, g);
        world_pass(w, GW_DIRECTORY_LINGER_MS + 10);
        assert_counted(w);
        assert_int_equal(g->n_peers, 0);
}

static void placed(struct world *w, const char *name, const char *vn, struct gw_nve *nve) {
        uint64_t epoch;

        assert_int_equal(gw_directory_place(&w->d, world_vm(w, name, vn), nve, w->now, &epoch, &w->error), 0);
}

/* Nobody is counted while records are loaded, and all are at the end. */
static void test_counted_when_all_is_loaded(void **state) {
        struct world *w = *state;
        struct gw_vn *wide;

        vn_of(w, 1);
        placed(w, "a", "blue", w->h1);
        placed(w, "b", "blue", w->h2);
        placed(w, "c", "n1", w->h1);
        placed(w, "d", "n1", w->h2);
        placed(w, "e", "n1", w->h3);
        world_restart(w);
        wide = gw_directory_vn(&w->d, "n1@default");
        assert_int_equal(w->h1->n_peers, 3);
        assert_int_equal(w->h3->n_peers, 2);
        assert_counted(w);
        w->d.peers_max = 3;
        gw_dir_crowd_count(&w->d);
        assert_int_equal(wide->n_full, 2);
        assert_counted(w);
        assert_int_equal(gw_dir_member_plan(&w->d, w->blue, w->h3), 0); /* counted on from there */
        assert_int_equal(wide->n_full, 3);
        assert_counted(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_all_are_told_in_parts, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_some_come_and_go_meanwhile, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_parts_that_are_lost, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_told_again, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_no_more_than_edges_hold, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_no_more_than_a_host_knows, setup_few, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_host_that_knows_enough_is_left_alone, setup_few, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_gateway_makes_no_vn_full, setup_few, world_teardown),
                cmocka_unit_test_setup_teardown(test_counted_when_all_is_loaded, setup_few, world_teardown),
        };

        return cmocka_run_group_tests_name("VNs with many members", tests, NULL, NULL);
}
