/* SPDX-License-Identifier: Apache-2.0 */
/* The hash table, the index, the lists and the slab against arrays that are searched from end to end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/chain.h"
#include "base/index.h"
#include "base/list.h"
#include "base/ring.h"
#include "base/slab.h"
#include "base/table.h"
#include "prop/seed.h"

enum { STEPS = 200000, ITEMS = 512 };

struct item {
        uint32_t key;
        bool in;
        struct gw_table_node node;
        struct gw_list link;
};

static struct dice dice;
static struct item items[ITEMS];

static bool match(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct item, node)->key == *(const uint32_t *)key;
}

/* A key is only in the table once; `weak` hashes make long chains. */
static uint64_t hash_of(const struct gw_table *table, uint32_t key, bool weak) {
        return weak ? key % 3 : gw_table_hash(table, &key, sizeof key);
}

static void count_one(struct gw_table_node *node, void *user) {
        assert_true(gw_container_of(node, struct item, node)->in);
        ++*(size_t *)user;
}

static void expect_count(struct gw_table *table) {
        size_t model = 0, seen = 0;

        for (size_t i = 0; i < ITEMS; i++)
                model += items[i].in;
        gw_table_each(table, count_one, &seen);
        assert_int_equal(table->count, model);
        assert_int_equal(seen, model);
}

static void drop_odd(struct gw_table_node *node, void *user) {
        struct item *item = gw_container_of(node, struct item, node);

        if (item->key % 2) {
                item->in = false;
                gw_table_remove(user, node);
                memset(node, 0xff, sizeof *node); /* as if its element were freed */
        }
}

static void table_run(bool weak) {
        uint64_t seed[2] = {dice_u64(&dice), dice_u64(&dice)};
        struct gw_table table;

        assert_int_equal(gw_table_init(&table, seed, match), 0);
        memset(items, 0, sizeof items);
        for (int step = 0; step < (weak ? STEPS / 10 : STEPS); step++) {
                struct item *item = &items[dice_below(&dice, ITEMS)];
                uint64_t hash;

                item->key = (uint32_t)(item - items) * 7919;
                hash = hash_of(&table, item->key, weak);
                assert_ptr_equal(gw_table_find(&table, hash, &item->key), item->in ? &item->node : NULL);
                if (item->in)
                        gw_table_remove(&table, &item->node);
                else
                        assert_int_equal(gw_table_insert(&table, &item->node, hash), 0);
                item->in = !item->in;
                if (step % 1000 == 0)
                        expect_count(&table);
                if (step % 10000 == 0)
                        gw_table_each(&table, drop_odd, &table);
        }
        expect_count(&table);
        gw_table_deinit(&table);
}

static void table_model(void **state) {
        (void)state;
        table_run(false);
}

static void table_collisions(void **state) {
        (void)state;
        table_run(true);
}

static void model_remove(struct item **order, size_t *n, const struct item *item) {
        size_t i = 0;

        while (i < *n && order[i] != item)
                i++;
        if (i == *n)
                return;
        memmove(order + i, order + i + 1, (*n - i - 1) * sizeof *order);
        --*n;
}

static void list_model(void **state) {
        struct item *order[ITEMS];
        struct gw_list head;
        size_t n = 0, i;

        (void)state;
        gw_list_init(&head);
        memset(items, 0, sizeof items);
        for (int step = 0; step < STEPS / 20; step++) {
                struct item *item = &items[dice_below(&dice, 64)];

                assert_int_equal(gw_list_linked(&item->link), item->in);
                gw_list_remove(&item->link);
                model_remove(order, &n, item);
                item->in = dice_below(&dice, 2);
                if (item->in) {
                        gw_list_append(&head, &item->link);
                        order[n++] = item;
                }
                i = 0;
                gw_list_for_each (link, &head) {
                        assert_ptr_equal(gw_list_entry(link, struct item, link), order[i]);
                        i++;
                }
                assert_int_equal(i, n);
                assert_int_equal(gw_list_empty(&head), n == 0);
        }
}

/* --- the index: elements with several keys each, some of which collide in all bits but few --- */

enum { KEYS = 4, ELEMENTS = 400 };

struct element {
        uint32_t keys[KEYS];
        bool in[KEYS];
};

static struct gw_slab elements_slab;
static struct element *elements[ELEMENTS];
static unsigned hash_bits;

static uint64_t element_hash(const struct gw_index *index, const void *element, unsigned nth) {
        const struct element *e = element;

        return gw_index_hash(index, &e->keys[nth], sizeof e->keys[nth]) & ~(UINT64_MAX >> hash_bits << hash_bits);
}

static bool element_match(const void *element, unsigned nth, const void *key) {
        const struct element *e = element;

        assert_true(e->in[nth]);
        return e->keys[nth] == *(const uint32_t *)key;
}

static void count_entry(void *element, unsigned nth, void *user) {
        const struct element *e = element;

        assert_true(nth < KEYS && elements[e->keys[0] / KEYS] == e && e->in[nth]);
        ++*(size_t *)user;
}

static void index_step(struct gw_index *index, size_t *count) {
        unsigned i = (unsigned)dice_below(&dice, ELEMENTS), nth = (unsigned)dice_below(&dice, KEYS);
        struct element *e = elements[i];
        uint64_t hash = element_hash(index, e, nth);
        uint32_t absent = ELEMENTS * KEYS + i;

        if (e->in[nth]) {
                gw_index_remove(index, hash, e, nth);
                --*count;
        } else {
                assert_int_equal(gw_index_insert(index, hash, e, nth), 0);
                ++*count;
        }
        e->in[nth] = !e->in[nth];
        assert_int_equal(index->count, *count);
        i = (unsigned)dice_below(&dice, ELEMENTS);
        nth = (unsigned)dice_below(&dice, KEYS);
        e = elements[i];
        hash = element_hash(index, e, nth);
        assert_ptr_equal(gw_index_find(index, hash, &e->keys[nth]), e->in[nth] ? e : NULL);
        gw_index_fetch(index, hash);
        if (e->in[nth])
                assert_non_null(gw_index_likely(index, hash));
        assert_null(gw_index_find(index, gw_index_hash(index, &absent, sizeof absent), &absent));
}

static void run_index(unsigned bits) {
        static const uint64_t seed[2] = {3, 4};
        size_t count = 0, seen = 0;
        struct gw_index index;

        hash_bits = bits;
        assert_int_equal(gw_slab_init(&elements_slab), 0);
        for (unsigned i = 0; i < ELEMENTS; i++) {
                elements[i] = gw_slab_new(&elements_slab, sizeof *elements[i]);
                assert_non_null(elements[i]);
                for (unsigned nth = 0; nth < KEYS; nth++)
                        elements[i]->keys[nth] = i * KEYS + nth;
        }
        assert_int_equal(gw_index_init(&index, &elements_slab, seed, element_hash, element_match), 0);
        if (dice_below(&dice, 2))
                gw_index_expect(&index, dice_below(&dice, ELEMENTS));
        for (int step = 0; step < STEPS / 10; step++)
                index_step(&index, &count);
        gw_index_each(&index, count_entry, &seen);
        assert_int_equal(seen, count);
        gw_index_deinit(&index);
        gw_slab_deinit(&elements_slab);
}

static void index_model(void **state) {
        (void)state;
        run_index(63);
        run_index(36); /* few places and all tags: long runs, many gaps to close */
        run_index(3);  /* hardly anything to tell entries apart by */
}

/* Sizes up to the largest; small ones oftener. */
static size_t some_size(void) {
        size_t most = dice_below(&dice, 20) ? GW_SLAB_EXACT : GW_SLAB_MAX;

        return 1 + (size_t)dice_below(&dice, most);
}

/* No two objects overlap, and none changes but by its owner. */
static void slab_model(void **state) {
        static struct {
                uint8_t *octets, mark;
                size_t size;
        } objects[ITEMS];
        struct gw_slab slab;

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        assert_null(gw_slab_new(&slab, GW_SLAB_MAX + 1));
        for (int step = 0; step < STEPS / 2; step++) {
                size_t i = (size_t)dice_below(&dice, ITEMS);

                if (objects[i].octets) {
                        for (size_t k = 0; k < objects[i].size; k++)
                                assert_true(objects[i].octets[k] == objects[i].mark);
                        gw_slab_free(&slab, objects[i].octets, objects[i].size);
                        objects[i].octets = NULL;
                        continue;
                }
                objects[i].size = some_size();
                objects[i].mark = (uint8_t)dice_u64(&dice);
                objects[i].octets = gw_slab_new(&slab, objects[i].size);
                assert_non_null(objects[i].octets);
                assert_int_equal((uintptr_t)objects[i].octets % GW_SLAB_ALIGN, 0);
                for (size_t k = 0; k < objects[i].size; k++)
                        assert_true(objects[i].octets[k] == 0);
                memset(objects[i].octets, objects[i].mark, objects[i].size);
        }
        gw_slab_free(&slab, NULL, 1);
        gw_slab_deinit(&slab);
        memset(objects, 0, sizeof objects);
}

/* Many of one size: also out of huge pages; and references to all of them from the first. */
static void slab_many(void **state) {
        enum { MANY = 60000, OCTETS = 72 };
        static void *objects[MANY];
        struct gw_slab slab;
        struct gw_ref *ref;

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        ref = gw_slab_new(&slab, sizeof *ref);
        assert_null(gw_ref_get(ref));
        for (int i = 0; i < MANY; i++) {
                objects[i] = gw_slab_new(&slab, OCTETS);
                assert_non_null(objects[i]);
                memset(objects[i], i % 251, OCTETS);
        }
        for (int i = 0; i < MANY; i++) {
                gw_ref_set(ref, objects[i]);
                assert_ptr_equal(gw_ref_get(ref), objects[i]);
                assert_int_equal(((uint8_t *)objects[i])[0], i % 251);
                assert_int_equal(((uint8_t *)objects[i])[OCTETS - 1], i % 251);
                gw_slab_free(&slab, objects[i], OCTETS);
        }
        gw_slab_deinit(&slab);
}

struct thing {
        struct gw_link link;
        struct gw_ring ring;
        bool in;
};

static void expect_chain(const struct gw_chain *chain, const struct thing *things, size_t n) {
        const struct gw_link *prev = NULL;
        size_t in = 0;

        gw_chain_for_each (link, chain) {
                assert_true(gw_container_of(link, struct thing, link)->in);
                assert_ptr_equal(gw_ref_get(&link->prev), prev);
                prev = link;
                in++;
        }
        for (size_t k = 0; k < n; k++)
                in -= things[k].in;
        assert_int_equal(in, 0);
}

static void chain_model(void **state) {
        enum { THINGS = 64 };
        struct thing *things;
        struct gw_chain *chain;
        struct gw_slab slab;

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        chain = gw_slab_new(&slab, sizeof *chain);
        things = gw_slab_new(&slab, THINGS * sizeof *things);
        for (int step = 0; step < STEPS / 10; step++) {
                struct thing *thing = &things[dice_below(&dice, THINGS)];

                if (thing->in || dice_below(&dice, 4) == 0) {
                        gw_chain_remove(chain, &thing->link);
                        thing->in = false;
                } else {
                        gw_chain_push(chain, &thing->link);
                        thing->in = true;
                        assert_ptr_equal(gw_chain_first(chain), &thing->link);
                }
                expect_chain(chain, things, THINGS);
        }
        gw_slab_deinit(&slab);
}

static void ring_model(void **state) {
        enum { THINGS = 64 };
        struct thing *things, *order[THINGS];
        struct gw_ring *head;
        struct gw_slab slab;
        size_t n = 0, i;

        (void)state;
        assert_int_equal(gw_slab_init(&slab), 0);
        head = gw_slab_new(&slab, sizeof *head);
        things = gw_slab_new(&slab, THINGS * sizeof *things);
        gw_ring_init(head);
        for (int step = 0; step < STEPS / 20; step++) {
                struct thing *thing = &things[dice_below(&dice, THINGS)];

                assert_int_equal(gw_ring_linked(&thing->ring), thing->in);
                gw_ring_remove(&thing->ring);
                for (i = 0; i < n && order[i] != thing; i++)
                        ;
                if (i < n)
                        memmove(order + i, order + i + 1, (--n - i) * sizeof *order);
                thing->in = dice_below(&dice, 2);
                if (thing->in) {
                        gw_ring_append(head, &thing->ring);
                        order[n++] = thing;
                }
                i = 0;
                gw_ring_for_each (link, head)
                        assert_ptr_equal(link, &order[i++]->ring);
                assert_int_equal(i, n);
                assert_int_equal(gw_ring_empty(head), n == 0);
        }
        gw_slab_deinit(&slab);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(table_model), cmocka_unit_test(table_collisions), cmocka_unit_test(index_model),
                cmocka_unit_test(list_model),  cmocka_unit_test(chain_model),      cmocka_unit_test(slab_model),
                cmocka_unit_test(slab_many),   cmocka_unit_test(ring_model),
        };

        dice = dice_new();
        return cmocka_run_group_tests_name("containers", tests, NULL, NULL);
}
