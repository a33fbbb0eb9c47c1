/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs that play in a world have in common: a world over each underlay,
 * whose hosts go through all tests (to load the programs takes longer than most of those)
 * and know nothing of the last one at the beginning of the next. A test that changes hosts
 * says so (`whole`), and gets others made. All are gone at the end, also when a test
 * failed half-way. WORLD_PRINT in the environment: counters at the end of each test.
 * Include it after cmocka.h.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "streams.h"
#include "world.h"

static struct world worlds[2];

static inline int up(void **state, bool v6) {
        *state = &worlds[v6];
        if (!world_again(*state))
                world_up(*state, v6);
        return 0;
}
static inline int up_v4(void **state) {
        return up(state, false);
}
static inline int up_v6(void **state) {
        return up(state, true);
}
static inline int down(void **state) {
        if (getenv("WORLD_PRINT"))
                world_print(*state);
        return 0;
}

#define BOTH(test)                                                                                                     \
        cmocka_unit_test_setup_teardown(test, up_v4, down), {                                                          \
#test " over IPv6", test, up_v6, down, NULL                                                            \
        }

/* Before the tests; the argument, if any, tells which. Says so when there can be no world here. */
static inline bool worlds_begin(int argc, char **argv) {
        const char *why_not;

        if (!world_possible(&why_not)) {
                printf("1..0 # SKIP %s\n", why_not);
                return false;
        }
        if (argc > 1)
                cmocka_set_test_filter(argv[1]);
        run_on(0);
        return true;
}
static inline int worlds_end(void **state) {
        (void)state;
        for (int v6 = 0; v6 < 2; v6++)
                world_down(&worlds[v6]);
        return 0;
}
