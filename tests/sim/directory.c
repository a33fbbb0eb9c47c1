/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A data centre in one process: the directory with its store, NVEs, and a
 * management that starts, stops and moves VMs, while messages are lost, delayed,
 * doubled and reordered, sessions break, and the authority and NVEs crash.
 *
 * What is real: directory, store (in memory, with its commits), frame codecs.
 * What is modelled: an NVE, which keeps what it is told by the epoch rule and
 * registers what it serves; hypervisors, which are calls that arrive.
 *
 * Truth is where a VM really runs. Held against it, all the time:
 * - an epoch of a VM is accepted from one NVE only, so that of two NVEs whose
 *   newest accepted epoch says "serving" one knows that it is older;
 * - the NVE that runs a VM with its newest epoch is never refused for good;
 * - the directory's epoch of a VM never falls, over restarts too, and what was
 *   acknowledged (a VM made, an epoch given out, a registration) is there;
 * and after each storm, when faults have stopped and time has passed:
 * - the directory says of each VM what is true;
 * - no NVE holds a mapping that differs from the directory's and has not run out;
 * - every NVE has the same members of its VNs as the directory, and in a pushed
 *   VN every mapping.
 *
 * Towards an NVE a session keeps order, as TCP does; frames on it may all the
 * same be lost or doubled, which is harsher. From an NVE, registrations and
 * acknowledgements may overtake each other too.
 *
 * GW_SEED repeats a run, GW_STEPS sets its length, GW_TRACE=1 prints it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sim/authority.h"

enum {
        NVES = 8,
        VNS = 4, /* one of each model, and a hybrid one that is too large to be pushed */
        VMS = 24,
        FILLERS = GW_DIRECTORY_PUSH_MAX, /* VMs of the last VN that never run: it is too large to be pushed */
        LEASE_S = 40,
        STORM_STEPS = 400,
        QUIET_MS = 60000,
        SWEEP_MS = 5000,
        NOWHERE = -1,
};

/* --- the NVE model --- */

enum role { ROLE_NONE, ROLE_ARRIVING, ROLE_SERVING, ROLE_CUT };

struct entry { /* what an NVE holds of a VM's place */
        bool there;
        bool confirmed; /* in this session */
        uint8_t state;
        uint64_t epoch;
        struct gw_ip locator;
        uint64_t ends_ns;
};
struct here { /* a VM at an NVE */
        enum role role;
        uint64_t epoch;
        bool accepted;
        uint64_t next_ns; /* registers then */
};
struct nve {
        char id[8];
        struct gw_ip locator;
        uint64_t subscribes_ns;
        uint64_t sweeps_ns; /* lets go of what this session did not confirm */
        uint16_t sequence;
        struct entry cache[VMS];
        struct here vms[VMS];
        bool members[VNS][NVES];
};

/* --- VMs as management sees them --- */

enum phase { REST, RESERVED, PREPARED, CUT, RAN, TOOK_BACK };

struct vm {
        bool made, wanted;
        int vn;
        int runs_at;    /* truth */
        uint64_t epoch; /* truth: with which it runs, or ran last */
        enum phase phase;
        int from, to;
        uint64_t move_epoch, back_epoch;
        uint64_t seen_epoch;     /* of the directory, at its last commit */
        uint64_t reserved_epoch; /* highest that left the directory */
        int owner[1 << 12];      /* epoch -> NVE that had it accepted, + 1 */
};

struct frame {
        uint8_t type;
        uint32_t id;
        const uint8_t *body;
        size_t size;
};

struct sim {
        struct net net;
        struct authority a;
        bool calm; /* no faults */
        struct nve nves[NVES];
        struct vm vms[VMS];
        uint64_t n_moves, n_crashes, n_registrations, n_refused;
};

static const struct net_weather storm_weather = {.loss = 5, .twice = 5, .late = 5, .delay_ms = 20, .late_ms = 400};
static const struct net_weather calm_weather = {.delay_ms = 20, .late_ms = 20};

static bool fault(struct sim *s, unsigned percent) {
        return net_chance(&s->net, percent) && !s->calm;
}
static const char *vm_id(int i) {
        static char text[24];

        snprintf(text, sizeof text, "vm%d@default", i);
        return text;
}
static struct gw_vm *vm_of(struct sim *s, int i) {
        return gw_directory_vm(&s->a.d, vm_id(i));
}
static struct gw_nve *nve_of(struct sim *s, int i) {
        return authority_nve(&s->a, i);
}
static int vm_index(const char *id) {
        return strncmp(id, "vm", 2) == 0 ? atoi(id + 2) : NOWHERE;
}

/* --- the authority: turns, commits, crashes --- */

/* From an NVE, frames may overtake each other; all but its subscription, which nothing answers. */
static void send_frame(struct sim *s, int nve, const struct gw_writer *w) {
        struct gw_frame_header header;

        if (gw_frame_header_decode(w->base, w->at, &header))
                net_die(&s->net, "a frame of our own does not decode");
        net_post(&s->net, net_message(nve, NET_UP, w->base, w->at),
                 header.type == GW_FRAME_SUBSCRIBE ? NET_ORDERED | NET_SURE : 0);
}

static void session_break(struct sim *s, int i) {
        if (!s->net.links[i].session)
                return;
        net_close(&s->net, i);
        authority_bye(&s->a, i);
}

static void authority_away(struct sim *s) {
        s->n_crashes++;
        authority_crash(&s->a);
        for (int i = 0; i < NVES; i++)
                session_break(s, i);
        s->a.back_ns = s->net.now_ns + net_below(&s->net, 3000) * GW_NS_PER_MS;
}

static void check_commit(struct sim *s) {
        for (int i = 0; i < VMS; i++) {
                const struct gw_vm *vm = vm_of(s, i);

                if (!vm)
                        continue;
                if (vm->binding.epoch < s->vms[i].seen_epoch)
                        net_die(&s->net, "%s: epoch fell from %llu to %llu", gw_vm_name(vm).s,
                                (unsigned long long)s->vms[i].seen_epoch, (unsigned long long)vm->binding.epoch);
                s->vms[i].seen_epoch = vm->binding.epoch;
        }
}

/* The end of one turn of the authority's loop. False: it crashed and what the turn did is gone. */
static bool turn_end(struct sim *s) {
        if (fault(s, 1)) {
                authority_away(s);
                return false;
        }
        authority_commit(&s->a);
        check_commit(s);
        if (fault(s, 1)) {
                authority_post(&s->a, net_below(&s->net, s->a.n_outbox + 1));
                authority_away(s);
                return true;
        }
        authority_post(&s->a, s->a.n_outbox);
        for (int i = 0; i < NVES; i++)
                if (s->a.drops[i]) {
                        net_trace(&s->net, "%s is dropped", s->nves[i].id);
                        s->a.drops[i] = false;
                        session_break(s, i);
                }
        return true;
}

static void check_loaded(struct sim *s) {
        for (int i = 0; i < VMS; i++) {
                const struct vm *m = &s->vms[i];
                const struct gw_vm *vm = vm_of(s, i);

                if (m->made != (vm != NULL))
                        net_die(&s->net, "%s %s after a restart", vm_id(i), vm ? "came back" : "is lost");
                if (vm && vm->binding.reserved < m->reserved_epoch)
                        net_die(&s->net, "%s: an epoch that was given out is forgotten", gw_vm_name(vm).s);
        }
}

static void authority_back(struct sim *s) {
        authority_start(&s->a);
        check_loaded(s);
        check_commit(s);
}

/* --- what NVEs do --- */

static struct gw_registration request_of(struct sim *s, int n, int v, uint64_t epoch) {
        struct nve *nve = &s->nves[n];
        struct gw_registration r = {.kind = GW_REG_REQUEST,
                                    .flags = GW_MH_REQUEST_USUAL,
                                    .sequence = ++nve->sequence,
                                    .lifetime_units = 20,
                                    .epoch = epoch,
                                    .handoff = GW_MH_HANDOFF_MOVED,
                                    .access = GW_MH_ACCESS_VIRTUAL};

        strcpy(r.vm.s, vm_id(v));
        r.has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_EPOCH | GW_REG_HAS_TIMESTAMP;
        /* Each NVE's clock is off by another half second. */
        r.timestamp = gw_registration_stamp(net_now(&s->net).wall) + (uint64_t)n * 32768;
        for (const struct gw_port *port = vm_of(s, v) ? gw_vm_ports(vm_of(s, v)) : NULL; port;
             port = gw_port_next(port)) {
                r.macs[r.n_macs++] = port->mac;
                for (unsigned i = 0; i < port->n_ips; i++)
                        if (gw_ip_is_v4(gw_port_ip(port, i)))
                                r.addrs4[r.n_addrs4++] = (struct gw_reg_addr4){.ip = gw_port_ip(port, i), .bits = 32};
                        else
                                r.addrs6[r.n_addrs6++] = (struct gw_prefix){gw_port_ip(port, i), 128};
        }
        return r;
}

static void nve_register(struct sim *s, int n, int v) {
        struct here *here = &s->nves[n].vms[v];
        struct gw_registration r = request_of(s, n, v, here->epoch);
        struct gw_ip to = {{[15] = 9}};
        uint8_t message[GW_MH_SIZE_MAX], frame[GW_MH_SIZE_MAX + 64];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(frame, sizeof frame);
        struct gw_register reg = {.locator = s->nves[n].locator, .message = message};

        if (gw_registration_encode(&m, reg.locator, to, &r))
                net_die(&s->net, "a registration does not encode");
        reg.message_size = m.at;
        gw_register_encode(&w, GW_FRAME_REGISTER, 1, &reg);
        send_frame(s, n, &w);
        here->next_ns = s->net.now_ns + 1000 * GW_NS_PER_MS;
}

/* Its last port in the VN went, and with it all that it held of it. */
static void nve_forget(struct sim *s, int n, int vn) {
        for (int v = 0; v < VMS; v++)
                s->nves[n].cache[v].there &= s->vms[v].vn != vn;
        memset(s->nves[n].members[vn], 0, sizeof s->nves[n].members[vn]);
}

static void nve_subscribe(struct sim *s, int n) {
        struct nve *nve = &s->nves[n];
        uint32_t vnis[VNS];
        uint8_t frame[256];
        struct gw_writer w = gw_writer(frame, sizeof frame);
        size_t count = 0;

        for (int k = 0; k < VNS; k++) {
                bool here = false;

                for (int v = 0; v < VMS; v++)
                        here |= nve->vms[v].role != ROLE_NONE && s->vms[v].vn == k;
                if (here)
                        vnis[count++] = 100 + (uint32_t)k;
                else
                        nve_forget(s, n, k);
        }
        gw_subscribe_encode(&w, 0, vnis, count);
        send_frame(s, n, &w);
        nve->subscribes_ns = UINT64_MAX; /* until the list changes; nothing answers it, and it is not lost */
}

static void nve_learn(struct sim *s, int n, const struct gw_mapping *m) {
        struct gw_port *port = s->a.up ? gw_directory_port_by_mac(&s->a.d, m->vni, m->mac) : NULL;
        int v = *m->vm.s ? vm_index(m->vm.s) : port ? vm_index(gw_vm_name(gw_port_vm(port)).s) : NOWHERE;
        struct entry *e;

        if (v == NOWHERE)
                return;
        e = &s->nves[n].cache[v];
        if (e->there && e->ends_ns > s->net.now_ns && m->epoch < e->epoch)
                return;
        *e = (struct entry){.there = true,
                            .confirmed = true,
                            .state = m->state,
                            .epoch = m->epoch,
                            .locator = m->locator,
                            .ends_ns = s->net.now_ns + m->lifetime_ms * GW_NS_PER_MS};
}

static void nve_learn_member(struct sim *s, int n, const struct gw_member *m) {
        int vn = (int)m->vni - 100;

        if (gw_ip_is_unspecified(m->locator) && !m->gone)
                return; /* all mappings were told; nothing here believes that others do not exist */
        if (gw_ip_is_unspecified(m->locator)) {
                memset(s->nves[n].members[vn], 0, sizeof s->nves[n].members[vn]);
                return;
        }
        for (int i = 0; i < NVES; i++)
                if (gw_ip_eq(s->nves[i].locator, m->locator))
                        s->nves[n].members[vn][i] = !m->gone;
}

static void nve_flush(struct sim *s, int n, const struct frame *m) {
        struct gw_flush_request flush;

        if (gw_flush_decode(m->body, m->size, &flush) || !flush.all)
                net_die(&s->net, "a flush does not decode");
        for (int v = 0; v < VMS; v++)
                if (flush.positive && s->vms[v].vn == (int)flush.vni - 100)
                        s->nves[n].cache[v].there = false;
}

static void nve_update(struct sim *s, int n, const struct frame *m) {
        struct gw_batch batch = gw_batch_open(m->body, m->size);
        uint8_t frame[32];
        struct gw_writer w = gw_writer(frame, sizeof frame);
        struct gw_mapping mapping;
        struct gw_member member;
        int what;

        if (m->type == GW_FRAME_FLUSH)
                nve_flush(s, n, m);
        while (m->type != GW_FRAME_FLUSH && (what = gw_batch_next(&batch, &mapping, &member)) != GW_BATCH_END) {
                if (what == GW_BATCH_BAD)
                        net_die(&s->net, "an update does not decode");
                if (what == GW_BATCH_MAPPING)
                        nve_learn(s, n, &mapping);
                else if (what == GW_BATCH_MEMBER)
                        nve_learn_member(s, n, &member);
        }
        if (m->type == GW_FRAME_RESPONSE)
                return;
        gw_empty_encode(&w, GW_FRAME_UPDATE_ACK, m->id);
        send_frame(s, n, &w);
}

static void nve_registered(struct sim *s, int n, const struct frame *m) {
        struct gw_ip from = {{[15] = 9}};
        struct gw_registration r;
        struct gw_register reg;
        struct here *here;
        int v;

        if (gw_register_decode(m->body, m->size, &reg) ||
            gw_registration_decode(reg.message, reg.message_size, from, s->nves[n].locator, &r))
                net_die(&s->net, "an answer to a registration does not decode");
        v = vm_index(r.vm.s);
        here = &s->nves[n].vms[v];
        if (here->role != ROLE_SERVING)
                return;
        if (r.status == 0 && r.epoch == here->epoch) {
                here->accepted = true;
                here->next_ns = s->net.now_ns + r.lifetime_units * 3 * GW_NS_PER_S; /* 3/4 of it */
        }
        if (r.status == GW_MH_TIMESTAMP_LOWER && r.epoch > here->epoch && s->vms[v].runs_at == n)
                net_die(&s->net, "%s runs at %s with its newest epoch %llu, and is refused", r.vm.s, s->nves[n].id,
                        (unsigned long long)here->epoch);
}

/* --- what the authority does with messages --- */

static void check_accepted(struct sim *s, int n, const struct gw_registration *r) {
        int v = vm_index(r->vm.s), *owner = &s->vms[v].owner[r->epoch & 0xfff];

        if (r->epoch > 0xfff)
                net_die(&s->net, "too many epochs for one run");
        if (*owner && *owner != n + 1)
                net_die(&s->net, "%s: epoch %llu accepted from %s and from %s", r->vm.s, (unsigned long long)r->epoch,
                        s->nves[*owner - 1].id, s->nves[n].id);
        *owner = n + 1;
        if (s->vms[v].runs_at != n && r->epoch > s->vms[v].epoch)
                net_die(&s->net, "%s: an epoch was accepted that it never ran with", r->vm.s);
        s->n_registrations++;
}

static void authority_register(struct sim *s, int n, const struct frame *m) {
        struct gw_ip self = {{[15] = 9}};
        struct gw_registration request, reply;
        struct gw_register reg;
        uint8_t message[GW_MH_SIZE_MAX], frame[GW_MH_SIZE_MAX + 64];
        struct gw_writer out = gw_writer(message, sizeof message), w = gw_writer(frame, sizeof frame);

        if (gw_register_decode(m->body, m->size, &reg) ||
            gw_registration_decode(reg.message, reg.message_size, reg.locator, self, &request))
                net_die(&s->net, "a registration does not decode");
        if (gw_directory_register(&s->a.d, nve_of(s, n), &request, net_now(&s->net), &reply))
                return;
        if (reply.status == 0)
                check_accepted(s, n, &reply);
        else
                s->n_refused++;
        if (gw_registration_encode(&out, self, reg.locator, &reply))
                net_die(&s->net, "an answer does not encode");
        reg.message = message;
        reg.message_size = out.at;
        gw_register_encode(&w, GW_FRAME_REGISTERED, m->id, &reg);
        authority_answer(&s->a, n, frame, w.at);
}

static void authority_query(struct sim *s, int n, const struct frame *m) {
        struct gw_query query;
        struct gw_mapping mapping;
        uint8_t frame[2048];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (gw_query_decode(m->body, m->size, &query))
                net_die(&s->net, "a query does not decode");
        gw_directory_query(&s->a.d, nve_of(s, n), &query, net_now(&s->net), &mapping);
        gw_batch_encode(&w, GW_FRAME_RESPONSE, m->id, &mapping, 1, NULL, 0);
        authority_answer(&s->a, n, frame, w.at);
}

static void take_frame(struct sim *s, int n, const struct frame *m) {
        uint32_t vnis[VNS];
        size_t count;

        switch (m->type) {
        case GW_FRAME_REGISTER:
                authority_register(s, n, m);
                break;
        case GW_FRAME_QUERY:
                authority_query(s, n, m);
                break;
        case GW_FRAME_SUBSCRIBE:
                if (gw_subscribe_decode(m->body, m->size, vnis, VNS, &count))
                        net_die(&s->net, "a subscription does not decode");
                gw_directory_subscribe(&s->a.d, nve_of(s, n), vnis, count, net_now(&s->net));
                break;
        case GW_FRAME_UPDATE_ACK:
                gw_directory_ack(&s->a.d, nve_of(s, n), m->id, net_now(&s->net));
                break;
        default:
                net_die(&s->net, "frame of type %u", m->type);
        }
        turn_end(s);
}

static void deliver(struct sim *s, struct net_message *m) {
        struct gw_frame_header header;
        struct frame frame = {.body = m->bytes + GW_FRAME_HEADER_SIZE, .size = m->size - GW_FRAME_HEADER_SIZE};

        if (gw_frame_header_decode(m->bytes, m->size, &header))
                net_die(&s->net, "a frame does not decode");
        frame.type = header.type;
        frame.id = header.id;
        if (m->way == NET_UP)
                take_frame(s, m->link, &frame);
        else if (frame.type == GW_FRAME_REGISTERED)
                nve_registered(s, m->link, &frame);
        else
                nve_update(s, m->link, &frame);
        free(m);
}

/* --- management --- */

static void run_at(struct sim *s, int v, int n, uint64_t epoch) {
        struct vm *vm = &s->vms[v];

        vm->runs_at = n;
        vm->epoch = epoch;
        s->nves[n].vms[v] = (struct here){.role = ROLE_SERVING, .epoch = epoch, .next_ns = s->net.now_ns};
        s->nves[n].subscribes_ns = s->net.now_ns;
}

static void here_none(struct sim *s, int v, int n) {
        s->nves[n].vms[v] = (struct here){0};
        s->nves[n].subscribes_ns = s->net.now_ns;
}

static void vm_make(struct sim *s, int v) {
        struct gw_port_spec port = {.vn = NULL};
        struct gw_vm_spec spec = {.id = vm_id(v), .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct vm *vm = &s->vms[v];
        struct gw_error error;
        char vn[16];

        vm->vn = (int)net_below(&s->net, VNS);
        snprintf(vn, sizeof vn, "vn%d", vm->vn);
        port.vn = vn;
        if (gw_directory_vm_create(&s->a.d, &spec, NULL, &error))
                net_die(&s->net, "%s", error.text);
        if (turn_end(s)) {
                vm->made = true;
                vm->runs_at = NOWHERE;
                vm->phase = REST;
                vm->wanted = false;
        }
}

static void vm_start(struct sim *s, int v) {
        int n = (int)net_below(&s->net, NVES);
        struct vm *vm = &s->vms[v];
        uint64_t epoch;
        struct gw_error error;

        vm->wanted = true;
        if (!nve_of(s, n) || gw_directory_place(&s->a.d, vm_of(s, v), nve_of(s, n), net_now(&s->net), &epoch, &error))
                return; /* not connected */
        if (!turn_end(s))
                return;
        net_trace(&s->net, "%s starts at n%d, epoch %llu", vm_id(v), n, (unsigned long long)epoch);
        vm->reserved_epoch = epoch;
        if (!s->a.up)
                return; /* it crashed before it could call the hypervisor */
        run_at(s, v, n, epoch);
}

static void vm_stop(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];

        vm->wanted = false;
        if (vm->runs_at != NOWHERE)
                here_none(s, v, vm->runs_at);
        vm->runs_at = NOWHERE;
        gw_directory_release(&s->a.d, vm_of(s, v), net_now(&s->net));
        turn_end(s);
}

static void vm_delete(struct sim *s, int v) {
        struct gw_vm *vm = vm_of(s, v);
        uint64_t floor = vm->binding.reserved;

        if (gw_vm_nve(vm) || gw_directory_vm_delete(&s->a.d, vm, NULL))
                return;
        if (turn_end(s)) {
                net_trace(&s->net, "%s is deleted", vm_id(v));
                s->vms[v].made = false;
                s->vms[v].reserved_epoch = s->vms[v].seen_epoch = floor; /* for whoever has its name next */
        }
}

static void move_begin(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        int to = (int)net_below(&s->net, NVES);
        uint64_t a, b;

        if (!nve_of(s, to) || vm_of(s, v)->binding.epoch != vm->epoch ||
            gw_directory_reserve(&s->a.d, vm_of(s, v), nve_of(s, to), net_now(&s->net), &a, &b, NULL))
                return;
        if (!turn_end(s))
                return;
        vm->from = vm->runs_at;
        vm->to = to;
        vm->move_epoch = a;
        vm->back_epoch = vm->reserved_epoch = b;
        vm->phase = RESERVED;
        s->n_moves++;
        net_trace(&s->net, "%s moves n%d -> n%d, epochs %llu, %llu", vm_id(v), vm->from, to, (unsigned long long)a,
                  (unsigned long long)b);
}

/* The authority learns the end of a move; again after each crash, until it has. */
static void move_settle(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct gw_vm *known = vm_of(s, v);

        if (!s->a.up)
                return;
        if (gw_vm_move(known) && known->binding.epoch < vm->epoch && (s->calm || net_chance(&s->net, 50))) {
                if (vm->phase == RAN)
                        gw_directory_commit(&s->a.d, known, net_now(&s->net));
                else
                        gw_directory_take_back(&s->a.d, known, net_now(&s->net));
                turn_end(s);
                return;
        }
        if (known->binding.epoch < vm->epoch)
                return; /* the registration will tell it */
        gw_directory_unreserve(&s->a.d, known);
        if (!turn_end(s))
                return;
        here_none(s, v, vm->phase == RAN ? vm->from : vm->to);
        vm->phase = REST;
}

static void move_step(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];
        struct nve *from = &s->nves[vm->from], *to = &s->nves[vm->to];

        switch (vm->phase) {
        case RESERVED:
                if (fault(s, 10)) { /* the target never came up */
                        vm->phase = TOOK_BACK;
                        break;
                }
                to->vms[v] = (struct here){.role = ROLE_ARRIVING, .epoch = vm->move_epoch};
                to->subscribes_ns = s->net.now_ns;
                vm->phase = PREPARED;
                break;
        case PREPARED:
                from->vms[v].role = ROLE_CUT;
                vm->runs_at = NOWHERE;
                vm->phase = CUT;
                break;
        case CUT:
                if (fault(s, 25)) {
                        here_none(s, v, vm->to); /* fenced first */
                        run_at(s, v, vm->from, vm->back_epoch);
                        vm->phase = TOOK_BACK;
                } else {
                        run_at(s, v, vm->to, vm->move_epoch);
                        vm->phase = RAN;
                }
                break;
        default:
                move_settle(s, v);
        }
}

static void manage(struct sim *s, int v) {
        struct vm *vm = &s->vms[v];

        if (vm->phase != REST) {
                move_step(s, v);
        } else if (!s->a.up) {
                return;
        } else if (!vm->made) {
                if (!s->calm)
                        vm_make(s, v);
        } else if (vm->runs_at == NOWHERE && !vm->wanted && gw_vm_nve(vm_of(s, v))) {
                vm_stop(s, v); /* the authority crashed before it had noted it */
        } else if (vm->runs_at == NOWHERE) {
                if (vm->wanted || (!s->calm && net_chance(&s->net, 70)))
                        vm_start(s, v);
                else if (!s->calm)
                        vm_delete(s, v);
        } else if (!s->calm && net_chance(&s->net, 10)) {
                vm_stop(s, v);
        } else if (!s->calm) {
                move_begin(s, v);
        }
}

static void ask(struct sim *s, int n, int v) {
        struct gw_port *port = s->a.up && vm_of(s, v) ? gw_vm_ports(vm_of(s, v)) : NULL;
        struct gw_query query = {.by_mac = net_chance(&s->net, 50)};
        uint8_t frame[128];
        struct gw_writer w = gw_writer(frame, sizeof frame);

        if (!port)
                return;
        query.vni = gw_port_vn(port)->vni;
        query.mac = port->mac;
        query.ip = gw_port_ip(port, 0);
        gw_query_encode(&w, 7, &query);
        send_frame(s, n, &w);
}

/* --- time --- */

static void connect_nve(struct sim *s, int n) {
        struct nve *nve = &s->nves[n];
        struct gw_hello hello = {.role = GW_ROLE_NVE, .locator = nve->locator, .restart_count = 1};
        struct gw_nve *known;
        struct gw_error error;

        strcpy(hello.id.s, nve->id);
        if (gw_directory_hello(&s->a.d, &hello, net_now(&s->net), &known, &error))
                net_die(&s->net, "%s", error.text);
        gw_directory_nve_hv(&s->a.d, known, true);
        gw_directory_nve_capacity(&s->a.d, known, 1000, 1000);
        s->a.hello[n] = true;
        net_open(&s->net, n);
        if (!turn_end(s))
                return;
        for (int v = 0; v < VMS; v++)
                nve->vms[v].next_ns = s->net.now_ns; /* tells it all again */
        nve->subscribes_ns = s->net.now_ns;
        nve->sweeps_ns = s->net.now_ns + SWEEP_MS * GW_NS_PER_MS;
        for (int v = 0; v < VMS; v++)
                nve->cache[v].confirmed = false;
}

static void nve_sweep(struct sim *s, int n) {
        struct nve *nve = &s->nves[n];

        nve->sweeps_ns = UINT64_MAX;
        for (int v = 0; v < VMS; v++)
                nve->cache[v].there &= nve->cache[v].confirmed;
}

static void nve_tick(struct sim *s, int n) {
        struct nve *nve = &s->nves[n];

        if (!s->net.links[n].session) {
                if (s->a.up && (s->calm || net_chance(&s->net, 20)))
                        connect_nve(s, n);
                return;
        }
        if (nve->subscribes_ns <= s->net.now_ns)
                nve_subscribe(s, n);
        if (nve->sweeps_ns <= s->net.now_ns)
                nve_sweep(s, n);
        for (int v = 0; v < VMS; v++)
                if (nve->vms[v].role == ROLE_SERVING && nve->vms[v].next_ns <= s->net.now_ns)
                        nve_register(s, n, v);
}

static void pass(struct sim *s, uint64_t ms) {
        uint64_t end = s->net.now_ns + ms * GW_NS_PER_MS;
        struct net_message *m;

        while ((m = net_next(&s->net, end)))
                deliver(s, m);
        if (!s->a.up) {
                if (s->net.now_ns >= s->a.back_ns || s->calm)
                        authority_back(s);
        } else if (gw_mono_reached((struct gw_mono){s->net.now_ns}, gw_directory_deadline(&s->a.d))) {
                gw_directory_tick(&s->a.d, net_now(&s->net));
                turn_end(s);
        }
        for (int n = 0; n < NVES; n++)
                nve_tick(s, n);
}

/* --- after a storm --- */

static void check_vm(struct sim *s, int v) {
        const struct vm *vm = &s->vms[v];
        const struct gw_vm *known = vm_of(s, v);
        const struct gw_binding *b = known ? &known->binding : NULL;

        if (!vm->made)
                return;
        if (vm->wanted && vm->runs_at == NOWHERE)
                net_die(&s->net, "%s should run and does not", gw_vm_name(known).s);
        if (authority_link(gw_binding_nve(b)) != vm->runs_at || gw_binding_move(b))
                net_die(&s->net, "%s runs at n%d, the directory says n%d", gw_vm_name(known).s, vm->runs_at,
                        authority_link(gw_binding_nve(b)));
        if (vm->runs_at != NOWHERE && (b->state != GW_BINDING_SERVING || b->epoch != vm->epoch))
                net_die(&s->net, "%s: %s, epoch %llu; it runs with %llu", gw_vm_name(known).s,
                        gw_binding_state_word(b->state), (unsigned long long)b->epoch, (unsigned long long)vm->epoch);
}

static void check_held(struct sim *s, int n, int v) {
        const struct entry *e = &s->nves[n].cache[v];
        const struct gw_vm *known = vm_of(s, v);
        bool member = known && gw_directory_member_after(gw_port_vn(gw_vm_ports(known)), NULL), live;
        struct gw_mapping m;
        bool listens = false;

        if (!known)
                return;
        gw_directory_mapping(gw_vm_ports(known), &m);
        live = e->there && e->ends_ns > s->net.now_ns;
        for (int k = 0; k < VMS; k++)
                listens |= s->nves[n].vms[k].role != ROLE_NONE && s->vms[k].vn == s->vms[v].vn;
        if (live && listens &&
            (e->state != m.state || (m.state == GW_MAPPING_SERVING && !gw_ip_eq(e->locator, m.locator))))
                net_die(&s->net, "n%d holds %s of %s with epoch %llu; the directory: %s with %llu", n,
                        e->state == GW_MAPPING_SERVING ? "a place" : "absence", gw_vm_name(known).s,
                        (unsigned long long)e->epoch, m.state == GW_MAPPING_SERVING ? "a place" : "absence",
                        (unsigned long long)m.epoch);
        if (member && listens && gw_port_vn(gw_vm_ports(known))->push && m.state == GW_MAPPING_SERVING && !live)
                net_die(&s->net, "n%d was not told of %s", n, gw_vm_name(known).s);
}

static void check_members(struct sim *s, int n) {
        const struct nve *nve = &s->nves[n];
        bool listens[VNS] = {0};

        for (int v = 0; v < VMS; v++)
                if (nve->vms[v].role != ROLE_NONE)
                        listens[s->vms[v].vn] = true;
        for (int k = 0; k < VNS; k++) {
                bool is[NVES] = {0};
                struct gw_nve *m = NULL;
                const struct gw_vn *vn = gw_directory_vn_by_vni(&s->a.d, 100 + (uint32_t)k);

                while (listens[k] && (m = gw_directory_member_after(vn, m)))
                        is[authority_link(m)] = true;
                for (int i = 0; i < NVES && listens[k]; i++)
                        if (i != n && is[i] != nve->members[k][i])
                                net_die(&s->net, "n%d: n%d is %s member of vn%d", n, i, is[i] ? "a" : "no", k);
        }
}

static void check_all(struct sim *s) {
        for (int v = 0; v < VMS; v++)
                check_vm(s, v);
        for (int n = 0; n < NVES; n++) {
                check_members(s, n);
                for (int v = 0; v < VMS; v++)
                        check_held(s, n, v);
        }
}

static void storm(struct sim *s, unsigned steps) {
        s->calm = false;
        s->net.weather = storm_weather;
        while (steps--) {
                pass(s, net_below(&s->net, net_chance(&s->net, 2) ? 20000 : 120));
                if (net_chance(&s->net, 60))
                        manage(s, (int)net_below(&s->net, VMS));
                if (net_chance(&s->net, 30))
                        ask(s, (int)net_below(&s->net, NVES), (int)net_below(&s->net, VMS));
                if (net_chance(&s->net, 2))
                        session_break(s, (int)net_below(&s->net, NVES));
                if (net_chance(&s->net, 1) && s->a.up) {
                        gw_directory_vn_flush(&s->a.d,
                                              gw_directory_vn_by_vni(&s->a.d, 100 + (uint32_t)net_below(&s->net, VNS)),
                                              net_chance(&s->net, 50), true, net_now(&s->net));
                        turn_end(s);
                }
                if (net_chance(&s->net, 1) && s->a.up)
                        authority_away(s);
        }
}

/* The last thing a storm may do, so that nothing that happens later makes good what was lost. */
static bool is_update(const struct net_message *m) {
        return m->bytes[5] == GW_FRAME_UPDATE || m->bytes[5] == GW_FRAME_UPDATE_ACK;
}

static void quiet(struct sim *s) {
        if (net_chance(&s->net, 50))
                net_lose(&s->net, is_update);
        s->calm = true;
        s->net.weather = calm_weather;
        for (int i = 0; i < QUIET_MS / 50; i++) {
                pass(s, 50);
                manage(s, i % VMS);
        }
        check_all(s);
}

static void begin(struct sim *s) {
        struct gw_prefix subnet;
        struct gw_error error;
        char name[32];

        for (int n = 0; n < NVES; n++) {
                snprintf(s->nves[n].id, sizeof s->nves[n].id, "n%d", n);
                snprintf(name, sizeof name, n % 2 ? "fd99::%d" : "10.99.0.%d", n + 1);
                gw_ip_parse(name, &s->nves[n].locator);
        }
        authority_init(&s->a, &s->net, LEASE_S);
        for (int k = 0; k < VNS; k++) {
                static const uint8_t models[VNS] = {GW_VN_HYBRID, GW_VN_PUSH, GW_VN_PULL, GW_VN_HYBRID};
                struct gw_vn_spec spec = {
                        .id = name, .vni = 100 + (uint32_t)k, .model = models[k], .n_subnets = 1, .subnets = &subnet};

                snprintf(name, sizeof name, "10.%d.0.0/16", k);
                gw_prefix_parse(name, &subnet);
                snprintf(name, sizeof name, "vn%d", k);
                if (gw_directory_vn_create(&s->a.d, &spec, NULL, &error))
                        net_die(&s->net, "%s", error.text);
        }
        for (int i = 0; i < FILLERS; i++) {
                struct gw_port_spec port = {.vn = name};
                char id[16];
                struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

                snprintf(id, sizeof id, "filler%d", i);
                if (gw_directory_vm_create(&s->a.d, &spec, NULL, &error))
                        net_die(&s->net, "%s", error.text);
        }
        authority_commit(&s->a);
}

int main(void) {
        static struct sim s;
        const char *steps = getenv("GW_STEPS");
        unsigned left = steps ? (unsigned)strtoul(steps, NULL, 0) : 8000;

        net_init(&s.net, "directory");
        s.net.sessions = NET_ORDERED; /* and no more: harsher than TCP */
        begin(&s);
        printf("1..1\n");
        for (; left; left -= left < STORM_STEPS ? left : STORM_STEPS) {
                storm(&s, left < STORM_STEPS ? left : STORM_STEPS);
                quiet(&s);
        }
        printf("# %.0f s, %llu moves, %llu crashes of the authority, %llu registrations accepted, %llu refused, "
               "%llu messages\n",
               (double)s.net.now_ns / 1e9, (unsigned long long)s.n_moves, (unsigned long long)s.n_crashes,
               (unsigned long long)s.n_registrations, (unsigned long long)s.n_refused,
               (unsigned long long)s.net.n_posted);
        printf("ok 1 - directory\n");
        authority_deinit(&s.a);
        net_deinit(&s.net);
        return 0;
}
