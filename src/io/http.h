/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HTTP/1.1 server (libmicrohttpd inside the event loop): on a unix socket
 * (mode 0660), or on TCP with TLS and client certificates. Serves a gw_api, plus
 * streams of server-sent events. Bodies are bounded by GW_HTTP_BODY_MAX, and a
 * client that lets GW_HTTP_STREAM_MAX octets of its stream wait is cut off.
 */
#pragma once

#include <jansson.h>

#include "base/addr.h"
#include "io/api.h"

struct gw_http;
struct gw_loop;
struct gw_tls;

enum {
        GW_HTTP_BODY_MAX = 4 << 20,
        GW_HTTP_STREAM_MAX = 1 << 20,
};

int gw_http_new_unix(struct gw_http **out, struct gw_loop *loop, const char *path, const struct gw_api *api);
int gw_http_new_tls(struct gw_http **out, struct gw_loop *loop, const struct gw_endpoint *at, struct gw_tls *tls,
                    const struct gw_api *api);
/* Not from inside a handler. What is answered goes out, which must be durable by now. Requests that are still open may be
 * answered later; nobody hears it. */
void gw_http_free(struct gw_http *http);
struct gw_endpoint gw_http_endpoint(const struct gw_http *http); /* what it is bound to; TCP only */
/* After gw_tls_reload: serves with the new certificates. Open connections are closed, streams reconnect. */
int gw_http_reload(struct gw_http *http);

/* Makes the answer to this request a stream of server-sent events, which stays
 * open until the client or gw_http_free closes it. Frees the request. */
void gw_request_stream(struct gw_request *request, const char *topic);
/* Sends one event (`event: name`, `data: {json}`) to every open stream of that topic. Borrows body. */
void gw_http_publish(struct gw_http *http, const char *topic, const char *name, json_t *body);
