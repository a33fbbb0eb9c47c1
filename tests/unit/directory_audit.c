/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of edges' caches, judged: each way in which one can differ from the directory. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "directory/audit.h"
#include "directory_fixture.h"

static struct gw_audit_finding finding;

static int setup(void **state) {
        struct world *w = calloc(1, sizeof *w);

        world_init(w);
        world_serve(w, w->web, w->h1);
        world_pass(w, GW_AUDIT_SETTLE_MS + 1);
        world_ack(w);
        *state = w;
        return 0;
}

static const char *forward(struct world *w, struct gw_nve *nve, enum gw_audit_kind kind, const struct gw_nve *to,
                           uint64_t epoch) {
        struct gw_audit_forward entry = {
                .vni = w->blue->vni, .mac = gw_vm_ports(w->web)->mac, .kind = kind, .epoch = epoch};

        if (to)
                entry.locator = to->locator;
        gw_directory_audit_forward(&w->d, nve, &entry, w->now, &finding);
        return finding.why;
}

static void test_forwarding_entries(void **state) {
        struct world *w = *state;
        uint64_t epoch = w->web->binding.epoch;

        assert_string_equal(forward(w, w->h1, GW_AUDIT_LOCAL, NULL, epoch), "");
        assert_int_equal(finding.verdict, GW_AUDIT_FITS);
        assert_string_equal(forward(w, w->h2, GW_AUDIT_REMOTE, w->h1, epoch), "");
        assert_string_equal(forward(w, w->h2, GW_AUDIT_REMOTE, w->h3, epoch), "elsewhere");
        assert_int_equal(finding.verdict, GW_AUDIT_CONTRADICTS);
        assert_true(gw_ip_eq(finding.truth, w->h1->locator));
        assert_ptr_equal(finding.vm, w->web);
        assert_string_equal(forward(w, w->h2, GW_AUDIT_REMOTE, w->h1, epoch - 1), "epoch");
        assert_string_equal(forward(w, w->h2, GW_AUDIT_LOCAL, NULL, epoch), "not-here");
        assert_string_equal(forward(w, w->h1, GW_AUDIT_LOCAL, NULL, epoch + 1), "epoch");
        assert_string_equal(forward(w, w->h2, GW_AUDIT_ARRIVING, w->h1, epoch), "no-move");
        assert_string_equal(forward(w, w->h2, GW_AUDIT_MOVED, w->h1, epoch), "elsewhere"); /* it was never there */
}

static void test_a_vm_that_is_nowhere(void **state) {
        struct world *w = *state;

        gw_directory_release(&w->d, w->web, w->now);
        assert_string_equal(forward(w, w->h2, GW_AUDIT_REMOTE, w->h1, 1), "nowhere");
        assert_int_equal(finding.verdict, GW_AUDIT_SETTLING); /* it was released just now */
        world_pass(w, GW_AUDIT_SETTLE_MS + 1);
        world_ack(w);
        assert_string_equal(forward(w, w->h2, GW_AUDIT_REMOTE, w->h1, 1), "nowhere");
        assert_int_equal(finding.verdict, GW_AUDIT_CONTRADICTS);
        assert_string_equal(forward(w, w->h1, GW_AUDIT_LOCAL, NULL, 1), "nowhere");
}

static void test_a_move_settles(void **state) {
        struct world *w = *state;
        uint64_t to, back, before = w->web->binding.epoch;

        assert_int_equal(gw_directory_reserve(&w->d, w->web, w->h2, w->now, &to, &back, &w->error), 0);
        assert_string_equal(forward(w, w->h2, GW_AUDIT_ARRIVING, w->h1, to), "");
        assert_int_equal(gw_directory_commit(&w->d, w->web, w->now), 0);
        world_pass(w, GW_AUDIT_SETTLE_MS + 1);
        world_ack(w);
        assert_string_equal(forward(w, w->h3, GW_AUDIT_REMOTE, w->h1, before), "elsewhere");
        assert_int_equal(finding.verdict, GW_AUDIT_SETTLING); /* as long as the move is open */
        gw_directory_unreserve(&w->d, w->web);
        world_ack(w);
        forward(w, w->h3, GW_AUDIT_REMOTE, w->h1, before);
        assert_int_equal(finding.verdict, GW_AUDIT_CONTRADICTS);
        assert_string_equal(forward(w, w->h1, GW_AUDIT_MOVED, w->h2, to), "");
        assert_string_equal(forward(w, w->h1, GW_AUDIT_MOVED, w->h3, to), "elsewhere");
}

static void test_strangers_and_addresses(void **state) {
        struct world *w = *state;
        struct gw_audit_forward rogue = {.vni = w->blue->vni, .mac = {{2, 2, 2, 2, 2, 2}}, .kind = GW_AUDIT_LOCAL};
        struct gw_audit_neighbour entry = {
                .vni = w->blue->vni, .ip = gw_port_ip(gw_vm_ports(w->web), 0), .mac = gw_vm_ports(w->web)->mac};

        gw_directory_audit_forward(&w->d, w->h1, &rogue, w->now, &finding);
        assert_string_equal(finding.why, "unknown");
        gw_directory_audit_neighbour(&w->d, w->h1, &entry, w->now, &finding);
        assert_int_equal(finding.verdict, GW_AUDIT_FITS);
        entry.mac.b[5] ^= 1;
        gw_directory_audit_neighbour(&w->d, w->h1, &entry, w->now, &finding);
        assert_string_equal(finding.why, "other-mac");
        assert_true(gw_mac_eq(finding.mac, gw_vm_ports(w->web)->mac));
        entry.vni++; /* another VN: the same address is nobody's there */
        gw_directory_audit_neighbour(&w->d, w->h1, &entry, w->now, &finding);
        assert_string_equal(finding.why, "unknown");
}

static void test_updates_on_the_way_settle(void **state) {
        struct world *w = *state;
        struct gw_vm *db = world_vm(w, "db", "blue");

        world_subscribe(w, w->h1); /* its UPDATE is not acknowledged */
        world_serve(w, db, w->h1);
        world_pass(w, 1);
        assert_true(w->n_frames > 0);
        forward(w, w->h1, GW_AUDIT_LOCAL, NULL, w->web->binding.epoch + 7);
        assert_int_equal(finding.verdict, GW_AUDIT_SETTLING);
        world_ack(w);
        forward(w, w->h1, GW_AUDIT_LOCAL, NULL, w->web->binding.epoch + 7);
        assert_int_equal(finding.verdict, GW_AUDIT_CONTRADICTS);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(test_forwarding_entries, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_vm_that_is_nowhere, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_a_move_settles, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_strangers_and_addresses, setup, world_teardown),
                cmocka_unit_test_setup_teardown(test_updates_on_the_way_settle, setup, world_teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
