/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A simulated network, and the clock that goes with it: links between an
 * authority and its edges, each with at most one session and any number of
 * datagrams under way. What the weather does to them is drawn from one seed.
 *
 * A session that ends takes what is under way on it with it; a frame that was
 * posted before never arrives in the next one. Datagrams know no session: they
 * arrive late, twice, in another order, or not at all, also after both ends
 * have started anew.
 *
 * The owner takes messages out with net_next, which sets the clock, and frees them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/time.h"
#include "directory/directory.h"
#include "directory/heap.h"
#include "prop/seed.h"

enum { NET_LINKS_MAX = 16 };

enum net_way { NET_UP, NET_DOWN }; /* towards the authority, towards the edge */

enum net_how {
        NET_ORDERED = 1,  /* after all that was posted so before, on this link and this way */
        NET_SURE = 2,     /* the weather neither loses nor doubles it */
        NET_DATAGRAM = 4, /* with or without a session */
};

struct net_weather { /* chances in percent */
        unsigned loss, twice, late;
        unsigned delay_ms, late_ms; /* the most, usually and when late */
};

struct net_message {
        struct gw_deadline timer;
        int link;
        enum net_way way;
        unsigned how;
        uint32_t generation;
        size_t size;
        uint8_t bytes[];
};

struct net_link {
        bool session;
        bool cut; /* no datagram passes */
        uint32_t generation;
        uint64_t arrives_ns[2]; /* the last ordered one, each way */
};

struct net {
        const char *test;
        uint64_t seed; /* of this run */
        struct dice dice;
        bool trace;
        uint64_t now_ns;
        struct net_weather weather;
        unsigned sessions; /* enum net_how of frames between the daemons */
        struct gw_heap messages;
        struct net_link links[NET_LINKS_MAX];
        uint64_t n_posted, n_lost, n_twice;
};

/* The seed is GW_SEED or fresh, and printed; GW_TRACE=1 turns net_trace on. */
void net_init(struct net *net, const char *test);
/* The same network with another seed, and nothing under way. */
void net_again(struct net *net, uint64_t seed);
void net_deinit(struct net *net);

void net_die(const struct net *net, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
void net_trace(const struct net *net, const char *format, ...) __attribute__((format(printf, 2, 3)));
uint64_t net_below(struct net *net, uint64_t n);
bool net_chance(struct net *net, unsigned percent);
struct gw_now net_now(const struct net *net);

void net_open(struct net *net, int link);
void net_close(struct net *net, int link);

struct net_message *net_message(int link, enum net_way way, const void *bytes, size_t size);
/* Takes the message over. */
void net_post(struct net *net, struct net_message *m, unsigned how);
/* The next that arrives until then, to be freed by the caller, and the clock is there; NULL: none, and the clock is then. */
struct net_message *net_next(struct net *net, uint64_t until_ns);
/* Those that `which` chooses are lost on their way. */
void net_lose(struct net *net, bool (*which)(const struct net_message *m));
