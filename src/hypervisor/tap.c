/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps. The device lives as long as a descriptor of it: the agent's
 * duplicate or the emulator's own. So nothing is left behind when both are gone,
 * and while the agent is away the emulator's keeps it.
 *
 * The descriptors are duplicates of one open file: whoever reads takes the
 * frame from everyone else. The agent and the edge read only while the VM is
 * stopped.
 */
#include "hypervisor/tap.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/addr.h"
#include "base/error.h"
#include "base/log.h"
#include "io/netlink.h"

/* FNV-1a, 48 bits of it: a name that two ports of one host share by accident shows as -EBUSY. */
void gw_vm_tap_name(const struct gw_name *port, char out[static IFNAMSIZ]) {
        uint64_t hash = UINT64_C(0xcbf29ce484222325);

        for (const char *c = port->s; *c; c++)
                hash = (hash ^ (uint8_t)*c) * UINT64_C(0x100000001b3);
        snprintf(out, IFNAMSIZ, "gwt%012llx", (unsigned long long)(hash >> 16));
}

/* The device belongs to the guest: the host must not speak IPv6 on it. */
static void silence(const char *name) {
        char path[96];

        snprintf(path, sizeof path, "net/ipv6/conf/%s/disable_ipv6", name);
        if (gw_sysctl_write(path, "1") < 0)
                gw_log_debug("%s: IPv6 of the host stays on", name);
}

static int set_up(const char *name, unsigned queue_frames, unsigned mtu_octets) {
        int r = gw_link_set_queue(name, queue_frames);

        silence(name);
        if (r == 0 && mtu_octets)
                r = gw_link_set_mtu(name, mtu_octets);
        return r < 0 ? r : gw_link_up(name);
}

int gw_vm_tap_open(const char *name, unsigned queue_frames, unsigned mtu_octets, struct gw_error *error) {
        int fd = gw_tap_open(name, true, false), r;

        if (fd < 0)
                return gw_fail(error, fd, "", "cannot make the tap %s: %s", name, strerror(-fd));
        r = set_up(name, queue_frames, mtu_octets);
        if (r < 0) {
                close(fd);
                return gw_fail(error, r, "", "cannot set up the tap %s: %s", name, strerror(-r));
        }
        return fd;
}

/* fdinfo of a tun descriptor has a line "iff:\tNAME". */
static int is_tap(pid_t pid, int fd, const char *name) {
        char path[64], line[128], found[IFNAMSIZ];
        FILE *f;
        int yes = 0;

        snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)pid, fd);
        f = fopen(path, "re");
        if (!f)
                return 0;
        while (!yes && fgets(line, sizeof line, f))
                yes = sscanf(line, "iff: %15s", found) == 1 && strcmp(found, name) == 0;
        fclose(f);
        return yes;
}

static int find_fd(pid_t pid, const char *name) {
        char path[64];
        struct dirent *entry;
        int fd = -ENOENT;
        DIR *dir;

        snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
        dir = opendir(path);
        if (!dir)
                return -errno;
        while (fd < 0 && (entry = readdir(dir)))
                if (entry->d_name[0] != '.' && is_tap(pid, atoi(entry->d_name), name))
                        fd = atoi(entry->d_name);
        closedir(dir);
        return fd;
}

int gw_vm_tap_recover(pid_t pid, const char *name) {
        int theirs = find_fd(pid, name), pidfd, mine;

        if (theirs < 0)
                return theirs;
        pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (pidfd < 0)
                return -errno;
        mine = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
        if (mine < 0)
                mine = -errno;
        close(pidfd);
        return mine;
}
