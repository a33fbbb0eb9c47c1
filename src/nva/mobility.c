/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes as a Mobility Header, in the order of RFC 5213 section 5.3.1 and
 * RFC 4285 section 5:
 *
 *      no key for this sender and SPI, or no option 9 at all     silence
 *      it does not verify                                        146 to a Request, else silence
 *      it does not decode                                        silence
 *      option 10 stale, or seen                                  144
 *      neither option 10 nor 27                                  145: replay could not be told
 *      no NVE of the key's name, or not at this address          154
 *      the rest                                                  gw_directory_register_within
 *
 * A security association is (address, SPI); its entry in the key file names the
 * NVE that owns it, so that nobody registers in another's name by choosing an
 * address. The source is the Proxy-CoA and must be the NVE's locator, over IPv4 (in
 * UDP, RFC 5844) as over IPv6. An NVE whose locator is IPv4 may also send from an
 * IPv6 address: then it says the locator in option 38 (D2 section 9), which must be the
 * one that we know it by. Where both are there, both must be.
 *
 * A message is authenticated before it is decoded. The one exception, a Request
 * that does not verify, is decoded to be answered; such answers are limited in
 * their rate, since whoever can forge a source address causes them.
 *
 * Replay: a time stamp (option 27) must be within registration-window-ms of our
 * clock and newer than the VM's last (the directory sees to that). A Message-ID
 * (option 10) must be within MESSAGE_ID_SKEW_S and newer than the last one of this key, which is in the store: a
 * start of ours would else let the last seconds be repeated. So none is remembered that is farther ahead of our clock,
 * and a peer whose clock was ahead is refused for no longer than that; when it was our clock that was ahead, see
 * decision 98. Per key, since what was signed with an old one says nothing about a new one.
 *
 * An answer is signed with the key of its question. Replies wait for the turn's
 * commit like everything else (io/mobility.h).
 *
 * Having started, the authority asks everybody who has a key to register again
 * (RFC 7077, reason 1). It is not repeated: a heartbeat's answer says the same.
 */
#include "nva/mobility.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/table.h"
#include "io/keys.h"
#include "io/mobility.h"
#include "nva/message_ids.h"
#include "nva/notices.h"
#include "nva/nva.h"
#include "nva/registrar.h"
#include "wire/auth.h"

enum {
        MESSAGE_ID_SKEW_S = 7, /* RFC 4285's default */
        FORGERIES_PER_S = 10,  /* answered with 146 */
        LOG_BURST = 20,
};

enum counter {
        C_REQUESTS,
        C_HEARTBEATS,
        C_REPLIES,
        C_OTHER, /* authenticated, and not for an authority */
        C_NO_ASSOCIATION,
        C_UNSIGNED,
        C_FORGED,
        C_MALFORMED,
        C_REPLAYED,
        C_NOTIFICATIONS_SENT,
        C_ID_SKEWED,
        C_ID_BEFORE,
        COUNTERS,
};
static const char *const counter_words[COUNTERS] = {
        [C_REQUESTS] = "requests",
        [C_HEARTBEATS] = "heartbeats",
        [C_REPLIES] = "replies",
        [C_OTHER] = "others",
        [C_NO_ASSOCIATION] = "drop-no-association",
        [C_UNSIGNED] = "drop-unsigned",
        [C_FORGED] = "forged",
        [C_MALFORMED] = "drop-malformed",
        [C_REPLAYED] = "replayed",
        [C_NOTIFICATIONS_SENT] = "notifications-sent",
        [C_ID_SKEWED] = "message-id-skewed",
        [C_ID_BEFORE] = "message-id-before-last",
};

/* Whose Message-IDs were heard. */
struct peer_key {
        struct gw_ip address;
        uint32_t spi;
};

struct peer {
        struct gw_table_node node;
        struct peer_key key;
        uint64_t last_id;
};

struct nva_mobility {
        struct nva *nva;
        struct gw_mobility *socket;
        struct gw_keys *keys;
        struct gw_table peers;
        unsigned forgeries; /* left in forgeries_s */
        uint64_t forgeries_s;
        uint64_t count[COUNTERS];
};

/* One message on its way through the checks. */
struct arrival {
        struct nva_mobility *m;
        struct gw_ip from;
        const uint8_t *bytes;
        size_t size;
        const struct gw_keys_entry *key;
        char text[GW_IP_TEXT];
};

static struct gw_ip own_address(const struct arrival *a) {
        return gw_mobility_address(a->m->socket, a->from);
}

/* --- sending --- */

static int send_signed(struct nva_mobility *m, const struct gw_keys_entry *to, struct gw_writer *w) {
        struct gw_ip from = gw_mobility_address(m->socket, to->peer);
        int r = gw_auth_sign(w->base, w->at, from, to->peer, &to->key, gw_keys_mac);

        return r ? r : gw_mobility_send(m->socket, to->peer, w->base, w->at);
}

int mobility_send(struct nva *nva, const struct gw_keys_entry *to, struct gw_registration *reg) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        int r;

        gw_auth_mark(reg, &to->key);
        r = gw_registration_encode(&w, gw_mobility_address(nva->mobility->socket, to->peer), to->peer, reg);
        return r ? r : send_signed(nva->mobility, to, &w);
}

int mobility_send_upkeep(struct nva *nva, const struct gw_keys_entry *to, struct gw_upkeep *upkeep) {
        uint8_t bytes[GW_MH_SIZE_MAX];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);
        int r;

        gw_upkeep_mark(upkeep, &to->key);
        r = gw_upkeep_encode(&w, gw_mobility_address(nva->mobility->socket, to->peer), to->peer, upkeep);
        return r ? r : send_signed(nva->mobility, to, &w);
}

/* Where nothing is listened for answers, nothing is asked. */
static const struct gw_keys_entry *reachable(const struct nva_mobility *m, const struct gw_keys_entry *key) {
        return key && gw_mobility_reaches(m->socket, key->peer) ? key : NULL;
}

/* An NVE with keys for several addresses is reached at its locator, or else at that of its first line. */
const struct gw_keys_entry *mobility_key(const struct nva *nva, const struct gw_nve *nve) {
        const struct gw_keys_entry *at_locator = mobility_key_at(nva, nve->locator);

        if (at_locator && gw_name_eq(&at_locator->id, &nve->id))
                return at_locator;
        return nva->mobility ? reachable(nva->mobility, gw_keys_to_sign_for(nva->mobility->keys, nve->id.s)) : NULL;
}

const struct gw_keys_entry *mobility_key_at(const struct nva *nva, struct gw_ip address) {
        const struct nva_mobility *m = nva->mobility;

        return m ? reachable(m, gw_keys_to_sign(m->keys, address)) : NULL;
}

/* --- whose Message-IDs were heard --- */

static bool peer_match(const struct gw_table_node *node, const void *wanted) {
        const struct peer *peer = gw_container_of(node, struct peer, node);
        const struct peer_key *key = wanted;

        return peer->key.spi == key->spi && gw_ip_eq(peer->key.address, key->address);
}

static struct peer *peer_find(struct nva_mobility *m, struct gw_ip address, uint32_t spi) {
        struct peer_key key;
        struct gw_table_node *node;
        struct peer *peer;
        uint64_t hash;

        memset(&key, 0, sizeof key); /* with what is between, since it is hashed */
        key.address = address;
        key.spi = spi;
        hash = gw_table_hash(&m->peers, &key, sizeof key);
        node = gw_table_find(&m->peers, hash, &key);
        if (node)
                return gw_container_of(node, struct peer, node);
        peer = calloc(1, sizeof *peer);
        if (!peer)
                return NULL;
        peer->key = key;
        peer->last_id = message_ids_last(m->nva, m->keys, address, spi);
        if (gw_table_insert(&m->peers, &peer->node, hash) < 0) {
                free(peer);
                return NULL;
        }
        return peer;
}

/* --- answering --- */

/* An accepted Request that asked for no answer gets none; a refused one does (RFC 6275 section 9.5.4). */
static void reply(const struct arrival *a, const struct gw_registration *request, struct gw_registration *answer) {
        int r;

        if (answer->status < GW_MH_REJECTED && !(request->flags & GW_MH_REQUEST_ACK))
                return;
        r = mobility_send(a->m->nva, a->key, answer);
        if (r)
                gw_log_limited(GW_WARNING, LOG_BURST, "a reply could not be sent: to=%s vm=%s error=%s", a->text,
                               request->vm.s, gw_error_word(r));
}

static void refuse(const struct arrival *a, const struct gw_registration *request, uint8_t status) {
        struct gw_registration answer;

        registrar_refuse(a->m->nva, request, status, a->text, &answer);
        if (status == GW_MH_ID_MISMATCH) {
                const struct peer *peer = peer_find(a->m, a->from, a->key->key.spi);

                answer.has |= GW_REG_HAS_MESSAGE_ID;
                answer.message_id = gw_message_id_answer(request->message_id, peer ? peer->last_id : 0, gw_wall_now(),
                                                         gw_s(MESSAGE_ID_SKEW_S));
        }
        reply(a, request, &answer);
}

/* --- replay --- */

/* What was wrong with a Message-ID, and what can be done about it. */
static void tell_stale(const struct arrival *a, const struct peer *peer, const struct gw_registration *request,
                       enum gw_message_id_fault fault, struct gw_wall now) {
        static const enum counter counters[] = {[GW_MESSAGE_ID_SKEWED] = C_ID_SKEWED,
                                                [GW_MESSAGE_ID_REPEATED] = C_REPLAYED,
                                                [GW_MESSAGE_ID_BEFORE] = C_ID_BEFORE};
        long long ahead_ms = gw_message_id_ahead_ms(request->message_id, gw_message_id(now));
        long long last_ms = gw_message_id_ahead_ms(peer->last_id, gw_message_id(now));

        a->m->count[counters[fault]]++;
        if (fault == GW_MESSAGE_ID_SKEWED)
                gw_log_limited(
                        GW_WARNING, LOG_BURST,
                        "registration refused: from=%s nve=%s its Message-ID is %lld ms %s our clock, and at most "
                        "%d are allowed; set the clocks right (it was told which one counts)",
                        a->text, a->key->id.s, llabs(ahead_ms), ahead_ms < 0 ? "behind" : "ahead of",
                        MESSAGE_ID_SKEW_S * 1000);
        else if (fault == GW_MESSAGE_ID_REPEATED)
                gw_log_limited(
                        GW_WARNING, LOG_BURST,
                        "registration refused: from=%s nve=%s its Message-ID is not newer than the last one, which is "
                        "%lld ms %s our clock: a repetition, or its clock was set back",
                        a->text, a->key->id.s, llabs(last_ms), last_ms < 0 ? "behind" : "ahead of");
        else
                gw_log_limited(
                        GW_ERR, LOG_BURST,
                        "registration refused: from=%s nve=%s the last Message-ID accepted from it is %lld s ahead "
                        "of our clock, which seems to have been set back; it was told how to go on, and if it "
                        "cannot, give it a key with a new SPI (line %u of registration-keys)",
                        a->text, a->key->id.s, last_ms / 1000, a->key->line);
}

/* 0, or the status of the refusal. */
static uint8_t check_replay(const struct arrival *a, const struct gw_registration *request) {
        struct gw_wall now = gw_wall_now();
        enum gw_message_id_fault fault;
        struct peer *peer;

        if (!(request->has & GW_REG_HAS_MESSAGE_ID))
                return request->has & GW_REG_HAS_TIMESTAMP ? 0 : GW_MH_ID_REQUIRED;
        peer = peer_find(a->m, a->from, a->key->key.spi);
        if (!peer)
                return GW_MH_NO_RESOURCES;
        fault = gw_message_id_check(request->message_id, peer->last_id, now, gw_s(MESSAGE_ID_SKEW_S));
        if (fault) {
                tell_stale(a, peer, request, fault, now);
                return GW_MH_ID_MISMATCH;
        }
        peer->last_id = request->message_id;
        message_ids_accept(a->m->nva, peer->key.address, peer->key.spi, peer->last_id);
        return 0;
}

/* --- Requests --- */

/* The NVE that the key belongs to, if it is where the message came from. */
static struct gw_nve *sender(const struct arrival *a, const struct gw_registration *request) {
        struct gw_nve *nve = gw_directory_nve(&a->m->nva->directory, a->key->id.s);
        bool router4 = request->has & GW_REG_HAS_DEFAULT_ROUTER4;

        if (!nve)
                return NULL;
        if (gw_ip_is_v4(nve->locator)) {
                if (router4 && !gw_ip_eq(request->default_router4, nve->locator))
                        return NULL;
                if (!gw_ip_is_v4(a->from))
                        return router4 ? nve : NULL;
        }
        return gw_ip_eq(nve->locator, a->from) ? nve : NULL;
}

static void take_request(const struct arrival *a) {
        struct nva *nva = a->m->nva;
        struct gw_registration request, answer;
        struct gw_nve *nve;
        uint8_t status;

        if (gw_registration_decode(a->bytes, a->size, a->from, own_address(a), &request)) {
                a->m->count[C_MALFORMED]++;
                gw_log_limited(GW_WARNING, LOG_BURST, "malformed registration: from=%s fault=%s", a->text,
                               gw_registration_fault_word(request.fault));
                return;
        }
        a->m->count[C_REQUESTS]++;
        status = check_replay(a, &request);
        if (status)
                return refuse(a, &request, status);
        nve = sender(a, &request);
        if (!nve)
                return refuse(a, &request, GW_MH_SENDER_NOT_AUTHORIZED);
        if (registrar_take(nva, nve, &request, gw_ms(nva->config.registration_window_ms), &answer))
                return;
        if (request.has & GW_REG_HAS_MESSAGE_ID) {
                answer.has |= GW_REG_HAS_MESSAGE_ID;
                answer.message_id = request.message_id;
        }
        reply(a, &request, &answer);
}

/* --- the others --- */

/* An answer to what the authority itself has sent (notices.c): from an NVE, known by its locator, or from a router. */
static void take_reply(const struct arrival *a) {
        const struct gw_nve *nve = gw_directory_nve(&a->m->nva->directory, a->key->id.s);
        struct gw_registration answer;

        if (gw_registration_decode(a->bytes, a->size, a->from, own_address(a), &answer)) {
                a->m->count[C_MALFORMED]++;
                return;
        }
        a->m->count[C_REPLIES]++;
        notices_take(a->m->nva, nve ? nve->locator : a->from, &answer);
}

static void take_heartbeat(const struct arrival *a) {
        struct gw_upkeep beat;

        if (gw_upkeep_decode(a->bytes, a->size, a->from, own_address(a), &beat)) {
                a->m->count[C_MALFORMED]++;
                return;
        }
        a->m->count[C_HEARTBEATS]++;
        if (beat.flags & GW_MH_HEARTBEAT_RESPONSE)
                return;
        beat = (struct gw_upkeep){.kind = GW_MH_HEARTBEAT,
                                  .flags = GW_MH_HEARTBEAT_RESPONSE,
                                  .sequence = beat.sequence,
                                  .has = GW_UPKEEP_HAS_RESTARTS,
                                  .restarts = (uint32_t)a->m->nva->restart_count};
        mobility_send_upkeep(a->m->nva, a->key, &beat);
}

/* --- authentication --- */

static bool may_answer_forgery(struct nva_mobility *m) {
        uint64_t second = gw_mono_now().ns / GW_NS_PER_S;

        if (second != m->forgeries_s) {
                m->forgeries_s = second;
                m->forgeries = FORGERIES_PER_S;
        }
        return m->forgeries && m->forgeries--;
}

static void forged(const struct arrival *a) {
        struct gw_registration request;

        a->m->count[C_FORGED]++;
        if (a->bytes[2] == GW_MH_BINDING_UPDATE && may_answer_forgery(a->m) &&
            !gw_registration_decode(a->bytes, a->size, a->from, own_address(a), &request))
                refuse(a, &request, GW_MH_AUTH_FAILED);
}

/* Finds the key and tries it. False: the message was dealt with. */
static bool authenticate(struct arrival *a) {
        uint32_t spi;

        if (!gw_keys_has_peer(a->m->keys, a->from)) {
                a->m->count[C_NO_ASSOCIATION]++;
                return false;
        }
        if (!gw_auth_spi(a->bytes, a->size, &spi)) {
                a->m->count[C_UNSIGNED]++;
                return false;
        }
        a->key = gw_keys_find(a->m->keys, a->from, spi);
        if (!a->key) {
                a->m->count[C_NO_ASSOCIATION]++;
                return false;
        }
        if (!gw_auth_verify(a->bytes, a->size, a->from, own_address(a), &a->key->key, gw_keys_mac))
                return true;
        forged(a);
        return false;
}

static void on_message(struct gw_ip from, const uint8_t *bytes, size_t size, void *user) {
        struct arrival a = {.m = user, .from = from, .bytes = bytes, .size = size};

        gw_ip_text(from, a.text);
        if (!authenticate(&a)) {
                gw_log_debug("mobility header not authenticated: from=%s type=%u", a.text, bytes[2]);
                return;
        }
        switch (bytes[2]) {
        case GW_MH_BINDING_UPDATE:
                return take_request(&a);
        case GW_MH_BINDING_ACK:
                return take_reply(&a);
        case GW_MH_HEARTBEAT:
                return take_heartbeat(&a);
        default:
                a.m->count[C_OTHER]++;
        }
}

/* --- life --- */

/* The Requests that follow are the answer, so none is asked for (RFC 7077 section 4.1). The number of starts grows with
 * each of them, so that it is never taken for the one before. */
static void ask_for_all(struct nva_mobility *m) {
        struct gw_upkeep asked = {.kind = GW_MH_UPDATE_NOTIFICATION,
                                  .reason = GW_MH_NOTIFY_REREGISTER,
                                  .sequence = (uint16_t)m->nva->restart_count,
                                  .has = GW_UPKEEP_HAS_GROUP,
                                  .group_subtype = GW_MH_GROUP_BULK,
                                  .group = GW_MH_GROUP_ALL};
        const struct gw_keys_entry *to = NULL;

        while ((to = gw_keys_next_peer(m->keys, to)))
                m->count[C_NOTIFICATIONS_SENT] += !mobility_send_upkeep(m->nva, to, &asked);
}

/* A key that no message can come for, or go to, is most likely a mistake. */
static void warn_of_unreachable(const struct nva_mobility *m) {
        const struct gw_keys_entry *key = NULL;
        char text[GW_IP_TEXT];

        while ((key = gw_keys_next_peer(m->keys, key)))
                if (!gw_mobility_reaches(m->socket, key->peer)) {
                        gw_log(GW_WARNING,
                               "registration-keys line %u is for %s, but registration-listen has no %s address; such "
                               "peers are not heard",
                               key->line, gw_ip_text(key->peer, text), gw_ip_is_v4(key->peer) ? "IPv4" : "IPv6");
                        return;
                }
}

static int open_sockets(struct nva_mobility *m, const struct gw_ip *at, size_t n, struct gw_error *error) {
        char text[GW_IP_TEXT];
        int r = gw_mobility_new(&m->socket, &m->nva->loop, on_message, m);

        if (r < 0)
                return gw_fail(error, r, "", "out of memory");
        for (size_t i = 0; i < n; i++) {
                r = gw_mobility_open(m->socket, at[i], 0);
                if (r < 0)
                        return gw_fail(error, r, "registration-listen", "cannot receive registrations at %s: %s",
                                       gw_ip_text(at[i], text), strerror(-r));
                gw_log(GW_NOTICE, "registrations are received: address=%s keys=%zu", gw_ip_text(at[i], text),
                       gw_keys_count(m->keys));
        }
        return 0;
}

int mobility_listen(struct nva *nva, struct gw_error *error) {
        struct gw_ip at[NVA_REGISTRATION_MAX];
        size_t n = gw_ip_parse_list(nva->config.registration_listen, at, NVA_REGISTRATION_MAX);
        struct nva_mobility *m;
        int r;

        if (!n)
                return 0;
        m = nva->mobility = calloc(1, sizeof *m);
        if (!m || gw_table_init(&m->peers, nva->directory.seed, peer_match) < 0)
                return gw_fail(error, -ENOMEM, "", "out of memory");
        m->nva = nva;
        r = gw_keys_new(&m->keys, nva->config.registration_keys, error);
        if (!r)
                r = open_sockets(m, at, n, error);
        if (r)
                return r;
        warn_of_unreachable(m);
        ask_for_all(m);
        return 0;
}

static void peer_free(struct gw_table_node *node, void *user) {
        (void)user;
        free(gw_container_of(node, struct peer, node));
}

void mobility_close(struct nva *nva) {
        struct nva_mobility *m = nva->mobility;

        if (!m)
                return;
        gw_mobility_free(m->socket);
        gw_keys_free(m->keys);
        gw_table_each(&m->peers, peer_free, NULL);
        gw_table_deinit(&m->peers);
        free(m);
        nva->mobility = NULL;
}

void mobility_reload(struct nva *nva) {
        struct gw_error error = {0};

        if (!nva->mobility)
                return;
        if (gw_keys_reload(nva->mobility->keys, &error)) {
                gw_log(GW_ERR, "the keys stay as they were: %s", error.text);
                return;
        }
        gw_log(GW_NOTICE, "keys were read again: keys=%zu", gw_keys_count(nva->mobility->keys));
        warn_of_unreachable(nva->mobility);
}

json_t *mobility_json(const struct nva *nva) {
        const struct nva_mobility *m = nva->mobility;
        json_t *out;

        if (!m)
                return NULL;
        out = json_object();
        for (int i = 0; i < GW_MOBILITY_COUNTERS; i++)
                json_object_set_new(
                        out, gw_mobility_counter_word((enum gw_mobility_counter)i),
                        json_integer((json_int_t)gw_mobility_count(m->socket, (enum gw_mobility_counter)i)));
        for (int i = 0; i < COUNTERS; i++)
                json_object_set_new(out, counter_words[i], json_integer((json_int_t)m->count[i]));
        return out;
}
