/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory as a whole: its tables, its clock, its look-ups.
 *
 * Invariants, kept by the other files of this folder:
 * - Every object is in its order by name; every VN in by_vni, every NVE with a
 *   locator in by_locator, every port in by_mac and its addresses in by_ip.
 * - What a record holds is staged in the same call that changed it.
 * - Effects are the last thing that a function does to an object: whoever is
 *   called sees it as it will stay.
 *
 * The directory owns all objects. The shell owns what nve->nve_session and
 * nve->hv_session point to.
 */
#include "directory/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void gw_dir_note(struct gw_directory *d, enum gw_note kind, const char *format, ...) {
        char text[256];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        d->effects->note(kind, text, d->user);
}

void gw_dir_changed(struct gw_directory *d, enum gw_object kind, const char *id, bool gone) {
        d->effects->changed(kind, id, gone, d->user);
}

bool gw_dir_reachable(const struct gw_binding *b) {
        return b->state == GW_BINDING_COMMITTED || b->state == GW_BINDING_SERVING;
}

const char *gw_binding_state_word(uint8_t state) {
        static const char *const words[] = {"none", "placed", "committed", "serving", "lapsed"};

        return state < sizeof words / sizeof *words ? words[state] : "?";
}

static bool match_vni(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct gw_vn, by_vni)->vni == *(const uint32_t *)key;
}

static bool match_locator(const struct gw_table_node *node, const void *key) {
        return gw_ip_eq(gw_container_of(node, struct gw_nve, by_locator)->locator, *(const struct gw_ip *)key);
}

static uint64_t hash_id(const struct gw_index *index, const void *element, unsigned nth) {
        const struct gw_name name = gw_vm_name(element);

        (void)nth;
        return gw_index_hash(index, name.s, strlen(name.s));
}

static bool match_id(const void *element, unsigned nth, const void *key) {
        (void)nth;
        return gw_dir_vm_compare(element, key) == 0;
}

static uint64_t hash_mac(const struct gw_index *index, const void *element, unsigned nth) {
        const struct gw_port *port = element;
        struct mac_key key = {.vni = gw_port_vn(port)->vni, .mac = port->mac};

        (void)nth;
        return gw_index_hash(index, &key, sizeof key);
}

static bool match_mac(const void *element, unsigned nth, const void *key) {
        const struct gw_port *port = element;
        const struct mac_key *k = key;

        (void)nth;
        return gw_port_vn(port)->vni == k->vni && gw_mac_eq(port->mac, k->mac);
}

static uint64_t hash_ip(const struct gw_index *index, const void *element, unsigned nth) {
        const struct gw_port *port = element;
        struct ip_key key = {.vni = gw_port_vn(port)->vni, .ip = gw_port_ip(port, nth)};

        return gw_index_hash(index, &key, sizeof key);
}

static bool match_ip(const void *element, unsigned nth, const void *key) {
        const struct gw_port *port = element;
        const struct ip_key *k = key;

        return gw_port_vn(port)->vni == k->vni && gw_ip_eq(gw_port_ip(port, nth), k->ip);
}

static bool match_pair(const struct gw_table_node *node, const void *key) {
        const struct directory_item *item = gw_container_of(node, struct directory_item, node);
        const struct pair_key *k = key;

        return gw_ref_sure(&item->about) == k->about && gw_dir_item_nve(item) == k->nve;
}

static int tables_init(struct gw_directory *d) {
        int r;

        if ((r = gw_table_init(&d->by_vni, d->seed, match_vni)) < 0 ||
            (r = gw_table_init(&d->by_locator, d->seed, match_locator)) < 0 ||
            (r = gw_index_init(&d->by_id, &d->slab, d->seed, hash_id, match_id)) < 0 ||
            (r = gw_index_init(&d->by_mac, &d->slab, d->seed, hash_mac, match_mac)) < 0 ||
            (r = gw_index_init(&d->by_ip, &d->slab, d->seed, hash_ip, match_ip)) < 0)
                return r;
        r = gw_table_init(&d->pairs, d->seed, match_pair);
        return r < 0 ? r : gw_dir_notices_init(d);
}

_Static_assert(offsetof(struct gw_tenant, name) == 0 && offsetof(struct gw_vn, id) == 0 &&
                       offsetof(struct gw_nve, id) == 0 && offsetof(struct gw_rule, id) == 0 &&
                       offsetof(struct gw_policy, name) == 0,
               "compare_name");

/* Of what begins with its name. */
static int compare_name(const void *element, const char *name) {
        return strcmp(((const struct gw_name *)element)->s, name);
}

static void orders_init(struct gw_directory *d) {
        gw_order_init(&d->tenants, &d->slab, compare_name);
        gw_order_init(&d->vns, &d->slab, compare_name);
        gw_order_init(&d->nves, &d->slab, compare_name);
        gw_order_init(&d->vms, &d->slab, gw_dir_vm_compare);
        gw_order_init(&d->rules, &d->slab, compare_name);
        gw_order_init(&d->policies, &d->slab, compare_name);
        gw_leases_init(&d->leases, &d->slab);
}

int gw_directory_init(struct gw_directory *d, const uint64_t seed[2], uint32_t lease_s,
                      const struct gw_directory_effects *effects, void *user) {
        int r;

        *d = (struct gw_directory){.effects = effects, .user = user, .seed = {seed[0], seed[1]}};
        d->lease_ms = lease_s < 262140 ? lease_s * 1000 : 262140000;
        d->peers_max = GW_DIRECTORY_PEERS_MAX;
        d->next_vni = GW_VNI_AUTO_FIRST;
        gw_list_init(&d->holders);
        gw_list_init(&d->dirty);
        gw_list_init(&d->lists);
        d->scratch = calloc(1, sizeof *d->scratch);
        r = d->scratch ? gw_slab_init(&d->slab) : -ENOMEM;
        if (r == 0) {
                orders_init(d);
                r = tables_init(d);
        }
        if (r == 0)
                r = gw_dir_tenant_add(d, "default", NULL);
        if (r < 0)
                gw_directory_deinit(d);
        return r;
}

void gw_directory_expect(struct gw_directory *d, size_t vms, size_t ports) {
        gw_index_expect(&d->by_id, vms);
        gw_index_expect(&d->by_mac, ports);
        gw_index_expect(&d->by_ip, ports);
}

void gw_directory_deinit(struct gw_directory *d) {
        struct gw_tenant *tenant;
        struct gw_policy *policy;
        struct gw_rule *rule;
        struct gw_nve *nve;
        struct gw_vm *vm;
        struct gw_vn *vn;

        if (!d->effects)
                return;
        while ((policy = gw_directory_policy_after(d, NULL)))
                gw_dir_policy_free(d, policy);
        while ((rule = gw_directory_rule_after(d, NULL)))
                gw_dir_rule_free(d, rule);
        gw_index_deinit(&d->by_ip); /* first: nothing has to be taken out of them one by one */
        gw_index_deinit(&d->by_mac);
        gw_index_deinit(&d->by_id);
        while ((vm = gw_order_last(&d->vms)))
                gw_dir_vm_free(d, vm);
        while ((vn = gw_directory_vn_after(d, NULL)))
                gw_dir_vn_free(d, vn);
        while ((nve = gw_directory_nve_after(d, NULL)))
                gw_dir_nve_free(d, nve);
        while ((tenant = gw_directory_tenant_after(d, NULL)))
                gw_dir_tenant_free(d, tenant);
        gw_order_deinit(&d->tenants);
        gw_order_deinit(&d->vns);
        gw_order_deinit(&d->nves);
        gw_order_deinit(&d->vms);
        gw_order_deinit(&d->rules);
        gw_order_deinit(&d->policies);
        gw_leases_deinit(&d->leases);
        gw_dir_notices_deinit(d);
        gw_table_deinit(&d->pairs);
        gw_table_deinit(&d->by_locator);
        gw_table_deinit(&d->by_vni);
        gw_heap_deinit(&d->heap);
        free(d->scratch);
        gw_slab_deinit(&d->slab);
        *d = (struct gw_directory){0};
}

static void timer_fired(struct gw_directory *d, struct gw_deadline *timer) {
        switch ((enum timer_kind)timer->kind) {
        case TIMER_NVE:
                gw_dir_members_forget(d, gw_container_of(timer, struct gw_nve, timer));
                break;
        case TIMER_MEMBER:
                gw_dir_member_expired(d, gw_container_of(timer, struct directory_member, timer));
                break;
        case TIMER_COALESCE:
                gw_dir_updates_due(d, gw_container_of(timer, struct gw_nve, coalesce));
                break;
        case TIMER_UPDATE:
                gw_dir_update_again(d, gw_container_of(timer, struct directory_update, timer));
                break;
        case TIMER_NOTICE:
                gw_dir_notice_timer(d, gw_container_of(timer, struct gw_notice, timer));
                break;
        case TIMER_ARRIVAL:
                gw_dir_arrival_look(d, gw_container_of(timer, struct gw_nve, arrival));
                break;
        }
}

static void leases_end(struct gw_directory *d) {
        struct gw_lease *lease;

        while ((lease = gw_leases_first(&d->leases)) && gw_lease_ends(lease, d->now.mono).ns <= d->now.mono.ns)
                gw_dir_binding_lapse(d, gw_container_of(lease, struct gw_vm, lease), "it was not refreshed in time");
}

void gw_directory_tick(struct gw_directory *d, struct gw_now now) {
        struct gw_deadline *timer;

        d->now = now;
        leases_end(d);
        while ((timer = gw_heap_first(&d->heap)) && timer->at.ns <= now.mono.ns) {
                gw_heap_clear(&d->heap, timer);
                timer_fired(d, timer);
        }
        gw_dir_holders_expire(d);
        gw_dir_updates_flush(d);
}

static struct gw_mono earlier(struct gw_mono a, struct gw_mono b) {
        return !a.ns || b.ns < a.ns ? b : a;
}

struct gw_mono gw_directory_deadline(const struct gw_directory *d) {
        const struct gw_deadline *timer = gw_heap_first(&d->heap);
        const struct gw_lease *lease = gw_leases_first(&d->leases);
        struct gw_mono at = timer ? timer->at : (struct gw_mono){0};

        if (lease)
                at = earlier(at, gw_lease_ends(lease, d->now.mono));
        if (!gw_list_empty(&d->holders))
                at = earlier(at, gw_list_entry(d->holders.next, struct directory_holder, in_all)->expires);
        return at;
}

#define FOUND(node, type, member) ((node) ? gw_container_of(node, type, member) : NULL)

struct gw_tenant *gw_directory_tenant(const struct gw_directory *d, const char *name) {
        return gw_order_find(&d->tenants, name);
}

struct gw_tenant *gw_directory_tenant_after(const struct gw_directory *d, const char *name) {
        return gw_order_after(&d->tenants, name);
}

struct gw_vn *gw_directory_vn(const struct gw_directory *d, const char *id) {
        return gw_order_find(&d->vns, id);
}

struct gw_vn *gw_directory_vn_after(const struct gw_directory *d, const char *id) {
        return gw_order_after(&d->vns, id);
}

struct gw_nve *gw_directory_nve(const struct gw_directory *d, const char *id) {
        return gw_order_find(&d->nves, id);
}

struct gw_nve *gw_directory_nve_after(const struct gw_directory *d, const char *id) {
        return gw_order_after(&d->nves, id);
}

struct gw_vm *gw_directory_vm(const struct gw_directory *d, const char *id) {
        return gw_index_find(&d->by_id, gw_index_hash(&d->by_id, id, strlen(id)), id);
}

struct gw_vm *gw_directory_vm_after(const struct gw_directory *d, const char *id) {
        return gw_order_after(&d->vms, id);
}

struct gw_vm *gw_directory_vm_at_after(const struct gw_nve *nve, const struct gw_vm *vm) {
        struct gw_ring *next = gw_ring_next(vm ? &vm->at_nve : &nve->vms);

        return next == &nve->vms ? NULL : gw_container_of(next, struct gw_vm, at_nve);
}

struct gw_vn *gw_directory_vn_by_vni(const struct gw_directory *d, uint32_t vni) {
        struct gw_table_node *node = gw_table_find(&d->by_vni, gw_table_hash(&d->by_vni, &vni, sizeof vni), &vni);

        return FOUND(node, struct gw_vn, by_vni);
}

struct gw_nve *gw_directory_nve_by_locator(const struct gw_directory *d, struct gw_ip locator) {
        uint64_t hash = gw_table_hash(&d->by_locator, &locator, sizeof locator);
        struct gw_table_node *node = gw_table_find(&d->by_locator, hash, &locator);

        return FOUND(node, struct gw_nve, by_locator);
}

struct gw_port *gw_directory_port_by_mac(const struct gw_directory *d, uint32_t vni, struct gw_mac mac) {
        struct mac_key key = {.vni = vni, .mac = mac};

        return gw_index_find(&d->by_mac, gw_index_hash(&d->by_mac, &key, sizeof key), &key);
}

struct gw_port *gw_directory_port_by_ip(const struct gw_directory *d, uint32_t vni, struct gw_ip ip) {
        struct ip_key key = {.vni = vni, .ip = ip};

        return gw_index_find(&d->by_ip, gw_index_hash(&d->by_ip, &key, sizeof key), &key);
}
