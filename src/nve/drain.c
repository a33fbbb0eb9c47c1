/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taps of a VM that was cut. Frames that the old kernel queue of a tap still
 * holds, and those that reach it while the cut takes hold on other CPUs, were
 * meant for the VM: they are read here and sent after it, marked as redirected.
 *
 * Reading goes on until the VM is deleted or taken back. A descriptor is owned
 * from the call on. After `uncut` not one frame more is taken: the VM
 * reads its tap itself again.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"

struct nve_drain {
        struct gw_list link;
        struct nve *nve;
        struct gw_name vm;
        uint32_t ifindex;
        int fd;
        sd_event_source *source;
};

static void drain_free(struct nve_drain *drain) {
        gw_list_remove(&drain->link);
        sd_event_source_disable_unref(drain->source);
        close(drain->fd);
        free(drain);
}

static size_t drain_read(struct nve_drain *drain) {
        int n = gw_datapath_tap_drain(drain->nve->dp, drain->ifindex, drain->fd);

        if (n < 0)
                gw_log_limited(GW_WARNING, 3, "vm=%s: its tap could not be read: %s", drain->vm.s, gw_error_word(n));
        drain->nve->drained += n > 0 ? (uint64_t)n : 0;
        return n > 0 ? (size_t)n : 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct nve_drain *drain = user;

        (void)source, (void)fd;
        drain_read(drain);
        if (events & (EPOLLERR | EPOLLHUP)) /* the device is gone, and its queue with it */
                drain_free(drain);
        return 0;
}

size_t nve_drain_add(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd) {
        struct nve_drain *drain = calloc(1, sizeof *drain);
        size_t n;

        if (!drain) {
                close(fd);
                return 0;
        }
        drain->nve = nve;
        drain->vm = *vm;
        drain->ifindex = ifindex;
        drain->fd = fd;
        gw_list_append(&nve->drains, &drain->link);
        n = drain_read(drain);
        if (sd_event_add_io(nve->loop.event, &drain->source, fd, EPOLLIN, on_readable, drain) < 0)
                drain_free(drain);
        return n;
}

void nve_drain_stop(struct nve *nve, const struct gw_name *vm) {
        gw_list_for_each (link, &nve->drains) {
                struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);

                if (!vm || gw_name_eq(&drain->vm, vm))
                        drain_free(drain);
        }
}
