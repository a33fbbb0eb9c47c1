/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an event teaches a move: one small function per kind, which only writes
 * knowledge and evidence into the struct. Decisions are move.c's.
 *
 * Doubt is kept: an agent that is lost leaves its copy UNKNOWN, since source and
 * target drive the cut without us (architecture, "A hot move"); an order without
 * an answer may have been carried out. Answers carry the serial of their order, so
 * that one which was overtaken by a reconnection changes nothing.
 *
 * A refusal is knowledge too: ABANDON refused means that the target runs, and
 * CANCEL refused by a stopped source that the cut has been made.
 *
 * What an agent tells after its inventory but saw before it (it kept its events
 * while nobody listened) is history: it says what was, the inventory what is.
 */
#include "move/learn.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"

void gw_move_blame(struct gw_move *move, const char *format, ...) {
        va_list args;

        if (move->reason[0])
                return;
        va_start(args, format);
        vsnprintf(move->reason, sizeof move->reason, format, args);
        va_end(args);
        gw_text_mend(move->reason);
}

static const char *side_name(const struct gw_move *move, enum gw_move_side side) {
        return side == GW_MOVE_SOURCE ? move->from.s : move->to.s;
}

static const char *or_unsaid(const char *text) {
        return text && *text ? text : "no reason given";
}

/* The two sides report over sessions of their own: that the target runs can be heard before the source's stop. */
static void target_runs(struct gw_move *m) {
        struct gw_move_side_state *source = &m->side[GW_MOVE_SOURCE];

        m->side[GW_MOVE_TARGET].copy = GW_COPY_RUNNING;
        m->target_ran = true;
        m->abandoned = false;
        if (m->copying && source->copy == GW_COPY_RUNNING && source->epoch != m->epoch_back)
                source->copy = GW_COPY_STOPPED;
}

static void incoming_done(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->outcome == GW_ORDER_OK) {
                m->side[GW_MOVE_TARGET].copy = GW_COPY_WAITING;
                m->address = ev->address;
                return;
        }
        m->surveyed = false;
        m->failed = true;
        gw_move_blame(m, "%s did not prepare: %s", m->to.s, or_unsaid(ev->text));
}

static void migrate_done(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->outcome == GW_ORDER_OK) {
                m->accepted = true;
                return;
        }
        m->copying = false;
        m->failed = true;
        if (ev->outcome == GW_ORDER_GONE)
                m->side[GW_MOVE_SOURCE].copy = GW_COPY_NONE;
        gw_move_blame(m, "%s did not start the copy: %s", m->from.s, or_unsaid(ev->text));
}

static void cancel_done(struct gw_move *m, const struct gw_move_event *ev) {
        struct gw_move_side_state *source = &m->side[GW_MOVE_SOURCE];

        if (ev->outcome == GW_ORDER_REFUSED) {
                m->cut_seen = m->cut_seen || source->copy == GW_COPY_STOPPED;
                return;
        }
        m->copying = false;
        if (ev->outcome == GW_ORDER_GONE)
                source->copy = GW_COPY_NONE;
        else if (source->copy != GW_COPY_NONE) /* the agent has told of its end before it answered */
                source->copy = GW_COPY_RUNNING;
}

static void finish_done(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->outcome == GW_ORDER_REFUSED && m->side[GW_MOVE_SOURCE].copy != GW_COPY_NONE)
                return;
        m->finished = true;
        m->copying = false;
        m->side[GW_MOVE_SOURCE].copy = GW_COPY_NONE;
}

/* What the target refuses to give up although no copy was ever sent to it is not of this move. */
static void abandon_done(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->outcome == GW_ORDER_REFUSED && m->migrate_asked) {
                if (!m->order[GW_ORDER_ABANDON].fence)
                        target_runs(m);
                return;
        }
        m->abandoned = true;
        m->side[GW_MOVE_TARGET].copy = GW_COPY_NONE;
}

static void resume_done(struct gw_move *m, const struct gw_move_event *ev) {
        struct gw_move_side_state *source = &m->side[GW_MOVE_SOURCE];

        if (ev->outcome == GW_ORDER_OK) {
                source->copy = GW_COPY_RUNNING;
                source->epoch = m->epoch_back;
                m->copying = false;
                m->resumed = true;
        } else if (ev->outcome == GW_ORDER_GONE || (ev->outcome == GW_ORDER_REFUSED && m->mode == GW_MOVE_POST_COPY)) {
                /* One that has switched is of no use any more: as good as gone. */
                source->copy = GW_COPY_NONE;
        }
}

static void recover_done(struct gw_move *m, const struct gw_move_event *ev) {
        m->listening = ev->outcome == GW_ORDER_OK;
        if (m->listening)
                m->address = ev->address;
}

/* Whether it holds is told by the next event: nothing, or broken again. */
static void reconnect_done(struct gw_move *m, const struct gw_move_event *ev) {
        m->listening = false;
        if (ev->outcome == GW_ORDER_OK)
                m->broken = false;
}

static void survey_done(struct gw_move *m, const struct gw_move_event *ev) {
        m->surveyed = ev->outcome == GW_ORDER_OK;
        if (m->surveyed)
                return;
        m->failed = true;
        gw_move_blame(m, "%s cannot send the disks: %s", m->from.s, or_unsaid(ev->text));
}

static void load_done(struct gw_move *m, const struct gw_move_event *ev) {
        m->loaded = ev->outcome == GW_ORDER_OK;
        if (m->loaded)
                return;
        m->failed = true;
        gw_move_blame(m, "%s cannot load it: %s", m->from.s, or_unsaid(ev->text));
}

static void order_done(struct gw_move *m, const struct gw_move_event *ev) {
        static void (*const done[GW_ORDERS])(struct gw_move *, const struct gw_move_event *) = {
                [GW_ORDER_INCOMING] = incoming_done, [GW_ORDER_MIGRATE] = migrate_done,
                [GW_ORDER_CANCEL] = cancel_done,     [GW_ORDER_FINISH] = finish_done,
                [GW_ORDER_ABANDON] = abandon_done,   [GW_ORDER_RESUME] = resume_done,
                [GW_ORDER_RECOVER] = recover_done,   [GW_ORDER_RECONNECT] = reconnect_done,
                [GW_ORDER_SURVEY] = survey_done,     [GW_ORDER_LOAD] = load_done,
        };
        struct gw_move_order_state *o = &m->order[ev->order];

        if (!o->pending || o->serial != ev->serial)
                return;
        o->pending = false;
        o->retry = gw_mono_after(m->now, gw_ms(GW_MOVE_RETRY_MS));
        if (ev->outcome != GW_ORDER_LOST)
                done[ev->order](m, ev);
}

static void source_stopped(struct gw_move *m, const struct gw_move_event *ev) {
        if (!ev->past || m->copying) {
                m->side[GW_MOVE_SOURCE].copy = GW_COPY_STOPPED;
                m->copying = true;
        }
        if (ev->at.ns)
                m->evidence.stopped = ev->at;
}

static void source_cut(struct gw_move *m, const struct gw_move_event *ev) {
        if (!ev->past || m->copying)
                m->side[GW_MOVE_SOURCE].copy = GW_COPY_STOPPED;
        m->cut_seen = true;
        m->evidence.cut = ev->at.ns ? ev->at : m->wall;
        m->evidence.drained = ev->count;
        m->evidence.talkers = ev->talkers;
}

static void target_running(struct gw_move *m, const struct gw_move_event *ev) {
        if (!ev->past || m->side[GW_MOVE_TARGET].copy == GW_COPY_WAITING)
                target_runs(m);
        m->target_ran = true;
        m->evidence.resumed = ev->at.ns ? ev->at : m->wall;
}

/* The source is about to give the VM away. Whether it has run at the target only the target can tell: when it has not,
 * and never will, what the source has is still the VM. */
static void source_switched(struct gw_move *m) {
        m->switched = true;
        m->broken = false;
}

/* The phase's time, from now on. */
static void begin_anew(struct gw_move *m) {
        m->deadline = gw_mono_after(m->now, gw_ms(m->rules->deadline_ms[m->phase]));
        m->overdue = false;
}

/* The source's copy is stopped, not gone, after a failure: only VM_GONE says that the emulator ended. */
static void side_failed(struct gw_move *m, const struct gw_move_event *ev) {
        struct gw_move_side_state *side = &m->side[ev->side];

        m->failed = true;
        gw_move_blame(m, "%s: %s", side_name(m, ev->side), or_unsaid(ev->text));
        if (ev->side == GW_MOVE_SOURCE && !ev->running && !m->source_failed) {
                m->source_failed = true;
                /* Its time ends over and over while memory flows; to say what it has the target gets a whole one. */
                if (m->phase == GW_MOVE_FINISH)
                        begin_anew(m);
        }
        if (ev->past)
                return;
        if (ev->side == GW_MOVE_TARGET) {
                if (!ev->running)
                        side->copy = GW_COPY_NONE;
                return;
        }
        m->copying = false;
        if (ev->epoch)
                side->epoch = ev->epoch;
        if (ev->running)
                side->copy = GW_COPY_RUNNING;
        else if (side->copy != GW_COPY_NONE)
                side->copy = GW_COPY_STOPPED;
}

/* A copy that stands still for the cut, or has never run, is no guest that could have ended itself. */
static void ended_itself(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->by_itself && (ev->side == GW_MOVE_TARGET ? m->target_ran : !m->cut_seen && !m->target_ran))
                m->ended_itself = true;
}

static void vm_gone(struct gw_move *m, const struct gw_move_event *ev) {
        ended_itself(m, ev);
        m->side[ev->side].copy = GW_COPY_NONE;
        if (ev->side == GW_MOVE_SOURCE)
                m->copying = false;
        if (ev->side == GW_MOVE_SOURCE || !m->target_ran) {
                m->failed = true;
                gw_move_blame(m, "the VM's emulator on %s ended: %s", side_name(m, ev->side), or_unsaid(ev->text));
        }
}

static void registered(struct gw_move *m, const struct gw_move_event *ev) {
        if (ev->epoch == m->epoch_to) {
                m->registered = true;
                m->evidence.registered = m->wall;
        } else if (ev->epoch == m->epoch_back) {
                m->side[GW_MOVE_SOURCE].epoch = ev->epoch;
        }
}

static void forget_orders(struct gw_move *m, enum gw_move_side side) {
        for (int o = 0; o < GW_ORDERS; o++)
                if (gw_move_order_side((enum gw_move_order)o) == side)
                        m->order[o].pending = false, m->order[o].retry.ns = 0;
}

static void hv_lost(struct gw_move *m, const struct gw_move_event *ev) {
        m->side[ev->side].connected = false;
        m->side[ev->side].copy = GW_COPY_UNKNOWN;
        forget_orders(m, ev->side);
}

/* What its agent will tell when it is back after all is news again. */
static void host_dead(struct gw_move *m, const struct gw_move_event *ev) {
        if (m->side[ev->side].connected)
                return;
        forget_orders(m, ev->side);
        vm_gone(m, ev);
        if (ev->side == GW_MOVE_TARGET)
                m->abandoned = true;
        else
                m->finished = true;
}

/* When it was is told once more: the authority before this one may have been killed with it unread. */
static void times_told_again(struct gw_move_evidence *evidence, const struct gw_move_event *ev) {
        if (!ev->at.ns)
                return;
        if (ev->side == GW_MOVE_SOURCE)
                evidence->stopped = ev->at;
        else
                evidence->resumed = ev->at;
}

static void hv_back(struct gw_move *m, const struct gw_move_event *ev) {
        struct gw_move_side_state *side = &m->side[ev->side];

        forget_orders(m, ev->side);
        ended_itself(m, ev);
        side->connected = true;
        side->copy = ev->copy;
        /* What is to be loaded is not there yet. */
        if (ev->side == GW_MOVE_SOURCE && ev->copy == GW_COPY_NONE && m->as == GW_MOVE_AS_STOPPED && !m->loaded)
                side->copy = GW_COPY_RUNNING;
        if (ev->epoch)
                side->epoch = ev->epoch;
        if (ev->side == GW_MOVE_SOURCE) {
                m->copying = m->accepted = ev->copying;
                m->finished = m->finished && ev->copy == GW_COPY_NONE;
        } else if (ev->copy == GW_COPY_RUNNING)
                target_runs(m);
        else if (ev->copy != GW_COPY_NONE)
                m->abandoned = false;
        if (ev->side == GW_MOVE_TARGET && ev->running)
                m->target_ran = true;
        times_told_again(&m->evidence, ev);
        begin_anew(m);
}

static void converged(struct gw_move *m) {
        m->converged = true;
        m->evidence.converged = m->wall;
}

static void cancel_asked(struct gw_move *m) {
        if (!gw_move_cancellable(m))
                return;
        m->cancel_asked = true;
        gw_move_blame(m, "it was cancelled");
}

static void connection_broke(struct gw_move *m) {
        source_switched(m);
        m->broken = true;
        m->listening = false;
}

void gw_move_learn(struct gw_move *m, const struct gw_move_event *ev) {
        switch (ev->kind) {
        case GW_MOVE_EV_ORDER_DONE:
                return order_done(m, ev);
        case GW_MOVE_EV_SETTLED:
                m->settled = true;
                return;
        case GW_MOVE_EV_MEMBERS_ACKED:
                m->members_acked = true;
                return;
        case GW_MOVE_EV_PROGRESS:
                m->evidence.progress = ev->progress;
                return;
        case GW_MOVE_EV_STOPPED:
                return source_stopped(m, ev);
        case GW_MOVE_EV_CUT:
                return source_cut(m, ev);
        case GW_MOVE_EV_RUNNING:
                return target_running(m, ev);
        case GW_MOVE_EV_COMPLETED:
        case GW_MOVE_EV_LANDED:
                m->sent_all = true;
                return;
        case GW_MOVE_EV_FAILED:
                return side_failed(m, ev);
        case GW_MOVE_EV_VM_GONE:
                return vm_gone(m, ev);
        case GW_MOVE_EV_REGISTERED:
                return registered(m, ev);
        case GW_MOVE_EV_CONVERGED:
                return converged(m);
        case GW_MOVE_EV_HV_LOST:
                return hv_lost(m, ev);
        case GW_MOVE_EV_HV_BACK:
                return hv_back(m, ev);
        case GW_MOVE_EV_CANCEL:
                return cancel_asked(m);
        case GW_MOVE_EV_ADMITTED:
                m->admitted = true;
                return;
        case GW_MOVE_EV_SWITCHED:
                return source_switched(m);
        case GW_MOVE_EV_BROKEN:
                return connection_broke(m);
        case GW_MOVE_EV_HOST_DEAD:
                return host_dead(m, ev);
        case GW_MOVE_EV_TICK:
                m->overdue = m->overdue || gw_mono_reached(m->now, m->deadline);
                return;
        case GW_MOVE_EVENTS:
                return;
        }
}
