/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anti-entropy: telling cheaply what one holds, so that only differences travel.
 *
 * A mapping's digest covers what makes it true: VNI, MAC, epoch, locator, and the
 * addresses in any order. Only mappings that say where something is have one. A
 * holder of all mappings of a VN sorts them into a power of two of buckets by
 * their MAC and sends the sum (mod 2^64) of each bucket; a holder of some sends
 * MAC and digest of each. The functions are part of the protocol: they have no
 * key and never change.
 */
#pragma once

#include "wire/frame.h"

uint64_t gw_mapping_digest(const struct gw_mapping *mapping);
/* buckets: a power of two, up to GW_DIGEST_BUCKETS_MAX. */
size_t gw_digest_bucket(struct gw_mac mac, size_t buckets);
/* How many a holder of n mappings should use: some four mappings in each. */
size_t gw_digest_buckets_for(size_t n);

struct gw_digest {
        uint32_t vni;
        size_t n; /* buckets */
        uint64_t sums[GW_DIGEST_BUCKETS_MAX];
};
size_t gw_digest_encode(struct gw_writer *w, uint32_t id, const struct gw_digest *digest);
int gw_digest_decode(const uint8_t *body, size_t size, struct gw_digest *out);

struct gw_held {
        uint32_t vni;
        size_t n;
        struct gw_held_one {
                struct gw_mac mac;
                uint64_t digest;
        } all[GW_HELD_MAX];
};
size_t gw_held_encode(struct gw_writer *w, uint32_t id, const struct gw_held *held);
int gw_held_decode(const uint8_t *body, size_t size, struct gw_held *out);

/* The answer to either, with its id: bit i stands for bucket i, or for the i-th mapping. */
struct gw_agreed {
        uint32_t vni;
        uint32_t lifetime_ms; /* what agrees may be used for so long from now */
        size_t n_octets;
        uint8_t bits[GW_DIGEST_BUCKETS_MAX / 8];
};
static inline bool gw_agreed_bit(const struct gw_agreed *agreed, size_t i) {
        return i / 8 < agreed->n_octets && agreed->bits[i / 8] >> i % 8 & 1;
}
size_t gw_agreed_encode(struct gw_writer *w, uint32_t id, const struct gw_agreed *agreed);
int gw_agreed_decode(const uint8_t *body, size_t size, struct gw_agreed *out);

/* What an NVE did while it had no session. A later version may count more. */
struct gw_absence {
        uint64_t away_ms;    /* since the last session, or the start */
        uint64_t cuts;       /* VMs cut over */
        uint64_t activated;  /* VMs that began to serve here */
        uint64_t waiting;    /* registrations that waited */
        uint64_t unanswered; /* questions that nobody answered */
        uint64_t redirects_ended;
};
size_t gw_absence_encode(struct gw_writer *w, uint32_t id, const struct gw_absence *absence);
int gw_absence_decode(const uint8_t *body, size_t size, struct gw_absence *out);
