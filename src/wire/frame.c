/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of the NVE-NVA session (design section 3, model RFC 8171): the header,
 * and the bodies that are a handful of TLVs. Bodies that carry lists of mappings
 * and members are in frame_batch.c.
 *
 * An encoder begins a frame, puts its TLVs, and ends it; ending fills in the
 * length, or takes everything back when the frame did not fit, so that a sender
 * with a full buffer can send what it has and try again. A decoder names the
 * TLVs it knows in a table and reads their values only when all are in order
 * (wire/tlv.h); it writes *out only on success.
 *
 * What decodes is well-formed, not true: whether an id is the certificate's, a
 * locator the session's, or a VM known is for the receiver to judge. Values of
 * a kind that a later version may add (a report's kind) are passed on; where an
 * unknown value could not be acted upon safely (role, state, VNI) the body is
 * refused.
 */
#include "wire/frame.h"

#include "base/error.h"
#include "wire/frame_build.h"
#include "wire/mobility.h"
#include "wire/text.h"
#include "wire/tlv.h"

#define count_of(array) (sizeof(array) / sizeof *(array))

enum { SCOPE_POSITIVE = 1, SCOPE_NEGATIVE = 2, REASON_MAX = 1024 };

int gw_frame_header_decode(const uint8_t *bytes, size_t size, struct gw_frame_header *out) {
        struct gw_reader r = gw_reader(bytes, size);
        struct gw_frame_header header;
        uint16_t flags;

        if (size < GW_FRAME_HEADER_SIZE)
                return GW_E_AGAIN;
        header.length = gw_get_u32(&r);
        header.version = gw_get_u8(&r);
        header.type = gw_get_u8(&r);
        flags = gw_get_u16(&r);
        header.id = gw_get_u32(&r);
        if (header.version != GW_FRAME_VERSION || flags != 0 || header.length < GW_FRAME_HEADER_SIZE ||
            header.length > GW_FRAME_MAX)
                return GW_E_MALFORMED;
        *out = header;
        return 0;
}

void gw_frame_header_encode(struct gw_writer *w, const struct gw_frame_header *header) {
        gw_put_u32(w, header->length);
        gw_put_u8(w, header->version);
        gw_put_u8(w, header->type);
        gw_put_u16(w, 0);
        gw_put_u32(w, header->id);
}

struct gw_frame_build gw_frame_begin(struct gw_writer *w, uint8_t type, uint32_t id) {
        struct gw_frame_build build = {.at = w->at, .ok = w->ok};

        gw_frame_header_encode(w, &(struct gw_frame_header){.version = GW_FRAME_VERSION, .type = type, .id = id});
        return build;
}

size_t gw_frame_end(struct gw_writer *w, const struct gw_frame_build *build, bool valid) {
        size_t length = w->at - build->at;

        if (!valid || !w->ok || length > GW_FRAME_MAX) {
                w->at = build->at;
                w->ok = build->ok;
                return 0;
        }
        gw_patch_u32(w, build->at, (uint32_t)length);
        return length;
}

bool gw_frame_put_name(struct gw_writer *w, const struct gw_name *name) {
        size_t n = strnlen(name->s, sizeof name->s);

        gw_tlv_put_bytes(w, GW_TLV_NAME, name->s, n);
        return gw_wire_name_ok(name->s, n);
}

/* The value of a VNI TLV. */
static bool get_vni(struct gw_tlv *tlv, uint32_t *vni) {
        *vni = gw_get_u32(&tlv->value);
        return *vni <= GW_VNI_MAX;
}

size_t gw_hello_encode(struct gw_writer *w, uint32_t id, const struct gw_hello *hello) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_HELLO, id);
        bool ok;

        gw_tlv_put_u8(w, GW_TLV_ROLE, hello->role);
        ok = gw_frame_put_name(w, &hello->id);
        gw_tlv_put_bytes(w, GW_TLV_LOCATOR, hello->locator.b, sizeof hello->locator.b);
        gw_tlv_put_u64(w, GW_TLV_RESTARTS, hello->restart_count);
        if (hello->underlay_mtu)
                gw_tlv_put_u32(w, GW_TLV_MTU, hello->underlay_mtu);
        if (hello->features)
                gw_tlv_put_u32(w, GW_TLV_FEATURES, hello->features);
        if (hello->site.s[0])
                gw_tlv_put_bytes(w, GW_TLV_SITE, hello->site.s, strnlen(hello->site.s, sizeof hello->site.s));
        if (hello->gateway)
                gw_tlv_put_u32(w, GW_TLV_COST, hello->gateway_cost);
        return gw_frame_end(w, &build, ok);
}

int gw_hello_decode(const uint8_t *body, size_t size, struct gw_hello *out) {
        struct gw_tlv t[] = {
                {GW_TLV_ROLE, true, 1, 1},
                {GW_TLV_NAME, true, 1, GW_NAME_MAX},
                {GW_TLV_LOCATOR, true, 16, 16},
                {GW_TLV_RESTARTS, true, 8, 8},
                {GW_TLV_MTU, false, 4, 4},
                {GW_TLV_FEATURES, false, 4, 4},
                {GW_TLV_SITE, false, 1, GW_NAME_MAX},
                {GW_TLV_COST, false, 4, 4},
        };
        struct gw_hello hello = {0};

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !gw_wire_name_get(&t[1].value, &hello.id))
                return GW_E_MALFORMED;
        hello.role = gw_get_u8(&t[0].value);
        gw_get_bytes(&t[2].value, hello.locator.b, sizeof hello.locator.b);
        hello.restart_count = gw_get_u64(&t[3].value);
        hello.underlay_mtu = t[4].found ? gw_get_u32(&t[4].value) : 0;
        hello.features = t[5].found ? gw_get_u32(&t[5].value) : 0;
        if (t[6].found && !gw_wire_name_get(&t[6].value, &hello.site))
                return GW_E_MALFORMED;
        hello.gateway = t[7].found;
        hello.gateway_cost = t[7].found ? gw_get_u32(&t[7].value) : 0;
        if (hello.role != GW_ROLE_NVE && hello.role != GW_ROLE_HV)
                return GW_E_MALFORMED;
        *out = hello;
        return 0;
}

size_t gw_welcome_encode(struct gw_writer *w, uint32_t id, const struct gw_name *nva, uint64_t restart_count) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_WELCOME, id);
        bool ok = gw_frame_put_name(w, nva);

        gw_tlv_put_u64(w, GW_TLV_RESTARTS, restart_count);
        gw_tlv_put_u32(w, GW_TLV_FEATURES, GW_FEATURES);
        return gw_frame_end(w, &build, ok);
}

uint32_t gw_welcome_features(const uint8_t *body, size_t size) {
        struct gw_tlv t[] = {{GW_TLV_FEATURES, true, 4, 4}};

        return gw_tlvs_read(body, size, t, count_of(t)) ? gw_get_u32(&t[0].value) : 0;
}

int gw_welcome_decode(const uint8_t *body, size_t size, struct gw_name *nva, uint64_t *restart_count) {
        struct gw_tlv t[] = {
                {GW_TLV_NAME, true, 1, GW_NAME_MAX}, {GW_TLV_RESTARTS, true, 8, 8}, {GW_TLV_FEATURES, false, 4, 4}};
        struct gw_name name;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !gw_wire_name_get(&t[0].value, &name))
                return GW_E_MALFORMED;
        *nva = name;
        *restart_count = gw_get_u64(&t[1].value);
        return 0;
}

size_t gw_register_encode(struct gw_writer *w, uint8_t type, uint32_t id, const struct gw_register *reg) {
        struct gw_frame_build build = gw_frame_begin(w, type, id);

        gw_tlv_put_bytes(w, GW_TLV_LOCATOR, reg->locator.b, sizeof reg->locator.b);
        gw_tlv_put_bytes(w, GW_TLV_MESSAGE, reg->message, reg->message_size);
        return gw_frame_end(w, &build, reg->message_size && reg->message_size <= GW_MH_SIZE_MAX);
}

int gw_register_decode(const uint8_t *body, size_t size, struct gw_register *out) {
        struct gw_tlv t[] = {{GW_TLV_LOCATOR, true, 16, 16}, {GW_TLV_MESSAGE, true, 1, GW_MH_SIZE_MAX}};

        if (!gw_tlvs_read(body, size, t, count_of(t)))
                return GW_E_MALFORMED;
        gw_get_bytes(&t[0].value, out->locator.b, sizeof out->locator.b);
        out->message = t[1].value.base;
        out->message_size = t[1].value.size;
        return 0;
}

size_t gw_query_encode(struct gw_writer *w, uint32_t id, const struct gw_query *query) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_QUERY, id);

        gw_tlv_put_u32(w, GW_TLV_VNI, query->vni);
        if (query->by_mac)
                gw_tlv_put_bytes(w, GW_TLV_MAC, query->mac.b, sizeof query->mac.b);
        else
                gw_tlv_put_bytes(w, GW_TLV_IP, query->ip.b, sizeof query->ip.b);
        return gw_frame_end(w, &build, query->vni <= GW_VNI_MAX);
}

int gw_query_decode(const uint8_t *body, size_t size, struct gw_query *out) {
        struct gw_tlv t[] = {{GW_TLV_VNI, true, 4, 4}, {GW_TLV_MAC, false, 6, 6}, {GW_TLV_IP, false, 16, 16}};
        struct gw_query query = {0};

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !get_vni(&t[0], &query.vni) || t[1].found == t[2].found)
                return GW_E_MALFORMED;
        query.by_mac = t[1].found;
        if (query.by_mac)
                gw_get_bytes(&t[1].value, query.mac.b, sizeof query.mac.b);
        else
                gw_get_bytes(&t[2].value, query.ip.b, sizeof query.ip.b);
        *out = query;
        return 0;
}

size_t gw_flush_encode(struct gw_writer *w, uint32_t id, const struct gw_flush_request *flush) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_FLUSH, id);
        uint8_t scope = (flush->positive ? SCOPE_POSITIVE : 0) | (flush->negative ? SCOPE_NEGATIVE : 0);

        gw_tlv_put_u32(w, GW_TLV_VNI, flush->vni);
        if (!flush->all)
                gw_tlv_put_bytes(w, GW_TLV_MAC, flush->mac.b, sizeof flush->mac.b);
        gw_tlv_put_u8(w, GW_TLV_SCOPE, scope);
        return gw_frame_end(w, &build, flush->vni <= GW_VNI_MAX && scope);
}

int gw_flush_decode(const uint8_t *body, size_t size, struct gw_flush_request *out) {
        struct gw_tlv t[] = {{GW_TLV_VNI, true, 4, 4}, {GW_TLV_MAC, false, 6, 6}, {GW_TLV_SCOPE, true, 1, 1}};
        struct gw_flush_request flush = {0};
        uint8_t scope;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !get_vni(&t[0], &flush.vni))
                return GW_E_MALFORMED;
        flush.all = !t[1].found;
        if (t[1].found)
                gw_get_bytes(&t[1].value, flush.mac.b, sizeof flush.mac.b);
        scope = gw_get_u8(&t[2].value);
        flush.positive = scope & SCOPE_POSITIVE;
        flush.negative = scope & SCOPE_NEGATIVE;
        if (!flush.positive && !flush.negative)
                return GW_E_MALFORMED;
        *out = flush;
        return 0;
}

size_t gw_report_encode(struct gw_writer *w, uint32_t id, const struct gw_report *report) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_REPORT, id);
        size_t n = report->n_locators <= GW_REPORT_LOCATORS_MAX ? report->n_locators : 0;
        bool ok;

        gw_tlv_put_u8(w, GW_TLV_KIND, report->kind);
        ok = gw_frame_put_name(w, &report->vm) && report->kind && n == report->n_locators;
        gw_tlv_put_u64(w, GW_TLV_EPOCH, report->epoch);
        if (report->redirected)
                gw_tlv_put_u64(w, GW_TLV_COUNT, report->redirected);
        gw_tlv_put(w, GW_TLV_LOCATORS, n * 16);
        for (size_t i = 0; i < n; i++)
                gw_put_bytes(w, report->locators[i].b, 16);
        return gw_frame_end(w, &build, ok);
}

int gw_report_decode(const uint8_t *body, size_t size, struct gw_report *out) {
        struct gw_tlv t[] = {
                {GW_TLV_KIND, true, 1, 1},   {GW_TLV_NAME, true, 1, GW_NAME_MAX},
                {GW_TLV_EPOCH, true, 8, 8},  {GW_TLV_LOCATORS, false, 0, GW_REPORT_LOCATORS_MAX * 16},
                {GW_TLV_COUNT, false, 8, 8},
        };
        struct gw_name vm;
        uint8_t kind;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || t[3].value.size % 16 || !gw_wire_name_get(&t[1].value, &vm))
                return GW_E_MALFORMED;
        kind = gw_get_u8(&t[0].value);
        if (!kind)
                return GW_E_MALFORMED;
        out->kind = kind;
        out->vm = vm;
        out->epoch = gw_get_u64(&t[2].value);
        out->redirected = t[4].found ? gw_get_u64(&t[4].value) : 0;
        out->n_locators = (uint16_t)(t[3].value.size / 16);
        for (size_t i = 0; i < out->n_locators; i++)
                gw_get_bytes(&t[3].value, out->locators[i].b, 16);
        return 0;
}

size_t gw_subscribe_encode(struct gw_writer *w, uint32_t id, const uint32_t *vnis, size_t n) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_SUBSCRIBE, id);
        bool ok = n <= GW_FRAME_MAX / 4;

        n = ok ? n : 0;
        gw_tlv_put(w, GW_TLV_VNIS, n * 4);
        for (size_t i = 0; i < n; i++) {
                gw_put_u32(w, vnis[i]);
                ok = ok && vnis[i] <= GW_VNI_MAX;
        }
        return gw_frame_end(w, &build, ok);
}

int gw_subscribe_decode(const uint8_t *body, size_t size, uint32_t *vnis, size_t max, size_t *n) {
        struct gw_tlv t[] = {{GW_TLV_VNIS, true, 0, GW_FRAME_MAX}};
        size_t count;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || t[0].value.size % 4 || t[0].value.size / 4 > max)
                return GW_E_MALFORMED;
        count = t[0].value.size / 4;
        for (size_t i = 0; i < count; i++) {
                vnis[i] = gw_get_u32(&t[0].value);
                if (vnis[i] > GW_VNI_MAX)
                        return GW_E_MALFORMED;
        }
        *n = count;
        return 0;
}

size_t gw_empty_encode(struct gw_writer *w, uint8_t type, uint32_t id) {
        struct gw_frame_build build = gw_frame_begin(w, type, id);

        return gw_frame_end(w, &build, true);
}

/* Reasons come from a stranger and go to a log: printable, and no longer than they need be. */
size_t gw_bye_encode(struct gw_writer *w, const char *reason) {
        struct gw_frame_build build = gw_frame_begin(w, GW_FRAME_BYE, 0);

        gw_tlv_put_bytes(w, GW_TLV_REASON, reason, strnlen(reason, REASON_MAX));
        return gw_frame_end(w, &build, true);
}

int gw_bye_decode(const uint8_t *body, size_t size, char *reason, size_t reason_size) {
        struct gw_tlv t[] = {{GW_TLV_REASON, true, 0, REASON_MAX}};
        size_t n;

        if (!gw_tlvs_read(body, size, t, count_of(t)) || !reason_size)
                return GW_E_MALFORMED;
        n = t[0].value.size < reason_size ? t[0].value.size : reason_size - 1;
        gw_get_bytes(&t[0].value, reason, n);
        reason[n] = 0;
        for (char *c = reason; c < reason + n; c++)
                if (*c < ' ' || *c > '~')
                        *c = '?';
        return 0;
}
