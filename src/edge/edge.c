/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The edge as a whole: its tables, its timers, and its session with the NVA.
 *
 * Session: HELLO when the stream is up; after WELCOME the list of VNs, all
 * registrations, reports that waited, and questions that wait. Nothing learnt
 * is dropped when the NVA goes. When it is back, everything that it has not
 * confirmed within GW_EDGE_SWEEP_MS is doubted: members go, mappings are asked for again.
 *
 * One UPDATE or RESPONSE is decoded to its end before any of it is applied, so
 * that a malformed frame changes nothing.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"

const char *const gw_edge_counter_names[GW_EDGE_COUNTERS + 1] = {
        [GW_EDGE_C_QUERIES] = "queries",
        [GW_EDGE_C_QUERY_RETRIES] = "query-retries",
        [GW_EDGE_C_QUERY_TIMEOUTS] = "query-timeouts",
        [GW_EDGE_C_NEGATIVE_ANSWERS] = "negative-answers",
        [GW_EDGE_C_NEGATIVE_HITS] = "drop-negative",
        [GW_EDGE_C_HELD] = "held",
        [GW_EDGE_C_RELEASED] = "released",
        [GW_EDGE_C_HELD_DROPPED_NEGATIVE] = "drop-held-negative",
        [GW_EDGE_C_HELD_DROPPED_FULL] = "drop-held-full",
        [GW_EDGE_C_HELD_DROPPED_AGE] = "drop-held-age",
        [GW_EDGE_C_MAPPINGS_STALE] = "mappings-stale",
        [GW_EDGE_C_MAPPINGS_CONFLICT] = "mappings-conflict",
        [GW_EDGE_C_FENCED] = "fenced",
        [GW_EDGE_C_ANNOUNCEMENTS] = "announcements",
        [GW_EDGE_C_ANNOUNCEMENTS_REFUSED] = "announcements-refused",
        [GW_EDGE_C_TOO_BIG_ANSWERED] = "too-big-answered",
        [GW_EDGE_C_TOO_BIG_LIMITED] = "drop-too-big-limited",
        [GW_EDGE_C_REGISTRATIONS] = "registrations",
        [GW_EDGE_C_REGISTRATION_RETRIES] = "registration-retries",
        [GW_EDGE_C_REGISTRATIONS_REFUSED] = "registrations-refused",
        [GW_EDGE_C_STALE_SENDERS] = "stale-senders",
        [GW_EDGE_C_UNPARSED] = "drop-unparsed",
        [GW_EDGE_C_GATEWAY_CHANGES] = "gateway-changes",
        [GW_EDGE_C_GATEWAY_EXCEEDED] = "gateway-exceeded",
        [GW_EDGE_C_GATEWAY_PROHIBITED] = "gateway-prohibited",
        [GW_EDGE_C_GATEWAY_TOO_BIG] = "gateway-too-big",
        [GW_EDGE_C_GATEWAY_ECHOES] = "gateway-echoes",
        [GW_EDGE_C_GATEWAY_UNANSWERED] = "drop-gateway-unanswered",
        [GW_EDGE_C_REPLIES_LATE] = "registration-replies-late",
        [GW_EDGE_C_REPLIES_DIFFER] = "registration-replies-differ",
        [GW_EDGE_C_DEREGISTRATIONS] = "deregistrations",
        [GW_EDGE_C_DEREGISTRATIONS_UNANSWERED] = "deregistrations-unanswered",
        [GW_EDGE_C_SUPERSEDED] = "registrations-superseded",
        [GW_EDGE_C_QUERIES_LIMITED] = "drop-limit-queries",
        [GW_EDGE_C_NO_SUCH] = "drop-no-such",
        [GW_EDGE_C_FLUSHES] = "flushes",
        [GW_EDGE_C_RESYNC_AGREED] = "resync-agreed",
        [GW_EDGE_C_RESYNC_DOUBTED] = "resync-doubted",
        [GW_EDGE_C_ANNOUNCED_ARP] = "announced-arp",
        [GW_EDGE_C_ANNOUNCED_ND] = "announced-nd",
        [GW_EDGE_C_ANNOUNCED_RARP] = "announced-rarp",
        [GW_EDGE_C_RARP_ANSWERED] = "rarp-answered",
        [GW_EDGE_C_RARP_UNKNOWN] = "rarp-unknown",
        [GW_EDGE_C_SPOKEN] = "spoken-for",
        [GW_EDGE_C_PRESENCE_ASKED] = "presence-asked",
        [GW_EDGE_C_PRESENT] = "presence-answered",
        [GW_EDGE_C_SILENT] = "presence-silent",
        [GW_EDGE_C_NOTICES] = "notices",
        [GW_EDGE_C_NOTICES_REFUSED] = "notices-refused",
        [GW_EDGE_C_SOURCES_ASKED] = "sources-asked",
        [GW_EDGE_C_SOURCES_CONFIRMED] = "sources-confirmed",
        [GW_EDGE_C_SOURCES_REFUSED] = "drop-source-refused",
        [GW_EDGE_C_SOURCES_UNVERIFIED] = "sources-unverified",
        [GW_EDGE_C_CLAIMS] = "claims",
        [GW_EDGE_C_GROUPS_HEARD] = "groups-heard",
        [GW_EDGE_C_GROUPS_FULL] = "groups-full",
        [GW_EDGE_C_PATHS_ASKED] = "paths-asked",
        [GW_EDGE_C_PATHS_HEARD] = "paths-heard",
        [GW_EDGE_C_PATHS_LOST] = "paths-lost",
        [GW_EDGE_C_PORT_CHANGED] = "drop-port-changed",
        [GW_EDGE_C_ABSENT_ANSWERED] = "absent-answered",
        [GW_EDGE_C_ABSENT_DROPPED] = "drop-absent",
        [GW_EDGE_C_FENCED_SENT] = "fenced-sent",
        [GW_EDGE_C_FENCED_DROPPED] = "drop-fenced",
        [GW_EDGE_C_BACK_DELIVERED] = "back-delivered",
        [GW_EDGE_C_BACK_DROPPED] = "drop-back",
};

/* ---- keys ---- */

struct edge_key gw_edge_key_mac(uint32_t vni, struct gw_mac mac) {
        struct edge_key key = {.vni = vni, .by_mac = 1};

        memcpy(key.b, mac.b, sizeof mac.b);
        return key;
}

struct edge_key gw_edge_key_ip(uint32_t vni, struct gw_ip ip) {
        struct edge_key key = {.vni = vni};

        memcpy(key.b, ip.b, sizeof ip.b);
        return key;
}

static bool match_vni(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct edge_vn, node)->vni == *(const uint32_t *)key;
}

static bool match_vm(const struct gw_table_node *node, const void *key) {
        return strcmp(gw_container_of(node, struct edge_vm, node)->name.s, key) == 0;
}

static bool match_port_id(const struct gw_table_node *node, const void *key) {
        return strcmp(gw_container_of(node, struct edge_port, by_id)->a.id.s, key) == 0;
}

static bool match_port_mac(const struct gw_table_node *node, const void *key) {
        const struct edge_port *port = gw_container_of(node, struct edge_port, by_mac);
        const struct edge_key *k = key;

        return port->a.vni == k->vni && memcmp(port->a.mac.b, k->b, sizeof port->a.mac.b) == 0;
}

static bool match_port_ifindex(const struct gw_table_node *node, const void *key) {
        return gw_container_of(node, struct edge_port, by_ifindex)->a.ifindex == *(const uint32_t *)key;
}

static bool match_mapping(const struct gw_table_node *node, const void *key) {
        const struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);
        const struct edge_key *k = key;

        return m->vni == k->vni && memcmp(m->mac.b, k->b, sizeof m->mac.b) == 0;
}

static bool match_neigh(const struct gw_table_node *node, const void *key) {
        return memcmp(&gw_container_of(node, struct edge_neigh, node)->key, key, sizeof(struct edge_key)) == 0;
}

static bool match_query(const struct gw_table_node *node, const void *key) {
        return memcmp(&gw_container_of(node, struct edge_query, node)->key, key, sizeof(struct edge_key)) == 0;
}

static bool match_binding(const struct gw_table_node *node, const void *key) {
        return strcmp(gw_container_of(node, struct edge_binding, node)->name.s, key) == 0;
}

/* ---- life ---- */

static int tables_init(struct gw_edge *edge) {
        const struct {
                struct gw_table *table;
                bool (*match)(const struct gw_table_node *node, const void *key);
        } tables[] = {
                {&edge->vns, match_vni},
                {&edge->vms, match_vm},
                {&edge->ports_by_id, match_port_id},
                {&edge->ports_by_mac, match_port_mac},
                {&edge->ports_by_ifindex, match_port_ifindex},
                {&edge->mappings, match_mapping},
                {&edge->neighs, match_neigh},
                {&edge->queries, match_query},
                {&edge->bindings, match_binding},
                {&edge->members, gw_edge_member_match},
        };

        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
                if (gw_table_init(tables[i].table, edge->config.seed, tables[i].match))
                        return -ENOMEM;
        if (gw_edge_timer_add(&edge->timers, &edge->report_timer, TIMER_REPORT))
                return -ENOMEM;
        if (gw_edge_timer_add(&edge->timers, &edge->presence, TIMER_PRESENCE) ||
            gw_edge_timer_add(&edge->timers, &edge->groups, TIMER_GROUPS) ||
            gw_edge_timer_add(&edge->timers, &edge->path_timer, TIMER_PATHS))
                return -ENOMEM;
        return gw_edge_timer_add(&edge->timers, &edge->sweep, TIMER_SWEEP);
}

static void tables_deinit(struct gw_edge *edge) {
        gw_table_deinit(&edge->vns);
        gw_table_deinit(&edge->vms);
        gw_table_deinit(&edge->ports_by_id);
        gw_table_deinit(&edge->ports_by_mac);
        gw_table_deinit(&edge->ports_by_ifindex);
        gw_table_deinit(&edge->mappings);
        gw_table_deinit(&edge->neighs);
        gw_table_deinit(&edge->queries);
        gw_table_deinit(&edge->bindings);
        gw_table_deinit(&edge->members);
}

int gw_edge_new(struct gw_edge **out, const struct gw_edge_config *config, const struct gw_edge_effects *effects,
                void *user) {
        struct gw_edge *edge = calloc(1, sizeof *edge);

        if (!edge)
                return -ENOMEM;
        edge->config = *config;
        edge->fx = effects;
        edge->user = user;
        gw_list_init(&edge->asking);
        gw_list_init(&edge->releasing);
        gw_list_init(&edge->suspects);
        gw_list_init(&edge->ended);
        gw_list_init(&edge->asked);
        gw_list_init(&edge->claims);
        gw_list_init(&edge->offers);
        gw_list_init(&edge->paths);
        if (tables_init(edge)) {
                tables_deinit(edge);
                gw_edge_timers_deinit(&edge->timers);
                free(edge);
                return -ENOMEM;
        }
        *out = edge;
        return 0;
}

void gw_edge_free(struct gw_edge *edge) {
        if (!edge)
                return;
        gw_edge_source_free_all(edge);
        gw_edge_claims_free_all(edge);
        gw_edge_queries_free_all(edge);
        gw_edge_mappings_free_all(edge);
        gw_edge_neigh_free_all(edge);
        gw_edge_vm_free_all(edge);
        gw_edge_bindings_free_all(edge);
        gw_edge_vn_free_all(edge);
        gw_edge_reports_free_all(edge);
        gw_edge_offers_drop(edge);
        gw_edge_paths_free_all(edge);
        gw_edge_timer_remove(&edge->timers, &edge->path_timer);
        gw_edge_timer_remove(&edge->timers, &edge->report_timer);
        gw_edge_timer_remove(&edge->timers, &edge->sweep);
        gw_edge_timer_remove(&edge->timers, &edge->presence);
        gw_edge_timer_remove(&edge->timers, &edge->groups);
        gw_edge_timers_deinit(&edge->timers);
        tables_deinit(edge);
        free(edge->routes);
        free(edge);
}

void gw_edge_log(struct gw_edge *edge, int level, const char *format, ...) {
        char text[512];
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        edge->fx->log(edge->user, level, text);
}

void gw_edge_send_written(struct gw_edge *edge, size_t size) {
        if (size && edge->up)
                edge->fx->send(edge->user, edge->out, size);
}

/* ---- time ---- */

static void report_later(struct gw_edge *edge, struct gw_edge_now now) {
        gw_edge_timer_set(&edge->timers, &edge->report_timer, gw_mono_after(now.mono, gw_ms(GW_EDGE_REPORT_EVERY_MS)));
}

void gw_edge_tick(struct gw_edge *edge, struct gw_edge_now now) {
        struct edge_timer *timer;

        while ((timer = gw_edge_timers_due(&edge->timers, now.mono)))
                switch ((enum edge_timer_kind)timer->kind) {
                case TIMER_MAPPING:
                        gw_edge_mapping_timer(edge, now, gw_container_of(timer, struct edge_mapping, timer));
                        break;
                case TIMER_GROUPS:
                        gw_edge_groups_timer(edge, now);
                        break;
                case TIMER_PATHS:
                        gw_edge_paths_timer(edge, now);
                        break;
                case TIMER_SUSPECT:
                        gw_edge_source_timer(edge, now, gw_container_of(timer, struct edge_suspect, timer));
                        break;
                case TIMER_QUERY:
                        gw_edge_query_timer(edge, now, gw_container_of(timer, struct edge_query, timer));
                        break;
                case TIMER_REGISTRATION:
                        gw_edge_registration_timer(edge, now, gw_container_of(timer, struct edge_binding, timer));
                        break;
                case TIMER_REDIRECT:
                        gw_edge_redirect_timer(edge, now, gw_container_of(timer, struct edge_vm, redirect));
                        break;
                case TIMER_PRESENCE:
                        gw_edge_presence_timer(edge, now);
                        break;
                case TIMER_SWEEP:
                        gw_edge_members_sweep(edge);
                        gw_edge_mappings_sweep(edge, now);
                        break;
                case TIMER_REPORT:
                        gw_edge_subscribe(edge);
                        gw_edge_resync_again(edge);
                        gw_edge_arrivals_ask(edge, now);
                        report_later(edge, now);
                        break;
                }
}

struct gw_mono gw_edge_deadline(const struct gw_edge *edge) {
        return gw_edge_timers_next(&edge->timers);
}

uint64_t gw_edge_counter(const struct gw_edge *edge, enum gw_edge_counter counter) {
        return edge->counters[counter];
}

bool gw_edge_is_registered(const struct gw_edge *edge) {
        return edge->welcome;
}

/* ---- the session ---- */

void gw_edge_nva_up(struct gw_edge *edge, struct gw_edge_now now) {
        struct gw_hello hello = {.role = GW_ROLE_NVE,
                                 .id = edge->config.id,
                                 .locator = edge->config.locator,
                                 .restart_count = edge->config.restart_count,
                                 .underlay_mtu = edge->config.underlay_mtu,
                                 /* the management node's Requests come the way that ours go */
                                 .features = edge->config.own_transport ? 0 : GW_FEATURE_NOTICES,
                                 .site = edge->config.site,
                                 .gateway = edge->config.gateway,
                                 .gateway_cost = edge->config.gateway_cost};
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        (void)now;
        edge->up = true;
        edge->welcome = false;
        gw_edge_send_written(edge, gw_hello_encode(&w, 0, &hello));
}

void gw_edge_set_underlay_mtu(struct gw_edge *edge, uint32_t octets) {
        edge->config.underlay_mtu = octets;
}

void gw_edge_nva_down(struct gw_edge *edge, struct gw_edge_now now) {
        if (edge->welcome)
                gw_edge_absence_begin(edge, now);
        edge->up = edge->welcome = false;
        gw_edge_offers_drop(edge);
        gw_edge_timer_stop(&edge->timers, &edge->report_timer);
        gw_edge_timer_stop(&edge->timers, &edge->sweep);
        gw_edge_source_nva_down(edge);
}

static int on_welcome(struct gw_edge *edge, struct gw_edge_now now, const uint8_t *body, size_t size) {
        struct gw_name nva;
        uint64_t restart_count;

        if (edge->welcome || gw_welcome_decode(body, size, &nva, &restart_count))
                return GW_E_MALFORMED;
        gw_edge_absence_end(edge, now); /* counts what still waits */
        edge->welcome = edge->greeted = true;
        edge->features = gw_welcome_features(body, size);
        gw_edge_log(edge, GW_INFO, "the authority %s (start %llu) accepted this edge", nva.s,
                    (unsigned long long)restart_count);
        gw_edge_members_doubt(edge);
        gw_edge_mappings_mark(edge);
        gw_edge_timer_set(&edge->timers, &edge->sweep, gw_mono_after(now.mono, gw_ms(GW_EDGE_SWEEP_MS)));
        report_later(edge, now);
        gw_edge_absence_tell(edge);
        gw_edge_negatives_forget(edge); /* nobody told us who came meanwhile */
        gw_edge_resync(edge, now);
        gw_edge_vns_untold(edge);
        gw_edge_subscribe(edge);
        if (!edge->config.own_transport)
                gw_edge_register_again(edge, now, NULL);
        gw_edge_reports_due(edge);
        gw_edge_paths_tell(edge);
        gw_edge_query_again(edge);
        return 0;
}

static bool batch_is_sound(const uint8_t *body, size_t size) {
        struct gw_batch batch = gw_batch_open(body, size);
        struct gw_mapping mapping;
        struct gw_member member;
        int kind;

        do
                kind = gw_batch_next(&batch, &mapping, &member);
        while (kind != GW_BATCH_END && kind != GW_BATCH_BAD);
        return kind == GW_BATCH_END;
}

/* Returns the lifetime of the last negative mapping, for an answer that is a no. */
static uint32_t batch_apply(struct gw_edge *edge, struct gw_edge_now now, const uint8_t *body, size_t size) {
        struct gw_batch batch = gw_batch_open(body, size);
        uint32_t negative_ms = GW_EDGE_NEGATIVE_MS;
        struct gw_mapping mapping;
        struct gw_member member;
        struct edge_vn *vn;
        int kind;

        while ((kind = gw_batch_next(&batch, &mapping, &member)) != GW_BATCH_END) {
                if (kind == GW_BATCH_MAPPING) {
                        if (mapping.state == GW_MAPPING_ABSENT)
                                negative_ms = mapping.lifetime_ms;
                        gw_edge_mapping_apply(edge, now, &mapping);
                        continue;
                }
                if (kind == GW_BATCH_VN) {
                        gw_edge_settings_apply(edge, &batch.vn);
                        continue;
                }
                vn = gw_edge_vn_find(edge, member.vni);
                if (vn && !member.gone && gw_ip_is_unspecified(member.locator)) {
                        vn->all_told = true;
                        vn->final = member.final;
                        continue;
                }
                if (vn && member.gone && gw_ip_is_unspecified(member.locator))
                        gw_edge_members_mark(edge, now, vn, &member);
                else if (vn && member.gone)
                        gw_edge_member_remove(edge, vn, member.locator);
                if (vn && !member.gone) {
                        gw_edge_member_add(edge, vn, member.locator, true);
                        gw_edge_member_role(edge, vn, member.locator, member.role, member.cost);
                }
        }
        return negative_ms;
}

static void ack(struct gw_edge *edge, uint32_t id) {
        struct gw_writer w = gw_writer(edge->out, sizeof edge->out);

        gw_edge_send_written(edge, gw_empty_encode(&w, GW_FRAME_UPDATE_ACK, id));
}

static int on_flush(struct gw_edge *edge, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_flush_request flush;
        struct edge_mapping *m;
        struct edge_vn *vn;

        if (gw_flush_decode(body, size, &flush))
                return GW_E_MALFORMED;
        edge->counters[GW_EDGE_C_FLUSHES]++;
        vn = gw_edge_vn_find(edge, flush.vni);
        if (vn)
                vn->all_told = vn->final = false;
        if (flush.negative)
                gw_edge_queries_flush(edge, flush.vni, flush.all ? NULL : &flush.mac, false);
        if (flush.positive && flush.all) {
                gw_edge_mappings_forget_vn(edge, flush.vni);
        } else if (flush.positive) {
                m = gw_edge_mapping_find(edge, flush.vni, flush.mac);
                if (m)
                        gw_edge_mapping_drop(edge, m);
        }
        ack(edge, id);
        return 0;
}

int gw_edge_frame(struct gw_edge *edge, struct gw_edge_now now, uint8_t type, uint32_t id, const uint8_t *body,
                  size_t size) {
        if (type == GW_FRAME_WELCOME)
                return on_welcome(edge, now, body, size);
        if (!edge->welcome)
                return GW_E_MALFORMED;
        switch (type) {
        case GW_FRAME_REGISTERED:
                return gw_edge_registered(edge, now, body, size);
        case GW_FRAME_REGISTER:
                return gw_edge_notice_frame(edge, now, id, body, size);
        case GW_FRAME_RESPONSE:
                if (!batch_is_sound(body, size))
                        return GW_E_MALFORMED;
                gw_edge_query_answered(edge, now, id, batch_apply(edge, now, body, size));
                return 0;
        case GW_FRAME_UPDATE:
                if (!batch_is_sound(body, size))
                        return GW_E_MALFORMED;
                batch_apply(edge, now, body, size);
                ack(edge, id);
                return 0;
        case GW_FRAME_FLUSH:
                return on_flush(edge, id, body, size);
        case GW_FRAME_AGREED:
                return gw_edge_agreed(edge, now, id, body, size);
        default:
                return type >= GW_FRAME_END ? 0 : GW_E_MALFORMED; /* of a later version, or out of place */
        }
}
