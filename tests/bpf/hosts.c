/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The data plane between hosts: three hosts on an underlay of either family, real
 * sockets in guests, real frames. What the programs decide about single built
 * frames is in walks.c; here is what only a kernel around them can show: tunnels,
 * offloaded frames, order, and that nothing is lost while things change.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/sock_diag.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "io/netlink.h"
#include "streams.h"
#include "worlds.h"

#define ok(expression) assert_int_equal(expression, 0)

enum { QUIET_MS = 100 };

/* All frames by way of the VXLAN device on arrival, as those do that the programs leave to it. These tests come last,
 * so it can stay so. */
static void by_device(struct world *w) {
        char command[128];

        if (w->by_device)
                return;
        w->by_device = true;
        for (int i = 0; i < WORLD_HOSTS; i++) {
                snprintf(command, sizeof command, "tc -n %s filter del dev u0 ingress", w->hosts[i].ns);
                ok(system(command)); /* NOLINT(cert-env33-c): a fixed command */
        }
}
static int up_device_v4(void **state) {
        up_v4(state);
        by_device(*state);
        return 0;
}
static int up_device_v6(void **state) {
        up_v6(state);
        by_device(*state);
        return 0;
}
static void send_number(int fd, uint32_t n) {
        assert_int_equal(send(fd, &n, sizeof n, 0), sizeof n);
}
static uint32_t receive_number(int fd) {
        uint32_t n = 0;

        if (!readable(fd, SOON_MS))
                return UINT32_MAX;
        assert_int_equal(recv(fd, &n, sizeof n, 0), sizeof n);
        return n;
}

/* UDP sockets of two guests, connected to one another. */
static void udp_pair(const struct guest *a, const struct guest *b, bool v6, int out[static 2]) {
        out[0] = guest_socket(a, v6, SOCK_DGRAM, false);
        out[1] = guest_socket(b, v6, SOCK_DGRAM, false);
        guest_connect(out[0], b, v6);
        guest_connect(out[1], a, v6);
}
static void close_pair(const int fds[static 2]) {
        close(fds[0]);
        close(fds[1]);
}

static void known_guests_talk(void **state) {
        struct world *w = *state;
        struct guest *a, *b, *c;
        int fds[2];

        a = guest_add(w, &w->hosts[0], 1, false, false);
        b = guest_add(w, &w->hosts[1], 2, false, false);
        c = guest_add(w, &w->hosts[0], 3, false, false);
        for (int v6 = 0; v6 < 2; v6++) {
                const struct guest *peers[] = {b, c}; /* another host, the same host */
                for (int i = 0; i < 2; i++) {
                        udp_pair(a, peers[i], v6, fds);
                        send_number(fds[0], 11);
                        assert_int_equal(receive_number(fds[1]), 11);
                        send_number(fds[1], 12);
                        assert_int_equal(receive_number(fds[0]), 12);
                        close_pair(fds);
                }
        }
        assert_true(counter(&w->hosts[0], GW_COUNT_ARP_ANSWERED) >= 1);
        assert_true(counter(&w->hosts[0], GW_COUNT_ND_ANSWERED) >= 1);
}

static void streams_pass_whole(void **state) {
        struct world *w = *state;
        struct guest *a, *b, *c;

        a = guest_add(w, &w->hosts[0], 1, false, false);
        b = guest_add(w, &w->hosts[1], 2, false, false);
        c = guest_add(w, &w->hosts[0], 3, false, false);
        for (int v6 = 0; v6 < 2; v6++) {
                uint64_t before = counter(&w->hosts[0], GW_COUNT_REMOTE);
                stream_run(a, b, v6, 32 << 20, NULL, NULL);
                /* 32 MiB in frames of 1,400 octets would be 23,000: they went through in large ones. */
                assert_in_range(counter(&w->hosts[0], GW_COUNT_REMOTE) - before, 1, 12000);
                stream_run(a, c, v6, 8 << 20, NULL, NULL);
        }
}

/* Everything that comes up goes down again as it was. */
struct pump {
        struct host *host;
        unsigned frames, large;
};

/* The next frame that came up, but for what guests' kernels say of their groups by themselves. */
static bool punt_next(struct host *h, struct gw_punt *out) {
        while (!gw_datapath_punt_read(h->dp, out))
                if (out->reason != GW_PUNT_GROUPS)
                        return true;
        return false;
}

static void pump_once(void *user) {
        struct pump *p = user;
        struct gw_punt punt;

        if (!readable(gw_datapath_punt_fd(p->host->dp), 5))
                return;
        while (punt_next(p->host, &punt)) {
                assert_int_equal(punt.reason, GW_PUNT_PUNT);
                assert_int_equal(punt.vni, WORLD_VNI);
                p->frames++;
                p->large += punt.size > 2000;
                ok(gw_datapath_inject(p->host->dp, GW_INJECT_FROM_PORT, punt.ifindex, false, &punt.vnet, punt.frame,
                                      punt.size));
        }
}

static void punted_streams_pass_whole(void **state) {
        struct world *w = *state;
        struct guest *a, *b;

        a = guest_add(w, &w->hosts[0], 1, false, false);
        b = guest_add(w, &w->hosts[1], 2, false, false);
        forward_set(&w->hosts[0], b->mac, GW_FORWARD_REMOTE, 0, w->hosts[1].locator, GW_FORWARD_PUNT);
        for (int v6 = 0; v6 < 2; v6++) {
                struct pump p = {.host = &w->hosts[0]};
                stream_run(a, b, v6, 8 << 20, pump_once, &p);
                assert_true(p.frames > 100);
                assert_true(p.large > 20);
        }
        assert_int_equal(counter(&w->hosts[0], GW_COUNT_DROP_INJECT), 0);
}

/* The descriptor also wakes for the object's own upkeep. */
static void punt_wait(struct host *h, struct gw_punt *out) {
        for (int i = 0; i < 100; i++) {
                assert_true(readable(gw_datapath_punt_fd(h->dp), SOON_MS));
                if (punt_next(h, out))
                        return;
        }
        fail_msg("nothing came up");
}

static void first_packet_is_held(void **state) {
        struct world *w = *state;
        struct gw_punt punt;
        struct guest *a, *b;
        int fds[2];

        a = guest_add(w, &w->hosts[0], 1, false, false);
        b = guest_add(w, &w->hosts[1], 2, false, true);
        for (int v6 = 0; v6 < 2; v6++) {
                ok(gw_datapath_fdb_del(w->hosts[0].dp, WORLD_VNI, b->mac));
                udp_pair(a, b, v6, fds);
                send_number(fds[0], 1);
                punt_wait(&w->hosts[0], &punt);
                assert_int_equal(punt.reason, GW_PUNT_UNKNOWN);
                assert_int_equal(punt.ifindex, a->ifindex);
                assert_memory_equal(punt.frame, b->mac.b, 6);
                assert_memory_equal(punt.frame + 6, a->mac.b, 6);
                forward_set(&w->hosts[0], b->mac, GW_FORWARD_REMOTE, 0, w->hosts[1].locator, GW_FORWARD_PUNT);
                ok(gw_datapath_inject(w->hosts[0].dp, GW_INJECT_FROM_PORT, punt.ifindex, false, &punt.vnet, punt.frame,
                                      punt.size));
                forward_set(&w->hosts[0], b->mac, GW_FORWARD_REMOTE, 0, w->hosts[1].locator, 0);
                send_number(fds[0], 2);
                assert_int_equal(receive_number(fds[1]), 1);
                assert_int_equal(receive_number(fds[1]), 2);
                close_pair(fds);
        }
}

static int stale_count(const struct gw_stale *stale, void *user) {
        struct gw_stale *sum = user;

        sum->sender = stale->sender;
        sum->packets += stale->packets;
        return 0;
}

/* A cut, with the talker not knowing: frames go A -> B, are counted, and the talker is told of as stale. */
static void cut_redirects(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1], *C = &w->hosts[2];
        struct guest *vm, *there, *talker;
        struct gw_stale stale = {0};
        struct gw_punt punt;
        struct gw_ip talkers[4];
        uint64_t frames, last;
        int old[2], new;

        vm = guest_add(w, A, 1, false, false);
        talker = guest_add(w, C, 3, false, false);
        there = guest_arrive(w, vm, B, 0);
        udp_pair(talker, vm, false, old);
        new = guest_socket(there, false, SOCK_DGRAM, false);
        send_number(old[0], 1);
        assert_int_equal(receive_number(old[1]), 1);
        assert_int_equal(gw_datapath_talkers_of(A->dp, WORLD_VNI, vm->mac, 10000, talkers, 4), 1);
        assert_true(gw_ip_eq(talkers[0], C->locator));

        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
        for (uint32_t i = 2; i < 100; i++)
                send_number(old[0], i);
        for (uint32_t i = 2; i < 100; i++)
                assert_int_equal(receive_number(new), i);
        assert_false(readable(old[1], QUIET_MS));
        ok(gw_datapath_flight(A->dp, WORLD_VNI, vm->mac, &frames, &last));
        assert_int_equal(frames, 98);
        assert_true(gw_mono_now().ns - last < GW_NS_PER_S * 2);
        ok(gw_datapath_stale_drain(A->dp, stale_count, &stale));
        assert_int_equal(stale.packets, 98);
        assert_true(gw_ip_eq(stale.sender, C->locator));
        stale.packets = 0;
        ok(gw_datapath_stale_drain(A->dp, stale_count, &stale));
        assert_int_equal(stale.packets, 0);

        /* The copy that was cut is silent, and what it says goes up; B, if it too thinks the VM is elsewhere, ends the
         * frame, and hands up one that comes from there. */
        send_number(old[1], 7);
        assert_false(readable(old[0], QUIET_MS));
        assert_true(punt_next(A, &punt));
        assert_int_equal(punt.reason, GW_PUNT_FENCED);
        assert_int_equal(punt.ifindex, vm->ifindex);
        forward_set(B, vm->mac, GW_FORWARD_MOVED, 0, C->locator, 0);
        send_number(old[0], 200);
        assert_false(readable(new, QUIET_MS));
        assert_int_equal(counter(B, GW_COUNT_DROP_LOOP), 1);
        forward_set(B, vm->mac, GW_FORWARD_MOVED, 0, A->locator, 0);
        send_number(old[0], 201);
        assert_false(readable(new, QUIET_MS));
        assert_int_equal(counter(B, GW_COUNT_DROP_LOOP), 1);
        assert_true(punt_next(B, &punt));
        assert_int_equal(punt.reason, GW_PUNT_RETURNED);
        assert_true(punt.redirected && gw_ip_eq(punt.sender, A->locator));
        close_pair(old);
        close(new);
}

/* Group frames during a move: each exactly once, at the old place, through the hold, or at the new place. */
static void group_frames_arrive_once(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1], *C = &w->hosts[2];
        struct guest *vm, *there, *talker, *other;
        int from, old, new, beside;

        vm = guest_add(w, A, 1, false, false);
        talker = guest_add(w, C, 3, false, false);
        other = guest_add(w, B, 4, false, false);
        there = guest_arrive(w, vm, B, 0);
        from = guest_socket(talker, false, SOCK_DGRAM, false);
        struct guest all = {.netns = vm->netns};
        ok(gw_ip_parse("10.1.0.255", &all.ip4));
        old = guest_socket(vm, false, SOCK_DGRAM, false);
        new = guest_socket(there, false, SOCK_DGRAM, false);
        beside = guest_socket(other, false, SOCK_DGRAM, false);
        close(old), close(new), close(beside);
        struct guest any = *vm;
        ok(gw_ip_parse("0.0.0.0", &any.ip4));
        old = guest_socket(&any, false, SOCK_DGRAM, false);
        any.netns = there->netns;
        new = guest_socket(&any, false, SOCK_DGRAM, false);
        any.netns = other->netns;
        beside = guest_socket(&any, false, SOCK_DGRAM, false);
        guest_connect(from, &all, false);

        send_number(from, 1);
        assert_int_equal(receive_number(old), 1);
        assert_int_equal(receive_number(beside), 1);
        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
        send_number(from, 2);
        assert_int_equal(receive_number(new), 2);
        assert_int_equal(receive_number(beside), 2);
        ok(gw_datapath_port_flags(B->dp, there->ifindex, 0, GW_PORT_ARRIVING));
        forward_set(B, vm->mac, GW_FORWARD_LOCAL, there->ifindex, B->locator, 0);
        send_number(from, 3);
        assert_int_equal(receive_number(new), 3);
        assert_int_equal(receive_number(beside), 3);
        assert_false(readable(old, QUIET_MS));
        assert_false(readable(new, QUIET_MS));
        assert_false(readable(beside, QUIET_MS));
        close(from), close(old), close(new), close(beside);
}

/* While the old tap is drained what comes from the wire comes up, and goes on behind it. */
static void the_queue_goes_before_what_comes_later(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *vm, *there, *talker;
        struct gw_punt punt;
        int old[2], new;

        vm = guest_add(w, A, 1, false, false);
        talker = guest_add(w, &w->hosts[2], 3, false, false);
        there = guest_arrive(w, vm, B, 0);
        udp_pair(talker, vm, false, old);
        new = guest_socket(there, false, SOCK_DGRAM, false);
        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, true));
        for (uint32_t i = 0; i < 50; i++)
                send_number(old[0], i);
        assert_false(readable(new, QUIET_MS));
        for (uint32_t n = 0; n < 50;) {
                punt_wait(A, &punt);
                if (punt.frame[0] & 1) { /* what guests say to groups by themselves (MLD); the old copy is fenced */
                        assert_true(punt.reason == GW_PUNT_HOLD || punt.reason == GW_PUNT_FENCED);
                        continue;
                }
                assert_int_equal(punt.reason, GW_PUNT_WIRE_UNKNOWN);
                ok(gw_datapath_inject(A->dp, GW_INJECT_FROM_WIRE, punt.vni, punt.redirected, &punt.vnet, punt.frame,
                                      punt.size));
                assert_int_equal(receive_number(new), n++);
        }
        forward_set(A, vm->mac, GW_FORWARD_MOVED, 0, B->locator, 0);
        send_number(old[0], 50);
        assert_int_equal(receive_number(new), 50);
        close_pair(old);
        close(new);
}

/* A device without a queue of its own: frames are held in user space, in order, and released in order. */
static void hold_releases_in_order(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *vm, *there, *talker;
        struct gw_punt punt;
        int old[2], new, held = 0;

        vm = guest_add(w, A, 1, false, false);
        talker = guest_add(w, &w->hosts[2], 3, false, false);
        there = guest_arrive(w, vm, B, GW_PORT_HOLD);
        udp_pair(talker, vm, true, old);
        new = guest_socket(there, true, SOCK_DGRAM, false);
        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
        for (uint32_t i = 0; i < 500; i++)
                send_number(old[0], i);
        usleep(QUIET_MS * 1000);
        assert_false(readable(new, 0));
        while (punt_next(B, &punt)) {
                assert_int_equal(punt.reason, GW_PUNT_HOLD);
                assert_int_equal(punt.ifindex, there->ifindex);
                assert_true(punt.redirected);
                assert_true(gw_ip_eq(punt.sender, A->locator));
                ok(gw_datapath_inject(B->dp, GW_INJECT_DELIVER, punt.ifindex, false, &punt.vnet, punt.frame,
                                      punt.size));
                held += !(punt.frame[0] & 1); /* what guests say to groups by themselves (MLD) is held too */
        }
        assert_int_equal(held, 500);
        ok(gw_datapath_port_flags(B->dp, there->ifindex, 0, GW_PORT_HOLD | GW_PORT_ARRIVING));
        for (uint32_t i = 500; i < 600; i++)
                send_number(old[0], i);
        for (uint32_t i = 0; i < 600; i++)
                assert_int_equal(receive_number(new), i);
        close_pair(old);
        close(new);
}

/* The number in the next UDP frame that waits in a tap; group frames are passed over. */
static uint32_t tap_number(int tap) {
        static uint8_t frame[70000];
        uint32_t n = UINT32_MAX;
        ssize_t size;

        do {
                size = read(tap, frame, sizeof frame);
        } while (size > 10 && frame[10] & 1);
        if (size < 0)
                return UINT32_MAX;
        assert_int_equal(size, 10 + 14 + 20 + 8 + 4);
        memcpy(&n, frame + size - 4, 4);
        return n;
}

/* What waits in the old tap when the VM stops reaches the new tap, once and in order, followed by what is in flight. */
static void tap_is_drained(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *vm, *there, *talker;
        uint64_t n = 0;
        int from;

        vm = guest_add(w, A, 1, true, false);
        talker = guest_add(w, &w->hosts[2], 3, false, false);
        there = guest_arrive(w, vm, B, 0);
        from = guest_socket(talker, false, SOCK_DGRAM, false);
        guest_connect(from, vm, false);
        for (uint32_t i = 0; i < 300; i++)
                send_number(from, i);
        usleep(20000);
        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
        ok(gw_datapath_tap_drain(A->dp, vm->ifindex, vm->tap, GW_DRAIN_TURN_FRAMES, &n));
        assert_in_range(n, 300, 310); /* the rest: MLD */
        for (uint32_t i = 300; i < 400; i++)
                send_number(from, i);
        usleep(20000);
        for (uint32_t i = 0; i < 400; i++)
                assert_int_equal(tap_number(there->tap), i);
        assert_int_equal(tap_number(there->tap), UINT32_MAX);
        n = 0;
        ok(gw_datapath_tap_drain(A->dp, vm->ifindex, vm->tap, GW_DRAIN_TURN_FRAMES, &n));
        assert_int_equal(n, 0);
        close(from);
}

/* A queue that others fill meanwhile does not keep the daemon from all else: the rest comes with the next turn. */
static void tap_is_drained_in_turns(void **state) {
        enum { MORE = 100, QUEUE = GW_DRAIN_TURN_FRAMES + 2 * MORE };
        struct world *w = *state;
        struct host *A = &w->hosts[0];
        struct guest *vm = guest_add(w, A, 1, true, false);
        struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)vm->ifindex};
        uint8_t bytes[14] = {2, 0, 0, 0, 0, 9, 2, 0, 0, 0, 0, 8, 0x88, 0xb5};
        uint64_t n = 0;
        int fd, back;

        host_enter(A, &back);
        ok(gw_link_set_queue(vm->port, QUEUE));
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        for (int i = 0; i < GW_DRAIN_TURN_FRAMES + MORE; i++)
                assert_int_equal(sendto(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&to, sizeof to), sizeof bytes);
        ok(gw_netns_leave(back));
        ok(gw_datapath_cut(A->dp, vm->ifindex, w->hosts[1].locator, 2, false));
        ok(gw_datapath_tap_drain(A->dp, vm->ifindex, vm->tap, MORE, &n));
        assert_int_equal(n, MORE);
        ok(gw_datapath_tap_drain(A->dp, vm->ifindex, vm->tap, GW_DRAIN_TURN_FRAMES - MORE, &n));
        assert_int_equal(n, GW_DRAIN_TURN_FRAMES);
        ok(gw_datapath_tap_drain(A->dp, vm->ifindex, vm->tap, GW_DRAIN_TURN_FRAMES, &n));
        assert_in_range(n, GW_DRAIN_TURN_FRAMES + MORE, QUEUE);
        close(fd);
}

/* A daemon that restarts again and again under traffic. */
struct restarting {
        struct host *hosts;
        int times, failed;
};

static void *restart(void *user) {
        struct restarting *r = user;

        run_on(1);
        for (int i = 0; i < r->times && !r->failed; i++) {
                for (int h = 0; h < 2; h++) {
                        host_close(&r->hosts[h]);
                        usleep(10000);
                        r->failed |= host_try_open(&r->hosts[h], NULL);
                }
        }
        return NULL;
}

/* How many datagrams the kernel has thrown away because the socket was full. */
static uint32_t socket_drops(int fd) {
        uint32_t info[SK_MEMINFO_VARS] = {0};
        socklen_t size = sizeof info;

        ok(getsockopt(fd, SOL_SOCKET, SO_MEMINFO, info, &size));
        return info[SK_MEMINFO_DROPS];
}

/* The receiver reads all the while: what came while nobody read would fill its socket (16 MiB, 16,637 of these), and
 * that is no loss of ours. */
static void restart_loses_nothing(void **state) {
        struct world *w = *state;
        struct restarting r = {.hosts = w->hosts, .times = 4};
        struct gw_datapath_port port;
        struct guest *a, *b;
        pthread_t thread;
        uint32_t sent = 0, got = 0;
        int fds[2];

        a = guest_add(w, &w->hosts[0], 1, false, false);
        b = guest_add(w, &w->hosts[1], 2, false, false);
        udp_pair(a, b, true, fds);
        send_number(fds[0], sent++);
        assert_int_equal(receive_number(fds[1]), got++);
        ok(pthread_create(&thread, NULL, restart, &r));
        while (pthread_tryjoin_np(thread, NULL) == EBUSY) {
                for (int i = 0; i < 5; i++)
                        send_number(fds[0], sent++);
                usleep(1000);
                while (readable(fds[1], 0))
                        assert_int_equal(receive_number(fds[1]), got++);
        }
        assert_int_equal(r.failed, 0);
        send_number(fds[0], sent++);
        assert_true(sent > 500);
        assert_int_equal(socket_drops(fds[1]), 0);
        while (got < sent) {
                assert_int_equal(receive_number(fds[1]), got);
                got++;
        }
        ok(gw_datapath_port_get(w->hosts[0].dp, a->ifindex, &port));
        assert_int_equal(port.mtu, a->mtu);
        close_pair(fds);
}

static void second_daemon_is_refused(void **state) {
        struct world *w = *state;
        struct gw_datapath *second = NULL;
        struct gw_error error = {0};
        int back;

        host_enter(&w->hosts[0], &back);
        assert_int_equal(gw_datapath_open(&second, &w->hosts[0].config, &error), GW_E_CONFLICT);
        ok(gw_netns_leave(back));
        assert_non_null(strstr(error.text, "another godwit-nve"));
        assert_null(second);
}

static void remove_leaves_nothing(void **state) {
        struct world *w = *state;
        struct host *h = &w->hosts[0];
        char path[128];
        int back;

        (void)guest_add(w, h, 1, false, false);
        snprintf(path, sizeof path, "%s/gw_fdb", h->pins);
        ok(access(path, F_OK));
        w->whole = false;
        host_close(h);
        host_enter(h, &back);
        ok(gw_datapath_remove(&h->config));
        assert_int_equal(gw_link_index("gwvx0"), -ENODEV);
        assert_int_equal(gw_link_index("gwpunt0"), -ENODEV);
        ok(gw_datapath_remove(&h->config));
        ok(gw_netns_leave(back));
        assert_int_equal(access(path, F_OK), -1);
}

#define BY_DEVICE(test)                                                                                                \
        {#test " by the device", test, up_device_v4, down, NULL}, {                                                    \
#test " by the device over IPv6", test, up_device_v6, down, NULL                                       \
        }

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BOTH(known_guests_talk),
                BOTH(streams_pass_whole),
                BOTH(punted_streams_pass_whole),
                BOTH(first_packet_is_held),
                BOTH(cut_redirects),
                BOTH(group_frames_arrive_once),
                BOTH(the_queue_goes_before_what_comes_later),
                BOTH(hold_releases_in_order),
                BOTH(tap_is_drained),
                cmocka_unit_test_setup_teardown(tap_is_drained_in_turns, up_v6, down),
                BOTH(restart_loses_nothing),
                BOTH(second_daemon_is_refused),
                BOTH(remove_leaves_nothing),
                BY_DEVICE(known_guests_talk),
                BY_DEVICE(cut_redirects),
                BY_DEVICE(group_frames_arrive_once),
                BY_DEVICE(hold_releases_in_order),
                BY_DEVICE(tap_is_drained),
        };

        if (!worlds_begin(argc, argv))
                return 0;
        return cmocka_run_group_tests(tests, NULL, worlds_end);
}
