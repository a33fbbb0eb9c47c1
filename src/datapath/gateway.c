/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gateway's tables: ways from one VN to another, the VNs that are routed
 * here, and the device that leads outside.
 *
 * The device is the host's: it keeps its addresses and its traffic. Our program on
 * its ingress takes what is for a VN that may be reached from outside, and lets all
 * else pass; frames leave by it with the host's own routes and neighbours. Like the
 * underlay's, it has a priority of its own on a qdisc that others may use.
 */
#include "datapath/private.h"

#include <errno.h>

#include "base/error.h"
#include "datapath/godwit.skel.h"
#include "io/netlink.h"

enum { TC_HANDLE = 2, TC_PRIORITY = 0x4758, KEY_VNI_BITS = 32 };

static struct gw_abi_route_key route_key(uint32_t from, const struct gw_prefix *to) {
        struct gw_abi_route_key key = {.bits = KEY_VNI_BITS + to->bits, .vni = from};

        memcpy(key.ip, to->ip.b, sizeof key.ip);
        return key;
}

int gw_datapath_route_set(struct gw_datapath *dp, const struct gw_way *route) {
        struct gw_abi_route_key key = route_key(route->from, &route->to);
        struct gw_abi_route value = {.vni = route->vni, .flags = route->flags};

        return bpf_map_update_elem(dp->maps[MAP_ROUTES], &key, &value, BPF_ANY);
}

int gw_datapath_route_del(struct gw_datapath *dp, uint32_t from, const struct gw_prefix *to) {
        struct gw_abi_route_key key = route_key(from, to);

        return gw_map_del(dp->maps[MAP_ROUTES], &key);
}

struct route_walk {
        int (*each)(const struct gw_way *route, void *user);
        void *user;
};

static int route_one(const void *key, const void *value, void *user) {
        const struct gw_abi_route_key *k = key;
        const struct gw_abi_route *v = value;
        const struct route_walk *w = user;
        struct gw_way route = {.from = k->vni,
                               .to = {.ip = gw_abi_ip(k->ip), .bits = (uint8_t)(k->bits - KEY_VNI_BITS)},
                               .vni = v->vni,
                               .flags = v->flags};

        return w->each(&route, w->user);
}

int gw_datapath_route_each(struct gw_datapath *dp, int (*each)(const struct gw_way *route, void *user), void *user) {
        struct route_walk w = {each, user};
        struct gw_abi_route_key key, next;
        struct gw_abi_route value;

        return gw_map_each(dp->maps[MAP_ROUTES], &key, &next, sizeof key, &value, route_one, &w);
}

int gw_datapath_routed_set(struct gw_datapath *dp, uint32_t vni, uint32_t mtu) {
        struct gw_abi_routed_vn value = {.mtu = mtu};

        return bpf_map_update_elem(dp->maps[MAP_ROUTED], &vni, &value, BPF_ANY);
}

int gw_datapath_routed_del(struct gw_datapath *dp, uint32_t vni) {
        return gw_map_del(dp->maps[MAP_ROUTED], &vni);
}

int gw_datapath_routed_each(struct gw_datapath *dp, int (*each)(uint32_t vni, void *user), void *user) {
        uint32_t key, next;
        int r = bpf_map_get_next_key(dp->maps[MAP_ROUTED], NULL, &key);

        while (!r) {
                int last = bpf_map_get_next_key(dp->maps[MAP_ROUTED], &key, &next);

                if ((r = each(key, user)))
                        return r;
                r = last;
                key = next;
        }
        return r == -ENOENT ? 0 : r;
}

static struct bpf_tc_hook hook_on(int ifindex) {
        return (struct bpf_tc_hook){
                .sz = sizeof(struct bpf_tc_hook), .ifindex = ifindex, .attach_point = BPF_TC_INGRESS};
}

int gw_datapath_outside_set(struct gw_datapath *dp, uint32_t ifindex, uint32_t mtu) {
        struct bpf_tc_opts opts = {.sz = sizeof opts,
                                   .handle = TC_HANDLE,
                                   .priority = TC_PRIORITY,
                                   .prog_fd = bpf_program__fd(dp->bpf->progs.from_outside),
                                   .flags = BPF_TC_F_REPLACE};
        struct gw_abi_routed_vn value = {.mtu = mtu, .ifindex = ifindex};
        struct bpf_tc_hook hook = hook_on((int)ifindex);
        uint32_t outside = 0;
        int r = bpf_tc_hook_create(&hook);

        if (r && r != -EEXIST)
                return r;
        r = bpf_tc_attach(&hook, &opts);
        return r ? r : bpf_map_update_elem(dp->maps[MAP_ROUTED], &outside, &value, BPF_ANY);
}

int gw_datapath_outside_clear(struct gw_datapath *dp) {
        struct bpf_tc_opts opts = {.sz = sizeof opts, .handle = TC_HANDLE, .priority = TC_PRIORITY};
        struct gw_abi_routed_vn value;
        struct bpf_tc_hook hook;
        uint32_t outside = 0;

        if (bpf_map_lookup_elem(dp->maps[MAP_ROUTED], &outside, &value))
                return 0;
        hook = hook_on((int)value.ifindex);
        (void)bpf_tc_detach(&hook, &opts);
        return gw_map_del(dp->maps[MAP_ROUTED], &outside);
}
