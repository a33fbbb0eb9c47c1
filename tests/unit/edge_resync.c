/* SPDX-License-Identifier: Apache-2.0 */
/* The core of the NVE: complete VNs, flushes, resynchronisation, and what it did without the NVA. */
#include "edge_fixture.h"

#include <stdlib.h>

#include "wire/digest.h"

static void tell_all(struct world *w, bool final) {
        struct gw_member mark = {.vni = WORLD_VNI, .final = final};

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 90, NULL, 0, &mark, 1), 0);
}

static void learn(struct world *w, unsigned mac, uint64_t epoch) {
        struct gw_mapping m = mapping_of(mac, NULL, "10.99.0.9", epoch);

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, mac, &m, 1, NULL, 0), 0);
}

static void flush(struct world *w, bool positive, bool negative) {
        struct gw_flush_request request = {.vni = WORLD_VNI, .all = true, .positive = positive, .negative = negative};
        uint8_t bytes[64];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_flush_encode(&out, 77, &request);

        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_FLUSH, 77, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

/* In a VN of which everything was told nobody is asked for those who do not exist. */
static void test_complete_vn_asks_nothing(void **state) {
        struct world *w = *state;

        world_serve(w);
        tell_all(w, false);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1); /* all told, but others may come and not be told */
        tell_all(w, true);
        for (unsigned i = 0; i < 100; i++)
                world_punt(w, GW_EDGE_UNKNOWN, 1, 60 + i, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_NO_SUCH), 100);
        world_punt(w, GW_EDGE_WIRE_UNKNOWN, 0, 51, 9, 1); /* somebody else believes it is here */
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 2);
        flush(w, false, true);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 52, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 3);
}

static void test_flush(void **state) {
        struct world *w = *state;
        struct gw_mapping no = mapping_of(50, NULL, NULL, 0);
        uint32_t id;

        world_serve(w);
        learn(w, 9, 5);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        id = world_sent_find(w, GW_FRAME_QUERY)->id;
        no.lifetime_ms = 30000;
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, id, &no, 1, NULL, 0), 0);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        flush(w, false, true);
        assert_non_null(world_fdb_find(w, 9));
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 2);
        flush(w, true, false);
        assert_null(world_fdb_find(w, 9));
        assert_int_equal(world_counter(w, GW_EDGE_C_FLUSHES), 2);
        assert_int_equal(world_sent_find(w, GW_FRAME_UPDATE_ACK)->id, 77);
}

static void agree(struct world *w, uint32_t id, const uint8_t *bits, size_t n) {
        struct gw_agreed agreed = {.vni = WORLD_VNI, .lifetime_ms = 5000, .n_octets = n};
        uint8_t bytes[1024];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        memcpy(agreed.bits, bits, n);
        size = gw_agreed_encode(&out, id, &agreed);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_AGREED, id, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static void reconnect(struct world *w) {
        gw_edge_nva_down(w->edge, w->now);
        world_forget_sent(w);
        world_up(w);
}

static const struct world_sent *in_order(const struct world *w, uint8_t first, uint8_t then) {
        const struct world_sent *found = NULL;

        for (size_t i = 0; i < w->n_sent; i++) {
                if (w->sent[i].type == first)
                        found = &w->sent[i];
                if (w->sent[i].type == then)
                        return found;
        }
        return NULL;
}

/* Single mappings: what agrees lives on without a word; what does not is asked for when in use, at once. */
static void test_held_mappings_are_offered(void **state) {
        struct world *w = *state;
        struct gw_held *held = calloc(1, sizeof *held);
        const struct world_sent *offer;
        uint8_t bits = 0;

        world_serve(w);
        learn(w, 9, 5);
        learn(w, 10, 5);
        reconnect(w);
        offer = in_order(w, GW_FRAME_HELD, GW_FRAME_SUBSCRIBE);
        assert_non_null(offer);
        assert_int_equal(gw_held_decode(offer->body, offer->size, held), 0);
        assert_int_equal(held->n, 2);
        for (size_t i = 0; i < held->n; i++)
                if (gw_mac_eq(held->all[i].mac, mac_of(9)))
                        bits = (uint8_t)(1U << i);
        w->in_use = true;
        agree(w, offer->id, &bits, 1);
        world_pass(w, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_RESYNC_AGREED), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_RESYNC_DOUBTED), 1);
        agree(w, offer->id, &bits, 1); /* said twice, or made up: nothing */
        assert_int_equal(world_counter(w, GW_EDGE_C_RESYNC_AGREED), 1);
        free(held);
}

static void test_complete_vn_is_digested(void **state) {
        struct world *w = *state;
        struct gw_digest *digest = calloc(1, sizeof *digest);
        struct gw_mapping m = mapping_of(10, NULL, "10.99.0.9", 5);
        const struct world_sent *offer;
        uint8_t bits[GW_DIGEST_BUCKETS_MAX / 8];
        size_t bad;

        world_serve(w);
        for (unsigned i = 10; i < 42; i++)
                learn(w, i, 5);
        tell_all(w, true);
        reconnect(w);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1); /* it is for the new session to say what is all */
        offer = in_order(w, GW_FRAME_DIGEST, GW_FRAME_SUBSCRIBE);
        assert_non_null(offer);
        assert_null(world_sent_find(w, GW_FRAME_HELD));
        assert_int_equal(gw_digest_decode(offer->body, offer->size, digest), 0);
        assert_int_equal(digest->n, 8);
        bad = gw_digest_bucket(m.mac, digest->n);
        memset(bits, 0xff, sizeof bits);
        bits[0] = (uint8_t) ~(1U << bad);
        agree(w, offer->id, bits, 1);
        world_pass(w, 4000); /* less than what they may be used for now; the sweep has not come */
        assert_non_null(world_fdb_find(w, 10));
        world_pass(w, 7000);
        assert_null(world_fdb_find(w, 10)); /* not told again, not in use */
        free(digest);
}

static void test_report_comes_again(void **state) {
        struct world *w = *state;
        struct gw_attached attached[4];
        const struct world_sent *sent;
        uint32_t vnis[4];
        size_t n;

        world_serve(w);
        world_forget_sent(w);
        world_pass(w, GW_EDGE_REPORT_EVERY_MS);
        sent = world_sent_find(w, GW_FRAME_SUBSCRIBE);
        assert_non_null(sent);
        assert_int_equal(gw_subscribe_decode(sent->body, sent->size, vnis, 4, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(gw_attached_decode(sent->body, sent->size, attached, 4, &n), 0);
        assert_int_equal(n, 1);
        assert_int_equal(attached[0].vni, WORLD_VNI);
        assert_int_equal(attached[0].ports, 1);
        assert_int_equal(attached[0].v4.bits, 128);
        assert_true(gw_ip_eq(attached[0].v4.ip, ip_of("10.1.0.1")));
        assert_int_equal(attached[0].v6.bits, 0);
}

static void test_absence_is_told(void **state) {
        struct world *w = *state;
        struct gw_name vm = name_of("web");
        const struct world_sent *sent;
        struct gw_absence absence;

        world_serve(w);
        gw_edge_nva_down(w->edge, w->now);
        world_punt(w, GW_EDGE_UNKNOWN, 1, 50, 1, 1);
        world_pass(w, 1500);
        assert_int_equal(gw_edge_absence(w->edge, w->now).away_ms, 1500);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.9"), 6, &(struct gw_error){0}), 0);
        assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, 7, &(struct gw_error){0}), 0);
        world_up(w);
        sent = world_sent_find(w, GW_FRAME_ABSENCE);
        assert_non_null(sent);
        assert_int_equal(gw_absence_decode(sent->body, sent->size, &absence), 0);
        assert_int_equal(absence.away_ms, 1500);
        assert_int_equal(absence.cuts, 1);
        assert_int_equal(absence.activated, 1);
        assert_int_equal(absence.waiting, 1);
        assert_int_equal(absence.unanswered, 1);
        gw_edge_nva_down(w->edge, w->now);
        assert_int_equal(gw_edge_absence(w->edge, w->now).cuts, 0);
}

/* An authority that knows nothing of it is sent nothing of it, and what a later one may send is skipped. */
static void test_versions(void **state) {
        struct world *w = *state;
        uint8_t bytes[64];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);

        world_serve(w);
        learn(w, 9, 5);
        gw_edge_nva_down(w->edge, w->now);
        world_forget_sent(w);
        gw_edge_nva_up(w->edge, w->now);
        gw_put_u16(&out, 2); /* a WELCOME as the first version had it: name, restarts */
        gw_put_u32(&out, 3);
        gw_put_bytes(&out, "nva", 3);
        gw_put_u16(&out, 4);
        gw_put_u32(&out, 8);
        gw_put_u64(&out, 1);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_WELCOME, 0, bytes, out.at), 0);
        assert_non_null(world_sent_find(w, GW_FRAME_SUBSCRIBE));
        assert_null(world_sent_find(w, GW_FRAME_HELD));
        assert_null(world_sent_find(w, GW_FRAME_DIGEST));
        assert_null(world_sent_find(w, GW_FRAME_ABSENCE));
        assert_int_equal(gw_edge_frame(w->edge, w->now, 200, 0, bytes, out.at), 0);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_QUERY, 0, bytes, out.at), GW_E_MALFORMED);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_complete_vn_asks_nothing),
                TEST(test_flush),
                TEST(test_held_mappings_are_offered),
                TEST(test_complete_vn_is_digested),
                TEST(test_report_comes_again),
                TEST(test_absence_is_told),
                TEST(test_versions),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
