/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that the data plane could not decide about.
 *
 * Each ends in one of: sent on now (what it needs is known by now), held for an
 * answer or for its VM, answered from here (too big), taken as a hint
 * (announce.c), dropped and counted.
 */
#include "edge/core.h"
#include "edge/l2.h"
#include "edge/toobig.h"
#include "wire/mobility.h"

enum {
        ETH_SIZE = 14,
        ETHERTYPE_ARP = 0x0806,
        ETHERTYPE_IPV6 = 0x86dd,
        ARP_REQUEST = 1,
        ICMPV6 = 58,
        ND_SOLICITATION = 135,
        TOO_BIG_EVERY_MS = 50,
        TOO_BIG_BURST = 20,
        QUERY_BURST_S = 2,
        STRANGERS = 4, /* ports' worth of questions for all that comes from the wire */
};

static struct gw_mac frame_mac(const struct gw_edge_frame *frame, size_t at) {
        struct gw_mac mac = {{0}};

        if (frame->size >= at + sizeof mac.b)
                memcpy(mac.b, frame->bytes + at, sizeof mac.b);
        return mac;
}

/* ---- what is asked for ---- */

static bool arp_target(struct gw_reader *r, struct gw_ip *out) {
        uint32_t be;
        uint16_t op;

        gw_get_span(r, 6);
        op = gw_get_u16(r);
        gw_get_span(r, 16);
        gw_get_bytes(r, &be, sizeof be);
        *out = gw_ip_from_v4(be);
        return r->ok && op == ARP_REQUEST;
}

static bool nd_target(struct gw_reader *r, struct gw_ip *out) {
        uint8_t next, type;

        gw_get_span(r, 6);
        next = gw_get_u8(r);
        gw_get_span(r, 33);
        type = gw_get_u8(r);
        gw_get_span(r, 7);
        gw_get_bytes(r, out->b, sizeof out->b);
        return r->ok && next == ICMPV6 && type == ND_SOLICITATION;
}

static bool solicit_target(const struct gw_edge_frame *frame, struct gw_ip *out) {
        struct gw_reader r = gw_reader(frame->bytes, frame->size);
        uint16_t type;

        gw_get_span(&r, 12);
        type = gw_get_u16(&r);
        if (type == ETHERTYPE_ARP)
                return arp_target(&r, out) && gw_ip_is_unicast(*out);
        return type == ETHERTYPE_IPV6 && nd_target(&r, out) && gw_ip_is_unicast(*out);
}

/* ---- asking ---- */

bool gw_edge_bucket_take(uint64_t *spent_ns, uint64_t every_ns, uint64_t burst, struct gw_mono now) {
        uint64_t depth_ns = every_ns * burst;

        if (*spent_ns + depth_ns < now.ns)
                *spent_ns = now.ns - depth_ns;
        if (*spent_ns + every_ns > now.ns)
                return false;
        *spent_ns += every_ns;
        return true;
}

static uint32_t queries_per_s(const struct gw_edge *edge, const struct edge_port *port) {
        uint32_t of_vn = port ? port->vn->settings.limits[GW_VN_LIMIT_QUERIES] : 0;

        if (of_vn == GW_VN_NO_LIMIT)
                return 0;
        return of_vn ? of_vn : edge->config.queries_per_s;
}

uint32_t gw_edge_queries_per_s(const struct gw_edge *edge, uint32_t ifindex) {
        return queries_per_s(edge, gw_edge_port_by_ifindex(edge, ifindex));
}

/* One VM that asks for a great many others must not use up what the authority has time for; nor may another host. */
static bool may_ask(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = frame->ifindex ? gw_edge_port_by_ifindex(edge, frame->ifindex) : NULL;
        uint64_t per_s = queries_per_s(edge, port);
        uint64_t *spent = port ? &port->query_tokens_ns : &edge->strangers_tokens_ns;

        if (!per_s || frame->routed) /* what a gateway routes was limited in the data plane, by VN */
                return true;
        if (!port)
                per_s *= STRANGERS;
        return gw_edge_bucket_take(spent, GW_NS_PER_S / per_s, per_s * QUERY_BURST_S, now.mono);
}

/* A port asks for somebody in a VN of which the NVA has told us everything. */
static bool is_known_not_to_exist(const struct gw_edge *edge, const struct gw_edge_frame *frame) {
        const struct edge_vn *vn = gw_edge_vn_find(edge, frame->vni);

        return frame->ifindex && vn && vn->final;
}

void gw_edge_ask_and_hold(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                          const struct gw_edge_frame *frame) {
        struct edge_query *query = gw_edge_query_find(edge, key);

        if (!query && is_known_not_to_exist(edge, frame)) {
                gw_edge_unreachable(edge, now, key, frame, GW_EDGE_C_NO_SUCH);
                return;
        }
        if (!query && !may_ask(edge, now, frame)) {
                edge->counters[GW_EDGE_C_QUERIES_LIMITED]++;
                return;
        }
        if (!query)
                query = gw_edge_query_ask(edge, now, key, frame->ifindex);
        if (!query)
                edge->counters[GW_EDGE_C_HELD_DROPPED_FULL]++;
        else if (query->state == QUERY_NEGATIVE)
                gw_edge_unreachable(edge, now, key, frame,
                                    gw_edge_is_absent(edge, key) ? GW_EDGE_C_ABSENT_DROPPED : GW_EDGE_C_NEGATIVE_HITS);
        else
                gw_edge_query_hold(edge, now, query, frame);
}

static void punt_unknown(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame,
                         enum gw_edge_inject how) {
        struct gw_mac mac = frame_mac(frame, 0);
        struct edge_key key = gw_edge_key_mac(frame->vni, mac);
        struct gw_edge_fdb entry;

        if (gw_mac_is_group(mac) || !gw_edge_vn_find(edge, frame->vni)) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
        } else if (gw_edge_fdb_wanted(edge, frame->vni, mac, &entry)) {
                edge->counters[GW_EDGE_C_RELEASED]++;
                edge->fx->inject(edge->user, how, frame);
        } else if (gw_edge_is_absent(edge, &key)) {
                gw_edge_unreachable(edge, now, &key, frame, GW_EDGE_C_ABSENT_DROPPED);
        } else {
                gw_edge_ask_and_hold(edge, now, &key, frame);
        }
}

void gw_edge_send_as(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        punt_unknown(edge, now, frame, GW_EDGE_AS_SENT);
}

/* What the directory is asked about a target. A link-local address that is made of a MAC (RFC 4291 appendix A) is not
 * in it, but whoever has the MAC may be. */
static struct edge_key solicit_key(uint32_t vni, struct gw_ip ip) {
        struct gw_mac mac;

        return gw_edge_link_local_mac(ip, &mac) ? gw_edge_key_mac(vni, mac) : gw_edge_key_ip(vni, ip);
}

static void punt_solicit(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_key key;
        struct gw_mac mac;
        struct gw_ip ip;

        if (!solicit_target(frame, &ip) || !gw_edge_vn_find(edge, frame->vni)) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
        } else if (gw_edge_neigh_find(edge, frame->vni, ip, &mac)) {
                edge->fx->inject(edge->user, GW_EDGE_AS_SENT, frame);
        } else {
                key = solicit_key(frame->vni, ip);
                gw_edge_ask_and_hold(edge, now, &key, frame);
        }
}

/* ---- the rest ---- */

static bool too_big_allowed(struct edge_port *port, struct gw_mono now) {
        return gw_edge_bucket_take(&port->too_big_tokens_ns, gw_ms(TOO_BIG_EVERY_MS).ns, TOO_BIG_BURST, now);
}

/* A datagram that is to be cut into fragments (UFO, which Linux before 4.14 sends) is told from one into datagrams only
 * by what the programs cannot see, and counts as if each fragment had a UDP header. It is cut on its way up. */
static void send_fragment(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        if (gw_mac_is_group(frame_mac(frame, 0)))
                edge->fx->inject(edge->user, GW_EDGE_AS_SENT, frame);
        else
                gw_edge_send_as(edge, now, frame);
}

static void punt_too_big(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        uint8_t answer[GW_TOO_BIG_MAX];
        size_t size;

        if (!port)
                return;
        if (frame->size <= ETH_SIZE + port->a.mtu) {
                send_fragment(edge, now, frame);
                return;
        }
        size = gw_too_big_answer(frame->bytes, frame->size, port->a.mtu, answer);
        if (!size) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
        } else if (!too_big_allowed(port, now.mono)) {
                edge->counters[GW_EDGE_C_TOO_BIG_LIMITED]++;
        } else {
                edge->counters[GW_EDGE_C_TOO_BIG_ANSWERED]++;
                edge->fx->deliver(edge->user, frame->ifindex, answer, size);
        }
}

/* As the data plane counts (bpf/packet.h). */
static bool is_too_big(const struct edge_port *port, const struct gw_edge_frame *frame) {
        return frame->size > ETH_SIZE + port->a.mtu && (!frame->ip_octets || frame->ip_octets > port->a.mtu);
}

void gw_edge_say(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        const struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        struct gw_l2_said said;
        struct gw_ip ip;

        if (port && is_too_big(port, frame))
                punt_too_big(edge, now, frame);
        else if (gw_l2_read(frame->bytes, frame->size, &said))
                gw_edge_announced(edge, now, frame);
        else if (!gw_mac_is_group(frame_mac(frame, 0)))
                gw_edge_send_as(edge, now, frame);
        else if (solicit_target(frame, &ip))
                punt_solicit(edge, now, frame);
        else
                edge->fx->inject(edge->user, GW_EDGE_AS_SENT, frame);
}

static size_t vm_held_octets(const struct edge_vm *vm) {
        size_t octets = 0;

        gw_list_for_each (link, &vm->ports)
                octets += gw_list_entry(link, struct edge_port, of_vm)->held.octets;
        return octets;
}

/* A group frame from where the VM was cut over to; unicast has a reason of its own. Not what came up before the cut:
 * then that place may have been the former one. */
static bool came_back(const struct edge_port *port, const struct gw_edge_frame *frame) {
        return frame->redirected && port->vm->role == GW_EDGE_MOVED && gw_mac_is_group(frame_mac(frame, 0)) &&
               gw_ip_eq(frame->sender, port->vm->peer) && !port->releasing && !port->draining;
}

static void punt_hold(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        uint64_t age = gw_ms(GW_EDGE_HOLD_MS).ns;

        if (!port)
                return;
        if (came_back(port, frame)) {
                gw_edge_came_back(edge, now, port, frame);
                return;
        }
        if (port->still && !port->hold) {
                gw_edge_still_punted(edge, now, port, frame);
                return;
        }
        if (!port->hold || port->releasing) {
                edge->counters[GW_EDGE_C_RELEASED]++;
                gw_edge_port_pass(edge, port, frame);
                return;
        }
        if (now.mono.ns > age)
                edge->counters[GW_EDGE_C_HELD_DROPPED_AGE] +=
                        gw_edge_held_expire(&port->held, (struct gw_mono){now.mono.ns - age});
        if (vm_held_octets(port->vm) + frame->size > GW_EDGE_HELD_OCTETS_MAX ||
            gw_edge_held_push(&port->held, now.mono, frame))
                edge->counters[GW_EDGE_C_HELD_DROPPED_FULL]++;
        else
                edge->counters[GW_EDGE_C_HELD]++;
}

/* What a port sent, or was to get, before its device was given to another VN must not reach that one. */
bool gw_edge_frame_is_of_before(const struct gw_edge *edge, const struct gw_edge_frame *frame) {
        const struct edge_port *port = frame->ifindex ? gw_edge_port_by_ifindex(edge, frame->ifindex) : NULL;

        return port && port->a.vni != frame->vni;
}

void gw_edge_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_punt *punt) {
        if (gw_edge_frame_is_of_before(edge, &punt->frame)) {
                edge->counters[GW_EDGE_C_PORT_CHANGED]++;
                return;
        }
        switch (punt->reason) {
        case GW_EDGE_UNKNOWN:
                punt_unknown(edge, now, &punt->frame, GW_EDGE_AS_SENT);
                break;
        case GW_EDGE_WIRE_UNKNOWN:
                punt_unknown(edge, now, &punt->frame, GW_EDGE_FROM_WIRE);
                break;
        case GW_EDGE_SOLICIT:
                punt_solicit(edge, now, &punt->frame);
                break;
        case GW_EDGE_ANNOUNCE:
                gw_edge_announced(edge, now, &punt->frame);
                break;
        case GW_EDGE_GATEWAY:
                gw_edge_gateway_punted(edge, now, &punt->frame);
                break;
        case GW_EDGE_TOO_BIG:
                punt_too_big(edge, now, &punt->frame);
                break;
        case GW_EDGE_HOLD:
                punt_hold(edge, now, &punt->frame);
                break;
        case GW_EDGE_GROUPS:
                gw_edge_groups_heard(edge, now, &punt->frame);
                break;
        case GW_EDGE_PATH:
                gw_edge_path_heard(edge, now, &punt->frame);
                break;
        case GW_EDGE_FENCED:
                gw_edge_fenced_punted(edge, now, &punt->frame);
                break;
        case GW_EDGE_RETURNED:
                gw_edge_came_back(edge, now, gw_edge_port_by_mac(edge, punt->frame.vni, frame_mac(&punt->frame, 0)),
                                  &punt->frame);
                break;
        case GW_EDGE_WIRE_SOURCE:
                gw_edge_source_punted(edge, now, &punt->frame);
                break;
        default:
                edge->counters[GW_EDGE_C_UNPARSED]++;
        }
}

void gw_edge_punts_drained(struct gw_edge *edge, struct gw_edge_now now) {
        (void)now;
        gw_edge_query_drained(edge);
        gw_edge_source_drained(edge);
        gw_edge_vm_drained(edge);
}

bool gw_edge_wants_drain(const struct gw_edge *edge) {
        return !gw_list_empty(&edge->releasing) || edge->n_releasing_ports || gw_edge_source_wants_drain(edge);
}
