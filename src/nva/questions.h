/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Queries that came together are answered together: their look-ups wait for
 * memory at the same time (directory/ahead.c), and one reading of the clock serves all.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "directory/directory.h"
#include "io/session.h"

struct nva;

/* Of one session at a time: the frames of a session come in one go. Zeroed: none. */
struct nva_questions {
        struct gw_session *session;
        struct gw_nve *nve;
        size_t n;
        uint32_t ids[GW_DIRECTORY_AHEAD_MAX];
        struct gw_query queries[GW_DIRECTORY_AHEAD_MAX];
};

void questions_add(struct nva *nva, struct gw_session *session, struct gw_nve *nve, uint32_t id,
                   const struct gw_query *query);
/* Answers those that wait: before any other frame of the session, and when its frames are through. */
void questions_answer(struct nva *nva);
void questions_drop(struct nva *nva, const struct gw_session *session); /* it has ended */
