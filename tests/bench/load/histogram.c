/* SPDX-License-Identifier: Apache-2.0 */
/* Latencies in buckets: 32 to each doubling, so that a percentile is right to 3%, in memory of a fixed size. */
#include "load.h"

static unsigned bucket_of(uint64_t ns) {
        unsigned top;

        if (ns < 32)
                return (unsigned)ns;
        top = 63u - (unsigned)__builtin_clzll(ns);
        return (top - 4) * 32 + (unsigned)(ns >> (top - 5) & 31);
}

static double middle_ns(unsigned bucket) {
        unsigned top = bucket / 32 + 4;

        if (bucket < 32)
                return bucket;
        return ((double)(32 + bucket % 32) + 0.5) * (double)(UINT64_C(1) << (top - 5));
}

void histogram_add(struct histogram *h, uint64_t ns) {
        h->buckets[bucket_of(ns)]++;
        h->count++;
}

double histogram_us(const struct histogram *h, double share) {
        uint64_t wanted = (uint64_t)(share * (double)h->count), seen = 0;

        for (unsigned i = 0; i < sizeof h->buckets / sizeof *h->buckets; i++) {
                seen += h->buckets[i];
                if (seen > wanted)
                        return middle_ns(i) / 1e3;
        }
        return 0;
}
