/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the agent must still know after kill -9, one JSON file per VM in
 * state-dir/vms, written before the thing it tells of is done.
 *
 * Whatever the emulator itself can be asked (does it run, how far is its copy)
 * is not written down: it would be a second truth. So nothing is written between
 * a source's stop and the target's start, where each millisecond counts.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "hypervisor/definition.h"
#include "hypervisor/driver.h"

struct gw_error;

enum hv_role {
        HV_ROLE_SERVE,  /* the VM is here */
        HV_ROLE_SOURCE, /* it is here and on its way to elsewhere */
        HV_ROLE_TARGET, /* it is to come */
        HV_ROLES,
};

enum hv_state { HV_STARTING, HV_RUNNING, HV_PAUSED, HV_INCOMING, HV_STOPPED, HV_CRASHED, HV_STATES };

/* How far the emulator of a source is with the copy of its memory: what it tells of one may be of an earlier move's. */
enum hv_begun {
        HV_BEGUN_UNKNOWN, /* in records of older agents */
        HV_BEGUN_NOT,
        HV_BEGUN_ASKED, /* it is about to be given the order */
        HV_BEGUN_TAKEN, /* it has taken it: what it tells is of this one */
};

struct hv_move {
        struct gw_name id;           /* empty: none */
        struct gw_ip peer;           /* locator of the other side's NVE: `to` of a source, `from` of a target */
        struct gw_endpoint endpoint; /* where the target listens */
        uint64_t epoch, epoch_back;
        uint32_t bandwidth_mib_s, downtime_ms, cut_deadline_ms;
        struct gw_copy_options options;
        struct gw_name peer_id; /* the other side's host, as its certificate names it; empty: not said */
        bool tls;
        unsigned disks;         /* whose images go along: bit i is disk i */
        struct gw_endpoint nbd; /* where the target takes them */
        unsigned created;       /* images the target has made for this move */
        bool keep_disks;        /* the source's images stay, under another name */
        enum hv_begun begun;
};

struct hv_record {
        struct gw_name id;
        uint64_t epoch;
        enum hv_role role;
        enum hv_state state; /* as last written; what it is now is asked of the emulator */
        bool uncut_due;      /* taken back, and the NVE has not confirmed */
        bool activate_due;   /* runs here, and the NVE has not confirmed */
        bool held;           /* a stopped VM, there only to be sent elsewhere: its guest never runs */
        struct gw_vm_identity process;
        uid_t uid; /* ... runs as this user; 0: as the agent. Then its files have plain names, in its folder */
        gid_t gid;
        char boot[40]; /* the kernel's boot id: processes of another boot are gone */
        struct hv_move move;
        json_t *definition_json; /* owned */
        struct gw_definition definition;
};

const char *hv_role_word(enum hv_role role);
const char *hv_state_word(enum hv_state state);

json_t *hv_record_encode(const struct hv_record *record);
/* GW_E_INVALID with *error. The caller must hv_record_deinit on success. */
int hv_record_decode(json_t *object, struct hv_record *out, struct gw_error *error);
void hv_record_deinit(struct hv_record *record);

int hv_record_path(char *out, size_t size, const char *state_dir, const struct gw_name *id);
int hv_record_write(const struct hv_record *record, const char *state_dir);
int hv_record_remove(const struct hv_record *record, const char *state_dir);
/* Calls `each` for every record; unreadable ones are logged and set aside as FILE.bad. `each` takes over. */
int hv_record_each(const char *state_dir, void (*each)(struct hv_record *record, void *user), void *user);
