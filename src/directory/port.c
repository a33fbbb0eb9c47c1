/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ports of VMs: their MACs and addresses, checked or chosen.
 *
 * In a VN each MAC and each address belongs to one port. A MAC that is not
 * given is 52:54:00 and 24 bits of a hash of the port's id (the hash is fixed,
 * so the same VM made again has the same MAC), or the next free value. An
 * address that is not given is the lowest free one of each subnet of the VN,
 * from GW_SUBNET_AUTO_FIRST on; vn->free_from only spares the search.
 *
 * A VN's gateway has addresses of its subnets, too, and one MAC everywhere
 * (GW_GATEWAY_MAC): no port is given any of these.
 *
 * A subnet's all-zero host and, in IPv4, its all-one host are no addresses,
 * except where the prefix leaves less than two host bits (RFC 3021, RFC 6164).
 */
#include "directory/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct gw_name gw_port_id(const struct gw_port *port) {
        struct gw_name vm = gw_vm_name(gw_port_vm(port)), out;
        const char *at = strchr(vm.s, '@');

        snprintf(out.s, sizeof out.s, "%.*s-%u%s", (int)(at - vm.s), vm.s, port->index, at);
        return out;
}

/* What the id of a port says of its VM; *index is the text behind that. False: it is none. */
static bool split_id(const char *id, struct gw_name *vm, const char **index) {
        const char *at = strchr(id, '@'), *dash = at;

        while (dash && dash > id && *dash != '-')
                dash--;
        if (!dash || dash == id || strlen(id) > GW_NAME_MAX)
                return false;
        snprintf(vm->s, sizeof vm->s, "%.*s%s", (int)(dash - id), id, at);
        *index = dash + 1;
        return true;
}

struct gw_port *gw_directory_port(const struct gw_directory *d, const char *id) {
        struct gw_name vm_id;
        struct gw_port *port;
        const char *index;
        struct gw_vm *vm;

        if (!split_id(id, &vm_id, &index))
                return NULL;
        vm = gw_directory_vm(d, vm_id.s);
        for (port = vm ? gw_vm_ports(vm) : NULL; port; port = gw_port_next(port))
                if (strcmp(gw_port_id(port).s, id) == 0)
                        return port;
        return NULL;
}

/* The port, and even its VM, may be gone by now: then the next is what would have come after it. */
struct gw_port *gw_directory_port_after(const struct gw_directory *d, const char *id) {
        struct gw_name vm_id = {""};
        struct gw_vm *vm = NULL;
        const char *index = "";

        if (id && split_id(id, &vm_id, &index))
                vm = gw_directory_vm(d, vm_id.s);
        for (struct gw_port *port = vm ? gw_vm_ports(vm) : NULL; port; port = gw_port_next(port))
                if (port->index > strtoul(index, NULL, 10))
                        return port;
        vm = gw_directory_vm_after(d, vm_id.s[0] ? vm_id.s : id);
        while (vm && !gw_vm_ports(vm))
                vm = gw_directory_vm_after(d, gw_vm_name(vm).s);
        return vm ? gw_vm_ports(vm) : NULL;
}

/* --- what is of no fixed size --- */

enum { DEVICE_ROOM = GW_DEVICE_MAX + 1 };

static size_t ip_size(const struct gw_port *port) {
        return port->wide ? 16 : 4;
}

/* Of its nth address; of its n_ips-th: of the name of its device. */
static uint8_t *ip_octets(struct gw_port *port, unsigned nth) {
        return port->octets + nth * ip_size(port);
}

static size_t octets_of(const struct gw_port *port) {
        return offsetof(struct gw_port, octets) + port->n_ips * ip_size(port) + (port->named ? DEVICE_ROOM : 0);
}

static bool is_wide(const struct gw_port_spec *spec) {
        for (unsigned i = 0; i < spec->n_ips; i++)
                if (!gw_ip_is_v4(spec->ips[i]))
                        return true;
        return false;
}

struct gw_ip gw_port_ip(const struct gw_port *port, unsigned nth) {
        const uint8_t *octets = port->octets + nth * ip_size(port);
        struct gw_ip ip;
        uint32_t v4;

        if (port->wide) {
                memcpy(ip.b, octets, sizeof ip.b);
                return ip;
        }
        memcpy(&v4, octets, sizeof v4);
        return gw_ip_from_v4(v4);
}

const char *gw_port_device(const struct gw_port *port) {
        return port->named ? (const char *)port->octets + port->n_ips * ip_size(port) : "";
}

/* --- addresses --- */

static unsigned host_bits(const struct gw_prefix *p) {
        return 128u - p->bits;
}

static struct gw_ip add(struct gw_ip ip, unsigned n) {
        for (int i = 15; i >= 0 && n; i--) {
                n += ip.b[i];
                ip.b[i] = (uint8_t)n;
                n >>= 8;
        }
        return ip;
}

static bool all_ones(const struct gw_prefix *p, struct gw_ip ip) {
        for (unsigned bit = p->bits; bit < 128; bit++)
                if (!(ip.b[bit / 8] & (0x80 >> bit % 8)))
                        return false;
        return true;
}

static bool is_host(const struct gw_prefix *p, struct gw_ip ip) {
        if (host_bits(p) < 2)
                return true;
        return !gw_ip_eq(ip, p->ip) && !(gw_ip_is_v4(ip) && all_ones(p, ip));
}

static bool is_gateway(const struct gw_vn *vn, struct gw_ip ip) {
        for (unsigned i = 0; i < vn->settings.n_gateways; i++)
                if (gw_ip_eq(vn->settings.gateways[i], ip))
                        return true;
        return false;
}

/* The lowest free address of subnet i; GW_E_FULL. */
static int address_choose(struct gw_directory *d, struct gw_vn *vn, unsigned i, struct gw_ip *out) {
        const struct gw_prefix *p = &vn->subnets[i];
        struct gw_ip ip = add(p->ip, host_bits(p) < 2 ? 0 : GW_SUBNET_AUTO_FIRST);

        if (gw_prefix_contains(p, vn->free_from[i]) && memcmp(&vn->free_from[i], &ip, sizeof ip) > 0)
                ip = vn->free_from[i];
        while (gw_prefix_contains(p, ip) && is_host(p, ip) &&
               (gw_directory_port_by_ip(d, vn->vni, ip) || is_gateway(vn, ip)))
                ip = add(ip, 1);
        if (!gw_prefix_contains(p, ip) || !is_host(p, ip))
                return GW_E_FULL;
        vn->free_from[i] = ip;
        *out = ip;
        return 0;
}

static void address_freed(struct gw_vn *vn, struct gw_ip ip) {
        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (gw_prefix_contains(&vn->subnets[i], ip) && memcmp(&ip, &vn->free_from[i], sizeof ip) < 0)
                        vn->free_from[i] = ip;
}

static int addresses_choose(struct gw_directory *d, struct gw_vn *vn, const char *field, struct gw_ip *ips,
                            size_t *n_ips, struct gw_error *error) {
        char text[GW_PREFIX_TEXT];

        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (address_choose(d, vn, i, &ips[(*n_ips)++]))
                        return gw_fail(error, GW_E_FULL, field, "subnet %s of VN %s has no free address",
                                       gw_prefix_text(&vn->subnets[i], text), vn->id.s);
        return 0;
}

static int address_check(const struct gw_directory *d, const struct gw_vn *vn, struct gw_ip ip, const char *field,
                         struct gw_error *error) {
        const struct gw_port *other = gw_directory_port_by_ip(d, vn->vni, ip);
        const struct gw_prefix *subnet = NULL;
        char text[GW_IP_TEXT], in[GW_PREFIX_TEXT];

        gw_ip_text(ip, text);
        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (gw_prefix_contains(&vn->subnets[i], ip))
                        subnet = &vn->subnets[i];
        if (!subnet)
                return gw_fail(error, GW_E_INVALID, field, "%s is in no subnet of VN %s", text, vn->id.s);
        if (!is_host(subnet, ip))
                return gw_fail(error, GW_E_INVALID, field, "%s is the network or broadcast address of %s", text,
                               gw_prefix_text(subnet, in));
        if (other)
                return gw_fail(error, GW_E_EXISTS, field, "%s is used by VM %s", text, gw_vm_name(gw_port_vm(other)).s);
        if (is_gateway(vn, ip))
                return gw_fail(error, GW_E_EXISTS, field, "%s is the gateway of VN %s", text, vn->id.s);
        return 0;
}

static int addresses_check(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_port_spec *spec,
                           unsigned nth, struct gw_error *error) {
        char field[64];
        int r;

        for (unsigned i = 0; i < spec->n_ips; i++) {
                snprintf(field, sizeof field, "ports[%u].addresses[%u]", nth, i);
                r = address_check(d, vn, spec->ips[i], field, error);
                for (unsigned k = 0; k < i && !r; k++)
                        if (gw_ip_eq(spec->ips[i], spec->ips[k]))
                                r = gw_fail(error, GW_E_INVALID, field, "the same address as addresses[%u]", k);
                if (r)
                        return r;
        }
        return 0;
}

static const struct gw_prefix *subnet_of(const struct gw_vn_spec *spec, struct gw_ip ip) {
        for (size_t i = 0; i < spec->n_subnets; i++)
                if (gw_prefix_contains(&spec->subnets[i], ip))
                        return &spec->subnets[i];
        return NULL;
}

/* vn: NULL when it is about to be made. */
int gw_dir_gateways_check(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_vn_spec *spec,
                          struct gw_error *error) {
        char text[GW_IP_TEXT];

        if (spec->n_gateways > GW_VN_GATEWAYS_MAX)
                return gw_fail(error, GW_E_INVALID, "gateways", "%zu gateway addresses; a VN has at most %d",
                               spec->n_gateways, GW_VN_GATEWAYS_MAX);
        for (size_t i = 0; i < spec->n_gateways; i++) {
                struct gw_ip ip = spec->gateways[i];
                const struct gw_prefix *subnet = subnet_of(spec, ip);
                const struct gw_port *other = vn ? gw_directory_port_by_ip(d, vn->vni, ip) : NULL;

                gw_ip_text(ip, text);
                if (!subnet || !is_host(subnet, ip))
                        return gw_fail(error, GW_E_INVALID, "gateways", "gateway %s is no host's address of a subnet",
                                       text);
                if (other)
                        return gw_fail(error, GW_E_CONFLICT, "gateways", "gateway %s is used by VM %s", text,
                                       gw_vm_name(gw_port_vm(other)).s);
                for (size_t k = 0; k < i; k++)
                        if (gw_ip_eq(spec->gateways[k], ip))
                                return gw_fail(error, GW_E_INVALID, "gateways", "gateway %s is given twice", text);
        }
        return 0;
}

/* --- MACs --- */

/* FNV-1a: fixed, unlike the tables' hashes. */
static struct gw_mac mac_from(const char *id, unsigned attempt) {
        uint64_t h = UINT64_C(0xcbf29ce484222325);

        for (; *id; id++)
                h = (h ^ (uint8_t)*id) * UINT64_C(0x100000001b3);
        h ^= h >> 32;
        h += attempt;
        return (struct gw_mac){{0x52, 0x54, 0x00, (uint8_t)(h >> 16), (uint8_t)(h >> 8), (uint8_t)h}};
}

static int mac_choose(const struct gw_directory *d, const struct gw_vn *vn, const char *id, const char *field,
                      struct gw_mac *out, struct gw_error *error) {
        for (unsigned attempt = 0; attempt < 1 << 24; attempt++) {
                *out = mac_from(id, attempt);
                if (!gw_directory_port_by_mac(d, vn->vni, *out))
                        return 0;
        }
        return gw_fail(error, GW_E_FULL, field, "VN %s has no free MAC of the kind 52:54:00:xx:xx:xx", vn->id.s);
}

static int mac_check(const struct gw_directory *d, const struct gw_vn *vn, struct gw_mac mac, const char *field,
                     struct gw_error *error) {
        static const struct gw_mac zero;
        const struct gw_port *other = gw_directory_port_by_mac(d, vn->vni, mac);
        char text[GW_MAC_TEXT];

        if (gw_mac_is_group(mac) || gw_mac_eq(mac, zero))
                return gw_fail(error, GW_E_INVALID, field, "%s is not the address of one station",
                               gw_mac_text(mac, text));
        if (gw_mac_eq(mac, GW_GATEWAY_MAC))
                return gw_fail(error, GW_E_EXISTS, field, "%s is the MAC of every VN's gateway",
                               gw_mac_text(mac, text));
        if (other)
                return gw_fail(error, GW_E_EXISTS, field, "%s is used by VM %s in VN %s", gw_mac_text(mac, text),
                               gw_vm_name(gw_port_vm(other)).s, vn->id.s);
        return 0;
}

/* --- ports --- */

static int vn_find(const struct gw_directory *d, const struct gw_vm *vm, const char *id, unsigned nth,
                   struct gw_vn **out, struct gw_error *error) {
        struct gw_name full;
        char field[64];
        int r;

        snprintf(field, sizeof field, "ports[%u].vn", nth);
        r = snprintf(full.s, sizeof full.s, strchr(id, '@') ? "%s" : "%s@%s", id, gw_vm_tenant(vm)->name.s);
        if (r < 0 || (size_t)r >= sizeof full.s)
                return gw_fail(error, GW_E_INVALID, field, "\"%.64s\" is too long for the name of a VN", id);
        *out = gw_directory_vn(d, full.s);
        if (!*out)
                return gw_fail(error, GW_E_NOT_FOUND, field, "there is no VN %s", full.s);
        if ((*out)->tenant != gw_vm_tenant(vm))
                return gw_fail(error, GW_E_REFUSED, field, "VN %s is not of tenant %s", full.s,
                               gw_vm_tenant(vm)->name.s);
        return 0;
}

static int id_and_device_check(const struct gw_vm *vm, const struct gw_port_spec *spec, unsigned nth,
                               struct gw_error *error) {
        const struct gw_name id = gw_vm_name(vm);
        size_t extra = nth < 10 ? 2 : 3;
        char field[64];

        if (strlen(id.s) + extra > GW_NAME_MAX)
                return gw_fail(error, GW_E_INVALID, "name", "%s is too long by %zu for the ids of its ports", id.s,
                               strlen(id.s) + extra - GW_NAME_MAX);
        snprintf(field, sizeof field, "ports[%u].device", nth);
        if (spec->device && (!*spec->device || strlen(spec->device) > GW_DEVICE_MAX || strpbrk(spec->device, "/ \t\n")))
                return gw_fail(error, GW_E_INVALID, field, "\"%.32s\" is not the name of a network device",
                               spec->device);
        if (spec->n_ips > GW_PORT_IPS_MAX) {
                snprintf(field, sizeof field, "ports[%u].addresses", nth);
                return gw_fail(error, GW_E_INVALID, field, "%u addresses; a port has at most %d", spec->n_ips,
                               GW_PORT_IPS_MAX);
        }
        return 0;
}

/* What refers to the first port of the VM whose index is not below. */
static struct gw_ref *way_to(struct gw_vm *vm, unsigned index) {
        struct gw_ref *at = &vm->ports;

        for (struct gw_port *port; (port = gw_ref_get(at)) && port->index < index;)
                at = &port->next;
        return at;
}

static void link_port(struct gw_vm *vm, struct gw_port *port) {
        struct gw_ref *at = way_to(vm, port->index);

        port->next = *at;
        gw_ref_set(at, port);
        vm->n_ports++;
        gw_port_vn(port)->n_ports++;
}

static uint64_t mac_hash(const struct gw_directory *d, const struct gw_port *port) {
        return d->by_mac.hash(&d->by_mac, port, 0);
}

static uint64_t ip_hash(const struct gw_directory *d, const struct gw_port *port, unsigned nth) {
        return d->by_ip.hash(&d->by_ip, port, nth);
}

static void remove_keys(struct gw_directory *d, struct gw_port *port, unsigned n_ips) {
        if (!d->by_mac.count)
                return;
        while (n_ips--)
                gw_index_remove(&d->by_ip, ip_hash(d, port, n_ips), port, n_ips);
        gw_index_remove(&d->by_mac, mac_hash(d, port), port, 0);
}

static int insert_keys(struct gw_directory *d, struct gw_port *port) {
        struct mac_key key = {.vni = gw_port_vn(port)->vni, .mac = port->mac};
        uint64_t hash = gw_index_hash(&d->by_mac, &key, sizeof key);
        int r = gw_index_find(&d->by_mac, hash, &key) ? GW_E_EXISTS : gw_index_insert(&d->by_mac, hash, port, 0);

        if (r)
                return r;
        for (unsigned i = 0; i < port->n_ips; i++) {
                r = gw_index_insert(&d->by_ip, ip_hash(d, port, i), port, i);
                if (r < 0) {
                        remove_keys(d, port, i);
                        return r;
                }
        }
        return 0;
}

static struct gw_port *port_new(struct gw_directory *d, struct gw_vm *vm, struct gw_vn *vn,
                                const struct gw_port_spec *spec, unsigned index) {
        struct gw_port form = {.mac = spec->mac,
                               .allow = spec->allow,
                               .index = (uint16_t)index,
                               .n_ips = spec->n_ips,
                               .wide = is_wide(spec),
                               .named = vm->kind == GW_VM_TASK || (spec->device && *spec->device)};
        struct gw_port *port = gw_slab_new(&d->slab, octets_of(&form));

        if (!port)
                return NULL;
        memcpy(port, &form, offsetof(struct gw_port, octets));
        gw_ref_set(&port->vm, vm);
        gw_ref_set(&port->vn, vn);
        for (unsigned i = 0; i < spec->n_ips; i++)
                memcpy(ip_octets(port, i), spec->ips[i].b + (form.wide ? 0 : 12), ip_size(port));
        if (form.named && spec->device)
                memcpy(ip_octets(port, port->n_ips), spec->device, strlen(spec->device));
        return port;
}

int gw_dir_port_add(struct gw_directory *d, struct gw_vm *vm, struct gw_vn *vn, const struct gw_port_spec *spec,
                    unsigned index, struct gw_port **out) {
        struct gw_port *port = port_new(d, vm, vn, spec, index);
        int r;

        if (!port)
                return -ENOMEM;
        r = insert_keys(d, port);
        if (r) {
                gw_slab_free(&d->slab, port, octets_of(port));
                return r;
        }
        link_port(vm, port);
        if (out)
                *out = port;
        return 0;
}

void gw_dir_port_free(struct gw_directory *d, struct gw_port *port) {
        *way_to(gw_port_vm(port), port->index) = port->next;
        gw_port_vm(port)->n_ports--;
        gw_port_vn(port)->n_ports--;
        gw_ring_remove(&port->in_vn);
        remove_keys(d, port, port->n_ips);
        for (unsigned i = 0; i < port->n_ips; i++)
                address_freed(gw_port_vn(port), gw_port_ip(port, i));
        gw_slab_free(&d->slab, port, octets_of(port));
}

/* Checks, chooses what is missing, makes it. No record, no effect. */
int gw_dir_port_make(struct gw_directory *d, struct gw_vm *vm, const struct gw_port_spec *spec, unsigned index,
                     struct gw_port **out, struct gw_error *error) {
        struct gw_port_spec full = *spec;
        char field[64], id[GW_NAME_MAX + 8];
        size_t n_ips = spec->n_ips;
        struct gw_vn *vn = NULL;
        int r;

        if ((r = id_and_device_check(vm, spec, index, error)) || (r = vn_find(d, vm, spec->vn, index, &vn, error)))
                return r;
        snprintf(field, sizeof field, "ports[%u].mac", index);
        snprintf(id, sizeof id, "%s-%u", gw_vm_name(vm).s, index);
        r = spec->has_mac ? mac_check(d, vn, spec->mac, field, error) : mac_choose(d, vn, id, field, &full.mac, error);
        if (r || (r = addresses_check(d, vn, spec, index, error)))
                return r;
        snprintf(field, sizeof field, "ports[%u].addresses", index);
        if (!n_ips && !spec->no_addresses && (r = addresses_choose(d, vn, field, full.ips, &n_ips, error)))
                return r;
        full.n_ips = (uint8_t)n_ips;
        r = gw_dir_port_add(d, vm, vn, &full, index, out);
        return r < 0 ? gw_fail(error, r, "", "no memory for a port of VM %s", gw_vm_name(vm).s) : r;
}

void gw_directory_task_device(struct gw_directory *d, struct gw_vm *vm, const char *device) {
        struct gw_port *port = gw_vm_ports(vm);

        if (!port || vm->kind != GW_VM_TASK || !*device || strlen(device) > GW_DEVICE_MAX ||
            strcmp(gw_port_device(port), device) == 0)
                return;
        strncpy((char *)ip_octets(port, port->n_ips), device, DEVICE_ROOM);
        gw_dir_store_port(d, port);
}
