/* SPDX-License-Identifier: Apache-2.0 */
/* What a fuzz target is made of: the entry point that libFuzzer and replay.c call, and a check that aborts. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define must(condition)                                                                                                \
        do {                                                                                                           \
                if (!(condition)) {                                                                                    \
                        fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition);                  \
                        abort();                                                                                       \
                }                                                                                                      \
        } while (0)
