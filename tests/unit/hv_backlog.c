/* SPDX-License-Identifier: Apache-2.0 */
/* How far a leaving VM's disks are behind: played against a link and a guest of known rates. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "hv/backlog.h"

enum { LOOK_MS = 200, ROUND_MS = 100 };

#define MIB (UINT64_C(1) << 20)

/* A mirror as QEMU's: every round it takes up what was written, and sends it as fast as the link carries. */
struct world {
        struct hv_backlog backlog;
        struct gw_mono now;
        uint64_t link_octets_s, writes_octets_s;
        uint64_t done, left, unseen; /* unseen: written since the last round */
};

static void pass(struct world *w, unsigned ms) {
        for (unsigned i = 0; i < ms; i++) {
                uint64_t sent = w->link_octets_s / 1000;

                w->now.ns += GW_NS_PER_MS;
                w->unseen += w->writes_octets_s / 1000;
                if (w->now.ns / GW_NS_PER_MS % ROUND_MS == 0) {
                        w->left += w->unseen;
                        w->unseen = 0;
                }
                sent = sent < w->left ? sent : w->left;
                w->left -= sent;
                w->done += sent;
        }
}

static uint64_t look(struct world *w, unsigned times) {
        for (unsigned i = 0; i < times; i++) {
                pass(w, LOOK_MS - 7);
                hv_backlog_look(&w->backlog, w->done, w->done + w->left, w->now);
                pass(w, 7);
        }
        return hv_backlog_ms(&w->backlog);
}

static struct world world(uint64_t link_mib_s, uint64_t writes_mib_s, uint64_t image_mib) {
        struct world w = {.now = {12345 * GW_NS_PER_MS},
                          .link_octets_s = link_mib_s * MIB,
                          .writes_octets_s = writes_mib_s * MIB,
                          .left = image_mib * MIB};

        hv_backlog_look(&w.backlog, 0, w.left, w.now);
        return w;
}

static void one_that_keeps_up_fits(void **state) {
        static const unsigned writes_mib_s[] = {0, 1, 10, 50, 90};

        (void)state;
        for (size_t i = 0; i < sizeof writes_mib_s / sizeof *writes_mib_s; i++) {
                struct world w = world(100, writes_mib_s[i], 100);

                look(&w, 60);
                for (unsigned n = 0; n < 50; n++)
                        assert_in_range(look(&w, 1), 0, HV_BACKLOG_SLICE_MS);
                assert_true(w.backlog.rate_octets_s > 50 * MIB); /* what the link can, not what the guest writes */
        }
}

static void the_first_copy_tells_the_rate(void **state) {
        struct world w = world(100, 0, 1000);
        uint64_t ms = look(&w, 10);

        (void)state;
        assert_in_range(w.backlog.rate_octets_s, 99 * MIB, 101 * MIB);
        assert_in_range(ms, 7900, 8200);
}

static void what_writes_faster_than_the_link_does_not(void **state) {
        struct world w = world(100, 10, 10);

        (void)state;
        look(&w, 20);
        w.writes_octets_s = 150 * MIB;
        look(&w, 5);
        for (unsigned n = 0; n < 20; n++)
                assert_true(look(&w, 1) > HV_BACKLOG_SLICE_MS);
        w.writes_octets_s = 10 * MIB; /* and it fits again when it is done with that */
        look(&w, 60);
        assert_in_range(look(&w, 1), 0, HV_BACKLOG_SLICE_MS);
}

static void a_link_that_becomes_slow_is_noticed(void **state) {
        struct world w = world(100, 10, 100);
        unsigned looks = 0;

        (void)state;
        look(&w, 20);
        w.link_octets_s = 1 * MIB;
        while (look(&w, 1) <= HV_BACKLOG_SLICE_MS)
                assert_true(++looks < 15);
        look(&w, 10);
        assert_in_range(w.backlog.rate_octets_s, 1 * MIB / 2, 2 * MIB);
}

static void a_dead_link_is_for_ever(void **state) {
        struct world w = world(100, 1, 100);

        (void)state;
        look(&w, 20);
        w.link_octets_s = 0;
        look(&w, 40);
        assert_true(look(&w, 1) > 1000000);
}

static void nothing_is_known_before_two_looks(void **state) {
        struct hv_backlog b = {0};

        (void)state;
        assert_int_equal(hv_backlog_ms(&b), 0);
        hv_backlog_look(&b, 5, 5, (struct gw_mono){GW_NS_PER_S});
        assert_int_equal(hv_backlog_ms(&b), 0);
        hv_backlog_look(&b, 5, 6, (struct gw_mono){GW_NS_PER_S + 1});
        assert_true(hv_backlog_ms(&b) == UINT64_MAX);
        hv_backlog_look(&b, 7, 3, (struct gw_mono){2 * GW_NS_PER_S}); /* nonsense: nothing is left */
        assert_int_equal(hv_backlog_ms(&b), 0);
        hv_backlog_look(&b, 0, UINT64_MAX, (struct gw_mono){3 * GW_NS_PER_S}); /* another copy */
        assert_true(hv_backlog_ms(&b) == UINT64_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(one_that_keeps_up_fits),
                cmocka_unit_test(the_first_copy_tells_the_rate),
                cmocka_unit_test(what_writes_faster_than_the_link_does_not),
                cmocka_unit_test(a_link_that_becomes_slow_is_noticed),
                cmocka_unit_test(a_dead_link_is_for_ever),
                cmocka_unit_test(nothing_is_known_before_two_looks),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
