/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encapsulation by the programs, between hosts: that it is used, that offloaded
 * frames survive it whatever the underlay's device can do, that the next hop is
 * what the kernel says now, and that without one the VXLAN device takes over. The
 * headers themselves are looked at in headers.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frames.h"
#include "io/netlink.h"
#include "streams.h"
#include "worlds.h"

#define ok(expression) assert_int_equal(expression, 0)

enum { STREAM_OCTETS = 16 << 20, SETTLED_WITHIN_MS = 6000 };

/* Packets that the VXLAN device was given to send. */
static unsigned long long device_sent(const struct host *h) {
        unsigned long long packets = 0;
        char line[512];
        bool found = false;
        FILE *f;
        int back;

        host_enter(h, &back);
        f = fopen("/proc/thread-self/net/dev", "re");
        assert_non_null(f);
        while (fgets(line, sizeof line, f))
                found |= sscanf(line, " gwvx0: %*u %*u %*u %*u %*u %*u %*u %*u %*u %llu", &packets) == 1;
        fclose(f);
        ok(gw_netns_leave(back));
        assert_true(found);
        return packets;
}

static int map_of(const struct host *h, const char *name) {
        char path[128];
        int fd;

        snprintf(path, sizeof path, "%s/%s", h->pins, name);
        fd = bpf_obj_get(path);
        assert_true(fd >= 0);
        return fd;
}

static struct gw_abi_next_hop next_hop(const struct host *h, struct gw_ip locator) {
        struct gw_abi_next_hop hop = {0};
        int fd = map_of(h, "gw_next_hop");

        ok(bpf_map_lookup_elem(fd, locator.b, &hop));
        close(fd);
        return hop;
}

static uint64_t direct_until(const struct host *h) {
        struct gw_abi_config config = {0};
        uint32_t zero = 0;
        int fd = map_of(h, "gw_config");

        ok(bpf_map_lookup_elem(fd, &zero, &config));
        close(fd);
        return config.direct_until_ns;
}

/* As the daemon's loop would. */
static void upkeep(struct host *h, int within_ms) {
        struct gw_punt punt;

        if (readable(gw_datapath_punt_fd(h->dp), within_ms))
                while (!gw_datapath_punt_read(h->dp, &punt))
                        ;
}

static void one_datagram(const struct guest *from, const struct guest *to, bool v6, uint32_t number) {
        int out = guest_socket(from, v6, SOCK_DGRAM, false), in = guest_socket(to, v6, SOCK_DGRAM, false);
        uint32_t got = 0;

        guest_connect(out, to, v6);
        assert_int_equal(send(out, &number, sizeof number, 0), sizeof number);
        assert_true(readable(in, SOON_MS));
        assert_int_equal(recv(in, &got, sizeof got, 0), sizeof got);
        assert_int_equal(got, number);
        close(out);
        close(in);
}

static void the_device_is_passed_by(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *a = guest_add(w, A, 1, false, false), *b = guest_add(w, B, 2, false, false);
        struct gw_abi_next_hop hop, none = {0};
        unsigned long long before;
        int fd;

        hop = next_hop(A, B->locator);
        assert_int_equal(hop.family, w->v6 ? AF_INET6 : AF_INET);
        for (int v6 = 0; v6 < 2; v6++) {
                upkeep(A, 0); /* or its next hops lapse, where streams take long */
                before = device_sent(A);
                stream_run(a, b, v6, STREAM_OCTETS, NULL, NULL);
                assert_in_range(device_sent(A) - before, 0, 40); /* what guests say to groups */
        }
        fd = map_of(A, "gw_next_hop");
        ok(bpf_map_update_elem(fd, B->locator.b, &none, BPF_ANY));
        for (int v6 = 0; v6 < 2; v6++) {
                before = device_sent(A);
                stream_run(a, b, v6, STREAM_OCTETS, NULL, NULL);
                assert_true(device_sent(A) - before > 200);
        }
        ok(bpf_map_update_elem(fd, B->locator.b, &hop, BPF_ANY));
        close(fd);
}

static void offloads_off(const struct host *h) {
        char command[256];

        snprintf(command, sizeof command,
                 "nsenter --net=/run/netns/%s ethtool -K u0 tso off gso off tx off tx-udp_tnl-segmentation off "
                 "tx-udp_tnl-csum-segmentation off 2>/dev/null >&2",
                 h->ns);
        ok(system(command)); /* NOLINT(cert-env33-c): a fixed command */
}

/* From host to host, and by way of a third one that sends them on: received frames, merged by GRO, go out again. */
static void streams_pass_whole(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1], *C = &w->hosts[2];
        struct guest *vm = guest_add(w, A, 1, false, false), *talker = guest_add(w, C, 3, false, false);
        struct guest *there = guest_arrive(w, vm, B, 0);

        w->whole = false;
        for (int simple = 0; simple < 2; simple++) {
                if (simple)
                        for (int i = 0; i < WORLD_HOSTS; i++)
                                offloads_off(&w->hosts[i]);
                for (int v6 = 0; v6 < 2; v6++) {
                        forward_set(A, vm->mac, GW_FORWARD_LOCAL, vm->ifindex, A->locator, 0);
                        ok(gw_datapath_port_flags(A->dp, vm->ifindex, 0, GW_PORT_MOVED));
                        stream_run(talker, vm, v6, STREAM_OCTETS, NULL, NULL);
                        stream_run(vm, talker, v6, STREAM_OCTETS, NULL, NULL);
                        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
                        stream_run(talker, there, v6, STREAM_OCTETS, NULL, NULL);
                }
        }
        assert_true(counter(A, GW_COUNT_REDIRECTED) > 100);
}

static bool goes_via(struct host *h, struct gw_ip locator, struct gw_ip via) {
        struct gw_abi_next_hop hop = next_hop(h, locator);

        return hop.ifindex && !memcmp(hop.ip, via.b + (gw_ip_is_v4(via) ? 12 : 0), gw_ip_is_v4(via) ? 4 : 16);
}

static void wait_via(struct host *h, struct gw_ip locator, struct gw_ip via) {
        for (int i = 0; i < 100 && !goes_via(h, locator, via); i++)
                upkeep(h, 20);
        assert_true(goes_via(h, locator, via));
}

/* What the kernel sends to a neighbour by itself it drops when the frame within is for a group. */
static void group_frames_that_were_queued_follow(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *vm = guest_add(w, A, 1, true, false), *there = guest_arrive(w, vm, B, 0);
        static const struct gw_mac group6 = {{0x33, 0x33, 0, 0, 0, 1}};
        struct virtio_net_hdr vnet = {0};
        uint8_t got[2048];

        ok(gw_datapath_cut(A->dp, vm->ifindex, B->locator, 2, false));
        wait_via(A, B->locator, B->locator);
        for (int v6 = 0; v6 < 2; v6++) {
                struct frame f;

                if (v6)
                        ipv6(&f, group6, mac_of(9), "fd01::9", "ff02::1", 17, 100);
                else
                        ipv4(&f, mac_of(-1), mac_of(9), "10.1.0.9", "10.1.0.255", 17, 100);
                ok(gw_datapath_inject(A->dp, GW_INJECT_DRAIN, vm->ifindex, false, &vnet, f.b, f.size));
                assert_true(readable(there->tap, SOON_MS));
                assert_int_equal(read(there->tap, got, sizeof got), sizeof vnet + f.size);
                assert_memory_equal(got + sizeof vnet, f.b, f.size);
        }
}

static void next_hops_follow_routes(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1], *C = &w->hosts[2];
        struct guest *a = guest_add(w, A, 1, false, false), *b = guest_add(w, B, 2, false, false);
        struct gw_prefix to = {B->locator, 128};
        struct gw_ip router;
        char command[256];
        int back;

        w->whole = false;
        wait_via(A, B->locator, B->locator);
        host_enter(C, &back);
        ok(gw_sysctl_write("net/ipv4/ip_forward", "1"));
        ok(gw_sysctl_write("net/ipv6/conf/all/forwarding", "1"));
        ok(gw_ip_parse("fe80::3", &router));
        ok(gw_addr_add("u0", router,
                       64)); /* without one a router asks nobody for whom it forwards to (RFC 4861 6.2.1) */
        ok(gw_netns_leave(back));
        host_enter(A, &back);
        ok(gw_route_add(&to, &C->locator, "u0"));
        ok(gw_netns_leave(back));
        wait_via(A, B->locator, C->locator);
        one_datagram(a, b, false, 1);
        one_datagram(a, b, true, 2);
        host_enter(A, &back);
        ok(gw_route_del(&to, &C->locator, "u0"));
        ok(gw_netns_leave(back));
        wait_via(A, B->locator, B->locator);

        /* Two paths: which one a flow takes is the kernel's to say. */
        snprintf(command, sizeof command, "ip -n %s route add %s/%d nexthop via %s dev u0 nexthop via %s dev u0", A->ns,
                 w->v6 ? "fd99::2" : "10.99.0.2", w->v6 ? 128 : 32, w->v6 ? "fd99::3" : "10.99.0.3",
                 w->v6 ? "fd99::4" : "10.99.0.4");
        ok(system(command)); /* NOLINT(cert-env33-c): a fixed command */
        for (int i = 0; i < 100 && next_hop(A, B->locator).ifindex; i++)
                upkeep(A, 20);
        assert_int_equal(next_hop(A, B->locator).ifindex, 0);
}

/* Frames that we send to a neighbour by ourselves would pass IPsec by. */
static void ipsec_is_not_passed_by(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0];
        char command[256];

        w->whole = false;
        assert_true(direct_until(A) > 0);
        snprintf(command, sizeof command, "ip -n %s xfrm policy add dir out src %s dst %s action block 2>/dev/null",
                 A->ns, w->v6 ? "fd99::1/128" : "10.99.0.1/32", w->v6 ? "fd99::77/128" : "10.99.0.77/32");
        if (system(command)) { /* NOLINT(cert-env33-c): a fixed command */
                print_message("this kernel has no IPsec\n");
                skip();
        }
        for (int i = 0; i < 300 && direct_until(A); i++)
                upkeep(A, 20);
        assert_int_equal(direct_until(A), 0);
}

/* A restart of the daemon adopts what was known, and a hold's end gives the short way back. */
static void the_short_way_returns_after_a_hold(void **state) {
        struct world *w = *state;
        struct host *B = &w->hosts[1];
        struct guest *vm = guest_add(w, &w->hosts[0], 1, false, false), *there = guest_arrive(w, vm, B, GW_PORT_HOLD);
        struct gw_datapath_port port;

        ok(gw_datapath_port_get(w->hosts[0].dp, vm->ifindex, &port));
        assert_true(port.flags & GW_PORT_PEER);
        upkeep(B, SETTLED_WITHIN_MS);
        upkeep(B, SETTLED_WITHIN_MS);
        ok(gw_datapath_port_get(B->dp, there->ifindex, &port));
        assert_false(port.flags & GW_PORT_PEER);
        ok(gw_datapath_port_flags(B->dp, there->ifindex, 0, GW_PORT_HOLD | GW_PORT_ARRIVING));
        ok(gw_datapath_port_get(B->dp, there->ifindex, &port));
        assert_false(port.flags & GW_PORT_PEER);
        for (int i = 0; i < SETTLED_WITHIN_MS / 20 && !(port.flags & GW_PORT_PEER); i++) {
                upkeep(B, 20);
                ok(gw_datapath_port_get(B->dp, there->ifindex, &port));
        }
        assert_true(port.flags & GW_PORT_PEER);
        ok(gw_datapath_port_flags(B->dp, there->ifindex, GW_PORT_HOLD, 0));
        ok(gw_datapath_port_get(B->dp, there->ifindex, &port));
        assert_false(port.flags & GW_PORT_PEER);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BOTH(the_device_is_passed_by),
                BOTH(group_frames_that_were_queued_follow),
                BOTH(streams_pass_whole),
                BOTH(next_hops_follow_routes),
                BOTH(ipsec_is_not_passed_by),
                cmocka_unit_test_setup_teardown(the_short_way_returns_after_a_hold, up_v4, down),
        };

        if (!worlds_begin(argc, argv))
                return 0;
        return cmocka_run_group_tests(tests, NULL, worlds_end);
}
