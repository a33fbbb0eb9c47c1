/* SPDX-License-Identifier: Apache-2.0 */
/* A directory with its effects recorded, over a store in memory, for tests. */
#pragma once

#include "directory/directory.h"
#include "store/store.h"

enum {
        WORLD_SENT_MAX = 512,
        WORLD_RECORDS_MAX = 8192,
        WORLD_NOTICES_MAX = 64,
        WORLD_LOOK_MS = 700 /* two looks at a gateway that comes */
};

/* One mapping or member that was sent. */
struct sent {
        struct gw_name to;
        uint32_t id;
        bool is_member;
        struct gw_mapping mapping;
        struct gw_member member;
};

struct world {
        struct gw_directory d;
        struct gw_store *store;
        struct gw_now now;
        struct sent sent[WORLD_RECORDS_MAX]; /* since the last world_forget */
        size_t n_sent, n_frames, n_drops;
        struct gw_vn_settings settings; /* the last that were sent */
        struct {                        /* frames to acknowledge */
                struct gw_name to;
                uint32_t id;
                bool flush;
        } frames[WORLD_SENT_MAX];
        struct gw_agreed agreed; /* the last */
        struct gw_flush_request flush;
        size_t n_agreed, n_flushes, octets;
        char note[256];
        enum gw_note note_kind;
        size_t n_notes, n_changes, n_stores, n_told_ways;
        struct gw_error error;
        struct gw_nve *h1, *h2, *h3;
        struct gw_vn *blue;
        struct gw_vm *web;
        uint16_t sequence;
        struct { /* Requests of the management node */
                struct gw_ip to;
                enum gw_notice_kind kind;
                struct gw_registration request;
        } noticed[WORLD_NOTICES_MAX];
        size_t n_noticed;
        struct gw_ip away; /* nothing can be sent to it */
};

void world_init(struct world *w); /* h1, h2, h3 connected, with room; VN blue; VM web */
void world_deinit(struct world *w);
int world_setup(void **state); /* for cmocka */
int world_teardown(void **state);
void world_restart(struct world *w);           /* what was committed comes back; the pointers are looked up again */
void world_pass(struct world *w, uint64_t ms); /* time passes, ticking at each deadline */
void world_forget(struct world *w);
void world_ack(struct world *w); /* all that was sent since the last world_forget; then forgets */

struct gw_nve *world_hello(struct world *w, const char *id, const char *locator);
struct gw_nve *world_gateway(struct world *w, const char *id, const char *locator,
                             uint32_t cost); /* says hello as one */
void world_arrived(
        struct world
                *w); /* gateways have taken their ways, and everybody confirms, until gateways that came are used */
struct gw_vm *world_vm(struct world *w, const char *id, const char *vn); /* one port, all chosen */
void world_subscribe(struct world *w, struct gw_nve *nve);               /* to VN blue */
struct gw_registration world_request(struct world *w, const struct gw_vm *vm, uint64_t epoch);
/* The status of the answer; -1 when none is due. */
int world_register(struct world *w, struct gw_nve *nve, const struct gw_registration *request,
                   struct gw_registration *reply);
void world_serve(struct world *w, struct gw_vm *vm, struct gw_nve *nve); /* placed and registered */

/* The last mapping, member sent; NULL. */
const struct gw_mapping *world_told(const struct world *w, const struct gw_nve *nve, struct gw_mac mac);
const struct gw_member *world_told_member(const struct world *w, const struct gw_nve *nve, struct gw_ip locator);
struct gw_ip ip_of(const char *text);
