/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links: looking at them and changing them, by name. Every change is one
 * RTM_NEWLINK that carries only what it changes.
 */
#include "io/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "io/rtnl.h"

int gw_link_name_check(const char *name) {
        size_t n = name ? strlen(name) : 0;

        return n >= 1 && n <= GW_LINK_NAME_MAX && !strchr(name, '/') ? 0 : -EINVAL;
}

int gw_link_index(const char *name) {
        unsigned index;

        if (gw_link_name_check(name))
                return -EINVAL;
        index = if_nametoindex(name);
        return index ? (int)index : -ENODEV;
}

static void copy_text(char *to, size_t size, const struct nlattr *attr) {
        snprintf(to, size, "%.*s", (int)mnl_attr_get_payload_len(attr), mnl_attr_get_str(attr));
}

static int decode_vxlan(const struct nlattr *attr, void *user) {
        struct gw_link *out = user;

        if (mnl_attr_get_type(attr) == IFLA_VXLAN_PORT && mnl_attr_get_payload_len(attr) == sizeof out->vxlan_port)
                out->vxlan_port = ntohs(mnl_attr_get_u16(attr));
        return MNL_CB_OK;
}

/* The kind comes before what depends on it. */
static int decode_info(const struct nlattr *attr, void *user) {
        struct gw_link *out = user;

        if (mnl_attr_get_type(attr) == IFLA_INFO_KIND)
                copy_text(out->kind, sizeof out->kind, attr);
        else if (mnl_attr_get_type(attr) == IFLA_INFO_DATA && strcmp(out->kind, "vxlan") == 0)
                return mnl_attr_parse_nested(attr, decode_vxlan, out);
        return MNL_CB_OK;
}

/* Attributes are aligned to four octets only. */
static uint64_t received_of(const void *payload) {
        struct rtnl_link_stats64 stats;

        memcpy(&stats, payload, sizeof stats);
        return stats.rx_packets;
}

static int decode_attr(const struct nlattr *attr, void *user) {
        size_t size = mnl_attr_get_payload_len(attr);
        struct gw_link *out = user;

        switch (mnl_attr_get_type(attr)) {
        case IFLA_IFNAME:
                copy_text(out->name, sizeof out->name, attr);
                break;
        case IFLA_LINKINFO:
                return mnl_attr_parse_nested(attr, decode_info, out);
        case IFLA_ADDRESS:
                if (size == sizeof out->mac)
                        memcpy(&out->mac, mnl_attr_get_payload(attr), size);
                break;
        case IFLA_MTU:
                out->mtu = size == 4 ? mnl_attr_get_u32(attr) : 0;
                break;
        case IFLA_TXQLEN:
                out->qlen = size == 4 ? mnl_attr_get_u32(attr) : 0;
                break;
        case IFLA_MASTER:
                out->master = size == 4 ? (int)mnl_attr_get_u32(attr) : 0;
                break;
        case IFLA_LINK_NETNSID:
                out->peer_elsewhere = true;
                break;
        case IFLA_STATS64:
                if (size >= sizeof(struct rtnl_link_stats64))
                        out->received = received_of(mnl_attr_get_payload(attr));
                break;
        case IFLA_CARRIER:
                out->carrier = size == 1 && mnl_attr_get_u8(attr);
                break;
        default:
                break;
        }
        return MNL_CB_OK;
}

int gw_link_decode(const struct nlmsghdr *message, struct gw_link *out) {
        const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);

        if (mnl_nlmsg_get_payload_len(message) < sizeof *info)
                return -EINVAL;
        *out = (struct gw_link){.index = info->ifi_index, .up = info->ifi_flags & IFF_UP};
        return mnl_attr_parse(message, sizeof *info, decode_attr, out) < MNL_CB_STOP ? -EINVAL : 0;
}

struct listing {
        int (*each)(const struct gw_link *link, void *user);
        void *user;
};

static int list_one(const struct nlmsghdr *message, void *user) {
        const struct listing *l = user;
        struct gw_link link;

        if (message->nlmsg_type != RTM_NEWLINK)
                return 0;
        if (gw_link_decode(message, &link))
                return -EBADMSG;
        return l->each(&link, l->user);
}

int gw_link_each(int (*each)(const struct gw_link *link, void *user), void *user) {
        struct listing l = {each, user};
        struct gw_rtnl_request request;

        gw_rtnl_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
        return gw_rtnl_query(&request, list_one, &l);
}

static int keep(const struct gw_link *link, void *user) {
        *(struct gw_link *)user = *link;
        return 0;
}

int gw_link_get_index(int index, struct gw_link *out) {
        struct gw_link found = {0};
        struct listing l = {keep, &found};
        struct gw_rtnl_request request;
        struct ifinfomsg *info = gw_rtnl_begin(&request, RTM_GETLINK, 0, sizeof *info);
        int r;

        if (index <= 0)
                return -ENODEV;
        info->ifi_index = index;
        r = gw_rtnl_query(&request, list_one, &l);
        if (!r)
                *out = found;
        return r;
}

int gw_link_get(const char *name, struct gw_link *out) {
        int index = gw_link_index(name);

        return index < 0 ? index : gw_link_get_index(index, out);
}

/* A change request for the link of that name; its index or a negative errno. */
static int change(struct gw_rtnl_request *request, const char *name, uint16_t type) {
        struct ifinfomsg *info = gw_rtnl_begin(request, type, 0, sizeof *info);
        int index = gw_link_index(name);

        info->ifi_index = index;
        return index;
}

int gw_link_delete(const char *name) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_DELLINK);

        return r < 0 ? r : gw_rtnl_ask(&request);
}

static int set_flags(const char *name, unsigned flags, unsigned mask) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_NEWLINK);
        struct ifinfomsg *info = mnl_nlmsg_get_payload(&request.header);

        if (r < 0)
                return r;
        info->ifi_flags = flags;
        info->ifi_change = mask;
        return gw_rtnl_ask(&request);
}

int gw_link_up(const char *name) {
        return set_flags(name, IFF_UP, IFF_UP);
}

int gw_link_down(const char *name) {
        return set_flags(name, 0, IFF_UP);
}

static int set_u32(const char *name, uint16_t attr, uint32_t value) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_NEWLINK);

        if (r < 0)
                return r;
        mnl_attr_put_u32(&request.header, attr, value);
        return gw_rtnl_ask(&request);
}

int gw_link_set_mtu(const char *name, uint32_t mtu) {
        return set_u32(name, IFLA_MTU, mtu);
}

int gw_link_set_queue(const char *name, uint32_t packets) {
        return set_u32(name, IFLA_TXQLEN, packets);
}

int gw_link_set_netns(const char *name, int netns_fd) {
        return netns_fd < 0 ? -EBADF : set_u32(name, IFLA_NET_NS_FD, (uint32_t)netns_fd);
}

int gw_link_set_master(const char *name, const char *bridge) {
        int index = bridge ? gw_link_index(bridge) : 0;

        return index < 0 ? index : set_u32(name, IFLA_MASTER, (uint32_t)index);
}

int gw_link_set_mac(const char *name, struct gw_mac mac) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_NEWLINK);

        if (r < 0)
                return r;
        mnl_attr_put(&request.header, IFLA_ADDRESS, sizeof mac, &mac);
        return gw_rtnl_ask(&request);
}

int gw_link_rename(const char *name, const char *to) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_NEWLINK);

        if (r < 0 || gw_link_name_check(to))
                return r < 0 ? r : -EINVAL;
        mnl_attr_put_strz(&request.header, IFLA_IFNAME, to);
        return gw_rtnl_ask(&request);
}

int gw_link_no_addrgen(const char *name) {
        struct gw_rtnl_request request;
        int r = change(&request, name, RTM_NEWLINK);
        struct nlattr *spec, *inet6;

        if (r < 0)
                return r;
        spec = mnl_attr_nest_start(&request.header, IFLA_AF_SPEC);
        inet6 = mnl_attr_nest_start(&request.header, AF_INET6);
        mnl_attr_put_u8(&request.header, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE);
        mnl_attr_nest_end(&request.header, inet6);
        mnl_attr_nest_end(&request.header, spec);
        return gw_rtnl_ask(&request);
}
