/* SPDX-License-Identifier: Apache-2.0 */
/* A VN's model (push, pull, hybrid), flushes, and resynchronisation by digests. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory_fixture.h"

static void set_model(struct world *w, uint8_t model) {
        struct gw_vn_spec spec = {
                .mtu = w->blue->mtu, .model = model, .n_subnets = w->blue->n_subnets, .subnets = w->blue->subnets};

        assert_int_equal(gw_directory_vn_update(&w->d, w->blue, &spec, &w->error), 0);
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

static struct gw_vm *serve(struct world *w, unsigned n, struct gw_nve *nve) {
        char name[24];
        struct gw_vm *vm;

        snprintf(name, sizeof name, "f%u@default", n);
        vm = gw_directory_vm(&w->d, name);
        world_serve(w, vm, nve);
        return vm;
}

/* The mark that all mappings were told; NULL when it was not. */
static const struct gw_member *mark(const struct world *w, const struct gw_nve *nve) {
        for (size_t i = 0; i < w->n_sent; i++)
                if (w->sent[i].is_member && gw_name_eq(&w->sent[i].to, &nve->id) && !w->sent[i].member.gone &&
                    gw_ip_is_unspecified(w->sent[i].member.locator))
                        return &w->sent[i].member;
        return NULL;
}

/* What that causes to be sent is then all that is recorded. */
static void ack_first(struct world *w) {
        struct gw_nve *nve = gw_directory_nve(&w->d, w->frames[0].to.s);
        uint32_t id = w->frames[0].id;

        world_forget(w);
        gw_directory_ack(&w->d, nve, id, w->now);
}

static void drain(struct world *w) {
        while (w->n_frames)
                world_ack(w);
}

static void test_push_is_complete_at_any_size(void **state) {
        struct world *w = *state;

        set_model(w, GW_VN_PUSH);
        fill_vn(w, 0, GW_DIRECTORY_PUSH_MAX + 10);
        assert_true(w->blue->push);
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        assert_int_equal(world_told(w, w->h2, gw_vm_ports(w->web)->mac)->lifetime_ms, UINT32_MAX);
        assert_non_null(mark(w, w->h2));
        assert_true(mark(w, w->h2)->final);
        world_ack(w);
        world_subscribe(w, w->h2);
        assert_int_equal(w->n_frames, 0); /* it was told that it is complete, once */
}

static void test_hybrid_marks_without_finality(void **state) {
        struct world *w = *state;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        assert_non_null(mark(w, w->h2));
        assert_false(mark(w, w->h2)->final);
        assert_int_equal(world_told(w, w->h2, gw_vm_ports(w->web)->mac)->lifetime_ms, GW_DIRECTORY_HOLD_MS);
}

static void test_pull_tells_only_who_asked(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .by_mac = true, .mac = gw_vm_ports(w->web)->mac};
        struct gw_directory_vn_confirmations all;
        struct gw_mapping m;

        set_model(w, GW_VN_PULL);
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        world_subscribe(w, w->h3);
        assert_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac));
        assert_null(mark(w, w->h2));
        world_ack(w);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_SERVING);
        world_serve(w, w->web, w->h3);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac));
        assert_null(world_told(w, w->h3, gw_vm_ports(w->web)->mac));
        all = gw_directory_vn_confirmations(&w->d, w->blue);
        assert_int_equal(all.waiting, 2); /* it, and h1, where the VM was */
        world_ack(w);
        all = gw_directory_vn_confirmations(&w->d, w->blue);
        assert_int_equal(all.waiting, 0);
        assert_true(all.holders >= 3);
}

static void test_model_is_stored(void **state) {
        struct world *w = *state;

        set_model(w, GW_VN_PULL);
        world_restart(w);
        assert_int_equal(w->blue->model, GW_VN_PULL);
        assert_false(w->blue->push);
}

/* A store of before there were models: the record ends with the subnets. */
static void test_old_record_is_hybrid(void **state) {
        struct world *w = *state;
        uint8_t record[64];
        struct gw_writer r = gw_writer(record, sizeof record);
        const struct gw_vn *vn;

        gw_put_u8(&r, 1);
        gw_put_u32(&r, 4711);
        gw_put_u16(&r, 1400);
        gw_put_u8(&r, 0);
        assert_int_equal(gw_directory_load(&w->d, GW_RECORD_VN, "old@default", 11, record, r.at, w->now, &w->error), 0);
        vn = gw_directory_vn(&w->d, "old@default");
        assert_int_equal(vn->model, GW_VN_HYBRID);
        gw_put_u8(&r, 77);
        assert_int_not_equal(gw_directory_load(&w->d, GW_RECORD_VN, "new@default", 11, record, r.at, w->now, &w->error),
                             0);
        assert_non_null(strstr(w->error.text, "does not load"));
}

/* Whoever believed that silence is an answer must stop to, and whoever believed for ever must get a lifetime. */
static void test_push_becomes_pull(void **state) {
        struct world *w = *state;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;

        set_model(w, GW_VN_PUSH);
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        drain(w);
        set_model(w, GW_VN_PULL);
        assert_int_equal(w->n_flushes, 1);
        assert_true(w->flush.negative && w->flush.all && !w->flush.positive);
        assert_non_null(world_told(w, w->h2, mac));
        assert_int_equal(world_told(w, w->h2, mac)->lifetime_ms, GW_DIRECTORY_HOLD_MS);
        drain(w);
        set_model(w, GW_VN_HYBRID); /* small: pushed again */
        assert_true(w->blue->push);
        drain(w);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 0);
}

static void test_hybrid_becomes_push(void **state) {
        struct world *w = *state;
        struct gw_mac mac = gw_vm_ports(w->web)->mac;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        drain(w);
        set_model(w, GW_VN_PUSH);
        ack_first(w); /* the flush */
        assert_int_equal(world_told(w, w->h2, mac)->lifetime_ms, UINT32_MAX);
        assert_true(mark(w, w->h2)->final);
}

static void test_flush_is_sent_until_acknowledged(void **state) {
        struct world *w = *state;
        uint32_t id;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h2);
        drain(w);
        gw_directory_vn_flush(&w->d, w->blue, true, true, w->now);
        assert_int_equal(w->n_flushes, 1);
        assert_true(w->flush.positive && w->flush.negative);
        assert_int_equal(w->n_frames, 1);
        id = w->frames[0].id;
        world_forget(w);
        world_pass(w, GW_DIRECTORY_RETRY_MS);
        assert_int_equal(w->n_flushes, 2);
        assert_int_equal(w->frames[0].id, id);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 1);
        assert_true(w->d.counters.retransmissions > 0);
        ack_first(w);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(w->web)->mac)); /* it is pushed again */
        drain(w);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 0);
}

static void test_no_is_taken_back_when_somebody_comes(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .ip = ip_of("10.1.0.200")};
        struct gw_port_spec port = {.vn = "blue", .n_ips = 1};
        struct gw_vm_spec spec = {.id = "late", .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct gw_mapping m;
        struct gw_vm *vm;

        set_model(w, GW_VN_PULL);
        world_subscribe(w, w->h2);
        world_subscribe(w, w->h3);
        drain(w);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.lifetime_ms, GW_DIRECTORY_NEGATIVE_MS);
        port.ips[0] = query.ip;
        assert_int_equal(gw_directory_vm_create(&w->d, &spec, &vm, &w->error), 0);
        assert_int_equal(w->n_flushes, 0); /* it is not there yet */
        world_serve(w, vm, w->h1);
        assert_true(w->n_flushes > 0);
        for (size_t i = 0; i < w->n_frames; i++) /* only to the one that had asked in vain */
                assert_true(!w->frames[i].flush || strcmp(w->frames[i].to.s, "h2") == 0);
        drain(w);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        assert_int_equal(m.state, GW_MAPPING_SERVING);
        query.ip = ip_of("10.1.0.201");
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        world_pass(w, GW_DIRECTORY_NEGATIVE_MS + GW_DIRECTORY_UNKNOWN_MS); /* it has forgotten by itself */
        world_forget(w);
        w->n_flushes = 0;
        fill_vn(w, 0, 1);
        serve(w, 0, w->h1);
        assert_int_equal(w->n_flushes, 0);
}

static void test_holder_that_never_confirms_is_counted(void **state) {
        struct world *w = *state;
        struct gw_query query = {.vni = 100, .by_mac = true, .mac = gw_vm_ports(w->web)->mac};
        struct gw_mapping m;

        set_model(w, GW_VN_PULL);
        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        world_subscribe(w, w->h2);
        world_subscribe(w, w->h3);
        drain(w);
        gw_directory_query(&w->d, w->h2, &query, w->now, &m);
        gw_directory_bye(&w->d, w->h2, w->now);
        world_serve(w, w->web, w->h3);
        drain(w);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).away, 2); /* as a member, and as a holder */
        world_pass(w, GW_DIRECTORY_HOLD_MS + GW_DIRECTORY_HOLD_SLACK_MS);
        assert_int_equal(w->d.counters.lapsed, 1);
}

/* --- digests --- */

static void digest_of_all(struct world *w, struct gw_digest *digest, size_t buckets) {
        struct gw_vm *vm = NULL;
        struct gw_mapping m;

        *digest = (struct gw_digest){.vni = 100, .n = buckets};
        while ((vm = gw_directory_vm_after(&w->d, vm ? gw_vm_name(vm).s : NULL))) {
                gw_directory_mapping(gw_vm_ports(vm), &m);
                if (m.state == GW_MAPPING_SERVING)
                        digest->sums[gw_digest_bucket(m.mac, buckets)] += gw_mapping_digest(&m);
        }
}

static size_t mappings_sent(const struct world *w) {
        size_t n = 0;

        for (size_t i = 0; i < w->n_sent; i++)
                n += !w->sent[i].is_member;
        return n;
}

static void populate(struct world *w, unsigned n) {
        gw_directory_nve_capacity(&w->d, w->h1, 1 << 20, 1000);
        fill_vn(w, 0, n);
        for (unsigned i = 0; i < n; i++)
                serve(w, i, w->h1);
        world_subscribe(w, w->h2);
        drain(w);
}

static void again(struct world *w) {
        gw_directory_bye(&w->d, w->h2, w->now);
        world_hello(w, "h2", "10.99.0.2");
        w->octets = 0;
}

static void test_only_differences_travel(void **state) {
        struct world *w = *state;
        struct gw_digest *digest = calloc(1, sizeof *digest);
        struct gw_vm *moved;
        size_t all, few;

        populate(w, 200);
        again(w);
        world_subscribe(w, w->h2);
        drain(w);
        all = w->octets;

        again(w);
        digest_of_all(w, digest, 64);
        gw_directory_digest(&w->d, w->h2, 9, digest, w->now);
        assert_int_equal(w->n_agreed, 1);
        assert_int_equal(w->agreed.n_octets, 8);
        world_subscribe(w, w->h2);
        assert_int_equal(mappings_sent(w), 0);
        drain(w);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 0);

        again(w);
        digest_of_all(w, digest, 64); /* what it holds; then, while it is away: */
        moved = serve(w, 7, w->h3);
        world_forget(w);
        gw_directory_digest(&w->d, w->h2, 10, digest, w->now);
        serve(w, 8, w->h3); /* between digest and SUBSCRIBE */
        world_subscribe(w, w->h2);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(moved)->mac));
        assert_non_null(world_told(w, w->h2, gw_vm_ports(gw_directory_vm(&w->d, "f8@default"))->mac));
        assert_true(mappings_sent(w) < 20); /* those of one bucket, and the one that changed later */
        drain(w);
        few = w->octets;
        assert_true(few * 5 < all);
        print_message("# 200 mappings after a reconnect: %zu octets in full, %zu by digest with 2 changes\n", all, few);
        free(digest);
}

/* Something went wrong that nobody noticed; the next comparison does. */
static void test_divergence_in_a_session_is_corrected(void **state) {
        struct world *w = *state;
        struct gw_digest *digest = calloc(1, sizeof *digest);

        populate(w, 40);
        digest_of_all(w, digest, 16);
        gw_directory_digest(&w->d, w->h2, 1, digest, w->now);
        assert_int_equal(w->n_agreed, 1);
        assert_int_equal(w->n_frames, 0);
        digest->sums[3] ^= 1;
        gw_directory_digest(&w->d, w->h2, 2, digest, w->now);
        assert_int_equal(w->n_agreed, 2);
        assert_false(gw_agreed_bit(&w->agreed, 3));
        assert_true(gw_agreed_bit(&w->agreed, 4));
        assert_true(mappings_sent(w) > 0 && mappings_sent(w) < 20);
        gw_directory_digest(&w->d, w->h2, 3, digest, w->now); /* something is on the way */
        assert_int_equal(w->n_agreed, 2);
        drain(w);
        digest->vni = 4711;
        gw_directory_digest(&w->d, w->h2, 4, digest, w->now);
        gw_directory_digest(&w->d, w->h3, 5, digest, w->now);
        assert_int_equal(w->n_agreed, 2);
        free(digest);
}

static void test_what_is_held_makes_holders(void **state) {
        struct world *w = *state;
        struct gw_held *held = calloc(1, sizeof *held);
        struct gw_vm *a, *b;
        struct gw_mapping m;

        set_model(w, GW_VN_PULL);
        fill_vn(w, 0, 2);
        a = serve(w, 0, w->h1);
        b = serve(w, 1, w->h1);
        world_subscribe(w, w->h2);
        drain(w);
        held->vni = 100;
        gw_directory_mapping(gw_vm_ports(a), &m);
        held->all[held->n++] = (struct gw_held_one){m.mac, gw_mapping_digest(&m)};
        gw_directory_mapping(gw_vm_ports(b), &m);
        held->all[held->n++] = (struct gw_held_one){m.mac, gw_mapping_digest(&m) + 1};
        held->all[held->n++] = (struct gw_held_one){{{2, 2, 2, 2, 2, 2}}, 1};
        world_restart(w); /* which forgets holders */
        world_hello(w, "h2", "10.99.0.2");
        a = gw_directory_vm(&w->d, "f0@default");
        b = gw_directory_vm(&w->d, "f1@default");
        world_subscribe(w, w->h2); /* it would not come first, but has to be a member */
        drain(w);
        gw_directory_held(&w->d, w->h2, 3, held, w->now);
        assert_int_equal(w->agreed.bits[0], 1);
        assert_null(world_told(w, w->h2, gw_vm_ports(a)->mac));
        assert_non_null(world_told(w, w->h2, gw_vm_ports(b)->mac));
        drain(w);
        world_hello(w, "h1", "10.99.0.1");
        world_hello(w, "h3", "fd99::3");
        serve(w, 0, w->h3);
        assert_non_null(world_told(w, w->h2, gw_vm_ports(a)->mac)); /* it is a holder of it again */
        free(held);
}

static void test_report_of_what_is_attached(void **state) {
        struct world *w = *state;
        struct gw_attached attached = {.vni = 100, .ports = 3};
        uint32_t ports;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h1);
        attached.v4 = (struct gw_prefix){ip_of("10.1.0.0"), 96 + 28};
        attached.v6 = (struct gw_prefix){ip_of("fd00:1::2"), 128};
        assert_int_equal(gw_directory_attached(&w->d, w->h1, &attached, 1, w->now), 0);
        assert_true(gw_directory_ports_there(&w->d, w->blue, w->h1, &ports));
        assert_int_equal(ports, 3);
        attached.v4 = (struct gw_prefix){ip_of("10.77.0.1"), 128};
        assert_int_equal(gw_directory_attached(&w->d, w->h1, &attached, 1, w->now), 1);
        assert_int_equal(w->note_kind, GW_NOTE_REFUSED);
        assert_int_equal(gw_directory_attached(&w->d, w->h3, &attached, 1, w->now), 0); /* no member */
}

/* A VM that flaps costs a bounded number of updates, and the last word gets through. */
static void test_flapping_is_coalesced(void **state) {
        struct world *w = *state;
        size_t sent;

        world_serve(w, w->web, w->h1);
        world_subscribe(w, w->h3);
        drain(w);
        for (int i = 0; i < 1000; i++) { /* each is two changes */
                world_serve(w, w->web, i % 2 ? w->h1 : w->h2);
                w->now.mono.ns += 20000;
                w->now.wall.ns += 20000;
                gw_directory_tick(&w->d, w->now);
                w->n_sent = w->n_noticed = 0;
                sent = w->n_frames;
        }
        print_message("# %zu updates for 2,000 changes\n", sent);
        assert_true(sent < 60); /* in 20 ms, to h3 and to the former places */
        assert_true(w->d.counters.coalesced > 1500);
        world_pass(w, 200);
        assert_int_equal(world_told(w, w->h3, gw_vm_ports(w->web)->mac)->epoch, w->web->binding.epoch);
        drain(w);
        assert_int_equal(gw_directory_vn_confirmations(&w->d, w->blue).waiting, 0);
}

static void test_conflict_is_decided_by_epoch_and_shown(void **state) {
        struct world *w = *state;
        struct gw_registration request;

        world_serve(w, w->web, w->h1);
        request = world_request(w, w->web, 1);
        world_serve(w, w->web, w->h2);
        assert_int_equal(world_register(w, w->h1, &request, NULL), GW_MH_TIMESTAMP_LOWER);
        assert_int_equal(w->h1->conflicts, 1);
        assert_string_equal(w->h1->conflict.vm.s, "web@default");
        assert_int_equal(w->h1->conflict.claimed, 1);
        assert_int_equal(w->h1->conflict.stands, 2);
        assert_ptr_equal(gw_vm_nve(w->web), w->h2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(test_push_is_complete_at_any_size),
                TEST(test_hybrid_marks_without_finality),
                TEST(test_pull_tells_only_who_asked),
                TEST(test_model_is_stored),
                TEST(test_old_record_is_hybrid),
                TEST(test_push_becomes_pull),
                TEST(test_hybrid_becomes_push),
                TEST(test_flush_is_sent_until_acknowledged),
                TEST(test_no_is_taken_back_when_somebody_comes),
                TEST(test_holder_that_never_confirms_is_counted),
                TEST(test_only_differences_travel),
                TEST(test_divergence_in_a_session_is_corrected),
                TEST(test_what_is_held_makes_holders),
                TEST(test_report_of_what_is_attached),
                TEST(test_flapping_is_coalesced),
                TEST(test_conflict_is_decided_by_epoch_and_shown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
