/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARP and neighbour discovery at the edge, every form of packet: built frames go
 * through from_guest by BPF_PROG_TEST_RUN; what is looked at is the decision and
 * the frame that comes out.
 *
 * The world: port 1 (the loopback device lends its index) is VM 1, 10.1.0.1 and
 * fd01::1, in VN 77. VM 2 is at a locator, VM 3 on port 3 of the same host, VM 9 is
 * not known. The gateway is 10.1.0.254 and fd01::fe.
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
#include "wire/frame.h"

enum { VNI = 77, MTU = 1450, NO_COUNTER = 0xffff, NONE = -1 };
#define ELSEWHERE "192.0.2.2"

static struct frame f;
static struct {
        uint32_t action;
        struct gw_abi_trace trace;
        uint8_t frame[FRAME_MAX + 256];
        size_t size;
} out;

static const struct gw_mac group2 = {{0x33, 0x33, 0xff, 0, 0, 2}};

static void run(void) {
        struct __sk_buff context = {.ifindex = 1}, after;
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.b, .data_size_in = (uint32_t)f.size, .data_out = out.frame,
                    .data_size_out = sizeof out.frame, .ctx_in = &context, .ctx_size_in = sizeof context,
                    .ctx_out = &after, .ctx_size_out = sizeof after);

        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_guest), &opts), 0);
        out.action = opts.retval;
        out.size = opts.data_size_out;
        out.trace = bpf->bss->gw_trace;
}

static void counted(uint32_t action, enum gw_counter counter) {
        if (out.trace.counter != counter)
                fail_msg("counted %s, not %s", gw_counter_name(out.trace.counter), gw_counter_name(counter));
        assert_int_equal(out.action, action);
}
static void dropped(enum gw_counter counter) {
        run();
        counted(TC_ACT_STOLEN, counter);
}
static void punted(enum gw_punt_reason reason) {
        run();
        counted(TC_ACT_REDIRECT, GW_COUNT_PUNTED);
        assert_int_equal(out.trace.punt, reason);
        assert_memory_equal(out.frame + out.size - f.size, f.b, f.size);
}
static void sent_on(void) {
        struct gw_ip ip = ip_of(ELSEWHERE);

        run();
        counted(TC_ACT_REDIRECT, GW_COUNT_REMOTE);
        assert_memory_equal(out.trace.locator, ip.b, 16);
}
static void delivered_to(uint32_t ifindex) {
        run();
        counted(TC_ACT_REDIRECT, GW_COUNT_LOCAL);
        assert_int_equal(out.trace.ifindex, ifindex);
}

/* What port 1 is told: tpa is at mac. */
static void arp_answered(struct gw_mac mac, const char *tpa, const char *spa) {
        struct frame expected;

        run();
        counted(TC_ACT_REDIRECT, GW_COUNT_ARP_ANSWERED);
        arp(&expected, mac_of(1), 2, mac, tpa, spa);
        memcpy(expected.b + 32, mac_of(1).b, 6);
        assert_int_equal(out.size, expected.size);
        assert_memory_equal(out.frame, expected.b, expected.size);
}

static void nd_answered(struct gw_mac mac, const char *target, uint8_t flags, size_t size) {
        run();
        counted(TC_ACT_REDIRECT, GW_COUNT_ND_ANSWERED);
        assert_int_equal(out.size, size);
        assert_memory_equal(out.frame + 6, mac.b, 6);
        assert_int_equal(out.frame[18] << 8 | out.frame[19], size - 54);
        assert_int_equal(out.frame[21], 255);
        assert_memory_equal(out.frame + 22, ip_of(target).b, 16);
        assert_int_equal(out.frame[54], 136);
        assert_int_equal(out.frame[58], flags);
        assert_memory_equal(out.frame + 62, ip_of(target).b, 16);
        assert_int_equal(out.frame[78], 2);
        assert_memory_equal(out.frame + 80, mac.b, 6);
        assert_int_equal(icmpv6_sum(out.frame, out.size), 0xffff);
}

/* Neighbour messages with any options; hop limit 255. */
static void nd_with(struct gw_mac to, const char *source, const char *destination, uint8_t type, const char *target,
                    const void *options, size_t n) {
        struct gw_ip t = ip_of(target);

        ipv6_header(&f, to, mac_of(1), source, destination, 58, 255, 24 + n);
        gw_put_u8(&f.w, type);
        gw_put_zero(&f.w, 7);
        gw_put_bytes(&f.w, t.b, 16);
        gw_put_bytes(&f.w, options, n);
        end(&f);
}
static void solicit(struct gw_mac to, const char *destination, const char *target) {
        static const uint8_t source[8] = {1, 1, 2, 0, 0, 0, 1, 1};

        nd_with(to, "fd01::1", destination, 135, target, source, sizeof source);
}

static void forward_put(int vm, uint8_t kind, uint32_t ifindex, const char *locator) {
        struct gw_ip ip = ip_of(locator);
        struct gw_abi_mac_key key = {.vni = VNI};
        struct gw_abi_forward value = {.kind = kind, .ifindex = ifindex, .epoch = 1};

        memcpy(key.mac, mac_of(vm).b, 6);
        memcpy(value.locator, ip.b, 16);
        put(bpf->maps.gw_fdb, &key, &value);
}
static void port_put(uint32_t ifindex, int vm) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU};

        memcpy(value.mac, mac_of(vm).b, 6);
        if (vm == 1) {
                value.own4[0] = inet_addr("10.1.0.1");
                memcpy(value.own6[0], ip_of("fd01::1").b, 16);
                value.own4[1] = inet_addr("10.1.0.8"); /* its own, and not a neighbour yet */
                memcpy(value.own6[1], ip_of("fd01::8").b, 16);
        }
        put(bpf->maps.gw_ports, &ifindex, &value);
}
static void ip_put(struct bpf_map *map, uint32_t id, const char *text, const void *value) {
        struct gw_ip ip = ip_of(text);
        struct gw_abi_ip_key key = {.id = id};

        memcpy(key.ip, ip.b, 16);
        put(map, &key, value);
}
static void neigh_put(const char *text, struct gw_mac mac, uint8_t flags) {
        struct gw_abi_neigh value = {.flags = flags};

        memcpy(value.mac, mac.b, 6);
        ip_put(bpf->maps.gw_neigh, VNI, text, &value);
}

static void fill(void) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_ip own = ip_of("192.0.2.1");
        uint32_t zero = 0;

        memcpy(config.locator, own.b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        port_put(1, 1);
        port_put(3, 3);
        forward_put(1, GW_FORWARD_LOCAL, 1, "::");
        forward_put(2, GW_FORWARD_REMOTE, 0, ELSEWHERE);
        forward_put(3, GW_FORWARD_LOCAL, 3, "::");
        neigh_put("10.1.0.1", mac_of(1), 0);
        neigh_put("fd01::1", mac_of(1), 0);
        neigh_put("10.1.0.2", mac_of(2), 0);
        neigh_put("fd01::2", mac_of(2), 0);
        neigh_put("10.1.0.3", mac_of(3), 0);
        neigh_put("fd01::3", mac_of(3), 0);
        neigh_put("10.1.0.254", GW_GATEWAY_MAC, GW_NEIGH_ROUTER);
        neigh_put("fd01::fe", GW_GATEWAY_MAC, GW_NEIGH_ROUTER);
}

static int load(void **state) {
        (void)state;
        programs_load();
        fill();
        return 0;
}

/* ---- ARP ---- */

static void arp_question_to_all(void **state) {
        (void)state;
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.1", "10.1.0.2");
        arp_answered(mac_of(2), "10.1.0.2", "10.1.0.1");
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.1", "10.1.0.3");
        arp_answered(mac_of(3), "10.1.0.3", "10.1.0.1");
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.1", "10.1.0.9");
        punted(GW_PUNT_NEIGH);
}

static void arp_question_to_one(void **state) {
        (void)state;
        arp(&f, mac_of(2), 1, mac_of(1), "10.1.0.1", "10.1.0.2"); /* still there? */
        arp_answered(mac_of(2), "10.1.0.2", "10.1.0.1");
        arp(&f, mac_of(3), 1, mac_of(1), "10.1.0.1", "10.1.0.3"); /* it can say so itself */
        delivered_to(3);
        arp(&f, mac_of(3), 1, mac_of(1), "10.1.0.1", "10.1.0.2"); /* a cache that is wrong is put right */
        arp_answered(mac_of(2), "10.1.0.2", "10.1.0.1");
        arp(&f, mac_of(2), 1, mac_of(1), "10.1.0.1", "10.1.0.9");
        sent_on();
        arp(&f, mac_of(2), 1, mac_of(1), "10.1.0.1", "10.1.0.1");
        sent_on();
        arp(&f, mac_of(2), 2, mac_of(1), "10.1.0.1", "10.1.0.2");
        sent_on();
}

static void arp_probes(void **state) {
        (void)state;
        arp(&f, mac_of(NONE), 1, mac_of(1), "0.0.0.0", "10.1.0.2");
        arp_answered(mac_of(2), "10.1.0.2", "0.0.0.0");
        arp(&f, mac_of(NONE), 1, mac_of(1), "0.0.0.0", "10.1.0.1");
        dropped(GW_COUNT_DAD_SILENT);
        arp(&f, mac_of(NONE), 1, mac_of(1), "0.0.0.0", "10.1.0.8");
        dropped(GW_COUNT_DAD_SILENT);
        arp(&f, mac_of(NONE), 1, mac_of(1), "0.0.0.0", "10.1.0.9");
        punted(GW_PUNT_NEIGH);
        arp(&f, mac_of(NONE), 1, mac_of(1), "0.0.0.0", "10.1.0.254");
        arp_answered(GW_GATEWAY_MAC, "10.1.0.254", "0.0.0.0");
}

static void arp_announcements(void **state) {
        (void)state;
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.1", "10.1.0.1");
        punted(GW_PUNT_ANNOUNCE);
        arp(&f, mac_of(NONE), 2, mac_of(1), "10.1.0.1", "10.1.0.1");
        punted(GW_PUNT_ANNOUNCE);
        arp(&f, mac_of(NONE), 3, mac_of(1), "0.0.0.0", "0.0.0.0");
        punted(GW_PUNT_ANNOUNCE);
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.3", "10.1.0.3"); /* another's */
        dropped(GW_COUNT_DROP_GUARD_ARP);
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.254", "10.1.0.254"); /* the gateway's */
        dropped(GW_COUNT_DROP_GUARD_ARP);
}

static void gateway_is_everywhere(void **state) {
        (void)state;
        arp(&f, mac_of(NONE), 1, mac_of(1), "10.1.0.1", "10.1.0.254");
        arp_answered(GW_GATEWAY_MAC, "10.1.0.254", "10.1.0.1");
        arp(&f, GW_GATEWAY_MAC, 1, mac_of(1), "10.1.0.1", "10.1.0.254");
        arp_answered(GW_GATEWAY_MAC, "10.1.0.254", "10.1.0.1");
        solicit((struct gw_mac){{0x33, 0x33, 0xff, 0, 0, 0xfe}}, "ff02::1:ff00:fe", "fd01::fe");
        nd_answered(GW_GATEWAY_MAC, "fd01::fe", 0xe0, 86); /* R, S, O */
        solicit(GW_GATEWAY_MAC, "fd01::fe", "fd01::fe");
        nd_answered(GW_GATEWAY_MAC, "fd01::fe", 0xe0, 86);
}

/* ---- neighbour discovery ---- */

static void nd_question_to_all(void **state) {
        (void)state;
        solicit(group2, "ff02::1:ff00:2", "fd01::2");
        nd_answered(mac_of(2), "fd01::2", 0x60, 86);
        assert_memory_equal(out.frame, mac_of(1).b, 6);
        assert_memory_equal(out.frame + 38, ip_of("fd01::1").b, 16);
        solicit(group2, "ff02::1:ff00:102", "fe80::ff:fe00:102"); /* the address that VM 2's stack made of its MAC */
        nd_answered(mac_of(2), "fe80::ff:fe00:102", 0x60, 86);
        solicit(group2, "ff02::1:ff00:9", "fd01::9");
        punted(GW_PUNT_NEIGH);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", NULL, 0);
        nd_answered(mac_of(2), "fd01::2", 0x60, 86);
}

static void nd_question_to_one(void **state) {
        (void)state;
        solicit(mac_of(2), "fd01::2", "fd01::2");
        nd_answered(mac_of(2), "fd01::2", 0x60, 86);
        solicit(mac_of(3), "fd01::3", "fd01::3");
        delivered_to(3);
        solicit(mac_of(3), "fd01::2", "fd01::2");
        nd_answered(mac_of(2), "fd01::2", 0x60, 86);
        solicit(mac_of(2), "fd01::9", "fd01::9");
        sent_on();
}

static void nd_probes(void **state) {
        static const uint8_t source[8] = {1, 1, 2, 0, 0, 0, 1, 1};

        (void)state;
        nd_with(group2, "::", "ff02::1:ff00:2", 135, "fd01::2", NULL, 0);
        nd_answered(mac_of(2), "fd01::2", 0x20, 86);
        assert_memory_equal(out.frame, ((uint8_t[6]){0x33, 0x33, 0, 0, 0, 1}), 6);
        assert_memory_equal(out.frame + 38, ip_of("ff02::1").b, 16);
        nd_with(group2, "::", "ff02::1:ff00:1", 135, "fd01::1", NULL, 0);
        dropped(GW_COUNT_DAD_SILENT);
        nd_with(group2, "::", "ff02::1:ff00:8", 135, "fd01::8", NULL, 0);
        dropped(GW_COUNT_DAD_SILENT);
        nd_with(group2, "::", "ff02::1:ff00:101", 135, "fe80::ff:fe00:101", NULL, 0);
        dropped(GW_COUNT_DAD_SILENT);
        nd_with(group2, "::", "ff02::1:ff00:2", 135, "fd01::2", source, sizeof source);
        dropped(GW_COUNT_DROP_ND_INVALID);
        nd_with(group2, "::", "ff02::1", 135, "fd01::2", NULL, 0);
        dropped(GW_COUNT_DROP_ND_INVALID);
}

static void nonce_comes_back(void **state) {
        static const uint8_t both[16] = {14, 1, 1, 2, 3, 4, 5, 6, 1, 1, 2, 0, 0, 0, 1, 1};

        (void)state;
        nd_with(group2, "::", "ff02::1:ff00:2", 135, "fd01::2", both, 8);
        nd_answered(mac_of(2), "fd01::2", 0x20, 94);
        assert_memory_equal(out.frame + 86, both, 8);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", both, 16);
        nd_answered(mac_of(2), "fd01::2", 0x60, 94);
        assert_memory_equal(out.frame + 86, both, 8);
        nd_with(group2, "::", "ff02::1:ff00:1", 135, "fd01::1", both, 8); /* enhanced DAD of its own address */
        dropped(GW_COUNT_DAD_SILENT);
}

static void nd_malformed(void **state) {
        static const uint8_t zero[8] = {5, 0}, long_one[8] = {5, 2};
        uint8_t many[13 * 8] = {0};

        (void)state;
        for (size_t i = 0; i < sizeof many; i += 8)
                memcpy(many + i, (uint8_t[2]){5, 1}, 2);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", zero, 8);
        dropped(GW_COUNT_DROP_MALFORMED);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", long_one, 8);
        dropped(GW_COUNT_DROP_ND_INVALID);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", long_one, 4);
        dropped(GW_COUNT_DROP_MALFORMED);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", many, 13 * 8);
        dropped(GW_COUNT_DROP_GUARD_HEADERS);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", many, 11 * 8);
        nd_answered(mac_of(2), "fd01::2", 0x60, 86);
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "ff02::2", NULL, 0);
        dropped(GW_COUNT_DROP_ND_INVALID);
        solicit(group2, "ff02::1:ff00:2", "fd01::2");
        f.b[19] = 200; /* the payload's length says more than came */
        dropped(GW_COUNT_DROP_MALFORMED);
        solicit(group2, "ff02::1:ff00:2", "fd01::2");
        f.b[21] = 64; /* as if it had crossed a router: nobody believes it, and it is not answered */
        run();
        assert_int_not_equal(out.trace.counter, GW_COUNT_ND_ANSWERED);
}

/* CGA, time stamp, nonce, signature. */
static void secured_goes_to_the_owner(void **state) {
        static const uint8_t send[48] = {11, 1, [8] = 13, 2, [24] = 14, 1, [32] = 12, 2};

        (void)state;
        nd_with(group2, "fd01::1", "ff02::1:ff00:2", 135, "fd01::2", send, sizeof send);
        sent_on();
        assert_int_equal(out.size, f.size);
        assert_memory_equal(out.frame, mac_of(2).b, 6);
        assert_memory_equal(out.frame + 6, f.b + 6, f.size - 6);
        nd_with(group2, "fd01::1", "ff02::1:ff00:3", 135, "fd01::3", send, sizeof send);
        delivered_to(3);
        nd_with(mac_of(2), "fd01::1", "fd01::2", 135, "fd01::2", send, sizeof send);
        sent_on();
        nd_with(group2, "::", "ff02::1:ff00:1", 135, "fd01::1", send, sizeof send);
        dropped(GW_COUNT_DAD_SILENT);
        nd_with(group2, "fd01::1", "ff02::1:ff00:9", 135, "fd01::9", send, sizeof send);
        punted(GW_PUNT_NEIGH);
        nd_with(group2, "fd01::1", "ff02::1:ff00:fe", 135, "fd01::fe", send, sizeof send); /* a router that is nobody */
        nd_answered(GW_GATEWAY_MAC, "fd01::fe", 0xe0, 94);
}

static void nd_announcements(void **state) {
        static const uint8_t target[8] = {2, 1, 2, 0, 0, 0, 1, 1};
        static const struct {
                struct gw_mac mac;
                const char *group;
        } to[] = {{{{0x33, 0x33, 0, 0, 0, 1}}, "ff02::1"},
                  {{{0x33, 0x33, 0, 0, 0, 2}}, "ff02::2"},
                  {{{0x33, 0x33, 0xff, 0, 0, 1}}, "ff02::1:ff00:1"}};

        (void)state;
        for (size_t i = 0; i < 3; i++) {
                nd_with(to[i].mac, "fd01::1", to[i].group, 136, "fd01::1", target, 8);
                punted(GW_PUNT_ANNOUNCE);
                nd_with(to[i].mac, "fd01::1", to[i].group, 136, "fd01::3", target, 8);
                dropped(GW_COUNT_DROP_GUARD_ND);
        }
        nd_with(mac_of(2), "fd01::1", "fd01::2", 136, "fd01::1", target, 8);
        sent_on();
}

/* What answers a question of the edge's own, which comes from the gateway's MAC. */
static void answers_to_the_edge(void **state) {
        static const uint8_t target[8] = {2, 1, 2, 0, 0, 0, 1, 1};
        static const uint8_t abi[6] = GW_ABI_GATEWAY_MAC;

        (void)state;
        assert_memory_equal(abi, GW_GATEWAY_MAC.b, 6);
        arp(&f, GW_GATEWAY_MAC, 2, mac_of(1), "10.1.0.1", "0.0.0.0");
        punted(GW_PUNT_ANNOUNCE);
        nd_with(GW_GATEWAY_MAC, "fd01::1", "fe80::67:77ff:fe00:1", 136, "fd01::1", target, 8);
        punted(GW_PUNT_ANNOUNCE);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(arp_question_to_all),
                cmocka_unit_test(arp_question_to_one),
                cmocka_unit_test(arp_probes),
                cmocka_unit_test(arp_announcements),
                cmocka_unit_test(gateway_is_everywhere),
                cmocka_unit_test(nd_question_to_all),
                cmocka_unit_test(nd_question_to_one),
                cmocka_unit_test(nd_probes),
                cmocka_unit_test(nonce_comes_back),
                cmocka_unit_test(nd_malformed),
                cmocka_unit_test(secured_goes_to_the_owner),
                cmocka_unit_test(nd_announcements),
                cmocka_unit_test(answers_to_the_edge),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
