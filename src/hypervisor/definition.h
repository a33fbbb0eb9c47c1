/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's definition, as docs/architecture.md gives it in JSON: what the
 * emulator needs and what the network needs. Bounded, plain, copyable.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

struct gw_error;

enum {
        GW_DEFINITION_PORTS_MAX = 8,
        GW_DEFINITION_DISKS_MAX = 8,
        GW_DEFINITION_PORT_IPS_MAX = 16,
        GW_DEFINITION_PATH_MAX = 256,
        GW_DEFINITION_CMDLINE_MAX = 1024,
};

/* What a guest finds for a port. Only the first lets it announce itself after a move, and tells it the MTU. */
#define GW_NIC_VIRTIO "virtio"
#define GW_NIC_E1000 "e1000"
#define GW_NIC_VMXNET3 "vmxnet3"

struct gw_definition_port {
        struct gw_name id, vn;
        uint32_t vni;
        unsigned mtu_octets; /* 0: not said */
        struct gw_mac mac;
        struct gw_ip ips[GW_DEFINITION_PORT_IPS_MAX];
        size_t n_ips;
        uint16_t allow; /* enum gw_allow */
};

struct gw_definition_disk {
        char path[GW_DEFINITION_PATH_MAX];
        char format[16];
};

struct gw_definition {
        struct gw_name id; /* name@tenant */
        unsigned memory_mib, vcpus;
        char cpu_model[64]; /* empty: the driver's choice */
        char nic_model[16]; /* of all its ports */
        char emulator[GW_DEFINITION_PATH_MAX];
        char kernel[GW_DEFINITION_PATH_MAX], initrd[GW_DEFINITION_PATH_MAX];
        char cmdline[GW_DEFINITION_CMDLINE_MAX];
        struct gw_definition_disk disks[GW_DEFINITION_DISKS_MAX];
        size_t n_disks;
        struct gw_definition_port ports[GW_DEFINITION_PORTS_MAX];
        size_t n_ports;
};

/* Reads what an NVA hands on (ports have id, vni and mtu by then). 0, or
 * GW_E_INVALID with *error naming the member; *out is written only on success. */
int gw_definition_parse(json_t *object, struct gw_definition *out, struct gw_error *error);
