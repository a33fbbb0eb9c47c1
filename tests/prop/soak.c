/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random registrations against a naive model: which status each gets, and where
 * the VM is afterwards, as docs and RFCs say it, written down a second time as
 * plainly as possible. Between them management places, moves, commits, takes
 * back and releases, and leases run out.
 *
 * soak [STEPS]: a million, or as many as asked for.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "directory/directory.h"
#include "prop/seed.h"

enum { VMS = 60, NVES = 6, LEASE_S = 600, LIFETIME_UNITS = 100, NOWHERE = -1, SENT_MAX = 1000 };

#define must(condition)                                                                                                \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        printf("not ok 1 - soak: %s:%d: step %lu: %s\n", __FILE__, __LINE__, step, #condition);        \
                        exit(1);                                                                                       \
                }                                                                                                      \
        } while (0)

struct model {
        int at, from, to; /* NVEs; to: of a reserved move */
        uint64_t epoch, reserved, move_epoch, back_epoch, stamp, ends_ms;
        uint16_t sequence;
        bool heard, reachable;
};

static struct dice dice;
static struct gw_directory d;
static struct model models[VMS];
static struct gw_vm *vms[VMS];
static struct gw_nve *nves[NVES];
static struct gw_now now = {{GW_NS_PER_S}, {UINT64_C(1700000000) * GW_NS_PER_S}};
static unsigned long step, accepted, refused, silent;

/* Updates, to be acknowledged at the end of the step. */
static struct sent {
        struct gw_nve *to;
        uint32_t id;
} sent[SENT_MAX];
static unsigned n_sent;

static void on_store(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                     void *user) {
        (void)table, (void)key, (void)key_size, (void)value, (void)value_size, (void)user;
}
static void on_unstore(enum gw_record table, const void *key, size_t key_size, void *user) {
        (void)table, (void)key, (void)key_size, (void)user;
}
static void on_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        (void)type, (void)body, (void)size, (void)user;
        if (n_sent < SENT_MAX)
                sent[n_sent++] = (struct sent){to, id};
}
static void on_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)nve, (void)reason, (void)user;
}
static void on_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        (void)kind, (void)id, (void)gone, (void)user;
}
static void on_note(enum gw_note kind, const char *text, void *user) {
        (void)kind, (void)text, (void)user;
}

static const struct gw_directory_effects effects = {.store = on_store,
                                                    .unstore = on_unstore,
                                                    .send = on_send,
                                                    .drop = on_drop,
                                                    .changed = on_changed,
                                                    .note = on_note};

static void acknowledge(void) {
        while (n_sent) {
                struct sent one = sent[--n_sent];

                gw_directory_ack(&d, one.to, one.id, now);
        }
}

static uint64_t now_ms(void) {
        return now.mono.ns / GW_NS_PER_MS;
}

/* --- the model --- */

static void model_move(struct model *m, int at, uint64_t epoch, bool reachable) {
        m->at = at;
        m->epoch = epoch;
        m->reserved = epoch > m->reserved ? epoch : m->reserved;
        m->heard = false;
        m->reachable = reachable;
        m->ends_ms = now_ms() + LEASE_S * 1000;
}

static uint8_t model_epoch_status(const struct model *m, int nve, uint64_t epoch) {
        uint64_t given = nve == m->at ? m->epoch : 0;

        if (m->at == NOWHERE)
                return GW_MH_PROXY_NOT_ENABLED;
        if (m->to != NOWHERE && nve == m->to && m->move_epoch > given)
                given = m->move_epoch;
        if (m->to != NOWHERE && nve == m->from && epoch == m->back_epoch)
                return GW_MH_ACCEPTED;
        if (epoch && epoch < m->epoch)
                return GW_MH_TIMESTAMP_LOWER;
        return given && epoch == given ? GW_MH_ACCEPTED : GW_MH_PROHIBITED;
}

static uint8_t model_order_status(const struct model *m, const struct gw_registration *request) {
        uint16_t ahead = (uint16_t)(request->sequence - m->sequence);

        if (!m->heard)
                return GW_MH_ACCEPTED;
        if (!(request->has & GW_REG_HAS_TIMESTAMP) || !m->stamp)
                return ahead == 0 || ahead >= 0x8000 ? GW_MH_SEQUENCE_OUT_OF_WINDOW : GW_MH_ACCEPTED;
        if (request->timestamp == m->stamp)
                return GW_MH_TIMESTAMP_MISMATCH;
        return request->timestamp < m->stamp ? GW_MH_TIMESTAMP_LOWER : GW_MH_ACCEPTED;
}

static void model_heard(struct model *m, const struct gw_registration *request) {
        m->heard = true;
        m->sequence = request->sequence;
        m->stamp = request->has & GW_REG_HAS_TIMESTAMP ? request->timestamp : 0;
}

/* The status of the answer; -1: none is due. */
static int model_register(struct model *m, int nve, const struct gw_registration *request) {
        uint8_t status = model_epoch_status(m, nve, request->epoch);

        if (!request->lifetime_units) {
                if (status || nve != m->at || request->epoch != m->epoch || model_order_status(m, request))
                        return -1;
                model_heard(m, request);
                m->reachable = false;
                return 0;
        }
        if (!status && nve == m->at && request->epoch == m->epoch)
                status = model_order_status(m, request);
        if (status)
                return status;
        if (request->epoch > m->epoch)
                model_move(m, request->epoch == m->back_epoch ? m->from : m->to, request->epoch, true);
        model_heard(m, request);
        m->reachable = true;
        m->ends_ms = now_ms() + request->lifetime_units * UINT64_C(4000);
        return 0;
}

static void model_tick(void) {
        for (int i = 0; i < VMS; i++)
                if (models[i].reachable && models[i].ends_ms <= now_ms())
                        models[i].reachable = false;
}

/* --- what happens --- */

static uint64_t some_epoch(const struct model *m) {
        uint64_t near[] = {m->epoch, m->epoch, m->epoch, m->move_epoch, m->back_epoch, m->epoch + 1, m->epoch - 1};

        return near[dice_below(&dice, sizeof near / sizeof *near)];
}

static int some_nve(const struct model *m) {
        int near[] = {m->at, m->at, m->at, m->to, m->from, (int)dice_below(&dice, NVES)};
        int nve = near[dice_below(&dice, sizeof near / sizeof *near)];

        return nve == NOWHERE ? (int)dice_below(&dice, NVES) : nve;
}

static void do_register(int i) {
        struct model *m = &models[i];
        int nve = some_nve(m), expected;
        struct gw_registration request = {
                .kind = GW_REG_REQUEST,
                .flags = GW_MH_REQUEST_USUAL,
                .sequence = (uint16_t)(m->sequence + dice_below(&dice, 4)),
                .lifetime_units = dice_below(&dice, 8) ? LIFETIME_UNITS : 0,
                .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_EPOCH,
                .handoff = GW_MH_HANDOFF_UNKNOWN,
                .access = GW_MH_ACCESS_VIRTUAL,
                .epoch = some_epoch(m),
        };
        struct gw_registration reply;
        bool foreign;
        int r;

        request.vm = gw_vm_name(vms[i]);
        if (dice_below(&dice, 4))
                request.has |= GW_REG_HAS_TIMESTAMP;
        request.timestamp = gw_registration_stamp(now.wall) + dice_below(&dice, 3) - 1;
        if (!request.epoch)
                request.epoch = 1;
        /* Now and then an address that is another VM's. */
        request.n_addrs4 = 1;
        foreign = dice_below(&dice, 20) == 0 && request.lifetime_units;
        request.addrs4[0] =
                (struct gw_reg_addr4){.ip = gw_port_ip(gw_vm_ports(vms[foreign ? (i + 1) % VMS : i]), 0), .bits = 32};
        expected = foreign ? GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED : model_register(m, nve, &request);
        r = gw_directory_register(&d, nves[nve], &request, now, &reply);
        if (!(expected == -1 ? r == GW_E_REFUSED : r == 0 && reply.status == expected))
                printf("# vm %d nve %d: expected %d, r %d, status %u\n", i, nve, expected, r, reply.status);
        must(expected == -1 ? r == GW_E_REFUSED : r == 0 && reply.status == expected);
        accepted += expected == 0;
        refused += expected > 0;
        silent += expected < 0;
}

static void do_manage(int i) {
        struct model *m = &models[i];
        int nve = (int)dice_below(&dice, NVES);
        uint64_t a, b;

        switch (dice_below(&dice, 6)) {
        case 0:
                if (gw_directory_place(&d, vms[i], nves[nve], now, &a, NULL) == 0)
                        model_move(m, nve, m->reserved + 1, false);
                else
                        must(m->to != NOWHERE);
                break;
        case 1:
                if (gw_directory_reserve(&d, vms[i], nves[nve], now, &a, &b, NULL) == 0) {
                        m->from = m->at;
                        m->to = nve;
                        m->move_epoch = ++m->reserved;
                        m->back_epoch = ++m->reserved;
                        must(a == m->move_epoch && b == m->back_epoch);
                } else {
                        must(m->to != NOWHERE || m->at == NOWHERE || m->at == nve);
                }
                break;
        case 2:
                if (gw_directory_commit(&d, vms[i], now) == 0 && m->epoch < m->move_epoch)
                        model_move(m, m->to, m->move_epoch, true);
                break;
        case 3:
                if (m->to != NOWHERE && m->epoch < m->back_epoch)
                        model_move(m, m->from, m->back_epoch, true);
                gw_directory_take_back(&d, vms[i], now);
                break;
        case 4:
                gw_directory_unreserve(&d, vms[i]);
                m->to = m->from = NOWHERE;
                m->move_epoch = m->back_epoch = 0;
                break;
        default:
                if (m->at == NOWHERE || dice_below(&dice, 4))
                        break;
                gw_directory_release(&d, vms[i], now);
                model_move(m, NOWHERE, m->reserved + 1, false);
                m->to = m->from = NOWHERE;
                m->move_epoch = m->back_epoch = 0;
        }
}

static void compare(int i) {
        const struct gw_binding *b = &vms[i]->binding;
        const struct model *m = &models[i];
        struct gw_mapping mapping;

        must(gw_binding_nve(b) == (m->at == NOWHERE ? NULL : nves[m->at]));
        must(b->epoch == m->epoch && b->reserved == m->reserved);
        gw_directory_mapping(gw_vm_ports(vms[i]), &mapping);
        must((mapping.state == GW_MAPPING_SERVING) == m->reachable);
        if (m->reachable)
                must(gw_ip_eq(mapping.locator, nves[m->at]->locator) && mapping.epoch == m->epoch);
}

static void make_world(void) {
        static const uint64_t seed[2] = {5, 6};
        struct gw_prefix subnet;
        struct gw_vn_spec vn = {.id = "blue", .n_subnets = 1, .subnets = &subnet};
        struct gw_port_spec port = {.vn = "blue"};
        char id[16];

        must(gw_prefix_parse("10.0.0.0/16", &subnet) == 0);
        must(gw_directory_init(&d, seed, LEASE_S, &effects, NULL) == 0);
        must(gw_directory_vn_create(&d, &vn, NULL, NULL) == 0);
        for (int i = 0; i < NVES; i++) {
                struct gw_hello hello = {.role = GW_ROLE_NVE, .restart_count = 1};

                snprintf(hello.id.s, sizeof hello.id.s, "h%d", i);
                hello.locator = gw_ip_from_v4((uint32_t)(10 | 99 << 8 | (i + 1) << 24));
                must(gw_directory_hello(&d, &hello, now, &nves[i], NULL) == 0);
        }
        for (int i = 0; i < VMS; i++) {
                struct gw_vm_spec spec = {.id = id, .kind = GW_VM_TASK, .n_ports = 1, .ports = &port};

                snprintf(id, sizeof id, "vm%d", i);
                must(gw_directory_vm_create(&d, &spec, &vms[i], NULL) == 0);
                models[i] = (struct model){.at = NOWHERE, .from = NOWHERE, .to = NOWHERE};
        }
}

int main(int argc, char **argv) {
        unsigned long steps = argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000;

        dice = dice_new();
        make_world();
        for (step = 0; step < steps; step++) {
                int i = (int)dice_below(&dice, VMS);

                now.mono.ns += dice_below(&dice, 400) * GW_NS_PER_MS;
                now.wall.ns = UINT64_C(1700000000) * GW_NS_PER_S + now.mono.ns;
                gw_directory_tick(&d, now);
                model_tick();
                if (dice_below(&dice, 5))
                        do_register(i);
                else
                        do_manage(i);
                acknowledge();
                compare(i);
                compare((int)dice_below(&dice, VMS));
        }
        must(accepted > steps / 20 && refused > steps / 20 && silent > steps / 100);
        gw_directory_deinit(&d);
        printf("# %lu accepted, %lu refused, %lu not answered\nok 1 - soak\n1..1\n", accepted, refused, silent);
        return 0;
}
