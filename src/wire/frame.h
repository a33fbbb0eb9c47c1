/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the NVE-NVA session, the protocol of design section 3; the model is
 * RFC 8171 (pull query and response, push update and acknowledgement, flush)
 * with D2's registrations carried whole.
 *
 *      0        4      5      6        8       12
 *      | length | ver  | type | flags  |  id   |  body: TLVs ...
 *        u32      u8     u8     u16 =0   u32
 *
 * length counts the whole frame, header included. id pairs an answer with its
 * question; a sender chooses it, 0 where no answer is due. A TLV is u16 type,
 * u32 length, value; types unknown to the receiver are skipped. Big-endian.
 *
 * Codecs are pure: no I/O, no allocation. Decoders point into the input.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cursor.h"

enum {
        GW_FRAME_VERSION = 1,
        GW_FRAME_HEADER_SIZE = 12,
        GW_FRAME_MAX = 1 << 20, /* octets, header included */
        GW_MAPPING_IPS_MAX = 16,
        GW_REPORT_LOCATORS_MAX = 1024,
        GW_DIGEST_BUCKETS_MAX = 4096,
        GW_HELD_MAX = 1024,     /* mappings in one HELD */
        GW_VN_GATEWAYS_MAX = 8, /* addresses of a VN's gateway: one for each subnet */
        GW_VN_MEMBERS_MAX = 16384,
};

/* The MAC address of every VN's gateway, the same on every NVE: what a VM has in its cache stays right when it moves.
 * No port may have it. */
#define GW_GATEWAY_MAC ((struct gw_mac){{0x02, 0x67, 0x77, 0x00, 0x00, 0x01}})

/* UDP ports of the probes with which edges learn whether a gateway answers: they go from the first to the second, and
 * the data plane of the gateway exchanges the two. */
enum { GW_PROBE_PORT_EDGE = 49152, GW_PROBE_PORT_GATEWAY = 3785 };

enum gw_frame_type {
        GW_FRAME_HELLO = 1,  /* NVE/HV -> NVA: role, id, locator, restart counter, last known state */
        GW_FRAME_WELCOME,    /* NVA -> NVE/HV: accepted; or BYE */
        GW_FRAME_REGISTER,   /* NVE -> NVA: locator + a Registration Request (wire/registration.h);
                              * NVA -> NVE: one of the management node, about a VM that has moved */
        GW_FRAME_REGISTERED, /* the Registration Reply, the other way */
        GW_FRAME_QUERY,      /* NVE -> NVA: vni and a MAC or an IP */
        GW_FRAME_RESPONSE,   /* NVA -> NVE: the mapping, or a negative answer with its lifetime */
        GW_FRAME_UPDATE,     /* NVA -> NVE: mappings and members that changed; to be acknowledged */
        GW_FRAME_UPDATE_ACK,
        GW_FRAME_FLUSH,     /* NVA -> NVE: forget (vni, mac) or the whole vni, positive and negative; acked alike */
        GW_FRAME_REPORT,    /* NVE -> NVA: talkers of a VM, stale senders, redirect ended */
        GW_FRAME_SUBSCRIBE, /* NVE -> NVA: VNs attached here (the complete list each time) */
        GW_FRAME_CALL,      /* io/session.h: method, path, JSON */
        GW_FRAME_ANSWER,    /* HTTP status, JSON */
        GW_FRAME_EVENT,     /* JSON */
        GW_FRAME_PING,
        GW_FRAME_PONG,
        GW_FRAME_BYE, /* a reason in words; the sender closes next */
        /* Only to one whose WELCOME or HELLO named the feature: */
        GW_FRAME_DIGEST,  /* NVE -> NVA: sums over the mappings held of a VN (wire/digest.h) */
        GW_FRAME_HELD,    /* NVE -> NVA: mappings held of a VN that is not pushed, one by one */
        GW_FRAME_AGREED,  /* NVA -> NVE: which buckets, or mappings, are as they should be */
        GW_FRAME_ABSENCE, /* NVE -> NVA: what happened while there was no session */
        GW_FRAME_END      /* from here on: of later versions, skipped */
};

enum gw_role { GW_ROLE_NVE = 1, GW_ROLE_HV = 2 };

struct gw_frame_header {
        uint32_t length; /* of the whole frame */
        uint8_t version, type;
        uint32_t id;
};

/* GW_E_AGAIN: fewer than 12 octets. GW_E_MALFORMED: version, flags or length not allowed. */
int gw_frame_header_decode(const uint8_t *bytes, size_t size, struct gw_frame_header *out);
void gw_frame_header_encode(struct gw_writer *w, const struct gw_frame_header *header);

/* Where a (VNI, MAC) with its addresses is. The unit of every directory answer and update. */
enum gw_mapping_state {
        GW_MAPPING_SERVING = 1, /* reach it at .locator */
        GW_MAPPING_ABSENT = 2,  /* known and nowhere now, or unknown: negative answer */
};
struct gw_mapping {
        uint64_t epoch;
        uint32_t vni;
        uint32_t lifetime_ms; /* how long a holder may use it; UINT32_MAX: until told otherwise */
        struct gw_ip locator;
        struct gw_mac mac;
        uint8_t state; /* enum gw_mapping_state */
        uint8_t n_ips;
        struct gw_ip ips[GW_MAPPING_IPS_MAX];
        struct gw_name vm; /* name@tenant; empty in a negative answer */
};

enum gw_member_role {
        GW_MEMBER_ROUTES = 1, /* it is a gateway of the VN: may send with GW_GATEWAY_MAC */
        GW_MEMBER_LIVE = 2,   /* and can be used, as far as the NVA knows */
};
/* A member: an NVE that has a port in the VN; gets its broadcast, may send into it.
 * With the locator :: it is a mark. `gone`: a list of all members follows in this frame, or with `more` also in later ones, until
 * a mark `gone` with `final` says that it was all. Not `gone`: all mappings of the VN have been
 * told, and with `final` what is not among them does not exist (a VN with the model push). */
struct gw_member {
        uint32_t vni;
        struct gw_ip locator;
        bool gone, final, more;
        uint8_t role;  /* enum gw_member_role */
        uint32_t cost; /* of a gateway, for the receiver: the least is taken */
};

/* What every NVE that has a port in a VN must know of it. */
enum gw_vn_flag {
        GW_VN_ANNOUNCED = 1, /* a claim of a VM by another NVE than its own is looked into, not just refused */
        GW_VN_RARP = 2,      /* RARP requests are answered */
        /* What becomes of packets for VMs that do not run (edge/unreachable.c); neither: those for one that stands still
         * wait. */
        GW_VN_ABSENT_DROP = 4,
        GW_VN_ABSENT_ANSWER = 8,
};
/* How often a port of the VN may make others work, per second (docs/security.md). */
enum gw_vn_limit { GW_VN_LIMIT_NEIGHBOURS, GW_VN_LIMIT_MISSES, GW_VN_LIMIT_GROUP, GW_VN_LIMIT_QUERIES, GW_VN_LIMITS };
#define GW_VN_NO_LIMIT UINT32_MAX
struct gw_vn_settings {
        uint32_t vni, flags; /* enum gw_vn_flag */
        uint8_t n_gateways;
        struct gw_ip gateways[GW_VN_GATEWAYS_MAX]; /* at GW_GATEWAY_MAC */
        uint32_t limits[GW_VN_LIMITS];             /* 0: the host's own; GW_VN_NO_LIMIT */
};

struct gw_hello {
        uint8_t role;      /* enum gw_role */
        struct gw_name id; /* must equal the certificate's name */
        struct gw_ip locator;
        uint64_t restart_count; /* grows by one each start of this daemon */
        uint32_t underlay_mtu;  /* an NVE's: octets of IP that its underlay carries; 0: not told */
        uint32_t features;      /* GW_FEATURE_*: what the NVA may send to it */
        struct gw_name site;    /* where it is; may be empty */
        bool gateway;           /* it routes between VNs, at that cost for its own site */
        uint32_t gateway_cost;
};
/* A checksum inside .message is over the pseudo-header {.locator, ::} in what an NVE sends and {::, .locator} in what the NVA
 * sends; .locator is the NVE's: the session, not the address of the NVA, is what pairs the two. */
struct gw_register {
        struct gw_ip locator;
        const uint8_t *message;
        size_t message_size;
};
struct gw_query {
        uint32_t vni;
        bool by_mac;
        struct gw_mac mac;
        struct gw_ip ip;
};
struct gw_flush_request {
        uint32_t vni;
        bool all;
        struct gw_mac mac;
        bool positive, negative;
};

enum gw_report_kind {
        GW_REPORT_TALKERS = 1,        /* .vm moved away from the sender; .locators exchanged packets with it lately */
        GW_REPORT_STALE_SENDERS = 2,  /* .locators still send to the sender for .vm */
        GW_REPORT_REDIRECT_ENDED = 3, /* the old NVE's entry for .vm is gone */
        GW_REPORT_CLAIM = 17,         /* .vm announced itself on a device of the sender that was attached to claim it */
        GW_REPORT_PATHS = 18,         /* the gateways that do not answer the sender, all of them; .vm is its own id */
        GW_REPORT_ANNOUNCEMENT_REFUSED = 16, /* .vm announced a MAC or an address that is not its own */
};
struct gw_report {
        uint8_t kind;
        struct gw_name vm;
        uint64_t epoch;
        uint64_t redirected; /* REDIRECT_ENDED: packets in flight that were redirected */
        uint16_t n_locators;
        struct gw_ip locators[GW_REPORT_LOCATORS_MAX];
};

/* Encoders write a whole frame (header and body) at the writer's place and
 * return its size; or 0, with the writer as it was, when it did not fit or has a
 * value that may not be sent (a count, a VNI, a name). Decoders take the body that
 * follows the header: 0 or GW_E_MALFORMED. */
size_t gw_hello_encode(struct gw_writer *w, uint32_t id, const struct gw_hello *hello);
int gw_hello_decode(const uint8_t *body, size_t size, struct gw_hello *out);
/* A WELCOME says what its sender understands beyond the first version; 0 from one that does not say. */
enum {
        GW_FEATURE_DIGESTS = 1,
        GW_FEATURE_ABSENCE = 2,
        GW_FEATURE_NOTICES =
                4, /* an NVE's: it takes REGISTER frames of the management node, and answers with REGISTERED */
        GW_FEATURE_PATHS = 8, /* an NVA's: it takes GW_REPORT_PATHS */
        GW_FEATURES = GW_FEATURE_DIGESTS | GW_FEATURE_ABSENCE | GW_FEATURE_PATHS,
};
uint32_t gw_welcome_features(const uint8_t *body, size_t size);
size_t gw_welcome_encode(struct gw_writer *w, uint32_t id, const struct gw_name *nva, uint64_t restart_count);
int gw_welcome_decode(const uint8_t *body, size_t size, struct gw_name *nva, uint64_t *restart_count);
size_t gw_register_encode(struct gw_writer *w, uint8_t type, uint32_t id,
                          const struct gw_register *reg); /* REGISTER, REGISTERED */
int gw_register_decode(const uint8_t *body, size_t size, struct gw_register *out);
size_t gw_query_encode(struct gw_writer *w, uint32_t id, const struct gw_query *query);
int gw_query_decode(const uint8_t *body, size_t size, struct gw_query *out);
/* RESPONSE and UPDATE: mappings, then members, then settings of VNs, read one by one with gw_batch_next. */
size_t gw_batch_encode(struct gw_writer *w, uint8_t type, uint32_t id, const struct gw_mapping *mappings,
                       size_t n_mappings, const struct gw_member *members, size_t n_members);
size_t gw_batch_encode_vns(struct gw_writer *w, uint8_t type, uint32_t id, const struct gw_mapping *mappings,
                           size_t n_mappings, const struct gw_member *members, size_t n_members,
                           const struct gw_vn_settings *vns, size_t n_vns);
struct gw_batch {
        struct gw_reader in;
        struct gw_vn_settings vn; /* after GW_BATCH_VN */
};
enum { GW_BATCH_END, GW_BATCH_MAPPING, GW_BATCH_MEMBER, GW_BATCH_BAD, GW_BATCH_VN };
struct gw_batch gw_batch_open(const uint8_t *body, size_t size);
int gw_batch_next(struct gw_batch *batch, struct gw_mapping *mapping, struct gw_member *member);
size_t gw_flush_encode(struct gw_writer *w, uint32_t id, const struct gw_flush_request *flush);
int gw_flush_decode(const uint8_t *body, size_t size, struct gw_flush_request *out);
size_t gw_report_encode(struct gw_writer *w, uint32_t id, const struct gw_report *report);
int gw_report_decode(const uint8_t *body, size_t size, struct gw_report *out);
size_t gw_subscribe_encode(struct gw_writer *w, uint32_t id, const uint32_t *vnis, size_t n);
int gw_subscribe_decode(const uint8_t *body, size_t size, uint32_t *vnis, size_t max, size_t *n);

/* What a SUBSCRIBE may tell beside the numbers: per VN the ports that are there, and the smallest prefixes that cover
 * their addresses (.bits 0 and :: when there is none of the family). */
struct gw_attached {
        uint32_t vni, ports;
        struct gw_prefix v4, v6;
};
/* A SUBSCRIBE with both, of the same VNs. */
size_t gw_attached_encode(struct gw_writer *w, uint32_t id, const struct gw_attached *attached, size_t n);
/* 0 with *n 0 when the SUBSCRIBE has none. */
int gw_attached_decode(const uint8_t *body, size_t size, struct gw_attached *out, size_t max, size_t *n);
size_t gw_empty_encode(struct gw_writer *w, uint8_t type, uint32_t id); /* UPDATE_ACK, PING, PONG */
size_t gw_bye_encode(struct gw_writer *w, const char *reason);
int gw_bye_decode(const uint8_t *body, size_t size, char *reason, size_t reason_size);
