/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a hypervisor must be able to do. One table of functions per kind of
 * hypervisor; godwit-hv drives every VM through it and knows nothing else.
 *
 * A VM outlives the agent: gw_vm_free lets go of it, only kill ends it. After a
 * restart of the agent `adopt` finds it again from what was written down.
 * Commands are asynchronous: `done` is called exactly once, later, with a NULL
 * error on success; when the VM ends first, done comes with an error before
 * `exited` does. Events come from the event loop, never from inside a command.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/time.h"
#include "hypervisor/definition.h"
#include "hypervisor/options.h"

/* Run states an agent has to tell apart. */
enum gw_vm_run {
        GW_VM_RUN_UNKNOWN,
        GW_VM_RUN_RUNNING,
        GW_VM_RUN_PAUSED,
        GW_VM_RUN_INCOMING, /* waits for a copy from elsewhere */
        GW_VM_RUN_LEFT,     /* a copy has left completely; this one is stopped */
        GW_VM_RUN_DOWN,     /* the guest has powered off */
};

enum gw_vm_copy {
        GW_VM_COPY_NONE,
        GW_VM_COPY_ACTIVE,         /* memory is on its way, the VM runs */
        GW_VM_COPY_PRE_SWITCHOVER, /* the source is stopped and waits for `proceed` */
        GW_VM_COPY_DEVICE,         /* the last state is on its way */
        GW_VM_COPY_COMPLETED,
        GW_VM_COPY_FAILED,
        GW_VM_COPY_CANCELLED,
        GW_VM_COPY_POSTCOPY, /* the VM runs at the target, memory is still on its way */
        GW_VM_COPY_BROKEN,   /* ... and the connection is lost; both sides keep what they have */
};

struct gw_vm_progress {
        uint64_t transferred_octets, remaining_octets, total_octets;
        uint64_t rate_octets_s;
        uint64_t dirty_pages_s;
        uint64_t iteration;
};

struct gw_vm_status {
        enum gw_vm_run run;
        enum gw_vm_copy copy;
        struct gw_vm_progress progress;
        char reason[200]; /* of a failed copy; may be empty */
        /* Of disks that are being mirrored; bit i is disk i. */
        unsigned mirrors, mirrors_ready;
        uint64_t disk_done_octets, disk_total_octets;
};

/* What becomes of the mirror of a disk. */
enum gw_vm_mirror_state {
        GW_VM_MIRROR_READY, /* the images are in step, and stay so */
        GW_VM_MIRROR_ENDED, /* as asked */
        GW_VM_MIRROR_FAILED,
};

/* What finds a VM's emulator again; kept by the agent in its state directory. */
struct gw_vm_identity {
        pid_t pid;           /* 0: not started */
        uint64_t start_time; /* of that process, in clock ticks since boot: tells it from a later one */
};

/* Who is at the other end of a stream, and how that is made sure. Borrowed. */
struct gw_vm_security {
        const char *tls_dir; /* with the names QEMU expects: ca-cert.pem, server-cert.pem, ..; NULL: in the clear */
        const char *peer;    /* the name in the other side's certificate */
};

struct gw_vm_migration {
        char uri[128];
        uint64_t bandwidth_octets_s; /* 0: no limit */
        unsigned downtime_ms;
        unsigned disks; /* being mirrored: bit i is disk i */
        struct gw_copy_options options;
        struct gw_vm_security security;
};

/* How a VM that waits for its copy is to receive it. */
struct gw_vm_landing {
        char uri[80];
        unsigned disks;         /* whose images are received too: bit i is disk i */
        struct gw_endpoint nbd; /* where, when there are any */
        struct gw_copy_options options;
        struct gw_vm_security security;
};

struct gw_vm_mirror {
        struct gw_endpoint to;
        unsigned disks;
        uint64_t bandwidth_octets_s; /* of each; 0: no limit */
        struct gw_vm_security security;
};

/* What starts a VM. Everything is borrowed during the call. */
struct gw_vm_start {
        const struct gw_definition *definition;
        const char *directory;      /* exists; for this VM's sockets and logs; the emulator works there */
        const char *emulator;       /* program to run */
        const struct gw_user *user; /* who it becomes; NULL: as we are */
        const char *tap_gate;       /* hypervisor/tapgate.c as a library to load into it; NULL: none */
        bool kvm;
        bool incoming;  /* wait for a copy; do not boot */
        bool held;      /* be there, and do not let the guest run */
        bool userfault; /* incoming: is to have memory handed in later, as a user who may not ask the kernel for that */
        const int *tap_fds; /* one per port; stay the caller's */
};

struct gw_user;
struct gw_vm;

struct gw_vm_events {
        /* The control channel is up and set up; status as of now. After start, after adopt, and again whenever the
         * channel was lost and is back: events may have been missed in between. */
        void (*ready)(struct gw_vm *vm, const struct gw_vm_status *status, void *user);
        /* The VM stopped or went on; at: the hypervisor's own time stamp. */
        void (*run)(struct gw_vm *vm, enum gw_vm_run run, struct gw_wall at, void *user);
        void (*copy)(struct gw_vm *vm, enum gw_vm_copy copy, struct gw_wall at, void *user);
        /* A pass over all memory begins, the first is 1. May be NULL. */
        void (*pass)(struct gw_vm *vm, uint64_t number, void *user);
        /* May be NULL, like everything that only VMs with disks need. */
        void (*mirror)(struct gw_vm *vm, unsigned disk, enum gw_vm_mirror_state state, const char *reason, void *user);
        /* The emulator is gone. `clean`: the guest or an operator ended it. Last event of this VM. */
        void (*exited)(struct gw_vm *vm, bool clean, const char *reason, void *user);
};

typedef void (*gw_vm_done)(const struct gw_error *error, void *user);
typedef void (*gw_vm_status_done)(const struct gw_error *error, const struct gw_vm_status *status, void *user);

struct gw_vm_driver {
        const char *name;
        int (*start)(struct gw_vm **out, sd_event *event, const struct gw_vm_start *start,
                     const struct gw_vm_events *events, void *user, struct gw_error *error);
        /* GW_E_NOT_FOUND: the process of that identity is gone. */
        int (*adopt)(struct gw_vm **out, sd_event *event, const char *directory, const struct gw_vm_identity *identity,
                     const struct gw_vm_events *events, void *user, struct gw_error *error);
        void (*incoming)(struct gw_vm *vm, const struct gw_vm_landing *landing, gw_vm_done done, void *user);
        void (*migrate)(struct gw_vm *vm, const struct gw_vm_migration *to, gw_vm_done done, void *user);
        void (*proceed)(struct gw_vm *vm, gw_vm_done done, void *user); /* from pre-switchover */
        void (*cancel)(struct gw_vm *vm, gw_vm_done done, void *user);
        /* From now on memory goes so fast (0: as it can), and the last copy may take so long. */
        void (*pace)(struct gw_vm *vm, uint64_t bandwidth_octets_s, unsigned downtime_ms, gw_vm_done done, void *user);
        /* Post-copy: ends a connection that may be dead; BROKEN follows. */
        void (*break_off)(struct gw_vm *vm, gw_vm_done done, void *user);
        void (*post_copy)(struct gw_vm *vm, gw_vm_done done, void *user); /* from now on, run there first */
        /* After a broken connection: the target listens anew, then the source connects anew. */
        void (*recover)(struct gw_vm *vm, const char *uri, gw_vm_done done, void *user);
        void (*reconnect)(struct gw_vm *vm, const char *uri, gw_vm_done done, void *user);
        /* Disks, to images served at the target. `mirror` begins; when all are ready, `mirror_end` ends them where they
         * are; forced: at any time, for nothing. mirror_clear takes away what they leave behind. */
        void (*mirror)(struct gw_vm *vm, const struct gw_vm_mirror *mirror, gw_vm_done done, void *user);
        void (*mirror_end)(struct gw_vm *vm, unsigned disks, bool force, gw_vm_done done, void *user);
        void (*hang_up)(struct gw_vm *vm,
                        unsigned disks); /* at once: nothing waits any more for what a dead target owes */
        void (*mirror_clear)(struct gw_vm *vm, unsigned disks, gw_vm_done done, void *user);
        void (*forget_keys)(struct gw_vm *vm); /* at the target, when nothing is to come any more */
        void (*serve_no_disks)(struct gw_vm *vm, gw_vm_done done, void *user); /* at the target, when it runs */
        void (*cont)(struct gw_vm *vm, gw_vm_done done, void *user);
        void (*stop)(struct gw_vm *vm, gw_vm_done done, void *user);
        void (*power_down)(struct gw_vm *vm, gw_vm_done done, void *user); /* asks the guest */
        void (*query)(struct gw_vm *vm, gw_vm_status_done done, void *user);
        void (*kill)(struct gw_vm *vm); /* at once; `exited` follows */
        void (*identity)(const struct gw_vm *vm, struct gw_vm_identity *out);
        void (*free)(struct gw_vm *vm); /* NULL-safe; lets go, the emulator lives on; no callback comes afterwards */
};

/* Embedded first by each driver. */
struct gw_vm {
        const struct gw_vm_driver *driver;
};

/* The emulator as a child of ours, spoken to over QMP (hypervisor/qemu.c). */
extern const struct gw_vm_driver gw_qemu_driver;
