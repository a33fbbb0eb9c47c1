/* SPDX-License-Identifier: Apache-2.0 */
/* The directory's own containers against naive ones: names in order, deadlines in order. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdbool.h>
#include <string.h>

#include "directory/heap.h"
#include "directory/order.h"
#include "prop/seed.h"

enum { N = 300, STEPS = 60000 };

static struct dice dice;

static void test_order_against_sorted_array(void **state) {
        static struct element {
                char name[8];
                bool in;
        } elements[N];
        struct gw_order order = GW_ORDER_OF(struct element, name);
        struct gw_order_finger finger = {0};

        (void)state;
        for (unsigned i = 0; i < N; i++) { /* in the order of the array, which is the order of names */
                snprintf(elements[i].name, sizeof elements[i].name, "n%04u", i * 3);
        }
        for (unsigned i = 0; i < N; i++) { /* as a store is loaded */
                assert_int_equal(gw_order_insert(&order, &elements[i]), 0);
                elements[i].in = true;
                assert_ptr_equal(gw_order_last(&order), &elements[i]);
        }
        for (unsigned step = 0; step < STEPS; step++) {
                unsigned i = (unsigned)dice_below(&dice, N), next = i;
                char probe[8];

                if (dice_below(&dice, 2)) {
                        if (elements[i].in)
                                gw_order_remove(&order, &elements[i]);
                        else
                                assert_int_equal(gw_order_insert(&order, &elements[i]), 0);
                        elements[i].in = !elements[i].in;
                }
                assert_ptr_equal(gw_order_find(&order, elements[i].name), elements[i].in ? &elements[i] : NULL);
                while (++next < N && !elements[next].in)
                        ;
                assert_ptr_equal(gw_order_after(&order, elements[i].name), next < N ? &elements[next] : NULL);
                snprintf(probe, sizeof probe, "n%04u", i * 3 + 1); /* one that is never there */
                assert_null(gw_order_find(&order, probe));
                assert_null(gw_order_find_near(&order, &finger, probe));
                if (!dice_below(&dice, 3)) /* it is wherever the last search left it */
                        assert_ptr_equal(gw_order_find_near(&order, &finger, elements[i].name),
                                         elements[i].in ? &elements[i] : NULL);
                assert_ptr_equal(gw_order_after(&order, probe), next < N ? &elements[next] : NULL);
        }
        for (unsigned i = 0; i < N; i++)
                assert_ptr_equal(gw_order_find_near(&order, &finger, elements[i].name),
                                 elements[i].in ? &elements[i] : NULL);
        for (unsigned i = N; i-- > 0;)
                if (elements[i].in) {
                        assert_ptr_equal(gw_order_last(&order), &elements[i]);
                        gw_order_remove(&order, &elements[i]);
                }
        assert_int_equal(order.count, 0);
        assert_null(gw_order_last(&order));
        assert_null(gw_order_after(&order, NULL));
        gw_order_deinit(&order);
}

static void test_heap_against_scan(void **state) {
        static struct gw_deadline timers[N];
        struct gw_heap heap = {0};

        (void)state;
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(gw_heap_promise(&heap), 0);
        for (unsigned step = 0; step < STEPS; step++) {
                struct gw_deadline *t = &timers[dice_below(&dice, N)], *first = gw_heap_first(&heap);
                uint64_t least = UINT64_MAX;
                unsigned count = 0;

                if (dice_below(&dice, 3))
                        gw_heap_set(&heap, t, (struct gw_mono){dice_below(&dice, 1000)});
                else
                        gw_heap_clear(&heap, dice_below(&dice, 2) && first ? first : t);
                for (unsigned i = 0; i < N; i++) {
                        if (!timers[i].place)
                                continue;
                        count++;
                        least = timers[i].at.ns < least ? timers[i].at.ns : least;
                        assert_ptr_equal(heap.timers[timers[i].place], &timers[i]);
                }
                first = gw_heap_first(&heap);
                assert_int_equal(heap.count, count);
                assert_true(count ? first->at.ns == least : first == NULL);
        }
        for (unsigned i = 0; i < N; i++)
                gw_heap_forget(&heap, &timers[i]);
        assert_int_equal(heap.promised, 0);
        gw_heap_deinit(&heap);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order_against_sorted_array),
                cmocka_unit_test(test_heap_against_scan),
        };

        dice = dice_new();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
