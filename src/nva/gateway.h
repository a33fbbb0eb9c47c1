/* SPDX-License-Identifier: Apache-2.0 */
/* Telling gateways what to route. */
#pragma once

#include "nva/nva.h"

void gateway_tell(struct nva *nva, struct gw_nve *nve); /* nothing when it is none, or away */
void gateway_tell_all(struct nva *nva);                 /* after a change of policies or VNs */
