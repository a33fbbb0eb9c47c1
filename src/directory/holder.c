/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holders: NVEs outside of what is pushed that were told where a VM is, because
 * they asked, talked to it, or were seen sending to where it no longer is. Until
 * the lifetime of what they were told ends they are told of each change.
 *
 * All lifetimes are alike, so the list of all holders in the order of their
 * making or renewal is also the order in which they expire.
 *
 * A former place of a VM knows where it went from its cut, and so is a holder too.
 *
 * A holder of a VM is told of its ports in VNs that the NVE is a member of. One
 * that has left them all stays a holder, and not known, in case it comes back.
 */
#include "directory/internal.h"

struct directory_holder *gw_dir_holder_find(const struct gw_directory *d, const struct gw_vm *vm,
                                            const struct gw_nve *nve) {
        struct directory_item *item = gw_dir_item_find(d, vm, nve);

        return item ? gw_container_of(item, struct directory_holder, item) : NULL;
}

/* Finds or makes it, and renews its lifetime. */
struct directory_holder *gw_dir_holder_get(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve) {
        struct gw_mono expires = gw_mono_after(d->now.mono, gw_ms(GW_DIRECTORY_HOLD_MS + GW_DIRECTORY_HOLD_SLACK_MS));
        struct directory_holder *h = gw_dir_holder_find(d, vm, nve);

        if (!h) {
                h = gw_slab_new(&d->slab, sizeof *h);
                if (!h || gw_dir_item_add(d, &h->item, ITEM_HOLDER, vm, nve) < 0) {
                        gw_slab_free(&d->slab, h, sizeof *h);
                        return NULL;
                }
                gw_chain_push(&vm->holders, &h->in_vm);
                gw_ring_append(&nve->holders, &h->in_nve);
        }
        /* Who asks again at once is not moved to the end of the list again at once. */
        if (h->expires.ns + GW_NS_PER_S > expires.ns)
                return h;
        h->expires = expires;
        gw_list_remove(&h->in_all);
        gw_list_append(&d->holders, &h->in_all);
        return h;
}

void gw_dir_holder_free(struct gw_directory *d, struct directory_holder *h) {
        gw_dir_item_remove(d, &h->item);
        gw_chain_remove(&gw_dir_holder_vm(h)->holders, &h->in_vm);
        gw_ring_remove(&h->in_nve);
        gw_list_remove(&h->in_all);
        gw_slab_free(&d->slab, h, sizeof *h);
}

void gw_dir_holder_dirty(struct gw_directory *d, struct directory_holder *h) {
        h->item.known = false;
        if (gw_dir_nve_listens(gw_dir_item_nve(&h->item)))
                gw_dir_item_dirty(d, &h->item);
}

bool gw_dir_holder_concerned(const struct gw_directory *d, const struct directory_holder *h) {
        for (const struct gw_port *port = gw_vm_ports(gw_dir_holder_vm(h)); port; port = gw_port_next(port))
                if (gw_dir_member_is(d, gw_port_vn(port), gw_dir_item_nve(&h->item)))
                        return true;
        return false;
}

void gw_dir_holders_again(struct gw_directory *d, struct gw_nve *nve) {
        gw_ring_for_each (link, &nve->holders) {
                struct directory_holder *h = gw_container_of(link, struct directory_holder, in_nve);

                d->work++;
                if (!h->item.known && !gw_list_linked(&h->item.link))
                        gw_dir_holder_dirty(d, h);
        }
}

bool gw_dir_holder_fill(struct gw_directory *d, struct directory_holder *h) {
        struct gw_directory_scratch *s = d->scratch;

        if (s->n_mappings + gw_dir_holder_vm(h)->n_ports > BATCH_MAPPINGS)
                return false;
        for (const struct gw_port *port = gw_vm_ports(gw_dir_holder_vm(h)); port; port = gw_port_next(port))
                if (gw_dir_member_is(d, gw_port_vn(port), gw_dir_item_nve(&h->item)))
                        gw_directory_mapping(port, &s->mappings[s->n_mappings++]);
        return true;
}

void gw_dir_holders_expire(struct gw_directory *d) {
        while (!gw_list_empty(&d->holders)) {
                struct directory_holder *h = gw_list_entry(d->holders.next, struct directory_holder, in_all);

                if (!gw_mono_reached(d->now.mono, h->expires))
                        break;
                d->counters.lapsed += !h->item.known;
                gw_dir_holder_free(d, h);
        }
}

/* --- answers --- */

/* A member is told with a FLUSH when there is somebody new in the VN, so it may believe for longer. */
static void negative(struct gw_directory *d, struct directory_member *m, const struct gw_query *query,
                     struct gw_mapping *out) {
        bool told = m && !m->gone && m->listening;

        *out = (struct gw_mapping){.vni = query->vni,
                                   .state = GW_MAPPING_ABSENT,
                                   .lifetime_ms = told ? GW_DIRECTORY_NEGATIVE_MS : GW_DIRECTORY_UNKNOWN_MS};
        if (told)
                m->vn->negative_until = m->negative_until =
                        gw_mono_after(d->now.mono, gw_ms(GW_DIRECTORY_NEGATIVE_MS + GW_DIRECTORY_UNKNOWN_MS));
        d->counters.answers_negative++;
        if (query->by_mac)
                out->mac = query->mac;
        else
                out->ips[out->n_ips++] = query->ip;
}

void gw_directory_query(struct gw_directory *d, struct gw_nve *nve, const struct gw_query *query, struct gw_now now,
                        struct gw_mapping *out) {
        struct directory_member *m;
        struct directory_holder *h;
        struct gw_port *port;
        struct gw_vn *vn;

        d->now = now;
        port = query->by_mac ? gw_directory_port_by_mac(d, query->vni, query->mac)
                             : gw_directory_port_by_ip(d, query->vni, query->ip);
        vn = port ? gw_port_vn(port) : gw_directory_vn_by_vni(d, query->vni);
        m = vn ? gw_dir_member_find(d, vn, nve) : NULL;
        if (!port || !m || m->gone) {
                if (port)
                        gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s asks in vn=%s, which it is not a member of", nve->id.s,
                                    gw_port_vn(port)->id.s);
                negative(d, m, query, out);
                return;
        }
        gw_directory_mapping(port, out);
        d->counters.answers_positive += out->state == GW_MAPPING_SERVING;
        d->counters.answers_negative += out->state != GW_MAPPING_SERVING;
        if (gw_port_vn(port)->push && m->listening)
                return;
        if (out->lifetime_ms > GW_DIRECTORY_HOLD_MS)
                out->lifetime_ms = GW_DIRECTORY_HOLD_MS; /* as long as it counts as a holder */
        h = gw_dir_holder_get(d, gw_port_vm(port), nve);
        if (!h)
                out->lifetime_ms = GW_DIRECTORY_UNKNOWN_MS; /* nobody will tell it of a change */
        else if (!gw_list_linked(&h->item.link))
                h->item.known = true;
}

bool gw_directory_vm_was_at(const struct gw_vm *vm, const struct gw_nve *nve) {
        const struct gw_binding *b = &vm->binding;

        if (nve == gw_binding_nve(b) || gw_directory_move_ends_at(b, nve))
                return true;
        for (unsigned i = 0; i < gw_binding_n_previous(b); i++)
                if (gw_ip_eq(gw_binding_previous(b)[i].locator, nve->locator))
                        return true;
        return false;
}

bool gw_directory_vn_was_at(struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve) {
        const struct gw_ring *link = gw_ring_prev(&vn->ports);

        for (unsigned looks = 0; link != &vn->ports && looks < GW_WAS_AT_LOOKS; link = gw_ring_prev(link), looks++) {
                d->work++;
                if (gw_directory_vm_was_at(gw_port_vm(gw_container_of(link, struct gw_port, in_vn)), nve))
                        return true;
        }
        return false;
}

void gw_dir_holder_tell(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, bool again) {
        struct directory_holder *h;
        bool told = true, concerned = false;

        if (nve == gw_vm_nve(vm))
                return;
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                const struct directory_member *m = gw_dir_member_find(d, gw_port_vn(port), nve);

                if (!m || m->gone)
                        continue;
                concerned = true;
                told = told && gw_port_vn(port)->push && m->listening;
        }
        if (!concerned || (told && !again))
                return;
        h = gw_dir_holder_get(d, vm, nve);
        if (h && !gw_list_linked(&h->item.link))
                gw_dir_holder_dirty(d, h);
}

/* Who talks to a VM is told of its next place before those who only know where it is. */
static void holder_first(const struct gw_directory *d, struct gw_vm *vm, const struct gw_nve *nve) {
        struct directory_holder *h = gw_dir_holder_find(d, vm, nve);

        if (!h)
                return;
        gw_chain_remove(&vm->holders, &h->in_vm);
        gw_chain_push(&vm->holders, &h->in_vm);
}

int gw_directory_report(struct gw_directory *d, struct gw_nve *nve, const struct gw_report *report, struct gw_now now) {
        struct gw_vm *vm = gw_directory_vm(d, report->vm.s);
        struct gw_nve *talker;

        d->now = now;
        if (!vm || !gw_directory_vm_was_at(vm, nve)) {
                gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s reports on vm=%s, which is not and was not there", nve->id.s,
                            report->vm.s);
                return GW_E_REFUSED;
        }
        if (report->kind == GW_REPORT_ANNOUNCEMENT_REFUSED) {
                gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s vm=%s announced a MAC or an address that is not its own",
                            nve->id.s, gw_vm_name(vm).s);
                return 0;
        }
        if (report->kind == GW_REPORT_REDIRECT_ENDED) {
                gw_dir_holder_tell(d, vm, nve, true); /* from now on it sends like anybody, to where it believes */
                gw_dir_notice_redirect_ended(d, vm, nve->locator, report->redirected);
        }
        d->work += report->n_locators * (uint64_t)GW_WORK_OF_UPDATE;
        for (unsigned i = 0; i < report->n_locators; i++) {
                talker = gw_directory_nve_by_locator(d, report->locators[i]);
                if (!talker || report->kind == GW_REPORT_REDIRECT_ENDED)
                        continue;
                gw_dir_holder_tell(d, vm, talker, report->kind == GW_REPORT_STALE_SENDERS);
                holder_first(d, vm, talker);
        }
        gw_dir_updates_flush(d);
        return 0;
}
