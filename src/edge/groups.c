/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which multicast groups the VMs here are in (IGMPv1-3: RFC 1112, 2236, 3376;
 * MLDv1-2: RFC 2710, 3810), so that multicast goes to those that want it.
 *
 * The edge is the querier of its own ports. A port starts out open: it gets every
 * group, and its VM is asked several times. After that it gets those that the VM has
 * said, and is asked again every QUERY_EVERY_S; what is not said any more ends
 * after MEMBER_S. So a VM that moves brings its groups along by itself: its port at
 * the new place is open until the VM has spoken there. There is one VM behind a port,
 * so that leaving counts at once (no last-member query).
 *
 * Sources are not told apart: who wants a group from some sources gets it from all.
 * A VM in more groups than are remembered gets them all, and so does one that changes
 * them more often than honest ones do: each change is work for the data plane's tables,
 * a report has room for hundreds, and it is the VM that chooses how many come. Nothing is kept of
 * what such a VM says for MEMBER_S; then its port begins anew.
 */
#include <stdlib.h>

#include "edge/core.h"

enum {
        GROUPS_MAX = 64,   /* of a port */
        CHANGES_MAX = 512, /* of them, from one query to the next */
        OPENING_QUERIES = 3,
        OPENING_EVERY_MS = 2000,
        FIRST_AFTER_MS = 500,
        RESPONSE_MS = 1000,
        QUERY_EVERY_S = 125,
        MEMBER_S = 2 * QUERY_EVERY_S + 10, /* RFC 3376 section 8.4 */
        LOOK_MS = 500,
        LOOK_RARELY_MS = 10000,
        IGMP = 2,
        ICMPV6 = 58,
};

/* ---- what is known ---- */

static void port_open_up(struct gw_edge *edge, struct edge_port *port) {
        port->snooped = false;
        edge->fx->port_snoop(edge->user, &port->a, false);
}

void gw_edge_groups_free(struct edge_port *port) {
        free(port->groups);
        port->groups = NULL;
        port->n_groups = 0;
}

void gw_edge_groups_begin(struct gw_edge *edge, struct edge_port *port) {
        if (!edge->config.snoop || !port->attached)
                return;
        gw_edge_groups_free(port);
        port->queried = 0;
        port->query_at = port->open_until = (struct gw_mono){0};
        port->group_changes = 0;
        port_open_up(edge, port);
        gw_edge_timer_set(&edge->timers, &edge->groups, (struct gw_mono){1});
}

static struct edge_group *group_find(const struct edge_port *port, struct gw_ip ip) {
        for (size_t i = 0; i < port->n_groups; i++)
                if (gw_ip_eq(port->groups[i].ip, ip))
                        return &port->groups[i];
        return NULL;
}

/* It gets all groups, and what it says counts for nothing, for a while. */
static void port_give_up(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        edge->counters[GW_EDGE_C_GROUPS_FULL]++;
        gw_edge_groups_free(port);
        port_open_up(edge, port);
        port->open_until = gw_mono_after(now.mono, gw_s(MEMBER_S));
}

/* False: too many changes; the port has been given up. */
static bool may_change(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        if (port->group_changes++ < CHANGES_MAX)
                return true;
        port_give_up(edge, now, port);
        return false;
}

static void group_end(struct gw_edge *edge, struct edge_port *port, struct edge_group *group) {
        edge->fx->port_group(edge->user, port->a.ifindex, group->ip, false);
        *group = port->groups[--port->n_groups];
}

static void group_join(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, struct gw_ip ip) {
        struct edge_group *group = group_find(port, ip);

        if (!group) {
                if (!port->groups)
                        port->groups = calloc(GROUPS_MAX, sizeof *port->groups);
                if (!port->groups || port->n_groups >= GROUPS_MAX) {
                        port_give_up(edge, now, port);
                        return;
                }
                if (!may_change(edge, now, port))
                        return;
                group = &port->groups[port->n_groups++];
                group->ip = ip;
                edge->fx->port_group(edge->user, port->a.ifindex, ip, true);
        }
        group->until = gw_mono_after(now.mono, gw_s(MEMBER_S));
}

static void group_leave(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, struct gw_ip ip) {
        struct edge_group *group = group_find(port, ip);

        if (group && may_change(edge, now, port))
                group_end(edge, port, group);
}

/* ---- what a VM says ---- */

static bool is_multicast(struct gw_ip ip) {
        return gw_ip_is_v4(ip) ? ip.b[12] >> 4 == 14 : ip.b[0] == 0xff;
}

/* The record types of IGMPv3 and MLDv2, which are the same. */
static void record(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, uint8_t type, unsigned sources,
                   struct gw_ip ip) {
        enum { IS_IN = 1, IS_EX, TO_IN, TO_EX, ALLOW };

        if (!is_multicast(ip) || port->open_until.ns)
                return;
        if (type == IS_EX || type == TO_EX || ((type == IS_IN || type == TO_IN || type == ALLOW) && sources))
                group_join(edge, now, port, ip);
        else if (type == IS_IN || type == TO_IN)
                group_leave(edge, now, port, ip);
}

static struct gw_ip get_ip(struct gw_reader *r, bool v4) {
        struct gw_ip ip = {{0}};
        uint32_t be;

        if (!v4) {
                gw_get_bytes(r, ip.b, sizeof ip.b);
                return ip;
        }
        gw_get_bytes(r, &be, sizeof be);
        return gw_ip_from_v4(be);
}

static bool records(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, struct gw_reader *r,
                    bool v4) {
        unsigned n;

        gw_get_span(r, 5);
        n = gw_get_u16(r);
        for (; n > 0 && r->ok; n--) {
                uint8_t type = gw_get_u8(r), auxiliary = gw_get_u8(r);
                unsigned sources = gw_get_u16(r);
                struct gw_ip ip = get_ip(r, v4);

                gw_get_span(r, sources * (v4 ? 4 : 16) + auxiliary * 4u);
                if (r->ok)
                        record(edge, now, port, type, sources, ip);
        }
        return r->ok;
}

static bool heard_igmp(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, struct gw_reader *r) {
        enum { REPORT_V1 = 0x12, REPORT_V2 = 0x16, LEAVE = 0x17, REPORT_V3 = 0x22 };
        uint8_t header = gw_get_u8(r) & 15, type;
        struct gw_ip ip;

        gw_get_span(r, 8);
        if (gw_get_u8(r) != IGMP || header < 5)
                return false;
        gw_get_span(r, header * 4u - 10);
        type = gw_get_u8(r);
        if (type == REPORT_V3)
                return records(edge, now, port, r, true);
        gw_get_span(r, 3);
        ip = get_ip(r, true);
        if (!r->ok || !is_multicast(ip))
                return false;
        if (type == REPORT_V1 || type == REPORT_V2)
                group_join(edge, now, port, ip);
        else if (type == LEAVE)
                group_leave(edge, now, port, ip);
        return true;
}

static bool heard_mld(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port, struct gw_reader *r) {
        enum { REPORT = 131, DONE = 132, REPORT_V2 = 143 };
        struct gw_ip ip;
        uint8_t type;

        gw_get_span(r, 40);
        if (gw_get_u8(r) != ICMPV6)
                return false;
        gw_get_span(r, 7);
        type = gw_get_u8(r);
        if (type == REPORT_V2)
                return records(edge, now, port, r, false);
        gw_get_span(r, 7);
        ip = get_ip(r, false);
        if (!r->ok || !is_multicast(ip))
                return false;
        if (type == REPORT)
                group_join(edge, now, port, ip);
        else if (type == DONE)
                group_leave(edge, now, port, ip);
        return true;
}

void gw_edge_groups_heard(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_port *port = gw_edge_port_by_ifindex(edge, frame->ifindex);
        struct gw_reader r = gw_reader(frame->bytes, frame->size);
        uint16_t type;

        if (!port)
                return;
        gw_get_span(&r, 12);
        type = gw_get_u16(&r);
        if (edge->config.snoop && !port->open_until.ns &&
            !(type == 0x0800 ? heard_igmp : heard_mld)(edge, now, port, &r))
                edge->counters[GW_EDGE_C_UNPARSED]++;
        edge->counters[GW_EDGE_C_GROUPS_HEARD]++;
        edge->fx->inject(edge->user, GW_EDGE_AS_SENT, frame); /* to multicast routers */
}

/* ---- what a VM is asked ---- */

static uint16_t checksum(const uint8_t *bytes, size_t size, uint32_t sum) {
        for (size_t i = 0; i + 1 < size; i += 2)
                sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return (uint16_t)~sum;
}

static void put_checksum(uint8_t *at, uint16_t sum) {
        at[0] = (uint8_t)(sum >> 8);
        at[1] = (uint8_t)sum;
}

/* What changes in neither but the checksums. Ethernet; IP with router alert; the query. */
static const char igmp_form[] = "\x01\x00\x5e\x00\x00\x01\x02\x67\x77\x00\x00\x01\x08\x00"
                                "\x46\xc0\x00\x24\x00\x00\x40\x00\x01\x02\x00\x00\x00\x00\x00\x00\xe0\x00\x00\x01"
                                "\x94\x04\x00\x00"
                                "\x11\x0a\x00\x00\x00\x00\x00\x00\x02\x7d\x00\x00";
static const char mld_form[] = "\x33\x33\x00\x00\x00\x01\x02\x67\x77\x00\x00\x01\x86\xdd"
                               "\x60\x00\x00\x00\x00\x24\x00\x01"
                               "\xfe\x80\x00\x00\x00\x00\x00\x00\x00\x67\x77\xff\xfe\x00\x00\x01"
                               "\xff\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"
                               "\x3a\x00\x05\x02\x00\x00\x01\x00"
                               "\x82\x00\x00\x00\x03\xe8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"
                               "\x00\x00\x00\x00\x02\x7d\x00\x00";
enum { IGMP_OCTETS = sizeof igmp_form - 1, MLD_OCTETS = sizeof mld_form - 1 };
_Static_assert(IGMP_OCTETS == 50 && MLD_OCTETS == 90, "complete");
_Static_assert(QUERY_EVERY_S == 0x7d && RESPONSE_MS == 1000, "as in the forms: 0x0a tenths, 0x03e8 ms");

/* From 0.0.0.0, as a switch that only snoops asks (RFC 4541 section 2.1.1). */
static void query_igmp(struct gw_edge *edge, const struct edge_port *port) {
        uint8_t f[IGMP_OCTETS];

        memcpy(f, igmp_form, sizeof f);
        put_checksum(f + 24, checksum(f + 14, 24, 0));
        put_checksum(f + 40, checksum(f + 38, 12, 0));
        edge->fx->deliver(edge->user, port->a.ifindex, f, sizeof f);
}

/* From the link-local address of the MAC that asks: hosts believe no other kind. */
static void query_mld(struct gw_edge *edge, const struct edge_port *port) {
        uint8_t f[MLD_OCTETS];

        memcpy(f, mld_form, sizeof f);
        put_checksum(f + 64, checksum(f + 22, 32, checksum(f + 62, 28, 28 + ICMPV6) ^ 0xffffu));
        edge->fx->deliver(edge->user, port->a.ifindex, f, sizeof f);
}

struct look {
        struct gw_edge *edge;
        struct gw_edge_now now;
        bool opening;
};

static void port_ask(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port) {
        if (port->open_until.ns) {
                if (gw_mono_reached(now.mono, port->open_until))
                        gw_edge_groups_begin(edge, port);
                return;
        }
        if (!port->query_at.ns) {
                port->query_at = gw_mono_after(now.mono, gw_ms(FIRST_AFTER_MS));
                return;
        }
        if (!gw_mono_reached(now.mono, port->query_at))
                return;
        if (port->queried == OPENING_QUERIES && !port->snooped && port->n_groups < GROUPS_MAX) {
                port->snooped = true;
                edge->fx->port_snoop(edge->user, &port->a, true);
        }
        port->group_changes = 0;
        query_igmp(edge, port);
        query_mld(edge, port);
        if (port->queried < OPENING_QUERIES)
                port->queried++;
        port->query_at =
                gw_mono_after(now.mono, port->queried < OPENING_QUERIES || !port->snooped ? gw_ms(OPENING_EVERY_MS)
                                                                                          : gw_s(QUERY_EVERY_S));
}

static void port_look(struct gw_table_node *node, void *user) {
        struct edge_port *port = gw_container_of(node, struct edge_port, by_ifindex);
        struct look *look = user;

        if (port->vm->role != GW_EDGE_SERVING)
                return;
        for (size_t i = port->n_groups; i-- > 0;)
                if (gw_mono_reached(look->now.mono, port->groups[i].until))
                        group_end(look->edge, port, &port->groups[i]);
        port_ask(look->edge, look->now, port);
        look->opening |= !port->snooped && !port->open_until.ns;
}

void gw_edge_groups_timer(struct gw_edge *edge, struct gw_edge_now now) {
        struct look look = {.edge = edge, .now = now};

        gw_table_each(&edge->ports_by_ifindex, port_look, &look);
        if (edge->ports_by_ifindex.count)
                gw_edge_timer_set(&edge->timers, &edge->groups,
                                  gw_mono_after(now.mono, gw_ms(look.opening ? LOOK_MS : LOOK_RARELY_MS)));
}
