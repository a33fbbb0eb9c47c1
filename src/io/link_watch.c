/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Link events (RTNLGRP_LINK) for an event loop. The socket stays with the
 * namespace in which it was opened. The kernel drops events rather than waiting
 * for a slow reader; that is told as -ENOBUFS, and the reader lists the links again.
 */
#include "io/netlink.h"

#include <errno.h>
#include <stdlib.h>

#include "io/rtnl.h"

enum { EVENTS_SIZE = 32768 };

struct gw_link_watch {
        struct mnl_socket *socket;
        char bytes[EVENTS_SIZE];
};

int gw_link_watch_new(struct gw_link_watch **out) {
        struct gw_link_watch *w = calloc(1, sizeof *w);
        int r;

        if (!w)
                return -ENOMEM;
        w->socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (!w->socket || mnl_socket_bind(w->socket, RTMGRP_LINK, MNL_SOCKET_AUTOPID) < 0) {
                r = -errno;
                gw_link_watch_free(w);
                return r;
        }
        *out = w;
        return 0;
}

void gw_link_watch_free(struct gw_link_watch *watch) {
        if (watch && watch->socket)
                mnl_socket_close(watch->socket);
        free(watch);
}

int gw_link_watch_fd(const struct gw_link_watch *watch) {
        return mnl_socket_get_fd(watch->socket);
}

int gw_link_watch_read(struct gw_link_watch *watch, void (*event)(const struct gw_link *link, bool gone, void *user),
                       void *user) {
        for (;;) {
                ssize_t size = mnl_socket_recvfrom(watch->socket, watch->bytes, sizeof watch->bytes);
                int left = (int)size;
                struct gw_link link;

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0)
                        return errno == EAGAIN ? 0 : -errno;
                for (struct nlmsghdr *m = (void *)watch->bytes; mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
                        const struct ifinfomsg *info = mnl_nlmsg_get_payload(m);
                        if (m->nlmsg_type != RTM_NEWLINK && m->nlmsg_type != RTM_DELLINK)
                                continue;
                        /* AF_BRIDGE messages tell of a bridge's ports, not of links that come and go. */
                        if (gw_link_decode(m, &link) || info->ifi_family != 0)
                                continue;
                        event(&link, m->nlmsg_type == RTM_DELLINK, user);
                }
        }
}
