/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the directory's structs to JSON. Nothing is decided here. Times are
 * nanoseconds of wall clock and their keys end in _ns; 0 or absent: never.
 */
#include "nva/json.h"

#include <stdlib.h>
#include <string.h>

#include "hypervisor/options.h"
#include "io/allow.h"
#include "nva/life.h"
#include "nva/mover.h"
#include "nva/terms.h"

const char *nva_json_text(const json_t *object, const char *key) {
        const char *text = json_string_value(json_object_get(object, key));

        return text ? text : "";
}

bool nva_json_no_answer(int status, const json_t *body) {
        return status == 504 || (status == 503 && !json_object_get(body, "error"));
}

json_t *nva_json_tenant(const struct gw_tenant *tenant) {
        json_t *apart = json_array();

        for (unsigned i = 0; i < tenant->n_apart; i++)
                json_array_append_new(apart, json_string(tenant->apart[i].s));
        return json_pack("{s:s, s:I, s:b, s:o}", "name", tenant->name.s, "vms", (json_int_t)tenant->n_vms, "exclusive",
                         tenant->exclusive, "apart", apart);
}

const char *const nva_vn_limit_words[GW_VN_LIMITS] = {[GW_VN_LIMIT_NEIGHBOURS] = "neighbours",
                                                      [GW_VN_LIMIT_MISSES] = "misses",
                                                      [GW_VN_LIMIT_GROUP] = "group",
                                                      [GW_VN_LIMIT_QUERIES] = "queries"};

static json_t *json_limits(const uint32_t limits[static GW_VN_LIMITS]) {
        json_t *object = json_object();

        for (int i = 0; i < GW_VN_LIMITS; i++)
                json_object_set_new(object, nva_vn_limit_words[i],
                                    !limits[i] ? json_null()
                                               : json_integer(limits[i] == GW_VN_NO_LIMIT ? 0 : limits[i]));
        return object;
}

const char *const nva_vn_absent_words[NVA_VN_ABSENT] = {"wait", "drop", "answer"};
const uint32_t nva_vn_absent_flags[NVA_VN_ABSENT] = {0, GW_VN_ABSENT_DROP, GW_VN_ABSENT_ANSWER};

static const char *absent_word(uint32_t flags) {
        for (int i = 1; i < NVA_VN_ABSENT; i++)
                if (flags & nva_vn_absent_flags[i])
                        return nva_vn_absent_words[i];
        return nva_vn_absent_words[0];
}

static json_t *json_settings(const struct gw_vn_settings *settings) {
        json_t *gateways = json_array();
        char ip[GW_IP_TEXT], mac[GW_MAC_TEXT];

        for (size_t i = 0; i < settings->n_gateways; i++)
                json_array_append_new(gateways, json_string(gw_ip_text(settings->gateways[i], ip)));
        return json_pack("{s:o, s:s, s:s, s:b, s:s, s:o}", "gateways", gateways, "gateway_mac",
                         gw_mac_text(GW_GATEWAY_MAC, mac), "announcements",
                         settings->flags & GW_VN_ANNOUNCED ? "announced" : "planned", "rarp",
                         (settings->flags & GW_VN_RARP) != 0, "absent", absent_word(settings->flags), "limits",
                         json_limits(settings->limits));
}

json_t *nva_json_vn(const struct gw_vn *vn) {
        json_t *subnets = json_array(), *object;
        char text[GW_PREFIX_TEXT];

        for (size_t i = 0; i < vn->n_subnets; i++)
                json_array_append_new(subnets, json_string(gw_prefix_text(&vn->subnets[i], text)));
        object = json_pack("{s:s, s:s, s:I, s:I, s:o, s:s, s:b, s:I, s:I}", "id", vn->id.s, "tenant",
                           vn->tenant->name.s, "vni", (json_int_t)vn->vni, "mtu", (json_int_t)vn->mtu, "subnets",
                           subnets, "directory", gw_vn_model_word(vn->model), "pushed", vn->push, "ports",
                           (json_int_t)vn->n_ports, "members", (json_int_t)vn->n_members);
        json_object_update_new(object, json_settings(&vn->settings));
        json_object_set_new(object, "gateway_pin", json_string(vn->gateway_pin.s));
        return object;
}

static json_t *sizes(uint32_t memory_mib, uint32_t vcpus) {
        return json_pack("{s:I, s:I}", "memory_mib", (json_int_t)memory_mib, "vcpus", (json_int_t)vcpus);
}

/* What it told of the time without us; null when it never did. */
static json_t *absence_of(const struct gw_nve *nve) {
        const struct gw_absence *a = &nve->absence;

        if (!nve->absence_at.ns)
                return json_null();
        return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "told_ns", (json_int_t)nve->absence_at.ns, "away_ms",
                         (json_int_t)a->away_ms, "cuts", (json_int_t)a->cuts, "activated", (json_int_t)a->activated,
                         "registrations_waiting", (json_int_t)a->waiting, "questions_unanswered",
                         (json_int_t)a->unanswered, "redirects_ended", (json_int_t)a->redirects_ended);
}

/* The last claim of it that an epoch decided against; null when there was none. */
static json_t *conflict_of(const struct gw_nve *nve) {
        if (!nve->conflicts)
                return json_null();
        return json_pack("{s:s, s:I, s:I, s:I}", "vm", nve->conflict.vm.s, "claimed_epoch",
                         (json_int_t)nve->conflict.claimed, "standing_epoch", (json_int_t)nve->conflict.stands, "at_ns",
                         (json_int_t)nve->conflict.at.ns);
}

/* Locators of gateways that do not answer it. */
static json_t *unreached(const struct gw_nve *nve) {
        json_t *list = json_array();
        char text[GW_IP_TEXT];

        for (unsigned i = 0; i < nve->n_unreached; i++)
                json_array_append_new(list, json_string(gw_ip_text(nve->unreached[i], text)));
        return list;
}

const char *const nva_permit_words[GW_PERMITS] = {
        [GW_PERMIT_UNSAID] = "default", [GW_PERMIT_YES] = "allowed", [GW_PERMIT_NO] = "forbidden"};

static json_t *nve_json(const struct gw_nve *nve) {
        char text[GW_IP_TEXT];
        bool known = !gw_ip_is_unspecified(nve->locator);
        /* The end of the certificate that it connected with; 0 while it is away. */
        struct gw_wall until = nve->nve_session ? gw_session_peer_until(nve->nve_session) : (struct gw_wall){0};

        return json_pack("{s:s, s:s, s:I, s:I, s:b, s:b, s:b, s:o, s:o, s:I, s:I, s:o, s:b, s:o, s:I, s:o, s:o}", "id",
                         nve->id.s, "locator", known ? gw_ip_text(nve->locator, text) : "", "underlay_mtu",
                         (json_int_t)nve->underlay_mtu, "certificate_until_ns", (json_int_t)until.ns, "nve_connected",
                         nve->nve_connected, "hv_connected", nve->hv_connected, "behind", nve->behind, "capacity",
                         sizes(nve->capacity_memory_mib, nve->capacity_vcpus), "used",
                         sizes(nve->used_memory_mib, nve->used_vcpus), "vms", (json_int_t)nve->n_vms, "restarts",
                         (json_int_t)nve->restart_count, "absence", absence_of(nve), "draining", nve->draining, "modes",
                         gw_modes_json(nve->modes), "conflicts", (json_int_t)nve->conflicts, "last_conflict",
                         conflict_of(nve), "gateways_unreached", unreached(nve));
}

json_t *nva_json_nve(const struct gw_nve *nve) {
        json_t *object = nve_json(nve);

        json_object_set_new(object, "gateway", json_string(nva_permit_words[nve->may_route]));
        json_object_set_new(object, "gateway_offered", json_boolean(nve->offers_gateway));
        json_object_set_new(object, "gateway_now", json_boolean(nve->gateway));
        json_object_set_new(object, "claims", json_string(nva_permit_words[nve->may_claim]));
        return object;
}

json_t *nva_json_addresses(const struct gw_port *port) {
        json_t *addresses = json_array();
        char text[GW_IP_TEXT];

        for (size_t i = 0; i < port->n_ips; i++)
                json_array_append_new(addresses, json_string(gw_ip_text(gw_port_ip(port, i), text)));
        return addresses;
}

json_t *nva_json_port(const struct gw_port *port) {
        struct gw_name id = gw_port_id(port);
        const struct gw_nve *nve = gw_vm_nve(gw_port_vm(port));
        char mac[GW_MAC_TEXT];

        return json_pack("{s:s, s:s, s:s, s:I, s:s, s:o, s:s, s:s, s:o}", "id", id.s, "vm",
                         gw_vm_name(gw_port_vm(port)).s, "vn", gw_port_vn(port)->id.s, "vni",
                         (json_int_t)gw_port_vn(port)->vni, "mac", gw_mac_text(port->mac, mac), "addresses",
                         nva_json_addresses(port), "device", gw_port_device(port), "nve", nve ? nve->id.s : "", "allow",
                         gw_allow_json(port->allow));
}

static json_t *previous(const struct gw_binding *binding) {
        json_t *list = json_array();
        char text[GW_IP_TEXT];

        for (size_t i = 0; i < gw_binding_n_previous(binding); i++)
                json_array_append_new(list, json_pack("{s:s, s:I, s:I}", "locator",
                                                      gw_ip_text(gw_binding_previous(binding)[i].locator, text),
                                                      "from_ns", (json_int_t)gw_binding_previous(binding)[i].from.ns,
                                                      "to_ns", (json_int_t)gw_binding_previous(binding)[i].to.ns));
        return list;
}

json_t *nva_json_binding(const struct gw_vm *vm) {
        const struct gw_binding *b = &vm->binding;
        char text[GW_IP_TEXT] = "";

        if (gw_binding_nve(b))
                gw_ip_text(gw_binding_nve(b)->locator, text);
        return json_pack("{s:s, s:I, s:I, s:I, s:I, s:s, s:I, s:I, s:o}", "locator", text, "epoch",
                         (json_int_t)b->epoch, "sequence", (json_int_t)b->sequence, "timestamp_ns",
                         (json_int_t)gw_registration_stamp_wall(b->timestamp).ns, "lifetime_ms",
                         (json_int_t)gw_binding_lifetime_ms(b), "state", gw_binding_state_word(b->state), "since_ns",
                         (json_int_t)gw_binding_since(b).ns, "registered_ns",
                         (json_int_t)gw_binding_registered_at(b).ns, "previous", previous(b));
}

static json_t *definition_of(const struct gw_vm *vm) {
        json_t *definition = NULL;
        void *octets;
        size_t size;

        if (gw_directory_definition(vm, &octets, &size) == 0) {
                definition = json_loadb(octets, size, 0, NULL);
                free(octets);
        }
        return definition ? definition : json_object();
}

static json_t *ports_of(const struct gw_vm *vm) {
        json_t *ports = json_array();

        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port))
                json_array_append_new(ports, nva_json_port(port));
        return ports;
}

json_t *nva_json_vm(const struct nva *nva, const struct gw_vm *vm) {
        static const char *const states[] = {"stopped", "starting", "running", "paused",
                                             "moving",  "stopping", "crashed"};
        const struct nva_move *move = mover_open(nva, gw_vm_name(vm).s);
        json_t *object =
                json_pack("{s:s, s:s, s:s, s:s, s:s, s:I, s:s, s:s, s:o, s:o, s:o}", "id", gw_vm_name(vm).s, "tenant",
                          gw_vm_tenant(vm)->name.s, "kind", vm->kind == GW_VM_TASK ? "task" : "vm", "desired",
                          vm->desired == GW_VM_RUN ? "running" : "stopped", "state", states[vm->state], "epoch",
                          (json_int_t)vm->binding.epoch, "nve", gw_vm_nve(vm) ? gw_vm_nve(vm)->id.s : "", "on_crash",
                          vm->on_crash == GW_ON_CRASH_STOP ? "stop" : "restart", "definition", definition_of(vm),
                          "ports", ports_of(vm), "binding", nva_json_binding(vm));

        json_object_set_new(object, "reason", json_string(life_reason(nva, gw_vm_name(vm).s)));
        terms_show(vm, object);
        if (move)
                json_object_set_new(object, "move", json_string(mover_id(move)));
        return object;
}

json_t *nva_json_definition(const struct gw_vm *vm) {
        json_t *definition = definition_of(vm), *ports = json_array();

        terms_strip(definition);

        for (const struct gw_port *port = gw_vm_ports(vm); port; port = gw_port_next(port)) {
                struct gw_name id = gw_port_id(port);
                char mac[GW_MAC_TEXT];

                json_array_append_new(ports, json_pack("{s:s, s:s, s:I, s:I, s:s, s:o, s:o}", "id", id.s, "vn",
                                                       gw_port_vn(port)->id.s, "vni", (json_int_t)gw_port_vn(port)->vni,
                                                       "mtu", (json_int_t)gw_port_vn(port)->mtu, "mac",
                                                       gw_mac_text(port->mac, mac), "addresses",
                                                       nva_json_addresses(port), "allow", gw_allow_json(port->allow)));
        }
        json_object_set_new(definition, "ports", ports);
        return definition;
}
