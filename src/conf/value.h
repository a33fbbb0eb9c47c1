/* SPDX-License-Identifier: Apache-2.0 */
/* One value of a configuration: text to field and back. Private to conf. */
#pragma once

#include <stddef.h>

#include "conf/schema.h"

enum { GW_CONF_TEXT_SIZE = GW_CONF_VALUE_MAX + 1, GW_CONF_ALLOWED_SIZE = 160 };

/* Parses text into the row's field within *config. 0 or GW_E_INVALID, then with
 * what is allowed in `allowed`, and the field as it was. */
int gw_conf_value_set(const struct gw_conf_row *row, void *config, const char *text,
                      char allowed[static GW_CONF_ALLOWED_SIZE]);

/* The field as text that parses to the same; "" when it is not set. */
const char *gw_conf_value_text(const struct gw_conf_row *row, const void *config, char out[static GW_CONF_TEXT_SIZE]);

/* What the row allows, in words: "a number from 1 to 10 (s)". */
const char *gw_conf_value_allowed(const struct gw_conf_row *row, char out[static GW_CONF_ALLOWED_SIZE]);
