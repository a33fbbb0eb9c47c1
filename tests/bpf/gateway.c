/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway's data plane, on built packets given to from_wire: what it routes where, against a
 * naive longest-prefix model with random routes, and the probes that it sends back. Both underlays' addresses.
 *
 * The world: VNs FIRST to FIRST + VNS - 1. EDGE and GATEWAY are members of all, GATEWAY as a gateway. In each VN every
 * address of the pool belongs to a VM that is at EDGE.
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
#include "prop/seed.h"

enum { FIRST = 100, VNS = 3, POOL = 24, ROUTES = 24, MTU = 1400, NO_COUNTER = 0xffff };
enum { UDP = 17, ENDS_AT = 22, PROBE_PORT = 3785, EDGE_PORT = 49152 };
enum place { EDGE, GATEWAY, STRANGER };
static const char *const places[2][3] = {{"192.0.2.2", "192.0.2.3", "192.0.2.66"},
                                         {"2001:db8::2", "2001:db8::3", "2001:db8::66"}};
static const struct gw_mac gateway_mac = {GW_ABI_GATEWAY_MAC};

static int over6;
static char pool[POOL][GW_IP_TEXT];
static struct dice dice;

static unsigned below(unsigned n) {
        return (unsigned)dice_below(&dice, n);
}

static struct gw_ip at(enum place place) {
        return ip_of(places[over6][place]);
}

static void entry_put(uint32_t vni, struct gw_mac mac, uint8_t kind, enum place place) {
        struct gw_abi_mac_key key = {.vni = vni};
        struct gw_abi_forward value = {.kind = kind, .epoch = 1};

        memcpy(key.mac, mac.b, 6);
        memcpy(value.locator, at(place).b, 16);
        put(bpf->maps.gw_fdb, &key, &value);
}

static void neigh_put(uint32_t vni, const char *ip) {
        struct gw_abi_ip_key key = {.id = vni};
        struct gw_abi_neigh value = {{0}};

        memcpy(key.ip, ip_of(ip).b, 16);
        memcpy(value.mac, mac_of((int)(vni - FIRST) + 1).b, 6);
        put(bpf->maps.gw_neigh, &key, &value);
}

static void member_put(uint32_t vni, enum place place, uint32_t flags) {
        struct gw_abi_ip_key key = {.id = vni};
        struct gw_abi_member value = {.flags = flags};

        memcpy(key.ip, at(place).b, 16);
        put(bpf->maps.gw_members, &key, &value);
}

/* gateway: whether we are one. */
static void fill(bool gateway) {
        struct gw_abi_config config = {.abi = GW_ABI_VERSION, .vxlan_ifindex = 1, .punt_ifindex = 1};
        uint32_t zero = 0;

        memcpy(config.locator, ip_of(over6 ? "2001:db8::1" : "192.0.2.1").b, 16);
        put(bpf->maps.gw_config, &zero, &config);
        for (uint32_t vni = FIRST; vni < FIRST + VNS; vni++) {
                struct gw_abi_routed_vn routed = {.mtu = MTU};

                put(bpf->maps.gw_routed, &vni, &routed);
                entry_put(vni, gateway_mac, gateway ? GW_FORWARD_GATEWAY : GW_FORWARD_REMOTE, GATEWAY);
                entry_put(vni, mac_of((int)(vni - FIRST) + 1), GW_FORWARD_REMOTE, EDGE);
                for (int i = 0; i < POOL; i++)
                        neigh_put(vni, pool[i]);
                member_put(vni, EDGE, 0);
                member_put(vni, GATEWAY, GW_MEMBER_GATEWAY);
        }
}

static int load(void **state) {
        (void)state;
        programs_load();
        for (int i = 0; i < POOL; i++) /* close together, so that prefixes of many lengths tell them apart */
                snprintf(pool[i], sizeof pool[i], i % 2 ? "fd00:1:%x::%x" : "10.%d.%d.7", i / 8, i % 8 * 9 + 1);
        return 0;
}

static uint8_t out[FRAME_MAX + 256];

static enum gw_counter run(struct bpf_program *program, struct __sk_buff *context, const struct frame *f) {
        LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = f->b, .data_size_in = (uint32_t)f->size, .data_out = out,
                    .data_size_out = sizeof out, .ctx_in = context, .ctx_size_in = sizeof *context);

        bpf->bss->gw_trace = (struct gw_abi_trace){.counter = NO_COUNTER, .punt = NO_COUNTER};
        assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program), &opts), 0);
        return (enum gw_counter)bpf->bss->gw_trace.counter;
}

static enum gw_counter comes(uint32_t vni, enum place place, const struct frame *f) {
        struct __sk_buff context = {.ifindex = 1, .cb = {vni}};
        struct gw_ip sender = at(place);

        memcpy(&context.cb[1], &sender, sizeof sender);
        return run(bpf->progs.from_wire, &context, f);
}

/* ---- routes against a model ---- */

struct route {
        uint32_t from, to, flags;
        struct gw_prefix prefix;
};
static struct route routes[ROUTES];
static int n_routes;

static struct gw_abi_route_key route_key(const struct route *route) {
        struct gw_abi_route_key key = {.bits = 32 + route->prefix.bits, .vni = route->from};

        memcpy(key.ip, route->prefix.ip.b, sizeof key.ip);
        return key;
}

static const struct route *model(uint32_t from, struct gw_ip ip) {
        const struct route *found = NULL;

        for (int i = 0; i < n_routes; i++)
                if (routes[i].from == from && gw_prefix_contains(&routes[i].prefix, ip) &&
                    (!found || routes[i].prefix.bits > found->prefix.bits))
                        found = &routes[i];
        return found;
}

static struct gw_prefix random_prefix(void) {
        struct gw_ip ip = ip_of(pool[below(POOL)]);
        unsigned least = gw_ip_is_v4(ip) ? 96 : 0, bits = least + below(129 - least);
        struct gw_prefix p = {ip, (uint8_t)bits};

        for (unsigned i = bits; i < 128; i++)
                p.ip.b[i / 8] &= (uint8_t) ~(0x80 >> i % 8);
        return p;
}

static void routes_change(void) {
        struct route new = {.from = FIRST + below(VNS), .to = FIRST + below(VNS), .prefix = random_prefix()};
        struct gw_abi_route_key key;
        struct gw_abi_route value;
        int i = 0;

        new.flags = below(3) ? GW_ROUTE_OWN : 0;
        while (i < n_routes && !(routes[i].from == new.from &&routes[i].prefix.bits ==
                                 new.prefix.bits &&gw_ip_eq(routes[i].prefix.ip, new.prefix.ip)))
                i++;
        if (i == n_routes && n_routes == ROUTES) {
                key = route_key(&routes[i = (int)below(ROUTES)]);
                assert_int_equal(bpf_map_delete_elem(bpf_map__fd(bpf->maps.gw_routes), &key), 0);
                routes[i] = routes[--n_routes];
                i = n_routes;
        }
        n_routes += i == n_routes;
        routes[i] = new;
        key = route_key(&new);
        value = (struct gw_abi_route){.vni = new.to, .flags = new.flags};
        put(bpf->maps.gw_routes, &key, &value);
}

static enum gw_counter expected(uint32_t vni, const char *from, const char *to, uint32_t *where) {
        const struct route *own = model(vni, ip_of(from)), *way = model(vni, ip_of(to));

        if (!own || !(own->flags & GW_ROUTE_OWN))
                return GW_COUNT_DROP_GATEWAY_SOURCE;
        if (!way)
                return GW_COUNT_PUNTED;
        *where = way->to;
        return GW_COUNT_REMOTE;
}

static void packet(uint32_t vni, const char *from, const char *to) {
        enum gw_counter got, want;
        uint32_t where = 0;
        struct frame f;

        if (gw_ip_is_v4(ip_of(from)) != gw_ip_is_v4(ip_of(to)))
                return;
        if (gw_ip_is_v4(ip_of(from)))
                ipv4(&f, gateway_mac, mac_of((int)(vni - FIRST) + 1), from, to, UDP, 64);
        else
                ipv6(&f, gateway_mac, mac_of((int)(vni - FIRST) + 1), from, to, UDP, 64);
        want = expected(vni, from, to, &where);
        got = comes(vni, EDGE, &f);
        if (got == GW_COUNT_DROP_GATEWAY_LIMIT && want == GW_COUNT_PUNTED)
                return; /* what goes up is bounded */
        if (got != want || (want == GW_COUNT_REMOTE && bpf->bss->gw_trace.vni != where))
                fail_msg("%s to %s in %u: counted %s (VNI %u), not %s (VNI %u)", from, to, vni, gw_counter_name(got),
                         bpf->bss->gw_trace.vni, gw_counter_name(want), where);
}

static void routes_as_the_model(void **state) {
        (void)state;
        dice = dice_new();
        fill(true);
        for (int i = 0; i < 400; i++) {
                routes_change();
                for (int k = 0; k < 20; k++)
                        packet(FIRST + below(VNS), pool[below(POOL)], pool[below(POOL)]);
        }
}

/* ---- what user space puts in order ---- */

/* Frames of a known owner come up for a moment that the edge chooses, behind older ones: a limit would lose some. */
static void what_is_put_in_order_is_not_limited(void) {
        const char *from = over6 ? "fd00:9::1" : "10.9.0.1", *to = over6 ? "fd00:9::2" : "10.9.0.2";
        struct gw_abi_mac_key owner = {.vni = FIRST + 1};
        struct gw_abi_forward entry = {.kind = GW_FORWARD_REMOTE, .flags = GW_FORWARD_PUNT, .epoch = 1};
        struct route ways[2] = {{.from = FIRST, .to = FIRST, .flags = GW_ROUTE_OWN, .prefix = {ip_of(from), 128}},
                                {.from = FIRST, .to = FIRST + 1, .prefix = {ip_of(to), 128}}};
        struct frame f;

        fill(true);
        for (int i = 0; i < 2; i++) {
                struct gw_abi_route_key key = route_key(&ways[i]);
                struct gw_abi_route value = {.vni = ways[i].to, .flags = ways[i].flags};

                put(bpf->maps.gw_routes, &key, &value);
        }
        neigh_put(FIRST + 1, to);
        memcpy(owner.mac, mac_of(2).b, 6);
        memcpy(entry.locator, at(EDGE).b, 16);
        put(bpf->maps.gw_fdb, &owner, &entry);
        if (over6)
                ipv6(&f, gateway_mac, mac_of(1), from, to, UDP, 64);
        else
                ipv4(&f, gateway_mac, mac_of(1), from, to, UDP, 64);
        for (int i = 0; i < 4000; i++) {
                assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_PUNTED);
                assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_GATEWAY);
        }
}

/* ---- probes ---- */

static void probe(struct frame *f, struct gw_mac from, uint16_t source, uint16_t destination, uint8_t protocol) {
        struct gw_ip us = at(EDGE), to = ip_of(over6 ? "2001:db8::1" : "192.0.2.1");

        ipv6_header(f, gateway_mac, from, "fd00::1", "fd00::2", protocol, 255, 24);
        memcpy(f->b + ENDS_AT, us.b, 16);
        memcpy(f->b + ENDS_AT + 16, to.b, 16);
        gw_put_u16(&f->w, source);
        gw_put_u16(&f->w, destination);
        gw_put_u16(&f->w, 24);
        gw_put_u16(&f->w, 0x1234);
        gw_put_zero(&f->w, 16);
        end(f);
}

static void ask(struct frame *f) {
        probe(f, gateway_mac, EDGE_PORT, PROBE_PORT, UDP);
}

static void a_gateway_sends_probes_back(void) {
        struct frame f;

        fill(true);
        ask(&f);
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_PATH_ANSWERED);
        assert_true(bpf->bss->gw_trace.vni == FIRST && !memcmp(bpf->bss->gw_trace.locator, at(EDGE).b, 16));
        assert_memory_equal(out, f.b, ENDS_AT);
        assert_memory_equal(out + ENDS_AT, f.b + ENDS_AT + 16, 16);
        assert_memory_equal(out + ENDS_AT + 16, f.b + ENDS_AT, 16);
        assert_true((out[54] << 8 | out[55]) == PROBE_PORT && (out[56] << 8 | out[57]) == EDGE_PORT);
        assert_memory_equal(out + 58, f.b + 58, f.size - 58);
        assert_int_equal(comes(FIRST, STRANGER, &f), GW_COUNT_DROP_BAD_SENDER);
        assert_int_equal(comes(FIRST + VNS, EDGE, &f), GW_COUNT_DROP_BAD_SENDER);
        fill(false); /* an edge: for it probes are nobody's */
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        assert_int_equal(comes(FIRST, GATEWAY, &f), GW_COUNT_DROP_GATEWAY_SENDER);
}

static void answers_go_up_from_gateways_alone(void) {
        struct frame f;

        fill(false);
        probe(&f, gateway_mac, PROBE_PORT, EDGE_PORT, UDP);
        assert_int_equal(comes(FIRST, GATEWAY, &f), GW_COUNT_PUNTED);
        assert_int_equal(bpf->bss->gw_trace.punt, GW_PUNT_PATH);
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        assert_int_equal(comes(FIRST, STRANGER, &f), GW_COUNT_DROP_BAD_SENDER);
        fill(true);
        probe(&f, gateway_mac, PROBE_PORT, PROBE_PORT, UDP); /* an answer, whatever it is to: so two never play ball */
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
}

static void what_only_looks_like_a_probe(void) {
        struct frame f;

        fill(true);
        probe(&f, gateway_mac, EDGE_PORT, PROBE_PORT + 1, UDP);
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        probe(&f, gateway_mac, EDGE_PORT, PROBE_PORT, 6);
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        ipv4(&f, gateway_mac, gateway_mac, "10.1.0.1", "10.1.0.2", UDP, 64);
        assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        ask(&f);
        for (f.size = 54; f.size < 58; f.size++)
                assert_int_equal(comes(FIRST, EDGE, &f), GW_COUNT_DROP_GATEWAY_SENDER);
        probe(&f, mac_of(1), EDGE_PORT, PROBE_PORT, UDP); /* a VM's own: a packet like any other */
        assert_int_not_equal(comes(FIRST, EDGE, &f), GW_COUNT_PATH_ANSWERED);
}

static void probes_go_where_they_say(void) {
        struct __sk_buff context = {.ifindex = 1};
        struct gw_ip to = ip_of(over6 ? "2001:db8::1" : "192.0.2.1");
        struct frame f;

        fill(false);
        ask(&f);
        context.mark = GW_MARK_DOWN | GW_INJECT_PATH << 24 | FIRST;
        assert_int_equal(run(bpf->progs.from_host, &context, &f), GW_COUNT_PATH_ASKED);
        assert_true(bpf->bss->gw_trace.vni == FIRST && !memcmp(bpf->bss->gw_trace.locator, to.b, 16));
}

static void on_both(void (*test)(void)) {
        for (over6 = 0; over6 < 2; over6++)
                test();
        over6 = 0;
}
#define TEST(f)                                                                                                        \
        static void test_##f(void **state) {                                                                           \
                (void)state;                                                                                           \
                on_both(f);                                                                                            \
        }
TEST(what_is_put_in_order_is_not_limited)
TEST(a_gateway_sends_probes_back)
TEST(answers_go_up_from_gateways_alone)
TEST(what_only_looks_like_a_probe)
TEST(probes_go_where_they_say)

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(routes_as_the_model),
                cmocka_unit_test(test_what_is_put_in_order_is_not_limited),
                cmocka_unit_test(test_a_gateway_sends_probes_back),
                cmocka_unit_test(test_answers_go_up_from_gateways_alone),
                cmocka_unit_test(test_what_only_looks_like_a_probe),
                cmocka_unit_test(test_probes_go_where_they_say),
        };

        if (!programs_possible())
                return 0;
        return cmocka_run_group_tests(tests, load, unload);
}
