/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carries frames between the host's tap and the guest's, both ways, while the
 * guest runs. Stopped, it touches neither: what comes stays in the queues.
 */
#pragma once

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "base/addr.h"

struct pump;

/* Takes over both descriptors. Starts stopped. */
int pump_new(struct pump **out, sd_event *event, int host_fd, int guest_fd);
void pump_run(struct pump *pump, bool run);
/* One RARP announcement towards the host, as an emulator sends after a move. */
void pump_announce(struct pump *pump, struct gw_mac mac);
void pump_free(struct pump *pump);
