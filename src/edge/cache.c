/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mappings: what the NVA said about where each (VNI, MAC) is.
 *
 * One rule orders everything: about one MAC, a mapping of an older epoch than
 * the one held is stale and ignored. An ABSENT mapping is kept for its lifetime,
 * so that it, too, cannot be overwritten by something older.
 *
 * Against what is here: a VM that serves here is not elsewhere because of a
 * mapping with the same or an older epoch (ignored and logged). A newer epoch
 * elsewhere means that our copy is stale: it is fenced, its packets go where the
 * mapping says. A redirect follows newer epochs, so that chains A -> B -> C
 * become A -> C, since a packet is redirected only once.
 *
 * Lifetimes: at three quarters, a mapping in use is asked for again; one that is
 * not in use is let go. While the NVA is away nothing ends: what is known is better
 * than nothing. After its return, what it does not confirm is asked for again.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/log.h"
#include "edge/core.h"

enum {
        MAPPING_RETRY_MS = 1000, /* the NVA is away, or does not answer: look again then */
        MAPPING_IN_USE_MIN_MS = 3000,
        ABSENT_MAX_MS = 60000, /* a no that is believed for long hides a VM for long */
};
#define MAPPING_UNTIL_TOLD UINT32_MAX

struct edge_mapping *gw_edge_mapping_find(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct edge_key key = gw_edge_key_mac(vni, mac);
        struct gw_table_node *node =
                gw_table_find(&edge->mappings, gw_table_hash(&edge->mappings, &key, sizeof key), &key);

        return node ? gw_container_of(node, struct edge_mapping, node) : NULL;
}

/* It says where to send, and not to ourselves. */
static bool leads_elsewhere(const struct gw_edge *edge, uint8_t state, struct gw_ip locator) {
        return state == GW_MAPPING_SERVING && !gw_ip_eq(locator, edge->config.locator);
}

uint64_t gw_edge_mapping_elsewhere(const struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        const struct edge_mapping *m = gw_edge_mapping_find(edge, vni, mac);

        return m && leads_elsewhere(edge, m->state, m->locator) ? m->epoch : 0;
}

static void mapping_release_ips(struct gw_edge *edge, struct edge_mapping *m) {
        if (gw_edge_port_by_mac(edge, m->vni, m->mac))
                return; /* they are the port's, too */
        for (size_t i = 0; i < m->n_ips; i++)
                gw_edge_neigh_release(edge, m->vni, m->ips[i], m->mac);
}

static void mapping_free(struct gw_edge *edge, struct edge_mapping *m) {
        gw_edge_timer_remove(&edge->timers, &m->timer);
        gw_table_remove(&edge->mappings, &m->node);
        free(m->ips);
        free(m->vm);
        free(m);
}

void gw_edge_mapping_drop(struct gw_edge *edge, struct edge_mapping *m) {
        uint32_t vni = m->vni;
        struct gw_mac mac = m->mac;

        mapping_release_ips(edge, m);
        mapping_free(edge, m);
        if (!gw_edge_port_by_mac(edge, vni, mac))
                gw_edge_fdb_program(edge, vni, mac);
        gw_edge_source_told(edge, vni, mac);
}

static struct edge_mapping *mapping_new(struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct edge_key key = gw_edge_key_mac(vni, mac);
        struct edge_mapping *m;

        if (edge->mappings.count >= GW_EDGE_MAPPINGS_MAX)
                return NULL;
        m = calloc(1, sizeof *m);
        if (!m || gw_edge_timer_add(&edge->timers, &m->timer, TIMER_MAPPING)) {
                free(m);
                return NULL;
        }
        m->vni = vni;
        m->mac = mac;
        if (gw_table_insert(&edge->mappings, &m->node, gw_table_hash(&edge->mappings, &key, sizeof key))) {
                gw_edge_timer_remove(&edge->timers, &m->timer);
                free(m);
                return NULL;
        }
        return m;
}

/* Takes over what a mapping says; on -ENOMEM the old content stays. */
static int mapping_set(struct edge_mapping *m, const struct gw_mapping *said) {
        struct gw_ip *ips = NULL;
        char *vm = NULL;

        if (said->n_ips && !(ips = malloc(said->n_ips * sizeof *ips)))
                return -ENOMEM;
        if (said->vm.s[0] && !(vm = strdup(said->vm.s))) {
                free(ips);
                return -ENOMEM;
        }
        if (said->n_ips)
                memcpy(ips, said->ips, said->n_ips * sizeof *ips);
        free(m->ips);
        free(m->vm);
        m->ips = ips;
        m->vm = vm;
        m->n_ips = said->n_ips;
        m->epoch = said->epoch;
        m->state = said->state;
        m->locator = said->locator;
        m->lifetime_ms = said->lifetime_ms;
        if (m->state == GW_MAPPING_ABSENT && m->lifetime_ms > ABSENT_MAX_MS)
                m->lifetime_ms = ABSENT_MAX_MS;
        m->confirmed = true;
        m->refreshing = false;
        return 0;
}

static void mapping_start_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m) {
        m->expires = (struct gw_mono){0};
        gw_edge_timer_stop(&edge->timers, &m->timer);
        if (m->lifetime_ms == MAPPING_UNTIL_TOLD)
                return;
        m->expires = gw_mono_after(now.mono, gw_ms(m->lifetime_ms));
        gw_edge_timer_set(&edge->timers, &m->timer,
                          m->state == GW_MAPPING_SERVING
                                  ? gw_mono_after(now.mono, gw_ms(m->lifetime_ms - m->lifetime_ms / 4))
                                  : m->expires);
}

static void mapping_claim_ips(struct gw_edge *edge, struct edge_mapping *m, const struct gw_mapping *said) {
        if (gw_edge_port_by_mac(edge, m->vni, m->mac))
                return;
        for (size_t i = 0; i < said->n_ips; i++)
                gw_edge_neigh_claim(edge, m->vni, said->ips[i], m->mac);
}

static bool said_has_ip(const struct gw_mapping *said, struct gw_ip ip) {
        for (size_t i = 0; i < said->n_ips; i++)
                if (gw_ip_eq(said->ips[i], ip))
                        return true;
        return false;
}

/* The addresses that the new content no longer has. */
static void mapping_drop_ips(struct gw_edge *edge, struct edge_mapping *m, const struct gw_mapping *said) {
        if (gw_edge_port_by_mac(edge, m->vni, m->mac))
                return;
        for (size_t i = 0; i < m->n_ips; i++)
                if (!leads_elsewhere(edge, said->state, said->locator) || !said_has_ip(said, m->ips[i]))
                        gw_edge_neigh_release(edge, m->vni, m->ips[i], m->mac);
}

/* Queries that this answers, whoever asked and whyever it came. */
static void mapping_resolve(struct gw_edge *edge, const struct gw_mapping *said) {
        struct edge_key key = gw_edge_key_mac(said->vni, said->mac);

        gw_edge_query_resolve(edge, &key);
        for (size_t i = 0; i < said->n_ips; i++) {
                key = gw_edge_key_ip(said->vni, said->ips[i]);
                gw_edge_query_resolve(edge, &key);
        }
}

/* A mapping about a VM that has a port here. True: nothing contradicts keeping it in the cache. */
static bool mapping_meets_port(struct gw_edge *edge, struct gw_edge_now now, struct edge_port *port,
                               const struct gw_mapping *said) {
        struct edge_vm *vm = port->vm;
        bool elsewhere = leads_elsewhere(edge, said->state, said->locator);

        if (vm->role == GW_EDGE_ARRIVING && said->epoch < vm->epoch)
                return true; /* where it is until it has come: that counts should it never come */
        if (!elsewhere || said->epoch < vm->epoch)
                return said->epoch >= vm->epoch;
        if (vm->role == GW_EDGE_SERVING && said->epoch == vm->epoch) {
                edge->counters[GW_EDGE_C_MAPPINGS_CONFLICT]++;
                gw_edge_log(edge, GW_ERR, "vm=%s epoch=%llu serves here, and the authority says elsewhere; ignored",
                            vm->name.s, (unsigned long long)vm->epoch);
                return false;
        }
        if (vm->role == GW_EDGE_SERVING) {
                edge->counters[GW_EDGE_C_FENCED]++;
                gw_edge_log(edge, GW_ERR, "vm=%s epoch=%llu is stale: it serves elsewhere with epoch=%llu; fenced",
                            vm->name.s, (unsigned long long)vm->epoch, (unsigned long long)said->epoch);
                gw_edge_vm_moved(edge, now, vm, said->locator, said->epoch);
        } else if (vm->role == GW_EDGE_MOVED && said->epoch > vm->epoch) {
                vm->peer = said->locator;
                vm->epoch = said->epoch;
                gw_edge_vm_program(edge, vm);
                edge->fx->vm_changed(edge->user, &vm->name);
        }
        return true;
}

static bool mapping_sane(const struct gw_mapping *said) {
        if (gw_mac_is_group(said->mac) || said->n_ips > GW_MAPPING_IPS_MAX)
                return false;
        return said->state == GW_MAPPING_ABSENT ||
               (said->state == GW_MAPPING_SERVING && gw_ip_is_unicast(said->locator));
}

static bool mapping_is_nothing(const struct gw_mapping *said) {
        static const struct gw_mac none;

        return said->state == GW_MAPPING_ABSENT && (gw_mac_eq(said->mac, none) || !said->epoch);
}

static void mapping_store(struct gw_edge *edge, struct gw_edge_now now, const struct gw_mapping *said) {
        struct edge_mapping *m = gw_edge_mapping_find(edge, said->vni, said->mac);
        bool same, moved, serves, waited;

        if (m && said->epoch < m->epoch) {
                edge->counters[GW_EDGE_C_MAPPINGS_STALE]++;
                return;
        }
        if (!m && !(m = mapping_new(edge, said->vni, said->mac))) {
                struct edge_vn *vn = gw_edge_vn_find(edge, said->vni);

                if (vn)
                        vn->all_told = vn->final = false;
                gw_edge_log(edge, GW_WARNING, "vni=%u: no room for another mapping (%zu held)", said->vni,
                            edge->mappings.count);
                return;
        }
        moved = leads_elsewhere(edge, m->state, m->locator) && leads_elsewhere(edge, said->state, said->locator) &&
                !gw_ip_eq(m->locator, said->locator);
        same = m->state == said->state && m->epoch == said->epoch && gw_ip_eq(m->locator, said->locator);
        mapping_drop_ips(edge, m, said);
        if (mapping_set(m, said))
                return;
        m->said_at = now.mono;
        serves = leads_elsewhere(edge, m->state, m->locator);
        waited = gw_edge_query_prepare(edge, said->vni, said->mac, said->ips, serves ? said->n_ips : 0);
        if ((waited || !same) && !gw_edge_port_by_mac(edge, said->vni, said->mac))
                gw_edge_fdb_program(edge, said->vni, said->mac);
        if (serves) /* after the entry: with it, a gateway would route past the frames that wait */
                mapping_claim_ips(edge, m, said);
        mapping_start_timer(edge, now, m);
        mapping_resolve(edge, said);
        if (moved)
                gw_edge_speak(edge, said->vni, said->mac, said->ips, said->n_ips);
}

void gw_edge_mapping_apply(struct gw_edge *edge, struct gw_edge_now now, const struct gw_mapping *said) {
        struct edge_port *port = gw_edge_port_by_mac(edge, said->vni, said->mac);

        if (!gw_edge_vn_find(edge, said->vni) || !mapping_sane(said) || mapping_is_nothing(said))
                return;
        if (port && !mapping_meets_port(edge, now, port, said))
                edge->counters[GW_EDGE_C_MAPPINGS_STALE]++;
        else
                mapping_store(edge, now, said);
        if (port)
                gw_edge_return_heard(edge, now, port->vm);
        gw_edge_source_told(edge, said->vni, said->mac);
}

static bool port_has_ip(const struct edge_port *port, struct gw_ip ip) {
        for (size_t i = 0; i < port->a.n_ips; i++)
                if (gw_ip_eq(port->a.ips[i], ip))
                        return true;
        return false;
}

void gw_edge_mapping_yield(struct gw_edge *edge, const struct edge_port *port) {
        const struct edge_mapping *m = gw_edge_mapping_find(edge, port->a.vni, port->a.mac);

        for (size_t i = 0; m && i < m->n_ips; i++)
                if (!port_has_ip(port, m->ips[i]))
                        gw_edge_neigh_release(edge, m->vni, m->ips[i], m->mac);
}

/* The port with this MAC went away: what the mapping says counts again. */
void gw_edge_mapping_reclaim(struct gw_edge *edge, uint32_t vni, struct gw_mac mac) {
        struct edge_mapping *m = gw_edge_mapping_find(edge, vni, mac);

        gw_edge_fdb_program(edge, vni, mac);
        if (!m || !leads_elsewhere(edge, m->state, m->locator))
                return;
        for (size_t i = 0; i < m->n_ips; i++)
                gw_edge_neigh_claim(edge, vni, m->ips[i], mac);
}

/* An address found in the data plane beside an adopted entry. */
void gw_edge_mapping_adopt_ip(struct gw_edge *edge, uint32_t vni, struct gw_mac mac, struct gw_ip ip) {
        struct edge_mapping *m = gw_edge_mapping_find(edge, vni, mac);
        struct gw_ip *ips;

        if (!m || m->n_ips >= GW_MAPPING_IPS_MAX)
                return;
        ips = realloc(m->ips, (m->n_ips + 1u) * sizeof *ips);
        if (!ips)
                return;
        m->ips = ips;
        m->ips[m->n_ips++] = ip;
        gw_edge_neigh_claim(edge, vni, ip, mac);
}

static bool mapping_in_use(const struct gw_edge *edge, const struct edge_mapping *m) {
        uint64_t within_ms = m->lifetime_ms / 2;

        if (within_ms < MAPPING_IN_USE_MIN_MS || m->lifetime_ms == MAPPING_UNTIL_TOLD)
                within_ms = MAPPING_IN_USE_MIN_MS;
        return edge->fx->in_use(edge->user, m->vni, m->mac, m->locator, gw_ms(within_ms));
}

static void mapping_later(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m) {
        gw_edge_timer_set(&edge->timers, &m->timer, gw_mono_after(now.mono, gw_ms(MAPPING_RETRY_MS)));
}

/* At three quarters of the lifetime, and then each second until it is confirmed or let go. */
void gw_edge_mapping_timer(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m) {
        struct edge_key key = gw_edge_key_mac(m->vni, m->mac);
        bool serving = m->state == GW_MAPPING_SERVING;

        if (serving && !edge->welcome) {
                mapping_later(edge, now, m);
                return;
        }
        if (serving && mapping_in_use(edge, m)) {
                m->refreshing = true;
                gw_edge_query_ask(edge, now, &key, GW_EDGE_ITSELF);
                mapping_later(edge, now, m);
                return;
        }
        if (gw_mono_reached(now.mono, m->expires)) {
                gw_edge_mapping_drop(edge, m);
                return;
        }
        gw_edge_timer_set(&edge->timers, &m->timer, m->expires);
}

static void mapping_mark(struct gw_table_node *node, void *user) {
        (void)user;
        gw_container_of(node, struct edge_mapping, node)->confirmed = false;
}

void gw_edge_mappings_mark(struct gw_edge *edge) {
        gw_table_each(&edge->mappings, mapping_mark, NULL);
}

/* The NVA holds the same of it. */
void gw_edge_mapping_confirm(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m,
                             uint32_t lifetime_ms) {
        m->confirmed = true;
        m->refreshing = false;
        m->lifetime_ms = lifetime_ms;
        mapping_start_timer(edge, now, m);
}

/* Treated as at the end of its lifetime: asked for again when in use, else let go. */
void gw_edge_mapping_doubt(struct gw_edge *edge, struct gw_edge_now now, struct edge_mapping *m) {
        m->expires = now.mono;
        gw_edge_timer_set(&edge->timers, &m->timer, now.mono);
}

struct visit {
        struct gw_edge *edge;
        struct gw_edge_now now;
        uint32_t vni;
};

static void mapping_sweep(struct gw_table_node *node, void *user) {
        struct visit *visit = user;
        struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);

        if (!m->confirmed)
                gw_edge_mapping_doubt(visit->edge, visit->now, m);
}

/* Not confirmed since the NVA came back: treated as at the end of its lifetime. */
void gw_edge_mappings_sweep(struct gw_edge *edge, struct gw_edge_now now) {
        gw_table_each(&edge->mappings, mapping_sweep, &(struct visit){edge, now, 0});
}

static void mapping_forget(struct gw_table_node *node, void *user) {
        struct visit *visit = user;
        struct edge_mapping *m = gw_container_of(node, struct edge_mapping, node);

        if (m->vni == visit->vni)
                gw_edge_mapping_drop(visit->edge, m);
}

void gw_edge_mappings_forget_vn(struct gw_edge *edge, uint32_t vni) {
        gw_table_each(&edge->mappings, mapping_forget, &(struct visit){edge, {{0}, {0}}, vni});
}

static void mapping_free_each(struct gw_table_node *node, void *user) {
        mapping_free(user, gw_container_of(node, struct edge_mapping, node));
}

void gw_edge_mappings_free_all(struct gw_edge *edge) {
        gw_table_each(&edge->mappings, mapping_free_each, edge);
}
