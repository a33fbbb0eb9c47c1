/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tenants and virtual networks: made, changed and deleted by people.
 *
 * Rules: a name is used once; a VNI is used once (the data plane keys all with
 * it, so that tenants cannot meet); subnets of one tenant do not overlap, as
 * its VNs may be routed to one another; nothing that is in use is deleted.
 * *_add and *_free only link and unlink: they serve records of the store too.
 */
#include "directory/crowd.h"
#include "directory/internal.h"

#include <errno.h>
#include <stdlib.h>

int gw_dir_tenant_add(struct gw_directory *d, const char *name, struct gw_tenant **out) {
        struct gw_tenant *tenant = gw_slab_new(&d->slab, sizeof *tenant);

        if (!tenant)
                return -ENOMEM;
        strncpy(tenant->name.s, name, GW_NAME_MAX);
        tenant->directory = d;
        gw_list_init(&tenant->vns);
        if (gw_order_insert(&d->tenants, tenant, name) < 0) {
                gw_slab_free(&d->slab, tenant, sizeof *tenant);
                return -ENOMEM;
        }
        if (out)
                *out = tenant;
        return 0;
}

void gw_dir_tenant_free(struct gw_directory *d, struct gw_tenant *tenant) {
        gw_order_remove(&d->tenants, tenant->name.s);
        gw_slab_free(&d->slab, tenant, sizeof *tenant);
}

int gw_directory_tenant_create(struct gw_directory *d, const char *name, struct gw_tenant **out,
                               struct gw_error *error) {
        struct gw_tenant *tenant;
        struct gw_name parsed;
        int r;

        if (gw_name_parse(name, &parsed))
                return gw_fail(error, GW_E_INVALID, "name",
                               "\"%s\" is not a name; use 1 to 63 of a-z, 0-9 and -, not beginning or ending with -",
                               name);
        if (gw_directory_tenant(d, name))
                return gw_fail(error, GW_E_EXISTS, "name", "there is a tenant %s already", name);
        r = gw_dir_tenant_add(d, name, &tenant);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for tenant %s", name);
        gw_dir_store_tenant(d, tenant);
        gw_dir_changed(d, GW_OBJECT_TENANT, name, false);
        if (out)
                *out = tenant;
        return 0;
}

/* The first tenant that names it; NULL. */
static const struct gw_tenant *tenant_kept_apart_from(const struct gw_directory *d, const struct gw_name *name) {
        const struct gw_tenant *other = gw_directory_tenant_after(d, NULL);

        for (; other; other = gw_directory_tenant_after(d, other->name.s))
                for (unsigned i = 0; i < other->n_apart; i++)
                        if (gw_name_eq(&other->apart[i], name))
                                return other;
        return NULL;
}

int gw_directory_tenant_delete(struct gw_directory *d, struct gw_tenant *tenant, struct gw_error *error) {
        struct gw_name name = tenant->name;
        const struct gw_tenant *other;

        if (strcmp(name.s, "default") == 0)
                return gw_fail(error, GW_E_REFUSED, "name", "the tenant default always exists");
        if (!gw_list_empty(&tenant->vns) || tenant->n_vms)
                return gw_fail(error, GW_E_CONFLICT, "name", "tenant %s still has VNs or VMs; delete those first",
                               name.s);
        other = tenant_kept_apart_from(d, &name);
        if (other)
                return gw_fail(error, GW_E_CONFLICT, "name", "tenant %s is kept apart from %s; change that first",
                               other->name.s, name.s);
        gw_dir_tenant_free(d, tenant);
        gw_dir_unstore_name(d, GW_RECORD_TENANT, name.s);
        gw_dir_changed(d, GW_OBJECT_TENANT, name.s, true);
        return 0;
}

/* --- virtual networks --- */

static int subnet_check(const struct gw_prefix *p, struct gw_error *error) {
        static const struct gw_prefix mapped = {{{[10] = 0xff, [11] = 0xff}}, 96};
        char text[GW_PREFIX_TEXT];
        bool v4 = gw_ip_is_v4(p->ip) && p->bits >= 96;

        if (p->bits > 128 || (v4 ? p->bits < 96 + 8 : p->bits < 16))
                return gw_fail(error, GW_E_INVALID, "subnets",
                               "subnet %s is too large; at least /8 (IPv4) or /16 (IPv6)",
                               p->bits > 128 ? "?" : gw_prefix_text(p, text));
        if (!gw_ip_is_unicast(p->ip) || (!v4 && gw_prefix_overlap(p, &mapped)))
                return gw_fail(error, GW_E_INVALID, "subnets", "subnet %s does not hold unicast addresses",
                               gw_prefix_text(p, text));
        for (unsigned bit = p->bits; bit < 128; bit++)
                if (p->ip.b[bit / 8] & (0x80 >> bit % 8))
                        return gw_fail(error, GW_E_INVALID, "subnets",
                                       "subnet %s has bits set beyond its prefix length", gw_prefix_text(p, text));
        return 0;
}

static int subnet_clash(const struct gw_prefix *p, const struct gw_vn *vn, struct gw_error *error) {
        char a[GW_PREFIX_TEXT], b[GW_PREFIX_TEXT];

        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (gw_prefix_overlap(p, &vn->subnets[i]))
                        return gw_fail(error, GW_E_CONFLICT, "subnets", "subnet %s overlaps %s of VN %s",
                                       gw_prefix_text(p, a), gw_prefix_text(&vn->subnets[i], b), vn->id.s);
        return 0;
}

/* self: the VN that is to have them, not compared with. */
static int subnets_check(const struct gw_tenant *tenant, const struct gw_vn *self, const struct gw_vn_spec *spec,
                         struct gw_error *error) {
        int r;

        if (spec->n_subnets > GW_VN_SUBNETS_MAX)
                return gw_fail(error, GW_E_INVALID, "subnets", "%zu subnets; a VN has at most %d", spec->n_subnets,
                               GW_VN_SUBNETS_MAX);
        for (size_t i = 0; i < spec->n_subnets; i++) {
                r = subnet_check(&spec->subnets[i], error);
                if (r)
                        return r;
                for (size_t k = 0; k < i; k++)
                        if (gw_prefix_overlap(&spec->subnets[i], &spec->subnets[k]))
                                return gw_fail(error, GW_E_CONFLICT, "subnets", "subnets %zu and %zu overlap", k + 1,
                                               i + 1);
                gw_list_for_each (link, &tenant->vns) {
                        const struct gw_vn *vn = gw_list_entry(link, struct gw_vn, in_tenant);

                        r = vn == self ? 0 : subnet_clash(&spec->subnets[i], vn, error);
                        if (r)
                                return r;
                }
        }
        return 0;
}

static int vni_check(const struct gw_directory *d, uint32_t vni, struct gw_error *error) {
        const struct gw_vn *other;

        if (vni > GW_VNI_MAX)
                return gw_fail(error, GW_E_INVALID, "vni", "vni is %u; allowed are 1 to %u", vni, GW_VNI_MAX);
        other = vni ? gw_directory_vn_by_vni(d, vni) : NULL;
        if (other)
                return gw_fail(error, GW_E_EXISTS, "vni", "vni %u is used by VN %s", vni, other->id.s);
        return 0;
}

static void subnets_copy(struct gw_vn *vn, const struct gw_vn_spec *spec) {
        vn->n_subnets = (uint8_t)spec->n_subnets;
        for (size_t i = 0; i < spec->n_subnets; i++)
                vn->subnets[i] = spec->subnets[i];
}

static bool same_subnets(const struct gw_vn *vn, const struct gw_vn_spec *spec) {
        return vn->n_subnets == spec->n_subnets &&
               (!spec->n_subnets || !memcmp(vn->subnets, spec->subnets, spec->n_subnets * sizeof *vn->subnets));
}

/* True when the settings are others than before. */
static bool settings_copy(struct gw_vn *vn, const struct gw_vn_spec *spec) {
        struct gw_vn_settings was = vn->settings;

        memset(&vn->settings, 0, sizeof vn->settings);
        vn->settings.vni = vn->vni;
        vn->settings.flags = spec->flags;
        vn->settings.n_gateways = (uint8_t)spec->n_gateways;
        for (size_t i = 0; i < spec->n_gateways; i++)
                vn->settings.gateways[i] = spec->gateways[i];
        memcpy(vn->settings.limits, spec->limits, sizeof vn->settings.limits);
        return was.vni != vn->settings.vni || was.flags != vn->settings.flags ||
               was.n_gateways != vn->settings.n_gateways ||
               memcmp(was.gateways, vn->settings.gateways, sizeof was.gateways) != 0 ||
               memcmp(was.limits, vn->settings.limits, sizeof was.limits) != 0;
}

int gw_dir_vn_add(struct gw_directory *d, const struct gw_vn_spec *spec, struct gw_tenant *tenant, struct gw_vn **out) {
        struct gw_vn *vn = gw_slab_new(&d->slab, sizeof *vn);

        if (!vn)
                return -ENOMEM;
        strncpy(vn->id.s, spec->id, GW_NAME_MAX);
        vn->tenant = tenant;
        vn->vni = spec->vni;
        vn->mtu = spec->mtu;
        subnets_copy(vn, spec);
        vn->model = spec->model;
        vn->push = vn->model != GW_VN_PULL;
        settings_copy(vn, spec);
        vn->gateway_pin = spec->gateway_pin;
        gw_list_init(&vn->members);
        gw_ring_init(&vn->ports);
        if (gw_order_insert(&d->vns, vn, vn->id.s) < 0)
                goto no_place;
        if (gw_table_insert(&d->by_vni, &vn->by_vni, gw_table_hash(&d->by_vni, &vn->vni, sizeof vn->vni)) < 0)
                goto no_entry;
        gw_list_append(&tenant->vns, &vn->in_tenant);
        *out = vn;
        return 0;

no_entry:
        gw_order_remove(&d->vns, vn->id.s);
no_place:
        gw_slab_free(&d->slab, vn, sizeof *vn);
        return -ENOMEM;
}

void gw_dir_vn_free(struct gw_directory *d, struct gw_vn *vn) {
        gw_dir_crowd_end(vn);
        gw_list_for_each (link, &vn->members)
                gw_dir_member_free(d, gw_list_entry(link, struct directory_member, in_vn));
        if (vn->vni < d->next_vni && vn->vni >= GW_VNI_AUTO_FIRST)
                d->next_vni = vn->vni;
        gw_list_remove(&vn->in_tenant);
        gw_order_remove(&d->vns, vn->id.s);
        gw_table_remove(&d->by_vni, &vn->by_vni);
        gw_slab_free(&d->slab, vn, sizeof *vn);
}

/* The part of name@tenant after the @, which must be there. */
static struct gw_tenant *tenant_of(const struct gw_directory *d, const char *id) {
        const char *at = strchr(id, '@');

        return at ? gw_directory_tenant(d, at + 1) : NULL;
}

int gw_dir_id_check(const struct gw_directory *d, const char *id, const char *field, struct gw_name *out,
                    struct gw_tenant **tenant, struct gw_error *error) {
        if (gw_id_parse(id, out))
                return gw_fail(error, GW_E_INVALID, field,
                               "\"%.64s\" is not name or name@tenant; names are of a-z, 0-9 and -, 63 octets in all",
                               id);
        *tenant = tenant_of(d, out->s);
        if (!*tenant)
                return gw_fail(error, GW_E_NOT_FOUND, "tenant", "there is no tenant %s", strchr(out->s, '@') + 1);
        return 0;
}

static uint32_t vni_choose(struct gw_directory *d) {
        while (d->next_vni < GW_VNI_MAX && gw_directory_vn_by_vni(d, d->next_vni))
                d->next_vni++;
        return d->next_vni;
}

static const char *const model_words[GW_VN_MODELS] = {"hybrid", "push", "pull"};

const char *gw_vn_model_word(uint8_t model) {
        return model < GW_VN_MODELS ? model_words[model] : "?";
}

int gw_vn_model_parse(const char *word, uint8_t *out) {
        for (unsigned i = 0; i < GW_VN_MODELS; i++)
                if (strcmp(word, model_words[i]) == 0) {
                        *out = (uint8_t)i;
                        return 0;
                }
        return GW_E_INVALID;
}

int gw_directory_vn_create(struct gw_directory *d, const struct gw_vn_spec *spec, struct gw_vn **out,
                           struct gw_error *error) {
        struct gw_vn_spec full = *spec;
        struct gw_tenant *tenant;
        struct gw_name id;
        struct gw_vn *vn;
        int r;

        if ((r = gw_dir_id_check(d, spec->id, "name", &id, &tenant, error)))
                return r;
        if (gw_directory_vn(d, id.s))
                return gw_fail(error, GW_E_EXISTS, "name", "there is a VN %s already", id.s);
        full.id = id.s;
        if (!full.vni)
                full.vni = vni_choose(d);
        if ((r = vni_check(d, full.vni, error)) || (r = subnets_check(tenant, NULL, spec, error)) ||
            (r = gw_dir_gateways_check(d, NULL, spec, error)) || (r = gw_dir_mtu_choose(d, spec, &full.mtu, error)))
                return r;
        r = gw_dir_vn_add(d, &full, tenant, &vn);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for VN %s", id.s);
        gw_dir_store_vn(d, vn);
        gw_dir_changed(d, GW_OBJECT_VN, vn->id.s, false);
        if (out)
                *out = vn;
        return 0;
}

struct subnet_use {
        const struct gw_vn *vn;
        const struct gw_vn_spec *spec;
        const struct gw_port *orphan;
        unsigned nth; /* of its addresses */
};

static void find_orphan(void *element, unsigned nth, void *user) {
        const struct gw_port *port = element;
        struct subnet_use *use = user;

        if (gw_port_vn(port) != use->vn)
                return;
        for (size_t i = 0; i < use->spec->n_subnets; i++)
                if (gw_prefix_contains(&use->spec->subnets[i], gw_port_ip(port, nth)))
                        return;
        use->orphan = port;
        use->nth = nth;
}

int gw_directory_vn_update(struct gw_directory *d, struct gw_vn *vn, const struct gw_vn_spec *spec,
                           struct gw_error *error) {
        struct subnet_use use = {.vn = vn, .spec = spec};
        char text[GW_IP_TEXT];
        struct gw_vn was;
        size_t ways;
        uint16_t mtu;
        int r;

        if (spec->vni && spec->vni != vn->vni)
                return gw_fail(error, GW_E_INVALID, "vni", "the VNI of VN %s is %u and cannot change", vn->id.s,
                               vn->vni);
        if ((r = subnets_check(vn->tenant, vn, spec, error)) || (r = gw_dir_gateways_check(d, vn, spec, error)) ||
            (r = gw_dir_mtu_choose(d, spec, &mtu, error)))
                return r;
        if (!same_subnets(vn, spec)) /* a walk over all addresses that there are */
                gw_index_each(&d->by_ip, find_orphan, &use);
        if (use.orphan)
                return gw_fail(error, GW_E_CONFLICT, "subnets", "%s of VM %s would be in no subnet of VN %s",
                               gw_ip_text(gw_port_ip(use.orphan, use.nth), text), gw_vm_name(gw_port_vm(use.orphan)).s,
                               vn->id.s);
        was = *vn;
        ways = gw_dir_gateways_ways(d);
        subnets_copy(vn, spec);
        vn->settings.n_gateways = (uint8_t)spec->n_gateways;
        if (!(r = gw_dir_subnets_reach_check(d, vn, error)))
                r = gw_dir_gateways_ways_check(
                        d, ways, spec->n_gateways > was.settings.n_gateways ? "gateways" : "subnets", error);
        vn->settings.n_gateways = was.settings.n_gateways;
        if (r) {
                memcpy(vn->subnets, was.subnets, sizeof vn->subnets);
                vn->n_subnets = was.n_subnets;
                return r;
        }
        vn->mtu = mtu;
        memset(vn->free_from, 0, sizeof vn->free_from);
        if (spec->model != vn->model)
                gw_dir_vn_remodel(d, vn, spec->model);
        if (settings_copy(vn, spec))
                gw_dir_vn_set(d, vn);
        gw_dir_gateways_review_vn(d, vn);
        gw_dir_store_vn(d, vn);
        gw_dir_changed(d, GW_OBJECT_VN, vn->id.s, false);
        gw_dir_updates_flush(d);
        return 0;
}

int gw_directory_vn_delete(struct gw_directory *d, struct gw_vn *vn, struct gw_error *error) {
        struct gw_name id = vn->id;

        if (gw_dir_policy_of(d, vn))
                return gw_fail(error, GW_E_CONFLICT, "name", "policy %s is about VN %s; delete that first",
                               gw_dir_policy_of(d, vn)->name.s, id.s);
        if (vn->n_ports)
                return gw_fail(error, GW_E_CONFLICT, "name", "VN %s still has %u ports; delete their VMs first", id.s,
                               vn->n_ports);
        gw_dir_vn_free(d, vn);
        gw_dir_unstore_name(d, GW_RECORD_VN, id.s);
        gw_dir_changed(d, GW_OBJECT_VN, id.s, true);
        return 0;
}
