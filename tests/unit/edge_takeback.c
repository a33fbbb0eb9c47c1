/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a VM says while it is fenced after a cut, and which is taken back: whatever the data plane would have handed up of
 * it is asked for, answered or heard, as of any other VM.
 */
#include "edge_fixture.h"

enum { TARGET_EPOCH = 6, BACK_EPOCH };

static const char *const target = "10.99.0.9", *const former = "10.99.0.7";

/* It talks with the one that has MAC 7. */
static void cut(struct world *w) {
        struct gw_mapping m = mapping_of(7, "10.1.0.7", former, 1);
        struct gw_name vm = name_of("web");

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 9, &m, 1, NULL, 0), 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(target), TARGET_EPOCH, NULL), 0);
        gw_edge_punts_drained(w->edge, w->now);
        w->n_down = 0;
}

enum { FRAME = 64, ASKS = 42, ASKS_6 = 78, TARGET = 38, TARGET_6 = 62, BIG = 14 + 1451 };

/* Who has it? To everybody. */
static void says_who_has(struct world *w, const char *ip) {
        static const uint8_t who[ASKS] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0,
                                          1,    8,    6,    0,    1,    8,    0,    6,    4, 0, 1};
        static const uint8_t who_6[ASKS_6] = {0x33, 0x33, 0xff, 0,    0,    9,         0x52,       0x54,      0,
                                              0,    0,    1,    0x86, 0xdd, [20] = 58, [21] = 255, [54] = 135};
        struct gw_ip whom = ip_of(ip);
        bool v4 = gw_ip_is_v4(whom);
        uint8_t bytes[ASKS_6];

        memcpy(bytes, v4 ? who : who_6, v4 ? ASKS : ASKS_6);
        memcpy(bytes + (v4 ? TARGET : TARGET_6), whom.b + (v4 ? 12 : 0), v4 ? 4 : 16);
        world_punt_bytes(w, GW_EDGE_FENCED, 1, bytes, v4 ? ASKS : ASKS_6);
}

static void says_big(struct world *w, uint32_t segment) {
        static const uint8_t head[34] = {0x52, 0x54, 0, 0, 0, 7, 0x52, 0x54, 0, 0, 0, 1, 8, 0, 0x45, 0, 5, 0xab};
        static const struct gw_ip from = {{[10] = 0xff, 0xff, 10, 1, 0, 1}};
        uint8_t bytes[BIG] = {0};
        struct gw_edge_punt punt = {
                .reason = GW_EDGE_FENCED,
                .frame = {.vni = WORLD_VNI, .ifindex = 1, .ip_octets = segment, .bytes = bytes, .size = sizeof bytes}};

        memcpy(bytes, head, sizeof head);
        bytes[23] = 17;
        memcpy(bytes + 26, from.b + 12, 4);
        memcpy(bytes + 30, from.b + 12, 4);
        bytes[33] = 7;
        gw_edge_punted(w->edge, w->now, &punt);
}

static void says_to_group(struct world *w, uint8_t tag) {
        uint8_t bytes[FRAME] = {0x33, 0x33, 0, 0, 0, 1, 0x52, 0x54, 0, 0, 0, 1, [14] = tag};

        world_punt_bytes(w, GW_EDGE_FENCED, 1, bytes, sizeof bytes);
}

/* It is taken in by the core as if the data plane had looked at it: what goes down does not come up again. */
static void says_it_all(struct world *w) {
        says_who_has(w, "10.1.0.9");
        says_who_has(w, "fd00:1::9");
        world_punt(w, GW_EDGE_FENCED, 1, 8, 1, 1); /* to a MAC that has been forgotten here */
        says_big(w, 0);
        says_big(w, 1450); /* it becomes two */
        says_who_has(w, "10.1.0.7");
        says_who_has(w, "10.1.0.1"); /* has it itself */
        says_to_group(w, 2);
        world_punt(w, GW_EDGE_FENCED, 1, 7, 1, 3);
}

/* From w->down[i] on; the one to `big` was answered. */
static void expect_said(const struct world *w, size_t i) {
        assert_int_equal(w->n_down, i + 6);
        assert_int_equal(w->down[i].how, 0);
        for (size_t j = 1; j < 6; j++)
                assert_int_equal(w->down[i + j].how, GW_EDGE_AS_SENT);
        assert_int_equal(w->down[i + 1].size, BIG);
        assert_int_equal(w->down[i + 4].tag, 2);
        assert_int_equal(w->down[i + 5].tag, 3);
}

static void what_it_said_is_asked_for(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_mapping ms[] = {mapping_of(9, "10.1.0.9", former, 1), mapping_of(8, "10.1.0.8", former, 1)};

        cut(w);
        says_it_all(w);
        assert_int_equal(w->n_down, 0);
        world_forget_sent(w);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH, NULL), 0);
        expect_said(w, 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 3);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), 3);
        assert_int_equal(world_counter(w, GW_EDGE_C_TOO_BIG_ANSWERED), 1);
        says_it_all(w); /* was on its way up */
        expect_said(w, 6);
        ms[0].ips[ms[0].n_ips++] = ip_of("fd00:1::9");
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 9, ms, 2, NULL, 0), 0);
        assert_int_equal(w->n_down, 12 + 6);
        for (size_t i = 12; i < w->n_down; i++)
                assert_int_equal(w->down[i].how, GW_EDGE_AS_SENT);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED_SENT), 18);
}

/* It is heard, as an announcement always is; nobody sends it on. */
static void what_it_announced_is_heard(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        uint8_t bytes[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                             1,    0x52, 0x54, 0,    0,    0,    1,    10,   1, 0, 1, 0, 0, 0, 0, 0, 0, 10, 1, 0, 1};

        cut(w);
        world_punt_bytes(w, GW_EDGE_FENCED, 1, bytes, sizeof bytes);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH, NULL), 0);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCED_ARP), 1);
}

/* To the gateway's MAC, of which the authority has no mapping. */
static void what_it_said_to_its_gateway_leaves(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        struct gw_member gateway = {.vni = WORLD_VNI, .locator = ip_of(former), .role = GW_MEMBER_ROUTES};
        uint8_t bytes[FRAME] = {[12] = 8, [14] = 1};

        cut(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 9, NULL, 0, &gateway, 1), 0);
        memcpy(bytes, GW_GATEWAY_MAC.b, 6);
        memcpy(bytes + 6, mac_of(1).b, 6);
        world_punt_bytes(w, GW_EDGE_FENCED, 1, bytes, sizeof bytes);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, BACK_EPOCH, NULL), 0);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, GW_EDGE_AS_SENT);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(what_it_said_is_asked_for, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_it_announced_is_heard, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(what_it_said_to_its_gateway_leaves, world_setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
