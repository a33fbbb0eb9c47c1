/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets. An IPv4 endpoint gets an AF_INET socket rather than a mapped AF_INET6
 * one, so that hosts without IPv6 work; [::] accepts both families.
 *
 * A unix socket file that stays after a crash is recognised by nobody answering
 * it, and replaced. A live one is left alone: two daemons must not share a path.
 */
#include "io/socket.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 512, KEEPALIVE_S = 5, KEEPALIVE_PROBES = 2 };

union address {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
        struct sockaddr_un un;
        struct sockaddr_storage room;
};

static socklen_t tcp_address(const struct gw_endpoint *endpoint, union address *out) {
        memset(out, 0, sizeof *out);
        if (gw_ip_is_v4(endpoint->ip)) {
                out->v4.sin_family = AF_INET;
                out->v4.sin_port = htons(endpoint->port);
                out->v4.sin_addr.s_addr = gw_ip_v4(endpoint->ip);
                return sizeof out->v4;
        }
        out->v6.sin6_family = AF_INET6;
        out->v6.sin6_port = htons(endpoint->port);
        memcpy(&out->v6.sin6_addr, endpoint->ip.b, sizeof endpoint->ip.b);
        return sizeof out->v6;
}

static socklen_t unix_address(const char *path, union address *out) {
        size_t length = strlen(path);

        if (length == 0 || length >= sizeof out->un.sun_path)
                return 0;
        memset(out, 0, sizeof *out);
        out->un.sun_family = AF_UNIX;
        memcpy(out->un.sun_path, path, length + 1);
        return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
}

static int open_stream(int family) {
        int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

        return fd < 0 ? -errno : fd;
}

/* Closes fd and returns the errno of what went wrong before. */
static int give_up(int fd) {
        int r = -errno;

        close(fd);
        return r;
}

int gw_socket_listen_tcp(const struct gw_endpoint *at) {
        union address address;
        socklen_t size = tcp_address(at, &address);
        int fd, on = 1, off = 0;

        fd = open_stream(address.any.sa_family);
        if (fd < 0)
                return fd;
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        if (address.any.sa_family == AF_INET6)
                setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        if (bind(fd, &address.any, size) < 0 || listen(fd, BACKLOG) < 0)
                return give_up(fd);
        return fd;
}

static bool is_stale(const union address *address, socklen_t size) {
        int fd = open_stream(AF_UNIX), r;

        if (fd < 0)
                return false;
        r = connect(fd, &address->any, size) < 0 ? errno : 0;
        close(fd);
        return r == ECONNREFUSED;
}

static int bind_unix(int fd, const char *path, const union address *address, socklen_t size, mode_t mode) {
        mode_t old = umask(0777 & ~mode);
        int r = bind(fd, &address->any, size) < 0 ? -errno : 0;

        if (r == -EADDRINUSE && is_stale(address, size) && unlink(path) == 0)
                r = bind(fd, &address->any, size) < 0 ? -errno : 0;
        umask(old);
        return r;
}

int gw_socket_listen_unix(const char *path, mode_t mode) {
        union address address;
        socklen_t size = unix_address(path, &address);
        int fd, r;

        if (!size)
                return -ENAMETOOLONG;
        fd = open_stream(AF_UNIX);
        if (fd < 0)
                return fd;
        r = bind_unix(fd, path, &address, size, mode);
        if (r == 0 && listen(fd, BACKLOG) < 0)
                r = -errno;
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}

static int connect_to(const union address *address, socklen_t size) {
        int fd = open_stream(address->any.sa_family);

        if (fd < 0)
                return fd;
        if (connect(fd, &address->any, size) < 0 && errno != EINPROGRESS)
                return give_up(fd);
        return fd;
}

int gw_socket_connect_tcp(const struct gw_endpoint *to) {
        union address address;
        socklen_t size = tcp_address(to, &address);

        return connect_to(&address, size);
}

int gw_socket_connect_unix(const char *path) {
        union address address;
        socklen_t size = unix_address(path, &address);

        return size ? connect_to(&address, size) : -ENAMETOOLONG;
}

int gw_socket_accept(int listener) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        return fd < 0 ? -errno : fd;
}

int gw_socket_outcome(int fd) {
        int fault = 0;
        socklen_t size = sizeof fault;

        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &fault, &size) < 0)
                return -errno;
        return -fault;
}

void gw_socket_tune(int fd) {
        int on = 1, idle_s = KEEPALIVE_S, probes = KEEPALIVE_PROBES;
        unsigned lost_ms = GW_PEER_LOST_MS;

        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &idle_s, sizeof idle_s);
        setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost_ms, sizeof lost_ms);
}

int gw_socket_permit(int fd) {
        struct ucred peer;
        socklen_t size = sizeof peer;

        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        return peer.uid == 0 || peer.uid == geteuid() ? 0 : -EPERM;
}

static int endpoint_of(const union address *at, struct gw_endpoint *out) {
        union address address = *at;

        if (address.any.sa_family == AF_INET) {
                out->ip = gw_ip_from_v4(address.v4.sin_addr.s_addr);
                out->port = ntohs(address.v4.sin_port);
                return 0;
        }
        if (address.any.sa_family != AF_INET6)
                return -EAFNOSUPPORT;
        memcpy(out->ip.b, &address.v6.sin6_addr, sizeof out->ip.b);
        out->port = ntohs(address.v6.sin6_port);
        return 0;
}

int gw_socket_local(int fd, struct gw_endpoint *out) {
        union address address = {0};
        socklen_t size = sizeof address;

        return getsockname(fd, &address.any, &size) < 0 ? -errno : endpoint_of(&address, out);
}

int gw_socket_peer(int fd, struct gw_endpoint *out) {
        union address address = {0};
        socklen_t size = sizeof address;

        return getpeername(fd, &address.any, &size) < 0 ? -errno : endpoint_of(&address, out);
}
