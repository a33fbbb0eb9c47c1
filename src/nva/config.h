/* SPDX-License-Identifier: Apache-2.0 */
/* What godwit-nva is configured with. */
#pragma once

#include "conf/schema.h"

enum { NVA_CLIENTS_SIZE = 1024, NVA_ROUTERS_SIZE = 512, NVA_REGISTRATION_SIZE = 128, NVA_REGISTRATION_MAX = 2 };

struct nva_config {
        struct gw_conf_common common;
        struct gw_endpoint listen, api_listen; /* api_listen: port 0 when not wanted */
        char api_clients[NVA_CLIENTS_SIZE];    /* names, separated by spaces */
        uint32_t lease_s;
        char admit[8];    /* any, listed */
        char gateways[8]; /* any, listed */
        uint32_t handshakes, sessions_per_address, frames_per_s;
        char registration_listen
                [NVA_REGISTRATION_SIZE]; /* one address of each family; none: Mobility Headers are not wanted */
        char registration_keys[GW_CONF_PATH_SIZE];
        uint32_t registration_window_ms;
        uint32_t audit_interval_s;              /* 0: none by itself */
        char default_routers[NVA_ROUTERS_SIZE]; /* addresses, separated by spaces */
        uint32_t deadline_prepare_ms, deadline_copy_ms, deadline_cut_ms, deadline_converge_ms;
        uint32_t moves_max;
        char modes[32], modes_between_sites[32]; /* words, separated by spaces */
};

extern const struct gw_conf_schema nva_schema;
