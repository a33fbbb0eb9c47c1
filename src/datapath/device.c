/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the data plane stands on: the BPF file system that holds its pins, the
 * VXLAN device, the punt device, and the attachment of programs to devices.
 *
 * The punt device is a persistent tap. Whoever has its descriptor is the daemon of
 * this namespace: a second one gets EBUSY. The device outlives it, but the kernel
 * empties its queue, and drops what comes later, once the descriptor is open nowhere; so a
 * supervisor may keep that for the next daemon. Its packet socket is how frames come
 * down, because a packet socket can give each frame a mark and an offload header.
 */
#include "datapath/private.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/error.h"
#include "io/netlink.h"

enum {
        BPF_FS_TYPE = 0xcafe4a11,
        DEVICE_MTU = 65521,             /* the largest that a tap allows */
        INJECT_QUEUE_OCTETS = 64 << 20, /* what we sent and a device has not taken yet */
        TC_HANDLE = 1,
        TC_PRIORITY = 1,
};

static bool is_bpffs(const char *dir) {
        struct statfs fs;

        return !statfs(dir, &fs) && (unsigned)fs.f_type == BPF_FS_TYPE;
}

static int make_folders(const char *dir) {
        char path[256];

        if (dir[0] != '/' || snprintf(path, sizeof path, "%s", dir) >= (int)sizeof path)
                return -EINVAL;
        for (char *p = path + 1;; p++) {
                char c = *p;
                if (c && c != '/')
                        continue;
                *p = 0;
                if (mkdir(path, c ? 0755 : 0700) < 0 && errno != EEXIST) /* others have sockets beside it */
                        return -errno;
                if (!c)
                        return 0;
                *p = c;
        }
}

int gw_bpffs_ensure(const char *dir, struct gw_error *error) {
        int r;

        if (is_bpffs(dir))
                return 0;
        r = make_folders(dir);
        if (!r && mount("bpf", dir, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
                r = -errno;
        return r ? gw_fail(error, r, "pin-dir", "cannot mount a BPF file system at %s: %s%s", dir, strerror(-r),
                           r == -EPERM ? "; a service may not: have it mounted there before" : "")
                 : 0;
}

/* Without IPv6 in the kernel, or with it disabled, the device is made for IPv4 alone. */
static int vxlan_make(const char *name, const struct gw_datapath_config *config) {
        uint16_t port = config->vxlan_port ? config->vxlan_port : 4789;
        int r = gw_vxlan_add(name, port, false);

        if (r == -EAFNOSUPPORT && gw_ip_is_v4(config->locator))
                r = gw_vxlan_add(name, port, true);
        return r;
}

int gw_vxlan_ensure(const char *name, const struct gw_datapath_config *config, int *ifindex, struct gw_error *error) {
        uint16_t port = config->vxlan_port ? config->vxlan_port : 4789;
        struct gw_link link;
        int r = gw_link_get(name, &link);

        if (r == -ENODEV) {
                r = vxlan_make(name, config);
                if (!r)
                        r = gw_link_get(name, &link);
        }
        if (r)
                return gw_fail(error, r, "vxlan-device", "cannot make %s: %s", name, strerror(-r));
        if (strcmp(link.kind, "vxlan") != 0)
                return gw_fail(error, GW_E_CONFLICT, "vxlan-device",
                               "%s exists and is not a VXLAN device; delete it or name another one", name);
        /* Some frames take this device and others do not: all must use one port. */
        if (link.vxlan_port != port)
                return gw_fail(error, GW_E_CONFLICT, "vxlan-port",
                               "%s was made with UDP port %u, and vxlan-port is %u; move the VMs away, then run "
                               "godwit-nve --flush",
                               name, link.vxlan_port, port);
        (void)gw_link_no_addrgen(name);
        r = gw_link_set_mtu(name, DEVICE_MTU);
        if (!r)
                r = gw_link_up(name);
        if (r)
                return gw_fail(error, r, "vxlan-device",
                               "cannot bring up %s: %s; is another VXLAN device using UDP port %u?", name, strerror(-r),
                               port);
        *ifindex = link.index;
        return 0;
}

static int inject_socket(int ifindex) {
        struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = ifindex};
        int one = 1, octets = INJECT_QUEUE_OCTETS, r;
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0); /* protocol 0: receives nothing */

        if (fd < 0)
                return -errno;
        if (bind(fd, (struct sockaddr *)&at, sizeof at) < 0 ||
            setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &octets, sizeof octets) < 0) {
                r = -errno;
                close(fd);
                return r;
        }
        return fd;
}

static bool is_same_file(int a, int b) {
        struct stat at_a, at_b;

        return !fstat(a, &at_a) && !fstat(b, &at_b) && at_a.st_dev == at_b.st_dev && at_a.st_ino == at_b.st_ino;
}

/* Is that device in this network namespace? The daemon may have been moved to another one since. */
static bool is_here(int fd) {
        int its = ioctl(fd, TUNGETDEVNETNS), ours = gw_netns_open(NULL);
        bool same = its >= 0 && ours >= 0 && is_same_file(its, ours);

        if (its >= 0)
                close(its);
        if (ours >= 0)
                close(ours);
        return same;
}

/* Is this descriptor that device's? In one network namespace one device has a name. */
static bool is_tap(int fd, const char *name) {
        struct ifreq request = {0};

        return !ioctl(fd, TUNGETIFF, &request) && strcmp(request.ifr_name, name) == 0 && is_here(fd);
}

int gw_punt_ensure(struct gw_datapath *dp, const char *name, int kept_fd, struct gw_error *error) {
        int r;

        if (kept_fd > 0 && is_tap(kept_fd, name))
                dp->punt_fd = kept_fd;
        if (dp->punt_fd < 0)
                dp->punt_fd = gw_tap_open(name, true, true);
        if (kept_fd > 0 && dp->punt_fd != kept_fd)
                close(kept_fd); /* of a device that was deleted, or has another name or place; its number was not to come back */
        if (dp->punt_fd == -EBUSY)
                return gw_fail(error, GW_E_CONFLICT, "",
                               "%s is in use: another godwit-nve runs on this host, or a supervisor keeps its queue "
                               "for one that takes it over",
                               name);
        if (dp->punt_fd < 0)
                return gw_fail(error, dp->punt_fd, "", "cannot open the tap %s: %s", name, strerror(-dp->punt_fd));
        dp->punt_ifindex = gw_link_index(name);
        (void)gw_link_no_addrgen(name);
        r = gw_link_set_mtu(name, DEVICE_MTU);
        if (!r)
                r = gw_link_set_queue(name, GW_PUNT_QUEUE_FRAMES);
        if (!r)
                r = gw_link_up(name);
        if (!r) {
                dp->inject_fd = inject_socket(dp->punt_ifindex);
                r = dp->inject_fd < 0 ? dp->inject_fd : 0;
        }
        return r ? gw_fail(error, r, "", "cannot set up %s: %s", name, strerror(-r)) : 0;
}

int gw_program_attach(int ifindex, bool egress, int program_fd) {
        struct bpf_tc_hook hook = {
                .sz = sizeof hook, .ifindex = ifindex, .attach_point = egress ? BPF_TC_EGRESS : BPF_TC_INGRESS};
        struct bpf_tc_opts opts = {.sz = sizeof opts,
                                   .handle = TC_HANDLE,
                                   .priority = TC_PRIORITY,
                                   .prog_fd = program_fd,
                                   .flags = BPF_TC_F_REPLACE};
        int r = bpf_tc_hook_create(&hook);

        if (r && r != -EEXIST)
                return r;
        return bpf_tc_attach(&hook, &opts);
}

void gw_program_detach(int ifindex) {
        struct bpf_tc_hook hook = {
                .sz = sizeof hook, .ifindex = ifindex, .attach_point = BPF_TC_INGRESS | BPF_TC_EGRESS};

        (void)bpf_tc_hook_destroy(&hook); /* the device may be gone already */
}
