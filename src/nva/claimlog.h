/* SPDX-License-Identifier: Apache-2.0 */
/* What was claimed of one VM: who said that it is there, and what became of it. Kept in memory alone. */
#pragma once

#include <jansson.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/time.h"

enum { NVA_CLAIM_LOG_MAX = 16 }; /* pairs of claimant and verdict; the one that was last longest ago gives way */

struct claim_record {
        struct gw_name nve;
        const char *verdict; /* one of claims.c's words */
        uint64_t times;
        struct gw_wall first, last;
};
struct claim_log {
        struct claim_record *records; /* in the order of .last */
        unsigned n;
};

/* Without memory nothing is written down. */
void claim_log_add(struct claim_log *log, struct gw_wall now, const char *nve, const char *verdict);
void claim_log_free(struct claim_log *log);
json_t *claim_log_json(const struct claim_log *log); /* NULL log: an empty list */
