/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Authentication of Mobility Headers: a vector that an independent encoder made,
 * what is covered, and key files. The HMAC is OpenSSL's (io/keys.h).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "io/file.h"
#include "io/keys.h"
#include "wire/auth.h"
#include "wire/upkeep.h"

#define KEY1 "000102030405060708090a0b0c0d0e0f"
#define KEY2 "101112131415161718191a1b1c1d1e1f101112131415161718191a1b1c1d1e1f"

/* Sequence 2, "vm1@dc1", 2001:db8:1::10, SPI 0x100, HMAC-SHA1-96 with KEY1. */
static const uint8_t vector[96] = {0x3b, 0x0b, 0x05, 0x00, 0xe9, 0x97, 0x00, 0x02, 0xc2, 0x00, 0x03, 0x84, 0x08, 0x08,
                                   0x01, 0x76, 0x6d, 0x31, 0x40, 0x64, 0x63, 0x31, 0x01, 0x04, 0x00, 0x00, 0x00, 0x00,
                                   0x16, 0x12, 0x00, 0x80, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
                                   0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x17, 0x02, 0x00, 0x01, 0x18, 0x02, 0x00, 0x01,
                                   0x19, 0x08, 0x00, 0x00, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x1b, 0x08, 0x00, 0x00,
                                   0x65, 0x53, 0xf1, 0x00, 0x80, 0x00, 0x00, 0x09, 0x11, 0x01, 0x00, 0x00, 0x01, 0x00,
                                   0x07, 0x85, 0xf5, 0x07, 0x15, 0xb4, 0xc0, 0x19, 0x20, 0x46, 0x8e, 0xf9};

static struct gw_ip nve, nva;
static struct gw_auth_key sha1, sha256;

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static int setup(void **state) {
        (void)state;
        nve = ip_of("2001:db8:0:a::1");
        nva = ip_of("2001:db8:0:ff::1");
        sha1 = (struct gw_auth_key){.spi = 0x100, .algorithm = GW_AUTH_HMAC_SHA1, .size = 16};
        sha256 = (struct gw_auth_key){.spi = 0x101, .algorithm = GW_AUTH_HMAC_SHA256, .size = 32};
        for (uint8_t i = 0; i < 32; i++)
                sha1.octets[i % 16] = i % 16, sha256.octets[i] = i;
        return 0;
}

static void test_vector(void **state) {
        struct gw_registration reg;
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        uint32_t spi = 0;

        (void)state;
        assert_true(gw_auth_spi(vector, sizeof vector, &spi));
        assert_int_equal(spi, 0x100);
        assert_int_equal(gw_auth_verify(vector, sizeof vector, nve, nva, &sha1, gw_keys_mac), 0);
        assert_int_equal(gw_registration_decode(vector, sizeof vector, nve, nva, &reg), 0);
        gw_auth_mark(&reg, &sha1);
        assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
        assert_int_equal(gw_auth_sign(bytes, w.at, nve, nva, &sha1, gw_keys_mac), 0);
        assert_int_equal(w.at, sizeof vector);
        assert_memory_equal(bytes, vector, sizeof vector);
}

/* The same Request in UDP, from 192.0.2.1 to 198.51.100.7: another checksum, and other authentication data. */
static void test_vector_over_ipv4(void **state) {
        static const uint8_t sum[2] = {0x89, 0xb1},
                             data[12] = {0x5f, 0x70, 0x02, 0x78, 0xf9, 0x69, 0x59, 0x24, 0x2e, 0x1f, 0x6f, 0x2b};
        struct gw_ip from = ip_of("192.0.2.1"), to = ip_of("198.51.100.7");
        uint8_t bytes[sizeof vector];

        (void)state;
        memcpy(bytes, vector, sizeof bytes);
        assert_int_equal(gw_auth_sign(bytes, sizeof bytes, from, to, &sha1, gw_keys_mac), 0);
        assert_memory_equal(bytes + 4, sum, sizeof sum);
        assert_memory_equal(bytes + sizeof bytes - sizeof data, data, sizeof data);
        assert_int_equal(gw_auth_verify(bytes, sizeof bytes, from, to, &sha1, gw_keys_mac), 0);
        assert_int_equal(gw_auth_verify(bytes, sizeof bytes, to, to, &sha1, gw_keys_mac), GW_E_REFUSED);
}

/* Every bit but those of the checksum is covered, and so are key, care-of address and algorithm. */
static void test_covers_everything(void **state) {
        struct gw_auth_key other = sha1;
        uint8_t bytes[sizeof vector];

        (void)state;
        for (size_t bit = 0; bit < sizeof vector * 8; bit++) {
                memcpy(bytes, vector, sizeof bytes);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                assert_int_equal(gw_auth_verify(bytes, sizeof bytes, nve, nva, &sha1, gw_keys_mac),
                                 bit / 8 == 4 || bit / 8 == 5 ? 0 : GW_E_REFUSED);
        }
        assert_int_equal(gw_auth_verify(vector, sizeof vector, nva, nve, &sha1, gw_keys_mac), GW_E_REFUSED);
        other.octets[15] ^= 1;
        assert_int_equal(gw_auth_verify(vector, sizeof vector, nve, nva, &other, gw_keys_mac), GW_E_REFUSED);
        other = sha1;
        other.algorithm = GW_AUTH_HMAC_SHA256;
        assert_int_equal(gw_auth_verify(vector, sizeof vector, nve, nva, &other, gw_keys_mac), GW_E_REFUSED);
        other = sha1;
        other.spi++;
        assert_int_equal(gw_auth_verify(vector, sizeof vector, nve, nva, &other, gw_keys_mac), GW_E_REFUSED);
}

/* The option ends the message on a multiple of eight, after any length of name, with both algorithms. */
static void test_placement(void **state) {
        struct gw_registration reg = {.kind = GW_REG_REQUEST, .has = GW_REG_HAS_VM};
        uint8_t bytes[GW_MH_SIZE_MAX];

        (void)state;
        for (size_t i = 0; i < 2 * 20; i++) {
                const struct gw_auth_key *key = i % 2 ? &sha256 : &sha1;
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                size_t whole = 7 + gw_auth_size(key->algorithm);

                reg.vm.s[i / 2] = 'v';
                gw_auth_mark(&reg, key);
                assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
                assert_int_equal(gw_auth_sign(bytes, w.at, nve, nva, key, gw_keys_mac), 0);
                assert_int_equal(w.at % 8, 0);
                assert_int_equal((w.at - whole) % 8, i % 2 ? 1 : 5);
                assert_int_equal(bytes[w.at - whole], GW_MH_OPT_AUTH);
                assert_int_equal(gw_auth_verify(bytes, w.at, nve, nva, key, gw_keys_mac), 0);
        }
}

/* An answer is bound to the address of who asked, not to that of who answers. */
static void test_answers(void **state) {
        struct gw_upkeep beat = {.kind = GW_MH_HEARTBEAT, .sequence = 7, .flags = GW_MH_HEARTBEAT_RESPONSE};
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        struct gw_ip other = ip_of("2001:db8::77");

        (void)state;
        gw_upkeep_mark(&beat, &sha256);
        assert_int_equal(gw_upkeep_encode(&w, nva, nve, &beat), 0);
        assert_int_equal(gw_auth_sign(bytes, w.at, nva, nve, &sha256, gw_keys_mac), 0);
        assert_int_equal(gw_auth_verify(bytes, w.at, nva, nve, &sha256, gw_keys_mac), 0);
        assert_int_equal(gw_auth_verify(bytes, w.at, other, nve, &sha256, gw_keys_mac), 0);
        assert_int_equal(gw_auth_verify(bytes, w.at, nva, other, &sha256, gw_keys_mac), GW_E_REFUSED);
}

/* Where there is no option 9, or not at the end, or of another subtype, none is found. */
static void test_absent(void **state) {
        struct gw_registration reg;
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        uint32_t spi;

        (void)state;
        assert_int_equal(gw_registration_decode(vector, sizeof vector, nve, nva, &reg), 0);
        reg.has &= ~(uint32_t)GW_REG_HAS_AUTH;
        assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
        assert_false(gw_auth_spi(bytes, w.at, &spi));
        assert_int_equal(gw_auth_sign(bytes, w.at, nve, nva, &sha1, gw_keys_mac), GW_E_INVALID);
        assert_int_equal(gw_auth_verify(bytes, w.at, nve, nva, &sha1, gw_keys_mac), GW_E_REFUSED);
        memcpy(bytes, vector, sizeof vector);
        bytes[79] = GW_MH_AUTH_MN_AAA;
        assert_false(gw_auth_spi(bytes, sizeof vector, &spi));
        memcpy(bytes, vector, sizeof vector);
        memset(bytes + sizeof vector, 0, 8); /* padding after it */
        bytes[1]++;
        assert_false(gw_auth_spi(bytes, sizeof vector + 8, &spi));
        for (size_t size = 0; size < sizeof vector; size++)
                assert_false(gw_auth_spi(vector, size, &spi));
}

enum { WINDOW_S = 7 };

static enum gw_message_id_fault check_id(uint64_t id, uint64_t last, uint64_t now_ns) {
        return gw_message_id_check(id, last, (struct gw_wall){now_ns}, gw_s(WINDOW_S));
}

static void test_message_id(void **state) {
        struct gw_wall now = {1700000000 * GW_NS_PER_S + GW_NS_PER_S / 4};
        struct gw_wall later = {now.ns + 8 * GW_NS_PER_S}, soon = {now.ns + GW_NS_PER_S};
        uint64_t id = gw_message_id(now);

        (void)state;
        assert_true(id == (UINT64_C(3908988800) << 32 | UINT64_C(0x40000000)));
        assert_int_equal(check_id(id, 0, now.ns), GW_MESSAGE_ID_FRESH);
        assert_int_equal(check_id(id, 0, later.ns), GW_MESSAGE_ID_SKEWED);
        assert_int_equal(check_id(gw_message_id(later), 0, now.ns), GW_MESSAGE_ID_SKEWED);
        assert_int_equal(check_id(id, id - 1, soon.ns), GW_MESSAGE_ID_FRESH);
        assert_int_equal(check_id(id, id, soon.ns), GW_MESSAGE_ID_REPEATED);
        assert_int_equal(check_id(id, id + 1, soon.ns), GW_MESSAGE_ID_REPEATED);
        assert_true(gw_message_id_answer(id, id, soon, gw_s(WINDOW_S)) ==
                    (gw_message_id(soon) & ~(uint64_t)UINT32_MAX) + (id & UINT32_MAX));
        assert_int_equal(gw_message_id_ahead_ms(gw_message_id(later), id), 8000);
        assert_int_equal(gw_message_id_ahead_ms(id, gw_message_id(later)), -8000);
        /* The seconds wrap in 2036. */
        now.ns = (UINT64_C(4294967296) - 2208988800 - 1) * GW_NS_PER_S;
        soon.ns = now.ns + 2 * GW_NS_PER_S;
        assert_true(gw_message_id(soon) < gw_message_id(now));
        assert_int_equal(check_id(gw_message_id(soon), gw_message_id(now), soon.ns), GW_MESSAGE_ID_FRESH);
        assert_int_equal(check_id(gw_message_id(now), gw_message_id(soon), soon.ns), GW_MESSAGE_ID_REPEATED);
}

/* However far a peer's clock was ahead, once it is right it is heard again within the window. */
static void test_message_id_peer_was_ahead(void **state) {
        uint64_t now = 1700000000 * GW_NS_PER_S, last = 0;

        (void)state;
        for (uint64_t ahead_s = 3600; ahead_s; ahead_s--) {
                uint64_t id = gw_message_id((struct gw_wall){now + ahead_s * GW_NS_PER_S});

                if (!check_id(id, last, now))
                        last = id;
        }
        assert_true(last);
        for (unsigned s = 0; s < WINDOW_S; s++)
                assert_int_equal(
                        check_id(gw_message_id((struct gw_wall){now + s * GW_NS_PER_S}), last, now + s * GW_NS_PER_S),
                        GW_MESSAGE_ID_REPEATED);
        now += WINDOW_S * GW_NS_PER_S + 1000;
        assert_int_equal(check_id(gw_message_id((struct gw_wall){now}), last, now), GW_MESSAGE_ID_FRESH);
}

/* Our own clock was an hour ahead, and was set right: what was heard then is not heard again, and a peer that takes the
 * answer's clock is heard at once. Its ids then lead back to our clock. */
static void test_message_id_we_were_ahead(void **state) {
        uint64_t now = 1700000000 * GW_NS_PER_S, hour = 3600 * GW_NS_PER_S;
        uint64_t last = gw_message_id((struct gw_wall){now + hour}), id, early = last - (UINT64_C(60) << 32);

        (void)state;
        assert_int_equal(check_id(last, 0, now + hour), GW_MESSAGE_ID_FRESH);
        for (unsigned i = 0; i < 100; i++, now += 60 * GW_NS_PER_S) { /* a message each minute */
                struct gw_wall at = {now};
                uint64_t told;

                assert_int_not_equal(check_id(early, last, now), GW_MESSAGE_ID_FRESH);
                assert_int_not_equal(check_id(last, last, now), GW_MESSAGE_ID_FRESH);
                id = gw_message_id(at);
                if (check_id(id, last, now)) {
                        if (gw_message_id_ahead_ms(last, id) <= WINDOW_S * 1000)
                                continue; /* our clock counts again, and is there in no time */
                        told = gw_message_id_answer(id, last, at, gw_s(WINDOW_S));
                        assert_int_equal((uint32_t)told, (uint32_t)id);
                        assert_int_equal(check_id(told, last, now), GW_MESSAGE_ID_FRESH);
                        id = told;
                }
                last = id;
        }
        assert_true(gw_message_id_ahead_ms(last, gw_message_id((struct gw_wall){now})) < 0);
}

/* --- key files --- */

static void test_keys(void **state) {
        static const char text[] = "# SPI algorithm peer id key\n\n"
                                   "257  hmac-sha256\t2001:db8:0:a::1 host1 " KEY2 " # the new one\n"
                                   "0x100 hmac-sha1  2001:db8:0:a::1 host1 " KEY1 "\r\n"
                                   "256  hmac-sha256 2001:db8:0:b::1 host2 " KEY2 "\n"
                                   "256  hmac-sha256 192.0.2.3 host3 " KEY2;
        struct gw_keys *keys;
        const struct gw_keys_entry *entry;

        (void)state;
        assert_int_equal(gw_keys_parse(&keys, text, "test", NULL), 0);
        assert_int_equal(gw_keys_count(keys), 4);
        entry = gw_keys_find(keys, nve, 256);
        assert_non_null(entry);
        assert_string_equal(entry->id.s, "host1");
        assert_int_equal(entry->key.algorithm, GW_AUTH_HMAC_SHA1);
        assert_int_equal(entry->key.size, 16);
        assert_memory_equal(entry->key.octets, sha1.octets, 16);
        assert_int_equal(gw_keys_to_sign(keys, nve)->key.spi, 257);
        assert_int_equal(gw_keys_to_sign_for(keys, "host2")->key.size, 32);
        assert_null(gw_keys_find(keys, nve, 258));
        assert_null(gw_keys_find(keys, nva, 256));
        assert_null(gw_keys_to_sign(keys, nva));
        assert_null(gw_keys_to_sign_for(keys, "host4"));
        assert_ptr_equal(gw_keys_find(keys, ip_of("192.0.2.3"), 256), gw_keys_to_sign_for(keys, "host3"));
        assert_true(gw_keys_has_peer(keys, nve));
        assert_false(gw_keys_has_peer(keys, nva));
        gw_keys_free(keys);
        assert_int_equal(gw_keys_parse(&keys, "", "test", NULL), 0);
        assert_int_equal(gw_keys_count(keys), 0);
        assert_false(gw_keys_has_peer(keys, nve));
        gw_keys_free(keys);
}

static void refused(const char *text, const char *words) {
        struct gw_error error = {0};
        struct gw_keys *keys = NULL;

        assert_int_equal(gw_keys_parse(&keys, text, "FILE", &error), GW_E_INVALID);
        assert_null(keys);
        assert_string_equal(error.field, "registration-keys");
        if (!strstr(error.text, words))
                fail_msg("\"%s\" lacks \"%s\"", error.text, words);
        assert_null(strstr(error.text, "00010203")); /* a key is never told */
        assert_null(strstr(error.text, "10111213"));
}

static void test_bad_keys(void **state) {
#define PEER " 2001:db8:0:a::1 host1 "
        (void)state;
        refused("\n255 hmac-sha1" PEER KEY1, "FILE line 2: the SPI is \"255\"; allowed are 256 to 4294967295");
        refused("4294967296 hmac-sha1" PEER KEY1, "the SPI is");
        refused("-256 hmac-sha1" PEER KEY1, "the SPI is");
        refused(KEY1 " hmac-sha1" PEER "256", "the SPI is \"no number\"");
        refused("256 hmac-md5" PEER KEY1, "hmac-sha256 or hmac-sha1");
        refused("256 hmac-sha1 0.0.0.0 host1 " KEY1, "IPv4 or IPv6 unicast");
        refused("256 hmac-sha1 ff02::1 host1 " KEY1, "IPv6 unicast");
        refused("256 hmac-sha1 2001:db8::1 Host " KEY1, "must be a name");
        refused("256 hmac-sha1" PEER "000102030405060708090a0b0c0d0e", "16 to 64 octets");
        refused("256 hmac-sha1" PEER KEY1 "0", "16 to 64 octets");
        refused("256 hmac-sha1" PEER "000102030405060708090a0b0c0d0e0g", "16 to 64 octets");
        refused("256 hmac-sha1" PEER KEY2 KEY2 "00", "16 to 64 octets");
        refused("256 hmac-sha1" PEER, "five fields");
        refused("256 hmac-sha1" PEER KEY1 " more", "five fields");
        refused("256 hmac-sha1" PEER KEY1 "\n256 hmac-sha256" PEER KEY2, "the same peer and SPI");
        refused("256 hmac-sha1" PEER KEY1 "\n257 hmac-sha1 2001:db8:0:a::1 host2 " KEY2, "two ids");
        refused("256 hmac-sha1" PEER KEY1 "\n257 hmac-sha1" PEER KEY1 "\n258 hmac-sha1" PEER KEY1, "at most 2 keys");
#undef PEER
}

static void test_key_file(void **state) {
        char path[] = "/tmp/gw-keys-XXXXXX";
        struct gw_error error = {0};
        struct gw_keys *keys;
        int fd = mkstemp(path);

        (void)state;
        assert_true(fd >= 0);
        close(fd);
        assert_int_equal(gw_file_write(path, "256 hmac-sha1 2001:db8:0:a::1 host1 " KEY1, 68, 0644), 0);
        assert_int_equal(gw_keys_new(&keys, path, &error), GW_E_REFUSED);
        assert_non_null(strstr(error.text, "mode 0644"));
        assert_int_equal(chmod(path, 0600), 0);
        assert_int_equal(gw_keys_new(&keys, path, &error), 0);
        assert_int_equal(gw_keys_count(keys), 1);
        /* A reload that fails leaves what there was; one that works replaces it. */
        assert_int_equal(gw_file_write(path, "nonsense", 8, 0600), 0);
        assert_int_equal(gw_keys_reload(keys, &error), GW_E_INVALID);
        assert_non_null(gw_keys_find(keys, nve, 256));
        assert_int_equal(gw_file_write(path, "257 hmac-sha1 2001:db8:0:a::1 host1 " KEY1, 68, 0600), 0);
        assert_int_equal(gw_keys_reload(keys, &error), 0);
        assert_null(gw_keys_find(keys, nve, 256));
        assert_non_null(gw_keys_find(keys, nve, 257));
        gw_keys_free(keys);
        unlink(path);
        assert_int_equal(gw_keys_new(&keys, path, &error), -ENOENT);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_vector),
                cmocka_unit_test(test_vector_over_ipv4),
                cmocka_unit_test(test_covers_everything),
                cmocka_unit_test(test_placement),
                cmocka_unit_test(test_answers),
                cmocka_unit_test(test_absent),
                cmocka_unit_test(test_message_id),
                cmocka_unit_test(test_message_id_peer_was_ahead),
                cmocka_unit_test(test_message_id_we_were_ahead),
                cmocka_unit_test(test_keys),
                cmocka_unit_test(test_bad_keys),
                cmocka_unit_test(test_key_file),
        };

        return cmocka_run_group_tests_name("authentication", tests, setup, NULL);
}
