/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects as octets for the store (record.h). A record is staged in the call that
 * changed the object.
 *
 * Subscriptions and holders are not stored: sessions end with us, and a
 * mapping's own lifetime bounds what was told.
 */
#include "directory/internal.h"
#include "directory/record.h"

#include <errno.h>
#include <stdlib.h>

enum { VM_HEAD_OCTETS = 1 + 4 + 3 * 4 /* put_vm */ };

static void put_name(struct gw_writer *w, const char *name) {
        size_t n = strlen(name);

        gw_put_u8(w, (uint8_t)n);
        gw_put_bytes(w, name, n);
}

static struct gw_writer begin(struct gw_directory *d) {
        struct gw_writer w = gw_writer(d->scratch->record, sizeof d->scratch->record);

        gw_put_u8(&w, GW_RECORD_VERSION);
        return w;
}

static void stage(struct gw_directory *d, enum gw_record table, const char *key, const struct gw_writer *w) {
        d->effects->store(table, key, strlen(key), w->base, w->at, d->user);
}

void gw_dir_unstore_name(struct gw_directory *d, enum gw_record table, const char *name) {
        d->effects->unstore(table, name, strlen(name), d->user);
}

void gw_dir_store_epoch_floor(struct gw_directory *d) {
        struct gw_writer w = begin(d);

        gw_put_u64(&w, d->epoch_floor);
        stage(d, GW_RECORD_META, GW_RECORD_EPOCH_FLOOR, &w);
}

void gw_dir_store_tenant(struct gw_directory *d, const struct gw_tenant *tenant) {
        struct gw_writer w = begin(d);

        gw_put_u8(&w, tenant->exclusive);
        gw_put_u8(&w, tenant->n_apart);
        for (unsigned i = 0; i < tenant->n_apart; i++)
                put_name(&w, tenant->apart[i].s);
        stage(d, GW_RECORD_TENANT, tenant->name.s, &w);
}

static void put_section(struct gw_writer *w, uint8_t kind, size_t size) {
        gw_put_u8(w, kind);
        gw_put_u16(w, (uint16_t)size);
}

static void put_limits(struct gw_writer *w, const struct gw_vn_settings *settings) {
        static const uint32_t none[GW_VN_LIMITS];

        if (memcmp(settings->limits, none, sizeof none) == 0)
                return;
        put_section(w, GW_VN_SECTION_LIMITS, sizeof none);
        for (int i = 0; i < GW_VN_LIMITS; i++)
                gw_put_u32(w, settings->limits[i]);
}

static void put_settings(struct gw_writer *w, const struct gw_vn_settings *settings) {
        if (settings->flags) {
                put_section(w, GW_VN_SECTION_FLAGS, 4);
                gw_put_u32(w, settings->flags);
        }
        if (settings->n_gateways)
                put_section(w, GW_VN_SECTION_GATEWAYS, (size_t)settings->n_gateways * 16);
        for (size_t i = 0; i < settings->n_gateways; i++)
                gw_put_bytes(w, settings->gateways[i].b, 16);
        put_limits(w, settings);
}

void gw_dir_store_policy(struct gw_directory *d, const struct gw_policy *policy) {
        struct gw_writer w = begin(d);

        put_name(&w, policy->from->id.s);
        put_name(&w, policy->to ? policy->to->id.s : "");
        gw_put_u8(&w, policy->one_way);
        stage(d, GW_RECORD_POLICY, policy->name.s, &w);
}

void gw_dir_store_rule(struct gw_directory *d, const struct gw_rule *rule) {
        struct gw_writer w = begin(d);

        gw_put_u8(&w, rule->kind);
        gw_put_u8(&w, rule->suspended);
        gw_put_u8(&w, (uint8_t)rule->n_vms);
        for (unsigned i = 0; i < rule->n_vms; i++)
                put_name(&w, rule->vms[i].s);
        stage(d, GW_RECORD_RULE, rule->id.s, &w);
}

void gw_dir_store_vn(struct gw_directory *d, const struct gw_vn *vn) {
        struct gw_writer w = begin(d);

        gw_put_u32(&w, vn->vni);
        gw_put_u16(&w, vn->mtu);
        gw_put_u8(&w, vn->n_subnets);
        for (unsigned i = 0; i < vn->n_subnets; i++) {
                gw_put_bytes(&w, vn->subnets[i].ip.b, 16);
                gw_put_u8(&w, vn->subnets[i].bits);
        }
        gw_put_u8(&w, vn->model);
        put_settings(&w, &vn->settings);
        if (vn->gateway_pin.s[0]) {
                put_section(&w, GW_VN_SECTION_PIN, 1 + strlen(vn->gateway_pin.s));
                put_name(&w, vn->gateway_pin.s);
        }
        stage(d, GW_RECORD_VN, vn->id.s, &w);
}

void gw_dir_store_nve(struct gw_directory *d, const struct gw_nve *nve) {
        struct gw_writer w = begin(d);

        gw_put_bytes(&w, nve->locator.b, 16);
        gw_put_u64(&w, nve->restart_count);
        gw_put_u32(&w, nve->capacity_memory_mib);
        gw_put_u32(&w, nve->capacity_vcpus);
        gw_put_u32(&w, nve->underlay_mtu);
        put_name(&w, nve->site.s);
        gw_put_u8(&w, nve->offers_gateway);
        gw_put_u32(&w, nve->gateway_cost);
        if (nve->may_route || nve->may_claim) { /* so that who says nothing can go back to an older version */
                gw_put_u8(&w, nve->may_route);
                gw_put_u8(&w, nve->may_claim);
        }
        stage(d, GW_RECORD_NVE, nve->id.s, &w);
}

/* The record's head; the definition follows. spec: what the VM is about to be; NULL: what it is. */
static void put_vm(struct gw_writer *w, const struct gw_vm *vm, const struct gw_vm_spec *spec, size_t definition_size) {
        gw_put_u8(w, GW_RECORD_VERSION);
        gw_put_u8(w, spec ? spec->kind : vm->kind);
        gw_put_u8(w, vm->desired);
        gw_put_u8(w, vm->state);
        gw_put_u8(w, spec ? spec->on_crash : vm->on_crash);
        gw_put_u32(w, spec ? spec->memory_mib : vm->memory_mib);
        gw_put_u32(w, spec ? spec->vcpus : vm->vcpus);
        gw_put_u32(w, (uint32_t)definition_size);
}

/* Into a record's room, where the head will be before it. */
static size_t fetch_vm(const struct gw_directory *d, const struct gw_vm *vm, uint8_t *octets, size_t room) {
        const struct gw_name id = gw_vm_name(vm);
        size_t size =
                d->effects->fetch ? d->effects->fetch(GW_RECORD_VM, id.s, strlen(id.s), octets, room, d->user) : 0;

        return size >= VM_HEAD_OCTETS && size <= room ? size : 0;
}

int gw_dir_store_vm(struct gw_directory *d, const struct gw_vm *vm, const struct gw_vm_spec *spec) {
        size_t room = VM_HEAD_OCTETS + (spec ? spec->definition_size : GW_DEFINITION_MAX), size = VM_HEAD_OCTETS;
        uint8_t *octets = malloc(room);
        struct gw_writer w;

        if (!octets)
                return -ENOMEM;
        /* What cannot be read now is not written over: the definition is nowhere else. */
        if (!spec && d->effects->fetch && (size = fetch_vm(d, vm, octets, room)) == 0) {
                free(octets);
                return -EIO;
        }
        w = gw_writer(octets, room);
        put_vm(&w, vm, spec, spec ? spec->definition_size : size - VM_HEAD_OCTETS);
        if (spec)
                gw_put_bytes(&w, spec->definition, spec->definition_size);
        else
                w.at = size;
        stage(d, GW_RECORD_VM, gw_vm_name(vm).s, &w);
        free(octets);
        return 0;
}

int gw_directory_definition(const struct gw_vm *vm, void **out, size_t *size) {
        size_t room = VM_HEAD_OCTETS + GW_DEFINITION_MAX, n;
        uint8_t *octets = malloc(room);

        if (!octets)
                return -ENOMEM;
        n = fetch_vm(gw_vm_tenant(vm)->directory, vm, octets, room);
        if (n == 0) {
                free(octets);
                return -ENOENT;
        }
        memmove(octets, octets + VM_HEAD_OCTETS, n - VM_HEAD_OCTETS);
        *out = octets;
        *size = n - VM_HEAD_OCTETS;
        return 0;
}

void gw_dir_store_port(struct gw_directory *d, const struct gw_port *port) {
        struct gw_writer w = begin(d);

        put_name(&w, gw_vm_name(gw_port_vm(port)).s);
        put_name(&w, gw_port_vn(port)->id.s);
        put_name(&w, gw_port_device(port));
        gw_put_u8(&w, port->index);
        gw_put_bytes(&w, port->mac.b, 6);
        gw_put_u8(&w, port->n_ips);
        for (unsigned i = 0; i < port->n_ips; i++)
                gw_put_bytes(&w, gw_port_ip(port, i).b, 16);
        if (port->allow) /* those that are allowed nothing are as they always were */
                gw_put_u16(&w, port->allow);
        stage(d, GW_RECORD_PORT, gw_port_id(port).s, &w);
}

void gw_dir_store_binding(struct gw_directory *d, const struct gw_vm *vm) {
        const struct gw_binding *b = &vm->binding;
        struct gw_writer w = begin(d);

        gw_put_u8(&w, b->state);
        gw_put_u64(&w, b->epoch);
        gw_put_u64(&w, b->reserved);
        put_name(&w, gw_binding_nve(b) ? gw_binding_nve(b)->id.s : "");
        put_name(&w, gw_binding_move(b) ? gw_binding_move(b)->to->id.s : "");
        put_name(&w, gw_binding_move(b) ? gw_binding_move(b)->from->id.s : "");
        gw_put_u64(&w, gw_binding_move(b) ? gw_binding_move(b)->epoch : 0);
        gw_put_u64(&w, gw_binding_move(b) ? gw_binding_move(b)->back_epoch : 0);
        gw_put_u8(&w, b->heard);
        gw_put_u16(&w, b->sequence);
        gw_put_u64(&w, b->timestamp);
        gw_put_u32(&w, gw_binding_lifetime_ms(b));
        gw_put_u64(&w, gw_binding_since(b).ns);
        gw_put_u64(&w, gw_binding_registered_at(b).ns);
        gw_put_u8(&w, gw_binding_n_previous(b));
        for (unsigned i = 0; i < gw_binding_n_previous(b); i++) {
                gw_put_bytes(&w, gw_binding_previous(b)[i].locator.b, 16);
                gw_put_u64(&w, gw_binding_previous(b)[i].from.ns);
                gw_put_u64(&w, gw_binding_previous(b)[i].to.ns);
        }
        stage(d, GW_RECORD_BINDING, gw_vm_name(vm).s, &w);
}
