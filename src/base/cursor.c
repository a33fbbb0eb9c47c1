/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"

#include <string.h>

struct gw_reader gw_reader(const void *bytes, size_t size) {
        return (struct gw_reader){.base = bytes, .size = size, .ok = true};
}

struct gw_writer gw_writer(void *bytes, size_t size) {
        return (struct gw_writer){.base = bytes, .size = size, .ok = true};
}

const uint8_t *gw_get_span(struct gw_reader *r, size_t n) {
        const uint8_t *p;

        if (!r->ok || n > r->size - r->at) {
                r->ok = false;
                return NULL;
        }
        p = r->base + r->at;
        r->at += n;
        return p;
}

static uint64_t get_be(struct gw_reader *r, size_t n) {
        const uint8_t *p = gw_get_span(r, n);
        uint64_t v = 0;

        for (size_t i = 0; p && i < n; i++)
                v = v << 8 | p[i];
        return v;
}

uint8_t gw_get_u8(struct gw_reader *r) {
        return (uint8_t)get_be(r, 1);
}
uint16_t gw_get_u16(struct gw_reader *r) {
        return (uint16_t)get_be(r, 2);
}
uint32_t gw_get_u32(struct gw_reader *r) {
        return (uint32_t)get_be(r, 4);
}
uint64_t gw_get_u64(struct gw_reader *r) {
        return get_be(r, 8);
}

void gw_get_bytes(struct gw_reader *r, void *out, size_t n) {
        const uint8_t *p = gw_get_span(r, n);

        if (p)
                memcpy(out, p, n);
        else
                memset(out, 0, n);
}

struct gw_reader gw_get_sub(struct gw_reader *r, size_t n) {
        const uint8_t *p = gw_get_span(r, n);

        return (struct gw_reader){.base = p, .size = p ? n : 0, .ok = p != NULL};
}

static uint8_t *put_span(struct gw_writer *w, size_t n) {
        uint8_t *p;

        if (!w->ok || n > w->size - w->at) {
                w->ok = false;
                return NULL;
        }
        p = w->base + w->at;
        w->at += n;
        return p;
}

static void store_be(uint8_t *p, uint64_t v, size_t n) {
        for (size_t i = 0; i < n; i++)
                p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

static void put_be(struct gw_writer *w, uint64_t v, size_t n) {
        uint8_t *p = put_span(w, n);

        if (p)
                store_be(p, v, n);
}

void gw_put_u8(struct gw_writer *w, uint8_t v) {
        put_be(w, v, 1);
}
void gw_put_u16(struct gw_writer *w, uint16_t v) {
        put_be(w, v, 2);
}
void gw_put_u32(struct gw_writer *w, uint32_t v) {
        put_be(w, v, 4);
}
void gw_put_u64(struct gw_writer *w, uint64_t v) {
        put_be(w, v, 8);
}

void gw_put_bytes(struct gw_writer *w, const void *bytes, size_t n) {
        uint8_t *p = put_span(w, n);

        if (p && n)
                memcpy(p, bytes, n);
}

void gw_put_zero(struct gw_writer *w, size_t n) {
        uint8_t *p = put_span(w, n);

        if (p)
                memset(p, 0, n);
}

static void patch_be(struct gw_writer *w, size_t at, uint64_t v, size_t n) {
        if (w->ok && at + n <= w->at)
                store_be(w->base + at, v, n);
}

void gw_patch_u16(struct gw_writer *w, size_t at, uint16_t v) {
        patch_be(w, at, v, 2);
}
void gw_patch_u32(struct gw_writer *w, size_t at, uint32_t v) {
        patch_be(w, at, v, 4);
}
