/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many sessions a listening end serves, of whom. Private to src/io.
 *
 * A handshake costs a stranger one packet and us a millisecond; a session costs
 * memory. So there are bounds: handshakes under way (in all, and of one address),
 * sessions of one address, and of one certificate. Loopback is not bounded by address.
 */
#pragma once

#include "base/addr.h"
#include "base/list.h"
#include "base/table.h"
#include "base/time.h"
#include "io/session.h"

struct gw_admission {
        struct gw_listener_limits limits;
        struct gw_listener_counts counts;
        struct gw_table by_address, by_name;
        struct gw_list opening; /* gw_admitted, the oldest first */
};

/* In each session. */
struct gw_admitted {
        struct gw_list opening; /* while its handshake is under way */
        struct gw_mono since;
        struct gw_origin *address, *name;
        bool in;
};

int gw_admission_init(struct gw_admission *a, const struct gw_listener_limits *limits); /* -ENOMEM */
void gw_admission_deinit(struct gw_admission *a);
/* A connection came. False: it is refused and counted. */
bool gw_admission_enter(struct gw_admission *a, struct gw_admitted *s, struct gw_ip from, struct gw_mono now);
/* Its handshake is done. False: there are enough of that name. */
bool gw_admission_named(struct gw_admission *a, struct gw_admitted *s, const char *name);
void gw_admission_leave(struct gw_admission *a, struct gw_admitted *s); /* harmless when it is not in */
bool gw_admission_is_full(const struct gw_admission *a);                /* of handshakes: accepting has to wait */
/* The oldest handshake, when it has taken so long that it may give way to others; NULL. */
struct gw_admitted *gw_admission_slowest(const struct gw_admission *a, struct gw_mono now);
