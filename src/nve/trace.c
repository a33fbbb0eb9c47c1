/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this edge would do with a frame, and why: the decisions of the eBPF
 * programs, made again from the tables that they read, one step after the other.
 * Nothing is sent and nothing is changed.
 *
 *      POST /v1/trace {port, to [, via | mac]}             as if that port sent to that address (by way of that one)
 *      POST /v1/trace {vni, mac, source_mac, sender, marked [, from, to]}   as if that frame came from the wire; from
 *                                                          and to are the packet's, and needed by a gateway
 *
 * The answer is a list of steps {step, verdict, text[, counter]}, and how it ends:
 *
 *      delivered  to .port          dropped   .counter is what counts it
 *      forward    to .locator       asks      the authority, while the frame waits
 *      outside    by .device        answered  by the gateway itself
 *      waits      here, until the move of its VM is taken back, or dropped when it is not
 *
 * With .mac, the frame's next destination; .from, the packet's source; and, when it was routed here, .vni and
 * .source_mac, which are then others.
 *
 * The order of the steps is that of godwit.bpf.c; who changes one changes both.
 */
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "nve/nve.h"

enum { TEXT_SIZE = 320 };

struct trace {
        struct nve *nve;
        json_t *steps, *end; /* how it ends, when that is known */
        struct gw_mono now;
};

static __attribute__((format(printf, 5, 6))) void step(struct trace *t, const char *name, const char *verdict,
                                                       const char *counter, const char *format, ...) {
        char text[TEXT_SIZE];
        json_t *object;
        va_list args;

        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        object = json_pack("{s:s, s:s, s:s}", "step", name, "verdict", verdict, "text", text);
        if (counter)
                json_object_set_new(object, "counter", json_string(counter));
        json_array_append_new(t->steps, object);
}

/* Always false: `return dropped(...)` in a walk of steps that go on while they are true. */
#define dropped_as(t, name, counter, ...)                                                                              \
        (step(t, name, "drop", counter, __VA_ARGS__),                                                                  \
         end(t, json_pack("{s:s, s:s}", "outcome", "dropped", "counter", counter)))
#define dropped(t, name, counter, ...) dropped_as(t, name, gw_counter_name(counter), __VA_ARGS__)

static bool end(struct trace *t, json_t *how) {
        t->end = how;
        return false;
}

static bool asks(struct trace *t, const char *name, const char *what) {
        step(t, name, "wait", NULL, "%s is not known here: the frame waits while the authority is asked", what);
        return end(t, json_pack("{s:s}", "outcome", "asks"));
}

/* Something of a VM that was cut (edge/takeback.c). */
static bool waits(struct trace *t) {
        return end(t, json_pack("{s:s}", "outcome", "waits"));
}

/* ---- ports ---- */

struct found {
        const struct gw_name *id;
        uint32_t ifindex;
        bool found;
        struct gw_edge_port_view view;
        struct gw_edge_attach port;
};

static void match_port(const struct gw_edge_port_view *view, void *user) {
        struct found *f = user;

        if (f->id ? !gw_name_eq(&view->port->id, f->id) : view->port->ifindex != f->ifindex)
                return;
        f->found = true;
        f->view = *view;
        f->port = *view->port;
        f->view.port = &f->port;
}

static bool device_is_well(struct trace *t, const struct found *f, const char *name) {
        struct gw_link link;

        if (!f->view.attached || gw_link_get_index((int)f->port.ifindex, &link))
                return dropped(t, name, GW_COUNT_DROP_NO_PORT, "port %s has no device any more", f->port.id.s);
        if (!link.up || !link.carrier)
                return dropped(t, name, GW_COUNT_DROP_NO_PORT, "port %s: its device %s is %s", f->port.id.s, link.name,
                               link.up ? "without carrier: nobody holds its other end" : "down");
        return true;
}

static bool sending_port(struct trace *t, const struct found *f) {
        struct gw_datapath_port port;

        if (!device_is_well(t, f, "port"))
                return false;
        if (gw_datapath_port_get(t->nve->dp, f->port.ifindex, &port))
                return dropped(t, "port", GW_COUNT_DROP_NO_PORT, "port %s is not in the data plane", f->port.id.s);
        if (port.flags & GW_PORT_RETURNING)
                return dropped(t, "port", GW_COUNT_DROP_FENCED,
                               "port %s: its VM did not arrive; this copy of it says nothing", f->port.id.s);
        if (port.flags & GW_PORT_MOVED) {
                step(t, "port", "wait", NULL,
                     "port %s: its VM was cut over; what it sends waits %d s for the move to be taken back",
                     f->port.id.s, GW_EDGE_HOLD_MS / 1000);
                return waits(t);
        }
        if (f->port.role == GW_EDGE_ARRIVING)
                step(t, "port", "pass", NULL, "port %s on %s; its VM has not arrived yet", f->port.id.s,
                     nve_state_device(t->nve, &f->port.id));
        else
                step(t, "port", "pass", NULL, "port %s on %s, epoch %llu", f->port.id.s,
                     nve_state_device(t->nve, &f->port.id), (unsigned long long)f->port.epoch);
        return true;
}

static bool is_link_local(struct gw_ip ip) {
        return ip.b[0] == 0xfe && (ip.b[1] & 0xc0) == 0x80;
}

/* fe80:: with a modified EUI-64: the MAC is in it (RFC 4291 appendix A). */
static bool mac_of_link_local(struct gw_ip ip, struct gw_mac *out) {
        if (!is_link_local(ip) || ip.b[11] != 0xff || ip.b[12] != 0xfe)
                return false;
        *out = (struct gw_mac){{ip.b[8] ^ 2, ip.b[9], ip.b[10], ip.b[13], ip.b[14], ip.b[15]}};
        return true;
}

static struct gw_ip link_local_of(struct gw_mac mac) {
        return (struct gw_ip){{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac.b[0] ^ 2, mac.b[1], mac.b[2], 0xff, 0xfe, mac.b[3],
                               mac.b[4], mac.b[5]}};
}

/* The address with which the VM would speak to `to`. */
static bool source_address(const struct gw_edge_attach *port, struct gw_ip to, struct gw_ip *out) {
        if (is_link_local(to)) {
                *out = link_local_of(port->mac);
                return true;
        }
        for (size_t i = 0; i < port->n_ips; i++) {
                if (gw_ip_is_v4(port->ips[i]) != gw_ip_is_v4(to) || is_link_local(port->ips[i]))
                        continue;
                *out = port->ips[i];
                return true;
        }
        return false;
}

static bool guard(struct trace *t, const struct found *f, struct gw_ip to, struct gw_ip *source) {
        enum gw_counter counter = gw_ip_is_v4(to) ? GW_COUNT_DROP_GUARD_IPV4 : GW_COUNT_DROP_GUARD_IPV6;
        char text[GW_IP_TEXT];
        struct gw_ip from;

        if (!source_address(&f->port, to, &from))
                return dropped(t, "guard", counter, "port %s has no %s address to speak with", f->port.id.s,
                               gw_ip_is_v4(to) ? "IPv4" : "IPv6");
        if (!gw_datapath_is_allowed(t->nve->dp, f->port.ifindex, from))
                return dropped(t, "guard", counter, "%s may not be used on port %s", gw_ip_text(from, text),
                               f->port.id.s);
        step(t, "guard", "pass", NULL, "%s is this port's own; so is its MAC", gw_ip_text(from, text));
        *source = from;
        return true;
}

/* ---- where to ---- */

static const char *age_text(const struct trace *t, struct gw_edge_source source, char out[static 48]) {
        if (source.since.ns)
                snprintf(out, 48, ", %.1f s old",
                         (double)gw_mono_between(source.since, t->now).ns / (double)GW_NS_PER_MS / 1000);
        else
                out[0] = 0;
        return out;
}

static bool neighbour(struct trace *t, uint32_t vni, struct gw_ip to, struct gw_mac *mac) {
        struct gw_edge_source source = gw_edge_source_of_ip(t->nve->edge, vni, to);
        char ip[GW_IP_TEXT], text[GW_MAC_TEXT], age[48];
        struct gw_forward entry;
        uint8_t flags;

        gw_ip_text(to, ip);
        if (!gw_datapath_neigh_get(t->nve->dp, vni, to, mac, &flags)) {
                if (gw_mac_eq(*mac, GW_GATEWAY_MAC)) {
                        step(t, "neighbour", "pass", NULL, "%s is the virtual gateway, %s; %s for it is answered here",
                             ip, gw_mac_text(*mac, text), gw_ip_is_v4(to) ? "ARP" : "a solicitation");
                        return true;
                }
                step(t, "neighbour", "pass", NULL, "%s is %s (from the %s%s); %s for it is answered here", ip,
                     gw_mac_text(*mac, text), nve_origin_word(source.origin), age_text(t, source, age),
                     gw_ip_is_v4(to) ? "ARP" : "a solicitation");
                return true;
        }
        if (mac_of_link_local(to, mac) && !gw_datapath_fdb_get(t->nve->dp, vni, *mac, &entry)) {
                step(t, "neighbour", "pass", NULL, "%s is made of the MAC %s, which is known", ip,
                     gw_mac_text(*mac, text));
                return true;
        }
        return asks(t, "neighbour", ip);
}

static bool port_by_ifindex(struct trace *t, uint32_t ifindex, struct found *f) {
        *f = (struct found){.ifindex = ifindex};
        gw_edge_each_port(t->nve->edge, match_port, f);
        return f->found;
}

static bool deliver(struct trace *t, uint32_t ifindex) {
        struct found f;

        if (!port_by_ifindex(t, ifindex, &f))
                return dropped(t, "port", GW_COUNT_DROP_NO_PORT, "no port is on the device with index %u", ifindex);
        if (!device_is_well(t, &f, "port"))
                return false;
        if (f.view.held || f.port.role == GW_EDGE_ARRIVING)
                step(t, "port", "wait", NULL, "port %s on %s: the frame waits there until its VM runs", f.port.id.s,
                     nve_state_device(t->nve, &f.port.id));
        else
                step(t, "port", "pass", NULL, "port %s on %s", f.port.id.s, nve_state_device(t->nve, &f.port.id));
        return end(t, json_pack("{s:s, s:s}", "outcome", "delivered", "port", f.port.id.s));
}

static bool send_on(struct trace *t, struct gw_ip locator, bool marked) {
        char to[GW_IP_TEXT], via[GW_IP_TEXT], device[IF_NAMESIZE] = "?";
        struct gw_ip hop;
        uint32_t ifindex;

        gw_ip_text(locator, to);
        if (gw_datapath_next_hop(t->nve->dp, locator, &ifindex, &hop)) {
                if_indextoname(ifindex, device);
                step(t, "underlay", "pass", NULL, "VXLAN to %s%s by %s, next hop %s", to, marked ? ", marked" : "",
                     device, gw_ip_text(hop, via));
        } else {
                step(t, "underlay", "pass", NULL, "VXLAN to %s%s by the host's own routes (%s)", to,
                     marked ? ", marked" : "", t->nve->config.vxlan_device);
        }
        return end(t, json_pack("{s:s, s:o, s:b}", "outcome", "forward", "locator", nve_json_ip(locator), "marked",
                                marked));
}

static const char *entry_text(const struct trace *t, uint32_t vni, struct gw_mac mac, const struct gw_forward *entry,
                              char out[static TEXT_SIZE]) {
        struct gw_edge_source source = gw_edge_source_of_mac(t->nve->edge, vni, mac);
        char text[GW_MAC_TEXT], ip[GW_IP_TEXT], age[48];

        if (gw_mac_eq(mac, GW_GATEWAY_MAC)) {
                snprintf(out, TEXT_SIZE, "%s is %s%s", gw_mac_text(mac, text),
                         entry->kind == GW_FORWARD_GATEWAY ? "routed here" : "the gateway at ",
                         entry->kind == GW_FORWARD_GATEWAY ? "" : gw_ip_text(entry->locator, ip));
                return out;
        }
        snprintf(out, TEXT_SIZE, "%s is %s%s%s, epoch %llu (from %s%s)", gw_mac_text(mac, text),
                 nve_forward_word(entry->kind), entry->kind == GW_FORWARD_LOCAL ? "" : " ",
                 entry->kind == GW_FORWARD_LOCAL ? "" : gw_ip_text(entry->locator, ip),
                 (unsigned long long)entry->epoch, nve_origin_word(source.origin), age_text(t, source, age));
        return out;
}

/* ---- gateways ---- */

static void gateway_text(const struct gw_edge_gateway_view *view, void *user) {
        char *text = user, ip[GW_IP_TEXT];
        size_t at = strlen(text);

        if (at < TEXT_SIZE)
                snprintf(text + at, TEXT_SIZE - at, "%s%s%s costs %u%s%s", at ? "; " : "",
                         gw_ip_text(view->locator, ip), view->used ? ", which is used," : "", view->cost,
                         view->live ? "" : " and is away",
                         view->path == GW_EDGE_PATH_LOST   ? " and does not answer"
                         : view->path == GW_EDGE_PATH_HELD ? " and has begun to answer again"
                                                           : "");
}

/* Which one this edge uses, and what it had to choose from. */
static void gateway(struct trace *t, uint32_t vni) {
        struct gw_ip used = gw_edge_gateway_of(t->nve->edge, vni);
        char text[TEXT_SIZE] = "";

        gw_edge_each_gateway(t->nve->edge, vni, gateway_text, text);
        if (gw_ip_eq(used, t->nve->config.locator))
                step(t, "gateway", "pass", NULL, "this host is a gateway itself");
        else if (gw_ip_is_unspecified(used))
                step(t, "gateway", "wait", NULL, "this edge knows no gateway for VNI %u", vni);
        else
                step(t, "gateway", "pass", NULL, "%s", text);
}

static bool is_routable(struct gw_ip ip) {
        if (gw_ip_is_v4(ip))
                return ip.b[12] && ip.b[12] != 127 && ip.b[12] < 224 && !(ip.b[12] == 169 && ip.b[13] == 254);
        return (ip.b[0] & 0xe0) == 0x20 || (ip.b[0] & 0xfe) == 0xfc;
}

static void route_size(struct trace *t, uint32_t mtu) {
        step(t, "size", "pass", NULL, "packets of up to %u octets pass; the sender of a larger one is told", mtu);
}

static bool route_outside(struct trace *t) {
        char device[IF_NAMESIZE] = "?";
        uint32_t mtu, ifindex;

        if (!gw_datapath_routed_get(t->nve->dp, GW_EDGE_OUTSIDE, &mtu, &ifindex) || !ifindex)
                return dropped(t, "outside", GW_COUNT_DROP_GATEWAY_OUTSIDE, "this gateway has no outside-device");
        if_indextoname(ifindex, device);
        route_size(t, mtu);
        step(t, "outside", "pass", NULL, "leaves by %s, with this host's own routes", device);
        return end(t, json_pack("{s:s, s:s}", "outcome", "outside", "device", device));
}

static bool route_to_vn(struct trace *t, uint32_t vni, struct gw_ip to, struct gw_mac *mac) {
        struct gw_forward entry;
        char text[TEXT_SIZE];

        if (!neighbour(t, vni, to, mac))
                return false;
        if (gw_datapath_fdb_get(t->nve->dp, vni, *mac, &entry))
                return asks(t, "forwarding", gw_mac_text(*mac, text));
        step(t, "forwarding", entry.flags & GW_FORWARD_PUNT ? "wait" : "pass", NULL, "%s%s",
             entry_text(t, vni, *mac, &entry, text),
             entry.flags & GW_FORWARD_PUNT ? "; frames that waited go first" : "");
        if (entry.kind == GW_FORWARD_GATEWAY)
                return dropped(t, "forwarding", GW_COUNT_DROP_LOOP, "the gateway itself owns no address of a VM");
        return entry.kind == GW_FORWARD_LOCAL ? deliver(t, entry.ifindex) : send_on(t, entry.locator, false);
}

/* As gateway_route() of gateway.h, in its order. */
static bool route(struct trace *t, uint32_t vni, struct gw_ip from, struct gw_ip to) {
        char source[GW_IP_TEXT], target[GW_IP_TEXT];
        struct gw_mac mac = {{0}};
        struct gw_way own, way;
        uint32_t mtu, ifindex;

        gw_ip_text(from, source);
        gw_ip_text(to, target);
        if (!is_routable(from) || !is_routable(to))
                return dropped(t, "source", GW_COUNT_DROP_GATEWAY_PROTOCOL,
                               "%s or %s is good on its own link only, or no host's", source, target);
        if (!gw_datapath_route_get(t->nve->dp, vni, from, &own) || !(own.flags & GW_ROUTE_OWN))
                return dropped(t, "source", GW_COUNT_DROP_GATEWAY_SOURCE, "%s is in no subnet of VNI %u", source, vni);
        step(t, "source", "pass", NULL, "%s is in a subnet of VNI %u", source, vni);
        if (!gw_datapath_route_get(t->nve->dp, vni, to, &way))
                return dropped_as(t, "way", gw_edge_counter_names[GW_EDGE_C_GATEWAY_PROHIBITED],
                                  "no policy leads from VNI %u to %s: the sender is told that it is prohibited", vni,
                                  target);
        if (way.flags & GW_ROUTE_SELF) {
                step(t, "way", "pass", NULL, "%s is the gateway's own: an echo is answered here", target);
                return end(t, json_pack("{s:s}", "outcome", "answered"));
        }
        if (way.flags & GW_ROUTE_OUTSIDE) {
                step(t, "way", "pass", NULL, "a policy leads from VNI %u to the outside", vni);
                return route_outside(t);
        }
        step(t, "way", "pass", NULL, "%s is in a subnet of VNI %u, where VNI %u may go", target, way.vni, vni);
        if (!gw_datapath_routed_get(t->nve->dp, way.vni, &mtu, &ifindex))
                return dropped_as(t, "way", gw_edge_counter_names[GW_EDGE_C_GATEWAY_UNANSWERED],
                                  "VNI %u is not routed here: it has no gateway address", way.vni);
        route_size(t, mtu);
        route_to_vn(t, way.vni, to, &mac);
        json_object_set_new(t->end, "vni", json_integer(way.vni));
        json_object_set_new(t->end, "source_mac", nve_json_mac(GW_GATEWAY_MAC));
        if (!gw_mac_eq(mac, (struct gw_mac){{0}}))
                json_object_set_new(t->end, "mac", nve_json_mac(mac));
        return false;
}

/* ---- from a port ---- */

static bool forward_out(struct trace *t, const struct found *f, struct gw_mac mac, struct gw_ip from, struct gw_ip to) {
        struct gw_forward entry;
        char text[TEXT_SIZE];

        if (gw_datapath_fdb_get(t->nve->dp, f->port.vni, mac, &entry))
                return asks(t, "forwarding", gw_mac_text(mac, text));
        step(t, "forwarding", entry.flags & GW_FORWARD_PUNT ? "wait" : "pass", NULL, "%s%s",
             entry_text(t, f->port.vni, mac, &entry, text),
             entry.flags & GW_FORWARD_PUNT ? "; frames that waited go first" : "");
        if (entry.kind == GW_FORWARD_GATEWAY)
                return route(t, f->port.vni, from, to);
        if (entry.kind != GW_FORWARD_LOCAL)
                return send_on(t, entry.locator, false);
        if (entry.ifindex == f->port.ifindex)
                return dropped(t, "forwarding", GW_COUNT_DROP_SELF, "that is the port itself");
        return deliver(t, entry.ifindex);
}

static int trace_out(struct trace *t, struct gw_json_reader *r, struct gw_error *error) {
        struct gw_name id = {""};
        struct found f = {.id = &id};
        struct gw_ip to = {{0}}, via, from;
        struct gw_mac mac;
        bool known;

        gw_json_id(r, "port", GW_JSON_NEEDED, &id);
        gw_json_ip(r, "to", GW_JSON_NEEDED, &to);
        known = gw_json_mac(r, "mac", GW_JSON_OPTIONAL, &mac);
        if (!gw_json_ip(r, "via", GW_JSON_OPTIONAL, &via))
                via = to;
        if (gw_json_done(r))
                return error->code;
        gw_edge_each_port(t->nve->edge, match_port, &f);
        if (!f.found)
                return gw_fail(error, GW_E_NOT_FOUND, "port", "this edge has no port %s", id.s);
        if (!sending_port(t, &f) || !guard(t, &f, to, &from) || (!known && !neighbour(t, f.port.vni, via, &mac)))
                return 0;
        step(t, "size", "pass", NULL, "packets of up to %u octets pass; a sender of larger ones is told", f.port.mtu);
        if (gw_mac_eq(mac, GW_GATEWAY_MAC))
                gateway(t, f.port.vni);
        forward_out(t, &f, mac, from, to);
        if (!json_object_get(t->end, "mac"))
                json_object_set_new(t->end, "mac", nve_json_mac(mac));
        json_object_set_new(t->end, "from", nve_json_ip(from));
        return 0;
}

/* ---- from the wire ---- */

struct arrival {
        uint32_t vni;
        struct gw_mac mac, source;
        struct gw_ip sender, from, to; /* from, to: of the packet; :: when not said */
        bool marked;
};

static bool sender(struct trace *t, const struct arrival *a) {
        char ip[GW_IP_TEXT], mac[GW_MAC_TEXT];
        struct gw_forward entry;
        uint32_t flags;

        gw_ip_text(a->sender, ip);
        if (!gw_datapath_is_member(t->nve->dp, a->vni, a->sender, &flags))
                return dropped(t, "sender", GW_COUNT_DROP_BAD_SENDER, "%s is no member of VNI %u here", ip, a->vni);
        if (gw_mac_eq(a->source, GW_GATEWAY_MAC)) {
                if (!(flags & GW_MEMBER_GATEWAY) && !a->marked)
                        return dropped(t, "sender", GW_COUNT_DROP_GATEWAY_SENDER,
                                       "%s sends as the gateway of VNI %u, and is none", ip, a->vni);
                step(t, "sender", "pass", NULL, "%s is a %s of VNI %u", ip,
                     flags & GW_MEMBER_GATEWAY ? "gateway" : "member", a->vni);
                return true;
        }
        if (gw_datapath_fdb_get(t->nve->dp, a->vni, a->source, &entry) || a->marked) {
                step(t, "sender", "pass", NULL, "%s is a member of VNI %u", ip, a->vni);
                return true;
        }
        gw_mac_text(a->source, mac);
        if (entry.kind == GW_FORWARD_LOCAL)
                return dropped(t, "sender", GW_COUNT_DROP_SOURCE_LOCAL, "the frame's source %s is a port here", mac);
        if (entry.kind == GW_FORWARD_REMOTE && !gw_ip_eq(entry.locator, a->sender))
                step(t, "sender", "pass", gw_counter_name(GW_COUNT_SOURCE_ELSEWHERE),
                     "%s is a member of VNI %u, but %s is believed to be elsewhere", ip, a->vni, mac);
        else
                step(t, "sender", "pass", NULL, "%s is a member of VNI %u, and %s is there", ip, a->vni, mac);
        return true;
}

struct cut {
        const struct arrival *of;
        bool waits;
};

static void match_cut(const struct gw_edge_port_view *view, void *user) {
        struct cut *cut = user;

        if (view->port->vni == cut->of->vni && gw_mac_eq(view->port->mac, cut->of->mac))
                cut->waits = view->attached && view->port->role == GW_EDGE_MOVED;
}

/* From where its VM was cut over to: that is rid of it. */
static bool comes_back(struct trace *t, const struct arrival *a, const char *entry) {
        struct cut cut = {.of = a};

        gw_edge_each_port(t->nve->edge, match_cut, &cut);
        if (!cut.waits)
                return dropped_as(t, "forwarding", gw_edge_counter_names[GW_EDGE_C_BACK_DROPPED],
                                  "%s; it comes from there, and the VM is not taken back here any more", entry);
        step(t, "forwarding", "wait", NULL, "%s; it comes from there, and waits for the move to be taken back", entry);
        return waits(t);
}

static bool forward_in(struct trace *t, const struct arrival *a) {
        struct gw_forward entry;
        char text[TEXT_SIZE];

        if (gw_datapath_fdb_get(t->nve->dp, a->vni, a->mac, &entry))
                return asks(t, "forwarding", gw_mac_text(a->mac, text));
        entry_text(t, a->vni, a->mac, &entry, text);
        if (entry.kind == GW_FORWARD_LOCAL || entry.kind == GW_FORWARD_ARRIVING) {
                step(t, "forwarding", "pass", NULL, "%s", text);
                return deliver(t, entry.ifindex);
        }
        if (entry.kind == GW_FORWARD_GATEWAY) {
                step(t, "forwarding", "pass", NULL, "%s", text);
                return route(t, a->vni, a->from, a->to);
        }
        if (a->marked && entry.kind == GW_FORWARD_MOVED && gw_ip_eq(entry.locator, a->sender))
                return comes_back(t, a, text);
        if (a->marked)
                return dropped(t, "forwarding", GW_COUNT_DROP_LOOP,
                               "%s; the frame was redirected once already, and is not again", text);
        step(t, "forwarding", "redirect", gw_counter_name(GW_COUNT_REDIRECTED),
             "%s; the sender is behind and will be told", text);
        return send_on(t, entry.locator, true);
}

static int trace_in(struct trace *t, struct gw_json_reader *r, struct gw_error *error) {
        struct arrival a = {0};

        a.vni = (uint32_t)gw_json_int(r, "vni", 1, GW_VNI_MAX, GW_JSON_REQUIRED);
        gw_json_mac(r, "mac", GW_JSON_NEEDED, &a.mac);
        gw_json_mac(r, "source_mac", GW_JSON_NEEDED, &a.source);
        gw_json_ip(r, "sender", GW_JSON_NEEDED, &a.sender);
        a.marked = gw_json_bool(r, "marked", false);
        gw_json_ip(r, "from", GW_JSON_OPTIONAL, &a.from);
        gw_json_ip(r, "to", GW_JSON_OPTIONAL, &a.to);
        if (gw_json_done(r))
                return error->code;
        if (sender(t, &a))
                forward_in(t, &a);
        return 0;
}

void nve_trace(struct gw_request *request, void *user) {
        struct trace t = {.nve = user, .steps = json_array(), .now = gw_mono_now()};
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);
        int code = json_object_get(gw_request_body(request), "port") ? trace_out(&t, &r, &error)
                                                                     : trace_in(&t, &r, &error);

        if (code) {
                json_decref(t.steps);
                json_decref(t.end);
                gw_request_fail(request, &error);
                return;
        }
        json_object_set_new(t.end, "steps", t.steps);
        gw_request_answer(request, 200, t.end);
}
