/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility Headers that keep registrations in order, beside the registrations
 * themselves: Binding Error (RFC 6275), Heartbeat (RFC 5847), Update Notification
 * and its Acknowledgement (RFC 7077).
 *
 * Pure: no I/O, no allocation; what is decoded holds no pointers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/cursor.h"
#include "wire/auth.h"
#include "wire/mobility.h"
#include "wire/registration.h"

enum gw_upkeep_field {
        GW_UPKEEP_HAS_VM = 1 << 0,
        GW_UPKEEP_HAS_GROUP = 1 << 1,
        GW_UPKEEP_HAS_RESTARTS = 1 << 2,
        GW_UPKEEP_HAS_MESSAGE_ID = 1 << 3,
        GW_UPKEEP_HAS_AUTH = 1 << 4,
};

struct gw_upkeep {
        uint8_t kind;      /* GW_MH_BINDING_ERROR, _HEARTBEAT, _UPDATE_NOTIFICATION, _UPDATE_NOTIFICATION_ACK */
        uint8_t status;    /* Error: enum gw_mh_error; Acknowledgement: enum gw_mh_notification_status */
        uint16_t flags;    /* Heartbeat: enum gw_mh_heartbeat_flag; Notification: enum gw_mh_notification_flag */
        uint16_t reason;   /* Notification: enum gw_mh_notification_reason */
        uint32_t sequence; /* 32 bits in a Heartbeat, 16 in a Notification; an answer repeats it */
        struct gw_ip home; /* Error: of what it is about; :: */

        uint32_t has;      /* enum gw_upkeep_field */
        struct gw_name vm; /* option 8 */
        uint8_t group_subtype;
        uint32_t group;      /* option 50 */
        uint32_t restarts;   /* option 28: how often the sender started */
        uint64_t message_id; /* option 10 */
        uint8_t auth_subtype, auth_size;
        uint32_t auth_spi;
        uint8_t auth[GW_MH_AUTH_SIZE_LONG];

        uint8_t fault; /* decoder: enum gw_reg_fault */
};

/* As gw_registration_encode. GW_E_INVALID, GW_E_FULL: the writer is where it was. */
int gw_upkeep_encode(struct gw_writer *w, struct gw_ip src, struct gw_ip dst, const struct gw_upkeep *upkeep);
/* As gw_registration_decode. GW_E_MALFORMED: out->fault is set and all else zero. */
int gw_upkeep_decode(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst, struct gw_upkeep *out);
/* As gw_auth_mark. */
void gw_upkeep_mark(struct gw_upkeep *upkeep, const struct gw_auth_key *key);
