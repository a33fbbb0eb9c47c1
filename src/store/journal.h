/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of the journal need beside store.h. */
#pragma once

#include <stddef.h>

#include "store/store.h"

enum { GW_JOURNAL_FOLD_OCTETS = 16 << 20 };

/* A segment of so many octets is brought into LMDB; a smaller number makes that happen more often. */
int gw_store_journal_new_folding(struct gw_store **out, const char *directory, size_t fold_octets);
