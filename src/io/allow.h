/* SPDX-License-Identifier: Apache-2.0 */
/* What a port may do (base/allow.h), in JSON: a list of words. */
#pragma once

#include <stdint.h>

#include "io/api.h"

/* *out is 0 when the member is absent. */
void gw_json_allow(struct gw_json_reader *r, const char *key, uint16_t *out);
json_t *gw_allow_json(uint16_t allow); /* the caller's */
