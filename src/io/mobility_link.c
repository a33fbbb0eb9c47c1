/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The two ways of a Mobility Header.
 *
 * IPv6: a raw socket. Checksums are made and verified by who uses it and not by
 * the kernel (IPV6_CHECKSUM off), which would drop a wrong one without a trace:
 * it is to be counted. A second socket only sends ICMPv6 errors: nothing that
 * comes in is let through to it.
 *
 * IPv4: RFC 5844 puts the header behind UDP, port 5436, with no IPv6 header
 * between, and makes the outer source the IPv4 Proxy-CoA. UDP's own checksum is
 * the kernel's, which drops what is wrong (UdpInCsumErrors). Both ports are
 * 5436: there is one socket for each address, it sends from where it listens,
 * and the port a message came from is handed up to be looked at. A message that
 * is larger than the path's MTU travels in fragments, as it would over IPv6.
 */
#include "io/mobility_link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_BUFFER = 1 << 20, HOP_LIMIT_DEFAULT = 64 };

union endpoint {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
};

static socklen_t endpoint(struct gw_ip ip, union endpoint *out) {
        memset(out, 0, sizeof *out);
        if (gw_ip_is_v4(ip)) {
                out->v4.sin_family = AF_INET;
                out->v4.sin_port = htons(GW_MH_UDP_PORT);
                out->v4.sin_addr.s_addr = gw_ip_v4(ip);
                return sizeof out->v4;
        }
        out->v6.sin6_family = AF_INET6; /* without a port: it is raw */
        memcpy(&out->v6.sin6_addr, ip.b, sizeof ip.b);
        return sizeof out->v6;
}

/* --- life --- */

void gw_mobility_link_init(struct gw_mobility_link *link) {
        *link = (struct gw_mobility_link){.fd = -1, .icmp_fd = -1};
}

static int open_bound(struct gw_ip address, unsigned ifindex, int type, int protocol) {
        union endpoint at;
        socklen_t size = endpoint(address, &at);
        int fd = socket(at.any.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol), r;

        if (fd < 0)
                return -errno;
        if ((!ifindex || setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &ifindex, sizeof ifindex) == 0) &&
            bind(fd, &at.any, size) == 0)
                return fd;
        r = -errno;
        close(fd);
        return r;
}

static int open_raw(struct gw_mobility_link *link, unsigned ifindex) {
        int off = -1, on = 1;
        struct icmp6_filter none;

        ICMP6_FILTER_SETBLOCKALL(&none);
        link->fd = open_bound(link->address, ifindex, SOCK_RAW, GW_MH_PROTOCOL);
        if (link->fd < 0)
                return link->fd;
        if (setsockopt(link->fd, IPPROTO_IPV6, IPV6_CHECKSUM, &off, sizeof off) < 0 ||
            setsockopt(link->fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &on, sizeof on) < 0)
                return -errno;
        link->icmp_fd = open_bound(link->address, ifindex, SOCK_RAW, IPPROTO_ICMPV6);
        if (link->icmp_fd < 0)
                return link->icmp_fd;
        return setsockopt(link->icmp_fd, IPPROTO_ICMPV6, ICMP6_FILTER, &none, sizeof none) < 0 ? -errno : 0;
}

static int open_udp(struct gw_mobility_link *link, unsigned ifindex) {
        link->fd = open_bound(link->address, ifindex, SOCK_DGRAM, IPPROTO_UDP);
        return link->fd < 0 ? link->fd : 0;
}

int gw_mobility_link_open(struct gw_mobility_link *link, struct gw_ip address, unsigned ifindex) {
        int buffer = RECEIVE_BUFFER, r;

        gw_mobility_link_init(link);
        link->address = address;
        r = gw_ip_is_v4(address) ? open_udp(link, ifindex) : open_raw(link, ifindex);
        if (r < 0) {
                gw_mobility_link_close(link);
                return r;
        }
        setsockopt(link->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        return 0;
}

void gw_mobility_link_close(struct gw_mobility_link *link) {
        if (link->fd >= 0)
                close(link->fd);
        if (link->icmp_fd >= 0)
                close(link->icmp_fd);
        gw_mobility_link_init(link);
}

/* --- messages --- */

static int send_through(int fd, struct gw_ip to, const uint8_t *bytes, size_t size) {
        union endpoint at;
        socklen_t at_size = endpoint(to, &at);
        ssize_t n = sendto(fd, bytes, size, MSG_DONTWAIT, &at.any, at_size);

        return n == (ssize_t)size ? 0 : n < 0 ? -errno : -EMSGSIZE;
}

int gw_mobility_link_send(const struct gw_mobility_link *link, struct gw_ip to, const uint8_t *bytes, size_t size) {
        return send_through(link->fd, to, bytes, size);
}

int gw_mobility_link_send_icmp(const struct gw_mobility_link *link, struct gw_ip to, const uint8_t *bytes,
                               size_t size) {
        return link->icmp_fd < 0 ? -EOPNOTSUPP : send_through(link->icmp_fd, to, bytes, size);
}

static int read_hop_limit(struct msghdr *msg) {
        int value = HOP_LIMIT_DEFAULT;

        for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
                if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
                        memcpy(&value, CMSG_DATA(c), sizeof value);
        return value;
}

int gw_mobility_link_receive(const struct gw_mobility_link *link, struct gw_mobility_datagram *out) {
        _Alignas(struct cmsghdr) uint8_t control[64];
        union endpoint at = {0};
        struct iovec part = {out->bytes, sizeof out->bytes};
        struct msghdr msg = {.msg_name = &at,
                             .msg_namelen = sizeof at,
                             .msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control,
                             .msg_controllen = sizeof control};
        ssize_t n;

        do
                n = recvmsg(link->fd, &msg, MSG_DONTWAIT);
        while (n < 0 && errno == EINTR);
        if (n < 0)
                return -errno;
        out->size = (size_t)n;
        out->hop_limit = read_hop_limit(&msg);
        if (at.any.sa_family == AF_INET) {
                out->from = gw_ip_from_v4(at.v4.sin_addr.s_addr);
                out->port = ntohs(at.v4.sin_port);
        } else {
                memcpy(out->from.b, &at.v6.sin6_addr, sizeof out->from.b);
                out->port = GW_MH_UDP_PORT;
        }
        return 0;
}
