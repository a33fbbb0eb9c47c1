/* SPDX-License-Identifier: Apache-2.0 */
#include "directory_fixture.h"

#include "directory/gateway.h"

#include <stdio.h>
#include <stdlib.h>

#define MUST(x)                                                                                                        \
        do {                                                                                                           \
                if (!(x)) {                                                                                            \
                        fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                        \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)

struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        MUST(gw_ip_parse(text, &ip) == 0);
        return ip;
}

static void effect_store(enum gw_record table, const void *key, size_t nkey, const void *value, size_t nvalue,
                         void *user) {
        struct world *w = user;

        w->n_stores++;
        MUST(gw_store_put(w->store, (enum gw_store_table)table, key, nkey, value, nvalue) == 0);
        MUST(gw_store_commit(w->store) == 0);
}

static void effect_unstore(enum gw_record table, const void *key, size_t nkey, void *user) {
        struct world *w = user;

        w->n_stores++;
        MUST(gw_store_del(w->store, (enum gw_store_table)table, key, nkey) == 0);
        MUST(gw_store_commit(w->store) == 0);
}

static size_t effect_fetch(enum gw_record table, const void *key, size_t nkey, void *out, size_t room, void *user) {
        struct world *w = user;
        ssize_t n = gw_store_get(w->store, (enum gw_store_table)table, key, nkey, out, room);

        return n > 0 ? (size_t)n : 0;
}

static void effect_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        struct gw_batch batch = gw_batch_open(body, size);
        struct world *w = user;
        struct sent sent = {.to = to->id, .id = id};
        int what;

        if (type == GW_FRAME_AGREED) {
                MUST(gw_agreed_decode(body, size, &w->agreed) == 0);
                w->n_agreed++;
                return;
        }
        MUST((type == GW_FRAME_UPDATE || type == GW_FRAME_FLUSH) && w->n_frames < WORLD_SENT_MAX);
        w->octets += size;
        if (type == GW_FRAME_FLUSH) {
                MUST(gw_flush_decode(body, size, &w->flush) == 0);
                w->n_flushes++;
        }
        w->frames[w->n_frames].to = to->id;
        w->frames[w->n_frames].flush = type == GW_FRAME_FLUSH;
        w->frames[w->n_frames++].id = id;
        while (type == GW_FRAME_UPDATE && (what = gw_batch_next(&batch, &sent.mapping, &sent.member)) != GW_BATCH_END) {
                MUST(what != GW_BATCH_BAD && w->n_sent < WORLD_RECORDS_MAX);
                if (what == GW_BATCH_VN) {
                        w->settings = batch.vn;
                        continue;
                }
                sent.is_member = what == GW_BATCH_MEMBER;
                w->sent[w->n_sent++] = sent;
        }
}

static void effect_drop(struct gw_nve *nve, const char *reason, void *user) {
        struct world *w = user;

        (void)nve;
        (void)reason;
        w->n_drops++;
}

static void effect_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        struct world *w = user;

        (void)kind;
        (void)gone;
        MUST(*id);
        w->n_changes++;
}

static void effect_note(enum gw_note kind, const char *text, void *user) {
        struct world *w = user;

        w->n_notes++;
        w->note_kind = kind;
        snprintf(w->note, sizeof w->note, "%s", text);
}

static bool effect_notice(struct gw_ip to, enum gw_notice_kind kind, const struct gw_registration *request,
                          void *user) {
        struct world *w = user;

        if (gw_ip_eq(to, w->away))
                return false;
        MUST(w->n_noticed < WORLD_NOTICES_MAX);
        w->noticed[w->n_noticed].to = to;
        w->noticed[w->n_noticed].kind = kind;
        w->noticed[w->n_noticed++].request = *request;
        return true;
}

static void effect_gateway_tell(struct gw_nve *nve, void *user) {
        struct world *w = user;

        (void)nve;
        w->n_told_ways++;
}

static const struct gw_directory_effects effects = {.store = effect_store,
                                                    .gateway_tell = effect_gateway_tell,
                                                    .unstore = effect_unstore,
                                                    .fetch = effect_fetch,
                                                    .send = effect_send,
                                                    .drop = effect_drop,
                                                    .changed = effect_changed,
                                                    .note = effect_note,
                                                    .notice = effect_notice};
static const uint64_t seed[2] = {1, 2};

struct gw_nve *world_hello(struct world *w, const char *id, const char *locator) {
        struct gw_hello hello = {.role = GW_ROLE_NVE, .locator = ip_of(locator), .restart_count = 1};
        struct gw_nve *nve;

        MUST(gw_name_parse(id, &hello.id) == 0);
        MUST(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error) == 0);
        gw_directory_nve_hv(&w->d, nve, true);
        gw_directory_nve_capacity(&w->d, nve, 1024, 8);
        return nve;
}

struct gw_vm *world_vm(struct world *w, const char *id, const char *vn) {
        struct gw_port_spec port = {.vn = vn};
        struct gw_vm_spec spec = {.id = id, .memory_mib = 128, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct gw_vm *vm;

        spec.definition = "{}";
        spec.definition_size = 2;
        MUST(gw_directory_vm_create(&w->d, &spec, &vm, &w->error) == 0);
        return vm;
}

void world_init(struct world *w) {
        struct gw_prefix subnets[2];
        struct gw_vn_spec vn = {.id = "blue", .vni = 100, .n_subnets = 2, .subnets = subnets};

        memset(w, 0, sizeof *w);
        w->now = (struct gw_now){{GW_NS_PER_S}, {UINT64_C(1700000000) * GW_NS_PER_S}};
        MUST(gw_store_memory_new(&w->store) == 0);
        MUST(gw_directory_init(&w->d, seed, 3600, &effects, w) == 0);
        MUST(gw_prefix_parse("10.1.0.0/24", &subnets[0]) == 0 && gw_prefix_parse("fd00:1::/64", &subnets[1]) == 0);
        MUST(gw_directory_vn_create(&w->d, &vn, &w->blue, &w->error) == 0);
        w->h1 = world_hello(w, "h1", "10.99.0.1");
        w->h2 = world_hello(w, "h2", "10.99.0.2");
        w->h3 = world_hello(w, "h3", "fd99::3");
        w->web = world_vm(w, "web", "blue");
}

void world_deinit(struct world *w) {
        gw_directory_deinit(&w->d);
        gw_store_free(w->store);
}

int world_setup(void **state) {
        struct world *w = malloc(sizeof *w);

        MUST(w);
        world_init(w);
        *state = w;
        return 0;
}

int world_teardown(void **state) {
        world_deinit(*state);
        free(*state);
        return 0;
}

struct loading {
        struct world *w;
        enum gw_record table;
};

static int load_each(const void *key, size_t nkey, const void *value, size_t nvalue, void *user) {
        struct loading *at = user;
        struct world *w = at->w;
        int r;

        gw_directory_load_ahead(&w->d, at->table, &(struct gw_stored){key, value, nkey, nvalue}, 1);
        r = gw_directory_load(&w->d, at->table, key, nkey, value, nvalue, w->now, &w->error);

        if (r)
                fprintf(stderr, "%s\n", w->error.text);
        return r;
}

void world_restart(struct world *w) {
        struct loading at = {w, GW_RECORD_META};

        gw_directory_deinit(&w->d);
        MUST(gw_directory_init(&w->d, seed, 3600, &effects, w) == 0);
        for (; at.table <= GW_RECORD_POLICY; at.table++)
                MUST(gw_store_each(w->store, (enum gw_store_table)at.table, load_each, &at) == 0);
        gw_directory_loaded(&w->d);
        w->h1 = gw_directory_nve(&w->d, "h1");
        w->h2 = gw_directory_nve(&w->d, "h2");
        w->h3 = gw_directory_nve(&w->d, "h3");
        w->blue = gw_directory_vn(&w->d, "blue@default");
        w->web = gw_directory_vm(&w->d, "web@default");
        world_forget(w);
}

void world_pass(struct world *w, uint64_t ms) {
        uint64_t end = w->now.mono.ns + ms * GW_NS_PER_MS;
        struct gw_mono next;

        for (;;) {
                next = gw_directory_deadline(&w->d);
                if (!next.ns || next.ns > end)
                        break;
                if (next.ns > w->now.mono.ns) {
                        w->now.wall.ns += next.ns - w->now.mono.ns;
                        w->now.mono = next;
                }
                gw_directory_tick(&w->d, w->now);
        }
        w->now.wall.ns += end - w->now.mono.ns;
        w->now.mono.ns = end;
}

void world_forget(struct world *w) {
        w->n_sent = w->n_frames = 0;
}

void world_ack(struct world *w) {
        for (size_t i = 0; i < w->n_frames; i++) /* more may come meanwhile */
                gw_directory_ack(&w->d, gw_directory_nve(&w->d, w->frames[i].to.s), w->frames[i].id, w->now);
        world_forget(w);
}

void world_subscribe(struct world *w, struct gw_nve *nve) {
        gw_directory_subscribe(&w->d, nve, &w->blue->vni, 1, w->now);
}

struct gw_nve *world_gateway(struct world *w, const char *id, const char *locator, uint32_t cost) {
        struct gw_hello hello = {.role = GW_ROLE_NVE,
                                 .locator = ip_of(locator),
                                 .restart_count = 1,
                                 .gateway = true,
                                 .gateway_cost = cost};
        struct gw_nve *nve;

        MUST(gw_name_parse(id, &hello.id) == 0);
        MUST(gw_directory_hello(&w->d, &hello, w->now, &nve, &w->error) == 0);
        return nve;
}

void world_arrived(struct world *w) {
        for (struct gw_nve *nve = NULL; (nve = gw_directory_nve_after(&w->d, nve ? nve->id.s : NULL));)
                for (int i = 0; nve->ways_held && i < 4; i++) {
                        world_ack(w);
                        world_pass(w, WORLD_LOOK_MS);
                }
        for (struct gw_nve *nve = NULL; (nve = gw_directory_nve_after(&w->d, nve ? nve->id.s : NULL));)
                gw_directory_gateway_took(&w->d, nve, true, w->now);
        for (int i = 0; i < 4; i++) {
                world_ack(w);
                world_pass(w, WORLD_LOOK_MS);
        }
}

struct gw_registration world_request(struct world *w, const struct gw_vm *vm, uint64_t epoch) {
        struct gw_registration r = {.kind = GW_REG_REQUEST,
                                    .flags = GW_MH_REQUEST_USUAL,
                                    .sequence = ++w->sequence,
                                    .lifetime_units = 900,
                                    .vm = gw_vm_name(vm),
                                    .epoch = epoch,
                                    .handoff = GW_MH_HANDOFF_NEW,
                                    .access = GW_MH_ACCESS_VIRTUAL};

        r.has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_EPOCH | GW_REG_HAS_TIMESTAMP;
        r.timestamp = gw_registration_stamp(w->now.wall) + w->sequence;
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                r.macs[r.n_macs++] = port->mac;
                for (unsigned i = 0; i < port->n_ips; i++) {
                        struct gw_ip ip = gw_port_ip(port, i);

                        if (gw_ip_is_v4(ip))
                                r.addrs4[r.n_addrs4++] = (struct gw_reg_addr4){.ip = ip, .bits = 32};
                        else
                                r.addrs6[r.n_addrs6++] = (struct gw_prefix){ip, 128};
                }
        }
        return r;
}

int world_register(struct world *w, struct gw_nve *nve, const struct gw_registration *request,
                   struct gw_registration *reply) {
        struct gw_registration own;
        int r = gw_directory_register(&w->d, nve, request, w->now, reply ? reply : &own);

        return r ? -1 : (reply ? reply : &own)->status;
}

void world_serve(struct world *w, struct gw_vm *vm, struct gw_nve *nve) {
        struct gw_registration request;
        uint64_t epoch;

        MUST(gw_directory_place(&w->d, vm, nve, w->now, &epoch, &w->error) == 0);
        request = world_request(w, vm, epoch);
        MUST(world_register(w, nve, &request, NULL) == 0);
}

const struct gw_mapping *world_told(const struct world *w, const struct gw_nve *nve, struct gw_mac mac) {
        for (size_t i = w->n_sent; i-- > 0;) {
                const struct sent *s = &w->sent[i];

                if (!s->is_member && gw_name_eq(&s->to, &nve->id) && gw_mac_eq(s->mapping.mac, mac))
                        return &s->mapping;
        }
        return NULL;
}

const struct gw_member *world_told_member(const struct world *w, const struct gw_nve *nve, struct gw_ip locator) {
        for (size_t i = w->n_sent; i-- > 0;) {
                const struct sent *s = &w->sent[i];

                if (s->is_member && !s->member.gone && gw_ip_is_unspecified(s->member.locator))
                        continue; /* that all mappings were told */
                if (s->is_member && gw_name_eq(&s->to, &nve->id) && gw_ip_eq(s->member.locator, locator))
                        return &s->member;
        }
        return NULL;
}
