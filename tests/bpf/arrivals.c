/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decapsulation by the programs, between hosts: datagrams arrive as they were sent,
 * with checksums finished and unfinished, at veths and at taps, by the programs and
 * by the VXLAN device; the host's own stack gets none of what the programs take;
 * and the program is on the device that holds the locator, beside others' filters.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/pkt_cls.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/netlink.h"
#include "streams.h"
#include "worlds.h"

#define ok(expression) assert_int_equal(expression, 0)

enum { ETH = 14, UDP_HEADER = 8, STEP = 53, BURST = 200 };

/* A shell command in a host's namespace. */
static int in(const struct host *h, const char *command) {
        char line[400];

        snprintf(line, sizeof line, "nsenter --net=/run/netns/%s sh -c '%s' >/dev/null 2>&1", h->ns, command);
        return system(line); /* NOLINT(cert-env33-c): fixed commands */
}

static bool program_on(const struct host *h, const char *device) {
        char command[100];

        snprintf(command, sizeof command, "tc filter show dev %s ingress | grep -q from_underlay", device);
        return !in(h, command);
}

/* The number that follows `key`, in that format, in a file of the host's /proc/net. */
static unsigned long long number(const struct host *h, const char *file, const char *key, const char *format) {
        unsigned long long n = 0;
        char line[512], path[64];
        bool found = false;
        int back;
        FILE *f;

        host_enter(h, &back);
        snprintf(path, sizeof path, "/proc/thread-self/net/%s", file);
        f = fopen(path, "re");
        assert_non_null(f);
        while (!found && fgets(line, sizeof line, f)) {
                const char *at = strstr(line, key);
                found = at && sscanf(at + strlen(key), format, &n) == 1;
        }
        fclose(f);
        ok(gw_netns_leave(back));
        assert_true(found);
        return n;
}
static unsigned long long device_received(const struct host *h) {
        return number(h, "dev", "gwvx0:", " %*u %llu");
}

static uint8_t octet_of(size_t size, size_t at) {
        return (uint8_t)(size * 5 + at * 3);
}

static void send_sized(int fd, size_t size) {
        uint8_t octets[2000];

        for (size_t i = 0; i < size; i++)
                octets[i] = octet_of(size, i);
        assert_int_equal(send(fd, octets, size, 0), size);
}

static void check_octets(const uint8_t *octets, size_t size) {
        for (size_t i = 0; i < size; i++)
                assert_int_equal(octets[i], octet_of(size, i));
}

static uint32_t sum_of(const uint8_t *at, size_t size) {
        uint32_t sum = 0;

        for (size_t i = 0; i < size; i++)
                sum += i & 1 ? at[i] : (uint32_t)at[i] << 8;
        return sum;
}
static uint16_t fold(uint32_t sum) {
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
}

/* As a VM would: finishes the checksum if the header asks for it, then it must be right. */
static void check_frame(const struct virtio_net_hdr *vnet, uint8_t *frame, size_t size, bool v6, size_t payload) {
        size_t ip = v6 ? 40 : 20, udp = ETH + ip;
        const uint8_t *addresses = frame + ETH + (v6 ? 8 : 12);

        assert_int_equal(size, udp + UDP_HEADER + payload);
        assert_int_equal(vnet->gso_type, VIRTIO_NET_HDR_GSO_NONE);
        if (!v6)
                assert_int_equal(fold(sum_of(frame + ETH, ip)), 0xffff);
        if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) {
                assert_int_equal(vnet->csum_start, udp);
                assert_int_equal(vnet->csum_offset, 6);
                uint16_t sum = (uint16_t)~fold(sum_of(frame + udp, size - udp));
                frame[udp + 6] = (uint8_t)(sum >> 8);
                frame[udp + 7] = (uint8_t)sum;
        }
        assert_int_equal(
                fold(sum_of(addresses, v6 ? 32 : 8) + 17 + (uint32_t)(size - udp) + sum_of(frame + udp, size - udp)),
                0xffff);
        check_octets(frame + udp + UDP_HEADER, payload);
}

static void tap_take(const struct guest *g, bool v6, size_t payload) {
        static uint8_t buffer[70000];
        struct virtio_net_hdr vnet;
        ssize_t got;

        do {
                assert_true(readable(g->tap, SOON_MS));
                got = read(g->tap, buffer, sizeof buffer);
                assert_true(got > (ssize_t)sizeof vnet);
        } while (buffer[sizeof vnet] & 1);
        memcpy(&vnet, buffer, sizeof vnet);
        check_frame(&vnet, buffer + sizeof vnet, (size_t)got - sizeof vnet, v6, payload);
}

static void socket_take(int fd, size_t payload) {
        uint8_t octets[2000];

        assert_true(readable(fd, SOON_MS));
        assert_int_equal(recv(fd, octets, sizeof octets, 0), payload);
        check_octets(octets, payload);
}

/* Of all sizes, and then many without a wait, which must stay in order. */
static void datagrams(const struct guest *from, const struct guest *to, bool v6) {
        size_t most = from->mtu - (v6 ? 48 : 28);
        int out = guest_socket(from, v6, SOCK_DGRAM, false);
        int receiver = to->tap < 0 ? guest_socket(to, v6, SOCK_DGRAM, false) : -1;

        guest_connect(out, to, v6);
        for (size_t size = 1; size <= most; size = size + STEP > most && size < most ? most : size + STEP) {
                send_sized(out, size);
                to->tap < 0 ? socket_take(receiver, size) : tap_take(to, v6, size);
        }
        for (size_t i = 1; i <= BURST; i++)
                send_sized(out, i);
        for (size_t i = 1; i <= BURST; i++)
                to->tap < 0 ? socket_take(receiver, i) : tap_take(to, v6, i);
        close(out);
        if (receiver >= 0)
                close(receiver);
}

static void arrive_both_ways(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0], *B = &w->hosts[1];
        struct guest *a = guest_add(w, A, 1, false, false), *to[2];
        unsigned long long before;

        w->whole = false;
        to[0] = guest_add(w, B, 2, false, false);
        to[1] = guest_add(w, B, 3, true, false);
        for (int by_device = 0; by_device < 2; by_device++) {
                if (by_device) {
                        assert_true(program_on(B, "u0"));
                        ok(in(B, "tc filter del dev u0 ingress"));
                }
                for (int i = 0; i < 8; i++) {
                        bool v6 = i & 1;
                        ok(in(A, i & 2 ? "ethtool -K u0 tx off" : "ethtool -K u0 tx on"));
                        before = device_received(B);
                        datagrams(a, to[i >> 2], v6);
                        before = device_received(B) - before;
                        if (by_device)
                                assert_true(before >= BURST);
                        else if (v6 == w->v6 || before < BURST) /* Linux before 6.3 leaves the other family to it */
                                assert_in_range(before, 0, 20); /* what guests say to groups, ARP */
                }
        }
        assert_int_equal(number(B, "snmp6", "Udp6NoPorts", " %llu"), 0);
        assert_int_equal(number(B, "snmp6", "Udp6InErrors", " %llu"), 0);
        for (int i = 0; i < GW_COUNT_MAX; i++) {
                if (!strncmp(gw_counter_name((enum gw_counter)i), "drop", 4) && counter(B, (enum gw_counter)i))
                        fail_msg("%s", gw_counter_name((enum gw_counter)i));
        }
}

/* As the daemon's loop would. */
static void upkeep(struct host *h) {
        struct gw_punt punt;

        if (readable(gw_datapath_punt_fd(h->dp), 20))
                while (!gw_datapath_punt_read(h->dp, &punt))
                        ;
}

static void wait_program_on(struct host *h, const char *device) {
        for (int i = 0; i < 200 && !program_on(h, device); i++)
                upkeep(h);
        assert_true(program_on(h, device));
}

static void the_program_follows_the_locator(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0];
        uint8_t bits = w->v6 ? 64 : 24;
        int back;

        w->whole = false;
        assert_true(program_on(A, "u0"));
        host_enter(A, &back);
        ok(gw_veth_add("w0", "w1", -1));
        ok(gw_link_up("w1"));
        ok(gw_link_up("w0"));
        ok(gw_addr_del("u0", A->locator, bits));
        ok(gw_addr_add("w0", A->locator, bits));
        ok(gw_netns_leave(back));
        wait_program_on(A, "w0");
        assert_false(program_on(A, "u0"));
        host_close(A);
        assert_true(program_on(A, "w0"));
        host_enter(A, &back);
        ok(gw_link_delete("w0"));
        ok(gw_addr_add("u0", A->locator, bits));
        ok(gw_netns_leave(back));
        host_open(A);
        assert_true(program_on(A, "u0"));
}

/* One that lets everything pass, where ours would be by habit: first. */
static int other_filter(int ifindex) {
        const struct bpf_insn pass[] = {
                {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = TC_ACT_UNSPEC},
                {.code = BPF_JMP | BPF_EXIT}};
        struct bpf_tc_hook hook = {.sz = sizeof hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
        struct bpf_tc_opts opts = {.sz = sizeof opts, .handle = 1, .priority = 1};
        int r;

        opts.prog_fd = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "another", "GPL", pass, 2, NULL);
        assert_true(opts.prog_fd >= 0);
        r = bpf_tc_attach(&hook, &opts);
        close(opts.prog_fd);
        return r;
}

static void others_filters_stay(void **state) {
        struct world *w = *state;
        struct host *A = &w->hosts[0];
        struct guest *a = guest_add(w, A, 1, false, false), *b = guest_add(w, &w->hosts[1], 2, false, false);
        int back;

        w->whole = false;
        host_enter(A, &back);
        ok(other_filter(gw_link_index("u0")));
        ok(gw_netns_leave(back));
        host_close(A);
        host_open(A);
        datagrams(b, a, w->v6);
        ok(in(A, "tc filter show dev u0 ingress pref 1 | grep -q another"));
        host_close(A);
        host_enter(A, &back);
        ok(gw_datapath_remove(&A->config));
        ok(gw_netns_leave(back));
        assert_false(program_on(A, "u0"));
        ok(in(A, "tc filter show dev u0 ingress pref 1 | grep -q another"));
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {
                BOTH(arrive_both_ways),
                BOTH(the_program_follows_the_locator),
                BOTH(others_filters_stay),
        };

        if (!worlds_begin(argc, argv))
                return 0;
        return cmocka_run_group_tests(tests, NULL, worlds_end);
}
