/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registrations: D2's VM Mobility Registration Request and Reply, which are
 * RFC 5213's Proxy Binding Update and Acknowledgement, octet for octet. Carried
 * whole in REGISTER and REGISTERED frames (wire/frame.h) or as a Mobility Header.
 *
 * Pure: no I/O, no allocation; a decoded registration holds no pointers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cursor.h"
#include "base/time.h"
#include "wire/mobility.h"

enum {
        GW_REG_MACS_MAX = 16,
        GW_REG_VM_ADDRS_MAX = 16,                   /* of one VM, both families */
        GW_REG_ADDRS_MAX = 2 * GW_REG_VM_ADDRS_MAX, /* of each family: the management node's come in pairs */
};

enum gw_reg_kind {
        GW_REG_REQUEST = GW_MH_BINDING_UPDATE,
        GW_REG_REPLY = GW_MH_BINDING_ACK,
};

/* Which of the optional single fields are there (.has). Arrays are there by their counts. */
enum gw_reg_field {
        GW_REG_HAS_VM = 1 << 0,
        GW_REG_HAS_HANDOFF = 1 << 1,
        GW_REG_HAS_ACCESS = 1 << 2,
        GW_REG_HAS_TIMESTAMP = 1 << 3,
        GW_REG_HAS_EPOCH = 1 << 4,
        GW_REG_HAS_LINK_LOCAL = 1 << 5,
        GW_REG_HAS_DEFAULT_ROUTER4 = 1 << 6,
        GW_REG_HAS_ALTERNATE_COA = 1 << 7,
        GW_REG_HAS_COA4 = 1 << 8,
        GW_REG_HAS_ALTERNATE_COA4 = 1 << 9,
        GW_REG_HAS_DHCP4 = 1 << 10,
        GW_REG_HAS_GROUP = 1 << 11,
        GW_REG_HAS_SERVING = 1 << 12,
        GW_REG_HAS_MESSAGE_ID = 1 << 13,
        GW_REG_HAS_AUTH = 1 << 14,
        GW_REG_HAS_RESTARTS = 1 << 15,
};

/* Why octets did not decode: for the one log line and the counter. */
enum gw_reg_fault {
        GW_REG_FAULT_NONE,
        GW_REG_FAULT_SIZE,          /* shorter than the header, or not as long as it says */
        GW_REG_FAULT_CHECKSUM,      /* RFC 6275 9.2: drop in silence */
        GW_REG_FAULT_TYPE,          /* not one that the reader knows; to be answered with a Binding Error */
        GW_REG_FAULT_PAYLOAD,       /* payload protocol is not 59 */
        GW_REG_FAULT_HEADER_LENGTH, /* too small for the type */
        GW_REG_FAULT_OPTION_PAST_END,
        GW_REG_FAULT_OPTION_LENGTH, /* not one that this option can have */
        GW_REG_FAULT_OPTION_VALUE,  /* e.g. a prefix length of 129 */
        GW_REG_FAULT_OPTION_REPEATED,
        GW_REG_FAULT_TOO_MANY, /* addresses or MACs */
        GW_REG_FAULT_AFTER_AUTH,
        GW_REG_FAULT_COUNT,
};

/* An IPv4 home address with the length of its network's prefix (RFC 5844). */
struct gw_reg_addr4 {
        struct gw_ip ip; /* mapped form; 0.0.0.0 asks for one */
        uint8_t bits;    /* 0..32 */
        uint8_t status;  /* option 37 only */
};

struct gw_registration {
        uint8_t kind;            /* enum gw_reg_kind */
        uint8_t status;          /* Reply: enum gw_mh_status */
        uint16_t flags;          /* Request: enum gw_mh_request_flag; Reply: enum gw_mh_reply_flag */
        uint16_t sequence;       /* of the sender; a Reply repeats the Request's */
        uint16_t lifetime_units; /* of 4 s; 0 deregisters */
        uint32_t has;            /* enum gw_reg_field */

        struct gw_name vm; /* option 8 as NAI: name@tenant */
        uint8_t n_macs, n_addrs6, n_addrs4, n_replies4;
        struct gw_mac macs[GW_REG_MACS_MAX];
        struct gw_prefix addrs6[GW_REG_ADDRS_MAX];      /* option 22; a VM's address has 128 bits; never IPv4-mapped */
        struct gw_reg_addr4 addrs4[GW_REG_ADDRS_MAX];   /* option 36 */
        struct gw_reg_addr4 replies4[GW_REG_ADDRS_MAX]; /* option 37 */
        uint8_t handoff, access;                        /* enum gw_mh_handoff, gw_mh_access */
        uint64_t timestamp;                             /* since 1970, unit 1/65536 s; gw_registration_stamp */
        uint64_t epoch;                                 /* option 19, ours */
        struct gw_ip link_local;                        /* IPv6 */
        struct gw_ip default_router4;                   /* D2: the sending hypervisor's IPv4 address */
        struct gw_ip alternate_coa, coa4, alternate_coa4;
        bool dhcp4_server;
        uint8_t group_subtype;
        uint32_t group;
        struct gw_ip serving; /* IPv6; the NVE that serves now (RFC 8885) */
        uint64_t message_id;  /* NTP time, 32.32 since 1900 */
        uint8_t auth_subtype; /* enum gw_mh_auth */
        uint8_t auth_size;    /* GW_MH_AUTH_SIZE or GW_MH_AUTH_SIZE_LONG */
        uint32_t auth_spi;
        uint8_t auth[GW_MH_AUTH_SIZE_LONG];
        uint32_t restarts; /* option 28; only Heartbeats carry it */

        uint8_t fault; /* decoder: enum gw_reg_fault */
};

/*
 * Writes one whole message with its checksum at the writer's place. src and dst
 * are of the pseudo-header: the addresses it will travel between, IPv4 ones in
 * mapped form. GW_E_INVALID: a field that cannot be encoded (a count or length
 * out of bounds, an address of the wrong family). GW_E_FULL: no room, or more
 * than GW_MH_SIZE_MAX octets. On failure the writer is where it was.
 */
int gw_registration_encode(struct gw_writer *w, struct gw_ip src, struct gw_ip dst, const struct gw_registration *reg);

/*
 * Decodes exactly `size` octets. 0, or GW_E_MALFORMED with out->fault set and
 * all else zero. Unknown options are skipped. Whether the P flag, a VM id, a
 * handoff indicator ... are there is for the receiver to judge (and to answer
 * with a status), not for the decoder.
 */
int gw_registration_decode(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst,
                           struct gw_registration *out);

/* Recomputes the checksum of a message that was changed in place, as when the
 * authentication data, its last octets, were filled in after encoding (wire/auth.h). */
void gw_registration_seal(uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst);

/* The Reply that a Request gets: what was asked, repeated, with this status. Refused, its lifetime is 0. */
void gw_registration_answer(const struct gw_registration *request, uint8_t status, struct gw_registration *reply);

uint64_t gw_registration_stamp(struct gw_wall at);
struct gw_wall gw_registration_stamp_wall(uint64_t stamp);
uint16_t gw_registration_lifetime(uint32_t seconds); /* in units, rounded up; at most 65535 */
const char *gw_registration_fault_word(uint8_t fault);
const char *gw_registration_status_word(uint8_t status); /* "accepted", "sequence-out-of-window" */
