/* SPDX-License-Identifier: Apache-2.0 */
/* Bindings: placement, moves, epochs, and which registrations are accepted. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "directory_fixture.h"

/* web serves at h1 with epoch 1; a move to h2 is reserved with 2 and 3. */
static void begin_move(struct world *w) {
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        assert_int_equal(to, 2);
        assert_int_equal(back, 3);
}

static int register_at(struct world *w, struct gw_nve *nve, uint64_t epoch) {
        struct gw_registration request = world_request(w, w->web, epoch);

        return world_register(w, nve, &request, NULL);
}

static void test_place_and_register(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;
        uint64_t epoch;

        assert_int_equal(register_at(w, w->h1, 1), GW_MH_PROXY_NOT_ENABLED); /* it is nowhere */
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(epoch, 1);
        assert_int_equal(w->web->binding.state, GW_BINDING_PLACED);
        assert_int_equal(w->h1->used_memory_mib, 128);
        assert_int_equal(register_at(w, w->h2, 1), GW_MH_PROHIBITED);
        assert_int_equal(register_at(w, w->h1, 2), GW_MH_PROHIBITED);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 60000;
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.lifetime_units, 900);
        assert_int_equal(reply.kind, GW_REG_REPLY);
        assert_int_equal(reply.flags, GW_MH_REPLY_PROXY);
        assert_int_equal(reply.sequence, request.sequence);
        assert_true(reply.timestamp == request.timestamp);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
}

static void test_malformed_requests(void **state) {
        struct world *w = *state;
        struct gw_registration good, bad;

        world_serve(w, w->web, w->h1);
        good = world_request(w, w->web, 1);
        bad = good;
        bad.flags = GW_MH_REQUEST_ACK;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_PROHIBITED);
        bad = good;
        bad.has &= ~(uint32_t)GW_REG_HAS_VM;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_MISSING_IDENTIFIER);
        bad = good;
        bad.has &= ~(uint32_t)GW_REG_HAS_HANDOFF;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_MISSING_HANDOFF);
        bad = good;
        bad.has &= ~(uint32_t)GW_REG_HAS_ACCESS;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_MISSING_ACCESS_TYPE);
        bad = good;
        bad.vm.s[0] = 'x';
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_NOT_SERVED_HERE);
        bad = good;
        bad.macs[0].b[5] ^= 1;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_PREFIX_NOT_AUTHORIZED);
        bad = good;
        bad.addrs6[0].ip = ip_of("fd00:1::77");
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_PREFIX_NOT_AUTHORIZED);
        bad = good;
        bad.addrs6[0].bits = 64;
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_PREFIX_NOT_AUTHORIZED);
        bad = good;
        bad.addrs4[0].ip = ip_of("10.1.0.77");
        assert_int_equal(world_register(w, w->h1, &bad, NULL), GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
        assert_int_equal(world_register(w, w->h1, &good, NULL), 0);
}

static void test_order_of_requests(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;
        uint16_t last;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        assert_int_equal(world_register(w, w->h1, &request, &reply), GW_MH_TIMESTAMP_MISMATCH);
        assert_true(reply.timestamp == gw_registration_stamp(w->now.wall));
        request.timestamp--;
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_TIMESTAMP_LOWER);
        request.has &= ~(uint32_t)GW_REG_HAS_TIMESTAMP;
        last = request.sequence;
        assert_int_equal(world_register(w, w->h1, &request, &reply), GW_MH_SEQUENCE_OUT_OF_WINDOW);
        assert_int_equal(reply.sequence, last);
        request.sequence = (uint16_t)(last + 0x8000);
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_SEQUENCE_OUT_OF_WINDOW);
        request.sequence = (uint16_t)(last + 0x7fff);
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        world_restart(w); /* replay is refused after a restart too */
        world_hello(w, "h1", "10.99.0.1");
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_SEQUENCE_OUT_OF_WINDOW);
}

static void test_capacity(void **state) {
        struct world *w = *state;
        struct gw_vm *other = world_vm(w, "other", "blue");
        uint64_t to, back;

        gw_directory_nve_capacity(&w->d, w->h2, 200, 8);
        world_serve(w, w->web, w->h2);
        world_serve(w, other, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, other, w->h2, w->now, &to, &back, &w->error), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text, "128 of 200 MiB"));
        assert_int_equal(gw_directory_reserve(&w->d, other, w->h1, w->now, &to, &back, &w->error), GW_E_CONFLICT);
        gw_directory_nve_hv(&w->d, w->h3, false);
        assert_int_equal(gw_directory_reserve(&w->d, other, w->h3, w->now, &to, &back, &w->error), GW_E_CONFLICT);
        assert_non_null(strstr(w->error.text, "godwit-hv"));
        gw_directory_bye(&w->d, w->h3, w->now);
        assert_int_equal(gw_directory_place(&w->d, other, w->h3, w->now, &to, &w->error), GW_E_CONFLICT);
        gw_directory_release(&w->d, w->web, w->now);
        assert_int_equal(w->h2->used_memory_mib, 0);
        assert_int_equal(w->h2->n_vms, 0);
        assert_int_equal(gw_directory_reserve(&w->d, other, w->h2, w->now, &to, &back, &w->error), 0);
        assert_int_equal(w->h2->used_vcpus, 1);
}

static void test_move(void **state) {
        struct world *w = *state;
        uint64_t a, b;

        begin_move(w);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h3, w->now, &a, &b, &w->error), GW_E_CONFLICT);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h3, w->now, &a, &w->error), GW_E_CONFLICT);
        assert_int_equal(register_at(w, w->h1, 1), 0); /* A refreshes meanwhile */
        world_pass(w, 10);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_COMMITTED);
        assert_ptr_equal(gw_vm_nve(w->web), w->h2);
        assert_int_equal(register_at(w, w->h1, 1), GW_MH_TIMESTAMP_LOWER);
        assert_int_equal(register_at(w, w->h2, 2), 0);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 1);
        assert_true(gw_ip_eq(gw_binding_previous(&w->web->binding)[0].locator, w->h1->locator));
        assert_int_equal(w->h1->n_vms, 1); /* the stopped copy */
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(w->h1->n_vms, 0);
        assert_int_equal(w->h2->n_vms, 1);
        assert_int_equal(register_at(w, w->h1, 3), GW_MH_PROHIBITED);
        assert_int_equal(gw_directory_take_back(&w->d, w->web, w->now), GW_E_CONFLICT);
        world_restart(w);
        assert_ptr_equal(gw_vm_nve(w->web), w->h2);
        assert_int_equal(w->web->binding.epoch, 2);
        assert_int_equal(w->web->binding.reserved, 3);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 1);
        assert_int_equal(w->h2->used_memory_mib, 128);
}

static void test_registration_commits(void **state) {
        struct world *w = *state;

        begin_move(w);
        world_restart(w); /* the authority was away during the cut */
        world_hello(w, "h1", "10.99.0.1");
        world_hello(w, "h2", "10.99.0.2");
        assert_int_equal(register_at(w, w->h2, 2), 0);
        assert_int_equal(w->web->binding.epoch, 2);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
}

static void test_take_back(void **state) {
        struct world *w = *state;

        begin_move(w);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(gw_directory_take_back(&w->d, w->web, w->now), 0);
        assert_int_equal(gw_directory_take_back(&w->d, w->web, w->now), 0);
        assert_ptr_equal(gw_vm_nve(w->web), w->h1);
        assert_int_equal(register_at(w, w->h2, 2), GW_MH_TIMESTAMP_LOWER); /* it came too late */
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), GW_E_CONFLICT);
        assert_int_equal(register_at(w, w->h1, 3), 0);
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(w->h2->n_vms, 0);
        assert_int_equal(w->h1->n_vms, 1);
}

static void test_registration_takes_back(void **state) {
        struct world *w = *state;
        uint64_t to, back;

        begin_move(w);
        assert_int_equal(register_at(w, w->h1, 3), 0); /* cut and uncut before any commit */
        assert_int_equal(w->web->binding.epoch, 3);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), 0);
        assert_int_equal(register_at(w, w->h2, 2), GW_MH_TIMESTAMP_LOWER);
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        assert_int_equal(to, 4);
}

static void test_abandoned_move_uses_up_its_epochs(void **state) {
        struct world *w = *state;
        uint64_t to, back;

        begin_move(w);
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(register_at(w, w->h2, 2), GW_MH_PROHIBITED);
        assert_int_equal(register_at(w, w->h1, 1), 0);
        world_restart(w);
        w->h2 = world_hello(w, "h2", "10.99.0.2");
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        assert_int_equal(to, 4);
        assert_int_equal(back, 5);
}

static void test_deregistration(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 0;
        assert_int_equal(world_register(w, w->h2, &request, NULL), -1);
        request.epoch = 0;
        assert_int_equal(world_register(w, w->h1, &request, NULL), -1);
        request.epoch = 1;
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.lifetime_units, 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_LAPSED);
        assert_int_equal(world_register(w, w->h1, &request, NULL), -1); /* a late copy */
        assert_int_equal(register_at(w, w->h1, 1), 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
}

static void test_lifetime(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 10;
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        world_pass(w, 39999);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        world_pass(w, 1);
        assert_int_equal(w->web->binding.state, GW_BINDING_LAPSED);
        assert_int_equal(w->note_kind, GW_NOTE_EXPIRED);
        assert_int_equal(register_at(w, w->h1, 1), 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        world_pass(w, 3500 * 1000);
        world_restart(w);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        world_pass(w, 119999); /* 100 s were left; a start grants 120 */
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        world_pass(w, 1);
        assert_int_equal(w->web->binding.state, GW_BINDING_LAPSED);
}

static void test_history_is_bounded(void **state) {
        struct world *w = *state;
        uint64_t epoch;

        for (int i = 0; i < 12; i++) {
                world_pass(w, 1000);
                world_serve(w, w->web, i % 2 ? w->h1 : w->h2);
        }
        assert_int_equal(gw_binding_n_previous(&w->web->binding), GW_PREVIOUS_MAX);
        assert_true(gw_ip_eq(gw_binding_previous(&w->web->binding)[7].locator, w->h2->locator));
        assert_true(gw_binding_previous(&w->web->binding)[7].to.ns == gw_binding_since(&w->web->binding).ns);
        assert_true(gw_binding_previous(&w->web->binding)[6].to.ns == gw_binding_previous(&w->web->binding)[7].from.ns);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(epoch, 13);
        assert_int_equal(gw_binding_n_previous(&w->web->binding), GW_PREVIOUS_MAX);
}

static void test_new_vm_starts_above_deleted_one(void **state) {
        struct world *w = *state;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;
        uint64_t epoch;

        world_serve(w, w->web, w->h1);
        world_serve(w, w->web, w->h2);
        gw_directory_release(&w->d, w->web, w->now);
        assert_int_equal(gw_directory_vm_delete(&w->d, w->web, &w->error), 0);
        world_restart(w);
        world_hello(w, "h1", "10.99.0.1");
        w->web = world_vm(w, "web", "blue");
        assert_true(gw_mac_eq(gw_vm_ports(w->web)->mac, mac));
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(epoch, 4); /* 3 was the release */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_place_and_register),
                TEST(test_malformed_requests),
                TEST(test_order_of_requests),
                TEST(test_capacity),
                TEST(test_move),
                TEST(test_registration_commits),
                TEST(test_take_back),
                TEST(test_registration_takes_back),
                TEST(test_abandoned_move_uses_up_its_epochs),
                TEST(test_deregistration),
                TEST(test_lifetime),
                TEST(test_history_is_bounded),
                TEST(test_new_vm_starts_above_deleted_one),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
