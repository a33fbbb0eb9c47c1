/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses, routes and neighbours of the host, and sysctls. An address is 16
 * octets here and 4 or 16 on netlink; `family` and `put_ip` hide the difference.
 */
#include "io/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io/rtnl.h"

static uint8_t family(struct gw_ip ip) {
        return gw_ip_is_v4(ip) ? AF_INET : AF_INET6;
}

static void put_ip(struct nlmsghdr *h, uint16_t attr, struct gw_ip ip) {
        if (gw_ip_is_v4(ip))
                mnl_attr_put(h, attr, 4, ip.b + 12);
        else
                mnl_attr_put(h, attr, 16, ip.b);
}

static int address(uint16_t type, uint16_t flags, const char *link, struct gw_ip ip, uint8_t bits) {
        struct gw_rtnl_request request;
        struct ifaddrmsg *m = gw_rtnl_begin(&request, type, flags, sizeof *m);
        int index = gw_link_index(link);

        if (index < 0)
                return index;
        m->ifa_family = family(ip);
        m->ifa_prefixlen = bits;
        m->ifa_index = (unsigned)index;
        m->ifa_flags = gw_ip_is_v4(ip) ? 0 : IFA_F_NODAD;
        put_ip(&request.header, IFA_LOCAL, ip);
        put_ip(&request.header, IFA_ADDRESS, ip);
        return gw_rtnl_ask(&request);
}

int gw_addr_add(const char *link, struct gw_ip ip, uint8_t bits) {
        return address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, ip, bits);
}

int gw_addr_del(const char *link, struct gw_ip ip, uint8_t bits) {
        return address(RTM_DELADDR, 0, link, ip, bits);
}

static int route(uint16_t type, uint16_t flags, const struct gw_prefix *to, const struct gw_ip *via, const char *link) {
        struct gw_rtnl_request request;
        struct rtmsg *m = gw_rtnl_begin(&request, type, flags, sizeof *m);
        const struct gw_ip *sample = to ? &to->ip : via; /* tells the family */
        int index = link ? gw_link_index(link) : 0;

        if (index < 0 || !sample || (!via && !link))
                return index < 0 ? index : -EINVAL;
        m->rtm_family = family(*sample);
        m->rtm_table = RT_TABLE_MAIN;
        m->rtm_protocol = type == RTM_NEWROUTE ? RTPROT_STATIC : 0;
        m->rtm_type = type == RTM_NEWROUTE ? RTN_UNICAST : 0;
        m->rtm_scope = via || m->rtm_family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
        if (to && to->bits > (m->rtm_family == AF_INET ? 96 : 0)) {
                m->rtm_dst_len = (uint8_t)(to->bits - (m->rtm_family == AF_INET ? 96 : 0));
                put_ip(&request.header, RTA_DST, to->ip);
        }
        if (via)
                put_ip(&request.header, RTA_GATEWAY, *via);
        if (link)
                mnl_attr_put_u32(&request.header, RTA_OIF, (uint32_t)index);
        return gw_rtnl_ask(&request);
}

int gw_route_add(const struct gw_prefix *to, const struct gw_ip *via, const char *link) {
        return route(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, to, via, link);
}

int gw_route_del(const struct gw_prefix *to, const struct gw_ip *via, const char *link) {
        return route(RTM_DELROUTE, 0, to, via, link);
}

static struct rtmsg *host_route_begin(struct gw_rtnl_request *request, uint16_t type, uint16_t flags, struct gw_ip to) {
        struct rtmsg *m = gw_rtnl_begin(request, type, flags, sizeof *m);

        m->rtm_family = family(to);
        m->rtm_table = RT_TABLE_MAIN;
        m->rtm_protocol = GW_ROUTE_PROTOCOL;
        m->rtm_dst_len = m->rtm_family == AF_INET ? 32 : 128;
        put_ip(&request->header, RTA_DST, to);
        return m;
}

/* An IPv4 route by way of an IPv6 gateway has the gateway in another attribute (RFC 5549). */
static int put_gateway(struct nlmsghdr *h, uint8_t route_family, struct gw_ip gateway) {
        uint8_t via[sizeof(struct rtvia) + 16] = {0};

        if (family(gateway) == route_family) {
                put_ip(h, RTA_GATEWAY, gateway);
                return 0;
        }
        if (route_family != AF_INET)
                return -EAFNOSUPPORT;
        ((struct rtvia *)(void *)via)->rtvia_family = AF_INET6;
        memcpy(via + sizeof(struct rtvia), gateway.b, 16);
        mnl_attr_put(h, RTA_VIA, sizeof via, via);
        return 0;
}

int gw_host_route_set(struct gw_ip to, const struct gw_next_hop *hop) {
        struct gw_rtnl_request request;
        struct rtmsg *m = host_route_begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, to);
        int r = put_gateway(&request.header, m->rtm_family, hop->ip);

        m->rtm_type = RTN_UNICAST;
        m->rtm_scope = RT_SCOPE_UNIVERSE;
        mnl_attr_put_u32(&request.header, RTA_OIF, hop->ifindex);
        return r ? r : gw_rtnl_ask(&request);
}

int gw_host_route_del(struct gw_ip to) {
        struct gw_rtnl_request request;
        struct rtmsg *m = host_route_begin(&request, RTM_DELROUTE, 0, to);
        int r;

        m->rtm_scope = RT_SCOPE_NOWHERE;
        r = gw_rtnl_ask(&request);
        return r == -ESRCH || r == -ENOENT ? 0 : r;
}

struct found_routes {
        struct gw_ip to[64];
        size_t n;
};

static int route_dst(const struct nlattr *attr, void *user) {
        struct gw_ip *to = user;

        if (mnl_attr_get_type(attr) == RTA_DST && mnl_attr_get_payload_len(attr) == 4)
                *to = gw_ip_from_v4(*(const uint32_t *)mnl_attr_get_payload(attr));
        else if (mnl_attr_get_type(attr) == RTA_DST && mnl_attr_get_payload_len(attr) == 16)
                memcpy(to->b, mnl_attr_get_payload(attr), 16);
        return MNL_CB_OK;
}

static int route_found(const struct nlmsghdr *message, void *user) {
        const struct rtmsg *m = mnl_nlmsg_get_payload(message);
        struct found_routes *found = user;
        size_t room = sizeof found->to / sizeof *found->to;

        if (m->rtm_protocol != GW_ROUTE_PROTOCOL || m->rtm_table != RT_TABLE_MAIN || found->n == room)
                return 0;
        mnl_attr_parse(message, sizeof *m, route_dst, &found->to[found->n++]);
        return 0;
}

static int flush_family(uint8_t route_family) {
        struct found_routes found;
        struct gw_rtnl_request request;
        struct rtmsg *m;
        int r;

        do {
                found = (struct found_routes){0};
                m = gw_rtnl_begin(&request, RTM_GETROUTE, NLM_F_DUMP, sizeof *m);
                m->rtm_family = route_family;
                r = gw_rtnl_query(&request, route_found, &found);
                for (size_t i = 0; i < found.n && !r; i++)
                        r = gw_host_route_del(found.to[i]);
        } while (found.n && !r);
        return r;
}

int gw_host_route_flush(void) {
        int r = flush_family(AF_INET);

        return r ? r : flush_family(AF_INET6);
}

static int neighbour(uint16_t type, uint16_t flags, const char *link, struct gw_ip ip, const struct gw_mac *mac) {
        struct gw_rtnl_request request;
        struct ndmsg *m = gw_rtnl_begin(&request, type, flags, sizeof *m);
        int index = gw_link_index(link);

        if (index < 0)
                return index;
        m->ndm_family = family(ip);
        m->ndm_ifindex = index;
        m->ndm_state = NUD_PERMANENT;
        put_ip(&request.header, NDA_DST, ip);
        if (mac)
                mnl_attr_put(&request.header, NDA_LLADDR, sizeof *mac, mac);
        return gw_rtnl_ask(&request);
}

int gw_neigh_add(const char *link, struct gw_ip ip, struct gw_mac mac) {
        return neighbour(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, link, ip, &mac);
}

int gw_neigh_del(const char *link, struct gw_ip ip) {
        return neighbour(RTM_DELNEIGH, 0, link, ip, NULL);
}

int gw_sysctl_write(const char *path, const char *value) {
        char full[256];
        size_t size = strlen(value);
        ssize_t wrote;
        int fd;

        if (strstr(path, "..") || snprintf(full, sizeof full, "/proc/sys/%s", path) >= (int)sizeof full)
                return -EINVAL;
        fd = open(full, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        wrote = write(fd, value, size);
        if (wrote != (ssize_t)size) {
                int r = wrote < 0 ? -errno : -EIO;
                close(fd);
                return r;
        }
        close(fd);
        return 0;
}
