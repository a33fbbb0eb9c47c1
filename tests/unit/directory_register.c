/* SPDX-License-Identifier: Apache-2.0 */
/* Registrations one by one: what each status is for, lifetimes, the window of a datagram, and who is early. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "directory_fixture.h"

/* A VM with this one address, or none, that serves at h1 with epoch 1. */
static struct gw_vm *vm_with(struct world *w, const char *id, const char *address) {
        struct gw_port_spec port = {.vn = "blue", .no_addresses = !address, .n_ips = address != NULL};
        struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct gw_vm *vm;

        if (address)
                port.ips[0] = ip_of(address);
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, &vm, &w->error), 0);
        world_serve(w, vm, w->h1);
        return vm;
}

static void test_missing_address(void **state) {
        struct world *w = *state;
        struct gw_vm *bare = vm_with(w, "bare", NULL);
        struct gw_registration request;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        request.n_addrs4 = request.n_addrs6 = 0;
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_MISSING_PREFIX);
        request.n_macs = 0;
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_MISSING_PREFIX);
        request = world_request(w, bare, 1);
        assert_int_equal(request.n_addrs4 + request.n_addrs6, 0);
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
}

static void test_families(void **state) {
        struct world *w = *state;
        struct gw_vm *four = vm_with(w, "four", "10.1.0.40"), *six = vm_with(w, "six", "fd00:1::60");
        struct gw_registration request = world_request(w, four, 1);

        request.addrs6[request.n_addrs6++] = (struct gw_prefix){ip_of("fd00:1::60"), 128};
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_IPV6_NOT_AUTHORIZED);
        request = world_request(w, six, 1);
        request.addrs4[request.n_addrs4++] = (struct gw_reg_addr4){.ip = ip_of("10.1.0.40"), .bits = 32};
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_IPV4_NOT_AUTHORIZED);
        request = world_request(w, four, 1);
        request.addrs4[0].ip = ip_of("10.1.0.41");
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED);
        request = world_request(w, six, 1);
        request.addrs6[0].ip = ip_of("fd00:1::61");
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_PREFIX_NOT_AUTHORIZED);
}

static void test_not_placed(void **state) {
        struct world *w = *state;
        struct gw_registration request = world_request(w, w->web, 1), reply;

        assert_int_equal(world_register(w, w->h1, &request, &reply), GW_MH_PROXY_NOT_ENABLED);
        assert_int_equal(reply.lifetime_units, 0);
        assert_non_null(strstr(w->note, "152 (not-placed)"));
        world_serve(w, w->web, w->h1);
        gw_directory_release(&w->d, w->web, w->now);
        request = world_request(w, w->web, 1);
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_PROXY_NOT_ENABLED);
}

/* What is asked: nothing more than the lease is granted, and one unit lasts its four seconds. */
static void test_lifetimes(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 65535;
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.lifetime_units, 900);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 1;
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.lifetime_units, 1);
        world_pass(w, 3999);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        world_pass(w, 1);
        assert_int_equal(w->web->binding.state, GW_BINDING_LAPSED);
        request = world_request(w, w->web, 1);
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        request = world_request(w, w->web, 1);
        request.lifetime_units = 0;
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.lifetime_units, 0);
        assert_int_equal(w->web->binding.state, GW_BINDING_LAPSED);
        world_pass(w, 60000); /* the entry is kept, and a registration continues it */
        request = world_request(w, w->web, 1);
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        assert_int_equal(w->web->binding.epoch, 1);
}

static int register_within(struct world *w, const struct gw_registration *request, struct gw_registration *reply) {
        int r = gw_directory_register_within(&w->d, w->h1, request, gw_ms(300), w->now, reply);

        return r ? -1 : reply->status;
}

/* A datagram's stamp must be near our clock: 300 ms and not a step more, on both sides. */
static void test_window(void **state) {
        struct world *w = *state;
        uint64_t now;
        struct gw_registration request, reply;

        world_serve(w, w->web, w->h1);
        world_pass(w, 10000);
        now = gw_registration_stamp(w->now.wall);
        request = world_request(w, w->web, 1);
        request.timestamp = now - 300 * 65536 / 1000 - 1;
        assert_int_equal(register_within(w, &request, &reply), GW_MH_TIMESTAMP_MISMATCH);
        assert_true(reply.timestamp == now); /* our clock, to put the sender's right */
        request.timestamp = now + 300 * 65536 / 1000 + 1;
        assert_int_equal(register_within(w, &request, &reply), GW_MH_TIMESTAMP_MISMATCH);
        request.timestamp = UINT64_MAX;
        assert_int_equal(register_within(w, &request, &reply), GW_MH_TIMESTAMP_MISMATCH);
        request.timestamp = 0;
        assert_int_equal(register_within(w, &request, &reply), GW_MH_TIMESTAMP_MISMATCH);
        request.lifetime_units = 0; /* a deregistration out of the window is nobody's */
        assert_int_equal(register_within(w, &request, &reply), -1);
        assert_int_equal(w->web->binding.state, GW_BINDING_SERVING);
        request.lifetime_units = 900;
        request.timestamp = now - 300 * 65536 / 1000;
        assert_int_equal(register_within(w, &request, &reply), 0);
        request.timestamp = now + 300 * 65536 / 1000;
        assert_int_equal(register_within(w, &request, &reply), 0);
        request.timestamp = now; /* in the window, and older than the last */
        assert_int_equal(register_within(w, &request, &reply), GW_MH_TIMESTAMP_LOWER);
        request.has &= ~(uint32_t)GW_REG_HAS_TIMESTAMP;
        request.sequence++;
        assert_int_equal(register_within(w, &request, &reply), 0);
}

static bool may_arrive, may_return;

static bool arrived(const struct gw_vm *vm, bool back, void *user) {
        (void)vm, (void)user;
        return back ? may_return : may_arrive;
}

/* The target of a move, and its source, are not answered while the shell knows that there was no cut. */
static void test_early(void **state) {
        struct world *w = *state;
        const struct gw_directory_effects *real = w->d.effects;
        struct gw_directory_effects effects = *real;
        struct gw_registration request;
        uint64_t to, back;

        effects.arrived = arrived;
        w->d.effects = &effects;
        world_serve(w, w->web, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        may_arrive = may_return = false;
        request = world_request(w, w->web, to);
        assert_int_equal(world_register(w, w->h2, &request, NULL), -1);
        assert_non_null(strstr(w->note, "before a cut"));
        request = world_request(w, w->web, back);
        assert_int_equal(world_register(w, w->h1, &request, NULL), -1);
        assert_ptr_equal(gw_vm_nve(w->web), w->h1);
        assert_int_equal(w->web->binding.epoch, 1);
        request = world_request(w, w->web, 1); /* the source refreshes meanwhile */
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        may_arrive = true;
        request = world_request(w, w->web, to);
        assert_int_equal(world_register(w, w->h2, &request, NULL), 0);
        assert_ptr_equal(gw_vm_nve(w->web), w->h2);
        may_arrive = false; /* once it is there it is not asked again */
        request = world_request(w, w->web, to);
        assert_int_equal(world_register(w, w->h2, &request, NULL), 0);
        request = world_request(w, w->web, back);
        assert_int_equal(world_register(w, w->h1, &request, NULL), -1);
        may_return = true;
        assert_int_equal(world_register(w, w->h1, &request, NULL), 0);
        assert_ptr_equal(gw_vm_nve(w->web), w->h1);
        w->d.effects = real;
}

/* The answer repeats what was asked, but for what only the asker's message can carry. */
static void test_answer(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        request.has |= GW_REG_HAS_AUTH | GW_REG_HAS_MESSAGE_ID | GW_REG_HAS_DEFAULT_ROUTER4 | GW_REG_HAS_LINK_LOCAL;
        request.default_router4 = ip_of("10.99.0.1");
        request.link_local = ip_of("fe80::1");
        assert_int_equal(world_register(w, w->h1, &request, &reply), 0);
        assert_int_equal(reply.has, request.has & ~(uint32_t)(GW_REG_HAS_AUTH | GW_REG_HAS_MESSAGE_ID));
        assert_memory_equal(reply.macs, request.macs, sizeof reply.macs);
        assert_memory_equal(reply.addrs6, request.addrs6, sizeof reply.addrs6);
        assert_memory_equal(reply.addrs4, request.addrs4, sizeof reply.addrs4);
        assert_int_equal(reply.n_replies4, 0); /* D2 section 9: no option 37 */
        assert_int_equal(reply.handoff, request.handoff);
        assert_true(gw_ip_eq(reply.link_local, request.link_local));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_missing_address), TEST(test_families), TEST(test_not_placed), TEST(test_lifetimes),
                TEST(test_window),          TEST(test_early),    TEST(test_answer),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
