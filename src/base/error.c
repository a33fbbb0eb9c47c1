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
        gw_text_mend(error->text);
        gw_text_mend(error->field);
}

void gw_text_mend(char *text) {
        size_t n = strlen(text), tail = 0;
        unsigned char lead;
        size_t needs;

        while (tail < n && tail < 3 && ((unsigned char)text[n - 1 - tail] & 0xc0) == 0x80)
                tail++;
        if (tail == n)
                return;
        lead = (unsigned char)text[n - 1 - tail];
        needs = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;
        if (tail < needs)
                text[n - 1 - tail] = 0;
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
