/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the core decides, done: the table of effects over the data plane and the
 * session, and the way back for punted frames and stale senders.
 *
 * Effects never call the core. Failures of single writes are logged here or
 * returned where the core can do something about them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/segment.h"
#include "nve/nve.h"

enum {
        TALKERS_WITHIN_MS = 60000,
        ACTIVE_FOR_MS = 10000,
        PUNTS_AT_ONCE = 1024,
        INJECT_TRIES = 5,
        INJECT_WAIT_US = 200,
};

_Static_assert((int)GW_ABI_PROBE_PORT == (int)GW_PROBE_PORT_GATEWAY, "the programs and the edge mean one port");
_Static_assert((int)GW_OWN4_MAX >= (int)GW_MAPPING_IPS_MAX && (int)GW_OWN6_MAX > (int)GW_MAPPING_IPS_MAX,
               "room for all addresses of a port, and for its link-local one");
_Static_assert(sizeof(struct virtio_net_hdr) <= GW_EDGE_OFFLOAD_MAX, "room for the offload header");

static int fx_fdb_set(void *user, uint32_t vni, struct gw_mac mac, const struct gw_edge_fdb *entry) {
        static const uint8_t kinds[] = {[GW_EDGE_TO_LOCAL] = GW_FORWARD_LOCAL,
                                        [GW_EDGE_TO_REMOTE] = GW_FORWARD_REMOTE,
                                        [GW_EDGE_TO_MOVED] = GW_FORWARD_MOVED,
                                        [GW_EDGE_TO_ARRIVING] = GW_FORWARD_ARRIVING,
                                        [GW_EDGE_TO_GATEWAY] = GW_FORWARD_GATEWAY};
        struct gw_forward forward = {.kind = kinds[entry->place],
                                     .flags = (entry->punt ? GW_FORWARD_PUNT : 0) |
                                              (entry->punt_from ? GW_FORWARD_PUNT_FROM : 0),
                                     .ifindex = entry->ifindex,
                                     .locator = entry->locator,
                                     .epoch = entry->epoch};

        return gw_datapath_fdb_set(((struct nve *)user)->dp, vni, mac, &forward);
}

static void fx_fdb_del(void *user, uint32_t vni, struct gw_mac mac) {
        gw_datapath_fdb_del(((struct nve *)user)->dp, vni, mac);
}

static int fx_neigh_set(void *user, uint32_t vni, struct gw_ip ip, struct gw_mac mac) {
        static const struct gw_mac gateway = {GW_ABI_GATEWAY_MAC};
        uint8_t flags = gw_mac_eq(mac, gateway) ? GW_NEIGH_ROUTER : 0;

        return gw_datapath_neigh_set(((struct nve *)user)->dp, vni, ip, mac, flags);
}

static void fx_neigh_del(void *user, uint32_t vni, struct gw_ip ip) {
        gw_datapath_neigh_del(((struct nve *)user)->dp, vni, ip);
}

/* After a restart: what the pinned entry says of a member is not known to the core before it has taken it over. */
static void fx_member_set(void *user, uint32_t vni, struct gw_ip locator, uint8_t role) {
        struct nve *nve = user;
        uint32_t kept = nve->restoring ? gw_datapath_member_flags(nve->dp, vni, locator) : 0;
        int r = gw_datapath_member_set(nve->dp, vni, locator, kept | (role & GW_MEMBER_ROUTES ? GW_MEMBER_GATEWAY : 0));

        if (r)
                gw_log_limited(GW_WARNING, 5, "vni=%u: member not added, or without broadcast: %s", vni,
                               gw_error_word(r));
}

static void fx_member_del(void *user, uint32_t vni, struct gw_ip locator) {
        gw_datapath_member_del(((struct nve *)user)->dp, vni, locator);
}

/* ---- ports ---- */

static uint32_t port_flags(enum gw_edge_role role, bool hold) {
        return (role == GW_EDGE_ARRIVING ? GW_PORT_ARRIVING : 0) | (role == GW_EDGE_MOVED ? GW_PORT_MOVED : 0) |
               (role == GW_EDGE_RETURNING ? GW_PORT_ARRIVING | GW_PORT_RETURNING : 0) |
               (role == GW_EDGE_CLAIMING ? GW_PORT_CLAIMING : 0) | (hold ? GW_PORT_HOLD : 0);
}

/* Neighbours talk to each other by link-local addresses, too: the one that every stack derives from the MAC. */
static struct gw_ip link_local(struct gw_mac mac) {
        return (struct gw_ip){{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac.b[0] ^ 2, mac.b[1], mac.b[2], 0xff, 0xfe, mac.b[3],
                               mac.b[4], mac.b[5]}};
}

static int port_allow(struct nve *nve, const struct gw_edge_attach *port) {
        int r = gw_datapath_allow_add(nve->dp, port->ifindex, link_local(port->mac));

        for (size_t i = 0; !r && i < port->n_ips; i++)
                r = gw_datapath_allow_add(nve->dp, port->ifindex, port->ips[i]);
        return r;
}

/* After a restart: those of the VN are not known before the authority has told them, and the pinned ones may be such. */
static void keep_limits(struct nve *nve, const struct gw_edge_attach *port, struct gw_datapath_port *set) {
        struct gw_datapath_port old;

        if (gw_datapath_port_get(nve->dp, port->ifindex, &old) || old.vni != set->vni)
                return;
        for (int i = 0; i < GW_LIMIT_MAX; i++)
                if (!port->limits[i])
                        set->per_s[i] = old.per_s[i];
}

static int fx_port_open(void *user, const struct gw_edge_attach *port, bool hold, struct gw_error *error) {
        struct nve *nve = user;
        struct gw_datapath_port set = {.ifindex = port->ifindex,
                                       .vni = port->vni,
                                       .port_id = port->ifindex,
                                       .mtu = port->mtu,
                                       .flags = port_flags(port->role, hold) | nve_rules_flags(port),
                                       .mac = port->mac,
                                       .moved_to = port->peer};
        int r;

        nve_rules_limits(nve, port->limits, set.per_s);
        if (nve->restoring)
                keep_limits(nve, port, &set);
        r = gw_datapath_port_set(nve->dp, &set);
        if (r == GW_E_FULL)
                return gw_fail(error, GW_E_FULL, "vni", "vni %u has %d ports on this host; there is room for no more",
                               port->vni, GW_FLOOD_MAX);
        if (!r)
                r = port_allow(nve, port);
        if (r) {
                gw_datapath_port_del(nve->dp, port->ifindex);
                return gw_fail(error, r < 0 ? r : -EIO, "device", "port %s could not be attached: %s", port->id.s,
                               gw_error_word(r));
        }
        return 0;
}

static void fx_port_close(void *user, const struct gw_edge_attach *port) {
        nve_drain_close(user, port->ifindex);
        gw_datapath_port_del(((struct nve *)user)->dp, port->ifindex);
}

static int fx_port_cut(void *user, const struct gw_edge_attach *port, struct gw_ip to, uint64_t epoch, bool punt) {
        return gw_datapath_cut(((struct nve *)user)->dp, port->ifindex, to, epoch, punt);
}

static void fx_port_role(void *user, const struct gw_edge_attach *port, enum gw_edge_role role, bool hold) {
        uint32_t set = port_flags(role, hold), all = GW_PORT_ARRIVING | GW_PORT_MOVED | GW_PORT_HOLD;
        int r = gw_datapath_port_flags(((struct nve *)user)->dp, port->ifindex, set, all & ~set);

        if (r)
                gw_log(GW_ERR, "port=%s: its flags could not be changed: %s", port->id.s, gw_error_word(r));
}

static void fx_port_still(void *user, const struct gw_edge_attach *port, bool still) {
        int r = gw_datapath_port_flags(((struct nve *)user)->dp, port->ifindex, still ? GW_PORT_STILL : 0,
                                       still ? 0 : GW_PORT_STILL);

        if (r)
                gw_log(GW_ERR, "port=%s: what becomes of frames for it could not be changed: %s", port->id.s,
                       gw_error_word(r));
}

static void fx_port_limits(void *user, uint32_t ifindex, const uint32_t limits[static GW_EDGE_LIMITS]) {
        struct nve *nve = user;
        uint32_t per_s[GW_LIMIT_MAX];
        int r;

        nve_rules_limits(nve, limits, per_s);
        r = gw_datapath_port_limits(nve->dp, ifindex, per_s);
        if (r)
                gw_log_limited(GW_ERR, 5, "ifindex=%u: its limits could not be changed: %s", ifindex, gw_error_word(r));
}

static void fx_port_snoop(void *user, const struct gw_edge_attach *port, bool on) {
        struct nve *nve = user;
        int r = on ? 0 : gw_datapath_groups_clear(nve->dp, port->ifindex);

        if (!r)
                r = gw_datapath_port_flags(nve->dp, port->ifindex, on ? GW_PORT_SNOOPED : 0, on ? 0 : GW_PORT_SNOOPED);
        if (r)
                gw_log(GW_ERR, "port=%s: its multicast groups could not be changed: %s", port->id.s, gw_error_word(r));
}

static void fx_port_group(void *user, uint32_t ifindex, struct gw_ip group, bool in) {
        struct nve *nve = user;
        int r = gw_datapath_group_set(nve->dp, ifindex, group, in);

        if (r && in) /* better all of them than not one that it wants */
                (void)gw_datapath_port_flags(nve->dp, ifindex, 0, GW_PORT_SNOOPED);
        if (r)
                gw_log_limited(GW_WARNING, 5, "ifindex=%u: a multicast group could not be written: %s", ifindex,
                               gw_error_word(r));
}

/* ---- frames ---- */

static void inject(struct nve *nve, enum gw_inject_kind kind, uint32_t id, bool redirected,
                   const struct virtio_net_hdr *vnet, const void *bytes, size_t size) {
        struct timespec wait = {.tv_nsec = INJECT_WAIT_US * 1000};
        int r = 0;

        for (int i = 0; i < INJECT_TRIES; i++) {
                r = gw_datapath_inject(nve->dp, kind, id, redirected, vnet, bytes, size);
                if (r != -ENOBUFS && r != -EAGAIN)
                        break;
                nanosleep(&wait, NULL); /* the socket's queue empties into a device at once */
        }
        if (r) {
                nve->inject_failed++;
                gw_log_limited(GW_WARNING, 5, "a frame of %zu octets could not be sent on: %s", size, gw_error_word(r));
        }
}

static void fx_inject(void *user, enum gw_edge_inject how, const struct gw_edge_frame *frame) {
        struct virtio_net_hdr vnet;

        memcpy(&vnet, frame->offload, sizeof vnet);
        switch (how) {
        case GW_EDGE_AS_SENT:
                inject(user, GW_INJECT_FROM_PORT, frame->ifindex, false, &vnet, frame->bytes, frame->size);
                break;
        case GW_EDGE_DELIVER:
                inject(user, GW_INJECT_DELIVER, frame->ifindex, false, &vnet, frame->bytes, frame->size);
                break;
        case GW_EDGE_ROUTE:
                inject(user, GW_INJECT_ROUTE, frame->vni, false, &vnet, frame->bytes, frame->size);
                break;
        case GW_EDGE_SAY:
                inject(user, GW_INJECT_GATEWAY, frame->vni, false, NULL, frame->bytes, frame->size);
                break;
        case GW_EDGE_PROBE:
                inject(user, GW_INJECT_PATH, frame->vni, false, NULL, frame->bytes, frame->size);
                break;
        case GW_EDGE_DRAIN:
                inject(user, GW_INJECT_DRAIN, frame->ifindex, true, &vnet, frame->bytes, frame->size);
                break;
        case GW_EDGE_FROM_WIRE:
                inject(user, GW_INJECT_FROM_WIRE, frame->vni, frame->redirected, &vnet, frame->bytes, frame->size);
                break;
        }
}

static void fx_deliver(void *user, uint32_t ifindex, const uint8_t *frame, size_t size) {
        inject(user, GW_INJECT_DELIVER, ifindex, false, NULL, frame, size);
}

static const uint8_t reasons[GW_PUNT_MAX] = {
        [GW_PUNT_UNKNOWN] = GW_EDGE_UNKNOWN,
        [GW_PUNT_PUNT] = GW_EDGE_UNKNOWN,
        [GW_PUNT_NEIGH] = GW_EDGE_SOLICIT,
        [GW_PUNT_ANNOUNCE] = GW_EDGE_ANNOUNCE,
        [GW_PUNT_TOO_BIG] = GW_EDGE_TOO_BIG,
        [GW_PUNT_HOLD] = GW_EDGE_HOLD,
        [GW_PUNT_WIRE_UNKNOWN] = GW_EDGE_WIRE_UNKNOWN,
        [GW_PUNT_WIRE_SOURCE] = GW_EDGE_WIRE_SOURCE,
        [GW_PUNT_GATEWAY] = GW_EDGE_GATEWAY,
        [GW_PUNT_GROUPS] = GW_EDGE_GROUPS,
        [GW_PUNT_PATH] = GW_EDGE_PATH,
        [GW_PUNT_FENCED] = GW_EDGE_FENCED,
        [GW_PUNT_RETURNED] = GW_EDGE_RETURNED,
};

/* What a frame that has not been cut into segments yet will be on the wire. */
static uint32_t segment_octets(const struct gw_punt *punt) {
        return punt->vnet.gso_type == VIRTIO_NET_HDR_GSO_NONE
                       ? 0
                       : gw_segment_octets(punt->frame, punt->size, punt->vnet.gso_size);
}

static bool read_punt(struct nve *nve) {
        struct gw_punt punt;
        struct gw_edge_punt up;

        if (gw_datapath_punt_read(nve->dp, &punt))
                return false;
        up = (struct gw_edge_punt){.reason = punt.reason < GW_PUNT_MAX ? reasons[punt.reason] : 0,
                                   .frame = {.vni = punt.vni,
                                             .ifindex = punt.ifindex,
                                             .redirected = punt.redirected,
                                             .sender = punt.sender,
                                             .ip_octets = segment_octets(&punt),
                                             .bytes = punt.frame,
                                             .size = punt.size}};
        memcpy(up.frame.offload, &punt.vnet, sizeof punt.vnet);
        gw_edge_punted(nve->edge, nve_now(), &up);
        return true;
}

void nve_read_punts(struct nve *nve) {
        for (int n = 0; n < PUNTS_AT_ONCE && read_punt(nve); n++)
                ;
}

/* All that waited when this began, and no end of what still comes. */
void nve_read_all_punts(struct nve *nve) {
        for (int n = 0; n < GW_PUNT_QUEUE_FRAMES && read_punt(nve); n++)
                ;
}

/* ---- the rest ---- */

static void fx_send(void *user, const uint8_t *frame, size_t size) {
        struct nve *nve = user;
        struct gw_frame_header header;
        int r;

        if (gw_frame_header_decode(frame, size, &header) || header.length != size)
                return;
        r = gw_session_send(nve->session, header.type, header.id, frame + GW_FRAME_HEADER_SIZE,
                            size - GW_FRAME_HEADER_SIZE);
        if (r)
                gw_log_limited(GW_WARNING, 5, "a frame of type %u was not sent to the authority: %s", header.type,
                               gw_error_word(r));
}

static struct gw_mono fx_redirect_seen(void *user, uint32_t vni, struct gw_mac mac, uint64_t *count) {
        struct nve *nve = user;
        struct gw_mono last = {0};

        nve->look_for_stale = true;
        gw_datapath_flight(nve->dp, vni, mac, count, &last.ns);
        return last;
}

static size_t fx_talkers(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip *out, size_t max) {
        int n = gw_datapath_talkers_of(((struct nve *)user)->dp, vni, mac, TALKERS_WITHIN_MS, out, max);

        return n > 0 ? (size_t)n : 0;
}

/* ---- who talks to whom ---- */

static int active_add(uint32_t vni, struct gw_ip locator, void *user) {
        struct nve *nve = user;

        for (size_t i = 0; i < nve->n_active; i++)
                if (nve->active[i].vni == vni && gw_ip_eq(nve->active[i].locator, locator))
                        return 0;
        if (nve->n_active < NVE_ACTIVE_MAX)
                nve->active[nve->n_active++] = (struct gw_member){.vni = vni, .locator = locator};
        return 0;
}

/* The data plane knows talkers by the VM that is here. Which (VN, locator) are in use is gathered from that, rarely, and
 * in one walk, however many VMs there are: it decides whether a mapping is worth asking for again, minutes before its
 * lifetime ends. */
static void active_refresh(struct nve *nve) {
        if (gw_mono_now().ns < nve->active_until.ns)
                return;
        nve->n_active = 0;
        nve->active_until = gw_mono_after(gw_mono_now(), gw_ms(ACTIVE_FOR_MS));
        gw_datapath_talkers_each(nve->dp, TALKERS_WITHIN_MS, active_add, nve);
}

static bool fx_in_use(void *user, uint32_t vni, struct gw_mac mac, struct gw_ip locator, struct gw_duration within) {
        struct nve *nve = user;

        (void)mac, (void)within;
        active_refresh(nve);
        for (size_t i = 0; i < nve->n_active; i++)
                if (nve->active[i].vni == vni && gw_ip_eq(nve->active[i].locator, locator))
                        return true;
        return false;
}

static int read_stale(const struct gw_stale *stale, void *user) {
        struct nve *nve = user;

        gw_edge_stale_sender(nve->edge, nve_now(), stale->vni, stale->mac, stale->sender);
        return 0;
}

void nve_read_stale(struct nve *nve) {
        nve->look_for_stale = false;
        gw_datapath_stale_drain(nve->dp, read_stale, nve);
}

static void fx_vm_changed(void *user, const struct gw_name *vm) {
        nve_state_changed(user, vm);
}

static bool fx_queued(void *user, const struct gw_name *vm) {
        return nve_drain_is_waiting(user, vm);
}

static uint64_t fx_send_back(void *user, const struct gw_name *vm) {
        return nve_drain_go(user, vm);
}

static void fx_log(void *user, int level, const char *text) {
        (void)user;
        gw_log((enum gw_level)level, "%s", text);
}

static void fx_request(void *user, const struct gw_registration *request) {
        nve_mobility_request(user, request);
}

static void fx_noticed(void *user, const struct gw_registration *request, struct gw_registration *reply) {
        nve_routes_noticed(user, request, reply);
}

const struct gw_edge_effects nve_effects = {
        .fdb_set = fx_fdb_set,
        .fdb_del = fx_fdb_del,
        .neigh_set = fx_neigh_set,
        .neigh_del = fx_neigh_del,
        .member_set = fx_member_set,
        .member_del = fx_member_del,
        .port_open = fx_port_open,
        .port_close = fx_port_close,
        .port_cut = fx_port_cut,
        .port_role = fx_port_role,
        .port_limits = fx_port_limits,
        .port_still = fx_port_still,
        .port_snoop = fx_port_snoop,
        .port_group = fx_port_group,
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
        .request = fx_request,
        .noticed = fx_noticed,
};
