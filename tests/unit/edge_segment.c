/* SPDX-License-Identifier: Apache-2.0 */
/* How large the packets are that a frame becomes, against the frame cut by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "edge/segment.h"

enum { ETH = 14, PAYLOAD = 1348, TCP = 6, UDP = 17 };

static uint8_t frame[9000];

static size_t make_v4(unsigned words, uint8_t protocol, uint8_t offset_words) {
        memset(frame, 0, sizeof frame);
        frame[12] = 0x08;
        frame[ETH] = (uint8_t)(0x40 | words);
        frame[ETH + 9] = protocol;
        frame[ETH + words * 4 + 12] = (uint8_t)(offset_words << 4);
        return sizeof frame;
}

static size_t make_v6(uint8_t next, uint8_t offset_words) {
        memset(frame, 0, sizeof frame);
        frame[12] = 0x86;
        frame[13] = 0xdd;
        frame[ETH] = 0x60;
        frame[ETH + 6] = next;
        frame[ETH + 40 + 12] = (uint8_t)(offset_words << 4);
        return sizeof frame;
}

static void headers_and_one_payload(void **state) {
        (void)state;
        assert_int_equal(gw_segment_octets(frame, make_v4(5, TCP, 5), PAYLOAD), 20 + 20 + PAYLOAD);
        assert_int_equal(gw_segment_octets(frame, make_v4(5, TCP, 8), PAYLOAD), 20 + 32 + PAYLOAD);
        assert_int_equal(gw_segment_octets(frame, make_v4(6, TCP, 15), PAYLOAD), 24 + 60 + PAYLOAD);
        assert_int_equal(gw_segment_octets(frame, make_v4(5, UDP, 15), PAYLOAD), 20 + 8 + PAYLOAD);
        assert_int_equal(gw_segment_octets(frame, make_v6(TCP, 8), PAYLOAD), 40 + 32 + PAYLOAD);
        assert_int_equal(gw_segment_octets(frame, make_v6(UDP, 8), PAYLOAD), 40 + 8 + PAYLOAD);
}

/* A frame of two segments is smaller than two packets; what counts is neither its size nor how it lies in memory. */
static void the_size_of_the_frame_does_not_count(void **state) {
        (void)state;
        make_v4(5, TCP, 8);
        for (size_t size = ETH + 52 + PAYLOAD; size <= sizeof frame; size += 97)
                assert_int_equal(gw_segment_octets(frame, size, PAYLOAD), 52 + PAYLOAD);
}

/* Whatever ends too early counts whole, and nothing behind its end is read. */
static void what_is_cut_off(void **state) {
        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                size_t enough = ETH + (v6 ? 40 : 20) + 13;

                for (size_t size = 0; size < enough; size++) {
                        uint8_t *exact = test_malloc(size + !size);

                        if (v6)
                                make_v6(TCP, 5);
                        else
                                make_v4(5, TCP, 5);
                        memcpy(exact, frame, size);
                        assert_int_equal(gw_segment_octets(exact, size, PAYLOAD), size > ETH ? size - ETH : 0);
                        test_free(exact);
                }
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(headers_and_one_payload),
                cmocka_unit_test(the_size_of_the_frame_does_not_count),
                cmocka_unit_test(what_is_cut_off),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
