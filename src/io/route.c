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
