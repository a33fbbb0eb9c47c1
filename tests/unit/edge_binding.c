/* SPDX-License-Identifier: Apache-2.0 */
/* The binding update list: what is sent when, what an answer does to it, and how an entry ends. */
#include "edge_fixture.h"

static struct gw_edge_binding_view found;

static void find_web(const struct gw_edge_binding_view *view, void *user) {
        size_t *n = user;

        if (strcmp(view->vm->s, "web@default") == 0) {
                found = *view;
                ++*n;
        }
}

static const struct gw_edge_binding_view *binding(const struct world *w) {
        size_t n = 0;

        gw_edge_each_binding(w->edge, find_web, &n);
        assert_true(n <= 1);
        return n ? &found : NULL;
}

static void accept(struct world *w, uint16_t units) {
        struct gw_registration reg = world_registration(w);

        assert_int_equal(world_reply(w, &reg, 0, units), 0);
}

static size_t requests(const struct world *w) {
        return world_sent_count(w, GW_FRAME_REGISTER);
}

/* ---- sending again ---- */

static void test_backoff(void **state) {
        static const uint64_t waits_ms[] = {1500, 3000, 6000, 12000, 24000, 32000, 32000};
        struct world *w = *state;
        struct gw_registration last, next;

        world_serve(w);
        last = world_registration(w);
        assert_int_equal(last.handoff, GW_MH_HANDOFF_NEW);
        for (size_t i = 0; i < sizeof waits_ms / sizeof *waits_ms; i++) {
                world_forget_sent(w);
                world_pass(w, waits_ms[i] - 1);
                assert_int_equal(requests(w), 0);
                world_pass(w, 1);
                assert_int_equal(requests(w), 1);
                next = world_registration(w);
                assert_int_equal(next.sequence, last.sequence + 1);
                assert_true(next.timestamp > last.timestamp);
                assert_int_equal(next.handoff, GW_MH_HANDOFF_NEW);
                last = next;
        }
        assert_int_equal(binding(w)->tries, 8);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_PENDING);
        accept(w, 25);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
        assert_int_equal(binding(w)->tries, 0);
}

static void test_refresh(void **state) {
        struct world *w = *state;

        world_serve(w);
        accept(w, 25); /* 100 s */
        assert_int_equal(binding(w)->granted_ms, 100000);
        world_forget_sent(w);
        world_pass(w, 74000);
        assert_int_equal(requests(w), 0);
        world_pass(w, 1100);
        assert_int_equal(requests(w), 1);
        assert_int_equal(world_registration(w).handoff, GW_MH_HANDOFF_UNCHANGED);
        world_pass(w, 1000); /* not the first one: 1 s */
        assert_int_equal(requests(w), 2);
        world_pass(w, 20000);
        assert_int_equal(requests(w), 5);
        accept(w, 25);
        world_forget_sent(w);
        world_pass(w, 74000);
        assert_int_equal(requests(w), 0);
}

static void test_lifetime_counts_from_the_request(void **state) {
        struct world *w = *state;
        uint64_t sent_ns;

        world_serve(w);
        sent_ns = w->now.mono.ns;
        world_pass(w, 900);
        accept(w, 25);
        assert_int_equal(binding(w)->expires.ns, sent_ns + 100 * GW_NS_PER_S);
}

/* Without an answer the VM is not given up: what ends it is a newer place. */
static void test_expiry_goes_on(void **state) {
        struct world *w = *state;

        world_serve(w);
        accept(w, 3);
        world_pass(w, 60000);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_PENDING);
        assert_true(binding(w)->expires.ns < w->now.mono.ns);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
}

/* ---- answers ---- */

static void test_late_answers(void **state) {
        struct world *w = *state;
        struct gw_registration first, last;

        world_serve(w);
        first = world_registration(w);
        world_pass(w, 1600);
        last = world_registration(w);
        assert_int_equal(world_reply(w, &first, 0, 25), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_PENDING);
        assert_int_equal(world_counter(w, GW_EDGE_C_REPLIES_LATE), 1);
        assert_int_equal(world_reply(w, &last, 0, 25), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
        assert_int_equal(world_reply(w, &last, GW_MH_PROHIBITED, 0), 0); /* a second answer to one request */
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
        last.vm = name_of("nobody");
        assert_int_equal(world_reply(w, &last, 0, 25), 0);
        last.has &= ~(uint32_t)GW_REG_HAS_VM;
        assert_int_equal(world_reply(w, &last, 0, 25), 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_REPLIES_LATE), 4);
}

static void differ(struct world *w, void (*change)(struct gw_registration *reply)) {
        struct gw_registration reply = world_registration(w);
        uint64_t before = world_counter(w, GW_EDGE_C_REPLIES_DIFFER);

        change(&reply);
        assert_int_equal(world_reply(w, &reply, 0, 25), 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_REPLIES_DIFFER), before + 1);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_PENDING);
}
static void change_mac(struct gw_registration *reply) {
        reply->macs[0] = mac_of(9);
}
static void drop_mac(struct gw_registration *reply) {
        reply->n_macs = 0;
}
static void change_stamp(struct gw_registration *reply) {
        reply->timestamp++;
}
static void change_handoff(struct gw_registration *reply) {
        reply->handoff = GW_MH_HANDOFF_UNKNOWN;
}
static void drop_access(struct gw_registration *reply) {
        reply->has &= ~(uint32_t)GW_REG_HAS_ACCESS;
}
static void change_address(struct gw_registration *reply) {
        reply->addrs6[0].ip = ip_of("fd00:1::66");
}
static void add_address(struct gw_registration *reply) {
        reply->addrs6[reply->n_addrs6++] = (struct gw_prefix){.ip = ip_of("fd00:1::77"), .bits = 128};
}

static void test_answers_must_repeat(void **state) {
        struct world *w = *state;
        struct gw_edge_attach port = world_port("web", 1, "fd00:1::1", GW_EDGE_SERVING, 5);

        assert_int_equal(world_attach(w, &port), 0);
        world_up(w);
        differ(w, change_mac);
        differ(w, drop_mac);
        differ(w, change_stamp);
        differ(w, change_handoff);
        differ(w, drop_access);
        differ(w, change_address);
        differ(w, add_address);
        accept(w, 25);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
}

/* ---- refusals ---- */

static void test_resynchronises(void **state) {
        struct world *w = *state;
        struct gw_registration reg, reply;

        world_serve(w);
        reply = world_registration(w);
        reply.sequence = 65535;
        assert_int_equal(world_reply(w, &reply, GW_MH_SEQUENCE_OUT_OF_WINDOW, 0), 0);
        world_pass(w, 200);
        reply = world_registration(w);
        assert_int_equal(reply.sequence, 0);
        reply.timestamp = gw_registration_stamp((struct gw_wall){w->now.wall.ns + 5 * GW_NS_PER_S});
        assert_int_equal(world_reply(w, &reply, GW_MH_TIMESTAMP_MISMATCH, 0), 0);
        world_pass(w, 400);
        reply = reg = world_registration(w);
        assert_true(gw_registration_stamp_wall(reg.timestamp).ns > w->now.wall.ns + 4 * GW_NS_PER_S);
        /* our stamps were ahead of the NVA's clock: they go back */
        reply.timestamp = gw_registration_stamp((struct gw_wall){w->now.wall.ns - 60 * GW_NS_PER_S});
        assert_int_equal(world_reply(w, &reply, GW_MH_TIMESTAMP_MISMATCH, 0), 0);
        world_pass(w, 1000);
        assert_true(world_registration(w).timestamp < reg.timestamp);
        assert_int_equal(world_counter(w, GW_EDGE_C_REGISTRATIONS_REFUSED), 3);
        accept(w, 25);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
}

/* Stamps of one VM grow, whatever the clock does. */
static void test_clock_goes_back(void **state) {
        struct world *w = *state;
        struct gw_registration first;

        world_serve(w);
        first = world_registration(w);
        w->now.wall.ns -= 3600 * GW_NS_PER_S;
        world_pass(w, 1600);
        assert_int_equal(world_registration(w).timestamp, first.timestamp + 1);
}

/* A refusal that passes is not repeated ever faster. */
static void test_passing_refusals_are_bounded(void **state) {
        struct world *w = *state;

        world_serve(w);
        world_forget_sent(w);
        for (int i = 0; i < 600; i++) {
                struct gw_registration reply;

                world_pass(w, 100);
                if (!requests(w))
                        continue;
                reply = world_registration(w);
                assert_int_equal(world_reply(w, &reply, GW_MH_TIMESTAMP_MISMATCH, 0), 0);
        }
        assert_true(requests(w) < 30);
}

static void test_final_refusals(void **state) {
        static const uint8_t statuses[] = {GW_MH_PROHIBITED,
                                           GW_MH_ID_MISMATCH,
                                           GW_MH_AUTH_FAILED,
                                           GW_MH_NOT_SERVED_HERE,
                                           GW_MH_SENDER_NOT_AUTHORIZED,
                                           GW_MH_MISSING_IDENTIFIER,
                                           GW_MH_MISSING_HANDOFF,
                                           GW_MH_MISSING_ACCESS_TYPE,
                                           GW_MH_PREFIX_SET_DIFFERS,
                                           GW_MH_IPV4_NOT_AUTHORIZED,
                                           GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED,
                                           GW_MH_IPV6_NOT_AUTHORIZED,
                                           GW_MH_PREFIX_NOT_AUTHORIZED,
                                           GW_MH_MISSING_PREFIX};
        struct world *w = *state;
        struct gw_registration reg;

        world_serve(w);
        for (size_t i = 0; i < sizeof statuses; i++) {
                reg = world_registration(w);
                assert_int_equal(world_reply(w, &reg, statuses[i], 0), 0);
                assert_int_equal(binding(w)->state, GW_EDGE_REG_REFUSED);
                assert_int_equal(binding(w)->status, statuses[i]);
                assert_int_equal(binding(w)->next.ns, 0);
                world_forget_sent(w);
                world_pass(w, 100000);
                assert_int_equal(requests(w), 0); /* not asked again */
                assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
                gw_edge_register_again(w->edge, w->now, NULL);
                assert_int_equal(requests(w), 1);
        }
}

/* It may get another place, and nobody but this edge knows that it serves here. */
static void test_no_place(void **state) {
        struct world *w = *state;
        struct gw_registration reg;
        size_t before;

        world_serve(w);
        reg = world_registration(w);
        assert_int_equal(world_reply(w, &reg, GW_MH_PROXY_NOT_ENABLED, 0), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_REFUSED);
        assert_int_equal(binding(w)->granted_ms, 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        world_forget_sent(w);
        world_pass(w, 100000);
        assert_in_range(requests(w), 4, 7); /* 3, 6, 12, 24, 32 s ... after each other */
        assert_int_equal(binding(w)->state, GW_EDGE_REG_REFUSED);
        before = requests(w);
        world_pass(w, 64000);
        assert_int_equal(requests(w), before + 2);
        reg = world_registration(w);
        assert_int_equal(world_reply(w, &reg, GW_MH_ACCEPTED, 10), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
}

static void test_passing_refusals_are_asked_again(void **state) {
        static const uint8_t statuses[] = {GW_MH_REJECTED, GW_MH_NO_RESOURCES};
        struct world *w = *state;
        struct gw_registration reg;

        world_serve(w);
        for (size_t i = 0; i < sizeof statuses; i++) {
                reg = world_registration(w);
                world_forget_sent(w);
                assert_int_equal(world_reply(w, &reg, statuses[i], 0), 0);
                world_pass(w, 1000);
                assert_int_equal(requests(w), 1);
        }
}

/* Refused because the VM is elsewhere: the directory is asked where, and its answer ends the service here. */
static void test_superseded(void **state) {
        struct world *w = *state;
        struct gw_registration reply;
        struct gw_mapping m = mapping_of(1, "10.1.0.1", "10.99.0.2", 8);

        world_serve(w);
        reply = world_registration(w);
        reply.epoch = 8;
        assert_int_equal(world_reply(w, &reply, GW_MH_TIMESTAMP_LOWER, 0), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_REFUSED);
        assert_int_equal(world_counter(w, GW_EDGE_C_SUPERSEDED), 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &m, 1, NULL, 0), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_int_equal(binding(w)->role, GW_EDGE_BINDING_SOURCE);
        assert_true(gw_ip_eq(binding(w)->locator, ip_of("10.99.0.2")));
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED), 1);
}

/* ---- the ends of an entry ---- */

static void test_deregisters_once(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_registration reg;

        world_serve(w);
        accept(w, 25);
        world_forget_sent(w);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        reg = world_registration(w);
        assert_int_equal(reg.lifetime_units, 0);
        assert_int_equal(reg.handoff, GW_MH_HANDOFF_UNKNOWN);
        assert_int_equal(reg.n_addrs4, 1);
        assert_int_equal(binding(w)->role, GW_EDGE_BINDING_LEAVING);
        assert_int_equal(world_reply(w, &reg, 0, 0), 0);
        assert_null(binding(w));
        world_pass(w, 100000);
        assert_int_equal(requests(w), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_DEREGISTRATIONS), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_DEREGISTRATIONS_UNANSWERED), 0);
}

static void test_deregistration_unanswered(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        world_pass(w, 990);
        assert_non_null(binding(w));
        world_pass(w, 20);
        assert_null(binding(w));
        assert_int_equal(requests(w), 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_DEREGISTRATIONS_UNANSWERED), 1);
}

/* RFC 5213 6.9.1.3: a late answer to a deregistration does nothing to a VM that is back. */
static void test_back_before_the_answer(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_edge_attach again = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 6);
        struct gw_edge_attach arrival = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 7);
        struct gw_registration goodbye;

        world_serve(w);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        goodbye = world_registration(w);
        assert_int_equal(world_attach(w, &again), 0);
        assert_int_equal(binding(w)->role, GW_EDGE_BINDING_SERVING);
        assert_int_equal(world_reply(w, &goodbye, 0, 0), 0);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_PENDING);
        assert_true(binding(w)->outstanding);
        accept(w, 25);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, false, NULL), 0);
        world_forget_sent(w);
        arrival.peer = ip_of("10.99.0.3");
        assert_int_equal(world_attach(w, &arrival), 0);
        world_pass(w, 60000);
        assert_int_equal(binding(w)->role, GW_EDGE_BINDING_ARRIVING);
        assert_int_equal(requests(w), 0); /* not ours yet */
}

static void test_roles(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_registration reg;

        world_serve(w);
        reg = world_registration(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(binding(w)->role, GW_EDGE_BINDING_SOURCE);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_NONE);
        assert_int_equal(world_reply(w, &reg, 0, 25), 0); /* too late */
        assert_int_equal(binding(w)->state, GW_EDGE_REG_NONE);
        assert_int_equal(binding(w)->expires.ns, 0);
        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
        assert_non_null(binding(w));
        world_pass(w, 10000);
        assert_null(binding(w));
}

static void test_sequences_are_of_one_vm(void **state) {
        struct world *w = *state;
        struct gw_edge_attach db = world_port("db", 2, "10.1.0.2", GW_EDGE_SERVING, 1);
        struct gw_registration reply;

        world_serve(w);
        reply = world_registration(w);
        reply.sequence = 60000;
        assert_int_equal(world_reply(w, &reply, GW_MH_SEQUENCE_OUT_OF_WINDOW, 0), 0);
        assert_int_equal(world_attach(w, &db), 0);
        assert_int_equal(world_registration(w).sequence, 1);
        accept(w, 25);
        world_pass(w, 200);
        assert_int_equal(world_registration(w).sequence, 60001);
}

/* ---- a transport of its own ---- */

static void test_own_transport(void **state) {
        struct world *w = *state;
        struct gw_edge_attach port = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        struct gw_registration reply;
        struct gw_hello hello;

        world_own_transport(w);
        assert_int_equal(world_attach(w, &port), 0); /* there is no session */
        assert_int_equal(w->n_requests, 1);
        assert_int_equal(w->request.handoff, GW_MH_HANDOFF_NEW);
        world_pass(w, 1600);
        assert_int_equal(w->n_requests, 2);
        reply = w->request;
        reply.kind = GW_REG_REPLY;
        reply.status = 0;
        reply.lifetime_units = 25;
        gw_edge_reply(w->edge, w->now, &reply);
        assert_int_equal(binding(w)->state, GW_EDGE_REG_ACCEPTED);
        world_up(w);
        assert_int_equal(requests(w), 0);
        assert_int_equal(w->n_requests, 2); /* a new session changes nothing */
        assert_int_equal(gw_hello_decode(world_sent_find(w, GW_FRAME_HELLO)->body,
                                         world_sent_find(w, GW_FRAME_HELLO)->size, &hello),
                         0);
        assert_false(hello.features & GW_FEATURE_NOTICES); /* nor does the management node ask in it */
        gw_edge_register_again(w->edge, w->now, &port.vm);
        assert_int_equal(w->n_requests, 3);
        assert_int_equal(w->request.handoff, GW_MH_HANDOFF_UNCHANGED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_backoff, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_refresh, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_lifetime_counts_from_the_request, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_expiry_goes_on, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_late_answers, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_answers_must_repeat, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_resynchronises, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_clock_goes_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_passing_refusals_are_bounded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_final_refusals, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_no_place, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_passing_refusals_are_asked_again, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_superseded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_deregisters_once, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_deregistration_unanswered, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_back_before_the_answer, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_roles, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_sequences_are_of_one_vm, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_own_transport, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("edge_binding", tests, NULL, NULL);
}
