/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the files of the edge share. Nobody outside src/edge includes this.
 *
 * Ownership: the edge owns everything in its tables. A VM owns its ports; a
 * query owns the frames that it holds, a port those held for its VM. A VN lives
 * while a port or a redirect is in it. All timers sit in one heap.
 */
#pragma once

#include "base/list.h"
#include "base/table.h"
#include "edge/edge.h"
#include "edge/timers.h"

enum edge_timer_kind {
        TIMER_MAPPING = 1,
        TIMER_QUERY,
        TIMER_REGISTRATION,
        TIMER_REDIRECT,
        TIMER_SWEEP,
        TIMER_REPORT,
        TIMER_PRESENCE,
        TIMER_SUSPECT,
        TIMER_GROUPS,
        TIMER_PATHS
};

/* (VNI, MAC) or (VNI, IP); no padding, so that it can be hashed as octets. */
struct edge_key {
        uint32_t vni;
        uint32_t by_mac; /* the first 6 octets of .b are a MAC */
        uint8_t b[16];
};

struct held_frame {
        struct held_frame *next;
        struct gw_mono at;
        struct gw_edge_frame frame; /* .bytes points to bytes */
        uint8_t bytes[];
};
struct held_queue {
        struct held_frame *first, *last;
        size_t n, octets;
        size_t *memory; /* what several queues take together, with what each frame costs; NULL: not counted */
};

struct edge_member {
        struct gw_table_node node; /* in edge->members */
        struct edge_vn *vn;
        size_t at; /* in vn->members */
        struct gw_ip locator;
        bool confirmed; /* in the last list of all members, or told since */
        uint8_t role;   /* enum gw_member_role */
        uint32_t cost;
};
struct edge_vn {
        struct gw_table_node node;
        uint32_t vni;
        size_t ports; /* also those of which only the redirect is left */
        struct edge_member **members;
        size_t n_members, size_members;
        bool listed;             /* the NVA has told all members in this session */
        bool all_told;           /* the NVA has told all mappings in this session */
        bool final;              /* and those that it did not tell do not exist */
        struct gw_prefix v4, v6; /* for a report: what covers the addresses here */
        uint64_t *sums;          /* while a digest is made */
        size_t n_sums, n_counted;
        struct gw_vn_settings settings;
        bool told;            /* the settings, by the NVA */
        bool look;            /* its ports are to be asked whether they are still there */
        struct gw_ip gateway; /* that is used; unspecified: none */
        bool routed;          /* it is here */
        uint32_t routed_mtu;
        uint64_t absent_tokens_ns; /* as in a port, of what is routed here */
};

/* What an asker has of what all share (share.c). */
struct edge_share {
        size_t questions, octets;
};

struct edge_group {
        struct gw_ip ip;
        struct gw_mono until;
};

struct edge_port {
        struct gw_table_node by_id, by_mac, by_ifindex;
        struct gw_list of_vm;
        struct edge_vm *vm;
        struct edge_vn *vn;
        struct gw_edge_attach a; /* .role, .epoch, .peer: only as attached; the VM's count */
        bool attached;
        bool hold;      /* frames for it come up */
        bool releasing; /* hold ends with the next drain */
        bool draining;  /* cut; what its device has queued goes first, the entry says punt until the next drain */
        uint64_t too_big_tokens_ns; /* rate limit: the time up to which tokens were spent */
        uint64_t query_tokens_ns;   /* the same, of questions that it causes */
        uint64_t absent_tokens_ns;  /* the same, of being told that a VM is not there, or telling so */
        bool still;                 /* as the data plane has it */
        struct edge_share share;
        uint64_t redirected;
        struct held_queue held;
        struct held_queue fenced, back; /* after a cut (takeback.c) */
        struct gw_list in_asked;        /* presence.c */
        struct gw_mono ask_at, heard_at, refused_said_until;
        uint8_t asked;             /* times */
        bool silent;               /* did not answer */
        struct edge_group *groups; /* groups.c */
        size_t n_groups;
        struct gw_mono query_at;   /* 0: begins with the next look */
        uint8_t queried;           /* times since it began */
        bool snooped;              /* it gets only what it asked for */
        unsigned group_changes;    /* since it was last asked */
        struct gw_mono open_until; /* it says too much for that; 0: no */
};

/* One entry of the binding update list (binding.c). */
struct edge_binding {
        struct gw_table_node node;
        struct edge_timer timer; /* what is due next: sending again, a refresh, the end of a deregistration */
        struct gw_name name;
        struct edge_vm *vm; /* NULL: gone; only the answer to its deregistration is awaited */
        uint8_t role;       /* enum gw_edge_binding_role */
        uint8_t state;      /* enum gw_edge_registration_state */
        uint8_t handoff, status;
        bool outstanding;       /* an answer to .sequence is due */
        uint16_t sequence;      /* of the last one sent */
        uint32_t tries;         /* since the last answer */
        uint32_t timeout_ms;    /* of the one that is outstanding */
        uint32_t granted_ms;    /* with the last acceptance */
        uint64_t epoch;         /* that was last registered here */
        uint64_t stamp;         /* of the last one sent; never lower in the next */
        uint64_t echo;          /* of what the answer must repeat */
        uint64_t not_before_ns; /* announcements may not make us register more often */
        struct gw_mono sent_at; /* the last one */
        bool noticed;           /* the management node sent a Request about it; the next three are of the last one */
        uint16_t notice_sequence;
        uint64_t notice_stamp;
        struct gw_mono keep_until; /* its redirect ends then at the latest; 0: when nothing comes any more */
        struct gw_mono expires;    /* what was granted, counted from the sending of the request */
};

/* return.c */
enum edge_return {
        EDGE_RETURN_WAITING = 1, /* ARRIVING, and does not come: where it is, is not known yet */
        EDGE_RETURN_SENDING,     /* the same; what is queued goes to .peer */
};

struct edge_vm {
        struct gw_table_node node;
        struct gw_name name;
        struct gw_list ports;
        uint8_t role; /* enum gw_edge_role */
        bool task;
        bool leaving;      /* MOVED: deleted; ends with its redirect */
        bool still;        /* its guest stands still */
        uint8_t returning; /* enum edge_return; 0: no */
        uint64_t epoch, n_returned;
        uint64_t back_epoch; /* EDGE_RETURN_SENDING: of the place that .peer is. .epoch stays that of its way to here */
        struct gw_mono returned_at; /* something was sent back, the last time */
        struct gw_ip peer;
        struct edge_binding *reg;   /* its entry in the binding update list */
        struct edge_timer redirect; /* MOVED, .returning: when to look at it; SERVING: when a hold ends */
        struct gw_mono cut_at;      /* .returning: when that began */
        bool talkers_due;           /* not yet reported */
        uint16_t n_talkers, n_stale;
        struct gw_ip *talkers, *stale; /* GW_EDGE_TALKERS_MAX each, from the cut on; NULL before */
};

struct edge_mapping {
        struct gw_table_node node;
        struct edge_timer timer;
        struct gw_mono expires; /* 0: when told otherwise */
        struct gw_mono said_at; /* by the NVA, last */
        uint64_t epoch;
        struct gw_ip locator;
        uint32_t vni, lifetime_ms;
        struct gw_mac mac;
        uint8_t state, n_ips;
        bool confirmed, refreshing;
        struct gw_ip *ips;
        char *vm;
};

struct edge_neigh {
        struct gw_table_node node;
        struct edge_key key;
        struct gw_mac mac;
};

enum query_state {
        QUERY_ASKING,
        QUERY_RELEASING, /* answered; ends with the next drain */
        QUERY_NEGATIVE,
};
struct edge_query {
        struct gw_table_node node;
        struct gw_list link; /* in asking or releasing */
        struct edge_timer timer;
        struct edge_key key;
        uint32_t id;
        uint32_t asker; /* the port's device; 0: a stranger; GW_EDGE_ITSELF */
        uint8_t state, tries;
        struct gw_mac mac; /* while releasing: whose entry has .punt for that time */
        struct held_queue held;
};

/* `sender` speaks as (vni, mac), which was known to be elsewhere. */
struct edge_suspect {
        struct gw_list link;
        struct edge_timer timer;
        uint32_t vni;
        struct gw_mac mac;
        struct gw_ip sender;
        uint8_t tries;
        bool answered;  /* the authority has put it elsewhere at least once */
        bool releasing; /* it was right; ends with the next drain */
        bool refused;   /* it was wrong; ends with the timer */
        bool believed;  /* nobody said; ends with the timer */
        struct held_queue held;
};

/* What could not be sent yet and is not remembered elsewhere: ends of redirects. */
struct edge_ended {
        struct gw_list link;
        struct gw_name vm;
        uint64_t epoch, redirected;
};

/* What was said to be held, until the NVA has answered: single mappings, or (n 0) a whole VN by its buckets. */
struct edge_offer {
        struct gw_list link;
        uint32_t id, vni;
        size_t buckets, n;
        struct gw_mac macs[];
};

struct gw_edge {
        struct gw_edge_config config;
        const struct gw_edge_effects *fx;
        void *user;
        struct edge_timers timers;
        struct edge_timer sweep, report_timer;
        struct gw_table vns, vms, ports_by_id, ports_by_mac, ports_by_ifindex, mappings, neighs, queries, bindings;
        struct gw_table members;
        struct gw_list asking, releasing, ended, offers, suspects;
        struct edge_timer presence, groups, path_timer;
        struct gw_list paths; /* to gateways */
        size_t n_paths;
        struct gw_list asked; /* ports */
        struct gw_list claims;
        size_t n_claims;
        struct gw_edge_now looked_at;
        bool look;
        size_t n_suspects, n_negatives, n_releasing_ports, held_octets;
        size_t taking_back;               /* octets of memory that what waits for a take-back has (takeback.c) */
        struct edge_share strangers;      /* what is not from a port */
        uint64_t strangers_tokens_ns;     /* as query_tokens_ns of a port */
        struct gw_mono source_said_until; /* that a host speaks for others' VMs */
        bool up, welcome;
        bool greeted;              /* there has been a WELCOME */
        uint32_t features;         /* of the NVA, in this session */
        struct gw_absence absence; /* since the last session; the last one while there is a session */
        struct gw_mono away_since; /* 0: not known yet */
        uint32_t next_id;
        struct gw_edge_route *routes; /* of a gateway */
        size_t n_routes;
        uint32_t outside_mtu;
        int64_t clock_offset_ns; /* the NVA's wall clock less ours, as far as it told us */
        uint64_t counters[GW_EDGE_COUNTERS];
        struct gw_report report;        /* room to build one */
        uint8_t out[GW_FRAME_MAX / 16]; /* room to encode a frame */
};

void gw_edge_log(struct gw_edge *edge, int level, const char *format, ...) __attribute__((format(printf, 3, 4)));
void gw_edge_send_written(struct gw_edge *edge, size_t size); /* edge->out; 0 is ignored */

/* keys */
struct edge_key gw_edge_key_mac(uint32_t vni, struct gw_mac mac);
struct edge_key gw_edge_key_ip(uint32_t vni, struct gw_ip ip);

/* held.c */
int gw_edge_held_push(struct held_queue *queue, struct gw_mono now, const struct gw_edge_frame *frame);
struct held_frame *gw_edge_held_pop(struct held_queue *queue); /* the caller frees */
size_t gw_edge_held_clear(struct held_queue *queue);           /* how many were dropped */
size_t gw_edge_held_expire(struct held_queue *queue, struct gw_mono before);

/* share.c: is there room for one more; it is taken; it is given back. ifindex 0: not from a port */
bool gw_edge_share_asks(struct gw_edge *edge, uint32_t ifindex);
bool gw_edge_share_holds(struct gw_edge *edge, uint32_t ifindex, size_t octets);
void gw_edge_share_ask(struct gw_edge *edge, uint32_t ifindex);
void gw_edge_share_asked(struct gw_edge *edge, uint32_t ifindex);
void gw_edge_share_hold(struct gw_edge *edge, uint32_t ifindex, size_t octets);
void gw_edge_share_held(struct gw_edge *edge, uint32_t ifindex, size_t octets);

/* vn.c */
struct edge_vn *gw_edge_vn_find(const struct gw_edge *edge, uint32_t vni);
int gw_edge_vn_ref(struct gw_edge *edge, uint32_t vni, struct edge_vn **out);
void gw_edge_vn_unref(struct gw_edge *edge, struct edge_vn *vn);
void gw_edge_vn_free_all(struct gw_edge *edge);
void gw_edge_vns_untold(struct gw_edge *edge);
void gw_edge_subscribe(struct gw_edge *edge);

/* member.c */
bool gw_edge_member_match(const struct gw_table_node *node, const void *key);
struct edge_member *gw_edge_member_find(const struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator);
void gw_edge_member_add(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, bool confirmed);
void gw_edge_member_remove(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator);
void gw_edge_members_drop(struct gw_edge *edge, struct edge_vn *vn); /* all; no gateway is chosen any more */
void gw_edge_members_free(struct gw_edge *edge, struct edge_vn *vn); /* the same without any effect */
void gw_edge_members_doubt(struct gw_edge *edge);                    /* of all VNs: a session begins */
void gw_edge_members_mark(struct gw_edge *edge, struct gw_edge_now now, struct edge_vn *vn,
                          const struct gw_member *mark); /* of a list of members: .gone and no locator */
void gw_edge_members_sweep(struct gw_edge *edge);

/* announce.c */
void gw_edge_announced(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
/* To the tasks here that are in this VN: mac, which has these addresses, is where it is now. */
void gw_edge_speak(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, const struct gw_ip *ips, size_t n);

/* claim.c */
struct gw_l2_said;
/* False: no claim on that device. */
bool gw_edge_claim_heard(struct gw_edge *edge, struct gw_edge_now now, uint32_t ifindex, const struct gw_l2_said *said);
void gw_edge_claims_device_gone(struct gw_edge *edge, uint32_t ifindex);
void gw_edge_claims_free_all(struct gw_edge *edge);

/* presence.c */
void gw_edge_presence_heard(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port);
void gw_edge_presence_look(struct gw_edge *edge, struct edge_vn *vn); /* a VM has left it */
void gw_edge_presence_timer(struct gw_edge *edge, struct gw_edge_now now);
/* gateway.c */
void gw_edge_member_role(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, uint8_t role, uint32_t cost);
void gw_edge_member_routes(struct gw_edge *edge, struct edge_vn *vn, struct edge_member *m, uint8_t role);
void gw_edge_gateway_choose(struct gw_edge *edge, struct edge_vn *vn);
bool gw_edge_gateway_fdb(const struct gw_edge *edge, uint32_t vni, struct gw_edge_fdb *out);
void gw_edge_gateway_adopt_member(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, uint8_t role);
void gw_edge_gateway_adopt(struct gw_edge *edge, struct edge_vn *vn, const struct gw_edge_fdb *entry);
void gw_edge_gateway_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
/* To the sender of what was to be routed: nobody is there. Counted. */
void gw_edge_gateway_unreachable(struct gw_edge *edge, const struct gw_edge_frame *frame);

/* path.c: add and remove once for each VN in which it is a gateway */
void gw_edge_path_add(struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator);
void gw_edge_path_remove(struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator);
enum gw_edge_path_state gw_edge_path_state(const struct gw_edge *edge, struct gw_ip locator);
void gw_edge_path_heard(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
void gw_edge_paths_timer(struct gw_edge *edge, struct gw_edge_now now);
void gw_edge_paths_tell(struct gw_edge *edge); /* the NVA, which of them are not to be used */
void gw_edge_paths_free_all(struct gw_edge *edge);

/* punt.c: its port is in another VN by now */
bool gw_edge_frame_is_of_before(const struct gw_edge *edge, const struct gw_edge_frame *frame);
/* Asks for what the key says, and holds the frame until the answer. */
void gw_edge_ask_and_hold(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                          const struct gw_edge_frame *frame);
/* As if port .ifindex had sent it; what is not known is asked for. */
void gw_edge_send_as(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
/* Port .ifindex has sent it, and the data plane has not looked into it yet: what goes down does not come up again, so that
 * all for which it would have come up is done first. */
void gw_edge_say(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
/* A bucket kept as the time up to which it is spent. */
bool gw_edge_bucket_take(uint64_t *spent_ns, uint64_t every_ns, uint64_t burst, struct gw_mono now);

/* unreachable.c: what is for a VM that does not run, as its VN wants it */
bool gw_edge_is_absent(const struct gw_edge *edge, const struct edge_key *key); /* the NVA said that it is nowhere */
void gw_edge_still_apply(struct gw_edge *edge, struct edge_vm *vm);
void gw_edge_still_apply_vn(struct gw_edge *edge, const struct edge_vn *vn);
void gw_edge_still_punted(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port,
                          const struct gw_edge_frame *frame);
/* Nobody has what the key asks for: the sender is told so or not. Counted; not told, under `otherwise`. */
void gw_edge_unreachable(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                         const struct gw_edge_frame *frame, enum gw_edge_counter otherwise);

/* settings.c */
void gw_edge_settings_apply(struct gw_edge *edge, const struct gw_vn_settings *said);
void gw_edge_port_limit(struct gw_edge *edge, const struct edge_port *port);      /* the VN's, once they are known */
bool gw_edge_settings_adopt(struct gw_edge *edge, uint32_t vni, struct gw_ip ip); /* a gateway's; false: no such VN */
struct gw_ip gw_edge_link_local(struct gw_mac mac);
bool gw_edge_link_local_mac(struct gw_ip ip, struct gw_mac *out); /* ip is the one derived from *out */

/* vm.c */
struct edge_vm *gw_edge_vm_find(const struct gw_edge *edge, const struct gw_name *name);
uint64_t gw_edge_vm_newest(const struct edge_vm *vm); /* the newest epoch that it is known here to have */
void gw_edge_vm_program(struct gw_edge *edge, struct edge_vm *vm);
void gw_edge_vm_moved(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, struct gw_ip to,
                      uint64_t epoch);
void gw_edge_vm_forget(struct gw_edge *edge, struct edge_vm *vm);
void gw_edge_vm_free_all(struct gw_edge *edge);

/* return.c */
void gw_edge_return_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_return_heard(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm); /* a mapping of its MAC */
void gw_edge_return_again(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm); /* its time begins anew */
void gw_edge_arrivals_ask(struct gw_edge *edge, struct gw_edge_now now); /* where those are that arrive */

/* takeback.c */
void gw_edge_fenced_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
void gw_edge_came_back(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, /* NULL: nobody's here */
                       const struct gw_edge_frame *frame);
void gw_edge_taken_back(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_not_taken_back(struct gw_edge *edge, struct edge_port *port);

/* hold.c */
void gw_edge_port_pass(struct gw_edge *edge, const struct edge_port *port, const struct gw_edge_frame *frame);
void gw_edge_vm_release(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_vm_drained(struct gw_edge *edge);
void gw_edge_vm_hold_timer(struct gw_edge *edge, struct edge_vm *vm);
void gw_edge_port_drain(struct gw_edge *edge, struct edge_port *port);   /* cut: its device's queue goes first */
void gw_edge_port_settled(struct gw_edge *edge, struct edge_port *port); /* nothing is released or drained any more */

/* port.c */
struct edge_port *gw_edge_port_find(const struct gw_edge *edge, const struct gw_name *id);
struct edge_port *gw_edge_port_by_mac(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
struct edge_port *gw_edge_port_by_ifindex(const struct gw_edge *edge, uint32_t ifindex);
int gw_edge_port_check(const struct gw_edge *edge, const struct gw_edge_attach *a, struct gw_error *error);
int gw_edge_port_open(struct gw_edge *edge, struct edge_vm *vm, const struct gw_edge_attach *a, struct gw_error *error);
void gw_edge_port_close(struct gw_edge *edge, struct edge_port *port);
void gw_edge_port_free(struct gw_edge *edge, struct edge_port *port, bool act);

/* fdb.c: the entry for (VNI, MAC) follows from the port, else the mapping, there; one place decides. */
bool gw_edge_fdb_wanted(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_edge_fdb *out);
int gw_edge_fdb_program(struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
bool gw_edge_neigh_find(const struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac *out);
void gw_edge_neigh_claim(struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac mac);
void gw_edge_neigh_release(struct gw_edge *edge, uint32_t vni, struct gw_ip ip, struct gw_mac mac);
void gw_edge_neigh_forget_vn(struct gw_edge *edge, uint32_t vni);
void gw_edge_neigh_free_all(struct gw_edge *edge);

/* cache.c */
struct edge_mapping *gw_edge_mapping_find(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
void gw_edge_mapping_apply(struct gw_edge *edge, struct gw_edge_now now, const struct gw_mapping *mapping);
void gw_edge_mapping_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m);
void gw_edge_mapping_adopt_ip(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip ip);
/* A port with the mapping's MAC is here: only its own addresses count now. */
void gw_edge_mapping_yield(struct gw_edge *edge, const struct edge_port *port);
void gw_edge_mapping_reclaim(struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
void gw_edge_mapping_drop(struct gw_edge *edge, struct edge_mapping *m);
void gw_edge_mappings_mark(struct gw_edge *edge);
void gw_edge_mappings_sweep(struct gw_edge *edge, struct gw_edge_now now);
void gw_edge_mapping_confirm(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m,
                             uint32_t lifetime_ms);
void gw_edge_mapping_doubt(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m);
void gw_edge_mappings_forget_vn(struct gw_edge *edge, uint32_t vni); /* and their entries */
void gw_edge_mappings_free_all(struct gw_edge *edge);
/* The newest epoch that the NVA gave for this MAC at another place than here; 0 for none. */
uint64_t gw_edge_mapping_elsewhere(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac);

/* query.c */
struct edge_query *gw_edge_query_find(const struct gw_edge *edge, const struct edge_key *key);
/* Asks the NVA, unless that was done already; NULL when too many wait. .state says where it stands. */
#define GW_EDGE_ITSELF UINT32_MAX /* not for a frame: no asker's share */
struct edge_query *gw_edge_query_ask(struct gw_edge *edge, struct gw_edge_now now, const struct edge_key *key,
                                     uint32_t asker);
void gw_edge_query_hold(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *query,
                        const struct gw_edge_frame *frame);
/* Before the entry of a MAC, and its addresses, are written: true when frames wait for it, so that it must be written with
 * .punt. */
bool gw_edge_query_prepare(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, const struct gw_ip *ips,
                           size_t n_ips);
bool gw_edge_query_releasing(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
/* Ends the query if what it asked for is known by now; its frames go. */
void gw_edge_query_resolve(struct gw_edge *edge, const struct edge_key *key);
/* The response with this id was taken in; if that did not end the query, the answer is no. */
void gw_edge_query_answered(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, uint32_t negative_ms);
void gw_edge_query_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_query *query);
void gw_edge_query_again(struct gw_edge *edge); /* all that wait */
void gw_edge_query_drained(struct gw_edge *edge);
void gw_edge_negatives_forget(struct gw_edge *edge); /* of all VNs */
/* Forgets negative answers, or all queries, of a VN or of one MAC in it. */
void gw_edge_queries_flush(struct gw_edge *edge, uint32_t vni, const struct gw_mac *mac, bool all);
void gw_edge_queries_free_all(struct gw_edge *edge);

/* binding.c: the list. An entry lives as long as its VM has ports here, and then until its deregistration has ended. */
struct edge_binding *gw_edge_binding_find(const struct gw_edge *edge, const struct gw_name *vm);
struct edge_binding *gw_edge_binding_get(struct gw_edge *edge, struct edge_vm *vm); /* NULL: no memory */
void gw_edge_binding_let_go(struct gw_edge *edge, struct edge_vm *vm);              /* the VM goes */
void gw_edge_binding_free(struct gw_edge *edge, struct edge_binding *b);
void gw_edge_bindings_free_all(struct gw_edge *edge);

/* groups.c */
void gw_edge_groups_begin(struct gw_edge *edge, struct edge_port *port); /* its VM serves here from now on */
void gw_edge_groups_free(struct edge_port *port);
void gw_edge_groups_heard(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
void gw_edge_groups_timer(struct gw_edge *edge, struct gw_edge_now now);

/* source.c */
void gw_edge_source_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame);
void gw_edge_source_told(struct gw_edge *edge, uint32_t vni, struct gw_mac mac); /* what is known of it may be new */
/* Frames of (vni, mac) from there wait: later ones must, too. */
bool gw_edge_source_suspected(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip sender);
void gw_edge_source_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_suspect *suspect);
void gw_edge_source_nva_down(struct gw_edge *edge);
void gw_edge_source_forget_vn(struct gw_edge *edge, uint32_t vni);
void gw_edge_source_drained(struct gw_edge *edge);
bool gw_edge_source_wants_drain(const struct gw_edge *edge);
void gw_edge_source_free_all(struct gw_edge *edge);

/* registration.c */
void gw_edge_register(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm, uint8_t handoff);
void gw_edge_deregister(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_unregistered(struct gw_edge *edge, struct edge_vm *vm); /* no longer ours to register */
void gw_edge_registration_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_binding *b);
int gw_edge_registered(struct gw_edge *edge, struct gw_edge_now now, const uint8_t *body, size_t size);

/* resync.c */
void gw_edge_resync(struct gw_edge *edge, struct gw_edge_now now); /* before SUBSCRIBE: what is held */
void gw_edge_resync_again(struct gw_edge *edge);                   /* at any time: what should be the same */
int gw_edge_agreed(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, const uint8_t *body, size_t size);
void gw_edge_offers_drop(struct gw_edge *edge);

/* absence.c: what happens while the NVA is away */
void gw_edge_absence_begin(struct gw_edge *edge, struct gw_edge_now now);
void gw_edge_absence_end(struct gw_edge *edge, struct gw_edge_now now);
void gw_edge_absence_tell(struct gw_edge *edge);
void gw_edge_absence_count(struct gw_edge *edge, uint64_t *what); /* of edge->absence */
/* notice.c */
int gw_edge_notice_frame(struct gw_edge *edge, struct gw_edge_now now, uint32_t id, const uint8_t *body, size_t size);

/* redirect.c */
void gw_edge_report(struct gw_edge *edge, uint8_t kind, const struct gw_name *vm, uint64_t epoch);
void gw_edge_report_locators(struct gw_edge *edge, uint8_t kind, const struct gw_name *name,
                             const struct gw_ip *locators, size_t n);
int gw_edge_redirect_begin(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_redirect_cancel(struct gw_edge *edge, struct edge_vm *vm); /* the VM is back */
/* The redirect's times are over; last: when something was redirected, 0 for never. */
bool gw_edge_redirect_is_idle(const struct gw_edge *edge, struct gw_edge_now now, const struct edge_vm *vm,
                              struct gw_mono last);
void gw_edge_redirect_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_vm *vm);
void gw_edge_reports_due(struct gw_edge *edge);
void gw_edge_reports_free_all(struct gw_edge *edge);
