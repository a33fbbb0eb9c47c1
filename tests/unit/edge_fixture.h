/* SPDX-License-Identifier: Apache-2.0 */
/* An edge with a data plane made of arrays, which records what the core has done, and an NVA's side of the session. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "edge/edge.h"
#include "wire/frame.h"
#include "wire/registration.h"

enum { WORLD_MAX = 256, WORLD_VNI = 100 };

struct world_fdb {
        uint32_t vni;
        struct gw_mac mac;
        struct gw_edge_fdb entry;
};
struct world_neigh {
        uint32_t vni;
        struct gw_ip ip;
        struct gw_mac mac;
};
struct world_frame { /* handed down */
        int how;     /* enum gw_edge_inject; 0: deliver */
        uint32_t ifindex;
        bool redirected;
        uint8_t tag;      /* the octet after the Ethernet header */
        bool entry_punts; /* at that moment, the entry of its destination had .punt */
        size_t size;
        uint8_t bytes[128];
};
struct world_sent { /* to the NVA */
        uint8_t type;
        uint32_t id;
        size_t size;
        uint8_t body[4096];
};

struct world {
        struct gw_edge *edge;
        struct gw_edge_now now;
        struct gw_ip self;
        struct world_fdb fdb[WORLD_MAX];
        size_t n_fdb, n_fdb_writes;
        struct world_neigh neighs[WORLD_MAX];
        size_t n_neighs;
        struct world_neigh members[WORLD_MAX]; /* .mac unused */
        size_t n_members;
        struct world_frame down[WORLD_MAX];
        size_t n_down;
        struct world_sent sent[WORLD_MAX];
        size_t n_sent;
        bool hold[64]; /* by ifindex */
        bool still[64];
        uint8_t open[64];
        uint32_t limits[64][GW_EDGE_LIMITS]; /* by ifindex, as last told */
        size_t n_limits;
        size_t n_told; /* logged: that a host speaks for another's VM */
        uint64_t redirected;
        struct gw_mono redirected_at;
        struct gw_ip talkers[4];
        size_t n_talkers;
        bool in_use;
        bool queued; /* the devices of a VM that does not arrive hold something */
        unsigned send_backs;
        uint64_t returned; /* what send_back answers */
        uint8_t sent_back_with,
                closed_with; /* the first entry's place, at the last send_back, and when a port was closed */
        int open_result;
        struct gw_registration request; /* the last one on the transport of its own */
        size_t n_requests;
        char order[64]; /* c: port cut, t: talkers asked, n: told the NVA */
};

extern const struct gw_edge_effects world_effects;

int world_setup(void **state); /* for cmocka */
int world_teardown(void **state);
void world_init(struct world *w);
void world_own_transport(struct world *w);                            /* afresh, with config.own_transport */
void world_limit_queries(struct world *w, uint32_t per_s);            /* afresh, with config.queries_per_s */
void world_probing(struct world *w, uint32_t probe_ms, bool gateway); /* afresh, with these */
void world_deinit(struct world *w);
void world_pass(struct world *w, uint64_t ms); /* time, with ticks at each deadline */
void world_up(struct world *w);                /* session, HELLO, WELCOME */
void world_forget_sent(struct world *w);

struct gw_ip ip_of(const char *text);
struct gw_mac mac_of(unsigned n);
struct gw_name name_of(const char *text);
struct gw_edge_attach world_port(const char *vm, unsigned n, const char *ip, uint8_t role, uint64_t epoch);
int world_attach(struct world *w, const struct gw_edge_attach *port);

void world_serve(struct world *w); /* web-1 with 10.1.0.1, epoch 5, and a session */
uint64_t world_counter(const struct world *w, enum gw_edge_counter c);
const struct world_fdb *world_fdb_find(const struct world *w, unsigned mac);
bool world_neigh_is(const struct world *w, const char *ip, unsigned mac);
bool world_member_is(const struct world *w, const char *locator);
const struct world_sent *world_sent_find(const struct world *w, uint8_t type); /* the last one */
size_t world_sent_count(const struct world *w, uint8_t type);
struct gw_registration world_registration(const struct world *w); /* the last one sent */
int world_reply(struct world *w, const struct gw_registration *request, uint8_t status, uint16_t lifetime_units);

struct gw_mapping mapping_of(unsigned mac, const char *ip, const char *locator, uint64_t epoch);
int world_batch(struct world *w, uint8_t type, uint32_t id, const struct gw_mapping *m, size_t n_m,
                const struct gw_member *members, size_t n_members);
void world_punt(struct world *w, uint8_t reason, uint32_t ifindex, unsigned to, unsigned from, uint8_t tag);
void world_punt_bytes(struct world *w, uint8_t reason, uint32_t ifindex, const void *bytes, size_t size);
