/* SPDX-License-Identifier: Apache-2.0 */
/* What was claimed of one VM: what is alike is one record, the latest is last, and there is an end to it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "nva/claimlog.h"

static struct claim_log claims;
static uint64_t at_ns;

static int begin(void **state) {
        (void)state;
        at_ns = 1000;
        return 0;
}
static int end(void **state) {
        (void)state;
        claim_log_free(&claims);
        claim_log_free(&claims); /* once more does nothing */
        return 0;
}

static void add(const char *nve, const char *verdict) {
        claim_log_add(&claims, (struct gw_wall){at_ns++}, nve, verdict);
}

static void record_is(unsigned i, const char *nve, const char *verdict, uint64_t times) {
        assert_in_range(i + 1, 1, claims.n);
        assert_string_equal(claims.records[i].nve.s, nve);
        assert_string_equal(claims.records[i].verdict, verdict);
        assert_int_equal(claims.records[i].times, times);
}

static void what_is_alike_is_one(void **state) {
        (void)state;
        add("h1", "policy");
        add("h2", "policy");
        add("h1", "still-there");
        add("h1", "policy");
        assert_int_equal(claims.n, 3);
        record_is(0, "h2", "policy", 1);
        record_is(1, "h1", "still-there", 1);
        record_is(2, "h1", "policy", 2);
        assert_int_equal(claims.records[2].first.ns, 1000);
        assert_int_equal(claims.records[2].last.ns, 1003);
}

/* One that repeats itself takes one place; of those that are not alike the one that was last longest ago gives way. */
static void there_is_an_end_to_it(void **state) {
        char nve[16];

        (void)state;
        add("first", "policy");
        for (int i = 0; i < 1000; i++)
                add("loud", "policy");
        assert_int_equal(claims.n, 2);
        for (int i = 0; i < NVA_CLAIM_LOG_MAX - 2; i++) {
                snprintf(nve, sizeof nve, "h%d", i);
                add(nve, "policy");
        }
        record_is(0, "first", "policy", 1);
        add("first", "policy");
        add("one more", "policy");
        assert_int_equal(claims.n, NVA_CLAIM_LOG_MAX);
        record_is(0, "h0", "policy", 1); /* "loud" is gone, "first" was heard again */
        record_is(NVA_CLAIM_LOG_MAX - 2, "first", "policy", 2);
        record_is(NVA_CLAIM_LOG_MAX - 1, "one more", "policy", 1);
}

static void shown_in_order(void **state) {
        json_t *list, *one;

        (void)state;
        list = claim_log_json(NULL);
        assert_int_equal(json_array_size(list), 0);
        json_decref(list);
        add("h1", "policy");
        add("h2", "accepted");
        list = claim_log_json(&claims);
        assert_int_equal(json_array_size(list), 2);
        one = json_array_get(list, 1);
        assert_string_equal(json_string_value(json_object_get(one, "nve")), "h2");
        assert_string_equal(json_string_value(json_object_get(one, "verdict")), "accepted");
        assert_int_equal(json_integer_value(json_object_get(one, "last_ns")), 1001);
        json_decref(list);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(what_is_alike_is_one),
                TEST(there_is_an_end_to_it),
                TEST(shown_in_order),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
