/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What NVEs and hypervisor agents say, handed to the directory, the mover and the
 * lives; and the session that each of them has, kept in its gw_nve.
 *
 * A peer is nobody until its HELLO, whose id must be the name in its certificate;
 * anything else before it, or a second one, ends the session. A newer session of
 * the same id and role replaces the older one: its host has noticed first that the
 * connection was dead. Frames that do not decode end the session with one logged
 * reason; what contradicts management is answered with a status or refused by the
 * directory, which notes it.
 *
 * An agent counts as back when its inventory has come, not before: until then it is
 * not known what it has, and nobody may decide on less.
 */
#include "nva/peers.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "directory/gateway.h"
#include "io/renew.h"
#include "nva/claims.h"
#include "nva/dues.h"
#include "nva/gateway.h"
#include "nva/json.h"
#include "nva/life.h"
#include "nva/mover.h"
#include "nva/notices.h"
#include "nva/registrar.h"
#include "wire/registration.h"

enum {
        SUBSCRIBE_MAX = 16384,     /* VNs of one NVE */
        SUBSCRIBE_LOOKS = 1 << 18, /* over VMs of VNs that it names and is no member of */
        INVENTORY_MAX = 16384,     /* VMs of one host */
        HELLO_DEADLINE_MS = 10000, /* for a session to say who it is */
        LOG_BURST = 200,           /* lines of one kind in 10 s: what a peer says over and over fills no disk */
};

struct nva_peer {
        struct gw_list link;
        struct nva *nva;
        struct gw_session *session;
        struct gw_nve *nve; /* NULL before HELLO, and when replaced */
        struct gw_timer *patience;
        uint8_t role;
        bool known;   /* an agent's inventory has come */
        bool dropped; /* by the authority itself: its end is not the host's doing */
};

/* What a session may call here: nothing. People's calls come over HTTP. */
static const struct gw_route no_routes[] = {{0}};
static const struct gw_api no_api = {.routes = no_routes};

static void send_frame(struct nva_peer *peer, uint8_t type, uint32_t id, const struct gw_writer *w) {
        gw_session_send(peer->session, type, id, w->base + GW_FRAME_HEADER_SIZE, w->at - GW_FRAME_HEADER_SIZE);
}

static void malformed(struct nva_peer *peer, const char *what) {
        gw_log_limited(GW_WARNING, LOG_BURST, "malformed frame: peer=%s frame=%s", gw_session_peer(peer->session),
                       what);
        gw_session_close(peer->session, what);
}

/* --- coming and going --- */

static void **session_slot(struct gw_nve *nve, uint8_t role) {
        return role == GW_ROLE_NVE ? &nve->nve_session : &nve->hv_session;
}

/* What was done for it, from `begun` on. */
static void charge(struct nva *nva, struct gw_nve *nve, uint64_t begun) {
        dues_charge(nve, nva->directory.work - begun, nva->config.frames_per_s, gw_mono_now());
}

/* The peer's NVE is without this session from now on. */
static void part(struct nva_peer *peer) {
        struct nva *nva = peer->nva;
        struct gw_nve *nve = peer->nve;
        uint64_t begun = nva->directory.work;

        if (!nve)
                return;
        peer->nve = NULL;
        *session_slot(nve, peer->role) = NULL;
        gw_log_limited(GW_NOTICE, LOG_BURST, "lost: nve=%s role=%s", nve->id.s,
                       peer->role == GW_ROLE_NVE ? "nve" : "hv");
        if (peer->role == GW_ROLE_NVE) {
                gw_directory_bye(&nva->directory, nve, nva_now());
                if (!peer->dropped)
                        charge(nva, nve, begun);
                mover_acked(nva);
                return;
        }
        gw_directory_nve_hv(&nva->directory, nve, false);
        mover_hv_lost(nva, nve->id.s);
}

static void refuse(struct nva_peer *peer, const char *reason) {
        uint8_t bytes[512];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        gw_log_limited(GW_WARNING, LOG_BURST, "refused: peer=%s reason=\"%s\"", gw_session_peer(peer->session), reason);
        if (gw_bye_encode(&w, reason))
                send_frame(peer, GW_FRAME_BYE, 0, &w);
        gw_session_close(peer->session, reason);
}

static void on_silent(void *user) {
        struct nva_peer *peer = user;

        gw_timer_free(peer->patience);
        peer->patience = NULL;
        if (!peer->nve)
                refuse(peer, "no HELLO in time");
}

static void on_opened(struct gw_session *session, void *user) {
        struct nva_peer *peer = calloc(1, sizeof *peer);

        gw_session_set_user(session, peer);
        if (!peer)
                return gw_session_close(session, "out of memory");
        peer->nva = user;
        peer->session = session;
        gw_list_append(&peer->nva->peers, &peer->link);
        gw_timer_new(&peer->patience, &peer->nva->loop, gw_ms(HELLO_DEADLINE_MS), gw_ms(0), on_silent, peer);
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        struct nva_peer *peer = user;

        if (!peer)
                return;
        gw_log_limited(GW_INFO, LOG_BURST, "session ended: peer=%s reason=\"%s\"", gw_session_peer(session), reason);
        part(peer);
        questions_drop(peer->nva, session);
        gw_list_remove(&peer->link);
        gw_timer_free(peer->patience);
        gw_session_set_user(session, NULL);
        free(peer);
}

void peers_drop(struct gw_nve *nve, const char *reason) {
        struct nva_peer *peer = nve->nve_session ? gw_session_user(nve->nve_session) : NULL;

        if (!peer)
                return;
        peer->dropped = true;
        gw_session_close(peer->session, reason);
}

/* --- HELLO --- */

static void replace_older(struct gw_nve *nve, uint8_t role) {
        struct gw_session *session = *session_slot(nve, role);

        if (!session)
                return;
        part(gw_session_user(session));
        gw_session_close(session, "replaced by a newer session of the same name");
}

/* Its own daemon warns, too; but who looks at every host? */
static void look_at_certificate(const struct nva_peer *peer) {
        struct gw_wall now = gw_wall_now(), until = gw_session_peer_until(peer->session);

        if (until.ns && gw_renewal_stage(now, until))
                gw_log_limited(GW_WARNING, 20, "the certificate of %s ends in %llu hours",
                               gw_session_peer(peer->session),
                               (unsigned long long)(until.ns > now.ns ? (until.ns - now.ns) / gw_s(3600).ns : 0));
}

static void welcome(struct nva_peer *peer, uint32_t id) {
        uint8_t bytes[256];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        look_at_certificate(peer);
        if (gw_welcome_encode(&w, id, &peer->nva->config.common.id, peer->nva->restart_count))
                send_frame(peer, GW_FRAME_WELCOME, id, &w);
}

/* One that comes again and again is refused before that costs anything. */
static bool may_come(struct nva_peer *peer, const struct gw_nve *nve) {
        uint64_t wait_ms = dues_wait_ms(nve, gw_mono_now());
        char text[160];

        if (!wait_ms)
                return true;
        peer->nva->n_early++;
        snprintf(text, sizeof text,
                 "this host has cost too much by coming and going; again in %llu ms (session-frames-per-s)",
                 (unsigned long long)wait_ms);
        refuse(peer, text);
        return false;
}

static void greet_nve(struct nva_peer *peer, uint32_t id, const struct gw_hello *hello) {
        struct nva *nva = peer->nva;
        struct gw_error error = {0};
        struct gw_nve *nve = gw_directory_nve(&nva->directory, hello->id.s);
        uint64_t begun;
        char text[GW_IP_TEXT];

        if (nve && !may_come(peer, nve))
                return;
        if (nve)
                replace_older(nve, GW_ROLE_NVE);
        begun = nva->directory.work;
        if (gw_directory_hello(&nva->directory, hello, nva_now(), &nve, &error))
                return refuse(peer, error.text);
        peer->nve = nve;
        nve->nve_session = peer->session;
        gw_log_limited(GW_NOTICE, LOG_BURST, "here: nve=%s role=nve locator=%s start=%llu", nve->id.s,
                       gw_ip_text(nve->locator, text), (unsigned long long)hello->restart_count);
        welcome(peer, id);
        life_edge_back(nva, nve);
        gateway_tell(nva, nve);
        charge(nva, nve, begun);
}

/* An agent may come before its NVE: the object is made by whichever is first. */
static void greet_hv(struct nva_peer *peer, uint32_t id, const struct gw_hello *hello) {
        struct nva *nva = peer->nva;
        struct gw_error error = {0};
        struct gw_nve *nve = gw_directory_nve(&nva->directory, hello->id.s);

        if (!nve && gw_directory_nve_create(&nva->directory, hello->id.s, NULL, &nve, &error))
                return refuse(peer, error.text);
        replace_older(nve, GW_ROLE_HV);
        peer->nve = nve;
        nve->hv_session = peer->session;
        gw_log_limited(GW_NOTICE, LOG_BURST, "here: nve=%s role=hv start=%llu", nve->id.s,
                       (unsigned long long)hello->restart_count);
        welcome(peer, id);
}

static void on_hello(struct nva_peer *peer, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_hello hello;

        if (peer->nve)
                return refuse(peer, "a second HELLO in one session");
        if (gw_hello_decode(body, size, &hello))
                return malformed(peer, "HELLO");
        if (strcmp(hello.id.s, gw_session_peer(peer->session)))
                return refuse(peer, "HELLO with another id than the certificate's name");
        if (!strcmp(peer->nva->config.admit, "listed") && !gw_directory_nve(&peer->nva->directory, hello.id.s)) {
                peer->nva->n_unlisted++;
                return refuse(peer, "this host is not listed; `godwit nve add` makes it known");
        }
        peer->role = hello.role;
        if (hello.role == GW_ROLE_NVE)
                greet_nve(peer, id, &hello);
        else if (hello.role == GW_ROLE_HV)
                greet_hv(peer, id, &hello);
        else
                refuse(peer, "HELLO with a role that is neither NVE nor HV");
}

/* --- frames of an NVE --- */

static void answer_registration(struct gw_session *session, uint32_t id, struct gw_ip locator,
                                const struct gw_registration *reply) {
        uint8_t message[GW_MH_SIZE_MAX], bytes[GW_MH_SIZE_MAX + 128];
        struct gw_writer m = gw_writer(message, sizeof message), w = gw_writer(bytes, sizeof bytes);
        struct gw_register answer = {.locator = locator, .message = message};

        if (gw_registration_encode(&m, (struct gw_ip){{0}}, locator, reply)) {
                gw_log(GW_ERR, "a registration reply could not be encoded: vm=%s", reply->vm.s);
                return;
        }
        answer.message_size = m.at;
        if (gw_register_encode(&w, GW_FRAME_REGISTERED, id, &answer))
                gw_session_send(session, GW_FRAME_REGISTERED, id, w.base + GW_FRAME_HEADER_SIZE,
                                w.at - GW_FRAME_HEADER_SIZE);
}

void peers_register(struct nva *nva, struct gw_nve *nve, uint32_t id, struct gw_ip locator,
                    const struct gw_registration *request) {
        struct gw_registration reply;
        int r = registrar_take(nva, nve, request, (struct gw_duration){0}, &reply);

        if (r == GW_E_AGAIN)
                mover_keep_early(nva, nve, &(struct nva_early){.id = id, .locator = locator, .request = *request});
        if (!r && nve->nve_session)
                answer_registration(nve->nve_session, id, locator, &reply);
}

static void on_register(struct nva_peer *peer, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_registration request;
        struct gw_register frame;

        if (gw_register_decode(body, size, &frame))
                return malformed(peer, "REGISTER");
        if (gw_registration_decode(frame.message, frame.message_size, frame.locator, (struct gw_ip){{0}}, &request)) {
                gw_log_limited(GW_WARNING, LOG_BURST, "malformed registration: nve=%s fault=%s", peer->nve->id.s,
                               gw_registration_fault_word(request.fault));
                return gw_session_close(peer->session, "malformed registration");
        }
        peers_register(peer->nva, peer->nve, id, frame.locator, &request);
}

/* The answer to a Request of the management node. */
static void on_registered(struct nva_peer *peer, const uint8_t *body, size_t size) {
        struct gw_registration reply;
        struct gw_register frame;

        if (gw_register_decode(body, size, &frame) ||
            gw_registration_decode(frame.message, frame.message_size, frame.locator, (struct gw_ip){{0}}, &reply))
                return malformed(peer, "REGISTERED");
        notices_take(peer->nva, peer->nve->locator, &reply);
}

static void on_query(struct nva_peer *peer, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_query query;

        if (gw_query_decode(body, size, &query))
                return malformed(peer, "QUERY");
        questions_add(peer->nva, peer->session, peer->nve, id, &query);
}

/* Those VNs in which the NVE has business: it is a member, or a VM was there (what it redirects may outlast its
 * membership). To be a member is to get a VN's broadcasts and to be told where its VMs are: no NVE makes itself one. */
static size_t allowed_vnis(struct nva_peer *peer, uint32_t *vnis, size_t n) {
        struct gw_directory *d = &peer->nva->directory;
        uint64_t begun = d->work;
        size_t kept = 0;

        for (size_t i = 0; i < n; i++) {
                const struct gw_vn *vn = gw_directory_vn_by_vni(d, vnis[i]);
                bool look = d->work - begun < SUBSCRIBE_LOOKS;

                if (vn &&
                    (gw_directory_is_member(d, vn, peer->nve) || (look && gw_directory_vn_was_at(d, vn, peer->nve))))
                        vnis[kept++] = vnis[i];
                else
                        gw_log_limited(GW_WARNING, 20, "refused: nve=%s subscribes to VNI %u, where it has no VM",
                                       peer->nve->id.s, vnis[i]);
        }
        return kept;
}

/* A SUBSCRIBE's report of what is there. */
static void on_attached(struct nva_peer *peer, const uint8_t *body, size_t size) {
        struct gw_attached *attached = calloc(SUBSCRIBE_MAX, sizeof *attached);
        size_t n = 0;

        if (!attached || !peer->nve)
                goto out;
        if (gw_attached_decode(body, size, attached, SUBSCRIBE_MAX, &n))
                malformed(peer, "SUBSCRIBE");
        else
                gw_directory_attached(&peer->nva->directory, peer->nve, attached, n, nva_now());
out:
        free(attached);
}

static void on_subscribe(struct nva_peer *peer, const uint8_t *body, size_t size) {
        uint32_t *vnis = malloc(SUBSCRIBE_MAX * sizeof *vnis);
        size_t n = 0;

        if (!vnis)
                return gw_session_close(peer->session, "out of memory");
        if (gw_subscribe_decode(body, size, vnis, SUBSCRIBE_MAX, &n))
                malformed(peer, "SUBSCRIBE");
        else
                gw_directory_subscribe(&peer->nva->directory, peer->nve, vnis, allowed_vnis(peer, vnis, n), nva_now());
        free(vnis);
        on_attached(peer, body, size);
}

static void on_digest(struct nva_peer *peer, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_digest *digest = malloc(sizeof *digest);

        if (!digest)
                return;
        if (gw_digest_decode(body, size, digest))
                malformed(peer, "DIGEST");
        else
                gw_directory_digest(&peer->nva->directory, peer->nve, id, digest, nva_now());
        free(digest);
}

static void on_held(struct nva_peer *peer, uint32_t id, const uint8_t *body, size_t size) {
        struct gw_held *held = malloc(sizeof *held);

        if (!held)
                return;
        if (gw_held_decode(body, size, held))
                malformed(peer, "HELD");
        else
                gw_directory_held(&peer->nva->directory, peer->nve, id, held, nva_now());
        free(held);
}

static void on_absence(struct nva_peer *peer, const uint8_t *body, size_t size) {
        struct gw_absence absence;

        if (gw_absence_decode(body, size, &absence))
                return malformed(peer, "ABSENCE");
        gw_directory_absence(&peer->nva->directory, peer->nve, &absence, nva_now());
}

static void on_paths(struct nva_peer *peer, const struct gw_report *report) {
        gw_directory_unreached(peer->nve, report->locators, report->n_locators);
        gw_log_limited(GW_NOTICE, LOG_BURST, "nve=%s: %u gateways do not answer it", peer->nve->id.s,
                       report->n_locators);
}

static void on_report(struct nva_peer *peer, const uint8_t *body, size_t size) {
        struct gw_report *report = malloc(sizeof *report);

        if (!report)
                return;
        if (gw_report_decode(body, size, report))
                malformed(peer, "REPORT");
        else if (report->kind == GW_REPORT_PATHS)
                on_paths(peer, report);
        else if (report->kind == GW_REPORT_CLAIM)
                claims_heard(peer->nva, peer->nve, report->vm.s);
        else if (!gw_directory_report(&peer->nva->directory, peer->nve, report, nva_now()) &&
                 report->kind == GW_REPORT_REDIRECT_ENDED)
                mover_redirect_ended(peer->nva, peer->nve->id.s, report);
        free(report);
}

static void nve_frame(struct nva_peer *peer, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        if (type != GW_FRAME_QUERY)
                questions_answer(peer->nva);
        switch (type) {
        case GW_FRAME_REGISTER:
                return on_register(peer, id, body, size);
        case GW_FRAME_REGISTERED:
                return on_registered(peer, body, size);
        case GW_FRAME_QUERY:
                return on_query(peer, id, body, size);
        case GW_FRAME_SUBSCRIBE:
                return on_subscribe(peer, body, size);
        case GW_FRAME_REPORT:
                return on_report(peer, body, size);
        case GW_FRAME_UPDATE_ACK:
                gw_directory_ack(&peer->nva->directory, peer->nve, id, nva_now());
                return mover_acked(peer->nva);
        case GW_FRAME_DIGEST:
                return on_digest(peer, id, body, size);
        case GW_FRAME_HELD:
                return on_held(peer, id, body, size);
        case GW_FRAME_ABSENCE:
                return on_absence(peer, body, size);
        default:
                if (type < GW_FRAME_END)
                        return refuse(peer, "a frame that an NVE may not send");
                peer->nva->n_skipped++; /* of a later version */
        }
}

static void charged_frame(struct nva_peer *peer, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        uint64_t begun = peer->nva->directory.work;
        struct gw_nve *nve = peer->nve;
        struct nva *nva = peer->nva;

        nve_frame(peer, type, id, body, size);
        charge(nva, nve, begun);
}

static void on_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                     void *user) {
        struct nva_peer *peer = user;
        struct nva *nva;
        uint64_t begun;

        if (!peer)
                return;
        nva = peer->nva;
        begun = nva->directory.work;
        if (type == GW_FRAME_HELLO)
                on_hello(peer, id, body, size);
        else if (type == GW_FRAME_BYE)
                gw_session_close(peer->session, "the peer said BYE");
        else if (!peer->nve)
                refuse(peer, "the first frame must be HELLO");
        else if (peer->role == GW_ROLE_NVE)
                charged_frame(peer, type, id, body, size);
        else
                refuse(peer, "a frame that a hypervisor agent may not send");
        gw_session_charge(session, (nva->directory.work - begun) / DUES_WORK_OF_FRAME);
}

/* --- events of an agent --- */

static void read_capacity(struct nva_peer *peer, json_t *capacity) {
        json_int_t memory_mib = json_integer_value(json_object_get(capacity, "memory_mib"));
        json_int_t vcpus = json_integer_value(json_object_get(capacity, "vcpus"));

        if (memory_mib > 0 && memory_mib <= UINT32_MAX && vcpus > 0 && vcpus <= UINT32_MAX)
                gw_directory_nve_capacity(&peer->nva->directory, peer->nve, (uint32_t)memory_mib, (uint32_t)vcpus);
}

static void on_inventory(struct nva_peer *peer, json_t *event) {
        struct nva *nva = peer->nva;
        json_t *vms = json_object_get(event, "vms");

        if (!json_is_array(vms))
                return malformed(peer, "inventory without vms");
        if (json_array_size(vms) > INVENTORY_MAX)
                return malformed(peer, "inventory of more VMs than a host has");
        read_capacity(peer, json_object_get(event, "capacity"));
        peer->nve->modes = (uint8_t)gw_modes_read(json_object_get(event, "modes"));
        gw_directory_nve_hv(&nva->directory, peer->nve, true);
        peer->known = true;
        mover_hv_back(nva, peer->nve->id.s, vms,
                      (struct gw_wall){(uint64_t)json_integer_value(json_object_get(event, "at_ns"))});
        life_inventory(nva, peer->nve, vms);
}

static void on_event(struct gw_session *session, json_t *event, void *user) {
        struct nva_peer *peer = user;
        const char *name = nva_json_text(event, "event");
        struct gw_vm *vm;

        (void)session;
        if (!peer)
                return;
        if (!peer->nve || peer->role != GW_ROLE_HV)
                return refuse(peer, "an event from one who may send none");
        gw_log_debug("event: nve=%s event=%s vm=%s", peer->nve->id.s, name, nva_json_text(event, "vm"));
        if (!strcmp(name, "inventory"))
                return on_inventory(peer, event);
        if (mover_event(peer->nva, peer->nve->id.s, name, event))
                return;
        vm = gw_directory_vm(&peer->nva->directory, nva_json_text(event, "vm"));
        if (vm && !strcmp(name, "vm-state"))
                life_state(peer->nva, peer->nve, vm, nva_json_text(event, "state"), nva_json_text(event, "reason"));
        else if (vm && !strcmp(name, "move-failed") && vm->state != GW_VM_PAUSED &&
                 json_is_true(json_object_get(event, "running")))
                life_state(peer->nva, peer->nve, vm, "running", "");
}

static void on_settled(struct gw_session *session, void *user) {
        struct nva_peer *peer = user;

        (void)session;
        if (peer)
                questions_answer(peer->nva);
}

static const struct gw_session_ops session_ops = {
        .opened = on_opened, .frame = on_frame, .settled = on_settled, .event = on_event, .closed = on_closed};

int peers_listen(struct nva *nva) {
        struct gw_listener_limits limits = GW_LISTENER_LIMITS;
        int r = gw_listener_new_tls(&nva->listener, &nva->loop, &nva->config.listen, nva->tls, &session_ops, &no_api,
                                    nva);

        if (r < 0)
                return r;
        limits.handshakes = nva->config.handshakes;
        limits.handshakes_per_address = nva->config.handshakes / 4;
        limits.sessions_per_address = nva->config.sessions_per_address;
        limits.frames_per_s = nva->config.frames_per_s;
        gw_listener_limit(nva->listener, &limits);
        return 0;
}

void peers_close(struct nva *nva) {
        gw_listener_free(nva->listener);
        nva->listener = NULL;
        if (!nva->peers.next)
                return;
        gw_list_for_each (link, &nva->peers) {
                struct nva_peer *peer = gw_list_entry(link, struct nva_peer, link);

                gw_list_remove(link);
                gw_timer_free(peer->patience);
                free(peer);
        }
}
