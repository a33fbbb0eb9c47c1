/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What goes on at the old place after a cut: the redirect, and reports.
 *
 * A redirect ends when (1) the hypervisor agent is done with the VM (delete with
 * keep=redirect), (2) redirect_min has passed since the cut, and (3) no packet in
 * flight came for redirect_idle; or, once (1), when the time that the NVA's notice
 * gave it is over (notice.c). Then the entry becomes an ordinary one.
 * Packets that come still later are not lost either: what is not known is asked.
 *
 * Reports to the NVA: the talkers at the cut, those that still send to us (the NVA
 * corrects them one by one), and the end. They are kept while the NVA is away. A
 * report is not acknowledged; talkers are told again after each reconnect, as long as the
 * redirect lasts, which changes nothing when they were heard.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "edge/core.h"

enum {
        REDIRECT_LOOK_MS = 250,
        REDIRECT_MIN_MS = 5000,
        REDIRECT_IDLE_MS = 2000,
        AFTERWARDS_MS = 60000, /* how long what the cut told us stands when the NVA says nothing */
};

static bool list_has(const struct gw_ip *list, size_t n, struct gw_ip ip) {
        for (size_t i = 0; i < n; i++)
                if (gw_ip_eq(list[i], ip))
                        return true;
        return false;
}

static void report_send(struct gw_edge *edge, uint8_t kind, const struct gw_name *vm, uint64_t epoch,
                        const struct gw_ip *locators, size_t n) {
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        edge->report.kind = kind;
        edge->report.vm = *vm;
        edge->report.epoch = epoch;
        edge->report.redirected = 0;
        edge->report.n_locators = (uint16_t)n;
        if (n)
                memcpy(edge->report.locators, locators, n * sizeof *locators);
        gw_edge_send_written(edge, gw_report_encode(&w, 0, &edge->report));
}

void gw_edge_report_locators(struct gw_edge *edge, uint8_t kind, const struct gw_name *name,
                             const struct gw_ip *locators, size_t n) {
        report_send(edge, kind, name, 0, locators, n);
}

void gw_edge_report(struct gw_edge *edge, uint8_t kind, const struct gw_name *vm, uint64_t epoch) {
        if (edge->welcome)
                report_send(edge, kind, vm, epoch, NULL, 0);
}

static void talkers_collect(struct gw_edge *edge, struct edge_vm *vm) {
        struct gw_ip *room = edge->report.locators;

        vm->n_talkers = 0;
        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);
                size_t n = edge->fx->talkers(edge->user, port->a.vni, port->a.mac, room, GW_EDGE_TALKERS_MAX);

                for (size_t i = 0; i < n && vm->n_talkers < GW_EDGE_TALKERS_MAX; i++)
                        if (!list_has(vm->talkers, vm->n_talkers, room[i]))
                                vm->talkers[vm->n_talkers++] = room[i];
        }
}

static void talkers_report(struct gw_edge *edge, struct edge_vm *vm) {
        if (!edge->welcome)
                return;
        vm->talkers_due = false;
        report_send(edge, GW_REPORT_TALKERS, &vm->name, vm->epoch, vm->talkers, vm->n_talkers);
}

int gw_edge_redirect_begin(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        vm->cut_at = now.mono;
        vm->n_stale = 0;
        gw_edge_timer_set(&edge->timers, &vm->redirect, gw_mono_after(now.mono, gw_ms(REDIRECT_LOOK_MS)));
        if (!vm->talkers)
                vm->talkers = calloc(GW_EDGE_TALKERS_MAX, sizeof *vm->talkers);
        if (!vm->stale)
                vm->stale = calloc(GW_EDGE_TALKERS_MAX, sizeof *vm->stale);
        if (!vm->talkers || !vm->stale)
                return -ENOMEM;
        talkers_collect(edge, vm);
        vm->talkers_due = true;
        talkers_report(edge, vm);
        return 0;
}

static void ended_send(struct gw_edge *edge, const struct edge_ended *ended) {
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        edge->report.kind = GW_REPORT_REDIRECT_ENDED;
        edge->report.vm = ended->vm;
        edge->report.epoch = ended->epoch;
        edge->report.redirected = ended->redirected;
        edge->report.n_locators = 0;
        gw_edge_send_written(edge, gw_report_encode(&w, 0, &edge->report));
}

static void ended_report(struct gw_edge *edge, const struct edge_vm *vm) {
        struct edge_ended now = {.vm = vm->name, .epoch = vm->epoch}, *ended;

        gw_list_for_each (link, &vm->ports)
                now.redirected += gw_list_entry(link, struct edge_port, of_vm)->redirected;
        gw_edge_absence_count(edge, &edge->absence.redirects_ended);
        if (edge->welcome)
                return ended_send(edge, &now);
        ended = calloc(1, sizeof *ended);
        if (!ended)
                return;
        *ended = now;
        gw_list_append(&edge->ended, &ended->link);
}

static struct gw_mono redirect_last(struct gw_edge *edge, struct edge_vm *vm) {
        struct gw_mono last = {0}, seen;

        gw_list_for_each (link, &vm->ports) {
                struct edge_port *port = gw_list_entry(link, struct edge_port, of_vm);

                seen = edge->fx->redirect_seen(edge->user, port->a.vni, port->a.mac, &port->redirected);
                if (seen.ns > last.ns)
                        last = seen;
        }
        return last;
}

void gw_edge_redirect_cancel(struct gw_edge *edge, struct edge_vm *vm) {
        if (vm->role != GW_EDGE_MOVED)
                return;
        redirect_last(edge, vm); /* counts */
        gw_edge_timer_stop(&edge->timers, &vm->redirect);
        free(vm->talkers);
        free(vm->stale);
        vm->talkers = vm->stale = NULL;
        vm->n_talkers = vm->n_stale = 0;
        vm->talkers_due = vm->leaving = false;
        ended_report(edge, vm);
}

/* When no mapping is newer, what the cut told us stands for a while. */
static void redirect_leave_mapping(struct gw_edge *edge, struct gw_edge_now now, const struct edge_port *port) {
        const struct edge_vm *vm = port->vm;
        struct gw_mapping said = {.epoch = vm->epoch,
                                  .vni = port->a.vni,
                                  .lifetime_ms = AFTERWARDS_MS,
                                  .locator = vm->peer,
                                  .mac = port->a.mac,
                                  .state = GW_MAPPING_SERVING,
                                  .n_ips = port->a.n_ips,
                                  .vm = vm->name};
        const struct edge_mapping *m = gw_edge_mapping_find(edge, port->a.vni, port->a.mac);

        if (m && m->epoch >= vm->epoch)
                return;
        memcpy(said.ips, port->a.ips, sizeof said.ips);
        gw_edge_mapping_apply(edge, now, &said);
}

static void redirect_end(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        gw_edge_log(edge, GW_INFO, "vm=%s epoch=%llu redirect ended", vm->name.s, (unsigned long long)vm->epoch);
        gw_list_for_each (link, &vm->ports)
                redirect_leave_mapping(edge, now, gw_list_entry(link, struct edge_port, of_vm));
        ended_report(edge, vm);
        gw_edge_vm_forget(edge, vm);
}

static void stale_report(struct gw_edge *edge, struct edge_vm *vm) {
        if (!vm->n_stale || !edge->welcome)
                return;
        report_send(edge, GW_REPORT_STALE_SENDERS, &vm->name, vm->epoch, vm->stale, vm->n_stale);
        vm->n_stale = 0;
}

bool gw_edge_redirect_is_idle(const struct gw_edge *edge, struct gw_edge_now now, const struct edge_vm *vm,
                              struct gw_mono last) {
        uint32_t min_ms = edge->config.redirect_min_ms ? edge->config.redirect_min_ms : REDIRECT_MIN_MS;
        uint32_t idle_ms = edge->config.redirect_idle_ms ? edge->config.redirect_idle_ms : REDIRECT_IDLE_MS;

        return gw_mono_reached(now.mono, gw_mono_after(vm->cut_at, gw_ms(min_ms))) &&
               (!last.ns || gw_mono_reached(now.mono, gw_mono_after(last, gw_ms(idle_ms))));
}

void gw_edge_redirect_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm) {
        struct gw_mono last;

        if (vm->role != GW_EDGE_MOVED) {
                (vm->returning ? gw_edge_return_timer(edge, now, vm) : gw_edge_vm_hold_timer(edge, vm));
                return;
        }
        last = redirect_last(edge, vm);
        stale_report(edge, vm);
        if (vm->leaving &&
            (gw_edge_redirect_is_idle(edge, now, vm, last) || gw_mono_reached(now.mono, vm->reg->keep_until))) {
                redirect_end(edge, now, vm);
                return;
        }
        gw_edge_timer_set(&edge->timers, &vm->redirect, gw_mono_after(now.mono, gw_ms(REDIRECT_LOOK_MS)));
}

void gw_edge_stale_sender(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_mac mac,
                          struct gw_ip sender) {
        struct edge_port *port = gw_edge_port_by_mac(edge, vni, mac);
        const struct edge_mapping *m;
        struct gw_name vm = {""};

        edge->counters[GW_EDGE_C_STALE_SENDERS]++;
        if (port && port->vm->role == GW_EDGE_MOVED && port->vm->stale) {
                struct edge_vm *moved = port->vm;

                if (moved->n_stale < GW_EDGE_TALKERS_MAX && !list_has(moved->stale, moved->n_stale, sender))
                        moved->stale[moved->n_stale++] = sender;
                gw_edge_timer_set(&edge->timers, &moved->redirect, now.mono);
                return;
        }
        m = gw_edge_mapping_find(edge, vni, mac);
        if (!edge->welcome || !m || !m->vm || m->state != GW_MAPPING_SERVING)
                return;
        snprintf(vm.s, sizeof vm.s, "%s", m->vm);
        report_send(edge, GW_REPORT_STALE_SENDERS, &vm, m->epoch, &sender, 1);
}

static void reports_due_each(struct gw_table_node *node, void *user) {
        struct edge_vm *vm = gw_container_of(node, struct edge_vm, node);

        if (vm->role != GW_EDGE_MOVED || !vm->talkers)
                return;
        talkers_report(user, vm);
        stale_report(user, vm);
}

void gw_edge_reports_due(struct gw_edge *edge) {
        gw_table_each(&edge->vms, reports_due_each, edge);
        gw_list_for_each (link, &edge->ended) {
                struct edge_ended *ended = gw_list_entry(link, struct edge_ended, link);

                ended_send(edge, ended);
                gw_list_remove(link);
                free(ended);
        }
}

void gw_edge_reports_free_all(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->ended) {
                gw_list_remove(link);
                free(gw_list_entry(link, struct edge_ended, link));
        }
}

size_t gw_edge_talkers(const struct gw_edge *edge, const struct gw_name *name, struct gw_ip *out, size_t max) {
        const struct edge_vm *vm = gw_edge_vm_find(edge, name);
        size_t n = vm && vm->talkers ? vm->n_talkers : 0;

        if (n > max)
                n = max;
        if (n)
                memcpy(out, vm->talkers, n * sizeof *out);
        return n;
}
