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
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory/directory.h"
#include "edge/edge.h"
#include "prop/seed.h"
#include "store/memory.h"

enum {
        EDGES = 6,
        VNS = 4, /* one of each model, and a hybrid one that is too large to be pushed */
        VMS = 16,
        NOWHERE = -1,
        ROUND_STEPS = 300,
        SETTLE_MS = 40000,
        REASK_MS = 12000,
        LEASE_S = 40
};

struct table_row {
        bool there;
        struct gw_edge_fdb entry;
};
struct host {
        struct sim *sim;
        int index;
        struct gw_edge *edge;
        struct gw_ip locator;
        bool session, hello;
        uint32_t generation;
        uint64_t to_ns, from_ns; /* when the last frame arrives, each way: order is kept */
        struct table_row fdb[VMS];
        bool members[VNS][EDGES];
        uint64_t returns_ns;
};

enum phase { REST, RESERVED, ARRIVING, COPYING, CUT, RAN, TOOK_BACK };
struct vm {
        int vn, runs_at, from, to;
        enum phase phase;
        uint64_t epoch, move_epoch, back_epoch, since_ns;
        struct gw_mac mac;
};
struct message {
        struct gw_deadline timer;
        int host;
        bool to_edge;
        uint32_t generation;
        size_t size;
        uint8_t frame[];
};
struct sim {
        struct dice dice;
        struct gw_directory d;
        struct gw_store *store;
        bool up, fair, trace;
        uint64_t back_ns, now_ns, started_ns, restarts;
        struct gw_heap messages;
        struct message *outbox[4096];
        size_t n_outbox;
        bool drops[EDGES];
        struct host hosts[EDGES];
        struct vm vms[VMS];
        unsigned long long n_moves, n_packets, n_redirected, n_held, n_crashes, n_away;
};

static void die(const struct sim *s, const char *format, ...) {
        va_list args;

        va_start(args, format);
        printf("not ok 1 - edges\n# at %.3f s: ", (double)s->now_ns / 1e9);
        vprintf(format, args);
        printf("\n");
        va_end(args);
        exit(1);
}

static void trace(const struct sim *s, const char *format, ...) {
        va_list args;

        if (!s->trace)
                return;
        va_start(args, format);
        printf("# %9.3f ", (double)s->now_ns / 1e9);
        vprintf(format, args);
        printf("\n");
        va_end(args);
}

static bool chance(struct sim *s, unsigned percent) {
        return dice_below(&s->dice, 100) < percent;
}
static struct gw_now now_of(const struct sim *s) {
        return (struct gw_now){{s->now_ns}, {s->now_ns + UINT64_C(1700000000) * GW_NS_PER_S}};
}
static struct gw_edge_now edge_now(const struct sim *s) {
        return (struct gw_edge_now){now_of(s).mono, now_of(s).wall};
}
static struct gw_name vm_name(int v) {
        struct gw_name name;

        snprintf(name.s, sizeof name.s, "vm%d@default", v);
        return name;
}
static struct gw_vm *vm_of(struct sim *s, int v) {
        return gw_directory_vm(&s->d, vm_name(v).s);
}
static struct gw_nve *nve_of(struct sim *s, int n) {
        char id[16];

        snprintf(id, sizeof id, "n%d", n);
        return gw_directory_nve(&s->d, id);
}
static int host_at(const struct sim *s, struct gw_ip locator) {
        for (int n = 0; n < EDGES; n++)
                if (gw_ip_eq(s->hosts[n].locator, locator))
                        return n;
        return NOWHERE;
}
static int vm_by_mac(const struct sim *s, struct gw_mac mac) {
        for (int v = 0; v < VMS; v++)
                if (gw_mac_eq(s->vms[v].mac, mac))
                        return v;
        return NOWHERE;
}

/* --- sessions --- */

static void post(struct sim *s, struct message *m) {
        struct host *h = &s->hosts[m->host];
        uint64_t *last = m->to_edge ? &h->to_ns : &h->from_ns, at;

        if (!h->session || gw_heap_promise(&s->messages) < 0) {
                free(m);
                return;
        }
        at = s->now_ns + dice_below(&s->dice, chance(s, 3) ? 80 : 4) * GW_NS_PER_MS + dice_below(&s->dice, 1000000);
        *last = at > *last ? at : *last + 1;
        m->generation = h->generation;
        gw_heap_set(&s->messages, &m->timer, (struct gw_mono){*last});
}

static struct message *message_new(int host, bool to_edge, const void *frame, size_t size) {
        struct message *m = calloc(1, sizeof *m + size);

        m->host = host;
        m->to_edge = to_edge;
        m->size = size;
        memcpy(m->frame, frame, size);
        return m;
}

static void session_break(struct sim *s, int n) {
        struct host *h = &s->hosts[n];

        if (!h->session)
                return;
        h->session = false;
        h->generation++;
        gw_edge_nva_down(h->edge, edge_now(s));
        if (s->up && h->hello)
                gw_directory_bye(&s->d, nve_of(s, n), now_of(s));
        h->hello = false;
        h->returns_ns = s->now_ns + dice_below(&s->dice, 500) * GW_NS_PER_MS;
}

static void session_open(struct sim *s, int n) {
        struct host *h = &s->hosts[n];

        h->session = true;
        h->generation++;
        h->to_ns = h->from_ns = 0;
        gw_edge_nva_up(h->edge, edge_now(s));
}

/* --- the authority --- */

static void effect_store(enum gw_record table, const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        if (gw_store_put(((struct sim *)user)->store, (enum gw_store_table)table, key, nkey, val, nval))
                abort();
}
static void effect_unstore(enum gw_record table, const void *key, size_t nkey, void *user) {
        if (gw_store_del(((struct sim *)user)->store, (enum gw_store_table)table, key, nkey))
                abort();
}

static void answer(struct sim *s, int n, const void *frame, size_t size) {
        s->outbox[s->n_outbox++] = message_new(n, true, frame, size);
}

static void effect_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        struct gw_frame_header header = {
                .length = (uint32_t)size + GW_FRAME_HEADER_SIZE, .version = GW_FRAME_VERSION, .type = type, .id = id};
        uint8_t *frame = malloc(header.length);
        struct gw_writer w = gw_writer(frame, header.length);

        gw_frame_header_encode(&w, &header);
        gw_put_bytes(&w, body, size);
        answer(user, atoi(to->id.s + 1), frame, header.length);
        free(frame);
}
static void effect_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)reason;
        ((struct sim *)user)->drops[atoi(nve->id.s + 1)] = true;
}
static void effect_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}
static void effect_note(enum gw_note kind, const char *text, void *user) {
        (void)kind;
        trace(user, "directory: %s", text);
}
static const struct gw_directory_effects directory_effects = {.store = effect_store,
                                                              .unstore = effect_unstore,
                                                              .send = effect_send,
                                                              .drop = effect_drop,
                                                              .changed = effect_changed,
                                                              .note = effect_note};

static void turn_end(struct sim *s) {
        if (gw_store_commit(s->store))
                abort();
        for (size_t i = 0; i < s->n_outbox; i++)
                post(s, s->outbox[i]);
        s->n_outbox = 0;
        for (int n = 0; n < EDGES; n++)
                if (s->drops[n]) {
                        s->drops[n] = false;
                        if (s->fair)
                                die(s, "n%d fell behind in fair weather", n);
                        session_break(s, n);
                }
}

static void authority_crash(struct sim *s) {
        trace(s, "authority crashes");
        s->n_crashes++;
        gw_store_memory_crash(s->store);
        s->up = false;
        gw_directory_deinit(&s->d);
        for (int n = 0; n < EDGES; n++)
                session_break(s, n);
        s->back_ns = s->now_ns + dice_below(&s->dice, 2000) * GW_NS_PER_MS;
}

struct loading {
        struct sim *s;
        enum gw_record table;
};

static int load_one(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        struct loading *at = user;
        struct gw_error error;

        if (gw_directory_load(&at->s->d, at->table, key, nkey, val, nval, now_of(at->s), &error))
                die(at->s, "%s", error.text);
        return 0;
}

static void authority_start(struct sim *s) {
        struct loading at = {s, GW_RECORD_META};
        uint64_t seed[2] = {dice_u64(&s->dice), dice_u64(&s->dice)};

        if (gw_directory_init(&s->d, seed, LEASE_S, &directory_effects, s))
                abort();
        for (; at.table <= GW_RECORD_BINDING; at.table++)
                gw_store_each(s->store, (enum gw_store_table)at.table, load_one, &at);
        for (int n = 0; n < EDGES; n++)
                if (nve_of(s, n))
                        gw_directory_nve_hv(&s->d, nve_of(s, n), true);
        s->restarts++;
        s->started_ns = s->now_ns;
        s->up = true;
        trace(s, "authority starts");
}

static void on_hello(struct sim *s, int n, uint32_t id, const uint8_t *body, size_t size) {
        static const struct gw_name self = {"nva"};
        struct gw_hello hello;
        struct gw_nve *nve;
        struct gw_error error;
        uint8_t frame[256];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (gw_hello_decode(body, size, &hello) || gw_directory_hello(&s->d, &hello, now_of(s), &nve, &error))
                die(s, "hello of n%d refused", n);
        gw_directory_nve_hv(&s->d, nve, true);
        gw_directory_nve_capacity(&s->d, nve, 1000, 1000);
        s->hosts[n].hello = true;
        answer(s, n, frame, gw_welcome_encode(&w, id, &self, s->restarts));
}

static void on_register(struct sim *s, int n, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_registration request, reply;
        struct gw_register reg;
        uint8_t message[GW_MH_SIZE_MAX], frame[GW_MH_SIZE_MAX + 64];
        struct gw_writer out = gw_writer(message, sizeof message), w = gw_writer(frame, sizeof frame);
        struct gw_ip none = {0};

        if (gw_register_decode(body, size, &reg) ||
            gw_registration_decode(reg.message, reg.message_size, reg.locator, none, &request))
                die(s, "a registration of n%d does not decode", n);
        if (gw_directory_register(&s->d, nve_of(s, n), &request, now_of(s), &reply))
                return;
        if (reply.status && s->fair)
                trace(s, "n%d: %s refused with %u", n, request.vm.s, reply.status);
        if (gw_registration_encode(&out, none, reg.locator, &reply))
                die(s, "an answer does not encode");
        reg.message = message;
        reg.message_size = out.at;
        answer(s, n, frame, gw_register_encode(&w, GW_FRAME_REGISTERED, id, &reg));
}

static void on_query(struct sim *s, int n, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_query query;
        struct gw_mapping mapping;
        uint8_t frame[2048];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (gw_query_decode(body, size, &query))
                die(s, "a query does not decode");
        gw_directory_query(&s->d, nve_of(s, n), &query, now_of(s), &mapping);
        answer(s, n, frame, gw_batch_encode(&w, GW_FRAME_RESPONSE, id, &mapping, 1, NULL, 0));
}

static void on_other(struct sim *s, int n, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        static struct gw_report report;
        static struct gw_digest digest;
        static struct gw_held held;
        struct gw_absence absence;
        uint32_t vnis[8];
        size_t count;

        if (type == GW_FRAME_DIGEST && !gw_digest_decode(body, size, &digest))
                gw_directory_digest(&s->d, nve_of(s, n), id, &digest, now_of(s));
        else if (type == GW_FRAME_HELD && !gw_held_decode(body, size, &held))
                gw_directory_held(&s->d, nve_of(s, n), id, &held, now_of(s));
        else if (type == GW_FRAME_ABSENCE && !gw_absence_decode(body, size, &absence))
                gw_directory_absence(&s->d, nve_of(s, n), &absence, now_of(s));
        else if (type == GW_FRAME_SUBSCRIBE && !gw_subscribe_decode(body, size, vnis, 8, &count))
                gw_directory_subscribe(&s->d, nve_of(s, n), vnis, count, now_of(s));
        else if (type == GW_FRAME_UPDATE_ACK)
                gw_directory_ack(&s->d, nve_of(s, n), id, now_of(s));
        else if (type == GW_FRAME_REPORT && !gw_report_decode(body, size, &report))
                gw_directory_report(&s->d, nve_of(s, n), &report, now_of(s));
        else
                die(s, "frame of type %u from n%d", type, n);
}

static void deliver(struct sim *s, struct message *m) {
        struct host *h = &s->hosts[m->host];
        const uint8_t *body = m->frame + GW_FRAME_HEADER_SIZE;
        size_t size = m->size - GW_FRAME_HEADER_SIZE;
        struct gw_frame_header header;

        if (!h->session || m->generation != h->generation)
                goto gone;
        if (gw_frame_header_decode(m->frame, m->size, &header))
                die(s, "a frame does not decode");
        if (m->to_edge) {
                if (gw_edge_frame(h->edge, edge_now(s), header.type, header.id, body, size))
                        die(s, "n%d does not take a frame of type %u", m->host, header.type);
                goto gone;
        }
        if (header.type == GW_FRAME_HELLO)
                on_hello(s, m->host, header.id, body, size);
        else if (header.type == GW_FRAME_REGISTER)
                on_register(s, m->host, header.id, body, size);
        else if (header.type == GW_FRAME_QUERY)
                on_query(s, m->host, header.id, body, size);
        else
                on_other(s, m->host, header.type, header.id, body, size);
        turn_end(s);
gone:
        free(m);
}

/* --- an edge's data plane --- */

static int fx_fdb_set(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry) {
        struct host *h = user;

        (void)vni;
        h->fdb[vm_by_mac(h->sim, mac)] = (struct table_row){true, *entry};
        return 0;
}
static void fx_fdb_del(void *user, uint32_t vni, struct gw_mac mac) {
        struct host *h = user;

        (void)vni;
        h->fdb[vm_by_mac(h->sim, mac)].there = false;
}
static int fx_neigh_set(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        (void)user, (void)vni, (void)ip, (void)mac;
        return 0;
}
static void fx_neigh_del(void *user, uint32_t vni, struct gw_ip ip) {
        (void)user, (void)vni, (void)ip;
}
static void fx_member_set(void *user, uint32_t vni, struct gw_ip locator, uint8_t role) {
        struct host *h = user;

        (void)role;
        h->members[vni - 100][host_at(h->sim, locator)] = true;
}
static void fx_member_del(void *user, uint32_t vni, struct gw_ip locator) {
        struct host *h = user;

        h->members[vni - 100][host_at(h->sim, locator)] = false;
}
static int fx_port_open(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error) {
        (void)user, (void)port, (void)hold, (void)error;
        return 0;
}
static void fx_port_close(void *user, const struct gw_edge_attach *port) {
        (void)user, (void)port;
}
static int fx_port_cut(void *user, const struct gw_edge_attach *port, struct gw_ip to, uint64_t epoch, bool punt) {
        struct gw_edge_fdb entry = {.place = GW_EDGE_TO_MOVED, .punt = punt, .locator = to, .epoch = epoch};

        return fx_fdb_set(user, port->vni, port->mac, &entry);
}
static void fx_port_role(void *user, const struct gw_edge_attach *port, enum gw_edge_role role, bool hold) {
        (void)user, (void)port, (void)role, (void)hold;
}
static void fx_inject(void *user, enum gw_edge_inject how, const struct gw_edge_frame *frame) {
        (void)user, (void)how, (void)frame;
}
static void fx_deliver(void *user, uint32_t ifindex, const uint8_t *frame, size_t size) {
        (void)user, (void)ifindex, (void)frame, (void)size;
}
static void fx_send(void *user, const uint8_t *frame, size_t size) {
        struct host *h = user;

        post(h->sim, message_new(h->index, false, frame, size));
}
static struct gw_mono fx_redirect_seen(void *user, uint32_t vni, struct gw_mac mac, uint64_t *count) {
        (void)user, (void)vni, (void)mac;
        *count = 0;
        return (struct gw_mono){0};
}
static size_t fx_talkers(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip *out, size_t max) {
        struct host *h = user;
        size_t n = 0;

        for (int i = 0; i < EDGES && n < max; i++) /* everybody talks to everybody */
                if (h->members[vni - 100][i])
                        out[n++] = h->sim->hosts[i].locator;
        (void)mac;
        return n;
}
static bool fx_in_use(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within) {
        (void)user, (void)vni, (void)mac, (void)locator, (void)within;
        return true;
}
static void fx_vm_changed(void *user, const struct gw_name *vm) {
        (void)user, (void)vm;
}
static void fx_log(void *user, int level, const char *text) {
        struct host *h = user;

        if (level <= 5)
                trace(h->sim, "n%d: %s", h->index, text);
}
static const struct gw_edge_effects edge_effects = {.fdb_set = fx_fdb_set,
                                                    .fdb_del = fx_fdb_del,
                                                    .neigh_set = fx_neigh_set,
                                                    .neigh_del = fx_neigh_del,
                                                    .member_set = fx_member_set,
                                                    .member_del = fx_member_del,
                                                    .port_open = fx_port_open,
                                                    .port_close = fx_port_close,
                                                    .port_cut = fx_port_cut,
                                                    .port_role = fx_port_role,
                                                    .inject = fx_inject,
                                                    .deliver = fx_deliver,
                                                    .send = fx_send,
                                                    .redirect_seen = fx_redirect_seen,
                                                    .talkers = fx_talkers,
                                                    .in_use = fx_in_use,
                                                    .vm_changed = fx_vm_changed,
                                                    .log = fx_log};

/* --- packets --- */

static void hold(struct sim *s, int n, int from, int to) {
        uint8_t bytes[60] = {0};
        struct gw_edge_punt punt = {.reason = GW_EDGE_UNKNOWN};

        memcpy(bytes, s->vms[to].mac.b, 6);
        memcpy(bytes + 6, s->vms[from].mac.b, 6);
        bytes[12] = 0x08;
        bytes[14] = 0x45;
        punt.frame = (struct gw_edge_frame){.vni = 100 + (uint32_t)s->vms[from].vn,
                                            .ifindex = (uint32_t)from + 1,
                                            .bytes = bytes,
                                            .size = sizeof bytes};
        gw_edge_punted(s->hosts[n].edge, edge_now(s), &punt);
        gw_edge_punts_drained(s->hosts[n].edge, edge_now(s));
        s->n_held++;
}

static void arrived(struct sim *s, int from, int n, int to) {
        const struct vm *vm = &s->vms[to];

        if (n != vm->runs_at && !(vm->phase == CUT && n == vm->to))
                die(s, "a packet from vm%d to vm%d arrived at n%d; it runs at n%d", from, to, n, vm->runs_at);
}

/* Over the wire from n to next: to the port there, or redirected once. */
static void walk_wire(struct sim *s, int from, int to, int n, int next, bool marked) {
        const struct host *h = &s->hosts[next];
        const struct table_row *row = &h->fdb[to];

        if (!h->members[s->vms[to].vn][n])
                die(s, "a packet from vm%d to vm%d: n%d takes n%d for no member", from, to, next, n);
        if (!row->there)
                die(s, "a packet from vm%d to vm%d: n%d does not know it", from, to, next);
        if (row->entry.place == GW_EDGE_TO_LOCAL || row->entry.place == GW_EDGE_TO_ARRIVING) {
                arrived(s, from, next, to);
                return;
        }
        if (marked)
                die(s, "a packet from vm%d to vm%d would be redirected twice, by n%d", from, to, next);
        s->n_redirected++;
        walk_wire(s, from, to, next, host_at(s, row->entry.locator), true);
}

static void walk(struct sim *s, int from, int to) {
        int n = s->vms[from].runs_at;
        const struct table_row *row = &s->hosts[n].fdb[to];

        s->n_packets++;
        if (!row->there || row->entry.punt)
                hold(s, n, from, to);
        else if (row->entry.place == GW_EDGE_TO_LOCAL)
                arrived(s, from, n, to);
        else
                walk_wire(s, from, to, n, host_at(s, row->entry.locator), false);
}

/* Those that run for a second: the first members and mappings have gone round. */
static bool settled(const struct sim *s, const struct vm *vm) {
        return vm->since_ns && s->now_ns > vm->since_ns + GW_NS_PER_S;
}

static void walk_all(struct sim *s) {
        for (int a = 0; a < VMS; a++)
                for (int b = 0; b < VMS; b++)
                        if (a != b && s->vms[a].vn == s->vms[b].vn && s->vms[a].runs_at != NOWHERE &&
                            settled(s, &s->vms[a]) && settled(s, &s->vms[b]))
                                walk(s, a, b);
}

/* --- management --- */

static void attach(struct sim *s, int v, int n, uint8_t role, uint64_t epoch, int peer) {
        struct gw_edge_attach port = {
                .vm = vm_name(v), .vni = 100 + (uint32_t)s->vms[v].vn, .ifindex = (uint32_t)v + 1};
        const struct gw_port *known = vm_of(s, v)->ports;
        struct gw_error error = {0};

        port.id = gw_port_id(known);
        port.mtu = 1400;
        port.mac = s->vms[v].mac;
        port.n_ips = known->n_ips;
        for (unsigned i = 0; i < known->n_ips; i++)
                port.ips[i] = gw_port_ip(known, i);
        port.role = role;
        port.queues = true;
        port.epoch = epoch;
        if (peer != NOWHERE)
                port.peer = s->hosts[peer].locator;
        if (gw_edge_attach(s->hosts[n].edge, edge_now(s), &port, &error))
                die(s, "vm%d does not attach to n%d: %s", v, n, error.text);
}

static void edge_must(struct sim *s, int r, const char *what, int v, const struct gw_error *error) {
        if (r)
                die(s, "%s of vm%d: %s", what, v, error->text);
}

static void start(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        int n = (int)dice_below(&s->dice, EDGES);

        if (!s->up || !nve_of(s, n) ||
            gw_directory_place(&s->d, vm_of(s, v), nve_of(s, n), now_of(s), &vm->epoch, NULL))
                return;
        turn_end(s);
        trace(s, "vm%d starts at n%d, epoch %llu", v, n, (unsigned long long)vm->epoch);
        attach(s, v, n, GW_EDGE_SERVING, vm->epoch, NOWHERE);
        vm->runs_at = n;
        vm->since_ns = s->now_ns;
}

static void stop(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error;

        if (!s->up)
                return;
        edge_must(s, gw_edge_delete(s->hosts[vm->runs_at].edge, edge_now(s), &name, false, &error), "stop", v, &error);
        gw_directory_release(&s->d, vm_of(s, v), now_of(s));
        turn_end(s);
        vm->runs_at = NOWHERE;
        vm->since_ns = 0;
        trace(s, "vm%d stops", v);
}

static void reserve(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        int to = (int)dice_below(&s->dice, EDGES);

        if (!s->up || !nve_of(s, to) || vm_of(s, v)->binding.epoch != vm->epoch || !settled(s, vm) ||
            gw_directory_reserve(&s->d, vm_of(s, v), nve_of(s, to), now_of(s), &vm->move_epoch, &vm->back_epoch, NULL))
                return;
        turn_end(s);
        vm->from = vm->runs_at;
        vm->to = to;
        vm->phase = RESERVED;
        s->n_moves++;
        trace(s, "vm%d moves n%d -> n%d, epoch %llu", v, vm->from, to, (unsigned long long)vm->move_epoch);
}

static bool none(const struct sim *s, struct gw_directory_pending pending) {
        return !pending.waiting && !(s->fair && pending.away); /* in a storm those that are away do not count */
}

/* Before a VM moves again all must know where it is: a packet is redirected only once, and not from where the VM
 * arrives. Who holds mappings of a VN that is not pushed, a new authority knows when edges have asked again. */
static bool converged(struct sim *s, int v) {
        bool known = vm_of(s, v)->ports->vn->push || s->now_ns > s->started_ns + REASK_MS * GW_NS_PER_MS;

        return none(s, gw_directory_pending(&s->d, vm_of(s, v))) && (known || !s->fair);
}

static void cut(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};

        edge_must(s,
                  gw_edge_cut(s->hosts[vm->from].edge, edge_now(s), &name, s->hosts[vm->to].locator, vm->move_epoch,
                              &error),
                  "cut", v, &error);
        vm->runs_at = NOWHERE;
        vm->phase = CUT;
        trace(s, "vm%d is cut", v);
        if (s->fair && chance(s, 10)) { /* the authority is away while it happens: no packet may be lost */
                s->n_away++;
                authority_crash(s);
        }
}

static void resume(struct sim *s, int v, bool back) {
        struct vm *vm = &s->vms[v];
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};
        struct gw_edge *from = s->hosts[vm->from].edge, *to = s->hosts[vm->to].edge;

        if (back) {
                edge_must(s, gw_edge_delete(to, edge_now(s), &name, false, &error), "abandon", v, &error);
                edge_must(s, gw_edge_uncut(from, edge_now(s), &name, vm->back_epoch, &error), "uncut", v, &error);
        } else {
                edge_must(s, gw_edge_activate(to, edge_now(s), &name, vm->move_epoch, &error), "activate", v, &error);
        }
        vm->runs_at = back ? vm->from : vm->to;
        vm->epoch = back ? vm->back_epoch : vm->move_epoch;
        vm->phase = back ? TOOK_BACK : RAN;
        trace(s, "vm%d runs at n%d", v, vm->runs_at);
}

static void settle(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_vm *known = s->up ? vm_of(s, v) : NULL;
        struct gw_name name = vm_name(v);
        struct gw_error error = {0};

        if (!known)
                return;
        if (known->binding.epoch < vm->epoch) {
                if (vm->phase == RAN)
                        gw_directory_commit(&s->d, known, now_of(s));
                else
                        gw_directory_take_back(&s->d, known, now_of(s));
                turn_end(s);
                return;
        }
        if (known->binding.state != GW_BINDING_SERVING || gw_directory_pending(&s->d, known).waiting)
                return;
        gw_directory_unreserve(&s->d, known);
        turn_end(s);
        if (vm->phase == RAN)
                edge_must(s, gw_edge_delete(s->hosts[vm->from].edge, edge_now(s), &name, true, &error), "finish", v,
                          &error);
        vm->phase = REST;
        trace(s, "the move of vm%d is done", v);
}

static void manage(struct sim *s, int v, bool work) {
        struct vm *vm = &s->vms[v];

        switch (vm->phase) {
        case REST:
                if (vm->runs_at == NOWHERE)
                        start(s, v);
                else if (work && !s->fair && chance(s, 10))
                        stop(s, v);
                else if (work)
                        reserve(s, v);
                break;
        case RESERVED:
                if (!s->up || !converged(s, v))
                        break;
                attach(s, v, vm->to, GW_EDGE_ARRIVING, vm->move_epoch, vm->from);
                vm->phase = ARRIVING;
                break;
        case ARRIVING:
                if (s->up && none(s, gw_directory_pending_members(&s->d, vm_of(s, v))))
                        vm->phase = COPYING;
                break;
        case COPYING:
                cut(s, v);
                break;
        case CUT:
                resume(s, v, chance(s, 15));
                break;
        default:
                settle(s, v);
        }
}

/* --- time --- */

static void hosts_tick(struct sim *s) {
        for (int n = 0; n < EDGES; n++) {
                struct host *h = &s->hosts[n];

                if (!h->session && s->up && s->now_ns >= h->returns_ns)
                        session_open(s, n);
                if (gw_mono_reached((struct gw_mono){s->now_ns}, gw_edge_deadline(h->edge)))
                        gw_edge_tick(h->edge, edge_now(s));
                if (gw_edge_wants_drain(h->edge))
                        gw_edge_punts_drained(h->edge, edge_now(s));
        }
}

static void pass(struct sim *s, uint64_t us) {
        uint64_t end = s->now_ns + us * 1000;
        struct gw_deadline *timer;

        while ((timer = gw_heap_first(&s->messages)) && timer->at.ns <= end) {
                struct message *m = gw_container_of(timer, struct message, timer);

                s->now_ns = timer->at.ns > s->now_ns ? timer->at.ns : s->now_ns;
                gw_heap_forget(&s->messages, timer);
                deliver(s, m);
                if (s->fair)
                        walk_all(s);
        }
        s->now_ns = end;
        if (!s->up && s->now_ns >= s->back_ns)
                authority_start(s);
        if (s->up && gw_mono_reached((struct gw_mono){s->now_ns}, gw_directory_deadline(&s->d))) {
                gw_directory_tick(&s->d, now_of(s));
                turn_end(s);
        }
        hosts_tick(s);
}

static void check(struct sim *s, int v) {
        const struct vm *vm = &s->vms[v];
        const struct gw_binding *b = &vm_of(s, v)->binding;

        if (vm->runs_at == NOWHERE || b->nve != nve_of(s, vm->runs_at) || b->epoch != vm->epoch ||
            b->state != GW_BINDING_SERVING || b->move)
                die(s, "vm%d runs at n%d with epoch %llu; the directory says %s, %s, %llu", v, vm->runs_at,
                    (unsigned long long)vm->epoch, b->nve ? b->nve->id.s : "nowhere", gw_binding_state_word(b->state),
                    (unsigned long long)b->epoch);
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
        s->fair = true;
        for (int i = 0; i < 3; i++) {
                walk_all(s);
                pass(s, 200000);
        }
}

static void weather(struct sim *s, bool fair) {
        s->fair = fair;
        trace(s, fair ? "fair" : "storm");
        for (int i = 0; i < ROUND_STEPS; i++) {
                pass(s, 100 + dice_below(&s->dice, 20000));
                if (fair)
                        walk_all(s);
                manage(s, (int)dice_below(&s->dice, VMS), true);
                if (!fair && chance(s, 2))
                        session_break(s, (int)dice_below(&s->dice, EDGES));
                if (!fair && chance(s, 1) && s->up)
                        authority_crash(s);
        }
}

static void make_vn(struct sim *s, int k) {
        struct gw_prefix subnet = {gw_ip_from_v4(0), 112};
        char name[16];
        static const uint8_t models[VNS] = {GW_VN_HYBRID, GW_VN_PUSH, GW_VN_PULL, GW_VN_HYBRID};
        struct gw_vn_spec spec = {
                .id = name, .vni = 100 + (uint32_t)k, .model = models[k], .n_subnets = 1, .subnets = &subnet};
        struct gw_error error;

        subnet.ip.b[12] = 10;
        subnet.ip.b[13] = (uint8_t)k;
        snprintf(name, sizeof name, "vn%d", k);
        if (gw_directory_vn_create(&s->d, &spec, NULL, &error))
                die(s, "%s", error.text);
}

static struct gw_vm *make_vm(struct sim *s, const char *id, int vn) {
        char name[16];
        struct gw_port_spec port = {.vn = name};
        struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct gw_error error;
        struct gw_vm *vm;

        snprintf(name, sizeof name, "vn%d", vn);
        if (gw_directory_vm_create(&s->d, &spec, &vm, &error))
                die(s, "%s", error.text);
        return vm;
}

static void begin(struct sim *s) {
        char id[GW_NAME_MAX + 1];

        if (gw_store_memory_new(&s->store))
                abort();
        authority_start(s);
        for (int k = 0; k < VNS; k++)
                make_vn(s, k);
        for (int v = 0; v < VMS; v++) {
                s->vms[v] = (struct vm){.vn = v % VNS, .runs_at = NOWHERE};
                s->vms[v].mac = make_vm(s, vm_name(v).s, v % VNS)->ports->mac;
        }
        for (int i = 0; i < GW_DIRECTORY_PUSH_MAX; i++) { /* the last VN is too large to be pushed */
                snprintf(id, sizeof id, "filler%d", i);
                make_vm(s, id, VNS - 1);
        }
        turn_end(s);
        for (int n = 0; n < EDGES; n++) {
                struct gw_edge_config config = {.seed = {1, 2}, .lifetime_s = 20};
                struct host *h = &s->hosts[n];

                h->sim = s;
                h->index = n;
                snprintf(config.id.s, sizeof config.id.s, "n%d", n);
                snprintf(id, sizeof id, n % 2 ? "fd99::%d" : "10.99.0.%d", n + 1);
                gw_ip_parse(id, &h->locator);
                config.locator = h->locator;
                if (gw_edge_new(&h->edge, &config, &edge_effects, h))
                        abort();
        }
}

static void end(struct sim *s) {
        struct gw_deadline *timer;

        for (int n = 0; n < EDGES; n++)
                gw_edge_free(s->hosts[n].edge);
        while ((timer = gw_heap_first(&s->messages))) {
                gw_heap_forget(&s->messages, timer);
                free(gw_container_of(timer, struct message, timer));
        }
        gw_heap_deinit(&s->messages);
        gw_directory_deinit(&s->d);
        gw_store_free(s->store);
}

int main(void) {
        static struct sim s;
        const char *steps = getenv("GW_STEPS");
        unsigned long left = steps ? strtoul(steps, NULL, 0) : 6000;

        s.dice = dice_new();
        s.trace = getenv("GW_TRACE") != NULL;
        s.now_ns = GW_NS_PER_S;
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
               "%llu redirected, %llu held, 0 dropped\n",
               (double)s.now_ns / 1e9, s.n_moves, s.n_away, s.n_crashes, s.n_packets, s.n_redirected, s.n_held);
        printf("ok 1 - edges\n");
        end(&s);
        return 0;
}
