/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time as types, so that monotonic time, wall-clock time and durations cannot
 * be mixed by accident. Cores never read a clock: the shell hands the time in.
 */
#pragma once

#include <stdint.h>

#define GW_NS_PER_US UINT64_C(1000)
#define GW_NS_PER_MS UINT64_C(1000000)
#define GW_NS_PER_S UINT64_C(1000000000)

struct gw_mono {
        uint64_t ns;
}; /* CLOCK_MONOTONIC; 0 means "never" */
struct gw_wall {
        uint64_t ns;
}; /* CLOCK_REALTIME, since 1970 */
struct gw_duration {
        uint64_t ns;
};

/* Only shells call these two. */
struct gw_mono gw_mono_now(void);
struct gw_wall gw_wall_now(void);

static inline struct gw_duration gw_ms(uint64_t ms) {
        return (struct gw_duration){ms * GW_NS_PER_MS};
}
static inline struct gw_duration gw_s(uint64_t s) {
        return (struct gw_duration){s * GW_NS_PER_S};
}
static inline struct gw_mono gw_mono_after(struct gw_mono at, struct gw_duration d) {
        return (struct gw_mono){at.ns + d.ns};
}
/* Time from `from` to `to`, 0 when `to` is earlier. */
static inline struct gw_duration gw_mono_between(struct gw_mono from, struct gw_mono to) {
        return (struct gw_duration){to.ns > from.ns ? to.ns - from.ns : 0};
}
static inline int gw_mono_reached(struct gw_mono now, struct gw_mono deadline) {
        return deadline.ns != 0 && now.ns >= deadline.ns;
}
