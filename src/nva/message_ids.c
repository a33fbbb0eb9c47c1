/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last Message-ID of a key: a record of META, "message-id/", the peer's address, "/" and the SPI.
 *
 * Older stores have one record for an address, of all its keys together, and do not say with which key it was signed. So it
 * holds for every key that the address has when one of them is heard for the first time (decision 98: nothing recorded
 * counts twice), and is gone then: a key that comes later begins with none.
 */
#include "nva/message_ids.h"

#include <stdio.h>
#include <string.h>

enum { KEY_SIZE = 80 };

#define PREFIX "message-id/"

static void key_of(struct gw_ip address, uint32_t spi, char out[static KEY_SIZE]) {
        char text[GW_IP_TEXT];

        snprintf(out, KEY_SIZE, PREFIX "%s/%u", gw_ip_text(address, text), spi);
}

static uint64_t read_at(const struct nva *nva, const char *key) {
        uint64_t id = 0;

        return gw_store_get(nva->store, GW_STORE_META, key, strlen(key), &id, sizeof id) == sizeof id ? id : 0;
}

static void spread(struct nva *nva, const struct gw_keys *keys, struct gw_ip address, uint64_t id) {
        const struct gw_keys_entry *one;
        char key[KEY_SIZE];

        for (size_t i = 0; (one = gw_keys_of(keys, address, i)); i++) {
                key_of(address, one->key.spi, key);
                if (!read_at(nva, key))
                        message_ids_accept(nva, address, one->key.spi, id);
        }
}

uint64_t message_ids_last(struct nva *nva, const struct gw_keys *keys, struct gw_ip address, uint32_t spi) {
        char key[KEY_SIZE], text[GW_IP_TEXT];
        uint64_t older;

        snprintf(key, sizeof key, PREFIX "%s", gw_ip_text(address, text));
        older = read_at(nva, key);
        if (older) {
                spread(nva, keys, address, older);
                nva_remove(nva, GW_STORE_META, key);
        }
        key_of(address, spi, key);
        return read_at(nva, key);
}

void message_ids_accept(struct nva *nva, struct gw_ip address, uint32_t spi, uint64_t id) {
        char key[KEY_SIZE];

        key_of(address, spi, key);
        nva_put(nva, GW_STORE_META, key, &id, sizeof id);
}
