/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The binding update list (RFC 5213 section 6.1, D2 section 5): one entry for
 * each VM that has ports here, whatever its role, and for each whose
 * deregistration has not ended. registration.c says what happens to an entry.
 *
 *   ARRIVING --activate--> SERVING --cut--> SOURCE --redirect ends--> gone
 *   SERVING --delete--> LEAVING --answer, or none in time--> gone
 *
 * An entry is owned by the list. The VM points to it and it to the VM, as long
 * as there is one; a VM that comes back while its entry is LEAVING takes it over,
 * with its numbers, so that a late answer to the deregistration is told apart.
 */
#include <stdlib.h>

#include "edge/core.h"

struct edge_binding *gw_edge_binding_find(const struct gw_edge *edge, const struct gw_name *name) {
        struct gw_table_node *node =
                gw_table_find(&edge->bindings, gw_table_hash(&edge->bindings, name->s, strlen(name->s)), name->s);

        return node ? gw_container_of(node, struct edge_binding, node) : NULL;
}

static struct edge_binding *binding_new(struct gw_edge *edge, const struct gw_name *name) {
        struct edge_binding *b = calloc(1, sizeof *b);

        if (!b || gw_edge_timer_add(&edge->timers, &b->timer, TIMER_REGISTRATION)) {
                free(b);
                return NULL;
        }
        b->name = *name;
        if (gw_table_insert(&edge->bindings, &b->node, gw_table_hash(&edge->bindings, b->name.s, strlen(b->name.s)))) {
                gw_edge_timer_remove(&edge->timers, &b->timer);
                free(b);
                return NULL;
        }
        return b;
}

struct edge_binding *gw_edge_binding_get(struct gw_edge *edge, struct edge_vm *vm) {
        struct edge_binding *b = gw_edge_binding_find(edge, &vm->name);

        if (!b)
                b = binding_new(edge, &vm->name);
        if (!b)
                return NULL;
        gw_edge_timer_stop(&edge->timers, &b->timer);
        b->outstanding = false;
        b->vm = vm;
        vm->reg = b;
        return b;
}

void gw_edge_binding_free(struct gw_edge *edge, struct edge_binding *b) {
        gw_edge_timer_remove(&edge->timers, &b->timer);
        gw_table_remove(&edge->bindings, &b->node);
        free(b);
}

void gw_edge_binding_let_go(struct gw_edge *edge, struct edge_vm *vm) {
        struct edge_binding *b = vm->reg;

        if (!b)
                return;
        vm->reg = NULL;
        b->vm = NULL;
        if (!b->outstanding)
                gw_edge_binding_free(edge, b);
}

static void free_each(struct gw_table_node *node, void *user) {
        gw_edge_binding_free(user, gw_container_of(node, struct edge_binding, node));
}

void gw_edge_bindings_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->bindings, free_each, edge);
}

/* ---- shown ---- */

static uint8_t role_of(const struct edge_binding *b) {
        if (!b->vm)
                return GW_EDGE_BINDING_LEAVING;
        switch (b->vm->role) {
        case GW_EDGE_SERVING:
                return GW_EDGE_BINDING_SERVING;
        case GW_EDGE_ARRIVING:
                return GW_EDGE_BINDING_ARRIVING;
        default:
                return GW_EDGE_BINDING_SOURCE;
        }
}

struct visit {
        void (*each)(const struct gw_edge_binding_view *view, void *user);
        void *user;
};

static void view_each(struct gw_table_node *node, void *user) {
        const struct visit *visit = user;
        const struct edge_binding *b = gw_container_of(node, struct edge_binding, node);
        struct gw_edge_binding_view view = {.vm = &b->name,
                                            .role = role_of(b),
                                            .state = b->state,
                                            .status = b->status,
                                            .outstanding = b->outstanding,
                                            .sequence = b->sequence,
                                            .tries = b->tries,
                                            .timeout_ms = b->timeout_ms,
                                            .granted_ms = b->granted_ms,
                                            .epoch = b->vm ? b->vm->epoch : b->epoch,
                                            .stamp = b->stamp,
                                            .expires = b->expires,
                                            .keep_until = b->keep_until,
                                            .noticed = b->noticed,
                                            .next = b->timer.slot ? b->timer.at : (struct gw_mono){0}};

        if (b->vm)
                view.locator = b->vm->peer;
        visit->each(&view, visit->user);
}

void gw_edge_each_binding(const struct gw_edge *edge, void (*each)(const struct gw_edge_binding_view *view, void *user),
                          void *user) {
        /* Looking changes nothing; the table's visitor only lacks a form for constant tables. */
        gw_table_each((struct gw_table *)&edge->bindings, view_each, &(struct visit){each, user});
}

size_t gw_edge_vm_ips(const struct gw_edge *edge, const struct gw_name *name, struct gw_ip *out, size_t max) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, name);
        size_t n = 0;

        if (!vm)
                return 0;
        gw_list_for_each (link, &vm->ports) {
                const struct gw_edge_attach *a = &gw_list_entry(link, struct edge_port, of_vm)->a;

                for (size_t i = 0; i < a->n_ips && n < max; i++)
                        out[n++] = a->ips[i];
        }
        return n;
}
