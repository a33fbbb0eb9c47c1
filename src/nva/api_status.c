/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/status: how the authority is. */
#include "nva/api.h"
#include "nva/mobility.h"
#include "nva/mover.h"

static json_int_t connected_nves(const struct nva *nva) {
        struct gw_nve *nve = gw_directory_nve_after(&nva->directory, NULL);
        json_int_t n = 0;

        for (; nve; nve = gw_directory_nve_after(&nva->directory, nve->id.s))
                n += nve->nve_connected;
        return n;
}

static json_int_t open_moves(const struct nva *nva) {
        json_int_t n = 0;

        for (const struct gw_list *link = nva->moves.next; link != &nva->moves; link = link->next)
                n += gw_list_entry(link, const struct nva_move, link)->core.phase != GW_MOVE_DONE;
        return n;
}

void api_status(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const struct gw_directory *d = &nva->directory;
        json_t *mobility = mobility_json(nva), *status;

        status = json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "id",
                           nva->config.common.id.s, "version", GW_VERSION, "start", (json_int_t)nva->restart_count,
                           "started_ns", (json_int_t)nva->started.ns, "tenants", (json_int_t)d->tenants.count, "vns",
                           (json_int_t)d->vns.count, "nves", (json_int_t)d->nves.count, "nves_connected",
                           connected_nves(nva), "vms", (json_int_t)d->vms.count, "moves_open", open_moves(nva),
                           "registrations", (json_int_t)nva->n_registrations, "queries", (json_int_t)nva->n_queries,
                           "refused", (json_int_t)nva->n_refused);
        json_object_set_new(status, "registrar", registrar_json(nva));
        if (mobility)
                json_object_set_new(status, "mobility", mobility);
        gw_request_answer(request, 200, status);
}
