/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one asker may take of what all share: questions to the NVA that are under
 * way, and octets of frames that wait for an answer.
 *
 * An asker is a port; what comes from the wire, or is to be routed here, counts as one more.
 * Each may have half as much as is still free (the dynamic threshold of shared
 * buffers: Choudhury and Hahne, 1998), so that however many take all they can
 * there is room for those who need little: one alone gets a third, and each
 * further one a third of what the others have left.
 *
 * Charges name the asker by its device. A port that is gone takes its charges
 * with it, and one that is new on the same device cannot have less than none.
 */
#include "edge/core.h"

static struct edge_share *share_of(struct gw_edge *edge, uint32_t ifindex) {
        struct edge_port *port;

        if (!ifindex)
                return &edge->strangers;
        port = gw_edge_port_by_ifindex(edge, ifindex);
        return port ? &port->share : NULL;
}

static bool has_room(size_t used, size_t all, size_t max, size_t more) {
        return all + more <= max && used + more <= (max - all) / 2;
}

bool gw_edge_share_asks(struct gw_edge *edge, uint32_t ifindex) {
        struct edge_share *share = share_of(edge, ifindex);

        return share && has_room(share->questions, edge->queries.count - edge->n_negatives, GW_EDGE_QUERIES_MAX, 1);
}

bool gw_edge_share_holds(struct gw_edge *edge, uint32_t ifindex, size_t octets) {
        struct edge_share *share = share_of(edge, ifindex);

        return share && has_room(share->octets, edge->held_octets, GW_EDGE_HELD_OCTETS_MAX, octets);
}

void gw_edge_share_ask(struct gw_edge *edge, uint32_t ifindex) {
        struct edge_share *share = share_of(edge, ifindex);

        if (share)
                share->questions++;
}

void gw_edge_share_asked(struct gw_edge *edge, uint32_t ifindex) {
        struct edge_share *share = share_of(edge, ifindex);

        if (share && share->questions)
                share->questions--;
}

void gw_edge_share_hold(struct gw_edge *edge, uint32_t ifindex, size_t octets) {
        struct edge_share *share = share_of(edge, ifindex);

        edge->held_octets += octets;
        if (share)
                share->octets += octets;
}

void gw_edge_share_held(struct gw_edge *edge, uint32_t ifindex, size_t octets) {
        struct edge_share *share = share_of(edge, ifindex);

        edge->held_octets -= octets;
        if (share)
                share->octets -= octets < share->octets ? octets : share->octets;
}
