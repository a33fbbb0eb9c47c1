/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hosts of a simulation: real edges over a data plane that is a table per host.
 * Each VM has one port; its row in the table is found by its MAC, its VN's number
 * is HOST_VNI_FIRST + index. The edge of link N is at locator hosts->host[N].locator:
 * IPv4 when N is even, IPv6 when it is odd.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "edge/edge.h"
#include "sim/net.h"

enum { HOST_VMS_MAX = 32, HOST_VNS_MAX = 8, HOST_VNI_FIRST = 100, HOST_NOWHERE = -1 };

struct host_row {
        bool there;
        struct gw_edge_fdb entry;
};

struct host {
        struct hosts *all;
        int index; /* and link */
        struct gw_edge *edge;
        struct gw_ip locator;
        int64_t skew_ns; /* of its wall clock */
        struct host_row fdb[HOST_VMS_MAX];
        bool members[HOST_VNS_MAX][NET_LINKS_MAX];
        unsigned queue[HOST_VMS_MAX];  /* frames in the device of a VM that arrives */
        bool sends_back[HOST_VMS_MAX]; /* it does not, and what its device gets goes on at once */
        uint64_t starts, returns_ns, n_sent_back;
        void *user;
};

struct hosts {
        struct net *net;
        int n;
        struct gw_mac macs[HOST_VMS_MAX]; /* of the VMs */
        /* Registrations by datagrams; NULL: in sessions. */
        void (*request)(struct host *h, const struct gw_registration *request);
        /* Frames of VM v that were under way to it have reached h, where it runs; or left h for where it is. May be NULL. */
        void (*delivered)(struct host *h, int v, unsigned n);
        void (*sent_back)(struct host *h, int v, unsigned n);
        struct host host[NET_LINKS_MAX];
};

void hosts_init(struct hosts *all, struct net *net, int n);
/* A new edge, which knows nothing. */
void host_start(struct host *h, uint32_t lifetime_s);
struct gw_edge_now host_now(const struct host *h);
int hosts_at(const struct hosts *all, struct gw_ip locator); /* HOST_NOWHERE: nobody */
