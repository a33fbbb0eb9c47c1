/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Encoding and decoding of Binding Error (RFC 6275 section 6.1.9), Heartbeat
 * (RFC 5847 section 3.3) and Update Notification and Acknowledgement (RFC 7077
 * section 4).
 *
 *      Binding Error    6: status(1) reserved(1)  8: home address(16)        24: options
 *      Heartbeat        6: flags(2)               8: sequence(4)             12: options
 *      Notification     6: sequence(2)            8: reason(2) 10: flags(2)  12: options
 *      Acknowledgement  6: sequence(2)            8: status(1) reserved(3)   12: options
 *
 * Options are the registrations' own and are read by the same table, with the
 * same faults; those that have no meaning here are read and left. They go out in
 * the order: who (8, 50), restarts (28), when (10), and last the authentication.
 */
#include "wire/upkeep.h"

#include <string.h>

#include "base/error.h"
#include "wire/header.h"
#include "wire/text.h"

enum { HEARTBEAT_FLAGS = GW_MH_HEARTBEAT_UNSOLICITED | GW_MH_HEARTBEAT_RESPONSE };
enum { NOTIFICATION_FLAGS = GW_MH_NOTIFICATION_ACK | GW_MH_NOTIFICATION_AGAIN };

void gw_upkeep_mark(struct gw_upkeep *upkeep, const struct gw_auth_key *key) {
        upkeep->has |= GW_UPKEEP_HAS_AUTH;
        upkeep->auth_subtype = GW_MH_AUTH_MN_HA;
        upkeep->auth_spi = key->spi;
        upkeep->auth_size = (uint8_t)gw_auth_size(key->algorithm);
        memset(upkeep->auth, 0, sizeof upkeep->auth);
}

/* --- encoding --- */

static bool kind_ok(const struct gw_upkeep *upkeep) {
        switch (upkeep->kind) {
        case GW_MH_BINDING_ERROR:
                return !upkeep->flags && !upkeep->sequence && !upkeep->reason;
        case GW_MH_HEARTBEAT:
                return !(upkeep->flags & ~HEARTBEAT_FLAGS) && !upkeep->status && !upkeep->reason;
        case GW_MH_UPDATE_NOTIFICATION:
                return !(upkeep->flags & ~NOTIFICATION_FLAGS) && upkeep->sequence <= UINT16_MAX && !upkeep->status;
        case GW_MH_UPDATE_NOTIFICATION_ACK:
                return !upkeep->flags && upkeep->sequence <= UINT16_MAX && !upkeep->reason;
        default:
                return false;
        }
}

static bool upkeep_ok(const struct gw_upkeep *upkeep) {
        if ((upkeep->has & GW_UPKEEP_HAS_VM) &&
            !gw_wire_name_ok(upkeep->vm.s, strnlen(upkeep->vm.s, sizeof upkeep->vm.s)))
                return false;
        if ((upkeep->has & GW_UPKEEP_HAS_AUTH) && !gw_mh_auth_size_ok(upkeep->auth_size))
                return false;
        return kind_ok(upkeep);
}

static void put_data(struct gw_writer *w, const struct gw_upkeep *upkeep) {
        switch (upkeep->kind) {
        case GW_MH_BINDING_ERROR:
                gw_put_u8(w, upkeep->status);
                gw_put_zero(w, 1);
                gw_put_bytes(w, upkeep->home.b, 16);
                return;
        case GW_MH_HEARTBEAT:
                gw_put_u16(w, upkeep->flags);
                gw_put_u32(w, upkeep->sequence);
                return;
        case GW_MH_UPDATE_NOTIFICATION:
                gw_put_u16(w, (uint16_t)upkeep->sequence);
                gw_put_u16(w, upkeep->reason);
                gw_put_u16(w, upkeep->flags);
                return;
        default:
                gw_put_u16(w, (uint16_t)upkeep->sequence);
                gw_put_u8(w, upkeep->status);
                gw_put_zero(w, 3);
        }
}

static void put_options(struct gw_writer *w, const struct gw_upkeep *upkeep) {
        size_t n = gw_wire_name_size(&upkeep->vm);

        if (upkeep->has & GW_UPKEEP_HAS_VM) {
                gw_mh_option(w, GW_MH_OPT_NODE_ID, 1 + n, 1, 0);
                gw_put_u8(w, GW_MH_NODE_ID_NAI);
                gw_put_bytes(w, upkeep->vm.s, n);
        }
        if (upkeep->has & GW_UPKEEP_HAS_GROUP) {
                gw_mh_option(w, GW_MH_OPT_GROUP, 6, 4, 0);
                gw_put_u8(w, upkeep->group_subtype);
                gw_put_zero(w, 1);
                gw_put_u32(w, upkeep->group);
        }
        if (upkeep->has & GW_UPKEEP_HAS_RESTARTS) {
                gw_mh_option(w, GW_MH_OPT_RESTARTS, 4, 4, 2);
                gw_put_u32(w, upkeep->restarts);
        }
        if (upkeep->has & GW_UPKEEP_HAS_MESSAGE_ID) {
                gw_mh_option(w, GW_MH_OPT_MESSAGE_ID, 8, 8, 2);
                gw_put_u64(w, upkeep->message_id);
        }
        if (upkeep->has & GW_UPKEEP_HAS_AUTH)
                gw_mh_put_auth(w, upkeep->auth_subtype, upkeep->auth_spi, upkeep->auth, upkeep->auth_size);
        else
                gw_mh_pad(w, GW_MH_UNIT, 0);
}

int gw_upkeep_encode(struct gw_writer *w, struct gw_ip src, struct gw_ip dst, const struct gw_upkeep *upkeep) {
        size_t room = w->ok ? w->size - w->at : 0;
        struct gw_writer m = gw_writer(w->base + w->at, room < GW_MH_SIZE_MAX ? room : GW_MH_SIZE_MAX);

        if (!upkeep_ok(upkeep))
                return GW_E_INVALID;
        gw_mh_begin(&m, upkeep->kind);
        put_data(&m, upkeep);
        put_options(&m, upkeep);
        if (!m.ok)
                return GW_E_FULL;
        gw_mh_close(&m, src, dst);
        w->at += m.at;
        return 0;
}

/* --- decoding --- */

/* Flags that are not known are left out: they are reserved. */
static void read_data(struct gw_reader *r, struct gw_upkeep *out) {
        switch (out->kind) {
        case GW_MH_BINDING_ERROR:
                out->status = gw_get_u8(r);
                gw_get_u8(r);
                gw_get_bytes(r, out->home.b, 16);
                return;
        case GW_MH_HEARTBEAT:
                out->flags = gw_get_u16(r) & HEARTBEAT_FLAGS;
                out->sequence = gw_get_u32(r);
                return;
        case GW_MH_UPDATE_NOTIFICATION:
                out->sequence = gw_get_u16(r);
                out->reason = gw_get_u16(r);
                out->flags = gw_get_u16(r) & NOTIFICATION_FLAGS;
                return;
        default:
                out->sequence = gw_get_u16(r);
                out->status = gw_get_u8(r);
                gw_get_u8(r);
                gw_get_u16(r);
        }
}

static void take_options(const struct gw_registration *options, struct gw_upkeep *out) {
        static const struct {
                uint32_t from, to;
        } bits[] = {
                {GW_REG_HAS_VM, GW_UPKEEP_HAS_VM},
                {GW_REG_HAS_GROUP, GW_UPKEEP_HAS_GROUP},
                {GW_REG_HAS_RESTARTS, GW_UPKEEP_HAS_RESTARTS},
                {GW_REG_HAS_MESSAGE_ID, GW_UPKEEP_HAS_MESSAGE_ID},
                {GW_REG_HAS_AUTH, GW_UPKEEP_HAS_AUTH},
        };

        for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
                if (options->has & bits[i].from)
                        out->has |= bits[i].to;
        out->vm = options->vm;
        out->group_subtype = options->group_subtype;
        out->group = options->group;
        out->restarts = options->restarts;
        out->message_id = options->message_id;
        out->auth_subtype = options->auth_subtype;
        out->auth_size = options->auth_size;
        out->auth_spi = options->auth_spi;
        memcpy(out->auth, options->auth, sizeof out->auth);
}

static uint8_t read_message(struct gw_reader *r, struct gw_upkeep *out) {
        struct gw_registration options = {0};
        int fault;

        gw_get_u16(r); /* payload protocol and length were checked */
        out->kind = gw_get_u8(r);
        gw_get_u8(r);
        gw_get_u16(r);
        read_data(r, out);
        fault = gw_mh_read_options(r, &options);
        if (fault == GW_REG_FAULT_NONE)
                take_options(&options, out);
        return (uint8_t)fault;
}

int gw_upkeep_decode(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst, struct gw_upkeep *out) {
        struct gw_reader r = gw_reader(bytes, size);
        uint8_t fault = gw_mh_check(bytes, size, src, dst);

        memset(out, 0, sizeof *out);
        if (fault == GW_REG_FAULT_NONE && (bytes[2] == GW_MH_BINDING_UPDATE || bytes[2] == GW_MH_BINDING_ACK))
                fault = GW_REG_FAULT_TYPE;
        if (fault == GW_REG_FAULT_NONE)
                fault = read_message(&r, out);
        if (fault == GW_REG_FAULT_NONE)
                return 0;
        memset(out, 0, sizeof *out);
        out->fault = fault;
        return GW_E_MALFORMED;
}
