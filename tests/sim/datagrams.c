/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What lies between a socket and a core in the simulation of registrations: encoding and
 * decoding, the window of time stamps, heartbeats, and an authority's turn, after which what it has
 * said is durable and leaves, unless it crashes. Modelled on nva/mobility.c and nve/mobility.c;
 * authentication is left out, since nobody forges here.
 */
#include "sim/registrations.h"

#include <stdio.h>
#include <stdlib.h>

#include "wire/upkeep.h"

/* A Mobility Header needs IPv6 addresses: an edge with an IPv4 locator sends from another one (option 38 names it). */
static struct gw_ip address_of(int link) {
        struct gw_ip ip = {{0xfd, 0x88, [15] = (uint8_t)(link + 1)}};

        return ip;
}
static const struct gw_ip authority_address = {{0xfd, 0x88, [14] = 1}};

static void edge_post(struct host *h, const struct gw_writer *w) {
        net_post(h->all->net, net_message(h->index, NET_UP, w->base, w->at), NET_DATAGRAM);
}

static void edge_registration(struct host *h, const struct gw_registration *reg) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (gw_registration_encode(&w, address_of(h->index), authority_address, reg))
                net_die(h->all->net, "a registration of n%d does not encode", h->index);
        edge_post(h, &w);
}

void datagrams_request(struct host *h, const struct gw_registration *request) {
        struct sim *s = h->user;
        int v = guest_index(request->vm.s);

        s->n_requests++;
        if (request->lifetime_units)
                bounds_count(s, &s->places[h->index].requests[v], v, h->index, "a Request");
        edge_registration(h, request);
}

bool datagrams_notice(struct authority *a, struct gw_ip to, const struct gw_registration *request) {
        struct sim *s = a->user;
        int n = hosts_at(&s->hosts, to), v = guest_index(request->vm.s);
        struct asked *asked = &s->places[n].notices[v];
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (asked->epoch != request->epoch)
                *asked = (struct asked){.epoch = request->epoch};
        bounds_count(s, asked, v, n, "a notice");
        if (asked->sent > GW_NOTICE_TRIES)
                net_die(&s->net, "a notice about vm%d went to n%d %u times", v, n, asked->sent);
        s->n_notices++;
        if (gw_registration_encode(&w, authority_address, address_of(n), request))
                net_die(&s->net, "a notice does not encode");
        authority_datagram(a, n, bytes, w.at);
        return true;
}

static void authority_reply(struct sim *s, int n, const struct gw_registration *reply) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (gw_registration_encode(&w, authority_address, address_of(n), reply))
                net_die(&s->net, "an answer does not encode");
        authority_datagram(&s->a, n, bytes, w.at);
}

/* False: the authority crashed before it was durable. */
bool sim_turn_end(struct sim *s) {
        bool crash = fault(s, 1) && fault(s, 30), early = net_chance(&s->net, 50);

        if (!crash || !early)
                authority_commit(&s->a);
        if (crash) {
                authority_post(&s->a, early ? 0 : net_below(&s->net, s->a.n_outbox + 1));
                authority_crash(&s->a);
                s->n_crashes++;
                s->a.back_ns = s->net.now_ns + net_below(&s->net, 4000) * GW_NS_PER_MS;
                sim_sessions_break(s);
                return !early;
        }
        authority_post(&s->a, s->a.n_outbox);
        sim_sessions_break(s);
        bounds_observe(s);
        return true;
}

static void take_request(struct sim *s, int n, const struct gw_registration *request) {
        struct gw_nve *nve = authority_nve(&s->a, n);
        struct gw_registration reply;

        if (!nve || gw_directory_register_within(&s->a.d, nve, request, gw_ms(WINDOW_MS), net_now(&s->net), &reply)) {
                sim_turn_end(s);
                return;
        }
        authority_reply(s, n, &reply);
        s->n_refused += reply.status != 0;
        if (sim_turn_end(s) && !reply.status && request->lifetime_units && s->a.up)
                bounds_accepted(s, n, request);
}

static void take_beat(struct sim *s, int n, const struct gw_upkeep *beat) {
        struct gw_upkeep answer = {.kind = GW_MH_HEARTBEAT,
                                   .flags = GW_MH_HEARTBEAT_RESPONSE,
                                   .sequence = beat->sequence,
                                   .has = GW_UPKEEP_HAS_RESTARTS,
                                   .restarts = (uint32_t)s->a.restarts};
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (gw_upkeep_encode(&w, authority_address, address_of(n), &answer))
                net_die(&s->net, "a heartbeat does not encode");
        authority_datagram(&s->a, n, bytes, w.at);
        sim_turn_end(s);
}

static void authority_takes(struct sim *s, const struct net_message *m) {
        struct gw_ip from = address_of(m->link);
        struct gw_registration reg;
        struct gw_upkeep beat;

        if (!s->a.up)
                return;
        if (m->bytes[2] == GW_MH_HEARTBEAT && !gw_upkeep_decode(m->bytes, m->size, from, authority_address, &beat))
                return take_beat(s, m->link, &beat);
        if (gw_registration_decode(m->bytes, m->size, from, authority_address, &reg))
                net_die(&s->net, "what n%d sent does not decode", m->link);
        if (reg.kind == GW_REG_REQUEST)
                return take_request(s, m->link, &reg);
        bounds_cause(&s->places[m->link].notices[guest_index(reg.vm.s)], false);
        gw_directory_noticed(&s->a.d, s->hosts.host[m->link].locator, &reg, net_now(&s->net));
        sim_turn_end(s);
}

static bool is_timely(struct sim *s, int n, const struct gw_registration *request) {
        uint64_t stamp = gw_registration_stamp_wall(request->timestamp).ns, now = at(s, n).wall.ns;

        return (stamp > now ? stamp - now : now - stamp) <= WINDOW_MS * GW_NS_PER_MS;
}

static void edge_takes(struct sim *s, int n, const struct net_message *m) {
        struct host *h = &s->hosts.host[n];
        struct gw_registration reg, reply;
        struct gw_upkeep beat;

        if (m->bytes[2] == GW_MH_HEARTBEAT &&
            !gw_upkeep_decode(m->bytes, m->size, authority_address, address_of(n), &beat)) {
                if (gw_heartbeat_answer(&s->places[n].heart, beat.sequence, beat.restarts) == GW_HEARTBEAT_RESTARTED) {
                        bounds_cause_all(s, n);
                        gw_edge_register_again(h->edge, at(s, n), NULL);
                }
                return;
        }
        if (gw_registration_decode(m->bytes, m->size, authority_address, address_of(n), &reg))
                net_die(&s->net, "what the authority sent does not decode");
        if (reg.kind == GW_REG_REPLY) {
                bounds_cause(&s->places[n].requests[guest_index(reg.vm.s)], false);
                gw_edge_reply(h->edge, at(s, n), &reg);
                return;
        }
        if (is_timely(s, n, &reg)) {
                gw_edge_notice(h->edge, at(s, n), &reg, &reply);
        } else {
                gw_registration_answer(&reg, GW_MH_TIMESTAMP_MISMATCH, &reply);
                reply.timestamp = gw_registration_stamp(at(s, n).wall);
        }
        edge_registration(h, &reply);
}

void datagrams_deliver(struct sim *s, struct net_message *m) {
        struct gw_frame_header header;
        int n = m->link;

        if (m->how & NET_DATAGRAM && m->way == NET_UP) {
                authority_takes(s, m);
        } else if (m->how & NET_DATAGRAM) {
                edge_takes(s, n, m);
        } else if (m->way == NET_UP) {
                if (m->bytes[5] == GW_FRAME_SUBSCRIBE)
                        for (int v = 0; v < VMS; v++) /* what waits for it goes again */
                                bounds_cause(&s->places[n].notices[v], true);
                authority_frame(&s->a, n, m);
                sim_turn_end(s);
        } else {
                if (m->bytes[5] == GW_FRAME_WELCOME)
                        bounds_cause_all(s, n);
                if (gw_frame_header_decode(m->bytes, m->size, &header) ||
                    gw_edge_frame(edge_at(s, n), at(s, n), header.type, header.id, m->bytes + GW_FRAME_HEADER_SIZE,
                                  m->size - GW_FRAME_HEADER_SIZE))
                        net_die(&s->net, "n%d does not take a frame of type %u", n, m->bytes[5]);
        }
        free(m);
}

void datagrams_beat(struct sim *s, int n) {
        struct host *h = &s->hosts.host[n];
        struct gw_upkeep beat = {.kind = GW_MH_HEARTBEAT};
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        bool lost;

        if (!gw_heartbeat_tick(&s->places[n].heart, at(s, n).mono, &lost))
                return;
        beat.sequence = s->places[n].heart.sequence;
        if (gw_upkeep_encode(&w, address_of(n), authority_address, &beat))
                net_die(&s->net, "a heartbeat does not encode");
        edge_post(h, &w);
}
