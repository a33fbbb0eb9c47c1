/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM that was to arrive here and does not: its move was taken back. What came
 * for it waits in its devices' queues, and more comes as long as somebody takes
 * this for its place. All of it goes back after the VM (decision 96).
 *
 *      arriving -- told --> waiting -- it is back --> sending -- nothing comes --> forgotten
 *         |                    |                         ^
 *         +------- it is back -|-------------------------+
 *                              |
 *                              +-- nobody was cut over to here, or for WAIT_MS nobody said where it is --> forgotten
 *
 * told: by its agent, or by the NVA: it is stopped or deleted, or was, since it set out for here.
 *
 * - Nothing is sent before the NVA has told a newer place than this one: until that one has taken the VM
 *   back it would send what comes from here to here, and a frame is sent on once.
 * - While the VM is waited for, and after it is back, frames from the wire still go into the queue, marked ones too: those
 *   were under way from the old place, or are still sent from there, if that has not heard of it yet, which
 *   then holds what comes back to it (takeback.c). The shell sends them on. What a device has no queue for
 *   is held by hold.c (two seconds), and is sent from there.
 * - When nothing has come for the redirect's times, or after SEND_MS, the VM is forgotten here.
 * - The VM's copy here says nothing any more (GW_PORT_RETURNING), and cannot be activated.
 * - An agent that is gone for good tells nobody. Its VMs' taps are kept here, so that no device's end is seen:
 *   a newer place alone begins the sending, too. Else local senders would be led to the old place for ever.
 *   So that it is heard of, where the NVA tells only who has asked, the NVA is asked now and then.
 */
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"

enum {
        RETURN_LOOK_MS = 100,
        RETURN_LOOK_LATE_MS = 1000, /* after RETURN_OFTEN_MS: we are told, too */
        RETURN_OFTEN_MS = 2000,
        RETURN_NOWHERE_MS = 2000, /* nothing has come, and it is stopped or deleted */
        /* Nothing has come, and the NVA never put it here: there was no cut, as far as anybody says. A source whose agent
         * died before it could say so sends on what comes until that is back, which may be little. */
        RETURN_QUIET_MS = 15000,
        RETURN_WAIT_MS = 60000, /* for the place where the VM is */
        RETURN_SEND_MS = 60000, /* a sender that has not heard by then does not hear */
};

static void look_again(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint32_t ms) {
        gw_edge_timer_set(&edge->timers, &vm->redirect, gw_mono_after(now.mono, gw_ms(ms)));
}

static void ports_open(struct gw_edge *edge, struct edge_vm *vm) {
        struct gw_error error = {0};

        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                struct gw_edge_attach a = port->a;

                if (!port->attached)
                        continue;
                a.role = GW_EDGE_RETURNING;
                a.peer = vm->peer;
                if (edge->fx->port_open(edge->user, &a, port->hold, &error))
                        gw_edge_log(edge, GW_ERR, "port=%s: what came for it cannot be sent back: %s", a.id.s,
                                    error.text);
        }
}

/* What the NVA says that is newer than the VM's way to here, and than where it is led; NULL: nothing yet. */
static const struct edge_mapping *newer_place(const struct gw_edge *edge, const struct edge_vm *vm) {
        uint64_t known = gw_edge_vm_newest(vm);

        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                if (gw_edge_mapping_elsewhere(edge, port->a.vni, port->a.mac) > known)
                        return gw_edge_mapping_find(edge, port->a.vni, port->a.mac);
        }
        return NULL;
}

/* Since it set out for here it was stopped or deleted; it may be on its way up elsewhere. */
static bool is_nowhere(const struct gw_edge *edge, const struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                const struct edge_mapping *m = gw_edge_mapping_find(edge, port->a.vni, port->a.mac);

                if (m && m->state == GW_MAPPING_ABSENT && m->epoch > vm->epoch)
                        return true;
        }
        return false;
}

/* Has the NVA put it here? Then there was a cut. */
static bool was_put_here(const struct gw_edge *edge, const struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                const struct edge_mapping *m = gw_edge_mapping_find(edge, port->a.vni, port->a.mac);

                if (m && m->state == GW_MAPPING_SERVING && m->epoch >= vm->epoch)
                        return true;
        }
        return false;
}

static bool has_frames(const struct gw_edge *edge, const struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports)
                if (gw_list_entry(link, struct edge_port, of_vm)->held.n)
                        return true;
        return edge->fx->queued && edge->fx->queued(edge->user, &vm->name);
}

static void ask(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        gw_list_for_each (link, &vm->ports) {
                const struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                struct edge_key key = gw_edge_key_mac(port->a.vni, port->a.mac);

                gw_edge_query_ask(edge, now, &key, GW_EDGE_ITSELF);
        }
}

/* ---- it is back ---- */

static bool send_held(struct gw_edge *edge, struct edge_vm *vm) {
        struct held_frame *held;
        bool any = false;

        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                while (port->attached && (held = gw_edge_held_pop(&port->held))) {
                        held->frame.ifindex = port->a.ifindex;
                        edge->counters[GW_EDGE_C_RELEASED]++;
                        edge->fx->inject(edge->user, GW_EDGE_DRAIN, &held->frame);
                        free(held);
                        any = true;
                }
        }
        return any;
}

/* Notes when something was sent. */
static void send_back(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        uint64_t n = edge->fx->send_back ? edge->fx->send_back(edge->user, &vm->name) : 0;

        if (send_held(edge, vm) || n != vm->n_returned)
                vm->returned_at = now.mono;
        vm->n_returned = n;
}

/* What is here, and what local ports send, goes there. */
static void lead_to(struct gw_edge *edge, struct edge_vm *vm, const struct edge_mapping *m) {
        vm->peer = m->locator;
        vm->back_epoch = m->epoch;
        gw_list_for_each (link, &vm->ports)
                gw_edge_member_add(edge, gw_list_entry(link, struct edge_port, of_vm)->vn, vm->peer, false);
        ports_open(edge, vm);
        gw_edge_vm_program(edge, vm);
        edge->fx->vm_changed(edge->user, &vm->name);
}

static void begin(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, const struct edge_mapping *m) {
        vm->returning = EDGE_RETURN_SENDING;
        vm->cut_at = vm->returned_at = now.mono;
        gw_edge_log(edge, GW_NOTICE, "vm=%s did not arrive; what came for it is sent on to where it is epoch=%llu",
                    vm->name.s, (unsigned long long)m->epoch);
        lead_to(edge, vm, m);
        send_back(edge, now, vm);
        look_again(edge, now, vm, RETURN_LOOK_MS);
}

/* What comes from now on goes on by itself, or by what the NVA has said: its way is changed first, so that there is no moment
 * without one. Then what had come before leaves. */
static void end_sending(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        vm->role = GW_EDGE_MOVED;
        gw_edge_vm_program(edge, vm);
        send_back(edge, now, vm);
        gw_edge_vm_forget(edge, vm);
}

static void go_on_sending(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        send_back(edge, now, vm);
        if (gw_edge_redirect_is_idle(edge, now, vm, vm->returned_at) ||
            gw_mono_reached(now.mono, gw_mono_after(vm->cut_at, gw_ms(RETURN_SEND_MS))))
                end_sending(edge, now, vm);
        else
                look_again(edge, now, vm, RETURN_LOOK_MS);
}

/* Nobody has said where it is; how long is it waited for? */
static uint32_t patience_ms(const struct gw_edge *edge, const struct edge_vm *vm, bool was_cut) {
        if (was_cut)
                return RETURN_WAIT_MS;
        return is_nowhere(edge, vm) ? RETURN_NOWHERE_MS : RETURN_QUIET_MS;
}

static void give_up(struct gw_edge *edge, struct edge_vm *vm, bool was_cut) {
        if (was_cut)
                gw_edge_log(edge, GW_WARNING,
                            "vm=%s did not arrive, and nobody says where it is; what came for it is lost", vm->name.s);
        gw_edge_vm_forget(edge, vm);
}

void gw_edge_return_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        const struct edge_mapping *m;
        bool was_cut, late;

        if (vm->returning == EDGE_RETURN_SENDING) {
                go_on_sending(edge, now, vm);
                return;
        }
        m = newer_place(edge, vm);
        if (m) {
                begin(edge, now, vm, m);
                return;
        }
        was_cut = !edge->welcome || was_put_here(edge, vm) || has_frames(edge, vm); /* or nobody could say */
        if (gw_mono_reached(now.mono, gw_mono_after(vm->cut_at, gw_ms(patience_ms(edge, vm, was_cut))))) {
                give_up(edge, vm, was_cut);
                return;
        }
        late = gw_mono_reached(now.mono, gw_mono_after(vm->cut_at, gw_ms(RETURN_OFTEN_MS)));
        ask(edge, now, vm);
        look_again(edge, now, vm, late ? RETURN_LOOK_LATE_MS : RETURN_LOOK_MS);
}

void gw_edge_return_again(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        vm->cut_at = now.mono;
        gw_edge_return_timer(edge, now, vm);
}

static void wait_for_place(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        vm->returning = EDGE_RETURN_WAITING;
        ports_open(edge, vm);
        edge->fx->vm_changed(edge->user, &vm->name);
        gw_edge_return_again(edge, now, vm);
}

/* It is back, has moved on, or is nowhere. Here it cannot be activated any more, whether or not its agent has said so. */
void gw_edge_return_heard(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        const struct edge_mapping *m = vm->role == GW_EDGE_ARRIVING ? newer_place(edge, vm) : NULL;

        if (m && vm->returning == EDGE_RETURN_SENDING)
                lead_to(edge, vm, m);
        else if (m)
                begin(edge, now, vm, m);
        else if (vm->role == GW_EDGE_ARRIVING && !vm->returning && is_nowhere(edge, vm))
                wait_for_place(edge, now, vm);
}

struct arrivals {
        struct gw_edge *edge;
        struct gw_edge_now now;
};

static void arrival_ask(struct gw_table_node *node, void *user) {
        struct edge_vm *vm = gw_container_of(node, struct edge_vm, node);
        const struct arrivals *a = user;

        if (vm->role == GW_EDGE_ARRIVING && !vm->returning)
                ask(a->edge, a->now, vm);
}

void gw_edge_arrivals_ask(struct gw_edge *edge, struct gw_edge_now now) {
        gw_table_each(&edge->vms, arrival_ask, &(struct arrivals){edge, now});
}

int gw_edge_may_return(const struct gw_edge *edge, const struct gw_name *name, uint64_t epoch, struct gw_error *error) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, name);

        if (!vm)
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s has no port here", name->s);
        if (vm->returning)
                return 0;
        if (epoch != vm->epoch)
                return gw_fail(error, GW_E_STALE, "epoch", "vm %s has epoch %llu here, not %llu", name->s,
                               (unsigned long long)vm->epoch, (unsigned long long)epoch);
        if (vm->role != GW_EDGE_ARRIVING)
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s does not arrive here", name->s);
        return 0;
}

int gw_edge_return(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *name, uint64_t epoch,
                   struct gw_error *error) {
        struct edge_vm *vm = gw_edge_vm_find(edge, name);
        int r = gw_edge_may_return(edge, name, epoch, error);

        if (r || !vm || vm->returning)
                return r;
        wait_for_place(edge, now, vm);
        return 0;
}
