/* SPDX-License-Identifier: Apache-2.0 */
/*
 * RESPONSE and UPDATE bodies: any number of mappings, then any number of
 * members, then any number of settings of VNs, each one TLV. They are read one at a time, so that a batch of a
 * thousand needs no memory of its own, and what was read before a fault has
 * been handed over already; a reader that meets GW_BATCH_BAD ends the session,
 * and the peer sends all it has when the next one begins.
 *
 * A mapping has a fixed head, its addresses, and its VM's name. Octets after
 * the name are those of a later version and are skipped.
 */
#include "base/error.h"
#include "wire/frame.h"
#include "wire/frame_build.h"
#include "wire/text.h"
#include "wire/tlv.h"

enum {
        MAPPING_FIXED_SIZE = 8 + 4 + 4 + 16 + 6 + 1 + 1 + 1,
        MEMBER_SIZE = 4 + 16 + 1,
        MEMBER_FINAL = 1, /* in the octet behind that; the role is in the bits above */
        MEMBER_ROLE_SHIFT = 1,
        MEMBER_MORE = 8,
        VN_FIXED_SIZE = 4 + 4 + 1
};

static bool mapping_ok(const struct gw_mapping *m) {
        size_t n = strnlen(m->vm.s, sizeof m->vm.s);

        return m->vni <= GW_VNI_MAX && m->n_ips <= GW_MAPPING_IPS_MAX &&
               (m->state == GW_MAPPING_SERVING || m->state == GW_MAPPING_ABSENT) &&
               (n == 0 || gw_wire_name_ok(m->vm.s, n));
}

static void put_mapping(struct gw_writer *w, const struct gw_mapping *m) {
        size_t n = gw_wire_name_size(&m->vm);

        gw_tlv_put(w, GW_TLV_MAPPING, MAPPING_FIXED_SIZE + (size_t)m->n_ips * 16 + n);
        gw_put_u64(w, m->epoch);
        gw_put_u32(w, m->vni);
        gw_put_u32(w, m->lifetime_ms);
        gw_put_bytes(w, m->locator.b, 16);
        gw_put_bytes(w, m->mac.b, 6);
        gw_put_u8(w, m->state);
        gw_put_u8(w, m->n_ips);
        for (size_t i = 0; i < m->n_ips; i++)
                gw_put_bytes(w, m->ips[i].b, 16);
        gw_put_u8(w, (uint8_t)n);
        gw_put_bytes(w, m->vm.s, n);
}

static bool get_mapping(struct gw_reader *r, struct gw_mapping *out) {
        struct gw_reader name;
        size_t n;

        memset(out, 0, sizeof *out);
        out->epoch = gw_get_u64(r);
        out->vni = gw_get_u32(r);
        out->lifetime_ms = gw_get_u32(r);
        gw_get_bytes(r, out->locator.b, 16);
        gw_get_bytes(r, out->mac.b, 6);
        out->state = gw_get_u8(r);
        out->n_ips = gw_get_u8(r);
        if (!r->ok || out->n_ips > GW_MAPPING_IPS_MAX)
                return false;
        for (size_t i = 0; i < out->n_ips; i++)
                gw_get_bytes(r, out->ips[i].b, 16);
        n = gw_get_u8(r);
        name = gw_get_sub(r, n);
        return r->ok && (n == 0 || gw_wire_name_get(&name, &out->vm)) && mapping_ok(out);
}

static void put_member(struct gw_writer *w, const struct gw_member *m) {
        uint8_t more =
                (uint8_t)((m->final ? MEMBER_FINAL : 0) | (m->more ? MEMBER_MORE : 0) | m->role << MEMBER_ROLE_SHIFT);

        gw_tlv_put(w, GW_TLV_MEMBER, MEMBER_SIZE + (more != 0) + (m->role ? 4U : 0));
        gw_put_u32(w, m->vni);
        gw_put_bytes(w, m->locator.b, 16);
        gw_put_u8(w, m->gone);
        if (more)
                gw_put_u8(w, more);
        if (m->role)
                gw_put_u32(w, m->cost);
}

static bool get_member(struct gw_reader *r, struct gw_member *out) {
        uint8_t gone, more;

        memset(out, 0, sizeof *out);
        out->vni = gw_get_u32(r);
        gw_get_bytes(r, out->locator.b, 16);
        gone = gw_get_u8(r);
        out->gone = gone == 1;
        more = r->ok && gw_reader_left(r) ? gw_get_u8(r) : 0;
        out->final = more & MEMBER_FINAL;
        out->more = more & MEMBER_MORE;
        out->role = more >> MEMBER_ROLE_SHIFT & (GW_MEMBER_ROUTES | GW_MEMBER_LIVE);
        if (out->role)
                out->cost = gw_get_u32(r);
        return r->ok && out->vni <= GW_VNI_MAX && gone <= 1;
}

static bool vn_ok(const struct gw_vn_settings *vn) {
        return vn->vni && vn->vni <= GW_VNI_MAX && vn->n_gateways <= GW_VN_GATEWAYS_MAX;
}

static bool has_limits(const struct gw_vn_settings *vn) {
        for (int i = 0; i < GW_VN_LIMITS; i++)
                if (vn->limits[i])
                        return true;
        return false;
}

/* Limits come last and only where there are some: who does not know of them sees what there always was. */
static void put_vn(struct gw_writer *w, const struct gw_vn_settings *vn) {
        size_t limits = has_limits(vn) ? 1 + GW_VN_LIMITS * 4 : 0;

        gw_tlv_put(w, GW_TLV_VN, VN_FIXED_SIZE + (size_t)vn->n_gateways * 16 + limits);
        gw_put_u32(w, vn->vni);
        gw_put_u32(w, vn->flags);
        gw_put_u8(w, vn->n_gateways);
        for (size_t i = 0; i < vn->n_gateways; i++)
                gw_put_bytes(w, vn->gateways[i].b, 16);
        if (!limits)
                return;
        gw_put_u8(w, GW_VN_LIMITS);
        for (int i = 0; i < GW_VN_LIMITS; i++)
                gw_put_u32(w, vn->limits[i]);
}

/* A later sender may know more of them. */
static void get_limits(struct gw_reader *r, struct gw_vn_settings *out) {
        unsigned n = gw_reader_left(r) ? gw_get_u8(r) : 0;

        for (unsigned i = 0; i < n && r->ok; i++) {
                uint32_t limit = gw_get_u32(r);

                if (i < GW_VN_LIMITS)
                        out->limits[i] = limit;
        }
}

static bool get_vn(struct gw_reader *r, struct gw_vn_settings *out) {
        memset(out, 0, sizeof *out);
        out->vni = gw_get_u32(r);
        out->flags = gw_get_u32(r);
        out->n_gateways = gw_get_u8(r);
        if (!r->ok || !vn_ok(out))
                return false;
        for (size_t i = 0; i < out->n_gateways; i++)
                gw_get_bytes(r, out->gateways[i].b, 16);
        if (r->ok)
                get_limits(r, out);
        return r->ok;
}

size_t gw_batch_encode(struct gw_writer *w, uint8_t type, uint32_t id, const struct gw_mapping *mappings,
                       size_t n_mappings, const struct gw_member *members, size_t n_members) {
        return gw_batch_encode_vns(w, type, id, mappings, n_mappings, members, n_members, NULL, 0);
}

size_t gw_batch_encode_vns(struct gw_writer *w, uint8_t type, uint32_t id, const struct gw_mapping *mappings,
                           size_t n_mappings, const struct gw_member *members, size_t n_members,
                           const struct gw_vn_settings *vns, size_t n_vns) {
        struct gw_frame_build build = gw_frame_begin(w, type, id);
        bool ok = true;

        for (size_t i = 0; i < n_mappings && ok && w->ok; i++) {
                ok = mapping_ok(&mappings[i]);
                if (ok)
                        put_mapping(w, &mappings[i]);
        }
        for (size_t i = 0; i < n_members && ok && w->ok; i++) {
                ok = members[i].vni <= GW_VNI_MAX;
                put_member(w, &members[i]);
        }
        for (size_t i = 0; i < n_vns && ok && w->ok; i++) {
                ok = vn_ok(&vns[i]);
                if (ok)
                        put_vn(w, &vns[i]);
        }
        return gw_frame_end(w, &build, ok);
}

struct gw_batch gw_batch_open(const uint8_t *body, size_t size) {
        return (struct gw_batch){.in = gw_reader(body, size)};
}

int gw_batch_next(struct gw_batch *batch, struct gw_mapping *mapping, struct gw_member *member) {
        struct gw_reader value;
        uint16_t type;

        while (gw_tlv_next(&batch->in, &type, &value)) {
                if (type == GW_TLV_MAPPING && get_mapping(&value, mapping))
                        return GW_BATCH_MAPPING;
                if (type == GW_TLV_MEMBER && get_member(&value, member))
                        return GW_BATCH_MEMBER;
                if (type == GW_TLV_VN && get_vn(&value, &batch->vn))
                        return GW_BATCH_VN;
                if (type == GW_TLV_MAPPING || type == GW_TLV_MEMBER || type == GW_TLV_VN)
                        batch->in.ok = false; /* and so for every further call */
        }
        return batch->in.ok ? GW_BATCH_END : GW_BATCH_BAD;
}
