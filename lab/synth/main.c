/* SPDX-License-Identifier: Apache-2.0 */
/*
 * godwit-synth: the laboratory's synthetic guest. With --keeper it keeps the
 * guest's network stack; with QEMU's command line it is the guest's emulator.
 *
 * Both stand for a machine of their own, which would not share its processors with
 * the hosts' daemons: they run ahead of those, as far as the scheduler lets them.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "synth/ahead.h"
#include "synth/args.h"
#include "synth/emulator.h"
#include "synth/keeper.h"

static int usage(void) {
        printf("%s"
               "godwit-synth QEMU-OPTION...\n"
               "  -chardev socket,fd=N,... -netdev tap,id=..,fd=N -device virtio-net-pci,netdev=..,mac=..\n"
               "  -append \"guest=SOCKET [pause_ms=N] [copy_ms=N]\" [-incoming defer]\n"
               "  stands in for QEMU: carries the frames of the guest whose keeper is at SOCKET.\n"
               "  pause_ms: how long a move stops it, in all; copy_ms: how long a copy runs before.\n",
               synth_keeper_usage);
        return 0;
}

int main(int argc, char **argv) {
        struct synth_args args;

        if (argc < 2 || strcmp(argv[1], "--help") == 0)
                return usage();
        setsid(); /* its own scheduling group; when it leads a session already, it has one */
        synth_run_ahead(getpid());
        if (strcmp(argv[1], "--keeper") == 0)
                return synth_keeper_run(argc, argv);
        return synth_args_parse(&args, argc, argv) ? synth_emulator_run(&args) : 2;
}
