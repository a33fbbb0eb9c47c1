/* SPDX-License-Identifier: Apache-2.0 */
/* What is known of a VM beyond the directory: whether it is being started, how often it crashed, why it is as it is. */
#pragma once

#include "nva/nva.h"

struct life {
        struct gw_table_node node;
        struct gw_name vm;
        bool starting;           /* a start is on its way */
        unsigned crashes;        /* in a row */
        struct gw_list due;      /* nva->restarts, while: */
        struct gw_mono start_at; /* when to start it again; 0: not */
        struct gw_mono up_since;
        char reason[256];
};

struct life *life_find(const struct nva *nva, const char *vm); /* NULL: nothing is */
/* Made when there is none. NULL only when memory is short: then there is no restart, and no reason to show. */
struct life *life_of(struct nva *nva, const char *vm);
void life_start_at(struct nva *nva, struct life *life, struct gw_mono at); /* 0: not */
/* Why it is in the state it is in; in words that may be a stranger's. */
void life_say(struct nva *nva, const char *vm, const char *reason);
