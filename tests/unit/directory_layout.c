/* SPDX-License-Identifier: Apache-2.0 */
/* How VMs, ports and bindings are kept: that each octet is accounted for, and that what is kept in few bits comes back. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/cursor.h"
#include "directory_fixture.h"

/* docs/scale.md has the sum of these. */
static void test_octets(void **state) {
        (void)state;
        assert_int_equal(sizeof(struct gw_binding), 40);
        assert_int_equal(offsetof(struct gw_vm, name), 76);
        assert_int_equal(offsetof(struct gw_port, octets), 36);
}

/* By names and tenants together, as strcmp has it: '-' before '@', '@' before letters. */
static void test_order_of_ids(void **state) {
        const char *expect[] = {"a-b@acme", "a-b@default", "a@acme",     "a@default",
                                "ab@acme",  "ab@default",  "web@default"};
        struct gw_vm_spec spec = {.kind = GW_VM_TASK};
        struct world *w = *state;
        struct gw_vm *vm = NULL;

        assert_int_equal(gw_directory_tenant_create(&w->d, "acme", NULL, NULL), 0);
        for (int i = 5; i >= 0; i--) {
                spec.id = expect[i];
                assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), 0);
                assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_EXISTS);
        }
        for (int i = 0; i < 7; i++) {
                vm = gw_directory_vm_after(&w->d, vm ? gw_vm_name(vm).s : NULL);
                assert_string_equal(gw_vm_name(vm).s, expect[i]);
                assert_ptr_equal(gw_directory_vm(&w->d, expect[i]), vm);
        }
        assert_null(gw_directory_vm_after(&w->d, "web@default"));
        assert_null(gw_directory_vm(&w->d, "a@"));
        assert_null(gw_directory_vm(&w->d, "a"));
        assert_null(gw_directory_vm(&w->d, "a@defaul"));
        assert_null(gw_directory_vm(&w->d, "a@default-"));
        assert_int_equal(gw_directory_vm_delete(&w->d, gw_directory_vm(&w->d, "a@acme"), &w->error), 0);
        assert_string_equal(gw_vm_name(gw_directory_vm_after(&w->d, "a-b@default")).s, "a@default");
}

static void test_restart_keeps_times_and_numbers(void **state) {
        struct world *w = *state;
        struct gw_binding was;
        struct gw_wall since;

        w->now.wall.ns += 123 * GW_NS_PER_MS;
        w->web->binding.reserved = GW_EPOCH_MAX - 1;
        world_serve(w, w->web, w->h1);
        was = w->web->binding;
        since = gw_binding_since(&was);
        assert_int_equal(was.epoch, GW_EPOCH_MAX);
        assert_int_equal(since.ns / GW_NS_PER_MS % 1000, 123);
        assert_true(was.sequence && was.heard);
        world_restart(w);
        assert_int_equal(w->web->binding.epoch, was.epoch);
        assert_int_equal(w->web->binding.reserved, was.reserved);
        assert_int_equal(w->web->binding.sequence, was.sequence);
        assert_int_equal(w->web->binding.timestamp, was.timestamp);
        assert_int_equal(gw_binding_since(&w->web->binding).ns, since.ns);
        assert_int_equal(gw_binding_registered_at(&w->web->binding).ns, gw_binding_registered_at(&was).ns);
        assert_int_equal(gw_binding_lifetime_ms(&w->web->binding), gw_binding_lifetime_ms(&was));
        assert_ptr_equal(gw_vm_nve(w->web), w->h1);
}

struct numbers {
        uint64_t reserved, since_ns, registered_ns;
        uint32_t lifetime_ms;
};

/* As the record of a VM that is nowhere. */
static int load_binding(struct world *w, const char *id, const struct numbers *n) {
        uint8_t octets[128];
        struct gw_writer r = gw_writer(octets, sizeof octets);

        gw_put_u8(&r, 1); /* version */
        gw_put_u8(&r, GW_BINDING_NONE);
        gw_put_u64(&r, 1);
        gw_put_u64(&r, n->reserved);
        for (int i = 0; i < 3; i++)
                gw_put_u8(&r, 0); /* no NVEs */
        gw_put_u64(&r, 0);
        gw_put_u64(&r, 0);
        gw_put_u8(&r, 1);
        gw_put_u16(&r, 65535);
        gw_put_u64(&r, UINT64_MAX);
        gw_put_u32(&r, n->lifetime_ms);
        gw_put_u64(&r, n->since_ns);
        gw_put_u64(&r, n->registered_ns);
        gw_put_u8(&r, 0);
        assert_true(r.ok);
        return gw_directory_load(&w->d, GW_RECORD_BINDING, id, strlen(id), octets, r.at, w->now, &w->error);
}

static void test_records_that_do_not_fit(void **state) {
        const struct numbers most = {GW_EPOCH_MAX, UINT32_MAX * GW_NS_PER_S, UINT32_MAX * GW_NS_PER_S,
                                     GW_LIFETIME_MAX_MS};
        struct world *w = *state;
        struct numbers n;

        n = most, n.reserved++;
        assert_int_equal(load_binding(w, "web@default", &n), GW_E_MALFORMED);
        n = most, n.lifetime_ms++;
        assert_int_equal(load_binding(w, "web@default", &n), GW_E_MALFORMED);
        n = most, n.since_ns++;
        assert_int_equal(load_binding(w, "web@default", &n), GW_E_MALFORMED);
        n = most, n.registered_ns++;
        assert_int_equal(load_binding(w, "web@default", &n), GW_E_MALFORMED);
        assert_non_null(strstr(w->error.text, "web@default"));
        assert_int_equal(load_binding(w, "web@default", &most), 0);
        assert_int_equal(w->web->binding.reserved, GW_EPOCH_MAX);
        assert_int_equal(gw_binding_lifetime_ms(&w->web->binding), GW_LIFETIME_MAX_MS);
        assert_int_equal(gw_binding_since(&w->web->binding).ns, most.since_ns);
        assert_int_equal(w->web->binding.timestamp, UINT64_MAX);
        assert_int_equal(w->web->binding.sequence, 65535);
}

static void test_too_many_vcpus(void **state) {
        struct gw_vm_spec spec = {.id = "x", .memory_mib = 1, .vcpus = 65536};
        struct world *w = *state;

        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), GW_E_INVALID);
        assert_string_equal(w->error.field, "vcpus");
        spec.vcpus--;
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), 0);
        assert_int_equal(gw_directory_vm(&w->d, "x@default")->vcpus, 65535);
}

/* A move and former places come and go beside the binding. */
static void test_what_few_bindings_have(void **state) {
        struct world *w = *state;
        uint64_t epoch, back;

        world_serve(w, w->web, w->h1);
        assert_int_equal(w->web->binding.aside.place, 0);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &epoch, &back, &w->error), 0);
        assert_int_equal(gw_vm_move(w->web)->epoch, epoch);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 0);
        gw_directory_unreserve(&w->d, w->web);
        assert_null(gw_vm_move(w->web));
        assert_int_equal(w->web->binding.aside.place, 0);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &epoch, &back, &w->error), 0);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 1);
        assert_int_equal(gw_vm_move(w->web)->back_epoch, back);
        world_restart(w);
        assert_int_equal(gw_vm_move(w->web)->back_epoch, back);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 1);
        gw_directory_unreserve(&w->d, w->web);
        assert_null(gw_vm_move(w->web));
        assert_true(gw_ip_eq(gw_binding_previous(&w->web->binding)[0].locator, w->h1->locator));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_octets),
                TEST(test_order_of_ids),
                TEST(test_restart_keeps_times_and_numbers),
                TEST(test_records_that_do_not_fit),
                TEST(test_too_many_vcpus),
                TEST(test_what_few_bindings_have),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
