/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations against test vectors that independent dissectors decode alike,
 * and against every way in which one can be malformed.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "wire/registration.h"

#define count_of(array) (sizeof(array) / sizeof *(array))

/* Request: sequence 1, A|H|P, lifetime 900, "vm1@dc1", 2001:db8:1::10/128, HI 1, ATT 1, MAC, 1700000000.5 */
static const uint8_t request[80] = {0x3b, 0x09, 0x05, 0x00, 0x7c, 0x4d, 0x00, 0x01, 0xc2, 0x00, 0x03, 0x84, 0x08, 0x08,
                                    0x01, 0x76, 0x6d, 0x31, 0x40, 0x64, 0x63, 0x31, 0x01, 0x04, 0x00, 0x00, 0x00, 0x00,
                                    0x16, 0x12, 0x00, 0x80, 0x20, 0x01, 0x0d, 0xb8, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00,
                                    0x00, 0x00, 0x00, 0x00, 0x00, 0x10, 0x17, 0x02, 0x00, 0x01, 0x18, 0x02, 0x00, 0x01,
                                    0x19, 0x08, 0x00, 0x00, 0x52, 0x54, 0x00, 0x12, 0x34, 0x56, 0x1b, 0x08, 0x00, 0x00,
                                    0x65, 0x53, 0xf1, 0x00, 0x80, 0x00, 0x01, 0x02, 0x00, 0x00};
/* Its reply, addresses swapped: status 0, lifetime 450, else as above. */
static const uint8_t reply_head[16] = {0x3b, 0x09, 0x06, 0x00, 0x3e, 0xf0, 0x00, 0x20,
                                       0x00, 0x01, 0x01, 0xc2, 0x08, 0x08, 0x01, 0x76};
/* The request with sequence 2 and option 9, SPI 0x100. */
static const uint8_t signed_head[12] = {0x3b, 0x0b, 0x05, 0x00, 0xe9, 0x97, 0x00, 0x02, 0xc2, 0x00, 0x03, 0x84};
static const uint8_t signed_tail[20] = {0x00, 0x09, 0x11, 0x01, 0x00, 0x00, 0x01, 0x00, 0x07, 0x85,
                                        0xf5, 0x07, 0x15, 0xb4, 0xc0, 0x19, 0x20, 0x46, 0x8e, 0xf9};

static struct gw_ip nve, nva;

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

static int setup(void **state) {
        (void)state;
        nve = ip_of("2001:db8:0:a::1");
        nva = ip_of("2001:db8:0:ff::1");
        return 0;
}

static void registration_example(struct gw_registration *reg) {
        memset(reg, 0, sizeof *reg);
        reg->kind = GW_REG_REQUEST;
        reg->sequence = 1;
        reg->flags = GW_MH_REQUEST_USUAL;
        reg->lifetime_units = 900;
        reg->has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP;
        strcpy(reg->vm.s, "vm1@dc1");
        reg->n_addrs6 = 1;
        reg->addrs6[0] = (struct gw_prefix){ip_of("2001:db8:1::10"), 128};
        reg->handoff = GW_MH_HANDOFF_NEW;
        reg->access = GW_MH_ACCESS_VIRTUAL;
        reg->n_macs = 1;
        memcpy(reg->macs[0].b, (uint8_t[]){0x52, 0x54, 0, 0x12, 0x34, 0x56}, 6);
        reg->timestamp = gw_registration_stamp((struct gw_wall){1700000000 * GW_NS_PER_S + GW_NS_PER_S / 2});
}

static void expect(const struct gw_registration *reg, struct gw_ip src, struct gw_ip dst, const uint8_t *bytes,
                   size_t size) {
        uint8_t out[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(out, sizeof out);
        struct gw_registration back;

        assert_int_equal(gw_registration_encode(&w, src, dst, reg), 0);
        assert_int_equal(w.at, size);
        assert_memory_equal(out, bytes, size);
        assert_int_equal(gw_registration_decode(bytes, size, src, dst, &back), 0);
        assert_memory_equal(&back, reg, sizeof back);
}

static void vector_request(void **state) {
        struct gw_registration reg;

        (void)state;
        registration_example(&reg);
        expect(&reg, nve, nva, request, sizeof request);
}

static void vector_reply(void **state) {
        struct gw_registration reg;
        uint8_t reply[sizeof request];

        (void)state;
        memcpy(reply, request, sizeof reply);
        memcpy(reply, reply_head, sizeof reply_head);
        registration_example(&reg);
        reg.kind = GW_REG_REPLY;
        reg.flags = GW_MH_REPLY_PROXY;
        reg.lifetime_units = 450;
        expect(&reg, nva, nve, reply, sizeof reply);
}

static void vector_signed(void **state) {
        struct gw_registration reg;
        uint8_t bytes[96];

        (void)state;
        memcpy(bytes, request, sizeof request);
        memcpy(bytes, signed_head, sizeof signed_head);
        memcpy(bytes + 76, signed_tail, sizeof signed_tail);
        registration_example(&reg);
        reg.sequence = 2;
        reg.has |= GW_REG_HAS_AUTH;
        reg.auth_subtype = GW_MH_AUTH_MN_HA;
        reg.auth_spi = 0x100;
        reg.auth_size = GW_MH_AUTH_SIZE;
        memcpy(reg.auth, signed_tail + 8, GW_MH_AUTH_SIZE);
        expect(&reg, nve, nva, bytes, sizeof bytes);
}

/* Signing goes: encode with zeroes, fill in the last 12 octets, seal. */
static void seal(void **state) {
        struct gw_registration reg, back;
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        (void)state;
        registration_example(&reg);
        reg.sequence = 2;
        reg.has |= GW_REG_HAS_AUTH;
        reg.auth_subtype = GW_MH_AUTH_MN_HA;
        reg.auth_spi = 0x100;
        reg.auth_size = GW_MH_AUTH_SIZE;
        assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
        memcpy(bytes + w.at - GW_MH_AUTH_SIZE, signed_tail + 8, GW_MH_AUTH_SIZE);
        assert_int_equal(gw_registration_decode(bytes, w.at, nve, nva, &back), GW_E_MALFORMED);
        gw_registration_seal(bytes, w.at, nve, nva);
        assert_memory_equal(bytes, signed_head, sizeof signed_head);
        assert_int_equal(gw_registration_decode(bytes, w.at, nve, nva, &back), 0);
}

/* Every option at once, and where each has to lie. */
static void alignment(void **state) {
        static const struct {
                uint8_t type, x, y;
        } rows[] = {
                {GW_MH_OPT_ALTERNATE_COA, 8, 6},   {GW_MH_OPT_AUTH, 4, 1},
                {GW_MH_OPT_MESSAGE_ID, 8, 2},      {GW_MH_OPT_VENDOR, 4, 2},
                {GW_MH_OPT_HOME_PREFIX, 8, 4},     {GW_MH_OPT_LINK_LOCAL, 8, 6},
                {GW_MH_OPT_TIMESTAMP, 8, 2},       {GW_MH_OPT_COA4, 4, 0},
                {GW_MH_OPT_HOME4_REQUEST, 4, 0},   {GW_MH_OPT_HOME4_REPLY, 4, 0},
                {GW_MH_OPT_DEFAULT_ROUTER4, 4, 0}, {GW_MH_OPT_ALTERNATE_COA4, 4, 2},
                {GW_MH_OPT_GROUP, 4, 0},           {GW_MH_OPT_SERVING, 8, 6},
        };
        struct gw_registration reg;
        uint8_t bytes[GW_MH_SIZE_MAX];
        unsigned found = 0;

        (void)state;
        for (size_t name_size = 1; name_size <= 8; name_size++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);

                registration_example(&reg);
                memset(&reg.vm, 0, sizeof reg.vm);
                memset(reg.vm.s, 'v', name_size);
                reg.has = ~0u;
                reg.auth_size = GW_MH_AUTH_SIZE;
                reg.n_addrs4 = reg.n_replies4 = 1;
                reg.addrs4[0] = (struct gw_reg_addr4){.ip = ip_of("10.1.0.10"), .bits = 32};
                reg.replies4[0] = (struct gw_reg_addr4){.ip = ip_of("10.1.0.10"), .bits = 24, .status = 129};
                reg.default_router4 = reg.coa4 = reg.alternate_coa4 = ip_of("192.0.2.1");
                assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
                assert_int_equal(w.at % 8, 0);
                for (size_t at = GW_MH_FIXED_SIZE; at < w.at; at += bytes[at] ? 2u + bytes[at + 1] : 1) {
                        for (size_t i = 0; i < count_of(rows); i++)
                                if (rows[i].type == bytes[at]) {
                                        assert_int_equal(at % rows[i].x, rows[i].y);
                                        found++;
                                }
                        if (bytes[at] == GW_MH_OPT_HOME4_REQUEST)
                                assert_int_equal(bytes[at + 2], 0x80); /* /32 in the top six bits */
                }
        }
        assert_int_equal(found, 8 * count_of(rows));
}

/* Encodes fixed part and options as given, padded with Pad1 to eight octets, with a right checksum. */
static size_t message(uint8_t out[static GW_MH_SIZE_MAX], const uint8_t *options, size_t n) {
        size_t size = (GW_MH_FIXED_SIZE + n + 7) / 8 * 8;

        assert_true(size <= GW_MH_SIZE_MAX);
        memset(out, 0, size);
        memcpy(out, request, GW_MH_FIXED_SIZE);
        memcpy(out + GW_MH_FIXED_SIZE, options, n);
        out[1] = (uint8_t)(size / 8 - 1);
        gw_registration_seal(out, size, nve, nva);
        return size;
}

static void expect_fault(const uint8_t *bytes, size_t size, uint8_t fault) {
        struct gw_registration reg, wiped = {.fault = fault};

        memset(&reg, 0xaa, sizeof reg);
        assert_int_equal(gw_registration_decode(bytes, size, nve, nva, &reg), GW_E_MALFORMED);
        assert_string_equal(gw_registration_fault_word(reg.fault), gw_registration_fault_word(fault));
        assert_memory_equal(&reg, &wiped, sizeof reg);
}

static void expect_option_fault(const uint8_t *options, size_t n, uint8_t fault) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        size_t size = message(bytes, options, n);

        expect_fault(bytes, size, fault);
}

#define OPTION_FAULT(fault, ...)                                                                                       \
        expect_option_fault((const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), fault)

static void bad_sizes(void **state) {
        uint8_t bytes[sizeof request + 8];

        (void)state;
        memset(bytes, 0, sizeof bytes);
        memcpy(bytes, request, sizeof request);
        for (size_t size = 0; size < sizeof bytes; size++)
                if (size != sizeof request)
                        expect_fault(bytes, size, GW_REG_FAULT_SIZE);
}

static void bad_header(void **state) {
        uint8_t bytes[sizeof request];

        (void)state;
        memcpy(bytes, request, sizeof bytes);
        bytes[2] = GW_MH_HEARTBEAT;
        gw_registration_seal(bytes, sizeof bytes, nve, nva);
        expect_fault(bytes, sizeof bytes, GW_REG_FAULT_TYPE);
        memcpy(bytes, request, sizeof bytes);
        bytes[0] = 17;
        gw_registration_seal(bytes, sizeof bytes, nve, nva);
        expect_fault(bytes, sizeof bytes, GW_REG_FAULT_PAYLOAD);
        memcpy(bytes, request, 8);
        bytes[1] = 0;
        gw_registration_seal(bytes, 8, nve, nva);
        expect_fault(bytes, 8, GW_REG_FAULT_HEADER_LENGTH);
}

/* Any single bit that flips anywhere is noticed, and so is another pseudo-header. */
static void bad_checksum(void **state) {
        struct gw_registration reg;
        uint8_t bytes[sizeof request];

        (void)state;
        for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
                memcpy(bytes, request, sizeof bytes);
                bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
                expect_fault(bytes, sizeof bytes, bit / 8 == 1 ? GW_REG_FAULT_SIZE : GW_REG_FAULT_CHECKSUM);
        }
        assert_int_equal(gw_registration_decode(request, sizeof request, nve, nve, &reg), GW_E_MALFORMED);
        assert_int_equal(reg.fault, GW_REG_FAULT_CHECKSUM);
}

/* Between IPv4 addresses, in UDP: the pseudo-header counts four octets of each, and a checksum may be left out. */
static void checksum_over_ipv4(void **state) {
        struct gw_ip from = ip_of("192.0.2.1"), to = ip_of("198.51.100.7");
        uint32_t sum =
                (192 << 8 | 0) + (2 << 8 | 1) + (198 << 8 | 51) + (100 << 8 | 7) + sizeof request + GW_MH_PROTOCOL;
        struct gw_registration reg;
        uint8_t bytes[sizeof request];

        (void)state;
        memcpy(bytes, request, sizeof bytes);
        bytes[4] = bytes[5] = 0;
        for (size_t i = 0; i < sizeof bytes; i += 2)
                sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
        assert_int_equal(gw_registration_decode(bytes, sizeof bytes, from, to, &reg), 0);
        gw_registration_seal(bytes, sizeof bytes, from, to);
        assert_int_equal(bytes[4] << 8 | bytes[5], sum);
        assert_int_equal(gw_registration_decode(bytes, sizeof bytes, from, to, &reg), 0);
        assert_int_equal(gw_registration_decode(bytes, sizeof bytes, to, to, &reg), GW_E_MALFORMED);
        assert_int_equal(reg.fault, GW_REG_FAULT_CHECKSUM);
        bytes[4] = bytes[5] = 0; /* between others it must be there, also in a session of an IPv4 locator */
        assert_int_equal(gw_registration_decode(bytes, sizeof bytes, from, (struct gw_ip){{0}}, &reg), GW_E_MALFORMED);
        assert_int_equal(gw_registration_decode(bytes, sizeof bytes, nve, nva, &reg), GW_E_MALFORMED);
}

static void bad_options(void **state) {
        (void)state;
        OPTION_FAULT(GW_REG_FAULT_OPTION_PAST_END, 8, 3, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_PAST_END, 0, 0, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_PAST_END, 200, 255, 0, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 23, 1, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 23, 3, 0, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 22, 2, 0, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 27, 7, 0, 0, 0, 0, 0, 0, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 8, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 25, 1, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 19, 4, 0, 0, 0x7e, 0xd9);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 19, 6, 0, 0, 0x7e, 0xd9, 1, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 9, 5, 1, 0, 0, 1, 0);
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 9, 18, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0); /* 13 */
        OPTION_FAULT(GW_REG_FAULT_OPTION_LENGTH, 28, 3, 0, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 8, 1, 1);                        /* an empty NAI */
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 8, 3, 1, 'a', 0);                /* a NUL in one */
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 8, 4, 1, 'a', ' ', 'b');         /* a blank */
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 8, 3, 1, 0xc3, 0xa9);            /* not ASCII */
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 36, 6, 33 << 2, 0, 10, 1, 0, 1); /* IPv4 /33 */
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 37, 6, 0, 33 << 2, 10, 1, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 22, 18, 0, 129, 0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_VALUE, 22, 18, 0, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_REPEATED, 23, 2, 0, 1, 23, 2, 0, 1);
        OPTION_FAULT(GW_REG_FAULT_OPTION_REPEATED, 8, 2, 1, 'a', 8, 2, 1, 'b');
        OPTION_FAULT(GW_REG_FAULT_OPTION_REPEATED, 19, 13, 0, 0, 0x7e, 0xd9, 1, 0, 0, 0, 0, 0, 0, 0, 1, 19, 13, 0, 0,
                     0x7e, 0xd9, 1, 0, 0, 0, 0, 0, 0, 0, 2);
        OPTION_FAULT(GW_REG_FAULT_AFTER_AUTH, 9, 17, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

static void too_many(void **state) {
        uint8_t options[GW_MH_SIZE_MAX];
        size_t n = 0;

        (void)state;
        for (int i = 0; i <= GW_REG_MACS_MAX; i++, n += 10)
                memcpy(options + n, (uint8_t[]){25, 8, 0, 0, 2, 0, 0, 0, 0, (uint8_t)i}, 10);
        expect_option_fault(options, n, GW_REG_FAULT_TOO_MANY);
        n = 0;
        for (int i = 0; i <= GW_REG_ADDRS_MAX; i++, n += 8)
                memcpy(options + n, (uint8_t[]){36, 6, 0x80, 0, 10, 0, 0, (uint8_t)i}, 8);
        expect_option_fault(options, n, GW_REG_FAULT_TOO_MANY);
        n = 0;
        for (int i = 0; i <= GW_REG_ADDRS_MAX; i++, n += 20)
                memcpy(options + n, (uint8_t[20]){22, 18, 0, 128, 0xfd, [19] = (uint8_t)i}, 20);
        expect_option_fault(options, n, GW_REG_FAULT_TOO_MANY);
}

/* What is not for us leaves no trace; what lies elsewhere than it should is read all the same. */
static void skipped(void **state) {
        static const uint8_t options[] = {
                200, 3,  1,  2,    3,                 /* unknown */
                8,   3,  5,  0x52, 0x54,              /* an identifier that is no NAI */
                8,   2,  1,  'a',                     /* ours */
                8,   3,  5,  0x52, 0x55,              /* and one more that is not */
                25,  4,  0,  0,    1,    2,           /* no Ethernet address */
                19,  5,  0,  0,    0,    9,    1,     /* another vendor's */
                19,  6,  0,  0,    0x7e, 0xd9, 77, 1, /* ours, of a later version */
                23,  2,  99, 3,                       /* reserved octet set */
                22,  18, 99, 64,   0xfd, 0,    0,  0, 0, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9, /* bits after the length */
        };
        struct gw_registration reg, expected = {0};
        uint8_t bytes[GW_MH_SIZE_MAX];
        size_t size = message(bytes, options, sizeof options);

        (void)state;
        expected.kind = GW_REG_REQUEST;
        expected.sequence = 1;
        expected.flags = GW_MH_REQUEST_USUAL;
        expected.lifetime_units = 900;
        expected.has = GW_REG_HAS_HANDOFF | GW_REG_HAS_VM;
        expected.vm.s[0] = 'a';
        expected.handoff = GW_MH_HANDOFF_MOVED;
        expected.n_addrs6 = 1;
        expected.addrs6[0] = (struct gw_prefix){ip_of("fd00::"), 64};
        assert_int_equal(gw_registration_decode(bytes, size, nve, nva, &reg), 0);
        assert_memory_equal(&reg, &expected, sizeof reg);
}

static void not_encodable(void **state) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        struct gw_registration good, reg;

        (void)state;
        registration_example(&good);
#define REFUSED(change)                                                                                                \
        do {                                                                                                           \
                reg = good;                                                                                            \
                change;                                                                                                \
                assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), GW_E_INVALID);                            \
                assert_int_equal(w.at, 0);                                                                             \
        } while (0)
        REFUSED(reg.kind = 7);
        REFUSED((reg.kind = GW_REG_REPLY, reg.flags = 0x100));
        REFUSED(reg.n_macs = GW_REG_MACS_MAX + 1);
        REFUSED(reg.n_addrs6 = GW_REG_ADDRS_MAX + 1);
        REFUSED(reg.addrs6[0].bits = 129);
        REFUSED(reg.addrs6[0].ip = ip_of("10.0.0.1"));
        REFUSED(reg.n_addrs4 = GW_REG_ADDRS_MAX + 1);
        REFUSED(reg.n_addrs4 = 1); /* ::, not IPv4 */
        REFUSED((reg.n_addrs4 = 1, reg.addrs4[0].ip = ip_of("10.0.0.1"), reg.addrs4[0].bits = 33));
        REFUSED(reg.vm.s[0] = 0);
        REFUSED(memset(reg.vm.s, 'a', sizeof reg.vm.s));
        REFUSED(reg.has |= GW_REG_HAS_COA4);
        REFUSED((reg.has |= GW_REG_HAS_AUTH, reg.auth_size = 13));
#undef REFUSED
}

static void no_room(void **state) {
        uint8_t bytes[200];
        struct gw_registration reg;

        (void)state;
        registration_example(&reg);
        for (size_t size = 0; size < sizeof request; size++) {
                struct gw_writer w = gw_writer(bytes, size);

                assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), GW_E_FULL);
                assert_int_equal(w.at, 0);
                assert_true(w.ok);
        }
        /* Not at the start of a writer: alignment counts from the message. */
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        gw_put_zero(&w, 5);
        assert_int_equal(gw_registration_encode(&w, nve, nva, &reg), 0);
        assert_memory_equal(bytes + 5, request, sizeof request);
        assert_int_equal(w.at, 5 + sizeof request);
}

static void conversions(void **state) {
        struct gw_wall at = {1700000000 * GW_NS_PER_S + 999999999};

        (void)state;
        assert_true(gw_registration_stamp(at) == (UINT64_C(1700000000) << 16 | 0xffff));
        assert_true(gw_registration_stamp_wall(UINT64_C(1700000000) << 16 | 0x8000).ns ==
                    1700000000 * GW_NS_PER_S + GW_NS_PER_S / 2);
        assert_true(gw_registration_stamp_wall(UINT64_MAX).ns == UINT64_MAX);
        assert_int_equal(gw_registration_lifetime(0), 0);
        assert_int_equal(gw_registration_lifetime(1), 1);
        assert_int_equal(gw_registration_lifetime(3600), 900);
        assert_int_equal(gw_registration_lifetime(3601), 901);
        assert_int_equal(gw_registration_lifetime(UINT32_MAX), 65535);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(vector_request), cmocka_unit_test(vector_reply), cmocka_unit_test(vector_signed),
                cmocka_unit_test(seal),           cmocka_unit_test(alignment),    cmocka_unit_test(bad_sizes),
                cmocka_unit_test(bad_header),     cmocka_unit_test(bad_checksum), cmocka_unit_test(checksum_over_ipv4),
                cmocka_unit_test(bad_options),    cmocka_unit_test(too_many),     cmocka_unit_test(skipped),
                cmocka_unit_test(not_encodable),  cmocka_unit_test(no_room),      cmocka_unit_test(conversions),
        };

        return cmocka_run_group_tests_name("registration", tests, setup, NULL);
}
