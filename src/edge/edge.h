/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge: what an NVE knows and decides, without doing any of it. It takes
 * events (each with the time), and acts through struct gw_edge_effects, which
 * the daemon or a simulator hands in. Effects are synchronous and never call
 * back into the edge. It reads no clock, draws nothing at random, and has no
 * globals, so that one process can hold thousands of edges.
 *
 * What it holds: VMs here (with ports, role, epoch and registration), mappings
 * learnt from the NVA, negative answers, pending queries with the frames they
 * hold, neighbours, and members of each VN.
 *
 * Epoch rule: about one VM, older never overwrites newer, whoever says it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"
#include "wire/digest.h"
#include "wire/frame.h"

struct gw_edge;
struct gw_error;
struct gw_registration;

enum { GW_EDGE_OFFLOAD_MAX = 12 };

/* What a port makes others do is limited, in frames per second: ARP and ND, frames that come up, group frames. */
enum gw_edge_limit { GW_EDGE_LIMIT_NEIGHBOURS, GW_EDGE_LIMIT_MISSES, GW_EDGE_LIMIT_GROUP, GW_EDGE_LIMITS };
#define GW_EDGE_NO_LIMIT UINT32_MAX

/* Both clocks, read once by the shell for one event. The wall clock only goes into registrations. */
struct gw_edge_now {
        struct gw_mono mono;
        struct gw_wall wall;
};

enum gw_edge_role {
        GW_EDGE_SERVING = 1, /* the VM is here */
        GW_EDGE_ARRIVING,    /* its copy is on the way here; local senders still go to .peer */
        GW_EDGE_MOVED,       /* cut: its packets are redirected to .peer */
        GW_EDGE_CLAIMING,    /* only for port_open: fenced, what it announces comes up */
        GW_EDGE_RETURNING,   /* only for port_open: arriving, fenced; what its device has queued can be sent to .peer */
};

enum gw_edge_place {
        GW_EDGE_TO_LOCAL = 1, /* deliver to .ifindex */
        GW_EDGE_TO_REMOTE,    /* encapsulate to .locator */
        GW_EDGE_TO_MOVED,     /* the same, and what comes from the wire is marked as redirected */
        GW_EDGE_TO_ARRIVING,  /* from the wire: deliver to .ifindex; from local ports: encapsulate to .locator */
        GW_EDGE_TO_GATEWAY,   /* routed here */
};

struct gw_edge_fdb {
        uint8_t place;  /* enum gw_edge_place */
        bool punt;      /* hand every frame up for now: held ones go first */
        bool punt_from; /* the same for frames from the wire that it sends */
        uint32_t ifindex;
        struct gw_ip locator;
        uint64_t epoch;
};

/* A port as attached. from: the locator a VM arrives from, or went to; unspecified when serving. */
struct gw_edge_attach {
        struct gw_name id, vm;
        uint32_t vni, ifindex;
        uint32_t mtu;
        struct gw_mac mac;
        uint8_t n_ips;
        struct gw_ip ips[GW_MAPPING_IPS_MAX];
        uint8_t role;   /* enum gw_edge_role; MOVED only when restoring after a restart */
        bool queues;    /* the device itself queues while nobody reads it (a tap) */
        bool task;      /* not a VM of a hypervisor */
        bool returning; /* ARRIVING, when restoring after a restart: it does not come (gw_edge_return) */
        uint64_t epoch;
        struct gw_ip peer;
        uint16_t allow;                  /* enum gw_allow */
        uint32_t limits[GW_EDGE_LIMITS]; /* frames per second; 0: the shell's default; GW_EDGE_NO_LIMIT */
};

/* A frame that the data plane handed up, and may get back as it was. */
struct gw_edge_frame {
        uint32_t vni, ifindex;                /* ifindex: the port that sent it, or that it is for; 0 from the wire */
        bool redirected;                      /* it came marked as in flight */
        uint8_t offload[GW_EDGE_OFFLOAD_MAX]; /* the shell's, not looked into */
        struct gw_ip sender;                  /* from the wire: the locator that sent it */
        bool routed;                          /* it waits to be routed from .vni (0: from outside) */
        uint32_t ip_octets;                   /* of the largest packet that it becomes; 0: it is one packet */
        const uint8_t *bytes;                 /* from the Ethernet header on */
        size_t size;
};

enum gw_edge_inject {
        GW_EDGE_AS_SENT = 1, /* as if port .ifindex had just sent it, past source guard and past .punt */
        GW_EDGE_DELIVER,     /* out of port .ifindex, to its VM */
        GW_EDGE_FROM_WIRE,   /* as if a member had just sent it */
        GW_EDGE_ROUTE,       /* as if it had just come to the gateway here from .vni */
        GW_EDGE_SAY,         /* the gateway's own, to a MAC of .vni */
        GW_EDGE_PROBE,       /* in .vni to the gateway whose locator is its IPv6 destination */
        GW_EDGE_DRAIN,       /* after the VM of port .ifindex, which was cut: marked, whatever its destination */
};

struct gw_edge_effects {
        int (*fdb_set)(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry);
        void (*fdb_del)(void *user, uint32_t vni, struct gw_mac mac);
        int (*neigh_set)(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac);
        void (*neigh_del)(void *user, uint32_t vni, struct gw_ip ip);
        /* The other members of a VN: who may send into it, and gets its broadcast. */
        void (*member_set)(void *user, uint32_t vni, struct gw_ip locator, uint8_t role); /* enum gw_member_role */
        void (*member_del)(void *user, uint32_t vni, struct gw_ip locator);
        /* Attaches programs to the device, in the role given; hold: frames for it come up (HOLD). Repeatable. */
        int (*port_open)(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error);
        void (*port_close)(void *user, const struct gw_edge_attach *port);
        /* The forwarding entry becomes moved-to in one write; then the port lets nothing more in. punt: as in
         * gw_edge_fdb, for its device has queued frames that must leave first. */
        int (*port_cut)(void *user, const struct gw_edge_attach *port, struct gw_ip to, uint64_t epoch, bool punt);
        void (*port_role)(void *user, const struct gw_edge_attach *port, enum gw_edge_role role, bool hold);
        /* Only with config.snoop. On: of multicast beyond the link-local groups, the port gets that of its groups alone;
         * off: all of it, and it is in no group. */
        void (*port_snoop)(void *user, const struct gw_edge_attach *port, bool on);
        void (*port_group)(void *user, uint32_t ifindex, struct gw_ip group, bool in);
        /* The limits of a port that is open, its own and those of its VN: 0: the shell's default. May be NULL. Until it is
         * called a port has those that it was opened with. */
        void (*port_limits)(void *user, uint32_t ifindex, const uint32_t limits[static GW_EDGE_LIMITS]);
        /* The port's VM stands still and its VN does not want frames for it to wait: they come up (HOLD), no more than the
         * port's limit of misses, and the rest is dropped; or no longer. May be NULL: they wait. */
        void (*port_still)(void *user, const struct gw_edge_attach *port, bool still);
        void (*inject)(void *user, enum gw_edge_inject how, const struct gw_edge_frame *frame);
        /* A frame made here (no offload) for the VM behind a port. */
        void (*deliver)(void *user, uint32_t ifindex, const uint8_t *frame, size_t size);
        void (*send)(void *user, const uint8_t *frame, size_t size); /* to the NVA; only between up and down */
        /* When a packet was last redirected for (vni, mac), 0 for never, and how many were since the cut. */
        struct gw_mono (*redirect_seen)(void *user, uint32_t vni, struct gw_mac mac, uint64_t *count);
        /* The locators that (vni, mac), a port here, exchanged packets with lately. */
        size_t (*talkers)(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip *out, size_t max);
        /* Has any local port exchanged packets with (vni, mac) at locator within that time? */
        bool (*in_use)(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within);
        void (*vm_changed)(void *user, const struct gw_name *vm); /* save it; it may be gone */
        /* Of a VM that did not arrive, after gw_edge_return. Do its devices queue frames? And: they are sent after the VM from
         * now on (DRAIN), first those that are there; until their ports are closed. May be NULL: nothing queues. */
        bool (*queued)(void *user, const struct gw_name *vm);
        uint64_t (*send_back)(void *user, const struct gw_name *vm); /* repeatable; how many were sent until now */
        void (*log)(void *user, int level, const char *text);
        /* A Request to the NVA, with config.own_transport only; the shell encodes and authenticates it. */
        void (*request)(void *user, const struct gw_registration *request);
        /* The management node sent a Request, which the edge has answered with *reply: the shell may act on it too (host
         * routes) and change the answer. May be NULL. */
        void (*noticed)(void *user, const struct gw_registration *request, struct gw_registration *reply);
};

struct gw_edge_config {
        struct gw_name id;
        struct gw_ip locator;
        uint64_t restart_count;
        uint64_t seed[2];          /* keys of hash tables */
        uint32_t lifetime_s;       /* asked for in registrations; 0: 3600 */
        uint32_t redirect_min_ms;  /* 0: 5000 */
        uint32_t redirect_idle_ms; /* 0: 2000 */
        uint32_t underlay_mtu;     /* octets of IP; 0: not known */
        struct gw_name site;       /* may be empty */
        bool gateway;              /* told to the NVA */
        uint32_t gateway_cost;
        uint32_t probe_ms;      /* how often gateways are asked whether they answer (path.c); 0: never */
        bool own_transport;     /* registrations go by effects.request, with or without a session */
        uint32_t queries_per_s; /* that one port may cause; 0: no limit */
        bool snoop;             /* effects.port_snoop and .port_group are there: multicast where it is wanted */
};

enum {
        GW_EDGE_QUERY_TIMEOUT_MS = 100, /* RFC 8171's pull timeout */
        GW_EDGE_QUERY_TRIES = 3,
        GW_EDGE_QUERY_TRIES_AT_START = 30, /* until the first session: what came up before is not given up meanwhile */
        GW_EDGE_NEGATIVE_MS = 1000,        /* after no answer; an answer brings its own lifetime */
        GW_EDGE_QUERIES_MAX = 1024,
        GW_EDGE_HELD_OCTETS_MAX = 16 << 20,  /* of all queries together, and for each arriving VM */
        GW_EDGE_TAKING_BACK_MAX = 256 << 20, /* octets of memory, of all that waits to be taken back */
        GW_EDGE_HELD_FRAMES_MAX = 1024,      /* of one query */
        GW_EDGE_HOLD_MS = 2000,              /* oldest frame held for an arriving VM */
        GW_EDGE_HOLD_SERVING_MS = 1000,      /* a VM that serves is held no longer */
        GW_EDGE_MAPPINGS_MAX = 1 << 18,
        GW_EDGE_NEGATIVES_MAX = 1 << 14,
        GW_EDGE_PORTS_MAX = 1 << 16,
        GW_EDGE_CLAIMS_MAX = 256,
        GW_EDGE_PATHS_MAX = 64, /* gateways that are asked; any more count as answering */
        GW_EDGE_TALKERS_MAX = GW_REPORT_LOCATORS_MAX,
        GW_EDGE_SWEEP_MS = 10000,        /* after a WELCOME, what was not confirmed until then is doubted */
        GW_EDGE_REPORT_EVERY_MS = 60000, /* VNs and what is attached are told again, and digests compared */
};

int gw_edge_new(struct gw_edge **out, const struct gw_edge_config *config, const struct gw_edge_effects *effects,
                void *user);
void gw_edge_free(struct gw_edge *edge); /* without any effect: what is in the data plane stays */

/* Calls (docs/architecture.md). 0 or GW_E_INVALID, _CONFLICT, _STALE, _NOT_FOUND, _FULL, negative errno;
 * *error is filled. A call repeated with the same epoch answers 0 and changes nothing. */
int gw_edge_attach(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_attach *port,
                   struct gw_error *error);
int gw_edge_detach(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *port, struct gw_error *error);
int gw_edge_cut(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, struct gw_ip to, uint64_t epoch,
                struct gw_error *error);
/* Frames for a VM that serves here wait, and none enters its devices, until it is cut (then they follow it), until
 * unhold, or until max_ms (0, or more than GW_EDGE_HOLD_SERVING_MS: that) have passed (then they are delivered). For the
 * moment before a VM is stopped: an emulator takes frames from a tap that a stopped VM never sees. */
int gw_edge_hold(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint32_t max_ms,
                 struct gw_error *error);
int gw_edge_unhold(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, struct gw_error *error);
/* The VM's guest stands still, or goes on: what becomes of packets for it is its VNs' to say (unreachable.c). */
int gw_edge_still(struct gw_edge *edge, const struct gw_name *vm, bool still, struct gw_error *error);
int gw_edge_uncut(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                  struct gw_error *error);
int gw_edge_activate(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                     struct gw_error *error);
/* A VM that was to arrive here with that epoch does not: what came for it goes back, once it is known to be back (return.c). */
int gw_edge_return(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                   struct gw_error *error);
int gw_edge_may_return(const struct gw_edge *edge, const struct gw_name *vm, uint64_t epoch, struct gw_error *error);
int gw_edge_delete(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, bool keep_redirect,
                   struct gw_error *error);
/* A device behind which a VM is said to be that may be elsewhere (claim.c). The epoch is not looked at. */
int gw_edge_claim(struct gw_edge *edge, const struct gw_edge_attach *port, struct gw_error *error);
bool gw_edge_unclaim(struct gw_edge *edge, const struct gw_name *port); /* false: there was none */
bool gw_edge_claim_find(const struct gw_edge *edge, const struct gw_name *vm, struct gw_edge_attach *out);
/* The NVA has looked into it: the VM is here, with that epoch. *port: the one that serves now. */
int gw_edge_claimed(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                    struct gw_name *port, struct gw_error *error);
void gw_edge_device_gone(struct gw_edge *edge, struct gw_edge_now now, uint32_t ifindex);

/* The locators that the VM's ports exchanged packets with lately; after a cut, those at the cut. */
size_t gw_edge_talkers(const struct gw_edge *edge, const struct gw_name *vm, struct gw_ip *out, size_t max);

/* After a restart of the shell: what the pinned data plane still holds, so that nothing is taken away before
 * the NVA has confirmed or corrected it. Attach ports first. */
void gw_edge_adopt_fdb(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_mac mac,
                       const struct gw_edge_fdb *entry);
void gw_edge_adopt_neigh(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_ip ip,
                         struct gw_mac mac);
void gw_edge_adopt_member(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_ip locator,
                          uint8_t role);

/* The session with the NVA. A frame that gets GW_E_MALFORMED must end the session. */
void gw_edge_nva_up(struct gw_edge *edge, struct gw_edge_now now);
/* To be told to the NVA with the next session. */
void gw_edge_set_underlay_mtu(struct gw_edge *edge, uint32_t octets);
void gw_edge_nva_down(struct gw_edge *edge, struct gw_edge_now now);
int gw_edge_frame(struct gw_edge *edge, struct gw_edge_now now, uint8_t type, uint32_t id, const uint8_t *body,
                  size_t size);

/* Registrations on a transport of their own: a Reply that the shell has decoded and found genuine. Through the session
 * replies come as frames. */
void gw_edge_reply(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *reply);
/* The NVA asks for it, or has started anew, or what had to be put right was: vm NULL is every VM that serves here. */
void gw_edge_register_again(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm);

/* A Request of the management node, genuine; *reply answers it. */
void gw_edge_notice(struct gw_edge *edge, struct gw_edge_now now, const struct gw_registration *request,
                    struct gw_registration *reply);

/* Frames that come up, and why. */
enum gw_edge_reason {
        GW_EDGE_UNKNOWN = 1,  /* from a port: no entry for its destination, or .punt */
        GW_EDGE_WIRE_UNKNOWN, /* from the wire: no entry for its destination */
        GW_EDGE_SOLICIT,      /* from a port: ARP request or neighbour solicitation without an answer */
        GW_EDGE_ANNOUNCE,     /* from a port: gratuitous ARP, unsolicited NA, RARP */
        GW_EDGE_TOO_BIG,      /* from a port: larger than the VN's MTU */
        GW_EDGE_HOLD,         /* for a port which is on hold */
        GW_EDGE_GROUPS,       /* from a port: IGMP or MLD says which multicast groups it is in */
        GW_EDGE_WIRE_SOURCE,  /* from the wire: its source MAC has an entry that leads elsewhere, or .punt_from */
        GW_EDGE_GATEWAY,      /* to be routed from .vni; its owner is not known, or it is to be answered */
        GW_EDGE_PATH,         /* from the wire: a gateway's answer to a probe */
        GW_EDGE_FENCED,       /* from a port whose VM was cut */
        GW_EDGE_RETURNED,     /* from the wire: sent back by the place that its VM was cut over to */
};
struct gw_edge_punt {
        uint8_t reason; /* enum gw_edge_reason */
        struct gw_edge_frame frame;
};
void gw_edge_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_punt *punt);
/* The shell has read everything that was handed up before this event. */
void gw_edge_punts_drained(struct gw_edge *edge, struct gw_edge_now now);

/* The shell ends: each frame that waits here is handed to it as it came up, and is its to keep for the next one; how many.
 * The bytes are valid during the call. */
size_t gw_edge_give_back(struct gw_edge *edge, void (*each)(const struct gw_edge_punt *punt, void *user), void *user);

/* `sender` still sends to us for (vni, mac), which is elsewhere. */
void gw_edge_stale_sender(struct gw_edge *edge, struct gw_edge_now now, uint32_t vni, struct gw_mac mac,
                          struct gw_ip sender);

void gw_edge_tick(struct gw_edge *edge, struct gw_edge_now now);
struct gw_mono gw_edge_deadline(const struct gw_edge *edge); /* when to tick next; 0: never */

/* True while frames wait that gw_edge_punts_drained would let go. */
bool gw_edge_wants_drain(const struct gw_edge *edge);

/* Is a VM's guest there? Asked of its ports; the answer is there within a second. */
enum gw_edge_presence {
        GW_EDGE_PRESENCE_GONE = 1, /* it does not serve here */
        GW_EDGE_PRESENCE_SILENT,   /* it is attached, and nothing answers */
        GW_EDGE_PRESENCE_ASKING,
        GW_EDGE_PRESENCE_HERE,
};
enum gw_edge_presence gw_edge_presence_ask(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm);
enum gw_edge_presence gw_edge_presence_of(const struct gw_edge *edge, const struct gw_name *vm);

/* What is held, for people. Views are valid during the callback. */
enum gw_edge_registration_state {
        GW_EDGE_REG_NONE,     /* not to be registered: arriving or moved */
        GW_EDGE_REG_PENDING,  /* to be sent, or sent and not answered */
        GW_EDGE_REG_ACCEPTED, /* until lifetime ends; refreshed before */
        GW_EDGE_REG_REFUSED,  /* status says why */
};
struct gw_edge_port_view {
        const struct gw_edge_attach *port; /* .role, .epoch and .peer as they are now */
        bool attached;                     /* false: only its redirect is left */
        bool held;
        bool still; /* it stands still, and frames for it do not wait */
        size_t held_frames;
        bool returning;       /* arriving, and does not come: what is queued for it goes back */
        bool silent;          /* asked whether it is there, it did not answer */
        struct gw_mono heard; /* its last announcement, or answer to that */
        uint64_t redirected;
        uint8_t registration; /* enum gw_edge_registration_state */
        uint8_t status;       /* of the last answer */
        bool snooped;         /* it gets the multicast groups that it is in, and no others */
        size_t n_groups;
};
enum gw_edge_binding_role {
        GW_EDGE_BINDING_SERVING = 1, /* this is the place */
        GW_EDGE_BINDING_SOURCE,      /* it was: .locator is; the entry ends with the redirect */
        GW_EDGE_BINDING_ARRIVING,    /* it will be; nothing is registered yet */
        GW_EDGE_BINDING_LEAVING,     /* deregistered; ends with the answer, or without one soon */
};
/* One entry of the binding update list. */
struct gw_edge_binding_view {
        const struct gw_name *vm;
        uint8_t role;              /* enum gw_edge_binding_role */
        uint8_t state;             /* enum gw_edge_registration_state */
        uint8_t status;            /* of the last answer */
        bool outstanding;          /* an answer is due */
        uint16_t sequence;         /* of the last Request */
        uint32_t tries;            /* Requests since the last answer */
        uint32_t timeout_ms;       /* of the last of them */
        uint32_t granted_ms;       /* 0: nothing was granted */
        uint64_t epoch, stamp;     /* of the last Request; a stamp as in wire/registration.h */
        struct gw_mono expires;    /* what was granted */
        struct gw_mono keep_until; /* SOURCE: the redirect ends then at the latest; 0: not said */
        bool noticed;              /* SOURCE: the management node has said so itself */
        struct gw_mono next;       /* when something is due: again, a refresh, the end; 0: nothing */
        struct gw_ip locator;      /* SOURCE, ARRIVING: of the other place */
};
struct gw_edge_mapping_view {
        struct gw_mapping mapping;
        struct gw_mono expires; /* 0: when told otherwise */
};
void gw_edge_each_port(const struct gw_edge *edge, void (*each)(const struct gw_edge_port_view *view, void *user),
                       void *user);
void gw_edge_each_binding(const struct gw_edge *edge, void (*each)(const struct gw_edge_binding_view *view, void *user),
                          void *user);
/* Addresses of the VM's ports here, for a binding's view; how many, at most max. */
size_t gw_edge_vm_ips(const struct gw_edge *edge, const struct gw_name *vm, struct gw_ip *out, size_t max);
void gw_edge_each_mapping(const struct gw_edge *edge, void (*each)(const struct gw_edge_mapping_view *view, void *user),
                          void *user);
void gw_edge_each_vn(const struct gw_edge *edge,
                     void (*each)(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user),
                     void *user);
bool gw_edge_vm_role(const struct gw_edge *edge, const struct gw_name *vm, enum gw_edge_role *role, uint64_t *epoch);
bool gw_edge_has_device(const struct gw_edge *edge, uint32_t ifindex);
/* How many questions the port on that device may cause per second; 0: any number. */
uint32_t gw_edge_queries_per_s(const struct gw_edge *edge, uint32_t ifindex);
bool gw_edge_is_registered(const struct gw_edge *edge); /* WELCOME came and the session is up */
/* What happened since the session ended, or, while there is one, before it began. */
struct gw_absence gw_edge_absence(const struct gw_edge *edge, struct gw_edge_now now);

/* The gateway role (gateway.c). The complete list each time: the VNs that are routed here, and the ways between them;
 * the caller writes these to the data plane. -ENOMEM, GW_E_FULL. */
enum { GW_EDGE_ROUTES_MAX = 16384, GW_EDGE_OUTSIDE = 0 };
struct gw_edge_route {
        uint32_t from; /* VNI; GW_EDGE_OUTSIDE */
        struct gw_prefix to;
        uint32_t vni; /* where it goes; GW_EDGE_OUTSIDE */
        bool self;    /* an address of the gateway in .from */
};
struct gw_edge_routed {
        uint32_t vni, mtu;
};
int gw_edge_route(struct gw_edge *edge, const struct gw_edge_routed *vns, size_t n_vns,
                  const struct gw_edge_route *routes, size_t n_routes, uint32_t outside_mtu);
/* The gateway that VMs here use in a VN: unspecified for none, our own locator when it is here. */
struct gw_ip gw_edge_gateway_of(const struct gw_edge *edge, uint32_t vni);
/* What it is chosen from. */
struct gw_edge_gateway_view {
        struct gw_ip locator;
        uint32_t cost;
        bool live; /* as far as the NVA knows */
        bool used;
        uint8_t path; /* enum gw_edge_path_state */
};
void gw_edge_each_gateway(const struct gw_edge *edge, uint32_t vni,
                          void (*each)(const struct gw_edge_gateway_view *view, void *user), void *user);

/* The ways to gateways (path.c). */
enum gw_edge_path_state {
        GW_EDGE_PATH_GOOD, /* or not known to be otherwise */
        GW_EDGE_PATH_LOST, /* no answers */
        GW_EDGE_PATH_HELD, /* answers again; not trusted before .good_at */
};
struct gw_edge_path_view {
        struct gw_ip locator;
        uint8_t state;                 /* enum gw_edge_path_state */
        struct gw_mono heard, good_at; /* heard: the last answer; 0: never */
        uint32_t rtt_us, losses;
};
void gw_edge_each_path(const struct gw_edge *edge, void (*each)(const struct gw_edge_path_view *view, void *user),
                       void *user);

/* What an entry of the data plane rests on, and putting right one that the authority contradicts (audit.c). */
enum gw_edge_origin {
        GW_EDGE_ORIGIN_NONE,      /* nothing known here stands for it */
        GW_EDGE_ORIGIN_PORT,      /* a port here */
        GW_EDGE_ORIGIN_AUTHORITY, /* what the NVA said */
        GW_EDGE_ORIGIN_KEPT,      /* found in the data plane at this daemon's start, and not confirmed yet */
};
struct gw_edge_source {
        uint8_t origin;       /* enum gw_edge_origin */
        struct gw_mono since; /* said, or cut; 0: not known */
};
struct gw_edge_source gw_edge_source_of_mac(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
struct gw_edge_source gw_edge_source_of_ip(const struct gw_edge *edge, uint32_t vni, struct gw_ip ip);
/* What was learnt about it is forgotten; its entry becomes what the ports here say, or goes until the NVA says anew. */
void gw_edge_repair_mac(struct gw_edge *edge, uint32_t vni, struct gw_mac mac);
void gw_edge_repair_ip(struct gw_edge *edge, uint32_t vni, struct gw_ip ip);

/* Counters, in the order of gw_edge_counter_names (ends with NULL). */
enum gw_edge_counter {
        GW_EDGE_C_QUERIES,
        GW_EDGE_C_QUERY_RETRIES,
        GW_EDGE_C_QUERY_TIMEOUTS,
        GW_EDGE_C_NEGATIVE_ANSWERS,
        GW_EDGE_C_NEGATIVE_HITS,
        GW_EDGE_C_HELD,
        GW_EDGE_C_RELEASED,
        GW_EDGE_C_HELD_DROPPED_NEGATIVE,
        GW_EDGE_C_HELD_DROPPED_FULL,
        GW_EDGE_C_HELD_DROPPED_AGE,
        GW_EDGE_C_MAPPINGS_STALE,
        GW_EDGE_C_MAPPINGS_CONFLICT,
        GW_EDGE_C_FENCED,
        GW_EDGE_C_ANNOUNCEMENTS,
        GW_EDGE_C_ANNOUNCEMENTS_REFUSED,
        GW_EDGE_C_TOO_BIG_ANSWERED,
        GW_EDGE_C_TOO_BIG_LIMITED,
        GW_EDGE_C_REGISTRATIONS,
        GW_EDGE_C_REGISTRATION_RETRIES,
        GW_EDGE_C_REGISTRATIONS_REFUSED,
        GW_EDGE_C_STALE_SENDERS,
        GW_EDGE_C_UNPARSED,
        GW_EDGE_C_REPLIES_LATE,   /* to a Request that is over, or for nobody here */
        GW_EDGE_C_REPLIES_DIFFER, /* do not repeat what was asked */
        GW_EDGE_C_DEREGISTRATIONS,
        GW_EDGE_C_DEREGISTRATIONS_UNANSWERED,
        GW_EDGE_C_SUPERSEDED, /* refused because the VM has a newer place */
        GW_EDGE_C_QUERIES_LIMITED,
        GW_EDGE_C_NO_SUCH,
        GW_EDGE_C_FLUSHES,
        GW_EDGE_C_RESYNC_AGREED,
        GW_EDGE_C_RESYNC_DOUBTED,
        GW_EDGE_C_ANNOUNCED_ARP,
        GW_EDGE_C_ANNOUNCED_ND,
        GW_EDGE_C_ANNOUNCED_RARP,
        GW_EDGE_C_RARP_ANSWERED,
        GW_EDGE_C_RARP_UNKNOWN,
        GW_EDGE_C_SPOKEN,
        GW_EDGE_C_PRESENCE_ASKED,
        GW_EDGE_C_PRESENT,
        GW_EDGE_C_SILENT,
        GW_EDGE_C_NOTICES, /* of the management node, answered and acted upon */
        GW_EDGE_C_NOTICES_REFUSED,
        GW_EDGE_C_SOURCES_ASKED,
        GW_EDGE_C_SOURCES_CONFIRMED,
        GW_EDGE_C_SOURCES_REFUSED,
        GW_EDGE_C_SOURCES_UNVERIFIED,
        GW_EDGE_C_CLAIMS,
        GW_EDGE_C_GATEWAY_CHANGES,
        GW_EDGE_C_GATEWAY_EXCEEDED,
        GW_EDGE_C_GATEWAY_PROHIBITED,
        GW_EDGE_C_GATEWAY_TOO_BIG,
        GW_EDGE_C_GATEWAY_ECHOES,
        GW_EDGE_C_GATEWAY_UNANSWERED,
        GW_EDGE_C_GROUPS_HEARD,
        GW_EDGE_C_GROUPS_FULL,
        GW_EDGE_C_PATHS_ASKED,
        GW_EDGE_C_PATHS_HEARD,
        GW_EDGE_C_PATHS_LOST,
        GW_EDGE_C_PORT_CHANGED,    /* of a port whose device is in another VN by now */
        GW_EDGE_C_ABSENT_ANSWERED, /* packets for VMs that do not run, by an ICMP error */
        GW_EDGE_C_ABSENT_DROPPED,
        GW_EDGE_C_FENCED_SENT,    /* what a VM said that ran before its edge knew that it was taken back */
        GW_EDGE_C_FENCED_DROPPED, /* what one said that was not */
        GW_EDGE_C_BACK_DELIVERED, /* what came back for one before its edge knew */
        GW_EDGE_C_BACK_DROPPED,
        GW_EDGE_COUNTERS,
};
extern const char *const gw_edge_counter_names[GW_EDGE_COUNTERS + 1];
uint64_t gw_edge_counter(const struct gw_edge *edge, enum gw_edge_counter counter);
