/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who gets a group frame, on built packets. The VN has one other port here, as the
 * tests have it: open, snooped, in the group or not, a multicast router. What is
 * looked at is whether it got the frame.
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

enum { VNI = 77, MTU = 1450, NO_COUNTER = 0xffff, LISTENER = 1 };
#define SENDER "192.0.2.9"
static const struct gw_mac GROUP4 = {{1, 0, 0x5e, 1, 1, 1}}, GROUP6 = {{0x33, 0x33, 0, 0, 0, 5}};

static void listener(uint32_t flags) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags};
        uint32_t ifindex = LISTENER;

        memcpy(value.mac, mac_of(1).b, 6);
        put(bpf->maps.gw_ports, &ifindex, &value);
}

static void group(const char *text, bool in) {
        struct gw_abi_ip_key key = {.id = LISTENER};
        uint32_t one = 1;

        memcpy(key.ip, ip_of(text).b, 16);
        if (in)
                put(bpf->maps.gw_groups, &key, &one);
        else
                (void)bpf_map_delete_elem(bpf_map__fd(bpf->maps.gw_groups), &key);
}

static int load(void **state) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_abi_flood flood = {.n_ports = 1, .ports = {LISTENER}};
        struct gw_abi_ip_key member = {.id = VNI};
        struct gw_abi_member value = {0};
        uint32_t zero = 0, vni = VNI;

        (void)state;
        programs_load();
        memcpy(config.locator, ip_of("192.0.2.1").b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        put(bpf->maps.gw_flood, &vni, &flood);
        memcpy(member.ip, ip_of(SENDER).b, 16);
        put(bpf->maps.gw_members, &member, &value);
        return 0;
}

static void comes(const struct frame *f, bool wanted, const char *what) {
        struct __sk_buff context = {.ifindex = 1, .cb = {VNI}};
        struct gw_ip sender = ip_of(SENDER);
        uint8_t out[FRAME_MAX + 256];
        enum gw_counter got;
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);

        memcpy(&context.cb[1], &sender, sizeof sender);
        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_wire), &opts), 0);
        got = (enum gw_counter)bpf->bss->gw_trace.counter;
        if (got != (wanted ? GW_COUNT_FLOOD_LOCAL : GW_COUNT_DROP_NO_LISTENER))
                fail_msg("%s: counted %s", what, gw_counter_name(got));
}

static void multicast_goes_where_it_is_wanted(void **state) {
        struct frame f4, f6;

        (void)state;
        ipv4(&f4, GROUP4, mac_of(2), "10.1.0.2", "239.1.1.1", 17, 100);
        ipv6(&f6, GROUP6, mac_of(2), "fd01::2", "ff05::5", 17, 100);
        listener(0);
        comes(&f4, true, "IPv4, an open port");
        comes(&f6, true, "IPv6, an open port");
        listener(GW_PORT_SNOOPED);
        comes(&f4, false, "IPv4, not in the group");
        comes(&f6, false, "IPv6, not in the group");
        group("239.1.1.1", true);
        group("ff05::5", true);
        comes(&f4, true, "IPv4, in the group");
        comes(&f6, true, "IPv6, in the group");
        group("239.1.1.1", false);
        group("ff05::5", false);
        listener(GW_PORT_SNOOPED | GW_PORT_MULTICAST_ROUTER);
        comes(&f4, true, "IPv4, a router");
        comes(&f6, true, "IPv6, a router");
}

static void everybodys_groups_are_not_held_back(void **state) {
        struct frame f;

        (void)state;
        listener(GW_PORT_SNOOPED);
        ipv4(&f, mac_of(-1), mac_of(2), "10.1.0.2", "10.1.0.255", 17, 100);
        comes(&f, true, "broadcast");
        ipv4(&f, (struct gw_mac){{1, 0, 0x5e, 0, 0, 0xfb}}, mac_of(2), "10.1.0.2", "224.0.0.251", 17, 100);
        comes(&f, true, "a link-local group of IPv4");
        ipv6(&f, (struct gw_mac){{0x33, 0x33, 0, 0, 0, 0xfb}}, mac_of(2), "fd01::2", "ff02::fb", 17, 100);
        comes(&f, true, "a link-local group of IPv6");
        ipv4(&f, GROUP4, mac_of(2), "10.1.0.2", "10.1.0.1", 17, 100);
        comes(&f, true, "a group on the outside alone");
        begin(&f, GROUP4, mac_of(2), 0x1234);
        gw_put_zero(&f.w, 60);
        end(&f);
        comes(&f, true, "what is not IP");
}

static void what_hosts_say_is_for_routers(void **state) {
        struct frame igmp, mld;

        (void)state;
        ipv4(&igmp, GROUP4, mac_of(2), "10.1.0.2", "239.1.1.1", 2, 16);
        igmp.b[34] = 0x16;
        ipv6_header(&mld, GROUP6, mac_of(2), "fe80::2", "ff02::16", 0, 1, 28);
        gw_put_u8(&mld.w, 58);
        gw_put_zero(&mld.w, 7);
        gw_put_u8(&mld.w, 143);
        gw_put_zero(&mld.w, 19);
        end(&mld);
        listener(0);
        comes(&igmp, false, "IGMP at a host");
        comes(&mld, false, "MLD at a host");
        listener(GW_PORT_MULTICAST_ROUTER);
        comes(&igmp, true, "IGMP at a router");
        comes(&mld, true, "MLD at a router");
        igmp.b[34] = 0x11;
        mld.b[62] = 130;
        listener(GW_PORT_SNOOPED);
        comes(&igmp, true, "an IGMP query");
        comes(&mld, true, "an MLD query");
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(multicast_goes_where_it_is_wanted),
                cmocka_unit_test(everybodys_groups_are_not_held_back),
                cmocka_unit_test(what_hosts_say_is_for_routers),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
