/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values of a configuration. Each type is a row of one table: how its text is
 * parsed, how it is written back, and which words tell what is allowed.
 *
 * A value is parsed into a scratch copy of the field, checked there, and copied
 * only when it is good: a refused value changes nothing. The size that a row
 * claims for its field is asserted against its type, so that a table that does
 * not fit its struct fails in the first test rather than in memory.
 *
 * Numbers are plain decimals: no sign, no blanks, no suffix, because the unit
 * is in the key's name.
 */
#include "conf/value.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* Large enough for every field type. */
union field {
        char text[GW_CONF_TEXT_SIZE];
        struct gw_conf_endpoints endpoints;
};

struct type {
        int (*parse)(const struct gw_conf_row *row, const char *text, void *field);
        /* Leaves "" in out when the field is not set. */
        void (*format)(const struct gw_conf_row *row, const void *field, char *out, size_t size);
        const char *allowed;
        size_t size; /* of the field; 0: the type's functions assert it */
};

static int text_parse(const struct gw_conf_row *row, const char *text, void *field) {
        size_t n = strlen(text);

        if (n >= row->size)
                return GW_E_INVALID;
        memset(field, 0, row->size);
        memcpy(field, text, n);
        return 0;
}

static void text_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        (void)row;
        snprintf(out, size, "%s", (const char *)field);
}

static int path_parse(const struct gw_conf_row *row, const char *text, void *field) {
        return text[0] == '/' ? text_parse(row, text, field) : GW_E_INVALID;
}

static int choice_parse(const struct gw_conf_row *row, const char *text, void *field) {
        size_t n = strlen(text);

        if (!n || strchr(text, ' '))
                return GW_E_INVALID;
        for (const char *at = strstr(row->choices, text); at; at = strstr(at + 1, text))
                if ((at == row->choices || at[-1] == ' ') && (at[n] == ' ' || at[n] == 0))
                        return text_parse(row, text, field);
        return GW_E_INVALID;
}

static int bool_parse(const struct gw_conf_row *row, const char *text, void *field) {
        bool yes = strcmp(text, "yes") == 0;

        (void)row;
        if (!yes && strcmp(text, "no") != 0)
                return GW_E_INVALID;
        memcpy(field, &yes, sizeof yes);
        return 0;
}

static void bool_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        bool yes;

        (void)row;
        memcpy(&yes, field, sizeof yes);
        snprintf(out, size, "%s", yes ? "yes" : "no");
}

static uint64_t int_max(const struct gw_conf_row *row) {
        assert(row->size == 2 || row->size == 4 || row->size == 8);
        return row->max ? row->max : UINT64_MAX >> (64 - 8 * row->size);
}

static int int_parse(const struct gw_conf_row *row, const char *text, void *field) {
        uint64_t n = 0, digit;
        uint16_t n16;
        uint32_t n32;

        if (!*text)
                return GW_E_INVALID;
        for (; *text; text++) {
                if (*text < '0' || *text > '9')
                        return GW_E_INVALID;
                digit = (uint64_t)(*text - '0');
                if (n > (UINT64_MAX - digit) / 10)
                        return GW_E_INVALID;
                n = n * 10 + digit;
        }
        if (n < row->min || n > int_max(row))
                return GW_E_INVALID;
        n16 = (uint16_t)n;
        n32 = (uint32_t)n;
        memcpy(field, row->size == 2 ? (void *)&n16 : row->size == 4 ? (void *)&n32 : (void *)&n, row->size);
        return 0;
}

static uint64_t int_get(const struct gw_conf_row *row, const void *field) {
        uint16_t n16;
        uint32_t n32;
        uint64_t n64;

        if (row->size == 2)
                return memcpy(&n16, field, 2), n16;
        if (row->size == 4)
                return memcpy(&n32, field, 4), n32;
        return memcpy(&n64, field, 8), n64;
}

static void int_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        uint64_t n = int_get(row, field);

        /* Where zero is not allowed it is a field that nobody has set. */
        if (n >= row->min && (n || row->fallback || row->required))
                snprintf(out, size, "%" PRIu64, n);
}

static const struct gw_ip ip_unset; /* :: is what a field has that nobody has set */

static int ip_parse(const struct gw_conf_row *row, const char *text, void *field) {
        struct gw_ip ip;

        (void)row;
        if (gw_ip_parse(text, &ip) || gw_ip_eq(ip, ip_unset))
                return GW_E_INVALID;
        memcpy(field, &ip, sizeof ip);
        return 0;
}

static void ip_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        struct gw_ip ip;

        (void)row;
        memcpy(&ip, field, sizeof ip);
        if (size >= GW_IP_TEXT && !gw_ip_eq(ip, ip_unset))
                gw_ip_text(ip, out);
}

static int endpoint_parse(const struct gw_conf_row *row, const char *text, void *field) {
        struct gw_endpoint endpoint;

        (void)row;
        if (gw_endpoint_parse(text, &endpoint) || endpoint.port == 0)
                return GW_E_INVALID;
        memcpy(field, &endpoint, sizeof endpoint);
        return 0;
}

static void endpoint_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        struct gw_endpoint endpoint;

        (void)row;
        memcpy(&endpoint, field, sizeof endpoint);
        if (endpoint.port && size >= GW_ENDPOINT_TEXT)
                gw_endpoint_text(&endpoint, out);
}

static int endpoints_parse(const struct gw_conf_row *row, const char *text, void *field) {
        struct gw_conf_endpoints list = {0};
        char copy[GW_CONF_TEXT_SIZE], *save = NULL;

        snprintf(copy, sizeof copy, "%s", text);
        for (char *word = strtok_r(copy, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
                if (list.n == GW_CONF_ENDPOINTS_MAX || endpoint_parse(row, word, &list.at[list.n]))
                        return GW_E_INVALID;
                list.n++;
        }
        if (list.n == 0)
                return GW_E_INVALID;
        memcpy(field, &list, sizeof list);
        return 0;
}

static void endpoints_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        struct gw_conf_endpoints list;
        char text[GW_ENDPOINT_TEXT];
        size_t at = 0;

        (void)row;
        memcpy(&list, field, sizeof list);
        for (size_t i = 0; i < list.n && at < size; i++)
                at += (size_t)snprintf(out + at, size - at, "%s%s", i ? " " : "", gw_endpoint_text(&list.at[i], text));
}

static int name_parse(const struct gw_conf_row *row, const char *text, void *field) {
        (void)row;
        return gw_name_parse(text, field);
}

static const char *const level_words[] = {
        [GW_ERR] = "error", [GW_WARNING] = "warning", [GW_NOTICE] = "notice", [GW_INFO] = "info", [GW_DEBUG] = "debug",
};

static int level_parse(const struct gw_conf_row *row, const char *text, void *field) {
        (void)row;
        for (enum gw_level level = GW_ERR; level <= GW_DEBUG; level++)
                if (strcmp(level_words[level], text) == 0) {
                        memcpy(field, &level, sizeof level);
                        return 0;
                }
        return GW_E_INVALID;
}

static void level_format(const struct gw_conf_row *row, const void *field, char *out, size_t size) {
        enum gw_level level;

        (void)row;
        memcpy(&level, field, sizeof level);
        if (level >= GW_ERR && level <= GW_DEBUG)
                snprintf(out, size, "%s", level_words[level]);
}

static const struct type types[] = {
        [GW_CONF_STRING] = {text_parse, text_format, "text", 0},
        [GW_CONF_PATH] = {path_parse, text_format, "an absolute path", 0},
        [GW_CONF_CHOICE] = {choice_parse, text_format, "one of", 0},
        [GW_CONF_BOOL] = {bool_parse, bool_format, "yes or no", sizeof(bool)},
        [GW_CONF_INT] = {int_parse, int_format, "a number", 0},
        [GW_CONF_IP] = {ip_parse, ip_format, "an IPv4 or IPv6 address other than ::", sizeof(struct gw_ip)},
        [GW_CONF_ENDPOINT] = {endpoint_parse, endpoint_format, "ADDRESS:PORT, an IPv6 address in []",
                              sizeof(struct gw_endpoint)},
        [GW_CONF_ENDPOINTS] = {endpoints_parse, endpoints_format, "up to 8 of ADDRESS:PORT, an IPv6 address in []",
                               sizeof(struct gw_conf_endpoints)},
        [GW_CONF_NAME] = {name_parse, text_format, "a name of a-z, 0-9 and inner '-', at most 63 octets",
                          sizeof(struct gw_name)},
        [GW_CONF_LEVEL] = {level_parse, level_format, "one of error, warning, notice, info, debug",
                           sizeof(enum gw_level)},
};
_Static_assert(GW_CONF_ENDPOINTS_MAX == 8, "the number is in a text above");

static const struct type *type_of(const struct gw_conf_row *row) {
        const struct type *type;

        assert(row->type >= GW_CONF_STRING && (size_t)row->type < sizeof types / sizeof *types);
        type = &types[row->type];
        assert(row->size <= sizeof(union field) && (type->size == 0 || type->size == row->size));
        return type;
}

const char *gw_conf_value_allowed(const struct gw_conf_row *row, char out[static GW_CONF_ALLOWED_SIZE]) {
        const char *words = type_of(row)->allowed;

        if (row->type == GW_CONF_INT)
                snprintf(out, GW_CONF_ALLOWED_SIZE, "%s from %" PRIu64 " to %" PRIu64 "%s%s%s", words, row->min,
                         int_max(row), row->unit ? " (" : "", row->unit ? row->unit : "", row->unit ? ")" : "");
        else if (row->type == GW_CONF_CHOICE)
                snprintf(out, GW_CONF_ALLOWED_SIZE, "%s %s", words, row->choices);
        else if (row->type == GW_CONF_STRING || row->type == GW_CONF_PATH)
                snprintf(out, GW_CONF_ALLOWED_SIZE, "%s of at most %zu octets", words, row->size - 1);
        else
                snprintf(out, GW_CONF_ALLOWED_SIZE, "%s", words);
        return out;
}

int gw_conf_value_set(const struct gw_conf_row *row, void *config, const char *text,
                      char allowed[static GW_CONF_ALLOWED_SIZE]) {
        union field scratch = {{0}};
        const char *rule;

        if (strlen(text) > GW_CONF_VALUE_MAX || type_of(row)->parse(row, text, &scratch)) {
                gw_conf_value_allowed(row, allowed);
                return GW_E_INVALID;
        }
        rule = row->check ? row->check(&scratch) : NULL;
        if (rule) {
                snprintf(allowed, GW_CONF_ALLOWED_SIZE, "%s", rule);
                return GW_E_INVALID;
        }
        memcpy((char *)config + row->offset, &scratch, row->size);
        return 0;
}

const char *gw_conf_value_text(const struct gw_conf_row *row, const void *config, char out[static GW_CONF_TEXT_SIZE]) {
        out[0] = 0;
        type_of(row)->format(row, (const char *)config + row->offset, out, GW_CONF_TEXT_SIZE);
        return out;
}
