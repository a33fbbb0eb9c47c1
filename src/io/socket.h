/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of both families from a gw_endpoint, and unix sockets from a path. All close-on-exec and non-blocking. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/addr.h"

enum { GW_PEER_LOST_MS = 15000 }; /* silence after which a peer counts as gone */

/* The new descriptor, or a negative errno. */
int gw_socket_listen_tcp(const struct gw_endpoint *at);
int gw_socket_listen_unix(const char *path, mode_t mode); /* removes a stale socket; -EADDRINUSE when one answers */
int gw_socket_connect_tcp(const struct gw_endpoint *to);  /* the connection comes later; see gw_socket_outcome */
int gw_socket_connect_unix(const char *path);
int gw_socket_accept(int listener);

int gw_socket_outcome(int fd); /* of a connect: 0 or a negative errno */
void gw_socket_tune(int fd);   /* a TCP session: no delay, keepalive, time limit for unacknowledged data */
int gw_socket_permit(int fd);  /* a unix peer: 0 for our own user and root, -EPERM for others */
int gw_socket_peer(int fd, struct gw_endpoint *out);  /* the TCP address at its other end */
int gw_socket_local(int fd, struct gw_endpoint *out); /* the TCP address that it is bound to */
