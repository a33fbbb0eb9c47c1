/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility Headers at the edge: registrations sent as such (registration-transport =
 * mobility-header), and what the authority sends by itself. Off unless the
 * configuration names registration-nva, whose family says how they travel: as IPv6
 * protocol 135, or in UDP over IPv4 (io/mobility.h). Nothing below depends on it.
 *
 * The same rules hold as at the authority (nva/mobility.c): no key for the sender
 * and SPI, no signature, or a wrong one is silence, and counted. A message that
 * is signed by somebody else than the authority, another router for example, is
 * not the management node's: a Request of it gets 129. What is left, in the order in which it is
 * looked at:
 *
 *      Request      time stamp within registration-window-ms (156, without one 145), then edge/notice.c
 *      Reply        edge/registration.c
 *      Heartbeat    answered with our restart counter; an answer may tell that the authority started anew
 *      UPN          reason 1: that VM, or all, are registered again (RFC 7077); others are not supported
 *
 * What has no time stamp is told from a recording by its number: an UPN's must be newer than the last one that was
 * obeyed, and the numbers of heartbeats begin anywhere, so that an answer to an earlier start fits none.
 * Nothing is remembered here that a restart would have to know.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/heartbeat.h"
#include "io/keys.h"
#include "io/mobility.h"
#include "nve/nve.h"
#include "wire/auth.h"
#include "wire/registration.h"
#include "wire/upkeep.h"

enum { LOG_BURST = 20 };

enum counter {
        C_REQUESTS_SENT,
        C_REPLIES,
        C_NOTICES,
        C_HEARTBEATS,
        C_NOTIFICATIONS,
        C_NOT_MANAGEMENT,
        C_STALE,
        C_NO_ASSOCIATION,
        C_UNSIGNED,
        C_FORGED,
        C_MALFORMED,
        C_OTHER,
        C_NOTIFICATIONS_OLD,
        COUNTERS,
};
static const char *const counter_words[COUNTERS] = {
        [C_REQUESTS_SENT] = "requests-sent",
        [C_REPLIES] = "replies",
        [C_NOTICES] = "notices",
        [C_HEARTBEATS] = "heartbeats",
        [C_NOTIFICATIONS] = "notifications",
        [C_NOT_MANAGEMENT] = "refused-not-management",
        [C_STALE] = "refused-stale",
        [C_NO_ASSOCIATION] = "drop-no-association",
        [C_UNSIGNED] = "drop-unsigned",
        [C_FORGED] = "drop-forged",
        [C_MALFORMED] = "drop-malformed",
        [C_OTHER] = "drop-other",
        [C_NOTIFICATIONS_OLD] = "notifications-old",
};

struct nve_mobility {
        struct nve *nve;
        struct gw_mobility *socket;
        struct gw_keys *keys;
        struct gw_timer *beat;
        struct gw_heartbeat heart;
        bool notified;
        uint16_t last_notification;
        uint64_t count[COUNTERS];
};

/* One message that was found genuine. */
struct arrival {
        struct nve_mobility *m;
        struct gw_ip from;
        const uint8_t *bytes;
        size_t size;
        const struct gw_keys_entry *key;
};

static struct gw_ip own_address(const struct nve_mobility *m) {
        return gw_mobility_address(m->socket, m->nve->config.registration_nva);
}

/* ---- sending ---- */

static int send_signed(struct nve_mobility *m, const struct gw_keys_entry *to, struct gw_writer *w) {
        int r = gw_auth_sign(w->base, w->at, own_address(m), to->peer, &to->key, gw_keys_mac);

        return r ? r : gw_mobility_send(m->socket, to->peer, w->base, w->at);
}

static int send_registration(struct nve_mobility *m, const struct gw_keys_entry *to,
                             const struct gw_registration *reg) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        struct gw_registration marked = *reg;
        int r;

        gw_auth_mark(&marked, &to->key);
        r = gw_registration_encode(&w, own_address(m), to->peer, &marked);
        return r ? r : send_signed(m, to, &w);
}

static void send_upkeep(struct nve_mobility *m, const struct gw_keys_entry *to, struct gw_upkeep *upkeep) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        gw_upkeep_mark(upkeep, &to->key);
        if (!gw_upkeep_encode(&w, own_address(m), to->peer, upkeep))
                send_signed(m, to, &w);
}

void nve_mobility_request(struct nve *nve, const struct gw_registration *request) {
        struct nve_mobility *m = nve->mobility;
        const struct gw_keys_entry *to = gw_keys_to_sign(m->keys, nve->config.registration_nva);
        int r = to ? send_registration(m, to, request) : GW_E_NOT_FOUND;

        m->count[C_REQUESTS_SENT] += !r;
        if (r)
                gw_log_limited(GW_WARNING, LOG_BURST, "a registration could not be sent: vm=%s error=%s", request->vm.s,
                               to ? gw_error_word(r) : "registration-keys has no key for registration-nva");
}

/* ---- Requests of the management node ---- */

static bool is_management(const struct arrival *a) {
        return gw_ip_eq(a->from, a->m->nve->config.registration_nva);
}

/* 0, or the status of the refusal. */
static uint8_t check_request(const struct arrival *a, const struct gw_registration *request) {
        uint64_t window_ns = gw_ms(a->m->nve->config.registration_window_ms).ns, now = gw_wall_now().ns, at;

        if (!is_management(a)) {
                a->m->count[C_NOT_MANAGEMENT]++;
                return GW_MH_PROHIBITED;
        }
        if (!(request->has & GW_REG_HAS_TIMESTAMP))
                return GW_MH_ID_REQUIRED;
        at = gw_registration_stamp_wall(request->timestamp).ns;
        if ((at > now ? at - now : now - at) <= window_ns)
                return 0;
        a->m->count[C_STALE]++;
        return GW_MH_TIMESTAMP_MISMATCH;
}

static void refuse(const struct gw_registration *request, uint8_t status, struct gw_registration *reply) {
        gw_registration_answer(request, status, reply);
        if (status == GW_MH_TIMESTAMP_MISMATCH)
                reply->timestamp = gw_registration_stamp(gw_wall_now());
        gw_log_limited(GW_WARNING, LOG_BURST, "a notice about vm=%s was refused: status=%u (%s)", request->vm.s, status,
                       gw_registration_status_word(status));
}

static void take_request(const struct arrival *a) {
        struct gw_registration request, reply;
        uint8_t status;

        if (gw_registration_decode(a->bytes, a->size, a->from, own_address(a->m), &request)) {
                a->m->count[C_MALFORMED]++;
                return;
        }
        status = check_request(a, &request);
        if (status) {
                refuse(&request, status, &reply);
        } else {
                a->m->count[C_NOTICES]++;
                gw_edge_notice(a->m->nve->edge, nve_now(), &request, &reply);
        }
        if (reply.status >= GW_MH_REJECTED || (request.flags & GW_MH_REQUEST_ACK))
                send_registration(a->m, a->key, &reply);
}

/* ---- the others ---- */

static void take_reply(const struct arrival *a) {
        struct gw_registration reply;

        if (gw_registration_decode(a->bytes, a->size, a->from, own_address(a->m), &reply)) {
                a->m->count[C_MALFORMED]++;
                return;
        }
        a->m->count[C_REPLIES]++;
        gw_edge_reply(a->m->nve->edge, nve_now(), &reply);
}

static void heart_news(struct nve_mobility *m, enum gw_heartbeat_news news) {
        if (news == GW_HEARTBEAT_RESTARTED) {
                gw_log(GW_NOTICE, "the authority has started anew (start %u); all VMs are registered again",
                       m->heart.restarts);
                gw_edge_register_again(m->nve->edge, nve_now(), NULL);
        } else if (news == GW_HEARTBEAT_BACK) {
                gw_log(GW_NOTICE, "the authority answers heartbeats again");
        }
}

static void take_heartbeat(const struct arrival *a, const struct gw_upkeep *beat) {
        struct gw_upkeep answer = {.kind = GW_MH_HEARTBEAT,
                                   .flags = GW_MH_HEARTBEAT_RESPONSE,
                                   .sequence = beat->sequence,
                                   .has = GW_UPKEEP_HAS_RESTARTS,
                                   .restarts = (uint32_t)a->m->nve->restart_count};

        a->m->count[C_HEARTBEATS]++;
        if (!(beat->flags & GW_MH_HEARTBEAT_RESPONSE))
                send_upkeep(a->m, a->key, &answer);
        else if (is_management(a) && (beat->has & GW_UPKEEP_HAS_RESTARTS))
                heart_news(a->m, gw_heartbeat_answer(&a->m->heart, beat->sequence, beat->restarts));
}

/* RFC 7077 5.2: one that was seen is answered again and not obeyed again; and so is an older one, for it is a recording. */
static bool is_new(const struct nve_mobility *m, uint16_t number) {
        uint16_t ahead = (uint16_t)(number - m->last_notification);

        return !m->notified || (ahead && ahead < 0x8000);
}

static void take_notification(const struct arrival *a, const struct gw_upkeep *said) {
        struct nve_mobility *m = a->m;
        bool wanted = said->reason == GW_MH_NOTIFY_REREGISTER && is_management(a);
        struct gw_upkeep answer = {.kind = GW_MH_UPDATE_NOTIFICATION_ACK,
                                   .status = wanted ? GW_MH_NOTIFIED : GW_MH_NOTIFY_FAILED,
                                   .sequence = said->sequence};

        m->count[C_NOTIFICATIONS]++;
        if (said->flags & GW_MH_NOTIFICATION_ACK)
                send_upkeep(m, a->key, &answer);
        if (!wanted)
                return;
        if (!is_new(m, (uint16_t)said->sequence)) {
                m->count[C_NOTIFICATIONS_OLD]++;
                return;
        }
        m->notified = true;
        m->last_notification = (uint16_t)said->sequence;
        gw_edge_register_again(m->nve->edge, nve_now(), said->has & GW_UPKEEP_HAS_VM ? &said->vm : NULL);
}

static void take_upkeep(const struct arrival *a) {
        struct gw_upkeep said;

        if (gw_upkeep_decode(a->bytes, a->size, a->from, own_address(a->m), &said))
                a->m->count[C_MALFORMED]++;
        else if (said.kind == GW_MH_HEARTBEAT)
                take_heartbeat(a, &said);
        else if (said.kind == GW_MH_UPDATE_NOTIFICATION)
                take_notification(a, &said);
        else
                a->m->count[C_OTHER]++;
}

/* ---- authentication ---- */

/* What it is counted as when it is not genuine; COUNTERS when it is. */
static enum counter authenticate(struct arrival *a) {
        uint32_t spi;

        if (!gw_keys_has_peer(a->m->keys, a->from))
                return C_NO_ASSOCIATION;
        if (!gw_auth_spi(a->bytes, a->size, &spi))
                return C_UNSIGNED;
        a->key = gw_keys_find(a->m->keys, a->from, spi);
        if (!a->key)
                return C_NO_ASSOCIATION;
        return gw_auth_verify(a->bytes, a->size, a->from, own_address(a->m), &a->key->key, gw_keys_mac) ? C_FORGED
                                                                                                        : COUNTERS;
}

static void on_message(struct gw_ip from, const uint8_t *bytes, size_t size, void *user) {
        struct arrival a = {.m = user, .from = from, .bytes = bytes, .size = size};
        enum counter fault = authenticate(&a);

        if (fault != COUNTERS) {
                a.m->count[fault]++;
                return;
        }
        switch (bytes[2]) {
        case GW_MH_BINDING_UPDATE:
                return take_request(&a);
        case GW_MH_BINDING_ACK:
                return is_management(&a) ? take_reply(&a) : (void)a.m->count[C_NOT_MANAGEMENT]++;
        default:
                take_upkeep(&a);
        }
}

/* ---- time ---- */

static void on_beat(void *user) {
        struct nve_mobility *m = user;
        const struct gw_keys_entry *to = gw_keys_to_sign(m->keys, m->nve->config.registration_nva);
        struct gw_upkeep beat = {.kind = GW_MH_HEARTBEAT};
        bool lost;

        if (!to || !gw_heartbeat_tick(&m->heart, gw_mono_now(), &lost))
                return;
        if (lost)
                gw_log(GW_WARNING, "the authority answers no heartbeats; going on with what is known");
        beat.sequence = m->heart.sequence;
        send_upkeep(m, to, &beat);
}

/* ---- life ---- */

void nve_mobility_reload(struct nve *nve) {
        struct gw_error error = {0};

        if (!nve->mobility)
                return;
        if (gw_keys_reload(nve->mobility->keys, &error)) {
                gw_log(GW_ERR, "the keys stay as they were: %s", error.text);
                return;
        }
        gw_log(GW_NOTICE, "keys were read again: keys=%zu", gw_keys_count(nve->mobility->keys));
        if (nve_config_own_transport(&nve->config))
                gw_edge_register_again(nve->edge, nve_now(), NULL);
}

bool nve_config_own_transport(const struct nve_config *config) {
        return strcmp(config->registration_transport, "mobility-header") == 0;
}

int nve_mobility_open(struct nve *nve, struct gw_error *error) {
        const struct nve_config *config = &nve->config;
        struct gw_ip address = nve_config_registration_address(config);
        struct nve_mobility *m;
        char text[GW_IP_TEXT];
        int r;

        if (gw_ip_is_unspecified(config->registration_nva))
                return 0;
        m = nve->mobility = calloc(1, sizeof *m);
        if (!m)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        m->nve = nve;
        m->heart.interval_ms = config->heartbeat_ms;
        if (getrandom(&m->heart.sequence, sizeof m->heart.sequence, 0) != (ssize_t)sizeof m->heart.sequence)
                return gw_fail(error, -errno, "", "no random numbers: %s", strerror(errno));
        r = gw_keys_new(&m->keys, config->registration_keys, error);
        if (r)
                return r;
        r = gw_mobility_new(&m->socket, &nve->loop, on_message, m);
        if (!r)
                r = gw_mobility_open(m->socket, address, 0);
        if (r < 0)
                return gw_fail(error, r, "registration-address", "Mobility Headers cannot be received at %s: %s",
                               gw_ip_text(address, text), strerror(-r));
        r = gw_timer_new(&m->beat, &nve->loop, gw_ms(1), gw_ms(config->heartbeat_ms), on_beat, m);
        return r < 0 ? gw_fail(error, r, "", "the event loop cannot be set up: %s", strerror(-r)) : 0;
}

void nve_mobility_close(struct nve *nve) {
        struct nve_mobility *m = nve->mobility;

        if (!m)
                return;
        gw_timer_free(m->beat);
        gw_mobility_free(m->socket);
        gw_keys_free(m->keys);
        free(m);
        nve->mobility = NULL;
}

json_t *nve_mobility_json(const struct nve *nve) {
        const struct nve_mobility *m = nve->mobility;
        json_t *out = json_object();

        for (int i = 0; m && i < GW_MOBILITY_COUNTERS; i++)
                json_object_set_new(
                        out, gw_mobility_counter_word((enum gw_mobility_counter)i),
                        json_integer((json_int_t)gw_mobility_count(m->socket, (enum gw_mobility_counter)i)));
        for (int i = 0; m && i < COUNTERS; i++)
                json_object_set_new(out, counter_words[i], json_integer((json_int_t)m->count[i]));
        return out;
}
