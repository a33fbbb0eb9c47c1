/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations as datagrams, between real edges and the real directory, under
 * everything that a network and its hosts do to them: loss, copies, other orders,
 * delays beyond the window of time stamps, clocks that are wrong and jump, edges and
 * an authority that start anew, hosts that lose power, and hosts that are cut off
 * while their VMs are started elsewhere.
 *
 * Real: directory, store (in memory), edges, codecs of frames and of Mobility
 * Headers, heartbeats. Modelled: what nva/mobility.c and nve/mobility.c do between
 * a socket and a core (the window; authentication is left out: nobody forges here),
 * sessions (for what is not a registration), hypervisors.
 *
 * Held after every single event:
 * - an epoch is accepted from one place only, with stamps that grow, and never one
 *   that is not the VM's newest;
 * - of the edges that serve a VM and hold an acknowledgement that has not run out,
 *   there are two only after a host was given up while it was cut off, and then
 *   the older acknowledgement was asked for before that;
 * - an edge that has had its session for STALE_MS holds no place of a VM that
 *   has been another one for STALE_MS;
 * - a Request that nothing answers, and nothing else gives cause to, comes again
 *   after 1 s at the earliest, then after twice that each time up to 32 s; no VM
 *   causes more than RATE_MAX in RATE_S; a notice is sent GW_NOTICE_TRIES times.
 * And within HEAL_MS after the storm: each VM is registered where it runs, with
 * the epoch it runs with, no other edge serves it, and no notice waits for an answer.
 * docs/registrations.md states these bounds.
 *
 * Many short runs, each with a seed of its own, one above the last's. GW_SEED
 * repeats from there, GW_LONG=1 makes more of them, GW_TRACE=1 prints them.
 */
#include <stdio.h>
#include <stdlib.h>

#include "edge/heartbeat.h"
#include "sim/authority.h"
#include "sim/host.h"
#include "wire/upkeep.h"

enum {
        EDGES = 5,
        VNS = 3, /* one of each model */
        VMS = 9,
        NOWHERE = HOST_NOWHERE,
        RUNS = 4,
        RUNS_LONG = 400,
        STORMS = 2,
        STORM_STEPS = 250,
        LEASE_S = 40,
        LIFETIME_S = 20,
        WINDOW_MS = 300,
        BEAT_MS = 2000,
        STALE_MS = GW_EDGE_SWEEP_MS + 4 * 1000, /* a greeting and a question, each way late */
        HEAL_MS = 45000,
        TICK_MS = 20,
        RATE_MAX = 12,
        RATE_S = 10,
        EPOCHS = 256,
};

static const struct net_weather storm_weather = {.loss = 25, .twice = 15, .late = 20, .delay_ms = 30, .late_ms = 900};
static const struct net_weather calm_weather = {.delay_ms = 30, .late_ms = 30};

enum phase { REST, ARRIVING, CUT, RAN, TOOK_BACK };

struct vm {
        int vn, runs_at, from, to;
        enum phase phase;
        uint64_t epoch, move_epoch, back_epoch;
        uint64_t forced_ns; /* started elsewhere while its host was cut off */
        /* as the directory has it: */
        bool reachable;
        struct gw_ip locator;
        uint64_t changed_ns;
        int owner[EPOCHS]; /* link + 1 that an epoch was accepted from */
        uint64_t stamp[EPOCHS];
};

struct asked { /* a VM's Requests, or the notices about it, at one edge */
        uint64_t last_ns, window_ns, epoch;
        unsigned again, in_window, sent;
};

struct place { /* what the simulation keeps of a host */
        struct asked requests[VMS], notices[VMS];
        struct gw_heartbeat heart;
        uint64_t session_ns, heals_ns;
        bool stray[VMS]; /* a copy that was given up still runs there */
};

struct sim {
        struct net net;
        struct authority a;
        struct hosts hosts;
        struct place places[EDGES];
        struct vm vms[VMS];
        bool calm;
        uint64_t n_runs, n_moves, n_forced, n_restarts, n_crashes, n_requests, n_accepted, n_refused, n_notices;
        uint64_t worst_stale_ns, worst_heal_ns;
};

static struct gw_name vm_name(int v) {
        struct gw_name name;

        snprintf(name.s, sizeof name.s, "vm%d@default", v);
        return name;
}
static int vm_index(const char *id) {
        return atoi(id + 2);
}
static struct gw_vm *vm_of(struct sim *s, int v) {
        return gw_directory_vm(&s->a.d, vm_name(v).s);
}
static struct gw_edge *edge_at(struct sim *s, int n) {
        return s->hosts.host[n].edge;
}
static struct gw_edge_now at(struct sim *s, int n) {
        return host_now(&s->hosts.host[n]);
}
static bool fault(struct sim *s, unsigned percent) {
        return !s->calm && net_chance(&s->net, percent);
}

/* A Mobility Header needs IPv6 addresses: an edge with an IPv4 locator sends from another one (option 38 names it). */
static struct gw_ip address_of(int link) {
        struct gw_ip ip = {{0xfd, 0x88, [15] = (uint8_t)(link + 1)}};

        return ip;
}
static const struct gw_ip authority_address = {{0xfd, 0x88, [14] = 1}};

/* --- bounds on what is sent --- */

static void count_one(struct sim *s, struct asked *a, int v, int n, const char *what) {
        uint64_t now = s->net.now_ns, least_ms = UINT64_C(1000) << (a->again < 5 ? a->again : 5);

        least_ms = least_ms < 32000 ? least_ms : 32000;
        if (a->sent && now - a->last_ns < least_ms * GW_NS_PER_MS)
                net_die(&s->net, "%s about vm%d, n%d: again after %.3f s, %u times unanswered", what, v, n,
                        (double)(now - a->last_ns) / 1e9, a->again + 1);
        a->again = a->sent ? a->again + 1 : 0;
        a->sent++;
        a->last_ns = now;
        if (now - a->window_ns > RATE_S * GW_NS_PER_S) {
                a->window_ns = now;
                a->in_window = 0;
        }
        if (++a->in_window > RATE_MAX)
                net_die(&s->net, "%s about vm%d, n%d: %u in less than %u s", what, v, n, a->in_window, RATE_S);
}

/* Something happened that may well cause the next one. A call counts for the rate, too, an answer does not. */
static void cause(struct asked *a, bool call) {
        a->sent = a->again = 0;
        if (call)
                a->window_ns = 0;
}

static void cause_all(struct sim *s, int n) {
        for (int v = 0; v < VMS; v++)
                cause(&s->places[n].requests[v], true);
}

/* --- datagrams --- */

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

static void edge_request(struct host *h, const struct gw_registration *request) {
        struct sim *s = h->user;
        int v = vm_index(request->vm.s);

        s->n_requests++;
        if (request->lifetime_units)
                count_one(s, &s->places[h->index].requests[v], v, h->index, "a Request");
        edge_registration(h, request);
}

static bool authority_notice(struct authority *a, struct gw_ip to, const struct gw_registration *request) {
        struct sim *s = a->user;
        int n = hosts_at(&s->hosts, to), v = vm_index(request->vm.s);
        struct asked *asked = &s->places[n].notices[v];
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (asked->epoch != request->epoch)
                *asked = (struct asked){.epoch = request->epoch};
        count_one(s, asked, v, n, "a notice");
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

/* Durable by now, and not before: what a crash takes back was never accepted. */
static void check_accepted(struct sim *s, int n, const struct gw_registration *r) {
        int v = vm_index(r->vm.s);
        struct vm *vm = &s->vms[v];
        unsigned e = (unsigned)(r->epoch % EPOCHS);
        const struct gw_binding *b = &vm_of(s, v)->binding;

        s->n_accepted++;
        if (r->epoch != b->epoch)
                net_die(&s->net, "vm%d: epoch %llu accepted from n%d, the newest is %llu", v,
                        (unsigned long long)r->epoch, n, (unsigned long long)b->epoch);
        if (vm->owner[e] && vm->owner[e] != n + 1)
                net_die(&s->net, "vm%d: epoch %llu accepted from n%d and from n%d", v, (unsigned long long)r->epoch,
                        vm->owner[e] - 1, n);
        if (vm->owner[e] && r->timestamp <= vm->stamp[e])
                net_die(&s->net, "vm%d: a registration of n%d with an old stamp was accepted", v, n);
        vm->owner[e] = n + 1;
        vm->stamp[e] = r->timestamp;
}

static void sessions_break(struct sim *s);

static void observe(struct sim *s) {
        for (int v = 0; v < VMS; v++) {
                struct vm *vm = &s->vms[v];
                struct gw_mapping m;

                gw_directory_mapping(gw_vm_ports(vm_of(s, v)), &m);
                if (vm->reachable == (m.state == GW_MAPPING_SERVING) && gw_ip_eq(vm->locator, m.locator))
                        continue;
                vm->reachable = m.state == GW_MAPPING_SERVING;
                vm->locator = m.locator;
                vm->changed_ns = s->net.now_ns;
        }
}

/* False: the authority crashed before it was durable. */
static bool turn_end(struct sim *s) {
        bool crash = fault(s, 1) && fault(s, 30), early = net_chance(&s->net, 50);

        if (!crash || !early)
                authority_commit(&s->a);
        if (crash) {
                authority_post(&s->a, early ? 0 : net_below(&s->net, s->a.n_outbox + 1));
                authority_crash(&s->a);
                s->n_crashes++;
                s->a.back_ns = s->net.now_ns + net_below(&s->net, 4000) * GW_NS_PER_MS;
                sessions_break(s);
                return !early;
        }
        authority_post(&s->a, s->a.n_outbox);
        sessions_break(s);
        observe(s);
        return true;
}

static void take_request(struct sim *s, int n, const struct gw_registration *request) {
        struct gw_nve *nve = authority_nve(&s->a, n);
        struct gw_registration reply;

        if (!nve || gw_directory_register_within(&s->a.d, nve, request, gw_ms(WINDOW_MS), net_now(&s->net), &reply)) {
                turn_end(s);
                return;
        }
        authority_reply(s, n, &reply);
        s->n_refused += reply.status != 0;
        if (turn_end(s) && !reply.status && request->lifetime_units && s->a.up)
                check_accepted(s, n, request);
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
        turn_end(s);
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
        cause(&s->places[m->link].notices[vm_index(reg.vm.s)], false);
        gw_directory_noticed(&s->a.d, s->hosts.host[m->link].locator, &reg, net_now(&s->net));
        turn_end(s);
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
                        cause_all(s, n);
                        gw_edge_register_again(h->edge, at(s, n), NULL);
                }
                return;
        }
        if (gw_registration_decode(m->bytes, m->size, authority_address, address_of(n), &reg))
                net_die(&s->net, "what the authority sent does not decode");
        if (reg.kind == GW_REG_REPLY) {
                cause(&s->places[n].requests[vm_index(reg.vm.s)], false);
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

static void deliver(struct sim *s, struct net_message *m) {
        struct gw_frame_header header;
        int n = m->link;

        if (m->how & NET_DATAGRAM && m->way == NET_UP) {
                authority_takes(s, m);
        } else if (m->how & NET_DATAGRAM) {
                edge_takes(s, n, m);
        } else if (m->way == NET_UP) {
                if (m->bytes[5] == GW_FRAME_SUBSCRIBE)
                        for (int v = 0; v < VMS; v++) /* what waits for it goes again */
                                cause(&s->places[n].notices[v], true);
                authority_frame(&s->a, n, m);
                turn_end(s);
        } else {
                if (m->bytes[5] == GW_FRAME_WELCOME)
                        cause_all(s, n);
                if (gw_frame_header_decode(m->bytes, m->size, &header) ||
                    gw_edge_frame(edge_at(s, n), at(s, n), header.type, header.id, m->bytes + GW_FRAME_HEADER_SIZE,
                                  m->size - GW_FRAME_HEADER_SIZE))
                        net_die(&s->net, "n%d does not take a frame of type %u", n, m->bytes[5]);
        }
        free(m);
}

/* --- sessions, crashes --- */

static void session_break(struct sim *s, int n) {
        struct host *h = &s->hosts.host[n];

        if (!s->net.links[n].session)
                return;
        net_close(&s->net, n);
        gw_edge_nva_down(h->edge, at(s, n));
        authority_bye(&s->a, n);
        h->returns_ns = s->net.now_ns + net_below(&s->net, 3000) * GW_NS_PER_MS;
}

/* Those that the directory wants ended; all, while it is away. */
static void sessions_break(struct sim *s) {
        for (int n = 0; n < EDGES; n++)
                if (!s->a.up || s->a.drops[n]) {
                        s->a.drops[n] = false;
                        session_break(s, n);
                }
}

static void session_open(struct sim *s, int n) {
        s->places[n].session_ns = s->net.now_ns;
        net_open(&s->net, n);
        gw_edge_nva_up(edge_at(s, n), at(s, n));
}

struct kept {
        unsigned n;
        struct gw_edge_attach ports[VMS];
};

static void keep_port(const struct gw_edge_port_view *view, void *user) {
        struct kept *kept = user;
        struct gw_edge_attach *port = &kept->ports[kept->n++];

        *port = *view->port;
        if (!view->attached)
                port->ifindex = 0;
}

/* The daemon starts anew; its tables and files are still there. Or the host does, and nothing is. */
static void edge_restart(struct sim *s, int n, bool host) {
        struct host *h = &s->hosts.host[n];
        struct kept kept = {0};
        struct gw_error error;

        net_trace(&s->net, "n%d starts anew%s", n, host ? ", with its host" : "");
        s->n_restarts++;
        session_break(s, n);
        if (!host)
                gw_edge_each_port(h->edge, keep_port, &kept);
        gw_edge_free(h->edge);
        cause_all(s, n);
        host_start(h, LIFETIME_S);
        s->places[n].heart = (struct gw_heartbeat){.interval_ms = BEAT_MS};
        for (unsigned i = 0; i < kept.n; i++)
                if (gw_edge_attach(h->edge, at(s, n), &kept.ports[i], &error))
                        net_die(&s->net, "n%d does not take %s again: %s", n, kept.ports[i].vm.s, error.text);
        for (int v = 0; v < VMS; v++)
                if (host)
                        h->fdb[v].there = false;
                else if (h->fdb[v].there)
                        gw_edge_adopt_fdb(h->edge, at(s, n), HOST_VNI_FIRST + (uint32_t)s->vms[v].vn, s->hosts.macs[v],
                                          &h->fdb[v].entry);
}

static bool is_quiet(const struct sim *s, int n) { /* no move from or to it */
        for (int v = 0; v < VMS; v++)
                if (s->vms[v].phase != REST && (s->vms[v].from == n || s->vms[v].to == n))
                        return false;
        return true;
}

static void host_fails(struct sim *s, int n) {
        if (!is_quiet(s, n))
                return;
        for (int v = 0; v < VMS; v++) {
                s->places[n].stray[v] = false;
                if (s->vms[v].runs_at == n)
                        s->vms[v].runs_at = NOWHERE;
        }
        edge_restart(s, n, true);
}

static void cut_off(struct sim *s, int n) {
        net_trace(&s->net, "n%d is cut off", n);
        s->net.links[n].cut = true;
        session_break(s, n);
        s->places[n].heals_ns = s->net.now_ns + (1000 + net_below(&s->net, 30000)) * GW_NS_PER_MS;
}

/* --- management --- */

static void attach(struct sim *s, int v, int n, uint8_t role, uint64_t epoch, int peer) {
        const struct gw_port *known = gw_vm_ports(vm_of(s, v));
        struct gw_edge_attach port = {.id = gw_port_id(known),
                                      .vm = vm_name(v),
                                      .vni = HOST_VNI_FIRST + (uint32_t)s->vms[v].vn,
                                      .ifindex = (uint32_t)v + 1,
                                      .mtu = 1400,
                                      .mac = known->mac,
                                      .n_ips = known->n_ips,
                                      .role = role,
                                      .queues = true,
                                      .epoch = epoch};
        struct gw_error error = {0};

        for (unsigned i = 0; i < known->n_ips; i++)
                port.ips[i] = gw_port_ip(known, i);
        if (peer != NOWHERE)
                port.peer = s->hosts.host[peer].locator;
        cause(&s->places[n].requests[v], true);
        if (gw_edge_attach(edge_at(s, n), at(s, n), &port, &error))
                net_die(&s->net, "vm%d does not attach to n%d: %s", v, n, error.text);
}

static bool has_vm(struct sim *s, int n, int v) {
        struct gw_name name = vm_name(v);
        enum gw_edge_role role;
        uint64_t epoch;

        return gw_edge_vm_role(edge_at(s, n), &name, &role, &epoch);
}

static void start(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        int n = (int)net_below(&s->net, EDGES), old = vm->runs_at;
        uint64_t epoch;

        if (!s->a.up || !authority_nve(&s->a, n) || has_vm(s, n, v) || s->net.links[n].cut ||
            gw_directory_place(&s->a.d, vm_of(s, v), authority_nve(&s->a, n), net_now(&s->net), &epoch, NULL))
                return;
        if (!turn_end(s) || !s->a.up)
                return;
        net_trace(&s->net, "vm%d starts at n%d, epoch %llu", v, n, (unsigned long long)epoch);
        if (old != NOWHERE) {
                s->places[old].stray[v] = true;
                vm->forced_ns = s->net.now_ns;
                s->n_forced++;
        }
        vm->epoch = epoch;
        vm->runs_at = n;
        attach(s, v, n, GW_EDGE_SERVING, epoch, NOWHERE);
}

static void must(struct sim *s, int r, const char *what, int v, const struct gw_error *error) {
        if (r)
                net_die(&s->net, "%s of vm%d: %s", what, v, error->text);
}

static void stop(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error;

        if (!s->a.up || s->net.links[vm->runs_at].cut)
                return;
        must(s, gw_edge_delete(edge_at(s, vm->runs_at), at(s, vm->runs_at), &name, false, &error), "stop", v, &error);
        vm->runs_at = NOWHERE;
        gw_directory_release(&s->a.d, vm_of(s, v), net_now(&s->net));
        turn_end(s);
        net_trace(&s->net, "vm%d stops", v);
}

static void move_begin(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        int to = (int)net_below(&s->net, EDGES);

        if (!s->a.up || !authority_nve(&s->a, to) || has_vm(s, to, v) || s->net.links[to].cut ||
            s->net.links[vm->runs_at].cut || vm_of(s, v)->binding.epoch != vm->epoch ||
            gw_directory_reserve(&s->a.d, vm_of(s, v), authority_nve(&s->a, to), net_now(&s->net), &vm->move_epoch,
                                 &vm->back_epoch, NULL))
                return;
        if (!turn_end(s) || !s->a.up)
                return; /* what was reserved is given back when it is seen, in settle() */
        vm->from = vm->runs_at;
        vm->to = to;
        vm->phase = ARRIVING;
        s->n_moves++;
        net_trace(&s->net, "vm%d moves n%d -> n%d, epoch %llu", v, vm->from, to, (unsigned long long)vm->move_epoch);
        attach(s, v, to, GW_EDGE_ARRIVING, vm->move_epoch, vm->from);
}

static void cut(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};

        must(s,
             gw_edge_cut(edge_at(s, vm->from), at(s, vm->from), &name, s->hosts.host[vm->to].locator, vm->move_epoch,
                         &error),
             "cut", v, &error);
        vm->runs_at = NOWHERE;
        vm->phase = CUT;
}

static void resume(struct sim *s, int v, bool back) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};
        struct gw_edge *from = edge_at(s, vm->from), *to = edge_at(s, vm->to);

        cause(&s->places[vm->from].requests[v], true);
        cause(&s->places[vm->to].requests[v], true);
        if (back) {
                must(s, gw_edge_delete(to, at(s, vm->to), &name, false, &error), "abandon", v, &error);
                must(s, gw_edge_uncut(from, at(s, vm->from), &name, vm->back_epoch, &error), "uncut", v, &error);
        } else {
                must(s, gw_edge_activate(to, at(s, vm->to), &name, vm->move_epoch, &error), "activate", v, &error);
        }
        vm->runs_at = back ? vm->from : vm->to;
        vm->epoch = back ? vm->back_epoch : vm->move_epoch;
        vm->phase = back ? TOOK_BACK : RAN;
        net_trace(&s->net, "vm%d runs at n%d", v, vm->runs_at);
}

/* Half of the time nobody but the edge tells the authority that the cut was made. */
static void settle(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_vm *known = s->a.up ? vm_of(s, v) : NULL;
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};

        if (!known)
                return;
        if (known->binding.epoch < vm->epoch && v % 2) {
                if (vm->phase == RAN)
                        gw_directory_commit(&s->a.d, known, net_now(&s->net));
                else
                        gw_directory_take_back(&s->a.d, known, net_now(&s->net));
                turn_end(s);
                return;
        }
        if (known->binding.epoch < vm->epoch || known->binding.state != GW_BINDING_SERVING)
                return;
        gw_directory_unreserve(&s->a.d, known);
        if (!turn_end(s))
                return;
        if (vm->phase == RAN)
                must(s, gw_edge_delete(edge_at(s, vm->from), at(s, vm->from), &name, true, &error), "finish", v,
                     &error);
        vm->phase = REST;
}

/* A copy that was given up: its hypervisor ends it when the edge has learnt that it is one. */
static void strays_end(struct sim *s, int v) {
        struct gw_name name = vm_name(v);
        enum gw_edge_role role;
        struct gw_error error;
        uint64_t epoch;

        for (int n = 0; n < EDGES; n++) {
                if (!s->places[n].stray[v])
                        continue;
                if (gw_edge_vm_role(edge_at(s, n), &name, &role, &epoch) && role == GW_EDGE_SERVING)
                        continue;
                gw_edge_delete(edge_at(s, n), at(s, n), &name, true, &error);
                s->places[n].stray[v] = false;
        }
}

static void manage(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];

        strays_end(s, v);
        switch (vm->phase) {
        case REST:
                if (vm->runs_at == NOWHERE || (s->net.links[vm->runs_at].cut && fault(s, 20)))
                        start(s, v);
                else if (s->a.up && gw_vm_move(vm_of(s, v)) && !s->net.links[vm->runs_at].cut) {
                        gw_directory_unreserve(&s->a.d, vm_of(s, v)); /* reserved, and then it crashed */
                        turn_end(s);
                } else if (fault(s, 10))
                        stop(s, v);
                else if (!s->calm)
                        move_begin(s, v);
                break;
        case ARRIVING:
                cut(s, v);
                break;
        case CUT:
                resume(s, v, net_chance(&s->net, 20));
                break;
        default:
                settle(s, v);
        }
}

/* --- what must hold after each event --- */

struct looking {
        struct sim *s;
        int n;
        int serves[VMS]; /* link + 1 of the one found first */
        uint64_t epoch[VMS];
        struct gw_mono expires[VMS];
};

static void look_at(const struct gw_edge_binding_view *view, void *user) {
        struct looking *l = user;
        struct sim *s = l->s;
        int v = vm_index(view->vm->s);
        uint64_t older_expires, now = s->net.now_ns, forced = s->vms[v].forced_ns;

        if (view->role != GW_EDGE_BINDING_SERVING || !view->granted_ms || view->expires.ns <= now)
                return;
        if (!l->serves[v]) {
                l->serves[v] = l->n + 1;
                l->epoch[v] = view->epoch;
                l->expires[v] = view->expires;
                return;
        }
        older_expires = view->epoch < l->epoch[v] ? view->expires.ns : l->expires[v].ns;
        if (!forced || view->epoch == l->epoch[v] || older_expires > forced + LEASE_S * GW_NS_PER_S)
                net_die(&s->net, "vm%d is served by n%d with epoch %llu and by n%d with %llu, both acknowledged", v,
                        l->serves[v] - 1, (unsigned long long)l->epoch[v], l->n, (unsigned long long)view->epoch);
}

static void check_stale(struct sim *s, int n, int v) {
        const struct vm *vm = &s->vms[v];
        const struct host_row *row = &s->hosts.host[n].fdb[v];
        uint64_t since = vm->changed_ns > s->places[n].session_ns ? vm->changed_ns : s->places[n].session_ns, age;
        since = since > s->a.started_ns ? since : s->a.started_ns;
        age = s->net.now_ns - since;
        if (has_vm(s, n, v) || !row->there || row->entry.place != GW_EDGE_TO_REMOTE ||
            (vm->reachable && gw_ip_eq(row->entry.locator, vm->locator)))
                return;
        s->worst_stale_ns = age > s->worst_stale_ns ? age : s->worst_stale_ns;
        if (age > STALE_MS * GW_NS_PER_MS)
                net_die(&s->net, "n%d still holds something else of vm%d than the directory, after %.3f s", n, v,
                        (double)age / 1e9);
}

static void check(struct sim *s) {
        struct looking looking = {.s = s};

        for (looking.n = 0; looking.n < EDGES; looking.n++)
                gw_edge_each_binding(edge_at(s, looking.n), look_at, &looking);
        for (int n = 0; n < EDGES && s->a.up; n++)
                for (int v = 0; v < VMS && s->a.hello[n]; v++)
                        check_stale(s, n, v);
}

/* --- time --- */

static void beat(struct sim *s, int n) {
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

static void hosts_tick(struct sim *s) {
        for (int n = 0; n < EDGES; n++) {
                struct host *h = &s->hosts.host[n];

                if (s->net.links[n].cut && s->net.now_ns >= s->places[n].heals_ns)
                        s->net.links[n].cut = false;
                if (!s->net.links[n].session && !s->net.links[n].cut && s->a.up && s->net.now_ns >= h->returns_ns)
                        session_open(s, n);
                beat(s, n);
                if (gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_edge_deadline(h->edge)))
                        gw_edge_tick(h->edge, at(s, n));
                if (gw_edge_wants_drain(h->edge))
                        gw_edge_punts_drained(h->edge, at(s, n));
        }
}

static void authority_tick(struct sim *s) {
        if (!s->a.up && s->net.now_ns >= s->a.back_ns) {
                authority_start(&s->a);
                for (int n = 0; n < EDGES; n++)
                        for (int v = 0; v < VMS; v++)
                                cause(&s->places[n].notices[v], true);
                observe(s);
        }
        if (s->a.up && gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_directory_deadline(&s->a.d))) {
                gw_directory_tick(&s->a.d, net_now(&s->net));
                turn_end(s);
        }
}

static void pass(struct sim *s, uint64_t ms) {
        uint64_t end = s->net.now_ns + ms * GW_NS_PER_MS;
        struct net_message *m;

        while (s->net.now_ns < end) {
                uint64_t next = s->net.now_ns + TICK_MS * GW_NS_PER_MS;

                while ((m = net_next(&s->net, next < end ? next : end))) {
                        deliver(s, m);
                        check(s);
                }
                authority_tick(s);
                hosts_tick(s);
                check(s);
        }
}

static void clock_jumps(struct sim *s, int n) {
        s->hosts.host[n].skew_ns = (int64_t)(net_below(&s->net, 6000) * GW_NS_PER_MS) - 3 * (int64_t)GW_NS_PER_S;
        net_trace(&s->net, "the clock of n%d is off by %.3f s", n, (double)s->hosts.host[n].skew_ns / 1e9);
}

static void storm(struct sim *s) {
        s->calm = false;
        s->net.weather = storm_weather;
        for (int i = 0; i < STORM_STEPS; i++) {
                int n = (int)net_below(&s->net, EDGES);

                pass(s, 20 + net_below(&s->net, net_chance(&s->net, 5) ? 8000 : 300));
                manage(s, (int)net_below(&s->net, VMS));
                if (net_chance(&s->net, 3))
                        session_break(s, n);
                if (net_chance(&s->net, 2))
                        clock_jumps(s, n);
                if (net_chance(&s->net, 2))
                        edge_restart(s, n, false);
                if (net_chance(&s->net, 1))
                        host_fails(s, n);
                if (net_chance(&s->net, 4) && !s->net.links[n].cut && is_quiet(s, n))
                        cut_off(s, n);
                check(s);
        }
}

/* --- when all is well again --- */

static const char *unsettled(struct sim *s, int v) {
        const struct vm *vm = &s->vms[v];
        const struct gw_binding *b = s->a.up ? &vm_of(s, v)->binding : NULL;
        struct gw_name name = vm_name(v);
        const struct gw_history *h;
        enum gw_edge_role role;
        uint64_t epoch;

        if (!b || vm->runs_at == NOWHERE || vm->phase != REST)
                return "management is not done";
        if (b->state != GW_BINDING_SERVING || b->epoch != vm->epoch || authority_link(gw_binding_nve(b)) != vm->runs_at)
                return "the directory has another place, or none";
        for (int n = 0; n < EDGES; n++)
                if (gw_edge_vm_role(edge_at(s, n), &name, &role, &epoch) &&
                    (role == GW_EDGE_SERVING) != (n == vm->runs_at))
                        return "somebody else serves it, or nobody";
        h = gw_directory_history(&s->a.d, vm_of(s, v));
        if (h)
                gw_list_for_each (link, &h->notices) {
                        const struct gw_notice *notice = gw_list_entry(link, struct gw_notice, in_history);

                        if (gw_notice_is_kept(notice) && notice->state != GW_NOTICE_ANSWERED)
                                return "a notice is not answered";
                        /* 157: it was to arrive there again meanwhile, with a newer epoch, and did not. */
                        if (gw_notice_is_kept(notice) && notice->status && notice->status != GW_MH_TIMESTAMP_LOWER)
                                return "a notice was refused for good";
                }
        return NULL;
}

static void heal(struct sim *s) {
        uint64_t began = s->net.now_ns;
        const char *what = NULL;
        int v = 0;

        s->calm = true;
        s->net.weather = calm_weather;
        for (int n = 0; n < EDGES; n++)
                s->net.links[n].cut = false;
        for (int i = 0; s->net.now_ns < began + HEAL_MS * GW_NS_PER_MS && v < VMS; i++) {
                pass(s, 50);
                manage(s, i % VMS);
                for (v = 0; v < VMS && !(what = unsettled(s, v)); v++)
                        ;
        }
        if (v < VMS)
                net_die(&s->net, "vm%d, %u s after the storm: %s", v, HEAL_MS / 1000, what);
        if (s->net.now_ns - began > s->worst_heal_ns)
                s->worst_heal_ns = s->net.now_ns - began;
        pass(s, STALE_MS);
}

/* --- a run --- */

static void make(struct sim *s) {
        static const uint8_t models[VNS] = {GW_VN_HYBRID, GW_VN_PUSH, GW_VN_PULL};
        struct gw_prefix subnets[2];
        char name[32], id[16];
        struct gw_error error;
        struct gw_vm *made;

        for (int k = 0; k < VNS; k++) {
                struct gw_vn_spec spec = {.id = name,
                                          .vni = HOST_VNI_FIRST + (uint32_t)k,
                                          .model = models[k],
                                          .n_subnets = 2,
                                          .subnets = subnets};

                snprintf(name, sizeof name, "10.%d.0.0/16", k);
                gw_prefix_parse(name, &subnets[0]);
                snprintf(name, sizeof name, "fd00:%d::/64", k);
                gw_prefix_parse(name, &subnets[1]);
                snprintf(name, sizeof name, "vn%d", k);
                if (gw_directory_vn_create(&s->a.d, &spec, NULL, &error))
                        net_die(&s->net, "%s", error.text);
        }
        for (int v = 0; v < VMS; v++) {
                struct gw_port_spec port = {.vn = name};
                struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

                snprintf(name, sizeof name, "vn%d", v % VNS);
                snprintf(id, sizeof id, "vm%d", v);
                if (gw_directory_vm_create(&s->a.d, &spec, &made, &error))
                        net_die(&s->net, "%s", error.text);
                s->vms[v] = (struct vm){.vn = v % VNS, .runs_at = NOWHERE};
                s->hosts.macs[v] = gw_vm_ports(made)->mac;
        }
}

static void run(struct sim *s) {
        s->calm = true;
        s->net.weather = calm_weather;
        authority_init(&s->a, &s->net, LEASE_S);
        s->a.notice = authority_notice;
        s->a.user = s;
        hosts_init(&s->hosts, &s->net, EDGES);
        s->hosts.request = edge_request;
        memset(s->places, 0, sizeof s->places);
        make(s);
        turn_end(s);
        for (int n = 0; n < EDGES; n++) {
                s->hosts.host[n].user = s;
                s->places[n].heart.interval_ms = BEAT_MS;
                host_start(&s->hosts.host[n], LIFETIME_S);
                if (n)
                        clock_jumps(s, n);
        }
        heal(s);
        for (int i = 0; i < STORMS; i++) {
                storm(s);
                heal(s);
        }
        for (int n = 0; n < EDGES; n++)
                gw_edge_free(edge_at(s, n));
        authority_deinit(&s->a);
        s->n_runs++;
}

int main(void) {
        static struct sim s;
        unsigned runs = getenv("GW_LONG") ? RUNS_LONG : RUNS;

        net_init(&s.net, "registrations");
        printf("1..1\n");
        for (unsigned i = 0; i < runs; i++) {
                if (i)
                        net_again(&s.net, s.net.seed + 1);
                run(&s);
        }
        net_deinit(&s.net);
        printf("# %llu runs: %llu moves, %llu hosts given up, %llu edges and %llu authorities started anew; %llu "
               "Requests, %llu accepted, %llu refused, %llu notices; stale for %.1f s at most, healed in %.1f s\n",
               (unsigned long long)s.n_runs, (unsigned long long)s.n_moves, (unsigned long long)s.n_forced,
               (unsigned long long)s.n_restarts, (unsigned long long)s.n_crashes, (unsigned long long)s.n_requests,
               (unsigned long long)s.n_accepted, (unsigned long long)s.n_refused, (unsigned long long)s.n_notices,
               (double)s.worst_stale_ns / 1e9, (double)s.worst_heal_ns / 1e9);
        printf("ok 1 - registrations\n");
        return 0;
}
