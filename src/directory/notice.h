/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices: the Requests that the management node itself sends when a VM has
 * changed its place (D2 sections 5 and 7.1), to the places it was at before and
 * to the configured default routers; and what became of them, the history.
 *
 * A VM that has never moved has no history and costs nothing here. Objects are
 * readable through these structs and changed only by the functions below.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/list.h"
#include "base/table.h"
#include "base/time.h"
#include "directory/heap.h"

struct gw_directory;
struct gw_now;
struct gw_registration;
struct gw_vm;

enum {
        GW_NOTICE_ROUTERS_MAX = 8,
        GW_NOTICES_MAX = 16, /* of one VM: former places that are remembered, and routers */
        GW_NOTICE_FIRST_MS = 1000,
        GW_NOTICE_LAST_MS = 32000,
        GW_NOTICE_TRIES = 8,        /* sent this often in vain, a notice is given up */
        GW_NOTICE_KEEP_MS = 600000, /* what is kept at a former place, and a host route, unless told otherwise */
};

enum gw_notice_kind {
        GW_NOTICE_SOURCE = 1, /* to a former place */
        GW_NOTICE_ROUTER,     /* to a default router */
};

enum gw_notice_state {
        GW_NOTICE_WAITING = 1, /* the receiver is away: sent when it is back */
        GW_NOTICE_SENT,        /* not answered yet */
        GW_NOTICE_ANSWERED,    /* with .status */
        GW_NOTICE_GIVEN_UP,    /* no answer */
};

/* Why what is held for the VM at the receiver is kept, or was removed. The numbers are stored. */
enum gw_notice_why {
        GW_KEPT_IN_FLIGHT = 1, /* hot: until packets stop coming, or its time ends */
        GW_KEPT_ROUTE,         /* a host route: as long as the VM is somewhere */
        GW_ENDED_IDLE,         /* nothing came any more: the former place said so */
        GW_ENDED_TIME,         /* its time is over */
        GW_ENDED_COLD,         /* the VM was started anew elsewhere: at once */
        GW_ENDED_NOTHING,      /* it answered that it holds nothing */
        GW_ENDED_BACK,         /* the VM is there again */
        GW_ENDED_STOPPED,      /* the VM is nowhere */
};

struct gw_notice_receiver {
        struct gw_table_node node; /* by address */
        struct gw_ip ip;
        struct gw_list notices; /* gw_notice.in_receiver */
        uint64_t stamp;         /* of the last Request to it; the next one's is later */
        int64_t clock_ns;       /* its clock less ours, as far as a refusal has told */
        uint16_t sequence;      /* the same; this end's own numbers */
};

struct gw_notice {
        struct gw_list in_history, in_receiver;
        struct gw_deadline timer; /* again, refresh, or the end of what is kept */
        struct gw_vm *vm;
        struct gw_notice_receiver *to;
        uint8_t kind, state, why; /* enum gw_notice_kind, _state, _why */
        uint8_t status;           /* of the answer: enum gw_mh_status */
        uint8_t tries;
        uint16_t sequence; /* of the last one sent */
        uint32_t timeout_ms;
        uint64_t epoch;          /* of the place that it tells */
        uint64_t stamp;          /* of the last one sent */
        uint64_t redirected;     /* packets in flight, as the former place reported */
        struct gw_wall told;     /* first sent, with this epoch */
        struct gw_wall answered; /* 0: not */
        struct gw_wall ends;     /* what is kept ends then, or has ended */
};

struct gw_history {
        struct gw_table_node node; /* by VM */
        struct gw_vm *vm;
        struct gw_list notices; /* gw_notice.in_history, oldest first */
        uint8_t n;
};

bool gw_notice_is_kept(const struct gw_notice *notice);
const char *gw_notice_state_word(uint8_t state);
const char *gw_notice_why_word(uint8_t why);

/* NULL: the VM has not moved. */
const struct gw_history *gw_directory_history(const struct gw_directory *d, const struct gw_vm *vm);
/* The notice to the former place at `locator`; NULL when there is none. */
const struct gw_notice *gw_directory_notice(const struct gw_directory *d, const struct gw_vm *vm, struct gw_ip locator);

/* The default routers, before anything is loaded; at most GW_NOTICE_ROUTERS_MAX. */
void gw_directory_routers(struct gw_directory *d, const struct gw_ip *routers, size_t n);

/* A genuine Reply from `from`. 0; GW_E_NOT_FOUND: nothing of the kind is due from there, it changes nothing. */
int gw_directory_noticed(struct gw_directory *d, struct gw_ip from, const struct gw_registration *reply,
                         struct gw_now now);
/* A receiver can be reached again: what waits for it goes. */
void gw_directory_notices_due(struct gw_directory *d, struct gw_ip to, struct gw_now now);
