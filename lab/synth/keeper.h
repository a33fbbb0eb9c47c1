/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper of a synthetic guest: owns the network namespace that is the
 * guest's stack, with one tap per port, echo servers inside, and a unix socket
 * that hands out the taps' descriptors to whichever emulator asks.
 */
#pragma once

#include <stddef.h>

int synth_keeper_run(int argc, char **argv); /* exit code */
/* The emulator's side: descriptors in the order of ports. How many, or negative errno. */
int synth_keeper_ask(const char *path, int *fds, size_t max);
extern const char synth_keeper_usage[];
