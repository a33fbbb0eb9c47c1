/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /v1/trace?vm=VM&to=ADDRESS[&port=INDEX]: what would become of a packet, hop by hop.
 *
 * Each edge on the way is asked what it would do with the frame now (the edges'
 * POST /v1/trace), beginning at the VM's; the answer names the next one. The
 * authority adds what only it knows: whose the address is, which policy leads to
 * its VN, between which gateways there was a choice, and what it would answer to
 * an edge that has to ask.
 *
 * A gateway is an edge like the others, but what leaves it is in another VN, and
 * from the gateway's MAC: its answer says so (on_answer).
 *
 * Edges are asked one after the other, so on a network that changes in between the
 * hops may be of different instants; HOPS_MAX ends what then goes in circles.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "directory/gateway.h"
#include "nva/api.h"
#include "nva/json.h"

enum { HOPS_MAX = 8, CALL_S = 10, REASON_SIZE = 512 };

struct trace {
        struct nva *nva;
        struct gw_request *request;
        struct gw_name vm, nve; /* .nve: the edge that is being asked */
        uint32_t vni;
        unsigned index; /* of the VM's port */
        struct gw_ip to, sender;
        struct gw_ip from, via;    /* .from: the packet's source, from the first edge's answer on; .via: its next hop */
        struct gw_mac source, mac; /* of the frame; .mac is known from the first edge's answer on */
        bool outwards, mac_known, marked;
        unsigned hops;
        json_t *list;
};

static void trace_next(struct trace *t);

static struct gw_port *port_of(const struct trace *t) {
        struct gw_vm *vm = gw_directory_vm(&t->nva->directory, t->vm.s);
        struct gw_port *port = vm ? gw_vm_ports(vm) : NULL;

        while (port && port->index != t->index)
                port = gw_port_next(port);
        return port;
}

static void finish(struct trace *t, const char *outcome, const char *text) {
        char to[GW_IP_TEXT];
        const struct gw_port *port = port_of(t);

        gw_request_answer(t->request, 200,
                          json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "vm", t->vm.s, "port",
                                    port ? gw_port_id(port).s : "", "vn", port ? gw_port_vn(port)->id.s : "", "to",
                                    gw_ip_text(t->to, to), "outcome", outcome, "text", text, "hops", t->list));
        json_decref(t->list);
        nva_call_free(t);
}

static void hop(struct trace *t, const char *nve, json_t *steps) {
        json_array_append_new(t->list, json_pack("{s:s, s:o}", "nve", nve, "steps", steps));
}

static void own_step(struct trace *t, const char *name, const char *verdict, const char *text) {
        hop(t, "", json_pack("[{s:s, s:s, s:s}]", "step", name, "verdict", verdict, "text", text));
}

/* --- what the authority knows --- */

static bool is_gateway_address(const struct gw_port *port, struct gw_ip ip) {
        for (unsigned i = 0; port && i < gw_port_vn(port)->settings.n_gateways; i++)
                if (gw_ip_eq(gw_port_vn(port)->settings.gateways[i], ip))
                        return true;
        return false;
}

static void say_whose(struct trace *t) {
        const struct gw_port *port = gw_directory_port_by_ip(&t->nva->directory, t->vni, t->to);
        char ip[GW_IP_TEXT], text[REASON_SIZE];

        gw_ip_text(t->to, ip);
        if (is_gateway_address(port_of(t), t->to))
                return own_step(t, "authority", "pass", "it is an address of the VN's gateway");
        if (!port)
                snprintf(text, sizeof text, "%s belongs to no port of this VN", ip);
        else if (!gw_vm_nve(gw_port_vm(port)))
                snprintf(text, sizeof text, "%s belongs to %s, which is nowhere", ip, gw_port_id(port).s);
        else
                snprintf(text, sizeof text, "%s belongs to %s at %s (%s)", ip, gw_port_id(port).s,
                         gw_vm_nve(gw_port_vm(port))->id.s, gw_binding_state_word(gw_port_vm(port)->binding.state));
        own_step(t, "authority", port ? "pass" : "unknown", text);
}

/* An edge would ask. Its question is answered here, and the trace goes on with the answer. */
static void answer_question(struct trace *t) {
        const struct gw_directory *d = &t->nva->directory;
        const struct gw_port *port =
                t->mac_known ? gw_directory_port_by_mac(d, t->vni, t->mac) : gw_directory_port_by_ip(d, t->vni, t->to);
        struct gw_mapping mapping;
        char text[REASON_SIZE], mac[GW_MAC_TEXT], ip[GW_IP_TEXT];

        if (port)
                gw_directory_mapping(port, &mapping);
        if (!port || mapping.state != GW_MAPPING_SERVING) {
                snprintf(text, sizeof text, "the answer is no: %s%s",
                         port ? gw_vm_name(gw_port_vm(port)).s : "nobody has it", port ? " is not reachable now" : "");
                own_step(t, "authority", "drop", text);
                return finish(t, "dropped", text);
        }
        snprintf(text, sizeof text, "the answer is %s at %s (%s)", gw_mac_text(mapping.mac, mac),
                 gw_ip_text(mapping.locator, ip), gw_vm_nve(gw_port_vm(port))->id.s);
        own_step(t, "authority", "pass", text);
        t->mac = mapping.mac;
        t->mac_known = true;
        if (gw_vm_nve(gw_port_vm(port)) == gw_directory_nve(d, t->nve.s))
                return finish(t, "waits", "the authority says that it is at the edge that asks");
        t->sender = gw_directory_nve(d, t->nve.s)->locator;
        t->nve = gw_vm_nve(gw_port_vm(port))->id;
        t->outwards = false;
        trace_next(t);
}

/* --- beyond the VN's subnets --- */

static bool say_policy(struct trace *t, const struct gw_vn *vn) {
        const struct gw_vn *to;
        const struct gw_policy *policy = gw_directory_way(&t->nva->directory, vn, t->to, &to);
        const struct gw_port *port = to ? gw_directory_port_by_ip(&t->nva->directory, to->vni, t->to) : NULL;
        const struct gw_nve *nve = port ? gw_vm_nve(gw_port_vm(port)) : NULL;
        char text[REASON_SIZE], ip[GW_IP_TEXT];

        gw_ip_text(t->to, ip);
        if (!gw_directory_vn_is_routed(vn))
                snprintf(text, sizeof text, "it is in no subnet of %s, and %s", vn->id.s,
                         vn->settings.n_gateways ? "no policy lets packets leave the VN"
                                                 : "the VN has no gateway address");
        else if (!policy)
                snprintf(text, sizeof text, "no policy lets packets of %s reach %s", vn->id.s, ip);
        else if (!to)
                snprintf(text, sizeof text, "policy %s: %s may reach the outside%s", policy->name.s, vn->id.s,
                         policy->one_way ? ", and nothing comes back" : "");
        else
                snprintf(text, sizeof text, "policy %s: %s may reach %s%s; %s belongs to %s%s%s", policy->name.s,
                         vn->id.s, to->id.s, policy->one_way ? ", and nothing comes back" : "", ip,
                         port ? gw_port_id(port).s : "no port there", nve ? " at " : "", nve ? nve->id.s : "");
        own_step(t, "policy", policy ? "pass" : "drop", text);
        if (gw_directory_vn_is_routed(vn))
                return true;
        finish(t, "dropped", text);
        return false;
}

static void say_gateways(struct trace *t, const struct gw_vn *vn) {
        const struct gw_nve *nve = gw_directory_nve(&t->nva->directory, t->nve.s), *g = NULL;
        const struct gw_nve *used = gw_directory_gateway_of(vn, nve);
        char text[REASON_SIZE];
        size_t at = (size_t)snprintf(text, sizeof text, "%.64s %s%.64s", nve->id.s,
                                     used == nve ? "is a gateway itself"
                                     : used      ? "takes "
                                                 : "finds no gateway that lives",
                                     used && used != nve ? used->id.s : "");

        while (used != nve && at < sizeof text && (g = gw_directory_nve_after(&t->nva->directory, g ? g->id.s : NULL)))
                if (g->gateway && g != nve)
                        at += (size_t)snprintf(
                                text + at, sizeof text - at, "%s %.64s %s %u%s%s", g == used ? ":" : ";", g->id.s,
                                !gw_directory_gateway_lives(g)          ? "is away, and costs"
                                : !gw_directory_gateway_answers(g, nve) ? "does not answer it, and costs"
                                : !gw_directory_gateway_serves(&t->nva->directory, vn, g)
                                        ? "is not told everything yet, and costs"
                                        : "costs",
                                gw_directory_gateway_cost(vn, g, nve),
                                gw_name_eq(&g->site, &nve->site) ? "" : " from another site",
                                gw_name_eq(&vn->gateway_pin, &g->id) ? ", and the VN is pinned to it" : "");
        own_step(t, "gateway", used ? "pass" : "unknown", text);
}

/* Where a default route of the VM leads to: the VN's gateway in the same family. */
static bool find_via(struct trace *t, const struct gw_vn *vn) {
        static const struct gw_ip link_local = {{0xfe, 0x80, [10] = 0x67, 0x77, 0xff, 0xfe, 0, 1}};
        char text[REASON_SIZE];

        for (unsigned i = 0; i < vn->settings.n_gateways; i++)
                if (gw_ip_is_v4(vn->settings.gateways[i]) == gw_ip_is_v4(t->to)) {
                        t->via = vn->settings.gateways[i];
                        return true;
                }
        if (!gw_ip_is_v4(t->to)) {
                t->via = link_local;
                return true;
        }
        snprintf(text, sizeof text, "%s has no gateway with an IPv4 address", vn->id.s);
        own_step(t, "gateway", "drop", text);
        finish(t, "dropped", text);
        return false;
}

static void begin_beyond(struct trace *t, const struct gw_vn *vn) {
        if (!say_policy(t, vn) || !find_via(t, vn))
                return;
        say_gateways(t, vn);
        trace_next(t);
}

/* --- the edges' answers --- */

static void delivered(struct trace *t, const char *port) {
        const struct gw_port *owner = gw_directory_port_by_ip(&t->nva->directory, t->vni, t->to);
        struct gw_name id = {""};
        char text[REASON_SIZE];

        if (owner)
                id = gw_port_id(owner);
        if (owner && strcmp(id.s, port) != 0) {
                snprintf(text, sizeof text, "delivered to %s, but the address belongs to %s", port, id.s);
                return finish(t, "misdelivered", text);
        }
        snprintf(text, sizeof text, "delivered to %s at %s", port, t->nve.s);
        finish(t, "delivered", text);
}

static void ended_at_gateway(struct trace *t, const char *outcome, const char *device) {
        char text[REASON_SIZE];

        if (!strcmp(outcome, "outside"))
                snprintf(text, sizeof text, "leaves by %.32s of the gateway %s", device, t->nve.s);
        else
                snprintf(text, sizeof text, "answered by the gateway %s", t->nve.s);
        finish(t, outcome, text);
}

/* What was routed there goes on in another VN, and as the gateway's. */
static void read_frame(struct trace *t, const json_t *body) {
        const json_t *vni = json_object_get(body, "vni");

        if (t->outwards)
                gw_ip_parse(nva_json_text(body, "from"), &t->from);
        if (vni) {
                t->vni = (uint32_t)json_integer_value(vni);
                t->mac_known = false;
        }
        gw_mac_parse(nva_json_text(body, "source_mac"), &t->source);
        if (!gw_mac_parse(nva_json_text(body, "mac"), &t->mac))
                t->mac_known = true;
}

static void forward(struct trace *t, const json_t *body) {
        const struct gw_nve *from = gw_directory_nve(&t->nva->directory, t->nve.s), *to;
        char text[REASON_SIZE];
        struct gw_ip locator;

        if (gw_ip_parse(nva_json_text(body, "locator"), &locator) ||
            !(to = gw_directory_nve_by_locator(&t->nva->directory, locator))) {
                snprintf(text, sizeof text, "it is sent to %.46s, which is no NVE's locator",
                         nva_json_text(body, "locator"));
                return finish(t, "lost", text);
        }
        t->sender = from->locator;
        t->nve = to->id;
        t->outwards = false;
        t->marked = json_is_true(json_object_get(body, "marked"));
        trace_next(t);
}

static void on_answer(int status, json_t *body, void *user) {
        struct trace *t = user;
        const char *outcome = nva_json_text(body, "outcome");
        struct gw_error error = {0};
        char text[REASON_SIZE];

        if (gw_api_error(status, body, &error) || !gw_directory_nve(&t->nva->directory, t->nve.s)) {
                snprintf(text, sizeof text, "%s does not say what it would do: %.120s", t->nve.s,
                         error.text[0] ? error.text : "no answer");
                gw_text_mend(text);
                return finish(t, "unknown", text);
        }
        hop(t, t->nve.s, json_incref(json_object_get(body, "steps")));
        read_frame(t, body);
        if (!strcmp(outcome, "outside") || !strcmp(outcome, "answered"))
                return ended_at_gateway(t, outcome, nva_json_text(body, "device"));
        if (!strcmp(outcome, "delivered"))
                return delivered(t, nva_json_text(body, "port"));
        if (!strcmp(outcome, "forward"))
                return forward(t, body);
        if (!strcmp(outcome, "asks"))
                return answer_question(t);
        if (!strcmp(outcome, "waits")) {
                snprintf(text, sizeof text, "waits at %s until a move is taken back, or has ended", t->nve.s);
                return finish(t, outcome, text);
        }
        snprintf(text, sizeof text, "dropped at %s, counted as %.64s", t->nve.s, nva_json_text(body, "counter"));
        finish(t, "dropped", text);
}

static json_t *question(const struct trace *t) {
        char to[GW_IP_TEXT], via[GW_IP_TEXT], mac[GW_MAC_TEXT], source[GW_MAC_TEXT];
        const struct gw_port *port = port_of(t);
        char sender[GW_IP_TEXT], from[GW_IP_TEXT];
        json_t *body;

        gw_ip_text(t->to, to);
        if (t->outwards) {
                body = json_pack("{s:s, s:s}", "port", port ? gw_port_id(port).s : "", "to", to);
                if (!gw_ip_eq(t->via, t->to))
                        json_object_set_new(body, "via", json_string(gw_ip_text(t->via, via)));
                return body;
        }
        body = json_pack("{s:I, s:s, s:s, s:s, s:b}", "vni", (json_int_t)t->vni, "mac", gw_mac_text(t->mac, mac),
                         "source_mac", gw_mac_text(t->source, source), "sender", gw_ip_text(t->sender, sender),
                         "marked", t->marked);
        if (gw_mac_eq(t->mac, GW_GATEWAY_MAC)) {
                json_object_set_new(body, "from", json_string(gw_ip_text(t->from, from)));
                json_object_set_new(body, "to", json_string(to));
        }
        return body;
}

static void trace_next(struct trace *t) {
        const struct gw_nve *nve = gw_directory_nve(&t->nva->directory, t->nve.s);
        char text[REASON_SIZE];

        if (t->hops++ == HOPS_MAX)
                return finish(t, "unknown", "more hops than a frame can take; the network changes too fast to follow");
        if (!nve || !nve->nve_session) {
                snprintf(text, sizeof text, "%s is not connected; what it would do is not known", t->nve.s);
                return finish(t, "unknown", text);
        }
        gw_call(nve->nve_session, "POST", "/v1/trace", question(t), gw_s(CALL_S), on_answer, t);
}

/* --- the request --- */

static bool in_subnet(const struct gw_vn *vn, struct gw_ip ip) {
        for (unsigned i = 0; i < vn->n_subnets; i++)
                if (gw_prefix_contains(&vn->subnets[i], ip))
                        return true;
        return false;
}

static bool is_link_local(struct gw_ip ip) {
        return ip.b[0] == 0xfe && (ip.b[1] & 0xc0) == 0x80;
}

/* The one wanted, else the one whose VN has the address, else the first. */
static const struct gw_port *choose_port(const struct gw_vm *vm, const char *wanted, struct gw_ip to) {
        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                if (wanted ? (unsigned long)port->index == strtoul(wanted, NULL, 10) : in_subnet(gw_port_vn(port), to))
                        return port;
        return wanted ? NULL : gw_vm_ports(vm);
}

static int read_request(struct nva *nva, const struct gw_request *request, struct gw_vm **vm,
                        const struct gw_port **port, struct gw_ip *to, struct gw_error *error) {
        const char *id = gw_request_query(request, "vm"), *address = gw_request_query(request, "to"),
                   *index = gw_request_query(request, "port");
        struct gw_name name;

        if (!id || gw_id_parse(id, &name))
                return gw_fail(error, GW_E_INVALID, "vm", "vm is \"%.64s\"; the id of a VM is needed", id ? id : "");
        if (!address || gw_ip_parse(address, to))
                return gw_fail(error, GW_E_INVALID, "to", "to is \"%.64s\"; an IPv4 or IPv6 address is needed",
                               address ? address : "");
        *vm = gw_directory_vm(&nva->directory, name.s);
        if (!*vm)
                return gw_fail(error, GW_E_NOT_FOUND, "vm", "there is no VM \"%s\"; `godwit vm list` shows them",
                               name.s);
        *port = choose_port(*vm, index, *to);
        if (!*port)
                return gw_fail(error, GW_E_NOT_FOUND, "port", "%s has no port %.16s", name.s, index ? index : "");
        if (!gw_vm_nve((*vm)))
                return gw_fail(error, GW_E_CONFLICT, "vm", "%s is nowhere; start it first", name.s);
        return 0;
}

void api_trace(struct gw_request *request, void *user) {
        struct nva *nva = user;
        const struct gw_port *port = NULL;
        struct gw_error error = {0};
        struct trace *t = NULL;
        struct gw_vm *vm = NULL;
        struct gw_ip to;

        if (!read_request(nva, request, &vm, &port, &to, &error) && !(t = nva_call_new(nva, sizeof *t)))
                gw_fail(&error, -ENOMEM, "", "out of memory");
        if (!t || !vm || !port)
                return gw_request_fail(request, &error);
        *t = (struct trace){.nva = nva,
                            .request = request,
                            .vm = gw_vm_name(vm),
                            .nve = gw_vm_nve(vm)->id,
                            .vni = gw_port_vn(port)->vni,
                            .index = port->index,
                            .to = to,
                            .via = to,
                            .source = port->mac,
                            .outwards = true,
                            .list = json_array()};
        if (!in_subnet(gw_port_vn(port), to) && !is_link_local(to))
                return begin_beyond(t, gw_port_vn(port));
        say_whose(t);
        trace_next(t);
}
