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
 * Checksums are made and verified here and not by the kernel (IPV6_CHECKSUM off),
 * which would drop a wrong one without a trace: it is to be counted.
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
#include <netinet/in.h>
#include <netinet/ip6.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "wire/header.h"
#include "wire/upkeep.h"

enum {
        QUEUE = 256,
        TAKE_AT_ONCE = 64, /* messages in one turn of the loop */
        ANSWERS_PER_S = 10,
        RECEIVE_BUFFER = 1 << 20,
        IP6_HEADER = 40,
        PROBLEM_MAX = 1280 - IP6_HEADER, /* an ICMPv6 error fits the least MTU */
        HOP_LIMIT_DEFAULT = 64,
};

struct queued {
        struct gw_ip to;
        size_t size;
        uint8_t bytes[GW_MH_SIZE_MAX];
};

struct gw_mobility {
        struct gw_loop *loop;
        struct gw_flush flush;
        sd_event_source *source;
        int fd, icmp_fd;
        struct gw_ip address;
        gw_mobility_taken *taken;
        void *user;
        struct queued *queue;
        size_t first, waiting;
        unsigned answers; /* left in answers_s */
        uint64_t answers_s;
        uint64_t count[GW_MOBILITY_COUNTERS];
};

static struct sockaddr_in6 socket_address(struct gw_ip ip) {
        struct sockaddr_in6 out = {.sin6_family = AF_INET6};

        memcpy(&out.sin6_addr, ip.b, sizeof ip.b);
        return out;
}

/* --- sending --- */

static void send_one(struct gw_mobility *m, const struct queued *q) {
        struct sockaddr_in6 to = socket_address(q->to);

        if (sendto(m->fd, q->bytes, q->size, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) == (ssize_t)q->size)
                m->count[GW_MOBILITY_SENT]++;
        else
                m->count[GW_MOBILITY_SEND_FAILED]++;
}

static void on_flush(struct gw_flush *flush) {
        struct gw_mobility *m = gw_container_of(flush, struct gw_mobility, flush);

        for (; m->waiting; m->waiting--, m->first = (m->first + 1) % QUEUE)
                send_one(m, &m->queue[m->first]);
}

int gw_mobility_send(struct gw_mobility *m, struct gw_ip to, const uint8_t *bytes, size_t size) {
        struct queued *q = &m->queue[(m->first + m->waiting) % QUEUE];

        if (size > sizeof q->bytes || gw_ip_is_v4(to) || !gw_ip_is_unicast(to))
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

        if (!may_answer(m) || gw_upkeep_encode(&w, m->address, from, &error))
                return;
        if (!gw_mobility_send(m, from, bytes, w.at))
                m->count[GW_MOBILITY_ERRORS_SENT]++;
}

/* The kernel fills in the ICMPv6 checksum. */
static void answer_problem(struct gw_mobility *m, struct gw_ip from, const uint8_t *bytes, size_t size, int hop_limit,
                           uint32_t offset) {
        uint8_t out[PROBLEM_MAX];
        struct gw_writer w = gw_writer(out, sizeof out);
        struct sockaddr_in6 to = socket_address(from);
        size_t room = sizeof out - 8 - IP6_HEADER;

        if (m->icmp_fd < 0 || !may_answer(m))
                return;
        gw_put_u8(&w, ICMP6_PARAM_PROB);
        gw_put_u8(&w, ICMP6_PARAMPROB_HEADER);
        gw_put_u16(&w, 0);
        gw_put_u32(&w, IP6_HEADER + offset);
        gw_put_u32(&w, UINT32_C(6) << 28);
        gw_put_u16(&w, (uint16_t)size);
        gw_put_u8(&w, GW_MH_PROTOCOL);
        gw_put_u8(&w, (uint8_t)hop_limit);
        gw_put_bytes(&w, from.b, 16);
        gw_put_bytes(&w, m->address.b, 16);
        gw_put_bytes(&w, bytes, size < room ? size : room);
        if (sendto(m->icmp_fd, out, w.at, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to) == (ssize_t)w.at)
                m->count[GW_MOBILITY_PROBLEMS_SENT]++;
}

/* --- receiving --- */

static void take(struct gw_mobility *m, struct gw_ip from, const uint8_t *bytes, size_t size, int hop_limit) {
        m->count[GW_MOBILITY_RECEIVED]++;
        switch (gw_mh_check(bytes, size, from, m->address)) {
        case GW_REG_FAULT_NONE:
                m->taken(from, bytes, size, m->user);
                return;
        case GW_REG_FAULT_CHECKSUM:
                m->count[GW_MOBILITY_BAD_CHECKSUM]++;
                return;
        case GW_REG_FAULT_TYPE:
                m->count[GW_MOBILITY_UNKNOWN_TYPE]++;
                answer_error(m, from);
                return;
        case GW_REG_FAULT_PAYLOAD:
                m->count[GW_MOBILITY_BAD_PAYLOAD]++;
                answer_problem(m, from, bytes, size, hop_limit, 0);
                return;
        case GW_REG_FAULT_HEADER_LENGTH:
                m->count[GW_MOBILITY_BAD_HEADER_LENGTH]++;
                answer_problem(m, from, bytes, size, hop_limit, 1);
                return;
        default:
                m->count[GW_MOBILITY_BAD_SIZE]++;
        }
}

static int read_hop_limit(struct msghdr *msg) {
        int value = HOP_LIMIT_DEFAULT;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
                if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
                        memcpy(&value, CMSG_DATA(c), sizeof value);
        return value;
}

static bool receive(struct gw_mobility *m) {
        uint8_t bytes[GW_MH_SIZE_MAX + 1]; /* one more, to see that it is too long */
        _Alignas(struct cmsghdr) uint8_t control[64];
        struct sockaddr_in6 address = {0};
        struct iovec part = {bytes, sizeof bytes};
        struct msghdr msg = {.msg_name = &address,
                             .msg_namelen = sizeof address,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n = recvmsg(m->fd, &msg, MSG_DONTWAIT);
        struct gw_ip from;

        if (n < 0)
                return errno == EINTR;
        memcpy(from.b, &address.sin6_addr, sizeof from.b);
        if (gw_ip_is_unicast(from))
                take(m, from, bytes, (size_t)n, read_hop_limit(&msg));
        return true;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *user) {
        (void)source, (void)fd, (void)events;
        for (int i = 0; i < TAKE_AT_ONCE && receive(user); i++)
                ;
        return 0;
}

/* --- life --- */

static int open_raw(struct gw_ip address, unsigned ifindex, int protocol) {
        struct sockaddr_in6 at = socket_address(address);
        int fd = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol), r;

        if (fd < 0)
                return -errno;
        if ((!ifindex || setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof ifindex) == 0) &&
            bind(fd, (struct sockaddr *)&at, sizeof at) == 0)
                return fd;
        r = -errno;
        close(fd);
        return r;
}

static int open_mobility(struct gw_mobility *m, unsigned ifindex) {
        int off = -1, on = 1, buffer = RECEIVE_BUFFER;

        m->fd = open_raw(m->address, ifindex, GW_MH_PROTOCOL);
        if (m->fd < 0)
                return m->fd;
        if (setsockopt(m->fd, IPPROTO_IPV6, IPV6_CHECKSUM, &off, sizeof off) < 0 ||
            setsockopt(m->fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on) < 0)
                return -errno;
        setsockopt(m->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        return sd_event_add_io(m->loop->event, &m->source, m->fd, EPOLLIN, on_readable, m);
}

/* Only to send through: nothing that comes in is let through to it. */
static int open_icmp(struct gw_mobility *m, unsigned ifindex) {
        struct icmp6_filter none;

        m->icmp_fd = open_raw(m->address, ifindex, IPPROTO_ICMPV6);
        if (m->icmp_fd < 0)
                return m->icmp_fd;
        ICMP6_FILTER_SETBLOCKALL(&none);
        return setsockopt(m->icmp_fd, IPPROTO_ICMPV6, ICMP6_FILTER, &none, sizeof none) < 0 ? -errno : 0;
}

int gw_mobility_new(struct gw_mobility **out, struct gw_loop *loop, struct gw_ip address, unsigned ifindex,
                    gw_mobility_taken *taken, void *user) {
        struct gw_mobility *m = calloc(1, sizeof *m);
        int r;

        if (!m)
                return -ENOMEM;
        *m = (struct gw_mobility){.loop = loop,
                                  .flush.run = on_flush,
                                  .fd = -1,
                                  .icmp_fd = -1,
                                  .address = address,
                                  .taken = taken,
                                  .user = user,
                                  .queue = calloc(QUEUE, sizeof *m->queue)};
        r = m->queue ? open_mobility(m, ifindex) : -ENOMEM;
        if (r >= 0)
                r = open_icmp(m, ifindex);
        if (r < 0) {
                gw_mobility_free(m);
                return r;
        }
        *out = m;
        return 0;
}

void gw_mobility_free(struct gw_mobility *m) {
        if (!m)
                return;
        gw_loop_cancel_flush(m->loop, &m->flush);
        sd_event_source_disable_unref(m->source);
        if (m->fd >= 0)
                close(m->fd);
        if (m->icmp_fd >= 0)
                close(m->icmp_fd);
        free(m->queue);
        free(m);
}

struct gw_ip gw_mobility_address(const struct gw_mobility *m) {
        return m->address;
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
        };

        return words[counter];
}
