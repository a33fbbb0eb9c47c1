/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway that comes, and from when on it is used; one that may be none any more, and until when it goes on.
 *
 * To be a gateway of a VN is a matter of three parties: the gateway must take frames of the VN's members, those that it
 * routes to must take its frames, and only then may anybody use it. A gateway that was used at once dropped what came
 * from members that it had not been told yet, while another one was there that had them all.
 *
 * So others are told at once that it is a gateway, and that it lives only when of every VN that it routes it has confirmed
 * the list of members, and everybody who listens there has confirmed it. Its ways are in its data plane by then: it
 * subscribes to a VN after it has written them (nve/gateway.c). All its VNs count, since what comes in by one leaves by
 * another. A VN that is routed later waits for itself; those that live stay so. With a session all of that
 * begins anew: the host may have been started anew.
 *
 * The other way round, one that is forbidden goes on, and the members go on taking its frames, until all of them have confirmed that
 * it is not to be used; then it is no gateway for them any more, and is told so.
 *
 * Looked at every GW_DIRECTORY_ARRIVAL_MS until it has arrived, or is left. A turn looks at LOOKS members, and goes on with the first VN
 * that was not done. Who does not confirm falls behind (update.c) and is not waited for any more.
 */
#include "directory/internal.h"

enum { LOOKS = 65536 };

static bool is_known(const struct directory_member *gateway, size_t *looks) {
        gw_list_for_each (link, &gateway->vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                *looks += 1;
                if (m != gateway && gw_dir_member_receives(m) && m->known_members < gateway->changed)
                        return false;
        }
        return true;
}

/* Of all its VNs; false: it is to be looked at again. */
static bool is_confirmed(const struct gw_nve *nve) {
        size_t looks = 0;

        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (m->ready || !m->routes)
                        continue;
                if (looks >= LOOKS || (!nve->departs && !(m->listening && m->known_all)) || !is_known(m, &looks))
                        return false;
                m->ready = true;
        }
        return true;
}

void gw_dir_arrival_begin(struct gw_directory *d, struct gw_nve *nve) {
        if (!nve->arrival.place)
                gw_heap_set(&d->heap, &nve->arrival, gw_mono_after(d->now.mono, gw_ms(GW_DIRECTORY_ARRIVAL_MS)));
}

static void serve(struct gw_directory *d, struct gw_nve *nve) {
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (!m->routes || m->serves)
                        continue;
                m->serves = true;
                gw_dir_member_touch(d, m);
        }
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
}

void gw_dir_departure_begin(struct gw_directory *d, struct gw_nve *nve) {
        nve->departs = true;
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                gw_dir_arrival_void(m);
                if (m->routes)
                        gw_dir_member_touch(d, m);
        }
        gw_dir_arrival_begin(d, nve);
}

void gw_dir_departure_end(struct gw_nve *nve) {
        if (!nve->departs)
                return;
        nve->departs = false;
        gw_list_for_each (link, &nve->members)
                gw_dir_arrival_void(gw_list_entry(link, struct directory_member, in_nve));
}

static void departed(struct gw_directory *d, struct gw_nve *nve) {
        nve->departs = false;
        gw_dir_gateways_review_nve(d, nve);
        if (d->effects->gateway_left)
                d->effects->gateway_left(nve, d->user);
}

void gw_dir_arrival_look(struct gw_directory *d, struct gw_nve *nve) {
        if (!gw_dir_nve_listens(nve) || (!nve->gateway && !nve->departs))
                return;
        if (!is_confirmed(nve))
                return gw_dir_arrival_begin(d, nve);
        if (nve->departs)
                departed(d, nve);
        else
                serve(d, nve);
}

void gw_dir_arrival_void(struct directory_member *m) {
        m->ready = m->serves = false;
}
