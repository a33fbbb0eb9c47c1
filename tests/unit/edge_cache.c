/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: mappings, questions, frames. */
#include "edge_fixture.h"

#include "edge/toobig.h"

/* ---- mappings ---- */

static void test_epochs(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        m = mapping_of(9, "10.1.0.9", "10.99.0.8", 4);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_true(gw_ip_eq(world_fdb_find(w, 9)->entry.locator, ip_of("10.99.0.9")));
        m = mapping_of(9, "10.1.0.9", NULL, 6);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 3, &m, 1, NULL, 0), 0);
        assert_null(world_fdb_find(w, 9));
        assert_false(world_neigh_is(w, "10.1.0.9", 9));
        m = mapping_of(9, "10.1.0.9", "10.99.0.8", 5); /* older than "nowhere" */
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 4, &m, 1, NULL, 0), 0);
        assert_null(world_fdb_find(w, 9));
        assert_int_equal(world_counter(w, GW_EDGE_C_MAPPINGS_STALE), 2);
        assert_int_equal(world_sent_count(w, GW_FRAME_UPDATE_ACK), 4);
}

static void test_fence(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(1, "10.1.0.1", "10.99.0.9", 5);

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0); /* the same epoch elsewhere */
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(world_counter(w, GW_EDGE_C_MAPPINGS_CONFLICT), 1);
        m.epoch = 6;
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_MOVED);
        assert_int_equal(world_counter(w, GW_EDGE_C_FENCED), 1);
}

static void test_addresses_change_hands(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        m = mapping_of(8, "10.1.0.9", "10.99.0.9", 1); /* another VM has it now */
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_true(world_neigh_is(w, "10.1.0.9", 8));
        m = mapping_of(9, NULL, NULL, 6); /* the end of the former owner leaves it alone */
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 3, &m, 1, NULL, 0), 0);
        assert_true(world_neigh_is(w, "10.1.0.9", 8));
        m = mapping_of(7, "10.1.0.1", "10.99.0.9", 1); /* that of a VM which serves here is not for others */
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 4, &m, 1, NULL, 0), 0);
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
}

static void test_lifetimes(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        m.lifetime_ms = 8000;
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        w->in_use = true;
        world_pass(w, 5900);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 0);
        world_pass(w, 150);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1); /* asked again at three quarters */
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &m, 1, NULL, 0), 0);
        world_pass(w, 4000);
        assert_non_null(world_fdb_find(w, 9));
        w->in_use = false;
        world_pass(w, 4500);
        assert_null(world_fdb_find(w, 9));
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
}

static void test_nothing_ends_without_the_nva(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        struct gw_member member = {WORLD_VNI, ip_of("10.99.0.9"), false};

        world_serve(w);
        m.lifetime_ms = 8000;
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, &member, 1), 0);
        gw_edge_nva_down(w->edge, w->now);
        world_pass(w, 100000);
        assert_non_null(world_fdb_find(w, 9));
        world_forget_sent(w);
        world_up(w);
        assert_int_equal(world_sent_count(w, GW_FRAME_SUBSCRIBE), 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 1);
        assert_true(world_member_is(w, "10.99.0.9"));
        world_pass(w, 12000); /* not confirmed by the NVA that came back, and not in use */
        assert_null(world_fdb_find(w, 9));
        assert_true(world_member_is(w, "10.99.0.9")); /* the list of members has not come yet */
        member = (struct gw_member){.vni = WORLD_VNI, .gone = true};
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, NULL, 0, &member, 1), 0);
        world_pass(w, 12000);
        assert_false(world_member_is(w, "10.99.0.9"));
}

static void test_flush(void **state) {
        struct world *w = *state;
        struct gw_mapping m[] = {mapping_of(9, "10.1.0.9", "10.99.0.9", 5), mapping_of(8, "10.1.0.8", "10.99.0.9", 5)};
        struct gw_flush_request flush = {.vni = WORLD_VNI, .mac = mac_of(9), .positive = true};
        uint8_t bytes[128];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, m, 2, NULL, 0), 0);
        size = gw_flush_encode(&out, 9, &flush);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_FLUSH, 9, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
        assert_null(world_fdb_find(w, 9));
        assert_non_null(world_fdb_find(w, 8));
        assert_int_equal(world_sent_find(w, GW_FRAME_UPDATE_ACK)->id, 9);
        flush.all = true;
        out = gw_writer(bytes, sizeof bytes);
        size = gw_flush_encode(&out, 10, &flush);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_FLUSH, 10, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
        assert_null(world_fdb_find(w, 8));
        assert_non_null(world_fdb_find(w, 1)); /* a port is not a mapping */
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
}

static void test_adoption(void **state) {
        struct world *w = *state;
        struct gw_edge_fdb remote = {.place = GW_EDGE_TO_REMOTE, .locator = ip_of("10.99.0.9"), .epoch = 5};
        struct gw_edge_attach a = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.8", 4);

        assert_int_equal(world_attach(w, &a), 0);
        gw_edge_adopt_member(w->edge, w->now, WORLD_VNI, ip_of("10.99.0.9"), 0);
        gw_edge_adopt_fdb(w->edge, w->now, WORLD_VNI, mac_of(9), &remote);
        gw_edge_adopt_neigh(w->edge, w->now, WORLD_VNI, ip_of("10.1.0.9"), mac_of(9));
        gw_edge_adopt_fdb(w->edge, w->now, WORLD_VNI, mac_of(1), &remote); /* a port's own is not touched */
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(world_fdb_find(w, 9)->entry.place, GW_EDGE_TO_REMOTE);
        assert_true(world_neigh_is(w, "10.1.0.9", 9));
        world_up(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(world_fdb_find(w, 9)->entry.epoch, 5); /* the epoch rule holds across restarts */
        m = mapping_of(9, "10.1.0.9", NULL, 6);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_null(world_fdb_find(w, 9));
        assert_false(world_neigh_is(w, "10.1.0.9", 9));
}

/* ---- queries ---- */

static void test_unknown_is_held_and_released_in_order(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        uint32_t id;

        world_serve(w);
        for (uint8_t tag = 1; tag <= 3; tag++)
                world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, tag);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1); /* one question for all */
        id = world_sent_find(w, GW_FRAME_QUERY)->id;
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, id, &m, 1, NULL, 0), 0);
        assert_true(world_fdb_find(w, 9)->entry.punt);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 4);
        gw_edge_punts_drained(w->edge, w->now);
        assert_false(world_fdb_find(w, 9)->entry.punt);
        assert_int_equal(w->n_down, 4);
        for (uint8_t i = 0; i < 4; i++) {
                assert_int_equal(w->down[i].tag, i + 1);
                assert_int_equal(w->down[i].how, GW_EDGE_AS_SENT);
                assert_true(w->down[i].entry_punts); /* none could be overtaken */
        }
}

static void test_negative(void **state) {
        struct world *w = *state;
        struct gw_mapping no = {.vni = WORLD_VNI, .state = GW_MAPPING_ABSENT, .lifetime_ms = 2000, .mac = mac_of(9)};

        world_serve(w);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &no, 1, NULL, 0), 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), 1);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_NEGATIVE_HITS), 1);
        world_pass(w, 1900);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 3);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        world_pass(w, 200);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 4);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 2);
        assert_int_equal(w->n_down, 0);
}

static void test_no_answer(void **state) {
        struct world *w = *state;

        world_serve(w);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        world_pass(w, 250);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 3);
        world_pass(w, 100);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERY_TIMEOUTS), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE), 1);
        world_pass(w, 1100);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 4);
}

static void test_push_answers_a_question(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        world_punt(w, GW_EDGE_WIRE_UNKNOWN, 0, 9, 8, 1);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, GW_EDGE_FROM_WIRE);
}

static void test_held_is_bounded(void **state) {
        struct world *w = *state;

        world_serve(w);
        for (int i = 0; i < GW_EDGE_HELD_FRAMES_MAX + 10; i++)
                world_punt(w, GW_EDGE_UNKNOWN, 1, 9, 1, 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), GW_EDGE_HELD_FRAMES_MAX);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD_DROPPED_FULL), 10);
        gw_edge_nva_down(w->edge, w->now);
        for (unsigned i = 0; i < GW_EDGE_QUERIES_MAX; i++)
                world_punt(w, GW_EDGE_UNKNOWN, 1, 1000 + i, 1, 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_QUERIES), GW_EDGE_QUERIES_MAX / 3); /* one port's share */
        world_pass(w, 2000);
        assert_int_equal(world_counter(w, GW_EDGE_C_HELD), world_counter(w, GW_EDGE_C_HELD_DROPPED_NEGATIVE));
}

/* Who has 10.1.0.9? */
static const uint8_t arp_request[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0,    0,    0,  1, 8, 6,
                                        0,    1,    8,    0,    6,    4,    0,    1,    0x52, 0x54, 0,  0, 0, 1,
                                        10,   1,    0,    1,    0,    0,    0,    0,    0,    0,    10, 1, 0, 9};

static void test_arp(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        struct gw_query query;

        world_serve(w);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, arp_request, sizeof arp_request);
        assert_int_equal(gw_query_decode(world_sent_find(w, GW_FRAME_QUERY)->body,
                                         world_sent_find(w, GW_FRAME_QUERY)->size, &query),
                         0);
        assert_false(query.by_mac);
        assert_true(gw_ip_eq(query.ip, ip_of("10.1.0.9")));
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &m, 1, NULL, 0), 0);
        assert_true(world_neigh_is(w, "10.1.0.9", 9));
        assert_non_null(world_fdb_find(w, 9));
        assert_int_equal(w->n_down, 1); /* the request again: it is answered now */
        assert_int_equal(w->down[0].how, GW_EDGE_AS_SENT);
        assert_memory_equal(w->down[0].bytes, arp_request, sizeof arp_request);
}

static void test_solicitation(void **state) {
        struct world *w = *state;
        uint8_t ns[14 + 40 + 24] = {0x33, 0x33, 0xff, 0, 0, 9, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd, 0x60};
        struct gw_ip target = ip_of("fd00:1::9");
        struct gw_mapping no = {
                .vni = WORLD_VNI, .state = GW_MAPPING_ABSENT, .lifetime_ms = 1000, .n_ips = 1, .ips = {target}};
        struct gw_query query;

        world_serve(w);
        ns[14 + 6] = 58;
        ns[14 + 40] = 135;
        memcpy(ns + 14 + 40 + 8, target.b, 16);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, ns, sizeof ns);
        assert_int_equal(gw_query_decode(world_sent_find(w, GW_FRAME_QUERY)->body,
                                         world_sent_find(w, GW_FRAME_QUERY)->size, &query),
                         0);
        assert_true(gw_ip_eq(query.ip, target));
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, world_sent_find(w, GW_FRAME_QUERY)->id, &no, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 0);
        for (size_t size = 0; size < sizeof ns; size++) /* cut short anywhere */
                world_punt_bytes(w, GW_EDGE_SOLICIT, 1, ns, size);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
}

/* ---- announcements ---- */

/* ---- the session ---- */

static void test_malformed_frames(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_batch_encode(&out, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0);

        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, NULL, 0), GW_E_MALFORMED);
        world_serve(w);
        for (size_t cut = 1; cut < size - GW_FRAME_HEADER_SIZE; cut++)
                assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                               size - GW_FRAME_HEADER_SIZE - cut),
                                 GW_E_MALFORMED);
        assert_null(world_fdb_find(w, 9));
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_QUERY, 1, NULL, 0), GW_E_MALFORMED);
}

/* ---- too big ---- */

static uint32_t sum(const uint8_t *p, size_t n, uint32_t s) {
        for (size_t i = 0; i + 1 < n; i += 2)
                s += (uint32_t)p[i] << 8 | p[i + 1];
        if (n & 1)
                s += (uint32_t)p[n - 1] << 8;
        while (s >> 16)
                s = (s & 0xffff) + (s >> 16);
        return s;
}

static void test_too_big_v4(void **state) {
        struct world *w = *state;
        uint8_t frame[1600] = {2, 0, 0, 0, 0, 9, 0x52, 0x54, 0, 0, 0, 1, 8, 0, 0x45};
        uint8_t out[GW_TOO_BIG_MAX];
        size_t n;

        frame[14 + 9] = 17;
        memcpy(frame + 14 + 12, (uint8_t[]){10, 1, 0, 1, 10, 1, 0, 9}, 8);
        n = gw_too_big_answer(frame, sizeof frame, 1450, out);
        assert_int_equal(n, 14 + 576);
        assert_memory_equal(out, frame + 6, 6);
        assert_memory_equal(out + 14 + 12, ((uint8_t[]){10, 1, 0, 9, 10, 1, 0, 1}), 8);
        assert_int_equal(sum(out + 14, 20, 0), 0xffff);
        assert_int_equal(sum(out + 34, n - 34, 0), 0xffff);
        assert_int_equal(out[34] << 8 | out[35], 0x0304);
        assert_int_equal(out[40] << 8 | out[41], 1450);
        frame[14 + 9] = 1;
        frame[14 + 20] = 3; /* an error */
        assert_int_equal(gw_too_big_answer(frame, sizeof frame, 1450, out), 0);
        frame[14 + 20] = 8;
        assert_true(gw_too_big_answer(frame, sizeof frame, 1450, out) > 0);
        frame[14 + 7] = 1; /* a later fragment */
        assert_int_equal(gw_too_big_answer(frame, sizeof frame, 1450, out), 0);
        frame[14 + 7] = 0;
        for (size_t size = 0; size < 14 + 28; size++)
                assert_int_equal(gw_too_big_answer(frame, size, 1450, out), 0);
        world_serve(w);
        for (int i = 0; i < 100; i++)
                world_punt_bytes(w, GW_EDGE_TOO_BIG, 1, frame, sizeof frame);
        assert_int_equal(world_counter(w, GW_EDGE_C_TOO_BIG_ANSWERED), 20);
        assert_int_equal(world_counter(w, GW_EDGE_C_TOO_BIG_LIMITED), 80);
        assert_int_equal(w->down[0].ifindex, 1);
}

/* Cut into fragments on its way up, as it would have been on the wire. */
static void test_fragments_that_fit_are_sent_on(void **state) {
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);
        uint8_t group[60] = {1, 0, 0x5e, 1, 2, 3, 0x52, 0x54, 0, 0, 0, 1, 8, 0};

        world_serve(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        world_punt(w, GW_EDGE_TOO_BIG, 1, 9, 1, 1);
        world_punt_bytes(w, GW_EDGE_TOO_BIG, 1, group, sizeof group);
        assert_int_equal(w->n_down, 2);
        for (int i = 0; i < 2; i++)
                assert_int_equal(w->down[i].how, GW_EDGE_AS_SENT);
        world_punt(w, GW_EDGE_TOO_BIG, 1, 8, 1, 2); /* to somebody who is not known yet */
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_TOO_BIG_ANSWERED), 0);
}

static void test_too_big_v6(void **state) {
        uint8_t frame[1600] = {2, 0, 0, 0, 0, 9, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd, 0x60};
        uint8_t out[GW_TOO_BIG_MAX], pseudo[40] = {0};
        struct gw_ip from = ip_of("fd00:1::1"), to = ip_of("fd00:1::9");
        size_t n;

        (void)state;
        frame[14 + 6] = 6;
        memcpy(frame + 14 + 8, from.b, 16);
        memcpy(frame + 14 + 24, to.b, 16);
        n = gw_too_big_answer(frame, sizeof frame, 1430, out);
        assert_int_equal(n, 14 + 1280);
        assert_memory_equal(out + 14 + 8, to.b, 16);
        assert_memory_equal(out + 14 + 24, from.b, 16);
        memcpy(pseudo, out + 14 + 8, 32);
        pseudo[34] = (uint8_t)((n - 54) >> 8);
        pseudo[35] = (uint8_t)(n - 54);
        pseudo[39] = 58;
        assert_int_equal(sum(out + 54, n - 54, sum(pseudo, 40, 0)), 0xffff);
        assert_int_equal(out[54], 2);
        assert_int_equal(out[60] << 8 | out[61], 1430);
        frame[14 + 24] = 0xff;
        assert_int_equal(gw_too_big_answer(frame, sizeof frame, 1430, out), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_epochs, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_fence, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_addresses_change_hands, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_lifetimes, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_nothing_ends_without_the_nva, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_flush, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_adoption, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_unknown_is_held_and_released_in_order, world_setup,
                                                world_teardown),
                cmocka_unit_test_setup_teardown(test_negative, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_no_answer, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_push_answers_a_question, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_held_is_bounded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_arp, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_solicitation, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_malformed_frames, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_too_big_v4, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_fragments_that_fit_are_sent_on, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_too_big_v6, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("edge_cache", tests, NULL, NULL);
}
