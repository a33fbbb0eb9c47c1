/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io/mobility: Mobility Headers between real sockets, over both families, in a namespace of the test's own. Needs root.
 * What is true of a message over IPv6 is asked over IPv4 (in UDP) as well; where they differ the test says how.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "io/mobility.h"
#include "io/mobility_link.h"
#include "io/netlink.h"
#include "wire/header.h"
#include "wire/upkeep.h"

#define ok(expression) assert_int_equal(expression, 0)

enum { SPINS_MAX = 1000, SPIN_US = 10000 };

static const struct family {
        const char *nva, *nve, *stranger, *other; /* other: an address of the other family */
        bool in_udp;
} family6 = {"fd09::1", "fd09::2", "fd09::3", "10.9.0.1", false},
  family4 = {"10.9.0.1", "10.9.0.2", "10.9.0.3", "fd09::1", true};

/* Two ends on one loop, and somebody who sends what he likes. */
struct world {
        const struct family *family;
        struct gw_loop loop;
        struct gw_mobility *nva, *nve;
        struct gw_mobility_link stranger;
        struct gw_ip from; /* of the last message that an end took */
        size_t size;
        uint8_t bytes[GW_MH_SIZE_MAX];
        unsigned taken;
};

static char name[32];
static int back = -1;

static struct gw_ip ip(const char *text) {
        struct gw_ip out;

        ok(gw_ip_parse(text, &out));
        return out;
}

/* The kernel says that an IPv6 address is there a little before what is sent to it arrives. */
static void wait_for_way(struct gw_ip to) {
        struct sockaddr_in6 at = {.sin6_family = AF_INET6};
        socklen_t size = sizeof at;
        int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), i;
        char octet = 0;

        memcpy(&at.sin6_addr, to.b, sizeof to.b); /* of an IPv4 address its mapped form, which means the same */
        ok(bind(fd, (struct sockaddr *)&at, sizeof at));
        ok(getsockname(fd, (struct sockaddr *)&at, &size));
        for (i = 0; i < SPINS_MAX && recv(fd, &octet, 1, 0) < 0; i++) {
                (void)sendto(fd, &octet, 1, 0, (struct sockaddr *)&at, sizeof at);
                usleep(i ? SPIN_US : 0);
        }
        assert_true(i < SPINS_MAX);
        close(fd);
}

static int enter(void **state) {
        const struct family *families[] = {&family6, &family4};

        (void)state;
        snprintf(name, sizeof name, "gwm-%d", getpid());
        ok(gw_netns_add(name));
        ok(gw_netns_enter(name, &back));
        for (int i = 0; i < 2; i++) {
                const char *all[] = {families[i]->nva, families[i]->nve, families[i]->stranger};

                for (int j = 0; j < 3; j++) {
                        ok(gw_addr_add("lo", ip(all[j]), families[i]->in_udp ? 32 : 128));
                        wait_for_way(ip(all[j]));
                }
        }
        return 0;
}

static int leave(void **state) {
        (void)state;
        if (back >= 0)
                (void)gw_netns_leave(back);
        return gw_netns_del(name);
}

static void on_taken(struct gw_ip from, const uint8_t *bytes, size_t size, void *user) {
        struct world *w = user;

        w->from = from;
        w->size = size;
        memcpy(w->bytes, bytes, size);
        w->taken++;
}

static int setup(void **state) {
        static struct world w;
        const struct family *family = *state;

        w = (struct world){.family = family};
        ok(gw_loop_init(&w.loop));
        ok(gw_mobility_new(&w.nva, &w.loop, on_taken, &w));
        ok(gw_mobility_new(&w.nve, &w.loop, on_taken, &w));
        ok(gw_mobility_open(w.nva, ip(family->nva), 0));
        ok(gw_mobility_open(w.nve, ip(family->nve), 0));
        ok(gw_mobility_link_open(&w.stranger, ip(family->stranger), 0));
        *state = &w;
        return 0;
}

static int teardown(void **state) {
        struct world *w = *state;

        gw_mobility_free(w->nva);
        gw_mobility_free(w->nve);
        gw_mobility_link_close(&w->stranger);
        gw_loop_deinit(&w->loop);
        return 0;
}

static uint64_t count(const struct gw_mobility *m, enum gw_mobility_counter counter) {
        return gw_mobility_count(m, counter);
}

static void spin_until(struct world *w, const struct gw_mobility *m, enum gw_mobility_counter counter, uint64_t n) {
        for (int i = 0; i < SPINS_MAX && count(m, counter) < n; i++)
                assert_true(sd_event_run(w->loop.event, SPIN_US) >= 0);
        assert_int_equal(count(m, counter), n);
}

/* A heartbeat, good for these addresses. */
static size_t heartbeat(const char *from, const char *to, uint8_t out[static 64]) {
        struct gw_upkeep beat = {.kind = GW_MH_HEARTBEAT, .sequence = 7};
        struct gw_writer w = gw_writer(out, 64);

        ok(gw_upkeep_encode(&w, ip(from), ip(to), &beat));
        return w.at;
}

static void goes_and_comes(void **state) {
        struct world *w = *state;
        const struct family *f = w->family;
        uint8_t bytes[64];
        size_t size = heartbeat(f->nve, f->nva, bytes);

        assert_true(gw_ip_eq(gw_mobility_address(w->nve, ip(f->nva)), ip(f->nve)));
        assert_true(gw_mobility_reaches(w->nve, ip(f->nva)));
        ok(gw_mobility_send(w->nve, ip(f->nva), bytes, size));
        assert_int_equal(count(w->nve, GW_MOBILITY_SENT), 0); /* not before the flush step */
        spin_until(w, w->nva, GW_MOBILITY_RECEIVED, 1);
        assert_int_equal(w->taken, 1);
        assert_true(gw_ip_eq(w->from, ip(f->nve)));
        assert_int_equal(w->size, size);
        assert_memory_equal(w->bytes, bytes, size);
        size = heartbeat(f->nva, f->nve, bytes);
        ok(gw_mobility_send(w->nva, w->from, bytes, size)); /* to where it came from */
        spin_until(w, w->nve, GW_MOBILITY_RECEIVED, 1);
        assert_true(gw_ip_eq(w->from, ip(f->nva)));
        assert_int_equal(count(w->nve, GW_MOBILITY_SENT), 1);
}

/* The largest message: it may travel in fragments. */
static void largest(void **state) {
        struct world *w = *state;
        const struct family *f = w->family;
        uint8_t bytes[GW_MH_SIZE_MAX] = {GW_MH_NO_NEXT, 255, GW_MH_HEARTBEAT};

        gw_registration_seal(bytes, sizeof bytes, ip(f->nve), ip(f->nva));
        ok(gw_link_set_mtu("lo", 1500));
        ok(gw_mobility_send(w->nve, ip(f->nva), bytes, sizeof bytes));
        spin_until(w, w->nva, GW_MOBILITY_RECEIVED, 1);
        assert_int_equal(w->size, sizeof bytes);
        assert_memory_equal(w->bytes, bytes, sizeof bytes);
        assert_int_equal(gw_mobility_send(w->nve, ip(f->nva), bytes, sizeof bytes + 1), GW_E_INVALID);
}

/* No way there: to the other family, and to what is no unicast address. */
static void no_way(void **state) {
        struct world *w = *state;
        uint8_t bytes[64];
        size_t size = heartbeat(w->family->nve, w->family->nva, bytes);

        assert_false(gw_mobility_reaches(w->nve, ip(w->family->other)));
        assert_true(gw_ip_is_unspecified(gw_mobility_address(w->nve, ip(w->family->other))));
        assert_int_equal(gw_mobility_send(w->nve, ip(w->family->other), bytes, size), GW_E_INVALID);
        assert_int_equal(gw_mobility_send(w->nve, ip(w->family->in_udp ? "224.0.0.1" : "ff02::1"), bytes, size),
                         GW_E_INVALID);
        assert_int_equal(gw_mobility_open(w->nve, ip(w->family->nve), 0), -EEXIST);
        assert_int_equal(gw_mobility_open(w->nve, ip(w->family->in_udp ? "fd09::77" : "10.9.0.77"), 0), -EADDRNOTAVAIL);
        assert_int_equal(gw_mobility_link_send_icmp(&w->stranger, ip(w->family->nva), bytes, 0) == -EOPNOTSUPP,
                         w->family->in_udp);
}

/* One end with an address of each family: what came over one is answered over it. */
static void both_families(void **state) {
        struct world *w = *state;
        const struct family *f = &family4;
        struct gw_mobility_link host;
        uint8_t bytes[64];
        size_t size = heartbeat(f->stranger, f->nva, bytes);

        ok(gw_mobility_open(w->nva, ip(f->nva), 0));
        ok(gw_mobility_link_open(&host, ip(f->stranger), 0));
        ok(gw_mobility_link_send(&host, ip(f->nva), bytes, size));
        spin_until(w, w->nva, GW_MOBILITY_RECEIVED, 1);
        assert_true(gw_ip_eq(w->from, ip(f->stranger)));
        size = heartbeat(family6.stranger, family6.nva, bytes);
        ok(gw_mobility_link_send(&w->stranger, ip(family6.nva), bytes, size));
        spin_until(w, w->nva, GW_MOBILITY_RECEIVED, 2);
        assert_true(gw_ip_eq(w->from, ip(family6.stranger)));
        assert_int_equal(w->taken, 2);
        assert_true(gw_ip_eq(gw_mobility_address(w->nva, ip(f->nve)), ip(f->nva)));
        assert_true(gw_ip_eq(gw_mobility_address(w->nva, ip(family6.nve)), ip(family6.nva)));
        gw_mobility_link_close(&host);
}

/* ---- what is not taken ---- */

static void from_stranger(struct world *w, const uint8_t *bytes, size_t size, enum gw_mobility_counter counter) {
        uint64_t before = count(w->nva, counter);

        ok(gw_mobility_link_send(&w->stranger, ip(w->family->nva), bytes, size));
        spin_until(w, w->nva, counter, before + 1);
}

static void seal(struct world *w, uint8_t *bytes, size_t size) {
        gw_registration_seal(bytes, size, ip(w->family->stranger), ip(w->family->nva));
}

static void bad_sizes_and_sums(void **state) {
        struct world *w = *state;
        uint8_t good[64], bytes[GW_MH_SIZE_MAX + 8] = {GW_MH_NO_NEXT, 255, GW_MH_HEARTBEAT};
        size_t size = heartbeat(w->family->stranger, w->family->nva, good);

        from_stranger(w, bytes, sizeof bytes, GW_MOBILITY_BAD_SIZE); /* longer than any */
        memcpy(bytes, good, size);
        from_stranger(w, bytes, size - 1, GW_MOBILITY_BAD_SIZE);
        from_stranger(w, bytes, size + 8, GW_MOBILITY_BAD_SIZE);
        from_stranger(w, bytes, 4, GW_MOBILITY_BAD_SIZE); /* the kernel sends no shorter one over IPv6 */
        bytes[GW_MH_CHECKSUM_AT] ^= 1;
        from_stranger(w, bytes, size, GW_MOBILITY_BAD_CHECKSUM);
        assert_int_equal(w->taken, 0);
        assert_int_equal(count(w->nva, GW_MOBILITY_SENT), 0); /* silence for all of them */
}

/* None was made: UDP's own stands for it, over IPv6 nothing does. */
static void no_sum(void **state) {
        struct world *w = *state;
        uint8_t bytes[64];
        size_t size = heartbeat(w->family->stranger, w->family->nva, bytes);

        bytes[GW_MH_CHECKSUM_AT] = bytes[GW_MH_CHECKSUM_AT + 1] = 0;
        from_stranger(w, bytes, size, w->family->in_udp ? GW_MOBILITY_RECEIVED : GW_MOBILITY_BAD_CHECKSUM);
        assert_int_equal(w->taken, w->family->in_udp);
        assert_int_equal(count(w->nva, GW_MOBILITY_BAD_CHECKSUM), !w->family->in_udp);
}

/* A type that nobody knows gets a Binding Error over either; the others a Parameter Problem over IPv6 and silence in UDP. */
static void answered(void **state) {
        struct world *w = *state;
        struct gw_mobility_datagram d;
        struct gw_upkeep error;
        uint8_t bytes[64] = {GW_MH_NO_NEXT, 1, 99};

        seal(w, bytes, 16);
        from_stranger(w, bytes, 16, GW_MOBILITY_UNKNOWN_TYPE);
        spin_until(w, w->nva, GW_MOBILITY_SENT, 1);
        ok(gw_mobility_link_receive(&w->stranger, &d));
        assert_true(gw_ip_eq(d.from, ip(w->family->nva)));
        assert_int_equal(d.port, GW_MH_UDP_PORT);
        ok(gw_upkeep_decode(d.bytes, d.size, d.from, ip(w->family->stranger), &error));
        assert_int_equal(error.kind, GW_MH_BINDING_ERROR);
        assert_int_equal(error.status, GW_MH_ERROR_UNKNOWN_TYPE);

        heartbeat(w->family->stranger, w->family->nva, bytes);
        bytes[0] = IPPROTO_TCP;
        seal(w, bytes, 16);
        from_stranger(w, bytes, 16, GW_MOBILITY_BAD_PAYLOAD);
        bytes[0] = GW_MH_NO_NEXT;
        bytes[1] = 0;
        seal(w, bytes, 8);
        from_stranger(w, bytes, 8, GW_MOBILITY_BAD_HEADER_LENGTH);
        assert_int_equal(count(w->nva, GW_MOBILITY_PROBLEMS_SENT), w->family->in_udp ? 0 : 2);
        assert_int_equal(count(w->nva, GW_MOBILITY_ERRORS_SENT), 1);
        assert_int_equal(count(w->nva, GW_MOBILITY_UNANSWERED), 0);
        assert_int_equal(gw_mobility_link_receive(&w->stranger, &d), -EAGAIN);
        assert_int_equal(w->taken, 0);
}

/* Another port than 5436, whatever it says: no answer, not even to what has one. */
static void other_port(void **state) {
        struct world *w = *state;
        struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = gw_ip_v4(ip(w->family->stranger))};
        struct sockaddr_in to = {.sin_family = AF_INET,
                                 .sin_port = htons(GW_MH_UDP_PORT),
                                 .sin_addr.s_addr = gw_ip_v4(ip(w->family->nva))};
        uint8_t bytes[64], unknown[16] = {GW_MH_NO_NEXT, 1, 99};
        size_t size = heartbeat(w->family->stranger, w->family->nva, bytes);
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        assert_true(fd >= 0);
        ok(bind(fd, (struct sockaddr *)&from, sizeof from));
        seal(w, unknown, sizeof unknown);
        assert_int_equal(sendto(fd, bytes, size, 0, (struct sockaddr *)&to, sizeof to), size);
        assert_int_equal(sendto(fd, unknown, sizeof unknown, 0, (struct sockaddr *)&to, sizeof to), sizeof unknown);
        spin_until(w, w->nva, GW_MOBILITY_BAD_PORT, 2);
        assert_int_equal(count(w->nva, GW_MOBILITY_RECEIVED), 2);
        assert_int_equal(w->taken, 0);
        assert_int_equal(count(w->nva, GW_MOBILITY_UNKNOWN_TYPE), 0);
        assert_int_equal(count(w->nva, GW_MOBILITY_SENT), 0);
        close(fd);
}

#define over(test, family) cmocka_unit_test_prestate_setup_teardown(test, setup, teardown, (void *)&(family))
#define over_each(test)                                                                                                \
        {#test " over IPv6", test, setup, teardown, (void *)&family6}, {                                               \
#test " over IPv4", test, setup, teardown, (void *)&family4                                            \
        }

int main(void) {
        const struct CMUnitTest tests[] = {
                over_each(goes_and_comes),     over_each(largest),        over_each(no_way),
                over_each(bad_sizes_and_sums), over_each(no_sum),         over_each(answered),
                over(both_families, family6),  over(other_port, family4),
        };

        return cmocka_run_group_tests(tests, enter, leave);
}
