/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guards of a port and its limits, on built packets: a table of frames that a
 * hostile VM would send, each with the counter that names it, and of frames that
 * look alike and are honest; what each permission opens and what it does not; the
 * buckets; and frames of chance, held against a plain model (guard_model.h).
 *
 * The world: port 1 is VM 1, 10.1.0.1 and fd01::1. VM 2 is at a locator.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/pkt_cls.h>
#include <stdio.h>
#include <unistd.h>

#include "../prop/seed.h"
#include "base/time.h"
#include "datapath/datapath.h"
#include "frames.h"
#include "guard_model.h"
#include "programs.h"

enum {
        VNI = 77,
        MTU = 1450,
        NO_COUNTER = 0xffff,
        PORT = 1,
        UDP = 17,
        ICMP6 = 58,
        HBH = 0,
        FRAGMENT = 44,
        DSTOPTS = 60
};
#define ELSEWHERE "192.0.2.2"

static int own_at; /* where the port's addresses are among those of its entry */

/* The port anew: flags, and one limit for everything. */
static void port_put(uint32_t flags, uint32_t per_s, uint32_t burst) {
        struct gw_abi_port value = {.vni = VNI, .mtu = MTU, .flags = flags};
        uint32_t ifindex = PORT;

        memcpy(value.mac, mac_of(1).b, 6);
        value.own4[own_at] = inet_addr("10.1.0.1");
        memcpy(value.own6[own_at ? own_at + 1 : 0], ip_of("fd01::1").b, 16);
        for (int i = 0; i < GW_LIMIT_MAX; i++)
                value.limits[i] = (struct gw_abi_limit){.per_s = per_s, .burst = burst};
        put(bpf->maps.gw_ports, &ifindex, &value);
}

static int load(void **state) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        struct gw_abi_forward remote = {.kind = GW_FORWARD_REMOTE, .epoch = 1};
        struct gw_abi_flood flood = {.n_locators = 1};
        struct gw_abi_mac_key key = {.vni = VNI};
        uint32_t zero = 0, vni = VNI;

        (void)state;
        programs_load();
        memcpy(config.locator, ip_of("192.0.2.1").b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        memcpy(key.mac, mac_of(2).b, 6);
        memcpy(remote.locator, ip_of(ELSEWHERE).b, 16);
        put(bpf->maps.gw_fdb, &key, &remote);
        memcpy(flood.locators[0], ip_of(ELSEWHERE).b, 16);
        put(bpf->maps.gw_flood, &vni, &flood);
        port_put(0, 0, 0);
        return 0;
}

static enum gw_counter sent(const struct frame *f) {
        struct __sk_buff context = {.ifindex = PORT};
        uint8_t out[FRAME_MAX + 256];
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = &context, .ctx_size_in = sizeof context);

        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.from_guest), &opts), 0);
        return (enum gw_counter)bpf->bss->gw_trace.counter;
}

static void expect(const struct frame *f, enum gw_counter counter, const char *what) {
        enum gw_counter got = sent(f);

        if (got != counter)
                fail_msg("%s: counted %s, not %s", what, gw_counter_name(got), gw_counter_name(counter));
}

/* ---- makers: each writes one frame ---- */

static void udp_of(struct frame *f, bool v6, const char *source, uint16_t to_port) {
        if (v6)
                ipv6(f, mac_of(2), mac_of(1), source, "fd01::2", UDP, 40);
        else
                ipv4(f, mac_of(2), mac_of(1), source, "10.1.0.2", UDP, 40);
        f->b[(v6 ? 54 : 34) + 2] = (uint8_t)(to_port >> 8);
        f->b[(v6 ? 54 : 34) + 3] = (uint8_t)to_port;
}

/* `n` extension headers of 8 octets, the first of kind `first`, then what `next` says, starting with `octet`. */
static void chain(struct frame *f, int n, uint8_t first, uint8_t hops, uint8_t next, uint8_t octet, size_t payload) {
        ipv6_header(f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", first, hops, (size_t)n * 8 + payload);
        for (int i = 0; i < n; i++) {
                gw_put_u8(&f->w, i == n - 1 ? next : DSTOPTS);
                gw_put_zero(&f->w, 7);
        }
        if (payload) {
                gw_put_u8(&f->w, octet);
                gw_put_zero(&f->w, payload - 1);
        }
        end(f);
}

static void other(struct frame *f, uint16_t type, size_t payload) {
        begin(f, mac_of(2), mac_of(1), type);
        gw_put_zero(&f->w, payload);
        end(f);
}

/* An option more behind an NS or NA. */
static void append_option(struct frame *f, uint8_t type, uint8_t length, struct gw_mac mac) {
        uint16_t octets = (uint16_t)(f->b[18] << 8 | f->b[19]) + 8;

        gw_put_u8(&f->w, type);
        gw_put_u8(&f->w, length);
        gw_put_bytes(&f->w, &mac, 6);
        f->b[18] = (uint8_t)(octets >> 8);
        f->b[19] = (uint8_t)octets;
        end(f);
}

/* ---- tests ---- */

static void own_frames_pass(void **state) {
        struct frame f;

        (void)state;
        udp_of(&f, false, "10.1.0.1", 53);
        expect(&f, GW_COUNT_REMOTE, "IPv4");
        udp_of(&f, true, "fd01::1", 53);
        expect(&f, GW_COUNT_REMOTE, "IPv6");
        udp_of(&f, true, "fe80::ff:fe00:101", 53);
        expect(&f, GW_COUNT_REMOTE, "own link-local address");
        chain(&f, 2, HBH, 64, ICMP6, 128, 16);
        expect(&f, GW_COUNT_REMOTE, "a ping behind options");
        chain(&f, 1, FRAGMENT, 255, ICMP6, 128, 16);
        expect(&f, GW_COUNT_REMOTE, "a ping in fragments, hop limit 255");
        chain(&f, 1, HBH, 1, ICMP6, 143, 16);
        expect(&f, GW_COUNT_REMOTE, "an MLD report");
        ipv4(&f, mac_of(-1), mac_of(1), "0.0.0.0", "255.255.255.255", UDP, 300);
        f.b[37] = 67;
        expect(&f, GW_COUNT_FLOOD_REMOTE, "a DHCP client");
        ipv4(&f, (struct gw_mac){{1, 0, 0x5e, 0, 0, 22}}, mac_of(1), "0.0.0.0", "224.0.0.22", 2, 16);
        expect(&f, GW_COUNT_PUNTED, "IGMP before there is an address");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 135, "fd01::2", 1, mac_of(1));
        append_option(&f, 14, 1, mac_of(7));
        expect(&f, GW_COUNT_REMOTE, "a solicitation with a nonce");
        other(&f, 0x88e5, 60);
        expect(&f, GW_COUNT_REMOTE, "another protocol");
}

static void who_sends(void **state) {
        struct frame f;

        (void)state;
        udp_of(&f, false, "10.1.0.1", 53);
        f.b[11] = 9;
        expect(&f, GW_COUNT_DROP_GUARD_MAC, "another's MAC");
        f.b[6] = 0xff;
        expect(&f, GW_COUNT_DROP_GUARD_MAC, "a group as source");
        udp_of(&f, false, "10.1.0.2", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV4, "another's IPv4 address");
        udp_of(&f, false, "127.0.0.1", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV4, "loopback");
        udp_of(&f, false, "0.0.0.0", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV4, "no address, to one VM");
        udp_of(&f, true, "fd01::2", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV6, "another's IPv6 address");
        udp_of(&f, true, "fe80::ff:fe00:102", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV6, "another's link-local address");
        udp_of(&f, true, "::ffff:10.1.0.1", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV6, "its own IPv4 address, mapped");
        ipv6(&f, mac_of(2), mac_of(1), "::", "ff02::1", UDP, 40);
        expect(&f, GW_COUNT_DROP_GUARD_IPV6, "from nobody to a group, but to one MAC");
}

static void routers_and_servers(void **state) {
        struct frame f;

        (void)state;
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "ff02::1", 134, "::", 1, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_ROUTER, "a router advertisement");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 137, "fd01::9", 0, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_ROUTER, "a redirect");
        udp_of(&f, false, "10.1.0.1", 68);
        expect(&f, GW_COUNT_DROP_GUARD_DHCP, "a DHCP server");
        udp_of(&f, true, "fd01::1", 546);
        expect(&f, GW_COUNT_DROP_GUARD_DHCP, "a DHCPv6 server");
        chain(&f, 3, HBH, 64, UDP, 0, 8);
        f.b[54 + 24 + 2] = 546 >> 8;
        f.b[54 + 24 + 3] = 546 & 255;
        expect(&f, GW_COUNT_DROP_GUARD_DHCP, "a DHCPv6 server behind options");
        ipv4(&f, mac_of(2), mac_of(1), "10.1.0.1", "10.1.0.2", UDP, 40);
        f.b[14] = 0x46; /* four octets of options come first */
        f.b[14 + 24 + 3] = 68;
        expect(&f, GW_COUNT_DROP_GUARD_DHCP, "a DHCP server behind IPv4 options");
        ipv4(&f, mac_of(2), mac_of(1), "10.1.0.1", "10.1.0.2", UDP, 2);
        f.b[20] = 0x20;
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "a fragment too short to tell");

        port_put(GW_PORT_ROUTER | GW_PORT_DHCP_SERVER, 0, 0);
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "ff02::1", 134, "::", 0, mac_of(1));
        f.b[19] = 16;
        f.size = 70;
        expect(&f, GW_COUNT_REMOTE, "an advertisement of a router that may");
        udp_of(&f, false, "10.1.0.1", 68);
        expect(&f, GW_COUNT_REMOTE, "a DHCP server that may");
        udp_of(&f, true, "fd01::1", 546);
        expect(&f, GW_COUNT_REMOTE, "a DHCPv6 server that may");
        udp_of(&f, false, "10.1.0.9", 53);
        expect(&f, GW_COUNT_DROP_GUARD_IPV4, "and still for itself only");
        port_put(GW_PORT_FORWARDS, 0, 0);
        udp_of(&f, false, "10.1.0.9", 53);
        expect(&f, GW_COUNT_REMOTE, "packets of others, from one that forwards");
        arp(&f, mac_of(2), 2, mac_of(1), "10.1.0.9", "10.1.0.2");
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "but not their ARP");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 136, "fd01::9", 2, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_ND, "nor their ND");
        nd(&f, mac_of(2), mac_of(1), "fd01::9", "fd01::2", 135, "fd01::2", 1, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_ND, "nor a question in their name, which would put our MAC into a cache");
        port_put(0, 0, 0);
}

static void what_hides(void **state) {
        struct frame f;

        (void)state;
        chain(&f, 1, HBH, 255, ICMP6, 134, 16);
        expect(&f, GW_COUNT_DROP_GUARD_ND, "an advertisement behind options");
        chain(&f, 4, HBH, 255, ICMP6, 136, 24);
        expect(&f, GW_COUNT_DROP_GUARD_ND, "behind four headers");
        chain(&f, 1, FRAGMENT, 255, ICMP6, 135, 24);
        expect(&f, GW_COUNT_DROP_GUARD_ND, "in a first fragment (RFC 6980)");
        chain(&f, 2, FRAGMENT, 255, ICMP6, 0, 0);
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "a first fragment that ends before it tells");
        chain(&f, 8, HBH, 255, ICMP6, 134, 16);
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "more headers than are followed");
        chain(&f, 1, FRAGMENT, 255, ICMP6, 134, 16);
        f.b[56] = 1; /* offset 256 */
        expect(&f, GW_COUNT_REMOTE, "a later fragment is nothing by itself");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 135, "fd01::2", 14, mac_of(1));
        append_option(&f, 1, 1, mac_of(9));
        expect(&f, GW_COUNT_DROP_GUARD_ND, "another's MAC in the second option");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 135, "fd01::2", 14, mac_of(1));
        append_option(&f, 1, 0, mac_of(1));
        expect(&f, GW_COUNT_DROP_MALFORMED, "an option of no length");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 135, "fd01::2", 14, mac_of(1));
        for (int i = 0; i < 12; i++)
                append_option(&f, 14, 1, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "more options than are read");
        ipv6_header(&f, mac_of(2), mac_of(1), "fd01::1", "ff02::2", ICMP6, 255, 16); /* a router solicitation */
        gw_put_u8(&f.w, 133);
        gw_put_zero(&f.w, 7);
        gw_put_u16(&f.w, 0x0101);
        gw_put_bytes(&f.w, (uint8_t[]){2, 0, 0, 0, 1, 9}, 6);
        end(&f);
        expect(&f, GW_COUNT_DROP_GUARD_ND, "another's MAC in a router solicitation");
        chain(&f, 1, HBH, 1, ICMP6, 130, 16);
        expect(&f, GW_COUNT_DROP_GUARD_QUERIER, "an MLD query");
        ipv4(&f, (struct gw_mac){{1, 0, 0x5e, 0, 0, 1}}, mac_of(1), "10.1.0.1", "224.0.0.1", 2, 16);
        f.b[34] = 0x11;
        expect(&f, GW_COUNT_DROP_GUARD_QUERIER, "an IGMP query");
        port_put(GW_PORT_MULTICAST_ROUTER, 0, 0);
        expect(&f, GW_COUNT_FLOOD_REMOTE, "an IGMP query of one that may");
        port_put(0, 0, 0);
        other(&f, 0x8100, 60);
        expect(&f, GW_COUNT_DROP_VLAN, "a VLAN tag");
        other(&f, 0x88a8, 60);
        expect(&f, GW_COUNT_DROP_VLAN, "a provider's tag");
        other(&f, 0x9100, 60);
        expect(&f, GW_COUNT_DROP_VLAN, "an old provider's tag");
        other(&f, 60, 60);
        expect(&f, GW_COUNT_DROP_GUARD_LLC, "an 802.2 frame");
        port_put(GW_PORT_ANY_FRAME, 0, 0);
        expect(&f, GW_COUNT_REMOTE, "an 802.2 frame of one that may");
        port_put(0, 0, 0);
}

/* A packet that ends before its headers do, in a frame that goes on: a receiver cuts the rest off, and takes what the
 * next fragment has instead. */
static void what_follows_the_packet(void **state) {
        struct frame f;

        (void)state;
        chain(&f, 2, FRAGMENT, 64, UDP, 0, 8);
        f.b[57] = 1;  /* more to come */
        f.b[19] -= 8; /* the UDP header is not in the packet */
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "a UDP header behind the end of a first fragment");
        chain(&f, 2, FRAGMENT, 255, ICMP6, 128, 8);
        f.b[57] = 1;
        f.b[19] -= 8;
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "an ICMPv6 header behind the end of a first fragment");
        chain(&f, 3, FRAGMENT, 64, UDP, 0, 8);
        f.b[57] = 1;
        f.b[19] -= 16;
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "an extension header behind the end");
        udp_of(&f, false, "10.1.0.1", 53);
        f.b[17] = 20;
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "an IPv4 packet that ends before its ports");
        chain(&f, 1, HBH, 64, 6, 0, 40);
        f.b[18] = f.b[19] = 0;
        f.b[55] = 0;
        expect(&f, GW_COUNT_DROP_GUARD_HEADERS, "a jumbogram (RFC 2675), which no link here can carry");
}

/* MLD in another form than RFC 3810's would reach other hosts, which would keep silent about their own groups. */
static void groups_in_another_form(void **state) {
        static const uint8_t types[] = {131, 132, 143};
        struct frame f;

        (void)state;
        for (int i = 0; i < 3; i++) {
                chain(&f, 1, HBH, 1, ICMP6, types[i], 24);
                f.b[0] = f.b[1] = 0x33;
                f.b[38] = 0xff;
                expect(&f, GW_COUNT_PUNTED, "MLD as it should be");
                chain(&f, 2, HBH, 1, ICMP6, types[i], 24);
                expect(&f, GW_COUNT_DROP_MALFORMED, "MLD behind one header too many");
                chain(&f, 1, DSTOPTS, 1, ICMP6, types[i], 24);
                expect(&f, GW_COUNT_DROP_MALFORMED, "MLD behind other options");
                ipv6(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", ICMP6, 24);
                f.b[54] = types[i];
                expect(&f, GW_COUNT_DROP_MALFORMED, "MLD without options");
                f.b[21] = 255;
                expect(&f, GW_COUNT_DROP_MALFORMED, "MLD without options, from the link");
        }
        f.b[54] = 130;
        expect(&f, GW_COUNT_DROP_GUARD_QUERIER, "an MLD query without options");
        f.b[21] = 64;
        expect(&f, GW_COUNT_DROP_GUARD_QUERIER, "the same with another hop limit");
}

static void neighbours(void **state) {
        struct frame f;

        (void)state;
        arp(&f, mac_of(2), 2, mac_of(1), "10.1.0.2", "10.1.0.3");
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "an answer for another");
        arp(&f, mac_of(-1), 1, mac_of(1), "10.1.0.2", "10.1.0.2");
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "a claim to another's address");
        arp(&f, mac_of(2), 1, mac_of(1), "0.0.0.0", "10.1.0.2");
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "a probe at its owner, to drive it away");
        arp(&f, mac_of(-1), 2, mac_of(1), "0.0.0.0", "10.1.0.2");
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "an answer from nobody");
        arp(&f, mac_of(2), 1, mac_of(1), "10.1.0.1", "10.1.0.2");
        f.b[21] = 8;
        expect(&f, GW_COUNT_DROP_GUARD_ARP, "another operation");
        arp(&f, mac_of(-1), 4, mac_of(1), "10.1.0.1", "10.1.0.9");
        expect(&f, GW_COUNT_DROP_GUARD_RARP, "a RARP server");
        arp(&f, mac_of(-1), 3, mac_of(1), "0.0.0.0", "0.0.0.0");
        f.b[37] ^= 1;
        expect(&f, GW_COUNT_DROP_GUARD_RARP, "RARP about another");
        arp(&f, mac_of(-1), 3, mac_of(1), "0.0.0.0", "0.0.0.0");
        f.b[27] ^= 1;
        expect(&f, GW_COUNT_DROP_GUARD_RARP, "RARP from another");
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 136, "fd01::9", 2, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_ND, "an advertisement of another's address");
        nd(&f, mac_of(2), mac_of(1), "::", "ff02::1:ff00:2", 135, "fd01::2", 0, mac_of(1));
        expect(&f, GW_COUNT_DROP_GUARD_IPV6, "a DAD probe at its owner");
}

static void sizes(void **state) {
        struct frame f;

        (void)state;
        other(&f, 0x88e5, MTU);
        expect(&f, GW_COUNT_REMOTE, "as large as may be");
        other(&f, 0x88e5, MTU + 1);
        expect(&f, GW_COUNT_DROP_OVERSIZE, "larger, and nobody who could be told");
        udp_of(&f, false, "10.1.0.1", 53);
        f.b[17] += 20;
        expect(&f, GW_COUNT_DROP_MALFORMED, "IPv4 that says it is longer");
        udp_of(&f, true, "fd01::1", 53);
        f.b[19] += 20;
        expect(&f, GW_COUNT_DROP_MALFORMED, "IPv6 that says it is longer");
        begin(&f, mac_of(2), mac_of(1), ARP);
        gw_put_zero(&f.w, 20);
        end(&f);
        expect(&f, GW_COUNT_DROP_SHORT, "half an ARP packet");
}

/* Sends until it is refused; what came before is `passes`. A burst, and as many more as became due meanwhile. (A bucket is
 * as full as the machine has been up for: so it is one that takes three seconds to fill.) */
static void runs_dry(const struct frame *f, unsigned burst, enum gw_counter passes, enum gw_counter dry) {
        enum { PER_S = 10 };
        uint64_t began_ns = gw_mono_now().ns, due;
        enum gw_counter last = passes;
        unsigned n = 0;

        port_put(0, PER_S, burst);
        while (n < 10 * burst && (last = sent(f)) == passes)
                n++;
        due = burst + 1 + (gw_mono_now().ns - began_ns) / (GW_NS_PER_S / PER_S);
        if (n < burst || n > due)
                fail_msg("%u frames passed where %u were due, the burst is %u", n, (unsigned)due, burst);
        if (last != dry)
                fail_msg("beyond the limit: counted %s, not %s", gw_counter_name(last), gw_counter_name(dry));
        port_put(0, 0, 0);
}

static void limits(void **state) {
        struct frame f, known;

        (void)state;
        udp_of(&known, false, "10.1.0.1", 53);
        arp(&f, mac_of(2), 2, mac_of(1), "10.1.0.1", "10.1.0.2");
        runs_dry(&f, 20, GW_COUNT_REMOTE, GW_COUNT_DROP_LIMIT_NEIGHBOURS);
        nd(&f, mac_of(2), mac_of(1), "fd01::1", "fd01::2", 136, "fd01::1", 2, mac_of(1));
        runs_dry(&f, 20, GW_COUNT_REMOTE, GW_COUNT_DROP_LIMIT_NEIGHBOURS);
        ipv4(&f, mac_of(9), mac_of(1), "10.1.0.1", "10.1.0.9", UDP, 40);
        runs_dry(&f, 30, GW_COUNT_PUNTED, GW_COUNT_DROP_LIMIT_MISSES);
        ipv4(&f, mac_of(2), mac_of(1), "10.1.0.1", "10.1.0.2", UDP, MTU);
        runs_dry(&f, 30, GW_COUNT_PUNTED, GW_COUNT_DROP_LIMIT_MISSES);
        ipv4(&f, mac_of(-1), mac_of(1), "10.1.0.1", "10.1.0.255", UDP, 40);
        runs_dry(&f, 10, GW_COUNT_FLOOD_REMOTE, GW_COUNT_DROP_LIMIT_GROUP);
        port_put(0, 1, 1);
        for (int i = 0; i < 100; i++)
                expect(&known, GW_COUNT_REMOTE, "what is known is not limited");
        port_put(0, 100, 10); /* 10 at once, then one in 10 ms */
        ipv4(&f, mac_of(9), mac_of(1), "10.1.0.1", "10.1.0.9", UDP, 40);
        while (sent(&f) == GW_COUNT_PUNTED)
                ;
        usleep(50000);
        expect(&f, GW_COUNT_PUNTED, "after a pause");
        port_put(0, 0, 0);
}

/* ---- chance ---- */

static uint8_t pick(struct dice *dice, const uint8_t *from, size_t n) {
        return from[dice_below(dice, n)];
}

/* A frame that is nearly right: a form, then some octets of the kind that matter changed. */
static void chance_frame(struct dice *dice, struct frame *f) {
        static const char *const v4[] = {"10.1.0.1", "10.1.0.2", "0.0.0.0"}, *const v6[] = {"fd01::1", "fd01::2",
                                                                                            "::", "fe80::ff:fe00:101"};
        static const uint8_t octets[] = {0,  1,  2,  3,   4,   6,   8,   17,  43,  44,  51,  58, 60,
                                         64, 67, 68, 130, 131, 133, 134, 135, 136, 137, 143, 255};
        enum { OCTETS = sizeof octets };
        struct gw_mac to = mac_of(dice_below(dice, 3) ? 2 : -1), from = mac_of(dice_below(dice, 12) ? 1 : 3);
        const char *s4 = v4[dice_below(dice, 3)], *s6 = v6[dice_below(dice, 4)];
        static const uint16_t types[] = {0x8100, 0x88a8, 0x9100, 100, 0x88e5, IPV6};

        switch (dice_below(dice, 6)) {
        case 0:
                arp(f, to, (uint16_t)(1 + dice_below(dice, 5)), from, s4, "10.1.0.2");
                break;
        case 1:
                ipv4(f, to, from, s4, dice_below(dice, 2) ? "255.255.255.255" : "10.1.0.2", pick(dice, octets, OCTETS),
                     40);
                break;
        case 2:
                nd(f, to, from, s6, dice_below(dice, 2) ? "ff02::1" : "fd01::2", (uint8_t)(132 + dice_below(dice, 7)),
                   v6[dice_below(dice, 4)], (uint8_t)dice_below(dice, 4), mac_of(dice_below(dice, 3) ? 1 : 9));
                while (dice_below(dice, 2) && f->size < 300)
                        append_option(f, (uint8_t)dice_below(dice, 15), (uint8_t)(dice_below(dice, 8) ? 1 : 0),
                                      mac_of(dice_below(dice, 3) ? 1 : 9));
                break;
        case 3:
                ipv6(f, to, from, s6, "fd01::2", pick(dice, octets, OCTETS), 80);
                break;
        case 4:
                chain(f, (int)(1 + dice_below(dice, 9)), pick(dice, (uint8_t[]){0, 43, 44, 51, 60}, 5),
                      dice_below(dice, 2) ? 255 : 64, pick(dice, octets, OCTETS), pick(dice, octets, OCTETS),
                      dice_below(dice, 30));
                break;
        default:
                begin(f, to, from, types[dice_below(dice, 6)]);
                gw_put_zero(&f->w, dice_below(dice, 100));
                end(f);
        }
        for (int n = (int)dice_below(dice, 4); n > 0 && f->size > 15; n--)
                f->b[12 + dice_below(dice, f->size - 12)] = pick(dice, octets, OCTETS);
        if (!dice_below(dice, 4) && f->size > 60)
                f->size = 54 + dice_below(dice, f->size - 54);
        if (!dice_below(dice, 4)) /* and one whose frame goes on behind it */
                f->b[17 + 2 * dice_below(dice, 2)] -= (uint8_t)dice_below(dice, 24);
        if (f->size < 54) /* a shorter IP frame is refused by the test-run itself */
                f->size = 54;
}

static bool was_refused(enum gw_counter counter) {
        return strncmp(gw_counter_name(counter), "drop-guard-", 11) == 0 || counter == GW_COUNT_DROP_SHORT ||
               counter == GW_COUNT_DROP_MALFORMED || counter == GW_COUNT_DROP_VLAN;
}

static void print_frame(const struct frame *f) {
        for (size_t i = 0; i < f->size; i++)
                printf("%s%02x", i % 16 ? " " : "\n# ", f->b[i]);
        printf("\n");
}

/* Whatever a VM sends: what the model refuses is refused, and nothing else is. */
static void chance_never_escapes_the_model(void **state) {
        static const uint32_t permissions[] = {
                0, GW_PORT_ROUTER, GW_PORT_DHCP_SERVER, GW_PORT_FORWARDS, GW_PORT_ANY_FRAME, GW_PORT_MULTICAST_ROUTER};
        struct dice dice = dice_new();
        unsigned refused = 0, rounds = 300000;
        struct frame f;

        (void)state;
        for (unsigned i = 0; i < rounds; i++) {
                struct model m = {.flags = permissions[i / (rounds / 6) % 6], .v4 = {10, 1, 0, 1}};
                enum gw_counter got;

                if (i % (rounds / 12) == 0) {
                        own_at = i / (rounds / 12) % 2 ? GW_OWN4_MAX - 1 : 0;
                        port_put(m.flags, 0, 0);
                }
                chance_frame(&dice, &f);
                memcpy(m.mac, mac_of(1).b, 6);
                memcpy(m.v6, ip_of("fd01::1").b, 16);
                m.b = f.b;
                m.n = f.size;
                got = sent(&f);
                refused += was_refused(got);
                if (was_refused(got) == model_passes(&m)) {
                        print_frame(&f);
                        fail_msg("frame %u, permissions %u: %s, but the model says %s", i, m.flags,
                                 gw_counter_name(got), model_passes(&m) ? "pass" : "refuse");
                }
        }
        printf("# %u of %u refused\n", refused, rounds);
        assert_in_range(refused, rounds / 5, rounds * 9 / 10);
        own_at = 0;
        port_put(0, 0, 0);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(own_frames_pass),
                cmocka_unit_test(who_sends),
                cmocka_unit_test(routers_and_servers),
                cmocka_unit_test(what_hides),
                cmocka_unit_test(what_follows_the_packet),
                cmocka_unit_test(groups_in_another_form),
                cmocka_unit_test(neighbours),
                cmocka_unit_test(sizes),
                cmocka_unit_test(limits),
                cmocka_unit_test(chance_never_escapes_the_model),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
