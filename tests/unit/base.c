/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of src/base: addresses and names, cursors, list, table, errors, time. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/addr.h"
#include "base/cursor.h"
#include "base/error.h"
#include "base/list.h"
#include "base/table.h"
#include "base/time.h"

#define count_of(array) (sizeof(array) / sizeof *(array))

static void text_cut_in_a_character(void **state) {
        static const struct {
                const char *cut, *left;
        } rows[] = {{"", ""},
                    {"plain", "plain"},
                    {"a\xc3\xa9", "a\xc3\xa9"},
                    {"a\xc3", "a"},
                    {"\xe0\xae\xb5", "\xe0\xae\xb5"},
                    {"x\xe0\xae", "x"},
                    {"x\xe0", "x"},
                    {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
                    {"y\xf0\x9f\x98", "y"},
                    {"y\xf0\x9f", "y"},
                    {"\xf0", ""}};
        struct gw_error error = {0};
        char text[400] = "";

        (void)state;
        for (size_t i = 0; i < count_of(rows); i++) {
                strcpy(text, rows[i].cut);
                gw_text_mend(text);
                assert_string_equal(text, rows[i].left);
        }
        for (size_t i = 0; i < 130; i++)
                memcpy(text + 3 * i, "\xe0\xae\xb5", 4);
        gw_fail(&error, GW_E_INVALID, "", "%s", text);
        assert_int_equal(strlen(error.text), (sizeof error.text - 1) / 3 * 3);
        gw_fail(&error, GW_E_INVALID, "", "x%s", text);
        assert_int_equal(strlen(error.text), (sizeof error.text - 2) / 3 * 3 + 1);
}

static void mac_text(void **state) {
        static const char *const bad[] = {"",
                                          "52:54:00:12:34",
                                          "52:54:00:12:34:56:",
                                          "52:54:00:12:34:5g",
                                          "52-54-00-12-34-56",
                                          " 2:54:00:12:34:56",
                                          "52:54:00: 2:34:56",
                                          "+2:54:00:12:34:56",
                                          "52:54:00:-2:34:56",
                                          "0x:54:00:12:34:56",
                                          "525:4:00:12:34:56",
                                          "52:54:00:12:34:567"};
        char text[GW_MAC_TEXT];
        struct gw_mac m = {{1}}, before = m;

        (void)state;
        for (size_t i = 0; i < count_of(bad); i++) {
                if (gw_mac_parse(bad[i], &m) != GW_E_INVALID)
                        fail_msg("\"%s\" was taken", bad[i]);
                assert_memory_equal(&m, &before, sizeof m);
        }
        assert_int_equal(gw_mac_parse("52:54:00:aB:Cd:ff", &m), 0);
        assert_string_equal(gw_mac_text(m, text), "52:54:00:ab:cd:ff");
        assert_false(gw_mac_is_group(m));
        assert_int_equal(gw_mac_parse("01:00:5e:00:00:01", &m), 0);
        assert_true(gw_mac_is_group(m));
}

static void ip_text(void **state) {
        static const struct {
                const char *in, *out; /* out NULL: refused */
        } rows[] = {
                {"10.1.0.10", "10.1.0.10"},
                {"0.0.0.0", "0.0.0.0"},
                {"255.255.255.255", "255.255.255.255"},
                {"::ffff:192.0.2.1", "192.0.2.1"},
                {"::", "::"},
                {"::1", "::1"},
                {"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
                {"1.2.3", NULL},
                {"1.2.3.256", NULL},
                {"1.2.3.4 ", NULL},
                {"", NULL},
                {"fe80::1%eth0", NULL},
                {"1:2:3:4:5:6:7:8:9", NULL},
                {"2001:db8::g", NULL},
        };
        char text[GW_IP_TEXT];
        struct gw_ip ip;

        (void)state;
        for (size_t i = 0; i < count_of(rows); i++) {
                assert_int_equal(gw_ip_parse(rows[i].in, &ip), rows[i].out ? 0 : GW_E_INVALID);
                if (rows[i].out)
                        assert_string_equal(gw_ip_text(ip, text), rows[i].out);
        }
}

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static void ip_lists(void **state) {
        struct gw_ip out[2];

        (void)state;
        assert_int_equal(gw_ip_parse_list("", out, 2), 0);
        assert_int_equal(gw_ip_parse_list("   ", out, 2), 0);
        assert_int_equal(gw_ip_parse_list(" 10.0.0.1  fd00::1 ", out, 2), 2);
        assert_true(gw_ip_is_v4(out[0]) && !gw_ip_is_v4(out[1]));
        assert_int_equal(gw_ip_parse_list("10.0.0.1 10.0.0.2 10.0.0.3", out, 2), SIZE_MAX);
        assert_int_equal(gw_ip_parse_list("10.0.0.1 host", out, 2), SIZE_MAX);
        assert_int_equal(gw_ip_parse_list("ff02::1", out, 2), SIZE_MAX);
        assert_int_equal(gw_ip_parse_list("10.0.0.1,10.0.0.2", out, 2), SIZE_MAX);
        /* Longer than any address: not cut to one that it begins with. */
        assert_int_equal(gw_ip_parse_list("1111:2222:3333:4444:5555:6666:123.123.123.123x", out, 2), SIZE_MAX);
}

static void ip_kinds(void **state) {
        static const char *const unicast[] = {"10.0.0.1", "192.0.2.255", "2001:db8::1", "fe80::1"};
        static const char *const not_unicast[] = {"0.0.0.0",         "::",        "::1",     "127.0.0.1", "224.0.0.1",
                                                  "255.255.255.255", "240.0.0.1", "ff02::1", "0.1.2.3"};
        uint32_t be;

        (void)state;
        for (size_t i = 0; i < count_of(unicast); i++)
                assert_true(gw_ip_is_unicast(ip_of(unicast[i])));
        for (size_t i = 0; i < count_of(not_unicast); i++)
                assert_false(gw_ip_is_unicast(ip_of(not_unicast[i])));
        assert_true(gw_ip_is_v4(ip_of("1.2.3.4")));
        assert_false(gw_ip_is_v4(ip_of("::1.2.3.4")));
        assert_true(gw_ip_is_unspecified(ip_of("0.0.0.0")));
        memcpy(&be, (uint8_t[]){1, 2, 3, 4}, 4);
        assert_int_equal(gw_ip_v4(ip_of("1.2.3.4")), be);
        assert_int_equal(gw_ip_v4(ip_of("::1")), 0);
        assert_true(gw_ip_eq(gw_ip_from_v4(be), ip_of("1.2.3.4")));
}

static void prefix_text(void **state) {
        static const struct {
                const char *in, *out;
                unsigned bits;
        } rows[] = {
                {"10.1.0.0/16", "10.1.0.0/16", 112},
                {"0.0.0.0/0", "0.0.0.0/0", 96},
                {"10.1.0.10/32", "10.1.0.10/32", 128},
                {"::/0", "::/0", 0},
                {"fd00:1::/64", "fd00:1::/64", 64},
                {"fd00:1::10/128", "fd00:1::10/128", 128},
                {"10.1.0.1/16", NULL, 0},
                {"fd00:1::1/64", NULL, 0},
                {"10.1.0.0", NULL, 0},
                {"10.1.0.0/33", NULL, 0},
                {"fd00::/129", NULL, 0},
                {"10.1.0.0/", NULL, 0},
                {"10.1.0.0/ 8", NULL, 0},
                {"10.1.0.0/-1", NULL, 0},
                {"10.1.0.0/16/16", NULL, 0},
                {"10.1.0.0/0000000016", NULL, 0},
                {"/16", NULL, 0},
                {"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx/1", NULL, 0},
        };
        char text[GW_PREFIX_TEXT];
        struct gw_prefix p;

        (void)state;
        for (size_t i = 0; i < count_of(rows); i++) {
                if (gw_prefix_parse(rows[i].in, &p) != (rows[i].out ? 0 : GW_E_INVALID))
                        fail_msg("%s", rows[i].in);
                if (!rows[i].out)
                        continue;
                assert_string_equal(gw_prefix_text(&p, text), rows[i].out);
                assert_int_equal(p.bits, rows[i].bits);
        }
}

static struct gw_prefix prefix_of(const char *text) {
        struct gw_prefix p;

        assert_int_equal(gw_prefix_parse(text, &p), 0);
        return p;
}

static void prefix_sets(void **state) {
        struct gw_prefix a = prefix_of("10.1.128.0/17"), b = prefix_of("10.1.0.0/16"), c = prefix_of("10.1.0.0/17"),
                         all4 = prefix_of("0.0.0.0/0"), all6 = prefix_of("::/0");

        (void)state;
        assert_true(gw_prefix_contains(&a, ip_of("10.1.128.1")));
        assert_false(gw_prefix_contains(&a, ip_of("10.1.127.255")));
        assert_true(gw_prefix_contains(&all4, ip_of("255.1.2.3")));
        assert_false(gw_prefix_contains(&all4, ip_of("2001:db8::1")));
        assert_true(gw_prefix_contains(&all6, ip_of("2001:db8::1")));
        assert_true(gw_prefix_overlap(&a, &b));
        assert_true(gw_prefix_overlap(&b, &a));
        assert_false(gw_prefix_overlap(&a, &c));
}

static void endpoint_text(void **state) {
        static const struct {
                const char *in, *out;
        } rows[] = {
                {"192.0.2.1:80", "192.0.2.1:80"},
                {"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
                {"[::]:7460", "[::]:7460"},
                {"0.0.0.0:0", "0.0.0.0:0"},
                {"192.0.2.1", NULL},
                {"192.0.2.1:65536", NULL},
                {"192.0.2.1:", NULL},
                {":80", NULL},
                {"2001:db8::1:80", NULL},
                {"[2001:db8::1]", NULL},
                {"[2001:db8::1:80", NULL},
                {"[:80", NULL},
                {"[]:80", NULL},
                {"192.0.2.1:+80", NULL},
                {"host:80", NULL},
        };
        char text[GW_ENDPOINT_TEXT];
        struct gw_endpoint e;

        (void)state;
        for (size_t i = 0; i < count_of(rows); i++) {
                if (gw_endpoint_parse(rows[i].in, &e) != (rows[i].out ? 0 : GW_E_INVALID))
                        fail_msg("%s", rows[i].in);
                if (rows[i].out)
                        assert_string_equal(gw_endpoint_text(&e, text), rows[i].out);
        }
}

static void names(void **state) {
        static const char longest[] = "a23456789-b23456789-c23456789-d23456789-e23456789-f23456789-g23";
        static const char *const bad[] = {"", "-a", "a-", "A", "a_b", "a.b", "a b", "a@b", "\xc3\xa9"};
        struct gw_name name;
        char over[GW_NAME_MAX + 2] = {0};

        (void)state;
        for (size_t i = 0; i < count_of(bad); i++)
                assert_int_equal(gw_name_parse(bad[i], &name), GW_E_INVALID);
        assert_int_equal(strlen(longest), GW_NAME_MAX);
        assert_int_equal(gw_name_parse(longest, &name), 0);
        assert_string_equal(name.s, longest);
        memset(over, 'a', GW_NAME_MAX + 1);
        assert_int_equal(gw_name_parse(over, &name), GW_E_INVALID);
        assert_int_equal(gw_name_parse("0", &name), 0);
}

static void ids(void **state) {
        static const char *const bad[] = {"", "@", "web@", "@blue", "web@a@b", "Web@blue", "web @blue"};
        struct gw_name id;
        char over[GW_NAME_MAX + 1] = {0};

        (void)state;
        for (size_t i = 0; i < count_of(bad); i++)
                assert_int_equal(gw_id_parse(bad[i], &id), GW_E_INVALID);
        assert_int_equal(gw_id_parse("web", &id), 0);
        assert_string_equal(id.s, "web@default");
        assert_int_equal(gw_id_parse("web@blue", &id), 0);
        assert_string_equal(id.s, "web@blue");
        memset(over, 'a', GW_NAME_MAX - strlen("@default"));
        assert_int_equal(gw_id_parse(over, &id), 0);
        memset(over, 'a', GW_NAME_MAX - strlen("@default") + 1);
        assert_int_equal(gw_id_parse(over, &id), GW_E_INVALID);
}

static void reader(void **state) {
        static const uint8_t bytes[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
        struct gw_reader r = gw_reader(bytes, sizeof bytes), sub;
        uint8_t two[2] = {9, 9};

        (void)state;
        assert_int_equal(gw_get_u8(&r), 1);
        assert_int_equal(gw_get_u16(&r), 0x0203);
        assert_int_equal(gw_get_u32(&r), 0x04050607);
        sub = gw_get_sub(&r, 3);
        assert_int_equal(gw_get_u16(&sub), 0x0809);
        assert_int_equal(gw_get_u16(&sub), 0);
        assert_false(sub.ok);
        assert_true(r.ok);
        assert_int_equal(gw_reader_left(&r), 5);
        assert_int_equal(gw_get_u64(&r), 0);
        assert_false(r.ok);
        gw_get_bytes(&r, two, 2);
        assert_int_equal(two[0] | two[1], 0);
        assert_null(gw_get_span(&r, 0));
        r = gw_reader(bytes, 8);
        assert_true(gw_get_u64(&r) == 0x0102030405060708);
        assert_true(r.ok);
        r = gw_reader(bytes, sizeof bytes);
        gw_get_u8(&r);
        assert_null(gw_get_span(&r, SIZE_MAX)); /* the sum would wrap */
        assert_false(r.ok);
}

static void writer(void **state) {
        static const uint8_t expected[] = {1, 0xaa, 0xbb, 0, 0, 0, 7, 0, 0, 0x7f};
        uint8_t bytes[sizeof expected + 1] = {[sizeof expected] = 0x55};
        struct gw_writer w = gw_writer(bytes, sizeof expected);

        (void)state;
        gw_put_u8(&w, 1);
        gw_put_u16(&w, 0);
        gw_put_u32(&w, 7);
        gw_put_zero(&w, 2);
        gw_put_u8(&w, 0x7f);
        gw_patch_u16(&w, 1, 0xaabb);
        assert_true(w.ok);
        assert_memory_equal(bytes, expected, sizeof expected);
        gw_patch_u32(&w, 8, 0x11223344); /* would reach past what was written */
        assert_memory_equal(bytes, expected, sizeof expected);
        gw_put_u8(&w, 1);
        assert_false(w.ok);
        gw_put_zero(&w, 0);
        assert_false(w.ok);
        w = gw_writer(bytes, 3);
        gw_put_u8(&w, 1);
        gw_put_zero(&w, SIZE_MAX); /* the sum would wrap */
        assert_false(w.ok);
        w = gw_writer(bytes, 3);
        gw_put_u32(&w, 7);
        gw_put_u8(&w, 7); /* there would be room, but a field before it is missing */
        assert_false(w.ok);
        assert_int_equal(w.at, 0);
        assert_int_equal(bytes[0], 1);
        assert_int_equal(bytes[sizeof expected], 0x55);
}

struct item {
        int key;
        struct gw_list link;
        struct gw_table_node node;
};

static void list_order(void **state) {
        struct item items[3] = {{.key = 0}, {.key = 1}, {.key = 2}};
        struct gw_list head;
        int seen = 0;

        (void)state;
        gw_list_init(&head);
        assert_true(gw_list_empty(&head));
        assert_false(gw_list_linked(&items[0].link));
        gw_list_remove(&items[0].link);
        for (int i = 0; i < 3; i++)
                gw_list_append(&head, &items[i].link);
        gw_list_for_each (link, &head) {
                assert_int_equal(gw_list_entry(link, struct item, link)->key, seen++);
                gw_list_remove(link);
                gw_list_remove(link);
        }
        assert_int_equal(seen, 3);
        assert_true(gw_list_empty(&head));
        gw_list_append(&head, &items[1].link);
        assert_true(gw_list_linked(&items[1].link));
}

static bool item_match(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct item, node)->key == *(const int *)key;
}

static void table_basics(void **state) {
        static const uint64_t seed[2] = {1, 2};
        struct item items[100];
        struct gw_table table;
        int key = 1000;

        (void)state;
        assert_int_equal(gw_table_init(&table, seed, item_match), 0);
        for (int i = 0; i < 100; i++) {
                items[i].key = i;
                /* few distinct hashes, so that chains and equal hashes are met */
                assert_int_equal(gw_table_insert(&table, &items[i].node, (uint64_t)i % 7), 0);
        }
        assert_int_equal(table.count, 100);
        assert_true(table.mask + 1 >= 100);
        for (int i = 0; i < 100; i++)
                assert_ptr_equal(gw_table_find(&table, (uint64_t)i % 7, &i), &items[i].node);
        assert_null(gw_table_find(&table, 3, &key));
        gw_table_remove(&table, &items[50].node);
        gw_table_remove(&table, &items[50].node);
        key = 50;
        assert_null(gw_table_find(&table, 50 % 7, &key));
        assert_int_equal(table.count, 99);
        gw_table_deinit(&table);
        gw_table_deinit(&table);
}

/* SipHash-1-3 as others compute it: key 00..0f, messages 00.. of lengths 0, 7, 8 and 15. */
static void table_siphash(void **state) {
        static const struct {
                size_t n;
                uint64_t hash;
        } rows[] = {
                {0, 0xabac0158050fc4dc}, {7, 0xd3927d989bb11140}, {8, 0x369095118d299a8e}, {15, 0xd320d86d2a519956}};
        const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
        uint8_t message[16];
        struct gw_table table;

        (void)state;
        for (size_t i = 0; i < sizeof message; i++)
                message[i] = (uint8_t)i;
        assert_int_equal(gw_table_init(&table, key, item_match), 0);
        for (size_t i = 0; i < count_of(rows); i++)
                assert_true(gw_table_hash(&table, message, rows[i].n) == rows[i].hash);
        gw_table_deinit(&table);
}

static void errors(void **state) {
        struct gw_error error;
        char text[400];

        (void)state;
        assert_int_equal(gw_fail(&error, GW_E_FULL, "mtu", "mtu is %d", 9), GW_E_FULL);
        assert_int_equal(error.code, GW_E_FULL);
        assert_string_equal(error.field, "mtu");
        assert_string_equal(error.text, "mtu is 9");
        assert_int_equal(gw_fail(NULL, -EIO, NULL, "x"), -EIO);
        memset(text, 'a', sizeof text - 1);
        text[sizeof text - 1] = 0;
        gw_fail(&error, GW_E_INVALID, text, "%s", text);
        assert_int_equal(strlen(error.text), sizeof error.text - 1);
        assert_int_equal(strlen(error.field), sizeof error.field - 1);
        assert_string_equal(gw_error_word(GW_E_STALE), "stale");
        assert_string_equal(gw_error_word(-ENOENT), strerror(ENOENT));
        assert_string_equal(gw_error_word(999), "unknown");
}

static void times(void **state) {
        struct gw_mono a = {100}, b = {250};

        (void)state;
        assert_true(gw_mono_between(a, b).ns == 150);
        assert_true(gw_mono_between(b, a).ns == 0);
        assert_true(gw_mono_after(a, gw_ms(2)).ns == 2000100);
        assert_true(gw_s(3).ns == 3 * GW_NS_PER_S);
        assert_true(gw_mono_reached(b, a));
        assert_true(gw_mono_reached(a, a));
        assert_false(gw_mono_reached(a, b));
        assert_false(gw_mono_reached(b, (struct gw_mono){0}));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(text_cut_in_a_character),
                cmocka_unit_test(mac_text),
                cmocka_unit_test(ip_text),
                cmocka_unit_test(ip_lists),
                cmocka_unit_test(ip_kinds),
                cmocka_unit_test(prefix_text),
                cmocka_unit_test(prefix_sets),
                cmocka_unit_test(endpoint_text),
                cmocka_unit_test(names),
                cmocka_unit_test(ids),
                cmocka_unit_test(reader),
                cmocka_unit_test(writer),
                cmocka_unit_test(list_order),
                cmocka_unit_test(table_basics),
                cmocka_unit_test(table_siphash),
                cmocka_unit_test(errors),
                cmocka_unit_test(times),
        };

        return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
