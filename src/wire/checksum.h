/* SPDX-License-Identifier: Apache-2.0 */
/* The Internet checksum of a Mobility Header, RFC 6275 section 6.1.1. Private to wire. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

/* Over pseudo-header and message, as it stands: 0 when a valid checksum is in
 * place; the checksum to put in when that field is zero. */
uint16_t gw_mh_checksum(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst);
