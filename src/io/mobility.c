/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mobility Headers on the wire. Receive checks and their answers are RFC 6275
 * section 9.2's: a wrong checksum is dropped in silence, an unknown type is
 * answered with a Binding Error (status 2), another payload protocol or a length
 * too small for the type with an ICMPv6 Parameter Problem, code 0, that points
 * at the octet. Both kinds of answer share a budget (ANSWERS_PER_S), since
 * strangers can cause them. A kernel with CONFIG_IPV6_MIP6 sends the Parameter
 * Problems itself, and such messages do not come here.
 *
 * In UDP over IPv4 the checks are the same and in the same order, after one more:
 * what does not come from port 5436 is dropped. A Binding Error is answered there
 * likewise. Where IPv6 has a Parameter Problem there is silence: IPv4's points
 * into the IPv4 header, and sending it would take a raw socket.
 *
 * The IPv6 header that a Parameter Problem quotes is built anew from what is
 * known of it: a raw socket does not hand it over. Extension headers before the
 * Mobility Header are not known, so the pointer is right where there were none.
 *
 * The queue is a ring of QUEUE messages, allocated once. What does not fit is
 * dropped and counted: registrations are retransmitted by who needs them.
 */
#include "io/mobility.h"

#include <errno.h>
#include <netinet/icmp6.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "io/mobility_link.h"
#include "wire/header.h"
#include "wire/upkeep.h"

enum {
        QUEUE = 256,
        TAKE_AT_ONCE = 64, /* messages in one turn of the loop */
        ANSWERS_PER_S = 10,
        IP6_HEADER = 40,
        PROBLEM_MAX = 1280 - IP6_HEADER, /* an ICMPv6 error fits the least MTU */
};

struct queued {
        struct gw_ip to;
        size_t size;
        uint8_t bytes[GW_MH_SIZE_MAX];
};

/* One family's socket. What came through it is of that family. */
struct way {
        struct gw_mobility *m;
        struct gw_mobility_link link;
        sd_event_source *source;
};

struct gw_mobility {
        struct gw_loop *loop;
        struct gw_flush flush;
        struct way way[2]; /* IPv6, IPv4 */
        gw_mobility_taken *taken;
        void *user;
        struct queued *queue;
        size_t first, waiting;
        unsigned answers; /* left in answers_s */
        uint64_t answers_s;
        uint64_t count[GW_MOBILITY_COUNTERS];
};

static const struct gw_mobility_link *link_to(const struct gw_mobility *m, struct gw_ip peer) {
        return &m->way[gw_ip_is_v4(peer)].link;
}

bool gw_mobility_reaches(const struct gw_mobility *m, struct gw_ip peer) {
        return link_to(m, peer)->fd >= 0;
}

struct gw_ip gw_mobility_address(const struct gw_mobility *m, struct gw_ip peer) {
        return link_to(m, peer)->address;
}

/* --- sending --- */

static void send_one(struct gw_mobility *m, const struct queued *q) {
        bool sent = !gw_mobility_link_send(link_to(m, q->to), q->to, q->bytes, q->size);

        m->count[sent ? GW_MOBILITY_SENT : GW_MOBILITY_SEND_FAILED]++;
}

static void on_flush(struct gw_flush *flush) {
        struct gw_mobility *m = gw_container_of(flush, struct gw_mobility, flush);

        for (; m->waiting; m->waiting--, m->first = (m->first + 1) % QUEUE)
                send_one(m, &m->queue[m->first]);
}

int gw_mobility_send(struct gw_mobility *m, struct gw_ip to, const uint8_t *bytes, size_t size) {
        struct queued *q = &m->queue[(m->first + m->waiting) % QUEUE];

        if (size > sizeof q->bytes || !gw_ip_is_unicast(to) || !gw_mobility_reaches(m, to))
                return GW_E_INVALID;
        if (m->waiting == QUEUE) {
                m->count[GW_MOBILITY_QUEUE_FULL]++;
                return GW_E_FULL;
        }
        q->to = to;
        q->size = size;
        memcpy(q->bytes, bytes, size);
        m->waiting++;
        gw_loop_flush_later(m->loop, &m->flush);
        return 0;
}

/* --- answers to what is malformed --- */

static bool may_answer(struct gw_mobility *m) {
        uint64_t second = gw_mono_now().ns / GW_NS_PER_S;

        if (second != m->answers_s) {
                m->answers_s = second;
                m->answers = ANSWERS_PER_S;
        }
        if (m->answers) {
                m->answers--;
                return true;
        }
        m->count[GW_MOBILITY_UNANSWERED]++;
        return false;
}

static void answer_error(struct gw_mobility *m, struct gw_ip from) {
        struct gw_upkeep error = {.kind = GW_MH_BINDING_ERROR, .status = GW_MH_ERROR_UNKNOWN_TYPE};
        uint8_t bytes[64];
        struct gw_writer w = gw_writer(bytes, sizeof bytes);

        if (!may_answer(m) || gw_upkeep_encode(&w, gw_mobility_address(m, from), from, &error))
                return;
        if (!gw_mobility_send(m, from, bytes, w.at))
                m->count[GW_MOBILITY_ERRORS_SENT]++;
}

static void answer_problem(struct gw_mobility *m, const struct gw_mobility_datagram *d, uint32_t offset) {
        const struct gw_mobility_link *link = link_to(m, d->from);
        uint8_t out[PROBLEM_MAX];
        struct gw_writer w = gw_writer(out, sizeof out);
        size_t room = sizeof out - 8 - IP6_HEADER;

        if (gw_ip_is_v4(d->from) || !may_answer(m))
                return;
        gw_put_u8(&w, ICMP6_PARAM_PROB);
        gw_put_u8(&w, ICMP6_PARAMPROB_HEADER);
        gw_put_u16(&w, 0);
        gw_put_u32(&w, IP6_HEADER + offset);
        gw_put_u32(&w, UINT32_C(6) << 28);
        gw_put_u16(&w, (uint16_t)d->size);
        gw_put_u8(&w, GW_MH_PROTOCOL);
        gw_put_u8(&w, (uint8_t)d->hop_limit);
        gw_put_bytes(&w, d->from.b, 16);
        gw_put_bytes(&w, link->address.b, 16);
        gw_put_bytes(&w, d->bytes, d->size < room ? d->size : room);
        if (!gw_mobility_link_send_icmp(link, d->from, out, w.at))
                m->count[GW_MOBILITY_PROBLEMS_SENT]++;
}

/* --- receiving --- */

static void take(struct gw_mobility *m, const struct gw_mobility_datagram *d) {
        m->count[GW_MOBILITY_RECEIVED]++;
        if (d->port != GW_MH_UDP_PORT) {
                m->count[GW_MOBILITY_BAD_PORT]++;
                return;
        }
        switch (gw_mh_check(d->bytes, d->size, d->from, gw_mobility_address(m, d->from))) {
        case GW_REG_FAULT_NONE:
                m->taken(d->from, d->bytes, d->size, m->user);
                return;
        case GW_REG_FAULT_CHECKSUM:
                m->count[GW_MOBILITY_BAD_CHECKSUM]++;
                return;
        case GW_REG_FAULT_TYPE:
                m->count[GW_MOBILITY_UNKNOWN_TYPE]++;
                answer_error(m, d->from);
                return;
        case GW_REG_FAULT_PAYLOAD:
                m->count[GW_MOBILITY_BAD_PAYLOAD]++;
                answer_problem(m, d, 0);
                return;
        case GW_REG_FAULT_HEADER_LENGTH:
                m->count[GW_MOBILITY_BAD_HEADER_LENGTH]++;
                answer_problem(m, d, 1);
                return;
        default:
                m->count[GW_MOBILITY_BAD_SIZE]++;
        }
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct way *way = user;
        struct gw_mobility_datagram d;

        (void)source, (void)fd, (void)events;
        for (int i = 0; i < TAKE_AT_ONCE && !gw_mobility_link_receive(&way->link, &d); i++)
                if (gw_ip_is_unicast(d.from) && link_to(way->m, d.from) == &way->link)
                        take(way->m, &d);
        return 0;
}

/* --- life --- */

int gw_mobility_new(struct gw_mobility **out, struct gw_loop *loop, gw_mobility_taken *taken, void *user) {
        struct gw_mobility *m = calloc(1, sizeof *m);

        if (!m)
                return -ENOMEM;
        *m = (struct gw_mobility){.loop = loop,
                                  .flush.run = on_flush,
                                  .taken = taken,
                                  .user = user,
                                  .queue = calloc(QUEUE, sizeof *m->queue)};
        for (int i = 0; i < 2; i++) {
                m->way[i].m = m;
                gw_mobility_link_init(&m->way[i].link);
        }
        if (!m->queue) {
                free(m);
                return -ENOMEM;
        }
        *out = m;
        return 0;
}

int gw_mobility_open(struct gw_mobility *m, struct gw_ip address, unsigned ifindex) {
        struct way *way = &m->way[gw_ip_is_v4(address)];
        int r;

        if (way->link.fd >= 0)
                return -EEXIST;
        r = gw_mobility_link_open(&way->link, address, ifindex);
        if (r < 0)
                return r;
        r = sd_event_add_io(m->loop->event, &way->source, way->link.fd, EPOLLIN, on_readable, way);
        if (r < 0)
                gw_mobility_link_close(&way->link);
        return r < 0 ? r : 0;
}

void gw_mobility_free(struct gw_mobility *m) {
        if (!m)
                return;
        gw_loop_cancel_flush(m->loop, &m->flush);
        for (int i = 0; i < 2; i++) {
                sd_event_source_disable_unref(m->way[i].source);
                gw_mobility_link_close(&m->way[i].link);
        }
        free(m->queue);
        free(m);
}

uint64_t gw_mobility_count(const struct gw_mobility *m, enum gw_mobility_counter counter) {
        return m->count[counter];
}

const char *gw_mobility_counter_word(enum gw_mobility_counter counter) {
        static const char *const words[GW_MOBILITY_COUNTERS] = {
                [GW_MOBILITY_RECEIVED] = "received",
                [GW_MOBILITY_SENT] = "sent",
                [GW_MOBILITY_BAD_SIZE] = "bad-size",
                [GW_MOBILITY_BAD_CHECKSUM] = "bad-checksum",
                [GW_MOBILITY_UNKNOWN_TYPE] = "unknown-type",
                [GW_MOBILITY_BAD_PAYLOAD] = "bad-payload-protocol",
                [GW_MOBILITY_BAD_HEADER_LENGTH] = "bad-header-length",
                [GW_MOBILITY_ERRORS_SENT] = "binding-errors-sent",
                [GW_MOBILITY_PROBLEMS_SENT] = "parameter-problems-sent",
                [GW_MOBILITY_UNANSWERED] = "answers-kept-back",
                [GW_MOBILITY_QUEUE_FULL] = "queue-full",
                [GW_MOBILITY_SEND_FAILED] = "send-failed",
                [GW_MOBILITY_BAD_PORT] = "bad-port",
        };

        return words[counter];
}
