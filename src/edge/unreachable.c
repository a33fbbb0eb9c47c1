/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Packets for a VM that does not run, as its VN wants it (the VN's key `absent`):
 *
 *                VM stopped, or no such VM          VM stands still (suspended, or under way in a cold move)
 *      wait      dropped                            they wait in its device's queue
 *      drop      dropped                            dropped
 *      answer    "host unreachable" (RFC 792), "address unreachable" (RFC 4443) to the sender
 *
 * Whoever is stopped has no place, so the sender's edge decides, and where a
 * packet was to be routed, the gateway. Who stands still has one: its own edge
 * decides, which the agent tells; it holds with the authority away, and through
 * cut and activation of the VM. What the data plane hands up for such a port is
 * bounded there; the answers are bounded here.
 *
 * An answer has the VN's gateway address, or, where the VN has none of that
 * family, the packet's own destination, whose MAC it has in any case. What went
 * through a gateway is answered from the destination too: the gateway takes
 * nothing that claims to be from itself. ARP and ND get no answer (who has no
 * place has no MAC), nor does anything that RFC 1122 section 3.2.2 forbids.
 *
 * Each packet is counted once: answered, or dropped for that reason.
 */
#include "base/error.h"
#include "edge/core.h"
#include "edge/toobig.h"

enum {
        ETH_SIZE = 14,
        ETHERTYPE_IPV4 = 0x0800,
        ETHERTYPE_IPV6 = 0x86dd,
        IPV6_SIZE = 40,
        IPV6_NEXT_AT = 6,
        ICMPV6 = 58,
        ND_FIRST = 133,
        ND_LAST = 137,
        TELL_EVERY_MS = 50, /* to one port, and about one that stands still */
        TELL_ROUTED_EVERY_MS = 5,
        TELL_BURST = 20,
};

static bool wants(const struct edge_vn *vn, uint32_t flag) {
        return vn && vn->settings.flags & flag;
}

static uint16_t ethertype(const struct gw_edge_frame *frame) {
        return frame->size < ETH_SIZE ? 0 : (uint16_t)(frame->bytes[12] << 8 | frame->bytes[13]);
}

static bool is_neighbour_discovery(const struct gw_edge_frame *frame) {
        const uint8_t *ip = frame->bytes + ETH_SIZE;

        return ethertype(frame) == ETHERTYPE_IPV6 && frame->size > ETH_SIZE + IPV6_SIZE && ip[IPV6_NEXT_AT] == ICMPV6 &&
               ip[IPV6_SIZE] >= ND_FIRST && ip[IPV6_SIZE] <= ND_LAST;
}

static bool is_from_gateway(const struct gw_edge_frame *frame) {
        return frame->size >= ETH_SIZE && memcmp(frame->bytes + 6, GW_GATEWAY_MAC.b, sizeof GW_GATEWAY_MAC.b) == 0;
}

static const struct gw_ip *gateway_of(const struct edge_vn *vn, bool v4) {
        for (size_t i = 0; i < vn->settings.n_gateways; i++)
                if (gw_ip_is_v4(vn->settings.gateways[i]) == v4)
                        return &vn->settings.gateways[i];
        return NULL;
}

/* 0: there must be no answer. */
static size_t answer_make(const struct edge_vn *vn, const struct gw_edge_frame *frame,
                          uint8_t out[static GW_TOO_BIG_MAX]) {
        struct gw_icmp_error error = {.v4 = GW_ICMP4_HOST, .v6 = GW_ICMP6_ADDRESS};

        if (is_neighbour_discovery(frame))
                return 0;
        if (!is_from_gateway(frame))
                error.from = gateway_of(vn, ethertype(frame) == ETHERTYPE_IPV4);
        return gw_icmp_error_answer(frame->bytes, frame->size, &error, out);
}

static bool may_tell(uint64_t *spent_ns, uint64_t every_ms, struct gw_mono now) {
        return gw_edge_bucket_take(spent_ns, gw_ms(every_ms).ns, TELL_BURST, now);
}

/* ---- nobody is there ---- */

bool gw_edge_is_absent(const struct gw_edge *edge, const struct edge_key *key) {
        const struct edge_mapping *m;
        struct gw_mac mac;

        if (!key->by_mac)
                return false;
        memcpy(mac.b, key->b, sizeof mac.b);
        m = gw_edge_mapping_find(edge, key->vni, mac);
        return m && m->state == GW_MAPPING_ABSENT;
}

static bool tell_port(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        uint8_t answer[GW_TOO_BIG_MAX];
        size_t size = port ? answer_make(port->vn, frame, answer) : 0;

        if (!size || !may_tell(&port->absent_tokens_ns, TELL_EVERY_MS, now.mono))
                return false;
        edge->counters[GW_EDGE_C_ABSENT_ANSWERED]++;
        edge->fx->deliver(edge->user, frame->ifindex, answer, size);
        return true;
}

void gw_edge_unreachable(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                         const struct gw_edge_frame *frame, enum gw_edge_counter otherwise) {
        struct edge_vn *vn = gw_edge_vn_find(edge, key->vni);
        bool answers = wants(vn, GW_VN_ABSENT_ANSWER);

        if (answers && frame->routed && may_tell(&vn->absent_tokens_ns, TELL_ROUTED_EVERY_MS, now.mono)) {
                gw_edge_gateway_unreachable(edge, frame);
                return;
        }
        if (answers && !frame->routed && frame->ifindex && tell_port(edge, now, frame))
                return;
        edge->counters[frame->routed ? GW_EDGE_C_ABSENT_DROPPED : otherwise]++;
}

/* ---- it stands still ---- */

static void port_apply(struct gw_edge *edge, struct edge_port *port) {
        bool still = port->attached && port->vm->still && port->vm->role == GW_EDGE_SERVING &&
                     wants(port->vn, GW_VN_ABSENT_DROP | GW_VN_ABSENT_ANSWER);

        if (port->still == still || !edge->fx->port_still)
                return;
        port->still = still;
        if (port->attached)
                edge->fx->port_still(edge->user, &port->a, still);
}

void gw_edge_still_apply(struct gw_edge *edge, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports)
                port_apply(edge, gw_list_entry(link, struct edge_port, of_vm));
}

struct of_vn {
        struct gw_edge *edge;
        const struct edge_vn *vn;
};

static void apply_each(struct gw_table_node *node, void *user) {
        struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        struct of_vn *of = user;

        if (port->vn == of->vn)
                port_apply(of->edge, port);
}

void gw_edge_still_apply_vn(struct gw_edge *edge, const struct edge_vn *vn) {
        gw_table_each(&edge->ports_by_id, apply_each, &(struct of_vn){edge, vn});
}

int gw_edge_still(struct gw_edge *edge, const struct gw_name *name, bool still, struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm)
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s has no port here", name->s);
        vm->still = still;
        gw_edge_still_apply(edge, vm);
        return 0;
}

void gw_edge_still_punted(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port,
                          const struct gw_edge_frame *frame) {
        uint8_t answer[GW_TOO_BIG_MAX];
        struct gw_edge_frame from_it = {.vni = port->a.vni, .ifindex = port->a.ifindex, .bytes = answer};

        if (wants(port->vn, GW_VN_ABSENT_ANSWER))
                from_it.size = answer_make(port->vn, frame, answer);
        if (!from_it.size || !may_tell(&port->absent_tokens_ns, TELL_EVERY_MS, now.mono)) {
                edge->counters[GW_EDGE_C_ABSENT_DROPPED]++;
                return;
        }
        edge->counters[GW_EDGE_C_ABSENT_ANSWERED]++;
        gw_edge_send_as(edge, now, &from_it);
}
