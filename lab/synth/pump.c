/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The synthetic virtio-net: what one tap gives is written to the other, header
 * (struct virtio_net_hdr_mrg_rxbuf, 12 octets, as QEMU sets it) and all, so
 * that large and checksum-less frames go through as they do with a real device.
 *
 * A frame is read only to be written at once: at a stop nothing is inside.
 */
#include "synth/pump.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { HEADER_OCTETS = 12, FRAME_OCTETS = 65536 + 64, FRAMES_PER_TURN = 4 };

struct pump {
        int host, guest;
        sd_event_source *from_host, *from_guest;
        uint8_t frame[HEADER_OCTETS + FRAME_OCTETS];
};

static void move_frames(struct pump *pump, int from, int to) {
        for (int i = 0; i < FRAMES_PER_TURN; i++) {
                ssize_t n = read(from, pump->frame, sizeof pump->frame);

                if (n <= 0)
                        return;
                /* A frame that the other side does not take (its device is down) is lost, as on any wire. */
                if (write(to, pump->frame, (size_t)n) < 0 && errno == EINTR)
                        i--;
        }
}

static int on_host(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct pump *pump = user;

        (void)source;
        (void)revents;
        move_frames(pump, fd, pump->guest);
        return 0;
}

static int on_guest(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct pump *pump = user;

        (void)source;
        (void)revents;
        move_frames(pump, fd, pump->host);
        return 0;
}

static int prepare(int fd) {
        unsigned offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;
        int header = HEADER_OCTETS, flags = fcntl(fd, F_GETFL);

        if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 || ioctl(fd, TUNSETVNETHDRSZ, &header) < 0 ||
            ioctl(fd, TUNSETOFFLOAD, offload) < 0)
                return -errno;
        return 0;
}

int pump_new(struct pump **out, sd_event *event, int host_fd, int guest_fd) {
        struct pump *pump = calloc(1, sizeof *pump);
        int r = pump ? 0 : -ENOMEM;

        if (r == 0)
                r = prepare(host_fd);
        if (r == 0)
                r = prepare(guest_fd);
        if (r == 0)
                r = sd_event_add_io(event, &pump->from_host, host_fd, EPOLLIN, on_host, pump);
        if (r >= 0)
                r = sd_event_add_io(event, &pump->from_guest, guest_fd, EPOLLIN, on_guest, pump);
        if (r < 0) {
                if (pump)
                        sd_event_source_disable_unref(pump->from_host);
                free(pump);
                return r;
        }
        pump->host = host_fd;
        pump->guest = guest_fd;
        pump_run(pump, false);
        *out = pump;
        return 0;
}

void pump_run(struct pump *pump, bool run) {
        sd_event_source_set_enabled(pump->from_host, run ? SD_EVENT_ON : SD_EVENT_OFF);
        sd_event_source_set_enabled(pump->from_guest, run ? SD_EVENT_ON : SD_EVENT_OFF);
}

/* RFC 903 request reverse, with the guest's MAC in all three places, padded to 60 octets. */
void pump_announce(struct pump *pump, struct gw_mac mac) {
        uint8_t frame[HEADER_OCTETS + 60] = {0}, *at = frame + HEADER_OCTETS;
        static const uint8_t fixed[] = {0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3};

        memset(at, 0xff, 6);
        memcpy(at + 6, mac.b, 6);
        memcpy(at + 12, fixed, sizeof fixed);
        memcpy(at + 22, mac.b, 6);
        memcpy(at + 32, mac.b, 6);
        if (write(pump->host, frame, sizeof frame) < 0) {
                /* An announcement is a hint; nothing depends on it. */
        }
}

void pump_free(struct pump *pump) {
        if (!pump)
                return;
        sd_event_source_disable_unref(pump->from_host);
        sd_event_source_disable_unref(pump->from_guest);
        close(pump->host);
        close(pump->guest);
        free(pump);
}
