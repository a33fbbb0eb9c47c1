/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Announcements: what guests say about themselves, and what this edge says for
 * them.
 *
 * Nothing that a guest announces is believed. Gratuitous ARP (both forms),
 * unsolicited NA (to any group) and RARP are hints: one that agrees with what is
 * attached here makes the VM be registered again, at most once a second, so that
 * an NVA that had lost it hears of it; one that does not is refused, counted, and
 * told, at most once in REFUSED_SAY_MS for a port. Where a VM is, is decided by
 * the binding alone.
 *
 * RARP has two meanings. A hypervisor announces a MAC with it after a migration,
 * and must get no answer; a diskless client asks for its address (RFC 903, D1
 * section 4.2). They look the same, so a VN says whether it has diskless clients
 * (GW_VN_RARP); then the answer is the IPv4 address of the binding, which is the
 * one from before a move.
 *
 * Speaking for silent guests: neighbours hold the same MAC before and after a
 * move, so they need not be told. A task's device may have a switch behind it
 * that learns from frames, and hears only what comes to it: for those, and only
 * there, a VM that came to this host or changed its place is announced from the
 * binding.
 */
#include "base/log.h"
#include "edge/core.h"
#include "edge/l2.h"
#include "wire/mobility.h"

enum {
        REGISTER_MS = 1000, /* between two registrations that announcements cause */
        REFUSED_SAY_MS = 10000,
};

/* ---- heard ---- */

static bool port_has(const struct edge_port *port, struct gw_ip ip) {
        for (size_t i = 0; i < port->a.n_ips; i++)
                if (gw_ip_eq(port->a.ips[i], ip))
                        return true;
        return gw_ip_eq(gw_edge_link_local(port->a.mac), ip);
}

static bool agrees(const struct edge_port *port, const struct gw_l2_said *said) {
        return gw_mac_eq(said->from, port->a.mac) && gw_mac_eq(said->mac, port->a.mac) &&
               (said->kind == GW_L2_RARP || port_has(port, said->ip));
}

static void refuse(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port,
                   const struct gw_l2_said *said) {
        char mac[GW_MAC_TEXT], ip[GW_IP_TEXT];

        edge->counters[GW_EDGE_C_ANNOUNCEMENTS_REFUSED]++;
        if (!port || now.mono.ns < port->refused_said_until.ns)
                return;
        port->refused_said_until = gw_mono_after(now.mono, gw_ms(REFUSED_SAY_MS));
        gw_edge_log(edge, GW_WARNING, "port=%s announced mac=%s ip=%s, which is not its own: refused", port->a.id.s,
                    gw_mac_text(said->mac, mac), gw_ip_text(said->ip, ip));
        gw_edge_report(edge, GW_REPORT_ANNOUNCEMENT_REFUSED, &port->vm->name, port->vm->epoch);
}

static struct gw_ip first_v4(const struct gw_ip *ips, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (gw_ip_is_v4(ips[i]))
                        return ips[i];
        return (struct gw_ip){{0}};
}

static void rarp_answer(struct gw_edge *edge, const struct edge_port *port) {
        const struct gw_vn_settings *vn = &port->vn->settings;
        struct gw_ip ip = first_v4(port->a.ips, port->a.n_ips);
        uint8_t frame[GW_L2_MAX];
        size_t size;

        if (gw_ip_is_unspecified(ip)) {
                edge->counters[GW_EDGE_C_RARP_UNKNOWN]++;
                return;
        }
        size = gw_l2_rarp_answer(frame, port->a.mac, ip, first_v4(vn->gateways, vn->n_gateways));
        edge->counters[GW_EDGE_C_RARP_ANSWERED]++;
        edge->fx->deliver(edge->user, port->a.ifindex, frame, size);
}

static void register_again(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        if (now.mono.ns < vm->reg->not_before_ns || vm->reg->state != GW_EDGE_REG_ACCEPTED)
                return;
        vm->reg->not_before_ns = gw_mono_after(now.mono, gw_ms(REGISTER_MS)).ns;
        gw_edge_register(edge, now, vm, GW_MH_HANDOFF_UNCHANGED);
}

static void count(struct gw_edge *edge, uint8_t kind) {
        static const uint8_t counters[] = {[GW_L2_ARP_REQUEST] = GW_EDGE_C_ANNOUNCED_ARP,
                                           [GW_L2_ARP_REPLY] = GW_EDGE_C_ANNOUNCED_ARP,
                                           [GW_L2_ADVERT] = GW_EDGE_C_ANNOUNCED_ND,
                                           [GW_L2_RARP] = GW_EDGE_C_ANNOUNCED_RARP};

        edge->counters[GW_EDGE_C_ANNOUNCEMENTS]++;
        edge->counters[counters[kind]]++;
}

void gw_edge_announced(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        struct gw_l2_said said;

        if (!gw_l2_read(frame->bytes, frame->size, &said)) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
        } else if (!port && gw_edge_claim_heard(edge, now, frame->ifindex, &said)) {
                return;
        } else if (!port || !port->vm->reg || port->vm->role == GW_EDGE_MOVED || !agrees(port, &said)) {
                refuse(edge, now, port, &said);
        } else if (said.kind == GW_L2_ANSWER) {
                gw_edge_presence_heard(edge, now, port);
        } else {
                count(edge, said.kind);
                gw_edge_presence_heard(edge, now, port);
                if (said.kind == GW_L2_RARP && port->vn->settings.flags & GW_VN_RARP)
                        rarp_answer(edge, port);
                if (port->vm->role == GW_EDGE_SERVING) /* else it has been resumed, and we are about to be told */
                        register_again(edge, now, port->vm);
        }
}

/* ---- said ---- */

struct speech {
        struct gw_edge *edge;
        uint32_t vni;
        struct gw_mac mac;
        const struct gw_ip *ips;
        size_t n;
};

static void speak_to(struct gw_table_node *node, void *user) {
        const struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        const struct speech *s = user;
        uint8_t frame[GW_L2_MAX];

        if (port->a.vni != s->vni || !port->attached || !port->vm->task || port->vm->role != GW_EDGE_SERVING ||
            gw_mac_eq(port->a.mac, s->mac))
                return;
        s->edge->counters[GW_EDGE_C_SPOKEN]++;
        if (!s->n)
                s->edge->fx->deliver(s->edge->user, port->a.ifindex, frame, gw_l2_announce_mac(frame, s->mac));
        for (size_t i = 0; i < s->n; i++)
                s->edge->fx->deliver(s->edge->user, port->a.ifindex, frame, gw_l2_announce(frame, s->mac, s->ips[i]));
}

void gw_edge_speak(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, const struct gw_ip *ips, size_t n) {
        struct speech speech = {edge, vni, mac, ips, n};

        gw_table_each(&edge->ports_by_id, speak_to, &speech);
}
