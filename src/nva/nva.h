/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The authority as one object: loop, store, directory, sessions, moves, API.
 * The parts of src/nva know each other through this header and their own.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/table.h"
#include "directory/directory.h"
#include "io/api.h"
#include "io/loop.h"
#include "io/session.h"
#include "move/move.h"
#include "nva/config.h"
#include "nva/questions.h"
#include "nva/registrar.h"
#include "store/store.h"

enum { NVA_MOVES_KEPT = 1000 /* ended ones; older ones are forgotten */, NVA_CLAIM_REASONS = 10 /* claims.c */ };

struct nva {
        struct nva_config config;
        struct gw_loop loop;
        struct gw_store *store;
        struct gw_directory directory;
        struct gw_tls *tls;
        struct gw_renewal *renewal;
        struct gw_listener *listener;
        struct nva_mobility *mobility; /* NULL: registrations come over sessions alone */
        struct registrar registrar;
        struct gw_http *http, *http_tls;
        struct gw_api api;
        sd_event_source *wake;     /* set anew before each wait: the nearest of all deadlines */
        struct gw_list peers;      /* struct nva_peer */
        struct gw_list moves;      /* struct nva_move, oldest first */
        struct gw_list open_moves; /* those among them that have not ended, and maybe some that just have */
        struct gw_post acked;      /* mover_acked */
        struct gw_list drains;     /* struct nva_drain: hosts that are being drained */
        struct gw_list plans;      /* leaving.c: of drains, in the making */
        struct gw_list tellings;   /* gateway.c: who waits until gateways have taken a change */
        struct gw_list calls;      /* what calls under way carry: nva_call_new */
        struct gw_move_rules move_rules;
        uint64_t next_move;
        size_t n_moves_done;
        struct gw_table lives;   /* struct nva_life, by VM id */
        struct gw_list restarts; /* those that are to be started again */
        struct gw_list audits;   /* under way */
        struct gw_table claims;  /* claims.c: struct claim_history, by VM id */
        struct gw_list claimed;  /* the same */
        uint64_t claim_counts[NVA_CLAIM_REASONS];
        struct gw_timer *audit_timer;
        json_t *last_audit; /* the report of the last full one; NULL: none yet */
        struct gw_wall started;
        uint64_t restart_count;
        struct nva_questions questions;
        uint64_t n_registrations, n_queries, n_refused, n_skipped, n_unlisted, n_early;
        uint64_t n_notices, n_notices_late;
        bool loading;
};

/* Opens and loads everything, listens. On failure *error says what to do; nva_deinit is due in either case. */
int nva_init(struct nva *nva, const struct nva_config *config, struct gw_error *error);
void nva_deinit(struct nva *nva);

struct gw_now nva_now(void);

/* What a gw_call carries to its answer, zeroed; the answer's callback frees it. Answers that do not come any more because
 * the daemon ends leave it to nva_deinit. NULL: no memory. */
void *nva_call_new(struct nva *nva, size_t size);
void nva_call_free(void *payload);

/* One record, written with this turn's commit. A json record is encoded compactly; borrowed. */
void nva_put(struct nva *nva, enum gw_store_table table, const char *key, const void *bytes, size_t size);
void nva_put_json(struct nva *nva, enum gw_store_table table, const char *key, json_t *value);
void nva_remove(struct nva *nva, enum gw_store_table table, const char *key);

/* To everybody who watches /v1/events. data is taken over. */
void nva_publish(struct nva *nva, const char *name, json_t *data);
