/* SPDX-License-Identifier: Apache-2.0 */
/* How many descriptors this process may have. */
#pragma once

/* As many as it may have at all: a service that nobody has given more begins with 1024. Processes that it starts inherit
 * that. */
void gw_descriptors_raise(void);
