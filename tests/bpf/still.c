/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames for a VM that stands still, where its VN does not let them wait: they go
 * up as far as the port's limit lets, the rest is dropped under its own name, and
 * nothing but what user space injects enters the device. Both families.
 *
 * The world: VM 1 on port 1 sends, VM 2 on port 2 stands still.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/datapath.h"
#include "datapath/godwit.skel.h"
#include "frames.h"

enum { VNI = 77, MTU = 1450, NONE = 0xffff, UDP = 17, BURST = 4 };

static struct godwit_bpf *bpf;
static uint8_t out[FRAME_MAX + 256];

static void put(struct bpf_map *map, const void *key, const void *value) {
        assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

static void port_put(uint32_t n, uint32_t flags) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = GW_PORT_TRUSTED | flags};
        struct gw_abi_forward forward = {.kind = GW_FORWARD_LOCAL, .ifindex = n, .epoch = 1};
        struct gw_abi_mac_key key = {.vni = VNI};
        struct gw_mac mac = mac_of((int)n);

        value.limits[GW_LIMIT_MISSES] = (struct gw_abi_limit){.per_s = 1, .burst = BURST};
        memcpy(value.mac, mac.b, 6);
        memcpy(key.mac, mac.b, 6);
        put(bpf->maps.gw_ports, &n, &value);
        put(bpf->maps.gw_fdb, &key, &forward);
}

static int load(void **state) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_abi_flood flood = {.n_ports = 2, .ports = {1, 2}};
        uint32_t zero = 0, vni = VNI;
        struct bpf_map *map;

        (void)state;
        bpf = godwit_bpf__open();
        assert_non_null(bpf);
        bpf_object__for_each_map(map, bpf->obj) bpf_map__set_pin_path(map, NULL);
        bpf->rodata->gw_test = 1;
        assert_int_equal(godwit_bpf__load(bpf), 0);
        memcpy(config.locator, ip_of("192.0.2.1").b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        put(bpf->maps.gw_flood, &vni, &flood);
        port_put(1, 0);
        return 0;
}

static int unload(void **state) {
        (void)state;
        godwit_bpf__destroy(bpf);
        return 0;
}

static void run(struct bpf_program *program, const struct frame *f, uint32_t mark) {
        struct __sk_buff context = {.ifindex = 1, .mark = mark};
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);

        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NONE, .punt = NONE};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &opts), 0);
}

static uint64_t counted(enum gw_counter counter) {
        int cpus = libbpf_num_possible_cpus();
        uint32_t key = counter;
        uint64_t each[256], sum = 0;

        assert_true(cpus > 0 && cpus <= 256);
        assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(bpf->maps.gw_counters), &key, each), 0);
        for (int i = 0; i < cpus; i++)
                sum += each[i];
        return sum;
}

static void for_it(struct frame *f, bool v6) {
        if (v6)
                ipv6(f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", UDP, 40);
        else
                ipv4(f, mac_of(2), mac_of(1), "10.1.0.1", "10.1.0.2", UDP, 40);
}

static void up_to_its_limit(void **state) {
        struct frame f;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                port_put(2, GW_PORT_STILL);
                for_it(&f, v6);
                for (int i = 0; i < BURST; i++) {
                        run(bpf->progs.from_guest, &f, 0);
                        assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_PUNTED);
                        assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_HOLD);
                }
                run(bpf->progs.from_guest, &f, 0);
                assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_DROP_ABSENT);
                run(bpf->progs.from_host, &f, GW_MARK_DOWN | GW_INJECT_DELIVER << 24 | 2);
                assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_DELIVERED);
                port_put(2, 0);
                run(bpf->progs.from_guest, &f, 0);
                assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_LOCAL);
        }
}

/* A hold for the moment of a move goes before it: nothing is lost then. */
static void a_hold_comes_first(void **state) {
        struct frame f;

        (void)state;
        port_put(2, GW_PORT_STILL | GW_PORT_HOLD);
        for_it(&f, false);
        for (int i = 0; i < 2 * BURST; i++) {
                run(bpf->progs.from_guest, &f, 0);
                assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_HOLD);
        }
}

static void group_frames(void **state) {
        uint64_t before = counted(GW_COUNT_DROP_ABSENT);
        struct frame f;

        (void)state;
        port_put(2, GW_PORT_STILL);
        ipv4(&f, mac_of(-1), mac_of(1), "10.1.0.1", "10.1.0.255", UDP, 40);
        run(bpf->progs.from_guest, &f, 0);
        assert_int_equal(counted(GW_COUNT_DROP_ABSENT), before + 1);
        port_put(2, GW_PORT_STILL | GW_PORT_MOVED); /* sent on, as for every VM that moved */
        run(bpf->progs.from_guest, &f, 0);
        assert_int_equal(counted(GW_COUNT_DROP_ABSENT), before + 1);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(up_to_its_limit),
                cmocka_unit_test(a_hold_comes_first),
                cmocka_unit_test(group_frames),
        };

        if (geteuid() != 0) {
                printf("1..0 # SKIP needs root\n");
                return 0;
        }
        return cmocka_run_group_tests(tests, load, unload);
}
