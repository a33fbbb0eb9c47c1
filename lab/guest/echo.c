/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service of the laboratory's guests: echo over UDP and TCP (RFC 862, port
 * 7), IPv4 and IPv6 on one dual-stack socket each, and a heartbeat line per
 * second on standard output (the serial console), which shows in the log whether
 * and when a guest ran.
 *
 * Uses nothing but the C library, because it is linked into the real guest's
 * static program too. One thread, one epoll. A TCP
 * connection whose peer does not read holds at most one buffer and is then not
 * read from either, so memory is bounded by the number of connections.
 */
#include "echo.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

enum { ECHO_PORT = 7, BUFFER_OCTETS = 65536, CONNECTIONS_MAX = 256, RECEIVE_BUFFER_OCTETS = 4 << 20 };

enum kind { KIND_UDP, KIND_LISTEN, KIND_BEAT, KIND_TCP };

struct source {
        enum kind kind;
        int fd;
        size_t from, to; /* of buffer: read, not yet written */
        char *buffer;
};

static struct counters { unsigned long udp, tcp_octets, connections; } counters;

static int listen_on(int type) {
        struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(ECHO_PORT)};
        int fd = socket(AF_INET6, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        int off = 0, on = 1, octets = RECEIVE_BUFFER_OCTETS;

        if (fd < 0)
                return -1;
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
        /* The answer must leave from the address that was asked. */
        setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on);
        if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
                close(fd);
                return -1;
        }
        return fd;
}

static int watch(int epoll, struct source *source, uint32_t events, int op) {
        struct epoll_event event = {.events = events, .data.ptr = source};

        return epoll_ctl(epoll, op, source->fd, &event);
}

/* msg_control comes back from recvmsg with the local address and goes out with the answer as it is. */
static void echo_udp(int fd) {
        static char buffer[BUFFER_OCTETS];
        struct sockaddr_in6 peer;
        char control[CMSG_SPACE(sizeof(struct in6_pktinfo))];
        ssize_t n;

        for (int i = 0; i < 256; i++) {
                struct iovec iov = {buffer, sizeof buffer};
                struct msghdr message = {&peer, sizeof peer, &iov, 1, control, sizeof control, 0};
                struct cmsghdr *cmsg;

                n = recvmsg(fd, &message, 0);
                if (n < 0)
                        return;
                cmsg = CMSG_FIRSTHDR(&message);
                if (cmsg && cmsg->cmsg_type == IPV6_PKTINFO && IN6_IS_ADDR_V4MAPPED(&peer.sin6_addr))
                        ((struct in6_pktinfo *)CMSG_DATA(cmsg))->ipi6_ifindex = 0;
                iov.iov_len = (size_t)n;
                message.msg_flags = 0;
                if (sendmsg(fd, &message, 0) >= 0)
                        counters.udp++;
        }
}

static void drop(struct source *source) {
        close(source->fd);
        free(source->buffer);
        free(source);
        counters.connections--;
}

static void accept_tcp(int epoll, int fd) {
        int on = 1, peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        struct source *source;

        if (peer < 0)
                return;
        source = counters.connections < CONNECTIONS_MAX ? calloc(1, sizeof *source) : NULL;
        if (!source || !(source->buffer = malloc(BUFFER_OCTETS))) {
                free(source);
                close(peer);
                return;
        }
        setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        source->kind = KIND_TCP;
        source->fd = peer;
        counters.connections++;
        if (watch(epoll, source, EPOLLIN, EPOLL_CTL_ADD) < 0)
                drop(source);
}

static void echo_tcp(int epoll, struct source *source) {
        ssize_t n;

        if (source->from == source->to) {
                n = read(source->fd, source->buffer, BUFFER_OCTETS);
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        drop(source);
                        return;
                }
                source->from = 0;
                source->to = (size_t)n;
        }
        n = send(source->fd, source->buffer + source->from, source->to - source->from, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
                drop(source);
                return;
        }
        source->from += n < 0 ? 0 : (size_t)n;
        counters.tcp_octets += n < 0 ? 0 : (unsigned long)n;
        watch(epoll, source, source->from == source->to ? EPOLLIN : EPOLLOUT, EPOLL_CTL_MOD);
}

static void beat(int fd) {
        struct timespec now;
        uint64_t times;

        if (read(fd, &times, sizeof times) < 0)
                return;
        clock_gettime(CLOCK_BOOTTIME, &now);
        printf("guest: up=%ld.%03ld udp=%lu tcp_octets=%lu connections=%lu\n", (long)now.tv_sec, now.tv_nsec / 1000000,
               counters.udp, counters.tcp_octets, counters.connections);
        fflush(stdout);
}

static int beat_open(void) {
        struct itimerspec every = {{1, 0}, {1, 0}};
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

        if (fd >= 0)
                timerfd_settime(fd, 0, &every, NULL);
        return fd;
}

static void serve(int epoll, struct source *source) {
        switch (source->kind) {
        case KIND_UDP:
                echo_udp(source->fd);
                break;
        case KIND_LISTEN:
                accept_tcp(epoll, source->fd);
                break;
        case KIND_BEAT:
                beat(source->fd);
                break;
        case KIND_TCP:
                echo_tcp(epoll, source);
                break;
        }
}

int guest_echo_run(bool with_beat) {
        struct source fixed[] = {
                {.kind = KIND_UDP, .fd = listen_on(SOCK_DGRAM)},
                {.kind = KIND_LISTEN, .fd = listen_on(SOCK_STREAM)},
                {.kind = KIND_BEAT, .fd = beat_open()},
        };
        int epoll = epoll_create1(EPOLL_CLOEXEC);

        for (size_t i = 0; i < sizeof fixed / sizeof *fixed - (with_beat ? 0 : 1); i++)
                if (fixed[i].fd < 0 || watch(epoll, &fixed[i], EPOLLIN, EPOLL_CTL_ADD) < 0) {
                        fprintf(stderr, "guest-echo: %s\n", strerror(errno));
                        return 1;
                }
        if (with_beat) {
                printf("guest: ready\n");
                fflush(stdout);
        }
        for (;;) {
                struct epoll_event events[16];
                int n = epoll_wait(epoll, events, 16, -1);

                for (int i = 0; i < n; i++)
                        serve(epoll, events[i].data.ptr);
        }
}
