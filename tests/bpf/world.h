/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small world for tests of the data plane: hosts and guests, each a network
 * namespace of its own, under names that carry the process id.
 *
 *      guest eth0 --veth-- [host: data plane, VXLAN, u0] --veth-- [bridge of the underlay]
 *
 * Every function fails the test on the spot when it cannot do its work.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "datapath/datapath.h"

enum { WORLD_HOSTS = 3, WORLD_VNI = 4711, WORLD_PORT = 7777 };

struct host {
        char ns[32], pins[64];
        int netns;
        struct gw_ip locator;
        struct gw_datapath *dp;
        struct gw_datapath_config config;
};

struct guest {
        char ns[32], port[16];
        int netns;
        int tap; /* its end of the tap, or -1: a veth with a namespace behind */
        struct host *host;
        uint32_t ifindex, mtu;
        struct gw_mac mac;
        struct gw_ip ip4, ip6;
};

struct world {
        char net[32];   /* the underlay's switch */
        bool whole;     /* up, and its hosts are as they were made; a test that changes them for good clears it */
        bool by_device; /* for a test program to note: what arrives takes the VXLAN device */
        bool v6;        /* the underlay's family */
        uint32_t mtu;
        struct host hosts[WORLD_HOSTS];
        struct guest guests[8];
        size_t n_guests;
};

bool world_possible(const char **why_not);
void world_up(struct world *w, bool v6);
void world_down(struct world *w); /* everything, also after a half world_up */
/* The same hosts for another test: guests go, tables and counters are empty. False: it is not whole, make another. */
bool world_again(struct world *w);

void host_open(struct host *h);
int host_try_open(struct host *h, struct gw_error *error); /* from any thread; fails nothing */
void host_close(struct host *h);
void host_enter(const struct host *h, int *back);

/* Guests live as long as the world. number: makes MAC and addresses. quiet: the other hosts do not know where it is. */
struct guest *guest_add(struct world *w, struct host *h, int number, bool tap, bool quiet);
/* A second port for the same guest on another host: arriving there. */
struct guest *guest_arrive(struct world *w, const struct guest *of, struct host *h, uint32_t flags);
void forward_set(struct host *h, struct gw_mac mac, uint8_t kind, uint32_t ifindex, struct gw_ip locator,
                 uint8_t flags);

/* Sockets in a guest's namespace. */
int guest_socket(const struct guest *g, bool v6, int type, bool listening);
void guest_connect(int fd, const struct guest *to, bool v6);
int guest_connect_later(int fd, const struct guest *to, bool v6); /* non-blocking connect */
bool readable(int fd, int within_ms);
uint64_t counter(struct host *h, enum gw_counter c);
void world_print(struct world *w); /* counters that are not zero */
