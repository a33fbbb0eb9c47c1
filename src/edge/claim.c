/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims: devices behind which a VM is said to be that is elsewhere.
 *
 * Where somebody else moves VMs (another hypervisor's manager, a person with a
 * cable), nobody plans it. Whoever has the new device attaches it with mode
 * "claim"; and when the guest announces itself there, the NVA is told. It looks
 * into that (the policy of the VN, what the old place says, how often it has
 * happened), and either says that the VM is here, with its new epoch, or nothing.
 *
 * Until then the device is fenced: of what the guest sends only announcements are
 * taken, by the data plane up to here, and nothing is delivered to it but
 * questions. A claim owns nothing: neither entries nor neighbours nor membership
 * of its VN. It does not survive a restart of the daemon; its owner attaches again.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "edge/l2.h"

enum { CLAIM_SAY_MS = 1000 };

struct edge_claim {
        struct gw_list link;
        struct gw_edge_attach a;
        struct gw_mono not_before;
};

static struct edge_claim *claim_by_ifindex(const struct gw_edge *edge, uint32_t ifindex) {
        gw_list_for_each (link, &edge->claims) {
                struct edge_claim *claim = gw_list_entry(link, struct edge_claim, link);

                if (claim->a.ifindex == ifindex)
                        return claim;
        }
        return NULL;
}

static void claim_free(struct gw_edge *edge, struct edge_claim *claim) {
        gw_list_remove(&claim->link);
        edge->n_claims--;
        free(claim);
}

int gw_edge_claim(struct gw_edge *edge, const struct gw_edge_attach *a, struct gw_error *error) {
        struct edge_claim *claim;
        int r = gw_edge_port_check(edge, a, error);

        if (r)
                return r;
        gw_edge_unclaim(edge, &a->id);
        if (gw_edge_vm_find(edge, &a->vm))
                return gw_fail(error, GW_E_CONFLICT, "vm", "vm %s has ports here already", a->vm.s);
        if (claim_by_ifindex(edge, a->ifindex))
                return gw_fail(error, GW_E_EXISTS, "device", "another VM is claimed on this device");
        if (edge->n_claims >= GW_EDGE_CLAIMS_MAX)
                return gw_fail(error, GW_E_FULL, "", "%d VMs are claimed here; there is room for no more",
                               GW_EDGE_CLAIMS_MAX);
        claim = calloc(1, sizeof *claim);
        if (!claim)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        claim->a = *a;
        claim->a.role = GW_EDGE_CLAIMING;
        r = edge->fx->port_open(edge->user, &claim->a, false, error);
        if (r) {
                free(claim);
                return r;
        }
        gw_list_append(&edge->claims, &claim->link);
        edge->n_claims++;
        return 0;
}

bool gw_edge_unclaim(struct gw_edge *edge, const struct gw_name *port) {
        gw_list_for_each (link, &edge->claims) {
                struct edge_claim *claim = gw_list_entry(link, struct edge_claim, link);

                if (!gw_name_eq(&claim->a.id, port))
                        continue;
                edge->fx->port_close(edge->user, &claim->a);
                claim_free(edge, claim);
                return true;
        }
        return false;
}

void gw_edge_claims_device_gone(struct gw_edge *edge, uint32_t ifindex) {
        struct edge_claim *claim = claim_by_ifindex(edge, ifindex);

        if (!claim)
                return;
        edge->fx->port_close(edge->user, &claim->a);
        claim_free(edge, claim);
}

static bool agrees(const struct gw_edge_attach *a, const struct gw_l2_said *said) {
        if (!gw_mac_eq(said->mac, a->mac) || !gw_mac_eq(said->from, a->mac))
                return false;
        for (size_t i = 0; i < a->n_ips; i++)
                if (gw_ip_eq(a->ips[i], said->ip))
                        return true;
        return said->kind == GW_L2_RARP || gw_ip_eq(gw_edge_link_local(a->mac), said->ip);
}

bool gw_edge_claim_heard(struct gw_edge *edge, struct gw_edge_now now, uint32_t ifindex,
                         const struct gw_l2_said *said) {
        struct edge_claim *claim = claim_by_ifindex(edge, ifindex);

        if (!claim)
                return false;
        if (!agrees(&claim->a, said)) {
                edge->counters[GW_EDGE_C_ANNOUNCEMENTS_REFUSED]++;
        } else if (edge->welcome && now.mono.ns >= claim->not_before.ns) {
                claim->not_before = gw_mono_after(now.mono, gw_ms(CLAIM_SAY_MS));
                edge->counters[GW_EDGE_C_CLAIMS]++;
                gw_edge_log(edge, GW_NOTICE, "vm=%s announces itself on port=%s: the authority is told", claim->a.vm.s,
                            claim->a.id.s);
                gw_edge_report(edge, GW_REPORT_CLAIM, &claim->a.vm, 0);
        }
        return true;
}

int gw_edge_claimed(struct gw_edge *edge, struct gw_edge_now now, const struct gw_name *vm, uint64_t epoch,
                    struct gw_name *port, struct gw_error *error) {
        int r;

        gw_list_for_each (link, &edge->claims) {
                struct edge_claim *claim = gw_list_entry(link, struct edge_claim, link);
                struct gw_edge_attach a = claim->a;

                if (!gw_name_eq(&a.vm, vm))
                        continue;
                a.role = GW_EDGE_SERVING;
                a.epoch = epoch;
                *port = a.id;
                r = gw_edge_attach(edge, now, &a, error);
                /* The device stays open, in its new role, or as it was. */
                if (!r || edge->fx->port_open(edge->user, &claim->a, false, NULL))
                        claim_free(edge, claim);
                return r;
        }
        return gw_fail(error, GW_E_NOT_FOUND, "vm", "vm %s is not claimed here", vm->s);
}

bool gw_edge_claim_find(const struct gw_edge *edge, const struct gw_name *vm, struct gw_edge_attach *out) {
        gw_list_for_each (link, &edge->claims) {
                const struct edge_claim *claim = gw_list_entry(link, struct edge_claim, link);

                if (!gw_name_eq(&claim->a.vm, vm))
                        continue;
                *out = claim->a;
                return true;
        }
        return false;
}

void gw_edge_claims_free_all(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->claims)
                claim_free(edge, gw_list_entry(link, struct edge_claim, link));
}
