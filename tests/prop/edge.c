/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge against a naive model: random calls, mappings, flushes, lost devices
 * and time for a few VMs of one VN. After each step the result, every forwarding
 * entry and every neighbour must be what the model works out from plain arrays.
 * The authority is connected throughout; no mapping is in use.
 */
#include "../unit/edge_fixture.h"

#include "seed.h"

enum {
        VMS = 6,
        LOCATORS = 4,
        EPOCHS = 24,
        ROUNDS = 400,
        STEPS = 500,
        LIFETIME_MS = 60000,
        LOOK_MS = 250,
        MIN_MS = 5000,
        OFTEN_MS = 2000,
        NOWHERE_MS = 2000,
        QUIET_MS = 15000,
        WAIT_MS = 60000,
};

static const char *const locators[LOCATORS] = {"10.99.0.1", "10.99.0.2", "10.99.0.3", "10.99.0.4"}; /* 0: self */

struct model_vm {
        bool here, attached, leaving, returning, waiting;
        uint8_t role;
        uint64_t epoch, cut_ns;
        uint64_t way_epoch; /* returning: that of its way to here */
        unsigned peer;
        bool mapped, serving;
        uint64_t mapping_epoch, expires_ns;
        unsigned locator;
};

struct model {
        struct model_vm vms[VMS];
        uint64_t now_ns;
};

static unsigned mac_number(unsigned i) {
        return i + 10;
}

static const char *ip_text_of(unsigned i) {
        static const char *const ips[VMS] = {"10.1.0.10",  "10.1.0.11",  "10.1.0.12",
                                             "fd00:1::13", "fd00:1::14", "10.1.0.15"};

        return ips[i];
}

static const char *vm_text_of(unsigned i) {
        static const char *const names[VMS] = {"v0", "v1", "v2", "v3", "v4", "v5"};

        return names[i];
}

/* ---- the model ---- */

static uint64_t elsewhere(const struct model_vm *v) {
        return v->mapped && v->serving && v->locator ? v->mapping_epoch : 0;
}

static int model_attach(struct model_vm *v, uint8_t role, uint64_t epoch, unsigned peer) {
        if (v->here && epoch < v->epoch)
                return GW_E_STALE;
        if (elsewhere(v) > epoch)
                return GW_E_STALE;
        if (v->here && epoch == v->epoch && role != v->role)
                return GW_E_CONFLICT;
        if (v->here && role == GW_EDGE_ARRIVING && (v->returning || (epoch > v->epoch && v->attached)))
                return GW_E_CONFLICT;
        if (!v->here || epoch > v->epoch) {
                v->role = role;
                v->epoch = epoch;
                v->peer = peer;
                v->leaving = v->returning = v->waiting = false;
        }
        v->here = v->attached = true;
        return 0;
}

static int model_cut(struct model_vm *v, unsigned to, uint64_t epoch, uint64_t now_ns) {
        if (!v->here)
                return GW_E_NOT_FOUND;
        if (v->role == GW_EDGE_MOVED && v->epoch == epoch && v->peer == to)
                return 0;
        if (epoch <= v->epoch)
                return GW_E_STALE;
        if (!to)
                return GW_E_INVALID;
        if (v->role != GW_EDGE_SERVING)
                return GW_E_CONFLICT;
        v->role = GW_EDGE_MOVED;
        v->epoch = epoch;
        v->peer = to;
        v->cut_ns = now_ns;
        return 0;
}

static int model_serve(struct model_vm *v, uint64_t epoch, uint8_t from_role) {
        if (!v->here)
                return GW_E_NOT_FOUND;
        if (v->role == GW_EDGE_SERVING && v->epoch == epoch)
                return 0;
        if (epoch < v->epoch || elsewhere(v) > epoch)
                return GW_E_STALE;
        if (from_role == GW_EDGE_MOVED) {
                if (epoch == v->epoch && v->role == GW_EDGE_MOVED)
                        return GW_E_STALE;
                if (v->role == GW_EDGE_ARRIVING || !v->attached)
                        return GW_E_CONFLICT;
        } else if (v->role != GW_EDGE_ARRIVING || v->returning) {
                return GW_E_CONFLICT;
        }
        v->role = GW_EDGE_SERVING;
        v->epoch = epoch;
        v->leaving = false;
        return 0;
}

static void model_delete(struct model_vm *v, bool keep) {
        if (!v->here)
                return;
        if (keep && v->role == GW_EDGE_MOVED) {
                v->attached = false;
                v->leaving = true;
        } else {
                v->here = v->returning = v->waiting = false;
        }
}

static void model_map(struct model_vm *v, bool serving, unsigned locator, uint64_t epoch, uint64_t now_ns) {
        bool away = serving && locator;

        if (v->here && epoch < v->epoch && v->role != GW_EDGE_ARRIVING)
                return;
        if (v->here && away && v->role == GW_EDGE_SERVING) {
                if (epoch == v->epoch)
                        return;
                v->role = GW_EDGE_MOVED;
                v->peer = locator;
                v->epoch = epoch;
                v->cut_ns = now_ns;
        } else if (v->here && away && v->role == GW_EDGE_MOVED && epoch > v->epoch) {
                v->peer = locator;
                v->epoch = epoch;
        }
        if (v->mapped && epoch < v->mapping_epoch)
                return;
        v->mapped = true;
        v->serving = serving;
        v->locator = locator;
        v->mapping_epoch = epoch;
        v->expires_ns = now_ns + LIFETIME_MS * GW_NS_PER_MS;
}

/* It does not arrive any more: it is elsewhere, or nowhere. */
static void model_heard(struct model_vm *v, uint64_t now_ns) {
        if (!v->here || v->role != GW_EDGE_ARRIVING)
                return;
        if (elsewhere(v) > v->epoch) {
                v->peer = v->locator;
                v->way_epoch = v->returning && !v->waiting ? v->way_epoch : v->epoch;
                v->epoch = v->mapping_epoch;
                v->cut_ns = v->returning && !v->waiting ? v->cut_ns : now_ns;
                v->returning = true;
                v->waiting = false;
        } else if (!v->returning && v->mapped && !v->serving && v->mapping_epoch > v->epoch) {
                v->cut_ns = now_ns;
                v->returning = v->waiting = true;
        }
}

/* How long it is waited for while nothing has come, by what is known then. */
static uint64_t model_patience_ms(const struct model_vm *v, uint64_t at_ns) {
        bool mapped = v->mapped && v->expires_ns > at_ns;

        if (mapped && v->serving && v->mapping_epoch >= v->epoch) /* the NVA has put it here */
                return WAIT_MS;
        return mapped && !v->serving && v->mapping_epoch > v->epoch ? NOWHERE_MS : QUIET_MS;
}

/* It is looked at often, later each second. */
static void model_wait(struct model_vm *v, uint64_t from_ns, uint64_t to_ns) {
        for (uint64_t ms = 0, at_ns; v->waiting; ms += ms < OFTEN_MS ? 100 : 1000) {
                at_ns = v->cut_ns + ms * GW_NS_PER_MS;
                if (at_ns > to_ns)
                        break;
                if (at_ns > from_ns && ms >= model_patience_ms(v, at_ns))
                        v->here = v->returning = v->waiting = false;
        }
}

/* The redirect of a VM is looked at each LOOK_MS after its cut. */
static void model_pass_vm(struct model_vm *v, uint64_t from_ns, uint64_t to_ns) {
        if (v->here && v->leaving) {
                for (uint64_t at = v->cut_ns; at <= to_ns; at += LOOK_MS * GW_NS_PER_MS) {
                        if (at <= from_ns || at < v->cut_ns + MIN_MS * GW_NS_PER_MS)
                                continue;
                        if (v->mapped && v->expires_ns <= at)
                                v->mapped = false;
                        v->here = false;
                        if (!v->mapped || v->mapping_epoch < v->epoch) {
                                v->mapped = v->serving = true;
                                v->locator = v->peer;
                                v->mapping_epoch = v->epoch;
                                v->expires_ns = at + LIFETIME_MS * GW_NS_PER_MS;
                        }
                        break;
                }
        }
        model_wait(v, from_ns, to_ns);
        if (v->returning && !v->waiting && v->cut_ns + MIN_MS * GW_NS_PER_MS <= to_ns)
                v->here = v->returning = false;
        if (v->mapped && v->expires_ns <= to_ns)
                v->mapped = false;
}

/* ---- comparing ---- */

static void compare_vm(const struct world *w, const struct model_vm *v, unsigned i) {
        const struct world_fdb *found = world_fdb_find(w, mac_number(i));
        static const uint8_t places[] = {[GW_EDGE_SERVING] = GW_EDGE_TO_LOCAL,
                                         [GW_EDGE_ARRIVING] = GW_EDGE_TO_ARRIVING,
                                         [GW_EDGE_MOVED] = GW_EDGE_TO_MOVED};
        bool remote = !v->here && elsewhere(v);

        assert_int_equal(found != NULL, v->here || remote);
        assert_int_equal(world_neigh_is(w, ip_text_of(i), mac_number(i)), v->here || remote);
        if (!found)
                return;
        assert_int_equal(found->entry.place, remote ? GW_EDGE_TO_REMOTE : places[v->role]);
        assert_int_equal(found->entry.epoch, remote                        ? v->mapping_epoch
                                             : v->returning && !v->waiting ? v->way_epoch
                                                                           : v->epoch);
        assert_false(found->entry.punt);
        if (remote || v->role != GW_EDGE_SERVING)
                assert_true(gw_ip_eq(found->entry.locator, ip_of(locators[remote ? v->locator : v->peer])));
        if (v->here && v->attached)
                assert_int_equal(w->open[i + 10], v->returning ? GW_EDGE_RETURNING : v->role);
        else
                assert_int_equal(w->open[i + 10], 0);
}

/* ---- one step ---- */

static struct gw_edge_attach port_of(unsigned i, uint8_t role, uint64_t epoch, unsigned peer) {
        struct gw_edge_attach port = world_port(vm_text_of(i), mac_number(i), ip_text_of(i), GW_EDGE_SERVING, epoch);

        port.role = role;
        port.peer = role == GW_EDGE_ARRIVING ? ip_of(locators[peer]) : (struct gw_ip){{0}};
        return port;
}

static void flush_mac(struct world *w, unsigned i) {
        struct gw_flush_request flush = {.vni = WORLD_VNI, .mac = mac_of(mac_number(i)), .positive = true};
        uint8_t bytes[128];
        struct gw_writer out = gw_writer(bytes, sizeof bytes);
        size_t size = gw_flush_encode(&out, 1, &flush);

        assert_int_equal(gw_edge_frame(w->edge, w->now, GW_FRAME_FLUSH, 1, bytes + GW_FRAME_HEADER_SIZE,
                                       size - GW_FRAME_HEADER_SIZE),
                         0);
}

static void map(struct world *w, struct model *m, struct dice *dice, unsigned i, uint64_t epoch) {
        bool serving = dice_below(dice, 5) > 0;
        unsigned locator = serving ? (unsigned)dice_below(dice, LOCATORS) : 0;
        struct gw_mapping said = mapping_of(mac_number(i), ip_text_of(i), serving ? locators[locator] : NULL, epoch);

        model_map(&m->vms[i], serving, locator, epoch, w->now.mono.ns);
        model_heard(&m->vms[i], w->now.mono.ns);
        assert_int_equal(world_batch(w, GW_FRAME_UPDATE, 1, &said, 1, NULL, 0), 0);
}

static void pass(struct world *w, struct model *m, struct dice *dice) {
        static const uint64_t steps_ms[] = {1, 100, 1000, 7000, 30000};
        uint64_t from_ns = w->now.mono.ns;

        world_pass(w, steps_ms[dice_below(dice, 5)] + dice_below(dice, 50));
        for (unsigned i = 0; i < VMS; i++)
                model_pass_vm(&m->vms[i], from_ns, w->now.mono.ns);
}

static void step(struct world *w, struct model *m, struct dice *dice) {
        unsigned i = (unsigned)dice_below(dice, VMS), to = (unsigned)dice_below(dice, LOCATORS);
        struct model_vm *v = &m->vms[i];
        uint64_t epoch = dice_below(dice, 3) ? v->epoch + dice_below(dice, 3) : 1 + dice_below(dice, EPOCHS);
        struct gw_name vm = name_of(vm_text_of(i));
        struct gw_edge_attach port;

        epoch += !epoch;
        switch (dice_below(dice, 10)) {
        case 0:
                port = port_of(i, GW_EDGE_SERVING, epoch, 0);
                assert_int_equal(world_attach(w, &port), model_attach(v, GW_EDGE_SERVING, epoch, 0));
                break;
        case 1:
                to = to ? to : 1;
                port = port_of(i, GW_EDGE_ARRIVING, epoch, to);
                assert_int_equal(world_attach(w, &port), model_attach(v, GW_EDGE_ARRIVING, epoch, to));
                break;
        case 2:
                assert_int_equal(gw_edge_cut(w->edge, w->now, &vm, ip_of(locators[to]), epoch, NULL),
                                 model_cut(v, to, epoch, w->now.mono.ns));
                break;
        case 3:
                assert_int_equal(gw_edge_uncut(w->edge, w->now, &vm, epoch, NULL),
                                 model_serve(v, epoch, GW_EDGE_MOVED));
                break;
        case 4:
                assert_int_equal(gw_edge_activate(w->edge, w->now, &vm, epoch, NULL),
                                 model_serve(v, epoch, GW_EDGE_ARRIVING));
                break;
        case 5:
                to %= 2;
                assert_int_equal(gw_edge_delete(w->edge, w->now, &vm, to, NULL), 0);
                model_delete(v, to);
                break;
        case 6:
                if (v->here && v->attached)
                        model_delete(v, true);
                gw_edge_device_gone(w->edge, w->now, mac_number(i));
                break;
        case 7:
                if (to == 0) {
                        flush_mac(w, i);
                        v->mapped = false;
                } else {
                        map(w, m, dice, i, epoch);
                }
                break;
        case 8:
                map(w, m, dice, i, epoch);
                break;
        case 9:
                pass(w, m, dice);
                break;
        }
}

static void test_against_model(void **state) {
        struct dice dice = dice_new();
        struct world *w = test_calloc(1, sizeof *w);
        struct gw_edge_attach keeper;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct model m = {0};

                world_init(w);
                keeper = world_port("keeper", 1, "10.1.0.1", GW_EDGE_SERVING, 1); /* the VN stays */
                assert_int_equal(world_attach(w, &keeper), 0);
                world_up(w);
                for (int i = 0; i < STEPS; i++) {
                        world_forget_sent(w);
                        w->n_down = 0; /* questions whether VMs are there */
                        step(w, &m, &dice);
                        if (gw_edge_wants_drain(w->edge))
                                gw_edge_punts_drained(w->edge, w->now);
                        for (unsigned v = 0; v < VMS; v++)
                                compare_vm(w, &m.vms[v], v);
                }
                world_deinit(w);
        }
        test_free(w);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_against_model)};

        return cmocka_run_group_tests_name("prop-edge", tests, NULL, NULL);
}
