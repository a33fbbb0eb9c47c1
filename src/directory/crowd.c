/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An edge has room for GW_MEMBERS_MAX members of all its VNs together (datapath/bpf/abi.h), and drops what the others
 * send. So no VM is placed where some host would have to know more than that, less what is kept free for
 * gateways, which come without being placed.
 *
 * Each host has the sum of the members of its VNs but itself (nve->n_peers), and each VN the
 * number of its members that are full (vn->n_full). A member that comes or goes changes the sums of the others of
 * its VN, which are walked over then anyway, to be told. A sum that reaches the bound, or
 * leaves it, changes the VNs of that one host. A check looks at sums alone.
 *
 * What is loaded, or subscribed to by an edge itself, is counted and never refused. So is a gateway, which is in every VN that
 * is routed: it makes none of them full, or the first one with too many would have all VNs stand still. Its
 * edge drops what comes from those it has no room for.
 *
 * While the directory is loaded nothing is counted: that would be a walk for each member. All of it is, once, at the end.
 */
#include "directory/crowd.h"

#include "base/error.h"
#include "directory/internal.h"

static bool is_full(const struct gw_directory *d, const struct gw_nve *nve) {
        return nve->n_peers >= d->peers_max;
}

static void note_one(struct gw_vn *vn, const struct gw_nve *nve, bool full) {
        vn->n_full += full ? 1 : -1U;
        if (full)
                vn->full = nve;
        else if (vn->full == nve)
                vn->full = NULL;
}

static bool takes_part(const struct directory_member *m) {
        return !m->gone && !m->routes;
}

static void note_full(struct gw_nve *nve, bool full) {
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (takes_part(m))
                        note_one(m->vn, nve, full);
        }
}

static void count(const struct gw_directory *d, struct gw_nve *nve, uint32_t change) {
        bool before = is_full(d, nve);

        nve->n_peers += change;
        if (is_full(d, nve) != before)
                note_full(nve, !before);
}

static struct gw_directory *directory_of(const struct directory_member *m) {
        return m->vn->tenant->directory;
}

static void count_others(const struct gw_directory *d, const struct directory_member *m, uint32_t change) {
        gw_list_for_each (link, &m->vn->members) {
                struct directory_member *other = gw_list_entry(link, struct directory_member, in_vn);

                if (other != m && !other->gone)
                        count(d, gw_dir_item_nve(&other->item), change);
        }
}

void gw_dir_crowd_joined(struct directory_member *m) {
        const struct gw_directory *d = directory_of(m);
        struct gw_nve *nve = gw_dir_item_nve(&m->item);

        if (d->loading)
                return;
        if (!m->routes && is_full(d, nve))
                note_one(m->vn, nve, true);
        count(d, nve, m->vn->n_members - 1);
        count_others(d, m, 1);
}

void gw_dir_crowd_left(struct directory_member *m) {
        const struct gw_directory *d = directory_of(m);
        struct gw_nve *nve = gw_dir_item_nve(&m->item);

        if (d->loading)
                return;
        if (!m->routes && is_full(d, nve))
                note_one(m->vn, nve, false);
        count(d, nve, -m->vn->n_members);
        count_others(d, m, -1U);
}

void gw_dir_crowd_routes(struct directory_member *m, bool routes) {
        const struct gw_directory *d = directory_of(m);
        struct gw_nve *nve = gw_dir_item_nve(&m->item);

        if (m->routes != routes && !m->gone && !d->loading && is_full(d, nve))
                note_one(m->vn, nve, !routes);
        m->routes = routes;
}

static void count_members(struct gw_vn *vn) {
        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (!m->gone)
                        gw_dir_item_nve(&m->item)->n_peers += vn->n_members - 1;
        }
}

void gw_dir_crowd_count(struct gw_directory *d) {
        struct gw_nve *nve = NULL;
        struct gw_vn *vn = NULL;

        while ((nve = gw_directory_nve_after(d, nve ? nve->id.s : NULL)))
                nve->n_peers = 0;
        while ((vn = gw_directory_vn_after(d, vn ? vn->id.s : NULL))) {
                vn->n_full = 0;
                vn->full = NULL;
                count_members(vn);
        }
        while ((nve = gw_directory_nve_after(d, nve ? nve->id.s : NULL)))
                if (is_full(d, nve))
                        note_full(nve, true);
}

void gw_dir_crowd_end(struct gw_vn *vn) {
        uint32_t others = vn->n_members - 1;

        gw_list_for_each (link, &vn->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->gone)
                        continue;
                if (!vn->tenant->directory->loading)
                        count(vn->tenant->directory, gw_dir_item_nve(&m->item), -others);
                m->gone = true;
                vn->n_gone++;
        }
        vn->n_members = vn->n_full = 0;
        vn->full = NULL;
}

/* Of two ports in one VN the first counts. */
static bool is_first(const struct gw_vm *vm, const struct gw_port *port) {
        for (const struct gw_port *other = gw_vm_ports(vm); other != port; other = gw_port_next(other))
                if (gw_port_vn(other) == gw_port_vn(port))
                        return false;
        return true;
}

int gw_dir_crowd_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                       struct gw_error *error) {
        uint64_t more = 0;

        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                const struct gw_vn *vn = gw_port_vn(port);

                if (gw_dir_member_is(d, vn, nve) || !is_first(vm, port))
                        continue;
                if (vn->n_full)
                        return gw_fail(
                                error, GW_E_CONFLICT, "nve",
                                "VN %s is on %u hosts that have %u members in all their VNs, the most allowed%s%s; "
                                "%s would be one more",
                                vn->id.s, vn->n_full, d->peers_max, vn->full ? ", such as " : "",
                                vn->full ? vn->full->id.s : "", nve->id.s);
                more += vn->n_members;
        }
        if (more && nve->n_peers + more > d->peers_max)
                return gw_fail(error, GW_E_CONFLICT, "nve",
                               "%s has %u members in all its VNs, and VM %s would bring %llu; %u are allowed",
                               nve->id.s, nve->n_peers, gw_vm_name(vm).s, (unsigned long long)more, d->peers_max);
        return 0;
}
