/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_fixture.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- the data plane ---- */

static int fx_fdb_set(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry) {
        struct world *w = user;
        size_t i = 0;

        while (i < w->n_fdb && !(w->fdb[i].vni == vni && gw_mac_eq(w->fdb[i].mac, mac)))
                i++;
        assert_true(i < WORLD_MAX);
        w->fdb[i] = (struct world_fdb){vni, mac, *entry};
        if (i == w->n_fdb)
                w->n_fdb++;
        w->n_fdb_writes++;
        return 0;
}

static void fx_fdb_del(void *user, uint32_t vni, struct gw_mac mac) {
        struct world *w = user;

        for (size_t i = 0; i < w->n_fdb; i++)
                if (w->fdb[i].vni == vni && gw_mac_eq(w->fdb[i].mac, mac)) {
                        w->fdb[i] = w->fdb[--w->n_fdb];
                        return;
                }
}

static int fx_neigh_set(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        struct world *w = user;
        size_t i = 0;

        while (i < w->n_neighs && !(w->neighs[i].vni == vni && gw_ip_eq(w->neighs[i].ip, ip)))
                i++;
        assert_true(i < WORLD_MAX);
        w->neighs[i] = (struct world_neigh){vni, ip, mac};
        if (i == w->n_neighs)
                w->n_neighs++;
        return 0;
}

static void fx_neigh_del(void *user, uint32_t vni, struct gw_ip ip) {
        struct world *w = user;

        for (size_t i = 0; i < w->n_neighs; i++)
                if (w->neighs[i].vni == vni && gw_ip_eq(w->neighs[i].ip, ip)) {
                        w->neighs[i] = w->neighs[--w->n_neighs];
                        return;
                }
}

static void fx_member_set(void *user, uint32_t vni, struct gw_ip locator, uint8_t role) {
        struct world *w = user;

        (void)role;
        assert_true(w->n_members < WORLD_MAX);
        w->members[w->n_members++] = (struct world_neigh){.vni = vni, .ip = locator};
}

static void fx_member_del(void *user, uint32_t vni, struct gw_ip locator) {
        struct world *w = user;

        for (size_t i = 0; i < w->n_members; i++)
                if (w->members[i].vni == vni && gw_ip_eq(w->members[i].ip, locator)) {
                        w->members[i] = w->members[--w->n_members];
                        return;
                }
        fail_msg("a member was taken away that was not there");
}

static int fx_port_open(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error) {
        struct world *w = user;

        if (w->open_result)
                return gw_fail(error, w->open_result, "device", "no");
        w->open[port->ifindex] = port->role;
        w->hold[port->ifindex] = hold;
        return 0;
}

static void fx_port_limits(void *user, uint32_t ifindex, const uint32_t limits[static GW_EDGE_LIMITS]) {
        struct world *w = user;

        assert_true(w->open[ifindex]);
        memcpy(w->limits[ifindex], limits, sizeof w->limits[ifindex]);
        w->n_limits++;
}

static void fx_port_close(void *user, const struct gw_edge_attach *port) {
        struct world *w = user;

        assert_true(w->open[port->ifindex]);
        w->open[port->ifindex] = 0;
        w->closed_with = w->fdb[0].entry.place;
}

static void step(struct world *w, char what) {
        size_t n = strlen(w->order);

        if (n + 1 < sizeof w->order)
                w->order[n] = what;
}

static int fx_port_cut(void *user, const struct gw_edge_attach *port, struct gw_ip to, uint64_t epoch, bool punt) {
        struct world *w = user;
        struct gw_edge_fdb entry = {
                .place = GW_EDGE_TO_MOVED, .punt = punt, .ifindex = port->ifindex, .locator = to, .epoch = epoch};

        step(w, 'c');
        w->open[port->ifindex] = GW_EDGE_MOVED;
        return fx_fdb_set(user, port->vni, port->mac, &entry);
}

static void fx_port_role(void *user, const struct gw_edge_attach *port, enum gw_edge_role role, bool hold) {
        struct world *w = user;

        w->open[port->ifindex] = (uint8_t)role;
        w->hold[port->ifindex] = hold;
}

static void fx_port_still(void *user, const struct gw_edge_attach *port, bool still) {
        struct world *w = user;

        assert_true(w->still[port->ifindex] != still);
        w->still[port->ifindex] = still;
}

static void record(struct world *w, int how, uint32_t ifindex, bool redirected, const uint8_t *bytes, size_t size) {
        struct world_frame *f = &w->down[w->n_down++];

        assert_true(w->n_down < WORLD_MAX);
        *f = (struct world_frame){.how = how, .ifindex = ifindex, .redirected = redirected, .size = size};
        f->tag = size > 14 ? bytes[14] : 0;
        memcpy(f->bytes, bytes, size < sizeof f->bytes ? size : sizeof f->bytes);
        for (size_t i = 0; i < w->n_fdb; i++)
                if (memcmp(w->fdb[i].mac.b, bytes, 6) == 0)
                        f->entry_punts = w->fdb[i].entry.punt;
}

static void fx_inject(void *user, enum gw_edge_inject how, const struct gw_edge_frame *frame) {
        if (how != GW_EDGE_SAY && how != GW_EDGE_PROBE && frame->offload[0]) /* made by the edge itself: none */
                assert_int_equal(frame->offload[0], 0x5a);
        record(user, how, frame->ifindex, frame->redirected, frame->bytes, frame->size);
}

static void fx_deliver(void *user, uint32_t ifindex, const uint8_t *frame, size_t size) {
        record(user, 0, ifindex, false, frame, size);
}

static void fx_send(void *user, const uint8_t *frame, size_t size) {
        struct world *w = user;
        struct world_sent *sent = &w->sent[w->n_sent++];
        struct gw_frame_header header;

        assert_true(w->n_sent < WORLD_MAX);
        assert_int_equal(gw_frame_header_decode(frame, size, &header), 0);
        assert_int_equal(header.length, size);
        sent->type = header.type;
        sent->id = header.id;
        sent->size = size - GW_FRAME_HEADER_SIZE;
        assert_true(sent->size <= sizeof sent->body);
        memcpy(sent->body, frame + GW_FRAME_HEADER_SIZE, sent->size);
        step(w, 'n');
}

static struct gw_mono fx_redirect_seen(void *user, uint32_t vni, struct gw_mac mac, uint64_t *count) {
        struct world *w = user;

        (void)vni, (void)mac;
        *count = w->redirected;
        return w->redirected_at;
}

static size_t fx_talkers(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip *out, size_t max) {
        struct world *w = user;

        (void)vni, (void)mac, (void)max;
        step(w, 't');
        memcpy(out, w->talkers, w->n_talkers * sizeof *out);
        return w->n_talkers;
}

static bool fx_in_use(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within) {
        (void)vni, (void)mac, (void)locator, (void)within;
        return ((struct world *)user)->in_use;
}

static void fx_vm_changed(void *user, const struct gw_name *vm) {
        (void)user, (void)vm;
}

static void fx_log(void *user, int level, const char *text) {
        (void)level;
        if (strstr(text, "sends in the name of"))
                ((struct world *)user)->n_told++;
}

static void fx_request(void *user, const struct gw_registration *request) {
        struct world *w = user;

        w->request = *request;
        w->n_requests++;
}

static bool fx_queued(void *user, const struct gw_name *vm) {
        (void)vm;
        return ((struct world *)user)->queued;
}

static uint64_t fx_send_back(void *user, const struct gw_name *vm) {
        struct world *w = user;

        (void)vm;
        w->send_backs++;
        w->sent_back_with = w->fdb[0].entry.place;
        return w->returned;
}

const struct gw_edge_effects world_effects = {
        .fdb_set = fx_fdb_set,
        .fdb_del = fx_fdb_del,
        .neigh_set = fx_neigh_set,
        .neigh_del = fx_neigh_del,
        .member_set = fx_member_set,
        .member_del = fx_member_del,
        .port_open = fx_port_open,
        .port_close = fx_port_close,
        .port_limits = fx_port_limits,
        .port_cut = fx_port_cut,
        .port_role = fx_port_role,
        .port_still = fx_port_still,
        .inject = fx_inject,
        .deliver = fx_deliver,
        .send = fx_send,
        .redirect_seen = fx_redirect_seen,
        .talkers = fx_talkers,
        .in_use = fx_in_use,
        .vm_changed = fx_vm_changed,
        .queued = fx_queued,
        .send_back = fx_send_back,
        .log = fx_log,
        .request = fx_request,
};

/* ---- life and time ---- */

struct gw_ip ip_of(const char *text) {
        struct gw_ip ip;

        assert_int_equal(gw_ip_parse(text, &ip), 0);
        return ip;
}

struct gw_mac mac_of(unsigned n) {
        return (struct gw_mac){{0x52, 0x54, 0, 0, (uint8_t)(n >> 8), (uint8_t)n}};
}

struct gw_name name_of(const char *text) {
        struct gw_name name;

        assert_int_equal(gw_id_parse(text, &name), 0);
        return name;
}

static void world_begin(struct world *w, struct gw_edge_config config) {
        config.seed[0] = 1;
        config.seed[1] = 2;
        config.restart_count = 7;
        *w = (struct world){.now = {{GW_NS_PER_S * 1000}, {GW_NS_PER_S * 1700000000}}};
        w->self = ip_of("10.99.0.1");
        config.id = (struct gw_name){"h1"};
        config.locator = w->self;
        assert_int_equal(gw_edge_new(&w->edge, &config, &world_effects, w), 0);
}

void world_init(struct world *w) {
        world_begin(w, (struct gw_edge_config){0});
}

void world_own_transport(struct world *w) {
        world_deinit(w);
        world_begin(w, (struct gw_edge_config){.own_transport = true});
}

void world_limit_queries(struct world *w, uint32_t per_s) {
        world_deinit(w);
        world_begin(w, (struct gw_edge_config){.queries_per_s = per_s});
}

void world_probing(struct world *w, uint32_t probe_ms, bool gateway) {
        world_deinit(w);
        world_begin(w, (struct gw_edge_config){.probe_ms = probe_ms, .gateway = gateway});
}

void world_deinit(struct world *w) {
        gw_edge_free(w->edge);
}

static void world_set(struct world *w, uint64_t mono_ns) {
        w->now.wall.ns += mono_ns - w->now.mono.ns;
        w->now.mono.ns = mono_ns;
}

void world_pass(struct world *w, uint64_t ms) {
        uint64_t end = w->now.mono.ns + ms * GW_NS_PER_MS, next;

        while ((next = gw_edge_deadline(w->edge).ns) && next <= end) {
                world_set(w, next > w->now.mono.ns ? next : w->now.mono.ns);
                gw_edge_tick(w->edge, w->now);
        }
        world_set(w, end);
}

void world_up(struct world *w) {
        struct gw_name nva = {"nva"};
        uint8_t bytes[256];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_welcome_encode(&out, 0, &nva, 1);

        gw_edge_nva_up(w->edge, w->now);
        assert_non_null(world_sent_find(w, GW_FRAME_HELLO));
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_WELCOME, 0, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

void world_forget_sent(struct world *w) {
        w->n_sent = 0;
        memset(w->order, 0, sizeof w->order);
}

/* ---- ports, mappings, frames ---- */

struct gw_edge_attach world_port(const char *vm, unsigned n, const char *ip, uint8_t role, uint64_t epoch) {
        struct gw_edge_attach port = {.vm = name_of(vm),
                                      .vni = WORLD_VNI,
                                      .ifindex = n,
                                      .mtu = 1450,
                                      .mac = mac_of(n),
                                      .n_ips = 1,
                                      .ips = {ip_of(ip)},
                                      .role = role,
                                      .queues = true,
                                      .epoch = epoch};
        char id[GW_NAME_MAX + 1];

        snprintf(id, sizeof id, "%s-%u", vm, n);
        port.id = name_of(id);
        if (role != GW_EDGE_SERVING)
                port.peer = ip_of("10.99.0.2");
        return port;
}

int world_attach(struct world *w, const struct gw_edge_attach *port) {
        struct gw_error error = {0};
        int r = gw_edge_attach(w->edge, w->now, port, &error);

        assert_int_equal(r, error.code);
        return r;
}

const struct world_fdb *world_fdb_find(const struct world *w, unsigned mac) {
        for (size_t i = 0; i < w->n_fdb; i++)
                if (gw_mac_eq(w->fdb[i].mac, mac_of(mac)))
                        return &w->fdb[i];
        return NULL;
}

bool world_neigh_is(const struct world *w, const char *ip, unsigned mac) {
        for (size_t i = 0; i < w->n_neighs; i++)
                if (gw_ip_eq(w->neighs[i].ip, ip_of(ip)))
                        return gw_mac_eq(w->neighs[i].mac, mac_of(mac));
        return false;
}

bool world_member_is(const struct world *w, const char *locator) {
        for (size_t i = 0; i < w->n_members; i++)
                if (gw_ip_eq(w->members[i].ip, ip_of(locator)))
                        return true;
        return false;
}

const struct world_sent *world_sent_find(const struct world *w, uint8_t type) {
        for (size_t i = w->n_sent; i-- > 0;)
                if (w->sent[i].type == type)
                        return &w->sent[i];
        return NULL;
}

size_t world_sent_count(const struct world *w, uint8_t type) {
        size_t n = 0;

        for (size_t i = 0; i < w->n_sent; i++)
                n += w->sent[i].type == type;
        return n;
}

struct gw_registration world_registration(const struct world *w) {
        const struct world_sent *sent = world_sent_find(w, GW_FRAME_REGISTER);
        struct gw_register frame;
        struct gw_registration reg;

        assert_non_null(sent);
        assert_int_equal(gw_register_decode(sent->body, sent->size, &frame), 0);
        assert_true(gw_ip_eq(frame.locator, w->self));
        assert_int_equal(
                gw_registration_decode(frame.message, frame.message_size, frame.locator, (struct gw_ip){{0}}, &reg), 0);
        return reg;
}

int world_reply(struct world *w, const struct gw_registration *request, uint8_t status, uint16_t lifetime_units) {
        struct gw_registration reply = *request;
        uint8_t message[1024], bytes[2048];
        struct gw_writer m = gw_writer(message, sizeof message), out = gw_writer(bytes, sizeof bytes);
        struct gw_register frame = {.locator = w->self, .message = message};
        size_t size;

        reply.kind = GW_REG_REPLY;
        reply.flags = GW_MH_REPLY_PROXY;
        reply.status = status;
        reply.lifetime_units = lifetime_units;
        assert_int_equal(gw_registration_encode(&m, (struct gw_ip){{0}}, w->self, &reply), 0);
        frame.message_size = m.at;
        size = gw_register_encode(&out, GW_FRAME_REGISTERED, 1, &frame);
        return gw_edge_frame(w->edge, w->now, GW_FRAME_REGISTERED, 1, bytes + GW_FRAME_HEADER_SIZE,
                             size - GW_FRAME_HEADER_SIZE);
}

struct gw_mapping mapping_of(unsigned mac, const char *ip, const char *locator, uint64_t epoch) {
        struct gw_mapping m = {.epoch = epoch,
                               .vni = WORLD_VNI,
                               .lifetime_ms = 60000,
                               .mac = mac_of(mac),
                               .state = locator ? GW_MAPPING_SERVING : GW_MAPPING_ABSENT,
                               .vm = {"other@default"}};

        if (locator)
                m.locator = ip_of(locator);
        if (ip) {
                m.ips[0] = ip_of(ip);
                m.n_ips = 1;
        }
        return m;
}

int world_batch(struct world *w, uint8_t type, uint32_t id, const struct gw_mapping *m, size_t n_m,
                const struct gw_member *members, size_t n_members) {
        uint8_t bytes[8192];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_batch_encode(&out, type, id, m, n_m, members, n_members);

        assert_true(size > 0);
        return gw_edge_frame(w->edge, w->now, type, id, bytes + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE);
}

void world_punt_bytes(struct world *w, uint8_t reason, uint32_t ifindex, const void *bytes, size_t size) {
        struct gw_edge_punt punt = {
                .reason = reason,
                .frame = {.vni = WORLD_VNI, .ifindex = ifindex, .offload = {0x5a}, .bytes = bytes, .size = size}};

        gw_edge_punted(w->edge, w->now, &punt);
}

void world_punt(struct world *w, uint8_t reason, uint32_t ifindex, unsigned to, unsigned from, uint8_t tag) {
        uint8_t bytes[60] = {[12] = 0x08, [14] = tag};
        struct gw_mac dst = mac_of(to), src = mac_of(from);

        memcpy(bytes, dst.b, 6);
        memcpy(bytes + 6, src.b, 6);
        world_punt_bytes(w, reason, ifindex, bytes, sizeof bytes);
}

/* ---- common beginnings ---- */

int world_setup(void **state) {
        struct world *w = test_calloc(1, sizeof *w);

        world_init(w);
        *state = w;
        return 0;
}

int world_teardown(void **state) {
        world_deinit(*state);
        test_free(*state);
        return 0;
}

uint64_t world_counter(const struct world *w, enum gw_edge_counter c) {
        return gw_edge_counter(w->edge, c);
}

void world_serve(struct world *w) {
        struct gw_edge_attach port = world_port("web", 1, "10.1.0.1", GW_EDGE_SERVING, 5);

        assert_int_equal(world_attach(w, &port), 0);
        world_up(w);
}
