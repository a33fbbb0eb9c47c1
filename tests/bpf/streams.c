/* SPDX-License-Identifier: Apache-2.0 */
#include "streams.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define ok(expression) assert_int_equal(expression, 0)

void run_on(int cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
        (void)pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

/* One direction of a TCP stream whose octets can be checked. */
struct stream {
        int from, to;
        size_t total, sent, got;
        bool bad;
};

static uint8_t octet_at(size_t at) {
        return (uint8_t)(at * 31 + (at >> 11) * 7);
}

static void *stream_send(void *user) {
        struct stream *s = user;
        static _Thread_local uint8_t part[128 << 10];

        while (s->sent < s->total) {
                size_t n = s->total - s->sent < sizeof part ? s->total - s->sent : sizeof part;
                ssize_t wrote;
                for (size_t i = 0; i < n; i++)
                        part[i] = octet_at(s->sent + i);
                wrote = send(s->from, part, n, MSG_NOSIGNAL);
                if (wrote <= 0)
                        break;
                s->sent += (size_t)wrote;
        }
        shutdown(s->from, SHUT_WR);
        return NULL;
}

static void *stream_receive(void *user) {
        struct stream *s = user;
        static _Thread_local uint8_t part[128 << 10];
        ssize_t got;

        run_on(1);
        while (readable(s->to, 5 * SOON_MS) && (got = recv(s->to, part, sizeof part, 0)) > 0) {
                for (ssize_t i = 0; i < got; i++)
                        s->bad |= part[i] != octet_at(s->got + (size_t)i);
                s->got += (size_t)got;
        }
        return NULL;
}

void stream_run(const struct guest *from, const struct guest *to, bool v6, size_t total, void (*meanwhile)(void *user),
                void *user) {
        int listener = guest_socket(to, v6, SOCK_STREAM, true);
        struct stream s = {.from = guest_socket(from, v6, SOCK_STREAM | SOCK_NONBLOCK, false), .total = total};
        pthread_t sender, receiver;

        assert_int_equal(guest_connect_later(s.from, to, v6), -EINPROGRESS);
        for (int i = 0; i < 400 && !readable(listener, meanwhile ? 5 : SOON_MS); i++) {
                if (meanwhile)
                        meanwhile(user);
        }
        s.to = accept(listener, NULL, NULL);
        assert_true(s.to >= 0);
        ok(fcntl(s.from, F_SETFL, 0));
        ok(pthread_create(&sender, NULL, stream_send, &s));
        ok(pthread_create(&receiver, NULL, stream_receive, &s));
        while (meanwhile && pthread_tryjoin_np(receiver, NULL) == EBUSY)
                meanwhile(user);
        if (!meanwhile)
                ok(pthread_join(receiver, NULL));
        ok(pthread_join(sender, NULL));
        assert_int_equal(s.got, total);
        assert_false(s.bad);
        close(s.from);
        close(s.to);
        close(listener);
}
