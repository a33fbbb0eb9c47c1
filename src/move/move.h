/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One move of one VM, as a state machine without I/O.
 *
 * The shell feeds it events (what hypervisor agents and the directory report,
 * deadlines, the operator's cancel) with the time; it answers through a table of
 * effects, which are called synchronously and must not call back. A move is a
 * plain struct: it can be written to a journal at any time and carried on by
 * another process (gw_move_restore), which then learns from the agents'
 * inventories what has happened meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"

enum gw_move_phase {
        GW_MOVE_PLAN,
        GW_MOVE_PREPARE,
        GW_MOVE_COPY,
        GW_MOVE_CUT,
        GW_MOVE_COMMIT,
        GW_MOVE_ACTIVATE,
        GW_MOVE_CONVERGE,
        GW_MOVE_FINISH,
        GW_MOVE_ABANDON,   /* way back before the cut: the target's copy goes, nothing else has changed */
        GW_MOVE_TAKE_BACK, /* way back after it: the target's copy is fenced, then the source runs again */
        GW_MOVE_DONE,
        GW_MOVE_PHASES,
};

enum gw_move_mode {
        GW_MOVE_HOT,
        GW_MOVE_POST_COPY, /* hot, but the VM runs at the target before all its memory is there */
        GW_MOVE_COLD,      /* the VM is stopped before anything is copied; the way is that of a hot move */
        GW_MOVE_MODES,
};

/* What the VM does, before and after. One that does not run moves cold. "Running" of such a one's copies means: it is
 * there. */
enum gw_move_as {
        GW_MOVE_AS_RUNNING,
        GW_MOVE_AS_SUSPENDED, /* its memory goes along */
        GW_MOVE_AS_STOPPED,   /* only its disks do. It has no binding: nobody on the network hears of it */
        GW_MOVE_AS_KINDS,
};

enum gw_move_result { GW_MOVE_OPEN, GW_MOVE_OK, GW_MOVE_FAILED, GW_MOVE_CANCELLED };

enum gw_move_side { GW_MOVE_SOURCE, GW_MOVE_TARGET, GW_MOVE_SIDES };

/* What is known of the VM's copy at one side. Unknown is never taken for absent. */
enum gw_copy {
        GW_COPY_UNKNOWN,
        GW_COPY_NONE,    /* no emulator there */
        GW_COPY_WAITING, /* receives the memory, has never run */
        GW_COPY_RUNNING,
        GW_COPY_STOPPED, /* the source's, from its stop until told resume or finish */
        GW_COPY_STATES,
};

/* Calls to the agents. All of them may be repeated. */
enum gw_move_order {
        GW_ORDER_INCOMING,  /* target */
        GW_ORDER_MIGRATE,   /* source */
        GW_ORDER_CANCEL,    /* source */
        GW_ORDER_FINISH,    /* source */
        GW_ORDER_ABANDON,   /* target */
        GW_ORDER_RESUME,    /* source */
        GW_ORDER_RECOVER,   /* target: listen anew for the rest of the memory */
        GW_ORDER_RECONNECT, /* source: send it there */
        GW_ORDER_SURVEY,    /* source: what its disks are */
        GW_ORDER_LOAD,      /* source: an emulator for a stopped VM, whose guest does not run */
        GW_ORDERS,
};

enum gw_order_outcome {
        GW_ORDER_OK = 1,
        GW_ORDER_GONE,    /* the agent knows no such VM */
        GW_ORDER_REFUSED, /* the agent says no: not in this state, no room, ... */
        GW_ORDER_LOST,    /* no answer: done or not, nobody knows */
};

enum gw_move_event_kind {
        GW_MOVE_EV_ORDER_DONE = 1, /* order, serial, outcome, text; after INCOMING also address */
        GW_MOVE_EV_SETTLED,        /* nobody is left who holds a location older than the one it is about to leave */
        GW_MOVE_EV_MEMBERS_ACKED,  /* every member of the VM's VNs knows the target as one */
        GW_MOVE_EV_PROGRESS,       /* progress */
        GW_MOVE_EV_STOPPED,        /* source: paused for the switch; at */
        GW_MOVE_EV_CUT,            /* source: its edge redirects now; at, count (drained), talkers */
        GW_MOVE_EV_RUNNING,        /* target: runs; at */
        GW_MOVE_EV_COMPLETED,      /* source: everything was sent */
        GW_MOVE_EV_FAILED,         /* side, running, epoch (0: not said), text */
        GW_MOVE_EV_VM_GONE,        /* side: stopped (by_itself) or crashed; text */
        GW_MOVE_EV_REGISTERED,     /* epoch: the edge that serves with this epoch has registered */
        GW_MOVE_EV_CONVERGED,      /* nobody is left who holds an older location */
        GW_MOVE_EV_HV_LOST,        /* side */
        /* Its inventory: side, copy, copying, running (it has run there), by_itself, epoch; at: when it stopped, or
         * began to run there, for this move. */
        GW_MOVE_EV_HV_BACK,
        GW_MOVE_EV_CANCEL,    /* the operator's */
        GW_MOVE_EV_TICK,      /* time has passed */
        GW_MOVE_EV_ADMITTED,  /* its turn has come */
        GW_MOVE_EV_SWITCHED,  /* source: it gives the VM to the target now; memory is still to come */
        GW_MOVE_EV_BROKEN,    /* source: ... and the connection for that is lost */
        GW_MOVE_EV_HOST_DEAD, /* side, whose agent is lost: somebody has made sure that nothing runs there */
        GW_MOVE_EV_LANDED,    /* target of a post-copy: nothing is missing any more, whatever the source says */
        GW_MOVE_EVENTS,
};

struct gw_move_progress {
        uint64_t transferred_octets, remaining_octets, total_octets, rate_octets_s, dirty_pages_s;
        uint64_t disk_done_octets, disk_total_octets, disk_left_octets;
        uint32_t iteration;
        bool waits_for_disks; /* they are too far behind for the VM to be stopped */
};

struct gw_move_event {
        enum gw_move_event_kind kind;
        enum gw_move_side side;
        enum gw_move_order order;
        enum gw_order_outcome outcome;
        enum gw_copy copy;
        bool running, copying;
        bool by_itself; /* the guest has ended its VM: no crash */
        bool past;      /* seen by the agent before its last inventory, and told after it */
        uint32_t serial;
        uint64_t epoch, count;
        uint32_t talkers;
        struct gw_wall at; /* the agent's own clock; 0: not said */
        struct gw_endpoint address;
        struct gw_move_progress progress;
        const char *text; /* may be NULL; copied */
};

enum {
        GW_MOVE_TIMELINE_MAX = 24,
        GW_MOVE_REASON_MAX = 200,
        GW_MOVE_RETRY_MS = 500,   /* before an order that got no answer is repeated */
        GW_MOVE_SETTLE_MS = 2000, /* who has not learnt of the last place by then is not waited for */
};

struct gw_move_side_state {
        enum gw_copy copy;
        bool connected;
        uint64_t epoch; /* 0: not known */
};

struct gw_move_order_state {
        bool pending;
        bool fence; /* ABANDON: also when it runs */
        uint32_t serial;
        struct gw_mono retry;
};

/* What the move leaves behind, for people. Times are wall clock of the host that
 * saw them; 0: not seen. */
struct gw_move_evidence {
        struct gw_wall stopped, cut, resumed, committed, registered, converged;
        uint64_t drained;
        uint32_t talkers;
        struct gw_move_progress progress; /* the last one seen */
};

struct gw_move_rules;

struct gw_move {
        const struct gw_move_rules *rules;
        struct gw_name id, vm, from, to;
        enum gw_move_mode mode;
        enum gw_move_as as;
        bool has_disks; /* that may have to go along */
        uint32_t bandwidth_mib_s, downtime_ms;
        uint64_t epoch, epoch_to, epoch_back; /* before; at the target; at the source taking back */

        enum gw_move_phase phase;
        enum gw_move_result result;
        char reason[GW_MOVE_REASON_MAX]; /* of the first thing that went wrong; empty when nothing did */
        struct gw_endpoint address;      /* where the target listens */
        struct gw_move_side_state side[GW_MOVE_SIDES];
        struct gw_move_order_state order[GW_ORDERS];

        /* Facts, once true true for good but for `copying`; journalled. */
        bool touched;       /* the target was asked to prepare */
        bool migrate_asked; /* the source may have begun */
        bool loaded;        /* a stopped VM: the source has an emulator for it */
        bool copying;       /* the source may cut by itself at any moment */
        bool accepted;      /* ... and has said that it began; not journalled */
        bool settled;       /* nobody holds an older location; not journalled */
        bool admitted;      /* it is its turn; not journalled */
        bool surveyed;      /* the source has said what its disks are; not journalled */
        bool switched;      /* post-copy: the source has begun to give the VM away before its memory */
        bool broken;        /* post-copy: the connection is lost; not journalled */
        bool listening;     /* ... and the target has a new one; not journalled */
        bool members_acked, cut_seen, committed, target_ran, registered, converged, abandoned, taken_back, resumed,
                finished, cancel_asked, failed, sent_all;
        bool source_failed; /* post-copy: the source has given up, and sends nothing any more */
        bool is_short;      /* ... and the target had the time to say that it has everything; not journalled */
        bool ended_itself;  /* the guest did, where it ran */
        bool overdue;       /* this phase's deadline has passed */

        struct gw_mono now, deadline;
        struct gw_mono settle; /* waited up to then for SETTLED */
        struct gw_wall wall;
        size_t n_timeline;
        struct {
                enum gw_move_phase phase;
                struct gw_wall at;
        } timeline[GW_MOVE_TIMELINE_MAX];
        struct gw_move_evidence evidence;
};

struct gw_move_effects {
        /* Two new epochs, durable before anything else leaves. 0, or a code that ends the move. */
        int (*reserve)(struct gw_move *move, uint64_t *epoch_to, uint64_t *epoch_back, void *user);
        /* Writes the whole move; called before the actions of a phase. */
        void (*journal)(const struct gw_move *move, void *user);
        /* Calls an agent; the answer comes as ORDER_DONE with the same serial. */
        void (*order)(const struct gw_move *move, enum gw_move_order order, uint32_t serial, void *user);
        void (*commit)(const struct gw_move *move, void *user);    /* binding -> target, epoch_to; repeatable */
        void (*take_back)(const struct gw_move *move, void *user); /* binding -> source, epoch_back; repeatable */
        void (*changed)(const struct gw_move *move, void *user);   /* for whoever watches */
        void (*done)(const struct gw_move *move, void *user);      /* last; phase is DONE */
};

struct gw_move_rules {
        const struct gw_move_effects *effects;
        void *user;
        uint32_t deadline_ms[GW_MOVE_PHASES];
};

/* Fills in a fresh move, admitted; id, vm, from, to, epoch and the limits are the caller's to set before gw_move_start. */
void gw_move_init(struct gw_move *move, const struct gw_move_rules *rules);
void gw_move_start(struct gw_move *move, struct gw_mono now, struct gw_wall wall);
/* After a restart: forgets what only this process could know. The agents' HV_BACK tell the rest. */
void gw_move_restore(struct gw_move *move, const struct gw_move_rules *rules, struct gw_mono now, struct gw_wall wall);
void gw_move_feed(struct gw_move *move, const struct gw_move_event *event, struct gw_mono now, struct gw_wall wall);

/* When to feed TICK next; 0: never. */
struct gw_mono gw_move_next(const struct gw_move *move);
/* May it still be cancelled? */
bool gw_move_cancellable(const struct gw_move *move);
/* Before the cut: is it still worth waiting for those who do not answer? */
bool gw_move_is_patient(const struct gw_move *move);
/* Where the VM belongs when the move has ended (the directory agrees), and whether a copy runs there. */
enum gw_move_side gw_move_place(const struct gw_move *move);
bool gw_move_needs_start(const struct gw_move *move);
/* The VM's own pause: resumed at the target less stopped at the source; 0 when either is unknown. */
struct gw_duration gw_move_pause(const struct gw_move *move);

/* Ended, or still in the queue: it takes no share of a host. */
bool gw_move_is_idle(const struct gw_move *move);
const char *gw_move_mode_word(enum gw_move_mode mode);
int gw_move_mode_parse(const char *word); /* -1: there is none such */
const char *gw_move_as_word(enum gw_move_as as);
int gw_move_as_parse(const char *word); /* -1: there is none such */
const char *gw_move_phase_word(enum gw_move_phase phase);
const char *gw_move_result_word(enum gw_move_result result);
const char *gw_move_order_word(enum gw_move_order order);
const char *gw_copy_word(enum gw_copy copy);
enum gw_move_side gw_move_order_side(enum gw_move_order order);
/* The reverse of gw_move_phase_word and gw_move_result_word: -1 when there is none. */
int gw_move_phase_parse(const char *word);
int gw_move_result_parse(const char *word);
