/* SPDX-License-Identifier: Apache-2.0 */
/* The directory's registry: what may be made, and what is refused with which words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory_fixture.h"

static struct gw_prefix prefix_of(const char *text) {
        struct gw_prefix p;

        assert_int_equal(gw_prefix_parse(text, &p), 0);
        return p;
}

static int make_vn(struct world *w, const char *id, uint32_t vni, uint16_t mtu, const char *subnet) {
        struct gw_prefix p = subnet ? prefix_of(subnet) : (struct gw_prefix){0};
        struct gw_vn_spec spec = {.id = id, .vni = vni, .mtu = mtu, .n_subnets = subnet != NULL, .subnets = &p};

        return gw_directory_vn_create(&w->d, &spec, NULL, &w->error);
}

static void test_vn_refusals(void **state) {
        static const struct {
                const char *id;
                uint32_t vni;
                uint16_t mtu;
                const char *subnet;
                int code;
                const char *field, *says;
        } table[] = {
                {"Red", 0, 0, NULL, GW_E_INVALID, "name", "Red"},
                {"red@nobody", 0, 0, NULL, GW_E_NOT_FOUND, "tenant", "nobody"},
                {"blue", 0, 0, NULL, GW_E_EXISTS, "name", "blue@default"},
                {"red", 100, 0, NULL, GW_E_EXISTS, "vni", "blue@default"},
                {"red", 0x1000000, 0, NULL, GW_E_INVALID, "vni", "16777215"},
                {"red", 0, 500, NULL, GW_E_INVALID, "mtu", "576 to 65000"},
                {"red", 0, 1279, "fd00:9::/64", GW_E_INVALID, "mtu", "1280"},
                {"red", 0, 0, "10.1.0.128/25", GW_E_CONFLICT, "subnets", "10.1.0.0/24 of VN blue@default"},
                {"red", 0, 0, "fd00::/16", GW_E_CONFLICT, "subnets", "fd00:1::/64"},
                {"red", 0, 0, "0.0.0.0/0", GW_E_INVALID, "subnets", "too large"},
                {"red", 0, 0, "::/0", GW_E_INVALID, "subnets", "too large"},
                {"red", 0, 0, "224.0.0.0/24", GW_E_INVALID, "subnets", "unicast"},
                {"red", 0, 0, "ff02::/64", GW_E_INVALID, "subnets", "unicast"},
        };
        struct world *w = *state;
        size_t stored = w->n_stores;

        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                int r = make_vn(w, table[i].id, table[i].vni, table[i].mtu, table[i].subnet);

                if (r != table[i].code || strcmp(w->error.field, table[i].field) != 0 ||
                    !strstr(w->error.text, table[i].says))
                        fail_msg("row %zu: %d %s: %s", i, r, w->error.field, w->error.text);
        }
        assert_int_equal(w->n_stores, stored);
        assert_null(gw_directory_vn(&w->d, "red@default"));
}

static struct gw_nve *hello_mtu(struct world *w, const char *id, const char *locator, uint32_t underlay_mtu) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .locator = ip_of(locator), .underlay_mtu = underlay_mtu};
        struct gw_nve *nve;

        assert_int_equal(gw_name_parse(id, &hello.id), 0);
        assert_int_equal(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error), 0);
        return nve;
}

static uint16_t mtu_of_new(struct world *w, const char *id) {
        struct gw_vn_spec spec = {.id = id};
        struct gw_vn *vn;

        assert_int_equal(gw_directory_vn_create(&w->d, &spec, &vn, &w->error), 0);
        return vn->mtu;
}

static void test_mtu_follows_the_underlay(void **state) {
        struct world *w = *state;

        assert_int_equal(mtu_of_new(w, "unknown"), GW_VN_MTU_DEFAULT);
        hello_mtu(w, "h1", "10.99.0.1", 9000);
        hello_mtu(w, "h2", "10.99.0.2", 1600);
        assert_int_equal(mtu_of_new(w, "mixed"), 1600 - 70); /* h3 is at an IPv6 locator */
        hello_mtu(w, "h3", "10.99.0.3", 65536);
        assert_int_equal(mtu_of_new(w, "v4"), 1600 - 50);
        assert_int_equal(make_vn(w, "fits", 0, 1550, NULL), 0);
        assert_int_equal(make_vn(w, "larger", 0, 1551, NULL), GW_E_INVALID);
        assert_string_equal(w->error.text,
                            "mtu 1551 does not fit: the underlay of h2 carries 1600, which leaves 1550 for VMs");
        gw_directory_bye(&w->d, w->h2, w->now); /* what is away counts */
        world_restart(w);                       /* and is remembered */
        assert_int_equal(mtu_of_new(w, "again"), 1550);
        hello_mtu(w, "h2", "10.99.0.2", 1300);
        assert_int_equal(make_vn(w, "narrow", 0, 0, "fd00:9::/64"), GW_E_INVALID);
        assert_non_null(strstr(w->error.text, "mtu 1280 does not fit"));
        assert_int_equal(mtu_of_new(w, "ipv4"), 1250);
        hello_mtu(w, "h2", "10.99.0.2", 0); /* an older one, which does not tell */
        assert_int_equal(mtu_of_new(w, "kept"), 1250);
}

static void test_vm_stays_off_a_narrow_underlay(void **state) {
        struct world *w = *state;
        uint64_t epoch, back;

        hello_mtu(w, "h2", "10.99.0.2", 1400);
        assert_string_equal(w->note, "nve=h2 underlay_mtu=1400 is too small for vn=blue@default mtu=1430");
        assert_int_equal(gw_directory_fits(&w->d, w->web, w->h2, &w->error), GW_E_CONFLICT);
        assert_string_equal(w->error.text, "the underlay of h2 carries 1400 octets, too few for VN blue@default with "
                                           "its mtu of 1430: raise it to 1480 there");
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h2, w->now, &epoch, &w->error), GW_E_CONFLICT);
        world_serve(w, w->web, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &epoch, &back, &w->error), GW_E_CONFLICT);
        hello_mtu(w, "h2", "10.99.0.2", 1480);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &epoch, &back, &w->error), 0);
        hello_mtu(w, "h3", "fd99::3", 1499);
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(gw_directory_fits(&w->d, w->web, w->h3, &w->error), GW_E_CONFLICT);
        hello_mtu(w, "h3", "fd99::3", 1500);
        assert_int_equal(gw_directory_fits(&w->d, w->web, w->h3, &w->error), 0);
}

static void test_vn_of_other_tenant_may_overlap(void **state) {
        struct world *w = *state;

        assert_int_equal(gw_directory_tenant_create(&w->d, "acme", NULL, &w->error), 0);
        assert_int_equal(make_vn(w, "blue@acme", 0, 0, "10.1.0.0/24"), 0);
        assert_int_equal(gw_directory_vn(&w->d, "blue@acme")->vni, GW_VNI_AUTO_FIRST);
        assert_int_equal(make_vn(w, "red@acme", 0, 0, NULL), 0);
        assert_int_equal(gw_directory_vn(&w->d, "red@acme")->vni, GW_VNI_AUTO_FIRST + 1);
        assert_int_equal(gw_directory_vn_delete(&w->d, gw_directory_vn(&w->d, "blue@acme"), NULL), 0);
        assert_int_equal(make_vn(w, "green@acme", 0, 0, NULL), 0);
        assert_int_equal(gw_directory_vn(&w->d, "green@acme")->vni, GW_VNI_AUTO_FIRST);
        assert_int_equal(gw_directory_tenant_delete(&w->d, gw_directory_tenant(&w->d, "acme"), &w->error),
                         GW_E_CONFLICT);
}

static void test_vn_in_use_is_not_deleted(void **state) {
        struct world *w = *state;
        struct gw_vn_spec none = {.id = "blue"};

        assert_int_equal(gw_directory_vn_delete(&w->d, w->blue, &w->error), GW_E_CONFLICT);
        assert_int_equal(gw_directory_vn_update(&w->d, w->blue, &none, &w->error), GW_E_CONFLICT);
        assert_int_equal(w->blue->n_subnets, 2);
        assert_int_equal(gw_directory_vm_delete(&w->d, w->web, &w->error), 0);
        assert_int_equal(gw_directory_vn_update(&w->d, w->blue, &none, &w->error), 0);
        assert_int_equal(gw_directory_vn_delete(&w->d, w->blue, &w->error), 0);
        world_restart(w);
        assert_null(w->blue);
        assert_null(w->web);
}

static int make_port(struct world *w, const char *name, const char *mac, const char *ip, const char *ip2) {
        struct gw_port_spec port = {.vn = "blue"};
        struct gw_vm_spec spec = {.id = name, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

        if (mac)
                port.has_mac = gw_mac_parse(mac, &port.mac) == 0;
        if (ip)
                port.ips[port.n_ips++] = ip_of(ip);
        if (ip2)
                port.ips[port.n_ips++] = ip_of(ip2);
        return gw_directory_vm_create(&w->d, &spec, NULL, &w->error);
}

static void test_port_refusals(void **state) {
        static const struct {
                const char *mac, *ip, *ip2;
                int code;
                const char *field;
        } table[] = {
                {"01:00:5e:00:00:01", NULL, NULL, GW_E_INVALID, "ports[0].mac"},
                {"00:00:00:00:00:00", NULL, NULL, GW_E_INVALID, "ports[0].mac"},
                {"52:54:00:aa:aa:aa", NULL, NULL, GW_E_EXISTS, "ports[0].mac"},
                {NULL, "10.2.0.1", NULL, GW_E_INVALID, "ports[0].addresses[0]"},
                {NULL, "10.1.0.0", NULL, GW_E_INVALID, "ports[0].addresses[0]"},
                {NULL, "10.1.0.255", NULL, GW_E_INVALID, "ports[0].addresses[0]"},
                {NULL, "fd00:1::", NULL, GW_E_INVALID, "ports[0].addresses[0]"},
                {NULL, "10.1.0.9", "10.1.0.77", GW_E_EXISTS, "ports[0].addresses[1]"},
                {NULL, "10.1.0.9", "10.1.0.9", GW_E_INVALID, "ports[0].addresses[1]"},
        };
        struct world *w = *state;

        assert_int_equal(make_port(w, "taken", "52:54:00:aa:aa:aa", "10.1.0.77", NULL), 0);
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
                int r = make_port(w, "bad", table[i].mac, table[i].ip, table[i].ip2);

                if (r != table[i].code || strcmp(w->error.field, table[i].field) != 0)
                        fail_msg("row %zu: %d %s: %s", i, r, w->error.field, w->error.text);
                assert_null(gw_directory_vm(&w->d, "bad@default"));
        }
        assert_int_equal(w->blue->n_ports, 2);
        assert_int_equal(make_port(w, "good", NULL, "fd00:1::ffff:ffff:ffff:ffff", "10.1.0.9"), 0);
}

static void test_vm_refusals(void **state) {
        struct gw_port_spec ports[2] = {{.vn = "blue"}, {.vn = "nowhere"}};
        struct gw_vm_spec spec = {.id = "x", .memory_mib = 1, .vcpus = 1, .n_ports = 2, .ports = ports};
        struct world *w = *state;
        char long_id[80] = "a23456789b23456789c23456789d23456789e23456789f23456789@default";

        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_NOT_FOUND);
        assert_string_equal(w->error.field, "ports[1].vn");
        assert_int_equal(w->blue->n_ports, 1);
        spec.n_ports = 1;
        spec.memory_mib = 0;
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_INVALID);
        spec.memory_mib = 1;
        spec.id = "web";
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_EXISTS);
        spec.id = long_id;
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_INVALID);
        assert_string_equal(w->error.field, "name");
        assert_int_equal(gw_directory_tenant_create(&w->d, "acme", NULL, NULL), 0);
        spec.id = "x@acme";
        ports[0].vn = "blue@default";
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_REFUSED);
}

static void test_automatic_addresses(void **state) {
        struct world *w = *state;
        struct gw_vm *a, *b;
        struct gw_mac mac;

        assert_true(gw_ip_eq(gw_port_ip(gw_vm_ports(w->web), 0), ip_of("10.1.0.2")));
        assert_true(gw_ip_eq(gw_port_ip(gw_vm_ports(w->web), 1), ip_of("fd00:1::2")));
        a = world_vm(w, "a", "blue");
        b = world_vm(w, "b", "blue@default");
        mac = gw_vm_ports(a)->mac;
        assert_int_equal(mac.b[0], 0x52);
        assert_true(gw_ip_eq(gw_port_ip(gw_vm_ports(b), 0), ip_of("10.1.0.4")));
        assert_int_equal(gw_directory_vm_delete(&w->d, a, NULL), 0);
        assert_null(gw_directory_port_by_ip(&w->d, 100, ip_of("10.1.0.3")));
        a = world_vm(w, "a", "blue");
        assert_true(gw_mac_eq(gw_vm_ports(a)->mac, mac));
        assert_true(gw_ip_eq(gw_port_ip(gw_vm_ports(a), 0), ip_of("10.1.0.3")));
        assert_ptr_equal(gw_directory_port_by_mac(&w->d, 100, mac), gw_vm_ports(a));
        assert_ptr_equal(gw_directory_port_by_ip(&w->d, 100, ip_of("fd00:1::3")), gw_vm_ports(a));
        assert_ptr_equal(gw_directory_port(&w->d, "a-0@default"), gw_vm_ports(a));
        assert_null(gw_directory_port(&w->d, "a-1@default"));
        assert_null(gw_directory_port(&w->d, "a-00@default"));
        assert_null(gw_directory_port(&w->d, "-0@default"));
        assert_null(gw_directory_port(&w->d, ""));
}

static void test_subnet_runs_full(void **state) {
        struct world *w = *state;
        char name[16];

        assert_int_equal(make_vn(w, "tiny", 0, 0, "10.9.0.0/29"), 0);
        for (int i = 0; i < 5; i++) {
                snprintf(name, sizeof name, "t%d", i);
                world_vm(w, name, "tiny");
        }
        struct gw_port_spec port = {.vn = "tiny"};
        struct gw_vm_spec spec = {.id = "t5", .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_FULL);
        assert_string_equal(w->error.field, "ports[0].addresses");
        assert_int_equal(make_vn(w, "pair", 0, 0, "10.8.0.0/31"), 0);
        port.vn = "pair";
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), 0);
        assert_non_null(gw_directory_port_by_ip(&w->d, gw_directory_vn(&w->d, "pair@default")->vni, ip_of("10.8.0.0")));
}

static void test_nve_refusals(void **state) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .id = {"h9"}, .locator = ip_of("10.99.0.1")};
        struct world *w = *state;
        struct gw_nve *nve;
        struct gw_ip any = ip_of("10.99.0.2"), zero = {0};

        assert_int_equal(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error), GW_E_EXISTS);
        assert_null(gw_directory_nve(&w->d, "h9"));
        hello.locator = ip_of("224.0.0.1");
        assert_int_equal(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error), GW_E_INVALID);
        assert_int_equal(gw_directory_nve_create(&w->d, "h8", &any, NULL, &w->error), GW_E_EXISTS);
        assert_int_equal(gw_directory_nve_create(&w->d, "h8", &zero, NULL, &w->error), GW_E_INVALID);
        assert_int_equal(gw_directory_nve_create(&w->d, "h8", NULL, NULL, &w->error), 0);
        assert_int_equal(gw_directory_nve_create(&w->d, "h8", NULL, NULL, &w->error), GW_E_EXISTS);
        assert_int_equal(gw_directory_nve_delete(&w->d, gw_directory_nve(&w->d, "h8"), &w->error), 0);
        assert_int_equal(gw_directory_nve_delete(&w->d, w->h1, &w->error), GW_E_CONFLICT);
}

static void test_order_of_names(void **state) {
        const char *expect[] = {"a@default", "b@default", "web@default"};
        struct world *w = *state;
        struct gw_vm *vm = NULL;
        int n = 0;

        world_vm(w, "b", "blue");
        world_vm(w, "a", "blue");
        while ((vm = gw_directory_vm_after(&w->d, vm ? gw_vm_name(vm).s : NULL)))
                assert_string_equal(gw_vm_name(vm).s, expect[n++]);
        assert_int_equal(n, 3);
        assert_string_equal(gw_vm_name(gw_directory_vm_after(&w->d, "aa")).s, "b@default");
}

static void test_restart_keeps_objects(void **state) {
        struct gw_port_spec ports[2] = {{.vn = "blue", .device = "tap9"},
                                        {.vn = "blue", .no_addresses = true, .allow = 5}};
        struct gw_vm_spec spec = {
                .id = "task", .kind = GW_VM_TASK, .on_crash = GW_ON_CRASH_STOP, .n_ports = 2, .ports = ports};
        struct world *w = *state;
        struct gw_mac mac;
        struct gw_vm *vm;
        void *definition;
        size_t size;

        assert_int_equal(gw_directory_vm_create(&w->d, &spec, &vm, &w->error), 0);
        assert_int_equal(gw_directory_vm_set_desired(&w->d, vm, GW_VM_RUN), 0);
        assert_int_equal(gw_directory_vm_set_state(&w->d, vm, GW_VM_RUNNING), 0);
        mac = gw_port_next(gw_vm_ports(vm))->mac;
        world_restart(w);
        vm = gw_directory_vm(&w->d, "task@default");
        assert_non_null(vm);
        assert_int_equal(vm->kind, GW_VM_TASK);
        assert_int_equal(vm->desired, GW_VM_RUN);
        assert_int_equal(vm->state, GW_VM_RUNNING);
        assert_int_equal(vm->on_crash, GW_ON_CRASH_STOP);
        assert_int_equal(vm->n_ports, 2);
        assert_string_equal(gw_port_device(gw_vm_ports(vm)), "tap9");
        assert_int_equal(gw_vm_ports(vm)->n_ips, 2);
        assert_int_equal(gw_port_next(gw_vm_ports(vm))->n_ips, 0);
        assert_int_equal(gw_vm_ports(vm)->allow, 0);
        assert_int_equal(gw_port_next(gw_vm_ports(vm))->allow, 5);
        assert_true(gw_mac_eq(gw_port_next(gw_vm_ports(vm))->mac, mac));
        assert_int_equal(w->web->memory_mib, 128);
        assert_int_equal(gw_directory_definition(w->web, &definition, &size), 0);
        assert_int_equal(size, 2);
        assert_memory_equal(definition, "{}", 2);
        free(definition);
        assert_int_equal(w->h1->capacity_memory_mib, 1024);
        assert_false(w->h1->nve_connected);
        assert_int_equal(w->blue->n_subnets, 2);
        /* A chosen address is not chosen again. */
        vm = world_vm(w, "late", "blue");
        assert_true(gw_ip_eq(gw_port_ip(gw_vm_ports(vm), 0), ip_of("10.1.0.4")));
}

static size_t fetch_nothing(enum gw_record table, const void *key, size_t nkey, void *out, size_t room, void *user) {
        (void)table, (void)key, (void)nkey, (void)out, (void)room, (void)user;
        return 0;
}

/* A store that cannot be read at that moment costs nobody his definition, which is there alone. */
static void test_unreadable_definition_is_not_overwritten(void **state) {
        struct world *w = *state;
        struct gw_directory_effects blind = *w->d.effects;
        const struct gw_directory_effects *sighted = w->d.effects;
        void *definition;
        size_t size;

        blind.fetch = fetch_nothing;
        w->d.effects = &blind;
        assert_true(gw_directory_vm_set_state(&w->d, w->web, GW_VM_RUNNING) < 0);
        assert_int_equal(w->web->state, GW_VM_STOPPED);
        assert_true(gw_directory_vm_set_desired(&w->d, w->web, GW_VM_RUN) < 0);
        assert_int_equal(w->web->desired, GW_VM_STOP);
        w->d.effects = sighted;
        assert_int_equal(gw_directory_vm_set_state(&w->d, w->web, GW_VM_RUNNING), 0);
        assert_int_equal(gw_directory_definition(w->web, &definition, &size), 0);
        assert_int_equal(size, 2);
        free(definition);
}

static void test_damaged_records_do_not_load(void **state) {
        static const uint8_t junk[] = {1, 0, 0, 0};
        static const uint8_t newer[] = {2};
        struct world *w = *state;

        for (enum gw_record t = GW_RECORD_VN; t <= GW_RECORD_BINDING; t++) {
                assert_int_equal(gw_directory_load(&w->d, t, "x", 1, junk, sizeof junk, w->now, &w->error),
                                 GW_E_MALFORMED);
                assert_int_equal(gw_directory_load(&w->d, t, "x", 1, newer, 1, w->now, &w->error), GW_E_MALFORMED);
                assert_int_equal(gw_directory_load(&w->d, t, "x", 1, NULL, 0, w->now, &w->error), GW_E_MALFORMED);
        }
        assert_non_null(strstr(w->error.text, "binding"));
}

static void test_ports_come_and_go(void **state) {
        struct gw_port_spec spec = {.vn = "blue"};
        struct world *w = *state;
        struct gw_port *port;
        uint64_t epoch;

        assert_int_equal(gw_directory_port_add(&w->d, w->web, &spec, &port, &w->error), 0);
        assert_string_equal(gw_port_id(port).s, "web-1@default");
        assert_int_equal(gw_directory_port_remove(&w->d, gw_vm_ports(w->web), &w->error), 0);
        assert_int_equal(w->web->n_ports, 1);
        assert_int_equal(gw_directory_port_add(&w->d, w->web, &spec, &port, &w->error), 0);
        assert_string_equal(gw_port_id(port).s, "web-0@default");
        assert_ptr_equal(gw_vm_ports(w->web), port);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(gw_directory_port_add(&w->d, w->web, &spec, &port, &w->error), GW_E_CONFLICT);
        assert_int_equal(gw_directory_port_remove(&w->d, port, &w->error), GW_E_CONFLICT);
        assert_int_equal(gw_directory_vm_delete(&w->d, w->web, &w->error), GW_E_CONFLICT);
        world_restart(w);
        assert_int_equal(w->web->n_ports, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_vn_refusals),
                TEST(test_mtu_follows_the_underlay),
                TEST(test_vm_stays_off_a_narrow_underlay),
                TEST(test_vn_of_other_tenant_may_overlap),
                TEST(test_vn_in_use_is_not_deleted),
                TEST(test_port_refusals),
                TEST(test_vm_refusals),
                TEST(test_automatic_addresses),
                TEST(test_subnet_runs_full),
                TEST(test_nve_refusals),
                TEST(test_order_of_names),
                TEST(test_restart_keeps_objects),
                TEST(test_unreadable_definition_is_not_overwritten),
                TEST(test_damaged_records_do_not_load),
                TEST(test_ports_come_and_go),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
