/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A synthetic guest stands for a machine of its own: its processes go ahead of the daemons that share the processors.
 * An emulator without privileges may not do that itself; the keeper does it for whoever asks for the taps.
 */
#pragma once

#include <sys/types.h>

/* nice -20 for the process and the scheduling group of its session. Without the right to do so nothing changes. */
void synth_run_ahead(pid_t pid);
