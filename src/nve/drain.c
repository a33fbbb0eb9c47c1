/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The taps of a VM that was cut, and of one that was to arrive and does not. Frames that the
 * kernel queue of such a tap still holds, and those that reach it while the cut takes hold on other CPUs, were
 * meant for the VM: they are read here and sent after it, marked as redirected.
 *
 *      cut       read at once (one turn, as each time: other VMs wait for their cuts), and until the VM is deleted or taken back. After `uncut` not one frame
 *                more is taken: the VM reads its tap itself again
 *      return    kept from the attaching on, so that the device and its queue outlive the emulator and the agent;
 *                read from the moment when the VM is known to be back, until the port is closed, in small turns: nobody
 *                waits for the end of them, as a cut does. When it arrives after all, let go unread
 *
 * A descriptor is owned from the call on. Sending needs the port: what is queued is sent before it goes.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"

enum { RETURN_TURN_FRAMES = 2048 };

struct nve_drain {
        struct gw_list link;
        struct nve *nve;
        struct gw_name vm;
        uint32_t ifindex;
        int fd;
        uint64_t n_read;
        bool returns;            /* of a VM that does not arrive */
        sd_event_source *source; /* NULL: kept, and not read yet */
};

static void drain_free(struct nve_drain *drain) {
        gw_list_remove(&drain->link);
        sd_event_source_disable_unref(drain->source);
        close(drain->fd);
        free(drain);
}

static void drain_read(struct nve_drain *drain, unsigned max) {
        uint64_t *count = drain->returns ? &drain->nve->returned : &drain->nve->drained, n = 0;
        int r = gw_datapath_tap_drain(drain->nve->dp, drain->ifindex, drain->fd, max, &n);

        if (r)
                gw_log_limited(GW_WARNING, 3, "vm=%s: its tap could not be read: %s", drain->vm.s, gw_error_word(r));
        drain->n_read += n;
        *count += n;
}

static unsigned turn_of(const struct nve_drain *drain) {
        return drain->returns ? RETURN_TURN_FRAMES : GW_DRAIN_TURN_FRAMES;
}

static int on_readable(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct nve_drain *drain = user;

        (void)source, (void)fd;
        drain_read(drain, turn_of(drain));
        if (events & (EPOLLERR | EPOLLHUP)) /* the device is gone, and its queue with it */
                drain_free(drain);
        return 0;
}

static struct nve_drain *drain_new(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd) {
        struct nve_drain *drain = calloc(1, sizeof *drain);

        if (!drain) {
                close(fd);
                return NULL;
        }
        drain->nve = nve;
        drain->vm = *vm;
        drain->ifindex = ifindex;
        drain->fd = fd;
        gw_list_append(&nve->drains, &drain->link);
        return drain;
}

/* How many it has read until now. */
static uint64_t drain_go(struct nve_drain *drain) {
        uint64_t n;

        if (!drain->source) /* else the loop reads it, in its turns: many VMs that return are not all read in one */
                drain_read(drain, turn_of(drain));
        n = drain->n_read;
        if (!drain->source &&
            sd_event_add_io(drain->nve->loop.event, &drain->source, drain->fd, EPOLLIN, on_readable, drain) < 0)
                drain_free(drain);
        return n;
}

void nve_drain_add(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd) {
        struct nve_drain *drain = drain_new(nve, vm, ifindex, fd);

        if (drain)
                drain_go(drain);
}

static void drop_kept(struct nve *nve, uint32_t ifindex) {
        gw_list_for_each (link, &nve->drains) {
                struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);

                if (drain->returns && drain->ifindex == ifindex)
                        drain_free(drain);
        }
}

void nve_drain_keep(struct nve *nve, const struct gw_name *vm, uint32_t ifindex, int fd) {
        struct nve_drain *drain;

        drop_kept(nve, ifindex);
        drain = drain_new(nve, vm, ifindex, fd);
        if (drain)
                drain->returns = true;
}

bool nve_drain_is_waiting(struct nve *nve, const struct gw_name *vm) {
        gw_list_for_each (link, &nve->drains) {
                const struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);
                struct pollfd queue = {.fd = drain->fd, .events = POLLIN};

                if (drain->returns && gw_name_eq(&drain->vm, vm) && poll(&queue, 1, 0) > 0 && queue.revents & POLLIN)
                        return true;
        }
        return false;
}

uint64_t nve_drain_go(struct nve *nve, const struct gw_name *vm) {
        uint64_t n = 0;

        gw_list_for_each (link, &nve->drains) {
                struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);

                if (!drain->returns || !gw_name_eq(&drain->vm, vm))
                        continue;
                n += drain_go(drain);
        }
        return n;
}

void nve_drain_close(struct nve *nve, uint32_t ifindex) {
        gw_list_for_each (link, &nve->drains) {
                struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);

                if (!drain->returns || drain->ifindex != ifindex)
                        continue;
                if (drain->source)
                        drain_read(drain, GW_DRAIN_TURN_FRAMES); /* all that there is */
                drain_free(drain);
        }
}

void nve_drain_stop(struct nve *nve, const struct gw_name *vm) {
        gw_list_for_each (link, &nve->drains) {
                struct nve_drain *drain = gw_list_entry(link, struct nve_drain, link);

                if (!vm || gw_name_eq(&drain->vm, vm))
                        drain_free(drain);
        }
}
