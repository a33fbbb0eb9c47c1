/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Are the VMs that are attached here still behind their devices?
 *
 * Asked when a VM leaves (D1 section 4.2: the old NVE refreshes what it knows of
 * those that remain), and when the authority wants to know whether a VM is here
 * that another NVE claims. Each address of a port is asked for by an ARP probe or
 * a NS of its own, PRESENCE_TRIES times, PRESENCE_AGAIN_MS apart, one port every
 * PRESENCE_PACE_MS. Anything that the guest announces meanwhile is an answer, too.
 *
 * A port that stays silent is counted and shown, and nothing is taken from it: a
 * guest may have its reasons (a firewall, a paused processor). What it is to mean
 * is decided by who asked.
 *
 * Ports that are being asked are in edge->asked, in the order in which they are
 * due. A VN whose ports are to be asked has .look set until the next tick.
 */
#include "base/log.h"
#include "edge/core.h"
#include "edge/l2.h"

enum {
        PRESENCE_TRIES = 3,
        PRESENCE_AGAIN_MS = 300,
        PRESENCE_PACE_MS = 20,
};

void gw_edge_presence_heard(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        port->heard_at = now.mono;
        port->silent = false;
        if (!gw_list_linked(&port->in_asked))
                return;
        edge->counters[GW_EDGE_C_PRESENT]++;
        gw_list_remove(&port->in_asked);
}

static void ask(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        uint8_t frame[GW_L2_MAX];

        for (size_t i = 0; i < port->a.n_ips; i++) {
                size_t size = gw_l2_ask(frame, port->a.mac, port->a.ips[i]);

                edge->counters[GW_EDGE_C_PRESENCE_ASKED]++;
                edge->fx->deliver(edge->user, port->a.ifindex, frame, size);
        }
        port->asked++;
        port->ask_at = gw_mono_after(now.mono, gw_ms(PRESENCE_AGAIN_MS));
}

static void give_up(struct gw_edge *edge, struct edge_port *port) {
        port->silent = true;
        edge->counters[GW_EDGE_C_SILENT]++;
        gw_edge_log(edge, GW_NOTICE, "port=%s does not answer for any of its addresses", port->a.id.s);
}

static bool can_be_asked(const struct edge_port *port) {
        return port->attached && port->a.n_ips && port->vm->role == GW_EDGE_SERVING;
}

static void begin(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        if (!can_be_asked(port) || gw_list_linked(&port->in_asked))
                return;
        port->asked = 0;
        port->ask_at = now.mono;
        gw_list_append(&edge->asked, &port->in_asked);
}

static void begin_where_looked(struct gw_table_node *node, void *user) {
        struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        struct gw_edge *edge = user;

        if (port->vn->look)
                begin(edge, edge->looked_at, port);
}

static void looked(struct gw_table_node *node, void *user) {
        (void)user;
        gw_container_of(node, struct edge_vn, node)->look = false;
}

static void arm(struct gw_edge *edge, struct gw_edge_now now) {
        struct gw_mono at = gw_mono_after(now.mono, gw_ms(PRESENCE_PACE_MS));
        const struct edge_port *next;

        if (gw_list_empty(&edge->asked))
                return;
        next = gw_list_entry(edge->asked.next, struct edge_port, in_asked);
        gw_edge_timer_set(&edge->timers, &edge->presence, next->ask_at.ns > at.ns ? next->ask_at : at);
}

void gw_edge_presence_timer(struct gw_edge *edge, struct gw_edge_now now) {
        struct edge_port *port;

        if (edge->look) {
                edge->look = false;
                edge->looked_at = now;
                gw_table_each(&edge->ports_by_id, begin_where_looked, edge);
                gw_table_each(&edge->vns, looked, NULL);
        }
        if (gw_list_empty(&edge->asked))
                return;
        port = gw_list_entry(edge->asked.next, struct edge_port, in_asked);
        if (gw_mono_reached(now.mono, port->ask_at)) {
                gw_list_remove(&port->in_asked);
                if (!can_be_asked(port)) {
                        port->silent = false;
                } else if (port->asked == PRESENCE_TRIES) {
                        give_up(edge, port);
                } else {
                        ask(edge, now, port);
                        gw_list_append(&edge->asked, &port->in_asked);
                }
        }
        arm(edge, now);
}

void gw_edge_presence_look(struct gw_edge *edge, struct edge_vn *vn) {
        vn->look = edge->look = true;
        gw_edge_timer_set(&edge->timers, &edge->presence, (struct gw_mono){1}); /* with the next tick */
}

/* ---- one VM ---- */

static bool vm_any(const struct edge_vm *vm, bool (*is)(const struct edge_port *port)) {
        gw_list_for_each (link, &vm->ports)
                if (is(gw_list_entry(link, struct edge_port, of_vm)))
                        return true;
        return false;
}

static bool is_asked(const struct edge_port *port) {
        return gw_list_linked(&port->in_asked);
}

static bool is_silent(const struct edge_port *port) {
        return port->silent || !can_be_asked(port);
}

static bool is_heard(const struct edge_port *port) {
        return can_be_asked(port) && !port->silent && !gw_list_linked(&port->in_asked);
}

enum gw_edge_presence gw_edge_presence_ask(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm || vm->role != GW_EDGE_SERVING)
                return GW_EDGE_PRESENCE_GONE;
        gw_list_for_each (link, &vm->ports)
                begin(edge, now, gw_list_entry(link, struct edge_port, of_vm));
        gw_edge_timer_set(&edge->timers, &edge->presence, (struct gw_mono){1});
        return vm_any(vm, is_asked) ? GW_EDGE_PRESENCE_ASKING : GW_EDGE_PRESENCE_SILENT;
}

enum gw_edge_presence gw_edge_presence_of(const struct gw_edge *edge, const struct gw_name *name) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm || vm->role != GW_EDGE_SERVING)
                return GW_EDGE_PRESENCE_GONE;
        if (vm_any(vm, is_heard))
                return GW_EDGE_PRESENCE_HERE;
        if (vm_any(vm, is_asked))
                return GW_EDGE_PRESENCE_ASKING;
        return vm_any(vm, is_silent) ? GW_EDGE_PRESENCE_SILENT : GW_EDGE_PRESENCE_GONE;
}
