/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The frames that an emulator takes from its tap when its VM is stopped
 * already, and would lose; see tail.c. One of these per port, while a copy runs.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <systemd/sd-event.h>

enum {
        GW_TAIL_KEPT_OCTETS = 256 << 10,   /* of frames with the latest time stamp */
        GW_TAIL_FRAME_OCTETS = 65536 + 64, /* longest record */
        GW_TAIL_PIPE_OCTETS = 1 << 20,
        GW_TAIL_MARK_ETHERTYPE = 0x88b5, /* IEEE 802: local experimental */
};

/* Reads a capture (pcap, native byte order) and keeps the frames that bear the latest time stamp. Pure. */
struct gw_tail_reader {
        uint8_t in[GW_TAIL_FRAME_OCTETS + 64];
        size_t n_in;
        int past_header;
        uint64_t stamp_us;
        uint8_t kept[GW_TAIL_KEPT_OCTETS]; /* u32 length and octets, one after the other */
        size_t n_kept;
};
void gw_tail_read(struct gw_tail_reader *reader, const uint8_t *octets, size_t n);
void gw_tail_each(const struct gw_tail_reader *reader, void (*each)(const uint8_t *frame, size_t n, void *user),
                  void *user);

struct gw_tail;

/* Makes the pipe `path` and reads from it; the emulator is to write its capture there. `tap` names the device. */
int gw_tail_new(struct gw_tail **out, sd_event *event, const char *path, const char *tap, size_t header_octets);
void gw_tail_free(struct gw_tail *tail); /* removes the pipe */
const char *gw_tail_path(const struct gw_tail *tail);

/* Right after the stop: puts a frame of no meaning into the tap, so that the emulator certainly takes one. */
void gw_tail_mark(struct gw_tail *tail);
/* When the emulator has had its turn: puts what it took after the stop back into the tap. How many. */
size_t gw_tail_give_back(struct gw_tail *tail);
