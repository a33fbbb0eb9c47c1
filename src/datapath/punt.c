/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames up and down, and the draining of a tap at the cut.
 *
 * Up: the punt device's tap gives struct virtio_net_hdr, our header, the frame.
 * Offsets in the offload header count from the first octet after it, so ours
 * is taken off them. Down: a packet socket takes offload header and frame; the
 * mark of the message (SO_MARK) tells from_host what is to be done with it.
 * Both keep order: one device, one queue, and the programs run in the sender's call.
 */
#include "datapath/private.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/error.h"

enum {
        VNET_OCTETS = sizeof(struct virtio_net_hdr),
        VNET_MAX_OCTETS = 64,
        ETHERNET_OCTETS = 14,
        DRAIN_BURST = 64, /* frames */
        DRAIN_TRIES = 50,
        DRAIN_WAIT_MS = 2,
};
_Static_assert(VNET_OCTETS == 10, "the offload header of taps and packet sockets");

int gw_datapath_punt_fd(const struct gw_datapath *dp) {
        return dp->wait_fd;
}

int gw_datapath_punt_tap(const struct gw_datapath *dp) {
        return dp->punt_fd;
}

static void vnet_shift(struct virtio_net_hdr *vnet, uint16_t octets) {
        vnet->hdr_len = vnet->hdr_len > octets ? vnet->hdr_len - octets : 0;
        if (vnet->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
                vnet->csum_start = vnet->csum_start > octets ? vnet->csum_start - octets : 0;
}

static bool punt_decode(const uint8_t *bytes, size_t size, struct gw_punt *out) {
        struct gw_abi_punt_header h;

        if (size < VNET_OCTETS + sizeof h + ETHERNET_OCTETS)
                return false;
        memcpy(&out->vnet, bytes, VNET_OCTETS);
        memcpy(&h, bytes + VNET_OCTETS, sizeof h);
        if (((h.ethertype[0] << 8) | h.ethertype[1]) != GW_PUNT_ETHERTYPE || h.reason >= GW_PUNT_MAX)
                return false;
        out->reason = h.reason;
        out->redirected = h.flags & GW_PUNT_REDIRECTED;
        out->ifindex = h.ifindex;
        out->vni = h.vni;
        out->sender = gw_abi_ip(h.sender);
        out->frame = bytes + VNET_OCTETS + sizeof h;
        out->size = size - VNET_OCTETS - sizeof h;
        vnet_shift(&out->vnet, sizeof h);
        return true;
}

int gw_datapath_punt_read(struct gw_datapath *dp, struct gw_punt *out) {
        for (;;) {
                ssize_t size = read(dp->punt_fd, dp->buffer, sizeof dp->buffer);

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0 && errno != EAGAIN)
                        return -errno;
                if (size < 0) {
                        gw_upkeep(dp);
                        return GW_E_AGAIN;
                }
                if (punt_decode(dp->buffer, (size_t)size, out)) /* else: not from our programs */
                        return 0;
        }
}

/* head, which may be empty, goes between offload header and frame. */
static int send_marked(int fd, uint32_t mark, const struct virtio_net_hdr *vnet, struct iovec head, const void *frame,
                       size_t size) {
        static const struct virtio_net_hdr none;
        struct iovec parts[3] = {{(void *)(vnet ? vnet : &none), VNET_OCTETS}, head, {(void *)frame, size}};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof mark)];
        } control = {0};
        struct msghdr message = {
                .msg_iov = parts, .msg_iovlen = 3, .msg_control = &control, .msg_controllen = sizeof control};

        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SO_MARK;
        control.header.cmsg_len = CMSG_LEN(sizeof mark);
        memcpy(CMSG_DATA(&control.header), &mark, sizeof mark);
        while (sendmsg(fd, &message, 0) < 0) {
                if (errno == EINTR)
                        continue;
                return errno == EAGAIN ? -ENOBUFS : -errno;
        }
        return 0;
}

int gw_datapath_inject(struct gw_datapath *dp, enum gw_inject_kind kind, uint32_t id, bool redirected,
                       const struct virtio_net_hdr *vnet, const void *frame, size_t size) {
        uint32_t mark = GW_MARK_DOWN | (uint32_t)kind << 24 | (redirected ? GW_MARK_REDIRECTED : 0) | id;

        if (id > GW_MARK_ID_MASK || size < ETHERNET_OCTETS)
                return -EINVAL;
        return send_marked(dp->inject_fd, mark, vnet, (struct iovec){0}, frame, size);
}

int gw_datapath_punt_back(struct gw_datapath *dp, const struct gw_punt *punt) {
        struct gw_abi_punt_header h = {.ethertype = {GW_PUNT_ETHERTYPE >> 8, GW_PUNT_ETHERTYPE & 0xff},
                                       .reason = punt->reason,
                                       .flags = punt->redirected ? GW_PUNT_REDIRECTED : 0,
                                       .ifindex = punt->ifindex,
                                       .vni = punt->vni};
        struct virtio_net_hdr vnet = punt->vnet;

        memcpy(h.sender, punt->sender.b, sizeof h.sender);
        if (vnet.hdr_len)
                vnet.hdr_len += sizeof h;
        if (vnet.flags & VIRTIO_NET_HDR_F_NEEDS_CSUM)
                vnet.csum_start += sizeof h;
        return send_marked(dp->inject_fd, GW_MARK_UP, &vnet, (struct iovec){&h, sizeof h}, punt->frame, punt->size);
}

/* The size of the offload header that reads of this tap begin with; 0 without one. */
static int tap_header(int fd) {
        struct ifreq request = {0};
        int size, flags = fcntl(fd, F_GETFL);

        if (flags < 0 || ioctl(fd, TUNGETIFF, &request) < 0 || ioctl(fd, TUNGETVNETHDRSZ, &size) < 0)
                return -errno;
        if (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
                return -errno;
        if (!(request.ifr_flags & IFF_VNET_HDR))
                return 0;
        return size >= VNET_OCTETS && size <= VNET_MAX_OCTETS ? size : -EINVAL;
}

/* A frame that was read must not be lost because the way down is full for a moment. */
static int drain_one(struct gw_datapath *dp, uint32_t ifindex, const struct virtio_net_hdr *vnet, const void *frame,
                     size_t size) {
        struct pollfd room = {.fd = dp->inject_fd, .events = POLLOUT};
        int r = -ENOBUFS;

        for (int tries = 0; r == -ENOBUFS && tries < DRAIN_TRIES; tries++) {
                if (tries)
                        poll(&room, 1, DRAIN_WAIT_MS);
                r = gw_datapath_inject(dp, GW_INJECT_DRAIN, ifindex, true, vnet, frame, size);
        }
        return r;
}

int gw_datapath_tap_drain(struct gw_datapath *dp, uint32_t ifindex, int tap_fd, unsigned max, uint64_t *n_sent) {
        int header = tap_header(tap_fd), r;

        if (header < 0)
                return header;
        for (unsigned n = 0; n < max; n++) {
                struct virtio_net_hdr vnet = {0};
                ssize_t size = read(tap_fd, dp->buffer, sizeof dp->buffer);

                if (size < 0 && errno == EINTR)
                        continue;
                if (size < 0)
                        return errno == EAGAIN ? 0 : -errno;
                if (size < header + ETHERNET_OCTETS)
                        continue;
                memcpy(&vnet, dp->buffer, header ? VNET_OCTETS : 0);
                r = drain_one(dp, ifindex, &vnet, dp->buffer + header, (size_t)(size - header));
                if (r)
                        return r;
                /* The receiving side of a virtual link runs on this CPU too, with a queue of 1000 (netdev_max_backlog). */
                if (++*n_sent % DRAIN_BURST == 0)
                        sched_yield();
        }
        return 0;
}
