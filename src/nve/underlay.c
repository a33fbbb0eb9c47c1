/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The underlay as this host sees it: the MTU of the device by which encapsulated
 * frames leave. That is underlay-device where it is configured, else the device
 * that has the locator. Read anew each time, since people change it.
 */
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "nve/nve.h"

static bool has_ip(const struct sockaddr *address, struct gw_ip ip) {
        struct sockaddr_in6 v6;
        struct sockaddr_in v4;

        if (address && address->sa_family == AF_INET) {
                memcpy(&v4, address, sizeof v4);
                return gw_ip_is_v4(ip) && !memcmp(&v4.sin_addr, ip.b + 12, 4);
        }
        if (address && address->sa_family == AF_INET6) {
                memcpy(&v6, address, sizeof v6);
                return !memcmp(&v6.sin6_addr, ip.b, 16);
        }
        return false;
}

/* "" when no device has it. */
static void device_of(struct gw_ip ip, char name[NVE_DEVICE_SIZE]) {
        struct ifaddrs *all, *one;

        name[0] = 0;
        if (getifaddrs(&all))
                return;
        for (one = all; one && !has_ip(one->ifa_addr, ip); one = one->ifa_next)
                ;
        if (one)
                snprintf(name, NVE_DEVICE_SIZE, "%s", one->ifa_name);
        freeifaddrs(all);
}

static void underlay_name(const struct nve *nve, char name[NVE_DEVICE_SIZE]) {
        snprintf(name, NVE_DEVICE_SIZE, "%s", nve->config.underlay_device);
        if (!name[0])
                device_of(nve->config.locator, name);
}

/* Attaching one of these as a port would cut the host off. */
bool nve_is_own_device(const struct nve *nve, const struct gw_link *device) {
        char name[NVE_DEVICE_SIZE];

        underlay_name(nve, name);
        if (!strcmp(device->name, name) || !strcmp(device->name, nve->config.vxlan_device) ||
            !strcmp(device->name, nve->config.punt_device))
                return true;
        device_of(nve->config.locator, name); /* the locator may be on another than the one configured */
        return !strcmp(device->name, name) || !strcmp(device->name, "lo");
}

uint32_t nve_underlay_mtu(const struct nve *nve) {
        char name[NVE_DEVICE_SIZE];
        struct gw_link link;

        underlay_name(nve, name);
        return name[0] && !gw_link_get(name, &link) ? link.mtu : 0;
}
