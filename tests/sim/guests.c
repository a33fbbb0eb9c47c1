/* SPDX-License-Identifier: Apache-2.0 */
/* Each function here is what a hypervisor agent does with its edge at that step of a VM's life; nothing waits. */
#include "sim/guests.h"

#include <stdio.h>
#include <stdlib.h>

struct gw_name guest_name(int v) {
        struct gw_name name;

        snprintf(name.s, sizeof name.s, "vm%d@default", v);
        return name;
}

int guest_index(const char *id) {
        return atoi(id + 2);
}

struct gw_vm *guest_known(const struct guests *gs, int v) {
        return gw_directory_vm(&gs->a->d, guest_name(v).s);
}

static struct gw_edge *edge_at(const struct guests *gs, int link) {
        return gs->hosts->host[link].edge;
}

static struct gw_edge_now now_at(const struct guests *gs, int link) {
        return host_now(&gs->hosts->host[link]);
}

static void must(const struct guests *gs, int r, const char *what, int v, const struct gw_error *error) {
        if (r)
                net_die(gs->net, "%s of vm%d: %s", what, v, error->text);
}

void guests_make_vn(const struct guests *gs, int k, uint8_t model, const char *const *subnets, size_t n_subnets) {
        struct gw_prefix prefixes[GW_VN_SUBNETS_MAX];
        char name[16];
        struct gw_vn_spec spec = {.id = name,
                                  .vni = HOST_VNI_FIRST + (uint32_t)k,
                                  .model = model,
                                  .n_subnets = n_subnets,
                                  .subnets = prefixes};
        struct gw_error error;

        for (size_t i = 0; i < n_subnets; i++)
                gw_prefix_parse(subnets[i], &prefixes[i]);
        snprintf(name, sizeof name, "vn%d", k);
        if (gw_directory_vn_create(&gs->a->d, &spec, NULL, &error))
                net_die(gs->net, "%s", error.text);
}

struct gw_vm *guests_make_vm(const struct guests *gs, const char *id, int k) {
        char name[16];
        struct gw_port_spec port = {.vn = name};
        struct gw_vm_spec spec = {.id = id, .memory_mib = 1, .vcpus = 1, .n_ports = 1, .ports = &port};
        struct gw_error error;
        struct gw_vm *vm;

        snprintf(name, sizeof name, "vn%d", k);
        if (gw_directory_vm_create(&gs->a->d, &spec, &vm, &error))
                net_die(gs->net, "%s", error.text);
        return vm;
}

void guests_init(struct guests *gs, struct authority *a, struct hosts *hosts, int n, int n_vns) {
        gs->net = hosts->net;
        gs->a = a;
        gs->hosts = hosts;
        gs->n = n;
        for (int v = 0; v < n; v++) {
                gs->guest[v] = (struct guest){.vn = v % n_vns, .runs_at = HOST_NOWHERE};
                hosts->macs[v] = gw_vm_ports(guests_make_vm(gs, guest_name(v).s, v % n_vns))->mac;
        }
}

void guest_attach(struct guests *gs, int v, int link, uint8_t role, uint64_t epoch, int peer) {
        const struct gw_port *known = gw_vm_ports(guest_known(gs, v));
        struct gw_edge_attach port = {.id = gw_port_id(known),
                                      .vm = guest_name(v),
                                      .vni = HOST_VNI_FIRST + (uint32_t)gs->guest[v].vn,
                                      .ifindex = (uint32_t)v + 1,
                                      .mtu = 1400,
                                      .mac = known->mac,
                                      .n_ips = known->n_ips,
                                      .role = role,
                                      .queues = true,
                                      .epoch = epoch};
        struct gw_error error = {0};
        int r;

        for (unsigned i = 0; i < known->n_ips; i++)
                port.ips[i] = gw_port_ip(known, i);
        if (peer != HOST_NOWHERE)
                port.peer = gs->hosts->host[peer].locator;
        r = gw_edge_attach(edge_at(gs, link), now_at(gs, link), &port, &error);
        if (r == GW_E_CONFLICT) { /* its tap is there from a move that was taken back: the agent has it cleared away */
                guest_delete(gs, v, link, false, "clear");
                r = gw_edge_attach(edge_at(gs, link), now_at(gs, link), &port, &error);
        }
        must(gs, r, "attachment", v, &error);
}

void guest_delete(struct guests *gs, int v, int link, bool keep, const char *what) {
        struct gw_name name = guest_name(v);
        struct gw_error error = {0};

        must(gs, gw_edge_delete(edge_at(gs, link), now_at(gs, link), &name, keep, &error), what, v, &error);
}

void guest_cut(struct guests *gs, int v) {
        struct guest *g = &gs->guest[v];
        struct gw_name name = guest_name(v);
        struct gw_error error = {0};
        struct gw_ip to = gs->hosts->host[g->to].locator;

        must(gs, gw_edge_cut(edge_at(gs, g->from), now_at(gs, g->from), &name, to, g->move_epoch, &error), "cut", v,
             &error);
        g->runs_at = HOST_NOWHERE;
        g->given_back = false;
        g->phase = GUEST_CUT;
        net_trace(gs->net, "vm%d is cut", v);
}

/* An edge that was restarted knows nothing of it. */
void guest_give_back(struct guests *gs, int v) {
        struct guest *g = &gs->guest[v];
        struct gw_name name = guest_name(v);
        struct gw_error error = {0};
        int r = gw_edge_return(edge_at(gs, g->to), now_at(gs, g->to), &name, g->move_epoch, &error);

        if (r != GW_E_NOT_FOUND)
                must(gs, r, "return", v, &error);
        g->given_back = true;
        net_trace(gs->net, "vm%d does not arrive at n%d", v, g->to);
}

void guest_resume(struct guests *gs, int v, bool back) {
        struct guest *g = &gs->guest[v];
        struct gw_name name = guest_name(v);
        struct gw_error error = {0};

        if (back) {
                if (!g->given_back)
                        guest_give_back(gs, v);
                must(gs, gw_edge_uncut(edge_at(gs, g->from), now_at(gs, g->from), &name, g->back_epoch, &error),
                     "uncut", v, &error);
        } else {
                must(gs, gw_edge_activate(edge_at(gs, g->to), now_at(gs, g->to), &name, g->move_epoch, &error),
                     "activate", v, &error);
        }
        g->runs_at = back ? g->from : g->to;
        g->epoch = back ? g->back_epoch : g->move_epoch;
        g->phase = back ? GUEST_TOOK_BACK : GUEST_RAN;
        net_trace(gs->net, "vm%d runs at n%d", v, g->runs_at);
}

bool guest_is_at(const struct guests *gs, int v, int link, enum gw_edge_role *role) {
        struct gw_name name = guest_name(v);
        enum gw_edge_role unused;
        uint64_t epoch;

        return gw_edge_vm_role(edge_at(gs, link), &name, role ? role : &unused, &epoch);
}
