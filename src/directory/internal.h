/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the directory share.
 *
 * An NVE is told things by items. An item is a pair (something, NVE): a member
 * (VN, NVE) is told the VN's members and, while the VN is pushed, its mappings;
 * a holder (VM, NVE) is told where that VM is. An item is clean (in no list),
 * dirty (in nve->dirty, .later or .lists) or on the way (in the items of one update). An update
 * is one UPDATE frame that has not been acknowledged; it is encoded anew each
 * time it is sent. A change of what an item tells takes the item out of its
 * update, so that a late acknowledgement cannot confirm the newer state.
 */
#pragma once

#include "directory/directory.h"
#include "directory/gateway.h"
#include "directory/rules.h"

enum timer_kind { TIMER_NVE, TIMER_MEMBER, TIMER_UPDATE, TIMER_COALESCE, TIMER_NOTICE, TIMER_ARRIVAL };
enum item_kind { ITEM_MEMBER, ITEM_HOLDER };

enum {
        BATCH_MAPPINGS = 64,       /* in one frame */
        BATCH_MEMBERS = 4096,      /* in one frame; a VN with more is told in several */
        BATCH_VNS = 256,           /* in one frame */
        BATCH_OCTETS = 256 * 1024, /* enough for both */
        UPDATES_ON_THE_WAY = 16,   /* to one NVE */
        LONG_LIST = 256,           /* members; more of them wait for lists that are on the way */
        RECORD_OCTETS = 8192,      /* any record but a VM's */
};

struct directory_update {
        struct gw_list in_nve;
        struct gw_list items;
        struct gw_deadline timer;
        struct gw_nve *nve;
        struct gw_mono sent; /* last */
        uint32_t id, cost_us;
        uint8_t tries;
        bool flush; /* one member's flush, in a FLUSH frame */
        bool list;  /* a long list is in it: its cost counts in d->lists_us as well */
};

struct directory_item {
        struct gw_table_node node; /* in d->pairs */
        struct gw_ref about;       /* the VN or VM */
        struct gw_ref nve;
        struct gw_list link; /* nve->dirty, .later, .lists, or update->items */
        struct directory_update *update;
        uint32_t sent_ms; /* of a clock that wraps */
        uint8_t sends;    /* since it was last confirmed */
        uint8_t kind;
        bool known; /* a holder: has confirmed the present mapping */
        bool aside; /* in nve->lists */
};

static inline struct gw_nve *gw_dir_item_nve(const struct directory_item *item) {
        return gw_ref_sure(&item->nve);
}

struct directory_member {
        struct directory_item item;
        struct gw_vn *vn;
        struct gw_list in_vn, in_nve;
        struct gw_deadline timer; /* leaving */
        uint64_t changed;         /* vn->change when it last came or went */
        uint64_t sent_members, known_members, sent_ports, known_ports;
        uint32_t planned;              /* ports of VMs that are, or will be, there */
        uint8_t flush;                 /* FLUSH_* that it has not acknowledged */
        bool sent_all, known_all;      /* that it was told all members, once in its session */
        bool sent_final, known_final;  /* that it was told everything */
        struct gw_mono negative_until; /* it may hold negative answers about the VN as long */
        struct directory_patch *patch; /* what its digests said it has already */
        uint32_t ports_there;          /* as it reported last */
        bool attached;                 /* in its last SUBSCRIBE */
        bool listening;                /* in a SUBSCRIBE of this session: is sent updates */
        bool gone;                     /* kept until all have confirmed that it went */
        bool routes;                   /* it is a gateway of the VN; planned once for that */
        bool ready;                    /* and knows the members, who know it; one that departs: they know that */
        bool serves;                   /* and is in all its VNs: others are told that it lives */
        bool named;                    /* in the SUBSCRIBE at hand */
};

/* Mappings that changed last at or before as_of and are in a bucket whose bit is set need not be sent. */
struct directory_patch {
        uint64_t as_of;
        size_t n; /* buckets */
        struct gw_agreed agreed;
};

enum { FLUSH_POSITIVE = 1, FLUSH_NEGATIVE = 2 };

/* What a look-up touches of it comes first: 64 octets. */
struct directory_holder {
        struct directory_item item;
        struct gw_mono expires;
        struct gw_link in_vm;
        struct gw_ring in_nve;
        struct gw_list in_all;
};

static inline struct gw_vm *gw_dir_holder_vm(const struct directory_holder *h) {
        return gw_ref_sure(&h->item.about);
}

struct gw_directory_scratch {
        uint8_t record[RECORD_OCTETS];
        uint8_t frame[BATCH_OCTETS];
        struct gw_mapping mappings[BATCH_MAPPINGS];
        struct gw_member members[BATCH_MEMBERS];
        struct gw_vn_settings vns[BATCH_VNS];
        size_t n_mappings, n_members, n_vns;
};

/* Keys of the tables; hashed as octets, so without padding. */
struct mac_key {
        uint32_t vni;
        struct gw_mac mac;
        uint16_t zero;
};
struct ip_key {
        uint32_t vni;
        struct gw_ip ip;
};
struct pair_key {
        const void *about;
        const struct gw_nve *nve;
};

/* directory.c */
void gw_dir_note(struct gw_directory *d, enum gw_note kind, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
void gw_dir_changed(struct gw_directory *d, enum gw_object kind, const char *id, bool gone);
bool gw_dir_reachable(const struct gw_binding *b);

/* record.c: stage the object's record, or its removal */
void gw_dir_store_tenant(struct gw_directory *d, const struct gw_tenant *tenant);
void gw_dir_store_vn(struct gw_directory *d, const struct gw_vn *vn);
void gw_dir_store_nve(struct gw_directory *d, const struct gw_nve *nve);
/* spec: what the VM is about to be, with its definition; NULL: as it is, and the definition as it is in the store. -ENOMEM */
int gw_dir_store_vm(struct gw_directory *d, const struct gw_vm *vm, const struct gw_vm_spec *spec);
void gw_dir_store_port(struct gw_directory *d, const struct gw_port *port);
void gw_dir_store_binding(struct gw_directory *d, const struct gw_vm *vm);
void gw_dir_store_policy(struct gw_directory *d, const struct gw_policy *policy);
void gw_dir_store_rule(struct gw_directory *d, const struct gw_rule *rule);
void gw_dir_store_epoch_floor(struct gw_directory *d);
void gw_dir_unstore_name(struct gw_directory *d, enum gw_record table, const char *name);

/* Of a port's record, or what claims to be one: its VN, MAC and addresses. NULL: of none. */
const struct gw_vn *gw_dir_record_keys(const struct gw_directory *d, const struct gw_stored *record,
                                       struct gw_port_spec *out);

/* registry.c, nve.c: objects without checks and without effects, for records as well */
int gw_dir_id_check(const struct gw_directory *d, const char *id, const char *field, struct gw_name *out,
                    struct gw_tenant **tenant, struct gw_error *error);
int gw_dir_tenant_add(struct gw_directory *d, const char *name, struct gw_tenant **out);
int gw_dir_vn_add(struct gw_directory *d, const struct gw_vn_spec *spec, struct gw_tenant *tenant, struct gw_vn **out);
void gw_dir_nve_conflict(struct gw_directory *d, struct gw_nve *nve, const struct gw_vm *vm, uint64_t claimed);
void gw_dir_nve_free(struct gw_directory *d, struct gw_nve *nve);
int gw_dir_nve_add(struct gw_directory *d, const char *id, struct gw_nve **out);
bool gw_dir_nve_is_gateway(const struct gw_directory *d, const struct gw_nve *nve); /* by what it and people say */
int gw_dir_nve_set_locator(struct gw_directory *d, struct gw_nve *nve, struct gw_ip locator);
void gw_dir_tenant_free(struct gw_directory *d, struct gw_tenant *tenant);
void gw_dir_vn_free(struct gw_directory *d, struct gw_vn *vn);

/* vm.c */
int gw_dir_vm_add(struct gw_directory *d, const struct gw_vm_spec *spec, struct gw_tenant *tenant, struct gw_vm **out);
void gw_dir_vm_free(struct gw_directory *d, struct gw_vm *vm);
int gw_dir_vm_compare(const void *vm, const char *id); /* as strcmp of its id and this */

/* port.c */
int gw_dir_port_make(struct gw_directory *d, struct gw_vm *vm, const struct gw_port_spec *spec, unsigned index,
                     struct gw_port **out, struct gw_error *error);
int gw_dir_gateways_check(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_vn_spec *spec,
                          struct gw_error *error);
int gw_dir_port_add(struct gw_directory *d, struct gw_vm *vm, struct gw_vn *vn, const struct gw_port_spec *spec,
                    unsigned index, struct gw_port **out); /* as it is in *spec; GW_E_EXISTS: its MAC is there */
void gw_dir_port_free(struct gw_directory *d, struct gw_port *port);

/* binding.c */
void gw_dir_binding_since(struct gw_binding *b, struct gw_wall since);
/* The end of a reserved move that is not the binding's place; NULL: there is none. */
struct gw_nve *gw_dir_move_other(const struct gw_binding *b);
void gw_dir_place_set(struct gw_vm *vm, struct gw_nve *nve); /* the binding's place; NULL: nowhere */
int gw_dir_place_enter(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve); /* -ENOMEM */
void gw_dir_place_leave(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve);
void gw_dir_binding_changed(struct gw_directory *d, struct gw_vm *vm); /* stores it and tells everyone concerned */
void gw_dir_binding_timer(struct gw_directory *d, struct gw_vm *vm);
void gw_dir_binding_lapse(struct gw_directory *d, struct gw_vm *vm, const char *why);

/* member.c */
struct directory_member *gw_dir_member_find(const struct gw_directory *d, const struct gw_vn *vn,
                                            const struct gw_nve *nve);
bool gw_dir_member_is(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve);
int gw_dir_member_plan(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve);
void gw_dir_member_unplan(struct gw_directory *d, struct gw_vn *vn, struct gw_nve *nve);
void gw_dir_member_touch(struct gw_directory *d, struct directory_member *m); /* what others are told of it changed */
void gw_dir_member_free(struct gw_directory *d, struct directory_member *m);
void gw_dir_member_expired(struct gw_directory *d, struct directory_member *m);
void gw_dir_member_confirmed(struct gw_directory *d, struct directory_member *m);
/* More than LONG_LIST members are to be told. */
bool gw_dir_member_has_long_list(const struct directory_member *m);
bool gw_dir_member_fill(struct gw_directory *d, struct directory_member *m); /* false: no room for it in this frame */
void gw_dir_members_reset(struct gw_directory *d, struct gw_nve *nve);       /* its session ended */
void gw_dir_member_renumbered(struct gw_directory *d, struct directory_member *m);
void gw_dir_members_forget(struct gw_directory *d, struct gw_nve *nve); /* and did not come back */
void gw_dir_vn_touch_port(struct gw_directory *d, struct gw_port *port);
void gw_dir_vn_set(struct gw_directory *d, struct gw_vn *vn);    /* its settings have changed */
void gw_dir_vn_policy(struct gw_directory *d, struct gw_vn *vn); /* after its number of ports changed */
void gw_dir_vn_remodel(struct gw_directory *d, struct gw_vn *vn, uint8_t model);
void gw_dir_member_flush(struct gw_directory *d, struct directory_member *m, uint8_t what);
bool gw_dir_member_receives(const struct directory_member *m); /* it listens, and so does its NVE */
bool gw_dir_member_knows_members(const struct directory_member *m);
bool gw_dir_member_complete(const struct directory_member *m); /* it has confirmed all that it must know */
void gw_dir_member_flushed(struct gw_directory *d, struct directory_member *m);

/* digest.c */
bool gw_dir_patch_covers(const struct directory_member *m, const struct gw_port *port);

/* holder.c */
struct directory_holder *gw_dir_holder_find(const struct gw_directory *d, const struct gw_vm *vm,
                                            const struct gw_nve *nve);
struct directory_holder *gw_dir_holder_get(struct gw_directory *d, struct gw_vm *vm,
                                           struct gw_nve *nve); /* NULL: no memory */
void gw_dir_holder_free(struct gw_directory *d, struct directory_holder *h);
void gw_dir_holder_dirty(struct gw_directory *d, struct directory_holder *h);
bool gw_dir_holder_fill(struct gw_directory *d, struct directory_holder *h);
bool gw_dir_holder_concerned(const struct gw_directory *d, const struct directory_holder *h);
void gw_dir_holders_again(struct gw_directory *d, struct gw_nve *nve); /* those that do not know */
/* Sees to it that the NVE learns where the VM is, if it is not itself there. again: even if it was told. */
void gw_dir_holder_tell(struct gw_directory *d, struct gw_vm *vm, struct gw_nve *nve, bool again);
void gw_dir_holders_expire(struct gw_directory *d);

/* gateway.c */
const struct gw_policy *gw_dir_policy_of(const struct gw_directory *d, const struct gw_vn *vn); /* one; NULL */
int gw_dir_policy_add(struct gw_directory *d, const char *name, struct gw_vn *from, struct gw_vn *to, bool one_way,
                      struct gw_policy **out);
void gw_dir_policy_free(struct gw_directory *d, struct gw_policy *policy);
/* All ways that gateways have to tell apart now; and whether they have not become too many since there were `before`. */
size_t gw_dir_gateways_ways(struct gw_directory *d);
int gw_dir_gateways_ways_check(struct gw_directory *d, size_t before, const char *field, struct gw_error *error);
/* May the VN have the subnets that it has now, with the policies that there are? */
int gw_dir_subnets_reach_check(const struct gw_directory *d, const struct gw_vn *vn, struct gw_error *error);
void gw_dir_gateways_review_vn(struct gw_directory *d, struct gw_vn *vn);
void gw_dir_gateways_review_nve(struct gw_directory *d, struct gw_nve *nve);
void gw_dir_gateway_role(const struct directory_member *gateway, const struct gw_nve *receiver, struct gw_member *out);

/* arrival.c */
void gw_dir_arrival_begin(struct gw_directory *d, struct gw_nve *nve); /* it is a gateway, or of another VN */
void gw_dir_arrival_hold(struct gw_directory *d,
                         struct gw_nve *nve); /* it was none, and others may not take its frames yet */
void gw_dir_departure_begin(struct gw_directory *d, struct gw_nve *nve); /* its members are to leave it */
void gw_dir_departure_end(struct gw_nve *nve);                           /* it may be one again: it comes anew */
void gw_dir_arrival_look(struct gw_directory *d, struct gw_nve *nve);
void gw_dir_arrival_void(struct directory_member *m); /* it is no gateway of the VN any more, or begins anew */

/* rules.c */
int gw_dir_rule_add(struct gw_directory *d, const char *id, struct gw_tenant *tenant, enum gw_rule_kind kind,
                    const struct gw_name *vms, size_t n_vms, struct gw_rule **out);
void gw_dir_rule_free(struct gw_directory *d, struct gw_rule *rule);
void gw_dir_rules_forget(struct gw_directory *d, const struct gw_vm *vm);
int gw_dir_tenancy_enter(struct gw_nve *nve, struct gw_tenant *tenant); /* -ENOMEM */
void gw_dir_tenancy_leave(struct gw_nve *nve, const struct gw_tenant *tenant);
int gw_dir_tenants_check(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error);
int gw_dir_rules_check(const struct gw_directory *d, const struct gw_vm *vm, const struct gw_nve *nve,
                       struct gw_error *error);

/* mtu.c */
/* The MTU that a VN with this spec gets. */
int gw_dir_mtu_choose(const struct gw_directory *d, const struct gw_vn_spec *spec, uint16_t *out,
                      struct gw_error *error);
/* May frames of all of the VM's VNs leave from there? GW_E_CONFLICT with a text. */
int gw_dir_mtu_fits(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error);
void gw_dir_mtu_told(struct gw_directory *d, struct gw_nve *nve, uint32_t underlay_mtu);

/* notice.c */
/* The VM has left `old` for its present place. cold: started anew there. */
void gw_dir_notice_moved(struct gw_directory *d, struct gw_vm *vm, const struct gw_nve *old, bool cold);
void gw_dir_notice_stopped(struct gw_directory *d, struct gw_vm *vm);
void gw_dir_notice_redirect_ended(struct gw_directory *d, struct gw_vm *vm, struct gw_ip locator, uint64_t redirected);
void gw_dir_notice_timer(struct gw_directory *d, struct gw_notice *n);

/* history.c */
int gw_dir_notices_init(struct gw_directory *d); /* -ENOMEM */
void gw_dir_notices_deinit(struct gw_directory *d);
struct gw_history *gw_dir_history_find(const struct gw_directory *d, const struct gw_vm *vm);
struct gw_history *gw_dir_history_get(struct gw_directory *d, struct gw_vm *vm); /* NULL: no memory */
void gw_dir_history_store(struct gw_directory *d, const struct gw_history *h);
void gw_dir_history_forget(struct gw_directory *d, struct gw_vm *vm);
int gw_dir_history_load(struct gw_directory *d, const char *key, struct gw_reader *r);
struct gw_notice *gw_dir_notice_find(const struct gw_history *h, uint8_t kind, struct gw_ip ip);
struct gw_notice *gw_dir_notice_get(struct gw_directory *d, struct gw_history *h, uint8_t kind,
                                    struct gw_ip ip); /* NULL: no memory */
struct gw_notice_receiver *gw_dir_receiver_find(const struct gw_directory *d, struct gw_ip ip);
bool gw_dir_notice_matters(const struct gw_notice *n); /* is there still something that the receiver ought to hear? */
struct gw_mono gw_dir_notice_ends(const struct gw_directory *d, const struct gw_notice *n);

/* update.c */
uint64_t gw_dir_pair_hash(const struct gw_directory *d, const struct pair_key *key);
int gw_dir_item_add(struct gw_directory *d, struct directory_item *item, enum item_kind kind, const void *about,
                    struct gw_nve *nve);
struct directory_item *gw_dir_item_find(const struct gw_directory *d, const void *about, const struct gw_nve *nve);
void gw_dir_item_remove(struct gw_directory *d, struct directory_item *item);
void gw_dir_item_dirty(struct gw_directory *d, struct directory_item *item);
void gw_dir_item_clean(struct gw_directory *d, struct directory_item *item);
void gw_dir_updates_due(struct gw_directory *d, struct gw_nve *nve); /* .coalesce */
void gw_dir_updates_flush(struct gw_directory *d);
void gw_dir_updates_abandon(struct gw_directory *d, struct gw_nve *nve);
void gw_dir_update_again(struct gw_directory *d, struct directory_update *u);
bool gw_dir_nve_listens(const struct gw_nve *nve);
