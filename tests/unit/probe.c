/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's bookkeeping and its octets. The bookkeeping is held against a naive model
 * that keeps every packet of a run for good; its seed is printed, GW_SEED sets it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "lab/probe/packet.h"
#include "lab/probe/track.h"

static struct gw_track fresh(void) {
        struct gw_track track;

        assert_int_equal(gw_track_init(&track, 4, 5), 0);
        return track;
}

static void test_counts(void **state) {
        struct gw_track t = fresh();

        (void)state;
        for (uint64_t i = 0; i < 6; i++)
                assert_int_equal(gw_track_sent(&t, 100 + i), i);
        gw_track_received(&t, 0, 110);
        gw_track_received(&t, 2, 111);
        gw_track_received(&t, 1, 112); /* late: reordered */
        gw_track_received(&t, 2, 113); /* again: duplicated */
        gw_track_received(&t, 9, 114); /* never sent */
        assert_int_equal(gw_track_missing(&t), 3);
        gw_track_received(&t, 4, 130);
        gw_track_finish(&t);
        assert_int_equal(t.received, 4);
        assert_int_equal(t.duplicated, 1);
        assert_int_equal(t.reordered, 1);
        assert_int_equal(t.strays, 1);
        assert_int_equal(t.lost, 2);
        assert_int_equal(t.n_ranges, 2);
        assert_int_equal(t.ranges[0].first, 3);
        assert_int_equal(t.ranges[0].sent_ns, 103);
        assert_int_equal(t.ranges[1].first, 5);
        assert_int_equal(t.gaps.longest_ns, 17);
        assert_int_equal(t.gaps.n, 1);
        assert_int_equal(t.gaps.kept[0].start_ns, 113);
        gw_track_deinit(&t);
}

static void test_unsent(void **state) {
        struct gw_track t = fresh();

        (void)state;
        gw_track_sent(&t, 1);
        gw_track_unsent(&t);
        assert_int_equal(gw_track_sent(&t, 2), 0);
        gw_track_received(&t, 0, 3);
        gw_track_finish(&t);
        assert_int_equal(t.lost, 0);
        gw_track_deinit(&t);
}

/* A packet is lost when a whole window was sent after it, and a straggler then is not counted as received. */
static void test_window(void **state) {
        struct gw_track t = fresh();

        (void)state;
        for (uint64_t i = 0; i <= GW_TRACK_WINDOW; i++) {
                gw_track_sent(&t, 1 + i);
                if (i)
                        gw_track_received(&t, i, 2 + i);
        }
        assert_int_equal(t.lost, 1);
        gw_track_received(&t, 0, GW_TRACK_WINDOW + 9);
        assert_int_equal(t.strays, 1);
        gw_track_finish(&t);
        assert_int_equal(t.lost, 1);
        assert_int_equal(t.received, GW_TRACK_WINDOW);
        gw_track_deinit(&t);
}

static void test_one_way(void **state) {
        struct gw_track t = fresh();

        (void)state;
        gw_track_received_one_way(&t, 0, 10, 11);
        gw_track_received_one_way(&t, 3, 13, 14);
        gw_track_received_one_way(&t, 2, 12, 15);
        gw_track_received_one_way(&t, UINT64_C(1) << 40, 12, 15); /* a jump that no run makes */
        gw_track_finish(&t);
        assert_int_equal(t.next, 4);
        assert_int_equal(t.received, 3);
        assert_int_equal(t.reordered, 1);
        assert_int_equal(t.lost, 1);
        assert_int_equal(t.strays, 1);
        gw_track_deinit(&t);
}

static void test_gaps_keep_the_longest(void **state) {
        static const uint64_t steps[] = {50, 7, 3, 90, 60, 8, 70, 55};
        struct gw_gaps gaps;
        uint64_t at = 1000;

        (void)state;
        assert_int_equal(gw_gaps_init(&gaps, 4, 5), 0);
        gw_gaps_add(&gaps, at);
        for (size_t i = 0; i < sizeof steps / sizeof *steps; i++)
                gw_gaps_add(&gaps, at += steps[i]);
        gw_gaps_add(&gaps, at - 4); /* time does not run backwards */
        gw_gaps_sort(&gaps);
        assert_int_equal(gaps.n, 4);
        assert_int_equal(gaps.longest_ns, 90);
        assert_int_equal(gaps.kept[0].end_ns - gaps.kept[0].start_ns, 90);
        assert_int_equal(gaps.kept[1].end_ns - gaps.kept[1].start_ns, 60);
        assert_int_equal(gaps.kept[2].end_ns - gaps.kept[2].start_ns, 70);
        assert_int_equal(gaps.kept[3].end_ns - gaps.kept[3].start_ns, 55);
        gw_gaps_deinit(&gaps);
}

enum { MODEL_PACKETS = 3000 };

struct model {
        int came[MODEL_PACKETS];
        uint64_t received, duplicated, reordered;
        int highest;
};

static void deliver(struct model *m, struct gw_track *t, int sequence, uint64_t at_ns) {
        if (m->came[sequence]++)
                m->duplicated++;
        else
                m->received++;
        if (m->came[sequence] == 1 && sequence < m->highest)
                m->reordered++;
        if (sequence > m->highest)
                m->highest = sequence;
        gw_track_received(t, (uint64_t)sequence, at_ns);
}

/* Sends, and delivers what was sent before with loss, delay and repetition. */
static void run_model(unsigned seed) {
        struct model m = {.highest = -1};
        struct gw_track t = fresh();
        uint64_t at_ns = 1000;
        int lost = 0;

        srandom(seed);
        for (int i = 0; i < MODEL_PACKETS; i++) {
                gw_track_sent(&t, at_ns++);
                for (int n = (int)(random() % 3); n--;)
                        deliver(&m, &t, i - (int)(random() % (i < 20 ? i + 1 : 20)), at_ns++);
        }
        gw_track_finish(&t);
        for (int i = 0; i < MODEL_PACKETS; i++)
                lost += !m.came[i];
        assert_int_equal(t.received, m.received);
        assert_int_equal(t.duplicated, m.duplicated);
        assert_int_equal(t.reordered, m.reordered);
        assert_int_equal(t.lost, lost);
        gw_track_deinit(&t);
}

static void test_against_model(void **state) {
        unsigned seed = getenv("GW_SEED") ? (unsigned)strtoul(getenv("GW_SEED"), NULL, 10) : (unsigned)time(NULL);

        (void)state;
        printf("# seed %u\n", seed);
        for (unsigned i = 0; i < 20; i++)
                run_model(seed + i);
}

static void test_packets(void **state) {
        struct gw_probe_packet in = {GW_PROBE_TO, 0x12345678, 1000, 77, 88}, out;
        uint8_t bytes[GW_PROBE_HEADER + 10];

        (void)state;
        gw_probe_packet_encode(bytes, sizeof bytes, &in);
        assert_true(gw_probe_packet_decode(bytes, sizeof bytes, &out));
        assert_int_equal(out.kind, in.kind);
        assert_int_equal(out.stream, in.stream);
        assert_int_equal(out.rate, in.rate);
        assert_int_equal(out.sequence, in.sequence);
        assert_int_equal(out.sent_ns, in.sent_ns);
        for (size_t n = 0; n < GW_PROBE_HEADER; n++)
                assert_false(gw_probe_packet_decode(bytes, n, &out));
        bytes[4] = GW_PROBE_KINDS;
        assert_false(gw_probe_packet_decode(bytes, sizeof bytes, &out));
        bytes[4] = GW_PROBE_TO;
        bytes[0] ^= 1;
        assert_false(gw_probe_packet_decode(bytes, sizeof bytes, &out));
}

static void test_results(void **state) {
        struct gw_probe_packet packet = {GW_PROBE_RESULT, 1, 0, 0, 0};
        struct gw_probe_result in = {1, 2, 3, 4, 5, 6, 7}, out = {0};
        uint8_t bytes[GW_PROBE_RESULT_SIZE];

        (void)state;
        assert_int_equal(gw_probe_result_encode(bytes, sizeof bytes, &packet, &in), GW_PROBE_RESULT_SIZE);
        assert_int_equal(gw_probe_result_encode(bytes, sizeof bytes - 1, &packet, &in), 0);
        assert_true(gw_probe_result_decode(bytes, sizeof bytes, &out));
        assert_memory_equal(&in, &out, sizeof in);
        assert_false(gw_probe_result_decode(bytes, sizeof bytes - 1, &out));
}

static void test_records(void **state) {
        uint8_t record[GW_PROBE_RECORD];
        uint64_t sent_ns;

        (void)state;
        gw_probe_record_encode(record, 5, 99);
        assert_true(gw_probe_record_check(record, 5, &sent_ns));
        assert_int_equal(sent_ns, 99);
        assert_false(gw_probe_record_check(record, 6, &sent_ns));
        record[GW_PROBE_RECORD - 1] ^= 1;
        assert_false(gw_probe_record_check(record, 5, &sent_ns));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_counts),
                cmocka_unit_test(test_unsent),
                cmocka_unit_test(test_window),
                cmocka_unit_test(test_one_way),
                cmocka_unit_test(test_gaps_keep_the_longest),
                cmocka_unit_test(test_against_model),
                cmocka_unit_test(test_packets),
                cmocka_unit_test(test_results),
                cmocka_unit_test(test_records),
        };

        return cmocka_run_group_tests_name("probe", tests, NULL, NULL);
}
