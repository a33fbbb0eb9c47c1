/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who may be followed by its announcements, against a naive model that remembers every claim that was ever followed. Time,
 * policies, leases, planned moves and claims come at random; planned moves must neither count nor be counted.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "directory/aside.h"
#include "directory/claim.h"
#include "prop/seed.h"

enum { TASKS = 6, VNS = 3, STEPS = 40000, FOLLOWED_MAX = 40000 };

struct task {
        struct gw_vm *vm;
        struct gw_port *ports[2];
        struct gw_claim_history history;
        bool moving;
        struct gw_mono followed[FOLLOWED_MAX]; /* the model's: all of them */
        size_t n_followed;
};

static struct dice dice;
static struct gw_slab slab; /* VMs refer to what is in the same one */
static struct gw_vn *vns[VNS];
static struct gw_nve *hosts[2];
static struct task *tasks;
static struct gw_mono now;
static size_t seen[GW_CLAIM_DAMPED + 1];

static bool chance(unsigned in) {
        return !dice_below(&dice, in);
}

static void *in_slab(size_t size) {
        void *object = gw_slab_new(&slab, size);

        assert_non_null(object);
        return object;
}

static void world_begin(void) {
        dice = dice_new();
        assert_int_equal(gw_slab_init(&slab), 0);
        for (int i = 0; i < VNS; i++)
                vns[i] = in_slab(sizeof *vns[i]);
        for (int i = 0; i < 2; i++)
                hosts[i] = in_slab(sizeof *hosts[i]);
}

/* The former one stays where it is; the slab goes as a whole. */
static void task_begin(struct task *t) {
        *t = (struct task){.vm = in_slab(sizeof *t->vm)};
        t->vm->kind = chance(6) ? GW_VM_MACHINE : GW_VM_TASK;
        for (int i = 0; i < 2; i++) {
                t->ports[i] = in_slab(sizeof *t->ports[i]);
                gw_ref_set(&t->ports[i]->vn, vns[dice_below(&dice, VNS)]);
        }
        gw_ref_set(&t->vm->ports, chance(20) ? NULL : t->ports[0]);
        gw_ref_set(&t->ports[0]->next, chance(2) ? t->ports[1] : NULL);
        gw_ref_set(&t->vm->binding.nve, hosts[0]);
        t->vm->binding.state = GW_BINDING_SERVING;
}

static void move_begins_or_ends(struct gw_binding *b) {
        const struct gw_reservation move = {.from = hosts[0], .to = hosts[1]};

        gw_aside_move_end(&slab, b);
        if (chance(4))
                assert_int_equal(gw_aside_move(&slab, b, &move), 0);
}

static void something_happens(struct task *t) {
        switch (dice_below(&dice, 9)) {
        case 0:
                vns[dice_below(&dice, VNS)]->settings.flags ^= GW_VN_ANNOUNCED;
                break;
        case 1:
                t->vm->binding.state = chance(4) ? GW_BINDING_LAPSED : GW_BINDING_SERVING;
                break;
        case 2:
                t->moving = chance(4);
                break;
        case 3:
                move_begins_or_ends(&t->vm->binding);
                break;
        case 4:
                t->history.busy = chance(4);
                break;
        case 5:
                /* a planned move has ended */
                gw_ref_set(&t->vm->binding.nve, chance(10) ? NULL : hosts[dice_below(&dice, 2)]);
                break;
        case 6:
                if (chance(60))
                        task_begin(t);
                break;
        default:
                now.ns += dice_below(&dice, 30 * GW_NS_PER_S);
        }
}

/* --- the model --- */

static size_t followed_lately(const struct task *t) {
        size_t n = 0;

        for (size_t i = 0; i < t->n_followed; i++)
                n += now.ns - t->followed[i].ns < GW_CLAIM_DAMPING_S * GW_NS_PER_S;
        return n;
}

static enum gw_claim_verdict model(const struct task *t) {
        bool lapsed = t->vm->binding.state == GW_BINDING_LAPSED, announced = gw_vm_ports(t->vm);

        announced = announced && gw_port_vn(t->ports[0])->settings.flags & GW_VN_ANNOUNCED;
        announced =
                announced && (!gw_port_next(t->ports[0]) || gw_port_vn(t->ports[1])->settings.flags & GW_VN_ANNOUNCED);
        if (t->vm->kind != GW_VM_TASK)
                return GW_CLAIM_NOT_A_TASK;
        if (!gw_vm_nve(t->vm) || !(announced || lapsed))
                return GW_CLAIM_POLICY;
        if (t->history.busy || t->moving || gw_vm_move(t->vm))
                return GW_CLAIM_BUSY;
        if (followed_lately(t) >= GW_CLAIM_DAMPING_MOVES)
                return GW_CLAIM_DAMPED;
        return lapsed ? GW_CLAIM_TAKE : GW_CLAIM_ASK;
}

static void claim(struct task *t) {
        enum gw_claim_verdict got = gw_claim_judge(t->vm, &t->history, t->moving, now), want = model(t);

        if (gw_claim_is_spent(&t->history, now) && chance(2)) /* forgotten for want of room: nobody can tell */
                t->history = (struct gw_claim_history){0};
        if (got != want)
                fail_msg("verdict %d, the model says %d (followed %zu times, %zu lately)", got, want, t->n_followed,
                         followed_lately(t));
        seen[got]++;
        if ((got != GW_CLAIM_TAKE && got != GW_CLAIM_ASK) || chance(4)) /* it was still there */
                return;
        gw_claim_followed(&t->history, now);
        t->followed[t->n_followed++] = now;
}

static void test_verdicts_as_the_model(void **state) {
        (void)state;
        world_begin();
        tasks = calloc(TASKS, sizeof *tasks);
        assert_non_null(tasks);
        now.ns = GW_NS_PER_S * 1000;
        for (int i = 0; i < TASKS; i++)
                task_begin(&tasks[i]);
        for (int i = 0; i < STEPS; i++) {
                struct task *t = &tasks[dice_below(&dice, TASKS)];

                chance(2) ? something_happens(t) : claim(t);
        }
        for (int i = GW_CLAIM_TAKE; i <= GW_CLAIM_DAMPED; i++)
                assert_true(seen[i]); /* else the run has tested less than it says */
        free(tasks);
        gw_slab_deinit(&slab);
}

static void test_damping_by_the_second(void **state) {
        struct gw_claim_history h = {0};
        struct gw_vm *vm;

        (void)state;
        world_begin();
        vm = in_slab(sizeof *vm);
        vm->kind = GW_VM_TASK;
        vm->binding.state = GW_BINDING_LAPSED;
        gw_ref_set(&vm->binding.nve, hosts[0]);
        now.ns = GW_NS_PER_S * 50;
        for (int i = 0; i < GW_CLAIM_DAMPING_MOVES; i++) {
                assert_int_equal(gw_claim_judge(vm, &h, false, now), GW_CLAIM_TAKE);
                gw_claim_followed(&h, now);
                now.ns += GW_NS_PER_S;
        }
        assert_int_equal(gw_claim_judge(vm, &h, false, now), GW_CLAIM_DAMPED);
        now.ns = GW_NS_PER_S * (50 + GW_CLAIM_DAMPING_S) - 1;
        assert_int_equal(gw_claim_judge(vm, &h, false, now), GW_CLAIM_DAMPED);
        now.ns++;
        assert_int_equal(gw_claim_judge(vm, &h, false, now), GW_CLAIM_TAKE);
        now.ns += GW_NS_PER_S * (GW_CLAIM_DAMPING_MOVES - 1) - 1;
        assert_false(gw_claim_is_spent(&h, now)); /* the newest still counts */
        now.ns++;
        assert_true(gw_claim_is_spent(&h, now));
        h.busy = true;
        assert_false(gw_claim_is_spent(&h, now));
        assert_true(gw_claim_is_spent(&(struct gw_claim_history){0}, now));
        assert_int_equal(gw_claim_judge(vm, NULL, false, now), GW_CLAIM_BUSY);
        gw_slab_deinit(&slab);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_verdicts_as_the_model),
                cmocka_unit_test(test_damping_by_the_second),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
