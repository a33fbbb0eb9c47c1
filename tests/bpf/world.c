/* SPDX-License-Identifier: Apache-2.0 */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "io/netlink.h"

#define ok(expression) assert_int_equal(expression, 0)

bool world_possible(const char **why_not) {
        *why_not = "needs root";
        if (geteuid() != 0)
                return false;
        *why_not = "needs /dev/net/tun";
        return access("/dev/net/tun", R_OK | W_OK) == 0;
}

static struct gw_ip ip(const char *format, int number) {
        char text[64];
        struct gw_ip out;

        snprintf(text, sizeof text, format, number);
        ok(gw_ip_parse(text, &out));
        return out;
}

static void enter(int netns, int *back) {
        ok(gw_netns_enter_fd(netns, back));
}

static void leave(int back) {
        ok(gw_netns_leave(back));
}

void host_enter(const struct host *h, int *back) {
        enter(h->netns, back);
}

/* Before the link is up: no addresses by itself, no duplicate address detection, no waiting. */
static void quiet_ipv6(const char *link) {
        char path[64];

        ok(gw_link_no_addrgen(link));
        snprintf(path, sizeof path, "net/ipv6/conf/%s/accept_dad", link);
        ok(gw_sysctl_write(path, "0"));
        snprintf(path, sizeof path, "net/ipv6/conf/%s/router_solicitations", link);
        ok(gw_sysctl_write(path, "0"));
}

static void host_up(struct world *w, int i) {
        int back, net, family = w->v6 ? 6 : 4;
        struct host *h = &w->hosts[i];
        char port[16];

        snprintf(h->ns, sizeof h->ns, "gwc-%d-%d-h%d", getpid(), family, i + 1);
        snprintf(h->pins, sizeof h->pins, "/tmp/gwc-%d-%d-h%d", getpid(), family, i + 1);
        snprintf(port, sizeof port, "h%d", i + 1);
        ok(gw_netns_add(h->ns));
        h->netns = gw_netns_open(h->ns);
        net = gw_netns_open(w->net);
        assert_true(h->netns >= 0 && net >= 0);
        enter(net, &back);
        ok(gw_veth_add(port, "u0", h->netns));
        ok(gw_link_set_master(port, "br0"));
        ok(gw_link_no_addrgen(port));
        ok(gw_link_up(port));
        leave(back);
        close(net);
        h->locator = w->v6 ? ip("fd99::%d", i + 1) : ip("10.99.0.%d", i + 1);
        enter(h->netns, &back);
        quiet_ipv6("u0");
        ok(gw_link_up("u0"));
        ok(gw_addr_add("u0", h->locator, w->v6 ? 64 : 24));
        leave(back);
        h->config = (struct gw_datapath_config){.pin_dir = h->pins, .locator = h->locator};
        host_open(h);
}

int host_try_open(struct host *h, struct gw_error *error) {
        int back, r = gw_netns_enter_fd(h->netns, &back);

        if (r)
                return r;
        r = gw_datapath_open(&h->dp, &h->config, error);
        (void)gw_netns_leave(back);
        return r;
}

void host_open(struct host *h) {
        struct gw_error error = {0};
        int r = host_try_open(h, &error);

        if (r)
                fail_msg("open: %d %s", r, error.text);
}

void host_close(struct host *h) {
        gw_datapath_close(h->dp);
        h->dp = NULL;
}

static void memberships(struct world *w, struct host *h) {
        for (int i = 0; i < WORLD_HOSTS; i++) {
                if (&w->hosts[i] != h)
                        ok(gw_datapath_member_set(h->dp, WORLD_VNI, w->hosts[i].locator, 0));
        }
}

void world_up(struct world *w, bool v6) {
        int back;

        world_down(w); /* what a setup that failed has left */
        memset(w, 0, sizeof *w);
        w->v6 = v6;
        w->mtu = v6 ? 1430 : 1450;
        snprintf(w->net, sizeof w->net, "gwc-%d-%d-net", getpid(), v6 ? 6 : 4);
        ok(gw_netns_add(w->net));
        ok(gw_netns_enter(w->net, &back));
        ok(gw_bridge_add("br0"));
        ok(gw_link_no_addrgen("br0"));
        ok(gw_link_up("br0"));
        leave(back);
        for (int i = 0; i < WORLD_HOSTS; i++)
                host_up(w, i);
        for (int i = 0; i < WORLD_HOSTS; i++)
                memberships(w, &w->hosts[i]);
        w->whole = true;
}

static void host_down(struct host *h) {
        int back;

        host_close(h);
        if (!h->ns[0])
                return;
        if (h->netns > 0 && !gw_netns_enter_fd(h->netns, &back)) {
                (void)gw_datapath_remove(&h->config);
                (void)gw_netns_leave(back);
        }
        if (h->netns > 0)
                close(h->netns);
        (void)rmdir(h->pins);
        (void)gw_netns_del(h->ns);
        h->ns[0] = 0;
}

static void guest_del(struct guest *g) {
        if (g->tap >= 0)
                close(g->tap);
        if (g->netns >= 0) {
                close(g->netns);
                (void)gw_netns_del(g->ns);
        }
        g->tap = g->netns = -1;
}

void world_down(struct world *w) {
        w->whole = false;
        while (w->n_guests)
                guest_del(&w->guests[--w->n_guests]);
        for (int i = 0; i < WORLD_HOSTS; i++)
                host_down(&w->hosts[i]);
        if (w->net[0])
                (void)gw_netns_del(w->net);
        w->net[0] = 0;
}

static void map_empty(const struct host *h, const char *name) {
        uint8_t key[64];
        char path[128];
        int fd;

        snprintf(path, sizeof path, "%s/%s", h->pins, name);
        fd = bpf_obj_get(path);
        assert_true(fd >= 0);
        while (!bpf_map_get_next_key(fd, NULL, key))
                ok(bpf_map_delete_elem(fd, key));
        close(fd);
}

static void counters_zero(const struct host *h) {
        uint64_t *none = calloc((size_t)libbpf_num_possible_cpus(), sizeof *none);
        char path[128];
        int fd;

        snprintf(path, sizeof path, "%s/gw_counters", h->pins);
        fd = bpf_obj_get(path);
        assert_true(fd >= 0 && none);
        for (uint32_t c = 0; c < GW_COUNT_MAX; c++)
                ok(bpf_map_update_elem(fd, &c, none, BPF_ANY));
        close(fd);
        free(none);
}

static void host_forget(struct world *w, struct host *h) {
        static const char *const tables[] = {"gw_ports",   "gw_fdb",    "gw_neigh", "gw_members", "gw_flood",
                                             "gw_flights", "gw_former", "gw_stale", "gw_talkers", "gw_routes",
                                             "gw_routed",  "gw_groups", "gw_copies"};

        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
                map_empty(h, tables[i]);
        memberships(w, h);
}

static void guest_leave(struct guest *g) {
        int back;

        enter(g->host->netns, &back);
        ok(gw_datapath_port_del(g->host->dp, g->ifindex));
        if (g->tap < 0)
                ok(gw_link_delete(g->port));
        leave(back);
        guest_del(g);
}

/* What is due, and what came up. */
static void upkeep(struct host *h) {
        struct gw_punt punt;

        while (!gw_datapath_punt_read(h->dp, &punt))
                ;
}

bool world_again(struct world *w) {
        bool whole = w->whole;

        for (int i = 0; i < WORLD_HOSTS; i++)
                whole = whole && w->hosts[i].dp;
        if (!whole)
                return false;
        for (; w->n_guests; w->n_guests--)
                guest_leave(&w->guests[w->n_guests - 1]);
        for (int i = 0; i < WORLD_HOSTS; i++) {
                host_forget(w, &w->hosts[i]);
                upkeep(&w->hosts[i]);
        }
        for (int i = 0; i < WORLD_HOSTS; i++)
                counters_zero(&w->hosts[i]);
        return true;
}

void forward_set(struct host *h, struct gw_mac mac, uint8_t kind, uint32_t ifindex, struct gw_ip locator,
                 uint8_t flags) {
        struct gw_forward f = {.kind = kind, .ifindex = ifindex, .locator = locator, .flags = flags, .epoch = 1};

        ok(gw_datapath_fdb_set(h->dp, WORLD_VNI, mac, &f));
}

static void veth_behind(struct guest *g, uint32_t mtu) {
        int back;

        ok(gw_netns_add(g->ns));
        g->netns = gw_netns_open(g->ns);
        assert_true(g->netns >= 0);
        enter(g->host->netns, &back);
        ok(gw_veth_add(g->port, "eth0", g->netns));
        ok(gw_link_set_mtu(g->port, mtu));
        ok(gw_link_no_addrgen(g->port));
        ok(gw_link_up(g->port)); /* first, so that the other end has a carrier at once */
        leave(back);
        enter(g->netns, &back);
        quiet_ipv6("eth0");
        ok(gw_link_set_mac("eth0", g->mac));
        ok(gw_link_set_mtu("eth0", mtu));
        ok(gw_link_up("eth0"));
        ok(gw_addr_add("eth0", g->ip4, 24));
        ok(gw_addr_add("eth0", g->ip6, 64));
        leave(back);
}

static void port_open(struct guest *g, uint32_t mtu, uint32_t flags) {
        struct gw_datapath_port port = {.vni = WORLD_VNI, .mac = g->mac, .mtu = mtu, .flags = flags, .port_id = 1};
        int back;

        enter(g->host->netns, &back);
        if (g->tap >= 0)
                ok(gw_link_set_queue(g->port, 16384));
        ok(gw_link_no_addrgen(g->port));
        ok(gw_link_up(g->port));
        port.ifindex = g->ifindex = (uint32_t)gw_link_index(g->port);
        ok(gw_datapath_port_set(g->host->dp, &port));
        leave(back);
        ok(gw_datapath_allow_add(g->host->dp, g->ifindex, g->ip4));
        ok(gw_datapath_allow_add(g->host->dp, g->ifindex, g->ip6));
}

/* An IPv6 address works once the kernel's worker has put in the route to it, some time after it was added. */
static bool address_works(struct gw_ip wanted) {
        FILE *f = fopen("/proc/thread-self/net/ipv6_route", "re");
        char line[256], key[40];
        bool found = false;

        for (int i = 0; i < 16; i++)
                snprintf(key + 2 * i, 3, "%02x", wanted.b[i]);
        strcat(key, " 80 ");
        assert_non_null(f);
        while (!found && fgets(line, sizeof line, f))
                found = !strncmp(line, key, strlen(key));
        fclose(f);
        return found;
}

static void guest_ready(const struct guest *g) {
        int back, tries = 0;

        enter(g->netns, &back);
        while (!address_works(g->ip6) && tries++ < 2000)
                usleep(1000);
        leave(back);
        assert_true(tries < 2000);
}

static void port_make(struct guest *g, bool tap, uint32_t flags) {
        static int serial;
        int back;

        snprintf(g->port, sizeof g->port, "p%d", ++serial);
        snprintf(g->ns, sizeof g->ns, "gwc-%d-g%d", getpid(), serial);
        if (tap) {
                enter(g->host->netns, &back);
                g->tap = gw_tap_open(g->port, true, false);
                leave(back);
                assert_true(g->tap >= 0);
        } else {
                veth_behind(g, g->mtu);
        }
        port_open(g, g->mtu, flags);
        if (!tap)
                guest_ready(g);
}

static struct guest *guest_new(struct world *w, struct host *h, struct guest of) {
        struct guest *g = &w->guests[w->n_guests];

        assert_true(w->n_guests < sizeof w->guests / sizeof w->guests[0]);
        *g = of;
        g->host = h;
        g->tap = g->netns = -1;
        g->mtu = w->mtu;
        w->n_guests++;
        return g;
}

struct guest *guest_add(struct world *w, struct host *h, int number, bool tap, bool quiet) {
        struct guest *g = guest_new(w, h, (struct guest){.mac = {{2, 0, 0, 0, 1, (uint8_t)number}}});

        g->ip4 = ip("10.1.0.%d", number);
        g->ip6 = ip("fd01::%x", number);
        port_make(g, tap, 0);
        for (int i = 0; i < WORLD_HOSTS; i++) {
                struct host *at = &w->hosts[i];
                if (at == h)
                        forward_set(at, g->mac, GW_FORWARD_LOCAL, g->ifindex, h->locator, 0);
                else if (!quiet)
                        forward_set(at, g->mac, GW_FORWARD_REMOTE, 0, h->locator, 0);
                ok(gw_datapath_neigh_set(at->dp, WORLD_VNI, g->ip4, g->mac, 0));
                ok(gw_datapath_neigh_set(at->dp, WORLD_VNI, g->ip6, g->mac, 0));
        }
        return g;
}

struct guest *guest_arrive(struct world *w, const struct guest *of, struct host *h, uint32_t flags) {
        struct guest *g = guest_new(w, h, *of);

        port_make(g, of->tap >= 0, GW_PORT_ARRIVING | flags);
        forward_set(h, g->mac, GW_FORWARD_ARRIVING, g->ifindex, of->host->locator, 0);
        return g;
}

static socklen_t address(struct sockaddr_storage *out, struct gw_ip at, bool v6) {
        struct sockaddr_in *a4 = (void *)out;
        struct sockaddr_in6 *a6 = (void *)out;

        memset(out, 0, sizeof *out);
        if (v6) {
                a6->sin6_family = AF_INET6;
                a6->sin6_port = htons(WORLD_PORT);
                memcpy(&a6->sin6_addr, at.b, 16);
                return sizeof *a6;
        }
        a4->sin_family = AF_INET;
        a4->sin_port = htons(WORLD_PORT);
        a4->sin_addr.s_addr = gw_ip_v4(at);
        return sizeof *a4;
}

int guest_socket(const struct guest *g, bool v6, int type, bool listening) {
        struct sockaddr_storage at;
        socklen_t size = address(&at, v6 ? g->ip6 : g->ip4, v6);
        int back, fd, one = 1, octets = 8 << 20;

        enter(g->netns, &back);
        fd = socket(at.ss_family, type | SOCK_CLOEXEC, 0);
        leave(back);
        assert_true(fd >= 0);
        ok(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one));
        ok(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &one, sizeof one));
        if (type == SOCK_DGRAM)
                ok(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets));
        if (listening || type == SOCK_DGRAM)
                ok(bind(fd, (struct sockaddr *)&at, size));
        if (listening && type == SOCK_STREAM)
                ok(listen(fd, 4));
        return fd;
}

int guest_connect_later(int fd, const struct guest *to, bool v6) {
        struct sockaddr_storage at;
        socklen_t size = address(&at, v6 ? to->ip6 : to->ip4, v6);

        return connect(fd, (struct sockaddr *)&at, size) < 0 ? -errno : 0;
}

void guest_connect(int fd, const struct guest *to, bool v6) {
        ok(guest_connect_later(fd, to, v6));
}

bool readable(int fd, int within_ms) {
        struct pollfd p = {.fd = fd, .events = POLLIN};

        return poll(&p, 1, within_ms) == 1 && p.revents & POLLIN;
}

uint64_t counter(struct host *h, enum gw_counter c) {
        uint64_t all[GW_COUNT_MAX];

        ok(gw_datapath_counters(h->dp, all));
        return all[c];
}

void world_print(struct world *w) {
        uint64_t all[GW_COUNT_MAX];

        for (int i = 0; i < WORLD_HOSTS; i++) {
                if (!w->hosts[i].dp || gw_datapath_counters(w->hosts[i].dp, all))
                        continue;
                printf("# host %d:", i + 1);
                for (int c = 0; c < GW_COUNT_MAX; c++) {
                        if (all[c])
                                printf(" %s %llu", gw_counter_name(c), (unsigned long long)all[c]);
                }
                printf("\n");
        }
}
