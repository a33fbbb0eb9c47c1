/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU (7.2) reads its tap also while the VM is stopped: it takes the first
 * frame that comes, finds that it may not deliver it, keeps it in a queue and
 * only then stops reading. It may take one more between the moment the VM counts
 * as stopped and the end of the stopping; that one it throws away. So each move
 * would lose one or two frames, which nobody can read from the tap any more.
 *
 * While a copy runs, QEMU therefore writes what it takes into a pipe of ours, as
 * a capture (object filter-dump). Its time stamps are of the virtual clock, which
 * stands still from the stop on: the frames taken too late are exactly those
 * that bear the last time stamp. (A frame delivered in the same microsecond as the
 * stop would be taken for one of them; delivering takes longer than that.)
 *
 * Whether QEMU has taken a frame after the stop at all is made certain: a frame
 * of no meaning, the mark, is put into the tap. After that QEMU has taken either
 * the mark or a frame before it, and reads no more. What it took is put back into
 * the tap, from where the edge reads it and sends it after the VM. A mark that
 * stays in the tap goes the same way and means nothing to any guest.
 *
 * QEMU writes to the pipe with blocking calls: it is emptied from the event
 * loop and large enough for what comes while the agent is busy. Its reading end
 * goes with the agent; QEMU then ends the capture by itself.
 */
#include "hypervisor/tail.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"

enum { PCAP_HEADER_OCTETS = 24, RECORD_HEADER_OCTETS = 16, READ_OCTETS = 65536 };

/* ---- reading ---- */

static uint32_t word(const uint8_t *at) {
        uint32_t v;

        memcpy(&v, at, sizeof v);
        return v;
}

static void keep(struct gw_tail_reader *reader, uint64_t stamp_us, const uint8_t *frame, uint32_t n) {
        if (stamp_us != reader->stamp_us)
                reader->n_kept = 0;
        reader->stamp_us = stamp_us;
        if (reader->n_kept + sizeof n + n > sizeof reader->kept)
                return;
        memcpy(reader->kept + reader->n_kept, &n, sizeof n);
        memcpy(reader->kept + reader->n_kept + sizeof n, frame, n);
        reader->n_kept += sizeof n + n;
}

/* Takes one header or record off `in`; how many octets, 0 when it is not whole. */
static size_t take(struct gw_tail_reader *reader) {
        const uint8_t *in = reader->in;
        uint32_t n;

        if (!reader->past_header) {
                if (reader->n_in < PCAP_HEADER_OCTETS)
                        return 0;
                reader->past_header = 1;
                return PCAP_HEADER_OCTETS;
        }
        if (reader->n_in < RECORD_HEADER_OCTETS)
                return 0;
        n = word(in + 8);
        if (n > GW_TAIL_FRAME_OCTETS)
                return reader->n_in; /* not a capture: nothing of it can be trusted */
        if (reader->n_in < RECORD_HEADER_OCTETS + n)
                return 0;
        /* A frame that was cut short in the capture cannot be put back. */
        if (word(in + 12) == n)
                keep(reader, (uint64_t)word(in) * 1000000 + word(in + 4), in + RECORD_HEADER_OCTETS, n);
        return RECORD_HEADER_OCTETS + n;
}

void gw_tail_read(struct gw_tail_reader *reader, const uint8_t *octets, size_t n) {
        while (n > 0) {
                size_t room = sizeof reader->in - reader->n_in, some = n < room ? n : room, taken;

                memcpy(reader->in + reader->n_in, octets, some);
                reader->n_in += some;
                octets += some;
                n -= some;
                while ((taken = take(reader)) > 0) {
                        reader->n_in -= taken;
                        memmove(reader->in, reader->in + taken, reader->n_in);
                }
        }
}

void gw_tail_each(const struct gw_tail_reader *reader, void (*each)(const uint8_t *frame, size_t n, void *user),
                  void *user) {
        for (size_t at = 0; at < reader->n_kept;) {
                uint32_t n = word(reader->kept + at);

                each(reader->kept + at + sizeof n, n, user);
                at += sizeof n + n;
        }
}

/* ---- the pipe and the tap ---- */

struct gw_tail {
        struct gw_tail_reader reader;
        char path[300], tap[IFNAMSIZ];
        int pipe, packet;
        size_t header_octets; /* of the virtio header before each frame */
        size_t given_back;
        sd_event_source *source;
};

static void empty_pipe(struct gw_tail *tail) {
        uint8_t octets[READ_OCTETS];
        ssize_t n;

        while ((n = read(tail->pipe, octets, sizeof octets)) > 0)
                gw_tail_read(&tail->reader, octets, (size_t)n);
}

static int on_pipe(sd_event_source *source, int fd, uint32_t revents, void *user) {
        struct gw_tail *tail = user;

        (void)fd;
        empty_pipe(tail);
        if (revents & EPOLLHUP) /* the capture has ended */
                sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
}

static int open_packet(const char *tap) {
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, r;
        struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(tap)};

        if (fd < 0)
                return -errno;
        if (at.sll_ifindex == 0 || setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &on, sizeof on) < 0 ||
            setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &on, sizeof on) < 0 ||
            bind(fd, (struct sockaddr *)&at, sizeof at) < 0) {
                r = errno ? -errno : -ENODEV;
                close(fd);
                return r;
        }
        return fd;
}

static int open_pipe(struct gw_tail *tail) {
        unlink(tail->path);
        if (mkfifo(tail->path, 0600) < 0)
                return -errno;
        tail->pipe = open(tail->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
        if (tail->pipe < 0)
                return -errno;
        /* Only less room when it may not be as large. */
        if (fcntl(tail->pipe, F_SETPIPE_SZ, GW_TAIL_PIPE_OCTETS) < 0)
                gw_log_debug("%s: the pipe stays small: %s", tail->path, strerror(errno));
        return 0;
}

int gw_tail_new(struct gw_tail **out, sd_event *event, const char *path, const char *tap, size_t header_octets) {
        struct gw_tail *tail = calloc(1, sizeof *tail);
        int r;

        if (!tail)
                return -ENOMEM;
        tail->pipe = -1;
        tail->header_octets = header_octets;
        snprintf(tail->path, sizeof tail->path, "%s", path);
        snprintf(tail->tap, sizeof tail->tap, "%s", tap);
        r = tail->packet = open_packet(tap);
        if (r >= 0)
                r = open_pipe(tail);
        if (r >= 0)
                r = sd_event_add_io(event, &tail->source, tail->pipe, EPOLLIN, on_pipe, tail);
        if (r < 0) {
                gw_tail_free(tail);
                return r;
        }
        *out = tail;
        return 0;
}

void gw_tail_free(struct gw_tail *tail) {
        if (!tail)
                return;
        sd_event_source_disable_unref(tail->source);
        if (tail->pipe >= 0)
                close(tail->pipe);
        if (tail->packet >= 0)
                close(tail->packet);
        unlink(tail->path);
        free(tail);
}

const char *gw_tail_path(const struct gw_tail *tail) {
        return tail->path;
}

static bool put(struct gw_tail *tail, const void *header, const void *frame, size_t n) {
        struct iovec parts[] = {{(void *)(uintptr_t)header, sizeof(struct virtio_net_hdr)},
                                {(void *)(uintptr_t)frame, n}};

        return writev(tail->packet, parts, 2) >= 0;
}

void gw_tail_mark(struct gw_tail *tail) {
        const struct virtio_net_hdr header = {0};
        uint8_t frame[ETH_ZLEN] = {
                2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 1, GW_TAIL_MARK_ETHERTYPE >> 8, GW_TAIL_MARK_ETHERTYPE & 0xff};

        if (!put(tail, &header, frame, sizeof frame))
                gw_log(GW_WARNING, "%s: no mark could be put into it: %s", tail->tap, strerror(errno));
}

static void give_back_one(const uint8_t *frame, size_t n, void *user) {
        struct gw_tail *tail = user;
        const uint8_t *ethernet = frame + tail->header_octets;

        if (n < tail->header_octets + ETH_HLEN)
                return;
        if (ethernet[12] == GW_TAIL_MARK_ETHERTYPE >> 8 && ethernet[13] == (GW_TAIL_MARK_ETHERTYPE & 0xff))
                return;
        if (put(tail, frame, ethernet, n - tail->header_octets))
                tail->given_back++;
        else
                gw_log(GW_WARNING, "%s: a frame taken after the stop is lost: %s", tail->tap, strerror(errno));
}

size_t gw_tail_give_back(struct gw_tail *tail) {
        tail->given_back = 0;
        empty_pipe(tail);
        gw_tail_each(&tail->reader, give_back_one, tail);
        return tail->given_back;
}
