/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticky-error cursors for every octet that comes off, or goes on, a wire.
 *
 * Read all fields, then check `ok` once: a read past the end gives zeroes and
 * clears `ok`; a write past the end writes nothing and clears `ok`. Multi-octet
 * integers are big-endian. Nothing is allocated, nothing is cast. Inline, since a
 * look-up in the directory is some forty of these and little else.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct gw_reader {
        const uint8_t *base;
        size_t size, at;
        bool ok;
};

struct gw_writer {
        uint8_t *base;
        size_t size, at;
        bool ok;
};

static inline struct gw_reader gw_reader(const void *bytes, size_t size) {
        return (struct gw_reader){.base = (const uint8_t *)bytes, .size = size, .ok = true};
}
static inline struct gw_writer gw_writer(void *bytes, size_t size) {
        return (struct gw_writer){.base = (uint8_t *)bytes, .size = size, .ok = true};
}

/* The next n octets, in the input; NULL on failure. */
static inline const uint8_t *gw_get_span(struct gw_reader *r, size_t n) {
        const uint8_t *p;

        if (!r->ok || n > r->size - r->at) {
                r->ok = false;
                return NULL;
        }
        p = r->base + r->at;
        r->at += n;
        return p;
}

/* Where the next n octets are to be written; NULL on failure. */
static inline uint8_t *gw_put_span(struct gw_writer *w, size_t n) {
        uint8_t *p;

        if (!w->ok || n > w->size - w->at) {
                w->ok = false;
                return NULL;
        }
        p = w->base + w->at;
        w->at += n;
        return p;
}

static inline uint8_t gw_get_u8(struct gw_reader *r) {
        const uint8_t *p = gw_get_span(r, 1);

        return p ? *p : 0;
}
static inline uint16_t gw_get_u16(struct gw_reader *r) {
        const uint8_t *p = gw_get_span(r, 2);

        return p ? (uint16_t)(p[0] << 8 | p[1]) : 0;
}
static inline uint32_t gw_get_u32(struct gw_reader *r) {
        const uint8_t *p = gw_get_span(r, 4);

        return p ? (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3] : 0;
}
static inline uint64_t gw_get_u64(struct gw_reader *r) {
        const uint8_t *p = gw_get_span(r, 8);
        uint64_t v = 0;

        for (int i = 0; p && i < 8; i++)
                v = v << 8 | p[i];
        return v;
}
/* Zeroes on failure. */
static inline void gw_get_bytes(struct gw_reader *r, void *out, size_t n) {
        const uint8_t *p = gw_get_span(r, n);

        if (p)
                memcpy(out, p, n);
        else
                memset(out, 0, n);
}
/* A reader of the next n octets. */
static inline struct gw_reader gw_get_sub(struct gw_reader *r, size_t n) {
        const uint8_t *p = gw_get_span(r, n);

        return (struct gw_reader){.base = p, .size = p ? n : 0, .ok = p != NULL};
}
static inline size_t gw_reader_left(const struct gw_reader *r) {
        return r->size - r->at;
}

static inline void gw_put_u8(struct gw_writer *w, uint8_t v) {
        uint8_t *p = gw_put_span(w, 1);

        if (p)
                *p = v;
}
static inline void gw_put_u16(struct gw_writer *w, uint16_t v) {
        uint8_t *p = gw_put_span(w, 2);

        if (p) {
                p[0] = (uint8_t)(v >> 8);
                p[1] = (uint8_t)v;
        }
}
static inline void gw_put_u32(struct gw_writer *w, uint32_t v) {
        uint8_t *p = gw_put_span(w, 4);

        for (int i = 0; p && i < 4; i++)
                p[i] = (uint8_t)(v >> (24 - 8 * i));
}
static inline void gw_put_u64(struct gw_writer *w, uint64_t v) {
        uint8_t *p = gw_put_span(w, 8);

        for (int i = 0; p && i < 8; i++)
                p[i] = (uint8_t)(v >> (56 - 8 * i));
}
void gw_put_bytes(struct gw_writer *w, const void *bytes, size_t n);
static inline void gw_put_zero(struct gw_writer *w, size_t n) {
        uint8_t *p = gw_put_span(w, n);

        if (p)
                memset(p, 0, n);
}
/* For lengths known only afterwards: overwrite octets already written. */
void gw_patch_u16(struct gw_writer *w, size_t at, uint16_t v);
void gw_patch_u32(struct gw_writer *w, size_t at, uint32_t v);
