/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whatever can be encoded decodes to the same: random registrations and frames,
 * in the bounds that their encoders promise. Structures are compared octet by
 * octet, so generators and decoders both start from zeroes.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/error.h"
#include "prop/seed.h"
#include "wire/frame.h"
#include "wire/registration.h"
#include "wire/upkeep.h"

enum { ROUNDS = 20000, HEAD = GW_FRAME_HEADER_SIZE };

static struct dice dice;
static uint8_t bytes[1 << 16];

static uint64_t below(uint64_t n) {
        return dice_below(&dice, n);
}

static struct gw_ip any_ip4(void) {
        return gw_ip_from_v4((uint32_t)dice_u64(&dice));
}

/* Of both families. */
static struct gw_ip any_ip(void) {
        struct gw_ip ip;

        if (below(2))
                return any_ip4();
        dice_bytes(&dice, ip.b, sizeof ip.b);
        ip.b[0] |= 0x20;
        return ip;
}

static struct gw_mac any_mac(void) {
        struct gw_mac mac;

        dice_bytes(&dice, mac.b, sizeof mac.b);
        return mac;
}

static struct gw_name any_name(void) {
        struct gw_name name = {{0}};

        for (uint64_t n = 1 + below(GW_NAME_MAX); n; n--)
                name.s[n - 1] = (char)('!' + below('~' - '!' + 1));
        return name;
}

static struct gw_prefix any_prefix6(void) {
        struct gw_prefix p = {any_ip(), (uint8_t)(below(2) ? 128 : below(129))};

        p.ip.b[0] |= 0x20;
        for (unsigned bit = p.bits; bit < 128; bit++)
                p.ip.b[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
        return p;
}

static struct gw_reg_addr4 any_addr4(bool reply) {
        return (struct gw_reg_addr4){any_ip4(), (uint8_t)below(33), reply ? (uint8_t)below(256) : 0};
}

/* Only fields that are said to be there are set. */
static void any_options(struct gw_registration *reg) {
#define MAYBE(bit, field, value)                                                                                       \
        if (below(2)) {                                                                                                \
                reg->has |= (bit);                                                                                     \
                reg->field = (value);                                                                                  \
        }
        MAYBE(GW_REG_HAS_VM, vm, any_name())
        MAYBE(GW_REG_HAS_HANDOFF, handoff, (uint8_t)below(256))
        MAYBE(GW_REG_HAS_ACCESS, access, (uint8_t)below(256))
        MAYBE(GW_REG_HAS_TIMESTAMP, timestamp, dice_u64(&dice))
        MAYBE(GW_REG_HAS_EPOCH, epoch, dice_u64(&dice))
        MAYBE(GW_REG_HAS_LINK_LOCAL, link_local, any_ip())
        MAYBE(GW_REG_HAS_DEFAULT_ROUTER4, default_router4, any_ip4())
        MAYBE(GW_REG_HAS_ALTERNATE_COA, alternate_coa, any_ip())
        MAYBE(GW_REG_HAS_COA4, coa4, any_ip4())
        MAYBE(GW_REG_HAS_ALTERNATE_COA4, alternate_coa4, any_ip4())
        MAYBE(GW_REG_HAS_DHCP4, dhcp4_server, below(2))
        MAYBE(GW_REG_HAS_GROUP, group, (uint32_t)dice_u64(&dice))
        MAYBE(GW_REG_HAS_SERVING, serving, any_ip())
        MAYBE(GW_REG_HAS_MESSAGE_ID, message_id, dice_u64(&dice))
        MAYBE(GW_REG_HAS_AUTH, auth_spi, (uint32_t)dice_u64(&dice))
#undef MAYBE
        if (reg->has & GW_REG_HAS_GROUP)
                reg->group_subtype = (uint8_t)below(256);
        if (reg->has & GW_REG_HAS_AUTH) {
                reg->auth_subtype = (uint8_t)below(256);
                reg->auth_size = below(2) ? GW_MH_AUTH_SIZE : GW_MH_AUTH_SIZE_LONG;
                dice_bytes(&dice, reg->auth, reg->auth_size);
        }
}

static void any_registration(struct gw_registration *reg) {
        bool request = below(2);

        memset(reg, 0, sizeof *reg);
        reg->kind = request ? GW_REG_REQUEST : GW_REG_REPLY;
        reg->status = request ? 0 : (uint8_t)below(256);
        reg->flags = (uint16_t)below(request ? 65536 : 256);
        reg->sequence = (uint16_t)below(65536);
        reg->lifetime_units = (uint16_t)below(65536);
        reg->n_macs = (uint8_t)below(GW_REG_MACS_MAX + 1);
        reg->n_addrs6 = (uint8_t)below(GW_REG_ADDRS_MAX + 1);
        reg->n_addrs4 = (uint8_t)below(GW_REG_ADDRS_MAX + 1);
        reg->n_replies4 = (uint8_t)below(GW_REG_ADDRS_MAX + 1);
        for (size_t i = 0; i < reg->n_macs; i++)
                reg->macs[i] = any_mac();
        for (size_t i = 0; i < reg->n_addrs6; i++)
                reg->addrs6[i] = any_prefix6();
        for (size_t i = 0; i < reg->n_addrs4; i++)
                reg->addrs4[i] = any_addr4(false);
        for (size_t i = 0; i < reg->n_replies4; i++)
                reg->replies4[i] = any_addr4(true);
        any_options(reg);
}

static void registrations(void **state) {
        struct gw_registration reg, back;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_ip src = any_ip(), dst = any_ip();
                struct gw_writer w = gw_writer(bytes, sizeof bytes);

                any_registration(&reg);
                assert_int_equal(gw_registration_encode(&w, src, dst, &reg), 0);
                assert_true(w.at <= GW_MH_SIZE_MAX);
                assert_int_equal(gw_registration_decode(bytes, w.at, src, dst, &back), 0);
                assert_memory_equal(&back, &reg, sizeof reg);
        }
}

static void any_upkeep(struct gw_upkeep *u) {
        static const uint8_t kinds[] = {GW_MH_BINDING_ERROR, GW_MH_HEARTBEAT, GW_MH_UPDATE_NOTIFICATION,
                                        GW_MH_UPDATE_NOTIFICATION_ACK};

        memset(u, 0, sizeof *u);
        u->kind = kinds[below(4)];
        u->has = (uint32_t)below(1 << 5);
        if (u->kind == GW_MH_BINDING_ERROR || u->kind == GW_MH_UPDATE_NOTIFICATION_ACK)
                u->status = (uint8_t)below(256);
        if (u->kind == GW_MH_BINDING_ERROR)
                u->home = any_ip();
        else
                u->sequence = (uint32_t)below(u->kind == GW_MH_HEARTBEAT ? UINT64_C(1) << 32 : 1 << 16);
        if (u->kind == GW_MH_HEARTBEAT)
                u->flags = (uint16_t)below(4);
        if (u->kind == GW_MH_UPDATE_NOTIFICATION) {
                u->flags = (uint16_t)(below(4) << 14);
                u->reason = (uint16_t)below(65536);
        }
        if (u->has & GW_UPKEEP_HAS_VM)
                u->vm = any_name();
        if (u->has & GW_UPKEEP_HAS_GROUP) {
                u->group_subtype = (uint8_t)below(256);
                u->group = (uint32_t)dice_u64(&dice);
        }
        if (u->has & GW_UPKEEP_HAS_RESTARTS)
                u->restarts = (uint32_t)dice_u64(&dice);
        if (u->has & GW_UPKEEP_HAS_MESSAGE_ID)
                u->message_id = dice_u64(&dice);
        if (u->has & GW_UPKEEP_HAS_AUTH) {
                u->auth_subtype = (uint8_t)below(256);
                u->auth_spi = (uint32_t)dice_u64(&dice);
                u->auth_size = below(2) ? GW_MH_AUTH_SIZE : GW_MH_AUTH_SIZE_LONG;
                dice_bytes(&dice, u->auth, u->auth_size);
        }
}

static void upkeep(void **state) {
        struct gw_upkeep u, back;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_ip src = any_ip(), dst = any_ip();
                struct gw_writer w = gw_writer(bytes, sizeof bytes);

                any_upkeep(&u);
                assert_int_equal(gw_upkeep_encode(&w, src, dst, &u), 0);
                assert_int_equal(gw_upkeep_decode(bytes, w.at, src, dst, &back), 0);
                assert_memory_equal(&back, &u, sizeof u);
        }
}

/* The body of the frame of `size` octets in bytes[], whose header must be right. */
static const uint8_t *body_of(size_t size, uint8_t type, uint32_t id) {
        struct gw_frame_header header;

        assert_int_not_equal(size, 0);
        assert_int_equal(gw_frame_header_decode(bytes, size, &header), 0);
        assert_int_equal(header.length, size);
        assert_int_equal(header.type, type);
        assert_int_equal(header.id, id);
        return bytes + HEAD;
}

static void hellos(void **state) {
        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                struct gw_hello hello, back;
                uint32_t id = (uint32_t)dice_u64(&dice);
                size_t n;

                memset(&hello, 0, sizeof hello);
                memset(&back, 0, sizeof back);
                hello.role = (uint8_t)(below(2) ? GW_ROLE_NVE : GW_ROLE_HV);
                hello.id = any_name();
                hello.locator = any_ip();
                hello.restart_count = dice_u64(&dice);
                hello.underlay_mtu = below(2) ? (uint32_t)dice_u64(&dice) : 0;
                hello.features = below(2) ? (uint32_t)dice_u64(&dice) : 0;
                n = gw_hello_encode(&w, id, &hello);
                assert_int_equal(gw_hello_decode(body_of(n, GW_FRAME_HELLO, id), n - HEAD, &back), 0);
                assert_memory_equal(&back, &hello, sizeof hello);
        }
}

static void queries(void **state) {
        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                struct gw_query query, back;
                uint32_t id = (uint32_t)dice_u64(&dice);
                size_t n;

                memset(&query, 0, sizeof query);
                memset(&back, 0, sizeof back);
                query.vni = (uint32_t)below(GW_VNI_MAX + 1);
                query.by_mac = below(2);
                if (query.by_mac)
                        query.mac = any_mac();
                else
                        query.ip = any_ip();
                n = gw_query_encode(&w, id, &query);
                assert_int_equal(gw_query_decode(body_of(n, GW_FRAME_QUERY, id), n - HEAD, &back), 0);
                assert_memory_equal(&back, &query, sizeof query);
        }
}

static void flushes(void **state) {
        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                struct gw_flush_request flush, back;
                size_t n;

                memset(&flush, 0, sizeof flush);
                memset(&back, 0, sizeof back);
                flush.vni = (uint32_t)below(GW_VNI_MAX + 1);
                flush.all = below(2);
                if (!flush.all)
                        flush.mac = any_mac();
                flush.positive = below(2);
                flush.negative = !flush.positive || below(2);
                n = gw_flush_encode(&w, 1, &flush);
                assert_int_equal(gw_flush_decode(body_of(n, GW_FRAME_FLUSH, 1), n - HEAD, &back), 0);
                assert_memory_equal(&back, &flush, sizeof flush);
        }
}

static void reports(void **state) {
        static struct gw_report report, back;

        (void)state;
        for (int round = 0; round < ROUNDS / 20; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                size_t n;

                memset(&report, 0, sizeof report);
                memset(&back, 0, sizeof back);
                report.kind = (uint8_t)(1 + below(255));
                report.vm = any_name();
                report.epoch = dice_u64(&dice);
                report.redirected = below(2) ? dice_u64(&dice) : 0;
                report.n_locators = (uint16_t)below(below(4) ? 8 : GW_REPORT_LOCATORS_MAX + 1);
                for (size_t i = 0; i < report.n_locators; i++)
                        report.locators[i] = any_ip();
                n = gw_report_encode(&w, 1, &report);
                assert_int_equal(gw_report_decode(body_of(n, GW_FRAME_REPORT, 1), n - HEAD, &back), 0);
                assert_memory_equal(&back, &report, sizeof report);
        }
}

static void subscriptions(void **state) {
        uint32_t vnis[200], back[200];
        size_t n, size, n_back;

        (void)state;
        for (int round = 0; round < ROUNDS / 10; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);

                n = below(201);
                for (size_t i = 0; i < n; i++)
                        vnis[i] = (uint32_t)below(GW_VNI_MAX + 1);
                size = gw_subscribe_encode(&w, 1, vnis, n);
                assert_int_equal(
                        gw_subscribe_decode(body_of(size, GW_FRAME_SUBSCRIBE, 1), size - HEAD, back, 200, &n_back), 0);
                assert_int_equal(n_back, n);
                assert_memory_equal(back, vnis, n * sizeof *vnis);
        }
}

static void any_mapping(struct gw_mapping *m) {
        memset(m, 0, sizeof *m);
        m->epoch = dice_u64(&dice);
        m->vni = (uint32_t)below(GW_VNI_MAX + 1);
        m->lifetime_ms = (uint32_t)dice_u64(&dice);
        m->locator = any_ip();
        m->mac = any_mac();
        m->state = (uint8_t)(below(2) ? GW_MAPPING_SERVING : GW_MAPPING_ABSENT);
        m->n_ips = (uint8_t)below(GW_MAPPING_IPS_MAX + 1);
        for (size_t i = 0; i < m->n_ips; i++)
                m->ips[i] = any_ip();
        if (below(4))
                m->vm = any_name();
}

static void expect_batch(size_t size, const struct gw_mapping *mappings, size_t n_mappings,
                         const struct gw_member *members, size_t n_members, const struct gw_vn_settings *vns,
                         size_t n_vns) {
        struct gw_batch batch = gw_batch_open(body_of(size, GW_FRAME_RESPONSE, 7), size - HEAD);
        struct gw_mapping mapping;
        struct gw_member member;

        for (size_t i = 0; i < n_mappings; i++) {
                assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_MAPPING);
                assert_memory_equal(&mapping, &mappings[i], sizeof mapping);
        }
        for (size_t i = 0; i < n_members; i++) {
                assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_MEMBER);
                assert_memory_equal(&member, &members[i], sizeof member);
        }
        for (size_t i = 0; i < n_vns; i++) {
                assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_VN);
                assert_memory_equal(&batch.vn, &vns[i], sizeof batch.vn);
        }
        assert_int_equal(gw_batch_next(&batch, &mapping, &member), GW_BATCH_END);
}

static void any_settings(struct gw_vn_settings *vn) {
        memset(vn, 0, sizeof *vn);
        vn->vni = 1 + (uint32_t)below(GW_VNI_MAX);
        vn->flags = (uint32_t)below(4);
        vn->n_gateways = (uint8_t)below(GW_VN_GATEWAYS_MAX + 1);
        for (size_t i = 0; i < vn->n_gateways; i++)
                vn->gateways[i] = any_ip();
        for (int i = 0; i < GW_VN_LIMITS && below(2); i++)
                vn->limits[i] = below(2) ? (uint32_t)below(1000) : GW_VN_NO_LIMIT;
}

static void batches(void **state) {
        struct gw_mapping mappings[12];
        struct gw_member members[12];
        struct gw_vn_settings vns[4];

        (void)state;
        memset(members, 0, sizeof members);
        for (int round = 0; round < ROUNDS / 10; round++) {
                struct gw_writer w = gw_writer(bytes, sizeof bytes);
                size_t n_mappings = below(13), n_members = below(13), n_vns = below(5);

                for (size_t i = 0; i < n_mappings; i++)
                        any_mapping(&mappings[i]);
                for (size_t i = 0; i < n_members; i++) {
                        members[i].vni = (uint32_t)below(GW_VNI_MAX + 1);
                        members[i].locator = any_ip();
                        members[i].gone = below(2);
                        members[i].more = below(2);
                }
                for (size_t i = 0; i < n_vns; i++)
                        any_settings(&vns[i]);
                expect_batch(gw_batch_encode_vns(&w, GW_FRAME_RESPONSE, 7, mappings, n_mappings, members, n_members,
                                                 vns, n_vns),
                             mappings, n_mappings, members, n_members, vns, n_vns);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(registrations), cmocka_unit_test(upkeep),  cmocka_unit_test(hellos),
                cmocka_unit_test(queries),       cmocka_unit_test(flushes), cmocka_unit_test(reports),
                cmocka_unit_test(subscriptions), cmocka_unit_test(batches),
        };

        dice = dice_new();
        return cmocka_run_group_tests_name("wire round trips", tests, NULL, NULL);
}
