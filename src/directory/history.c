/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is remembered of where a VM was: its history, a list of notices (notice.h),
 * one for each former place and each default router, the oldest first.
 *
 * A history owns its notices; when it is full, the oldest that has ended goes, else the
 * oldest. A notice is also in the list of its receiver, which is made with its first
 * and freed with its last: numbers, stamps and clock are of one receiver, whatever VM
 * they are about.
 *
 * A history is one record, staged with each change that a restart must know. What
 * was not answered then is sent again after a restart.
 */
#include <errno.h>
#include <stdlib.h>

#include "directory/internal.h"
#include "directory/notice.h"

enum { RECORD_VERSION = 1, NOTICE_OCTETS = 16 + 4 + 5 * 8, HISTORY_OCTETS = 2 + GW_NOTICES_MAX * NOTICE_OCTETS };

bool gw_notice_is_kept(const struct gw_notice *n) {
        return n->why == GW_KEPT_IN_FLIGHT || n->why == GW_KEPT_ROUTE;
}

const char *gw_notice_state_word(uint8_t state) {
        static const char *const words[] = {[GW_NOTICE_WAITING] = "waiting",
                                            [GW_NOTICE_SENT] = "sent",
                                            [GW_NOTICE_ANSWERED] = "answered",
                                            [GW_NOTICE_GIVEN_UP] = "given-up"};

        return state && state < sizeof words / sizeof *words ? words[state] : "?";
}

const char *gw_notice_why_word(uint8_t why) {
        static const char *const words[] = {[GW_KEPT_IN_FLIGHT] = "in-flight", [GW_KEPT_ROUTE] = "host-route",
                                            [GW_ENDED_IDLE] = "idle",          [GW_ENDED_TIME] = "time",
                                            [GW_ENDED_COLD] = "cold",          [GW_ENDED_NOTHING] = "nothing-held",
                                            [GW_ENDED_BACK] = "vm-is-back",    [GW_ENDED_STOPPED] = "vm-stopped"};

        return why && why < sizeof words / sizeof *words ? words[why] : "?";
}

/* --- finding --- */

static bool match_history(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct gw_history, node)->vm == *(struct gw_vm *const *)key;
}

static bool match_receiver(const struct gw_table_node *node, const void *key) {
        return gw_ip_eq(gw_container_of(node, struct gw_notice_receiver, node)->ip, *(const struct gw_ip *)key);
}

int gw_dir_notices_init(struct gw_directory *d) {
        int r = gw_table_init(&d->histories, d->seed, match_history);

        return r ? r : gw_table_init(&d->receivers, d->seed, match_receiver);
}

struct gw_history *gw_dir_history_find(const struct gw_directory *d, const struct gw_vm *vm) {
        struct gw_table_node *node = gw_table_find(&d->histories, gw_table_hash(&d->histories, &vm, sizeof vm), &vm);

        return node ? gw_container_of(node, struct gw_history, node) : NULL;
}

const struct gw_history *gw_directory_history(const struct gw_directory *d, const struct gw_vm *vm) {
        return gw_dir_history_find(d, vm);
}

struct gw_notice *gw_dir_notice_find(const struct gw_history *h, uint8_t kind, struct gw_ip ip) {
        gw_list_for_each (link, &h->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (n->kind == kind && gw_ip_eq(n->to->ip, ip))
                        return n;
        }
        return NULL;
}

const struct gw_notice *gw_directory_notice(const struct gw_directory *d, const struct gw_vm *vm,
                                            struct gw_ip locator) {
        const struct gw_history *h = gw_dir_history_find(d, vm);

        return h ? gw_dir_notice_find(h, GW_NOTICE_SOURCE, locator) : NULL;
}

struct gw_notice_receiver *gw_dir_receiver_find(const struct gw_directory *d, struct gw_ip ip) {
        struct gw_table_node *node = gw_table_find(&d->receivers, gw_table_hash(&d->receivers, &ip, sizeof ip), &ip);

        return node ? gw_container_of(node, struct gw_notice_receiver, node) : NULL;
}

/* --- making and unmaking --- */

struct gw_history *gw_dir_history_get(struct gw_directory *d, struct gw_vm *vm) {
        struct gw_history *h = gw_dir_history_find(d, vm);

        if (h)
                return h;
        h = calloc(1, sizeof *h);
        if (!h || gw_table_insert(&d->histories, &h->node, gw_table_hash(&d->histories, &vm, sizeof vm))) {
                free(h);
                return NULL;
        }
        h->vm = vm;
        gw_list_init(&h->notices);
        return h;
}

static struct gw_notice_receiver *receiver_get(struct gw_directory *d, struct gw_ip ip) {
        struct gw_notice_receiver *to = gw_dir_receiver_find(d, ip);

        if (to)
                return to;
        to = calloc(1, sizeof *to);
        if (!to || gw_table_insert(&d->receivers, &to->node, gw_table_hash(&d->receivers, &ip, sizeof ip))) {
                free(to);
                return NULL;
        }
        to->ip = ip;
        gw_list_init(&to->notices);
        return to;
}

static void receiver_leave(struct gw_directory *d, struct gw_notice_receiver *to) {
        if (!gw_list_empty(&to->notices))
                return;
        gw_table_remove(&d->receivers, &to->node);
        free(to);
}

static void notice_free(struct gw_directory *d, struct gw_history *h, struct gw_notice *n) {
        gw_heap_forget(&d->heap, &n->timer);
        gw_list_remove(&n->in_history);
        gw_list_remove(&n->in_receiver);
        receiver_leave(d, n->to);
        free(n);
        h->n--;
}

/* Makes room for one more: of those that have ended, the oldest goes. */
static void history_room(struct gw_directory *d, struct gw_history *h) {
        gw_list_for_each (link, &h->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (h->n < GW_NOTICES_MAX)
                        break;
                if (!gw_notice_is_kept(n))
                        notice_free(d, h, n);
        }
        if (h->n == GW_NOTICES_MAX)
                notice_free(d, h, gw_list_entry(h->notices.next, struct gw_notice, in_history));
}

struct gw_notice *gw_dir_notice_get(struct gw_directory *d, struct gw_history *h, uint8_t kind, struct gw_ip ip) {
        struct gw_notice *n = gw_dir_notice_find(h, kind, ip);
        struct gw_notice_receiver *to;

        if (n)
                return n;
        history_room(d, h);
        to = receiver_get(d, ip);
        n = to ? calloc(1, sizeof *n) : NULL;
        if (!n || gw_heap_promise(&d->heap)) {
                free(n);
                if (to)
                        receiver_leave(d, to);
                return NULL;
        }
        n->timer.kind = TIMER_NOTICE;
        n->vm = h->vm;
        n->to = to;
        n->kind = kind;
        gw_list_append(&h->notices, &n->in_history);
        gw_list_append(&to->notices, &n->in_receiver);
        h->n++;
        return n;
}

static void history_free(struct gw_directory *d, struct gw_history *h) {
        gw_list_for_each (link, &h->notices)
                notice_free(d, h, gw_list_entry(link, struct gw_notice, in_history));
        gw_table_remove(&d->histories, &h->node);
        free(h);
}

void gw_dir_history_forget(struct gw_directory *d, struct gw_vm *vm) {
        struct gw_history *h = gw_dir_history_find(d, vm);

        if (h)
                history_free(d, h);
}

/* After all VMs. */
void gw_dir_notices_deinit(struct gw_directory *d) {
        gw_table_deinit(&d->histories);
        gw_table_deinit(&d->receivers);
}

/* --- the record --- */

void gw_dir_history_store(struct gw_directory *d, const struct gw_history *h) {
        uint8_t octets[HISTORY_OCTETS];
        const struct gw_name id = gw_vm_name(h->vm);
        struct gw_writer w = gw_writer(octets, sizeof octets);

        gw_put_u8(&w, RECORD_VERSION);
        gw_put_u8(&w, h->n);
        gw_list_for_each (link, &h->notices) {
                const struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                gw_put_bytes(&w, n->to->ip.b, sizeof n->to->ip.b);
                gw_put_u8(&w, n->kind);
                gw_put_u8(&w, n->state);
                gw_put_u8(&w, n->why);
                gw_put_u8(&w, n->status);
                gw_put_u64(&w, n->epoch);
                gw_put_u64(&w, n->redirected);
                gw_put_u64(&w, n->told.ns);
                gw_put_u64(&w, n->answered.ns);
                gw_put_u64(&w, n->ends.ns);
        }
        d->effects->store(GW_RECORD_HISTORY, id.s, strlen(id.s), octets, w.at, d->user);
}

/* Is there still something that the receiver ought to hear? */
bool gw_dir_notice_matters(const struct gw_notice *n) {
        return gw_notice_is_kept(n) || n->why == GW_ENDED_COLD || n->why == GW_ENDED_STOPPED;
}

struct gw_mono gw_dir_notice_ends(const struct gw_directory *d, const struct gw_notice *n) {
        uint64_t now = d->now.wall.ns;

        return gw_mono_after(d->now.mono, (struct gw_duration){n->ends.ns > now ? n->ends.ns - now : 0});
}

/* After a restart. */
static void load_timer(struct gw_directory *d, struct gw_notice *n) {
        bool done = n->state == GW_NOTICE_ANSWERED || n->state == GW_NOTICE_GIVEN_UP;

        if (!done)
                n->state = GW_NOTICE_WAITING;
        if (!done && gw_dir_notice_matters(n))
                gw_heap_set(&d->heap, &n->timer, d->now.mono);
        else if (done && gw_notice_is_kept(n))
                gw_heap_set(&d->heap, &n->timer, gw_dir_notice_ends(d, n));
}

static int load_notice(struct gw_directory *d, struct gw_history *h, struct gw_reader *r) {
        struct gw_notice *n, said = {0};
        struct gw_ip ip = {{0}};

        gw_get_bytes(r, ip.b, sizeof ip.b);
        said.kind = gw_get_u8(r);
        said.state = gw_get_u8(r);
        said.why = gw_get_u8(r);
        said.status = gw_get_u8(r);
        said.epoch = gw_get_u64(r);
        said.redirected = gw_get_u64(r);
        said.told.ns = gw_get_u64(r);
        said.answered.ns = gw_get_u64(r);
        said.ends.ns = gw_get_u64(r);
        if (!r->ok || said.kind < GW_NOTICE_SOURCE || said.kind > GW_NOTICE_ROUTER ||
            gw_dir_notice_find(h, said.kind, ip))
                return GW_E_MALFORMED;
        n = gw_dir_notice_get(d, h, said.kind, ip);
        if (!n)
                return -ENOMEM;
        n->state = said.state;
        n->why = said.why;
        n->status = said.status;
        n->epoch = said.epoch;
        n->redirected = said.redirected;
        n->told = said.told;
        n->answered = said.answered;
        n->ends = said.ends;
        load_timer(d, n);
        return 0;
}

int gw_dir_history_load(struct gw_directory *d, const char *key, struct gw_reader *r) {
        struct gw_vm *vm = gw_directory_vm(d, key);
        struct gw_history *h = vm && !gw_dir_history_find(d, vm) ? gw_dir_history_get(d, vm) : NULL;
        unsigned count = gw_get_u8(r);
        int e = 0;

        if (!h || count > GW_NOTICES_MAX)
                return GW_E_MALFORMED;
        for (unsigned i = 0; i < count && !e; i++)
                e = load_notice(d, h, r);
        return e ? e : r->ok && r->at == r->size ? 0 : GW_E_MALFORMED;
}
