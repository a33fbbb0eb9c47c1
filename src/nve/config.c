/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of nve.conf. */
#include <net/if.h>

#include "base/error.h"
#include "nve/nve.h"

enum { PROBE_MS_MIN = 20 };
_Static_assert((int)NVE_DEVICE_SIZE == IFNAMSIZ, "device names");

static const char *check_probe(const void *ms) {
        const uint32_t *at = ms;

        return !*at || *at >= PROBE_MS_MIN ? NULL : "0, or 20 to 60000";
}

static const struct gw_conf_row rows[] = {
        GW_CONF_COMMON_ROWS(struct nve_config, common, "nve"),
        GW_CONF_ROW(struct nve_config, nva, "nva", GW_CONF_ENDPOINTS, NULL, "the authority: where it listens for NVEs",
                    .required = true),
        GW_CONF_ROW(struct nve_config, locator, "locator", GW_CONF_IP, NULL,
                    "this host's underlay address; its family is the underlay's", .required = true,
                    .check = gw_conf_check_unicast),
        GW_CONF_ROW(struct nve_config, underlay_device, "underlay-device", GW_CONF_STRING, NULL,
                    "the device whose MTU bounds that of ports; the one with the locator when not set"),
        GW_CONF_ROW(struct nve_config, vxlan_device, "vxlan-device", GW_CONF_STRING, "gwvx0",
                    "the VXLAN device, made when absent"),
        GW_CONF_ROW(struct nve_config, punt_device, "punt-device", GW_CONF_STRING, "gwpunt0",
                    "the device by which frames come to this daemon, made when absent"),
        GW_CONF_ROW(struct nve_config, vxlan_port, "vxlan-port", GW_CONF_INT, "4789", "UDP port of VXLAN", .min = 1,
                    .max = 65535),
        GW_CONF_ROW(struct nve_config, role, "role", GW_CONF_CHOICE, "edge",
                    "gateway: this host also routes between VNs, as policies allow", .choices = "edge gateway"),
        GW_CONF_ROW(struct nve_config, site, "site", GW_CONF_NAME, NULL,
                    "where this host is; gateways of the same site are preferred"),
        GW_CONF_ROW(struct nve_config, gateway_cost, "gateway-cost", GW_CONF_INT, "10",
                    "of a gateway: hosts use the one that costs least; 1000 more from another site", .min = 1,
                    .max = 999),
        GW_CONF_ROW(struct nve_config, gateway_probe_ms, "gateway-probe-ms", GW_CONF_INT, "200",
                    "gateways are asked this often whether they answer; after four times without an answer another is "
                    "taken; 0: never",
                    .max = 60000, .check = check_probe, .unit = "ms"),
        GW_CONF_ROW(struct nve_config, outside_device, "outside-device", GW_CONF_STRING, NULL,
                    "of a gateway: the device by which VNs reach the outside; none when not set"),
        GW_CONF_ROW(struct nve_config, redirect_min_ms, "redirect-min-ms", GW_CONF_INT, "5000",
                    "packets in flight are redirected at least this long after a cut", .min = 100, .max = 3600000,
                    .unit = "ms"),
        GW_CONF_ROW(struct nve_config, redirect_idle_ms, "redirect-idle-ms", GW_CONF_INT, "2000",
                    "and until none came for this long", .min = 100, .max = 3600000, .unit = "ms"),
        GW_CONF_ROW(struct nve_config, limits[GW_EDGE_LIMIT_NEIGHBOURS], "limit-neighbours", GW_CONF_INT, "1000",
                    "ARP, RARP and ND frames that a port may send per second, twice as many at once; 0: any number",
                    .max = 1000000),
        GW_CONF_ROW(struct nve_config, limits[GW_EDGE_LIMIT_MISSES], "limit-misses", GW_CONF_INT, "2000",
                    "frames of a port that may come to this daemon per second, because their destination is not "
                    "known; likewise",
                    .max = 1000000),
        GW_CONF_ROW(struct nve_config, limits[GW_EDGE_LIMIT_GROUP], "limit-group", GW_CONF_INT, "2000",
                    "broadcast and multicast frames that a port may send per second; likewise", .max = 1000000),
        GW_CONF_ROW(struct nve_config, snoop, "multicast-snooping", GW_CONF_BOOL, "yes",
                    "ask VMs which multicast groups they are in, and deliver no others; no: deliver all"),
        GW_CONF_ROW(struct nve_config, limit_queries, "limit-queries", GW_CONF_INT, "500",
                    "questions to the authority that a port may cause per second; likewise", .max = 1000000),
        GW_CONF_ROW(struct nve_config, registration_transport, "registration-transport", GW_CONF_CHOICE, "session",
                    "how VMs are registered: through the session, or as Mobility Headers",
                    .choices = "session mobility-header"),
        GW_CONF_ROW(
                struct nve_config, registration_nva, "registration-nva", GW_CONF_IP, NULL,
                "the authority's registration-listen; Mobility Headers are taken from there, none when not set. IPv6: "
                "protocol 135; IPv4: in UDP, port 5436",
                .check = gw_conf_check_unicast),
        GW_CONF_ROW(struct nve_config, registration_address, "registration-address", GW_CONF_IP, NULL,
                    "this host's address for Mobility Headers, of registration-nva's family; the locator when not set. "
                    "Only "
                    "with an IPv4 locator and an IPv6 registration-nva it may be another",
                    .check = gw_conf_check_unicast),
        GW_CONF_ROW(struct nve_config, registration_keys, "registration-keys", GW_CONF_PATH, NULL,
                    "file with the authority's key; mode 0600"),
        GW_CONF_ROW(struct nve_config, registration_window_ms, "registration-window-ms", GW_CONF_INT, "300",
                    "how far the time stamp in a Mobility Header may be from this clock", .min = 10, .max = 600000,
                    .unit = "ms"),
        GW_CONF_ROW(struct nve_config, heartbeat_ms, "heartbeat-ms", GW_CONF_INT, "10000",
                    "the authority is asked this often whether it is there, or has started anew", .min = 100,
                    .max = 3600000, .unit = "ms"),
        GW_CONF_ROW(struct nve_config, host_routes, "host-routes", GW_CONF_BOOL, "no",
                    "this host is a default router: host routes for VMs that have moved are set in its main table"),
        GW_CONF_ROW(struct nve_config, pin_dir, "pin-dir", GW_CONF_PATH, "/run/godwit/bpf",
                    "where maps and programs are pinned; they carry on while this daemon is away"),
        GW_CONF_ROW(struct nve_config, agent_socket, "agent-socket", GW_CONF_PATH, "/run/godwit/agent.sock",
                    "unix socket on which the hypervisor agent calls"),
        {0},
};

struct gw_ip nve_config_registration_address(const struct nve_config *config) {
        return gw_ip_is_unspecified(config->registration_address) ? config->locator : config->registration_address;
}

/* The source of a Request says where VMs are: the locator, but where it cannot be it. */
static int check_registration_address(const struct nve_config *config, struct gw_error *error) {
        struct gw_ip own = nve_config_registration_address(config);
        bool over_v4 = gw_ip_is_v4(config->registration_nva);
        char text[GW_IP_TEXT];

        if (over_v4 && !gw_ip_is_v4(config->locator))
                return gw_fail(error, GW_E_INVALID, "registration-nva",
                               "%s is an IPv4 address and the locator an IPv6 one: Mobility Headers of such an edge go "
                               "to an IPv6 address of the authority",
                               gw_ip_text(config->registration_nva, text));
        if (over_v4 && !gw_ip_eq(own, config->locator))
                return gw_fail(error, GW_E_INVALID, "registration-address",
                               "%s is not the locator: over IPv4 Mobility Headers come from the locator; leave it away",
                               gw_ip_text(own, text));
        if (!over_v4 && gw_ip_is_v4(own))
                return gw_fail(error, GW_E_INVALID, "registration-address",
                               "%s is an IPv4 address, and registration-nva an IPv6 one: set an IPv6 address of this "
                               "host, or registration-nva to the authority's IPv4 address",
                               gw_ip_text(own, text));
        return 0;
}

static int check(const void *user, struct gw_error *error) {
        const struct nve_config *config = user;

        if (gw_ip_is_unspecified(config->registration_nva))
                return nve_config_own_transport(config)
                               ? gw_fail(error, GW_E_INVALID, "registration-nva",
                                         "registration-transport is mobility-header, but registration-nva is not set")
                               : 0;
        if (!config->registration_keys[0])
                return gw_fail(error, GW_E_INVALID, "registration-keys",
                               "registration-nva is set, but registration-keys names no file with keys");
        return check_registration_address(config, error);
}

const struct gw_conf_schema nve_schema = {"godwit-nve",
                                          "the edge: carries the packets of this host's VMs",
                                          "/etc/godwit/nve.conf",
                                          rows,
                                          check,
                                          "  --flush           take the data plane away: programs, tables, devices\n"};
