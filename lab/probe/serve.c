/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The serving side: an echo service on UDP and TCP, and the far end of one-way
 * streams. One socket serves both families (IPv4 as mapped addresses), and an
 * answer leaves from the address that was asked (IPV6_PKTINFO), which a connected
 * socket at the other end insists on.
 *
 * A peer is made by the first packet of a one-way stream and forgotten PEER_KEEP
 * after its last one. It is sent packets only while it sends some itself (at most
 * PEER_QUIET ago), at no more than the rate it asked for, so that a forged source
 * address buys nothing but a short trickle.
 */
#include "lab/probe/probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "lab/probe/stream.h"

enum {
        PEERS_MAX = 16,
        CONNECTIONS_MAX = 64,
        CONNECTION_OCTETS = 16384,
        PEER_QUIET_MS = 5000,
        PEER_KEEP_MS = 60000,
        BURST_MAX = 64,
        FIXED_FDS = 3, /* signals, UDP, the listening socket */
};

struct peer {
        bool used;
        uint32_t stream, rate;
        size_t size;
        struct sockaddr_storage to;
        struct in6_pktinfo from;
        struct gw_track track;
        uint64_t sent, heard_ns, due_ns;
};

struct connection {
        int fd; /* 0: free */
        uint8_t *bytes;
        size_t have, at;
};

struct server {
        int signals, udp, tcp;
        struct peer peers[PEERS_MAX];
        struct connection connections[CONNECTIONS_MAX];
};

static void put_pktinfo(struct msghdr *message, const struct in6_pktinfo *from) {
        struct cmsghdr *c = CMSG_FIRSTHDR(message);

        c->cmsg_level = IPPROTO_IPV6;
        c->cmsg_type = IPV6_PKTINFO;
        c->cmsg_len = CMSG_LEN(sizeof *from);
        memcpy(CMSG_DATA(c), from, sizeof *from);
}

static void answer(int fd, const void *bytes, size_t size, const struct sockaddr_storage *to,
                   const struct in6_pktinfo *from) {
        union {
                char octets[CMSG_SPACE(sizeof(struct in6_pktinfo))];
                struct cmsghdr align;
        } control = {0};
        struct iovec part = {(void *)bytes, size};
        struct msghdr message = {.msg_name = (void *)to,
                                 .msg_namelen = sizeof(struct sockaddr_in6),
                                 .msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        struct in6_pktinfo source = *from;

        source.ipi6_ifindex = 0; /* let the route choose: the way back may have changed */
        put_pktinfo(&message, &source);
        if (sendmsg(fd, &message, MSG_DONTWAIT) < 0 && errno == ECONNREFUSED)
                sendmsg(fd, &message, MSG_DONTWAIT);
}

static struct peer *peer_find(struct server *v, uint32_t stream, const struct sockaddr_storage *from) {
        for (size_t i = 0; i < PEERS_MAX; i++)
                if (v->peers[i].used && v->peers[i].stream == stream &&
                    !memcmp(&v->peers[i].to, from, sizeof(struct sockaddr_in6)))
                        return &v->peers[i];
        return NULL;
}

static void peer_forget(struct peer *peer) {
        if (peer->used)
                gw_track_deinit(&peer->track);
        memset(peer, 0, sizeof *peer);
}

static struct peer *peer_new(struct server *v, const struct gw_probe_packet *packet, const struct gw_datagram *d) {
        uint64_t now_ns = gw_mono_now().ns;

        for (size_t i = 0; i < PEERS_MAX; i++) {
                struct peer *peer = &v->peers[i];

                if (peer->used && now_ns - peer->heard_ns > PEER_KEEP_MS * GW_NS_PER_MS)
                        peer_forget(peer);
                if (peer->used || gw_track_init(&peer->track, 0, 0) < 0)
                        continue;
                peer->used = true;
                peer->stream = packet->stream;
                peer->rate = packet->rate < GW_PROBE_RATE_MAX ? packet->rate : GW_PROBE_RATE_MAX;
                peer->size = d->size;
                peer->to = d->from;
                peer->due_ns = now_ns;
                return peer;
        }
        return NULL;
}

static void peer_send(struct server *v, struct peer *peer, uint64_t now_ns) {
        uint8_t bytes[GW_PROBE_SIZE_MAX];

        if (!peer->used || !peer->rate || now_ns - peer->heard_ns > PEER_QUIET_MS * GW_NS_PER_MS)
                return;
        for (int i = 0; i < BURST_MAX && peer->due_ns <= now_ns; i++, peer->due_ns += GW_NS_PER_S / peer->rate) {
                struct gw_probe_packet packet = {GW_PROBE_FROM, peer->stream, peer->rate, peer->sent++,
                                                 gw_wall_now().ns};

                gw_probe_packet_encode(bytes, peer->size, &packet);
                answer(v->udp, bytes, peer->size, &peer->to, &peer->from);
        }
        if (now_ns > peer->due_ns + GW_NS_PER_S)
                peer->due_ns = now_ns;
}

static void peer_result(struct server *v, struct peer *peer) {
        struct gw_probe_packet packet = {GW_PROBE_RESULT, peer->stream, peer->rate, 0, gw_wall_now().ns};
        struct gw_probe_result result = {.sent = peer->sent,
                                         .received = peer->track.received,
                                         .duplicated = peer->track.duplicated,
                                         .reordered = peer->track.reordered,
                                         .longest_ns = peer->track.gaps.longest_ns};
        uint8_t bytes[GW_PROBE_RESULT_SIZE];
        size_t size = gw_probe_result_encode(bytes, sizeof bytes, &packet, &result);

        answer(v->udp, bytes, size, &peer->to, &peer->from);
}

static void serve_datagram(struct server *v, const struct gw_datagram *d) {
        struct gw_probe_packet packet;
        struct peer *peer;

        if (!gw_probe_packet_decode(d->bytes, d->size, &packet) || packet.kind == GW_PROBE_ECHO) {
                answer(v->udp, d->bytes, d->size, &d->from, &d->to);
                return;
        }
        peer = peer_find(v, packet.stream, &d->from);
        if (packet.kind == GW_PROBE_TO) {
                if (!peer)
                        peer = peer_new(v, &packet, d);
                if (!peer)
                        return;
                peer->heard_ns = gw_mono_now().ns;
                peer->from = d->to;
                gw_track_received_one_way(&peer->track, packet.sequence, packet.sent_ns, d->at_ns);
        } else if (packet.kind == GW_PROBE_END && peer) {
                peer->rate = 0;
                peer_result(v, peer);
        }
}

static void serve_udp(struct server *v) {
        struct gw_datagram d;
        int r;

        for (int i = 0; i < 256 && (r = gw_probe_udp_read(v->udp, &d)) != -EAGAIN; i++)
                if (!r)
                        serve_datagram(v, &d);
}

static void serve_accept(struct server *v) {
        int fd = accept4(v->tcp, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        for (size_t i = 0; fd >= 0 && i < CONNECTIONS_MAX; i++) {
                struct connection *c = &v->connections[i];

                if (c->fd)
                        continue;
                c->bytes = malloc(CONNECTION_OCTETS);
                if (!c->bytes)
                        break;
                c->fd = fd;
                c->have = c->at = 0;
                return;
        }
        if (fd >= 0)
                close(fd);
}

static void serve_close(struct connection *c) {
        if (c->fd)
                close(c->fd);
        free(c->bytes);
        *c = (struct connection){0};
}

static void serve_connection(struct connection *c) {
        ssize_t n;

        if (c->at == c->have) {
                n = recv(c->fd, c->bytes, CONNECTION_OCTETS, 0);
                if (n < 0 && errno == EAGAIN)
                        return;
                if (n <= 0) {
                        serve_close(c);
                        return;
                }
                c->have = (size_t)n;
                c->at = 0;
        }
        n = send(c->fd, c->bytes + c->at, c->have - c->at, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
                serve_close(c);
        else if (n > 0)
                c->at += (size_t)n;
}

static int listen_on(int type, uint16_t port) {
        struct sockaddr_in6 at = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
        int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, off = 0, r;

        if (fd < 0)
                return -errno;
        if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) < 0 ||
            setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof on) < 0 ||
            bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0) ||
            (type == SOCK_DGRAM && gw_probe_udp_tune(fd) < 0)) {
                r = -errno;
                close(fd);
                return r;
        }
        return fd;
}

static int server_open(struct server *v, uint16_t port, struct gw_error *error) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigprocmask(SIG_BLOCK, &signals, NULL);
        v->signals = signalfd(-1, &signals, SFD_CLOEXEC);
        v->udp = listen_on(SOCK_DGRAM, port);
        v->tcp = listen_on(SOCK_STREAM, port);
        if (v->udp < 0 || v->tcp < 0)
                return gw_fail(error, v->udp < 0 ? v->udp : v->tcp, "port",
                               "cannot serve on port %u: %s; is something else there? give another with --port", port,
                               strerror(v->udp < 0 ? -v->udp : -v->tcp));
        return v->signals < 0 ? gw_fail(error, -errno, "", "signalfd: %s", strerror(errno)) : 0;
}

static void server_close(struct server *v) {
        for (size_t i = 0; i < PEERS_MAX; i++)
                peer_forget(&v->peers[i]);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                serve_close(&v->connections[i]);
        if (v->signals >= 0)
                close(v->signals);
        if (v->udp >= 0)
                close(v->udp);
        if (v->tcp >= 0)
                close(v->tcp);
}

/* How long the loop may sleep: until the next packet to a peer is due. */
static struct timespec next_due(const struct server *v, uint64_t now_ns) {
        uint64_t wait_ns = GW_NS_PER_S;

        for (size_t i = 0; i < PEERS_MAX; i++) {
                const struct peer *p = &v->peers[i];
                uint64_t left = p->due_ns > now_ns ? p->due_ns - now_ns : 0;

                if (p->used && p->rate && now_ns - p->heard_ns <= PEER_QUIET_MS * GW_NS_PER_MS && left < wait_ns)
                        wait_ns = left;
        }
        return (struct timespec){(time_t)(wait_ns / GW_NS_PER_S), (long)(wait_ns % GW_NS_PER_S)};
}

/* false: asked to end. */
static bool server_turn(struct server *v) {
        struct pollfd fds[FIXED_FDS + CONNECTIONS_MAX] = {
                {v->signals, POLLIN, 0}, {v->udp, POLLIN, 0}, {v->tcp, POLLIN, 0}};
        struct timespec wait = next_due(v, gw_mono_now().ns);
        uint64_t now_ns;

        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
                const struct connection *c = &v->connections[i];

                fds[FIXED_FDS + i] =
                        (struct pollfd){c->fd ? c->fd : -1, (short)(c->at == c->have ? POLLIN : POLLOUT), 0};
        }
        ppoll(fds, FIXED_FDS + CONNECTIONS_MAX, &wait, NULL);
        if (fds[0].revents)
                return false;
        if (fds[1].revents)
                serve_udp(v);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
                if (fds[FIXED_FDS + i].revents)
                        serve_connection(&v->connections[i]);
        if (fds[2].revents)
                serve_accept(v);
        now_ns = gw_mono_now().ns;
        for (size_t i = 0; i < PEERS_MAX; i++)
                peer_send(v, &v->peers[i], now_ns);
        return true;
}

int gw_probe_serve(uint16_t port, const char *netns, FILE *out, struct gw_error *error) {
        struct server *v;
        int r = gw_probe_enter(netns, error);

        if (r)
                return r;
        v = calloc(1, sizeof *v);
        if (!v)
                return gw_fail(error, -ENOMEM, "", "no memory");
        v->signals = v->udp = v->tcp = -1;
        r = server_open(v, port, error);
        if (!r) {
                fprintf(out, "serving on port %u, UDP and TCP, IPv4 and IPv6; end with Ctrl-C\n", port);
                fflush(out);
                while (server_turn(v))
                        ;
        }
        server_close(v);
        free(v);
        return r;
}
