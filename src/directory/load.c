/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects from their records (record.h), in the order of the tables: what a
 * record refers to is there already, or the record does not load. A lifetime that
 * ran out while we were away is lengthened to GW_DIRECTORY_GRACE_MS: its NVE could
 * not refresh it.
 */
#include "directory/aside.h"
#include "directory/crowd.h"
#include "directory/internal.h"
#include "directory/record.h"

#include <errno.h>

static void get_name(struct gw_reader *r, struct gw_name *out) {
        size_t n = gw_get_u8(r);

        *out = (struct gw_name){0};
        if (n > GW_NAME_MAX)
                r->ok = false;
        else
                gw_get_bytes(r, out->s, n);
}

static bool whole(const struct gw_reader *r) {
        return r->ok && gw_reader_left(r) == 0;
}

static int load_meta(struct gw_directory *d, const char *key, struct gw_reader *r) {
        if (strcmp(key, GW_RECORD_EPOCH_FLOOR) != 0)
                return 0; /* the shell's */
        if (gw_get_u8(r) != GW_RECORD_VERSION)
                return GW_E_MALFORMED;
        d->epoch_floor = gw_get_u64(r);
        return whole(r) && d->epoch_floor <= GW_EPOCH_MAX ? 0 : GW_E_MALFORMED;
}

/* A record of before there were placement rules ends after its version. */
static int load_tenant(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_tenant *tenant = gw_directory_tenant(d, key);
        struct gw_name name;
        int e = 0;

        if (gw_name_parse(key, &name))
                return GW_E_MALFORMED;
        if (!tenant)
                e = gw_dir_tenant_add(d, key, &tenant);
        if (e || !gw_reader_left(r))
                return e;
        tenant->exclusive = gw_get_u8(r);
        tenant->n_apart = gw_get_u8(r);
        if (tenant->n_apart > GW_TENANT_APART_MAX) {
                tenant->n_apart = 0;
                return GW_E_MALFORMED;
        }
        for (unsigned i = 0; i < tenant->n_apart; i++)
                get_name(r, &tenant->apart[i]);
        return whole(r) ? 0 : GW_E_MALFORMED;
}

static struct gw_tenant *tenant_of_id(const struct gw_directory *d, const char *id, const struct gw_name *parsed) {
        return strcmp(id, parsed->s) == 0 ? gw_directory_tenant(d, strchr(id, '@') + 1) : NULL;
}

static bool load_vn_section(struct gw_reader *value, uint8_t kind, struct gw_vn_spec *spec, struct gw_ip *gateways) {
        switch (kind) {
        case GW_VN_SECTION_FLAGS:
                spec->flags = gw_get_u32(value);
                break;
        case GW_VN_SECTION_GATEWAYS:
                for (spec->n_gateways = 0; gw_reader_left(value) && spec->n_gateways < GW_VN_GATEWAYS_MAX;
                     spec->n_gateways++)
                        gw_get_bytes(value, gateways[spec->n_gateways].b, 16);
                break;
        case GW_VN_SECTION_PIN:
                get_name(value, &spec->gateway_pin);
                break;
        case GW_VN_SECTION_LIMITS:
                for (int i = 0; gw_reader_left(value) && i < GW_VN_LIMITS; i++)
                        spec->limits[i] = gw_get_u32(value);
                break;
        default:
                return false;
        }
        return whole(value);
}

static bool load_vn_sections(struct gw_reader *r, struct gw_vn_spec *spec, struct gw_ip *gateways) {
        while (r->ok && gw_reader_left(r)) {
                uint8_t kind = gw_get_u8(r);
                struct gw_reader value = gw_get_sub(r, gw_get_u16(r));

                if (!r->ok || !load_vn_section(&value, kind, spec, gateways))
                        return false;
        }
        return r->ok;
}

static int load_policy(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_name from_id, to_id;
        struct gw_policy *policy;
        struct gw_vn *from, *to;
        bool one_way;

        get_name(r, &from_id);
        get_name(r, &to_id);
        one_way = gw_get_u8(r);
        from = gw_directory_vn(d, from_id.s);
        to = to_id.s[0] ? gw_directory_vn(d, to_id.s) : NULL;
        if (!whole(r) || !from || (to_id.s[0] && !to) || gw_directory_policy(d, key))
                return GW_E_MALFORMED;
        return gw_dir_policy_add(d, key, from, to, one_way, &policy);
}

static int load_rule(struct gw_directory *d, const char *key, struct gw_reader *r) {
        uint8_t kind = gw_get_u8(r), suspended = gw_get_u8(r), n = gw_get_u8(r);
        struct gw_name id, vms[GW_RULE_VMS_MAX];
        struct gw_tenant *tenant;
        struct gw_rule *rule;
        int e;

        if (gw_id_parse(key, &id) || kind > GW_RULE_TOGETHER || n > GW_RULE_VMS_MAX || gw_directory_rule(d, key))
                return GW_E_MALFORMED;
        for (unsigned i = 0; i < n; i++)
                get_name(r, &vms[i]);
        tenant = tenant_of_id(d, key, &id);
        if (!whole(r) || !tenant)
                return GW_E_MALFORMED;
        e = gw_dir_rule_add(d, key, tenant, kind, vms, n, &rule);
        if (e == 0)
                rule->suspended = suspended;
        return e;
}

static int load_vn(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_prefix subnets[GW_VN_SUBNETS_MAX];
        struct gw_ip gateways[GW_VN_GATEWAYS_MAX];
        struct gw_vn_spec spec = {.id = key, .subnets = subnets, .gateways = gateways};
        struct gw_tenant *tenant;
        struct gw_name id;
        struct gw_vn *vn;

        spec.vni = gw_get_u32(r);
        spec.mtu = gw_get_u16(r);
        spec.n_subnets = gw_get_u8(r);
        if (spec.n_subnets > GW_VN_SUBNETS_MAX || spec.vni > GW_VNI_MAX || gw_id_parse(key, &id))
                return GW_E_MALFORMED;
        for (size_t i = 0; i < spec.n_subnets; i++) {
                gw_get_bytes(r, subnets[i].ip.b, 16);
                subnets[i].bits = gw_get_u8(r);
                if (subnets[i].bits > 128)
                        return GW_E_MALFORMED;
        }
        spec.model = gw_reader_left(r) ? gw_get_u8(r) : GW_VN_HYBRID; /* the first stores did not know models */
        if (spec.model >= GW_VN_MODELS)
                return GW_E_MALFORMED;
        tenant = tenant_of_id(d, key, &id);
        if (!load_vn_sections(r, &spec, gateways) || !tenant || gw_directory_vn(d, key) ||
            gw_directory_vn_by_vni(d, spec.vni))
                return GW_E_MALFORMED;
        return gw_dir_vn_add(d, &spec, tenant, &vn);
}

static int load_nve(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_name name;
        struct gw_ip locator;
        struct gw_nve *nve;
        int e;

        if (gw_name_parse(key, &name) || gw_directory_nve(d, key))
                return GW_E_MALFORMED;
        e = gw_dir_nve_add(d, key, &nve);
        if (e < 0)
                return e;
        gw_get_bytes(r, locator.b, 16);
        nve->restart_count = gw_get_u64(r);
        nve->capacity_memory_mib = gw_get_u32(r);
        nve->capacity_vcpus = gw_get_u32(r);
        nve->underlay_mtu = gw_get_u32(r);
        if (gw_reader_left(r)) { /* older ones end here */
                get_name(r, &nve->site);
                nve->offers_gateway = gw_get_u8(r);
                nve->gateway_cost = gw_get_u32(r);
        }
        if (gw_reader_left(r)) {
                nve->may_route = gw_get_u8(r);
                nve->may_claim = gw_get_u8(r);
        }
        if (!whole(r) || nve->may_route >= GW_PERMITS || nve->may_claim >= GW_PERMITS)
                return GW_E_MALFORMED;
        nve->gateway = gw_dir_nve_is_gateway(d, nve);
        return gw_ip_is_unspecified(locator) ? 0 : gw_dir_nve_set_locator(d, nve, locator);
}

/* Of a record's VM. Records come in the order of their keys, and so nearly in that of the VMs they are about. */
static struct gw_vm *vm_of_record(struct gw_directory *d, const char *id) {
        return gw_order_find_near(&d->vms, &d->loaded, id);
}

static bool vm_is_new(const struct gw_directory *d, const char *id) {
        const struct gw_vm *last = gw_order_last(&d->vms);

        return !last || gw_dir_vm_compare(last, id) < 0 || !gw_directory_vm(d, id);
}

static int load_vm(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_vm_spec spec = {.id = key};
        struct gw_tenant *tenant;
        uint8_t desired, state;
        struct gw_name id;
        struct gw_vm *vm;
        int e;

        spec.kind = gw_get_u8(r);
        desired = gw_get_u8(r);
        state = gw_get_u8(r);
        spec.on_crash = gw_get_u8(r);
        spec.memory_mib = gw_get_u32(r);
        spec.vcpus = gw_get_u32(r);
        spec.definition_size = gw_get_u32(r);
        spec.definition = gw_get_span(r, spec.definition_size);
        if (!whole(r) || spec.definition_size > GW_DEFINITION_MAX || gw_id_parse(key, &id))
                return GW_E_MALFORMED;
        if (spec.vcpus > UINT16_MAX || spec.kind > GW_VM_TASK || desired > GW_VM_RUN || state > GW_VM_CRASHED ||
            spec.on_crash > GW_ON_CRASH_STOP)
                return GW_E_MALFORMED;
        tenant = tenant_of_id(d, key, &id);
        if (!tenant || !vm_is_new(d, key))
                return GW_E_MALFORMED;
        e = gw_dir_vm_add(d, &spec, tenant, &vm);
        if (e == 0) {
                vm->desired = desired;
                vm->state = state;
        }
        return e;
}

static bool has_port(const struct gw_vm *vm, unsigned index) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (port->index == index)
                        return true;
        return false;
}

struct port_record {
        struct gw_name vm, vn, device;
        uint8_t index;
        struct gw_port_spec spec;
};

static bool get_port(struct gw_reader *r, struct port_record *out) {
        get_name(r, &out->vm);
        get_name(r, &out->vn);
        get_name(r, &out->device);
        out->index = gw_get_u8(r);
        gw_get_bytes(r, out->spec.mac.b, 6);
        out->spec.n_ips = gw_get_u8(r);
        if (out->spec.n_ips > GW_PORT_IPS_MAX || strlen(out->device.s) > GW_DEVICE_MAX)
                return false;
        for (unsigned i = 0; i < out->spec.n_ips; i++)
                gw_get_bytes(r, out->spec.ips[i].b, 16);
        out->spec.allow = r->ok && gw_reader_left(r) ? gw_get_u16(r) : 0;
        out->spec.device = out->device.s;
        return whole(r);
}

const struct gw_vn *gw_dir_record_keys(const struct gw_directory *d, const struct gw_stored *record,
                                       struct gw_port_spec *out) {
        struct gw_reader r = gw_reader(record->value, record->value_size);
        struct port_record port;

        gw_get_u8(&r); /* the version */
        if (!get_port(&r, &port))
                return NULL;
        *out = port.spec;
        return gw_directory_vn(d, port.vn.s);
}

static int load_port(struct gw_directory *d, struct gw_reader *r) {
        struct port_record record;
        struct gw_port *port;
        struct gw_vm *vm;
        struct gw_vn *vn;
        int e;

        if (!get_port(r, &record))
                return GW_E_MALFORMED;
        vm = vm_of_record(d, record.vm.s);
        vn = gw_directory_vn(d, record.vn.s);
        if (!vm || !vn || record.index >= GW_VM_PORTS_MAX || has_port(vm, record.index))
                return GW_E_MALFORMED;
        e = gw_dir_port_add(d, vm, vn, &record.spec, record.index, &port);
        if (e == 0)
                gw_dir_vn_policy(d, vn);
        return e == GW_E_EXISTS ? GW_E_MALFORMED : e;
}

/* A record of a binding: the names and what only few bindings have beside what each has. */
struct binding_record {
        struct gw_name nve, to, from;
        struct gw_reservation move;
        uint64_t epoch, reserved, timestamp;
        struct gw_wall since, registered_at;
        uint32_t lifetime_ms;
        uint16_t sequence;
        uint8_t state, heard, n_previous;
        struct gw_previous previous[GW_PREVIOUS_MAX];
};

static bool get_previous(struct gw_reader *r, struct binding_record *out) {
        out->n_previous = gw_get_u8(r);
        if (out->n_previous > GW_PREVIOUS_MAX)
                return false;
        for (unsigned i = 0; i < out->n_previous; i++) {
                gw_get_bytes(r, out->previous[i].locator.b, 16);
                out->previous[i].from.ns = gw_get_u64(r);
                out->previous[i].to.ns = gw_get_u64(r);
        }
        return whole(r);
}

static bool get_binding(struct gw_reader *r, struct binding_record *out) {
        out->state = gw_get_u8(r);
        out->epoch = gw_get_u64(r);
        out->reserved = gw_get_u64(r);
        get_name(r, &out->nve);
        get_name(r, &out->to);
        get_name(r, &out->from);
        out->move = (struct gw_reservation){.epoch = gw_get_u64(r)};
        out->move.back_epoch = gw_get_u64(r);
        out->heard = gw_get_u8(r);
        out->sequence = gw_get_u16(r);
        out->timestamp = gw_get_u64(r);
        out->lifetime_ms = gw_get_u32(r);
        out->since.ns = gw_get_u64(r);
        out->registered_at.ns = gw_get_u64(r);
        return get_previous(r, out);
}

static bool is_sane(const struct binding_record *record) {
        const struct gw_wall last = {UINT32_MAX * GW_NS_PER_S};

        return record->state <= GW_BINDING_LAPSED && record->epoch <= record->reserved &&
               record->reserved <= GW_EPOCH_MAX && record->lifetime_ms <= GW_LIFETIME_MAX_MS &&
               record->since.ns <= last.ns && record->registered_at.ns <= last.ns;
}

/* The NVEs that it names must be there, and be as its state says. */
static bool binding_resolve(const struct gw_directory *d, struct binding_record *record, struct gw_nve **nve) {
        struct gw_reservation *move = &record->move;

        *nve = *record->nve.s ? gw_directory_nve(d, record->nve.s) : NULL;
        move->to = *record->to.s ? gw_directory_nve(d, record->to.s) : NULL;
        move->from = *record->from.s ? gw_directory_nve(d, record->from.s) : NULL;
        if ((*record->nve.s && !*nve) || (*record->to.s && !move->to) || (*record->from.s && !move->from))
                return false;
        if ((record->state == GW_BINDING_NONE) != !*nve)
                return false;
        return !move->to == !move->from && (!move->to || *nve == move->to || *nve == move->from);
}

static int binding_set(struct gw_directory *d, struct gw_vm *vm, const struct binding_record *record,
                       struct gw_nve *nve) {
        struct gw_binding *b = &vm->binding;

        for (unsigned i = 0; i < record->n_previous; i++)
                gw_aside_remember(&d->slab, b, &record->previous[i]);
        if (gw_binding_n_previous(b) != record->n_previous)
                return -ENOMEM;
        if (record->move.to && gw_aside_move(&d->slab, b, &record->move) < 0)
                return -ENOMEM;
        b->epoch = record->epoch;
        b->reserved = record->reserved;
        b->sequence = record->sequence;
        b->timestamp = record->timestamp;
        b->heard = !!record->heard;
        b->state = record->state;
        b->lifetime_s = (record->lifetime_ms + 999) / 1000;
        b->registered_s = (uint32_t)(record->registered_at.ns / GW_NS_PER_S);
        gw_dir_binding_since(b, record->since);
        gw_dir_place_set(vm, nve);
        return 0;
}

/* A lifetime is counted from the end of the second in which it was granted: that is what is known of it. */
static struct gw_mono lease_ends(const struct gw_directory *d, const struct gw_binding *b) {
        uint64_t lifetime_ms = gw_binding_lifetime_ms(b), now_ms = d->now.wall.ns / GW_NS_PER_MS;
        uint64_t ends_ms = (b->registered_s + UINT64_C(1)) * 1000 + lifetime_ms;
        uint64_t left_ms = ends_ms > now_ms + GW_DIRECTORY_GRACE_MS ? ends_ms - now_ms : GW_DIRECTORY_GRACE_MS;
        uint64_t most_ms = lifetime_ms > GW_DIRECTORY_GRACE_MS ? lifetime_ms : GW_DIRECTORY_GRACE_MS;

        return gw_mono_after(d->now.mono, gw_ms(left_ms < most_ms ? left_ms : most_ms));
}

static int binding_enter(struct gw_directory *d, struct gw_vm *vm) {
        struct gw_binding *b = &vm->binding;
        struct gw_nve *nve = gw_binding_nve(b), *other = gw_dir_move_other(b);
        int r = nve ? gw_dir_place_enter(d, vm, nve) : 0;

        if (r == 0 && other)
                r = gw_dir_place_enter(d, vm, other);
        if (r < 0)
                return r;
        if (gw_dir_reachable(b))
                gw_lease_set(&d->leases, &vm->lease, lease_ends(d, b));
        for (struct gw_port *port = gw_vm_ports(vm); port && nve; port = gw_port_next(port))
                gw_dir_vn_touch_port(d, port);
        return 0;
}

static int load_binding(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_vm *vm = vm_of_record(d, key);
        struct binding_record record;
        struct gw_nve *nve;
        int e;

        if (!get_binding(r, &record) || !is_sane(&record) || !vm || gw_vm_nve(vm) || vm->binding.aside.place ||
            !binding_resolve(d, &record, &nve))
                return GW_E_MALFORMED;
        e = binding_set(d, vm, &record, nve);
        return e ? e : binding_enter(d, vm);
}

static int load(struct gw_directory *d, enum gw_record table, const char *key, struct gw_reader *r) {
        if (table == GW_RECORD_META)
                return load_meta(d, key, r);
        if (gw_get_u8(r) != GW_RECORD_VERSION)
                return GW_E_MALFORMED;
        switch (table) {
        case GW_RECORD_TENANT:
                return load_tenant(d, key, r);
        case GW_RECORD_VN:
                return load_vn(d, key, r);
        case GW_RECORD_NVE:
                return load_nve(d, key, r);
        case GW_RECORD_VM:
                return load_vm(d, key, r);
        case GW_RECORD_PORT:
                return load_port(d, r);
        case GW_RECORD_RULE:
                return load_rule(d, key, r);
        case GW_RECORD_HISTORY:
                return gw_dir_history_load(d, key, r);
        case GW_RECORD_POLICY:
                return load_policy(d, key, r);
        default:
                return load_binding(d, key, r);
        }
}

int gw_directory_load(struct gw_directory *d, enum gw_record table, const void *key, size_t key_size, const void *value,
                      size_t value_size, struct gw_now now, struct gw_error *error) {
        static const char *const words[] = {"meta",    "tenant", "vn",   "nve",     "vm",    "port",
                                            "binding", "move",   "rule", "history", "drain", "policy"};
        struct gw_reader in = gw_reader(value, value_size);
        struct gw_name name = {0};
        int r = GW_E_MALFORMED;

        d->now = now;
        d->loading = true;
        if (table >= sizeof words / sizeof *words || table == GW_RECORD_BINDING + 1 || table == GW_RECORD_POLICY - 1)
                return 0;
        if (key_size <= GW_NAME_MAX) {
                memcpy(name.s, key, key_size);
                r = load(d, table, name.s, &in);
        }
        if (r)
                gw_fail(error, r, "", "record %s of table %s does not load (version %u); restore the store from a copy",
                        name.s, words[table], value_size ? *(const uint8_t *)value : 0);
        return r;
}

void gw_directory_loaded(struct gw_directory *d) {
        d->loading = false;
        gw_dir_crowd_count(d);
}
