/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: both ends in one loop, over a unix socket and over TLS on loopback;
 * and a bare socket as the peer where the peer has to misbehave.
 */
#include "io_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cursor.h"
#include "base/error.h"
#include "io/api.h"
#include "io/session.h"
#include "io/session_impl.h"
#include "wire/frame.h"

enum { USER_FRAME = GW_FRAME_REPORT };

/* One end as the tests see it. */
struct side {
        struct fixture *f;
        struct gw_session *session; /* the present one */
        unsigned opened, closed, frames, events;
        uint64_t octets;
        uint32_t last_id;
        bool in_order;
        char reason[200], peer[64];
        struct gw_request *kept;
        const char *free_in; /* "opened", "event": frees its session there */
        int commits;
};

static void maybe_free(struct side *side, const char *where) {
        if (!side->free_in || strcmp(side->free_in, where) != 0)
                return;
        gw_session_free(side->session);
        side->session = NULL;
}

static void on_opened(struct gw_session *session, void *user) {
        struct side *side = user;

        side->opened++;
        side->session = session;
        snprintf(side->peer, sizeof side->peer, "%s", gw_session_peer(session));
        maybe_free(side, "opened");
}

static void on_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                     void *user) {
        struct side *side = user;

        (void)session;
        if (type != USER_FRAME)
                return;
        if (id != side->last_id + 1 || (size && (body[0] != (uint8_t)id || body[size - 1] != (uint8_t)id)))
                side->in_order = false;
        side->last_id = id;
        side->frames++;
        side->octets += size;
}

static void on_event(struct gw_session *session, json_t *event, void *user) {
        struct side *side = user;

        (void)session;
        (void)event;
        side->events++;
        maybe_free(side, "event");
}

static void on_closed(struct gw_session *session, const char *reason, void *user) {
        struct side *side = user;

        (void)session;
        side->closed++;
        snprintf(side->reason, sizeof side->reason, "%s", reason);
        maybe_free(side, "closed");
}

static const struct gw_session_ops ops = {on_opened, on_frame, on_event, on_closed};

static void serve_echo(struct gw_request *request, void *user) {
        struct side *side = user;

        (void)side;
        gw_request_answer(request, 200,
                          json_pack("{sO ss ss}", "body", gw_request_body(request), "peer", gw_request_peer(request),
                                    "vm", gw_request_param(request, "vm")));
}

static void serve_keep(struct gw_request *request, void *user) {
        struct side *side = user;

        side->kept = request;
}

/* Writes its place to each descriptor that came. */
static void serve_fds(struct gw_request *request, void *user) {
        size_t n = gw_request_n_fds(request);

        (void)user;
        for (size_t i = 0; i + 1 < n; i++) { /* the last one is left for the library to close */
                int fd = gw_request_take_fd(request, i);

                assert_int_equal(write(fd, &"0123456789"[i], 1), 1);
                close(fd);
                assert_int_equal(gw_request_take_fd(request, i), -1);
        }
        gw_request_answer(request, 200, json_pack("{si}", "n", (int)n));
}

static void serve_large(struct gw_request *request, void *user) {
        char *text = malloc(GW_FRAME_MAX);

        (void)user;
        memset(text, 'x', GW_FRAME_MAX - 1);
        text[GW_FRAME_MAX - 1] = 0;
        gw_request_answer(request, 200, json_pack("{ss}", "text", text));
        free(text);
}

static const struct gw_route routes[] = {{"POST", "/echo/{vm}", serve_echo},
                                         {"POST", "/keep", serve_keep},
                                         {"POST", "/fds", serve_fds},
                                         {"GET", "/large", serve_large},
                                         {0}};

struct pair {
        struct fixture *f;
        struct side server, client;
        struct gw_api server_api, client_api;
        struct gw_listener *listener;
        struct gw_endpoint at;
};

static void pair_init(struct pair *p, struct fixture *f) {
        memset(p, 0, sizeof *p);
        p->f = p->server.f = p->client.f = f;
        p->server.in_order = p->client.in_order = true;
        p->server_api = (struct gw_api){routes, &p->server};
        p->client_api = (struct gw_api){routes, &p->client};
}

static void listen_unix(struct pair *p) {
        assert_int_equal(gw_listener_new_unix(&p->listener, &p->f->loop, fixture_path(p->f, "agent"), &ops,
                                              &p->server_api, &p->server),
                         0);
}

static void dial_unix(struct pair *p) {
        assert_int_equal(gw_session_dial_unix(&p->client.session, &p->f->loop, fixture_path(p->f, "agent"), &ops,
                                              &p->client_api, &p->client),
                         0);
}

static void listen_tls(struct pair *p, const char *at, struct gw_tls *tls) {
        assert_int_equal(gw_endpoint_parse(at, &p->at), 0);
        p->at.port = 0;
        assert_int_equal(gw_listener_new_tls(&p->listener, &p->f->loop, &p->at, tls, &ops, &p->server_api, &p->server),
                         0);
        p->at = gw_listener_endpoint(p->listener);
}

static void dial_tls(struct pair *p, struct gw_tls *tls, const char *name) {
        assert_int_equal(gw_session_dial_tls(&p->client.session, &p->f->loop, &p->at, 1, name, tls, &ops,
                                             &p->client_api, &p->client),
                         0);
}

static bool both_open(void *user) {
        struct pair *p = user;

        return p->server.opened && p->client.opened;
}

static void open_unix(struct pair *p, struct fixture *f) {
        pair_init(p, f);
        listen_unix(p);
        dial_unix(p);
        fixture_spin(f, both_open, p);
}

static void open_tls(struct pair *p, struct fixture *f) {
        pair_init(p, f);
        listen_tls(p, "127.0.0.1:1", f->nva);
        dial_tls(p, f->nve, "nva-1");
        fixture_spin(f, both_open, p);
}

static void pair_deinit(struct pair *p) {
        gw_session_free(p->client.session);
        gw_listener_free(p->listener);
}

struct outcome {
        unsigned times;
        int status;
        json_t *body;
        bool done;
        struct side *side; /* frees its session */
};

static void on_done(int status, json_t *body, void *user) {
        struct outcome *outcome = user;

        outcome->times++;
        outcome->status = status;
        json_decref(outcome->body);
        outcome->body = json_incref(body);
        outcome->done = true;
        if (outcome->side)
                maybe_free(outcome->side, "done");
}

static void call(struct pair *p, struct gw_session *session, const char *path, json_t *body, struct outcome *outcome) {
        *outcome = (struct outcome){0};
        gw_call(session, "POST", path, body, gw_s(5), on_done, outcome);
        assert_int_equal(outcome->times, 0); /* never at once */
        fixture_spin_until(p->f, &outcome->done);
}

static void check_echo(struct pair *p, struct gw_session *session, const char *peer) {
        struct outcome outcome;

        call(p, session, "/echo/web%40blue?x=1", json_pack("{si}", "n", 7), &outcome);
        assert_int_equal(outcome.status, 200);
        assert_string_equal(json_string_value(json_object_get(outcome.body, "peer")), peer);
        assert_string_equal(json_string_value(json_object_get(outcome.body, "vm")), "web@blue");
        assert_int_equal(json_integer_value(json_object_get(json_object_get(outcome.body, "body"), "n")), 7);
        json_decref(outcome.body);
}

static void calls_go_both_ways(void **state) {
        struct pair p;

        open_unix(&p, *state);
        assert_string_equal(p.server.peer, "unix");
        check_echo(&p, p.client.session, "unix");
        check_echo(&p, p.server.session, "unix");
        pair_deinit(&p);
}

static void calls_go_both_ways_over_tls(void **state) {
        static const char *const families[] = {"127.0.0.1:1", "[::1]:1"};
        struct fixture *f = *state;

        for (int i = 0; i < 2; i++) {
                struct pair p;

                pair_init(&p, f);
                listen_tls(&p, families[i], f->nva);
                dial_tls(&p, f->nve, i ? "::1" : "nva-1");
                fixture_spin(f, both_open, &p);
                assert_string_equal(p.server.peer, "h1");
                assert_string_equal(p.client.peer, "nva-1");
                check_echo(&p, p.client.session, "h1");
                check_echo(&p, p.server.session, "nva-1");
                pair_deinit(&p);
        }
}

static void unknown_paths_and_methods(void **state) {
        struct outcome outcome;
        struct pair p;

        open_unix(&p, *state);
        call(&p, p.client.session, "/none", NULL, &outcome);
        assert_int_equal(outcome.status, 404);
        json_decref(outcome.body);
        call(&p, p.client.session, "/large", NULL, &outcome);
        assert_int_equal(outcome.status, 405);
        json_decref(outcome.body);
        pair_deinit(&p);
}

static void what_no_frame_holds(void **state) {
        char *text = calloc(1, GW_FRAME_MAX);
        struct outcome outcome = {0};
        struct pair p;

        open_unix(&p, *state);
        gw_call(p.client.session, "GET", "/large", NULL, gw_s(5), on_done, &outcome);
        fixture_spin_until(*state, &outcome.done);
        assert_int_equal(outcome.status, 500);
        json_decref(outcome.body);
        memset(text, 'x', GW_FRAME_MAX - 1);
        call(&p, p.client.session, "/echo/x", json_pack("{ss}", "text", text), &outcome);
        assert_int_equal(outcome.status, 413);
        assert_int_equal(gw_session_send(p.client.session, USER_FRAME, 1, text, GW_FRAME_MAX - 11), -EMSGSIZE);
        free(text);
        check_echo(&p, p.client.session, "unix");
        pair_deinit(&p);
}

static void descriptors_travel(void **state) {
        struct outcome outcome = {0};
        int pipes[4][2], writers[4];
        struct pair p;
        char c;

        open_unix(&p, *state);
        for (int i = 0; i < 4; i++) {
                assert_int_equal(pipe(pipes[i]), 0);
                writers[i] = pipes[i][1];
        }
        /* Frames around it, so that its octets and theirs are read together. */
        gw_session_send_event(p.client.session, json_object());
        gw_call_with_fds(p.client.session, "POST", "/fds", NULL, writers, 4, gw_s(5), on_done, &outcome);
        for (int i = 0; i < 4; i++)
                close(writers[i]);
        gw_call_with_fds(p.client.session, "POST", "/fds", NULL, &pipes[0][0], 1, gw_s(5), on_done, &outcome);
        gw_session_send_event(p.client.session, json_object());
        while (outcome.times < 2 || p.server.events < 2)
                sd_event_run(p.f->loop.event, 1000);
        for (int i = 0; i < 4; i++) {
                assert_int_equal(read(pipes[i][0], &c, 1), i < 3 ? 1 : 0);
                if (i < 3)
                        assert_int_equal(c, '0' + i);
                assert_int_equal(read(pipes[i][0], &c, 1), 0); /* no copy is left open */
                close(pipes[i][0]);
        }
        assert_int_equal(outcome.status, 200);
        json_decref(outcome.body);
        assert_int_equal(p.server.closed, 0);
        pair_deinit(&p);
}

/* 64 MiB in frames of very different sizes, keeping the queue short of its bound. */
static void stream_frames(struct pair *p) {
        static uint8_t body[GW_FRAME_MAX];
        uint64_t sent = 0;
        uint32_t id = 0;

        while (p->server.octets < 64u << 20) {
                while (sent < 64u << 20 && sent - p->server.octets < 8u << 20) {
                        size_t size = id % 5 == 0 ? GW_FRAME_MAX - GW_FRAME_HEADER_SIZE : id * 7919u % 70000;

                        memset(body, (uint8_t)++id, size);
                        assert_int_equal(gw_session_send(p->client.session, USER_FRAME, id, body, size), 0);
                        sent += size;
                }
                sd_event_run(p->f->loop.event, 1000000);
                assert_int_equal(p->server.closed + p->client.closed, 0);
        }
        assert_true(p->server.in_order);
        assert_int_equal(p->server.frames, id);
        assert_int_equal(p->server.octets, sent);
}

static void many_octets(void **state) {
        struct pair p;

        open_unix(&p, *state);
        stream_frames(&p);
        pair_deinit(&p);
}

/* Bursts about as long as one turn of reading: nothing may stay behind inside the TLS library. */
static void stream_bursts(struct pair *p) {
        static uint8_t body[300000];
        uint32_t id = p->server.last_id;

        for (size_t size = 220000; size < sizeof body; size += 1009) {
                uint64_t until = p->server.octets + size;
                struct gw_mono deadline = gw_mono_after(gw_mono_now(), gw_s(2));

                memset(body, (uint8_t)++id, size);
                assert_int_equal(gw_session_send(p->client.session, USER_FRAME, id, body, size), 0);
                while (p->server.octets < until) {
                        sd_event_run(p->f->loop.event, 1000);
                        assert_false(gw_mono_reached(gw_mono_now(), deadline));
                }
        }
}

static void many_octets_over_tls(void **state) {
        struct pair p;

        open_tls(&p, *state);
        stream_frames(&p);
        stream_bursts(&p);
        pair_deinit(&p);
}

static void deadlines_pass(void **state) {
        struct outcome outcome = {0};
        struct pair p;

        open_unix(&p, *state);
        gw_call(p.client.session, "POST", "/keep", NULL, gw_ms(30), on_done, &outcome);
        fixture_spin_until(*state, &outcome.done);
        assert_int_equal(outcome.status, 504);
        assert_non_null(p.server.kept);
        gw_request_answer(p.server.kept, 200, NULL); /* too late: dropped */
        fixture_spin_ms(*state, 20);
        assert_int_equal(outcome.times, 1);
        check_echo(&p, p.client.session, "unix");
        pair_deinit(&p);
}

static void a_lost_session_answers_its_calls(void **state) {
        struct outcome outcome = {0}, down;
        struct pair p;

        open_unix(&p, *state);
        gw_call(p.client.session, "POST", "/keep", NULL, gw_s(30), on_done, &outcome);
        while (!p.server.kept)
                sd_event_run(p.f->loop.event, 1000);
        gw_session_close(p.server.session, "tested enough");
        assert_false(gw_session_is_open(p.server.session));
        assert_int_equal(p.server.closed, 0);
        while (!p.server.closed || !p.client.closed)
                sd_event_run(p.f->loop.event, 1000);
        assert_int_equal(outcome.status, 503);
        assert_int_equal(outcome.times, 1);
        assert_string_equal(p.client.reason, "the peer ended it: tested enough");
        call(&p, p.client.session, "/echo/x", NULL, &down); /* down now: answered all the same */
        assert_int_equal(down.status, 503);
        while (p.client.opened < 2)
                sd_event_run(p.f->loop.event, 1000);
        gw_request_answer(p.server.kept, 200, NULL); /* of the first connection: goes nowhere */
        check_echo(&p, p.client.session, "unix");
        assert_int_equal(outcome.times, 1);
        pair_deinit(&p);
}

/* The ids of calls begin again with each accepted session. */
static void an_answer_stays_with_its_connection(void **state) {
        struct outcome first = {0}, second = {0};
        struct gw_request *old;
        struct pair p;

        open_unix(&p, *state);
        gw_call(p.server.session, "POST", "/keep", NULL, gw_s(30), on_done, &first);
        while (!p.client.kept)
                sd_event_run(p.f->loop.event, 1000);
        old = p.client.kept;
        p.client.kept = NULL;
        gw_session_close(p.server.session, "again");
        while (p.server.opened < 2)
                sd_event_run(p.f->loop.event, 1000);
        assert_int_equal(first.status, 503);
        gw_call(p.server.session, "POST", "/keep", NULL, gw_s(30), on_done, &second);
        while (!p.client.kept)
                sd_event_run(p.f->loop.event, 1000);
        gw_request_answer(old, 299, NULL);
        fixture_spin_ms(*state, 20);
        assert_int_equal(second.times, 0);
        gw_request_answer(p.client.kept, 200, NULL);
        fixture_spin_until(*state, &second.done);
        assert_int_equal(second.status, 200);
        pair_deinit(&p);
}

static void freeing_inside_callbacks(void **state) {
        static const char *const where[] = {"opened", "event", "closed", "done"};
        struct fixture *f = *state;

        for (int i = 0; i < 4; i++) {
                struct outcome outcome = {0};
                struct pair p;

                pair_init(&p, f);
                p.client.free_in = where[i];
                outcome.side = &p.client;
                listen_unix(&p);
                dial_unix(&p);
                while (!p.server.opened)
                        sd_event_run(f->loop.event, 1000);
                gw_session_send_event(p.server.session, json_object());
                gw_session_send_event(p.server.session, json_object());
                if (p.client.session)
                        gw_call(p.client.session, "POST", "/keep", NULL, gw_s(9), on_done, &outcome);
                fixture_spin_ms(f, 20);
                if (p.server.session && !p.server.closed)
                        gw_session_close(p.server.session, "over");
                while (p.client.session)
                        sd_event_run(f->loop.event, 1000);
                fixture_spin_ms(f, 20);
                assert_in_range(outcome.times, i == 0 ? 0 : 1, 1);
                if (p.server.kept)
                        gw_request_answer(p.server.kept, 200, NULL);
                pair_deinit(&p);
        }
}

static void calls_of_a_freed_session_are_answered(void **state) {
        struct outcome outcome = {0};
        struct pair p;

        open_unix(&p, *state);
        gw_call(p.client.session, "POST", "/keep", NULL, gw_s(9), on_done, &outcome);
        gw_session_free(p.client.session);
        p.client.session = NULL;
        assert_int_equal(outcome.times, 0);
        fixture_spin_until(*state, &outcome.done);
        assert_int_equal(outcome.status, 503);
        pair_deinit(&p);
}

static void dialling_goes_on_until_somebody_listens(void **state) {
        struct pair p;

        pair_init(&p, *state);
        dial_unix(&p);
        fixture_spin_ms(*state, 120);
        assert_int_equal(p.client.opened, 0);
        listen_unix(&p);
        fixture_spin(*state, both_open, &p);
        check_echo(&p, p.client.session, "unix");
        gw_listener_free(p.listener);
        while (!p.client.closed)
                sd_event_run(p.f->loop.event, 1000);
        listen_unix(&p);
        while (p.client.opened < 2)
                sd_event_run(p.f->loop.event, 1000);
        pair_deinit(&p);
}

/* The agent of a host has its VMs' network from it: it is there again within a moment after its restart, however often that was. */
static void a_peer_of_this_host_is_never_tried_seldom(void **state) {
        struct gw_dial local = {.path = (char *)"agent", .backoff_ms = 50};
        struct gw_dial far = {.to = calloc(1, sizeof *far.to), .n_to = 1, .backoff_ms = 100};
        struct gw_session s = {.dial = &local};

        (void)state;
        for (int i = 0; i < 20; i++)
                gw_dial_again(&s, i % 2, gw_ms(10), "refused");
        assert_true(gw_mono_between(gw_mono_now(), local.due).ns <= gw_ms(50).ns);
        s.dial = &far;
        for (int i = 0; i < 20; i++)
                gw_dial_again(&s, false, gw_ms(0), "refused");
        assert_true(gw_mono_between(gw_mono_now(), far.due).ns > gw_ms(2000).ns);
        free(far.to);
}

static void endpoints_are_tried_in_turn(void **state) {
        struct fixture *f = *state;
        struct gw_endpoint to[2];
        struct pair p;

        pair_init(&p, f);
        listen_tls(&p, "127.0.0.1:1", f->nva);
        assert_int_equal(gw_endpoint_parse("127.0.0.1:1", &to[0]), 0);
        to[1] = p.at;
        assert_int_equal(
                gw_session_dial_tls(&p.client.session, &f->loop, to, 2, "nva-1", f->nve, &ops, NULL, &p.client), 0);
        fixture_spin(f, both_open, &p);
        pair_deinit(&p);
}

/* Whoever is refused never counts as open, at either end. */
static void check_refused(struct fixture *f, struct gw_tls *server, struct gw_tls *client, const char *name) {
        struct pair p;

        pair_init(&p, f);
        listen_tls(&p, "127.0.0.1:1", server);
        dial_tls(&p, client, name);
        fixture_spin_ms(f, 200);
        assert_int_equal(p.server.opened + p.client.opened, 0);
        assert_int_equal(p.server.closed + p.client.closed, 0);
        pair_deinit(&p);
}

static void strangers_are_refused(void **state) {
        struct fixture *f = *state;

        check_refused(f, f->nva, f->stranger, NULL);
        check_refused(f, f->stranger, f->nve, NULL);
        check_refused(f, f->nva, f->nve, "nva-2");
        check_refused(f, f->nva, f->nve, "10.0.0.1");
        check_refused(f, f->nve, f->nva, NULL); /* an NVE's certificate is not good for serving */
}

static int connect_bare(struct fixture *f) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, fixture_path(f, "agent"));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        return fd;
}

static int bare_peer(struct pair *p, struct fixture *f) {
        int fd;

        pair_init(p, f);
        listen_unix(p);
        fd = connect_bare(f);
        while (!p->server.opened)
                sd_event_run(f->loop.event, 1000);
        return fd;
}

static void a_peer_dies_inside_a_frame(void **state) {
        struct pair p;
        int fd = bare_peer(&p, *state);

        assert_int_equal(write(fd, "\0\0\1\0\1\x0c", 6), 6);
        close(fd);
        while (!p.server.closed)
                sd_event_run(p.f->loop.event, 1000);
        assert_string_equal(p.server.reason, "the peer closed");
        pair_deinit(&p);
}

static void a_peer_that_does_not_read(void **state) {
        static uint8_t body[1000000];
        struct pair p;
        int fd = bare_peer(&p, *state), r = 0, sent = 0;

        while (r == 0 && sent++ < 200) {
                sd_event_run(p.f->loop.event, 0);
                r = gw_session_send(p.server.session, USER_FRAME, 1, body, sizeof body);
        }
        assert_int_equal(r, -ENOBUFS);
        assert_in_range(sent, 60, 70);
        assert_int_equal(p.server.closed, 0);
        while (!p.server.closed)
                sd_event_run(p.f->loop.event, 1000);
        assert_non_null(strstr(p.server.reason, "does not read"));
        close(fd);
        pair_deinit(&p);
}

struct bytes {
        uint8_t b[256];
        size_t n;
};

static struct bytes frame(uint8_t type, const char *body, size_t size) {
        struct bytes out;
        struct gw_writer w = gw_writer(out.b, sizeof out.b);

        gw_frame_header_encode(&w, &(struct gw_frame_header){(uint32_t)(12 + size), 1, type, 9});
        gw_put_bytes(&w, body, size);
        out.n = w.at;
        return out;
}

#define METHOD "\1\0\0\0\0\4POST"
#define PATH "\1\1\0\0\0\5/keep"
#define text(t) t, sizeof t - 1

static void malformed_frames_end_the_session(void **state) {
        static const struct {
                uint8_t type;
                const char *body;
                size_t size;
        } bodies[] = {
                {GW_FRAME_CALL, text("")},
                {GW_FRAME_CALL, text(METHOD)},
                {GW_FRAME_CALL, text(PATH)},
                {GW_FRAME_CALL, text(METHOD METHOD PATH)},
                {GW_FRAME_CALL, text(METHOD PATH "\1\4\0\0\0\2\0\1")}, /* a descriptor that did not come */
                {GW_FRAME_CALL, text(METHOD PATH "\1\4\0\0\0\2\xff\xff")},
                {GW_FRAME_CALL, text(METHOD PATH "\1\4\0\0\0\1\1")},
                {GW_FRAME_CALL, text(METHOD "\1\1\0\0\0\5/k\0ep")},
                {GW_FRAME_CALL, text(METHOD "\1\1\0\0\0\0")},
                {GW_FRAME_CALL, text(METHOD PATH "\7\7\0\0\0\2x")}, /* past the end */
                {GW_FRAME_CALL, text(METHOD PATH "\7\7\xff\xff\xff\xff")},
                {GW_FRAME_CALL, text(METHOD PATH "\7")},
                {GW_FRAME_ANSWER, text("")},
                {GW_FRAME_ANSWER, text("\1\3\0\0\0\2\0\1")}, /* not an HTTP status */
                {GW_FRAME_ANSWER, text("\1\3\0\0\0\2\0\xc8\1\2\0\0\0\1{")},
                {GW_FRAME_EVENT, text("")},
                {GW_FRAME_EVENT, text("\1\2\0\0\0\1{")},
                {GW_FRAME_EVENT, text("\1\2\0\0\0\2\xff\xff")},
        };
        static const char *const headers[] = {"\0\0\0\x0b\1\x0f\0\0\0\0\0\1", "\0\0\0\0\1\x0f\0\0\0\0\0\1",
                                              "\0\x10\0\1\1\x0f\0\0\0\0\0\1", "\0\0\0\x0c\2\x0f\0\0\0\0\0\1",
                                              "\0\0\0\x0c\1\x0f\0\1\0\0\0\1", "\xff\xff\xff\xff\1\x0f\0\0\0\0\0\1"};
        size_t n_bodies = sizeof bodies / sizeof bodies[0], n_headers = sizeof headers / sizeof headers[0];

        for (size_t i = 0; i < n_bodies + n_headers; i++) {
                struct bytes bytes;
                struct pair p;
                int fd = bare_peer(&p, *state);

                if (i < n_bodies)
                        bytes = frame(bodies[i].type, bodies[i].body, bodies[i].size);
                else
                        memcpy(bytes.b, headers[i - n_bodies], bytes.n = 12);
                assert_int_equal(write(fd, bytes.b, bytes.n), bytes.n);
                while (!p.server.closed)
                        sd_event_run(p.f->loop.event, 1000);
                if (!strstr(p.server.reason, "malformed frame"))
                        fail_msg("case %zu: %s", i, p.server.reason);
                assert_null(p.server.kept);
                close(fd);
                pair_deinit(&p);
        }
}

static void what_is_unknown_is_skipped(void **state) {
        struct pair p;
        int fd = bare_peer(&p, *state);
        struct bytes a = frame(GW_FRAME_CALL, text(METHOD "\7\7\0\0\0\3xyz" PATH)), b = frame(200, text("anything"));

        assert_int_equal(write(fd, b.b, b.n), b.n);
        assert_int_equal(write(fd, a.b, a.n), a.n);
        while (!p.server.kept)
                sd_event_run(p.f->loop.event, 1000);
        close(fd);
        while (!p.server.closed)
                sd_event_run(p.f->loop.event, 1000);
        gw_request_answer(p.server.kept, 200, json_object()); /* nobody is there */
        pair_deinit(&p);
}

static void bad_json_in_a_call_is_answered(void **state) {
        struct pair p;
        int fd = bare_peer(&p, *state);
        struct bytes bytes = frame(GW_FRAME_CALL, text(METHOD PATH "\1\2\0\0\0\4{\"a}"));
        char answer[512];
        ssize_t n = 0;

        assert_int_equal(write(fd, bytes.b, bytes.n), bytes.n);
        fixture_spin_ms(*state, 20);
        n = read(fd, answer, sizeof answer - 1);
        assert_true(n > 24);
        assert_int_equal(answer[12 + 5], GW_FRAME_ANSWER); /* behind the PING that opened the session */
        assert_memory_equal(answer + 24, "\1\3\0\0\0\2\1\x90", 8);
        answer[n] = 0;
        assert_non_null(strstr(answer + 38, "line 1, column"));
        assert_int_equal(p.server.closed, 0);
        close(fd);
        pair_deinit(&p);
}

/* Sends two descriptors with the first of these octets. */
static void send_with_fds(int fd, const struct bytes *bytes) {
        char control[CMSG_SPACE(2 * sizeof(int))] = {0};
        struct iovec io = {(void *)(uintptr_t)bytes->b, bytes->n};
        struct msghdr message = {
                .msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};

        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){CMSG_LEN(2 * sizeof(int)), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), (int[]){fd, fd}, 2 * sizeof(int));
        assert_int_equal(sendmsg(fd, &message, 0), bytes->n);
}

static void stray_descriptors_end_the_session(void **state) {
        struct bytes ping = frame(GW_FRAME_PING, "", 0), call_none = frame(GW_FRAME_CALL, text(METHOD PATH)),
                     call_one = frame(GW_FRAME_CALL, text(METHOD PATH "\1\4\0\0\0\2\0\1"));
        const struct bytes *cases[] = {&ping, &call_none, &call_one};

        for (int i = 0; i < 3; i++) {
                struct pair p;
                int fd = bare_peer(&p, *state);

                send_with_fds(fd, cases[i]);
                while (!p.server.closed)
                        sd_event_run(p.f->loop.event, 1000);
                assert_string_equal(p.server.reason, "a descriptor came that no call has");
                if (p.server.kept)
                        gw_request_answer(p.server.kept, 200, NULL);
                close(fd);
                pair_deinit(&p);
        }
}

static int count_commit(void *user) {
        struct side *side = user;

        side->commits++;
        return 0;
}

static void nothing_is_answered_before_the_commit(void **state) {
        struct bytes bytes = frame(GW_FRAME_CALL, text(METHOD "\1\1\0\0\0\7/echo/x"));
        struct pair p;
        int fd = bare_peer(&p, *state), before;
        char answer[512];

        p.f->loop.commit = count_commit;
        p.f->loop.commit_user = &p.server;
        fixture_spin_ms(*state, 10);
        assert_int_equal(read(fd, answer, sizeof answer), 12); /* the PING */
        before = p.server.commits;
        assert_int_equal(write(fd, bytes.b, bytes.n), bytes.n);
        while (read(fd, answer, sizeof answer) < 0)
                sd_event_run(p.f->loop.event, 1000);
        assert_true(p.server.commits > before);
        close(fd);
        pair_deinit(&p);
}

static void a_socket_file_that_stayed_is_replaced(void **state) {
        struct pair p, other;

        pair_init(&p, *state);
        listen_unix(&p);
        pair_init(&other, *state);
        assert_int_equal(
                gw_listener_new_unix(&other.listener, &p.f->loop, fixture_path(p.f, "agent"), &ops, NULL, NULL),
                -EADDRINUSE); /* one that lives is not */
        pair_deinit(&p);
        {
                struct sockaddr_un address = {.sun_family = AF_UNIX};
                int fd = socket(AF_UNIX, SOCK_STREAM, 0);

                strcpy(address.sun_path, fixture_path(p.f, "agent"));
                assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
                close(fd);
        }
        listen_unix(&other);
        pair_deinit(&other);
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                with_fixture(calls_go_both_ways),
                with_fixture(calls_go_both_ways_over_tls),
                with_fixture(unknown_paths_and_methods),
                with_fixture(what_no_frame_holds),
                with_fixture(descriptors_travel),
                with_fixture(many_octets),
                with_fixture(many_octets_over_tls),
                with_fixture(deadlines_pass),
                with_fixture(a_lost_session_answers_its_calls),
                with_fixture(an_answer_stays_with_its_connection),
                with_fixture(freeing_inside_callbacks),
                with_fixture(calls_of_a_freed_session_are_answered),
                with_fixture(dialling_goes_on_until_somebody_listens),
                cmocka_unit_test(a_peer_of_this_host_is_never_tried_seldom),
                with_fixture(endpoints_are_tried_in_turn),
                with_fixture(strangers_are_refused),
                with_fixture(a_peer_dies_inside_a_frame),
                with_fixture(a_peer_that_does_not_read),
                with_fixture(malformed_frames_end_the_session),
                with_fixture(what_is_unknown_is_skipped),
                with_fixture(bad_json_in_a_call_is_answered),
                with_fixture(stray_descriptors_end_the_session),
                with_fixture(nothing_is_answered_before_the_commit),
                with_fixture(a_socket_file_that_stayed_is_replaced),
        };

        return cmocka_run_group_tests_name("io_session", tests, NULL, NULL);
}
