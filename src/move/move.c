/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hot move's phases (architecture, "A hot move"; design section 6; D1
 * section 7's hot migration, in the order that D2 section 7.1 leaves workable).
 *
 * An event first teaches (learn.c), then the phase's step looks at all that is
 * known -- the two copies, which agents are connected, which facts are true -- and
 * either stays, giving the orders it needs, or names the next phase. A step never
 * asks which event came; so a lost message, a repeated one, a restart of this
 * process and an inventory after any crash all end in the same table.
 *
 *      plan -> prepare -> copy -> cut -> commit -> activate -> converge -> finish -> done
 *                 |         |      |        |          |           |         |
 *                 +---------+------+-> abandon -> done |           |         |
 *                                        |  ^-------+  |           |         |
 *                                        +--------> take-back <----+---------+ -> done
 *
 * Invariants, which the tests walk through for every phase and event:
 * - The source is told to resume only when the target's copy is known to be gone,
 *   or when it runs by itself already (it took back with the newest epoch).
 * - The target's copy is killed while it runs only when the source runs, or the binding was taken back.
 * - The source's copy is ended only after the target has run.
 * - Before the cut nothing has changed but at the target. After it, the binding
 *   follows the copy: at the target, or at the source with a newer epoch.
 * - The target prepares, and the source begins, only when nobody holds a place older
 *   than the source, or GW_MOVE_SETTLE_MS have passed: a packet is redirected once,
 *   and the target may be such an older place.
 * - Where a copy may be running at an agent that is not connected, we wait: that
 *   agent goes on by itself, and a wrong guess would make two copies. Until somebody
 *   says that the host is off (HOST_DEAD).
 *
 * Post-copy goes the same way, with two differences after the cut. The source's
 * copy cannot go on once the target's has run, and it is ended only when it has sent
 * everything; while it has not, the end of either copy is a crash of the VM, and
 * what is left of the other goes too. A lost connection is made anew, for as long
 * as it takes. A source that gives up when the target runs may have sent everything; the
 * target tells when nothing is missing, and has a phase's time for that. A source that has switched while the target's copy ended without
 * having run may be told to resume; its emulator may be past that, and refuse.
 *
 * A VM that does not run goes the same way, cold, and is as still afterwards. Of one
 * that is stopped nobody on the network knows, so nobody is waited for: the source
 * loads it first (an emulator whose guest is not let run), and what is there at the
 * end is ended by the shell.
 *
 * A move that is not admitted yet (its hosts have enough to do) stays in plan.
 *
 * Each phase has a deadline. Where it passes while waiting is all that is safe, it
 * is set anew.
 */
#include "move/move.h"
#include "move/learn.h"

#include <assert.h>
#include <string.h>

#define BIT(phase) (1u << (phase))

/* Which phases may follow: enter() asserts it. */
static const unsigned allowed[GW_MOVE_PHASES] = {
        [GW_MOVE_PLAN] = BIT(GW_MOVE_PREPARE) | BIT(GW_MOVE_DONE),
        [GW_MOVE_PREPARE] = BIT(GW_MOVE_COPY) | BIT(GW_MOVE_ABANDON),
        [GW_MOVE_COPY] = BIT(GW_MOVE_CUT) | BIT(GW_MOVE_COMMIT) | BIT(GW_MOVE_ABANDON),
        [GW_MOVE_CUT] = BIT(GW_MOVE_COMMIT) | BIT(GW_MOVE_ABANDON),
        [GW_MOVE_COMMIT] = BIT(GW_MOVE_ACTIVATE) | BIT(GW_MOVE_TAKE_BACK),
        [GW_MOVE_ACTIVATE] = BIT(GW_MOVE_CONVERGE) | BIT(GW_MOVE_FINISH) | BIT(GW_MOVE_TAKE_BACK),
        [GW_MOVE_CONVERGE] = BIT(GW_MOVE_FINISH) | BIT(GW_MOVE_TAKE_BACK),
        [GW_MOVE_FINISH] = BIT(GW_MOVE_DONE) | BIT(GW_MOVE_TAKE_BACK),
        [GW_MOVE_ABANDON] = BIT(GW_MOVE_COMMIT) | BIT(GW_MOVE_TAKE_BACK) | BIT(GW_MOVE_DONE),
        [GW_MOVE_TAKE_BACK] = BIT(GW_MOVE_COMMIT) | BIT(GW_MOVE_DONE),
        [GW_MOVE_DONE] = 0,
};

static const struct gw_move_effects *effects(const struct gw_move *m) {
        return m->rules->effects;
}

static struct gw_move_side_state *source(struct gw_move *m) {
        return &m->side[GW_MOVE_SOURCE];
}

static struct gw_move_side_state *target(struct gw_move *m) {
        return &m->side[GW_MOVE_TARGET];
}

static void journal(struct gw_move *m) {
        effects(m)->journal(m, m->rules->user);
}

/* The VM ran at the target without all of its memory, and the rest will not come, or there is nobody to take it. */
static bool is_torn(const struct gw_move *m) {
        return m->mode == GW_MOVE_POST_COPY && m->target_ran && !m->sent_all &&
               (m->side[GW_MOVE_SOURCE].copy == GW_COPY_NONE || m->side[GW_MOVE_TARGET].copy == GW_COPY_NONE ||
                m->is_short);
}

/* Gives an order unless it is on its way, its side is not connected, or it went unanswered a moment ago. */
static void want(struct gw_move *m, enum gw_move_order order) {
        struct gw_move_order_state *o = &m->order[order];

        if (o->pending || !m->side[gw_move_order_side(order)].connected)
                return;
        if (o->retry.ns && m->now.ns < o->retry.ns)
                return;
        o->pending = true;
        o->retry.ns = 0;
        o->serial++;
        if (order == GW_ORDER_ABANDON)
                o->fence = m->taken_back || is_torn(m) ||
                           (source(m)->copy == GW_COPY_RUNNING && m->migrate_asked && !m->copying);
        if (order == GW_ORDER_MIGRATE)
                m->copying = true;
        effects(m)->order(m, order, o->serial, m->rules->user);
}

/* The source runs and is not on its way: either it never was, or it went on by itself. */
static bool source_keeps(const struct gw_move *m) {
        return m->side[GW_MOVE_SOURCE].copy == GW_COPY_RUNNING && !m->copying;
}

/* The VM has run at the target, and the source has not gone on: the target is it, for good. */
static bool took_over(const struct gw_move *m) {
        return m->target_ran && m->side[GW_MOVE_SOURCE].epoch != m->epoch_back && !source_keeps(m);
}

/* There is no binding that anybody could know, or would have to learn. */
static bool is_unbound(const struct gw_move *m) {
        return m->as == GW_MOVE_AS_STOPPED;
}

/* Everybody has learnt of the last move, or was given the time to. */
static bool has_settled(const struct gw_move *m) {
        return is_unbound(m) || m->settled || gw_mono_reached(m->now, m->settle);
}

static enum gw_move_phase step_plan(struct gw_move *m) {
        if (m->cancel_asked || m->failed || source(m)->copy == GW_COPY_NONE)
                return GW_MOVE_DONE;
        if (!m->admitted)
                return GW_MOVE_PLAN;
        if (effects(m)->reserve(m, &m->epoch_to, &m->epoch_back, m->rules->user)) {
                m->failed = true;
                gw_move_blame(m, "the directory reserved no epochs for the move");
                return GW_MOVE_DONE;
        }
        return GW_MOVE_PREPARE;
}

static enum gw_move_phase step_prepare(struct gw_move *m) {
        if (m->overdue)
                gw_move_blame(m, "%s was not ready in time%s", m->to.s,
                              target(m)->copy == GW_COPY_WAITING ? ": not every member of the VNs confirmed it" : "");
        if (m->failed || m->overdue || m->cancel_asked || source(m)->copy == GW_COPY_NONE)
                return GW_MOVE_ABANDON;
        if (!has_settled(m))
                return GW_MOVE_PREPARE;
        if (m->as == GW_MOVE_AS_STOPPED && !m->loaded) {
                want(m, GW_ORDER_LOAD);
                return GW_MOVE_PREPARE;
        }
        if (m->has_disks && !m->surveyed) {
                want(m, GW_ORDER_SURVEY);
                return GW_MOVE_PREPARE;
        }
        if (target(m)->copy != GW_COPY_WAITING || !m->address.port) {
                want(m, GW_ORDER_INCOMING); /* also to hear again where it listens */
                return GW_MOVE_PREPARE;
        }
        return (m->members_acked || is_unbound(m)) && source(m)->copy == GW_COPY_RUNNING ? GW_MOVE_COPY
                                                                                         : GW_MOVE_PREPARE;
}

static enum gw_move_phase step_copy(struct gw_move *m) {
        if (m->cut_seen || took_over(m))
                return GW_MOVE_COMMIT;
        if (source(m)->copy == GW_COPY_STOPPED)
                return GW_MOVE_CUT;
        if (m->overdue)
                gw_move_blame(m, "the copy was not complete in time");
        if (target(m)->copy == GW_COPY_NONE)
                gw_move_blame(m, "the copy at %s is gone", m->to.s);
        if (m->failed || m->overdue || m->cancel_asked || source(m)->copy == GW_COPY_NONE ||
            source(m)->epoch == m->epoch_back || target(m)->copy == GW_COPY_NONE)
                return GW_MOVE_ABANDON;
        if (source(m)->copy == GW_COPY_RUNNING && target(m)->copy == GW_COPY_WAITING && !m->accepted && has_settled(m))
                want(m, GW_ORDER_MIGRATE);
        return GW_MOVE_COPY;
}

/* The source is paused and will cut by itself. */
static enum gw_move_phase step_cut(struct gw_move *m) {
        if (m->cut_seen || took_over(m))
                return GW_MOVE_COMMIT;
        if (source(m)->copy == GW_COPY_RUNNING || source(m)->copy == GW_COPY_NONE || target(m)->copy == GW_COPY_NONE ||
            m->cancel_asked)
                return GW_MOVE_ABANDON;
        if (m->overdue && source(m)->connected) {
                gw_move_blame(m, "%s did not cut in time", m->from.s);
                return GW_MOVE_ABANDON;
        }
        return GW_MOVE_CUT;
}

/* A post-copy's source that could not give the VM away, and waits to be told. */
static bool gave_up(struct gw_move *m) {
        return m->mode == GW_MOVE_POST_COPY && m->failed && !m->copying && source(m)->copy == GW_COPY_STOPPED;
}

static enum gw_move_phase step_commit(struct gw_move *m) {
        if (source_keeps(m))
                return GW_MOVE_TAKE_BACK;
        if (m->target_ran)
                return GW_MOVE_ACTIVATE;
        if (target(m)->copy == GW_COPY_NONE || gave_up(m))
                return GW_MOVE_TAKE_BACK;
        if (m->overdue && target(m)->connected && (source(m)->connected || source(m)->copy == GW_COPY_NONE)) {
                gw_move_blame(m, "the VM did not run on %s in time", m->to.s);
                return GW_MOVE_TAKE_BACK;
        }
        return GW_MOVE_COMMIT;
}

/* Both sides wait for each other: the target listens, then the source connects. */
static void connect_again(struct gw_move *m) {
        if (!m->broken || m->sent_all)
                return;
        want(m, m->listening ? GW_ORDER_RECONNECT : GW_ORDER_RECOVER);
}

static enum gw_move_phase step_activate(struct gw_move *m) {
        if (source_keeps(m))
                return GW_MOVE_TAKE_BACK;
        if (target(m)->copy == GW_COPY_NONE)
                return GW_MOVE_FINISH;
        if (is_torn(m))
                return GW_MOVE_FINISH;
        connect_again(m);
        return m->registered || is_unbound(m) || m->overdue ? GW_MOVE_CONVERGE : GW_MOVE_ACTIVATE;
}

static enum gw_move_phase step_converge(struct gw_move *m) {
        if (source_keeps(m))
                return GW_MOVE_TAKE_BACK;
        if (is_torn(m))
                return GW_MOVE_FINISH;
        connect_again(m);
        return m->converged || is_unbound(m) || m->overdue || target(m)->copy == GW_COPY_NONE ? GW_MOVE_FINISH
                                                                                              : GW_MOVE_CONVERGE;
}

/* What runs without its memory is ended; the authority starts the VM again, as after any crash. */
static enum gw_move_phase end_torn(struct gw_move *m) {
        m->failed = true;
        gw_move_blame(m, "the VM was lost: not all of its memory had reached %s", m->to.s);
        if (target(m)->copy != GW_COPY_NONE && !m->abandoned) {
                want(m, GW_ORDER_ABANDON);
                return GW_MOVE_FINISH;
        }
        if (source(m)->copy != GW_COPY_NONE && !m->finished && !m->overdue) {
                if (source(m)->copy != GW_COPY_RUNNING)
                        want(m, GW_ORDER_FINISH);
                return GW_MOVE_FINISH;
        }
        return GW_MOVE_DONE;
}

/* A copy that is left behind because its agent is away is cleared when that agent is back (its inventory). */
static enum gw_move_phase step_finish(struct gw_move *m) {
        if (source_keeps(m))
                return GW_MOVE_TAKE_BACK;
        m->is_short = m->is_short || (m->source_failed && m->overdue && target(m)->connected);
        if (is_torn(m))
                return end_torn(m);
        if (m->mode == GW_MOVE_POST_COPY && !m->sent_all) {
                connect_again(m);
                return GW_MOVE_FINISH;
        }
        if (m->finished || m->overdue)
                return GW_MOVE_DONE;
        want(m, GW_ORDER_FINISH);
        return GW_MOVE_FINISH;
}

/* Ends an abandoned move once the target's copy is gone, or can do no harm any more. */
static enum gw_move_phase abandon_target(struct gw_move *m, bool harmless) {
        if (!m->touched || m->abandoned || (harmless && m->overdue))
                return GW_MOVE_DONE;
        want(m, GW_ORDER_ABANDON);
        return GW_MOVE_ABANDON;
}

static enum gw_move_phase step_abandon(struct gw_move *m) {
        bool untouched = !m->migrate_asked; /* the source never heard of the move */

        if (untouched)
                return abandon_target(m, true);
        if (took_over(m))
                return GW_MOVE_COMMIT;
        if (target(m)->copy == GW_COPY_RUNNING)
                return GW_MOVE_TAKE_BACK;
        switch (source(m)->copy) {
        case GW_COPY_STOPPED:
                if (m->cut_seen)
                        return target(m)->copy == GW_COPY_NONE ? GW_MOVE_TAKE_BACK : GW_MOVE_COMMIT;
                want(m, GW_ORDER_CANCEL);
                return GW_MOVE_ABANDON;
        case GW_COPY_RUNNING:
                if (m->cut_seen || source(m)->epoch == m->epoch_back)
                        return GW_MOVE_TAKE_BACK;
                if (!m->copying)
                        return abandon_target(m, true);
                want(m, GW_ORDER_CANCEL);
                return GW_MOVE_ABANDON;
        case GW_COPY_NONE:
                return abandon_target(m, false);
        default:
                return GW_MOVE_ABANDON;
        }
}

static void take_back_binding(struct gw_move *m) {
        if (m->taken_back)
                return;
        m->taken_back = true;
        journal(m);
        effects(m)->take_back(m, m->rules->user);
}

/* The source runs with the newest epoch, or is about to be told: the target's copy must go, even a running one. */
static enum gw_move_phase keep_source(struct gw_move *m) {
        take_back_binding(m);
        if (!m->resumed && source(m)->epoch != m->epoch_back)
                want(m, GW_ORDER_RESUME);
        if (!m->abandoned)
                want(m, GW_ORDER_ABANDON);
        if (!m->resumed && source(m)->epoch != m->epoch_back)
                return GW_MOVE_TAKE_BACK;
        return m->abandoned || (m->overdue && !target(m)->connected) ? GW_MOVE_DONE : GW_MOVE_TAKE_BACK;
}

static enum gw_move_phase step_take_back(struct gw_move *m) {
        if (source(m)->epoch == m->epoch_back)
                take_back_binding(m); /* it went on by itself, whatever became of it since */
        if (source_keeps(m))
                return keep_source(m);
        if (took_over(m) && !m->taken_back)
                return GW_MOVE_COMMIT;
        if (source(m)->copy == GW_COPY_UNKNOWN || source(m)->copy == GW_COPY_RUNNING)
                return GW_MOVE_TAKE_BACK;
        if (!m->abandoned) {
                want(m, GW_ORDER_ABANDON);
                return GW_MOVE_TAKE_BACK;
        }
        if (source(m)->copy == GW_COPY_NONE) {
                if (m->committed && !m->target_ran)
                        take_back_binding(m); /* nothing of it is elsewhere: its disks are at the source */
                return GW_MOVE_DONE;
        }
        take_back_binding(m);
        want(m, GW_ORDER_RESUME);
        return GW_MOVE_TAKE_BACK;
}

static enum gw_move_phase step_done(struct gw_move *m) {
        return m->phase;
}

static enum gw_move_phase (*const steps[GW_MOVE_PHASES])(struct gw_move *) = {
        [GW_MOVE_PLAN] = step_plan,         [GW_MOVE_PREPARE] = step_prepare,     [GW_MOVE_COPY] = step_copy,
        [GW_MOVE_CUT] = step_cut,           [GW_MOVE_COMMIT] = step_commit,       [GW_MOVE_ACTIVATE] = step_activate,
        [GW_MOVE_CONVERGE] = step_converge, [GW_MOVE_FINISH] = step_finish,       [GW_MOVE_ABANDON] = step_abandon,
        [GW_MOVE_DONE] = step_done,         [GW_MOVE_TAKE_BACK] = step_take_back,
};

static enum gw_move_result result_of(const struct gw_move *m, enum gw_move_phase from) {
        if (from == GW_MOVE_FINISH)
                return is_torn(m) ? GW_MOVE_FAILED : GW_MOVE_OK;
        return m->cancel_asked ? GW_MOVE_CANCELLED : GW_MOVE_FAILED;
}

static void note_time(struct gw_move *m) {
        if (m->n_timeline == GW_MOVE_TIMELINE_MAX)
                return;
        m->timeline[m->n_timeline].phase = m->phase;
        m->timeline[m->n_timeline++].at = m->wall;
}

/* What a phase's beginning makes true, before it is journalled. */
static void set_facts(struct gw_move *m, enum gw_move_phase from) {
        switch (m->phase) {
        case GW_MOVE_PREPARE:
                m->touched = true;
                m->settle = gw_mono_after(m->now, gw_ms(GW_MOVE_SETTLE_MS));
                target(m)->copy = GW_COPY_UNKNOWN;
                break;
        case GW_MOVE_COPY:
                m->migrate_asked = true;
                break;
        case GW_MOVE_COMMIT:
                m->committed = true;
                if (!m->evidence.committed.ns)
                        m->evidence.committed = m->wall;
                break;
        case GW_MOVE_DONE:
                m->result = result_of(m, from);
                if (m->result == GW_MOVE_OK)
                        m->reason[0] = 0;
                break;
        default:
                break;
        }
}

/* The only place where the phase changes. */
static void enter(struct gw_move *m, enum gw_move_phase phase) {
        enum gw_move_phase from = m->phase;

        assert(allowed[from] & BIT(phase));
        m->phase = phase;
        m->overdue = false;
        m->deadline = gw_mono_after(m->now, gw_ms(m->rules->deadline_ms[phase]));
        set_facts(m, from);
        note_time(m);
        journal(m);
        if (phase == GW_MOVE_COMMIT)
                effects(m)->commit(m, m->rules->user);
        effects(m)->changed(m, m->rules->user);
        if (phase == GW_MOVE_DONE)
                effects(m)->done(m, m->rules->user);
}

static void advance(struct gw_move *m) {
        for (;;) {
                enum gw_move_phase next = steps[m->phase](m);

                if (next == m->phase)
                        break;
                enter(m, next);
                if (next == GW_MOVE_DONE)
                        return;
        }
        if (m->overdue) {
                m->overdue = false;
                m->deadline = gw_mono_after(m->now, gw_ms(m->rules->deadline_ms[m->phase]));
        }
}

void gw_move_init(struct gw_move *m, const struct gw_move_rules *rules) {
        memset(m, 0, sizeof *m);
        m->rules = rules;
        m->side[GW_MOVE_SOURCE] = (struct gw_move_side_state){.copy = GW_COPY_RUNNING, .connected = true};
        m->side[GW_MOVE_TARGET] = (struct gw_move_side_state){.copy = GW_COPY_NONE, .connected = true};
        m->admitted = true;
}

void gw_move_start(struct gw_move *m, struct gw_mono now, struct gw_wall wall) {
        m->now = now;
        m->wall = wall;
        m->side[GW_MOVE_SOURCE].epoch = m->epoch;
        note_time(m);
        journal(m);
        advance(m);
}

void gw_move_restore(struct gw_move *m, const struct gw_move_rules *rules, struct gw_mono now, struct gw_wall wall) {
        m->rules = rules;
        m->now = now;
        m->wall = wall;
        memset(m->order, 0, sizeof m->order);
        memset(m->side, 0, sizeof m->side);
        m->copying = m->migrate_asked;
        m->accepted = m->settled = m->surveyed = m->broken = m->listening = m->is_short = false;
        m->settle = gw_mono_after(now, gw_ms(GW_MOVE_SETTLE_MS));
        m->overdue = false;
        m->deadline = gw_mono_after(now, gw_ms(rules->deadline_ms[m->phase]));
        if (m->phase == GW_MOVE_PLAN)
                advance(m);
}

/* What a post-copy waits for, and is told only once. */
static unsigned ends_told(const struct gw_move *m) {
        return m->mode == GW_MOVE_POST_COPY ? m->sent_all + 2U * m->source_failed : 0;
}

void gw_move_feed(struct gw_move *m, const struct gw_move_event *ev, struct gw_mono now, struct gw_wall wall) {
        unsigned before = ends_told(m);

        if (m->phase == GW_MOVE_DONE)
                return;
        m->now = now;
        m->wall = wall;
        gw_move_learn(m, ev);
        if (ends_told(m) != before)
                journal(m);
        advance(m);
        if (ev->kind == GW_MOVE_EV_PROGRESS)
                effects(m)->changed(m, m->rules->user);
}

struct gw_mono gw_move_next(const struct gw_move *m) {
        struct gw_mono next = m->deadline;

        if (m->phase == GW_MOVE_DONE)
                return (struct gw_mono){0};
        if (gw_move_is_patient(m) && m->settle.ns < next.ns)
                next = m->settle;
        for (int o = 0; o < GW_ORDERS; o++)
                if (!m->order[o].pending && m->order[o].retry.ns > m->now.ns && m->order[o].retry.ns < next.ns)
                        next = m->order[o].retry;
        return next;
}

bool gw_move_cancellable(const struct gw_move *m) {
        return m->phase < GW_MOVE_COMMIT;
}

bool gw_move_is_patient(const struct gw_move *m) {
        return (m->phase == GW_MOVE_PREPARE || m->phase == GW_MOVE_COPY) && m->now.ns < m->settle.ns;
}

enum gw_move_side gw_move_place(const struct gw_move *m) {
        return m->committed && !m->taken_back ? GW_MOVE_TARGET : GW_MOVE_SOURCE;
}

bool gw_move_needs_start(const struct gw_move *m) {
        return m->side[gw_move_place(m)].copy == GW_COPY_NONE;
}

struct gw_duration gw_move_pause(const struct gw_move *m) {
        uint64_t from = m->evidence.stopped.ns, to = m->evidence.resumed.ns;

        return (struct gw_duration){from && to > from ? to - from : 0};
}

enum gw_move_side gw_move_order_side(enum gw_move_order order) {
        return order == GW_ORDER_INCOMING || order == GW_ORDER_ABANDON || order == GW_ORDER_RECOVER ? GW_MOVE_TARGET
                                                                                                    : GW_MOVE_SOURCE;
}

bool gw_move_is_idle(const struct gw_move *m) {
        return m->phase == GW_MOVE_DONE || m->phase == GW_MOVE_PLAN;
}
