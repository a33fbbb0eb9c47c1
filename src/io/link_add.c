/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making links: veth pairs, bridges, VXLAN devices by rtnetlink, taps by
 * /dev/net/tun.
 *
 * The VXLAN device is "external": VNI and locator of each frame come and go as
 * tunnel metadata, so one device serves all VNs. Learning is off, because the
 * directory says where a MAC is; GBP is on, because its group id carries the mark of
 * frames in flight. UDP checksums over IPv6 are zero both ways (RFC 6935, 6936:
 * the inner frame has its own).
 */
#include "io/netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "io/rtnl.h"

struct making {
        struct gw_rtnl_request request;
        struct nlattr *info, *data;
};

static int begin(struct making *m, const char *name, const char *kind) {
        if (gw_link_name_check(name))
                return -EINVAL;
        gw_rtnl_begin(&m->request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(&m->request.header, IFLA_IFNAME, name);
        m->info = mnl_attr_nest_start(&m->request.header, IFLA_LINKINFO);
        mnl_attr_put_strz(&m->request.header, IFLA_INFO_KIND, kind);
        m->data = mnl_attr_nest_start(&m->request.header, IFLA_INFO_DATA);
        return 0;
}

static int finish(struct making *m) {
        mnl_attr_nest_end(&m->request.header, m->data);
        mnl_attr_nest_end(&m->request.header, m->info);
        return gw_rtnl_ask(&m->request);
}

int gw_veth_add(const char *name, const char *peer, int peer_netns_fd) {
        struct making m;
        struct nlmsghdr *h = &m.request.header;
        struct nlattr *nest;
        int r = gw_link_name_check(peer);

        if (!r)
                r = begin(&m, name, "veth");
        if (r)
                return r;
        nest = mnl_attr_nest_start(h, VETH_INFO_PEER);
        mnl_nlmsg_put_extra_header(h, sizeof(struct ifinfomsg));
        mnl_attr_put_strz(h, IFLA_IFNAME, peer);
        if (peer_netns_fd >= 0)
                mnl_attr_put_u32(h, IFLA_NET_NS_FD, (uint32_t)peer_netns_fd);
        mnl_attr_nest_end(h, nest);
        return finish(&m);
}

int gw_bridge_add(const char *name) {
        struct making m;
        int r = begin(&m, name, "bridge");

        return r ? r : finish(&m);
}

int gw_vxlan_add(const char *name, uint16_t udp_port, bool ipv4_only) {
        static const uint8_t any[16];
        struct making m;
        struct nlmsghdr *h = &m.request.header;
        int r = begin(&m, name, "vxlan");

        if (r)
                return r;
        mnl_attr_put_u8(h, IFLA_VXLAN_COLLECT_METADATA, 1);
        mnl_attr_put(h, IFLA_VXLAN_GBP, 0, NULL);
        mnl_attr_put_u8(h, IFLA_VXLAN_LEARNING, 0);
        mnl_attr_put_u16(h, IFLA_VXLAN_PORT, htons(udp_port));
        mnl_attr_put_u8(h, IFLA_VXLAN_UDP_CSUM, 0);
        if (!ipv4_only) {
                /* An IPv6 local address, even "any", makes the device open both families' sockets. */
                mnl_attr_put(h, IFLA_VXLAN_LOCAL6, sizeof any, any);
                mnl_attr_put_u8(h, IFLA_VXLAN_UDP_ZERO_CSUM6_TX, 1);
                mnl_attr_put_u8(h, IFLA_VXLAN_UDP_ZERO_CSUM6_RX, 1);
        }
        return finish(&m);
}

static int tap_attach(int fd, const char *name, bool vnet_hdr, bool persist) {
        struct ifreq request = {.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | (vnet_hdr ? IFF_VNET_HDR : 0))};
        unsigned offloads = vnet_hdr ? TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN : 0;
        int header = 10; /* sizeof(struct virtio_net_hdr) */

        snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
        if (ioctl(fd, TUNSETIFF, &request) < 0)
                return -errno;
        if (vnet_hdr && (ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 || ioctl(fd, TUNSETOFFLOAD, offloads) < 0))
                return -errno;
        return ioctl(fd, TUNSETPERSIST, persist) < 0 ? -errno : 0;
}

int gw_tap_open(const char *name, bool vnet_hdr, bool persist) {
        int fd, r;

        if (gw_link_name_check(name))
                return -EINVAL;
        fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        r = tap_attach(fd, name, vnet_hdr, persist);
        if (r < 0) {
                close(fd);
                return r;
        }
        return fd;
}
