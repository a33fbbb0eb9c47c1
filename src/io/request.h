/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a transport (HTTP, calls) hands to gw_api_dispatch. Private to src/io.
 * The transport's ops outlive the request; `answer` is called exactly once and
 * gets the body's reference. The request itself is freed by api.c.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "io/session.h"

enum {
        GW_REQUEST_TARGET_MAX = 2048, /* octets of path and query */
        GW_REQUEST_PAIRS_MAX = 16,
};

struct gw_request;

struct gw_request_ops {
        void (*answer)(void *transport, int status, json_t *body);
        /* NULL: no streams here. */
        void (*stream)(void *transport, const char *topic);
        /* NULL: nobody wants to know. Before an answer of 405: the methods that are allowed. */
        void (*allow)(void *transport, const char *methods);
};

struct gw_pair {
        const char *name, *value;
};

struct gw_request {
        const struct gw_request_ops *ops;
        void *transport;
        struct gw_session *session; /* borrowed: the transport keeps it */
        char peer[64];
        bool over_tls; /* peer is the name in a certificate, not a word of ours */
        char method[16];
        char target[GW_REQUEST_TARGET_MAX]; /* cut into pieces in place */
        struct gw_pair params[GW_REQUEST_PAIRS_MAX], query[GW_REQUEST_PAIRS_MAX];
        size_t n_params, n_query;
        char names[256]; /* of params */
        json_t *body;
        int fds[GW_SESSION_FDS_MAX];
        size_t n_fds;
};

/* Owns body and fds from now on, also on failure. NULL: out of memory. target and peer are cut when too long;
 * transports check before. */
struct gw_request *gw_request_new(const struct gw_request_ops *ops, void *transport, const char *method,
                                  const char *target, const char *peer, json_t *body);
