/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of nva.conf. The deadlines are those of a move's phases: when one
 * passes, the move goes its way back, or waits on where waiting is all that is
 * safe (src/move/move.c).
 */
#include "nva/config.h"

#include <string.h>

#include "base/error.h"
#include "directory/notice.h"
#include "hypervisor/options.h"

/* One address of each family at most. */
static const char *check_listen(const void *text) {
        struct gw_ip at[NVA_REGISTRATION_MAX];
        size_t n = gw_ip_parse_list(text, at, NVA_REGISTRATION_MAX);

        return n == SIZE_MAX || (n == 2 && gw_ip_is_v4(at[0]) == gw_ip_is_v4(at[1]))
                       ? "an IPv6 unicast address, an IPv4 one, or one of each"
                       : NULL;
}

static const char *check_routers(const void *text) {
        struct gw_ip routers[GW_NOTICE_ROUTERS_MAX];

        return gw_ip_parse_list(text, routers, GW_NOTICE_ROUTERS_MAX) == SIZE_MAX ? "at most 8 unicast addresses"
                                                                                  : NULL;
}

static const char *check_modes(const void *words) {
        return gw_modes_parse(words) ? NULL : "some of: hot post-copy cold";
}

static const struct gw_conf_row rows[] = {
        /* A folder of its own: it may be another user than the daemons of a host. */
        GW_CONF_COMMON_ROWS_AT(struct nva_config, common, "nva", "/run/godwit/nva/api.sock"),
        GW_CONF_ROW(struct nva_config, listen, "listen", GW_CONF_ENDPOINT, "[::]:7460",
                    "where NVEs and hypervisor agents connect"),
        GW_CONF_ROW(struct nva_config, api_listen, "api-listen", GW_CONF_ENDPOINT, NULL,
                    "where the HTTP API is served over TLS; nowhere when not set"),
        GW_CONF_ROW(struct nva_config, api_clients, "api-clients", GW_CONF_STRING, NULL,
                    "names of the certificates that open api-listen, separated by spaces"),
        GW_CONF_ROW(struct nva_config, admit, "admit", GW_CONF_CHOICE, "any",
                    "which hosts may connect: any with a certificate of our authority, or only those made known "
                    "with godwit nve add",
                    .choices = "any listed"),
        GW_CONF_ROW(struct nva_config, gateways, "gateways", GW_CONF_CHOICE, "any",
                    "which hosts may be gateways: any that says so, or only those that godwit nve set HOST --gateway "
                    "allowed named; forbidden ones never",
                    .choices = "any listed"),
        GW_CONF_ROW(struct nva_config, handshakes, "handshakes", GW_CONF_INT, "256",
                    "TLS handshakes under way at a time; a quarter of them from one address", .min = 8, .max = 65536),
        GW_CONF_ROW(struct nva_config, sessions_per_address, "sessions-per-address", GW_CONF_INT, "1024",
                    "sessions from one address, not counting loopback; 0: any number", .min = 0, .max = 1000000),
        GW_CONF_ROW(struct nva_config, frames_per_s, "session-frames-per-s", GW_CONF_INT, "100000",
                    "frames of one session that are served; what comes faster waits; 0: all", .min = 0,
                    .max = 100000000),
        GW_CONF_ROW(struct nva_config, lease_s, "lease-s", GW_CONF_INT, "3600",
                    "longest lifetime of a registration that is granted", .min = 60, .max = 262140, .unit = "s"),
        GW_CONF_ROW(struct nva_config, registration_listen, "registration-listen", GW_CONF_STRING, NULL,
                    "where registrations are taken as Mobility Headers: an IPv6 address (protocol 135), an IPv4 one "
                    "(UDP port 5436), or one of each, separated by a space; nowhere when not set",
                    .check = check_listen),
        GW_CONF_ROW(struct nva_config, registration_keys, "registration-keys", GW_CONF_PATH, NULL,
                    "file with the keys of those who register so; mode 0600"),
        GW_CONF_ROW(struct nva_config, registration_window_ms, "registration-window-ms", GW_CONF_INT, "300",
                    "how far the time stamp in a Mobility Header may be from this clock", .min = 10, .max = 600000,
                    .unit = "ms"),
        GW_CONF_ROW(struct nva_config, audit_interval_s, "audit-interval-s", GW_CONF_INT, "300",
                    "the caches of all edges are compared with the directory this often; 0: only when asked", .min = 0,
                    .max = 86400, .unit = "s"),
        GW_CONF_ROW(struct nva_config, default_routers, "default-routers", GW_CONF_STRING, NULL,
                    "addresses of the routers that are told where VMs have moved to, separated by spaces",
                    .check = check_routers),
        GW_CONF_ROW(struct nva_config, deadline_prepare_ms, "deadline-prepare-ms", GW_CONF_INT, "30000",
                    "a move's target must be ready after this long", .min = 100, .max = 3600000, .unit = "ms"),
        GW_CONF_ROW(struct nva_config, deadline_copy_ms, "deadline-copy-ms", GW_CONF_INT, "600000",
                    "a move's copy must be complete after this long", .min = 100, .max = 86400000, .unit = "ms"),
        GW_CONF_ROW(struct nva_config, deadline_cut_ms, "deadline-cut-ms", GW_CONF_INT, "10000",
                    "from a VM's stop to its running at the target", .min = 400, .max = 240000, .unit = "ms"),
        GW_CONF_ROW(struct nva_config, deadline_converge_ms, "deadline-converge-ms", GW_CONF_INT, "10000",
                    "everybody must have acknowledged the new place after this long", .min = 100, .max = 600000,
                    .unit = "ms"),
        GW_CONF_ROW(struct nva_config, moves_max, "moves-max", GW_CONF_INT, "4",
                    "moves that a host takes part in at the same time; more of them wait", .min = 1, .max = 1000),
        GW_CONF_ROW(struct nva_config, modes, "modes", GW_CONF_STRING, "hot post-copy cold",
                    "ways in which VMs may be moved in this data centre", .check = check_modes),
        GW_CONF_ROW(struct nva_config, modes_between_sites, "modes-between-sites", GW_CONF_STRING, "hot post-copy cold",
                    "the same between hosts of different sites", .check = check_modes),
        {0},
};

static int check(const void *user, struct gw_error *error) {
        const struct nva_config *config = user;

        if (config->api_listen.port && !config->api_clients[strspn(config->api_clients, " ")])
                return gw_fail(error, GW_E_INVALID, "api-clients",
                               "api-listen is set, but api-clients names nobody who may use it");
        if (config->registration_listen[strspn(config->registration_listen, " ")] && !config->registration_keys[0])
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "registration-listen is set, but registration-keys names no file with keys");
        return 0;
}

const struct gw_conf_schema nva_schema = {"godwit-nva", "the authority: directory, mover and HTTP API of Godwit",
                                          "/etc/godwit/nva.conf", rows, check};
