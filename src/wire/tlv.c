/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLVs of frame bodies: u16 type, u32 length, value, without alignment.
 *
 * A body is read in one pass into a table that the caller gives, one row per
 * TLV it knows. What a row demands (there or not, how long) is checked here, so
 * that a decoder only sees values of lengths it can read. A TLV that is known
 * and comes twice is refused, because two readers could pick different ones;
 * unknown TLVs are skipped, because a newer peer may send them.
 */
#include "wire/tlv.h"

bool gw_tlv_next(struct gw_reader *r, uint16_t *type, struct gw_reader *value) {
        if (!r->ok || !gw_reader_left(r))
                return false;
        *type = gw_get_u16(r);
        *value = gw_get_sub(r, gw_get_u32(r));
        return r->ok;
}

static struct gw_tlv *tlv_find(struct gw_tlv *want, size_t n_want, uint16_t type) {
        for (size_t i = 0; i < n_want; i++)
                if (want[i].type == type)
                        return &want[i];
        return NULL;
}

bool gw_tlvs_read(const uint8_t *body, size_t size, struct gw_tlv *want, size_t n_want) {
        struct gw_reader r = gw_reader(body, size), value;
        struct gw_tlv *tlv;
        uint16_t type;

        while (gw_tlv_next(&r, &type, &value)) {
                tlv = tlv_find(want, n_want, type);
                if (!tlv)
                        continue;
                if (tlv->found || value.size < tlv->min || value.size > tlv->max)
                        return false;
                tlv->found = true;
                tlv->value = value;
        }
        for (size_t i = 0; i < n_want; i++)
                if (want[i].needed && !want[i].found)
                        return false;
        return r.ok;
}

void gw_tlv_put(struct gw_writer *w, uint16_t type, size_t size) {
        if (size > UINT32_MAX)
                w->ok = false;
        gw_put_u16(w, type);
        gw_put_u32(w, (uint32_t)size);
}

void gw_tlv_put_bytes(struct gw_writer *w, uint16_t type, const void *bytes, size_t size) {
        gw_tlv_put(w, type, size);
        gw_put_bytes(w, bytes, size);
}

void gw_tlv_put_u8(struct gw_writer *w, uint16_t type, uint8_t v) {
        gw_tlv_put(w, type, 1);
        gw_put_u8(w, v);
}

void gw_tlv_put_u32(struct gw_writer *w, uint16_t type, uint32_t v) {
        gw_tlv_put(w, type, 4);
        gw_put_u32(w, v);
}

void gw_tlv_put_u64(struct gw_writer *w, uint16_t type, uint64_t v) {
        gw_tlv_put(w, type, 8);
        gw_put_u64(w, v);
}
