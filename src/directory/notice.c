/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Notices, their life:
 *
 *   the VM changes its place --> SENT --answer--> ANSWERED
 *                                 |  no answer: again after 1 s, doubled up to 32 s, each with a larger
 *                                 |  sequence number and a later time stamp --8 times--> GIVEN_UP
 *                                 the receiver is away --> WAITING --it is back--> SENT
 *
 * To whom (D2 5 and 7.1): each former place at which something is still kept, and
 * all default routers. A hot move asks the former place to keep its redirect for
 * GW_NOTICE_KEEP_MS at most; it ends earlier when that place says that nothing comes any more,
 * or that it holds nothing. A cold start elsewhere asks it, with lifetime 0, to
 * remove what it has at once. A router's host route is refreshed at three quarters
 * of its lifetime while the VM is reachable, and removed when the VM is nowhere.
 *
 * Addresses go in pairs (old, new). A VM keeps its addresses here, so both are
 * the same; where it is now says option 68, or, for an IPv4 locator, option 38, D2's IPv4
 * Proxy-CoA. Sequence numbers and time stamps are of one receiver, so that it
 * sees them grow, whatever VM it is about; stamps are by its clock, once it has told it.
 *
 * Where they are kept, and what a restart knows of them: history.c.
 */
#include "directory/notice.h"

#include "directory/internal.h"

/* --- one Request --- */

static void put_pair(struct gw_registration *reg, struct gw_ip old, struct gw_ip new) {
        if (gw_ip_is_v4(old) && reg->n_addrs4 + 2 <= GW_REG_ADDRS_MAX) {
                reg->addrs4[reg->n_addrs4++] = (struct gw_reg_addr4){.ip = old, .bits = 32};
                reg->addrs4[reg->n_addrs4++] = (struct gw_reg_addr4){.ip = new, .bits = 32};
        } else if (!gw_ip_is_v4(old) && reg->n_addrs6 + 2 <= GW_REG_ADDRS_MAX) {
                reg->addrs6[reg->n_addrs6++] = (struct gw_prefix){.ip = old, .bits = 128};
                reg->addrs6[reg->n_addrs6++] = (struct gw_prefix){.ip = new, .bits = 128};
        }
}

static void put_place(struct gw_registration *reg, const struct gw_nve *nve) {
        if (!nve)
                return;
        if (gw_ip_is_v4(nve->locator)) {
                reg->has |= GW_REG_HAS_DEFAULT_ROUTER4;
                reg->default_router4 = nve->locator;
        } else {
                reg->has |= GW_REG_HAS_SERVING;
                reg->serving = nve->locator;
        }
}

static void notice_build(const struct gw_notice *n, struct gw_registration *reg) {
        const struct gw_vm *vm = n->vm;

        *reg = (struct gw_registration){
                .kind = GW_REG_REQUEST,
                .flags = GW_MH_REQUEST_USUAL,
                .sequence = n->sequence,
                .lifetime_units = gw_notice_is_kept(n) ? gw_registration_lifetime(GW_NOTICE_KEEP_MS / 1000) : 0,
                .has = GW_REG_HAS_VM | GW_REG_HAS_HANDOFF | GW_REG_HAS_ACCESS | GW_REG_HAS_TIMESTAMP | GW_REG_HAS_EPOCH,
                .handoff = GW_MH_HANDOFF_MOVED,
                .access = GW_MH_ACCESS_VIRTUAL,
                .timestamp = n->stamp,
                .epoch = n->epoch,
        };
        reg->vm = gw_vm_name(vm);
        put_place(reg, gw_vm_nve(vm));
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                if (reg->n_macs < GW_REG_MACS_MAX)
                        reg->macs[reg->n_macs++] = port->mac;
                for (unsigned i = 0; i < port->n_ips; i++)
                        put_pair(reg, gw_port_ip(port, i), gw_port_ip(port, i));
        }
}

static void notice_send(struct gw_directory *d, struct gw_notice *n) {
        uint64_t stamp = gw_registration_stamp((struct gw_wall){d->now.wall.ns + (uint64_t)n->to->clock_ns});
        struct gw_registration reg;
        bool sent;

        n->stamp = n->to->stamp = stamp > n->to->stamp ? stamp : n->to->stamp + 1;
        n->sequence = ++n->to->sequence;
        notice_build(n, &reg);
        sent = d->effects->notice && d->effects->notice(n->to->ip, n->kind, &reg, d->user);
        if (!sent) {
                n->state = GW_NOTICE_WAITING;
                n->tries = 0;
                gw_heap_clear(&d->heap, &n->timer);
                if (n->kind == GW_NOTICE_SOURCE && gw_notice_is_kept(n))
                        gw_heap_set(&d->heap, &n->timer, gw_dir_notice_ends(d, n));
                return;
        }
        n->state = GW_NOTICE_SENT;
        n->tries++;
        if (!n->told.ns)
                n->told = d->now.wall;
        gw_heap_set(&d->heap, &n->timer, gw_mono_after(d->now.mono, gw_ms(n->timeout_ms)));
}

static void notice_begin(struct gw_directory *d, struct gw_notice *n, uint8_t why) {
        n->why = why;
        n->epoch = n->vm->binding.epoch;
        n->tries = n->status = 0;
        n->timeout_ms = GW_NOTICE_FIRST_MS;
        n->told = n->answered = (struct gw_wall){0};
        n->redirected = 0;
        n->ends = (struct gw_wall){d->now.wall.ns + gw_ms(gw_notice_is_kept(n) ? GW_NOTICE_KEEP_MS : 0).ns};
        notice_send(d, n);
}

static void notice_end(struct gw_directory *d, struct gw_notice *n, uint8_t why) {
        n->why = why;
        n->ends = d->now.wall;
        gw_heap_clear(&d->heap, &n->timer);
}

/* --- what makes them --- */

static void tell_routers(struct gw_directory *d, struct gw_history *h, uint8_t why) {
        for (size_t i = 0; i < d->n_routers; i++) {
                struct gw_notice *n = gw_dir_notice_get(d, h, GW_NOTICE_ROUTER, d->routers[i]);

                if (n)
                        notice_begin(d, n, why);
        }
}

/* All former places at which something is kept, but the present one. */
static void tell_sources(struct gw_directory *d, struct gw_history *h) {
        const struct gw_nve *here = gw_vm_nve(h->vm);

        gw_list_for_each (link, &h->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (n->kind != GW_NOTICE_SOURCE)
                        continue;
                if (here && gw_ip_eq(n->to->ip, here->locator))
                        notice_end(d, n, GW_ENDED_BACK);
                else if (gw_notice_is_kept(n) && n->epoch != h->vm->binding.epoch)
                        notice_begin(d, n, n->why);
        }
}

void gw_dir_notice_moved(struct gw_directory *d, struct gw_vm *vm, const struct gw_nve *old, bool cold) {
        struct gw_history *h = gw_dir_history_get(d, vm);
        struct gw_notice *n;

        if (!h)
                return;
        n = gw_dir_notice_get(d, h, GW_NOTICE_SOURCE, old->locator);
        if (n)
                notice_begin(d, n, cold ? GW_ENDED_COLD : GW_KEPT_IN_FLIGHT);
        tell_sources(d, h);
        tell_routers(d, h, GW_KEPT_ROUTE);
        gw_dir_history_store(d, h);
}

void gw_dir_notice_stopped(struct gw_directory *d, struct gw_vm *vm) {
        struct gw_history *h = gw_dir_history_find(d, vm);

        if (!h)
                return;
        gw_list_for_each (link, &h->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (n->kind == GW_NOTICE_SOURCE && gw_notice_is_kept(n))
                        notice_end(d, n, GW_ENDED_STOPPED);
        }
        tell_routers(d, h, GW_ENDED_STOPPED);
        gw_dir_history_store(d, h);
}

void gw_dir_notice_redirect_ended(struct gw_directory *d, struct gw_vm *vm, struct gw_ip locator, uint64_t redirected) {
        struct gw_history *h = gw_dir_history_find(d, vm);
        struct gw_notice *n = h ? gw_dir_notice_find(h, GW_NOTICE_SOURCE, locator) : NULL;

        if (!n || !gw_notice_is_kept(n))
                return;
        n->redirected = redirected;
        notice_end(d, n, GW_ENDED_IDLE);
        gw_dir_history_store(d, h);
}

void gw_directory_routers(struct gw_directory *d, const struct gw_ip *routers, size_t n) {
        d->n_routers = n < GW_NOTICE_ROUTERS_MAX ? n : GW_NOTICE_ROUTERS_MAX;
        memcpy(d->routers, routers, d->n_routers * sizeof *routers);
}

void gw_directory_notices_due(struct gw_directory *d, struct gw_ip ip, struct gw_now now) {
        struct gw_notice_receiver *to = gw_dir_receiver_find(d, ip);

        d->now = now;
        if (!to)
                return;
        gw_list_for_each (link, &to->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_receiver);

                /* A router that comes back has flushed its routes. */
                if (!gw_dir_notice_matters(n) || (n->state != GW_NOTICE_WAITING && n->state != GW_NOTICE_GIVEN_UP &&
                                                  !(n->kind == GW_NOTICE_ROUTER && gw_notice_is_kept(n))))
                        continue;
                n->tries = 0;
                n->timeout_ms = GW_NOTICE_FIRST_MS;
                notice_send(d, n);
        }
}

/* --- time --- */

static void give_up(struct gw_directory *d, struct gw_notice *n) {
        char text[GW_IP_TEXT];

        n->state = GW_NOTICE_GIVEN_UP;
        gw_dir_note(d, GW_NOTE_BEHIND, "vm=%s: %s does not answer a notice sent %u times", gw_vm_name(n->vm).s,
                    gw_ip_text(n->to->ip, text), n->tries);
        if (gw_notice_is_kept(n))
                gw_heap_set(&d->heap, &n->timer,
                            n->kind == GW_NOTICE_SOURCE ? gw_dir_notice_ends(d, n)
                                                        : gw_mono_after(d->now.mono, gw_ms(GW_NOTICE_KEEP_MS / 4)));
        gw_dir_history_store(d, gw_dir_history_find(d, n->vm));
}

/* A route is refreshed while there is something at its end; else it runs out by itself. */
static void refresh(struct gw_directory *d, struct gw_notice *n) {
        if (!gw_dir_reachable(&n->vm->binding)) {
                gw_heap_set(&d->heap, &n->timer, gw_mono_after(d->now.mono, gw_ms(GW_NOTICE_KEEP_MS / 4)));
                return;
        }
        notice_begin(d, n, GW_KEPT_ROUTE);
        gw_dir_history_store(d, gw_dir_history_find(d, n->vm));
}

static bool time_is_over(const struct gw_directory *d, const struct gw_notice *n) {
        return n->state == GW_NOTICE_ANSWERED || n->state == GW_NOTICE_GIVEN_UP ||
               (n->state == GW_NOTICE_WAITING && gw_notice_is_kept(n) && d->now.wall.ns >= n->ends.ns);
}

void gw_dir_notice_timer(struct gw_directory *d, struct gw_notice *n) {
        if (time_is_over(d, n)) {
                if (n->kind == GW_NOTICE_ROUTER)
                        return refresh(d, n);
                notice_end(d, n, GW_ENDED_TIME);
                gw_dir_history_store(d, gw_dir_history_find(d, n->vm));
                return;
        }
        if (n->tries >= GW_NOTICE_TRIES)
                return give_up(d, n);
        if (n->tries)
                n->timeout_ms = n->timeout_ms * 2 < GW_NOTICE_LAST_MS ? n->timeout_ms * 2 : GW_NOTICE_LAST_MS;
        else
                n->timeout_ms = GW_NOTICE_FIRST_MS;
        notice_send(d, n);
}

/* --- answers --- */

static struct gw_notice *notice_asked(const struct gw_directory *d, struct gw_ip from,
                                      const struct gw_registration *reply) {
        const struct gw_vm *vm = reply->has & GW_REG_HAS_VM ? gw_directory_vm(d, reply->vm.s) : NULL;
        const struct gw_history *h = vm ? gw_dir_history_find(d, vm) : NULL;

        if (!h || reply->kind != GW_REG_REPLY)
                return NULL;
        gw_list_for_each (link, &h->notices) {
                struct gw_notice *n = gw_list_entry(link, struct gw_notice, in_history);

                if (n->state == GW_NOTICE_SENT && gw_ip_eq(n->to->ip, from) &&
                    (n->sequence == reply->sequence || reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW))
                        return n;
        }
        return NULL;
}

static void answered(struct gw_directory *d, struct gw_notice *n, const struct gw_registration *reply) {
        uint64_t keep_ms = (uint64_t)reply->lifetime_units * GW_MH_LIFETIME_UNIT_S * 1000;

        n->state = GW_NOTICE_ANSWERED;
        n->status = reply->status;
        n->answered = d->now.wall;
        gw_heap_clear(&d->heap, &n->timer);
        if (!gw_notice_is_kept(n))
                return;
        if (reply->status < GW_MH_REJECTED && !keep_ms && n->kind == GW_NOTICE_SOURCE)
                return notice_end(d, n, GW_ENDED_NOTHING);
        if (keep_ms > GW_NOTICE_KEEP_MS || reply->status >= GW_MH_REJECTED)
                keep_ms = GW_NOTICE_KEEP_MS;
        n->ends = (struct gw_wall){d->now.wall.ns + gw_ms(keep_ms).ns};
        if (n->kind == GW_NOTICE_ROUTER) /* refreshed before it ends */
                keep_ms = keep_ms ? keep_ms * 3 / 4 : GW_NOTICE_KEEP_MS;
        gw_heap_set(&d->heap, &n->timer, gw_mono_after(d->now.mono, gw_ms(keep_ms)));
}

/* Numbers, stamps and clocks: the next one may pass, with a stamp by the receiver's clock. But 157 may also say that it knows a newer epoch, and then none will. */
static bool refusal_passes(const struct gw_directory *d, struct gw_notice *n, const struct gw_registration *reply) {
        struct gw_notice_receiver *to = n->to;
        bool newer = (reply->has & GW_REG_HAS_EPOCH) && reply->epoch > n->epoch;
        bool clock = reply->status == GW_MH_TIMESTAMP_MISMATCH || (reply->status == GW_MH_TIMESTAMP_LOWER && !newer);

        if (reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW)
                to->sequence = reply->sequence;
        if (clock && (reply->has & GW_REG_HAS_TIMESTAMP)) {
                to->clock_ns = (int64_t)(gw_registration_stamp_wall(reply->timestamp).ns - d->now.wall.ns);
                if (reply->timestamp < to->stamp)
                        to->stamp = 0;
        }
        return clock || reply->status == GW_MH_SEQUENCE_OUT_OF_WINDOW;
}

int gw_directory_noticed(struct gw_directory *d, struct gw_ip from, const struct gw_registration *reply,
                         struct gw_now now) {
        struct gw_notice *n = notice_asked(d, from, reply);
        char text[GW_IP_TEXT];

        d->now = now;
        if (!n)
                return GW_E_NOT_FOUND;
        if (reply->status >= GW_MH_REJECTED)
                gw_dir_note(d, GW_NOTE_REFUSED, "vm=%s epoch=%llu notice refused by %s: status=%u", gw_vm_name(n->vm).s,
                            (unsigned long long)n->epoch, gw_ip_text(from, text), reply->status);
        if (refusal_passes(d, n, reply)) { /* soon; the time-out, doubled each time, bounds how often */
                gw_heap_set(&d->heap, &n->timer, gw_mono_after(d->now.mono, gw_ms(n->timeout_ms / 10)));
        } else {
                answered(d, n, reply);
                gw_dir_history_store(d, gw_dir_history_find(d, n->vm));
        }
        return 0;
}
