/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory: which VM is where, who may say so, and who must be told.
 *
 * The core of the NVA. Pure: it reads no clock, draws no random number, does no
 * I/O; it is handed the time and acts through struct gw_directory_effects. The
 * shell encodes nothing about bindings and decides nothing about them.
 *
 * Objects are readable by everyone through the structs below and changed only
 * by the functions below. A pointer to an object is good until it is deleted.
 *
 * Functions return 0, a GW_E_* (nothing was changed), or -ENOMEM (nothing was
 * changed either). Those with a struct gw_error fill it for the operator; it
 * may be NULL.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/index.h"
#include "base/list.h"
#include "base/slab.h"
#include "base/table.h"
#include "base/time.h"
#include "directory/heap.h"
#include "directory/lease.h"
#include "directory/notice.h"
#include "directory/order.h"
#include "directory/vm.h"
#include "wire/digest.h"
#include "wire/frame.h"
#include "wire/registration.h"

enum {
        GW_VN_SUBNETS_MAX = 8,
        GW_VM_PORTS_MAX = 16, /* as many MACs as one registration carries */
        GW_PORT_IPS_MAX = GW_MAPPING_IPS_MAX,
        GW_TENANT_APART_MAX = 16,
        GW_PREVIOUS_MAX = 8,           /* former locators remembered per VM, the newest */
        GW_DEFINITION_MAX = 64 * 1024, /* octets */
        GW_DEVICE_MAX = 15,            /* octets of an interface name */
        GW_VN_MTU_DEFAULT = 1430,      /* while no underlay's MTU is known: 1500 less VXLAN over IPv6 */
        GW_VN_MTU_MIN = 576,
        GW_VN_MTU_MIN_V6 = 1280, /* with an IPv6 subnet */
        GW_VN_MTU_MAX = 65000,
        GW_VNI_AUTO_FIRST = 4096,      /* a VN made without a VNI gets the lowest free one from here */
        GW_SUBNET_AUTO_FIRST = 2,      /* automatic addresses start here: the first host is left for a router */
        GW_DIRECTORY_PUSH_MAX = 256,   /* ports of a VN up to which all its members are sent all its mappings */
        GW_DIRECTORY_PUSH_AGAIN = 192, /* and down to which it must shrink before they are again */
        GW_DIRECTORY_MEMBERS_MAX = GW_VN_MEMBERS_MAX - 384, /* of a VN, by placing VMs; gateways come on top */
        GW_DIRECTORY_PEERS_MAX = 65536 - 1536,              /* members of all VNs of a host, the same */
        GW_DIRECTORY_RETRY_MS = 100,       /* an unacknowledged update is sent again after this, then doubled */
        GW_DIRECTORY_RETRY_MORE_MS = 2000, /* and so much later at most while many are on the way */
        GW_DIRECTORY_TRIES = 5,            /* sent this often in vain, its receiver counts as behind */
        GW_DIRECTORY_COALESCE_MS =
                5, /* one item that was sent GW_DIRECTORY_BURST times without an answer waits so long */
        GW_DIRECTORY_BURST = 4,
        GW_DIRECTORY_HOLD_MS = 600000, /* lifetime of a mapping given to an NVE */
        GW_DIRECTORY_HOLD_SLACK_MS =
                60000,                    /* it is remembered as held this much longer: it was on the way for a while */
        GW_DIRECTORY_ABSENT_MS = 5000,    /* of a negative answer about a VM that we know */
        GW_DIRECTORY_UNKNOWN_MS = 1000,   /* of a negative answer about nobody we know, to one we cannot tell later */
        GW_DIRECTORY_NEGATIVE_MS = 30000, /* and to one that we can: it is flushed when somebody new comes */
        GW_DIRECTORY_LINGER_MS =
                30000,                /* a member that leaves a VN stays one this long: its packets may be on the way */
        GW_DIRECTORY_ARRIVAL_MS = 10, /* so often is looked whether a gateway that came may be used */
        GW_DIRECTORY_MOVED_MS = 10000,  /* a member of VNs tells that it has another locator no more often */
        GW_DIRECTORY_GRACE_MS = 120000, /* after a start of the NVA every binding lives at least this long */
};

struct gw_now {
        struct gw_mono mono;
        struct gw_wall wall;
};

/* Records, for the store. The numbers are those of enum gw_store_table. */
enum gw_record {
        GW_RECORD_META = 0,
        GW_RECORD_TENANT,
        GW_RECORD_VN,
        GW_RECORD_NVE,
        GW_RECORD_VM,
        GW_RECORD_PORT,
        GW_RECORD_BINDING,
        GW_RECORD_RULE = 8, /* 7 is the shell's: moves */
        GW_RECORD_HISTORY,
        GW_RECORD_POLICY = 11, /* 10 is the shell's: drains */
};

enum gw_object { GW_OBJECT_TENANT, GW_OBJECT_VN, GW_OBJECT_NVE, GW_OBJECT_VM, GW_OBJECT_PORT, GW_OBJECT_BINDING };

/* Who is told where the VMs of a VN are (RFC 7067, RFC 8171). */
enum gw_vn_model {
        GW_VN_HYBRID, /* all members while the VN is small, then only those that asked or talk */
        GW_VN_PUSH,   /* all members, always, completely: what they were not told of does not exist */
        GW_VN_PULL,   /* only those that asked or talk, always */
        GW_VN_MODELS
};

enum gw_note {
        GW_NOTE_REFUSED, /* a claim that contradicts what management decided; a stranger can cause many: limit the rate */
        GW_NOTE_EXPIRED, /* a binding was not refreshed in time */
        GW_NOTE_BEHIND,  /* an NVE does not acknowledge */
        GW_NOTE_INFO,
};

/* --- objects --- */

struct gw_tenant {
        struct gw_name name;
        struct gw_directory *directory; /* that it is of */
        struct gw_list vns;             /* gw_vn.in_tenant */
        uint32_t n_vms;
        bool exclusive; /* shares a host with no other (rules.h) */
        uint8_t n_apart;
        struct gw_name apart[GW_TENANT_APART_MAX]; /* tenants with which it shares no host */
};

struct gw_vn {
        struct gw_name id; /* name@tenant */
        struct gw_tenant *tenant;
        uint32_t vni;
        uint16_t mtu;
        uint8_t model; /* enum gw_vn_model */
        uint8_t n_subnets;
        struct gw_prefix subnets[GW_VN_SUBNETS_MAX];
        struct gw_vn_settings settings; /* what its members are told */
        struct gw_name gateway_pin;     /* the NVE whose gateway all use; empty: the nearest */
        uint32_t n_ports, n_members;
        uint32_t n_policies; /* that name it */
        /* the directory's own: */
        uint64_t mark;
        struct gw_list in_tenant;
        struct gw_table_node by_vni;
        struct gw_list members; /* gw_directory_member, in the order of their last change */
        struct gw_ring ports;   /* gw_port.in_vn, of those with a mapping, in the order of its last change */
        uint64_t change;        /* number of the last change */
        uint64_t set;           /* vn->change when its settings last changed */
        uint32_t n_gone;
        uint32_t n_full;                           /* members that can know no more others (crowd.h) */
        const struct gw_nve *full;                 /* one of them; NULL: it is not known which */
        struct gw_mono negative_until;             /* no member holds negative answers about it for longer */
        bool push;                                 /* its mappings go to all members now */
        struct gw_ip free_from[GW_VN_SUBNETS_MAX]; /* no address below is free */
};

/* What the operator said of something that a host says of itself. */
enum gw_permit {
        GW_PERMIT_UNSAID, /* routing: as gw_directory.gateways_listed says; claims: yes */
        GW_PERMIT_YES,
        GW_PERMIT_NO,
        GW_PERMITS
};

struct gw_nve {
        struct gw_name id;
        struct gw_ip locator; /* unspecified until known */
        struct gw_mono moved; /* when it said last that it is at another one; 0: never */
        bool nve_connected, hv_connected;
        bool behind;       /* does not acknowledge; stays so until its next HELLO */
        uint8_t modes;     /* of moves that its agent knows; the shell's to set and to read */
        bool draining;     /* its VMs are moved away, and none comes to it; the shell's to set */
        uint32_t features; /* of its session: enum gw_hello_feature */
        bool subscribed;   /* in this session: what its SUBSCRIBE does not name it holds nothing about */
        uint64_t restart_count;
        uint32_t underlay_mtu;                        /* octets of IP; 0: not known */
        uint32_t capacity_memory_mib, capacity_vcpus; /* 0: not known yet, nothing fits */
        uint32_t used_memory_mib, used_vcpus;         /* by VMs placed here or reserved for a move to here */
        uint32_t n_vms;                               /* the same VMs, counted */
        void *nve_session, *hv_session;               /* the shell's; not looked at here */
        struct gw_mono owes_until;                    /* the same: when its sessions' cost is paid for */
        struct gw_absence absence;                    /* what it last told of the time without a session */
        struct gw_wall absence_at;                    /* when; 0: never */
        uint64_t conflicts;                           /* claims of it that an epoch decided against; the last one: */
        struct {
                struct gw_name vm;
                uint64_t claimed, stands;
                struct gw_wall at;
        } conflict;
        struct gw_tenancy {
                struct gw_tenant *tenant;
                uint32_t n_vms;
        } * tenancies; /* whose those VMs are */
        uint32_t n_tenancies;
        struct gw_name site; /* may be empty */
        bool gateway;        /* it has that role: it offers it, and may */
        bool offers_gateway; /* what its HELLO said */
        bool departs;        /* it may be a gateway no more, and goes on until it is left */
        bool told_off;       /* it is left, and told to route nothing: until it has taken that */
        uint8_t may_route;   /* enum gw_permit: be a gateway */
        uint8_t may_claim;   /* take over tasks that announce themselves there */
        uint32_t gateway_cost;
        uint32_t n_peers;        /* members of all its VNs but itself, each as often as there are such VNs */
        struct gw_ip *unreached; /* gateways that do not answer it, as it said in this session */
        uint16_t n_unreached;
        /* the directory's own: */
        struct gw_table_node by_locator;
        struct gw_ring vms;     /* gw_vm.at_nve, of those whose binding's place it is */
        struct gw_list members; /* its gw_directory_member */
        struct gw_ring holders; /* its gw_directory_holder */
        struct gw_list dirty;   /* what it must be told and is not yet on the way */
        struct gw_list later;   /* the same, when .coalesce comes */
        struct gw_deadline coalesce;
        struct gw_deadline arrival; /* of a gateway that others do not use yet (arrival.c) */
        struct gw_mono arrival_began;
        uint32_t arrival_wait_ms; /* until the next look */
        bool arrival_said;        /* that it takes long */
        bool took_ways;           /* it routes by what it was told last */
        bool ways_held;           /* it is told no ways before its members take what it sends */
        bool ways_out;            /* or may be about to: its answer has not come */
        struct gw_mono ways_at;   /* when it was told, or has answered */
        uint64_t ways_told;       /* how often; the shell's */
        struct gw_list lists;     /* the same: long lists, when those to others have got there */
        struct gw_list updates;   /* on the way */
        uint32_t next_update;
        struct gw_list in_dirty, in_lists;
        struct gw_deadline timer; /* session down for too long */
        uint64_t mark;
};

/* --- effects --- */

struct gw_directory_effects {
        /* Stage a record, or its removal. What is sent in the same turn must leave after it is durable. */
        void (*store)(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                      void *user);
        void (*unstore)(enum gw_record table, const void *key, size_t key_size, void *user);
        /* The record as it is by now, staged or durable: copies up to `room` octets and returns its size; 0: none. The
         * directory asks for VMs' definitions, which it does not keep in memory. NULL: there are none. */
        size_t (*fetch)(enum gw_record table, const void *key, size_t key_size, void *out, size_t room, void *user);
        /* One frame to an NVE: type UPDATE, FLUSH or AGREED, its id, and the body that follows the frame header. */
        void (*send)(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user);
        /* The NVE does not acknowledge: end its session, its next one starts afresh. */
        void (*drop)(struct gw_nve *nve, const char *reason, void *user);
        /* Something a watcher would like to know; id is the object's, or its VM's for a binding. */
        void (*changed)(enum gw_object kind, const char *id, bool gone, void *user);
        void (*note)(enum gw_note kind, const char *text, void *user);
        /* May the VM of a reserved move have been cut over (back: and taken back) by now, for all that is known? While
         * not, the registration that says so is not answered. NULL: it always may. */
        bool (*arrived)(const struct gw_vm *vm, bool back, void *user);
        /* A Request of the management node to a former place (its locator) or a router. False: it cannot be sent now;
         * gw_directory_notices_due says when it can. May be NULL: never. */
        bool (*notice)(struct gw_ip to, enum gw_notice_kind kind, const struct gw_registration *request, void *user);
        /* It is to be told what it routes: nothing when it may be a gateway no more and nobody uses it now; the same again
         * when it has not taken that. May be NULL. */
        void (*gateway_tell)(struct gw_nve *nve, void *user);
};

/* Since the start. */
struct gw_directory_counters {
        uint64_t updates, retransmissions, acknowledged, behind; /* UPDATE and FLUSH frames; NVEs that fell behind */
        uint64_t lapsed;                             /* holders that never confirmed, and whose time ran out */
        uint64_t answers_positive, answers_negative; /* to queries */
        uint64_t flushes;
        uint64_t coalesced;                                  /* news that waited for the news before it */
        uint64_t set_aside;                                  /* long lists that waited for those to others */
        uint64_t digests, buckets_agreed, buckets_different; /* anti-entropy, of whole VNs */
        uint64_t held_agreed, held_different;                /* and of single mappings */
};

struct gw_directory {
        const struct gw_directory_effects *effects;
        void *user;
        uint64_t seed[2];
        uint32_t lease_ms;  /* longest lifetime granted to a registration */
        uint32_t peers_max; /* GW_DIRECTORY_PEERS_MAX */
        bool loading;       /* from the first record that is loaded until gw_directory_loaded */
        bool gateways_listed; /* only NVEs with GW_PERMIT_YES may be gateways; the shell's, set before anything is loaded */
        struct gw_slab slab; /* all objects that others refer to */
        struct gw_order tenants, vns, nves, vms, rules, policies;
        struct gw_table by_vni, by_locator;
        struct gw_index by_id, by_mac, by_ip; /* VMs; ports by (VNI, MAC) and by (VNI, address) */
        struct gw_order_finger loaded;        /* the VM of the last record that was loaded */
        struct gw_table pairs;                /* who holds what: gw_directory_member, gw_directory_holder */
        struct gw_table histories, receivers; /* notice.h */
        struct gw_ip routers[GW_NOTICE_ROUTERS_MAX];
        size_t n_routers;
        struct gw_leases leases; /* of bindings */
        struct gw_heap heap;     /* all other deadlines */
        struct gw_list holders;  /* all, in the order in which they expire */
        struct gw_list dirty;    /* NVEs that must be told something */
        struct gw_list lists;    /* NVEs for which long lists wait, the first to be next */
        uint64_t lists_us;       /* of on_the_way_us, what has long lists in it and may still be there in time */
        uint64_t work;           /* objects that were walked over for what NVEs said, and updates that it caused */
        uint64_t on_the_way_us;  /* what the updates on the way cost their ends, roughly */
        uint64_t epoch_floor;    /* no new VM starts at or below this */
        uint32_t next_vni;
        uint64_t mark;
        struct gw_now now; /* as last handed in */
        struct gw_directory_scratch *scratch;
        struct gw_directory_counters counters;
        struct { /* the last computed sums over a VN, good while it does not change */
                const struct gw_vn *vn;
                uint64_t change;
                struct gw_digest digest;
        } sums;
};

/* Tenant "default" is made. Only memory can be short. */
int gw_directory_init(struct gw_directory *d, const uint64_t seed[2], uint32_t lease_s,
                      const struct gw_directory_effects *effects, void *user);
void gw_directory_deinit(struct gw_directory *d); /* no effects */

/* Restart: every record of the store, tables in ascending order, before anything else. GW_E_MALFORMED with a text. */
int gw_directory_load(struct gw_directory *d, enum gw_record table, const void *key, size_t key_size, const void *value,
                      size_t value_size, struct gw_now now, struct gw_error *error);

/* When that was the last one. */
void gw_directory_loaded(struct gw_directory *d);

/* A record as the store has it. */
struct gw_stored {
        const void *key, *value;
        size_t key_size, value_size;
};
/* Of some tens of records that will be loaded next: has what that needs fetched from memory for all of them at once. */
void gw_directory_load_ahead(const struct gw_directory *d, enum gw_record table, const struct gw_stored *records,
                             size_t n);

/* Before that, if it is known: how many VMs and ports there will be. Only saves time. */
void gw_directory_expect(struct gw_directory *d, size_t vms, size_t ports);

/* Lifetimes, retransmissions. Call at the deadline (0: none), or later. */
void gw_directory_tick(struct gw_directory *d, struct gw_now now);
struct gw_mono gw_directory_deadline(const struct gw_directory *d);

/* --- registry --- */

/* Look-ups give NULL when there is none. *_after give the next in the order of names; NULL starts. */
struct gw_tenant *gw_directory_tenant(const struct gw_directory *d, const char *name);
struct gw_tenant *gw_directory_tenant_after(const struct gw_directory *d, const char *name);
struct gw_vn *gw_directory_vn(const struct gw_directory *d, const char *id);
struct gw_vn *gw_directory_vn_after(const struct gw_directory *d, const char *id);
struct gw_vn *gw_directory_vn_by_vni(const struct gw_directory *d, uint32_t vni);
struct gw_nve *gw_directory_nve(const struct gw_directory *d, const char *id);
struct gw_nve *gw_directory_nve_after(const struct gw_directory *d, const char *id);
struct gw_nve *gw_directory_nve_by_locator(const struct gw_directory *d, struct gw_ip locator);
struct gw_vm *gw_directory_vm(const struct gw_directory *d, const char *id);
struct gw_vm *gw_directory_vm_after(const struct gw_directory *d, const char *id);
/* Of the VMs whose place is nve, one after the other, in no order; NULL starts. */
struct gw_vm *gw_directory_vm_at_after(const struct gw_nve *nve, const struct gw_vm *vm);
struct gw_port *gw_directory_port(const struct gw_directory *d, const char *id);
/* In the order of their VMs, a VM's by rising index. */
struct gw_port *gw_directory_port_after(const struct gw_directory *d, const char *id);
struct gw_port *gw_directory_port_by_mac(const struct gw_directory *d, uint32_t vni, struct gw_mac mac);
struct gw_port *gw_directory_port_by_ip(const struct gw_directory *d, uint32_t vni, struct gw_ip ip);
/* Members of a VN, one after the other (NULL starts): NVEs that have, or are about to have, a port in it. */
bool gw_directory_is_member(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve);
/* The VM is there, moves there or from there, or was there and nobody has taken over that locator. */
bool gw_directory_vm_was_at(const struct gw_vm *vm, const struct gw_nve *nve);
/* One of its VMs; by a walk over them from the one that changed last, over GW_WAS_AT_LOOKS of them at most. */
enum { GW_WAS_AT_LOOKS = 1 << 16, GW_WORK_OF_UPDATE = 64 /* as much as a walk over so many */ };
bool gw_directory_vn_was_at(struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve);
struct gw_nve *gw_directory_member_after(const struct gw_vn *vn, const struct gw_nve *nve);

/* The octets that the VM was made with, from the store; the caller's to free. -ENOMEM; -ENOENT when the store has none. */
int gw_directory_definition(const struct gw_vm *vm, void **out, size_t *size);
const char *gw_binding_state_word(uint8_t state);

int gw_directory_tenant_create(struct gw_directory *d, const char *name, struct gw_tenant **out,
                               struct gw_error *error);
int gw_directory_tenant_delete(struct gw_directory *d, struct gw_tenant *tenant, struct gw_error *error);

struct gw_vn_spec {
        const char *id;
        uint32_t vni;  /* 0: choose */
        uint16_t mtu;  /* 0: what the smallest known underlay leaves; more than that is refused */
        uint8_t model; /* enum gw_vn_model */
        size_t n_subnets;
        const struct gw_prefix *subnets;
        uint32_t flags; /* enum gw_vn_flag */
        size_t n_gateways;
        const struct gw_ip *gateways;  /* of its subnets; no VM has them */
        struct gw_name gateway_pin;    /* when it is made; gw_directory_gateway_pin changes it */
        uint32_t limits[GW_VN_LIMITS]; /* as in struct gw_vn_settings */
};
int gw_directory_vn_create(struct gw_directory *d, const struct gw_vn_spec *spec, struct gw_vn **out,
                           struct gw_error *error);
/* The VNI cannot change; a subnet can go only when no address is in it. Flags, gateways and limits become those of the spec. */
int gw_directory_vn_update(struct gw_directory *d, struct gw_vn *vn, const struct gw_vn_spec *spec,
                           struct gw_error *error);
int gw_directory_vn_delete(struct gw_directory *d, struct gw_vn *vn, struct gw_error *error);
const char *gw_vn_model_word(uint8_t model);
int gw_vn_model_parse(const char *word, uint8_t *out); /* GW_E_INVALID */
/* All members forget what they hold of it, good answers or negative ones, and acknowledge. A good answer that is in use is
 * asked for again, or pushed again. */
void gw_directory_vn_flush(struct gw_directory *d, struct gw_vn *vn, bool positive, bool negative, struct gw_now now);

/* locator: may be NULL until its first HELLO. */
int gw_directory_nve_create(struct gw_directory *d, const char *id, const struct gw_ip *locator, struct gw_nve **out,
                            struct gw_error *error);
/* What it may say of itself, for good. A gateway that may be none any more is told so when it is left (gateway_tell). */
void gw_directory_nve_permit(struct gw_directory *d, struct gw_nve *nve, enum gw_permit may_route,
                             enum gw_permit may_claim, struct gw_now now);
int gw_directory_nve_delete(struct gw_directory *d, struct gw_nve *nve, struct gw_error *error);
/* It is, or will be, at another address. All who send there are told; a session that it has is ended. */
int gw_directory_nve_relocate(struct gw_directory *d, struct gw_nve *nve, struct gw_ip locator, struct gw_now now,
                              struct gw_error *error);
/* The HV's session came or went; capacity is kept while it is away. */
void gw_directory_nve_hv(struct gw_directory *d, struct gw_nve *nve, bool connected);
void gw_directory_nve_capacity(struct gw_directory *d, struct gw_nve *nve, uint32_t memory_mib, uint32_t vcpus);

struct gw_port_spec {
        const char *vn;    /* id; of the VM's tenant */
        bool has_mac;      /* else 52:54:00 and a hash of the port's id */
        bool no_addresses; /* the port has none; else n_ips 0 takes the first free one of each subnet */
        struct gw_mac mac;
        uint8_t n_ips;
        struct gw_ip ips[GW_PORT_IPS_MAX];
        const char *device; /* of a task; NULL */
        uint16_t allow;     /* enum gw_allow */
};
struct gw_vm_spec {
        const char *id;
        uint8_t kind, on_crash;
        uint32_t memory_mib, vcpus;
        const void *definition;
        size_t definition_size;
        size_t n_ports;
        const struct gw_port_spec *ports;
};
/* error->field is "id", "ports[1].mac", ... */
int gw_directory_vm_create(struct gw_directory *d, const struct gw_vm_spec *spec, struct gw_vm **out,
                           struct gw_error *error);
/* All but the ports. GW_E_CONFLICT while placed, when memory or vCPUs change. */
int gw_directory_vm_update(struct gw_directory *d, struct gw_vm *vm, const struct gw_vm_spec *spec,
                           struct gw_error *error);
int gw_directory_vm_delete(struct gw_directory *d, struct gw_vm *vm, struct gw_error *error); /* must be nowhere */
int gw_directory_vm_set_desired(struct gw_directory *d, struct gw_vm *vm, enum gw_vm_desired desired);
int gw_directory_vm_set_state(struct gw_directory *d, struct gw_vm *vm, enum gw_vm_state state);
/* The task's device has another name at its present place. */
void gw_directory_task_device(struct gw_directory *d, struct gw_vm *vm, const char *device);
/* A port more or less, of a VM that is nowhere. */
int gw_directory_port_add(struct gw_directory *d, struct gw_vm *vm, const struct gw_port_spec *spec,
                          struct gw_port **out, struct gw_error *error);
int gw_directory_port_remove(struct gw_directory *d, struct gw_port *port, struct gw_error *error);

/* --- where a VM is: management's decisions ---
 *
 *   NONE --place--> PLACED --register--> SERVING --commit--> COMMITTED --register--> SERVING
 *   any --release--> NONE      SERVING, COMMITTED --lifetime ends, deregister--> LAPSED --register--> SERVING
 *
 * Each change of place raises the epoch. The record is staged before the function returns. */

/* What is looked at before a VM is placed, or moves, somewhere; each with its own verdict (binding.c). */
enum gw_check {
        GW_CHECK_EDGE,  /* its godwit-nve is connected and follows */
        GW_CHECK_AGENT, /* its godwit-hv is connected */
        GW_CHECK_MTU,   /* its underlay carries the VNs' packets */
        GW_CHECK_MEMORY,
        GW_CHECK_VCPUS,
        GW_CHECK_TENANTS, /* its tenants may share a host with the VM's */
        GW_CHECK_RULES,
        GW_CHECK_DRAIN, /* it is not being emptied */
        GW_CHECKS
};
extern const char *const gw_check_words[GW_CHECKS];
/* out[i].code: 0, or GW_E_CONFLICT; .text says why, in either case. */
void gw_directory_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                        struct gw_error out[static GW_CHECKS]);
/* Does it fit there? GW_E_CONFLICT with the text of the first of these checks that it does not pass. */
int gw_directory_fits(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                      struct gw_error *error);
/* A (cold) start at nve: a new epoch, which nve's registration must carry. Not while a move is reserved. */
int gw_directory_place(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, struct gw_now now, uint64_t *epoch,
                       struct gw_error *error);
/* Epochs for a move: n+1 to arrive with, n+2 to take back with. `to` becomes a member of the VM's VNs and may register. */
int gw_directory_reserve(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *to, struct gw_now now,
                         uint64_t *move_epoch, uint64_t *back_epoch, struct gw_error *error);
/* The VM was cut over to the reserved NVE. 0 also when it was committed already; GW_E_CONFLICT when
 * there is no reservation or it was taken back. A registration by that NVE has the same effect. */
/* For a move of a VM that is nowhere: n new epochs in a row, durable, and no binding. The first; 0: it is somewhere. */
uint64_t gw_directory_epochs(struct gw_directory *d, struct gw_vm *vm, unsigned n);
int gw_directory_commit(struct gw_directory *d, struct gw_vm *vm, struct gw_now now);
/* The source has it again, with the back epoch. 0 also when done already or never committed
 * (then the epoch is raised all the same: the source was cut). */
int gw_directory_take_back(struct gw_directory *d, struct gw_vm *vm, struct gw_now now);
void gw_directory_unreserve(struct gw_directory *d, struct gw_vm *vm); /* the move has ended, either way */
void gw_directory_release(struct gw_directory *d, struct gw_vm *vm, struct gw_now now); /* stopped: it is nowhere */

/* --- NVEs talk --- */

/* HELLO of an NVE whose certificate says its id (an HV's is only gw_directory_nve_hv). Makes the NVE when new.
 * Not 0: say BYE with error->text. Nothing is sent to it before its SUBSCRIBE. */
int gw_directory_hello(struct gw_directory *d, const struct gw_hello *hello, struct gw_now now, struct gw_nve **out,
                       struct gw_error *error);
void gw_directory_bye(struct gw_directory *d, struct gw_nve *nve, struct gw_now now); /* its session ended */
void gw_directory_absence(struct gw_directory *d, struct gw_nve *nve, const struct gw_absence *absence,
                          struct gw_now now); /* ABSENCE */

/* REGISTER. 0: *reply is to be sent in a REGISTERED. GW_E_REFUSED, GW_E_AGAIN: no answer is due (see register.c);
 * with GW_E_AGAIN the same may be accepted later. */
int gw_directory_register(struct gw_directory *d, struct gw_nve *nve, const struct gw_registration *request,
                          struct gw_now now, struct gw_registration *reply);
/* The same for a carrier that does not exclude replay: a time stamp must be within `window` of our clock. */
int gw_directory_register_within(struct gw_directory *d, struct gw_nve *nve, const struct gw_registration *request,
                                 struct gw_duration window, struct gw_now now, struct gw_registration *reply);
/* QUERY. Always gives an answer for a RESPONSE; nve is told of changes for its lifetime. */
void gw_directory_query(struct gw_directory *d, struct gw_nve *nve, const struct gw_query *query, struct gw_now now,
                        struct gw_mapping *out);
/* Of queries that came together: has what their answers need fetched from memory for all of them at once. */
enum { GW_DIRECTORY_AHEAD_MAX = 32 };
void gw_directory_ahead(const struct gw_directory *d, const struct gw_nve *nve, const struct gw_query *queries,
                        size_t n);
/* SUBSCRIBE: the complete list. What the NVE must know follows by `send`: per VN its members, in full when
 * the NVE newly listed it in this session, and the mappings of a VN that is pushed (GW_DIRECTORY_PUSH_MAX).
 * A full list of members begins with {vni, locator ::, gone}: all members not in the same frame are none. */
void gw_directory_subscribe(struct gw_directory *d, struct gw_nve *nve, const uint32_t *vnis, size_t n,
                            struct gw_now now);
void gw_directory_ack(struct gw_directory *d, struct gw_nve *nve, uint32_t id, struct gw_now now); /* UPDATE_ACK */
/* REPORT. Talkers are told of the VM's place, stale senders again. GW_E_REFUSED: not from a present or former place. */
int gw_directory_report(struct gw_directory *d, struct gw_nve *nve, const struct gw_report *report, struct gw_now now);

/* What a SUBSCRIBE told of the ports there. What contradicts the VN's subnets is noted; the return is how many did. */
unsigned gw_directory_attached(struct gw_directory *d, struct gw_nve *nve, const struct gw_attached *attached, size_t n,
                               struct gw_now now);
/* As it reported last; false: it is no member. */
bool gw_directory_ports_there(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve,
                              uint32_t *out);
/* DIGEST, HELD (wire/digest.h): answered with AGREED by `send`; what agrees needs not be told again, what differs is.
 * No answer when the NVE is not a member, or something is on the way to it. Before SUBSCRIBE it decides what that causes
 * to be sent. */
void gw_directory_digest(struct gw_directory *d, struct gw_nve *nve, uint32_t id, const struct gw_digest *digest,
                         struct gw_now now);
void gw_directory_held(struct gw_directory *d, struct gw_nve *nve, uint32_t id, const struct gw_held *held,
                       struct gw_now now);

/* The mapping of a port as of now: SERVING or ABSENT. */
void gw_directory_mapping(const struct gw_port *port, struct gw_mapping *out);

/* How many NVEs that ought to know have not confirmed it: .waiting will be asked again, .away are disconnected or
 * behind and learn it with their next session. After a start of the NVA all are away for a moment: a move should
 * give them that, up to a bound, before its cut. Both count as of now, so the mapping should be confirmed by all
 * before the same VM is cut again: a packet is redirected only once. */
struct gw_directory_pending {
        uint32_t waiting, away;
};
/* That the VM is where its binding says; that place itself is not asked. */
struct gw_directory_pending gw_directory_pending(struct gw_directory *d, const struct gw_vm *vm);
/* Of all that is told about a VN: who holds something of it, and who has not confirmed. Walks its VMs from the one that
 * changed last, as far as GW_CONFIRMATIONS_LOOKS VMs and holders: if not .complete there are more. */
enum { GW_CONFIRMATIONS_LOOKS = 1 << 16 };
struct gw_directory_vn_confirmations {
        uint32_t holders, waiting, away;
        bool complete;
};
struct gw_directory_vn_confirmations gw_directory_vn_confirmations(struct gw_directory *d, const struct gw_vn *vn);
/* That the reserved NVE is a member of the VM's VNs, and to it, who else is. */
struct gw_directory_pending gw_directory_pending_members(const struct gw_directory *d, const struct gw_vm *vm);
