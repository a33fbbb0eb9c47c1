/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer headers that the programs write by themselves: each octet that another
 * VXLAN end would look at, over both underlays; and when the frame is left as it
 * is, for the VXLAN device. Frames go through from_guest by BPF_PROG_TEST_RUN:
 * VM 1 on port 1 (the loopback device lends its index) sends to VM 2, which is at
 * an IPv4 locator, VM 3, at an IPv6 one, and VM 4, to whose locator is no next hop.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "frames.h"
#include "programs.h"

enum { VNI = 0xabcdef, MTU = 1450, PORT = 4789, OUTER4 = 50, OUTER6 = 70, ETH = 14, CE = 3, TOS = 0xb8 | CE };
#define OWN4 "192.0.2.1"
#define AT4 "192.0.2.2"
#define AT6 "2001:db8::3"
#define NOWHERE "192.0.2.4"

struct outcome {
        uint8_t frame[FRAME_MAX + 256];
        size_t size;
};

static void config_put(uint64_t direct_until_ns) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION,
                                       .vxlan_ifindex = 1,
                                       .punt_ifindex = 1,
                                       .vxlan_port = PORT,
                                       .direct_until_ns = direct_until_ns};
        struct gw_ip own = ip_of(OWN4);
        uint32_t zero = 0;

        memcpy(config.locator, own.b, 16);
        put(bpf->maps.gw_config, &zero, &config);
}

static void forward_put(int vm, uint8_t kind, const char *locator) {
        struct gw_abi_forward value = {.kind = kind, .epoch = 1};
        struct gw_abi_mac_key key = {.vni = VNI};

        memcpy(key.mac, mac_of(vm).b, 6);
        memcpy(value.locator, ip_of(locator).b, 16);
        put(bpf->maps.gw_fdb, &key, &value);
}

static void next_hop_put(const char *locator, uint32_t ifindex, uint32_t family) {
        struct gw_abi_next_hop hop = {.ifindex = ifindex, .family = family, .ip = {127, 0, 0, 1}};

        put(bpf->maps.gw_next_hop, ip_of(locator).b, &hop);
}

static int load(void **state) {
        struct gw_abi_port port = {.vni = VNI, .mtu = MTU, .flags = GW_PORT_TRUSTED};
        uint32_t one = 1;

        (void)state;
        programs_load();
        memcpy(port.mac, mac_of(1).b, 6);
        put(bpf->maps.gw_ports, &one, &port);
        forward_put(2, GW_FORWARD_REMOTE, AT4);
        forward_put(3, GW_FORWARD_REMOTE, AT6);
        forward_put(4, GW_FORWARD_REMOTE, NOWHERE);
        forward_put(5, GW_FORWARD_MOVED, AT4);
        next_hop_put(AT4, 1, AF_INET);
        next_hop_put(AT6, 1, AF_INET6);
        next_hop_put(NOWHERE, 0, 0);
        config_put(UINT64_MAX);
        return 0;
}

static void run(struct bpf_program *program, uint32_t mark, const struct frame *f, struct outcome *o) {
        struct __sk_buff context = {.ifindex = 1, .mark = mark};
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = o->frame,
                    .data_size_out = sizeof o->frame, .ctx_in = &context, .ctx_size_in = sizeof context);

        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &opts), 0);
        assert_int_equal(opts.retval, TC_ACT_REDIRECT);
        o->size = opts.data_size_out;
}
static void from_guest(const struct frame *f, struct outcome *o) {
        run(bpf->progs.from_guest, 0, f, o);
}

/* A UDP datagram from VM 1 to VM `to`; with that payload, DSCP and ECN. */
static void datagram(struct frame *f, int to, bool v6, size_t payload) {
        if (v6)
                ipv6(f, mac_of(to), mac_of(1), "fd01::1", "fd01::2", 17, payload);
        else
                ipv4(f, mac_of(to), mac_of(1), "10.1.0.1", "10.1.0.2", 17, payload);
        if (v6) {
                f->b[ETH] |= TOS >> 4;
                f->b[ETH + 1] = (TOS & 15) << 4;
        } else {
                f->b[ETH + 1] = TOS;
        }
        for (size_t i = f->size - payload + 8; i < f->size; i++)
                f->b[i] = (uint8_t)i;
        f->b[f->size - payload + 1] = 7; /* source port */
        f->b[f->size - payload + 5] = (uint8_t)payload;
}

static unsigned be16(const uint8_t *at) {
        return (unsigned)(at[0] << 8 | at[1]);
}

/* UDP, VXLAN and the frame within, which begins at `at`. */
static void check_inside(const struct outcome *o, size_t at, const struct frame *f, unsigned gbp) {
        const uint8_t *udp = o->frame + at, *vxlan = udp + 8;

        assert_in_range(be16(udp), 49152, 65535);
        assert_int_equal(be16(udp + 2), PORT);
        assert_int_equal(be16(udp + 4), f->size + 16);
        assert_int_equal(be16(udp + 6), 0);
        assert_int_equal(be16(vxlan), gbp ? 0x8800 : 0x0800);
        assert_int_equal(be16(vxlan + 2), gbp);
        assert_int_equal(be16(vxlan + 4), VNI >> 8);
        assert_int_equal(be16(vxlan + 6), (VNI & 0xff) << 8);
        assert_int_equal(o->size, at + 16 + f->size);
        assert_memory_equal(vxlan + 8, f->b, f->size);
}

static void check_v4(const struct outcome *o, const struct frame *f, const char *to, unsigned gbp, uint8_t tos) {
        const uint8_t *ip = o->frame + ETH;
        uint32_t sum = 0;

        assert_int_equal(be16(o->frame + 12), IPV4);
        assert_int_equal(ip[0], 0x45);
        assert_int_equal(ip[1], tos);
        assert_int_equal(be16(ip + 2), f->size + 36);
        assert_int_equal(be16(ip + 6), 0x4000);
        assert_int_equal(ip[8], 64);
        assert_int_equal(ip[9], 17);
        assert_memory_equal(ip + 12, ip_of(OWN4).b + 12, 4);
        assert_memory_equal(ip + 16, ip_of(to).b + 12, 4);
        for (int i = 0; i < 20; i += 2)
                sum += be16(ip + i);
        assert_int_equal((sum & 0xffff) + (sum >> 16), 0xffff);
        check_inside(o, ETH + 20, f, gbp);
}

static void outer_ipv4(void **state) {
        struct outcome o;
        struct frame f;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                for (size_t payload = 8; payload <= MTU - 40; payload += 67) {
                        datagram(&f, 2, v6, payload);
                        from_guest(&f, &o);
                        o.frame[12] = 8, o.frame[13] = 0; /* the Ethernet type is the neighbour layer's to write */
                        check_v4(&o, &f, AT4, 0, TOS);
                }
        }
}

static void outer_ipv6(void **state) {
        struct outcome o;
        struct frame f;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                const uint8_t *ip = o.frame + ETH;

                datagram(&f, 3, v6, 100);
                from_guest(&f, &o);
                assert_int_equal(ip[0], 0x60 | TOS >> 4);
                assert_int_equal(ip[1] >> 4, TOS & 15);
                assert_true((be16(ip + 1) & 0xfff) || ip[3]); /* the flow label */
                assert_int_equal(be16(ip + 4), f.size + 16);
                assert_int_equal(ip[6], 17);
                assert_int_equal(ip[7], 64);
                assert_memory_equal(ip + 8, ip_of(OWN4).b, 16);
                assert_memory_equal(ip + 24, ip_of(AT6).b, 16);
                check_inside(&o, ETH + 40, &f, 0);
        }
}

/* The port tells flows apart, and one flow keeps its own. */
static void source_ports(void **state) {
        unsigned seen[64], different = 0;
        struct outcome o;
        struct frame f;

        (void)state;
        for (unsigned i = 0; i < 64; i++) {
                datagram(&f, 2, i & 1, 20);
                f.b[f.size - 20] = (uint8_t)(i + 1);
                from_guest(&f, &o);
                seen[i] = be16(o.frame + ETH + 20);
                from_guest(&f, &o);
                assert_int_equal(be16(o.frame + ETH + 20), seen[i]);
                for (unsigned j = 0; j < i; j++)
                        different += seen[i] != seen[j];
        }
        assert_true(different > 64 * 63 / 2 - 20);
}

/* What user space puts down is encapsulated too; as redirected, it carries the mark. */
static void injected_and_redirected(void **state) {
        struct outcome o;
        struct frame f;

        (void)state;
        datagram(&f, 2, false, 100);
        run(bpf->progs.from_host, GW_MARK_DOWN | GW_INJECT_FROM_PORT << 24 | 1, &f, &o);
        o.frame[12] = 8, o.frame[13] = 0;
        check_v4(&o, &f, AT4, 0, TOS);
        datagram(&f, 5, true, 100);
        /* the id of FROM_WIRE is the VNI */
        run(bpf->progs.from_host, GW_MARK_DOWN | (uint32_t)GW_INJECT_FROM_WIRE << 24 | VNI, &f, &o);
        o.frame[12] = 8, o.frame[13] = 0;
        check_v4(&o, &f, AT4, GW_GBP_REDIRECTED | 0x105, TOS);
}

static void left_alone(const struct frame *f) {
        struct outcome o;

        from_guest(f, &o);
        assert_int_equal(o.size, f->size);
        assert_memory_equal(o.frame, f->b, f->size);
}

static void the_device_takes_the_rest(void **state) {
        struct frame f;

        (void)state;
        datagram(&f, 4, false, 100); /* no next hop */
        left_alone(&f);
        arp(&f, mac_of(2), 2, mac_of(1), "10.1.0.1", "10.1.0.2"); /* not IP */
        left_alone(&f);
        datagram(&f, 2, false, 100); /* a next hop that nobody has looked at for long */
        config_put(1);
        left_alone(&f);
        config_put(UINT64_MAX);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(outer_ipv4),
                cmocka_unit_test(outer_ipv6),
                cmocka_unit_test(source_ports),
                cmocka_unit_test(injected_and_redirected),
                cmocka_unit_test(the_device_takes_the_rest),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
