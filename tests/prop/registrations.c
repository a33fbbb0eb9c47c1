/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random registrations against a naive model of who may register what, and in
 * which order (docs/protocol.md, sections 3 and 6), while management places,
 * moves and releases the same VMs, time passes, and the authority restarts.
 * GW_ROUNDS says how many steps; a soak takes a million, the default is its short form.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "prop/seed.h"
#include "unit/directory_fixture.h"

enum { VMS = 6, NVES = 3, ROUNDS = 200000, LEASE_UNITS = 900, WINDOW_MS = 300, GRACE_MS = 120000 };

enum state { NOWHERE, PLACED, HERE, GONE }; /* HERE: reachable */

struct model {
        struct gw_vm *vm;
        enum state state;
        bool registered;     /* HERE, by a registration */
        int place, from, to; /* -1: none; to: of a reserved move */
        uint64_t epoch, there, back, reserved;
        bool heard;
        uint16_t sequence;
        uint64_t stamp;
        uint64_t ends_ms;
        bool may_arrive, may_return;
};

static struct world w;
static struct gw_nve *nves[NVES];
static struct model models[VMS];
static struct dice dice;
static size_t n_status[256], n_silent;

static uint64_t below(uint64_t n) {
        return dice_below(&dice, n);
}

static uint64_t now_ms(void) {
        return w.now.mono.ns / GW_NS_PER_MS;
}

static bool arrived(const struct gw_vm *vm, bool back, void *user) {
        (void)user;
        for (int i = 0; i < VMS; i++)
                if (models[i].vm == vm)
                        return back ? models[i].may_return : models[i].may_arrive;
        return true;
}

static void begin(void) {
        static struct gw_directory_effects effects;

        effects = *w.d.effects;
        effects.arrived = arrived;
        effects.notice = NULL; /* nobody is told: that is not what is looked at here */
        w.d.effects = &effects;
        nves[0] = w.h1, nves[1] = w.h2, nves[2] = w.h3;
}

/* --- management, in both --- */

static void settle(struct model *m, int place, uint64_t epoch, enum state state) {
        m->place = place;
        m->epoch = epoch;
        m->reserved = epoch > m->reserved ? epoch : m->reserved;
        m->state = state;
        m->registered = m->heard = false;
        m->stamp = 0;
        m->sequence = 0;
        m->ends_ms = now_ms() + LEASE_UNITS * 4000;
}

static void place(struct model *m) {
        int nve = (int)below(NVES);
        uint64_t epoch;
        int r = gw_directory_place(&w.d, m->vm, nves[nve], w.now, &epoch, &w.error);

        assert_int_equal(r, m->to >= 0 ? GW_E_CONFLICT : 0);
        if (r)
                return;
        settle(m, nve, m->reserved + 1, PLACED);
        assert_true(epoch == m->epoch);
}

static void reserve(struct model *m) {
        int to = (int)below(NVES);
        uint64_t there, back;
        int r = gw_directory_reserve(&w.d, m->vm, nves[to], w.now, &there, &back, &w.error);

        assert_int_equal(r, m->place < 0 || m->to >= 0 || to == m->place ? GW_E_CONFLICT : 0);
        if (r)
                return;
        m->from = m->place;
        m->to = to;
        m->there = m->reserved + 1;
        m->back = m->reserved + 2;
        m->reserved += 2;
        assert_true(there == m->there && back == m->back);
}

static void end_move(struct model *m) {
        m->to = m->from = -1;
        m->there = m->back = 0;
}

static void commit(struct model *m) {
        int r = gw_directory_commit(&w.d, m->vm, w.now);

        assert_int_equal(r, m->to < 0 || m->epoch > m->there ? GW_E_CONFLICT : 0);
        if (!r && m->epoch < m->there)
                settle(m, m->to, m->there, HERE);
}

static void take_back(struct model *m) {
        int r = gw_directory_take_back(&w.d, m->vm, w.now);

        assert_int_equal(r, m->to < 0 ? GW_E_CONFLICT : 0);
        if (!r && m->epoch != m->back)
                settle(m, m->from, m->back, HERE);
}

static void release(struct model *m) {
        gw_directory_release(&w.d, m->vm, w.now);
        if (m->place < 0)
                return;
        end_move(m);
        settle(m, -1, m->reserved + 1, NOWHERE);
}

static void manage(struct model *m) {
        switch (below(8)) {
        case 0:
        case 1:
                return place(m);
        case 2:
        case 3:
                return reserve(m);
        case 4:
                return commit(m);
        case 5:
                return take_back(m);
        case 6:
                gw_directory_unreserve(&w.d, m->vm);
                return end_move(m);
        default:
                if (!below(3))
                        release(m);
        }
}

/* Everybody acknowledges in time: what is sent is not what is looked at here. */
static void pass(uint64_t ms) {
        for (uint64_t step; ms; ms -= step) {
                step = ms < 500 ? ms : 500;
                world_ack(&w);
                world_pass(&w, step);
        }
        world_ack(&w);
}

static void expire(void) {
        for (int i = 0; i < VMS; i++)
                if (models[i].state == HERE && now_ms() >= models[i].ends_ms) {
                        models[i].state = GONE;
                        models[i].registered = false;
                }
}

static void restart(void) {
        static const char *const names[VMS] = {"web@default", "a@default", "b@default",
                                               "c@default",   "d@default", "e@default"};

        world_restart(&w);
        begin();
        for (int i = 0; i < NVES; i++)
                world_hello(&w, nves[i]->id.s, (const char *[]){"10.99.0.1", "10.99.0.2", "fd99::3"}[i]);
        for (int i = 0; i < VMS; i++) {
                models[i].vm = gw_directory_vm(&w.d, names[i]);
                assert_non_null(models[i].vm);
                if (models[i].state == HERE && models[i].ends_ms < now_ms() + GRACE_MS)
                        models[i].ends_ms = now_ms() + GRACE_MS;
        }
}

/* --- one registration, in both --- */

enum defect {
        NONE = 4, /* and less: most have none */
        NO_PROXY,
        NO_IDENTIFIER,
        NO_HANDOFF,
        NO_ACCESS,
        UNKNOWN_VM,
        OTHER_MAC,
        OTHER_ADDRESS6,
        OTHER_ADDRESS4,
        NO_ADDRESS,
        DEFECTS,
};

static uint64_t any_epoch(const struct model *m) {
        switch (below(6)) {
        case 0:
                return m->there;
        case 1:
                return m->back;
        case 2:
                return below(m->reserved + 3);
        default:
                return m->epoch;
        }
}

static uint64_t any_stamp(const struct model *m) {
        uint64_t now = gw_registration_stamp(w.now.wall);

        switch (below(6)) {
        case 0:
                return m->stamp;
        case 1:
                return m->stamp + below(3) - 1;
        case 2:
                return now + below(2 * 65536) - 65536; /* a second on both sides */
        case 3:
                return dice_u64(&dice);
        default:
                return now;
        }
}

static void any_request(const struct model *m, unsigned defect, struct gw_registration *r) {
        *r = world_request(&w, m->vm, any_epoch(m));
        if (!below(8))
                r->has &= ~(uint32_t)GW_REG_HAS_EPOCH;
        if (!below(4))
                r->has &= ~(uint32_t)GW_REG_HAS_TIMESTAMP;
        r->timestamp = any_stamp(m);
        if (below(2))
                r->sequence = (uint16_t)(m->sequence + below(5) - 2);
        else if (!below(4))
                r->sequence = (uint16_t)below(65536);
        r->lifetime_units = (uint16_t)(!below(5) ? 0 : below(2) ? 1 + below(30) : below(65536));
        if (defect == NO_PROXY)
                r->flags &= (uint16_t)~GW_MH_REQUEST_PROXY;
        if (defect == NO_IDENTIFIER || defect == NO_HANDOFF || defect == NO_ACCESS)
                r->has &= ~(uint32_t)(defect == NO_IDENTIFIER ? GW_REG_HAS_VM
                                      : defect == NO_HANDOFF  ? GW_REG_HAS_HANDOFF
                                                              : GW_REG_HAS_ACCESS);
        if (defect == UNKNOWN_VM)
                strcpy(r->vm.s, "nobody@default");
        if (defect == OTHER_MAC)
                r->macs[0].b[5] ^= 0x55;
        if (defect == OTHER_ADDRESS6)
                r->addrs6[0].ip = ip_of("fd00:1::7777");
        if (defect == OTHER_ADDRESS4)
                r->addrs4[0].ip = ip_of("10.1.0.177");
        if (defect == NO_ADDRESS)
                r->n_addrs4 = r->n_addrs6 = 0;
}

static const uint8_t defect_status[DEFECTS] = {
        [NO_PROXY] = GW_MH_PROHIBITED,
        [NO_IDENTIFIER] = GW_MH_MISSING_IDENTIFIER,
        [NO_HANDOFF] = GW_MH_MISSING_HANDOFF,
        [NO_ACCESS] = GW_MH_MISSING_ACCESS_TYPE,
        [UNKNOWN_VM] = GW_MH_NOT_SERVED_HERE,
        [OTHER_MAC] = GW_MH_PREFIX_NOT_AUTHORIZED,
        [OTHER_ADDRESS6] = GW_MH_PREFIX_NOT_AUTHORIZED,
        [OTHER_ADDRESS4] = GW_MH_IPV4_ADDRESS_NOT_AUTHORIZED,
        [NO_ADDRESS] = GW_MH_MISSING_PREFIX,
};

/* The newest epoch that the NVE was given. */
static uint64_t given(const struct model *m, int nve) {
        if (m->to == nve)
                return m->place == nve && m->epoch > m->there ? m->epoch : m->there;
        return m->place == nve ? m->epoch : 0;
}

static int place_status(const struct model *m, int nve, uint64_t epoch) {
        if (m->place < 0)
                return GW_MH_PROXY_NOT_ENABLED;
        if (m->to >= 0 && m->from == nve && epoch == m->back)
                return 0;
        if (epoch && epoch < m->epoch)
                return GW_MH_TIMESTAMP_LOWER;
        return epoch && epoch == given(m, nve) ? 0 : GW_MH_PROHIBITED;
}

static int order_status(const struct model *m, const struct gw_registration *r) {
        if (!m->heard)
                return 0;
        if ((r->has & GW_REG_HAS_TIMESTAMP) && m->stamp)
                return r->timestamp > m->stamp    ? 0
                       : r->timestamp == m->stamp ? GW_MH_TIMESTAMP_MISMATCH
                                                  : GW_MH_TIMESTAMP_LOWER;
        for (unsigned i = 0; i <= 0x8000; i++) /* the last one, and the 32768 before it; naive, and so only looked up */
                if ((uint16_t)(m->sequence - i) == r->sequence)
                        return GW_MH_SEQUENCE_OUT_OF_WINDOW;
        return 0;
}

static bool timely(const struct gw_registration *r, bool datagram) {
        uint64_t at = gw_registration_stamp_wall(r->timestamp).ns, now = w.now.wall.ns;

        return !datagram || !(r->has & GW_REG_HAS_TIMESTAMP) ||
               (at <= now + WINDOW_MS * GW_NS_PER_MS && at + WINDOW_MS * GW_NS_PER_MS >= at &&
                at + WINDOW_MS * GW_NS_PER_MS >= now);
}

/* The status; -1: silence. */
static int expected(const struct model *m, int nve, const struct gw_registration *r, unsigned defect, bool datagram,
                    uint64_t epoch) {
        int status;

        if (defect > NONE && defect <= UNKNOWN_VM)
                return defect_status[defect];
        status = defect > NONE ? defect_status[defect] : place_status(m, nve, epoch);
        if (!status && !timely(r, datagram))
                status = GW_MH_TIMESTAMP_MISMATCH;
        if (!r->lifetime_units)
                return status || nve != m->place || epoch != m->epoch || order_status(m, r) ? -1 : 0;
        if (!status && nve == m->place && epoch == m->epoch)
                status = order_status(m, r);
        if (status)
                return status;
        if (epoch > m->epoch && !(epoch == m->back ? m->may_return : m->may_arrive))
                return -1;
        return 0;
}

static void accepted(struct model *m, int nve, const struct gw_registration *r, uint64_t epoch) {
        unsigned units = r->lifetime_units < LEASE_UNITS ? r->lifetime_units : LEASE_UNITS;

        if (epoch > m->epoch)
                settle(m, nve, epoch, HERE);
        m->heard = true;
        m->sequence = r->sequence;
        m->stamp = r->has & GW_REG_HAS_TIMESTAMP ? r->timestamp : 0;
        if (!units) {
                m->state = m->state == HERE ? GONE : m->state;
                m->registered = false;
                return;
        }
        m->state = HERE;
        m->registered = true;
        m->ends_ms = now_ms() + units * 4000;
}

static void check_reply(const struct model *m, const struct gw_registration *r, const struct gw_registration *reply,
                        int status) {
        unsigned most = r->lifetime_units < LEASE_UNITS ? r->lifetime_units : LEASE_UNITS;

        assert_int_equal(reply->lifetime_units, status ? 0 : most);
        if (status == GW_MH_SEQUENCE_OUT_OF_WINDOW)
                assert_int_equal(reply->sequence, m->sequence);
        else
                assert_int_equal(reply->sequence, r->sequence);
        if (status == GW_MH_TIMESTAMP_MISMATCH || status == GW_MH_TIMESTAMP_LOWER) {
                assert_true(reply->epoch == m->epoch);
                assert_true(reply->timestamp == gw_registration_stamp(w.now.wall));
        }
}

static void registration(struct model *m) {
        unsigned defect = (unsigned)below(below(3) ? NONE : DEFECTS);
        int nve = below(3) && m->place >= 0 ? m->place : (int)below(NVES), status, r;
        struct gw_registration request, reply;
        bool datagram = below(2);
        uint64_t epoch;

        any_request(m, defect, &request);
        m->may_arrive = below(2);
        m->may_return = below(2);
        epoch = request.has & GW_REG_HAS_EPOCH ? request.epoch : given(m, nve);
        status = expected(m, nve, &request, defect, datagram, epoch);
        r = gw_directory_register_within(&w.d, nves[nve], &request, gw_ms(datagram ? WINDOW_MS : 0), w.now, &reply);
        assert_int_equal(r ? -1 : reply.status, status);
        if (status < 0) {
                n_silent++;
                return;
        }
        n_status[status]++;
        check_reply(m, &request, &reply, status);
        if (!status)
                accepted(m, nve, &request, epoch);
}

static void compare(const struct model *m) {
        const struct gw_binding *b = &m->vm->binding;
        static const uint8_t states[] = {
                [NOWHERE] = GW_BINDING_NONE, [PLACED] = GW_BINDING_PLACED, [GONE] = GW_BINDING_LAPSED};

        assert_ptr_equal(gw_binding_nve(b), m->place < 0 ? NULL : nves[m->place]);
        assert_true(b->epoch == m->epoch && b->reserved == m->reserved);
        assert_int_equal(b->state, m->state != HERE ? states[m->state]
                                   : m->registered  ? GW_BINDING_SERVING
                                                    : GW_BINDING_COMMITTED);
        assert_int_equal(b->heard, m->heard);
        if (m->heard) {
                assert_int_equal(b->sequence, m->sequence);
                assert_true(b->timestamp == m->stamp);
        }
}

static void test_against_model(void **state) {
        const char *given_rounds = getenv("GW_ROUNDS");
        size_t rounds = given_rounds ? strtoull(given_rounds, NULL, 0) : ROUNDS;

        (void)state;
        for (size_t round = 0; round < rounds; round++) {
                struct model *m = &models[below(VMS)];

                if (!below(20))
                        manage(m);
                else
                        registration(m);
                if (!below(10)) {
                        pass(below(20) ? below(500) : below(60000));
                        expire();
                }
                if (!below(5000))
                        restart();
                world_ack(&w);
                compare(m);
        }
        for (int i = 0; i < VMS; i++)
                compare(&models[i]);
        for (unsigned s = 0; s < 256; s++)
                if (n_status[s])
                        printf("# %u %s: %zu\n", s, gw_registration_status_word((uint8_t)s), n_status[s]);
        printf("# silence: %zu\n", n_silent);
        assert_true(n_status[0] > rounds / 50 && n_silent > rounds / 50);
}

static int setup(void **state) {
        static const char *const names[VMS] = {NULL, "a", "b", "c", "d", "e"};

        (void)state;
        world_init(&w);
        begin();
        for (int i = 0; i < VMS; i++)
                models[i] = (struct model){
                        .vm = i ? world_vm(&w, names[i], "blue") : w.web, .place = -1, .from = -1, .to = -1};
        return 0;
}

static int teardown(void **state) {
        (void)state;
        world_deinit(&w);
        return 0;
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_against_model, setup, teardown)};

        dice = dice_new();
        return cmocka_run_group_tests_name("registrations", tests, NULL, NULL);
}
