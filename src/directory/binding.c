/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bindings: where each VM is, by management's decision.
 *
 * Epochs: each VM has its own sequence. `reserved` is the highest ever given
 * out; it and the decision that used it are staged in one record, so that no
 * epoch is given out twice, whatever crashes. A VM made anew starts above all
 * epochs of VMs deleted before (vm.c), since an NVE may still hold its MAC with
 * one of those.
 *
 * An NVE is occupied by a VM (memory, vCPUs, membership in its VNs) while it is
 * the binding's place or the other end of a reserved move, counted once each:
 * a commit or a taking back only swaps the two, the end of the move frees one.
 *
 * A lifetime runs only while the VM is reachable. D2's list of previous
 * Proxy-CoAs is `previous`, the newest GW_PREVIOUS_MAX.
 */
#include "directory/aside.h"
#include "directory/crowd.h"
#include "directory/internal.h"

void gw_directory_mapping(const struct gw_port *port, struct gw_mapping *out) {
        const struct gw_binding *b = &gw_port_vm(port)->binding;

        *out = (struct gw_mapping){
                .epoch = b->epoch, .vni = gw_port_vn(port)->vni, .mac = port->mac, .n_ips = port->n_ips};
        for (unsigned i = 0; i < port->n_ips; i++)
                out->ips[i] = gw_port_ip(port, i);
        if (gw_dir_reachable(b)) {
                out->state = GW_MAPPING_SERVING;
                out->locator = gw_binding_nve(b)->locator;
                out->lifetime_ms = gw_port_vn(port)->model == GW_VN_PUSH ? UINT32_MAX : GW_DIRECTORY_HOLD_MS;
                out->vm = gw_vm_name(gw_port_vm(port));
                return;
        }
        out->state = GW_MAPPING_ABSENT;
        out->lifetime_ms = GW_DIRECTORY_ABSENT_MS;
        /* "Not here any more" belongs to the place before; the epoch of the new one says "serving" when it does. */
        if (b->state == GW_BINDING_PLACED)
                out->epoch--;
}

void gw_dir_binding_timer(struct gw_directory *d, struct gw_vm *vm) {
        if (gw_dir_reachable(&vm->binding))
                gw_lease_set(&d->leases, &vm->lease,
                             gw_mono_after(d->now.mono, gw_ms(gw_binding_lifetime_ms(&vm->binding))));
        else
                gw_lease_clear(&d->leases, &vm->lease);
}

/* Everyone concerned will be told with the next flush. */
void gw_dir_binding_changed(struct gw_directory *d, struct gw_vm *vm) {
        gw_dir_store_binding(d, vm);
        for (struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                gw_dir_vn_touch_port(d, port);
        gw_chain_for_each (link, &vm->holders)
                gw_dir_holder_dirty(d, gw_container_of(link, struct directory_holder, in_vm));
        gw_dir_changed(d, GW_OBJECT_BINDING, gw_vm_name(vm).s, false);
}

void gw_dir_binding_lapse(struct gw_directory *d, struct gw_vm *vm, const char *why) {
        gw_dir_note(d, GW_NOTE_EXPIRED, "vm=%s nve=%s is no longer reachable: %s", gw_vm_name(vm).s,
                    gw_vm_nve(vm)->id.s, why);
        vm->binding.state = GW_BINDING_LAPSED;
        gw_dir_binding_timer(d, vm);
        gw_dir_binding_changed(d, vm);
}

/* --- reserved moves --- */

struct gw_nve *gw_dir_move_other(const struct gw_binding *b) {
        const struct gw_reservation *move = gw_binding_move(b);

        if (!move)
                return NULL;
        return gw_binding_nve(b) == move->to ? move->from : move->to;
}

/* --- occupation --- */

void gw_dir_place_set(struct gw_vm *vm, struct gw_nve *nve) {
        if (gw_vm_nve(vm) == nve && gw_ring_linked(&vm->at_nve))
                return;
        gw_ref_set(&vm->binding.nve, nve);
        gw_ring_remove(&vm->at_nve);
        if (nve)
                gw_ring_append(&nve->vms, &vm->at_nve);
}

int gw_dir_place_enter(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve) {
        struct gw_port *port, *done;
        int r;

        for (port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                r = gw_dir_member_plan(d, gw_port_vn(port), nve);
                if (r < 0)
                        goto undo;
        }
        r = gw_dir_tenancy_enter(nve, gw_vm_tenant(vm));
        if (r < 0)
                goto undo;
        nve->n_vms++;
        nve->used_memory_mib += vm->memory_mib;
        nve->used_vcpus += vm->vcpus;
        return 0;

undo:
        for (done = gw_vm_ports(vm); done != port; done = gw_port_next(done))
                gw_dir_member_unplan(d, gw_port_vn(done), nve);
        return r;
}

void gw_dir_place_leave(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve) {
        for (struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                gw_dir_member_unplan(d, gw_port_vn(port), nve);
        gw_dir_tenancy_leave(nve, gw_vm_tenant(vm));
        nve->n_vms--;
        nve->used_memory_mib -= vm->memory_mib;
        nve->used_vcpus -= vm->vcpus;
}

static struct gw_wall whole_ms(struct gw_wall at) {
        return (struct gw_wall){at.ns / GW_NS_PER_MS * GW_NS_PER_MS};
}

void gw_dir_binding_since(struct gw_binding *b, struct gw_wall since) {
        b->since_s = (uint32_t)(since.ns / GW_NS_PER_S);
        b->since_ms = since.ns / GW_NS_PER_MS % 1000;
}

/* Also lets go of one that was there: it cannot be told of an older place than it is at. */
static void remember(struct gw_directory *d, struct gw_binding *b) {
        struct gw_previous place = {.from = gw_binding_since(b), .to = whole_ms(d->now.wall)};

        if (!gw_binding_nve(b) || b->state == GW_BINDING_PLACED)
                return;
        place.locator = gw_binding_nve(b)->locator;
        gw_aside_remember(&d->slab, b, &place);
}

/* The binding proper. Occupation is the caller's. */
static void move_binding(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, uint64_t epoch, uint8_t state) {
        struct gw_binding *b = &vm->binding;
        struct gw_nve *old = gw_binding_nve(b);
        bool left = old && old != nve && b->state != GW_BINDING_PLACED;

        if (old != nve)
                remember(d, b);
        gw_dir_place_set(vm, nve);
        b->epoch = epoch;
        b->state = state;
        gw_dir_binding_since(b, d->now.wall);
        b->heard = false;
        b->sequence = 0;
        b->timestamp = 0;
        b->lifetime_s = d->lease_ms / 1000;
        b->registered_s = (uint32_t)(d->now.wall.ns / GW_NS_PER_S);
        if (epoch > b->reserved)
                b->reserved = epoch;
        gw_dir_binding_timer(d, vm);
        if (old && old != nve)
                gw_dir_holder_tell(d, vm, old, false);
        gw_dir_binding_changed(d, vm);
        if (left && nve)
                gw_dir_notice_moved(d, vm, old, state == GW_BINDING_PLACED);
        else if (!nve)
                gw_dir_notice_stopped(d, vm);
}

const char *const gw_check_words[GW_CHECKS] = {
        [GW_CHECK_EDGE] = "edge",     [GW_CHECK_AGENT] = "agent", [GW_CHECK_MTU] = "mtu",
        [GW_CHECK_MEMORY] = "memory", [GW_CHECK_VCPUS] = "vcpus", [GW_CHECK_TENANTS] = "tenants",
        [GW_CHECK_RULES] = "rules",   [GW_CHECK_DRAIN] = "drain",
};

/* One of the VM's VNs that can have no more members, so that nve cannot become one; NULL. */
static const struct gw_vn *full_vn(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (gw_port_vn(port)->n_members >= GW_DIRECTORY_MEMBERS_MAX &&
                    !gw_dir_member_is(d, gw_port_vn(port), nve))
                        return gw_port_vn(port);
        return NULL;
}

static int edge_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                      struct gw_error *error) {
        bool well = nve->nve_connected && !nve->behind;
        const struct gw_vn *full = full_vn(d, vm, nve);
        int r;

        if (full)
                return gw_fail(error, GW_E_CONFLICT, "nve",
                               "VN %s is on %u hosts, the most allowed, and %s is none of them", full->id.s,
                               full->n_members, nve->id.s);
        r = gw_dir_crowd_check(d, vm, nve, error);
        if (r)
                return r;
        return gw_fail(error, well ? 0 : GW_E_CONFLICT, "nve", "the godwit-nve of %s is %sconnected", nve->id.s,
                       well ? "" : "not ");
}

static int agent_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        if (vm->kind == GW_VM_TASK)
                return gw_fail(error, 0, "nve", "a task needs no godwit-hv");
        return gw_fail(error, nve->hv_connected ? 0 : GW_E_CONFLICT, "nve", "the godwit-hv of %s is %sconnected",
                       nve->id.s, nve->hv_connected ? "" : "not ");
}

static int mtu_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        int r = nve == gw_vm_nve(vm) ? 0 : gw_dir_mtu_fits(vm, nve, error);

        return r ? r : gw_fail(error, 0, "nve", "the underlay of %s carries the packets of its VNs", nve->id.s);
}

/* What the VM needs is in `used` already where it is, and at both ends of a move. */
static int room_check(const struct gw_vm *vm, const struct gw_nve *nve, const char *unit, uint32_t used,
                      uint32_t capacity, uint32_t needed, struct gw_error *error) {
        if (vm->kind == GW_VM_TASK)
                return gw_fail(error, 0, "nve", "a task needs none");
        if (gw_directory_vm_occupies(vm, nve))
                return gw_fail(error, 0, "nve", "%s has %u of %u %s in use, with those of VM %s", nve->id.s, used,
                               capacity, unit, gw_vm_name(vm).s);
        return gw_fail(error, (uint64_t)used + needed > capacity ? GW_E_CONFLICT : 0, "nve",
                       "%s has %u of %u %s in use; VM %s needs %u", nve->id.s, used, capacity, unit, gw_vm_name(vm).s,
                       needed);
}

static int sharing_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        int r = gw_dir_tenants_check(vm, nve, error);

        return r ? r
                 : gw_fail(error, 0, "nve", "tenant %s may share %s with those that are there",
                           gw_vm_tenant(vm)->name.s, nve->id.s);
}

static int rules_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                       struct gw_error *error) {
        int r = gw_dir_rules_check(d, vm, nve, error);

        return r ? r : gw_fail(error, 0, "nve", "no rule keeps VM %s from %s", gw_vm_name(vm).s, nve->id.s);
}

static int drain_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        bool refused = nve->draining && !gw_directory_vm_occupies(vm, nve);

        return gw_fail(error, refused ? GW_E_CONFLICT : 0, "nve",
                       refused ? "%s is being drained; `godwit nve undrain %s` takes VMs again" : "%s takes VMs",
                       nve->id.s, nve->id.s);
}

static int one_check(const struct gw_directory *d, enum gw_check check, const struct gw_vm *vm,
                     const struct gw_nve *nve, struct gw_error *error) {
        switch (check) {
        case GW_CHECK_EDGE:
                return edge_check(d, vm, nve, error);
        case GW_CHECK_AGENT:
                return agent_check(vm, nve, error);
        case GW_CHECK_MTU:
                return mtu_check(vm, nve, error);
        case GW_CHECK_MEMORY:
                return room_check(vm, nve, "MiB", nve->used_memory_mib, nve->capacity_memory_mib, vm->memory_mib,
                                  error);
        case GW_CHECK_VCPUS:
                return room_check(vm, nve, "vCPUs", nve->used_vcpus, nve->capacity_vcpus, vm->vcpus, error);
        case GW_CHECK_TENANTS:
                return sharing_check(vm, nve, error);
        case GW_CHECK_RULES:
                return rules_check(d, vm, nve, error);
        default:
                return drain_check(vm, nve, error);
        }
}

void gw_directory_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                        struct gw_error out[static GW_CHECKS]) {
        for (int i = 0; i < GW_CHECKS; i++)
                one_check(d, (enum gw_check)i, vm, nve, &out[i]);
}

int gw_directory_fits(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                      struct gw_error *error) {
        int r = 0;

        for (int i = 0; !r && i < GW_CHECKS; i++)
                r = one_check(d, (enum gw_check)i, vm, nve, error);
        return r;
}

int gw_directory_place(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, struct gw_now now, uint64_t *epoch,
                       struct gw_error *error) {
        struct gw_binding *b = &vm->binding;
        struct gw_nve *old = gw_binding_nve(b);
        int r;

        d->now = now;
        if (gw_binding_move(b))
                return gw_fail(error, GW_E_CONFLICT, "vm", "VM %s is being moved to %s; wait or cancel that",
                               gw_vm_name(vm).s, gw_binding_move(b)->to->id.s);
        r = gw_directory_fits(d, vm, nve, error);
        if (r)
                return r;
        if (old != nve) {
                r = gw_dir_place_enter(d, vm, nve);
                if (r < 0)
                        return gw_fail(error, r, "", "no memory to place VM %s", gw_vm_name(vm).s);
        }
        move_binding(d, vm, nve, b->reserved + 1, GW_BINDING_PLACED);
        if (old && old != nve)
                gw_dir_place_leave(d, vm, old);
        gw_dir_updates_flush(d);
        *epoch = b->epoch;
        return 0;
}

static int reserve_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *to,
                         struct gw_error *error) {
        const struct gw_binding *b = &vm->binding;

        if (!gw_binding_nve(b))
                return gw_fail(error, GW_E_CONFLICT, "vm", "VM %s is nowhere; start it instead", gw_vm_name(vm).s);
        if (gw_binding_move(b))
                return gw_fail(error, GW_E_CONFLICT, "vm", "VM %s is being moved to %s already", gw_vm_name(vm).s,
                               gw_binding_move(b)->to->id.s);
        if (gw_binding_nve(b) == to)
                return gw_fail(error, GW_E_CONFLICT, "to", "VM %s is at %s already", gw_vm_name(vm).s, to->id.s);
        return gw_directory_fits(d, vm, to, error);
}

int gw_directory_reserve(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *to, struct gw_now now,
                         uint64_t *move_epoch, uint64_t *back_epoch, struct gw_error *error) {
        struct gw_binding *b = &vm->binding;
        struct gw_reservation move = {
                .from = gw_binding_nve(b), .to = to, .epoch = b->reserved + 1, .back_epoch = b->reserved + 2};
        int r;

        d->now = now;
        r = reserve_check(d, vm, to, error);
        if (r)
                return r;
        r = gw_aside_move(&d->slab, b, &move);
        if (r == 0 && (r = gw_dir_place_enter(d, vm, to)) < 0)
                gw_aside_move_end(&d->slab, b);
        if (r < 0)
                return gw_fail(error, r, "", "no memory to move VM %s", gw_vm_name(vm).s);
        b->reserved += 2;
        gw_dir_store_binding(d, vm);
        gw_dir_updates_flush(d);
        *move_epoch = move.epoch;
        *back_epoch = move.back_epoch;
        return 0;
}

uint64_t gw_directory_epochs(struct gw_directory *d, struct gw_vm *vm, unsigned n) {
        struct gw_binding *b = &vm->binding;
        uint64_t first = b->reserved + 1;

        if (gw_binding_nve(b))
                return 0;
        b->reserved += n;
        gw_dir_store_binding(d, vm);
        return first;
}

int gw_directory_commit(struct gw_directory *d, struct gw_vm *vm, struct gw_now now) {
        struct gw_binding *b = &vm->binding;

        d->now = now;
        if (!gw_binding_move(b) || b->epoch > gw_binding_move(b)->epoch)
                return GW_E_CONFLICT;
        if (b->epoch == gw_binding_move(b)->epoch)
                return 0;
        move_binding(d, vm, gw_binding_move(b)->to, gw_binding_move(b)->epoch, GW_BINDING_COMMITTED);
        gw_dir_updates_flush(d);
        return 0;
}

int gw_directory_take_back(struct gw_directory *d, struct gw_vm *vm, struct gw_now now) {
        struct gw_binding *b = &vm->binding;

        d->now = now;
        if (!gw_binding_move(b))
                return GW_E_CONFLICT;
        if (b->epoch == gw_binding_move(b)->back_epoch)
                return 0;
        move_binding(d, vm, gw_binding_move(b)->from, gw_binding_move(b)->back_epoch, GW_BINDING_COMMITTED);
        gw_dir_updates_flush(d);
        return 0;
}

static void end_move(struct gw_directory *d, struct gw_vm *vm) {
        gw_dir_place_leave(d, vm, gw_dir_move_other(&vm->binding));
        gw_aside_move_end(&d->slab, &vm->binding);
}

void gw_directory_unreserve(struct gw_directory *d, struct gw_vm *vm) {
        if (!gw_vm_move(vm))
                return;
        end_move(d, vm);
        gw_dir_store_binding(d, vm);
        gw_dir_updates_flush(d);
}

void gw_directory_release(struct gw_directory *d, struct gw_vm *vm, struct gw_now now) {
        struct gw_binding *b = &vm->binding;
        struct gw_nve *old = gw_binding_nve(b);

        d->now = now;
        if (!old)
                return;
        if (gw_binding_move(b))
                end_move(d, vm);
        move_binding(d, vm, NULL, b->reserved + 1, GW_BINDING_NONE);
        gw_dir_place_leave(d, vm, old);
        gw_dir_updates_flush(d);
}
