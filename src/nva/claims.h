/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of VMs by NVEs that management did not place them on: looked into, and accepted or refused (claims.c). */
#pragma once

#include <jansson.h>

#include "nva/nva.h"

/* vm announced itself on a device of nve that was attached to claim it. */
void claims_heard(struct nva *nva, struct gw_nve *nve, const char *vm);
enum { CLAIMS_KEPT = 4096 }; /* VMs of which it is remembered who claimed them */

int claims_init(struct nva *nva, const uint64_t seed[2]);
/* Ends what a claim had reserved that ended with the process that followed it; leaves one under way alone. */
void claims_settle(struct nva *nva, struct gw_vm *vm);
void claims_forget(struct nva *nva, const char *vm);
void claims_deinit(struct nva *nva);
json_t *claims_json(const struct nva *nva);                    /* counters */
json_t *claims_of_json(const struct nva *nva, const char *vm); /* what became of claims to it, the latest last */
