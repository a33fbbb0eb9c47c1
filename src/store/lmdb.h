/* SPDX-License-Identifier: Apache-2.0 */
/* What a store in LMDB can beside store.h; for the journal before it. Private to src/store. */
#pragma once

#include "store/store.h"

/* From now on one thread writes and another reads: reads see what is committed only. */
void gw_store_lmdb_share(struct gw_store *store);
