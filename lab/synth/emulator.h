/* SPDX-License-Identifier: Apache-2.0 */
/* The synthetic guest's emulator: QEMU's command line in, QMP, and nothing inside. */
#pragma once

struct synth_args;

int synth_emulator_run(const struct synth_args *args); /* exit code */
