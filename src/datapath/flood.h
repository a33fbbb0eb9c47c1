/* SPDX-License-Identifier: Apache-2.0 */
/* Private: who gets the group frames of a VN. Adding twice and removing what is not there are no errors. */
#pragma once

#include "datapath/private.h"

bool gw_flood_is_full(struct gw_datapath *dp, uint32_t vni); /* of locators: some may have been left out */
int gw_flood_locator(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, bool in); /* GW_E_FULL */
int gw_flood_port(struct gw_datapath *dp, uint32_t vni, uint32_t ifindex, bool in);        /* GW_E_FULL */
