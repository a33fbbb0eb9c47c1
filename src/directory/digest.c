/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Anti-entropy: an NVE says what it holds, and only differences are sent.
 *
 * Of a VN that is pushed it sends sums over buckets (wire/digest.h). Ours are
 * worked out anew when the VN has changed since they were last, and kept for
 * the next NVE: after a restart of the NVA all ask the same. Buckets that agree
 * become a patch of the member: the walk over the VN's mappings that sends them
 * all leaves out those which lie in such a bucket and have not changed since.
 *
 * Of other VNs it sends each mapping that it holds; so after a restart of the
 * NVA we learn who our holders are. Those that agree count as confirmed.
 *
 * Both come before SUBSCRIBE in a new session, or any time later; then an NVE
 * to which something is on the way is not answered, because it would seem to
 * differ. A mapping that differs is told by the ordinary way, acknowledged.
 */
#include "directory/internal.h"

#include <stdlib.h>

static const struct gw_digest *sums_of(struct gw_directory *d, const struct gw_vn *vn, size_t buckets) {
        struct gw_digest *sums = &d->sums.digest;
        struct gw_mapping m;

        if (d->sums.vn == vn && d->sums.change == vn->change && sums->n == buckets)
                return sums;
        d->sums.vn = vn;
        d->sums.change = vn->change;
        sums->vni = vn->vni;
        sums->n = buckets;
        memset(sums->sums, 0, buckets * sizeof sums->sums[0]);
        gw_ring_for_each (link, &vn->ports) {
                gw_directory_mapping(gw_container_of(link, struct gw_port, in_vn), &m);
                if (m.state == GW_MAPPING_SERVING)
                        sums->sums[gw_digest_bucket(m.mac, buckets)] += gw_mapping_digest(&m);
        }
        return sums;
}

bool gw_dir_patch_covers(const struct directory_member *m, const struct gw_port *port) {
        const struct directory_patch *patch = m->patch;

        return patch && port->changed <= patch->as_of &&
               gw_agreed_bit(&patch->agreed, gw_digest_bucket(port->mac, patch->n));
}

static uint32_t lifetime_of(const struct gw_vn *vn) {
        return vn->model == GW_VN_PUSH ? UINT32_MAX : GW_DIRECTORY_HOLD_MS;
}

static struct directory_member *member_of(const struct gw_directory *d, const struct gw_nve *nve, uint32_t vni) {
        const struct gw_vn *vn = gw_directory_vn_by_vni(d, vni);
        struct directory_member *m = vn ? gw_dir_member_find(d, vn, nve) : NULL;

        return m && !m->gone ? m : NULL;
}

static void agree(struct gw_agreed *agreed, size_t i) {
        agreed->bits[i / 8] |= (uint8_t)(1U << i % 8);
}

static size_t compare(const struct gw_digest *ours, const struct gw_digest *theirs, struct gw_agreed *out) {
        size_t different = 0;

        for (size_t i = 0; i < ours->n; i++) {
                if (ours->sums[i] == theirs->sums[i])
                        agree(out, i);
                else
                        different++;
        }
        return different;
}

static int patch_set(struct directory_member *m, const struct gw_agreed *agreed, size_t buckets) {
        if (!m->patch && !(m->patch = malloc(sizeof *m->patch)))
                return -1;
        m->patch->as_of = m->vn->change;
        m->patch->n = buckets;
        m->patch->agreed = *agreed;
        return 0;
}

/* Before what is told because of it: the answer takes back, the updates put right. */
static void answer(struct gw_directory *d, struct gw_nve *nve, uint32_t id, const struct gw_agreed *agreed) {
        uint8_t frame[GW_FRAME_HEADER_SIZE + 64 + sizeof agreed->bits];
        struct gw_writer w = gw_writer(frame, sizeof frame);
        size_t size = gw_agreed_encode(&w, id, agreed);

        if (size)
                d->effects->send(nve, GW_FRAME_AGREED, id, frame + GW_FRAME_HEADER_SIZE, size - GW_FRAME_HEADER_SIZE,
                                 d->user);
}

void gw_directory_digest(struct gw_directory *d, struct gw_nve *nve, uint32_t id, const struct gw_digest *digest,
                         struct gw_now now) {
        struct directory_member *m = member_of(d, nve, digest->vni);
        struct gw_agreed agreed = {.vni = digest->vni, .n_octets = (digest->n + 7) / 8};
        size_t different;

        d->now = now;
        if (!m || !m->vn->push || (m->listening && !gw_dir_member_complete(m)))
                return;
        agreed.lifetime_ms = lifetime_of(m->vn);
        d->work += m->vn->n_ports + digest->n;
        different = compare(sums_of(d, m->vn, digest->n), digest, &agreed);
        if (patch_set(m, &agreed, digest->n))
                return;
        d->counters.digests++;
        d->counters.buckets_agreed += digest->n - different;
        d->counters.buckets_different += different;
        answer(d, nve, id, &agreed);
        if (!m->listening)
                return; /* SUBSCRIBE sends what the patch does not cover */
        if (!different) {
                free(m->patch);
                m->patch = NULL;
                return;
        }
        gw_dir_note(d, GW_NOTE_INFO, "nve=%s vn=%s held something else than it was told; corrected", nve->id.s,
                    m->vn->id.s);
        m->known_ports = 0;
        gw_dir_item_dirty(d, &m->item);
        gw_dir_updates_flush(d);
}

/* It is a holder of whatever it says it holds; what we know otherwise it is told. */
static bool held_one(struct gw_directory *d, struct directory_member *m, const struct gw_held_one *one) {
        const struct gw_port *port = gw_directory_port_by_mac(d, m->vn->vni, one->mac);
        struct directory_holder *h;
        struct gw_mapping mapping;
        bool same;

        if (!port)
                return false;
        gw_directory_mapping(port, &mapping);
        same = mapping.state == GW_MAPPING_SERVING && gw_mapping_digest(&mapping) == one->digest;
        if (m->vn->push)
                return same; /* it is told them all, as a member */
        h = gw_dir_holder_get(d, gw_port_vm(port), gw_dir_item_nve(&m->item));
        if (h && same && !gw_list_linked(&h->item.link))
                h->item.known = true;
        else if (h && !same)
                gw_dir_holder_dirty(d, h);
        return same && h;
}

void gw_directory_held(struct gw_directory *d, struct gw_nve *nve, uint32_t id, const struct gw_held *held,
                       struct gw_now now) {
        struct directory_member *m = member_of(d, nve, held->vni);
        struct gw_agreed agreed = {
                .vni = held->vni, .lifetime_ms = GW_DIRECTORY_HOLD_MS, .n_octets = (held->n + 7) / 8};

        d->now = now;
        if (!m)
                return;
        d->work += held->n;
        for (size_t i = 0; i < held->n; i++) {
                if (held_one(d, m, &held->all[i])) {
                        agree(&agreed, i);
                        d->counters.held_agreed++;
                } else {
                        d->counters.held_different++;
                }
        }
        answer(d, nve, id, &agreed);
        gw_dir_updates_flush(d);
}

/* --- reports of what is attached --- */

static bool covered(const struct gw_vn *vn, const struct gw_prefix *p) {
        if (!p->bits)
                return true;
        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (gw_prefix_overlap(&vn->subnets[i], p))
                        return true;
        return false;
}

unsigned gw_directory_attached(struct gw_directory *d, struct gw_nve *nve, const struct gw_attached *attached, size_t n,
                               struct gw_now now) {
        unsigned contradictions = 0;

        d->now = now;
        for (size_t i = 0; i < n; i++) {
                struct directory_member *m = member_of(d, nve, attached[i].vni);

                if (!m)
                        continue;
                m->ports_there = attached[i].ports;
                if (covered(m->vn, &attached[i].v4) && covered(m->vn, &attached[i].v6))
                        continue;
                contradictions++;
                gw_dir_note(d, GW_NOTE_REFUSED, "nve=%s reports addresses in vn=%s that are in none of its subnets",
                            nve->id.s, m->vn->id.s);
        }
        return contradictions;
}

bool gw_directory_ports_there(const struct gw_directory *d, const struct gw_vn *vn, const struct gw_nve *nve,
                              uint32_t *out) {
        const struct directory_member *m = gw_dir_member_find(d, vn, nve);

        if (!m || m->gone)
                return false;
        *out = m->ports_there;
        return true;
}
