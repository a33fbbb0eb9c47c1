/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls of a move to its agents: each order of the state machine is one call,
 * its answer one event. A call holds the move's id, not the move: what is answered
 * late finds it again, or nothing. What got no answer, or one that says "ask
 * again", may have been carried out; the state machine repeats it.
 */
#include "nva/mover.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "nva/evidence.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/peers.h"

/* A source that cannot reach its edge gives the cut up, and goes on, well before we give up waiting for it. */
enum { CUT_SHARE = 4 };

struct order {
        struct nva *nva;
        struct gw_name move;
        enum gw_move_order order;
        uint32_t serial;
};

/* What the agent cannot say yet is asked again, like what got no answer. */
static enum gw_order_outcome outcome_of(int status, const json_t *body, const struct gw_error *error) {
        if (nva_json_no_answer(status, body) || error->code == GW_E_AGAIN)
                return GW_ORDER_LOST;
        if (status / 100 == 2)
                return GW_ORDER_OK;
        return status == 404 ? GW_ORDER_GONE : GW_ORDER_REFUSED;
}

static void read_address(const struct nva_move *move, const json_t *body, struct gw_move_event *ev) {
        const char *ip = nva_json_text(body, "address");
        json_int_t port = json_integer_value(json_object_get(body, "port"));

        if ((ev->order != GW_ORDER_INCOMING && ev->order != GW_ORDER_RECOVER) || ev->outcome != GW_ORDER_OK)
                return;
        if (gw_ip_parse(ip, &ev->address.ip) || port < 1 || port > 65535) {
                gw_log(GW_WARNING, "an agent prepared without saying where it listens: move=%s nve=%s", move->core.id.s,
                       move->core.to.s);
                ev->outcome = GW_ORDER_REFUSED;
                return;
        }
        ev->address.port = (uint16_t)port;
}

/* The target's edge has subscribed by the time it answers this: its session is in order. */
static void on_edge_ready(int status, json_t *body, void *user) {
        struct order *order = user;
        struct nva_move *move = mover_find(order->nva, order->move.s);

        if (move) {
                move->edge_asked = false;
                move->edge_ready = !nva_json_no_answer(status, body);
                mover_acked(order->nva);
        }
        nva_call_free(order);
}

void mover_ask_edge(struct nva_move *move) {
        struct gw_nve *to = mover_nve(move, GW_MOVE_TARGET);
        struct order *order =
                to && to->nve_session && !move->edge_asked ? nva_call_new(move->nva, sizeof *order) : NULL;

        if (!order)
                return;
        order->nva = move->nva;
        order->move = move->core.id;
        move->edge_asked = true;
        gw_call(to->nve_session, "GET", "/v1/status", NULL, gw_s(LIFE_CALL_S), on_edge_ready, order);
}

static void on_answer(int status, json_t *body, void *user) {
        struct order *order = user;
        struct nva_move *move = mover_find(order->nva, order->move.s);
        struct gw_error error = {0};
        struct gw_move_event ev = {.kind = GW_MOVE_EV_ORDER_DONE, .order = order->order, .serial = order->serial};

        gw_api_error(status, body, &error);
        ev.outcome = outcome_of(status, body, &error);
        ev.text = error.text;
        if (move) {
                gw_log_debug("order done: move=%s order=%s status=%d text=\"%s\"", order->move.s,
                             gw_move_order_word(order->order), status, error.text);
                read_address(move, body, &ev);
                if (ev.outcome == GW_ORDER_OK)
                        ways_learn(move, order->order, body);
                mover_feed(move, &ev);
        }
        nva_call_free(order);
}

/* A stopped VM is loaded without its ports: its guest does not run, and the network does not know of it. */
static json_t *definition_for(const struct nva_move *move) {
        json_t *definition = nva_json_definition(mover_vm(move));

        if (move->core.as == GW_MOVE_AS_STOPPED)
                json_object_set_new(definition, "ports", json_array());
        return definition;
}

static json_t *incoming_body(const struct nva_move *move) {
        const struct gw_nve *from = mover_nve(move, GW_MOVE_SOURCE);
        char text[GW_IP_TEXT] = "";

        if (from)
                gw_ip_text(from->locator, text);
        return json_pack("{s:o, s:s, s:I, s:s}", "definition", definition_for(move), "move", move->core.id.s, "epoch",
                         (json_int_t)move->core.epoch_to, "from", text);
}

static json_t *migrate_body(const struct nva_move *move) {
        const struct gw_nve *to = mover_nve(move, GW_MOVE_TARGET);
        const struct gw_move *m = &move->core;
        char address[GW_IP_TEXT], locator[GW_IP_TEXT] = "";

        if (to)
                gw_ip_text(to->locator, locator);
        return json_pack("{s:s, s:s, s:I, s:s, s:I, s:I, s:I, s:I, s:I}", "move", m->id.s, "address",
                         gw_ip_text(m->address.ip, address), "port", (json_int_t)m->address.port, "to", locator,
                         "epoch", (json_int_t)m->epoch_to, "epoch_back", (json_int_t)m->epoch_back, "bandwidth_mib_s",
                         (json_int_t)m->bandwidth_mib_s, "downtime_ms", (json_int_t)m->downtime_ms, "cut_deadline_ms",
                         (json_int_t)move->nva->config.deadline_cut_ms / CUT_SHARE);
}

static json_t *reconnect_body(const struct gw_move *m) {
        char address[GW_IP_TEXT];

        return json_pack("{s:s, s:s, s:I}", "move", m->id.s, "address", gw_ip_text(m->address.ip, address), "port",
                         (json_int_t)m->address.port);
}

static json_t *order_body(const struct nva_move *move, enum gw_move_order order) {
        const struct gw_move *m = &move->core;

        switch (order) {
        case GW_ORDER_INCOMING:
                return incoming_body(move);
        case GW_ORDER_MIGRATE:
                return migrate_body(move);
        case GW_ORDER_LOAD:
                return json_pack("{s:o, s:I, s:b}", "definition", definition_for(move), "epoch", (json_int_t)m->epoch,
                                 "held", 1);
        case GW_ORDER_ABANDON:
                return json_pack("{s:s, s:b}", "move", m->id.s, "fence", m->order[order].fence);
        case GW_ORDER_RESUME:
                return json_pack("{s:s, s:I}", "move", m->id.s, "epoch", (json_int_t)m->epoch_back);
        case GW_ORDER_RECONNECT:
                return reconnect_body(m);
        default:
                return json_pack("{s:s}", "move", m->id.s);
        }
}

void mover_order(const struct gw_move *core, enum gw_move_order order, uint32_t serial, void *user) {
        struct nva_move *move = mover_of(core);
        struct gw_nve *nve = mover_nve(move, gw_move_order_side(order));
        struct order *call;
        json_t *body;
        char path[160];

        /* Without a session the order stays open until the agent is lost or back: it is given again then. */
        if (!nve || !nve->hv_session)
                return;
        call = nva_call_new(move->nva, sizeof *call);
        if (!call)
                abort();
        *call = (struct order){.nva = user, .move = core->id, .order = order, .serial = serial};
        if (order == GW_ORDER_LOAD)
                snprintf(path, sizeof path, "/v1/vms");
        else
                snprintf(path, sizeof path, "/v1/vms/%s/%s", core->vm.s, gw_move_order_word(order));
        gw_log_debug("order: move=%s order=%s nve=%s", core->id.s, gw_move_order_word(order), nve->id.s);
        if (order == GW_ORDER_INCOMING)
                evidence_before(move);
        body = order_body(move, order);
        ways_tell(move, order, body);
        gw_call(nve->hv_session, "POST", path, body,
                order == GW_ORDER_INCOMING ? gw_ms(((struct nva *)user)->config.deadline_prepare_ms)
                                           : gw_s(LIFE_CALL_S),
                on_answer, call);
}
