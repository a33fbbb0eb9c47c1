/* SPDX-License-Identifier: Apache-2.0 */
/*
 *        gw-L-nva     gw-L-h1      gw-L-h2   ...       eth0 in each, 10.99.0.N or fd99::N
 *           |            |            |
 *   --------+------------+------------+---------       bridge "underlay" in gw-L-net
 *
 * Each cable is a veth pair whose far end carries the host's name. Nothing is made in
 * the machine's own namespace, so labs cannot meet each other or the machine's network.
 */
#include "lab/topology.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/error.h"
#include "io/file.h"
#include "io/netlink.h"
#include "lab/lab.h"

#define BRIDGE "underlay"

int gw_topology_netns(struct gw_lab *lab, const char *host, struct gw_error *error) {
        json_t *item = json_object();
        char netns[64];
        int r;

        json_object_set_new(item, "kind", json_string("netns"));
        json_object_set_new(item, "name", json_string(gw_lab_netns(lab, host, netns)));
        r = gw_manifest_add(&lab->manifest, item, error);
        if (r)
                return r;
        r = gw_netns_add(netns);
        if (r == -EEXIST) {
                /* Not ours, so not ours to remove. */
                gw_manifest_remove(&lab->manifest, item);
                gw_manifest_save(&lab->manifest, NULL);
                return gw_fail(error, GW_E_EXISTS, "",
                               "the namespace %s is there already; `ip netns delete %s` if it is a leftover", netns,
                               netns);
        }
        return r < 0 ? gw_fail(error, r, "", "cannot make the namespace %s: %s", netns, strerror(-r)) : 0;
}

/* In the switch's namespace: a cable to `host`, whose end there is eth0. */
static int plug(const struct gw_lab *lab, const char *host, int netns) {
        int r = gw_veth_add(host, "eth0", netns);

        if (!r)
                r = gw_link_no_addrgen(host);
        if (!r)
                r = gw_link_set_mtu(host, lab->mtu);
        if (!r)
                r = gw_link_set_master(host, BRIDGE);
        return r ? r : gw_link_up(host);
}

/* In the host's namespace. */
static int address(const struct gw_lab *lab, const char *host) {
        char text[GW_IP_TEXT];
        struct gw_ip ip;
        int r = gw_ip_parse(gw_lab_locator(lab, host, text), &ip);

        if (!r)
                r = gw_link_no_addrgen("eth0");
        if (!r)
                r = gw_link_set_mtu("eth0", lab->mtu);
        if (!r)
                r = gw_link_up("eth0");
        return r ? r : gw_addr_add("eth0", ip, lab->underlay == 4 ? 24 : 64);
}

static int cable(struct gw_lab *lab, const char *host, struct gw_error *error) {
        char name[64], net[64];
        int r, back, netns = gw_netns_open(gw_lab_netns(lab, host, name));

        if (netns < 0)
                return gw_fail(error, netns, "", "cannot open the namespace %s: %s", name, strerror(-netns));
        r = gw_netns_enter(gw_lab_netns(lab, "net", net), &back);
        if (!r) {
                r = plug(lab, host, netns);
                gw_netns_leave(back);
        }
        if (!r)
                r = gw_netns_enter_fd(netns, &back);
        if (!r) {
                r = address(lab, host);
                gw_netns_leave(back);
        }
        close(netns);
        return r ? gw_fail(error, r, "", "cannot connect %s to the underlay: %s", host, strerror(-r)) : 0;
}

static int build_switch(struct gw_lab *lab, struct gw_error *error) {
        char net[64];
        int back, r = gw_topology_netns(lab, "net", error);

        if (r)
                return r;
        r = gw_netns_enter(gw_lab_netns(lab, "net", net), &back);
        if (!r) {
                r = gw_bridge_add(BRIDGE);
                if (!r)
                        r = gw_link_no_addrgen(BRIDGE);
                if (!r)
                        r = gw_link_set_mtu(BRIDGE, lab->mtu);
                if (!r)
                        r = gw_link_up(BRIDGE);
                gw_netns_leave(back);
        }
        return r ? gw_fail(error, r, "", "cannot make the underlay's switch: %s", strerror(-r)) : 0;
}

int gw_topology_build(struct gw_lab *lab, struct gw_error *error) {
        int r = build_switch(lab, error);

        /* 0 is the authority. */
        for (unsigned i = 0; !r && i <= lab->hosts; i++) {
                char host[16] = "nva";

                if (i)
                        snprintf(host, sizeof host, "h%u", i);
                r = gw_topology_netns(lab, host, error);
                if (!r)
                        r = cable(lab, host, error);
        }
        return r;
}

int gw_topology_mount_bpf(struct gw_lab *lab, const char *host, struct gw_error *error) {
        char path[GW_LAB_PATH];
        int r;

        if (snprintf(path, sizeof path, "%s/hosts/%s/bpf", lab->dir, host) >= (int)sizeof path)
                return gw_fail(error, -ENAMETOOLONG, "", "the lab's folder has too long a name");
        r = gw_dir_make(path, 0700);
        if (!r)
                r = gw_manifest_add(&lab->manifest, json_pack("{s:s, s:s}", "kind", "mount", "path", path), error);
        if (r)
                return r;
        if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
                return gw_fail(error, -errno, "", "cannot mount a BPF file system at %s: %s; are you root?", path,
                               strerror(errno));
        return 0;
}

static int remove_item(const json_t *item) {
        const char *kind = json_string_value(json_object_get(item, "kind"));
        const char *path = json_string_value(json_object_get(item, "path"));
        const char *name = json_string_value(json_object_get(item, "name"));

        if (kind && !strcmp(kind, "mount") && path) {
                if (umount2(path, MNT_DETACH) < 0 && errno != EINVAL && errno != ENOENT)
                        return -errno;
        } else if (kind && !strcmp(kind, "netns") && name) {
                gw_lab_process_kill_in_netns(name);
                return gw_netns_del(name);
        }
        return 0;
}

int gw_topology_remove(struct gw_lab *lab, struct gw_error *error) {
        json_t *items = gw_manifest_items(&lab->manifest);
        int first = 0;

        for (size_t i = json_array_size(items); i-- > 0;) {
                int r = remove_item(json_array_get(items, i));

                if (r < 0 && !first) {
                        char *text = json_dumps(json_array_get(items, i), JSON_COMPACT);

                        first = gw_fail(error, r, "", "cannot remove %s: %s", text ? text : "?", strerror(-r));
                        free(text);
                }
        }
        return first;
}
