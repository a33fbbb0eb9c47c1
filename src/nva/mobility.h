/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations as Mobility Headers at the authority: sockets (io/mobility.h), the keys of
 * those who may use them, and what is checked before the directory is asked.
 * Off unless the configuration names registration-listen.
 */
#pragma once

#include <jansson.h>

#include "wire/registration.h"
#include "wire/upkeep.h"

struct gw_error;
struct gw_keys_entry;
struct gw_nve;
struct nva;
struct nva_mobility;

int mobility_listen(struct nva *nva, struct gw_error *error); /* 0 also when it is off */
void mobility_close(struct nva *nva);
void mobility_reload(struct nva *nva); /* the key file; on failure the present keys stay */

/* Signs and queues a message to the owner of a key. GW_E_INVALID, GW_E_FULL, negative errno: it will not be sent. */
int mobility_send(struct nva *nva, const struct gw_keys_entry *to, struct gw_registration *reg);
int mobility_send_upkeep(struct nva *nva, const struct gw_keys_entry *to, struct gw_upkeep *upkeep);
/* The key to sign with for an NVE; NULL: it has none, or this transport is off. */
const struct gw_keys_entry *mobility_key(const struct nva *nva, const struct gw_nve *nve);

/* The same for one that is no NVE, by its address. */
const struct gw_keys_entry *mobility_key_at(const struct nva *nva, struct gw_ip address);

json_t *mobility_json(const struct nva *nva); /* NULL when it is off */
