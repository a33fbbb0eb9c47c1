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
#include "directory/lease.h"
#include "directory/order.h"
#include "prop/seed.h"

enum { N = 300, STEPS = 60000 };

static struct dice dice;

struct element {
        _Alignas(8) char name[8];
        bool in;
};

static int compare_element(const void *element, const char *name) {
        return strcmp(((const struct element *)element)->name, name);
}

static void test_order_against_sorted_array(void **state) {
        struct gw_order_finger finger = {0};
        struct element *elements;
        struct gw_order order;
        struct gw_slab slab;

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        gw_order_init(&order, &slab, compare_element);
        elements = gw_slab_new(&slab, N * sizeof *elements);
        assert_non_null(elements);
        for (unsigned i = 0; i < N; i++) { /* in the order of the array, which is the order of names */
                snprintf(elements[i].name, sizeof elements[i].name, "n%04u", i * 3);
        }
        for (unsigned i = 0; i < N; i++) { /* as a store is loaded */
                assert_int_equal(gw_order_insert(&order, &elements[i], elements[i].name), 0);
                elements[i].in = true;
                assert_ptr_equal(gw_order_last(&order), &elements[i]);
        }
        for (unsigned step = 0; step < STEPS; step++) {
                unsigned i = (unsigned)dice_below(&dice, N), next = i;
                char probe[8];

                if (dice_below(&dice, 2)) {
                        if (elements[i].in)
                                gw_order_remove(&order, elements[i].name);
                        else
                                assert_int_equal(gw_order_insert(&order, &elements[i], elements[i].name), 0);
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
                        gw_order_remove(&order, elements[i].name);
                }
        assert_int_equal(order.count, 0);
        assert_null(gw_order_last(&order));
        assert_null(gw_order_after(&order, NULL));
        gw_order_deinit(&order);
        gw_slab_deinit(&slab);
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

/* Also over the end of the clock's 32 bits. */
static void test_leases_against_scan(void **state) {
        uint64_t began_ms = (UINT64_C(7) << 32) - STEPS / 2;
        struct gw_leases leases;
        struct gw_lease *all;
        struct gw_slab slab;
        uint64_t ends[N] = {0}; /* ms; 0: not set */

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        gw_leases_init(&leases, &slab);
        all = gw_slab_new(&slab, N * sizeof *all);
        assert_non_null(all);
        for (unsigned i = 0; i < N; i++)
                assert_int_equal(gw_lease_promise(&leases), 0);
        for (unsigned step = 0; step < STEPS; step++) {
                struct gw_mono now = {(began_ms + step) * GW_NS_PER_MS + dice_below(&dice, GW_NS_PER_MS)};
                unsigned i = (unsigned)dice_below(&dice, N), count = 0;
                const struct gw_lease *first;
                uint64_t least = UINT64_MAX;

                if (dice_below(&dice, 3)) {
                        ends[i] =
                                began_ms + step + 1 + dice_below(&dice, dice_below(&dice, 9) ? 2000 : GW_LEASE_MAX_MS);
                        gw_lease_set(&leases, &all[i], (struct gw_mono){ends[i] * GW_NS_PER_MS - dice_below(&dice, 9)});
                } else {
                        ends[i] = 0;
                        gw_lease_clear(&leases, &all[i]);
                }
                for (unsigned k = 0; k < N; k++) {
                        count += ends[k] != 0;
                        least = ends[k] && ends[k] < least ? ends[k] : least;
                        assert_int_equal(all[k].place != 0, ends[k] != 0);
                }
                first = gw_leases_first(&leases);
                assert_int_equal(leases.count, count);
                assert_int_equal(first ? gw_lease_ends(first, now).ns : 0, count ? least * GW_NS_PER_MS : 0);
        }
        for (unsigned i = 0; i < N; i++)
                gw_lease_forget(&leases, &all[i]);
        assert_int_equal(leases.promised, 0);
        gw_leases_deinit(&leases);
        gw_slab_deinit(&slab);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_order_against_sorted_array),
                cmocka_unit_test(test_heap_against_scan),
                cmocka_unit_test(test_leases_against_scan),
        };

        dice = dice_new();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
