/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates that are replaced while a daemon runs, and that end.
 *
 * The three files of a gw_tls are looked at every few seconds, and at once when
 * asked (SIGHUP). When one has changed all are read again; open sessions go on,
 * new ones use what the files hold now. What cannot be used changes nothing, is
 * logged once, and tried again. 30, 7 and 1 days before the first of them ends a
 * warning is logged, and again when it has ended.
 */
#pragma once

#include <jansson.h>

#include "base/time.h"
#include "io/loop.h"
#include "io/tls.h"

struct gw_renewal;

/* renewed (may be NULL) is called after each successful reload. The gw_tls stays the caller's and must live longer. */
int gw_renewal_new(struct gw_renewal **out, struct gw_loop *loop, struct gw_tls *tls, void (*renewed)(void *user),
                   void *user);
void gw_renewal_free(struct gw_renewal *renewal);
void gw_renewal_now(struct gw_renewal *renewal); /* also when nothing seems to have changed */
/* For a status: names, ends, days left, reloads and failures. New reference. */
json_t *gw_renewal_json(const struct gw_renewal *renewal);

/* How many of the warnings are due with so much time left: 0 none, 1 at 30 days, 2 at 7, 3 at 1, 4 when it has ended. */
unsigned gw_renewal_stage(struct gw_wall now, struct gw_wall until);
