/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs, and tasks, which are VMs that no hypervisor runs: their records.
 *
 * A VM's definition is octets for the shell, part of the record and only there:
 * what the directory itself needs of it is memory, vCPUs and ports. Where the VM is, is binding.c's.
 *
 * When a VM or a port goes, the floor of epochs rises to the VM's highest: an
 * NVE may hold (VNI, MAC) with it, and would not believe a new owner of that
 * MAC that started again from 1.
 */
#include "directory/aside.h"
#include "directory/internal.h"

#include <errno.h>

static void spec_set(struct gw_vm *vm, const struct gw_vm_spec *spec) {
        vm->kind = spec->kind;
        vm->on_crash = spec->on_crash;
        vm->memory_mib = spec->memory_mib;
        vm->vcpus = (uint16_t)spec->vcpus;
}

struct gw_name gw_vm_name(const struct gw_vm *vm) {
        struct gw_name name = {0};
        char *end = stpcpy(name.s, vm->name);

        *end = '@';
        stpcpy(end + 1, gw_vm_tenant(vm)->name.s);
        return name;
}

int gw_dir_vm_compare(const void *element, const char *id) {
        const struct gw_vm *vm = element;
        const char *name = vm->name;

        while (*name && *name == *id)
                name++, id++;
        if (*name || *id != '@')
                return (*name ? (unsigned char)*name : '@') - (unsigned char)*id;
        return strcmp(gw_vm_tenant(vm)->name.s, id + 1);
}

static size_t octets_of(size_t name_size) {
        return offsetof(struct gw_vm, name) + name_size + 1;
}

int gw_dir_vm_add(struct gw_directory *d, const struct gw_vm_spec *spec, struct gw_tenant *tenant, struct gw_vm **out) {
        size_t n = strcspn(spec->id, "@");
        uint64_t hash = gw_index_hash(&d->by_id, spec->id, strlen(spec->id));
        struct gw_vm *vm = gw_slab_new(&d->slab, octets_of(n));

        if (!vm || gw_lease_promise(&d->leases) < 0)
                goto no_memory;
        memcpy(vm->name, spec->id, n);
        gw_ref_set(&vm->tenant, tenant);
        if (gw_index_insert(&d->by_id, hash, vm, 0) < 0)
                goto no_entry;
        if (gw_order_insert(&d->vms, vm, spec->id) < 0)
                goto no_place;
        spec_set(vm, spec);
        vm->binding.reserved = vm->binding.epoch = d->epoch_floor;
        tenant->n_vms++;
        *out = vm;
        return 0;

no_place:
        gw_index_remove(&d->by_id, hash, vm, 0);
no_entry:
        gw_lease_forget(&d->leases, &vm->lease);
no_memory:
        gw_slab_free(&d->slab, vm, octets_of(n));
        return -ENOMEM;
}

void gw_dir_vm_free(struct gw_directory *d, struct gw_vm *vm) {
        gw_dir_history_forget(d, vm);
        gw_chain_for_each (link, &vm->holders)
                gw_dir_holder_free(d, gw_container_of(link, struct directory_holder, in_vm));
        while (gw_vm_ports(vm))
                gw_dir_port_free(d, gw_vm_ports(vm));
        gw_lease_forget(&d->leases, &vm->lease);
        gw_ring_remove(&vm->at_nve);
        gw_order_remove(&d->vms, gw_vm_name(vm).s);
        gw_vm_tenant(vm)->n_vms--;
        if (d->by_id.count)
                gw_index_remove(&d->by_id, d->by_id.hash(&d->by_id, vm, 0), vm, 0);
        gw_aside_free(&d->slab, &vm->binding);
        gw_slab_free(&d->slab, vm, octets_of(strlen(vm->name)));
}

static int spec_check(const struct gw_vm_spec *spec, struct gw_error *error) {
        if (spec->kind > GW_VM_TASK)
                return gw_fail(error, GW_E_INVALID, "kind", "kind %u is neither vm nor task", spec->kind);
        if (spec->on_crash > GW_ON_CRASH_STOP)
                return gw_fail(error, GW_E_INVALID, "on_crash", "on_crash %u is neither restart nor stop",
                               spec->on_crash);
        if (spec->definition_size > GW_DEFINITION_MAX)
                return gw_fail(error, GW_E_INVALID, "", "the definition has %zu octets; at most %d are allowed",
                               spec->definition_size, GW_DEFINITION_MAX);
        if (spec->n_ports > GW_VM_PORTS_MAX)
                return gw_fail(error, GW_E_INVALID, "ports", "%zu ports; a VM has at most %d", spec->n_ports,
                               GW_VM_PORTS_MAX);
        if (spec->vcpus > UINT16_MAX)
                return gw_fail(error, GW_E_INVALID, "vcpus", "%u vCPUs; at most %d are allowed", spec->vcpus,
                               UINT16_MAX);
        if (spec->kind == GW_VM_MACHINE && (!spec->memory_mib || !spec->vcpus))
                return gw_fail(error, GW_E_INVALID, spec->memory_mib ? "vcpus" : "memory_mib",
                               "a VM needs at least 1 MiB of memory and 1 vCPU");
        return 0;
}

static int ports_make(struct gw_directory *d, struct gw_vm *vm, const struct gw_vm_spec *spec, struct gw_error *error) {
        int r = 0;

        for (unsigned i = 0; i < spec->n_ports && r == 0; i++)
                r = gw_dir_port_make(d, vm, &spec->ports[i], i, NULL, error);
        return r;
}

int gw_directory_vm_create(struct gw_directory *d, const struct gw_vm_spec *spec, struct gw_vm **out,
                           struct gw_error *error) {
        struct gw_vm_spec full = *spec;
        struct gw_tenant *tenant;
        struct gw_name id;
        struct gw_vm *vm;
        int r;

        if ((r = gw_dir_id_check(d, spec->id, "name", &id, &tenant, error)) || (r = spec_check(spec, error)))
                return r;
        if (gw_directory_vm(d, id.s))
                return gw_fail(error, GW_E_EXISTS, "name", "there is a VM %s already", id.s);
        full.id = id.s;
        r = gw_dir_vm_add(d, &full, tenant, &vm);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for VM %s", id.s);
        r = ports_make(d, vm, spec, error);
        if (r == 0 && (r = gw_dir_store_vm(d, vm, spec)) < 0)
                gw_fail(error, r, "", "no memory for VM %s", id.s);
        if (r) {
                gw_dir_vm_free(d, vm);
                return r;
        }
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                gw_dir_store_port(d, port);
        gw_dir_store_binding(d, vm);
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                gw_dir_vn_policy(d, gw_port_vn(port));
        gw_dir_changed(d, GW_OBJECT_VM, gw_vm_name(vm).s, false);
        gw_dir_updates_flush(d);
        if (out)
                *out = vm;
        return 0;
}

int gw_directory_vm_update(struct gw_directory *d, struct gw_vm *vm, const struct gw_vm_spec *spec,
                           struct gw_error *error) {
        int r = spec_check(spec, error);

        if (r)
                return r;
        if (spec->kind != vm->kind)
                return gw_fail(error, GW_E_INVALID, "kind", "the kind of %s cannot change", gw_vm_name(vm).s);
        if (gw_vm_nve(vm) && (spec->memory_mib != vm->memory_mib || spec->vcpus != vm->vcpus))
                return gw_fail(error, GW_E_CONFLICT, "memory_mib", "VM %s is at %s; stop it to change memory or vCPUs",
                               gw_vm_name(vm).s, gw_vm_nve(vm)->id.s);
        if ((r = gw_dir_store_vm(d, vm, spec)) < 0)
                return gw_fail(error, r, "", "no memory for VM %s", gw_vm_name(vm).s);
        spec_set(vm, spec);
        gw_dir_changed(d, GW_OBJECT_VM, gw_vm_name(vm).s, false);
        return 0;
}

static void raise_floor(struct gw_directory *d, const struct gw_vm *vm) {
        if (vm->binding.reserved <= d->epoch_floor)
                return;
        d->epoch_floor = vm->binding.reserved;
        gw_dir_store_epoch_floor(d);
}

static int nowhere_check(const struct gw_vm *vm, struct gw_error *error) {
        if (!gw_vm_nve(vm))
                return 0;
        return gw_fail(error, GW_E_CONFLICT, "vm", "VM %s is at %s; stop it first", gw_vm_name(vm).s,
                       gw_vm_nve(vm)->id.s);
}

int gw_directory_vm_delete(struct gw_directory *d, struct gw_vm *vm, struct gw_error *error) {
        struct gw_vn *vns[GW_VM_PORTS_MAX];
        struct gw_name id = gw_vm_name(vm);
        unsigned n = 0;
        int r = nowhere_check(vm, error);

        if (r)
                return r;
        raise_floor(d, vm);
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                gw_dir_unstore_name(d, GW_RECORD_PORT, gw_port_id(port).s);
                vns[n++] = gw_port_vn(port);
        }
        if (gw_directory_history(d, vm))
                gw_dir_unstore_name(d, GW_RECORD_HISTORY, id.s);
        gw_dir_unstore_name(d, GW_RECORD_BINDING, id.s);
        gw_dir_unstore_name(d, GW_RECORD_VM, id.s);
        gw_dir_rules_forget(d, vm);
        gw_dir_vm_free(d, vm);
        while (n)
                gw_dir_vn_policy(d, vns[--n]);
        gw_dir_changed(d, GW_OBJECT_VM, id.s, true);
        gw_dir_updates_flush(d);
        return 0;
}

int gw_directory_vm_set_desired(struct gw_directory *d, struct gw_vm *vm, enum gw_vm_desired desired) {
        uint8_t old = vm->desired;
        int r;

        if (old == desired)
                return 0;
        vm->desired = (uint8_t)desired;
        r = gw_dir_store_vm(d, vm, NULL);
        if (r < 0)
                vm->desired = old;
        else
                gw_dir_changed(d, GW_OBJECT_VM, gw_vm_name(vm).s, false);
        return r;
}

int gw_directory_vm_set_state(struct gw_directory *d, struct gw_vm *vm, enum gw_vm_state state) {
        uint8_t old = vm->state;
        int r;

        if (old == state)
                return 0;
        vm->state = (uint8_t)state;
        r = gw_dir_store_vm(d, vm, NULL);
        if (r < 0)
                vm->state = old;
        else
                gw_dir_changed(d, GW_OBJECT_VM, gw_vm_name(vm).s, false);
        return r;
}

int gw_directory_port_add(struct gw_directory *d, struct gw_vm *vm, const struct gw_port_spec *spec,
                          struct gw_port **out, struct gw_error *error) {
        struct gw_port *port;
        unsigned index = 0;
        int r = nowhere_check(vm, error);

        if (r)
                return r;
        for (const struct gw_port *p = gw_vm_ports(vm); p && p->index == index; p = gw_port_next(p))
                index++;
        if (index >= GW_VM_PORTS_MAX)
                return gw_fail(error, GW_E_FULL, "ports", "VM %s has %d ports, the most allowed", gw_vm_name(vm).s,
                               GW_VM_PORTS_MAX);
        r = gw_dir_port_make(d, vm, spec, index, &port, error);
        if (r)
                return r;
        /* Its MAC may have been another VM's. */
        if (vm->binding.reserved < d->epoch_floor)
                vm->binding.reserved = d->epoch_floor;
        gw_dir_store_port(d, port);
        gw_dir_store_binding(d, vm);
        gw_dir_vn_policy(d, gw_port_vn(port));
        gw_dir_changed(d, GW_OBJECT_PORT, gw_port_id(port).s, false);
        gw_dir_updates_flush(d);
        if (out)
                *out = port;
        return 0;
}

int gw_directory_port_remove(struct gw_directory *d, struct gw_port *port, struct gw_error *error) {
        struct gw_name id = gw_port_id(port);
        struct gw_vn *vn = gw_port_vn(port);
        int r = nowhere_check(gw_port_vm(port), error);

        if (r)
                return r;
        raise_floor(d, gw_port_vm(port));
        gw_dir_port_free(d, port);
        gw_dir_unstore_name(d, GW_RECORD_PORT, id.s);
        gw_dir_vn_policy(d, vn);
        gw_dir_changed(d, GW_OBJECT_PORT, id.s, true);
        gw_dir_updates_flush(d);
        return 0;
}
