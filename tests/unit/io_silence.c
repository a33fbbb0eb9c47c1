/* SPDX-License-Identifier: Apache-2.0 */
/* A silent peer is asked after 5 and 10 s, and given up after 15; one that answers is kept. Takes 17 s. */
#include "io_fixture.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "io/session.h"
#include "wire/frame.h"

struct server {
        unsigned opened, closed;
        char reason[128];
};

static void on_opened(struct gw_session *session, void *user) {
        struct server *server = user;

        (void)session;
        server->opened++;
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        struct server *server = user;

        (void)session;
        server->closed++;
        strncpy(server->reason, reason, sizeof server->reason - 1);
}

static const struct gw_session_ops ops = {.opened = on_opened, .closed = on_closed};

static int connect_bare(struct fixture *f) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, fixture_path(f, "agent"));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        return fd;
}

/* Reads the PINGs that came. */
static int take_pings(int fd) {
        static const uint8_t ping[] = {0, 0, 0, 12, 1, GW_FRAME_PING, 0, 0, 0, 0, 0, 0};
        uint8_t bytes[12];
        int n = 0;

        while (read(fd, bytes, sizeof bytes) == sizeof bytes) {
                assert_memory_equal(bytes, ping, sizeof ping);
                n++;
        }
        return n;
}

static void silence(void **state) {
        static const uint8_t pong[] = {0, 0, 0, 12, 1, GW_FRAME_PONG, 0, 0, 0, 0, 0, 0};
        struct fixture *f = *state;
        struct server server = {0};
        struct gw_listener *listener;
        int dead, alive, pings = 0, answered = 0;
        struct gw_mono start;
        double took_s;

        assert_int_equal(gw_listener_new_unix(&listener, &f->loop, fixture_path(f, "agent"), &ops, NULL, &server), 0);
        dead = connect_bare(f);
        alive = connect_bare(f);
        start = gw_mono_now();
        while (!server.closed && gw_mono_between(start, gw_mono_now()).ns < gw_s(20).ns) {
                fixture_spin_ms(f, 50);
                pings += take_pings(dead);
                if (take_pings(alive) && write(alive, pong, sizeof pong) == sizeof pong)
                        answered++;
        }
        took_s = (double)gw_mono_between(start, gw_mono_now()).ns / 1e9;
        assert_true(took_s > 14.5 && took_s < 17);
        assert_string_equal(server.reason, "nothing heard from the peer for 15 s");
        assert_int_equal(pings, 3); /* the one that opens, and two */
        assert_in_range(answered, 3, 4);
        fixture_spin_ms(f, 1000);
        assert_int_equal(server.closed, 1);
        gw_listener_free(listener);
        close(dead);
        close(alive);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(silence, fixture_setup, fixture_teardown)};

        return cmocka_run_group_tests_name("io_silence", tests, NULL, NULL);
}
