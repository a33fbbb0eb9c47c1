/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What waits here when the daemon ends in order: every frame is taken out, with
 * the reason for which it came up, and the shell puts it back to where it came up
 * from. The next daemon reads it there as if it had just come.
 *
 * Frames that wait for one thing keep their order; between those that wait for
 * different things there is none to keep. How long they have waited is forgotten:
 * a restart takes less than what anybody waits for.
 */
#include <stdlib.h>

#include "edge/core.h"

struct giving {
        struct gw_edge *edge;
        void (*each)(const struct gw_edge_punt *punt, void *user);
        void *user;
        size_t n;
};

static void give(struct giving *to, uint8_t reason, const struct gw_edge_frame *frame) {
        to->each(&(struct gw_edge_punt){.reason = reason, .frame = *frame}, to->user);
        to->n++;
}

/* Questions for an address are sent to a group, but for those that ask one MAC, which ask for that. */
static uint8_t reason_of(const struct gw_edge_frame *frame) {
        if (frame->routed)
                return GW_EDGE_GATEWAY;
        if (!frame->ifindex)
                return GW_EDGE_WIRE_UNKNOWN;
        return frame->size && frame->bytes[0] & 1 ? GW_EDGE_SOLICIT : GW_EDGE_UNKNOWN;
}

static void give_query(struct gw_table_node *node, void *user) {
        struct edge_query *q = gw_container_of(node, struct edge_query, node);
        struct giving *to = user;
        struct held_frame *held;

        while ((held = gw_edge_held_pop(&q->held))) {
                gw_edge_share_held(to->edge, held->frame.ifindex, held->frame.size);
                if (!gw_edge_frame_is_of_before(to->edge, &held->frame))
                        give(to, reason_of(&held->frame), &held->frame);
                free(held);
        }
}

static void give_suspect(struct giving *to, struct edge_suspect *s) {
        struct held_frame *held;

        gw_edge_share_held(to->edge, 0, s->held.octets);
        while ((held = gw_edge_held_pop(&s->held))) {
                give(to, GW_EDGE_WIRE_SOURCE, &held->frame);
                free(held);
        }
}

static void give_port(struct gw_table_node *node, void *user) {
        struct edge_port *port = gw_container_of(node, struct edge_port, by_id);
        struct giving *to = user;
        struct held_frame *held;

        while ((held = gw_edge_held_pop(&port->held))) {
                held->frame.ifindex = port->a.ifindex;
                give(to, GW_EDGE_HOLD, &held->frame);
                free(held);
        }
        while ((held = gw_edge_held_pop(&port->fenced))) {
                held->frame.ifindex = port->a.ifindex;
                give(to, GW_EDGE_FENCED, &held->frame);
                free(held);
        }
        while ((held = gw_edge_held_pop(&port->back))) {
                give(to, held->frame.ifindex ? GW_EDGE_HOLD : GW_EDGE_RETURNED, &held->frame);
                free(held);
        }
}

size_t gw_edge_give_back(struct gw_edge *edge, void (*each)(const struct gw_edge_punt *punt, void *user), void *user) {
        struct giving to = {edge, each, user, 0};

        gw_table_each(&edge->ports_by_id, give_port, &to);
        gw_table_each(&edge->queries, give_query, &to);
        gw_list_for_each (link, &edge->suspects)
                give_suspect(&to, gw_list_entry(link, struct edge_suspect, link));
        return to.n;
}
