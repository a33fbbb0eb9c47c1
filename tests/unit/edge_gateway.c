/* SPDX-License-Identifier: Apache-2.0 */
/* Choosing a gateway, and being one: what a gateway answers, holds and sends on. */
#include "edge_fixture.h"

enum { GREEN = 200, ECHO_OCTETS = 14 + 20 + 16 };

static const struct gw_mac gateway_mac = {{0x02, 0x67, 0x77, 0, 0, 1}};

static struct gw_member gateway(const char *locator, uint8_t role, uint32_t cost) {
        return (struct gw_member){.vni = WORLD_VNI, .locator = ip_of(locator), .role = role, .cost = cost};
}

static void tell(struct world *w, struct gw_member member) {
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, NULL, 0, &member, 1), 0);
}

static const struct gw_edge_fdb *entry(const struct world *w) {
        for (size_t i = 0; i < w->n_fdb; i++)
                if (w->fdb[i].vni == WORLD_VNI && gw_mac_eq(w->fdb[i].mac, gateway_mac))
                        return &w->fdb[i].entry;
        return NULL;
}

static bool uses(const struct world *w, const char *locator) {
        const struct gw_edge_fdb *e = entry(w);

        return e && e->place == GW_EDGE_TO_REMOTE && gw_ip_eq(e->locator, ip_of(locator)) &&
               gw_ip_eq(gw_edge_gateway_of(w->edge, WORLD_VNI), ip_of(locator));
}

enum { LIVE = GW_MEMBER_ROUTES | GW_MEMBER_LIVE, AWAY = GW_MEMBER_ROUTES };

static void test_the_cheapest_that_lives(void **state) {
        struct world *w = *state;

        world_serve(w);
        assert_null(entry(w));
        tell(w, gateway("10.99.0.8", LIVE, 30));
        assert_true(uses(w, "10.99.0.8"));
        tell(w, gateway("10.99.0.9", LIVE, 20));
        assert_true(uses(w, "10.99.0.9"));
        tell(w, gateway("10.99.0.7", LIVE, 20)); /* as cheap: the lower address, everywhere */
        assert_true(uses(w, "10.99.0.7"));
        tell(w, gateway("10.99.0.7", AWAY, 20));
        assert_true(uses(w, "10.99.0.9"));
        tell(w, gateway("10.99.0.7", LIVE, 20));
        assert_true(uses(w, "10.99.0.7"));
        tell(w, gateway("10.99.0.7", 0, 0)); /* an edge like any other from now on */
        assert_true(uses(w, "10.99.0.9"));
        tell(w, (struct gw_member){.vni = WORLD_VNI, .locator = ip_of("10.99.0.9"), .gone = true});
        assert_true(uses(w, "10.99.0.8"));
        tell(w, (struct gw_member){.vni = WORLD_VNI, .locator = ip_of("10.99.0.8"), .gone = true});
        assert_null(entry(w));
}

static void test_the_present_one_is_kept_while_none_lives(void **state) {
        struct world *w = *state;

        world_serve(w);
        tell(w, gateway("10.99.0.8", LIVE, 30));
        tell(w, gateway("10.99.0.9", AWAY, 20));
        assert_true(uses(w, "10.99.0.8"));
        tell(w, gateway("10.99.0.8", AWAY, 30));
        assert_true(uses(w, "10.99.0.8"));
        tell(w, gateway("10.99.0.9", LIVE, 20));
        assert_true(uses(w, "10.99.0.9"));
}

/* --- being one --- */

static void route(struct world *w) {
        const struct gw_edge_routed vns[] = {{WORLD_VNI, 1450}, {GREEN, 1400}};
        struct gw_edge_route routes[3] = {{.from = WORLD_VNI, .vni = GREEN},
                                          {.from = WORLD_VNI, .vni = WORLD_VNI, .self = true},
                                          {.from = WORLD_VNI, .vni = WORLD_VNI}};

        assert_int_equal(gw_prefix_parse("10.2.0.0/24", &routes[0].to), 0);
        routes[1].to = (struct gw_prefix){ip_of("10.1.0.254"), 128};
        assert_int_equal(gw_prefix_parse("10.1.0.0/24", &routes[2].to), 0);
        assert_int_equal(gw_edge_route(w->edge, vns, 2, routes, 3, 0), 0);
}

static void settings(struct world *w) {
        struct gw_vn_settings vn = {.vni = WORLD_VNI, .n_gateways = 1, .gateways = {ip_of("10.1.0.254")}};
        uint8_t bytes[256];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);

        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static uint16_t sum(const uint8_t *bytes, size_t size) {
        uint32_t total = 0;

        for (size_t i = 0; i < size; i += 2)
                total += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        while (total >> 16)
                total = (total & 0xffff) + (total >> 16);
        return (uint16_t)~total;
}

static void put_sum(uint8_t *at, const uint8_t *bytes, size_t size) {
        uint16_t s = sum(bytes, size);

        at[0] = (uint8_t)(s >> 8);
        at[1] = (uint8_t)s;
}

/* An echo request from VM 1 (10.1.0.1), as it comes up. */
static void echo_to(struct world *w, const char *ip, uint8_t ttl, uint32_t octets) {
        uint8_t frame[ECHO_OCTETS] = {[12] = 8, [14] = 0x45, [17] = 36, [23] = 1, [34] = 8, [41] = 7};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_GATEWAY,
                .frame = {.vni = WORLD_VNI, .offload = {0x5a}, .bytes = frame, .size = sizeof frame}};
        uint32_t source = gw_ip_v4(ip_of("10.1.0.1")), to = gw_ip_v4(ip_of(ip));
        struct gw_mac mac = mac_of(1);

        memcpy(frame, gateway_mac.b, 6);
        memcpy(frame + 6, mac.b, 6);
        memcpy(frame + 26, &source, 4);
        memcpy(frame + 30, &to, 4);
        frame[22] = ttl;
        put_sum(frame + 24, frame + 14, 20);
        put_sum(frame + 36, frame + 34, 16);
        punt.frame.ip_octets = octets;
        gw_edge_punted(w->edge, w->now, &punt);
}

static const struct world_frame *last(const struct world *w, int how) {
        assert_true(w->n_down > 0 && w->down[w->n_down - 1].how == how);
        return &w->down[w->n_down - 1];
}

static void start(struct world *w) {
        world_serve(w);
        route(w);
        settings(w);
        assert_int_equal(entry(w)->place, GW_EDGE_TO_GATEWAY);
        assert_true(gw_ip_eq(gw_edge_gateway_of(w->edge, WORLD_VNI), w->self));
}

static void test_echo_is_answered(void **state) {
        const struct world_frame *f;
        struct world *w = *state;

        start(w);
        for (unsigned ttl = 1; ttl < 256; ttl += 63) {
                echo_to(w, "10.1.0.254", (uint8_t)ttl, 0);
                f = last(w, GW_EDGE_SAY);
                assert_memory_equal(f->bytes + 6, gateway_mac.b, 6);
                assert_int_equal(f->bytes[34], 0);
                assert_int_equal(f->bytes[22], 64);
                assert_int_equal(sum(f->bytes + 14, 20), 0);
                assert_int_equal(sum(f->bytes + 34, 16), 0);
        }
        assert_int_equal(world_counter(w, GW_EDGE_C_GATEWAY_ECHOES), 5);
}

static void expect_error(struct world *w, uint8_t type, uint8_t code) {
        const struct world_frame *f = last(w, GW_EDGE_SAY);
        uint32_t from = gw_ip_v4(ip_of("10.1.0.254"));

        assert_memory_equal(f->bytes + 26, &from, 4);
        assert_int_equal(f->bytes[23], 1);
        assert_int_equal(f->bytes[34], type);
        assert_int_equal(f->bytes[35], code);
        assert_int_equal(sum(f->bytes + 14, 20), 0);
}

static void test_errors(void **state) {
        struct world *w = *state;

        start(w);
        echo_to(w, "10.3.0.1", 64, 0);
        expect_error(w, 3, 13);
        echo_to(w, "10.2.0.1", 1, 0);
        expect_error(w, 11, 0);
        echo_to(w, "10.2.0.1", 64, 1401);
        expect_error(w, 3, 4);
        assert_int_equal(last(w, GW_EDGE_SAY)->bytes[41], 1400 & 0xff);
        assert_int_equal(world_counter(w, GW_EDGE_C_GATEWAY_PROHIBITED), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_GATEWAY_EXCEEDED), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_GATEWAY_TOO_BIG), 1);
}

static void test_owner_is_asked_for_and_the_frame_waits(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.2.0.1", "10.99.0.9", 3);
        struct gw_query query;
        const struct world_sent *sent;

        start(w);
        echo_to(w, "10.2.0.1", 64, 0);
        assert_int_equal(w->n_down, 0);
        sent = world_sent_find(w, GW_FRAME_QUERY);
        assert_non_null(sent);
        assert_int_equal(gw_query_decode(sent->body, sent->size, &query), 0);
        assert_int_equal(query.vni, GREEN);
        assert_true(!query.by_mac && gw_ip_eq(query.ip, ip_of("10.2.0.1")));
        m.vni = GREEN;
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, sent->id, &m, 1, NULL, 0), 0);
        last(w, GW_EDGE_ROUTE);
        echo_to(w, "10.2.0.1", 64, 0); /* came up before the answer did: goes at once */
        last(w, GW_EDGE_ROUTE);
        assert_int_equal(w->n_down, 2);
}

/* As frames to a MAC do: the entry lets nothing pass by itself before all that waited, and came up meanwhile, has gone. */
static void test_what_waits_to_be_routed_goes_first(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.2.0.1", "10.99.0.9", 3);

        start(w);
        m.vni = GREEN;
        for (int i = 0; i < 3; i++)
                echo_to(w, "10.2.0.1", 64, 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &m, 1, NULL, 0), 0);
        assert_true(world_fdb_find(w, 9)->entry.punt);
        assert_true(gw_edge_wants_drain(w->edge));
        echo_to(w, "10.2.0.1", 64, 0);
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(world_fdb_find(w, 9)->entry.punt);
        assert_false(gw_edge_wants_drain(w->edge));
        assert_int_equal(w->n_down, 4);
        for (size_t i = 0; i < 4; i++)
                assert_int_equal(w->down[i].how, GW_EDGE_ROUTE);
}

static void test_the_role_ends(void **state) {
        struct world *w = *state;

        start(w);
        tell(w, gateway("10.99.0.8", LIVE, 30));
        assert_int_equal(entry(w)->place, GW_EDGE_TO_GATEWAY); /* its own */
        assert_int_equal(gw_edge_route(w->edge, NULL, 0, NULL, 0, 0), 0);
        assert_true(uses(w, "10.99.0.8"));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_the_cheapest_that_lives, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_the_present_one_is_kept_while_none_lives, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_echo_is_answered, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_errors, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_owner_is_asked_for_and_the_frame_waits, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_what_waits_to_be_routed_goes_first, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_the_role_ends, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
