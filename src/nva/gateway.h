/* SPDX-License-Identifier: Apache-2.0 */
/* Telling gateways what to route. */
#pragma once

#include "nva/nva.h"

void gateway_tell(struct nva *nva, struct gw_nve *nve); /* nothing when it is none, or away */
void gateway_tell_all(struct nva *nva);                 /* after a change of policies or VNs */
/* The same, and the answer to the request follows when all have taken it, 10 s later at most. `answer` is taken over (NULL: none);
 * gateways that have not taken it are in its "untold", with status 200: they go on routing by the ways of before. */
void gateway_tell_and_answer(struct nva *nva, struct gw_request *request, int status, json_t *answer);
void gateway_deinit(struct nva *nva); /* who still waits is told who has not confirmed */
