/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening, closing and removing the data plane.
 *
 * State lives in the kernel: maps are pinned by name below pin_dir, programs are
 * held by the devices they are attached to. Opening loads the programs anew
 * around the maps that are pinned (libbpf refuses a map of another shape, the
 * version in the configuration map tells of another meaning) and puts them in the
 * place of the old ones, device by device; each replacement is atomic. So a
 * restart or an upgrade loses nothing, and a crash leaves the frames flowing.
 */
#include "datapath/private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "datapath/godwit.skel.h"
#include "io/netlink.h"

enum { PATH_SIZE = 300 };

static const char *vxlan_name(const struct gw_datapath_config *c) {
        return c->vxlan_device ? c->vxlan_device : "gwvx0";
}
static const char *punt_name(const struct gw_datapath_config *c) {
        return c->punt_device ? c->punt_device : "gwpunt0";
}

static int log_libbpf(enum libbpf_print_level level, const char *format, va_list args) {
        char line[1024];

        if (level == LIBBPF_DEBUG || !gw_log_on(GW_DEBUG))
                return 0;
        vsnprintf(line, sizeof line, format, args);
        line[strcspn(line, "\n")] = 0;
        gw_log(GW_DEBUG, "libbpf: %s", line);
        return 0;
}

static int pinned(const struct gw_datapath_config *config, enum gw_map map) {
        char path[PATH_SIZE];

        if (snprintf(path, sizeof path, "%s/%s", config->pin_dir, gw_map_names[map]) >= (int)sizeof path)
                return -ENAMETOOLONG;
        return bpf_obj_get(path);
}

/* 0 when nothing is pinned yet, or what is pinned is of our version. */
static int check_version(const struct gw_datapath_config *config, struct gw_error *error) {
        struct gw_abi_config found = {0};
        uint32_t zero = 0;
        int fd = pinned(config, MAP_CONFIG);

        if (fd < 0)
                return fd == -ENOENT ? 0 : gw_fail(error, fd, "pin-dir", "%s: %s", config->pin_dir, strerror(-fd));
        (void)bpf_map_lookup_elem(fd, &zero, &found);
        close(fd);
        if (found.abi == GW_ABI_VERSION || !found.abi) /* 0: died between pinning and writing */
                return 0;
        return gw_fail(error, GW_E_CONFLICT, "pin-dir",
                       "%s holds the data plane of another version (%u; this program has %u); move the VMs away, then "
                       "run godwit-nve --flush",
                       config->pin_dir, found.abi, GW_ABI_VERSION);
}

static int load(struct gw_datapath *dp, const struct gw_datapath_config *config, struct gw_error *error) {
        struct bpf_object_open_opts opts = {.sz = sizeof opts, .pin_root_path = config->pin_dir};
        int r;

        dp->bpf = godwit_bpf__open_opts(&opts);
        if (!dp->bpf)
                return gw_fail(error, -errno, "", "cannot open the eBPF object: %s", strerror(errno));
        r = godwit_bpf__load(dp->bpf);
        if (r == -EINVAL)
                return gw_fail(
                        error, GW_E_CONFLICT, "pin-dir",
                        "the kernel or the maps pinned in %s refuse these eBPF programs; run godwit-nve --flush, "
                        "and with log-level debug to see why",
                        config->pin_dir);
        if (r)
                return gw_fail(error, r, "", "cannot load the eBPF programs: %s; log-level debug says more",
                               strerror(-r));
        for (int i = 0; i < MAP_MAX; i++) {
                dp->maps[i] = bpf_object__find_map_fd_by_name(dp->bpf->obj, gw_map_names[i]);
                if (dp->maps[i] < 0)
                        return gw_fail(error, dp->maps[i], "", "no map %s", gw_map_names[i]);
        }
        return 0;
}

/* It is written with the first lease; a map that is adopted keeps what it says until then. */
static void set_config(struct gw_datapath *dp, const struct gw_datapath_config *config, int vxlan_ifindex) {
        dp->config = (struct gw_abi_config){.abi = GW_ABI_VERSION,
                                            .vxlan_ifindex = (uint32_t)vxlan_ifindex,
                                            .punt_ifindex = (uint32_t)dp->punt_ifindex,
                                            .vxlan_port = config->vxlan_port ? config->vxlan_port : 4789};
        memcpy(dp->config.locator, config->locator.b, sizeof dp->config.locator);
}

static int reattach(const struct gw_datapath_port *port, void *user) {
        struct gw_datapath *dp = user;
        int r = gw_program_attach((int)port->ifindex, false, bpf_program__fd(dp->bpf->progs.from_guest));

        if (r == -ENODEV || r == -EINVAL) /* gone while we were away; its owner detaches the port */
                return 0;
        return r;
}

static int attach(struct gw_datapath *dp, int vxlan_ifindex) {
        int r = gw_program_attach(vxlan_ifindex, false, bpf_program__fd(dp->bpf->progs.from_wire));

        if (!r)
                r = gw_program_attach(dp->punt_ifindex, true, bpf_program__fd(dp->bpf->progs.from_host));
        if (!r)
                r = gw_datapath_port_each(dp, reattach, dp);
        return r;
}

static int open_all(struct gw_datapath *dp, const struct gw_datapath_config *config, struct gw_error *error) {
        int vxlan_ifindex, r;

        r = gw_punt_ensure(dp, punt_name(config), config->kept_fd, error); /* first: it keeps a second daemon out */
        if (!r)
                r = gw_bpffs_ensure(config->pin_dir, error);
        if (!r)
                r = check_version(config, error);
        if (!r)
                r = load(dp, config, error);
        if (!r)
                r = gw_vxlan_ensure(vxlan_name(config), config, &vxlan_ifindex, error);
        if (r)
                return r;
        set_config(dp, config, vxlan_ifindex);
        dp->netns_fd = gw_netns_open(NULL);
        if (dp->netns_fd < 0)
                return gw_fail(error, dp->netns_fd, "", "cannot open this network namespace: %s",
                               strerror(-dp->netns_fd));
        r = gw_upkeep_open(dp);
        if (!r)
                r = gw_locators_open(dp);
        if (!r)
                r = attach(dp, vxlan_ifindex);
        return r ? gw_fail(error, r, "", "cannot attach the eBPF programs: %s", strerror(-r)) : 0;
}

int gw_datapath_open(struct gw_datapath **out, const struct gw_datapath_config *config, struct gw_error *error) {
        struct gw_datapath *dp = calloc(1, sizeof *dp);
        int r;

        if (!dp)
                return -ENOMEM;
        dp->punt_fd = dp->inject_fd = dp->wait_fd = dp->tick_fd = dp->netns_fd = -1;
        dp->cpus = libbpf_num_possible_cpus();
        libbpf_set_print(log_libbpf);
        dp->per_cpu = dp->cpus > 0 ? calloc((size_t)dp->cpus, sizeof *dp->per_cpu) : NULL;
        r = dp->cpus < 0 ? dp->cpus : dp->per_cpu ? open_all(dp, config, error) : -ENOMEM;
        if (r) {
                gw_datapath_close(dp);
                return r;
        }
        *out = dp;
        return 0;
}

void gw_datapath_close(struct gw_datapath *dp) {
        if (!dp)
                return;
        gw_locators_close(dp);
        gw_upkeep_close(dp);
        if (dp->netns_fd >= 0)
                close(dp->netns_fd);
        if (dp->inject_fd >= 0)
                close(dp->inject_fd);
        if (dp->punt_fd >= 0)
                close(dp->punt_fd);
        godwit_bpf__destroy(dp->bpf);
        free(dp->per_cpu);
        free(dp);
}

static int detach_port(const void *key, const void *value, void *user) {
        uint32_t ifindex;

        (void)value, (void)user;
        memcpy(&ifindex, key, sizeof ifindex);
        gw_program_detach((int)ifindex);
        return 0;
}

static void delete_device(const char *name, const char *kind) {
        struct gw_link link;

        if (!gw_link_get(name, &link) && strcmp(link.kind, kind) == 0)
                (void)gw_link_delete(name);
}

int gw_datapath_remove(const struct gw_datapath_config *config) {
        struct gw_abi_port value;
        uint32_t key, next;
        char path[PATH_SIZE];
        int fd;

        libbpf_set_print(log_libbpf);
        gw_underlay_detach();
        fd = pinned(config, MAP_PORTS);
        if (fd >= 0) {
                (void)gw_map_each(fd, &key, &next, sizeof key, &value, detach_port, NULL);
                close(fd);
        }
        delete_device(vxlan_name(config), "vxlan");
        delete_device(punt_name(config), "tun");
        for (int i = 0; i < MAP_MAX; i++) {
                if (snprintf(path, sizeof path, "%s/%s", config->pin_dir, gw_map_names[i]) < (int)sizeof path)
                        (void)unlink(path);
        }
        if (umount2(config->pin_dir, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
                return -errno;
        return 0;
}
