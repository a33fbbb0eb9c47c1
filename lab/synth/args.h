/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of QEMU's command line that the synthetic guest's emulator obeys.
 * Everything else is passed over, as long as it has QEMU's form.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/addr.h"

enum { SYNTH_PORTS_MAX = 8 };

struct synth_args {
        char name[80];
        int qmp; /* the control socket, listening */
        bool incoming, held;
        struct {
                int fd;
                struct gw_mac mac;
        } ports[SYNTH_PORTS_MAX];
        size_t n_ports, n_devices;
        /* From -append: guest=SOCKET of the keeper, pause_ms=, copy_ms=. */
        char guest[108];
        unsigned pause_ms, copy_ms;
};

/* False: complained on standard error. */
bool synth_args_parse(struct synth_args *args, int argc, char **argv);
