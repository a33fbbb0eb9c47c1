/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void gw_error_fill(struct gw_error *error, int code, const char *field, const char *format, ...) {
        va_list args;

        if (!error)
                return;
        error->code = code;
        snprintf(error->field, sizeof error->field, "%s", field ? field : "");
        va_start(args, format);
        vsnprintf(error->text, sizeof error->text, format, args);
        va_end(args);
}

const char *gw_error_word(int code) {
        static const char *const words[] = {
                [GW_E_OK] = "ok",
                [GW_E_NOT_FOUND] = "not-found",
                [GW_E_EXISTS] = "exists",
                [GW_E_INVALID] = "invalid",
                [GW_E_CONFLICT] = "conflict",
                [GW_E_REFUSED] = "refused",
                [GW_E_STALE] = "stale",
                [GW_E_FULL] = "full",
                [GW_E_AGAIN] = "again",
                [GW_E_MALFORMED] = "malformed",
        };

        if (code < 0)
                return strerror(-code);
        if ((size_t)code >= sizeof words / sizeof *words)
                return "unknown";
        return words[code];
}
