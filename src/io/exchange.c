/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One HTTP request and its answer, or its stream of events.
 *
 *      target known -> body collected -> suspended, handler runs
 *          -> answered (later, or at once) -> flush step: resumed -> response
 *
 * The connection holds one reference; the request that a handler keeps holds
 * another. libmicrohttpd says `completed` once for every exchange, whatever
 * became of it; after that an answer goes nowhere.
 */
#include <assert.h>
#include <errno.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/log.h"
#include "io/http_impl.h"
#include "io/request.h"

enum { DISCARD_MAX = 4 * GW_HTTP_BODY_MAX, STREAM_BLOCK = 16 << 10 };

static void unref(struct gw_exchange *exchange) {
        assert(exchange->refs > 0);
        if (--exchange->refs > 0)
                return;
        free(exchange->target);
        free(exchange->body);
        free(exchange->text);
        free(exchange->events);
        free(exchange);
}

/* Called with the target as it came, before anything else of a request. */
void *gw_exchange_on_target(void *user, const char *target, struct MHD_Connection *connection) {
        struct gw_http *http = user;
        struct gw_exchange *exchange = calloc(1, sizeof *exchange);

        if (!exchange)
                return NULL;
        exchange->refs = 1;
        exchange->http = http;
        exchange->connection = connection;
        exchange->target = strdup(target);
        gw_list_append(&http->exchanges, &exchange->link);
        return exchange;
}

void gw_exchange_on_completed(void *http, struct MHD_Connection *connection, void **user,
                              enum MHD_RequestTerminationCode why) {
        struct gw_exchange *exchange = *user;

        (void)http;
        (void)connection;
        (void)why;
        if (!exchange)
                return;
        *user = NULL;
        gw_list_remove(&exchange->link);
        gw_list_remove(&exchange->ready_link);
        exchange->http = NULL;
        exchange->connection = NULL;
        exchange->streaming = false;
        unref(exchange);
}

static void make_ready(struct gw_exchange *exchange) {
        if (!gw_list_linked(&exchange->ready_link))
                gw_list_append(&exchange->http->ready, &exchange->ready_link);
        gw_loop_flush_later(exchange->http->loop, &exchange->http->flush);
}

void gw_exchange_resume(struct gw_exchange *exchange) {
        if (!exchange->suspended)
                return;
        exchange->suspended = false;
        MHD_resume_connection(exchange->connection);
}

static void suspend(struct gw_exchange *exchange) {
        exchange->suspended = true;
        MHD_suspend_connection(exchange->connection);
}

/* Takes over body. */
static void set_answer(struct gw_exchange *exchange, int status, json_t *body) {
        exchange->status = status;
        exchange->text = body ? json_dumps(body, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        if (body && !exchange->text)
                exchange->status = 500;
        json_decref(body);
}

static void on_answer(void *transport, int status, json_t *body) {
        struct gw_exchange *exchange = transport;

        if (exchange->http) {
                set_answer(exchange, status, body);
                make_ready(exchange);
        } else {
                json_decref(body);
        }
        unref(exchange);
}

static void on_stream(void *transport, const char *topic) {
        struct gw_exchange *exchange = transport;

        if (exchange->http) {
                snprintf(exchange->topic, sizeof exchange->topic, "%s", topic);
                exchange->streaming = true;
                exchange->status = 200;
                make_ready(exchange);
        }
        unref(exchange);
}

static void on_allow(void *transport, const char *methods) {
        struct gw_exchange *exchange = transport;

        snprintf(exchange->allow, sizeof exchange->allow, "%s", methods);
}

static const struct gw_request_ops request_ops = {on_answer, on_stream, on_allow};

static void cut_off(struct gw_exchange *exchange) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CONNECTION_FD);

        gw_log_limited(GW_NOTICE, 5, "a reader of %s events is cut off: it lets %d octets wait", exchange->topic,
                       GW_HTTP_STREAM_MAX);
        exchange->cut = true;
        exchange->streaming = false;
        /* The library may be waiting for a writable socket; this makes it so. */
        if (info)
                shutdown(info->connect_fd, SHUT_RDWR);
        make_ready(exchange);
}

void gw_exchange_push(struct gw_exchange *exchange, const char *text, size_t size) {
        size_t waiting = exchange->events_size - exchange->events_at;

        if (waiting + size > GW_HTTP_STREAM_MAX) {
                cut_off(exchange);
                return;
        }
        if (exchange->events_at) {
                memmove(exchange->events, exchange->events + exchange->events_at, waiting);
                exchange->events_at = 0;
                exchange->events_size = waiting;
        }
        if (exchange->events_room < waiting + size) {
                size_t room = 2 * (waiting + size);
                char *grown = realloc(exchange->events, room);

                if (!grown) {
                        cut_off(exchange);
                        return;
                }
                exchange->events = grown;
                exchange->events_room = room;
        }
        memcpy(exchange->events + waiting, text, size);
        exchange->events_size += size;
        make_ready(exchange);
}

/* Called by the library when it has room for more of a stream. */
static ssize_t read_events(void *user, uint64_t at, char *out, size_t max) {
        struct gw_exchange *exchange = user;
        size_t n = exchange->events_size - exchange->events_at;

        (void)at;
        if (exchange->cut)
                return MHD_CONTENT_READER_END_OF_STREAM;
        if (n == 0) {
                suspend(exchange);
                return 0;
        }
        if (n > max)
                n = max;
        memcpy(out, exchange->events + exchange->events_at, n);
        exchange->events_at += n;
        return (ssize_t)n;
}

static struct MHD_Response *make_response(struct gw_exchange *exchange) {
        struct MHD_Response *response;
        char *text = exchange->text;

        if (exchange->streaming) {
                response =
                        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, STREAM_BLOCK, read_events, exchange, NULL);
                if (response) {
                        MHD_add_response_header(response, "Content-Type", "text/event-stream");
                        MHD_add_response_header(response, "Cache-Control", "no-store");
                }
                return response;
        }
        exchange->text = NULL;
        response = MHD_create_response_from_buffer(text ? strlen(text) : 0, text ? text : (void *)(uintptr_t) "",
                                                   text ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
        if (!response) {
                free(text);
                return NULL;
        }
        if (text)
                MHD_add_response_header(response, "Content-Type", "application/json");
        if (exchange->allow[0])
                MHD_add_response_header(response, "Allow", exchange->allow);
        return response;
}

static enum MHD_Result respond(struct gw_exchange *exchange) {
        struct MHD_Response *response = make_response(exchange);
        enum MHD_Result r;

        if (!response)
                return MHD_NO;
        r = MHD_queue_response(exchange->connection, (unsigned)exchange->status, response);
        MHD_destroy_response(response);
        return r;
}

/* For faults that are seen before a handler is asked. */
static void set_fault(struct gw_exchange *exchange, int status, int code, const char *text) {
        struct gw_error error;

        gw_fail(&error, code, "", "%s", text);
        set_answer(exchange, status, gw_api_error_body(&error));
}

/* The common name of the client's certificate; false when that is not one of our authority. */
static bool client_name(struct gw_exchange *exchange, char out[static GW_NAME_MAX + 1]) {
        const union MHD_ConnectionInfo *info =
                MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);
        gnutls_session_t session = info ? info->tls_session : NULL;
        const gnutls_datum_t *chain;
        unsigned status = 1, n = 0;
        size_t size = GW_NAME_MAX + 1;
        gnutls_x509_crt_t cert;
        int r;

        if (!session || gnutls_certificate_verify_peers2(session, &status) < 0 || status != 0)
                return false;
        chain = gnutls_certificate_get_peers(session, &n);
        if (!chain || n == 0 || gnutls_x509_crt_init(&cert) < 0)
                return false;
        r = gnutls_x509_crt_import(cert, &chain[0], GNUTLS_X509_FMT_DER);
        if (r >= 0)
                r = gnutls_x509_crt_get_dn_by_oid(cert, GNUTLS_OID_X520_COMMON_NAME, 0, 0, out, &size);
        gnutls_x509_crt_deinit(cert);
        return r >= 0 && size > 0 && strlen(out) == size;
}

static void dispatch(struct gw_exchange *exchange, const char *method) {
        struct gw_request *request;
        json_error_t fault;
        json_t *body = NULL;
        char text[200];

        if (exchange->body_size) {
                body = json_loadb(exchange->body, exchange->body_size, JSON_REJECT_DUPLICATES, &fault);
                free(exchange->body);
                exchange->body = NULL;
                if (!json_is_object(body)) {
                        if (body)
                                strcpy(text, "the body must be a JSON object");
                        else
                                snprintf(text, sizeof text, "the body is not JSON: line %d, column %d: %s", fault.line,
                                         fault.column, fault.text);
                        set_fault(exchange, 400, GW_E_MALFORMED, text);
                        json_decref(body);
                        return;
                }
        }
        request = gw_request_new(&request_ops, exchange, method, exchange->target, exchange->peer, body);
        if (!request) {
                set_fault(exchange, 500, -ENOMEM, "out of memory");
                return;
        }
        request->over_tls = exchange->http->tls;
        suspend(exchange);
        exchange->refs++;
        gw_api_dispatch(exchange->http->api, request);
}

/* Keeps what fits; the rest is read and forgotten, so that the answer can be sent. False: enough is enough. */
static bool collect(struct gw_exchange *exchange, const char *bytes, size_t size) {
        size_t total = exchange->body_size + size;

        exchange->body_size = total;
        if (total > GW_HTTP_BODY_MAX) {
                free(exchange->body);
                exchange->body = NULL;
                exchange->body_room = 0;
                return total <= DISCARD_MAX;
        }
        if (exchange->body_room < total) {
                char *grown = realloc(exchange->body, 2 * total);

                if (!grown)
                        return false;
                exchange->body = grown;
                exchange->body_room = 2 * total;
        }
        memcpy(exchange->body + total - size, bytes, size);
        return true;
}

static const char too_large[] = "the body has more than 4194304 octets";

/* What can be refused before the body is read: nobody's bodies are kept for strangers. True when it was. */
static bool refuse_early(struct gw_exchange *exchange) {
        const char *length = MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, "Content-Length");

        strcpy(exchange->peer, "local");
        if (exchange->http->tls && !client_name(exchange, exchange->peer))
                set_fault(exchange, 403, GW_E_REFUSED,
                          "a client certificate of this installation's authority is needed");
        else if (!exchange->target || strlen(exchange->target) >= GW_REQUEST_TARGET_MAX)
                set_fault(exchange, 414, GW_E_INVALID, "the path and query have more than 2047 octets");
        else if (length && strtoull(length, NULL, 10) > GW_HTTP_BODY_MAX)
                set_fault(exchange, 413, GW_E_FULL, too_large);
        return exchange->status != 0;
}

enum MHD_Result gw_exchange_on_access(void *user, struct MHD_Connection *connection, const char *url,
                                      const char *method, const char *version, const char *upload, size_t *upload_size,
                                      void **state) {
        struct gw_exchange *exchange = *state;

        (void)user;
        (void)connection;
        (void)url;
        (void)version;
        if (!exchange)
                return MHD_NO;
        if (!exchange->begun) {
                exchange->begun = true;
                return refuse_early(exchange) ? respond(exchange) : MHD_YES;
        }
        if (*upload_size) {
                bool ok = collect(exchange, upload, *upload_size);

                *upload_size = 0;
                return ok ? MHD_YES : MHD_NO;
        }
        if (!exchange->dispatched) {
                exchange->dispatched = true;
                if (exchange->body_size > GW_HTTP_BODY_MAX)
                        set_fault(exchange, 413, GW_E_FULL, too_large);
                else if (exchange->http->ends)
                        set_fault(exchange, 503, GW_E_AGAIN, "the daemon ends");
                else
                        dispatch(exchange, method);
                if (exchange->suspended)
                        return MHD_YES;
        }
        /* Resumed without an answer: the server stops. */
        return exchange->status && !exchange->cut ? respond(exchange) : MHD_NO;
}
