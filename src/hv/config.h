/* SPDX-License-Identifier: Apache-2.0 */
/* Configuration of godwit-hv; the keys are in docs/architecture.md, "Files". */
#pragma once

#include <stdint.h>

#include "conf/schema.h"

struct hv_config {
        struct gw_conf_common common;
        struct gw_conf_endpoints nva;
        char agent_socket[GW_CONF_SOCKET_SIZE];
        struct gw_ip migration_address;
        uint16_t migration_port_first, migration_port_count;
        char qemu[GW_CONF_PATH_SIZE];
        char qemu_user[64];
        char tap_gate[GW_CONF_PATH_SIZE];
        char accelerator[8];
        char migration_tls[8];
        char modes[32]; /* words, separated by spaces */
        char disk_dir[GW_CONF_PATH_SIZE], qemu_img[GW_CONF_PATH_SIZE];
        uint32_t memory_mib, vcpus, tap_queue;
        uint32_t copy_stall_s, disk_lag_s, disk_pause_ms;
};

extern const struct gw_conf_schema hv_config_schema;
