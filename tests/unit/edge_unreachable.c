/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of packets for a VM that does not run, by the VN's policy: stopped ones at the sender's edge, those that
 * stand still at their own. Both families. */
#include "edge_fixture.h"

enum { ETH = 14, TYPE_AT4 = ETH + 20, TYPE_AT6 = ETH + 40 };

static void policy(struct world *w, uint32_t flags, bool gateway) {
        struct gw_vn_settings vn = {.vni = WORLD_VNI, .flags = flags};
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        if (gateway) {
                vn.gateways[vn.n_gateways++] = ip_of("10.1.0.254");
                vn.gateways[vn.n_gateways++] = ip_of("fd00:1::fe");
        }
        size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

struct made {
        uint8_t bytes[80];
        size_t size;
};

static struct made datagram(unsigned from, unsigned to, const char *source, const char *destination) {
        bool v4 = gw_ip_is_v4(ip_of(source));
        struct gw_ip src = ip_of(source), dst = ip_of(destination);
        struct gw_mac a = mac_of(to), b = mac_of(from);
        struct made m = {.size = v4 ? ETH + 20 + 16U : ETH + 40 + 16U};
        uint8_t *ip = m.bytes + ETH;

        memcpy(m.bytes, a.b, 6);
        memcpy(m.bytes + 6, b.b, 6);
        m.bytes[12] = v4 ? 0x08 : 0x86;
        m.bytes[13] = v4 ? 0x00 : 0xdd;
        if (v4) {
                ip[0] = 0x45;
                ip[3] = 36;
                ip[8] = 64;
                ip[9] = 17;
                memcpy(ip + 12, src.b + 12, 4);
                memcpy(ip + 16, dst.b + 12, 4);
        } else {
                ip[0] = 0x60;
                ip[5] = 16;
                ip[6] = 17;
                ip[7] = 64;
                memcpy(ip + 8, src.b, 16);
                memcpy(ip + 24, dst.b, 16);
        }
        return m;
}

static void send4(struct world *w, uint8_t reason, uint32_t ifindex, unsigned from, unsigned to) {
        struct made m = datagram(from, to, "10.1.0.1", "10.1.0.9");

        world_punt_bytes(w, reason, ifindex, m.bytes, m.size);
}

static void send6(struct world *w, uint8_t reason, uint32_t ifindex, unsigned from, unsigned to) {
        struct made m = datagram(from, to, "fd00:1::1", "fd00:1::9");

        world_punt_bytes(w, reason, ifindex, m.bytes, m.size);
}

static void assert_unreachable(const struct world_frame *f, unsigned to, unsigned from, const char *speaker) {
        struct gw_ip ip = ip_of(speaker);
        struct gw_mac a = mac_of(to), b = mac_of(from);
        bool v4 = gw_ip_is_v4(ip);

        assert_memory_equal(f->bytes, a.b, 6);
        assert_memory_equal(f->bytes + 6, b.b, 6);
        if (v4) {
                assert_memory_equal(f->bytes + ETH + 12, ip.b + 12, 4);
                assert_int_equal(f->bytes[TYPE_AT4] << 8 | f->bytes[TYPE_AT4 + 1], 0x0301);
        } else {
                assert_memory_equal(f->bytes + ETH + 8, ip.b, 16);
                assert_int_equal(f->bytes[TYPE_AT6] << 8 | f->bytes[TYPE_AT6 + 1], 0x0103);
        }
}

/* web (1) is here; 9 is known and nowhere. */
static void stopped(struct world *w, uint32_t flags, bool gateway) {
        struct gw_mapping gone = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        policy(w, flags, gateway);
        gone.state = GW_MAPPING_ABSENT;
        gone.lifetime_ms = 5000;
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &gone, 1, NULL, 0), 0);
        w->n_down = 0;
}

static void stopped_is_answered(void **state) {
        struct world *w = *state;

        stopped(w, GW_VN_ABSENT_ANSWER, true);
        send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        send6(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 2);
        assert_int_equal(w->down[0].ifindex, 1);
        assert_int_equal(w->down[0].how, 0);
        assert_unreachable(&w->down[0], 1, 9, "10.1.0.254");
        assert_unreachable(&w->down[1], 1, 9, "fd00:1::fe");
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_ANSWERED), 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_DROPPED), 0);
}

static void without_gateway_the_destination_speaks(void **state) {
        struct world *w = *state;

        stopped(w, GW_VN_ABSENT_ANSWER, false);
        send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        send6(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 2);
        assert_unreachable(&w->down[0], 1, 9, "10.1.0.9");
        assert_unreachable(&w->down[1], 1, 9, "fd00:1::9");
}

static void stopped_is_dropped(void **state) {
        struct world *w = *state;

        stopped(w, GW_VN_ABSENT_DROP, true);
        send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        policy(w, 0, true); /* wait: there is nowhere to */
        send6(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_DROPPED), 2);
}

static void answers_are_bounded(void **state) {
        struct world *w = *state;

        stopped(w, GW_VN_ABSENT_ANSWER, true);
        for (int i = 0; i < 100; i++)
                send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 20);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_ANSWERED), 20);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_DROPPED), 80);
}

/* A question of neighbour discovery sent to its MAC, and an error: neither deserves one. */
static void some_get_no_answer(void **state) {
        struct made m = datagram(1, 9, "fd00:1::1", "fd00:1::9"), e = datagram(1, 9, "10.1.0.1", "10.1.0.9");
        struct world *w = *state;

        stopped(w, GW_VN_ABSENT_ANSWER, true);
        m.bytes[ETH + 6] = 58;
        m.bytes[TYPE_AT6] = 135;
        world_punt_bytes(w, GW_EDGE_UNKNOWN, 1, m.bytes, m.size);
        e.bytes[ETH + 9] = 1;
        e.bytes[TYPE_AT4] = 3;
        world_punt_bytes(w, GW_EDGE_UNKNOWN, 1, e.bytes, e.size);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_DROPPED), 2);
}

/* The first packet of a conversation waits for an answer of the NVA, which is no. */
static void who_waits_is_told(void **state) {
        struct gw_mapping no = {.vni = WORLD_VNI, .state = GW_MAPPING_ABSENT, .lifetime_ms = 2000, .mac = mac_of(9)};
        struct world *w = *state;

        world_serve(w);
        policy(w, GW_VN_ABSENT_ANSWER, true);
        w->n_down = 0;
        send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &no, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 1);
        assert_unreachable(&w->down[0], 1, 9, "10.1.0.254");
        send4(w, GW_EDGE_UNKNOWN, 1, 1, 9);
        assert_int_equal(w->n_down, 2);
}

static void set_still(struct world *w, bool still) {
        struct gw_name web = name_of("web");

        assert_int_equal(gw_edge_still(w->edge, &web, still, NULL), 0);
}

static void still_follows_policy_and_role(void **state) {
        struct gw_name web = name_of("web"), nobody = name_of("nobody");
        struct world *w = *state;

        world_serve(w);
        set_still(w, true);
        assert_false(w->still[1]); /* wait */
        policy(w, GW_VN_ABSENT_DROP, false);
        assert_true(w->still[1]);
        policy(w, GW_VN_ABSENT_ANSWER, false);
        assert_true(w->still[1]);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &web, ip_of("10.99.0.9"), 6, NULL), 0);
        assert_false(w->still[1]);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &web, 7, NULL), 0);
        assert_true(w->still[1]); /* as it was */
        set_still(w, false);
        assert_false(w->still[1]);
        set_still(w, true);
        policy(w, 0, false);
        assert_false(w->still[1]);
        assert_int_equal(gw_edge_still(w->edge, &nobody, true, NULL), GW_E_NOT_FOUND);
}

static void still_is_told_by_its_own_edge(void **state) {
        struct gw_mapping sender = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        struct made m = datagram(9, 1, "10.1.0.9", "10.1.0.1");
        struct world *w = *state;

        world_serve(w);
        policy(w, GW_VN_ABSENT_ANSWER, true);
        set_still(w, true);
        w->n_down = 0;
        world_punt_bytes(w, GW_EDGE_HOLD, 1, m.bytes, m.size); /* its sender is not known here: asked for */
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &sender, 1, NULL, 0),
                         0);
        assert_int_equal(w->n_down, 1);
        gw_edge_punts_drained(w->edge, w->now);
        world_punt_bytes(w, GW_EDGE_HOLD, 1, m.bytes, m.size);
        assert_int_equal(w->n_down, 2);
        assert_int_equal(w->down[1].how, GW_EDGE_AS_SENT);
        assert_int_equal(w->down[1].ifindex, 1);
        assert_unreachable(&w->down[1], 9, 1, "10.1.0.254");
        policy(w, GW_VN_ABSENT_DROP, true);
        world_punt_bytes(w, GW_EDGE_HOLD, 1, m.bytes, m.size);
        assert_int_equal(w->n_down, 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_ANSWERED), 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_ABSENT_DROPPED), 1);
        set_still(w, false); /* what was on its way up goes to it */
        world_punt_bytes(w, GW_EDGE_HOLD, 1, m.bytes, m.size);
        assert_int_equal(w->down[2].how, GW_EDGE_DELIVER);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(stopped_is_answered),
                TEST(without_gateway_the_destination_speaks),
                TEST(stopped_is_dropped),
                TEST(answers_are_bounded),
                TEST(some_get_no_answer),
                TEST(who_waits_is_told),
                TEST(still_follows_policy_and_role),
                TEST(still_is_told_by_its_own_edge),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
