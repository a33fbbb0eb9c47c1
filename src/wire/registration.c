/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding of registrations: RFC 6275 section 6.1 (Mobility Header, Binding
 * Update and Acknowledgement, option alignment), RFC 5213 section 8 and RFC 5844
 * section 3 (options), as D2 section 4 uses them.
 *
 * Options go out in one fixed order: who (8, 50), which addresses (3, 22, 36 to
 * 39, 32, 49), how (23, 24, 25, 26), when (27, 10), Godwit's own (68, 19), and
 * last the authentication option, which nothing may follow (RFC 4285 section 5).
 * Each is padded to its alignment, counted from the first octet of the message,
 * and the whole to a multiple of eight; a message that ends with option 9 is
 * padded before it, so that the option ends on the boundary.
 *
 * The message is built in a window of the caller's writer and only then claimed,
 * so that a failure leaves that writer as it was. For messages with option 9
 * the authentication data covers all octets before it with a zero checksum:
 * encode with zeroes in .auth, compute, fill in, gw_registration_seal.
 */
#include "wire/registration.h"

#include "base/error.h"
#include "wire/header.h"
#include "wire/text.h"

static void option_ip6(struct gw_writer *w, uint8_t type, const struct gw_ip *ip) {
        gw_mh_option(w, type, 16, 8, 6);
        gw_put_bytes(w, ip->b, 16);
}

static void put_ip4(struct gw_writer *w, const struct gw_ip *ip) {
        gw_put_bytes(w, ip->b + 12, 4);
}

/* Options 32, 38: two reserved octets and an IPv4 address. */
static void option_ip4(struct gw_writer *w, uint8_t type, const struct gw_ip *ip) {
        gw_mh_option(w, type, 6, 4, 0);
        gw_put_zero(w, 2);
        put_ip4(w, ip);
}

static void option_u8(struct gw_writer *w, uint8_t type, uint8_t value) {
        gw_mh_option(w, type, 2, 1, 0);
        gw_put_zero(w, 1);
        gw_put_u8(w, value);
}

static void option_u64(struct gw_writer *w, uint8_t type, uint64_t value) {
        gw_mh_option(w, type, 8, 8, 2);
        gw_put_u64(w, value);
}

static void put_who(struct gw_writer *w, const struct gw_registration *reg) {
        size_t n = gw_wire_name_size(&reg->vm);

        if (reg->has & GW_REG_HAS_VM) {
                gw_mh_option(w, GW_MH_OPT_NODE_ID, 1 + n, 1, 0);
                gw_put_u8(w, GW_MH_NODE_ID_NAI);
                gw_put_bytes(w, reg->vm.s, n);
        }
        if (reg->has & GW_REG_HAS_GROUP) {
                gw_mh_option(w, GW_MH_OPT_GROUP, 6, 4, 0);
                gw_put_u8(w, reg->group_subtype);
                gw_put_zero(w, 1);
                gw_put_u32(w, reg->group);
        }
}

static void put_addresses(struct gw_writer *w, const struct gw_registration *reg) {
        for (size_t i = 0; i < reg->n_addrs6; i++) {
                gw_mh_option(w, GW_MH_OPT_HOME_PREFIX, 18, 8, 4);
                gw_put_zero(w, 1);
                gw_put_u8(w, reg->addrs6[i].bits);
                gw_put_bytes(w, reg->addrs6[i].ip.b, 16);
        }
        for (size_t i = 0; i < reg->n_addrs4; i++) {
                gw_mh_option(w, GW_MH_OPT_HOME4_REQUEST, 6, 4, 0);
                gw_put_u8(w, (uint8_t)(reg->addrs4[i].bits << 2));
                gw_put_zero(w, 1);
                put_ip4(w, &reg->addrs4[i].ip);
        }
        for (size_t i = 0; i < reg->n_replies4; i++) {
                gw_mh_option(w, GW_MH_OPT_HOME4_REPLY, 6, 4, 0);
                gw_put_u8(w, reg->replies4[i].status);
                gw_put_u8(w, (uint8_t)(reg->replies4[i].bits << 2));
                put_ip4(w, &reg->replies4[i].ip);
        }
}

static void put_gateways(struct gw_writer *w, const struct gw_registration *reg) {
        if (reg->has & GW_REG_HAS_ALTERNATE_COA)
                option_ip6(w, GW_MH_OPT_ALTERNATE_COA, &reg->alternate_coa);
        if (reg->has & GW_REG_HAS_DEFAULT_ROUTER4)
                option_ip4(w, GW_MH_OPT_DEFAULT_ROUTER4, &reg->default_router4);
        if (reg->has & GW_REG_HAS_DHCP4)
                option_u8(w, GW_MH_OPT_DHCP4, reg->dhcp4_server);
        if (reg->has & GW_REG_HAS_COA4)
                option_ip4(w, GW_MH_OPT_COA4, &reg->coa4);
        if (reg->has & GW_REG_HAS_ALTERNATE_COA4) {
                gw_mh_option(w, GW_MH_OPT_ALTERNATE_COA4, 4, 4, 2);
                put_ip4(w, &reg->alternate_coa4);
        }
}

static void put_attachment(struct gw_writer *w, const struct gw_registration *reg) {
        if (reg->has & GW_REG_HAS_HANDOFF)
                option_u8(w, GW_MH_OPT_HANDOFF, reg->handoff);
        if (reg->has & GW_REG_HAS_ACCESS)
                option_u8(w, GW_MH_OPT_ACCESS_TYPE, reg->access);
        for (size_t i = 0; i < reg->n_macs; i++) {
                gw_mh_option(w, GW_MH_OPT_LINK_LAYER_ID, 8, 1, 0);
                gw_put_zero(w, 2);
                gw_put_bytes(w, reg->macs[i].b, 6);
        }
        if (reg->has & GW_REG_HAS_LINK_LOCAL)
                option_ip6(w, GW_MH_OPT_LINK_LOCAL, &reg->link_local);
}

static void put_order(struct gw_writer *w, const struct gw_registration *reg) {
        if (reg->has & GW_REG_HAS_TIMESTAMP)
                option_u64(w, GW_MH_OPT_TIMESTAMP, reg->timestamp);
        if (reg->has & GW_REG_HAS_MESSAGE_ID)
                option_u64(w, GW_MH_OPT_MESSAGE_ID, reg->message_id);
        if (reg->has & GW_REG_HAS_SERVING)
                option_ip6(w, GW_MH_OPT_SERVING, &reg->serving);
        if (reg->has & GW_REG_HAS_EPOCH) {
                gw_mh_option(w, GW_MH_OPT_VENDOR, 13, 4, 2);
                gw_put_u32(w, GW_MH_ENTERPRISE);
                gw_put_u8(w, GW_MH_VENDOR_EPOCH);
                gw_put_u64(w, reg->epoch);
        }
}

static void put_end(struct gw_writer *w, const struct gw_registration *reg) {
        if (reg->has & GW_REG_HAS_AUTH)
                gw_mh_put_auth(w, reg->auth_subtype, reg->auth_spi, reg->auth, reg->auth_size);
        else
                gw_mh_pad(w, GW_MH_UNIT, 0);
}

static void put_header(struct gw_writer *w, const struct gw_registration *reg) {
        gw_mh_begin(w, reg->kind);
        if (reg->kind == GW_REG_REQUEST) {
                gw_put_u16(w, reg->sequence);
                gw_put_u16(w, reg->flags);
        } else {
                gw_put_u8(w, reg->status);
                gw_put_u8(w, (uint8_t)reg->flags);
                gw_put_u16(w, reg->sequence);
        }
        gw_put_u16(w, reg->lifetime_units);
}

static bool addrs4_ok(const struct gw_reg_addr4 *addrs, size_t n) {
        if (n > GW_REG_ADDRS_MAX)
                return false;
        for (size_t i = 0; i < n; i++)
                if (addrs[i].bits > 32 || !gw_ip_is_v4(addrs[i].ip))
                        return false;
        return true;
}

static bool registration_ok(const struct gw_registration *reg) {
        if ((reg->has & GW_REG_HAS_AUTH) && !gw_mh_auth_size_ok(reg->auth_size))
                return false;
        if (reg->kind != GW_REG_REQUEST && (reg->kind != GW_REG_REPLY || reg->flags > 0xff))
                return false;
        if (reg->n_macs > GW_REG_MACS_MAX || reg->n_addrs6 > GW_REG_ADDRS_MAX)
                return false;
        for (size_t i = 0; i < reg->n_addrs6; i++)
                if (reg->addrs6[i].bits > 128 || gw_ip_is_v4(reg->addrs6[i].ip))
                        return false;
        if (!addrs4_ok(reg->addrs4, reg->n_addrs4) || !addrs4_ok(reg->replies4, reg->n_replies4))
                return false;
        if ((reg->has & GW_REG_HAS_VM) && !gw_wire_name_ok(reg->vm.s, strnlen(reg->vm.s, sizeof reg->vm.s)))
                return false;
        return (!(reg->has & GW_REG_HAS_DEFAULT_ROUTER4) || gw_ip_is_v4(reg->default_router4)) &&
               (!(reg->has & GW_REG_HAS_COA4) || gw_ip_is_v4(reg->coa4)) &&
               (!(reg->has & GW_REG_HAS_ALTERNATE_COA4) || gw_ip_is_v4(reg->alternate_coa4));
}

int gw_registration_encode(struct gw_writer *w, struct gw_ip src, struct gw_ip dst, const struct gw_registration *reg) {
        size_t room = w->ok ? w->size - w->at : 0;
        struct gw_writer m = gw_writer(w->base + w->at, room < GW_MH_SIZE_MAX ? room : GW_MH_SIZE_MAX);

        if (!registration_ok(reg))
                return GW_E_INVALID;
        put_header(&m, reg);
        put_who(&m, reg);
        put_addresses(&m, reg);
        put_gateways(&m, reg);
        put_attachment(&m, reg);
        put_order(&m, reg);
        put_end(&m, reg);
        if (!m.ok)
                return GW_E_FULL;
        gw_mh_close(&m, src, dst);
        w->at += m.at;
        return 0;
}

void gw_registration_answer(const struct gw_registration *request, uint8_t status, struct gw_registration *reply) {
        *reply = *request;
        reply->kind = GW_REG_REPLY;
        reply->status = status;
        reply->flags = GW_MH_REPLY_PROXY;
        reply->has &= ~(uint32_t)(GW_REG_HAS_AUTH | GW_REG_HAS_MESSAGE_ID);
        if (status >= GW_MH_REJECTED)
                reply->lifetime_units = 0;
}

const char *gw_registration_status_word(uint8_t status) {
        static const char *const words[256] = {
                [GW_MH_ACCEPTED] = "accepted",
                [GW_MH_REJECTED] = "unspecified",
                [GW_MH_PROHIBITED] = "prohibited",
                [GW_MH_NO_RESOURCES] = "insufficient-resources",
                [GW_MH_SEQUENCE_OUT_OF_WINDOW] = "sequence-out-of-window",
                [GW_MH_ID_MISMATCH] = "message-id-mismatch",
                [GW_MH_ID_REQUIRED] = "message-id-required",
                [GW_MH_AUTH_FAILED] = "authentication-failed",
                [GW_MH_PROXY_NOT_ENABLED] = "not-placed",
                [GW_MH_NOT_SERVED_HERE] = "not-served-here",
                [GW_MH_SENDER_NOT_AUTHORIZED] = "sender-not-authorized",
                [GW_MH_PREFIX_NOT_AUTHORIZED] = "address-not-authorized",
                [GW_MH_TIMESTAMP_MISMATCH] = "timestamp-mismatch",
                [GW_MH_TIMESTAMP_LOWER] = "timestamp-lower",
                [GW_MH_MISSING_PREFIX] = "missing-address",
                [GW_MH_PREFIX_SET_DIFFERS] = "address-set-differs",
                [GW_MH_MISSING_IDENTIFIER] = "missing-identifier",
                [GW_MH_MISSING_HANDOFF] = "missing-handoff-indicator",
                [GW_MH_MISSING_ACCESS_TYPE] = "missing-access-type",
                [GW_MH_IPV4_NOT_AUTHORIZED] = "ipv4-not-authorized",
                [GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED] = "ipv4-address-not-authorized",
                [GW_MH_IPV6_NOT_AUTHORIZED] = "ipv6-not-authorized",
        };

        return words[status] ? words[status] : "other";
}

/* 48.16 fixed point; the fraction is rounded down, so a stamp never lies in the future. */
uint64_t gw_registration_stamp(struct gw_wall at) {
        return at.ns / GW_NS_PER_S << 16 | (at.ns % GW_NS_PER_S << 16) / GW_NS_PER_S;
}

struct gw_wall gw_registration_stamp_wall(uint64_t stamp) {
        uint64_t seconds = stamp >> 16;

        if (seconds >= UINT64_MAX / GW_NS_PER_S)
                return (struct gw_wall){UINT64_MAX};
        return (struct gw_wall){seconds * GW_NS_PER_S + ((stamp & 0xffff) * GW_NS_PER_S >> 16)};
}

uint16_t gw_registration_lifetime(uint32_t seconds) {
        uint32_t units = seconds / GW_MH_LIFETIME_UNIT_S + (seconds % GW_MH_LIFETIME_UNIT_S != 0);

        return units < UINT16_MAX ? (uint16_t)units : UINT16_MAX;
}
