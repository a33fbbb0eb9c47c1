/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Members of VNs, and what they are told.
 *
 * An NVE is a member of a VN while a VM with a port there is placed on it or is
 * about to move to or from it (planned), or while its last SUBSCRIBE named the
 * VN (attached). Placement is in the store, so that a restart of the NVA loses
 * no member. One that leaves stays a member for GW_DIRECTORY_LINGER_MS: frames
 * that it redirects or has sent are on the way, and would be dropped.
 *
 * What a member is told is kept without a record per (member, fact): the VN
 * numbers its changes; its members and its ports with a mapping are in lists in
 * the order of their last change; a receiver remembers up to which change it
 * has confirmed each list. So an update is a walk from there to the end.
 *
 * Mappings go to all members while a VN is small (vn->push, RFC 7067's push);
 * beyond, only to those that asked (holder.c, its pull). RFC 8171 is the model.
 */
#include "directory/crowd.h"
#include "directory/internal.h"

#include <errno.h>
#include <stdlib.h>

struct directory_member *gw_dir_member_find(const struct gw_directory *d, const struct gw_vn *vn,
                                            const struct gw_nve *nve) {
        struct directory_item *item = gw_dir_item_find(d, vn, nve);

        return item ? gw_container_of(item, struct directory_member, item) : NULL;
}

bool gw_dir_member_is(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve) {
        const struct directory_member *m = gw_dir_member_find(d, vn, nve);

        return m && !m->gone;
}

bool gw_directory_is_member(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve) {
        return gw_dir_member_is(d, vn, nve);
}

struct gw_nve *gw_directory_member_after(const struct gw_vn *vn, const struct gw_nve *nve) {
        struct gw_nve *best = NULL;

        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->gone || (nve && strcmp(gw_dir_item_nve(&m->item)->id.s, nve->id.s) <= 0))
                        continue;
                if (!best || strcmp(gw_dir_item_nve(&m->item)->id.s, best->id.s) < 0)
                        best = gw_dir_item_nve(&m->item);
        }
        return best;
}

bool gw_dir_member_receives(const struct directory_member *m) {
        return m->listening && gw_dir_nve_listens(gw_dir_item_nve(&m->item));
}

static void receivers_dirty(struct gw_directory *d, const struct gw_vn *vn) {
        gw_list_for_each (link, &vn->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (gw_dir_member_receives(m))
                        gw_dir_item_dirty(d, &m->item);
        }
}

/* It came or went, or is another as a gateway. */
void gw_dir_member_touch(struct gw_directory *d, struct directory_member *m) {
        struct gw_vn *vn = m->vn;

        m->changed = ++vn->change;
        gw_list_remove(&m->in_vn);
        gw_list_append(&vn->members, &m->in_vn);
        receivers_dirty(d, vn);
        gw_dir_changed(d, GW_OBJECT_VN, vn->id.s, false);
}

/* Somebody is there who was not known before: what was answered to questions for it no longer holds. */
static void flush_negatives(struct gw_directory *d, const struct gw_vn *vn) {
        if (vn->negative_until.ns <= d->now.mono.ns)
                return;
        gw_list_for_each (link, &vn->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->negative_until.ns > d->now.mono.ns)
                        gw_dir_member_flush(d, m, FLUSH_NEGATIVE);
        }
}

void gw_dir_vn_touch_port(struct gw_directory *d, struct gw_port *port) {
        struct gw_vn *vn = gw_port_vn(port);

        if (!port->changed)
                flush_negatives(d, vn);
        port->changed = ++vn->change;
        gw_ring_remove(&port->in_vn);
        gw_ring_append(&vn->ports, &port->in_vn);
        if (vn->push)
                receivers_dirty(d, vn);
}

void gw_dir_vn_set(struct gw_directory *d, struct gw_vn *vn) {
        vn->set = ++vn->change;
        receivers_dirty(d, vn);
}

static int member_get(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve, struct directory_member **out) {
        struct directory_member *m = gw_dir_member_find(d, vn, nve);

        if (!m) {
                m = gw_slab_new(&d->slab, sizeof *m);
                if (!m || gw_heap_promise(&d->heap) < 0)
                        goto no_memory;
                if (gw_dir_item_add(d, &m->item, ITEM_MEMBER, vn, nve) < 0)
                        goto no_item;
                m->vn = vn;
                m->timer.kind = TIMER_MEMBER;
                m->gone = true; /* until its caller says why it is one */
                vn->n_gone++;
                gw_list_append(&vn->members, &m->in_vn);
                gw_list_append(&nve->members, &m->in_nve);
        }
        *out = m;
        return 0;

no_item:
        gw_heap_forget(&d->heap, &m->timer);
no_memory:
        gw_slab_free(&d->slab, m, sizeof *m);
        return -ENOMEM;
}

void gw_dir_member_free(struct gw_directory *d, struct directory_member *m) {
        if (m->gone) {
                m->vn->n_gone--;
        } else {
                m->gone = true;
                m->vn->n_members--;
                gw_dir_crowd_left(m);
        }
        gw_dir_item_remove(d, &m->item);
        gw_heap_forget(&d->heap, &m->timer);
        gw_list_remove(&m->in_vn);
        gw_list_remove(&m->in_nve);
        free(m->patch);
        gw_slab_free(&d->slab, m, sizeof *m);
}

static void member_enter(struct gw_directory *d, struct directory_member *m) {
        gw_heap_clear(&d->heap, &m->timer);
        if (!m->gone)
                return;
        m->gone = false;
        m->vn->n_gone--;
        m->vn->n_members++;
        gw_dir_crowd_joined(m);
        gw_dir_member_touch(d, m);
        gw_dir_holders_again(d, gw_dir_item_nve(&m->item)); /* some may concern it again */
}

/* Has it a reason left? If not it goes, later. */
static void member_review(struct gw_directory *d, struct directory_member *m) {
        if (!m->gone && !m->planned && !m->attached && !m->timer.place)
                gw_heap_set(&d->heap, &m->timer, gw_mono_after(d->now.mono, gw_ms(GW_DIRECTORY_LINGER_MS)));
}

/* Those that went are forgotten when everyone who could know them has confirmed it. */
static void collect(struct gw_directory *d, struct gw_vn *vn) {
        uint64_t confirmed = UINT64_MAX;

        if (!vn->n_gone)
                return;
        gw_list_for_each (link, &vn->members) {
                const struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                /* 0: it will be told the whole list anyway. */
                if (gw_dir_member_receives(m) && m->known_members && m->known_members < confirmed)
                        confirmed = m->known_members;
        }
        gw_list_for_each (link, &vn->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                if (m->gone && m->changed <= confirmed)
                        gw_dir_member_free(d, m);
        }
}

void gw_dir_member_expired(struct gw_directory *d, struct directory_member *m) {
        struct gw_vn *vn = m->vn;

        if (m->gone || m->planned || m->attached)
                return;
        m->gone = true;
        m->listening = false;
        gw_dir_item_clean(d, &m->item);
        vn->n_gone++;
        vn->n_members--;
        gw_dir_crowd_left(m);
        gw_dir_member_touch(d, m);
        collect(d, vn);
}

int gw_dir_member_plan(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve) {
        struct directory_member *m;
        int r = member_get(d, vn, nve, &m);

        if (r < 0)
                return r;
        m->planned++;
        member_enter(d, m);
        return 0;
}

void gw_dir_member_unplan(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve) {
        struct directory_member *m = gw_dir_member_find(d, vn, nve);

        m->planned--;
        member_review(d, m);
}

bool gw_dir_member_knows_members(const struct directory_member *m) {
        const struct directory_member *last = gw_list_entry(m->vn->members.prev, struct directory_member, in_vn);

        return m->known_all && m->known_members >= last->changed && m->known_members >= m->vn->set;
}

bool gw_dir_member_complete(const struct directory_member *m) {
        const struct gw_vn *vn = m->vn;
        const struct gw_port *port;

        if (!gw_dir_member_knows_members(m) || m->flush)
                return false;
        if (!vn->push)
                return true;
        if (!m->known_final)
                return false;
        if (gw_ring_empty(&vn->ports))
                return true;
        port = gw_container_of(gw_ring_prev(&vn->ports), struct gw_port, in_vn);
        return m->known_ports >= port->changed;
}

void gw_dir_member_confirmed(struct gw_directory *d, struct directory_member *m) {
        m->known_members = m->sent_members;
        m->known_all |= m->sent_all;
        m->known_ports = m->sent_ports;
        m->known_final |= m->sent_final;
        if (m->patch && m->known_ports >= m->patch->as_of) {
                free(m->patch);
                m->patch = NULL;
        }
        if (!gw_dir_member_complete(m))
                gw_dir_item_dirty(d, &m->item);
        collect(d, m->vn);
}

static void put_member(struct gw_directory_scratch *s, const struct directory_member *m, const struct gw_nve *to) {
        struct gw_member *out = &s->members[s->n_members++];

        *out = (struct gw_member){.vni = m->vn->vni, .locator = gw_dir_item_nve(&m->item)->locator, .gone = m->gone};
        if (!m->gone)
                gw_dir_gateway_role(m, to, out);
}

static void put_mark(struct gw_directory_scratch *s, const struct gw_vn *vn, bool more, bool final) {
        s->members[s->n_members++] = (struct gw_member){.vni = vn->vni, .gone = true, .more = more, .final = final};
}

/* The whole list, after a mark that it is. Of one too long for one frame, as much as fits: the rest follows as news
 * does, and then a mark that it was all. */
static bool fill_all_members(struct gw_directory_scratch *s, struct directory_member *m) {
        const struct gw_vn *vn = m->vn;
        bool whole = vn->n_members < BATCH_MEMBERS;

        if (whole && s->n_members + vn->n_members + 1 > BATCH_MEMBERS)
                return false;
        put_mark(s, vn, !whole, false);
        m->sent_members = 0;
        gw_list_for_each (link, &vn->members) {
                const struct directory_member *other = gw_list_entry(link, struct directory_member, in_vn);

                if (s->n_members == BATCH_MEMBERS)
                        return true;
                if (other != m && !other->gone)
                        put_member(s, other, gw_dir_item_nve(&m->item));
                m->sent_members = other->changed;
        }
        m->sent_members = vn->change;
        m->sent_all = whole;
        return true;
}

/* Settings are told with the members, and confirmed with them. */
static void fill_settings(struct gw_directory_scratch *s, const struct directory_member *m) {
        const struct gw_vn *vn = m->vn;

        if (!m->known_members || vn->set > m->known_members) {
                s->vns[s->n_vns] = vn->settings;
                s->vns[s->n_vns++].vni = vn->vni;
        }
}

static bool fill_members(struct gw_directory_scratch *s, struct directory_member *m) {
        const struct gw_list *head = &m->vn->members, *at = head->prev;

        m->sent_all = m->known_all;
        if (!m->known_members)
                return fill_all_members(s, m);
        while (at != head && gw_list_entry(at, struct directory_member, in_vn)->changed > m->known_members)
                at = at->prev;
        m->sent_members = m->known_members;
        for (at = at->next; at != head; at = at->next) {
                const struct directory_member *other = gw_list_entry(at, struct directory_member, in_vn);

                if (s->n_members == BATCH_MEMBERS)
                        return true;
                if (other != m)
                        put_member(s, other, gw_dir_item_nve(&m->item));
                m->sent_members = other->changed;
        }
        if (!m->known_all && s->n_members == BATCH_MEMBERS)
                return true;
        if (!m->known_all)
                put_mark(s, m->vn, false, true);
        m->sent_all = true;
        m->sent_members = m->vn->change;
        return true;
}

/* Where a VM is placed and not registered yet, its NVE is not told that it is nowhere. */
static bool concerns(const struct gw_port *port, const struct gw_nve *nve) {
        const struct gw_binding *b = &gw_port_vm(port)->binding;

        return !(gw_binding_nve(b) == nve && !gw_dir_reachable(b));
}

bool gw_dir_member_has_long_list(const struct directory_member *m) {
        const struct gw_list *head = &m->vn->members, *at = head->prev;
        size_t n = 0;

        if (!m->known_members)
                return m->vn->n_members > LONG_LIST;
        while (n <= LONG_LIST && at != head &&
               gw_list_entry(at, struct directory_member, in_vn)->changed > m->known_members)
                at = at->prev, n++;
        return n > LONG_LIST;
}

/* After the last mapping: that it was the last, and whether others do not exist. */
static void fill_final(struct gw_directory_scratch *s, struct directory_member *m) {
        m->sent_final = m->known_final;
        if (m->known_final || s->n_members == BATCH_MEMBERS)
                return;
        s->members[s->n_members++] = (struct gw_member){.vni = m->vn->vni, .final = m->vn->model == GW_VN_PUSH};
        m->sent_final = true;
}

static void fill_ports(struct gw_directory_scratch *s, struct directory_member *m) {
        const struct gw_ring *head = &m->vn->ports, *at = gw_ring_prev(head);

        m->sent_ports = m->known_ports;
        m->sent_final = false;
        if (!m->vn->push)
                return;
        while (at != head && gw_container_of(at, struct gw_port, in_vn)->changed > m->known_ports)
                at = gw_ring_prev(at);
        for (at = gw_ring_next(at); at != head; at = gw_ring_next(at)) {
                const struct gw_port *port = gw_container_of(at, struct gw_port, in_vn);

                if (s->n_mappings == BATCH_MAPPINGS)
                        return;
                if (concerns(port, gw_dir_item_nve(&m->item)) && !gw_dir_patch_covers(m, port))
                        gw_directory_mapping(port, &s->mappings[s->n_mappings++]);
                m->sent_ports = port->changed;
        }
        m->sent_ports = m->vn->change;
        fill_final(s, m);
}

bool gw_dir_member_fill(struct gw_directory *d, struct directory_member *m) {
        struct gw_directory_scratch *s = d->scratch;

        if (s->n_vns == BATCH_VNS || !fill_members(s, m))
                return false;
        fill_settings(s, m);
        fill_ports(s, m);
        return true;
}

/* --- an NVE's session --- */

void gw_dir_members_reset(struct gw_directory *d, struct gw_nve *nve) {
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                m->listening = false;
                gw_dir_arrival_void(m);
                m->flush = 0; /* a new session begins without negative answers */
                m->negative_until = (struct gw_mono){0};
                free(m->patch);
                m->patch = NULL;
                gw_dir_item_clean(d, &m->item);
                collect(d, m->vn);
        }
}

void gw_dir_members_forget(struct gw_directory *d, struct gw_nve *nve) {
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                m->attached = false;
                member_review(d, m);
        }
}

/* All members are told to it, from the beginning. */
static void list_again(struct directory_member *m) {
        m->known_members = 0;
        m->known_all = false;
}

void gw_dir_member_renumbered(struct gw_directory *d, struct directory_member *m) {
        gw_list_for_each (link, &m->vn->members)
                list_again(gw_list_entry(link, struct directory_member, in_vn));
        receivers_dirty(d, m->vn);
}

static void subscribe_one(struct gw_directory *d, struct gw_nve *nve, uint32_t vni) {
        struct gw_vn *vn = gw_directory_vn_by_vni(d, vni);
        struct directory_member *m;

        if (!vn) {
                gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s subscribes to VNI %u, which no VN has", nve->id.s, vni);
                return;
        }
        if (member_get(d, vn, nve, &m) < 0) {
                gw_dir_note(d, GW_NOTE_BEHIND, "nve=%s vn=%s no memory for its subscription", nve->id.s, vn->id.s);
                return;
        }
        m->named = m->attached = true;
        if (!m->listening) {
                m->listening = true;
                list_again(m);
                m->known_ports = 0;
                m->known_final = false;
        }
        member_enter(d, m);
        if (!gw_dir_member_complete(m))
                gw_dir_item_dirty(d, &m->item);
}

/* A gateway of the VN that has left it, by a list of ways of before. */
static void routed_no_more(struct gw_directory *d, struct directory_member *m) {
        bool served = m->serves;

        gw_dir_arrival_void(m);
        if (served)
                gw_dir_member_touch(d, m);
        if (m->routes)
                gw_dir_arrival_begin(d, gw_dir_item_nve(&m->item));
}

void gw_directory_subscribe(struct gw_directory *d, struct gw_nve *nve, const uint32_t *vnis, size_t n,
                            struct gw_now now) {
        d->now = now;
        nve->subscribed = true;
        gw_list_for_each (link, &nve->members)
                gw_list_entry(link, struct directory_member, in_nve)->named = false;
        for (size_t i = 0; i < n; i++)
                subscribe_one(d, nve, vnis[i]);
        gw_list_for_each (link, &nve->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_nve);

                if (m->named)
                        continue;
                m->attached = m->listening = false;
                gw_dir_item_clean(d, &m->item);
                routed_no_more(d, m);
                member_review(d, m);
        }
        gw_dir_holders_again(d, nve);
        gw_dir_updates_flush(d);
        gw_directory_notices_due(d, nve->locator, now);
}

/* --- flushes --- */

/* A flush goes out alone, before whatever else the member must be told. */
void gw_dir_member_flush(struct gw_directory *d, struct directory_member *m, uint8_t what) {
        if (!gw_dir_member_receives(m))
                return;
        m->flush |= what;
        d->counters.flushes++;
        gw_dir_item_dirty(d, &m->item);
}

void gw_dir_member_flushed(struct gw_directory *d, struct directory_member *m) {
        if (m->flush & FLUSH_POSITIVE)
                m->known_ports = 0;
        m->flush = 0;
        m->known_final = false; /* it no longer takes silence for an answer */
        m->negative_until = (struct gw_mono){0};
        if (!gw_dir_member_complete(m))
                gw_dir_item_dirty(d, &m->item);
}

void gw_directory_vn_flush(struct gw_directory *d, struct gw_vn *vn, bool positive, bool negative, struct gw_now now) {
        d->now = now;
        gw_list_for_each (link, &vn->members)
                gw_dir_member_flush(d, gw_list_entry(link, struct directory_member, in_vn),
                                    (positive ? FLUSH_POSITIVE : 0) | (negative ? FLUSH_NEGATIVE : 0));
        gw_dir_updates_flush(d);
}

/* --- push or pull --- */

/* From now on each member is told only about what it knows already, and asks for the rest: silence is no answer now. */
static void push_end(struct gw_directory *d, struct gw_vn *vn, bool again) {
        vn->push = false;
        gw_list_for_each (a, &vn->members) {
                struct directory_member *m = gw_list_entry(a, struct directory_member, in_vn);

                gw_dir_member_flush(d, m, FLUSH_NEGATIVE);
                gw_ring_for_each (b, &vn->ports) {
                        struct gw_port *port = gw_container_of(b, struct gw_port, in_vn);
                        struct directory_holder *h;
                        uint64_t told = m->sent_ports > m->known_ports ? m->sent_ports : m->known_ports;

                        if (!told || (h = gw_dir_holder_get(d, gw_port_vm(port), gw_dir_item_nve(&m->item))) == NULL)
                                continue;
                        if (port->changed > m->known_ports || again)
                                gw_dir_holder_dirty(d, h);
                        else
                                h->item.known = true;
                }
        }
}

static void push_begin(struct gw_directory *d, struct gw_vn *vn) {
        vn->push = true;
        gw_list_for_each (link, &vn->members) {
                struct directory_member *m = gw_list_entry(link, struct directory_member, in_vn);

                m->known_ports = 0;
                m->known_final = false;
        }
        receivers_dirty(d, vn);
}

static bool wants_push(const struct gw_vn *vn) {
        if (vn->model == GW_VN_HYBRID)
                return vn->n_ports <= (vn->push ? GW_DIRECTORY_PUSH_MAX : GW_DIRECTORY_PUSH_AGAIN);
        return vn->model == GW_VN_PUSH;
}

void gw_dir_vn_policy(struct gw_directory *d, struct gw_vn *vn) {
        bool push = wants_push(vn);

        if (vn->push && !push)
                push_end(d, vn, false);
        else if (!vn->push && push)
                push_begin(d, vn);
}

/* Lifetimes, and whether silence is an answer, depend on the model: all that members hold is told again. */
void gw_dir_vn_remodel(struct gw_directory *d, struct gw_vn *vn, uint8_t model) {
        vn->model = model;
        if (!wants_push(vn)) {
                if (vn->push)
                        push_end(d, vn, true);
                return;
        }
        gw_list_for_each (link, &vn->members)
                gw_dir_member_flush(d, gw_list_entry(link, struct directory_member, in_vn), FLUSH_NEGATIVE);
        push_begin(d, vn);
}
