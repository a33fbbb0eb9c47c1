/* SPDX-License-Identifier: Apache-2.0 */
/* Host routes from pairs of addresses, and heartbeats: the pure parts of a default router and of a Mobility Header edge. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "edge/heartbeat.h"
#include "route/host.h"

struct world {
        struct gw_host_routes routes;
        struct gw_mono now;
        struct gw_ip set[8], towards[8], del[8];
        size_t n_set, n_del;
        int result;
};

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static int fx_set(void *user, struct gw_ip old, struct gw_ip towards) {
        struct world *w = user;

        w->set[w->n_set] = old;
        w->towards[w->n_set++] = towards;
        return w->result;
}
static void fx_del(void *user, struct gw_ip old) {
        struct world *w = user;

        w->del[w->n_del++] = old;
}
static const struct gw_host_route_effects effects = {.set = fx_set, .del = fx_del};

static void begin(struct world *w) {
        static const uint64_t seed[2] = {1, 2};

        memset(w, 0, sizeof *w);
        w->now.ns = GW_NS_PER_S;
        assert_int_equal(gw_host_routes_init(&w->routes, seed, &effects, w), 0);
}

static struct gw_registration notice(const char *old, const char *new, const char *place, uint64_t epoch) {
        struct gw_registration r = {.kind = GW_REG_REQUEST,
                                    .flags = GW_MH_REQUEST_USUAL,
                                    .lifetime_units = 10,
                                    .has = GW_REG_HAS_VM | GW_REG_HAS_EPOCH,
                                    .vm = {"web@default"},
                                    .epoch = epoch,
                                    .n_addrs6 = 2};

        r.addrs6[0] = (struct gw_prefix){ip_of(old), 128};
        r.addrs6[1] = (struct gw_prefix){ip_of(new), 128};
        if (place) {
                r.has |= GW_REG_HAS_SERVING;
                r.serving = ip_of(place);
        }
        return r;
}

static uint8_t say(struct world *w, const struct gw_registration *r) {
        return gw_host_routes_notice(&w->routes, w->now, r);
}

static void test_routes(void **state) {
        struct gw_registration r = notice("fd00::1", "fd00::1", "fd99::2", 2);
        struct world w;

        (void)state;
        begin(&w);
        assert_int_equal(say(&w, &r), 0);
        assert_true(gw_ip_eq(w.towards[0], ip_of("fd99::2")));
        r = notice("fd00::1", "fd00::9", NULL, 3); /* no place: by way of the new address */
        assert_int_equal(say(&w, &r), 0);
        assert_true(gw_ip_eq(w.towards[1], ip_of("fd00::9")));
        r = notice("fd00::1", "fd00::1", "fd99::2", 2);
        assert_int_equal(say(&w, &r), GW_MH_TIMESTAMP_LOWER);
        r = notice("fd00::2", "fd00::2", NULL, 3); /* to nowhere */
        assert_int_equal(say(&w, &r), GW_MH_REJECTED);
        r.n_addrs6 = 1;
        assert_int_equal(say(&w, &r), GW_MH_REJECTED);
        r = notice("fd00::1", "fd00::1", "fd99::2", 9);
        r.vm = (struct gw_name){"thief@default"};
        assert_int_equal(say(&w, &r), GW_MH_PREFIX_NOT_AUTHORIZED);
        assert_int_equal(w.routes.table.count, 1);
        w.now.ns += 39 * GW_NS_PER_S;
        gw_host_routes_tick(&w.routes, w.now);
        assert_int_equal(w.n_del, 0);
        w.now.ns += 2 * GW_NS_PER_S;
        gw_host_routes_tick(&w.routes, w.now);
        assert_int_equal(w.n_del, 1);
        assert_int_equal(w.routes.table.count, 0);
        gw_host_routes_deinit(&w.routes);
}

static void test_kernel_refuses(void **state) {
        struct gw_registration r = notice("fd00::1", "fd00::1", "fd99::2", 2);
        struct world w;

        (void)state;
        begin(&w);
        w.result = -EHOSTUNREACH;
        assert_int_equal(say(&w, &r), GW_MH_NO_RESOURCES);
        assert_int_equal(w.routes.table.count, 0);
        assert_int_equal(w.routes.n_failed, 1);
        r.lifetime_units = 0; /* nothing to remove is no fault */
        assert_int_equal(say(&w, &r), 0);
        gw_host_routes_deinit(&w.routes);
}

static void test_heartbeats(void **state) {
        struct gw_heartbeat h = {.interval_ms = 1000};
        struct gw_mono now = {GW_NS_PER_S};
        bool lost;

        (void)state;
        assert_true(gw_heartbeat_tick(&h, now, &lost));
        assert_false(gw_heartbeat_tick(&h, now, &lost));
        assert_int_equal(gw_heartbeat_answer(&h, 5, 1), GW_HEARTBEAT_STRAY);
        assert_int_equal(gw_heartbeat_answer(&h, 1, 7), GW_HEARTBEAT_NOTHING);
        assert_int_equal(gw_heartbeat_answer(&h, 1, 8), GW_HEARTBEAT_STRAY); /* answered already */
        for (int i = 0; i < 4; i++) {
                now.ns += GW_NS_PER_S;
                assert_true(gw_heartbeat_tick(&h, now, &lost));
                assert_int_equal(lost, i == 3);
        }
        assert_int_equal(gw_heartbeat_answer(&h, h.sequence, 7), GW_HEARTBEAT_BACK);
        now.ns += GW_NS_PER_S;
        assert_true(gw_heartbeat_tick(&h, now, &lost));
        assert_int_equal(gw_heartbeat_answer(&h, h.sequence, 6), GW_HEARTBEAT_RESTARTED);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_routes), cmocka_unit_test(test_kernel_refuses),
                                           cmocka_unit_test(test_heartbeats)};

        return cmocka_run_group_tests_name("route_host", tests, NULL, NULL);
}
