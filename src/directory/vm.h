/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs, their ports and their bindings, as the directory keeps them in memory.
 *
 * A directory of ten millions is made of these, so each octet counts: references take 4 (base/ref.h), times and numbers
 * no more bits than they need, what a VM or port has many of, or seldom, lies elsewhere, and the indexes need nothing in
 * them. docs/scale.md has the sum, tests/unit/directory_layout.c keeps it. What is not a plain number is read through
 * the functions below; how it is kept is the business of src/directory alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/chain.h"
#include "base/ref.h"
#include "base/ring.h"
#include "base/time.h"
#include "directory/lease.h"

struct gw_nve;
struct gw_tenant;
struct gw_vn;

struct gw_port {
        uint64_t changed : 48; /* vn->change when its mapping last changed; 0: it never had one */
        uint64_t allow : 16;   /* enum gw_allow */
        struct gw_ref vm, vn;
        struct gw_ref next; /* of the VM, by rising index */
        struct gw_ring in_vn;
        struct gw_mac mac;
        uint16_t index : 4;
        uint16_t n_ips : 5;
        uint16_t wide : 1;  /* its addresses take 16 octets each; else all are IPv4, and take 4 */
        uint16_t named : 1; /* after its addresses there is room for the name of its device */
        uint8_t octets[];   /* gw_port_ip, gw_port_device */
};

enum gw_vm_kind { GW_VM_MACHINE, GW_VM_TASK };
enum gw_vm_desired { GW_VM_STOP, GW_VM_RUN };
/* What was last heard of it. The shell's to set; the binding does not depend on it. */
enum gw_vm_state {
        GW_VM_STOPPED,
        GW_VM_STARTING,
        GW_VM_RUNNING,
        GW_VM_PAUSED,
        GW_VM_MOVING,
        GW_VM_STOPPING,
        GW_VM_CRASHED
};
enum gw_on_crash { GW_ON_CRASH_RESTART, GW_ON_CRASH_STOP };

enum gw_binding_state {
        GW_BINDING_NONE,      /* nowhere */
        GW_BINDING_PLACED,    /* management put it at .nve, which has not registered it yet: not reachable */
        GW_BINDING_COMMITTED, /* a move was committed; reachable at .nve, which has not registered it yet */
        GW_BINDING_SERVING,   /* registered by .nve; reachable */
        GW_BINDING_LAPSED, /* .nve did not refresh it in time, or deregistered it; not reachable until it registers */
};

struct gw_previous {
        struct gw_ip locator;
        struct gw_wall from, to;
};

struct gw_reservation {
        struct gw_nve *from, *to;
        uint64_t epoch, back_epoch; /* to arrive with, to take back with */
};

/* What few bindings have lies aside (aside.c). */
struct gw_binding_aside {
        struct gw_reservation move; /* if .moving */
        bool moving;
        uint8_t n_previous;
        struct gw_previous previous[]; /* oldest first */
};

#define GW_LIFETIME_MAX_MS (((UINT32_C(1) << 18) - 1) * 1000)
#define GW_EPOCH_MAX ((UINT64_C(1) << 38) - 1) /* a VM that moved each second would reach it in 4,000 years */

struct gw_binding {
        uint64_t epoch : 38;    /* of the present place */
        uint64_t sequence : 16; /* of the last registration by the NVE */
        uint64_t since_ms : 10; /* beside since_s */
        uint64_t reserved : 38; /* highest epoch given out for this VM; the next one is above */
        uint64_t lifetime_s : 18;
        uint64_t heard : 1; /* the NVE has registered at this place; .sequence and .timestamp hold */
        uint64_t state : 3; /* enum gw_binding_state */
        uint64_t timestamp; /* of the last registration by the NVE */
        uint32_t since_s, registered_s;
        struct gw_ref nve, aside;
};

struct gw_vm {
        struct gw_binding binding;
        struct gw_ref tenant, ports;
        /* the directory's own: */
        struct gw_ring at_nve;
        struct gw_chain holders; /* gw_directory_holder */
        struct gw_lease lease;   /* while it is reachable */
        /* everyone's: */
        uint32_t memory_mib;
        uint16_t vcpus;
        uint16_t kind : 1, desired : 1, on_crash : 1, state : 3;
        uint16_t n_ports : 5;
        char name[]; /* without its tenant; as long as it is, and a 0 */
};

/* --- reading them --- */

static inline struct gw_nve *gw_binding_nve(const struct gw_binding *b) { /* NULL: nowhere */
        return gw_ref_get(&b->nve);
}
static inline struct gw_binding_aside *gw_binding_aside(const struct gw_binding *b) { /* NULL: nothing is */
        return gw_ref_get(&b->aside);
}
static inline struct gw_reservation *gw_binding_move(const struct gw_binding *b) { /* NULL: none is reserved */
        struct gw_binding_aside *aside = gw_binding_aside(b);

        return aside && aside->moving ? &aside->move : NULL;
}
static inline unsigned gw_binding_n_previous(const struct gw_binding *b) {
        return b->aside.place ? gw_binding_aside(b)->n_previous : 0;
}
static inline const struct gw_previous *gw_binding_previous(const struct gw_binding *b) { /* n_previous of them */
        return b->aside.place ? gw_binding_aside(b)->previous : NULL;
}
static inline struct gw_wall gw_binding_since(const struct gw_binding *b) { /* at this place; to the ms */
        return (struct gw_wall){b->since_s * GW_NS_PER_S + b->since_ms * GW_NS_PER_MS};
}
static inline struct gw_wall gw_binding_registered_at(const struct gw_binding *b) { /* to the second */
        return (struct gw_wall){b->registered_s * GW_NS_PER_S};
}
static inline uint32_t gw_binding_lifetime_ms(const struct gw_binding *b) { /* granted */
        return (uint32_t)b->lifetime_s * 1000;
}

struct gw_name gw_vm_name(const struct gw_vm *vm); /* name@tenant */
static inline struct gw_tenant *gw_vm_tenant(const struct gw_vm *vm) {
        return gw_ref_sure(&vm->tenant);
}
static inline struct gw_nve *gw_vm_nve(const struct gw_vm *vm) {
        return gw_binding_nve(&vm->binding);
}
static inline struct gw_reservation *gw_vm_move(const struct gw_vm *vm) {
        return gw_binding_move(&vm->binding);
}
static inline struct gw_port *gw_vm_ports(const struct gw_vm *vm) { /* by rising index */
        return gw_ref_get(&vm->ports);
}

static inline struct gw_port *gw_port_next(const struct gw_port *port) { /* of the VM */
        return gw_ref_get(&port->next);
}
static inline struct gw_vm *gw_port_vm(const struct gw_port *port) {
        return gw_ref_sure(&port->vm);
}
static inline struct gw_vn *gw_port_vn(const struct gw_port *port) {
        return gw_ref_sure(&port->vn);
}
struct gw_name gw_port_id(const struct gw_port *port);
struct gw_ip gw_port_ip(const struct gw_port *port, unsigned nth); /* below n_ips */
const char *gw_port_device(const struct gw_port *port);            /* of a task; else empty */
