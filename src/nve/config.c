/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of nve.conf. */
#include <net/if.h>

#include "nve/nve.h"

_Static_assert((int)NVE_DEVICE_SIZE == IFNAMSIZ, "device names");

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
        GW_CONF_ROW(struct nve_config, limit_queries, "limit-queries", GW_CONF_INT, "500",
                    "questions to the authority that a port may cause per second; likewise", .max = 1000000),
        GW_CONF_ROW(struct nve_config, pin_dir, "pin-dir", GW_CONF_PATH, "/run/godwit/bpf",
                    "where maps and programs are pinned; they carry on while this daemon is away"),
        GW_CONF_ROW(struct nve_config, agent_socket, "agent-socket", GW_CONF_PATH, "/run/godwit/agent.sock",
                    "unix socket on which the hypervisor agent calls"),
        {0},
};

const struct gw_conf_schema nve_schema = {"godwit-nve", "the edge: carries the packets of this host's VMs",
                                          "/etc/godwit/nve.conf", rows, NULL};
