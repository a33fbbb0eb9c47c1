/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames from the wire may come from, on built packets given to from_wire:
 * members only, each VM from its own place; who has moved, who claims to have,
 * what is marked as in flight, and by whom. Both underlays' addresses.
 *
 * The world: VM 1 is on port 1. VM 2 is at HOME, as far as is known; VM 3 arrives
 * here from HOME on port 3; VM 9 is nobody that is known. HOME, AWAY and THIRD are
 * members, STRANGER is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/time.h"
#include "datapath/datapath.h"
#include "frames.h"
#include "programs.h"

enum { VNI = 77, MTU = 1450, NO_COUNTER = 0xffff };
enum place { HOME, AWAY, THIRD, STRANGER };
static const char *const places[2][4] = {{"192.0.2.2", "192.0.2.3", "192.0.2.4", "192.0.2.66"},
                                         {"2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::66"}};

static int over6;

static struct gw_ip at(enum place place) {
        return ip_of(places[over6][place]);
}

static struct gw_abi_mac_key key_of(int vm) {
        struct gw_abi_mac_key key = {.vni = VNI};

        memcpy(key.mac, mac_of(vm).b, 6);
        return key;
}

static void entry_put(int vm, uint8_t kind, uint32_t ifindex, enum place place, uint8_t flags) {
        struct gw_abi_forward value = {.kind = kind, .ifindex = ifindex, .epoch = 1, .flags = flags};
        struct gw_abi_mac_key key = key_of(vm);

        memcpy(value.locator, at(place).b, 16);
        put(bpf->maps.gw_fdb, &key, &value);
}

/* Not before the machine was started. */
static void former_put(int vm, enum place place, uint64_t ago_ms) {
        uint64_t now_ns = gw_mono_now().ns, ago_ns = ago_ms * GW_NS_PER_MS;
        struct gw_abi_former value = {.left_ns = now_ns > ago_ns ? now_ns - ago_ns : 0};
        struct gw_abi_mac_key key = key_of(vm);

        memcpy(value.locator, at(place).b, 16);
        put(bpf->maps.gw_former, &key, &value);
}

static void port_put(uint32_t ifindex, int vm, uint32_t flags) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags};

        memcpy(value.mac, mac_of(vm).b, 6);
        put(bpf->maps.gw_ports, &ifindex, &value);
}

static void port_cut_to(uint32_t ifindex, int vm, enum place place, uint32_t flags) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags};

        memcpy(value.mac, mac_of(vm).b, 6);
        memcpy(value.moved_to, at(place).b, 16);
        put(bpf->maps.gw_ports, &ifindex, &value);
}

static void config_put(bool asking) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        uint32_t zero = 0;

        memcpy(config.locator, ip_of(over6 ? "2001:db8::1" : "192.0.2.1").b, 16);
        config.asking_until_ns = asking ? UINT64_MAX : 0;
        put(bpf->maps.gw_config, &zero, &config);
}

static void fill(void) {
        struct gw_abi_flood flood = {.n_ports = 1, .ports = {1}};
        uint32_t vni = VNI;

        config_put(true);
        port_put(1, 1, 0);
        port_put(3, 3, GW_PORT_ARRIVING);
        entry_put(1, GW_FORWARD_LOCAL, 1, HOME, 0);
        entry_put(2, GW_FORWARD_REMOTE, 0, HOME, 0);
        entry_put(3, GW_FORWARD_ARRIVING, 3, HOME, 0);
        put(bpf->maps.gw_flood, &vni, &flood);
        for (int i = HOME; i <= THIRD; i++) {
                struct gw_abi_ip_key member = {.id = VNI};
                struct gw_abi_member value = {0};

                memcpy(member.ip, at((enum place)i).b, 16);
                put(bpf->maps.gw_members, &member, &value);
        }
        for (int vm = 1; vm < 4; vm++) {
                struct gw_abi_mac_key key = key_of(vm);
                (void)bpf_map_delete_elem(bpf_map__fd(bpf->maps.gw_former), &key);
        }
}

static int load(void **state) {
        (void)state;
        programs_load();
        return 0;
}

static uint32_t gbp_for(int vm) {
        return GW_GBP_REDIRECTED | ((mac_of(vm).b[4] << 8 | mac_of(vm).b[5]) & GW_GBP_MAC_MASK);
}

/* VM `to` gets a frame of VM `vm` from `place`. What was counted; a punt by its reason, as PUNTED. */
static enum gw_counter comes(int vm, int to, enum place place, uint32_t gbp, uint32_t *punt) {
        struct __sk_buff context = {.ifindex = 1, .priority = gbp, .cb = {VNI}};
        uint8_t out[FRAME_MAX + 256];
        struct gw_ip sender = at(place);
        struct frame f;

        ipv4(&f, mac_of(to), mac_of(vm), "10.1.0.2", "10.1.0.1", 17, 100);
        memcpy(&context.cb[1], &sender, sizeof sender);
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f.b, .data_size_in = (uint32_t)f.size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);
        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_wire), &opts), 0);
        if (punt)
                *punt = bpf->bss->gw_trace.punt;
        return (enum gw_counter)bpf->bss->gw_trace.counter;
}

static void expect(int vm, int to, enum place place, uint32_t gbp, enum gw_counter counter, const char *what) {
        enum gw_counter got = comes(vm, to, place, gbp, NULL);

        if (got != counter)
                fail_msg("%s: counted %s, not %s", what, gw_counter_name(got), gw_counter_name(counter));
}

static void expect_asked(int vm, int to, enum place place, uint32_t gbp, const char *what) {
        uint32_t punt;

        if (comes(vm, to, place, gbp, &punt) != GW_COUNT_PUNTED || punt != GW_PUNT_WIRE_SOURCE)
                fail_msg("%s: not handed up to be asked about", what);
}

static void each_from_its_own_place(void) {
        fill();
        expect(2, 1, HOME, 0, GW_COUNT_DELIVERED, "from home");
        expect(2, 1, STRANGER, 0, GW_COUNT_DROP_BAD_SENDER, "from no member");
        expect(2, 1, STRANGER, gbp_for(1), GW_COUNT_DROP_BAD_SENDER, "marked, from no member");
        expect_asked(2, 1, AWAY, 0, "from where it is not known to be");
        expect_asked(2, -1, AWAY, 0, "the same to everybody");
        expect(1, 1, AWAY, 0, GW_COUNT_DROP_SOURCE_LOCAL, "our own VM from the wire");
        expect(9, 1, AWAY, 0, GW_COUNT_DELIVERED, "nobody that is known");
        expect(3, 1, HOME, 0, GW_COUNT_DELIVERED, "one that arrives here, still from where it comes from");
        expect_asked(3, 1, AWAY, 0, "one that arrives here, from a third place");
        config_put(false);
        expect(2, 1, AWAY, 0, GW_COUNT_DELIVERED, "nobody could ask");
        config_put(true);
        entry_put(2, GW_FORWARD_REMOTE, 0, HOME, GW_FORWARD_PUNT_FROM);
        expect_asked(2, 1, HOME, 0, "while older ones are sent on");
}

static void former_places_count_for_a_moment(void) {
        fill();
        entry_put(2, GW_FORWARD_REMOTE, 0, AWAY, 0);
        former_put(2, HOME, 0);
        expect(2, 1, AWAY, 0, GW_COUNT_DELIVERED, "from the new place");
        expect(2, 1, HOME, 0, GW_COUNT_DELIVERED, "on its way when it moved");
        former_put(2, HOME, 60000);
        expect_asked(2, 1, HOME, 0, "long after it moved");
        expect_asked(2, -1, HOME, 0, "the same to everybody");
        expect_asked(2, 1, THIRD, 0, "from a third place");
        entry_put(3, GW_FORWARD_LOCAL, 3, HOME, 0); /* it has arrived */
        port_put(3, 3, 0);
        former_put(3, HOME, 0);
        expect(3, 1, HOME, 0, GW_COUNT_DELIVERED, "its last frames from the place that it left to come here");
        former_put(3, HOME, 60000);
        expect(3, 1, HOME, 0, GW_COUNT_DROP_SOURCE_LOCAL, "long after");
}

static void marks_count_from_where_the_vm_was(void) {
        fill();
        expect(2, 3, HOME, gbp_for(3), GW_COUNT_DELIVERED, "for the VM that arrives from there");
        expect(1, 3, HOME, gbp_for(3), GW_COUNT_DELIVERED, "the same, sent by our own VM");
        expect_asked(2, 3, AWAY, gbp_for(3), "from where it never was, in another's name");
        expect(1, 3, AWAY, gbp_for(3), GW_COUNT_DROP_SOURCE_LOCAL, "the same, in our own VM's name");
        expect_asked(2, 1, AWAY, gbp_for(1), "for one that never moved");
        former_put(1, AWAY, 60000);
        expect(2, 1, AWAY, gbp_for(1), GW_COUNT_DELIVERED, "for one that came from there, however long ago");
        expect(2, 2, HOME, gbp_for(2), GW_COUNT_DROP_LOOP, "for one that is not here");
}

/* VM 1 came from AWAY, was cut over to THIRD, and taken back: both may send on what still comes to them. */
static void marks_count_from_where_the_vm_was_taken_back_from(void) {
        static const uint32_t moments[] = {GW_PORT_MOVED, GW_PORT_BACK}; /* its entry is written before its port */

        fill();
        former_put(1, AWAY, 60000);
        for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
                port_cut_to(1, 1, THIRD, moments[i]);
                expect(2, 1, THIRD, gbp_for(1), GW_COUNT_DELIVERED, "from where it was cut over to");
                expect(2, 1, AWAY, gbp_for(1), GW_COUNT_DELIVERED, "from where it came from");
                expect_asked(2, 1, THIRD, 0, "not marked");
                expect_asked(2, 3, THIRD, gbp_for(3), "for another VM");
        }
        port_cut_to(1, 1, AWAY, GW_PORT_BACK);
        expect_asked(2, 1, THIRD, gbp_for(1), "from where it never was");
        port_cut_to(1, 1, THIRD, 0);
        expect_asked(2, 1, THIRD, gbp_for(1), "to where it was never cut over");
}

static void a_flood_of_questions_is_limited(void) {
        struct timespec began, ended;
        enum gw_counter last = GW_COUNT_PUNTED;
        unsigned n = 0;
        double took_s;

        fill();
        clock_gettime(CLOCK_MONOTONIC, &began);
        while (n < 20 * GW_WIRE_UP_PER_S && (last = comes(2, 1, AWAY, 0, NULL)) == GW_COUNT_PUNTED)
                n++;
        clock_gettime(CLOCK_MONOTONIC, &ended);
        took_s = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
        assert_in_range(n, GW_WIRE_UP_PER_S,
                        (unsigned)((1.1 + took_s) * GW_WIRE_UP_PER_S)); /* a second's worth at once */
        assert_int_equal(last, GW_COUNT_DROP_LIMIT_WIRE);
        expect_asked(2, 1, THIRD, 0, "that is that member's alone");
}

static void over_both(void (*test)(void)) {
        for (over6 = 0; over6 < 2; over6++)
                test();
}
static void places_are_checked(void **state) {
        (void)state;
        over_both(each_from_its_own_place);
}
static void former_places(void **state) {
        (void)state;
        over_both(former_places_count_for_a_moment);
}
static void marks(void **state) {
        (void)state;
        over_both(marks_count_from_where_the_vm_was);
}
static void marks_of_what_comes_back(void **state) {
        (void)state;
        over_both(marks_count_from_where_the_vm_was_taken_back_from);
}
static void questions_are_limited(void **state) {
        (void)state;
        over_both(a_flood_of_questions_is_limited);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(places_are_checked),
                cmocka_unit_test(former_places),
                cmocka_unit_test(marks),
                cmocka_unit_test(marks_of_what_comes_back),
                cmocka_unit_test(questions_are_limited),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
