/* SPDX-License-Identifier: Apache-2.0 */
/* The edge and what guests ask and say on their link: the gateway, questions without an answer, announcements. */
#include "edge_fixture.h"

static const struct gw_mac gateway_mac = {{0x02, 0x67, 0x77, 0, 0, 1}};

static int say(struct world *w, uint32_t flags, const char *first, const char *second) {
        struct gw_vn_settings vn = {.vni = WORLD_VNI, .flags = flags};
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        if (first)
                vn.gateways[vn.n_gateways++] = ip_of(first);
        if (second)
                vn.gateways[vn.n_gateways++] = ip_of(second);
        size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);
        return gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                             size - GW_FRAME_HEADER_SIZE);
}

static const struct world_neigh *neigh(const struct world *w, const char *ip) {
        for (size_t i = 0; i < w->n_neighs; i++)
                if (gw_ip_eq(w->neighs[i].ip, ip_of(ip)))
                        return &w->neighs[i];
        return NULL;
}

static bool gateway_is(const struct world *w, const char *ip) {
        const struct world_neigh *n = neigh(w, ip);

        return n && gw_mac_eq(n->mac, gateway_mac);
}

/* A question from web: who has ip? */
static void ask_arp(struct world *w, const char *ip) {
        uint8_t frame[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
        uint32_t v4 = gw_ip_v4(ip_of(ip));

        memcpy(frame + 38, &v4, 4);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, frame, sizeof frame);
}

static void ask_nd(struct world *w, const char *ip) {
        uint8_t frame[86] = {0x33, 0x33, 0xff, 0,    0,    2,    0x52,      0x54,      0,
                             0,    0,    1,    0x86, 0xdd, 0x60, [20] = 58, [21] = 255};
        struct gw_ip target = ip_of(ip);

        frame[54] = 135;
        memcpy(frame + 62, target.b, 16);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, frame, sizeof frame);
}

static void gateway_comes_and_goes(void **state) {
        struct world *w = *state;

        world_serve(w);
        assert_int_equal(say(w, 0, "10.1.0.254", "fd00:1::fe"), 0);
        assert_true(gateway_is(w, "10.1.0.254") && gateway_is(w, "fd00:1::fe"));
        assert_true(gateway_is(w, "fe80::67:77ff:fe00:1"));
        assert_int_equal(say(w, 0, "10.1.0.254", NULL), 0);
        assert_true(gateway_is(w, "10.1.0.254") && !neigh(w, "fd00:1::fe"));
        assert_int_equal(say(w, 0, NULL, NULL), 0);
        assert_null(neigh(w, "10.1.0.254"));
        assert_null(neigh(w, "fe80::67:77ff:fe00:1"));
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
}

/* Who asked before it was known is answered then. */
static void gateway_answers_who_waits(void **state) {
        struct world *w = *state;

        world_serve(w);
        ask_arp(w, "10.1.0.254");
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(say(w, 0, "10.1.0.254", NULL), 0);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, GW_EDGE_AS_SENT);
}

static void gateway_outlives_the_daemon(void **state) {
        struct world *w = *state;

        world_serve(w);
        gw_edge_adopt_neigh(w->edge, w->now, WORLD_VNI, ip_of("10.1.0.254"), gateway_mac);
        gw_edge_adopt_neigh(w->edge, w->now, WORLD_VNI, ip_of("fe80::67:77ff:fe00:1"), gateway_mac);
        assert_true(gateway_is(w, "10.1.0.254"));
        assert_int_equal(say(w, 0, NULL, NULL), 0); /* it was taken away meanwhile */
        assert_null(neigh(w, "10.1.0.254"));
        assert_null(neigh(w, "fe80::67:77ff:fe00:1"));
}

static void settings_of_strangers_are_ignored(void **state) {
        struct world *w = *state;
        struct gw_vn_settings vn = {.vni = WORLD_VNI + 1, .n_gateways = 1, .gateways = {ip_of("10.1.0.254")}};
        uint8_t bytes[256];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);

        world_serve(w);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
        assert_null(neigh(w, "10.1.0.254"));
}

/* A link-local address made of a MAC is nobody's in the directory; its MAC is somebody's. */
static void link_local_is_asked_for_by_mac(void **state) {
        struct gw_query query;
        const struct world_sent *sent;
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        ask_nd(w, "fe80::5054:ff:fe00:9");
        sent = world_sent_find(w, GW_FRAME_QUERY);
        assert_int_equal(gw_query_decode(sent->body, sent->size, &query), 0);
        assert_true(query.by_mac && gw_mac_eq(query.mac, mac_of(9)));
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, sent->id, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 1);
        ask_nd(w, "fe80::1"); /* of no MAC */
        sent = world_sent_find(w, GW_FRAME_QUERY);
        assert_int_equal(gw_query_decode(sent->body, sent->size, &query), 0);
        assert_false(query.by_mac);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(gateway_comes_and_goes),         TEST(gateway_answers_who_waits),
                TEST(gateway_outlives_the_daemon),    TEST(settings_of_strangers_are_ignored),
                TEST(link_local_is_asked_for_by_mac),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
