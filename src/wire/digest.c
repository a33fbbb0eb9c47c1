/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests of mappings, and the frames of a resynchronisation (wire/digest.h).
 *
 * The mixing function is the finaliser of splitmix64 (Steele, Lea and Flood,
 * 2014), chained over the words of a mapping; addresses are summed, so that their
 * order does not matter. It is no protection against somebody who builds
 * collisions: who could, a tenant by its own MACs and addresses, would hide a
 * difference in its own VN for the lifetime of a mapping.
 *
 * Every list is bounded by the frame that carries it and checked as a whole: a
 * number of buckets that is no power of two, or octets left over, is malformed.
 */
#include "wire/digest.h"

#include "base/error.h"
#include "wire/frame_build.h"
#include "wire/tlv.h"

#define count_of(array) (sizeof(array) / sizeof *(array))

enum { HELD_SIZE = 6 + 8, ATTACHED_SIZE = 4 + 4 + 17 + 17, ABSENCE_COUNTS = 5, COUNTS_MAX = 64, PER_BUCKET = 4 };

static uint64_t mix(uint64_t x) {
        x += UINT64_C(0x9e3779b97f4a7c15);
        x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
        return x ^ x >> 31;
}

static uint64_t word_of(const uint8_t *b, size_t n) {
        uint64_t word = 0;

        for (size_t i = 0; i < n; i++)
                word = word << 8 | b[i];
        return word;
}

static uint64_t mix_ip(uint64_t h, struct gw_ip ip) {
        return mix(mix(h ^ word_of(ip.b, 8)) ^ word_of(ip.b + 8, 8));
}

uint64_t gw_mapping_digest(const struct gw_mapping *m) {
        uint64_t h = mix((uint64_t)m->vni << 8 | m->n_ips), ips = 0;

        h = mix(h ^ word_of(m->mac.b, sizeof m->mac.b));
        h = mix(h ^ m->epoch);
        h = mix_ip(h, m->locator);
        for (size_t i = 0; i < m->n_ips; i++)
                ips += mix_ip(h, m->ips[i]);
        return mix(h ^ ips);
}

size_t gw_digest_bucket(struct gw_mac mac, size_t buckets) {
        return mix(word_of(mac.b, sizeof mac.b)) & (buckets - 1);
}

size_t gw_digest_buckets_for(size_t n) {
        size_t buckets = 1;

        while (buckets * PER_BUCKET < n && buckets < GW_DIGEST_BUCKETS_MAX)
                buckets *= 2;
        return buckets;
}

static bool get_vni(struct gw_tlv *tlv, uint32_t *vni) {
        *vni = gw_get_u32(&tlv->value);
        return *vni <= GW_VNI_MAX;
}

static bool buckets_ok(size_t n) {
        return n && n <= GW_DIGEST_BUCKETS_MAX && (n & (n - 1)) == 0;
}

size_t gw_digest_encode(struct gw_writer *w, uint32_t id, const struct gw_digest *digest) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_DIGEST, id);
        bool ok = buckets_ok(digest->n) && digest->vni <= GW_VNI_MAX;
        size_t n = ok ? digest->n : 0;

        gw_tlv_put_u32(w, GW_TLV_VNI, digest->vni);
        gw_tlv_put(w, GW_TLV_DIGESTS, n * 8);
        for (size_t i = 0; i < n; i++)
                gw_put_u64(w, digest->sums[i]);
        return gw_frame_end(w, &build, ok);
}

int gw_digest_decode(const uint8_t *body, size_t size, struct gw_digest *out) {
        struct gw_tlv t[] = {{GW_TLV_VNI, true, 4, 4}, {GW_TLV_DIGESTS, true, 8, GW_DIGEST_BUCKETS_MAX * 8}};
        uint32_t vni;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !get_vni(&t[0], &vni) || t[1].value.size % 8 ||
            !buckets_ok(t[1].value.size / 8))
                return GW_E_MALFORMED;
        out->vni = vni;
        out->n = t[1].value.size / 8;
        for (size_t i = 0; i < out->n; i++)
                out->sums[i] = gw_get_u64(&t[1].value);
        return 0;
}

size_t gw_held_encode(struct gw_writer *w, uint32_t id, const struct gw_held *held) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_HELD, id);
        bool ok = held->n && held->n <= GW_HELD_MAX && held->vni <= GW_VNI_MAX;
        size_t n = ok ? held->n : 0;

        gw_tlv_put_u32(w, GW_TLV_VNI, held->vni);
        gw_tlv_put(w, GW_TLV_HELD, n * HELD_SIZE);
        for (size_t i = 0; i < n; i++) {
                gw_put_bytes(w, held->all[i].mac.b, sizeof held->all[i].mac.b);
                gw_put_u64(w, held->all[i].digest);
        }
        return gw_frame_end(w, &build, ok);
}

int gw_held_decode(const uint8_t *body, size_t size, struct gw_held *out) {
        struct gw_tlv t[] = {{GW_TLV_VNI, true, 4, 4}, {GW_TLV_HELD, true, HELD_SIZE, GW_HELD_MAX * HELD_SIZE}};
        uint32_t vni;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !get_vni(&t[0], &vni) || t[1].value.size % HELD_SIZE)
                return GW_E_MALFORMED;
        out->vni = vni;
        out->n = t[1].value.size / HELD_SIZE;
        for (size_t i = 0; i < out->n; i++) {
                gw_get_bytes(&t[1].value, out->all[i].mac.b, sizeof out->all[i].mac.b);
                out->all[i].digest = gw_get_u64(&t[1].value);
        }
        return 0;
}

size_t gw_agreed_encode(struct gw_writer *w, uint32_t id, const struct gw_agreed *agreed) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_AGREED, id);
        bool ok = agreed->n_octets && agreed->n_octets <= sizeof agreed->bits && agreed->vni <= GW_VNI_MAX;

        gw_tlv_put_u32(w, GW_TLV_VNI, agreed->vni);
        gw_tlv_put_u32(w, GW_TLV_LIFETIME, agreed->lifetime_ms);
        gw_tlv_put_bytes(w, GW_TLV_BITS, agreed->bits, ok ? agreed->n_octets : 0);
        return gw_frame_end(w, &build, ok);
}

int gw_agreed_decode(const uint8_t *body, size_t size, struct gw_agreed *out) {
        struct gw_tlv t[] = {
                {GW_TLV_VNI, true, 4, 4}, {GW_TLV_LIFETIME, true, 4, 4}, {GW_TLV_BITS, true, 1, sizeof out->bits}};
        uint32_t vni;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !get_vni(&t[0], &vni))
                return GW_E_MALFORMED;
        out->vni = vni;
        out->lifetime_ms = gw_get_u32(&t[1].value);
        out->n_octets = t[2].value.size;
        gw_get_bytes(&t[2].value, out->bits, out->n_octets);
        return 0;
}

size_t gw_absence_encode(struct gw_writer *w, uint32_t id, const struct gw_absence *absence) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_ABSENCE, id);

        gw_tlv_put_u64(w, GW_TLV_COUNT, absence->away_ms);
        gw_tlv_put(w, GW_TLV_COUNTS, ABSENCE_COUNTS * 8);
        gw_put_u64(w, absence->cuts);
        gw_put_u64(w, absence->activated);
        gw_put_u64(w, absence->waiting);
        gw_put_u64(w, absence->unanswered);
        gw_put_u64(w, absence->redirects_ended);
        return gw_frame_end(w, &build, true);
}

int gw_absence_decode(const uint8_t *body, size_t size, struct gw_absence *out) {
        struct gw_tlv t[] = {{GW_TLV_COUNT, true, 8, 8}, {GW_TLV_COUNTS, true, ABSENCE_COUNTS * 8, COUNTS_MAX * 8}};

        if (!gw_tlvs_read(body, size, t, count_of(t)))
                return GW_E_MALFORMED;
        out->away_ms = gw_get_u64(&t[0].value);
        out->cuts = gw_get_u64(&t[1].value);
        out->activated = gw_get_u64(&t[1].value);
        out->waiting = gw_get_u64(&t[1].value);
        out->unanswered = gw_get_u64(&t[1].value);
        out->redirects_ended = gw_get_u64(&t[1].value);
        return 0;
}

/* --- the report in a SUBSCRIBE --- */

static void put_prefix(struct gw_writer *w, const struct gw_prefix *p) {
        gw_put_bytes(w, p->ip.b, sizeof p->ip.b);
        gw_put_u8(w, p->bits);
}

static bool get_prefix(struct gw_reader *r, struct gw_prefix *p) {
        gw_get_bytes(r, p->ip.b, sizeof p->ip.b);
        p->bits = gw_get_u8(r);
        return p->bits <= 128;
}

size_t gw_attached_encode(struct gw_writer *w, uint32_t id, const struct gw_attached *attached, size_t n) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_SUBSCRIBE, id);
        bool ok = n <= GW_FRAME_MAX / (ATTACHED_SIZE + 4);

        n = ok ? n : 0;
        gw_tlv_put(w, GW_TLV_VNIS, n * 4);
        for (size_t i = 0; i < n; i++) {
                gw_put_u32(w, attached[i].vni);
                ok = ok && attached[i].vni <= GW_VNI_MAX && attached[i].v4.bits <= 128 && attached[i].v6.bits <= 128;
        }
        gw_tlv_put(w, GW_TLV_ATTACHED, n * ATTACHED_SIZE);
        for (size_t i = 0; i < n; i++) {
                gw_put_u32(w, attached[i].vni);
                gw_put_u32(w, attached[i].ports);
                put_prefix(w, &attached[i].v4);
                put_prefix(w, &attached[i].v6);
        }
        return gw_frame_end(w, &build, ok);
}

int gw_attached_decode(const uint8_t *body, size_t size, struct gw_attached *out, size_t max, size_t *n) {
        struct gw_tlv t[] = {{GW_TLV_ATTACHED, false, 0, GW_FRAME_MAX}};
        size_t count;
        bool ok = true;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || t[0].value.size % ATTACHED_SIZE)
                return GW_E_MALFORMED;
        count = t[0].value.size / ATTACHED_SIZE;
        if (count > max)
                return GW_E_MALFORMED;
        for (size_t i = 0; i < count; i++) {
                out[i].vni = gw_get_u32(&t[0].value);
                out[i].ports = gw_get_u32(&t[0].value);
                ok = get_prefix(&t[0].value, &out[i].v4) && ok;
                ok = get_prefix(&t[0].value, &out[i].v6) && ok && out[i].vni <= GW_VNI_MAX;
        }
        if (!ok)
                return GW_E_MALFORMED;
        *n = count;
        return 0;
}
