/* SPDX-License-Identifier: Apache-2.0 */
/* --allow: what a port may do that the guard keeps others from (base/allow.h). */
#pragma once

#include <jansson.h>

#define GW_CLI_ALLOW "ra dhcp-server forward llc multicast-router"
#define GW_CLI_ALLOW_HELP                                                                                              \
        "send router advertisements, answer DHCP clients, send packets of others, send 802.2 frames, route multicast"

/* Adds the word to the port's list. */
static inline void gw_cli_allow(json_t *port, const char *word) {
        json_t *list = json_object_get(port, "allow");

        if (!list) {
                list = json_array();
                json_object_set_new(port, "allow", list);
        }
        json_array_append_new(list, json_string(word));
}
