/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wires the authority together: the directory's effects to store, sessions and
 * watchers; one timer for all deadlines; the store's group commit into the loop.
 *
 * Order of things in one turn: cores change and stage records, frames and answers
 * are queued; then the loop commits the store and only then lets anything leave.
 * So no epoch, registration or move is ever told that a crash could take back.
 *
 * A start loads every table in the order of its number (the directory needs VNs
 * before VMs), counts itself, and then listens: agents that connect find moves
 * that wait for their inventories.
 */
#include "nva/claims.h"
#include "nva/nva.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>

#include "base/log.h"
#include "io/file.h"
#include "io/http.h"
#include "io/renew.h"
#include "io/tls.h"
#include "nva/api.h"
#include "nva/audit.h"
#include "nva/drain.h"
#include "nva/gateway.h"
#include "nva/leaving.h"
#include "nva/life.h"
#include "nva/mobility.h"
#include "nva/mover.h"
#include "nva/notices.h"
#include "nva/peers.h"

#define RESTARTS_KEY "nva.restarts"
#define EVENTS_TOPIC "events"

struct gw_now nva_now(void) {
        return (struct gw_now){.mono = gw_mono_now(), .wall = gw_wall_now()};
}

void nva_put(struct nva *nva, enum gw_store_table table, const char *key, const void *bytes, size_t size) {
        int r = gw_store_put(nva->store, table, key, strlen(key), bytes, size);

        if (r < 0) {
                gw_log(GW_ERR, "cannot stage a record: error=\"%s\"; ending, to lose nothing", strerror(-r));
                gw_loop_quit(&nva->loop, 1);
        }
        gw_loop_commit_later(&nva->loop);
}

void nva_put_json(struct nva *nva, enum gw_store_table table, const char *key, json_t *value) {
        char *text = json_dumps(value, JSON_COMPACT);

        if (text) {
                nva_put(nva, table, key, text, strlen(text));
        } else {
                gw_log(GW_ERR, "record %s cannot be encoded; ending, to lose nothing", key);
                gw_loop_quit(&nva->loop, 1);
        }
        free(text);
}

void nva_remove(struct nva *nva, enum gw_store_table table, const char *key) {
        gw_store_del(nva->store, table, key, strlen(key));
        gw_loop_commit_later(&nva->loop);
}

void nva_publish(struct nva *nva, const char *name, json_t *data) {
        if (nva->http)
                gw_http_publish(nva->http, EVENTS_TOPIC, name, data);
        if (nva->http_tls)
                gw_http_publish(nva->http_tls, EVENTS_TOPIC, name, data);
        json_decref(data);
}

/* --- the directory's effects --- */

static void on_store(enum gw_record table, const void *key, size_t key_size, const void *value, size_t value_size,
                     void *user) {
        struct nva *nva = user;
        int r;

        if (nva->loading)
                return;
        r = gw_store_put(nva->store, (enum gw_store_table)table, key, key_size, value, value_size);
        if (r < 0) {
                gw_log(GW_ERR, "cannot stage a record: error=\"%s\"; ending, to lose nothing", strerror(-r));
                gw_loop_quit(&nva->loop, 1);
        }
        gw_loop_commit_later(&nva->loop);
}

static void on_unstore(enum gw_record table, const void *key, size_t key_size, void *user) {
        struct nva *nva = user;

        if (nva->loading)
                return;
        gw_store_del(nva->store, (enum gw_store_table)table, key, key_size);
        gw_loop_commit_later(&nva->loop);
}

static size_t on_fetch(enum gw_record table, const void *key, size_t key_size, void *out, size_t room, void *user) {
        struct nva *nva = user;
        ssize_t n = gw_store_get(nva->store, (enum gw_store_table)table, key, key_size, out, room);

        return n > 0 ? (size_t)n : 0;
}

static void on_send(struct gw_nve *to, uint8_t type, uint32_t id, const uint8_t *body, size_t size, void *user) {
        int r;

        (void)user;
        if (!to->nve_session)
                return;
        r = gw_session_send(to->nve_session, type, id, body, size);
        if (r < 0 && r != -ENOTCONN)
                gw_log(GW_WARNING, "an update could not be queued: nve=%s error=\"%s\"", to->id.s, strerror(-r));
}

static void on_drop(struct gw_nve *nve, const char *reason, void *user) {
        (void)user;
        peers_drop(nve, reason);
}

static void on_changed(enum gw_object kind, const char *id, bool gone, void *user) {
        static const char *const names[] = {"tenant", "vn", "nve", "vm", "port", "binding"};
        struct nva *nva = user;

        if (!nva->loading)
                nva_publish(nva, names[kind],
                            json_pack("{s:s, s:s, s:b}", "kind", names[kind], "id", id, "gone", gone));
}

static void on_note(enum gw_note kind, const char *text, void *user) {
        struct nva *nva = user;

        if (kind == GW_NOTE_REFUSED) {
                nva->n_refused++;
                gw_log_limited(GW_WARNING, 20, "refused: %s", text);
        } else {
                gw_log_limited(kind == GW_NOTE_INFO ? GW_INFO : GW_WARNING, 200, "%s", text);
        }
}

static bool on_arrived(const struct gw_vm *vm, bool back, void *user) {
        return mover_may_arrive(user, gw_vm_name(vm).s, back);
}

static bool on_notice(struct gw_ip to, enum gw_notice_kind kind, const struct gw_registration *request, void *user) {
        (void)kind;
        return notices_send(user, to, request);
}

static void on_gateway_tell(struct gw_nve *nve, void *user) {
        gateway_tell(user, nve);
}

static const struct gw_directory_effects directory_effects = {
        .store = on_store,
        .unstore = on_unstore,
        .fetch = on_fetch,
        .send = on_send,
        .drop = on_drop,
        .changed = on_changed,
        .note = on_note,
        .arrived = on_arrived,
        .notice = on_notice,
        .gateway_tell = on_gateway_tell,
};

/* --- start --- */

/* Octets of records stay where they are while nothing is written, so some are collected before the first is loaded. */
enum { LOAD_TOGETHER = 64 };

struct load {
        struct nva *nva;
        enum gw_store_table table;
        struct gw_stored records[LOAD_TOGETHER];
        size_t n;
        struct gw_now now; /* the same for all */
        struct gw_error *error;
};

static int load_meta(struct load *load, const void *key, size_t nkey, const void *val, size_t nval, bool *taken) {
        *taken = nkey == strlen(RESTARTS_KEY) && !memcmp(key, RESTARTS_KEY, nkey);
        if (!*taken)
                return 0;
        if (nval != sizeof load->nva->restart_count)
                return gw_fail(load->error, GW_E_MALFORMED, "", "the store's restart counter has %zu octets", nval);
        memcpy(&load->nva->restart_count, val, nval);
        return 0;
}

static int load_one(struct load *load, const struct gw_stored *record) {
        const void *key = record->key, *val = record->value;
        size_t nkey = record->key_size, nval = record->value_size;
        bool taken = false;
        int r = 0;

        if (load->table == GW_STORE_META)
                r = load_meta(load, key, nkey, val, nval, &taken);
        if (r || taken)
                return r;
        if (load->table == GW_STORE_MOVE)
                return mover_load(load->nva, val, nval, load->error);
        if (load->table == GW_STORE_DRAIN)
                return drain_load(load->nva, key, nkey, val, nval, load->error);
        return gw_directory_load(&load->nva->directory, (enum gw_record)load->table, key, nkey, val, nval, load->now,
                                 load->error);
}

static int load_collected(struct load *load) {
        int r = 0;

        gw_directory_load_ahead(&load->nva->directory, (enum gw_record)load->table, load->records, load->n);
        for (size_t i = 0; !r && i < load->n; i++)
                r = load_one(load, &load->records[i]);
        load->n = 0;
        return r;
}

static int collect(const void *key, size_t nkey, const void *val, size_t nval, void *user) {
        struct load *load = user;

        load->records[load->n++] = (struct gw_stored){key, val, nkey, nval};
        return load->n == LOAD_TOGETHER ? load_collected(load) : 0;
}

static int load_all(struct nva *nva, struct gw_error *error) {
        struct load load = {.nva = nva, .now = nva_now(), .error = error};
        int r = 0;

        nva->loading = true;
        gw_directory_expect(&nva->directory, gw_store_count(nva->store, GW_STORE_VM),
                            gw_store_count(nva->store, GW_STORE_PORT));
        for (int table = GW_STORE_META; !r && table < GW_STORE_TABLES; table++) {
                load.table = (enum gw_store_table)table;
                r = gw_store_each(nva->store, load.table, collect, &load);
                if (!r)
                        r = load_collected(&load);
        }
        nva->loading = false;
        gw_directory_loaded(&nva->directory);
        if (r < 0)
                gw_fail(error, r, "state-dir", "cannot read the store: %s", strerror(-r));
        return r;
}

static int open_store(struct nva *nva, struct gw_error *error) {
        char path[GW_CONF_PATH_SIZE + 8];
        int r = gw_dir_make(nva->config.common.state_dir, 0700);

        snprintf(path, sizeof path, "%s/store", nva->config.common.state_dir);
        if (r >= 0)
                r = gw_store_journal_new(&nva->store, path);
        if (r < 0)
                return gw_fail(error, r, "state-dir", "cannot open the store %s: %s", path, strerror(-r));
        return load_all(nva, error);
}

static int open_directory(struct nva *nva, struct gw_error *error) {
        struct gw_ip routers[GW_NOTICE_ROUTERS_MAX];
        uint64_t seed[4];

        if (getrandom(seed, sizeof seed, 0) != (ssize_t)sizeof seed)
                return gw_fail(error, -errno, "", "no random numbers: %s", strerror(errno));
        if (gw_directory_init(&nva->directory, seed, nva->config.lease_s, &directory_effects, nva) ||
            life_init(nva, seed + 2) || claims_init(nva, seed + 2))
                return gw_fail(error, -ENOMEM, "", "out of memory");
        nva->directory.gateways_listed = !strcmp(nva->config.gateways, "listed");
        gw_directory_routers(&nva->directory, routers,
                             gw_ip_parse_list(nva->config.default_routers, routers, GW_NOTICE_ROUTERS_MAX));
        mover_init(nva);
        return open_store(nva, error);
}

/* Durable before the first HELLO is answered: peers tell a new start from a broken session by it. */
static int count_restart(struct nva *nva, struct gw_error *error) {
        int r;

        nva->restart_count++;
        r = gw_store_put(nva->store, GW_STORE_META, RESTARTS_KEY, strlen(RESTARTS_KEY), &nva->restart_count,
                         sizeof nva->restart_count);
        if (!r)
                r = gw_store_commit(nva->store);
        return r ? gw_fail(error, r, "state-dir", "cannot write the store: %s", strerror(-r)) : 0;
}

static int commit(void *user) {
        struct nva *nva = user;
        int r = gw_store_commit(nva->store);

        if (r < 0)
                gw_log(GW_ERR,
                       "cannot commit the store: error=\"%s\"; ending, to acknowledge nothing that is not durable",
                       strerror(-r));
        return r;
}

static struct gw_mono earlier(struct gw_mono a, struct gw_mono b) {
        return !a.ns || (b.ns && b.ns < a.ns) ? b : a;
}

static int on_wake_prepare(sd_event_source *source, void *user) {
        struct nva *nva = user;
        struct gw_mono next = gw_directory_deadline(&nva->directory);

        next = earlier(next, mover_next(nva));
        next = earlier(next, drain_next(nva));
        next = earlier(next, leaving_next(nva));
        next = earlier(next, life_next(nva));
        /* Never switched off: what is off is not prepared any more either. */
        return sd_event_source_set_time(source, next.ns ? (next.ns + GW_NS_PER_US - 1) / GW_NS_PER_US : UINT64_MAX);
}

static int on_wake(sd_event_source *source, uint64_t usec, void *user) {
        struct nva *nva = user;
        struct gw_now now = nva_now();

        (void)source, (void)usec;
        gw_directory_tick(&nva->directory, now);
        mover_tick(nva, now);
        life_tick(nva, now);
        drain_tick(nva, now);
        leaving_tick(nva);
        return 0;
}

static int start_clock(struct nva *nva, struct gw_error *error) {
        int r = sd_event_add_time(nva->loop.event, &nva->wake, CLOCK_MONOTONIC, UINT64_MAX, 1, on_wake, nva);

        if (r >= 0)
                r = sd_event_source_set_prepare(nva->wake, on_wake_prepare);
        if (r >= 0)
                r = sd_event_source_set_enabled(nva->wake, SD_EVENT_ON);
        return r < 0 ? gw_fail(error, r, "", "no timer: %s", strerror(-r)) : 0;
}

static void on_renewed(void *user);

static int listen_all(struct nva *nva, struct gw_error *error) {
        const struct gw_conf_common *common = &nva->config.common;
        char text[GW_ENDPOINT_TEXT];
        int r = gw_tls_new(&nva->tls, common->tls_ca, common->tls_cert, common->tls_key, error);

        if (r)
                return r;
        if (strcmp(gw_tls_name(nva->tls), common->id.s))
                return gw_fail(error, GW_E_INVALID, "id", "id is \"%s\", but the certificate %s is of \"%s\"",
                               common->id.s, common->tls_cert, gw_tls_name(nva->tls));
        nva->api = (struct gw_api){.routes = nva_routes, .user = nva, .admit = api_admit};
        gw_dir_make_above(common->api_socket, 0755); /* its unit makes it; what is not to be had binding tells */
        r = gw_http_new_unix(&nva->http, &nva->loop, common->api_socket, &nva->api);
        if (r < 0)
                return gw_fail(error, r, "api-socket", "cannot listen on %s: %s", common->api_socket, strerror(-r));
        if (nva->config.api_listen.port)
                r = gw_http_new_tls(&nva->http_tls, &nva->loop, &nva->config.api_listen, nva->tls, &nva->api);
        if (r < 0)
                return gw_fail(error, r, "api-listen", "cannot listen on %s: %s",
                               gw_endpoint_text(&nva->config.api_listen, text), strerror(-r));
        r = gw_renewal_new(&nva->renewal, &nva->loop, nva->tls, on_renewed, nva);
        if (r < 0)
                return gw_fail(error, r, "", "no timer for certificates: %s", strerror(-r));
        r = peers_listen(nva);
        if (r < 0)
                return gw_fail(error, r, "listen", "cannot listen on %s: %s",
                               gw_endpoint_text(&nva->config.listen, text), strerror(-r));
        return mobility_listen(nva, error);
}

/* SIGHUP */
static void on_hangup(void *user) {
        mobility_reload(user);
        gw_renewal_now(((struct nva *)user)->renewal);
}

static void on_renewed(void *user) {
        struct nva *nva = user;

        if (nva->http_tls && gw_http_reload(nva->http_tls) < 0)
                gw_log(GW_ERR, "api-listen cannot be served with the new certificates");
}

int nva_init(struct nva *nva, const struct nva_config *config, struct gw_error *error) {
        int r;

        memset(nva, 0, sizeof *nva);
        nva->config = *config;
        nva->started = gw_wall_now();
        gw_list_init(&nva->peers);
        gw_list_init(&nva->moves);
        gw_list_init(&nva->open_moves);
        gw_list_init(&nva->drains);
        gw_list_init(&nva->plans);
        gw_list_init(&nva->tellings);
        gw_list_init(&nva->calls);
        gw_list_init(&nva->restarts);
        gw_list_init(&nva->audits);
        r = gw_loop_init(&nva->loop);
        if (r < 0)
                return gw_fail(error, r, "", "no event loop: %s", strerror(-r));
        r = gw_loop_on_hangup(&nva->loop, on_hangup, nva);
        if (r < 0)
                return gw_fail(error, r, "", "cannot take SIGHUP: %s", strerror(-r));
        if ((r = open_directory(nva, error)) || (r = count_restart(nva, error)) || (r = start_clock(nva, error)))
                return r;
        nva->loop.commit = commit;
        nva->loop.commit_user = nva;
        mover_restore(nva, nva_now());
        r = audit_init(nva, error);
        return r ? r : listen_all(nva, error);
}

/* The payload follows the link, aligned for anything. */
struct carried {
        struct gw_list link;
        max_align_t payload[];
};

void *nva_call_new(struct nva *nva, size_t size) {
        struct carried *carried = calloc(1, sizeof *carried + size);

        if (!carried)
                return NULL;
        gw_list_append(&nva->calls, &carried->link);
        return carried->payload;
}

void nva_call_free(void *payload) {
        struct carried *carried = payload ? gw_container_of(payload, struct carried, payload) : NULL;

        if (carried)
                gw_list_remove(&carried->link);
        free(carried);
}

void nva_deinit(struct nva *nva) {
        peers_close(nva);
        mobility_close(nva);
        leaving_deinit(nva);
        gateway_deinit(nva);
        gw_http_free(nva->http_tls);
        gw_http_free(nva->http);
        gw_renewal_free(nva->renewal);
        gw_tls_free(nva->tls);
        sd_event_source_unref(nva->wake);
        drain_deinit(nva);
        mover_deinit(nva);
        life_deinit(nva);
        gw_directory_deinit(&nva->directory);
        if (nva->store)
                gw_store_commit(nva->store);
        gw_store_free(nva->store);
        audit_deinit(nva);
        claims_deinit(nva);
        gw_loop_deinit(&nva->loop);
        gw_list_for_each (link, &nva->calls) {
                gw_list_remove(link);
                free(gw_list_entry(link, struct carried, link));
        }
}
