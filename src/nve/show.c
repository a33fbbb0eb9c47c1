/* SPDX-License-Identifier: Apache-2.0 */
/* What the NVE holds, as JSON: ports, members, counters, status. Forwarding entries and neighbours are in caches.c. Looking
 * changes nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "io/renew.h"
#include "nve/lists.h"
#include "nve/nve.h"

static const char *const role_words[] = {
        [GW_EDGE_SERVING] = "serving", [GW_EDGE_ARRIVING] = "arriving", [GW_EDGE_MOVED] = "moved"};
static const char *const registration_words[] = {[GW_EDGE_REG_NONE] = "none",
                                                 [GW_EDGE_REG_PENDING] = "pending",
                                                 [GW_EDGE_REG_ACCEPTED] = "accepted",
                                                 [GW_EDGE_REG_REFUSED] = "refused"};

json_t *nve_json_ip(struct gw_ip ip) {
        char text[GW_IP_TEXT];

        return gw_ip_is_unspecified(ip) ? json_null() : json_string(gw_ip_text(ip, text));
}

json_t *nve_json_mac(struct gw_mac mac) {
        char text[GW_MAC_TEXT];

        return json_string(gw_mac_text(mac, text));
}

const char *nve_forward_word(uint8_t kind) {
        static const char *const words[] = {[GW_FORWARD_LOCAL] = "local",
                                            [GW_FORWARD_REMOTE] = "remote",
                                            [GW_FORWARD_MOVED] = "moved",
                                            [GW_FORWARD_ARRIVING] = "arriving",
                                            [GW_FORWARD_GATEWAY] = "gateway"};

        return kind >= GW_FORWARD_LOCAL && kind <= GW_FORWARD_GATEWAY ? words[kind] : "?";
}

const char *nve_origin_word(uint8_t origin) {
        static const char *const words[] = {[GW_EDGE_ORIGIN_NONE] = "nobody",
                                            [GW_EDGE_ORIGIN_PORT] = "port",
                                            [GW_EDGE_ORIGIN_AUTHORITY] = "authority",
                                            [GW_EDGE_ORIGIN_KEPT] = "kept"};

        return words[origin];
}

struct port_list {
        struct nve *nve;
        const char *vm; /* of one VM; NULL: all */
        struct nve_names names;
        struct nve_page page;
};

static void name_port(const struct gw_edge_port_view *view, void *user) {
        struct port_list *ports = user;

        if (!ports->vm || strcmp(view->port->vm.s, ports->vm) == 0)
                nve_names_add(&ports->names, view->port->id.s);
}

static void show_port(const struct gw_edge_port_view *view, void *user) {
        struct port_list *ports = user;
        const struct gw_edge_attach *port = view->port;
        json_t *ips, *shown;

        if (!nve_names_has(&ports->names, port->id.s))
                return;
        ips = json_array();
        for (size_t i = 0; i < port->n_ips; i++)
                json_array_append_new(ips, nve_json_ip(port->ips[i]));
        shown = json_pack("{s:s, s:s, s:I, s:o, s:o, s:i, s:s, s:b, s:s, s:I, s:o, s:b, s:I, s:I, s:s, s:i}", "id",
                          port->id.s, "vm", port->vm.s, "vni", (json_int_t)port->vni, "mac", nve_json_mac(port->mac),
                          "addresses", ips, "mtu", (int)port->mtu, "device", nve_state_device(ports->nve, &port->id),
                          "attached", view->attached, "role", view->returning ? "returning" : role_words[port->role],
                          "epoch", (json_int_t)port->epoch, "peer", nve_json_ip(port->peer), "hold", view->held,
                          "held_frames", (json_int_t)view->held_frames, "redirected", (json_int_t)view->redirected,
                          "registration", registration_words[view->registration], "status", (int)view->status);
        json_object_set_new(shown, "silent", json_boolean(view->silent));
        json_object_set_new(shown, "still", json_boolean(view->still));
        if (view->heard.ns)
                json_object_set_new(shown, "heard_ms_ago",
                                    json_integer((json_int_t)((nve_now().mono.ns - view->heard.ns) / GW_NS_PER_MS)));
        nve_rules_write(shown, port);
        json_object_set_new(shown, "limits_in_force", nve_rules_in_force(ports->nve, port));
        json_object_set_new(shown, "snooped", json_boolean(view->snooped));
        json_object_set_new(shown, "groups", json_integer((json_int_t)view->n_groups));
        nve_names_put(&ports->names, &ports->page, port->id.s, shown);
}

void nve_show_ports(struct gw_request *request, void *user) {
        struct port_list ports = {.nve = user, .vm = gw_request_query(request, "vm")};
        bool more;

        if (!nve_page_begin(&ports.page, request))
                return;
        ports.names.after = ports.page.after;
        gw_edge_each_port(ports.nve->edge, name_port, &ports);
        more = nve_names_choose(&ports.names, &ports.page);
        gw_edge_each_port(ports.nve->edge, show_port, &ports);
        nve_names_answer(&ports.names, &ports.page, request, "ports", more);
}

enum { MEMBERS_AT_ONCE = 8192 }; /* in one answer, but for a VN that has more */

struct vn_list {
        struct nve_names names;
        struct nve_page page;
        size_t members[NVE_PAGE_ITEMS_MAX]; /* of those chosen */
};

/* VNIs are ordered as their names are. */
static struct gw_name name_of_vni(uint32_t vni) {
        struct gw_name name;

        snprintf(name.s, sizeof name.s, "%08u", vni);
        return name;
}

static void name_vn(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user) {
        (void)ports, (void)members, (void)n;
        nve_names_add(&((struct vn_list *)user)->names, name_of_vni(vni).s);
}

static void count_vn(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user) {
        struct vn_list *vns = user;
        size_t place = nve_names_place(&vns->names, name_of_vni(vni).s);

        (void)ports, (void)members;
        if (place < NVE_PAGE_ITEMS_MAX)
                vns->members[place] = n;
}

/* As many VNs as have few enough members together. True: not all. */
static bool cut_vns(struct vn_list *vns) {
        size_t n = 0, members = 0;

        while (n < vns->names.n && (!n || members + vns->members[n] <= MEMBERS_AT_ONCE))
                members += vns->members[n++];
        if (n == vns->names.n)
                return false;
        nve_names_cut(&vns->names, &vns->page, n);
        return true;
}

static void show_vn(uint32_t vni, size_t ports, const struct gw_ip *members, size_t n, void *user) {
        struct gw_name name = name_of_vni(vni);
        struct vn_list *vns = user;
        json_t *list;

        if (!nve_names_has(&vns->names, name.s))
                return;
        list = json_array();
        for (size_t i = 0; i < n; i++)
                json_array_append_new(list, nve_json_ip(members[i]));
        nve_names_put(
                &vns->names, &vns->page, name.s,
                json_pack("{s:I, s:I, s:o}", "vni", (json_int_t)vni, "ports", (json_int_t)ports, "members", list));
}

void nve_show_members(struct gw_request *request, void *user) {
        const struct nve *nve = user;
        struct vn_list vns = {0};
        struct gw_name after;
        bool more;

        if (!nve_page_begin(&vns.page, request))
                return;
        if (vns.page.after) {
                after = name_of_vni((uint32_t)strtoul(vns.page.after, NULL, 10));
                vns.names.after = after.s;
        }
        gw_edge_each_vn(nve->edge, name_vn, &vns);
        more = nve_names_choose(&vns.names, &vns.page);
        gw_edge_each_vn(nve->edge, count_vn, &vns);
        more |= cut_vns(&vns);
        gw_edge_each_vn(nve->edge, show_vn, &vns);
        nve_names_answer(&vns.names, &vns.page, request, "vns", more);
}

void nve_show_counters(struct gw_request *request, void *user) {
        struct nve *nve = user;
        uint64_t counts[GW_COUNT_MAX] = {0};
        json_t *datapath = json_object(), *edge = json_object();

        gw_datapath_counters(nve->dp, counts);
        for (int i = 0; i < GW_COUNT_MAX; i++)
                json_object_set_new(datapath, gw_counter_name((enum gw_counter)i), json_integer((json_int_t)counts[i]));
        for (int i = 0; i < GW_EDGE_COUNTERS; i++)
                json_object_set_new(edge, gw_edge_counter_names[i],
                                    json_integer((json_int_t)gw_edge_counter(nve->edge, (enum gw_edge_counter)i)));
        json_object_set_new(edge, "drained", json_integer((json_int_t)nve->drained));
        json_object_set_new(edge, "returned", json_integer((json_int_t)nve->returned));
        json_object_set_new(edge, "drop-inject-failed", json_integer((json_int_t)nve->inject_failed));
        gw_request_answer(request, 200,
                          json_pack("{s:o, s:o, s:o, s:o}", "datapath", datapath, "edge", edge, "mobility",
                                    nve_mobility_json(nve), "host_routes", nve_routes_json(nve)));
}

static void count_port(const struct gw_edge_port_view *view, void *user) {
        (void)view;
        ++*(json_int_t *)user;
}

/* Since the session ended, or, while there is one, before it began. */
static json_t *absence_json(const struct nve *nve) {
        struct gw_absence a = gw_edge_absence(nve->edge, nve_now());

        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "away_ms", (json_int_t)a.away_ms, "cuts", (json_int_t)a.cuts,
                         "activated", (json_int_t)a.activated, "registrations_waiting", (json_int_t)a.waiting,
                         "questions_unanswered", (json_int_t)a.unanswered, "redirects_ended",
                         (json_int_t)a.redirects_ended);
}

void nve_show_status(struct gw_request *request, void *user) {
        struct nve *nve = user;
        json_int_t ports = 0;

        gw_edge_each_port(nve->edge, count_port, &ports);
        gw_request_answer(request, 200,
                          json_pack("{s:s, s:s, s:o, s:b, s:s, s:I, s:I, s:I, s:o, s:o}", "version", GW_VERSION, "id",
                                    nve->config.common.id.s, "locator", nve_json_ip(nve->config.locator),
                                    "nva_connected", gw_edge_is_registered(nve->edge), "nva",
                                    gw_session_is_open(nve->session) ? gw_session_peer(nve->session) : "", "starts",
                                    (json_int_t)nve->restart_count, "started_ns", (json_int_t)nve->started.ns, "ports",
                                    ports, "certificate", gw_renewal_json(nve->renewal), "absence", absence_json(nve)));
}
