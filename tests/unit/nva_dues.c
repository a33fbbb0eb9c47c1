/* SPDX-License-Identifier: Apache-2.0 */
/* What a host's sessions have cost: who waits for it, and for how long at most. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include "directory/directory.h"
#include "nva/dues.h"

enum { PER_S = 1000, MOST_MS = DUES_MOST_S * 1000 - DUES_BURST_MS + 1 };

static const struct gw_mono start = {1000 * GW_NS_PER_S};

static uint64_t frames(uint64_t n) {
        return n * DUES_WORK_OF_FRAME;
}

static void what_is_owed_is_paid_with_time(void **state) {
        struct gw_nve nve = {0};

        (void)state;
        dues_charge(&nve, frames(4 * PER_S), PER_S, start);
        assert_int_equal(dues_wait_ms(&nve, start), 0);
        dues_charge(&nve, frames(4 * PER_S), PER_S, start);
        assert_int_equal(dues_wait_ms(&nve, start), 3001);
        assert_int_equal(dues_wait_ms(&nve, gw_mono_after(start, gw_ms(3001))), 0);
}

/* A gateway of very many hosts, where sessions may send few frames. */
static void nobody_owes_without_end(void **state) {
        struct gw_nve nve = {0};

        (void)state;
        for (int n = 0; n < 100; n++)
                dues_charge(&nve, frames(140000), PER_S, start);
        assert_int_equal(dues_wait_ms(&nve, start), MOST_MS);
        dues_charge(&nve, UINT64_MAX, 1, start);
        assert_int_equal(dues_wait_ms(&nve, start), MOST_MS);
        dues_charge(&nve, UINT64_MAX, 0, start);
        assert_int_equal(dues_wait_ms(&nve, gw_mono_after(start, gw_ms(MOST_MS))), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_is_owed_is_paid_with_time),
                cmocka_unit_test(nobody_owes_without_end),
        };

        return cmocka_run_group_tests_name("What sessions cost", tests, NULL, NULL);
}
