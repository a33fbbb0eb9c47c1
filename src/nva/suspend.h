/* SPDX-License-Identifier: Apache-2.0 */
/* VMs that stand still for a while, with their memory, where they are. */
#pragma once

#include "nva/nva.h"

/* request is answered when the agent has; when these return non-zero nothing was changed and it is still the caller's.
 * Both may be repeated. */
int suspend_vm(struct nva *nva, struct gw_vm *vm, struct gw_request *request, struct gw_error *error);
int suspend_end(struct nva *nva, struct gw_vm *vm, struct gw_request *request, struct gw_error *error);
