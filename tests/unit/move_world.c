/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Moves in a small world that goes wrong: two hosts, each with an agent and an
 * emulator, sessions that break and lose what is on the way, agents and the
 * authority that are killed and come back, emulators that die. Driven by a seed
 * (GW_SEED; GW_STEPS rounds). After each round the faults end, the world calms
 * down, and then must hold:
 *
 *   - the move has ended;
 *   - the VM runs at exactly one place, the one the binding names, or both
 *     copies are gone and the move asks for a cold start there;
 *   - at no moment did the copy of an older epoch answer beside a newer one for
 *     longer than it takes to fence it, and without a self-resuming source never
 *     two at all.
 *
 * The agents follow docs/architecture.md: the source drives copy, cut and
 * continuation alone, resumes with the back epoch when the stream breaks, and
 * stays stopped otherwise; the target runs when it has everything.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "move/move.h"

enum { QUEUE = 64, TARGET_EPOCH = 8, BACK_EPOCH = 9 };

struct message {
        bool is_order;
        struct gw_move_event event; /* to the authority */
        enum gw_move_order order;   /* to the agent */
        uint32_t serial;
        bool fence;
};

struct queue {
        struct message items[QUEUE];
        unsigned n;
};

enum stage { IDLE, ACTIVE, PRE_SWITCH, CUT, SENT };

struct host {
        bool agent_up, session_up;
        enum gw_copy copy;
        uint64_t epoch;
        enum stage stage;            /* source: of the copy */
        bool broken_stream;          /* source: to be seen by the agent */
        bool died;                   /* the agent has not noticed yet */
        bool activated;              /* target: the agent has told its edge */
        bool ran;                    /* target: has run, and its agent remembers */
        struct queue up, down, kept; /* kept: told while nobody listened */
};

struct world {
        uint64_t rng, ms;
        struct host host[GW_MOVE_SIDES];
        struct gw_move move, written;
        struct gw_move_rules rules;
        bool authority_up, anomalies;
        unsigned binding_at;
        uint64_t binding_epoch;
        bool done;
        bool registered_target, told_registered, told_settled, told_members, told_converged;
};

static uint64_t draw(struct world *w) {
        w->rng ^= w->rng << 13;
        w->rng ^= w->rng >> 7;
        w->rng ^= w->rng << 17;
        return w->rng;
}

static bool chance(struct world *w, unsigned in) {
        return draw(w) % in == 0;
}

static struct gw_mono now(const struct world *w) {
        return (struct gw_mono){w->ms * GW_NS_PER_MS};
}

static struct gw_wall wall(const struct world *w) {
        return (struct gw_wall){w->ms * GW_NS_PER_MS};
}

static void push(struct queue *q, const struct message *m) {
        assert(q->n < QUEUE);
        q->items[q->n++] = *m;
}

static bool pop(struct queue *q, struct message *out) {
        if (!q->n)
                return false;
        *out = q->items[0];
        memmove(q->items, q->items + 1, --q->n * sizeof *q->items);
        return true;
}

static void tell(struct world *w, enum gw_move_side side, struct gw_move_event ev) {
        struct host *h = &w->host[side];

        ev.side = side;
        if (h->agent_up && h->session_up)
                push(&h->up, &(struct message){.event = ev});
        else if (h->agent_up && ev.kind != GW_MOVE_EV_VM_GONE && ev.kind != GW_MOVE_EV_ORDER_DONE &&
                 h->kept.n < QUEUE / 2) {
                ev.past = true;
                push(&h->kept, &(struct message){.event = ev});
        }
}

/* --- the authority's effects --- */

static int fx_reserve(struct gw_move *m, uint64_t *to, uint64_t *back, void *user) {
        (void)m, (void)user;
        *to = TARGET_EPOCH;
        *back = BACK_EPOCH;
        return 0;
}

static void fx_journal(const struct gw_move *m, void *user) {
        ((struct world *)user)->written = *m;
}

static void fx_order(const struct gw_move *m, enum gw_move_order order, uint32_t serial, void *user) {
        struct world *w = user;
        struct host *h = &w->host[gw_move_order_side(order)];

        if (h->session_up)
                push(&h->down,
                     &(struct message){
                             .is_order = true, .order = order, .serial = serial, .fence = m->order[order].fence});
}

static void bind_to(struct world *w, unsigned side, uint64_t epoch) {
        if (epoch < w->binding_epoch)
                return;
        w->binding_at = side;
        w->binding_epoch = epoch;
}

static void fx_commit(const struct gw_move *m, void *user) {
        bind_to(user, GW_MOVE_TARGET, m->epoch_to);
}

static void fx_take_back(const struct gw_move *m, void *user) {
        bind_to(user, GW_MOVE_SOURCE, m->epoch_back);
}

static void fx_changed(const struct gw_move *m, void *user) {
        (void)m, (void)user;
}

static void fx_done(const struct gw_move *m, void *user) {
        (void)m;
        ((struct world *)user)->done = true;
}

static const struct gw_move_effects effects = {fx_reserve,   fx_journal, fx_order, fx_commit,
                                               fx_take_back, fx_changed, fx_done};

static void feed(struct world *w, struct gw_move_event ev) {
        if (w->authority_up && !w->done)
                gw_move_feed(&w->move, &ev, now(w), wall(w));
}

/* --- emulators --- */

static void stream_breaks(struct world *w) {
        struct host *s = &w->host[GW_MOVE_SOURCE];

        if (s->stage == ACTIVE || s->stage == PRE_SWITCH || s->stage == CUT)
                s->broken_stream = true;
}

static void kill_copy(struct world *w, enum gw_move_side side) {
        struct host *h = &w->host[side];

        if (h->copy == GW_COPY_NONE)
                return;
        h->copy = GW_COPY_NONE;
        h->died = true;
        if (side == GW_MOVE_TARGET) {
                stream_breaks(w);
                return;
        }
        if (h->stage != IDLE && h->stage != SENT && w->host[GW_MOVE_TARGET].copy == GW_COPY_WAITING)
                kill_copy(w, GW_MOVE_TARGET);
        h->stage = IDLE;
        h->broken_stream = false;
}

/* The source's emulator goes on by itself; its agent, when it is there, drives the cut. */
static void source_works(struct world *w) {
        struct host *s = &w->host[GW_MOVE_SOURCE], *t = &w->host[GW_MOVE_TARGET];

        if (s->broken_stream && s->agent_up) {
                bool was_cut = s->stage == CUT;

                s->broken_stream = false;
                s->stage = IDLE;
                s->copy = GW_COPY_RUNNING;
                if (was_cut)
                        s->epoch = BACK_EPOCH;
                tell(w, GW_MOVE_SOURCE,
                     (struct gw_move_event){.kind = GW_MOVE_EV_FAILED,
                                            .running = true,
                                            .epoch = chance(w, 2) ? s->epoch : 0,
                                            .text = "stream broken"});
                return;
        }
        if (s->stage == ACTIVE && !s->broken_stream && chance(w, 4)) {
                s->stage = PRE_SWITCH;
                s->copy = GW_COPY_STOPPED;
                tell(w, GW_MOVE_SOURCE, (struct gw_move_event){.kind = GW_MOVE_EV_STOPPED, .at = wall(w)});
        } else if (s->stage == PRE_SWITCH && s->agent_up && !s->broken_stream && chance(w, 2)) {
                s->stage = CUT;
                tell(w, GW_MOVE_SOURCE, (struct gw_move_event){.kind = GW_MOVE_EV_CUT, .at = wall(w)});
        } else if (s->stage == CUT && !s->broken_stream && chance(w, 2)) {
                assert(t->copy == GW_COPY_WAITING);
                t->copy = GW_COPY_RUNNING;
                t->epoch = TARGET_EPOCH;
                t->ran = true;
                s->stage = SENT;
                if (w->anomalies &&
                    chance(w, 4)) { /* an error on the last octets: the source believes that it failed */
                        s->stage = CUT;
                        s->broken_stream = true;
                } else {
                        tell(w, GW_MOVE_SOURCE, (struct gw_move_event){.kind = GW_MOVE_EV_COMPLETED});
                }
        }
}

static void target_works(struct world *w) {
        struct host *t = &w->host[GW_MOVE_TARGET];

        if (t->copy == GW_COPY_RUNNING && t->agent_up && !t->activated) {
                t->activated = true;
                w->registered_target = true;
                tell(w, GW_MOVE_TARGET, (struct gw_move_event){.kind = GW_MOVE_EV_RUNNING, .at = wall(w)});
        }
}

static void deaths_are_noticed(struct world *w) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                struct host *h = &w->host[side];

                if (!h->died || !h->agent_up)
                        continue;
                h->died = false;
                if (side == GW_MOVE_TARGET && chance(w, 2))
                        tell(w, GW_MOVE_TARGET, (struct gw_move_event){.kind = GW_MOVE_EV_FAILED, .text = "died"});
                else
                        tell(w, (enum gw_move_side)side,
                             (struct gw_move_event){.kind = GW_MOVE_EV_VM_GONE, .text = "died"});
        }
}

/* --- agents --- */

static enum gw_order_outcome at_target(struct world *w, const struct message *m) {
        struct host *t = &w->host[GW_MOVE_TARGET];

        if (m->order == GW_ORDER_INCOMING) {
                if (t->copy == GW_COPY_RUNNING || chance(w, 40))
                        return GW_ORDER_REFUSED;
                t->copy = GW_COPY_WAITING;
                return GW_ORDER_OK;
        }
        if (t->copy == GW_COPY_NONE) {
                t->ran = false;
                return GW_ORDER_GONE;
        }
        if (t->copy == GW_COPY_RUNNING && !m->fence)
                return GW_ORDER_REFUSED;
        kill_copy(w, GW_MOVE_TARGET);
        t->died = t->ran = false;
        return GW_ORDER_OK;
}

static enum gw_order_outcome start_copy(struct world *w) {
        struct host *s = &w->host[GW_MOVE_SOURCE];

        if (s->copy == GW_COPY_NONE)
                return GW_ORDER_GONE;
        if (s->stage == ACTIVE)
                return GW_ORDER_OK;
        if (s->stage != IDLE || s->epoch == BACK_EPOCH || w->host[GW_MOVE_TARGET].copy != GW_COPY_WAITING ||
            chance(w, 40))
                return GW_ORDER_REFUSED;
        s->stage = ACTIVE;
        return GW_ORDER_OK;
}

static enum gw_order_outcome cancel_copy(struct world *w) {
        struct host *s = &w->host[GW_MOVE_SOURCE];

        if (s->copy == GW_COPY_NONE)
                return !s->died && chance(w, 2) ? GW_ORDER_OK
                                                : GW_ORDER_GONE; /* nothing leaves: that is what was asked */
        if (s->stage == CUT || s->stage == SENT)
                return GW_ORDER_REFUSED;
        if (s->stage != IDLE) {
                s->stage = IDLE;
                s->broken_stream = false;
                s->copy = GW_COPY_RUNNING;
                if (w->host[GW_MOVE_TARGET].copy == GW_COPY_WAITING)
                        kill_copy(w, GW_MOVE_TARGET);
                s->broken_stream = false;
        }
        return GW_ORDER_OK;
}

static enum gw_order_outcome at_source(struct world *w, const struct message *m) {
        struct host *s = &w->host[GW_MOVE_SOURCE];

        if (m->order == GW_ORDER_MIGRATE)
                return start_copy(w);
        if (m->order == GW_ORDER_CANCEL)
                return cancel_copy(w);
        if (s->copy == GW_COPY_NONE)
                return GW_ORDER_GONE;
        if (m->order == GW_ORDER_RESUME) {
                s->copy = GW_COPY_RUNNING;
                s->stage = IDLE;
                s->broken_stream = false;
                s->epoch = BACK_EPOCH;
                return GW_ORDER_OK;
        }
        if (s->copy == GW_COPY_RUNNING)
                return GW_ORDER_REFUSED;
        s->copy = GW_COPY_NONE;
        s->stage = IDLE;
        s->broken_stream = false;
        return GW_ORDER_OK;
}

static void agents_obey(struct world *w) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                struct host *h = &w->host[side];
                struct message m;

                if (!h->agent_up || !h->session_up || !chance(w, 2) || !pop(&h->down, &m))
                        continue;
                tell(w, (enum gw_move_side)side,
                     (struct gw_move_event){.kind = GW_MOVE_EV_ORDER_DONE,
                                            .order = m.order,
                                            .serial = m.serial,
                                            .address.port = 49152,
                                            .outcome = side == GW_MOVE_TARGET ? at_target(w, &m) : at_source(w, &m)});
        }
}

/* --- sessions --- */

static void session_breaks(struct world *w, enum gw_move_side side) {
        struct host *h = &w->host[side];

        if (!h->session_up)
                return;
        h->session_up = false;
        h->up.n = h->down.n = 0;
        feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_HV_LOST, .side = side});
}

/* What the authority does about a copy that nobody expects any more, once the move has ended. */
static void clear_leftover(struct world *w, enum gw_move_side side) {
        struct host *h = &w->host[side];

        if (!w->done || (unsigned)side == w->binding_at || !h->session_up)
                return;
        h->copy = GW_COPY_NONE;
        h->stage = IDLE;
        h->broken_stream = false;
}

static void session_comes(struct world *w, enum gw_move_side side) {
        struct host *h = &w->host[side];
        struct message kept;

        if (h->session_up || !h->agent_up || !w->authority_up)
                return;
        h->session_up = true;
        h->died = false;
        feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_HV_BACK,
                                       .side = side,
                                       .copy = h->copy,
                                       .copying = side == GW_MOVE_SOURCE && h->stage != IDLE,
                                       .running = side == GW_MOVE_TARGET && h->ran,
                                       .epoch = h->epoch});
        while (pop(&h->kept, &kept))
                push(&h->up, &kept);
        clear_leftover(w, side);
        h->activated = h->copy == GW_COPY_RUNNING;
        if (h->activated && side == GW_MOVE_TARGET)
                w->registered_target = true;
}

static void deliver(struct world *w) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                struct message m;

                if (!w->host[side].session_up || !chance(w, 2) || !pop(&w->host[side].up, &m))
                        continue;
                feed(w, m.event);
                if (m.event.kind == GW_MOVE_EV_FAILED && m.event.running)
                        clear_leftover(w, (enum gw_move_side)side);
        }
}

static void directory_works(struct world *w) {
        if (w->authority_up && !w->told_settled && chance(w, 3)) {
                w->told_settled = true;
                feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_SETTLED});
        }
        if (w->authority_up && !w->told_members && chance(w, 3)) {
                w->told_members = true;
                feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_MEMBERS_ACKED});
        }
        if (w->authority_up && w->registered_target && !w->told_registered && w->binding_at == GW_MOVE_TARGET) {
                w->told_registered = true;
                feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_REGISTERED, .epoch = TARGET_EPOCH});
        }
        if (w->authority_up && w->told_registered && !w->told_converged && chance(w, 3)) {
                w->told_converged = true;
                feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_CONVERGED});
        }
}

static void authority_dies(struct world *w) {
        if (!w->authority_up)
                return;
        w->authority_up = false;
        session_breaks(w, GW_MOVE_SOURCE);
        session_breaks(w, GW_MOVE_TARGET);
}

static void authority_returns(struct world *w) {
        if (w->authority_up)
                return;
        w->authority_up = true;
        w->told_settled = w->told_members = w->told_registered = w->told_converged = false;
        if (w->done)
                return;
        w->move = w->written;
        if (w->move.phase == GW_MOVE_DONE)
                w->done = true;
        else
                gw_move_restore(&w->move, &w->rules, now(w), wall(w));
}

static void faults(struct world *w, unsigned rate) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                struct host *h = &w->host[side];

                if (chance(w, rate))
                        session_breaks(w, (enum gw_move_side)side);
                if (chance(w, rate * 2) && h->agent_up) {
                        session_breaks(w, (enum gw_move_side)side);
                        h->agent_up = false;
                        h->kept.n = 0;
                }
                if (chance(w, rate * 4))
                        kill_copy(w, (enum gw_move_side)side);
                if (chance(w, 8))
                        h->agent_up = true;
        }
        if (chance(w, rate * 2))
                authority_dies(w);
        if (chance(w, 8))
                authority_returns(w);
        if (chance(w, rate * 4))
                feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_CANCEL});
}

static void fail(const struct world *w, uint64_t seed, const char *what) {
        printf("not ok - %s: seed %" PRIu64 ", at %" PRIu64 " ms: move in %s (%s), source %s/%" PRIu64
               ", target %s/%" PRIu64 ", binding at %s/%" PRIu64 "\n",
               what, seed, w->ms, gw_move_phase_word(w->move.phase), w->move.reason, gw_copy_word(w->host[0].copy),
               w->host[0].epoch, gw_copy_word(w->host[1].copy), w->host[1].epoch, w->binding_at ? "target" : "source",
               w->binding_epoch);
        exit(1);
}

static unsigned running(const struct world *w) {
        return (w->host[0].copy == GW_COPY_RUNNING) + (w->host[1].copy == GW_COPY_RUNNING);
}

static void step(struct world *w, uint64_t seed, unsigned fault_rate) {
        w->ms += 5;
        if (fault_rate)
                faults(w, fault_rate);
        for (int side = 0; side < GW_MOVE_SIDES; side++)
                if (chance(w, 4))
                        session_comes(w, (enum gw_move_side)side);
        agents_obey(w);
        source_works(w);
        target_works(w);
        deaths_are_noticed(w);
        deliver(w);
        directory_works(w);
        feed(w, (struct gw_move_event){.kind = GW_MOVE_EV_TICK});
        if (!w->anomalies && running(w) > 1)
                fail(w, seed, "two copies run");
}

static void check_end(struct world *w, uint64_t seed) {
        const struct host *at = &w->host[w->binding_at];

        if (!w->done)
                fail(w, seed, "the move did not end");
        if (running(w) > 1)
                fail(w, seed, "two copies run at the end");
        if (gw_move_place(&w->move) != (enum gw_move_side)w->binding_at)
                fail(w, seed, "move and directory disagree");
        if (running(w) == 1 && at->copy != GW_COPY_RUNNING)
                fail(w, seed, "the VM runs where the binding is not");
        if (running(w) == 0 && (w->host[0].copy != GW_COPY_NONE || w->host[1].copy != GW_COPY_NONE))
                fail(w, seed, "a stopped copy is left and nothing runs");
        if (running(w) == 1 && gw_move_needs_start(&w->move))
                fail(w, seed, "a cold start is asked for while the VM runs");
}

static struct { unsigned ok, failed, cancelled, cold; } tally;

static void round_of(uint64_t seed) {
        static struct world w;
        unsigned fault_rate;

        memset(&w, 0, sizeof w);
        w.rng = seed * 0x9e3779b97f4a7c15u + 1;
        w.ms = 1000;
        w.rules = (struct gw_move_rules){.effects = &effects, .user = &w};
        for (int p = 0; p < GW_MOVE_PHASES; p++)
                w.rules.deadline_ms[p] = 400;
        w.authority_up = true;
        w.anomalies = seed % 4 == 0;
        w.binding_epoch = 7;
        w.host[0] = (struct host){.agent_up = true, .session_up = true, .copy = GW_COPY_RUNNING, .epoch = 7};
        w.host[1] = (struct host){.agent_up = true, .session_up = true, .copy = GW_COPY_NONE};
        gw_move_init(&w.move, &w.rules);
        w.move.epoch = 7;
        gw_move_start(&w.move, now(&w), wall(&w));
        fault_rate = 10u << (seed % 5);
        for (int i = 0; i < 200 && !w.done; i++)
                step(&w, seed, fault_rate);
        w.host[0].agent_up = w.host[1].agent_up = true;
        authority_returns(&w);
        for (int i = 0; i < 2000 && !w.done; i++)
                step(&w, seed, 0);
        for (int i = 0; i < 100; i++)
                step(&w, seed, 0);
        check_end(&w, seed);
        tally.ok += w.move.result == GW_MOVE_OK;
        tally.failed += w.move.result == GW_MOVE_FAILED;
        tally.cancelled += w.move.result == GW_MOVE_CANCELLED;
        tally.cold += running(&w) == 0;
}

int main(void) {
        const char *seed_text = getenv("GW_SEED"), *steps_text = getenv("GW_STEPS");
        uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
        uint64_t rounds = steps_text ? strtoull(steps_text, NULL, 10) : 20000;

        printf("TAP version 13\n1..1\n# seeds %" PRIu64 " to %" PRIu64 "\n", seed, seed + rounds - 1);
        for (uint64_t i = 0; i < rounds; i++)
                round_of(seed + i);
        printf("# %u moved, %u failed, %u cancelled; %u ended with a cold start\n", tally.ok, tally.failed,
               tally.cancelled, tally.cold);
        printf("ok 1 - the VM ends at exactly one place\n");
        return 0;
}
