/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sticky-error cursors for every octet that comes off, or goes on, a wire.
 *
 * Read all fields, then check `ok` once: a read past the end gives zeroes and
 * clears `ok`; a write past the end writes nothing and clears `ok`. Multi-octet
 * integers are big-endian. Nothing is allocated, nothing is cast.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

struct gw_reader gw_reader(const void *bytes, size_t size);
struct gw_writer gw_writer(void *bytes, size_t size);

uint8_t gw_get_u8(struct gw_reader *r);
uint16_t gw_get_u16(struct gw_reader *r);
uint32_t gw_get_u32(struct gw_reader *r);
uint64_t gw_get_u64(struct gw_reader *r);
void gw_get_bytes(struct gw_reader *r, void *out, size_t n); /* zeroes on failure */
const uint8_t *gw_get_span(struct gw_reader *r, size_t n);   /* into the input; NULL on failure */
struct gw_reader gw_get_sub(struct gw_reader *r, size_t n);  /* a reader of the next n octets */
static inline size_t gw_reader_left(const struct gw_reader *r) {
        return r->size - r->at;
}

void gw_put_u8(struct gw_writer *w, uint8_t v);
void gw_put_u16(struct gw_writer *w, uint16_t v);
void gw_put_u32(struct gw_writer *w, uint32_t v);
void gw_put_u64(struct gw_writer *w, uint64_t v);
void gw_put_bytes(struct gw_writer *w, const void *bytes, size_t n);
void gw_put_zero(struct gw_writer *w, size_t n);
/* For lengths known only afterwards: overwrites octets already written. */
void gw_patch_u16(struct gw_writer *w, size_t at, uint16_t v);
void gw_patch_u32(struct gw_writer *w, size_t at, uint32_t v);
