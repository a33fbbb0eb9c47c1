/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long until everybody knows. All NVEs hold the mapping of VM 0. Its own NVE
 * takes it away (deregisters) and, when all have confirmed that, registers it
 * again: the binding changes, and each holder is sent an update and confirms it.
 *
 * A round is timed from that registration to the answer of a query that the NVE
 * confirming last sends behind its acknowledgement: the authority takes the
 * frames of a session in order, so that it has had the last acknowledgement then.
 *
 * In a second row of rounds nobody reads at first: this process does nothing but look
 * whether every socket has something to be read. That is when the authority has said
 * it to everybody, on the processor that it would have for itself elsewhere.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "base/error.h"
#include "load.h"
#include "wire/frame.h"

enum { QUERY_LAST = 7, REGISTRATION = 9, SETTLE_MS = 500, PAUSE_MS = 2, LEFT_MAX_S = 10 };

struct fanout {
        struct fleet *fleet;
        struct gw_timer *timer;
        struct gw_flush look;
        uint32_t pid, rounds, done, holders, confirmed;
        bool serving; /* of the round: what is waited for */
        bool left;    /* of the round: what is timed is that it has left */
        struct gw_mono began;
        double *ms, *left_ms;
        int *sockets;
        size_t n_sockets;
        uint64_t empty_octets, octets; /* of the authority: before there were sessions, with them */
        double ready_s, authority_s, load_s;
};

static void change(struct fanout *f, bool serving) {
        f->serving = serving;
        f->left = f->done >= f->rounds;
        f->confirmed = 0;
        f->began = gw_mono_now();
        node_register(&f->fleet->nodes[0], REGISTRATION, 0, serving ? LOAD_LIFETIME_S : 0);
        if (f->left && serving)
                gw_loop_flush_later(&f->fleet->loop, &f->look); /* comes behind the registration's */
}

static void on_pause_over(void *user) {
        struct fanout *f = user;

        gw_timer_free(f->timer);
        f->timer = NULL;
        change(f, !f->serving);
}

/* Between two changes everything rests for a moment, as between two moves. */
static void pause_then_change(struct fanout *f, uint64_t ms) {
        if (!f->timer)
                gw_timer_new(&f->timer, &f->fleet->loop, gw_ms(ms), gw_ms(0), on_pause_over, f);
}

static double since_ms(struct gw_mono then) {
        return (double)gw_mono_between(then, gw_mono_now()).ns / 1e6;
}

/* --- what the authority says, before anybody reads it --- */

/* All of this process that are connected by TCP are sessions. */
static int find_sockets(struct fanout *f) {
        struct rlimit limit;

        f->sockets = calloc(f->fleet->n_nodes, sizeof *f->sockets);
        if (!f->sockets || getrlimit(RLIMIT_NOFILE, &limit) < 0)
                return -1;
        for (int fd = 0; fd < (int)limit.rlim_cur && f->n_sockets < f->fleet->n_nodes; fd++) {
                int protocol = 0;
                socklen_t size = sizeof protocol;

                if (getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &size) == 0 && protocol == IPPROTO_TCP)
                        f->sockets[f->n_sockets++] = fd;
        }
        return f->n_sockets == f->fleet->n_nodes ? 0 : -1;
}

static void on_left(struct gw_flush *flush) {
        struct fanout *f = gw_container_of(flush, struct fanout, look);
        size_t i = 0;
        int n;

        while (i < f->n_sockets) {
                if (ioctl(f->sockets[i], FIONREAD, &n) == 0 && n > 0)
                        i++;
                else if (since_ms(f->began) > LEFT_MAX_S * 1000.0)
                        return fleet_fail(f->fleet, "an update did not leave");
        }
        f->left_ms[f->done - f->rounds] = since_ms(f->began);
}

/* --- rounds --- */

static void on_ready(struct fleet *fleet) {
        struct fanout *f = fleet->user;

        f->ready_s = since_ms(f->began) / 1000;
        for (uint32_t n = 1; n < fleet->n_nodes; n++)
                node_query(&fleet->nodes[n], 1, 0);
}

static void on_update(struct fanout *f, struct node *node, uint32_t id, const uint8_t *body, size_t size) {
        node_ack(node, id);
        if (f->holders < f->fleet->n_nodes - 1 || node->index == 0 || !size ||
            answer_is_serving(body, size) != f->serving)
                return;
        if (++f->confirmed == f->holders)
                node_query(node, QUERY_LAST, 0);
}

static void begin(struct fanout *f) {
        if (find_sockets(f) < 0)
                return fleet_fail(f->fleet, "the sessions' sockets are not found");
        f->octets = process_octets(f->pid);
        f->serving = true;
        f->authority_s = process_cpu_s(f->pid);
        f->load_s = load_cpu_s();
        pause_then_change(f, SETTLE_MS);
}

static void on_round_over(struct fanout *f) {
        if (f->serving && !f->left)
                f->ms[f->done] = since_ms(f->began);
        f->done += f->serving;
        if (f->serving && f->done == f->rounds) {
                f->authority_s = process_cpu_s(f->pid) - f->authority_s;
                f->load_s = load_cpu_s() - f->load_s;
        }
        if (f->done == 2 * f->rounds)
                gw_loop_quit(&f->fleet->loop, EXIT_SUCCESS);
        else
                pause_then_change(f, PAUSE_MS);
}

static void on_frame(struct node *node, uint8_t type, uint32_t id, const uint8_t *body, size_t size) {
        struct fanout *f = node->fleet->user;

        if (type == GW_FRAME_UPDATE || type == GW_FRAME_FLUSH)
                on_update(f, node, id, body, size);
        else if (type == GW_FRAME_RESPONSE && id == QUERY_LAST)
                on_round_over(f);
        else if (type == GW_FRAME_RESPONSE && ++f->holders == f->fleet->n_nodes - 1)
                begin(f);
        else if (type == GW_FRAME_REGISTERED && answer_status(body, size) != 0)
                fleet_fail(f->fleet, "the registration was refused");
}

const struct fleet_ops fanout_ops = {.ready = on_ready, .frame = on_frame};

static int compare(const void *a, const void *b) {
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

static void print_times(const char *name, double *ms, uint32_t rounds) {
        qsort(ms, rounds, sizeof *ms, compare);
        printf("\"%sp50_ms\": %.3f, \"%sp99_ms\": %.3f, \"%smax_ms\": %.3f, ", name, ms[rounds / 2], name,
               ms[rounds - 1 - rounds / 100], name, ms[rounds - 1]);
}

/* A round is two changes. */
static void print(struct fanout *f) {
        double changes = 2.0 * f->rounds * f->holders;

        printf("{\"sessions\": %u, \"rounds\": %u, ", f->fleet->n_nodes, f->rounds);
        print_times("", f->ms, f->rounds);
        print_times("left_", f->left_ms, f->rounds);
        printf("\"authority_us\": %.2f, \"load_us\": %.2f, \"ready_s\": %.2f, \"session_octets\": %.0f}\n",
               f->authority_s / changes * 1e6, f->load_s / changes * 1e6, f->ready_s,
               ((double)f->octets - (double)f->empty_octets) / f->fleet->n_nodes);
}

int load_fanout(struct fleet *fleet, uint32_t rounds, uint32_t pid) {
        struct fanout f = {.fleet = fleet, .rounds = rounds, .pid = pid, .look.run = on_left};
        int r = 1;

        f.ms = calloc(rounds, sizeof(double));
        f.left_ms = calloc(rounds, sizeof(double));
        f.empty_octets = process_octets(pid);
        f.began = gw_mono_now();
        fleet->user = &f;
        if (f.ms && f.left_ms)
                r = fleet_run(fleet);
        if (r == 0)
                print(&f);
        gw_timer_free(f.timer);
        free(f.sockets);
        free(f.left_ms);
        free(f.ms);
        return r;
}
