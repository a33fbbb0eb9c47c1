/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Placement rules: which VMs and which tenants may share a host.
 *
 * A rule names VMs of one tenant and keeps them apart, or together. A tenant may
 * be exclusive (it shares a host with no other), or be kept apart from tenants by
 * name. What a rule says holds when a VM is placed and when it moves, not for
 * what was placed before it was made: `kept` tells.
 */
#pragma once

#include "directory/directory.h"

enum { GW_RULE_VMS_MAX = 64, GW_RULES_MAX = 4096 };

enum gw_rule_kind { GW_RULE_APART, GW_RULE_TOGETHER };
struct gw_rule {
        struct gw_name id; /* name@tenant */
        struct gw_tenant *tenant;
        uint8_t kind;           /* enum gw_rule_kind */
        bool suspended;         /* not enforced for now */
        uint16_t n_vms, n_made; /* now; when it was made: VMs that are deleted leave it */
        struct gw_name vms[];   /* ids, in the order given */
};

struct gw_rule *gw_directory_rule(const struct gw_directory *d, const char *id);
struct gw_rule *gw_directory_rule_after(const struct gw_directory *d, const char *id);
/* The VMs must be there, and be of the rule's tenant. */
int gw_directory_rule_create(struct gw_directory *d, const char *id, enum gw_rule_kind kind, const struct gw_name *vms,
                             size_t n_vms, struct gw_rule **out, struct gw_error *error);
void gw_directory_rule_suspend(struct gw_directory *d, struct gw_rule *rule, bool suspended);
void gw_directory_rule_delete(struct gw_directory *d, struct gw_rule *rule);
bool gw_directory_rule_is_kept(const struct gw_directory *d, const struct gw_rule *rule);

/* apart replaces the list of tenants that it is kept apart from; both sides keep it. */
int gw_directory_tenant_update(struct gw_directory *d, struct gw_tenant *tenant, bool exclusive,
                               const struct gw_name *apart, size_t n_apart, struct gw_error *error);

/* A reserved move is to there, or from there. */
bool gw_directory_move_ends_at(const struct gw_binding *b, const struct gw_nve *nve);
/* The VM is there, or moves there or from there: it takes room. */
bool gw_directory_vm_occupies(const struct gw_vm *vm, const struct gw_nve *nve);
