/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What ARP and ND cost at the edge, for bench/arp.py: writes one JSON object to the file that is named.
 *
 *   ns_per_answer.KIND    the program's own time for a question that it answers, from the kernel's statistics of
 *                         BPF_PROG_TEST_RUN, one run for each frame (an answer overwrites its question)
 *   answers_per_s.KIND    over a real port: one sender in a guest's namespace (a veth), answers counted by the host
 *   answer_us.KIND.pNN    one question at a time, from sending it to reading the answer in the guest
 *
 * 1,000 neighbours are known, and each question is for the next one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "../bpf/frames.h"
#include "../bpf/world.h"
#include "base/time.h"
#include "datapath/godwit.skel.h"
#include "io/netlink.h"

enum { NEIGHBOURS = 1000, TEST_RUNS = 4000, BATCH = 64, BLAST_MS = 2000, PINGS = 5000, VNI = 77 };

static FILE *figures;
static const char *comma = "";

static void figure(const char *name, const char *kind, const char *tail, double value) {
        fprintf(figures, "%s\"%s.%s%s\": %.1f", comma, name, kind, tail, value);
        comma = ", ";
}

/* ---- frames ---- */

static void set_v4_target(struct frame *f, unsigned n) {
        f->b[40] = (uint8_t)(n >> 8);
        f->b[41] = (uint8_t)n;
}
static void set_v6_target(struct frame *f, unsigned n) {
        f->b[76] = (uint8_t)(n >> 8);
        f->b[77] = (uint8_t)n;
}

struct kind {
        const char *name;
        void (*target)(struct frame *f, unsigned n);
        struct frame frame;
        uint32_t ethertype;
};

/* From 10.1.0.1 and fd01::1 to neighbours 10.1.x.y and fd01::x:y, numbered from 256. */
static void kinds_make(struct kind kinds[2]) {
        kinds[0] = (struct kind){.name = "arp", .target = set_v4_target, .ethertype = ETH_P_ARP};
        arp(&kinds[0].frame, mac_of(-1), 1, mac_of(1), "10.1.0.1", "10.1.1.0");
        kinds[1] = (struct kind){.name = "nd", .target = set_v6_target, .ethertype = ETH_P_IPV6};
        nd(&kinds[1].frame, (struct gw_mac){{0x33, 0x33, 0xff, 0, 0, 1}}, mac_of(1), "fd01::1", "ff02::1:ff00:1", 135,
           "fd01::100", 1, mac_of(1));
}

static struct gw_ip neighbour(bool v6, unsigned n) {
        struct gw_ip ip = ip_of(v6 ? "fd01::100" : "10.1.1.0");

        ip.b[14] = (uint8_t)(n >> 8);
        ip.b[15] = (uint8_t)n;
        return ip;
}

/* ---- by test-run ---- */

static struct godwit_bpf *bpf;

static void put(struct bpf_map *map, const void *key, const void *value) {
        assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

static void port_put(uint32_t ifindex, int vm, uint32_t flags) {
        struct gw_abi_port port = {.vni = VNI, .mtu = 1450, .flags = flags};

        memcpy(port.mac, mac_of(vm).b, 6);
        port.own4[0] = inet_addr("10.1.0.1");
        memcpy(port.own6[0], ip_of("fd01::1").b, 16);
        put(bpf->maps.gw_ports, &ifindex, &port);
}

static void program_fill(void) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_abi_mac_key mac = {.vni = VNI};
        struct gw_abi_forward local = {.kind = GW_FORWARD_LOCAL, .ifindex = 3};
        struct gw_abi_neigh owner = {.mac = {2, 0, 0, 0, 1, 2}};
        uint32_t zero = 0;

        put(bpf->maps.gw_config, &zero, &config);
        port_put(1, 1, 0);
        port_put(3, 3, 0);
        memcpy(mac.mac, mac_of(3).b, 6);
        put(bpf->maps.gw_fdb, &mac, &local);
        for (int v6 = 0; v6 < 2; v6++) {
                struct gw_abi_ip_key key = {.id = VNI};

                for (unsigned n = 256; n < 256 + NEIGHBOURS; n++) {
                        struct gw_ip ip = neighbour(v6, n);

                        memcpy(key.ip, ip.b, 16);
                        put(bpf->maps.gw_neigh, &key, &owner);
                }
        }
}

static double program_ns(struct kind *kind) {
        struct bpf_prog_info before = {0}, after = {0};
        uint32_t size = sizeof before;
        int fd = bpf_program__fd(bpf->progs.from_guest);
        uint8_t out[FRAME_MAX];

        assert_int_equal(bpf_obj_get_info_by_fd(fd, &before, &size), 0);
        for (unsigned i = 0; i < TEST_RUNS; i++) {
                struct __sk_buff context = {.ifindex = 1};
                LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = kind->frame.b,
                            .data_size_in = (uint32_t)kind->frame.size, .data_out = out, .data_size_out = sizeof out,
                            .ctx_in = &context, .ctx_size_in = sizeof context);

                kind->target(&kind->frame, 256 + i % NEIGHBOURS);
                assert_int_equal(bpf_prog_test_run_opts(fd, &opts), 0);
                assert_int_equal(opts.retval, 7); /* TC_ACT_REDIRECT: answered */
        }
        size = sizeof after;
        assert_int_equal(bpf_obj_get_info_by_fd(fd, &after, &size), 0);
        return (double)(after.run_time_ns - before.run_time_ns) / (double)(after.run_cnt - before.run_cnt);
}

static int by_value(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static void by_test_run(struct kind kinds[2]) {
        struct bpf_map *map;
        int stats;

        bpf = godwit_bpf__open();
        assert_non_null(bpf);
        bpf_object__for_each_map(map, bpf->obj) bpf_map__set_pin_path(map, NULL);
        assert_int_equal(godwit_bpf__load(bpf), 0);
        program_fill();
        stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
        assert_true(stats >= 0);
        for (int k = 0; k < 2; k++)
                figure("ns_per_answer", kinds[k].name, "", program_ns(&kinds[k]));
        close(stats);
        godwit_bpf__destroy(bpf);
}

/* ---- over a port ---- */

static int port_socket(const struct guest *g, uint32_t ethertype) {
        struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons((uint16_t)ethertype)};
        int back, fd;

        assert_int_equal(gw_netns_enter_fd(g->netns, &back), 0);
        at.sll_ifindex = (int)if_nametoindex("eth0");
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        assert_int_equal(gw_netns_leave(back), 0);
        assert_true(fd >= 0 && at.sll_ifindex);
        assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
        return fd;
}

static void blast(struct host *h, const struct guest *g, struct kind *kind) {
        enum gw_counter which = kind->ethertype == ETH_P_ARP ? GW_COUNT_ARP_ANSWERED : GW_COUNT_ND_ANSWERED;
        static struct frame frames[BATCH];
        struct mmsghdr messages[BATCH] = {0};
        struct iovec parts[BATCH];
        int fd = port_socket(g, 0xffff); /* reads nothing */
        uint64_t began = gw_mono_now().ns, answered = counter(h, which), ns;
        unsigned n = 0;

        for (int i = 0; i < BATCH; i++) {
                frames[i] = kind->frame;
                parts[i] = (struct iovec){frames[i].b, frames[i].size};
                messages[i].msg_hdr = (struct msghdr){.msg_iov = &parts[i], .msg_iovlen = 1};
        }
        do {
                for (int i = 0; i < BATCH; i++)
                        kind->target(&frames[i], 256 + n++ % NEIGHBOURS);
                (void)sendmmsg(fd, messages, BATCH, 0);
                ns = gw_mono_now().ns - began;
        } while (ns < BLAST_MS * GW_NS_PER_MS);
        answered = counter(h, which) - answered;
        figure("answers_per_s", kind->name, "", (double)answered * 1e9 / (double)ns);
        close(fd);
}

static bool is_answer(const uint8_t *frame, ssize_t size, const struct kind *kind) {
        return kind->ethertype == ETH_P_ARP ? size >= 42 && frame[21] == 2 : size >= 86 && frame[54] == 136;
}

static void ping(const struct guest *g, struct kind *kind) {
        static double us[PINGS];
        int fd = port_socket(g, kind->ethertype), n = 0;

        while (n < PINGS) {
                uint8_t frame[256];
                uint64_t began = gw_mono_now().ns;
                ssize_t size = 0;

                kind->target(&kind->frame, 256 + (unsigned)n % NEIGHBOURS);
                assert_true(send(fd, kind->frame.b, kind->frame.size, 0) > 0);
                do
                        size = readable(fd, 1000) ? recv(fd, frame, sizeof frame, 0) : -1;
                while (size > 0 && !is_answer(frame, size, kind));
                assert_true(size > 0);
                us[n++] = (double)(gw_mono_now().ns - began) / 1000;
        }
        qsort(us, PINGS, sizeof *us, by_value);
        figure("answer_us", kind->name, ".p50", us[PINGS / 2]);
        figure("answer_us", kind->name, ".p99", us[PINGS * 99 / 100]);
        close(fd);
}

static void over_a_port(struct kind kinds[2]) {
        static struct world world;
        const struct guest *g;
        struct host *h = &world.hosts[0];

        world_up(&world, false);
        g = guest_add(&world, h, 1, false, false);
        for (unsigned n = 256; n < 256 + NEIGHBOURS; n++)
                for (int v6 = 0; v6 < 2; v6++)
                        assert_int_equal(gw_datapath_neigh_set(h->dp, WORLD_VNI, neighbour(v6, n), mac_of(2), 0), 0);
        for (int k = 0; k < 2; k++) {
                blast(h, g, &kinds[k]);
                ping(g, &kinds[k]);
        }
        world_down(&world);
}

/* The world's checks end a test, so there must be one. */
static void measure(void **state) {
        struct kind kinds[2];

        (void)state;
        kinds_make(kinds);
        by_test_run(kinds);
        over_a_port(kinds);
}

int main(int argc, char **argv) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(measure)};
        int failed;

        figures = argc == 2 ? fopen(argv[1], "w") : NULL;
        if (!figures) {
                fprintf(stderr, "arp_load FILE\n");
                return 2;
        }
        fprintf(figures, "{");
        failed = cmocka_run_group_tests_name("load", tests, NULL, NULL);
        fprintf(figures, "}\n");
        return fclose(figures) || failed;
}
