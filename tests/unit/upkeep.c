/* SPDX-License-Identifier: Apache-2.0 */
/* Binding Errors, Heartbeats and Update Notifications, octet by octet, and malformed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "wire/upkeep.h"

static struct gw_ip nve, nva;

static int setup(void **state) {
        (void)state;
        assert_int_equal(gw_ip_parse("2001:db8:0:a::1", &nve), 0);
        assert_int_equal(gw_ip_parse("2001:db8:0:ff::1", &nva), 0);
        return 0;
}

/* The octets of *upkeep are those given, but for the checksum, and decode to it. */
static void expect(const struct gw_upkeep *upkeep, const uint8_t *bytes, size_t size) {
        uint8_t out[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(out, sizeof out);
        struct gw_upkeep back;

        assert_int_equal(gw_upkeep_encode(&w, nva, nve, upkeep), 0);
        assert_int_equal(w.at, size);
        assert_int_equal(gw_upkeep_decode(out, w.at, nva, nve, &back), 0);
        assert_memory_equal(&back, upkeep, sizeof back);
        memset(out + GW_MH_CHECKSUM_AT, 0, 2);
        assert_memory_equal(out, bytes, size);
}

#define EXPECT(upkeep, ...) expect(upkeep, (const uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}))

static void binding_error(void **state) {
        struct gw_upkeep u;

        (void)state;
        memset(&u, 0, sizeof u);
        u.kind = GW_MH_BINDING_ERROR;
        u.status = GW_MH_ERROR_UNKNOWN_TYPE;
        u.home.b[0] = 0xfd;
        EXPECT(&u, 59, 2, 7, 0, 0, 0, 2, 0, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

static void heartbeat(void **state) {
        struct gw_upkeep u;

        (void)state;
        memset(&u, 0, sizeof u);
        u.kind = GW_MH_HEARTBEAT;
        u.sequence = 0x01020304;
        EXPECT(&u, 59, 1, 13, 0, 0, 0, 0, 0, 1, 2, 3, 4, 1, 2, 0, 0);
        u.flags = GW_MH_HEARTBEAT_RESPONSE;
        u.has = GW_UPKEEP_HAS_RESTARTS;
        u.restarts = 9;
        EXPECT(&u, 59, 2, 13, 0, 0, 0, 0, 1, 1, 2, 3, 4, 1, 0, 28, 4, 0, 0, 0, 9, 1, 2, 0, 0);
}

static void notification(void **state) {
        struct gw_upkeep u;

        (void)state;
        memset(&u, 0, sizeof u);
        u.kind = GW_MH_UPDATE_NOTIFICATION;
        u.sequence = 0xfffe;
        u.reason = GW_MH_NOTIFY_REREGISTER;
        u.flags = GW_MH_NOTIFICATION_AGAIN;
        u.has = GW_UPKEEP_HAS_GROUP;
        u.group_subtype = GW_MH_GROUP_BULK;
        u.group = GW_MH_GROUP_ALL;
        EXPECT(&u, 59, 2, 19, 0, 0, 0, 0xff, 0xfe, 0, 1, 0x40, 0, 50, 6, 1, 0, 0, 0, 0, 1, 1, 2, 0, 0);
        memset(&u, 0, sizeof u);
        u.kind = GW_MH_UPDATE_NOTIFICATION_ACK;
        u.sequence = 0xfffe;
        u.status = GW_MH_NOTIFY_FAILED;
        u.has = GW_UPKEEP_HAS_VM;
        strcpy(u.vm.s, "a@b");
        EXPECT(&u, 59, 2, 20, 0, 0, 0, 0xff, 0xfe, 128, 0, 0, 0, 8, 4, 1, 'a', '@', 'b', 1, 4, 0, 0, 0, 0);
}

static void expect_fault(uint8_t *bytes, size_t size, bool seal, uint8_t fault) {
        struct gw_upkeep u, wiped = {.fault = fault};

        if (seal)
                gw_registration_seal(bytes, size, nva, nve);
        memset(&u, 0xaa, sizeof u);
        assert_int_equal(gw_upkeep_decode(bytes, size, nva, nve, &u), GW_E_MALFORMED);
        assert_string_equal(gw_registration_fault_word(u.fault), gw_registration_fault_word(fault));
        assert_memory_equal(&u, &wiped, sizeof u);
}

#define FAULT(fault, ...)                                                                                              \
        expect_fault((uint8_t[]){__VA_ARGS__}, sizeof((uint8_t[]){__VA_ARGS__}), true, GW_REG_FAULT_##fault)

static void malformed(void **state) {
        uint8_t beat[16] = {59, 1, 13, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0};

        (void)state;
        expect_fault(beat, sizeof beat, false, GW_REG_FAULT_CHECKSUM);
        for (size_t size = 0; size < sizeof beat; size++)
                expect_fault(beat, size, false, GW_REG_FAULT_SIZE);
        FAULT(TYPE, 59, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0); /* a registration */
        FAULT(TYPE, 59, 1, 6, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0);
        FAULT(TYPE, 59, 1, 16, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0); /* a revocation */
        FAULT(PAYLOAD, 6, 1, 13, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 0, 0);
        FAULT(HEADER_LENGTH, 59, 0, 13, 0, 0, 0, 0, 0);
        FAULT(HEADER_LENGTH, 59, 0, 19, 0, 0, 0, 0, 0);
        FAULT(HEADER_LENGTH, 59, 0, 20, 0, 0, 0, 0, 0);
        FAULT(HEADER_LENGTH, 59, 1, 7, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        FAULT(OPTION_PAST_END, 59, 1, 13, 0, 0, 0, 0, 0, 0, 0, 0, 1, 28, 4, 0, 0);
        FAULT(OPTION_LENGTH, 59, 1, 13, 0, 0, 0, 0, 0, 0, 0, 0, 1, 28, 2, 0, 0);
        FAULT(OPTION_REPEATED, 59, 2, 13, 0, 0, 0, 0, 0, 0, 0, 0, 1, 28, 4, 0, 0, 0, 1, 28, 4, 0, 0, 0, 2);
        FAULT(OPTION_VALUE, 59, 1, 19, 0, 0, 0, 0, 1, 0, 1, 0, 0, 8, 2, 1, ' ');
}

/* Reserved flags and unknown options leave no trace. */
static void skipped(void **state) {
        uint8_t bytes[24] = {59, 2, 19, 0, 0, 0, 0, 5, 0, 2, 0xff, 0xff, 200, 2, 1, 2, 8, 3, 5, 1, 2, 0, 0, 0};
        struct gw_upkeep u;

        (void)state;
        gw_registration_seal(bytes, sizeof bytes, nva, nve);
        assert_int_equal(gw_upkeep_decode(bytes, sizeof bytes, nva, nve, &u), 0);
        assert_int_equal(u.flags, GW_MH_NOTIFICATION_ACK | GW_MH_NOTIFICATION_AGAIN);
        assert_int_equal(u.has & GW_UPKEEP_HAS_GROUP, 0);
        assert_int_equal(u.reason, GW_MH_NOTIFY_PARAMETERS);
}

static void not_encodable(void **state) {
        uint8_t bytes[64];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        struct gw_upkeep u;

        (void)state;
#define REFUSED(...)                                                                                                   \
        u = (struct gw_upkeep){__VA_ARGS__};                                                                           \
        assert_int_equal(gw_upkeep_encode(&w, nva, nve, &u), GW_E_INVALID);                                            \
        assert_int_equal(w.at, 0)
        REFUSED(.kind = GW_MH_BINDING_UPDATE);
        REFUSED(.kind = GW_MH_HEARTBEAT, .flags = 4);
        REFUSED(.kind = GW_MH_HEARTBEAT, .status = 1);
        REFUSED(.kind = GW_MH_UPDATE_NOTIFICATION, .sequence = 0x10000);
        REFUSED(.kind = GW_MH_UPDATE_NOTIFICATION_ACK, .reason = 1);
        REFUSED(.kind = GW_MH_BINDING_ERROR, .sequence = 1);
        REFUSED(.kind = GW_MH_HEARTBEAT, .has = GW_UPKEEP_HAS_VM);
        REFUSED(.kind = GW_MH_HEARTBEAT, .has = GW_UPKEEP_HAS_AUTH, .auth_size = 11);
#undef REFUSED
        for (size_t size = 0; size < 16; size++) {
                w = gw_writer(bytes, size);
                u = (struct gw_upkeep){.kind = GW_MH_HEARTBEAT};
                assert_int_equal(gw_upkeep_encode(&w, nva, nve, &u), GW_E_FULL);
                assert_int_equal(w.at, 0);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(binding_error), cmocka_unit_test(heartbeat), cmocka_unit_test(notification),
                cmocka_unit_test(malformed),     cmocka_unit_test(skipped),   cmocka_unit_test(not_encodable),
        };

        return cmocka_run_group_tests_name("upkeep", tests, setup, NULL);
}
