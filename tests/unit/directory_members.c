/* SPDX-License-Identifier: Apache-2.0 */
/* VNs with thousands of members: the list takes several frames, and is complete when it says so, whatever happens meanwhile. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

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

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_all_are_told_in_parts, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_some_come_and_go_meanwhile, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_parts_that_are_lost, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_told_again, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_no_more_than_edges_hold, setup, world_teardown),
        };

        return cmocka_run_group_tests_name("VNs with many members", tests, NULL, NULL);
}
