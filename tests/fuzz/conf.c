/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the reader of configuration files with a table that has every type:
 * what it accepts must print as a file that it accepts, with the same values.
 */
#include <string.h>

#include "base/error.h"
#include "conf/schema.h"
#include "fuzz.h"

struct config {
        struct gw_conf_common common;
        struct gw_endpoint listen;
        struct gw_conf_endpoints nva;
        struct gw_ip locator;
        uint16_t port;
        uint32_t lease_s;
        uint64_t memory;
        bool fast;
        char mode[8];
        char words[32];
};

#define ROW(...) GW_CONF_ROW(struct config, __VA_ARGS__)

static const struct gw_conf_row rows[] = {
        GW_CONF_COMMON_ROWS(struct config, common, "test"),
        ROW(listen, "listen", GW_CONF_ENDPOINT, "[::]:7460", "where NVEs connect"),
        ROW(nva, "nva", GW_CONF_ENDPOINTS, NULL, "where the NVA is"),
        ROW(locator, "locator", GW_CONF_IP, NULL, "address on the underlay", .check = gw_conf_check_unicast),
        ROW(port, "port", GW_CONF_INT, "4789", "a port", .min = 1),
        ROW(lease_s, "lease-s", GW_CONF_INT, "3600", "a time", .min = 60, .max = 86400, .unit = "s"),
        ROW(memory, "memory", GW_CONF_INT, NULL, "memory"),
        ROW(fast, "fast", GW_CONF_BOOL, NULL, "be fast"),
        ROW(mode, "mode", GW_CONF_CHOICE, NULL, "how", .choices = "auto kvm tcg"),
        ROW(words, "words", GW_CONF_STRING, NULL, "any text"),
        {0},
};

static const struct gw_conf_schema schema = {"godwit-test", "a test", "/nonexistent", rows, NULL};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        static char printed[GW_CONF_FILE_MAX];
        struct config first, second;
        struct gw_error error = {0};
        FILE *file;

        if (size > GW_CONF_FILE_MAX)
                return 0;
        memset(&first, 0, sizeof first);
        memset(&second, 0, sizeof second);
        if (gw_conf_parse(&schema, &first, (const char *)data, size, "input", &error)) {
                must(error.code == GW_E_INVALID && error.text[0]);
                return 0;
        }
        memset(printed, 0, sizeof printed);
        file = fmemopen(printed, sizeof printed, "w");
        must(file);
        gw_conf_print(&schema, &first, file);
        must(fclose(file) == 0);
        must(gw_conf_parse(&schema, &second, printed, strlen(printed), "printed", &error) == 0);
        must(memcmp(&first, &second, sizeof first) == 0);
        return 0;
}
