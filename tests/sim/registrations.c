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
#include "sim/registrations.h"

#include <stdio.h>
#include <stdlib.h>

static const struct net_weather storm_weather = {.loss = 25, .twice = 15, .late = 20, .delay_ms = 30, .late_ms = 900};
static const struct net_weather calm_weather = {.delay_ms = 30, .late_ms = 30};

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
void sim_sessions_break(struct sim *s) {
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
        bounds_cause_all(s, n);
        host_start(h, LIFETIME_S);
        s->places[n].heart = (struct gw_heartbeat){.interval_ms = BEAT_MS};
        for (unsigned i = 0; i < kept.n; i++)
                if (gw_edge_attach(h->edge, at(s, n), &kept.ports[i], &error))
                        net_die(&s->net, "n%d does not take %s again: %s", n, kept.ports[i].vm.s, error.text);
        for (int v = 0; v < VMS; v++)
                if (host)
                        h->fdb[v].there = false;
                else if (h->fdb[v].there)
                        gw_edge_adopt_fdb(h->edge, at(s, n), HOST_VNI_FIRST + (uint32_t)guest_of(s, v)->vn,
                                          s->hosts.macs[v], &h->fdb[v].entry);
}

static bool is_quiet(struct sim *s, int n) { /* no move from or to it */
        for (int v = 0; v < VMS; v++)
                if (guest_of(s, v)->phase != GUEST_REST && (guest_of(s, v)->from == n || guest_of(s, v)->to == n))
                        return false;
        return true;
}

static void host_fails(struct sim *s, int n) {
        if (!is_quiet(s, n))
                return;
        for (int v = 0; v < VMS; v++) {
                s->places[n].stray[v] = false;
                if (guest_of(s, v)->runs_at == n)
                        guest_of(s, v)->runs_at = NOWHERE;
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
        bounds_cause(&s->places[n].requests[v], true);
        guest_attach(&s->guests, v, n, role, epoch, peer);
}

static void start(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        int n = (int)net_below(&s->net, EDGES), old = g->runs_at;
        uint64_t epoch;

        if (!s->a.up || !authority_nve(&s->a, n) || guest_is_at(&s->guests, v, n, NULL) || s->net.links[n].cut ||
            gw_directory_place(&s->a.d, vm_of(s, v), authority_nve(&s->a, n), net_now(&s->net), &epoch, NULL))
                return;
        if (!sim_turn_end(s) || !s->a.up)
                return;
        net_trace(&s->net, "vm%d starts at n%d, epoch %llu", v, n, (unsigned long long)epoch);
        if (old != NOWHERE) {
                s->places[old].stray[v] = true;
                s->facts[v].forced_ns = s->net.now_ns;
                s->n_forced++;
        }
        g->epoch = epoch;
        g->runs_at = n;
        attach(s, v, n, GW_EDGE_SERVING, epoch, NOWHERE);
}

static void stop(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);

        if (!s->a.up || s->net.links[g->runs_at].cut)
                return;
        guest_delete(&s->guests, v, g->runs_at, false, "stop");
        g->runs_at = NOWHERE;
        gw_directory_release(&s->a.d, vm_of(s, v), net_now(&s->net));
        sim_turn_end(s);
        net_trace(&s->net, "vm%d stops", v);
}

static void move_begin(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        int to = (int)net_below(&s->net, EDGES);

        if (!s->a.up || !authority_nve(&s->a, to) || guest_is_at(&s->guests, v, to, NULL) || s->net.links[to].cut ||
            s->net.links[g->runs_at].cut || vm_of(s, v)->binding.epoch != g->epoch ||
            gw_directory_reserve(&s->a.d, vm_of(s, v), authority_nve(&s->a, to), net_now(&s->net), &g->move_epoch,
                                 &g->back_epoch, NULL))
                return;
        if (!sim_turn_end(s) || !s->a.up)
                return; /* what was reserved is given back when it is seen, in settle() */
        g->from = g->runs_at;
        g->to = to;
        g->phase = GUEST_ARRIVING;
        s->n_moves++;
        net_trace(&s->net, "vm%d moves n%d -> n%d, epoch %llu", v, g->from, to, (unsigned long long)g->move_epoch);
        attach(s, v, to, GW_EDGE_ARRIVING, g->move_epoch, g->from);
}

static void resume(struct sim *s, int v) {
        const struct guest *g = guest_of(s, v);

        bounds_cause(&s->places[g->from].requests[v], true);
        bounds_cause(&s->places[g->to].requests[v], true);
        guest_resume(&s->guests, v, net_chance(&s->net, 20));
}

/* Half of the time nobody but the edge tells the authority that the cut was made. */
static void settle(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        struct gw_vm *known = s->a.up ? vm_of(s, v) : NULL;

        if (!known)
                return;
        if (known->binding.epoch < g->epoch && v % 2) {
                if (g->phase == GUEST_RAN)
                        gw_directory_commit(&s->a.d, known, net_now(&s->net));
                else
                        gw_directory_take_back(&s->a.d, known, net_now(&s->net));
                sim_turn_end(s);
                return;
        }
        if (known->binding.epoch < g->epoch || known->binding.state != GW_BINDING_SERVING)
                return;
        gw_directory_unreserve(&s->a.d, known);
        if (!sim_turn_end(s))
                return;
        if (g->phase == GUEST_RAN)
                guest_delete(&s->guests, v, g->from, true, "finish");
        g->phase = GUEST_REST;
}

/* A copy that was given up: its hypervisor ends it when the edge has learnt that it is one. */
static void strays_end(struct sim *s, int v) {
        struct gw_name name = guest_name(v);
        enum gw_edge_role role;
        struct gw_error error;

        for (int n = 0; n < EDGES; n++) {
                if (!s->places[n].stray[v])
                        continue;
                if (guest_is_at(&s->guests, v, n, &role) && role == GW_EDGE_SERVING)
                        continue;
                gw_edge_delete(edge_at(s, n), at(s, n), &name, true, &error);
                s->places[n].stray[v] = false;
        }
}

static void manage(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);

        strays_end(s, v);
        switch (g->phase) {
        case GUEST_REST:
                if (g->runs_at == NOWHERE || (s->net.links[g->runs_at].cut && fault(s, 20)))
                        start(s, v);
                else if (s->a.up && gw_vm_move(vm_of(s, v)) && !s->net.links[g->runs_at].cut) {
                        gw_directory_unreserve(&s->a.d, vm_of(s, v)); /* reserved, and then it crashed */
                        sim_turn_end(s);
                } else if (fault(s, 10))
                        stop(s, v);
                else if (!s->calm)
                        move_begin(s, v);
                break;
        case GUEST_ARRIVING:
                guest_cut(&s->guests, v);
                break;
        case GUEST_CUT:
                resume(s, v);
                break;
        default:
                settle(s, v);
        }
}

/* --- time --- */

static void hosts_tick(struct sim *s) {
        for (int n = 0; n < EDGES; n++) {
                struct host *h = &s->hosts.host[n];

                if (s->net.links[n].cut && s->net.now_ns >= s->places[n].heals_ns)
                        s->net.links[n].cut = false;
                if (!s->net.links[n].session && !s->net.links[n].cut && s->a.up && s->net.now_ns >= h->returns_ns)
                        session_open(s, n);
                datagrams_beat(s, n);
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
                                bounds_cause(&s->places[n].notices[v], true);
                bounds_observe(s);
        }
        if (s->a.up && gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_directory_deadline(&s->a.d))) {
                gw_directory_tick(&s->a.d, net_now(&s->net));
                sim_turn_end(s);
        }
}

static void pass(struct sim *s, uint64_t ms) {
        uint64_t end = s->net.now_ns + ms * GW_NS_PER_MS;
        struct net_message *m;

        while (s->net.now_ns < end) {
                uint64_t next = s->net.now_ns + TICK_MS * GW_NS_PER_MS;

                while ((m = net_next(&s->net, next < end ? next : end))) {
                        datagrams_deliver(s, m);
                        bounds_check(s);
                }
                authority_tick(s);
                hosts_tick(s);
                bounds_check(s);
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
                bounds_check(s);
        }
}

/* --- when all is well again --- */

static const char *unsettled(struct sim *s, int v) {
        const struct guest *g = guest_of(s, v);
        const struct gw_binding *b = s->a.up ? &vm_of(s, v)->binding : NULL;
        const struct gw_history *h;
        enum gw_edge_role role;

        if (!b || g->runs_at == NOWHERE || g->phase != GUEST_REST)
                return "management is not done";
        if (b->state != GW_BINDING_SERVING || b->epoch != g->epoch || authority_link(gw_binding_nve(b)) != g->runs_at)
                return "the directory has another place, or none";
        for (int n = 0; n < EDGES; n++)
                if (guest_is_at(&s->guests, v, n, &role) && (role == GW_EDGE_SERVING) != (n == g->runs_at))
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
        char four[32], six[32];
        const char *subnets[] = {four, six};

        s->guests = (struct guests){.net = &s->net, .a = &s->a};
        for (int k = 0; k < VNS; k++) {
                snprintf(four, sizeof four, "10.%d.0.0/16", k);
                snprintf(six, sizeof six, "fd00:%d::/64", k);
                guests_make_vn(&s->guests, k, models[k], subnets, 2);
        }
        guests_init(&s->guests, &s->a, &s->hosts, VMS, VNS);
        memset(s->facts, 0, sizeof s->facts);
}

static void run(struct sim *s) {
        s->calm = true;
        s->net.weather = calm_weather;
        authority_init(&s->a, &s->net, LEASE_S);
        s->a.notice = datagrams_notice;
        s->a.user = s;
        hosts_init(&s->hosts, &s->net, EDGES);
        s->hosts.request = datagrams_request;
        memset(s->places, 0, sizeof s->places);
        make(s);
        sim_turn_end(s);
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
