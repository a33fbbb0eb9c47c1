/* SPDX-License-Identifier: Apache-2.0 */
/* The echo service of the laboratory's guests, in the network namespace it is called in. */
#pragma once

#include <stdbool.h>

/* Serves for good; comes back only with 1, when it cannot start. */
int guest_echo_run(bool with_beat);
