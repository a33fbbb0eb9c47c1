/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who has not confirmed: of a VM's place, of a VN's members, of all that a VN's
 * edges are to know. Counted when asked for, from what each member (member.c) and
 * each holder (holder.c) has confirmed; nothing is kept for it. Those that listen
 * are waited for; those that are away are counted apart, since they are told all
 * of it when they come back.
 */
#include "directory/internal.h"

static void count(struct gw_directory_pending *pending, const struct directory_member *m) {
        if (gw_dir_member_receives(m))
                pending->waiting++;
        else
                pending->away++;
}

/* It is about to come, or lingers: it has no port in the VN and has dropped what it knew of it. */
static bool is_blank(const struct directory_member *m) {
        return !m->listening && gw_dir_item_nve(&m->item)->subscribed && gw_dir_nve_listens(gw_dir_item_nve(&m->item));
}

/* The others must take frames from the target, and the target from them. */
struct gw_directory_pending gw_directory_pending_members(const struct gw_directory *d, const struct gw_vm *vm) {
        struct gw_directory_pending pending = {0};
        const struct gw_nve *to = gw_vm_move(vm) ? gw_vm_move(vm)->to : NULL;

        for (const struct gw_port *port = gw_vm_ports(vm); port && to; port = gw_port_next(port)) {
                const struct directory_member *target = gw_dir_member_find(d, gw_port_vn(port), to);

                gw_list_for_each (link, &gw_port_vn(port)->members) {
                        const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                        if (!m->gone && (m == target ? !gw_dir_member_knows_members(m)
                                                     : m->known_members < target->changed && !is_blank(m)))
                                count(&pending, m);
                }
        }
        return pending;
}

static void count_port(struct gw_directory *d, const struct gw_port *port, struct gw_directory_pending *pending) {
        gw_list_for_each (link, &gw_port_vn(port)->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->gone || gw_dir_item_nve(&m->item) == gw_vm_nve(gw_port_vm(port)) ||
                    m->known_ports >= port->changed || gw_dir_item_nve(&m->item)->mark == d->mark || is_blank(m))
                        continue;
                gw_dir_item_nve(&m->item)->mark = d->mark;
                count(pending, m);
        }
}

/* False: enough was looked at. */
static bool count_holders(struct gw_directory *d, const struct gw_vm *vm, struct gw_directory_vn_confirmations *all,
                          unsigned *looks) {
        gw_chain_for_each (link, &vm->holders) {
                const struct directory_holder *h = gw_container_of(link, struct directory_holder, in_vm);

                if (!(*looks)--)
                        return false;
                if (gw_dir_item_nve(&h->item) == gw_vm_nve(vm) || !gw_dir_holder_concerned(d, h))
                        continue;
                all->holders++;
                if (!h->item.known && gw_dir_nve_listens(gw_dir_item_nve(&h->item)))
                        all->waiting++;
                else if (!h->item.known)
                        all->away++;
        }
        return (*looks)-- > 0;
}

struct gw_directory_vn_confirmations gw_directory_vn_confirmations(struct gw_directory *d, const struct gw_vn *vn) {
        struct gw_directory_vn_confirmations all = {.complete = true};
        unsigned looks = GW_CONFIRMATIONS_LOOKS;

        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->gone || is_blank(m))
                        continue;
                all.holders++;
                if (!gw_dir_member_receives(m))
                        all.away++;
                else if (!gw_dir_member_complete(m))
                        all.waiting++;
        }
        for (const struct gw_ring *link = gw_ring_prev(&vn->ports); link != &vn->ports && all.complete;
             link = gw_ring_prev(link))
                all.complete = count_holders(d, gw_port_vm(gw_container_of(link, struct gw_port, in_vn)), &all, &looks);
        return all;
}

struct gw_directory_pending gw_directory_pending(struct gw_directory *d, const struct gw_vm *vm) {
        struct gw_directory_pending pending = {0};

        d->mark++;
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (gw_port_vn(port)->push)
                        count_port(d, port, &pending);
        gw_chain_for_each (link, &vm->holders) {
                const struct directory_holder *h = gw_container_of(link, struct directory_holder, in_vm);

                if (h->item.known || gw_dir_item_nve(&h->item) == gw_vm_nve(vm) ||
                    gw_dir_item_nve(&h->item)->mark == d->mark || !gw_dir_holder_concerned(d, h))
                        continue;
                gw_dir_item_nve(&h->item)->mark = d->mark;
                if (gw_dir_nve_listens(gw_dir_item_nve(&h->item)))
                        pending.waiting++;
                else
                        pending.away++;
        }
        return pending;
}
