/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames that came up must outlive the daemon. They are in the queue of the punt
 * device, which the kernel keeps as long as its descriptor is open anywhere: so
 * the supervisor gets a copy (sd_notify's FDSTORE), and gives it to the next daemon
 * (sd_listen_fds). What came up before or after this one's end waits there meanwhile.
 *
 * What the daemon has read and holds is in its own memory. When it ends in order
 * it reads the rest, sends what can be sent, and puts back what still waits; when it is
 * killed those frames are lost (docs/restarts.md says how many can be).
 *
 * Without a supervisor all of it ends with the daemon, and that is said in the log. One that takes notices and keeps no
 * descriptors (systemd, where FileDescriptorStoreMax= is 0) cannot be told from one that does.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "nve/nve.h"

#define KEPT_NAME "punt"

int nve_keep_take(void) {
        char **names = NULL;
        int n = sd_listen_fds_with_names(1, &names), kept = 0;

        for (int i = 0; i < n; i++) {
                int fd = SD_LISTEN_FDS_START + i;

                if (!kept && strcmp(names[i], KEPT_NAME) == 0)
                        kept = fd;
                else
                        close(fd);
        }
        for (int i = 0; names && names[i]; i++)
                free(names[i]);
        free(names);
        return kept;
}

/* What was taken is still with the supervisor. Another one that was kept is forgotten first: it is of a device that is no
 * more, and there may be room for one. */
void nve_keep_give(struct nve *nve) {
        int fd = gw_datapath_punt_tap(nve->dp), r;

        nve->is_up = nve->is_kept = true;
        if (nve->took == fd)
                return;
        (void)sd_notify(0, "FDSTOREREMOVE=1\nFDNAME=" KEPT_NAME);
        r = sd_pid_notify_with_fds(0, 0, "FDSTORE=1\nFDNAME=" KEPT_NAME, &fd, 1);
        if (r < 0)
                gw_log(GW_WARNING, "the supervisor does not keep the punt device's queue: %s", gw_error_word(r));
        nve->is_kept = r > 0;
}

struct back {
        struct nve *nve;
        size_t n, failed;
};

static void put_back(const struct gw_edge_punt *up, void *user) {
        static const uint8_t reasons[] = {
                [GW_EDGE_UNKNOWN] = GW_PUNT_UNKNOWN,         [GW_EDGE_WIRE_UNKNOWN] = GW_PUNT_WIRE_UNKNOWN,
                [GW_EDGE_SOLICIT] = GW_PUNT_NEIGH,           [GW_EDGE_HOLD] = GW_PUNT_HOLD,
                [GW_EDGE_WIRE_SOURCE] = GW_PUNT_WIRE_SOURCE, [GW_EDGE_GATEWAY] = GW_PUNT_GATEWAY,
                [GW_EDGE_FENCED] = GW_PUNT_FENCED,           [GW_EDGE_RETURNED] = GW_PUNT_RETURNED};
        struct back *back = user;
        struct gw_punt punt = {.reason = reasons[up->reason],
                               .redirected = up->frame.redirected,
                               .ifindex = up->frame.ifindex,
                               .vni = up->frame.vni,
                               .sender = up->frame.sender,
                               .frame = up->frame.bytes,
                               .size = up->frame.size};

        memcpy(&punt.vnet, up->frame.offload, sizeof punt.vnet);
        /* A queue that is full drops what comes, and does not tell. */
        if (!back->nve->is_kept || ++back->n > GW_PUNT_QUEUE_FRAMES || gw_datapath_punt_back(back->nve->dp, &punt))
                back->failed++;
}

void nve_keep_end(struct nve *nve) {
        struct back back = {.nve = nve};
        size_t n;

        if (!nve->is_up) /* what waits is for one that comes up */
                return;
        nve_read_all_punts(nve);
        gw_edge_punts_drained(nve->edge, nve_now());
        n = gw_edge_give_back(nve->edge, put_back, &back);
        if (n > back.failed)
                gw_log(GW_NOTICE, "%zu frames wait for the next start, with the supervisor", n - back.failed);
        if (back.failed)
                gw_log(GW_WARNING, "%zu frames that waited are lost: %s", back.failed,
                       nve->is_kept ? "there is no room for them" : "no supervisor keeps them");
}
