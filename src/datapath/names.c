/* SPDX-License-Identifier: Apache-2.0 */
/* Names of what is numbered in bpf/abi.h: the tables are made from the same lists as the numbers. */
#include "datapath/private.h"

const char *gw_counter_name(enum gw_counter counter) {
        static const char *const names[] = {
#define X(name, text) [GW_COUNT_##name] = text,
                GW_COUNTERS(X)
#undef X
        };
        return (unsigned)counter < GW_COUNT_MAX ? names[counter] : "?";
}

const char *gw_punt_name(enum gw_punt_reason reason) {
        static const char *const names[] = {
#define X(name, text) [GW_PUNT_##name] = text,
                GW_PUNTS(X)
#undef X
        };
        return (unsigned)reason < GW_PUNT_MAX ? names[reason] : "?";
}

const char *const gw_map_names[MAP_MAX] = {
        [MAP_CONFIG] = "gw_config",   [MAP_COUNTERS] = "gw_counters", [MAP_PORTS] = "gw_ports",
        [MAP_FDB] = "gw_fdb",         [MAP_NEIGH] = "gw_neigh",       [MAP_MEMBERS] = "gw_members",
        [MAP_FLOOD] = "gw_flood",     [MAP_FLIGHTS] = "gw_flights",   [MAP_FORMER] = "gw_former",
        [MAP_TALKERS] = "gw_talkers", [MAP_STALE] = "gw_stale",       [MAP_NEXT_HOP] = "gw_next_hop",
        [MAP_ROUTES] = "gw_routes",   [MAP_ROUTED] = "gw_routed",     [MAP_GROUPS] = "gw_groups",
        [MAP_COPIES] = "gw_copies",
};
