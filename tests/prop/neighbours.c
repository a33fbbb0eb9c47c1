/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The neighbour cache against a naive model: after every step the table that the
 * edge keeps, and the one that it has written to the data plane, are what one
 * would work out from scratch: the addresses of every port, of every mapping that
 * leads elsewhere and has no port here, and of the gateway. Addresses come and go
 * with every attachment, mapping and setting; each belongs to one MAC, as the
 * directory sees to. GW_SEED=... repeats a run.
 */
#include "../unit/edge_fixture.h"
#include "seed.h"

enum { ROUNDS = 60, STEPS = 200, VMS = 6, IPS_EACH = 4, MODEL_MAX = 64, GATEWAYS = 3 };

static const struct gw_mac gateway_mac = {{0x02, 0x67, 0x77, 0, 0, 1}};

struct model {
        struct {
                struct gw_ip ip;
                struct gw_mac mac;
        } entries[MODEL_MAX];
        size_t n;
        struct gw_mac ports[VMS + 1];
        size_t n_ports;
};

static void model_add(struct model *m, struct gw_ip ip, struct gw_mac mac) {
        assert_true(m->n < MODEL_MAX);
        m->entries[m->n].ip = ip;
        m->entries[m->n++].mac = mac;
}

static void add_port(const struct gw_edge_port_view *view, void *user) {
        struct model *m = user;

        m->ports[m->n_ports++] = view->port->mac;
        for (size_t i = 0; i < view->port->n_ips; i++)
                model_add(m, view->port->ips[i], view->port->mac);
}

static void add_mapping(const struct gw_edge_mapping_view *view, void *user) {
        const struct gw_mapping *mapping = &view->mapping;
        struct model *m = user;

        if (mapping->state != GW_MAPPING_SERVING || gw_ip_eq(mapping->locator, ip_of("10.99.0.1")))
                return;
        for (size_t i = 0; i < m->n_ports; i++)
                if (gw_mac_eq(m->ports[i], mapping->mac))
                        return;
        for (size_t i = 0; i < mapping->n_ips; i++)
                model_add(m, mapping->ips[i], mapping->mac);
}

static void compare(struct world *w, const struct gw_vn_settings *settings) {
        struct model m = {0};

        gw_edge_each_port(w->edge, add_port, &m);
        gw_edge_each_mapping(w->edge, add_mapping, &m);
        for (size_t i = 0; i < settings->n_gateways; i++)
                model_add(&m, settings->gateways[i], gateway_mac);
        if (settings->n_gateways)
                model_add(&m, ip_of("fe80::67:77ff:fe00:1"), gateway_mac);
        assert_int_equal(w->n_neighs, m.n);
        for (size_t i = 0; i < m.n; i++) {
                size_t at = 0;

                while (at < w->n_neighs && !gw_ip_eq(w->neighs[at].ip, m.entries[i].ip))
                        at++;
                assert_true(at < w->n_neighs);
                assert_true(gw_mac_eq(w->neighs[at].mac, m.entries[i].mac));
        }
}

/* ---- steps ---- */

static struct gw_ip ip_nth(unsigned vm, unsigned n) {
        struct gw_ip ip = ip_of(n % 2 ? "fd00:1::" : "10.1.0.0");

        ip.b[15] = (uint8_t)(16 * (vm + 1) + n);
        return ip;
}

static uint8_t some_ips(struct dice *dice, unsigned vm, struct gw_ip *out) {
        uint8_t n = 0;

        for (unsigned i = 0; i < IPS_EACH; i++)
                if (dice_below(dice, 2))
                        out[n++] = ip_nth(vm, i);
        return n;
}

static struct gw_name vm_name(unsigned i) {
        char text[8] = {'v', (char)('a' + i), 0};

        return name_of(text);
}

static void attach(struct world *w, struct dice *dice, unsigned i) {
        struct gw_edge_attach port =
                world_port(vm_name(i).s, 10 + i, "10.1.0.1", GW_EDGE_SERVING, 1 + dice_below(dice, 40));

        if (dice_below(dice, 4) == 0) {
                port.role = GW_EDGE_ARRIVING;
                port.peer = ip_of("10.99.0.2");
        }
        port.n_ips = some_ips(dice, i, port.ips);
        (void)world_attach(w, &port); /* may be refused; then nothing has changed */
}

static void map(struct world *w, struct dice *dice, unsigned i) {
        static const char *const places[] = {"10.99.0.1", "10.99.0.2", "10.99.0.3", NULL};
        struct gw_mapping said = mapping_of(10 + i, "10.1.0.1", places[dice_below(dice, 4)], 1 + dice_below(dice, 40));

        said.lifetime_ms = UINT32_MAX;
        said.n_ips = some_ips(dice, i, said.ips);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &said, 1, NULL, 0), 0);
}

static void settle(struct world *w, struct dice *dice, struct gw_vn_settings *settings) {
        uint8_t bytes[512];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size;

        *settings = (struct gw_vn_settings){.vni = WORLD_VNI};
        for (unsigned i = 0; i < GATEWAYS; i++)
                if (dice_below(dice, 2))
                        settings->gateways[settings->n_gateways++] = ip_nth(VMS, i);
        size = gw_batch_encode_vns(&out, GW_FRAME_UPDATE, 1, NULL, 0, NULL, 0, settings, 1);
        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_UPDATE, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static void flush(struct world *w, unsigned i) {
        struct gw_flush_request request = {.vni = WORLD_VNI, .mac = mac_of(10 + i), .positive = true};
        uint8_t bytes[128];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_flush_encode(&out, 1, &request);

        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_FLUSH, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static void step(struct world *w, struct dice *dice, struct gw_vn_settings *settings) {
        unsigned i = (unsigned)dice_below(dice, VMS);
        struct gw_name vm = vm_name(i);

        switch (dice_below(dice, 9)) {
        case 0:
        case 1:
                return attach(w, dice, i);
        case 2:
        case 3:
                return map(w, dice, i);
        case 4:
                return (void)gw_edge_cut(w->edge, w->now, &vm, ip_of("10.99.0.2"), 1 + dice_below(dice, 40), NULL);
        case 5:
                return (void)gw_edge_delete(w->edge, w->now, &vm, dice_below(dice, 2), NULL);
        case 6:
                return settle(w, dice, settings);
        case 7:
                return flush(w, i);
        default:
                world_pass(w, dice_below(dice, 2) ? 10 : 8000);
        }
}

static void neighbours_follow(void **state) {
        struct dice dice = dice_new();
        struct world *w = test_calloc(1, sizeof *w);

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct gw_vn_settings settings = {0};
                struct gw_edge_attach keeper;

                world_init(w);
                keeper = world_port("keeper", 1, "10.1.0.1", GW_EDGE_SERVING, 1); /* the VN stays */
                assert_int_equal(world_attach(w, &keeper), 0);
                world_up(w);
                for (int i = 0; i < STEPS; i++) {
                        world_forget_sent(w);
                        w->n_down = 0;
                        step(w, &dice, &settings);
                        compare(w, &settings);
                }
                world_deinit(w);
        }
        test_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(neighbours_follow)};

        return cmocka_run_group_tests_name("prop-neighbours", tests, NULL, NULL);
}
