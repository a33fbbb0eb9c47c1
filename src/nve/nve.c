/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Wires the core to the world: the data plane's punted frames, the session with
 * the NVA, the agent's and people's calls, link events, time.
 *
 * After each turn in which anything happened, the core's wishes are settled:
 * frames that are being released need all punted ones read first, and the timer
 * is set to the core's next deadline. The data plane does not depend on this
 * process: it starts before (pins are adopted) and stays after it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/error.h"
#include "base/log.h"
#include "io/file.h"
#include "io/renew.h"
#include "io/tls.h"
#include "nve/nve.h"

enum {
        STALE_EVERY_MS = 2000, /* besides each time a redirect is looked after */
        WAKE_ACCURACY_US = 1000,
        SETTLE_ROUNDS = 4,
};

struct gw_edge_now nve_now(void) {
        return (struct gw_edge_now){gw_mono_now(), gw_wall_now()};
}

struct gw_datapath_config nve_datapath_config(const struct nve_config *config) {
        return (struct gw_datapath_config){.pin_dir = config->pin_dir,
                                           .vxlan_device = config->vxlan_device,
                                           .punt_device = config->punt_device,
                                           .vxlan_port = config->vxlan_port,
                                           .locator = config->locator};
}

/* ---- turns of the loop ---- */

static void arm(struct nve *nve) {
        uint64_t at_ns = gw_edge_deadline(nve->edge).ns;

        if (!at_ns) {
                sd_event_source_set_enabled(nve->wake, SD_EVENT_OFF);
                return;
        }
        sd_event_source_set_time(nve->wake, at_ns / GW_NS_PER_US + 1);
        sd_event_source_set_enabled(nve->wake, SD_EVENT_ONESHOT);
}

static int on_after(sd_event_source *source, void *user) {
        struct nve *nve = user;

        (void)source;
        for (int i = 0; i < SETTLE_ROUNDS && gw_edge_wants_drain(nve->edge); i++) {
                nve_read_all_punts(nve);
                gw_edge_punts_drained(nve->edge, nve_now());
        }
        arm(nve);
        return 0;
}

static int on_wake(sd_event_source *source, uint64_t usec, void *user) {
        struct nve *nve = user;

        (void)source, (void)usec;
        gw_edge_tick(nve->edge, nve_now());
        if (nve->look_for_stale)
                nve_read_stale(nve);
        return 0;
}

static int on_punts(sd_event_source *source, int fd, uint32_t events, void *user) {
        (void)source, (void)fd, (void)events;
        nve_read_punts(user);
        return 0;
}

static void on_stale(void *user) {
        nve_read_stale(user);
}

static void on_link(const struct gw_link *link, bool gone, void *user) {
        struct nve *nve = user;

        if (gone)
                gw_edge_device_gone(nve->edge, nve_now(), (uint32_t)link->index);
}

struct gone {
        struct nve *nve;
        uint32_t ifindex[64];
        size_t n;
};

static void look_for_gone(const struct gw_edge_port_view *view, void *user) {
        struct gone *gone = user;
        struct gw_link link;

        if (view->attached && gone->n < sizeof gone->ifindex / sizeof *gone->ifindex &&
            gw_link_get_index((int)view->port->ifindex, &link) == -ENODEV)
                gone->ifindex[gone->n++] = view->port->ifindex;
}

/* Link events were lost: look at each port's device. */
static void look_at_links(struct nve *nve) {
        struct gone gone = {.nve = nve};

        do {
                gone.n = 0;
                gw_edge_each_port(nve->edge, look_for_gone, &gone);
                for (size_t i = 0; i < gone.n; i++)
                        gw_edge_device_gone(nve->edge, nve_now(), gone.ifindex[i]);
        } while (gone.n);
}

static int on_links(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct nve *nve = user;

        (void)source, (void)fd, (void)events;
        if (gw_link_watch_read(nve->links, on_link, nve) == -ENOBUFS)
                look_at_links(nve);
        return 0;
}

/* ---- the session with the NVA ---- */

static void session_opened(struct gw_session *session, void *user) {
        struct nve *nve = user;

        gw_log(GW_INFO, "connected to the authority %s", gw_session_peer(session));
        gw_edge_set_underlay_mtu(nve->edge, nve_underlay_mtu(nve));
        gw_edge_nva_up(nve->edge, nve_now());
}

static void session_frame(struct gw_session *session, uint8_t type, uint32_t id, const uint8_t *body, size_t size,
                          void *user) {
        struct nve *nve = user;
        char reason[160];

        if (type == GW_FRAME_BYE) {
                if (gw_bye_decode(body, size, reason, sizeof reason))
                        snprintf(reason, sizeof reason, "no reason given");
                gw_log(GW_WARNING, "the authority ends the session: %s", reason);
                return;
        }
        if (!gw_edge_frame(nve->edge, nve_now(), type, id, body, size))
                return;
        snprintf(reason, sizeof reason, "malformed or unexpected frame, type %u, %zu octets", type, size);
        gw_session_close(session, reason);
}

static void session_closed(struct gw_session *session, const char *reason, void *user) {
        struct nve *nve = user;

        (void)session;
        gw_log(GW_WARNING, "no session with the authority: %s; going on with what is known", reason);
        gw_edge_nva_down(nve->edge, nve_now());
}

static const struct gw_session_ops nva_ops = {
        .opened = session_opened, .frame = session_frame, .closed = session_closed};
static const struct gw_session_ops agent_ops = {0};

/* ---- life ---- */

static int open_edge(struct nve *nve, struct gw_error *error) {
        struct gw_datapath_config dp = nve_datapath_config(&nve->config);
        struct gw_edge_config edge = {.id = nve->config.common.id,
                                      .locator = nve->config.locator,
                                      .restart_count = nve->restart_count,
                                      .site = nve->config.site,
                                      .gateway = nve_is_gateway(nve),
                                      .gateway_cost = nve->config.gateway_cost,
                                      .probe_ms = nve->config.gateway_probe_ms,
                                      .redirect_min_ms = nve->config.redirect_min_ms,
                                      .redirect_idle_ms = nve->config.redirect_idle_ms,
                                      .snoop = nve->config.snoop,
                                      .queries_per_s = nve->config.limit_queries,
                                      .own_transport = nve_config_own_transport(&nve->config)};
        int r;

        dp.kept_fd = nve->took = nve_keep_take();
        r = gw_datapath_open(&nve->dp, &dp, error);
        if (r) {
                if (!error->code)
                        gw_fail(error, r, "pin-dir", "the data plane cannot be opened: %s", gw_error_word(r));
                return r;
        }
        if (getrandom(edge.seed, sizeof edge.seed, 0) != (ssize_t)sizeof edge.seed)
                return gw_fail(error, -errno, "", "no random numbers: %m");
        r = gw_edge_new(&nve->edge, &edge, &nve_effects, nve);
        return r ? gw_fail(error, r, "", "out of memory") : nve_state_restore(nve, error);
}

static int open_sources(struct nve *nve, struct gw_error *error) {
        sd_event *event = nve->loop.event;
        int r = sd_event_add_time(event, &nve->wake, CLOCK_MONOTONIC, 0, WAKE_ACCURACY_US, on_wake, nve);

        if (r >= 0)
                r = sd_event_add_post(event, &nve->after, on_after, nve);
        if (r >= 0)
                r = sd_event_add_io(event, &nve->punts, gw_datapath_punt_fd(nve->dp), EPOLLIN, on_punts, nve);
        if (r >= 0)
                r = sd_event_add_io(event, &nve->link_events, gw_link_watch_fd(nve->links), EPOLLIN, on_links, nve);
        if (r >= 0)
                r = gw_timer_new(&nve->stale_timer, &nve->loop, gw_ms(STALE_EVERY_MS), gw_ms(STALE_EVERY_MS), on_stale,
                                 nve);
        return r < 0 ? gw_fail(error, r, "", "the event loop cannot be set up: %s", gw_error_word(r)) : 0;
}

static int open_sockets(struct nve *nve, struct gw_error *error) {
        const struct nve_config *config = &nve->config;
        int r;

        nve->api = (struct gw_api){nve_routes, nve};
        gw_dir_make_above(config->common.api_socket, 0755);
        gw_dir_make_above(config->agent_socket, 0755);
        r = gw_http_new_unix(&nve->http, &nve->loop, config->common.api_socket, &nve->api);
        if (r)
                return gw_fail(error, r, "api-socket", "%s: %s", config->common.api_socket, gw_error_word(r));
        r = gw_listener_new_unix(&nve->agent, &nve->loop, config->agent_socket, &agent_ops, &nve->api, nve);
        if (r)
                return gw_fail(error, r, "agent-socket", "%s: %s", config->agent_socket, gw_error_word(r));
        r = gw_session_dial_tls(&nve->session, &nve->loop, config->nva.at, config->nva.n, NULL, nve->tls, &nva_ops,
                                &nve->api, nve);
        return r ? gw_fail(error, r, "nva", "cannot dial: %s", gw_error_word(r)) : 0;
}

static int open_tls(struct nve *nve, struct gw_error *error) {
        const struct gw_conf_common *common = &nve->config.common;
        int r = gw_tls_new(&nve->tls, common->tls_ca, common->tls_cert, common->tls_key, error);

        if (r)
                return r;
        if (strcmp(gw_tls_name(nve->tls), common->id.s) != 0)
                return gw_fail(error, GW_E_INVALID, "id", "id is %s, and tls-cert (%s) is the certificate of %s",
                               common->id.s, common->tls_cert, gw_tls_name(nve->tls));
        return 0;
}

/* SIGHUP */
static void on_hangup(void *user) {
        gw_renewal_now(((struct nve *)user)->renewal);
        nve_mobility_reload(user);
}

int nve_init(struct nve *nve, const struct nve_config *config, struct gw_error *error) {
        int r;

        *nve = (struct nve){.config = *config, .started = gw_wall_now()};
        gw_list_init(&nve->drains);
        gw_list_init(&nve->presences);
        r = nve_state_init(nve);
        if (!r)
                r = gw_loop_init(&nve->loop);
        if (r)
                return gw_fail(error, r, "", "the event loop cannot be made: %s", gw_error_word(r));
        r = gw_loop_on_hangup(&nve->loop, on_hangup, nve);
        if (r < 0)
                return gw_fail(error, r, "", "cannot take SIGHUP: %s", gw_error_word(r));
        r = open_tls(nve, error);
        if (!r && (r = gw_renewal_new(&nve->renewal, &nve->loop, nve->tls, NULL, NULL)))
                gw_fail(error, r, "", "no timer for certificates: %s", gw_error_word(r));
        if (!r)
                r = nve_state_open(nve, error);
        if (!r)
                r = nve_mobility_open(nve, error);
        if (!r)
                r = nve_routes_open(nve, error);
        if (!r && (r = gw_link_watch_new(
                           &nve->links))) /* before any device is looked at: one that goes then is missed by nobody */
                gw_fail(error, r, "", "cannot watch the devices of this host: %s", gw_error_word(r));
        if (!r)
                r = open_edge(nve, error);
        if (!r)
                r = open_sources(nve, error);
        if (!r)
                r = open_sockets(nve, error);
        if (r)
                return r;
        nve_keep_give(nve);
        arm(nve);
        return 0;
}

void nve_deinit(struct nve *nve) {
        if (!nve->drains.next)
                return;
        nve_keep_end(nve);
        nve_drain_stop(nve, NULL);
        nve_presences_end(nve);
        nve_state_close(nve);
        json_decref(nve->gateway);
        gw_session_free(nve->session);
        gw_listener_free(nve->agent);
        gw_http_free(nve->http);
        gw_timer_free(nve->stale_timer);
        sd_event_source_disable_unref(nve->link_events);
        sd_event_source_disable_unref(nve->punts);
        sd_event_source_disable_unref(nve->after);
        sd_event_source_disable_unref(nve->wake);
        gw_link_watch_free(nve->links);
        gw_edge_free(nve->edge);
        nve_routes_close(nve);
        nve_mobility_close(nve);
        gw_datapath_close(nve->dp);
        gw_renewal_free(nve->renewal);
        gw_tls_free(nve->tls);
        gw_loop_deinit(&nve->loop);
}
