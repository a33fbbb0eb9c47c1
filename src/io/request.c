/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and routes. The target is cut in place: path and query are separated
 * first, segments and pairs next, and each piece is percent-decoded by itself, so
 * that an encoded slash (RFC 3986 section 2.4) never becomes a separator. A decoded
 * 0 octet is refused, since everything behind this is C strings.
 */
#include "io/request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "io/api.h"
#include "io/http.h"

enum { SEGMENTS_MAX = 12 };

struct gw_request *gw_request_new(const struct gw_request_ops *ops, void *transport, const char *method,
                                  const char *target, const char *peer, json_t *body) {
        struct gw_request *request = calloc(1, sizeof *request);

        if (!request) {
                json_decref(body);
                return NULL;
        }
        request->ops = ops;
        request->transport = transport;
        snprintf(request->method, sizeof request->method, "%s", method);
        snprintf(request->target, sizeof request->target, "%s", target);
        snprintf(request->peer, sizeof request->peer, "%s", peer);
        request->body = body ? body : json_object();
        return request;
}

static void request_free(struct gw_request *request) {
        for (size_t i = 0; i < request->n_fds; i++) {
                if (request->fds[i] >= 0)
                        close(request->fds[i]);
        }
        json_decref(request->body);
        free(request);
}

const char *gw_request_param(const struct gw_request *request, const char *name) {
        for (size_t i = 0; i < request->n_params; i++) {
                if (strcmp(request->params[i].name, name) == 0)
                        return request->params[i].value;
        }
        return "";
}

const char *gw_request_query(const struct gw_request *request, const char *name) {
        for (size_t i = 0; i < request->n_query; i++) {
                if (strcmp(request->query[i].name, name) == 0)
                        return request->query[i].value;
        }
        return NULL;
}

json_t *gw_request_body(const struct gw_request *request) {
        return request->body;
}

size_t gw_request_n_fds(const struct gw_request *request) {
        return request->n_fds;
}

int gw_request_take_fd(struct gw_request *request, size_t i) {
        int fd;

        if (i >= request->n_fds)
                return -1;
        fd = request->fds[i];
        request->fds[i] = -1;
        return fd;
}

struct gw_session *gw_request_session(const struct gw_request *request) {
        return request->session;
}

const char *gw_request_peer(const struct gw_request *request) {
        return request->peer;
}

bool gw_request_over_tls(const struct gw_request *request) {
        return request->over_tls;
}

void gw_request_answer(struct gw_request *request, int status, json_t *body) {
        request->ops->answer(request->transport, status, body);
        request_free(request);
}

void gw_request_fail(struct gw_request *request, const struct gw_error *error) {
        gw_request_answer(request, gw_api_status(error->code), gw_api_error_body(error));
}

void gw_request_stream(struct gw_request *request, const char *topic) {
        struct gw_error error;

        if (!request->ops->stream) {
                gw_fail(&error, GW_E_INVALID, "", "a stream of events is served over HTTP only");
                gw_request_fail(request, &error);
                return;
        }
        request->ops->stream(request->transport, topic);
        request_free(request);
}

static int hex_digit(char c) {
        if (c >= '0' && c <= '9')
                return c - '0';
        if (c >= 'a' && c <= 'f')
                return c - 'a' + 10;
        return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* In place. In a query '+' is a space (HTML form encoding, as curl and browsers send it). */
static bool decode(char *text, bool plus) {
        char *to = text;

        for (const char *from = text; *from; from++) {
                if (*from == '%') {
                        int high = hex_digit(from[1]), low = high < 0 ? -1 : hex_digit(from[2]);

                        if (low < 0 || (high == 0 && low == 0))
                                return false;
                        *to++ = (char)(high << 4 | low);
                        from += 2;
                } else {
                        *to++ = plus && *from == '+' ? ' ' : *from;
                }
        }
        *to = 0;
        return true;
}

static bool cut_query(struct gw_request *request) {
        char *rest = strchr(request->target, '?'), *pair, *value;

        if (!rest)
                return true;
        *rest++ = 0;
        while ((pair = strsep(&rest, "&"))) {
                if (!*pair)
                        continue;
                if (request->n_query == GW_REQUEST_PAIRS_MAX)
                        return false;
                value = strchr(pair, '=');
                if (value)
                        *value++ = 0;
                if (!decode(pair, true) || (value && !decode(value, true)))
                        return false;
                request->query[request->n_query++] = (struct gw_pair){pair, value ? value : ""};
        }
        return true;
}

static int cut_path(struct gw_request *request, char *segments[SEGMENTS_MAX]) {
        char *rest = request->target, *segment;
        int n = 0;

        if (*rest++ != '/')
                return -1;
        while ((segment = strsep(&rest, "/"))) {
                if (n == SEGMENTS_MAX || !decode(segment, false))
                        return -1;
                segments[n++] = segment;
        }
        return n;
}

/* Fills the params when the pattern fits. */
static bool match(struct gw_request *request, const char *pattern, char *const segments[], int n) {
        size_t names_at = 0;

        request->n_params = 0;
        for (int i = 0; i < n; i++) {
                size_t length;

                if (*pattern++ != '/')
                        return false;
                length = strcspn(pattern, "/");
                if (*pattern == '{') {
                        char *name = request->names + names_at;

                        if (!segments[i][0] || request->n_params == GW_REQUEST_PAIRS_MAX ||
                            names_at + length > sizeof request->names)
                                return false;
                        memcpy(name, pattern + 1, length - 2);
                        name[length - 2] = 0;
                        names_at += length - 1;
                        request->params[request->n_params++] = (struct gw_pair){name, segments[i]};
                } else if (strlen(segments[i]) != length || memcmp(segments[i], pattern, length) != 0) {
                        return false;
                }
                pattern += length;
        }
        return !*pattern;
}

static void fail_target(struct gw_request *request) {
        struct gw_error error;

        gw_fail(&error, GW_E_INVALID, "", "the path or query is not well formed");
        gw_request_fail(request, &error);
}

static void fail_route(struct gw_request *request, const char *allowed) {
        struct gw_error error;

        if (!allowed[0]) {
                gw_fail(&error, GW_E_NOT_FOUND, "", "there is no such path; docs/openapi.yaml lists them");
                gw_request_fail(request, &error);
                return;
        }
        if (request->ops->allow)
                request->ops->allow(request->transport, allowed);
        gw_fail(&error, GW_E_REFUSED, "", "%s is not served here; allowed: %s", request->method, allowed);
        gw_request_answer(request, 405, gw_api_error_body(&error));
}

void gw_api_dispatch(const struct gw_api *api, struct gw_request *request) {
        char *segments[SEGMENTS_MAX], allowed[64] = "";
        int n;

        n = cut_query(request) ? cut_path(request, segments) : -1;
        if (n < 0) {
                fail_target(request);
                return;
        }
        for (const struct gw_route *route = api->routes; route->method; route++) {
                size_t at = strlen(allowed);

                if (!match(request, route->pattern, segments, n))
                        continue;
                if (strcmp(route->method, request->method) == 0) {
                        if (!api->admit || api->admit(request, api->user))
                                route->handler(request, api->user);
                        return;
                }
                snprintf(allowed + at, sizeof allowed - at, "%s%s", at ? ", " : "", route->method);
        }
        fail_route(request, allowed);
}
