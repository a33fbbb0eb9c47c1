/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all Mobility Headers have in common (RFC 6275 section 6.1): the header,
 * its checksum, padding and alignment of options. The messages themselves are
 * in wire/registration.h and wire/upkeep.h.
 *
 * A writer begins at the first octet of the message: alignment counts from there.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cursor.h"
#include "wire/registration.h"

/* Over pseudo-header and message, as it stands: 0 when a valid checksum is in
 * place; the checksum to put in when that field is zero. */
uint16_t gw_mh_checksum(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst);

/* The checks of RFC 6275 section 9.2 in their order, for each type of message
 * that is known here: enum gw_reg_fault, at most GW_REG_FAULT_HEADER_LENGTH. */
uint8_t gw_mh_check(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst);
/* Octets before the options of a message of this type; 0: not known here. */
size_t gw_mh_fixed_size(uint8_t type);

void gw_mh_begin(struct gw_writer *w, uint8_t type);                       /* six octets */
void gw_mh_close(struct gw_writer *w, struct gw_ip src, struct gw_ip dst); /* length and checksum */
void gw_mh_pad(struct gw_writer *w, size_t x, size_t y);                   /* so that the next octet is at x*n + y */
void gw_mh_option(struct gw_writer *w, uint8_t type, size_t length, size_t x, size_t y); /* type and length, aligned */
/* The authentication option (9), so padded that it ends the message on a multiple of eight. */
void gw_mh_put_auth(struct gw_writer *w, uint8_t subtype, uint32_t spi, const uint8_t *auth, size_t size);
static inline bool gw_mh_auth_size_ok(size_t size) {
        return size == GW_MH_AUTH_SIZE || size == GW_MH_AUTH_SIZE_LONG;
}

/* All options up to the end of *r into the fields of *out: enum gw_reg_fault. */
int gw_mh_read_options(struct gw_reader *r, struct gw_registration *out);
