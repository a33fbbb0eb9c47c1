/* SPDX-License-Identifier: Apache-2.0 */
/*
 * NVEs: made by people or by their first HELLO, and their sessions.
 *
 * A locator belongs to one NVE, since it is what frames are accepted from.
 *
 * While its session is down an NVE goes on forwarding with what it knows, so it
 * stays a member of its VNs for as long as a lease; what it missed it is told
 * after its next HELLO and SUBSCRIBE (member.c, holder.c).
 */
#include "directory/gateway.h"
#include "directory/internal.h"

#include <errno.h>
#include <stdlib.h>

int gw_dir_nve_add(struct gw_directory *d, const char *id, struct gw_nve **out) {
        struct gw_nve *nve = gw_slab_new(&d->slab, sizeof *nve);

        if (!nve || gw_heap_promise(&d->heap) < 0)
                goto no_memory;
        if (gw_heap_promise(&d->heap) < 0)
                goto no_second;
        if (gw_heap_promise(&d->heap) < 0)
                goto no_third;
        strncpy(nve->id.s, id, GW_NAME_MAX);
        if (gw_order_insert(&d->nves, nve, id) < 0)
                goto no_place;
        nve->timer.kind = TIMER_NVE;
        nve->coalesce.kind = TIMER_COALESCE;
        nve->arrival.kind = TIMER_ARRIVAL;
        gw_list_init(&nve->later);
        gw_ring_init(&nve->vms);
        gw_list_init(&nve->members);
        gw_ring_init(&nve->holders);
        gw_list_init(&nve->dirty);
        gw_list_init(&nve->lists);
        gw_list_init(&nve->updates);
        *out = nve;
        return 0;

no_place:
        gw_heap_forget(&d->heap, &nve->arrival);
no_third:
        gw_heap_forget(&d->heap, &nve->coalesce);
no_second:
        gw_heap_forget(&d->heap, &nve->timer);
no_memory:
        gw_slab_free(&d->slab, nve, sizeof *nve);
        return -ENOMEM;
}

void gw_dir_nve_free(struct gw_directory *d, struct gw_nve *nve) {
        gw_dir_updates_abandon(d, nve);
        gw_list_for_each (m, &nve->members)
                gw_dir_member_free(d, gw_list_entry(m, struct directory_member, in_nve));
        gw_ring_for_each (h, &nve->holders)
                gw_dir_holder_free(d, gw_container_of(h, struct directory_holder, in_nve));
        gw_heap_forget(&d->heap, &nve->timer);
        gw_heap_forget(&d->heap, &nve->coalesce);
        gw_heap_forget(&d->heap, &nve->arrival);
        gw_list_remove(&nve->in_dirty);
        gw_list_remove(&nve->in_lists);
        gw_order_remove(&d->nves, nve->id.s);
        if (!gw_ip_is_unspecified(nve->locator))
                gw_table_remove(&d->by_locator, &nve->by_locator);
        free(nve->tenancies);
        free(nve->unreached);
        gw_slab_free(&d->slab, nve, sizeof *nve);
}

int gw_dir_nve_set_locator(struct gw_directory *d, struct gw_nve *nve, struct gw_ip locator) {
        struct gw_ip old = nve->locator;
        int r;

        if (gw_ip_eq(old, locator))
                return 0;
        if (!gw_ip_is_unspecified(old))
                gw_table_remove(&d->by_locator, &nve->by_locator);
        nve->locator = locator;
        r = gw_table_insert(&d->by_locator, &nve->by_locator, gw_table_hash(&d->by_locator, &locator, sizeof locator));
        if (r < 0)
                nve->locator = (struct gw_ip){0};
        return r;
}

static int locator_check(const struct gw_directory *d, const struct gw_nve *nve, struct gw_ip locator,
                         struct gw_error *error) {
        const struct gw_nve *other = gw_directory_nve_by_locator(d, locator);
        char text[GW_IP_TEXT];

        if (!gw_ip_is_unicast(locator))
                return gw_fail(error, GW_E_INVALID, "locator", "%s is not a unicast address",
                               gw_ip_text(locator, text));
        if (other && other != nve)
                return gw_fail(error, GW_E_EXISTS, "locator", "locator %s belongs to NVE %s", gw_ip_text(locator, text),
                               other->id.s);
        return 0;
}

int gw_directory_nve_create(struct gw_directory *d, const char *id, const struct gw_ip *locator, struct gw_nve **out,
                            struct gw_error *error) {
        struct gw_name name;
        struct gw_nve *nve;
        int r;

        if (gw_name_parse(id, &name))
                return gw_fail(error, GW_E_INVALID, "id",
                               "\"%.64s\" is not a name; use 1 to 63 of a-z, 0-9 and -, not beginning or ending with -",
                               id);
        if (gw_directory_nve(d, id))
                return gw_fail(error, GW_E_EXISTS, "id", "there is an NVE %s already", id);
        if (locator && (r = locator_check(d, NULL, *locator, error)))
                return r;
        r = gw_dir_nve_add(d, id, &nve);
        if (r == 0 && locator && (r = gw_dir_nve_set_locator(d, nve, *locator)) < 0)
                gw_dir_nve_free(d, nve);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for NVE %s", id);
        gw_dir_store_nve(d, nve);
        gw_dir_changed(d, GW_OBJECT_NVE, id, false);
        if (out)
                *out = nve;
        return 0;
}

int gw_directory_nve_delete(struct gw_directory *d, struct gw_nve *nve, struct gw_error *error) {
        struct gw_name id = nve->id;

        if (nve->nve_connected || nve->hv_connected)
                return gw_fail(error, GW_E_CONFLICT, "id", "NVE %s is connected; stop its daemons first", id.s);
        if (nve->n_vms)
                return gw_fail(error, GW_E_CONFLICT, "id", "%u VMs are on NVE %s; move or stop them first", nve->n_vms,
                               id.s);
        /* Nothing is left then that could say that it went: the others are told whole lists anew. */
        gw_list_for_each (link, &nve->members)
                gw_dir_member_renumbered(d, gw_list_entry(link, struct directory_member, in_nve));
        gw_dir_nve_free(d, nve);
        gw_dir_unstore_name(d, GW_RECORD_NVE, id.s);
        gw_dir_changed(d, GW_OBJECT_NVE, id.s, true);
        gw_dir_updates_flush(d);
        return 0;
}

void gw_directory_nve_hv(struct gw_directory *d, struct gw_nve *nve, bool connected) {
        if (nve->hv_connected == connected)
                return;
        nve->hv_connected = connected;
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
}

void gw_directory_nve_capacity(struct gw_directory *d, struct gw_nve *nve, uint32_t memory_mib, uint32_t vcpus) {
        if (nve->capacity_memory_mib == memory_mib && nve->capacity_vcpus == vcpus)
                return;
        nve->capacity_memory_mib = memory_mib;
        nve->capacity_vcpus = vcpus;
        gw_dir_store_nve(d, nve);
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
}

/* Its VMs are now at another address: for everyone who sends to them the same as a move, without a new epoch. */
static void renumbered(struct gw_directory *d, struct gw_nve *nve) {
        for (struct gw_vm *vm = NULL; (vm = gw_directory_vm_at_after(nve, vm));)
                gw_dir_binding_changed(d, vm);
        gw_list_for_each (link, &nve->members)
                gw_dir_member_renumbered(d, gw_list_entry(link, struct directory_member, in_nve));
}

int gw_directory_nve_relocate(struct gw_directory *d, struct gw_nve *nve, struct gw_ip locator, struct gw_now now,
                              struct gw_error *error) {
        int r = locator_check(d, nve, locator, error);

        d->now = now;
        if (r || gw_ip_eq(nve->locator, locator))
                return r;
        r = gw_dir_nve_set_locator(d, nve, locator);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for NVE %s", nve->id.s);
        renumbered(d, nve);
        gw_dir_store_nve(d, nve);
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
        if (nve->nve_connected)
                d->effects->drop(nve, "its locator was changed by management", d->user);
        gw_dir_updates_flush(d);
        return 0;
}

/* Each time, thousands are told thousands of members. */
static bool moves_too_often(const struct gw_directory *d, const struct gw_nve *nve, const struct gw_hello *hello) {
        return nve->moved.ns && !gw_list_empty(&nve->members) && !gw_ip_eq(nve->locator, hello->locator) &&
               !gw_mono_reached(d->now.mono, gw_mono_after(nve->moved, gw_ms(GW_DIRECTORY_MOVED_MS)));
}

/* A host says where it is, until VMs depend on it: then it takes a person to say so. */
static int hello_nve(struct gw_directory *d, const struct gw_hello *hello, struct gw_nve **out,
                     struct gw_error *error) {
        struct gw_nve *nve = gw_directory_nve(d, hello->id.s);
        char ours[GW_IP_TEXT], theirs[GW_IP_TEXT];
        bool had;
        int r;

        if ((r = locator_check(d, nve, hello->locator, error)))
                return r;
        if (!nve && (r = gw_directory_nve_create(d, hello->id.s, NULL, &nve, error)))
                return r;
        had = !gw_ip_is_unspecified(nve->locator);
        if (had && nve->n_vms && !gw_ip_eq(nve->locator, hello->locator))
                return gw_fail(error, GW_E_REFUSED, "locator",
                               "locator %s is not that of NVE %s, which is %s and has %u VMs; `godwit nve set` "
                               "changes it",
                               gw_ip_text(hello->locator, theirs), nve->id.s, gw_ip_text(nve->locator, ours),
                               nve->n_vms);
        if (moves_too_often(d, nve, hello))
                return gw_fail(error, GW_E_REFUSED, "locator",
                               "NVE %s said less than %d s ago that it is at %s now; all members of its VNs were told",
                               nve->id.s, GW_DIRECTORY_MOVED_MS / 1000, gw_ip_text(nve->locator, ours));
        if (!gw_ip_eq(nve->locator, hello->locator)) {
                nve->moved = had ? d->now.mono : nve->moved;
                r = gw_dir_nve_set_locator(d, nve, hello->locator);
                if (r < 0)
                        return gw_fail(error, r, "", "no memory for NVE %s", nve->id.s);
                if (had)
                        renumbered(d, nve);
        }
        *out = nve;
        return 0;
}

bool gw_dir_nve_is_gateway(const struct gw_directory *d, const struct gw_nve *nve) {
        return nve->offers_gateway && nve->may_route != GW_PERMIT_NO &&
               (nve->may_route == GW_PERMIT_YES || !d->gateways_listed);
}

void gw_directory_nve_permit(struct gw_directory *d, struct gw_nve *nve, enum gw_permit may_route,
                             enum gw_permit may_claim, struct gw_now now) {
        bool was_gateway = nve->gateway;

        d->now = now;
        nve->may_route = (uint8_t)may_route;
        nve->may_claim = (uint8_t)may_claim;
        nve->gateway = gw_dir_nve_is_gateway(d, nve);
        gw_dir_store_nve(d, nve);
        if (nve->gateway && !was_gateway)
                gw_dir_arrival_hold(d, nve);
        if (nve->gateway)
                gw_dir_departure_end(nve);
        if (was_gateway && !nve->gateway && gw_dir_nve_listens(nve))
                gw_dir_departure_begin(d, nve);
        else if (nve->gateway != was_gateway)
                gw_dir_gateways_review_nve(d, nve);
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
        gw_dir_updates_flush(d);
}

int gw_directory_hello(struct gw_directory *d, const struct gw_hello *hello, struct gw_now now, struct gw_nve **out,
                       struct gw_error *error) {
        struct gw_nve *nve = NULL;
        bool was_gateway;
        int r;

        d->now = now;
        r = hello_nve(d, hello, &nve, error);
        if (r)
                return r;
        if (nve->nve_connected)
                gw_directory_bye(d, nve, now);
        nve->nve_connected = true;
        nve->ways_at = now.mono;
        nve->behind = nve->subscribed = false;
        nve->restart_count = hello->restart_count;
        nve->features = hello->features;
        gw_dir_mtu_told(d, nve, hello->underlay_mtu);
        nve->site = hello->site;
        nve->gateway_cost = hello->gateway_cost;
        was_gateway = nve->gateway;
        nve->offers_gateway = hello->gateway;
        nve->gateway = gw_dir_nve_is_gateway(d, nve);
        if (nve->offers_gateway && !nve->gateway)
                gw_dir_note(d, GW_NOTE_REFUSED,
                            "nve=%s says that it is a gateway, which it may not be; `godwit nve set %s "
                            "--gateway allowed` lets it",
                            nve->id.s, nve->id.s);
        gw_directory_unreached(nve, NULL, 0);
        if (nve->gateway || was_gateway)
                gw_dir_gateways_review_nve(d, nve);
        gw_heap_clear(&d->heap, &nve->timer);
        gw_dir_store_nve(d, nve);
        /* To be told anew with its SUBSCRIBE: before the WELCOME that follows this it expects nothing. */
        gw_ring_for_each (link, &nve->holders)
                gw_container_of(link, struct directory_holder, in_nve)->item.known = false;
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
        gw_dir_updates_flush(d);
        *out = nve;
        return 0;
}

void gw_directory_bye(struct gw_directory *d, struct gw_nve *nve, struct gw_now now) {
        bool was_gateway;

        d->now = now;
        if (!nve->nve_connected)
                return;
        was_gateway = nve->gateway || nve->departs;
        nve->nve_connected = nve->subscribed = nve->departs = nve->told_off = false;
        nve->took_ways = nve->ways_out = nve->ways_held = false;
        gw_dir_updates_abandon(d, nve);
        gw_dir_members_reset(d, nve);
        if (was_gateway)
                gw_dir_gateways_review_nve(d, nve);
        gw_heap_set(&d->heap, &nve->timer, gw_mono_after(now.mono, gw_ms(d->lease_ms)));
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
        gw_dir_updates_flush(d);
}

void gw_directory_absence(struct gw_directory *d, struct gw_nve *nve, const struct gw_absence *absence,
                          struct gw_now now) {
        d->now = now;
        nve->absence = *absence;
        nve->absence_at = now.wall;
        if (absence->cuts || absence->activated || absence->waiting || absence->unanswered)
                gw_dir_note(d, GW_NOTE_INFO,
                            "nve=%s was without us for %llu ms: cuts=%llu activated=%llu registrations_waiting=%llu "
                            "questions_unanswered=%llu redirects_ended=%llu",
                            nve->id.s, (unsigned long long)absence->away_ms, (unsigned long long)absence->cuts,
                            (unsigned long long)absence->activated, (unsigned long long)absence->waiting,
                            (unsigned long long)absence->unanswered, (unsigned long long)absence->redirects_ended);
}

/* It claimed a VM with an epoch that a newer one has overtaken. The newer one stands, whoever says otherwise. */
void gw_dir_nve_conflict(struct gw_directory *d, struct gw_nve *nve, const struct gw_vm *vm, uint64_t claimed) {
        nve->conflicts++;
        nve->conflict.vm = gw_vm_name(vm);
        nve->conflict.claimed = claimed;
        nve->conflict.stands = vm->binding.epoch;
        nve->conflict.at = d->now.wall;
        gw_dir_note(d, GW_NOTE_INFO, "conflict: nve=%s claims vm=%s with epoch=%llu; epoch=%llu at nve=%s stands",
                    nve->id.s, gw_vm_name(vm).s, (unsigned long long)claimed, (unsigned long long)vm->binding.epoch,
                    gw_vm_nve(vm) ? gw_vm_nve(vm)->id.s : "none");
}
