/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory and real edges in one process, with the data plane as tables:
 * who gets a packet while VMs move, sessions break and the authority crashes.
 *
 * Real: directory, store (in memory), edges, frame codecs. Modelled: sessions
 * (in order, with delays; a break loses what is on the way), hypervisors, and
 * the walk of a packet through the forwarding tables that edges have written:
 * from a port to where its entry says; there to the port, or once more to where
 * a "moved to" entry says, never a third time; dropped when the sender is no
 * member of the VN.
 *
 * In fair weather (no faults) VMs start, then move about, and at every step a
 * packet goes from each running VM to each other one of its VN: each must reach
 * the place where its VM runs or arrives, or be held by the sender's edge that
 * asks where to. None is dropped, none arrives elsewhere, ever. The same holds
 * with the authority away from cut to activation.
 * After storms everyone must come to agree again: directory, edges and truth.
 *
 * GW_SEED repeats a run, GW_STEPS sets its length, GW_TRACE=1 prints it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/guests.h"

enum {
        EDGES = 6,
        VNS = 4, /* one of each model, and a hybrid one that is too large to be pushed */
        VMS = 16,
        NOWHERE = HOST_NOWHERE,
        ROUND_STEPS = 300,
        SETTLE_MS = 40000,
        REASK_MS = 12000,
        LEASE_S = 40,
        LIFETIME_S = 20,
};

struct sim {
        struct net net;
        struct authority a;
        struct hosts hosts;
        struct guests guests;
        bool fair;
        unsigned long long n_arrived, n_delivered, n_returned, n_waited;
        unsigned long long n_moves, n_packets, n_redirected, n_held, n_crashes, n_away;
};

static struct guest *guest_of(struct sim *s, int v) {
        return &s->guests.guest[v];
}
static struct gw_vm *vm_of(const struct sim *s, int v) {
        return guest_known(&s->guests, v);
}
static struct gw_nve *nve_of(struct sim *s, int n) {
        return authority_nve(&s->a, n);
}

static struct gw_edge_now edge_now(const struct sim *s) { /* all hosts' clocks are right */
        return host_now(&s->hosts.host[0]);
}

/* --- sessions, the authority --- */

static void session_break(struct sim *s, int n) {
        struct host *h = &s->hosts.host[n];

        if (!s->net.links[n].session)
                return;
        net_close(&s->net, n);
        gw_edge_nva_down(h->edge, host_now(h));
        authority_bye(&s->a, n);
        h->returns_ns = s->net.now_ns + net_below(&s->net, 500) * GW_NS_PER_MS;
}

static void session_open(struct sim *s, int n) {
        struct host *h = &s->hosts.host[n];

        net_open(&s->net, n);
        gw_edge_nva_up(h->edge, host_now(h));
}

static void turn_end(struct sim *s) {
        authority_commit(&s->a);
        authority_post(&s->a, s->a.n_outbox);
        for (int n = 0; n < EDGES; n++)
                if (s->a.drops[n]) {
                        s->a.drops[n] = false;
                        if (s->fair)
                                net_die(&s->net, "n%d fell behind in fair weather", n);
                        session_break(s, n);
                }
}

static void authority_away(struct sim *s) {
        s->n_crashes++;
        authority_crash(&s->a);
        for (int n = 0; n < EDGES; n++)
                session_break(s, n);
        s->a.back_ns = s->net.now_ns + net_below(&s->net, 2000) * GW_NS_PER_MS;
}

static void deliver(struct sim *s, struct net_message *m) {
        struct host *h = &s->hosts.host[m->link];
        struct gw_frame_header header;

        if (m->way == NET_UP) {
                authority_frame(&s->a, m->link, m);
                turn_end(s);
        } else if (gw_frame_header_decode(m->bytes, m->size, &header) ||
                   gw_edge_frame(h->edge, host_now(h), header.type, header.id, m->bytes + GW_FRAME_HEADER_SIZE,
                                 m->size - GW_FRAME_HEADER_SIZE)) {
                net_die(&s->net, "n%d does not take a frame of type %u", m->link, m->bytes[5]);
        }
        free(m);
}

/* --- packets --- */

static void delivered(struct host *h, int v, unsigned n) {
        struct sim *s = h->user;

        if (guest_of(s, v)->runs_at != h->index &&
            guest_of(s, v)->phase != GUEST_CUT) /* told before the guest's state is */
                net_die(&s->net, "%u packets for vm%d came out at n%d; it runs at n%d", n, v, h->index,
                        guest_of(s, v)->runs_at);
        s->n_delivered += n;
}

/* Marked, from where it did not arrive: to the VM, or held by the edge that is about to take it back. */
static void sent_back(struct host *h, int v, unsigned n) {
        struct sim *s = h->user;
        struct host *to = &s->hosts.host[hosts_at(&s->hosts, h->fdb[v].entry.locator)];
        const struct gw_edge_fdb *entry = &to->fdb[v].entry;
        uint8_t bytes[60] = {0};
        struct gw_edge_punt punt = {.reason = GW_EDGE_RETURNED,
                                    .frame = {.vni = HOST_VNI_FIRST + (uint32_t)guest_of(s, v)->vn,
                                              .redirected = true,
                                              .sender = h->locator,
                                              .bytes = bytes,
                                              .size = sizeof bytes}};

        s->n_returned += n;
        if (!to->members[guest_of(s, v)->vn][h->index] || !to->fdb[v].there)
                net_die(&s->net, "n%d takes nothing for vm%d from n%d, where it did not arrive", to->index, v,
                        h->index);
        if (entry->place == GW_EDGE_TO_LOCAL) {
                delivered(to, v, n);
                return;
        }
        if (entry->place != GW_EDGE_TO_MOVED || !gw_ip_eq(entry->locator, h->locator))
                net_die(&s->net, "what n%d sends back for vm%d ends at n%d", h->index, v, to->index);
        memcpy(bytes, s->hosts.macs[v].b, 6);
        s->n_waited += n;
        for (; n; n--)
                gw_edge_punted(to->edge, edge_now(s), &punt);
}

static void hold(struct sim *s, int n, int from, int to) {
        uint8_t bytes[60] = {0};
        struct gw_edge_punt punt = {.reason = GW_EDGE_UNKNOWN};

        memcpy(bytes, s->hosts.macs[to].b, 6);
        memcpy(bytes + 6, s->hosts.macs[from].b, 6);
        bytes[12] = 0x08;
        bytes[14] = 0x45;
        punt.frame = (struct gw_edge_frame){.vni = 100 + (uint32_t)guest_of(s, from)->vn,
                                            .ifindex = (uint32_t)from + 1,
                                            .bytes = bytes,
                                            .size = sizeof bytes};
        gw_edge_punted(s->hosts.host[n].edge, edge_now(s), &punt);
        gw_edge_punts_drained(s->hosts.host[n].edge, edge_now(s));
        s->n_held++;
}

/* It is in the VM's device: at its place, or where it arrives, and be it that it never will. */
static void arrived(struct sim *s, int from, int n, int to) {
        const struct guest *g = guest_of(s, to);
        struct host *h = &s->hosts.host[n];
        enum gw_edge_role role;

        s->n_arrived++;
        if (n == g->runs_at) {
                s->n_delivered++;
                return;
        }
        if (!guest_is_at(&s->guests, to, n, &role) || role != GW_EDGE_ARRIVING)
                net_die(&s->net, "a packet from vm%d to vm%d arrived at n%d; it runs at n%d", from, to, n, g->runs_at);
        if (h->sends_back[to]) {
                h->n_sent_back++;
                sent_back(h, to, 1);
        } else
                h->queue[to]++;
}

/* Over the wire from n to next: to the port there, or redirected once. */
static void walk_wire(struct sim *s, int from, int to, int n, int next, bool marked) {
        const struct host *h = &s->hosts.host[next];
        const struct host_row *row = &h->fdb[to];

        if (!h->members[guest_of(s, to)->vn][n])
                net_die(&s->net, "a packet from vm%d to vm%d: n%d takes n%d for no member", from, to, next, n);
        if (!row->there)
                net_die(&s->net, "a packet from vm%d to vm%d: n%d does not know it", from, to, next);
        if (row->entry.place == GW_EDGE_TO_LOCAL || row->entry.place == GW_EDGE_TO_ARRIVING) {
                arrived(s, from, next, to);
                return;
        }
        if (marked)
                net_die(&s->net, "a packet from vm%d to vm%d would be redirected twice, by n%d", from, to, next);
        s->n_redirected++;
        walk_wire(s, from, to, next, hosts_at(&s->hosts, row->entry.locator), true);
}

static void walk(struct sim *s, int from, int to) {
        int n = guest_of(s, from)->runs_at;
        const struct host_row *row = &s->hosts.host[n].fdb[to];

        s->n_packets++;
        if (!row->there || row->entry.punt)
                hold(s, n, from, to);
        else if (row->entry.place == GW_EDGE_TO_LOCAL)
                arrived(s, from, n, to);
        else
                walk_wire(s, from, to, n, hosts_at(&s->hosts, row->entry.locator), false);
}

/* Those that run for a second: the first members and mappings have gone round. */
static bool settled(const struct sim *s, const struct guest *g) {
        return g->since_ns && s->net.now_ns > g->since_ns + GW_NS_PER_S;
}

static void walk_all(struct sim *s) {
        for (int a = 0; a < VMS; a++)
                for (int b = 0; b < VMS; b++)
                        if (a != b && guest_of(s, a)->vn == guest_of(s, b)->vn && guest_of(s, a)->runs_at != NOWHERE &&
                            settled(s, guest_of(s, a)) && settled(s, guest_of(s, b)))
                                walk(s, a, b);
}

/* --- management --- */

static void start(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        int n = (int)net_below(&s->net, EDGES);

        if (!s->a.up || !nve_of(s, n) ||
            gw_directory_place(&s->a.d, vm_of(s, v), nve_of(s, n), net_now(&s->net), &g->epoch, NULL))
                return;
        turn_end(s);
        net_trace(&s->net, "vm%d starts at n%d, epoch %llu", v, n, (unsigned long long)g->epoch);
        guest_attach(&s->guests, v, n, GW_EDGE_SERVING, g->epoch, NOWHERE);
        g->runs_at = n;
        g->since_ns = s->net.now_ns;
}

static void stop(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);

        if (!s->a.up)
                return;
        guest_delete(&s->guests, v, g->runs_at, false, "stop");
        gw_directory_release(&s->a.d, vm_of(s, v), net_now(&s->net));
        turn_end(s);
        g->runs_at = NOWHERE;
        g->since_ns = 0;
        net_trace(&s->net, "vm%d stops", v);
}

static void reserve(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        int to = (int)net_below(&s->net, EDGES);

        if (!s->a.up || !nve_of(s, to) || vm_of(s, v)->binding.epoch != g->epoch || !settled(s, g) ||
            gw_directory_reserve(&s->a.d, vm_of(s, v), nve_of(s, to), net_now(&s->net), &g->move_epoch, &g->back_epoch,
                                 NULL))
                return;
        turn_end(s);
        g->from = g->runs_at;
        g->to = to;
        g->phase = GUEST_RESERVED;
        s->n_moves++;
        net_trace(&s->net, "vm%d moves n%d -> n%d, epoch %llu", v, g->from, to, (unsigned long long)g->move_epoch);
}

static bool none(const struct sim *s, struct gw_directory_pending pending) {
        return !pending.waiting && !(s->fair && pending.away); /* in a storm those that are away do not count */
}

/* Before a VM moves again all must know where it is: a packet is redirected only once, and not from where the VM
 * arrives. Who holds mappings of a VN that is not pushed, a new authority knows when edges have asked again. */
static bool converged(struct sim *s, int v) {
        bool known =
                gw_port_vn(gw_vm_ports(vm_of(s, v)))->push || s->net.now_ns > s->a.started_ns + REASK_MS * GW_NS_PER_MS;

        return none(s, gw_directory_pending(&s->a.d, vm_of(s, v))) && (known || !s->fair);
}

static void cut(struct sim *s, int v) {
        guest_cut(&s->guests, v);
        if (s->fair && net_chance(&s->net, 10)) { /* the authority is away while it happens: no packet may be lost */
                s->n_away++;
                authority_away(s);
        }
}

/* The target has failed, and the source may hear of that later than others: than the directory, or than the target's edge. */
static void give_back(struct sim *s, int v) {
        guest_give_back(&s->guests, v);
        if (s->a.up && net_chance(&s->net, 50)) {
                gw_directory_take_back(&s->a.d, vm_of(s, v), net_now(&s->net));
                turn_end(s);
        }
}

static void settle(struct sim *s, int v) {
        struct guest *g = guest_of(s, v);
        struct gw_vm *known = s->a.up ? vm_of(s, v) : NULL;

        if (!known)
                return;
        if (known->binding.epoch < g->epoch) {
                if (g->phase == GUEST_RAN)
                        gw_directory_commit(&s->a.d, known, net_now(&s->net));
                else
                        gw_directory_take_back(&s->a.d, known, net_now(&s->net));
                turn_end(s);
                return;
        }
        if (known->binding.state != GW_BINDING_SERVING || gw_directory_pending(&s->a.d, known).waiting)
                return;
        gw_directory_unreserve(&s->a.d, known);
        turn_end(s);
        if (g->phase == GUEST_RAN)
                guest_delete(&s->guests, v, g->from, true, "finish");
        g->phase = GUEST_REST;
        net_trace(&s->net, "the move of vm%d is done", v);
}

static void manage(struct sim *s, int v, bool work) {
        struct guest *g = guest_of(s, v);

        switch (g->phase) {
        case GUEST_REST:
                if (g->runs_at == NOWHERE)
                        start(s, v);
                else if (work && !s->fair && net_chance(&s->net, 10))
                        stop(s, v);
                else if (work)
                        reserve(s, v);
                break;
        case GUEST_RESERVED:
                if (!s->a.up || !converged(s, v))
                        break;
                guest_attach(&s->guests, v, g->to, GW_EDGE_ARRIVING, g->move_epoch, g->from);
                g->phase = GUEST_ARRIVING;
                break;
        case GUEST_ARRIVING:
                if (s->a.up && none(s, gw_directory_pending_members(&s->a.d, vm_of(s, v))))
                        g->phase = GUEST_COPYING;
                break;
        case GUEST_COPYING:
                cut(s, v);
                break;
        case GUEST_CUT:
                if (!g->given_back && net_chance(&s->net, 15))
                        give_back(s, v);
                else
                        guest_resume(&s->guests, v, g->given_back);
                break;
        default:
                settle(s, v);
        }
}

/* --- time --- */

static void hosts_tick(struct sim *s) {
        for (int n = 0; n < EDGES; n++) {
                struct host *h = &s->hosts.host[n];

                if (!s->net.links[n].session && s->a.up && s->net.now_ns >= h->returns_ns)
                        session_open(s, n);
                if (gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_edge_deadline(h->edge)))
                        gw_edge_tick(h->edge, edge_now(s));
                if (gw_edge_wants_drain(h->edge))
                        gw_edge_punts_drained(h->edge, edge_now(s));
        }
}

static void pass(struct sim *s, uint64_t us) {
        uint64_t end = s->net.now_ns + us * 1000;
        struct net_message *m;

        while ((m = net_next(&s->net, end))) {
                deliver(s, m);
                if (s->fair)
                        walk_all(s);
        }
        if (!s->a.up && s->net.now_ns >= s->a.back_ns)
                authority_start(&s->a);
        if (s->a.up && gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_directory_deadline(&s->a.d))) {
                gw_directory_tick(&s->a.d, net_now(&s->net));
                turn_end(s);
        }
        hosts_tick(s);
}

static void check(struct sim *s, int v) {
        const struct guest *g = guest_of(s, v);
        const struct gw_binding *b = &vm_of(s, v)->binding;

        if (g->runs_at == NOWHERE || gw_binding_nve(b) != nve_of(s, g->runs_at) || b->epoch != g->epoch ||
            b->state != GW_BINDING_SERVING || gw_binding_move(b))
                net_die(&s->net, "vm%d runs at n%d with epoch %llu; the directory says %s, %s, %llu", v, g->runs_at,
                        (unsigned long long)g->epoch, gw_binding_nve(b) ? gw_binding_nve(b)->id.s : "nowhere",
                        gw_binding_state_word(b->state), (unsigned long long)b->epoch);
}

/* Moves end, time passes; then all must agree, and every packet gets through. */
static void rest(struct sim *s) {
        s->fair = false;
        for (int i = 0; i < SETTLE_MS / 10; i++) {
                pass(s, 10000);
                manage(s, i % VMS, false);
        }
        for (int v = 0; v < VMS; v++)
                check(s, v);
        if (s->n_arrived != s->n_delivered)
                net_die(&s->net, "%llu packets reached a device, %llu a VM", s->n_arrived, s->n_delivered);
        s->fair = true;
        for (int i = 0; i < 3; i++) {
                walk_all(s);
                pass(s, 200000);
        }
}

static void weather(struct sim *s, bool fair) {
        s->fair = fair;
        net_trace(&s->net, fair ? "fair" : "storm");
        for (int i = 0; i < ROUND_STEPS; i++) {
                pass(s, 100 + net_below(&s->net, 20000));
                if (fair)
                        walk_all(s);
                manage(s, (int)net_below(&s->net, VMS), true);
                if (!fair && net_chance(&s->net, 2))
                        session_break(s, (int)net_below(&s->net, EDGES));
                if (!fair && net_chance(&s->net, 1) && s->a.up)
                        authority_away(s);
        }
}

static void begin(struct sim *s) {
        static const uint8_t models[VNS] = {GW_VN_HYBRID, GW_VN_PUSH, GW_VN_PULL, GW_VN_HYBRID};
        char id[GW_NAME_MAX + 1], text[32];
        const char *subnet = text;

        net_init(&s->net, "edges");
        s->net.weather = (struct net_weather){.late = 3, .delay_ms = 4, .late_ms = 80};
        authority_init(&s->a, &s->net, LEASE_S);
        hosts_init(&s->hosts, &s->net, EDGES);
        s->hosts.delivered = delivered;
        s->hosts.sent_back = sent_back;
        for (int n = 0; n < EDGES; n++)
                s->hosts.host[n].user = s;
        s->guests = (struct guests){.net = &s->net, .a = &s->a};
        for (int k = 0; k < VNS; k++) {
                snprintf(text, sizeof text, "10.%d.0.0/16", k);
                guests_make_vn(&s->guests, k, models[k], &subnet, 1);
        }
        guests_init(&s->guests, &s->a, &s->hosts, VMS, VNS);
        for (int i = 0; i < GW_DIRECTORY_PUSH_MAX; i++) { /* the last VN is too large to be pushed */
                snprintf(id, sizeof id, "filler%d", i);
                guests_make_vm(&s->guests, id, VNS - 1);
        }
        turn_end(s);
        for (int n = 0; n < EDGES; n++)
                host_start(&s->hosts.host[n], LIFETIME_S);
}

static void end(struct sim *s) {
        for (int n = 0; n < EDGES; n++)
                gw_edge_free(s->hosts.host[n].edge);
        authority_deinit(&s->a);
        net_deinit(&s->net);
}

int main(void) {
        static struct sim s;
        const char *steps = getenv("GW_STEPS");
        unsigned long left = steps ? strtoul(steps, NULL, 0) : 6000;

        begin(&s);
        printf("1..1\n");
        rest(&s);
        for (; left >= 2 * ROUND_STEPS; left -= 2 * ROUND_STEPS) {
                weather(&s, true);
                rest(&s);
                weather(&s, false);
                rest(&s);
        }
        printf("# %.0f s, %llu moves, %llu with the authority away at the cut, %llu crashes of it; %llu packets, "
               "%llu redirected, %llu held, %llu sent back (%llu of them before it was taken back), 0 dropped\n",
               (double)s.net.now_ns / 1e9, s.n_moves, s.n_away, s.n_crashes, s.n_packets, s.n_redirected, s.n_held,
               s.n_returned, s.n_waited);
        printf("ok 1 - edges\n");
        end(&s);
        return 0;
}
