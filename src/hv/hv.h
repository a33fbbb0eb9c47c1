/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-hv: the agent. One loop, one thread; this header is private to src/hv.
 *
 *      hv.c      the agent as a whole: sessions, events, inventory, capacity
 *      api.c     routes: reads and checks what is asked, then calls the others
 *      api_moves.c  the same for orders of moves
 *      vm.c      one VM: made, adopted, ended, forgotten
 *      start.c   the steps from nothing to a running (or waiting) emulator
 *      suspend.c a VM that stands still, and goes on
 *      still.c   ... told to the NVE
 *      confirm.c  what the NVE has to confirm
 *      parked.c  an order to leave that waits for that
 *      source.c  a VM that leaves
 *      target.c  a VM that arrives
 *      images.c  images of disks: looked at, made, removed
 *      mirror.c  disks that leave with their VM
 *      carrier.c  what carries a copy over TLS
 *      reach.c   ... whether their target is there
 *      backlog.c  ... and how far they are behind
 *      stall.c   a copy that stands still
 *      postcopy.c  a VM that runs at the target before all its memory is there
 *      scope.c   control groups of what outlives the agent
 *      security.c  certificates as QEMU wants them
 *      edge.c    calls to this host's NVE, repeated until answered
 *      record.c  what is written down
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/list.h"
#include "base/time.h"
#include "hv/backlog.h"
#include "hv/config.h"
#include "hv/record.h"
#include "hypervisor/driver.h"
#include "hypervisor/process.h"
#include "hypervisor/user.h"
#include "io/api.h"
#include "io/loop.h"

struct gw_http;
struct gw_kvm_probe;
struct gw_session;
struct gw_timer;
struct gw_renewal;
struct gw_tls;
struct hv_carrier;
struct hv_reach;
struct hv_scopes;

enum {
        HV_OUTBOX_MAX = 256, /* events of moves kept while the authority is away */
        HV_STOP_DEADLINE_MS = 30000,
        HV_PROGRESS_MS = 200,
        HV_EDGE_RETRY_MS = 50,
        HV_EDGE_CALL_MS = 3000, /* one try */
        HV_ATTACH_DEADLINE_MS = 5000,
        HV_STILL_DEADLINE_MS = 100, /* one try: two that wait could come in the wrong order */
        HV_DETACH_DEADLINE_MS = 5000,
        HV_CONFIRM_AGAIN_MS = 1000,
        HV_PARKED_MS = 10000, /* well below what the authority waits for an answer */
        HV_SETTLE_MS = 10000, /* how long the inventory waits for emulators that do not speak */
};

enum hv_accelerator { HV_ACCELERATOR_UNKNOWN, HV_ACCELERATOR_TCG, HV_ACCELERATOR_KVM };

struct hv {
        const struct hv_config *config;
        struct gw_loop *loop;
        struct gw_api api;
        struct gw_tls *tls;
        struct gw_renewal *renewal;
        struct gw_session *nva, *nve;
        struct gw_http *http;
        struct gw_list vms;   /* of struct hv_vm */
        struct gw_list cells; /* edge.c: calls to the NVE that are not answered */
        struct gw_list carriers;
        struct hv_scopes *scopes; /* NULL: nothing to put there */
        json_t *outbox;           /* events of moves, for when the authority is back */
        bool greeted;             /* the authority has taken our HELLO */
        bool welcome;             /* ... and got the inventory: it may be told what happens */
        int adopt_failed;         /* of some emulator is not known whether it lives: the errno */
        size_t unsettled;         /* VMs found after a restart whose emulators have not spoken yet */
        struct gw_timer *settle;
        uint64_t restart_count;
        uint32_t memory_mib, vcpus;
        enum hv_accelerator accelerator;
        struct gw_kvm_probe *probe;
        struct gw_timer *probe_wait; /* while another agent of this host tries KVM */
        int probe_lock;
        struct gw_timer *consoles;
        char boot[40];
        struct gw_user user;                  /* who emulators run as */
        char tap_gate[2 * GW_CONF_PATH_SIZE]; /* library for QEMU; empty: none */
        char tls_dir[GW_CONF_PATH_SIZE + 8];  /* certificates for QEMU; empty: copies go in the clear */
        uint16_t next_port;                   /* offset into the migration ports */
};

/* Where a source is between the start of its copy and its end. Not written down: asked of the emulator. */
enum hv_leaving {
        HV_NOT_LEAVING,
        HV_COPYING,    /* the VM runs, nothing has changed for anyone */
        HV_CANCELLING, /* asked to stop copying; the VM runs, no cut any more */
        HV_CUTTING,    /* stopped, the NVE is asked to cut; perhaps it has */
        HV_CUT,        /* cut, the last state is on its way */
        HV_GIVING_UP,  /* the cut was not answered in time; the emulator is asked to go on */
        HV_LEFT,       /* all is over there */
};

/* May a VM whose disks go along be stopped for the cut? As its emulator was told. */
enum hv_gate { HV_GATE_UNKNOWN, HV_GATE_CLOSED, HV_GATE_OPEN };

/* Requests that wait for something to happen to their VM; at most one of each. */
enum hv_wait {
        HV_WAIT_START,
        HV_WAIT_MIGRATE,
        HV_WAIT_CANCEL,
        HV_WAIT_RESUME,
        HV_WAIT_SUSPEND, /* or to go on */
        HV_WAIT_LEAVE,   /* parked.c */
        HV_WAIT_RECOVER, /* at the target, and at the source to connect to it again */
        HV_WAIT_END,
        HV_WAITS
};

struct hv_vm;
typedef void (*hv_images_done)(struct hv_vm *vm, const struct gw_error *error);

struct hv_vm {
        struct gw_list link;
        struct hv *hv;
        struct hv_record record;
        struct gw_vm *machine; /* NULL: no emulator */
        int taps[GW_DEFINITION_PORTS_MAX];
        enum hv_leaving leaving;
        bool unsettled;   /* found after a restart; what it does is not known yet */
        bool starting;    /* on the way to `ready` for the first time */
        bool speaks;      /* ... and the emulator is ready */
        bool forget;      /* on the way to being dropped altogether */
        bool detached;    /* ... and the NVE was asked to take the ports off */
        bool returns;     /* ... after it was ready to arrive: what came for it goes back */
        bool cleared;     /* starting: the NVE was asked to let go of a tap that was there */
        bool resuming;    /* the authority asked for it: not a failure when it goes on */
        bool switched;    /* source: the VM is being, or was, given away, with memory still to come; no way back */
        bool broken;      /* ... and the connection for that is lost */
        bool memory_sent; /* source: sending it has begun; before, its disks go */
        bool accepted;    /* source: ... and the emulator has taken the order; before, it tells of an earlier copy */
        bool cut_made;    /* source: the NVE has answered */
        bool drop_images; /* source: its images go with it */
        unsigned disks_ready, disks_ended, mirrors_to_clear; /* bit i is disk i */
        char copy_error[200];                                /* why it cannot be sent; empty: it can */
        char carrier_error[200];                             /* what the copy's carrier said at its end, or "" */
        uint64_t disk_done_octets, disk_total_octets;        /* of what is sent, as last seen */
        uint64_t image_octets[GW_DEFINITION_DISKS_MAX];      /* of images to be made; source: as they were */
        struct hv_backlog backlog;                           /* source: of its disks */
        unsigned behind_looks;                               /* ... that it was found too much for a stop, in a row */
        enum hv_gate gate;
        uint64_t stall_octets;   /* sent, as last seen .. */
        unsigned stall_ticks;    /* .. and that often, HV_PROGRESS_MS apart */
        struct gw_process maker; /* makes the image of disk `making` */
        unsigned making;
        hv_images_done images_made;
        struct gw_timer *unmark;
        struct hv_carrier *carrier;      /* source: one that gets ready */
        struct hv_reach *reach;          /* source: looks for the target */
        size_t attaching;                /* ports the NVE has not answered for */
        bool attach_refused, stale_told; /* confirm.c */
        struct gw_timer *confirm_again, *parked;
        uint16_t port_tries;
        struct gw_error start_error; /* why it is being removed again; told when nothing of it is left */
        struct gw_request *waiting[HV_WAITS];
        struct gw_list calls; /* of struct hv_call */
        bool still_told;      /* what the NVE was told last (still.c) */
        bool still_unsure;    /* ... perhaps by an agent before */
        struct gw_timer *progress, *stop_deadline, *write_soon, *disks_deadline;
        struct gw_wall stopped_at; /* STOP, by the emulator's stamp */
        struct gw_wall runs_since; /* target: RESUME, likewise */
        bool untold;               /* ... and the authority is to hear of it when that is written down */
        bool landed;               /* target of a post-copy: nothing is missing, and that is still to be told */
        struct gw_mono stop_seen, cut_sent, cut_answered;
};

/* hv.c */
int hv_init(struct hv *hv, struct gw_loop *loop, const struct hv_config *config);
void hv_deinit(struct hv *hv);
struct hv_vm *hv_find(struct hv *hv, const char *id);
/* Tells the authority. Takes over fields (may be NULL) and adds event, vm, move and at_ns (at.ns 0: now). Events of
 * moves wait while it is away; others are dropped then, because the inventory says the same. */
void hv_tell(struct hv_vm *vm, const char *event, json_t *fields, struct gw_wall at);
void hv_tell_state(struct hv_vm *vm, const char *reason);
json_t *hv_inventory(struct hv *hv);
void hv_settled(struct hv_vm *vm); /* its emulator has spoken, or is gone */
void hv_used(struct hv *hv, uint32_t *memory_mib, uint32_t *vcpus);

/* accelerator.c */
int hv_consoles_watch(struct hv *hv); /* bounds the files that guests can fill, now and then */
void hv_consoles_trim(struct hv *hv); /* now */
void hv_find_tap_gate(struct hv *hv);
int hv_gate_check(const struct hv_vm *vm, struct gw_error *error); /* where emulators have a user: is it there? */
void hv_accelerator_start(struct hv *hv);                          /* calls hv_start_waiting when it knows */

/* vm.c */
struct hv_vm *hv_vm_new(struct hv *hv);                   /* record is to be filled; NULL without memory */
void hv_vm_free(struct hv_vm *vm);                        /* lets the emulator live; answers what waits */
int hv_vm_adopt(struct hv *hv, struct hv_record *record); /* takes over the record; < 0: does its emulator live? */
/* Ends the emulator, if any, takes the ports off the NVE, forgets the VM, answers HV_WAIT_END. */
void hv_vm_remove(struct hv_vm *vm);
void hv_vm_end_silent(
        struct hv_vm *vm);           /* it is about to be ended, and what it has done since a restart is not known */
void hv_vm_finish(struct hv_vm *vm); /* the same after a move away: the NVE first, and it keeps the redirect */
int hv_vm_write(struct hv_vm *vm);
/* Where an answer or a call shall leave first: writing waits for the disk. What is lost by a crash in between can
 * be asked of the emulator. */
void hv_vm_write_soon(struct hv_vm *vm);
void hv_vm_close_taps(struct hv_vm *vm);
/* Keeps a request until hv_vm_answer or hv_vm_refuse; refuses it when one of its kind waits already. */
bool hv_vm_wait(struct hv_vm *vm, enum hv_wait kind, struct gw_request *request);
void hv_vm_answer(struct hv_vm *vm, enum hv_wait kind, int status, json_t *body);
void hv_vm_refuse(struct hv_vm *vm, enum hv_wait kind, const struct gw_error *error);
json_t *hv_vm_json(const struct hv_vm *vm);
bool hv_vm_is_live(const struct hv_vm *vm); /* has, or is about to have, an emulator */
extern const struct gw_vm_events hv_vm_events;

/* start.c */
void hv_start(struct hv_vm *vm);       /* the record is complete; HV_WAIT_START is answered at the end */
void hv_start_waiting(struct hv *hv);  /* those that waited for the accelerator */
void hv_start_ready(struct hv_vm *vm); /* the emulator speaks */
void hv_start_failed(struct hv_vm *vm, const struct gw_error *error);
bool hv_vm_is_qemu(const struct hv_vm *vm); /* and not a program that acts as one */

/* source.c */
void hv_source_migrate(struct hv_vm *vm);
void hv_source_cancel(struct hv_vm *vm);
void hv_source_resume(struct hv_vm *vm);
void hv_source_copy(struct hv_vm *vm, enum gw_vm_copy copy);
void hv_source_run(struct hv_vm *vm, enum gw_vm_run run, struct gw_wall at);
void hv_source_adopt(struct hv_vm *vm, const struct gw_vm_status *status);

void hv_source_send_memory(struct hv_vm *vm);
void hv_source_proceed(
        struct hv_vm *vm); /* the stopped VM may run at the target, when the cut and the disks are done */
/* The copy cannot be made: the VM goes on here. Does nothing when it goes on anyway, or all is over. */
void hv_source_fail(struct hv_vm *vm, const char *reason);

/* Suspended for a cold move, and nothing is cut yet: to everybody else it has not stopped. */
bool hv_source_is_suspended(const struct hv_vm *vm);

/* mirror.c */
void hv_mirror_start(struct hv_vm *vm); /* answers HV_WAIT_MIGRATE; calls hv_source_send_memory when they are in step */
void hv_mirror_end(struct hv_vm *vm);   /* at the cut; calls hv_source_proceed */
bool hv_mirror_is_over(const struct hv_vm *vm);
void hv_mirror_look(struct hv_vm *vm, const struct gw_vm_status *status); /* may the VM be stopped with what is left? */
bool hv_mirror_permits(const struct hv_vm *vm);                           /* ... as it was last found */
void hv_mirror_undo(struct hv_vm *vm);
void hv_mirror_event(struct hv_vm *vm, unsigned disk, enum gw_vm_mirror_state state, const char *reason);
bool hv_mirror_adopt(struct hv_vm *vm, const struct gw_vm_status *status);

/* stall.c */
void hv_stall_begin(struct hv_vm *vm);
void hv_stall_look(struct hv_vm *vm, const struct gw_vm_status *status);
void hv_stall_tick(struct hv_vm *vm); /* every HV_PROGRESS_MS; gives the copy up when it has stood still for too long */

/* target.c */
void hv_target_listen(struct hv_vm *vm);
void hv_target_next_port(struct hv_vm *vm, struct gw_endpoint *at); /* one that no other VM here uses */
json_t *hv_target_json(const struct hv_vm *vm);                     /* where and how it listens */
void hv_target_answer(struct hv_vm *vm, enum hv_wait kind);
void hv_target_copy(struct hv_vm *vm, enum gw_vm_copy copy); /* starts a cold one when it has everything */
void hv_target_run(struct hv_vm *vm, enum gw_vm_run run, struct gw_wall at);
void hv_target_tell(struct hv_vm *vm); /* that it runs here, if that is still to be told */

/* postcopy.c */
void hv_postcopy_pass(struct hv_vm *vm, uint64_t number);         /* source: starts it when it is time */
void hv_postcopy_landing(struct hv_vm *vm, enum gw_vm_copy copy); /* target: tells when nothing is missing any more */
void hv_postcopy_switched(struct hv_vm *vm);
void hv_postcopy_broken(struct hv_vm *vm);
bool hv_postcopy_in_doubt(const struct hv_vm *vm); /* the source goes on, and the target may run as well */
void hv_postcopy_stop(struct hv_vm *vm);           /* ... so it is stopped, and the authority finds out */
void hv_postcopy_recover(struct hv_vm *vm);        /* target: answers HV_WAIT_RECOVER */
void hv_postcopy_reconnect(struct hv_vm *vm);      /* source: the same */

/* still.c */
void hv_still_tell(struct hv_vm *vm);  /* after anything that may have changed it */
void hv_still_tell_all(struct hv *hv); /* the NVE may have lost it */

/* confirm.c */
void hv_confirm(struct hv_vm *vm); /* asks for what is due, until the NVE has confirmed it */
bool hv_confirm_is_due(const struct hv_vm *vm);

/* parked.c. An order is POST /v1/vms/{vm}/migrate, not answered yet. */
bool hv_parked_must_wait(const struct hv_vm *vm);
bool hv_parked_take(struct hv_vm *vm, struct gw_request *request); /* true: it waits, or has been answered */
void hv_parked_look(struct hv_vm *vm);                             /* after what it waits for may have passed */
void hv_parked_cancel(struct hv_vm *vm, const char *move);
void hv_parked_drop(struct hv *hv, const struct gw_session *session); /* those that came over it */
void hv_parked_refuse(const struct hv_vm *vm, struct gw_request *request);

/* user.c */
int hv_user_init(struct hv *hv);                    /* 0, or what is wrong with qemu-user; logged */
const struct gw_user *hv_user(const struct hv *hv); /* for those who start processes; NULL: as we are */
/* Can the VM's emulator get at what it needs? GW_E_INVALID, or GW_E_CONFLICT for a way to move, with *error. */
int hv_user_check(const struct hv_vm *vm, struct gw_error *error);
bool hv_user_needs_userfault(const struct hv_vm *vm); /* ... and is to be given the device for it */
int hv_user_look(const struct hv *hv, const char *image, struct gw_error *error); /* of one image */
int hv_user_own(const struct hv_vm *vm, int fd); /* makes a file the emulators' user's. 0 or negative errno */

/* security.c */
int hv_security_init(struct hv *hv);
/* Lets the VM's emulator read the certificates and the key: until it has done so, which is when its command is answered.
 * 0 or negative errno with *error. Nothing is lent to one that runs as we do. */
int hv_security_lend(const struct hv_vm *vm, struct gw_error *error);
void hv_security_take_back(const struct hv_vm *vm);
void hv_security_forget(const struct hv_vm *vm);              /* the emulator, once it has read them */
struct gw_vm_security hv_security_of(const struct hv_vm *vm); /* of the copy that the record tells of */

/* edge.c */
typedef void (*hv_edge_done)(struct hv_vm *vm, int status, json_t *body);
/* Calls the NVE about this VM, again and again while it cannot be reached, for at most deadline_ms (0: for as long as
 * the VM is here); `done` (may be NULL) is called once, with 503 or 504 when the time was up, never after the VM was
 * freed. path is below /v1/vms/{vm}; NULL: POST /v1/ports. Takes over body. */
void hv_edge_call(struct hv_vm *vm, const char *method, const char *path, json_t *body, bool with_taps,
                  uint32_t deadline_ms, hv_edge_done done);
void hv_edge_deinit(struct hv *hv);                                         /* after the session to the NVE was freed */
void hv_edge_drop(struct hv_vm *vm);                                        /* forgets all calls under way */
void hv_edge_attach(struct hv_vm *vm, const char *mode, hv_edge_done done); /* done for each port */
void hv_edge_detach(struct hv_vm *vm, bool keep_redirect, hv_edge_done done);
/* It does not arrive: the NVE gets the taps, and what came for it goes after it to where it is. */
void hv_edge_return(struct hv_vm *vm, hv_edge_done done);

/* api.c */
extern const struct gw_route hv_routes[];
