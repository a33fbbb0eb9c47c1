/* SPDX-License-Identifier: Apache-2.0 */
#include "base/time.h"

#include <time.h>

static uint64_t clock_ns(clockid_t clock) {
        struct timespec now;

        clock_gettime(clock, &now);
        return (uint64_t)now.tv_sec * GW_NS_PER_S + (uint64_t)now.tv_nsec;
}

struct gw_mono gw_mono_now(void) {
        return (struct gw_mono){clock_ns(CLOCK_MONOTONIC)};
}

struct gw_wall gw_wall_now(void) {
        return (struct gw_wall){clock_ns(CLOCK_REALTIME)};
}
