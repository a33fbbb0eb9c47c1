/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of routes, and what the handlers of all nouns share. A handler reads
 * and checks the whole request, then changes something or nothing, then answers;
 * answers leave after the turn's commit.
 *
 * Over TLS only the certificates that the configuration names are keys to the API. All hosts have one of the same
 * authority, known here or not (a new host, or one that was taken out): a session is all they get.
 */
#include "nva/api.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"

static bool is_client(const struct nva *nva, const char *name) {
        const char *list = nva->config.api_clients;
        size_t n;

        for (list += strspn(list, " "); *list; list += n, list += strspn(list, " ")) {
                n = strcspn(list, " ");
                if (n == strlen(name) && !memcmp(list, name, n))
                        return true;
        }
        return false;
}

bool api_admit(struct gw_request *request, void *user) {
        const struct nva *nva = user;
        const char *peer = gw_request_peer(request);
        struct gw_error error;

        if (!gw_request_over_tls(request))
                return true;
        if (gw_directory_nve(&nva->directory, peer))
                gw_fail(&error, GW_E_REFUSED, "", "%s is an NVE; its certificate does not open the API", peer);
        else if (!is_client(nva, peer))
                gw_fail(&error, GW_E_REFUSED, "", "api-clients does not name %s", peer);
        else
                return true;
        gw_request_fail(request, &error);
        return false;
}

const struct gw_route nva_routes[] = {
        {"GET", "/v1/tenants", api_tenants_list},
        {"POST", "/v1/tenants", api_tenants_create},
        {"GET", "/v1/tenants/{tenant}", api_tenants_show},
        {"PUT", "/v1/tenants/{tenant}", api_tenants_update},
        {"DELETE", "/v1/tenants/{tenant}", api_tenants_delete},
        {"GET", "/v1/rules", api_rules_list},
        {"POST", "/v1/rules", api_rules_create},
        {"GET", "/v1/rules/{rule}", api_rules_show},
        {"PUT", "/v1/rules/{rule}", api_rules_update},
        {"DELETE", "/v1/rules/{rule}", api_rules_delete},
        {"GET", "/v1/vns", api_vns_list},
        {"POST", "/v1/vns", api_vns_create},
        {"GET", "/v1/vns/{vn}", api_vns_show},
        {"DELETE", "/v1/vns/{vn}", api_vns_delete},
        {"PATCH", "/v1/vns/{vn}", api_vns_update},
        {"POST", "/v1/vns/{vn}/flush", api_vns_flush},
        {"GET", "/v1/nves", api_nves_list},
        {"POST", "/v1/nves", api_nves_create},
        {"GET", "/v1/nves/{nve}", api_nves_show},
        {"DELETE", "/v1/nves/{nve}", api_nves_delete},
        {"PATCH", "/v1/nves/{nve}", api_nves_update},
        {"GET", "/v1/bindings", api_bindings_list},
        {"GET", "/v1/bindings/{vm}", api_bindings_show},
        {"POST", "/v1/nves/{nve}/lost", api_nves_lost},
        {"GET", "/v1/nves/{nve}/drain", api_drain_show},
        {"POST", "/v1/nves/{nve}/drain", api_drain_begin},
        {"DELETE", "/v1/nves/{nve}/drain", api_drain_end},
        {"GET", "/v1/vms", api_vms_list},
        {"POST", "/v1/vms", api_vms_create},
        {"GET", "/v1/vms/{vm}", api_vms_show},
        {"DELETE", "/v1/vms/{vm}", api_vms_delete},
        {"PATCH", "/v1/vms/{vm}", api_vms_set},
        {"POST", "/v1/vms/{vm}/start", api_vms_start},
        {"POST", "/v1/vms/{vm}/stop", api_vms_stop},
        {"POST", "/v1/vms/{vm}/suspend", api_vms_suspend},
        {"POST", "/v1/vms/{vm}/resume", api_vms_resume},
        {"POST", "/v1/vms/{vm}/move", api_vms_move},
        {"POST", "/v1/vms/{vm}/plan", api_vms_plan},
        {"GET", "/v1/ports", api_ports_list},
        {"POST", "/v1/ports", api_ports_create},
        {"GET", "/v1/ports/{port}", api_ports_show},
        {"DELETE", "/v1/ports/{port}", api_ports_delete},
        {"GET", "/v1/moves", api_moves_list},
        {"GET", "/v1/moves/{move}", api_moves_show},
        {"POST", "/v1/moves/{move}/cancel", api_moves_cancel},
        {"GET", "/v1/policies", api_policies_list},
        {"POST", "/v1/policies", api_policies_create},
        {"GET", "/v1/policies/{policy}", api_policies_show},
        {"DELETE", "/v1/policies/{policy}", api_policies_delete},
        {"GET", "/v1/gateways", api_gateways_list},
        {"PUT", "/v1/vns/{vn}/pin", api_vns_pin},
        {"POST", "/v1/audit", api_audit_run},
        {"GET", "/v1/audit", api_audit_show},
        {"GET", "/v1/trace", api_trace},
        {"GET", "/v1/events", api_events},
        {"GET", "/v1/status", api_status},
        {0},
};

void api_not_found(struct gw_request *request, const char *what, const char *id, const char *hint) {
        struct gw_error error;

        gw_fail(&error, GW_E_NOT_FOUND, what, "there is no %s \"%.80s\"; %s", what, id, hint);
        gw_request_fail(request, &error);
}

bool api_id(struct gw_request *request, const char *param, struct gw_name *out) {
        const char *text = gw_request_param(request, param);
        struct gw_error error;

        if (!gw_id_parse(text, out))
                return true;
        gw_fail(&error, GW_E_INVALID, param,
                "\"%.80s\" is not an id; an id is a name (a-z, 0-9, - inside) or name@tenant", text);
        gw_request_fail(request, &error);
        return false;
}

struct gw_vm *api_vm(struct nva *nva, struct gw_request *request) {
        struct gw_name id;
        struct gw_vm *vm;

        if (!api_id(request, "vm", &id))
                return NULL;
        vm = gw_directory_vm(&nva->directory, id.s);
        if (!vm)
                api_not_found(request, "vm", id.s, "`godwit vm list` shows them");
        return vm;
}

struct gw_vn *api_vn(struct nva *nva, struct gw_request *request) {
        struct gw_name id;
        struct gw_vn *vn;

        if (!api_id(request, "vn", &id))
                return NULL;
        vn = gw_directory_vn(&nva->directory, id.s);
        if (!vn)
                api_not_found(request, "vn", id.s, "`godwit vn list` shows them");
        return vn;
}

struct gw_nve *api_nve(struct nva *nva, struct gw_request *request) {
        const char *id = gw_request_param(request, "nve");
        struct gw_nve *nve = gw_directory_nve(&nva->directory, id);

        if (!nve)
                api_not_found(request, "nve", id, "`godwit nve list` shows them");
        return nve;
}

bool api_no_body(struct gw_request *request) {
        struct gw_error error = {0};
        struct gw_json_reader r = gw_json_reader(gw_request_body(request), &error);

        if (!gw_json_done(&r))
                return true;
        gw_request_fail(request, &error);
        return false;
}
