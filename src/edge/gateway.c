/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Gateways: which one VMs here use in each VN, and being one.
 *
 * Using one. Members of a VN that are gateways come with a cost that the NVA has
 * worked out for this edge. The least of those that live is taken, by each VN for
 * itself; when it ends, the next one is, at once and without a question, also while
 * the NVA is away. When none is said to live, the present one is kept as long as
 * it is a member: after a start of the NVA nobody lives for a moment. Before all that
 * counts whether it answers this edge (path.c): what the NVA cannot see, and what is
 * seen while the NVA is away. A VM that moves finds at its new edge the choice that
 * was made there.
 *
 * Being one. The shell hands in which VNs are routed here and the ways between
 * them; the data plane routes by them. What it cannot decide comes up: its owner is
 * asked for and the frame held (query.c), or it is answered as RFC 1812 and RFC 4443
 * have it: TTL, size, prohibited, an echo. The data plane bounds how much comes up.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"
#include "edge/toobig.h"

enum {
        ETHERTYPE_IPV4 = 0x0800,
        ETH_SIZE = 14,
        IPV4_SIZE = 20,
        IPV6_SIZE = 40,
        ICMP = 1,
        ICMPV6 = 58,
        ECHO4 = 8,
        ECHO6 = 128,
        ECHO6_REPLY = 129,
        ECHO_TTL = 64,
};

/* ---- using one ---- */

/* GOOD before HELD before LOST. */
static int path_rank(const struct gw_edge *edge, const struct edge_member *m) {
        static const int ranks[] = {[GW_EDGE_PATH_GOOD] = 0, [GW_EDGE_PATH_HELD] = 1, [GW_EDGE_PATH_LOST] = 2};

        return ranks[gw_edge_path_state(edge, m->locator)];
}

static bool better(const struct gw_edge *edge, const struct edge_member *a, const struct edge_member *b) {
        int x = path_rank(edge, a), y = b ? path_rank(edge, b) : 0;

        if (b && x != y)
                return x < y;
        if (!b || (a->role & GW_MEMBER_LIVE) != (b->role & GW_MEMBER_LIVE))
                return !b || a->role & GW_MEMBER_LIVE;
        if (a->cost != b->cost)
                return a->cost < b->cost;
        return memcmp(&a->locator, &b->locator, sizeof a->locator) < 0;
}

static struct gw_ip best(const struct gw_edge *edge, const struct edge_vn *vn) {
        const struct edge_member *found = NULL, *present = NULL;

        for (size_t i = 0; i < vn->n_members; i++) {
                const struct edge_member *m = vn->members[i];

                if (!(m->role & GW_MEMBER_ROUTES))
                        continue;
                if (gw_ip_eq(m->locator, vn->gateway))
                        present = m;
                if (better(edge, m, found))
                        found = m;
        }
        if (found && present && !(found->role & GW_MEMBER_LIVE) && path_rank(edge, present) <= path_rank(edge, found))
                found = present;
        return found ? found->locator : (struct gw_ip){{0}};
}

void gw_edge_gateway_choose(struct gw_edge *edge, struct edge_vn *vn) {
        struct gw_ip now = vn->routed ? edge->config.locator : best(edge, vn);
        char text[GW_IP_TEXT];

        if (gw_ip_eq(now, vn->gateway))
                return;
        vn->gateway = now;
        edge->counters[GW_EDGE_C_GATEWAY_CHANGES]++;
        gw_edge_log(edge, GW_INFO, "vni=%u gateway=%s", vn->vni,
                    gw_ip_is_unspecified(now) ? "none" : gw_ip_text(now, text));
        gw_edge_fdb_program(edge, vn->vni, GW_GATEWAY_MAC);
}

/* Its role becomes another, and with it, whether the way to it is watched. */
void gw_edge_member_routes(struct gw_edge *edge, struct edge_vn *vn, struct edge_member *m, uint8_t role) {
        bool was = m->role & GW_MEMBER_ROUTES, is = role & GW_MEMBER_ROUTES;

        m->role = role;
        if (is && !was)
                gw_edge_path_add(edge, vn, m->locator);
        else if (was && !is)
                gw_edge_path_remove(edge, vn, m->locator);
}

void gw_edge_member_role(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, uint8_t role, uint32_t cost) {
        struct edge_member *m = gw_edge_member_find(edge, vn, locator);

        if (!m || (m->role == role && m->cost == cost))
                return;
        if ((m->role ^ role) & GW_MEMBER_ROUTES)
                edge->fx->member_set(edge->user, vn->vni, locator, role);
        gw_edge_member_routes(edge, vn, m, role);
        m->cost = cost;
        gw_edge_gateway_choose(edge, vn);
}

bool gw_edge_gateway_fdb(const struct gw_edge *edge, uint32_t vni, struct gw_edge_fdb *out) {
        const struct edge_vn *vn = gw_edge_vn_find(edge, vni);

        if (!vn || gw_ip_is_unspecified(vn->gateway))
                return false;
        *out = (struct gw_edge_fdb){.place = vn->routed ? GW_EDGE_TO_GATEWAY : GW_EDGE_TO_REMOTE};
        if (!vn->routed)
                out->locator = vn->gateway;
        return true;
}

struct gw_ip gw_edge_gateway_of(const struct gw_edge *edge, uint32_t vni) {
        const struct edge_vn *vn = gw_edge_vn_find(edge, vni);

        return vn ? vn->gateway : (struct gw_ip){{0}};
}

void gw_edge_each_gateway(const struct gw_edge *edge, uint32_t vni,
                          void (*each)(const struct gw_edge_gateway_view *view, void *user), void *user) {
        const struct edge_vn *vn = gw_edge_vn_find(edge, vni);
        struct gw_edge_gateway_view view;

        for (size_t i = 0; vn && i < vn->n_members; i++) {
                const struct edge_member *m = vn->members[i];

                if (!(m->role & GW_MEMBER_ROUTES))
                        continue;
                view = (struct gw_edge_gateway_view){.locator = m->locator,
                                                     .cost = m->cost,
                                                     .live = m->role & GW_MEMBER_LIVE,
                                                     .used = gw_ip_eq(m->locator, vn->gateway),
                                                     .path = (uint8_t)gw_edge_path_state(edge, m->locator)};
                each(&view, user);
        }
}

/* Nothing is chosen yet: the entry for the present one is adopted after the members. */
void gw_edge_gateway_adopt_member(struct gw_edge *edge, struct edge_vn *vn, struct gw_ip locator, uint8_t role) {
        struct edge_member *m = role ? gw_edge_member_find(edge, vn, locator) : NULL;

        if (!m)
                return;
        gw_edge_member_routes(edge, vn, m, role);
        edge->fx->member_set(edge->user, vn->vni, locator, role);
}

/* The entry that outlived the last daemon stays until the NVA has named the gateways. */
void gw_edge_gateway_adopt(struct gw_edge *edge, struct edge_vn *vn, const struct gw_edge_fdb *entry) {
        if (vn->routed)
                return;
        if (entry->place == GW_EDGE_TO_REMOTE && gw_ip_is_unicast(entry->locator))
                vn->gateway = entry->locator;
        else
                edge->fx->fdb_del(edge->user, vn->vni, GW_GATEWAY_MAC);
}

/* ---- being one ---- */

static bool is_wanted(const struct gw_edge_routed *vns, size_t n, uint32_t vni) {
        for (size_t i = 0; i < n; i++)
                if (vns[i].vni == vni)
                        return true;
        return false;
}

struct leaving {
        struct gw_edge *edge;
        const struct gw_edge_routed *vns;
        size_t n;
};

static void leave(struct gw_table_node *node, void *user) {
        struct leaving *l = user;
        struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);

        if (!vn->routed || is_wanted(l->vns, l->n, vn->vni))
                return;
        vn->routed = false;
        gw_edge_gateway_choose(l->edge, vn);
        gw_edge_vn_unref(l->edge, vn);
}

static int enter(struct gw_edge *edge, const struct gw_edge_routed *routed) {
        struct edge_vn *vn = gw_edge_vn_find(edge, routed->vni);
        int r = vn && vn->routed ? 0 : gw_edge_vn_ref(edge, routed->vni, &vn);

        if (r)
                return r;
        vn->routed = true;
        vn->routed_mtu = routed->mtu;
        gw_edge_gateway_choose(edge, vn);
        return 0;
}

int gw_edge_route(struct gw_edge *edge, const struct gw_edge_routed *vns, size_t n_vns,
                  const struct gw_edge_route *routes, size_t n_routes, uint32_t outside_mtu) {
        struct gw_edge_route *copy = n_routes <= GW_EDGE_ROUTES_MAX ? calloc(n_routes + 1, sizeof *copy) : NULL;
        int r = 0;

        if (!copy)
                return n_routes > GW_EDGE_ROUTES_MAX ? GW_E_FULL : -ENOMEM;
        if (n_routes)
                memcpy(copy, routes, n_routes * sizeof *copy);
        free(edge->routes);
        edge->routes = copy;
        edge->n_routes = n_routes;
        edge->outside_mtu = outside_mtu;
        gw_table_each(&edge->vns, leave, &(struct leaving){edge, vns, n_vns});
        for (size_t i = 0; !r && i < n_vns; i++)
                r = enter(edge, &vns[i]);
        return r;
}

static const struct gw_edge_route *way(const struct gw_edge *edge, uint32_t from, struct gw_ip to) {
        const struct gw_edge_route *found = NULL;

        for (size_t i = 0; i < edge->n_routes; i++) {
                const struct gw_edge_route *route = &edge->routes[i];

                if (route->from == from && gw_prefix_contains(&route->to, to) &&
                    (!found || route->to.bits > found->to.bits))
                        found = route;
        }
        return found;
}

struct packet {
        struct gw_ip to;
        bool v4;
        uint8_t hops, protocol, type; /* type: of ICMP */
        size_t icmp_at;
        uint32_t octets;
};

static bool read_packet(const struct gw_edge_frame *frame, struct packet *p) {
        const uint8_t *ip = frame->bytes + ETH_SIZE;
        uint32_t be;

        if (frame->size < ETH_SIZE + IPV4_SIZE)
                return false;
        p->v4 = (frame->bytes[12] << 8 | frame->bytes[13]) == ETHERTYPE_IPV4;
        p->octets = frame->ip_octets ? frame->ip_octets : (uint32_t)(frame->size - ETH_SIZE);
        if (p->v4) {
                memcpy(&be, ip + 16, sizeof be);
                p->to = gw_ip_from_v4(be);
                p->hops = ip[8];
                p->protocol = ip[9];
                p->icmp_at = ETH_SIZE + (size_t)(ip[0] & 15) * 4;
        } else {
                if (frame->size < ETH_SIZE + IPV6_SIZE)
                        return false;
                memcpy(p->to.b, ip + 24, sizeof p->to.b);
                p->hops = ip[7];
                p->protocol = ip[6];
                p->icmp_at = ETH_SIZE + IPV6_SIZE;
        }
        p->type = frame->size > p->icmp_at ? frame->bytes[p->icmp_at] : 0;
        return true;
}

static void say(struct gw_edge *edge, uint32_t vni, const uint8_t *bytes, size_t size) {
        struct gw_edge_frame frame = {.vni = vni, .bytes = bytes, .size = size};

        edge->fx->inject(edge->user, GW_EDGE_SAY, &frame);
}

/* An error to the sender, from our address in its VN. Nobody outside is told anything. */
static void tell(struct gw_edge *edge, const struct gw_edge_frame *frame, const struct packet *p, uint16_t v4,
                 uint16_t v6, uint32_t mtu, enum gw_edge_counter counter) {
        const struct edge_vn *vn = frame->vni ? gw_edge_vn_find(edge, frame->vni) : NULL;
        struct gw_icmp_error error = {.v4 = v4, .v6 = v6, .mtu = mtu};
        uint8_t answer[GW_TOO_BIG_MAX];
        size_t size = 0;

        for (size_t i = 0; vn && !error.from && i < vn->settings.n_gateways; i++)
                if (gw_ip_is_v4(vn->settings.gateways[i]) == p->v4)
                        error.from = &vn->settings.gateways[i];
        if (error.from)
                size = gw_icmp_error_answer(frame->bytes, frame->size, &error, answer);
        edge->counters[size ? counter : GW_EDGE_C_GATEWAY_UNANSWERED]++;
        if (size)
                say(edge, frame->vni, answer, size);
}

/* RFC 1624: a checksum after one of the words that it covers has changed. */
static void change_sum(uint8_t *sum, uint16_t was, uint16_t is) {
        uint32_t value = (uint32_t)(uint16_t) ~(sum[0] << 8 | sum[1]) + (uint16_t)~was + is;

        value = (value & 0xffff) + (value >> 16);
        value = ~((value & 0xffff) + (value >> 16));
        sum[0] = (uint8_t)(value >> 8);
        sum[1] = (uint8_t)value;
}

/* An echo request to one of our addresses: source and destination change places, which no checksum notices; its type
 * changes. */
static void answer_echo(struct gw_edge *edge, const struct gw_edge_frame *frame, const struct packet *p) {
        uint8_t *echo = frame->size <= sizeof edge->out && p->type == (p->v4 ? ECHO4 : ECHO6) &&
                                        p->protocol == (p->v4 ? ICMP : ICMPV6) && frame->size >= p->icmp_at + 8
                                ? edge->out
                                : NULL;
        size_t n = p->v4 ? 4 : 16, at = ETH_SIZE + (p->v4 ? 12U : 8U), hops = ETH_SIZE + (p->v4 ? 8U : 7U);

        if (!echo) {
                edge->counters[GW_EDGE_C_GATEWAY_UNANSWERED]++;
                return;
        }
        memcpy(echo, frame->bytes + 6, 6);
        memcpy(echo + 6, frame->bytes, 6);
        memcpy(echo + 12, frame->bytes + 12, frame->size - 12);
        memcpy(echo + at, frame->bytes + at + n, n);
        memcpy(echo + at + n, frame->bytes + at, n);
        if (p->v4)
                change_sum(echo + ETH_SIZE + 10, (uint16_t)(p->hops << 8 | p->protocol),
                           (uint16_t)(ECHO_TTL << 8 | p->protocol));
        echo[hops] = ECHO_TTL;
        echo[p->icmp_at] = p->v4 ? 0 : ECHO6_REPLY;
        change_sum(echo + p->icmp_at + 2, (uint16_t)(p->type << 8), p->v4 ? 0 : ECHO6_REPLY << 8);
        edge->counters[GW_EDGE_C_GATEWAY_ECHOES]++;
        say(edge, frame->vni, echo, frame->size);
}

void gw_edge_gateway_unreachable(struct gw_edge *edge, const struct gw_edge_frame *frame) {
        struct packet p = {.v4 = false};

        if (read_packet(frame, &p))
                tell(edge, frame, &p, GW_ICMP4_HOST, GW_ICMP6_ADDRESS, 0, GW_EDGE_C_ABSENT_ANSWERED);
        else
                edge->counters[GW_EDGE_C_UNPARSED]++;
}

static void find_owner(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame, uint32_t vni,
                       struct gw_ip to) {
        struct gw_edge_frame routed = *frame;
        struct edge_key key = gw_edge_key_ip(vni, to);
        struct gw_edge_fdb entry;
        struct gw_mac mac;

        routed.routed = true;
        if (gw_edge_neigh_find(edge, vni, to, &mac)) {
                if (gw_edge_fdb_wanted(edge, vni, mac, &entry)) {
                        edge->counters[GW_EDGE_C_RELEASED]++;
                        edge->fx->inject(edge->user, GW_EDGE_ROUTE, &routed);
                        return;
                }
                key = gw_edge_key_mac(vni, mac);
        }
        gw_edge_ask_and_hold(edge, now, &key, &routed);
}

/* The same decisions that the data plane made, with the time for an answer. */
void gw_edge_gateway_punted(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        const struct gw_edge_route *route;
        const struct edge_vn *vn;
        struct packet p = {.v4 = false};
        uint32_t mtu;

        if (!read_packet(frame, &p)) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
                return;
        }
        route = way(edge, frame->vni, p.to);
        if (!route)
                return tell(edge, frame, &p, GW_ICMP4_PROHIBITED, GW_ICMP6_PROHIBITED, 0, GW_EDGE_C_GATEWAY_PROHIBITED);
        if (route->self)
                return answer_echo(edge, frame, &p);
        if (p.hops <= 1)
                return tell(edge, frame, &p, GW_ICMP4_EXCEEDED, GW_ICMP6_EXCEEDED, 0, GW_EDGE_C_GATEWAY_EXCEEDED);
        vn = route->vni ? gw_edge_vn_find(edge, route->vni) : NULL;
        mtu = vn ? vn->routed_mtu : edge->outside_mtu;
        if (p.octets > mtu)
                return tell(edge, frame, &p, GW_ICMP4_TOO_BIG, GW_ICMP6_TOO_BIG, mtu, GW_EDGE_C_GATEWAY_TOO_BIG);
        if (vn)
                return find_owner(edge, now, frame, vn->vni, p.to);
        edge->counters[GW_EDGE_C_GATEWAY_UNANSWERED]++;
}
