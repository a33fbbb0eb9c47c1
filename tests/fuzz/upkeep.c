/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the decoder of Binding Errors, Heartbeats and Update Notifications,
 * and the search for the authentication option, which looks at octets before any
 * decoder does. As for registrations, length and checksum are put right once.
 */
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "wire/auth.h"
#include "wire/upkeep.h"

static const struct gw_ip src = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0xa, [15] = 1}};
static const struct gw_ip dst = {{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0xff, [15] = 1}};

static int no_mac(const struct gw_auth_key *key, const uint8_t *bytes, size_t size, uint8_t *out, size_t out_size) {
        (void)key;
        memset(out, bytes[size - 1], out_size);
        return 0;
}

static size_t encode(const struct gw_upkeep *upkeep, uint8_t out[static GW_MH_SIZE_MAX]) {
        struct gw_writer w = gw_writer(out, GW_MH_SIZE_MAX);

        must(gw_upkeep_encode(&w, src, dst, upkeep) == 0);
        return w.at;
}

static void try(const uint8_t *bytes, size_t size) {
        static const struct gw_auth_key key = {.spi = 0x100, .algorithm = GW_AUTH_HMAC_SHA256, .size = 16};
        uint8_t first[GW_MH_SIZE_MAX], second[GW_MH_SIZE_MAX];
        struct gw_upkeep upkeep;
        uint32_t spi;
        size_t n;
        int r = gw_upkeep_decode(bytes, size, src, dst, &upkeep);

        gw_auth_spi(bytes, size, &spi);
        gw_auth_verify(bytes, size, src, dst, &key, no_mac);
        must(r == 0 ? upkeep.fault == GW_REG_FAULT_NONE : r == GW_E_MALFORMED && upkeep.fault != GW_REG_FAULT_NONE);
        if (r)
                return;
        must(!(upkeep.has & GW_UPKEEP_HAS_AUTH) || upkeep.auth_subtype != GW_MH_AUTH_MN_HA ||
             (gw_auth_spi(bytes, size, &spi) && spi == upkeep.auth_spi));
        n = encode(&upkeep, first);
        must(gw_upkeep_decode(first, n, src, dst, &upkeep) == 0);
        must(encode(&upkeep, second) == n && memcmp(first, second, n) == 0);
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
