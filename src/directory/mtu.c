/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What VMs of a VN may send: what the underlay carries less the encapsulation
 * (RFC 7348: outer Ethernet is the link's; IP, UDP, VXLAN and the inner Ethernet
 * header are ours).
 *
 * Each NVE tells its underlay's MTU in its HELLO; it is kept for when it is
 * away. A VN's MTU is fixed when it is made, by the smallest that is known then,
 * since guests have been told it. An NVE with less that comes later takes no VM of
 * such a VN: its frames would be lost on the way, and only the large ones.
 */
#include "directory/internal.h"

enum { OVERHEAD_V4 = 20 + 8 + 8 + 14, OVERHEAD_V6 = 40 + 8 + 8 + 14 };

static unsigned overhead(struct gw_ip locator) {
        return gw_ip_is_v4(locator) ? OVERHEAD_V4 : OVERHEAD_V6;
}

static uint32_t left(uint32_t underlay_mtu, unsigned less) {
        uint32_t mtu = underlay_mtu > less ? underlay_mtu - less : 0;

        return mtu < GW_VN_MTU_MAX ? mtu : GW_VN_MTU_MAX;
}

/* The one with the smallest underlay MTU; NULL when none is known. less: what the encapsulation takes among all. */
static const struct gw_nve *narrowest(const struct gw_directory *d, unsigned *less) {
        const struct gw_nve *least = NULL;

        *less = OVERHEAD_V4;
        for (struct gw_nve *nve = NULL; (nve = gw_directory_nve_after(d, nve ? nve->id.s : NULL));) {
                if (!gw_ip_is_unspecified(nve->locator) && overhead(nve->locator) > *less)
                        *less = overhead(nve->locator);
                if (nve->underlay_mtu && (!least || nve->underlay_mtu < least->underlay_mtu))
                        least = nve;
        }
        return least;
}

int gw_dir_mtu_choose(const struct gw_directory *d, const struct gw_vn_spec *spec, uint16_t *out,
                      struct gw_error *error) {
        unsigned least = GW_VN_MTU_MIN, less;
        const struct gw_nve *nve = narrowest(d, &less);
        uint32_t most = nve ? left(nve->underlay_mtu, less) : GW_VN_MTU_MAX;

        for (size_t i = 0; i < spec->n_subnets; i++)
                if (!gw_ip_is_v4(spec->subnets[i].ip))
                        least = GW_VN_MTU_MIN_V6;
        if (spec->mtu && (spec->mtu < least || spec->mtu > GW_VN_MTU_MAX))
                return gw_fail(error, GW_E_INVALID, "mtu", "mtu is %u; allowed are %u to %u%s", spec->mtu, least,
                               GW_VN_MTU_MAX, least > GW_VN_MTU_MIN ? " with an IPv6 subnet" : "");
        if (nve && (spec->mtu > most || most < least))
                return gw_fail(error, GW_E_INVALID, "mtu",
                               "mtu %u does not fit: the underlay of %s carries %u, which leaves %u for VMs",
                               spec->mtu ? spec->mtu : least, nve->id.s, nve->underlay_mtu, most);
        *out = (uint16_t)(spec->mtu ? spec->mtu : nve ? most : GW_VN_MTU_DEFAULT);
        return 0;
}

static const struct gw_vn *too_large_for(const struct gw_vm *vm, const struct gw_nve *nve) {
        for (const struct gw_port *port = gw_vm_ports(vm); port && nve->underlay_mtu; port = gw_port_next(port))
                if (gw_port_vn(port)->mtu > left(nve->underlay_mtu, overhead(nve->locator)))
                        return gw_port_vn(port);
        return NULL;
}

int gw_dir_mtu_fits(const struct gw_vm *vm, const struct gw_nve *nve, struct gw_error *error) {
        const struct gw_vn *vn = too_large_for(vm, nve);

        if (!vn)
                return 0;
        return gw_fail(
                error, GW_E_CONFLICT, "nve",
                "the underlay of %s carries %u octets, too few for VN %s with its mtu of %u: raise it to %u there",
                nve->id.s, nve->underlay_mtu, vn->id.s, vn->mtu, vn->mtu + overhead(nve->locator));
}

void gw_dir_mtu_told(struct gw_directory *d, struct gw_nve *nve, uint32_t underlay_mtu) {
        uint32_t most = left(underlay_mtu, overhead(nve->locator));

        if (!underlay_mtu || underlay_mtu == nve->underlay_mtu)
                return;
        nve->underlay_mtu = underlay_mtu;
        for (struct gw_vn *vn = NULL; (vn = gw_directory_vn_after(d, vn ? vn->id.s : NULL));)
                if (vn->mtu > most)
                        return gw_dir_note(d, GW_NOTE_INFO, "nve=%s underlay_mtu=%u is too small for vn=%s mtu=%u",
                                           nve->id.s, underlay_mtu, vn->id.s, vn->mtu);
}
