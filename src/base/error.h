/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors come in two kinds.
 *
 * Negative: an errno value. Unexpected; passed up unchanged to whoever can end
 * the operation, and logged once there.
 *
 * Positive: a GW_E_* value that is part of a function's contract, named in its
 * header, handled by the direct caller and never passed further.
 *
 * Where a person will read the outcome (API, configuration, command line) the
 * function also fills a struct gw_error: what was wrong, where, what to do.
 */
#pragma once

enum {
        GW_E_OK = 0,
        GW_E_NOT_FOUND, /* no such object */
        GW_E_EXISTS,    /* an object of that name or address is there already */
        GW_E_INVALID,   /* a value out of its allowed range or form */
        GW_E_CONFLICT,  /* allowed by itself, not in the present state */
        GW_E_REFUSED,   /* not allowed for this sender or by policy */
        GW_E_STALE,     /* an older epoch, sequence or timestamp than the one held */
        GW_E_FULL,      /* a bound was reached; nothing was changed */
        GW_E_AGAIN,     /* not yet; ask again later */
        GW_E_MALFORMED, /* bytes that do not decode */
};

/* Written for the operator. .code is a GW_E_* or a negative errno; .field names
 * the key, flag or JSON member at fault and may be empty. */
struct gw_error {
        int code;
        char field[64];
        char text[256];
};

/* Fills *error (ignored when NULL) and has the value of code, so that callers can write
 * `return gw_fail(error, GW_E_INVALID, "mtu", "mtu is %d; ...", mtu);`. A macro, so that
 * compilers and analysers see which value it is. */
#define gw_fail(error, code, ...)                                                                                      \
        ({                                                                                                             \
                const int gw_code_ = (code);                                                                           \
                gw_error_fill((error), gw_code_, __VA_ARGS__);                                                         \
                gw_code_;                                                                                              \
        })
void gw_error_fill(struct gw_error *error, int code, const char *field, const char *format, ...)
        __attribute__((format(printf, 4, 5)));

/* For text of others that snprintf may have cut in the middle of a character: what is left of that one goes too.
 * Otherwise it is no UTF-8 any more, and no JSON can be made of it. */
void gw_text_mend(char *text);

/* The word for a code, for logs and JSON: "not-found", "invalid", ... ; strerror for errno. */
const char *gw_error_word(int code);
