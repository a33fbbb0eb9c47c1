/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs of a simulation: where each runs and how far its move is, and what its
 * hypervisors do at the edges for it. When that is done, and what management says
 * to it, is the test's.
 *
 * VM v is "vm<v>", with one port in VN "vn<v % n_vns>".
 */
#pragma once

#include "sim/authority.h"
#include "sim/host.h"

enum guest_phase {
        GUEST_REST,
        GUEST_RESERVED,
        GUEST_ARRIVING,
        GUEST_COPYING,
        GUEST_CUT,
        GUEST_RAN,
        GUEST_TOOK_BACK,
};

struct guest {
        int vn, runs_at, from, to; /* links; HOST_NOWHERE */
        enum guest_phase phase;
        uint64_t epoch, move_epoch, back_epoch;
        uint64_t since_ns; /* it was started; 0: it does not run */
        bool given_back;   /* since its cut: its target has been told that it does not arrive */
};

struct guests {
        struct net *net;
        struct authority *a;
        struct hosts *hosts;
        int n;
        struct guest guest[HOST_VMS_MAX];
};

struct gw_name guest_name(int v);
int guest_index(const char *id);
struct gw_vm *guest_known(const struct guests *gs, int v); /* as the directory has it */

/* Makes VN k in the directory, with these subnets. */
void guests_make_vn(const struct guests *gs, int k, uint8_t model, const char *const *subnets, size_t n_subnets);
/* Makes one more VM in VN k, or one that is not simulated. */
struct gw_vm *guests_make_vm(const struct guests *gs, const char *id, int k);
/* n VMs in n_vns VNs that are there; none runs. */
void guests_init(struct guests *gs, struct authority *a, struct hosts *hosts, int n, int n_vns);

/* What the edges are told; that one of them refuses is the test's end. */
void guest_attach(struct guests *gs, int v, int link, uint8_t role, uint64_t epoch, int peer);
void guest_delete(struct guests *gs, int v, int link, bool keep, const char *what);
void guest_cut(struct guests *gs, int v);               /* it runs nowhere then */
void guest_give_back(struct guests *gs, int v);         /* its target is rid of it; it is at the source again soon */
void guest_resume(struct guests *gs, int v, bool back); /* at the target, or at the source again */
bool guest_is_at(const struct guests *gs, int v, int link, enum gw_edge_role *role); /* role may be NULL */
