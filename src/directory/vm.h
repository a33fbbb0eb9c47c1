/* SPDX-License-Identifier: Apache-2.0 */
/*
 * VMs, their ports and their bindings, as the directory keeps them in memory.
 *
 * What refers to another object, and times, are read through the functions below; how they are kept is the business of
 * src/directory alone.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/chain.h"
#include "base/list.h"
#include "base/time.h"
#include "directory/heap.h"

struct gw_nve;
struct gw_tenant;
struct gw_vn;

/* Memory is what a directory of ten millions is made of: what a VM or port has many of, or seldom, lies elsewhere, and
 * the indexes need nothing in them (base/index.h). docs/scale.md has the sum. */
struct gw_port {
        struct gw_vm *vm;
        struct gw_vn *vn;
        struct gw_port *next; /* of the VM, by rising index */
        struct gw_list in_vn;
        uint64_t changed; /* vn->change when its mapping last changed; 0: it never had one */
        struct gw_mac mac;
        uint16_t allow; /* enum gw_allow */
        uint8_t index;
        uint8_t n_ips;
        bool wide : 1;    /* its addresses take 16 octets each; else all are IPv4, and take 4 */
        bool named : 1;   /* after its addresses there is room for the name of its device */
        uint8_t octets[]; /* gw_port_ip, gw_port_device */
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

struct gw_binding {
        uint64_t epoch;    /* of the present place */
        uint64_t reserved; /* highest epoch given out for this VM; the next one is above */
        struct gw_nve *nve;
        struct gw_reservation *move; /* NULL: none is reserved */
        uint64_t timestamp;          /* of the last registration by .nve */
        struct gw_wall since;        /* at this place */
        struct gw_wall registered_at;
        struct gw_previous *previous; /* oldest first */
        uint32_t lifetime_ms;         /* granted */
        uint16_t sequence;            /* of the last registration by .nve */
        uint8_t n_previous;
        bool heard : 1;    /* .nve has registered at this place; .sequence and .timestamp hold */
        uint8_t state : 7; /* enum gw_binding_state */
};

struct gw_vm {
        struct gw_tenant *tenant;
        struct gw_port *ports;
        struct gw_binding binding;
        uint32_t vcpus, memory_mib;
        /* the directory's own: */
        struct gw_list at_nve;
        struct gw_chain holders;  /* gw_directory_holder */
        struct gw_deadline timer; /* lifetime */
        uint8_t kind : 1, desired : 1, on_crash : 1, state : 5;
        uint8_t n_ports;
        struct {
                char s[0]; /* as long as it is; a copy: gw_vm_name */
        } id;              /* name@tenant */
};

/* --- reading them --- */

static inline struct gw_nve *gw_binding_nve(const struct gw_binding *b) { /* NULL: nowhere */
        return b->nve;
}
static inline struct gw_reservation *gw_binding_move(const struct gw_binding *b) { /* NULL: none is reserved */
        return b->move;
}
static inline unsigned gw_binding_n_previous(const struct gw_binding *b) {
        return b->n_previous;
}
static inline const struct gw_previous *gw_binding_previous(const struct gw_binding *b) { /* oldest first */
        return b->previous;
}
static inline struct gw_wall gw_binding_since(const struct gw_binding *b) { /* at this place */
        return b->since;
}
static inline struct gw_wall gw_binding_registered_at(const struct gw_binding *b) {
        return b->registered_at;
}
static inline uint32_t gw_binding_lifetime_ms(const struct gw_binding *b) { /* granted */
        return b->lifetime_ms;
}

struct gw_name gw_vm_name(const struct gw_vm *vm); /* name@tenant */
static inline struct gw_tenant *gw_vm_tenant(const struct gw_vm *vm) {
        return vm->tenant;
}
static inline struct gw_nve *gw_vm_nve(const struct gw_vm *vm) {
        return gw_binding_nve(&vm->binding);
}
static inline struct gw_reservation *gw_vm_move(const struct gw_vm *vm) {
        return gw_binding_move(&vm->binding);
}
static inline struct gw_port *gw_vm_ports(const struct gw_vm *vm) { /* by rising index */
        return vm->ports;
}

static inline struct gw_port *gw_port_next(const struct gw_port *port) { /* of the VM */
        return port->next;
}
static inline struct gw_vm *gw_port_vm(const struct gw_port *port) {
        return port->vm;
}
static inline struct gw_vn *gw_port_vn(const struct gw_port *port) {
        return port->vn;
}
struct gw_name gw_port_id(const struct gw_port *port);
struct gw_ip gw_port_ip(const struct gw_port *port, unsigned nth); /* below n_ips */
const char *gw_port_device(const struct gw_port *port);            /* of a task; else empty */
