/* SPDX-License-Identifier: Apache-2.0 */
/* Audits: what edges and gateways hold, compared with the directory (docs/audit.md). */
#pragma once

#include "nva/nva.h"

int audit_init(struct nva *nva, struct gw_error *error); /* begins the periodic ones */
void audit_deinit(struct nva *nva);
