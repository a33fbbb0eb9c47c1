/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A TCP stream of small numbered records, which the target's echo service returns.
 *
 * What counts is whether the connection lives, whether every octet comes back
 * right and in order, and the longest time without any progress (a stall). A record
 * that the socket does not take when it is due (the window is closed while a VM is
 * away) is held back, not lost.
 */
#include "lab/probe/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "lab/probe/probe.h"

static void broke(struct gw_stream *s, const char *reason) {
        if (s->tcp.broken)
                return;
        s->tcp.broken = true;
        strncpy(s->tcp.reason, reason, sizeof s->tcp.reason - 1);
}

/* A non-blocking connect with a time limit, which leaves the socket non-blocking. */
static int connect_within(int fd, const struct sockaddr_storage *to, socklen_t size, unsigned wait_ms) {
        struct pollfd p = {fd, POLLOUT, 0};
        socklen_t length = sizeof(int);
        int failed = 0;

        if (connect(fd, (const struct sockaddr *)to, size) == 0)
                return 0;
        if (errno != EINPROGRESS)
                return -errno;
        if (poll(&p, 1, (int)(wait_ms ? wait_ms : 5000)) <= 0)
                return -ETIMEDOUT;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failed, &length) < 0)
                return -errno;
        return -failed;
}

static int tcp_open(struct gw_stream *s, const struct gw_probe_options *options, struct gw_error *error) {
        struct sockaddr_storage to;
        socklen_t size = gw_probe_sockaddr(&s->to, &to);
        char text[GW_ENDPOINT_TEXT];
        int on = 1, r;

        s->rate = options->tcp_rate;
        s->interval_ns = GW_NS_PER_S / s->rate;
        if (gw_gaps_init(&s->tcp.stalls, options->gaps_max, 2 * s->interval_ns) < 0)
                return gw_fail(error, -ENOMEM, "", "no memory for a TCP stream");
        s->fd = socket(to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        r = s->fd < 0 ? -errno : connect_within(s->fd, &to, size, options->wait_ms);
        if (r < 0)
                return gw_fail(error, r, "target", "%s does not accept TCP: %s; --tcp needs an echo service there",
                               gw_endpoint_text(&s->to, text), strerror(-r));
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return 0;
}

static bool push(struct gw_stream *s) {
        struct gw_tcp_state *t = &s->tcp;

        while (t->out_left) {
                ssize_t n = send(s->fd, t->out + GW_PROBE_RECORD - t->out_left, t->out_left, MSG_NOSIGNAL);

                if (n < 0 && errno == EAGAIN)
                        return false;
                if (n < 0) {
                        broke(s, strerror(errno));
                        return false;
                }
                t->out_left -= (size_t)n;
        }
        return true;
}

static void tcp_send(struct gw_stream *s, uint64_t now_ns) {
        struct gw_tcp_state *t = &s->tcp;

        if (t->broken)
                return;
        if (!push(s)) {
                t->held_back++;
                return;
        }
        gw_probe_record_encode(t->out, t->sent++, now_ns);
        t->out_left = GW_PROBE_RECORD;
        push(s);
}

static void check_record(struct gw_stream *s, uint64_t at_ns) {
        struct gw_tcp_state *t = &s->tcp;
        uint64_t sent_ns, rtt;

        t->in_have = 0;
        if (!gw_probe_record_check(t->in, t->verified, &sent_ns)) {
                broke(s, "octets came back that were not sent in this order");
                return;
        }
        rtt = at_ns > sent_ns ? at_ns - sent_ns : 0;
        if (!t->verified || rtt < t->rtt_min_ns)
                t->rtt_min_ns = rtt;
        if (rtt > t->rtt_max_ns)
                t->rtt_max_ns = rtt;
        t->rtt_sum_ns += rtt;
        t->verified++;
}

static void take(struct gw_stream *s, const uint8_t *bytes, size_t n, uint64_t at_ns) {
        struct gw_tcp_state *t = &s->tcp;

        while (n && !t->broken) {
                size_t want = GW_PROBE_RECORD - t->in_have;
                size_t part = n < want ? n : want;

                memcpy(t->in + t->in_have, bytes, part);
                t->in_have += part;
                bytes += part;
                n -= part;
                if (t->in_have == GW_PROBE_RECORD)
                        check_record(s, at_ns);
        }
}

static void tcp_receive(struct gw_stream *s) {
        uint8_t bytes[64 * GW_PROBE_RECORD];
        ssize_t n = recv(s->fd, bytes, sizeof bytes, 0);

        if (n > 0) {
                uint64_t at_ns = gw_wall_now().ns;

                gw_gaps_add(&s->tcp.stalls, at_ns);
                take(s, bytes, (size_t)n, at_ns);
                push(s); /* nobody else does once the sending is over */
        } else if (!n) {
                broke(s, "the target closed the connection");
        } else if (errno != EAGAIN) {
                broke(s, strerror(errno));
        }
}

static bool tcp_idle(const struct gw_stream *s) {
        return s->tcp.broken || s->tcp.verified == s->tcp.sent;
}

const struct gw_stream_ops gw_tcp_stream_ops = {"tcp", tcp_open, tcp_send, tcp_receive, tcp_idle};
