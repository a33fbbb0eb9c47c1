/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flood list of a VN: one map value, read, changed and written whole. Order
 * does not matter, so the last element takes the place of a removed one. A list
 * that becomes empty is deleted.
 */
#include "datapath/flood.h"

#include <errno.h>

#include "base/error.h"

static int read_list(struct gw_datapath *dp, uint32_t vni, struct gw_abi_flood *list) {
        int r = bpf_map_lookup_elem(dp->maps[MAP_FLOOD], &vni, list);

        if (r == -ENOENT)
                *list = (struct gw_abi_flood){0};
        return r == -ENOENT ? 0 : r;
}

static int write_list(struct gw_datapath *dp, uint32_t vni, const struct gw_abi_flood *list) {
        if (!list->n_locators && !list->n_ports)
                return gw_map_del(dp->maps[MAP_FLOOD], &vni);
        return bpf_map_update_elem(dp->maps[MAP_FLOOD], &vni, list, BPF_ANY);
}

/* Puts `item` in, or takes it out of, an array of n items. 1 when that changed it, 0, or GW_E_FULL negated. */
static int change(void *items, uint32_t *n, size_t size, const void *item, bool in) {
        uint8_t *base = items;
        uint32_t i = 0;

        while (i < *n && memcmp(base + i * size, item, size) != 0)
                i++;
        if ((i < *n) == in)
                return 0;
        if (!in) {
                memcpy(base + i * size, base + (*n - 1) * size, size);
                (*n)--;
                return 1;
        }
        if (*n >= GW_FLOOD_MAX)
                return -GW_E_FULL;
        memcpy(base + i * size, item, size);
        (*n)++;
        return 1;
}

bool gw_flood_is_full(struct gw_datapath *dp, uint32_t vni) {
        struct gw_abi_flood list;

        return !read_list(dp, vni, &list) && list.n_locators == GW_FLOOD_MAX;
}

int gw_flood_locator(struct gw_datapath *dp, uint32_t vni, struct gw_ip locator, bool in) {
        struct gw_abi_flood list;
        int r = read_list(dp, vni, &list);

        if (r)
                return r;
        r = change(list.locators, &list.n_locators, sizeof list.locators[0], locator.b, in);
        return r < 0 ? GW_E_FULL : r ? write_list(dp, vni, &list) : 0;
}

int gw_flood_port(struct gw_datapath *dp, uint32_t vni, uint32_t ifindex, bool in) {
        struct gw_abi_flood list;
        int r = read_list(dp, vni, &list);

        if (r)
                return r;
        r = change(list.ports, &list.n_ports, sizeof list.ports[0], &ifindex, in);
        return r < 0 ? GW_E_FULL : r ? write_list(dp, vni, &list) : 0;
}
