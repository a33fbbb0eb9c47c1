/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items and updates: getting what NVEs must be told to them, for sure.
 *
 * RFC 8171's update and acknowledgement: an update that is not acknowledged in
 * GW_DIRECTORY_RETRY_MS is sent again, with twice the wait each time, and after
 * GW_DIRECTORY_TRIES its receiver is behind: its session is dropped, and what
 * it holds is sent anew with the next one. Until then pending counts it as away.
 *
 * Ten thousand that are told at once cannot have answered within that time, and
 * hearing all of it again would not make them faster: so a copy waits for as much
 * longer as what is on the way to everybody takes, GW_DIRECTORY_RETRY_MORE_MS at most.
 *
 * Of an item that changes faster than it is acknowledged the news are coalesced:
 * after GW_DIRECTORY_BURST sendings the next ones wait GW_DIRECTORY_COALESCE_MS for
 * each other, so that one VM, or one VN, that keeps changing costs a bounded rate.
 *
 * Lists of a VN's members are long where many are its members, and when all of them
 * subscribe at once, as after a restart, there is one to each. So no more of them are put
 * on the way than get there in LISTS_US; the others stand aside, by their NVEs' turns, and
 * whatever is short goes past them. One that was not acknowledged in time does not
 * count any more: who is dead, or slow, does not hold up the rest.
 *
 * Item and update are described in internal.h. An update owns its items' links,
 * not the items. Ids grow by one per NVE and update and skip 0.
 */
#include "directory/internal.h"

#include <errno.h>
#include <stdlib.h>

/* Of one update, on a slow machine: its way there and back, and its octets. */
enum { UPDATE_COST_US = 64, OCTETS_PER_US = 64, LISTS_US = 250 * 1000 };

bool gw_dir_nve_listens(const struct gw_nve *nve) {
        return nve->nve_connected && !nve->behind;
}

/* No peer chooses where objects are, so two rounds of multiplying keep them apart (the finalizer of MurmurHash3). */
uint64_t gw_dir_pair_hash(const struct gw_directory *d, const struct pair_key *key) {
        uint64_t h = ((uint64_t)gw_ref_place(key->about) << 32 | gw_ref_place(key->nve)) ^ d->pairs.key[0];

        h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
        h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
        return h ^ h >> 33;
}

int gw_dir_item_add(struct gw_directory *d, struct directory_item *item, enum item_kind kind, const void *about,
                    struct gw_nve *nve) {
        struct pair_key key = {about, nve};

        item->kind = kind;
        gw_ref_set(&item->about, about);
        gw_ref_set(&item->nve, nve);
        return gw_table_insert(&d->pairs, &item->node, gw_dir_pair_hash(d, &key));
}

struct directory_item *gw_dir_item_find(const struct gw_directory *d, const void *about, const struct gw_nve *nve) {
        struct pair_key key = {about, nve};
        struct gw_table_node *node = gw_table_find(&d->pairs, gw_dir_pair_hash(d, &key), &key);

        return node ? gw_container_of(node, struct directory_item, node) : NULL;
}

static void update_costs(struct gw_directory *d, struct directory_update *u, uint32_t cost_us) {
        d->on_the_way_us = d->on_the_way_us - u->cost_us + cost_us;
        if (u->list)
                d->lists_us = d->lists_us - u->cost_us + cost_us;
        u->cost_us = cost_us;
}

static void update_free(struct gw_directory *d, struct directory_update *u) {
        gw_heap_forget(&d->heap, &u->timer);
        gw_list_remove(&u->in_nve);
        update_costs(d, u, 0);
        free(u);
}

/* A list that is on the way and is to be told anew stays an update: its octets are in the socket all the same, and count
 * until they are confirmed or their time is over. */
void gw_dir_item_clean(struct gw_directory *d, struct directory_item *item) {
        struct directory_update *u = item->update;

        gw_list_remove(&item->link);
        item->update = NULL;
        item->aside = false;
        if (u && gw_list_empty(&u->items) && !u->list)
                update_free(d, u);
}

void gw_dir_item_remove(struct gw_directory *d, struct directory_item *item) {
        gw_dir_item_clean(d, item);
        gw_table_remove(&d->pairs, &item->node);
}

static uint32_t wrapping_ms(const struct gw_directory *d) {
        return (uint32_t)(d->now.mono.ns / GW_NS_PER_MS);
}

static struct directory_member *flushing(struct directory_item *item) {
        struct directory_member *m = gw_container_of(item, struct directory_member, item);

        return item->kind == ITEM_MEMBER && m->flush ? m : NULL;
}

/* News about one thing that come faster than they are acknowledged are told together. The first few are not held up. */
static bool must_wait(const struct gw_directory *d, const struct directory_item *item) {
        return item->sends >= GW_DIRECTORY_BURST && wrapping_ms(d) - item->sent_ms < GW_DIRECTORY_COALESCE_MS;
}

static void nve_dirty(struct gw_directory *d, struct gw_nve *nve) {
        if (!gw_list_linked(&nve->in_dirty))
                gw_list_append(&d->dirty, &nve->in_dirty);
}

void gw_dir_item_dirty(struct gw_directory *d, struct directory_item *item) {
        struct gw_nve *nve = gw_dir_item_nve(item);

        if (item->aside && !flushing(item)) /* it keeps its turn, and is told as it is then */
                return;
        gw_dir_item_clean(d, item);
        if (must_wait(d, item)) {
                d->counters.coalesced++;
                gw_list_append(&nve->later, &item->link);
                if (!nve->coalesce.place)
                        gw_heap_set(&d->heap, &nve->coalesce,
                                    gw_mono_after(d->now.mono, gw_ms(GW_DIRECTORY_COALESCE_MS)));
                return;
        }
        gw_list_append(&nve->dirty, &item->link);
        nve_dirty(d, nve);
}

void gw_dir_updates_due(struct gw_directory *d, struct gw_nve *nve) {
        gw_list_for_each (link, &nve->later) {
                gw_list_remove(link);
                gw_list_append(&nve->dirty, link);
        }
        if (!gw_list_empty(&nve->dirty))
                nve_dirty(d, nve);
}

static bool item_fill(struct gw_directory *d, struct directory_item *item) {
        if (item->kind == ITEM_MEMBER)
                return gw_dir_member_fill(d, gw_container_of(item, struct directory_member, item));
        return gw_dir_holder_fill(d, gw_container_of(item, struct directory_holder, item));
}

static void item_confirmed(struct gw_directory *d, struct directory_item *item) {
        struct directory_holder *h;

        if (item->kind == ITEM_MEMBER) {
                gw_dir_member_confirmed(d, gw_container_of(item, struct directory_member, item));
                return;
        }
        h = gw_container_of(item, struct directory_holder, item);
        h->item.known = gw_dir_holder_concerned(d, h);
}

static size_t flush_encode(struct gw_writer *w, const struct directory_update *u) {
        const struct directory_member *m = flushing(gw_list_entry(u->items.next, struct directory_item, link));
        struct gw_flush_request flush = {.vni = m->vn->vni,
                                         .all = true,
                                         .positive = m->flush & FLUSH_POSITIVE,
                                         .negative = m->flush & FLUSH_NEGATIVE};

        return gw_flush_encode(w, u->id, &flush);
}

/* When it may be sent again. */
static struct gw_mono patience_ends(const struct gw_directory *d, const struct directory_update *u) {
        uint64_t more_ms = d->on_the_way_us / 1000;

        more_ms = more_ms < GW_DIRECTORY_RETRY_MORE_MS ? more_ms : GW_DIRECTORY_RETRY_MORE_MS;
        return gw_mono_after(u->sent, gw_ms((GW_DIRECTORY_RETRY_MS + more_ms) << (u->tries - 1)));
}

static void update_send(struct gw_directory *d, struct directory_update *u) {
        struct gw_directory_scratch *s = d->scratch;
        struct gw_writer w = gw_writer(s->frame, sizeof s->frame);
        uint8_t type = u->flush ? GW_FRAME_FLUSH : GW_FRAME_UPDATE;
        size_t size = u->flush ? flush_encode(&w, u)
                               : gw_batch_encode_vns(&w, type, u->id, s->mappings, s->n_mappings, s->members,
                                                     s->n_members, s->vns, s->n_vns);

        if (u->tries++)
                d->counters.retransmissions++;
        else
                d->counters.updates++;
        update_costs(d, u, UPDATE_COST_US + (uint32_t)(size / OCTETS_PER_US));
        u->sent = d->now.mono;
        gw_heap_set(&d->heap, &u->timer, patience_ends(d, u));
        if (size)
                d->effects->send(u->nve, type, u->id, s->frame + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE,
                                 d->user);
}

static struct directory_update *update_new(struct gw_directory *d, struct gw_nve *nve) {
        struct directory_update *u = calloc(1, sizeof *u);

        if (!u || gw_heap_promise(&d->heap) < 0) {
                free(u);
                return NULL;
        }
        gw_list_init(&u->items);
        u->timer.kind = TIMER_UPDATE;
        u->nve = nve;
        if (!++nve->next_update)
                nve->next_update++;
        u->id = nve->next_update;
        gw_list_append(&nve->updates, &u->in_nve);
        return u;
}

static void update_take(struct gw_directory *d, struct directory_update *u, struct directory_item *item) {
        item->sent_ms = wrapping_ms(d);
        item->sends += item->sends < GW_DIRECTORY_BURST;
        gw_list_remove(&item->link);
        gw_list_append(&u->items, &item->link);
        item->update = u;
}

/* Nothing had to be said: as good as acknowledged. */
static void update_confirmed(struct gw_directory *d, struct directory_update *u) {
        struct gw_list items = u->items;
        bool flush = u->flush;

        if (gw_list_empty(&u->items))
                return update_free(d, u);
        items.next->prev = items.prev->next = &items;
        update_free(d, u);
        while (!gw_list_empty(&items)) {
                struct directory_item *item = gw_list_entry(items.next, struct directory_item, link);

                gw_list_remove(&item->link);
                item->update = NULL;
                item->sends = 0;
                if (flush)
                        gw_dir_member_flushed(d, gw_container_of(item, struct directory_member, item));
                else
                        item_confirmed(d, item);
        }
}

static bool is_long(struct directory_item *item) {
        return item->kind == ITEM_MEMBER &&
               gw_dir_member_has_long_list(gw_container_of(item, struct directory_member, item));
}

static void set_aside(struct gw_directory *d, struct gw_nve *nve, struct directory_item *item) {
        d->counters.set_aside++;
        item->aside = true;
        gw_list_remove(&item->link);
        gw_list_append(&nve->lists, &item->link);
        if (!gw_list_linked(&nve->in_lists))
                gw_list_append(&d->lists, &nve->in_lists);
}

/* One update with as much as fits of what is dirty; false: nothing to send, or no memory for now. */
static bool update_next(struct gw_directory *d, struct gw_nve *nve) {
        struct gw_directory_scratch *s = d->scratch;
        struct directory_update *u;

        if (gw_list_empty(&nve->dirty) || !(u = update_new(d, nve)))
                return false;
        s->n_mappings = s->n_members = s->n_vns = 0;
        gw_list_for_each (link, &nve->dirty) {
                struct directory_item *item = gw_list_entry(link, struct directory_item, link);
                bool list = is_long(item);

                if (flushing(item)) {
                        if (gw_list_empty(&u->items)) {
                                update_take(d, u, item);
                                u->flush = true;
                        }
                        break;
                }
                if (list && d->lists_us >= LISTS_US) {
                        set_aside(d, nve, item);
                        continue;
                }
                if (s->n_mappings == BATCH_MAPPINGS || s->n_members == BATCH_MEMBERS || !item_fill(d, item))
                        break;
                update_take(d, u, item);
                u->list |= list;
        }
        if (s->n_mappings || s->n_members || s->n_vns || u->flush)
                update_send(d, u);
        else
                update_confirmed(d, u);
        return true;
}

static unsigned on_the_way(const struct gw_nve *nve) {
        unsigned n = 0;

        gw_list_for_each (link, &nve->updates)
                n++;
        return n;
}

static void flush_dirty(struct gw_directory *d) {
        gw_list_for_each (link, &d->dirty) {
                struct gw_nve *nve = gw_list_entry(link, struct gw_nve, in_dirty);

                while (on_the_way(nve) < UPDATES_ON_THE_WAY && update_next(d, nve))
                        ;
                if (gw_list_empty(&nve->dirty))
                        gw_list_remove(&nve->in_dirty);
        }
}

/* The next NVE's next list; NVEs take turns. */
static void take_back(struct gw_directory *d) {
        struct gw_nve *nve = gw_list_entry(d->lists.next, struct gw_nve, in_lists);
        struct gw_list *link = nve->lists.next;

        gw_list_remove(&nve->in_lists);
        if (gw_list_empty(&nve->lists))
                return; /* it was to be told no more */
        gw_list_remove(link);
        gw_list_append(&nve->dirty, link);
        gw_list_entry(link, struct directory_item, link)->aside = false;
        if (!gw_list_empty(&nve->lists))
                gw_list_append(&d->lists, &nve->in_lists);
        nve_dirty(d, nve);
}

void gw_dir_updates_flush(struct gw_directory *d) {
        flush_dirty(d);
        while (!gw_list_empty(&d->lists) && d->lists_us < LISTS_US) {
                take_back(d);
                flush_dirty(d);
        }
}

void gw_dir_updates_abandon(struct gw_directory *d, struct gw_nve *nve) {
        while (!gw_list_empty(&nve->updates)) {
                struct directory_update *u = gw_list_entry(nve->updates.next, struct directory_update, in_nve);

                if (gw_list_empty(&u->items))
                        update_free(d, u);
                else
                        gw_dir_item_clean(d, gw_list_entry(u->items.next, struct directory_item, link));
        }
        while (!gw_list_empty(&nve->dirty))
                gw_dir_item_clean(d, gw_list_entry(nve->dirty.next, struct directory_item, link));
        while (!gw_list_empty(&nve->later))
                gw_dir_item_clean(d, gw_list_entry(nve->later.next, struct directory_item, link));
        while (!gw_list_empty(&nve->lists))
                gw_dir_item_clean(d, gw_list_entry(nve->lists.next, struct directory_item, link));
        gw_heap_clear(&d->heap, &nve->coalesce);
        gw_list_remove(&nve->in_dirty);
        gw_list_remove(&nve->in_lists);
}

static void fall_behind(struct gw_directory *d, struct gw_nve *nve) {
        nve->behind = true;
        d->counters.behind++;
        gw_dir_updates_abandon(d, nve);
        gw_dir_note(d, GW_NOTE_BEHIND, "nve=%s did not acknowledge an update sent %d times", nve->id.s,
                    GW_DIRECTORY_TRIES);
        gw_dir_changed(d, GW_OBJECT_NVE, nve->id.s, false);
        d->effects->drop(nve, "updates are not acknowledged", d->user);
}

void gw_dir_update_again(struct gw_directory *d, struct directory_update *u) {
        struct gw_directory_scratch *s = d->scratch;
        struct gw_mono due = patience_ends(d, u);

        if (!gw_mono_reached(d->now.mono, due)) /* much was sent since */
                return gw_heap_set(&d->heap, &u->timer, due);
        if (gw_list_empty(&u->items)) /* a list that was told anew since */
                return update_free(d, u);
        if (u->tries >= GW_DIRECTORY_TRIES)
                return fall_behind(d, u->nve);
        if (u->list) {
                d->lists_us -= u->cost_us;
                u->list = false;
        }
        s->n_mappings = s->n_members = s->n_vns = 0;
        gw_list_for_each (link, &u->items)
                if (!u->flush)
                        item_fill(d, gw_list_entry(link, struct directory_item, link));
        update_send(d, u);
}

void gw_directory_ack(struct gw_directory *d, struct gw_nve *nve, uint32_t id, struct gw_now now) {
        d->now = now;
        gw_list_for_each (link, &nve->updates) {
                struct directory_update *u = gw_list_entry(link, struct directory_update, in_nve);

                if (u->id == id) {
                        d->counters.acknowledged++;
                        update_confirmed(d, u);
                        break;
                }
        }
        gw_dir_updates_flush(d);
}
