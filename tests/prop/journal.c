/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The journal before LMDB against the store in memory: the same puts, deletes, commits and restarts, and the same
 * answers. Segments are small, so that its thread is at work most of the time; some restarts are those of a crash.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "prop/seed.h"
#include "store/journal.h"
#include "store/memory.h"

enum { STEPS = 30000, KEYS = 60, VALUE_MAX = 200, TABLES = 3 };

static struct dice dice;

struct text {
        char s[KEYS * TABLES * (VALUE_MAX + 16)];
        size_t at;
};

static int append(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        struct text *text = user;

        memcpy(text->s + text->at, key, nkey);
        text->at += nkey;
        text->s[text->at++] = '=';
        memcpy(text->s + text->at, val, nval);
        text->at += nval;
        text->s[text->at++] = ' ';
        return 0;
}

static void expect_same(struct gw_store *a, struct gw_store *b) {
        static struct text x, y;

        for (int t = 0; t < TABLES; t++) {
                x.at = y.at = 0;
                assert_int_equal(gw_store_each(a, (enum gw_store_table)t, append, &x), 0);
                assert_int_equal(gw_store_each(b, (enum gw_store_table)t, append, &y), 0);
                assert_int_equal(x.at, y.at);
                assert_memory_equal(x.s, y.s, x.at);
                assert_int_equal(gw_store_count(a, (enum gw_store_table)t), gw_store_count(b, (enum gw_store_table)t));
        }
}

static void expect_same_value(struct gw_store *a, struct gw_store *b, enum gw_store_table t, const char *key) {
        char x[VALUE_MAX] = {0}, y[VALUE_MAX] = {0};
        size_t room = dice_below(&dice, VALUE_MAX);

        assert_int_equal(gw_store_get(a, t, key, strlen(key), x, room), gw_store_get(b, t, key, strlen(key), y, room));
        assert_memory_equal(x, y, VALUE_MAX);
}

static void change(struct gw_store *a, struct gw_store *b) {
        enum gw_store_table t = (enum gw_store_table)dice_below(&dice, TABLES);
        char key[16], value[VALUE_MAX];
        size_t size = dice_below(&dice, dice_below(&dice, 8) ? 24 : VALUE_MAX);
        int n = snprintf(key, sizeof key, "%.*sk%u", (int)dice_below(&dice, 3), "ab",
                         (unsigned)dice_below(&dice, KEYS / 3));

        memset(value, 'a' + (int)dice_below(&dice, 26), sizeof value);
        expect_same_value(a, b, t, key);
        if (dice_below(&dice, 4)) {
                assert_int_equal(gw_store_put(a, t, key, (size_t)n, value, size), 0);
                assert_int_equal(gw_store_put(b, t, key, (size_t)n, value, size), 0);
        } else {
                assert_int_equal(gw_store_del(a, t, key, (size_t)n), 0);
                assert_int_equal(gw_store_del(b, t, key, (size_t)n), 0);
        }
        expect_same_value(a, b, t, key);
}

static void test_random(void **state) {
        char path[64], command[80];
        struct gw_store *journal, *model;

        (void)state;
        dice = dice_new();
        snprintf(path, sizeof path, "%s/gw-journal-XXXXXX", access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
        assert_non_null(mkdtemp(path));
        assert_int_equal(gw_store_memory_new(&model), 0);
        assert_int_equal(gw_store_journal_new_folding(&journal, path, 2000), 0);
        for (int i = 0; i < STEPS; i++) {
                unsigned what = (unsigned)dice_below(&dice, 1000);

                if (what >= 40) {
                        change(journal, model);
                } else if (what >= 5) {
                        assert_int_equal(gw_store_commit(journal), 0);
                        assert_int_equal(gw_store_commit(model), 0);
                } else if (what >= 2) {
                        expect_same(journal, model);
                } else { /* with something staged it is a crash, without a clean end */
                        gw_store_free(journal);
                        gw_store_memory_crash(model);
                        assert_int_equal(gw_store_journal_new_folding(&journal, path, 2000), 0);
                        expect_same(journal, model);
                }
        }
        gw_store_free(journal);
        gw_store_free(model);
        snprintf(command, sizeof command, "rm -r %s", path);
        assert_int_equal(system(command), 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};

        gw_log_init("test", GW_WARNING);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
