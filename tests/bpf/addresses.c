/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses of a real port: more of them than its own entry has room for, given
 * and taken in any order, while its flags change. What the guard lets pass is at each
 * step what a list says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../prop/seed.h"
#include "base/time.h"
#include "frames.h"
#include "io/netlink.h"
#include "worlds.h"

enum { CHOICES = 8, STEPS = 30, UDP = 17 };

static int raw_socket(const struct guest *g) {
        struct sockaddr_ll at = {.sll_family = AF_PACKET};
        int back, fd;

        assert_int_equal(gw_netns_enter_fd(g->netns, &back), 0);
        at.sll_ifindex = (int)if_nametoindex("eth0");
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        assert_int_equal(gw_netns_leave(back), 0);
        assert_true(fd >= 0);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        return fd;
}

static uint64_t passed(struct host *h) {
        return counter(h, GW_COUNT_LOCAL);
}
static uint64_t refused(struct host *h) {
        return counter(h, GW_COUNT_DROP_GUARD_IPV4) + counter(h, GW_COUNT_DROP_GUARD_IPV6);
}

/* One frame from that address; true: it passed. */
static bool passes(struct host *h, int fd, const struct guest *from, const struct guest *to, const char *source) {
        uint64_t through = passed(h), dropped = refused(h), until = gw_mono_now().ns + 5 * GW_NS_PER_S;
        struct frame f;

        if (strchr(source, ':'))
                ipv6(&f, to->mac, from->mac, source, "fd01::2", UDP, 40);
        else
                ipv4(&f, to->mac, from->mac, source, "10.1.0.2", UDP, 40);
        assert_int_equal(send(fd, f.b, f.size, 0), f.size);
        while (passed(h) == through && refused(h) == dropped)
                assert_true(gw_mono_now().ns < until);
        return passed(h) != through;
}

static void what_passes_is_what_was_allowed(void **state) {
        struct world *w = *state;
        struct host *h = &w->hosts[0];
        struct guest *a = guest_add(w, h, 1, false, false), *b = guest_add(w, h, 2, false, false);
        struct dice dice = dice_new();
        bool allowed[2 * CHOICES] = {false};
        char text[2 * CHOICES][32];
        int fd = raw_socket(a);

        for (int i = 0; i < CHOICES; i++) {
                snprintf(text[i], sizeof text[i], "10.7.0.%d", 1 + i);
                snprintf(text[CHOICES + i], sizeof text[0], i % 2 ? "fd07::%d" : "::%d:0:1", 1 + i);
        }
        for (int step = 0; step < STEPS; step++) {
                size_t i = dice_below(&dice, (uint64_t)2 * CHOICES);

                allowed[i] = !allowed[i];
                assert_int_equal(
                        (allowed[i] ? gw_datapath_allow_add : gw_datapath_allow_del)(h->dp, a->ifindex, ip_of(text[i])),
                        0);
                assert_int_equal(gw_datapath_port_flags(h->dp, a->ifindex, step % 2 ? GW_PORT_SNOOPED : 0,
                                                        step % 2 ? 0 : GW_PORT_SNOOPED),
                                 0);
                for (size_t k = 0; k < (size_t)2 * CHOICES; k++)
                        if (passes(h, fd, a, b, text[k]) != allowed[k])
                                fail_msg("step %d: %s was %s", step, text[k], allowed[k] ? "refused" : "let through");
        }
        close(fd);
}

/* A device that goes takes its addresses along: the next port on it has none of them. */
static void a_new_port_has_no_addresses_of_before(void **state) {
        struct world *w = *state;
        struct host *h = &w->hosts[0];
        struct guest *a = guest_add(w, h, 3, false, false), *b = guest_add(w, h, 4, false, false);
        struct gw_datapath_port port;
        int fd = raw_socket(a), back;

        assert_int_equal(gw_datapath_allow_add(h->dp, a->ifindex, ip_of("10.7.0.1")), 0);
        assert_true(passes(h, fd, a, b, "10.7.0.1"));
        assert_int_equal(gw_datapath_port_get(h->dp, a->ifindex, &port), 0);
        host_enter(h, &back);
        assert_int_equal(gw_datapath_port_del(h->dp, a->ifindex), 0);
        assert_int_equal(gw_datapath_port_set(h->dp, &port), 0);
        assert_int_equal(gw_netns_leave(back), 0);
        assert_false(passes(h, fd, a, b, "10.7.0.1"));
        assert_int_equal(gw_datapath_allow_add(h->dp, a->ifindex, ip_of("10.7.0.1")), 0);
        assert_true(passes(h, fd, a, b, "10.7.0.1"));
        close(fd);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_passes_is_what_was_allowed),
                cmocka_unit_test(a_new_port_has_no_addresses_of_before),
        };

        if (!worlds_begin(argc, argv))
                return 0;
        return cmocka_run_group_tests(tests, up_v4, worlds_end);
}
