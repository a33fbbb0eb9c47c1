/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where a frame goes: by its destination MAC, in its VN.
 *
 *                     from a local port        from the wire
 *      LOCAL          to the port              to the port
 *      REMOTE         to the locator           to the locator, marked (the sender is stale)
 *      MOVED          to the locator           to the locator, marked (in flight)
 *      ARRIVING       to the locator           to the port, which holds it
 *      none           up                       up
 *      GATEWAY        routed (gateway.h)       routed
 *      group          members and ports        ports
 *
 * What came marked is never sent to the wire again: a loop is impossible. From the place where MOVED leads
 * to it goes up: that sends back what it held, and the VM is about to be taken back. Group frames are in flood.h.
 */
#ifndef GW_BPF_FORWARD_H
#define GW_BPF_FORWARD_H

enum { WALK_ROUTE = -16 }; /* injected, and for the gateway; skb->cb[0] is its VNI */
enum { SEEN_INTERVAL_NS = 1000000000 };

/* A frame was exchanged between the VM (vni, mac) and a locator; written at most once a second. */
static __always_inline void talkers_touch(struct gw_abi_port *port, __u32 vni, const __u8 *mac, const __u8 *locator) {
        struct gw_abi_noted *noted = &port->noted[locator[15] & (GW_NOTED_MAX - 1)];
        struct gw_abi_peer_key key = {.vni = vni};
        struct gw_abi_seen *seen, first = {};
        __u64 now = bpf_ktime_get_coarse_ns();

        if (now - noted->last_ns < SEEN_INTERVAL_NS && ip_eq(noted->locator, locator))
                return;
        noted->last_ns = now;
        ip_copy(noted->locator, locator);
        mac_copy(key.mac, mac);
        ip_copy(key.locator, locator);
        seen = bpf_map_lookup_elem(&gw_talkers, &key);
        if (!seen) {
                first.last_ns = now;
                bpf_map_update_elem(&gw_talkers, &key, &first, BPF_ANY);
        } else {
                seen->last_ns = now;
        }
}

static __always_inline void seen_add(struct gw_abi_seen *seen) {
        __sync_fetch_and_add(&seen->packets, 1);
        seen->last_ns = bpf_ktime_get_ns();
}

/* A frame in flight for key's VM from `sender`, who does not know yet. */
static __always_inline void flight_note(const struct gw_abi_mac_key *key, const __u8 *sender) {
        struct gw_abi_peer_key peer = {.vni = key->vni};
        struct gw_abi_seen *seen = bpf_map_lookup_elem(&gw_flights, key), first = {};

        if (seen)
                seen_add(seen);
        if (ip_is_zero(sender)) /* injected: ours */
                return;
        mac_copy(peer.mac, key->mac);
        ip_copy(peer.locator, sender);
        seen = bpf_map_lookup_elem(&gw_stale, &peer);
        if (seen) {
                seen_add(seen);
                return;
        }
        first.packets = 1;
        first.last_ns = bpf_ktime_get_ns();
        bpf_map_update_elem(&gw_stale, &peer, &first, BPF_ANY);
}

/* `talks_as`: the MAC of the VM that the sender now talks with; NULL: not noted (in flight, injected, local).
 * `at_ingress`: the program runs on an ingress hook, where a frame can be put right into a veth's other end. */
static __always_inline int deliver(struct __sk_buff *skb, __u32 ifindex, __u32 vni, const struct arrival *from,
                                   const __u8 *talks_as, bool injected, bool at_ingress, enum gw_counter counter) {
        struct gw_abi_port *port = bpf_map_lookup_elem(&gw_ports, &ifindex);

        if (!port || port->vni != vni)
                return drop(GW_COUNT_DROP_NO_PORT);
        if (talks_as)
                talkers_touch(port, vni, talks_as, from->sender);
        if (gw_test)
                gw_trace.ifindex = ifindex;
        if (port->flags & GW_PORT_HOLD && !injected)
                return punt(skb, GW_PUNT_HOLD, ifindex, vni, from);
        if (port->flags & GW_PORT_STILL && !injected) /* which sends nothing: its limit is there to be used */
                return limit_take(port, GW_LIMIT_MISSES) ? punt(skb, GW_PUNT_HOLD, ifindex, vni, from)
                                                         : drop(GW_COUNT_DROP_ABSENT);
        skb->mark = 0;
        count(counter);
        if (at_ingress && port->flags & GW_PORT_PEER) {
                bpf_skb_change_type(skb, 0); /* PACKET_HOST: the device it came by took it for someone else's */
                return bpf_redirect_peer(ifindex, 0);
        }
        return bpf_redirect(ifindex, 0);
}

/* 01:80:c2:00:00:0x never crosses a bridge (IEEE 802.1Q 8.6.3). */
static __always_inline bool mac_is_control(const __u8 *mac) {
        return mac[0] == 1 && mac[1] == 0x80 && mac[2] == 0xc2 && !mac[3] && !mac[4] && mac[5] < 16;
}

__noinline int gateway_route(struct __sk_buff *skb, __u32 vni, __u32 injected); /* gateway.h */

static __always_inline int forward_from_port(struct __sk_buff *skb, const struct walk *w, const __u8 *source,
                                             const __u8 *destination, bool at_ingress) {
        struct gw_abi_mac_key key = {.vni = w->vni};
        struct gw_abi_forward *entry, to;

        if (mac_is_group(destination)) {
                if (mac_is_control(destination))
                        return drop(GW_COUNT_DROP_L2_CONTROL);
                if (!w->injected && group_said(skb))
                        return punt_of_port(skb, GW_PUNT_GROUPS, w);
                if (!w->injected && !limit_take(w->port, GW_LIMIT_GROUP))
                        return drop(GW_COUNT_DROP_LIMIT_GROUP);
                return flood(skb, w->vni, w->ifindex, NULL);
        }
        mac_copy(key.mac, destination);
        entry = bpf_map_lookup_elem(&gw_fdb, &key);
        if (!entry)
                return punt_of_port(skb, GW_PUNT_UNKNOWN, w);
        to = *entry;
        if (to.flags & GW_FORWARD_PUNT && !w->injected)
                return punt_of_port(skb, GW_PUNT_PUNT, w);
        if (to.kind == GW_FORWARD_LOCAL) {
                if (to.ifindex == w->ifindex)
                        return drop(GW_COUNT_DROP_SELF);
                return deliver(skb, to.ifindex, w->vni, NULL, NULL, false, at_ingress, GW_COUNT_LOCAL);
        }
        if (to.kind == GW_FORWARD_GATEWAY && !at_ingress) { /* from_host routes it: here the stack would not do */
                skb->cb[0] = w->vni;
                return WALK_ROUTE;
        }
        if (to.kind == GW_FORWARD_GATEWAY)
                return gateway_route(skb, w->vni, 0);
        talkers_touch(w->port, w->vni, source, to.locator);
        return tunnel_send(skb, w->vni, to.locator, 0, GW_COUNT_REMOTE);
}

static const __u8 gateway_mac[6] __attribute__((aligned(2))) = GW_GATEWAY_MAC_OCTETS;

static __always_inline int forward_from_wire(struct __sk_buff *skb, const struct arrival *from, bool injected,
                                             bool at_ingress) {
        struct gw_abi_mac_key key = {.vni = from->vni}, source = {.vni = from->vni};
        struct gw_abi_forward *entry, to;
        struct ethhdr *eth = headers(skb, ETH_HLEN);
        __u32 bad;

        if (!eth)
                return drop(GW_COUNT_DROP_SHORT);
        mac_copy(key.mac, eth->h_dest);
        mac_copy(source.mac, eth->h_source);
        if (!injected && mac_eq(source.mac, gateway_mac) && mac_eq(key.mac, gateway_mac))
                return path_walk(skb, from);
        if (!injected && mac_eq(source.mac, gateway_mac)) /* a gateway's own, or sent on after a VM that moved */
                bad = (from->member && from->member->flags & GW_MEMBER_GATEWAY) ||
                                      (from->gbp && mark_counts(&key, from->sender))
                              ? SOURCE_PASSES
                              : GW_COUNT_DROP_GATEWAY_SENDER;
        else
                bad = injected ? SOURCE_PASSES : source_check(&source, &key, from);
        if (bad)
                return bad == SOURCE_UP ? punt_of_wire(skb, GW_PUNT_WIRE_SOURCE, from) : drop(bad);
        if (mac_is_group(key.mac))
                return flood(skb, from->vni, 0, from);
        entry = bpf_map_lookup_elem(&gw_fdb, &key);
        if (!entry)
                return injected ? drop(GW_COUNT_DROP_UNKNOWN) : punt_of_wire(skb, GW_PUNT_WIRE_UNKNOWN, from);
        to = *entry;
        if (to.flags & GW_FORWARD_PUNT && !injected)
                return punt(skb, GW_PUNT_WIRE_UNKNOWN, 0, from->vni, from);
        if (to.kind == GW_FORWARD_LOCAL || to.kind == GW_FORWARD_ARRIVING) {
                const __u8 *talks_as = !from->gbp && !injected ? key.mac : NULL;
                return deliver(skb, to.ifindex, from->vni, from, talks_as, false, at_ingress, GW_COUNT_DELIVERED);
        }
        if (to.kind == GW_FORWARD_GATEWAY)
                return gateway_route(skb, from->vni, injected);
        if (from->gbp && to.kind == GW_FORWARD_MOVED && !injected && ip_eq(to.locator, from->sender))
                return punt_of_wire(skb, GW_PUNT_RETURNED, from);
        if (from->gbp)
                return drop(GW_COUNT_DROP_LOOP);
        if (mac_eq(key.mac, gateway_mac)) /* for a gateway, which we are not any more: to the one that we would take */
                return tunnel_send(skb, from->vni, to.locator, GW_GBP_REDIRECTED, GW_COUNT_REDIRECTED);
        flight_note(&key, from->sender);
        return tunnel_send(skb, from->vni, to.locator, gbp_of(key.mac), GW_COUNT_REDIRECTED);
}

#endif
