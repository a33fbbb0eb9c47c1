/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of the management node to an edge: which it obeys, what it does, what it answers. */
#include "edge_fixture.h"

static const char *const elsewhere = "10.99.0.2";

static struct gw_registration notice(const struct world *w, uint64_t epoch, const char *place) {
        struct gw_registration request = {
                .kind = GW_REG_REQUEST,
                .flags = GW_MH_REQUEST_USUAL,
                .sequence = 1,
                .lifetime_units = 10,
                .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH,
                .vm = name_of("web"),
                .handoff = GW_MH_HANDOFF_MOVED,
                .access = GW_MH_ACCESS_VIRTUAL,
                .timestamp = gw_registration_stamp(w->now.wall),
                .epoch = epoch,
                .n_addrs4 = 2,
        };

        request.addrs4[0] = request.addrs4[1] = (struct gw_reg_addr4){.ip = ip_of("10.1.0.1"), .bits = 32};
        if (place && gw_ip_is_v4(ip_of(place))) {
                request.has |= GW_REG_HAS_DEFAULT_ROUTER4;
                request.default_router4 = ip_of(place);
        } else if (place) {
                request.has |= GW_REG_HAS_SERVING;
                request.serving = ip_of(place);
        }
        return request;
}

static struct gw_registration answer_to(struct world *w, const struct gw_registration *request) {
        struct gw_registration reply;

        gw_edge_notice(w->edge, w->now, request, &reply);
        assert_int_equal(reply.kind, GW_REG_REPLY);
        return reply;
}

static uint8_t status_of(struct world *w, const struct gw_registration *request) {
        return answer_to(w, request).status;
}

static uint8_t role(const struct world *w) {
        struct gw_name vm = name_of("web");
        enum gw_edge_role found;
        uint64_t epoch;

        return gw_edge_vm_role(w->edge, &vm, &found, &epoch) ? (uint8_t)found : 0;
}

static void cut(struct world *w) {
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(elsewhere), 6, NULL), 0);
}

static void let_go(struct world *w) {
        struct gw_name vm = name_of("web");

        assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, true, NULL), 0);
}

/* ---- obeyed ---- */

static void test_redirect_is_kept(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        cut(w);
        request = notice(w, 6, elsewhere);
        reply = answer_to(w, &request);
        assert_int_equal(reply.status, 0);
        assert_int_equal(reply.lifetime_units, 10);
        assert_int_equal(reply.sequence, 1);
        let_go(w);
        w->redirected = 1;
        for (int i = 0; i < 39; i++) { /* something keeps coming */
                w->redirected_at = w->now.mono;
                world_pass(w, 1000);
        }
        assert_int_equal(role(w), GW_EDGE_MOVED);
        w->redirected_at = w->now.mono;
        world_pass(w, 1500); /* and the time given is over */
        assert_int_equal(role(w), 0);
}

static void test_cold_ends_at_once(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        cut(w);
        let_go(w);
        request = notice(w, 6, elsewhere);
        request.lifetime_units = 0;
        assert_int_equal(status_of(w, &request), 0);
        world_pass(w, 1);
        assert_int_equal(role(w), 0);
}

/* The hypervisor agent still has the VM's devices: it ends when they are let go. */
static void test_cold_waits_for_the_agent(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        cut(w);
        request = notice(w, 6, elsewhere);
        request.lifetime_units = 0;
        assert_int_equal(status_of(w, &request), 0);
        world_pass(w, 1000);
        assert_int_equal(role(w), GW_EDGE_MOVED);
        let_go(w);
        world_pass(w, 300);
        assert_int_equal(role(w), 0);
}

static void test_newer_place(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        cut(w);
        request = notice(w, 8, "fd99::3");
        assert_int_equal(status_of(w, &request), 0);
        assert_true(gw_ip_eq(world_fdb_find(w, 1)->entry.locator, ip_of("fd99::3")));
        assert_int_equal(world_fdb_find(w, 1)->entry.epoch, 8);
        assert_true(world_member_is(w, "fd99::3"));
}

static void test_fences_one_that_serves(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        world_serve(w);
        request = notice(w, 6, elsewhere);
        assert_int_equal(status_of(w, &request), 0);
        assert_int_equal(role(w), GW_EDGE_MOVED);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_NOTICES), 1);
}

static void test_nobody_here(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        world_serve(w);
        request = notice(w, 6, elsewhere);
        request.vm = name_of("other");
        reply = answer_to(w, &request);
        assert_int_equal(reply.status, 0);
        assert_int_equal(reply.lifetime_units, 0); /* nothing is kept */
}

static void test_arrival_is_left_alone(void **state) {
        struct world *w = *state;
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_ARRIVING, 6);
        struct gw_registration request;

        a.peer = ip_of(elsewhere);
        assert_int_equal(world_attach(w, &a), 0);
        request = notice(w, 7, elsewhere);
        assert_int_equal(answer_to(w, &request).lifetime_units, 0);
        assert_int_equal(role(w), GW_EDGE_ARRIVING);
        request = notice(w, 5, elsewhere);
        assert_int_equal(status_of(w, &request), GW_MH_TIMESTAMP_LOWER);
}

/* ---- refused ---- */

static void test_form(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        cut(w);
        request = notice(w, 6, elsewhere);
        request.kind = GW_REG_REPLY;
        assert_int_equal(status_of(w, &request), GW_MH_PROHIBITED);
        request = notice(w, 6, elsewhere);
        request.flags = GW_MH_REQUEST_ACK | GW_MH_REQUEST_HOME;
        assert_int_equal(status_of(w, &request), GW_MH_PROHIBITED);
        request = notice(w, 6, elsewhere);
        request.has &= ~(uint32_t)GW_REG_HAS_VM;
        assert_int_equal(status_of(w, &request), GW_MH_MISSING_IDENTIFIER);
        assert_int_equal(world_counter(w, GW_EDGE_C_NOTICES_REFUSED), 3);
}

static void test_one_that_serves_is_not_talked_out_of_it(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        world_serve(w); /* with epoch 5 */
        request = notice(w, 5, elsewhere);
        assert_int_equal(status_of(w, &request), GW_MH_PROHIBITED);
        request = notice(w, 6, elsewhere);
        request.has &= ~(uint32_t)GW_REG_HAS_EPOCH;
        assert_int_equal(status_of(w, &request), GW_MH_PROHIBITED);
        request = notice(w, 6, NULL);
        assert_int_equal(status_of(w, &request), GW_MH_REJECTED); /* where to? */
        request = notice(w, 6, "10.99.0.1");
        assert_int_equal(status_of(w, &request), GW_MH_REJECTED); /* here is not elsewhere */
        request = notice(w, 6, "224.0.0.1");
        assert_int_equal(status_of(w, &request), GW_MH_REJECTED);
        assert_int_equal(role(w), GW_EDGE_SERVING);
}

static void test_order(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;

        cut(w);
        request = notice(w, 6, elsewhere);
        assert_int_equal(status_of(w, &request), 0);
        reply = answer_to(w, &request); /* the same again */
        assert_int_equal(reply.status, GW_MH_TIMESTAMP_MISMATCH);
        assert_int_equal(reply.lifetime_units, 0);
        request.timestamp--;
        assert_int_equal(status_of(w, &request), GW_MH_TIMESTAMP_LOWER);
        request = notice(w, 5, elsewhere);
        request.timestamp += 10;
        reply = answer_to(w, &request);
        assert_int_equal(reply.status, GW_MH_TIMESTAMP_LOWER);
        assert_int_equal(reply.epoch, 6);
        request = notice(w, 6, elsewhere); /* without stamps sequence numbers count */
        request.has &= ~(uint32_t)GW_REG_HAS_TIMESTAMP;
        reply = answer_to(w, &request);
        assert_int_equal(reply.status, GW_MH_SEQUENCE_OUT_OF_WINDOW);
        assert_int_equal(reply.sequence, 1);
        request.sequence = 2;
        assert_int_equal(status_of(w, &request), 0);
}

/* ---- through the session ---- */

static void test_frame(void **state) {
        struct world *w = *state;
        struct gw_registration request, reply;
        uint8_t message[1024], bytes[2048];
        struct gw_writer m = gw_writer(message, sizeof message), out = gw_writer(bytes, sizeof bytes);
        struct gw_register frame = {.locator = w->self, .message = message};
        size_t size;

        cut(w);
        request = notice(w, 6, elsewhere);
        assert_int_equal(gw_registration_encode(&m, (struct gw_ip){{0}}, w->self, &request), 0);
        frame.message_size = m.at;
        size = gw_register_encode(&out, GW_FRAME_REGISTER, 9, &frame);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_REGISTER, 9, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
        assert_int_equal(world_sent_find(w, GW_FRAME_REGISTERED)->id, 9);
        assert_int_equal(gw_register_decode(world_sent_find(w, GW_FRAME_REGISTERED)->body,
                                            world_sent_find(w, GW_FRAME_REGISTERED)->size, &frame),
                         0);
        assert_int_equal(
                gw_registration_decode(frame.message, frame.message_size, w->self, (struct gw_ip){{0}}, &reply), 0);
        assert_int_equal(reply.kind, GW_REG_REPLY);
        assert_int_equal(reply.status, 0);
        assert_int_equal(reply.lifetime_units, 10);
        for (size_t cut_off = 1; cut_off < size - GW_FRAME_HEADER_SIZE; cut_off++)
                assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_REGISTER, 9, bytes + GW_FRAME_HEADER_SIZE,
                                               size - GW_FRAME_HEADER_SIZE - cut_off),
                                 GW_E_MALFORMED);
}

/* The edge says in its HELLO that it takes them. */
static void test_hello(void **state) {
        struct world *w = *state;
        struct gw_hello hello;

        world_serve(w);
        assert_int_equal(gw_hello_decode(world_sent_find(w, GW_FRAME_HELLO)->body,
                                         world_sent_find(w, GW_FRAME_HELLO)->size, &hello),
                         0);
        assert_true(hello.features & GW_FEATURE_NOTICES);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_redirect_is_kept, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_cold_ends_at_once, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_cold_waits_for_the_agent, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_newer_place, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_fences_one_that_serves, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_nobody_here, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_arrival_is_left_alone, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_form, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_one_that_serves_is_not_talked_out_of_it, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_order, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_frame, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_hello, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("edge_notice", tests, NULL, NULL);
}
