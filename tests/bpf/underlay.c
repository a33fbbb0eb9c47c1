/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decapsulation by the programs, frame by frame through from_underlay by
 * BPF_PROG_TEST_RUN: what plain VXLAN becomes, over both underlays, each
 * reason for which a frame is left as it is, for the VXLAN device, and each form of
 * VXLAN that is dropped because nobody could take it. VM 2 is on
 * port 1 (the loopback device lends its index), VM 5 has moved away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <linux/pkt_cls.h>
#include <stdio.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "datapath/datapath.h"
#include "frames.h"
#include "programs.h"

enum { VNI = 0xabcdef, MTU = 1450, PORT = 4789, ETH = 14, UDP = 17, TCP = 6, CE = 3, ECT = 2, VXLAN = 8 };
enum { LEFT_ALONE = -1 };
#define OWN4 "192.0.2.1"
#define FROM4 "192.0.2.2"
#define OWN6 "2001:db8::1"
#define FROM6 "2001:db8::2"

static bool over6; /* the underlay */

struct outcome {
        uint8_t frame[FRAME_MAX + 256];
        size_t size;
        int action;
};

static void config_put(uint64_t direct_until_ns) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION,
                                       .vxlan_ifindex = 1,
                                       .punt_ifindex = 1,
                                       .vxlan_port = PORT,
                                       .direct_until_ns = direct_until_ns};
        uint32_t zero = 0;

        memcpy(config.locator, ip_of(over6 ? OWN6 : OWN4).b, 16);
        put(bpf->maps.gw_config, &zero, &config);
}

static void member_put(const char *locator) {
        struct gw_abi_ip_key key = {.id = VNI};
        struct gw_abi_member value = {0};

        memcpy(key.ip, ip_of(locator).b, 16);
        put(bpf->maps.gw_members, &key, &value);
}

static void forward_put(int vm, uint8_t kind) {
        struct gw_abi_forward value = {.kind = kind, .epoch = 1, .ifindex = 1};
        struct gw_abi_mac_key key = {.vni = VNI};

        memcpy(key.mac, mac_of(vm).b, 6);
        memcpy(value.locator, ip_of(over6 ? FROM6 : FROM4).b, 16);
        put(bpf->maps.gw_fdb, &key, &value);
}

static void load(bool v6) {
        struct gw_abi_port port = {.vni = VNI, .mtu = MTU, .flags = GW_PORT_TRUSTED};
        uint32_t one = 1;

        over6 = v6;
        programs_load();
        memcpy(port.mac, mac_of(2).b, 6);
        put(bpf->maps.gw_ports, &one, &port);
        forward_put(2, GW_FORWARD_LOCAL);
        forward_put(5, GW_FORWARD_MOVED);
        member_put(FROM4);
        member_put(FROM6);
        config_put(UINT64_MAX);
}
static int load_v4(void **state) {
        (void)state;
        load(false);
        return 0;
}

static int load_v6(void **state) {
        (void)state;
        load(true);
        return 0;
}

static void run(const struct frame *f, uint32_t gso_size, struct outcome *o) {
        struct __sk_buff context = {.ifindex = 1, .gso_size = gso_size, .gso_segs = gso_size ? 2 : 0};
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = o->frame,
                    .data_size_out = sizeof o->frame, .ctx_in = &context, .ctx_size_in = sizeof context);

        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_underlay), &opts), 0);
        o->action = (int)opts.retval;
        o->size = opts.data_size_out;
}

static uint16_t sum16(const uint8_t *at, size_t size) {
        uint32_t sum = 0;

        for (size_t i = 0; i < size; i += 2)
                sum += (uint32_t)(at[i] << 8 | at[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
}

static void ipv4_check_set(uint8_t *ip, size_t size) {
        uint16_t sum;

        ip[10] = ip[11] = 0;
        sum = (uint16_t)~sum16(ip, size);
        ip[10] = (uint8_t)(sum >> 8);
        ip[11] = (uint8_t)sum;
}

/* What VM 1 sends to VM `to`, with that ECN. */
static void inner(struct frame *f, int to, bool v6, uint8_t protocol, uint8_t ecn, size_t payload) {
        if (v6) {
                ipv6(f, mac_of(to), mac_of(1), "fd01::1", "fd01::2", protocol, payload);
                f->b[ETH + 1] = (uint8_t)(ecn << 4);
        } else {
                ipv4(f, mac_of(to), mac_of(1), "10.1.0.1", "10.1.0.2", protocol, payload);
                f->b[ETH + 1] = ecn;
                ipv4_check_set(f->b + ETH, 20);
        }
        for (size_t i = f->size - payload; i < f->size; i++)
                f->b[i] = (uint8_t)(i * 7);
}

static size_t udp_at(void) {
        return ETH + (over6 ? 40 : 20);
}

/* Puts `in` behind outer headers. The loopback's MAC is zero: it is for this host. */
static void wrap(struct frame *f, const struct frame *in, uint16_t gbp, uint8_t ecn) {
        const struct gw_mac here = {{0}};
        size_t payload = 8 + VXLAN + in->size;
        uint8_t *udp = f->b + udp_at();

        if (over6) {
                ipv6(f, here, mac_of(9), FROM6, OWN6, UDP, payload);
                f->b[ETH + 1] |= (uint8_t)(ecn << 4);
        } else {
                ipv4(f, here, mac_of(9), FROM4, OWN4, UDP, payload);
                f->b[ETH + 1] |= ecn;
                ipv4_check_set(f->b + ETH, 20);
        }
        udp[0] = 0xc0;
        udp[2] = PORT >> 8, udp[3] = PORT & 0xff;
        udp[4] = (uint8_t)(payload >> 8), udp[5] = (uint8_t)payload;
        udp[8] = gbp ? 0x88 : 0x08;
        udp[10] = (uint8_t)(gbp >> 8), udp[11] = (uint8_t)gbp;
        udp[12] = VNI >> 16, udp[13] = VNI >> 8 & 0xff, udp[14] = VNI & 0xff;
        memcpy(udp + 8 + VXLAN, in->b, in->size);
}

static void plain(struct frame *f) {
        struct frame in;

        inner(&in, 2, false, UDP, 0, 40);
        wrap(f, &in, 0, 0);
}

/* Linux before 6.3 cannot turn a frame of one family into one of the other: the device takes those (bpf/underlay.h). */
static int taken(bool v6) {
        struct utsname name;
        int major = 0, minor = 0;

        assert_int_equal(uname(&name), 0);
        assert_int_equal(sscanf(name.release, "%d.%d", &major, &minor), 2);
        return v6 == over6 || major > 6 || (major == 6 && minor >= 3) ? TC_ACT_REDIRECT : LEFT_ALONE;
}

static void what_was_inside_is_delivered(void **state) {
        struct frame in, f;
        struct outcome o;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                for (size_t payload = 8; payload <= MTU - 40; payload += 67) {
                        inner(&in, 2, v6, UDP, 0, payload);
                        wrap(&f, &in, payload & 1 ? 0x123 : 0, 0); /* another's group policy is no mark */
                        run(&f, 0, &o);
                        assert_int_equal(o.action, taken(v6));
                        if (o.action == LEFT_ALONE)
                                continue;
                        assert_int_equal(o.size, in.size);
                        assert_memory_equal(o.frame, in.b, in.size);
                        assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_DELIVERED);
                        assert_int_equal(bpf->bss->gw_trace.ifindex, 1);
                }
        }
}

static void the_mark_is_read(void **state) {
        struct frame in, f;
        struct outcome o;

        (void)state;
        inner(&in, 5, over6, UDP, 0, 100);
        wrap(&f, &in, 0, 0);
        run(&f, 0, &o);
        assert_int_equal(o.action, TC_ACT_REDIRECT);
        assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_REDIRECTED);
        assert_int_equal(bpf->bss->gw_trace.vni, VNI);
        wrap(&f, &in, GW_GBP_REDIRECTED | 5, 0);
        run(&f, 0, &o);
        assert_int_equal(o.action, TC_ACT_REDIRECT); /* from where it was cut over to: it is taken back */
        assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_PUNTED);
        assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_RETURNED);
        forward_put(5, GW_FORWARD_REMOTE);
        run(&f, 0, &o);
        assert_int_equal(o.action, TC_ACT_STOLEN);
        assert_int_equal(bpf->bss->gw_trace.counter, GW_COUNT_DROP_LOOP);
}

/* RFC 6040 section 4.2. */
static void congestion_goes_inside(void **state) {
        struct frame in, f;
        struct outcome o;

        (void)state;
        for (int v6 = 0; v6 < 2; v6++) {
                for (uint8_t outer = 0; outer < 4; outer++) {
                        for (uint8_t ecn = 0; ecn < 4; ecn++) {
                                bool dropped = outer == CE && !ecn;
                                inner(&in, 2, v6, UDP, ecn, 64);
                                wrap(&f, &in, 0, outer);
                                run(&f, 0, &o);
                                assert_int_equal(o.action, dropped ? LEFT_ALONE : taken(v6));
                                if (o.action == LEFT_ALONE)
                                        continue;
                                if (outer == CE)
                                        in.b[ETH + 1] |= v6 ? CE << 4 : CE;
                                if (!v6)
                                        ipv4_check_set(in.b + ETH, 20);
                                assert_memory_equal(o.frame, in.b, in.size);
                        }
                }
        }
}

static void left_alone(const struct frame *f, uint32_t gso_size, const char *why) {
        struct outcome o;

        run(f, gso_size, &o);
        if (o.action != LEFT_ALONE)
                fail_msg("taken in spite of: %s", why);
        assert_int_equal(o.size, f->size);
        assert_memory_equal(o.frame, f->b, f->size);
}

static void with_octet(size_t at, uint8_t value, const char *why) {
        struct frame f;

        plain(&f);
        assert_int_not_equal(f.b[at], value);
        f.b[at] = value;
        if (!over6 && at >= ETH && at < ETH + 20 && at != ETH + 10)
                ipv4_check_set(f.b + ETH, 20);
        left_alone(&f, 0, why);
}

static void the_device_takes_other_vxlan(void **state) {
        size_t udp = udp_at();

        (void)state;
        with_octet(udp + 3, 0, "another UDP port");
        with_octet(udp + 7, 1, "a UDP checksum");
        with_octet(udp + 5, 80, "another UDP length");
        with_octet(udp + 14, 1, "another VN, of which the sender is no member");
        with_octet(udp + 16 + 13, 6, "an inner frame that is ARP");
        with_octet(udp + 16 + ETH + 9, TCP, "inner TCP");
        with_octet(0, 2, "another host's MAC");
        with_octet(udp - 1, 9, "another destination");
        with_octet(over6 ? udp - 17 : udp - 5, 9, "a sender that is no member");
        with_octet(over6 ? ETH + 6 : ETH + 9, TCP, "no UDP");
}

static void the_device_takes_other_ip(void **state) {
        struct frame f, in;

        (void)state;
        if (over6) {
                with_octet(ETH + 5, 1, "another payload length");
                with_octet(ETH + 6, 44, "a fragment header");
                with_octet(ETH + 6, 60, "destination options");
        } else {
                with_octet(ETH, 0x46, "IP options");
                with_octet(ETH + 3, 1, "another length");
                with_octet(ETH + 6, 0x20, "more fragments");
                with_octet(ETH + 7, 1, "a fragment's offset");
                with_octet(ETH + 10, 1, "a wrong header checksum");
        }
        inner(&in, 2, true, TCP, 0, 40);
        wrap(&f, &in, 0, 0);
        left_alone(&f, 0, "inner TCP over IPv6");
        plain(&f);
        f.size += 2;
        left_alone(&f, 0, "octets behind");
        f.size -= 2;
        left_alone(&f, 20, "GSO");
        f.size = udp_at() + 8 + VXLAN + ETH + 10;
        left_alone(&f, 0, "too short");
        plain(&f);
        config_put(1);
        left_alone(&f, 0, "nobody has looked for IPsec for long");
}

/* The UDP length, and those of IP, say that so much follows the UDP header; the frame may have more (padding). */
static void cut_to(struct frame *f, size_t payload) {
        uint8_t *udp = f->b + udp_at();
        size_t octets = 8 + payload;

        plain(f);
        udp[4] = 0, udp[5] = (uint8_t)octets;
        f->b[ETH + (over6 ? 5 : 3)] = (uint8_t)(octets + (over6 ? 0 : 20));
        if (!over6)
                ipv4_check_set(f->b + ETH, 20);
        f->size = udp_at() + octets;
}

static void dropped(const struct frame *f, enum gw_counter counter, const char *why) {
        struct outcome o;

        run(f, 0, &o);
        if (o.action != TC_ACT_STOLEN || bpf->bss->gw_trace.counter != counter)
                fail_msg("not dropped and counted: %s", why);
}

static void broken_vxlan_is_counted(void **state) {
        const struct {
                size_t at;
                uint8_t value;
                const char *why;
        } rows[] = {
                {8, 0, "no VNI"},
                {8, 0x0c, "a reserved flag"},
                {8, 0x8c, "a reserved flag beside group policy"},
                {8, 0x80, "group policy without a VNI"},
                {11, 1, "reserved octets without group policy"},
                {15, 1, "the octet behind the VNI"},
        };
        struct frame f;

        (void)state;
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
                plain(&f);
                f.b[udp_at() + rows[i].at] = rows[i].value;
                dropped(&f, GW_COUNT_DROP_VXLAN_HEADER, rows[i].why);
                f.b[udp_at() + 7] = 1; /* with a checksum, too */
                dropped(&f, GW_COUNT_DROP_VXLAN_HEADER, rows[i].why);
        }
        for (size_t payload = 0; payload < VXLAN + ETH; payload++) {
                cut_to(&f, payload);
                dropped(&f, GW_COUNT_DROP_VXLAN_SHORT, "it ends before a frame");
                f.size += 20;
                dropped(&f, GW_COUNT_DROP_VXLAN_SHORT, "it ends before a frame, and the wire's padding follows");
                f.size -= 20;
                f.b[udp_at() + 3] ^= 1;
                left_alone(&f, 0, "another UDP port");
        }
        cut_to(&f, VXLAN + ETH);
        left_alone(&f, 0, "a frame that is a header: the device's");
        cut_to(&f, 4);
        f.b[over6 ? ETH + 6 : ETH + 7] = over6 ? 44 : 1;
        if (!over6)
                ipv4_check_set(f.b + ETH, 20);
        left_alone(&f, 0, "a fragment, of which that may be the middle");
        cut_to(&f, 4);
        f.b[udp_at() - 1] = 9;
        if (!over6)
                ipv4_check_set(f.b + ETH, 20);
        left_alone(&f, 0, "for another host");
}

#define BOTH(test)                                                                                                     \
        cmocka_unit_test_setup_teardown(test, load_v4, unload), {                                                      \
#test " over IPv6", test, load_v6, unload, NULL                                                        \
        }

int main(void) {
        const struct CMUnitTest tests[] = {
                BOTH(what_was_inside_is_delivered), BOTH(the_mark_is_read),          BOTH(congestion_goes_inside),
                BOTH(the_device_takes_other_vxlan), BOTH(the_device_takes_other_ip), BOTH(broken_vxlan_is_counted),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
