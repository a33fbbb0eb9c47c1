/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One rtnetlink request and its answer (RFC 3549). A socket lives for one
 * request: it belongs to the network namespace in which it was opened, and the
 * caller may be in another one the next time. At some 20 us each that is cheap
 * enough for what is done per port, and nothing here is done per packet.
 */
#include "io/rtnl.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

enum { ANSWER_MAX = 32768 }; /* the kernel fills a dump message up to this */

void *gw_rtnl_begin(struct gw_rtnl_request *request, uint16_t type, uint16_t flags, size_t extra) {
        struct nlmsghdr *header = mnl_nlmsg_put_header(request->bytes);

        header->nlmsg_type = type;
        header->nlmsg_flags = NLM_F_REQUEST | flags;
        header->nlmsg_seq = 1;
        return mnl_nlmsg_put_extra_header(header, extra);
}

struct answer {
        int (*each)(const struct nlmsghdr *message, void *user);
        void *user;
        int result;
        bool done;
};

static void take(struct answer *a, const struct nlmsghdr *m) {
        if (m->nlmsg_type == NLMSG_ERROR) {
                const struct nlmsgerr *e = mnl_nlmsg_get_payload(m);
                a->done = true;
                a->result = mnl_nlmsg_get_payload_len(m) < sizeof *e ? -EBADMSG : e->error;
        } else if (m->nlmsg_type == NLMSG_DONE) {
                a->done = true;
        } else if (a->each) {
                a->result = a->each(m, a->user);
                a->done = a->result != 0;
        }
}

static int receive(struct mnl_socket *socket, struct answer *a) {
        static _Thread_local char bytes[ANSWER_MAX];

        while (!a->done) {
                ssize_t size = mnl_socket_recvfrom(socket, bytes, sizeof bytes);
                int left = (int)size;

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0)
                        return -errno;
                for (struct nlmsghdr *m = (void *)bytes; !a->done && mnl_nlmsg_ok(m, left);
                     m = mnl_nlmsg_next(m, &left))
                        take(a, m);
        }
        return a->result;
}

static int run(struct gw_rtnl_request *request, struct answer *a) {
        struct mnl_socket *socket = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
        int r = 0;

        if (!socket)
                return -errno;
        if (mnl_socket_bind(socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
            mnl_socket_sendto(socket, request->bytes, request->header.nlmsg_len) < 0)
                r = -errno;
        if (!r)
                r = receive(socket, a);
        mnl_socket_close(socket);
        return r;
}

int gw_rtnl_ask(struct gw_rtnl_request *request) {
        struct answer a = {0};

        request->header.nlmsg_flags |= NLM_F_ACK;
        return run(request, &a);
}

int gw_rtnl_query(struct gw_rtnl_request *request, int (*each)(const struct nlmsghdr *message, void *user),
                  void *user) {
        struct answer a = {.each = each, .user = user};

        if (!(request->header.nlmsg_flags & NLM_F_DUMP))
                request->header.nlmsg_flags |= NLM_F_ACK;
        return run(request, &a);
}
