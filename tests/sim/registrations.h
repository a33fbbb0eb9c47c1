/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulation of registrations, which is three files: registrations.c has the plot
 * (hosts, management, the storm and what comes after it), datagrams.c what goes over the wire, bounds.c what
 * must hold.
 */
#pragma once

#include "edge/heartbeat.h"
#include "sim/guests.h"

enum {
        EDGES = 5,
        VNS = 3, /* one of each model */
        VMS = 9,
        NOWHERE = HOST_NOWHERE,
        RUNS = 4,
        RUNS_LONG = 400,
        STORMS = 2,
        STORM_STEPS = 250,
        LEASE_S = 40,
        LIFETIME_S = 20,
        WINDOW_MS = 300,
        BEAT_MS = 2000,
        STALE_MS = GW_EDGE_SWEEP_MS + 4 * 1000, /* a greeting and a question, each way late */
        HEAL_MS = 45000,
        TICK_MS = 20,
        RATE_MAX = 12,
        RATE_S = 10,
        EPOCHS = 256,
};

struct fact {               /* of a VM */
        uint64_t forced_ns; /* started elsewhere while its host was cut off */
        /* as the directory has it: */
        bool reachable;
        struct gw_ip locator;
        uint64_t changed_ns;
        int owner[EPOCHS]; /* link + 1 that an epoch was accepted from */
        uint64_t stamp[EPOCHS];
};

struct asked { /* a VM's Requests, or the notices about it, at one edge */
        uint64_t last_ns, window_ns, epoch;
        unsigned again, in_window, sent;
};

struct place { /* what the simulation keeps of a host */
        struct asked requests[VMS], notices[VMS];
        struct gw_heartbeat heart;
        uint64_t session_ns, heals_ns;
        bool stray[VMS]; /* a copy that was given up still runs there */
};

struct sim {
        struct net net;
        struct authority a;
        struct hosts hosts;
        struct guests guests;
        struct place places[EDGES];
        struct fact facts[VMS];
        bool calm;
        uint64_t n_runs, n_moves, n_forced, n_restarts, n_crashes, n_requests, n_accepted, n_refused, n_notices;
        uint64_t worst_stale_ns, worst_heal_ns;
};

static inline struct guest *guest_of(struct sim *s, int v) {
        return &s->guests.guest[v];
}
static inline struct gw_vm *vm_of(struct sim *s, int v) {
        return guest_known(&s->guests, v);
}
static inline struct gw_edge *edge_at(struct sim *s, int n) {
        return s->hosts.host[n].edge;
}
static inline struct gw_edge_now at(struct sim *s, int n) {
        return host_now(&s->hosts.host[n]);
}
static inline bool fault(struct sim *s, unsigned percent) {
        return !s->calm && net_chance(&s->net, percent);
}

/* --- registrations.c --- */
void sim_sessions_break(struct sim *s); /* those that the directory wants ended; all, while it is away */

/* --- datagrams.c --- */
void datagrams_request(struct host *h, const struct gw_registration *request);
bool datagrams_notice(struct authority *a, struct gw_ip to, const struct gw_registration *request);
void datagrams_beat(struct sim *s, int n);
void datagrams_deliver(struct sim *s, struct net_message *m); /* frees it */
bool sim_turn_end(struct sim *s);                             /* false: the authority crashed before it was durable */

/* --- bounds.c --- */
void bounds_count(struct sim *s, struct asked *a, int v, int n, const char *what);
/* Something happened that may well cause the next one. A call counts for the rate, too, an answer does not. */
void bounds_cause(struct asked *a, bool call);
void bounds_cause_all(struct sim *s, int n);
void bounds_accepted(struct sim *s, int n, const struct gw_registration *r);
void bounds_observe(struct sim *s);
void bounds_check(struct sim *s);
