/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as JSON and HTTP statuses, and the field-by-field reader of bodies.
 *
 * Every reader function first notes the member's name, so that gw_json_done can
 * tell a misspelt member from a known one; and does nothing once the reader has
 * failed, so that callers read all fields and check once.
 */
#include "io/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "base/error.h"

int gw_api_status(int code) {
        switch (code) {
        case GW_E_OK:
                return 200;
        case GW_E_NOT_FOUND:
                return 404;
        case GW_E_EXISTS:
        case GW_E_CONFLICT:
        case GW_E_STALE:
                return 409;
        case GW_E_INVALID:
        case GW_E_MALFORMED:
                return 400;
        case GW_E_REFUSED:
                return 403;
        case GW_E_FULL:
        case GW_E_AGAIN:
                return 503;
        default:
                return 500;
        }
}

json_t *gw_api_error_body(const struct gw_error *error) {
        /* Words of our own about bytes of strangers: what is not UTF-8 must not lose the whole answer. */
        json_t *text = json_string(error->text), *field = json_string(error->field);

        return json_pack("{s{ss so so}}", "error", "code", gw_error_word(error->code), "field",
                         field ? field : json_string(""), "text", text ? text : json_string("(not UTF-8)"));
}

static int code_of_word(const char *word) {
        for (int code = GW_E_NOT_FOUND; code <= GW_E_MALFORMED; code++) {
                if (strcmp(gw_error_word(code), word) == 0)
                        return code;
        }
        return 0;
}

static int code_of_status(int status) {
        switch (status) {
        case 404:
                return GW_E_NOT_FOUND;
        case 409:
                return GW_E_CONFLICT;
        case 400:
                return GW_E_INVALID;
        case 403:
        case 405:
                return GW_E_REFUSED;
        case 413:
                return GW_E_FULL;
        case 503:
                return GW_E_AGAIN;
        case 504:
                return -ETIMEDOUT;
        default:
                return -EIO;
        }
}

int gw_api_error(int status, json_t *body, struct gw_error *error) {
        const char *word = "", *field = "", *text = NULL;
        int code;

        if (status >= 200 && status < 300)
                return 0;
        if (body)
                json_unpack(body, "{s{s?s s?s s?s}}", "error", "code", &word, "field", &field, "text", &text);
        code = code_of_word(word);
        if (!code)
                code = code_of_status(status);
        if (text)
                return gw_fail(error, code, field, "%s", text);
        if (status == 503)
                return gw_fail(error, code, field, "the peer cannot be reached");
        if (status == 504)
                return gw_fail(error, code, field, "the peer did not answer in time");
        return gw_fail(error, code, field, "the peer answered with status %d", status);
}

struct gw_json_reader gw_json_reader(json_t *object, struct gw_error *error) {
        struct gw_json_reader r = {.object = object, .error = error};

        memset(error, 0, sizeof *error);
        if (!json_is_object(object))
                gw_fail(error, GW_E_INVALID, "", "the body must be a JSON object");
        return r;
}

struct gw_json_reader gw_json_reader_at(const struct gw_json_reader *parent, json_t *object, const char *format, ...) {
        struct gw_json_reader r = {.object = object, .error = parent->error};
        int n = snprintf(r.where, sizeof r.where, "%s", parent->where);
        va_list args;

        va_start(args, format);
        if (n >= 0 && (size_t)n < sizeof r.where)
                vsnprintf(r.where + n, sizeof r.where - (size_t)n, format, args);
        va_end(args);
        if (!gw_json_failed(&r) && !json_is_object(object))
                gw_fail(r.error, GW_E_INVALID, r.where, "%.*s must be a JSON object", (int)strlen(r.where) - 1,
                        r.where);
        return r;
}

bool gw_json_failed(const struct gw_json_reader *r) {
        return r->error->code != 0;
}

bool gw_json_fault(struct gw_json_reader *r, const char *key, const char *format, ...) {
        char field[sizeof r->error->field], text[sizeof r->error->text];
        va_list args;

        if (gw_json_failed(r))
                return false;
        snprintf(field, sizeof field, "%s%s", r->where, key);
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        /* Texts name their member; inside a list or object, by its whole path. */
        gw_fail(r->error, GW_E_INVALID, field, "%s%s", r->where, text);
        return false;
}

/* NULL when absent or when the reader has failed. A member that is null counts as absent. */
static json_t *member(struct gw_json_reader *r, const char *key) {
        json_t *value;

        if (r->n_asked < sizeof r->asked / sizeof r->asked[0])
                r->asked[r->n_asked++] = key;
        if (gw_json_failed(r))
                return NULL;
        value = json_object_get(r->object, key);
        return json_is_null(value) ? NULL : value;
}

static void missing(struct gw_json_reader *r, const char *key, const char *what) {
        gw_json_fault(r, key, "%s is missing; it must be %s", key, what);
}

const char *gw_json_string(struct gw_json_reader *r, const char *key, const char *fallback) {
        json_t *value = member(r, key);

        if (json_is_string(value))
                return json_string_value(value);
        if (value)
                gw_json_fault(r, key, "%s must be a text", key);
        else if (!fallback)
                missing(r, key, "a text");
        return fallback ? fallback : "";
}

long long gw_json_int(struct gw_json_reader *r, const char *key, long long min, long long max, long long fallback) {
        json_t *value = member(r, key);
        long long number;

        if (!value) {
                if (fallback != GW_JSON_REQUIRED)
                        return fallback;
                gw_json_fault(r, key, "%s is missing; it must be a whole number from %lld to %lld", key, min, max);
                return min;
        }
        if (!json_is_integer(value)) {
                gw_json_fault(r, key, "%s must be a whole number from %lld to %lld", key, min, max);
                return fallback != GW_JSON_REQUIRED ? fallback : min;
        }
        number = json_integer_value(value);
        if (number >= min && number <= max)
                return number;
        gw_json_fault(r, key, "%s is %lld; allowed are %lld to %lld", key, number, min, max);
        return fallback != GW_JSON_REQUIRED ? fallback : min;
}

int gw_json_bool(struct gw_json_reader *r, const char *key, int fallback) {
        json_t *value = member(r, key);

        if (!value)
                return fallback;
        if (!json_is_boolean(value)) {
                gw_json_fault(r, key, "%s must be true or false", key);
                return fallback;
        }
        return json_is_true(value);
}

json_t *gw_json_array(struct gw_json_reader *r, const char *key) {
        json_t *value = member(r, key);

        if (!value || json_is_array(value))
                return value;
        gw_json_fault(r, key, "%s must be a list", key);
        return NULL;
}

json_t *gw_json_object(struct gw_json_reader *r, const char *key) {
        json_t *value = member(r, key);

        if (!value || json_is_object(value))
                return value;
        gw_json_fault(r, key, "%s must be an object", key);
        return NULL;
}

/* One kind of text value: how it is parsed, and what to say of a wrong one. */
struct form {
        int (*parse)(const char *text, void *out);
        const char *says;
};

static int parse_mac(const char *text, void *out) {
        return gw_mac_parse(text, out);
}
static int parse_ip(const char *text, void *out) {
        return gw_ip_parse(text, out);
}
static int parse_prefix(const char *text, void *out) {
        return gw_prefix_parse(text, out);
}
static int parse_name(const char *text, void *out) {
        return gw_name_parse(text, out);
}
static int parse_id(const char *text, void *out) {
        return gw_id_parse(text, out);
}

static const struct form mac_form = {parse_mac, "a MAC address looks like 52:54:00:12:34:56"};
static const struct form ip_form = {parse_ip, "an IP address looks like 192.0.2.10 or 2001:db8::10"};
static const struct form prefix_form = {
        parse_prefix, "a prefix looks like 192.0.2.0/24 or 2001:db8::/64, with no bits set behind its length"};
static const struct form name_form = {parse_name,
                                      "a name is 1 to 63 of a-z, 0-9 and '-', and neither begins nor ends with '-'"};
static const struct form id_form = {parse_id,
                                    "an id is a name or name@tenant, of a-z, 0-9 and '-', at most 63 characters"};

static bool read_form(struct gw_json_reader *r, const char *key, enum gw_json_need need, const struct form *form,
                      void *out) {
        json_t *value = member(r, key);

        if (!value) {
                if (need == GW_JSON_NEEDED)
                        gw_json_fault(r, key, "%s is missing; %s", key, form->says);
                return false;
        }
        if (!json_is_string(value))
                return gw_json_fault(r, key, "%s must be a text; %s", key, form->says);
        if (form->parse(json_string_value(value), out) != 0)
                return gw_json_fault(r, key, "%s is \"%.64s\"; %s", key, json_string_value(value), form->says);
        return true;
}

bool gw_json_mac(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_mac *out) {
        return read_form(r, key, need, &mac_form, out);
}
bool gw_json_ip(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_ip *out) {
        return read_form(r, key, need, &ip_form, out);
}
bool gw_json_prefix(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_prefix *out) {
        return read_form(r, key, need, &prefix_form, out);
}
bool gw_json_name(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_name *out) {
        return read_form(r, key, need, &name_form, out);
}
bool gw_json_id(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_name *out) {
        return read_form(r, key, need, &id_form, out);
}

static bool read_forms(struct gw_json_reader *r, const char *key, const struct form *form, void *out, size_t each,
                       size_t max, size_t *n) {
        json_t *list = gw_json_array(r, key), *value;
        size_t i;

        *n = 0;
        if (json_array_size(list) > max)
                return gw_json_fault(r, key, "%s has %zu values; at most %zu are allowed", key, json_array_size(list),
                                     max);
        json_array_foreach (list, i, value) {
                const char *text = json_string_value(value);

                if (!text || form->parse(text, (char *)out + i * each) != 0)
                        return gw_json_fault(r, key, "%s[%zu] is %s%.64s%s; %s", key, i, text ? "\"" : "",
                                             text ? text : "not a text", text ? "\"" : "", form->says);
        }
        *n = json_array_size(list);
        return !gw_json_failed(r);
}

bool gw_json_ips(struct gw_json_reader *r, const char *key, struct gw_ip *out, size_t max, size_t *n) {
        return read_forms(r, key, &ip_form, out, sizeof *out, max, n);
}
bool gw_json_prefixes(struct gw_json_reader *r, const char *key, struct gw_prefix *out, size_t max, size_t *n) {
        return read_forms(r, key, &prefix_form, out, sizeof *out, max, n);
}

static bool was_asked(const struct gw_json_reader *r, const char *key) {
        for (size_t i = 0; i < r->n_asked; i++) {
                if (strcmp(r->asked[i], key) == 0)
                        return true;
        }
        return false;
}

static void unknown_member(struct gw_json_reader *r, const char *key) {
        char known[160] = "";
        size_t at = 0;

        for (size_t i = 0; i < r->n_asked && at < sizeof known; i++)
                at += (size_t)snprintf(known + at, sizeof known - at, "%s%s", i ? ", " : "", r->asked[i]);
        gw_json_fault(r, key, "%.40s is not known here; known are %s", key, known[0] ? known : "no members");
}

int gw_json_done(struct gw_json_reader *r) {
        const char *key;
        json_t *value;

        if (gw_json_failed(r))
                return r->error->code;
        json_object_foreach (r->object, key, value) {
                if (!was_asked(r, key)) {
                        unknown_member(r, key);
                        break;
                }
        }
        return r->error->code;
}
