/* SPDX-License-Identifier: Apache-2.0 */
#include "base/cursor.h"

void gw_put_bytes(struct gw_writer *w, const void *bytes, size_t n) {
        uint8_t *p = gw_put_span(w, n);

        if (p && n)
                memcpy(p, bytes, n);
}

static void patch_be(struct gw_writer *w, size_t at, uint64_t v, size_t n) {
        for (size_t i = 0; w->ok && at + n <= w->at && i < n; i++)
                w->base[at + i] = (uint8_t)(v >> 8 * (n - 1 - i));
}

void gw_patch_u16(struct gw_writer *w, size_t at, uint16_t v) {
        patch_be(w, at, v, 2);
}
void gw_patch_u32(struct gw_writer *w, size_t at, uint32_t v) {
        patch_be(w, at, v, 4);
}
