/* SPDX-License-Identifier: Apache-2.0 */
/* The HTTP server, asked by libcurl from a second thread while this one turns the loop. */
#include "io_fixture.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "io/api.h"
#include "io/http.h"

struct server {
        struct fixture *f;
        struct gw_http *http;
        struct gw_api api;
        struct gw_request *kept;
        int streams, commits;
};

/* One request and what came back. */
struct ask {
        char socket[128], url[512], cert[128], key[128], ca[128];
        const char *method, *body;
        size_t body_size;
        bool chunked, stalls; /* stalls: says that a body comes, and sends none */
        long timeout_ms;
        /* the answer */
        long status;
        char allow[64];
        char *text;
        size_t size;
        CURLcode code;
        bool done;
        size_t read_limit; /* stops reading after so many octets */
};

static void serve_tell(struct gw_request *request, void *user) {
        (void)user;
        gw_request_answer(request, 200,
                          json_pack("{ss ss* si ss}", "vm", gw_request_param(request, "vm"), "q",
                                    gw_request_query(request, "q"), "members",
                                    (int)json_object_size(gw_request_body(request)), "peer", gw_request_peer(request)));
}

static void serve_fail(struct gw_request *request, void *user) {
        struct gw_error error;

        (void)user;
        gw_fail(&error, GW_E_CONFLICT, "to", "it is there already");
        gw_request_fail(request, &error);
}

static void serve_keep(struct gw_request *request, void *user) {
        struct server *server = user;

        server->kept = request;
}

static void serve_events(struct gw_request *request, void *user) {
        struct server *server = user;

        server->streams++;
        gw_request_stream(request, "moves");
}

static const struct gw_route routes[] = {{"GET", "/v1/vms/{vm}", serve_tell}, {"POST", "/v1/vms/{vm}", serve_tell},
                                         {"POST", "/v1/fail", serve_fail},    {"GET", "/v1/keep", serve_keep},
                                         {"GET", "/v1/events", serve_events}, {0}};

static int count_commit(void *user) {
        struct server *server = user;

        server->commits++;
        return 0;
}

static void server_init(struct server *server, struct fixture *f, struct gw_tls *tls) {
        struct gw_endpoint at;

        *server = (struct server){.f = f, .api = {routes, server}};
        f->loop.commit = count_commit;
        f->loop.commit_user = server;
        if (!tls) {
                assert_int_equal(gw_http_new_unix(&server->http, &f->loop, fixture_path(f, "api"), &server->api), 0);
                return;
        }
        assert_int_equal(gw_endpoint_parse("127.0.0.1:1", &at), 0);
        at.port = 0;
        assert_int_equal(gw_http_new_tls(&server->http, &f->loop, &at, tls, &server->api), 0);
}

static size_t on_octets(char *bytes, size_t one, size_t n, void *user) {
        struct ask *ask = user;

        (void)one;
        if (ask->read_limit && ask->size + n > ask->read_limit)
                return CURL_WRITEFUNC_PAUSE;
        ask->text = realloc(ask->text, ask->size + n + 1);
        memcpy(ask->text + ask->size, bytes, n);
        ask->size += n;
        ask->text[ask->size] = 0;
        return n;
}

static size_t on_header(char *line, size_t one, size_t n, void *user) {
        struct ask *ask = user;

        (void)one;
        if (n > 7 && strncasecmp(line, "Allow: ", 7) == 0)
                snprintf(ask->allow, sizeof ask->allow, "%.*s", (int)strcspn(line + 7, "\r\n"), line + 7);
        return n;
}

static size_t on_stall(char *bytes, size_t one, size_t n, void *user) {
        (void)bytes, (void)one, (void)n, (void)user;
        return CURL_READFUNC_PAUSE;
}

static void *ask_thread(void *user) {
        struct ask *ask = user;
        struct curl_slist *headers = ask->chunked ? curl_slist_append(NULL, "Transfer-Encoding: chunked") : NULL;
        CURL *curl = curl_easy_init();

        if (ask->socket[0])
                curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, ask->socket);
        if (ask->cert[0]) {
                curl_easy_setopt(curl, CURLOPT_SSLCERT, ask->cert);
                curl_easy_setopt(curl, CURLOPT_SSLKEY, ask->key);
        }
        if (ask->ca[0])
                curl_easy_setopt(curl, CURLOPT_CAINFO, ask->ca);
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(curl, CURLOPT_URL, ask->url);
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, ask->method);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_octets);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, ask);
        curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(curl, CURLOPT_HEADERDATA, ask);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, ask->timeout_ms ? ask->timeout_ms : 8000L);
        if (ask->body) {
                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)ask->body_size);
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, ask->body);
        }
        if (ask->stalls) {
                curl_easy_setopt(curl, CURLOPT_POST, 1L);
                curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, 100000L);
                curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_stall);
        }
        ask->code = curl_easy_perform(curl);
        curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &ask->status);
        curl_easy_cleanup(curl);
        curl_slist_free_all(headers);
        __atomic_store_n(&ask->done, true, __ATOMIC_RELEASE);
        return NULL;
}

static void ask_init(struct ask *ask, struct fixture *f, const char *method, const char *path) {
        *ask = (struct ask){.method = method};
        strcpy(ask->socket, fixture_path(f, "api"));
        snprintf(ask->url, sizeof ask->url, "http://localhost%s", path);
}

static bool answered(void *user) {
        return __atomic_load_n((bool *)user, __ATOMIC_ACQUIRE);
}

static void ask_now(struct fixture *f, struct ask *ask) {
        pthread_t thread;

        assert_int_equal(pthread_create(&thread, NULL, ask_thread, ask), 0);
        fixture_spin(f, answered, &ask->done);
        pthread_join(thread, NULL);
}

static void requests_are_answered(void **state) {
        static const struct {
                const char *method, *path, *body;
                long status;
                const char *text, *allow;
        } cases[] = {
                {"GET", "/v1/vms/web%40blue?q=a%20b", NULL, 200,
                 "{\"vm\":\"web@blue\",\"q\":\"a b\",\"members\":0,\"peer\":\"local\"}", ""},
                {"POST", "/v1/vms/web", "{\"a\": 1, \"b\": 2}", 200, "\"members\":2", ""},
                {"GET", "/v1/none", NULL, 404, "\"code\":\"not-found\"", ""},
                {"PUT", "/v1/vms/web", NULL, 405, "allowed: GET, POST", "GET, POST"},
                {"HEAD", "/v1/fail", NULL, 405, "", "POST"},
                {"POST", "/v1/fail", NULL, 409,
                 "{\"error\":{\"code\":\"conflict\",\"field\":\"to\",\"text\":\"it is there already\"}}", ""},
                {"POST", "/v1/vms/web", "{\n \"a\": 1,\n}", 400, "the body is not JSON: line 3, column 1:", ""},
                {"POST", "/v1/vms/web", "{\"a\": 1, \"a\": 2}", 400, "duplicate object key", ""},
                {"POST", "/v1/vms/web", "[1]", 400, "the body must be a JSON object", ""},
                {"POST", "/v1/vms/web", "\xff\xfe", 400, "the body is not JSON: line 1", ""},
                {"GET", "/v1/vms/%00", NULL, 400, "not well formed", ""},
        };
        struct fixture *f = *state;
        struct server server;

        server_init(&server, f, NULL);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct ask ask;

                ask_init(&ask, f, cases[i].method, cases[i].path);
                ask.body = cases[i].body;
                ask.body_size = ask.body ? strlen(ask.body) : 0;
                if (strcmp(ask.method, "HEAD") == 0)
                        ask.timeout_ms = 300; /* curl waits for the body that a HEAD does not have */
                ask_now(f, &ask);
                if (ask.status != cases[i].status || (cases[i].text[0] && !strstr(ask.text, cases[i].text)))
                        fail_msg("%s %s: %ld %s", ask.method, ask.url, ask.status, ask.text);
                assert_string_equal(ask.allow, cases[i].allow);
                free(ask.text);
        }
        gw_http_free(server.http);
}

static void bodies_are_bounded(void **state) {
        static const struct {
                size_t size;
                bool chunked;
                long status;
        } cases[] = {
                {GW_HTTP_BODY_MAX, false, 200},    {GW_HTTP_BODY_MAX, true, 200}, {GW_HTTP_BODY_MAX + 1, false, 413},
                {GW_HTTP_BODY_MAX + 1, true, 413}, {20 << 20, false, 413},        {20 << 20, true, 0}}; /* 0: cut off */
        struct fixture *f = *state;
        char *body = malloc(20 << 20);
        struct server server;

        server_init(&server, f, NULL);
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct ask ask;

                memset(body, ' ', 20 << 20);
                memcpy(body, "{}", 2);
                ask_init(&ask, f, "POST", "/v1/vms/web");
                ask.body = body;
                ask.body_size = cases[i].size;
                ask.chunked = cases[i].chunked;
                ask_now(f, &ask);
                if (ask.status != cases[i].status && !(cases[i].status == 0 && ask.code != CURLE_OK))
                        fail_msg("%zu octets: %ld, %s", cases[i].size, ask.status, curl_easy_strerror(ask.code));
                free(ask.text);
        }
        free(body);
        gw_http_free(server.http);
}

static void answers_may_come_late_and_follow_a_commit(void **state) {
        struct fixture *f = *state;
        struct server server;
        pthread_t thread;
        struct ask ask;

        server_init(&server, f, NULL);
        ask_init(&ask, f, "GET", "/v1/keep");
        pthread_create(&thread, NULL, ask_thread, &ask);
        while (!server.kept)
                sd_event_run(f->loop.event, 1000);
        fixture_spin_ms(f, 50);
        assert_false(answered(&ask.done));
        server.commits = 0;
        gw_request_answer(server.kept, 202, json_pack("{ss}", "a", "b"));
        fixture_spin(f, answered, &ask.done);
        assert_in_range(server.commits, 1, 3);
        pthread_join(thread, NULL);
        assert_int_equal(ask.status, 202);
        assert_string_equal(ask.text, "{\"a\":\"b\"}");
        free(ask.text);
        gw_http_free(server.http);
}

static void a_request_outlives_server_and_client(void **state) {
        struct fixture *f = *state;
        struct gw_request *first;
        struct server server;
        struct ask ask;

        server_init(&server, f, NULL);
        ask_init(&ask, f, "GET", "/v1/keep");
        ask.timeout_ms = 100;
        ask_now(f, &ask); /* the client gives up */
        assert_int_equal(ask.code, CURLE_OPERATION_TIMEDOUT);
        first = server.kept;
        ask_init(&ask, f, "GET", "/v1/keep");
        ask.timeout_ms = 100;
        ask_now(f, &ask);
        gw_request_answer(first, 200, json_object());
        fixture_spin_ms(f, 20);
        gw_http_free(server.http);
        gw_request_answer(server.kept, 200, json_object());
}

static void publish(struct server *server, int n) {
        json_t *body = json_pack("{si}", "n", n);

        gw_http_publish(server->http, "moves", "move", body);
        gw_http_publish(server->http, "other", "noise", body);
        json_decref(body);
}

static void streams_carry_events(void **state) {
        struct fixture *f = *state;
        struct server server;
        pthread_t thread;
        struct ask ask;

        server_init(&server, f, NULL);
        publish(&server, 0); /* nobody listens */
        ask_init(&ask, f, "GET", "/v1/events");
        pthread_create(&thread, NULL, ask_thread, &ask);
        while (!server.streams)
                sd_event_run(f->loop.event, 1000);
        publish(&server, 1);
        fixture_spin_ms(f, 50);
        publish(&server, 2);
        publish(&server, 3);
        fixture_spin_ms(f, 50);
        gw_http_free(server.http); /* ends the stream */
        pthread_join(thread, NULL);
        assert_int_equal(ask.status, 200);
        assert_string_equal(ask.text, "event: move\ndata: {\"n\":1}\n\nevent: move\ndata: {\"n\":2}\n\n"
                                      "event: move\ndata: {\"n\":3}\n\n");
        free(ask.text);
}

static int connect_bare(struct fixture *f) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        strcpy(address.sun_path, fixture_path(f, "api"));
        assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
        return fd;
}

/* Neither an open stream nor a request that waits for its answer may keep the loop turning. */
static void waiting_costs_nothing(void **state) {
        static const char get[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n",
                          keep[] = "GET /v1/keep HTTP/1.1\r\nHost: x\r\n\r\n";
        struct fixture *f = *state;
        struct server server;
        int a, b;

        server_init(&server, f, NULL);
        a = connect_bare(f);
        b = connect_bare(f);
        assert_int_equal(write(a, get, sizeof get - 1), sizeof get - 1);
        assert_int_equal(write(b, keep, sizeof keep - 1), sizeof keep - 1);
        while (!server.streams || !server.kept)
                sd_event_run(f->loop.event, 1000);
        publish(&server, 1);
        fixture_spin_ms(f, 20);
        assert_int_equal(sd_event_run(f->loop.event, 300000), 0); /* 0: the time passed and nothing happened */
        gw_request_answer(server.kept, 200, NULL);
        fixture_spin_ms(f, 20);
        close(a);
        close(b);
        gw_http_free(server.http);
}

static void a_slow_reader_is_cut_off(void **state) {
        static const char get[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
        struct fixture *f = *state;
        struct server server;
        char *text = malloc(50001), got[65536];
        json_t *body;
        size_t total = 0;
        ssize_t n;
        int fd;

        server_init(&server, f, NULL);
        fd = connect_bare(f);
        assert_int_equal(write(fd, get, sizeof get - 1), sizeof get - 1);
        while (!server.streams)
                sd_event_run(f->loop.event, 1000);
        memset(text, 'x', 50000);
        text[50000] = 0;
        body = json_string(text);
        for (int i = 0; i < 100; i++) {
                gw_http_publish(server.http, "moves", "move", body);
                fixture_spin_ms(f, 2);
        }
        json_decref(body);
        free(text);
        fixture_spin_ms(f, 20);
        while ((n = read(fd, got, sizeof got)) > 0)
                total += (size_t)n;
        assert_int_equal(n, 0); /* closed, not merely silent */
        assert_in_range(total, 1, 3 << 20);
        close(fd);
        publish(&server, 1);
        fixture_spin_ms(f, 10);
        gw_http_free(server.http);
}

static void a_stream_whose_reader_left_ends(void **state) {
        static const char get[] = "GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n";
        struct fixture *f = *state;
        struct server server;
        size_t before;
        int fd;

        server_init(&server, f, NULL);
        fixture_spin_ms(f, 5);
        before = fixture_count_fds();
        fd = connect_bare(f);
        assert_int_equal(write(fd, get, sizeof get - 1), sizeof get - 1);
        while (!server.streams)
                sd_event_run(f->loop.event, 1000);
        fixture_spin_ms(f, 10);
        close(fd);
        for (int i = 0; i < 3; i++) {
                publish(&server, i);
                fixture_spin_ms(f, 10);
        }
        assert_int_equal(fixture_count_fds(), before);
        gw_http_free(server.http);
}

static void octets_that_are_not_http(void **state) {
        static const char *const junk[] = {
                "\r\n\r\n\r\n", "GET\r\n\r\n", "\x16\x03\x01\x02",
                "POST /v1/vms/x HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                "GET /v1/vms/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n"};
        struct fixture *f = *state;
        struct server server;
        struct ask ask;

        server_init(&server, f, NULL);
        for (size_t i = 0; i < sizeof junk / sizeof junk[0]; i++) {
                int fd = connect_bare(f);

                assert_true(write(fd, junk[i], strlen(junk[i])) > 0);
                fixture_spin_ms(f, 10);
                close(fd);
        }
        ask_init(&ask, f, "GET", "/v1/vms/x");
        ask_now(f, &ask);
        assert_int_equal(ask.status, 200);
        free(ask.text);
        gw_http_free(server.http);
}

static void ask_tls(struct fixture *f, struct server *server, struct ask *ask, const char *method) {
        ask_init(ask, f, method, "/v1/vms/x");
        ask->socket[0] = 0;
        snprintf(ask->url, sizeof ask->url, "https://127.0.0.1:%u/v1/vms/x", gw_http_endpoint(server->http).port);
        strcpy(ask->ca, fixture_path(f, "ca.crt"));
}

/* Nothing is kept for a stranger: what he is about to send is refused before it comes. */
static void strangers_bodies_are_not_waited_for(void **state) {
        struct fixture *f = *state;
        struct server server;
        struct ask ask;

        server_init(&server, f, f->nva);
        ask_tls(f, &server, &ask, "POST");
        ask.stalls = true;
        ask.timeout_ms = 5000;
        ask_now(f, &ask);
        if (ask.status != 403 || !ask.text || !strstr(ask.text, "a client certificate"))
                fail_msg("%ld %s (%s)", ask.status, ask.text ? ask.text : "", curl_easy_strerror(ask.code));
        free(ask.text);
        gw_http_free(server.http);
}

static int connect_from(const char *from, struct gw_endpoint to) {
        struct sockaddr_in local = {.sin_family = AF_INET}, peer = {.sin_family = AF_INET, .sin_port = htons(to.port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        inet_pton(AF_INET, from, &local.sin_addr);
        inet_pton(AF_INET, "127.0.0.1", &peer.sin_addr);
        assert_int_equal(bind(fd, (struct sockaddr *)&local, sizeof local), 0);
        assert_int_equal(connect(fd, (struct sockaddr *)&peer, sizeof peer), 0);
        return fd;
}

/* One host that opens connections and says nothing in them leaves some to others. */
static void one_address_cannot_take_all_connections(void **state) {
        enum { MANY = 300 };
        struct fixture *f = *state;
        struct server server;
        int fds[MANY];
        struct ask ask;

        server_init(&server, f, f->nva);
        for (int i = 0; i < MANY; i++) {
                fds[i] = connect_from("127.0.0.2", gw_http_endpoint(server.http));
                fixture_spin_ms(f, i % 20 ? 0 : 1);
        }
        ask_tls(f, &server, &ask, "GET");
        snprintf(ask.cert, sizeof ask.cert, "%s/h1.crt", f->folder);
        snprintf(ask.key, sizeof ask.key, "%s/h1.key", f->folder);
        ask_now(f, &ask);
        assert_int_equal(ask.status, 200);
        free(ask.text);
        for (int i = 0; i < MANY; i++)
                close(fds[i]);
        gw_http_free(server.http);
}

/* A server that cannot be had anew goes on as it is. */
static void a_reload_that_fails_changes_nothing(void **state) {
        struct fixture *f = *state;
        struct rlimit limit, none;
        struct server server;
        struct ask ask;

        server_init(&server, f, f->nva);
        fixture_spin_ms(f, 5);
        assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
        none = (struct rlimit){3, limit.rlim_max}; /* those that are open stay so */
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        assert_true(gw_http_reload(server.http) < 0);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        ask_tls(f, &server, &ask, "GET");
        snprintf(ask.cert, sizeof ask.cert, "%s/h1.crt", f->folder);
        snprintf(ask.key, sizeof ask.key, "%s/h1.key", f->folder);
        ask_now(f, &ask);
        assert_int_equal(ask.status, 200);
        free(ask.text);
        gw_http_free(server.http);
}

static void tls_wants_a_certificate_of_ours(void **state) {
        static const struct {
                const char *cert;
                long status;
                const char *text;
        } cases[] = {{"h1", 200, "\"peer\":\"h1\""},
                     {NULL, 403, "a client certificate of this installation's authority is needed"},
                     {"stranger", 403, "a client certificate"}};
        struct fixture *f = *state;
        struct server server;
        int i = 0;

        server_init(&server, f, f->nva);
        for (size_t at = 0; at < 6; at++, i = (int)(at % 3)) {
                struct ask ask;

                ask_init(&ask, f, "GET", "/v1/vms/x");
                ask.socket[0] = 0;
                snprintf(ask.url, sizeof ask.url, "https://127.0.0.1:%u/v1/vms/x", gw_http_endpoint(server.http).port);
                strcpy(ask.ca, fixture_path(f, "ca.crt"));
                if (cases[i].cert) {
                        snprintf(ask.cert, sizeof ask.cert, "%s/%s.crt", f->folder, cases[i].cert);
                        snprintf(ask.key, sizeof ask.key, "%s/%s.key", f->folder, cases[i].cert);
                }
                ask_now(f, &ask);
                if (ask.status != cases[i].status || !strstr(ask.text, cases[i].text))
                        fail_msg("case %d: %ld %s (%s)", i, ask.status, ask.text, curl_easy_strerror(ask.code));
                free(ask.text);
                if (at == 2)
                        assert_int_equal(gw_http_reload(server.http), 0);
        }
        gw_http_free(server.http);
}

#define with_fixture(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void) {
        const struct CMUnitTest tests[] = {
                with_fixture(requests_are_answered),
                with_fixture(bodies_are_bounded),
                with_fixture(answers_may_come_late_and_follow_a_commit),
                with_fixture(a_request_outlives_server_and_client),
                with_fixture(streams_carry_events),
                with_fixture(waiting_costs_nothing),
                with_fixture(a_slow_reader_is_cut_off),
                with_fixture(a_stream_whose_reader_left_ends),
                with_fixture(octets_that_are_not_http),
                with_fixture(strangers_bodies_are_not_waited_for),
                with_fixture(one_address_cannot_take_all_connections),
                with_fixture(a_reload_that_fails_changes_nothing),
                with_fixture(tls_wants_a_certificate_of_ours),
        };

        curl_global_init(CURL_GLOBAL_ALL);
        return cmocka_run_group_tests_name("io_http", tests, NULL, NULL);
}
