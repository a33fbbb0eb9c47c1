/* SPDX-License-Identifier: Apache-2.0 */
/* The table of keys, and the rules between them. */
#include "hv/config.h"

#include <string.h>

#include "base/error.h"
#include "hypervisor/options.h"
#include "hypervisor/user.h"

static const char *check_modes(const void *words) {
        return gw_modes_parse(words) ? NULL : "some of: hot post-copy cold";
}

static const char *check_user(const void *text) {
        struct gw_user user;

        return gw_user_parse(text, &user, NULL) ? "a user of this host or UID:GID, not root; or empty" : NULL;
}

/* An emulator starts in its VM's folder: from there another file is meant, or none. */
static const char *check_program(const void *text) {
        const char *program = text;

        return program[0] != '/' && strchr(program, '/') ? "an absolute path or a name without \"/\"" : NULL;
}

static const char *check_library(const void *text) {
        const char *library = text;

        return library[0] && library[0] != '/' ? "an absolute path or empty" : NULL;
}

static int check(const void *config, struct gw_error *error) {
        const struct hv_config *c = config;

        if (c->nva.n == 0)
                return gw_fail(error, GW_E_INVALID, "nva", "nva is empty; name at least one, like 192.0.2.1:7460");
        if ((uint32_t)c->migration_port_first + c->migration_port_count > 65536)
                return gw_fail(error, GW_E_INVALID, "migration-port-count",
                               "migration-port-first %u and migration-port-count %u go beyond port 65535",
                               c->migration_port_first, c->migration_port_count);
        return 0;
}

static const struct gw_conf_row rows[] = {
        GW_CONF_COMMON_ROWS(struct hv_config, common, "hv"),
        GW_CONF_ROW(struct hv_config, nva, "nva", GW_CONF_ENDPOINTS, NULL, "where the authority listens, one or more",
                    .required = true),
        GW_CONF_ROW(struct hv_config, agent_socket, "agent-socket", GW_CONF_PATH, "/run/godwit/agent.sock",
                    "unix socket of this host's NVE"),
        GW_CONF_ROW(struct hv_config, migration_address, "migration-address", GW_CONF_IP, NULL,
                    "address of this host where memory of arriving VMs is received", .required = true,
                    .check = gw_conf_check_unicast),
        GW_CONF_ROW(struct hv_config, migration_port_first, "migration-port-first", GW_CONF_INT, "49152",
                    "first TCP port for that", .min = 1024, .max = 65535),
        GW_CONF_ROW(struct hv_config, migration_port_count, "migration-port-count", GW_CONF_INT, "64",
                    "how many ports: that many VMs may arrive at the same time", .min = 1, .max = 4096),
        GW_CONF_ROW(struct hv_config, qemu, "qemu", GW_CONF_STRING, "qemu-system-x86_64",
                    "the emulator, an absolute path or a name looked up in PATH", .check = check_program),
        GW_CONF_ROW(struct hv_config, qemu_user, "qemu-user", GW_CONF_STRING, "",
                    "who emulators, and qemu-img, run as: a user's name, or UID:GID; empty: as the agent",
                    .check = check_user),
        GW_CONF_ROW(struct hv_config, tap_gate, "tap-gate", GW_CONF_STRING, "",
                    "library that keeps a stopped QEMU from reading its taps; empty: the one installed with this agent",
                    .check = check_library),
        GW_CONF_ROW(struct hv_config, accelerator, "accelerator", GW_CONF_CHOICE, "auto",
                    "auto boots a kernel under KVM once and takes tcg when that fails", .choices = "auto kvm tcg"),
        GW_CONF_ROW(
                struct hv_config, migration_tls, "migration-tls", GW_CONF_CHOICE, "on",
                "memory and disks of VMs that move are sent over TLS, with this host's certificate; the same on all "
                "hosts",
                .choices = "on off"),
        GW_CONF_ROW(struct hv_config, modes, "modes", GW_CONF_STRING, "hot post-copy cold",
                    "ways in which VMs may come to this host and leave it; the authority refuses others",
                    .check = check_modes),
        GW_CONF_ROW(struct hv_config, disk_dir, "disk-dir", GW_CONF_PATH, "/var/lib/godwit/disks",
                    "where disks are that a VM's definition gives by a plain name"),
        GW_CONF_ROW(struct hv_config, qemu_img, "qemu-img", GW_CONF_STRING, "qemu-img",
                    "the program that makes images, a path or a name looked up in PATH"),
        GW_CONF_ROW(struct hv_config, memory_mib, "memory-mib", GW_CONF_INT, "0",
                    "memory for VMs; 0: what the host has", .max = 1 << 30, .unit = "MiB"),
        GW_CONF_ROW(struct hv_config, vcpus, "vcpus", GW_CONF_INT, "0",
                    "virtual CPUs for VMs; 0: eight for each CPU of the host", .max = 1 << 20),
        GW_CONF_ROW(struct hv_config, tap_queue, "tap-queue", GW_CONF_INT, "16384",
                    "frames that wait at a VM's port while it is stopped for a move", .min = 64, .max = 1 << 20,
                    .unit = "frames"),
        GW_CONF_ROW(struct hv_config, copy_stall_s, "copy-stall-s", GW_CONF_INT, "30",
                    "a copy that makes no progress for so long is given up, and the VM stays; 0: only when the "
                    "authority says so",
                    .max = 3600, .unit = "s"),
        GW_CONF_ROW(struct hv_config, disk_lag_s, "disk-lag-s", GW_CONF_INT, "60",
                    "how long a leaving VM's disks may be too far behind for it to be stopped; then the move is given "
                    "up, and the VM stays",
                    .min = 1, .max = 3600, .unit = "s"),
        GW_CONF_ROW(struct hv_config, disk_pause_ms, "disk-pause-ms", GW_CONF_INT, "2000",
                    "how long a VM that was stopped for the cut may wait for its disks; then it goes on here",
                    .min = 10, .max = 60000, .unit = "ms"),
        {0},
};

const struct gw_conf_schema hv_config_schema = {
        .program = "godwit-hv",
        .summary = "the agent that runs and moves VMs on a host",
        .file = "/etc/godwit/hv.conf",
        .rows = rows,
        .check = check,
};
