/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anti-entropy, the real directory against a real edge: the edge is away while
 * VMs move, come, go and change hands; after its return and a sweep it holds for
 * every VM that serves what the directory says, and nothing else, whatever
 * happened. The octets that it took are counted, beside those of telling all.
 *
 * GW_SEED repeats a run.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory/directory.h"
#include "edge/edge.h"
#include "prop/seed.h"
#include "unit/directory_fixture.h"

enum { VMS = 120, ROUNDS = 60, VNI = 100 };

struct net {
        struct world w;
        struct gw_edge *edge;
        struct gw_nve *here; /* the edge's */
        bool up;
        bool old_way; /* a WELCOME that names no features */
        uint64_t octets;
        struct { /* frames to the edge */
                uint8_t type;
                uint32_t id;
                size_t size;
                uint8_t *body;
        } queue[4096];
        size_t n_queue;
};

static struct dice dice;

static struct gw_edge_now edge_now(const struct net *n) {
        return (struct gw_edge_now){n->w.now.mono, n->w.now.wall};
}

static void to_edge(struct net *n, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        assert_true(n->n_queue < sizeof n->queue / sizeof *n->queue);
        n->octets += GW_FRAME_HEADER_SIZE + size;
        n->queue[n->n_queue].type = type;
        n->queue[n->n_queue].id = id;
        n->queue[n->n_queue].size = size;
        n->queue[n->n_queue].body = malloc(size + 1);
        memcpy(n->queue[n->n_queue++].body, body, size);
}

static void deliver(struct net *n) {
        for (size_t i = 0; i < n->n_queue; i++) { /* more may come meanwhile */
                if (n->up)
                        assert_int_equal(gw_edge_frame(n->edge, edge_now(n), n->queue[i].type, n->queue[i].id,
                                                       n->queue[i].body, n->queue[i].size),
                                         0);
                free(n->queue[i].body);
        }
        n->n_queue = 0;
        n->w.n_noticed = 0;
        while (n->w.n_frames) /* those to others */
                world_ack(&n->w);
}

/* ---- the directory's way to the edge: beside the fixture's own record ---- */

static struct net *the_net; /* the fixture's effects know only their world */
static const struct gw_directory_effects *fixture_effects;
static struct gw_directory_effects effects;

static void effect_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        if (the_net->here && to == the_net->here && the_net->up)
                to_edge(the_net, type, id, body, size);
        else if (type == GW_FRAME_UPDATE || type == GW_FRAME_FLUSH)
                fixture_effects->send(to, type, id, body, size, user);
}

/* ---- the edge's way to the directory ---- */

static void welcome(struct net *n) {
        struct gw_name nva = {"nva"};
        uint8_t bytes[256];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        size_t size = gw_welcome_encode(&w, 0, &nva, 1);

        if (n->old_way)
                size -= 6 + 4; /* the last TLV: what the first version did not have */
        to_edge(n, GW_FRAME_WELCOME, 0, bytes + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE);
}

static void on_query(struct net *n, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_query query;
        struct gw_mapping m;
        uint8_t bytes[2048];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        assert_int_equal(gw_query_decode(body, size, &query), 0);
        gw_directory_query(&n->w.d, n->here, &query, n->w.now, &m);
        size = gw_batch_encode(&w, GW_FRAME_RESPONSE, id, &m, 1, NULL, 0);
        to_edge(n, GW_FRAME_RESPONSE, id, bytes + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE);
}

static void fx_send(void *user, const uint8_t *frame, size_t size) {
        static struct gw_digest digest;
        static struct gw_held held;
        struct net *n = user;
        struct gw_frame_header h;
        const uint8_t *body = frame + GW_FRAME_HEADER_SIZE;
        uint32_t vnis[4];
        size_t count;

        assert_int_equal(gw_frame_header_decode(frame, size, &h), 0);
        n->octets += size;
        size -= GW_FRAME_HEADER_SIZE;
        if (h.type == GW_FRAME_HELLO)
                welcome(n);
        else if (h.type == GW_FRAME_QUERY)
                on_query(n, h.id, body, size);
        else if (h.type == GW_FRAME_UPDATE_ACK)
                gw_directory_ack(&n->w.d, n->here, h.id, n->w.now);
        else if (h.type == GW_FRAME_SUBSCRIBE && !gw_subscribe_decode(body, size, vnis, 4, &count))
                gw_directory_subscribe(&n->w.d, n->here, vnis, count, n->w.now);
        else if (h.type == GW_FRAME_DIGEST && !gw_digest_decode(body, size, &digest))
                gw_directory_digest(&n->w.d, n->here, h.id, &digest, n->w.now);
        else if (h.type == GW_FRAME_HELD && !gw_held_decode(body, size, &held))
                gw_directory_held(&n->w.d, n->here, h.id, &held, n->w.now);
}

static int fx_int_fdb(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry) {
        (void)user, (void)vni, (void)mac, (void)entry;
        return 0;
}
static void fx_fdb_del(void *user, uint32_t vni, struct gw_mac mac) {
        (void)user, (void)vni, (void)mac;
}
static int fx_neigh_set(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        (void)user, (void)vni, (void)ip, (void)mac;
        return 0;
}
static void fx_neigh_del(void *user, uint32_t vni, struct gw_ip ip) {
        (void)user, (void)vni, (void)ip;
}
static void fx_member(void *user, uint32_t vni, struct gw_ip locator) {
        (void)user, (void)vni, (void)locator;
}
static void fx_member_set(void *user, uint32_t vni, struct gw_ip locator, uint8_t how) {
        (void)user, (void)vni, (void)locator, (void)how;
}
static int fx_port_open(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error) {
        (void)user, (void)port, (void)hold, (void)error;
        return 0;
}
static bool fx_in_use(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within) {
        (void)user, (void)vni, (void)locator, (void)within;
        return mac.b[5] & 1; /* half of them */
}
static void fx_vm_changed(void *user, const struct gw_name *vm) {
        (void)user, (void)vm;
}
static void fx_log(void *user, int level, const char *text) {
        (void)user, (void)level, (void)text;
}

static const struct gw_edge_effects edge_effects = {.fdb_set = fx_int_fdb,
                                                    .fdb_del = fx_fdb_del,
                                                    .neigh_set = fx_neigh_set,
                                                    .neigh_del = fx_neigh_del,
                                                    .member_set = fx_member_set,
                                                    .member_del = fx_member,
                                                    .port_open = fx_port_open,
                                                    .send = fx_send,
                                                    .in_use = fx_in_use,
                                                    .vm_changed = fx_vm_changed,
                                                    .log = fx_log};

/* ---- what happens ---- */

static struct gw_vm *vm_at(struct net *n, unsigned i) {
        char id[24];

        snprintf(id, sizeof id, "f%u@default", i);
        return gw_directory_vm(&n->w.d, id);
}

static void make_vm(struct net *n, unsigned i) {
        struct gw_port_spec port = {.vn = "blue", .no_addresses = true};
        char id[16];
        struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};

        snprintf(id, sizeof id, "f%u", i);
        assert_int_equal(gw_directory_vm_create(&n->w.d, &spec, NULL, &n->w.error), 0);
}

static void change(struct net *n) {
        unsigned i = (unsigned)dice_below(&dice, VMS);
        struct gw_vm *vm = vm_at(n, i);

        if (!vm)
                return make_vm(n, i);
        switch (dice_below(&dice, 6)) {
        case 0:
                gw_directory_release(&n->w.d, vm, n->w.now);
                break;
        case 1:
                gw_directory_release(&n->w.d, vm, n->w.now);
                assert_int_equal(gw_directory_vm_delete(&n->w.d, vm, &n->w.error), 0);
                break;
        default:
                world_serve(&n->w, vm, dice_below(&dice, 2) ? n->w.h1 : n->w.h3);
        }
        deliver(n);
}

static void pass(struct net *n, uint64_t ms) {
        uint64_t end = n->w.now.mono.ns + ms * GW_NS_PER_MS;

        while (n->w.now.mono.ns < end) {
                n->w.now.mono.ns += 50 * GW_NS_PER_MS;
                n->w.now.wall.ns += 50 * GW_NS_PER_MS;
                gw_directory_tick(&n->w.d, n->w.now);
                gw_edge_tick(n->edge, edge_now(n));
                deliver(n);
        }
}

struct compare {
        struct net *n;
        size_t held;
};

static void compare_one(const struct gw_edge_mapping_view *view, void *user) {
        struct compare *c = user;
        const struct gw_mapping *m = &view->mapping;
        const struct gw_port *port = gw_directory_port_by_mac(&c->n->w.d, m->vni, m->mac);
        struct gw_mapping said = {0};

        if (m->state != GW_MAPPING_SERVING)
                return;
        assert_non_null(port);
        gw_directory_mapping(port, &said);
        assert_int_equal(said.state, GW_MAPPING_SERVING);
        assert_int_equal(said.epoch, m->epoch);
        assert_true(gw_ip_eq(said.locator, m->locator));
        c->held++;
}

static size_t serving(struct net *n) {
        struct gw_mapping m;
        size_t count = 0;

        for (unsigned i = 0; i < VMS; i++) {
                if (!vm_at(n, i))
                        continue;
                gw_directory_mapping(gw_vm_ports(vm_at(n, i)), &m);
                count += m.state == GW_MAPPING_SERVING;
        }
        return count;
}

static void check(struct net *n, bool pushed) {
        struct compare c = {n, 0};

        gw_edge_each_mapping(n->edge, compare_one, &c);
        if (pushed)
                assert_true(c.held >= serving(n)); /* and the VM of the edge itself */
}

static void down(struct net *n) {
        n->up = false;
        gw_edge_nva_down(n->edge, edge_now(n));
        gw_directory_bye(&n->w.d, n->here, n->w.now);
        deliver(n);
}

static void up(struct net *n) {
        n->here = world_hello(&n->w, "h2", "10.99.0.2");
        n->up = true;
        gw_edge_nva_up(n->edge, edge_now(n));
        deliver(n);
}

/* Octets of all reconnections. */
static uint64_t run(uint8_t model, bool old_way) {
        static struct net net;
        struct gw_edge_config config = {.id = {"h2"}, .seed = {3, 4}, .locator = ip_of("10.99.0.2")};
        struct gw_edge_attach port = {.vni = VNI, .ifindex = 1, .mtu = 1400, .role = GW_EDGE_SERVING, .queues = true};
        struct gw_vn_spec spec = {.model = model};
        uint64_t octets = 0, epoch;
        struct gw_query query = {.vni = VNI, .by_mac = true};
        struct gw_mapping m;

        memset(&net, 0, sizeof net);
        the_net = &net;
        net.old_way = old_way;
        world_init(&net.w);
        fixture_effects = net.w.d.effects;
        effects = *fixture_effects;
        effects.send = effect_send;
        net.w.d.effects = &effects;
        spec.mtu = net.w.blue->mtu;
        spec.n_subnets = net.w.blue->n_subnets;
        spec.subnets = net.w.blue->subnets;
        assert_int_equal(gw_directory_vn_update(&net.w.d, net.w.blue, &spec, &net.w.error), 0);
        gw_directory_nve_capacity(&net.w.d, net.w.h1, 1 << 20, 10000);
        gw_directory_nve_capacity(&net.w.d, net.w.h3, 1 << 20, 10000);
        for (unsigned i = 0; i < VMS; i++)
                make_vm(&net, i);
        assert_int_equal(gw_edge_new(&net.edge, &config, &edge_effects, &net), 0);
        assert_int_equal(gw_directory_place(&net.w.d, net.w.web, net.w.h2, net.w.now, &epoch, &net.w.error), 0);
        port.id = gw_port_id(gw_vm_ports(net.w.web));
        port.vm = (struct gw_name){"web@default"};
        port.mac = gw_vm_ports(net.w.web)->mac;
        port.epoch = epoch;
        assert_int_equal(gw_edge_attach(net.edge, edge_now(&net), &port, &net.w.error), 0);
        up(&net);
        for (int i = 0; i < 300; i++)
                change(&net);
        pass(&net, 2000);
        for (int round = 0; round < ROUNDS; round++) {
                for (unsigned i = 0; model == GW_VN_PULL && i < VMS; i++) { /* it talks to half of them */
                        struct gw_vm *vm = vm_at(&net, i);
                        uint8_t bytes[1024];
                        struct gw_writer w = gw_writer(bytes, sizeof bytes);
                        size_t size;

                        if (!vm || !(gw_vm_ports(vm)->mac.b[5] & 1))
                                continue;
                        query.mac = gw_vm_ports(vm)->mac;
                        gw_directory_query(&net.w.d, net.here, &query, net.w.now, &m);
                        size = gw_batch_encode(&w, GW_FRAME_UPDATE, 0x7fffffff, &m, 1, NULL, 0);
                        to_edge(&net, GW_FRAME_UPDATE, 0x7fffffff, bytes + GW_FRAME_HEADER_SIZE,
                                size - GW_FRAME_HEADER_SIZE);
                }
                deliver(&net);
                down(&net);
                for (unsigned i = (unsigned)dice_below(&dice, 4); i > 0; i--)
                        change(&net);
                pass(&net, 200 + dice_below(&dice, 3000));
                net.octets = 0;
                up(&net);
                pass(&net, 2000);
                octets += net.octets;
                pass(&net, GW_EDGE_SWEEP_MS + 1000);
                check(&net, model != GW_VN_PULL);
        }
        gw_edge_free(net.edge);
        deliver(&net);
        world_deinit(&net.w);
        return octets / ROUNDS;
}

static void test_any_divergence_is_repaired(void **state) {
        static const char *const words[] = {"hybrid", "push", "pull"};

        (void)state;
        for (uint8_t model = GW_VN_HYBRID; model <= GW_VN_PULL; model++) {
                uint64_t now = run(model, false), before = run(model, true);

                print_message("# %s: %llu octets a reconnection, %llu without digests\n", words[model],
                              (unsigned long long)now, (unsigned long long)before);
                if (model != GW_VN_PULL)
                        assert_true(now * 2 < before);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_divergence_is_repaired)};

        dice = dice_new();
        return cmocka_run_group_tests_name("prop-entropy", tests, NULL, NULL);
}
