/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Taps: the agent opens each one itself, hands the descriptor to the emulator
 * and keeps a duplicate, so that what the emulator has not read when a VM stops
 * can be read by the edge and sent on.
 */
#pragma once

#include <net/if.h>
#include <sys/types.h>

struct gw_error;
struct gw_name;

/* "gwt" and a hash of the port's id: the same on every host, at most 15 octets. */
void gw_vm_tap_name(const struct gw_name *port, char out[static IFNAMSIZ]);

/* Makes the device (frames with a virtio header, not persistent: it goes when
 * the last descriptor does), sets queue and MTU, brings it up. Returns the
 * descriptor (close-on-exec, non-blocking) or negative errno, -EBUSY when a
 * device of that name is in use. mtu_octets 0 leaves the kernel's. */
int gw_vm_tap_open(const char *name, unsigned queue_frames, unsigned mtu_octets, struct gw_error *error);

/* After a restart: a duplicate of the emulator's own descriptor for that tap.
 * Negative errno; -ENOENT when the process has none. */
int gw_vm_tap_recover(pid_t pid, const char *name);
