/* SPDX-License-Identifier: Apache-2.0 */
/* /v1/status: how the authority is. */
#include "io/renew.h"
#include "nva/api.h"
#include "nva/claims.h"
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

static json_t *directory_counters(const struct nva *nva) {
        const struct gw_directory_counters *c = &nva->directory.counters;
        const struct {
                const char *name;
                uint64_t value;
        } all[] = {
                {"updates", c->updates},
                {"retransmissions", c->retransmissions},
                {"acknowledged", c->acknowledged},
                {"behind", c->behind},
                {"lapsed", c->lapsed},
                {"coalesced", c->coalesced},
                {"set_aside", c->set_aside},
                {"flushes", c->flushes},
                {"answers_positive", c->answers_positive},
                {"answers_negative", c->answers_negative},
                {"digests", c->digests},
                {"buckets_agreed", c->buckets_agreed},
                {"buckets_different", c->buckets_different},
                {"held_agreed", c->held_agreed},
                {"held_different", c->held_different},
                {"frames_skipped", nva->n_skipped},
                {"hosts_not_listed", nva->n_unlisted},
                {"hosts_too_soon", nva->n_early},
        };
        json_t *object = json_object();

        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                json_object_set_new(object, all[i].name, json_integer((json_int_t)all[i].value));
        return object;
}

static json_t *session_counters(const struct nva *nva) {
        struct gw_listener_counts c = gw_listener_counts(nva->listener);

        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "now", (json_int_t)c.sessions, "handshakes_now",
                         (json_int_t)c.opening, "handshakes_failed", (json_int_t)c.handshakes_failed,
                         "handshakes_gave_way", (json_int_t)c.gave_way, "refused_address",
                         (json_int_t)c.refused_address, "refused_name", (json_int_t)c.refused_name, "paused",
                         (json_int_t)c.paused);
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
        json_object_set_new(status, "claims", claims_json(nva));
        json_object_set_new(status, "directory", directory_counters(nva));
        json_object_set_new(status, "sessions", session_counters(nva));
        json_object_set_new(status, "notices",
                            json_pack("{s:I, s:I}", "sent", (json_int_t)nva->n_notices, "answers_late",
                                      (json_int_t)nva->n_notices_late));
        json_object_set_new(status, "certificate", gw_renewal_json(nva->renewal));
        if (mobility)
                json_object_set_new(status, "mobility", mobility);
        gw_request_answer(request, 200, status);
}
