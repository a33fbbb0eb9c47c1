/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP client of the authority's API (and of any daemon's api-socket): one
 * connection, JSON both ways. Also reads a stream of server-sent events.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct gw_error;
struct gw_client;

struct gw_client_options {
        const char *api; /* the path of a unix socket, or https://address:port */
        const char *tls_ca, *tls_cert, *tls_key;
        bool exact; /* texts are left as they came: they are not for a terminal */
};

int gw_client_new(struct gw_client **out, const struct gw_client_options *options, struct gw_error *error);
void gw_client_free(struct gw_client *client);

/* 0: answered with 2xx, *out (may be NULL) is the caller's. GW_E_*: refused; *error is what the daemon said.
 * -ECONNREFUSED: it does not answer. body is taken over and may be NULL. */
int gw_client_call(struct gw_client *client, const char *method, const char *path, json_t *body, json_t **out,
                   struct gw_error *error);

/* Calls back for each event until that answers false or the stream ends. Errors as above. */
typedef bool (*gw_client_event)(const char *name, json_t *data, void *user);
int gw_client_stream(struct gw_client *client, const char *path, gw_client_event each, void *user,
                     struct gw_error *error);

/* What a host or a guest may have said becomes one line that steers no terminal. In place. */
void gw_client_tame(char *text);
/* Writes a path segment with what must be percent-encoded; returns out. */
const char *gw_client_segment(const char *text, char *out, size_t size);
