/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests: one table of routes serves HTTP (io/http.h) and calls over sessions
 * (io/session.h), so that whatever a daemon can be told by another daemon can
 * also be told with curl.
 *
 * A route is data: method, path pattern with {names}, handler. Bodies are JSON
 * objects. Errors are {"error": {"code", "field", "text"}} with a fitting HTTP
 * status. A handler answers exactly once, now or later (keep the request).
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct gw_error;
struct gw_ip;
struct gw_mac;
struct gw_name;
struct gw_prefix;
struct gw_request;
struct gw_session;

typedef void (*gw_handler)(struct gw_request *request, void *user);

struct gw_route {
        const char *method;  /* "GET", "POST", "PUT", "DELETE" */
        const char *pattern; /* "/v1/vms/{vm}/move" */
        gw_handler handler;
};

struct gw_api {
        const struct gw_route *routes; /* ends with a zeroed row */
        void *user;                    /* given to every handler */
        /* Asked before a handler is run. NULL: everybody may. False: it has answered the request itself. */
        bool (*admit)(struct gw_request *request, void *user);
};

/* Finds the route and runs it; answers 404 or 405 itself. */
void gw_api_dispatch(const struct gw_api *api, struct gw_request *request);

/* The value of {name}, percent-decoded; "" when the pattern has none of that name. */
const char *gw_request_param(const struct gw_request *request, const char *name);
/* The value of ?name=, or NULL. */
const char *gw_request_query(const struct gw_request *request, const char *name);
/* Borrowed; an empty object when there was no body. */
json_t *gw_request_body(const struct gw_request *request);
/* Descriptors that came with a call over a unix session, owned by the request; take with gw_request_take_fd. */
size_t gw_request_n_fds(const struct gw_request *request);
int gw_request_take_fd(struct gw_request *request, size_t i); /* caller owns; -1 when none */
/* The session a call came over; NULL for HTTP. Who is asking: the certificate's name, "unix", or "local". */
struct gw_session *gw_request_session(const struct gw_request *request);
const char *gw_request_peer(const struct gw_request *request);
bool gw_request_over_tls(const struct gw_request *request); /* over HTTP: gw_request_peer is a certificate's name */

/* Takes over body (may be NULL). Frees the request. Safe when the peer is gone meanwhile. */
void gw_request_answer(struct gw_request *request, int status, json_t *body);
void gw_request_fail(struct gw_request *request, const struct gw_error *error);

/* HTTP status for an error code: 404 not-found, 409 exists/conflict/stale, 400 invalid/malformed,
 * 403 refused, 503 full/again, 500 errno. */
int gw_api_status(int code);
json_t *gw_api_error_body(const struct gw_error *error); /* {"error": {"code", "field", "text"}}; caller's */
/* Turns an answer back into an error; 0 for 2xx. For those who call. */
int gw_api_error(int status, json_t *body, struct gw_error *error);

/* Reading a body, field by field, with errors that name the field and say what
 * is allowed. gw_json_reader clears *error; the first error is kept, and a reader that
 * has failed returns defaults. gw_json_done also refuses members nobody asked for. */
struct gw_json_reader {
        json_t *object;
        struct gw_error *error;
        const char *asked[48];
        size_t n_asked;
        char where[40]; /* put before every member's name, e.g. "ports[0]." */
};
struct gw_json_reader gw_json_reader(json_t *object, struct gw_error *error);
/* For an object inside the one that `parent` reads: same error, names prefixed. "ports[%zu]." */
struct gw_json_reader gw_json_reader_at(const struct gw_json_reader *parent, json_t *object, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
const char *gw_json_string(struct gw_json_reader *r, const char *key,
                           const char *fallback); /* fallback NULL: required */
long long gw_json_int(struct gw_json_reader *r, const char *key, long long min, long long max, long long fallback);
enum { GW_JSON_REQUIRED = -0x7fffffff }; /* as fallback of gw_json_int */
int gw_json_bool(struct gw_json_reader *r, const char *key, int fallback);
json_t *gw_json_array(struct gw_json_reader *r, const char *key);  /* borrowed; NULL when absent */
json_t *gw_json_object(struct gw_json_reader *r, const char *key); /* borrowed; NULL when absent */
/* True when the member is there and good; then *out is set. When it is absent: an error if needed. */
enum gw_json_need { GW_JSON_OPTIONAL, GW_JSON_NEEDED };
bool gw_json_mac(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_mac *out);
bool gw_json_ip(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_ip *out);
bool gw_json_prefix(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_prefix *out);
bool gw_json_name(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_name *out);
bool gw_json_id(struct gw_json_reader *r, const char *key, enum gw_json_need need, struct gw_name *out);
/* Lists of texts; *n is 0 when absent. An error when there are more than max. */
bool gw_json_ips(struct gw_json_reader *r, const char *key, struct gw_ip *out, size_t max, size_t *n);
bool gw_json_prefixes(struct gw_json_reader *r, const char *key, struct gw_prefix *out, size_t max, size_t *n);
/* A fault that only the caller can see, e.g. gw_json_fault(&r, "mtu", "mtu is %lld; ...", mtu). Returns false. */
bool gw_json_fault(struct gw_json_reader *r, const char *key, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
bool gw_json_failed(const struct gw_json_reader *r);
int gw_json_done(struct gw_json_reader *r); /* 0 or the error's code */
