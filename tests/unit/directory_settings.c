/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of VNs: what is refused, who is told, what a restart keeps, and records from before there were any. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "directory_fixture.h"

static int set(struct world *w, uint32_t flags, const char *first, const char *second) {
        struct gw_ip gateways[2] = {{{0}}};
        struct gw_vn_spec spec = {.id = "blue@default",
                                  .mtu = w->blue->mtu,
                                  .n_subnets = w->blue->n_subnets,
                                  .subnets = w->blue->subnets,
                                  .flags = flags,
                                  .gateways = gateways};

        if (first)
                gateways[spec.n_gateways++] = ip_of(first);
        if (second)
                gateways[spec.n_gateways++] = ip_of(second);
        return gw_directory_vn_update(&w->d, w->blue, &spec, &w->error);
}

static int limit(struct world *w, uint32_t neighbours, uint32_t group) {
        struct gw_vn_spec spec = {.id = "blue@default",
                                  .mtu = w->blue->mtu,
                                  .n_subnets = w->blue->n_subnets,
                                  .subnets = w->blue->subnets,
                                  .limits = {[GW_VN_LIMIT_NEIGHBOURS] = neighbours, [GW_VN_LIMIT_GROUP] = group}};

        return gw_directory_vn_update(&w->d, w->blue, &spec, &w->error);
}

/* Told like the rest, kept over a restart, and a VN without limits has the record that it always had. */
static void limits_are_told_and_kept(void **state) {
        struct world *w = *state;

        world_subscribe(w, w->h1);
        world_ack(w);
        assert_int_equal(limit(w, 50, GW_VN_NO_LIMIT), 0);
        assert_int_equal(w->n_frames, 1);
        assert_int_equal(w->settings.limits[GW_VN_LIMIT_NEIGHBOURS], 50);
        assert_int_equal(w->settings.limits[GW_VN_LIMIT_GROUP], GW_VN_NO_LIMIT);
        world_ack(w);
        assert_int_equal(limit(w, 50, GW_VN_NO_LIMIT), 0); /* nothing new */
        assert_int_equal(w->n_frames, 0);
        world_restart(w);
        assert_int_equal(w->blue->settings.limits[GW_VN_LIMIT_NEIGHBOURS], 50);
        assert_int_equal(w->blue->settings.limits[GW_VN_LIMIT_MISSES], 0);
        assert_int_equal(w->blue->settings.limits[GW_VN_LIMIT_GROUP], GW_VN_NO_LIMIT);
}

static void refusals(void **state) {
        struct world *w = *state;
        struct gw_port_spec port = {.vn = "blue", .n_ips = 1};
        struct gw_vm_spec vm = {.id = "router", .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

        assert_int_equal(set(w, 0, "10.9.0.1", NULL), GW_E_INVALID);
        assert_non_null(strstr(w->error.text, "10.9.0.1"));
        assert_int_equal(set(w, 0, "10.1.0.255", NULL), GW_E_INVALID);
        assert_int_equal(set(w, 0, "10.1.0.1", "10.1.0.1"), GW_E_INVALID);
        assert_int_equal(set(w, 0, "10.1.0.2", NULL), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text, "web@default"));
        assert_int_equal(w->blue->settings.n_gateways, 0);
        assert_int_equal(set(w, 0, "10.1.0.1", "fd00:1::1"), 0);
        port.ips[0] = ip_of("10.1.0.1");
        assert_int_equal(gw_directory_vm_create(&w->d, &vm, NULL, &w->error), GW_E_EXISTS);
        assert_non_null(strstr(w->error.text, "gateway"));
        port.ips[0] = ip_of("10.1.0.9");
        port.has_mac = true;
        port.mac = GW_GATEWAY_MAC;
        assert_int_equal(gw_directory_vm_create(&w->d, &vm, NULL, &w->error), GW_E_EXISTS);
}

static void no_vm_gets_it_by_chance(void **state) {
        struct world *w = *state;

        assert_int_equal(set(w, 0, "10.1.0.3", "fd00:1::3"), 0);
        world_vm(w, "db", "blue");
        assert_null(gw_directory_port_by_ip(&w->d, 100, ip_of("10.1.0.3")));
        assert_non_null(gw_directory_port_by_ip(&w->d, 100, ip_of("10.1.0.4")));
        assert_non_null(gw_directory_port_by_ip(&w->d, 100, ip_of("fd00:1::4")));
}

static void members_are_told(void **state) {
        struct world *w = *state;

        assert_int_equal(set(w, GW_VN_RARP, "10.1.0.1", NULL), 0);
        assert_int_equal(w->n_frames, 0);
        world_subscribe(w, w->h1); /* whoever comes is told all */
        assert_int_equal(w->settings.vni, 100);
        assert_int_equal(w->settings.flags, GW_VN_RARP);
        assert_int_equal(w->settings.n_gateways, 1);
        world_ack(w);
        memset(&w->settings, 0, sizeof w->settings);
        assert_int_equal(set(w, GW_VN_RARP, "10.1.0.1", NULL), 0); /* nothing new */
        assert_int_equal(w->n_frames, 0);
        assert_int_equal(set(w, GW_VN_ANNOUNCED, "10.1.0.1", "fd00:1::1"), 0);
        assert_int_equal(w->n_frames, 1);
        assert_int_equal(w->settings.flags, GW_VN_ANNOUNCED);
        assert_int_equal(w->settings.n_gateways, 2);
        memset(&w->settings, 0, sizeof w->settings);
        world_pass(w, 150); /* not acknowledged: again */
        assert_int_equal(w->settings.n_gateways, 2);
        world_ack(w);
        memset(&w->settings, 0, sizeof w->settings);
        world_pass(w, 1000);
        assert_int_equal(w->settings.vni, 0);
        assert_int_equal(set(w, 0, NULL, NULL), 0); /* that there are none must be told, too */
        assert_int_equal(w->settings.vni, 100);
        assert_int_equal(w->settings.n_gateways, 0);
}

static void restart_keeps_them(void **state) {
        struct world *w = *state;

        assert_int_equal(set(w, GW_VN_RARP | GW_VN_ANNOUNCED, "10.1.0.1", "fd00:1::1"), 0);
        world_restart(w);
        assert_int_equal(w->blue->settings.flags, GW_VN_RARP | GW_VN_ANNOUNCED);
        assert_int_equal(w->blue->settings.n_gateways, 2);
        assert_true(gw_ip_eq(w->blue->settings.gateways[1], ip_of("fd00:1::1")));
        assert_int_equal(w->blue->settings.vni, 100);
}

static int load(struct world *w, const uint8_t *bytes, size_t size) {
        return gw_directory_load(&w->d, GW_RECORD_VN, "old@default", 11, bytes, size, w->now, &w->error);
}

static void records(void **state) {
        static const uint8_t before[] = {1, 0, 0, 0, 9, 5, 0xdc, 0};
        static const uint8_t unknown[] = {1, 0, 0, 0, 9, 5, 0xdc, 0, 200, 0, 1, 7};
        static const uint8_t cut[] = {1, 0, 0, 0, 9, 5, 0xdc, 0, 1, 0, 4, 0, 0};
        static const uint8_t odd[] = {1, 0, 0, 0, 9, 5, 0xdc, 0, 2, 0, 3, 1, 2, 3};
        struct world *w = *state;

        assert_int_equal(load(w, unknown, sizeof unknown), GW_E_MALFORMED);
        assert_int_equal(load(w, cut, sizeof cut), GW_E_MALFORMED);
        assert_int_equal(load(w, odd, sizeof odd), GW_E_MALFORMED);
        assert_int_equal(load(w, before, sizeof before), 0);
        assert_int_equal(gw_directory_vn(&w->d, "old@default")->settings.flags, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(refusals, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(no_vm_gets_it_by_chance, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(members_are_told, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(restart_keeps_them, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(limits_are_told_and_kept, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(records, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
