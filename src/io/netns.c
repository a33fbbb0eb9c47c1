/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Named network namespaces, compatible with iproute2's: a bind mount of the
 * namespace at /run/netns/NAME, below a mount point that is shared, so that
 * mounts made there are seen (and can be taken away) everywhere.
 *
 * Entering changes the network namespace of the calling thread and nothing else:
 * the BPF file system and /sys of the caller stay as they are.
 */
#include "io/netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 300 };
static const char folder[] = "/run/netns";
static const char self[] = "/proc/thread-self/ns/net";

static int path_of(char out[static PATH_SIZE], const char *name) {
        size_t n = name ? strlen(name) : 0;

        if (n < 1 || n > 255 || strchr(name, '/') || name[0] == '.')
                return -EINVAL;
        snprintf(out, PATH_SIZE, "%s/%s", folder, name);
        return 0;
}

/* Makes /run/netns a shared mount point, as iproute2 does; done already is fine. */
static int prepare_folder(void) {
        if (mkdir(folder, 0755) < 0 && errno != EEXIST)
                return -errno;
        if (!mount("", folder, "none", MS_SHARED | MS_REC, NULL))
                return 0;
        if (errno != EINVAL) /* EINVAL: not a mount point yet */
                return -errno;
        if (mount(folder, folder, "none", MS_BIND | MS_REC, NULL) < 0 ||
            mount("", folder, "none", MS_SHARED | MS_REC, NULL) < 0)
                return -errno;
        return 0;
}

/* In a new namespace of this thread: pin it at path, bring up its loopback. */
static int pin_new(const char *path) {
        if (unshare(CLONE_NEWNET) < 0)
                return -errno;
        if (mount(self, path, "none", MS_BIND, NULL) < 0)
                return -errno;
        return gw_link_up("lo");
}

int gw_netns_add(const char *name) {
        char path[PATH_SIZE];
        int back, fd, r = path_of(path, name);

        if (!r)
                r = prepare_folder();
        if (r)
                return r;
        back = gw_netns_open(NULL);
        if (back < 0)
                return back;
        fd = open(path, O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0);
        if (fd < 0) {
                r = -errno;
                close(back);
                return r;
        }
        close(fd);
        r = pin_new(path);
        (void)gw_netns_leave(back);
        if (r)
                (void)gw_netns_del(name);
        return r;
}

int gw_netns_del(const char *name) {
        char path[PATH_SIZE];
        int r = path_of(path, name);

        if (r)
                return r;
        (void)umount2(path, MNT_DETACH); /* a plain file is left when the machine or we crashed in between */
        return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

int gw_netns_open(const char *name) {
        char path[PATH_SIZE];
        int fd, r = name ? path_of(path, name) : 0;

        if (r)
                return r;
        fd = open(name ? path : self, O_RDONLY | O_CLOEXEC);
        return fd < 0 ? -errno : fd;
}

/* Entering a namespace takes CAP_SYS_ADMIN, also when it is the present one. Who only works there need not have it. */
static int enter(int netns_fd) {
        struct stat there, here;

        if (fstat(netns_fd, &there) == 0 && stat(self, &here) == 0 && there.st_dev == here.st_dev &&
            there.st_ino == here.st_ino)
                return 0;
        return setns(netns_fd, CLONE_NEWNET) < 0 ? -errno : 0;
}

int gw_netns_enter_fd(int netns_fd, int *back) {
        int old = back ? gw_netns_open(NULL) : -1, r;

        if (back && old < 0)
                return old;
        r = enter(netns_fd);
        if (r) {
                if (old >= 0)
                        close(old);
                return r;
        }
        if (back)
                *back = old;
        return 0;
}

int gw_netns_enter(const char *name, int *back) {
        int r, fd = gw_netns_open(name);

        if (fd < 0)
                return fd;
        r = gw_netns_enter_fd(fd, back);
        close(fd);
        return r;
}

int gw_netns_leave(int back) {
        int r = enter(back);

        close(back);
        return r;
}
