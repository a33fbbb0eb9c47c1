/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of the source's and the target's edge, read before a move and after it
 * (when it ends, and again when the redirect at the source has ended); the
 * differences are evidence. They are of the whole edge: another VM's drops on the
 * same two hosts in the same seconds are in them too, so a zero is proof and
 * anything else is a question. Only what was redirected is counted by VM: the
 * source's edge says how much so far, and how much it was in all when it ends.
 *
 * An edge that does not answer leaves its figures out; a move never waits for them.
 * After a restart of this process the values from before are unknown, and nothing
 * is claimed.
 */
#include "nva/evidence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "nva/json.h"
#include "nva/mover.h"

/* A group frame that reached a host where nobody is to have it: its other copies reached theirs. */
#define NO_LOSS "drop-no-flood"

enum { COUNTERS_MAX = 128, COUNTER_NAME_SIZE = 64 };

static const char *const side_words[GW_MOVE_SIDES] = {"source", "target"};

struct ask {
        struct nva *nva;
        struct gw_name move;
        enum gw_move_side side;
        bool after;
};

/* What an edge says is kept for good, so it is bounded. */
static bool is_count(const char *key, const json_t *value) {
        return json_is_integer(value) && json_integer_value(value) >= 0 && strlen(key) < COUNTER_NAME_SIZE;
}

/* All numbers of an answer, by name; nested objects are walked into. */
static void flatten(json_t *into, const json_t *from) {
        const char *key;
        json_t *value;

        json_object_foreach ((json_t *)from, key, value) {
                if (json_is_object(value))
                        flatten(into, value);
                else if (is_count(key, value) && json_object_size(into) < COUNTERS_MAX)
                        json_object_set(into, key, value);
        }
}

/* What grew: {name: difference}. */
static json_t *grown(const json_t *before, const json_t *after) {
        json_t *out = json_object(), *value;
        const char *key;

        json_object_foreach ((json_t *)after, key, value) {
                json_int_t n = json_integer_value(value) - json_integer_value(json_object_get(before, key));

                if (n > 0)
                        json_object_set_new(out, key, json_integer(n));
        }
        return out;
}

static void keep(struct nva_move *move, const struct ask *ask, const json_t *body) {
        json_t *now = json_object();

        flatten(now, body);
        if (!ask->after) {
                json_decref(move->before[ask->side]);
                move->before[ask->side] = now;
                return;
        }
        json_decref(move->counters[ask->side]);
        move->counters[ask->side] = grown(move->before[ask->side], now);
        json_decref(now);
        mover_write(move);
        nva_publish(move->nva, "move", mover_json(move));
}

static void on_counters(int status, json_t *body, void *user) {
        struct ask *ask = user;
        struct nva_move *move = mover_find(ask->nva, ask->move.s);

        if (move && status / 100 == 2 && json_is_object(body) && (!ask->after || move->before[ask->side]))
                keep(move, ask, body);
        nva_call_free(ask);
}

/* {ports: [...]} of the source's edge: what it has redirected for the VM by now. */
static void on_ports(int status, json_t *body, void *user) {
        struct ask *ask = user;
        struct nva_move *move = mover_find(ask->nva, ask->move.s);
        json_t *ports = json_object_get(body, "ports"), *port;
        uint64_t redirected = 0;
        bool found = false;
        size_t i;

        json_array_foreach (ports, i, port) {
                if (!move || strcmp(nva_json_text(port, "vm"), move->core.vm.s) ||
                    strcmp(nva_json_text(port, "role"), "moved"))
                        continue;
                found = true;
                redirected += (uint64_t)json_integer_value(json_object_get(port, "redirected"));
        }
        if (status / 100 == 2 && found && !move->redirect_ended) {
                move->redirected_known = true;
                move->redirected = redirected;
        }
        nva_call_free(ask);
}

static void ask_redirected(struct nva_move *move) {
        struct gw_nve *nve = gw_directory_nve(&move->nva->directory, move->core.from.s);
        struct ask *ask =
                nve && nve->nve_session && !move->redirect_ended ? nva_call_new(move->nva, sizeof *ask) : NULL;
        char path[GW_NAME_MAX + 32];

        if (!ask)
                return;
        *ask = (struct ask){.nva = move->nva, .move = move->core.id};
        snprintf(path, sizeof path, "/v1/ports?vm=%s", move->core.vm.s);
        gw_call(nve->nve_session, "GET", path, NULL, gw_s(10), on_ports, ask);
}

static void ask_both(struct nva_move *move, bool after) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                const char *id = side == GW_MOVE_SOURCE ? move->core.from.s : move->core.to.s;
                struct gw_nve *nve = gw_directory_nve(&move->nva->directory, id);
                struct ask *ask = nve && nve->nve_session ? nva_call_new(move->nva, sizeof *ask) : NULL;

                if (!ask)
                        continue;
                *ask = (struct ask){
                        .nva = move->nva, .move = move->core.id, .side = (enum gw_move_side)side, .after = after};
                gw_call(nve->nve_session, "GET", "/v1/counters", NULL, gw_s(10), on_counters, ask);
        }
}

void evidence_before(struct nva_move *move) {
        ask_both(move, false);
}

void evidence_after(struct nva_move *move) {
        ask_redirected(move); /* before the counters, whose coming writes all */
        ask_both(move, true);
}

static json_int_t plus(json_int_t a, json_int_t b) {
        json_int_t total;

        return __builtin_add_overflow(a, b, &total) ? INT64_MAX : total;
}

static bool is_of(const char *counter, const char *prefix) {
        return !strncmp(counter, prefix, strlen(prefix)) && strcmp(counter, NO_LOSS) != 0;
}

static json_int_t sum(const json_t *counters, const char *prefix) {
        json_int_t total = 0;
        json_t *value;
        const char *key;

        json_object_foreach ((json_t *)counters, key, value)
                if (is_of(key, prefix))
                        total = plus(total, json_integer_value(value));
        return total;
}

static void add_sum(json_t *evidence, const char *key, const json_t *counters, const char *prefix) {
        if (counters)
                json_object_set_new(evidence, key, json_integer(sum(counters, prefix)));
}

/* What either edge dropped, by reason. */
static void add_drops(json_t *evidence, const json_t *source, const json_t *target) {
        const json_t *const sides[] = {source, target};
        json_t *drops = json_object(), *value;
        const char *key;

        for (int side = 0; side < GW_MOVE_SIDES; side++)
                json_object_foreach ((json_t *)sides[side], key, value)
                        if (is_of(key, "drop") && json_integer_value(value))
                                json_object_set_new(drops, key,
                                                    json_integer(plus(json_integer_value(json_object_get(drops, key)),
                                                                      json_integer_value(value))));
        json_object_set_new(evidence, "dropped", json_integer(plus(sum(source, "drop"), sum(target, "drop"))));
        json_object_set_new(evidence, "drops", drops);
}

void evidence_add(const struct nva_move *move, json_t *evidence) {
        const json_t *source = move->counters[GW_MOVE_SOURCE], *target = move->counters[GW_MOVE_TARGET];
        json_t *all = json_object();

        for (int side = 0; side < GW_MOVE_SIDES; side++)
                if (move->counters[side])
                        json_object_set(all, side_words[side], move->counters[side]);
        add_sum(evidence, "redirected", source, "redirected");
        if (move->redirected_known)
                json_object_set_new(evidence, "redirected", json_integer((json_int_t)move->redirected));
        add_sum(evidence, "held", target, "held");
        if (source && target)
                add_drops(evidence, source, target);
        if (json_object_size(all))
                json_object_set_new(evidence, "counters", all);
        else
                json_decref(all);
        json_object_set_new(evidence, "redirect_ended", json_boolean(move->redirect_ended));
}

void evidence_load(struct nva_move *move, const json_t *evidence) {
        json_t *all = json_object_get(evidence, "counters");

        for (int side = 0; side < GW_MOVE_SIDES; side++)
                move->counters[side] = json_incref(json_object_get(all, side_words[side]));
        move->redirect_ended = move->redirected_known = json_is_true(json_object_get(evidence, "redirect_ended"));
        move->redirected = (uint64_t)json_integer_value(json_object_get(evidence, "redirected"));
}

void evidence_drop(struct nva_move *move) {
        for (int side = 0; side < GW_MOVE_SIDES; side++) {
                json_decref(move->counters[side]);
                json_decref(move->before[side]);
        }
}
