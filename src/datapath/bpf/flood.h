/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Group frames: to the ports of the VN here, and, from a port, to its members.
 *
 *      port             a frame as its sender sent it      one marked, from the VM's former place
 *      serving          yes                                no
 *      ... joining      of the two, whichever comes first (copies.h)
 *      ARRIVING         no: the old place has it           yes
 *      MOVED            sent on, marked, to the new place; no
 *      ... was joining  not one that came before the cut
 *                                                          up, from that place
 *      BACK, a while    yes                                yes, from the place where it did not arrive
 *      HOLD, with any   up, for that port, instead
 *      STILL            no
 *
 * A marked frame is meant for one VM, whose MAC's last bits the mark has. Nothing
 * that a VM itself sent comes back to it, from wherever it sent it.
 *
 * The list of a VN is copied before it is walked: when user space replaces it, the
 * kernel may use the memory of the old one for another VN's at once.
 */
#ifndef GW_BPF_FLOOD_H
#define GW_BPF_FLOOD_H

enum { LIST_TRIES = 4 };

/* One walk. Too large for the stack; not kept, so not pinned. */
struct flood_walk {
        struct gw_abi_flood list;
        struct gw_abi_ip_key key; /* of a group: .ip */
        __u8 source[8];
        __u64 held; /* bits of the list's ports that want their copy punted */
        __u64 now_ns, name;
        __u32 vni, except, gbp;
        __u8 sender[16]; /* with .gbp */
        __u32 kind;      /* enum group_kind */
        __u32 held_port; /* the last of those held */
        bool copied, second;
};
struct {
        __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
        __type(key, __u32);
        __type(value, struct flood_walk);
        __uint(max_entries, 1);
} gw_flood_scratch SEC(".maps");

/* It runs in bpf_loop callbacks: the verifier then checks the body once, not 64 times. */
struct flooding {
        struct __sk_buff *skb;
        const struct gw_abi_config *c;
        struct flood_walk *w;
};

static __always_inline bool flood_joins(const struct gw_abi_port *port, __u64 now_ns) {
        return port->activated_ns && now_ns < port->activated_ns + GW_JOINING_NS;
}

static __always_inline bool flood_lacking(struct __sk_buff *skb, struct flood_walk *w, const struct gw_abi_port *port,
                                          __u32 ifindex) {
        if (!w->name)
                w->name = frame_name(skb);
        if (copy_is_lacking(ifindex, port->arrival, w->name, w->gbp))
                return true;
        w->second = true;
        return false;
}

/* The place that the VM was cut over to has sent it back. */
static __always_inline bool flood_is_back(const struct flood_walk *w, const struct gw_abi_port *port) {
        if (!w->gbp || w->gbp != gbp_of(port->mac) || !ip_eq(w->sender, port->moved_to))
                return false;
        return port->flags & GW_PORT_MOVED ||
               (port->flags & GW_PORT_BACK && w->now_ns < (__u64)port->back_until_s * NS_PER_S);
}

static __always_inline bool flood_wanted(struct __sk_buff *skb, struct flood_walk *w, const struct gw_abi_port *port,
                                         __u32 ifindex) {
        bool meant = w->gbp == gbp_of(port->mac), joins;

        if (port->vni != w->vni || port->flags & GW_PORT_CLAIMING || mac_eq(w->source, port->mac))
                return false;
        if (port->flags & GW_PORT_ARRIVING) /* noted, so that the other copy is not lacking later */
                return meant && flood_lacking(skb, w, port, ifindex);
        w->key.id = ifindex;
        if (flood_is_back(w, port)) /* was sent on from here: the only copy */
                return group_wanted(port, &w->key, w->kind);
        joins = flood_joins(port, w->now_ns);
        if (w->gbp && !(meant && joins && !(port->flags & GW_PORT_MOVED)))
                return false;
        return group_wanted(port, &w->key, w->kind) && (!joins || flood_lacking(skb, w, port, ifindex));
}

/* i is in range already; the barrier keeps the compiler from dropping what the verifier needs to see. */
static __always_inline __u32 bounded(__u32 i) {
        asm volatile("" : "+r"(i));
        return i & (GW_FLOOD_MAX - 1);
}

static long flood_port(__u32 i, struct flooding *f) {
        struct flood_walk *w = f->w;
        struct gw_abi_port *port;
        __u32 ifindex;
        int failed;

        if (i >= GW_FLOOD_MAX || i >= w->list.n_ports)
                return 1;
        ifindex = w->list.ports[bounded(i)];
        port = bpf_map_lookup_elem(&gw_ports, &ifindex);
        if (ifindex == w->except || !port || !flood_wanted(f->skb, w, port, ifindex))
                return 0;
        if (port->flags & GW_PORT_HOLD || (port->flags & GW_PORT_MOVED && flood_is_back(f->w, port))) {
                w->held |= 1ull << bounded(i);
                w->held_port = ifindex;
                return 0;
        }
        if ((port->flags & (GW_PORT_STILL | GW_PORT_MOVED)) == GW_PORT_STILL) {
                count(GW_COUNT_DROP_ABSENT);
                w->copied = true;
                return 0;
        }
        if (port->flags & GW_PORT_MOVED) {
                failed = tunnel_set(f->skb, f->c, w->vni, port->moved_to, gbp_of(port->mac)) ||
                         bpf_clone_redirect(f->skb, f->c->vxlan_ifindex, 0);
                count(failed ? GW_COUNT_DROP_ENCAP_FAILED : GW_COUNT_REDIRECTED);
        } else {
                failed = bpf_clone_redirect(f->skb, ifindex, 0);
                count(failed ? GW_COUNT_DROP_NO_PORT : GW_COUNT_FLOOD_LOCAL);
        }
        w->copied = true;
        return 0;
}

static long flood_member(__u32 i, struct flooding *f) {
        struct flood_walk *w = f->w;
        int failed;

        if (i >= GW_FLOOD_MAX || i >= w->list.n_locators)
                return 1;
        failed = tunnel_set(f->skb, f->c, w->vni, w->list.locators[bounded(i)], 0) ||
                 bpf_clone_redirect(f->skb, f->c->vxlan_ifindex, 0);
        count(failed ? GW_COUNT_DROP_ENCAP_FAILED : GW_COUNT_FLOOD_REMOTE);
        w->copied = true;
        return 0;
}

/* The header is on the frame already; what differs between ports is written into it. */
static long flood_held(__u32 i, struct flooding *f) {
        struct flood_walk *w = f->w;
        __u32 ifindex;
        int failed;

        if (i >= GW_FLOOD_MAX)
                return 1;
        if (!(w->held & 1ull << bounded(i)))
                return 0;
        ifindex = w->list.ports[bounded(i)];
        failed = bpf_skb_store_bytes(f->skb, offsetof(struct gw_abi_punt_header, ifindex), &ifindex, sizeof ifindex,
                                     0) ||
                 bpf_clone_redirect(f->skb, f->c->punt_ifindex, 0);
        count(failed ? GW_COUNT_DROP_PUNT_FAILED : GW_COUNT_PUNTED);
        return 0;
}

/* Up, once for each port that holds. */
static __noinline int flood_up(struct flooding *f, const struct arrival *from) {
        if (!(f->w->held & (f->w->held - 1)))
                return punt(f->skb, GW_PUNT_HOLD, f->w->held_port, f->w->vni, from);
        if (!punt_head(f->skb, GW_PUNT_HOLD, 0, f->w->vni, from))
                return drop(GW_COUNT_DROP_PUNT_FAILED);
        f->skb->mark = GW_MARK_UP;
        bpf_loop(GW_FLOOD_MAX, flood_held, f, 0);
        return TC_ACT_STOLEN;
}

/* A global function: it is verified once, not for each try. */
__noinline int list_read(struct gw_abi_flood *to, const struct gw_abi_flood *from) {
        __u32 n_locators, n_ports;

        if (!to || !from)
                return 0;
        n_locators = from->n_locators;
        n_ports = from->n_ports;
        to->n_locators = n_locators;
        to->n_ports = n_ports;
#pragma clang loop unroll(disable)
        for (__u32 i = 0; i < GW_FLOOD_MAX && i < n_locators; i++)
                ip_copy(to->locators[bounded(i)], from->locators[bounded(i)]);
#pragma clang loop unroll(disable)
        for (__u32 i = 0; i < GW_FLOOD_MAX && i < n_ports; i++)
                to->ports[bounded(i)] = from->ports[bounded(i)];
        return 0;
}

/* The VN's list as it was at one moment. */
static __always_inline bool list_copy(struct gw_abi_flood *copy, const __u32 *vni) {
        const struct gw_abi_flood *list = bpf_map_lookup_elem(&gw_flood, vni), *again;

        for (int i = 0; list && i < LIST_TRIES; i++) {
                list_read(copy, list);
                again = bpf_map_lookup_elem(&gw_flood, vni);
                if (again == list)
                        break;
                list = again;
        }
        return list;
}

/* from: NULL from a port. A global function: it is verified once, not for each of its callers. */
__noinline int flood(struct __sk_buff *skb, __u32 vni, __u32 except, const struct arrival *from) {
        struct flooding f = {.skb = skb, .c = config()};
        struct flood_walk *w;
        __u32 zero = 0;

        f.w = w = bpf_map_lookup_elem(&gw_flood_scratch, &zero);
        if (!w || !f.c)
                return drop(GW_COUNT_DROP_NO_FLOOD);
        w->vni = vni;
        if (!list_copy(&w->list, &w->vni) || bpf_skb_load_bytes(skb, ETH_ALEN, w->source, ETH_ALEN))
                return drop(GW_COUNT_DROP_NO_FLOOD);
        skb->mark = 0;
        w->except = except;
        w->gbp = from ? from->gbp : 0;
        if (from)
                ip_copy(w->sender, from->sender);
        w->now_ns = bpf_ktime_get_coarse_ns();
        w->held = w->name = w->copied = w->second = 0;
        w->kind = group_of(skb, w->key.ip);
        bpf_loop(GW_FLOOD_MAX, flood_port, &f, 0);
        if (!from)
                bpf_loop(GW_FLOOD_MAX, flood_member, &f, 0);
        if (w->held)
                return flood_up(&f, from);
        if (!w->copied && !w->second)
                return drop(w->kind == GROUP_EVERYBODY ? GW_COUNT_DROP_NO_FLOOD : GW_COUNT_DROP_NO_LISTENER);
        if (!w->copied)
                count(GW_COUNT_FLOOD_SECOND);
        return TC_ACT_STOLEN;
}

#endif
