/* SPDX-License-Identifier: Apache-2.0 */
/* Does a gateway answer? Probes, the choice that follows from them, damping, and what the authority is told. */
#include <stdlib.h>

#include "edge_fixture.h"

enum { PROBE_MS = 200, PROBE_SIZE = 78, STEP_MS = 50, NEAR = 1, FAR = 2, BOTH = NEAR | FAR };
enum { LIVE = GW_MEMBER_ROUTES | GW_MEMBER_LIVE, AWAY = GW_MEMBER_ROUTES };

static const char *const near = "10.99.0.8", *const far = "10.99.0.9";

static void tell_in(struct world *w, uint32_t vni, const char *locator, uint8_t role, uint32_t cost) {
        struct gw_member member = {.vni = vni, .locator = ip_of(locator), .role = role, .cost = cost};

        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, NULL, 0, &member, 1), 0);
}

static void tell(struct world *w, const char *locator, uint8_t role, uint32_t cost) {
        tell_in(w, WORLD_VNI, locator, role, cost);
}

static bool uses(const struct world *w, const char *locator) {
        return gw_ip_eq(gw_edge_gateway_of(w->edge, WORLD_VNI), ip_of(locator));
}

static struct gw_ip probed(const struct world_frame *f) {
        struct gw_ip ip;

        memcpy(ip.b, f->bytes + 38, sizeof ip.b);
        return ip;
}

static void answer(struct world *w, const struct world_frame *f, struct gw_ip from) {
        struct gw_edge_punt punt = {.reason = GW_EDGE_PATH,
                                    .frame = {.vni = WORLD_VNI, .sender = from, .bytes = f->bytes, .size = f->size}};

        gw_edge_punted(w->edge, w->now, &punt);
}

/* Time passes, and the gateways in the set answer. */
static void run(struct world *w, uint64_t ms, unsigned answering) {
        for (uint64_t at = 0; at < ms; at += STEP_MS) {
                world_pass(w, STEP_MS);
                for (size_t i = 0; i < w->n_down; i++) {
                        struct gw_ip to;

                        if (w->down[i].how != GW_EDGE_PROBE)
                                continue;
                        to = probed(&w->down[i]);
                        if ((answering & NEAR && gw_ip_eq(to, ip_of(near))) ||
                            (answering & FAR && gw_ip_eq(to, ip_of(far))))
                                answer(w, &w->down[i], to);
                }
                w->n_down = w->n_sent = 0;
        }
}

static struct gw_edge_path_view found;
static size_t n_found;

static void look(const struct gw_edge_path_view *view, void *user) {
        n_found++;
        if (gw_ip_eq(view->locator, ip_of(user)))
                found = *view;
}

static const struct gw_edge_path_view *path(const struct world *w, const char *locator) {
        found = (struct gw_edge_path_view){.state = 99};
        n_found = 0;
        gw_edge_each_path(w->edge, look, (void *)(uintptr_t)locator);
        return &found;
}

static void begin(struct world *w) {
        world_probing(w, PROBE_MS, false);
        world_serve(w);
        tell(w, near, LIVE, 10);
        tell(w, far, LIVE, 1010);
        run(w, 1000, BOTH);
        assert_true(uses(w, near));
        assert_int_equal(path(w, near)->state, GW_EDGE_PATH_GOOD);
        assert_int_equal(n_found, 2);
}

/* The loss of its answers, and of nothing else. Milliseconds until the other one is used. */
static uint64_t until_left(struct world *w, unsigned answering, uint64_t most_ms) {
        uint64_t ms = 0;

        while (uses(w, near) && ms < most_ms) {
                run(w, STEP_MS, answering);
                ms += STEP_MS;
        }
        return ms;
}

static void test_what_answers_is_good(void **state) {
        struct world *w = *state;

        begin(w);
        run(w, 60000, BOTH);
        assert_true(uses(w, near) && path(w, near)->heard.ns && path(w, near)->losses == 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_PATHS_LOST), 0);
        assert_in_range(world_counter(w, GW_EDGE_C_PATHS_ASKED), 2 * 61000 / PROBE_MS - 4, 2 * 61000 / PROBE_MS + 4);
        assert_true(world_counter(w, GW_EDGE_C_PATHS_HEARD) + 2 >= world_counter(w, GW_EDGE_C_PATHS_ASKED));
}

static void test_what_does_not_answer_is_left_within_a_second(void **state) {
        struct world *w = *state;
        uint64_t ms;

        begin(w);
        gw_edge_nva_down(w->edge, w->now); /* and nobody needs to be asked */
        ms = until_left(w, FAR, 5000);
        assert_in_range(ms, 4 * PROBE_MS - STEP_MS, 5 * PROBE_MS + STEP_MS);
        assert_true(uses(w, far));
        assert_int_equal(path(w, near)->state, GW_EDGE_PATH_LOST);
        assert_int_equal(path(w, far)->state, GW_EDGE_PATH_GOOD);
        run(w, 60000, FAR);
        assert_true(uses(w, far) && path(w, near)->losses == 1);
}

static void test_an_edge_that_stood_still_misses_nothing(void **state) {
        struct world *w = *state;

        begin(w);
        w->now.mono.ns += 30 * GW_NS_PER_S; /* it was not given the processor, and nobody had anything to answer */
        run(w, 2000, BOTH);
        assert_true(uses(w, near) && path(w, near)->losses == 0);
}

static void test_return_is_held_and_flapping_damped(void **state) {
        struct world *w = *state;
        uint64_t ms, before = 0;

        begin(w);
        for (int i = 0; i < 8; i++) {
                until_left(w, FAR, 5000);
                assert_true(uses(w, far));
                for (ms = 0; uses(w, far) && ms < 100000; ms += STEP_MS)
                        run(w, STEP_MS, BOTH);
                assert_in_range(ms, 1000, 60000 + 3 * PROBE_MS);
                assert_true(ms + 3 * PROBE_MS >= before * 2 || before * 2 > 60000);
                before = ms;
        }
        assert_in_range(before, 60000 - PROBE_MS, 60000 + 3 * PROBE_MS);
        run(w, 70000, BOTH); /* calm for a while */
        until_left(w, FAR, 5000);
        for (ms = 0; uses(w, far) && ms < 100000; ms += STEP_MS)
                run(w, STEP_MS, BOTH);
        assert_in_range(ms, 1000, 1000 + 3 * PROBE_MS);
}

static void test_held_is_used_when_the_other_is_lost(void **state) {
        struct world *w = *state;

        begin(w);
        until_left(w, FAR, 5000);
        run(w, 300, BOTH);
        assert_int_equal(path(w, near)->state, GW_EDGE_PATH_HELD);
        assert_true(uses(w, far));
        run(w, 5 * PROBE_MS, NEAR);
        assert_true(uses(w, near)); /* held or not, it is the better of the two */
}

static void test_when_none_answers_the_choice_is_as_without_probes(void **state) {
        struct world *w = *state;

        begin(w);
        run(w, 10000, 0);
        assert_int_equal(path(w, near)->state, GW_EDGE_PATH_LOST);
        assert_int_equal(path(w, far)->state, GW_EDGE_PATH_LOST);
        assert_true(uses(w, near));
        tell(w, near, LIVE, 2000);
        assert_true(uses(w, far));
        tell(w, far, AWAY, 1010);
        assert_true(uses(w, near));
}

static void test_what_answers_before_what_lives(void **state) {
        struct world *w = *state;

        begin(w);
        tell(w, far, AWAY, 1010); /* its session is lost, its programs route on */
        until_left(w, FAR, 5000);
        assert_true(uses(w, far));
        run(w, 3000, BOTH);
        assert_true(uses(w, near));
        tell(w, near, AWAY, 10); /* nobody lives: the present one is kept while it answers */
        assert_true(uses(w, near));
        until_left(w, FAR, 5000);
        assert_true(uses(w, far));
}

static void test_the_first_answer_needs_no_hold(void **state) {
        struct world *w = *state;

        world_probing(w, PROBE_MS, false);
        world_serve(w);
        tell(w, near, LIVE, 10);
        tell(w, far, LIVE, 1010);
        assert_true(uses(w, near));
        run(w, 5000, FAR); /* it does not route yet */
        assert_true(uses(w, far));
        run(w, 2 * PROBE_MS, BOTH);
        assert_true(uses(w, near));
}

static void test_forged_answers_do_not_count(void **state) {
        struct world *w = *state;
        struct world_frame probe = {0};
        uint64_t heard, refused = world_counter(w, GW_EDGE_C_UNPARSED);

        begin(w);
        world_pass(w, PROBE_MS);
        for (size_t i = 0; i < w->n_down; i++)
                if (gw_ip_eq(probed(&w->down[i]), ip_of(near)))
                        probe = w->down[i];
        assert_int_equal(probe.size, PROBE_SIZE);
        heard = world_counter(w, GW_EDGE_C_PATHS_HEARD);
        answer(w, &probe, ip_of("10.99.0.66")); /* no gateway */
        probe.size--;                           /* short */
        answer(w, &probe, ip_of(near));
        probe.size++;
        probe.bytes[PROBE_SIZE - 1] ^= 1; /* another time */
        answer(w, &probe, ip_of(near));
        probe.bytes[PROBE_SIZE - 1] ^= 1;
        probe.bytes[PROBE_SIZE - 9] ^= 1; /* another number */
        answer(w, &probe, ip_of(near));
        probe.bytes[PROBE_SIZE - 9] ^= 1;
        assert_int_equal(world_counter(w, GW_EDGE_C_UNPARSED) - refused, 4);
        assert_int_equal(world_counter(w, GW_EDGE_C_PATHS_HEARD), heard);
        w->n_down = 0;
        run(w, 3000, FAR);
        answer(w, &probe, ip_of(near)); /* genuine, and too old */
        assert_int_equal(path(w, near)->state, GW_EDGE_PATH_LOST);
}

static void test_probes_are_well_formed(void **state) {
        struct world *w = *state;
        const uint8_t *b;
        uint32_t sum = 17 + 24;

        begin(w);
        w->n_down = 0;
        world_pass(w, PROBE_MS);
        assert_int_equal(w->n_down, 2);
        b = w->down[0].bytes;
        assert_int_equal(w->down[0].size, PROBE_SIZE);
        assert_memory_equal(b, GW_GATEWAY_MAC.b, 6);
        assert_memory_equal(b + 6, GW_GATEWAY_MAC.b, 6);
        assert_true(b[12] == 0x86 && b[13] == 0xdd && b[14] == 0x60 && b[19] == 24 && b[20] == 17 && b[21] == 255);
        assert_memory_equal(b + 22, w->self.b, 16);
        assert_int_equal(b[56] << 8 | b[57], GW_PROBE_PORT_GATEWAY);
        for (int i = 22; i < PROBE_SIZE; i += 2)
                sum += (uint32_t)(b[i] << 8 | b[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        assert_int_equal(sum, 0xffff);
}

static size_t n_reports;

static bool told(const struct world *w, size_t n, const char *locator) {
        const struct world_sent *sent = world_sent_find(w, GW_FRAME_REPORT);
        struct gw_report *report = calloc(1, sizeof *report);
        bool r = false;

        n_reports = world_sent_count(w, GW_FRAME_REPORT);
        if (sent && report && !gw_report_decode(sent->body, sent->size, report))
                r = report->kind == GW_REPORT_PATHS && !strcmp(report->vm.s, "h1") && report->n_locators == n &&
                    (!n || gw_ip_eq(report->locators[0], ip_of(locator)));
        free(report);
        return r;
}

/* Until the gateway's state is another; n_sent then has what was sent with the change. */
static void until_state(struct world *w, const char *locator, uint8_t state, unsigned answering) {
        for (int i = 0; i < 1000 && path(w, locator)->state != state; i++) {
                world_forget_sent(w);
                world_pass(w, STEP_MS);
                for (size_t k = 0; k < w->n_down; k++)
                        if (w->down[k].how == GW_EDGE_PROBE &&
                            (answering & (gw_ip_eq(probed(&w->down[k]), ip_of(near)) ? NEAR : FAR)))
                                answer(w, &w->down[k], probed(&w->down[k]));
                w->n_down = 0;
        }
        assert_int_equal(path(w, locator)->state, state);
}

static void test_the_authority_is_told(void **state) {
        struct world *w = *state;

        begin(w);
        until_state(w, near, GW_EDGE_PATH_LOST, FAR);
        assert_true(told(w, 1, near));
        until_state(w, near, GW_EDGE_PATH_HELD, BOTH);
        assert_false(told(w, 1, near)); /* it is not used yet: nothing has changed */
        assert_int_equal(n_reports, 0);
        gw_edge_nva_down(w->edge, w->now);
        world_forget_sent(w);
        world_up(w);
        assert_true(told(w, 1, near)); /* again in each session */
        until_state(w, near, GW_EDGE_PATH_GOOD, BOTH);
        assert_true(told(w, 0, NULL));
}

static void test_only_gateways_of_vns_here_are_asked(void **state) {
        struct world *w = *state;
        struct gw_edge_attach other = world_port("db", 2, "10.9.0.2", GW_EDGE_SERVING, 1);
        struct gw_error error = {0};

        begin(w);
        other.vni = WORLD_VNI + 1;
        assert_int_equal(world_attach(w, &other), 0);
        tell_in(w, WORLD_VNI + 1, near, LIVE, 10);
        path(w, near);
        assert_int_equal(n_found, 2);
        tell(w, near, 0, 0); /* no gateway of the first VN any more: asked in the other one */
        w->n_down = 0;
        world_pass(w, PROBE_MS);
        path(w, near);
        assert_true(n_found == 2 && w->n_down == 2);
        assert_int_equal(gw_edge_detach(w->edge, w->now, &other.id, &error), 0);
        run(w, 60000, BOTH); /* until its redirects and registrations are over */
        w->n_down = 0;
        world_pass(w, PROBE_MS);
        path(w, near);
        assert_true(n_found == 1 && w->n_down == 1);
        tell(w, far, 0, 0);
        w->n_down = 0;
        world_pass(w, 10 * PROBE_MS);
        assert_int_equal(w->n_down, 0);
}

static void test_a_gateway_asks_nobody(void **state) {
        struct world *w = *state;

        for (int i = 0; i < 2; i++) {
                world_probing(w, i ? PROBE_MS : 0, i);
                world_serve(w);
                tell(w, near, LIVE, 10);
                world_pass(w, 10000);
                assert_int_equal(world_counter(w, GW_EDGE_C_PATHS_ASKED), 0);
                assert_true(uses(w, near));
        }
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        const struct CMUnitTest tests[] = {
                TEST(test_what_answers_is_good),
                TEST(test_what_does_not_answer_is_left_within_a_second),
                TEST(test_an_edge_that_stood_still_misses_nothing),
                TEST(test_return_is_held_and_flapping_damped),
                TEST(test_held_is_used_when_the_other_is_lost),
                TEST(test_when_none_answers_the_choice_is_as_without_probes),
                TEST(test_what_answers_before_what_lives),
                TEST(test_the_first_answer_needs_no_hold),
                TEST(test_forged_answers_do_not_count),
                TEST(test_probes_are_well_formed),
                TEST(test_the_authority_is_told),
                TEST(test_only_gateways_of_vns_here_are_asked),
                TEST(test_a_gateway_asks_nobody),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
