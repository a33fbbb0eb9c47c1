/* SPDX-License-Identifier: Apache-2.0 */
/* Placement rules against a naive model that looks at every VM and every rule, over random starts, moves and restarts. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>

#include "../unit/directory_fixture.h"
#include "directory/rules.h"
#include "prop/seed.h"

enum { TENANTS = 4, VMS = 14, HOSTS = 3, STEPS = 6000 };

static struct dice dice;
static struct world *w;
static size_t refused, allowed;

static const char *tenant_name(unsigned i) {
        static const char *const names[TENANTS] = {"default", "red", "green", "grey"};

        return names[i];
}

static struct gw_vm *vm_at(unsigned i) {
        char id[64];

        snprintf(id, sizeof id, "v%u@%s", i, tenant_name(i % TENANTS));
        return gw_directory_vm(&w->d, id);
}

static struct gw_nve *host_at(unsigned i) {
        struct gw_nve *hosts[HOSTS] = {w->h1, w->h2, w->h3};

        return hosts[i];
}

/* Enough on every host: capacity is not what is tested. */
static void make_room(void) {
        static const char *const locators[HOSTS] = {"10.99.0.1", "10.99.0.2", "fd99::3"};

        for (unsigned i = 0; i < HOSTS; i++)
                gw_directory_nve_capacity(&w->d, world_hello(w, host_at(i)->id.s, locators[i]), 1024, 64);
}

static void make_vms(void) {
        for (unsigned i = 1; i < TENANTS; i++)
                assert_int_equal(gw_directory_tenant_create(&w->d, tenant_name(i), NULL, &w->error), 0);
        for (unsigned i = 0; i < VMS; i++) {
                char id[64];
                struct gw_vm_spec spec = {
                        .id = id, .memory_mib = 1, .vcpus = 1, .definition = "{}", .definition_size = 2};

                snprintf(id, sizeof id, "v%u@%s", i, tenant_name(i % TENANTS));
                assert_int_equal(gw_directory_vm_create(&w->d, &spec, NULL, &w->error), 0);
        }
}

/* --- the model --- */

static bool occupies(const struct gw_vm *vm, const struct gw_nve *nve) {
        return gw_vm_nve(vm) == nve || gw_directory_move_ends_at(&vm->binding, nve);
}

static bool apart_by_name(const struct gw_tenant *a, const struct gw_tenant *b) {
        for (unsigned i = 0; i < a->n_apart; i++)
                if (!strcmp(a->apart[i].s, b->name.s))
                        return true;
        return false;
}

static bool model_tenants(const struct gw_vm *vm, const struct gw_nve *nve) {
        for (struct gw_vm *other = NULL; (other = gw_directory_vm_after(&w->d, other ? gw_vm_name(other).s : NULL));) {
                const struct gw_tenant *a = gw_vm_tenant(vm), *b = gw_vm_tenant(other);

                if (other != vm && a != b && occupies(other, nve) &&
                    (a->exclusive || b->exclusive || apart_by_name(a, b) || apart_by_name(b, a)))
                        return false;
        }
        return true;
}

static bool model_rule(const struct gw_rule *rule, const struct gw_vm *vm, const struct gw_nve *nve) {
        unsigned here = 0, elsewhere = 0;
        bool mine = false;

        for (unsigned i = 0; i < rule->n_vms; i++) {
                const struct gw_vm *other = gw_directory_vm(&w->d, rule->vms[i].s);

                mine = mine || other == vm;
                if (other == vm || !gw_vm_nve(other))
                        continue;
                if (occupies(other, nve))
                        here++;
                else
                        elsewhere++;
        }
        if (!mine || rule->suspended)
                return true;
        return rule->kind == GW_RULE_APART ? !here : here || !elsewhere;
}

static bool model_allows(const struct gw_vm *vm, const struct gw_nve *nve) {
        if (occupies(vm, nve))
                return true;
        if (!model_tenants(vm, nve))
                return false;
        for (struct gw_rule *rule = NULL; (rule = gw_directory_rule_after(&w->d, rule ? rule->id.s : NULL));)
                if (!model_rule(rule, vm, nve))
                        return false;
        return true;
}

/* --- steps --- */

static void check_all(void) {
        for (unsigned v = 0; v < VMS; v++)
                for (unsigned h = 0; h < HOSTS; h++) {
                        bool may = model_allows(vm_at(v), host_at(h));

                        assert_int_equal(!gw_directory_fits(&w->d, vm_at(v), host_at(h), &w->error), may);
                        *(may ? &allowed : &refused) += 1;
                }
}

static void step_rule(void) {
        struct gw_name vms[4];
        unsigned tenant = (unsigned)dice_below(&dice, TENANTS), n = 0;
        struct gw_rule *rule;
        char id[64];

        snprintf(id, sizeof id, "r%u@%s", (unsigned)dice_below(&dice, 3), tenant_name(tenant));
        rule = gw_directory_rule(&w->d, id);
        if (rule && dice_below(&dice, 2))
                return gw_directory_rule_suspend(&w->d, rule, !rule->suspended);
        if (rule)
                return gw_directory_rule_delete(&w->d, rule);
        for (unsigned v = tenant; v < VMS && n < 4; v += TENANTS)
                if (dice_below(&dice, 3))
                        vms[n++] = gw_vm_name(vm_at(v));
        gw_directory_rule_create(&w->d, id, dice_below(&dice, 2) ? GW_RULE_APART : GW_RULE_TOGETHER, vms, n, NULL,
                                 &w->error);
}

static void step_tenant(void) {
        struct gw_tenant *tenant = gw_directory_tenant(&w->d, tenant_name((unsigned)dice_below(&dice, TENANTS)));
        struct gw_name apart;

        gw_name_parse(tenant_name((unsigned)dice_below(&dice, TENANTS)), &apart);
        gw_directory_tenant_update(&w->d, tenant, !dice_below(&dice, 5), &apart, dice_below(&dice, 2), &w->error);
}

static void step_place(void) {
        struct gw_vm *vm = vm_at((unsigned)dice_below(&dice, VMS));
        struct gw_nve *nve = host_at((unsigned)dice_below(&dice, HOSTS));
        uint64_t epoch, back;

        switch (dice_below(&dice, 5)) {
        case 0:
                gw_directory_release(&w->d, vm, w->now);
                break;
        case 1:
                gw_directory_reserve(&w->d, vm, nve, w->now, &epoch, &back, &w->error);
                break;
        case 2:
                gw_directory_commit(&w->d, vm, w->now);
                break;
        case 3:
                gw_directory_unreserve(&w->d, vm);
                break;
        default:
                if (!gw_vm_nve(vm))
                        gw_directory_place(&w->d, vm, nve, w->now, &epoch, &w->error);
        }
}

static void test_rules_against_naive_model(void **state) {
        (void)state;
        for (unsigned step = 0; step < STEPS; step++) {
                unsigned what = (unsigned)dice_below(&dice, 20);

                if (what < 2)
                        step_rule();
                else if (what < 3)
                        step_tenant();
                else
                        step_place();
                world_forget(w);
                if (step % 10 == 0)
                        check_all();
                if (step % 1000 == 999) { /* what is stored says the same */
                        world_restart(w);
                        make_room();
                        check_all();
                }
        }
        assert_true(refused > 500 && allowed > 500);
}

int main(void) {
        const struct CMUnitTest tests[] = {cmocka_unit_test(test_rules_against_naive_model)};
        int r;

        dice = dice_new();
        w = calloc(1, sizeof *w);
        world_init(w);
        make_room();
        make_vms();
        r = cmocka_run_group_tests(tests, NULL, NULL);
        world_deinit(w);
        free(w);
        return r;
}
