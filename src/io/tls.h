/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The certificates of one end: who it is, and whose certificates it believes.
 *
 * TLS 1.3 only, both sides show a certificate of the same authority, no session
 * resumption. The name of a peer is the common name of its certificate. One
 * gw_tls serves all sessions and HTTP servers of a daemon, as client and as server.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/time.h"

struct gw_error;
struct gw_tls;
struct ssl_st;

/* Reads three PEM files. On failure *error says which file, and what is wrong with it. */
int gw_tls_new(struct gw_tls **out, const char *ca_path, const char *cert_path, const char *key_path,
               struct gw_error *error);
void gw_tls_free(struct gw_tls *tls); /* open sessions keep what they need */

/* Reads the files again: new sessions use what they hold now, open ones go on.
 * When they cannot be used, or are of another name (sessions know us by it), the old certificates stay in force. HTTP servers take it up by gw_http_reload. */
int gw_tls_reload(struct gw_tls *tls, struct gw_error *error);

const char *gw_tls_name(const struct gw_tls *tls); /* our own common name */

/* For io/stream.c and io/http.c. */
enum gw_tls_part { GW_TLS_CA, GW_TLS_CERT, GW_TLS_KEY };
const char *gw_tls_path(const struct gw_tls *tls, enum gw_tls_part part);
/* When our own chain, or the authorities that we believe, end: the first of them. Not of the key. */
struct gw_wall gw_tls_until(const struct gw_tls *tls, enum gw_tls_part part);
const char *gw_tls_pem(const struct gw_tls *tls, enum gw_tls_part part);
/* server_name (client only): a DNS name or an address that the peer's certificate must carry; NULL: any peer of our
 * authority that may act as a server. -ENOMEM. */
int gw_tls_start(struct gw_tls *tls, int fd, bool server, const char *server_name, struct ssl_st **out);
