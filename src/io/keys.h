/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Security associations for Mobility Headers, from a file that only its owner
 * can read. One line each; the first of a peer's lines is the one to sign with,
 * all are good for verifying, so that a key is changed by adding the new one at
 * both ends, putting it first, and taking the old one away.
 *
 *      # SPI  algorithm    peer's address    peer's id  key
 *      256    hmac-sha256  2001:db8:0:a::1   host1      00112233445566778899aabbccddeeff
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "wire/auth.h"

struct gw_error;

enum {
        GW_KEYS_MAX = 16384,        /* lines with a key */
        GW_KEYS_FILE_MAX = 4 << 20, /* octets */
        GW_KEYS_PER_PEER = 2,
};

struct gw_keys_entry {
        struct gw_auth_key key;
        struct gw_ip peer; /* of either family */
        struct gw_name id;
        unsigned line;
};

struct gw_keys;

/* GW_E_INVALID: what is wrong and in which line; never what a key is. GW_E_REFUSED: others may read the file. */
int gw_keys_new(struct gw_keys **out, const char *path, struct gw_error *error);
/* The same from text; `where` stands for the file in errors. */
int gw_keys_parse(struct gw_keys **out, const char *text, const char *where, struct gw_error *error);
int gw_keys_reload(struct gw_keys *keys, struct gw_error *error); /* on failure the present ones stay */
void gw_keys_free(struct gw_keys *keys);                          /* wipes them; NULL-safe */

size_t gw_keys_count(const struct gw_keys *keys);
/* NULL: none. They are good until the next reload. */
const struct gw_keys_entry *gw_keys_find(const struct gw_keys *keys, struct gw_ip peer, uint32_t spi);
/* All of a peer, by SPI: i from 0 on. */
const struct gw_keys_entry *gw_keys_of(const struct gw_keys *keys, struct gw_ip peer, size_t i);
const struct gw_keys_entry *gw_keys_to_sign(const struct gw_keys *keys, struct gw_ip peer);
const struct gw_keys_entry *gw_keys_to_sign_for(const struct gw_keys *keys, const char *id);
bool gw_keys_has_peer(const struct gw_keys *keys, struct gw_ip peer);
/* One key to sign with for each peer, one peer after the other; NULL starts. */
const struct gw_keys_entry *gw_keys_next_peer(const struct gw_keys *keys, const struct gw_keys_entry *last);

/* For gw_auth_sign and gw_auth_verify. */
int gw_keys_mac(const struct gw_auth_key *key, const uint8_t *bytes, size_t size, uint8_t *out, size_t out_size);
