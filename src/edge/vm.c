/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs that are, arrive, or were here, and what the hypervisor agent asks for.
 *
 *                attach serve                    cut, or fenced by a newer epoch
 *      (nothing) ------------> SERVING --------------------------> MOVED
 *          |                    ^   ^------------ uncut ------------' |
 *          `- attach arrive -> ARRIVING                delete keep=redirect: stays
 *                       activate |                     until the redirect ends
 *
 * A VM has one role and one epoch for all of its ports. Each call names the
 * epoch it is about: older than the VM's is refused as stale, the same again is
 * answered with success and changes nothing. Calls need nothing from the NVA.
 *
 * The data plane is changed before anything else is done: in a cut, one write
 * for each port comes first, then book-keeping.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "wire/mobility.h"

struct edge_vm *gw_edge_vm_find(const struct gw_edge *edge, const struct gw_name *name) {
        struct gw_table_node *node =
                gw_table_find(&edge->vms, gw_table_hash(&edge->vms, name->s, strlen(name->s)), name->s);

        return node ? gw_container_of(node, struct edge_vm, node) : NULL;
}

uint64_t gw_edge_vm_newest(const struct edge_vm *vm) {
        return vm->back_epoch > vm->epoch ? vm->back_epoch : vm->epoch;
}

static struct edge_vm *vm_new(struct gw_edge *edge, const struct gw_edge_attach *a) {
        struct edge_vm *vm = calloc(1, sizeof *vm);

        if (!vm)
                return NULL;
        vm->name = a->vm;
        vm->role = a->role;
        vm->epoch = a->epoch;
        vm->peer = a->peer;
        vm->task = a->task;
        vm->returning = a->role == GW_EDGE_ARRIVING && a->returning ? EDGE_RETURN_WAITING : 0;
        gw_list_init(&vm->ports);
        if (gw_edge_timer_add(&edge->timers, &vm->redirect, TIMER_REDIRECT) || !gw_edge_binding_get(edge, vm) ||
            gw_table_insert(&edge->vms, &vm->node, gw_table_hash(&edge->vms, vm->name.s, strlen(vm->name.s)))) {
                gw_edge_timer_remove(&edge->timers, &vm->redirect);
                gw_edge_binding_let_go(edge, vm);
                free(vm);
                return NULL;
        }
        return vm;
}

static void vm_free(struct gw_edge *edge, struct edge_vm *vm) {
        gw_edge_binding_let_go(edge, vm);
        gw_edge_timer_remove(&edge->timers, &vm->redirect);
        gw_table_remove(&edge->vms, &vm->node);
        free(vm->talkers);
        free(vm->stale);
        free(vm);
}

void gw_edge_vm_program(struct gw_edge *edge, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                gw_edge_fdb_program(edge, port->a.vni, port->a.mac);
        }
}

/* The NVA's word of a newer place is not to be overwritten by an older call. */
static bool vm_is_elsewhere(const struct gw_edge *edge, const struct edge_vm *vm, uint64_t epoch) {
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                if (gw_edge_mapping_elsewhere(edge, port->a.vni, port->a.mac) > epoch)
                        return true;
        }
        return false;
}

static int stale(struct gw_error *error, const struct edge_vm *vm, uint64_t epoch) {
        return gw_fail(error, GW_E_STALE, "epoch", "epoch %llu of vm %s is older than what is known here (%llu)",
                       (unsigned long long)epoch, vm->name.s, (unsigned long long)gw_edge_vm_newest(vm));
}

static int vm_get(const struct gw_edge *edge, const struct gw_name *name, struct edge_vm **out,
                  struct gw_error *error) {
        *out = gw_edge_vm_find(edge, name);
        if (*out)
                return 0;
        return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s has no port here", name->s);
}

static void vm_set_role(struct gw_edge *edge, struct edge_vm *vm, uint8_t role, uint64_t epoch) {
        gw_edge_log(edge, GW_INFO, "vm=%s role=%s epoch=%llu", vm->name.s,
                    role == GW_EDGE_SERVING    ? "serving"
                    : role == GW_EDGE_ARRIVING ? "arriving"
                                               : "moved",
                    (unsigned long long)epoch);
        vm->role = role;
        vm->epoch = epoch;
        edge->fx->vm_changed(edge->user, &vm->name);
}

/* ---- the cut and the way back ---- */

void gw_edge_vm_moved(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, struct gw_ip to,
                      uint64_t epoch) {
        struct edge_port *port;

        vm->role = GW_EDGE_MOVED;
        vm->epoch = epoch;
        vm->peer = to;
        gw_list_for_each (link, &vm->ports) {
                port = gw_list_entry(link, struct edge_port, of_vm);
                gw_edge_port_drain(edge, port);
                if (!port->attached || edge->fx->port_cut(edge->user, &port->a, to, epoch, port->draining))
                        gw_edge_fdb_program(edge, port->a.vni, port->a.mac);
        }
        gw_list_for_each (link, &vm->ports) {
                port = gw_list_entry(link, struct edge_port, of_vm);
                gw_edge_member_add(edge, port->vn, to, false);
                gw_edge_presence_look(edge, port->vn);
        }
        gw_edge_vm_release(edge, now, vm);
        gw_edge_still_apply(edge, vm);
        gw_edge_redirect_begin(edge, now, vm);
        gw_edge_unregistered(edge, vm);
        vm_set_role(edge, vm, GW_EDGE_MOVED, epoch);
}

int gw_edge_cut(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, struct gw_ip to,
                uint64_t epoch, struct gw_error *error) {
        struct edge_vm *vm;
        int r = vm_get(edge, name, &vm, error);

        if (r)
                return r;
        if (vm->role == GW_EDGE_MOVED && vm->epoch == epoch && gw_ip_eq(vm->peer, to))
                return 0;
        if (epoch <= gw_edge_vm_newest(vm))
                return stale(error, vm, epoch);
        if (!gw_ip_is_unicast(to) || gw_ip_eq(to, edge->config.locator))
                return gw_fail(error, GW_E_INVALID, "to", "the locator of another NVE is needed");
        if (vm->role != GW_EDGE_SERVING)
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s does not serve here", name->s);
        gw_edge_vm_moved(edge, now, vm, to, epoch);
        gw_edge_absence_count(edge, &edge->absence.cuts);
        return 0;
}

static void vm_serve(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint64_t epoch,
                     uint8_t handoff) {
        vm->role = GW_EDGE_SERVING;
        vm->epoch = epoch;
        vm->peer = (struct gw_ip){{0}};
        gw_edge_vm_program(edge, vm);
        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                if (!port->attached)
                        continue;
                edge->fx->port_role(edge->user, &port->a, GW_EDGE_SERVING, port->hold);
                gw_edge_groups_begin(edge, port);
                for (size_t i = 0; i < port->a.n_ips; i++)
                        gw_edge_neigh_claim(edge, port->a.vni, port->a.ips[i], port->a.mac);
        }
        gw_edge_still_apply(edge, vm);
        vm_set_role(edge, vm, GW_EDGE_SERVING, epoch);
        gw_edge_absence_count(edge, &edge->absence.activated);
        gw_edge_register(edge, now, vm, handoff);
}

static bool vm_is_attached(const struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports)
                if (gw_list_entry(link, struct edge_port, of_vm)->attached)
                        return true;
        return false;
}

int gw_edge_uncut(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, uint64_t epoch,
                  struct gw_error *error) {
        struct edge_vm *vm;
        int r = vm_get(edge, name, &vm, error);

        if (r)
                return r;
        if (vm->role == GW_EDGE_SERVING && vm->epoch == epoch)
                return 0;
        if (epoch < gw_edge_vm_newest(vm) || (epoch == vm->epoch && vm->role == GW_EDGE_MOVED) ||
            vm_is_elsewhere(edge, vm, epoch))
                return stale(error, vm, epoch);
        if (vm->role == GW_EDGE_ARRIVING || !vm_is_attached(vm))
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s was not cut here, or its ports are detached",
                               name->s);
        gw_edge_redirect_cancel(edge, vm);
        vm_serve(edge, now, vm, epoch, GW_MH_HANDOFF_MOVED);
        gw_edge_taken_back(edge, now, vm);
        return 0;
}

/* ---- activation ---- */

int gw_edge_activate(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, uint64_t epoch,
                     struct gw_error *error) {
        struct edge_vm *vm;
        int r = vm_get(edge, name, &vm, error);

        if (r)
                return r;
        if (vm->role == GW_EDGE_SERVING && vm->epoch == epoch)
                return 0;
        if (epoch < gw_edge_vm_newest(vm) || vm_is_elsewhere(edge, vm, epoch))
                return stale(error, vm, epoch);
        if (vm->role != GW_EDGE_ARRIVING || vm->returning)
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s does not arrive here", name->s);
        vm_serve(edge, now, vm, epoch, GW_MH_HANDOFF_MOVED);
        gw_edge_vm_release(edge, now, vm);
        gw_list_for_each (link, &vm->ports) {
                const struct gw_edge_attach *a = &gw_list_entry(link, struct edge_port, of_vm)->a;

                gw_edge_speak(edge, a->vni, a->mac, a->ips, a->n_ips);
        }
        return 0;
}

/* ---- the end ---- */

/* Frees the VM and its ports; then what mappings say about its MACs counts again. */
void gw_edge_vm_forget(struct gw_edge *edge, struct edge_vm *vm) {
        struct gw_name name = vm->name;

        gw_list_for_each (link, &vm->ports)
                gw_edge_port_free(edge, gw_list_entry(link, struct edge_port, of_vm), true);
        vm_free(edge, vm);
        edge->fx->vm_changed(edge->user, &name);
}

/* After a cut the VM is known to be at its peer, whether or not the NVA has said so yet. */
static void vm_leave_redirect(struct gw_edge *edge, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports)
                gw_edge_port_close(edge, gw_list_entry(link, struct edge_port, of_vm));
        vm->leaving = true;
        gw_edge_vm_program(edge, vm);
        edge->fx->vm_changed(edge->user, &vm->name);
}

int gw_edge_delete(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, bool keep_redirect,
                   struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);

        (void)error;
        if (!vm)
                return 0;
        if (keep_redirect && vm->role == GW_EDGE_MOVED) {
                vm_leave_redirect(edge, vm);
                return 0;
        }
        if (vm->role == GW_EDGE_SERVING)
                gw_edge_deregister(edge, now, vm);
        gw_edge_vm_forget(edge, vm);
        return 0;
}

static void vm_lost_port(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        struct edge_vm *vm = port->vm;

        if (vm->role == GW_EDGE_MOVED) {
                gw_edge_port_close(edge, port);
                gw_edge_fdb_program(edge, port->a.vni, port->a.mac);
                vm->leaving = !vm_is_attached(vm); /* there is nothing left that could be taken back */
                edge->fx->vm_changed(edge->user, &vm->name);
                return;
        }
        if (vm->ports.next == vm->ports.prev) {
                if (vm->role == GW_EDGE_SERVING)
                        gw_edge_deregister(edge, now, vm);
                gw_edge_vm_forget(edge, vm);
                return;
        }
        gw_edge_port_free(edge, port, true);
        edge->fx->vm_changed(edge->user, &vm->name);
        if (vm->role == GW_EDGE_SERVING)
                gw_edge_register(edge, now, vm, GW_MH_HANDOFF_UNCHANGED);
}

int gw_edge_detach(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *id, struct gw_error *error) {
        struct edge_port *port = gw_edge_port_find(edge, id);

        if (!port && gw_edge_unclaim(edge, id))
                return 0;
        if (!port)
                return gw_fail(error, GW_E_NOT_FOUND, "port", "there is no port %s here", id->s);
        vm_lost_port(edge, now, port);
        return 0;
}

/* A tap goes with the process that had it open. When the VM was cut, its redirect must outlive it. */
void gw_edge_device_gone(struct gw_edge *edge, struct gw_edge_now now, uint32_t ifindex) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, ifindex);

        gw_edge_claims_device_gone(edge, ifindex);
        if (!port)
                return;
        gw_edge_log(edge, GW_NOTICE, "port=%s: its device is gone", port->a.id.s);
        vm_lost_port(edge, now, port);
}

static void vm_free_each(struct gw_table_node *node, void *user) {
        struct edge_vm *vm = gw_container_of(node, struct edge_vm, node);

        gw_list_for_each (link, &vm->ports)
                gw_edge_port_free(user, gw_list_entry(link, struct edge_port, of_vm), false);
        vm_free(user, vm);
}

void gw_edge_vm_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->vms, vm_free_each, edge);
}

/* ---- attaching ---- */

/* May a port with this role and epoch join the VM as it is now? */
static int vm_may_attach(struct gw_edge *edge, struct edge_vm *vm, const struct gw_edge_attach *a,
                         struct gw_error *error) {
        if (a->epoch < gw_edge_vm_newest(vm) || gw_edge_mapping_elsewhere(edge, a->vni, a->mac) > a->epoch)
                return stale(error, vm, a->epoch);
        if (a->epoch == gw_edge_vm_newest(vm) && a->role != vm->role)
                return gw_fail(error, GW_E_CONFLICT, "mode", "vm %s has another role here with epoch %llu", a->vm.s,
                               (unsigned long long)a->epoch);
        if (a->role == GW_EDGE_ARRIVING &&
            ((vm->returning && !a->returning) || (a->epoch > vm->epoch && vm_is_attached(vm))))
                return gw_fail(error, GW_E_CONFLICT, "mode", "vm %s is here already; delete it first", a->vm.s);
        return 0;
}

/* A newer epoch: restarted here, or coming back while its redirect is still on. */
static void vm_renew(struct gw_edge *edge, struct edge_vm *vm, const struct gw_edge_attach *a) {
        if (a->epoch == vm->epoch)
                return;
        gw_edge_redirect_cancel(edge, vm);
        if (vm->returning)
                gw_edge_timer_stop(&edge->timers, &vm->redirect);
        vm->returning = 0;
        vm->back_epoch = 0;
        vm->role = a->role;
        vm->epoch = a->epoch;
        vm->peer = a->peer;
        gw_edge_vm_program(edge, vm);
}

static int vm_get_or_new(struct gw_edge *edge, const struct gw_edge_attach *a, struct edge_vm **out,
                         struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, &a->vm);
        int r;

        if (vm) {
                r = vm_may_attach(edge, vm, a, error);
                if (r)
                        return r;
                vm_renew(edge, vm, a);
        } else {
                if (gw_edge_mapping_elsewhere(edge, a->vni, a->mac) > a->epoch)
                        return gw_fail(error, GW_E_STALE, "epoch", "vm %s is elsewhere with a newer epoch than %llu",
                                       a->vm.s, (unsigned long long)a->epoch);
                vm = vm_new(edge, a);
                if (!vm)
                        return gw_fail(error, -ENOMEM, "", "out of memory");
        }
        *out = vm;
        return 0;
}

/* After a restart; its time begins anew. */
static void vm_restore_redirect(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        gw_edge_redirect_begin(edge, now, vm);
        vm->leaving = !vm_is_attached(vm);
}

int gw_edge_attach(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_attach *a,
                   struct gw_error *error) {
        struct edge_vm *vm = NULL;
        int r = gw_edge_port_check(edge, a, error);

        if (!r)
                r = vm_get_or_new(edge, a, &vm, error);
        if (r || !vm)
                return r;
        r = gw_edge_port_open(edge, vm, a, error);
        if (r) {
                if (gw_list_empty(&vm->ports))
                        vm_free(edge, vm);
                return r;
        }
        edge->fx->vm_changed(edge->user, &vm->name);
        if (vm->role == GW_EDGE_SERVING)
                gw_edge_register(edge, now, vm, GW_MH_HANDOFF_NEW);
        else if (vm->role == GW_EDGE_MOVED)
                vm_restore_redirect(edge, now, vm);
        else if (vm->returning)
                gw_edge_return_again(edge, now, vm);
        return 0;
}
