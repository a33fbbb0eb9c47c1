/* SPDX-License-Identifier: Apache-2.0 */
/* What only the store in memory can do. */
#pragma once

#include "store/store.h"

/* Forgets what was put or deleted since the last commit, as a power failure would. */
void gw_store_memory_crash(struct gw_store *store);
