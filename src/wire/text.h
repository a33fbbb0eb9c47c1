/* SPDX-License-Identifier: Apache-2.0 */
/* Names on a wire: 1 to GW_NAME_MAX octets, each a printable ASCII character
 * other than the blank, so that they can be logged and compared as they are.
 * Whether such a name is one of ours is for its receiver to find out. */
#pragma once

#include "base/addr.h"
#include "base/cursor.h"

static inline bool gw_wire_name_ok(const char *s, size_t n) {
        if (n == 0 || n > GW_NAME_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (s[i] <= ' ' || s[i] > '~')
                        return false;
        return true;
}

/* The rest of r as a name; false, and an empty *out, when it is none. */
static inline bool gw_wire_name_get(struct gw_reader *r, struct gw_name *out) {
        size_t n = gw_reader_left(r);
        const uint8_t *p = gw_get_span(r, n);

        memset(out, 0, sizeof *out);
        if (!p || !gw_wire_name_ok((const char *)p, n))
                return false;
        memcpy(out->s, p, n);
        return true;
}

static inline size_t gw_wire_name_size(const struct gw_name *name) {
        return strnlen(name->s, GW_NAME_MAX);
}
