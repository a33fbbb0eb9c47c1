/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files, and the whole of a configuration: defaults, then a file,
 * then settings from the command line, then the rules that need all of it.
 *
 * A file has lines `key = value`. A line that starts with '#' is a comment, and
 * so is what follows a '#' after a blank. Blanks around key and value do not
 * count, so no value begins or ends with one, contains " #", or has control
 * characters; a setting that breaks this is refused too, because what runs must
 * be printable as a file that means the same.
 *
 * Each key remembers where it was set: twice in one place is an error, and the
 * command line wins over the file. Errors name the place, the key, the value
 * and what is allowed, and the first one ends the reading.
 */
#include "conf/schema.h"

#include <assert.h>
#include <string.h>

#include "base/error.h"
#include "conf/parse.h"
#include "conf/value.h"

const char *gw_conf_check_unicast(const void *ip) {
        struct gw_ip copy;

        memcpy(&copy, ip, sizeof copy);
        return gw_ip_is_unicast(copy) ? NULL : "a unicast address, neither loopback nor unspecified";
}

static size_t row_find(const struct gw_conf_schema *schema, const char *key) {
        size_t i = 0;

        while (schema->rows[i].key && strcmp(schema->rows[i].key, key) != 0)
                i++;
        return i;
}

/* A key that begins as this one does: it may be what was meant. */
static const char *row_like(const struct gw_conf_schema *schema, const char *key) {
        for (const struct gw_conf_row *row = schema->rows; row->key; row++)
                if (strncmp(row->key, key, 4) == 0)
                        return row->key;
        return NULL;
}

static int fail_unknown(const struct gw_conf_parser *parser, const char *key, struct gw_error *error) {
        const char *like = row_like(parser->schema, key);

        return gw_fail(error, GW_E_INVALID, key, "%s: unknown key \"%.64s\"%s%s; --help lists the keys", parser->where,
                       key, like ? "; did you mean " : "", like ? like : "");
}

int gw_conf_parser_init(struct gw_conf_parser *parser, const struct gw_conf_schema *schema, void *config,
                        struct gw_error *error) {
        char allowed[GW_CONF_ALLOWED_SIZE];

        *parser = (struct gw_conf_parser){.schema = schema, .config = config, .where = "defaults"};
        assert(row_find(schema, "") < GW_CONF_ROWS_MAX);
        for (const struct gw_conf_row *row = schema->rows; row->key; row++) {
                memset((char *)config + row->offset, 0, row->size);
                if (row->fallback && gw_conf_value_set(row, config, row->fallback, allowed))
                        return gw_fail(error, GW_E_INVALID, row->key, "the default of %s is \"%s\", not %s", row->key,
                                       row->fallback, allowed);
        }
        return 0;
}

/* True when text would be read back from a line as it is. */
static bool value_plain(const char *text) {
        size_t n = strlen(text);

        if (n == 0 || text[0] == ' ' || text[0] == '#' || text[n - 1] == ' ' || strstr(text, " #"))
                return false;
        for (size_t i = 0; i < n; i++)
                if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
                        return false;
        return true;
}

int gw_conf_parser_set(struct gw_conf_parser *parser, const char *key, const char *value, struct gw_error *error) {
        char allowed[GW_CONF_ALLOWED_SIZE];
        size_t i = row_find(parser->schema, key);
        const struct gw_conf_row *row = &parser->schema->rows[i];

        if (!row->key)
                return fail_unknown(parser, key, error);
        if (parser->set_by[i] == parser->origin)
                return gw_fail(error, GW_E_INVALID, key, "%s: %s is set twice; keep one", parser->where, key);
        if (!*value)
                return gw_fail(error, GW_E_INVALID, key, "%s: %s has no value; allowed is %s", parser->where, key,
                               gw_conf_value_allowed(row, allowed));
        if (!value_plain(value))
                return gw_fail(error, GW_E_INVALID, key,
                               "%s: %s has a value with control characters, or blanks or '#' where none may be",
                               parser->where, key);
        if (gw_conf_value_set(row, parser->config, value, allowed))
                return gw_fail(error, GW_E_INVALID, key, "%s: %s is \"%.64s\"; allowed is %s", parser->where, key,
                               value, allowed);
        parser->set_by[i] = parser->origin;
        return 0;
}

/* Strips blanks at both ends, in place. */
static char *strip(char *text) {
        size_t n;

        text += strspn(text, " \r");
        n = strlen(text);
        while (n && strchr(" \r", text[n - 1]))
                text[--n] = 0;
        return text;
}

/* Tabs become blanks, and a comment is cut off. */
static void plain_line(char *line) {
        for (char *c = line; *c; c++) {
                if (*c == '\t')
                        *c = ' ';
                if (*c == '#' && (c == line || c[-1] == ' ')) {
                        *c = 0;
                        return;
                }
        }
}

static int parse_line(struct gw_conf_parser *parser, char *line, struct gw_error *error) {
        char *equals, *key;

        plain_line(line);
        line = strip(line);
        if (!*line)
                return 0;
        equals = strchr(line, '=');
        if (!equals || equals == line)
                return gw_fail(error, GW_E_INVALID, "", "%s: \"%.64s\" is not of the form key = value", parser->where,
                               line);
        *equals = 0;
        key = strip(line);
        return gw_conf_parser_set(parser, key, strip(equals + 1), error);
}

int gw_conf_parser_text(struct gw_conf_parser *parser, const char *text, size_t size, const char *where,
                        struct gw_error *error) {
        char line[GW_CONF_VALUE_MAX + 128];
        const char *newline;
        size_t n;
        int r;

        parser->origin = GW_CONF_ORIGIN_FILE;
        for (unsigned number = 1; size; number++) {
                snprintf(parser->where, sizeof parser->where, "%.100s:%u", where, number);
                newline = memchr(text, '\n', size);
                n = newline ? (size_t)(newline - text) : size;
                if (n >= sizeof line || memchr(text, 0, n))
                        return gw_fail(error, GW_E_INVALID, "", "%s: the line has %s", parser->where,
                                       n >= sizeof line ? "more than 1150 octets" : "an octet 0");
                memcpy(line, text, n);
                line[n] = 0;
                text += n + (newline != NULL);
                size -= n + (newline != NULL);
                r = parse_line(parser, line, error);
                if (r)
                        return r;
        }
        return 0;
}

int gw_conf_parser_check(const struct gw_conf_parser *parser, const char *where, struct gw_error *error) {
        char allowed[GW_CONF_ALLOWED_SIZE];

        for (const struct gw_conf_row *row = parser->schema->rows; row->key; row++)
                if (row->required && !parser->set_by[row - parser->schema->rows])
                        return gw_fail(error, GW_E_INVALID, row->key, "%.100s: %s is missing (%s); allowed is %s",
                                       where, row->key, row->help, gw_conf_value_allowed(row, allowed));
        return parser->schema->check ? parser->schema->check(parser->config, error) : 0;
}

int gw_conf_parse(const struct gw_conf_schema *schema, void *out, const char *text, size_t size, const char *where,
                  struct gw_error *error) {
        struct gw_conf_parser parser;
        int r;

        r = gw_conf_parser_init(&parser, schema, out, error);
        if (!r)
                r = gw_conf_parser_text(&parser, text, size, where, error);
        if (!r)
                r = gw_conf_parser_check(&parser, where, error);
        return r;
}

void gw_conf_print(const struct gw_conf_schema *schema, const void *config, FILE *to) {
        char value[GW_CONF_TEXT_SIZE], allowed[GW_CONF_ALLOWED_SIZE];

        fprintf(to, "# Configuration of %s: %s\n", schema->program, schema->summary);
        for (const struct gw_conf_row *row = schema->rows; row->key; row++) {
                gw_conf_value_text(row, config, value);
                fprintf(to, "\n# %s%s\n# Allowed: %s.", row->help, row->required ? " (required)" : "",
                        gw_conf_value_allowed(row, allowed));
                if (row->fallback)
                        fprintf(to, " Default: %s", row->fallback);
                fprintf(to, *value ? "\n%s = %s\n" : "\n# %s =%s\n", row->key, value);
        }
}
