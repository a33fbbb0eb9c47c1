/* SPDX-License-Identifier: Apache-2.0 */
/* Frames of the NVE-NVA session: layouts that may not change, and bodies that must be refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "wire/frame.h"

#define HEAD GW_FRAME_HEADER_SIZE
#define BODY(...) (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__})

static uint8_t bytes[4096];

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static void header(void **state) {
        static const uint8_t good[HEAD] = {0, 0, 1, 2, 1, 5, 0, 0, 0xde, 0xad, 0xbe, 0xef};
        struct gw_frame_header h;
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        (void)state;
        for (size_t size = 0; size < HEAD; size++)
                assert_int_equal(gw_frame_header_decode(good, size, &h), GW_E_AGAIN);
        assert_int_equal(gw_frame_header_decode(good, HEAD, &h), 0);
        assert_int_equal(h.length, 0x102);
        assert_int_equal(h.type, GW_FRAME_QUERY);
        assert_int_equal(h.id, 0xdeadbeef);
        gw_frame_header_encode(&w, &h);
        assert_memory_equal(bytes, good, HEAD);
}

static void bad_header(void **state) {
        static const struct {
                uint8_t at, value;
        } rows[] = {{0, 1}, {1, 0x10}, {3, 11}, {4, 0}, {4, 2}, {6, 1}, {7, 1}};
        struct gw_frame_header h;

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                uint8_t head[HEAD] = {0, 0, 0, 12, 1, 5, 0, 0, 0, 0, 0, 1};

                head[rows[i].at] = rows[i].value;
                assert_int_equal(gw_frame_header_decode(head, HEAD, &h), GW_E_MALFORMED);
        }
        assert_int_equal(gw_frame_header_decode((uint8_t[]){0, 0x10, 0, 0, 1, 5, 0, 0, 0, 0, 0, 1}, HEAD, &h), 0);
}

/* The octets of one whole frame, written down: a change here is a change of protocol. */
static void layout(void **state) {
        static const uint8_t query[] = {0, 0, 0, 34, 1, 5, 0, 0, 0, 0, 0, 9,    0,    6, 0,    0,    0,
                                        4, 0, 0, 0,  7, 0, 7, 0, 0, 0, 6, 0x52, 0x54, 0, 0x12, 0x34, 0x56};
        struct gw_query q = {.vni = 7, .by_mac = true, .mac = {{0x52, 0x54, 0, 0x12, 0x34, 0x56}}}, back;
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        (void)state;
        assert_int_equal(gw_query_encode(&w, 9, &q), sizeof query);
        assert_memory_equal(bytes, query, sizeof query);
        assert_int_equal(gw_query_decode(query + HEAD, sizeof query - HEAD, &back), 0);
        assert_int_equal(back.vni, 7);
        assert_true(back.by_mac);
        assert_true(gw_mac_eq(back.mac, q.mac));
}

static void mapping_layout(void **state) {
        static const uint8_t expected[] = {
                0, 9,  0, 0, 0, 60,                                                   /* MAPPING, 60 octets */
                0, 0,  0, 0, 0, 0,  0,    3,    0, 0, 0,    7,    0,  0,  0x75, 0x30, /* epoch, vni, lifetime */
                0, 0,  0, 0, 0, 0,  0,    0,    0, 0, 0xff, 0xff, 10, 99, 0,    1,    /* locator */
                2, 0,  0, 0, 0, 1,  1,    1,                                          /* MAC, serving, one address */
                0, 0,  0, 0, 0, 0,  0,    0,    0, 0, 0xff, 0xff, 10, 1,  0,    10,   3, 'w', '@', 'd', 0, 10, 0, 0,
                0, 21, 0, 0, 0, 7,  0xfd, 0x99, 0, 0, 0,    0,    0,  0,  0,    0,    0, 0,   0,   0,   0, 2,  1};
        struct gw_mapping m = {.epoch = 3,
                               .vni = 7,
                               .lifetime_ms = 30000,
                               .mac = {{2, 0, 0, 0, 0, 1}},
                               .n_ips = 1,
                               .state = GW_MAPPING_SERVING,
                               .vm = {"w@d"}};
        struct gw_member member = {.vni = 7, .gone = true};
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        (void)state;
        m.locator = ip_of("10.99.0.1");
        m.ips[0] = ip_of("10.1.0.10");
        member.locator = ip_of("fd99::2");
        assert_int_equal(gw_batch_encode(&w, GW_FRAME_UPDATE, 1, &m, 1, &member, 1), HEAD + sizeof expected);
        assert_memory_equal(bytes + HEAD, expected, sizeof expected);
}

/* A newer peer's mapping is longer, and there are TLVs that we do not know. */
static void batch_grows(void **state) {
        uint8_t body[256] = {0xff, 0xff, 0, 0, 0, 2, 1, 2, 0, 9, 0, 0, 0, 45 + 3};
        struct gw_mapping mapping;
        struct gw_member member;
        struct gw_batch batch;

        (void)state;
        body[14 + 38] = GW_MAPPING_ABSENT;
        body[14 + 45] = 10; /* no MEMBER, but the tail of the mapping: skipped */
        body[14 + 41] = 0xaa;
        batch = gw_batch_open(body, 14 + 48);
        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_MAPPING);
        assert_int_equal(mapping.state, GW_MAPPING_ABSENT);
        assert_string_equal(mapping.vm.s, "");
        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_END);
        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_END);
}

static void expect_bad_batch(const uint8_t *body, size_t size) {
        struct gw_batch batch = gw_batch_open(body, size);
        struct gw_mapping mapping;
        struct gw_member member;

        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_BAD);
        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_BAD);
}

static void bad_batch(void **state) {
        uint8_t mapping[6 + 39 + 2] = {0, 9, 0, 0, 0, 41, [6 + 38] = GW_MAPPING_SERVING, [6 + 40] = 0};
        struct gw_batch batch;
        struct gw_mapping m;
        struct gw_member member;

        (void)state;
        batch = gw_batch_open(mapping, sizeof mapping);
        assert_int_equal(gw_batch_next(&batch, &m, &member), GW_BATCH_MAPPING);
        for (size_t size = 1; size < sizeof mapping; size++)
                expect_bad_batch(mapping, size);
        mapping[6 + 38] = 3; /* a state we do not know */
        expect_bad_batch(mapping, sizeof mapping);
        mapping[6 + 38] = GW_MAPPING_SERVING;
        mapping[6 + 39] = 1; /* one address, of which there is nothing */
        expect_bad_batch(mapping, sizeof mapping);
        mapping[6 + 39] = GW_MAPPING_IPS_MAX + 1;
        expect_bad_batch(mapping, sizeof mapping);
        mapping[6 + 39] = 0;
        mapping[6 + 40] = 1; /* a name of one octet that is not there */
        expect_bad_batch(mapping, sizeof mapping);
        mapping[6 + 40] = 0;
        mapping[6 + 8] = 1; /* a VNI of more than 24 bits */
        expect_bad_batch(mapping, sizeof mapping);
        expect_bad_batch(BODY(0, 10, 0, 0, 0, 20, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0));
        expect_bad_batch(BODY(0, 10, 0, 0, 0, 21, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2));
}

/* Encodes a frame of each kind that has mandatory TLVs and returns its body. */
static size_t example(uint8_t type, const uint8_t **body) {
        static const uint8_t message[] = {1, 2, 3};
        static struct gw_report report = {
                .kind = GW_REPORT_TALKERS, .vm = {"web@default"}, .epoch = 4, .n_locators = 2};
        const struct gw_hello hello = {.role = GW_ROLE_HV, .id = {"h1"}, .restart_count = 3};
        const struct gw_flush_request flush = {.vni = 5, .all = true, .negative = true};
        const struct gw_query query = {.vni = 5};
        const struct gw_register reg = {.message = message, .message_size = sizeof message};
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        size_t n = 0;

        if (type == GW_FRAME_HELLO)
                n = gw_hello_encode(&w, 1, &hello);
        else if (type == GW_FRAME_WELCOME)
                n = gw_welcome_encode(&w, 1, &hello.id, 9);
        else if (type == GW_FRAME_REGISTER)
                n = gw_register_encode(&w, type, 1, &reg);
        else if (type == GW_FRAME_QUERY)
                n = gw_query_encode(&w, 1, &query);
        else if (type == GW_FRAME_FLUSH)
                n = gw_flush_encode(&w, 1, &flush);
        else if (type == GW_FRAME_REPORT)
                n = gw_report_encode(&w, 1, &report);
        else if (type == GW_FRAME_SUBSCRIBE)
                n = gw_subscribe_encode(&w, 1, (const uint32_t[]){1, GW_VNI_MAX}, 2);
        else if (type == GW_FRAME_BYE)
                n = gw_bye_encode(&w, "going");
        assert_int_not_equal(n, 0);
        *body = bytes + HEAD;
        return n - HEAD;
}

static int decode(uint8_t type, const uint8_t *body, size_t size) {
        static struct gw_report report;
        struct gw_hello hello;
        struct gw_name name;
        struct gw_register reg;
        struct gw_query query;
        struct gw_flush_request flush;
        uint64_t count;
        uint32_t vnis[2];
        size_t n;
        char reason[16];

        switch (type) {
        case GW_FRAME_HELLO:
                return gw_hello_decode(body, size, &hello);
        case GW_FRAME_WELCOME:
                return gw_welcome_decode(body, size, &name, &count);
        case GW_FRAME_REGISTER:
                return gw_register_decode(body, size, &reg);
        case GW_FRAME_QUERY:
                return gw_query_decode(body, size, &query);
        case GW_FRAME_FLUSH:
                return gw_flush_decode(body, size, &flush);
        case GW_FRAME_REPORT:
                return gw_report_decode(body, size, &report);
        case GW_FRAME_SUBSCRIBE:
                return gw_subscribe_decode(body, size, vnis, 2, &n);
        default:
                return gw_bye_decode(body, size, reason, sizeof reason);
        }
}

static const uint8_t types[] = {GW_FRAME_HELLO, GW_FRAME_WELCOME, GW_FRAME_REGISTER,  GW_FRAME_QUERY,
                                GW_FRAME_FLUSH, GW_FRAME_REPORT,  GW_FRAME_SUBSCRIBE, GW_FRAME_BYE};

/* Any TLV but a text or a message has a length that it must have. */
static void lengths(void **state) {
        uint8_t changed[4096];
        const uint8_t *body;
        size_t size, tlv;

        (void)state;
        for (size_t i = 0; i < sizeof types; i++) {
                size = example(types[i], &body);
                for (size_t at = 0; at < size; at += tlv) {
                        tlv = 6u + body[at + 5];
                        if (body[at + 1] == 2 || body[at + 1] == 5 || body[at + 1] == 16)
                                continue;
                        memcpy(changed, body, at + tlv - 1);
                        memcpy(changed + at + tlv - 1, body + at + tlv, size - at - tlv);
                        changed[at + 5]--;
                        assert_int_equal(decode(types[i], changed, size - 1), GW_E_MALFORMED);
                        memcpy(changed, body, at + tlv);
                        changed[at + tlv] = 0;
                        memcpy(changed + at + tlv + 1, body + at + tlv, size - at - tlv);
                        changed[at + 5]++;
                        assert_int_equal(decode(types[i], changed, size + 1), GW_E_MALFORMED);
                }
        }
}

/* TLVs taken away, doubled, cut off, or followed by an unknown one. */
static void bodies(void **state) {
        uint8_t changed[8192];
        const uint8_t *body;
        size_t size, tlv;

        (void)state;
        for (size_t i = 0; i < sizeof types; i++) {
                size = example(types[i], &body);
                assert_int_equal(decode(types[i], body, size), 0);
                assert_int_equal(decode(types[i], NULL, 0), GW_E_MALFORMED);
                for (size_t at = 0; at < size; at += tlv) {
                        bool optional = (types[i] == GW_FRAME_REPORT && body[at + 1] == 14) ||
                                        (types[i] == GW_FRAME_WELCOME && body[at + 1] == 19);

                        tlv = 6u + body[at + 5];
                        memcpy(changed, body, at);
                        memcpy(changed + at, body + at + tlv, size - at - tlv);
                        assert_int_equal(decode(types[i], changed, size - tlv), optional ? 0 : GW_E_MALFORMED);
                        memcpy(changed, body, size);
                        memcpy(changed + size, body + at, tlv);
                        assert_int_equal(decode(types[i], changed, size + tlv), GW_E_MALFORMED);
                        for (size_t cut = at + 1; cut < at + tlv; cut++)
                                assert_int_equal(decode(types[i], body, cut), GW_E_MALFORMED);
                }
                memcpy(changed, body, size);
                memcpy(changed + size, (uint8_t[]){0x7f, 0xff, 0, 0, 0, 1, 0}, 7);
                assert_int_equal(decode(types[i], changed, size + 7), 0);
                memcpy(changed + size, (uint8_t[]){0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0}, 7);
                assert_int_equal(decode(types[i], changed, size + 7), GW_E_MALFORMED);
        }
}

/* Values that no receiver could act upon. */
static void bad_values(void **state) {
        static const uint8_t vni[] = {0, 6, 0, 0, 0, 4, 1, 0, 0, 0};
        const uint8_t *body;
        uint8_t changed[64];
        size_t size;

        (void)state;
        size = example(GW_FRAME_HELLO, &body);
        memcpy(changed, body, size);
        changed[6] = 3;
        assert_int_equal(decode(GW_FRAME_HELLO, changed, size), GW_E_MALFORMED);
        changed[6] = GW_ROLE_NVE;
        changed[13] = '\n';
        assert_int_equal(decode(GW_FRAME_HELLO, changed, size), GW_E_MALFORMED);
        size = example(GW_FRAME_QUERY, &body);
        memcpy(changed, body, size);
        memcpy(changed, vni, sizeof vni);
        assert_int_equal(decode(GW_FRAME_QUERY, changed, size), GW_E_MALFORMED);
        size = example(GW_FRAME_FLUSH, &body);
        memcpy(changed, body, size);
        changed[size - 1] = 0x80; /* neither positive nor negative */
        assert_int_equal(decode(GW_FRAME_FLUSH, changed, size), GW_E_MALFORMED);
        assert_int_equal(decode(GW_FRAME_SUBSCRIBE, BODY(0, 15, 0, 0, 0, 3, 0, 0, 1)), GW_E_MALFORMED);
        assert_int_equal(decode(GW_FRAME_SUBSCRIBE, BODY(0, 15, 0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3)),
                         GW_E_MALFORMED);
        assert_int_equal(decode(GW_FRAME_SUBSCRIBE, BODY(0, 15, 0, 0, 0, 4, 1, 0, 0, 0)), GW_E_MALFORMED);
        assert_int_equal(decode(GW_FRAME_QUERY, BODY(0, 6, 0, 0, 0, 4, 0, 0, 0, 1)), GW_E_MALFORMED);
}

static void not_encodable(void **state) {
        static struct gw_report report = {.kind = 1, .vm = {"web@default"}, .n_locators = GW_REPORT_LOCATORS_MAX + 1};
        struct gw_writer w = gw_writer(bytes, 100);
        struct gw_hello hello = {.role = GW_ROLE_NVE};
        struct gw_query query = {.vni = GW_VNI_MAX + 1};
        struct gw_flush_request flush = {.vni = 1, .all = true};
        struct gw_mapping mapping = {.state = GW_MAPPING_SERVING, .n_ips = GW_MAPPING_IPS_MAX + 1};

        (void)state;
        gw_put_u8(&w, 7);
        assert_int_equal(gw_hello_encode(&w, 1, &hello), 0);
        assert_int_equal(gw_query_encode(&w, 1, &query), 0);
        assert_int_equal(gw_flush_encode(&w, 1, &flush), 0);
        assert_int_equal(gw_report_encode(&w, 1, &report), 0);
        assert_int_equal(gw_batch_encode(&w, GW_FRAME_UPDATE, 1, &mapping, 1, NULL, 0), 0);
        assert_int_equal(w.at, 1);
        assert_true(w.ok);
}

/* A frame that does not fit takes itself back; what fits then still goes in. */
static void no_room(void **state) {
        struct gw_mapping mapping = {.state = GW_MAPPING_SERVING, .vm = {"web@default"}};
        struct gw_writer w = gw_writer(bytes, 100);

        (void)state;
        assert_int_not_equal(gw_batch_encode(&w, GW_FRAME_UPDATE, 1, &mapping, 1, NULL, 0), 0);
        size_t at = w.at;
        assert_int_equal(gw_batch_encode(&w, GW_FRAME_UPDATE, 2, &mapping, 1, NULL, 0), 0);
        assert_int_equal(w.at, at);
        assert_int_equal(gw_empty_encode(&w, GW_FRAME_PING, 3), HEAD);
        assert_int_equal(w.at, at + HEAD);
}

static void frame_max(void **state) {
        static uint8_t large[GW_FRAME_MAX + 64];
        static uint32_t vnis[GW_FRAME_MAX / 4];
        struct gw_writer w = gw_writer(large, sizeof large);
        size_t most = (GW_FRAME_MAX - HEAD - 6) / 4;

        (void)state;
        assert_int_equal(gw_subscribe_encode(&w, 1, vnis, most + 1), 0);
        assert_int_equal(gw_subscribe_encode(&w, 1, vnis, most), HEAD + 6 + most * 4);
}

static void bye(void **state) {
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        char reason[8];
        size_t n = gw_bye_encode(&w, "version\n2 only");

        (void)state;
        assert_int_equal(gw_bye_decode(bytes + HEAD, n - HEAD, reason, sizeof reason), 0);
        assert_string_equal(reason, "version");
        assert_int_equal(gw_bye_decode(BODY(0, 16, 0, 0, 0, 3, 'a', 0x1b, 0xff), reason, sizeof reason), 0);
        assert_string_equal(reason, "a??");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(header),      cmocka_unit_test(bad_header),
                cmocka_unit_test(layout),      cmocka_unit_test(mapping_layout),
                cmocka_unit_test(batch_grows), cmocka_unit_test(bad_batch),
                cmocka_unit_test(bodies),      cmocka_unit_test(lengths),
                cmocka_unit_test(bad_values),  cmocka_unit_test(not_encodable),
                cmocka_unit_test(no_room),     cmocka_unit_test(frame_max),
                cmocka_unit_test(bye),
        };

        return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
