/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration while it is put together. Private to conf. */
#pragma once

#include <stdint.h>

#include "conf/schema.h"

enum gw_conf_origin { GW_CONF_ORIGIN_FILE = 1, GW_CONF_ORIGIN_FLAG };

struct gw_conf_parser {
        const struct gw_conf_schema *schema;
        void *config;
        enum gw_conf_origin origin;       /* of what is set now */
        char where[160];                  /* "FILE:LINE" or "--set", for errors */
        uint8_t set_by[GW_CONF_ROWS_MAX]; /* per row, enum gw_conf_origin; 0: not set */
};

/* All: 0 or GW_E_INVALID with *error filled. */
int gw_conf_parser_init(struct gw_conf_parser *parser, const struct gw_conf_schema *schema, void *config,
                        struct gw_error *error);
int gw_conf_parser_set(struct gw_conf_parser *parser, const char *key, const char *value, struct gw_error *error);
int gw_conf_parser_text(struct gw_conf_parser *parser, const char *text, size_t size, const char *where,
                        struct gw_error *error);
/* Required keys, and the rules between keys. */
int gw_conf_parser_check(const struct gw_conf_parser *parser, const char *where, struct gw_error *error);
