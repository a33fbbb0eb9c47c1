/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: multicast groups. A data plane of two arrays beside the fixture's. */
#include "edge_fixture.h"

#include <stdio.h>
#include <stdlib.h>

static struct {
        struct gw_ip groups[256];
        size_t n, changes;
        bool snooped;
} plane;

static void fx_snoop(void *user, const struct gw_edge_attach *port, bool on) {
        (void)user, (void)port;
        plane.changes++;
        plane.snooped = on;
        if (!on)
                plane.n = 0;
}

static void fx_group(void *user, uint32_t ifindex, struct gw_ip group, bool in) {
        (void)user, (void)ifindex;
        plane.changes++;
        for (size_t i = 0; i < plane.n; i++)
                if (gw_ip_eq(plane.groups[i], group)) {
                        assert_false(in);
                        plane.groups[i] = plane.groups[--plane.n];
                        return;
                }
        assert_true(in);
        plane.groups[plane.n++] = group;
}

static bool is_in(const char *group) {
        for (size_t i = 0; i < plane.n; i++)
                if (gw_ip_eq(plane.groups[i], ip_of(group)))
                        return true;
        return false;
}

static int setup(void **state) {
        static struct world w;
        static struct gw_edge_effects effects;
        struct gw_edge_config config = {.id = name_of("h1"), .seed = {1, 2}, .snoop = true};

        memset(&plane, 0, sizeof plane);
        world_init(&w);
        effects = world_effects;
        effects.port_snoop = fx_snoop;
        effects.port_group = fx_group;
        config.locator = w.self;
        gw_edge_free(w.edge);
        if (gw_edge_new(&w.edge, &config, &effects, &w))
                return -1;
        world_serve(&w);
        *state = &w;
        return 0;
}

static int teardown(void **state) {
        world_deinit(*state);
        return 0;
}

static void said(struct world *w, const void *bytes, size_t size) {
        world_punt_bytes(w, GW_EDGE_GROUPS, 1, bytes, size);
}

enum { TO_IN = 3, TO_EX = 4, ALLOW = 5, BLOCK = 6 };

static void igmp3(struct world *w, uint8_t type, uint8_t sources, uint8_t last) {
        uint8_t f[14 + 24 + 16 + 16] = {[12] = 8,       [14] = 0x46, [23] = 2, [38] = 0x22, [45] = 1,   [46] = type,
                                        [49] = sources, [50] = 239,  [51] = 1, [52] = 1,    [53] = last};
        said(w, f, 54u + sources * 4u);
}

static void igmp2(struct world *w, uint8_t type, uint8_t last) {
        uint8_t f[14 + 24 + 8] = {
                [12] = 8, [14] = 0x46, [23] = 2, [38] = type, [42] = 239, [43] = 1, [44] = 1, [45] = last};
        said(w, f, sizeof f);
}

static void mld2(struct world *w, uint8_t type, uint8_t last) {
        uint8_t f[14 + 48 + 28] = {[12] = 0x86, [13] = 0xdd, [14] = 0x60, [54] = 58, [62] = 143,
                                   [69] = 1,    [70] = type, [74] = 0xff, [75] = 5,  [89] = last};
        said(w, f, sizeof f);
}

static void mld1(struct world *w, uint8_t type, uint8_t last) {
        uint8_t f[14 + 48 + 24] = {
                [12] = 0x86, [13] = 0xdd, [14] = 0x60, [54] = 58, [62] = type, [70] = 0xff, [71] = 5, [85] = last};
        said(w, f, sizeof f);
}

static size_t queries(const struct world *w) {
        size_t n = 0;

        for (size_t i = 0; i < w->n_down; i++)
                n += w->down[i].how == 0 && w->down[i].size > 40;
        return n;
}

static uint16_t sum_of(const uint8_t *b, size_t n, uint32_t sum) {
        for (size_t i = 0; i + 1 < n; i += 2)
                sum += (uint32_t)(b[i] << 8 | b[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
}

static void test_asks_then_closes(void **state) {
        struct world *w = *state;
        const uint8_t *igmp, *mld;

        world_pass(w, 400);
        assert_int_equal(queries(w), 0);
        world_pass(w, 800);
        assert_int_equal(queries(w), 2);
        igmp = w->down[0].bytes;
        mld = w->down[1].bytes;
        assert_int_equal(w->down[0].size, 50);
        assert_int_equal(sum_of(igmp + 14, 24, 0), 0xffff);
        assert_int_equal(sum_of(igmp + 38, 12, 0), 0xffff);
        assert_int_equal(igmp[38], 0x11);
        assert_int_equal(w->down[1].size, 90);
        assert_int_equal(mld[62], 130);
        assert_int_equal(sum_of(mld + 62, 28, sum_of(mld + 22, 32, 28 + 58)), 0xffff);
        assert_false(plane.snooped);
        world_pass(w, 8000);
        assert_true(plane.snooped);
        assert_int_equal(queries(w), 8);
        world_pass(w, 120000);
        assert_int_equal(queries(w), 8);
        world_pass(w, 20000);
        assert_int_equal(queries(w), 10);
}

static void test_reports_of_all_versions(void **state) {
        struct world *w = *state;

        igmp3(w, TO_EX, 0, 1);
        igmp3(w, ALLOW, 2, 2);
        igmp3(w, BLOCK, 2, 3);
        igmp2(w, 0x16, 4);
        igmp2(w, 0x12, 5);
        mld2(w, TO_EX, 6);
        mld1(w, 131, 7);
        assert_true(is_in("239.1.1.1") && is_in("239.1.1.2") && is_in("239.1.1.4") && is_in("239.1.1.5"));
        assert_true(is_in("ff05::6") && is_in("ff05::7"));
        assert_int_equal(plane.n, 6);
        igmp3(w, TO_IN, 0, 1);
        igmp2(w, 0x17, 4);
        mld2(w, TO_IN, 6);
        mld1(w, 132, 7);
        assert_int_equal(plane.n, 2);
        assert_int_equal(w->n_down, 11); /* each goes on to multicast routers */
        assert_int_equal(world_counter(w, GW_EDGE_C_UNPARSED), 0);
}

static void test_silence_ends_membership(void **state) {
        struct world *w = *state;

        igmp2(w, 0x16, 1);
        igmp2(w, 0x16, 2);
        world_pass(w, 200000);
        igmp2(w, 0x16, 2);
        world_pass(w, 80000);
        assert_false(is_in("239.1.1.1"));
        assert_true(is_in("239.1.1.2"));
}

static void test_a_move_brings_groups_along(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web@default");
        struct gw_error error;

        igmp2(w, 0x16, 1);
        world_pass(w, 10000);
        assert_true(plane.snooped && is_in("239.1.1.1"));
        vm = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5).vm;
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.9"), 6, &error), 0);
        assert_true(plane.snooped && is_in("239.1.1.1")); /* what follows it is still what it asked for */
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, &error), 0);
        assert_false(plane.snooped); /* as at any place where it begins to run: open until it has spoken */
        world_pass(w, 10000);
        assert_true(plane.snooped);
}

static void test_too_many_groups_open_the_port(void **state) {
        struct world *w = *state;

        world_pass(w, 10000);
        assert_true(plane.snooped);
        w->n_down = 0;
        for (int i = 0; i < 70; i++)
                igmp2(w, 0x16, (uint8_t)i);
        assert_false(plane.snooped);
        assert_int_equal(world_counter(w, GW_EDGE_C_GROUPS_FULL), 1);
        w->n_down = 0;
        world_pass(w, 20000);
        assert_false(plane.snooped);
}

/* It begins anew: the groups that it still has are in the data plane when the port closes. */
static void test_too_many_groups_pass(void **state) {
        struct world *w = *state;

        world_pass(w, 10000);
        w->n_down = 0;
        for (int i = 0; i < 70; i++)
                igmp2(w, 0x16, (uint8_t)i);
        w->n_down = 0;
        world_pass(w, 261000);
        assert_false(plane.snooped);
        w->n_down = 0;
        for (int i = 0; i < 30 && !queries(w); i++)
                world_pass(w, 500);
        assert_true(queries(w) > 0); /* asked again, as at the beginning */
        igmp2(w, 0x16, 5);
        world_pass(w, 10000);
        assert_true(plane.snooped && is_in("239.1.1.5"));
        assert_int_equal(plane.n, 1);
}

/* A VM that joins and leaves without end makes little work, also with a report full of changes in each frame. */
static void test_churn_is_bounded(void **state) {
        struct world *w = *state;
        size_t before;

        world_pass(w, 10000);
        w->n_down = 0;
        before = plane.changes;
        for (int i = 0; i < 20000; i++) {
                igmp2(w, i % 2 ? 0x17 : 0x16, 1);
                w->n_down = 0;
        }
        assert_in_range(plane.changes - before, 500, 520);
        assert_false(plane.snooped);
        assert_int_equal(plane.n, 0);
        before = plane.changes;
        for (int i = 0; i < 20000; i++) {
                igmp2(w, 0x16, (uint8_t)(i % 200));
                w->n_down = 0;
        }
        assert_int_equal(plane.changes, before);
        world_pass(w, 400000);
        assert_true(plane.snooped);
}

static void test_chance_is_survived(void **state) {
        struct world *w = *state;
        uint8_t f[120];

        srand(7);
        for (int i = 0; i < 20000; i++) {
                size_t size = 14 + (size_t)rand() % (sizeof f - 14);
                for (size_t k = 0; k < sizeof f; k++)
                        f[k] = (uint8_t)(rand() % 3 ? rand() : 0);
                f[12] = rand() % 2 ? 8 : 0x86;
                f[13] = f[12] == 8 ? 0 : 0xdd;
                f[14] = (uint8_t)(f[12] == 8 ? 0x45 + rand() % 3 : 0x60);
                f[23] = 2;
                f[54] = 58;
                f[62] = (uint8_t)(130 + rand() % 14);
                said(w, f, size);
                w->n_down = 0;
        }
        assert_true(plane.n <= 64);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_asks_then_closes, setup, teardown),
                cmocka_unit_test_setup_teardown(test_reports_of_all_versions, setup, teardown),
                cmocka_unit_test_setup_teardown(test_silence_ends_membership, setup, teardown),
                cmocka_unit_test_setup_teardown(test_a_move_brings_groups_along, setup, teardown),
                cmocka_unit_test_setup_teardown(test_too_many_groups_open_the_port, setup, teardown),
                cmocka_unit_test_setup_teardown(test_too_many_groups_pass, setup, teardown),
                cmocka_unit_test_setup_teardown(test_churn_is_bounded, setup, teardown),
                cmocka_unit_test_setup_teardown(test_chance_is_survived, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
