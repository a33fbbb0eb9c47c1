/* SPDX-License-Identifier: Apache-2.0 */
/* The demonstration: a VM moves between hosts under load, and nothing is lost. */
#pragma once

#include <stdbool.h>

struct gw_cli;

struct gw_demo_options {
        const char *name, *accelerator, *json_file;
        unsigned moves, underlay, udp_rate, pause_ms;
        bool synthetic, keep;
};

/* An exit code (cli/command.h). The lab is removed whatever happens, but with keep. */
int gw_demo_run(struct gw_cli *cli, const struct gw_demo_options *options);
