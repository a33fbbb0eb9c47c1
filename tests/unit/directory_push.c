/* SPDX-License-Identifier: Apache-2.0 */
/* Who is told what, and until when: members, holders, acknowledgements, NVEs that fall behind. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory_fixture.h"

static void test_subscriber_gets_all(void **state) {
        struct world *w = *state;
        const struct gw_mapping *m;

        world_serve(w, w->web, w->h1);
        world_forget(w);
        world_subscribe(w, w->h2);
        assert_int_equal(w->n_frames, 1);
        assert_true(w->sent[0].is_member || w->sent[w->n_sent - 1].is_member);
        m = world_told(w, w->h2, gw_vm_ports(w->web)->mac);
        assert_non_null(m);
        assert_int_equal(m->state, GW_MAPPING_SERVING);
        assert_int_equal(m->epoch, 1);
        assert_true(gw_ip_eq(m->locator, w->h1->locator));
        assert_int_equal(m->n_ips, 2);
        assert_string_equal(m->vm.s, "web@default");
        assert_non_null(world_told_member(w, w->h2, w->h1->locator));
        assert_true(world_told_member(w, w->h2, (struct gw_ip){0})->gone); /* the mark of a full list */
        assert_null(world_told_member(w, w->h2, w->h2->locator));
        world_ack(w);
        world_subscribe(w, w->h2); /* the same list again is no news */
        assert_int_equal(w->n_frames, 0);
        world_subscribe(w, w->h1);
        assert_false(world_told_member(w, w->h1, w->h2->locator)->gone);
}

static void test_members_come_and_go(void **state) {
        struct world *w = *state;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_ack(w);
        world_subscribe(w, w->h3);
        assert_false(world_told_member(w, w->h1, w->h3->locator)->gone);
        world_ack(w);
        gw_directory_subscribe(&w->d, w->h3, NULL, 0, w->now);
        world_pass(w, GW_DIRECTORY_LINGER_MS - 1);
        assert_int_equal(w->n_frames, 0);
        world_pass(w, 1);
        assert_true(world_told_member(w, w->h1, w->h3->locator)->gone);
        assert_int_equal(w->blue->n_members, 1);
        assert_int_equal(w->blue->n_gone, 1);
        world_ack(w);
        assert_int_equal(w->blue->n_gone, 0);
        assert_ptr_equal(gw_directory_member_after(w->blue, NULL), w->h1);
        assert_null(gw_directory_member_after(w->blue, w->h1));
}

/* Also one that nobody waits for any more: nothing is taken from its address, and nothing sent there. */
static void test_deleted_nve_leaves_its_vns(void **state) {
        struct world *w = *state;
        struct gw_ip h3 = w->h3->locator;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        gw_directory_bye(&w->d, w->h3, w->now);
        gw_directory_nve_hv(&w->d, w->h3, false);
        world_ack(w);
        assert_int_equal(gw_directory_nve_delete(&w->d, w->h3, &w->error), 0);
        assert_true(world_told_member(w, w->h1, (struct gw_ip){0})->gone); /* the mark of a full list */
        assert_null(world_told_member(w, w->h1, h3));
        world_ack(w);
        world_pass(w, GW_DIRECTORY_LINGER_MS);
        assert_int_equal(w->n_frames, 0);
}

static void test_moved_vm_keeps_old_member_a_while(void **state) {
        struct world *w = *state;
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        assert_false(world_told_member(w, w->h1, w->h2->locator)->gone);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).waiting, 2);
        world_ack(w);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).waiting, 0);
        gw_directory_commit(&w->d, w->web, w->now);
        gw_directory_unreserve(&w->d, w->web);
        gw_directory_subscribe(&w->d, w->h1, NULL, 0, w->now);
        world_ack(w);
        world_pass(w, GW_DIRECTORY_LINGER_MS - 1);
        assert_null(world_told_member(w, w->h3, w->h1->locator));
        world_pass(w, 1);
        assert_true(world_told_member(w, w->h3, w->h1->locator)->gone);
}

static void test_move_is_pushed_and_confirmed(void **state) {
        struct world *w = *state;
        struct gw_directory_pending pending;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h2);
        world_subscribe(w, w->h3);
        world_ack(w);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        world_ack(w);
        gw_directory_bye(&w->d, w->h3, w->now);
        gw_directory_commit(&w->d, w->web, w->now);
        assert_true(gw_ip_eq(world_told(w, w->h1, mac)->locator, w->h2->locator));
        assert_int_equal(world_told(w, w->h1, mac)->epoch, 2);
        assert_null(world_told(w, w->h3, mac));
        pending = gw_directory_pending(&w->d, w->web);
        assert_int_equal(pending.waiting, 1); /* h1; h2 is the place itself */
        assert_int_equal(pending.away, 1);
        world_ack(w);
        pending = gw_directory_pending(&w->d, w->web);
        assert_int_equal(pending.waiting, 0);
        assert_int_equal(pending.away, 1);
        world_hello(w, "h3", "fd99::3");
        world_subscribe(w, w->h3);
        assert_int_equal(world_told(w, w->h3, mac)->epoch, 2);
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).away, 0);
}

/* Who has subscribed without the VN holds nothing of it; who has not spoken yet may hold something old. */
static void test_only_who_may_hold_an_older_place_is_pending(void **state) {
        struct world *w = *state;
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        gw_directory_subscribe(&w->d, w->h2, NULL, 0, w->now);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).away, 0);
        world_subscribe(w, w->h2);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 1);
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 0);

        gw_directory_subscribe(&w->d, w->h3, NULL, 0, w->now); /* it lingers */
        gw_directory_commit(&w->d, w->web, w->now);
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 0);
        assert_int_equal(gw_directory_pending(&w->d, w->web).away, 0);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).away, 0);

        world_hello(w, "h3", "fd99::3");
        assert_int_equal(gw_directory_pending(&w->d, w->web).away, 1);
        gw_directory_subscribe(&w->d, w->h3, NULL, 0, w->now);
        assert_int_equal(gw_directory_pending(&w->d, w->web).away, 0);
}

static void test_retries_then_behind(void **state) {
        struct world *w = *state;
        uint32_t id;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        id = w->frames[0].id;
        world_pass(w, 99);
        world_forget(w);
        world_pass(w, 1);
        assert_int_equal(w->n_frames, 1);
        assert_int_equal(w->frames[0].id, id);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac)); /* the same again */
        world_pass(w, 199);
        assert_int_equal(w->n_frames, 1);
        world_pass(w, 1 + 400 + 800);
        assert_int_equal(w->n_frames, 4);
        assert_int_equal(w->n_drops, 0);
        world_pass(w, 1600);
        assert_int_equal(w->n_drops, 1);
        assert_true(w->h2->behind);
        assert_int_equal(w->note_kind, GW_NOTE_BEHIND);
        world_forget(w);
        world_serve(w, w->web, w->h1); /* nothing is sent to it any more */
        assert_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac));
        world_hello(w, "h2", "10.99.0.2");
        world_subscribe(w, w->h2);
        assert_int_equal(world_told(w, w->h2, gw_vm_ports(w->web)->mac)->epoch, 2);
}

/* Copies of what thousands are hearing would only make all of it later. */
static void test_many_on_the_way_have_more_time(void **state) {
        struct world *w = *state;
        uint64_t others_us = 50 * 1000;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        assert_true(w->d.on_the_way_us > 0);
        w->d.on_the_way_us += others_us; /* after this one was sent */
        world_forget(w);
        world_pass(w, 149);
        assert_int_equal(w->n_frames, 0);
        world_pass(w, 1);
        assert_int_equal(w->n_frames, 1);
        w->d.on_the_way_us += 1000 * others_us; /* without end, but for the bound */
        world_pass(w, 2 * (GW_DIRECTORY_RETRY_MS + GW_DIRECTORY_RETRY_MORE_MS) - 1);
        assert_int_equal(w->n_frames, 1);
        world_pass(w, 1);
        assert_int_equal(w->n_frames, 2);
        w->d.on_the_way_us -= 1001 * others_us;
        world_ack(w);
        assert_int_equal(w->d.on_the_way_us, 0);
        world_subscribe(w, w->h3);
        gw_directory_bye(&w->d, w->h3, w->now);
        world_ack(w);
        assert_int_equal(w->d.on_the_way_us, 0);
}

static void test_late_ack_does_not_confirm_newer(void **state) {
        struct world *w = *state;
        uint32_t id;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        world_serve(w, w->web, w->h1);
        id = w->frames[w->n_frames - 2].id;
        world_serve(w, w->web, w->h2);
        gw_directory_ack(&w->d, w->h3, id, w->now);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 1);
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 0);
        gw_directory_ack(&w->d, w->h3, 77777, w->now); /* nothing by that id */
}

static void test_queries(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .ip = ip_of("10.1.0.2")};
        struct gw_mapping m;

        world_subscribe(w, w->h2);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_ABSENT);
        assert_int_equal(m.lifetime_ms, GW_DIRECTORY_ABSENT_MS);
        world_serve(w, w->web, w->h1);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_SERVING);
        assert_true(gw_ip_eq(m.locator, w->h1->locator));
        query.ip = ip_of("10.1.0.99");
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_ABSENT);
        assert_int_equal(m.lifetime_ms, GW_DIRECTORY_NEGATIVE_MS);
        assert_true(gw_ip_eq(m.ips[0], query.ip));
        query.ip = ip_of("10.1.0.2");
        gw_directory_query(&w->d, w->h3, &query, w->now, &m); /* not a member */
        assert_int_equal(m.state, GW_MAPPING_ABSENT);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
        query = (struct gw_query){.vni = 100, .by_mac = true, .mac = gw_vm_ports(w->web)->mac};
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_SERVING);
        query.vni = 101;
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_ABSENT);
}

static void fill_vn(struct world *w, unsigned from, unsigned n) {
        char name[16];

        for (unsigned i = from; i < from + n; i++) {
                struct gw_port_spec port = {.vn = "blue", .no_addresses = true};
                struct gw_vm_spec spec = {.id = name, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

                snprintf(name, sizeof name, "f%u", i);
                assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), 0);
        }
}

static void test_large_vn_is_pulled(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .ip = ip_of("10.1.0.2")};
        struct gw_mapping m;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2); /* it was pushed, so it is told of changes for a lifetime */
        world_ack(w);
        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX);
        assert_false(w->blue->push);
        world_subscribe(w, w->h3);
        assert_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
        world_ack(w);
        world_serve(w, w->web, w->h1);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac));
        assert_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
        world_ack(w);
        gw_directory_query(&w->d, w->h3, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_SERVING);
        world_pass(w, GW_DIRECTORY_HOLD_MS - 1000);
        world_serve(w, w->web, w->h2);
        assert_int_equal(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->epoch, 3);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 2); /* h3, and h1, where it was */
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 0);
        world_pass(w, 1000 + GW_DIRECTORY_HOLD_SLACK_MS); /* h3's lifetime has ended; nobody asked again */
        world_serve(w, w->web, w->h1);
        assert_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
}

static void test_holder_is_told_on_its_return(void **state) {
        struct world *w = *state;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;
        struct gw_query query = {.vni = 100, .by_mac = true, .mac = mac};
        struct gw_mapping m;

        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX);
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h3);
        gw_directory_query(&w->d, w->h3, &query, w->now, &m);
        world_ack(w);
        gw_directory_bye(&w->d, w->h3, w->now); /* a new session confirms what it holds */
        world_hello(w, "h3", "fd99::3");
        world_subscribe(w, w->h3);
        assert_int_equal(world_told(w, w->h3, mac)->epoch, 1);
        world_ack(w);
        gw_directory_subscribe(&w->d, w->h3, NULL, 0, w->now); /* it leaves the VN, the VM moves, it comes back */
        world_pass(w, GW_DIRECTORY_LINGER_MS);
        world_serve(w, w->web, w->h2);
        assert_null(world_told(w, w->h3, mac));
        world_ack(w);
        assert_int_equal(gw_directory_pending(&w->d, w->web).waiting, 0);
        world_subscribe(w, w->h3);
        assert_int_equal(world_told(w, w->h3, mac)->epoch, 2);
}

static void test_small_again_is_pushed(void **state) {
        struct world *w = *state;
        char name[32];

        world_serve(w, w->web, w->h1);
        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX);
        world_subscribe(w, w->h3);
        world_ack(w);
        for (unsigned i = GW_DIRECTORY_PUSH_AGAIN - 1; i < GW_DIRECTORY_PUSH_MAX; i++) {
                assert_false(w->blue->push);
                snprintf(name, sizeof name, "f%u@default", i);
                assert_int_equal(gw_directory_vm_delete(&w->d, gw_directory_vm(&w->d, name), &w->error), 0);
        }
        assert_true(w->blue->push);
        assert_non_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
}

static void test_many_mappings_take_several_updates(void **state) {
        struct world *w = *state;
        struct gw_vm *vm = NULL;
        unsigned told = 0;

        gw_directory_nve_capacity(&w->d, w->h1, 1 << 20, 1000);
        fill_vn(w, 0, 200);
        while ((vm = gw_directory_vm_after(&w->d, vm ? gw_vm_name(vm).s : NULL)))
                world_serve(w, vm, w->h1);
        world_subscribe(w, w->h2);
        for (int i = 0; i < 10 && w->n_frames; i++) {
                for (size_t k = 0; k < w->n_sent; k++)
                        told += !w->sent[k].is_member;
                assert_true(w->n_sent <= 64 + 2);
                struct gw_nve *nve = w->h2;
                uint32_t id = w->frames[0].id;
                world_forget(w);
                gw_directory_ack(&w->d, nve, id, w->now);
        }
        assert_int_equal(told, 201);
        assert_int_equal(w->n_frames, 0);
}

static void test_reports(void **state) {
        struct world *w = *state;
        struct gw_report *report = calloc(1, sizeof *report);
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h3);
        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX);
        world_ack(w);
        world_pass(w, GW_DIRECTORY_HOLD_MS + GW_DIRECTORY_HOLD_SLACK_MS);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        gw_directory_commit(&w->d, w->web, w->now);
        world_ack(w);
        report->kind = GW_REPORT_TALKERS;
        report->vm = gw_vm_name(w->web);
        report->epoch = to;
        report->locators[report->n_locators++] = w->h3->locator;
        report->locators[report->n_locators++] = ip_of("192.0.2.1"); /* nobody */
        assert_int_equal(gw_directory_report(&w->d, w->h1, report, w->now), 0);
        assert_int_equal(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->epoch, to);
        world_ack(w);
        assert_int_equal(gw_directory_report(&w->d, w->h1, report, w->now), 0);
        assert_int_equal(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->epoch, to);
        world_ack(w);
        report->kind = GW_REPORT_STALE_SENDERS;
        gw_directory_unreserve(&w->d, w->web);
        assert_int_equal(gw_directory_report(&w->d, w->h1, report, w->now), 0); /* a former place */
        assert_non_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
        assert_int_equal(gw_directory_report(&w->d, w->h3, report, w->now), GW_E_REFUSED);
        free(report);
}

/* It knows of the move from its cut, so it must hear of what follows. */
static void test_talkers_are_told_first(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .ip = ip_of("10.1.0.2")};
        struct gw_report *report = calloc(1, sizeof *report);
        struct gw_mapping m;

        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX); /* no longer pushed */
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        world_subscribe(w, w->h3);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        gw_directory_query(&w->d, w->h3, &query, w->now, &m);
        world_ack(w);
        for (int i = 0; i < 2; i++) {
                struct gw_nve *talker = i ? w->h3 : w->h2;

                report->kind = GW_REPORT_TALKERS;
                report->vm = gw_vm_name(w->web);
                report->n_locators = 1;
                report->locators[0] = talker->locator;
                assert_int_equal(gw_directory_report(&w->d, w->h1, report, w->now), 0);
                world_ack(w);
                world_serve(w, w->web, w->h1);
                assert_string_equal(w->frames[0].to.s, talker->id.s);
                world_ack(w);
        }
        free(report);
}

static void test_former_place_is_a_holder(void **state) {
        struct world *w = *state;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;
        struct gw_report *report = calloc(1, sizeof *report);

        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX);
        world_serve(w, w->web, w->h1);
        world_serve(w, w->web, w->h2);
        world_serve(w, w->web, w->h3);
        assert_int_equal(world_told(w, w->h1, mac)->epoch, 3);
        assert_int_equal(world_told(w, w->h2, mac)->epoch, 3);
        assert_null(world_told(w, w->h3, mac));
        world_ack(w);
        world_restart(w); /* which forgets holders */
        world_hello(w, "h2", "10.99.0.2");
        world_subscribe(w, w->h2);
        assert_null(world_told(w, w->h2, mac));
        report->kind = GW_REPORT_REDIRECT_ENDED;
        report->vm = gw_vm_name(w->web);
        assert_int_equal(gw_directory_report(&w->d, w->h2, report, w->now), 0);
        assert_int_equal(world_told(w, w->h2, mac)->epoch, 3);
        free(report);
}

static void test_target_must_know_members(void **state) {
        struct world *w = *state;
        uint64_t to, back;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        world_ack(w);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).waiting, 0);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).away, 1); /* its port is not there yet */
        world_subscribe(w, w->h2);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).waiting, 1);
        world_ack(w);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).waiting, 0);
        assert_int_equal(gw_directory_pending_members(&w->d, w->web).away, 0);
}

static void test_restart_keeps_members(void **state) {
        struct world *w = *state;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_restart(w);
        world_hello(w, "h3", "fd99::3");
        world_subscribe(w, w->h3); /* before h1 is back */
        assert_false(world_told_member(w, w->h3, w->h1->locator)->gone);
        assert_non_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
}

static void test_new_locator_is_told(void **state) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .restart_count = 1};
        struct world *w = *state;
        struct gw_nve *nve;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        strcpy(hello.id.s, "h1");
        hello.locator = ip_of("10.99.0.77");
        assert_int_equal(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error), GW_E_REFUSED);
        assert_non_null(strstr(w->error.text, "10.99.0.77"));
        assert_int_equal(gw_directory_nve_relocate(&w->d, w->h1, w->h3->locator, w->now, &w->error), GW_E_EXISTS);
        assert_int_equal(gw_directory_nve_relocate(&w->d, w->h1, hello.locator, w->now, &w->error), 0);
        assert_int_equal(w->n_drops, 1);
        world_hello(w, "h1", "10.99.0.77");
        world_subscribe(w, w->h1);
        assert_true(gw_ip_eq(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->locator, ip_of("10.99.0.77")));
        assert_true(world_told_member(w, w->h3, (struct gw_ip){0})->gone);
        assert_non_null(world_told_member(w, w->h3, ip_of("10.99.0.77")));
        assert_null(gw_directory_nve_by_locator(&w->d, ip_of("10.99.0.1")));
}

static void test_placed_vm_is_absent_below_its_epoch(void **state) {
        struct world *w = *state;
        uint64_t epoch;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h3);
        world_ack(w);
        assert_int_equal(gw_directory_place(&w->d, w->web, w->h1, w->now, &epoch, &w->error), 0);
        assert_int_equal(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->state, GW_MAPPING_ABSENT);
        assert_true(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->epoch < epoch);
        assert_null(world_told(w, w->h1, gw_vm_ports(w->web)->mac)); /* it is the one that shall serve */
}

static void test_unknown_vni_is_noted(void **state) {
        struct world *w = *state;
        uint32_t vni = 4711;

        gw_directory_subscribe(&w->d, w->h1, &vni, 1, w->now);
        assert_int_equal(w->n_frames, 0);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
}

/* What one host's frames make others be told, and the directory walk over, is counted: its session pays for it. */
static void test_work_is_counted(void **state) {
        struct world *w = *state;
        struct gw_report *report = calloc(1, sizeof *report);
        uint64_t begun;

        world_serve(w, w->web, w->h1);
        world_serve(w, world_vm(w, "db", "blue"), w->h1);
        begun = w->d.work;
        assert_false(gw_directory_vn_was_at(&w->d, w->blue, w->h3));
        assert_int_equal(w->d.work, begun + 2);
        report->kind = GW_REPORT_STALE_SENDERS;
        report->vm = gw_vm_name(w->web);
        report->n_locators = 3;
        begun = w->d.work;
        assert_int_equal(gw_directory_report(&w->d, w->h1, report, w->now), 0);
        assert_int_equal(w->d.work, begun + 3 * GW_WORK_OF_UPDATE);
        free(report);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_subscriber_gets_all),
                TEST(test_work_is_counted),
                TEST(test_members_come_and_go),
                TEST(test_deleted_nve_leaves_its_vns),
                TEST(test_moved_vm_keeps_old_member_a_while),
                TEST(test_move_is_pushed_and_confirmed),
                TEST(test_only_who_may_hold_an_older_place_is_pending),
                TEST(test_retries_then_behind),
                TEST(test_many_on_the_way_have_more_time),
                TEST(test_late_ack_does_not_confirm_newer),
                TEST(test_queries),
                TEST(test_large_vn_is_pulled),
                TEST(test_holder_is_told_on_its_return),
                TEST(test_small_again_is_pushed),
                TEST(test_many_mappings_take_several_updates),
                TEST(test_reports),
                TEST(test_talkers_are_told_first),
                TEST(test_former_place_is_a_holder),
                TEST(test_target_must_know_members),
                TEST(test_restart_keeps_members),
                TEST(test_new_locator_is_told),
                TEST(test_placed_vm_is_absent_below_its_epoch),
                TEST(test_unknown_vni_is_noted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
