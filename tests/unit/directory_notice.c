/* SPDX-License-Identifier: Apache-2.0 */
/* The management node's own Requests: to whom, when again, and what an answer or its absence leaves in the history. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>

#include "base/error.h"
#include "directory_fixture.h"

static void forget(struct world *w) {
        w->n_noticed = 0;
}

/* web goes from where it is to `to`, hot. */
static void move(struct world *w, struct gw_nve *to) {
        struct gw_registration request;
        uint64_t there, back;

        forget(w);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, to, w->now, &there, &back, &w->error), 0);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        request = world_request(w, w->web, there);
        assert_int_equal(world_register(w, to, &request, NULL), 0);
        gw_directory_unreserve(&w->d, w->web);
}

static void moved_once(struct world *w) {
        world_serve(w, w->web, w->h1);
        assert_int_equal(w->n_noticed, 0);
        move(w, w->h2);
}

static const struct gw_notice *at(const struct world *w, const char *locator) {
        return gw_directory_notice(&w->d, w->web, ip_of(locator));
}

static const struct gw_registration *said(const struct world *w, const char *to) {
        for (size_t i = w->n_noticed; i-- > 0;)
                if (gw_ip_eq(w->noticed[i].to, ip_of(to)))
                        return &w->noticed[i].request;
        return NULL;
}

static size_t count(const struct world *w, const char *to) {
        size_t n = 0;

        for (size_t i = 0; i < w->n_noticed; i++)
                n += gw_ip_eq(w->noticed[i].to, ip_of(to));
        return n;
}

static int answer(struct world *w, const char *from, uint8_t status, uint16_t lifetime_units) {
        struct gw_registration reply;

        assert_non_null(said(w, from));
        gw_registration_answer(said(w, from), status, &reply);
        reply.lifetime_units = lifetime_units;
        return gw_directory_noticed(&w->d, ip_of(from), &reply, w->now);
}

/* ---- what is said ---- */

static void test_hot_move(void **state) {
        struct world *w = *state;
        const struct gw_registration *request;

        moved_once(w);
        assert_int_equal(w->n_noticed, 1);
        assert_int_equal(w->noticed[0].kind, GW_NOTICE_SOURCE);
        request = said(w, "10.99.0.1");
        assert_non_null(request);
        assert_int_equal(request->flags, GW_MH_REQUEST_USUAL);
        assert_string_equal(request->vm.s, "web@default");
        assert_int_equal(request->epoch, 2);
        assert_int_equal(request->handoff, GW_MH_HANDOFF_MOVED);
        assert_int_equal(request->lifetime_units, GW_NOTICE_KEEP_MS / 4000);
        assert_int_equal(request->n_macs, 1);
        assert_int_equal(request->n_addrs6, 2); /* old, new */
        assert_int_equal(request->n_addrs4, 2);
        assert_true(gw_ip_eq(request->addrs6[0].ip, request->addrs6[1].ip));
        assert_true(request->has & GW_REG_HAS_DEFAULT_ROUTER4);
        assert_true(gw_ip_eq(request->default_router4, ip_of("10.99.0.2")));
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_SENT);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_KEPT_IN_FLIGHT);
        assert_true(at(w, "10.99.0.1")->told.ns == w->now.wall.ns);
        assert_int_equal(answer(w, "10.99.0.1", 0, 150), 0);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_ANSWERED);
        assert_true(at(w, "10.99.0.1")->answered.ns == w->now.wall.ns);
}

static void test_place_over_ipv6(void **state) {
        struct world *w = *state;
        const struct gw_registration *request;

        moved_once(w);
        move(w, w->h3);
        request = said(w, "10.99.0.2");
        assert_true(request->has & GW_REG_HAS_SERVING);
        assert_false(request->has & GW_REG_HAS_DEFAULT_ROUTER4);
        assert_true(gw_ip_eq(request->serving, ip_of("fd99::3")));
        assert_int_equal(request->epoch, 4);
}

/* All former places that still keep something, with numbers of their own. */
static void test_all_former_places(void **state) {
        struct world *w = *state;

        moved_once(w);
        move(w, w->h3);
        assert_int_equal(w->n_noticed, 2);
        assert_int_equal(said(w, "10.99.0.1")->sequence, 2);
        assert_int_equal(said(w, "10.99.0.2")->sequence, 1);
        assert_int_equal(answer(w, "10.99.0.1", 0, 0), 0); /* it holds nothing any more */
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_NOTHING);
        assert_int_equal(answer(w, "10.99.0.2", 0, 150), 0);
        move(w, w->h2); /* back to a former place */
        assert_int_equal(at(w, "10.99.0.2")->why, GW_ENDED_BACK);
        assert_int_equal(count(w, "10.99.0.1"), 0);
        assert_int_equal(count(w, "10.99.0.2"), 0);
        assert_int_equal(count(w, "fd99::3"), 1);
}

static void test_cold_start_elsewhere(void **state) {
        struct world *w = *state;
        uint64_t epoch;

        world_serve(w, w->web, w->h1);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h2, w->now, &epoch, &w->error), 0);
        assert_int_equal(said(w, "10.99.0.1")->lifetime_units, 0);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_COLD);
        assert_false(gw_notice_is_kept(at(w, "10.99.0.1")));
        assert_int_equal(answer(w, "10.99.0.1", 0, 0), 0);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_ANSWERED);
}

/* Placed and never heard of there: there is nothing to remove. */
static void test_never_started_there(void **state) {
        struct world *w = *state;
        uint64_t epoch;

        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h2, w->now, &epoch, &w->error), 0);
        assert_int_equal(w->n_noticed, 0);
        assert_null(gw_directory_history(&w->d, w->web));
}

static void test_taken_back(void **state) {
        struct world *w = *state;
        uint64_t there, back;

        world_serve(w, w->web, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &there, &back, &w->error), 0);
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        assert_int_equal(gw_directory_take_back(&w->d, w->web, w->now), 0);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_BACK);
        assert_int_equal(said(w, "10.99.0.2")->epoch, 3);
        assert_int_equal(at(w, "10.99.0.2")->why, GW_KEPT_IN_FLIGHT);
}

/* ---- sending again ---- */

static void test_retransmission(void **state) {
        struct world *w = *state;
        struct gw_registration last;

        moved_once(w);
        last = *said(w, "10.99.0.1");
        for (uint64_t ms = GW_NOTICE_FIRST_MS, i = 1; i < GW_NOTICE_TRIES; i++) {
                forget(w);
                world_pass(w, ms - 1);
                assert_int_equal(w->n_noticed, 0);
                world_pass(w, 1);
                assert_int_equal(w->n_noticed, 1);
                assert_int_equal(said(w, "10.99.0.1")->sequence, last.sequence + 1);
                assert_true(said(w, "10.99.0.1")->timestamp > last.timestamp);
                last = *said(w, "10.99.0.1");
                ms = ms * 2 < GW_NOTICE_LAST_MS ? ms * 2 : GW_NOTICE_LAST_MS;
        }
        forget(w);
        world_pass(w, GW_NOTICE_LAST_MS);
        assert_int_equal(w->n_noticed, 0);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_GIVEN_UP);
        assert_int_equal(w->note_kind, GW_NOTE_BEHIND);
        gw_directory_notices_due(&w->d, ip_of("10.99.0.1"), w->now); /* it is back */
        assert_int_equal(w->n_noticed, 1);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_SENT);
}

static void test_receiver_away(void **state) {
        struct world *w = *state;

        w->away = ip_of("10.99.0.1");
        moved_once(w);
        assert_int_equal(w->n_noticed, 0);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_WAITING);
        assert_int_equal(at(w, "10.99.0.1")->told.ns, 0);
        world_pass(w, 60000);
        w->away = (struct gw_ip){{0}};
        world_subscribe(w, w->h1); /* its session is back */
        assert_int_equal(w->n_noticed, 1);
        assert_int_equal(answer(w, "10.99.0.1", 0, 10), 0);
}

static void test_receiver_stays_away(void **state) {
        struct world *w = *state;

        w->away = ip_of("10.99.0.1");
        moved_once(w);
        world_pass(w, GW_NOTICE_KEEP_MS + 1000);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_TIME);
        w->away = (struct gw_ip){{0}};
        world_subscribe(w, w->h1);
        assert_int_equal(w->n_noticed, 0);
}

/* ---- answers ---- */

static void test_answers_that_are_not_due(void **state) {
        struct world *w = *state;
        struct gw_registration reply;

        moved_once(w);
        gw_registration_answer(said(w, "10.99.0.1"), 0, &reply);
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.2"), &reply, w->now), GW_E_NOT_FOUND);
        reply.sequence++;
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.1"), &reply, w->now), GW_E_NOT_FOUND);
        reply.sequence--;
        reply.kind = GW_REG_REQUEST;
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.1"), &reply, w->now), GW_E_NOT_FOUND);
        reply.kind = GW_REG_REPLY;
        reply.has &= ~(uint32_t)GW_REG_HAS_VM;
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.1"), &reply, w->now), GW_E_NOT_FOUND);
        assert_int_equal(answer(w, "10.99.0.1", 0, 10), 0);
        assert_int_equal(answer(w, "10.99.0.1", 0, 10), GW_E_NOT_FOUND); /* the second one */
}

static void test_refusals(void **state) {
        struct world *w = *state;

        moved_once(w);
        assert_int_equal(answer(w, "10.99.0.1", GW_MH_PROHIBITED, 0), 0);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_ANSWERED);
        assert_int_equal(at(w, "10.99.0.1")->status, GW_MH_PROHIBITED);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
        forget(w);
        world_pass(w, 60000);
        assert_int_equal(w->n_noticed, 0); /* not asked again */
        move(w, w->h3);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_SENT);
        assert_int_equal(at(w, "10.99.0.1")->status, 0);
}

static void test_sequence_of_the_receiver(void **state) {
        struct world *w = *state;
        struct gw_registration reply;

        moved_once(w);
        gw_registration_answer(said(w, "10.99.0.1"), GW_MH_SEQUENCE_OUT_OF_WINDOW, &reply);
        reply.sequence = 700;
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.1"), &reply, w->now), 0);
        world_pass(w, GW_NOTICE_FIRST_MS);
        assert_int_equal(said(w, "10.99.0.1")->sequence, 701);
}

static void refuse_clock(struct world *w, uint8_t status, uint64_t epoch, int64_t its_clock_ms) {
        struct gw_registration reply;

        gw_registration_answer(said(w, "10.99.0.1"), status, &reply);
        reply.epoch = epoch;
        reply.timestamp = gw_registration_stamp(
                (struct gw_wall){w->now.wall.ns + (uint64_t)(its_clock_ms * (int64_t)GW_NS_PER_MS)});
        assert_int_equal(gw_directory_noticed(&w->d, ip_of("10.99.0.1"), &reply, w->now), 0);
        forget(w);
        world_pass(w, GW_NOTICE_FIRST_MS / 5);
}

/* How far the stamp of the last notice is from our clock, in ms. */
static int64_t off_ms(const struct world *w) {
        return (int64_t)(gw_registration_stamp_wall(said(w, "10.99.0.1")->timestamp).ns - w->now.wall.ns) /
               (int64_t)GW_NS_PER_MS;
}

static void test_clock_of_the_receiver(void **state) {
        struct world *w = *state;

        moved_once(w);
        refuse_clock(w, GW_MH_TIMESTAMP_MISMATCH, 2, 5000);
        assert_int_equal(w->n_noticed, 1);
        assert_in_range(off_ms(w), 4800, 5000);           /* when it was sent */
        refuse_clock(w, GW_MH_TIMESTAMP_LOWER, 2, -5000); /* set back meanwhile */
        assert_int_equal(w->n_noticed, 1);
        assert_in_range(-off_ms(w), 5000, 5200);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_SENT);
        assert_int_equal(answer(w, "10.99.0.1", 0, 150), 0);
}

static void test_a_newer_epoch_there(void **state) {
        struct world *w = *state;

        moved_once(w);
        refuse_clock(w, GW_MH_TIMESTAMP_LOWER, 3, 0);
        assert_int_equal(w->n_noticed, 0); /* none will pass */
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_ANSWERED);
        assert_int_equal(at(w, "10.99.0.1")->status, GW_MH_TIMESTAMP_LOWER);
}

/* ---- how what is kept ends ---- */

static void test_redirect_ends(void **state) {
        struct world *w = *state;
        struct gw_report report = {
                .kind = GW_REPORT_REDIRECT_ENDED, .vm = {"web@default"}, .epoch = 2, .redirected = 17};

        moved_once(w);
        assert_int_equal(answer(w, "10.99.0.1", 0, 150), 0);
        assert_int_equal(gw_directory_report(&w->d, w->h1, &report, w->now), 0);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_IDLE);
        assert_int_equal(at(w, "10.99.0.1")->redirected, 17);
        forget(w);
        world_pass(w, 2 * GW_NOTICE_KEEP_MS);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_IDLE);
        assert_int_equal(w->n_noticed, 0);
}

static void test_time_ends(void **state) {
        struct world *w = *state;

        moved_once(w);
        assert_int_equal(answer(w, "10.99.0.1", 0, 10), 0);
        world_pass(w, 39000);
        assert_true(gw_notice_is_kept(at(w, "10.99.0.1")));
        world_pass(w, 2000);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_TIME);
}

static void test_vm_stops_and_goes(void **state) {
        struct world *w = *state;

        moved_once(w);
        gw_directory_release(&w->d, w->web, w->now);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_STOPPED);
        assert_int_equal(gw_directory_vm_delete(&w->d, w->web, &w->error), 0);
        world_pass(w, GW_NOTICE_KEEP_MS * 2);
        assert_int_equal(w->d.histories.count, 0);
        assert_int_equal(w->d.receivers.count, 0);
        world_restart(w);
        assert_int_equal(w->d.histories.count, 0);
}

static void test_many_moves_are_bounded(void **state) {
        struct world *w = *state;
        struct gw_nve *nves[24];
        char id[8], locator[32];

        world_serve(w, w->web, w->h1);
        for (int i = 0; i < 24; i++) {
                snprintf(id, sizeof id, "x%d", i);
                snprintf(locator, sizeof locator, "10.98.0.%d", i + 1);
                nves[i] = world_hello(w, id, locator);
                move(w, nves[i]);
        }
        assert_true(gw_directory_history(&w->d, w->web)->n <= GW_NOTICES_MAX);
        world_restart(w);
        assert_true(gw_directory_history(&w->d, w->web)->n <= GW_NOTICES_MAX);
}

/* ---- default routers ---- */

static void with_router(struct world *w) {
        struct gw_ip router = ip_of("fd99::fe");

        gw_directory_routers(&w->d, &router, 1);
        moved_once(w);
}

static void test_router(void **state) {
        struct world *w = *state;

        with_router(w);
        assert_int_equal(count(w, "fd99::fe"), 1);
        assert_int_equal(w->noticed[1].kind, GW_NOTICE_ROUTER);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), 0);
        forget(w);
        world_pass(w, 449000);
        assert_int_equal(count(w, "fd99::fe"), 0);
        world_pass(w, 1500); /* three quarters */
        assert_int_equal(count(w, "fd99::fe"), 1);
        assert_true(said(w, "fd99::fe")->lifetime_units > 0);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), 0);
        forget(w);
        gw_directory_release(&w->d, w->web, w->now);
        assert_int_equal(said(w, "fd99::fe")->lifetime_units, 0);
        assert_int_equal(answer(w, "fd99::fe", 0, 0), 0);
        forget(w);
        world_pass(w, 2 * GW_NOTICE_KEEP_MS);
        assert_int_equal(w->n_noticed, 0);
}

/* It may have started anew, without its routes. */
static void test_router_comes_back(void **state) {
        struct world *w = *state;

        with_router(w);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), 0);
        forget(w);
        gw_directory_notices_due(&w->d, ip_of("fd99::fe"), w->now);
        assert_int_equal(count(w, "fd99::fe"), 1);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), 0);
}

static void test_router_silent(void **state) {
        struct world *w = *state;

        with_router(w);
        world_pass(w, 200000);
        assert_int_equal(count(w, "fd99::fe"), GW_NOTICE_TRIES);
        forget(w);
        world_pass(w, GW_NOTICE_KEEP_MS / 4);
        assert_true(count(w, "fd99::fe") >= 1);
}

/* A route to nowhere is not kept alive. */
static void test_router_of_a_lapsed_vm(void **state) {
        struct world *w = *state;

        with_router(w);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), 0);
        world_pass(w, 448000);
        assert_int_equal(answer(w, "fd99::fe", 0, 150), GW_E_NOT_FOUND);
        w->web->binding.state = GW_BINDING_LAPSED;
        forget(w);
        world_pass(w, GW_NOTICE_KEEP_MS);
        assert_int_equal(count(w, "fd99::fe"), 0);
        w->web->binding.state = GW_BINDING_SERVING;
        world_pass(w, GW_NOTICE_KEEP_MS);
        assert_true(count(w, "fd99::fe") >= 1);
}

/* ---- restart ---- */

static void test_restart(void **state) {
        struct world *w = *state;
        struct gw_wall told;

        moved_once(w);
        move(w, w->h3);
        assert_int_equal(answer(w, "10.99.0.1", 0, 100), 0);
        told = at(w, "10.99.0.1")->told;
        world_restart(w);
        assert_true(at(w, "10.99.0.1")->told.ns == told.ns);
        assert_int_equal(at(w, "10.99.0.1")->state, GW_NOTICE_ANSWERED);
        assert_int_equal(at(w, "10.99.0.2")->state, GW_NOTICE_WAITING);
        forget(w);
        world_pass(w, 10); /* what was not answered goes again */
        assert_int_equal(w->n_noticed, 1);
        assert_int_equal(said(w, "10.99.0.2")->epoch, 4);
        world_pass(w, 401000);
        assert_int_equal(at(w, "10.99.0.1")->why, GW_ENDED_TIME);
}

static void test_records_that_do_not_load(void **state) {
        struct world *w = *state;
        uint8_t octets[512] = {1, 1};

        moved_once(w);
        assert_int_equal(gw_directory_load(&w->d, GW_RECORD_HISTORY, "nobody@default", 14, octets, 2, w->now, NULL),
                         GW_E_MALFORMED);
        assert_int_equal(gw_directory_load(&w->d, GW_RECORD_HISTORY, "web@default", 11, octets, 2, w->now, NULL),
                         GW_E_MALFORMED); /* it has one */
        assert_int_equal(gw_directory_vm_delete(&w->d, world_vm(w, "db", "blue"), &w->error), 0);
        for (size_t size = 0; size < 62; size++) { /* too short for what it announces */
                struct gw_vm *db = world_vm(w, "db", "blue");

                octets[2 + 16] = GW_NOTICE_SOURCE;
                assert_int_equal(
                        gw_directory_load(&w->d, GW_RECORD_HISTORY, "db@default", 10, octets, size, w->now, NULL),
                        GW_E_MALFORMED);
                assert_int_equal(gw_directory_vm_delete(&w->d, db, &w->error), 0);
        }
        octets[1] = 200;
        world_vm(w, "db", "blue");
        assert_int_equal(
                gw_directory_load(&w->d, GW_RECORD_HISTORY, "db@default", 10, octets, sizeof octets, w->now, NULL),
                GW_E_MALFORMED);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_hot_move, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_place_over_ipv6, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_all_former_places, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_cold_start_elsewhere, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_never_started_there, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_taken_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_retransmission, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_receiver_away, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_receiver_stays_away, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_answers_that_are_not_due, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_refusals, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_sequence_of_the_receiver, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_clock_of_the_receiver, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_newer_epoch_there, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_redirect_ends, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_time_ends, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_vm_stops_and_goes, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_many_moves_are_bounded, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_router, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_router_comes_back, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_router_silent, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_router_of_a_lapsed_vm, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_restart, world_setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_records_that_do_not_load, world_setup, world_teardown),
        };

        return cmocka_run_group_tests_name("directory_notice", tests, NULL, NULL);
}
