/* SPDX-License-Identifier: Apache-2.0 */
/* The management node's own Requests (directory/notice.h): sent on whichever way their receiver has, answers taken back. */
#pragma once

#include "nva/nva.h"
#include "wire/registration.h"

/* For the directory's effects. False: there is no way to `to` now. */
bool notices_send(struct nva *nva, struct gw_ip to, const struct gw_registration *request);
/* A genuine Reply from the NVE or router at `from`. */
void notices_take(struct nva *nva, struct gw_ip from, const struct gw_registration *reply);
