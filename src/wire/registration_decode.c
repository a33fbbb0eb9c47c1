/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of registrations. What is checked, in the order of RFC 6275 section
 * 9.2: length, checksum, type, payload protocol, header length, then options.
 *
 * Each known option is a row of one table: the lengths it may have, the bit
 * that says it was there, and how it is read. An option that may come once is
 * an error when it comes twice, since two receivers could believe two different
 * ones. Options that are not in the table are skipped, and so are forms that do
 * not concern us: an identifier that is not an NAI, a link-layer identifier
 * that is not Ethernet, another vendor's option. Reserved fields and alignment
 * are not checked (a receiver must not depend on them).
 *
 * Two readings are fixed here. Bits of a prefix after its length are cleared,
 * as RFC 4861 section 4.6.2 has it for prefixes. An IPv4-mapped address in option 22 is refused,
 * because it would be an IPv4 address in every table it gets to, past the checks
 * that are made for option 36.
 *
 * The output is written in place while reading; on a fault it is wiped, so that
 * nobody acts on half a message.
 */
#include "wire/registration.h"

#include "base/error.h"
#include "wire/header.h"
#include "wire/text.h"

/* Beside enum gw_reg_fault: the option is well-formed and not for us. */
enum { SKIP = -1 };

struct row {
        uint32_t has; /* enum gw_reg_field; 0: may repeat */
        uint8_t min, max;
        int (*read)(struct gw_reader *r, struct gw_registration *out); /* enum gw_reg_fault or SKIP */
};

static int read_node_id(struct gw_reader *r, struct gw_registration *out) {
        if (gw_get_u8(r) != GW_MH_NODE_ID_NAI)
                return SKIP;
        if (out->has & GW_REG_HAS_VM)
                return GW_REG_FAULT_OPTION_REPEATED;
        if (!gw_wire_name_get(r, &out->vm))
                return GW_REG_FAULT_OPTION_VALUE;
        out->has |= GW_REG_HAS_VM;
        return GW_REG_FAULT_NONE;
}

static int read_group(struct gw_reader *r, struct gw_registration *out) {
        out->group_subtype = gw_get_u8(r);
        gw_get_u8(r);
        out->group = gw_get_u32(r);
        return GW_REG_FAULT_NONE;
}

static int read_ip6(struct gw_reader *r, struct gw_ip *out) {
        gw_get_bytes(r, out->b, 16);
        return GW_REG_FAULT_NONE;
}

static int read_alternate_coa(struct gw_reader *r, struct gw_registration *out) {
        return read_ip6(r, &out->alternate_coa);
}
static int read_link_local(struct gw_reader *r, struct gw_registration *out) {
        return read_ip6(r, &out->link_local);
}
static int read_serving(struct gw_reader *r, struct gw_registration *out) {
        return read_ip6(r, &out->serving);
}

static struct gw_ip get_ip4(struct gw_reader *r) {
        uint32_t be = 0;

        gw_get_bytes(r, &be, 4);
        return gw_ip_from_v4(be);
}

static int read_default_router4(struct gw_reader *r, struct gw_registration *out) {
        gw_get_u16(r);
        out->default_router4 = get_ip4(r);
        return GW_REG_FAULT_NONE;
}
static int read_coa4(struct gw_reader *r, struct gw_registration *out) {
        gw_get_u16(r);
        out->coa4 = get_ip4(r);
        return GW_REG_FAULT_NONE;
}
static int read_alternate_coa4(struct gw_reader *r, struct gw_registration *out) {
        out->alternate_coa4 = get_ip4(r);
        return GW_REG_FAULT_NONE;
}

static void clear_host_bits(struct gw_prefix *p) {
        for (unsigned bit = p->bits; bit < 128; bit++)
                p->ip.b[bit / 8] &= (uint8_t) ~(0x80 >> bit % 8);
}

static int read_prefix(struct gw_reader *r, struct gw_registration *out) {
        struct gw_prefix p = {0};

        gw_get_u8(r);
        p.bits = gw_get_u8(r);
        gw_get_bytes(r, p.ip.b, 16);
        if (p.bits > 128)
                return GW_REG_FAULT_OPTION_VALUE;
        clear_host_bits(&p);
        if (gw_ip_is_v4(p.ip))
                return GW_REG_FAULT_OPTION_VALUE;
        if (out->n_addrs6 == GW_REG_ADDRS_MAX)
                return GW_REG_FAULT_TOO_MANY;
        out->addrs6[out->n_addrs6++] = p;
        return GW_REG_FAULT_NONE;
}

static int add_addr4(struct gw_reg_addr4 *addrs, uint8_t *n, struct gw_reg_addr4 addr) {
        if (addr.bits > 32)
                return GW_REG_FAULT_OPTION_VALUE;
        if (*n == GW_REG_ADDRS_MAX)
                return GW_REG_FAULT_TOO_MANY;
        addrs[(*n)++] = addr;
        return GW_REG_FAULT_NONE;
}

static int read_home4_request(struct gw_reader *r, struct gw_registration *out) {
        struct gw_reg_addr4 addr = {.bits = (uint8_t)(gw_get_u16(r) >> 10)};

        addr.ip = get_ip4(r);
        return add_addr4(out->addrs4, &out->n_addrs4, addr);
}

static int read_home4_reply(struct gw_reader *r, struct gw_registration *out) {
        struct gw_reg_addr4 addr = {.status = gw_get_u8(r)};

        addr.bits = gw_get_u8(r) >> 2;
        addr.ip = get_ip4(r);
        return add_addr4(out->replies4, &out->n_replies4, addr);
}

static int read_dhcp4(struct gw_reader *r, struct gw_registration *out) {
        out->dhcp4_server = gw_get_u16(r) & 1;
        return GW_REG_FAULT_NONE;
}

static int read_handoff(struct gw_reader *r, struct gw_registration *out) {
        out->handoff = (uint8_t)gw_get_u16(r);
        return GW_REG_FAULT_NONE;
}

static int read_access(struct gw_reader *r, struct gw_registration *out) {
        out->access = (uint8_t)gw_get_u16(r);
        return GW_REG_FAULT_NONE;
}

static int read_link_layer_id(struct gw_reader *r, struct gw_registration *out) {
        gw_get_u16(r);
        if (gw_reader_left(r) != sizeof(struct gw_mac))
                return SKIP;
        if (out->n_macs == GW_REG_MACS_MAX)
                return GW_REG_FAULT_TOO_MANY;
        gw_get_bytes(r, out->macs[out->n_macs++].b, sizeof(struct gw_mac));
        return GW_REG_FAULT_NONE;
}

static int read_timestamp(struct gw_reader *r, struct gw_registration *out) {
        out->timestamp = gw_get_u64(r);
        return GW_REG_FAULT_NONE;
}

static int read_message_id(struct gw_reader *r, struct gw_registration *out) {
        out->message_id = gw_get_u64(r);
        return GW_REG_FAULT_NONE;
}

static int read_vendor(struct gw_reader *r, struct gw_registration *out) {
        if (gw_get_u32(r) != GW_MH_ENTERPRISE || gw_get_u8(r) != GW_MH_VENDOR_EPOCH)
                return SKIP;
        if (gw_reader_left(r) != 8)
                return GW_REG_FAULT_OPTION_LENGTH;
        if (out->has & GW_REG_HAS_EPOCH)
                return GW_REG_FAULT_OPTION_REPEATED;
        out->epoch = gw_get_u64(r);
        out->has |= GW_REG_HAS_EPOCH;
        return GW_REG_FAULT_NONE;
}

static int read_auth(struct gw_reader *r, struct gw_registration *out) {
        out->auth_subtype = gw_get_u8(r);
        out->auth_spi = gw_get_u32(r);
        out->auth_size = (uint8_t)gw_reader_left(r);
        if (!gw_mh_auth_size_ok(out->auth_size))
                return GW_REG_FAULT_OPTION_LENGTH;
        gw_get_bytes(r, out->auth, out->auth_size);
        return GW_REG_FAULT_NONE;
}

static int read_restarts(struct gw_reader *r, struct gw_registration *out) {
        out->restarts = gw_get_u32(r);
        return GW_REG_FAULT_NONE;
}

/* Vendors' options and identifiers keep their own bits: there may be several, of which one is for us (RFC 4283). */
static const struct row rows[256] = {
        [GW_MH_OPT_ALTERNATE_COA] = {GW_REG_HAS_ALTERNATE_COA, 16, 16, read_alternate_coa},
        [GW_MH_OPT_NODE_ID] = {0, 1, 255, read_node_id},
        [GW_MH_OPT_AUTH] = {GW_REG_HAS_AUTH, 5 + GW_MH_AUTH_SIZE, 5 + GW_MH_AUTH_SIZE_LONG, read_auth},
        [GW_MH_OPT_MESSAGE_ID] = {GW_REG_HAS_MESSAGE_ID, 8, 8, read_message_id},
        [GW_MH_OPT_VENDOR] = {0, 5, 255, read_vendor},
        [GW_MH_OPT_HOME_PREFIX] = {0, 18, 18, read_prefix},
        [GW_MH_OPT_HANDOFF] = {GW_REG_HAS_HANDOFF, 2, 2, read_handoff},
        [GW_MH_OPT_ACCESS_TYPE] = {GW_REG_HAS_ACCESS, 2, 2, read_access},
        [GW_MH_OPT_LINK_LAYER_ID] = {0, 2, 255, read_link_layer_id},
        [GW_MH_OPT_LINK_LOCAL] = {GW_REG_HAS_LINK_LOCAL, 16, 16, read_link_local},
        [GW_MH_OPT_TIMESTAMP] = {GW_REG_HAS_TIMESTAMP, 8, 8, read_timestamp},
        [GW_MH_OPT_RESTARTS] = {GW_REG_HAS_RESTARTS, 4, 4, read_restarts},
        [GW_MH_OPT_COA4] = {GW_REG_HAS_COA4, 6, 6, read_coa4},
        [GW_MH_OPT_HOME4_REQUEST] = {0, 6, 6, read_home4_request},
        [GW_MH_OPT_HOME4_REPLY] = {0, 6, 6, read_home4_reply},
        [GW_MH_OPT_DEFAULT_ROUTER4] = {GW_REG_HAS_DEFAULT_ROUTER4, 6, 6, read_default_router4},
        [GW_MH_OPT_DHCP4] = {GW_REG_HAS_DHCP4, 2, 2, read_dhcp4},
        [GW_MH_OPT_ALTERNATE_COA4] = {GW_REG_HAS_ALTERNATE_COA4, 4, 4, read_alternate_coa4},
        [GW_MH_OPT_GROUP] = {GW_REG_HAS_GROUP, 6, 6, read_group},
        [GW_MH_OPT_SERVING] = {GW_REG_HAS_SERVING, 16, 16, read_serving},
};

static int read_option(uint8_t type, struct gw_reader *value, struct gw_registration *out) {
        const struct row *row = &rows[type];
        int fault;

        if (!row->read)
                return GW_REG_FAULT_NONE;
        if (value->size < row->min || value->size > row->max)
                return GW_REG_FAULT_OPTION_LENGTH;
        if (out->has & row->has)
                return GW_REG_FAULT_OPTION_REPEATED;
        fault = row->read(value, out);
        if (fault == GW_REG_FAULT_NONE)
                out->has |= row->has;
        return fault == SKIP ? GW_REG_FAULT_NONE : fault;
}

int gw_mh_read_options(struct gw_reader *r, struct gw_registration *out) {
        struct gw_reader value;
        uint8_t type;
        int fault;

        while (gw_reader_left(r)) {
                if (out->has & GW_REG_HAS_AUTH)
                        return GW_REG_FAULT_AFTER_AUTH;
                type = gw_get_u8(r);
                if (type == GW_MH_OPT_PAD1)
                        continue;
                value = gw_get_sub(r, gw_get_u8(r));
                if (!r->ok)
                        return GW_REG_FAULT_OPTION_PAST_END;
                fault = read_option(type, &value, out);
                if (fault != GW_REG_FAULT_NONE)
                        return fault;
        }
        return GW_REG_FAULT_NONE;
}

static int read_message(struct gw_reader *r, struct gw_registration *out) {
        gw_get_u16(r); /* payload protocol and length were checked */
        out->kind = gw_get_u8(r);
        gw_get_u8(r);
        gw_get_u16(r);
        if (out->kind == GW_REG_REQUEST) {
                out->sequence = gw_get_u16(r);
                out->flags = gw_get_u16(r);
        } else {
                out->status = gw_get_u8(r);
                out->flags = gw_get_u8(r);
                out->sequence = gw_get_u16(r);
        }
        out->lifetime_units = gw_get_u16(r);
        return gw_mh_read_options(r, out);
}

int gw_registration_decode(const uint8_t *bytes, size_t size, struct gw_ip src, struct gw_ip dst,
                           struct gw_registration *out) {
        struct gw_reader r = gw_reader(bytes, size);
        int fault;

        memset(out, 0, sizeof *out);
        fault = gw_mh_check(bytes, size, src, dst);
        if (fault == GW_REG_FAULT_NONE && bytes[2] != GW_REG_REQUEST && bytes[2] != GW_REG_REPLY)
                fault = GW_REG_FAULT_TYPE;
        if (fault == GW_REG_FAULT_NONE)
                fault = read_message(&r, out);
        if (fault == GW_REG_FAULT_NONE)
                return 0;
        memset(out, 0, sizeof *out);
        out->fault = (uint8_t)fault;
        return GW_E_MALFORMED;
}

const char *gw_registration_fault_word(uint8_t fault) {
        static const char *const words[GW_REG_FAULT_COUNT] = {
                [GW_REG_FAULT_NONE] = "none",
                [GW_REG_FAULT_SIZE] = "size",
                [GW_REG_FAULT_CHECKSUM] = "checksum",
                [GW_REG_FAULT_TYPE] = "type",
                [GW_REG_FAULT_PAYLOAD] = "payload-protocol",
                [GW_REG_FAULT_HEADER_LENGTH] = "header-length",
                [GW_REG_FAULT_OPTION_PAST_END] = "option-past-end",
                [GW_REG_FAULT_OPTION_LENGTH] = "option-length",
                [GW_REG_FAULT_OPTION_VALUE] = "option-value",
                [GW_REG_FAULT_OPTION_REPEATED] = "option-repeated",
                [GW_REG_FAULT_TOO_MANY] = "too-many",
                [GW_REG_FAULT_AFTER_AUTH] = "after-authentication",
        };

        return fault < GW_REG_FAULT_COUNT ? words[fault] : "unknown";
}
