/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration: every type, every refusal with its words, flags, and printing what parses to the same. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "conf/schema.h"

struct config {
        struct gw_conf_common common;
        struct gw_endpoint listen, api_listen;
        struct gw_conf_endpoints nva;
        struct gw_ip locator;
        uint16_t port;
        uint32_t lease_s;
        uint64_t memory;
        bool fast;
        char mode[8];
        char words[12];
};

#define ROW(...) GW_CONF_ROW(struct config, __VA_ARGS__)

static const struct gw_conf_row rows[] = {
        GW_CONF_COMMON_ROWS(struct config, common, "test"),
        ROW(listen, "listen", GW_CONF_ENDPOINT, "[::]:7460", "where NVEs connect"),
        ROW(api_listen, "api-listen", GW_CONF_ENDPOINT, NULL, "where people connect"),
        ROW(nva, "nva", GW_CONF_ENDPOINTS, NULL, "where the NVA is"),
        ROW(locator, "locator", GW_CONF_IP, NULL, "address on the underlay", .check = gw_conf_check_unicast),
        ROW(port, "port", GW_CONF_INT, "4789", "a port", .min = 1),
        ROW(lease_s, "lease-s", GW_CONF_INT, "3600", "lifetime of a registration", .min = 60, .max = 86400,
            .unit = "s"),
        ROW(memory, "memory", GW_CONF_INT, NULL, "memory"),
        ROW(fast, "fast", GW_CONF_BOOL, "no", "be fast"),
        ROW(mode, "mode", GW_CONF_CHOICE, "auto", "how", .choices = "auto kvm tcg"),
        ROW(words, "words", GW_CONF_STRING, NULL, "any text"),
        {0},
};

static int check(const void *config, struct gw_error *error) {
        const struct config *c = config;

        if (c->fast && strcmp(c->mode, "tcg") == 0)
                return gw_fail(error, GW_E_INVALID, "fast", "fast and mode = tcg do not go together");
        return 0;
}

static const struct gw_conf_schema schema = {"godwit-test", "a test", "/nonexistent/test.conf", rows, check};

static int parse(const char *text, struct config *config, struct gw_error *error) {
        memset(config, 0x5a, sizeof *config);
        *error = (struct gw_error){0};
        return gw_conf_parse(&schema, config, text, strlen(text), "t.conf", error);
}

static void defaults(void **state) {
        struct gw_error error;
        struct config c;

        (void)state;
        assert_int_equal(parse("id = h1\n", &c, &error), 0);
        assert_string_equal(c.common.id.s, "h1");
        assert_string_equal(c.common.state_dir, "/var/lib/godwit/test");
        assert_int_equal(c.common.log_level, GW_INFO);
        assert_int_equal(c.listen.port, 7460);
        assert_int_equal(c.api_listen.port, 0);
        assert_int_equal(c.nva.n, 0);
        assert_int_equal(c.port, 4789);
        assert_int_equal(c.lease_s, 3600);
        assert_int_equal(c.memory, 0);
        assert_false(c.fast);
        assert_string_equal(c.mode, "auto");
        assert_string_equal(c.words, "");
}

static void values(void **state) {
        static const char text[] = "# a comment\n"
                                   "\r\n"
                                   "  id=h1   # and another\n"
                                   "log-level = debug\n"
                                   "nva = 192.0.2.1:7460 \t [2001:db8::1]:7461\n"
                                   "locator = fd99::1\r\n"
                                   "port = 65535\n"
                                   "memory = 18446744073709551615\n"
                                   "fast = yes\n"
                                   "mode = kvm\n"
                                   "words =\ta=b\tc #d\n"
                                   "api-socket = /run/a b.sock";
        struct gw_error error;
        struct config c;
        char ip[GW_ENDPOINT_TEXT];

        (void)state;
        assert_int_equal(parse(text, &c, &error), 0);
        assert_int_equal(c.common.log_level, GW_DEBUG);
        assert_int_equal(c.nva.n, 2);
        assert_string_equal(gw_endpoint_text(&c.nva.at[1], ip), "[2001:db8::1]:7461");
        assert_string_equal(gw_ip_text(c.locator, ip), "fd99::1");
        assert_int_equal(c.port, 65535);
        assert_true(c.memory == UINT64_MAX);
        assert_true(c.fast);
        assert_string_equal(c.mode, "kvm");
        assert_string_equal(c.words, "a=b c");
        assert_string_equal(c.common.api_socket, "/run/a b.sock");
}

static void refusals(void **state) {
        static const struct {
                const char *text, *field, *says;
        } cases[] = {
                {"", "id", "t.conf: id is missing (this daemon's id"},
                {"id = h1\nlease-s = 59\n", "lease-s",
                 "t.conf:2: lease-s is \"59\"; allowed is a number from 60 to 86400 (s)"},
                {"id = h1\nlease-s = 86401", "lease-s", "t.conf:2: lease-s"},
                {"id = h1\nlease-s = 1e3", "lease-s", "allowed is a number"},
                {"id = h1\nlease-s = +90", "lease-s", "allowed is a number"},
                {"id = h1\nport = 65536", "port", "from 1 to 65535"},
                {"id = h1\nport = 0", "port", "from 1 to 65535"},
                {"id = h1\nmemory = 18446744073709551616", "memory", "allowed is a number"},
                {"id = h1\nmemory = 99999999999999999999999", "memory", "allowed is a number"},
                {"id = h1\nfast = true", "fast", "allowed is yes or no"},
                {"id = h1\nmode = k", "mode", "allowed is one of auto kvm tcg"},
                {"id = h1\nmode = auto kvm", "mode", "allowed is one of auto kvm tcg"},
                {"id = H1", "id", "allowed is a name"},
                {"id = h1\nlocator = 127.0.0.1", "locator", "allowed is a unicast address"},
                {"id = h1\nlocator = ::", "locator", "allowed is an IPv4 or IPv6 address"},
                {"id = h1\nlisten = 192.0.2.1:0", "listen", "allowed is ADDRESS:PORT"},
                {"id = h1\nlisten = 192.0.2.1", "listen", "allowed is ADDRESS:PORT"},
                {"id = h1\nnva = 192.0.2.1:1 2001:db8::1:1", "nva", "allowed is up to 8"},
                {"id = h1\nnva = 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 1.1.1.1:1 "
                 "1.1.1.1:1",
                 "nva", "allowed is up to 8"},
                {"id = h1\nstate-dir = var", "state-dir", "allowed is an absolute path of at most 255 octets"},
                {"id = h1\nlog-level = 7", "log-level", "one of error, warning"},
                {"id = h1\nwords = twelve octet", "words", "at most 11 octets"},
                {"id = h1\nwords =", "words", "t.conf:2: words has no value"},
                {"id = h1\nwords = # nothing", "words", "has no value"},
                {"id = h1\nwords = a\x01", "words", "control characters"},
                {"id = h1\n\nlisen = x", "lisen", "t.conf:3: unknown key \"lisen\"; --help"},
                {"id = h1\nlistn = x", "listn", "did you mean listen"},
                {"id = h1\nid = h2", "id", "t.conf:2: id is set twice"},
                {"id = h1\nnonsense", "", "t.conf:2: \"nonsense\" is not of the form key = value"},
                {"id = h1\n= 3", "", "is not of the form"},
                {"id = h1\nfast = yes\nmode = tcg", "fast", "do not go together"},
        };
        struct gw_error error;
        struct config c;

        (void)state;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                if (parse(cases[i].text, &c, &error) != GW_E_INVALID || !strstr(error.text, cases[i].says))
                        fail_msg("%s: said \"%s\"", cases[i].text, error.text);
                assert_string_equal(error.field, cases[i].field);
        }
}

static void bounds(void **state) {
        static char text[4096];
        struct gw_error error;
        struct config c;

        (void)state;
        memset(text, 'a', sizeof text - 1);
        assert_int_equal(parse(text, &c, &error), GW_E_INVALID);
        assert_non_null(strstr(error.text, "t.conf:1: the line has more than"));
        assert_int_equal(gw_conf_parse(&schema, &c, "id = h\0001", 8, "t.conf", &error), GW_E_INVALID);
        assert_non_null(strstr(error.text, "octet 0"));
}

/* Prints the configuration, parses that, and wants the same octets. */
static void expect_same(const struct config *config) {
        struct gw_error error;
        struct config again;
        size_t size;
        char *text;
        FILE *file = open_memstream(&text, &size);

        assert_non_null(file);
        gw_conf_print(&schema, config, file);
        fclose(file);
        memset(&again, 0, sizeof again);
        if (gw_conf_parse(&schema, &again, text, size, "printed", &error))
                fail_msg("%s in:\n%s", error.text, text);
        assert_memory_equal(&again, config, sizeof again);
        free(text);
}

static void print_and_parse(void **state) {
        static const char *const texts[] = {
                "id = h1",
                "id = h1\nnva = 192.0.2.1:7460 [2001:db8::1]:7461\nlocator = fd99::1\nport = 1\nmemory = 1\nfast = "
                "yes\n"
                "mode = kvm\nwords = a #b=c\napi-listen = 192.0.2.1:80\nlog-level = error",
                "id = h1\nlocator = 10.99.0.1\nwords = a#\nmemory = 0",
        };
        struct gw_error error;
        struct config c;

        (void)state;
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                memset(&c, 0, sizeof c);
                assert_int_equal(gw_conf_parse(&schema, &c, texts[i], strlen(texts[i]), "t", &error), 0);
                expect_same(&c);
        }
}

static int load(struct config *config, struct gw_error *error, const char *const *args) {
        char *argv[12] = {(char *)"test"};
        int argc = 1;

        for (; *args; args++)
                argv[argc++] = (char *)*args;
        memset(config, 0, sizeof *config);
        *error = (struct gw_error){0};
        return gw_conf_load(&schema, config, argc, argv, error);
}

#define LOAD(...) load(&c, &error, (const char *const[]){__VA_ARGS__, NULL})

static void flags(void **state) {
        char path[] = "/tmp/gw-conf-XXXXXX";
        int fd = mkstemp(path);
        struct gw_error error;
        struct config c;

        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(write(fd, "id = h1\nport = 5\n", 17), 17);
        close(fd);
        assert_int_equal(LOAD("--config", path), 0);
        assert_int_equal(c.port, 5);
        assert_int_equal(LOAD("--set", "port=6", "--config", path, "--set=words=a=b"), 0);
        assert_int_equal(c.port, 6);
        assert_string_equal(c.words, "a=b");
        assert_int_equal(LOAD("--config", path, "--set", "port=6", "--set", "port=7"), GW_E_INVALID);
        assert_non_null(strstr(error.text, "--set: port is set twice"));
        assert_int_equal(LOAD("--config", path, "--set", "words= a"), GW_E_INVALID);
        assert_int_equal(LOAD("--config", path, "--set", "words=a\tb"), GW_E_INVALID);
        assert_int_equal(LOAD("--config", path, "--set", "words=a #b"), GW_E_INVALID);
        assert_int_equal(LOAD("--config", path, "--set", "port"), GW_E_INVALID);
        assert_string_equal(error.text, "--set \"port\" is not of the form KEY=VALUE");
        assert_int_equal(LOAD("--config", path, "--set"), GW_E_INVALID);
        assert_int_equal(LOAD("--config", path, "--config", path), GW_E_INVALID);
        assert_int_equal(LOAD("--frobnicate"), GW_E_INVALID);
        assert_string_equal(error.text, "unknown flag \"--frobnicate\"; see --help");
        assert_int_equal(LOAD("--set", "id=h2"), 0); /* the file of the schema is not there, and need not be */
        unlink(path);
        assert_true(LOAD("--config", path) < 0);
        assert_non_null(strstr(error.text, "cannot be read: No such file"));
        assert_true(LOAD("--config", "/") < 0);
}

static void file_too_large(void **state) {
        char path[] = "/tmp/gw-conf-XXXXXX";
        int fd = mkstemp(path);
        struct gw_error error;
        struct config c;

        (void)state;
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, GW_CONF_FILE_MAX + 1), 0);
        assert_true(LOAD("--config", path) < 0);
        assert_non_null(strstr(error.text, "at most 65536 octets"));
        close(fd);
        unlink(path);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults),       cmocka_unit_test(values), cmocka_unit_test(refusals),
                cmocka_unit_test(bounds),         cmocka_unit_test(flags),  cmocka_unit_test(print_and_parse),
                cmocka_unit_test(file_too_large),
        };

        return cmocka_run_group_tests_name("conf", tests, NULL, NULL);
}
