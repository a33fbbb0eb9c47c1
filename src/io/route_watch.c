/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which way the kernel would send to an address, and when its answer may have
 * changed. The sockets are of the namespace in which the watch was opened: one asks
 * (RTM_GETROUTE), one hears of routes, rules, addresses and links, one asks for
 * IPsec policies. What was heard is not looked at: any of it may change any answer.
 *
 * A way is given only when it is plain: one next hop, no tunnel on the route. The
 * question asks for the route itself (RTM_F_FIB_MATCH), not for the path that one
 * flow would take, so that several paths are seen as such and left to the kernel.
 */
#include "io/netlink.h"

#include <errno.h>
#include <linux/xfrm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "io/rtnl.h"

enum { ANSWER_SIZE = 8192, ANSWER_WITHIN_MS = 500 };

struct gw_route_watch {
        struct mnl_socket *events, *queries, *policies;
        uint32_t serial; /* of questions: an answer that came late is not taken for the next one's */
        char bytes[ANSWER_SIZE];
};

static int events_open(struct gw_route_watch *w) {
        static const int groups[] = {RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
                                     RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP};

        w->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!w->events || mnl_socket_bind(w->events, 0, MNL_SOCKET_AUTOPID) < 0)
                return -errno;
        for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
                int group = groups[i];
                if (mnl_socket_setsockopt(w->events, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
                        return -errno;
        }
        return 0;
}

static struct mnl_socket *queries_open(int family) {
        struct timeval limit = {.tv_usec = ANSWER_WITHIN_MS * 1000};
        struct mnl_socket *socket = mnl_socket_open2(family, SOCK_CLOEXEC);
        int error;

        if (!socket || (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) >= 0 &&
                        !setsockopt(mnl_socket_get_fd(socket), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit)))
                return socket;
        error = errno;
        mnl_socket_close(socket);
        errno = error;
        return NULL;
}

int gw_route_watch_new(struct gw_route_watch **out) {
        struct gw_route_watch *w = calloc(1, sizeof *w);
        int r;

        if (!w)
                return -ENOMEM;
        r = events_open(w);
        if (!r) {
                w->queries = queries_open(NETLINK_ROUTE);
                r = w->queries ? 0 : -errno;
        }
        if (r) {
                gw_route_watch_free(w);
                return r;
        }
        w->policies = queries_open(NETLINK_XFRM); /* a kernel without IPsec has none */
        *out = w;
        return 0;
}

void gw_route_watch_free(struct gw_route_watch *watch) {
        if (watch && watch->events)
                mnl_socket_close(watch->events);
        if (watch && watch->queries)
                mnl_socket_close(watch->queries);
        if (watch && watch->policies)
                mnl_socket_close(watch->policies);
        free(watch);
}

int gw_route_watch_fd(const struct gw_route_watch *watch) {
        return mnl_socket_get_fd(watch->events);
}

bool gw_route_watch_changed(struct gw_route_watch *watch) {
        bool changed = false;

        for (;;) {
                bool got = mnl_socket_recvfrom(watch->events, watch->bytes, sizeof watch->bytes) >= 0;

                if (!got && errno == EINTR)
                        continue;
                if (!got && errno != ENOBUFS && errno != ENOSPC) /* those: events lost, or one cut short */
                        return changed;
                changed = true;
        }
}

struct way {
        struct gw_next_hop hop;
        bool plain;
};

static int way_attr(const struct nlattr *attr, void *user) {
        size_t size = mnl_attr_get_payload_len(attr);
        const uint8_t *octets = mnl_attr_get_payload(attr);
        struct way *way = user;
        struct rtvia via;

        switch (mnl_attr_get_type(attr)) {
        case RTA_OIF:
                way->hop.ifindex = size == 4 ? mnl_attr_get_u32(attr) : 0;
                break;
        case RTA_GATEWAY:
                if (size == 4)
                        way->hop.ip = gw_ip_from_v4(*(const uint32_t *)(const void *)octets);
                else if (size == 16)
                        memcpy(way->hop.ip.b, octets, 16);
                break;
        case RTA_VIA: /* an IPv6 gateway on an IPv4 route (RFC 5549) */
                memcpy(&via, octets, size < sizeof via ? 0 : sizeof via);
                if (size == sizeof via + 16 && via.rtvia_family == AF_INET6)
                        memcpy(way->hop.ip.b, octets + sizeof via, 16);
                else
                        way->plain = false;
                break;
        case RTA_MULTIPATH:
        case RTA_ENCAP:
                way->plain = false;
                break;
        default:
                break;
        }
        return MNL_CB_OK;
}

/* 0 and *out, or a negative errno. */
static int way_decode(const struct nlmsghdr *m, struct gw_next_hop *out) {
        const struct rtmsg *route = mnl_nlmsg_get_payload(m);
        struct way way = {.hop = *out, .plain = true};

        if (mnl_nlmsg_get_payload_len(m) < sizeof *route)
                return -EBADMSG;
        if (route->rtm_type != RTN_UNICAST || mnl_attr_parse(m, sizeof *route, way_attr, &way) < MNL_CB_STOP)
                return -EHOSTUNREACH;
        if (!way.plain || !way.hop.ifindex)
                return -EHOSTUNREACH;
        *out = way.hop;
        return 0;
}

/* The answer, in the watch's buffer until the next question; NULL when there is none, or an error. */
static const struct nlmsghdr *ask(struct gw_route_watch *w, struct mnl_socket *socket,
                                  struct gw_rtnl_request *request) {
        request->header.nlmsg_seq = ++w->serial;
        if (mnl_socket_sendto(socket, request->bytes, request->header.nlmsg_len) < 0)
                return NULL;
        for (;;) {
                ssize_t size = mnl_socket_recvfrom(socket, w->bytes, sizeof w->bytes);
                const struct nlmsghdr *m = (const void *)w->bytes;

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0)
                        return NULL;
                if (mnl_nlmsg_ok(m, (int)size) && m->nlmsg_seq == w->serial)
                        return m->nlmsg_type == NLMSG_ERROR ? NULL : m;
        }
}

int gw_route_watch_next_hop(struct gw_route_watch *watch, struct gw_ip to, struct gw_ip from, struct gw_next_hop *out) {
        struct gw_rtnl_request request;
        struct rtmsg *m = gw_rtnl_begin(&request, RTM_GETROUTE, 0, sizeof *m);
        const struct nlmsghdr *answer;
        bool v4 = gw_ip_is_v4(to);
        int skip = v4 ? 12 : 0, octets = v4 ? 4 : 16;

        m->rtm_family = v4 ? AF_INET : AF_INET6;
        m->rtm_dst_len = m->rtm_src_len = (uint8_t)(octets * 8);
        m->rtm_flags = RTM_F_FIB_MATCH;
        mnl_attr_put(&request.header, RTA_DST, (size_t)octets, to.b + skip);
        mnl_attr_put(&request.header, RTA_SRC, (size_t)octets, from.b + skip);
        answer = ask(watch, watch->queries, &request);
        *out = (struct gw_next_hop){.ip = to}; /* unless it is behind a gateway */
        return answer ? way_decode(answer, out) : -EHOSTUNREACH;
}

static int policies_attr(const struct nlattr *attr, void *user) {
        struct xfrmu_spdinfo info;

        if (mnl_attr_get_type(attr) == XFRMA_SPD_INFO && mnl_attr_get_payload_len(attr) >= sizeof info) {
                memcpy(&info, mnl_attr_get_payload(attr), sizeof info);
                *(bool *)user = info.outcnt > 0;
        }
        return MNL_CB_OK;
}

bool gw_route_watch_ipsec(struct gw_route_watch *watch) {
        struct gw_rtnl_request request;
        const struct nlmsghdr *answer;
        bool found = false;

        if (!watch->policies)
                return false;
        gw_rtnl_begin(&request, XFRM_MSG_GETSPDINFO, 0, sizeof(uint32_t));
        answer = ask(watch, watch->policies, &request);
        if (!answer || answer->nlmsg_type != XFRM_MSG_NEWSPDINFO) /* it does not say: better slow than in the clear */
                return true;
        (void)mnl_attr_parse(answer, sizeof(uint32_t), policies_attr, &found);
        return found;
}
