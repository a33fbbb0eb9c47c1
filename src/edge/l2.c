/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ARP (RFC 826), RARP (RFC 903) and neighbour discovery (RFC 4861) frames.
 *
 * Announcements are those of RFC 5227 (request form, which also D1 asks for) and
 * RFC 4861 section 7.2.6 (NA to all nodes: the owner's solicited-node group, which
 * D1 names, is joined by the owner alone). What guests send is accepted in every
 * form: request and reply, NA to any group, RARP.
 *
 * Questions of the edge come from the gateway's MAC, which no guest has. An ARP
 * question is a probe (sender 0), which changes no cache; a NS comes from the
 * link-local address of that MAC.
 */
#include "edge/l2.h"

#include <string.h>

#include "base/cursor.h"
#include "wire/frame.h"

enum {
        ARP = 0x0806,
        RARP = 0x8035,
        IPV6 = 0x86dd,
        IPV4 = 0x0800,
        ARP_SIZES = 6 << 8 | 4, /* of a MAC and an IPv4 address */
        OP_REQUEST = 1,
        OP_REPLY = 2,
        OP_RARP_REQUEST = 3,
        OP_RARP_REPLY = 4,
        ICMPV6 = 58,
        HOP_LIMIT = 255,
        SOLICIT = 135,
        ADVERT = 136,
        OPTION_SOURCE = 1,
        OPTION_TARGET = 2,
        ETHERNET_MIN = 60, /* octets, without the check sequence */
        ICMPV6_AT = 54,
};
#define ADVERT_OVERRIDE 0x20000000u

static const struct gw_mac broadcast = {{255, 255, 255, 255, 255, 255}}, nobody;
static const struct gw_ip unspecified;

/* ---- reading ---- */

static bool read_arp(struct gw_reader *r, bool rarp, bool group, struct gw_l2_said *out) {
        uint32_t spa = 0, tpa = 0;
        uint16_t hardware = gw_get_u16(r), protocol = gw_get_u16(r), sizes = gw_get_u16(r), op;

        if (hardware != 1 || protocol != IPV4 || sizes != ARP_SIZES)
                return false;
        op = gw_get_u16(r);
        gw_get_bytes(r, out->mac.b, 6);
        gw_get_bytes(r, &spa, 4);
        gw_get_span(r, 6);
        gw_get_bytes(r, &tpa, 4);
        if (!r->ok)
                return false;
        if (rarp) {
                out->kind = GW_L2_RARP;
                return op == OP_RARP_REQUEST;
        }
        out->ip = gw_ip_from_v4(spa);
        out->kind = !group ? GW_L2_ANSWER : op == OP_REQUEST ? GW_L2_ARP_REQUEST : GW_L2_ARP_REPLY;
        return spa && (group ? (op == OP_REQUEST || op == OP_REPLY) && spa == tpa : op == OP_REPLY);
}

static bool read_nd(struct gw_reader *r, bool group, struct gw_l2_said *out) {
        uint8_t next, hops, type, code;

        gw_get_span(r, 6);
        next = gw_get_u8(r);
        hops = gw_get_u8(r);
        gw_get_span(r, 32);
        type = gw_get_u8(r);
        code = gw_get_u8(r);
        gw_get_span(r, 6);
        gw_get_bytes(r, out->ip.b, 16);
        out->mac = out->from; /* the guard has seen to it that an option says no other */
        out->kind = group ? GW_L2_ADVERT : GW_L2_ANSWER;
        return r->ok && next == ICMPV6 && hops == HOP_LIMIT && type == ADVERT && !code && gw_ip_is_unicast(out->ip);
}

bool gw_l2_read(const uint8_t *frame, size_t size, struct gw_l2_said *out) {
        struct gw_reader r = gw_reader(frame, size);
        struct gw_mac to = {{0}};
        uint16_t type;

        memset(out, 0, sizeof *out);
        gw_get_bytes(&r, to.b, 6);
        gw_get_bytes(&r, out->from.b, 6);
        type = gw_get_u16(&r);
        if (!r.ok || (!gw_mac_is_group(to) && !gw_mac_eq(to, GW_GATEWAY_MAC) && type != RARP))
                return false;
        if (type == ARP || type == RARP)
                return read_arp(&r, type == RARP, gw_mac_is_group(to), out);
        return type == IPV6 && read_nd(&r, gw_mac_is_group(to), out);
}

/* ---- building ---- */

static void put_ethernet(struct gw_writer *w, struct gw_mac to, struct gw_mac from, uint16_t type) {
        gw_put_bytes(w, to.b, 6);
        gw_put_bytes(w, from.b, 6);
        gw_put_u16(w, type);
}

static void put_v4(struct gw_writer *w, struct gw_ip ip) {
        uint32_t be = gw_ip_v4(ip);

        gw_put_bytes(w, &be, 4);
}

struct arp {
        uint16_t type, op;
        struct gw_mac to, sha, tha;
        struct gw_ip spa, tpa;
};

static size_t put_arp(uint8_t *out, const struct arp *arp, struct gw_mac from) {
        struct gw_writer w = gw_writer(out, GW_L2_MAX);

        put_ethernet(&w, arp->to, from, arp->type);
        gw_put_u16(&w, 1);
        gw_put_u16(&w, IPV4);
        gw_put_u8(&w, 6);
        gw_put_u8(&w, 4);
        gw_put_u16(&w, arp->op);
        gw_put_bytes(&w, arp->sha.b, 6);
        put_v4(&w, arp->spa);
        gw_put_bytes(&w, arp->tha.b, 6);
        put_v4(&w, arp->tpa);
        gw_put_zero(&w, ETHERNET_MIN - w.at);
        return w.at;
}

static uint16_t icmpv6_sum(const uint8_t *frame, size_t size) {
        uint32_t sum = (uint32_t)(size - ICMPV6_AT) + ICMPV6;

        for (size_t i = 22; i + 1 < size; i += 2)
                sum += (uint32_t)(frame[i] << 8 | frame[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

struct nd {
        struct gw_mac to, from;
        struct gw_ip source, destination, target;
        uint8_t type, option;
        uint32_t flags;
};

static size_t put_nd(uint8_t *out, const struct nd *nd) {
        struct gw_writer w = gw_writer(out, GW_L2_MAX);
        uint16_t sum;

        put_ethernet(&w, nd->to, nd->from, IPV6);
        gw_put_u32(&w, 0x60000000);
        gw_put_u16(&w, 32);
        gw_put_u8(&w, ICMPV6);
        gw_put_u8(&w, HOP_LIMIT);
        gw_put_bytes(&w, nd->source.b, 16);
        gw_put_bytes(&w, nd->destination.b, 16);
        gw_put_u8(&w, nd->type);
        gw_put_zero(&w, 3);
        gw_put_u32(&w, nd->flags);
        gw_put_bytes(&w, nd->target.b, 16);
        gw_put_u8(&w, nd->option);
        gw_put_u8(&w, 1);
        gw_put_bytes(&w, nd->from.b, 6);
        sum = icmpv6_sum(out, w.at);
        out[ICMPV6_AT + 2] = (uint8_t)(sum >> 8);
        out[ICMPV6_AT + 3] = (uint8_t)sum;
        return w.at;
}

size_t gw_l2_announce(uint8_t *out, struct gw_mac mac, struct gw_ip ip) {
        static const struct gw_ip all_nodes = {{0xff, 2, [15] = 1}};
        static const struct gw_mac all_nodes_mac = {{0x33, 0x33, 0, 0, 0, 1}};
        struct arp arp = {.type = ARP, .op = OP_REQUEST, .to = broadcast, .sha = mac, .spa = ip, .tpa = ip};
        struct nd nd = {.to = all_nodes_mac,
                        .from = mac,
                        .source = ip,
                        .destination = all_nodes,
                        .target = ip,
                        .type = ADVERT,
                        .option = OPTION_TARGET,
                        .flags = ADVERT_OVERRIDE};

        return gw_ip_is_v4(ip) ? put_arp(out, &arp, mac) : put_nd(out, &nd);
}

size_t gw_l2_announce_mac(uint8_t *out, struct gw_mac mac) {
        struct arp arp = {.type = RARP, .op = OP_RARP_REQUEST, .to = broadcast, .sha = mac, .tha = mac};

        return put_arp(out, &arp, mac);
}

static size_t ask_v6(uint8_t *out, struct gw_mac mac, struct gw_ip ip) {
        static const struct gw_mac own = GW_GATEWAY_MAC;
        struct nd nd = {.to = mac,
                        .from = own,
                        .source = {{0xfe, 0x80, [8] = own.b[0] ^ 2, own.b[1], own.b[2], 0xff, 0xfe, own.b[3], own.b[4],
                                    own.b[5]}},
                        .destination = {{0xff, 2, [11] = 1, 0xff, ip.b[13], ip.b[14], ip.b[15]}},
                        .target = ip,
                        .type = SOLICIT,
                        .option = OPTION_SOURCE};

        return put_nd(out, &nd);
}

size_t gw_l2_ask(uint8_t *out, struct gw_mac mac, struct gw_ip ip) {
        struct arp arp = {.type = ARP,
                          .op = OP_REQUEST,
                          .to = mac,
                          .sha = GW_GATEWAY_MAC,
                          .spa = unspecified,
                          .tha = nobody,
                          .tpa = ip};

        return gw_ip_is_v4(ip) ? put_arp(out, &arp, GW_GATEWAY_MAC) : ask_v6(out, mac, ip);
}

size_t gw_l2_rarp_answer(uint8_t *out, struct gw_mac mac, struct gw_ip ip, struct gw_ip server) {
        struct arp arp = {.type = RARP,
                          .op = OP_RARP_REPLY,
                          .to = mac,
                          .sha = GW_GATEWAY_MAC,
                          .spa = server,
                          .tha = mac,
                          .tpa = ip};

        return put_arp(out, &arp, GW_GATEWAY_MAC);
}
