/* SPDX-License-Identifier: Apache-2.0 */
/* Why an emulator ended. */
#pragma once

#include <stddef.h>

/* log: the file that it wrote to; code and status as of waitid. */
void gw_end_reason(const char *log, int code, int status, char *out, size_t size);
