/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Do the gateways answer? That the authority has a session with one says nothing
 * about the way of packets to it.
 *
 * Every config.probe_ms a probe goes to each gateway of a VN here, in one VN, by the
 * way that a VM's packet takes; the gateway's data plane sends it back (in the manner
 * of BFD's echo, RFC 5880 section 6.4; no session, and its daemon is not needed).
 *
 *      GOOD ---PATH_MISSES probes without an answer---> LOST
 *      LOST ---the first answer ever----------------> GOOD
 *      LOST ---an answer----------------------------> HELD ---hold time over---> GOOD
 *      HELD ---PATH_MISSES probes without an answer---> LOST
 *
 * The hold time is PATH_HOLD_MS, and doubles up to PATH_HOLD_MAX_MS with each loss
 * that follows a recovery by less than PATH_CALM_MS: a path that flaps is used less
 * and less. Losing a path costs packets, going back to it does not, so only the
 * latter is delayed. What is lost is used all the same when there is nothing better.
 *
 * Probes are counted, not time: an edge that was not given the processor has sent
 * none, and misses none. An answer counts when it repeats the time stamp that the
 * probe with its number had, so that nobody who did not see the probe can make one.
 *
 * A gateway that is older than this never answers, and is LOST; where all are, the
 * choice is as it was without probes.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/cursor.h"
#include "base/log.h"
#include "edge/core.h"

enum {
        PATH_MISSES = 4,
        PATH_RECENT = 8, /* probes whose answers count; a power of two */
        PATH_HOLD_MS = 1000,
        PATH_HOLD_MAX_MS = 60000,
        PATH_CALM_MS = 60000,
        ETHERTYPE_IPV6 = 0x86dd,
        UDP = 17,
        HOP_LIMIT = 255,
        ETH_SIZE = 14,
        UDP_SIZE = 8,
        PAYLOAD = 16, /* what it is, its number, when it was sent */
        SUM_AT = ETH_SIZE + 40 + 6,
        PROBE_SIZE = ETH_SIZE + 40 + UDP_SIZE + PAYLOAD,
        PROBE_MAGIC = 0x67775031,
};
_Static_assert(PATH_MISSES < PATH_RECENT, "late answers are recognised");

struct edge_path {
        struct gw_list link;
        struct gw_ip locator;
        uint32_t vni;                     /* in which it is asked */
        size_t n_vns;                     /* in which it is a gateway */
        uint8_t state;                    /* enum gw_edge_path_state */
        bool heard;                       /* at least once */
        uint32_t sent, answered;          /* numbers of probes */
        uint64_t stamps[PATH_RECENT];     /* of those sent last */
        uint32_t hold_ms, losses, rtt_us; /* rtt_us: of the last answer */
        struct gw_mono heard_at, good_at; /* good_at: since when, or with HELD from when on */
};

static struct edge_path *path_find(const struct gw_edge *edge, struct gw_ip locator) {
        gw_list_for_each (link, &edge->paths) {
                struct edge_path *path = gw_list_entry(link, struct edge_path, link);

                if (gw_ip_eq(path->locator, locator))
                        return path;
        }
        return NULL;
}

/* ---- which there are ---- */

void gw_edge_path_add(struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator) {
        struct edge_path *path = path_find(edge, locator);

        if (edge->config.gateway || !edge->config.probe_ms)
                return;
        if (!path && edge->n_paths < GW_EDGE_PATHS_MAX)
                path = calloc(1, sizeof *path);
        if (!path) /* it is not asked, and so never lost */
                return;
        if (!path->n_vns) {
                path->locator = locator;
                path->vni = vn->vni;
                path->state = GW_EDGE_PATH_GOOD;
                gw_list_append(&edge->paths, &path->link);
                if (!edge->n_paths++)
                        gw_edge_timer_set(&edge->timers, &edge->path_timer,
                                          (struct gw_mono){1}); /* with the next tick */
        }
        path->n_vns++;
}

struct search {
        struct gw_ip locator;
        uint32_t except, found;
};

static void search_vn(struct gw_table_node *node, void *user) {
        const struct edge_vn *vn = gw_container_of(node, struct edge_vn, node);
        struct search *s = user;

        for (size_t i = 0; vn->vni != s->except && i < vn->n_members; i++)
                if (vn->members[i]->role & GW_MEMBER_ROUTES && gw_ip_eq(vn->members[i]->locator, s->locator))
                        s->found = vn->vni;
}

void gw_edge_path_remove(struct gw_edge *edge, const struct edge_vn *vn, struct gw_ip locator) {
        struct edge_path *path = path_find(edge, locator);
        struct search other = {locator, vn->vni, 0};

        if (!path)
                return;
        if (--path->n_vns) {
                if (path->vni != vn->vni)
                        return;
                gw_table_each(&edge->vns, search_vn, &other);
                path->vni = other.found;
                return;
        }
        gw_list_remove(&path->link);
        free(path);
        if (!--edge->n_paths)
                gw_edge_timer_stop(&edge->timers, &edge->path_timer);
}

void gw_edge_paths_free_all(struct gw_edge *edge) {
        gw_list_for_each (link, &edge->paths) {
                gw_list_remove(link);
                free(gw_list_entry(link, struct edge_path, link));
        }
        edge->n_paths = 0;
}

enum gw_edge_path_state gw_edge_path_state(const struct gw_edge *edge, struct gw_ip locator) {
        const struct edge_path *path = path_find(edge, locator);

        return path ? (enum gw_edge_path_state)path->state : GW_EDGE_PATH_GOOD;
}

/* ---- what becomes of them ---- */

static void tell(struct gw_edge *edge, bool also_none) {
        struct gw_ip lost[GW_EDGE_PATHS_MAX];
        size_t n = 0;

        if (!(edge->features & GW_FEATURE_PATHS) || !edge->welcome)
                return;
        gw_list_for_each (link, &edge->paths) {
                const struct edge_path *path = gw_list_entry(link, struct edge_path, link);

                if (path->state != GW_EDGE_PATH_GOOD)
                        lost[n++] = path->locator;
        }
        if (n || also_none)
                gw_edge_report_locators(edge, GW_REPORT_PATHS, &edge->config.id, lost, n);
}

void gw_edge_paths_tell(struct gw_edge *edge) {
        tell(edge, false); /* a session begins with none */
}

static void choose_again(struct gw_table_node *node, void *user) {
        gw_edge_gateway_choose(user, gw_container_of(node, struct edge_vn, node));
}

static void become(struct gw_edge *edge, struct edge_path *path, enum gw_edge_path_state state) {
        static const char *const words[] = {[GW_EDGE_PATH_GOOD] = "answers",
                                            [GW_EDGE_PATH_LOST] = "does not answer",
                                            [GW_EDGE_PATH_HELD] = "answers again"};
        char text[GW_IP_TEXT];
        bool good = (path->state == GW_EDGE_PATH_GOOD) != (state == GW_EDGE_PATH_GOOD);

        path->state = (uint8_t)state;
        gw_edge_log(edge, state == GW_EDGE_PATH_LOST ? GW_WARNING : GW_NOTICE, "gateway=%s %s",
                    gw_ip_text(path->locator, text), words[state]);
        gw_table_each(&edge->vns, choose_again, edge);
        if (good)
                tell(edge, true);
}

static void lose(struct gw_edge *edge, struct gw_edge_now now, struct edge_path *path) {
        bool calm = path->state == GW_EDGE_PATH_GOOD &&
                    gw_mono_reached(now.mono, gw_mono_after(path->good_at, gw_ms(PATH_CALM_MS)));

        path->hold_ms = !path->hold_ms || calm                 ? PATH_HOLD_MS
                        : path->hold_ms * 2 < PATH_HOLD_MAX_MS ? path->hold_ms * 2
                                                               : PATH_HOLD_MAX_MS;
        path->losses++;
        edge->counters[GW_EDGE_C_PATHS_LOST]++;
        become(edge, path, GW_EDGE_PATH_LOST);
}

/* The next probe is about to be sent. */
static void judge(struct gw_edge *edge, struct gw_edge_now now, struct edge_path *path) {
        if (path->state != GW_EDGE_PATH_LOST && path->sent - path->answered >= PATH_MISSES)
                lose(edge, now, path);
        else if (path->state == GW_EDGE_PATH_HELD && gw_mono_reached(now.mono, path->good_at))
                become(edge, path, GW_EDGE_PATH_GOOD);
}

/* ---- probes ---- */

static uint16_t sum_of(const uint8_t *bytes, size_t size, uint32_t sum) {
        for (size_t i = 0; i < size; i += 2)
                sum += (uint32_t)(bytes[i] << 8 | bytes[i + 1]);
        while (sum >> 16)
                sum = (sum & 0xffff) + (sum >> 16);
        return sum == 0xffff ? 0xffff : (uint16_t)~sum;
}

/* From the gateway's MAC to itself, which no VM can send and no gateway sends: so it is known for what it is. */
static void probe_write(const struct gw_edge *edge, const struct edge_path *path, uint64_t stamp, uint8_t *out) {
        struct gw_writer w = gw_writer(out, PROBE_SIZE);
        uint16_t sum;

        gw_put_bytes(&w, GW_GATEWAY_MAC.b, 6);
        gw_put_bytes(&w, GW_GATEWAY_MAC.b, 6);
        gw_put_u16(&w, ETHERTYPE_IPV6);
        gw_put_u32(&w, 6U << 28);
        gw_put_u16(&w, UDP_SIZE + PAYLOAD);
        gw_put_u8(&w, UDP);
        gw_put_u8(&w, HOP_LIMIT);
        gw_put_bytes(&w, edge->config.locator.b, 16);
        gw_put_bytes(&w, path->locator.b, 16);
        gw_put_u16(&w, GW_PROBE_PORT_EDGE);
        gw_put_u16(&w, GW_PROBE_PORT_GATEWAY);
        gw_put_u16(&w, UDP_SIZE + PAYLOAD);
        gw_put_u16(&w, 0);
        gw_put_u32(&w, PROBE_MAGIC);
        gw_put_u32(&w, path->sent);
        gw_put_u64(&w, stamp);
        sum = sum_of(out + ETH_SIZE + 8, PROBE_SIZE - ETH_SIZE - 8, UDP + UDP_SIZE + PAYLOAD);
        out[SUM_AT] = (uint8_t)(sum >> 8);
        out[SUM_AT + 1] = (uint8_t)sum;
}

static void probe(struct gw_edge *edge, struct gw_edge_now now, struct edge_path *path) {
        uint8_t bytes[PROBE_SIZE];
        struct gw_edge_frame frame = {.vni = path->vni, .bytes = bytes, .size = sizeof bytes};

        path->sent++;
        path->stamps[path->sent % PATH_RECENT] = now.mono.ns;
        probe_write(edge, path, now.mono.ns, bytes);
        edge->counters[GW_EDGE_C_PATHS_ASKED]++;
        edge->fx->inject(edge->user, GW_EDGE_PROBE, &frame);
}

void gw_edge_paths_timer(struct gw_edge *edge, struct gw_edge_now now) {
        gw_list_for_each (link, &edge->paths) {
                struct edge_path *path = gw_list_entry(link, struct edge_path, link);

                judge(edge, now, path);
                probe(edge, now, path);
        }
        if (edge->n_paths)
                gw_edge_timer_set(&edge->timers, &edge->path_timer,
                                  gw_mono_after(now.mono, gw_ms(edge->config.probe_ms)));
}

void gw_edge_path_heard(struct gw_edge *edge, struct gw_edge_now now, const struct gw_edge_frame *frame) {
        struct edge_path *path = path_find(edge, frame->sender);
        struct gw_reader r = gw_reader(frame->bytes, frame->size);
        uint32_t magic, number;
        uint64_t stamp;

        gw_get_span(&r, PROBE_SIZE - PAYLOAD);
        magic = gw_get_u32(&r);
        number = gw_get_u32(&r);
        stamp = gw_get_u64(&r);
        if (!path || !r.ok || magic != PROBE_MAGIC || path->sent - number >= PATH_RECENT ||
            path->stamps[number % PATH_RECENT] != stamp) {
                edge->counters[GW_EDGE_C_UNPARSED]++;
                return;
        }
        edge->counters[GW_EDGE_C_PATHS_HEARD]++;
        if ((int32_t)(number - path->answered) > 0)
                path->answered = number;
        path->rtt_us = (uint32_t)((now.mono.ns - stamp) / 1000);
        path->heard_at = now.mono;
        if (path->state == GW_EDGE_PATH_LOST) {
                path->good_at = path->heard ? gw_mono_after(now.mono, gw_ms(path->hold_ms)) : now.mono;
                become(edge, path, path->heard ? GW_EDGE_PATH_HELD : GW_EDGE_PATH_GOOD);
        }
        if (!path->heard) {
                path->heard = true;
                path->good_at = now.mono;
        }
}

void gw_edge_each_path(const struct gw_edge *edge, void (*each)(const struct gw_edge_path_view *view, void *user),
                       void *user) {
        gw_list_for_each (link, &edge->paths) {
                const struct edge_path *path = gw_list_entry(link, struct edge_path, link);
                struct gw_edge_path_view view = {.locator = path->locator,
                                                 .state = path->state,
                                                 .heard = path->heard_at,
                                                 .good_at = path->good_at,
                                                 .rtt_us = path->rtt_us,
                                                 .losses = path->losses};

                each(&view, user);
        }
}
