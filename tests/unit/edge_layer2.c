/* SPDX-License-Identifier: Apache-2.0 */
/* The edge and what guests ask and say on their link: the gateway, questions without an answer, announcements. */
#include "edge/l2.h"
#include "edge_fixture.h"

static const struct gw_mac gateway_mac = {{0x02, 0x67, 0x77, 0, 0, 1}};

static int say(struct world *w, uint32_t flags, const char *first, const char *second) {
        struct gw_vn_settings vn = {.vni = WORLD_VNI, .flags = flags};
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        if (first)
                vn.gateways[vn.n_gateways++] = ip_of(first);
        if (second)
                vn.gateways[vn.n_gateways++] = ip_of(second);
        size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);
        return gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                             size - GW_FRAME_HEADER_SIZE);
}

static const struct world_neigh *neigh(const struct world *w, const char *ip) {
        for (size_t i = 0; i < w->n_neighs; i++)
                if (gw_ip_eq(w->neighs[i].ip, ip_of(ip)))
                        return &w->neighs[i];
        return NULL;
}

static bool gateway_is(const struct world *w, const char *ip) {
        const struct world_neigh *n = neigh(w, ip);

        return n && gw_mac_eq(n->mac, gateway_mac);
}

/* A question from web: who has ip? */
static void ask_arp(struct world *w, const char *ip) {
        uint8_t frame[42] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};
        uint32_t v4 = gw_ip_v4(ip_of(ip));

        memcpy(frame + 38, &v4, 4);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, frame, sizeof frame);
}

static void ask_nd(struct world *w, const char *ip) {
        uint8_t frame[86] = {0x33, 0x33, 0xff, 0,    0,    2,    0x52,      0x54,      0,
                             0,    0,    1,    0x86, 0xdd, 0x60, [20] = 58, [21] = 255};
        struct gw_ip target = ip_of(ip);

        frame[54] = 135;
        memcpy(frame + 62, target.b, 16);
        world_punt_bytes(w, GW_EDGE_SOLICIT, 1, frame, sizeof frame);
}

static void gateway_comes_and_goes(void **state) {
        struct world *w = *state;

        world_serve(w);
        assert_int_equal(say(w, 0, "10.1.0.254", "fd00:1::fe"), 0);
        assert_true(gateway_is(w, "10.1.0.254") && gateway_is(w, "fd00:1::fe"));
        assert_true(gateway_is(w, "fe80::67:77ff:fe00:1"));
        assert_int_equal(say(w, 0, "10.1.0.254", NULL), 0);
        assert_true(gateway_is(w, "10.1.0.254") && !neigh(w, "fd00:1::fe"));
        assert_int_equal(say(w, 0, NULL, NULL), 0);
        assert_null(neigh(w, "10.1.0.254"));
        assert_null(neigh(w, "fe80::67:77ff:fe00:1"));
        assert_true(world_neigh_is(w, "10.1.0.1", 1));
}

/* Who asked before it was known is answered then. */
static void gateway_answers_who_waits(void **state) {
        struct world *w = *state;

        world_serve(w);
        ask_arp(w, "10.1.0.254");
        assert_int_equal(world_sent_count(w, GW_FRAME_QUERY), 1);
        assert_int_equal(w->n_down, 0);
        assert_int_equal(say(w, 0, "10.1.0.254", NULL), 0);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, GW_EDGE_AS_SENT);
}

static void gateway_outlives_the_daemon(void **state) {
        struct world *w = *state;

        world_serve(w);
        gw_edge_adopt_neigh(w->edge, w->now, WORLD_VNI, ip_of("10.1.0.254"), gateway_mac);
        gw_edge_adopt_neigh(w->edge, w->now, WORLD_VNI, ip_of("fe80::67:77ff:fe00:1"), gateway_mac);
        assert_true(gateway_is(w, "10.1.0.254"));
        assert_int_equal(say(w, 0, NULL, NULL), 0); /* it was taken away meanwhile */
        assert_null(neigh(w, "10.1.0.254"));
        assert_null(neigh(w, "fe80::67:77ff:fe00:1"));
}

static void settings_of_strangers_are_ignored(void **state) {
        struct world *w = *state;
        struct gw_vn_settings vn = {.vni = WORLD_VNI + 1, .n_gateways = 1, .gateways = {ip_of("10.1.0.254")}};
        uint8_t bytes[256];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, &vn, 1);

        world_serve(w);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
        assert_null(neigh(w, "10.1.0.254"));
}

/* A link-local address made of a MAC is nobody's in the directory; its MAC is somebody's. */
static void link_local_is_asked_for_by_mac(void **state) {
        struct gw_query query;
        const struct world_sent *sent;
        struct world *w = *state;
        struct gw_mapping m = mapping_of(9, "10.1.0.9", "10.99.0.9", 5);

        world_serve(w);
        ask_nd(w, "fe80::5054:ff:fe00:9");
        sent = world_sent_find(w, GW_FRAME_QUERY);
        assert_int_equal(gw_query_decode(sent->body, sent->size, &query), 0);
        assert_true(query.by_mac && gw_mac_eq(query.mac, mac_of(9)));
        assert_int_equal(world_batch(w, GW_FRAME_RESPONSE, sent->id, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 1);
        ask_nd(w, "fe80::1"); /* of no MAC */
        sent = world_sent_find(w, GW_FRAME_QUERY);
        assert_int_equal(gw_query_decode(sent->body, sent->size, &query), 0);
        assert_false(query.by_mac);
}

/* ---- announcements ---- */

enum { OTHER = 9 };

static void accepted(struct world *w) {
        struct gw_registration reg;

        world_serve(w);
        reg = world_registration(w);
        assert_int_equal(world_reply(w, &reg, 0, 900), 0);
        world_forget_sent(w);
}

static void announce(struct world *w, uint32_t ifindex, unsigned mac, const char *ip) {
        uint8_t frame[GW_L2_MAX];
        size_t size = ip ? gw_l2_announce(frame, mac_of(mac), ip_of(ip)) : gw_l2_announce_mac(frame, mac_of(mac));

        world_punt_bytes(w, GW_EDGE_ANNOUNCE, ifindex, frame, size);
}

/* The ICMPv6 checksum as a receiver computes it: 0xffff when right. */
static uint16_t sum_of(const uint8_t *frame) {
        uint32_t sum = 32 + 58;

        for (size_t i = 22; i < 86; i += 2)
                sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)sum;
}

/* As in RFC 5227 and RFC 4861, and as QEMU sends them. */
static void forms(void **state) {
        static const uint8_t gratuitous[] = {
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                1,    0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   1, 0,    10,   0,    0, 0, 0, 0, 0, 10, 1, 0, 10};
        static const uint8_t qemu[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34,
                                       0x56, 0x80, 0x35, 0,    1,    8,    0,    6,    4, 0,    3,
                                       0x52, 0x54, 0,    0x12, 0x34, 0x56, 0,    0,    0, 0,    0x52,
                                       0x54, 0,    0x12, 0x34, 0x56, 0,    0,    0,    0};
        static const uint8_t advert[] = {136,  0,    0x5d, 0xdc, 0x20, 0,    0, 0,    0x20, 1,   0xd,
                                         0xb8, 0,    1,    0,    0,    0,    0, 0,    0,    0,   0,
                                         0,    0x10, 2,    1,    0x52, 0x54, 0, 0x12, 0x34, 0x56};
        static const struct gw_mac mac = {{0x52, 0x54, 0, 0x12, 0x34, 0x56}};
        struct gw_l2_said said;
        uint8_t frame[GW_L2_MAX];

        (void)state;
        assert_int_equal(gw_l2_announce(frame, mac, ip_of("10.1.0.10")), 60);
        assert_memory_equal(frame, gratuitous, sizeof gratuitous);
        assert_true(gw_l2_read(frame, 60, &said) && said.kind == GW_L2_ARP_REQUEST);
        frame[21] = 2;
        assert_true(gw_l2_read(frame, 60, &said) && said.kind == GW_L2_ARP_REPLY);
        assert_true(gw_mac_eq(said.mac, mac) && gw_ip_eq(said.ip, ip_of("10.1.0.10")));
        assert_int_equal(gw_l2_announce_mac(frame, mac), 60);
        assert_memory_equal(frame, qemu, sizeof qemu);
        assert_true(gw_l2_read(frame, 60, &said) && said.kind == GW_L2_RARP);
        assert_int_equal(gw_l2_announce(frame, mac, ip_of("2001:db8:1::10")), 86);
        assert_memory_equal(frame + 54, advert, 2);
        assert_memory_equal(frame + 58, advert + 4, sizeof advert - 4);
        assert_int_equal(sum_of(frame), 0xffff);
        assert_true(gw_l2_read(frame, 86, &said) && said.kind == GW_L2_ADVERT);
        assert_true(gw_ip_eq(said.ip, ip_of("2001:db8:1::10")));
        for (size_t cut = 0; cut < 78; cut++)
                assert_false(gw_l2_read(frame, cut, &said));
        frame[21] = 64;
        assert_false(gw_l2_read(frame, 86, &said));
}

static void hints_register_again(void **state) {
        struct world *w = *state;

        accepted(w);
        announce(w, 1, 1, "10.1.0.1");
        announce(w, 1, 1, "10.1.0.1");
        announce(w, 1, 1, NULL);
        announce(w, 1, 1, "fe80::5054:ff:fe00:1");
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCEMENTS), 4);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCED_ARP), 2);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCED_RARP), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCED_ND), 1);
        assert_int_equal(w->n_down, 0); /* an announcement is not answered */
}

static void hints_that_are_not_true(void **state) {
        struct world *w = *state;
        struct gw_report report;

        accepted(w);
        announce(w, 1, OTHER, "10.1.0.1");
        announce(w, 1, 1, "10.1.0.77");
        announce(w, 1, 1, "fd00::77");
        announce(w, 7, 1, "10.1.0.1"); /* no such port */
        world_punt(w, GW_EDGE_ANNOUNCE, 1, 1, 1, 0);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCEMENTS_REFUSED), 4);
        assert_int_equal(world_counter(w, GW_EDGE_C_UNPARSED), 1);
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 1); /* once, for a while */
        assert_int_equal(gw_report_decode(world_sent_find(w, GW_FRAME_REPORT)->body,
                                          world_sent_find(w, GW_FRAME_REPORT)->size, &report),
                         0);
        assert_int_equal(report.kind, GW_REPORT_ANNOUNCEMENT_REFUSED);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_null(neigh(w, "10.1.0.77"));
        world_pass(w, 11000);
        announce(w, 1, 1, "10.1.0.77");
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 2);
}

/* Between its resumption and activate. */
static void hints_of_one_who_arrives(void **state) {
        struct gw_edge_attach db = world_port("db", 2, "10.1.0.2", GW_EDGE_ARRIVING, 3);
        struct world *w = *state;

        accepted(w);
        assert_int_equal(world_attach(w, &db), 0);
        announce(w, 2, 2, "10.1.0.2");
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCED_ARP), 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_ANNOUNCEMENTS_REFUSED), 0);
        assert_int_equal(world_sent_count(w, GW_FRAME_REGISTER), 0);
}

static void rarp_is_answered_where_the_vn_says_so(void **state) {
        static const uint8_t expected[] = {0x52, 0x54, 0, 0,   0,    1,    2, 0x67, 0x77, 0,    0,    1, 0x80, 0x35,
                                           0,    1,    8, 0,   6,    4,    0, 4,    2,    0x67, 0x77, 0, 0,    1,
                                           10,   1,    0, 254, 0x52, 0x54, 0, 0,    0,    1,    10,   1, 0,    1};
        struct world *w = *state;

        accepted(w);
        assert_int_equal(say(w, GW_VN_RARP, "fd00:1::fe", "10.1.0.254"), 0);
        announce(w, 1, 1, NULL);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].how, 0);
        assert_int_equal(w->down[0].ifindex, 1);
        assert_memory_equal(w->down[0].bytes, expected, sizeof expected);
        assert_int_equal(world_counter(w, GW_EDGE_C_RARP_ANSWERED), 1);
        announce(w, 1, OTHER, NULL); /* somebody else's */
        assert_int_equal(w->n_down, 1);
        assert_int_equal(say(w, 0, NULL, NULL), 0);
        announce(w, 1, 1, NULL);
        assert_int_equal(w->n_down, 1);
}

static void speaks_for_those_who_moved(void **state) {
        struct gw_mapping m = mapping_of(OTHER, "10.1.0.9", "10.99.0.3", 5);
        struct gw_edge_attach task = world_port("cable", 4, "10.1.0.4", GW_EDGE_SERVING, 3);
        struct gw_l2_said said;
        struct world *w = *state;

        accepted(w);
        task.task = true;
        assert_int_equal(world_attach(w, &task), 0);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 0);
        m.epoch = 6;
        m.locator = ip_of("10.99.0.4");
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 2, &m, 1, NULL, 0), 0);
        assert_int_equal(w->n_down, 1); /* to the task, not to the VM */
        assert_int_equal(w->down[0].ifindex, 4);
        assert_true(gw_l2_read(w->down[0].bytes, w->down[0].size, &said));
        assert_int_equal(said.kind, GW_L2_ARP_REQUEST);
        assert_true(gw_mac_eq(said.mac, mac_of(OTHER)) && gw_ip_eq(said.ip, ip_of("10.1.0.9")));
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 3, &m, 1, NULL, 0), 0); /* the same again */
        assert_int_equal(w->n_down, 1);
}

/* ---- presence ---- */

static void answer(struct world *w, uint32_t ifindex, unsigned mac, const char *ip) {
        uint8_t frame[GW_L2_MAX];
        size_t size = gw_l2_announce(frame, mac_of(mac), ip_of(ip));

        memcpy(frame, gateway_mac.b, 6);
        frame[21] = gw_ip_is_v4(ip_of(ip)) ? 2 : 255;
        world_punt_bytes(w, GW_EDGE_ANNOUNCE, ifindex, frame, size);
}

static void those_who_remain_are_asked(void **state) {
        struct gw_edge_attach db = world_port("db", 2, "fd00:1::2", GW_EDGE_SERVING, 3);
        struct gw_name web = name_of("web");
        struct world *w = *state;

        accepted(w);
        assert_int_equal(world_attach(w, &db), 0);
        assert_int_equal(gw_edge_cut(w->edge, w->now, &web, ip_of("10.99.0.2"), 6, NULL), 0);
        assert_int_equal(w->n_down, 0); /* nothing but the cut in the cut */
        world_pass(w, 10);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(w->down[0].ifindex, 2);
        assert_int_equal(w->down[0].bytes[54], 135);
        answer(w, 2, 2, "fd00:1::2");
        assert_int_equal(world_counter(w, GW_EDGE_C_PRESENT), 1);
        world_pass(w, 3000);
        assert_int_equal(w->n_down, 1);
        assert_int_equal(world_counter(w, GW_EDGE_C_SILENT), 0);
}

static void silence_is_noticed_and_takes_nothing(void **state) {
        struct gw_name web = name_of("web"), nobody = name_of("nobody");
        struct world *w = *state;

        accepted(w);
        assert_int_equal(gw_edge_presence_ask(w->edge, w->now, &nobody), GW_EDGE_PRESENCE_GONE);
        assert_int_equal(gw_edge_presence_ask(w->edge, w->now, &web), GW_EDGE_PRESENCE_ASKING);
        world_pass(w, 10);
        assert_int_equal(gw_edge_presence_of(w->edge, &web), GW_EDGE_PRESENCE_ASKING);
        world_pass(w, 3000);
        assert_int_equal(w->n_down, 3);
        assert_int_equal(gw_edge_presence_of(w->edge, &web), GW_EDGE_PRESENCE_SILENT);
        assert_int_equal(world_fdb_find(w, 1)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(gw_edge_presence_ask(w->edge, w->now, &web), GW_EDGE_PRESENCE_ASKING);
        announce(w, 1, 1, "10.1.0.1"); /* whatever it says is an answer */
        assert_int_equal(gw_edge_presence_of(w->edge, &web), GW_EDGE_PRESENCE_HERE);
}

/* A mapping had an address that the port, when it came, did not have any more. */
static void a_port_brings_its_own_addresses(void **state) {
        struct gw_mapping m = mapping_of(OTHER, "10.1.0.9", "10.99.0.3", 5);
        struct gw_edge_attach port = world_port("other", OTHER, "10.1.0.10", GW_EDGE_SERVING, 6);
        struct world *w = *state;

        accepted(w);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &m, 1, NULL, 0), 0);
        assert_true(world_neigh_is(w, "10.1.0.9", OTHER));
        assert_int_equal(world_attach(w, &port), 0);
        assert_true(world_neigh_is(w, "10.1.0.10", OTHER));
        assert_null(neigh(w, "10.1.0.9"));
}

/* ---- claims ---- */

static void claims_are_told_and_hold_nothing(void **state) {
        struct gw_edge_attach a = world_port("cable", 4, "10.1.0.4", GW_EDGE_SERVING, 0);
        struct gw_name vm = name_of("cable"), port = {""};
        struct gw_report report;
        struct world *w = *state;

        accepted(w);
        assert_int_equal(gw_edge_claim(w->edge, &a, NULL), 0);
        assert_int_equal(w->open[4], GW_EDGE_CLAIMING);
        assert_null(world_fdb_find(w, 4));
        assert_null(neigh(w, "10.1.0.4"));
        announce(w, 4, 4, "10.1.0.77"); /* not what was claimed */
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 0);
        announce(w, 4, 4, "10.1.0.4");
        announce(w, 4, 4, NULL);
        assert_int_equal(world_sent_count(w, GW_FRAME_REPORT), 1);
        assert_int_equal(gw_report_decode(world_sent_find(w, GW_FRAME_REPORT)->body,
                                          world_sent_find(w, GW_FRAME_REPORT)->size, &report),
                         0);
        assert_int_equal(report.kind, GW_REPORT_CLAIM);
        assert_string_equal(report.vm.s, vm.s);
        assert_int_equal(gw_edge_claimed(w->edge, w->now, &vm, 7, &port, NULL), 0);
        assert_string_equal(port.s, a.id.s);
        assert_int_equal(world_fdb_find(w, 4)->entry.place, GW_EDGE_TO_LOCAL);
        assert_int_equal(world_fdb_find(w, 4)->entry.epoch, 7);
        assert_true(world_neigh_is(w, "10.1.0.4", 4));
        assert_int_equal(gw_edge_claimed(w->edge, w->now, &vm, 8, &port, NULL), GW_E_NOT_FOUND);
}

static void claims_go_with_their_device(void **state) {
        struct gw_edge_attach a = world_port("cable", 4, "10.1.0.4", GW_EDGE_SERVING, 0);
        struct gw_edge_attach web = world_port("web", 5, "10.1.0.5", GW_EDGE_SERVING, 0);
        struct world *w = *state;

        accepted(w);
        assert_int_equal(gw_edge_claim(w->edge, &web, NULL), GW_E_CONFLICT); /* it is here */
        assert_int_equal(gw_edge_claim(w->edge, &a, NULL), 0);
        assert_int_equal(gw_edge_claim(w->edge, &a, NULL), 0); /* again */
        gw_edge_device_gone(w->edge, w->now, 4);
        assert_int_equal(w->open[4], 0);
        assert_int_equal(gw_edge_claim(w->edge, &a, NULL), 0);
        assert_int_equal(gw_edge_detach(w->edge, w->now, &a.id, NULL), 0);
        assert_int_equal(gw_edge_detach(w->edge, w->now, &a.id, NULL), GW_E_NOT_FOUND);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                TEST(gateway_comes_and_goes),
                TEST(gateway_answers_who_waits),
                TEST(gateway_outlives_the_daemon),
                TEST(settings_of_strangers_are_ignored),
                TEST(link_local_is_asked_for_by_mac),
                TEST(forms),
                TEST(hints_register_again),
                TEST(hints_that_are_not_true),
                TEST(hints_of_one_who_arrives),
                TEST(rarp_is_answered_where_the_vn_says_so),
                TEST(speaks_for_those_who_moved),
                TEST(those_who_remain_are_asked),
                TEST(silence_is_noticed_and_takes_nothing),
                TEST(a_port_brings_its_own_addresses),
                TEST(claims_are_told_and_hold_nothing),
                TEST(claims_go_with_their_device),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
