/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must hold in the simulation of registrations (registrations.c says it in words):
 * how often something is sent, by whom an epoch is accepted, who serves a VM with an
 * acknowledgement, and how long an edge may hold an older place. Each is looked at after every
 * single event; what does not hold ends the test with its seed.
 */
#include "sim/registrations.h"

/* --- bounds on what is sent --- */

void bounds_count(struct sim *s, struct asked *a, int v, int n, const char *what) {
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
void bounds_cause(struct asked *a, bool call) {
        a->sent = a->again = 0;
        if (call)
                a->window_ns = 0;
}

void bounds_cause_all(struct sim *s, int n) {
        for (int v = 0; v < VMS; v++)
                bounds_cause(&s->places[n].requests[v], true);
}

/* Durable by now, and not before: what a crash takes back was never accepted. */
void bounds_accepted(struct sim *s, int n, const struct gw_registration *r) {
        int v = guest_index(r->vm.s);
        struct fact *fact = &s->facts[v];
        unsigned e = (unsigned)(r->epoch % EPOCHS);
        const struct gw_binding *b = &vm_of(s, v)->binding;

        s->n_accepted++;
        if (r->epoch != b->epoch)
                net_die(&s->net, "vm%d: epoch %llu accepted from n%d, the newest is %llu", v,
                        (unsigned long long)r->epoch, n, (unsigned long long)b->epoch);
        if (fact->owner[e] && fact->owner[e] != n + 1)
                net_die(&s->net, "vm%d: epoch %llu accepted from n%d and from n%d", v, (unsigned long long)r->epoch,
                        fact->owner[e] - 1, n);
        if (fact->owner[e] && r->timestamp <= fact->stamp[e])
                net_die(&s->net, "vm%d: a registration of n%d with an old stamp was accepted", v, n);
        fact->owner[e] = n + 1;
        fact->stamp[e] = r->timestamp;
}

void bounds_observe(struct sim *s) {
        for (int v = 0; v < VMS; v++) {
                struct fact *fact = &s->facts[v];
                struct gw_mapping m;

                gw_directory_mapping(gw_vm_ports(vm_of(s, v)), &m);
                if (fact->reachable == (m.state == GW_MAPPING_SERVING) && gw_ip_eq(fact->locator, m.locator))
                        continue;
                fact->reachable = m.state == GW_MAPPING_SERVING;
                fact->locator = m.locator;
                fact->changed_ns = s->net.now_ns;
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
        int v = guest_index(view->vm->s);
        uint64_t older_expires, now = s->net.now_ns, forced = s->facts[v].forced_ns;

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
        const struct fact *fact = &s->facts[v];
        const struct host_row *row = &s->hosts.host[n].fdb[v];
        uint64_t since = fact->changed_ns > s->places[n].session_ns ? fact->changed_ns : s->places[n].session_ns, age;
        since = since > s->a.started_ns ? since : s->a.started_ns;
        age = s->net.now_ns - since;
        if (guest_is_at(&s->guests, v, n, NULL) || !row->there || row->entry.place != GW_EDGE_TO_REMOTE ||
            (fact->reachable && gw_ip_eq(row->entry.locator, fact->locator)))
                return;
        s->worst_stale_ns = age > s->worst_stale_ns ? age : s->worst_stale_ns;
        if (age > STALE_MS * GW_NS_PER_MS)
                net_die(&s->net, "n%d still holds something else of vm%d than the directory, after %.3f s", n, v,
                        (double)age / 1e9);
}

void bounds_check(struct sim *s) {
        struct looking looking = {.s = s};

        for (looking.n = 0; looking.n < EDGES; looking.n++)
                gw_edge_each_binding(edge_at(s, looking.n), look_at, &looking);
        for (int n = 0; n < EDGES && s->a.up; n++)
                for (int v = 0; v < VMS && s->a.hello[n]; v++)
                        check_stale(s, n, v);
}
