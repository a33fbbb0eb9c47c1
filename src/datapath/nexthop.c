/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next hop of each locator in use (locators.c), for the programs that encapsulate by themselves
 * (bpf/tunnel.h), and the upkeep that the object does on the side.
 *
 * The programs believe an entry as long as the lease in their configuration
 * runs. It is renewed with each look at the routes: on the tick, and when the
 * kernel says that something changed (not more often than REFRESH_GAP_MS: a host
 * with a routing protocol hears a lot). When nobody renews it, because the daemon
 * died or hangs, it runs out and all frames take the VXLAN device, which knows
 * routes by itself. So do frames to a locator without a plain route (its entry has
 * no device), and all of them when there are IPsec policies, which redirected
 * frames would pass by; what arrives is decapsulated by that device then, too.
 *
 * All of it hangs on one epoll descriptor, beside the punt device: the owner of
 * the loop sees one descriptor, and reading punts until there are none does the rest.
 */
#include "datapath/private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/time.h"
#include "io/netlink.h"

enum { TICK_MS = 2000, LEASE_MS = 10000, ASKING_MS = TICK_MS + 1000, REFRESH_GAP_MS = 100 };

/* The next tick in `first_ms`, then one every TICK_MS. */
static int tick_set(struct gw_datapath *dp, unsigned first_ms) {
        struct itimerspec at = {.it_interval = {.tv_sec = TICK_MS / 1000},
                                .it_value = {.tv_sec = first_ms / 1000, .tv_nsec = (long)(first_ms % 1000) * 1000000}};

        return timerfd_settime(dp->tick_fd, 0, &at, NULL) < 0 ? -errno : 0;
}

static int resolve(struct gw_datapath *dp, const uint8_t locator[static 16]) {
        struct gw_abi_next_hop value = {0};
        struct gw_next_hop hop;
        struct gw_ip own = gw_abi_ip(dp->config.locator);

        if (!gw_route_watch_next_hop(dp->routes, gw_abi_ip(locator), own, &hop)) {
                bool v4 = gw_ip_is_v4(hop.ip);
                value.ifindex = hop.ifindex;
                value.family = v4 ? AF_INET : AF_INET6;
                memcpy(value.ip, hop.ip.b + (v4 ? 12 : 0), v4 ? 4 : 16);
        }
        return bpf_map_update_elem(dp->maps[MAP_NEXT_HOP], locator, &value, BPF_ANY);
}

int gw_next_hop_add(struct gw_datapath *dp, struct gw_ip locator) {
        struct gw_abi_next_hop found;

        return bpf_map_lookup_elem(dp->maps[MAP_NEXT_HOP], locator.b, &found) ? resolve(dp, locator.b) : 0;
}

static int refresh_one(const void *key, const void *value, void *user) {
        (void)value;
        (void)resolve(user, key);
        return 0;
}

static void refresh(struct gw_datapath *dp) {
        uint64_t now = gw_mono_now().ns;
        struct gw_abi_next_hop value;
        uint8_t key[16], next[16];
        uint32_t zero = 0;

        dp->refreshed_ns = now;
        gw_underlay_follow(dp);
        dp->config.direct_until_ns = gw_route_watch_ipsec(dp->routes) ? 0 : now + LEASE_MS * GW_NS_PER_MS;
        dp->config.asking_until_ns = now + ASKING_MS * GW_NS_PER_MS;
        (void)gw_map_each(dp->maps[MAP_NEXT_HOP], key, next, sizeof key, &value, refresh_one, dp);
        gw_locators_settle(dp);
        (void)bpf_map_update_elem(dp->maps[MAP_CONFIG], &zero, &dp->config, BPF_ANY);
}

void gw_upkeep_asks(struct gw_datapath *dp) {
        uint32_t zero = 0;

        dp->config.asking_until_ns = gw_mono_now().ns + ASKING_MS * GW_NS_PER_MS;
        (void)bpf_map_update_elem(dp->maps[MAP_CONFIG], &zero, &dp->config, BPF_ANY);
}

void gw_upkeep(struct gw_datapath *dp) {
        uint64_t ticks;
        bool tick = read(dp->tick_fd, &ticks, sizeof ticks) == sizeof ticks;
        bool changed = gw_route_watch_changed(dp->routes);

        if (tick)
                gw_ports_settle(dp);
        if (changed && !tick && gw_mono_now().ns - dp->refreshed_ns < REFRESH_GAP_MS * GW_NS_PER_MS)
                (void)tick_set(dp, REFRESH_GAP_MS);
        else if (changed || tick)
                refresh(dp);
}

static int wait_for(struct gw_datapath *dp, int fd) {
        struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};

        return epoll_ctl(dp->wait_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int gw_upkeep_open(struct gw_datapath *dp) {
        int r = gw_route_watch_new(&dp->routes);

        if (r)
                return r;
        dp->wait_fd = epoll_create1(EPOLL_CLOEXEC);
        dp->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        if (dp->wait_fd < 0 || dp->tick_fd < 0)
                return -errno;
        r = wait_for(dp, dp->punt_fd);
        if (!r)
                r = wait_for(dp, dp->tick_fd);
        if (!r)
                r = wait_for(dp, gw_route_watch_fd(dp->routes));
        if (!r)
                r = tick_set(dp, TICK_MS);
        if (!r)
                refresh(dp);
        return r;
}

/* From here on nobody reads what goes up. */
static void asking_ends(struct gw_datapath *dp) {
        uint32_t zero = 0;

        dp->config.asking_until_ns = 0;
        (void)bpf_map_update_elem(dp->maps[MAP_CONFIG], &zero, &dp->config, BPF_ANY);
}

void gw_upkeep_close(struct gw_datapath *dp) {
        if (dp->refreshed_ns)
                asking_ends(dp);
        if (dp->tick_fd >= 0)
                close(dp->tick_fd);
        if (dp->wait_fd >= 0)
                close(dp->wait_fd);
        gw_route_watch_free(dp->routes);
}
