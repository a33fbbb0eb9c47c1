/* SPDX-License-Identifier: Apache-2.0 */
/* A listening end under load: how many handshakes and sessions, of whom, and that each comes to its turn. */
#include "io_fixture.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/admit.h"
#include "io/session.h"
#include "wire/frame.h"

enum { FLOOD = 20000, USER_FRAME = GW_FRAME_REPORT };

static struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

/* ---- the counting alone ---- */

static void test_bounds(void **state) {
        struct gw_listener_limits limits = {
                .handshakes = 3, .handshakes_per_address = 2, .sessions_per_address = 3, .sessions_per_name = 1};
        struct gw_mono now = {GW_NS_PER_S}, later = {3 * GW_NS_PER_S};
        struct gw_ip a = ip_of("192.0.2.1"), b = ip_of("2001:db8::1");
        struct gw_admitted s[6] = {0};
        struct gw_admission all;

        (void)state;
        assert_int_equal(gw_admission_init(&all, &limits), 0);
        assert_true(gw_admission_enter(&all, &s[0], a, now));
        assert_true(gw_admission_enter(&all, &s[1], a, now));
        assert_false(gw_admission_enter(&all, &s[2], a, now)); /* a third handshake of that address */
        assert_false(gw_admission_is_full(&all));
        assert_true(gw_admission_enter(&all, &s[2], b, now));
        assert_true(gw_admission_is_full(&all));
        assert_null(gw_admission_slowest(&all, now));
        assert_ptr_equal(gw_admission_slowest(&all, later), &s[0]);
        assert_true(gw_admission_named(&all, &s[0], "h1"));
        assert_false(gw_admission_named(&all, &s[1], "h1"));
        gw_admission_leave(&all, &s[1]);
        assert_true(gw_admission_enter(&all, &s[1], a, now));
        assert_true(gw_admission_named(&all, &s[1], "h2"));
        assert_true(gw_admission_enter(&all, &s[3], a, now));
        assert_true(gw_admission_named(&all, &s[3], "h3"));
        assert_false(gw_admission_enter(&all, &s[4], a, now)); /* a fourth session */
        assert_int_equal(all.counts.refused_address, 2);
        assert_int_equal(all.counts.refused_name, 1);
        assert_int_equal(all.counts.sessions, 4);
        assert_int_equal(all.counts.opening, 1);
        for (int i = 0; i < 6; i++)
                gw_admission_leave(&all, &s[i]);
        assert_int_equal(all.counts.sessions, 0);
        assert_int_equal(all.counts.opening, 0);
        assert_int_equal(all.counts.handshakes_failed, 1);
        assert_int_equal(all.by_address.count + all.by_name.count, 0);
        for (int i = 0; i < 3; i++) /* loopback is not bounded by address */
                assert_true(gw_admission_enter(&all, &s[i], ip_of("127.0.0.2"), now));
        for (int i = 0; i < 3; i++)
                gw_admission_leave(&all, &s[i]);
        gw_admission_deinit(&all);
}

/* ---- a real one ---- */

struct served {
        unsigned opened, closed, frames, of_b_at, of_b, charge;
};

static void on_opened(struct gw_session *session, void *user) {
        (void)session;
        ((struct served *)user)->opened++;
}

static void on_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                     void *user) {
        struct served *served = user;

        (void)id;
        if (type != USER_FRAME || !size)
                return;
        served->frames++;
        gw_session_charge(session, served->charge);
        if (body[0] == 'B') {
                served->of_b++;
                served->of_b_at = served->frames;
        }
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        (void)session, (void)reason;
        ((struct served *)user)->closed++;
}

static const struct gw_session_ops ops = {.opened = on_opened, .frame = on_frame, .closed = on_closed};

static struct gw_listener *listen_with(struct fixture *f, const struct gw_listener_limits *limits,
                                       struct served *served, struct gw_endpoint *at) {
        struct gw_endpoint any = {.ip = ip_of("127.0.0.1")};
        struct gw_listener *listener;

        assert_int_equal(gw_listener_new_tls(&listener, &f->loop, &any, f->nva, &ops, NULL, served), 0);
        gw_listener_limit(listener, limits);
        *at = gw_listener_endpoint(listener);
        return listener;
}

static struct gw_session *dial(struct fixture *f, const struct gw_endpoint *at, struct served *side) {
        struct gw_session *session;

        assert_int_equal(gw_session_dial_tls(&session, &f->loop, at, 1, NULL, f->nve, &ops, NULL, side), 0);
        return session;
}

static int connect_silently(const struct gw_endpoint *at) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(at->port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
        return fd;
}

static bool is_up(void *user) {
        return ((struct served *)user)->opened > 0;
}

/* Strangers who connect and say nothing slow an honest peer down, and do not keep it out. */
static void test_silent_strangers(void **state) {
        struct fixture *f = *state;
        struct gw_listener_limits limits = {.handshakes = 4};
        struct served served = {0}, side = {0};
        struct gw_endpoint at;
        struct gw_listener *listener = listen_with(f, &limits, &served, &at);
        struct gw_session *session;
        int fds[12];

        for (int i = 0; i < 12; i++)
                fds[i] = connect_silently(&at);
        session = dial(f, &at, &side);
        fixture_spin(f, is_up, &side);
        assert_true(gw_listener_counts(listener).gave_way > 0);
        assert_true(gw_listener_counts(listener).opening <= 4);
        for (int i = 0; i < 12; i++)
                close(fds[i]);
        gw_session_free(session);
        gw_listener_free(listener);
}

static bool one_too_many(void *user) {
        return gw_listener_counts(user).refused_name > 0;
}

static void test_sessions_of_one_name(void **state) {
        struct fixture *f = *state;
        struct gw_listener_limits limits = {.handshakes = 16, .sessions_per_name = 1};
        struct served served = {0}, first = {0}, second = {0};
        struct gw_endpoint at;
        struct gw_listener *listener = listen_with(f, &limits, &served, &at);
        struct gw_session *a = dial(f, &at, &first), *b;

        fixture_spin(f, is_up, &first);
        b = dial(f, &at, &second);
        fixture_spin(f, one_too_many, listener);
        assert_int_equal(second.opened, 0);
        assert_true(gw_session_is_open(a));
        gw_session_free(a);
        fixture_spin(f, is_up, &second); /* it keeps trying, and there is room now */
        gw_session_free(b);
        gw_listener_free(listener);
}

static void send_frames(struct gw_session *session, char who, unsigned n) {
        for (unsigned i = 0; i < n; i++)
                assert_int_equal(gw_session_send(session, USER_FRAME, i, &who, 1), 0);
}

static bool all_came(void *user) {
        return ((struct served *)user)->frames == FLOOD + 1;
}

/* One sends 20,000 frames, another one: the one does not wait for all the others. */
static void test_each_comes_to_its_turn(void **state) {
        struct fixture *f = *state;
        struct gw_listener_limits limits = {.handshakes = 16};
        struct served served = {0}, first = {0}, second = {0};
        struct gw_endpoint at;
        struct gw_listener *listener = listen_with(f, &limits, &served, &at);
        struct gw_session *a = dial(f, &at, &first), *b = dial(f, &at, &second);

        fixture_spin(f, is_up, &first);
        fixture_spin(f, is_up, &second);
        send_frames(a, 'A', FLOOD);
        send_frames(b, 'B', 1);
        fixture_spin(f, all_came, &served);
        assert_int_equal(served.of_b, 1);
        assert_true(served.of_b_at < FLOOD);
        gw_session_free(a);
        gw_session_free(b);
        gw_listener_free(listener);
}

static bool three_hundred(void *user) {
        return ((struct served *)user)->frames == 300;
}

static void test_frames_of_one_session_are_bounded(void **state) {
        struct fixture *f = *state;
        struct gw_listener_limits limits = {.handshakes = 16, .frames_per_s = 1000};
        struct served served = {0}, first = {0};
        struct gw_endpoint at;
        struct gw_listener *listener = listen_with(f, &limits, &served, &at);
        struct gw_session *a = dial(f, &at, &first);
        struct gw_mono began;

        fixture_spin(f, is_up, &first);
        began = gw_mono_now();
        send_frames(a, 'A', 300);
        fixture_spin(f, three_hundred, &served);
        assert_true(gw_mono_between(began, gw_mono_now()).ns >= gw_ms(100).ns);
        assert_true(gw_listener_counts(listener).paused > 0);
        gw_session_free(a);
        gw_listener_free(listener);
}

static bool have_come(void *user, unsigned n) {
        return ((struct served *)user)->frames == n;
}

static bool five(void *user) {
        return have_come(user, 5);
}

static bool six(void *user) {
        return have_come(user, 6);
}

static bool seven(void *user) {
        return have_come(user, 7);
}

/* Five frames that cost as much as 500 each, at 10,000 a second; and one that costs more than anything waits a second. */
static void test_frames_that_cost_more(void **state) {
        struct fixture *f = *state;
        struct gw_listener_limits limits = {.handshakes = 16, .frames_per_s = 10000};
        struct served served = {.charge = 500}, first = {0};
        struct gw_endpoint at;
        struct gw_listener *listener = listen_with(f, &limits, &served, &at);
        struct gw_session *a = dial(f, &at, &first);
        struct gw_mono began;

        fixture_spin(f, is_up, &first);
        began = gw_mono_now();
        send_frames(a, 'A', 5);
        fixture_spin(f, five, &served);
        assert_true(gw_mono_between(began, gw_mono_now()).ns >= gw_ms(70).ns);
        served.charge = UINT_MAX;
        began = gw_mono_now();
        send_frames(a, 'A', 1);
        fixture_spin(f, six, &served);
        served.charge = 0;
        send_frames(a, 'A', 1);
        fixture_spin(f, seven, &served);
        assert_true(gw_mono_between(began, gw_mono_now()).ns >= gw_ms(700).ns);
        assert_int_equal(first.closed, 0);
        gw_session_free(a);
        gw_listener_free(listener);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_bounds),
                TEST(test_silent_strangers),
                TEST(test_sessions_of_one_name),
                TEST(test_each_comes_to_its_turn),
                TEST(test_frames_of_one_session_are_bounded),
                TEST(test_frames_that_cost_more),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
