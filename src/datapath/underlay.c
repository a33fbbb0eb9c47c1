/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program that decapsulates (bpf/underlay.h) on the underlay's device: the
 * one that holds the locator. Without such a device, or with the locator on the
 * loopback, the VXLAN device decapsulates everything; so it does on devices that
 * are no Ethernet.
 *
 * The device is not ours: others may have filters on it, before and behind. Ours
 * has a priority of its own, lets pass what it does not take, and goes without
 * the qdisc that it hangs on. It is put there when the data plane opens, in the
 * place of an older one; after that only when the locator is on another device.
 */
#include "datapath/private.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <netpacket/packet.h>
#include <unistd.h>

#include "base/log.h"
#include "datapath/godwit.skel.h"
#include "io/netlink.h"

enum { TC_HANDLE = 1, TC_PRIORITY = 0x4757 };

static const char PROGRAM[] = "from_underlay";

static bool holds(const struct ifaddrs *a, struct gw_ip locator) {
        if (!a->ifa_addr || a->ifa_flags & IFF_LOOPBACK)
                return false;
        if (a->ifa_addr->sa_family == AF_INET)
                return gw_ip_is_v4(locator) &&
                       ((const struct sockaddr_in *)a->ifa_addr)->sin_addr.s_addr == gw_ip_v4(locator);
        return a->ifa_addr->sa_family == AF_INET6 &&
               !memcmp(&((const struct sockaddr_in6 *)a->ifa_addr)->sin6_addr, locator.b, sizeof locator.b);
}

static bool is_ethernet(const struct ifaddrs *all, const char *name) {
        for (const struct ifaddrs *a = all; a; a = a->ifa_next) {
                if (a->ifa_addr && a->ifa_addr->sa_family == AF_PACKET && !strcmp(a->ifa_name, name))
                        return ((const struct sockaddr_ll *)a->ifa_addr)->sll_hatype == ARPHRD_ETHER;
        }
        return false;
}

/* The Ethernet device that holds the locator, or 0. */
static int device_of(struct gw_ip locator) {
        struct ifaddrs *all, *a;
        int ifindex = 0;

        if (getifaddrs(&all) < 0)
                return 0;
        for (a = all; a && !holds(a, locator); a = a->ifa_next)
                ;
        if (a && is_ethernet(all, a->ifa_name))
                ifindex = (int)if_nametoindex(a->ifa_name);
        freeifaddrs(all);
        return ifindex;
}

static struct bpf_tc_hook hook_on(int ifindex) {
        return (struct bpf_tc_hook){
                .sz = sizeof(struct bpf_tc_hook), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
}

static void detach_from(int ifindex) {
        struct bpf_tc_opts opts = {.sz = sizeof opts, .handle = TC_HANDLE, .priority = TC_PRIORITY};
        struct bpf_tc_hook hook = hook_on(ifindex);

        if (gw_filter_is(ifindex, TC_PRIORITY, TC_HANDLE, PROGRAM))
                (void)bpf_tc_detach(&hook, &opts);
}

static void detach_from_all_but(int ifindex) {
        struct if_nameindex *all = if_nameindex();

        for (const struct if_nameindex *i = all; i && i->if_index; i++)
                if ((int)i->if_index != ifindex)
                        detach_from((int)i->if_index);
        if (all)
                if_freenameindex(all);
}

void gw_underlay_detach(void) {
        detach_from_all_but(0);
}

static int attach_to(struct gw_datapath *dp, int ifindex) {
        struct bpf_tc_opts opts = {.sz = sizeof opts,
                                   .handle = TC_HANDLE,
                                   .priority = TC_PRIORITY,
                                   .prog_fd = bpf_program__fd(dp->bpf->progs.from_underlay),
                                   .flags = BPF_TC_F_REPLACE};
        struct bpf_tc_hook hook = hook_on(ifindex);
        int r = bpf_tc_hook_create(&hook);

        return r && r != -EEXIST ? r : bpf_tc_attach(&hook, &opts);
}

/* Failing is no failure: the VXLAN device takes what does not come this way. */
static void follow(struct gw_datapath *dp) {
        int ifindex = device_of(gw_abi_ip(dp->config.locator)), r;

        if (ifindex == dp->underlay_ifindex)
                return;
        dp->underlay_ifindex = ifindex;
        detach_from_all_but(ifindex);
        r = ifindex ? attach_to(dp, ifindex) : 0;
        if (r)
                gw_log(GW_WARNING, "ifindex=%d frames are decapsulated by the VXLAN device: cannot attach: %s", ifindex,
                       strerror(-r));
}

/* In the namespace of the object: whoever runs the upkeep may be in another one. */
void gw_underlay_follow(struct gw_datapath *dp) {
        int back;

        if (gw_netns_enter_fd(dp->netns_fd, &back))
                return;
        follow(dp);
        (void)gw_netns_leave(back);
}
