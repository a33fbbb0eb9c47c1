/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement rules: kept, stored, and asked before a VM is placed.
 *
 * A host is asked about its tenants, which it counts (nve->tenancies), and not
 * about its VMs: with a million VMs a placement looks at some dozen numbers. Rules
 * are looked through for the VM's name; there are few of them.
 *
 * A VM may stay where it is, whatever a rule that came later says: a restart on
 * the same host, and the ends of a move under way, are not refused.
 *
 * Together: a VM may be placed where another of the rule's is, or anywhere while
 * none of the others is placed. So a group that is together does not come apart by
 * itself; one that is in two places (its rule was suspended) can be moved together.
 */
#include "directory/rules.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "directory/internal.h"

bool gw_directory_vm_occupies(const struct gw_vm *vm, const struct gw_nve *nve) {
        return nve == gw_vm_nve(vm) || gw_directory_move_ends_at(&vm->binding, nve);
}

bool gw_directory_move_ends_at(const struct gw_binding *b, const struct gw_nve *nve) {
        return gw_binding_move(b) && (nve == gw_binding_move(b)->to || nve == gw_binding_move(b)->from);
}

/* --- the tenants of a host --- */

static struct gw_tenancy *tenancy_of(const struct gw_nve *nve, const struct gw_tenant *tenant) {
        for (unsigned i = 0; i < nve->n_tenancies; i++)
                if (nve->tenancies[i].tenant == tenant)
                        return &nve->tenancies[i];
        return NULL;
}

int gw_dir_tenancy_enter(struct gw_nve *nve, struct gw_tenant *tenant) {
        struct gw_tenancy *t = tenancy_of(nve, tenant);

        if (!t) {
                t = reallocarray(nve->tenancies, nve->n_tenancies + 1u, sizeof *t);
                if (!t)
                        return -ENOMEM;
                nve->tenancies = t;
                t += nve->n_tenancies++;
                *t = (struct gw_tenancy){.tenant = tenant};
        }
        t->n_vms++;
        return 0;
}

void gw_dir_tenancy_leave(struct gw_nve *nve, const struct gw_tenant *tenant) {
        struct gw_tenancy *t = tenancy_of(nve, tenant);

        if (!--t->n_vms)
                *t = nve->tenancies[--nve->n_tenancies];
}

static bool names_tenant(const struct gw_tenant *tenant, const struct gw_tenant *other) {
        for (unsigned i = 0; i < tenant->n_apart; i++)
                if (gw_name_eq(&tenant->apart[i], &other->name))
                        return true;
        return false;
}

static bool tenants_may_meet(const struct gw_tenant *a, const struct gw_tenant *b) {
        return a == b || !(a->exclusive || b->exclusive || names_tenant(a, b) || names_tenant(b, a));
}

int gw_dir_tenants_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        const struct gw_tenant *mine = gw_vm_tenant(vm);

        if (gw_directory_vm_occupies(vm, nve))
                return 0;
        for (unsigned i = 0; i < nve->n_tenancies; i++) {
                const struct gw_tenant *other = nve->tenancies[i].tenant;

                if (tenants_may_meet(mine, other))
                        continue;
                return gw_fail(error, GW_E_CONFLICT, "nve", "%s has VMs of tenant %s, and tenant %s %s", nve->id.s,
                               other->name.s, mine->exclusive ? mine->name.s : other->name.s,
                               mine->exclusive || other->exclusive ? "shares a host with no other"
                                                                   : "may not share a host with it");
        }
        return 0;
}

/* --- rules about VMs --- */

static bool rule_names(const struct gw_rule *rule, const char *vm) {
        for (unsigned i = 0; i < rule->n_vms; i++)
                if (strcmp(rule->vms[i].s, vm) == 0)
                        return true;
        return false;
}

static int apart_check(const struct gw_directory *d, const struct gw_rule *rule, const struct gw_vm *vm,
                       const struct gw_nve *nve, struct gw_error *error) {
        for (unsigned i = 0; i < rule->n_vms; i++) {
                const struct gw_vm *other = gw_directory_vm(d, rule->vms[i].s);

                if (other && other != vm && gw_directory_vm_occupies(other, nve))
                        return gw_fail(error, GW_E_CONFLICT, "nve", "rule %s keeps %s and %s apart, and %s is at %s",
                                       rule->id.s, gw_vm_name(vm).s, gw_vm_name(other).s, gw_vm_name(other).s,
                                       nve->id.s);
        }
        return 0;
}

static int together_check(const struct gw_directory *d, const struct gw_rule *rule, const struct gw_vm *vm,
                          const struct gw_nve *nve, struct gw_error *error) {
        const struct gw_vm *elsewhere = NULL;

        for (unsigned i = 0; i < rule->n_vms; i++) {
                const struct gw_vm *other = gw_directory_vm(d, rule->vms[i].s);

                if (!other || other == vm || !gw_vm_nve(other))
                        continue;
                if (gw_directory_vm_occupies(other, nve))
                        return 0;
                elsewhere = other;
        }
        if (!elsewhere)
                return 0;
        return gw_fail(
                error, GW_E_CONFLICT, "nve",
                "rule %s keeps %s and %s together, and %s is at %s; to move all of them, suspend the rule meanwhile",
                rule->id.s, gw_vm_name(vm).s, gw_vm_name(elsewhere).s, gw_vm_name(elsewhere).s,
                gw_vm_nve(elsewhere)->id.s);
}

static int rule_check(const struct gw_directory *d, const struct gw_rule *rule, const struct gw_vm *vm,
                      const struct gw_nve *nve, struct gw_error *error) {
        return rule->kind == GW_RULE_APART ? apart_check(d, rule, vm, nve, error)
                                           : together_check(d, rule, vm, nve, error);
}

int gw_dir_rules_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                       struct gw_error *error) {
        int r = 0;

        if (gw_directory_vm_occupies(vm, nve))
                return 0;
        for (struct gw_rule *rule = NULL; !r && (rule = gw_directory_rule_after(d, rule ? rule->id.s : NULL));)
                if (!rule->suspended && rule->tenant == gw_vm_tenant(vm) && rule_names(rule, gw_vm_name(vm).s))
                        r = rule_check(d, rule, vm, nve, error);
        return r;
}

bool gw_directory_rule_is_kept(const struct gw_directory *d, const struct gw_rule *rule) {
        const struct gw_nve *places[GW_RULE_VMS_MAX];
        unsigned n = 0;

        for (unsigned i = 0; i < rule->n_vms; i++) {
                const struct gw_vm *vm = gw_directory_vm(d, rule->vms[i].s);

                if (vm && gw_vm_nve(vm))
                        places[n++] = gw_vm_nve(vm);
        }
        for (unsigned i = 1; i < n; i++) {
                if (rule->kind == GW_RULE_TOGETHER && places[i] != places[0])
                        return false;
                for (unsigned k = 0; rule->kind == GW_RULE_APART && k < i; k++)
                        if (places[k] == places[i])
                                return false;
        }
        return true;
}

/* --- making and ending --- */

struct gw_rule *gw_directory_rule(const struct gw_directory *d, const char *id) {
        return gw_order_find(&d->rules, id);
}

struct gw_rule *gw_directory_rule_after(const struct gw_directory *d, const char *id) {
        return gw_order_after(&d->rules, id);
}

static size_t octets_of(size_t n_vms) {
        return sizeof(struct gw_rule) + n_vms * sizeof(struct gw_name);
}

int gw_dir_rule_add(struct gw_directory *d, const char *id, struct gw_tenant *tenant, enum gw_rule_kind kind,
                    const struct gw_name *vms, size_t n_vms, struct gw_rule **out) {
        struct gw_rule *rule = gw_slab_new(&d->slab, octets_of(n_vms));

        if (!rule)
                return -ENOMEM;
        snprintf(rule->id.s, sizeof rule->id.s, "%s", id);
        rule->tenant = tenant;
        rule->kind = (uint8_t)kind;
        rule->n_vms = rule->n_made = (uint16_t)n_vms;
        memcpy(rule->vms, vms, n_vms * sizeof *vms);
        if (gw_order_insert(&d->rules, rule, id) < 0) {
                gw_slab_free(&d->slab, rule, octets_of(n_vms));
                return -ENOMEM;
        }
        *out = rule;
        return 0;
}

void gw_dir_rule_free(struct gw_directory *d, struct gw_rule *rule) {
        gw_order_remove(&d->rules, rule->id.s);
        gw_slab_free(&d->slab, rule, octets_of(rule->n_made));
}

static int vms_check(const struct gw_directory *d, const struct gw_tenant *tenant, const struct gw_name *vms,
                     size_t n_vms, struct gw_error *error) {
        if (n_vms < 2 || n_vms > GW_RULE_VMS_MAX)
                return gw_fail(error, GW_E_INVALID, "vms", "%zu VMs; a rule is about 2 to %d", n_vms, GW_RULE_VMS_MAX);
        for (size_t i = 0; i < n_vms; i++) {
                const struct gw_vm *vm = gw_directory_vm(d, vms[i].s);

                if (!vm)
                        return gw_fail(error, GW_E_NOT_FOUND, "vms", "there is no VM %s", vms[i].s);
                if (gw_vm_tenant(vm) != tenant)
                        return gw_fail(error, GW_E_INVALID, "vms", "VM %s is not of tenant %s, as the rule is",
                                       vms[i].s, tenant->name.s);
                for (size_t k = 0; k < i; k++)
                        if (gw_name_eq(&vms[i], &vms[k]))
                                return gw_fail(error, GW_E_INVALID, "vms", "VM %s is named twice", vms[i].s);
        }
        return 0;
}

int gw_directory_rule_create(struct gw_directory *d, const char *id, enum gw_rule_kind kind, const struct gw_name *vms,
                             size_t n_vms, struct gw_rule **out, struct gw_error *error) {
        struct gw_tenant *tenant;
        struct gw_rule *rule;
        struct gw_name name;
        int r = gw_dir_id_check(d, id, "name", &name, &tenant, error);

        if (r)
                return r;
        if (gw_directory_rule(d, name.s))
                return gw_fail(error, GW_E_EXISTS, "name", "there is a rule %s already", name.s);
        if (d->rules.count >= GW_RULES_MAX)
                return gw_fail(error, GW_E_FULL, "name", "there are %d rules, the most allowed", GW_RULES_MAX);
        r = vms_check(d, tenant, vms, n_vms, error);
        if (r)
                return r;
        r = gw_dir_rule_add(d, name.s, tenant, kind, vms, n_vms, &rule);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for rule %s", name.s);
        gw_dir_store_rule(d, rule);
        if (out)
                *out = rule;
        return 0;
}

void gw_directory_rule_suspend(struct gw_directory *d, struct gw_rule *rule, bool suspended) {
        if (rule->suspended == suspended)
                return;
        rule->suspended = suspended;
        gw_dir_store_rule(d, rule);
}

void gw_directory_rule_delete(struct gw_directory *d, struct gw_rule *rule) {
        struct gw_name id = rule->id;

        gw_dir_rule_free(d, rule);
        gw_dir_unstore_name(d, GW_RECORD_RULE, id.s);
}

/* A VM that is deleted leaves its rules; a rule about less than two VMs says nothing and goes. */
void gw_dir_rules_forget(struct gw_directory *d, const struct gw_vm *vm) {
        struct gw_rule *rule = gw_directory_rule_after(d, NULL), *next;

        for (; rule; rule = next) {
                unsigned at = 0;

                next = gw_directory_rule_after(d, rule->id.s);
                while (at < rule->n_vms && strcmp(rule->vms[at].s, gw_vm_name(vm).s) != 0)
                        at++;
                if (at == rule->n_vms)
                        continue;
                memmove(&rule->vms[at], &rule->vms[at + 1], (rule->n_vms - at - 1u) * sizeof rule->vms[0]);
                rule->n_vms--;
                if (rule->n_vms < 2)
                        gw_directory_rule_delete(d, rule);
                else
                        gw_dir_store_rule(d, rule);
        }
}

int gw_directory_tenant_update(struct gw_directory *d, struct gw_tenant *tenant, bool exclusive,
                               const struct gw_name *apart, size_t n_apart, struct gw_error *error) {
        if (n_apart > GW_TENANT_APART_MAX)
                return gw_fail(error, GW_E_INVALID, "apart", "%zu tenants; at most %d can be named", n_apart,
                               GW_TENANT_APART_MAX);
        for (size_t i = 0; i < n_apart; i++) {
                if (!gw_directory_tenant(d, apart[i].s))
                        return gw_fail(error, GW_E_NOT_FOUND, "apart", "there is no tenant %s", apart[i].s);
                if (gw_name_eq(&apart[i], &tenant->name))
                        return gw_fail(error, GW_E_INVALID, "apart", "tenant %s cannot be apart from itself",
                                       tenant->name.s);
        }
        tenant->exclusive = exclusive;
        tenant->n_apart = (uint8_t)n_apart;
        memcpy(tenant->apart, apart, n_apart * sizeof *apart);
        gw_dir_store_tenant(d, tenant);
        gw_dir_changed(d, GW_OBJECT_TENANT, tenant->name.s, false);
        return 0;
}
