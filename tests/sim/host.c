/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The effects of a simulated edge. The data plane always does what it is told;
 * everybody talks to everybody, and nothing is redirected that could be counted.
 */
#include "sim/host.h"

#include <stdlib.h>
#include <string.h>

struct gw_edge_now host_now(const struct host *h) {
        struct gw_now now = net_now(h->all->net);

        return (struct gw_edge_now){now.mono, {now.wall.ns + (uint64_t)h->skew_ns}};
}

int hosts_at(const struct hosts *all, struct gw_ip locator) {
        for (int n = 0; n < all->n; n++)
                if (gw_ip_eq(all->host[n].locator, locator))
                        return n;
        return HOST_NOWHERE;
}

static int vm_of(const struct host *h, struct gw_mac mac) {
        for (int v = 0; v < HOST_VMS_MAX; v++)
                if (gw_mac_eq(h->all->macs[v], mac))
                        return v;
        net_die(h->all->net, "n%d: an entry for a MAC that no VM has", h->index);
}

static struct host_row *row_of(struct host *h, struct gw_mac mac) {
        return &h->fdb[vm_of(h, mac)];
}

/* --- the data plane --- */

static int fx_fdb_set(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry) {
        (void)vni;
        *row_of(user, mac) = (struct host_row){true, *entry};
        return 0;
}
static void fx_fdb_del(void *user, uint32_t vni, struct gw_mac mac) {
        (void)vni;
        row_of(user, mac)->there = false;
}
static int fx_neigh_set(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        (void)user, (void)vni, (void)ip, (void)mac;
        return 0;
}
static void fx_neigh_del(void *user, uint32_t vni, struct gw_ip ip) {
        (void)user, (void)vni, (void)ip;
}
static void fx_member_set(void *user, uint32_t vni, struct gw_ip locator, uint8_t role) {
        struct host *h = user;

        (void)role;
        h->members[vni - HOST_VNI_FIRST][hosts_at(h->all, locator)] = true;
}
static void fx_member_del(void *user, uint32_t vni, struct gw_ip locator) {
        struct host *h = user;

        h->members[vni - HOST_VNI_FIRST][hosts_at(h->all, locator)] = false;
}
static int fx_port_open(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error) {
        (void)user, (void)port, (void)hold, (void)error;
        return 0;
}
/* With the device goes what is in it. */
static void fx_port_close(void *user, const struct gw_edge_attach *port) {
        struct host *h = user;
        int v = vm_of(h, port->mac);

        if (h->queue[v] && h->all->delivered)
                net_die(h->all->net, "n%d: %u packets for vm%d are lost with its device", h->index, h->queue[v], v);
        h->queue[v] = 0;
        h->sends_back[v] = false;
}
static int fx_port_cut(void *user, const struct gw_edge_attach *port, struct gw_ip to, uint64_t epoch, bool punt) {
        struct gw_edge_fdb entry = {.place = GW_EDGE_TO_MOVED, .punt = punt, .locator = to, .epoch = epoch};

        return fx_fdb_set(user, port->vni, port->mac, &entry);
}
static void fx_port_role(void *user, const struct gw_edge_attach *port, enum gw_edge_role role, bool hold) {
        struct host *h = user;
        int v = vm_of(h, port->mac);

        (void)hold;
        if (role == GW_EDGE_SERVING && h->queue[v] && h->all->delivered)
                h->all->delivered(h, v, h->queue[v]);
        if (role == GW_EDGE_SERVING)
                h->queue[v] = 0;
}
static bool fx_queued(void *user, const struct gw_name *vm) {
        return ((struct host *)user)->queue[atoi(vm->s + 2)];
}
static uint64_t fx_send_back(void *user, const struct gw_name *vm) {
        struct host *h = user;
        int v = atoi(vm->s + 2);
        unsigned n = h->queue[v];

        h->queue[v] = 0;
        h->sends_back[v] = true;
        if (n && h->all->sent_back)
                h->all->sent_back(h, v, n);
        h->n_sent_back += n;
        return h->n_sent_back;
}
static void fx_inject(void *user, enum gw_edge_inject how, const struct gw_edge_frame *frame) {
        struct host *h = user;
        struct gw_mac to;

        if (how != GW_EDGE_DELIVER || !h->all->delivered)
                return;
        memcpy(to.b, frame->bytes, sizeof to.b);
        h->all->delivered(h, vm_of(h, to), 1);
}
static void fx_deliver(void *user, uint32_t ifindex, const uint8_t *frame, size_t size) {
        (void)user, (void)ifindex, (void)frame, (void)size;
}
static struct gw_mono fx_redirect_seen(void *user, uint32_t vni, struct gw_mac mac, uint64_t *count) {
        (void)user, (void)vni, (void)mac;
        *count = 0;
        return (struct gw_mono){0};
}
static size_t fx_talkers(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip *out, size_t max) {
        const struct host *h = user;
        size_t n = 0;

        for (int i = 0; i < h->all->n && n < max; i++)
                if (h->members[vni - HOST_VNI_FIRST][i])
                        out[n++] = h->all->host[i].locator;
        (void)mac;
        return n;
}
static bool fx_in_use(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within) {
        (void)user, (void)vni, (void)mac, (void)locator, (void)within;
        return true;
}

/* --- the rest --- */

static void fx_send(void *user, const uint8_t *frame, size_t size) {
        struct host *h = user;

        net_post(h->all->net, net_message(h->index, NET_UP, frame, size), h->all->net->sessions);
}
static void fx_vm_changed(void *user, const struct gw_name *vm) {
        (void)user, (void)vm;
}
static void fx_log(void *user, int level, const char *text) {
        struct host *h = user;

        if (level <= 5)
                net_trace(h->all->net, "n%d: %s", h->index, text);
}
static void fx_request(void *user, const struct gw_registration *request) {
        struct host *h = user;

        h->all->request(h, request);
}

static const struct gw_edge_effects effects = {.fdb_set = fx_fdb_set,
                                               .fdb_del = fx_fdb_del,
                                               .neigh_set = fx_neigh_set,
                                               .neigh_del = fx_neigh_del,
                                               .member_set = fx_member_set,
                                               .member_del = fx_member_del,
                                               .port_open = fx_port_open,
                                               .port_close = fx_port_close,
                                               .port_cut = fx_port_cut,
                                               .port_role = fx_port_role,
                                               .inject = fx_inject,
                                               .deliver = fx_deliver,
                                               .send = fx_send,
                                               .redirect_seen = fx_redirect_seen,
                                               .talkers = fx_talkers,
                                               .in_use = fx_in_use,
                                               .vm_changed = fx_vm_changed,
                                               .queued = fx_queued,
                                               .send_back = fx_send_back,
                                               .log = fx_log,
                                               .request = fx_request};

/* --- life --- */

void hosts_init(struct hosts *all, struct net *net, int n) {
        char text[GW_IP_TEXT];

        *all = (struct hosts){.net = net, .n = n};
        for (int i = 0; i < n; i++) {
                all->host[i] = (struct host){.all = all, .index = i};
                snprintf(text, sizeof text, i % 2 ? "fd99::%d" : "10.99.0.%d", i + 1);
                gw_ip_parse(text, &all->host[i].locator);
        }
}

void host_start(struct host *h, uint32_t lifetime_s) {
        struct gw_edge_config config = {.locator = h->locator,
                                        .restart_count = ++h->starts,
                                        .seed = {1, 2},
                                        .lifetime_s = lifetime_s,
                                        .own_transport = h->all->request != NULL};

        snprintf(config.id.s, sizeof config.id.s, "n%d", h->index);
        if (gw_edge_new(&h->edge, &config, &effects, h))
                abort();
}
