/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the HTTP server, shared by http.c (the server) and exchange.c (one request and its answer). */
#pragma once

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"
#include "base/list.h"
#include "io/http.h"
#include "io/loop.h"

struct gw_http {
        struct gw_loop *loop;
        struct MHD_Daemon *daemon;
        int listener; /* our own duplicate: survives a reload */
        char *path;   /* unix */
        struct gw_tls *tls;
        const struct gw_api *api;
        sd_event_source *io, *timeout;
        struct gw_list exchanges; /* of struct gw_exchange, by .link */
        struct gw_list ready;     /* by .ready_link: to be resumed at the flush step */
        struct gw_flush flush;
        struct gw_timer *beat;
        bool ends; /* no handler is asked any more */
};

/* Held by its connection and, while a handler owes the answer, by the request. */
struct gw_exchange {
        unsigned refs;
        struct gw_http *http; /* NULL: the server is gone, or the connection */
        struct MHD_Connection *connection;
        struct gw_list link, ready_link;
        char *target;
        char *body;
        size_t body_size, body_room;
        bool begun, dispatched, suspended;
        char peer[GW_NAME_MAX + 1]; /* who asks: a certificate's name, or "local" */
        int status;                 /* 0: not answered */
        char *text;
        char allow[64];
        /* a stream of events */
        char topic[64];
        bool streaming, cut;
        char *events;
        size_t events_at, events_size, events_room;
};

/* libmicrohttpd's callbacks. */
void *gw_exchange_on_target(void *http, const char *target, struct MHD_Connection *connection);
enum MHD_Result gw_exchange_on_access(void *http, struct MHD_Connection *connection, const char *url,
                                      const char *method, const char *version, const char *upload, size_t *upload_size,
                                      void **exchange);
void gw_exchange_on_completed(void *http, struct MHD_Connection *connection, void **exchange,
                              enum MHD_RequestTerminationCode why);

void gw_exchange_resume(struct gw_exchange *exchange);
void gw_exchange_push(struct gw_exchange *exchange, const char *text, size_t size); /* to a stream */
