/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group frames at the new place of a VM, one decision at a time: each comes from its
 * sender and, after the cut, marked by way of the old place; the port is arriving,
 * then it joins, then it is like any other. Whatever the order in which the copies
 * come, the VM gets each frame that was sent after the cut once.
 *
 * Port 1 (the loopback device lends its index) is VM 1's. GW_SEED chooses the orders.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/time.h"
#include "datapath/datapath.h"
#include "frames.h"
#include "programs.h"

enum {
        VNI = 77,
        MTU = 1450,
        NO_COUNTER = 0xffff,
        HERE = 1,
        MARK = GW_GBP_REDIRECTED | 0x0101, /* of mac_of(1) */
        OF_ANOTHER = GW_GBP_REDIRECTED | 0x0105,
        UDP = 17,
        NUMBER_AT = 200,
        ECN_CE = 3,
};
#define SENDER "192.0.2.9"
#define OLD_PLACE "192.0.2.5"

static void port(uint32_t ifindex, int vm, uint32_t flags, uint64_t activated_ns) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags, .activated_ns = activated_ns};

        memcpy(value.mac, mac_of(vm).b, 6);
        memcpy(value.moved_to, ip_of(SENDER).b, 16);
        put(bpf->maps.gw_ports, &ifindex, &value);
}

static void member(const char *locator) {
        struct gw_abi_ip_key key = {.id = VNI};
        struct gw_abi_member value = {0};

        memcpy(key.ip, ip_of(locator).b, 16);
        put(bpf->maps.gw_members, &key, &value);
}

static void ports(uint32_t n) {
        struct gw_abi_flood flood = {.n_ports = n, .ports = {HERE, 2}};
        uint32_t vni = VNI;

        put(bpf->maps.gw_flood, &vni, &flood);
}

static int load(void **state) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        uint32_t zero = 0;

        (void)state;
        programs_load();
        memcpy(config.locator, ip_of("192.0.2.1").b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        member(SENDER);
        member(OLD_PLACE);
        ports(1);
        return 0;
}

static void numbered(struct frame *f, bool v6, uint32_t n) {
        static const struct gw_mac all6 = {{0x33, 0x33, 0, 0, 0, 1}};

        if (v6)
                ipv6(f, all6, mac_of(2), "fd01::2", "ff02::1", UDP, 200);
        else
                ipv4(f, mac_of(-1), mac_of(2), "10.1.0.2", "10.1.0.255", UDP, 200);
        memcpy(f->b + NUMBER_AT, &n, sizeof n);
}

static enum gw_counter comes(const struct frame *f, uint32_t mark) {
        struct __sk_buff context = {.ifindex = 1, .priority = mark, .cb = {VNI}};
        struct gw_ip sender = ip_of(mark ? OLD_PLACE : SENDER);
        static uint8_t out[FRAME_MAX + 256];
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);

        memcpy(&context.cb[1], &sender, sizeof sender);
        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_wire), &opts), 0);
        return (enum gw_counter)bpf->bss->gw_trace.counter;
}

#define EXPECT(f, mark, wanted)                                                                                        \
        do {                                                                                                           \
                enum gw_counter got = comes(f, mark);                                                                  \
                if (got != (wanted))                                                                                   \
                        fail_msg("line %d: counted %s", __LINE__, gw_counter_name(got));                               \
        } while (0)

static void each_copy_by_the_ports_state(void **state) {
        struct frame f;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                uint32_t n = 1000 + v6 * 1000;
                port(HERE, 1, GW_PORT_ARRIVING, 0);
                numbered(&f, v6, ++n);
                EXPECT(&f, 0, GW_COUNT_DROP_NO_FLOOD);
                EXPECT(&f, OF_ANOTHER, GW_COUNT_DROP_NO_FLOOD);
                EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
                numbered(&f, v6, ++n); /* skipped before the activation, comes again after it */
                EXPECT(&f, 0, GW_COUNT_DROP_NO_FLOOD);
                port(HERE, 1, 0, gw_mono_now().ns);
                EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
                numbered(&f, v6, ++n); /* the sender's first */
                EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
                EXPECT(&f, MARK, GW_COUNT_FLOOD_SECOND);
                numbered(&f, v6, ++n); /* the marked one first */
                EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
                EXPECT(&f, OF_ANOTHER, GW_COUNT_DROP_NO_FLOOD);
                EXPECT(&f, 0, GW_COUNT_FLOOD_SECOND);
                numbered(&f, v6, ++n); /* before the next cut, and after it */
                EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
                port(HERE, 1, GW_PORT_MOVED, gw_mono_now().ns);
                EXPECT(&f, 0, GW_COUNT_FLOOD_SECOND);
                EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
                port(HERE, 1, 0, gw_mono_now().ns - GW_JOINING_NS - GW_NS_PER_S);
                EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
                EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
                EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
        }
}

static void port_cut_to(const char *place, uint32_t flags, uint64_t back_until_s) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags, .back_until_s = (uint32_t)back_until_s};
        uint32_t here = HERE;

        memcpy(value.mac, mac_of(1).b, 6);
        memcpy(value.moved_to, ip_of(place).b, 16);
        put(bpf->maps.gw_ports, &here, &value);
}

/* It was cut over to OLD_PLACE, and did not arrive there: what comes back is the only copy, and is like no other. */
static void what_comes_back_is_taken_once(void **state) {
        uint64_t now_s = gw_mono_now().ns / GW_NS_PER_S;
        struct frame f;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                numbered(&f, v6, 9000);
                port_cut_to(OLD_PLACE, GW_PORT_MOVED, 0);
                EXPECT(&f, MARK, GW_COUNT_PUNTED);
                assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_HOLD);
                EXPECT(&f, OF_ANOTHER, GW_COUNT_DROP_NO_FLOOD);
                port_cut_to(OLD_PLACE, GW_PORT_BACK, now_s + 30);
                for (int i = 0; i < 3; i++) {
                        EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
                        EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
                }
                EXPECT(&f, OF_ANOTHER, GW_COUNT_DROP_NO_FLOOD);
                port_cut_to(SENDER, GW_PORT_BACK, now_s + 30); /* from another place */
                EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
                port_cut_to(OLD_PLACE, GW_PORT_BACK, now_s - 1); /* that was long ago */
                EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
                port_cut_to(OLD_PLACE, 0, 0);
                EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
        }
}

/* What may differ between the ways does not make two frames of one. */
static void ways_may_differ(void **state) {
        struct frame f;

        (void)state;
        port(HERE, 1, 0, gw_mono_now().ns);
        numbered(&f, false, 3000);
        EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
        f.b[15] |= ECN_CE;
        f.b[24] ^= 1; /* the header's checksum follows */
        f.b[14 + 20 + 6] ^= 1;
        EXPECT(&f, MARK, GW_COUNT_FLOOD_SECOND);
        numbered(&f, true, 3001);
        EXPECT(&f, 0, GW_COUNT_FLOOD_LOCAL);
        f.b[15] |= ECN_CE << 4;
        f.b[14 + 40 + 7] ^= 1;
        EXPECT(&f, MARK, GW_COUNT_FLOOD_SECOND);
        f.b[14 + 40] ^= 1; /* a port is no such thing */
        EXPECT(&f, MARK, GW_COUNT_FLOOD_LOCAL);
}

static void what_a_vm_sent_does_not_come_back(void **state) {
        struct frame f;

        (void)state;
        ipv4(&f, mac_of(-1), mac_of(1), "10.1.0.1", "10.1.0.255", UDP, 100);
        port(HERE, 1, 0, gw_mono_now().ns);
        EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
        EXPECT(&f, 0, GW_COUNT_DROP_NO_FLOOD);
        port(HERE, 1, GW_PORT_ARRIVING, 0);
        EXPECT(&f, MARK, GW_COUNT_DROP_NO_FLOOD);
        port(HERE, 1, GW_PORT_MOVED, 0); /* sent at its new place */
        EXPECT(&f, 0, GW_COUNT_DROP_NO_FLOOD);
}

/* A frame without a number: as many as were sent after the cut. */
static void equal_frames_are_counted(void **state) {
        struct frame f;
        int got = 0;

        (void)state;
        numbered(&f, true, 4000);
        port(HERE, 1, GW_PORT_ARRIVING, 0);
        for (int i = 0; i < 5; i++) /* before the cut */
                got += comes(&f, 0) == GW_COUNT_FLOOD_LOCAL;
        assert_int_equal(got, 0);
        port(HERE, 1, 0, gw_mono_now().ns);
        for (int i = 0; i < 10; i++)
                got += comes(&f, 0) == GW_COUNT_FLOOD_LOCAL;
        for (int i = 0; i < 12; i++) /* two had been skipped */
                got += comes(&f, MARK) == GW_COUNT_FLOOD_LOCAL;
        assert_int_equal(got, 12);
}

static uint64_t punted(void) {
        uint64_t per_cpu[512] = {0}, sum = 0;
        uint32_t key = GW_COUNT_PUNTED;

        assert_true(libbpf_num_possible_cpus() <= 512);
        assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(bpf->maps.gw_counters), &key, per_cpu), 0);
        for (int i = 0; i < libbpf_num_possible_cpus(); i++)
                sum += per_cpu[i];
        return sum;
}

/* Two VMs that are held at the same time. */
static void every_port_that_holds_gets_one(void **state) {
        struct frame f;
        uint64_t before;

        (void)state;
        port(HERE, 1, GW_PORT_HOLD, 0);
        port(2, 3, GW_PORT_HOLD, 0);
        ports(2);
        numbered(&f, false, 5000);
        before = punted();
        (void)comes(&f, 0);
        assert_int_equal(punted() - before, 2);
        port(2, 3, GW_PORT_HOLD | GW_PORT_ARRIVING, 0);
        before = punted();
        (void)comes(&f, 0);
        assert_int_equal(punted() - before, 1);
        ports(1);
}

/* ---- any order ---- */

enum { FRAMES = 60, RUNS = 100, JITTER = 12 };

struct copy {
        uint32_t at, n, mark;
        bool v6;
};

static int earlier(const void *a, const void *b) {
        const struct copy *x = a, *y = b;

        return x->at != y->at ? (x->at < y->at ? -1 : 1) : x->n != y->n ? (x->n < y->n ? -1 : 1) : 0;
}

static uint32_t chance(unsigned *seed, uint32_t below) {
        return (uint32_t)rand_r(seed) % below;
}

static void any_order_gives_each_once(void **state) {
        const char *given = getenv("GW_SEED");
        int judged = 0;
        unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)gw_mono_now().ns;

        (void)state;
        printf("# SEED=%u\n", seed);
        for (uint32_t run = 0; run < RUNS; run++) {
                struct copy copies[FRAMES * 2];
                unsigned got[FRAMES] = {0};
                size_t n_copies = 0;
                uint32_t cut = FRAMES / 3, open_at = cut + JITTER * 2 + chance(&seed, FRAMES / 3);
                uint64_t began = gw_mono_now().ns;
                bool open = false;
                struct frame f;

                for (uint32_t i = 0; i < FRAMES; i++) {
                        bool v6 = chance(&seed, 2);
                        copies[n_copies++] = (struct copy){i + chance(&seed, JITTER), i, 0, v6};
                        if (i >= cut)
                                copies[n_copies++] = (struct copy){i + chance(&seed, JITTER * 2), i, MARK, v6};
                }
                qsort(copies, n_copies, sizeof *copies, earlier);
                port(HERE, 1, GW_PORT_ARRIVING, 0);
                for (size_t i = 0; i < n_copies; i++) {
                        if (!open && copies[i].at >= open_at) {
                                port(HERE, 1, 0, gw_mono_now().ns);
                                open = true;
                        }
                        numbered(&f, copies[i].v6, 10000 + run * FRAMES + copies[i].n);
                        got[copies[i].n] += comes(&f, copies[i].mark) == GW_COUNT_FLOOD_LOCAL;
                }
                if (gw_mono_now().ns - began > gw_ms(40).ns) /* so slow that a late copy counts as another frame */
                        continue;
                judged++;
                for (uint32_t i = 0; i < FRAMES; i++)
                        if (got[i] != (i >= cut))
                                fail_msg("seed %u, run %u: frame %u came %u times", seed, run, i, got[i]);
        }
        assert_true(judged > 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_copy_by_the_ports_state),      cmocka_unit_test(ways_may_differ),
                cmocka_unit_test(what_a_vm_sent_does_not_come_back), cmocka_unit_test(equal_frames_are_counted),
                cmocka_unit_test(every_port_that_holds_gets_one),    cmocka_unit_test(any_order_gives_each_once),
                cmocka_unit_test(what_comes_back_is_taken_once),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
