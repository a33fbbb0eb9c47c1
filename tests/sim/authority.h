/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The authority of a simulation: the real directory with its store in memory, and
 * what the daemon's shell does around them. What a turn sends waits until the
 * turn is durable; a crash takes back what was not.
 *
 * The edge of link N is the NVE "nN".
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory/directory.h"
#include "sim/net.h"
#include "store/memory.h"

struct authority {
        struct net *net;
        struct gw_directory d;
        struct gw_store *store;
        uint32_t lease_s;
        bool up;
        uint64_t restarts, started_ns, back_ns;
        struct net_message *outbox[1 << 14];
        size_t n_outbox;
        bool drops[NET_LINKS_MAX]; /* the directory wants that session ended */
        bool hello[NET_LINKS_MAX]; /* in this session */
        /* A Request of the management node; NULL: none can be sent. */
        bool (*notice)(struct authority *a, struct gw_ip to, const struct gw_registration *request);
        /* A registration in a session was answered; may be NULL. */
        void (*answered)(struct authority *a, int link, const struct gw_registration *reply);
        void *user;
};

void authority_init(struct authority *a, struct net *net, uint32_t lease_s);
void authority_deinit(struct authority *a);
/* The turn is durable; then, of what it sends, the first n messages leave and the rest is forgotten. */
void authority_commit(struct authority *a);
void authority_post(struct authority *a, size_t n);
void authority_answer(struct authority *a, int link, const void *frame, size_t size);
void authority_datagram(struct authority *a, int link, const void *bytes, size_t size); /* waits for the commit, too */
void authority_crash(struct authority *a); /* the caller ends the sessions */
void authority_start(struct authority *a);
struct gw_nve *authority_nve(struct authority *a, int link);
int authority_link(const struct gw_nve *nve); /* -1 for NULL */

/* A frame of a real edge; its sender has a session. */
void authority_frame(struct authority *a, int link, const struct net_message *m);
void authority_bye(struct authority *a, int link);
