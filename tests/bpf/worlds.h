/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the test programs that play in a world have in common: one world, set up anew
 * over each underlay for each test, and gone afterwards, also when a test failed
 * half-way. WORLD_PRINT in the environment: counters at the end of each test.
 * Include it after cmocka.h.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#include "streams.h"
#include "world.h"

static struct world world;

static inline int up_v4(void **state) {
        *state = &world;
        world_up(&world, false);
        return 0;
}
static inline int up_v6(void **state) {
        *state = &world;
        world_up(&world, true);
        return 0;
}
static inline int down(void **state) {
        if (getenv("WORLD_PRINT"))
                world_print(*state);
        world_down(*state);
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
static inline int worlds_end(void **state) { /* what a test left that failed before its teardown */
        (void)state;
        world_down(&world);
        return 0;
}
