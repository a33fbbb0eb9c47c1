/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the decoder of registrations: no octets may crash it, and what it
 * accepts must survive being encoded and decoded again. The input is tried as
 * it is, and again with length and checksum put right, so that the checksum
 * does not keep the fuzzer from the options.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "wire/registration.h"

static const struct gw_ip src = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0xa, [15] = 1}};
static const struct gw_ip dst = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0xff, [15] = 1}};

/* Encodes *reg. An input without padding may be one that no longer fits when its options are aligned. */
static size_t encode(const struct gw_registration *reg, uint8_t out[static GW_MH_SIZE_MAX]) {
        struct gw_writer w = gw_writer(out, GW_MH_SIZE_MAX);
        int r = gw_registration_encode(&w, src, dst, reg);

        must(r == 0 || r == GW_E_FULL);
        return r ? 0 : w.at;
}

static void try(const uint8_t *bytes, size_t size) {
        uint8_t first[GW_MH_SIZE_MAX], second[GW_MH_SIZE_MAX];
        struct gw_registration reg;
        size_t n;
        int r = gw_registration_decode(bytes, size, src, dst, &reg);

        must(r == 0 ? reg.fault == GW_REG_FAULT_NONE : r == GW_E_MALFORMED && reg.fault != GW_REG_FAULT_NONE);
        n = r ? 0 : encode(&reg, first);
        if (!n)
                return;
        must(gw_registration_decode(first, n, src, dst, &reg) == 0);
        must(encode(&reg, second) == n && memcmp(first, second, n) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        uint8_t *copy;

        try(data, size);
        if (size < GW_MH_UNIT || size > GW_MH_SIZE_MAX)
                return 0;
        size -= size % GW_MH_UNIT;
        copy = malloc(size);
        must(copy);
        memcpy(copy, data, size);
        copy[1] = (uint8_t)(size / GW_MH_UNIT - 1);
        gw_registration_seal(copy, size, src, dst);
        try(copy, size);
        free(copy);
        return 0;
}
