/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The probe's loop: one thread, ppoll with a nanosecond time-out, every stream with
 * its own schedule. A stream's packet n is due at start + n intervals; when the
 * machine runs the probe late, what is due is sent at once (at most SEND_BURST a
 * turn), so that the number of packets is what was asked for; only after a delay
 * of more than a second does the schedule begin anew.
 *
 * After the last packet the probe waits until nothing has come for a second before it
 * calls anything lost, and up to TCP_GRACE_MS for the last octets of TCP, whose
 * retransmission may take that long.
 */
#include "lab/probe/probe.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/time.h"
#include "io/netlink.h"
#include "lab/probe/stream.h"

enum {
        STREAMS_MAX = 2 * GW_PROBE_TARGETS_MAX,
        SEND_BURST = 64,
        UDP_GRACE_MS = 1000,
        UDP_GRACE_MAX_MS = 20000,
        TCP_GRACE_MS = 5000,
        RESULT_EVERY_MS = 100,
};

struct probe {
        const struct gw_probe_options *options;
        FILE *out;
        int signals;
        struct gw_stream *streams;
        size_t n;
        uint64_t started_ns; /* wall clock */
        bool sending, stop;
};

static int open_signals(struct probe *p) {
        sigset_t signals;

        sigemptyset(&signals);
        sigaddset(&signals, SIGINT);
        sigaddset(&signals, SIGTERM);
        sigaddset(&signals, SIGUSR1);
        if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
                return -errno;
        p->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
        return p->signals < 0 ? -errno : 0;
}

static int add_stream(struct probe *p, const struct gw_stream_ops *ops, const struct gw_endpoint *to,
                      struct gw_error *error) {
        struct gw_stream *s = &p->streams[p->n++];

        s->ops = ops;
        s->to = *to;
        s->fd = -1;
        if (getrandom(&s->id, sizeof s->id, 0) != sizeof s->id)
                return gw_fail(error, -EIO, "", "no random numbers from the system");
        return ops->open(s, p->options, error);
}

static int open_streams(struct probe *p, struct gw_error *error) {
        const struct gw_probe_options *o = p->options;
        char text[GW_ENDPOINT_TEXT];
        int r = 0;

        for (size_t i = 0; !r && i < o->n_targets; i++) {
                if (o->udp_rate)
                        r = add_stream(p, &gw_udp_stream_ops, &o->targets[i], error);
                if (!r && o->udp_rate && o->wait_ms && gw_udp_stream_hello(&p->streams[p->n - 1], o->wait_ms))
                        r = gw_fail(error, GW_E_AGAIN, "target",
                                    "%s did not answer within %u ms; an echo service (or godwit probe --serve) must "
                                    "run there; --wait 0 starts without asking",
                                    gw_endpoint_text(&o->targets[i], text), o->wait_ms);
                if (!r && o->tcp_rate)
                        r = add_stream(p, &gw_tcp_stream_ops, &o->targets[i], error);
        }
        return r;
}

void gw_stream_deinit(struct gw_stream *s) {
        if (s->fd >= 0)
                close(s->fd);
        gw_track_deinit(&s->track);
        gw_gaps_deinit(&s->tcp.stalls);
        s->fd = -1;
}

static void print_report(struct probe *p, json_t *report, size_t flags) {
        if (p->options->json) {
                json_dumpf(report, p->out, flags);
                fputc('\n', p->out);
        } else {
                gw_probe_report_text(report, p->out);
        }
        fflush(p->out);
}

static void interim(struct probe *p) {
        json_t *report = gw_probe_report(p->streams, p->n, p->started_ns, gw_wall_now().ns);

        print_report(p, report, JSON_COMPACT | JSON_REAL_PRECISION(9));
        json_decref(report);
}

static void read_signals(struct probe *p) {
        struct signalfd_siginfo info;

        while (read(p->signals, &info, sizeof info) == sizeof info) {
                if (info.ssi_signo == SIGUSR1)
                        interim(p);
                else
                        p->stop = true;
        }
}

static void send_due(struct gw_stream *s, uint64_t now_ns) {
        for (int i = 0; i < SEND_BURST && s->due_ns <= now_ns; i++, s->due_ns += s->interval_ns)
                s->ops->send(s, gw_wall_now().ns);
        if (now_ns > s->due_ns + GW_NS_PER_S)
                s->due_ns = now_ns;
}

/* One turn: waits until something comes, something is due, or `until`. */
static void turn(struct probe *p, uint64_t until_ns) {
        struct pollfd fds[1 + STREAMS_MAX] = {{p->signals, POLLIN, 0}};
        uint64_t now_ns = gw_mono_now().ns, wake_ns = until_ns;
        struct timespec wait;

        for (size_t i = 0; i < p->n; i++) {
                struct gw_stream *s = &p->streams[i];

                fds[1 + i] = (struct pollfd){s->tcp.broken ? -1 : s->fd, POLLIN, 0};
                if (p->sending && s->due_ns < wake_ns)
                        wake_ns = s->due_ns;
        }
        wake_ns = wake_ns > now_ns ? wake_ns - now_ns : 0;
        wait = (struct timespec){(time_t)(wake_ns / GW_NS_PER_S), (long)(wake_ns % GW_NS_PER_S)};
        if (ppoll(fds, 1 + p->n, &wait, NULL) > 0) {
                if (fds[0].revents)
                        read_signals(p);
                for (size_t i = 0; i < p->n; i++)
                        if (fds[1 + i].revents)
                                p->streams[i].ops->receive(&p->streams[i]);
        }
        now_ns = gw_mono_now().ns;
        for (size_t i = 0; p->sending && i < p->n; i++)
                send_due(&p->streams[i], now_ns);
}

static void send_all(struct probe *p) {
        uint64_t start_ns = gw_mono_now().ns, end_ns = UINT64_MAX;

        if (p->options->duration_ms)
                end_ns = start_ns + p->options->duration_ms * GW_NS_PER_MS;
        /* Spread over the interval, so that streams do not send all at the same moment. */
        for (size_t i = 0; i < p->n; i++)
                p->streams[i].due_ns = start_ns + p->streams[i].interval_ns * i / p->n;
        p->sending = true;
        for (uint64_t now_ns = start_ns; !p->stop && now_ns < end_ns; now_ns = gw_mono_now().ns)
                turn(p, end_ns < now_ns + GW_NS_PER_S ? end_ns : now_ns + GW_NS_PER_S);
        p->sending = false;
}

static bool tcp_waiting(const struct probe *p) {
        for (size_t i = 0; i < p->n; i++)
                if (p->streams[i].ops == &gw_tcp_stream_ops && !gw_tcp_stream_ops.idle(&p->streams[i]))
                        return true;
        return false;
}

static bool results_waiting(const struct probe *p) {
        for (size_t i = 0; i < p->n; i++)
                if (p->streams[i].one_way && !p->streams[i].have_result)
                        return true;
        return false;
}

static void wait_until(struct probe *p, uint64_t until_ns) {
        for (uint64_t now_ns = gw_mono_now().ns; now_ns < until_ns; now_ns = gw_mono_now().ns)
                turn(p, until_ns);
}

/* Grows with everything that comes. */
static uint64_t arrivals(const struct probe *p) {
        uint64_t n = 0;

        for (size_t i = 0; i < p->n; i++)
                n += p->streams[i].track.received + p->streams[i].track.duplicated;
        return n;
}

/* A second, and then until nothing has come for a second: a slow target may have a long queue before it. */
static void drain_udp(struct probe *p, uint64_t end_ns) {
        uint64_t before;

        do {
                before = arrivals(p);
                wait_until(p, gw_mono_now().ns + UDP_GRACE_MS * GW_NS_PER_MS);
        } while (arrivals(p) != before && gw_mono_now().ns < end_ns + UDP_GRACE_MAX_MS * GW_NS_PER_MS);
}

/* The late ones: UDP, then what is left of TCP, and then the peers' figures. */
static void drain(struct probe *p) {
        uint64_t end_ns = gw_mono_now().ns;

        if (p->options->udp_rate)
                drain_udp(p, end_ns);
        end_ns = gw_mono_now().ns;
        while (tcp_waiting(p) && gw_mono_now().ns < end_ns + TCP_GRACE_MS * GW_NS_PER_MS)
                turn(p, gw_mono_now().ns + 10 * GW_NS_PER_MS);
        for (int i = 0; i < 20 && results_waiting(p); i++) {
                for (size_t j = 0; j < p->n; j++)
                        if (p->streams[j].one_way && !p->streams[j].have_result)
                                gw_udp_stream_ask_result(&p->streams[j]);
                wait_until(p, gw_mono_now().ns + RESULT_EVERY_MS * GW_NS_PER_MS);
        }
}

static struct gw_gaps *gaps_of(struct gw_stream *s) {
        return s->ops == &gw_tcp_stream_ops ? &s->tcp.stalls : &s->track.gaps;
}

static void conclude(struct gw_stream *s, uint64_t ended_ns) {
        struct gw_gaps *gaps = gaps_of(s);

        if (s->ops == &gw_udp_stream_ops)
                gw_track_finish(&s->track);
        /* Silence until the end is a gap as well. */
        if (ended_ns > gaps->last_ns + gaps->floor_ns)
                gw_gaps_add(gaps, ended_ns);
        if (s->ops == &gw_tcp_stream_ops && !s->ops->idle(s)) {
                s->tcp.broken = true;
                snprintf(s->tcp.reason, sizeof s->tcp.reason, "no progress within %d ms of the end", TCP_GRACE_MS);
        }
}

static int run(struct probe *p, struct gw_error *error) {
        uint64_t ended_ns;
        json_t *report;
        bool clean;
        int r = open_streams(p, error);

        if (r)
                return r;
        p->started_ns = gw_wall_now().ns;
        /* Silence from the start is a gap as well. */
        for (size_t i = 0; i < p->n; i++)
                gaps_of(&p->streams[i])->last_ns = p->started_ns;
        send_all(p);
        ended_ns = gw_wall_now().ns;
        drain(p);
        for (size_t i = 0; i < p->n; i++)
                conclude(&p->streams[i], ended_ns);
        report = gw_probe_report(p->streams, p->n, p->started_ns, ended_ns);
        print_report(p, report, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        clean = gw_probe_report_clean(report);
        json_decref(report);
        return clean ? 0 : gw_fail(error, GW_E_REFUSED, "", "something was lost, duplicated or broken");
}

int gw_probe_enter(const char *netns, struct gw_error *error) {
        int r = netns ? gw_netns_enter(netns, NULL) : 0;

        if (!r)
                return 0;
        return gw_fail(error, r, "netns", "cannot enter the network namespace %s: %s%s", netns, strerror(-r),
                       r == -ENOENT ? "; `ip netns list` names those that exist" : "; this needs root");
}

int gw_probe_run(const struct gw_probe_options *options, FILE *out, struct gw_error *error) {
        struct probe p = {.options = options, .out = out, .signals = -1};
        int r = gw_probe_enter(options->netns, error);

        if (r)
                return r;
        /* The default slack of 50 us would show in every interval. */
        prctl(PR_SET_TIMERSLACK, 1);
        p.streams = calloc(STREAMS_MAX, sizeof *p.streams);
        if (!p.streams || open_signals(&p) < 0)
                r = gw_fail(error, -ENOMEM, "", "cannot start: %s", strerror(errno));
        else
                r = run(&p, error);
        for (size_t i = 0; i < p.n; i++)
                gw_stream_deinit(&p.streams[i]);
        free(p.streams);
        if (p.signals >= 0)
                close(p.signals);
        return r;
}
