/* SPDX-License-Identifier: Apache-2.0 */
/* Among thousands of VMs: those that are stopped and whose disks are at a host, found some at a time; and claims of all of them. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "io/request.h"
#include "nva/claims.h"
#include "directory/internal.h"
#include "nva/leaving.h"
#include "store/store.h"

enum { VMS = 6000, EACH = 40 /* of which one is at home at h1 */, ALL_TURNS = 4 };

struct world {
        struct nva nva;
        struct gw_store *store;
        struct leaving_walk walk;
        unsigned found[VMS], n;
        bool stop;
        unsigned reads;   /* of the store */
        json_t *answered; /* what was asked last */
};

static void effect_store(enum gw_record table, const void *key, size_t nkey, const void *value, size_t nvalue,
                         void *user) {
        assert_int_equal(
                gw_store_put(((struct world *)user)->store, (enum gw_store_table)table, key, nkey, value, nvalue), 0);
}

static void effect_unstore(enum gw_record table, const void *key, size_t nkey, void *user) {
        assert_int_equal(gw_store_del(((struct world *)user)->store, (enum gw_store_table)table, key, nkey), 0);
}

static size_t effect_fetch(enum gw_record table, const void *key, size_t nkey, void *out, size_t room, void *user) {
        struct world *w = user;
        ssize_t n = gw_store_get(w->store, (enum gw_store_table)table, key, nkey, out, room);

        w->reads++;
        return n > 0 ? (size_t)n : 0;
}

static void effect_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}

static void effect_note(enum gw_note kind, const char *text, void *user) {
        (void)kind, (void)text, (void)user;
}

static const struct gw_directory_effects effects = {.store = effect_store,
                                                    .unstore = effect_unstore,
                                                    .fetch = effect_fetch,
                                                    .changed = effect_changed,
                                                    .note = effect_note};

static void make_with(struct world *w, unsigned n, const char *home, bool disks) {
        char id[16], definition[64];
        struct gw_vm_spec spec = {.id = id, .memory_mib = 16, .vcpus = 1, .definition = definition};

        snprintf(id, sizeof id, "v%04u", n);
        snprintf(definition, sizeof definition, "{\"home\": \"%s\"%s}", home,
                 disks ? ", \"disks\": [{\"path\": \"/d\"}]" : "");
        spec.definition_size = strlen(definition);
        assert_int_equal(gw_directory_vm_create(&w->nva.directory, &spec, NULL, NULL), 0);
}

static void make(struct world *w, unsigned n) {
        make_with(w, n, n % EACH ? "h2" : "h1", n % 3 != 0);
}

static int setup(void **state) {
        static const uint64_t seed[2] = {1, 2};
        static struct world w;

        memset(&w, 0, sizeof w);
        assert_int_equal(gw_store_memory_new(&w.store), 0);
        assert_int_equal(gw_directory_init(&w.nva.directory, seed, 3600, &effects, &w), 0);
        assert_int_equal(gw_directory_nve_create(&w.nva.directory, "h1", NULL, NULL, NULL), 0);
        assert_int_equal(gw_directory_nve_create(&w.nva.directory, "h2", NULL, NULL, NULL), 0);
        for (unsigned n = 0; n < VMS; n++)
                make(&w, n);
        *state = &w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        gw_directory_deinit(&w->nva.directory);
        gw_store_free(w->store);
        return 0;
}

static bool each(struct gw_vm *vm, void *user) {
        struct world *w = user;
        unsigned n = 0;

        assert_int_equal(sscanf(gw_vm_name(vm).s, "v%u@", &n), 1);
        w->found[n]++;
        w->n++;
        return !w->stop;
}

static void turn(struct world *w) {
        leaving_walk(&w->nva, &w->walk, gw_directory_nve(&w->nva.directory, "h1"), each, w);
}

static void all_are_found_once(void **state) {
        struct world *w = *state;
        unsigned turns = 0;

        for (; !w->walk.done; turns++)
                turn(w);
        assert_true(turns > ALL_TURNS);
        for (unsigned n = 0; n < VMS; n++)
                assert_int_equal(w->found[n], n % EACH == 0 && n % 3 != 0);
        turn(w);
        assert_true(w->walk.done); /* for good */
}

/* Also the one that it stands at. */
static void some_go_meanwhile(void **state) {
        struct world *w = *state;
        struct gw_name last = {""};

        for (unsigned turns = 0; !w->walk.done; turns++) {
                turn(w);
                last = w->walk.after;
                if (turns % 2 == 0 && !w->walk.done)
                        assert_int_equal(gw_directory_vm_delete(&w->nva.directory,
                                                                gw_directory_vm(&w->nva.directory, last.s), NULL),
                                         0);
        }
        for (unsigned n = 0; n < VMS; n++)
                assert_true(w->found[n] <= 1);
        assert_int_equal(w->n, VMS / EACH * 2 / 3);
}

static void it_stops_when_told_to(void **state) {
        struct world *w = *state;

        w->stop = true;
        for (unsigned found = 0; !w->walk.done; found = w->n) {
                turn(w);
                assert_in_range(w->n, found, found + 1);
        }
        assert_int_equal(w->n, VMS / EACH * 2 / 3);
}

/* One host says of every VM that it has it. */
static void claims_of_everything_are_not_all_kept(void **state) {
        struct world *w = *state;
        struct gw_nve *nve = gw_directory_nve(&w->nva.directory, "h1");
        const uint64_t seed[2] = {1, 2};
        char id[32];

        gw_list_init(&w->nva.open_moves);
        assert_int_equal(claims_init(&w->nva, seed), 0);
        for (unsigned n = 0; n < VMS; n++) {
                snprintf(id, sizeof id, "v%04u@default", n);
                claims_heard(&w->nva, nve, id);
                claims_heard(&w->nva, nve, "v0000@default"); /* again and again: it is the last that is forgotten */
        }
        assert_int_equal(w->nva.claims.count, CLAIMS_KEPT);
        for (unsigned n = 0; n < VMS; n++) {
                json_t *known;

                snprintf(id, sizeof id, "v%04u@default", n);
                known = claims_of_json(&w->nva, id);
                assert_int_equal(json_array_size(known), n == 0 || n > VMS - CLAIMS_KEPT);
                json_decref(known);
        }
        claims_deinit(&w->nva);
}

/* ---- whole drains and plans ---- */

enum { HERE = 300 };

static void take_answer(void *transport, int status, json_t *body) {
        struct world *w = transport;

        assert_int_equal(status, 200);
        json_decref(w->answered);
        w->answered = body;
}

static void ready(struct world *w) {
        w->nva.store = w->store;
        gw_list_init(&w->nva.drains);
        gw_list_init(&w->nva.plans);
        gw_list_init(&w->nva.open_moves);
}

/* How often it is named; every one of those that are at home at h1 must be. */
static unsigned named(const json_t *list, const char *vm) {
        unsigned times = 0;
        json_t *item;
        size_t i;

        json_array_foreach ((json_t *)list, i, item)
                times += !strcmp(json_string_value(json_object_get(item, "vm")), vm);
        return times;
}

static void assert_all_once(const json_t *list) {
        char id[32];

        for (unsigned n = 0; n < VMS; n += EACH) {
                snprintf(id, sizeof id, "v%04u@default", n);
                assert_int_equal(named(list, id), n % 3 != 0);
        }
}

static void place(struct world *w, unsigned n) {
        struct gw_nve *nve = gw_directory_nve(&w->nva.directory, "h1");
        char id[32];
        struct gw_vm *vm;

        snprintf(id, sizeof id, "v%04u@default", n);
        vm = gw_directory_vm(&w->nva.directory, id);
        assert_int_equal(gw_dir_place_enter(&w->nva.directory, vm, nve), 0);
        gw_dir_place_set(vm, nve);
        vm->state = GW_VM_RUNNING;
}

static void leave(struct world *w, unsigned n) {
        char id[32];
        struct gw_vm *vm;

        snprintf(id, sizeof id, "v%04u@default", n);
        vm = gw_directory_vm(&w->nva.directory, id);
        gw_dir_place_leave(&w->nva.directory, vm, gw_vm_nve(vm));
        gw_dir_place_set(vm, NULL);
        vm->state = GW_VM_STOPPED;
}

/* Some run there when the plan begins, and stop where they are before it is made. */
static void one_that_stops_is_planned_once(void **state) {
        static const struct gw_request_ops ops = {.answer = take_answer};
        struct world *w = *state;
        unsigned turns = 0;

        ready(w);
        for (unsigned n = EACH; n < VMS; n += 3 * EACH)
                place(w, n);
        leaving_plan(&w->nva, gw_directory_nve(&w->nva.directory, "h1"), DRAIN_LEAVE_ALL,
                     gw_request_new(&ops, w, "POST", "/", "somebody", NULL));
        for (unsigned n = EACH; n < VMS; n += 3 * EACH)
                leave(w, n);
        for (; !w->answered; turns++)
                leaving_tick(&w->nva);
        assert_true(turns >= ALL_TURNS);
        assert_all_once(json_object_get(w->answered, "vms"));
        json_decref(w->answered);
}

/* However many are noted already. */
static void a_turn_of_a_drain_reads_no_more_than_it_may(void **state) {
        struct world *w = *state;
        struct gw_nve *nve;
        unsigned turns = 0, most = 0;
        json_t *seen;

        ready(w);
        nve = gw_directory_nve(&w->nva.directory, "h1");
        for (unsigned n = VMS; n < VMS + HERE; n++)
                make_with(w, n, "h1", true);
        drain_begin(&w->nva, nve, 1, DRAIN_LEAVE_ALL);
        for (struct gw_now now = nva_now(); gw_mono_reached(now.mono, drain_next(&w->nva)); now = nva_now()) {
                w->reads = 0;
                drain_tick(&w->nva, now);
                most = w->reads > most ? w->reads : most;
                assert_true(++turns < 2000);
        }
        assert_in_range(most, 1, 6 * 64); /* a few times for each of those that it may read, and for each found */
        seen = drain_json(&w->nva, nve);
        assert_all_once(json_object_get(seen, "vms"));
        assert_int_equal(json_integer_value(json_object_get(seen, "stay")), VMS / EACH * 2 / 3 + HERE);
        assert_string_equal(json_string_value(json_object_get(seen, "state")), "drained");
        json_decref(seen);
        drain_deinit(&w->nva);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(all_are_found_once, setup, teardown),
                cmocka_unit_test_setup_teardown(some_go_meanwhile, setup, teardown),
                cmocka_unit_test_setup_teardown(it_stops_when_told_to, setup, teardown),
                cmocka_unit_test_setup_teardown(claims_of_everything_are_not_all_kept, setup, teardown),
                cmocka_unit_test_setup_teardown(one_that_stops_is_planned_once, setup, teardown),
                cmocka_unit_test_setup_teardown(a_turn_of_a_drain_reads_no_more_than_it_may, setup, teardown),
        };

        return cmocka_run_group_tests_name("what leaves a host", tests, NULL, NULL);
}
