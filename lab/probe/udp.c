/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UDP streams. The socket is connected, so that only the target's packets are
 * read; times of reception are the kernel's (SO_TIMESTAMPNS), so that a busy
 * machine that runs the probe late does not lengthen a gap; and the queue is long
 * and its overflow is counted (SO_RXQ_OVFL), so that what the probe itself lost is
 * told apart from what the network lost.
 */
#include "lab/probe/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "lab/probe/probe.h"

enum {
        QUEUE_OCTETS = 16 << 20,
        READ_BURST = 256, /* datagrams read before the sending schedule is looked at again */
        HELLO_EVERY_MS = 100,
};

socklen_t gw_probe_sockaddr(const struct gw_endpoint *to, struct sockaddr_storage *out) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)out;
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

        memset(out, 0, sizeof *out);
        if (gw_ip_is_v4(to->ip)) {
                v4->sin_family = AF_INET;
                v4->sin_port = htons(to->port);
                v4->sin_addr.s_addr = gw_ip_v4(to->ip);
                return sizeof *v4;
        }
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(to->port);
        memcpy(&v6->sin6_addr, to->ip.b, sizeof to->ip.b);
        return sizeof *v6;
}

int gw_probe_udp_tune(int fd) {
        int on = 1, octets = QUEUE_OCTETS;

        /* The FORCE variants need a privilege; without it the system's maximum has to do. */
        if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets) < 0)
                setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &octets, sizeof octets);
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &octets, sizeof octets) < 0)
                setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &octets, sizeof octets);
        if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof on) < 0)
                return -errno;
        return 0;
}

static void read_control(struct msghdr *message, struct gw_datagram *out) {
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
                struct timespec at;

                if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO)
                        memcpy(&out->to, CMSG_DATA(c), sizeof out->to);
                if (c->cmsg_level != SOL_SOCKET)
                        continue;
                if (c->cmsg_type == SCM_TIMESTAMPNS) {
                        memcpy(&at, CMSG_DATA(c), sizeof at);
                        out->at_ns = (uint64_t)at.tv_sec * GW_NS_PER_S + (uint64_t)at.tv_nsec;
                } else if (c->cmsg_type == SO_RXQ_OVFL) {
                        memcpy(&out->dropped, CMSG_DATA(c), sizeof out->dropped);
                        out->has_dropped = true;
                }
        }
}

int gw_probe_udp_read(int fd, struct gw_datagram *out) {
        union {
                char octets[256];
                struct cmsghdr align;
        } control;
        struct iovec part = {out->bytes, sizeof out->bytes};
        struct msghdr message = {.msg_name = &out->from,
                                 .msg_namelen = sizeof out->from,
                                 .msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof control};
        ssize_t n = recvmsg(fd, &message, MSG_DONTWAIT);

        if (n < 0)
                return -errno;
        out->size = (size_t)n;
        out->from_size = message.msg_namelen;
        out->at_ns = 0;
        out->has_dropped = false;
        read_control(&message, out);
        if (!out->at_ns)
                out->at_ns = gw_wall_now().ns;
        return 0;
}

static int udp_open(struct gw_stream *s, const struct gw_probe_options *options, struct gw_error *error) {
        struct sockaddr_storage to;
        socklen_t size = gw_probe_sockaddr(&s->to, &to);
        char text[GW_ENDPOINT_TEXT];
        int r;

        s->rate = options->udp_rate;
        s->size = options->size;
        s->one_way = options->one_way;
        s->interval_ns = GW_NS_PER_S / s->rate;
        r = gw_track_init(&s->track, options->gaps_max, 5 * s->interval_ns);
        if (r < 0)
                return gw_fail(error, r, "", "no memory for a stream of %u packets/s", s->rate);
        s->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (s->fd < 0 || gw_probe_udp_tune(s->fd) < 0 || connect(s->fd, (struct sockaddr *)&to, size) < 0)
                return gw_fail(error, -errno, "target", "%s: %s; is there a route to it from here?",
                               gw_endpoint_text(&s->to, text), strerror(errno));
        return 0;
}

static int send_packet(struct gw_stream *s, uint8_t kind, uint64_t sequence, uint64_t now_ns) {
        uint8_t bytes[GW_PROBE_SIZE_MAX];
        struct gw_probe_packet packet = {kind, s->id, s->rate, sequence, now_ns};

        gw_probe_packet_encode(bytes, s->size, &packet);
        if (send(s->fd, bytes, s->size, 0) >= 0)
                return 0;
        /* A connected socket reports here what ICMP said of an earlier packet: this one was not sent yet. */
        if ((errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH) &&
            send(s->fd, bytes, s->size, 0) >= 0)
                return 0;
        return -errno;
}

static void udp_send(struct gw_stream *s, uint64_t now_ns) {
        if (s->one_way) {
                if (send_packet(s, GW_PROBE_TO, s->one_way_sent, now_ns) < 0)
                        s->send_errors++;
                else
                        s->one_way_sent++;
                return;
        }
        if (send_packet(s, GW_PROBE_ECHO, gw_track_sent(&s->track, now_ns), now_ns) < 0) {
                gw_track_unsent(&s->track);
                s->send_errors++;
        }
}

static void take(struct gw_stream *s, const struct gw_datagram *d) {
        struct gw_probe_packet packet;

        if (d->has_dropped) {
                s->dropped_here += d->dropped - s->dropped_last;
                s->dropped_last = d->dropped;
        }
        if (!gw_probe_packet_decode(d->bytes, d->size, &packet) || packet.stream != s->id ||
            packet.sequence == GW_PROBE_HELLO) {
                return;
        }
        if (packet.kind == GW_PROBE_ECHO && !s->one_way)
                gw_track_received(&s->track, packet.sequence, d->at_ns);
        else if (packet.kind == GW_PROBE_FROM && s->one_way)
                gw_track_received_one_way(&s->track, packet.sequence, packet.sent_ns, d->at_ns);
        else if (packet.kind == GW_PROBE_RESULT && s->one_way)
                s->have_result = gw_probe_result_decode(d->bytes, d->size, &s->result);
}

static void udp_receive(struct gw_stream *s) {
        struct gw_datagram d;

        for (int i = 0; i < READ_BURST; i++) {
                int r = gw_probe_udp_read(s->fd, &d);

                if (r == -EAGAIN)
                        return;
                if (!r)
                        take(s, &d);
        }
}

static bool udp_idle(const struct gw_stream *s) {
        return s->one_way ? s->have_result : !gw_track_missing(&s->track);
}

const struct gw_stream_ops gw_udp_stream_ops = {"udp", udp_open, udp_send, udp_receive, udp_idle};

static bool hello_came(struct gw_stream *s) {
        struct gw_probe_packet packet;
        struct gw_datagram d;
        int r;

        while ((r = gw_probe_udp_read(s->fd, &d)) != -EAGAIN)
                if (!r && gw_probe_packet_decode(d.bytes, d.size, &packet) && packet.stream == s->id)
                        return true;
        return false;
}

int gw_udp_stream_hello(struct gw_stream *s, unsigned wait_ms) {
        struct gw_mono end = gw_mono_after(gw_mono_now(), gw_ms(wait_ms));

        do {
                struct pollfd fd = {s->fd, POLLIN, 0};

                send_packet(s, GW_PROBE_ECHO, GW_PROBE_HELLO, gw_wall_now().ns);
                if (poll(&fd, 1, HELLO_EVERY_MS) > 0 && hello_came(s))
                        return 0;
                /* An ICMP error makes poll return at once: keep to the pace all the same. */
                if (fd.revents)
                        poll(NULL, 0, HELLO_EVERY_MS);
        } while (!gw_mono_reached(gw_mono_now(), end));
        return GW_E_AGAIN;
}

void gw_udp_stream_ask_result(struct gw_stream *s) {
        send_packet(s, GW_PROBE_END, 0, gw_wall_now().ns);
}
