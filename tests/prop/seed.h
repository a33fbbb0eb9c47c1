/* SPDX-License-Identifier: Apache-2.0 */
/* Randomness that can be repeated: GW_SEED in the environment, or a fresh seed, which is printed. */
#pragma once

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/time.h"

struct dice {
        uint64_t state;
};

static inline struct dice dice_new(void) {
        const char *given = getenv("GW_SEED");
        struct dice dice = {given ? strtoull(given, NULL, 0) : gw_wall_now().ns};

        printf("# GW_SEED=%" PRIu64 "\n", dice.state);
        fflush(stdout);
        return dice;
}

/* SplitMix64 (Steele, Lea and Flood, 2014). */
static inline uint64_t dice_u64(struct dice *dice) {
        uint64_t z = dice->state += UINT64_C(0x9e3779b97f4a7c15);

        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        return z ^ z >> 31;
}

static inline uint64_t dice_below(struct dice *dice, uint64_t n) {
        return dice_u64(dice) % n;
}

static inline void dice_bytes(struct dice *dice, void *out, size_t n) {
        for (size_t i = 0; i < n; i++)
                ((uint8_t *)out)[i] = (uint8_t)dice_u64(dice);
}
