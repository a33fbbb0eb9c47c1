/* SPDX-License-Identifier: Apache-2.0 */
/* An emulator's process: with what it is given, and as whom. */
#pragma once

#include <systemd/sd-event.h>

struct gw_error;
struct gw_process;
struct gw_vm_start;

/* Control socket and log in start->directory are new; the console goes on. 0 or negative errno with *error; process->ended is
 * set before, as for gw_process_spawn. */
int gw_qemu_launch(struct gw_process *process, sd_event *event, const struct gw_vm_start *start,
                   struct gw_error *error);
