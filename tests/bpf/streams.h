/* SPDX-License-Identifier: Apache-2.0 */
/* TCP streams between guests whose every octet is checked, and where test threads run. */
#pragma once

#include <stddef.h>

#include "world.h"

enum { SOON_MS = 2000 };

/* A sender that changes CPUs reorders what passes a veth, whatever is below it. */
void run_on(int cpu);

/* Sends `total` octets; fails the test unless they arrive as they were. Runs `meanwhile` (may be NULL) in this thread
 * until the stream has ended. */
void stream_run(const struct guest *from, const struct guest *to, bool v6, size_t total, void (*meanwhile)(void *user),
                void *user);
