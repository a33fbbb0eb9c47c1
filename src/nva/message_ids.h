/* SPDX-License-Identifier: Apache-2.0 */
/* The last Message-ID that was accepted of each key, in the store: no start of ours lets the last seconds be repeated. */
#pragma once

#include "io/keys.h"
#include "nva/nva.h"

/* 0: none. `keys`: those that there are, see message_ids.c. */
uint64_t message_ids_last(struct nva *nva, const struct gw_keys *keys, struct gw_ip address, uint32_t spi);
void message_ids_accept(struct nva *nva, struct gw_ip address, uint32_t spi, uint64_t id);
