/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding frames for a VM: while it arrives (when its device has no queue that
 * would), and for the moment before it is stopped for a move.
 *
 * The second needs its reason told. An emulator goes on reading a tap for a
 * moment after it has stopped the VM: what it takes then lies in its memory
 * and is lost with it, one or two frames for each interface and move. So whoever stops
 * a VM has its frames held first, waits until the tap is empty, stops it, and cuts.
 *
 *      hold on --- unhold, activate, cut, time ---> releasing --- drained ---> off
 *
 * Order: on release the held ones go first, then what came up meanwhile, and the
 * hold ends when the shell has read all that came up. Frames go to the VM's
 * device, or after the VM when it was cut.
 *
 * A cut keeps order in the same way: what the device has queued (a tap) is older
 * than what comes now, so that comes up until the shell has drained the one and
 * read the other.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"

/* To the VM, wherever it is by now. */
void gw_edge_port_pass(struct gw_edge *edge, const struct edge_port *port, const struct gw_edge_frame *frame) {
        edge->fx->inject(edge->user, port->vm->role == GW_EDGE_MOVED ? GW_EDGE_DRAIN : GW_EDGE_DELIVER, frame);
}

static void port_release(struct gw_edge *edge, struct edge_port *port) {
        struct held_frame *held;

        edge->counters[GW_EDGE_C_RELEASED] += port->held.n;
        while ((held = gw_edge_held_pop(&port->held))) {
                held->frame.ifindex = port->a.ifindex;
                gw_edge_port_pass(edge, port, &held->frame);
                free(held);
        }
}

void gw_edge_vm_release(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        struct gw_mono before = {now.mono.ns > gw_ms(GW_EDGE_HOLD_MS).ns ? now.mono.ns - gw_ms(GW_EDGE_HOLD_MS).ns : 0};

        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                if (!port->hold || port->releasing)
                        continue;
                edge->counters[GW_EDGE_C_HELD_DROPPED_AGE] += gw_edge_held_expire(&port->held, before);
                port_release(edge, port);
                if (!port->draining)
                        edge->n_releasing_ports++;
                port->releasing = true;
        }
}

void gw_edge_port_drain(struct gw_edge *edge, struct edge_port *port) {
        if (!port->attached || !port->a.queues || port->draining)
                return;
        if (!port->releasing)
                edge->n_releasing_ports++;
        port->draining = true;
}

void gw_edge_port_settled(struct gw_edge *edge, struct edge_port *port) {
        if (port->releasing || port->draining)
                edge->n_releasing_ports--;
        port->releasing = port->draining = false;
}

static void release_ends(struct gw_table_node *node, void *user) {
        struct gw_edge *edge = user;
        struct edge_port *port = gw_container_of(node, struct edge_port, by_id);

        bool released = port->releasing, drained = port->draining;

        gw_edge_port_settled(edge, port);
        if (drained)
                gw_edge_fdb_program(edge, port->a.vni, port->a.mac);
        if (released) {
                port_release(edge, port);
                port->hold = false;
        }
        if (port->attached && (released || drained))
                edge->fx->port_role(edge->user, &port->a, port->vm->role, port->hold);
}

void gw_edge_vm_drained(struct gw_edge *edge) {
        if (edge->n_releasing_ports)
                gw_table_each(&edge->ports_by_id, release_ends, edge);
}

static void vm_hold(struct gw_edge *edge, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                gw_edge_port_settled(edge, port);
                if (!port->attached || port->hold)
                        continue;
                port->hold = true;
                edge->fx->port_role(edge->user, &port->a, GW_EDGE_SERVING, true);
        }
}

int gw_edge_hold(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, uint32_t max_ms,
                 struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm)
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s has no port here", name->s);
        if (vm->role != GW_EDGE_SERVING)
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s does not serve here", name->s);
        if (!max_ms || max_ms > GW_EDGE_HOLD_SERVING_MS)
                max_ms = GW_EDGE_HOLD_SERVING_MS;
        vm_hold(edge, vm);
        gw_edge_timer_set(&edge->timers, &vm->redirect, gw_mono_after(now.mono, gw_ms(max_ms)));
        return 0;
}

int gw_edge_unhold(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm)
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s has no port here", name->s);
        if (vm->role != GW_EDGE_SERVING)
                return 0;
        gw_edge_timer_stop(&edge->timers, &vm->redirect);
        gw_edge_vm_release(edge, now, vm);
        return 0;
}

/* Whoever asked for the hold has not come back. */
void gw_edge_vm_hold_timer(struct gw_edge *edge, struct edge_vm *vm) {
        if (vm->role != GW_EDGE_SERVING)
                return;
        gw_edge_log(edge, GW_NOTICE, "vm=%s its hold has lasted long enough; released", vm->name.s);
        gw_edge_vm_release(edge, (struct gw_edge_now){{0}, {0}}, vm);
}
