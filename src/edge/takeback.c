/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits here for a VM that was cut, and may be taken back (decision 96).
 *
 *      fenced    what it says. It stands still, or is a copy that must not speak, so nothing of it passes. But a VM
 *                that is taken back runs a moment before its edge is told, by itself when the stream to the
 *                target breaks
 *      back      what the place that it was cut over to sends back. That may have heard of the taking back before
 *                its edge has; and what came marked is never sent on again
 *
 * Both leave in the call that has it serve here again, what came back first: it is older. What comes in that moment may
 * be before them. They are bounded, for each port, in frames and octets, and in the memory that those of all ports
 * take, and dropped when the port is closed: then the VM is elsewhere for good. What a copy says that nobody takes back
 * for long is dropped, too; what comes back is not, for who sends it back is rid of the VM. What it said was fenced
 * before the data plane looked at it: it is asked for, answered or heard here as it would have been (gw_edge_say),
 * but for what it says of its groups, for which it is asked anew. What comes back gets here within what may go up
 * at all: the punt device's queue, and a member's share of it in a VN.
 */
#include <stdlib.h>

#include "edge/core.h"

enum { WAITING_FRAMES_MAX = 16384, WAITING_OCTETS_MAX = 32 << 20 };

/* What copies say, which may never be taken back, leaves half of the room to what comes back. */
static void hold(struct gw_edge *edge, struct gw_edge_now now, struct held_queue *queue,
                 const struct gw_edge_frame *frame, enum gw_edge_counter dropped) {
        size_t room = dropped == GW_EDGE_C_FENCED_DROPPED ? GW_EDGE_TAKING_BACK_MAX / 2 : GW_EDGE_TAKING_BACK_MAX;

        if (queue->n >= WAITING_FRAMES_MAX || queue->octets + frame->size > WAITING_OCTETS_MAX ||
            edge->taking_back + sizeof(struct held_frame) + frame->size > room ||
            gw_edge_held_push(queue, now.mono, frame))
                edge->counters[dropped]++;
}

static void expire(struct gw_edge *edge, struct gw_edge_now now, struct held_queue *fenced) {
        uint64_t age = gw_ms(GW_EDGE_HOLD_MS).ns;

        if (now.mono.ns > age)
                edge->counters[GW_EDGE_C_FENCED_DROPPED] +=
                        gw_edge_held_expire(fenced, (struct gw_mono){now.mono.ns - age});
}

static bool may_be_taken_back(const struct edge_port *port) {
        return port->vm->role == GW_EDGE_MOVED && port->attached;
}

void gw_edge_fenced_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);

        if (port && port->vm->role == GW_EDGE_SERVING) { /* it was on its way up when the VM was taken back */
                edge->counters[GW_EDGE_C_FENCED_SENT]++;
                gw_edge_say(edge, now, frame);
        } else if (port && may_be_taken_back(port)) {
                expire(edge, now, &port->fenced);
                hold(edge, now, &port->fenced, frame, GW_EDGE_C_FENCED_DROPPED);
        } else {
                edge->counters[GW_EDGE_C_FENCED_DROPPED]++;
        }
}

void gw_edge_came_back(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port,
                       const struct gw_edge_frame *frame) {
        struct gw_edge_frame to = *frame;

        if (port && port->vm->role == GW_EDGE_SERVING && port->attached) {
                to.ifindex = port->a.ifindex;
                edge->counters[GW_EDGE_C_BACK_DELIVERED]++;
                edge->fx->inject(edge->user, GW_EDGE_DELIVER, &to);
        } else if (port && may_be_taken_back(port)) {
                hold(edge, now, &port->back, frame, GW_EDGE_C_BACK_DROPPED);
        } else {
                edge->counters[GW_EDGE_C_BACK_DROPPED]++;
        }
}

static void deliver_back(struct gw_edge *edge, struct edge_port *port) {
        struct held_frame *held;

        while ((held = gw_edge_held_pop(&port->back))) {
                held->frame.ifindex = port->a.ifindex;
                edge->counters[GW_EDGE_C_BACK_DELIVERED]++;
                edge->fx->inject(edge->user, GW_EDGE_DELIVER, &held->frame);
                free(held);
        }
}

static void say_fenced(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        struct held_frame *held;

        while ((held = gw_edge_held_pop(&port->fenced))) {
                held->frame.ifindex = port->a.ifindex;
                edge->counters[GW_EDGE_C_FENCED_SENT]++;
                gw_edge_say(edge, now, &held->frame);
                free(held);
        }
}

void gw_edge_taken_back(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                expire(edge, now, &port->fenced);
                deliver_back(edge, port);
                say_fenced(edge, now, port);
        }
}

void gw_edge_not_taken_back(struct gw_edge *edge, struct edge_port *port) {
        edge->counters[GW_EDGE_C_FENCED_DROPPED] += gw_edge_held_clear(&port->fenced);
        edge->counters[GW_EDGE_C_BACK_DROPPED] += gw_edge_held_clear(&port->back);
}
