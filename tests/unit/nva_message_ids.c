/* SPDX-License-Identifier: Apache-2.0 */
/* Message-IDs that outlive a start, and those that an older store has for an address as a whole. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "nva/message_ids.h"

#define SECRET "00112233445566778899aabbccddeeff"
enum { OLD = 256, NEW = 257, LATER = 258 };

static const char *const both = "256 hmac-sha256 %1$s h1 " SECRET "\n257 hmac-sha256 %1$s h1 " SECRET "\n"
                                "256 hmac-sha256 192.0.2.9 h9 " SECRET "\n";

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static struct gw_keys *keys_of(const char *address) {
        struct gw_keys *keys;
        char text[512];

        snprintf(text, sizeof text, both, address);
        assert_int_equal(gw_keys_parse(&keys, text, "test", NULL), 0);
        return keys;
}

static int begin(void **state) {
        struct nva *nva = *state = calloc(1, sizeof *nva);

        return gw_store_memory_new(&nva->store);
}

static int end(void **state) {
        struct nva *nva = *state;

        gw_store_free(nva->store);
        free(nva);
        return 0;
}

static void of_each_key(void **state) {
        struct nva *nva = *state;
        struct gw_keys *keys = keys_of("2001:db8::1");
        struct gw_ip h1 = ip_of("2001:db8::1");

        assert_int_equal(message_ids_last(nva, keys, h1, OLD), 0);
        message_ids_accept(nva, h1, OLD, 7000);
        assert_int_equal(message_ids_last(nva, keys, h1, OLD), 7000);
        assert_int_equal(message_ids_last(nva, keys, h1, NEW), 0);
        gw_keys_free(keys);
}

/* Whichever of its keys is heard first; the other one's messages are as old. */
static void of_an_older_store(void **state) {
        static const char *const addresses[] = {"2001:db8::1", "192.0.2.1"};
        struct nva *nva = *state;

        for (unsigned i = 0; i < 2; i++) {
                struct gw_keys *keys = keys_of(addresses[i]);
                struct gw_ip h1 = ip_of(addresses[i]);
                char key[64];

                snprintf(key, sizeof key, "message-id/%s", addresses[i]);
                nva_put(nva, GW_STORE_META, key, &(uint64_t){9000}, sizeof(uint64_t));
                assert_int_equal(gw_store_commit(nva->store), 0);
                assert_int_equal(message_ids_last(nva, keys, h1, i ? NEW : OLD), 9000);
                assert_int_equal(gw_store_commit(nva->store), 0);
                assert_int_equal(message_ids_last(nva, keys, h1, i ? OLD : NEW), 9000);
                message_ids_accept(nva, h1, OLD, 9500);
                assert_int_equal(message_ids_last(nva, keys, h1, NEW), 9000);
                assert_int_equal(message_ids_last(nva, keys, h1, OLD), 9500);
                assert_int_equal(message_ids_last(nva, keys, h1, LATER), 0); /* a key that was not there then */
                assert_int_equal(message_ids_last(nva, keys, ip_of("192.0.2.9"), OLD), 0);
                gw_keys_free(keys);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(of_each_key, begin, end),
                cmocka_unit_test_setup_teardown(of_an_older_store, begin, end),
        };

        return cmocka_run_group_tests_name("message_ids", tests, NULL, NULL);
}
