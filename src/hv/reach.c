/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is the target still there, where it takes disks? QEMU connects to it inside one command, and while that lasts all of
 * QEMU waits, the guest included: for a host that has died meanwhile as long as TCP tries, two minutes. So
 * the agent connects first, hangs up again, and has QEMU connect only where that went well, with a time limit of its
 * own for the rest of the risk (hypervisor/steps.c).
 */
#include "hv/reach.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/error.h"
#include "hv/hv.h"
#include "io/socket.h"

enum { REACH_MS = 3000 };

struct hv_reach {
        struct hv_vm *vm;
        hv_reach_done done;
        int fd;
        sd_event_source *source;
        struct gw_timer *deadline;
};

static void reach_free(struct hv_reach *reach) {
        reach->vm->reach = NULL;
        sd_event_source_disable_unref(reach->source);
        gw_timer_free(reach->deadline);
        if (reach->fd >= 0)
                close(reach->fd);
        free(reach);
}

static void finish(struct hv_reach *reach, int r) {
        const struct hv_move *move = &reach->vm->record.move;
        struct hv_vm *vm = reach->vm;
        hv_reach_done done = reach->done;
        struct gw_error error = {0};
        char endpoint[GW_ENDPOINT_TEXT];

        reach_free(reach);
        if (r < 0)
                gw_fail(&error, r, "", "%s is not reached at %s, where it takes disks: %s",
                        move->peer_id.s[0] ? move->peer_id.s : "the target", gw_endpoint_text(&move->nbd, endpoint),
                        strerror(-r));
        done(vm, r < 0 ? &error : NULL);
}

static int on_connected(sd_event_source *source, int fd, uint32_t events, void *user) {
        struct hv_reach *reach = user;

        (void)source, (void)events;
        finish(reach, gw_socket_outcome(fd));
        return 0;
}

static void on_late(void *user) {
        finish(user, -ETIMEDOUT);
}

void hv_reach_nbd(struct hv_vm *vm, hv_reach_done done) {
        struct hv_reach *reach = calloc(1, sizeof *reach);
        int r;

        if (!reach)
                abort();
        hv_reach_drop(vm);
        *reach = (struct hv_reach){.vm = vm, .done = done, .fd = gw_socket_connect_tcp(&vm->record.move.nbd)};
        vm->reach = reach;
        r = reach->fd < 0 ? reach->fd : 0;
        if (r == 0)
                r = sd_event_add_io(vm->hv->loop->event, &reach->source, reach->fd, EPOLLOUT, on_connected, reach);
        if (r >= 0)
                r = gw_timer_new(&reach->deadline, vm->hv->loop, gw_ms(REACH_MS), gw_ms(0), on_late, reach);
        if (r < 0)
                finish(reach, r);
}

void hv_reach_drop(struct hv_vm *vm) {
        if (vm->reach)
                reach_free(vm->reach);
}
