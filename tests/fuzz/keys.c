/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzing the reader of key files: what it accepts keeps the bounds that it promises. */
#include <string.h>

#include "base/error.h"
#include "fuzz.h"
#include "io/keys.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        struct gw_error error = {0};
        struct gw_keys *keys;
        char *text = malloc(size + 1);

        must(text);
        memcpy(text, data, size);
        text[size] = 0;
        if (gw_keys_parse(&keys, text, "input", &error) == 0) {
                const struct gw_keys_entry *entry = gw_keys_to_sign_for(keys, "host1");

                must(!entry || gw_keys_find(keys, entry->peer, entry->key.spi) == entry);
                must(!entry || gw_keys_to_sign(keys, entry->peer) == entry || gw_keys_has_peer(keys, entry->peer));
                gw_keys_free(keys);
        } else {
                must(error.text[0]);
        }
        free(text);
        return 0;
}
